"""Paging, search, order and projection. rest-core.md 3 and 4."""
import pytest

from api_support import expect_error


@pytest.fixture(scope="module")
def listed(server):
    """A project with seven sessions s0 ... s6; odd ones are Running, s6 has a label."""
    client = server.client()
    client.project("listed")
    for i in range(7):
        session = client.session(name=f"s{i}", project_id="listed", timeout=i * 10,
                                 **({"labels": '{"a":"b"}'} if i == 6 else {}))
        if i % 2:
            client.status(session["id"], phase="Running")
    client.close()
    return "listed"


def names(api, listed, **query):
    return [s["name"] for s in api.items("/sessions", project_id=listed, **query)]


def test_envelope(api, listed):
    body = api.ok("GET", "/sessions", query={"project_id": listed})
    assert list(body) == ["items", "kind", "page", "size", "total"]
    assert (body["kind"], body["page"], body["size"], body["total"]) == ("SessionList", 1, 7, 7)


@pytest.mark.parametrize("query, page, size, first", [
    ({"page": 1, "size": 3}, 1, 3, "s0"), ({"page": 2, "size": 3}, 2, 3, "s3"), ({"page": 3, "size": 3}, 3, 1, "s6"),
    ({"page": 4, "size": 3}, 4, 0, None), ({"page": 0, "size": 3}, 0, 3, "s0"), ({"page": -5, "size": 3}, -5, 3, "s0"),
    ({"size": 0}, 1, 0, None), ({"size": -1}, 1, 7, "s0"), ({"size": 99999}, 1, 7, "s0"),
    ({"page": 9223372036854775807, "size": 9}, 9223372036854775807, 0, None),
    ({"size": "99999999999999999999999"}, 1, 7, "s0"), ({"page": "", "size": ""}, 1, 7, "s0"),
])
def test_paging(api, listed, query, page, size, first):
    body = api.ok("GET", "/sessions", query={"project_id": listed, **query})
    assert (body["page"], body["size"], body["total"]) == (page, size, 7)
    assert len(body["items"]) == size and (body["items"] == [] or body["items"][0]["name"] == first)


@pytest.mark.parametrize("field", ["page", "size"])
@pytest.mark.parametrize("value", ["abc", "1x", "1.5", "-", "0x10"])
def test_a_page_that_is_no_number(api, field, value):
    expect_error(api.get("/sessions", {field: value}), 400, 21)


def test_pages_are_stable_while_rows_change(api, listed):
    first = names(api, listed, page=1, size=4)
    session = api.items("/sessions", project_id=listed)[0]
    api.ok("PATCH", f"/sessions/{session['id']}", {"assigned_user_id": "someone"})
    assert first + names(api, listed, page=2, size=4) == [f"s{i}" for i in range(7)]


def test_order(api, listed):
    assert names(api, listed, orderBy="name desc") == [f"s{i}" for i in range(6, -1, -1)]
    assert names(api, listed, orderBy="timeout desc,name")[:2] == ["s6", "s5"]
    assert names(api, listed, orderBy="created_at asc") == [f"s{i}" for i in range(7)]
    assert names(api, listed, order="name desc", order_by="name desc") == [f"s{i}" for i in range(7)]


@pytest.mark.parametrize("value, reason", [
    ("name  desc", "bad order value 'name  desc'"), ("name DESC", "bad order value 'name DESC'"),
    ("nope", "nope is not a valid field name"), ("run_id", "run_id is not a valid field name"),
    ("(select/**/pg_sleep(9))", None), ("name;drop table sessions", None), ("deleted_at", None)])
def test_order_that_is_no_column(api, value, reason):
    expect_error(api.get("/sessions", {"orderBy": value}), 400, 21, reason)


def test_fields(api, listed):
    item = api.items("/sessions", project_id=listed, fields="name,phase", size=2)
    assert [set(i) for i in item] == [{"id", "name"}, {"id", "name", "phase"}]
    assert set(api.items("/sessions", project_id=listed, fields="labels", size=1)[0]) == {"id"}
    expect_error(api.get("/sessions", {"fields": "name,foo"}), 400, 8,
                 "The following field(s) doesn't exist in `Session`: foo")
    assert api.ok("GET", "/sessions", query={"fields": "name", "search": "name = 'nobody'"})["items"] == []


