# What the demos share; source it. ACPCTL names the program, NO_CLEANUP=1 leaves everything in place, DEMO_RUNNER is the
# runner type of the agents (claude, shell; empty: what the platform finds).
set -euo pipefail
: "${ACPCTL:=acpctl}" "${DEMO_RUNNER:=}" "${NO_CLEANUP:=}"

step() { printf '\n== %s\n' "$*"; }
die() { printf 'demo: %s\n' "$*" >&2; exit 1; }
acpctl() { "$ACPCTL" "$@"; }

# field NAME: the first string member of that name in the JSON on standard input.
field() { sed -n 's/^ *"'"$1"'": "\(.*\)",\{0,1\}$/\1/p' | head -n 1; }

# wait_phase SESSION SECONDS PHASE...: until the session is in one of the phases; any other end is a failure.
wait_phase() {
    local session=$1 end=$((SECONDS + $2)) phase
    shift 2
    while :; do
        phase=$(acpctl get session "$session" -o json | field phase)
        case " $* " in *" $phase "*) echo "session/$session is $phase"; return ;; esac
        case $phase in Completed | Failed | Stopped) die "session/$session is $phase" ;; esac
        [ $SECONDS -lt $end ] || die "session/$session is still ${phase:-without a phase}"
        sleep 0.5
    done
}

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
