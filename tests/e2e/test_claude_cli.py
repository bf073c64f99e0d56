"""The whole path with the real Claude Code CLI; only the model behind it follows a script."""
import json
import os
import subprocess

import pytest

from platform_support import Platform, processes_with, wait_until

ROOT = os.path.join(os.path.dirname(__file__), "../..")


@pytest.fixture
def platform(tmp_path, claude_dir, model):
    (tmp_path / ".claude").mkdir()  # the CLI's own place; the sandbox lets it write there and not beside it
    p = Platform(str(tmp_path), ANTHROPIC_BASE_URL=model.url, ANTHROPIC_API_KEY="key-of-the-model",
                 AMBIENT_CLAUDE_PATH=os.path.join(claude_dir, "claude"), HOME=str(tmp_path))
    p.up()
    yield p
    p.ambient("down", check=False)


def start(platform, prompt, **fields):
    platform.call("POST", "/projects", {"name": "demo"})
    status, s = platform.call("POST", "/sessions", {
        "name": "c", "project_id": "demo", "prompt": prompt,
        "environment_variables": json.dumps({"RUNNER_TYPE": "claude"}), **fields})
    assert status == 201, s
    platform.call("POST", f"/sessions/{s['id']}/start")
    return s["id"]


def payloads(platform, sid, event_type):
    return [m["payload"] for m in platform.messages(sid) if m["event_type"] == event_type]


def test_streamed_text_becomes_the_session_s_message(platform, model):
    sid = start(platform, "say hello")
    platform.wait_phase(sid, "Completed")
    assert payloads(platform, sid, "assistant") == ["Hello from the scripted model."]
    headers, body = model.requests[0]
    assert body["stream"] is True and headers["anthropic-version"]
    wait_until("no process left", lambda: not processes_with(sid))


def test_tool_call_works_in_the_workspace(platform):
    sid = start(platform, "MAKE-FILE please")
    platform.wait_phase(sid, "Completed")
    used = json.loads(payloads(platform, sid, "tool_use")[0])
    assert used["tool"] == "Bash" and "made.txt" in used["input"]["command"]
    result = json.loads(payloads(platform, sid, "tool_result")[0])
    assert result["result"] == "written-by-the-agent" and result["is_error"] is False
    assert payloads(platform, sid, "assistant") == ["I make the file.", 'The tool said: "written-by-the-agent"']


def test_error_of_the_model_fails_the_session_and_says_why(platform):
    sid = start(platform, "BREAK it")
    platform.wait_phase(sid, "Failed")
    error = json.loads(payloads(platform, sid, "error")[0])
    assert "the script says no" in error["error"] and error["code"] == "400"


def test_rate_limit_is_told_and_waited_out(platform, model):
    sid = start(platform, "LIMITED please")
    platform.wait_phase(sid, "Completed")
    assert any("429" in p for p in payloads(platform, sid, "system"))
    assert payloads(platform, sid, "assistant") == ["Hello from the scripted model."]
    assert len(model.requests) == 2


def test_one_process_keeps_the_conversation(platform, model):
    sid = start(platform, "say hello", interactive=True)
    wait_until("first answer", lambda: payloads(platform, sid, "assistant"))
    out = platform.acpctl("session", "send", sid, "and again", "-f").stdout
    assert "Hello from the scripted model." in out
    roles = [m["role"] for m in model.requests[-1][1]["messages"]]
    assert "assistant" in roles  # the second request holds the first answer
    platform.acpctl("stop", sid)
    platform.wait_phase(sid, "Stopped")


def test_no_secret_of_the_platform_reaches_the_agent(platform):
    sid = start(platform, "MAKE-FILE please", interactive=True)
    wait_until("tool ran", lambda: payloads(platform, sid, "tool_result"))
    with open(os.path.join(platform.data, "token")) as f:
        token = f.read().strip()
    with open(os.path.join(platform.data, "run/service-token")) as f:
        service = f.read().strip()
    agents = [p for p in processes_with("stream-json")]
    assert agents
    for pid in agents:
        with open(f"/proc/{pid}/environ", "rb") as f:
            env = f.read().decode(errors="replace")
        for secret in (token, service, "BOT_TOKEN", "AGUI_TOKEN", "AMBIENT_API_TOKEN"):
            assert secret not in env
