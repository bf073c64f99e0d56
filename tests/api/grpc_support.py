"""Shared by the gRPC tests: the server under test and the messages of src/grpc/test-interop.proto.
The programs are those of the build tree, MESON_BUILD_ROOT or ./build."""
import contextlib
import importlib.util
import os
import pathlib
import signal
import subprocess
import tempfile
import time

import api_support

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MESON_BUILD_ROOT", ROOT / "build"))
INTEROP = BUILD / "src/grpc/test-interop-server"


class Server:
    """Address and process of a server; `process` is None for a server that somebody else started."""

    def __init__(self, host, port, pid, process=None):
        self.host, self.port, self.pid, self.process = host, port, pid, process
        self.address = f"{host}:{port}"

    def rss_kib(self):
        for line in open(f"/proc/{self.pid}/status"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("no VmRSS")

    def alive(self):
        if self.process:
            return self.process.poll() is None
        return pathlib.Path(f"/proc/{self.pid}").exists()


@contextlib.contextmanager
def interop_server(*args):
    process = subprocess.Popen([str(INTEROP), *args], stdout=subprocess.PIPE, text=True)
    try:
        word, port = process.stdout.readline().split()
        assert word == "PORT"
        yield Server("127.0.0.1", int(port), process.pid, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError("the server did not end after SIGTERM")
        process.stdout.close()
    assert process.returncode in (0, -signal.SIGKILL), f"server ended with {process.returncode}"


@contextlib.contextmanager
def server_under_test(which, tmp_path_factory):
    if which == "interop":
        with interop_server() as server:
            yield server
    elif which == "api-server":
        with api_support.running(tmp_path_factory.mktemp("h2")) as api:
            yield Server("127.0.0.1", int(api.ports["grpc"]), api.process.pid, api.process)
    else:
        host, port = os.environ["GRPC_TEST_TARGET"].rsplit(":", 1)
        yield Server(host, int(port), int(os.environ["GRPC_TEST_PID"]))


def load_proto(path, include):
    """Compiles a .proto with protoc's own Python generator, so that foreign code judges our bytes."""
    path = pathlib.Path(path)
    with tempfile.TemporaryDirectory(prefix="ambient-proto-") as out:
        subprocess.run(["protoc", "-I", str(include), f"--python_out={out}", str(path)], check=True)
        name = path.stem.replace("-", "_") + "_pb2"
        file = next(pathlib.Path(out).rglob(name + ".py"))
        spec = importlib.util.spec_from_file_location(name, file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


def wait_until(condition, seconds=20.0, what="condition"):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timeout: {what}"
        time.sleep(0.01)
