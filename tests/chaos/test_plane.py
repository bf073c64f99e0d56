"""The control plane as a program, with the real API server and small runners."""
import base64
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import urllib.parse

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from api_support import DEADLINE, EventStream, wait_for
from plane_support import TOKEN, clean_environ, control_plane


def test_a_session_runs_and_completes(make_plane):
    plane = make_plane("--after 300")
    sid = plane.session()
    session = plane.wait_phase(sid, "Completed")
    assert session["kube_namespace"] == "local"
    assert session["start_time"] <= session["completion_time"]
    assert plane.condition(sid, "Ready")["reason"] == "Completed"
    assert plane.condition(sid, "RunnerStarted")["status"] == "True"
    assert wait_for(lambda: not plane.cp.states(), "the run to be retired") is True
    assert (plane.cp.root / sid / "workspace").is_dir()
    assert not (plane.cp.root / sid / ".token").exists()


def test_a_failing_runner_fails_the_session(make_plane):
    plane = make_plane("--after 100 --code 7")
    sid = plane.session()
    plane.wait_phase(sid, "Failed")
    condition = plane.condition(sid, "Ready")
    assert (condition["reason"], condition["message"]) == ("ProcessExited", "exit code 7")


def test_stop_start_and_delete(make_plane):
    plane = make_plane()
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    first = plane.cp.state(sid)
    plane.client.ok("POST", f"/sessions/{sid}/stop", status=200)
    plane.wait_phase(sid, "Stopped")
    assert first["pid"] not in plane.cp.processes()
    plane.client.ok("POST", f"/sessions/{sid}/start", status=200)
    plane.wait_phase(sid, "Running")
    assert plane.cp.state(sid)["run"] == 1
    assert plane.cp.state(sid)["pid"] != first["pid"]
    plane.client.ok("DELETE", f"/sessions/{sid}")
    wait_for(lambda: not (plane.cp.root / sid).exists(), "the session's directory to go")
    assert not [p for p in plane.cp.processes() if p != plane.cp.process.pid]


def test_time_limit(make_plane):
    plane = make_plane()
    sid = plane.session(timeout=1)
    plane.wait_phase(sid, "Failed")
    assert plane.condition(sid, "Ready")["reason"] == "Timeout"


def test_a_runner_that_notices_the_time_limit_first(make_plane):
    plane = make_plane("--after 300 --code 11")
    sid = plane.session(timeout=300)
    plane.wait_phase(sid, "Failed")
    assert plane.condition(sid, "Ready")["reason"] == "Timeout"


def test_inactivity_ends_a_session_and_says_so(make_plane):
    plane = make_plane("--after 300 --code 15")
    sid = plane.session(inactivity_timeout=60)
    plane.wait_phase(sid, "Completed")
    assert plane.condition(sid, "Ready")["reason"] == "InactivityTimeout"


def test_a_schedules_runs_come_one_after_the_other(make_plane):
    """A run that was asked for while the agent was busy begins when the session before is over."""
    plane = make_plane("--after 300")
    agent = plane.client.agent("demo", "nightly")["id"]
    base = "/projects/demo/scheduled-sessions"
    schedule = plane.client.ok("POST", base, {"name": "s", "schedule": "@yearly", "agent_id": agent,
                                              "overlap_policy": "queue", "session_prompt": "true"})
    trigger = f"{base}/{schedule['id']}/trigger"
    first = plane.client.ok("POST", trigger, status=200)
    assert first["status"] == "triggered"
    assert plane.client.ok("POST", trigger, status=200) == {"status": "queued"}
    sessions = wait_for(lambda: (lambda s: len(s) == 2 and s)(plane.client.items(f"{base}/{schedule['id']}/runs")),
                        "the second run")
    for session in sessions:
        plane.wait_phase(session["id"], "Completed")
    one, two = (plane.get(s["id"]) for s in sessions)
    assert one["id"] == first["session_id"] and one["completion_time"] <= two["created_at"]


def test_a_runner_that_never_answers(make_plane):
    plane = make_plane("--deaf", LOCAL_HEALTH_TIMEOUT="300ms")
    sid = plane.session()
    plane.wait_phase(sid, "Failed")
    assert plane.condition(sid, "Ready")["reason"] == "HealthCheckTimeout"


