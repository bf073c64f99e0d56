#include "role.h"

#include <string.h>
#include "base/ksuid.h"
#include "base/mem.h"
#include "resource.h"

/* What a scope is about, the option that names it and the member that holds it. */
static const struct {
    const char *scope, *opt, *member;
} targets[] = {
    {"project", "project-id-fk", "project_id"},
    {"agent", "agent-id-fk", "agent_id"},
    {"session", "session-id-fk", "session_id"},
    {"credential", "credential-id-fk", "credential_id"},
};

int object_id(App *app, const char *noun, const char *name, char **ret, Err *err)
{
    CLEANUP_JSON json_t *obj = NULL;
    if (strcmp(noun, "project") == 0 || ksuid_is_valid(str_from(name))) {
        *ret = xstrdup(name); /* the server says when there is none */
        return 0;
    }
    int rc = resource_get(app, resource_find(noun), name, &obj, err);
    if (rc == 0)
        *ret = str_dup(json_get_strv(obj, "id"));
    return rc;
}

int role_id(App *app, const char *name, char **ret, Err *err)
{
    return object_id(app, "role", name, ret, err);
}

static int add_target(App *app, json_t *body, size_t i, const char *name, Err *err)
{
    CLEANUP_FREE char *id = NULL;
    int rc = object_id(app, targets[i].scope, name, &id, err);
    if (rc == 0)
        json_object_set_new(body, targets[i].member, json_string(id));
    return rc;
}

static int add_scope_id(App *app, const char *scope, const char *name, json_t *body, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        if (strcmp(targets[i].scope, scope) == 0)
            return add_target(app, body, i, name, err);
    }
    return err_set(err, ERR_USAGE, "--scope-id not supported for scope \"%s\"; use the explicit FK flag",
                   scope);
}

int binding_body(App *app, const Args *a, json_t *body, Err *err)
{
    CLEANUP_FREE char *role = NULL;
    const char *scope = opt_str(a, "scope");
    if (!opt_given(a, "role-id"))
        return err_set(err, ERR_USAGE, "--role-id is required");
    if (!scope)
        return err_set(err, ERR_USAGE, "--scope is required");
    int rc = role_id(app, opt_str(a, "role-id"), &role, err);
    if (rc < 0)
        return rc;
    json_object_set_new(body, "role_id", json_string(role));
    json_object_set_new(body, "scope", json_strv(str_from(scope)));
    body_str(body, a, "user-id", "user_id");
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(targets); i++) {
        if (opt_given(a, targets[i].opt))
            rc = add_target(app, body, i, opt_str(a, targets[i].opt), err);
    }
    if (rc == 0 && opt_given(a, "scope-id"))
        rc = add_scope_id(app, scope, opt_str(a, "scope-id"), body, err);
    return rc;
}

/* ---- names for tables ---- */

static int read_names(App *app, const char *path, json_t *names, Err *err)
{
    CLEANUP_JSON json_t *list = NULL;
    int rc = app_list(app, path, NULL, 0, &list, err);
    const json_t *items = json_get_arr(list, "items");
    for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
        const json_t *o = json_array_get(items, i);
        const char *id = json_get_str(o, "id");
        if (id)
            json_object_set(names, id, json_object_get(o, "name"));
    }
    return rc;
}

static void add_name(json_t *o, const char *from, const char *to, const json_t *names)
{
    const char *id = json_get_str(o, from);
    json_t *name = id ? json_object_get(names, id) : NULL;
    if (name)
        json_object_set(o, to, name);
}

static bool any_has(const json_t *items, const char *member)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        if (json_get_strv(json_array_get(items, i), member).len)
            return true;
    }
    return false;
}

static bool has_narrower_target(const json_t *o)
{
    return json_get_strv(o, "project_id").len || json_get_strv(o, "agent_id").len ||
           json_get_strv(o, "session_id").len;
}

int binding_names(App *app, json_t *list, Err *err)
{
    json_t *items = json_get_arr(list, "items");
    CLEANUP_JSON json_t *names = json_object();
    int rc = json_array_size(items) ? read_names(app, "/roles", names, err) : 0;
    if (rc == 0 && any_has(items, "credential_id"))
        rc = read_names(app, "/credentials", names, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
        json_t *o = json_array_get(items, i);
        add_name(o, "role_id", "role", names);
        if (!has_narrower_target(o))
            add_name(o, "credential_id", "target", names);
    }
    return rc;
}
