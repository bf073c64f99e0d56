"""`acpctl apply`, `diff`, `create -f`, `delete -f`: manifests of both shapes, and what reaches the server."""
import json
import os
import re
import shutil

import pytest

from cli_support import Cli, Proxy, Stub

LAST = "ambient.io/last-applied"


@pytest.fixture(scope="module")
def world(shared_platform):
    shared_platform.acpctl("create", "project", "--name", "ctx", "--description", "the current one")
    return shared_platform


@pytest.fixture
def cli(world, tmp_path):
    config = shutil.copy(world.config, tmp_path / "config.json")
    with open(os.path.join(world.data, "token")) as f:
        return Cli(world.env, str(config), f.read().strip())


@pytest.fixture
def name(request):
    return re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[5:45].strip("-")


@pytest.fixture
def write(tmp_path):
    """Writes files below the test's directory and gives the path of the first one."""
    def write(**files):
        for path, text in files.items():
            full = tmp_path / path.replace("__", "/")
            full = full.with_name(full.name + ".yaml")
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_text(text)
        first = next(iter(files))
        return str(tmp_path / (first.replace("__", "/") + ".yaml"))
    return write


@pytest.fixture
def proxy(cli):
    with Proxy(cli.file()["api_url"]) as p:
        yield p


def labels(obj):
    return json.loads(obj.get("labels") or "{}")


def annotations(obj):
    return {k: v for k, v in json.loads(obj.get("annotations") or "{}").items() if k != LAST}


# ---- what is read ----

FLAT = """
kind: Project
name: {p}
description: of the test
prompt: |
  First line.

    indented \u2192 second
labels:
  plain: 1.10
  app.kubernetes.io/part-of: true
annotations:
  ambient.io/rules: |
    - one
    - two
  empty:
  json: '{{"a": "b"}}'
---
kind: agent
name: lead
prompt: You lead.
labels: {{team: core}}
inbox:
  - from_name: boss
    body: |
      Begin.
"""

NESTED = """
apiVersion: ambient.io/v1
kind: Agent
metadata:
  name: lead
  labels: {team: core, tier: "1"}
  annotations: {note: x}
spec:
  prompt: You lead.
  llm_model: some-model
  llm_max_tokens: 1234
  llm_temperature: 0.25
  environment:
    LEVEL: 5
"""


def test_flat_documents_become_resources_and_a_second_time_writes_nothing(cli, proxy, write, name):
    path = write(fleet=FLAT.format(p=name))
    assert cli.out("apply", "-f", path, "--api-url", proxy.url) == (
        f"project/{name} created\nagent/lead created (project {name})\n")
    project = cli.json("get", "project", name)
    assert project["prompt"] == "First line.\n\n  indented \u2192 second\n"
    assert labels(project) == {"plain": "1.10", "app.kubernetes.io/part-of": "true"}
    assert annotations(project) == {"ambient.io/rules": "- one\n- two\n", "empty": "", "json": '{"a": "b"}'}
    inbox = cli.json("inbox", "list", "--project", name, "--agent", "lead")["items"]
    assert [(m["from_name"], m["body"]) for m in inbox] == [("boss", "Begin.\n")]
    proxy.seen.clear()
    assert cli.out("apply", "-f", path, "--api-url", proxy.url) == (
        f"project/{name} unchanged\nagent/lead unchanged (project {name})\n")
    assert proxy.seen and proxy.writes() == []


def test_metadata_and_spec(cli, write, name):
    path = write(a=NESTED)
    cli.run("create", "project", "--name", name, "--no-switch")
    assert cli.out("apply", "-f", path, "--project", name) == f"agent/lead created (project {name})\n"
    agent = cli.json("get", "agent", "lead", "--project", name)
    assert (agent["llm_model"], agent["llm_max_tokens"], agent["llm_temperature"]) == ("some-model", 1234, 0.25)
    assert json.loads(agent["environment_variables"]) == {"LEVEL": "5"}
    assert labels(agent) == {"team": "core", "tier": "1"} and annotations(agent) == {"note": "x"}


