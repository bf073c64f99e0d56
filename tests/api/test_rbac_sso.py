"""Who somebody is: rest-governance-and-auth.md 7 and the defects of 14.2, by their number."""
import http.server
import json
import subprocess
import threading
import time

import grpc
import pytest

import rpc_support
from api_support import AUDIENCE, ISSUER, ApiServer, Keys, expect_error, program, running, wait_for

DENIED, UNAUTHENTICATED = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED


class Provider:
    """An identity provider's key set behind a URL; the set may change while somebody reads it."""

    def __init__(self, keys):
        self.jwks, self.max_age, self.fetches = keys.jwks(), None, 0
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                provider.fetches += 1
                body = provider.jwks.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                if provider.max_age is not None:
                    self.send_header("Cache-Control", f"public, max-age={provider.max_age}")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/certs"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def rsa_only(keys, kid):
    """The key set with the RSA key alone, under another id: what `keys.token(kid=...)` then signs for."""
    found = [k for k in json.loads(keys.jwks())["keys"] if k["kty"] == "RSA"][0]
    return json.dumps({"keys": [{**found, "kid": kid}]})


class Sso:
    """A production server with two providers and a file, a service account, two static tokens and a proxy."""

    def __init__(self, directory):
        self.keys = {name: Keys() for name in ("file", "one", "two")}
        self.providers = {name: Provider(self.keys[name]) for name in ("one", "two")}
        for name, provider in self.providers.items():
            provider.jwks = rsa_only(self.keys[name], name)
        (directory / "jwks.json").write_text(rsa_only(self.keys["file"], "file"))
        self.server = ApiServer(directory, [
            f"--jwk-cert-file={directory}/jwks.json", f"--jwk-cert-url={self.providers['one'].url}",
            f"--grpc-jwk-cert-url={self.providers['two'].url}", "--jwt-issuer", f"https://other.test,{ISSUER}",
            "--jwt-audience", f"{AUDIENCE},second", "--trusted-proxies", "10.0.0.0/8,127.0.0.1",
        ], {"AMBIENT_ENV": "production", "GRPC_SERVICE_ACCOUNT": "platform", "AMBIENT_API_TOKEN": "new-secret",
            "AMBIENT_API_TOKEN_OLD": "old-secret", "AMBIENT_ADMIN_TOKEN": "admin-secret"}).start()

    def token(self, username, source="file", **claims):
        return self.keys[source].token(username, kid=source, **{"iss": ISSUER, "aud": AUDIENCE, **claims})

    def rest(self, username, source="file", **claims):
        return self.server.client(self.token(username, source, **claims))

    def rpc(self, token):
        return rpc_support.connected(self.server, token)

    def close(self):
        self.server.stop()
        for provider in self.providers.values():
            provider.close()


@pytest.fixture(scope="module")
def sso(tmp_path_factory):
    place = Sso(tmp_path_factory.mktemp("sso"))
    yield place
    place.close()


def both(sso, token):
    """What the two protocols say to a token: True, or their refusal."""
    rest = sso.server.client(token).get("/projects").status
    with sso.rpc(token) as rpc:
        try:
            rpc.call("ListProjects")
            code = grpc.StatusCode.OK
        except grpc.RpcError as error:
            code = error.code()
    assert (rest == 200) == (code is grpc.StatusCode.OK), (rest, code)
    if rest != 200:
        assert (rest, code) == (401, UNAUTHENTICATED)
    return rest == 200


# ---- tokens ----

@pytest.mark.parametrize("source", ["file", "one", "two"])
def test_D26_all_sources_of_keys_count_on_both_protocols(sso, source):
    assert both(sso, sso.token("alice", source, sub="a"))


@pytest.mark.parametrize("claims, good", [
    ({}, True), ({"iss": "https://other.test"}, True), ({"iss": "https://evil.test"}, False), ({"iss": None}, False),
    ({"aud": "second"}, True), ({"aud": ["x", AUDIENCE]}, True), ({"aud": "account"}, False), ({"aud": None}, False)])
def test_D19_issuer_and_audience_are_checked(sso, claims, good):
    other = claims.get("iss") == "https://other.test"    # another issuer's people are other people
    assert both(sso, sso.token("d19-other" if other else "d19", sub="d19", **claims)) is good


