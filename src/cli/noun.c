#include "noun.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "output.h"

void noun_members(const Args *a, const Member *m, json_t *body)
{
    for (; m->opt; m++) {
        if (!opt_given(a, m->opt))
            continue;
        if (m->type == MEMBER_INT)
            json_object_set_new(body, m->name, json_integer(opt_int(a, m->opt)));
        else if (m->type == MEMBER_BOOL)
            json_object_set_new(body, m->name, json_boolean(opt_bool(a, m->opt)));
        else
            json_object_set_new(body, m->name, json_strv(str_from(opt_str(a, m->opt))));
    }
}

int noun_reference(App *app, const Args *a, const char *opt, const char *of, const char *member, json_t *body,
                   Err *err)
{
    CLEANUP_JSON json_t *obj = NULL;
    const char *name = opt_str(a, opt);
    if (!name)
        return 0;
    if (!*name) {
        json_object_set_new(body, member, json_string(""));
        return 0;
    }
    int rc = resource_get(app, resource_find(of), name, &obj, err);
    if (rc == 0)
        json_object_set(body, member, json_object_get(obj, "id"));
    return rc;
}

int noun_need(const Args *a, const char *opt, Err *err)
{
    const char *v = opt_str(a, opt);
    return v && *v ? 0 : err_set(err, ERR_USAGE, "--%s is required", opt);
}

int noun_list(App *app, const Args *a, const char *noun, const char *query, Err *err)
{
    const Resource *r = resource_find(noun);
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *list = NULL;
    int rc = resource_path(app, r, &path, err);
    if (rc == 0)
        rc = app_list(app, path, query, opt_int(a, "limit"), &list, err);
    if (rc < 0)
        return err_wrap(err, "list %s", r->plural);
    const char *project = app_project_or_null(app);
    CLEANUP_FREE char *empty = r->in_project && project
                                   ? xasprintf("No %s found in project \"%s\".", r->plural, project)
                                   : xasprintf("No %s found.", r->plural);
    return print_list(a, list, r->noun, resource_columns(r), empty, err);
}

int noun_get(App *app, const Args *a, const char *noun, Err *err)
{
    const Resource *r = resource_find(noun);
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_get(app, r, arg_at(a, 0), &obj, err);
    return rc < 0 ? rc : print_object(a, obj, r->noun, resource_columns(r), err);
}

static int tell(const Args *a, const Resource *r, const json_t *obj, const char *what, Err *err)
{
    if (opt_given(a, "output"))
        return print_object(a, obj, r->noun, resource_columns(r), err);
    printf("%s/%s %s\n", r->noun, json_get_str(obj, "name"), what);
    return 0;
}

int noun_create(App *app, const Args *a, const char *noun, const json_t *body, Err *err)
{
    const Resource *r = resource_find(noun);
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_path(app, r, &path, err);
    if (rc == 0)
        rc = app_call(app, "POST", path, body, &obj, err);
    if (rc < 0)
        return err_wrap(err, "create %s \"%s\"", noun, opt_str(a, "name"));
    return tell(a, r, obj, "created", err);
}

int noun_update(App *app, const Args *a, const char *noun, const json_t *body, Err *err)
{
    const Resource *r = resource_find(noun);
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_resolve(app, r, arg_at(a, 0), &path, NULL, err);
    if (rc == 0)
        rc = app_call(app, "PATCH", path, body, &obj, err);
    if (rc < 0)
        return err_wrap(err, "update %s \"%s\"", noun, arg_at(a, 0));
    return tell(a, r, obj, "updated", err);
}

int noun_delete(App *app, const Args *a, const char *noun, Err *err)
{
    if (!opt_bool(a, "yes"))
        return err_set(err, ERR_USAGE, "add --confirm to delete %s/%s", noun, arg_at(a, 0));
    CLEANUP_FREE char *path = NULL;
    int rc = resource_resolve(app, resource_find(noun), arg_at(a, 0), &path, NULL, err);
    if (rc == 0)
        rc = app_call(app, "DELETE", path, NULL, NULL, err);
    if (rc < 0)
        return err_wrap(err, "delete %s \"%s\"", noun, arg_at(a, 0));
    printf("%s/%s deleted\n", noun, arg_at(a, 0));
    return 0;
}

int noun_action(App *app, const Args *a, const char *noun, const char *action, const json_t *body,
                json_t **ret, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    int rc = resource_resolve(app, resource_find(noun), arg_at(a, 0), &path, NULL, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *full = xasprintf("%s%s", path, action);
    rc = app_call(app, "POST", full, body, ret, err);
    return rc < 0 ? err_wrap(err, "%s %s \"%s\"", action + 1, noun, arg_at(a, 0)) : 0;
}

void body_secret(json_t *body, const char *member, const Secret *value)
{
    json_object_set_new(body, member, json_strv(secret_reveal(value)));
}

void body_wipe(json_t *body, const char *member)
{
    json_t *v = json_object_get(body, member);
    if (json_is_string(v))
        secret_erase((char *)(uintptr_t)json_string_value(v), json_string_length(v));
    json_object_del(body, member);
}
