"""HTTP/1.1 as an attacker, a broken proxy or a slow client speaks it, over raw sockets, against the room's own small
server and against ambient-api-server: every shape gets its answer, the connection is closed where readers could
disagree on what follows, and the server is there afterwards with bounded memory."""
import contextlib
import random
import socket
import ssl
import time

import pytest

import api_support
from http_support import PATIENCE, httpd, write_certificate

HOST = b"Host: x\r\n"


class Target:
    def __init__(self, port, pid, path):
        self.port, self.pid, self.path = port, pid, path

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def rss_mib(self):
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmRSS")

    def get(self, version=b"HTTP/1.1", fields=b""):
        return b"GET " + self.path + b" " + version + b"\r\n" + HOST + fields + b"\r\n"

    def must_serve(self):
        with self.connect() as s:
            s.sendall(self.get(fields=b"Connection: close\r\n"))
            assert read_all(s).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.fixture(scope="module")
def small():
    with httpd() as (port, pid):
        yield Target(port, pid, b"/hello")


@pytest.fixture(scope="module", params=["test-httpd", "ambient-api-server"])
def target(request, tmp_path_factory):
    if request.param == "test-httpd":
        with httpd() as (port, pid):
            yield Target(port, pid, b"/hello")
    else:
        with api_support.running(tmp_path_factory.mktemp("http")) as server:
            yield Target(server.ports["http"], server.process.pid, b"/api/ambient")


