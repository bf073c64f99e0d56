"""Sub-resources that are part of a session's row: clone, repositories, workflow, model, name, export, pod events, and a
project's home. rest-core.md 7 and 11.2."""
import contextlib
import http.server
import json
import threading

import pytest

from api_support import expect_error, free_port, running

URL = "https://git.example/team/tool.git"


def repos(session):
    return json.loads(session["repos"])


# ---- clone ----

def test_a_clone_has_what_the_creator_chose(api, project):
    agent = api.agent(project, "worker")["id"]
    chosen = {"project_id": project, "agent_id": agent, "prompt": "do it", "repo_url": URL, "timeout": 60,
              "llm_model": "m", "llm_temperature": 0, "llm_max_tokens": 7, "assigned_user_id": "bob",
              "workflow_id": "w", "bot_account_name": "bot", "repos": '[{"url":"https://x/y"}]',
              "resource_overrides": '{"cpu":"1"}', "environment_variables": '{"A":"1"}', "labels": '{"a":"b"}',
              "annotations": '{"c":"d"}'}
    source = api.session(**{**chosen, "name": "original"})
    api.status(source["id"], phase="Failed", conditions="[]")
    clone = api.ok("POST", f"/sessions/{source['id']}/clone")
    assert clone["name"] == "original-clone" and clone["parent_session_id"] == source["id"]
    assert clone["id"] != source["id"] and clone["kube_cr_name"] == clone["id"]
    assert {k: clone[k] for k in chosen} == chosen
    assert "phase" not in clone and "conditions" not in clone and "completion_time" not in clone
    assert clone["created_by_user_id"] == "dev-user"
    [first] = api.messages(clone["id"])
    assert (first["event_type"], first["payload"]) == ("user", "do it")
    expect_error(api.post("/sessions/nobody/clone"), 404, 7)


def test_a_clone_of_a_session_outside_of_projects_stays_outside(api, project):
    source = api.session()
    clone = api.ok("POST", f"/sessions/{source['id']}/clone", headers={"X-Ambient-Project": project})
    assert "project_id" not in clone


def test_a_clone_is_its_maker_s(as_user, as_admin, name):
    alice, bob = as_user("alice"), as_user("bob")
    source = alice.session()
    expect_error(bob.post(f"/sessions/{source['id']}/clone"), 403, 4)
    clone = as_admin.ok("POST", f"/sessions/{source['id']}/clone", headers={"Idempotency-Key": name})
    again = as_admin.ok("POST", f"/sessions/{source['id']}/clone", headers={"Idempotency-Key": name})
    assert again["id"] == clone["id"]


def test_a_long_name_is_cut_at_a_character(api):
    source = api.session(name="ü" * 127)
    clone = api.ok("POST", f"/sessions/{source['id']}/clone")
    assert clone["name"] == "ü" * 124 + "-clone"


# ---- repositories ----

def test_repositories_are_added_and_removed(api):
    base = f"/sessions/{api.session()['id']}"
    one = api.ok("POST", base + "/repos", {"url": URL}, status=200)
    assert repos(one) == [{"url": URL, "branch": "main", "name": "tool"}]
    two = api.ok("POST", base + "/repos", {"url": "git@h:team/other", "branch": "b", "auto_push": True}, status=200)
    assert repos(two)[1] == {"url": "git@h:team/other", "branch": "b", "name": "other", "autoPush": True}
    same_name = "https://elsewhere/tool/"
    expect_error(api.post(base + "/repos", {"url": same_name}), 409, 6,
                 'the session already has a repository named "tool"')
    left = api.ok("DELETE", base + "/repos/tool", status=200)
    assert [r["name"] for r in repos(left)] == ["other"]
    assert repos(api.ok("DELETE", base + "/repos/unknown", status=200)) == repos(left)
    assert repos(api.ok("DELETE", base + "/repos/other", status=200)) == []


