"""`ambient` as a newcomer meets it: up, status, a session, down, and what goes wrong."""
import json
import os
import signal
import socket
import stat
import subprocess

import pytest

from platform_support import BIN, Platform, alive, processes_with, wait_until


def test_first_session_runs_to_completed(platform):
    a = platform.acpctl
    assert a("create", "project", "--name", "demo").stdout == 'Switched to project "demo"\nproject/demo created\n'
    a("agent", "create", "--name", "hello", "--env", "RUNNER_TYPE=shell", "--prompt", "echo hello from $SESSION_ID")
    session = json.loads(a("agent", "start", "hello", "-o", "json").stdout)
    assert session["phase"] == "Pending"
    followed = a("session", "messages", session["id"], "-f").stdout
    assert f"hello from {session['id']}" in followed
    assert "RUN_FINISHED" in followed
    assert json.loads(a("get", "session", session["id"], "-o", "json").stdout)["phase"] == "Completed"
    kinds = [m["event_type"] for m in json.loads(a("session", "messages", session["id"], "-o", "json").stdout)]
    assert kinds[0] == "user" and "assistant" in kinds


def test_agent_without_a_prompt_ends_with_its_task(platform):
    a = platform.acpctl
    a("create", "project", "--name", "demo")
    a("agent", "create", "--name", "bare", "--env", "RUNNER_TYPE=shell")
    session = json.loads(a("agent", "start", "bare", "--prompt", "echo the task", "-o", "json").stdout)
    platform.wait_phase(session["id"], "Completed")
    assert [m["payload"] for m in platform.messages(session["id"]) if m["event_type"] == "assistant"] == ["the task"]


def test_failing_command_ends_failed_with_a_reason(platform):
    sid = platform.shell_session("echo before; exit 3")
    platform.wait_phase(sid, "Failed")
    conditions = json.loads(platform.call("GET", f"/sessions/{sid}")[1]["conditions"])
    assert any(c["status"] == "False" or c.get("reason") for c in conditions), conditions
    texts = " ".join(m["payload"] for m in platform.messages(sid))
    assert "before" in texts and "3" in texts


def test_stop_ends_in_stopped_and_leaves_no_process(platform):
    sid = platform.shell_session("echo started; sleep 1000", interactive=True)
    wait_until("output", lambda: any(m["event_type"] == "lifecycle" and "run_started" in m["payload"]
                                     for m in platform.messages(sid)))
    assert platform.acpctl("stop", sid).stdout == f"session/{sid} stopped (phase: Stopping)\n"
    platform.wait_phase(sid, "Stopped")
    wait_until("no process left", lambda: not processes_with(sid))


def test_interactive_session_takes_more_messages(platform):
    sid = platform.shell_session("echo one", interactive=True)
    wait_until("first answer", lambda: any(m["event_type"] == "assistant" for m in platform.messages(sid)))
    out = platform.acpctl("session", "send", sid, "echo two", "-f").stdout
    assert "two" in out and "RUN_FINISHED" in out
    assert platform.phase(sid) == "Running"


def test_time_limit_is_enforced(platform):
    sid = platform.shell_session("sleep 1000", timeout=1)
    platform.wait_phase(sid, "Failed")
    conditions = json.loads(platform.call("GET", f"/sessions/{sid}")[1]["conditions"])
    assert [c["reason"] for c in conditions if c["type"] == "Ready"] == ["Timeout"]


def test_control_plane_killed_does_not_end_sessions(platform):
    sid = platform.shell_session("echo ready; sleep 1000", interactive=True)
    platform.wait_phase(sid, "Running")
    before = platform.status()["pids"]["control-plane"]
    os.kill(before, signal.SIGKILL)
    wait_until("a new control plane", lambda: platform.status_or_none() not in (None, before))
    platform.call("POST", f"/sessions/{sid}/stop")
    platform.wait_phase(sid, "Stopped")


