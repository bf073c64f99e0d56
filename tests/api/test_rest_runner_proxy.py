"""The way to a session's runner. rest-core.md 11.4, control-plane.md 17.2."""
import http.server
import json
import threading

import pytest

from api_support import EventStream, expect_error, free_port, running, wait_for


class QuietServer(http.server.ThreadingHTTPServer):
    """A client that leaves in the middle is part of the tests."""
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


class Runner(http.server.BaseHTTPRequestHandler):
    """A runner that says what it was asked. It is the peer of the test, not a part of the product."""
    protocol_version = "HTTP/1.1"
    seen = []
    release = threading.Event()

    def log_message(self, *args):
        pass

    def remember(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Runner.seen.append((self.command, self.path, dict(self.headers), body))

    def chunk(self, data):
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def do_GET(self):
        self.remember()
        if "fail" in self.path:
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.chunk(b'data: {"type":"RUN_STARTED"}\n\n')
        if "flood" in self.path:
            for _ in range(2000):
                self.chunk(b"data: " + b"f" * 10000 + b"\n\n")
        Runner.release.wait(60)
        self.chunk(b'data: {"type":"RUN_FINISHED"}\n\n')
        self.wfile.write(b"0\r\n\r\n")

    def do_POST(self):
        self.remember()
        status, body = (409, b'{"detail":"no run"}') if b"refuse" in Runner.seen[-1][3] else (200, b'{"ok":true}')
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def proxied(tmp_path_factory, keys):
    runner = QuietServer(("127.0.0.1", 0), Runner)
    threading.Thread(target=runner.serve_forever, daemon=True).start()
    template = f"http://127.0.0.1:{runner.server_port}/sessions/{{id}}/runner"
    directory = tmp_path_factory.mktemp("proxy")
    (directory / "jwks.json").write_text(keys.jwks())
    args = ["--enable-jwt", "--enable-authz", f"--jwk-cert-file={directory}/jwks.json", "--max-streams-per-user=2"]
    with running(directory, args, {"RUNNER_URL_TEMPLATE": template, "AMBIENT_RUNNER_TOKEN": "runner-secret",
                                   "AMBIENT_API_TOKEN": "platform-secret",
                                   "AMBIENT_ADMIN_TOKEN": "callers"}) as server:
        yield server
    Runner.release.set()
    runner.shutdown()
    runner.server_close()


@pytest.fixture
def running_session(proxied):
    client = proxied.client("callers")
    session = client.session()["id"]
    client.status(session, phase="Running", kube_namespace="local")
    Runner.seen.clear()
    Runner.release.clear()
    yield session
    client.close()


@pytest.mark.parametrize("path", ["/events", "/agui/events"])
def test_D15_events_come_through_as_they_happen(proxied, running_session, path):
    stream = EventStream(proxied.ports["http"], f"/sessions/{running_session}{path}?x=1&y=a%20b",
                         {"Authorization": "Bearer callers", "Cookie": "c=1", "Last-Event-ID": "7",
                          "X-Forwarded-Access-Token": "callers"})
    assert stream.status == 200 and stream.headers["Content-Type"] == "text/event-stream"
    assert stream.headers["Cache-Control"] == "no-cache"
    assert json.loads(stream.next()[1])["type"] == "RUN_STARTED"
    Runner.release.set()
    assert json.loads(stream.next()[1])["type"] == "RUN_FINISHED"
    assert stream.next() is None
    [(method, target, headers, _)] = Runner.seen
    assert (method, target) == ("GET", f"/sessions/{running_session}/runner/events/{running_session}?x=1&y=a%20b")
    lower = {k.lower(): v for k, v in headers.items()}
    assert lower["last-event-id"] == "7" and lower["x-ambient-proxy-token"] == "platform-secret"
    assert "runner-secret" not in json.dumps(headers)  # that one is for runners that are called directly
    assert "callers" not in json.dumps(headers)
    assert not {"authorization", "cookie", "x-forwarded-access-token"} & set(lower)


@pytest.mark.parametrize("path, target", [("/agui/run", "/"), ("/agui/interrupt", "/interrupt"),
                                          ("/interrupt", "/interrupt")])
def test_posts(proxied, running_session, path, target):
    client = proxied.client("callers")
    answer = client.post(f"/sessions/{running_session}{path}", {"a": 1}, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.json()) == (200, {"ok": True})
    assert Runner.seen[-1][:2] == ("POST", f"/sessions/{running_session}/runner{target}")
    assert json.loads(Runner.seen[-1][3]) == {"a": 1}
    refused = client.post(f"/sessions/{running_session}{path}", {"refuse": 1})
    body = expect_error(refused, 409, 6, "no run")
    assert body["detail"] == "no run" and body["error"] == "no run"


def test_a_slow_reader_stops_the_runner_not_the_server(proxied, running_session):
    def rss():
        for line in open(f"/proc/{proxied.process.pid}/status"):
            if line.startswith("VmRSS"):
                return int(line.split()[1])
    before = rss()
    stream = EventStream(proxied.ports["http"], f"/sessions/{running_session}/events?flood",
                         {"Authorization": "Bearer callers"})
    stream.next()
    grown = max(rss() for _ in range(200)) - before
    Runner.release.set()
    events = 0
    while stream.next() is not None:
        events += 1
    assert events == 2001
    assert grown < 12000, f"{grown} KiB for a stream of 20 MB that nobody read"


def test_no_runner(proxied):
    client = proxied.client("callers")
    session = client.session()["id"]
    expect_error(client.get(f"/sessions/{session}/events"), 502, 9, "session has no associated runner pod")
    empty = client.get(f"/sessions/{session}/agui/events")
    assert empty.status == 200 and empty.body == b"" and empty.headers["Content-Type"] == "text/event-stream"
    assert empty.headers["X-Ambient-Runner"] == "unavailable"
    for path in ("/agui/run", "/agui/interrupt", "/interrupt"):
        body = expect_error(client.post(f"/sessions/{session}{path}", {}), 503, 9, "session runner not available")
        assert body["error"] == body["reason"]
    for method, path in (("GET", "/events"), ("GET", "/agui/events"), ("POST", "/interrupt")):
        expect_error(client.call(method, f"/sessions/nobody{path}"), 404, 7, "session not found")


def test_a_runner_that_is_not_there(tmp_path):
    with running(tmp_path, env={"RUNNER_URL_TEMPLATE": f"http://127.0.0.1:{free_port()}/{{id}}"}) as server:
        client = server.client()
        session = client.session()["id"]
        client.status(session, phase="Running", kube_namespace="local")
        expect_error(client.get(f"/sessions/{session}/events"), 502, 9, "runner not reachable")
        assert client.get(f"/sessions/{session}/agui/events").body == b""
        expect_error(client.post(f"/sessions/{session}/interrupt", {}), 502, 9, "runner not reachable")


def test_a_runner_that_refuses(proxied, running_session):
    expect_error(proxied.client("callers").get(f"/sessions/{running_session}/events?fail"), 502, 9,
                 "runner returned non-OK status")


def test_a_shutdown_ends_proxied_streams(tmp_path, proxied):
    with running(tmp_path, env={"RUNNER_URL_TEMPLATE": proxied.env["RUNNER_URL_TEMPLATE"]}) as server:
        client = server.client()
        session = client.session()["id"]
        client.status(session, phase="Running", kube_namespace="local")
        Runner.release.clear()
        stream = EventStream(server.ports["http"], f"/sessions/{session}/events")
        assert stream.next()
        reader = threading.Thread(target=stream.rest_of_comments)
        reader.start()
        server.stop()
        reader.join(60)
        assert any("shutting down" in c for c in stream.comments)
    Runner.release.set()


def begun(stream):
    assert json.loads(stream.next()[1])["type"] == "RUN_STARTED"
    return stream


def test_G10_a_runners_events_end_with_the_right_to_see_them(proxied, running_session, keys):
    """Whoever keeps his follows on; when the session goes, all end."""
    admin = proxied.client("callers")
    rows = [admin.ok("POST", "/role_bindings", {"role_id": "project:viewer", "scope": "session", "user_id": who,
                                                "session_id": running_session})["id"] for who in ("leaves", "stays")]
    leaves, stays = (begun(EventStream(proxied.ports["http"], f"/sessions/{running_session}{path}",
                                       {"Authorization": f"Bearer {keys.token(who)}"}))
                     for who, path in (("leaves", "/events"), ("stays", "/agui/events")))
    admin.ok("DELETE", f"/role_bindings/{rows[0]}")
    assert leaves.rest_of_comments() == ["not authorized to watch this session"]
    admin.push(running_session, "no event of the runner's")
    admin.ok("DELETE", f"/sessions/{running_session}")
    assert stays.rest_of_comments() == ["session not found"]


def test_D66_a_runners_events_count_among_a_users_streams(proxied, running_session, keys):
    who = {"Authorization": f"Bearer {keys.token('many')}"}
    proxied.client("callers").ok("POST", "/role_bindings", {"role_id": "project:viewer", "scope": "session",
                                                            "user_id": "many", "session_id": running_session})
    streams = [begun(EventStream(proxied.ports["http"], f"/sessions/{running_session}/events", who)) for _ in range(2)]
    for path in ("events", "messages"):
        assert EventStream(proxied.ports["http"], f"/sessions/{running_session}/{path}", who).status == 429
    streams[0].close()
    wait_for(lambda: EventStream(proxied.ports["http"], f"/sessions/{running_session}/messages", who).status == 200,
             "the place of a stream that was closed")
