"""Who may give which role to whom: rest-governance-and-auth.md 2, 3 and 12. Defects by their number in section 14."""
import json

import pytest

from api_support import expect_error

SEEDS = {
    "platform:admin": ["*:*"],
    "platform:viewer": ["project:read", "project:list", "session:read", "session:list", "agent:read", "agent:list"],
    "project:owner": ["project:read", "project:update", "project:delete", "agent:*", "session:*", "session_message:*",
                      "project_document:*", "blackboard:*", "role_binding:*"],
    "project:editor": ["project:read", "agent:create", "agent:read", "agent:update", "agent:list", "agent:start",
                       "session:create", "session:read", "session:update", "session:list", "session_message:*",
                       "project_document:read", "project_document:create", "project_document:update",
                       "project_document:list", "blackboard:read", "blackboard:watch", "role_binding:delete"],
    "project:viewer": ["project:read", "agent:read", "agent:list", "session:read", "session:list",
                       "session_message:read", "session_message:list", "project_document:read",
                       "project_document:list", "blackboard:read"],
    "agent:operator": ["agent:read", "agent:update", "agent:start", "agent:list", "session:read", "session:list"],
    "agent:editor": ["agent:read", "agent:update"],
    "agent:observer": ["agent:read", "agent:list", "session:read", "session:list", "blackboard:read",
                       "blackboard:watch"],
    "agent:runner": ["session:read", "session_message:*", "blackboard:read", "blackboard:watch"],
    "credential:owner": ["credential:create", "credential:read", "credential:update", "credential:delete",
                         "credential:list", "credential:fetch_token", "role_binding:create", "role_binding:delete"],
    "credential:viewer": ["credential:read", "credential:list"],
    "credential:token-reader": ["credential:fetch_token"],
    "gitops:admin": ["application:create", "application:read", "application:update", "application:delete",
                     "application:list"],
    "gitops:viewer": ["application:read", "application:list"],
}


class Place:
    """A project with an owner, an editor and a viewer in it, and a stranger; names of its own for each test."""

    def __init__(self, name, as_user, as_admin):
        self.name, self.as_user, self.admin = name, as_user, as_admin
        self.roles = {r["name"]: r["id"] for r in as_admin.items("/roles", size=-1)}
        self.users = {who: f"{who}-{name}" for who in ("owner", "editor", "viewer", "stranger")}
        self.owner, self.editor, self.viewer, self.stranger = (as_user(u) for u in self.users.values())
        self.project = self.owner.project(f"rbac-{name}")["id"]
        self.bind(self.owner, "project:editor", "editor")
        self.bind(self.owner, "project:viewer", "viewer")
        self.agent = self.owner.agent(self.project, "a")["id"]
        self.session = self.owner.session(name="s", project_id=self.project)["id"]

    def body(self, role, user, scope="project", **more):
        if scope == "project":
            more.setdefault("project_id", self.project)
        return {"role_id": self.roles[role], "scope": scope, "user_id": self.users.get(user, user), **more}

    def give(self, client, role, user="new-one", scope="project", **more):
        return client.post("/role_bindings", self.body(role, user, scope, **more))

    def bind(self, client, role, user, scope="project", **more):
        answer = self.give(client, role, user, scope, **more)
        assert answer.status == 201, answer.body
        return answer.json()

    def binding_of(self, user, **where):
        text = f"user_id = '{self.users.get(user, user)}'"
        for key, value in where.items():
            text += f" and {key} = '{value}'"
        return self.admin.items("/role_bindings", search=text)[0]


@pytest.fixture
def place(name, as_user, as_admin):
    return Place(name, as_user, as_admin)


# ---- roles ----

def test_the_seeded_roles(as_user):
    """D59 of E1 databases too: seeded at every start, whatever was there before."""
    roles = {r["name"]: r for r in as_user("anyone").items("/roles", search="built_in = 'true'")}
    assert {n: json.loads(r["permissions"]) for n, r in roles.items()} == SEEDS
    assert all(r["built_in"] and r["kind"] == "Role" and r["href"].endswith(r["id"]) for r in roles.values())
    one = as_user("anyone").ok("GET", "/roles", query={"search": "name = 'credential:token-reader'", "size": 1})
    assert [r["name"] for r in one["items"]] == ["credential:token-reader"]
    assert one["items"][0]["display_name"] == "Credential Token Reader"


