"""Takeovers across tenants: the defects of rest-governance-and-auth.md 14.1 and 14.3, by their number. Each test fails
on a server that behaves as the reference does."""
import threading

import grpc
import pytest

import rpc_support
from api_support import AUDIENCE, ISSUER, expect_error

DENIED, NOT_FOUND = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.NOT_FOUND


class Tenants:
    """Ann and Eve each have a project with things in it; Eve is after Ann's."""

    def __init__(self, name, as_user, admin, jwt_server, keys):
        self.name, self.as_user, self.admin, self.server, self.keys = name, as_user, admin, jwt_server, keys
        self.ann_name, self.eve_name = f"ann-{name}", f"eve-{name}"
        self.ann, self.eve = as_user(self.ann_name), as_user(self.eve_name)
        self.hers = self.fill(self.ann, f"hers-{name}")
        self.own = self.fill(self.eve, f"own-{name}")

    def fill(self, client, project):
        client.project(project)
        agent = client.agent(project, "a", environment_variables={"RUNNER_TYPE": "shell"})["id"]
        session = client.session(name=f"s-{project}", project_id=project, agent_id=agent)["id"]
        client.push(session, "said in confidence")
        return {"project": project, "agent": agent, "session": session,
                "settings": client.ok("POST", "/project_settings", {"project_id": project})["id"],
                "credential": client.ok("POST", "/credentials", {
                    "name": f"c-{project}", "provider": "github", "token": "ghp_" + project})["id"],
                "schedule": client.ok("POST", f"/projects/{project}/scheduled-sessions", {
                    "name": "n", "schedule": "0 0 1 1 *", "agent_id": agent})["id"]}

    def rpc(self, who):
        return rpc_support.connected(self.server, self.keys.token(who, iss=ISSUER, aud=AUDIENCE))

    def give(self, role, user, scope="global", **more):
        return self.admin.ok("POST", "/role_bindings", {"role_id": role, "scope": scope, "user_id": user, **more})


@pytest.fixture
def tenants(name, as_user, as_admin, jwt_server, keys):
    return Tenants(name, as_user, as_admin, jwt_server, keys)


def test_D1_unary_calls_are_authorized(tenants):
    hers = tenants.hers
    with tenants.rpc(tenants.eve_name) as eve:
        for method, request, hidden in (
                ("GetSession", {"id": hers["session"]}, True), ("GetProject", {"id": hers["project"]}, True),
                ("GetProjectSettings", {"id": hers["settings"]}, True),
                ("UpdateSession", {"id": hers["session"], "name": "x"}, False),
                ("UpdateProject", {"id": hers["project"], "description": "x"}, False),
                ("UpdateProjectSettings", {"id": hers["settings"], "repositories": "[]"}, False),
                ("DeleteSession", {"id": hers["session"]}, False), ("DeleteProject", {"id": hers["project"]}, False),
                ("DeleteProjectSettings", {"id": hers["settings"]}, False),
                ("CreateSession", {"name": "x", "project_id": hers["project"]}, False),
                ("UpdateSessionStatus", {"id": hers["session"], "phase": "Failed"}, False),
                ("PushSessionMessage", {"session_id": hers["session"], "event_type": "user", "payload": "x"}, False),
                ("CreateUser", {"username": "x", "name": "x"}, False)):
            assert eve.error(method, **request)[0] is (NOT_FOUND if hidden else DENIED), method
        assert {s.metadata.id for s in eve.call("ListSessions", size=500).items} == {tenants.own["session"]}
    messages = tenants.ann.ok("GET", f"/sessions/{hers['session']}/messages")
    assert [m["payload"] for m in messages] == ["said in confidence"]


@pytest.mark.parametrize("method, path, body", [
    ("POST", "messages", {"payload": "x"}), ("POST", "clone", {}), ("POST", "repos", {"url": "https://e.test/r"}),
    ("POST", "workflow", {"git_url": "https://e.test/r"}), ("POST", "model", {"model": "m"}), ("POST", "agui/run", {}),
    ("POST", "agui/interrupt", {}), ("POST", "start", {}), ("POST", "stop", {}),
    ("PATCH", "displayname", {"name": "x"})])
def test_D2_the_body_does_not_move_a_session(tenants, method, path, body):
    full = f"/sessions/{tenants.hers['session']}/{path}"
    expect_error(tenants.eve.call(method, full, {**body, "project_id": tenants.own["project"]}), 403, 4)


