"""A session's sub-resources on the laptop's platform, from the API through the control plane to its runner."""
import json
import subprocess
import urllib.error
import urllib.request

import pytest

from platform_support import DEADLINE, wait_until


@pytest.fixture
def session(platform):
    """A session that waits for messages; and a call below it, with bytes in and out."""
    sid = platform.shell_session("echo ready", interactive=True)
    wait_until("first answer", lambda: any(m["event_type"] == "assistant" for m in platform.messages(sid)))
    with open(f"{platform.data}/token") as f:
        token = f.read().strip()
    base = f"{platform.status()['http']}/api/ambient/v1/sessions/{sid}"

    def call(method, path, body=None):
        request = urllib.request.Request(base + path, method=method, data=body,
                                         headers={"Authorization": "Bearer " + token})
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as r:
                return r.status, r.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()
    return sid, call


def test_files_git_and_tasks_of_a_running_session(platform, session):
    sid, call = session
    content = bytes(range(256)) * 20000  # 5 MB
    assert call("PUT", "/files/in%20put.bin", content)[0] == 200
    assert call("GET", "/files/in%20put.bin") == (200, content)
    [listed] = json.loads(call("GET", "/files")[1])["files"]
    assert (listed["name"], listed["size"]) == ("in put.bin", len(content))
    command = "git init -q repo; echo x > repo/a; wc -c < 'file-uploads/in put.bin'"
    platform.acpctl("session", "send", sid, command, "-f")
    assert str(len(content)) in [m["payload"].strip() for m in platform.messages(sid) if m["event_type"] == "assistant"]
    assert call("GET", "/workspace/repo/a") == (200, b"x\n")
    status = json.loads(call("GET", "/git/status?path=repo")[1])
    assert status["initialized"] and status["untracked"] == ["a"]
    assert json.loads(call("GET", "/agui/tasks")[1]) == {"tasks": [], "total": 0}
    assert json.loads(call("GET", "/capabilities")[1])["framework"] == "shell"
    code, body = call("GET", "/workspace/nothing")
    assert code == 404 and json.loads(body)["reason"] == "not found"
    assert call("POST", "/model", b'{"model":"m2"}')[0] == 200
    wait_until("the runner's word", lambda: any("model_switched" in m["payload"] for m in platform.messages(sid)))
    platform.acpctl("stop", sid)
    platform.wait_phase(sid, "Stopped")
    assert json.loads(call("GET", "/files")[1]) == {"files": []}
    assert call("PUT", "/files/late", b"x")[0] in (502, 503)


def test_a_clone_starts_with_its_repository(platform, tmp_path):
    """The control plane gives a session's repositories to its runner; one that may not be fetched is told."""
    work = tmp_path / "work"
    subprocess.run(["git", "init", "-q", str(work)], check=True)
    sid = platform.shell_session("echo went on")
    platform.wait_phase(sid, "Completed")
    platform.call("POST", f"/sessions/{sid}/repos", {"url": f"file://{work}"})
    status, clone = platform.call("POST", f"/sessions/{sid}/clone")
    assert status == 201 and json.loads(clone["repos"])[0]["name"] == "work"
    platform.wait_phase(clone["id"], "Completed")
    texts = [m["payload"] for m in platform.messages(clone["id"])]
    assert "went on" in texts
    assert [t for t in texts if "Repository URL must be https://, ssh:// or user@host:path" in t]
