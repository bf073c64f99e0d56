"""Create, read, change, delete of each kind; texts of refusals. rest-core.md 2, 6, 7, 8."""
import json
import re

import pytest

from api_support import V1, expect_error

KSUID = re.compile(r"^[0-9A-Za-z]{27}$")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$")


# ---- what every kind does ----

@pytest.fixture(params=["users", "projects", "project_settings", "agents", "sessions"])
def kind(request, api, name):
    """(collection path, a body that is fine, a property to change)."""
    project = None
    if request.param in ("project_settings", "agents", "sessions"):
        project = api.project(f"kind-{name}")["id"]
    return {
        "users": ("/users", {"username": f"u-{name}", "name": "U"}, "name"),
        "projects": ("/projects", {"name": f"p-{name}"}, "description"),
        "project_settings": ("/project_settings", {"project_id": project}, "repositories"),
        "agents": (f"/projects/{project}/agents", {"project_id": "", "name": f"a-{name}"}, "description"),
        "sessions": ("/sessions", {"name": f"s-{name}", "project_id": project}, "name"),
    }[request.param]


def test_life_of_an_object(api, kind):
    path, body, field = kind
    made = api.ok("POST", path, body)
    assert TIME.match(made["created_at"]) and TIME.match(made["updated_at"])
    item = f"{path}/{made['id']}"
    assert api.ok("GET", item) == made
    assert api.raw("GET", made["href"]).json() == made
    assert made["href"].endswith("/" + made["id"]) and made["href"].startswith(V1)
    changed = api.ok("PATCH", item, {field: "other"})
    assert changed[field] == "other" and changed["created_at"] == made["created_at"]
    assert changed["updated_at"][:-1] > made["updated_at"][:-1]  # as text; zeros at the end of a fraction are left out
    assert api.ok("GET", item) == changed
    answer = api.delete(item)
    assert answer.status == 204 and answer.body == b"" and "Content-Type" not in answer.headers
    expect_error(api.get(item), 404, 7)
    expect_error(api.patch(item, {field: "x"}), 404, 7)
    assert made["id"] not in [i["id"] for i in api.items(path, size=1000)]


def test_ids_are_ksuids_but_a_projects_is_its_name(api, project):
    assert KSUID.match(api.session()["id"])
    assert KSUID.match(api.agent(project, "a")["id"])
    assert api.ok("GET", f"/projects/{project}")["name"] == project


def test_not_found_names_kind_and_id(api, project):
    for path, kind in (("/users", "User"), ("/projects", "Project"), ("/project_settings", "ProjectSettings"),
                       ("/sessions", "Session"), (f"/projects/{project}/agents", "Agent")):
        expect_error(api.get(f"{path}/nobody"), 404, 7, f"{kind} with id='nobody' not found")
        expect_error(api.patch(f"{path}/nobody", {}), 404, 7, f"{kind} with id='nobody' not found")


def test_deleting_an_unknown_id(api, project):
    for path in ("/users", "/projects", "/project_settings", "/sessions"):
        assert api.delete(f"{path}/nobody").status == 204
    expect_error(api.delete(f"/projects/{project}/agents/nobody"), 404, 7, "Agent with id='nobody' not found")


PRE = "Invalid request format: "


@pytest.mark.parametrize("body, reason", [
    ("", PRE + "unexpected end of JSON input"),
    ("{", PRE + "unexpected end of JSON input"),
    ("{}", PRE + "no value given for required property name"),
    ('{"name":"ok-1","nope":1}', PRE + 'json: unknown field "nope"'),
    ('{"name":7}', PRE + "json: cannot unmarshal number into Go struct field _Project.name of type string"),
    ('{"name":{}}', PRE + "json: cannot unmarshal object into Go struct field _Project.name of type string"),
])
def test_texts_of_a_refused_creation(api, body, reason):
    expect_error(api.post("/projects", body), 400, 17, reason)


@pytest.mark.parametrize("body", ["null", "[]", '"x"', "7", "{} {}", "{'name':'a'}", '{"name":"a1","name":"a2"}'])
def test_a_body_that_is_no_object_creates_nothing(api, body):
    before = api.ok("GET", "/projects")["total"]
    expect_error(api.post("/projects", body), 400, 17)
    assert api.ok("GET", "/projects")["total"] == before


def test_the_server_owns_ids_and_times(api, name):
    expect_error(api.post("/projects", {"name": f"t-{name}", "id": "mine"}), 400, 8, "id must be empty")
    made = api.ok("POST", "/projects", {"name": f"t-{name}", "id": "", "created_at": "2001-01-01T00:00:00Z",
                                        "kind": "Other", "href": "x"})
    assert made["created_at"] > "2020" and made["kind"] == "Project" and made["id"] == f"t-{name}"


def test_patch_rules(api, project):
    path = f"/projects/{project}"
    made = api.ok("PATCH", path, {"description": "d", "prompt": "p"})
    assert api.ok("PATCH", path, {}) == made                                    # nothing changed, not even the time
    assert api.ok("PATCH", path, {"description": "d"}) == made
    assert api.ok("PATCH", path, "null") == made
    assert api.ok("PATCH", path, {"unknown": 1, "id": "x", "created_at": "2001-01-01T00:00:00Z"}) == made
    assert api.ok("PATCH", path, {"description": ""})["description"] == ""
    assert "description" not in api.ok("PATCH", path, {"description": None})    # null clears
    expect_error(api.patch(path, ""), 400, 17, PRE + "unexpected end of JSON input")
    expect_error(api.patch(path, {"description": 1}), 400, 17,
                 PRE + "json: cannot unmarshal number into Go struct field ProjectPatchRequest.description of type "
                 "string")