def test_a_list_json_directories_and_standard_input(cli, write, tmp_path, name):
    cli.run("create", "project", "--name", name)
    write(d__b="kind: Agent\nname: second\n", d__sub__c="kind: Agent\nname: deep\n", d__kustomization="bogus: true\n")
    (tmp_path / "d/a.json").write_text('{"kind": "Agent", "name": "first"}')
    assert cli.out("apply", "-f", str(tmp_path / "d")) == "agent/first created\nagent/second created\n"
    assert cli.out("apply", "-f", str(tmp_path / "d"), "-R") == (
        "agent/first unchanged\nagent/second unchanged\nagent/deep created\n")
    items = "kind: List\nitems:\n- {kind: Agent, name: third}\n- {kind: Agent, name: fourth}\n---\n---\nno: kind\n"
    assert cli.out("apply", "-f", "-", stdin=items) == "agent/third created\nagent/fourth created\n"


def test_what_get_prints_can_be_applied(cli, name):
    cli.run("create", "project", "--name", name)
    cli.run("agent", "create", "--name", "a", "--prompt", "p", "--labels", '{"x":"y"}')
    text = cli.out("get", "agent", "a", "-o", "yaml")
    assert cli.out("apply", "-f", "-", stdin=text.replace("prompt: p", "prompt: q")) == "agent/a configured\n"
    assert cli.json("get", "agent", "a")["prompt"] == "q"


# ---- order and place ----

def test_kinds_are_applied_in_their_order_and_agents_go_to_the_set_s_project(cli, write, tmp_path, name):
    write(d__api="kind: Agent\nname: api\n", d__project=f"kind: Project\nname: {name}\n")
    assert cli.out("apply", "-f", str(tmp_path / "d")) == (
        f"project/{name} created\nagent/api created (project {name})\n")


def test_the_choice_of_project(cli, write, name):
    for p in ("a", "b"):
        cli.run("create", "project", "--name", f"{name}-{p}", "--no-switch")
    path = write(x=f"kind: Agent\nname: x\nproject: {name}-a\n")
    assert cli.out("apply", "-f", path) == f"agent/x created (project {name}-a)\n"
    assert cli.out("apply", "-f", path, "--project", f"{name}-b") == f"agent/x created (project {name}-b)\n"
    nested = write(y=f"kind: Agent\nmetadata: {{name: y, project: {name}-b}}\nspec: {{prompt: q}}\n")
    assert cli.out("apply", "-f", nested) == f"agent/y created (project {name}-b)\n"


# ---- merging ----

def test_keys_of_others_stay_and_keys_that_left_the_manifest_go(cli, write, name):
    cli.run("create", "project", "--name", name)
    doc = "kind: Agent\nname: a\nlabels: {keep: '1', gone: '1'}\nannotations: {mine: '1'}\n"
    cli.run("apply", "-f", write(a=doc))
    theirs = json.loads(cli.json("get", "agent", "a")["annotations"]) | {"work.ambient.io/current-task": "T1"}
    cli.run("agent", "update", "a", "--annotations", json.dumps(theirs))
    path = write(a="kind: Agent\nname: a\nlabels: {keep: '2'}\n")
    assert cli.out("apply", "-f", path) == "agent/a configured\n"
    agent = cli.json("get", "agent", "a")
    assert labels(agent) == {"keep": "2"} and annotations(agent) == {"work.ambient.io/current-task": "T1"}
    assert cli.out("apply", "-f", path) == "agent/a unchanged\n"


def test_presence_decides_and_a_field_can_be_cleared(cli, write, name):
    cli.run("create", "project", "--name", name)
    cli.run("apply", "-f", write(a="kind: Agent\nname: a\nprompt: p\ndescription: d\nllm_model: other\n"))
    assert cli.out("apply", "-f", write(a="kind: Agent\nname: a\ndescription: ''\nllm_model:\n")) == (
        "agent/a configured\n")
    agent = cli.json("get", "agent", "a")
    assert agent["prompt"] == "p" and not agent.get("description") and agent["llm_model"] != "other"
    assert cli.out("apply", "-f", write(a="kind: Agent\nname: a\ndescription: ''\nllm_model:\n")) == (
        "agent/a unchanged\n")


def test_what_cannot_be_changed_is_said(cli, write, name):
    cli.run("create", "project", "--name", name)
    cli.run("apply", "-f", write(a="kind: Agent\nname: a\nenvironment_variables: {A: '1'}\n"))
    text = cli.fails(1, "apply", "-f", write(a="kind: Agent\nname: a\nenvironment_variables: {A: '2'}\n"))
    assert text == "apply agent/a: environment_variables cannot be changed; delete it first to make it anew"


# ---- variables and files ----

