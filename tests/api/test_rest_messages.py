"""Messages over REST: posts, pages, event streams. rest-core.md 11.3."""
import concurrent.futures
import json
import socket
import threading

import pytest

from api_support import V1, EventStream, expect_error, running, wait_for


@pytest.fixture
def session(api):
    return api.session()["id"]


def test_a_post_answers_the_message(api, session):
    answer = api.post(f"/sessions/{session}/messages", {"event_type": "user", "payload": "hi <b>"})
    assert answer.status == 201 and answer.body.endswith(b"}\n") and b"\\u003cb\\u003e" in answer.body
    message = answer.json()
    assert list(message) == ["id", "session_id", "seq", "event_type", "payload", "created_at"]
    assert (message["session_id"], message["seq"], message["event_type"]) == (session, 1, "user")
    assert api.messages(session) == [message]


def test_what_may_be_posted(api, session):
    for body in ({"payload": "x"}, {"event_type": "", "payload": "x"}, {"event_type": None, "payload": "x"},
                 {"payload": "x", "unknown": 1}, {}, {"payload": ""}, {"payload": None}):
        assert api.post(f"/sessions/{session}/messages", body).status == 201, body
    assert [m["seq"] for m in api.messages(session)] == list(range(1, 8))
    assert {m["event_type"] for m in api.messages(session)} == {"user"}


@pytest.mark.parametrize("body, number, reason", [
    ({"event_type": "assistant", "payload": "x"}, 8, 'event_type must be "user" on this endpoint'),
    ("", 17, "invalid JSON body"), ("{", 17, "invalid JSON body"), ("null", 17, "invalid JSON body"),
    ("[]", 17, "invalid JSON body"), ('{"payload":7}', 17, None), ('{"event_type":7}', 17, None),
    (b'{"payload":"\xff"}', 17, "invalid JSON body"), ('{"payload":"\\u0000"}', 17, "invalid JSON body"),
    ("[" * 500, 17, "invalid JSON body")])
def test_what_may_not_be_posted(api, session, body, number, reason):
    expect_error(api.post(f"/sessions/{session}/messages", body), 400, number, reason)
    assert api.messages(session) == []


def test_limits_of_a_post(api, session):
    frame = len('{"payload":""}')
    assert api.post(f"/sessions/{session}/messages", '{"payload":"' + "x" * ((1 << 20) - frame) + '"}').status == 201
    expect_error(api.post(f"/sessions/{session}/messages", '{"payload":"' + "x" * ((1 << 20) - frame + 1) + '"}'),
                 413, 17)
    assert len(api.messages(session)) == 1


def test_unknown_sessions(api):
    for answer in (api.post("/sessions/nobody/messages", {"payload": "x"}), api.get("/sessions/nobody/messages"),
                   api.get("/sessions/nobody/messages", headers={"Accept": "text/event-stream"})):
        expect_error(answer, 404, 7, "session not found")
    session = api.session(prompt="x")["id"]
    api.ok("DELETE", f"/sessions/{session}")
    expect_error(api.get(f"/sessions/{session}/messages"), 404, 7)
    expect_error(api.post(f"/sessions/{session}/messages", {"payload": "x"}), 404, 7)


def test_a_repeated_post_is_one_message(api, session, name):
    key = {"Idempotency-Key": f"push-{name}"}
    first = api.ok("POST", f"/sessions/{session}/messages", {"payload": "once"}, headers=key)
    assert api.ok("POST", f"/sessions/{session}/messages", {"payload": "once"}, headers=key) == first
    answers = [api.post(f"/sessions/{session}/messages", {"payload": "once"}, h) for h in (key, {})]
    assert [a.headers["Idempotency-Replayed"] for a in answers] == ["true", None]
    assert len(api.messages(session)) == 2


def test_pages(api, session):
    for i in range(1, 8):
        api.push(session, str(i))

    def seqs(**query):
        return [m["seq"] for m in api.messages(session, **query)]
    assert seqs() == [1, 2, 3, 4, 5, 6, 7]
    assert seqs(after_seq=5) == [6, 7] and seqs(after_seq=7) == [] and seqs(after_seq=99) == []
    for nothing in ("", "x", "-1", "1.5"):
        assert len(seqs(after_seq=nothing)) == 7
    assert seqs(limit=3) == [1, 2, 3] and seqs(after_seq=2, limit=2) == [3, 4] and seqs(limit=7) == seqs()
    assert seqs(limit=1000) == seqs() and seqs(limit=-4) == seqs()
    assert seqs(page=2, size=1, search="nonsense", orderBy="nonsense") == seqs()
    expect_error(api.get(f"/sessions/{session}/messages", {"limit": "x"}), 400, 21)
    expect_error(api.get(f"/sessions/{session}/messages", {"limit": "0"}), 400, 21)
    assert api.get(f"/sessions/{session}/messages", {"after_seq": 7}).body == b"[]\n"


