"""The tarball that images are made of runs by itself, and the units are what systemd understands."""
import os
import shutil
import subprocess
import tarfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Not the sanitised programs, where there are others: a sanitizer wants /proc.
BUILD = os.path.join(ROOT, "build")
if not os.path.exists(os.path.join(BUILD, "bin", "ambient-api-server")):
    BUILD = os.environ.get("MESON_BUILD_ROOT", BUILD)


@pytest.fixture(scope="module", name="rootfs")
def make_rootfs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rootfs")
    tarball = str(folder / "rootfs.tar")
    subprocess.run([os.path.join(ROOT, "deploy/image/rootfs.sh"), BUILD, tarball], check=True, timeout=120,
                   capture_output=True)
    root = folder / "root"
    root.mkdir()
    with tarfile.open(tarball) as t:
        t.extractall(root)
    yield tarball, str(root)
    shutil.rmtree(root)


def test_programs_run_with_nothing_else_around(rootfs):
    enter = ["chroot"] if os.geteuid() == 0 else ["unshare", "-r", "chroot"]
    for command in (["/usr/bin/ambient-api-server", "--help"], ["/usr/bin/ambient-control-plane", "--version"],
                    ["/usr/bin/acpctl", "--help"]):
        out = subprocess.run([*enter, rootfs[1], *command], capture_output=True, text=True, timeout=60, check=False,
                             env={"PATH": os.environ["PATH"]})
        if out.returncode and "Operation not permitted" in out.stderr:
            pytest.skip("neither root nor a user namespace to chroot in: " + out.stderr.strip())
        assert out.returncode == 0, out.stderr
        assert out.stdout


def test_nothing_but_what_is_needed(rootfs):
    with tarfile.open(rootfs[0]) as t:
        members = t.getmembers()
    assert not [m.name for m in members if m.isfile() and m.mode & 0o6000], "no set-id program"
    assert not [m.name for m in members if m.uid or m.gid], "owned by root"
    assert {os.path.basename(m.name) for m in members if m.isfile() and "/bin/" in m.name} == {
        "ambient-api-server", "ambient-control-plane", "ambient-runner", "acpctl"}


def test_tarball_is_reproducible(rootfs, tmp_path):
    again = str(tmp_path / "again.tar")
    subprocess.run([os.path.join(ROOT, "deploy/image/rootfs.sh"), BUILD, again], check=True, timeout=120,
                   capture_output=True)
    with open(rootfs[0], "rb") as a, open(again, "rb") as b:
        assert a.read() == b.read()


@pytest.mark.parametrize("unit", ["ambient-api-server.service", "ambient-control-plane.service"])
def test_units_are_understood(unit, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    with open(os.path.join(ROOT, "deploy/systemd", unit), encoding="utf-8") as f:
        text = f.read()
    # Verified as installed: with programs that are there, and without the manual that may not be.
    lines = [line for line in text.replace("/usr/bin/ambient", "/usr/bin/env ambient").splitlines()
             if not line.startswith("Documentation=")]
    path = tmp_path / unit
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = subprocess.run(["systemd-analyze", "verify", "--man=no", str(path)], capture_output=True, text=True,
                         timeout=60, check=False)
    complaints = [line for line in out.stderr.splitlines() if unit in line]
    assert not complaints, complaints
