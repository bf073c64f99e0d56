"""Scheduled sessions: the kind, what it starts, and the scheduler in the program. rest-governance-and-auth.md 5."""
import concurrent.futures
import contextlib
import datetime
import sqlite3
import threading
import urllib.request

import pytest

import api_support
from api_support import AUDIENCE, ISSUER, expect_error, wait_for

FOUR = {"name": "nightly", "schedule": "0 9 * * 1-5", "timezone": "Europe/Berlin"}


@pytest.fixture
def base(project):
    return f"/projects/{project}/scheduled-sessions"


@pytest.fixture
def agent(api, project):
    return api.agent(project, "worker", prompt="Be good.", llm_model="m1")["id"]


def make(api, base, **fields):
    return api.ok("POST", base, {**FOUR, **fields})


def runs(api, base, schedule):
    return api.items(f"{base}/{schedule['id']}/runs")


def history(api, base, schedule):
    return api.items(f"{base}/{schedule['id']}/history")


# ---- the kind ----

def test_what_is_not_said_takes_defaults(api, base, project):
    """D69: the CLI never sends `enabled`, and means true."""
    made = make(api, base)
    assert made["enabled"] is True and made["timezone"] == "Europe/Berlin"
    assert made["overlap_policy"] == "skip" and made["catch_up"] == "one"
    assert made["project_id"] == project and made["created_by_user_id"] == "dev-user"
    assert made["kind"] == "ScheduledSession"
    assert made["href"] == f"/api/ambient/v1{base}/{made['id']}"
    assert api.raw("GET", made["href"]).json() == made
    due = datetime.datetime.fromisoformat(made["next_run_at"].replace("Z", "+00:00"))
    assert due > datetime.datetime.now(datetime.timezone.utc) and due.weekday() < 5 and due.minute == 0
    assert "last_run_at" not in made and "agent_id" not in made
    assert make(api, base, name="utc", timezone="")["timezone"] == "UTC"


def test_the_body_is_read_leniently(api, base, project):
    made = make(api, base, id="mine", project_id="another", unknown=1, next_run_at="2020-01-01T00:00:00Z")
    assert made["id"] != "mine" and made["project_id"] == project and made["next_run_at"] > "2026"


def test_refusals(api, base, agent, name):
    """D69: what could never run is refused when it is written."""
    for body, reason in (({}, "name is required"), ({"name": "n"}, "schedule is required"),
                         ({"name": "", "schedule": "* * * * *"}, "name is required")):
        expect_error(api.post(base, body), 400, 8, reason)
    for bad in ("bad cron", "61 * * * *", "0 0 30 2 *", "0 0 31 4 *", "* * * * * *", "@reboot", "5/10 * * * *"):
        assert expect_error(api.post(base, {**FOUR, "schedule": bad}), 400, 8)["reason"].startswith("schedule")
    for bad in ("Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe"):
        error = expect_error(api.post(base, {**FOUR, "timezone": bad}), 400, 8)
        assert error["reason"].startswith("unknown time zone")
    other = api.project(f"other-{name}")["id"]
    foreign = api.agent(other, "x")["id"]
    texts = {expect_error(api.post(base, {**FOUR, "agent_id": a}), 400, 8)["reason"].replace(a, "")
             for a in (foreign, "2abCdEfGhIjKlMnOpQrStUvWxYz")}
    assert len(texts) == 1, "a foreign agent reads like none"
    expect_error(api.post(base, {**FOUR, "timeout": -1}), 400, 8, "timeout must not be negative")
    expect_error(api.post(base, "null"), 400, 17)
    assert api.items(base) == []
    made = make(api, base, agent_id=agent)
    expect_error(api.post(base, FOUR), 409, 6, "This ScheduledSession already exists")
    path = f"{base}/{made['id']}"
    for change in ({"schedule": "x"}, {"timezone": "Nowhere"}, {"agent_id": foreign}, {"timeout": -5},
                   {"overlap_policy": "Forbid"}, {"catch_up": "some"}, {"name": ""}):
        expect_error(api.patch(path, change), 400, 8)
    assert api.ok("GET", path) == made


