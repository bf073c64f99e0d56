"""A whole platform of a test's own: `ambient up` on free ports in a temporary directory."""
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BIN = os.environ.get("AMBIENT_BIN_DIR") or os.path.join(os.environ.get("MESON_BUILD_ROOT", f"{ROOT}/build"), "bin")
DEADLINE = 120


def wait_until(what, check, seconds=DEADLINE):
    """The condition's value as soon as it is true; the deadline only bounds a broken program."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


class Platform:
    def __init__(self, directory, **env):
        self.data = os.path.join(directory, "data")
        self.config = os.path.join(directory, "acpctl.json")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("AMBIENT_", "LOCAL_"))}
        self.env.update(AMBIENT_DATA=self.data, AMBIENT_CONFIG=self.config, LOCAL_MAX_SESSIONS="0",
                        LOCAL_PORT_RANGE="0", **env)

    def run(self, program, *argv, check=True, stdin="", timeout=DEADLINE):
        done = subprocess.run([os.path.join(BIN, program), *argv], env=self.env, input=stdin, capture_output=True,
                              text=True, timeout=timeout)
        if check and done.returncode:
            raise AssertionError(f"{program} {' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}"
                                 f"{self.logs()}")
        return done

    def ambient(self, *argv, **kw):
        return self.run("ambient", *argv, **kw)

    def acpctl(self, *argv, **kw):
        return self.run("acpctl", *argv, **kw)

    def logs(self):
        return subprocess.run([os.path.join(BIN, "ambient"), "logs", "-n", "40"], env=self.env, capture_output=True,
                              text=True).stdout

    def up(self, *argv):
        self.ambient("up", "--http=127.0.0.1:0", "--grpc=127.0.0.1:0", *argv)
        return self.status()

    def status(self):
        return json.loads(self.ambient("status", "-o", "json").stdout)

    def status_or_none(self, program="control-plane"):
        """The program's process id, or None while the platform cannot say."""
        done = self.ambient("status", "-o", "json", check=False)
        try:
            return json.loads(done.stdout)["pids"][program] or None
        except ValueError:
            return None

    def down(self, *argv):
        self.ambient("down", *argv)

    def call(self, method, path, body=None):
        """Plain HTTP with the admin token; the status and the parsed answer."""
        with open(os.path.join(self.data, "token")) as f:
            token = f.read().strip()
        req = urllib.request.Request(self.status()["http"] + "/api/ambient/v1" + path, method=method,
                                     data=None if body is None else json.dumps(body).encode(),
                                     headers={"Authorization": "Bearer " + token})
        try:
            with urllib.request.urlopen(req, timeout=DEADLINE) as r:
                text = r.read()
                return r.status, json.loads(text) if text else None
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read())

    def shell_session(self, prompt, **fields):
        """A started session of the shell runner."""
        self.call("POST", "/projects", {"name": "demo"})
        env = json.dumps({"RUNNER_TYPE": "shell"})
        status, s = self.call("POST", "/sessions", {"name": "t", "project_id": "demo", "prompt": prompt,
                                                    "environment_variables": env, **fields})
        assert status == 201, s
        status, started = self.call("POST", f"/sessions/{s['id']}/start")
        assert status == 200 or started["code"].endswith("-6"), started  # the control plane may have been faster
        return s["id"]

    def phase(self, sid):
        return self.call("GET", f"/sessions/{sid}")[1].get("phase")

    def wait_phase(self, sid, *phases, seconds=DEADLINE):
        def check():
            now = self.phase(sid)
            return now if now in phases else None
        try:
            return wait_until(f"session {sid} in {phases}", check, seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}; it is {self.call('GET', f'/sessions/{sid}')[1]}\n{self.logs()}") from None

    def messages(self, sid):
        return self.call("GET", f"/sessions/{sid}/messages")[1]


def alive(pid):
    """Running or stopped, and not merely waiting for its parent to look."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def processes_with(text):
    """Ids of live processes whose command line or environment's session root holds the text."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if text.encode() in f.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found
