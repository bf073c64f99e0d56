"""Credentials, roles, schedules and applications with acpctl against `ambient up`."""
import json
import os
import pty
import signal
import subprocess
import termios

import pytest

from cli_support import Cli, Stub, StubHandler, on_terminal
from platform_support import DEADLINE, wait_until

SECRET = "planted-token-of-a-credential"


@pytest.fixture(scope="module")
def world(shared_platform):
    cli = Cli(shared_platform.env, shared_platform.config, SECRET)
    cli.run("create", "project", "--name", "demo")
    cli.run("agent", "create", "--name", "rev", "--env", "RUNNER_TYPE=shell")
    return shared_platform


@pytest.fixture
def cli(world):
    return Cli(world.env, world.config, SECRET)


@pytest.fixture
def name(request):
    return request.node.name.split("[")[0].replace("test_", "")[:40].rstrip("_").replace("_", "-")


@pytest.fixture
def credential(cli, name):
    assert cli.out("credential", "create", "--name", name, "--provider", "github", "--token", "-",
                   stdin=SECRET + "\n") == f"credential/{name} created\n"
    yield name
    cli.run("credential", "delete", name, "--confirm")


def token_of(cli, name):
    return cli.run("credential", "token", name, secret=True).stdout.removesuffix("\n")


# ---- credentials ----

def test_life_of_a_credential(cli, name):
    words = ["credential", "create", "--name", name, "--provider", "github", "--url", "https://github.corp.net",
             "--email", "bot@corp.net", "--description", "pull requests", "--labels", '{"a":"b"}']
    assert cli.out(*words, "--token-file", "-", stdin=SECRET + "\n") == f"credential/{name} created\n"
    one = cli.json("credential", "get", name)
    assert (one["name"], one["provider"], one["url"], one["labels"]) == (name, "github", "https://github.corp.net",
                                                                         '{"a":"b"}')
    assert "token" not in one
    assert one["id"] in [c["id"] for c in cli.json("credential", "list")["items"]]
    assert [c["id"] for c in cli.json("credential", "list", "--provider", "jira")["items"]] == []
    assert cli.out("credential", "update", one["id"], "--description", "") == f"credential/{name} updated\n"
    assert cli.json("credential", "get", name).get("description", "") == "" and token_of(cli, name) == SECRET
    assert cli.json("describe", "credential", name)["id"] == one["id"]
    assert cli.out("get", "creds", name).splitlines()[0].split() == ["ID", "NAME", "PROVIDER", "DESCRIPTION", "AGE"]
    assert cli.fails(2, "credential", "delete", name) == f"add --confirm to delete credential/{name}"
    assert cli.out("credential", "delete", name, "--confirm") == f"credential/{name} deleted\n"
    assert "not found" in cli.fails(3, "credential", "get", name)


def test_create_as_json(cli, name):
    made = cli.json("credential", "create", "--name", name, "--provider", "jira", "--token", "@-", stdin=SECRET)
    assert made["kind"] == "Credential" and "token" not in made
    cli.run("credential", "delete", made["id"], "-y")


@pytest.mark.parametrize("words, message", [
    (["credential", "create", "--provider", "github"], "--name is required"),
    (["credential", "create", "--name", "x"], "--provider is required"),
    (["credential", "create", "--name", "x", "--provider", "github", "--token", "-"], "no token given"),
    (["credential", "create", "--name", "x", "--provider", "github", "--token", "-", "--token-file", "-"],
     "--token and --token-file are mutually exclusive"),
    (["credential", "create", "--name", "x", "--provider", "github", "--token-file", "/nowhere"], "--token-file: "),
    (["credential", "rotate", "x"], 'get credential "x": credential "x" not found'),
    (["create", "credential", "--name", "x"], "use: acpctl credential create"),
    (["create", "audit-event"], "audit-events are made by the server"),
    (["create", "role-binding"], "--role-id is required"),
    (["create", "role-binding", "--role-id", "x"], "--scope is required"),
    (["create", "application", "--name", "x"], "--source-repo-url is required"),
    (["scheduled-session", "create", "--name", "x"], "--schedule is required"),
])
def test_what_is_missing_is_told(cli, words, message):
    done = cli.run(*words, code=3 if "not found" in message or "nowhere" in " ".join(words) else 2)
    assert message.removeprefix('get credential "x": ') in done.stderr