def test_a_long_history_comes_whole(api, session):
    """More rows than one page, and more bytes than one buffer."""
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        def push(part):
            client = type(api)(api.port)
            for i in range(part, 2500, 8):
                client.push(session, f"{i} " + "y" * 1000)
            client.close()
        list(pool.map(push, range(8)))
    everything = api.messages(session)
    assert [m["seq"] for m in everything] == list(range(1, 2501))
    assert {int(m["payload"].split()[0]) for m in everything} == set(range(2500))
    assert [m["seq"] for m in api.messages(session, after_seq=100, limit=1500)] == list(range(101, 1601))


# ---- event streams ----

def test_headers_of_a_stream(server, session):
    stream = server.stream(session)
    assert stream.status == 200
    for name, value in (("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache"),
                        ("X-Accel-Buffering", "no"), ("Transfer-Encoding", "chunked")):
        assert stream.headers[name] == value, name
    assert len(stream.headers["X-Operation-ID"]) == 27
    stream.close()


@pytest.mark.parametrize("accept, streams", [
    ("text/event-stream", True), ("text/event-stream, */*", True), ("text/event-stream, application/json;q=0.5", True),
    ("application/json, text/event-stream;q=0.5", False), ("*/*", False), ("text/*", True),
    ("text/event-stream;q=0", False), ("application/json", False), (None, False),
    ("application/json, text/event-stream", False)])
def test_which_answer_a_client_prefers(api, server, session, accept, streams):
    api.push(session, "x")
    stream = EventStream(server.ports["http"], f"/sessions/{session}/messages", {"Accept": accept} if accept else {
        "Accept": ""})
    assert (stream.headers["Content-Type"] == "text/event-stream") == streams
    stream.close()


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_the_first_event_does_not_wait_for_a_compressor(api, server, session, encoding):
    stream = server.stream(session, **({"Accept-Encoding": encoding} if encoding else {}))
    assert "Content-Encoding" not in stream.headers
    api.push(session, "now")
    assert stream.message()["payload"] == "now"
    stream.close()


def test_replay_then_live(api, server, session):
    for i in range(3):
        api.push(session, str(i))
    streams = {0: server.stream(session), 2: server.stream(session, query="?after_seq=2"),
               3: server.stream(session, **{"Last-Event-ID": "3"}),
               1: server.stream(session, query="?after_seq=3", **{"Last-Event-ID": "1"})}
    pushed = api.push(session, "live")
    for after, stream in streams.items():
        assert [stream.message()["seq"] for _ in range(4 - after)] == list(range(after + 1, 5))
        stream.close()
    assert pushed == api.messages(session)[-1]


def test_payloads_survive_the_stream(api, server, session):
    texts = ["a\nb", "\r\n\r\n", "data: x", "\u2028 <>& \U0001f600", "", '{"a":"b"}', "x" * 100_000]
    stream = server.stream(session)
    for text in texts:
        api.push(session, text)
    assert [stream.message()["payload"] for _ in texts] == texts
    stream.close()


def test_ui12_a_line_of_the_stream_stays_below_a_million_bytes(api, server, session):
    """A longer one makes the reference's Go client fail at the same message for ever."""
    texts = ["<" * 200_000, "\u00e9\U0001f600" * 170_000, "fits " * 199_000]
    stream = server.stream(session)
    for text in texts:
        body = json.dumps({"payload": text}, ensure_ascii=False).encode()
        assert api.post(f"/sessions/{session}/messages", body).status == 201
    events = [stream.next()[1] for _ in texts]
    stream.close()
    assert [len(e.encode()) <= 1_000_000 for e in events] == [True] * 3
    cut = [json.loads(e) for e in events]
    assert [m.get("truncated") for m in cut] == [True, True, None]
    assert all(text.startswith(m["payload"]) and len(m["payload"]) > 130_000
               for m, text in zip(cut, texts))
    assert [m["payload"] for m in api.messages(session)] == texts