def test_a_list_is_paged_and_in_order(api, base):
    """D69: the reference ignores paging and has a random order."""
    ids = [make(api, base, name=f"s{i}")["id"] for i in range(5)]
    assert [s["id"] for s in api.items(base)] == ids
    page = api.ok("GET", base, query={"page": 2, "size": 2})
    assert [s["id"] for s in page["items"]] == ids[2:4] and page["total"] == 5
    assert page["kind"] == "ScheduledSessionList"
    assert [s["id"] for s in api.items(base, search="name = 's3'")] == [ids[3]]
    assert [s["id"] for s in api.items(base, orderBy="name desc")] == ids[::-1]
    for hidden in ("wake_at", "owner_type"):
        expect_error(api.get(base, {"search": f"{hidden} is null"}), 400, 21)


def test_d11b_a_schedule_is_only_there_in_its_own_project(api, base, name):
    made = make(api, base)
    other = f"/projects/{api.project(f'other-{name}')['id']}/scheduled-sessions/{made['id']}"
    for method, tail in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/suspend"), ("POST", "/resume"),
                         ("POST", "/trigger"), ("GET", "/runs"), ("GET", "/history")):
        expect_error(api.call(method, other + tail, {}), 404, 7)
    assert api.ok("GET", f"{base}/{made['id']}") == made
    expect_error(api.get("/projects/nobody/scheduled-sessions"), 404, 7)
    expect_error(api.post("/projects/nobody/scheduled-sessions", FOUR), 404, 7)


def test_d70_unknown_ids_are_not_found(api, base):
    path = f"{base}/2abCdEfGhIjKlMnOpQrStUvWxYz"
    for method, tail in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/suspend"), ("POST", "/resume"),
                         ("POST", "/trigger"), ("GET", "/runs"), ("GET", "/history")):
        expect_error(api.call(method, path + tail, {}), 404, 7)


def test_suspend_and_resume(api, base):
    path = f"{base}/{make(api, base)['id']}"
    off = api.ok("POST", path + "/suspend", status=200)
    assert off["enabled"] is False and "next_run_at" not in off
    assert api.ok("POST", path + "/suspend", "whatever", status=200)["enabled"] is False
    on = api.ok("POST", path + "/resume", status=200)
    assert on["enabled"] is True and on["next_run_at"]
    off = api.ok("PATCH", path, {"enabled": False})
    assert off["enabled"] is False and "next_run_at" not in off
    api.ok("DELETE", path)
    expect_error(api.get(path), 404, 7)


# ---- by hand ----

def test_d68_trigger_starts_the_agent(api, base, agent):
    made = make(api, base, agent_id=agent, session_prompt="Count the stars.", timeout=300, inactivity_timeout=20,
                stop_on_run_finished=True, runner_type="claude")
    answer = api.ok("POST", f"{base}/{made['id']}/trigger", status=200)
    assert answer["status"] == "triggered"
    session = api.ok("GET", f"/sessions/{answer['session_id']}")
    assert session["agent_id"] == agent and session["scheduled_session_id"] == made["id"]
    assert session["phase"] == "Pending" and session["llm_model"] == "m1" and session["interactive"] is False
    assert session["timeout"] == 300 and session["inactivity_timeout"] == 20
    assert session["environment_variables"] == '{"RUNNER_TYPE":"claude"}'
    text = api.messages(session["id"])[0]["payload"]
    assert text.index("Be good.") < text.index("## Task for this Run\n\nCount the stars.")
    page = api.ok("GET", f"{base}/{made['id']}/runs", query={"size": 1})
    assert page["kind"] == "SessionList" and page["total"] == 1 and page["items"][0]["id"] == session["id"]
    line = history(api, base, made)[0]
    assert (line["cause"], line["outcome"], line["session_id"]) == ("manual", "started", session["id"])
    assert api.raw("GET", line["href"]).json() == line
    assert api.ok("GET", f"{base}/{made['id']}")["last_run_at"]
    expect_error(api.post(f"{base}/{made['id']}/trigger"), 409, 6, f'the agent already runs session "{session["id"]}"')
    api.ok("DELETE", f"{base}/{made['id']}")
    assert api.raw("GET", line["href"]).status == 404
    assert api.ok("GET", f"/sessions/{session['id']}")["id"] == session["id"]


