"""Credentials: the token is written and fetched, and never shown in any other way.
rest-governance-and-auth.md 4; defects D7, D8, D29-D34."""
import base64
import json
import sqlite3

import pytest

import api_support
from api_support import expect_error

KEY_1 = base64.b64encode(bytes(range(32))).decode()
KEY_2 = base64.b64encode(bytes(range(1, 33))).decode()
PLAIN = {"CREDENTIAL_ENCRYPTION_KEYRING": "", "CREDENTIAL_ENCRYPTION_KEY_VERSION": ""}


def ring(active, **keys):
    return {"CREDENTIAL_ENCRYPTION_KEYRING": json.dumps({k.lstrip("v"): v for k, v in keys.items()}),
            "CREDENTIAL_ENCRYPTION_KEY_VERSION": str(active)}


def make(api, token="ghp_planted", **fields):
    return api.ok("POST", "/credentials", {"name": "c", "provider": "github", "token": token, **fields})


def token_of(api, credential_id, path="/credentials"):
    return api.ok("GET", f"{path}/{credential_id}/token")["token"]


def stored(server):
    with sqlite3.connect(f"file:{server.database}?mode=ro", uri=True) as db:
        return dict(db.execute("SELECT id, token FROM credentials"))


# ---- the kind ----

def test_a_credential_is_made_shown_changed_and_deleted(api):
    made = make(api, url="https://github.example", email="bot@example.org", description="d",
                labels={"team": "a"}, annotations={"x": "y"})
    assert set(made) == {"annotations", "created_at", "description", "email", "href", "id", "kind", "labels", "name",
                         "provider", "updated_at", "url"}
    assert made["kind"] == "Credential" and made["href"] == f"/api/ambient/v1/credentials/{made['id']}"
    assert list(made) == sorted(made)
    path = f"/credentials/{made['id']}"
    assert api.ok("GET", path) == made
    changed = api.ok("PATCH", path, {"name": "other", "token": "ghp_new"})
    assert changed["name"] == "other" and "token" not in changed
    assert token_of(api, made["id"]) == "ghp_new"
    api.ok("DELETE", path)
    expect_error(api.get(path), 404, 7, f"Credential with id='{made['id']}' not found")
    api.ok("DELETE", path)


@pytest.mark.parametrize("body, reason", [
    ({"provider": "github"}, "name"), ({"name": "c"}, "provider"),
    ({"name": "c", "provider": "github", "scope": "all"}, "scope"),
    ({"name": "c", "provider": "github", "token": 7}, "token"),
])
def test_bodies_are_strict(api, body, reason):
    error = expect_error(api.post("/credentials", body), 400, 17)
    assert reason in error["reason"]


@pytest.mark.parametrize("provider", ["Git Hub", "../x", "github/x", "-x"])
def test_a_provider_is_a_plain_word(api, provider):
    expect_error(api.post("/credentials", {"name": "c", "provider": provider}), 400, 8)


def test_lists_filter_by_provider(api, name):
    make(api, provider="jira", name=name)
    make(api, provider="gitlab", name=name)
    names = [c["provider"] for c in api.items("/credentials", provider="jira", search=f"name = '{name}'")]
    assert names == ["jira"]


# ---- the token ----

def test_the_token_answer(api):
    made = make(api, url="https://u", email="e@x")
    answer = api.get(f"/credentials/{made['id']}/token")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"credential_id": made["id"], "provider": "github", "token": "ghp_planted",
                             "url": "https://u", "email": "e@x"}


def test_a_token_that_was_never_set_is_empty(api):
    made = api.ok("POST", "/credentials", {"name": "c", "provider": "github"})
    assert token_of(api, made["id"]) == ""
    api.ok("PATCH", f"/credentials/{made['id']}", {"token": ""})
    assert token_of(api, made["id"]) == ""


def test_a_cleared_token_is_gone(api, server):
    made = make(api)
    api.ok("PATCH", f"/credentials/{made['id']}", {"token": None})
    assert token_of(api, made["id"]) == ""
    assert stored(server)[made["id"]] is None


def test_a_refusal_is_not_stored_by_anybody_either(api):
    answer = api.get("/credentials/2abCdEfGhIjKlMnOpQrStUvWxYz/token")
    expect_error(answer, 404, 7)
    assert answer.headers["Cache-Control"] == "no-store"


def test_d7_the_token_is_neither_searched_nor_ordered_by_nor_selected(api):
    make(api)
    for query in ({"search": "token like 'ghp_%'"}, {"search": "credentials.token = 'x'"}, {"orderBy": "token"},
                  {"orderBy": "token desc"}, {"fields": "token"}, {"fields": "id,token"}):
        answer = api.get("/credentials", query)
        assert answer.status == 400, query
        assert "ghp_planted" not in answer.body.decode()


