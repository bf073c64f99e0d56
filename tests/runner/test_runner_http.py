"""The HTTP interface: the event stream, runs, interrupts, access."""
import json
import os
import threading

import pytest

from runner_support import wait_until

WAITS = "echo one; until [ -e go ]; do sleep 0.05; done; echo two"


@pytest.fixture
def runner(api, runners):
    return runners(api, api.session(), INTERACTIVE="true").start().ready()


def go(runner):
    open(os.path.join(runner.workspace, "go"), "w").close()


def sid(runner):
    return runner.env["SESSION_ID"]


def test_who_may_ask_for_what(runner):
    for path in ("/health", "/healthz"):
        assert runner.ask("GET", path, token=None) == (200, {"status": "healthy", "session_id": sid(runner)})
    assert runner.ask("GET", "/readyz", token=None) == (200, {"status": "ready"})
    for method, path in (("GET", "/events/x"), ("GET", "/agui/events"), ("POST", "/"), ("POST", "/interrupt"),
                         ("GET", "/capabilities"), ("GET", "/nowhere")):
        for token in (None, "", "wrong", "agui-token-012345678"):
            assert runner.ask(method, path, token=token) == (401, {"detail": "Unauthorized"}), (path, token)
    assert runner.ask("GET", "/nowhere") == (404, {"detail": "Not Found"})
    assert runner.ask("DELETE", "/interrupt") == (405, {"detail": "Method Not Allowed"})
    assert runner.ask("GET", "/events/other-thread")[0] == 404


def test_capabilities(runner):
    status, body = runner.ask("GET", "/capabilities")
    assert status == 200 and runner.ask("GET", "/agui/capabilities") == (status, body)
    assert body["framework"] == "shell" and body["session_id"] == sid(runner) and body["file_system"] is True
    assert set(body) == {"framework", "agent_features", "platform_features", "file_system", "mcp", "tracing",
                         "session_persistence", "model", "session_id"}


def test_every_viewer_sees_the_run_whenever_it_came(api, runner):
    early = [runner.events(f"/events/{sid(runner)}"), runner.events(f"/events/{sid(runner).lower()}")]
    api.send(sid(runner), WAITS)
    early[0].until("TEXT_MESSAGE_CONTENT")
    late = runner.events()
    assert late.until("TEXT_MESSAGE_CONTENT")[1]["delta"] == "one\n"
    go(runner)
    everything = ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_CONTENT",
                  "TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert early[1].types() == everything
    assert early[0].types() == late.types() == everything[3:]


def test_reader_goes_on_where_it_was(api, runner):
    stream = runner.events()
    api.send(sid(runner), WAITS)
    number, _ = stream.until("TEXT_MESSAGE_CONTENT")
    stream.close()
    go(runner)
    rest = runner.events(headers={"Last-Event-ID": str(number)})
    events = list(rest)
    assert [e["type"] for _, e in events] == ["TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED"]
    assert [n for n, _ in events] == [number + 1, number + 2, number + 4]  # the snapshot between is not for the tap


def test_follow_stays_across_runs(api, runner):
    stream = iter(runner.events("/agui/events?follow=1"))
    for text in ("echo a", "echo b"):
        api.send(sid(runner), text)
        while next(stream)[1]["type"] != "RUN_FINISHED":
            pass


def test_wait_for_a_run(api, runner, runners):
    r = runners(api, api.session(), INTERACTIVE="true", EVENTS_TAP_TIMEOUT_SEC="1").start().ready()
    status, body = r.ask("GET", f"/events/{sid(r)}/wait")
    assert status == 404 and body == {"detail": f"No active stream for thread '{sid(r)}'"}
    api.send(sid(runner), WAITS)
    assert runner.events(f"/events/{sid(runner)}/wait").until("RUN_STARTED")
    go(runner)


def test_run_over_http(api, runner):
    messages = [{"role": "user", "content": "echo hi"}]
    body = json.dumps({"threadId": "my-thread", "runId": "my-run", "messages": messages})
    for path in ("/", "/agui/run"):
        events = [e for _, e in runner.events(path, method="POST", body=body)]
        assert [e["type"] for e in events] == ["RUN_STARTED", "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT",
                                               "TEXT_MESSAGE_END", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]
        assert events[0]["threadId"] == "my-thread" and events[0]["runId"] == "my-run"
        assert events[0]["input"]["messages"][0]["content"] == "echo hi"
        snapshot = events[4]["messages"]
        assert [m["role"] for m in snapshot] == ["user", "assistant"] and snapshot[1]["content"] == "hi\n"
    wait_until("records", lambda: api.payloads(sid(runner), "assistant") == ["hi", "hi"])