def test_roles_are_made_by_administrators(as_user, as_admin, name):
    body = {"name": f"team:{name}", "permissions": '["session:read"]', "built_in": True}
    expect_error(as_user("anyone").post("/roles", body), 403, 4)
    made = as_admin.ok("POST", "/roles", body)
    assert made["built_in"] is False
    expect_error(as_admin.post("/roles", body), 409, 6, "This Role already exists")
    changed = as_admin.ok("PATCH", f"/roles/{made['id']}", {"permissions": ["agent:read"], "name": "other"})
    assert (changed["permissions"], changed["name"]) == ('["agent:read"]', f"team:{name}")
    expect_error(as_user("anyone").patch(f"/roles/{made['id']}", {"description": "x"}), 403, 4)
    as_admin.ok("DELETE", f"/roles/{made['id']}")


def test_D41_built_in_roles_stay_as_they_are(as_admin, name):
    for role in as_admin.items("/roles", search="built_in = 'true'"):
        expect_error(as_admin.patch(f"/roles/{role['id']}", {"permissions": "[]"}), 403, 4)
        expect_error(as_admin.delete(f"/roles/{role['id']}"), 403, 4)
    for bad in ('{"', "{}", '["x"]', '["a:b:c"]', "[1]"):
        expect_error(as_admin.post("/roles", {"name": f"bad-{name}", "permissions": bad}), 400, 8)
    expect_error(as_admin.post("/roles", {"name": "Not A Name"}), 400, 8)
    # the name of a deleted role is free again
    for _ in range(2):
        made = as_admin.ok("POST", "/roles", {"name": f"again-{name}"})
        as_admin.ok("DELETE", f"/roles/{made['id']}")


def test_D46_a_body_of_null_makes_nothing(as_admin):
    for path in ("/roles", "/role_bindings"):
        expect_error(as_admin.post(path, "null"), 400, 17)


# ---- giving ----

def test_the_form_of_a_binding(place):
    made = place.bind(place.owner, "project:viewer", "new")
    assert {k: made[k] for k in ("agent_id", "session_id", "credential_id")} == {
        "agent_id": None, "session_id": None, "credential_id": None}
    assert (made["scope_id"], made["project_id"], made["user_id"]) == (place.project, place.project, "new")
    assert made["href"] == f"/api/ambient/v1/role_bindings/{made['id']}"
    expect_error(place.give(place.owner, "project:viewer", "new"), 409, 6, "This RoleBinding already exists")


def test_scope_id_of_older_clients(place):
    body = {"role_id": place.roles["project:viewer"], "scope": "project", "user_id": "old", "scope_id": place.project}
    made = place.owner.ok("POST", "/role_bindings", body)
    assert (made["project_id"], made["scope_id"]) == (place.project, place.project)
    expect_error(place.owner.post("/role_bindings", {**body, "user_id": "o2", "project_id": "other"}), 400, 21)


GRANTS = [("owner", "project:owner", 403), ("owner", "project:editor", 201), ("owner", "project:viewer", 201),
          ("editor", "project:owner", 403), ("editor", "project:editor", 403), ("editor", "project:viewer", 201),
          ("viewer", "project:editor", 403), ("viewer", "project:viewer", 403),
          ("stranger", "project:viewer", 403), ("stranger", "project:owner", 403)]


@pytest.mark.parametrize("who, role, status", GRANTS)
def test_levels(place, who, role, status):
    """Level 1 gives 2 and 3, level 2 gives 3, level 3 gives none; on another's project nobody gives anything."""
    answer = place.give(getattr(place, who), role)
    assert answer.status == status, answer.body


@pytest.mark.parametrize("role", ["agent:runner", "credential:token-reader"])
def test_internal_roles_are_not_given(place, role):
    for client in (place.owner, place.editor, place.stranger):
        expect_error(place.give(client, role), 403, 4, "cannot assign internal role")


