#!/bin/sh
# Installs a real OpenID provider (npm oidc-provider), in the pinned version, for the login tests. Prints the folder of
# its modules, or why there is none (exit 1). Nothing is installed twice.
set -eu
version=9.5.1
dir=${AMBIENT_NPM_DIR:-$(cd "$(dirname "$0")/.." && pwd)/build-npm}/oidc
modules=$dir/node_modules

if grep -qs "\"version\": \"$version\"" "$modules/oidc-provider/package.json"; then
    echo "$modules"
    exit 0
fi
command -v npm >/dev/null || { echo "npm is not installed"; exit 1; }
mkdir -p "$dir"
if ! timeout 120 npm install --no-audit --no-fund --loglevel=error --prefix "$dir" "oidc-provider@$version" \
    >"$dir/npm.log" 2>&1; then
    echo "npm cannot install oidc-provider@$version: $(tail -1 "$dir/npm.log")"
    exit 1
fi
echo "$modules"
