"""Conformance: the API server as independent clients see it. Each client is brought by scripts/test-conformance.sh and
tested where it can be had; otherwise the test is skipped with the reason."""
import subprocess

import pytest

from conformance_support import ROOT, TOKEN, api_support


@pytest.fixture(scope="session", name="bring")
def make_bring():
    def bring(part):
        out = subprocess.run([ROOT / "scripts/test-conformance.sh", part], capture_output=True, text=True, timeout=900,
                             check=False)
        if out.returncode:
            pytest.skip(f"{part}: {out.stdout.strip() or out.stderr.strip()}")
        return out.stdout.strip()
    return bring


@pytest.fixture(scope="module", name="server")
def make_server(tmp_path_factory):
    """Tokens are asked for; TOKEN may do all."""
    directory = tmp_path_factory.mktemp("conformance")
    (directory / "admin").write_text(TOKEN + "\n")
    (directory / "admin").chmod(0o600)
    with api_support.running(directory, [f"--admin-token-file={directory / 'admin'}"],
                             {"AMBIENT_ENV": "production"}) as running:
        yield running
