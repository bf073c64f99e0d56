"""Sessions: creation, phases, start, stop, status. rest-core.md 11."""
import concurrent.futures

import pytest

from api_support import expect_error

TERMINAL = ["Stopped", "Completed", "Failed"]
PHASES = ["Pending", "Creating", "Running", "Stopping"] + TERMINAL


def in_phase(api, phase, **fields):
    """A session that reached the phase by moves that are allowed."""
    session = api.session(**fields)["id"]
    way = {None: [], "Pending": ["start"], "Creating": ["Creating"], "Running": ["Running"],
           "Stopping": ["Running", "Stopping"], "Stopped": ["Stopped"], "Completed": ["Running", "Completed"],
           "Failed": ["Failed"]}[phase]
    for step in way:
        if step == "start":
            api.ok("POST", f"/sessions/{session}/start", status=200)
        else:
            api.status(session, phase=step)
    return session


def test_what_a_new_session_has(api, project):
    made = api.session(name="new", project_id=project)
    assert made["created_by_user_id"] == "dev-user" and made["kube_cr_name"] == made["id"]
    assert (made["llm_model"], made["llm_temperature"], made["llm_max_tokens"]) == ("claude-sonnet-4-6", 0.7, 4000)
    for absent in ("phase", "prompt", "agent_id", "completion_time", "start_time", "run_id", "start_guard"):
        assert absent not in made
    assert api.session(llm_model="", llm_temperature=0)["llm_model"] == "claude-sonnet-4-6"
    assert api.session(llm_temperature=0)["llm_temperature"] == 0


def test_names(api):
    made = api.ok("POST", "/sessions", {})
    assert made["name"] == "session-" + made["id"][-8:]
    expect_error(api.post("/sessions", {"name": ""}), 400, 8, "name is required")
    expect_error(api.post("/sessions", {"name": None}), 400, 8, "name is required")
    expect_error(api.patch(f"/sessions/{made['id']}", {"name": ""}), 400, 8, "name is required")
    expect_error(api.post("/sessions", {"name": "n" * 256}), 400, 8, "name exceeds maximum length of 255")


def test_the_project_comes_from_body_or_header(api, project):
    header = {"X-Ambient-Project": project}
    assert api.ok("POST", "/sessions", {"name": "h"}, headers=header)["project_id"] == project
    assert "project_id" not in api.ok("POST", "/sessions", {"name": "h", "project_id": ""}, headers=header)
    expect_error(api.post("/sessions", {"name": "x", "project_id": "nobody"}), 404, 7,
                 "Project with id='nobody' not found")
    expect_error(api.post("/sessions", {"name": "x"}, headers={"X-Ambient-Project": "nobody"}), 404, 7)
    expect_error(api.post("/sessions", {"name": "x"}, headers={"X-Ambient-Project": "a b"}), 400, 8,
                 "invalid project_id format")


def test_agent_and_parent_must_be_there(api, project, name):
    agent = api.agent(project, "a")["id"]
    other = api.project(f"other-{name}")["id"]
    assert api.session(agent_id=agent)["project_id"] == project
    expect_error(api.post("/sessions", {"name": "x", "agent_id": agent, "project_id": other}), 403, 4,
                 "agent does not belong to this project")
    expect_error(api.post("/sessions", {"name": "x", "agent_id": "nobody"}), 404, 7, "Agent with id='nobody' not found")
    expect_error(api.post("/sessions", {"name": "x", "parent_session_id": "nobody"}), 404, 7)
    parent = api.session()["id"]
    child = api.session(parent_session_id=parent)
    assert child["parent_session_id"] == parent
    assert "parent_session_id" not in api.ok("PATCH", f"/sessions/{child['id']}", {"parent_session_id": ""})


def test_the_prompt_is_the_first_message(api):
    session = api.session(prompt="do it")["id"]
    [message] = api.messages(session)
    assert (message["seq"], message["event_type"], message["payload"]) == (1, "user", "do it")
    assert api.messages(api.session(prompt="")["id"]) == []


def test_a_clients_patch_does_not_touch_what_is_the_servers(api):
    session = api.session()
    patched = api.ok("PATCH", f"/sessions/{session['id']}", {
        "phase": "Running", "project_id": "x", "agent_id": "x", "created_by_user_id": "x", "kube_namespace": "x",
        "kube_cr_name": "x", "sdk_restart_count": 9})
    assert patched == session


@pytest.mark.parametrize("phase", [None] + PHASES)
def test_start(api, phase):
    session = in_phase(api, phase)
    answer = api.post(f"/sessions/{session}/start")
    if phase is None or phase in TERMINAL:
        assert answer.status == 200 and answer.json()["phase"] == "Pending"
        assert "completion_time" not in answer.json()
        assert answer.json().get("sdk_restart_count", 0) == (1 if phase else 0)
    else:
        expect_error(answer, 409, 6,
                     f'cannot start session in phase "{phase}"; must be empty, Stopped, Failed, or Completed')


