"""gRPC as foreign clients speak it: grpcio, and messages that protoc's Python generator made from our .proto files."""
import contextlib
import importlib
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading

import grpc

from api_support import DEADLINE, ROOT

PACKAGES = ("common", "sessions", "projects", "project_settings", "users", "inbox")


def _generate():
    out = tempfile.mkdtemp(prefix="ambient-rpc-")
    files = [str(ROOT / "proto/ambient/v1" / (name + ".proto")) for name in PACKAGES]
    subprocess.run(["protoc", "-I", str(ROOT / "proto"), f"--python_out={out}", *files], check=True)
    sys.path.insert(0, out)
    try:
        return [importlib.import_module(f"ambient.v1.{name}_pb2") for name in PACKAGES]
    finally:
        sys.path.remove(out)
        subprocess.run(["rm", "-rf", "--", out], check=True)


MODULES = _generate()
COMMON = MODULES[0]
CREATED, UPDATED, DELETED = COMMON.EVENT_TYPE_CREATED, COMMON.EVENT_TYPE_UPDATED, COMMON.EVENT_TYPE_DELETED


class Method:
    def __init__(self, service, descriptor, module):
        self.name = descriptor.name
        self.path = f"/{service.full_name}/{descriptor.name}"
        self.request = getattr(module, descriptor.input_type.name)
        self.response = getattr(module, descriptor.output_type.name)
        self.is_stream = descriptor.name.startswith("Watch")


METHODS = {}
for _module in MODULES:
    for _service in _module.DESCRIPTOR.services_by_name.values():
        for _descriptor in _service.methods:
            METHODS[_descriptor.name] = Method(_service, _descriptor, _module)
assert len(METHODS) == 28


class Stream:
    """A server stream, read by a thread of its own so that waiting has a deadline."""

    def __init__(self, call):
        self.call = call
        self._items = queue.Queue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        try:
            for message in self.call:
                self._items.put(message)
            self._items.put(None)
        except grpc.RpcError as error:
            self._items.put(error)

    def opened(self):
        """Response headers: from here on nothing is missed."""
        self.call.initial_metadata()
        return self

    def next(self, timeout=DEADLINE):
        item = self._items.get(timeout=timeout)
        if isinstance(item, grpc.RpcError):
            raise item
        return item

    def take(self, n):
        return [self.next() for _ in range(n)]

    def error(self, timeout=DEADLINE):
        """The end of the stream, past whatever still comes."""
        while True:
            item = self._items.get(timeout=timeout)
            if isinstance(item, grpc.RpcError):
                return item.code(), item.details()
            if item is None:
                return grpc.StatusCode.OK, ""

    def nothing_before(self, marker):
        """Called when `marker`, made after all else, has been read as the very next message."""
        assert self.next() == marker
        assert self._items.empty()

    def close(self):
        self.call.cancel()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()


class Rpc:
    def __init__(self, port, token=None, metadata=()):
        self.metadata = list(metadata)
        if token is not None:
            self.metadata.append(("authorization", f"Bearer {token}"))
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")
        self.streams = []

    def close(self):
        for stream in self.streams:
            stream.close()
        self.channel.close()

    def call(self, method, request=None, metadata=(), **fields):
        m = METHODS[method]
        stub = self.channel.unary_unary(m.path, m.request.SerializeToString, m.response.FromString)
        return stub(request or m.request(**fields), timeout=DEADLINE, metadata=[*self.metadata, *metadata])

    def stream(self, method, metadata=(), **fields):
        m = METHODS[method]
        stub = self.channel.unary_stream(m.path, m.request.SerializeToString, m.response.FromString)
        self.streams.append(Stream(stub(m.request(**fields), metadata=[*self.metadata, *metadata])))
        return self.streams[-1]

    def watch(self, method, metadata=(), **fields):
        return self.stream(method, metadata, **fields).opened()

    def error(self, method, metadata=(), **fields):
        """(code, text) of a call or a stream that is refused."""
        if METHODS[method].is_stream:
            return self.stream(method, metadata, **fields).error()
        try:
            answer = self.call(method, None, metadata, **fields)
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError(f"{method} was not refused: {answer}")

    # shorthands

    def session(self, **fields):
        return self.call("CreateSession", **{"name": "s", **fields})

    def push(self, session_id, payload, event_type="assistant", metadata=()):
        return self.call("PushSessionMessage", None, metadata, session_id=session_id, event_type=event_type,
                         payload=payload)


@contextlib.contextmanager
def connected(server, token=None, metadata=()):
    rpc = Rpc(server.ports["grpc"], token, metadata)
    try:
        yield rpc
    finally:
        rpc.close()


def has(message, field):
    return message.HasField(field)


def stamp(timestamp):
    return timestamp.seconds * 1_000_000_000 + timestamp.nanos