# ---- what a search or an order may not do ----

BREAKOUTS = ["id != 'x') or (id != 'x'", "id != 'x' or id != 'y'", "id != '') or (id is not null"]


@pytest.mark.parametrize("search", BREAKOUTS)
def test_D5_a_search_does_not_break_out_of_its_filter(tenants, search):
    hers, own = tenants.hers, tenants.own
    for path, foreign in (("/projects", hers["project"]), ("/sessions", hers["session"]),
                          ("/role_bindings", None), ("/credentials", hers["credential"]),
                          ("/project_settings", hers["settings"]), ("/users", None),
                          (f"/projects/{own['project']}/agents", hers["agent"]),
                          (f"/projects/{own['project']}/agents/{own['agent']}/sessions", hers["session"])):
        answer = tenants.eve.get(path, {"search": search, "size": 500})
        if answer.status != 200:
            expect_error(answer, 400, 21)
            assert "project_id in" not in answer.reason
            continue
        items = answer.json()["items"]
        assert foreign not in {i["id"] for i in items}
        if path == "/users":
            assert {u["username"] for u in items} == {tenants.eve_name}
        if path == "/role_bindings":
            assert {b["user_id"] for b in items} == {tenants.eve_name}
    answer = tenants.eve.get("/sessions", {"search": search, "project_id": hers["project"]})
    assert answer.status == 400 or answer.json()["items"] == []


@pytest.mark.parametrize("order", ["(select/**/1)", "name;drop", "permissions->0", "case/**/when/**/1", "1",
                                   "id desc nulls", "length(name)"])
def test_D6_an_order_names_fields_only(tenants, order):
    expect_error(tenants.eve.get("/roles", {"orderBy": order}), 400, 21)
    assert tenants.eve.get("/roles", {"orderBy": "name desc"}).status == 200


def test_D7_a_token_is_not_searched_ordered_or_selected(tenants):
    for query in ({"search": "token like 'ghp_%'"}, {"search": "token != ''"}, {"orderBy": "token"},
                  {"fields": "token"}):
        assert tenants.eve.get("/credentials", query).status == 400, query
    assert "token" not in tenants.eve.ok("GET", f"/credentials/{tenants.own['credential']}")


# ---- credentials ----

def test_D8_metadata_roles_do_not_read_tokens(tenants):
    hers = tenants.hers["credential"]
    for role, scope, more in (("credential:viewer", "credential", {"credential_id": hers}),
                              ("platform:viewer", "global", {}), ("gitops:viewer", "global", {})):
        who = f"{role.replace(':', '-')}-{tenants.name}"
        tenants.give(role, who, scope, **more)
        assert tenants.as_user(who).get(f"/credentials/{hers}/token").status in (403, 404), role
    expect_error(tenants.as_user(f"credential-viewer-{tenants.name}").get(f"/credentials/{hers}/token"), 403, 4)
    assert tenants.ann.ok("GET", f"/credentials/{hers}/token")["token"] == "ghp_" + tenants.hers["project"]
    expect_error(tenants.eve.get(f"/credentials/{hers}/token"), 404, 7)


def test_D9_something_global_is_not_everything(tenants):
    who = f"gitops-{tenants.name}"
    tenants.give("gitops:viewer", who)
    tenants.give("agent:observer", f"observer-{tenants.name}")
    client, observer = tenants.as_user(who), tenants.as_user(f"observer-{tenants.name}")
    for path in ("/sessions", "/projects", "/credentials", "/project_settings"):
        assert client.items(path, size=500) == [], path
    assert {u["username"] for u in client.items("/users", size=500)} == {who}
    assert {b["user_id"] for b in client.items("/role_bindings", size=500)} == {who}
    expect_error(client.get(f"/sessions/{tenants.hers['session']}"), 404, 7)
    # this one does read sessions, and nothing but what its role says
    assert tenants.hers["session"] in {s["id"] for s in observer.items("/sessions", size=500)}
    assert observer.items("/credentials", size=500) == [] and observer.items("/projects", size=500) == []


def test_D10_below_a_session_it_takes_session_read(tenants):
    who = f"gitops-{tenants.name}"
    tenants.give("gitops:viewer", who, "project", project_id=tenants.hers["project"])
    client, base = tenants.as_user(who), f"/sessions/{tenants.hers['session']}"
    for path in ("", "/messages", "/export", "/workspace", "/files", "/git/status", "/events", "/tasks", "/pod-events"):
        assert client.get(base + path).status == 404, path


