#!/bin/sh
# Runs all tests, or the suites named: test.sh [lint] [plain] [asan] [clang] [tsan] [pytest] [kube] [pods] [fuzz]
# The last line is the sum: "N passed, N failed", with ", N skipped" when some were. Exit status 1 if any failed.
set -eu
cd "$(dirname "$0")/.."
exec /usr/bin/python3 tests/run.py "$@" </dev/null