def test_a_stream_of_a_deleted_session_ends(api, server):
    session = api.session(prompt="only")["id"]
    stream = server.stream(session)
    assert stream.message()["payload"] == "only"
    api.ok("DELETE", f"/sessions/{session}")
    assert stream.next() is None
    assert stream.comments


def test_reconnecting_loses_and_repeats_nothing(server, session):
    """Four writers push while a reader hangs up after every few events and comes back with the last id."""
    total, writers = 400, 4

    def push(_):
        client = server.client()
        for i in range(total // writers):
            client.push(session, f"m{i}")
        client.close()

    def follow(step):
        seen, last = [], None
        while len(seen) < total:
            stream = server.stream(session, **({"Last-Event-ID": last} if last else {}))
            for _ in range(step):
                if len(seen) < total:
                    seen.append(stream.message()["seq"])
            last = str(seen[-1])
            stream.close()
        return seen

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        readers = [pool.submit(follow, step) for step in (1, 7, 50, 1000)]
        list(pool.map(push, range(writers)))
        for reader in readers:
            assert reader.result() == list(range(1, total + 1))


def test_D65_many_streams_and_many_requests_at_once(server, session):
    """The reference deadlocked here: streams held what requests needed."""
    streams = [server.stream(session) for _ in range(200)]

    def ask(_):
        client = server.client()
        status = client.get(f"/sessions/{session}").status
        client.close()
        return status
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert set(pool.map(ask, range(200))) == {200}
    server.client().push(session, "to all")
    for stream in streams:
        assert stream.message()["payload"] == "to all"
        stream.close()


def test_a_reader_that_sleeps_disturbs_nobody(api, server, session):
    asleep = server.stream(session)
    awake = server.stream(session)
    for i in range(60):
        api.push(session, f"{i} " + "z" * 100_000)
    for i in range(60):
        assert awake.message()["payload"].startswith(f"{i} ")
    for i in range(60):
        assert asleep.message()["payload"].startswith(f"{i} ")
    awake.close()
    asleep.close()


def test_streams_with_nothing_to_say_are_pinged(tmp_path):
    with running(tmp_path, ["--stream-ping-interval=20ms"]) as server:
        session = server.client().session()["id"]
        quiet = server.stream(session)
        assert [quiet.response.readline() for _ in range(6)] == [b": ping\n", b"\n"] * 3
        server.client().push(session, "x")
        assert quiet.message()["payload"] == "x" and set(quiet.comments) <= {"ping"}
        quiet.close()


def test_a_shutdown_ends_streams_with_a_comment(tmp_path):
    with running(tmp_path) as server:
        session = server.client().session(prompt="x")["id"]
        streams = [server.stream(session) for _ in range(5)]
        assert [s.message()["seq"] for s in streams] == [1] * 5
        enders = []
        for stream in streams:
            thread = threading.Thread(target=lambda s=stream: enders.append(s.rest_of_comments()))
            thread.start()
        server.stop()
        wait_for(lambda: len(enders) == 5, "the streams to end")
        assert all(comments and "shutting down" in comments[-1] for comments in enders)


def test_a_shutdown_cuts_what_nobody_reads(tmp_path):
    """A long history on its way to a client that stopped reading, and a client in the middle of a request."""
    with running(tmp_path, ["--shutdown-timeout=200ms"]) as server:
        client = server.client()
        session = client.session()["id"]
        for _ in range(30):
            client.push(session, "z" * 900_000)
        halves = [socket.create_connection(("127.0.0.1", server.ports["http"])) for _ in range(20)]
        for i, half in enumerate(halves):
            half.sendall(f"GET {V1}/sessions/{session}/messages HTTP/1.1\r\nHost: x\r\n".encode())
            if i % 2:
                half.sendall(b"\r\n")
                assert half.recv(100).startswith(b"HTTP/1.1 200")
        server.stop()
        for half in halves:
            half.close()


def test_messages_survive_a_kill(tmp_path):
    from api_support import ApiServer
    server = ApiServer(tmp_path).start()
    session = server.client().session(prompt="first")["id"]
    acknowledged = [server.client().push(session, f"p{i}") for i in range(20)]
    server.kill()
    server.start()
    try:
        stored = server.client().messages(session)
        assert stored[1:] == acknowledged and stored[0]["payload"] == "first"
    finally:
        server.stop()
    verified = server.run("verify")
    assert verified.returncode == 0, verified.stdout
    assert json.dumps(21) in verified.stdout