def test_variables_stand_for_whole_values(cli, write, name):
    cli.run("create", "project", "--name", name)
    doc = ("kind: Agent\nname: a\nprompt: ${T_PROMPT}\ndescription: costs $5 and ${T_PROMPT}\n"
           "repo_url: ${T_UNSET:-http://d}\nenvironment: {A: $T_PROMPT, B: $$T_PROMPT}\n")
    cli.run("apply", "-f", write(a=doc), env={"T_PROMPT": "from outside"})
    agent = cli.json("get", "agent", "a")
    assert agent["prompt"] == "from outside" and agent["description"] == "costs $5 and ${T_PROMPT}"
    assert agent["repo_url"] == "http://d"
    assert json.loads(agent["environment_variables"]) == {"A": "from outside", "B": "$T_PROMPT"}


def test_an_unset_variable_is_an_error_and_nothing_is_made(cli, proxy, write, name):
    path = write(a="kind: Agent\nname: a\nprompt: $T_NOT_SET\n")
    text = cli.fails(2, "apply", "-f", path, "--api-url", proxy.url)
    assert text == "apply agent/a: agent/a: prompt: environment variable T_NOT_SET is not set"
    assert proxy.writes() == []


def test_a_prompt_from_a_file_beside_the_manifest(cli, write, tmp_path, name):
    cli.run("create", "project", "--name", name)
    path = write(m__a="kind: Agent\nname: a\npromptFrom: {file: prompts/a.md}\n")
    (tmp_path / "m/prompts").mkdir()
    (tmp_path / "m/prompts/a.md").write_text("# You\n\nare *it*.\n")
    cli.run("apply", "-f", path)
    assert cli.json("get", "agent", "a")["prompt"] == "# You\n\nare *it*.\n"


@pytest.mark.parametrize("file", ["../outside.md", "/etc/hostname", "link.md"])
def test_a_file_outside_the_manifest_s_directory_is_not_read(cli, write, tmp_path, file):
    path = write(m__a=f"kind: Agent\nname: a\npromptFrom: {{file: {file}}}\n")
    (tmp_path / "outside.md").write_text("secret")
    (tmp_path / "m/link.md").symlink_to(tmp_path / "outside.md")
    text = cli.fails(1, "apply", "-f", path)
    assert "promptFrom: the file is outside the manifest's directory" in text or "an absolute path is not read" in text


# ---- mistakes ----

MISTAKES = [
    ("kind: Agent\nname: a\npromt: x\n", 1, 'a.yaml:3: promt: no such member of Agent; did you mean "prompt"?'),
    ("kind: Agent\nmetadata: {name: a}\nspec:\n  zzz: 1\n", 1, "a.yaml:4: spec.zzz: no such member of Agent"),
    ("kind: Agent\nname: a\nmetadata: {name: b}\n", 1, "metadata.name: is given twice, with different values"),
    ("kind: Agent\nprompt: x\n", 1, "name is required"),
    ("kind: Agent\nname: a\nllm_max_tokens: many\n", 1, "a.yaml:3: llm_max_tokens: must be a whole number"),
    ("kind: Agent\nname: a\nlabels: {x: {y: z}}\n", 1, "a.yaml:3: labels: must be a mapping of texts"),
    ("kind: Agent\nname: a\nname: b\n", 1, 'mapping key "name" already defined at line 2'),
    ("- kind: Agent\n", 1, "document 1 is a sequence, not a mapping"),
    ("kind: Frob\nname: a\n", 1, 'unknown kind "Frob"'),
    ("kind: Agent\nname: a\ninbox: [{from_name: x}]\n", 1, "inbox[0]: body is required"),
    ("# nothing\n", 2, "no resources in the manifests"),
    ("a: [\n", 1, "parse YAML: line "),
]


@pytest.mark.parametrize("doc, code, text", MISTAKES, ids=[t[:30] for _, _, t in MISTAKES])
def test_mistakes(cli, write, doc, code, text):
    assert text in cli.fails(code, "apply", "-f", write(a=doc), "--project", "ctx")


