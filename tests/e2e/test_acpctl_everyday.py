"""`acpctl` in everyday use: forms of output, selections, waiting, labels, editing, explaining."""
import http.server
import json
import os
import re
import shutil
import stat
import subprocess
import threading

import pytest

from cli_support import Cli, Proxy, on_terminal
from platform_support import wait_until

SHELL = ("--env", "RUNNER_TYPE=shell")


@pytest.fixture(scope="module")
def world(shared_platform):
    shared_platform.acpctl("create", "project", "--name", "every", "--description", "for tests")
    agents = [("one", "red", "1"), ("two", "red", "10"), ("three", "blue", "9")]
    for name, color, rank in agents:
        shared_platform.acpctl("agent", "create", "--name", name, "--prompt", "p " + name,
                               "--labels", json.dumps({"color": color, "app.io/rank": rank}))
    return shared_platform


@pytest.fixture
def cli(world, tmp_path):
    config = shutil.copy(world.config, tmp_path / "config.json")
    with open(os.path.join(world.data, "token")) as f:
        return Cli(world.env, str(config), f.read().strip())


@pytest.fixture
def name(request):
    return re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[5:45].strip("-")


def new_session(cli, name, *words):
    return cli.json("create", "session", "--name", name, *SHELL, *words)["id"]


# ---- forms of output ----

JSONPATHS = [
    ("{.items[*].name}", "one two three"),
    ("{.items[0].name}{.items[-1].name}", "onethree"),
    ("{.items[0:2].name}", "one two"),
    ("{.items[?(@.labels.color=='red')].name}", "one two"),
    ('{range .items[*]}{.name}={.labels.color}{"\\n"}{end}', "one=red\ntwo=red\nthree=blue\n"),
    ("{.items[*]['name','llm_model']}", "one claude-sonnet-4-6 two claude-sonnet-4-6 three claude-sonnet-4-6"),
    ("{..name}", "one two three"),
    ("{.items[*].labels.app\\.io/rank}", "1 10 9"),
    ("{.items[?(@.llm_max_tokens>4000)].name}", ""),
    ("n={.total} {.none}", "n=3 "),
]


@pytest.mark.parametrize("template, text", JSONPATHS, ids=[t for t, _ in JSONPATHS])
def test_jsonpath(cli, template, text):
    assert cli.out("get", "agents", "-o", "jsonpath=" + template) == text


@pytest.mark.parametrize("template", ["{.items[}", "{.items", "{range .items[*]}", "{end}", "{items}", "{.a[?(@.b)}",
                                      "{.a['b]}", "{.a[?(b)]}"])
def test_a_wrong_jsonpath(cli, template):
    assert cli.fails(2, "get", "agents", "-o", "jsonpath=" + template).startswith("jsonpath ")


def test_custom_columns(cli):
    done = cli.out("get", "agents", "-o", "custom-columns=NAME:.name,COLOR:.labels.color,NO:.nothing")
    assert [re.split(" {3,}", line.strip()) for line in done.splitlines()] == [
        ["NAME", "COLOR", "NO"], ["one", "red", "<none>"], ["two", "red", "<none>"], ["three", "blue", "<none>"]]
    assert cli.out("get", "agent", "one", "-o", "custom-columns=X:{.name}", "--no-headers") == "one\n"
    assert cli.fails(2, "get", "agents", "-o", "custom-columns=X").startswith("custom-columns is TITLE:PATH")


def test_show_labels(cli):
    lines = cli.out("get", "agents", "--show-labels").splitlines()
    assert lines[0].rstrip().endswith("LABELS") and lines[1].rstrip().endswith("color=red,app.io/rank=1")


# ---- selections ----

SELECTIONS = [
    (("-l", "color=red"), ["one", "two"]), (("-l", "color!=red"), ["three"]),
    (("-l", "color"), ["one", "two", "three"]),
    (("-l", "!color"), []), (("-l", "color in (blue,green)"), ["three"]), (("-l", "color=red,app.io/rank=10"), ["two"]),
    (("--field-selector", "name=two"), ["two"]), (("--field-selector", "name!=two,labels.color=red"), ["one"]),
    (("-l", "color=red", "--limit", "1"), ["one"]), (("--sort-by", ".name"), ["one", "three", "two"]),
    (("--sort-by", "{.labels.color}"), ["three", "one", "two"]), (("--sort-by", "name desc"), ["two", "three", "one"]),
    (("--search", "name = 'one'", "-l", "color=red"), ["one"]),
]


