"""What an agent gets to see of the platform's secrets: nothing but what is given to it."""
import ctypes
import os

import pytest

from platform_support import Platform


def has_landlock():
    """landlock_create_ruleset(NULL, 0, VERSION): the ABI, or an error."""
    return ctypes.CDLL(None, use_errno=True).syscall(444, None, 0, 1) >= 1


@pytest.fixture
def platform(tmp_path):
    p = Platform(str(tmp_path))
    p.up()
    yield p
    p.ambient("down", check=False)


def said(platform, sid):
    return "".join(m["payload"] for m in platform.messages(sid) if m["event_type"] == "assistant")


@pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock")
def test_an_agent_cannot_open_what_is_the_platforms(platform):
    """The admin's token, the platform's, the store, another session's files and its own session's token."""
    other = platform.shell_session("echo of-another-session > note; cat note")
    platform.wait_phase(other, "Completed")
    sessions = os.path.join(platform.data, "sessions")
    closed = [os.path.join(platform.data, "token"), os.path.join(platform.data, "run", "service-token"),
              os.path.join(platform.data, "ambient.db"), platform.config,
              os.path.join(sessions, other, "workspace", "note"), "../.token", "../.runner.json"]
    for path in closed[:5]:
        assert os.path.exists(path), path
    tries = "; ".join(f"if cat {path} > /dev/null 2>&1; then echo OPEN {path}; fi" for path in closed)
    sid = platform.shell_session(f"test -e ../.token || echo MISSING; {tries}; "
                                 "echo mine > mine && cat mine; echo x > $TMPDIR/x && cat $TMPDIR/x; "
                                 f"ls {sessions} > /dev/null && echo listed; cat /proc/$PPID/environ > e 2>&1 || true; "
                                 "test -s e && grep -q 'Permission denied' e && echo refused")
    platform.wait_phase(sid, "Completed")
    assert said(platform, sid).split() == ["mine", "x", "listed", "refused"], said(platform, sid)


@pytest.mark.skipif(not has_landlock(), reason="this kernel has no Landlock")
def test_an_agent_cannot_change_what_is_the_platforms(platform):
    token = os.path.join(platform.data, "token")
    before = open(token).read()
    sid = platform.shell_session(f"echo forged > {token}; echo forged > ../.token; rm -f {token}; echo done")
    platform.wait_phase(sid, "Completed", "Failed")
    assert open(token).read() == before
