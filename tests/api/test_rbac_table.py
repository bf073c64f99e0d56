"""Every path and RPC, by every role, wherever the role may be bound: docs/permissions.md says what must come of it.

The document is the one table; here it is compared with the server's own, and then walked. Whether a caller was let in
is not read off status codes: what a caller gets is either what a stranger gets, or it is not.
"""
import http.client
import itertools
import json
import re
import subprocess

import grpc
import pytest

from api_support import AUDIENCE, ISSUER, ROOT, V1, program
import rpc_support

_numbers = itertools.count()

# Held together with another permission (auth/authz.c).
IMPLIED = {"project_settings:read": "project:read", "project_settings:create": "project:update",
           "project_settings:update": "project:update", "project_settings:delete": "project:update",
           "session_message:read": "session:read", "agent:watch": "agent:update", "home:read": "project:read",
           "role_binding:read": "role_binding:delete"}
EVERYBODY = {"project:create", "credential:create", "role_binding:create", "role:read", "access_review:create"}
# Rules of their own beyond the permission; tests in test_rbac_bindings.py.
OWN_RULES = {"POST /role_bindings", "PATCH /role_bindings/{id}", "DELETE /role_bindings/{id}"}


def document():
    return (ROOT / "docs" / "permissions.md").read_text()


def rows(title):
    """The rows of one table of the document, as (what, permission)."""
    found = re.search(rf"^\| {title}[^\n]*\n[^\n]*\n((?:\|[^\n]*\n)+)", document(), re.M).group(1)
    return [tuple(cell.strip().strip("`") for cell in line.strip().strip("|").split("|"))
            for line in found.strip().split("\n")]


REST = [(*what.split(" ", 1), permission) for what, permission in rows("REST")]
RPC = {what.rsplit("/", 1)[1]: permission for what, permission in rows("gRPC")}
ROLES = {role: ([s.strip() for s in scopes.split(",")], json.loads(permissions))
         for role, _, scopes, permissions in rows("role")}


def test_the_document_is_the_servers_own_table():
    printed = subprocess.run([program("ambient-api-server"), "permissions"], capture_output=True, text=True, timeout=60)
    assert printed.stdout == document(), "run `ambient-api-server permissions > docs/permissions.md`"


def test_every_path_and_rpc_has_a_row(api):
    paths = api.ok("GET", "/openapi")["paths"]
    declared = {(m.upper(), p): op.get("x-permission", "public") for p, ops in paths.items() for m, op in ops.items()}
    table = {(m, p if p.startswith("/api") else V1 + p): permission for m, p, permission in REST}
    normal = re.compile(r"\{[^}]*\}")
    assert {(m, normal.sub("{}", p)): x for (m, p), x in declared.items()} == {
        (m, normal.sub("{}", p)): x for (m, p), x in table.items()}
    assert set(RPC) == set(rpc_support.METHODS)
    assert all(re.fullmatch(r"[a-z_]+:[a-z_]+|public", permission) for _, _, permission in REST)
    assert all(re.fullmatch(r"[a-z_]+:[a-z_]+", permission) for permission in RPC.values())


def test_D67_one_route_each():
    seen = [(m, re.sub(r"\{[^}]*\}", "{}", p)) for m, p, _ in REST]
    assert len(seen) == len(set(seen))


def holds(permissions, wanted, everywhere):
    def one(pattern, name):
        resource, verb = name.split(":")
        if pattern == name:
            return True
        if verb == "status" or name == "session:token":     # the platform's: no wildcard but the global one
            return pattern == "*:*" and everywhere
        r, v = pattern.split(":")
        return (r in ("*", resource)) and (v in ("*", verb))
    names = [wanted] + ([IMPLIED[wanted]] if wanted in IMPLIED else [])
    return any(one(p, n) for p in permissions for n in names)


def expected(role, scope, permission, place):
    """May a holder of the role at that scope, bound to the objects of `place`?"""
    if permission in EVERYBODY:
        return True
    return holds(ROLES[role][1], permission, scope == "global") and (scope == "global" or scope in place)


