/*
 * The token endpoint that runners of the reference know: `GET /token` with `Authorization: Bearer B64`, where
 * B64 is the session's id, RSA-OAEP-sealed for one of our keys. Answers the session's own token, to callers
 * that whoever runs runners vouches for, at most TOKEN_RATE times a minute per session. Some have to show a
 * second token, as X-Ambient-SA-Token. Contract: control-plane.md section 13.
 */
#pragma once

#include "client/client.h"
#include "crypto/crypto.h"
#include "http/server.h"

#define TOKEN_RATE 30

typedef enum TokenVerdict {
    TOKEN_MAY,
    TOKEN_REVIEW, /* if who is asked next says so, too */
    TOKEN_UNPROVEN,
    TOKEN_FORBIDDEN,
    TOKEN_LATER, /* it cannot be said yet */
} TokenVerdict;

typedef struct TokenReview TokenReview; /* token-review.h */
typedef void (*TokenReviewDone)(void *arg, TokenVerdict v);

typedef struct TokenServer TokenServer;
typedef struct TokenServerOptions {
    const char *address;
    TlsContext *tls; /* borrowed, as all below; NULL = plain HTTP */
    /* What was sealed for one of our keys: 0, or -1. */
    int (*open)(void *arg, Str sealed, Buf *plain);
    /* Does a runner of this session live here, and is it this caller? */
    TokenVerdict (*may)(void *arg, Str session_id, const char *peer);
    /* After TOKEN_REVIEW: what was shown as second token. `done` comes later, unless the review is cancelled.
     */
    TokenReview *(*review)(void *arg, Str session_id, Str proof, TokenReviewDone done, void *done_arg);
    /* Its token, or NULL: not now. *ret_expires {0}: not known. */
    const Secret *(*token)(void *arg, Str session_id, WallUsec *ret_expires);
    void *arg;
} TokenServerOptions;

int token_server_new(Loop *l, const TokenServerOptions *o, TokenServer **ret, Err *err);
TokenServer *token_server_free(TokenServer *s); /* NULL-safe, returns NULL */
int token_server_port(const TokenServer *s);
typedef struct TokenServerStats {
    uint64_t issued, unauthorized, forbidden, limited, unavailable, other;
} TokenServerStats;
const TokenServerStats *token_server_stats(const TokenServer *s);
/* Reads the key from dir/private.pem, or makes one there: seconds of work, once. */
int token_key_load(const char *dir, RsaKey **ret, Err *err);
