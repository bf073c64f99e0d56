"""A database of the reference is taken over by `migrate`: its tables and columns as its own migrations leave them, with
rows in them, are read through our API afterwards."""
import json

import api_support
import pytest

MODEL = "id text PRIMARY KEY, created_at timestamptz, updated_at timestamptz, deleted_at timestamptz"
# Names and types as the reference's migrations make them; and its indexes and constraints that stand in the way.
SCHEMA = f"""
CREATE TABLE migrations (id varchar(255) PRIMARY KEY);
CREATE TABLE events ({MODEL}, source text, source_id text, event_type text, reconciled_date timestamptz);
CREATE INDEX idx_events_source ON events (source);
CREATE TABLE users ({MODEL}, username text, name text, email text);
CREATE UNIQUE INDEX idx_users_username ON users (username) WHERE deleted_at IS NULL;
CREATE TABLE projects ({MODEL}, name text NOT NULL, description text, labels text, annotations text, status text,
    prompt text);
CREATE UNIQUE INDEX idx_projects_name ON projects (name);
CREATE TABLE project_settings ({MODEL}, project_id text NOT NULL, group_access text, runner_secrets text,
    repositories text);
CREATE UNIQUE INDEX idx_project_settings_project_id ON project_settings (project_id);
ALTER TABLE project_settings ADD CONSTRAINT fk_project_settings_project_id FOREIGN KEY (project_id)
    REFERENCES projects (id) ON DELETE CASCADE;
CREATE TABLE agents ({MODEL}, project_id text, name text, prompt text, current_session_id text, labels text,
    annotations text, parent_agent_id text, owner_user_id text NOT NULL DEFAULT '', display_name text, description text,
    repo_url text, workflow_id text, llm_model text DEFAULT 'claude-sonnet-4-6',
    llm_temperature double precision DEFAULT 0.7, llm_max_tokens integer DEFAULT 4000, bot_account_name text,
    resource_overrides text, environment_variables text);
CREATE TABLE inbox_messages ({MODEL}, agent_id text, from_agent_id text, from_name text, body text, read boolean);
CREATE TABLE sessions ({MODEL}, name text, repo_url text, prompt text, created_by_user_id text, assigned_user_id text,
    workflow_id text, repos text, interactive boolean, timeout integer, llm_model text,
    llm_temperature double precision,
    llm_max_tokens integer, parent_session_id text, bot_account_name text, resource_overrides text,
    environment_variables text, labels text, annotations text, project_id text, phase text, start_time timestamptz,
    completion_time timestamptz, sdk_session_id text, sdk_restart_count integer, conditions text, reconciled_repos text,
    reconciled_workflow text, kube_cr_name text, kube_cr_uid text, kube_namespace text, agent_id text);
ALTER TABLE sessions ADD CONSTRAINT fk_sessions_parent_session_id FOREIGN KEY (parent_session_id)
    REFERENCES sessions (id) ON DELETE SET NULL;
CREATE TABLE session_messages (id varchar(36) PRIMARY KEY, session_id varchar(36) NOT NULL,
    seq bigserial UNIQUE NOT NULL, event_type varchar(255) NOT NULL, payload text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX idx_session_messages_session_seq ON session_messages (session_id, seq);
CREATE TABLE roles ({MODEL}, name text NOT NULL, display_name text, description text, permissions text,
    built_in boolean DEFAULT false);
CREATE UNIQUE INDEX idx_roles_name ON roles (name);
CREATE TABLE role_bindings ({MODEL}, user_id text NOT NULL, role_id text NOT NULL, scope text NOT NULL, project_id text,
    agent_id text, session_id text, credential_id text);
CREATE TABLE credentials ({MODEL}, name text, description text, provider text, token text, url text, email text,
    labels text, annotations text);
CREATE TABLE scheduled_sessions ({MODEL}, name text, description text, project_id text, agent_id text, schedule text,
    timezone text, enabled boolean, session_prompt text, last_run_at timestamptz, next_run_at timestamptz,
    timeout integer, inactivity_timeout integer, stop_on_run_finished boolean, runner_type text);
CREATE TABLE applications ({MODEL}, name text, source_repo_url text, source_target_revision text, source_path text,
    destination_ambient_url text, destination_project text, credential_id text, auto_sync boolean, auto_prune boolean,
    self_heal boolean, sync_options text, retry_limit bigint, sync_status text, health_status text, sync_revision text,
    operation_phase text, operation_message text, resource_status text, conditions text, labels text, annotations text,
    last_synced_at timestamptz);
"""
STEPS = ["202309020925", "202503100001", "202602132218", "202602150006", "202602150010", "202602150020", "202602150021",
         "202602150040", "202602171358", "202603100137", "202603100138", "202603100139", "202603150001", "202603211930",
         "202603211931", "202603230001", "202603311215", "202603311216", "202604101200", "202604101201", "202604181000",
         "202604280001", "202604280002", "202605050001", "202605060002", "202605060003", "202606050001", "202606050002",
         "202606050003", "202606050004", "202606050010", "202606091900", "202606102223", "202606102224"]
