"""The token of a running session: what it is good for, and that it is good for nothing else.
rest-governance-and-auth.md, D13 and D14; control-plane.md 13.5."""
import base64
import json
import re
import time

import grpc
import pytest

import api_support
from api_support import expect_error
from rpc_support import METHODS, Rpc

DENIED, UNAUTHENTICATED, NOT_FOUND = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED,
                                      grpc.StatusCode.NOT_FOUND)


class Place:
    """A project of alice's with two agents, a running session and a neighbour, and credentials."""

    def __init__(self, as_user, as_admin, as_service, name):
        self.alice, self.admin, self.service = as_user(f"alice-{name}"), as_admin, as_service
        self.project = self.alice.project(f"p-{name}")["id"]
        self.other_project = self.alice.project(f"q-{name}")["id"]
        self.agent = self.alice.agent(self.project, "mine")["id"]
        self.peer = self.alice.agent(self.project, "peer")["id"]
        self.session = self.running(self.agent)
        self.neighbour = self.running(self.peer)
        self.mine, self.foreign = self.credential("ghp_mine"), self.credential("ghp_foreign")
        self.grant(self.mine, self.session)
        self.grant(self.foreign, self.neighbour)

    def running(self, agent):
        made = self.alice.session(project_id=self.project, agent_id=agent, prompt="work")["id"]
        self.alice.ok("POST", f"/sessions/{made}/start", status=200)
        self.service.status(made, phase="Running")
        return made

    def credential(self, token):
        made = self.alice.ok("POST", "/credentials", {"name": token, "provider": "github", "token": token})["id"]
        self.alice.ok("POST", "/role_bindings", {"role_id": "credential:viewer", "scope": "credential",
                                                 "credential_id": made, "project_id": self.project})
        return made

    def grant(self, credential, session):
        return self.service.ok("POST", "/role_bindings", {
            "role_id": "credential:token-reader", "scope": "credential", "credential_id": credential,
            "session_id": session})["id"]

    def mint(self, session=None):
        return self.service.ok("POST", f"/sessions/{session or self.session}/token")


@pytest.fixture
def place(as_user, as_admin, as_service, name):
    return Place(as_user, as_admin, as_service, name)


@pytest.fixture
def runner(place, jwt_server):
    client = jwt_server.client(place.mint()["token"])
    yield client
    client.close()


@pytest.fixture
def runner_rpc(place, jwt_server):
    rpc = Rpc(jwt_server.ports["grpc"], place.mint()["token"])
    yield rpc
    rpc.close()


# ---- minting ----

def test_the_platform_mints_a_token(place):
    answer = place.service.post(f"/sessions/{place.session}/token")
    assert answer.status == 201 and answer.headers["Cache-Control"] == "no-store"
    body = answer.json()
    assert set(body) == {"expires_at", "session_id", "token"} and body["session_id"] == place.session
    claims = json.loads(base64.urlsafe_b64decode(body["token"].split(".")[1] + "=="))
    assert claims["sub"] == f"session:{place.session}" and claims["exp"] - claims["iat"] == 3600


def test_nobody_else_mints(place, as_user, jwt_server):
    """Not the owner of the session either: the token reads credentials that need not be his."""
    expect_error(place.alice.post(f"/sessions/{place.session}/token"), 403, 4)
    assert as_user("stranger").post(f"/sessions/{place.session}/token").status in (403, 404)
    expect_error(jwt_server.client().post(f"/sessions/{place.session}/token"), 401, 15)


@pytest.mark.parametrize("phase", ["Stopped", "Completed", "Failed"])
def test_a_session_that_is_over_gets_none(place, phase):
    if phase == "Stopped":
        place.alice.ok("POST", f"/sessions/{place.session}/stop", status=200)
    place.service.status(place.session, phase=phase)
    expect_error(place.service.post(f"/sessions/{place.session}/token"), 409, 6)
    place.alice.ok("DELETE", f"/sessions/{place.session}")
    expect_error(place.service.post(f"/sessions/{place.session}/token"), 404, 7)