@pytest.mark.parametrize("words, names", SELECTIONS, ids=[" ".join(w) for w, _ in SELECTIONS])
def test_selections(cli, words, names):
    listed = cli.json("get", "agents", *words)
    assert [a["name"] for a in listed["items"]] == names and listed["size"] == len(names)


def test_labels_are_selected_by_the_server(cli):
    with Proxy(cli.file()["api_url"]) as proxy:
        cli.run("get", "agents", "-l", "color=red", "--api-url", proxy.url)
        assert any("labelSelector=color%3Dred" in path for _, path in proxy.seen)


def test_wrong_selections(cli):
    assert "is no label selector" in cli.fails(2, "get", "agents", "-l", "a in b")
    assert "is no field selector" in cli.fails(2, "get", "agents", "--field-selector", "phase")
    assert "--sort-by" in cli.fails(2, "get", "agents", "--sort-by", "{.a")


def test_all_projects(cli, name):
    cli.run("create", "project", "--name", name, "--no-switch")
    cli.run("agent", "create", "--name", "elsewhere", "--project", name)
    found = {(a["project_id"], a["name"]) for a in cli.json("get", "agents", "-A")["items"]}
    assert {("every", "one"), (name, "elsewhere")} <= found
    sid = cli.json("create", "session", "--name", "elsewhere", "--project", name, *SHELL, "--prompt", "true")["id"]
    assert sid in [s["id"] for s in cli.json("get", "sessions", "-A")["items"]]
    assert cli.json("get", "agents", "-A", "--sort-by", ".name")["items"][0]["name"] == "elsewhere"


# ---- wait ----

def test_wait_for_a_phase(cli, name):
    new_session(cli, name, "--prompt", "echo done")
    assert cli.out("wait", "session", name, "--for=phase=Completed", "--timeout", "100s") == (
        f"session/{name} condition met\n")
    assert cli.out("wait", "session", name, "--for=jsonpath={.phase}=Completed") == f"session/{name} condition met\n"


def test_wait_ends_when_it_is_hopeless(cli, name):
    new_session(cli, name, "--prompt", "exit 3")
    text = cli.fails(1, "wait", "session", name, "--for=phase=Stopped", "--timeout", "100s")
    assert re.fullmatch(f"session/{name} is (Failed|Completed) and will not become Stopped", text)


def test_wait_gives_up(cli, name):
    sid = new_session(cli, name, "--interactive")
    text = cli.fails(8, "wait", "session", name, "--for=phase=Completed", "--timeout", "300ms")
    assert text == f"timed out waiting for session/{name}"
    with cli.start("wait", "session", name, "--for=delete", "--timeout", "100s") as waiting:
        cli.run("delete", "session", sid, "-y")
        assert waiting.end() == (0, f"session/{name} deleted\n", "")
    assert cli.out("wait", "session", name, "--for=delete") == f"session/{name} deleted\n"


def test_wait_for_several_by_label(cli, name):
    for i in range(2):
        new_session(cli, f"{name}-{i}", "--prompt", "true", "--labels", json.dumps({"batch": name}))
    done = cli.out("wait", "sessions", "-l", f"batch={name}", "--for=phase=Completed", "--timeout", "100s")
    assert done == f"session/{name}-0 condition met\nsession/{name}-1 condition met\n"


def test_start_and_stop_wait(cli, name):
    cli.run("agent", "create", "--name", name, "--prompt", "echo done", *SHELL)
    out = cli.out("start", name, "--wait", "--timeout", "100s")
    sid = re.search(r"session/(\w+)", out)[1]
    assert out.endswith(f"session/{sid} condition met\n") and cli.json("get", "session", sid)["phase"] == "Completed"
    cli.run("agent", "update", name, "--prompt", "exit 3")
    assert "will not become Completed" in cli.fails(1, "start", name, "--wait", "--timeout", "100s")
    stays = new_session(cli, name + "-stays", "--interactive")
    assert "timed out" in cli.fails(8, "start", "--session", sid, "--wait", "--timeout", "0s")
    cli.run("wait", "session", stays, "--for=phase=Running", "--timeout", "100s")  # without a phase there is no stop
    assert cli.out("stop", stays, "--wait", "--timeout", "100s").endswith(f"session/{stays} condition met\n")
    assert cli.json("get", "session", stays)["phase"] == "Stopped"
    cli.run("delete", "session", stays, "-y", "--wait")


