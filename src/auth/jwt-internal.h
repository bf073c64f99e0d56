/* JSON web tokens in compact form (RFC 7515, 7519). Pure functions; every cause is an ERR_UNAUTHENTICATED. */
#pragma once

#include "auth/auth.h"
#include "base/clock.h"
#include "json/json.h"
#include "jwk-internal.h"

#define TOKEN_MAX AUTH_TOKEN_MAX
#define JWT_LEEWAY_S 60

typedef struct JwtHead {
    char alg[8];
    char *kid; /* owned */
} JwtHead;
void jwt_head_done(JwtHead *h);

/* Shape and header of a token, before anything is verified: enough to look for its key. */
int jwt_head(Str token, JwtHead *ret, Err *err);
/* The claims, once the signature is right. `head` is the token's own. */
int jwt_verify(Str token, const JwtHead *head, const Jwk *key, json_t **ret_claims, Err *err);

typedef struct JwtRules {
    const char *issuer, *audience; /* comma lists of what is accepted; NULL = not checked */
    WallUsec now;
} JwtRules;
int jwt_check_claims(const json_t *claims, const JwtRules *rules, Err *err);
