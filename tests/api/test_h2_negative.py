"""Raw HTTP/2 frames against a gRPC server, as no honest client sends them. After each the server must be up, answer
others, and not have grown. Needs nothing of the methods but grpc.health.v1: runs against the interop server and
ambient-api-server, or against one server that GRPC_TEST_TARGET=host:port and GRPC_TEST_PID name."""
import contextlib
import os
import socket
import struct
import time

import pytest
from hpack import Decoder, Encoder

from grpc_support import server_under_test, wait_until

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY, ACK = 1, 4, 8, 32, 1
NO_ERROR, PROTOCOL_ERROR, INTERNAL, FLOW, _, CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
CALM = 11
MAGIC = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEALTH = "/grpc.health.v1.Health/"
GROWTH_KIB = 24 * 1024 if "asan" not in os.environ.get("MESON_BUILD_ROOT", "") else 160 * 1024


def servers():
    return ["named"] if "GRPC_TEST_TARGET" in os.environ else ["interop", "api-server"]


@pytest.fixture(scope="module", params=servers())
def server(request, tmp_path_factory):
    with server_under_test(request.param, tmp_path_factory) as s:
        check(s)
        yield s


@pytest.fixture(autouse=True)
def unharmed(server):
    """Around every test: the server lives, answers, and is not much larger than before."""
    before = server.rss_kib()
    yield
    assert server.alive()
    check(server)
    assert server.rss_kib() - before < GROWTH_KIB


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    n = len(payload) if length is None else length
    return struct.pack(">I", n)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def message(body=b""):
    return b"\0" + struct.pack(">I", len(body)) + body