def test_a_session_renews_its_own(place, runner, jwt_server):
    fresh = runner.ok("POST", f"/sessions/{place.session}/token")["token"]
    assert jwt_server.client(fresh).ok("GET", f"/sessions/{place.session}")["id"] == place.session
    assert runner.post(f"/sessions/{place.neighbour}/token").status == 403


# ---- what it may ----

def test_it_reads_what_is_its_own(place, runner):
    assert runner.ok("GET", f"/sessions/{place.session}")["id"] == place.session
    assert runner.ok("GET", f"/projects/{place.project}")["id"] == place.project
    assert runner.ok("GET", f"/projects/{place.project}/agents/{place.agent}")["id"] == place.agent
    assert runner.ok("GET", f"/credentials/{place.mine}")["provider"] == "github"
    assert [m["payload"] for m in runner.messages(place.session)] == ["work"]


def test_lists_show_what_is_its_own_and_nothing_else(place, runner):
    assert [s["id"] for s in runner.items("/sessions")] == [place.session]
    assert [p["id"] for p in runner.items("/projects")] == [place.project]
    assert [a["id"] for a in runner.items(f"/projects/{place.project}/agents")] == [place.agent]
    assert [c["id"] for c in runner.items("/credentials")] == [place.mine]
    for path in ("/users", "/role_bindings", "/project_settings", "/audit_events", "/applications"):
        assert runner.items(path) == [], path


def test_it_pushes_and_follows_its_own_messages(place, runner_rpc):
    pushed = runner_rpc.push(place.session, "done", "assistant")
    assert pushed.seq == 2
    assert runner_rpc.watch("WatchSessionMessages", session_id=place.session).take(2)[1].payload == "done"


def test_messages_say_who_pushed_them(place, runner_rpc, jwt_server):
    import sqlite3
    pushed = runner_rpc.push(place.session, "done", "assistant")
    with sqlite3.connect(f"file:{jwt_server.database}?mode=ro", uri=True) as db:
        actor = db.execute("SELECT actor FROM session_messages WHERE id = ?", (pushed.id,)).fetchone()[0]
    assert actor == f"session:{place.session}"


def test_it_fetches_the_tokens_that_were_granted_to_it(place, runner):
    for path in (f"/credentials/{place.mine}/token", f"/projects/{place.project}/credentials/{place.mine}/token"):
        assert runner.ok("GET", path)["token"] == "ghp_mine"
    events = place.admin.items("/audit_events", search=f"resource_id = '{place.mine}'")
    assert {e["actor"] for e in events} == {f"session:{place.session}"} and len(events) == 2


def test_d14_it_fetches_no_others(place, runner):
    answer = runner.get(f"/credentials/{place.foreign}/token")
    assert answer.status in (403, 404) and "ghp_" not in answer.body.decode()
    answer = runner.get(f"/projects/{place.project}/credentials/{place.foreign}/token")
    expect_error(answer, 403, 4)  # it sees the project
    assert runner.get(f"/credentials/{place.foreign}").status == 404


def test_a_grant_that_was_taken_back_is_gone_at_once(place, runner):
    binding = place.grant(place.foreign, place.session)
    assert runner.ok("GET", f"/credentials/{place.foreign}/token")["token"] == "ghp_foreign"
    place.service.ok("DELETE", f"/role_bindings/{binding}")
    assert runner.get(f"/credentials/{place.foreign}/token").status in (403, 404)


# ---- what it may not ----

def fill(pattern, place):
    """The path of a route with this place's ids."""
    ids = {"project_id": place.project, "agent_id": place.agent}
    tail = {"sessions": place.neighbour, "projects": place.other_project, "agents": place.peer,
            "credentials": place.foreign}
    path = pattern
    for name, value in ids.items():
        path = path.replace("{" + name + "}", value)
    collection = path.split("/{")[0].rsplit("/", 1)[-1]
    return re.sub(r"\{\w+\}", tail.get(collection, "2abCdEfGhIjKlMnOpQrStUvWxYz"), path)


