"""Labels: a map or its text in, text out; labelSelector in Kubernetes' syntax. rest-core.md 2.4."""
import json
import urllib.parse

import pytest

from api_support import expect_error

SESSIONS = {"web": {"app": "web", "tier": "front"}, "db": {"app": "db", "tier": "back", "app.kubernetes.io/name": "pg"},
            "job": {"app": "job", "empty": ""}, "bare": {}}


@pytest.fixture(scope="module")
def labelled(server):
    client = server.client()
    project = client.project("labelled")["id"]
    for name, labels in SESSIONS.items():
        client.session(name=name, project_id=project, labels=labels)
    client.session(name="none", project_id=project)
    for i, text in enumerate(["{not json", "[1]", '"app"', '{"app":5}', '{"app":null}', '{"app":{"x":1}}']):
        client.session(name=f"odd{i}", project_id=project, labels=text)
    return client, project


def test_a_map_and_its_text_are_the_same(api):
    as_map = api.session(labels={"b": "2", "a": "1"})
    assert json.loads(as_map["labels"]) == {"a": "1", "b": "2"}
    as_text = api.session(labels='{"b": "2"}')
    assert as_text["labels"] == '{"b": "2"}'
    changed = api.ok("PATCH", f"/sessions/{as_text['id']}", {"labels": {"c": "3"}, "annotations": {"x": "y"}})
    assert (json.loads(changed["labels"]), json.loads(changed["annotations"])) == ({"c": "3"}, {"x": "y"})
    for wrong in ({"a": 1}, {"a": None}, ["a"], 5, True):
        expect_error(api.post("/sessions", {"name": "s", "labels": wrong}), 400, 17)


ODD = {f"odd{i}" for i in range(6)}


@pytest.mark.parametrize("selector, names", [
    ("app=web", {"web"}), ("app==db", {"db"}), ("app in (web,job)", {"web", "job"}),
    ("app!=web", {"db", "job", "bare", "none"} | ODD), ("app notin (web, db)", {"job", "bare", "none"} | ODD),
    ("app", {"web", "db", "job"}), ("!app", {"bare", "none"} | ODD), ("tier,!empty", {"web", "db"}),
    ("app.kubernetes.io/name=pg", {"db"}), ("empty=", {"job"}), ("app=web,tier=back", set()),
    ("app in (web,db),tier=back", {"db"}), ("nobody", set()), ("", set(SESSIONS) | {"none"} | ODD)])
def test_selectors(labelled, selector, names):
    client, project = labelled
    found = client.ok("GET", "/sessions", query={"project_id": project, "labelSelector": selector})
    assert {s["name"] for s in found["items"]} == names and found["total"] == len(names)


def test_a_selector_joins_search_paging_and_scope(labelled, as_user):
    client, project = labelled
    query = {"project_id": project, "labelSelector": "app", "search": "name != 'db'", "orderBy": "name desc", "size": 1}
    page = client.ok("GET", "/sessions", query=query)
    assert ([s["name"] for s in page["items"]], page["total"]) == (["web"], 2)
    as_user("alice").session(labels={"who": "alice"})
    assert len(as_user("alice").items("/sessions", labelSelector="who=alice")) == 1
    assert as_user("bob").items("/sessions", labelSelector="who=alice") == []


@pytest.mark.parametrize("selector", [
    "a b", "a=b)", "a=') or ('1'='1", "a in ()", "a,,b", "=", "a>1", "a=\"b\"", "a=b\x01", "a" * 64, "a=" + "b" * 64,
    ",".join(["a=b"] * 400), "a in (" + ",".join(["b"] * 600) + ")", "é=1"])
def test_bad_selectors(api, selector):
    expect_error(api.get("/sessions?labelSelector=" + urllib.parse.quote(selector)), 400, 21)


def test_every_kind_with_labels_takes_a_selector(api, project):
    """What the document says of labelSelector is so, for every list."""
    paths = api.ok("GET", "/openapi")["paths"]
    agent = api.agent(project, "a")["id"]
    tried = 0
    for path, item in paths.items():
        if "get" not in item or not any(p["name"] == "page" for p in item["get"]["parameters"]):
            continue
        target = path.replace("{project_id}", project).replace("{agent_id}", agent)
        if "{" in target:
            continue
        has = any(p["name"] == "labelSelector" for p in item["get"]["parameters"])
        answer = api.raw("GET", target + "?labelSelector=no-such-label")
        assert answer.status == (200 if has else 400), path
        assert not has or answer.json()["items"] == []
        tried += has
    assert tried >= 3