def test_D11_a_project_in_the_path_gives_no_credential(tenants):
    own, hers = tenants.own["project"], tenants.hers["credential"]
    for role in ("credential:viewer", "credential:owner"):
        answer = tenants.eve.post("/role_bindings", {"role_id": role, "scope": "project", "project_id": own,
                                                     "user_id": tenants.eve_name})
        assert answer.status in (400, 403), answer.body
        expect_error(tenants.admin.post("/role_bindings", {"role_id": role, "scope": "project", "project_id": own,
                                                           "user_id": tenants.eve_name}), 400, 21)
    expect_error(tenants.eve.get(f"/projects/{own}/credentials/{hers}"), 404, 7)
    expect_error(tenants.eve.get(f"/projects/{own}/credentials/{hers}/token"), 403, 4)
    expect_error(tenants.eve.patch(f"/projects/{own}/credentials/{hers}", {"description": "x"}), 403, 4)
    expect_error(tenants.eve.delete(f"/projects/{own}/credentials/{hers}"), 403, 4)
    assert hers not in {c["id"] for c in tenants.eve.items(f"/projects/{own}/credentials")}


def test_D38_administrators_bind_any_credential(tenants):
    """Check 12 has an exception: what nobody owns any more can be bound, and given an owner."""
    hers, owner = tenants.hers["credential"], f"new-owner-{tenants.name}"
    tenants.admin.ok("POST", "/role_bindings", {"role_id": "credential:viewer", "scope": "credential",
                                                "credential_id": hers, "project_id": tenants.hers["project"]})
    tenants.give("credential:owner", owner, "credential", credential_id=hers)
    assert tenants.as_user(owner).get(f"/credentials/{hers}/token").status == 200


def test_D38_the_platform_gives_readers(tenants, as_service):
    hers = tenants.hers
    body = {"role_id": "credential:token-reader", "scope": "credential", "credential_id": hers["credential"],
            "session_id": hers["session"], "user_id": "platform"}
    row = as_service.ok("POST", "/role_bindings", body)
    found = as_service.items("/role_bindings", search=f"scope = 'credential' and session_id = '{hers['session']}'")
    assert [b["id"] for b in found] == [row["id"]]
    as_service.ok("DELETE", f"/role_bindings/{row['id']}")
    expect_error(as_service.post("/role_bindings", {**body, "role_id": "credential:owner"}), 403, 4)


def test_D39_who_sees_it_is_told_that_he_may_not(tenants):
    hers, project = tenants.hers["credential"], tenants.hers["project"]
    member = f"member-{tenants.name}"
    tenants.ann.ok("POST", "/role_bindings", {"role_id": "credential:viewer", "scope": "credential",
                                              "credential_id": hers, "project_id": project})
    tenants.ann.ok("POST", "/role_bindings", {"role_id": "project:viewer", "scope": "project", "project_id": project,
                                              "user_id": member})
    expect_error(tenants.as_user(member).get(f"/projects/{project}/credentials/{hers}/token"), 403, 4)
    expect_error(tenants.as_user(member).get(f"/credentials/{hers}/token"), 404, 7)
    expect_error(tenants.as_user(f"nobody-{tenants.name}").get(f"/projects/{project}/credentials/{hers}/token"), 404, 7)
    token = tenants.ann.ok("GET", f"/projects/{project}/credentials/{hers}/token")["token"]
    assert token == "ghp_" + project


# ---- schedules, applications, settings ----

@pytest.mark.parametrize("method, tail, status", [
    ("GET", "", 404), ("PATCH", "", 404), ("DELETE", "", 404), ("POST", "/suspend", 404), ("POST", "/resume", 404),
    ("POST", "/trigger", 404), ("GET", "/runs", 404), ("GET", "/history", 404)])
def test_D11b_schedules_of_another_project(tenants, method, tail, status):
    path = f"/projects/{tenants.own['project']}/scheduled-sessions/{tenants.hers['schedule']}{tail}"
    answer = tenants.eve.call(method, path, None if method in ("GET", "DELETE") else {})
    assert answer.status in (status, 403), answer.body
    mine = f"/projects/{tenants.hers['project']}/scheduled-sessions/{tenants.hers['schedule']}"
    assert tenants.ann.ok("GET", mine)["name"] == "n"