class World:
    """Two projects with one of everything in them, and a caller for each role at each scope of the first."""

    def __init__(self, server, keys):
        self.server, self.keys = server, keys
        self.admin = server.client("admin-secret")
        self.maker = self.user("table-maker")
        self.mine, self.theirs = self.fill("mine"), self.fill("theirs")
        self.person = self.user("table-person")
        self.person_id = self.person.items("/users")[0]["id"]
        self.stranger = self.user("table-stranger")
        self.stranger.items("/users")
        self.roles = {r["name"]: r["id"] for r in self.admin.items("/roles", size=-1)}
        self.callers = {}
        for role, (scopes, _) in ROLES.items():
            for scope in scopes:
                self.callers[role, scope] = self.caller(role, scope)

    def token(self, name):
        return self.keys.token(name, iss=ISSUER, aud=AUDIENCE, sub=name)

    def user(self, name):
        return self.server.client(self.token(name))

    def name_of(self, role, scope):
        return f"table-{role.replace(':', '-')}-{scope}"

    def caller(self, role, scope):
        name = self.name_of(role, scope)
        self.admin.ok("POST", "/role_bindings", {
            "role_id": self.roles[role], "scope": scope, "user_id": name,
            **({} if scope == "global" else {f"{scope}_id": self.mine[scope]})})
        return self.user(name)

    def fill(self, name):
        m, project = self.maker, self.maker.project(f"table-{name}")["id"]
        agent = m.agent(project, "a", environment_variables={"RUNNER_TYPE": "shell"})["id"]
        ids = {"project": project, "agent": agent,
               "session": m.session(name="s", project_id=project, agent_id=agent)["id"],
               "credential": m.ok("POST", "/credentials", {"name": "c", "provider": "github", "token": "t"})["id"],
               "settings": m.ok("POST", "/project_settings", {"project_id": project})["id"],
               "inbox": m.ok("POST", f"/projects/{project}/agents/{agent}/inbox", {"agent_id": "", "body": "b"})["id"],
               "schedule": m.ok("POST", f"/projects/{project}/scheduled-sessions", {
                   "name": "s", "schedule": "0 0 1 1 *", "agent_id": agent})["id"],
               "application": self.admin.ok("POST", "/applications", {
                   "name": f"a-{name}", "source_repo_url": "https://example.org/r", "source_path": "p",
                   "destination_project": project})["id"]}
        m.push(ids["session"], "hello")
        m.ok("POST", "/role_bindings", {"role_id": "credential:viewer", "scope": "credential", "project_id": project,
                                        "credential_id": ids["credential"]})    # else it is not found below the project
        ids["binding"] = m.items("/role_bindings", search=f"project_id = '{project}' and scope = 'project'")[0]["id"]
        m.ok("POST", f"/projects/{project}/scheduled-sessions/{ids['schedule']}/trigger", status=200)
        ids["run"] = m.items(f"/projects/{project}/scheduled-sessions/{ids['schedule']}/history")[0]["id"]
        m.ok("GET", f"/credentials/{ids['credential']}/token")
        ids["audit"] = self.admin.items("/audit_events", search=f"resource_id = '{ids['credential']}'")[0]["id"]
        return ids


@pytest.fixture(scope="module")
def table(jwt_server, keys):
    return World(jwt_server, keys)


# ---- where a path leads ----

IN_PROJECT = {"project"}
PLACES = {  # collection: (which id, where that object is)
    "users": ("person", set()), "projects": ("project", IN_PROJECT), "project_settings": ("settings", IN_PROJECT),
    "agents": ("agent", {"project", "agent"}), "inbox": ("inbox", {"project", "agent"}),
    "inbox_messages": ("inbox", {"project", "agent"}), "sessions": ("session", {"project", "agent", "session"}),
    "credentials": ("credential", {"credential"}), "roles": ("role", set()), "role_bindings": ("binding", IN_PROJECT),
    "scheduled-sessions": ("schedule", IN_PROJECT), "scheduled-session-runs": ("run", IN_PROJECT),
    "applications": ("application", IN_PROJECT), "audit_events": ("audit", set()),
    "session_messages": ("session", {"project", "agent", "session"}),
}
SAMPLE = {"path": "a.txt", "repo_name": "r", "provider": "github", "task_id": "t"}


