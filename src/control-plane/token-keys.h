/*
 * The keys of the token endpoint, kept in a Secret of our own namespace that all replicas read: at the start,
 * every minute, and when somebody uses a key that is not known. Whoever comes first makes the first key. The
 * leader makes another one when it is asked to (TOKEN_RING_ROTATE), puts back what pods still use, and takes
 * away what none uses any more. Contract: control-plane.md 13.2, 13.5 (91).
 */
#pragma once

#include "kube/kube.h"
#include "token-ring.h"

typedef struct TokenKeys TokenKeys;
typedef struct TokenKeysOptions {
    Kube *kube; /* borrowed, as all below */
    const char *ns;
    Usec keep; /* a key that was replaced: a pod that was told of it may not have been seen yet */
    /* The first key, and each one that replaces it; for pods that are made from now on. Both texts are
       borrowed until the next call. */
    void (*newest)(void *arg, const char *public_pem, const char *key_id);
    bool (*leads)(void *arg); /* this replica writes */
    /* Some pod may still use it. */
    bool (*is_used)(void *arg, const char *key_id);
    void *arg;
} TokenKeysOptions;

TokenKeys *token_keys_new(const TokenKeysOptions *o); /* tries until it has keys */
TokenKeys *token_keys_free(TokenKeys *t);             /* NULL-safe, returns NULL */
int token_keys_open(TokenKeys *t, Str sealed, Buf *plain);
