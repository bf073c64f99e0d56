#include "auth/authz.h"
#include "base/cleanup.h"

/*
 * What comes with owning: the object itself, or the project that it lies in. Everything that is not listed is
 * refused: status of a session is written by the platform, rows of users are made by administrators.
 */
static const char *const of_owner[] = {
    "project:read",
    "project:create",
    "project:update",
    "project:delete",
    "project:watch",
    "project_settings:read",
    "project_settings:create",
    "project_settings:update",
    "project_settings:delete",
    "project_settings:watch",
    "agent:read",
    "agent:create",
    "agent:update",
    "agent:delete",
    "agent:start",
    "agent:watch",
    "session:read",
    "session:create",
    "session:update",
    "session:delete",
    "session:start",
    "session:stop",
    "session:watch",
    "session_message:read",
    "session_message:create",
    "session_message:watch",
};
/* A user's own row. */
static const char *const of_self[] = {
    "user:read",
    "user:update",
    "user:watch",
};

static bool listed(const char *permission, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], permission) == 0)
            return true;
    return false;
}

bool authz_is_privileged(const Caller *c)
{
    return c && (c->type == CALLER_SERVICE || c->type == CALLER_ADMIN);
}

static bool is_me(const Caller *c, Str owner)
{
    return owner.ptr && owner.len && str_eqz(owner, c->username);
}

bool authz_allows(const Caller *c, const char *permission, const AuthzScope *scope)
{
    if (authz_is_privileged(c))
        return true;
    if (!c || c->type != CALLER_USER || !*c->username)
        return false;
    bool project = is_me(c, scope->project_owner), object = is_me(c, scope->object_owner);
    if ((project || object) && listed(permission, of_owner, ARRAY_LEN(of_owner)))
        return true;
    return object && listed(permission, of_self, ARRAY_LEN(of_self));
}
