#!/bin/sh
# clang-tidy on the files given, or on all of src/: tidy.sh [FILE...]. Needs clang-tidy-14 and a build with clang.
set -eu
cd "$(dirname "$0")/.."
command -v clang-tidy-14 >/dev/null || { echo "tidy: clang-tidy-14 is not installed" >&2; exit 1; }
[ -e build-clang/build.ninja ] || CC=clang meson setup build-clang
[ $# -gt 0 ] || set -- $(find src -name '*.c' ! -name 'test-*' ! -name 'fuzz-*' | sort)
status=0
for file; do # one per process: several at once gave false va_list errors
    clang-tidy-14 --quiet -p build-clang "$file" 2>/dev/null || status=1
done
exit $status
