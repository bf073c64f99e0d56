"""Who may call, and what. rest-core.md 3.1, 5.2; rest-governance-and-auth.md 7 to 9; ownership for now."""
import json
import resource
import time

import jwt
import pytest

from api_support import AUDIENCE, ISSUER, V1, Keys, expect_error, wait_for


@pytest.fixture
def anonymous(jwt_server):
    client = jwt_server.client()
    yield client
    client.close()


# ---- tokens ----

def test_public_paths_need_no_token(anonymous):
    for path in ("/version", "/openapi", "/openapi.html", "/errors", "/errors/7"):
        assert anonymous.get(path).status == 200, path
    assert anonymous.raw("GET", "/api/ambient").status == 200


def test_everything_else_needs_one(anonymous):
    document = anonymous.ok("GET", "/openapi")
    seen = 0
    for path, item in document["paths"].items():
        concrete = "/".join("x" if s.startswith("{") else s for s in path.split("/"))
        for method, operation in item.items():
            if operation["security"] == []:
                continue
            answer = anonymous.raw(method.upper(), concrete, "{}")
            expect_error(answer, 401, 15)
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            seen += 1
    assert seen > 40


def test_authentication_comes_before_the_router(anonymous):
    assert anonymous.get("/nope").status == 401
    assert anonymous.call("PUT", "/projects").status == 401
    assert anonymous.call("HEAD", "/projects").status == 401
    assert anonymous.raw("GET", V1 + "//projects").status == 401
    assert anonymous.call("OPTIONS", "/projects").status == 200


def good(**changes):
    return {"iss": ISSUER, "aud": AUDIENCE, **changes}


@pytest.mark.parametrize("alg", ["RS256", "RS384", "RS512", "ES256", "EdDSA"])
def test_algorithms(jwt_server, keys, alg):
    assert jwt_server.client(keys.token("alice", alg=alg, **good())).get("/projects").status == 200


def test_tokens_that_are_refused(jwt_server, keys):
    now = int(time.time())
    unsigned = jwt.encode(good(username="alice", exp=now + 60), None, algorithm="none", headers={"kid": "r1"})
    confused = jwt.encode(good(username="alice", exp=now + 60), "secret", algorithm="HS256", headers={"kid": "r1"})
    tampered = keys.token("alice", **good()).split(".")
    tampered[1] = jwt.utils.base64url_encode(json.dumps(good(username="root", exp=now + 60)).encode()).decode()
    bad = {
        "stranger's key": keys.token("alice", key=keys.stranger, **good()),
        "unknown kid": keys.token("alice", kid="other", **good()),
        "no issuer": keys.token("alice", aud=AUDIENCE), "wrong issuer": keys.token("alice", **good(iss="https://x")),
        "no audience": keys.token("alice", iss=ISSUER), "wrong audience": keys.token("alice", **good(aud="other")),
        "expired": keys.token("alice", **good(exp=now - 3600)), "not yet": keys.token("alice", **good(nbf=now + 3600)),
        "nobody": keys.token(None, **good()), "unsigned": unsigned, "HMAC": confused, "tampered": ".".join(tampered),
        "PSS": keys.token("alice", alg="PS256", key=keys.rsa, kid="r1", **good()),
        "not a token": "abc", "two parts": "a.b", "empty": " ", "another secret": "service-secret2"}
    for why, token in bad.items():
        answer = jwt_server.client(token).get("/projects")
        assert answer.status == 401, why
        expect_error(answer, 401, 15)


def test_headers_of_a_token(jwt_server, keys):
    token = keys.token("alice", **good())
    for headers, status in (({"Authorization": "bearer " + token}, 200), ({"Authorization": "Basic " + token}, 401),
                            ({"X-Forwarded-Access-Token": token}, 401), ({"X-Forwarded-Access-Token": "x"}, 401),
                            ({"X-Forwarded-Access-Token": token, "Authorization": "Bearer x"}, 401),
                            ({"Authorization": "Bearer"}, 401), ({"Authorization": ""}, 401)):
        assert jwt_server.client(**{}).get("/projects", headers=headers).status == status, headers


def test_claims_become_a_user(as_user, as_admin):
    as_user("carol", first_name="Carol", last_name="C", email="c@example.org").get("/projects")
    as_user(None, preferred_username="dave", given_name="Dave", family_name="D").get("/projects")
    as_user("erin", name="Erin Van E").get("/projects")
    users = {u["username"]: u for u in as_admin.items("/users", size=1000)}
    assert (users["carol"]["name"], users["carol"]["email"]) == ("Carol C", "c@example.org")
    assert users["dave"]["name"] == "Dave D"
    assert users["erin"]["name"].startswith("Erin")


# ---- what a user sees and may ----

