"""`acpctl`: files of sessions, exports, plugins, completion of names, TLS, and servers that can less."""
import concurrent.futures
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import time

import grpc
import pytest

from cli_support import Cli, Proxy, ProxyHandler, Stub, on_terminal
from platform_support import BIN, DEADLINE, wait_until

SHELL = ("--env", "RUNNER_TYPE=shell")


@pytest.fixture(scope="module")
def world(shared_platform):
    shared_platform.acpctl("create", "project", "--name", "more", "--description", "for tests")
    return shared_platform


@pytest.fixture
def cli(world, tmp_path):
    config = shutil.copy(world.config, tmp_path / "config.json")
    with open(os.path.join(world.data, "token")) as f:
        return Cli(dict(world.env, XDG_CACHE_HOME=str(tmp_path / "cache")), str(config), f.read().strip())


@pytest.fixture
def name(request):
    return re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[5:45].strip("-")


@pytest.fixture(scope="module")
def talking(world):
    """An interactive session that has answered once."""
    cli = Cli(world.env, world.config, "\0")
    sid = cli.json("create", "session", "--name", "talking", "--interactive", "--prompt",
                   "mkdir -p out/deep; printf one >out/a.txt; printf two >out/deep/b", *SHELL)["id"]
    wait_until("the first run", lambda: "run_finished" in cli.out("session", "messages", sid, "-o", "json"))
    return sid


# ---- cp ----

def where(cli, sid):
    """The agent's directory, as a path in the workspace."""
    files = [f["name"] for f in workspace(cli, sid, "")]
    for place in ("", *files):
        if "out" in [f["name"] for f in workspace(cli, sid, place)]:
            return place
    raise AssertionError(files)


def workspace(cli, sid, path):
    url = cli.file()["api_url"].removeprefix("http://")
    c = http.client.HTTPConnection(url, timeout=DEADLINE)
    c.request("GET", f"/api/ambient/v1/sessions/{sid}/workspace?path={path}",
              headers={"Authorization": "Bearer " + cli.token})
    answer = c.getresponse()
    body = json.loads(answer.read())
    return body["files"] if answer.status == 200 else []


def test_cp_from_a_session(cli, talking, tmp_path):
    place = where(cli, talking)
    out = f"{place}/out" if place else "out"
    (tmp_path / "to").mkdir()
    assert cli.out("cp", f"talking:{out}/a.txt", str(tmp_path / "to")) == "1 file copied (3 bytes)\n"
    assert (tmp_path / "to/a.txt").read_text() == "one"
    assert cli.out("cp", f"talking:{out}/a.txt", "-") == "one"
    cli.run("cp", f"talking:{out}/deep", str(tmp_path / "fresh"))
    assert (tmp_path / "fresh/b").read_text() == "two"
    assert cli.fails(2, "cp", f"talking:{out}/deep", "-").endswith("is a directory")
    assert "none" in cli.fails(3, "cp", f"talking:{out}/none", str(tmp_path / "x"))


def test_cp_to_a_session_and_back(cli, talking, tmp_path):
    data = bytes(range(256)) * 40
    (tmp_path / "tree/sub").mkdir(parents=True)
    (tmp_path / "tree/bytes").write_bytes(data)
    (tmp_path / "tree/sub/with space?.txt").write_text("x")
    (tmp_path / "tree/link").symlink_to("/etc/hostname")
    done = cli.run("cp", str(tmp_path / "tree"), f"{talking}:given")
    assert done.stdout == f"2 files copied ({len(data) + 1} bytes)\n"
    assert done.stderr.endswith("link: neither a file nor a directory, left out\n")
    cli.run("cp", f"{talking}:given", str(tmp_path / "back"))
    assert (tmp_path / "back/bytes").read_bytes() == data
    assert (tmp_path / "back/sub/with space?.txt").read_text() == "x"
    assert sorted(os.listdir(tmp_path / "back")) == ["bytes", "sub"]


class TooLarge(ProxyHandler):
    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(413)
        self.send_header("Content-Length", "0")
        self.end_headers()


def test_cp_of_a_file_that_the_server_does_not_take(cli, talking, tmp_path):
    (tmp_path / "file").write_text("0123456789")
    proxy = Proxy(cli.file()["api_url"])
    proxy.RequestHandlerClass = TooLarge
    with proxy:
        text = cli.fails(1, "--api-url", proxy.url, "cp", str(tmp_path / "file"), f"{talking}:file")
    assert "file: the server does not take a file of 10 bytes" in text


