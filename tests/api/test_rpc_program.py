"""The gRPC listener as part of the program: its end, its metrics. grpc.md 6.5 and 10."""
import pathlib
import signal
import urllib.request

import grpc
import pytest

import api_support
import http_support
import rpc_support

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def test_shutdown_ends_every_watch_and_says_why(tmp_path):
    with api_support.running(tmp_path) as server, rpc_support.connected(server) as rpc:
        session = rpc.session().metadata.id
        watches = [rpc.watch("WatchSessions"), rpc.watch("WatchProjects"), rpc.watch("WatchUsers"),
                   rpc.watch("WatchProjectSettings"), rpc.watch("WatchInboxMessages", agent_id="a"),
                   rpc.watch("WatchSessionMessages", session_id=session)]
        server.process.send_signal(signal.SIGTERM)
        for watch in watches:
            assert watch.error() == (UNAVAILABLE, "server is shutting down")
        assert server.process.wait(api_support.DEADLINE) == 0


def test_messages_survive_a_kill(tmp_path):
    with api_support.running(tmp_path) as server:
        with rpc_support.connected(server) as rpc:
            session = rpc.session().metadata.id
            for i in range(20):
                rpc.push(session, str(i))
            watch = rpc.watch("WatchSessionMessages", session_id=session)
            last = watch.take(10)[-1].seq
            server.kill()
            assert watch.error()[0] == UNAVAILABLE
        server.start()
        with rpc_support.connected(server) as rpc:
            assert rpc.push(session, "20").seq == 21
            resumed = rpc.watch("WatchSessionMessages", session_id=session, after_seq=last)
            assert [m.payload for m in resumed.take(11)] == [str(i) for i in range(10, 21)]


def test_a_watch_of_kinds_goes_on_after_a_restart(tmp_path):
    with api_support.running(tmp_path) as server:
        with rpc_support.connected(server) as rpc:
            watch = rpc.watch("WatchSessions")
            rpc.session(name="before")
            version = watch.next().resource_version
            missed = rpc.session(name="missed").metadata.id
        server.stop()
        server.start()
        with rpc_support.connected(server) as rpc:
            assert rpc.watch("WatchSessions", resource_version=version).next().resource_id == missed


def test_metrics(tmp_path):
    with api_support.running(tmp_path) as server, rpc_support.connected(server) as rpc:
        rpc.session()
        rpc.error("GetSession", id="nope")
        watch = rpc.watch("WatchSessions")
        rpc.session()
        watch.next()

        def text():
            with urllib.request.urlopen(f"http://127.0.0.1:{server.ports['metrics']}/metrics") as answer:
                return answer.read().decode()
        before = text()
        assert 'grpc_requests_total{method="/ambient.v1.SessionService/CreateSession",code="OK"} 2' in before
        assert 'grpc_requests_total{method="/ambient.v1.SessionService/GetSession",code="NotFound"} 1' in before
        assert ('grpc_request_duration_seconds_count{method="/ambient.v1.SessionService/CreateSession"} 2'
                in before)
        assert "grpc_stream_subscribers_active 1" in before
        assert "grpc_stream_events_sent_total 1" in before
        assert "grpc_stream_events_dropped_total 0" in before
        watch.close()
        api_support.wait_for(lambda: "grpc_stream_subscribers_active 0" in text(), "the watch to be forgotten")


def test_grpc_can_be_off(tmp_path):
    with api_support.running(tmp_path, ["--enable-grpc=false"]) as server:
        assert server.ports["grpc"] == 0


def test_limits_and_reflection_are_settings(tmp_path):
    args = ["--grpc-max-watches-per-user=2", "--grpc-reflection=false", "--enable-authz=true"]
    with api_support.running(tmp_path, args) as server, rpc_support.connected(server) as rpc:
        rpc.watch("WatchSessions")
        rpc.watch("WatchProjects")
        assert rpc.error("WatchSessions")[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        for version in ("v1", "v1alpha"):
            path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
            ask = rpc.channel.stream_stream(path, lambda b: b, lambda b: b)
            with pytest.raises(grpc.RpcError) as refused:
                next(ask(iter([b"\x3a\x00"]), timeout=20))
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_tls_of_its_own(tmp_path):
    cert, key = http_support.write_certificate(tmp_path)
    args = ["--grpc-enable-tls", f"--grpc-tls-cert-file={cert}", f"--grpc-tls-key-file={key}"]
    with api_support.running(tmp_path, args) as server:
        credentials = grpc.ssl_channel_credentials(pathlib.Path(cert).read_bytes())
        method = rpc_support.METHODS["ListSessions"]
        with grpc.secure_channel(f"localhost:{server.ports['grpc']}", credentials) as channel:
            call = channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)
            assert call(method.request(), timeout=api_support.DEADLINE).metadata.total == 0
        with rpc_support.connected(server) as plain:
            assert plain.error("ListSessions")[0] == UNAVAILABLE
        assert server.client().get("/sessions").status == 200  # REST is as it was


def test_keys_of_the_identity_provider_may_change(tmp_path, keys):
    """A token signed with a key that came later is good once the file has it, and the old one no more."""
    jwks, rotated = tmp_path / "jwks.json", api_support.Keys()
    jwks.write_text(keys.jwks())
    args = [f"--jwk-cert-file={jwks}", "--jwt-issuer=https://i", "--jwt-audience=a"]
    claims = {"iss": "https://i", "aud": "a"}
    with api_support.running(tmp_path, args, {"AMBIENT_ENV": "production"}) as server:
        with rpc_support.connected(server, keys.token("u", **claims)) as old, \
             rpc_support.connected(server, rotated.token("u", **claims)) as new:
            old.call("ListSessions")
            assert new.error("ListSessions")[0] == grpc.StatusCode.UNAUTHENTICATED
            (tmp_path / "next").write_text(rotated.jwks())
            (tmp_path / "next").rename(jwks)

            def accepted():
                try:
                    return new.call("ListSessions") is not None
                except grpc.RpcError:
                    return False
            api_support.wait_for(accepted, "the new keys")
            assert old.error("ListSessions")[0] == grpc.StatusCode.UNAUTHENTICATED