def test_global_bindings_are_for_administrators(place):
    for role in SEEDS:
        if role not in ("agent:runner", "credential:token-reader"):
            expect_error(place.give(place.owner, role, scope="global"), 403, 4,
                         "only platform admins can create global bindings")
    place.bind(place.admin, "platform:viewer", "stranger", scope="global")
    for role in ("platform:admin", "platform:viewer"):
        expect_error(place.give(place.stranger, role, scope="global"), 403, 4)
    expect_error(place.give(place.stranger, "project:viewer"), 403, 4)


def test_D3_an_agents_or_sessions_rights_come_from_its_project(place, as_user, name):
    own = place.stranger.project(f"own-{name}")["id"]
    assert place.stranger.get(f"/projects/{own}").status == 200
    for body in (place.body("agent:operator", "stranger", "agent", agent_id=place.agent),
                 place.body("project:editor", "stranger", "session", session_id=place.session),
                 place.body("project:viewer", "stranger", "session", session_id=place.session),
                 place.body("agent:operator", "stranger", "agent", agent_id="no-such-agent")):
        expect_error(place.stranger.post("/role_bindings", body), 403, 4)
    place.bind(place.owner, "agent:operator", "stranger", "agent", agent_id=place.agent)
    assert place.stranger.get(f"/projects/{place.project}/agents/{place.agent}").status == 200


def test_D4_ids_that_the_scope_does_not_ask_for(place, name):
    own = place.stranger.project(f"own-{name}")["id"]
    mine = place.stranger.agent(own, "mine")["id"]
    for body in (place.body("agent:operator", "stranger", "agent", agent_id=mine, project_id=place.project),
                 place.body("project:viewer", "stranger", project_id=own, agent_id=place.agent),
                 place.body("project:viewer", "stranger", project_id=own, session_id=place.session)):
        expect_error(place.stranger.post("/role_bindings", body), 400, 21)
    expect_error(place.stranger.get(f"/projects/{place.project}"), 404, 7)


def test_D37_a_role_by_its_name(place):
    made = place.owner.ok("POST", "/role_bindings", {**place.body("project:viewer", "n1"),
                                                     "role_id": "project:viewer"})
    assert made["role_id"] == place.roles["project:viewer"]
    expect_error(place.owner.post("/role_bindings", {**place.body("project:viewer", "n1"), "role_id": "nope"}), 403, 4,
                 "target role not found")


def test_D40_custom_roles_are_given_and_taken(place, name):
    role = place.admin.ok("POST", "/roles", {"name": f"c-{name}", "permissions": ["session:read", "agent:read"]})["id"]
    more = place.admin.ok("POST", "/roles", {"name": f"m-{name}", "permissions": ["session:read", "user:read"]})["id"]
    place.roles.update({"custom": role, "more": more})
    made = place.bind(place.owner, "custom", "stranger")
    assert place.stranger.get(f"/sessions/{place.session}").status == 200
    expect_error(place.give(place.owner, "more"), 403, 4)     # holds a permission that the owner has not
    expect_error(place.give(place.editor, "custom"), 403, 4)
    place.owner.ok("DELETE", f"/role_bindings/{made['id']}")
    # bindings to a role go with it, and administrators take any
    again = place.bind(place.admin, "more", "stranger")
    place.admin.ok("DELETE", f"/roles/{more}")
    assert place.admin.get(f"/role_bindings/{again['id']}").status == 404
    runner = place.bind(place.admin, "agent:runner", "stranger", "session", session_id=place.session)
    place.admin.ok("DELETE", f"/role_bindings/{runner['id']}")


def test_D43_everything_in_one_project_is_not_everything(place, name):
    place.bind(place.admin, "platform:admin", "viewer")
    expect_error(place.give(place.viewer, "platform:admin", scope="global"), 403, 4)
    expect_error(place.give(place.viewer, "platform:admin"), 403, 4)
    expect_error(place.give(place.viewer, "project:owner"), 403, 4)
    other = place.stranger.project(f"other-{name}")["id"]
    expect_error(place.viewer.get(f"/projects/{other}"), 404, 7)
    # an owner cannot take such a row away, an administrator can
    row = place.binding_of("viewer", role_id=place.roles["platform:admin"])
    expect_error(place.owner.delete(f"/role_bindings/{row['id']}"), 403, 4)
    place.admin.ok("DELETE", f"/role_bindings/{row['id']}")


