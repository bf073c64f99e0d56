"""gRPC as @grpc/grpc-js and grpc-go see it; Python's grpcio, which is C++ below, is in tests/api."""
import json
import pathlib
import subprocess

import pytest

from conformance_support import HERE, ROOT, TOKEN

NOT_FOUND, INVALID, UNAUTHENTICATED, DEADLINE, CANCELLED = 5, 3, 16, 4, 1


def run(command, **options):
    out = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=120, check=False,
                         **options)
    assert out.returncode == 0, out.stderr
    return json.loads(out.stdout)


def common(result):
    assert result["pushed"] == list(range(2, 22))  # the prompt is the first
    assert result["large"] == 3 << 20
    code, text = result["notFound"]
    assert code == NOT_FOUND and "nope" in text
    assert result["invalid"] == [INVALID, "event_type is required"]
    assert result["anonymous"] == UNAUTHENTICATED


def test_grpc_js(bring, server, tmp_path):
    modules = bring("js")
    script = tmp_path / "client.js"
    script.write_text((HERE / "js/client.js").read_text())
    (tmp_path / "node_modules").symlink_to(modules)
    result = run(["node", script, ROOT / "proto", f"127.0.0.1:{server.ports['grpc']}", TOKEN])
    common(result)
    assert result["created"]["name"] == "js" and result["created"]["phase"] is True
    watched = result["watched"]
    assert watched["headers"] is True and watched["code"] == CANCELLED
    assert watched["seqs"] == list(range(2, 27))
    assert watched["first"] == "\u00fc0"
    assert result["deadline"] == DEADLINE and result["listed"] is True


@pytest.fixture(name="descriptors")
def make_descriptors(tmp_path):
    out = pathlib.Path(tmp_path) / "api.pb"
    subprocess.run(["protoc", f"-I{ROOT / 'proto'}", "--include_imports", f"--descriptor_set_out={out}",
                    "ambient/v1/sessions.proto"], check=True, timeout=60)
    return out


def test_grpc_go(bring, server, descriptors):
    result = run([bring("go"), descriptors, f"127.0.0.1:{server.ports['grpc']}", TOKEN])
    common(result)
    assert result["watched"] == list(range(2, 27)) and result["cancelled"] == CANCELLED
    assert result["deadline"] is True
    assert result["events"] == ["EVENT_TYPE_CREATED", "EVENT_TYPE_UPDATED", "EVENT_TYPE_DELETED"]
