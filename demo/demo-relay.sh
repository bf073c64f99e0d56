#!/bin/bash
# Two agents that talk: what one answers is what the other is asked, for some rounds. One writes, one criticises.
#
#   DEMO_ROUNDS=3 DEMO_TOPIC="a haiku about C" demo/demo-relay.sh
. "$(dirname "$0")/lib.sh"

suffix=${DEMO_SUFFIX:-$(date +%s)}
project=demo-relay-$suffix rounds=${DEMO_ROUNDS:-2} topic=${DEMO_TOPIC:-a limerick about a slow build}

step "project and two agents"
acpctl create project --name "$project" --description "two agents that talk"
undo acpctl delete project "$project" -y
acpctl project "$project"
acpctl project current
runner=()
[ -z "$DEMO_RUNNER" ] || runner=(--env "RUNNER_TYPE=$DEMO_RUNNER")

# The shell runner takes a message for a command: there the writer counts and the critic measures.
ask_writer() {
    [ "$DEMO_RUNNER" = shell ] && printf 'echo "draft: %s"' "$1" || printf 'Write or improve: %s' "$1"
}
ask_critic() {
    [ "$DEMO_RUNNER" = shell ] && printf 'printf %%s %q | wc -c' "$1" || printf 'Criticise in one sentence: %s' "$1"
}

writer=$(acpctl create session --name writer --interactive "${runner[@]}" -o 'jsonpath={.id}')
critic=$(acpctl create session --name critic --interactive "${runner[@]}" -o 'jsonpath={.id}')
undo acpctl delete session "$writer" -y
undo acpctl delete session "$critic" -y
acpctl wait session "$writer" "$critic" --for=phase=Running --timeout 2m
acpctl get sessions

text=$topic
for ((round = 1; round <= rounds; round++)); do
    step "round $round: the writer"
    acpctl session send "$writer" "$(ask_writer "$text")" -f
    text=$(answer "$writer")
    step "round $round: the critic"
    acpctl session send "$critic" "$(ask_critic "$text")" -f
    text=$(answer "$critic")
done

step "what both have said"
acpctl session messages "$writer"
acpctl session messages "$critic"
acpctl stop "$writer"
acpctl stop "$critic"
acpctl get sessions
