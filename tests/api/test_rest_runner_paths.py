"""Every sub-resource that a session's runner answers: its path there, its parameters, its answers and its absence.
rest-core.md 11.4."""
import base64
import hashlib
import hmac
import http.server
import itertools
import json
import socket
import struct
import threading

import pytest

from api_support import V1, expect_error, free_port, running

ANSWERS = {  # by path at the runner
    "/tasks": {"tasks": [{"task_id": "t1"}]},
    "/capabilities": {"framework": "claude"},
    "/mcp/status": {"servers": [{"name": "x"}], "totalCount": 1},
    "/repos/status": {"repos": [{"name": "r"}]},
    "/content/list": {"items": [{"name": "a", "isDir": False}]},
    "/content/git-status": {"initialized": True, "hasChanges": False},
    "/content/git-list-branches": {"branches": ["main", "topic"]},
}
STUBS = {
    "/tasks": {"tasks": [], "total": 0}, "/capabilities": {"framework": "unknown"},
    "/agui/tasks": {"tasks": [], "total": 0}, "/agui/capabilities": {"framework": "unknown"},
    "/mcp/status": {"servers": [], "totalCount": 0}, "/repos/status": [], "/workspace": {"files": []},
    "/files": {"files": []}, "/git/status": {"modified": [], "staged": [], "untracked": []}, "/git/branches": [],
}
WRITES = [("POST", "/run"), ("POST", "/agui/run"), ("POST", "/interrupt"), ("POST", "/agui/interrupt"),
          ("POST", "/feedback"), ("POST", "/agui/feedback"), ("POST", "/tasks/t/stop"), ("POST", "/agui/tasks/t/stop"),
          ("PUT", "/workspace/a"), ("DELETE", "/workspace/a"), ("PUT", "/files/a"), ("DELETE", "/files/a"),
          ("POST", "/git/configure-remote"), ("GET", "/tasks/t/output"), ("GET", "/logs"), ("GET", "/workspace/a"),
          ("GET", "/files/a")]


class Runner(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = []
    answer = None  # (status, type, bytes, headers) instead of the table's

    def log_message(self, *args):
        pass

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Runner.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        path = self.path.split("/runner", 1)[1].split("?")[0]
        good = json.dumps(ANSWERS.get(path, {"message": "ok"})).encode()
        status, kind, data, headers = Runner.answer or (200, "application/json", good, {})
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = serve


@pytest.fixture(scope="module")
def platform(tmp_path_factory):
    runner = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Runner)
    threading.Thread(target=runner.serve_forever, daemon=True).start()
    env = {"RUNNER_URL_TEMPLATE": f"http://127.0.0.1:{runner.server_port}/{{id}}/runner", "AMBIENT_ADMIN_TOKEN": "mine"}
    with running(tmp_path_factory.mktemp("paths"), env=env) as server:
        yield server
    runner.shutdown()
    runner.server_close()


@pytest.fixture
def session(platform):
    client = platform.client("mine", Cookie="c=1")
    session_id = client.session()["id"]
    client.status(session_id, phase="Running", kube_namespace="local")
    Runner.seen.clear()
    Runner.answer = None
    yield client, f"/sessions/{session_id}"
    client.close()


def asked():
    [(method, target, headers, body)] = Runner.seen
    Runner.seen.clear()
    for name in ("authorization", "cookie", "x-forwarded-access-token"):
        assert name not in headers, f"the caller's {name} went to the runner"
    return method, target.split("/runner", 1)[1], body


@pytest.mark.parametrize("path, target, answer", [
    ("/tasks", "/tasks", {"tasks": [{"task_id": "t1"}], "total": 1}),
    ("/capabilities", "/capabilities", {"framework": "claude"}),
    ("/mcp/status", "/mcp/status", ANSWERS["/mcp/status"]),
    ("/repos/status", "/repos/status", ANSWERS["/repos/status"]),
    ("/workspace", "/content/list?path=%2F", {"files": ANSWERS["/content/list"]["items"]}),
    ("/workspace?path=/a%20b/c", "/content/list?path=%2Fa+b%2Fc", {"files": ANSWERS["/content/list"]["items"]}),
    ("/files", "/content/list?path=%2Ffile-uploads%2F", {"files": ANSWERS["/content/list"]["items"]}),
    ("/git/status?path=repos/x", "/content/git-status?path=repos/x", ANSWERS["/content/git-status"]),
    ("/git/branches?path=repos/x", "/content/git-list-branches?path=repos/x", ["main", "topic"]),
    ("/tasks/t-1/output?x=%2F", "/tasks/t-1/output?x=%2F", {"message": "ok"}),
])
def test_reads(session, path, target, answer):
    client, base = session
    for prefix in ("", "/agui") if path in ("/tasks", "/capabilities") else ("",):
        got = client.get(base + prefix + path, headers={"X-Forwarded-Access-Token": "mine"})
        assert (got.status, got.json()) == (200, answer)
        assert "X-Ambient-Runner" not in got.headers
        assert asked() == ("GET", target, b"")


