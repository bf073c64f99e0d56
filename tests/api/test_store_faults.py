"""A store that cannot do what it should: a clear error, nothing lost, and on it goes when the trouble is over."""
import os
import resource
import shutil
import subprocess

import api_support
import grpc
import pytest

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"  # grpc.health.v1.HealthCheckResponse


def healthy(server):
    return api_support.Client(server.ports["health"]).raw("GET", "/healthcheck")


def grpc_health(channel, method):
    """A call of the health service, for all services; messages as bytes."""
    make = channel.unary_stream if method == "Watch" else channel.unary_unary
    return make(f"/grpc.health.v1.Health/{method}", lambda b: b, lambda b: b)(b"", timeout=api_support.DEADLINE)


def test_no_more_space(tmp_path):
    """A limit on the size of files stands for the full disk: it can be lifted while the server runs."""
    with api_support.running(tmp_path) as server:
        client = server.client()
        session = client.session()["id"]
        client.push(session, "before")
        size = os.path.getsize(f"{server.database}-wal")
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size + 20_000, resource.RLIM_INFINITY))
        acked, refused = 1, None
        while refused is None:
            answer = client.post(f"/sessions/{session}/messages", {"payload": "x" * 5000})
            acked, refused = acked + (answer.status == 201), answer if answer.status != 201 else None
        api_support.expect_error(refused, 503, 9, "No space left on the device")
        sick = healthy(server)
        assert sick.status == 503 and "database" in sick.json()
        assert len(client.messages(session)) == acked  # what can be read is read
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        api_support.wait_for(lambda: healthy(server).status == 200, "the store to find out that there is space")
        assert client.push(session, "after")["seq"] == acked + 1
        assert [m["seq"] for m in client.messages(session)] == list(range(1, acked + 2))
        client.close()
    assert server.run("verify").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a program as somebody else")
def test_a_file_of_somebody_else(tmp_path):
    database = tmp_path / "ambient.db"
    server = api_support.ApiServer(tmp_path)
    assert server.run("migrate").returncode == 0
    database.chmod(0o644)
    for path in (tmp_path, *tmp_path.parents):
        if os.stat(path).st_uid == 0 and path.is_relative_to("/tmp") and str(path) != "/tmp":
            path.chmod(0o755)
    program = shutil.copy(api_support.program("ambient-api-server"), tmp_path / "program")
    refused = subprocess.run([program, "serve", f"--db-url=sqlite:{database}", "--api-server-bindaddress=127.0.0.1:0"],
                             capture_output=True, text=True, user=65534, group=65534, extra_groups=[], cwd="/",
                             env={**os.environ, **api_support.KEYRING}, timeout=60)
    assert refused.returncode == 1, refused.stderr
    assert "ambient.db: Permission denied" in refused.stderr or "readonly database" in refused.stderr


def test_a_damaged_page(tmp_path):
    with api_support.running(tmp_path) as server:
        client = server.client()
        bad, good = client.session()["id"], client.session()["id"]
        for i in range(300):
            client.push(bad, f"damaged soon {i} " + "x" * 1000)
        client.push(good, "whole")
        client.close()
    backup = shutil.copy(server.database, tmp_path / "backup.db")
    content = bytearray(server.database.read_bytes())
    page = content.index(b"damaged soon 150 ") // 4096 * 4096
    content[page:page + 4096] = b"\xff" * 4096
    server.database.write_bytes(content)
    said = server.run("verify")
    assert said.returncode == 1 and "damaged" in said.stderr + said.stdout or "malformed" in said.stderr, said
    with_damage = api_support.ApiServer(tmp_path).start()
    client = with_damage.client()
    api_support.expect_error(client.get(f"/sessions/{bad}/messages"), 500, 9, "Stored data is damaged")
    assert "malformed" in with_damage.log()
    assert [m["payload"] for m in client.messages(good)] == ["whole"]
    assert client.push(good, "and on")["seq"] == 2
    client.close()
    with_damage.stop()
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"ambient.db{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, server.database)
    with api_support.running(tmp_path) as restored:
        assert len(restored.client().messages(bad)) == 300


def test_a_database_that_goes_away(database, tmp_path):
    """PostgreSQL: refused at once while it is away, and no restart is needed when it is back. G13: health says so on
    both protocols, and on a server that nobody asks for anything else too."""
    with api_support.running(tmp_path, url=database.url(database.database())) as server, \
            grpc.insecure_channel(f"127.0.0.1:{server.ports['grpc']}") as channel:
        client = server.client()
        session = client.session()["id"]
        client.push(session, "before")
        watch = grpc_health(channel, "Watch")
        assert next(watch) == SERVING
        database.stop()
        assert next(watch) == NOT_SERVING == grpc_health(channel, "Check")
        assert healthy(server).status == 503
        answer = client.post(f"/sessions/{session}/messages", {"payload": "x"})
        api_support.expect_error(answer, 503, 9)
        assert "database" in answer.reason and str(database.root) not in answer.reason
        api_support.expect_error(client.get(f"/sessions/{session}"), 503, 9)
        database.start()
        api_support.wait_for(lambda: healthy(server).status == 200, "the store to find its database again")
        assert next(watch) == SERVING
        watch.cancel()
        assert client.push(session, "after")["seq"] == 2
        assert [m["payload"] for m in client.messages(session)] == ["before", "after"]
        client.close()