class Busy(http.server.BaseHTTPRequestHandler):
    """Refuses once, and says when to come again."""

    def do_GET(self):  # noqa: N802
        first = not self.server.seen
        self.server.seen.append(self.path)
        empty = b'{"items":[],"kind":"RoleList","page":1,"size":0,"total":0}'
        body = b'{"code":"busy","reason":"busy"}' if first else empty
        self.send_response(429 if first else 200)
        if first:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def test_a_busy_server_is_asked_again(cli):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        cli.run("get", "roles", "--api-url", f"http://127.0.0.1:{server.server_port}")
        assert len(server.seen) == 2
        server.shutdown()


def test_wait_for_a_condition(cli, name):
    new_session(cli, name, "--prompt", "true")
    cli.run("wait", "session", name, "--for=phase=Completed", "--timeout", "100s")
    conditions = json.loads(cli.json("get", "session", name).get("conditions") or "[]")
    if conditions:
        c = conditions[0]
        wish = f"--for=condition={c['type']}={c['status']}"
        assert cli.out("wait", "session", name, wish).endswith("condition met\n")
    assert cli.fails(8, "wait", "session", name, "--for=condition=Nothing", "--timeout", "100ms")


@pytest.mark.parametrize("words, text", [
    (["session", "x"], "--for is required"), (["session", "x", "--for=phase=Frob"], 'there is no phase "Frob"'),
    (["session", "x", "--for=frob"], "--for=frob: it is phase=NAME"),
    (["session", "--for=delete"], "give the name of a"),
    (["session", "x", "-l", "a=b", "--for=delete"], "names and a selection cannot be given together")])
def test_words_of_wait(cli, words, text):
    assert text in cli.fails(2, "wait", *words)


# ---- label, annotate ----

def labels(cli, name):
    return json.loads(cli.json("get", "agent", name).get("labels") or "{}")


def test_label(cli, name):
    cli.run("agent", "create", "--name", name, "--labels", '{"a":"1","b":"2"}')
    assert cli.out("label", "agent", name, "c=3", "b-") == f"agent/{name} labeled\n"
    assert labels(cli, name) == {"a": "1", "c": "3"}
    assert cli.out("label", "agent", name, "c=3") == f"agent/{name} unchanged\n"
    assert cli.fails(6, "label", "agent", name, "c=4") == f"agent/{name} has c=3 already; --overwrite changes it"
    cli.run("label", "agent", name, "c=4", "--overwrite")
    assert labels(cli, name)["c"] == "4"
    cli.run("annotate", "agent", name, "some.io/text=any: text")
    assert json.loads(cli.json("get", "agent", name)["annotations"]) == {"some.io/text": "any: text"}
    cli.run("delete", "agent", name, "-y")


def test_label_by_selection(cli, name):
    for i in range(2):
        cli.run("agent", "create", "--name", f"{name}-{i}", "--labels", json.dumps({"of": name}))
    done = cli.out("label", "agents", "-l", f"of={name}", "new=x")
    assert sorted(done.splitlines()) == [f"agent/{name}-0 labeled", f"agent/{name}-1 labeled"]
    assert labels(cli, f"{name}-0")["new"] == "x"
    for i in range(2):
        cli.run("delete", "agent", f"{name}-{i}", "-y")


@pytest.mark.parametrize("words, text", [
    (["agent", "one"], "no change is given"), (["agent", "one", "two"], "no change is given"),
    (["agent", "a=b"], "give the name of a agent"), (["agent", "one", "=x"], "is no label"),
    (["agent", "one", "a=b c"], "is no label"), (["agent", "one", "a=b", "two"], "names stand before the changes"),
    (["user", "one", "a=b"], "users have no labels")])
def test_words_of_label(cli, words, text):
    assert text in cli.run("label", *words, code=2).stderr


# ---- explain ----

