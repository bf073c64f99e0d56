"""Agents: the kind, start, preview; inbox. rest-core.md 9 and 10."""
import concurrent.futures
import json

import pytest

from api_support import expect_error


@pytest.fixture
def agent(api, project):
    return api.agent(project, "worker", prompt="Be good.")


@pytest.fixture
def base(project, agent):
    return f"/projects/{project}/agents/{agent['id']}"


def inbox_post(api, base, body, **fields):
    return api.ok("POST", base + "/inbox", {"agent_id": "", "body": body, **fields})


# ---- the kind ----

def test_defaults(api, project):
    made = api.agent(project, "plain")
    assert (made["llm_model"], made["llm_temperature"], made["llm_max_tokens"]) == ("claude-sonnet-4-6", 0.7, 4000)
    assert made["owner_user_id"] == "dev-user" and made["project_id"] == project
    unset = api.agent(project, "unset", llm_temperature=-1, llm_max_tokens=-1, llm_model="")
    assert (unset["llm_model"], unset["llm_temperature"], unset["llm_max_tokens"]) == ("claude-sonnet-4-6", 0.7, 4000)
    assert api.agent(project, "cold", llm_temperature=0)["llm_temperature"] == 0


def test_names_are_unique_in_a_project(api, project, agent, name):
    expect_error(api.post(f"/projects/{project}/agents", {"project_id": "", "name": "worker"}), 409, 6,
                 "This Agent already exists")
    other = api.project(f"second-{name}")["id"]
    assert api.agent(other, "worker")["id"] != agent["id"]
    second = api.agent(project, "second")["id"]
    expect_error(api.patch(f"/projects/{project}/agents/{second}", {"name": "worker"}), 409, 6)
    api.ok("DELETE", f"/projects/{project}/agents/{agent['id']}")
    assert api.agent(project, "worker")["id"] != agent["id"]


def test_the_path_decides_the_project(api, project, agent, name):
    other = api.project(f"third-{name}")["id"]
    assert api.ok("POST", f"/projects/{project}/agents", {"project_id": other, "name": "x"})["project_id"] == project
    for method, tail in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/start"), ("GET", "/start"),
                         ("GET", "/sessions"), ("GET", "/inbox"), ("POST", "/inbox")):
        body = {"agent_id": "", "body": "x"} if (method, tail) == ("POST", "/inbox") else {}
        expect_error(api.call(method, f"/projects/{other}/agents/{agent['id']}{tail}", body), 403, 4,
                     "agent does not belong to this project")
    expect_error(api.get("/projects/nobody/agents"), 404, 7, "Project with id='nobody' not found")
    expect_error(api.post("/projects/nobody/agents", {"project_id": "", "name": "x"}), 404, 7)


def test_ids_in_paths(api, project):
    expect_error(api.raw("GET", "/api/ambient/v1/projects/a%20b/agents"), 400, 8, "invalid project id")
    expect_error(api.raw("GET", f"/api/ambient/v1/projects/{project}/agents/a.b"), 400, 8, "invalid agent id")
    expect_error(api.raw("GET", f"/api/ambient/v1/projects/{project}/agents/a%27b/inbox"), 400, 8, "invalid agent id")
    expect_error(api.raw("POST", f"/api/ambient/v1/projects/{project}/agents/%7Bx%7D/start"), 400, 8,
                 "invalid agent id")


def test_an_agent_is_found_by_its_href(api, agent):
    assert api.raw("GET", agent["href"]).json() == agent


def test_search_in_a_project_stays_in_it(api, project, agent, name):
    other = api.project(f"fourth-{name}")["id"]
    api.agent(other, "worker")
    found = api.items(f"/projects/{project}/agents", search="name = 'worker' or name != ''")
    assert [a["id"] for a in found] == [agent["id"]]


# ---- start ----

def test_a_start_makes_a_session_with_the_agents_settings(api, project, name):
    settings = {"llm_model": "m", "llm_temperature": 0.1, "llm_max_tokens": 17, "repo_url": "https://r",
                "workflow_id": "w", "bot_account_name": "bot", "resource_overrides": '{"cpu":"1"}',
                "environment_variables": '{"A":"B"}', "labels": '{"team":"x"}'}
    agent = api.agent(project, "full", prompt="Stand.", **settings)
    answer = api.post(f"/projects/{project}/agents/{agent['id']}/start", {"prompt": "Run it."})
    assert answer.status == 201 and not answer.body.endswith(b"\n")
    session, prompt = answer.json()["session"], answer.json()["starting_prompt"]
    assert {k: session[k] for k in settings} == settings
    assert session["phase"] == "Pending" and session["agent_id"] == agent["id"]
    assert session["project_id"] == project and session["created_by_user_id"] == "dev-user"
    assert session["name"].startswith("full-") and session["prompt"] == "Stand."
    assert session["kube_cr_name"] == session["id"]
    [message] = api.messages(session["id"])
    assert message["payload"] == prompt and message["event_type"] == "user"
    assert api.ok("GET", f"/projects/{project}/agents/{agent['id']}")["current_session_id"] == session["id"]
    assert [s["id"] for s in api.items(f"/projects/{project}/agents/{agent['id']}/sessions")] == [session["id"]]