def test_words_of_apply(cli, write, tmp_path):
    assert cli.fails(2, "apply") == "one of -f or -k is required"
    assert cli.fails(2, "apply", "-f", "x", "-k", "y") == "-f and -k are mutually exclusive"
    assert cli.fails(3, "apply", "-f", str(tmp_path / "none.yaml")).endswith("none.yaml: No such file or directory")
    assert "curl -fsSL https://x/y | acpctl apply -f -" in cli.fails(2, "apply", "-f", "https://x/y")
    path = write(a="kind: Agent\nname: a\n")
    assert cli.fails(2, "apply", "-f", path, "--prune").startswith("--prune needs --selector")
    assert cli.fails(2, "apply", "-f", path, "--dry-run=maybe").startswith('invalid argument "maybe" for "--dry-run"')


def test_one_failure_does_not_hide_the_others(cli, write, name):
    cli.run("create", "project", "--name", name)
    path = write(a="kind: Agent\nname: one\nzzz: 1\n---\nkind: Frob\nname: x\n---\nkind: Agent\nname: two\n")
    done = cli.run("apply", "-f", path, code=1)
    assert done.stdout == "agent/two created\n"
    errors = done.stderr.splitlines()
    assert "agent/one: " in errors[0] and "no such member" in errors[0]
    assert errors[1] == 'frob/x: unknown kind "Frob"' and errors[2] == "Error: apply: 2 of 3 resources failed"
    assert cli.json("get", "agents")["total"] == 1
    results = json.loads(cli.run("apply", "-f", path, "-o", "json", code=1).stdout)
    assert [(r["kind"], r["name"], r["status"]) for r in results] == [
        ("Agent", "one", "error"), ("Agent", "two", "unchanged"), ("Frob", "x", "error")]
    assert "no such member" in results[0]["message"]
    assert cli.run("apply", "-f", path, "--ignore-unknown", "--validate=warn").stdout == (
        "agent/one created\nagent/two unchanged\n")


def test_foreign_kinds_and_members_of_other_versions_are_passed_over(cli, write, name):
    cli.run("create", "project", "--name", name)
    path = write(a="kind: Gateway\nname: g\nimage: x\n---\nkind: Agent\nname: a\nproviders: [x]\nsandbox_policy: y\n")
    done = cli.run("apply", "-f", path)
    assert done.stdout == "agent/a created\n" and 'unknown kind "Gateway" \u2014 skipping' in done.stderr


# ---- looking before ----

def test_dry_run_of_the_client_needs_no_server(cli, write):
    path = write(a="kind: Agent\nname: a\n---\nkind: Project\nname: p\n")
    args = ("apply", "-f", path, "--dry-run", "--api-url", "http://127.0.0.1:1")
    assert cli.out(*args) == "dry-run: would apply:\n  project/p\n  agent/a\n"
    assert json.loads(cli.out(*args, "-o", "json")) == [
        {"kind": "Project", "name": "p", "status": "dry-run"}, {"kind": "Agent", "name": "a", "status": "dry-run"}]


def test_dry_run_of_the_server_compares_and_writes_nothing(cli, proxy, write, name):
    path = write(fleet=FLAT.format(p=name))
    assert cli.out("apply", "-f", path, "--dry-run=server", "--api-url", proxy.url) == (
        f"project/{name} created (server dry run)\nagent/lead created (project {name}) (server dry run)\n")
    assert proxy.writes() == []


def test_diff(cli, write, name):
    cli.run("create", "project", "--name", name)
    path = write(a="kind: Agent\nname: a\nprompt: |\n  one\n  two\n  three\nlabels: {x: '1'}\n")
    done = cli.run("diff", "-f", path, code=1)
    assert done.stdout.startswith("--- /dev/null\n+++ agent/a (manifest)\n") and "+  two\n" in done.stdout
    cli.run("apply", "-f", path)
    assert cli.out("diff", "-f", path) == ""
    path = write(a="kind: Agent\nname: a\nprompt: |\n  one\n  2\n  three\nlabels: {x: '1'}\n")
    done = cli.run("diff", "-f", path, code=1)
    assert "-  two\n+  2\n" in done.stdout and LAST not in done.stdout
    assert cli.fails(2, "diff", "-f", write(a="kind: Frob\nname: x\n")) == 'diff frob/x: unknown kind "Frob"'


# ---- create, delete, prune ----

def test_create_and_delete_by_manifest(cli, write, name):
    path = write(fleet=FLAT.format(p=name))
    assert cli.out("create", "-f", path) == f"project/{name} created\nagent/lead created (project {name})\n"
    text = cli.run("create", "-f", path, code=6).stderr
    assert "is there already" in text and text.endswith("Error: create: 2 of 2 resources failed\n")
    assert cli.out("delete", "-f", path, "-y") == f"agent/lead deleted (project {name})\nproject/{name} deleted\n"
    assert cli.run("delete", "-f", path, "-y", code=3).stdout == ""
    assert cli.out("delete", "-f", path, "-y", "--ignore-not-found") == ""


