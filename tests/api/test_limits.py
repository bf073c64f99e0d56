"""Each limit that an operator can move, at its edge; and a server that has more to do than it can."""
import asyncio
import contextlib
import json
import re
import socket
import subprocess
import threading
import time

import grpc
import pytest

from api_support import V1, Client, expect_error, program, running, wait_for
from rpc_support import connected


def limits_of_help():
    """flag -> default, as --help prints them."""
    text = subprocess.run([program("ambient-api-server"), "--help"], capture_output=True, text=True, timeout=60,
                          check=True).stdout
    return dict(re.findall(r"--([a-z-]+) [A-Z]+\n +limit: .*?\(default ([^)]+)\)", text, re.S))


def ask_health(server, path):
    return Client(server.ports["health"]).raw("GET", path, headers={"Connection": "close"})


def state_of(server):
    return ask_health(server, "/debug/state").json()


def test_every_limit_is_shown_with_its_value(server):
    documented = limits_of_help()
    shown = state_of(server)["limits"]
    assert documented and set(documented) == set(shown)
    for flag, value in documented.items():
        scale = {"k": 1 << 10, "M": 1 << 20}.get(value[-1])
        assert shown[flag] == (int(value[:-1]) * scale if scale else value if value[-1] == "s" else int(value)), flag


