#include "auth/authz.h"
#include <stdatomic.h>
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "json/json.h"

struct RightsRole {
    char *id, *name;
    VEC_OF(char *)
    permissions;
};

struct Rights {
    atomic_uint refs;
    VEC_OF(RightsRole *)
    roles;
    VEC_OF(Grant)
    grants;
    VEC_OF(size_t)
    global; /* of those that hold everywhere */
    Map *
        at; /* "<scope>/<id>" -> the newest grant there, 1 more than its number; `next` leads to the others */
    VEC_OF(size_t)
    next; /* per grant, likewise; 0 = none */
};

/* ---- building ---- */

Rights *rights_new(void)
{
    Rights *r = xnew(Rights);
    atomic_init(&r->refs, 1);
    r->at = map_new();
    return r;
}

Rights *rights_ref(Rights *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

static void role_free(RightsRole *role)
{
    VEC_FOREACH (&role->permissions, p)
        free(*p);
    vec_free(&role->permissions);
    free(role->id);
    free(role->name);
    free(role);
}

/* Grants say const char *, as nobody else may change or free what they point to. */
static void text_free(const char *s)
{
    union {
        const char *in;
        char *out;
    } u = {s};
    free(u.out);
}

Rights *rights_unref(Rights *r)
{
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) > 1)
        return NULL;
    VEC_FOREACH (&r->grants, g) {
        text_free(g->id);
        text_free(g->binding_id);
    }
    VEC_FOREACH (&r->roles, role)
        role_free(*role);
    map_free(r->at);
    vec_free(&r->next);
    vec_free(&r->global);
    vec_free(&r->grants);
    vec_free(&r->roles);
    free(r);
    return NULL;
}

const RightsRole *rights_role(const Rights *r, Str role_id)
{
    for (size_t i = 0; i < r->roles.len; i++)
        if (str_eqz(role_id, r->roles.ptr[i]->id))
            return r->roles.ptr[i];
    return NULL;
}

const RightsRole *rights_add_role(Rights *r, Str role_id, Str name, Str permissions)
{
    CLEANUP_JSON json_t *list = NULL;
    RightsRole *role = xnew(RightsRole);
    role->id = str_dup(role_id);
    role->name = str_dup(name);
    vec_push(&r->roles, role);
    if (json_parse(permissions, &list, NULL) < 0)
        return role;
    size_t i;
    json_t *it;
    json_array_foreach(list, i, it)
    {
        if (json_is_string(it))
            vec_push(&role->permissions, xstrdup(json_string_value(it)));
    }
    return role;
}

static char *place_key(GrantScope scope, Str id)
{
    return xasprintf("%d/" STR_FMT, (int)scope, STR_ARG(id));
}

void rights_add(Rights *r, const RightsRole *role, GrantScope scope, Str id, Str binding_id)
{
    Grant g = {.scope = scope, .id = str_dup(id), .binding_id = str_dup(binding_id), .role = role};
    CLEANUP_FREE char *key = place_key(scope, id);
    vec_push(&r->grants, g);
    if (scope == GRANT_GLOBAL)
        vec_push(&r->global, r->grants.len - 1);
    uintptr_t before = (uintptr_t)map_put(r->at, str_from(key), (void *)(uintptr_t)r->grants.len);
    vec_push(&r->next, (size_t)before);
}

/*
 * The platform with a static token: it carries sessions out and tells what became of them. It makes and
 * deletes nothing that people own, and of credentials it reads tokens only by bindings of their own.
 */
static const char service_permissions[] =
    "[\"project:read\",\"project_settings:read\",\"agent:read\",\"agent:update\",\"agent:watch\","
    "\"session:read\",\"session:update\",\"session:status\",\"session:stop\",\"session:token\",\"session_"
    "message:*\","
    "\"user:read\",\"user:watch\",\"credential:read\",\"role_binding:read\",\"role_binding:create\","
    "\"role_binding:delete\",\"role:read\","
    "\"application:read\",\"application:update\",\"application:status\"]";

void rights_add_service(Rights *r)
{
    const RightsRole *role = rights_add_role(r, STR(""), STR("service"), str_from(service_permissions));
    rights_add(r, role, GRANT_GLOBAL, STR(""), STR(""));
}

const char *rights_role_name(const RightsRole *role)
{
    return role->name;
}

const char *rights_role_permission(const RightsRole *role, size_t i)
{
    return i < role->permissions.len ? role->permissions.ptr[i] : NULL;
}

size_t rights_len(const Rights *r)
{
    return r ? r->grants.len : 0;
}

const Grant *rights_at(const Rights *r, size_t i)
{
    return &r->grants.ptr[i];
}

/* ---- matching ---- */

/* Told by the platform, not by whoever owns the object, and tokens that act for an object: no wildcard of a
   resource holds it. */
static bool is_reserved(const char *permission)
{
    const char *colon = strchr(permission, ':');
    return colon && (strcmp(colon, ":status") == 0 || strcmp(colon, ":token") == 0);
}

