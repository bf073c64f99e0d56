"""GET /session_messages: a list over all sessions that always names one. rest-core.md 11.3."""
import pytest

from api_support import expect_error


@pytest.fixture
def session(api):
    session_id = api.session()["id"]
    for i in range(12):
        api.push(session_id, f"text {i}")
    return session_id


def test_the_newest_message(api, session):
    """What a restarted runner asks for, to know where it was."""
    found = api.ok("GET", "/session_messages",
                   query={"search": f"session_id = '{session}'", "orderBy": "seq desc", "size": 1})
    assert (found["kind"], found["page"], found["size"], found["total"]) == ("SessionMessageList", 1, 1, 12)
    assert found["items"] == [api.messages(session)[-1]]


def test_order_paging_and_more_conditions(api, session):
    def seqs(search="", **query):
        found = api.ok("GET", "/session_messages", query={"search": f"session_id = '{session}'{search}", **query})
        assert found["size"] == len(found["items"])
        return [m["seq"] for m in found["items"]], found["total"]
    assert seqs() == (list(range(1, 13)), 12)
    assert seqs(size=5, page=3) == ([11, 12], 12)
    assert seqs(size=5, page=9) == ([], 12) and seqs(size=0) == ([], 12)
    assert seqs(" and seq > 10") == ([11, 12], 2)
    assert seqs(" and (payload = 'text 3' or payload like '%11')", orderBy="seq desc") == ([12, 4], 2)
    assert seqs(" and event_type = 'assistant'") == ([], 0)
    other = api.session()["id"]
    api.push(other, "elsewhere")
    for text in (f"seq < 3 and session_id = '{session}'", f"(session_id = '{session}' and seq < 3)"):
        assert len(api.items("/session_messages", search=text)) == 2


@pytest.mark.parametrize("search", [
    "", "seq > 1", "session_id != 'x'", "session_id in ('x')", "not (session_id = 'x')", "session_id like 'x'",
    "session_id = 'x' or seq > 0", "(session_id = 'x' or seq = 1) and seq > 0"])
def test_without_one_session_there_is_no_list(api, search):
    expect_error(api.get("/session_messages", {"search": search}), 400, 21, "search must hold session_id = '<id>'")


@pytest.mark.parametrize("query", [
    {"search": "session_id = 'x"}, {"search": "session_id = 'x' and hash = 'x'"}, {"search": "updated_at = 'x'"},
    {"search": "session_id = 'x'", "orderBy": "actor"}, {"search": "session_id = 'x'", "size": "many"}])
def test_bad_queries(api, query):
    expect_error(api.get("/session_messages", query), 400, 21)


def test_the_session_s_rights_decide(as_user, as_admin):
    session = as_user("alice").session(prompt="secret")["id"]
    query = {"search": f"session_id = '{session}'"}
    assert len(as_user("alice").items("/session_messages", **query)) == 1
    assert len(as_admin.items("/session_messages", **query)) == 1
    for search in (query["search"], f"session_id = 'nobody' and {query['search']}"):
        expect_error(as_user("bob").get("/session_messages", {"search": search}), 404, 7, "session not found")
    mine = as_user("bob").session()["id"]
    both = f"session_id = '{mine}' and session_id = '{session}'"
    assert as_user("bob").get("/session_messages", {"search": both}).json().get("items", []) == []
    expect_error(as_user("bob").get("/session_messages", {"search": "session_id = 'nobody'"}), 404, 7)


def test_it_is_read_only(api):
    for method in ("POST", "PATCH", "PUT", "DELETE"):
        assert api.call(method, "/session_messages", {}).status == 405
