"""`acpctl` from outside: what it prints, how it ends, what it leaves in its configuration file."""
import base64
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time

import pytest

from cli_support import Cli, Stub, on_terminal
from platform_support import BIN, wait_until

SHELL = ("--env", "RUNNER_TYPE=shell")
KSUID = "[0-9A-Za-z]{27}"


@pytest.fixture(scope="module")
def world(shared_platform):
    """The platform with a project `demo` that is the current one."""
    shared_platform.acpctl("create", "project", "--name", "demo", "--description", "for tests")
    return shared_platform


@pytest.fixture
def cli(world, tmp_path):
    config = shutil.copy(world.config, tmp_path / "config.json")
    with open(os.path.join(world.data, "token")) as f:
        return Cli(world.env, str(config), f.read().strip())


@pytest.fixture
def fresh(cli, tmp_path):
    """Never logged in."""
    return Cli(cli.env, str(tmp_path / "new" / "config.json"), cli.token)


@pytest.fixture
def name(request):
    """A name of the test's own."""
    return re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:40].strip("-")


def server_of(cli):
    return cli.file()["api_url"]


def new_session(cli, name, *words):
    return cli.json("create", "session", "--name", name, *SHELL, *words)["id"]


def wait_phase(cli, sid, *phases):
    return wait_until(f"{sid} in {phases}", lambda: cli.json("get", "session", sid).get("phase") in phases)


@pytest.fixture(scope="module")
def done_session(world):
    """A session that ran to its end; its output tries to take the terminal over."""
    cli = Cli(world.env, world.config, "\0")
    evil = r"printf 'plain \033]0;owned\007\033[31mred\033[0m \302\233\061m end\n'"
    sid = new_session(cli, "done-session", "--prompt", evil)
    wait_phase(cli, sid, "Completed")
    return sid


@pytest.fixture
def talking(cli, name):
    """An interactive session that has answered once."""
    sid = new_session(cli, name, "--interactive", "--prompt", "echo first")
    wait_until("the first run", lambda: any(m["event_type"] == "lifecycle" and "run_finished" in m["payload"]
                                            for m in cli.json("session", "messages", sid)))
    yield sid
    cli.run("delete", "session", sid, "-y")


# ---- words, options, number of arguments ----

USAGE = [
    (["frob"], 'unknown command "frob" for "acpctl"'),
    (["gte"], 'unknown command "gte" for "acpctl"\n\nDid you mean this?\n\tget'),
    (["agent", "lst"], 'unknown command "lst" for "acpctl agent"\n\nDid you mean this?\n\tlist\n\tget'),
    (["session", "frob"], 'unknown command "frob" for "acpctl session"'),
    (["config", "frob"], 'unknown command "frob" for "acpctl config"'),
    (["inbox", "frob"], 'unknown command "frob" for "acpctl inbox"'),
    (["whoami", "x"], 'unknown command "x" for "acpctl whoami"'),
    (["agent", "list", "x"], 'unknown command "x" for "acpctl agent list"'),
    (["get", "sessions", "--frob"], "unknown flag: --frob"),
    (["get", "sessions", "-x"], "unknown shorthand flag: 'x' in -x"),
    (["get", "sessions", "--limit"], "flag needs an argument: --limit"),
    (["get", "sessions", "-o"], "flag needs an argument: 'o' in -o"),
    (["get", "sessions", "--limit", "x"], 'invalid argument "x" for "--limit" flag: '),
    (["get", "sessions", "-w", "--watch-timeout", "soon"], 'invalid argument "soon" for "--watch-timeout" flag: '),
    (["get"], "accepts between 1 and 2 arg(s), received 0"),
    (["get", "session", "a", "b"], "accepts between 1 and 2 arg(s), received 3"),
    (["describe", "session"], "accepts 2 arg(s), received 1"),
    (["stop"], "accepts 1 arg(s), received 0"),
    (["login", "a", "b"], "accepts at most 1 arg(s), received 2"),
    (["config", "set", "project"], "accepts 2 arg(s), received 1"),
    (["session", "send", "x"], "accepts 2 arg(s), received 1"),
    (["get", "frobs"], "unknown resource type: frobs\nValid types: sessions, projects, agents"),
    (["describe", "frob", "x"], "unknown resource type: frob\nValid types: "),
    (["create", "frob"], "unknown resource type: frob\nValid types: "),
    (["delete", "frob", "x"], "unknown resource type: frob\nValid types: "),
    (["get", "sessions", "-o", "xml"], 'unknown output format "xml": valid formats are table, wide, json, yaml, name'),
    (["get", "agents", "-w", "-A"], "a watch of agents is of one project"),
    (["get", "users", "-w", "--search", "x"], "a watch has no --search; select with -l"),
    (["get", "session", "x", "-w"], "watch cannot be used with a specific resource name"),
    (["create", "session"], "--name is required"),
    (["create", "user"], "--username is required"),
    (["create", "user", "--username", "x"], "--name is required"),
    (["get", "sessions", "-w", "-o", "yaml"], "a watch prints a table or, with -o json"),
    (["create", "project", "x", "--name", "y"], "accepts 1 arg(s), received 2"),
    (["delete", "session"], "resource name is required (or use --all)"),
    (["delete", "projects", "--all", "-y"], '--all is only supported for sessions; got "project'),
    (["agent", "create"], "--name is required"),
    (["agent", "delete", "x"], "add --confirm to delete agent/x"),
    (["agent", "start"], "agent name or ID is required (or use --all)"),
    (["agent", "stop", "x", "-A"], "cannot specify agent name with --all"),
    (["inbox", "list"], "--pa-id is required"),
    (["inbox", "send", "--pa-id", "x"], "--body is required"),
    (["inbox", "mark-read", "--pa-id", "x"], "--msg-id is required"),
    (["config", "get", "frob"], "unknown config key: frob (valid keys: api_url, "),
    (["config", "set", "frob", "x"], "unknown config key: frob (valid keys: api_url, "),
    (["config", "set", "api_url", "nowhere"], 'api_url "nowhere": must include scheme and host'),
    (["config", "set", "request_timeout", "x"], 'request_timeout "x": must be a whole number'),
    (["config", "set", "insecure_tls_verify", "no"], 'insecure_tls_verify "no": must be true or false'),
    (["config", "set", "access_token", "x"], "a token does not belong on the command line"),
    (["login", "nowhere", "--token-file", "/dev/null"], 'invalid URL "nowhere": must be a valid URL with scheme and'),
    (["project", "Not_A_Name"], 'invalid project name: "Not_A_Name"'),
    (["completion", "tcsh"], 'no completion for shell "tcsh"'),
    (["--context", "nowhere", "whoami"], 'no context "nowhere" in '),
]


