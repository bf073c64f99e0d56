# shellcheck shell=bash
# What the demos share; source it. ACPCTL names the program, NO_CLEANUP=1 leaves everything in place, DEMO_RUNNER is the
# runner type of the agents (claude, shell; empty: what the platform finds).
set -euo pipefail
: "${ACPCTL:=acpctl}" "${DEMO_RUNNER:=}" "${NO_CLEANUP:=}"

step() { printf '\n== %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }
acpctl() { "$ACPCTL" "$@"; }

# answer SESSION: what the agent said last.
answer() {
    acpctl session messages "$1" -o json |
        python3 -c 'import json, sys; print([m["payload"] for m in json.load(sys.stdin) if m["event_type"] == "assistant"][-1])'
}

# What is undone at the end, last first: undo COMMAND...
undos=()
undo() { undos+=("$(printf '%q ' "$@")"); }
cleanup() {
    local status=$? i
    if [ -n "$NO_CLEANUP" ]; then
        printf '\nNO_CLEANUP is set. By hand:\n'
        for ((i = ${#undos[@]} - 1; i >= 0; i--)); do echo "  ${undos[i]}"; done
        exit $status
    fi
    [ ${#undos[@]} -eq 0 ] || step "clean up"
    for ((i = ${#undos[@]} - 1; i >= 0; i--)); do
        eval "${undos[i]}" || status=1
    done
    exit $status
}
trap cleanup EXIT
