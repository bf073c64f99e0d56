"""The reference's own programs, unmodified, against our server: its Go SDK and its command line. Runs where
AMBIENT_REFERENCE_DIR names a checkout of the reference and Go is there to build them."""
import os
import pathlib
import shutil
import subprocess

import pytest

from conformance_support import HERE, TOKEN

REFERENCE = os.environ.get("AMBIENT_REFERENCE_DIR")
MODULE = "github.com/ambient-code/platform/components"

pytestmark = [pytest.mark.skipif(not REFERENCE, reason="AMBIENT_REFERENCE_DIR names no checkout of the reference"),
              pytest.mark.skipif(not shutil.which("go"), reason="go is not installed")]


def build(folder, program, *package):
    out = subprocess.run(["go", "build", "-mod=mod", "-o", program, *package], cwd=folder, capture_output=True,
                         text=True, timeout=600, check=False)
    assert out.returncode == 0, out.stderr
    return program


@pytest.fixture(name="environment")
def make_environment(server, tmp_path):
    return {**os.environ, "HOME": str(tmp_path), "AMBIENT_API_URL": f"http://127.0.0.1:{server.ports['http']}",
            "AMBIENT_GRPC_URL": f"127.0.0.1:{server.ports['grpc']}", "AMBIENT_TOKEN": TOKEN}


def test_go_sdk(environment, tmp_path):
    components = pathlib.Path(REFERENCE).resolve() / "components"
    (tmp_path / "main.go").write_text((HERE / "reference/sdk.go").read_text())
    replaced = "".join(f"replace {MODULE}/{name} => {components / name}\n"
                       for name in ("ambient-sdk/go-sdk", "ambient-api-server"))
    (tmp_path / "go.mod").write_text("module reference.test/sdk\ngo 1.25.0\n"
                                     f"require {MODULE}/ambient-sdk/go-sdk v0.0.0\n{replaced}")
    program = build(tmp_path, str(tmp_path / "sdk"), ".")
    out = subprocess.run([program], env={**environment, "AMBIENT_PROJECT": "reference-sdk"}, capture_output=True,
                         text=True, timeout=120, check=False)
    assert (out.returncode, out.stdout) == (0, "done\n"), out.stderr


def test_cli(environment, tmp_path):
    cli = build(pathlib.Path(REFERENCE) / "components/ambient-cli", str(tmp_path / "acpctl"), "./cmd/acpctl")

    def acpctl(*words, ok=True):
        out = subprocess.run([cli, *words], env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert (out.returncode == 0) is ok, (words, out.stdout, out.stderr)
        return out.stdout

    (tmp_path / "m.yaml").write_text("kind: Project\nname: p2\n---\nkind: Agent\nname: a2\nprompt: x\n---\n"
                                     "kind: Credential\nname: c2\nprovider: github\ntoken: ghp_reference\n")
    acpctl("login", "--token", TOKEN, "--url", environment["AMBIENT_API_URL"], "--project", "p1")
    assert "project/p1 created" in acpctl("create", "project", "--name", "p1")
    acpctl("project", "p1")
    acpctl("agent", "create", "--project-id", "p1", "--name", "a1", "--prompt", "be brief")
    assert "a1" in acpctl("get", "agents")
    started = acpctl("agent", "start", "a1", "--project-id", "p1", "--prompt", "hello")
    session = started.split("/")[1].split()[0]
    assert session in acpctl("get", "sessions")
    acpctl("describe", "session", session)
    acpctl("session", "send", session, "a message")
    assert "a message" in acpctl("session", "messages", session)
    acpctl("stop", session)
    assert "platform:admin" in acpctl("get", "roles")
    acpctl("project", "p1")
    acpctl("apply", "-f", str(tmp_path / "m.yaml"))
    assert "unchanged" in acpctl("apply", "-f", str(tmp_path / "m.yaml"))
    assert "c2" in acpctl("credential", "list")
    acpctl("create", "role-binding", "--help")
    acpctl("delete", "project", "p2", "-y")
    acpctl("get", "project", "p2", ok=False)
    acpctl("logout")