static bool matches(const char *pattern, GrantScope scope, const char *permission)
{
    if (strcmp(pattern, permission) == 0)
        return true;
    if (strcmp(pattern, "*:*") == 0)
        return scope == GRANT_GLOBAL || !is_reserved(permission);
    const char *colon = strchr(permission, ':');
    size_t len = colon ? (size_t)(colon - permission) : 0;
    if (!colon || is_reserved(permission))
        return false;
    if (strncmp(pattern, "*:", 2) == 0)
        return strcmp(pattern + 1, colon) == 0;
    return strncmp(pattern, permission, len + 1) == 0 && strcmp(pattern + len + 1, "*") == 0;
}

/* Permissions that no seeded role names: whoever holds the second holds the first. */
static const struct {
    const char *permission, *held_with;
} implied[] = {
    {"project_settings:read", "project:read"},     {"project_settings:create", "project:update"},
    {"project_settings:update", "project:update"}, {"project_settings:delete", "project:update"},
    {"session_message:read", "session:read"},      {"agent:watch", "agent:update"},
    {"role_binding:read", "role_binding:delete"},  {"home:read", "project:read"},
};

static const char *held_with(const char *permission)
{
    for (size_t i = 0; i < ARRAY_LEN(implied); i++)
        if (strcmp(implied[i].permission, permission) == 0)
            return implied[i].held_with;
    return NULL;
}

static bool grants(const Grant *g, const char *permission)
{
    const char *other = held_with(permission);
    VEC_FOREACH (&g->role->permissions, p)
        if (matches(*p, g->scope, permission) || (other && matches(*p, g->scope, other)))
            return true;
    return false;
}

/* At one place; a caller may hold thousands of grants, and few of them anywhere. */
static const Grant *find_at(const Rights *r, const char *permission, GrantScope scope, Str id)
{
    if (!id.len)
        return NULL;
    CLEANUP_FREE char *key = place_key(scope, id);
    for (size_t n = (uintptr_t)map_get(r->at, str_from(key)); n; n = r->next.ptr[n - 1])
        if (grants(&r->grants.ptr[n - 1], permission))
            return &r->grants.ptr[n - 1];
    return NULL;
}

static const Grant *find_global(const Rights *r, const char *permission)
{
    for (size_t i = 0; r && i < r->global.len; i++)
        if (grants(&r->grants.ptr[r->global.ptr[i]], permission))
            return &r->grants.ptr[r->global.ptr[i]];
    return NULL;
}

static const Grant *find(const Rights *r, const char *permission, const AuthzScope *z)
{
    const Str ids[_GRANT_SCOPE_MAX] = {
        [GRANT_PROJECT] = z->project_id,
        [GRANT_AGENT] = z->agent_id,
        [GRANT_SESSION] = z->session_id,
        [GRANT_CREDENTIAL] = z->credential_id,
    };
    const Grant *g = find_global(r, permission);
    for (int scope = GRANT_PROJECT; r && !g && scope < _GRANT_SCOPE_MAX; scope++)
        g = find_at(r, permission, (GrantScope)scope, ids[scope]);
    return g;
}

/* ---- without a binding ---- */

/* Who is somebody may do these; what comes of it is checked where it is done. */
static const char *const of_everybody[] = {
    "project:create", "credential:create", "role_binding:create", "role:read", "access_review:create",
};

/*
 * What comes with being an object's owner. Whoever made a session reads it for good; he drives it as long as
 * he could make it again where it is, so that taking someone out of a project takes his sessions along.
 */
static const struct {
    const char *permission, *also_needs;
} of_owner[] = {
    {"session:read", NULL},
    {"session_message:read", NULL},
    {"session:update", "session:create"},
    {"session:delete", "session:create"},
    {"session:start", "session:create"},
    {"session:stop", "session:create"},
    {"session_message:create", "session:create"},
    {"session:create", "session:create"}, /* outside of projects: below */
    {"user:read", NULL},
    {"user:update", NULL},
    {"role_binding:read", NULL},
    {"role_binding:delete", NULL},
};

bool authz_owner_may(const char *permission, const char **ret_also_needs)
{
    for (size_t i = 0; i < ARRAY_LEN(of_owner); i++) {
        if (strcmp(of_owner[i].permission, permission) != 0)
            continue;
        *ret_also_needs = of_owner[i].also_needs;
        return true;
    }
    return false;
}

static bool for_everybody(const char *permission)
{
    for (size_t i = 0; i < ARRAY_LEN(of_everybody); i++)
        if (strcmp(of_everybody[i], permission) == 0)
            return true;
    return false;
}

/* A session outside of projects is its maker's alone. */
static bool owner_may(const Caller *c, const Rights *r, const char *permission, const AuthzScope *z)
{
    const char *also;
    if (!z->owner.len || !str_eqz(z->owner, c->username) || !authz_owner_may(permission, &also))
        return false;
    return !also || !z->project_id.len || find(r, also, z);
}