def test_a_runner_that_is_not_there(make_plane):
    plane = make_plane(LOCAL_RUNNER_COMMAND="/nonexistent/runner")
    sid = plane.session()
    plane.wait_phase(sid, "Failed")
    condition = plane.condition(sid, "ProcessSpawned")
    assert (condition["status"], condition["reason"]) == ("False", "SpawnFailed")
    assert "/nonexistent/runner" in condition["message"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_runners_outlive_the_control_plane(make_plane, how):
    plane = make_plane()
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    before = plane.cp.state(sid)
    plane.cp.process.send_signal(how)
    assert plane.cp.process.wait(DEADLINE) == (0 if how == signal.SIGTERM else -how)
    plane.client.ok("POST", f"/sessions/{sid}/stop", status=200)  # nobody is there to do it
    assert before["pid"] in plane.cp.processes()
    plane.cp.start()
    plane.wait_phase(sid, "Stopped")
    assert before["pid"] not in plane.cp.processes()


@pytest.fixture(name="seen")
def make_seen(tmp_path):
    """Where runners may write for the test: not below /tmp as a whole, since the sessions are hidden there."""
    directory = tmp_path / "seen"
    directory.mkdir()
    return directory


def test_an_adopted_runner_is_the_same_one(make_plane, seen):
    starts = seen / "starts"
    plane = make_plane(f"--starts {starts} --code 3", LOCAL_SANDBOX_WRITE=str(seen))
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    before = plane.cp.state(sid)
    plane.cp.kill()
    plane.cp.start()
    wait_for(lambda: '"runner adopted"' in plane.cp.log(), "the adoption")
    assert plane.cp.state(sid) == before
    os.kill(before["pid"], signal.SIGTERM)
    plane.wait_phase(sid, "Failed")
    assert plane.condition(sid, "Ready")["message"] == "exit code 3"
    assert len(starts.read_text().splitlines()) == 1


def test_a_delete_that_nobody_saw(make_plane):
    """The doubts of a missed delete take a minute, so only that nothing is removed too early is seen here."""
    plane = make_plane()
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    plane.cp.kill()
    plane.client.ok("DELETE", f"/sessions/{sid}")
    plane.cp.start()
    wait_for(lambda: '"list complete"' in plane.cp.log().split("control plane started")[-1], "the list")
    assert plane.cp.state(sid)["pid"] in plane.cp.processes()


def test_stop_on_exit(make_plane):
    plane = make_plane(LOCAL_STOP_ON_EXIT="true")
    sids = [plane.session() for _ in range(3)]
    for sid in sids:
        plane.wait_phase(sid, "Running")
    plane.cp.process.send_signal(signal.SIGTERM)
    assert plane.cp.process.wait(DEADLINE) == 0
    assert not plane.cp.processes()
    for sid in sids:
        assert plane.phase(sid) == "Failed"
        assert plane.condition(sid, "Ready")["reason"] == "ControlPlaneStopped"


def test_a_second_signal_ends_at_once(make_plane):
    plane = make_plane("--stubborn --deaf", LOCAL_STOP_ON_EXIT="true", LOCAL_STOP_GRACE="60s",
                       LOCAL_HEALTH_TIMEOUT="60s")
    sid = plane.session()
    plane.wait_phase(sid, "Creating")
    plane.cp.process.send_signal(signal.SIGTERM)
    wait_for(lambda: '"ending"' in plane.cp.log(), "the first signal to be seen")
    plane.cp.process.send_signal(signal.SIGINT)
    assert plane.cp.process.wait(DEADLINE) == 128 + signal.SIGINT
    plane.cp.env["LOCAL_STOP_ON_EXIT"] = "false"
    plane.cp.start()


def test_a_second_control_plane_on_the_same_root(make_plane):
    plane = make_plane()
    done = subprocess.run([control_plane()], env={**clean_environ(), **plane.cp.env}, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 6
    assert "another control plane uses" in done.stderr


@pytest.mark.parametrize("env, words", [
    ({"MODE": "kube", "PLATFORM_MODE": "other"}, "PLATFORM_MODE=other"),
    ({"MODE": "kube", "GITHUB_MCP_IMAGE": "x", "MCP_API_SERVER_URL": "http://api.example.com"}, "MCP_API_SERVER_URL"),
    ({"RUNNER_CPU_LIMIT": "much"}, "RUNNER_CPU_LIMIT=much"), ({"MODE": "other"}, "MODE=other"),
    ({"AMBIENT_API_TOKEN": ""}, "no token"), ({"LOCAL_PORT_RANGE": "9-x"}, "port range"),
    ({"LOCAL_SANDBOX": "strong"}, "LOCAL_SANDBOX=strong"), ({"LOCAL_WORKSPACE_ROOT": "relative"}, "absolute"),
    ({"LOCAL_RUNNER_COMMAND": "'open"}, "quote"), ({"LOCAL_STOP_GRACE": "long"}, "LOCAL_STOP_GRACE"),
])
def test_settings_that_cannot_be(tmp_path, env, words):
    base = {"AMBIENT_API_TOKEN": TOKEN, "LOCAL_WORKSPACE_ROOT": str(tmp_path / "root")}
    done = subprocess.run([control_plane()], env={**clean_environ(), **base, **env}, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode == 2 or done.returncode == 1
    assert words in done.stderr


def test_help_and_version():
    for word in ("--help", "--version"):
        done = subprocess.run([control_plane(), word], env=clean_environ(), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0
        assert done.stdout and not done.stderr


# ---- the way to the runner ----

def test_proxy_asks_for_the_platforms_token(make_plane):
    plane = make_plane()
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    path = f"/sessions/{sid}/runner/some/path?a=b%20c"
    assert plane.cp.request("proxy", "GET", "/health").read() == b'{"status":"ok"}'
    assert plane.cp.request("proxy", "GET", path).status == 401
    assert plane.cp.request("proxy", "GET", path, Authorization="Bearer wrong").status == 401
    for headers in ({"Authorization": f"Bearer {TOKEN}"}, {"X_Ambient_Proxy_Token": TOKEN}):
        answer = plane.cp.request("proxy", "POST", path, b"a body", Accept="x/y", **headers)
        seen = answer.read().decode()
        assert answer.status == 200
        assert seen.startswith("POST /some/path?a=b%20c HTTP/1.1\r\n")
        assert seen.endswith("\r\n\r\na body")
        assert "Accept: x/y" in seen
        assert f"X-Ambient-Session-Token: {plane.cp.state(sid)['agui_token']}" in seen
        assert TOKEN not in seen
    assert plane.cp.request("proxy", "GET", "/sessions/nobody/runner/", X_Ambient_Proxy_Token=TOKEN).status == 404
    assert plane.cp.request("proxy", "GET", f"/sessions/{sid}/other", X_Ambient_Proxy_Token=TOKEN).status == 404


def test_proxy_streams(make_plane):
    plane = make_plane()
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    answer = plane.cp.request("proxy", "GET", f"/sessions/{sid}/runner/sse", X_Ambient_Proxy_Token=TOKEN)
    assert answer.getheader("Content-Type") == "text/event-stream"
    lines = [answer.readline() for _ in range(6)]
    assert lines[::2] == [b"data: one\n", b"data: two\n", b"data: three\n"]
    plane.client.ok("POST", f"/sessions/{sid}/stop", status=200)
    assert answer.read() == b""  # the stream ends with the runner
    plane.wait_phase(sid, "Stopped")
    assert plane.cp.request("proxy", "GET", f"/sessions/{sid}/runner/", X_Ambient_Proxy_Token=TOKEN).status == 404


def test_the_api_server_reaches_the_runner(make_plane):
    plane = make_plane()
    plane.api.stop()
    plane.api.env["RUNNER_URL_TEMPLATE"] = f"http://127.0.0.1:{plane.cp.ports['proxy']}/sessions/{{id}}/runner"
    plane.api.start()
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    stream = EventStream(plane.api.ports["http"], f"/sessions/{sid}/events", {"Authorization": f"Bearer {TOKEN}"})
    assert stream.status == 200  # the test's runner echoes what it was asked
    seen = stream.response.read().decode()
    assert seen.startswith(f"GET /events/{sid} HTTP/1.1")
    assert TOKEN not in seen


# ---- tokens ----

def sessions_own(plane, token, sid):
    """Not the platform's token: it opens this session and no other."""
    other = plane.session()
    client = plane.api.client(token)
    return (token != TOKEN and client.get(f"/sessions/{sid}").status == 200
            and client.get(f"/sessions/{other}").status == 404)


def test_token_endpoint(make_plane, seen):
    environ = seen / "environ"
    plane = make_plane(f"--environ {environ}", LOCAL_TOKEN_ENDPOINT="true", CP_TOKEN_LISTEN_ADDR="127.0.0.1:0",
                       LOCAL_SANDBOX_WRITE=str(seen))
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    text = environ.read_text()
    pem = text[text.index("-----BEGIN PUBLIC KEY-----"):text.index("-----END PUBLIC KEY-----") + 24]
    assert f"AMBIENT_CP_TOKEN_URL=http://127.0.0.1:{plane.cp.ports['token']}/token\n" in text
    key = serialization.load_pem_public_key(pem.encode())
    assert key.key_size == 4096
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)

    def ask(plain, method="GET", scheme="Bearer "):
        sealed = base64.b64encode(key.encrypt(plain.encode(), oaep)).decode() if plain is not None else "bm9wZQ=="
        answer = plane.cp.request("token", method, "/token", Authorization=scheme + sealed)
        return answer.status, answer.read()

    status, body = ask(sid)
    assert status == 200 and body.endswith(b"\n")
    answer = json.loads(body)
    assert set(answer) == {"token", "expires_at"} and sessions_own(plane, answer["token"], sid)
    assert ask(sid, "POST") == (405, b"method not allowed\n")
    assert ask(sid, scheme="Basic ") == (401, b"unauthorized\n")
    assert ask(None) == (401, b"unauthorized\n")
    assert ask("short") == (403, b"forbidden\n")
    assert ask("has a blank in it") == (403, b"forbidden\n")
    assert ask("2abcDEFghiJKLmnoPQRstuVWXyz") == (403, b"forbidden\n")
    assert plane.cp.request("token", "GET", "/token").status == 401
    assert plane.cp.request("token", "GET", "/token/").read() == b"404 page not found\n"
    assert plane.cp.request("token", "GET", "/healthz").read() == b"ok"
    assert [ask(sid)[0] for _ in range(30)].count(429) >= 1
    plane.client.ok("POST", f"/sessions/{sid}/stop", status=200)
    plane.wait_phase(sid, "Stopped")
    assert ask(sid)[0] == 403
    assert TOKEN not in plane.cp.log()


def test_a_new_token_reaches_running_sessions(make_plane, tmp_path):
    token_file = tmp_path / "platform-token"
    token_file.write_text(TOKEN)
    token_file.chmod(0o600)
    plane = make_plane(AMBIENT_API_TOKEN="", AMBIENT_API_TOKEN_FILE=str(token_file), SESSION_TOKENS="off")
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    runners = plane.cp.root / sid / ".token"
    assert runners.read_text() == TOKEN
    token_file.write_text("another-token-for-all")
    wait_for(lambda: runners.read_text() == "another-token-for-all", "the runner's token")
    token_file.write_text(TOKEN)
    wait_for(lambda: runners.read_text() == TOKEN, "the old token again")


class IdentityProvider(http.server.BaseHTTPRequestHandler):
    """Gives the platform's token to one client, after it has failed once, and takes its secret in the body only."""
    asked = []

    def log_message(self, *args):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        basic = self.headers.get("Authorization")
        self.asked.append((self.path, self.headers["Content-Type"], urllib.parse.parse_qs(body), basic))
        answer = json.dumps({"access_token": TOKEN, "expires_in": 300}).encode()
        self.send_response(503 if len(self.asked) == 1 else 401 if basic else 200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


def test_a_token_from_an_identity_provider(make_plane):
    IdentityProvider.asked = []
    provider = http.server.ThreadingHTTPServer(("127.0.0.1", 0), IdentityProvider)
    threading.Thread(target=provider.serve_forever, daemon=True).start()
    try:
        plane = make_plane("--after 100", AMBIENT_API_TOKEN="", OIDC_CLIENT_ID="the client",
                           OIDC_CLIENT_SECRET="a&secret=x",
                           OIDC_TOKEN_URL=f"http://127.0.0.1:{provider.server_port}/token")
        plane.wait_phase(plane.session(), "Completed")
        assert "a&secret=x" not in plane.cp.log() and TOKEN not in plane.cp.log()
    finally:
        provider.shutdown()
        provider.server_close()
    header = "Basic " + base64.b64encode(b"the+client:a%26secret%3Dx").decode()
    assert [a[3] for a in IdentityProvider.asked[:3]] == [header, header, None]
    path, kind, form, _ = IdentityProvider.asked[2]
    assert (path, kind) == ("/token", "application/x-www-form-urlencoded")
    assert form == {"grant_type": ["client_credentials"], "client_id": ["the client"],
                    "client_secret": ["a&secret=x"]}


# ---- what operators see ----


def test_mode_test_only_watches(make_plane):
    plane = make_plane(MODE="test")
    sid = plane.session()
    wait_for(lambda: 'ambient_cp_sessions{phase=""} 1' in
             plane.cp.request("metrics", "GET", "/metrics").read().decode(), "the session to be seen")
    assert "phase" not in plane.get(sid)
    assert "proxy" not in plane.cp.ports


def test_runners_that_are_not_to_be_adopted(make_plane):
    plane = make_plane()
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    before = plane.cp.state(sid)
    plane.cp.kill()
    plane.cp.env["LOCAL_ADOPT"] = "false"
    plane.cp.start()
    plane.wait_phase(sid, "Failed")
    assert plane.condition(sid, "Ready")["reason"] == "ControlPlaneStopped"
    assert before["pid"] not in plane.cp.processes()


@pytest.fixture(name="open_root")
def make_open_root():
    """The way to it is open for everybody; to pytest's own directories it is not."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="cplane-uid-"))
    root.chmod(0o711)
    yield root
    shutil.rmtree(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start runners as another user")
def test_runners_of_another_user(open_root, make_plane):
    plane = make_plane(LOCAL_RUNNER_COMMAND="/bin/sh -c 'id -u > who; cat $BOT_TOKEN_FILE > token; "
                       "cat ../.runner.json > state; exit 0'",
                       LOCAL_WORKSPACE_ROOT=str(open_root / "sessions"), LOCAL_RUNNER_UID="65534",
                       LOCAL_RUNNER_GID="65534")
    sid = plane.session()
    plane.wait_phase(sid, "Completed")
    workspace = open_root / "sessions" / sid / "workspace"
    assert (workspace / "who").read_text() == "65534\n"
    claims = (workspace / "token").read_text().split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"] == f"session:{sid}"
    assert (workspace / "state").read_text() == ""  # that file is ours alone
    assert (workspace.stat().st_uid, workspace.stat().st_mode & 0o777) == (65534, 0o700)


def test_health_readiness_and_metrics(make_plane):
    plane = make_plane("--after 50")
    sid = plane.session()
    plane.wait_phase(sid, "Completed")
    assert plane.cp.request("metrics", "GET", "/healthz").read() == b"ok"
    assert plane.cp.request("metrics", "GET", "/readyz").status == 200
    wanted = {'ambient_cp_sessions{phase="Completed"} 1', 'ambient_cp_watch_connected{kind="sessions"} 1',
              'ambient_cp_queue_depth{kind="sessions"} 0', "ambient_cp_runners 0",
              'ambient_cp_relist_total{kind="sessions",result="complete"} 1'}

    def lines():
        return set(plane.cp.request("metrics", "GET", "/metrics").read().decode().splitlines())
    wait_for(lambda: wanted <= lines(), "the metrics of a session that is over")  # it may have one more look to come


def test_an_api_server_that_goes_away_is_waited_for(make_plane):
    plane = make_plane()
    sid = plane.session()
    plane.wait_phase(sid, "Running")
    pid = plane.cp.state(sid)["pid"]
    plane.api.kill()
    wait_for(lambda: "watch stream ended" in plane.cp.log(), "the end of the stream to be seen")
    os.kill(pid, signal.SIGKILL)  # it ends while nobody can be told
    wait_for(lambda: "runner ended" in plane.cp.log(), "the end of the runner to be seen")
    plane.api.start()
    plane.wait_phase(sid, "Failed")
    assert plane.condition(sid, "Ready")["message"] == "killed by signal 9 (SIGKILL)"
