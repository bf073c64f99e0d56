#include "resource.h"

#include <string.h>
#include "base/ksuid.h"
#include "base/mem.h"

static const Resource resources[] = {
    {"session", "sessions", "sess", &kind_session, "/sessions", false, true, false},
    {"project", "projects", "proj", &kind_project, "/projects", false, false, true},
    {"agent", "agents", "project-agent project-agents pa", &kind_agent, "/projects/%s/agents", true, true,
     false},
    {"project-settings", "project-settings", "projectsettings project-setting ps", &kind_project_settings,
     "/project_settings", false, true, false},
    {"user", "users", "usr", &kind_user, "/users", false, false, false},
    {"role", "roles", "", &kind_role, "/roles", false, false, false},
    {"role-binding", "role-bindings", "rolebinding rolebindings rb", &kind_role_binding, "/role_bindings",
     false, false, false},
    {"credential", "credentials", "cred creds", &kind_credential, "/credentials", false, false, false},
    {"application", "applications", "app apps", &kind_application, "/applications", false, false, false},
    {"scheduled-session", "scheduled-sessions", "scheduledsession scheduledsessions ss",
     &kind_scheduled_session, "/projects/%s/scheduled-sessions", true, true, false},
    {"audit-event", "audit-events", "auditevent auditevents", &kind_audit_event, "/audit_events", false,
     false, false},
};

static bool named(const Resource *r, Str word)
{
    if (str_ieq(word, str_from(r->noun)) || str_ieq(word, str_from(r->plural)))
        return true;
    Str rest = str_from(r->aliases);
    while (rest.ptr) {
        if (str_ieq(word, str_cut(&rest, ' ')))
            return true;
    }
    return false;
}

const Resource *resource_at(size_t i)
{
    return i < ARRAY_LEN(resources) ? &resources[i] : NULL;
}

const Resource *resource_find(const char *word)
{
    for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
        if (named(&resources[i], str_from(word)))
            return &resources[i];
    }
    return NULL;
}

int resource_need(const char *word, const Resource **ret, Err *err)
{
    *ret = resource_find(word);
    if (*ret)
        return 0;
    CLEANUP_BUF Buf b = BUF_INIT(400);
    for (size_t i = 0; i < ARRAY_LEN(resources); i++)
        buf_addf(&b, "%s%s", i ? ", " : "", resources[i].plural);
    return err_set(err, ERR_USAGE, "unknown resource type: %s\nValid types: %s", word, b.data);
}

const char *resource_columns(const Resource *r)
{
    return r->kind->columns;
}

int resource_path(App *app, const Resource *r, char **ret, Err *err)
{
    if (!r->in_project) {
        *ret = xstrdup(r->collection);
        return 0;
    }
    const char *project = NULL;
    int rc = app_project(app, &project, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *segment = path_segment(project);
    Str rest = str_from(r->collection);
    Str head = str_slice(rest, 0, (size_t)str_find(rest, STR("%s")));
    *ret = xasprintf(STR_FMT "%s%s", STR_ARG(head), segment, r->collection + head.len + 2);
    return 0;
}

static int not_found(App *app, const Resource *r, const char *name, Err *err)
{
    const char *project = app_project_or_null(app);
    if (r->in_project && project)
        return err_set(err, ERR_NOT_FOUND, "%s \"%s\" not found in project \"%s\"", r->noun, name, project);
    return err_set(err, ERR_NOT_FOUND, "%s \"%s\" not found", r->noun, name);
}

static int ambiguous(const Resource *r, const char *name, const json_t *items, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(300);
    for (size_t i = 0; i < json_array_size(items) && i < 6; i++)
        buf_addf(&b, "%s%s", i ? ", " : "", json_get_str(json_array_get(items, i), "id"));
    return err_set(err, ERR_CONFLICT, "several %s are named \"%s\"; use an id: %s", r->plural, name,
                   b.data ? b.data : "");
}

static int by_query(App *app, const Resource *r, const char *path, const char *name, const char *query,
                    json_t **ret, Err *err)
{
    CLEANUP_JSON json_t *list = NULL;
    int rc = app_list(app, path, query, 0, &list, err);
    if (rc < 0)
        return rc;
    json_t *items = json_get_arr(list, "items");
    if (json_array_size(items) > 1)
        return ambiguous(r, name, items, err);
    if (json_array_size(items) == 1)
        *ret = json_incref(json_array_get(items, 0));
    return 0;
}

/* A word of letters and digits may be the beginning of an id. */
static bool may_be_prefix(const char *name)
{
    size_t n = strlen(name);
    return n >= 4 && n < KSUID_LEN &&
           strspn(name, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") == n;
}

static int by_name(App *app, const Resource *r, const char *path, const char *name, json_t **ret, Err *err)
{
    int rc = 0;
    if (r->kind->name_field >= 0) {
        CLEANUP_FREE char *query = search_member(r->kind->fields[r->kind->name_field].json, name);
        rc = by_query(app, r, path, name, query, ret, err);
    }
    if (rc == 0 && !*ret && may_be_prefix(name)) {
        CLEANUP_FREE char *query = xasprintf("search=id+like+'%s%%25'", name);
        rc = by_query(app, r, path, name, query, ret, err);
    }
    return rc;
}

int resource_get(App *app, const Resource *r, const char *name, json_t **ret, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    int rc = app_client(app, err); /* "not logged in" is told as it is, before anything else */
    if (rc == 0)
        rc = resource_path(app, r, &path, err);
    if (rc < 0)
        return rc;
    json_t *found = NULL;
    Err e = {0};
    if (r->id_is_name || ksuid_is_valid(str_from(name))) {
        CLEANUP_FREE char *segment = path_segment(name);
        rc = app_get(app, &found, &e, "%s/%s", path, segment);
        if (rc < 0 && (rc != -ERR_NOT_FOUND || r->id_is_name))
            return err_set(err, e.code, "get %s \"%s\": %s", r->noun, name, e.msg);
    }
    if (!found && (rc = by_name(app, r, path, name, &found, err)) < 0)
        return err_wrap(err, "get %s \"%s\"", r->noun, name);
    if (!found)
        return not_found(app, r, name, err);
    *ret = found;
    return 0;
}

int resource_resolve(App *app, const Resource *r, const char *name, char **ret_path, json_t **ret, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_path(app, r, &path, err);
    if (rc == 0)
        rc = resource_get(app, r, name, &obj, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *segment = path_segment(json_get_str(obj, "id") ? json_get_str(obj, "id") : name);
    *ret_path = xasprintf("%s/%s", path, segment);
    if (ret)
        *ret = TAKE(obj);
    return 0;
}