@pytest.mark.parametrize("words, text", USAGE, ids=[" ".join(w) for w, _ in USAGE])
def test_wrong_usage(cli, words, text):
    done = cli.run(*words, code=2)
    assert done.stderr.startswith("Error: " + text)
    assert done.stdout == "" and "Usage" not in done.stderr


HELP = [[], ["help"], ["-h"], ["agent"], ["session"], ["inbox"], ["config"], ["help", "get"], ["get", "--help"],
        ["agent", "start", "-h"]]


@pytest.mark.parametrize("words", HELP, ids=[" ".join(w) or "nothing" for w in HELP])
def test_help(cli, words):
    assert "Usage: acpctl" in cli.out(*words)


@pytest.mark.parametrize("words", [
    ["get", "users", "-ojson"], ["get", "users", "-o=json"], ["get", "users", "--output=json"],
    ["get", "-o", "json", "users"], ["get", "-ojson", "--", "users"],
    ["--request-timeout=9s", "get", "users", "-o", "json"], ["get", "users", "-w=false", "-ojson"],
], ids=" ".join)
def test_spellings_of_options(cli, words):
    assert json.loads(cli.out(*words))["kind"] == "UserList"


def test_root_options_before_the_command(cli):
    dead = "http://127.0.0.1:1"
    assert cli.out("--api-url", dead, "version").startswith("Client: ")
    assert "unavailable" in cli.out("version", "--api-url", dead)


def test_version(cli):
    assert re.fullmatch(r"acpctl version \S+\n", cli.out("--version"))
    assert cli.out("--version") == cli.out("-v")
    assert re.fullmatch(r"Client: .*\nServer: \S+ \(tag: .*, built: .*\)\n", cli.out("version"))
    assert re.fullmatch(r"Client: .*\n", cli.out("version", "--client"))
    assert set(cli.json("version")) == {"client", "server"}


# ---- login, logout, whoami ----

def jwt(**claims):
    parts = [base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in ({"alg": "none"}, claims)]
    return ".".join(parts) + ".c2ln"


@pytest.mark.parametrize("how", ["file", "file -", "token -", "token @-", "stdin"])
def test_login_keeps_the_token_out_of_sight(cli, fresh, tmp_path, how):
    path = tmp_path / "token"
    path.write_text(cli.token + "\n")
    words = {"file": ["--token-file", str(path)], "file -": ["--token-file", "-"], "token -": ["--token", "-"],
             "token @-": ["--token", "@-"], "stdin": []}[how]
    out = fresh.out("login", server_of(cli), *words, "--project", "demo", stdin=cli.token + "\n")
    assert out == f"Login successful. Configuration saved to {fresh.config}\n"
    assert stat.S_IMODE(os.stat(fresh.config).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(fresh.config)).st_mode) == 0o700
    assert fresh.json("get", "project", "demo")["name"] == "demo"
    assert fresh.out("whoami", "-t", secret=True) == cli.token


def test_login_with_a_literal_token_warns(cli, fresh):
    done = fresh.run("login", server_of(cli), "--token", cli.token)
    assert done.stderr.startswith("Warning: a token on the command line can be seen by others")
    assert fresh.file()["access_token"] == cli.token


def test_login_on_a_terminal_does_not_echo(cli, fresh):
    status, text = on_terminal(fresh, "login", server_of(cli), answer=cli.token + "\n")
    assert status == 0 and "Token (not shown): " in text
    assert fresh.out("whoami", "-t", secret=True) == cli.token


@pytest.mark.parametrize("seconds, warning", [(-60, "is already expired (at "), (3600, "expires soon (at "),
                                              (10**6, None)])
def test_login_warns_about_expiry(fresh, seconds, warning):
    token = jwt(sub="s1", preferred_username="ann", email="ann@corp.net", exp=int(time.time()) + seconds)
    done = fresh.run("login", "http://127.0.0.1:1", "--token-file", "-", stdin=token)
    assert (f"Warning: token {warning}" in done.stderr) if warning else done.stderr == ""
    lines = fresh.out("whoami").splitlines()
    assert lines[:3] == ["User:       ann", "Subject:    s1", "Email:      ann@corp.net"]
    assert lines[3].startswith("Expires:    ") and lines[3].endswith(" (expired)") == (seconds < 0)
    assert lines[4] == "API URL:    http://127.0.0.1:1"
    assert fresh.json("whoami")["user"] == "ann"


