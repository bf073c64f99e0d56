"""A real API server, and runners that a test starts, kills and asks over HTTP."""
import http.client
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

from api_support import free_port

BIN = os.environ.get("AMBIENT_BIN_DIR") or os.path.join(
    os.environ.get("MESON_BUILD_ROOT", os.path.join(os.path.dirname(__file__), "../../build")), "bin")
DEADLINE = 120
ADMIN, SERVICE, AGUI = "admin-token-0123456789", "service-token-0123456789", "agui-token-0123456789"


def wait_until(what, check, seconds=DEADLINE):
    """The condition's value as soon as it is true; the deadline only bounds a broken program."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what}: not within {seconds} s")


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Api:
    def __init__(self, directory):
        self.directory = str(directory)
        self.ports, self.process = {"http": free_port(), "grpc": free_port()}, None

    def start(self):
        """On the same ports each time: runners come back to them."""
        ports_file = os.path.join(self.directory, "ports.json")
        if os.path.exists(ports_file):
            os.unlink(ports_file)
        env = {**os.environ, "AMBIENT_API_TOKEN": SERVICE, "AMBIENT_ADMIN_TOKEN": ADMIN, "AMBIENT_ENV": "production",
               "CREDENTIAL_ENCRYPTION_ALLOW_PLAINTEXT": "true"}
        log = open(os.path.join(self.directory, "api.log"), "ab")
        self.process = subprocess.Popen(
            [os.path.join(BIN, "ambient-api-server"), "serve", "--enable-jwt=false",
             f"--api-server-bindaddress=127.0.0.1:{self.ports['http']}",
             f"--grpc-server-bindaddress=127.0.0.1:{self.ports['grpc']}", "--metrics-server-bindaddress=",
             "--health-check-server-bindaddress=", f"--ports-file={ports_file}",
             f"--db-url=sqlite:{self.directory}/db"], env=env, stdout=log, stderr=log)
        log.close()

        def ports():
            assert self.process.poll() is None, open(os.path.join(self.directory, "api.log")).read()
            return os.path.exists(ports_file) and open(ports_file).read()
        self.ports = json.loads(wait_until("api-server", ports))

    def stop(self, signo=signal.SIGTERM):
        self.process.send_signal(signo)
        self.process.wait(DEADLINE)

    def call(self, method, path, body=None):
        req = urllib.request.Request(f"http://127.0.0.1:{self.ports['http']}/api/ambient/v1{path}", method=method,
                                     data=None if body is None else json.dumps(body).encode(),
                                     headers={"Authorization": "Bearer " + ADMIN, "Content-Type": "application/json"})
        with urllib.request.urlopen(req, timeout=DEADLINE) as r:
            text = r.read()
            return json.loads(text) if text else None

    def session(self, prompt=None):
        try:
            self.call("POST", "/projects", {"name": "home"})
        except urllib.error.HTTPError as e:
            assert e.code == 409
        body = {"name": "s", "project_id": "home"}
        if prompt is not None:
            body["prompt"] = prompt
        return self.call("POST", "/sessions", body)["id"]

    def send(self, sid, text):
        return self.call("POST", f"/sessions/{sid}/messages", {"payload": text})["seq"]

    def messages(self, sid, *types):
        return [m for m in self.call("GET", f"/sessions/{sid}/messages") if not types or m["event_type"] in types]

    def payloads(self, sid, event_type):
        return [m["payload"] for m in self.messages(sid, event_type)]

    def lifecycle(self, sid):
        return [json.loads(p)["event"] for p in self.payloads(sid, "lifecycle")]

    def shape(self, sid):
        """The log in short: types, with the event of lifecycle records; without what was said, said once more."""
        return [json.loads(m["payload"])["event"] if m["event_type"] == "lifecycle" else m["event_type"]
                for m in self.messages(sid) if m["event_type"] != "MESSAGES_SNAPSHOT"]


class Grants:
    """A session with a token of its own and credentials that it may read."""

    def __init__(self, api):
        self.api = api
        self.sid = api.session()
        self.bound = {}

    def add(self, provider, token, **fields):
        made = self.api.call("POST", "/credentials", {"name": provider, "provider": provider, "token": token,
                                                      **fields})["id"]
        for role, what in (("credential:viewer", {"project_id": "home"}),
                           ("credential:token-reader", {"session_id": self.sid})):
            self.api.call("POST", "/role_bindings", {"role_id": role, "scope": "credential", "credential_id": made,
                                                     **what})
        self.bound[provider] = made
        return made

    def rotate(self, provider, token):
        self.api.call("PATCH", f"/credentials/{self.bound[provider]}", {"token": token})

    def token(self):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api.ports['http']}/api/ambient/v1/sessions/{self.sid}/token", method="POST",
            headers={"Authorization": "Bearer " + SERVICE})
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read())["token"]

    def env(self, **more):
        return {"BOT_TOKEN": self.token(), "BACKEND_API_URL": f"http://127.0.0.1:{self.api.ports['http']}",
                "PROJECT_NAME": "home", "CREDENTIAL_IDS": json.dumps(self.bound), "INTERACTIVE": "true",
                "CREDENTIAL_REFRESH_INTERVAL": "0s", **more}


class Runner:
    """One process of ambient-runner for a session; several may follow each other in one workspace."""

    def __init__(self, api, directory, sid, **env):
        self.directory = os.path.join(str(directory), sid)
        self.workspace = os.path.join(self.directory, "workspace")
        os.makedirs(self.directory, exist_ok=True)
        self.log = os.path.join(self.directory, "runner.log")
        self.env = {"PATH": os.environ["PATH"], "HOME": self.directory, "SESSION_ID": sid, "RUNNER_TYPE": "shell",
                    "WORKSPACE_PATH": self.workspace, "AGUI_PORT": "0", "AGUI_HOST": "127.0.0.1", "AGUI_TOKEN": AGUI,
                    "BOT_TOKEN": SERVICE}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            if name in os.environ:
                self.env[name] = os.environ[name]
        if api:
            self.env.update(AMBIENT_GRPC_ENABLED="true", AMBIENT_GRPC_URL=f"127.0.0.1:{api.ports['grpc']}")
        self.env.update(env)
        self.env = {k: v for k, v in self.env.items() if v is not None}
        self.process = None

    def start(self, **popen):
        self.offset = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([os.path.join(BIN, "ambient-runner")], env=self.env, stdout=log, stderr=log,
                                            **popen)
        return self

    def output(self):
        with open(self.log) as f:
            f.seek(self.offset)
            return f.read()

    def wait(self):
        """Its exit status."""
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            raise AssertionError("the runner does not end\n" + self.output()) from None

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE)

    def terminate(self):
        self.process.terminate()
        return self.wait()

    @property
    def port(self):
        def find():
            assert self.process.poll() is None, self.output()
            for line in self.output().splitlines():
                if "msg=listening" in line:
                    return int(line.rsplit("port=", 1)[1])
            return None
        return wait_until("port of the runner", find)

    def request(self, method, path, body=None, headers=None, token=AGUI):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        all_headers = dict(headers or {})
        if token:
            all_headers["X-Ambient-Session-Token"] = token
        connection.request(method, path, body, all_headers)
        return connection, connection.getresponse()

    def ask(self, method, path, body=None, **kw):
        """(status, parsed body)"""
        connection, response = self.request(method, path, body, **kw)
        text = response.read()
        connection.close()
        return response.status, json.loads(text)

    def ready(self):
        wait_until("ready", lambda: self.ask("GET", "/readyz")[0] == 200)
        return self

    def events(self, path="/agui/events", **kw):
        return Events(self, path, **kw)


class Events:
    """A stream of events; iterating gives (id, event) until the server ends it."""

    def __init__(self, runner, path, method="GET", **kw):
        self.connection, self.response = runner.request(method, path, **kw)
        assert self.response.status == 200, self.response.read()
        assert self.response.headers["Content-Type"] == "text/event-stream"

    def __iter__(self):
        number = None
        for line in self.response:
            line = line.decode().rstrip("\n")
            if line.startswith("id: "):
                number = int(line[4:])
            elif line.startswith("data: "):
                yield number, json.loads(line[6:])

    def types(self):
        return [event["type"] for _, event in self]

    def until(self, event_type):
        for number, event in self:
            if event["type"] == event_type:
                return number, event
        raise AssertionError(f"the stream ended before {event_type}")

    def close(self):
        self.connection.close()