@pytest.fixture(scope="module")
def world(jwt_server, keys):
    """alice owns a project with everything in it; bob owns another one."""
    alice, bob, admin = (jwt_server.client(t) for t in (keys.token("alice", **good()), keys.token("bob", **good()),
                                                        "admin-secret"))
    out = {}
    for name, client in (("alice", alice), ("bob", bob)):
        project = client.project(f"of-{name}")["id"]
        agent = client.agent(project, "agent")["id"]
        out[name] = {
            "project": f"/projects/{project}",
            "agent": f"/projects/{project}/agents/{agent}",
            "agent_href": f"/agents/{agent}",
            "settings": "/project_settings/" + client.ok("POST", "/project_settings", {"project_id": project})["id"],
            "inbox": f"/projects/{project}/agents/{agent}/inbox/" + client.ok(
                "POST", f"/projects/{project}/agents/{agent}/inbox", {"agent_id": "", "body": "hi"})["id"],
            "session": "/sessions/" + client.session(project_id=project, prompt="secret")["id"],
            "loose": "/sessions/" + client.session(name="loose")["id"],
            "user": "/users/" + admin.items("/users", search=f"username = '{name}'")[0]["id"],
        }
    for client in (alice, bob, admin):
        client.close()
    return out


def test_owners_see_their_own(as_user, world):
    for user in ("alice", "bob"):
        for path in world[user].values():
            assert as_user(user).get(path).status == 200, path


def test_strangers_see_nothing(as_user, world):
    for path in world["alice"].values():
        answer = as_user("bob").get(path)
        missing = as_user("bob").get(path[:-3] + "zzz")
        assert answer.status == missing.status == 404, path
        assert answer.reason.replace("'" + path.rsplit("/", 1)[1] + "'", "'X'") == missing.reason.replace(
            "'" + path.rsplit("/", 1)[1][:-3] + "zzz'", "'X'") or path.count("/") == 2
    alice = world["alice"]
    for path in (alice["project"] + "/agents", alice["agent"] + "/sessions", alice["agent"] + "/inbox",
                 alice["agent"] + "/start", alice["session"] + "/messages", alice["session"] + "/events"):
        expect_error(as_user("bob").get(path), 404, 7)
    expect_error(as_user("bob").get(alice["session"] + "/messages", headers={"Accept": "text/event-stream"}), 404, 7)


def test_strangers_change_nothing(as_user, as_admin, world):
    alice = world["alice"]
    before = {path: as_admin.get(path).body for path in alice.values()}
    attempts = [("PATCH", alice["project"], {"description": "x"}), ("DELETE", alice["project"], None),
                ("PATCH", alice["agent"], {"prompt": "x"}), ("DELETE", alice["agent"], None),
                ("POST", alice["project"] + "/agents", {"project_id": "", "name": "evil"}),
                ("POST", alice["agent"] + "/start", {}),
                ("POST", alice["agent"] + "/inbox", {"agent_id": "", "body": "evil"}),
                ("PATCH", alice["inbox"], {"read": True}), ("DELETE", alice["inbox"], None),
                ("PATCH", alice["settings"], {"repositories": "x"}), ("DELETE", alice["settings"], None),
                ("POST", "/project_settings", {"project_id": "of-alice"}),
                ("POST", "/sessions", {"name": "x", "project_id": "of-alice"}),
                ("PATCH", alice["session"], {"name": "x"}), ("DELETE", alice["session"], None),
                ("POST", alice["session"] + "/start", None), ("POST", alice["session"] + "/stop", None),
                ("PATCH", alice["session"] + "/status", {"phase": "Running"}),
                ("POST", alice["session"] + "/messages", {"payload": "evil", "project_id": "of-bob"}),
                ("POST", alice["session"] + "/agui/run", {}), ("POST", alice["session"] + "/interrupt", {}),
                ("PATCH", alice["user"], {"name": "x"}), ("DELETE", alice["user"], None),
                ("POST", "/users", {"username": "evil", "name": "x"})]
    for method, path, body in attempts:
        expect_error(as_user("bob").call(method, path, body), 403, 4)
    expect_error(as_user("bob").post("/sessions", {"name": "x"}, headers={"X-Ambient-Project": "of-alice"}), 403, 4)
    assert before == {path: as_admin.get(path).body for path in alice.values()}


def test_lists_hold_only_what_is_visible(as_user, as_admin, as_service, world):
    def ids(client, path):
        return {i["id"] for i in client.items(path, size=1000)}
    mine = {k: v.rsplit("/", 1)[1] for k, v in world["bob"].items()}
    theirs = {k: v.rsplit("/", 1)[1] for k, v in world["alice"].items()}
    bob = as_user("bob")
    assert ids(bob, "/projects") == {mine["project"]}
    assert ids(bob, "/sessions") == {mine["session"], mine["loose"]}
    assert ids(bob, "/project_settings") == {mine["settings"]}
    assert ids(bob, "/users") == {mine["user"]}
    for privileged in (as_admin, as_service):
        assert ids(privileged, "/projects") >= {mine["project"], theirs["project"]}
        assert ids(privileged, "/sessions") >= {mine["session"], theirs["session"], mine["loose"], theirs["loose"]}
    escape = "name != '') or (name != ''"
    for path in ("/sessions", "/projects", "/users"):
        expect_error(bob.get(path, {"search": escape}), 400, 21)
    assert bob.ok("GET", "/sessions", query={"search": f"id = '{theirs['session']}' or name != ''"})["total"] == 2
    assert bob.ok("GET", "/sessions", query={"project_id": "of-alice"})["total"] == 0
    nobody = as_user("nobody")
    for path in ("/projects", "/sessions", "/project_settings"):
        assert nobody.ok("GET", path)["total"] == 0


