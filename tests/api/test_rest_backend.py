"""The way to another server for paths that are not ours. rest-core.md 1.7, governance 6.3, D36, D72."""
import http.client
import http.server
import json
import socket
import threading

import pytest

from api_support import AUDIENCE, ISSUER, expect_error, free_port, running, wait_for


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen, gone = [], []
    release = threading.Event()

    def log_message(self, *args):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def stream(self, broken):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"9\r\ndata: 1\n\n\r\n")
        self.wfile.flush()
        Backend.release.wait(60)
        try:
            for _ in range(1 if broken else 100000):
                self.wfile.write(b"9\r\ndata: 2\n\n\r\n")
                self.wfile.flush()
                if "endless" not in self.path:
                    break
        except OSError:
            Backend.gone.append(self.path)
            return
        if broken:
            self.close_connection = True
        else:
            self.wfile.write(b"0\r\n\r\n")

    def serve(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        Backend.seen.append((self.command, self.path, self.headers.items(), body))
        if "redirect" in self.path:
            self.answer(302, b"over there", [("Location", "https://elsewhere/x?y=1")])
        elif "stream" in self.path:
            self.stream("broken" in self.path)
        elif "headers" in self.path:
            self.answer(200, b"{}", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Own", "kept"),
                                     ("Connection", "keep-alive, X-Hop"), ("X-Hop", "gone"), ("Keep-Alive", "x=1")])
        elif "nothing" in self.path:
            self.answer(int(self.path.rsplit("/", 1)[1]))
        else:
            self.answer(404 if "missing" in self.path else 200, b"body of " + self.path.encode())

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_REPORT = serve


@pytest.fixture(scope="module")
def backend():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    Backend.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def front(tmp_path_factory, backend):
    env = {"BACKEND_URL": backend + "/base/", "AMBIENT_ADMIN_TOKEN": "mine"}
    with running(tmp_path_factory.mktemp("backend"), env=env) as server:
        yield server


@pytest.fixture
def client(front):
    Backend.seen.clear()
    Backend.release.clear()
    one = front.client("mine")
    yield one
    one.close()


@pytest.mark.parametrize("method, body", [("GET", None), ("POST", b"\x00\xff" * 1000), ("PUT", b"x"), ("PATCH", b"y"),
                                          ("DELETE", None), ("REPORT", b"z")])
def test_method_target_and_body_go_on_as_they_came(client, method, body):
    target = "/api/other/a%2Fb/../c//d%20e?x=%2F&y=a+b&z"
    got = client.raw(method, target, body)
    assert got.body == b"body of /base" + target.encode()
    [(sent, path, _, content)] = Backend.seen
    assert (sent, path, content) == (method, "/base" + target, body or b"")


def test_the_backend_is_told_who_calls_and_not_with_what(front, backend, tmp_path, keys):
    """D36: cookies and tokens of callers went to the backend."""
    (tmp_path / "jwks.json").write_text(keys.jwks())
    args = [f"--jwk-cert-file={tmp_path / 'jwks.json'}", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE]
    sent = {"Cookie": "c=1", "X-Forwarded-User": "root", "X-Forwarded-Email": "root@x", "X-Forwarded-Groups": "admins",
            "X-Ambient-Actor": "admin", "X-Custom": "kept", "Connection": "keep-alive, X-Hop", "X-Hop": "gone",
            "TE": "trailers", "Upgrade": "websocket", "Proxy-Authorization": "Basic x"}
    token = keys.token("alice", iss=ISSUER, aud=AUDIENCE, email="alice@x")
    for forward in (False, True):
        env = {"BACKEND_URL": backend, "AMBIENT_ENV": "production", "CREDENTIAL_ENCRYPTION_ALLOW_PLAINTEXT": "true",
               "BACKEND_FORWARD_TOKEN": str(forward).lower()}
        with running(tmp_path, args, env) as server:
            Backend.seen.clear()
            assert server.client(token).raw("GET", "/x", headers=sent).status == 200
            [(_, _, headers, _)] = Backend.seen
            got = {k.lower(): v for k, v in headers}
            assert len(got) == len(headers), "a header came twice"
            assert (got["x-forwarded-user"], got["x-forwarded-email"]) == ("alice", "alice@x")
            assert got["x-ambient-actor"] == "user:alice" and got["x-custom"] == "kept"
            assert got["x-forwarded-for"] == "127.0.0.1" and got["host"] == backend.removeprefix("http://")
            assert not {"x-hop", "te", "upgrade", "proxy-authorization", "x-forwarded-groups"} & set(got)
            assert ("authorization" in got, "cookie" in got) == (forward, forward)
            assert forward or token not in json.dumps(headers)


