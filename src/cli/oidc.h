/*
 * An OpenID provider as its client needs it: discovery, with Keycloak's paths as the fallback, and posts to
 * its endpoints. Loop thread only, one call at a time; nothing completes before the starting call returns,
 * except in the waiting forms. RFC 6749, 7636, 8628, 7009, 9207; OpenID Connect Core and Discovery 1.0.
 */
#pragma once

#include "base/secret.h"
#include "json/json.h"
#include "loop/loop.h"

typedef struct OidcOptions {
    const char *issuer; /* https, or http on this machine: secrets travel to it */
    const char *client_id;
    const Secret *client_secret; /* borrowed; NULL = a public client */
    const char *ca_file;         /* NULL = the system's */
} OidcOptions;

typedef struct Oidc Oidc;
int oidc_new(Loop *l, const OidcOptions *o, Oidc **ret, Err *err);
Oidc *oidc_free(Oidc *o); /* cancels what runs; NULL-safe; allowed in its callbacks */
DEFINE_CLEANUP(Oidc, oidc_free)

/* Reads the discovery document. Its issuer must be the one that was asked for. Without one (404): Keycloak's
 * paths. */
typedef void (*OidcDone)(void *arg, const Err *err);
void oidc_discover(Oidc *o, OidcDone done, void *arg);
int oidc_find(Oidc *o, Err *err); /* the same, waited for */

/* After discovery. */
const char *oidc_issuer(const Oidc *o);
const char *oidc_endpoint(const Oidc *o, const char *member); /* "token_endpoint"; NULL = it has none */
bool oidc_lists(const Oidc *o, const char *member, const char *value); /* false also without a document */
bool oidc_says(const Oidc *o, const char *member);                     /* a boolean that is true */
/* What to ask for: `wanted`, else "openid" and, where it is offered, "offline_access"; "" = leave it out. */
char *oidc_scopes(const Oidc *o, const char *wanted);

/* Posts a form, to which the client's identity is added; the form is erased. Refusals are "token endpoint:
   <why>" with ERR_UNAUTHENTICATED, and oidc_error() is their code. body is NULL when the answer was no JSON.
 */
typedef void (*OidcReply)(void *arg, json_t *body, const Err *err);
void oidc_post(Oidc *o, const char *endpoint, Buf *form, OidcReply done, void *arg);
int oidc_ask(Oidc *o, const char *endpoint, Buf *form, json_t **ret, Err *err); /* the same, waited for */
const char *oidc_error(const Oidc *o); /* "authorization_pending"; or "" */

void form_add(Buf *form, const char *name, Str value); /* "name=value", escaped, '&' before it when needed */

typedef struct OidcTokens {
    Secret *access, *refresh, *id; /* refresh and id may be NULL */
    int64_t expires_in;            /* seconds; 0 = not said */
} OidcTokens;
int oidc_tokens_read(const json_t *body, OidcTokens *ret, Err *err); /* "no access_token in token response" */
void oidc_tokens_done(OidcTokens *t);

#define OIDC_RANDOM 44
/* base64url of n random bytes (at most 32), for state, nonce and verifier. */
void oidc_random(char out[static OIDC_RANDOM], size_t n);