class Path:
    """One row of the table, filled in for the objects of one project."""

    def __init__(self, table, ids, method, pattern):
        self.method, self.pattern, self.ids, self.table = method, pattern, ids, table
        segments, self.place, object_of = pattern.strip("/").split("/"), set(), None
        ids = {**ids, "person": table.person_id, "role": table.roles["project:viewer"]}
        for i, segment in enumerate(segments):
            if not segment.startswith("{"):
                continue
            variable, before = segment[1:-1], segments[i - 1]
            if variable in ("project_id", "agent_id", "id"):
                which, place = PLACES[before]
                segments[i], object_of = ids[which], which
                # A project in the path of a credential adds no rights.
                self.place = set(place)
            else:
                segments[i] = SAMPLE[variable]
        self.collection = segments[-1] if not pattern.endswith("}") else None
        self.path = "/" + "/".join(segments)
        self.is_list = method == "GET" and self.collection in PLACES
        if self.collection in PLACES and (self.is_list or method == "POST"):
            which, place = PLACES[self.collection]
            if self.is_list:
                self.place, object_of = set(place), which
            elif self.collection in ("agents", "inbox", "scheduled-sessions", "credentials"):
                pass     # made in the project or agent of the path
            else:
                named = ("sessions", "project_settings", "applications")    # in the body
                self.place = {"project"} if self.collection in named else set()
        if pattern.endswith("/clone"):
            self.place -= {"session"}    # the copy is another session
        if pattern.endswith("/role_bindings") and self.is_list:
            # the project owner's binding is in the project; those of one object are asked with the object's own rights
            self.place = {"project"}
        self.wanted = ids.get(object_of)

    def body(self):
        n, project = next(_numbers), self.ids["project"]
        named = {"name": f"t{n}"}
        return {
            "/projects": {"name": f"table-new-{n}"}, "/roles": {"name": f"table-{n}"},
            "/users": {"username": f"table-new-{n}", "name": "x"},
            "/project_settings": {"project_id": project},
            "/sessions": {**named, "project_id": project},
            "/credentials": {**named, "provider": "github"},
            "/projects/{project_id}/credentials": {**named, "provider": "github"},
            "/projects/{project_id}/agents": {**named, "project_id": ""},
            "/projects/{project_id}/agents/{agent_id}/inbox": {"agent_id": "", "body": "x"},
            "/projects/{project_id}/scheduled-sessions": {**named, "schedule": "0 0 1 1 *", "enabled": False},
            "/applications": {**named, "source_repo_url": "https://example.org/r", "source_path": "p",
                              "destination_project": project},
            "/access_reviews": {"resource": "session", "verb": "read"},
            "/sessions/{id}/messages": {"payload": "x"}, "/sessions/{id}/status": {"sdk_session_id": "x"},
            "/sessions/{id}/repos": {"url": "https://example.org/r"}, "/sessions/{id}/model": {"model": "m"},
            "/sessions/{id}/workflow": {"git_url": "https://example.org/r"},
            "/sessions/{id}/displayname": {"name": "n"},
            "/sessions/{id}/git/configure-remote": {"remoteUrl": "https://example.org/r"},
            "/sessions/{id}/feedback": {"type": "META", "metaType": "thumbs_up"},
            "/sessions/{id}/agui/feedback": {"type": "META", "metaType": "thumbs_up"},
        }.get(self.pattern, {})

    def ask(self, client):
        """What the caller gets: (status, reason) or, of a list, whether the object is in it."""
        query = {}
        if self.is_list:
            query = {"size": 500}
            if self.collection == "session_messages":
                query["search"] = f"session_id = '{self.ids['session']}'"
        headers = {} if self.method == "GET" or self.pattern.endswith("/clone") else {"If-Match": '"of-another-time"'}
        if self.pattern.endswith("/events"):
            return self.ask_stream(client)
        body = None if self.method in ("GET", "DELETE") else self.body()
        answer = client.call(self.method, self.path, body, query, headers)
        if answer.status >= 500:
            assert answer.status in (501, 502, 503, 504), (self.method, self.path, answer.body)
        if self.is_list and answer.status == 200:
            items = answer.json()["items"]
            if self.collection == "session_messages":
                return bool(items)
            if self.pattern.endswith("/role_bindings") and self.collection == "role_bindings":
                return self.ids["binding"] in {i["id"] for i in items}
            return self.wanted in {i["id"] for i in items}
        if answer.status < 400:
            return answer.status, ""
        return answer.status, re.sub(r"operation [0-9A-Za-z]+", "", answer.json().get("reason", ""))

    def ask_stream(self, client):
        connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=30)
        try:
            connection.request("GET", V1 + self.path, headers=client.headers)
            return connection.getresponse().status, ""
        finally:
            connection.close()

    def allowed(self, client, stranger):
        got = self.ask(client)
        return got if isinstance(got, bool) else got != stranger and got[0] != 403


