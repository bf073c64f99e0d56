"""Images for the tests, made of files of this machine: nothing is pulled."""
import hashlib
import io
import json
import pathlib
import platform
import subprocess
import tarfile

from api_support import BUILD, ROOT

APPLETS = ("sh", "cat", "head", "httpd", "id", "ip", "mkdir", "sleep", "tail", "touch", "wget")
LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def pack(files):
    """A tar of {name: bytes, or the target of a symbolic link}."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def shell(node):
    """A layer with a shell and a few tools."""
    busybox = (node / "bin/busybox").read_bytes()
    return pack({"bin/busybox": busybox, **{f"bin/{name}": "busybox" for name in APPLETS}})


def rootfs(path, *programs):
    """What deploy/image makes images of, of the named programs or all: those that ship, not the sanitized ones."""
    shipped = ROOT / "build"
    build = shipped if (shipped / "bin/ambient-runner").exists() else BUILD
    subprocess.run([ROOT / "deploy/image/rootfs.sh", build, path, *programs], check=True, capture_output=True)
    return pathlib.Path(path).read_bytes()


def config_of(containerfile):
    """What a Containerfile of ours says beside files."""
    config = {}
    for line in (ROOT / "deploy/image" / containerfile).read_text().splitlines():
        word, _, rest = line.partition(" ")
        if word in ("ENTRYPOINT", "CMD"):
            config[word.capitalize()] = json.loads(rest)
        elif word == "ENV":
            config["Env"] = rest.split()
        elif word in ("USER", "WORKDIR"):
            config[{"USER": "User", "WORKDIR": "WorkingDir"}[word]] = rest
    return config


def make(name, layers, **config):
    """An OCI archive."""
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}

    def blob(kind, content):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = hashlib.sha256(content).hexdigest()
        files[f"blobs/sha256/{digest}"] = content
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(content)}

    packed = [blob(LAYER, layer) for layer in layers]
    described = blob(CONFIG, {"architecture": ARCHITECTURES[platform.machine()], "os": "linux", "config": config,
                              "rootfs": {"type": "layers", "diff_ids": [p["digest"] for p in packed]}})
    manifest = blob(MANIFEST, {"schemaVersion": 2, "mediaType": MANIFEST, "config": described, "layers": packed})
    manifest["annotations"] = {"io.containerd.image.name": name}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode()
    return pack(files)
