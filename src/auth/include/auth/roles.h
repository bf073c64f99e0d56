/*
 * The roles that every installation has. The service writes them into the store at each start; what a caller
 * holds is always read from there. Levels order who may grant what: a holder grants roles of a larger number.
 * Contract: rest-governance-and-auth.md 2.1.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "base/str.h"

typedef enum GrantScope {
    GRANT_GLOBAL,
    GRANT_PROJECT,
    GRANT_AGENT,
    GRANT_SESSION,
    GRANT_CREDENTIAL,
    _GRANT_SCOPE_MAX,
    _GRANT_SCOPE_INVALID = -1
} GrantScope;
const char *grant_scope_name(GrantScope s);
GrantScope grant_scope_parse(Str s);

#define ROLE_LEVEL_NONE 999

typedef struct BuiltinRole {
    const char *name, *display_name, *description;
    int level;
    bool internal;           /* only administrators and the platform itself give it */
    unsigned scopes;         /* bits 1 << GrantScope: where it may be bound */
    const char *permissions; /* JSON text, as it is stored */
} BuiltinRole;

extern const BuiltinRole builtin_roles[];
extern const size_t n_builtin_roles;
const BuiltinRole *builtin_role(Str name); /* NULL = a custom one */
