/*
 * A token of its own for every session: minted by the API server when the session is started, good for that
 * run only, and renewed well before it expires, and every four minutes at least, for as long as the session
 * lives: each by its own deadline, and not all at once. Knows nothing of where runners run. With a server
 * that has no such tokens (the reference's) they are replaced by the platform's own, unless forbidden. Loop
 * thread only. Contract: control-plane.md 13.5 (90), 15 (96).
 */
#pragma once

#include "api.h"
#include "base/clock.h"
#include "base/secret.h"
#include "client/client.h"

typedef enum TokenMode {
    TOKENS_AUTO, /* the platform's own where the server has no session tokens */
    TOKENS_ON,   /* session tokens or none */
    TOKENS_OFF,  /* the platform's own */
    _TOKENS_MAX
} TokenMode;
int token_mode_parse(Str s, TokenMode *ret); /* auto, on, off; 0 or -1 */

typedef struct SessionTokens SessionTokens;
typedef struct SessionTokensOptions {
    Api *api;         /* borrowed, as all below */
    TokenSource *own; /* the platform's token */
    TokenMode mode;
    double (*random)(void *arg); /* [0,1): spreads renewals; NULL = none */
    /* A session that is kept has another token now; borrowed for the call. */
    void (*on_token)(void *arg, Str session_id, const Secret *token);
    void *arg;
} SessionTokensOptions;
SessionTokens *session_tokens_new(Loop *l, const SessionTokensOptions *o);
SessionTokens *session_tokens_free(SessionTokens *t); /* NULL-safe, returns NULL */

/* A fresh token for a start of this session, and from then on the session is kept. The token is borrowed for
   the call. One at a time per session. */
typedef void (*SessionTokenDone)(void *arg, const Secret *token, const Err *err);
void session_tokens_mint(SessionTokens *t, Str session_id, SessionTokenDone done, void *arg);
void session_tokens_cancel(SessionTokens *t, Str session_id); /* no done after */

/* A runner of this session lives: its token is renewed. At once, when none is known (after a restart). */
void session_tokens_keep(SessionTokens *t, Str session_id);
void session_tokens_forget(SessionTokens *t, Str session_id);
/* The token of a session that is kept, or NULL while there is no good one. ret_expires {0}: not known. */
const Secret *session_tokens_get(SessionTokens *t, Str session_id, WallUsec *ret_expires);
/* When a token that is good for `left` is renewed; random in [0,1). */
Usec session_token_renew_after(Usec left, double random);
size_t session_tokens_count(const SessionTokens *t);
typedef struct SessionTokensStats {
    size_t kept;
    uint64_t minted, failed;
} SessionTokensStats;
void session_tokens_stats(const SessionTokens *t, SessionTokensStats *ret);
