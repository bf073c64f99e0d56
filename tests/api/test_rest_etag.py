"""Entity tags: If-None-Match saves a transfer, If-Match refuses to overwrite what its sender has not seen.
rest-core.md 2.2, RFC 9110 13.1."""
import concurrent.futures

import pytest

from api_support import expect_error


def test_a_tag_changes_when_the_object_does(api):
    session = api.session()["id"]
    first = api.get(f"/sessions/{session}")
    tag = first.headers["ETag"]
    assert tag.startswith('"') and tag.endswith('"')
    assert api.get(f"/sessions/{session}").headers["ETag"] == tag
    changed = api.patch(f"/sessions/{session}", {"name": "other"})
    assert changed.status == 200 and changed.headers["ETag"] != tag
    assert api.get(f"/sessions/{session}").headers["ETag"] == changed.headers["ETag"]
    assert api.post("/sessions", {"name": "n"}).headers["ETag"]
    assert "ETag" not in api.get("/sessions").headers


def test_what_the_client_has_is_not_sent_again(api):
    session = api.session(prompt="long " * 1000)["id"]
    tag = api.get(f"/sessions/{session}").headers["ETag"]
    packed = api.get(f"/sessions/{session}", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and packed.headers["ETag"] == tag[:-1] + '-gzip"'
    for sent in (tag, f"W/{tag}", f'"x", {tag}', f'"x",W/{tag} ', "*", packed.headers["ETag"]):
        for _ in range(2):  # the second one is answered out of the cache
            same = api.get(f"/sessions/{session}", headers={"If-None-Match": sent})
            assert (same.status, same.body) == (304, b""), sent
            assert same.headers["ETag"] == tag and "Content-Type" not in same.headers
    for sent in ('"x"', tag[1:-1], "", "W/", '"', tag[:-1]):
        assert api.get(f"/sessions/{session}", headers={"If-None-Match": sent}).status == 200, sent
    api.patch(f"/sessions/{session}", {"name": "other"})
    assert api.get(f"/sessions/{session}", headers={"If-None-Match": tag}).status == 200


@pytest.mark.parametrize("change", ["patch", "status", "start", "model", "delete"])
def test_a_change_of_an_older_state_is_refused(api, change):
    session = api.session()["id"]
    old = api.get(f"/sessions/{session}").headers["ETag"]
    api.patch(f"/sessions/{session}", {"name": "meanwhile"})
    method, path, body = {"patch": ("PATCH", "", {"name": "mine"}), "status": ("PATCH", "/status", {"phase": "Failed"}),
                          "start": ("POST", "/start", None), "model": ("POST", "/model", {"model": "m"}),
                          "delete": ("DELETE", "", None)}[change]
    before = api.get(f"/sessions/{session}")
    for tag in (old, "W/" + before.headers["ETag"], '"x"'):
        refused = api.call(method, f"/sessions/{session}{path}", body, headers={"If-Match": tag})
        expect_error(refused, 412, 8, "the object was changed meanwhile: its ETag is not the one in If-Match")
    assert api.get(f"/sessions/{session}").body == before.body
    tags = f'"x", {before.headers["ETag"]}'
    assert api.call(method, f"/sessions/{session}{path}", body, headers={"If-Match": tags}).status in (200, 204)


def test_any_state_is_a_state(api, name):
    project = api.project(f"etag-{name}")["id"]
    assert api.patch(f"/projects/{project}", {"description": "d"}, headers={"If-Match": "*"}).status == 200
    agent = api.agent(project, "a")["id"]
    path = f"/projects/{project}/agents/{agent}"
    tag = api.get(path).headers["ETag"]
    assert api.get(f"/agents/{agent}").headers["ETag"] == tag
    assert api.patch(path, {"prompt": "p"}, headers={"If-Match": tag}).status == 200
    expect_error(api.patch(path, {"prompt": "q"}, headers={"If-Match": tag}), 412, 8)
    expect_error(api.delete("/sessions/nobody", headers={"If-Match": "*"}), 412, 8)
    assert api.delete("/sessions/nobody").status == 204


def test_the_tag_says_nothing_about_what_may_not_be_seen(as_user):
    session = as_user("alice").session()["id"]
    expect_error(as_user("bob").patch(f"/sessions/{session}", {"name": "x"}, headers={"If-Match": '"x"'}), 403, 4)


def test_of_many_that_saw_the_same_state_one_wins(server, api):
    session = api.session(labels='{"n":"0"}')["id"]
    tag = api.get(f"/sessions/{session}").headers["ETag"]

    def change(i):
        client = server.client()
        status = client.patch(f"/sessions/{session}", {"name": f"n{i}"}, headers={"If-Match": tag}).status
        client.close()
        return status
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(change, range(64)))
    assert sorted(statuses) == [200] + [412] * 63


def test_null_clears(api):
    session = api.session(labels='{"a":"b"}', timeout=5, repo_url="https://h/x")["id"]
    after = api.ok("PATCH", f"/sessions/{session}", {"labels": None, "timeout": None, "repo_url": None})
    assert not {"labels", "timeout", "repo_url"} & set(after)
    expect_error(api.patch(f"/sessions/{session}", {"name": None}), 400, 8)