def test_every_route_is_closed_but_those(place, runner):
    """Everything that the document lists, with another session's, project's, agent's and credential's id."""
    paths = runner.ok("GET", "/openapi")["paths"]
    open_lists = {"/sessions", "/projects", "/credentials", "/users", "/role_bindings", "/project_settings",
                  "/audit_events", "/applications", "/session_messages", "/roles", "/scheduled_sessions"}
    public = ("/openapi", "/errors", "/version")
    tried = 0
    for full, methods in paths.items():
        pattern = full.removeprefix("/api/ambient/v1")
        if not full.startswith("/api/ambient/v1") or pattern.startswith(public):
            continue
        for method in methods:
            if method.upper() not in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                continue
            answer = runner.call(method.upper(), fill(pattern, place), {} if method != "get" else None)
            tried += 1
            if pattern == "/access_reviews/self":  # what it may itself
                assert answer.status == 200
            elif answer.status == 200 and method == "get":
                body = answer.json()
                assert pattern in open_lists or pattern.endswith(
                    ("/agents", "/credentials", "/sessions", "/role_bindings")), (method, pattern)
                text = answer.body.decode()
                assert place.neighbour not in text and place.other_project not in text, (pattern, text)
                assert place.peer not in text and place.foreign not in text, (pattern, text)
                assert body.get("items") is not None, (pattern, text)
            elif answer.status == 204:  # what is not there is gone already
                assert method == "delete" and "2abC" in fill(pattern, place), (method, pattern)
            else:
                assert answer.status in (400, 403, 404, 405, 501), (method, pattern, answer.status, answer.body)
    assert tried > 60
    # and nothing of it was done
    assert place.alice.ok("GET", f"/sessions/{place.neighbour}")["phase"] == "Running"
    assert len(place.alice.items(f"/projects/{place.project}/agents")) == 2
    assert place.alice.ok("GET", f"/projects/{place.other_project}")["id"] == place.other_project


@pytest.mark.parametrize("method, path, body", [
    ("PATCH", "/sessions/{s}", {"name": "x"}), ("PATCH", "/sessions/{s}/status", {"phase": "Completed"}),
    ("DELETE", "/sessions/{s}", None), ("POST", "/sessions/{s}/start", None), ("POST", "/sessions/{s}/stop", None),
    ("POST", "/sessions/{s}/messages", {"payload": "hello"}),
    ("PATCH", "/projects/{p}", {"description": "x"}), ("DELETE", "/projects/{p}", None),
    ("PATCH", "/projects/{p}/agents/{a}", {"prompt": "x"}), ("DELETE", "/projects/{p}/agents/{a}", None),
    ("POST", "/projects/{p}/agents/{a}/start", None), ("POST", "/projects/{p}/agents", {"name": "x"}),
    ("PATCH", "/credentials/{c}", {"token": "x"}), ("DELETE", "/credentials/{c}", None),
    ("POST", "/sessions", {"name": "x"}), ("POST", "/projects", {"name": "new-one"}),
    ("POST", "/credentials", {"name": "x", "provider": "github"}),
    ("POST", "/role_bindings", {"role_id": "credential:token-reader", "scope": "credential",
                                "credential_id": "{f}", "session_id": "{s}"}),
    ("POST", "/role_bindings", {"role_id": "platform:admin", "scope": "global", "user_id": "x"}),
])
def test_its_own_things_are_not_its_to_change(place, runner, method, path, body):
    ids = {"s": place.session, "p": place.project, "a": place.agent, "c": place.mine, "f": place.foreign}
    if body and path.endswith("/agents"):
        body = {**body, "project_id": place.project}
    body = json.loads(re.sub(r"\{([a-z])\}", lambda m: ids[m[1]], json.dumps(body))) if body else body
    expect_error(runner.call(method, path.format(**ids), body), 403, 4)


