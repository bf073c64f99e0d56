"""grpcio, an implementation that is not ours, against our gRPC server: the cases of the public interoperability suite
that our design supports, and what else clients rely on."""
import concurrent.futures
import subprocess
import threading

import grpc
import pytest

from grpc_support import ROOT, interop_server, load_proto, wait_until

pb = load_proto(ROOT / "src/grpc/test-interop.proto", ROOT / "src/grpc")
TEST = "/grpc.testing.TestService/"
PROBE = "/grpc.testing.Probe/"
NO_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@pytest.fixture(scope="module")
def server():
    with interop_server() as s:
        yield s


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(server.address, options=NO_LIMIT) as ch:
        yield ch


def unary(ch, path, response=None):
    response = response or pb.SimpleResponse
    return ch.unary_unary(path, lambda m: m.SerializeToString(), response.FromString)


def stream(ch, path):
    return ch.unary_stream(path, lambda m: m.SerializeToString(), pb.StreamingOutputCallResponse.FromString)


def duplex(ch, path):
    return ch.stream_stream(path, lambda m: m.SerializeToString(), pb.StreamingOutputCallResponse.FromString)


def large_request(size=271828, response=314159):
    return pb.SimpleRequest(response_size=response, payload=pb.Payload(body=b"\0" * size))


def code_of(call):
    with pytest.raises(grpc.RpcError) as e:
        call()
    return e.value.code(), e.value.details()


def test_empty_unary(channel):
    assert unary(channel, TEST + "EmptyCall", pb.Empty)(pb.Empty(), timeout=60) == pb.Empty()


def test_large_unary(channel):
    r = unary(channel, TEST + "UnaryCall")(large_request(), timeout=60)
    assert r.payload.body == b"\0" * 314159


@pytest.mark.parametrize("size", [0, 1, 65534, 65536, 1 << 20, (4 << 20) - 40])
def test_unary_of_size(channel, size):
    r = unary(channel, TEST + "UnaryCall")(large_request(size, size), timeout=20)
    assert len(r.payload.body) == size


def test_message_over_the_limit(channel):
    code, details = code_of(lambda: unary(channel, TEST + "UnaryCall")(large_request(4 << 20), timeout=20))
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details.startswith("grpc: received message larger than max (41943") and details.endswith("vs. 4194304)")
    test_large_unary(channel)  # the connection goes on


def test_server_streaming(channel):
    sizes = [31415, 9, 2653, 58979]
    req = pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(size=n) for n in sizes])
    got = [len(r.payload.body) for r in stream(channel, TEST + "StreamingOutputCall")(req, timeout=60)]
    assert got == sizes


def test_server_streaming_of_nothing(channel):
    call = stream(channel, TEST + "StreamingOutputCall")(pb.StreamingOutputCallRequest(), timeout=60)
    assert list(call) == [] and call.code() == grpc.StatusCode.OK


def test_server_streaming_with_pauses(channel):
    steps = [pb.ResponseParameters(size=5, interval_us=2000) for _ in range(20)]
    req = pb.StreamingOutputCallRequest(response_parameters=steps)
    assert len(list(stream(channel, TEST + "StreamingOutputCall")(req, timeout=60))) == 20


def test_server_streaming_of_much(channel):
    """64 MiB through one stream: flow control in both layers many times over."""
    req = pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(size=1 << 20)] * 64)
    got = sum(len(r.payload.body) for r in stream(channel, TEST + "StreamingOutputCall")(req, timeout=60))
    assert got == 64 << 20


def test_stream_ends_with_an_error(channel):
    req = pb.StreamingOutputCallRequest(
        response_parameters=[pb.ResponseParameters(size=3)],
        response_status=pb.EchoStatus(code=7, message="no further"),
    )
    call = stream(channel, TEST + "StreamingOutputCall")(req, timeout=60)
    assert len(next(call).payload.body) == 3
    assert code_of(lambda: next(call)) == (grpc.StatusCode.PERMISSION_DENIED, "no further")


def test_ping_pong(channel):
    sizes = [(31415, 27182), (9, 8), (2653, 1828), (58979, 45904)]
    turn = threading.Semaphore(1)

    def requests():
        for answer, body in sizes:
            turn.acquire()
            yield pb.StreamingOutputCallRequest(
                response_parameters=[pb.ResponseParameters(size=answer)], payload=pb.Payload(body=b"\0" * body)
            )

    got = []
    for r in duplex(channel, TEST + "FullDuplexCall")(requests(), timeout=60):
        got.append(len(r.payload.body))
        turn.release()
    assert got == [a for a, _ in sizes]


