/*
 * Keeps a login alive: the token of the configuration is renewed at 80 % of its life, or a minute before its
 * end, by its refresh token or, for service accounts, by the client's secret. A lock file beside the
 * configuration sees to it that of several commands one asks and the others take what it got: a refresh token
 * may be used once only.
 */
#pragma once

#include "config.h"
#include "loop/loop.h"

/* Can the token in use be renewed? Not one of AMBIENT_TOKEN, and not one without an issuer. */
bool renew_possible(const Config *c);
WallUsec renew_at(const Config *c);  /* {INT64_MAX} = never */
WallUsec renew_end(const Config *c); /* when the token expires; {INT64_MAX} = unknown or never */

typedef struct OidcTokens OidcTokens;
/* Tokens and their times into the configuration; not yet saved. A missing refresh token leaves the old one.
 */
void renew_store(Config *c, const OidcTokens *t, WallUsec now);
void renew_forget(Config *c); /* all of a login's members */

/* done: NULL = the configuration now has a newer token. Else ERR_UNAUTHENTICATED "session expired (<why>);
 * run 'acpctl login'" when the issuer refuses, ERR_UNAVAILABLE and the like when it cannot be asked. */
typedef void (*RenewDone)(void *arg, const Err *err);
typedef struct Renewal Renewal;
Renewal *renewal_start(Loop *l, Config *c, RenewDone done, void *arg); /* never completes before it returns */
Renewal *renewal_free(Renewal *r);                                     /* no done after; NULL-safe */
