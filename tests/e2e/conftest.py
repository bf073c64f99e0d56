import os
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from platform_support import ROOT, Platform  # noqa: E402
from scripted_model import ScriptedModel  # noqa: E402


@pytest.fixture
def place(tmp_path):
    """A platform that is not up yet; whatever the test leaves running is stopped."""
    p = Platform(str(tmp_path))
    yield p
    p.ambient("down", check=False)


@pytest.fixture
def platform(place):
    place.up()
    return place


@pytest.fixture(scope="module")
def shared_platform(tmp_path_factory):
    """One platform for all tests of a file that leave it as they would like to find it."""
    p = Platform(str(tmp_path_factory.mktemp("shared")))
    p.up()
    yield p
    p.ambient("down", check=False)


@pytest.fixture(scope="session")
def claude_dir():
    """Where the real Claude Code CLI is."""
    done = subprocess.run([os.path.join(ROOT, "scripts/test-npm.sh")], capture_output=True, text=True)
    if done.returncode:
        pytest.skip("no Claude Code CLI: " + done.stdout.strip())
    return done.stdout.strip()


@pytest.fixture
def model():
    m = ScriptedModel()
    yield m
    m.stop()