def test_insecure_login_is_said_and_does_not_stick(fresh):
    done = fresh.run("login", "https://localhost:1", "--token-file", "-", "--insecure-skip-tls-verify", stdin="x" * 20)
    assert done.stderr == "Warning: TLS certificate verification is disabled (--insecure-skip-tls-verify)\n"
    assert fresh.file()["insecure_tls_verify"] is True
    assert "TLS:        certificates are NOT verified" in fresh.out("whoami")
    fresh.out("login", "https://localhost:1", "--token-file", "-", stdin="x" * 20)
    assert "insecure_tls_verify" not in fresh.file() and "TLS:" not in fresh.out("whoami")


def test_whoami_of_tokens_that_say_nothing(cli, fresh):
    assert "\nToken type: opaque\nAPI URL:    http" in cli.out("whoami")
    assert "Token type: OpenShift service account\n" in fresh.out("whoami", env={"AMBIENT_TOKEN": "sha256~" + "x" * 30})


def test_logout_forgets_every_secret(cli):
    members = cli.file()
    members["contexts"]["local"]["refresh_token"] = members["refresh_token"] = "refresh-secret"
    cli.write(members)
    assert cli.out("logout") == "Logged out successfully.\n"
    with open(cli.config) as f:
        left = f.read()
    assert cli.token not in left and "refresh-secret" not in left
    for words in (["whoami"], ["get", "sessions"], ["session", "messages", "x", "-f"], ["get", "sessions", "-w"]):
        assert cli.fails(4, *words) == "not logged in; run 'acpctl login' first"
    assert "AMBIENT_TOKEN" in cli.run("logout", env={"AMBIENT_TOKEN": cli.token}).stderr


def test_a_wrong_token_says_how_to_log_in(cli):
    text = cli.fails(4, "get", "sessions", env={"AMBIENT_TOKEN": "x" * 40})
    assert text.startswith("list sessions: ambient API error 401: ") and text.endswith("; run 'acpctl login'")


# ---- configuration ----

def test_settings(fresh):
    assert fresh.out("config", "get", "api_url") == "http://localhost:8000\n"
    assert fresh.fails(3, "config", "get", "project") == "project is not set"
    assert on_terminal(fresh, "config", "get", "project") == (0, "(not set)\n")
    for key, value in [("project", "p1"), ("pager", "less"), ("request_timeout", "9"), ("polling_interval", "1"),
                       ("grpc_url", "h:1"), ("ca_file", "/ca"), ("api_url", "http://h:1"),
                       ("insecure_tls_verify", "true")]:
        assert fresh.out("config", "set", key, value) == f"Set {key} = {value}\n"
        assert fresh.out("config", "get", key) == value + "\n"
    assert fresh.file()["request_timeout"] == 9 and fresh.file()["insecure_tls_verify"] is True
    assert "request_timeout = 9\n" in fresh.out("config", "view")
    assert fresh.out("config", "unset", "pager") == "Unset pager\n"
    assert "pager" not in fresh.file()


def test_environment_wins_over_the_file(cli):
    assert cli.out("config", "get", "project", env={"AMBIENT_PROJECT": "other"}) == "other\n"
    assert "project = other (environment)\n" in cli.out("config", "view", env={"AMBIENT_PROJECT": "other"})
    assert cli.out("config", "get", "request_timeout", env={"AMBIENT_REQUEST_TIMEOUT": "-1"}) == "30\n"
    assert cli.out("config", "get", "access_token") == "[REDACTED]\n"
    assert cli.json("get", "project", "demo", env={"AMBIENT_API_URL": server_of(cli)})["id"] == "demo"


def test_file_is_private_and_what_is_unknown_is_kept(cli):
    members = cli.file()
    members.update(theme={"dark": [1, 2]}, api_key_hint="mine")
    members["contexts"]["local"]["colour"] = "green"
    cli.write(members)
    os.chmod(cli.config, 0o644)
    assert "others may read it" in cli.run("config", "set", "pager", "less").stderr
    after = cli.file()
    assert after["theme"] == {"dark": [1, 2]} and after["api_key_hint"] == "mine"
    assert after["contexts"]["local"]["colour"] == "green"
    assert stat.S_IMODE(os.stat(cli.config).st_mode) == 0o600
    with open(cli.config) as f:
        text = f.read()
    assert text.startswith('{\n  "') and text.endswith("}")


@pytest.mark.parametrize("text", ["{", "[]", '"x"', "\0", "{} x"])
def test_broken_file(cli, text):
    with open(cli.config, "w") as f:
        f.write(text)
    assert cli.fails(2, "whoami").startswith(f'load config: parse config file "{cli.config}": ')


def test_contexts(cli):
    flat = {"api_url": server_of(cli), "access_token": cli.token, "project": "demo"}
    cli.write(flat)  # of the reference's own client
    other = ["login", "https://api.corp.net", "--token-file", "-"]
    cli.out(*other, stdin="other-token-0123456789")
    assert cli.file()["current_context"] == "api.corp.net"
    assert cli.file()["access_token"] == "other-token-0123456789"
    assert cli.out("config", "get-contexts", "--api-url", "x").splitlines()[0].split() == ["CURRENT", "NAME", "SERVER",
                                                                                          "PROJECT"]
    assert cli.json("--context", "local", "get", "project", "demo")["id"] == "demo"
    assert cli.json("get", "project", "demo", env={"AMBIENT_CONTEXT": "local"})["id"] == "demo"
    assert cli.out("config", "use-context", "local") == 'Switched to context "local"\n'
    assert {k: cli.file()[k] for k in flat} == flat
    assert cli.out("config", "rename-context", "local", "home") == 'Context "local" renamed to "home"\n'
    rows = [line.split() for line in cli.out("config", "get-contexts").splitlines()[1:]]
    assert sorted(rows) == [["*", "home", server_of(cli), "demo"], ["api.corp.net", "https://api.corp.net"]]
    assert cli.fails(6, "config", "rename-context", "home", "api.corp.net") == 'context "api.corp.net" exists already'
    for words in (["use-context", "no"], ["delete-context", "no"], ["rename-context", "no", "x"]):
        assert cli.fails(3, "config", *words) == 'no context "no"; see: acpctl config get-contexts'
    assert cli.out("config", "delete-context", "home") == 'Deleted context "home"\n'
    with open(cli.config) as f:
        assert cli.token not in f.read()


