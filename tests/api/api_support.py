"""Shared by the black-box tests of ambient-api-server: the program on free ports with a store of its own, an HTTP
client that is not ours, event streams, and keys for JWTs."""
import contextlib
import dataclasses
import fcntl
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MESON_BUILD_ROOT", ROOT / "build"))
V1 = "/api/ambient/v1"
ISSUER, AUDIENCE = "https://issuer.test", "ambient"  # of the tokens that the JWT server accepts
DEADLINE = 120.0


def program(name):
    directory = os.environ.get("AMBIENT_BIN_DIR")
    places = [pathlib.Path(directory) / name] if directory else [BUILD / "bin" / name, BUILD / "src/api-server" / name]
    for place in places:
        if place.exists():
            return str(place)
    raise AssertionError(f"{name} was not built; looked at {[str(p) for p in places]}")


def wait_for(condition, what, deadline=DEADLINE, interval=0.005):
    """The value of condition() once it is true; a test waits for what it needs, never for a while."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s for {what}")
        time.sleep(interval)


@dataclasses.dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self):
        return json.loads(self.body)

    @property
    def reason(self):
        return self.json()["reason"]

    @property
    def code(self):
        return self.json()["code"]


def expect_error(answer, status, number, reason=None):
    """Every 4xx and 5xx is the object of rest-core.md 5.1."""
    assert answer.status == status, (answer.status, answer.body)
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert body["kind"] == "Error"
    assert body["id"] == str(number), body
    assert body["code"] == f"ambient-api-server-{number}"
    assert body["href"] == f"{V1}/errors/{number}"
    assert len(body["operation_id"]) == 27
    if "X-Operation-ID" in answer.headers:
        assert answer.headers["X-Operation-ID"] == body["operation_id"]
    if reason is not None:
        assert body["reason"] == reason
    return body


class Client:
    """One keep-alive connection; not for several threads at once."""

    def __init__(self, port, token=None, headers=None, host="127.0.0.1"):
        self.host, self.port, self.headers = host, port, dict(headers or {})
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.connection = None

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def _exchange(self, method, path, body, headers):
        if not self.connection:
            self.connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE)
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        answer = Answer(response.status, response.headers, response.read())
        if response.will_close:
            self.close()
        return answer

    def raw(self, method, path, body=None, headers=None):
        """`path` as it goes on the wire."""
        fresh = self.connection is None
        everything = {**self.headers, **(headers or {})}
        try:
            return self._exchange(method, path, body, everything)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.close()
            if fresh:
                raise
            return self._exchange(method, path, body, everything)  # the server had closed an idle connection

    def call(self, method, path, body=None, query=None, headers=None):
        target = V1 + path
        if query:
            target += "?" + urllib.parse.urlencode(query)
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        return self.raw(method, target, body, headers)

    def get(self, path, query=None, headers=None):
        return self.call("GET", path, None, query, headers)

    def post(self, path, body=None, headers=None):
        return self.call("POST", path, body, None, headers)

    def patch(self, path, body=None, headers=None):
        return self.call("PATCH", path, body, None, headers)

    def delete(self, path, headers=None):
        return self.call("DELETE", path, None, None, headers)

    def ok(self, method, path, body=None, query=None, headers=None, status=None):
        answer = self.call(method, path, body, query, headers)
        wanted = status or {"POST": 201, "DELETE": 204}.get(method, 200)
        assert answer.status == wanted, (method, path, answer.status, answer.body)
        return answer.json() if answer.body else None

    # shorthands

    def project(self, name, **fields):
        return self.ok("POST", "/projects", {"name": name, **fields})

    def agent(self, project, name, **fields):
        return self.ok("POST", f"/projects/{project}/agents", {"project_id": project, "name": name, **fields})

    def session(self, **fields):
        return self.ok("POST", "/sessions", {"name": "s", **fields})

    def status(self, session_id, **fields):
        return self.ok("PATCH", f"/sessions/{session_id}/status", fields)

    def push(self, session_id, payload):
        return self.ok("POST", f"/sessions/{session_id}/messages", {"payload": payload})

    def messages(self, session_id, **query):
        return self.ok("GET", f"/sessions/{session_id}/messages", query=query)

    def items(self, path, **query):
        return self.ok("GET", path, query=query)["items"]


class EventStream:
    """Server-sent events of one request, read line by line."""

    def __init__(self, port, path, headers=None, timeout=DEADLINE):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.connection.request("GET", V1 + path, headers={"Accept": "text/event-stream", **(headers or {})})
        self.response = self.connection.getresponse()
        self.status, self.headers = self.response.status, self.response.headers
        self.comments = []

    def next(self):
        """The next event as (id, data), None at the end of the stream. Comments are kept aside."""
        event_id, data = None, []
        while True:
            line = self.response.readline()
            if not line:
                return None
            text = line.decode().rstrip("\n")
            if text.startswith(":"):
                self.comments.append(text[1:].strip())
            elif text.startswith("id:"):
                event_id = text[3:].strip()
            elif text.startswith("data:"):
                data.append(text[5:].strip())
            elif not text and data:
                return event_id, "\n".join(data)

    def message(self):
        event = self.next()
        if event is None:
            return None
        message = json.loads(event[1])
        assert event[0] == str(message["seq"])
        return message

    def rest_of_comments(self):
        while self.next() is not None:
            pass
        return self.comments

    def close(self):
        self.connection.close()


# Secrets at rest are encrypted unless a test says otherwise.
KEYRING = {"CREDENTIAL_ENCRYPTION_KEYRING": '{"1":"' + "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=" + '"}',
           "CREDENTIAL_ENCRYPTION_KEY_VERSION": "1"}


class ApiServer:
    """The real program with its own store below `directory`, or on a database of PostgreSQL."""

    def __init__(self, directory, args=(), env=None, url=None):
        self.directory = pathlib.Path(directory)
        self.args, self.env, self.url = list(args), dict(env or {}), url
        self.database = self.directory / "ambient.db"
        self.log_path = self.directory / "api-server.log"
        self.process, self.ports = None, {}

    def command(self, verb="serve"):
        ports = self.directory / "ports.json"
        listeners = [f"--{name}-bindaddress=127.0.0.1:0"
                     for name in ("api-server", "grpc-server", "metrics-server", "health-check-server")]
        return [program("ambient-api-server"), verb, *listeners, f"--db-url={self.db_url}",
                f"--ports-file={ports}", *self.args]

    @property
    def db_url(self):
        return self.url or f"sqlite:{self.database}"

    def start(self):
        ports = self.directory / "ports.json"
        ports.unlink(missing_ok=True)
        ours = ("AMBIENT_", "GRPC_SERVICE", "JWK_", "CREDENTIAL_")
        clean = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.directory,
                                            env={**clean, **KEYRING, **self.env})
        wait_for(lambda: ports.exists() or self.process.poll() is not None, "the ports file")
        assert self.process.poll() is None, self.log()
        self.ports = json.loads(ports.read_text())
        return self

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def client(self, token=None, **headers):
        return Client(self.ports["http"], token, headers)

    def stream(self, session_id, token=None, query="", **headers):
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return EventStream(self.ports["http"], f"/sessions/{session_id}/messages{query}", headers)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """A graceful end: exit status 0, and no word of a sanitizer."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError("the server did not end after SIGTERM:\n" + self.log()[-4000:])
        status = self.process.returncode
        assert status in (0, -signal.SIGKILL), f"exit status {status}:\n{self.log()[-4000:]}"
        for word in ("AddressSanitizer", "runtime error:", "ThreadSanitizer", "LeakSanitizer"):
            assert word not in self.log(), self.log()[-8000:]

    def run(self, verb, *args, env=None):
        return subprocess.run([program("ambient-api-server"), verb, f"--db-url={self.db_url}", *args],
                              capture_output=True, text=True, timeout=DEADLINE,
                              env={**os.environ, **(env or {})})


