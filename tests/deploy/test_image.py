"""The tarball that images are made of runs by itself, an image is made of it, and the units are what systemd
understands. Images run in tests/pods."""
import json
import os
import shutil
import subprocess
import tarfile

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Not the sanitised programs, where there are others: a sanitizer wants /proc to look for leaks.
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
                             env={"PATH": os.environ["PATH"], "ASAN_OPTIONS": "detect_leaks=0"})
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


@pytest.fixture(name="image")
def build_image(tmp_path):
    """(configuration, members of the layers) of the image that build.sh makes."""
    if not shutil.which("buildah"):
        pytest.skip("buildah is not installed")
    storage = tmp_path / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n',
                       encoding="utf-8")
    out = subprocess.run([os.path.join(ROOT, "deploy/image/build.sh"), BUILD, "ambient"], cwd=tmp_path, timeout=170,
                         capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
                         env={**os.environ, "CONTAINERS_STORAGE_CONF": str(storage), "BUILDAH_ISOLATION": "chroot"})
    if out.returncode and "Operation not permitted" in out.stderr:
        pytest.skip("no namespaces to build an image in: " + out.stderr.strip().splitlines()[-1])
    assert out.returncode == 0, out.stderr
    with tarfile.open(tmp_path / "ambient.tar") as archive:
        def blob(described):
            return archive.extractfile("blobs/" + described["digest"].replace(":", "/"))

        manifest = json.load(blob(json.load(archive.extractfile("index.json"))["manifests"][0]))
        members = []
        for layer in manifest["layers"]:
            with tarfile.open(fileobj=blob(layer)) as content:
                members += content.getmembers()
        yield json.load(blob(manifest["config"]))["config"], members
    shutil.rmtree(tmp_path / "graph", ignore_errors=True)


def test_an_image_is_small_and_nobodys(image):
    """What a cluster is told: an ordinary user by number, which runAsNonRoot can check, and nothing to write to."""
    config, members = image
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["/usr/bin/ambient-api-server"] and config["WorkingDir"] == "/var/lib/ambient"
    assert sum(m.size for m in members) < 60e6
    assert not [m.name for m in members if m.isfile() and m.mode & 0o6022], "set-id, or anybody may write"
    assert not [m.name for m in members if os.path.basename(m.name) in ("sh", "bash", "dash", "busybox", "apt", "dpkg")]
    open_to_all = {m.name.strip("./") for m in members if m.isdir() and m.mode & 0o022}
    assert open_to_all <= {"tmp"}


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