@pytest.mark.parametrize("flag", sorted(limits_of_help()))
def test_a_limit_outside_of_its_range_stops_the_start(tmp_path, flag):
    for value in ("0", "99999999999999"):
        value += "s" if limits_of_help()[flag].endswith("s") else ""
        result = subprocess.run([program("ambient-api-server"), "serve", f"--db-url=sqlite:{tmp_path}/x.db",
                                 f"--{flag}={value}"], capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 2 and f"--{flag}" in result.stderr, result.stderr


def body_of(size):
    """A project whose JSON has exactly that many bytes."""
    empty = json.dumps({"name": "edge", "description": ""})
    return json.dumps({"name": "edge", "description": "x" * (size - len(empty))}).encode()


def test_body_and_message_sizes(tmp_path):
    with running(tmp_path, ["--max-body-size=4096", "--max-message-size=2048"]) as server:
        api = server.client()
        json_type = {"Content-Type": "application/json"}
        refused = api.raw("POST", f"{V1}/projects", body_of(4097), json_type)
        assert refused.status == 413 and refused.code == "ambient-api-server-17"
        assert api.raw("POST", f"{V1}/projects", body_of(4096), json_type).status == 201
        path = f"{V1}/sessions/{api.session()['id']}/messages"
        fits = json.dumps({"payload": "x" * (2048 - len(json.dumps({"payload": ""})))}).encode()
        assert len(fits) == 2048 and api.raw("POST", path, fits, json_type).status == 201
        expect_error(api.raw("POST", path, fits[:-2] + b'x"}', json_type), 413, 17)


def test_files_may_be_larger_than_other_bodies(tmp_path):
    with running(tmp_path, ["--max-body-size=4096", "--max-upload-size=8192"]) as server:
        path = f"{V1}/sessions/{server.client().session()['id']}/files/a"
        for head in (lambda n: f"Content-Length: {n}\r\n\r\n".encode(),
                     lambda n: f"Transfer-Encoding: chunked\r\n\r\n{n:x}\r\n".encode()):
            def answer(size):
                with socket.create_connection(("127.0.0.1", server.ports["http"]), 60) as s:
                    s.sendall(f"PUT {path} HTTP/1.1\r\nHost: x\r\n".encode() + head(size) + b"x" * size
                              + (b"\r\n0\r\n\r\n" if size <= 8192 else b""))
                    return s.recv(4096).split(b" ")[1]
            assert answer(8192) == b"503"  # it has no runner
            assert answer(8193) == b"413"


def test_header_size(tmp_path):
    with running(tmp_path, ["--max-header-size=4096"]) as server:
        start = f"GET {V1}/version HTTP/1.1\r\nHost: x\r\nX-Fill: "
        def answer(size):
            with socket.create_connection(("127.0.0.1", server.ports["http"]), 60) as s:
                s.sendall((start + "y" * (size - len(start) - 4) + "\r\n\r\n").encode())
                return s.recv(4096).split(b" ")[1]
        assert answer(2048) == b"200"
        assert answer(8192) == b"431"


def statuses_of_connections(server, count):
    """Opens so many and asks one thing on each. All stay open until the last has its answer."""
    opened = [socket.create_connection(("127.0.0.1", server.ports["http"]), 60) for _ in range(count)]
    try:
        answers = []
        for s in opened:
            try:
                s.sendall(f"GET {V1}/version HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            except (BrokenPipeError, ConnectionResetError):
                pass  # turned away before it could ask; why is there to read
            answers.append(s.recv(4096).decode())
        return answers
    finally:
        for s in opened:
            s.close()


@pytest.mark.parametrize("flag, status", [("--max-connections=5", 503), ("--max-connections-per-peer=5", 429)])
def test_connections(tmp_path, flag, status):
    with running(tmp_path, [flag]) as server:
        answers = wait_for(lambda: (lambda a: a if a[4].startswith("HTTP/1.1 200") else None)(
            statuses_of_connections(server, 6)), "the connections before to be gone")
        assert answers[5].startswith(f"HTTP/1.1 {status}") and "Retry-After:" in answers[5], answers[5]
        assert json.loads(answers[5].split("\r\n\r\n")[1])["kind"] == "Error"
        wait_for(lambda: statuses_of_connections(server, 1)[0].startswith("HTTP/1.1 200"), "room again")


@contextlib.contextmanager
def with_a_user(directory, keys, *args):
    """A server that knows people, and alice's token. The platform and administrators have no such limits."""
    (directory / "jwks.json").write_text(keys.jwks())
    flags = [f"--jwk-cert-file={directory / 'jwks.json'}", "--jwt-issuer=*", "--jwt-audience=*", *args]
    env = {"AMBIENT_ENV": "production", "CREDENTIAL_ENCRYPTION_ALLOW_PLAINTEXT": "true"}
    with running(directory, flags, env) as server:
        token = keys.token("alice")
        api = server.client(token)
        project = api.project("alices")["id"]
        yield server, token, api.session(project_id=project)["id"]


def test_streams_of_one_user(tmp_path, keys):
    with with_a_user(tmp_path, keys, "--max-streams-per-user=2") as (server, token, session):
        streams = [server.stream(session, token) for _ in range(2)]
        path = f"{V1}/sessions/{session}/messages"
        expect_error(server.client(token).raw("GET", path, headers={"Accept": "text/event-stream"}), 429, 9)
        streams.pop().close()
        wait_for(lambda: state_of(server)["ambient_hub_message_watchers"] == 1, "the stream to be gone")
        streams.append(server.stream(session, token))
        for stream in streams:
            stream.close()


def test_grpc_watches_of_one_user(tmp_path, keys):
    with with_a_user(tmp_path, keys, "--grpc-max-watches-per-user=1") as (server, token, session), \
            connected(server, token) as rpc:
        first = rpc.watch("WatchSessionMessages", session_id=session)
        second = rpc.stream("WatchSessionMessages", session_id=session)
        assert second.error()[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        first.close()


def test_grpc_message_size(tmp_path):
    with running(tmp_path, ["--grpc-max-message-size=65536"]) as server, connected(server) as rpc:
        session = rpc.session().metadata.id
        around = len(rpc.push(session, "").session_id) + len("assistant") + 10  # tags and lengths
        assert rpc.push(session, "x" * (65536 - around)).seq == 2
        code, _ = rpc.error("PushSessionMessage", session_id=session, event_type="x", payload="x" * 65536)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert rpc.push(session, "still here").seq == 3


def test_D66_a_watch_that_nobody_needs_gives_its_place_back(tmp_path):
    """One of a session's messages is kept, however quiet it is, and so is what the platform watches."""
    env = {"AMBIENT_API_TOKEN": "platform", "AMBIENT_ADMIN_TOKEN": "admin"}
    with running(tmp_path, ["--grpc-watch-idle-timeout=500ms"], env) as server, connected(server, "admin") as rpc, \
            connected(server, "platform") as platform:
        session = rpc.session().metadata.id
        kept = rpc.watch("WatchSessionMessages", session_id=session)
        watched = platform.watch("WatchProjects")
        idle, busy = rpc.watch("WatchProjects"), rpc.watch("WatchSessions")
        ended = threading.Event()
        threading.Thread(target=lambda: (idle.error(), ended.set()), daemon=True).start()
        said = time.monotonic()
        while not ended.wait(0.1):  # longer than the limit, and silent for so long only where the machine is slow
            asked = time.monotonic()
            made = rpc.session().metadata.id
            try:
                assert busy.next().resource_id == made
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.UNAVAILABLE and time.monotonic() - said >= 0.5
                busy = rpc.watch("WatchSessions")
            said = asked
        assert idle.call.code() == grpc.StatusCode.UNAVAILABLE and "watch again" in idle.call.details()
        assert busy.error()[0] == grpc.StatusCode.UNAVAILABLE  # when that has nothing to say any more
        rpc.push(session, "still here")
        assert kept.next().payload == "still here"
        rpc.call("CreateProject", name="still-here")
        assert watched.next().resource_id == "still-here"


async def ask_once(port, path, answers):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    answers.append((int(head.split(b" ")[1]), head.decode(), body))
    writer.close()


async def ask_many(port, path, count):
    answers = []
    await asyncio.gather(*(ask_once(port, f"{path}&n={n}", answers) for n in range(count)))
    return answers


def test_overload_is_refused_and_health_answers(tmp_path):
    """2,000 clients ask for what takes the store long. Some are served, the others are told to come again; nobody waits
    for ever, the health listener goes on answering, and when it is over everything is as before."""
    with running(tmp_path, ["--store-max-wait=100ms"]) as server:
        api = server.client()
        for n in range(40):
            api.session(prompt="a" * 60000 + str(n))
        # A pattern that has to look at every byte, and never matches.
        slow = f"{V1}/sessions?size=1&search=prompt%20like%20%27" + "%25a" * 20 + "%25b%27"
        stop, health = threading.Event(), []

        def watch_health():
            while not stop.is_set():
                health.append(ask_health(server, "/healthcheck").status)

        watcher = threading.Thread(target=watch_health)
        watcher.start()
        try:
            answers = asyncio.run(ask_many(server.ports["http"], slow, 2000))
        finally:
            stop.set()
            watcher.join()
        served = [a for a in answers if a[0] == 200]
        refused = [a for a in answers if a[0] == 503]
        assert len(served) + len(refused) == 2000 and served and refused
        for _, head, body in refused:
            assert "Retry-After: 1" in head and json.loads(body)["code"] == "ambient-api-server-9"
        assert set(health) == {200}
        assert api.get("/sessions", query={"size": 1}).status == 200
        assert state_of(server)["ambient_store_queue_length"] == 0
