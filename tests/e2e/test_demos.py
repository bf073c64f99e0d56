"""The demos in demo/ as people run them, and that no secret shows on the way: not in the argument list of any process,
not in what the programs print, not in logs, not at rest."""
import glob
import os
import subprocess
import threading

import pytest

from platform_support import BIN, ROOT, Platform

DEADLINE = 170


class ArgvWatch:
    """Reads /proc/*/cmdline as fast as it can; what acpctl is called with is also written down by a wrapper."""

    def __init__(self, directory, secrets):
        self.secrets, self.found, self.looks, self.over = secrets, [], 0, threading.Event()
        self.log = os.path.join(directory, "argv.log")
        self.wrapper = os.path.join(directory, "acpctl")
        with open(self.wrapper, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/bash\nprintf "%s\\0" "$@" >>{self.log}\nexec {BIN}/acpctl "$@"\n')
        os.chmod(self.wrapper, 0o755)
        self.thread = threading.Thread(target=self.look)

    def look(self):
        while not self.over.is_set():
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
    place.env.update(ANTHROPIC_BASE_URL=model.url, ANTHROPIC_API_KEY="key-of-the-model",
                     AMBIENT_CLAUDE_PATH=os.path.join(claude_dir, "claude"))
    place.up()
    return place


def test_relay(platform, tmp_path):
    out = run_demo(platform, tmp_path, "demo-relay.sh", DEMO_RUNNER="shell", DEMO_TOPIC="four words of text")
    assert "draft: four words of text" in out and "draft: 25" in out  # the critic's answer went back to the writer
    assert out.count("run finished (RUN_FINISHED)") == 4
    nothing_is_left(platform)


def test_relay_that_is_kept(platform, tmp_path):
    out = run_demo(platform, tmp_path, "demo-relay.sh", DEMO_RUNNER="shell", DEMO_ROUNDS="1", NO_CLEANUP="1",
                   DEMO_SUFFIX="kept")
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