def test_cp_of_files_that_no_buffer_holds(cli, talking, tmp_path):
    size = (64 << 20) + 1
    cli.run("session", "send", talking, f"head -c {size} /dev/zero >big", "-f")
    place = os.path.join(where(cli, talking), "big")
    cli.run("cp", f"{talking}:{place}", str(tmp_path / "big"))
    assert (tmp_path / "big").stat().st_size == size
    cli.fails(3, "cp", f"{talking}:none", str(tmp_path / "none"))
    assert sorted(set(os.listdir(tmp_path)) - {"cache"}) == ["big", "config.json"]  # nothing half-done
    text = cli.fails(1, "cp", str(tmp_path / "big"), f"{talking}:again")
    assert "larger than" in text


def test_words_of_cp(cli, tmp_path):
    assert cli.fails(2, "cp", "a", "b") == "one of both is SESSION:PATH, the other a path here"
    assert cli.fails(2, "cp", "a:x", "b:y") == "one of both is SESSION:PATH, the other a path here"
    assert cli.fails(3, "cp", "nobody:x", "-") == 'session "nobody" not found'


def test_names_from_a_workspace_lead_nowhere_else(cli, tmp_path):
    """The server says what an agent called its files."""
    sid = "3MYEs8iaG035quFq1Tlij4LzKqn"
    answer = {"id": sid, "files": [{"name": "../evil", "isDir": False}, {"name": "d", "isDir": True}]}
    (tmp_path / "to").mkdir()
    with Stub(200, json.dumps(answer)) as stub:
        text = cli.fails(7, "--api-url", stub.url, "cp", f"{sid}:d", str(tmp_path / "to"))
    assert 'a name that is none: "../evil"' in text and not (tmp_path / "evil").exists()


# ---- logs, export ----

def test_logs(cli, talking):
    done = cli.run("logs", "talking")
    assert "run_started" in done.stdout and "run_finished" in done.stdout
    assert '"program":"ambient-runner"' in done.stdout or "program=ambient-runner" in done.stdout
    assert done.stderr == ""
    assert cli.fails(3, "logs", "nobody") == 'session "nobody" not found'


def test_logs_of_a_runner_that_ended_say_where_to_look(cli, name):
    sid = cli.json("create", "session", "--name", name, "--prompt", "echo x", *SHELL)["id"]
    cli.run("wait", "session", sid, "--for=phase=Completed", "--timeout", "50s")
    done = cli.run("logs", sid)
    assert "run_finished" in done.stdout and f"sessions/{sid}/runner.log" in done.stderr


def test_session_export(cli, talking, tmp_path):
    exported = json.loads(cli.out("session", "export", "talking"))
    assert talking in json.dumps(exported)
    path = tmp_path / "all.json"
    assert cli.out("session", "export", "talking", "-f", str(path)) == f"session/{talking} exported to {path}\n"
    assert "run_finished" in json.dumps(json.loads(path.read_text())) and (path.stat().st_mode & 0o777) == 0o600


# ---- plugins ----

@pytest.fixture
def plugins(cli, tmp_path):
    folder = tmp_path / "plugins"
    folder.mkdir()
    for name in ("hello", "hello-world", "get"):
        path = folder / f"acpctl-{name}"
        path.write_text(f'#!/bin/sh\necho {name} "$#" "$@"\necho "$AMBIENT_API_URL $AMBIENT_PROJECT"\nexit 9\n')
        path.chmod(0o755)
    (folder / "acpctl-notes").write_text("no program")
    cli.env["PATH"] = f"{folder}:{os.environ['PATH']}"
    return folder


def test_plugins(cli, plugins):
    url = cli.file()["api_url"]
    assert cli.run("hello", "a b", "-x", code=9).stdout == f"hello 2 a b -x\n{url} more\n"
    assert cli.run("hello", "world", "c", code=9).stdout.startswith("hello-world 1 c\n")
    assert "Usage" in cli.out("get", "--help")  # a command is never hidden by a plugin
    assert cli.run("notes", code=2).stderr.startswith('Error: unknown command "notes"')
    lines = cli.out("plugin", "list").splitlines()
    assert [line.split()[0] for line in lines] == ["get", "hello", "hello-world"]
    assert "hidden by the command" in lines[0] and "hidden" not in lines[1]


def test_no_plugins(cli, tmp_path):
    cli.env["PATH"] = str(tmp_path)
    assert cli.run("plugin", "list").stderr.startswith("No plugins found")


