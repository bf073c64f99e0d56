#!/bin/sh
# Builds the load generator and prints the table of figures. Rows may be named: bench/run.sh push-50 rest-get
set -eu
cd "$(dirname "$0")/.."
ninja -C build bench/bench-load >/dev/null
exec bench/bench.py --bin build/bin --load build/bench/bench-load "$@"