def test_its_agents_inbox_is_not_its_to_read(place, runner):
    place.alice.ok("POST", f"/projects/{place.project}/agents/{place.agent}/inbox",
                   {"agent_id": place.agent, "body": "secret"})
    answer = runner.get(f"/projects/{place.project}/agents/{place.agent}/inbox")
    assert answer.status in (403, 404) and "secret" not in answer.body.decode()


def test_other_sessions_messages_are_not_its_to_read(place, runner):
    place.alice.push(place.neighbour, "hello neighbour")
    expect_error(runner.get(f"/sessions/{place.neighbour}/messages"), 404, 7)
    expect_error(runner.post(f"/sessions/{place.neighbour}/messages", {"payload": "x"}), 403, 4)


def test_it_does_not_speak_for_a_user(place, runner_rpc):
    """R18 for sessions."""
    assert runner_rpc.error("PushSessionMessage", session_id=place.session, event_type="user", payload="x") == (
        DENIED, "a session's token may not push event_type=user")


def test_rpcs_of_others_are_closed(place, runner_rpc):
    for method in ("UpdateSession", "UpdateSessionStatus", "DeleteSession", "StartSession", "StopSession"):
        if method in METHODS:
            fields = {"phase": "Completed"} if method == "UpdateSessionStatus" else {}
            assert runner_rpc.error(method, id=place.session, **fields)[0] == DENIED, method
    assert runner_rpc.error("GetSession", id=place.neighbour)[0] == NOT_FOUND
    assert runner_rpc.error("GetProject", id=place.other_project)[0] == NOT_FOUND
    assert runner_rpc.error("DeleteProject", id=place.project)[0] == DENIED
    assert runner_rpc.error("CreateProject", name="another-one")[0] == DENIED
    assert runner_rpc.error("CreateSession", name="x", project_id=place.project)[0] == DENIED
    assert runner_rpc.error("PushSessionMessage", session_id=place.neighbour, event_type="assistant",
                            payload="x")[0] == DENIED
    assert runner_rpc.error("WatchSessionMessages", session_id=place.neighbour)[0] in (DENIED, NOT_FOUND)
    assert runner_rpc.error("WatchInboxMessages", agent_id=place.agent)[0] == DENIED
    assert runner_rpc.error("WatchUsers")[0] == DENIED
    assert [s.metadata.id for s in runner_rpc.call("ListSessions").items] == [place.session]
    assert [u for u in runner_rpc.call("ListUsers").items] == []


def test_kinds_are_not_its_to_watch(place, runner_rpc):
    for method in ("WatchSessions", "WatchProjects", "WatchProjectSettings", "WatchUsers"):
        assert runner_rpc.error(method) == (DENIED, "not for the token of a session")


# ---- how it ends ----

def refused(client, session):
    answer = client.get(f"/sessions/{session}")
    body = expect_error(answer, 401, 15)
    assert "invalid token" in body["reason"]
    return True


def test_the_token_of_a_stopped_session_is_refused(place, runner, runner_rpc):
    place.alice.ok("POST", f"/sessions/{place.session}/stop", status=200)
    runner.ok("GET", f"/sessions/{place.session}")  # it still has to tell its last words
    runner_rpc.push(place.session, "last words")
    place.service.status(place.session, phase="Stopped")
    assert refused(runner, place.session)
    expect_error(runner.get(f"/credentials/{place.mine}/token"), 401, 15)
    expect_error(runner.post(f"/sessions/{place.session}/token"), 401, 15)
    assert runner_rpc.error("PushSessionMessage", session_id=place.session, event_type="assistant",
                            payload="x")[0] == UNAUTHENTICATED
    assert runner_rpc.error("WatchSessionMessages", session_id=place.session)[0] == UNAUTHENTICATED