@pytest.mark.parametrize("scope, key", [("project", "project_id"), ("agent", "agent_id"), ("session", "session_id"),
                                        ("credential", "credential_id")])
def test_D44_D47_a_scope_without_its_id(place, scope, key):
    role = {"project": "project:viewer", "agent": "agent:observer", "session": "project:viewer",
            "credential": "credential:viewer"}[scope]
    for value in ({key: None}, {}):
        body = {"role_id": place.roles[role], "scope": scope, "user_id": "x", **value}
        for client in (place.stranger, place.admin):
            expect_error(client.post("/role_bindings", body), 400, 21)


def test_D45_times_of_clients_do_not_count(place):
    body = {**place.body("project:viewer", "t1"), "created_at": "2001-01-01T00:00:00Z"}
    made = place.owner.ok("POST", "/role_bindings", body)
    assert made["created_at"] > "2020"
    other = {**place.body("project:viewer", "t2"), "updated_at": "2001-01-01T00:00:00Z"}
    assert place.owner.ok("POST", "/role_bindings", other)["updated_at"] > "2020"


def test_D47_what_is_bound_to_must_be_there(place, name):
    expect_error(place.give(place.admin, "project:viewer", project_id=f"none-{name}"), 404, 7)
    expect_error(place.give(place.admin, "agent:observer", scope="agent", agent_id="none"), 404, 7)
    expect_error(place.give(place.admin, "project:viewer", scope="session", session_id="none"), 404, 7)
    expect_error(place.give(place.stranger, "project:viewer", project_id=f"none-{name}"), 403, 4)
    expect_error(place.owner.post("/role_bindings", {"role_id": "project:viewer", "scope": "project",
                                                     "project_id": place.project}), 400, 21, "user_id is required")
    # the scope is part of what makes a binding one of a kind
    place.bind(place.owner, "agent:observer", "s1", "agent", agent_id=place.agent)
    place.bind(place.owner, "agent:observer", "s1", "session", session_id=place.session)


def test_D60_roles_go_where_they_fit(place):
    for role in ("agent:observer", "agent:operator", "credential:viewer"):
        expect_error(place.give(place.owner, role), 400, 21)
        assert place.give(place.editor, role).status in (400, 403)
    expect_error(place.give(place.editor, "gitops:viewer"), 403, 4)
    assert place.give(place.owner, "gitops:viewer").status == 201
    expect_error(place.give(place.admin, "project:viewer", scope="agent", agent_id=place.agent), 400, 21)
    expect_error(place.give(place.admin, "gitops:admin", scope="session", session_id=place.session), 400, 21)
    # looking after applications is not looking after members
    place.bind(place.admin, "gitops:admin", "stranger")
    expect_error(place.give(place.stranger, "project:viewer"), 403, 4)
    # the start rule: editors start agents, they do not start or stop sessions of others
    expect_error(place.editor.post(f"/sessions/{place.session}/stop"), 403, 4)
    assert place.editor.post(f"/projects/{place.project}/agents/{place.agent}/start").status == 201


def test_D55_with_authorization_off_nothing_is_checked(api, name):
    project = api.project(f"open-{name}")["id"]
    api.ok("POST", "/role_bindings", {"role_id": "platform:admin", "scope": "global", "user_id": f"u-{name}"})
    api.ok("POST", "/role_bindings", {"role_id": "project:owner", "scope": "project", "user_id": f"u-{name}",
                                      "project_id": project})


def test_invalid_scope(place):
    expect_error(place.give(place.owner, "project:viewer", scope="galaxy"), 400, 21, "invalid scope")


# ---- changing ----