# ---- projects ----

def test_current_project(cli):
    assert cli.out("project") == cli.out("project", "current") == "Current project: demo\n"
    env = {"AMBIENT_PROJECT": "other"}
    assert cli.out("project", "current", env=env) == "Current project: other\n"
    assert on_terminal(cli, "project") == (0, "Current project: demo\n")
    cli.run("config", "unset", "project")
    done = cli.run("project", "current")
    assert done.stdout == "" and done.stderr.startswith("No project context set\nUse 'acpctl project set")
    assert on_terminal(cli, "project")[1] == done.stderr
    assert cli.fails(2, "get", "agents").startswith("no project set; ")
    assert cli.json("get", "projects")["kind"] == "ProjectList"  # needs none


def test_set_create_and_change_a_project(cli, name):
    assert cli.fails(3, "project", name) == (f'project "{name}" does not exist; create it first with: '
                                             f'acpctl create project --name {name}')
    out = cli.out("create", "project", "--name", name, "--description", "d")
    assert out == f'Switched to project "{name}"\nproject/{name} created\n'
    assert cli.file()["project"] == name
    assert cli.out("project", "demo") == cli.out("project", "set", "demo") == 'Switched to project "demo"\n'
    assert cli.out("project", "update", name, "--description", "new", "--prompt", "p") == f"project/{name} updated\n"
    assert cli.json("describe", "project", name)["description"] == "new"
    assert f"{name}   new " in cli.out("project", "list")
    assert cli.fails(6, "create", "project", "--name", name).startswith("create project: ambient API error 409: ")
    assert cli.out("delete", "project", name, "-y") == f"project/{name} deleted\n"
    assert cli.fails(3, "get", "project", name).startswith(f'get project "{name}": ambient API error 404: ')


def test_creating_a_project_with_json_leaves_stdout_to_the_json(cli, name):
    done = cli.run("create", "project", "--name", name, "-o", "json")
    assert json.loads(done.stdout)["id"] == name and done.stderr == f'Switched to project "{name}"\n'
    assert cli.out("create", "project", "--name", name + "-2", "--no-switch") == f"project/{name}-2 created\n"
    assert cli.out("project") == f"Current project: {name}\n"


# ---- resources ----

ALIASES = {
    "sessions": "session Sess SESSIONS", "projects": "project proj PROJ", "users": "user USR Users",
    "agents": "agent project-agent project-agents PA", "project-settings": "projectsettings project-setting Ps",
}


@pytest.mark.parametrize("kind", ALIASES)
def test_aliases_in_any_case(cli, kind):
    lists = [cli.json("get", word) for word in [kind, *ALIASES[kind].split()]]
    assert len({one["kind"] for one in lists}) == 1


COLUMNS = [
    ("sessions", ["ID", "NAME", "PROJECT", "PHASE", "MODEL", "AGE"]),
    ("projects", ["ID", "NAME", "STATUS"]),
    ("agents", ["ID", "NAME", "PROJECT", "SESSION", "AGE"]),
    ("project-settings", ["ID", "PROJECT ID", "AGE"]),
    ("users", ["ID", "USERNAME", "NAME", "EMAIL"]),
]


@pytest.mark.parametrize("kind, columns", COLUMNS, ids=[k for k, _ in COLUMNS])
def test_columns(cli, kind, columns):
    titles = cli.run("get", kind).stdout.splitlines()[0]
    assert re.split(" {3,}", titles.rstrip()) == columns
    text = on_terminal(cli, "get", kind)[1]
    assert all(len(line) <= 80 for line in text.splitlines()) and re.search(f"^ID {{3,}}{columns[1]}", text, re.M)


def test_forms_of_output(cli, name):
    sid = new_session(cli, name, "--interactive")
    wait_phase(cli, sid, "Running")
    listed = cli.json("get", "sessions", "--search", f"name = '{name}'")
    assert list(listed) == ["kind", "page", "size", "total", "items"] and listed["total"] == 1
    assert list(listed["items"][0])[:5] == ["id", "kind", "href", "created_at", "updated_at"]
    text = cli.out("describe", "session", sid)
    assert json.loads(text)["id"] == sid and text.startswith('{\n  "id": ')
    assert cli.out("get", "session", sid, "-o", "name") == f"session/{sid}\n"
    assert cli.out("get", "session", sid, "-o", "yaml").startswith(f'id: "{sid}"\nkind: Session\n')
    row = cli.out("get", "session", sid, "--no-headers")
    assert re.match(f"{sid}   {name}   demo +Running ", row) and row.count("\n") == 1
    assert sid in cli.out("get", "session", sid, "-o", "wide")
    assert cli.out("stop", sid) == f"session/{sid} stopped (phase: Stopping)\n"
    wait_phase(cli, sid, "Stopped")
    assert re.fullmatch(rf"session/{sid} started \(phase: \w+\)\n", cli.out("start", "--session", sid))
    wait_phase(cli, sid, "Running")
    assert cli.out("delete", "session", name, "--confirm") == f"session/{name} deleted\n"


