"""Paths, methods, headers, errors, compression and cross-origin rules. rest-core.md 1 and 5."""
import gzip
import json

import pytest

from api_support import V1, expect_error


def test_metadata_names_the_server(api):
    answer = api.raw("GET", "/api/ambient")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["id"] == "ambient-api-server" and body["kind"] == "API" and body["href"] == "/api/ambient"
    assert set(body) == {"id", "href", "kind", "version", "build_time"}


def test_version_has_three_texts(api):
    assert set(api.ok("GET", "/version")) == {"version", "build_time", "git_tag"}


def test_one_trailing_slash_is_dropped(api):
    assert api.raw("GET", V1 + "/projects/").status == 200
    assert api.raw("GET", "/api/ambient/").status == 200
    assert api.raw("GET", V1 + "/projects//").status == 404


@pytest.mark.parametrize("path, target", [
    (V1 + "//projects", V1 + "/projects"),
    (V1 + "/./projects?x=1&y=%20", V1 + "/projects?x=1&y=%20"),
    (V1 + "/users/../projects", V1 + "/projects"),
    ("/../api/ambient/v1/projects", V1 + "/projects"),
    (V1 + "/projects/%2e%2e/users", V1 + "/users"),
])
def test_an_unclean_path_is_redirected(api, path, target):
    answer = api.raw("GET", path)
    assert answer.status == 301
    assert answer.headers["Location"] == target


@pytest.mark.parametrize("path", ["/nope", "", "/sessions/a/b/c/d", "/sessions/a/nope", "/projects/p/agents/a/nope"])
def test_an_unknown_path_is_404_in_the_routers_shape(api, path):
    answer = api.raw("GET", V1 + path)
    assert answer.status == 404
    assert answer.json() == {
        "type": "Error", "kind": "Error", "id": "404", "href": V1 + "/errors/404", "code": "ambient-api-server-404",
        "reason": f"The requested resource '{V1 + path}' doesn't exist"}
    assert "X-Operation-ID" not in answer.headers


def test_a_wrong_method_is_405_with_allow(api):
    answer = api.call("PUT", "/sessions/abc")
    expect_error(answer, 405, 10)
    assert {m.strip() for m in answer.headers["Allow"].split(",")} == {"GET", "PATCH", "DELETE"}
    assert api.call("POST", "/sessions/abc/status").headers["Allow"] == "PATCH"


@pytest.mark.parametrize("path", ["/projects", "/version", "/sessions/x", "/sessions/x/messages"])
def test_head_is_405_without_a_body(api, path):
    answer = api.call("HEAD", path)
    assert answer.status == 405 and answer.body == b""
    assert "GET" in answer.headers["Allow"]


def test_every_matched_route_has_an_operation_id(api):
    first, second = api.get("/projects"), api.get("/projects", headers={"X-Operation-ID": "mine"})
    assert len(first.headers["X-Operation-ID"]) == 27
    assert second.headers["X-Operation-ID"] not in ("mine", first.headers["X-Operation-ID"])
    assert first.headers["Content-Type"] == "application/json"
    assert {v.strip() for v in first.headers["Vary"].split(",")} == {"Accept-Encoding", "Authorization", "Origin"}


def test_the_errors_that_href_names_exist(api):
    catalogue = api.ok("GET", "/errors")
    assert catalogue["kind"] == "ErrorList" and catalogue["size"] == catalogue["total"] == len(catalogue["items"])
    for item in catalogue["items"]:
        assert api.raw("GET", item["href"]).json() == item
    assert {i["id"] for i in catalogue["items"]} >= {"4", "6", "7", "8", "9", "10", "15", "17", "21", "404"}
    expect_error(api.get("/errors/5555"), 404, 7)
    expect_error(api.get("/errors/x"), 404, 7)


def test_keys_are_alphabetical_and_html_is_escaped(api, project):
    session = api.session(name="<b>&\u2028", project_id=project)
    raw = api.get(f"/sessions/{session['id']}").body
    assert b"\\u003cb\\u003e\\u0026\\u2028" in raw
    assert list(json.loads(raw)) == sorted(json.loads(raw))
    assert not raw.endswith(b"\n")


# ---- compression ----

@pytest.fixture
def large(api, project):
    return api.session(name="large", project_id=project, prompt="x" * 5000)["id"]


@pytest.mark.parametrize("accept, packed", [
    ("gzip", True), ("deflate, gzip", True), ("gzip;q=0.5", True), ("*", True), ("GZIP", True),
    ("gzip;q=0", False), ("*;q=0", False), ("identity", False), ("", False), ("*, gzip;q=0", False)])
def test_large_answers_are_compressed_when_asked(api, large, accept, packed):
    answer = api.get(f"/sessions/{large}", headers={"Accept-Encoding": accept})
    assert (answer.headers["Content-Encoding"] == "gzip") == packed
    body = gzip.decompress(answer.body) if packed else answer.body
    assert json.loads(body)["prompt"] == "x" * 5000
    assert "Accept-Encoding" in answer.headers["Vary"]


def test_small_and_empty_answers_are_not_compressed(api, project):
    session = api.session(project_id=project)["id"]
    assert "Content-Encoding" not in api.get("/version", headers={"Accept-Encoding": "gzip"}).headers
    assert "Content-Encoding" not in api.delete(f"/sessions/{session}", headers={"Accept-Encoding": "gzip"}).headers


# ---- cross-origin ----

ORIGIN = "http://localhost:3000"


def preflight(api, method="GET", headers=None, origin=ORIGIN, path="/projects"):
    fields = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return api.call("OPTIONS", path, headers={k: v for k, v in fields.items() if v is not None})