def test_clock_skew(sso):
    now = int(time.time())
    for good, claims in ((True, {"exp": now - 5, "iat": now - 100}), (True, {"nbf": now + 5}),
                         (False, {"exp": now - 3600}), (False, {"nbf": now + 3600})):
        assert both(sso, sso.token("skew", sub="skew", **claims)) is good, claims


@pytest.mark.parametrize("missing", ["--jwt-issuer", "--jwt-audience"])
def test_D19_production_asks_for_both(tmp_path, keys, missing):
    (tmp_path / "jwks.json").write_text(keys.jwks())
    given = {"--jwt-issuer": ISSUER, "--jwt-audience": "*"}
    args = [f"--jwk-cert-file={tmp_path}/jwks.json", *(f"{k}={v}" for k, v in given.items() if k != missing)]
    done = subprocess.run(ApiServer(tmp_path, args).command(), capture_output=True, text=True, timeout=60,
                          env={"AMBIENT_ENV": "production", "CREDENTIAL_ENCRYPTION_ALLOW_PLAINTEXT": "true"})
    assert done.returncode != 0 and f"{missing} is required in production" in done.stderr, done.stderr


def test_D23_no_identity_from_a_token_that_was_not_verified(sso):
    stranger = Keys()
    forged = stranger.token("platform", kid="file", iss=ISSUER, aud=AUDIENCE, client_id="platform")
    assert not both(sso, forged)
    assert not both(sso, forged.rsplit(".", 1)[0] + ".")


def test_D22_one_claim_decides_on_both_protocols(sso):
    token = sso.token("d22", sub="d22", preferred_username="platform")
    assert [u["username"] for u in sso.server.client(token).items("/users")] == ["d22"]
    with sso.rpc(token) as rpc:
        assert [u.username for u in rpc.call("ListUsers").items] == ["d22"]
        assert rpc.error("WatchUsers")[0] is DENIED


def test_D24_static_tokens_beside_jwt_two_at_a_time(sso):
    project = sso.rest("d24", sub="d24").project("d24")["id"]
    for token in ("new-secret", "old-secret"):
        assert both(sso, token)
        client = sso.server.client(token)
        assert project in {p["id"] for p in client.items("/projects", size=-1)}
        # service rights: it carries out, it does not make, delete, or give
        expect_error(client.post("/projects", {"name": f"made-by-{token}"}), 403, 4)
        expect_error(client.delete(f"/projects/{project}"), 403, 4)
        expect_error(client.post("/role_bindings", {"role_id": "project:viewer", "scope": "project", "user_id": "x",
                                                    "project_id": project}), 403, 4)
    for token in ("new-secre", "old-secret2", "new-secretold-secret"):
        assert not both(sso, token)


# ---- proxies ----

def test_D27_a_forwarded_token_of_a_trusted_proxy(sso, jwt_server, keys):
    token = sso.token("d27", sub="d27")
    answer = sso.server.client().get("/users", headers={"X-Forwarded-Access-Token": token})
    assert [u["username"] for u in answer.json()["items"]] == ["d27"]
    # the caller's own word wins, and a bad one is not replaced
    both_headers = {"X-Forwarded-Access-Token": token, "Authorization": "Bearer nonsense"}
    assert sso.server.client().get("/users", headers=both_headers).status == 401
    # nobody is trusted who was not named
    mine = keys.token("d27", iss=ISSUER, aud=AUDIENCE)
    assert jwt_server.client(mine).get("/users").status == 200
    expect_error(jwt_server.client().get("/users", headers={"X-Forwarded-Access-Token": mine}), 401, 15)


@pytest.mark.parametrize("networks", ["10.0.0.0/33", "example.org", "::1/129", "10.0.0.0/x", "1.2.3.4.5"])
def test_networks_that_are_none(tmp_path, networks):
    done = subprocess.run(ApiServer(tmp_path, [f"--trusted-proxies={networks}"]).command(), capture_output=True,
                          text=True, timeout=60)
    assert done.returncode != 0 and "--trusted-proxies" in done.stderr


def test_D28_what_is_public(sso):
    client = sso.server.client()
    for path in ("/openapi", "/openapi.html", "/version", "/errors"):
        assert client.get(path).status == 200, path