class Peer:
    """One connection. Sending to a connection that the server has closed is fine: that is what is waited for."""

    def __init__(self, server, start=True):
        self.socket = socket.create_connection((server.host, server.port), timeout=20)
        self.encoder, self.decoder, self.buffer, self.closed = Encoder(), Decoder(), b"", False
        if start:
            self.send(MAGIC + frame(SETTINGS) + frame(SETTINGS, ACK))

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True

    def flood(self, data, times):
        """Sends without ever waiting for the server to take or answer anything for long."""
        for _ in range(times):
            if self.closed:
                return
            self.send(data)

    def block(self, path=HEALTH + "Check", extra=(), **other):
        fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "t"}
        fields.update({":" + k: v for k, v in other.items()})
        rest = [("content-type", "application/grpc"), ("te", "trailers")]
        return self.encoder.encode(list(fields.items()) + rest + list(extra), huffman=False)

    def headers(self, stream, flags=END_HEADERS, **kw):
        return frame(HEADERS, flags, stream, self.block(**kw))

    def request(self, stream, body=b"", **kw):
        return self.headers(stream, **kw) + frame(DATA, END_STREAM, stream, message(body))

    def read(self):
        """The next frame as (kind, flags, stream, payload), or None at the end."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
            try:
                more = self.socket.recv(65536)
            except ConnectionResetError:
                more = b""
            if not more:
                return None
            self.buffer += more
        n = int.from_bytes(self.buffer[:3], "big")
        head, payload, self.buffer = self.buffer[:9], self.buffer[9 : 9 + n], self.buffer[9 + n :]
        kind, flags, stream = head[3], head[4], int.from_bytes(head[5:9], "big")
        return kind, flags, stream, dict(self.decoder.decode(payload)) if kind == HEADERS else payload

    def expect(self, kind, stream=None):
        while f := self.read():
            if f[0] == kind and (stream is None or f[2] == stream):
                return f
        raise AssertionError(f"the connection ended without a frame of type {kind} on stream {stream}")

    def expect_end(self, code=None):
        """The connection ends; with a GOAWAY of this code, unless a reset of the socket ate it."""
        goaway = None
        while f := self.read():
            if f[0] == GOAWAY:
                goaway = int.from_bytes(f[3][4:8], "big")
        if code is not None and goaway is not None:
            assert goaway == code
        return goaway

    def close(self):
        self.socket.close()


@contextlib.contextmanager
def peer(server, **kw):
    p = Peer(server, **kw)
    try:
        yield p
    finally:
        p.close()


def check(server):
    """A normal call on a new connection is answered."""
    with peer(server) as p:
        p.send(p.request(1))
        first = p.expect(HEADERS, 1)[3]
        assert first[":status"] == "200" and first.get("grpc-status", "0") == "0"


def status(p, stream):
    while True:
        f = p.expect(HEADERS, stream)
        if f[1] & END_STREAM:
            return f[3]


# ---- floods ----


def test_rapid_reset(server):
    with peer(server) as p:
        for i in range(5000):
            stream = 2 * i + 1
            p.send(p.request(stream) + frame(RST, 0, stream, struct.pack(">I", CANCEL)))
            if p.closed:
                break
        p.expect_end(CALM)


def test_rapid_reset_of_watches(server):
    with peer(server) as p:
        for i in range(5000):
            stream = 2 * i + 1
            p.send(p.request(stream, path=HEALTH + "Watch") + frame(RST, 0, stream, struct.pack(">I", CANCEL)))
            if p.closed:
                break
        p.expect_end(CALM)


@pytest.mark.parametrize("increment", [0, 2**31 - 1])
def test_resets_provoked_from_the_server(server, increment):
    with peer(server) as p:
        for i in range(5000):
            stream = 2 * i + 1
            p.send(p.headers(stream) + frame(WINDOW, 0, stream, struct.pack(">I", increment)))
            if p.closed:
                break
        assert p.expect_end() in (CALM, PROTOCOL_ERROR, FLOW, None)


def test_streams_beyond_the_limit_are_refused(server):
    with peer(server) as p:
        p.send(b"".join(p.headers(2 * i + 1) for i in range(300)))
        f = p.expect(RST)
        assert f[2] == 2 * 256 + 1 and int.from_bytes(f[3], "big") == REFUSED
        p.send(frame(PING, 0, 0, b"12345678"))
        assert p.expect(PING)[3] == b"12345678"


def test_continuation_without_end(server):
    with peer(server) as p:
        p.send(p.headers(1, flags=0))
        p.flood(frame(CONTINUATION, 0, 1, b"\x83"), 100000)
        p.expect_end(CALM)


def test_continuation_of_large_frames(server):
    with peer(server) as p:
        p.send(p.headers(1, flags=0))
        p.flood(frame(CONTINUATION, 0, 1, b"\x83" * 16384), 2000)
        p.expect_end(CALM)


def test_empty_continuations(server):
    with peer(server) as p:
        p.send(p.headers(1, flags=0))
        p.flood(frame(CONTINUATION, 0, 1), 100000)
        p.expect_end(CALM)


def test_header_list_over_the_limit_ends_its_stream_only(server):
    with peer(server) as p:
        block = p.block(extra=[("x-a", "a" * 40000), ("x-b", "b" * 40000)])
        parts = [block[i : i + 16384] for i in range(0, len(block), 16384)]
        p.send(frame(HEADERS, END_STREAM, 1, parts[0]))
        for n, part in enumerate(parts[1:], 2):
            p.send(frame(CONTINUATION, END_HEADERS if n == len(parts) else 0, 1, part))
        assert p.expect(RST, 1)[3] == struct.pack(">I", FRAME_SIZE)
        p.send(p.request(3))
        assert status(p, 3)["grpc-status"] == "0"


def test_hpack_bomb(server):
    with peer(server) as p:
        block = p.block() + p.encoder.encode([("x", "v" * 3900)], huffman=False)
        block += b"\xbe" * (60000 - len(block))
        parts = [block[i : i + 16384] for i in range(0, len(block), 16384)]
        p.send(frame(HEADERS, 0, 1, parts[0]))
        for n, part in enumerate(parts[1:], 2):
            p.send(frame(CONTINUATION, END_HEADERS if n == len(parts) else 0, 1, part))
        p.expect_end(CALM)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(PING, 0, 0, b"floooood"), id="ping"),
        pytest.param(frame(SETTINGS), id="settings"),
        pytest.param(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)), id="settings-window"),
        pytest.param(frame(PRIORITY, 0, 1, b"\0\0\0\3\x10"), id="priority"),
        pytest.param(frame(0xBB, 0, 0, b"unknown"), id="unknown-type"),
        pytest.param(frame(PING, ACK, 0, b"unasked!"), id="ping-ack"),
        pytest.param(frame(16, 0, 0, struct.pack(">I", 1) + b"u=0"), id="priority-update"),
    ],
)
def test_flood_of_frames_whose_answers_are_not_read(server, data):
    with peer(server) as p:
        p.flood(data * 100, 20000)
        p.expect_end(CALM)


def test_flood_of_window_updates(server):
    with peer(server) as p:
        p.send(p.request(1, path=HEALTH + "Watch"))
        p.flood(frame(WINDOW, 0, 1, struct.pack(">I", 1)) * 100, 20000)
        p.expect_end()


def test_flood_of_empty_data(server):
    with peer(server) as p:
        p.send(p.headers(1))
        p.flood(frame(DATA, 0, 1) * 100, 20000)
        p.expect_end(CALM)


def test_flood_of_padding_only(server):
    """Data that is all padding counts for flow control, and is no message: it is taken, at its own cost."""
    with peer(server) as p:
        p.send(p.headers(1))
        for _ in range(200):
            p.send(frame(DATA, PADDED, 1, b"\xff" + b"\0" * 255))
        p.send(frame(DATA, END_STREAM, 1, message()))
        assert status(p, 1)["grpc-status"] == "0"


def test_many_connections_that_say_nothing(server):
    peers = [Peer(server, start=False) for _ in range(200)]
    check(server)
    for p in peers:
        p.close()


# ---- broken frames ----

GOOD_DATA = message()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(frame(DATA, 0, 0, b"x"), id="data-on-stream-0"),
        pytest.param(frame(DATA, 0, 7, b"x"), id="data-on-idle-stream"),
        pytest.param(frame(HEADERS, END_HEADERS, 0, b"\x83"), id="headers-on-stream-0"),
        pytest.param(frame(HEADERS, END_HEADERS, 2, b"\x83"), id="even-stream"),
        pytest.param(frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff"), id="broken-hpack"),
        pytest.param(frame(HEADERS, END_HEADERS, 1, b"\xc5"), id="hpack-index-that-is-not"),
        pytest.param(frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff\x83"), id="padding-beyond-the-frame"),
        pytest.param(frame(CONTINUATION, END_HEADERS, 1, b"\x83"), id="continuation-alone"),
        pytest.param(frame(HEADERS, 0, 1, b"\x83") + frame(PING, 0, 0, b"12345678"), id="ping-inside-headers"),
        pytest.param(frame(HEADERS, 0, 1, b"\x83") + frame(CONTINUATION, 0, 3, b"\x83"), id="continuation-of-another"),
        pytest.param(frame(SETTINGS, 0, 0, b"12345"), id="settings-of-5"),
        pytest.param(frame(SETTINGS, ACK, 0, b"123456"), id="settings-ack-with-payload"),
        pytest.param(frame(SETTINGS, 0, 1), id="settings-on-a-stream"),
        pytest.param(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**31)), id="settings-window-overflow"),
        pytest.param(frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)), id="settings-frame-size"),
        pytest.param(frame(SETTINGS, 0, 0, struct.pack(">HI", 2, 2)), id="settings-push"),
        pytest.param(frame(PING, 0, 0, b"1234567"), id="ping-of-7"),
        pytest.param(frame(PING, 0, 1, b"12345678"), id="ping-on-a-stream"),
        pytest.param(frame(RST, 0, 0, b"\0\0\0\0"), id="reset-of-stream-0"),
        pytest.param(frame(RST, 0, 9, b"\0\0\0\0"), id="reset-of-idle-stream"),
        pytest.param(frame(RST, 0, 1, b"\0\0\0"), id="reset-of-3"),
        pytest.param(frame(WINDOW, 0, 0, b"\0\0\0"), id="window-of-3"),
        pytest.param(frame(WINDOW, 0, 0, b"\0\0\0\0"), id="window-of-zero"),
        pytest.param(frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff"), id="window-overflow"),
        pytest.param(frame(WINDOW, 0, 9, b"\0\0\0\1"), id="window-of-idle-stream"),
        pytest.param(frame(PUSH, END_HEADERS, 1, b"\0\0\0\2\x83"), id="push-from-a-client"),
        pytest.param(frame(GOAWAY, 0, 1, b"\0" * 8), id="goaway-on-a-stream"),
        pytest.param(frame(DATA, 0, 1, b"", length=16385), id="frame-larger-than-allowed"),
        pytest.param(frame(0xFF, 0xFF, 0, b"", length=0xFFFFFF), id="largest-length"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100, id="tls-hello"),
    ],
)
def test_broken_frame_ends_the_connection(server, data):
    with peer(server) as p:
        p.send(data)
        assert p.expect_end() != NO_ERROR


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", id="http1"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", id="nearly-the-preface"),
        pytest.param(MAGIC + frame(PING, 0, 0, b"12345678"), id="no-settings-first"),
        pytest.param(b"\0" * 1000, id="zeros"),
        pytest.param(os.urandom(5000), id="noise"),
    ],
)
def test_what_is_no_preface_ends_the_connection(server, data):
    with peer(server, start=False) as p:
        p.send(data)
        p.expect_end()


def test_settings_come_first_from_the_server(server):
    with peer(server, start=False) as p:
        kind, flags, stream, payload = p.read()
        assert (kind, flags, stream) == (SETTINGS, 0, 0)
        values = dict(struct.unpack(">HI", payload[i : i + 6]) for i in range(0, len(payload), 6))
        assert values[3] == 256 and values[6] >= 16384


def test_a_truncated_frame_then_the_end(server):
    for cut in range(1, 40, 3):
        with peer(server) as p:
            p.send(p.request(1)[:cut])


# ---- broken requests: the connection goes on ----


@pytest.mark.parametrize(
    "extra,other,want",
    [
        ([("connection", "close")], {}, None),
        ([("X-Upper", "case")], {}, None),
        ([("te", "gzip")], {}, None),
        ([(":late", "pseudo")], {}, None),
        ([], {"path": "no-slash"}, None),
        ([], {"method": "GET"}, ("405", "13")),
        ([("grpc-timeout", "soon")], {}, ("400", "13")),
        ([("x-bin", "%")], {}, ("400", "13")),
        ([("grpc-encoding", "gzip")], {}, ("200", "12")),
        ([], {"path": "/nothing"}, ("200", "12")),
        ([], {"path": "/no.Service/Method"}, ("200", "12")),
        ([("grpc-timeout", "0n")], {}, ("200", "4")),
    ],
)
def test_broken_request_headers(server, extra, other, want):
    with peer(server) as p:
        p.send(frame(HEADERS, END_HEADERS, 1, p.block(extra=extra, **other)))
        if want is None:
            assert p.expect(RST, 1)[3] == struct.pack(">I", PROTOCOL_ERROR)
        else:
            f = p.expect(HEADERS, 1)
            assert f[1] & END_STREAM and (f[3][":status"], f[3]["grpc-status"]) == want
            assert p.expect(RST, 1)[3] == struct.pack(">I", NO_ERROR)
        p.send(p.request(3))
        assert status(p, 3)["grpc-status"] == "0"


@pytest.mark.parametrize(
    "body,want",
    [
        (b"", "13"),
        (b"\0", "13"),
        (b"\0\0\0\0\x05abc", "13"),
        (b"\1\0\0\0\0", "13"),
        (b"\2\0\0\0\0", "13"),
        (b"\xff\xff\xff\xff\xff", "13"),
        (message() * 2, "13"),
        (b"\0\xff\xff\xff\xff", "8"),
        (message(b"\xff" * 11), "13"),
        (message(b"\x0a\x02\xc3\x28"), "13"),
        (message(b"\x0b\x0c"), "0"),
    ],
)
def test_broken_framing(server, body, want):
    with peer(server) as p:
        p.send(p.headers(1) + frame(DATA, END_STREAM, 1, body))
        assert status(p, 1)["grpc-status"] == want
        p.send(p.headers(3))
        for i in range(0, len(message(b"\x0a\x00"))):
            p.send(frame(DATA, 0, 3, message(b"\x0a\x00")[i : i + 1]))
        p.send(frame(DATA, END_STREAM, 3))
        assert status(p, 3)["grpc-status"] == "0"


def test_huge_promise_keeps_no_memory(server):
    """Two hundred streams that promise 4 MiB and send a byte of it."""
    with peer(server) as p:
        before = server.rss_kib()
        for i in range(200):
            p.send(p.headers(2 * i + 1) + frame(DATA, 0, 2 * i + 1, b"\0\0\x40\0\0x"))
        p.send(frame(PING, 0, 0, b"12345678"))
        p.expect(PING)
        assert server.rss_kib() - before < GROWTH_KIB // 4


# ---- windows and slow readers ----


def test_window_of_zero_then_one_byte_at_a_time(server):
    with peer(server) as p:
        p.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)) + p.request(1))
        p.expect(HEADERS, 1)
        got = b""
        for _ in range(7):  # a SERVING answer
            p.send(frame(WINDOW, 0, 1, struct.pack(">I", 1)))
            got += p.expect(DATA, 1)[3]
        assert got == message(b"\x08\x01")
        assert status(p, 1)["grpc-status"] == "0"


def test_window_made_negative_and_back(server):
    with peer(server) as p:
        p.send(p.request(1, path=HEALTH + "Watch"))
        assert p.expect(DATA, 1)[3] == message(b"\x08\x01")
        p.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))  # below what is used
        p.send(p.request(3))
        p.expect(HEADERS, 3)
        p.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)))
        assert p.expect(DATA, 3)[3] == message(b"\x08\x01")


def test_peers_that_never_read(server):
    """Each opens all its streams and asks again and again; what waits for them is bounded, others are served."""
    before = server.rss_kib()
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(peer(server)) for _ in range(10)]
        for p in peers:
            p.socket.setblocking(False)
            data = b"".join(p.request(2 * i + 1, path=HEALTH + "List") for i in range(5000))
            deadline = time.monotonic() + 2
            while data and time.monotonic() < deadline:
                try:
                    data = data[p.socket.send(data) :]
                except BlockingIOError:
                    break
                except (BrokenPipeError, ConnectionResetError):
                    break
        check(server)
        assert server.rss_kib() - before < GROWTH_KIB


def test_connection_lost_with_all_streams_open(server):
    for _ in range(20):
        with peer(server) as p:
            p.send(b"".join(p.request(2 * i + 1, path=HEALTH + "Watch") for i in range(256)))
            p.expect(HEADERS, 511)
    wait_until(server.alive, what="server")
