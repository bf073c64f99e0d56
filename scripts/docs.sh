#!/bin/sh
# Makes docs/cli.md again from the command table: docs.sh [BUILD]
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
ninja -C "$build" src/cli/acpctl-docs >/dev/null
"$build/src/cli/acpctl-docs" markdown >docs/cli.md.new
mv docs/cli.md.new docs/cli.md
