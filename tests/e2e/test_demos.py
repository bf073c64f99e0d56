"""The demos in demo/ as people run them, and that no secret shows on the way: not in the argument list of any process,
not in what the programs print, not in logs, not at rest."""
import glob
import os
import subprocess
import sys
import threading

import pytest

from github_server import GitHub
from platform_support import BIN, ROOT, Platform

sys.path.append(os.path.join(ROOT, "tests", "api"))
from http_support import write_certificate  # noqa: E402

DEADLINE = 400


class ArgvWatch:
    """Reads /proc/*/cmdline again and again; what acpctl is called with is also written down by a wrapper."""

    def __init__(self, directory, secrets):
        self.secrets, self.found, self.looks, self.over = secrets, [], 0, threading.Event()
        self.log = os.path.join(directory, "argv.log")
        self.wrapper = os.path.join(directory, "acpctl")
        with open(self.wrapper, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/bash\nprintf "%s\\0" "$@" >>{self.log}\nexec {BIN}/acpctl "$@"\n')
        os.chmod(self.wrapper, 0o755)
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.over.wait(0.005):
            for path in glob.glob("/proc/[0-9]*/cmdline"):
                try:
                    with open(path, "rb") as f:
                        text = f.read()
                except OSError:
                    continue
                self.found += [(path, text) for s in self.secrets if s.encode() in text]
            self.looks += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *ignored):
        self.over.set()
        self.thread.join()

    def check(self):
        with open(self.log, "rb") as f:
            calls = f.read()
        assert not self.found and self.looks > 3
        assert calls and not [s for s in self.secrets if s.encode() in calls]


def admin_token(platform):
    with open(os.path.join(platform.data, "token"), encoding="utf-8") as f:
        return f.read().strip()


def check_files(platform, secrets, but):
    """Every file that the platform has written, the store too."""
    looked = 0
    for folder, _, names in os.walk(platform.data):
        for path in (os.path.join(folder, n) for n in names):
            if os.path.islink(path) or not os.path.isfile(path) or os.path.relpath(path, platform.data) in but:
                continue
            with open(path, "rb") as f:
                text = f.read()
            looked += 1
            assert not [s for s in secrets if s.encode() in text], path
    assert looked > 5


def run_demo(platform, tmp_path, name, secrets=(), code=0, **env):
    hidden = [admin_token(platform), *secrets]
    with ArgvWatch(str(tmp_path), hidden) as watch:
        done = subprocess.run(["bash", f"{ROOT}/demo/{name}"], capture_output=True, text=True, timeout=DEADLINE,
                              stdin=subprocess.DEVNULL, env={**platform.env, "ACPCTL": watch.wrapper, **env})
    assert done.returncode == code, f"{done.stdout}\n{done.stderr}\n{platform.logs()}"
    watch.check()
    for s in hidden:
        assert s not in done.stdout + done.stderr
    check_files(platform, hidden, but={"token"})
    return done.stdout


def nothing_is_left(platform):
    for kind in ("projects", "sessions", "credentials"):
        assert platform.call("GET", f"/{kind}")[1]["items"] == []


@pytest.fixture
def place(tmp_path):
    """git trusts the stand-in for GitHub; nobody's own configuration of git is used."""
    p = Platform(str(tmp_path), GIT_SSL_CAINFO=str(tmp_path / "cert.pem"), HOME=str(tmp_path))
    yield p
    p.ambient("down", check=False)


@pytest.fixture
def claude_platform(place, claude_dir, model):
    """The real Claude Code CLI; only the model behind it follows a script."""
    os.mkdir(os.path.join(place.env["HOME"], ".claude"))  # its own place; the sandbox lets it write there
    place.env.update(ANTHROPIC_BASE_URL=model.url, ANTHROPIC_API_KEY="key-of-the-model",
                     AMBIENT_CLAUDE_PATH=os.path.join(claude_dir, "claude"))
    place.up()
    return place


