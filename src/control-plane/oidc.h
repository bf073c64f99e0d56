/*
 * Gets our own token from an identity provider (client credentials grant, RFC 6749 section 4.4) and keeps it
 * fresh: asked again at half of its life, with jitter; a failure leaves the old token in use until it ends by
 * itself and is retried after 1 s, doubling to 30 s. One request at a time, never blocking.
 *
 * Who we are is said in the header Authorization, as the RFC wants it; a provider that refuses that is asked
 * with both values in the body, and what worked is kept to.
 */
#pragma once

#include "client/client.h"
#include "http/client.h"
#include "json/json.h"
#include "loop/loop.h"

typedef struct Oidc Oidc;
typedef struct OidcOptions {
    HttpClient *http; /* borrowed, as all below */
    const char *url, *client_id;
    const Secret *client_secret;
    TokenSource *target;         /* a static source; gets each new token */
    void (*on_token)(void *arg); /* may be NULL */
    void *arg;
} OidcOptions;

Oidc *oidc_new(Loop *l, const OidcOptions *o); /* asks at once */
/* How long the token of an answer may be used: `expires_in`, else what a JWT says of itself, else a minute.
 */
Usec oidc_life(const json_t *answer, WallUsec now);
Oidc *oidc_free(Oidc *c); /* NULL-safe, returns NULL */
