#!/bin/sh
# Runs every fuzz target for some seconds on its corpus and what it finds: fuzz.sh [SECONDS [NAME...]]
# New inputs stay in build-fuzz/corpus/<name>/; one that breaks something is left in build-fuzz/found/.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ -e build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzz=true -Dtests=false
ninja -C build-fuzz
mkdir -p build-fuzz/found
status=0
for target in $(find build-fuzz/src -type f -name 'fuzz-*' -perm -u+x | sort); do
    name=${target##*/fuzz-}
    [ $# -eq 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
    mkdir -p "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name"
    echo "== $name"
    "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="build-fuzz/found/$name-" "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name" || status=1
done
exit $status
