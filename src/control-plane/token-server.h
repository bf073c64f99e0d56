/*
 * The token endpoint that runners of the reference know: `GET /token` with `Authorization: Bearer B64`, where
 * B64 is the session's id, RSA-OAEP-sealed for our key. Answers the session's own token. Only for sessions
 * whose runner lives here, on the loopback interface, at most TOKEN_RATE times a minute each. Contract:
 * control-plane.md section 13.
 */
#pragma once

#include "client/client.h"
#include "crypto/crypto.h"
#include "http/server.h"

#define TOKEN_RATE 30

typedef struct TokenServer TokenServer;
typedef struct TokenServerOptions {
    const char *address;
    const RsaKey *key; /* borrowed, as all below */
    /* Does a runner of this session live here? */
    bool (*may)(void *arg, Str session_id);
    /* Its token, or NULL: not now. *ret_expires {0}: not known. */
    const Secret *(*token)(void *arg, Str session_id, WallUsec *ret_expires);
    void *arg;
} TokenServerOptions;

int token_server_new(Loop *l, const TokenServerOptions *o, TokenServer **ret, Err *err);
TokenServer *token_server_free(TokenServer *s); /* NULL-safe, returns NULL */
int token_server_port(const TokenServer *s);
/* Reads the key from dir/private.pem, or makes one there: seconds of work, once. */
int token_key_load(const char *dir, RsaKey **ret, Err *err);