def test_layout_of_the_prompt(api, project, base):
    api.ok("PATCH", f"/projects/{project}", {"prompt": "The workspace."})
    api.agent(project, "beta", description="Reviews | things")
    api.agent(project, "alpha")
    inbox_post(api, base, "first", from_name="Ann")
    inbox_post(api, base, "second", from_agent_id="agent-7")
    inbox_post(api, base, "third")
    prompt = api.ok("POST", base + "/start", {"prompt": "Do this."})["starting_prompt"]
    lines = prompt.split("\n")
    assert lines[0] == "# Agent Start: worker"
    assert f"**worker**" in prompt and f"**{project}**" in prompt
    sections = [line for line in lines if line.startswith("## ")]
    assert sections == ["## Workspace Context", "## Standing Instructions", "## Peer Agents in this Project",
                        "## Inbox Messages (unread at start)", "## Task for this Run"]
    assert "The workspace." in prompt and "Be good." in prompt and prompt.rstrip().endswith("Do this.")
    assert lines.index("| alpha | - |") < lines.index("| beta | Reviews \\| things |")
    order = [prompt.index(text) for text in ("**From Ann:** first", "**From agent-7:** second",
                                             "**From system:** third")]
    assert order == sorted(order)
    assert "worker |" not in prompt


def test_sections_without_content_are_left_out(api, project):
    agent = api.agent(project, "alone")["id"]
    prompt = api.ok("POST", f"/projects/{project}/agents/{agent}/start", "")["starting_prompt"]
    assert "##" not in prompt.replace("# Agent Start", "", 1)


@pytest.mark.parametrize("body", ["", "{}", "null", '{"prompt":null}', '{"other":1}'])
def test_a_start_needs_no_body(api, base, body):
    assert "Task for this Run" not in api.ok("POST", base + "/start", body)["starting_prompt"]


@pytest.mark.parametrize("body", ["[]", "7", '{"prompt":7}', "{", '{"prompt":"' + "x" * (1 << 20) + 'y"}'])
def test_a_start_with_a_bad_body_starts_nothing(api, base, body):
    answer = api.post(base + "/start", body)
    assert answer.status == 400
    assert api.items(base + "/sessions") == []


def test_a_running_agent_is_not_started_again(api, base):
    first = api.ok("POST", base + "/start")["session"]
    for phase in ("Pending", "Creating", "Running"):
        if phase != "Pending":
            api.status(first["id"], phase=phase)
        answer = api.post(base + "/start", {"prompt": "again"})
        assert answer.status == 200 and answer.body.endswith(b"\n")
        assert answer.json()["session"]["id"] == first["id"] and answer.json()["starting_prompt"] == ""
    api.status(first["id"], phase="Completed")
    assert api.ok("POST", base + "/start")["session"]["id"] != first["id"]


def test_a_session_without_phase_does_not_block_a_start(api, agent, base):
    api.session(agent_id=agent["id"])
    assert api.ok("POST", base + "/start")["session"]["phase"] == "Pending"


def test_an_old_session_is_not_started_beside_a_new_one(api, base):
    old = api.ok("POST", base + "/start")["session"]["id"]
    api.status(old, phase="Failed")
    new = api.ok("POST", base + "/start")["session"]["id"]
    expect_error(api.post(f"/sessions/{old}/start"), 409, 6)
    api.status(new, phase="Failed")
    assert api.ok("POST", f"/sessions/{old}/start", status=200)["phase"] == "Pending"
    assert api.ok("GET", base)["current_session_id"] == old


def test_a_hundred_starts_at_once_make_one_session(server, api, base):
    def start(_):
        client = server.client()
        answer = client.post(base + "/start", {"prompt": "go"})
        client.close()
        return answer.status, answer.json()["session"]["id"]

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(start, range(100)))
    assert sorted(status for status, _ in answers) == [200] * 99 + [201]
    assert len({session for _, session in answers}) == 1
    assert len(api.items(base + "/sessions")) == 1
    assert len(api.messages(answers[0][1])) == 1


def test_the_same_key_repeats_the_first_answer_of_a_start(api, base, name):
    key = {"Idempotency-Key": f"start-{name}"}
    first = api.ok("POST", base + "/start", {"prompt": "x"}, headers=key)
    api.status(first["session"]["id"], phase="Failed")
    replay = api.post(base + "/start", {"prompt": "x"}, headers=key)
    assert replay.status == 201 and replay.headers["Idempotency-Replayed"] == "true"
    again = replay.json()
    assert again["session"]["id"] == first["session"]["id"]
    assert again["starting_prompt"] == first["starting_prompt"]


