"""Our HTTP client against Python's server: bodies, streams, TLS, proxies, limits, and what it must not do."""
import http.server
import os
import ssl
import subprocess
import threading

import pytest

from http_support import FETCH, PATIENCE, write_certificate

PROXIES = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, **fields):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/redirect":
            self.answer(302, b"", Location="/secret")
        elif self.path == "/events":
            self.events()
        elif self.path == "/big":
            self.answer(200, b"x" * 3_000_000)
        elif self.path == "/missing":
            self.answer(404, b"not here", Content_Type="text/plain")
        else:
            self.answer(200, b"you said " + body, Content_Type="text/plain")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for i in range(3):
            event = b"data: %d\n\n" % i
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        self.scheme = "https" if context else "http"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path="/", host="127.0.0.1"):
        return f"{self.scheme}://{host}:{self.server_port}{path}"

    def handle_error(self, request, client_address):
        pass  # a handshake that fails is what some tests are about


@pytest.fixture
def server():
    s = Server()
    yield s
    s.shutdown()
    s.server_close()


@pytest.fixture
def secure(tmp_path):
    cert, key = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    s = Server(context)
    s.cert = cert
    yield s
    s.shutdown()
    s.server_close()


def fetch(method, url, *options, **env):
    clean = {k: v for k, v in os.environ.items() if k not in PROXIES}
    r = subprocess.run([FETCH, method, url, *options], env={**clean, **env}, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, timeout=PATIENCE, check=False)
    assert r.returncode in (0, 1)
    head, _, body = r.stdout.partition(b"\n")
    return head.decode(), body


def test_get(server):
    assert fetch("GET", server.url("/a?b=c")) == ("200 text/plain", b"you said ")
    method, path, fields = server.seen[0]
    assert (method, path) == ("GET", "/a?b=c")
    assert fields["User-Agent"].startswith("ambient/")
    assert "Content-Type" not in fields and "Authorization" not in fields


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_bodies(server, method):
    assert fetch(method, server.url(), "body={\"a\":1}") == ("200 text/plain", b'you said {"a":1}')
    assert server.seen[0][0] == method and "Expect" not in server.seen[0][2]


def test_error_answers_have_their_body(server):
    assert fetch("GET", server.url("/missing")) == ("404 text/plain", b"not here")
    assert fetch("GET", server.url("/missing"), "stream") == ("404 text/plain", b"")


def test_token_goes_to_the_server_and_not_behind_a_redirect(server):
    head, _ = fetch("GET", server.url("/redirect"), "bearer=t0ken")
    assert head.startswith("302")
    assert [(path, fields["Authorization"]) for _, path, fields in server.seen] == [("/redirect", "Bearer t0ken")]


def test_stream(server):
    head, body = fetch("GET", server.url("/events"), "stream")
    assert head == "200 text/event-stream" and body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"


def test_limit(server):
    assert fetch("GET", server.url("/big"), "max=3000000")[1] == b"x" * 3_000_000
    assert fetch("GET", server.url("/big"), "max=2999999")[0].startswith("TOO_LARGE ")


def test_other_schemes_are_refused(server):
    for url in ("file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "127.0.0.1"):
        assert fetch("GET", url)[0].startswith("INVALID ")


def test_names_are_looked_up(server):
    assert fetch("GET", server.url(host="localhost"))[0] == "200 text/plain"
    assert fetch("GET", "http://no-such-host.invalid/")[0].startswith("UNAVAILABLE ")


def test_tls_is_verified(secure, tmp_path):
    url = secure.url(host="localhost")
    assert fetch("GET", url, f"ca={secure.cert}") == ("200 text/plain", b"you said ")
    assert fetch("GET", url)[0].startswith("UNAVAILABLE ")  # the system's roots do not know it
    assert fetch("GET", secure.url(), f"ca={secure.cert}")[0].startswith("UNAVAILABLE ")  # 127.0.0.1 is not its name
    assert fetch("GET", secure.url(), "insecure")[0] == "200 text/plain"
    assert len(secure.seen) == 2


def test_proxy_of_the_environment_is_used_but_not_for_this_machine(server):
    proxy = server.url()
    head, _ = fetch("GET", "http://elsewhere.invalid/x", http_proxy=proxy)
    assert head == "200 text/plain" and server.seen[-1][1] == "http://elsewhere.invalid/x"
    for host in ("127.0.0.1", "localhost"):
        assert fetch("GET", server.url("/direct", host), http_proxy="http://127.0.0.1:1")[0] == "200 text/plain"
        assert server.seen[-1][1] == "/direct"