def test_the_document_says_that_the_token_is_write_only(api):
    schemas = api.ok("GET", "/openapi")["components"]["schemas"]
    assert schemas["Credential"]["properties"]["token"]["writeOnly"] is True
    assert schemas["CredentialPatchRequest"]["properties"]["token"]["writeOnly"] is True


def test_d30_every_read_of_a_token_is_audited(api, server):
    made = make(api)
    answer = api.get(f"/credentials/{made['id']}/token")
    events = api.items("/audit_events", search=f"resource_id = '{made['id']}'")
    assert len(events) == 1
    event = events[0]
    assert event["action"] == "credential:fetch_token" and event["resource_kind"] == "Credential"
    assert event["actor"] == "user:dev-user" and event["source"].startswith("127.0.0.1")
    assert event["operation_id"] == answer.headers["X-Operation-ID"]
    assert api.ok("GET", f"/audit_events/{event['id']}") == event
    assert f"operation={event['operation_id']}" in server.log() or event["operation_id"] in server.log()
    token_of(api, made["id"])
    assert len(api.items("/audit_events", search=f"resource_id = '{made['id']}'")) == 2


def test_nobody_writes_the_audit(api):
    for method in ("POST", "PATCH", "DELETE"):
        assert api.call(method, "/audit_events", {}).status == 405


# ---- at rest ----

def test_a_token_is_sealed_at_rest(api, server):
    made = make(api)
    form = stored(server)[made["id"]]
    assert form.startswith("enc:v1:") and "ghp_planted" not in form
    # the same token again is no change, so that a manifest may be applied twice
    before = api.ok("GET", f"/credentials/{made['id']}")
    assert api.ok("PATCH", f"/credentials/{made['id']}", {"token": "ghp_planted"}) == before
    assert stored(server)[made["id"]] == form


def test_a_sealed_token_belongs_to_its_credential(api, server):
    """A row's sealed value that is copied to another row does not open there."""
    mine, other = make(api, "ghp_mine"), make(api, "ghp_other")
    with sqlite3.connect(server.database, timeout=30) as db:
        db.execute("UPDATE credentials SET token = (SELECT token FROM credentials WHERE id = ?) WHERE id = ?",
                   (other["id"], mine["id"]))
    answer = api.get(f"/credentials/{mine['id']}/token")
    expect_error(answer, 500, 9)
    assert "ghp_" not in answer.body.decode()
    api.ok("PATCH", f"/credentials/{mine['id']}", {"token": "ghp_repaired"})
    assert token_of(api, mine["id"]) == "ghp_repaired"


def test_d32_a_damaged_value_is_an_error_and_not_a_token(api, server):
    made = make(api)
    with sqlite3.connect(server.database, timeout=30) as db:
        db.execute("UPDATE credentials SET token = 'enc:v1:@@@' WHERE id = ?", (made["id"],))
    answer = api.get(f"/credentials/{made['id']}/token")
    expect_error(answer, 500, 9)
    assert "enc:" not in answer.body.decode()
    assert api.ok("GET", f"/credentials/{made['id']}")["name"] == "c"  # D33: metadata never decrypts


@pytest.mark.parametrize("env, text", [
    ({"AMBIENT_ENV": "production", **PLAIN}, "CREDENTIAL_ENCRYPTION_KEYRING is not set"),
    ({"AMBIENT_ENV": "production", **PLAIN, "CREDENTIAL_ENCRYPTION_ALLOW_PLAINTEXT": "yes"}, "is not set"),
    ({"CREDENTIAL_ENCRYPTION_KEY_VERSION": ""}, "KEY_VERSION must be set"),
    ({"CREDENTIAL_ENCRYPTION_KEY_VERSION": "one"}, "must be an integer"),
    (ring(3, v1=KEY_1), "KEY_VERSION 3 is not in the key ring"),
    (ring(1, v1="c2hvcnQ="), "is not base64 of 32 bytes"),
    (ring(1, v1="?"), "is not base64"),
    (ring(1, v1=KEY_1, v01=KEY_2), "is there twice"),
    ({**ring(1), "CREDENTIAL_ENCRYPTION_KEYRING": "{"}, "is not JSON"),
    ({**ring(1), "CREDENTIAL_ENCRYPTION_KEYRING": "[]"}, "must be a JSON object"),
])
def test_a_bad_key_ring_ends_the_start(tmp_path, env, text):
    server = api_support.ApiServer(tmp_path, ["--enable-jwt=false"])
    done = server.run("serve", "--api-server-bindaddress=127.0.0.1:0", env={**api_support.KEYRING, **env})
    assert done.returncode == 1 and done.stderr.startswith("FATAL: ") and text in done.stderr
    assert KEY_1 not in done.stderr and KEY_2 not in done.stderr