def test_a_pipe_gets_whole_values_and_a_terminal_lines_that_fit(cli):
    long = "n" * 100
    uid = cli.json("create", "user", "--username", "very-long", "--name", long, "--email", "e@corp.net")["id"]
    assert long in cli.out("get", "user", uid)
    row = on_terminal(cli, "get", "user", uid)[1].splitlines()[1]
    assert len(row) == 80 and "nnn...   " not in row[:60] and long not in row
    assert cli.out("delete", "user", uid, "-y") == f"user/{uid} deleted\n"


def test_limit_and_pages(cli):
    for i in range(3):
        cli.run("create", "user", "--username", f"many-{i}", "--name", "x")
    total = cli.json("get", "users")["total"]
    done = cli.run("get", "users", "--limit", "2", "--no-headers")
    assert done.stdout.count("\n") == 2 and done.stderr == f"(showing 2 of {total})\n"
    assert len(cli.json("get", "users", "--limit", "1")["items"]) == 1
    assert cli.out("get", "users", "--limit", str(total), "--no-headers").count("\n") == total
    assert [u["username"] for u in cli.json("get", "users", "--search", "username like 'many-%'",
                                            "--sort-by", "username desc")["items"]] == ["many-2", "many-1", "many-0"]


def test_nothing_found_is_said_beside_the_table(cli, name):
    cli.run("create", "project", "--name", name)
    for kind in ("sessions", "agents"):
        done = cli.run("get", kind)
        assert done.stderr == f'No {kind} found in project "{name}".\n'
        assert done.stdout.startswith("ID   NAME   ") and done.stdout.count("\n") == 1
    assert cli.out("get", "sessions", "-o", "name") == ""
    assert cli.out("delete", "sessions", "-A") == "no sessions to delete\n"
    assert cli.out("agent", "start", "-A") == "no agents in project\n"


def test_names_ids_and_prefixes(cli, name):
    agents = [cli.json("agent", "create", "--name", n)["id"] for n in (name, name + "-2")]
    for word in (name, agents[0], agents[0][:24] if agents[0][:24] != agents[1][:24] else agents[0]):
        assert cli.json("get", "agent", word)["id"] == agents[0]
        assert cli.json("describe", "agent", word)["id"] == agents[0]
    assert cli.fails(3, "get", "agent", "no'such") == 'agent "no\'such" not found in project "demo"'
    assert cli.fails(3, "get", "agent", "zzzzzzzzzzzzzzzzzzzzzzzzzzz").endswith(' not found in project "demo"')
    same = [cli.json("create", "session", "--name", name, *SHELL)["id"] for _ in range(2)]
    text = cli.fails(6, "get", "session", name)
    assert text.startswith(f'get session "{name}": several sessions are named "{name}"; use an id: ')
    assert all(sid in text for sid in same)
    for words in (["describe", "session", name], ["stop", name], ["session", "messages", name],
                  ["delete", "session", name, "-y"]):
        assert "several sessions are named" in cli.fails(6, *words)


def test_create_with_everything(cli, name):
    s = cli.json("create", "sess", "a task in words", "--name", name, *SHELL, "--model", "m1", "--max-tokens", "7",
                 "--temperature", "0.5", "--timeout", "60", "--repo-url", "https://h/r.git", "--labels", '{"a":"b"}',
                 "--annotations", '{"c":"d"}', "--interactive")
    want = {"prompt": "a task in words", "llm_model": "m1", "llm_max_tokens": 7, "llm_temperature": 0.5,
            "timeout": 60, "labels": '{"a":"b"}', "annotations": '{"c":"d"}', "project_id": "demo"}
    assert {k: s.get(k) for k in want} == want
    assert json.loads(s["environment_variables"]) == {"RUNNER_TYPE": "shell"}
    assert cli.fails(2, "create", "session", "--name", "x", "--env", "novalue") == "--env novalue: must be NAME=VALUE"
    done = cli.run("create", "user", "--username", name, "--name", "x", "--prompt", "x")
    assert done.stderr == "Warning: --prompt is not applicable to this resource type and will be ignored\n"
    text = cli.fails(3, "create", "session", "--name", "x", "--project", "no-such-project")
    assert text.startswith('project "no-such-project" does not exist; run ')


@pytest.mark.parametrize("answer, code, deleted", [
    ("y\n", 0, True), ("YES\n", 0, True), ("n\n", 0, False), ("sure\n", 0, False), ("", 2, False), ("\n", 2, False),
    ("y y\n", 2, False)])
def test_delete_asks(cli, answer, code, deleted):
    uid = cli.json("create", "user", "--username", f"asked-{time.monotonic_ns()}", "--name", "x")["id"]
    done = cli.run("delete", "USER", uid, stdin=answer, code=code)
    assert done.stdout.startswith(f"Delete user/{uid}? [y/N]: ")
    left = [u["id"] for u in cli.json("get", "users")["items"]]
    assert (uid in left) != deleted
    assert done.stdout.endswith(f"user/{uid} deleted\n" if deleted else "Aborted.\n" if code == 0 else "[y/N]: ")
    if code:
        assert done.stderr == "Error: interactive confirmation required; use --yes/-y to skip\n"
    cli.run("delete", "user", uid, "-y", "--ignore-not-found")
    assert cli.fails(3, "delete", "user", uid, "-y")


def test_delete_all_sessions_stops_them_first(cli, name):
    cli.run("create", "project", "--name", name)
    live = [new_session(cli, n, "--interactive") for n in ("one", "two")]
    for sid in live:
        wait_phase(cli, sid, "Running")
    done = cli.run("delete", "sessions", "-A", stdin="y\n")
    assert done.stdout == "Delete all 2 sessions? [y/N]: 2 sessions deleted (2 stopped first)\n"
    assert cli.json("get", "sessions")["total"] == 0


# ---- agents and their inbox ----