def test_a_watch_ends_with_its_run(place, runner_rpc, jwt_server):
    """On both protocols; changes that are not the run's end do not end it."""
    watch = runner_rpc.watch("WatchSessionMessages", session_id=place.session)
    events = jwt_server.stream(place.session, place.mint()["token"])
    for n in range(3):
        place.service.status(place.session, phase="Running")
        time.sleep(0.3)  # longer than changes are taken together
        place.alice.push(place.session, f"word {n}")
        while watch.next().payload != f"word {n}":
            pass
    place.service.status(place.session, phase="Completed")
    place.alice.ok("POST", f"/sessions/{place.session}/start", status=200)
    assert watch.error() == (UNAUTHENTICATED, "invalid token: this run of the session is over")
    assert events.rest_of_comments() is not None
    events.close()


def test_the_token_of_an_earlier_run_is_refused(place, runner, jwt_server):
    place.service.status(place.session, phase="Completed")
    place.alice.ok("POST", f"/sessions/{place.session}/start", status=200)
    assert jwt_server.client(place.mint()["token"]).ok("GET", f"/sessions/{place.session}")["phase"] == "Pending"
    assert refused(runner, place.session)  # nor is what the new run was answered the old one's to read


def test_the_token_of_a_deleted_session_is_refused(place, runner):
    place.alice.ok("DELETE", f"/sessions/{place.session}")
    assert refused(runner, place.session)


def test_a_token_that_was_changed_is_refused(place, jwt_server):
    token = place.mint()["token"]
    head, claims, signature = token.split(".")
    other = json.loads(base64.urlsafe_b64decode(claims + "=="))
    other["sub"] = f"session:{place.neighbour}"
    forged = base64.urlsafe_b64encode(json.dumps(other).encode()).decode().rstrip("=")
    for bad in (f"{head}.{forged}.{signature}", f"{head}.{claims}.{signature[:-2]}AA", f"{head}.{claims}."):
        expect_error(jwt_server.client(bad).get(f"/sessions/{place.session}"), 401, 15)


def test_tokens_expire(tmp_path):
    env = {"AMBIENT_ENV": "production", "AMBIENT_API_TOKEN": "service-secret"}
    args = ["--enable-jwt=false", "--session-token-life=1s"]
    with api_support.running(tmp_path, args, env) as server:
        with open(tmp_path / "admin", "w") as f:
            f.write("x")
        service = server.client("service-secret")
        with sqlite_session(server) as sid:
            token = service.ok("POST", f"/sessions/{sid}/token")["token"]
            client = server.client(token)
            api_support.wait_for(lambda: client.get(f"/sessions/{sid}").status == 401, "the token's end")


def sqlite_session(server):
    """A session made behind the server's back: nobody here may make one."""
    import contextlib
    import sqlite3

    @contextlib.contextmanager
    def made():
        with sqlite3.connect(server.database, timeout=30) as db:
            db.execute("INSERT INTO sessions (id, name, phase, created_at, updated_at) VALUES "
                       "('2abCdEfGhIjKlMnOpQrStUvWxYz', 's', 'Running', 1, 1)")
        yield "2abCdEfGhIjKlMnOpQrStUvWxYz"
    return made()


def test_tokens_outlive_a_restart_and_two_servers_share_them(tmp_path):
    env = {"AMBIENT_ENV": "production", "AMBIENT_API_TOKEN": "service-secret"}
    server = api_support.ApiServer(tmp_path, ["--enable-jwt=false"], env)
    server.start()
    with sqlite_session(server) as sid:
        token = server.client("service-secret").ok("POST", f"/sessions/{sid}/token")["token"]
    server.stop()
    server.start()
    assert server.client(token).ok("GET", f"/sessions/{sid}")["id"] == sid
    assert token not in server.log()
    server.stop()
