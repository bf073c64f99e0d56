/*
 * A token's claims, read without verifying its signature: of the own access token, to tell the user about it
 * (the server verifies), and of an ID token that came straight from the token endpoint, where TLS vouches for
 * the issuer (OpenID Connect Core 3.1.3.7, point 6).
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"

typedef struct Jwt {
    char *username; /* the server's notion: username, preferred_username, else sub */
    char *subject, *email;
    WallUsec exp, iat; /* 0 = none */
} Jwt;
int jwt_read(Str token, Jwt *ret); /* 0, or -1 when it is no JWT */
void jwt_done(Jwt *j);

typedef struct IdTokenRules {
    const char *issuer, *client_id;
    const char *nonce; /* NULL = none was sent */
    WallUsec now;
} IdTokenRules;
/* What a client must check of an ID token but the signature: iss, aud, azp, exp, iat, nonce. */
int id_token_check(Str token, const IdTokenRules *rules, Err *err);
