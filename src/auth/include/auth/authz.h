/*
 * What a caller may do. Pure: the service reads the caller's bindings and roles into Rights, says what is
 * known of the object, and asks. Deny by default. Routes and RPCs name their permission ("session:update");
 * who holds it is decided here and nowhere else, for requests, lists and watches alike.
 *
 * A grant counts when one of its role's permissions matches and its scope covers the object: global always,
 * otherwise when the id that the grant names is the one of the object's project, agent, session or
 * credential. So a grant on an agent covers that agent's sessions, and one on a project everything in it.
 */
#pragma once

#include "auth/auth.h"
#include "auth/roles.h"

/* Where an object is. Empty = not in any; an unset id is covered by nothing. */
typedef struct AuthzScope {
    Str project_id, agent_id, session_id, credential_id;
    Str owner; /* username: who made the session, whom the user row or the binding is about */
} AuthzScope;

typedef struct RightsRole RightsRole;
typedef struct Grant {
    GrantScope scope;
    const char *id;         /* what it is bound to; "" for global */
    const char *binding_id; /* "" = it comes with being that caller */
    const RightsRole *role;
} Grant;

/* All grants of one caller. Immutable once it was built; the count is atomic, so it may cross threads. */
typedef struct Rights Rights;
Rights *rights_new(void);
Rights *rights_ref(Rights *r);
Rights *rights_unref(Rights *r); /* NULL-safe, returns NULL */
DEFINE_CLEANUP(Rights, rights_unref)
/* Building. A role is added once and found again by its id. permissions is JSON text; what is not an array of
   strings grants nothing. */
const RightsRole *rights_role(const Rights *r, Str role_id);
const RightsRole *rights_add_role(Rights *r, Str role_id, Str name, Str permissions);
void rights_add(Rights *r, const RightsRole *role, GrantScope scope, Str id, Str binding_id);
/* What the platform holds when it comes with a static token: no row says so. */
void rights_add_service(Rights *r);
const char *rights_role_name(const RightsRole *role);
const char *rights_role_permission(const RightsRole *role, size_t i); /* NULL behind the last */
size_t rights_len(const Rights *r);
const Grant *rights_at(const Rights *r, size_t i);

/* Administrators, and everybody while authorization is switched off: no row is asked. */
bool authz_is_privileged(const Caller *c);
/* rights may be NULL: none. */
bool authz_allows(const Caller *c, const Rights *rights, const char *permission, const AuthzScope *scope);

typedef struct AuthzWhy {
    bool allowed;
    const char *reason;
    const Grant *grant; /* NULL: no binding was needed, or none allows it */
} AuthzWhy;
AuthzWhy authz_explain(const Caller *c, const Rights *rights, const char *permission,
                       const AuthzScope *scope);

/* For lists: where does the caller hold the permission? */
bool authz_everywhere(const Caller *c, const Rights *rights, const char *permission);
/* The ids at one scope, each once. ret has room for rights_len() of them. */
size_t authz_ids(const Rights *rights, const char *permission, GrantScope scope, Str *ret);
/* Is the object's owner, by being that, allowed to? (also_needs: only with this permission there as well) */
bool authz_owner_may(const char *permission, const char **ret_also_needs);

/* For giving roles away: the best level that is held exactly there, or by a global administrator (0). */
int rights_level(const Rights *rights, GrantScope scope, Str id);
bool rights_is_admin(const Rights *rights); /* a global *:* */
/* Does the holder have every permission of the role there? */
bool rights_hold_role(const Rights *rights, Str permissions, GrantScope scope, Str id);