ROWS = """
INSERT INTO migrations (id) SELECT unnest(string_to_array('{steps}', ','));
INSERT INTO users (id, created_at, updated_at, username, name) VALUES ('u1', now(), now(), 'dev-user', 'Dev');
INSERT INTO projects (id, created_at, updated_at, name, prompt, labels)
    VALUES ('demo', '2026-03-01 10:00:00.123456+00', now(), 'demo', 'Be brief.', '{{"env":"prod"}}');
INSERT INTO projects (id, created_at, updated_at, deleted_at, name) VALUES ('old', now(), now(), now(), 'old');
INSERT INTO project_settings (id, created_at, updated_at, project_id) VALUES ('ps1', now(), now(), 'demo');
INSERT INTO agents (id, created_at, updated_at, project_id, name, prompt)
    VALUES ('a1', now(), now(), 'demo', 'writer', 'You write.');
INSERT INTO inbox_messages (id, created_at, updated_at, agent_id, body, read)
    VALUES ('i1', now(), now(), 'a1', 'hello', false);
INSERT INTO sessions (id, created_at, updated_at, name, project_id, phase, agent_id, interactive, llm_temperature,
    timeout)
    VALUES ('s1', now(), now(), 'one', 'demo', 'Completed', 'a1', true, 0.25, 60),
           ('s2', now(), now(), 'two', 'demo', 'Running', NULL, NULL, NULL, NULL);
INSERT INTO session_messages (id, session_id, event_type, payload)
    SELECT 'm' || n, CASE WHEN n % 2 = 0 THEN 's1' ELSE 's2' END, 'user', 'message ' || n
    FROM generate_series(1, 1200) AS n;
DELETE FROM session_messages WHERE seq = 7;
INSERT INTO roles (id, created_at, updated_at, name, permissions, built_in)
    VALUES ('r1', now(), now(), 'project:viewer', '["project:read"]', true);
INSERT INTO users (id, created_at, updated_at, username, name) VALUES ('u2', now(), now(), 'twice', 'Twice');
INSERT INTO role_bindings (id, created_at, updated_at, user_id, role_id, scope, project_id)
    VALUES ('b1', now(), now(), 'u2', 'r1', 'project', 'demo'), ('b2', now(), now(), 'twice', 'r1', 'project', 'demo');
INSERT INTO credentials (id, created_at, updated_at, name, provider) VALUES ('c1', now(), now(), 'gh', 'github');
INSERT INTO events (id, created_at, updated_at, source, source_id, event_type)
    VALUES ('e2', now(), now(), 'Sessions', 's1', 'Update'),
           ('e1', now() - interval '1 hour', now(), 'Sessions', 's1', 'Create');
"""