@pytest.mark.parametrize("phase", [None] + PHASES)
def test_stop(api, phase):
    session = in_phase(api, phase)
    before = api.ok("GET", f"/sessions/{session}")
    answer = api.post(f"/sessions/{session}/stop", "null")
    if phase in ("Pending", "Creating", "Running"):
        assert answer.status == 200 and answer.json()["phase"] == "Stopping"
    elif phase == "Stopping":
        assert answer.status == 200 and answer.json() == before
    else:
        expect_error(answer, 409, 6,
                     f'cannot stop session in phase "{phase or ""}"; must be Running, Creating, or Pending')


ALLOWED = {None: {"Creating", "Running", "Failed", "Stopped"}, "Pending": {"Creating", "Running", "Failed", "Stopped"},
           "Creating": {"Running", "Failed", "Stopped"}, "Running": {"Completed", "Failed", "Stopping"},
           "Stopping": {"Stopped", "Failed"}, "Stopped": set(), "Completed": set(), "Failed": set()}


@pytest.mark.parametrize("phase", [None] + PHASES)
def test_status_moves(api, phase):
    for target in PHASES:
        session = in_phase(api, phase)
        answer = api.patch(f"/sessions/{session}/status", {"phase": target})
        if target in ALLOWED[phase] or target == phase:
            assert answer.status == 200 and answer.json()["phase"] == target, (phase, target, answer.body)
        else:
            expect_error(answer, 409, 6)
            assert api.ok("GET", f"/sessions/{session}").get("phase") == phase


def test_status_texts(api):
    session = api.session()["id"]
    path = f"/sessions/{session}/status"
    some = ("status patch body must set at least one field: phase, start_time, completion_time, sdk_session_id, "
            "sdk_restart_count, conditions, reconciled_repos, reconciled_workflow, kube_cr_uid, kube_namespace")
    for body in ({}, {"name": "x"}, "null", {"kube_cr_name": "x"}):
        expect_error(api.patch(path, body), 400, 8, some)
    expect_error(api.patch(path, {"phase": "running"}), 400, 8,
                 'invalid phase "running"; must be one of: Pending, Creating, Running, Stopping, Stopped, Completed, '
                 "Failed")
    expect_error(api.patch("/sessions/nobody/status", {"phase": "Running"}), 404, 7,
                 "Session with id='nobody' not found")
    for bad in ("evil.example/?", "A", "-a", "a" * 64):
        expect_error(api.patch(path, {"kube_namespace": bad}), 400, 8)
    expect_error(api.patch(path, {"start_time": "yesterday"}), 400, 17)
    expect_error(api.patch(path, ""), 400, 17)


def test_status_fields(api):
    session = api.session()["id"]
    body = {"phase": "Running", "start_time": "2026-04-01T10:00:00.5+02:00", "sdk_session_id": "sdk",
            "sdk_restart_count": 2, "conditions": "[]", "reconciled_repos": "[]", "reconciled_workflow": "{}",
            "kube_cr_uid": "uid", "kube_namespace": "local"}
    after = api.status(session, **body)
    assert {k: after[k] for k in body} == {**body, "start_time": "2026-04-01T08:00:00.500000Z"}
    assert "completion_time" in api.status(session, phase="Completed")
    given = api.status(in_phase(api, "Running"), phase="Failed", completion_time="2026-01-01T00:00:00Z")
    assert given["completion_time"] == "2026-01-01T00:00:00Z"


def test_the_end_of_a_session_frees_its_agent(api, project):
    agent = api.agent(project, "a")["id"]
    path = f"/projects/{project}/agents/{agent}"
    for end in ("Completed", "delete"):
        session = api.ok("POST", path + "/start")["session"]["id"]
        assert api.ok("GET", path)["current_session_id"] == session
        if end == "delete":
            api.ok("DELETE", f"/sessions/{session}")
        else:
            api.status(session, phase="Running")
            api.status(session, phase=end)
        assert "current_session_id" not in api.ok("GET", path)


def test_names_and_phases_that_change_at_once_are_both_kept(server):
    session = server.client().session()["id"]

    def rename(n):
        client = server.client()
        for i in range(n):
            client.ok("PATCH", f"/sessions/{session}", {"name": f"name-{i}"})
            assert client.ok("GET", f"/sessions/{session}")["name"] == f"name-{i}"
        client.close()

    def count(n):
        client = server.client()
        for i in range(n):
            client.status(session, sdk_restart_count=i)
            assert client.ok("GET", f"/sessions/{session}")["sdk_restart_count"] == i
        client.close()

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for job in [pool.submit(rename, 1000), pool.submit(count, 1000)]:
            job.result()
    last = server.client().ok("GET", f"/sessions/{session}")
    assert (last["name"], last["sdk_restart_count"]) == ("name-999", 999)
