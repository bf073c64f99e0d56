/*
 * Who is calling. One Authenticator serves REST and gRPC: static tokens (admin, service) compared in constant
 * time, JWTs verified against a JWK set from a file or URL with background refresh. Deny by default.
 * Contract: rest-governance-and-auth.md section 7, grpc.md section 3. RFC 7515, 7517, 7519.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "loop/loop.h"

typedef enum CallerType {
    CALLER_NONE, /* authentication failed or was not tried; may do nothing */
    CALLER_USER,
    CALLER_SESSION, /* the runner of a session, with that session's token: only what is the session's own */
    CALLER_SERVICE, /* the platform itself: AMBIENT_API_TOKEN, GRPC_SERVICE_ACCOUNT */
    CALLER_ADMIN,   /* everything: static admin token, authorization switched off, development mode */
} CallerType;

/* Immutable and reference counted, loop thread only. */
typedef struct Caller {
    CallerType type;
    const char *username; /* "" for service callers with a static token */
    const char *name, *email;
    const char *actor; /* for logs and messages: "user:alice", "session:<id>", "service", "admin" */
    const char *session_id, *run_id; /* CALLER_SESSION; else "" */
    /* Who it is for the issuer of its token; the username may change. "" = the token does not say. */
    const char *issuer, *subject;
    bool authz_off; /* an administrator only because nothing is checked: --enable-authz=false */
} Caller;
#define AUTH_ISSUER_OWN "ambient:own" /* of callers that no issuer knows: no token can say it */
typedef struct CallerInfo {
    CallerType type;
    Str username, name, email, issuer, subject;
    Str session_id, run_id; /* CALLER_SESSION */
    bool authz_off;
} CallerInfo;
Caller *caller_make(const CallerInfo *i);
Caller *caller_new(CallerType type, Str username, Str name, Str email);
Caller *caller_ref(const Caller *c);
Caller *caller_unref(Caller *c); /* NULL-safe, returns NULL */
DEFINE_CLEANUP(Caller, caller_unref)

typedef struct AuthOptions {
    bool enable_jwt;      /* off and no static token configured: every caller is the user dev_username;
                             off and one configured: a token must come and match */
    bool enable_authz;    /* off: every authenticated caller is CALLER_ADMIN (service stays service) */
    const char *jwk_file; /* all sources count, and may change while running */
    const char *jwk_urls, *more_jwk_urls; /* comma lists */
    const char *issuer, *audience;        /* comma lists of what is accepted; NULL or "*" = any */
    const char *service_account;     /* GRPC_SERVICE_ACCOUNT: the client id of the platform at the issuer */
    const Secret *service_token;     /* AMBIENT_API_TOKEN; NULL or empty matches nobody; borrowed */
    const Secret *service_token_old; /* while it is replaced */
    const Secret *admin_token;       /* static admin token (ambient up); likewise */
    const char *dev_username;        /* of the admin token too; NULL = "dev-user" */
    const Clock *clock;
} AuthOptions;

/* SESSION_KEY_LEN bytes: from then on tokens of sessions are accepted (auth/session-token.h). Copied. */
typedef struct Authenticator Authenticator;
void auth_set_session_key(Authenticator *a, const Secret *key);
/* Fails when JWT is on and there is no key source and no static token, or when the file is the only source
   and holds no key. Keys of a URL are fetched in the background; whoever comes before they are there waits
   for them. */
int auth_new(Loop *l, const AuthOptions *o, Authenticator **ret, Err *err);
Authenticator *auth_free(Authenticator *a);
bool auth_is_open(const Authenticator *a); /* no token is asked for: every caller is dev_username */

/* authorization: the header's value ("Bearer x", scheme case-insensitive, or the bare token) or STR_NULL.
   1: *ret_now is the caller (the reference is yours), done is not called.
   0: the token's key must be fetched first; `done` comes later, exactly once, unless cancelled.
   Negative: refused at once. ERR_UNAUTHENTICATED "missing authorization token", "invalid token: <cause>",
   "token missing username claim"; ERR_UNAVAILABLE when keys cannot be fetched: not the token's fault. */
#define AUTH_TOKEN_MAX ((size_t)16 << 10)
typedef void (*AuthDone)(void *arg, Caller *caller,
                         const Err *err); /* caller NULL on error; reference is the callee's */
typedef struct AuthWait AuthWait;
int auth_check(Authenticator *a, Str authorization, AuthDone done, void *arg, Caller **ret_now,
               AuthWait **ret_wait, Err *err);
void auth_cancel(AuthWait *w); /* no done after; NULL-safe */