# ---- people ----

def test_D58_users_are_made_at_first_sight_and_follow_their_provider(sso):
    first = sso.rest("d58", sub="d58", given_name="Ada", family_name="Byron", email="ada@old.test")
    row = first.items("/users")[0]
    assert (row["username"], row["name"], row["email"]) == ("d58", "Ada Byron", "ada@old.test")
    later = sso.rest("d58", sub="d58", given_name="Ada", family_name="Lovelace", email="ada@new.test")
    row2 = later.items("/users")[0]
    assert (row2["id"], row2["name"], row2["email"]) == (row["id"], "Ada Lovelace", "ada@new.test")


def test_people_are_known_to_grpc_at_first_sight_too(sso):
    with sso.rpc(sso.token("only-grpc", sub="only-grpc", name="Only Grpc")) as rpc:
        assert [(u.username, u.name) for u in rpc.call("ListUsers").items] == [("only-grpc", "Only Grpc")]


def test_D21_rights_follow_the_identity_and_not_the_name(sso):
    ann = sso.rest("ann", sub="id-of-ann")
    project = ann.project("of-ann")["id"]
    session = ann.session(name="s", project_id=project)["id"]
    # renamed at the provider: still the same person
    renamed = sso.rest("ann-byron", sub="id-of-ann")
    assert renamed.ok("GET", f"/sessions/{session}")["created_by_user_id"] == "ann-byron"
    assert [b["user_id"] for b in renamed.items("/role_bindings")] == ["ann-byron"]
    # somebody else takes the free name: a stranger
    other = sso.rest("ann", sub="id-of-another-ann")
    expect_error(other.get(f"/projects/{project}"), 404, 7)
    assert other.items("/projects") == []
    # and nobody takes a name that is in use, on neither protocol
    thief_token = sso.token("ann-byron", sub="id-of-a-thief")
    thief = sso.server.client(thief_token)
    for answer in (thief.get("/projects"), thief.get(f"/projects/{project}"), thief.delete(f"/projects/{project}")):
        expect_error(answer, 403, 4, 'the username "ann-byron" belongs to another account')
    with sso.rpc(thief_token) as rpc:
        assert rpc.error("GetProject", id=project)[0] is DENIED
        assert rpc.error("WatchProjects")[0] is DENIED
    assert renamed.get(f"/projects/{project}").status == 200


def test_D21_deleting_a_user_takes_his_rights_away(sso):
    zed = sso.rest("zed", sub="zed")
    project = zed.project("of-zed")["id"]
    loose = zed.session(name="loose")["id"]
    admin = sso.server.client("admin-secret")
    admin.ok("DELETE", f"/users/{zed.items('/users')[0]['id']}")
    expect_error(zed.get(f"/projects/{project}"), 404, 7)
    assert [u["username"] for u in zed.items("/users")] == ["zed"]    # a new row, without the old rights
    assert zed.items("/role_bindings") == []
    expect_error(zed.get(f"/sessions/{loose}"), 404, 7)    # nor what somebody of that name once made
    assert admin.ok("GET", f"/sessions/{loose}")["created_by_user_id"] == "deleted:zed"
    assert admin.get(f"/projects/{project}").status == 200


def test_D57_reads_of_a_known_user_write_nothing(sso):
    client = sso.rest("d57", sub="d57")
    client.items("/users")
    before = sso.server.client("admin-secret").items("/users", search="username = 'd57'")
    for _ in range(3):
        client.items("/projects")
    after = sso.server.client("admin-secret").items("/users", search="username = 'd57'")
    assert before == after and len(after) == 1


# ---- the platform's account ----

def test_D20_the_service_account_is_a_client_and_not_a_name(sso):
    project = sso.rest("d20", sub="d20").project("d20")["id"]
    for claims in ({"client_id": "platform"}, {"clientId": "platform"},
                   {"username": "service-account-platform", "azp": "platform"}):
        claims = {"username": "sa", **claims}
        token = sso.token(claims.pop("username"), **claims)
        assert sso.server.client(token).get(f"/projects/{project}").status == 200, claims
    people = [("platform", {}), ("service-account-platform", {"azp": "console"}), ("eve", {"azp": "platform"})]
    for name, claims in people:
        token = sso.token(name, sub=f"person-{name}-{claims}", **claims)
        assert sso.server.client(token).get(f"/projects/{project}").status in (403, 404), (name, claims)
        with sso.rpc(token) as rpc:
            assert rpc.error("GetProject", id=project)[0] in (DENIED, grpc.StatusCode.NOT_FOUND)