def test_prune_deletes_only_what_was_applied_and_is_selected(cli, write, name):
    cli.run("create", "project", "--name", name)
    doc = "kind: Agent\nname: {n}\nlabels: {{fleet: {f}}}\n---\n"
    cli.run("apply", "-f", write(a=doc.format(n="a", f="x") + doc.format(n="b", f="x") + doc.format(n="c", f="y")))
    cli.run("agent", "create", "--name", "by-hand", "--labels", '{"fleet":"x"}')
    left = write(a=doc.format(n="a", f="x"))
    assert cli.run("apply", "-f", left, "--prune", "-l", "fleet=x", code=2).stderr.count("--yes") == 1
    assert cli.out("apply", "-f", left, "--prune", "-l", "fleet=x", "--dry-run=server") == (
        "agent/a unchanged (server dry run)\nagent/b pruned (server dry run)\n")
    assert cli.out("apply", "-f", left, "--prune", "-l", "fleet=x", "-y") == "agent/a unchanged\nagent/b pruned\n"
    assert sorted(a["name"] for a in cli.json("get", "agents")["items"]) == ["a", "by-hand", "c"]


def test_only_a_404_means_that_there_is_none(cli, write):
    with Stub(500, '{"code":"x-9","reason":"broken"}') as stub:  # it answers GETs only: a POST would be another error
        text = cli.fails(1, "apply", "-f", write(a="kind: Agent\nname: a\n"), "--project", "p", "--api-url", stub.url)
        assert "broken" in text


# ---- every kind ----

ALL_KINDS = """
kind: Session
metadata: {{name: run, project: {p}, labels: {{of: {p}}}}}
spec:
  agent: lead
  prompt: echo hello
  environment_variables: {{RUNNER_TYPE: shell}}
---
kind: RoleBinding
role: project:viewer
scope: project
scope_id: {p}
user_id: {p}-alice
---
kind: RoleBinding
metadata: {{}}
spec: {{role: agent:runner, scope: agent, agent: lead, user: {p}-bob, project: {p}}}
---
kind: Application
name: {p}-app
source: {{repo_url: "https://git.corp.net/fleet.git", path: fleet, target_revision: main}}
destination: {{project: {p}}}
auto_sync: false
---
kind: ScheduledSession
name: nightly
agent: lead
schedule: "0 3 * * *"
timezone: Europe/Berlin
prompt: run the tests
enabled: false
---
kind: Credential
name: {p}-key
provider: github
token: $T_TOKEN
url: https://github.corp.net
labels: {{of: {p}}}
---
kind: Agent
name: lead
prompt: You lead.
---
kind: Project
name: {p}
"""


def test_every_kind_is_applied_once(cli, proxy, write, name):
    path, env = write(all=ALL_KINDS.format(p=name)), {"T_TOKEN": "ghp_planted$secret"}
    lines = [f"project/{name}", f"credential/{name}-key", "agent/lead", "scheduledsession/nightly",
             f"application/{name}-app", f"rolebinding/{name}-alice\u2192{name}", f"rolebinding/{name}-bob\u2192lead",
             "session/run"]
    inside = {"agent/lead", "scheduledsession/nightly", "session/run"}

    def said(what):
        return [f"{line} {what}" + (f" (project {name})" if line in inside else "") for line in lines]
    args = ("apply", "-f", path, "--api-url", proxy.url)
    assert cli.run(*args, env=env).stdout.splitlines() == said("created")
    proxy.seen.clear()
    assert cli.run(*args, env=env).stdout.splitlines() == said("unchanged")
    assert proxy.seen and proxy.writes() == []
    changed = write(all=ALL_KINDS.format(p=name).replace("0 3 *", "0 4 *").replace("You lead.", "You still lead."))
    done = cli.run("apply", "-f", changed, env={"T_TOKEN": "another"}).stdout
    assert {line.split()[0] for line in done.splitlines() if "configured" in line} == {
        f"credential/{name}-key", "agent/lead", "scheduledsession/nightly"}
    assert cli.out("apply", "-f", changed, env={"T_TOKEN": "another"}).count("unchanged") == len(lines)
    assert cli.run("delete", "-f", changed, "-y", "--ignore-not-found").stdout.count("deleted") >= len(lines) - 1