def test_preflight_of_an_allowed_origin(api):
    answer = preflight(api, "PUT", "authorization, X-Ambient-Project")
    assert answer.status == 200 and answer.body == b""
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Allow-Methods"] == "PUT"
    assert answer.headers["Access-Control-Allow-Headers"] == "authorization, X-Ambient-Project"
    assert answer.headers["Access-Control-Max-Age"] == "600"
    assert "Access-Control-Allow-Methods" not in preflight(api, "POST").headers


def test_preflight_of_a_foreign_origin_says_nothing(api):
    for answer in (preflight(api, origin="http://evil.example"), preflight(api, origin=None)):
        assert answer.status == 200 and answer.body == b""
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_preflight_refusals(api):
    expect_error(preflight(api, None), 400, 8)
    expect_error(preflight(api, "TRACE"), 405, 10)
    expect_error(preflight(api, "GET", "x-strange"), 403, 4)


def test_plain_requests_of_an_allowed_origin(api):
    answer = api.get("/projects", headers={"Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["Access-Control-Expose-Headers"] == "ETag, Idempotency-Replayed, X-Operation-ID"
    assert {v.strip() for v in answer.headers["Vary"].split(",")} == {"Accept-Encoding", "Authorization", "Origin"}
    assert "Access-Control-Allow-Origin" not in api.get("/projects", headers={"Origin": "http://x"}).headers


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example", "Content-Type": "text/plain"}, {"Origin": "null"},
    {"Origin": "http://localhost.evil.example"}, {"Origin": "http://127.0.0.1.evil.example:80"},
    {"Host": "evil.example:8000"}, {"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}])
def test_D17_without_authentication_pages_of_others_do_nothing(server, api, name, headers):
    """A page that a browser on this machine shows may send such requests, and what they do is all it wants."""
    expect_error(api.post("/projects", {"name": f"by-{name}"}, headers=headers), 403, 4)
    expect_error(api.get("/projects", headers=headers), 403, 4)
    assert api.get(f"/projects/by-{name}").status == 404


def test_D17_without_authentication_ones_own_pages_work(server, api, name):
    port = server.ports["http"]
    hosts = (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", f"console.localhost:{port}", "x")
    for n, host in enumerate(hosts):
        for origin in (f"http://{host}", ORIGIN, "http://127.0.0.1:5173", "http://[::1]:1", "https://ui.localhost"):
            own = {"Host": host, "Origin": origin}
            assert api.get("/projects", headers=own).status == 200, own
        api.ok("POST", "/projects", {"name": f"own-{name}-{n}"}, headers=own)


# ---- the OpenAPI document ----

def refs(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            else:
                yield from refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from refs(inner)


def test_openapi_is_a_whole_document(api):
    document = api.ok("GET", "/openapi")
    assert document["openapi"].startswith("3.0.")
    for ref in refs(document):
        _, components, group, key = ref.split("/")
        assert components == "components" and key in document[components][group], ref
    operations = [op for item in document["paths"].values() for op in item.values()]
    ids = [op["operationId"] for op in operations]
    assert len(ids) == len(set(ids)) > 40
    for path, item in document["paths"].items():
        for operation in item.values():
            declared = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
            assert declared == {s[1:-1] for s in path.split("/") if s.startswith("{")}
            assert "default" in operation["responses"] and operation["summary"]
            assert operation["security"] == [] or operation["x-permission"]
            assert [r for r in operation["responses"] if r[0] == "2"] or "Not implemented" in operation["summary"]
            if operation["security"]:
                assert {"401", "403", "500"} <= set(operation["responses"]), path
            if declared:
                assert "404" in operation["responses"], path


def test_openapi_is_valid(api):
    """By an independent validator where there is one; the test above checks the structure anyway."""
    validator = pytest.importorskip("openapi_spec_validator", reason="openapi-spec-validator is not installed")
    validator.validate(api.ok("GET", "/openapi"))


def test_openapi_names_query_parameters_bodies_and_media_types(api):
    paths = api.ok("GET", "/openapi")["paths"]

    def operation(method, path):
        return paths["/api/ambient/v1" + path][method]

    def parameters(method, path):
        return {p["name"] for p in operation(method, path)["parameters"] if p["in"] != "path"}
    assert {"page", "size", "search", "orderBy", "fields", "project_id"} <= parameters("get", "/sessions")
    assert {"page", "size"} <= parameters("get", "/projects/{project_id}/agents")
    assert "project_id" not in parameters("get", "/projects/{project_id}/agents")
    assert "Idempotency-Key" in parameters("post", "/sessions/{id}/clone")
    assert "path" in parameters("get", "/sessions/{id}/workspace")
    upload = operation("put", "/sessions/{id}/files/{path}")
    assert "application/octet-stream" in upload["requestBody"]["content"] and "502" in upload["responses"]
    events = operation("get", "/sessions/{id}/events")
    assert "text/event-stream" in events["responses"]["200"]["content"]


def test_openapi_knows_every_property_that_is_answered(api, project):
    document = api.ok("GET", "/openapi")
    session = api.session(project_id=project, prompt="p", labels='{"a":"b"}')
    assert set(session) <= set(document["components"]["schemas"]["Session"]["properties"])
    assert "run_id" not in document["components"]["schemas"]["Session"]["properties"]


def test_every_documented_path_is_routed(api):
    document = api.ok("GET", "/openapi")
    for path, item in document["paths"].items():
        concrete = "/".join("x" if s.startswith("{") else s for s in path.split("/"))
        answer = api.raw("PURGE", concrete)
        assert answer.status == 405, (path, answer.status)
        # a variable may also take what is a word of its own elsewhere
        assert {m.strip().lower() for m in answer.headers["Allow"].split(",")} >= set(item), path


def test_openapi_page_for_people(api):
    answer = api.get("/openapi.html")
    assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/html")
    assert b"/sessions/{id}/messages" in answer.body