def test_D14_D56_the_service_account_is_evaluated_like_anybody(tmp_path, keys):
    """Its rights are a row that is made at the start; an administrator takes them away, and they stay away."""
    (tmp_path / "jwks.json").write_text(keys.jwks())
    args = [f"--jwk-cert-file={tmp_path}/jwks.json", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE]
    env = {"AMBIENT_ENV": "production", "GRPC_SERVICE_ACCOUNT": "platform", "AMBIENT_ADMIN_TOKEN": "admin-secret"}
    with running(tmp_path, args, env) as server:
        owner = server.client(keys.token("owner", iss=ISSUER, aud=AUDIENCE, sub="o"))
        project = owner.project("pp")["id"]
        credential = owner.ok("POST", "/credentials", {"name": "c", "provider": "github", "token": "t0ken"})["id"]
        service = server.client(keys.token("x", iss=ISSUER, aud=AUDIENCE, client_id="platform"))
        assert service.get(f"/projects/{project}").status == 200
        admin = server.client("admin-secret")
        rows = admin.items("/role_bindings", search="user_id = 'platform'")
        assert [(r["scope"], r["project_id"]) for r in rows] == [("global", None)]
        admin.ok("DELETE", f"/role_bindings/{rows[0]['id']}")
        expect_error(service.get(f"/projects/{project}"), 404, 7)
        assert service.get(f"/credentials/{credential}/token").status in (403, 404)
        assert admin.items("/role_bindings", search="user_id = 'platform'") == []
        # a reader's binding on one credential gives that one
        session = owner.session(name="s", project_id=project)["id"]
        admin.ok("POST", "/role_bindings", {"role_id": "credential:token-reader", "scope": "credential",
                                            "credential_id": credential, "session_id": session, "user_id": "platform"})
        assert service.ok("GET", f"/credentials/{credential}/token")["token"] == "t0ken"


# ---- switches ----

def test_D17_without_authentication_only_this_machine_is_served(tmp_path):
    for args in (["--api-server-bindaddress=0.0.0.0:0"], ["--grpc-server-bindaddress=:0"]):
        done = subprocess.run([*ApiServer(tmp_path, []).command(), *args], capture_output=True, text=True, timeout=60)
        assert done.returncode != 0 and "--insecure-no-auth" in done.stderr, done.stderr
    with running(tmp_path, ["--api-server-bindaddress=0.0.0.0:0", "--insecure-no-auth"]) as server:
        assert server.client().get("/projects").status == 200
        assert "everybody may do all" in server.log()


def test_D18_with_authorization_off_tokens_stay_their_owners(tmp_path, keys):
    (tmp_path / "jwks.json").write_text(keys.jwks())
    args = [f"--jwk-cert-file={tmp_path}/jwks.json", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE,
            "--enable-authz=false"]
    with running(tmp_path, args, {"AMBIENT_ENV": "production"}) as server:
        def user(name):
            return server.client(keys.token(name, iss=ISSUER, aud=AUDIENCE, sub=name))
        credential = user("owner").ok("POST", "/credentials", {"name": "c", "provider": "github", "token": "x1"})["id"]
        assert user("owner").ok("GET", f"/credentials/{credential}/token")["token"] == "x1"
        assert user("other").get(f"/credentials/{credential}").status == 200
        expect_error(user("other").get(f"/credentials/{credential}/token"), 403, 4)
        assert user("other").patch(f"/credentials/{credential}", {"description": "x"}).status == 200


