"""Messages become turns, turns become records; how a runner ends."""
import json
import os
import signal
import socket

import pytest

from runner_support import ADMIN, AGUI, SERVICE, alive, wait_until


def test_one_shot_session_runs_its_prompt_and_ends(api, runners):
    sid = api.session("echo hello; echo oops >&2")
    r = runners(api, sid).start()
    assert r.wait() == 0
    assert api.shape(sid) == ["user", "runner_started", "run_started", "assistant", "run_finished"]
    assert api.payloads(sid, "assistant") in (["hello\n[stderr] oops"], ["[stderr] oops\nhello"])


def test_the_first_turn_waits_for_the_servers_beside_it(api, runners):
    """An agent asks its MCP servers once, at its start."""
    sid = api.session("echo hello")
    with socket.socket() as server, socket.socket() as other:
        for s in (server, other):
            s.bind(("127.0.0.1", 0))
        other.listen()
        urls = {name: f"http://127.0.0.1:{s.getsockname()[1]}" for name, s in (("a", other), ("github", server))}
        r = runners(api, sid, CREDENTIAL_MCP_URLS=json.dumps(urls)).start()
        wait_until("it to wait", lambda: "waiting for an MCP server beside us" in r.output())
        assert "run_started" not in api.shape(sid)
        server.listen()
        assert r.wait() == 0
    assert api.shape(sid) == ["user", "runner_started", "run_started", "assistant", "run_finished"]


def test_command_that_fails_fails_the_session(api, runners):
    sid = api.session("exit 3")
    assert runners(api, sid).start().wait() == 10
    error = json.loads(api.payloads(sid, "error")[0])
    assert error["code"] == "exit_3" and error["error"] == error["message"] == "the command ended with exit status 3"


def test_interactive_session_takes_messages_in_order(api, runners):
    sid = api.session()
    r = runners(api, sid, INTERACTIVE="true").start().ready()
    for i in range(5):
        api.send(sid, f"echo {i}")
    wait_until("five answers", lambda: len(api.payloads(sid, "assistant")) == 5)
    assert api.payloads(sid, "assistant") == ["0", "1", "2", "3", "4"]
    wait_until("five ends", lambda: api.lifecycle(sid).count("run_finished") == 5)
    assert r.terminate() == 0
    # A failed turn does not end it.
    r = runners(api, sid, INTERACTIVE="true").start().ready()
    api.send(sid, "exit 1")
    wait_until("error", lambda: api.payloads(sid, "error"))
    api.send(sid, "echo still here")
    wait_until("answer", lambda: "still here" in api.payloads(sid, "assistant"))
    assert r.terminate() == 0


def test_records_of_a_turn_carry_what_readers_need(api, runners):
    sid = api.session("true")
    assert runners(api, sid).start().wait() == 0
    started, finished = (json.loads(p) for p in api.payloads(sid, "lifecycle")[1:])
    assert started["event"] == "run_started" and finished["event"] == "run_finished"
    assert started["run_id"] == finished["run_id"] and started["seq"] == finished["seq"] == 1


def test_no_agent_is_said_in_the_session(api, runners, tmp_path):
    sid = api.session("echo x")
    r = runners(api, sid, RUNNER_TYPE=None, PATH=str(tmp_path)).start()
    assert r.wait() == 13
    error = json.loads(api.payloads(sid, "error")[0])
    assert error["code"] == "NO_AGENT" and "no agent found" in error["error"] and "RUNNER_TYPE=shell" in error["error"]
    assert "run_started" not in api.lifecycle(sid)
    # The message was not lost: with an agent it is run.
    assert runners(api, sid).start().wait() == 0
    assert api.payloads(sid, "assistant") == ["x"]


def test_unknown_runner_type_is_said_too(api, runners):
    sid = api.session("echo x")
    assert runners(api, sid, RUNNER_TYPE="gemini-9").start().wait() == 13
    assert "gemini-9" in json.loads(api.payloads(sid, "error")[0])["error"]


def test_sigterm_interrupts_flushes_and_is_no_failure(api, runners):
    sid = api.session("echo before; sleep 1000")
    r = runners(api, sid).start()
    with_text = r.events()
    with_text.until("TEXT_MESSAGE_CONTENT")
    assert r.terminate() == 0
    assert api.payloads(sid, "assistant") == ["before"]
    last = json.loads(api.payloads(sid, "lifecycle")[-1])
    assert last["event"] == "run_finished" and last["interrupted"] is True


