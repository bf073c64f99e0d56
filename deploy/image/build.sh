#!/bin/bash
# Builds the images: build.sh [BUILD] -> ambient.tar and, where its base image can be had, ambient-runner.tar (both for
# `kind load image-archive`, `podman load` or `ctr image import`), and always ambient-rootfs.tar. Needs buildah or podman
# (Debian packages) for the images. CLAUDE_CODE=version puts that Claude Code CLI into the runner's image.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$here/../../build}
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT

"$here/rootfs.sh" "$build" ambient-rootfs.tar
if command -v buildah >/dev/null; then
    make_image() { buildah build --format oci -f "$1" -t "$2" "${@:3}" "$context"; }
    save_image() { buildah push "$1" "oci-archive:$2:$1"; }
elif command -v podman >/dev/null; then
    make_image() { podman build --format oci -f "$1" -t "$2" "${@:3}" "$context"; }
    save_image() { podman save --format oci-archive -o "$2" "$1"; }
else
    echo "neither buildah nor podman is installed (apt-get install buildah): only the tarball was made" >&2
    exit 0
fi
cp ambient-rootfs.tar "$context/rootfs.tar"
make_image "$here/Containerfile" localhost/ambient:latest
save_image localhost/ambient:latest ambient.tar
strip --strip-unneeded -o "$context/ambient-runner" "$(readlink -f "$build/bin/ambient-runner")"
make_image "$here/Containerfile.runner" localhost/ambient-runner:latest --build-arg "CLAUDE_CODE=${CLAUDE_CODE:-}"
save_image localhost/ambient-runner:latest ambient-runner.tar
