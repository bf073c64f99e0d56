"""Files, git and feedback over the runner's HTTP interface: the paths of the reference and those of the API server."""
import base64
import json
import os
import subprocess

import pytest

from runner_support import wait_until


@pytest.fixture
def runner(api, runners):
    return runners(api, api.session(), INTERACTIVE="true", AMBIENT_GIT_PROTOCOLS="https:ssh:file").start().ready()


def post(runner, path, body, method="POST"):
    return runner.ask(method, path, json.dumps(body))


def raw(runner, method, path, body=None):
    connection, response = runner.request(method, path, body)
    data = response.read()
    connection.close()
    return response.status, data


def git(directory, *args):
    env = {"PATH": os.environ["PATH"], "HOME": str(directory), "GIT_CONFIG_GLOBAL": "/dev/null"}
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@t", *args]
    return subprocess.run(command, cwd=directory, env=env, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def upstream(tmp_path):
    """A bare repository with branches main and topic; its URL."""
    work, bare = tmp_path / "work", tmp_path / "tool.git"
    work.mkdir()
    git(work, "init", "-q", "-b", "main")
    (work / "a.txt").write_text("one\n")
    git(work, "add", ".")
    git(work, "commit", "-qm", "first")
    git(work, "branch", "topic")
    git(tmp_path, "clone", "-q", "--bare", str(work), str(bare))
    return f"file://{bare}"


# ---- files ----

def test_files_are_bytes(runner):
    content = bytes(range(256)) * 300
    body = {"path": "/deep/down/x.bin", "encoding": "base64", "content": base64.b64encode(content).decode()}
    assert post(runner, "/content/write", body) == (200, {"message": "ok"})
    assert raw(runner, "GET", "/content/file?path=/deep/down/x.bin") == (200, content)
    assert raw(runner, "GET", "/workspace/deep/down/x.bin") == (200, content)
    with open(os.path.join(runner.workspace, "deep/down/x.bin"), "rb") as f:
        assert f.read() == content
    assert post(runner, "/content/write", {"path": "text", "content": "é\n"})[0] == 200
    assert raw(runner, "GET", "/content/file?path=text")[1] == "é\n".encode()
    listed = runner.ask("GET", "/content/list?path=/deep/down")[1]["items"]
    assert [(i["name"], i["path"], i["isDir"], i["size"]) for i in listed] == \
        [("x.bin", "/deep/down/x.bin", False, len(content))]
    assert listed[0]["modifiedAt"].endswith("Z")
    one = runner.ask("GET", "/content/list?path=deep/down/x.bin")[1]["items"]
    assert one == listed
    assert raw(runner, "DELETE", "/content/delete", json.dumps({"path": "deep/down/x.bin"}))[0] == 200
    assert runner.ask("GET", "/content/file?path=deep/down/x.bin") == (404, {"detail": "not found"})
    assert post(runner, "/content/delete", {"path": "deep/down/x.bin"}, "DELETE") == (404, {"detail": "file not found"})


def test_both_families_of_paths(runner):
    assert raw(runner, "PUT", "/workspace/a/b.txt", b"\x00\xff")[0] == 200
    assert raw(runner, "GET", "/workspace/a/b.txt") == (200, b"\x00\xff")
    assert [f["name"] for f in runner.ask("GET", "/workspace?path=a")[1]["files"]] == ["b.txt"]
    assert runner.ask("GET", "/files")[1] == {"files": []}
    assert raw(runner, "PUT", "/files/up/load.txt", b"hello")[0] == 200
    assert raw(runner, "GET", "/content/file?path=file-uploads/up/load.txt") == (200, b"hello")
    assert raw(runner, "GET", "/files/up/load.txt") == (200, b"hello")
    assert [f["name"] for f in runner.ask("GET", "/files?path=up")[1]["files"]] == ["load.txt"]
    assert raw(runner, "DELETE", "/files/up/load.txt")[0] == 200
    assert raw(runner, "DELETE", "/workspace/a/b.txt")[0] == 200


def test_a_large_file_streams(api, runners):
    options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"  # a sanitizer keeps what was freed
    runner = runners(api, api.session(), INTERACTIVE="true", ASAN_OPTIONS=options).start().ready()
    with open(os.path.join(runner.workspace, "large"), "wb") as f:
        for i in range(64):
            f.write(bytes([i]) * (1 << 20))

    def rss():
        with open(f"/proc/{runner.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    before = rss()
    status, data = raw(runner, "GET", "/workspace/large")
    assert status == 200 and len(data) == 64 << 20 and data[-1] == 63
    assert rss() - before < 20_000, "the file was held in memory"
    assert raw(runner, "POST", "/content/write", b"x" * (25 << 20))[0] == 413


@pytest.mark.parametrize("path", ["../x", "/../x", "a/../../x", "%2e%2e/x", "link/passwd", "abs", "%ff", ""])
def test_no_way_out(runner, path):
    outside = os.path.join(runner.directory, "x")
    with open(outside, "w") as f:
        f.write("outside")
    os.symlink("/etc", os.path.join(runner.workspace, "link"))
    os.symlink(outside, os.path.join(runner.workspace, "abs"))
    assert raw(runner, "GET", f"/content/file?path={path}")[0] == 400
    if path in ("abs", "%ff"):
        return
    text = path.replace("%2e", ".")
    assert post(runner, "/content/write", {"path": text, "content": "bad"})[0] == 400
    assert post(runner, "/content/delete", {"path": text}, "DELETE")[0] == 400
    with open(outside) as f:
        assert f.read() == "outside"


def test_bad_bodies(runner):
    for body in ({}, {"path": "x"}, {"content": "x"}, {"path": "x", "content": 5}, {"path": 5, "content": "x"},
                 {"path": "x", "content": "***", "encoding": "base64"}):
        assert post(runner, "/content/write", body)[0] == 400, body
    for body in ("[]", "{", '"x"'):
        assert raw(runner, "POST", "/content/write", body)[0] == 422


def test_every_new_path_wants_the_token(runner):
    for method, path in (("GET", "/content/list"), ("GET", "/content/file?path=x"), ("POST", "/content/write"),
                         ("DELETE", "/content/delete"), ("GET", "/workspace"), ("PUT", "/workspace/x"),
                         ("GET", "/files"), ("DELETE", "/files/x"), ("GET", "/content/git-status"),
                         ("POST", "/content/git-configure-remote"), ("GET", "/repos/status"), ("POST", "/repos/add"),
                         ("POST", "/repos/remove"), ("POST", "/workflow"), ("POST", "/model"),
                         ("GET", "/mcp/status"), ("POST", "/feedback"), ("GET", "/tasks"),
                         ("POST", "/tasks/x/stop"), ("GET", "/tasks/x/output")):
        for token in (None, "wrong"):
            assert runner.ask(method, path, token=token) == (401, {"detail": "Unauthorized"}), path


# ---- repositories at start ----

def start_with(api, runners, repos, **env):
    return runners(api, api.session(), INTERACTIVE="true", AMBIENT_GIT_PROTOCOLS="file", REPOS_JSON=json.dumps(repos),
                   **env)


def test_repositories_are_there_before_the_first_turn(api, runners, upstream):
    """DEFECT of runner.md 1: a session with a repository worked in an empty folder."""
    sid = api.session()
    api.send(sid, "pwd; git branch --show-current; cat a.txt; ls ../other")
    runner = runners(api, sid, INTERACTIVE="true", AMBIENT_GIT_PROTOCOLS="file", REPOS_JSON=json.dumps([
        {"url": upstream, "branch": "topic"}, {"url": upstream, "name": "other", "branch": "made-here"}])).start()
    wait_until("the turn", lambda: "run_finished" in api.lifecycle(sid))
    [said] = api.payloads(sid, "assistant")
    place = os.path.realpath(os.path.join(runner.workspace, "repos/tool"))
    assert said.split("\n")[:4] == [place, "topic", "one", "a.txt"]
    notices = api.payloads(sid, "system")
    assert f"{upstream} (branch topic) is in repos/tool." in notices
    assert f"{upstream} (branch made-here) is in repos/other." in notices
    status, body = runner.ask("GET", "/repos/status")
    assert status == 200
    tool, other = body["repos"]
    assert (tool["url"], tool["name"], tool["status"]) == (upstream, "tool", "Ready") and tool["clonedAt"]
    assert (tool["currentActiveBranch"], tool["defaultBranch"]) == ("topic", "main")
    assert other["branches"] == ["made-here", "main"] and other["currentActiveBranch"] == "made-here"
    session = api.call("GET", f"/sessions/{sid}")  # the API server keeps what the runner said
    kept = [(r["url"], r["name"], r["status"], r["currentActiveBranch"], r["defaultBranch"])
            for r in json.loads(session["reconciled_repos"])]
    assert kept == [(upstream, "tool", "Ready", "topic", "main"), (upstream, "other", "Ready", "made-here", "main")]
    assert "reconciled_workflow" not in session


def test_a_repository_that_cannot_be_cloned_is_told_and_does_not_stop_the_session(api, runners, upstream, tmp_path):
    sid = api.session()
    api.send(sid, "echo still here")
    runner = runners(api, sid, INTERACTIVE="true", AMBIENT_GIT_PROTOCOLS="file", REPOS_JSON=json.dumps([
        {"url": f"file://{tmp_path}/nothing.git"}, {"url": "ext::sh -c touch% /tmp/pwned"},
        {"url": upstream, "name": "../x"}, {"input": {"url": upstream}}, {"url": upstream}])).start()
    wait_until("the turn", lambda: api.payloads(sid, "assistant"))
    notices = "\n".join(api.payloads(sid, "system"))
    assert "nothing.git could not be cloned: git failed" in notices
    assert notices.count("A repository of the session is left out") == 3
    states = {r["name"]: r["status"] for r in runner.ask("GET", "/repos/status")[1]["repos"]}
    assert states == {"nothing": "Failed", "tool": "Ready"}
    assert os.listdir(os.path.join(runner.workspace, "repos")) == ["tool"]  # nothing half made is left


def test_a_second_runner_keeps_the_agents_work(api, runners, upstream):
    runner = start_with(api, runners, [{"url": upstream}]).start().ready()
    sid = runner.env["SESSION_ID"]
    wait_until("clone", lambda: runner.ask("GET", "/repos/status")[1]["repos"][0]["status"] == "Ready")
    with open(os.path.join(runner.workspace, "repos/tool/a.txt"), "w") as f:
        f.write("changed\n")
    assert runner.terminate() == 0
    runner.start().ready()
    api.send(sid, "cat a.txt")
    wait_until("the turn", lambda: api.payloads(sid, "assistant") == ["changed"])


def test_hooks_and_templates_of_nobody_run(api, runners, upstream, tmp_path):
    """What lies in the home directory's template, or a hook that the agent put into a repository, is not run by us."""
    mark = tmp_path / "mark"
    template = tmp_path / "template/hooks"
    template.mkdir(parents=True)
    (template / "post-checkout").write_text(f"#!/bin/sh\ntouch {mark}\n")
    (template / "post-checkout").chmod(0o755)
    runner = start_with(api, runners, [{"url": upstream, "branch": "new"}], GIT_TEMPLATE_DIR=str(tmp_path / "template"),
                        GIT_EXEC_PATH=str(template), GIT_TRACE=str(mark), GIT_SSH_COMMAND=f"touch {mark}")
    runner.start().ready()
    wait_until("clone", lambda: runner.ask("GET", "/repos/status")[1]["repos"][0]["status"] == "Ready")
    repo = os.path.join(runner.workspace, "repos/tool")
    for name in ("core.fsmonitor", "core.hooksPath"):
        git(repo, "config", name, str(template))
    (template / "query-watchman").write_text(f"#!/bin/sh\ntouch {mark}\n")
    assert runner.ask("GET", "/content/git-status?path=repos/tool")[0] == 200
    assert not mark.exists()


# ---- git ----

def test_git_status(api, runners, upstream):
    runner = start_with(api, runners, [{"url": upstream}]).start().ready()
    wait_until("clone", lambda: runner.ask("GET", "/repos/status")[1]["repos"][0]["status"] == "Ready")
    status, clean = runner.ask("GET", "/content/git-status?path=repos/tool")
    assert status == 200 and clean["initialized"] and not clean["hasChanges"]
    assert (clean["branch"], clean["hasRemote"], clean["remoteUrl"]) == ("main", True, upstream)
    repo = os.path.join(runner.workspace, "repos/tool")
    with open(os.path.join(repo, "a.txt"), "a") as f:
        f.write("two\nthree\n")
    with open(os.path.join(repo, "new file"), "w") as f:
        f.write("x")
    dirty = runner.ask("GET", "/git/status")[1]  # the place where the agent works
    assert (dirty["modified"], dirty["untracked"], dirty["staged"]) == (["a.txt"], ["new file"], [])
    assert (dirty["uncommittedFiles"], dirty["filesAdded"], dirty["totalAdded"], dirty["totalRemoved"]) == (2, 1, 2, 0)
    assert sorted(runner.ask("GET", "/content/git-list-branches?path=repos/tool")[1]["branches"]) == ["main", "topic"]
    assert sorted(runner.ask("GET", "/git/branches?path=repos/tool")[1]) == ["main", "topic"]
    assert runner.ask("GET", "/content/git-status?path=artifacts") == (200, {"initialized": False, "hasChanges": False})
    assert runner.ask("GET", "/content/git-status?path=../..")[0] == 400
    git(runner.directory, "init", "-q")  # the workspace lies in a repository that is not the session's
    assert runner.ask("GET", "/content/git-status?path=artifacts") == (200, {"initialized": False, "hasChanges": False})
    git(repo, "remote", "set-url", "origin", "https://user:pa55w0rd@h/x.git")
    assert runner.ask("GET", "/content/git-status?path=repos/tool")[1]["remoteUrl"] == "https://h/x.git"


def test_configure_remote(runner, upstream):
    os.makedirs(os.path.join(runner.workspace, "mine"))
    for url in (upstream, upstream + "/"):
        status, body = post(runner, "/content/git-configure-remote", {"path": "mine", "remoteUrl": url})
        assert (status, body) == (200, {"message": "remote configured", "remote": url, "branch": "main"})
        assert git(os.path.join(runner.workspace, "mine"), "config", "remote.origin.url").strip() == url
    assert sorted(runner.ask("GET", "/content/git-list-branches?path=mine")[1]["branches"]) == ["main", "topic"]
    for body in ({"path": "mine", "remoteUrl": "ext::sh -c id"}, {"path": "mine", "remoteUrl": "--upload-pack=x"},
                 {"path": "mine"}, {"path": "mine", "remoteUrl": upstream, "branch": "-x"},
                 {"path": "../mine", "remoteUrl": upstream}, {"path": "nowhere", "remoteUrl": upstream}):
        assert post(runner, "/content/git-configure-remote", body)[0] == 400, body


# ---- repositories and workflow of a running session ----

def test_add_and_remove(runner, upstream):
    status, body = post(runner, "/repos/add", {"url": upstream, "branch": "topic"})
    assert (status, body["name"], body["newly_cloned"]) == (200, "tool", True)
    assert os.path.exists(os.path.join(body["path"], "a.txt"))
    assert post(runner, "/repos/add", {"url": upstream})[1]["newly_cloned"] is False
    assert post(runner, "/repos/add", {"url": upstream + "/", "name": "tool"})[0] == 409
    failed = post(runner, "/repos/add", {"url": upstream + ".missing"})
    assert failed[0] == 502 and failed[1]["detail"].startswith("Failed to clone repository: ")
    for body in ({}, {"url": ""}, {"url": "-x"}, {"url": "http://h/x"}, {"url": upstream, "name": "../x"},
                 {"url": upstream, "branch": "--x"}):
        assert post(runner, "/repos/add", body)[0] == 400, body
    for name in ("", ".", "..", "../file-uploads", "/etc"):
        assert post(runner, "/repos/remove", {"name": name})[0] == 400, name
    assert os.path.isdir(os.path.join(runner.workspace, "repos/tool"))
    assert post(runner, "/repos/remove", {"name": "tool"}) == (200, {"message": "Repository removed"})
    assert not os.path.exists(os.path.join(runner.workspace, "repos/tool"))
    assert post(runner, "/repos/remove", {"name": "tool"})[0] == 200


def test_workflow(api, runner, upstream, tmp_path):
    body = {"gitUrl": upstream, "branch": "main", "path": ""}
    assert post(runner, "/workflow", body) == (200, {"message": "Workflow updated", **body})
    assert post(runner, "/workflow", body)[1]["message"] == "Workflow already active"
    sid = runner.env["SESSION_ID"]
    api.send(sid, "pwd")
    wait_until("the turn", lambda: api.payloads(sid, "assistant"))
    assert api.payloads(sid, "assistant")[0].strip().endswith("/workflows/tool")
    kept = json.loads(api.call("GET", f"/sessions/{sid}")["reconciled_workflow"])
    assert (kept["url"], kept["status"], kept["currentActiveBranch"]) == (upstream, "Ready", "main")
    failed = post(runner, "/workflow", {"gitUrl": upstream + ".missing", "branch": "main"})
    assert failed[0] == 502 and "Failed to clone workflow" in failed[1]["detail"]
    assert post(runner, "/workflow", {"gitUrl": "ext::x"})[0] == 400


def test_workflow_metadata(runner, upstream, tmp_path):
    assert runner.ask("GET", "/content/workflow-metadata") == (400, {"detail": "missing session parameter"})
    empty = {"commands": [], "agents": [], "config": {"artifactsDir": "artifacts"}}
    assert runner.ask("GET", "/content/workflow-metadata?session=x") == (200, empty)
    work = tmp_path / "work"
    plan = '---\nname: "Make a plan"\ndescription: plans: all\norder: 3\n---\nx'
    for name, text in ((".claude/commands/plan.md", plan),
                       (".claude/commands/bare.md", "no front matter\nname: no"), (".claude/commands/not.txt", "x"),
                       (".claude/agents/helper.md", "---\nname: Helper\ntools: Read, Write\n---\n"),
                       (".ambient/ambient.json", '{"name":"Flow","systemPrompt":"s","startupPrompt":"hidden"}')):
        (work / "sub" / name).parent.mkdir(parents=True, exist_ok=True)
        (work / "sub" / name).write_text(text)
    git(work, "add", ".")
    git(work, "commit", "-qm", "flow")
    git(work, "push", "-q", upstream, "main")
    assert post(runner, "/workflow", {"gitUrl": upstream, "branch": "main", "path": "sub"})[0] == 200
    status, body = runner.ask("GET", "/content/workflow-metadata?session=x")
    assert status == 200 and body["config"] == {"name": "Flow", "systemPrompt": "s", "artifactsDir": "artifacts"}
    assert body["agents"] == [{"id": "helper", "name": "Helper", "description": "", "tools": "Read, Write"}]
    assert body["commands"] == [
        {"id": "bare", "name": "bare", "description": "", "slashCommand": "/bare", "icon": "", "order": 0},
        {"id": "plan", "name": "Make a plan", "description": "plans: all", "slashCommand": "/plan", "icon": "",
         "order": 3}]


# ---- model, tasks, servers, feedback ----

def test_model(api, runner):
    sid = runner.env["SESSION_ID"]
    assert post(runner, "/model", {}) == (400, {"detail": "model is required"})
    assert post(runner, "/model", {"model": "m1"}) == (200, {"message": "Model switched", "model": "m1",
                                                             "previousModel": ""})
    assert post(runner, "/model", {"model": "m1"}) == (200, {"message": "Model unchanged", "model": "m1"})
    assert post(runner, "/model", {"model": "--x"})[0] == 400
    api.send(sid, "until [ -e go ]; do sleep 0.05; done")
    wait_until("the turn", lambda: "run_started" in api.lifecycle(sid))
    assert post(runner, "/model", {"model": "m2"})[0] == 422
    open(os.path.join(runner.workspace, "go"), "w").close()
    wait_until("its end", lambda: "run_finished" in api.lifecycle(sid))
    assert post(runner, "/model", {"model": "m2"})[1]["previousModel"] == "m1"

    def switched():
        return [json.loads(p)["value"]["newModel"] for p in api.payloads(sid, "system") if "model_switched" in p]
    wait_until("the records", lambda: switched() == ["m1", "m2"])


def test_an_agent_without_tasks_and_servers(runner):
    for prefix in ("", "/agui"):
        assert runner.ask("GET", f"{prefix}/tasks") == (200, {"tasks": [], "total": 0})
        assert runner.ask("GET", f"{prefix}/tasks/t-1/output") == (404, {"detail": "Task not found"})
        assert runner.ask("GET", f"{prefix}/tasks/a.b/output")[0] == 400
        assert post(runner, f"{prefix}/tasks/t-1/stop", {})[0] == 404
    assert runner.ask("GET", "/mcp/status") == (200, {"servers": [], "totalCount": 0})


def test_configured_servers_wait(api, runners):
    config = json.dumps({"mcpServers": {"one": {"command": "x"}, "two": {"type": "sse", "url": "http://h"}}})
    runner = runners(api, api.session(), INTERACTIVE="true", MCP_CONFIG=config).start().ready()
    status, body = runner.ask("GET", "/mcp/status")
    assert status == 200 and body["totalCount"] == 2
    assert [(s["name"], s["status"]) for s in body["servers"]] == [("one", "pending"), ("two", "pending")]


def test_feedback_is_kept_in_the_log(api, runner):
    body = {"type": "META", "metaType": "thumbs_up", "payload": {"comment": "good", "messageId": "m"}}
    for path in ("/feedback", "/agui/feedback"):
        status, answer = post(runner, path, body)
        assert (status, answer["type"]) == (200, "RAW")
        assert answer["event"] == {"name": "ambient:feedback", "metaType": "thumbs_up", "payload": body["payload"],
                                   "recorded": True}
    sid = runner.env["SESSION_ID"]
    kept = wait_until("the record", lambda: [p for p in api.payloads(sid, "user_feedback")])
    assert json.loads(kept[0]) == body
    for bad, status in (({**body, "type": "X"}, 400), ({**body, "metaType": "x"}, 400), ({**body, "payload": 5}, 422)):
        assert post(runner, "/feedback", bad)[0] == status
