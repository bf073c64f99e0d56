#!/bin/bash
# make run: start the platform on this machine and watch one session until it is Completed. May be run again.
set -euo pipefail
bin=$(cd "$(dirname "$0")/.." && pwd)/build/bin
acpctl() { "$bin/acpctl" "$@"; }

"$bin/ambient" up ${AMBIENT_UP_FLAGS:-}
echo

if ! acpctl get project demo >/dev/null 2>&1; then
    acpctl create project --name demo --description "made by make run"
fi
acpctl project set demo
if ! acpctl agent get hello >/dev/null 2>&1; then
    acpctl agent create --name hello --env RUNNER_TYPE=shell \
        --prompt 'echo "Hello from session $SESSION_ID"; uname -sr; echo "I work in $(pwd)"'
fi

session=$(acpctl agent start hello -o json | sed -n 's/^  "id": "\(.*\)",$/\1/p')
echo "session/$session started; its messages:"
echo
acpctl session messages "$session" -f
echo
acpctl get session "$session"

cat <<EOF

How to go on (the programs are in $bin):
  acpctl agent start hello --prompt 'date'    run another command
  acpctl session messages SESSION             read what was said
  acpctl get sessions                         what runs and what ran
  ambient status, ambient logs -f             how the platform does
  ambient down                                stop it all
EOF
