"""An API server and a control plane of a test's own, on ports that stay the same when they are started again; runners
are the small program that the unit tests use (src/control-plane/test-runner.c)."""
import http.client
import json
import os
import pathlib
import signal
import subprocess

from api_support import BUILD, DEADLINE, ApiServer, free_port, program, wait_for

TOKEN = "a-platform-token-of-the-tests"
ADMIN = "an-administrator-of-the-tests"
RUNNER = BUILD / "src/control-plane/test-runner"
TERMINAL = ("Completed", "Failed", "Stopped")
SANITIZERS = ("AddressSanitizer", "runtime error:", "ThreadSanitizer", "LeakSanitizer")


def control_plane():
    """Beside the other programs, or where the build leaves it."""
    try:
        return program("ambient-control-plane")
    except AssertionError:
        return str(BUILD / "src/control-plane/ambient-control-plane")


def clean_environ():
    return {k: v for k, v in os.environ.items() if not k.startswith(("AMBIENT_", "LOCAL_", "OIDC_", "CP_"))}


class ControlPlane:
    def __init__(self, directory, api, arguments="", **env):
        self.directory, self.api = pathlib.Path(directory), api
        self.root = self.directory / "sessions"
        self.log_path = self.directory / "control-plane.log"
        self.ports_path = self.directory / "control-plane.json"
        self.process, self.ports = None, {}
        self.env = {
            "MODE": "process", "AMBIENT_API_TOKEN": TOKEN, "LOCAL_WORKSPACE_ROOT": str(self.root),
            "AMBIENT_API_SERVER_URL": f"http://127.0.0.1:{api.ports['http']}",
            "AMBIENT_GRPC_SERVER_ADDR": f"127.0.0.1:{api.ports['grpc']}",
            "LOCAL_RUNNER_COMMAND": f"{RUNNER} {arguments}", "LOCAL_LISTEN_FDS": "true", "LOCAL_PORT_RANGE": "0",
            "LOCAL_MAX_SESSIONS": "0", "LOCAL_PROXY_ADDR": "127.0.0.1:0", "LOCAL_TOKEN_ENDPOINT": "false",
            "CP_METRICS_ADDR": "127.0.0.1:0", "LOG_LEVEL": "debug", **env}

    def start(self):
        self.ports_path.unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([control_plane(), f"--ports-file={self.ports_path}"], stdout=log,
                                            stderr=log, env={**clean_environ(), **self.env}, cwd=self.directory)
        wait_for(lambda: self.ports_path.exists() or self.process.poll() is not None, "the control plane's ports")
        assert self.process.poll() is None, self.log()
        self.ports = json.loads(self.ports_path.read_text())
        return self

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """A graceful end."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(DEADLINE)
        status = self.process.returncode
        assert status in (0, -signal.SIGKILL), f"exit status {status}:\n{self.log()[-4000:]}"
        for word in SANITIZERS:
            assert word not in self.log(), self.log()[-8000:]

    def request(self, port, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[port], timeout=DEADLINE)
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        return connection.getresponse()

    def state(self, session):
        """The state file of the session's run, None when there is none."""
        try:
            return json.loads((self.root / session / ".runner.json").read_text())
        except (OSError, ValueError):
            return None

    def states(self):
        if not self.root.exists():
            return []
        return [s for s in map(self.state, os.listdir(self.root)) if s]

    def processes(self):
        """Everything that runs below our root: shims by their arguments, the others by their environment."""
        return processes_of(str(self.root))


def processes_of(text):
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                data = pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
                stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            except OSError:
                continue
            if text.encode() in data and stat not in "ZX" and int(pid) != os.getpid():
                found[int(pid)] = data.replace(b"\0", b" ")[:200]
    return found


class Plane:
    """Both, and what a user sees of them."""

    def __init__(self, directory, arguments="", **env):
        ports = [f"--{name}-bindaddress=127.0.0.1:{free_port()}" for name in ("api-server", "grpc-server")]
        # With authorization on: the control plane has its static token and no more rights than that holds.
        self.api = ApiServer(directory, ["--enable-jwt=false", "--enable-authz", *ports], {
            "AMBIENT_API_TOKEN": TOKEN, "AMBIENT_ADMIN_TOKEN": ADMIN}).start()
        self.cp = ControlPlane(directory, self.api, arguments, **env).start()
        self.client = self.api.client(ADMIN)
        self.client.project("demo")

    def close(self):
        """Ends both, and whatever a test that failed has left."""
        try:
            self.cp.stop()
        finally:
            self.client.close()
            self.end_runners()
            self.api.stop()

    def end_runners(self):
        for state in self.cp.states():
            try:
                os.kill(state["shim_pid"], signal.SIGUSR1)
            except ProcessLookupError:
                pass
        wait_for(lambda: not [p for p in self.cp.processes() if p != self.cp.process.pid], "the end of all runners")

    def session(self, **fields):
        return self.client.session(project_id="demo", prompt="do it", **fields)["id"]

    def get(self, session):
        return self.client.ok("GET", f"/sessions/{session}")

    def phase(self, session):
        return self.get(session).get("phase")

    def wait_phase(self, session, *phases):
        try:
            return wait_for(lambda: self.phase(session) in phases and self.get(session), f"{session} in {phases}")
        except AssertionError as e:
            raise AssertionError(f"{e}: it is {self.get(session)}\n{self.cp.log()[-6000:]}") from None

    def condition(self, session, kind):
        for c in json.loads(self.get(session)["conditions"]):
            if c["type"] == kind:
                return c
        return None