def test_second_signal_ends_it_at_once(api, runners):
    sid = api.session("trap '' TERM; echo $$; while :; do sleep 1000; done")
    r = runners(api, sid).start()
    _, event = r.events().until("TEXT_MESSAGE_CONTENT")
    pid = int(event["delta"])
    r.process.terminate()
    wait_until("first signal seen", lambda: "msg=\"the runner ends\"" in r.output())
    r.process.terminate()
    r.wait()
    wait_until("the command is gone", lambda: not alive(pid))


def test_time_limit(api, runners):
    sid = api.session("sleep 1000")
    assert runners(api, sid, TIMEOUT="1").start().wait() == 11
    error = json.loads(api.payloads(sid, "error")[0])
    assert error["code"] == "timeout" and "time limit of 1 seconds" in error["error"]


def test_idle_limit(api, runners):
    sid = api.session()
    r = runners(api, sid, INTERACTIVE="true", IDLE_TIMEOUT="300ms").start()
    assert r.wait() == 0
    assert api.shape(sid) == ["runner_started"]
    told = runners(api, api.session(), INTERACTIVE="true", AMBIENT_INACTIVITY_TIMEOUT_SEC="1",
                   AMBIENT_IDLE_EXIT_CODE="15").start()
    assert told.wait() == 15


def test_session_that_is_deleted_ends_its_runner(api, runners):
    sid = api.session()
    r = runners(api, sid, INTERACTIVE="true").start().ready()
    api.call("DELETE", f"/sessions/{sid}")
    assert r.wait() == 0


def test_session_that_never_was(api, runners):
    assert runners(api, "3MXjfyy0WU2k43uXLCxTRdBjWtZ").start().wait() == 0


def test_run_input_of_older_clients_is_understood(api, runners):
    sid = api.session(json.dumps({"threadId": "t", "runId": "my-run",
                                  "messages": [{"id": "1", "role": "user", "content": "echo from input"}]}))
    assert runners(api, sid).start().wait() == 0
    assert api.payloads(sid, "assistant") == ["from input"]
    assert json.loads(api.payloads(sid, "lifecycle")[1])["run_id"] == "my-run"


def test_prompt_that_nobody_stored_is_run_once_in_a_life(api, runners):
    sid = api.session()
    assert runners(api, sid, INITIAL_PROMPT="echo once").start().wait() == 0
    assert api.payloads(sid, "assistant") == ["once"]
    r = runners(api, sid, INITIAL_PROMPT="echo once", INTERACTIVE="true").start().ready()
    api.send(sid, "echo twice")
    wait_until("second answer", lambda: api.payloads(sid, "assistant") == ["once", "twice"])
    assert r.terminate() == 0


def test_command_sees_no_secret_and_no_socket_of_ours(api, runners, tmp_path):
    token_file = tmp_path / "token"
    token_file.write_text(SERVICE + "\n")
    token_file.chmod(0o600)
    sid = api.session("env; tr '\\0' '\\n' < /proc/$PPID/environ")
    r = runners(api, sid, BOT_TOKEN="other-" + SERVICE, BOT_TOKEN_FILE=str(token_file),
                ANTHROPIC_API_KEY="model-key-123", AMBIENT_API_TOKEN=ADMIN, SESSION_COLOUR="green").start()
    assert r.wait() == 0
    said = api.payloads(sid, "assistant")[0]
    assert "SESSION_COLOUR=green" in said
    assert SERVICE not in said and ADMIN not in said and AGUI not in said and "model-key-123" not in said
    assert SERVICE not in r.output() and AGUI not in r.output()


def test_secret_that_the_agent_prints_is_not_recorded(api, runners):
    # The key of a model reaches agents that need it; whatever prints it, the log and the stream do not show it.
    sid = api.session("printf 'x key-of-'; printf 'the-model-123 y'")
    r = runners(api, sid, ANTHROPIC_API_KEY="key-of-the-model-123").start()
    assert r.wait() == 0
    assert api.payloads(sid, "assistant") == ["x [REDACTED_ANTHROPIC_API_KEY] y"]


def test_nothing_that_a_command_started_outlives_the_session(api, runners):
    sid = api.session("setsid sh -c 'setsid sleep 1000 & echo $! >> pids; echo $$ >> pids; exec sleep 1000' & "
                      "sleep 1000 & echo $! >> pids; until [ $(wc -l < pids) = 3 ]; do sleep 0.05; done; cat pids")
    r = runners(api, sid).start()
    assert r.wait() == 0
    pids = [int(word) for word in api.payloads(sid, "assistant")[0].split()]
    assert len(pids) == 3
    for pid in pids:
        assert not alive(pid)


