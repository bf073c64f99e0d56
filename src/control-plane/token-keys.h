/*
 * The key pair of the token endpoint as a Secret of our own namespace: all replicas have the same one. Made
 * by whoever comes first. Contract: control-plane.md 13.2.
 */
#pragma once

#include "crypto/crypto.h"
#include "kube/kube.h"

typedef struct TokenKeys TokenKeys;
typedef void (*TokenKeysReady)(void *arg, const RsaKey *key, const char *public_pem); /* once */

/* Tries until it has them. */
TokenKeys *token_keys_new(Kube *k, const char *ns, TokenKeysReady ready, void *arg);
TokenKeys *token_keys_free(TokenKeys *t); /* NULL-safe */