def test_D16_only_the_platform_says_where_a_session_is(tenants, as_service):
    session = tenants.hers["session"]
    for client in (tenants.ann, tenants.eve):
        expect_error(client.patch(f"/sessions/{session}/status", {"kube_namespace": "x"}), 403, 4)
    with tenants.rpc(tenants.ann_name) as ann:
        assert ann.error("UpdateSessionStatus", id=session, kube_namespace="x")[0] is DENIED
    for bad in ("evil.example/?", "a b", "-a", "UPPER"):
        expect_error(as_service.patch(f"/sessions/{session}/status", {"kube_namespace": bad}), 400, 8)
    assert as_service.patch(f"/sessions/{session}/status", {"kube_namespace": "good-name"}).status == 200


def test_D53_applications_are_seen_where_their_project_is(tenants):
    made = tenants.admin.ok("POST", "/applications", {
        "name": f"app-{tenants.name}", "source_repo_url": "https://e.test/r", "source_path": "p",
        "destination_project": tenants.hers["project"]})["id"]
    gitops, other = tenants.as_user(f"g1-{tenants.name}"), tenants.as_user(f"g2-{tenants.name}")
    tenants.give("gitops:admin", f"g1-{tenants.name}", "project", project_id=tenants.hers["project"])
    tenants.give("gitops:admin", f"g2-{tenants.name}", "project", project_id=tenants.own["project"])
    assert [a["id"] for a in gitops.items("/applications")] == [made]
    for client in (other, tenants.eve):
        assert made not in {a["id"] for a in client.items("/applications")}
    expect_error(other.get(f"/applications/{made}"), 404, 7)
    # a credential of somebody else is not put to use
    expect_error(gitops.patch(f"/applications/{made}", {"credential_id": tenants.own["credential"]}), 403, 4)
    body = {"name": "x", "source_repo_url": "u", "source_path": "p", "destination_project": tenants.own["project"]}
    expect_error(gitops.post("/applications", body), 403, 4)


def test_D50_project_settings_are_the_projects(tenants):
    settings, project = tenants.hers["settings"], tenants.hers["project"]
    viewer = f"v-{tenants.name}"
    tenants.ann.ok("POST", "/role_bindings", {"role_id": "project:viewer", "scope": "project", "project_id": project,
                                              "user_id": viewer})
    assert tenants.ann.ok("PATCH", f"/project_settings/{settings}", {"repositories": "[]"})["repositories"] == "[]"
    assert tenants.as_user(viewer).get(f"/project_settings/{settings}").status == 200
    expect_error(tenants.as_user(viewer).patch(f"/project_settings/{settings}", {"repositories": "[]"}), 403, 4)
    expect_error(tenants.eve.get(f"/project_settings/{settings}"), 404, 7)


# ---- agents and sessions ----

def test_D49_an_agents_rights_reach_its_sessions(tenants):
    hers = tenants.hers
    who = f"op-{tenants.name}"
    tenants.ann.ok("POST", "/role_bindings", {"role_id": "agent:operator", "scope": "agent", "agent_id": hers["agent"],
                                              "user_id": who})
    other = tenants.ann.session(name="without agent", project_id=hers["project"])["id"]
    client = tenants.as_user(who)
    assert client.get(f"/sessions/{hers['session']}").status == 200
    assert [s["id"] for s in client.items("/sessions")] == [hers["session"]]
    assert [a["id"] for a in client.items(f"/projects/{hers['project']}/agents")] == [hers["agent"]]
    assert [s["id"] for s in client.items(f"/projects/{hers['project']}/agents/{hers['agent']}/sessions")] == [
        hers["session"]]
    expect_error(client.get(f"/sessions/{other}"), 404, 7)
    expect_error(client.get(f"/projects/{hers['project']}"), 404, 7)
    with tenants.rpc(who) as rpc:
        assert [s.metadata.id for s in rpc.call("ListSessions").items] == [hers["session"]]
        stream = rpc.watch("WatchSessions")
        tenants.ann.ok("PATCH", f"/sessions/{other}", {"prompt": "x"})
        tenants.ann.ok("PATCH", f"/sessions/{hers['session']}", {"prompt": "x"})
        assert stream.next().resource_id == hers["session"]
    # and a session's right is that session
    tenants.ann.ok("POST", "/role_bindings", {"role_id": "project:viewer", "scope": "session", "session_id": other,
                                              "user_id": who})
    assert {s["id"] for s in client.items("/sessions")} == {hers["session"], other}