def test_agent_from_birth_to_end(cli, name):
    assert cli.out("agent", "create", "--name", name, "--prompt", "echo I am here", *SHELL) == f"agent/{name} created\n"
    aid = cli.json("agent", "get", name)["id"]
    assert aid in cli.out("agent", "list") and aid in cli.out("agents", "ls", "-o", "name")
    assert cli.out("agent", "update", name, "--description", "new") == f"agent/{name} updated\n"
    assert cli.json("agent", "get", aid)["description"] == "new"
    assert "echo I am here" in cli.out("agent", "start-preview", name)
    assert cli.out("agent", "stop", name) == f"agent/{name} has no active session\n"
    sid = cli.json("agent", "start", name)["id"]
    assert cli.json("agent", "get", name)["current_session_id"] == sid
    wait_phase(cli, sid, "Completed")
    assert sid in cli.out("agent", "sessions", name) and sid in cli.out("get", "sessions", "--project-agent", name)
    assert cli.out("agent", "stop", name) == f"agent/{name} has no active session\n"
    assert cli.out("agent", "delete", name, "--confirm") == f"agent/{name} deleted\n"
    assert cli.fails(3, "agent", "get", name) == f'agent "{name}" not found in project "demo"'
    assert f'agent "{name}" not found' in cli.fails(3, "agent", "start", name)


def test_all_agents_of_a_project(cli, name):
    cli.run("create", "project", "--name", name)
    for one in ("a1", "a2"):
        cli.run("agent", "create", "--name", one, "--prompt", "echo hi; sleep 1000", *SHELL)
    started = cli.json("agent", "start", "-A")
    assert isinstance(started, list) and len(started) == 2
    for s in started:
        wait_phase(cli, s["id"], "Running")
    lines = cli.out("agent", "stop", "--all").splitlines()
    for s, line in zip(started, sorted(lines)):
        assert re.fullmatch(rf"agent/a\d session/{KSUID} stopped \(phase: Stopping\)", line), line
    for s in started:
        wait_phase(cli, s["id"], "Stopped")
    assert re.fullmatch(rf"(session/{KSUID} started \(phase: \w+\)\n){{2}}", cli.out("agent", "start", "--all"))
    cli.run("delete", "sessions", "-Ay")


def test_start_by_name_of_an_agent(cli, name):
    cli.run("agent", "create", "--name", name, *SHELL)
    out = cli.out("start", name, "--prompt", "sleep 1000")
    sid = re.fullmatch(rf"session/({KSUID}) started \(phase: \w+\)\n", out).group(1)
    assert cli.json("start", name)["id"] == sid  # it goes on
    assert re.fullmatch(rf"agent/{name} session/{sid} stopped \(phase: Stopping\)\n", cli.out("agent", "stop", name))


def test_inbox(cli, name):
    cli.run("agent", "create", "--name", name)
    to = ("--agent", name)
    out = cli.out("inbox", "send", *to, "--body", "first\nline", "--from-name", "lead")
    one = re.fullmatch(rf"inbox-message/({KSUID}) sent\n", out).group(1)
    two = cli.json("inbox", "send", "--pa-id", name, "--body", "-", stdin="from a pipe")["id"]
    listed = cli.json("inbox", "list", *to)["items"]
    assert {(m["id"], m["body"]) for m in listed} == {(one, "first\nline"), (two, "from a pipe")}
    assert f"{one}   lead" in cli.out("inbox", "ls", *to) and "first line" in cli.out("inbox", "ls", *to)
    assert cli.out("inbox", "mark-read", *to, "--msg-id", one) == f"inbox-message/{one} marked as read\n"
    assert cli.out("inbox", "list", *to, "--unread", "-o", "name") == f"inbox-message/{two}\n"
    assert cli.out("inbox", "delete", *to, "--msg-id", two) == f"inbox-message/{two} deleted\n"
    assert [m["id"] for m in cli.json("inbox", "list", *to)["items"]] == [one]
    assert cli.run("inbox", "list", *to, "--unread").stderr == "No messages in the inbox.\n"
    assert "404" in cli.fails(3, "inbox", "delete", *to, "--msg-id", two)
    assert "not found" in cli.fails(3, "inbox", "list", "--agent", "nobody-here")


# ---- messages ----

def test_stored_messages(cli, done_session):
    listed = cli.json("session", "messages", done_session)
    assert isinstance(listed, list) and [m["seq"] for m in listed] == sorted(m["seq"] for m in listed)
    text = cli.out("session", "messages", "done-session")
    assert re.match(r"#1 {5}user {26}\d+[sm]\n {6}printf ", text)
    after = cli.json("session", "messages", done_session, "--after", str(listed[0]["seq"]))
    assert [m["seq"] for m in after] == [m["seq"] for m in listed[1:]]
    assert cli.out("session", "messages", done_session, "-o", "name").count("\n") == len(listed)
    assert cli.fails(3, "session", "messages", "no-such").startswith('session "no-such" not found')


@pytest.mark.parametrize("words", [[], ["-f"], ["-f", "--json"], ["-F"], ["-F", "--json"], ["-f", "--after", "0"],
                                   ["-o", "json"], ["-o", "yaml"]], ids=" ".join)
def test_agents_do_not_write_to_the_terminal(cli, done_session, words):
    status, text = on_terminal(cli, "session", "messages", done_session, *words)
    assert status == 0 and "plain " in text and " end" in text
    text = re.sub(r"\033\[(0|1|(1;)?38;5;\d+)m", "", text)  # our own colours
    assert not re.search("[\0-\x08\x0b-\x1f\x7f-\x9f]", text), repr(text)