def read_all(s):
    """Until the server closes. A reset counts as an end; what came before it counts."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := s.recv(65536):
            parts.append(part)
    return b"".join(parts)


def read_answer(s, data=b""):
    """One answer with Content-Length, and the bytes behind it."""
    while b"\r\n\r\n" not in data:
        part = s.recv(65536)
        assert part, data
        data += part
    head, rest = data.split(b"\r\n\r\n", 1)
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
    length = int(fields[b"content-length"])
    while len(rest) < length:
        part = s.recv(65536)
        assert part
        rest += part
    return head, rest[:length], rest[length:]


CHUNKED = b"Transfer-Encoding: chunked\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST

# name: (raw request, status)
SHAPES = {
    "length beside coding": (POST + b"Content-Length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\n", 400),
    "coding beside length": (POST + CHUNKED + b"Content-Length: 6\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n", 400),
    "two equal lengths": (POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
    "list of lengths": (POST + b"Content-Length: 0, 44\r\n\r\n", 400),
    "signed length": (POST + b"Content-Length: +0\r\n\r\n", 400),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "hexadecimal length": (POST + b"Content-Length: 0x0\r\n\r\n", 400),
    "length with a vertical tab": (POST + b"Content-Length: \x0b0\r\n\r\n", 400),
    "huge length": (POST + b"Content-Length: 18446744073709551616\r\n\r\n", 413),
    "length over the limit": (POST + b"Content-Length: 999999999\r\n\r\n", 413),
    "unknown coding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "coding behind a tab": (POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n", 400),
    "coding list": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunked is not last": (POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400),
    "two codings": (POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n", 400),
    "identity then chunked": (POST + b"Transfer-Encoding: identity\r\n" + CHUNKED + b"\r\n0\r\n\r\n", 400),
    "coding in 1.0": (b"POST / HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n0\r\n\r\n", 400),
    "space before the colon": (POST + b"Content-Length : 44\r\n\r\n", 400),
    "tab before the colon": (POST + b"Transfer-Encoding\t: chunked\r\n\r\n", 400),
    "folded value": (POST + b"X: a\r\n Content-Length: 44\r\n\r\n", 400),
    "folded coding": (POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n", 400),
    "space before the first field": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "bare LF lines": (b"GET / HTTP/1.1\nHost: x\n\n", 400),
    "bare LF in the fields": (POST + b"X: a\nContent-Length: 44\r\n\r\n", 400),
    "bare CR in a value": (POST + b"X: a\rContent-Length: 44\r\n\r\n", 400),
    "NUL in a value": (POST + b"X: a\0b\r\n\r\n", 400),
    "NUL in a name": (POST + b"X\0: a\r\n\r\n", 400),
    "no name": (POST + b": a\r\n\r\n", 400),
    "no colon": (POST + b"X\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET / HTTP/1.1\r\n" + HOST + b"Host: y\r\n\r\n", 400),
    "host with a path": (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
    "no version": (b"GET /\r\n", 400),
    "version 2": (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
    "two spaces": (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "broken escape": (b"GET /%zz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "escaped NUL": (b"GET /%00 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "CONNECT": (b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no method": (b" / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "very long method": (b"A" * 5000 + b" / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "unknown expectation": (POST + b"Expect: cake\r\nContent-Length: 4\r\n\r\n", 417),
    "chunk without a size": (POST + CHUNKED + b"\r\n\r\n", 400),
    "chunk with a sign": (POST + CHUNKED + b"\r\n+1\r\na\r\n0\r\n\r\n", 400),
    "chunk with 0x": (POST + CHUNKED + b"\r\n0x1\r\na\r\n0\r\n\r\n", 400),
    "chunk size with a space": (POST + CHUNKED + b"\r\n1 \r\na\r\n0\r\n\r\n", 400),
    "chunk size ended by LF": (POST + CHUNKED + b"\r\n1\na\r\n0\r\n\r\n", 400),
    "chunk longer than its size": (POST + CHUNKED + b"\r\n1\r\nabc\r\n0\r\n\r\n", 400),
    "chunk ended by LF": (POST + CHUNKED + b"\r\n1\r\na\n0\r\n\r\n", 400),
    "chunk size that overflows": (POST + CHUNKED + b"\r\n10000000000000001\r\na\r\n0\r\n\r\n", 400),
    "chunk over the limit": (POST + CHUNKED + b"\r\nFFFFFFF0\r\n", 413),
    "endless chunk extension": (POST + CHUNKED + b"\r\n1;" + b"a" * 20000 + b"\r\n", 400),
    "folded trailer": (POST + CHUNKED + b"\r\n0\r\nA: b\r\n c\r\n\r\n", 400),
    "many fields": (POST + b"A: b\r\n" * 1000 + b"\r\n", 431),
    "large fields": (POST + b"A: " + b"b" * (4 << 20) + b"\r\n\r\n", 431),
}


@pytest.mark.parametrize("raw, status", SHAPES.values(), ids=SHAPES.keys())
def test_shape_is_refused_and_nothing_is_smuggled(target, raw, status):
    with target.connect() as s:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            s.sendall(raw)
            s.sendall(target.get())  # behind the refused one: must not be answered
        answer = read_all(s)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
    assert answer.count(b"HTTP/1.1 ") == 1, answer
    assert b"\r\nConnection: close\r\n" in answer
    target.must_serve()


def test_garbage_leaves_the_server_up(target):
    rng = random.Random(7)
    words = [b"GET ", b"/", b" HTTP/1.1", b"\r\n", b"\n", b"\r", HOST, CHUNKED, b"Content-Length: ", b"5", b"0", b":",
             b" ", b"\0", b"\xff"]
    for _ in range(300):
        raw = b"".join(rng.choice(words) if rng.random() < 0.8 else rng.randbytes(3)
                       for _ in range(rng.randrange(1, 30)))
        with target.connect() as s, contextlib.suppress(ConnectionResetError, BrokenPipeError):
            s.sendall(raw)
            s.shutdown(socket.SHUT_WR)
            read_all(s)
    target.must_serve()


def test_request_in_single_bytes(target):
    with target.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in target.get():
            s.sendall(bytes([byte]))
        assert read_answer(s)[0].startswith(b"HTTP/1.1 200 OK")


def test_pipelined_requests_are_all_answered(target):
    with target.connect() as s:
        s.sendall(target.get() * 200)
        rest = b""
        for _ in range(200):
            head, _, rest = read_answer(s, rest)
            assert head.startswith(b"HTTP/1.1 200 OK")
        assert rest == b""


def test_pipelined_requests_behind_a_half_close(target):
    with target.connect() as s:
        s.sendall(target.get() * 20)
        s.shutdown(socket.SHUT_WR)
        assert read_all(s).count(b"HTTP/1.1 200 OK") == 20


def test_http10_closes(target):
    with target.connect() as s:
        s.sendall(target.get(b"HTTP/1.0"))
        assert read_all(s).startswith(b"HTTP/1.1 200 OK")
    with target.connect() as s:
        s.sendall(target.get(b"HTTP/1.0", b"Connection: keep-alive\r\n") * 2)
        _, _, rest = read_answer(s)
        read_answer(s, rest)


def test_refused_body_does_not_reset_the_answer(target):
    with target.connect() as s:
        s.sendall(POST + b"Content-Length: 99999999\r\n\r\n" + b"x" * 500_000)
        assert read_all(s).startswith(b"HTTP/1.1 413 ")


def test_clients_that_leave_in_the_middle(target):
    whole = POST + b"Content-Length: 5\r\n\r\nhello"
    for n in range(1, len(whole)):
        with target.connect() as s:
            s.sendall(whole[:n])
    target.must_serve()


def test_many_unfinished_requests_cost_little(target):
    target.must_serve()
    before = target.rss_mib()
    with contextlib.ExitStack() as stack:
        for _ in range(400):
            s = stack.enter_context(target.connect())
            s.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * 1000 + b"\r\n")
        target.must_serve()
        assert target.rss_mib() - before < 40  # a sanitizer's build needs several times of what is needed
    target.must_serve()


def test_drip_of_headers_is_cut(small):
    with small.connect() as s:
        start = time.monotonic()
        s.sendall(b"GET / HTTP/1.1\r\n")
        s.settimeout(0.05)
        answer = b""
        while not answer:
            assert time.monotonic() - start < PATIENCE
            with contextlib.suppress(TimeoutError):
                answer = s.recv(1000)
            if not answer:
                s.sendall(b"X: y\r\n")
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_drip_of_a_body_is_cut(small):
    with small.connect() as s:
        s.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n")
        s.settimeout(0.05)
        end, answer = time.monotonic() + PATIENCE, b""
        while not answer:
            assert time.monotonic() < end
            with contextlib.suppress(TimeoutError):
                answer = s.recv(1000)
            if not answer:
                s.sendall(b"x")
        assert answer.startswith(b"HTTP/1.1 408 ")


def test_silent_connection_is_closed_without_a_word(small):
    with small.connect() as s:
        assert read_all(s) == b""


def test_stream_that_is_not_read_costs_little(small):
    small.must_serve()
    before = small.rss_mib()
    count = 1_000_000
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(small.connect()) for _ in range(20)]
        for s in readers:
            s.sendall(b"GET /events?n=%d HTTP/1.1\r\n" % count + HOST + b"\r\n")
        for s in readers:
            assert s.recv(10)
        small.must_serve()
        assert small.rss_mib() - before < 60
        s, total, tail = readers[0], 10, b""  # one of them reads after all, and gets everything
        while not tail.endswith(b"\r\n0\r\n\r\n"):
            part = s.recv(1 << 20)
            assert part
            total += len(part)
            tail = (tail + part)[-20:]
        assert total > count * len(b"data: one event of a stream\n\n")
    small.must_serve()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secure(certificate):
    with httpd("127.0.0.1:0", *certificate) as (port, pid):
        yield Target(port, pid, b"/hello")


def tls_context(certificate, **versions):
    context = ssl.create_default_context(cafile=certificate[0])
    for name, version in versions.items():
        setattr(context, name, version)
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_versions_that_are_spoken(secure, certificate, version):
    context = tls_context(certificate, minimum_version=version, maximum_version=version)
    with secure.connect() as s, context.wrap_socket(s, server_hostname="localhost") as t:
        t.sendall(secure.get() * 2)
        _, body, rest = read_answer(t)
        assert body == b"hello"
        read_answer(t, rest)


def test_tls_stream(secure, certificate):
    with secure.connect() as s, tls_context(certificate).wrap_socket(s, server_hostname="localhost") as t:
        t.sendall(b"GET /events?n=20000 HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        assert read_all(t).count(b"data: one event") == 20000


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_tls_is_refused(secure, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate[0])
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    with secure.connect() as s, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(s, server_hostname="localhost")


def test_cipher_without_aead_is_refused(secure, certificate):
    context = tls_context(certificate, maximum_version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA")
    with secure.connect() as s, pytest.raises((ssl.SSLError, ConnectionResetError)):
        context.wrap_socket(s, server_hostname="localhost")


def test_plain_text_to_the_tls_port(secure):
    with secure.connect() as s:
        s.sendall(secure.get())
        assert b"HTTP/" not in read_all(s)