@contextlib.contextmanager
def running(directory, args=(), env=None, url=None):
    server = ApiServer(directory, args, env, url)
    if url:  # a shared database is not migrated by who serves it
        migrated = server.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
    server.start()
    try:
        yield server
    finally:
        server.stop()


def free_port():
    """A number for a server that comes back to it: below those that the system gives to whoever connects, and not given
    to another test of this machine soon."""
    with open(os.path.join(tempfile.gettempdir(), f"ambient-test-ports-{os.geteuid()}"), "a+", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        f.seek(0)
        last = int(f.read() or 0)
        while True:
            last = last + 1 if 20000 <= last < 29999 else 20000
            with socket.socket() as s, contextlib.suppress(OSError):
                s.bind(("127.0.0.1", last))
                f.truncate(0)
                f.write(str(last))
                return last


class Keys:
    """Signing keys of a test's own identity provider."""

    def __init__(self):
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwks(self):
        """Without `alg`: an RSA key then verifies RS256, RS384 and RS512."""
        one = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key()))
        one.pop("key_ops", None)
        return json.dumps({"keys": [{**one, "kid": "r1", "use": "sig"},
                                    {**ec_jwk(self.ec.public_key()), "kid": "e1", "use": "sig"},
                                    {**ed_jwk(self.ed.public_key()), "kid": "d1", "use": "sig"}]})

    def token(self, username, alg="RS256", key=None, kid=None, **claims):
        body = {"username": username, "exp": int(time.time()) + 3600, **claims}
        body = {k: v for k, v in body.items() if v is not None}
        mine, its_id = {"RS": (self.rsa, "r1"), "Ed": (self.ed, "d1")}.get(alg[:2], (self.ec, "e1"))
        key, kid = mine if key is None else key, its_id if kid is None else kid
        return jwt.encode(body, key, algorithm=alg, headers={"kid": kid})


def ec_jwk(public):
    numbers = public.public_numbers()

    def b64(n):
        return jwt.utils.base64url_encode(n.to_bytes(32, "big")).decode()
    return {"kty": "EC", "crv": "P-256", "x": b64(numbers.x), "y": b64(numbers.y)}


def ed_jwk(public):
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "x": jwt.utils.base64url_encode(raw).decode()}