def test_a_run_that_waits_is_seen_at_once(api, base, agent):
    """Answers of reads are kept until something changes: this is a change."""
    made = make(api, base, agent_id=agent, overlap_policy="queue")
    api.ok("POST", f"{base}/{made['id']}/trigger", status=200)
    assert len(history(api, base, made)) == 1
    assert api.ok("POST", f"{base}/{made['id']}/trigger", status=200) == {"status": "queued"}
    assert sorted(line["outcome"] for line in history(api, base, made)) == ["queued", "started"]
    expect_error(api.post(f"{base}/{made['id']}/trigger"), 409, 6, "a run waits already")


def test_a_project_takes_its_schedules_with_it(api, name):
    project = api.project(f"gone-{name}")["id"]
    base = f"/projects/{project}/scheduled-sessions"
    make(api, base)
    api.ok("DELETE", f"/projects/{project}")
    api.project(project)
    assert api.items(base) == []


# ---- who may ----

def test_what_roles_in_the_project_allow(as_user, name):
    """rest-governance-and-auth.md 9."""
    owner, editor, viewer = (as_user(f"{who}-{name}") for who in ("owner", "editor", "viewer"))
    project = owner.project(f"roles-{name}")["id"]
    for who in ("editor", "viewer"):
        role = owner.items("/roles", search=f"name = 'project:{who}'")[0]["id"]
        owner.ok("POST", "/role_bindings", {"role_id": role, "scope": "project", "project_id": project,
                                            "user_id": f"{who}-{name}"})
    base = f"/projects/{project}/scheduled-sessions"
    made = make(editor, base)
    path = f"{base}/{made['id']}"
    for tail in ("", "/runs", "/history"):
        assert viewer.get(path + tail).status == 200
    assert [s["id"] for s in viewer.items(base)] == [made["id"]]
    for method, tail in (("PATCH", ""), ("DELETE", ""), ("POST", "/suspend"), ("POST", "/resume"),
                         ("POST", "/trigger")):
        assert viewer.call(method, path + tail, {}).status == 403
    assert viewer.post(base, {**FOUR, "name": "v"}).status == 403
    for tail in ("/suspend", "/resume", "/trigger"):
        assert editor.post(path + tail).status == 200
    assert editor.patch(path, {"description": "d"}).status == 200
    assert editor.delete(path).status == 403
    assert owner.delete(path).status == 204


def test_strangers_see_nothing_and_may_nothing(as_user, as_admin):
    alice, mallory = as_user("alice"), as_user("mallory")
    project = alice.project("scheduled")["id"]
    base = f"/projects/{project}/scheduled-sessions"
    made = make(alice, base)
    assert made["created_by_user_id"] == "alice"
    for path in (base, f"{base}/{made['id']}", f"{base}/{made['id']}/runs", f"{base}/{made['id']}/history"):
        assert mallory.get(path).status == 404
    for method, tail in (("PATCH", ""), ("DELETE", ""), ("POST", "/suspend"), ("POST", "/resume"),
                         ("POST", "/trigger")):
        assert mallory.call(method, f"{base}/{made['id']}{tail}", {}).status == 403
    assert mallory.post(base, {**FOUR, "name": "m"}).status == 403
    assert [s["id"] for s in as_admin.items(base)] == [made["id"]]


# ---- the scheduler ----

class Replicas:
    """Servers on one store; `due` turns the clock for one schedule, as no test can wait for a minute."""

    def __init__(self, directory, database=None, args=(), env=None):
        self.directory, self.servers, self.database = directory, [], database
        self.args, self.env = ["--scheduler-interval=100ms", *args], env
        self.name = database.database() if database else None
        self.api = None

    def start(self, n):
        for i in range(n):
            place = self.directory / f"server{i}"
            place.mkdir()
            server = api_support.ApiServer(place, self.args, self.env, self.database and self.database.url(self.name))
            server.database = self.directory / "ambient.db"
            if i == 0 and self.database:  # a shared database is not migrated by who serves it
                assert server.run("migrate").returncode == 0
            self.servers.append(server.start())
        self.api = self.servers[0].client()
        return self

    def due(self, schedule, ago=0):
        """The schedule is due since `ago` seconds."""
        at = datetime.datetime.now(datetime.timezone.utc).timestamp() - ago
        if self.database:
            self.database.sql(f"UPDATE scheduled_sessions SET next_run_at = to_timestamp({at:.6f}),"
                              f" wake_at = to_timestamp({at:.6f}) WHERE id = '{schedule['id']}'", self.name)
            return
        with contextlib.closing(sqlite3.connect(self.directory / "ambient.db", timeout=30)) as db, db:
            changed = db.execute("UPDATE scheduled_sessions SET next_run_at = ?1, wake_at = ?1 WHERE id = ?2",
                                 (int(at * 1e6), schedule["id"])).rowcount
            assert changed == 1