def test_it_is_behind_authentication(front):
    for path in ("/", "/health", "/api/other", "/api/ambientx"):
        Backend.seen.clear()
        expect_error(front.client().raw("GET", path), 401, 15)
        expect_error(front.client("wrong").raw("GET", path), 401, 15)
        assert not Backend.seen
        assert front.client("mine").raw("GET", path).status == 200
        assert Backend.seen[0][1] == "/base" + path


def test_our_own_paths_stay_here(client):
    for path in ("/api/ambient/", "/api/ambient/v1/nope", "/api/ambient/v2", "/metrics", "/favicon.ico"):
        assert client.raw("GET", path).status in (200, 404)
    assert client.raw("GET", "/api/ambient").json()["kind"] == "API"
    assert not Backend.seen


def test_answers_come_back_whatever_they_are(client):
    """D72: redirects were followed by the server, hop-by-hop headers went through."""
    there = client.raw("GET", "/redirect")
    assert (there.status, there.headers["Location"], there.body) == (302, "https://elsewhere/x?y=1", b"over there")
    assert (client.raw("GET", "/missing").status, client.raw("GET", "/missing").body) == (404, b"body of /base/missing")
    headers = client.raw("GET", "/headers").headers
    assert headers.get_all("Set-Cookie") == ["a=1", "b=2"] and headers["X-Own"] == "kept"
    assert "X-Hop" not in headers and "Keep-Alive" not in headers
    for status in (204, 304):
        assert client.raw("GET", f"/nothing/{status}").status == status
    assert client.raw("HEAD", "/x").body == b""
    assert client.raw("GET", "/after").status == 200


def test_streams_flow_and_their_end_is_told(front, client):
    Backend.release.clear()
    connection = http.client.HTTPConnection("127.0.0.1", front.ports["http"], timeout=60)
    connection.request("GET", "/stream", headers={"Authorization": "Bearer mine"})
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.readline() == b"data: 1\n"  # before the backend has written the rest
    Backend.release.set()
    assert response.read() == b"\ndata: 2\n\n"
    connection.request("GET", "/stream/broken", headers={"Authorization": "Bearer mine"})
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()


def test_a_client_that_leaves_ends_the_exchange(front, client):
    Backend.gone.clear()
    with socket.create_connection(("127.0.0.1", front.ports["http"])) as s:
        s.sendall(b"GET /stream/endless HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer mine\r\n\r\n")
        assert s.recv(100)
    Backend.release.set()
    wait_for(lambda: Backend.gone, "the backend to see the client leave")


def test_without_a_backend(tmp_path):
    with running(tmp_path, env={"BACKEND_URL": f"http://127.0.0.1:{free_port()}"}) as server:
        expect_error(server.client().raw("GET", "/x"), 502, 9, "backend unavailable")
        assert server.client().ok("GET", "/sessions")["items"] == []


def test_it_is_off_unless_configured(api):
    answer = api.raw("GET", "/anything")
    assert answer.status == 404 and answer.json()["type"] == "Error"


@pytest.mark.parametrize("url", ["ftp://x", "http://user:pa55w0rd@x", "nonsense", "http://x/?q"])
def test_a_wrong_address_is_refused_at_start(tmp_path, server, url):
    result = server.run("serve", f"--backend-url={url}")
    assert result.returncode in (1, 2)
    assert "ambient-api-server: --backend-url" in result.stderr and "pa55w0rd" not in result.stderr
