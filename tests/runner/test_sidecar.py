"""ambient-runner credential-sidecar: an MCP server with one credential of the session."""
import base64
import http.server
import json
import os
import signal
import subprocess
import threading

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from runner_support import BIN, DEADLINE, Grants, wait_until

# What is wrapped: writes down what it was started with, and stays until it is told to end.
PROGRAM = r"""
trap 'echo ended >> "$OUT"; exit 0' TERM
env | grep -E "^(GITHUB|JIRA|READ_ONLY|GOOGLE_ACCESS|KUBECONFIG|BOT_TOKEN|CREDENTIAL|AMBIENT_CP)" | sort >> "$OUT"
echo "started $*" >> "$OUT"
while :; do sleep 0.05; done
"""


class Sidecar:
    def __init__(self, grants, directory, **env):
        self.out, self.log = directory / "out", directory / "log"
        self.out.write_text("")
        keep = ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS")
        self.env = {**{k: os.environ[k] for k in keep if k in os.environ}, "SESSION_ID": grants.sid,
                    "TMPDIR": str(directory), "OUT": str(self.out), "CREDENTIAL_IDS": json.dumps(grants.bound),
                    "AMBIENT_API_URL": f"http://127.0.0.1:{grants.api.ports['http']}",
                    "CREDENTIAL_REFRESH_INTERVAL": "100ms", **env}
        self.process = None

    def start(self, *command):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(BIN, "ambient-runner"), "credential-sidecar", *(command or ("sh", "-c", PROGRAM, "sh"))],
                env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        return self

    def lines(self):
        return self.out.read_text().splitlines()

    def wait_for(self, line, times=1):
        wait_until(f"{line!r} {times} times", lambda: self.lines().count(line) >= times)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)


@pytest.fixture(name="grants")
def make_grants(api):
    return Grants(api)


@pytest.fixture(name="sidecar")
def make_sidecar(grants, tmp_path):
    made = []

    def make(**env):
        made.append(Sidecar(grants, tmp_path, **env))
        return made[-1]
    yield make
    for sidecar in made:
        if sidecar.process and sidecar.process.poll() is None:
            sidecar.process.kill()
            sidecar.process.wait()


@pytest.mark.parametrize("provider, fields, wanted", [
    ("github", {}, ["GITHUB_PERSONAL_ACCESS_TOKEN=a-token-0123456789", "GITHUB_TOKEN=a-token-0123456789"]),
    ("jira", {"url": "https://jira.test", "email": "me@x.test"},
     ["JIRA_API_TOKEN=a-token-0123456789", "JIRA_URL=https://jira.test", "JIRA_USERNAME=me@x.test",
      "READ_ONLY_MODE=true"]),
    ("google", {}, ["GOOGLE_ACCESS_TOKEN=a-token-0123456789"]),
])
def test_the_program_has_the_names_that_it_reads(grants, sidecar, provider, fields, wanted):
    grants.add(provider, "a-token-0123456789", **fields)
    s = sidecar(BOT_TOKEN=grants.token()).start()
    s.wait_for("started ")
    assert set(wanted) <= set(s.lines())
    assert not [line for line in s.lines() if line.startswith(("BOT_TOKEN", "CREDENTIAL", "AMBIENT_CP"))]
    assert s.end() == 0 and s.lines()[-1] == "ended"
    assert "a-token-0123456789" not in s.log.read_text()


def test_a_kubeconfig_is_where_the_image_expects_it(grants, sidecar, tmp_path):
    text = "apiVersion: v1\nkind: Config\n"
    grants.add("kubeconfig", base64.b64encode(text.encode()).decode())
    s = sidecar(BOT_TOKEN=grants.token()).start()
    s.wait_for("started ")
    assert (tmp_path / ".ambient_kubeconfig").read_text() == text
    assert (tmp_path / ".ambient_kubeconfig").stat().st_mode & 0o777 == 0o600
    assert s.end() == 0


def test_a_changed_credential_starts_the_program_again(grants, sidecar):
    grants.add("github", "first-token-0123456789")
    s = sidecar(BOT_TOKEN=grants.token()).start()
    s.wait_for("started ")
    grants.rotate("github", "second-token-0123456789")
    s.wait_for("started ", 2)
    assert s.lines().index("ended") < s.lines().index("GITHUB_TOKEN=second-token-0123456789")
    assert s.process.poll() is None
    assert s.end() == 0