@pytest.fixture
def replicas(tmp_path):
    started = []

    def start(n, **how):
        started.append(Replicas(tmp_path, **how).start(n))
        return started[-1]
    yield start
    for one in started:
        one.api.close()
        for server in one.servers:
            server.stop()


def started_ids(api, base, schedule):
    return [line["session_id"] for line in history(api, base, schedule) if line["outcome"] == "started"]


def test_d68_a_schedule_runs_by_itself(replicas):
    r = replicas(1)
    r.api.project("demo")
    base = "/projects/demo/scheduled-sessions"
    agent = r.api.agent("demo", "worker")["id"]
    made = make(r.api, base, agent_id=agent, session_prompt="Go.")
    r.due(made)
    ids = wait_for(lambda: started_ids(r.api, base, made), "the first run")
    session = r.api.ok("GET", f"/sessions/{ids[0]}")
    assert session["phase"] == "Pending" and session["created_by_user_id"] == "dev-user"
    after = r.api.ok("GET", f"{base}/{made['id']}")
    assert after["last_run_at"] and after["next_run_at"] == made["next_run_at"]
    with urllib.request.urlopen(f"http://127.0.0.1:{r.servers[0].ports['metrics']}/metrics") as answer:
        samples = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[:1] not in ("", "#"))
    assert float(samples["ambient_scheduler_passes_total"]) >= 1
    assert float(samples["ambient_scheduler_failures_total"]) == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_replicas_fire_once_also_when_some_are_killed(replicas, kind, request):
    """Three servers on one store: each time is served once, whoever is killed."""
    r = replicas(3, database=request.getfixturevalue("database") if kind == "postgres" else None)
    r.api.project("demo")
    base = "/projects/demo/scheduled-sessions"
    schedules = [make(r.api, base, name=f"s{i}", session_prompt="true", runner_type="shell") for i in range(8)]
    for schedule in schedules:
        r.due(schedule)
    wait_for(lambda: all(started_ids(r.api, base, s) for s in schedules), "a run of each")
    for round_number in range(3 if kind == "postgres" else 8):
        for schedule in schedules:
            for session in runs(r.api, base, schedule):
                if session["phase"] == "Pending":
                    r.api.status(session["id"], phase="Failed")
        victims = r.servers[1:]
        kill = threading.Thread(target=lambda: [v.kill() for v in victims])
        for i, schedule in enumerate(schedules):
            if i == 3:
                kill.start()
            r.due(schedule)
        kill.join()
        for v in victims:
            v.start()
        want = round_number + 2
        wait_for(lambda: all(len(started_ids(r.api, base, s)) >= want for s in schedules), "the next run of each")
        for schedule in schedules:
            ids = started_ids(r.api, base, schedule)
            assert len(ids) == want and len(set(ids)) == want
            assert sorted(ids) == sorted(s["id"] for s in runs(r.api, base, schedule))


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_replicas_start_an_agent_once(replicas, kind, request):
    """A hundred starts at once, over three servers: one makes the session, all others are told of it."""
    r = replicas(3, database=request.getfixturevalue("database") if kind == "postgres" else None)
    r.api.project("demo")
    path = f"/projects/demo/agents/{r.api.agent('demo', 'worker')['id']}"
    r.api.ok("POST", path + "/inbox", {"agent_id": "", "body": "read me once"})

    def start(i):
        with contextlib.closing(r.servers[i % 3].client()) as client:
            answer = client.post(path + "/start", {"prompt": f"p{i}"})
            return answer.status, answer.json()["session"]["id"]

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(start, range(100)))
    assert sorted(status for status, _ in answers) == [200] * 99 + [201]
    assert len({session for _, session in answers}) == 1
    assert len(r.api.items(path + "/sessions")) == 1
    messages = r.api.messages(answers[0][1])
    assert len(messages) == 1 and messages[0]["payload"].count("read me once") == 1
    assert [m["read"] for m in r.api.items(path + "/inbox")] == [True]


