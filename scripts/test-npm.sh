#!/bin/sh
# Installs the agents' real command lines, in the pinned versions, for the tests that drive them. Prints the folder with
# the programs, or why there is none (exit 1). Nothing is installed twice.
set -eu
claude=2.1.197
dir=${AMBIENT_NPM_DIR:-$(cd "$(dirname "$0")/.." && pwd)/build-npm}
bin=$dir/node_modules/.bin

if [ -x "$bin/claude" ] && "$bin/claude" --version 2>/dev/null | grep -q "^$claude "; then
    echo "$bin"
    exit 0
fi
command -v npm >/dev/null || { echo "npm is not installed"; exit 1; }
mkdir -p "$dir"
if ! timeout 180 npm install --no-audit --no-fund --loglevel=error --prefix "$dir" \
    "@anthropic-ai/claude-code@$claude" >"$dir/npm.log" 2>&1; then
    echo "npm cannot install @anthropic-ai/claude-code@$claude: $(tail -1 "$dir/npm.log")"
    exit 1
fi
"$bin/claude" --version >/dev/null 2>&1 || { echo "claude $claude does not start here"; exit 1; }
echo "$bin"