@pytest.fixture(scope="module")
def adopted(database, tmp_path_factory):
    name = database.database()
    database.sql(SCHEMA + ROWS.format(steps=",".join(STEPS)), name)
    directory = tmp_path_factory.mktemp("adopted")
    refused = api_support.ApiServer(directory, url=database.url(name)).run("serve")
    assert refused.returncode == 6, refused.stderr
    assert "older than this program: run `ambient-api-server migrate`" in refused.stderr
    with api_support.running(directory, url=database.url(name)) as server:
        server.pg, server.pg_name = database, name
        yield server


@pytest.fixture
def client(adopted):
    client = adopted.client()
    yield client
    client.close()


def test_objects_are_read(client):
    project = client.ok("GET", "/projects/demo")
    assert project["created_at"] == "2026-03-01T10:00:00.123456Z"
    assert project["prompt"] == "Be brief." and json.loads(project["labels"]) == {"env": "prod"}
    assert client.get("/projects/old").status == 404
    assert [p["id"] for p in client.items("/projects")] == ["demo"]
    assert client.ok("GET", "/agents/a1")["prompt"] == "You write."
    session = client.ok("GET", "/sessions/s1")
    assert (session["interactive"], session["llm_temperature"], session["timeout"]) == (True, 0.25, 60)
    found = client.items("/sessions", search="name ilike 'ONE' and timeout > 59.5", orderBy="name desc")
    assert [s["id"] for s in found] == ["s1"]
    assert [s["id"] for s in client.items("/sessions", orderBy="timeout asc")] == ["s2", "s1"]


def test_messages_keep_their_numbers_and_go_on(adopted, client):
    stored = client.messages("s1")
    assert [m["seq"] for m in stored] == list(range(2, 1201, 2))
    assert stored[0]["payload"] == "message 2"
    assert [m["seq"] for m in client.messages("s2")][:4] == [1, 3, 5, 9]
    pushed = client.push("s1", "and on")
    assert pushed["seq"] == 1201
    stream = adopted.stream("s1", query="?after_seq=1198")
    assert [stream.message()["seq"] for _ in range(2)] == [1200, 1201]
    stream.close()
    verified = adopted.run("verify")
    assert verified.returncode == 0, verified.stdout
    assert verified.stdout.startswith("1200 messages checked, 0 ")


def test_rules_of_the_reference_do_not_stand_in_the_way(client):
    """Its names are taken for ever once used, and some columns must have a value."""
    assert client.project("old")["id"] == "old"
    client.ok("DELETE", "/project_settings/ps1")
    client.ok("POST", "/project_settings", {"project_id": "demo"})
    agent = client.agent("demo", "reader")
    assert client.ok("GET", f"/agents/{agent['id']}")["name"] == "reader"
    session = client.session(project_id="demo", parent_session_id="s1")
    client.ok("DELETE", f"/sessions/{session['id']}")


def test_bindings_of_spring_2026(client):
    """Users were named by the id of their row or by their username, and had to be named: rows that have come to say
    the same are one, and new ones may be of nobody."""
    assert [b["id"] for b in client.items("/role_bindings", search="user_id = 'twice'")] == ["b1"]
    made = client.ok("POST", "/role_bindings", {"role_id": "credential:viewer", "scope": "credential",
                                                "credential_id": "c1", "project_id": "demo"})
    assert made["user_id"] is None


def test_migrating_again_changes_nothing(adopted):
    again = adopted.run("migrate")
    assert again.returncode == 0 and "nothing to do" in again.stdout, again.stdout + again.stderr
    assert adopted.pg.sql("SELECT string_agg(id, ' ' ORDER BY version) FROM events WHERE id LIKE 'e_'",
                          adopted.pg_name) == "e1 e2"


def test_a_newer_schema_is_refused(adopted):
    adopted.pg.sql("INSERT INTO migrations (id) VALUES ('209901010001')", adopted.pg_name)
    try:
        refused = adopted.run("migrate")
        assert refused.returncode == 6 and "newer version" in refused.stderr
    finally:
        adopted.pg.sql("DELETE FROM migrations WHERE id = '209901010001'", adopted.pg_name)