def test_up_twice_is_one_platform(platform):
    first = platform.status()
    again = platform.ambient("up", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0").stdout
    assert again.startswith("Ambient is already running.")
    assert platform.status()["pids"] == first["pids"]


def test_status_says_where_and_how(platform):
    s = platform.status()
    assert s["http"].startswith("http://127.0.0.1:") and s["grpc"].startswith("127.0.0.1:")
    assert s["pids"]["api-server"] > 1 and s["pids"]["control-plane"] > 1
    assert s["health"] == {"api-server": "ok", "control-plane": "ok"}
    assert s["versions"]["ambient"]


def test_token_is_private_and_works(platform):
    path = os.path.join(platform.data, "token")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    token = platform.ambient("token").stdout.strip()
    for pid in os.listdir("/proc"):
        if pid.isdigit():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    assert token.encode() not in f.read()
            except OSError:
                pass
    assert token not in platform.logs()


def test_up_takes_the_place_of_another_login_there(place):
    """Its refresh token has nothing to do with the admin token."""
    other = {"server": "http://127.0.0.1:1", "access_token": "old", "refresh_token": "r", "client_id": "c",
             "issuer_url": "http://127.0.0.1:1", "login_method": "auth-code", "project": "kept",
             "token_expires_at": "2020-01-01T00:00:00Z"}
    with open(place.config, "w") as f:
        json.dump({"current_context": "local", "contexts": {"local": other}, "mine": 1, **other}, f)
    os.chmod(place.config, 0o600)
    place.up()
    with open(place.config) as f:
        file = json.load(f)
    for members in (file, file["contexts"]["local"]):
        assert not {"refresh_token", "issuer_url", "client_id", "login_method", "token_expires_at"} & set(members)
    assert file["mine"] == 1 and file["project"] == "kept"
    assert place.acpctl("get", "projects").stderr == "No projects found.\n"


def test_down_stops_sessions_and_programs(place):
    pids = place.up()["pids"]
    sid = place.shell_session("sleep 1000", interactive=True)
    place.wait_phase(sid, "Running")
    place.down()
    wait_until("no process left", lambda: not processes_with(place.data) and not processes_with(sid))
    assert not any(map(alive, pids.values()))
    assert place.ambient("status", check=False).returncode == 3
    place.up()
    assert place.phase(sid) == "Stopped"


def test_down_stops_what_begins_meanwhile(tmp_path):
    place = Platform(str(tmp_path), LOCAL_STOP_GRACE="3s")
    place.up()
    slow = place.shell_session("trap '' TERM INT; while :; do sleep 1; done", interactive=True)
    place.wait_phase(slow, "Running")
    down = subprocess.Popen([os.path.join(BIN, "ambient"), "down"], env=place.env, stdout=subprocess.PIPE, text=True)
    line = down.stdout.readline()
    try:
        late = place.shell_session("sleep 1000", interactive=True)
    except (OSError, AssertionError, subprocess.SubprocessError, ValueError):
        late = None  # it was down already
    assert "Ambient is down" in line + down.communicate(timeout=120)[0] and down.returncode == 0
    wait_until("no process left", lambda: not processes_with(place.data))
    place.up()
    assert late is None or place.phase(late) in ("Stopped", "Failed")
    place.down()


def test_down_ends_what_it_did_not_see(place):
    """A session that began behind its last look: what the supervisor does then, without the look."""
    pids = place.up()["pids"]
    sid = place.shell_session("sleep 1000", interactive=True)
    place.wait_phase(sid, "Running")
    os.kill(pids["supervisor"], signal.SIGUSR1)
    wait_until("no process left", lambda: not any(map(alive, pids.values())) and not processes_with(sid))
    place.up()
    assert place.phase(sid) == "Failed"


def test_data_survives_down_and_up(place):
    place.up()
    place.call("POST", "/projects", {"name": "kept"})
    place.down()
    place.up()
    assert place.call("GET", "/projects/kept")[0] == 200


def test_supervisor_killed_leaves_no_server_and_up_works_again(place):
    pids = place.up()["pids"]
    os.kill(pids["supervisor"], signal.SIGKILL)
    wait_until("children gone", lambda: not any(map(alive, pids.values())))
    assert os.path.exists(os.path.join(place.data, "run/state.json"))  # stale, and nobody minds
    assert place.up()["health"]["api-server"] == "ok"


def test_server_killed_comes_back_on_the_same_port(platform):
    before = platform.status()
    os.kill(before["pids"]["api-server"], signal.SIGKILL)

    def restarted():
        s = platform.status_or_none("api-server")
        return s and s != before["pids"]["api-server"] and platform.ambient("status", check=False).returncode == 0
    wait_until("a new api-server", restarted)
    assert platform.status()["http"] == before["http"]


@pytest.mark.parametrize("flag", ["--http", "--grpc"])
def test_taken_port_is_told(place, flag):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        other = "--grpc" if flag == "--http" else "--http"
        done = place.ambient("up", f"{flag}=127.0.0.1:{s.getsockname()[1]}", f"{other}=127.0.0.1:0", check=False)
    assert done.returncode != 0
    assert flag in done.stderr and "in use" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a directory that even its owner cannot write")
def test_unusable_data_directory_is_told(place, tmp_path):
    done = place.ambient("up", "--data=/proc/ambient", check=False)
    assert done.returncode != 0
    assert "/proc/ambient" in done.stderr and "--data" in done.stderr


def test_newer_schema_is_told(place):
    import sqlite3
    place.up()
    place.down()
    with sqlite3.connect(os.path.join(place.data, "ambient.db")) as db:
        db.execute("INSERT INTO migrations(id) VALUES('999912312359')")
    done = place.ambient("up", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", check=False)
    assert done.returncode != 0
    assert "newer" in done.stderr


def test_programs_are_found_through_path(place):
    """Called by name, and a runner that is named without its folder."""
    place.env["PATH"] = BIN + ":" + place.env["PATH"]
    place.env["LOCAL_RUNNER_COMMAND"] = "ambient-runner"
    subprocess.run(["ambient", "up", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0"], env=place.env, check=True, timeout=60)
    sid = place.shell_session("echo found")
    place.wait_phase(sid, "Completed")


def test_unknown_command_and_flag(place):
    assert place.ambient("pu", check=False).returncode == 2
    done = place.ambient("up", "--htpp=x", check=False)
    assert done.returncode == 2 and "htpp" in done.stderr