def paths(table, ids):
    for method, pattern, permission in REST:
        # Lists of bindings below one object need two rights; test_rbac_bindings.py has them.
        if permission == "public" or f"{method} {pattern}" in OWN_RULES or (
                pattern.endswith("}/role_bindings") and pattern != "/projects/{id}/role_bindings"):
            continue
        if pattern == "/access_reviews/self":
            continue
        yield Path(table, ids, method, pattern), permission


def test_strangers_and_administrators(table):
    """Each row tells the two apart, else it could not tell anybody apart."""
    wrong = []
    for path, permission in paths(table, table.mine):
        stranger = path.ask(table.stranger)
        lets_in = path.allowed(table.callers["platform:admin", "global"], stranger)
        if permission in EVERYBODY:
            lets_in = lets_in is True or not isinstance(stranger, tuple) or stranger[0] < 400
        if not lets_in:
            wrong.append((path.method, path.path, stranger))
    assert not wrong


def walk(table, ids, callers, place_of):
    wrong = []
    for path, permission in paths(table, ids):
        if permission in EVERYBODY:
            continue
        stranger = path.ask(table.stranger)
        for (role, scope), client in callers.items():
            want = expected(role, scope, permission, place_of(path))
            if path.pattern == "/projects/{id}/role_bindings":   # also asks for the project itself
                want = want and expected(role, scope, "project:read", {"project"})
            if path.is_list and path.pattern.startswith("/projects/{project_id}/agents/{agent_id}/"):
                want = want and expected(role, scope, "agent:read", place_of(path) & {"project", "agent"})
            if path.allowed(client, stranger) is not want:
                wrong.append((path.method, path.path, role, scope, "wanted", want, path.ask(client)))
    return wrong


def test_rest_by_role_and_scope(table):
    wrong = walk(table, table.mine, table.callers, lambda path: path.place)
    assert not wrong, "\n".join(map(str, wrong))


def test_rest_in_a_project_where_nothing_is_bound(table):
    """The strongest role of each scope, in the other project: only what is global reaches it."""
    strongest = {key: table.callers[key] for key in (("platform:admin", "project"), ("project:owner", "project"),
                                                     ("agent:operator", "agent"), ("project:editor", "session"),
                                                     ("credential:owner", "credential"), ("project:viewer", "global"))}
    wrong = walk(table, table.theirs, strongest, lambda path: set())
    assert not wrong, "\n".join(map(str, wrong))


# ---- gRPC ----

def unary(table, ids):
    n = next(_numbers)
    project, session, settings, person = ids["project"], ids["session"], ids["settings"], table.person_id
    inside = {"project", "agent", "session"}
    return {
        "GetSession": (inside, {"id": session}), "GetProject": (IN_PROJECT, {"id": project}),
        "GetProjectSettings": (IN_PROJECT, {"id": settings}), "GetUser": (set(), {"id": person}),
        "CreateSession": (IN_PROJECT, {"name": "x", "project_id": project}),
        "CreateProject": (set(), {"name": f"table-rpc-{n}"}),
        "CreateProjectSettings": (IN_PROJECT, {"project_id": project}),
        "CreateUser": (set(), {"username": f"table-rpc-{n}", "name": "x"}),
        "UpdateSession": (inside, {"id": session, "name": "s"}),
        "UpdateProject": (IN_PROJECT, {"id": project, "description": "d"}),
        "UpdateProjectSettings": (IN_PROJECT, {"id": settings, "repositories": "[]"}),
        "UpdateUser": (set(), {"id": person, "email": "x@example.org"}),
        "UpdateSessionStatus": (inside, {"id": session, "sdk_session_id": "x"}),
        "PushSessionMessage": (inside, {"session_id": session, "event_type": "user", "payload": "x"}),
    }


LISTS = {"ListSessions": "session", "ListProjects": "project", "ListProjectSettings": "settings", "ListUsers": "person"}
LET_IN = {grpc.StatusCode.OK, grpc.StatusCode.ALREADY_EXISTS}