def test_relay(platform, tmp_path):
    """What is kept with NO_CLEANUP is named; the other demos clean up."""
    out = run_demo(platform, tmp_path, "demo-relay.sh", DEMO_RUNNER="shell", DEMO_TOPIC="four words of text",
                   NO_CLEANUP="1", DEMO_SUFFIX="kept")
    assert "draft: four words of text" in out and "draft: 25" in out  # the critic's answer went back to the writer
    assert out.count("run finished (RUN_FINISHED)") == 4
    assert "NO_CLEANUP is set" in out and "acpctl delete project demo-relay-kept -y" in out
    sessions = platform.call("GET", "/sessions")[1]["items"]
    assert {s["name"] for s in sessions} == {"writer", "critic"}
    for s in sessions:
        platform.wait_phase(s["id"], "Stopped")


def test_fleet(platform, tmp_path):
    out = run_demo(platform, tmp_path, "demo-fleet.sh")
    rendered, first, again, prod, started = out.split("\n== ")[1:6]
    assert rendered.count("kind: Agent") == 3 and rendered.count("RUNNER_TYPE: shell") == 3
    assert first.count(" created") == 4 and again.count(" unchanged") == 4 and "no difference" in again
    assert prod.count(" created") == 4
    assert started.count("      on duty in session ") == 3
    nothing_is_left(platform)


def test_relay_between_two_models(claude_platform, tmp_path, model):
    out = run_demo(claude_platform, tmp_path, "demo-relay.sh", DEMO_RUNNER="claude", DEMO_ROUNDS="1",
                   DEMO_TOPIC="a line", secrets=["key-of-the-model"])
    assert out.count("run finished (RUN_FINISHED)") == 2
    said = str([body["messages"] for _, body in model.requests])
    assert "Write or improve: a line" in said
    assert "Criticise in one sentence: Hello from the scripted model." in said
    nothing_is_left(claude_platform)


# ---- the agent works on a repository with a credential ----

PAT = "github_pat_planted0815"


@pytest.fixture
def github(tmp_path):
    """A private repository, for whoever has the token, behind TLS."""
    (tmp_path / "repos").mkdir()
    server = GitHub(tmp_path / "repos", PAT, write_certificate(tmp_path))
    server.repo = server.make("octo/hello", **{"README.md": "hello\n"})
    yield server
    server.stop()


def github_demo(platform, tmp_path, github, **env):
    out = run_demo(platform, tmp_path, "demo-github.sh", secrets=[PAT], DEMO_GITHUB_PAT=PAT, DEMO_REPO=github.repo,
                   DEMO_BRANCH="ambient-demo", **env)
    assert "run finished (RUN_FINISHED)" in out and "done: branch ambient-demo of" in out
    assert "ambient-demo" in github.branches("octo/hello"), out
    # The runner has fetched the token, and git has used it; nothing was given to whoever came without.
    assert any(user == "x-access-token" and good for _, user, good in github.seen)
    assert not [user for _, user, good in github.seen if user and not good]
    return out


def test_github(github, platform, tmp_path):
    github_demo(platform, tmp_path, github, DEMO_RUNNER="shell")
    assert github.show("octo/hello", "ambient-demo:HELLO.md").startswith("Hello from session ")
    reads = [e for e in platform.call("GET", "/audit_events")[1]["items"] if "fetch_token" in str(e)]
    assert reads, "the read of the token is on record"
    nothing_is_left(platform)


def test_github_with_a_model(github, claude_platform, tmp_path, model):
    """The model asks for commands; git in the agent's shell finds the token by itself, the model never sees it."""
    command = (f"git clone -q {github.repo} work && cd work && echo by-the-model >HELLO.md && git add HELLO.md && "
               "git -c user.name=M -c user.email=m@localhost commit -qm hello && "
               "git push -q origin HEAD:refs/heads/ambient-demo && echo pushed")
    out = github_demo(claude_platform, tmp_path, github, DEMO_RUNNER="claude", DEMO_TASK=f"RUN-COMMAND {command}")
    assert github.show("octo/hello", "ambient-demo:HELLO.md") == "by-the-model\n"
    assert "The tool said: " in out and "pushed" in out
    assert PAT not in str(model.requests)
    nothing_is_left(claude_platform)