def test_server_that_is_down_meanwhile_loses_nothing(own_api, runners):
    sid = own_api.session()
    r = runners(own_api, sid, INTERACTIVE="true").start().ready()
    own_api.send(sid, "echo one; until [ -e go ]; do sleep 0.05; done; echo two")
    r.events().until("TEXT_MESSAGE_CONTENT")
    own_api.stop(signal.SIGKILL)
    open(os.path.join(r.workspace, "go"), "w").close()
    assert r.events("/agui/events?follow=1", headers={"Last-Event-ID": "1"}).until("RUN_FINISHED")
    own_api.start()
    wait_until("records", lambda: "run_finished" in own_api.lifecycle(sid))
    own_api.send(sid, "echo three")
    wait_until("the watch is back", lambda: len(own_api.payloads(sid, "assistant")) == 2)
    assert own_api.payloads(sid, "assistant") == ["one\ntwo", "three"]
    assert own_api.lifecycle(sid).count("run_started") == 2
    assert r.terminate() == 0


def test_token_file_that_was_rotated_is_used(own_api, runners, tmp_path):
    token_file = tmp_path / "bot-token"
    token_file.write_text("wrong-token-0123456789")
    token_file.chmod(0o600)
    sid = own_api.session("echo now")
    r = runners(own_api, sid, BOT_TOKEN=None, BOT_TOKEN_FILE=str(token_file)).start()
    wait_until("refusal", lambda: "Unauthenticated" in r.output() or "PermissionDenied" in r.output())
    fresh = tmp_path / "fresh"
    fresh.write_text(SERVICE)
    fresh.chmod(0o600)
    fresh.rename(token_file)
    assert r.wait() == 0
    assert own_api.payloads(sid, "assistant") == ["now"]


@pytest.mark.parametrize("env,exit_code,words", [
    ({"AGUI_HOST": "0.0.0.0", "AGUI_TOKEN": None}, 1, "anybody could run the agent"),
    ({"IDLE_TIMEOUT": "soon"}, 1, "IDLE_TIMEOUT"),
    ({"SESSION_ID": ""}, 1, "SESSION_ID"),
    ({"WORKSPACE_PATH": "/proc/no/such"}, 1, ""),
])
def test_settings_that_cannot_work(api, runners, env, exit_code, words):
    r = runners(api, api.session("true"), **env).start()
    assert r.wait() == exit_code
    assert words in r.output()


def test_listens_on_a_socket_that_was_handed_over(api, runners):
    sid = api.session()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        fd = os.dup(listener.fileno())
        port = listener.getsockname()[1]

        def third():
            os.dup2(fd, 3, inheritable=True)
        r = runners(api, sid, INTERACTIVE="true", LISTEN_FDS="1").start(preexec_fn=third, pass_fds=(fd, 3))
        os.close(fd)
    assert r.port == port
    assert r.ready().ask("GET", "/health")[1] == {"status": "healthy", "session_id": sid}
    assert r.terminate() == 0


def test_what_was_said_is_also_in_one_record(api, runners):
    """Scripts of the reference read the answer from it, once the run is over."""
    sid = api.session("echo hello")
    assert runners(api, sid).start().wait() == 0
    (snapshot,) = api.payloads(sid, "MESSAGES_SNAPSHOT")
    assert json.loads(snapshot) == [{"role": "user", "content": "echo hello"},
                                    {"role": "assistant", "content": "hello\n"}]
    assert [m["event_type"] for m in api.messages(sid)][-2:] == ["MESSAGES_SNAPSHOT", "lifecycle"]


COMMIT = "git init -q . && git commit -q --allow-empty -m x && git log --format='%an <%ae>'"


def test_a_commit_needs_no_configuration(api, runners):
    sid = api.session(COMMIT)
    assert runners(api, sid).start().wait() == 0
    assert "Ambient Code Bot <bot@ambient-code.local>" in api.payloads(sid, "assistant")[0]


def test_an_identity_that_is_configured_is_used(api, runners):
    sid = api.session(COMMIT)
    r = runners(api, sid)
    with open(os.path.join(r.directory, ".gitconfig"), "w") as f:
        f.write("[user]\nname = Alice\nemail = alice@corp.net\n")
    assert r.start().wait() == 0
    assert "Alice <alice@corp.net>" in api.payloads(sid, "assistant")[0]
