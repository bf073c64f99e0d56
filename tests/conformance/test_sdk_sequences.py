"""The call sequences of the reference's Go, Python and TypeScript SDKs, replayed with what each puts on the wire and
held to what each insists on in an answer. ui-and-sdk.md sections 11 and 13."""
import dataclasses
import http.client
import json
import re
import urllib.parse

import pytest

from conformance_support import TOKEN

V1 = "/api/ambient/v1"
# Go: times without a fraction or with six digits are what every SDK's parser takes.
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z$")
TIMES = {"created_at", "updated_at", "start_time", "completion_time", "last_run_at", "next_run_at"}
INTEGERS = {"llm_max_tokens", "timeout", "inactivity_timeout", "retry_limit", "sdk_restart_count", "seq", "page",
            "size", "total"}
BOOLEANS = {"enabled", "built_in", "auto_sync", "auto_prune", "self_heal", "read", "stop_on_run_finished",
            "interactive"}
NUMBERS = {"llm_temperature"}
NULLABLE = {"agent_id", "credential_id", "project_id", "session_id", "user_id", "scope_id"}  # of role bindings


@dataclasses.dataclass
class Flavour:
    name: str
    headers: dict
    exact: bool        # Go: exactly the documented status; the others any 2xx
    empty_post: bool   # Python, TypeScript: actions have no body; Go sends {} or none too


GO = Flavour("go", {"User-Agent": "ambient-go-sdk/1.0.0", "Accept": "application/json"}, True, False)
PYTHON = Flavour("python", {"User-Agent": "ambient-python-sdk/1.0.0", "Accept": "application/json"}, False, True)
TYPESCRIPT = Flavour("typescript", {"User-Agent": "node", "Accept": "*/*"}, False, True)


def check_value(key, value):
    """As the SDKs' types have it: texts are strings, also those that hold JSON; numbers are plain."""
    if key in TIMES:
        assert TIME.match(value), (key, value)
    elif key in INTEGERS:
        assert isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 31, (key, value)
    elif key in BOOLEANS:
        assert isinstance(value, bool), (key, value)
    elif key in NUMBERS:
        assert isinstance(value, (int, float)), (key, value)
    else:
        assert isinstance(value, str) or (value is None and key in NULLABLE), (key, value)


def check_object(value):
    for key, member in value.items():
        check_value(key, member)