def test_empty_stream(channel):
    assert list(duplex(channel, TEST + "FullDuplexCall")(iter(()), timeout=60)) == []


def test_bidi_many_questions_at_once(channel):
    """More questions than answers may be queued: the server stops looking at them until answers are taken."""
    req = pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(size=10000)])
    got = list(duplex(channel, TEST + "FullDuplexCall")((req for _ in range(500)), timeout=30))
    assert len(got) == 500


def test_status_code_and_message(channel):
    req = pb.SimpleRequest(response_status=pb.EchoStatus(code=2, message="test status message"))
    call = unary(channel, TEST + "UnaryCall")
    assert code_of(lambda: call(req, timeout=60)) == (grpc.StatusCode.UNKNOWN, "test status message")


def test_special_status_message(channel):
    text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP \U0001F608\t\n 100%"
    req = pb.SimpleRequest(response_status=pb.EchoStatus(code=2, message=text))
    assert code_of(lambda: unary(channel, TEST + "UnaryCall")(req, timeout=60)) == (grpc.StatusCode.UNKNOWN, text)


def test_long_status_message_is_cut_not_lost(channel):
    req = pb.SimpleRequest(response_status=pb.EchoStatus(code=9, message="é" * 5000))
    code, details = code_of(lambda: unary(channel, TEST + "UnaryCall")(req, timeout=60))
    assert code == grpc.StatusCode.FAILED_PRECONDITION and details == "é" * 512


@pytest.mark.parametrize(
    "path,text",
    [
        (TEST + "UnimplementedCall", "unknown method UnimplementedCall for service grpc.testing.TestService"),
        ("/grpc.testing.UnimplementedService/X", "unknown service grpc.testing.UnimplementedService"),
        ("/nothing", 'malformed method name: "/nothing"'),
        ("/a/b/c", "unknown service a/b"),
    ],
)
def test_unimplemented(channel, path, text):
    call = unary(channel, path, pb.Empty)
    assert code_of(lambda: call(pb.Empty(), timeout=60)) == (grpc.StatusCode.UNIMPLEMENTED, text)


def test_cancel_after_begin(channel):
    call = unary(channel, PROBE + "Never", pb.Empty).future(pb.Empty())
    assert call.cancel()
    assert call.code() == grpc.StatusCode.CANCELLED


def test_cancel_after_first_response(channel):
    steps = [pb.ResponseParameters(size=5), pb.ResponseParameters(size=5, interval_us=60_000_000)]
    call = stream(channel, TEST + "StreamingOutputCall")(pb.StreamingOutputCallRequest(response_parameters=steps))
    next(call)
    call.cancel()
    assert code_of(lambda: next(call))[0] == grpc.StatusCode.CANCELLED


def test_timeout_on_sleeping_server(channel):
    assert code_of(lambda: unary(channel, PROBE + "Never", pb.Empty)(pb.Empty(), timeout=0.2))[0] == (
        grpc.StatusCode.DEADLINE_EXCEEDED
    )


def test_server_side_deadline_on_a_stream(channel):
    call = stream(channel, PROBE + "Subscribe")(pb.Empty(), timeout=0.3)
    assert code_of(lambda: next(call))[0] == grpc.StatusCode.DEADLINE_EXCEEDED


def metadata(channel, name, md):
    req = pb.SimpleRequest(payload=pb.Payload(body=name.encode()))
    return unary(channel, PROBE + "Metadata")(req, metadata=md, timeout=60).payload.body


def test_metadata(channel):
    assert metadata(channel, "x-ambient-project", [("x-ambient-project", "demo")]) == b"demo"
    assert metadata(channel, "x-data-bin", [("x-data-bin", b"\0\xff\x01")]) == b"\0\xff\x01"
    assert b"grpc-python" in metadata(channel, "user-agent", [])
    code, _ = code_of(lambda: metadata(channel, "x-absent", []))
    assert code == grpc.StatusCode.NOT_FOUND


def test_duplicated_authorization_first_value_wins(channel):
    md = [("authorization", "Bearer first"), ("authorization", "Bearer second")]
    assert metadata(channel, "authorization", md) == b"Bearer first"


def test_metadata_of_63_kib_needs_continuation(channel):
    value = "x" * (63 * 1024)
    assert metadata(channel, "x-long", [("x-long", value)]) == value.encode()