@pytest.mark.parametrize("search, found", [
    ("name = 's1'", "1"), ("name='s1'", "1"), ("name <> 's1' and name != 's2'", "03456"),
    ("phase = 'Running'", "135"), ("phase != 'Running'", ""), ("not (phase = 'Running')", ""),
    ("phase is null", "0246"), ("PHASE IS NOT NULL", "135"), ("phase is not null", "135"),
    ("name in ('s1','s2')", "12"), ("name not in ('s1','s2')", "03456"), ("name in ()", ""),
    ("name like 's%' and timeout >= 40", "456"), ("name like 'S%'", ""), ("name ilike 'S%'", "0123456"),
    ("name like 's_' and not name like '%3'", "012456"), ("timeout between 10 and 30", "123"),
    ("timeout * 2 = 40", "2"), ("timeout + 5 > 60", "6"), ("timeout % 20 = 10", "135"),
    ("name = 's1' or name = 's2' and phase = 'Running'", "1"), ("(name = 's1' or name = 's3') and timeout > 10", "3"),
    ("sessions.name = 's4'", "4"), ("created_at > '2020-01-01T00:00:00Z'", "0123456"),
    ("created_at < '2020-01-01T00:00:00Z'", ""), ("name = 'it''s'", ""), ("   ", "0123456"),
    ('"name" = \'s5\'', "5"), ("labels like '%\"a\":\"b\"%'", "6"),
])
def test_search(api, listed, search, found):
    assert names(api, listed, search=search) == [f"s{c}" for c in found]


@pytest.mark.parametrize("search, reason", [
    ("name = ", "Failed to parse search query: name ="), ("name", "Failed to parse search query: name"),
    ("name = 's1') or (name = 's2'", "Failed to parse search query: name = 's1') or (name = 's2'"),
    ("name ~= 'x'", "unexpected literal: $regex"), ("name ~! 'x'", "unexpected literal: $nregex"),
    ("foo.bar = 'x'", "foo is not a related resource of Session"),
    ("sessions.a.b = 'x'", "sessions.a.b is not a valid field name"),
    ("nope = 'x'", "nope is not a valid field name"), ("deleted_at is null", "deleted_at is not a valid field name"),
    ("run_id is null", "run_id is not a valid field name"), ("timeout = 'abc'", None), ("name = 5", None),
    ("created_at > 'yesterday'", None), ("name like 5", None), ("(" * 500 + "name = 'x'" + ")" * 500, None),
])
def test_search_that_is_refused(api, search, reason):
    expect_error(api.get("/sessions", {"search": search}), 400, 21, reason)


def test_scope_by_query_and_header(api, listed, project):
    assert names(api, listed) and api.items("/sessions", project_id=project) == []
    headers = {"X-Ambient-Project": project}
    assert api.ok("GET", "/sessions", headers=headers)["total"] == 0
    assert api.ok("GET", "/sessions", query={"project_id": listed}, headers=headers)["total"] == 7
    assert api.ok("GET", "/projects", headers=headers)["total"] >= 2
    for bad in ("a b", "a'b", "a;b", "\u00e4"):
        expect_error(api.get("/sessions", {"project_id": bad}), 400, 8, "invalid project_id format")


def test_the_caller_cannot_end_the_scope_early(api, project):
    """A search that closes a parenthesis used to end the filter that was glued around it."""
    escape = "name != '') or (name != ''"
    agent = api.agent(project, "a")["id"]
    for path in ("/sessions", "/users", "/projects", "/project_settings", f"/projects/{project}/agents",
                 f"/projects/{project}/agents/{agent}/inbox", f"/projects/{project}/agents/{agent}/sessions"):
        expect_error(api.get(path, {"search": escape}), 400, 21, f"Failed to parse search query: {escape}")


def test_a_kept_answer_is_never_older_than_the_last_write(api, project, name):
    """Answers of reads are kept; whoever wrote must not see an older one, in any of its forms."""
    other = api.project(f"empty-{name}")["id"]
    agent = api.agent(project, "a")["id"]

    def seen():
        return {
            "list": api.ok("GET", "/sessions", query={"project_id": project})["total"],
            "header": api.ok("GET", "/sessions", headers={"X-Ambient-Project": project})["total"],
            "of agent": api.ok("GET", f"/projects/{project}/agents/{agent}/sessions")["total"],
        }
    for i in range(100):
        assert set(seen().values()) == {i}
        assert api.ok("GET", "/sessions", headers={"X-Ambient-Project": other})["total"] == 0
        made = api.session(name=f"s{i}", project_id=project, agent_id=agent)
        assert api.ok("GET", f"/sessions/{made['id']}")["name"] == f"s{i}"
        api.ok("PATCH", f"/sessions/{made['id']}", {"name": f"t{i}"})
        assert api.ok("GET", f"/sessions/{made['id']}")["name"] == f"t{i}"
        assert api.items("/sessions", project_id=project, fields="name", size=1, orderBy="created_at desc") == [
            {"id": made["id"], "name": f"t{i}"}]
    assert api.get("/sessions", {"project_id": project}, {"Accept-Encoding": "gzip"}).headers[
        "Content-Encoding"] == "gzip"
    assert api.get("/sessions", {"project_id": project}).headers["Content-Encoding"] is None
