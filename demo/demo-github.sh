#!/bin/bash
# An agent that works on a GitHub repository with a credential of yours:
# project, agent, credential from a manifest, bindings, session, its messages until the run is over, clean up.
#
#   DEMO_GITHUB_PAT=... DEMO_REPO=https://github.com/you/repo.git demo/demo-github.sh
#
# The token is read from the environment by acpctl itself: it is never an argument of a command.
. "$(dirname "$0")/lib.sh"

suffix=${DEMO_SUFFIX:-$(date +%s)}
project=demo-github-$suffix agent=contributor credential=github-demo-$suffix
repo=${DEMO_REPO:-https://github.com/octocat/Hello-World.git}
branch=${DEMO_BRANCH:-ambient-demo-$suffix}

# Only the one command that needs the token gets it.
pat=${DEMO_GITHUB_PAT:-}
unset DEMO_GITHUB_PAT
if [ -z "$pat" ]; then
    [ -t 0 ] || die "DEMO_GITHUB_PAT is not set"
    read -rsp "GitHub token (not shown): " pat
    echo
fi

step "who am I"
acpctl whoami
user=$(acpctl whoami | awk '/^User:/ { print $2 }')

step "project"
acpctl create project --name "$project" --description "GitHub demo"
undo acpctl delete project "$project" -y
acpctl project "$project"

step "agent"
runner=()
[ -z "$DEMO_RUNNER" ] || runner=(--env "RUNNER_TYPE=$DEMO_RUNNER")
agent_id=$(acpctl agent create --project-id "$project" --name "$agent" "${runner[@]}" \
    --prompt "${DEMO_AGENT_PROMPT:-}" -o 'jsonpath={.id}')
echo "agent/$agent is $agent_id"

step "credential, from a manifest"
manifest=$(mktemp)
undo rm -f "$manifest"
cat >"$manifest" <<YAML
kind: Credential
name: $credential
provider: github
token: \$DEMO_GITHUB_PAT
url: ${repo%/*/*}
description: made by the GitHub demo
YAML
DEMO_GITHUB_PAT=$pat "$ACPCTL" apply -f "$manifest"
pat=
undo acpctl credential delete "$credential" --confirm
acpctl get credentials
credential_id=$(acpctl credential get "$credential" -o 'jsonpath={.id}')
[ -n "$credential_id" ] || die "the credential is not there"

step "bindings"
role_id=$(acpctl get role credential:token-reader -o 'jsonpath={.id}')
[ -n "$role_id" ] || die "there is no role credential:token-reader"
# Lets the user read the token back; only a platform administrator may grant it.
if binding=$(acpctl create role-binding --user-id "$user" --role-id "$role_id" --scope credential \
    --scope-id "$credential_id" -o 'jsonpath={.id}'); then
    undo acpctl delete role-binding "$binding" -y
else
    echo "warning: $user may not grant credential:token-reader; going on" >&2
fi
# Lets the agent's sessions have it, and nobody else's.
acpctl credential bind "$credential" --project "$project" --agent "$agent"
undo acpctl credential unbind "$credential" --project "$project" --agent "$agent"
acpctl get role-bindings

step "session"
work="git clone -q $repo work && cd work && echo \"Hello from session \$SESSION_ID\" >>HELLO.md && git add HELLO.md &&"
work+=" git commit -qm 'Say hello' && git push -q origin HEAD:refs/heads/$branch && git log --oneline -1"
if [ "$DEMO_RUNNER" = shell ]; then
    task=$work
else
    task=${DEMO_TASK:-Clone $repo, add a line that says hello to the file HELLO.md, and push it to the branch $branch.}
fi
session=$(acpctl agent start "$agent" --project-id "$project" --prompt "$task" -o 'jsonpath={.id}')
[ -n "$session" ] || die "the agent was not started"
undo acpctl delete session "$session" -y
acpctl wait session "$session" --for=condition=RunnerStarted --timeout 2m

step "messages, until the run is over"
follow=0
timeout 300 "$ACPCTL" session messages "$session" -f --after 0 | tee "$manifest.log" || follow=$?
undo rm -f "$manifest.log"
grep -q "RUN_FINISHED\|RUN_ERROR" "$manifest.log" || die "the run has no end (status $follow)"

step "what is kept"
acpctl session messages "$session"
acpctl describe session "$session"
! grep -q "RUN_ERROR" "$manifest.log" || die "the run failed"
echo
echo "done: branch $branch of $repo"
