/*
 * The keys of the token endpoint as one Secret holds them: the newest as private.pem and public.pem, where
 * every version looks, those before it as private-<n>.pem, for pods that know their public half. A key is
 * called by a hash of that half. Pure: Secrets come in, patches go out. Contract: control-plane.md 13.2, 13.5
 * (91).
 */
#pragma once

#include "base/clock.h"
#include "base/vec.h"
#include "crypto/crypto.h"
#include "json/json.h"

#define TOKEN_RING_SECRET "ambient-cp-token-keypair"
#define TOKEN_RING_MAX 16 /* keys that are read */
/* Set by hand, with any value: the next key is made. */
#define TOKEN_RING_ROTATE "ambient-code.io/rotate-token-key"

typedef struct TokenRingKey {
    char id[17];    /* "" never is one */
    unsigned place; /* n of private-<n>.pem; 0 = the newest */
    RsaKey *key;
    bool unsaved; /* not in the Secret yet, or not any more */
    Usec since;   /* for whoever keeps the ring: when it was first seen not to be the newest; 0 = it is */
} TokenRingKey;

typedef struct TokenRing {
    VEC_OF(TokenRingKey)
    keys; /* newest first */
} TokenRing;

void token_ring_done(TokenRing *r);
/* ERR_INVALID, ret untouched, when the newest pair is not usable; older keys that are not are left out. */
int token_ring_read(const json_t *secret, TokenRing *ret, Err *err);
TokenRingKey *token_ring_find(const TokenRing *r, const char *id); /* NULL = none */
const TokenRingKey *token_ring_newest(const TokenRing *r);         /* NULL = the ring is empty */
int token_ring_open(const TokenRing *r, Str sealed, Buf *plain);   /* 0, or -1: for none of the keys */
int token_ring_public(const TokenRing *r, Buf *out, Err *err);     /* the newest's, as PEM */

/* `data` for a Secret, base64, to be erased with token_ring_erase(): all keys of the ring, and before them
   `next` when it is not NULL. Older keys keep their places, the one that was the newest gets the next. */
int token_ring_data(const TokenRing *r, const RsaKey *next, json_t **ret, Err *err);
void token_ring_erase(json_t *data);
