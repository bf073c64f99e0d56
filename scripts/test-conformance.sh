#!/bin/bash
# Brings one independent client for tests/conformance, in a pinned version, and prints where it is; or prints why there
# is none (exit 1). test-conformance.sh h2spec|go|js|schemathesis. Nothing is brought twice.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
dir=${AMBIENT_CONFORMANCE_DIR:-$root/build-conformance}
mkdir -p "$dir"

fail() { echo "$*"; exit 1; }
need() { command -v "$1" >/dev/null || fail "$1 is not installed"; }
# attempt WHAT COMMAND...: with a time limit, its output kept; the last line says why it failed
attempt() {
    local what=$1
    shift
    timeout 300 "$@" >"$dir/log" 2>&1 || fail "$what: $(tail -1 "$dir/log")"
}

case ${1:-} in
    h2spec)
        program=$dir/bin/h2spec
        if [ ! -x "$program" ]; then
            need go
            attempt "h2spec cannot be built" env GOBIN="$dir/bin" go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
        fi
        ;;
    go)
        program=$dir/bin/grpc-client
        source=$root/tests/conformance/go
        if [ ! -x "$program" ] || [ "$source/main.go" -nt "$program" ]; then
            need go
            attempt "the Go client cannot be built" env -C "$source" GOFLAGS=-mod=readonly go build -o "$program" .
        fi
        ;;
    js)
        program=$dir/js/node_modules
        if [ ! -d "$program/@grpc/grpc-js" ]; then
            need node
            need npm
            attempt "npm cannot install grpc-js" npm install --no-audit --no-fund --loglevel=error --ignore-scripts \
                --prefix "$dir/js" @grpc/grpc-js@1.13.4 @grpc/proto-loader@0.7.15
        fi
        ;;
    schemathesis)
        program=$dir/venv/bin/schemathesis
        if [ ! -x "$program" ]; then
            python3 -m venv "$dir/venv" >"$dir/log" 2>&1 || fail "no virtual environment: $(tail -1 "$dir/log")"
            attempt "pip cannot install schemathesis" "$dir/venv/bin/pip" install --quiet \
                --disable-pip-version-check schemathesis==4.32.5
        fi
        ;;
    *) echo "usage: $0 h2spec|go|js|schemathesis" >&2; exit 2 ;;
esac
echo "$program"
