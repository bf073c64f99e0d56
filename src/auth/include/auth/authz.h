/*
 * What a caller may do. Pure: it takes what is known of the object and answers. Every route and RPC names its
 * permission ("session:update"); the table of roles joins here later, callers do not change.
 * Today: service and admin may all; a user may what it owns (creator of a session, owner of a project or
 * agent, its own user row) and what lies in a project it owns.
 */
#pragma once

#include "auth/auth.h"

typedef struct AuthzScope {
    Str project_id;    /* of the object, may be empty */
    Str project_owner; /* username that owns the project; ptr NULL = unknown */
    Str object_owner;  /* username that owns the object itself; ptr NULL = has none */
} AuthzScope;

bool authz_allows(const Caller *c, const char *permission, const AuthzScope *scope);
bool authz_is_privileged(const Caller *c); /* service or admin: no row filter applies */