def test_explain(cli):
    text = cli.out("explain", "agents")
    assert text.startswith("KIND: Agent\n") and "PATH: /api/ambient/v1/projects/{project_id}/agents\n" in text
    assert re.search(r"\n  prompt <text> +Standing instructions\.\n", text)
    text = cli.out("explain", "agent.llm_temperature")
    assert text == "Agent.llm_temperature <number>\n    default 0.7\n\nSampling temperature.\n"
    assert "never answered" in cli.out("explain", "credential.token")
    assert cli.fails(3, "explain", "session.phas") == 'Session has no member phas; did you mean "phase"?'
    assert cli.fails(2, "explain", "frob").startswith("unknown resource type: frob")


# ---- edit ----

@pytest.fixture
def editor(tmp_path):
    """An editor that runs the scripts in turn on the file and keeps a copy of what it was given."""
    def editor(*scripts):
        turns = tmp_path / "turns"
        turns.mkdir()
        for i, script in enumerate(scripts):
            (turns / str(i)).write_text(script)
        path = tmp_path / "editor"
        path.write_text(f'#!/bin/sh\ncd {turns}\nn=$(ls seen-* 2>/dev/null | wc -l)\ncp "$2" seen-$n\n'
                        f'stat -c %a "$2" >mode\necho "$2" >where\n. ./$n\n')
        path.chmod(0o755)
        return {"EDITOR": f"{path} --wait", "VISUAL": "false"}, turns
    return editor


def gone(turns):
    return not os.path.exists((turns / "where").read_text().strip())


def test_edit(cli, name, editor):
    cli.run("agent", "create", "--name", name, "--prompt", "old\ntext\n", "--labels", '{"a":"1"}', "--description", "d")
    env, turns = editor('sed -i "s/old/new/; s/a: .*/a: 1.10/; /^description/d" "$2"')
    assert cli.out("edit", "agent", name, env=env) == f"agent/{name} edited\n"
    agent = cli.json("get", "agent", name)
    assert agent["prompt"] == "new\ntext\n" and labels(cli, name) == {"a": "1.10"} and not agent.get("description")
    assert (turns / "mode").read_text() == "600\n" and gone(turns)
    seen = (turns / "seen-0").read_text()
    assert "prompt: |\n  old\n  text\n" in seen and "created_at" not in seen


@pytest.mark.parametrize("script", ["true", ': >"$2"', 'echo "# only this" >"$2"'])
def test_edit_without_a_change(cli, editor, script):
    env, turns = editor(script)
    assert cli.out("edit", "agent", "one", env=env) == "Edit cancelled, no changes made.\n" and gone(turns)


def test_a_failing_editor_changes_nothing(cli, editor):
    env, turns = editor('echo "prompt: x" >"$2"; exit 1')
    assert "nothing is changed" in cli.fails(1, "edit", "agent", "one", env=env) and gone(turns)


def test_edit_that_is_interrupted_leaves_no_file(cli, editor):
    """As a terminal does it: the editor, its shell and acpctl get the signal."""
    env, turns = editor("kill -INT $PPID; kill -INT $$")
    assert "nothing is changed" in cli.fails(130, "edit", "agent", "one", env=env) and gone(turns)


def test_edit_opens_again_on_a_mistake(cli, name, editor):
    cli.run("agent", "create", "--name", name, "--prompt", "p")
    env, turns = editor('echo "prompt: [" >"$2"', 'echo "zzz: 1" >"$2"', 'echo "name: \'\'" >"$2"',
                        f'printf "name: {name}\\nprompt: good\\n" >"$2"')
    assert cli.out("edit", "agent", name, env=env) == f"agent/{name} edited\n"
    assert "# text: parse YAML" in (turns / "seen-1").read_text()
    assert "# zzz: no such member" in (turns / "seen-2").read_text()
    assert "# ambient API error 400" in (turns / "seen-3").read_text()
    assert cli.json("get", "agent", name)["prompt"] == "good" and gone(turns)


def test_edit_opens_again_when_somebody_was_faster(cli, name, editor):
    cli.run("agent", "create", "--name", name, "--prompt", "p", "--description", "d")
    env, turns = editor(f'{" ".join(cli.argv("agent", "update", name, "--description", "theirs"))} >/dev/null; '
                        'sed -i s/prompt:.*/"prompt: mine"/ "$2"',
                        'sed -i s/description:.*/"description: theirs"/ "$2"')
    assert cli.out("edit", "agent", name, env=env) == f"agent/{name} edited\n"
    seen = (turns / "seen-1").read_text()
    assert "# It was changed by somebody else meanwhile." in seen and '#   description: "theirs"' in seen
    assert "prompt: mine" in seen
    agent = cli.json("get", "agent", name)
    assert (agent["prompt"], agent["description"]) == ("mine", "theirs")