def test_D51_the_end_of_a_path_is_no_permission(tenants):
    """Files may be called like actions; a session of an editor is not started by writing a file `start`."""
    editor = f"ed-{tenants.name}"
    tenants.ann.ok("POST", "/role_bindings", {"role_id": "project:editor", "scope": "project", "user_id": editor,
                                              "project_id": tenants.hers["project"]})
    client, base = tenants.as_user(editor), f"/sessions/{tenants.hers['session']}"
    for name in ("start", "messages", "refresh", "token"):
        answer = client.call("PUT", f"{base}/workspace/x/{name}", "text")
        assert answer.status not in (401, 403), (name, answer.body)     # there is only no runner to take it
        assert tenants.eve.call("PUT", f"{base}/workspace/x/{name}", "text").status == 403
        assert tenants.eve.get(f"{base}/workspace/x/{name}").status == 404
    expect_error(client.post(f"{base}/stop"), 403, 4)


def test_D52_a_missing_session_and_a_foreign_one_are_one_answer(tenants):
    loose = tenants.ann.session(name="loose")["id"]
    answers = set()
    for session in (loose, tenants.hers["session"], "0" * 27):
        answer = tenants.eve.get(f"/sessions/{session}/messages")
        answers.add((answer.status, answer.headers["Content-Type"], answer.json()["code"], answer.reason))
    assert len(answers) == 1 and answers.pop()[0] == 404
    assert tenants.ann.get(f"/sessions/{loose}/messages").status == 200
    with tenants.rpc(tenants.eve_name) as eve:
        assert eve.error("WatchSessionMessages", session_id=loose)[0] is NOT_FOUND


def test_D61_ownership_comes_before_everything_else(tenants):
    """An owner of some credential cannot find out which agents there are."""
    body = {"role_id": "credential:viewer", "scope": "credential", "credential_id": tenants.own["credential"]}
    texts = set()
    for agent in (tenants.hers["agent"], "no-such-agent"):
        answer = tenants.eve.post("/role_bindings", {**body, "project_id": tenants.own["project"], "agent_id": agent})
        expect_error(answer, 400, 21)
        texts.add(answer.reason)
        # who does not own it, or may not bind there, hears of neither
        expect_error(tenants.ann.post("/role_bindings", {**body, "project_id": tenants.hers["project"],
                                                         "agent_id": agent}), 403, 4)
        expect_error(tenants.eve.post("/role_bindings", {**body, "project_id": tenants.hers["project"],
                                                         "agent_id": agent}), 403, 4)
    assert len(texts) == 1


def test_D61_agents_of_others_are_as_if_they_were_not_there(tenants):
    mine = tenants.eve.project(f"probing-{tenants.name}")["id"]
    for agent in (tenants.hers["agent"], "0" * 27):
        for where in ({}, {"project_id": mine}):
            expect_error(tenants.eve.post("/sessions", {"name": "x", "agent_id": agent, **where}), 404, 7,
                         f"Agent with id='{agent}' not found")


def test_D62_a_body_is_bounded(tenants):
    answer = tenants.eve.post("/role_bindings", b" " * (9 << 20))
    assert answer.status == 413


def test_D63_refusals_are_json(tenants, jwt_server):
    for answer in (jwt_server.client().get("/projects"), jwt_server.client("nonsense").get("/projects"),
                   tenants.eve.delete(f"/projects/{tenants.hers['project']}")):
        assert answer.headers["Content-Type"] == "application/json" and answer.json()["kind"] == "Error"