def test_plugins_are_not_taken_from_the_current_directory(cli, plugins):
    cli.env["PATH"] = "."
    done = subprocess.run(cli.argv("hello"), env=cli.env, capture_output=True, text=True, cwd=plugins, timeout=DEADLINE)
    assert done.returncode == 2 and 'unknown command "hello"' in done.stderr


# ---- completion of names ----

def complete(cli, *words, **env):
    return subprocess.run(cli.argv("__complete", *words), env={**cli.env, **env}, capture_output=True, text=True,
                          timeout=DEADLINE).stdout.split("\n")[:-1]


def test_completion_of_names(cli, talking):
    assert complete(cli, "get", "sess") == ["sessions"] and "agents" in complete(cli, "describe", "")
    assert complete(cli, "get", "sessions", "talk") == ["talking"]
    assert complete(cli, "session", "messages", "talk") == ["talking"]
    assert complete(cli, "project", "set", "mo") == ["more"]
    assert complete(cli, "start", "--session", "ta") == ["talking"]
    assert complete(cli, "config", "get", "api") == ["api_url"]
    assert complete(cli, "config", "use-context", "") == [cli.file()["current_context"]]
    assert complete(cli, "apply", "--dry-run=s") == ["--dry-run=server"]
    assert complete(cli, "get", "agents", "-o", "j") == ["json", "jsonpath="]
    assert complete(cli, "completion", "z") == ["zsh"]


def test_completion_remembers_for_a_while(cli, talking):
    with Proxy(cli.file()["api_url"]) as proxy:
        for _ in range(3):
            assert complete(cli, "stop", "ta", AMBIENT_API_URL=proxy.url) == ["talking"]
        assert len(proxy.seen) == 1


def test_completion_is_silent_without_a_server(cli):
    assert complete(cli, "stop", "", AMBIENT_API_URL="http://127.0.0.1:1") == []


# ---- TLS ----

@pytest.fixture
def tls(cli, tmp_path):
    """The platform behind TLS: its URL and its root."""
    key, cert = str(tmp_path / "key"), str(tmp_path / "cert")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-keyout", key, "-out", cert, "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                    "-days", "2"], check=True, capture_output=True, timeout=DEADLINE)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with Proxy(cli.file()["api_url"]) as proxy:
        proxy.socket = context.wrap_socket(proxy.socket, server_side=True)
        yield f"https://localhost:{proxy.server_address[1]}", cert


def test_tls(cli, tls):
    url, cert = tls
    text = cli.fails(7, "--api-url", url, "get", "projects")
    assert "HTTP request failed: " in text and "ertificate" in text
    cli.run("config", "set", "ca_file", cert)
    assert "more" in cli.out("--api-url", url, "get", "projects")
    assert "HTTP request failed" in cli.fails(7, "--api-url", url.replace("localhost", "127.0.0.1"), "get", "projects")
    cli.run("config", "unset", "ca_file")
    assert "more" in cli.run("--api-url", url, "--insecure-skip-tls-verify", "get", "projects").stdout


# ---- servers that can less, or are away ----

def test_watch_falls_back_to_polling(cli, name):
    """A gRPC server without our services."""
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    cli.env.update(AMBIENT_GRPC_URL=f"127.0.0.1:{port}", AMBIENT_POLLING_INTERVAL="1")
    sid = cli.json("create", "session", "--name", name, "--interactive", *SHELL)["id"]
    try:
        with cli.start("get", "sessions", "-w", "--field-selector", f"name={name}", "--no-headers") as watch:
            watch.wait_for(sid)
            cli.run("wait", "session", sid, "--for=phase=Running", "--timeout", "100s")
            cli.run("stop", sid)
            watch.wait_for("Stopped")
            cli.run("delete", "session", sid, "-y")
            watch.wait_for("DELETED")
            status, _, errors = watch.end(2)
        assert status in (0, 130) and errors.count("falling back to polling") == 1
    finally:
        server.stop(None)


