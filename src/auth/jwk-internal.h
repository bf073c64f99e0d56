/* A JWK set (RFC 7517): the keys in it that can verify what we accept. Immutable once parsed. */
#pragma once

#include <cjose/cjose.h>
#include <stdbool.h>
#include "base/err.h"
#include "base/str.h"
#include "crypto/crypto.h"

#define JWK_SET_BYTES_MAX ((size_t)1 << 20)
#define KID_MAX ((size_t)256)

/* Unpadded base64url and nothing else. cjose's decoder aborts the process on some malformed input, so
   whatever comes from outside is checked before it sees it. */
bool is_base64url(Str s);

typedef enum JwkType { JWK_RSA, JWK_P256, JWK_ED25519 } JwkType;

typedef struct Jwk {
    JwkType type;
    char *kid, *alg;  /* alg NULL = any that fits the type */
    cjose_jwk_t *key; /* NULL for Ed25519, which cjose does not know */
    uint8_t ed25519[ED25519_KEY_LEN];
} Jwk;

typedef struct JwkSet JwkSet;
/* ERR_MALFORMED when it is no set or holds no key for us. Keys of other kinds are left out. */
int jwk_set_parse(Str json, JwkSet **ret, Err *err);
JwkSet *jwk_set_free(JwkSet *s);
DEFINE_CLEANUP(JwkSet, jwk_set_free)
const Jwk *jwk_set_find(const JwkSet *s, Str kid); /* NULL when absent; s may be NULL */
size_t jwk_set_len(const JwkSet *s);