class Sdk:
    def __init__(self, flavour, port, project, token=TOKEN):
        self.flavour, self.port, self.project = flavour, port, project
        self.headers = {"Authorization": f"Bearer {token}", "X-Ambient-Project": project, **flavour.headers}

    def call(self, method, path, body=None, query=None):
        target = V1 + path + ("?" + urllib.parse.urlencode(query) if query else "")
        headers = dict(self.headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, target, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, answer.headers["Content-Type"], data

    def ok(self, method, path, body=None, query=None, status=200):
        got, content_type, data = self.call(method, path, body, query)
        assert got == status if self.flavour.exact else 200 <= got < 300, (method, path, got, data)
        if got == 204:
            assert data == b""
            return None
        assert content_type == "application/json", (path, content_type)
        return json.loads(data)

    def object(self, method, path, body=None, status=200):
        value = self.ok(method, path, body, status=status)
        check_object(value)
        return value

    def list(self, path, **query):
        value = self.ok("GET", path, query=query)
        assert isinstance(value["items"], list) and value["kind"].endswith("List")
        assert all(isinstance(value[key], int) for key in ("page", "size", "total"))
        assert value["size"] == len(value["items"])
        if "fields" not in query:
            for item in value["items"]:
                check_object(item)
        return value

    def refused(self, method, path, status, body=None):
        got, content_type, data = self.call(method, path, body)
        assert got == status and content_type == "application/json", (method, path, got, data)
        error = json.loads(data)
        assert error["kind"] == "Error" and error["code"] and error["reason"]
        assert all(isinstance(value, str) for value in error.values())

    def action(self, path, status=200):
        return self.object("POST", path, None if self.flavour.empty_post else {}, status)


def crud(sdk, path, create, change, status=204):
    """create, get, list, update, delete: the part that every resource shares. Returns a fresh one."""
    made = sdk.object("POST", path, create, status=201)
    assert made["id"] and made["href"].startswith(V1) and made["kind"]
    assert sdk.object("GET", f"{path}/{made['id']}")["id"] == made["id"]
    assert sdk.list(path, page=1, size=100)["total"] >= 1
    changed = sdk.object("PATCH", f"{path}/{made['id']}", change)
    assert all(changed[key] == value for key, value in change.items()), changed
    assert sdk.ok("DELETE", f"{path}/{made['id']}", status=status) is None
    sdk.refused("GET", f"{path}/{made['id']}", 404)
    again = {**create, "name": create["name"] + "-2"} if "name" in create else create
    return sdk.object("POST", path, again, status=201)


def iterate(sdk, path, size, past_the_end):
    """Go goes on until a page is empty, the others until page * size reaches the total."""
    page, seen = 1, []
    while True:
        part = sdk.list(path, page=page, size=size)
        seen += [item["id"] for item in part["items"]]
        if (past_the_end and not part["items"]) or (not past_the_end and page * size >= part["total"]):
            return seen, part["total"]
        page += 1


@pytest.fixture(name="sdk", params=[GO, PYTHON, TYPESCRIPT], ids=lambda f: f.name)
def make_sdk(request, server):
    sdk = Sdk(request.param, server.ports["http"], f"conf-{request.param.name}-{request.node.name.split('[')[0][5:25]}"
              .replace("_", "-").rstrip("-"))
    sdk.object("POST", "/projects", {"name": sdk.project, "description": "d"}, status=201)
    return sdk


@pytest.fixture(name="agents")
def make_agents(sdk):
    return f"/projects/{sdk.project}/agents"


def test_version_needs_no_token(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=60)
    connection.request("GET", V1 + "/version")
    answer = connection.getresponse()
    assert answer.status == 200 and list(json.loads(answer.read())) == ["version", "build_time", "git_tag"]
    connection.close()


def test_projects(sdk):
    sdk.refused("POST", "/projects", 409, {"name": sdk.project})
    path = f"/projects/{sdk.project}"
    for key in ("labels", "annotations"):
        text = json.dumps({"a": "b"})
        assert json.loads(sdk.object("PATCH", path, {key: text})[key]) == {"a": "b"}
    assert sdk.object("PATCH", path, {"description": "e"})["description"] == "e"
    for number in range(3):
        sdk.object("POST", "/projects", {"name": f"{sdk.project}-{number}"}, status=201)
    seen, total = iterate(sdk, "/projects", 2, sdk.flavour is GO)
    assert len(seen) == len(set(seen)) == total
    assert sdk.list("/projects", page=999, size=10)["items"] == []
    assert sdk.list("/projects", page=1, size=0) == {"items": [], "kind": "ProjectList", "page": 1, "size": 0,
                                                     "total": total}


def test_users(sdk):
    user = sdk.object("POST", "/users", {"username": f"u-{sdk.project}", "name": "U"}, status=201)
    assert sdk.object("GET", f"/users/{user['id']}")["username"] == user["username"]
    assert sdk.list("/users", search=f"username = '{user['username']}'")["total"] == 1
    assert sdk.object("PATCH", f"/users/{user['id']}", {"email": "u@x.test"})["email"] == "u@x.test"


def test_roles(sdk):
    found = sdk.list("/roles", search="name = 'credential:viewer'", size=1)
    assert found["items"][0]["name"] == "credential:viewer" and found["items"][0]["built_in"] is True
    crud(sdk, "/roles", {"name": f"custom:{sdk.project}", "permissions": "[\"session:read\"]"}, {"description": "d"})


def test_agents_and_inbox(sdk, agents):
    agent = crud(sdk, agents, {"name": "lead", "project_id": "", "prompt": "p"}, {"prompt": "q"})
    assert agent["project_id"] == sdk.project
    found = sdk.list(agents, search=f"name = '{agent['name']}'")
    assert [a["id"] for a in found["items"]] == [agent["id"]]
    assert sdk.list(agents, page=1, size=1, orderBy="name asc")["size"] == 1
    inbox = f"{agents}/{agent['id']}/inbox"
    message = sdk.object("POST", inbox, {"agent_id": "", "from_name": "someone", "body": "hello"}, status=201)
    assert sdk.list(inbox)["total"] == 1
    assert sdk.object("PATCH", f"{inbox}/{message['id']}", {"read": True})["read"] is True
    sdk.ok("DELETE", f"{inbox}/{message['id']}", status=204)
    # What the generated inbox clients send: the braces of the template, as they are.
    sdk.refused("GET", f"{agents}/%7Bagent_id%7D/inbox", 400)


def test_starts(sdk, agents):
    agent = sdk.object("POST", agents, {"name": "a", "project_id": "", "prompt": "be exact"}, status=201)
    path = f"{agents}/{agent['id']}/start"
    assert "be exact" in sdk.ok("GET", path)["starting_prompt"]
    body = {"prompt": "hello there"} if sdk.flavour is GO else None
    first = sdk.ok("POST", path, body, status=201)
    check_object(first["session"])
    assert body is None or "hello there" in first["starting_prompt"]
    assert sdk.ok("POST", path, body)["session"]["id"] == first["session"]["id"]
    assert sdk.list(f"{agents}/{agent['id']}/sessions")["total"] == 1


def test_credentials_and_bindings(sdk):
    secret = "ghp_" + sdk.project
    path = "/credentials"
    made = crud(sdk, path, {"name": "k", "provider": "github", "token": secret}, {"description": "d"})
    assert not made.get("token")
    assert sdk.ok("GET", f"{path}/{made['id']}/token") == {"credential_id": made["id"], "provider": "github",
                                                            "token": secret}
    role = sdk.list("/roles", search="name = 'credential:viewer'", size=1)["items"][0]
    binding = sdk.object("POST", "/role_bindings", {"role_id": role["id"], "scope": "credential",
                                                    "credential_id": made["id"], "project_id": sdk.project}, status=201)
    assert binding["scope"] == "credential" and binding["credential_id"] == made["id"]
    found = sdk.list("/role_bindings", search=f"credential_id = '{made['id']}'")
    assert binding["id"] in [b["id"] for b in found["items"]]
    assert sdk.object("GET", f"/role_bindings/{binding['id']}")["role_id"] == role["id"]
    sdk.ok("DELETE", f"/role_bindings/{binding['id']}", status=204)


def test_sessions(sdk):
    created = sdk.object("POST", "/sessions", {"name": "conf", "project_id": sdk.project, "prompt": "first",
                                               "repos": "[{\"url\":\"https://host.test/r.git\"}]",
                                               "llm_temperature": 0.7}, status=201)
    path = f"/sessions/{created['id']}"
    assert created["llm_temperature"] == 0.7 and isinstance(created["repos"], str)
    found = sdk.list("/sessions", page=1, size=10, search=f"project_id = '{sdk.project}' and name like '%conf%'",
                     orderBy="created_at desc", fields="id,name,phase")
    assert found["items"] == [{"id": created["id"], "name": "conf"}]
    assert sdk.object("PATCH", path, {"llm_model": "m"})["llm_model"] == "m"
    running = sdk.object("PATCH", f"{path}/status", {"phase": "Running", "start_time": "2026-01-02T03:04:05Z"})
    assert running["phase"] == "Running" and running["start_time"] == "2026-01-02T03:04:05Z"
    for text in ("one", "two", "three"):
        message = sdk.object("POST", f"{path}/messages", {"event_type": "user", "payload": text}, status=201)
    everything = sdk.ok("GET", f"{path}/messages", query={"after_seq": 0})
    assert [m["payload"] for m in everything] == ["first", "one", "two", "three"]
    assert sdk.ok("GET", f"{path}/messages", query={"after_seq": message["seq"]}) == []
    sdk.action(f"{path}/stop")
    sdk.object("PATCH", f"{path}/status", {"phase": "Stopped"})
    assert sdk.action(f"{path}/start")["phase"] == "Pending"
    status, _, _ = sdk.call("GET", f"{path}/events")
    assert status in (404, 502)  # no runner
    sdk.ok("DELETE", path, status=204)
    sdk.refused("GET", path, 404)
    sdk.refused("GET", f"/sessions/{sdk.project}/messages", 404)  # what the generated clients ask for


def test_scheduled_sessions(sdk, agents):
    agent = sdk.object("POST", agents, {"name": "a", "project_id": ""}, status=201)
    path = f"/projects/{sdk.project}/scheduled-sessions"
    made = crud(sdk, path, {"name": "daily", "project_id": "", "agent_id": agent["id"], "schedule": "0 9 * * 1-5",
                            "timezone": "Europe/Berlin"}, {"enabled": False})
    assert made["enabled"] is True and TIME.match(made["next_run_at"])
    assert sdk.action(f"{path}/{made['id']}/suspend")["enabled"] is False
    assert sdk.action(f"{path}/{made['id']}/resume")["enabled"] is True
    assert sdk.action(f"{path}/{made['id']}/trigger")["status"] == "triggered"
    runs = sdk.list(f"{path}/{made['id']}/runs")
    assert runs["kind"] == "SessionList" and runs["total"] == 1
    sdk.refused("POST", path, 400, {"name": "bad", "project_id": "", "agent_id": agent["id"], "schedule": "99 * * * *"})


def test_applications_and_settings(sdk):
    crud(sdk, "/applications", {"name": f"app-{sdk.project}", "source_repo_url": "https://host.test/r.git",
                                "source_path": "deploy", "destination_project": sdk.project}, {"auto_sync": True})
    crud(sdk, "/project_settings", {"project_id": sdk.project}, {"repositories": "[]"})


def test_errors(sdk, server):
    stranger = Sdk(sdk.flavour, server.ports["http"], sdk.project, "a-token-that-is-not-known")
    stranger.refused("GET", "/projects", 401)
    sdk.refused("GET", "/sessions/nope", 404)
    sdk.refused("PATCH", f"/projects/{sdk.project}", 400, {"description": 7})
    sdk.refused("GET", "/nope", 404)
    sdk.refused("PUT", "/projects", 405)
    sdk.ok("DELETE", f"/projects/{sdk.project}", status=204)