@pytest.mark.parametrize("path, target", [
    ("/run", "/"), ("/interrupt", "/interrupt"), ("/feedback", "/feedback"), ("/tasks/t-1/stop", "/tasks/t-1/stop"),
    ("/git/configure-remote", "/content/git-configure-remote")])
def test_posts(session, path, target):
    client, base = session
    for prefix in ("", "/agui") if not path.startswith("/git") else ("",):
        got = client.post(f"{base}{prefix}{path}?q=a%20b", {"a": 1})
        assert (got.status, got.json()) == (200, {"message": "ok"})
        method, went, body = asked()
        assert (method, went, json.loads(body)) == ("POST", target + "?q=a%20b", {"a": 1})


@pytest.mark.parametrize("collection, root", [("/workspace", ""), ("/files", "file-uploads/")])
def test_files_and_their_names(session, collection, root):
    client, base = session
    name, escaped = "a b/ü?#%&.bin", "a%20b/%C3%BC%3F%23%25%26.bin"
    content = bytes(range(256)) * 3
    assert client.call("PUT", f"{base}{collection}/{escaped}", content).json() == {"message": "ok"}
    method, went, body = asked()
    sent = json.loads(body)
    assert (method, went, sent["path"], sent["encoding"]) == ("POST", "/content/write", root + name, "base64")
    assert base64.b64decode(sent["content"]) == content
    Runner.answer = (200, "application/octet-stream", content, {})
    got = client.get(f"{base}{collection}/{escaped}")
    assert got.body == content and got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    quoted = (root + name).replace("/", "%2F").replace(" ", "+").replace("ü", "%C3%BC").replace("#", "%23")
    method, went, _ = asked()
    assert (method, went.replace("%25", "%").replace("%26", "&").replace("%3F", "?")) == \
        ("GET", "/content/file?path=%2F" + quoted)
    Runner.answer = None
    assert client.delete(f"{base}{collection}/{escaped}").status == 200
    method, went, body = asked()
    assert (method, went, json.loads(body)) == ("DELETE", "/content/delete", {"path": root + name})


def test_a_path_cannot_leave(session):
    """Dots are resolved before the router looks; what is left is a path of the API, not of the runner."""
    client, base = session
    for path in ("/workspace/../../x", "/workspace/%2e%2e/x", "/workspace/a//b"):
        assert client.get(base + path).status == 301
    assert client.get(f"{base}/tasks/t%2F1/output").status == 404  # an encoded slash is one to the router
    expect_error(client.get(f"{base}/workspace/%ff%fe"), 400, 8, "a path must be UTF-8")
    assert not Runner.seen


def test_refusals_are_error_objects_with_the_runners_status(session):
    client, base = session
    for status, number in ((400, 8), (404, 7), (409, 6), (413, 17), (422, 8), (500, 9), (503, 9)):
        Runner.answer = (status, "application/json", b'{"detail":"because"}', {})
        body = client.get(f"{base}/workspace/a").json()
        assert body["detail"] == "because" and body["kind"] == "Error"
        assert body["id"] == str(number) and body["error"] == body["reason"]
    for status in (401, 302):  # a matter between us and the runner
        Runner.answer = (status, "application/json", b"{}", {"Location": "http://elsewhere/"})
        expect_error(client.get(f"{base}/workspace/a"), 502, 9, "runner returned non-OK status")
    Runner.answer = (404, "application/json", b'{"detail":"not found"}', {})
    assert client.get(f"{base}/files").json() == {"files": []}
    assert client.get(f"{base}/workspace").status == 404
    Runner.answer = (200, "text/html", b"<p>", {})
    expect_error(client.get(f"{base}/git/branches"), 502, 9, "the runner's answer is not JSON")
    Runner.answer = (404, "application/json", b'{"error":"no"}', {"X-Ambient-Runner": "unavailable"})
    assert client.get(f"{base}/git/branches").json() == []
    expect_error(client.get(f"{base}/workspace/a"), 502, 9, "runner not reachable")


