#!/bin/bash
# A fleet of agents from manifests: a base, an overlay for development, one for production; applied, changed, applied
# again without a write, started together.
#
#   demo/demo-fleet.sh
. "$(dirname "$0")/lib.sh"

fleet=$(cd "$(dirname "$0")/fleet" && pwd)

step "what the overlay makes of the base"
acpctl kustomize "$fleet/overlays/dev"

step "apply, for the first time"
undo acpctl delete project fleet-dev -y
acpctl apply -k "$fleet/overlays/dev"

step "apply again: nothing is left to do"
again=$(acpctl apply -k "$fleet/overlays/dev")
echo "$again"
! grep -qv " unchanged" <<<"$again" || die "something was written again"
acpctl diff -k "$fleet/overlays/dev" && echo "no difference"

step "production, from the same base"
undo acpctl delete project fleet-prod -y
acpctl apply -k "$fleet/overlays/prod"
acpctl agent list --project fleet-dev
acpctl agent list --project fleet-prod

step "start all agents of development"
acpctl agent start --all --project fleet-dev --prompt "echo \"on duty in session \$SESSION_ID\""
acpctl wait sessions --all --project fleet-dev --for=phase=Completed --timeout 2m
sessions=$(acpctl get sessions --project fleet-dev -o name)
for session in $sessions; do
    acpctl session messages "${session#session/}"
done
for session in $sessions; do acpctl delete session "${session#session/}" -y; done