def test_runs_over_http_wait_for_each_other(runner):
    results = {}

    def run(name):
        body = json.dumps({"runId": name, "messages": [{"role": "user", "content": f"echo {name}"}]})
        results[name] = [e for _, e in runner.events("/", method="POST", body=body)]
    threads = [threading.Thread(target=run, args=(f"r{i}",)) for i in range(5)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for name, events in results.items():
        assert events[0]["runId"] == name and events[-1]["type"] == "RUN_FINISHED"
        assert "".join(e.get("delta", "") for e in events) == name + "\n"


@pytest.mark.parametrize("body,kind,loc", [
    ("", "json_invalid", ["body"]),
    ("{", "json_invalid", ["body"]),
    ("[]", "model_attributes_type", ["body"]),
    ("{}", "missing", ["body", "messages"]),
    ('{"messages": 7}', "list_type", ["body", "messages"]),
])
def test_run_inputs_that_are_none(runner, body, kind, loc):
    status, answer = runner.ask("POST", "/", body)
    assert status == 422
    assert answer["detail"][0]["type"] == kind and answer["detail"][0]["loc"] == loc


def test_failed_run_says_so(runner):
    body = json.dumps({"messages": [{"role": "user", "content": "exit 7"}]})
    events = [e for _, e in runner.events("/", method="POST", body=body)]
    assert events[-1]["type"] == "RUN_ERROR" and events[-1]["code"] == "exit_7"


def test_interrupt(api, runner):
    stream = runner.events()
    api.send(sid(runner), "echo started; sleep 1000")
    stream.until("TEXT_MESSAGE_CONTENT")
    assert runner.ask("POST", "/interrupt", json.dumps({"thread_id": sid(runner)})) == (
        200, {"message": "Interrupt signal sent"})
    _, end = stream.until("RUN_FINISHED")
    assert end["result"]["interrupted"] is True
    assert runner.ask("POST", "/agui/interrupt")[0] == 200  # nothing runs: nothing happens
    assert runner.ask("POST", "/interrupt", json.dumps({"thread_id": "other"}))[0] == 500
    assert runner.ask("POST", "/interrupt", "{")[0] == 422


def test_interrupt_of_all_drops_what_waits(api, runner):
    stream = runner.events()
    api.send(sid(runner), "echo started; sleep 1000")
    stream.until("TEXT_MESSAGE_CONTENT")
    dropped = [api.send(sid(runner), "echo never"), api.send(sid(runner), "echo never")]
    assert stream.until("CUSTOM")[1] == {"type": "CUSTOM", "name": "ambient:queue", "value": {"depth": 1}}
    assert stream.until("CUSTOM")[1]["value"] == {"depth": 2}
    assert runner.ask("POST", "/interrupt", json.dumps({"scope": "all"}))[0] == 200
    stream.until("RUN_FINISHED")
    api.send(sid(runner), "echo after")
    wait_until("answer", lambda: api.payloads(sid(runner), "assistant") == ["started", "after"])
    cancelled = [json.loads(p)["seq"] for p in api.payloads(sid(runner), "lifecycle")
                 if json.loads(p)["event"] == "run_cancelled"]
    assert cancelled == dropped
    # Nor does the next runner run them.
    assert runner.terminate() == 0
    runner.start().ready()
    api.send(sid(runner), "echo last")
    wait_until("answer", lambda: api.payloads(sid(runner), "assistant") == ["started", "after", "last"])


def test_client_that_leaves_does_not_end_the_run(api, runner):
    body = json.dumps({"messages": [{"role": "user", "content": WAITS}]})
    stream = runner.events("/", method="POST", body=body)
    stream.until("TEXT_MESSAGE_CONTENT")
    stream.close()
    go(runner)
    wait_until("record", lambda: api.payloads(sid(runner), "assistant") == ["one\ntwo"])


def test_without_an_api_server_it_runs_what_http_asks(runners):
    r = runners(None, "s1", INTERACTIVE="true").start().ready()
    body = json.dumps({"messages": [{"role": "user", "content": "echo alone"}]})
    events = [e for _, e in r.events("/", method="POST", body=body)]
    assert "".join(e.get("delta", "") for e in events) == "alone\n"
    assert r.terminate() == 0


def test_slow_viewer_delays_nobody(api, runner):
    slow = runner.events()
    api.send(sid(runner), "head -c 900000 /dev/zero | tr '\\0' x; echo; echo END")
    wait_until("record", lambda: api.payloads(sid(runner), "assistant"))
    text = "".join(e.get("delta", "") for _, e in slow)
    assert len(text) == 900005 and text.endswith("END\n")