def test_d31_a_server_without_the_key_of_a_row_does_not_start(tmp_path):
    with api_support.running(tmp_path, env=ring(1, v1=KEY_1)) as server:
        made = make(server.client())
    for what in ("platform_secrets session-token-key", f"credentials {made['id']}"):
        for env in (PLAIN, ring(2, v2=KEY_2)):
            done = server.run("serve", "--api-server-bindaddress=127.0.0.1:0", env={**api_support.KEYRING, **env})
            assert done.returncode != 0 and f"{what} is encrypted with key v1" in done.stderr
        with sqlite3.connect(server.database) as db:
            db.execute("DELETE FROM platform_secrets")


def test_plain_text_rows_are_served_and_encrypted_by_the_command(tmp_path):
    server = api_support.ApiServer(tmp_path, env=PLAIN)
    server.start()
    api = server.client()
    made, deleted = make(api, "ghp_one"), make(api, "ghp_two")
    empty = api.ok("POST", "/credentials", {"name": "c", "provider": "github", "token": ""})
    expect_error(api.post("/credentials", {"name": "c", "provider": "x", "token": "enc:v1:AAAA"}), 400, 8)
    api.ok("DELETE", f"/credentials/{deleted['id']}")
    assert stored(server)[made["id"]] == "ghp_one"
    server.stop()
    one, two = ring(1, v1=KEY_1), ring(2, v1=KEY_1, v2=KEY_2)

    def lines(*args, env):
        done = server.run("encrypt-credentials", *args, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    extra = platform_secrets(server)
    assert lines("--dry-run", env=one)[0] == \
        f"Would encrypt: {2 + extra} plaintext, Would re-encrypt: 0 (→ v1), Already current: 0"
    assert stored(server)[made["id"]] == "ghp_one"
    assert lines(env=one) == [f"{2 + extra} credentials encrypted (plaintext → v1)", "1 of them are deleted"]
    assert stored(server)[deleted["id"]].startswith("enc:v1:")
    assert stored(server)[empty["id"]] == ""
    assert lines(env=one) == ["0 credentials need encryption. All up to date."]
    assert lines(env=two)[0] == f"{2 + extra} credentials re-encrypted to v2"
    server.env = two
    server.start()
    assert token_of(server.client(), made["id"]) == "ghp_one"
    server.stop()
    assert lines("--decrypt", "--dry-run", env=two)[0] == f"Would decrypt: {2 + extra} encrypted, Already plaintext: 0"
    assert lines("--decrypt", env=two)[0] == f"{2 + extra} credentials decrypted to plaintext"
    assert lines("--decrypt", env=two) == ["0 credentials need decryption. All plaintext."]
    assert stored(server)[made["id"]] == "ghp_one"


def platform_secrets(server):
    with sqlite3.connect(f"file:{server.database}?mode=ro", uri=True) as db:
        return db.execute("SELECT count(*) FROM platform_secrets").fetchone()[0]


def test_the_command_names_what_it_cannot_turn_and_turns_the_rest(tmp_path):
    with api_support.running(tmp_path, env=ring(1, v1=KEY_1)) as server:
        api = server.client()
        good, bad = make(api, "ghp_one"), make(api, "ghp_two")
    with sqlite3.connect(server.database) as db:
        db.execute("UPDATE credentials SET token = 'enc:v1:AAAA' WHERE id = ?", (bad["id"],))
    done = server.run("encrypt-credentials", env=ring(2, v1=KEY_1, v2=KEY_2))
    assert done.returncode == 1
    assert f"ERROR: encrypt {bad['id']}: " in done.stderr and f"1 credentials failed: [{bad['id']}]" in done.stderr
    assert stored(server)[good["id"]].startswith("enc:v2:") and stored(server)[bad["id"]] == "enc:v1:AAAA"


def test_the_command_needs_its_keys(server):
    done = server.run("encrypt-credentials", env=PLAIN)
    assert done.returncode != 0 and "CREDENTIAL_ENCRYPTION_KEYRING" in done.stderr


def test_the_log_at_its_loudest_does_not_know_the_token(tmp_path):
    """D29."""
    with api_support.running(tmp_path, ["--log-level=debug"]) as server:
        api = server.client()
        made = make(api, "ghp_planted_for_the_log")
        api.ok("PATCH", f"/credentials/{made['id']}", {"token": "ghp_planted_for_the_log_too"})
        token_of(api, made["id"])
        api.post("/credentials", '{"name":"c","provider":"github","token":"ghp_planted_for_the_log"')
        api.get("/credentials", {"search": "token = 'x'"})
        assert "ghp_planted" not in server.log()


# ---- who may ----

@pytest.fixture
def owned(as_user, name):
    """alice's credential, and a project of hers that it is bound to."""
    alice = as_user(f"alice-{name}")
    project = alice.project(f"p-{name}")["id"]
    credential = make(alice, "ghp_alices")["id"]
    alice.ok("POST", "/role_bindings", {"role_id": "credential:viewer", "scope": "credential",
                                        "credential_id": credential, "project_id": project})
    return alice, project, credential


def test_who_makes_a_credential_owns_it(owned, as_user):
    alice, _, credential = owned
    rows = alice.items("/role_bindings", search=f"credential_id = '{credential}' and user_id is not null")
    assert len(rows) == 1 and rows[0]["scope"] == "credential"
    assert token_of(alice, credential) == "ghp_alices"
    mallory = as_user("mallory")
    for path in (f"/credentials/{credential}", f"/credentials/{credential}/token"):
        expect_error(mallory.get(path), 404, 7, f"Credential with id='{credential}' not found")
    assert mallory.patch(f"/credentials/{credential}", {"token": "x"}).status == 403
    assert mallory.delete(f"/credentials/{credential}").status == 403
    assert [c["id"] for c in alice.items("/credentials")] == [credential]
    assert mallory.items("/credentials") == []
    assert token_of(alice, credential) == "ghp_alices"


def test_d8_to_see_is_not_to_read_the_token(owned, as_user, as_admin, name):
    """D8, D39: whoever sees the credential hears 403, and never the token."""
    alice, project, credential = owned
    viewer = as_user(f"viewer-{name}")
    expect_error(viewer.get(f"/credentials/{credential}/token"), 404, 7)
    as_admin.ok("POST", "/role_bindings", {"role_id": "credential:viewer", "scope": "credential",
                                           "credential_id": credential, "user_id": f"viewer-{name}"})
    assert viewer.ok("GET", f"/credentials/{credential}")["id"] == credential
    expect_error(viewer.get(f"/credentials/{credential}/token"), 403, 4)
    member = as_user(f"member-{name}")
    alice.ok("POST", "/role_bindings", {"role_id": "project:viewer", "scope": "project", "project_id": project,
                                        "user_id": f"member-{name}"})
    expect_error(member.get(f"/projects/{project}/credentials/{credential}/token"), 403, 4)
    expect_error(member.get(f"/credentials/{credential}/token"), 404, 7)


def test_d11_the_nested_path_is_for_what_is_bound_there(owned, as_user, name):
    alice, project, credential = owned
    other = alice.project(f"q-{name}")["id"]
    nested = f"/projects/{project}/credentials"
    assert [c["id"] for c in alice.items(nested)] == [credential]
    assert alice.ok("GET", f"{nested}/{credential}")["href"] == f"/api/ambient/v1/credentials/{credential}"
    assert token_of(alice, credential, nested) == "ghp_alices"
    assert alice.items(f"/projects/{other}/credentials") == []
    for method in ("GET", "PATCH"):
        expect_error(alice.call(method, f"/projects/{other}/credentials/{credential}", {}), 404, 7)
    expect_error(alice.get(f"/projects/{other}/credentials/{credential}/token"), 404, 7)
    assert alice.delete(f"/projects/{other}/credentials/{credential}").status in (204, 404)
    assert token_of(alice, credential) == "ghp_alices"
    expect_error(alice.get(f"/projects/nowhere-{name}/credentials"), 404, 7)


def test_what_is_made_in_a_project_is_bound_there(as_user, name):
    alice = as_user(f"alice-{name}")
    project = alice.project(f"p-{name}")["id"]
    made = alice.ok("POST", f"/projects/{project}/credentials", {"name": "c", "provider": "jira", "token": "t"})
    assert [c["id"] for c in alice.items(f"/projects/{project}/credentials", provider="jira")] == [made["id"]]
    bob = as_user(f"bob-{name}")
    alice.ok("POST", "/role_bindings", {"role_id": "project:viewer", "scope": "project", "project_id": project,
                                        "user_id": f"bob-{name}"})
    expect_error(bob.post(f"/projects/{project}/credentials", {"name": "c", "provider": "jira"}), 403, 4)
    assert bob.items("/credentials") == []


def test_the_audit_is_for_administrators(owned, as_user, as_admin, as_service):
    alice, _, credential = owned
    token_of(alice, credential)
    search = f"resource_id = '{credential}'"
    event = as_admin.items("/audit_events", search=search)[0]
    for client in (alice, as_user("mallory"), as_service):
        assert client.items("/audit_events", search=search) == []
        assert client.get(f"/audit_events/{event['id']}").status == 404


def test_a_read_that_was_refused_is_no_read(owned, as_user, as_admin):
    _, _, credential = owned
    as_user("mallory").get(f"/credentials/{credential}/token")
    assert as_admin.items("/audit_events", search=f"resource_id = '{credential}'") == []