def test_every_kind_can_be_watched(cli, name):
    """Streamed kinds and those that are listed and compared; what a project's watch of others would hide, too."""
    cli.env.update(AMBIENT_POLLING_INTERVAL="1")
    kinds = ("users", "projects", "agents", "credentials")
    cli.run("agent", "create", "--name", name, "--prompt", "one")
    agent = cli.json("get", "agent", name)["id"]
    watches = {k: cli.start("get", k, "-w", "-o", "json") for k in kinds}
    everywhere = cli.start("get", "sessions", "-w", "-A", "--watch-only", "--no-headers")
    for kind, known in (("users", "dev-user"), ("projects", "more"), ("agents", agent)):
        watches[kind].wait_for(known)
    watches["credentials"].wait_for("")
    user = cli.json("create", "user", "--username", name, "--name", "x")["id"]
    cli.run("create", "project", "--name", name, "--no-switch")
    elsewhere = cli.json("create", "session", "--project", name, "--name", "x", "--interactive", *SHELL)["id"]
    cli.run("agent", "update", name, "--prompt", "two")
    cli.run("credential", "create", "--name", name, "--provider", "github")
    watches["users"].wait_for(user)
    watches["projects"].wait_for(f'"{name}"')
    watches["agents"].wait_for('"two"')
    watches["credentials"].wait_for(f'"{name}"')
    everywhere.wait_for(elsewhere)
    cli.run("delete", "user", user, "-y")
    cli.run("delete", "project", name, "-y")
    cli.run("agent", "delete", name, "--confirm")
    cli.run("credential", "delete", name, "--confirm")
    for watch in watches.values():
        watch.wait_for("DELETED")
    everywhere.wait_for("DELETED")
    events = {k: [json.loads(line) for line in w.end(2)[1].splitlines()] for k, w in watches.items()}
    assert everywhere.end(2)[::2] == (0, "")
    mine = [(e["type"], e["object"]["prompt"]) for e in events["agents"] if e["object"]["id"] == agent]
    assert mine == [("CREATED", "one"), ("UPDATED", "two"), ("DELETED", "two")]
    assert [e["type"] for e in events["users"] if e["object"]["id"] == user] == ["CREATED", "DELETED"]


def test_a_watch_of_others_has_a_column_for_events_and_ends_when_the_server_stays_away(cli):
    cli.env.update(AMBIENT_POLLING_INTERVAL="1")
    with Stub(200, '{"items":[{"id":"a","kind":"Role","name":"r"}]}') as stub:
        watch = cli.start("get", "roles", "-w", "--api-url", stub.url)
        watch.wait_for("CREATED")
        stub.answer = 500, b'{"code":"x","reason":"oops"}', "application/json"
        status, out, err = watch.end()
    assert out.splitlines()[0].split()[-1] == "EVENT" and status == 1
    assert "Error processing roles (5/5): " in err
    assert re.search(r"Error: watch roles: too many consecutive errors, stopping watch: .*oops\n$", err)


# ---- the raw API, errors for programs, colours, a pager ----

def test_api(cli, name):
    assert cli.json("api", "/projects?search=name+%3D+'more'")["items"][0]["id"] == "more"
    made = json.loads(cli.out("api", "users", "-f", f"username={name}", "-f", "name=1"))
    assert made["username"] == name and made["name"] == "1"
    assert cli.out("api", "PATCH", f"/users/{made['id']}", "--input", "-", stdin='{"name":"two"}',
                   ).count('"name": "two"') == 1
    assert cli.out("api", "/users", "--paginate", "-o", "jsonpath={.items[*].id}").split().count(made["id"]) == 1
    assert cli.out("api", "delete", f"/api/ambient/v1/users/{made['id']}") == ""
    assert "404" in cli.fails(3, "api", f"/users/{made['id']}")


API_USAGE = [(["http://elsewhere/x"], "a path below /api/ambient/v1, not a whole address"),
             (["/users?a b"], "a path must be escaped"), (["P0ST", "/users"], '"P0ST" is no method'),
             (["/users", "-f", "x"], "must be NAME=TEXT or NAME:=JSON"), (["/users", "-f", "x:={"], "is no JSON"),
             (["/users", "-f", "x=1", "--input", "-"], "cannot be given together"),
             (["POST", "/users", "--paginate"], "--paginate is for GET")]


@pytest.mark.parametrize("words, text", API_USAGE, ids=[w[0] + str(len(w)) + w[-1] for w, _ in API_USAGE])
def test_words_of_api(cli, words, text):
    assert text in cli.fails(2, "api", *words)


def test_errors_for_programs(cli):
    error = json.loads(cli.run("--error-format", "json", "get", "project", "nope", code=3).stderr)
    assert list(error) == ["code", "reason", "status", "operation_id"] and error["status"] == 404
    assert error["code"].startswith("ambient-") and error["reason"].startswith('get project "nope": ')
    error = json.loads(cli.run("get", "frobs", "--error-format=json", code=2).stderr)
    assert error["code"] == "USAGE" and error["status"] == 0 and error["operation_id"] == ""
    assert json.loads(cli.run("--error-format", "json", "get", "--frob", code=2).stderr)["code"] == "USAGE"
    assert "must be one of: text json" in cli.fails(2, "--error-format", "xml", "get", "users")