def test_an_agents_owner_is_a_name_and_no_right(as_user, as_admin, world):
    """Who may do what with an agent is said by role bindings; owner_user_id only says whom to ask."""
    made = as_admin.agent("of-alice", "lent", owner_user_id="frank")
    frank = as_user("frank")
    expect_error(frank.get("/projects/of-alice/agents"), 404, 7)
    expect_error(frank.post(f"/projects/of-alice/agents/{made['id']}/start"), 403, 4)
    role = as_admin.items("/roles", search="name = 'agent:operator'")[0]["id"]
    as_admin.ok("POST", "/role_bindings", {"role_id": role, "scope": "agent", "user_id": "frank",
                                           "agent_id": made["id"]})
    assert [a["id"] for a in frank.items("/projects/of-alice/agents")] == [made["id"]]
    session = frank.ok("POST", f"/projects/of-alice/agents/{made['id']}/start")["session"]
    assert session["created_by_user_id"] == "frank"
    assert as_user("alice").get(f"/sessions/{session['id']}").status == 200
    expect_error(as_user("alice").post("/projects/of-alice/agents", {"project_id": "", "name": "x",
                                                                    "owner_user_id": "bob"}), 403, 4)


def test_status_is_for_the_platform(as_user, as_service, as_admin, world):
    session = as_user("alice").session(project_id="of-alice")["id"]
    expect_error(as_user("alice").patch(f"/sessions/{session}/status", {"phase": "Running"}), 403, 4)
    assert as_service.patch(f"/sessions/{session}/status", {"phase": "Running"}).status == 200
    assert as_admin.patch(f"/sessions/{session}/status", {"phase": "Completed"}).status == 200


def test_the_platform_does_not_speak_for_people(as_service, world):
    expect_error(as_service.post(world["alice"]["session"] + "/messages", {"payload": "x"}), 403, 4,
                 "service token may not push event_type=user")


@pytest.mark.parametrize("username, claims", [("anything", {"client_id": "platform"}),
                                              ("service-account-platform", {}),
                                              ("service-account-platform", {"azp": "platform"})])
def test_the_service_account_is_the_platform(as_user, world, username, claims):
    client = as_user(username, **claims)
    assert client.get(world["alice"]["session"]).status == 200
    assert client.ok("GET", "/sessions", headers={"X-Ambient-Project": "default"})["total"] >= 2
    assert client.ok("GET", "/sessions", headers={"X-Ambient-Project": "of-bob"})["total"] == 1


def test_who_may_change_users(as_user, as_admin, world):
    alice = world["alice"]["user"]
    assert as_user("alice").patch(alice, {"email": "a@example.org"}).status == 200
    expect_error(as_user("alice").patch(alice, {"username": "bob2"}), 403, 4, "username is immutable")
    assert as_admin.patch(alice, {"name": "Alice"}).status == 200
    # one that bindings name stays; without any, what its person made goes along
    expect_error(as_admin.patch(alice, {"username": "alice2"}), 409, 6)
    grace = as_user("grace")
    session = grace.session(name="of grace")["id"]
    row = grace.items("/users")[0]["id"]
    assert as_admin.patch(f"/users/{row}", {"username": "grace2"}).status == 200
    assert as_admin.ok("GET", f"/sessions/{session}")["created_by_user_id"] == "grace2"


def test_keys_of_another_provider(jwt_server):
    expect_error(jwt_server.client(Keys().token("alice", **good())).get("/projects"), 401, 15)


def test_one_user_has_so_many_streams_and_no_more(jwt_server, keys, as_admin):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4000:
        pytest.skip(f"needs 4000 descriptors, may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    token = keys.token("greedy", **good())
    session = jwt_server.client(token).session()["id"]
    streams = [jwt_server.stream(session, token) for _ in range(1000)]
    try:
        assert {s.status for s in streams} == {200}
        refused = jwt_server.client(token).get(f"/sessions/{session}/messages", headers={"Accept": "text/event-stream"})
        expect_error(refused, 429, 9, "too many open streams")
        others = jwt_server.stream(session, "admin-secret")
        assert others.status == 200
        others.close()
        streams.pop().close()

        def again():
            stream = jwt_server.stream(session, token)
            streams.append(stream)
            return stream.status == 200
        wait_for(again, "the stream that was closed to be counted off")
    finally:
        for stream in streams:
            stream.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