/* ---- the decision ---- */

bool authz_is_privileged(const Caller *c)
{
    return c && c->type != CALLER_NONE && (c->type == CALLER_ADMIN || c->authz_off);
}

/* A token stays its owner's, even when authorization is switched off. */
static bool is_owners_alone(const Caller *c, const char *permission)
{
    return c->authz_off && strcmp(permission, "credential:fetch_token") == 0;
}

/* All that a session's own token is ever good for, whatever is granted. */
static const char *const of_session[] = {
    "session:read", "session:token", "session_message:read", "session_message:create",
    "project:read", "agent:read",    "credential:read",      "credential:fetch_token",
};

static bool is_a_sessions(const char *permission)
{
    for (size_t i = 0; i < ARRAY_LEN(of_session); i++)
        if (strcmp(of_session[i], permission) == 0)
            return true;
    return false;
}

AuthzWhy authz_explain(const Caller *c, const Rights *rights, const char *permission, const AuthzScope *z)
{
    if (!c || c->type == CALLER_NONE)
        return (AuthzWhy){false, "not authenticated", NULL};
    if (authz_is_privileged(c) && !is_owners_alone(c, permission))
        return (AuthzWhy){true, c->authz_off ? "authorization is switched off" : "administrator", NULL};
    if (c->type == CALLER_SESSION && !is_a_sessions(permission))
        return (AuthzWhy){false, "not for the token of a session", NULL};
    const Grant *g = find(rights, permission, z);
    if (g)
        return (AuthzWhy){true, "granted by a role binding", g};
    if (c->type != CALLER_USER || !*c->username)
        return (AuthzWhy){false, "no role binding grants it", NULL};
    if (for_everybody(permission))
        return (AuthzWhy){true, "every user may", NULL};
    if (owner_may(c, rights, permission, z))
        return (AuthzWhy){true, "it is the caller's own", NULL};
    return (AuthzWhy){false, "no role binding grants it", NULL};
}

bool authz_allows(const Caller *c, const Rights *rights, const char *permission, const AuthzScope *z)
{
    return authz_explain(c, rights, permission, z).allowed;
}

/* ---- lists ---- */

bool authz_everywhere(const Caller *c, const Rights *rights, const char *permission)
{
    if (authz_is_privileged(c) && !is_owners_alone(c, permission))
        return true;
    if (c && c->type == CALLER_USER && for_everybody(permission))
        return true;
    return find_global(rights, permission) != NULL;
}

size_t authz_ids(const Rights *rights, const char *permission, GrantScope scope, Str *ret)
{
    CLEANUP(map_freep) Map *seen = map_new();
    size_t n = 0;
    for (size_t i = 0; i < rights_len(rights); i++) {
        const Grant *g = &rights->grants.ptr[i];
        if (g->scope != scope || !grants(g, permission) || map_has(seen, str_from(g->id)))
            continue;
        map_put(seen, str_from(g->id), seen);
        ret[n++] = str_from(g->id);
    }
    return n;
}

/* ---- giving roles away ---- */

bool rights_is_admin(const Rights *rights)
{
    return find_global(rights, "*:*") != NULL;
}

/* Who looks after the applications of a project does not look after its members. */
static bool is_of_scope(const char *role, GrantScope scope)
{
    Str name = str_from(role);
    if (scope == GRANT_CREDENTIAL)
        return str_starts(name, STR("credential:"));
    return str_starts(name, STR("project:")) || str_starts(name, STR("platform:"));
}

int rights_level(const Rights *rights, GrantScope scope, Str id)
{
    int best = ROLE_LEVEL_NONE;
    if (rights_is_admin(rights))
        return 0;
    for (size_t i = 0; i < rights_len(rights); i++) {
        const Grant *g = &rights->grants.ptr[i];
        const BuiltinRole *role = builtin_role(str_from(g->role->name));
        if (g->scope != scope || !id.len || !str_eqz(id, g->id) || !role || !is_of_scope(role->name, scope))
            continue;
        /* A role of everything in one place is not the level of everything everywhere. */
        int level = role->level < 1 ? 1 : role->level;
        if (level < best)
            best = level;
    }
    return best;
}

bool rights_hold_role(const Rights *rights, Str permissions, GrantScope scope, Str id)
{
    CLEANUP(rights_unrefp) Rights *wanted = rights_new();
    const RightsRole *role = rights_add_role(wanted, STR(""), STR(""), permissions);
    const AuthzScope z = {
        .project_id = scope == GRANT_PROJECT ? id : STR_NULL,
        .agent_id = scope == GRANT_AGENT ? id : STR_NULL,
        .session_id = scope == GRANT_SESSION ? id : STR_NULL,
        .credential_id = scope == GRANT_CREDENTIAL ? id : STR_NULL,
    };
    VEC_FOREACH (&role->permissions, p)
        if (!find(rights, *p, &z))
            return false;
    return true;
}
