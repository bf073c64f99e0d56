"""What stands between a control plane and a Kubernetes API in these tests: counts every request, and has faults when
told. `Proxy` passes on to a real kube-apiserver; scripted_kube.Kube is one in memory."""
import collections
import dataclasses
import http.client
import http.server
import json
import random
import socket
import ssl
import threading
import time
import urllib.parse


@dataclasses.dataclass
class Request:
    at: float
    verb: str  # as RBAC says it, with "apply" apart
    kind: str
    name: str
    who: str  # the token it was sent with
    code: int = 0  # 0: no answer


def describe(handler):
    parts = urllib.parse.urlsplit(handler.path)
    path, query = parts.path.strip("/").split("/"), dict(urllib.parse.parse_qsl(parts.query))
    rest = path[2:] if path[0] == "api" else path[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    kind, name = (rest + ["", ""])[:2]
    method = handler.command
    if method == "GET":
        verb = "watch" if query.get("watch") else "get" if name else "list"
    elif method == "PATCH":
        verb = "apply" if "apply" in handler.headers.get("Content-Type", "") else "patch"
    else:
        verb = {"POST": "create", "PUT": "update", "DELETE": "delete" if name else "deletecollection"}[method]
    who = handler.headers.get("Authorization", "").removeprefix("Bearer ")
    return Request(time.monotonic(), verb, kind, name, who), query


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def reply(self, status, body, **headers):
        self.server.front.answering(self.now)
        self.now.code = status
        data = json.dumps(body).encode() if not isinstance(body, bytes) else body
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)
        return status

    def begin_stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def piece(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def cut(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        return 0

    def finish(self):
        super().finish()
        if getattr(self, "upstream", None):
            self.upstream.close()

    def one(self):
        front = self.server.front
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request, query = describe(self)
        self.now = request
        front.enter(request)
        try:
            if front.faults and request.kind not in front.spared and front.fault(self, request):
                return
            request.code = front.answer(self, request, query, body) or 0
        except (OSError, http.client.HTTPException):
            self.cut()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = one


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, front, port):
        self.front, self.open = front, set()
        super().__init__(("127.0.0.1", port), Handler)

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        pass  # a connection that was cut


class Front:
    """faults: {"drop": 0.02, "lose": 0.02, "429": 0.03, "500": 0.03}, each the share of requests it meets: never asked,
    done without an answer, refused with Retry-After, refused. Kinds in `spared` meet none."""
    spared = ()

    def __init__(self, seed=0):
        self.lock, self.log, self.faults, self.random = threading.RLock(), [], {}, random.Random(seed)
        self.holding, self.held, self.released = None, 0, threading.Event()
        self.server = self.thread = None
        self.port = 0

    def start(self):
        self.server = Server(self, self.port)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()
        return self

    def stop(self):
        """Also cuts what is open: as when the machine it is on goes."""
        if not self.server:
            return
        self.server.shutdown()
        self.server.server_close()
        for connection in list(self.server.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join()
        self.server = None

    def kubeconfig(self, directory, token="a-token"):
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "c",
                  "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                  "users": [{"name": "u", "user": {"token": token}}],
                  "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}]}
        path = directory / f"{token[:16]}.kubeconfig"
        path.write_text(json.dumps(config))
        return path

    def enter(self, request):
        with self.lock:
            self.log.append(request)

    def answering(self, request):
        with self.lock:
            held = self.holding == (request.who, request.verb, request.kind)
            self.held += held
        if held:
            self.released.wait()

    def hold(self, who, verb, kind):
        """From now on such requests are done, and not answered until let_go()."""
        self.released.clear()
        self.held, self.holding = 0, (who, verb, kind)

    def let_go(self):
        self.holding = None
        self.released.set()

    def fault(self, handler, request):
        with self.lock:
            at = self.random.random()
        for name, share in self.faults.items():
            if at >= share:
                at -= share
                continue
            if name == "drop" or request.verb == "watch":
                handler.cut()
            elif name == "429":
                request.code = handler.reply(429, {"kind": "Status", "code": 429, "reason": "TooManyRequests"},
                                             Retry_After="1")
            elif name == "500":
                request.code = handler.reply(500, {"kind": "Status", "code": 500, "reason": "InternalError"})
            else:
                handler.wfile = open("/dev/null", "wb")  # it is done, and nobody hears of it
                handler.close_connection = True
                return False
            return True
        return False

    # ---- what was counted

    def since(self, at=0.0, who=None):
        with self.lock:
            return [r for r in self.log if r.at >= at and who in (None, r.who)]

    def writes(self, at=0.0, who=None):
        """What changed anything, but for the Lease, reviews and Events."""
        return [r for r in self.since(at, who) if r.verb not in ("get", "list", "watch") and
                r.kind not in ("leases", "selfsubjectaccessreviews", "events")]

    def count(self, at=0.0):
        return collections.Counter((r.verb, r.kind) for r in self.since(at))


class Proxy(Front):
    """In front of a real kube-apiserver. A write that was sent while `frozen` says so is kept in `late`."""

    def __init__(self, cluster, seed=0):
        super().__init__(seed)
        self.cluster = cluster
        self.tls = ssl.create_default_context(cafile=cluster.directory / "ca.crt")

    def answer(self, handler, request, _, body):
        """A connection of its own for each of the client's."""
        upstream = getattr(handler, "upstream", None)
        if not upstream:
            upstream = handler.upstream = http.client.HTTPSConnection("127.0.0.1", self.cluster.ports[2],
                                                                      context=self.tls, timeout=700)
        headers = {k: v for k, v in handler.headers.items() if k.lower() not in ("host", "content-length")}
        upstream.request(handler.command, handler.path, body or None, headers)
        got = upstream.getresponse()
        if request.verb == "watch" and got.status == 200:
            return self.stream(handler, got)
        extra = {"Retry_After": got.headers["Retry-After"]} if "Retry-After" in got.headers else {}
        return handler.reply(got.status, got.read(), **extra)

    @staticmethod
    def stream(handler, got):
        handler.begin_stream()
        while data := got.read1(65536):
            handler.piece(data)
        handler.wfile.write(b"0\r\n\r\n")
        return 200