def test_follow_to_the_end(cli, done_session):
    out = cli.out("session", "messages", done_session, "-f")
    assert out.startswith(f"Streaming events for session {done_session} (Ctrl+C to stop)...\n\n")
    assert "\u25a0 run finished (RUN_FINISHED)" in out
    assert "(RUN_FINISHED)" in cli.out("session", "messages", done_session, "-f", "--after", "0")
    lines = [json.loads(line) for line in cli.out("session", "messages", done_session, "-f", "--json").splitlines()]
    assert [m["seq"] for m in lines] == [m["seq"] for m in cli.json("session", "messages", done_session)]
    out = cli.out("session", "messages", done_session, "-F")
    assert out.startswith(f"Continuously following session {done_session} (Ctrl+C to stop)...\n\n")


def test_follow_of_a_run_that_fails(cli, name):
    sid = new_session(cli, name, "--prompt", "echo so far; exit 3")
    done = cli.run("session", "messages", sid, "-f", code=1)
    assert "so far" in done.stdout and "(RUN_ERROR)" in done.stdout
    assert done.stderr.startswith(f"Error: session {sid} failed")


def test_send_and_follow(cli, talking):
    assert re.fullmatch(r"sent \(seq=\d+\)\n", cli.out("session", "send", talking, "sleep 0.2; echo quiet"))
    out = cli.out("session", "send", talking, "echo loud", "-f")
    assert re.match(r"sent \(seq=\d+\)\n", out) and "loud" in out and "(RUN_FINISHED)" in out
    done = cli.run("session", "send", talking, "exit 9", "-f", code=1)
    assert "(RUN_ERROR)" in done.stdout and done.stderr == "Error: run failed\n"


def test_events(cli, talking):
    with cli.start("session", "events", talking) as events:
        events.wait_for(f"Streaming events for session {talking} (Ctrl+C to stop)...")
        # The stream has no replay: only a run that begins behind its opening is seen.
        wait_until("a run's events", lambda: cli.run("session", "send", talking, "echo seen", "-f")
                   and "RUN_STARTED" in events.text())
        status, out, err = events.end()  # the runner's stream ends with the run
    assert (status, err) == (0, "")
    types = [json.loads(line)["type"] for line in out.splitlines()[2:]]
    assert types[0] == "RUN_STARTED" and types[-1] == "RUN_FINISHED"


FOLLOWS = [
    (["session", "messages", "S", "-f"], 130, 143, "first"),
    (["session", "messages", "S", "-F"], 0, 0, "first"),
    (["session", "events", "S"], 130, 143, "Streaming"),
    (["get", "sessions", "-w"], 0, 0, "S"),
]


@pytest.mark.parametrize("words, on_int, on_term, seen", FOLLOWS, ids=[" ".join(f[0]) for f in FOLLOWS])
def test_ctrl_c_is_an_orderly_end(cli, talking, words, on_int, on_term, seen):
    words, seen = [talking if w == "S" else w for w in words], talking if seen == "S" else seen
    for sig, code in ((signal.SIGINT, on_int), (signal.SIGTERM, on_term)):
        with cli.start(*words) as running:
            running.wait_for(seen)
            with open(f"/proc/{running.proc.pid}/cmdline") as f:
                assert cli.token not in f.read()
            with open(f"/proc/{running.proc.pid}/task/{running.proc.pid}/children") as f:
                assert f.read() == ""
            assert running.end(sig)[::2] == (code, "")


def test_ctrl_c_while_a_run_goes_on(cli, talking):
    with cli.start("session", "send", talking, "echo begun; sleep 1000", "-f") as running:
        running.wait_for("sent (seq=")
        assert running.end(signal.SIGINT)[::2] == (130, "")


# ---- watching ----

def test_watch_tells_every_change(cli, name):
    cli.run("create", "project", "--name", name)
    old = new_session(cli, "old", "--interactive")
    wait_phase(cli, old, "Running")
    with cli.start("get", "sessions", "-w") as rows, cli.start("get", "sessions", "-w", "-o", "json") as lines:
        rows.wait_for(old)
        lines.wait_for(old)
        new = new_session(cli, "new", "--interactive")
        elsewhere = new_session(cli, "elsewhere", "--project", "demo")
        wait_phase(cli, new, "Running")
        rows.wait_for(new)
        lines.wait_for(new)
        cli.run("delete", "session", old, "-y")
        rows.wait_for("DELETED")
        lines.wait_for("DELETED")
        status, out, err = rows.end(signal.SIGINT)
        assert (status, err) == (0, "")
        assert re.match(r"ID +NAME +PROJECT +PHASE +MODEL +AGE *\n" + old, out) and elsewhere not in out
        assert re.search(rf"^{old} +old +{name} +DELETED +(\S+ +)?$", out, re.M)
        events = [json.loads(line) for line in lines.end(signal.SIGINT)[1].splitlines()]
    assert [(e["type"], e["object"]["id"]) for e in events][0] == ("CREATED", old)
    assert ("CREATED", new) in [(e["type"], e["object"]["id"]) for e in events]
    assert ("UPDATED", new) in [(e["type"], e["object"]["id"]) for e in events]
    assert (events[-1]["type"], events[-1]["object"]["id"]) == ("DELETED", old)
    assert all(list(e) == ["type", "object"] for e in events)


def test_watch_ends_at_its_timeout(cli, name):
    cli.run("create", "project", "--name", name)
    out = cli.out("get", "sessions", "--watch", "--watch-timeout", "50ms")
    assert out.split() == ["ID", "NAME", "PROJECT", "PHASE", "MODEL", "AGE"]
    assert cli.out("get", "sessions", "-w", "--no-headers", "--watch-timeout=50ms") == ""


# ---- servers that are away or say no ----