def test_colours_when_wanted(cli, name, tmp_path):
    (tmp_path / "m.yaml").write_text(f"kind: Agent\nname: {name}\nprompt: x\n")

    def colours(*words, **env):
        return "\033[" in cli.run("diff", "-f", str(tmp_path / "m.yaml"), *words, code=1, env=env).stdout
    assert not colours() and colours("--color", "always") and colours(CLICOLOR_FORCE="1")
    assert not colours("--color", "never", CLICOLOR_FORCE="1") and colours("--color=always", NO_COLOR="1")
    assert "must be one of: auto always never" in cli.fails(2, "--color", "red", "version")


def test_pager(cli, tmp_path):
    seen = tmp_path / "seen"
    cli.run("config", "set", "pager", f"cat >{seen}")
    assert on_terminal(cli, "get", "projects")[1] == "" and "more" in seen.read_text()
    seen.unlink()
    for words in (["get", "projects", "--no-pager"], ["config", "get", "pager"],
                  ["get", "projects", "-w", "--watch-timeout", "1ms"]):
        assert on_terminal(cli, *words)[1] != "" and not seen.exists()
    assert "more" in cli.out("get", "projects")  # not on a terminal
    assert not seen.exists()
    cli.run("config", "set", "pager", "exit 3")
    assert on_terminal(cli, "get", "project", "nope")[0] == 3  # the status is the command's


def test_watch_only_and_selectors(cli, name):
    old = cli.json("create", "session", "--name", name, "--interactive", "--labels", '{"w":"1"}', *SHELL)["id"]
    with cli.start("get", "sessions", "-w", "--watch-only", "-l", "w=1", "-o", "json") as watch:
        wait_until("a change of the old one", lambda: cli.run("label", "session", old, f"t=x{time.monotonic_ns()}",
                                                              "--overwrite") and old in watch.text())
        other = cli.json("create", "session", "--name", name, "--interactive", *SHELL)["id"]
        new = cli.json("create", "session", "--name", name, "--interactive", "--labels", '{"w":"1"}', *SHELL)["id"]
        watch.wait_for(new)
        _, text, _ = watch.end(2)
    events = [json.loads(line) for line in text.splitlines()]
    assert other not in text and {e["type"] for e in events if e["object"]["id"] == old} <= {"UPDATED"}
    for sid in (old, other, new):
        cli.run("delete", "session", sid, "-y")


class Flaky(ProxyHandler):
    def forward(self):
        server = self.server
        server.tries = getattr(server, "tries", 0) + 1
        if server.tries == 1:
            self.close_connection = True
            self.connection.close()  # a reset after the request: worth another try
            return
        super().forward()

    do_GET = do_POST = do_PATCH = forward


def test_a_read_is_tried_again_when_the_connection_breaks(cli):
    proxy = Proxy(cli.file()["api_url"])
    proxy.RequestHandlerClass = Flaky
    with proxy:
        assert "more" in cli.out("--api-url", proxy.url, "get", "projects")
        assert proxy.tries >= 2


def test_a_dead_server_is_told_once_with_what_to_do(cli):
    text = cli.fails(7, "--api-url", "http://127.0.0.1:1", "get", "projects")
    assert text.count("Failed to connect") == 1 and "is the server running?" in text and "config get-contexts" in text


def test_an_ambiguous_prefix(cli):
    ids = [cli.json("create", "user", "--username", f"prefix-{i}", "--name", "x")["id"] for i in range(2)]
    common = os.path.commonprefix(ids)  # an id begins with its time
    assert len(common) >= 4
    text = cli.fails(6, "get", "user", common)
    assert all(i in text for i in ids) and "use an id" in text
    assert cli.json("get", "user", "prefix-0")["id"] == ids[0]
    assert cli.json("get", "user", ids[0][:26])["id"] == ids[0]
    for i in ids:
        cli.run("delete", "user", i, "-y")


# ---- start ----

def test_libcurl_is_loaded_only_for_a_request(cli):
    """Its chain of libraries costs most of the start (src/http/lazy-curl.c)."""
    env = {"LD_DEBUG": "files"}
    assert "libcurl" not in cli.run("version", "--client", env=env, secret=True).stderr
    assert "libcurl" in cli.run("get", "projects", env=env, secret=True).stderr