def test_preview_changes_nothing(api, project, base):
    inbox_post(api, base, "unread")
    answer = api.get(base + "/start")
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    assert "unread" in answer.json()["starting_prompt"]
    text = api.get(base + "/start", headers={"Accept": "text/plain"})
    assert text.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert text.body.decode() == answer.json()["starting_prompt"]
    assert api.items(base + "/sessions") == [] and "read" not in api.items(base + "/inbox")[0]
    assert "current_session_id" not in api.ok("GET", base)


# ---- inbox ----

def test_life_of_an_inbox_message(api, agent, base):
    made = inbox_post(api, base, "hello", from_name="Ann", from_agent_id="a1")
    assert made["agent_id"] == agent["id"] and "read" not in made and "project_id" not in made
    item = f"{base}/inbox/{made['id']}"
    assert api.ok("GET", item) == made and api.raw("GET", made["href"]).json() == made
    assert api.ok("PATCH", item, {"read": True, "body": "x", "from_name": "y"})["read"] is True
    assert api.ok("GET", item)["body"] == "hello"
    assert api.ok("PATCH", item, {"read": False})["read"] is False
    api.ok("DELETE", item)
    expect_error(api.get(item), 404, 7, f"InboxMessage with id='{made['id']}' not found")
    expect_error(api.delete(item), 404, 7)


def test_inbox_refusals(api, project, base):
    for body in ({"agent_id": "", "body": ""}, {"agent_id": "", "body": None}):
        expect_error(api.post(base + "/inbox", body), 400, 8, "body is required")
    expect_error(api.post(base + "/inbox", {"agent_id": ""}), 400, 17)
    expect_error(api.post(base + "/inbox", {"body": "x"}), 400, 17)
    expect_error(api.get(f"/projects/{project}/agents/nobody/inbox"), 404, 7, "Agent with id='nobody' not found")
    message = inbox_post(api, base, "mine")["id"]
    other = api.agent(project, "other")["id"]
    expect_error(api.get(f"/projects/{project}/agents/{other}/inbox/{message}"), 403, 4,
                 "message does not belong to this agent")


def test_unread_messages_come_first(api, base):
    ids = [inbox_post(api, base, str(i))["id"] for i in range(4)]
    api.ok("PATCH", f"{base}/inbox/{ids[0]}", {"read": True})
    api.ok("PATCH", f"{base}/inbox/{ids[2]}", {"read": True})
    assert [m["body"] for m in api.items(base + "/inbox")] == ["1", "3", "0", "2"]
    assert [m["body"] for m in api.items(base + "/inbox", search="read = 'true'", orderBy="created_at desc")] == [
        "2", "0"]


def test_a_start_drains_the_inbox(api, base):
    for i in range(3):
        inbox_post(api, base, f"note {i}")
    prompt = api.ok("POST", base + "/start")["starting_prompt"]
    assert prompt.index("note 0") < prompt.index("note 1") < prompt.index("note 2")
    assert all(m["read"] for m in api.items(base + "/inbox"))


def test_an_inbox_too_large_for_one_prompt_is_drained_in_parts(api, base):
    for i in range(5):
        inbox_post(api, base, f"<{i}>" + "x" * 700_000)
    first = api.ok("POST", base + "/start")
    assert "<1>" in first["starting_prompt"] and "<3>" not in first["starting_prompt"]
    assert [m["body"][:3] for m in api.items(base + "/inbox", search="read is null")] == ["<2>", "<3>", "<4>"]


def test_the_unfilled_path_of_a_generated_client(api, project, agent, base):
    made = inbox_post(api, base, "for me")
    other = api.agent(project, "other")["id"]
    inbox_post(api, f"/projects/{project}/agents/{other}", "for another")
    path = f"/projects/{project}/agents/%7Bagent_id%7D/inbox"
    found = api.items(path, search=f"project_id = '{project}' and agent_id = '{agent['id']}'")
    assert [m["id"] for m in found] == [made["id"]]
    expect_error(api.get(path), 400, 8, "invalid agent id")
    expect_error(api.get(path, {"search": f"project_id = '{project}' or agent_id = '{agent['id']}'"}), 400, 8)


def test_deleting_an_agent_empties_its_inbox(api, project, base):
    message = inbox_post(api, base, "x")
    api.ok("DELETE", base)
    expect_error(api.raw("GET", message["href"]), 404, 7)


def test_answers_are_json(api, base):
    assert json.loads(api.post(base + "/start").body)["session"]["kind"] == "Session"
