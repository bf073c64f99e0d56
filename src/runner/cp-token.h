/*
 * The session's token from the control plane's token endpoint: the session's id, sealed with the endpoint's
 * public key, is exchanged for it at the start and every few minutes. control-plane.md 13.
 */
#pragma once

#include "client/client.h"
#include "loop/loop.h"

typedef struct CpToken CpToken;
typedef struct CpTokenOptions {
    const char *url, *public_key, *session_id; /* PEM; all borrowed */
    const char *proof_file; /* of the pod's own identity, which is shown as well; NULL or "" = none */
    const char *ca_file;    /* of an https endpoint; NULL = the system's */
    TokenSource *target;    /* a static source; gets what was fetched; borrowed */
    LoopFn on_token;        /* each time; may be NULL */
    void *arg;
} CpTokenOptions;

/* Fetches from the next turn of the loop on and never gives up: after a failure again in 1 s, doubling to 30.
   ERR_USAGE for a URL or key that cannot be used. */
int cp_token_new(Loop *l, const CpTokenOptions *o, CpToken **ret, Err *err);
CpToken *cp_token_free(CpToken *t); /* NULL-safe */
