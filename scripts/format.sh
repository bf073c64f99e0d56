#!/bin/sh
# Formats the C sources, or with --check names the files that differ. Output differs between major versions of
# clang-format, so only version 14 counts; exit status 77 tells meson that the check was skipped.
set -eu
cd "$(dirname "$0")/.."
formatter=$(command -v clang-format-14 || true)
if [ -z "$formatter" ]; then
    echo "format: skipped, clang-format-14 is not installed (apt-get install clang-format-14)"
    exit 77
fi
if [ "${1:-}" != --check ]; then
    find src -name '*.[ch]' -print0 | xargs -0 "$formatter" -i
    exit 0
fi
if ! complaints=$(find src -name '*.[ch]' -print0 | sort -z | xargs -0 "$formatter" --dry-run -Werror 2>&1); then
    echo "$complaints" | sed -n 's/^\(src[^:]*\):.*/\1: not formatted: make format/p' | uniq -c | sed 's/^ *[0-9]* //'
    exit 1
fi
