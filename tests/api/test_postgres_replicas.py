"""What one server keeps in memory of rights and answers, another one's changes take away."""
import api_support
import pytest
from api_support import AUDIENCE, ISSUER, Client


@pytest.fixture(scope="module")
def pair(database, keys, tmp_path_factory):
    url = database.url(database.database())
    servers = []
    for name in ("a", "b"):
        directory = tmp_path_factory.mktemp(name)
        (directory / "jwks.json").write_text(keys.jwks())
        (directory / "admin").write_text("admin-secret\n")
        (directory / "admin").chmod(0o600)
        args = [f"--jwk-cert-file={directory / 'jwks.json'}", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE,
                f"--admin-token-file={directory / 'admin'}"]
        servers.append(api_support.ApiServer(directory, args, {"AMBIENT_ENV": "production"}, url))
    migrated = servers[0].run("migrate")
    assert migrated.returncode == 0, migrated.stderr
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


def test_what_is_written_here_is_read_there(pair):
    """No answer is kept: not a moment may lie between the write's answer and the read."""
    here, there = (Client(server.ports["http"], "admin-secret") for server in pair)
    here.project("shared")
    for i in range(50):
        here.ok("PATCH", "/projects/shared", {"description": f"number {i}"})
        assert there.ok("GET", "/projects/shared")["description"] == f"number {i}"
    here.close()
    there.close()


def test_a_right_taken_away_here_is_gone_there(pair, keys):
    here, there = (Client(server.ports["http"], "admin-secret") for server in pair)
    alice = Client(pair[1].ports["http"], keys.token("alice", iss=ISSUER, aud=AUDIENCE))
    here.project("secret")
    assert alice.get("/projects/secret").status in (403, 404)
    role = next(r["id"] for r in here.items("/roles", size=100) if r["name"] == "project:viewer")
    binding = here.ok("POST", "/role_bindings", {"role_id": role, "scope": "project", "project_id": "secret",
                                                 "user_id": "alice"})
    api_support.wait_for(lambda: alice.get("/projects/secret").status == 200, "the right to arrive")
    here.ok("DELETE", f"/role_bindings/{binding['id']}")
    api_support.wait_for(lambda: alice.get("/projects/secret").status != 200, "the right to be gone")
    for client in (here, there, alice):
        client.close()