def test_removing_from_nothing_leaves_nothing(api):
    """DEFECT: the four letters null were stored."""
    session = api.session()
    after = api.ok("DELETE", f"/sessions/{session['id']}/repos/x", status=200)
    assert after == session


def test_old_entries_have_names_too(api):
    session = api.session(repos=json.dumps([{"url": URL}, {"input": {"url": "https://h/a/b.git"}}]))["id"]
    expect_error(api.post(f"/sessions/{session}/repos", {"url": "https://h/other/b"}), 409, 6)
    assert repos(api.ok("DELETE", f"/sessions/{session}/repos/b", status=200)) == [{"url": URL}]
    assert repos(api.ok("DELETE", f"/sessions/{session}/repos/tool", status=200)) == []


def test_the_one_repository_of_repo_url_stays(api):
    session = api.session(repo_url=URL)["id"]
    added = api.ok("POST", f"/sessions/{session}/repos", {"url": "https://h/b"}, status=200)
    assert [r["url"] for r in repos(added)] == [URL, "https://h/b"]
    other = api.session(repo_url=URL)["id"]
    assert "repo_url" not in api.ok("DELETE", f"/sessions/{other}/repos/tool", status=200)


def test_damaged_repos_are_not_replaced(api):
    session = api.session(repos='{"not": "a list"}')["id"]
    expect_error(api.post(f"/sessions/{session}/repos", {"url": URL}), 409, 6)
    expect_error(api.delete(f"/sessions/{session}/repos/x"), 409, 6)
    assert api.ok("GET", f"/sessions/{session}")["repos"] == '{"not": "a list"}'


@pytest.mark.parametrize("body, number, reason", [
    ({}, 8, "url is required"), ({"url": ""}, 8, "url is required"), ({"url": None}, 8, "url is required"),
    ({"url": 5}, 17, None), ("[]", 17, None), ("", 17, None), ("{", 17, None),
    ({"url": "--upload-pack=x"}, 8, "url must not start with '-'"), ({"url": "https://h/a b"}, 8, None),
    ({"url": "https://u:secret@h/x"}, 8, "url must not hold a password: use a credential"),
    ({"url": "https://h/x\n"}, 8, None), ({"url": "https://h/.."}, 8, None),
    ({"url": "https://h/" + "x" * 101}, 8, None),
    ({"url": URL, "branch": "-b"}, 8, "branch must not start with '-'"), ({"url": "x" * 3000}, 8, None)])
def test_bad_repositories(api, body, number, reason):
    session = api.session()["id"]
    expect_error(api.post(f"/sessions/{session}/repos", body), 400, number, reason)