@pytest.mark.parametrize("words", [["get", "sessions"], ["get", "session", "x"], ["delete", "user", "x", "-y"],
                                   ["create", "user", "--username", "x", "--name", "y"],
                                   ["project", "x"], ["agent", "list"]],
                         ids=" ".join)
def test_server_away(cli, words):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        done = cli.run("--api-url", f"http://127.0.0.1:{s.getsockname()[1]}", *words, code=7)
    assert re.match("Error: .*HTTP request failed: .*Failed to connect", done.stderr) and done.stderr.count("\n") == 1


ERRORS = [
    (401, '{"kind":"Error","reason":"Unauthorized"}', 4, "401: .*Unauthorized.*; run 'acpctl login'"),
    (403, '{"code":"ambient-4","reason":"no"}', 5, "403: ambient-4 \u2014 no"),
    (404, '{"code":"ambient-7","reason":"gone"}', 3, "404: ambient-7 \u2014 gone"),
    (409, '{"code":"ambient-6","reason":"twice"}', 6, "409: ambient-6 \u2014 twice"),
    (400, '{"code":"ambient-8","reason":"bad"}', 1, "400: ambient-8 \u2014 bad"),
    (500, '{"code":"ambient-9","reason":"oops"}', 1, "500: ambient-9 \u2014 oops"),
    (503, "upstream is tired\nreally", 7, "503: .*upstream is tired$"),
    (418, "", 1, "418: "),
    (409, '{"code":"x","reason":"\\u001b]0;o\\u0007\\u009b1mred"}', 6, "409: x \u2014 [^\\0-\\x1f\\x7f-\\x9f]*red$"),
]


@pytest.mark.parametrize("status, body, code, text", ERRORS, ids=[f"{e[0]}-{i}" for i, e in enumerate(ERRORS)])
def test_answers_that_are_errors(cli, status, body, code, text):
    with Stub(status, body, "application/json" if body.startswith("{") else "text/plain") as stub:
        said = cli.fails(code, "--api-url", stub.url, "get", "users")
        assert re.search("^list users: ambient API error " + text, said)
        headers = stub.seen[0][1]
    assert stub.seen[0][0].startswith("/api/ambient/v1/users?page=1&size=")
    assert headers["Authorization"] == "Bearer " + cli.token and headers["Accept"] == "application/json"
    assert headers["X-Ambient-Project"] == "demo" and headers["User-Agent"].startswith("acpctl/")
    assert len(stub.seen) == (3 if status == 503 else 1)  # reads are tried again when that may help


@pytest.mark.parametrize("body", ["<html>", '{"kind":"UserList"}', "[]", '"x"', "{"])
def test_answers_that_make_no_sense(cli, body):
    with Stub(200, body) as stub:
        assert cli.run("--api-url", stub.url, "get", "users", code=7).stderr.startswith("Error: list users: ")


def test_a_server_that_sends_its_first_page_for_ever(cli):
    page = json.dumps({"items": [{"id": str(i), "name": "x"} for i in range(500)], "total": 10 ** 9})
    with Stub(200, page) as stub:
        assert "again and again" in cli.fails(7, "--api-url", stub.url, "get", "users")


def test_names_do_not_write_to_the_terminal(cli):
    """In no format: escape sequences, C1 controls, and what turns the order of letters round."""
    evil = {"id": "a\x1b[2Jb", "name": "n\x9b31m\u202etxt\r\n\x1b]0;x\x07", "created_at": "\x1b[1m"}
    with Stub(200, json.dumps({"items": [evil], "total": 1})) as stub:
        for form in ("table", "wide", "json", "yaml", "name", "jsonpath={.items[0].id}", "custom-columns=N:.name"):
            _, text = on_terminal(cli, "--api-url", stub.url, "get", "users", "-o", form)
            assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), (form, text)
            assert form in ("json", "yaml") or "\u202e" not in text
        assert "\x1b" in cli.out("--api-url", stub.url, "get", "users", "-o", "name")  # a pipe gets it as it is


def test_request_timeout(cli):
    with socket.create_server(("127.0.0.1", 0)) as s:
        url = f"http://127.0.0.1:{s.getsockname()[1]}"
        text = cli.fails(7, "--api-url", url, "--request-timeout", "50ms", "get", "users")
    assert text.startswith("list users: ")


# ---- completion ----

def complete(cli, *words):
    return cli.out("__complete", *words).split()


def test_complete(cli):
    assert complete(cli, "ag") == ["agent"]
    assert {"get", "login", "session"} <= set(complete(cli, ""))
    assert {"list", "start-preview"} <= set(complete(cli, "agent", ""))
    assert complete(cli, "agent", "start-") == ["start-preview"]
    assert complete(cli, "get", "sessions", "--watch-") == ["--watch-timeout", "--watch-only"]
    assert "--api-url" in complete(cli, "--")
    assert complete(cli, "frob", "x") == complete(cli, "frob") == []


@pytest.mark.parametrize("line, found", [
    ("acpctl ag", "agent"), ("acpctl agent start-", "start-preview"), ("acpctl get --project-a", "--project-agent"),
    ("acpctl config use", "use-context")])
def test_bash_completion(cli, line, found):
    words = line.split(" ")
    script = (f'PATH="{BIN}:$PATH"; source <(acpctl completion bash); COMP_WORDS=({" ".join(words)}); '
              f'COMP_CWORD={len(words) - 1}; _acpctl; printf "%s\\n" "${{COMPREPLY[@]}}"; complete -p acpctl')
    done = subprocess.run(["bash", "--norc", "-c", script], env=cli.env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [found, "complete -o default -F _acpctl acpctl"] and done.stderr == ""


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_of_other_shells(cli, shell):
    assert "acpctl __complete" in cli.out("completion", shell)
