#!/bin/bash
# Builds the images: build.sh [BUILD] [IMAGE...] -> ambient.tar, ambient-runner.tar (all, or those named), for
# `kind load image-archive`, `podman load` or `ctr image import`; and always ambient-rootfs.tar. Needs buildah or podman
# (Debian packages) for the images. ambient needs nothing else; ambient-runner is made from RUNNER_BASE, by default
# Debian's image, which is pulled. CLAUDE_CODE=version puts that Claude Code CLI into it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=${1:-$here/../../build}
shift || true
images=("$@")
[ ${#images[@]} -gt 0 ] || images=(ambient ambient-runner)
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
for image in "${images[@]}"; do
    case $image in
        ambient)
            cp ambient-rootfs.tar "$context/rootfs.tar"
            make_image "$here/Containerfile" "localhost/$image:latest"
            ;;
        ambient-runner)
            strip --strip-unneeded -o "$context/ambient-runner" "$(readlink -f "$build/bin/ambient-runner")"
            make_image "$here/Containerfile.runner" "localhost/$image:latest" \
                --build-arg "CLAUDE_CODE=${CLAUDE_CODE:-}" ${RUNNER_BASE:+--build-arg "BASE=$RUNNER_BASE"}
            ;;
        *)
            echo "no image is called $image; there are: ambient ambient-runner" >&2
            exit 2
            ;;
    esac
    save_image "localhost/$image:latest" "$image.tar"
done
