/*
 * Tokens of running sessions: a JWT (HS256, RFC 7519) that the API server signs for one run of one session
 * and that only the API server reads. The header is one fixed text, so that no other algorithm can be asked
 * for. Whether the session still runs is not in the token: the service looks at each use.
 */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"

#define SESSION_KEY_LEN 32
#define SESSION_TOKEN_ID_MAX 64 /* bytes of an id */

typedef struct SessionToken {
    char session_id[SESSION_TOKEN_ID_MAX + 1];
    char run_id[SESSION_TOKEN_ID_MAX + 1]; /* which run of it */
    WallUsec issued, expires;              /* whole seconds in the token */
} SessionToken;

/* key: SESSION_KEY_LEN bytes. Appends the token, which is a secret. */
int session_token_make(const Secret *key, const SessionToken *t, Buf *out, Err *err);
bool session_token_looks_like(Str token);
/* ERR_UNAUTHENTICATED: not ours, changed, or expired; the text says which, never the token. */
int session_token_read(const Secret *key, Str token, WallUsec now, SessionToken *ret, Err *err);
