"""Every route with a body, generated from the OpenAPI document, with every kind of bad input: the contract's error,
and an unchanged store."""
import json

import pytest

from api_support import Client, expect_error, running

DEEP = "[" * 2000 + "]" * 2000


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A server with one object of each kind, and the routes of its document with their paths filled in."""
    with running(tmp_path_factory.mktemp("bad")) as server:
        client = server.client()
        project = client.project("bad")["id"]
        agent = client.agent(project, "bad")["id"]
        ids = {
            "/users/{id}": client.ok("POST", "/users", {"username": "bad", "name": "B"})["id"],
            "/projects/{id}": project,
            "/project_settings/{id}": client.ok("POST", "/project_settings", {"project_id": project})["id"],
            "/projects/{project_id}/agents/{id}": agent,
            "/projects/{project_id}/agents/{agent_id}/inbox/{id}": client.ok(
                "POST", f"/projects/{project}/agents/{agent}/inbox", {"agent_id": "", "body": "b"})["id"],
            "/sessions/{id}": client.session(project_id=project)["id"],
        }
        yield server, client, project, agent, ids
        client.close()


def operations(document):
    for path, item in document["paths"].items():
        short = path.removeprefix("/api/ambient/v1")
        for method, operation in item.items():
            ref = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            if ref and "502" not in operation["responses"]:  # else the runner judges the body
                yield method.upper(), short, document["components"]["schemas"][ref["$ref"].rsplit("/", 1)[1]]


def fill(path, project, agent, ids):
    best = max((k for k in ids if path.startswith(k)), key=len, default=None)
    if best:
        path = best.replace("{id}", ids[best]) + path[len(best):]
    return path.replace("{project_id}", project).replace("{agent_id}", agent)


def wrong_values(schema):
    kind = schema["type"]
    if schema.get("format") == "json":  # takes text, and objects or arrays as they are
        yield from (7, True, 1.5)
        return
    yield from {"string": (7, True, [], [1]), "integer": ("7", True, 1.5, [], {}, 1 << 40), "number": ("7", True, []),
                "boolean": ("true", 1, [], {})}[kind]
    if schema.get("maxLength"):
        yield "x" * (schema["maxLength"] + 1)


def minimal(schema):
    return {p: "" if schema["properties"][p]["type"] == "string" else 0 for p in schema.get("required", [])}


def snapshot(client, project, agent):
    """Everything that a list can show."""
    paths = ["/users", "/projects", "/project_settings", "/sessions", f"/projects/{project}/agents",
             f"/projects/{project}/agents/{agent}/inbox"]
    state = [client.ok("GET", path, query={"size": -1}) for path in paths]
    sessions = [s["id"] for s in state[3]["items"]]
    return state + [client.messages(s) for s in sessions]


def bad_bodies(method, path, schema):
    yield from ["{", "}", "[1,2", '{"a":}', "\x00", b"\xff\xfe", "'x'", "{} x", '"text"', "7", "true", "[]", DEEP,
                '{"x":' * 300 + "1" + "}" * 300]
    base = minimal(schema)
    if method == "POST" and "start" not in path and "messages" not in path:
        yield ""
        yield "null"
        for name in base:
            yield json.dumps({k: v for k, v in base.items() if k != name})
        yield json.dumps({**base, "nobody_knows_this": 1})
        yield json.dumps({**base, "id": "chosen"})
    for name, property_schema in schema["properties"].items():
        if property_schema.get("readOnly"):
            continue
        for value in wrong_values(property_schema):
            yield json.dumps({**base, name: value})
        if property_schema["type"] == "string":
            yield json.dumps({**base, name: ""}).encode().replace(b'""', b'"\xff"', 1)
            yield json.dumps({**base, name: "nul \u0000"})


def test_bad_bodies_change_nothing(place):
    server, client, project, agent, ids = place
    document = client.ok("GET", "/openapi")
    before = snapshot(client, project, agent)
    tried = 0
    for method, path, schema in operations(document):
        target = fill(path, project, agent, ids)
        for body in bad_bodies(method, path, schema):
            answer = client.call(method, target, body)
            where = (method, target, body[:120], answer.status, answer.body[:200])
            assert answer.status in (400, 413), where
            expect_error(answer, answer.status, int(answer.json()["id"]))
            assert answer.json()["id"] in ("8", "17"), where
            tried += 1
    assert tried > 500
    assert snapshot(client, project, agent) == before


@pytest.mark.parametrize("segment", ["%00", "%ff%fe", "a" * 5000, "..%2f..", "%2e%2e", "'--", "%F0%9F%98%80", "%zz"])
def test_bad_ids(place, segment):
    server, client, project, agent, _ = place
    document = client.ok("GET", "/openapi")
    before = snapshot(client, project, agent)
    for path, item in document["paths"].items():
        if "{" not in path:
            continue
        target = "/".join(segment if s.startswith("{") else s for s in path.split("/"))
        for method in item:
            answer = client.raw(method.upper(), target, "{}" if method in ("post", "patch") else None)
            assert answer.status in (204, 301, 400, 403, 404, 414, 431), (method, target[:200], answer.status)
    assert snapshot(client, project, agent) == before


@pytest.mark.parametrize("query", ["search=%00", "search=%ff", "search=" + "(" * 3000, "page=%00", "size=%",
                                   "orderBy=%00", "orderBy=,", "fields=%00", "fields=,", "project_id=%00",
                                   "search=name%20in%20(" + "'x'," * 2000 + "'x')"])
def test_bad_queries_of_every_list(place, query):
    server, client, project, agent, _ = place
    for path in ("/users", "/projects", "/project_settings", "/sessions", f"/projects/{project}/agents",
                 f"/projects/{project}/agents/{agent}/inbox", f"/projects/{project}/agents/{agent}/sessions"):
        answer = client.raw("GET", f"/api/ambient/v1{path}?{query}")
        assert answer.status in (200, 400, 414), (path, query[:60], answer.status, answer.body[:200])
        if answer.status == 400:
            assert answer.json()["kind"] == "Error"


def test_a_body_beyond_the_limit(place):
    server, client, project, agent, ids = place
    before = snapshot(client, project, agent)
    for method, path in (("POST", "/sessions"), ("PATCH", f"/projects/{project}")):
        fresh = Client(server.ports["http"])
        answer = fresh.call(method, path, '{"name":"' + "x" * (9 << 20) + '"}')
        assert answer.status == 413
        body = answer.json()
        assert body["code"] == "ambient-api-server-17" and body["kind"] == "Error"
        fresh.close()
    assert snapshot(client, project, agent) == before
