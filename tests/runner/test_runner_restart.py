"""Runners that die: no message is lost, none is run twice."""
import json
import os
import random
import shutil

import pytest

from runner_support import wait_until


def begun(runner):
    return os.path.exists(os.path.join(runner.workspace, "begun"))


COUNT = "echo x >> begun; until [ -e go ]; do sleep 0.05; done; echo done"


@pytest.mark.parametrize("state_lost", [False, True])
def test_command_that_was_begun_is_never_run_again(api, runners, state_lost):
    sid = api.session(COUNT)
    r = runners(api, sid).start()
    wait_until("begun", lambda: begun(r))
    wait_until("recorded", lambda: "run_started" in api.lifecycle(sid))
    r.kill()
    if state_lost:
        shutil.rmtree(os.path.join(r.workspace, ".ambient"))
    open(os.path.join(r.workspace, "go"), "w").close()
    assert r.start().wait() == 10  # it did not finish: the session failed
    with open(os.path.join(r.workspace, "begun")) as f:
        assert f.read() == "x\n"
    assert api.lifecycle(sid)[-1] == "run_interrupted"
    assert "restarted" in api.payloads(sid, "system")[0]
    # And the one after that has nothing to do at all.
    n = len(api.messages(sid))
    assert r.start().wait() == 0
    assert len(api.messages(sid)) == n + 1  # its runner_started


def test_messages_that_waited_are_run_by_the_next_runner(api, runners):
    sid = api.session()
    r = runners(api, sid, INTERACTIVE="true").start().ready()
    api.send(sid, COUNT)
    wait_until("begun", lambda: begun(r))
    api.send(sid, "echo second")
    api.send(sid, "echo third")
    r.kill()
    api.send(sid, "echo fourth")
    r.start()
    wait_until("answers", lambda: len(api.payloads(sid, "assistant")) == 3)
    assert api.payloads(sid, "assistant") == ["second", "third", "fourth"]
    assert r.terminate() == 0


def test_records_that_were_not_acknowledged_are_brought_by_the_next_runner(own_api, runners):
    sid = own_api.session()
    r = runners(own_api, sid, INTERACTIVE="true").start().ready()
    own_api.send(sid, "until [ -e go ]; do sleep 0.05; done; echo said meanwhile")
    stream = r.events()
    stream.until("RUN_STARTED")
    wait_until("recorded", lambda: "run_started" in own_api.lifecycle(sid))
    own_api.stop()
    open(os.path.join(r.workspace, "go"), "w").close()
    stream.until("RUN_FINISHED")
    r.kill()
    own_api.start()
    r.start().ready()
    assert own_api.shape(sid) == ["runner_started", "user", "run_started", "assistant", "run_finished",
                                  "runner_started"]
    assert own_api.payloads(sid, "assistant") == ["said meanwhile"]
    assert r.terminate() == 0


def test_log_of_another_runner_decides(api, runners):
    """Records without numbers, as the reference's runner writes them, pushed by the service."""
    grpc = pytest.importorskip("grpc")
    sid = api.session("echo old")
    api.send(sid, "echo waiting")

    def field(number, text):
        data = text.encode()
        return bytes([number << 3 | 2, len(data)]) + data
    with grpc.insecure_channel(f"127.0.0.1:{api.ports['grpc']}") as channel:
        push = channel.unary_unary("/ambient.v1.SessionService/PushSessionMessage")
        for event_type, payload in (("lifecycle", '{"event":"run_started"}'), ("assistant", "old"),
                                    ("lifecycle", '{"event":"run_finished"}')):
            push(field(1, sid) + field(2, event_type) + field(3, payload),
                 metadata=(("authorization", "Bearer service-token-0123456789"),))
    assert runners(api, sid).start().wait() == 0
    assert api.payloads(sid, "assistant") == ["old", "waiting"]


def test_resume_after_seq_skips_what_is_older(api, runners):
    sid = api.session("echo one")
    api.send(sid, "echo two")
    assert runners(api, sid, RESUME_AFTER_SEQ="1").start().wait() == 0
    assert api.payloads(sid, "assistant") == ["two"]


def test_killed_again_and_again_each_command_runs_at_most_once(api, runners):
    """Commands leave a mark each; runners die at random moments. Every message ends in exactly one way."""
    rng = random.Random(4)
    sid = api.session()
    r = runners(api, sid, INTERACTIVE="true")
    n = 25
    for i in range(n):
        api.send(sid, f"echo {i} >> marks; sleep 0.02; echo said {i}")

    def ended():
        return [json.loads(m["payload"])["seq"] for m in api.messages(sid, "lifecycle")
                if json.loads(m["payload"])["event"] in ("run_finished", "run_interrupted")]
    r.start()
    for _ in range(12):
        target = len(ended()) + rng.randint(0, 2)
        wait_until("progress", lambda: len(ended()) >= min(target, n) or len(ended()) == n)
        if len(ended()) == n:
            break
        r.kill()
        r.start()
    wait_until("all ended", lambda: len(ended()) == n)
    assert r.ready().terminate() == 0
    with open(os.path.join(r.workspace, "marks")) as f:
        marks = [int(line) for line in f]
    assert len(marks) == len(set(marks)) and marks == sorted(marks)
    assert len(set(ended())) == n
    said = [int(p.split()[1]) for p in api.payloads(sid, "assistant")]
    assert said == sorted(set(said))


def test_message_that_cannot_be_marked_as_begun_is_not_run(api, runners):
    sid = api.session("echo x > ran")
    r = runners(api, sid)
    os.makedirs(os.path.join(r.workspace, ".ambient/runner_state.json/in-the-way"))
    assert r.start().wait() == 10
    error = json.loads(api.payloads(sid, "error")[0])
    assert error["code"] == "state_not_saved"
    assert not os.path.exists(os.path.join(r.workspace, "ran"))