def test_patch_is_for_administrators_and_ones_own(place, name):
    row = place.binding_of("viewer")["id"]
    for client in (place.viewer, place.editor, place.stranger):
        expect_error(client.patch(f"/role_bindings/{row}", {"role_id": place.roles["project:editor"]}), 403, 4)
    expect_error(place.owner.patch(f"/role_bindings/{row}", {"role_id": place.roles["project:editor"]}), 403, 4)
    mine = place.binding_of("owner", project_id=place.project)["id"]
    other = place.stranger.project(f"o-{name}")["id"]
    for change in ({"scope": "global", "project_id": None}, {"project_id": other}, {"user_id": "someone"},
                   {"agent_id": place.agent}):
        expect_error(place.owner.patch(f"/role_bindings/{mine}", change), 403, 4)
    expect_error(place.owner.patch(f"/role_bindings/{mine}", {"role_id": place.roles["agent:runner"]}), 403, 4,
                 "cannot assign internal role")
    assert place.owner.ok("PATCH", f"/role_bindings/{mine}", {"role_id": "project:owner"})["id"] == mine
    changed = place.admin.ok("PATCH", f"/role_bindings/{row}", {"role_id": "project:editor"})
    assert changed["role_id"] == place.roles["project:editor"]
    expect_error(place.admin.patch(f"/role_bindings/{row}", {"role_id": "credential:token-reader"}), 403, 4,
                 "cannot assign internal role")
    expect_error(place.admin.patch(f"/role_bindings/{row}", {"agent_id": place.agent}), 400, 21)
    moved = place.admin.ok("PATCH", f"/role_bindings/{row}", {"project_id": other})
    assert (moved["project_id"], moved["scope_id"]) == (other, other)
    assert place.viewer.get(f"/projects/{other}").status == 200
    expect_error(place.viewer.get(f"/projects/{place.project}"), 404, 7)


def test_D42_the_last_owner_cannot_become_less(place):
    mine = place.binding_of("owner", project_id=place.project)["id"]
    lower = {"role_id": place.roles["project:viewer"]}
    expect_error(place.owner.patch(f"/role_bindings/{mine}", lower), 409, 6, "cannot delete the last owner binding")
    expect_error(place.admin.patch(f"/role_bindings/{mine}", lower), 409, 6)
    place.bind(place.admin, "project:owner", "stranger")
    assert place.owner.ok("PATCH", f"/role_bindings/{mine}", lower)["role_id"] == place.roles["project:viewer"]
    expect_error(place.give(place.owner, "project:viewer", "z"), 403, 4)


# ---- taking ----

def test_the_last_owner_stays(place):
    mine = place.binding_of("owner", project_id=place.project)["id"]
    for client in (place.owner, place.admin):
        expect_error(client.delete(f"/role_bindings/{mine}"), 409, 6, "cannot delete the last owner binding")


def test_an_owner_takes_members_out(place):
    row = place.binding_of("editor")["id"]
    assert place.editor.get(f"/projects/{place.project}").status == 200
    for client in (place.viewer, place.stranger, place.as_user(f"other-{place.name}")):
        expect_error(client.delete(f"/role_bindings/{row}"), 403, 4)
    place.owner.ok("DELETE", f"/role_bindings/{row}")
    expect_error(place.editor.get(f"/projects/{place.project}"), 404, 7)   # at once, whatever is cached
    expect_error(place.editor.get(f"/sessions/{place.session}"), 404, 7)
    assert place.editor.items("/sessions") == []
    viewer = place.binding_of("viewer")["id"]
    place.bind(place.owner, "project:editor", "editor")
    expect_error(place.editor.delete(f"/role_bindings/{viewer}"), 403, 4)
    other = place.bind(place.admin, "project:owner", "stranger")["id"]
    expect_error(place.owner.delete(f"/role_bindings/{other}"), 403, 4)    # owners do not take owners out


def test_D48_holders_read_and_leave(place):
    row = place.binding_of("viewer")["id"]
    assert place.viewer.ok("GET", f"/role_bindings/{row}")["id"] == row
    assert [b["id"] for b in place.viewer.items("/role_bindings")] == [row]
    place.viewer.ok("DELETE", f"/role_bindings/{row}")
    expect_error(place.viewer.get(f"/projects/{place.project}"), 404, 7)


