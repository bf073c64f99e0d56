#!/bin/sh
# Puts links to the programs of a build directory into its bin/: link-programs.sh BUILD
set -eu
build=$1
mkdir -p "$build/bin"
for program in ambient ambient-api-server ambient-control-plane ambient-runner acpctl ambient-mcp; do
    built=$(find "$build/src" -maxdepth 3 -type f -name "$program" -perm -u+x | head -n 1)
    rm -f "$build/bin/$program"
    [ -z "$built" ] || ln -s "../${built#"$build"/}" "$build/bin/$program"
done