def test_what_was_missed_while_no_server_ran(replicas):
    r = replicas(1)
    r.api.project("demo")
    base = "/projects/demo/scheduled-sessions"
    one = make(r.api, base, name="one", schedule="@hourly", timezone="UTC")
    none = make(r.api, base, name="none", schedule="@hourly", timezone="UTC", catch_up="none")
    r.servers[0].kill()
    for schedule in (one, none):
        r.due(schedule, ago=3 * 3600)
    r.servers[0].start()
    r.api.close()
    r.api = r.servers[0].client()
    wait_for(lambda: len(history(r.api, base, one)) >= 3 and len(history(r.api, base, none)) >= 3, "both histories")
    outcomes = [line["outcome"] for line in sorted(history(r.api, base, one), key=lambda x: x["scheduled_at"])]
    assert outcomes[-1] == "started" and set(outcomes[:-1]) == {"missed"}
    assert len(runs(r.api, base, one)) == 1
    # The last hour may have begun less than a minute ago: then it is no missed one.
    assert {line["outcome"] for line in history(r.api, base, none)} <= {"missed", "started"}
    assert sum(line["outcome"] == "missed" for line in history(r.api, base, none)) >= 3
    assert "the server was away" in history(r.api, base, none)[-1]["message"]


def test_a_run_has_its_owners_rights_of_that_moment(replicas, keys, tmp_path):
    (tmp_path / "jwks.json").write_text(keys.jwks())
    r = replicas(1, args=[f"--jwk-cert-file={tmp_path / 'jwks.json'}", "--jwt-issuer", ISSUER,
                          "--jwt-audience", AUDIENCE],
                 env={"AMBIENT_ENV": "production", "CREDENTIAL_ENCRYPTION_ALLOW_PLAINTEXT": "true"})
    alice, bob = (r.servers[0].client(keys.token(who, iss=ISSUER, aud=AUDIENCE)) for who in ("alice", "bob"))
    alice.project("demo")
    agent = alice.agent("demo", "worker")["id"]
    editor = alice.items("/roles", search="name = 'project:editor'")[0]["id"]
    binding = alice.ok("POST", "/role_bindings", {"role_id": editor, "scope": "project", "project_id": "demo",
                                                  "user_id": "bob"})
    base = "/projects/demo/scheduled-sessions"
    bobs = make(bob, base, name="bobs", agent_id=agent, session_prompt="Bob's.")
    r.due(bobs)
    first = wait_for(lambda: runs(alice, base, bobs), "bob's run")[0]
    assert first["created_by_user_id"] == "bob"
    alice.ok("POST", f"/sessions/{first['id']}/stop", status=200)
    alice.ok("DELETE", f"/role_bindings/{binding['id']}")
    assert bob.get(base).status == 404
    r.due(bobs)
    line = wait_for(lambda: [x for x in history(alice, base, bobs) if x["outcome"] == "failed"], "a failed run")[0]
    assert "session_id" not in line and line["message"]
    assert len(runs(alice, base, bobs)) == 1
    # Who changes what it does answers for it from then on.
    changed = alice.ok("PATCH", f"{base}/{bobs['id']}", {"session_prompt": "Alice's."})
    assert changed["created_by_user_id"] == "alice"
    r.due(bobs)
    wait_for(lambda: len(runs(alice, base, bobs)) == 2, "alice's run")
    for client in (alice, bob):
        client.close()


def test_a_server_without_scheduler_leaves_schedules_alone(tmp_path):
    with api_support.running(tmp_path, ["--enable-scheduler=false", "--scheduler-interval=50ms"]) as server:
        api = server.client()
        api.project("demo")
        base = "/projects/demo/scheduled-sessions"
        made = make(api, base)
        assert api.ok("POST", f"{base}/{made['id']}/trigger", status=200)["status"] == "triggered"
        assert len(history(api, base, made)) == 1
        api.close()