# ---- tables on a terminal ----

def test_ids_are_never_cut_and_lines_fit(cli, name):
    aid = cli.json("agent", "create", "--name", name + "-" + "x" * 60)["id"]
    lines = on_terminal(cli, "get", "agents")[1].splitlines()
    assert all(len(line) <= 80 for line in lines) and any(line.startswith(aid + "   ") for line in lines)
    cli.run("delete", "agent", aid, "-y")


# ---- following ----

def test_text_is_seen_while_it_is_written_and_only_once(cli, name, tmp_path):
    go_on = tmp_path / "go-on"
    sid = new_session(cli, name, "--interactive", "--prompt", "echo ready")
    wait_until("the first run", lambda: "run_finished" in cli.out("session", "messages", sid, "-o", "json"))
    task = f"printf 'first half '; while [ ! -e {go_on} ]; do sleep 0.02; done; echo second half"
    proc = subprocess.Popen(cli.argv("session", "send", sid, task, "-f"), env=cli.env, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    seen = b""
    os.set_blocking(proc.stdout.fileno(), False)

    def half():
        nonlocal seen
        seen += proc.stdout.read() or b""
        return seen.endswith(b"first half ")
    wait_until("half of the answer", half)
    go_on.write_text("")
    os.set_blocking(proc.stdout.fileno(), True)
    rest, errors = proc.communicate(timeout=60)
    text = (seen + rest).decode()
    assert proc.returncode == 0 and errors == b"", text
    answer = text.split("run started\n", 1)[1]
    assert answer.count("first half") == 1 and "first half second half\n" in answer
    assert "run finished (RUN_FINISHED)" in answer
    cli.run("delete", "session", sid, "-y")


# ---- describe, start -f, messages by type ----

def test_describe_for_a_person(cli, name):
    sid = new_session(cli, name, "--prompt", "echo 'hello there'", "--labels", '{"a":"b","c":"d"}')
    cli.run("wait", "session", name, "--for=phase=Completed", "--timeout", "100s")
    page = cli.out("describe", "session", name, "-o", "text")
    assert re.search(rf"^id: +{sid}$", page, re.M) and re.search(r"^phase: +Completed$", page, re.M)
    assert re.search(r"^labels: +a=b\n +c=d$", page, re.M)
    assert "\nMessages: " in page and "hello there" in page
    assert json.loads(cli.out("describe", "session", name))["id"] == sid  # a pipe gets JSON
    assert re.search(r"^phase: +Completed$", on_terminal(cli, "describe", "session", name)[1], re.M)
    cli.run("inbox", "send", "--agent", "one", "--body", "x", "--from-name", "y")
    assert re.search(r"^inbox: +1 messages, 1 unread$", cli.out("describe", "agent", "one", "-o", "text"), re.M)


def test_start_and_follow(cli, name):
    cli.run("agent", "create", "--name", name, "--prompt", "true", *SHELL)
    done = cli.run("start", name, "--prompt", "echo well done", "-f")
    assert re.match(r"session/\w{27} started \(phase: \w*\)\n", done.stdout)
    assert "well done\n" in done.stdout and "run finished (RUN_FINISHED)" in done.stdout
    assert "error (RUN_ERROR)" in cli.run("start", name, "--prompt", "exit 3", "-f", code=1).stdout
    cli.run("delete", "agent", name, "-y")


def test_messages_by_type(cli, name):
    sid = new_session(cli, name, "--prompt", "echo text; exit 4")
    cli.run("wait", "session", name, "--for=jsonpath=.phase=Failed", "--timeout", "100s", code=None)
    answers = json.loads(cli.out("session", "messages", sid, "-o", "json", "--type", "assistant"))
    assert {m["event_type"] for m in answers} == {"assistant"}
    errors = json.loads(cli.out("session", "messages", sid, "-o", "json", "--errors"))
    assert errors and {m["event_type"] for m in errors} <= {"error", "RUN_ERROR"}