def test_parallel_changes_all_stay(server, api):
    session = api.session()["id"]

    def add(i):
        with contextlib.closing(server.client()) as client:
            client.ok("POST", f"/sessions/{session}/repos", {"url": f"https://h/r{i}"}, status=200)
    threads = [threading.Thread(target=add, args=(i,)) for i in range(12)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(r["name"] for r in repos(api.ok("GET", f"/sessions/{session}"))) == sorted(f"r{i}" for i in range(12))


# ---- workflow, model, name ----

def test_workflow(api):
    session = api.session()["id"]
    assert api.ok("GET", f"/sessions/{session}/workflow/metadata") == {"workflow": None}
    after = api.ok("POST", f"/sessions/{session}/workflow", {"git_url": URL, "path": "flows/a"}, status=200)
    assert after["workflow_id"] == '{"git_url":"%s","branch":"main","path":"flows/a"}' % URL
    shown = api.ok("GET", f"/sessions/{session}/workflow/metadata")
    assert shown == {"workflow": {"git_url": URL, "branch": "main", "path": "flows/a"}}
    api.ok("PATCH", f"/sessions/{session}", {"workflow_id": "plain-id"})
    assert api.ok("GET", f"/sessions/{session}/workflow/metadata") == {"raw": "plain-id", "workflow": None}
    expect_error(api.post(f"/sessions/{session}/workflow", {}), 400, 8, "git_url is required")
    expect_error(api.post(f"/sessions/{session}/workflow", {"git_url": URL, "path": "-x"}), 400, 8)
    expect_error(api.get("/sessions/nobody/workflow/metadata"), 404, 7)


def test_model_and_name(api):
    session = api.session()["id"]
    assert api.ok("POST", f"/sessions/{session}/model", {"model": "m2"}, status=200)["llm_model"] == "m2"
    expect_error(api.post(f"/sessions/{session}/model", {}), 400, 8, "model is required")
    named = api.ok("PATCH", f"/sessions/{session}/displayname", {"name": "new"})
    assert named == {"href": f"/api/ambient/v1/sessions/{session}", "id": session, "kind": "Session"}
    assert api.ok("GET", f"/sessions/{session}")["name"] == "new"
    expect_error(api.patch(f"/sessions/{session}/displayname", {"name": ""}), 400, 8, "name is required")
    expect_error(api.patch(f"/sessions/{session}/displayname", {"name": "x" * 256}), 400, 8)
    expect_error(api.patch("/sessions/nobody/displayname", {"name": "x"}), 404, 7)


# ---- the runner is told ----

class Runner(http.server.BaseHTTPRequestHandler):
    told, status = [], 200

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Runner.told.append((self.path.split("/runner")[1], json.loads(body)))
        answer = b'{"message":"ok"}' if Runner.status == 200 else b'{"detail":"a turn is running"}'
        self.send_response(Runner.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    runner = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Runner)
    threading.Thread(target=runner.serve_forever, daemon=True).start()
    env = {"RUNNER_URL_TEMPLATE": f"http://127.0.0.1:{runner.server_port}/{{id}}/runner"}
    with running(tmp_path_factory.mktemp("told"), env=env) as server:
        yield server
    runner.shutdown()
    runner.server_close()


CHANGES = [("POST", "/repos", {"url": URL}, "/repos/add", {"url": URL, "branch": "main"}),
           ("DELETE", "/repos/tool", None, "/repos/remove", {"name": "tool"}),
           ("POST", "/model", {"model": "m"}, "/model", {"model": "m"}),
           ("POST", "/workflow", {"git_url": URL, "branch": "b"}, "/workflow",
            {"gitUrl": URL, "branch": "b", "path": ""})]


@pytest.mark.parametrize("method, path, body, target, sent", CHANGES)
def test_a_running_runner_is_told(told, method, path, body, target, sent):
    """DEFECT: the row changed and the runner never heard of it."""
    client = told.client()
    session = client.session()["id"]
    Runner.told.clear()
    Runner.status = 200
    client.ok(method, f"/sessions/{session}{path}", body, status=200)
    assert not Runner.told  # nobody runs it yet
    client.ok("PATCH", f"/sessions/{session}", {"repos": "[]"})
    client.status(session, phase="Running", kube_namespace="local")
    client.ok(method, f"/sessions/{session}{path}", body, status=200)
    assert Runner.told == [(target, sent)]
    Runner.status = 422
    client.ok("PATCH", f"/sessions/{session}", {"repos": "[]", "llm_model": "other", "workflow_id": None})
    refused = client.call(method, f"/sessions/{session}{path}", body)
    expect_error(refused, 502, 9,
                 "the change is stored, but the session's runner did not take it: a turn is running")
    after = client.ok("GET", f"/sessions/{session}")
    assert after["llm_model"] == "m" if path == "/model" else True
    assert "workflow_id" in after if path == "/workflow" else True
    assert repos(after)[0]["url"] == URL if path == "/repos" else True


def test_a_runner_that_cannot_be_reached_keeps_the_row(tmp_path):
    with running(tmp_path, env={"RUNNER_URL_TEMPLATE": f"http://127.0.0.1:{free_port()}/{{id}}"}) as server:
        client = server.client()
        session = client.session()["id"]
        client.status(session, phase="Running", kube_namespace="local")
        expect_error(client.post(f"/sessions/{session}/model", {"model": "kept"}), 502, 9,
                     "the change is stored, but the session's runner did not take it: runner not reachable")
        assert client.ok("GET", f"/sessions/{session}")["llm_model"] == "kept"


# ---- reads ----

def test_export_is_everything(api):
    """DEFECT: an export held no data."""
    session = api.session(prompt="p")
    for i in range(3):
        api.push(session["id"], f"text {i}")
    export = api.ok("GET", f"/sessions/{session['id']}/export")
    assert set(export) == {"export_at", "session", "version", "messages"} and export["version"] == "1"
    assert export["session"] == api.ok("GET", f"/sessions/{session['id']}")
    assert export["messages"] == api.messages(session["id"]) and len(export["messages"]) == 4
    expect_error(api.get("/sessions/nobody/export"), 404, 7, "session not found")


def test_a_long_export_is_streamed(server, api):
    def rss():
        for line in open(f"/proc/{server.process.pid}/status"):
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    session = api.session()["id"]
    for i in range(60):
        api.push(session, f"{i} " + "x" * 900_000)
    before = rss()
    got = api.get(f"/sessions/{session}/export")
    assert "Content-Length" not in got.headers
    assert [m["seq"] for m in got.json()["messages"]] == list(range(1, 61))
    assert rss() - before < 40_000, "54 MB of messages were held in memory"


def test_pod_events_are_what_was_reported(api):
    session = api.session()["id"]
    assert api.ok("GET", f"/sessions/{session}/pod-events") == []
    conditions = [{"type": "Ready", "status": "True", "reason": "RunnerReady", "message": "it answers",
                   "lastTransitionTime": "2026-01-02T03:04:05Z"},
                  {"type": "Image", "status": "False", "reason": "ImagePullBackOff", "message": "no \"image\"",
                   "lastTransitionTime": "2026-01-02T03:04:06Z"}, {"type": "Empty", "status": "True"}, 5]
    api.status(session, conditions=json.dumps(conditions))
    good, bad = api.ok("GET", f"/sessions/{session}/pod-events")
    assert (good["type"], good["reason"], good["message"]) == ("Normal", "RunnerReady", "it answers")
    assert (bad["type"], bad["reason"], bad["message"]) == ("Warning", "ImagePullBackOff", 'no "image"')
    assert bad["timestamp"] == bad["lastTimestamp"] == "2026-01-02T03:04:06Z"
    api.status(session, conditions='{"no": "list"}')
    assert api.ok("GET", f"/sessions/{session}/pod-events") == []
    expect_error(api.get("/sessions/nobody/pod-events"), 404, 7, "session not found")


def test_oauth_is_not_implemented(api):
    session = api.session()["id"]
    expect_error(api.get(f"/sessions/{session}/oauth/google/url"), 501, 10, "not yet implemented")
    expect_error(api.get("/sessions/nobody/oauth/google/url"), 404, 7, "session not found")


def test_home(api, project):
    one = api.agent(project, "one", description="first line\nsecond")["id"]
    two = api.agent(project, "two")["id"]
    api.ok("POST", f"/projects/{project}/agents/{two}/inbox", {"agent_id": two, "body": "hello"})
    session = api.ok("POST", f"/projects/{project}/agents/{one}/start", {})["session"]["id"]
    home = api.ok("GET", f"/projects/{project}/home")
    assert home["project_id"] == project and home["total"] == 2
    assert home["agents"] == [
        {"agent_id": one, "agent_name": "one", "inbox_unread_count": 0, "session_id": session,
         "session_phase": "Pending", "summary": "first line"},
        {"agent_id": two, "agent_name": "two", "inbox_unread_count": 1, "session_id": "", "session_phase": "",
         "summary": ""}]
    expect_error(api.get("/projects/nobody/home"), 404, 7)


def test_home_is_the_owner_s(as_user, name):
    alice = as_user("alice")
    project = alice.project(f"home-{name}")["id"]
    assert alice.ok("GET", f"/projects/{project}/home")["agents"] == []
    expect_error(as_user("bob").get(f"/projects/{project}/home"), 404, 7)