def test_labels_are_text_and_a_map_is_taken_too(api, project):
    text = '{ "env" : "prod" }'
    path = f"/projects/{project}"
    assert api.ok("PATCH", path, {"labels": text})["labels"] == text
    assert json.loads(api.ok("PATCH", path, {"labels": {"b": "2", "a": "1"}})["labels"]) == {"a": "1", "b": "2"}
    expect_error(api.patch(path, {"labels": {"a": 1}}), 400, 17)
    expect_error(api.patch(path, {"labels": 5}), 400, 17)


@pytest.mark.parametrize("key", ["a key", "k" * 256, "\u00e9"])
def test_an_unfit_idempotency_key_is_refused(api, key):
    answer = api.post("/sessions", {"name": "x"}, headers={"Idempotency-Key": key.encode()})
    assert answer.status == 400


def test_the_same_idempotency_key_makes_one_object(api, project, name):
    key = {"Idempotency-Key": f"key-{name}"}
    body = {"name": "once", "project_id": project, "prompt": "hello"}
    first = api.ok("POST", "/sessions", body, headers=key)
    again = api.ok("POST", "/sessions", body, headers=key)
    assert first == again
    answers = [api.post("/sessions", body, headers=h) for h in (key, {"Idempotency-Key": f"other-{name}"})]
    assert [a.headers["Idempotency-Replayed"] for a in answers] == ["true", None]  # ui-and-sdk.md 15.3
    api.ok("DELETE", f"/sessions/{answers[1].json()['id']}")
    assert len(api.items("/sessions", project_id=project)) == 1
    assert len(api.messages(first["id"])) == 1
    agent = {"project_id": "", "name": "agent"}
    assert api.ok("POST", f"/projects/{project}/agents", agent, headers=key)["kind"] == "Agent"
    api.ok("DELETE", f"/sessions/{first['id']}")
    expect_error(api.post("/sessions", body, headers=key), 409, 6)


# ---- projects ----

@pytest.mark.parametrize("bad, reason", [
    ("a", "project name must be between 2 and 63 characters"),
    ("a" * 64, "project name must be between 2 and 63 characters"),
    ("Abc", None), ("1abc", None), ("abc-", None), ("a_b", None), ("a.b", None), ("\u00e4bc", None)])
def test_project_names(api, bad, reason):
    expect_error(api.post("/projects", {"name": bad}), 400, 8, reason or (
        "project name must match DNS-1123 label format: lowercase alphanumeric and hyphens, must start with a letter "
        "and end with an alphanumeric character"))


def test_a_project_is_made_once_and_again_after_its_deletion(api, project):
    api.ok("PATCH", f"/projects/{project}", {"description": "old"})
    expect_error(api.post("/projects", {"name": project}), 409, 6, "This Project already exists")
    api.ok("DELETE", f"/projects/{project}")
    made = api.project(project)
    assert "description" not in made and made["id"] == project
    assert api.ok("GET", f"/projects/{project}") == made


def test_a_project_keeps_its_name(api, project):
    assert api.ok("PATCH", f"/projects/{project}", {"name": project, "status": "x"})["status"] == "x"
    expect_error(api.patch(f"/projects/{project}", {"name": project + "x"}), 400, 8, "project name is immutable")


def test_display_name_of_older_clients_is_ignored(api, name):
    made = api.ok("POST", "/projects", {"name": f"old-{name}", "display_name": "Old"})
    assert "display_name" not in made


def test_a_deleted_project_takes_everything_with_it(api, project):
    agent = api.agent(project, "a")["id"]
    settings = api.ok("POST", "/project_settings", {"project_id": project})["id"]
    inbox = f"/projects/{project}/agents/{agent}/inbox"
    message = api.ok("POST", inbox, {"agent_id": "", "body": "hi"})["id"]
    session = api.session(project_id=project, prompt="x")["id"]
    api.ok("DELETE", f"/projects/{project}")
    for path in (f"/agents/{agent}", f"/project_settings/{settings}", f"/inbox_messages/{message}",
                 f"/sessions/{session}", f"/sessions/{session}/messages", f"/projects/{project}/agents"):
        expect_error(api.get(path), 404, 7)
    api.project(project)
    assert api.items(f"/projects/{project}/agents") == []
    assert api.items("/sessions", project_id=project) == []


# ---- project_settings ----

def test_project_settings(api, project):
    made = api.ok("POST", "/project_settings", {"project_id": project, "group_access": "[]"})
    expect_error(api.post("/project_settings", {"project_id": project}), 409, 6, "This ProjectSettings already exists")
    expect_error(api.post("/project_settings", {"project_id": "nobody"}), 404, 7, "Project with id='nobody' not found")
    assert api.items("/project_settings", project_id=project) == [made]
    api.ok("DELETE", f"/project_settings/{made['id']}")
    assert api.ok("POST", "/project_settings", {"project_id": project})["id"] != made["id"]


# ---- users ----

def test_the_caller_has_a_user_row(api):
    rows = api.items("/users", search="username = 'dev-user'")
    assert len(rows) == 1 and rows[0]["name"] == "dev-user"
    api.ok("DELETE", f"/users/{rows[0]['id']}")
    again = api.items("/users", search="username = 'dev-user'")
    assert len(again) == 1 and again[0]["id"] != rows[0]["id"]


def test_usernames_are_unique_among_the_living(api, name):
    body = {"username": f"twice-{name}", "name": "T", "email": "t@example.org"}
    first = api.ok("POST", "/users", body)
    assert first["email"] == "t@example.org"
    expect_error(api.post("/users", body), 409, 6, "This User already exists")
    api.ok("DELETE", f"/users/{first['id']}")
    assert api.ok("POST", "/users", body)["id"] != first["id"]