def rpc_outcome(rpc, method, request):
    try:
        rpc.call(method, **request)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_rpcs_by_role_and_scope(table):
    """The same answers as over HTTP: the table's permission, at the place of the object. Deletions at last, by the one
    who may least of all: see test_rbac_defects.py."""
    wrong, asked = [], set()
    for (role, scope), client in table.callers.items():
        with rpc_support.connected(table.server, table.token(table.name_of(role, scope))) as rpc:
            for method, (place, request) in unary(table, table.mine).items():
                want = expected(role, scope, RPC[method], place)
                got = rpc_outcome(rpc, method, request)
                asked.add(method)
                if (got in LET_IN) is not want:
                    wrong.append((method, role, scope, "wanted", want, got))
            for method, which in LISTS.items():
                ids = {**table.mine, "person": table.person_id}
                place = {"session": {"project", "agent", "session"}, "person": set()}.get(which, IN_PROJECT)
                seen = {i.metadata.id for i in rpc.call(method, size=500).items}
                asked.add(method)
                if (ids[which] in seen) is not expected(role, scope, RPC[method], place):
                    wrong.append((method, role, scope, ids[which] in seen))
            for method, place, request in (
                    ("WatchSessionMessages", {"project", "agent", "session"}, {"session_id": table.mine["session"]}),
                    ("WatchInboxMessages", {"project", "agent"}, {"agent_id": table.mine["agent"]}),
                    ("WatchUsers", set(), {})):
                asked.add(method)
                want = expected(role, scope, RPC[method], place)
                try:
                    rpc.watch(method, **request)
                    got = not rpc.streams[-1].call.done()
                except grpc.RpcError:
                    got = False
                if got is not want:
                    wrong.append((method, role, scope, "wanted", want))
    assert wrong == []
    kinds = {"WatchSessions", "WatchProjects", "WatchProjectSettings"}
    deletions = {m for m in RPC if m.startswith("Delete")}
    assert asked | kinds | deletions == set(RPC)


def test_deletions_over_rpc_are_refused(table):
    requests = {"DeleteSession": ("session", {"project", "agent", "session"}), "DeleteProject": ("project", IN_PROJECT),
                "DeleteProjectSettings": ("settings", IN_PROJECT), "DeleteUser": ("person", set())}
    for (role, scope), client in table.callers.items():
        for method, (which, place) in requests.items():
            if expected(role, scope, RPC[method], place):
                continue
            with rpc_support.connected(table.server, table.token(table.name_of(role, scope))) as rpc:
                ids = {**table.mine, "person": table.person_id}
                assert rpc_outcome(rpc, method, {"id": ids[which]}) == grpc.StatusCode.PERMISSION_DENIED, (method, role)
    assert table.maker.get(f"/sessions/{table.mine['session']}").status == 200


def test_watches_of_kinds_show_what_lists_show(table):
    """Each caller's stream up to a marker of its own: the change of the session is in it, or it is not."""
    sees, open_ones = {}, {}
    for (role, scope) in table.callers:
        rpc = rpc_support.Rpc(table.server.ports["grpc"], table.token(table.name_of(role, scope)))
        open_ones[role, scope] = rpc, rpc.watch("WatchSessions"), rpc.watch("WatchProjects")
    try:
        table.maker.ok("PATCH", f"/sessions/{table.mine['session']}", {"prompt": f"changed {next(_numbers)}"})
        table.maker.ok("PATCH", f"/projects/{table.mine['project']}", {"description": f"changed {next(_numbers)}"})
        for key, (rpc, sessions, projects) in open_ones.items():
            marker = table.callers[key].session(name="marker")["id"]
            mark = table.callers[key].project(f"table-marker-{next(_numbers)}")["id"]
            sees[key] = (until(sessions, marker, table.mine["session"]), until(projects, mark, table.mine["project"]))
    finally:
        for rpc, *_ in open_ones.values():
            rpc.close()
    for (role, scope), seen in sees.items():
        assert seen == (expected(role, scope, "session:read", {"project", "agent", "session"}),
                        expected(role, scope, "project:read", IN_PROJECT)), (role, scope)


def until(stream, end, wanted):
    found = False
    while True:
        event = stream.next()
        found = found or event.resource_id == wanted
        if event.resource_id == end:
            return found
