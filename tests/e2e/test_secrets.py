"""What an agent gets to see of the platform's secrets: nothing but what is given to it."""
import base64
import ctypes
import json
import os
import sqlite3
import urllib.parse
import urllib.request

import pytest

from platform_support import Platform, wait_until


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


# ---- credentials ----

SECRET = "ghp_0123456789abcdefPLANTED0123456789abcdef"


def bound_credential(platform, token=SECRET, provider="github", **fields):
    platform.call("POST", "/projects", {"name": "demo"})
    status, made = platform.call("POST", "/credentials", {"name": f"my-{provider}", "provider": provider,
                                                          "token": token, **fields})
    assert status == 201, made
    status, bound = platform.call("POST", "/role_bindings", {
        "role_id": "credential:viewer", "scope": "credential", "credential_id": made["id"], "project_id": "demo"})
    assert status == 201, bound
    return made["id"]


def planted_in_processes(text):
    """Command lines of all processes, while they run."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                line = f.read()
        except OSError:
            continue
        if text.encode() in line:
            found.append((pid, line))
    return found


def everything(platform):
    """All that is left of the run on disk: logs, the store's pages, the sessions' directories."""
    for directory, _, files in os.walk(platform.data):
        for file in files:
            path = os.path.join(directory, file)
            if not os.path.islink(path) and os.path.isfile(path):
                with open(path, "rb") as f:
                    yield path, f.read()


def test_a_session_uses_a_credential_and_nobody_sees_it(platform):
    """The agent has the token where its tools look for it; it is nowhere else, not even where it was printed."""
    credential = bound_credential(platform)
    use = ('test "$(printf %s "$GITHUB_TOKEN" | wc -c)" = 43 && echo has-it; echo "token is $GITHUB_TOKEN"; '
           'printf "protocol=https\\nhost=github.com\\n\\n" | git credential fill | grep -c "^password=ghp_"; '
           'printf "protocol=https\\nhost=github.attacker.example\\n\\n" | GIT_TERMINAL_PROMPT=0 GIT_ASKPASS=true '
           'git credential fill 2>/dev/null | grep -c "^password=ghp_"; '
           'tr "\\0" "\\n" < /proc/self/environ | grep -c "^BOT_TOKEN\\|^CREDENTIAL_IDS"; '
           'echo waiting; while ! test -e go; do sleep 0.05; done; echo went')
    sid = platform.shell_session(use)
    sessions = os.path.join(platform.data, "sessions")
    platform.wait_phase(sid, "Running", "Completed", "Failed")
    wait_until("the agent", lambda: "waiting" in live_text(platform, sid) or platform.phase(sid) != "Running")
    assert planted_in_processes(SECRET) == []
    open(os.path.join(sessions, sid, "workspace", "go"), "w").close()
    platform.wait_phase(sid, "Completed", "Failed")
    words = said(platform, sid)
    assert words.split("\n")[:5] == ["has-it", "token is [REDACTED_GITHUB_TOKEN]", "1", "0", "0"], words
    assert platform.phase(sid) == "Completed"

    status, session = platform.call("GET", f"/sessions/{sid}")
    answers = [session, platform.messages(sid), platform.call("GET", "/credentials")[1],
               platform.call("GET", f"/credentials/{credential}")[1], platform.call("GET", "/role_bindings")[1],
               platform.call("GET", "/audit_events")[1], platform.call("GET", f"/sessions/{sid}/export")[1]]
    for answer in answers:
        assert SECRET not in str(answer)
    actors = {e["actor"] for e in platform.call("GET", "/audit_events?search=" + urllib.parse.quote(
        f"resource_id = '{credential}'"))[1]["items"]}
    assert actors == {f"session:{sid}"}
    platform.down()
    for path, content in everything(platform):
        assert SECRET.encode() not in content, path


def live_text(platform, sid):
    """What the runner wrote so far, as those see it who watch."""
    with open_events(platform, sid) as stream:
        text = ""
        while True:
            line = stream.readline().decode(errors="replace")
            if not line:
                return text
            text += line
            if "waiting" in text or "RUN_FINISHED" in text or "RUN_ERROR" in text:
                return text


def open_events(platform, sid):
    with open(os.path.join(platform.data, "token")) as f:
        token = f.read().strip()
    request = urllib.request.Request(platform.status()["http"] + f"/api/ambient/v1/sessions/{sid}/agui/events",
                                     headers={"Authorization": f"Bearer {token}", "Accept": "text/event-stream"})
    return urllib.request.urlopen(request, timeout=60)


def test_a_rotated_token_reaches_the_next_session(platform):
    credential = bound_credential(platform, "first-token-0123456789", "gitlab")
    sid = platform.shell_session('test "$GITLAB_TOKEN" = first-token-0123456789 && echo first')
    platform.wait_phase(sid, "Completed")
    assert said(platform, sid) == "first"
    assert platform.call("PATCH", f"/credentials/{credential}", {"token": "second-token-0123456789"})[0] == 200
    second = platform.shell_session('test "$GITLAB_TOKEN" = second-token-0123456789 && echo second')
    platform.wait_phase(second, "Completed")
    assert said(platform, second) == "second"


def test_grants_end_with_the_session(platform):
    bound_credential(platform)
    sid = platform.shell_session("true")
    platform.wait_phase(sid, "Completed")
    wait_until("the grant's end", lambda: platform.call("GET", "/role_bindings?search=" + urllib.parse.quote(
        f"session_id = '{sid}'"))[1]["total"] == 0)


def test_a_credential_that_cannot_be_had_is_said_so(platform):
    """A stored token that does not open: the session works without it, and says why."""
    credential = bound_credential(platform)
    with sqlite3.connect(os.path.join(platform.data, "ambient.db"), timeout=30) as db:
        db.execute("UPDATE credentials SET token = 'enc:v1:@@' WHERE id = ?", (credential,))
    sid = platform.shell_session('test -z "$GITHUB_TOKEN" && echo without')
    platform.wait_phase(sid, "Completed")
    assert "without" in said(platform, sid)
    notices = [m["payload"] for m in platform.messages(sid) if m["event_type"] == "system"]
    assert any("credential for github cannot be read" in n for n in notices), notices


def test_the_runner_holds_no_token_but_its_sessions(platform):
    """D13, (86): the file that it reads, and its environment."""
    sid = platform.shell_session("while ! test -e go; do sleep 0.05; done")
    platform.wait_phase(sid, "Running")
    with open(os.path.join(platform.data, "sessions", sid, ".token")) as f:
        held = f.read().strip()
    with open(os.path.join(platform.data, "run", "service-token")) as f:
        service = f.read().strip()
    assert held.count(".") == 2 and held != service
    claims = json.loads(base64.urlsafe_b64decode(held.split(".")[1] + "=="))
    assert claims["sub"] == f"session:{sid}"
    open(os.path.join(platform.data, "sessions", sid, "workspace", "go"), "w").close()
    platform.wait_phase(sid, "Completed")
