"""The runner and the real Claude Code CLI in bad moments; the model behind it follows a script."""
import json
import os
import shutil
import signal
import subprocess

import pytest

from runner_support import alive, wait_until
from scripted_model import ScriptedModel

ROOT = os.path.join(os.path.dirname(__file__), "../..")
HELLO = "Hello from the scripted model."


@pytest.fixture(scope="module")
def claude():
    done = subprocess.run([os.path.join(ROOT, "scripts/test-npm.sh")], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no Claude Code CLI: " + done.stdout.strip())
    return os.path.join(done.stdout.strip(), "claude")


@pytest.fixture
def model():
    m = ScriptedModel()
    yield m
    m.stop()


@pytest.fixture
def agents(api, runners, claude, model):
    def make(sid, **env):
        return runners(api, sid, **{"RUNNER_TYPE": "claude", "AMBIENT_CLAUDE_PATH": claude,
                                    "ANTHROPIC_BASE_URL": model.url, "ANTHROPIC_API_KEY": "key-of-the-model", **env})
    return make


def cli_pids(runner):
    """Children of the runner."""
    try:
        with open(f"/proc/{runner.process.pid}/task/{runner.process.pid}/children") as f:
            return [int(pid) for pid in f.read().split()]
    except OSError:
        return []


def answers(api, sid, n):
    wait_until(f"{n} answers", lambda: len(api.payloads(sid, "assistant")) >= n)
    return api.payloads(sid, "assistant")


def texts(request):
    """All text that a request to the model holds."""
    found = []
    for message in request[1]["messages"]:
        content = message["content"]
        found += [content] if isinstance(content, str) else [json.dumps(b) for b in content]
    return "\n".join(found)


def test_interrupt_while_it_speaks_and_the_same_process_goes_on(api, agents):
    sid = api.session()
    r = agents(sid, INTERACTIVE="true").start().ready()
    stream = r.events()
    api.send(sid, "answer SLOWLY")
    stream.until("TEXT_MESSAGE_CONTENT")
    pids = cli_pids(r)
    assert r.ask("POST", "/interrupt")[0] == 200
    _, end = stream.until("RUN_FINISHED")
    assert end["result"]["interrupted"] is True and not end["result"].get("is_error")
    api.send(sid, "say hello")
    wait_until("answer", lambda: HELLO in api.payloads(sid, "assistant"))
    assert cli_pids(r) == pids
    assert "error" not in api.shape(sid)
    assert r.terminate() == 0


def test_question_waits_for_the_user(api, agents, model):
    sid = api.session()
    r = agents(sid, INTERACTIVE="true").start().ready()
    stream = r.events()
    api.send(sid, "ASK-ME something")
    _, end = stream.until("RUN_FINISHED")
    assert end["result"]["requires_action"]["tool_call_id"] == "toolu_02"
    wait_until("record", lambda: api.lifecycle(sid)[-1] == "run_finished")
    used = json.loads(api.payloads(sid, "tool_use")[0])
    assert used["tool"] == "AskUserQuestion" and used["input"]["questions"][0]["question"] == "Which colour?"
    assert json.loads(api.payloads(sid, "lifecycle")[-1])["requires_action"] is True
    api.send(sid, "blue, please")
    assert "blue, please" in answers(api, sid, 1)[0]
    result = json.loads(api.payloads(sid, "tool_result")[0])
    assert result["tool_call_id"] == "toolu_02" and result["result"] == "blue, please"
    assert len(api.payloads(sid, "tool_result")) == 1
    assert "blue, please" in texts(model.requests[-1])
    assert r.terminate() == 0


def test_question_without_a_user_is_decided_by_the_agent(api, agents):
    sid = api.session("ASK-ME something")
    assert agents(sid).start().wait() == 0
    assert "No user is there to answer" in api.payloads(sid, "assistant")[0]


def test_tool_that_is_not_permitted(api, agents):
    sid = api.session("FETCH it")
    assert agents(sid).start().wait() == 0
    assert any("WebFetch" in p and "not permitted" in p for p in api.payloads(sid, "system"))
    assert json.loads(api.payloads(sid, "tool_result")[0])["is_error"] is True


def test_next_runner_goes_on_with_the_conversation(api, agents, model):
    sid = api.session()
    r = agents(sid, INTERACTIVE="true").start().ready()
    api.send(sid, "say hello")
    answers(api, sid, 1)
    assert r.terminate() == 0
    r.start().ready()
    api.send(sid, "and again")
    answers(api, sid, 2)
    last = model.requests[-1][1]["messages"]
    assert "assistant" in [m["role"] for m in last]
    assert "conversation_so_far" not in texts(model.requests[-1])
    assert r.terminate() == 0


@pytest.mark.parametrize("lost", ["transcript", "everything"])
def test_conversation_that_is_lost_is_told_from_the_log(api, agents, model, lost):
    sid = api.session()
    r = agents(sid, INTERACTIVE="true").start().ready()
    api.send(sid, "remember the colour green and say hello")
    answers(api, sid, 1)
    assert r.terminate() == 0
    shutil.rmtree(os.path.join(r.directory, ".claude"))
    if lost == "everything":
        shutil.rmtree(os.path.join(r.workspace, ".claude"))
    r.start().ready()
    api.send(sid, "which colour was it")
    answers(api, sid, 2)
    said = texts(model.requests[-1])
    assert "conversation_so_far" in said and "the colour green" in said and HELLO in said
    assert said.count("which colour was it") == 1
    notices = [p for p in api.payloads(sid, "system") if "record of this conversation is gone" in p]
    assert len(notices) == (1 if lost == "transcript" else 0)
    assert r.terminate() == 0


def test_agent_that_dies_in_its_turn_fails_it_and_comes_back(api, agents, model):
    sid = api.session()
    r = agents(sid, INTERACTIVE="true").start().ready()
    stream = r.events()
    api.send(sid, "answer SLOWLY")
    stream.until("TEXT_MESSAGE_CONTENT")
    for pid in cli_pids(r):
        os.kill(pid, signal.SIGKILL)
    _, error = stream.until("RUN_ERROR")
    assert error["code"] == "signal_9" and "in the middle of its turn" in error["message"]
    model.go.set()
    api.send(sid, "go on")
    wait_until("it goes on", lambda: api.lifecycle(sid)[-1] == "run_finished")
    assert len(api.payloads(sid, "assistant")) == 2  # what was cut, and an answer
    assert "go on" in texts(model.requests[-1])
    assert r.terminate() == 0


def test_turn_of_a_dead_runner_is_run_again_when_it_did_nothing_yet(api, agents, model):
    sid = api.session("answer SLOWLY")
    r = agents(sid).start()
    wait_until("the model is asked", lambda: model.requests)
    wait_until("recorded", lambda: "run_started" in api.lifecycle(sid))
    pids = cli_pids(r)
    r.kill()
    wait_until("its agent is gone too", lambda: not any(map(alive, pids)))
    model.go.set()
    assert r.start().wait() == 0
    assert api.payloads(sid, "assistant")[-1] == "It takes a while."
    assert api.lifecycle(sid) == ["runner_started", "run_started", "runner_started", "run_started", "run_finished"]


def test_turn_of_a_dead_runner_that_used_a_tool_is_left_alone(api, agents, model):
    sid = api.session("MAKE-FILE please")
    model.answer_result_slowly = True
    r = agents(sid).start()
    wait_until("tool used", lambda: api.payloads(sid, "tool_use"))
    wait_until("second request", lambda: len(model.requests) == 2)
    r.kill()
    model.go.set()
    n = len(model.requests)
    assert r.start().wait() == 10
    assert api.lifecycle(sid)[-1] == "run_interrupted" and "restarted" in api.payloads(sid, "system")[-1]
    assert len(model.requests) == n


def test_sigterm_while_it_speaks(api, agents):
    sid = api.session("answer SLOWLY")
    r = agents(sid).start()
    r.events().until("TEXT_MESSAGE_CONTENT")
    pids = cli_pids(r)
    assert pids and r.terminate() == 0
    assert not any(map(alive, pids))
    last = json.loads(api.payloads(sid, "lifecycle")[-1])
    assert last["event"] == "run_finished" and last["interrupted"] is True


def test_without_a_key_the_session_says_why(api, agents, model):
    sid = api.session("say hello")
    assert agents(sid, ANTHROPIC_API_KEY=None, ANTHROPIC_BASE_URL=model.url).start().wait() == 10
    error = json.loads(api.payloads(sid, "error")[0])
    assert "log" in error["error"].lower() or "key" in error["error"].lower()
    assert not model.requests


def test_command_line_that_is_none(api, agents, tmp_path):
    fake = tmp_path / "claude"
    fake.write_text("#!/bin/sh\necho 'no such model, sorry' >&2\nexit 7\n")
    fake.chmod(0o755)
    sid = api.session("say hello")
    assert agents(sid, AMBIENT_CLAUDE_PATH=str(fake)).start().wait() == 10
    error = json.loads(api.payloads(sid, "error")[0])
    assert error["code"] == "exit_7" and "no such model, sorry" in error["error"]


def test_answer_of_a_background_agent_is_waited_for(api, agents, model):
    sid = api.session("DELEGATE this, in the BACKGROUND")
    r = agents(sid).start()
    wait_until("first turn is over", lambda: "run_finished" in api.lifecycle(sid))
    assert r.process.poll() is None
    model.go.set()
    assert r.wait() == 0
    assert api.lifecycle(sid).count("run_started") == api.lifecycle(sid).count("run_finished") == 2
    done = [json.loads(p) for p in api.payloads(sid, "system") if "task:completed" in p]
    assert done and done[0]["value"]["status"] == "completed"


def test_sub_agent_in_the_foreground_shows_its_work(api, agents, model):
    model.go.set()
    sid = api.session("DELEGATE this")
    assert agents(sid).start().wait() == 0
    assert "The sub-task is done." in json.loads(api.payloads(sid, "tool_result")[-1])["result"]
    assert api.lifecycle(sid).count("run_finished") == 1


def test_parts_of_the_prompt_that_no_message_has_become_instructions(api, agents, model):
    sid = api.session("say hello")
    r = agents(sid, INITIAL_PROMPT="Project rule: be brief.\n\nsay hello", AGENT_PREAMBLE="You are Bob.").start()
    assert r.wait() == 0
    system = json.dumps(model.requests[0][1]["system"])
    assert "Project rule: be brief." in system and "You are Bob." in system and "say hello" not in system
    assert texts(model.requests[0]).count("say hello") == 1


def test_model_and_limits_reach_the_agent(api, agents, model):
    sid = api.session("say hello")
    assert agents(sid, LLM_MODEL="claude-haiku-4-5", LLM_MAX_TOKENS="1234", LLM_TEMPERATURE="0.1").start().wait() == 0
    body = model.requests[0][1]
    assert body["model"] == "claude-haiku-4-5" and body["max_tokens"] == 1234
    assert any("llm_temperature" in p for p in api.payloads(sid, "system"))


def test_repository_in_the_workspace_is_not_trusted(api, agents):
    sid = api.session("say hello")
    r = agents(sid)
    os.makedirs(os.path.join(r.workspace, ".claude"))
    hook = {"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "touch hook-ran"}]}]}}
    with open(os.path.join(r.workspace, ".claude/settings.json"), "w") as f:
        json.dump(hook, f)
    with open(os.path.join(r.workspace, ".mcp.json"), "w") as f:
        json.dump({"mcpServers": {"evil": {"command": "touch", "args": ["server-ran"]}}}, f)
    assert r.start().wait() == 0
    assert not [name for name in os.listdir(r.workspace) if name.endswith("-ran")]


def test_mcp_servers_of_the_platform_are_used_and_not_shown(api, agents, model, tmp_path):
    server = tmp_path / "server.py"
    server.write_text("""
import json, sys
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m:
        continue
    result = {}
    if m["method"] == "initialize":
        result = {"protocolVersion": m["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "x", "version": "1"}}
    elif m["method"] == "tools/list":
        result = {"tools": [{"name": "shout", "description": "d", "inputSchema": {"type": "object"}}]}
    elif m["method"] == "tools/call":
        result = {"content": [{"type": "text", "text": "SHOUTED"}]}
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], "result": result}), flush=True)
""")
    config = {"mcpServers": {"loud": {"command": "/usr/bin/python3", "args": [str(server)],
                                      "env": {"KEY": "secret-of-the-server"}}}}
    sid = api.session()
    r = agents(sid, INTERACTIVE="true", MCP_CONFIG=json.dumps(config), ENABLE_TOOL_SEARCH="false").start().ready()
    api.send(sid, "USE-MCP now")
    assert "SHOUTED" in answers(api, sid, 1)[-1]
    assert json.loads(api.payloads(sid, "tool_use")[0])["tool"] == "shout"
    for pid in cli_pids(r):
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            assert b"secret-of-the-server" not in f.read()
    assert r.terminate() == 0


def test_the_live_process_is_asked_about_its_model_servers_and_tasks(api, agents, model):
    sid = api.session()
    r = agents(sid, INTERACTIVE="true", LLM_MODEL="claude-sonnet-4-5").start().ready()
    assert r.ask("GET", "/mcp/status") == (200, {"servers": [], "totalCount": 0})  # nobody runs yet
    api.send(sid, "say hello")
    answers(api, sid, 1)
    wait_until("end of the run", lambda: "run_finished" in api.lifecycle(sid))
    pids = cli_pids(r)
    assert r.ask("GET", "/mcp/status") == (200, {"servers": [], "totalCount": 0})
    status, body = r.ask("POST", "/model", json.dumps({"model": "claude-opus-4-5"}))
    assert (status, body["model"], body["previousModel"]) == (200, "claude-opus-4-5", "claude-sonnet-4-5")
    api.send(sid, "say hello again")
    answers(api, sid, 2)
    assert [request[1]["model"] for request in model.requests] == ["claude-sonnet-4-5", "claude-opus-4-5"]
    assert cli_pids(r) == pids, "the model was switched by a restart"
    assert r.terminate() == 0


@pytest.fixture
def delegating(api, agents):
    """A runner whose agent has a sub-agent at work in the background, and a look at its tasks by status."""
    sid = api.session()
    r = agents(sid, INTERACTIVE="true").start().ready()

    def tasks(status):
        return [t for t in r.ask("GET", "/tasks")[1]["tasks"] if t.get("status") == status]
    api.send(sid, "DELEGATE this, in the BACKGROUND")
    wait_until("a task", lambda: tasks("running"))
    return r, tasks


def test_a_background_task_is_stopped(delegating, model):
    r, tasks = delegating
    [task] = tasks("running")
    assert r.ask("POST", f"/tasks/{task['task_id']}/stop") == (200, {"message": "stop signal sent"})
    wait_until("its end", lambda: tasks("stopped") or tasks("killed"))
    model.go.set()
    assert r.terminate() == 0


def test_the_output_of_a_background_task_is_read(delegating, model):
    r, tasks = delegating
    model.go.set()
    [task] = wait_until("a task that ended", lambda: tasks("completed"))

    def output():
        """The agent writes it when it comes to it, also after it has said that the task is over."""
        status, body = r.ask("GET", f"/tasks/{task['task_id']}/output")
        assert (status, body.get("task_id")) == (200, task["task_id"]) or (status, body) == (
            404, {"detail": "The task has no output"}), body
        return json.dumps(body.get("output"))
    wait_until("its transcript", lambda: "The sub-task is done." in output())
    assert r.ask("POST", f"/agui/tasks/{task['task_id']}/stop") == (200, {"message": "Task already completed"})
    assert r.terminate() == 0


def test_a_workflow_speaks_first_and_for_good(api, agents, model, tmp_path):
    """Its startupPrompt is the first turn of the session's life, its systemPrompt stands over all of them."""
    work = tmp_path / "flow"
    (work / ".ambient").mkdir(parents=True)
    (work / ".ambient/ambient.json").write_text(json.dumps(
        {"name": "Flow", "startupPrompt": "say hello from the flow", "systemPrompt": "BE-BRIEF-ALWAYS"}))
    for args in (["init", "-q", "-b", "main"], ["add", "."],
                 ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"]):
        subprocess.run(["git", *args], cwd=work, check=True)
    sid = api.session()
    api.send(sid, "say hello again")
    env = {"INTERACTIVE": "true", "AMBIENT_GIT_PROTOCOLS": "file", "ACTIVE_WORKFLOW_GIT_URL": f"file://{work}"}
    r = agents(sid, **env).start().ready()
    answers(api, sid, 2)
    first, second = model.requests[:2]
    assert "say hello from the flow" in texts(first) and "say hello again" not in texts(first)
    assert "say hello again" in texts(second)
    assert all("BE-BRIEF-ALWAYS" in json.dumps(request[1]["system"]) for request in model.requests)
    assert r.terminate() == 0
    r.start().ready()
    api.send(sid, "say hello once more")
    answers(api, sid, 3)
    assert texts(model.requests[-1]).count("say hello from the flow") <= 1  # in the conversation, not said again
    assert len(api.payloads(sid, "assistant")) == 3
    assert r.terminate() == 0
