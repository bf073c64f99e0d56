"""Manuals and references are what the programs say, and are installed with them."""
import glob
import os
import re
import shutil
import subprocess

import pytest

from platform_support import BIN, DEADLINE, ROOT

BUILD = os.path.dirname(BIN)


def pages():
    return sorted(glob.glob(f"{BUILD}/src/cli/man1/*.1") + glob.glob(f"{BUILD}/deploy/man/*.[17]"))


def run(*argv, **kw):
    return subprocess.run(argv, capture_output=True, text=True, timeout=DEADLINE, **kw)


def test_the_reference_is_current():
    made = run(f"{BUILD}/src/cli/acpctl-docs", "markdown")
    assert made.returncode == 0
    with open(f"{ROOT}/docs/cli.md") as f:
        assert f.read() == made.stdout, "docs/cli.md is not what the command table says: run scripts/docs.sh"


def top_commands():
    text = run(f"{BIN}/acpctl", "help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    return re.findall(r"^  (\S+)", text, re.M)


def test_every_command_has_a_page():
    names = {os.path.basename(p) for p in pages()}
    assert {f"acpctl-{c}.1" for c in top_commands()} <= names and len(top_commands()) > 10
    assert {"acpctl.1", "ambient.1", "ambient.7", "ambient-api-server.1", "ambient-control-plane.1",
            "ambient-runner.1"} <= names


def test_mandoc_accepts_the_pages():
    if not shutil.which("mandoc"):
        pytest.skip("mandoc is not installed")
    done = run("mandoc", "-Tlint", "-W", "warning", *pages())
    assert done.stdout == done.stderr == "" and done.returncode == 0


def test_man_shows_the_pages():
    if not shutil.which("man"):
        pytest.skip("man is not installed")
    for page in pages():
        name = os.path.basename(page).rsplit(".", 1)[0]
        done = run("man", "-l", page, env={**os.environ, "MANPAGER": "cat", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"})
        assert done.returncode == 0 and f"{name.upper()}(" in done.stdout, page


def test_every_environment_variable_is_documented():
    with open(f"{ROOT}/docs/cli.md") as f:
        text = f.read().replace("\\_", "_")
    used = set()
    for path in glob.glob(f"{ROOT}/src/cli/*.c"):
        if not os.path.basename(path).startswith("test-"):
            with open(path) as f:
                used |= set(re.findall(r'getenv\("([A-Z_]+)"\)|"(AMBIENT_[A-Z_]+)"', f.read()))
    for name in {a or b for a, b in used} - {"AMBIENT_VERSION"}:
        assert name in text, f"{name} is read but not in environment[] of src/cli/docs.c"


def test_install_puts_everything_in_place(tmp_path):
    done = run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    installed = {os.path.relpath(os.path.join(d, f), tmp_path / "usr/local")
                 for d, _, files in os.walk(tmp_path) for f in files}
    programs = {"acpctl", "ambient", "ambient-api-server", "ambient-control-plane", "ambient-runner"}
    assert {f"bin/{p}" for p in programs} <= installed
    assert {f"share/man/man{os.path.basename(p)[-1]}/{os.path.basename(p)}" for p in pages()} <= installed
    assert {"share/bash-completion/completions/acpctl.bash", "share/zsh/site-functions/_acpctl",
            "share/fish/vendor_completions.d/acpctl.fish"} <= installed
    assert run(str(tmp_path / "usr/local/bin/acpctl"), "--version").stdout.startswith("acpctl version ")