def test_what_a_caller_sees_of_bindings(place, name):
    """GET /role_bindings never shows another tenant's rows."""
    seen = {b["user_id"] for b in place.owner.items("/role_bindings", size=-1)}
    assert seen == {place.users["owner"], place.users["editor"], place.users["viewer"]}
    assert {b["user_id"] for b in place.stranger.items("/role_bindings")} == set()
    row = place.binding_of("viewer")["id"]
    expect_error(place.stranger.get(f"/role_bindings/{row}"), 404, 7)
    assert place.owner.get(f"/role_bindings/{row}").status == 200
    # an agent's binding belongs to the agent's project
    made = place.bind(place.owner, "agent:observer", "stranger", "agent", agent_id=place.agent)
    assert made["id"] in {b["id"] for b in place.owner.items("/role_bindings", size=-1)}
    place.owner.ok("DELETE", f"/role_bindings/{made['id']}")


def test_D54_names_that_openid_allows(as_user, as_admin, name):
    for username in (f"a+{name}@example.org", f"Anna {name}", f"\u00e9l\u00e8ve-{name}", f"o'{name}"):
        client = as_user(username)
        made = client.project(f"d54-{abs(hash(username)) % 10**9}")["id"]
        assert [b["user_id"] for b in client.items("/role_bindings")] == [username]
        assert [u["username"] for u in client.items("/users")] == [username]
        assert [p["id"] for p in client.items("/projects")] == [made]


# ---- lists of one object ----

def test_D59_bindings_of_one_object(place):
    agents = f"/projects/{place.project}/agents/{place.agent}"
    made = place.bind(place.owner, "agent:operator", "stranger", "agent", agent_id=place.agent)
    assert [b["id"] for b in place.owner.items(f"{agents}/role_bindings")] == [made["id"]]
    assert [b["id"] for b in place.stranger.items(f"{agents}/role_bindings")] == [made["id"]]
    assert place.viewer.items(f"{agents}/role_bindings") == []
    one = place.bind(place.owner, "project:viewer", "stranger", "session", session_id=place.session)
    assert [b["id"] for b in place.owner.items(f"/sessions/{place.session}/role_bindings")] == [one["id"]]
    assert {b["id"] for b in place.owner.items(f"/projects/{place.project}/role_bindings")} >= {made["id"], one["id"]}
    me = place.owner.items("/users")[0]["id"]
    assert {b["user_id"] for b in place.owner.items(f"/users/{me}/role_bindings")} == {place.users["owner"]}
    nobody = place.as_user(f"nobody-{place.name}")
    for path in (f"{agents}/role_bindings", f"/sessions/{place.session}/role_bindings", f"/users/{me}/role_bindings",
                 f"/projects/{place.project}/role_bindings"):
        expect_error(nobody.get(path), 404, 7)
    found = place.owner.items(f"/projects/{place.project}/role_bindings", search=f"user_id = '{place.users['viewer']}'")
    assert [b["user_id"] for b in found] == [place.users["viewer"]]


# ---- what goes takes its bindings along ----

def test_D64_bindings_go_with_what_they_are_bound_to(place):
    agent = place.bind(place.owner, "agent:observer", "stranger", "agent", agent_id=place.agent)["id"]
    session = place.bind(place.owner, "project:viewer", "stranger", "session", session_id=place.session)["id"]
    credential = place.owner.ok("POST", "/credentials", {"name": "c", "provider": "github"})["id"]
    injected = place.owner.ok("POST", "/role_bindings", {
        "role_id": "credential:viewer", "scope": "credential", "credential_id": credential,
        "project_id": place.project})["id"]
    place.owner.ok("DELETE", f"/sessions/{place.session}")
    assert place.admin.get(f"/role_bindings/{session}").status == 404
    assert place.admin.get(f"/role_bindings/{agent}").status == 200
    place.owner.ok("DELETE", f"/projects/{place.project}")
    for row in (agent, injected):
        assert place.admin.get(f"/role_bindings/{row}").status == 404
    place.owner.ok("DELETE", f"/credentials/{credential}")
    left = place.admin.items("/role_bindings", search=f"credential_id = '{credential}' or "
                                                      f"project_id = '{place.project}'")
    assert left == []
    # a project of the same name is a new one
    assert place.stranger.project(place.project)["id"] == place.project
    for client in (place.owner, place.editor, place.viewer):
        expect_error(client.get(f"/projects/{place.project}"), 404, 7)