# ---- PR #1183's findings ----

CREDENTIAL = "kind: Credential\nname: {n}\nprovider: github\ntoken: $T_TOKEN\ndescription: {d}\nurl: u\nemail: e\n"


def credentials(cli, name):
    return [c for c in cli.json("get", "credentials")["items"] if c["name"] == name]


def test_r1_a_credential_is_changed_field_by_field_and_never_made_twice(cli, proxy, write, name):
    env = {"T_TOKEN": "t1"}
    cli.run("apply", "-f", write(c=CREDENTIAL.format(n=name, d="one")), env=env)
    made = credentials(cli, name)
    with Proxy(cli.file()["api_url"]) as recorder:
        done = cli.run("apply", "-f", write(c=CREDENTIAL.format(n=name, d="two")), "--api-url", recorder.url, env=env)
        assert done.stdout == f"credential/{name} configured\n"
        assert [m for m, _ in recorder.writes()] == ["PATCH"]
    after = credentials(cli, name)
    assert [c["id"] for c in after] == [c["id"] for c in made] and after[0]["description"] == "two"
    again = cli.out("apply", "-f", write(c=CREDENTIAL.format(n=name, d="two")), env=env)
    assert again == f"credential/{name} unchanged\n"


def test_r2_every_field_of_a_credential_is_merged_by_a_patch(cli, write, name, tmp_path):
    write(k__kustomization="resources: [c.yaml]\npatches: [{path: p.yaml}]\n", k__c=CREDENTIAL.format(n=name, d="one"),
          k__p=f"kind: Credential\nname: {name}\nurl: v\nemail: f\ndescription: two\ntoken: $T_OTHER\n")
    cli.run("apply", "-k", str(tmp_path / "k"), env={"T_OTHER": "t2"})
    found = credentials(cli, name)[0]
    assert (found["url"], found["email"], found["description"]) == ("v", "f", "two")
    assert cli.run("credential", "token", name, "--yes").stdout == "t2\n"


def test_r3_the_secret_is_on_no_command_line_and_in_no_output(cli, write, name):
    secret = "ghp_" + "planted" * 4
    path = write(c=CREDENTIAL.format(n=name, d="x"))
    for words in (["apply", "-f", path], ["diff", "-f", path], ["apply", "-f", path, "--dry-run"],
                  ["apply", "-f", path, "--dry-run=server"], ["get", "credentials", "-o", "json"],
                  ["apply", "-f", path, "-o", "json"]):
        done = cli.run(*words, env={"T_TOKEN": secret}, code=None)
        assert secret not in done.stdout + done.stderr
    assert cli.run("credential", "token", name, "--yes").stdout == secret + "\n"


def test_r4_a_binding_may_name_the_role(cli, write, name):
    """The script binds credential:token-reader by name; the role of that name is found."""
    cli.run("create", "project", "--name", name)
    cli.run("apply", "-f", write(c=CREDENTIAL.format(n=name, d="x")), env={"T_TOKEN": "t"})
    doc = f"kind: RoleBinding\nrole: {{r}}\nscope: credential\nscope_id: {name}\nuser_id: {name}\n"
    assert cli.out("apply", "-f", write(b=doc.format(r="credential:token-reader"))) == (
        f"rolebinding/{name}\u2192{name} created\n")
    assert cli.out("apply", "-f", write(b=doc.format(r="credential:token-reader"))) == (
        f"rolebinding/{name}\u2192{name} unchanged\n")
    assert 'role "no:such" not found' in cli.fails(3, "apply", "-f", write(b=doc.format(r="no:such")))


def test_an_ambiguous_name_is_an_error_with_the_ids(cli, write, name):
    words = ("--project", "ctx", "--env", "RUNNER_TYPE=shell", "--prompt", "true")
    ids = [cli.json("create", "session", "--name", name, *words)["id"] for _ in range(2)]
    text = cli.fails(6, "apply", "-f", write(s=f"kind: Session\nname: {name}\nproject: ctx\n"))
    assert f'several sessions are named "{name}"' in text and "give its id in the document" in text
    assert all(i in text for i in ids)
    for i in ids:
        cli.run("wait", "session", i, "--for=phase=Completed", "--timeout", "100s", "--project", "ctx")