def test_D20_the_administrators_name_is_nobody_elses(tmp_path, keys):
    """A person of that name would own what the administrator makes, and keep the static token out."""
    (tmp_path / "jwks.json").write_text(keys.jwks())
    args = [f"--jwk-cert-file={tmp_path}/jwks.json", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE]
    person = keys.token("dev-user", sub="p", iss=ISSUER, aud=AUDIENCE)
    with running(tmp_path, args, {"AMBIENT_ENV": "production"}) as server:
        server.client(person).project("before")  # there is no such administrator yet
    with running(tmp_path, args, {"AMBIENT_ENV": "production", "AMBIENT_ADMIN_TOKEN": "admin-secret"}) as server:
        expect_error(server.client(person).get("/projects"), 401, 15, "invalid token: its username is reserved")
        with rpc_support.connected(server, person) as rpc:
            assert rpc.error("ListProjects")[0] == UNAUTHENTICATED
        assert server.client("admin-secret").project("after")["id"] == "after"


def test_D35_bearer_and_jwt_together(tmp_path, keys):
    (tmp_path / "jwks.json").write_text(keys.jwks())
    args = ["--enable-jwt", "--enable-authz", "--enable-bearer", f"--jwk-cert-file={tmp_path}/jwks.json"]
    with running(tmp_path, args, {"API_TOKEN": "bearer-secret"}) as server:
        assert server.client("bearer-secret").get("/projects").status == 200
        assert server.client(keys.token("alice")).get("/projects").status == 200
        assert server.client("other").get("/projects").status == 401


def test_D73_an_unknown_environment_is_production(tmp_path, keys):
    (tmp_path / "jwks.json").write_text(keys.jwks())
    args = [f"--jwk-cert-file={tmp_path}/jwks.json", "--jwt-issuer", ISSUER, "--jwt-audience", "*"]
    with running(tmp_path, args, {"AMBIENT_ENV": "openshift-dev"}) as server:
        assert server.client().get("/projects").status == 401
        assert "openshift-dev" in server.log()


# ---- the first administrator ----

def test_D12_seed_admin(tmp_path, keys):
    """The command's row names the person: the first administrator of an installation can do something."""
    (tmp_path / "jwks.json").write_text(keys.jwks())
    server = ApiServer(tmp_path, [f"--jwk-cert-file={tmp_path}/jwks.json", "--jwt-issuer", ISSUER, "--jwt-audience",
                                  AUDIENCE], {"AMBIENT_ENV": "production"})
    refused = server.run("seed-admin", "--username", "root")
    assert refused.returncode != 0 and "migrate" in refused.stderr
    assert server.run("migrate").returncode == 0
    assert "--username" in server.run("seed-admin").stderr
    made = server.run("seed-admin", "--username", "root")
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith('platform:admin binding created for user "root" (id='), made.stdout
    again = server.run("seed-admin", "--username", "root")
    assert again.stdout == 'platform:admin binding already exists for user "root"\n'
    server.start()
    try:
        root = server.client(keys.token("root", iss=ISSUER, aud=AUDIENCE, sub="root"))
        other = server.client(keys.token("other", iss=ISSUER, aud=AUDIENCE, sub="other"))
        project = other.project("pp")["id"]
        assert root.get(f"/projects/{project}").status == 200
        assert {u["username"] for u in root.items("/users")} >= {"root", "other"}
        root.ok("POST", "/role_bindings", {"role_id": "platform:admin", "scope": "global", "user_id": "other"})
        # a client that only knows the row's id means the person
        row = [u["id"] for u in root.items("/users") if u["username"] == "other"][0]
        made = root.ok("POST", "/role_bindings", {"role_id": "platform:viewer", "scope": "global", "user_id": row})
        assert made["user_id"] == "other"
    finally:
        server.stop()


def test_seed_admin_is_a_command_of_the_program():
    done = subprocess.run([program("ambient-api-server"), "--help"], capture_output=True, text=True, timeout=60)
    assert "seed-admin" in done.stdout


# ---- last: an unknown key asks a provider again at most every ten seconds ----

def test_D25_rotation_without_restart_and_withdrawn_keys(sso):
    """The provider changes its key: the new one is good at once, the old one never again, on both protocols."""
    provider = sso.providers["two"]
    old = sso.token("rot", "two", sub="rot")
    assert both(sso, old)
    fresh = Keys()
    provider.jwks = rsa_only(fresh, "two-b")
    new = fresh.token("rot", kid="two-b", iss=ISSUER, aud=AUDIENCE, sub="rot")
    wait_for(lambda: both(sso, new), "the new key")
    assert not both(sso, old)
    sso.keys["two"] = Keys()
    provider.jwks = rsa_only(sso.keys["two"], "two")