def expect_stubs(client, base):
    for path, stub in STUBS.items():
        got = client.get(base + path)
        assert (got.status, got.json()) == (200, stub), path
        assert got.headers["X-Ambient-Runner"] == "unavailable", path


def test_a_client_that_leaves_is_not_worked_for(tmp_path):
    asked, gone = threading.Event(), threading.Event()

    class Slow(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            asked.set()
            self.connection.recv(1)  # nothing more comes but the end
            gone.set()
    slow = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    slow.daemon_threads = True
    threading.Thread(target=slow.serve_forever, daemon=True).start()
    env = {"RUNNER_URL_TEMPLATE": f"http://127.0.0.1:{slow.server_port}/{{id}}",
           "BACKEND_URL": f"http://127.0.0.1:{slow.server_port}"}
    with running(tmp_path, env=env) as server:
        session_id = server.client().session()["id"]
        server.client().status(session_id, phase="Running", kube_namespace="local")
        paths = f"{V1}/sessions/{session_id}/workspace/a", f"{V1}/sessions/{session_id}/tasks", "/backend"
        for path, reset in itertools.product(paths, (False, True)):
            asked.clear()
            gone.clear()
            with socket.create_connection(("127.0.0.1", server.ports["http"])) as s:
                s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert asked.wait(60), path
                if reset:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            assert gone.wait(30), path  # the server itself would wait for sixty
    slow.shutdown()
    slow.server_close()


def test_without_a_runner(platform):
    client = platform.client("mine")
    base = f"/sessions/{client.session()['id']}"
    expect_stubs(client, base)
    for method, path in WRITES:
        got = client.call(method, base + path)
        expect_error(got, 503, 9, "session runner not available")
        assert got.headers["X-Ambient-Runner"] == "unavailable"
        expect_error(client.call(method, f"/sessions/nobody{path}"), 404, 7, "session not found")


def test_with_a_runner_that_is_gone(tmp_path):
    """DEFECT of 11.4: writes to an unreachable runner looked like success."""
    with running(tmp_path, env={"RUNNER_URL_TEMPLATE": f"http://127.0.0.1:{free_port()}/{{id}}"}) as server:
        client = server.client()
        session_id = client.session()["id"]
        client.status(session_id, phase="Running", kube_namespace="local")
        expect_stubs(client, f"/sessions/{session_id}")
        for method, path in WRITES:
            expect_error(client.call(method, f"/sessions/{session_id}{path}"), 502, 9, "runner not reachable")


# ---- runners in pods ----

class Gateway(http.server.BaseHTTPRequestHandler):
    """An HTTP proxy in front of a cluster that is not there: it answers in the pods' place."""
    protocol_version = "HTTP/1.1"
    seen = []

    def log_message(self, *args):
        pass

    def do_GET(self):
        Gateway.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")


@pytest.mark.parametrize("key", ["AMBIENT_RUNNER_KEY", "AMBIENT_API_TOKEN"])
def test_each_runner_in_a_pod_gets_a_token_of_its_own(tmp_path, key):
    gateway = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    env = {"http_proxy": f"http://127.0.0.1:{gateway.server_port}", "AMBIENT_API_TOKEN": "platform-secret",
           "AMBIENT_ADMIN_TOKEN": "mine", key: "a key of the platform"}
    with running(tmp_path, env=env) as server:
        client = server.client("mine")
        for _ in range(2):
            session_id = client.session()["id"]
            client.status(session_id, phase="Running", kube_namespace="team-a")
            assert client.ok("GET", f"/sessions/{session_id}/capabilities") == {}
            path, headers = Gateway.seen.pop()
            assert path == f"http://session-{session_id.lower()}.team-a.svc.cluster.local:8001/capabilities"
            wanted = hmac.new(b"a key of the platform", b"ambient-runner\n" + session_id.encode(), hashlib.sha256)
            assert headers["x-ambient-session-token"] == wanted.hexdigest()
            assert not {"authorization", "x-ambient-proxy-token"} & set(headers)
    gateway.shutdown()
    gateway.server_close()
