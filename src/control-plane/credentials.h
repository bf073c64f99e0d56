/*
 * Which credentials a session gets, and the grants that let its runner read their tokens. Knows nothing of
 * where runners run.
 *
 * A binding of a credential reaches a session through its agent, its project, or globally; for each provider
 * the nearest wins, and among equals the one that was made first. Bindings that say who owns a credential, or
 * that let some session read its token, inject nothing. Contract: control-plane.md 10.
 */
#pragma once

#include "api.h"
#include "base/buf.h"
#include "base/clock.h"
#include "client/client.h"

typedef enum GrantMode {
    GRANTS_AUTO, /* a credential whose grant is refused is not injected */
    GRANTS_ON,   /* the same */
    GRANTS_OFF,  /* none are made: runners read tokens with rights of their own */
    _GRANTS_MAX
} GrantMode;
int grant_mode_parse(Str s, GrantMode *ret); /* auto, on, off; 0 or -1 */

typedef struct Credentials Credentials;
typedef struct CredentialsOptions {
    Api *api; /* borrowed */
    GrantMode mode;
    const char *grantee; /* username that the grants name; NULL or "" = none, the session is enough */
    TokenSource *own;    /* borrowed: a name in its token counts before `grantee`; may be NULL */
} CredentialsOptions;
Credentials *credentials_new(const CredentialsOptions *o);
Credentials *credentials_free(Credentials *c); /* NULL-safe, returns NULL; nothing may be under way */

typedef struct CredentialsFor {
    Str session_id, project_id, agent_id; /* the latter two may be empty */
} CredentialsFor;

/* `ids`: JSON object of provider and credential id, keys in order; "{}" = none. `trouble`: for people, which
   credentials are not there and why; empty = all are. Both borrowed for the call. err: nothing is known, it
   is worth trying again. */
typedef void (*CredentialsDone)(void *arg, Str ids, Str trouble, const Err *err);
typedef struct CredentialsCall CredentialsCall;
CredentialsCall *credentials_resolve(Credentials *c, const CredentialsFor *f, CredentialsDone done,
                                     void *arg);

/* Takes the grants of a session back. err: not all are gone. */
typedef void (*RevokeDone)(void *arg, const Err *err);
CredentialsCall *credentials_revoke(Credentials *c, Str session_id, RevokeDone done, void *arg);
/* The session of every grant there is, once per grant. */
typedef void (*GrantEach)(void *arg, Str session_id);
CredentialsCall *credentials_each_grant(Credentials *c, GrantEach each, RevokeDone done, void *arg);
void credentials_cancel(
    CredentialsCall *call); /* NULL-safe; no done after; safe inside the callbacks of others */
