"""Two servers on one PostgreSQL: what one of them is told about rights, the other one acts by."""
import pytest

import rpc_support
from api_support import AUDIENCE, ISSUER, ApiServer, wait_for


@pytest.fixture(scope="module")
def pair(tmp_path_factory, database, keys):
    directory = tmp_path_factory.mktemp("pair")
    (directory / "jwks.json").write_text(keys.jwks())
    url = database.url(database.database())
    args = [f"--jwk-cert-file={directory}/jwks.json", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE]
    servers = []
    for name in ("a", "b"):
        (directory / name).mkdir()
        servers.append(ApiServer(directory / name, args, {"AMBIENT_ENV": "production"}, url=url))
    assert servers[0].run("migrate").returncode == 0
    for server in servers:
        server.start()
    yield servers
    for server in servers:
        server.stop()


def test_rights_given_and_taken_count_on_the_other_server(pair, keys):
    a, b = pair
    tokens = {who: keys.token(who, iss=ISSUER, aud=AUDIENCE, sub=who) for who in ("ann", "bob")}
    ann, bob = a.client(tokens["ann"]), b.client(tokens["bob"])
    project = ann.project("shared")["id"]
    session = ann.session(name="s", project_id=project)["id"]
    assert bob.get(f"/sessions/{session}").status == 404        # and this answer is kept by b
    row = ann.ok("POST", "/role_bindings", {"role_id": "project:viewer", "scope": "project", "project_id": project,
                                            "user_id": "bob"})["id"]
    wait_for(lambda: bob.get(f"/sessions/{session}").status == 200, "the binding to be heard of")
    assert [p["id"] for p in bob.items("/projects")] == [project]
    with rpc_support.connected(b, tokens["bob"]) as rpc:
        stream = rpc.watch("WatchSessionMessages", session_id=session)
        ann.push(session, "hello")
        assert stream.next().payload == "hello"
        ann.ok("DELETE", f"/role_bindings/{row}")
        assert stream.error()[1] == "not authorized to watch this session"
    wait_for(lambda: bob.get(f"/sessions/{session}").status == 404, "the end of the binding to be heard of")
    assert bob.items("/projects") == []


def test_a_user_who_is_deleted_on_one_server_is_new_on_the_other(pair, keys):
    a, b = pair
    token = keys.token("cid", iss=ISSUER, aud=AUDIENCE, sub="cid")
    on_a, on_b = a.client(token), b.client(token)
    project = on_a.project("of-cid")["id"]
    wait_for(lambda: on_b.get(f"/projects/{project}").status == 200, "the project")
    made = a.run("seed-admin", "--username", "root")
    assert made.returncode == 0, made.stderr
    root = a.client(keys.token("root", iss=ISSUER, aud=AUDIENCE, sub="root"))
    root.ok("DELETE", f"/users/{on_a.items('/users')[0]['id']}")
    wait_for(lambda: on_b.get(f"/projects/{project}").status == 404, "the deletion to be heard of")
    wait_for(lambda: [u["username"] for u in on_b.items("/users")] == ["cid"], "a row for the new person")
    assert on_b.items("/role_bindings") == []
