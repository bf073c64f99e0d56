"""Credentials, roles, schedules and applications with acpctl against `ambient up`."""
import json

import pytest

from cli_support import Cli, on_terminal

SECRET = "planted-token-of-a-credential"


@pytest.fixture(scope="module")
def world(shared_platform):
    cli = Cli(shared_platform.env, shared_platform.config, SECRET)
    cli.run("create", "project", "--name", "demo")
    cli.run("agent", "create", "--name", "rev")
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