def test_metadata_over_the_limit(channel):
    code, _ = code_of(lambda: metadata(channel, "x-long", [("x-long", "x" * (40 * 1024)), ("x-more", "~" * 30000)]))
    assert code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.RESOURCE_EXHAUSTED)
    test_empty_unary(channel)


def test_compressed_request_is_refused(server):
    with grpc.insecure_channel(server.address, compression=grpc.Compression.Gzip) as ch:
        code, details = code_of(lambda: unary(ch, TEST + "UnaryCall")(large_request(5000, 1), timeout=60))
    assert code == grpc.StatusCode.UNIMPLEMENTED
    assert details == 'grpc: Decompressor is not installed for grpc-encoding "gzip"'


def test_undecodable_request(channel):
    call = channel.unary_unary(TEST + "UnaryCall", lambda b: b, pb.SimpleResponse.FromString)
    code, details = code_of(lambda: call(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", timeout=60))
    assert code == grpc.StatusCode.INTERNAL and details.startswith("grpc: error unmarshalling request: ")


def test_client_streaming_to_a_unary_method(channel):
    text = "cardinality violation: received %s for non-client-streaming RPC"
    call = channel.stream_unary(TEST + "EmptyCall", lambda m: m.SerializeToString(), pb.Empty.FromString)
    two = code_of(lambda: call(iter([pb.Empty(), pb.Empty()]), timeout=60))
    assert two == (grpc.StatusCode.INTERNAL, text % "multiple request messages")
    code, details = code_of(lambda: call(iter(()), timeout=60))
    assert code == grpc.StatusCode.INTERNAL and details.startswith("cardinality violation: received no request")


@pytest.mark.parametrize("size", [10, 20000])
def test_concurrent_large_unary(channel, size):
    call = unary(channel, TEST + "UnaryCall")
    futures = [call.future(large_request(size, size), timeout=60) for _ in range(1000)]
    done, late = concurrent.futures.wait([f_to_future(f) for f in futures], timeout=60)
    assert not late
    assert all(len(f.result().payload.body) == size for f in futures)


def f_to_future(call):
    out = concurrent.futures.Future()
    call.add_done_callback(lambda c: out.set_result(c))
    return out


def test_fan_out_in_order(server):
    """Each of 200 subscribers on one channel sees each publication, in order, none twice."""
    with grpc.insecure_channel(server.address) as ch:
        calls = [stream(ch, PROBE + "Subscribe")(pb.Empty(), timeout=60) for _ in range(200)]
        for c in calls:
            c.initial_metadata()  # response headers come at once
        publish = unary(ch, PROBE + "Publish", pb.Empty)
        for size in range(1, 31):
            publish(pb.SimpleRequest(response_size=size), timeout=60)
        for c in calls:
            seen = [len(next(c).payload.body) for _ in range(30)]
            assert seen == sorted(seen) and seen[-1] == 30
            c.cancel()


def test_slow_reader_does_not_hold_up_others(server):
    """A stream whose client stopped reading, 4 MiB behind; calls on the same connection are answered."""
    with grpc.insecure_channel(server.address, options=NO_LIMIT) as ch:
        req = pb.StreamingOutputCallRequest(response_parameters=[pb.ResponseParameters(size=1 << 20)] * 32)
        slow = stream(ch, TEST + "StreamingOutputCall")(req, timeout=60)
        next(slow)
        for _ in range(20):
            unary(ch, TEST + "UnaryCall")(large_request(100, 100), timeout=60)
        assert sum(1 for _ in slow) == 31


# ---- built-in services ----


health_pb = load_proto(ROOT / "proto/grpc/health/v1/health.proto", ROOT / "proto")


def test_health(channel):
    hp = health_pb
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check", lambda m: m.SerializeToString(), hp.HealthCheckResponse.FromString
    )
    for name in ("", "grpc.testing.TestService"):
        assert check(hp.HealthCheckRequest(service=name), timeout=60).status == hp.HealthCheckResponse.SERVING
    code = code_of(lambda: check(hp.HealthCheckRequest(service="nope"), timeout=60))
    assert code == (grpc.StatusCode.NOT_FOUND, "unknown service")
    listed = channel.unary_unary(
        "/grpc.health.v1.Health/List", lambda m: m.SerializeToString(), hp.HealthListResponse.FromString
    )(hp.HealthListRequest(), timeout=60)
    assert set(listed.statuses) == {"", "grpc.testing.TestService", "grpc.testing.Probe"}


def test_health_watch_and_drain():
    hp = health_pb
    with interop_server() as s, grpc.insecure_channel(s.address) as ch:
        watch = ch.unary_stream(
            "/grpc.health.v1.Health/Watch", lambda m: m.SerializeToString(), hp.HealthCheckResponse.FromString
        )
        call = watch(hp.HealthCheckRequest(), timeout=30)
        assert next(call).status == hp.HealthCheckResponse.SERVING
        unknown = watch(hp.HealthCheckRequest(service="nope"), timeout=30)
        assert next(unknown).status == hp.HealthCheckResponse.SERVICE_UNKNOWN
        unknown.cancel()
        sub = stream(ch, PROBE + "Subscribe")(pb.Empty(), timeout=30)
        sub.initial_metadata()
        s.process.terminate()
        assert next(call).status == hp.HealthCheckResponse.NOT_SERVING
        over = (grpc.StatusCode.UNAVAILABLE, "server is shutting down")
        assert code_of(lambda: next(call)) == over
        assert code_of(lambda: next(sub)) == over
        wait_until(lambda: s.process.poll() is not None, what="end of the drained server")
        assert s.process.returncode == 0


def test_drain_ends_reflection_that_goes_on_asking():
    rp = load_proto(ROOT / "proto/grpc/reflection/v1/reflection.proto", ROOT / "proto")
    more = threading.Event()

    def questions():
        yield rp.ServerReflectionRequest(list_services="")
        more.wait(30)

    with interop_server() as s, grpc.insecure_channel(s.address) as ch:
        call = ch.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            lambda m: m.SerializeToString(),
            rp.ServerReflectionResponse.FromString,
        )(questions(), timeout=30)
        next(call)
        s.process.terminate()
        assert code_of(lambda: next(call))[0] == grpc.StatusCode.UNAVAILABLE
        wait_until(lambda: s.process.poll() is not None, what="end of the drained server")
        more.set()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection(channel, version):
    rp = load_proto(ROOT / f"proto/grpc/reflection/{version}/reflection.proto", ROOT / "proto")
    from google.protobuf import descriptor_pb2

    call = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        lambda m: m.SerializeToString(),
        rp.ServerReflectionResponse.FromString,
    )
    R = rp.ServerReflectionRequest
    questions = [
        R(list_services=""),
        R(file_containing_symbol="ambient.v1.SessionService"),
        R(file_containing_symbol="ambient.v1.SessionService.GetSession"),
        R(file_by_filename="ambient/v1/inbox.proto"),
        R(file_containing_symbol="nope.Nope"),
    ]
    services, by_symbol, by_method, by_name, unknown = list(call(iter(questions), timeout=60))
    names = {s.name for s in services.list_services_response.service}
    assert "grpc.testing.TestService" in names and "grpc.health.v1.Health" in names

    def files(r):
        parse = descriptor_pb2.FileDescriptorProto.FromString
        return [parse(b) for b in r.file_descriptor_response.file_descriptor_proto]

    assert [f.name for f in files(by_symbol)][0] == "ambient/v1/sessions.proto"
    assert {f.name for f in files(by_symbol)} == {
        "ambient/v1/sessions.proto",
        "ambient/v1/common.proto",
        "google/protobuf/timestamp.proto",
    }
    assert files(by_method)[0].name == "ambient/v1/sessions.proto"
    assert files(by_name)[0].name == "ambient/v1/inbox.proto"
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


# ---- TLS ----


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory):
    d = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-keyout", str(d / "key.pem"), "-out", str(d / "cert.pem")],
        check=True,
        capture_output=True,
    )
    (d / "key.pem").chmod(0o600)
    with interop_server("--cert", str(d / "cert.pem"), "--key", str(d / "key.pem")) as s:
        yield s, (d / "cert.pem").read_bytes()


def test_tls_with_call_credentials_twice(tls_server):
    """As the public runner does it: the token by the channel's credentials and by hand."""
    s, cert = tls_server
    creds = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(cert), grpc.access_token_call_credentials("token")
    )
    with grpc.secure_channel(f"localhost:{s.port}", creds, options=NO_LIMIT) as ch:
        test_large_unary(ch)
        assert metadata(ch, "authorization", [("authorization", "Bearer token")]) == b"Bearer token"
        test_server_streaming(ch)
        test_concurrent_large_unary(ch, 20000)