def test_D74_two_changes_at_once_are_both_kept(tenants):
    """A PATCH writes what it says and nothing else."""
    role = tenants.admin.ok("POST", "/roles", {"name": f"d74-{tenants.name}", "permissions": "[]"})["id"]
    clients = [tenants.server.client("admin-secret") for _ in range(2)]

    def many(client, field):
        for n in range(30):
            client.ok("PATCH", f"/roles/{role}", {field: f"{field} {n}"})
    threads = [threading.Thread(target=many, args=pair) for pair in zip(clients, ("description", "display_name"))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    got = tenants.admin.ok("GET", f"/roles/{role}")
    assert (got["description"], got["display_name"]) == ("description 29", "display_name 29")
    for client in clients:
        client.close()


# ---- the acceptance matrix, rest-governance-and-auth.md 12, where no other test has it ----

def test_acceptance_new_user(tenants):
    new = tenants.as_user(f"new-{tenants.name}")
    hers = tenants.hers
    for path in ("/projects", "/sessions", "/credentials", "/role_bindings"):
        assert new.items(path) == [], path
    assert new.get("/roles").status == 200
    for path in (f"/projects/{hers['project']}", f"/projects/{hers['project']}/agents", f"/sessions/{hers['session']}",
                 f"/sessions/{hers['session']}/messages", f"/sessions/{hers['session']}/events",
                 f"/credentials/{hers['credential']}", f"/credentials/{hers['credential']}/token",
                 f"/projects/{hers['project']}/scheduled-sessions"):
        assert new.get(path).status == 404, path
    for method, path, body in (("PATCH", f"/projects/{hers['project']}", {"description": "x"}),
                               ("DELETE", f"/projects/{hers['project']}", None),
                               ("POST", f"/sessions/{hers['session']}/messages", {"payload": "x"}),
                               ("POST", f"/sessions/{hers['session']}/clone", {}),
                               ("POST", f"/sessions/{hers['session']}/stop", {}),
                               ("DELETE", f"/sessions/{hers['session']}", None)):
        answer = new.call(method, path, body)
        expect_error(answer, 403, 4)
        assert hers["project"] not in answer.reason and hers["session"] not in answer.reason
    made = new.project(f"new-{tenants.name}")["id"]
    assert new.get(f"/projects/{made}").status == 200
    assert [(b["scope"], b["project_id"]) for b in new.items("/role_bindings")] == [("project", made)]


def test_acceptance_binding_a_credential(tenants):
    hers, own = tenants.hers, tenants.own
    editor, viewer = f"ed-{tenants.name}", f"vi-{tenants.name}"
    for role, who in (("project:editor", editor), ("project:viewer", viewer), ("project:editor", tenants.eve_name)):
        tenants.ann.ok("POST", "/role_bindings", {"role_id": role, "scope": "project", "user_id": who,
                                                  "project_id": hers["project"]})

    def bind(client, credential, **more):
        return client.post("/role_bindings", {"role_id": "credential:viewer", "scope": "credential",
                                              "credential_id": credential, **more})
    made = bind(tenants.eve, own["credential"], project_id=hers["project"], agent_id=hers["agent"])
    assert made.status == 201, made.body                                            # owner and project editor
    watcher = tenants.as_user(viewer)
    seen = watcher.ok("POST", "/credentials", {"name": "v", "provider": "github"})["id"]
    expect_error(bind(watcher, seen, project_id=hers["project"]), 403, 4,
                 "caller must be project editor or higher to bind credentials to a project")
    expect_error(bind(tenants.as_user(editor), own["credential"], project_id=hers["project"]), 403, 4,
                 "caller must be credential owner to grant credential-scoped bindings")
    expect_error(bind(tenants.eve, own["credential"], agent_id=hers["agent"]), 400, 21,
                 "agent-scoped credential bindings require a project_id")
    expect_error(bind(tenants.eve, own["credential"], project_id=hers["project"], agent_id=own["agent"]), 400, 21,
                 "agent does not belong to the specified project")
    expect_error(bind(tenants.eve, own["credential"]), 403, 4,
                 "only platform admins can create global credential bindings")
    expect_error(bind(tenants.eve, own["credential"], project_id=""), 400, 21, "project_id must not be empty")
    row = made.json()["id"]
    expect_error(watcher.delete(f"/role_bindings/{row}"), 403, 4)
    tenants.as_user(editor).ok("DELETE", f"/role_bindings/{row}")                   # without owning the credential
    sole = [b["id"] for b in tenants.eve.items("/role_bindings", search=f"credential_id = '{own['credential']}'")]
    expect_error(tenants.eve.delete(f"/role_bindings/{sole[0]}"), 409, 6, "cannot delete the last owner binding")


# ---- asking ----

def test_access_reviews(tenants):
    hers = tenants.hers

    def ask(client, resource, verb, **more):
        return client.ok("POST", "/access_reviews", {"resource": resource, "verb": verb, **more}, status=200)
    got = ask(tenants.ann, "session", "update", session_id=hers["session"])
    assert got["allowed"] and got["role"] == "project:owner" and got["scope"] == "project" and got["binding_id"]
    for more in ({"session_id": hers["session"]}, {"session_id": "none"}, {"project_id": hers["project"]}, {}):
        assert ask(tenants.eve, "session", "update", **more) == {
            "allowed": False, "permission": "session:update", "reason": "no role binding grants it"}
    assert ask(tenants.eve, "project", "create")["allowed"]
    assert ask(tenants.ann, "session", "list", project_id=hers["project"])["permission"] == "session:read"
    expect_error(tenants.eve.post("/access_reviews", {"resource": "session", "verb": "read",
                                                      "user": tenants.ann_name}), 403, 4)
    other = ask(tenants.admin, "session", "stop", session_id=hers["session"], user=tenants.ann_name)
    assert other["allowed"] and other["role"] == "project:owner"
    assert not ask(tenants.admin, "session", "stop", session_id=hers["session"], user=tenants.eve_name)["allowed"]
    for bad in ({"resource": "session"}, {"resource": "Session", "verb": "read"}, {"resource": "a:b", "verb": "read"}):
        expect_error(tenants.eve.post("/access_reviews", bad), 400, 8)
    expect_error(tenants.eve.post("/access_reviews", {"resource": 1, "verb": "read"}), 400, 17)
    mine = tenants.ann.ok("GET", "/access_reviews/self")
    assert mine["username"] == tenants.ann_name and not mine["admin"]
    assert {(i["role"], i["scope"], i["scope_id"]) for i in mine["items"]} == {
        ("project:owner", "project", hers["project"]), ("credential:owner", "credential", hers["credential"])}
    assert tenants.admin.ok("GET", "/access_reviews/self")["admin"]


# ---- streams that are open when rights go ----

def test_followers_who_lose_their_rights_are_ended(tenants):
    """Both protocols; those who keep theirs follow on."""
    session = tenants.hers["session"]
    names = [f"{who}-{tenants.name}" for who in ("leaves", "stays")]
    rows = [tenants.ann.ok("POST", "/role_bindings", {"role_id": "project:viewer", "scope": "project", "user_id": who,
                                                      "project_id": tenants.hers["project"]})["id"] for who in names]
    tokens = [tenants.keys.token(who, iss=ISSUER, aud=AUDIENCE) for who in names]
    with tenants.rpc(names[0]) as leaves, tenants.rpc(names[1]) as stays:
        streams = [rpc.watch("WatchSessionMessages", session_id=session) for rpc in (leaves, stays)]
        events = [tenants.server.stream(session, token) for token in tokens]
        projects = leaves.watch("WatchProjects")
        for stream in streams:
            assert stream.next().payload == "said in confidence"
        for stream in events:
            assert stream.message()["payload"] == "said in confidence"
        tenants.ann.ok("DELETE", f"/role_bindings/{rows[0]}")
        assert streams[0].error() == (DENIED, "not authorized to watch this session")
        assert events[0].rest_of_comments() is not None
        tenants.ann.push(session, "among us")
        tenants.ann.ok("PATCH", f"/projects/{tenants.hers['project']}", {"description": "among us"})
        assert streams[1].next().payload == "among us"
        assert events[1].message()["payload"] == "among us"
        mark = tenants.as_user(names[0]).project(f"mark-{tenants.name}")["id"]
        assert projects.next().resource_id == mark
        for stream in events:
            stream.close()


def test_G10_a_deleted_user_follows_nothing(tenants):
    """Not even the sessions that he made, in a project or outside of any; on both protocols."""
    who = f"leaver-{tenants.name}"
    leaver = tenants.as_user(who)
    sessions = [leaver.session(prompt="first", **where)["id"]
                for where in ({}, {"project_id": leaver.project(f"of-{who}")["id"]})]
    token = tenants.keys.token(who, iss=ISSUER, aud=AUDIENCE)
    with tenants.rpc(who) as rpc:
        streams = [rpc.watch("WatchSessionMessages", session_id=s) for s in sessions]
        events = [tenants.server.stream(s, token) for s in sessions]
        assert [s.next().payload for s in streams] == [s.message()["payload"] for s in events] == ["first", "first"]
        row = tenants.admin.items("/users", search=f"username = '{who}'")[0]
        tenants.admin.ok("DELETE", f"/users/{row['id']}")
        for stream in streams:
            assert stream.error() == (DENIED, "not authorized to watch this session")
        for stream in events:
            assert stream.rest_of_comments() is not None
            stream.close()