def test_its_status_is_the_programs(grants, sidecar):
    grants.add("github", "a-token-0123456789")
    assert sidecar(BOT_TOKEN=grants.token()).start("sh", "-c", "exit 7").process.wait(DEADLINE) == 7
    assert sidecar(BOT_TOKEN=grants.token()).start("sh", "-c", "kill -9 $$").process.wait(DEADLINE) == 137
    assert sidecar(BOT_TOKEN=grants.token()).start("/nonexistent").process.wait(DEADLINE) == 1


def test_wrong_use_is_told(grants, sidecar):
    for env in ({}, {"CREDENTIAL_IDS": "nonsense"}, {"CREDENTIAL_IDS": '{"a":"b","c":"d"}'},
                {"AMBIENT_API_URL": "http://elsewhere.test"}):
        s = sidecar(BOT_TOKEN="x", **env).start()
        assert s.process.wait(DEADLINE) == 1, env
        assert "credential-sidecar:" in s.log.read_text()


def test_it_waits_for_a_credential_that_it_may_not_read_yet(grants, sidecar):
    made = grants.add("github", "a-token-0123456789")
    reader = [b for b in grants.api.call("GET", f"/role_bindings?search=credential_id%20%3D%20%27{made}%27")["items"]
              if b.get("session_id")][0]
    grants.api.call("DELETE", f"/role_bindings/{reader['id']}")
    s = sidecar(BOT_TOKEN=grants.token()).start()
    wait_until("a word about it", lambda: "waits for its credential" in s.log.read_text())
    assert s.lines() == [] and s.process.poll() is None
    grants.api.call("POST", "/role_bindings", {"role_id": "credential:token-reader", "scope": "credential",
                                               "credential_id": made, "session_id": grants.sid})
    s.wait_for("started ")
    assert s.end() == 0


class Endpoint(http.server.BaseHTTPRequestHandler):
    """The control plane's /token, as control-plane.md 13 has it."""

    def do_GET(self):  # noqa: N802
        server = self.server
        server.asked += 1
        sealed = self.headers["Authorization"].removeprefix("Bearer ")
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        server.session = server.key.decrypt(base64.b64decode(sealed, validate=True), oaep).decode()
        server.proof = self.headers["X-Ambient-SA-Token"]
        body = (json.dumps({"token": server.token}) + "\n").encode()
        status = 500 if server.asked <= server.failing else 200
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(name="endpoint")
def make_endpoint(grants):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    server.key = rsa.generate_private_key(65537, 2048)
    server.token, server.asked, server.failing, server.session = grants.token(), 0, 1, None
    public = server.key.public_key().public_bytes(serialization.Encoding.PEM,
                                                  serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    server.env = {"AMBIENT_CP_TOKEN_URL": f"http://127.0.0.1:{server.server_port}/token",
                  "AMBIENT_CP_TOKEN_PUBLIC_KEY": public, "BOT_TOKEN": None}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_sidecar_gets_its_token_from_the_endpoint(grants, sidecar, endpoint):
    grants.add("github", "a-token-0123456789")
    s = sidecar(**{k: v for k, v in endpoint.env.items() if v}).start()
    s.wait_for("started ")
    assert endpoint.session == grants.sid and endpoint.asked == 2  # the first try was refused
    assert s.end() == 0


def test_a_runner_gets_its_token_from_the_endpoint(api, grants, endpoint, runners, tmp_path):
    """And shows whose pod it is, where it was told how."""
    api.send(grants.sid, "echo hello from the endpoint")
    proof = tmp_path / "identity"
    proof.write_text("the-pods-own-token\n")
    r = runners(api, grants.sid, INTERACTIVE="false", AMBIENT_CP_TOKEN_PROOF_FILE=str(proof), **endpoint.env).start()
    assert r.wait() == 0, r.output()
    assert api.payloads(grants.sid, "assistant") == ["hello from the endpoint"]
    assert endpoint.session == grants.sid and endpoint.proof == "the-pods-own-token"


def test_a_runner_that_waits_for_its_token_can_be_ended(api, grants, endpoint, runners):
    endpoint.failing = 1 << 20
    r = runners(api, grants.sid, **endpoint.env).start()
    wait_until("a try", lambda: endpoint.asked)
    assert r.terminate() == 0
