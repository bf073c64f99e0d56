#!/bin/bash
# Makes the Secrets that deploy/base names, with random values, where they are missing: secrets.sh [kubectl options].
# Values go to kubectl through its standard input, never on a command line. Run it again at any time: what is there stays.
set -euo pipefail
namespace=${NAMESPACE:-ambient-code}

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
b64() { base64 -w0; }
missing() { ! kubectl "$@" -n "$namespace" get secret "$name" >/dev/null 2>&1; }
# secret NAME KEY=VALUE...: the values come as base64 already
secret() {
    printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\ntype: Opaque\ndata:\n' "$1" "$namespace"
    shift
    printf '  %s\n' "$@"
}

kubectl "$@" get namespace "$namespace" >/dev/null 2>&1 || kubectl "$@" create namespace "$namespace"

name=ambient-control-plane-token
if missing "$@"; then
    secret "$name" "token: $(random | b64)" | kubectl "$@" create -f -
fi
name=ambient-api-server
if missing "$@"; then
    key=$(head -c 32 /dev/urandom | b64)
    secret "$name" "admin-token: $(random | b64)" "keyring: $(printf '{"1":"%s"}' "$key" | b64)" \
        "key-version: $(printf 1 | b64)" | kubectl "$@" create -f -
fi
name=ambient-postgres
if [ "${POSTGRES:-}" = 1 ] && missing "$@"; then
    password=$(random)
    secret "$name" "password: $(printf %s "$password" | b64)" "db.password: $(printf %s "$password" | b64)" \
        "db.host: $(printf ambient-postgres | b64)" "db.port: $(printf 5432 | b64)" \
        "db.name: $(printf ambient | b64)" "db.user: $(printf ambient | b64)" | kubectl "$@" create -f -
fi