def test_a_token_of_several_lines_comes_back_as_it_was(cli, name, tmp_path):
    text = "apiVersion: v1\nusers:\n  - token: " + SECRET + "\n"
    (tmp_path / "kubeconfig").write_text(text)
    cli.run("credential", "create", "--name", name, "--provider", "kubeconfig", "--token-file",
            str(tmp_path / "kubeconfig"))
    assert token_of(cli, name) == text.rstrip()
    cli.run("credential", "delete", name, "-y")


def test_a_literal_token_is_taken_with_a_warning(cli, name):
    done = cli.run("credential", "create", "--name", name, "--provider", "github", "--token", SECRET)
    assert done.stderr == ("Warning: a token on the command line can be seen by others; use --token-file or "
                           "--token -\n")
    assert token_of(cli, name) == SECRET
    cli.run("credential", "delete", name, "-y")


def test_a_token_is_asked_for_without_showing_it(cli, credential):
    status, text = on_terminal(cli, "credential", "rotate", credential, answer="typed-" + SECRET + "\n")
    assert status == 0 and SECRET not in text and f"credential/{credential} rotated" in text
    assert token_of(cli, credential) == "typed-" + SECRET


def test_ctrl_c_at_a_prompt_leaves_a_terminal_that_shows_what_is_typed(cli, credential):
    master, slave = pty.openpty()
    shows = termios.tcgetattr(slave)[3] & termios.ECHO
    proc = subprocess.Popen(cli.argv("credential", "rotate", credential), env=cli.env, stdin=slave, stdout=slave,
                            stderr=slave, start_new_session=True,
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # whatever ours is
    seen = b""
    while b"not shown" not in seen:
        seen += os.read(master, 1000)
    assert shows and not termios.tcgetattr(slave)[3] & termios.ECHO
    proc.send_signal(signal.SIGINT)
    assert proc.wait(DEADLINE) == -signal.SIGINT
    assert termios.tcgetattr(slave)[3] & termios.ECHO
    os.close(slave)
    os.close(master)


def test_rotate(cli, credential):
    before = cli.json("credential", "get", credential)
    assert cli.out("credential", "rotate", credential, "--token-file", "-", stdin="new-" + SECRET) == (
        f"credential/{credential} rotated\n")
    assert token_of(cli, credential) == "new-" + SECRET
    after = cli.json("credential", "get", credential)
    assert after["updated_at"] > before["updated_at"]


def test_reading_a_token(cli, credential):
    one = cli.json("credential", "token", credential, secret=True)
    assert one["token"] == SECRET and one["provider"] == "github" and len(one["credential_id"]) == 27
    status, text = on_terminal(cli, "credential", "token", credential)
    assert status == 2 and "use --yes, or a pipe" in text and SECRET not in text
    status, text = on_terminal(cli, "credential", "token", credential, "--yes")
    assert status == 0 and text.startswith("Notice: a secret follows; the server has noted who read it\n")
    assert SECRET in text
    reads = [e for e in cli.json("get", "audit-events")["items"] if e.get("object_id", e.get("resource_id")) ==
             one["credential_id"]]
    assert len(reads) >= 2 and SECRET not in json.dumps(reads)


def test_names_that_mean_several(cli, name):
    for _ in range(2):
        cli.run("credential", "create", "--name", name, "--provider", "github")
    ids = [c["id"] for c in cli.json("credential", "list")["items"] if c["name"] == name]
    text = cli.fails(6, "credential", "get", name)
    assert f'several credentials are named "{name}"; use an id: ' in text and all(i in text for i in ids)
    for one in ids:
        cli.run("credential", "delete", one, "-y")


def test_names_with_quotes(cli):
    name = "it's \"quoted\""
    cli.run("credential", "create", "--name", name, "--provider", "github")
    assert cli.json("credential", "get", name)["name"] == name
    cli.run("credential", "delete", name, "-y")


# ---- scheduled sessions ----

@pytest.fixture
def schedule(cli, name):
    assert cli.out("scheduled-session", "create", "--name", name, "--schedule", "0 3 * * 1-5", "--agent", "rev",
                   "--prompt", "echo scheduled") == f"scheduled-session/{name} created\n"
    yield name
    cli.run("scheduled-session", "delete", name, "--confirm")


def test_life_of_a_schedule(cli, name):
    made = cli.json("scheduled-session", "create", "--name", name, "--schedule", "@daily", "--suspended",
                    "--timezone", "Europe/Berlin", "--prompt", "p", "--timeout", "60", "--stop-on-run-finished=false")
    assert made["enabled"] is False and made["timezone"] == "Europe/Berlin" and made["timeout"] == 60
    assert made["stop_on_run_finished"] is False
    assert cli.out("scheduled-session", "update", name, "--enabled", "--timeout", "0") == (
        f"scheduled-session/{name} updated\n")
    now = cli.json("scheduled-session", "get", name)
    assert now["enabled"] is True and now["timeout"] == 0
    header = cli.out("get", "ss").splitlines()[0]
    assert header.split() == ["ID", "NAME", "SCHEDULE", "TIMEZONE", "ENABLED", "NEXT", "RUN"]
    assert cli.out("scheduled-session", "delete", made["id"], "--confirm") == (
        f"scheduled-session/{made['id']} deleted\n")
    assert "not found in project" in cli.fails(3, "scheduled-session", "get", name)


def test_a_new_schedule_is_enabled_and_knows_when(cli, schedule):
    one = cli.json("scheduled-session", "get", schedule)
    assert one["enabled"] is True and one["next_run_at"] and one["agent_id"] == cli.json("agent", "get", "rev")["id"]


def test_a_schedule_rests_and_goes_on(cli, schedule):
    assert cli.out("scheduled-session", "suspend", schedule) == (
        f"scheduled-session/{schedule} suspended (enabled=false)\n")
    assert cli.json("scheduled-session", "get", schedule)["enabled"] is False
    assert cli.out("scheduled-session", "resume", schedule) == f"scheduled-session/{schedule} resumed (enabled=true)\n"


def test_a_schedule_that_is_triggered_runs(cli, world, schedule):
    assert cli.out("scheduled-session", "trigger", schedule) == f"scheduled-session/{schedule} triggered\n"
    runs = wait_until("the session", lambda: cli.json("scheduled-session", "runs", schedule)["items"])
    world.wait_phase(runs[0]["id"], "Completed")
    assert "echo scheduled" in cli.out("session", "messages", runs[0]["id"])
    assert cli.json("scheduled-session", "history", schedule)["items"][0]["outcome"] == "started"


def test_a_bad_cron_expression(cli, name):
    text = cli.fails(1, "scheduled-session", "create", "--name", name, "--schedule", "61 * * * *")
    assert text.startswith(f'create scheduled-session "{name}": ambient API error 400: ')


# ---- applications ----

APPLICATION = ["--source-repo-url", "https://git.corp.net/fleet.git", "--source-path", "overlays/dev",
               "--destination-project", "demo"]


def test_life_of_an_application(cli, name):
    made = cli.json("application", "create", "--name", name, *APPLICATION, "--auto-sync", "--retry-limit", "2")
    assert made["auto_sync"] is True and made["retry_limit"] == 2
    assert cli.out("application", "update", name, "--auto-sync=false", "--source-target-revision", "v2") == (
        f"application/{name} updated\n")
    now = cli.json("application", "get", name)
    assert not now.get("auto_sync") and now["source_target_revision"] == "v2"
    assert cli.out("app", "list").splitlines()[0].split() == ["ID", "NAME", "REPO", "PROJECT", "SYNC", "HEALTH", "AGE"]
    assert cli.out("application", "sync", name) == f"application/{name} sync triggered\n"
    assert cli.out("application", "refresh", name) == f"application/{name} refresh triggered\n"
    assert cli.out("application", "status", name).startswith("Sync:       ")
    assert isinstance(cli.json("application", "status", name)["resource_status"], list)
    assert cli.out("application", "delete", name, "--confirm") == f"application/{name} deleted\n"


def test_create_application(cli, name):
    out = cli.out("create", "application", "--name", name, *APPLICATION)
    made = cli.json("application", "get", name)
    assert out == f"application/{made['id']} created\n"
    cli.run("delete", "app", name, "-y")


class OldServer(StubHandler):
    """It has the objects, but neither /sync nor /refresh."""

    def do_POST(self):
        self.server.answer = 404, b'{"code":"x-7","reason":"no such route"}', "application/json"
        self.do_GET()

    def do_PATCH(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.patched.append(body)
        self.server.answer = 200, b'{"id":"x","name":"fleet"}', "application/json"
        self.do_GET()


def test_sync_of_an_older_server_is_a_change_of_its_status(cli):
    with Stub(200, '{"id":"x","name":"fleet"}') as stub:
        stub.RequestHandlerClass, stub.patched = OldServer, []
        one = ["3MYBKKpNPiea7quenGiBPaYiFCq", "--api-url", stub.url]
        assert cli.out("application", "sync", *one) == "application/fleet sync triggered\n"
        assert cli.out("application", "refresh", *one) == "application/fleet refresh triggered\n"
        assert stub.patched == [{"operation_phase": "Running"}, {"sync_status": "Unknown"}]


def test_a_token_is_not_in_the_store_as_it_is(cli, world, credential):
    """`ambient up` has a key of its own: the store, with its log, does not have the token."""
    cli.run("credential", "get", credential)
    found = 0
    for name in ("ambient.db", "ambient.db-wal"):
        with open(os.path.join(world.data, name), "rb") as f:
            text = f.read()
        assert SECRET.encode() not in text
        found += text.count(b"enc:v1:")
    assert found and os.stat(os.path.join(world.data, "keyring")).st_mode & 0o777 == 0o600


# ---- roles and bindings ----

def bindings_of(cli, credential):
    one = cli.json("credential", "get", credential)["id"]
    return [b for b in cli.json("get", "role-bindings")["items"] if b["credential_id"] == one and not b["user_id"]]


def test_bind_and_unbind(cli, credential):
    for _ in range(2):  # twice is as good as once
        assert cli.out("credential", "bind", credential, "--project", "demo") == (
            f"credential/{credential} bound to project/demo\n")
    (binding,) = bindings_of(cli, credential)
    assert (binding["scope"], binding["project_id"], binding["agent_id"]) == ("credential", "demo", None)
    assert cli.json("get", "role", binding["role_id"])["name"] == "credential:viewer"
    assert cli.out("credential", "bind", credential, "--project", "demo", "--agent", "rev") == (
        f"credential/{credential} bound to agent/rev in project/demo\n")
    assert cli.out("credential", "unbind", credential, "--project", "demo") == (
        f"credential/{credential} unbound from project/demo\n")
    (binding,) = bindings_of(cli, credential)
    assert binding["agent_id"] == cli.json("agent", "get", "rev")["id"]
    assert cli.fails(3, "credential", "unbind", credential, "--project", "demo") == (
        f'credential "{credential}" is not bound to project/demo')
    cli.run("credential", "unbind", credential, "--project", "demo", "--agent", "rev")
    assert bindings_of(cli, credential) == []


def test_roles_are_listed(cli):
    table = cli.out("get", "roles")
    assert table.splitlines()[0].split() == ["ID", "NAME", "DISPLAY", "NAME", "BUILT-IN"]
    assert {"platform:admin", "credential:token-reader"} <= {r["name"] for r in cli.json("get", "roles")["items"]}


@pytest.mark.parametrize("by", ["names", "ids"])
def test_role_binding_by_name_or_id(cli, credential, by):
    role = "credential:viewer" if by == "names" else cli.json("get", "role", "credential:viewer")["id"]
    target = credential if by == "names" else cli.json("credential", "get", credential)["id"]
    out = cli.out("create", "role-binding", "--user-id", "carol", "--role-id", role, "--scope", "credential",
                  "--scope-id", target)
    made = out.removeprefix("role-binding/").removesuffix(" created\n")
    row = next(line for line in cli.out("get", "rb").splitlines() if made in line).split()
    assert row == [made, "carol", "credential:viewer", "credential", credential]
    assert cli.out("delete", "rolebinding", made, "-y") == f"role-binding/{made} deleted\n"


@pytest.mark.parametrize("role, scope, option, target", [
    ("project:viewer", "project", "--project-id-fk", "demo"), ("agent:observer", "agent", "--agent-id-fk", "rev"),
    ("agent:observer", "agent", "--scope-id", "rev")])
def test_role_binding_of_other_scopes(cli, role, scope, option, target):
    made = cli.json("create", "role-binding", "--user", "carol", "--role", role, "--scope", scope, option, target)
    assert made[scope + "_id"] == (target if scope == "project" else cli.json("agent", "get", "rev")["id"])
    cli.run("delete", "rb", made["id"], "-y")


def test_role_binding_errors(cli):
    words = ["create", "role-binding", "--user", "carol", "--scope"]
    assert 'role "nothing:such" not found' in cli.fails(3, *words, "global", "--role", "nothing:such")
    assert cli.fails(2, *words, "global", "--role", "project:viewer", "--scope-id", "x") == (
        '--scope-id not supported for scope "global"; use the explicit FK flag')


def test_a_role_of_ones_own(cli):
    made = cli.json("create", "role", "--name", "demo:helper", "--display-name", "Helper", "--permissions",
                    '["session:read"]')
    assert made["permissions"] == '["session:read"]' and made["built_in"] is False
    cli.run("delete", "role", "demo:helper", "-y")


# ---- may I? ----

@pytest.fixture
def editor(cli):
    made = cli.json("create", "role-binding", "--user", "bob", "--role", "project:editor", "--scope", "project",
                    "--scope-id", "demo")
    yield "bob"
    cli.run("delete", "rb", made["id"], "-y")


@pytest.mark.parametrize("words, allowed", [
    (["create", "sessions"], True),
    (["get", "agents"], True),
    (["edit", "agent", "rev"], True),
    (["delete", "agent", "rev"], False),
    (["update", "role-binding"], False),
    (["read", "project", "demo"], True),
    (["read", "project", "another"], False),
])
def test_can_i(cli, editor, words, allowed):
    assert cli.run("auth", "can-i", *words, "--user", editor, code=0 if allowed else 1).stdout == (
        "yes\n" if allowed else "no\n")
    assert cli.run("auth", "can-i", *words, "--user", editor, "-q", code=0 if allowed else 1).stdout == ""
    answer = json.loads(cli.run("auth", "can-i", *words, "--user", editor, "-o", "json",
                                code=0 if allowed else 1).stdout)
    assert answer["allowed"] is allowed and answer["reason"]


def test_can_i_says_why(cli, editor):
    done = cli.run("auth", "can-i", "create", "session", "--user", editor, "--explain")
    assert done.stdout.startswith("yes\nsession:create: ") and "role project:editor, scope project" in done.stdout
    assert cli.out("auth", "can-i", "delete", "everything") == "yes\n"  # the admin token
    assert "a verb and a resource are needed" in cli.fails(2, "auth", "can-i", "create")


def test_access_of_a_user(cli, editor):
    table = cli.out("auth", "access", editor).splitlines()
    assert table[0].split() == ["ROLE", "SCOPE", "TARGET", "PERMISSIONS"]
    assert table[1].split()[:3] == ["project:editor", "project", "demo"] and "session:create" in table[1]
    assert cli.json("auth", "can-i", "--list", "--user", editor)["items"] == cli.json("auth", "access", editor)["items"]
    one = cli.json("auth", "access", editor)["items"][0]
    assert one["role"] == "project:editor" and "agent:start" in one["permissions"]
    assert "*:*" in cli.out("auth", "can-i", "--list")
    assert cli.run("auth", "access", "nobody").stderr == "nobody holds no role.\n"


def test_whoami_asks_the_server_about_an_opaque_token(cli):
    assert cli.out("whoami").splitlines()[:2] == ["User:       dev-user", "Token type: opaque"]
    assert cli.json("whoami", "--verify")["user"] == "dev-user"
    assert "accepts the token" in cli.out("whoami", "--verify")
    text = cli.fails(4, "whoami", "--verify", env={"AMBIENT_TOKEN": "wrong-" + "x" * 20})
    assert "401" in text
