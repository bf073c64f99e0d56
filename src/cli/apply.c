#include "apply.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "http/url.h"

Plan *plan_free(Plan *p)
{
    if (!p)
        return NULL;
    free(p->project);
    free(p->collection);
    free(p->path);
    json_decref(p->live);
    json_decref(p->want);
    json_decref(p->body);
    json_decref(p->inbox);
    free(p);
    return NULL;
}

/* ---- where an object lives ---- */

static bool needs_project(const Resource *r)
{
    return r->in_project || r->scoped;
}

static const char *project_of(const Applier *ap, const Item *it)
{
    const char *own = it->project;
    if (it->kind->identity && !own)
        own = json_get_str(it->fields, "project_id");
    return ap->project ? ap->project : own && *own ? own : ap->set_project ? ap->set_project : ap->context;
}

static bool is_coming(const Applier *ap, const char *noun, const char *name)
{
    CLEANUP_FREE char *key = xasprintf("%s/%s", noun, name);
    return ap->coming && map_has(ap->coming, str_from(key));
}

/* ---- finding what is there ---- */

static int several(const Resource *r, const char *name, const json_t *items, Err *err)
{
    return err_set(err, ERR_CONFLICT,
                   "several %s are named \"%s\" (%s, %s, ...); give its id in the document", r->plural, name,
                   json_get_str(json_array_get(items, 0), "id"),
                   json_get_str(json_array_get(items, 1), "id"));
}

static int list_matching(Applier *ap, const Resource *r, const char *path, const char *expression,
                         json_t **ret, Err *err)
{
    CLEANUP_BUF Buf query = BUF_INIT(64 * 1024);
    buf_addz(&query, "search=");
    url_escape_query(&query, str_from(expression));
    CLEANUP_JSON json_t *list = NULL;
    int rc = buf_check(&query, err);
    if (rc == 0)
        rc = app_list(ap->app, path, query.data, 0, &list, err);
    if (rc == 0)
        *ret = json_incref(json_get_arr(list, "items"));
    return rc;
}

/* The object of exactly that name, *ret NULL when there is none. */
static int find_named(Applier *ap, const Resource *r, const char *path, const char *name, json_t **ret,
                      Err *err)
{
    CLEANUP_BUF Buf search = BUF_INIT(16 * 1024);
    CLEANUP_JSON json_t *items = NULL;
    search_equal(&search, "name", name);
    if (r->scoped && !r->in_project)
        search_equal(&search, "project_id", ap->app->project);
    int rc = buf_check(&search, err);
    if (rc == 0)
        rc = list_matching(ap, r, path, search.data, &items, err);
    if (rc < 0)
        return rc;
    if (json_array_size(items) > 1)
        return several(r, name, items, err);
    if (json_array_size(items) == 1)
        *ret = json_incref(json_array_get(items, 0));
    return 0;
}

static int find_by_id(Applier *ap, const char *path, const char *id, json_t **ret, Err *err)
{
    CLEANUP_FREE char *segment = path_segment(id);
    Err e = {0};
    int rc = app_get(ap->app, ret, &e, "%s/%s", path, segment);
    return rc == 0 || rc == -ERR_NOT_FOUND ? 0 : err_set(err, e.code, "%s", e.msg);
}

/* Bindings have no name: the one whose members are all the same. */
static int find_identical(Applier *ap, Plan *p, json_t **ret, Err *err)
{
    CLEANUP_BUF Buf search = BUF_INIT(16 * 1024);
    CLEANUP_JSON json_t *items = NULL;
    for (const char *const *f = p->item->kind->identity; *f; f++) {
        const char *v = json_get_str(p->want, *f);
        if (v && *v)
            search_equal(&search, *f, v);
    }
    int rc = buf_check(&search, err);
    if (rc == 0)
        rc = list_matching(ap, p->resource, p->collection, search.data, &items, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(items); i++) {
        json_t *one = json_array_get(items, i);
        bool same = true;
        for (const char *const *f = p->item->kind->identity; *f; f++)
            same = same && str_eq(json_get_strv(one, *f), json_get_strv(p->want, *f));
        if (same) {
            *ret = json_incref(one);
            return 0;
        }
    }
    return rc;
}

static int find_live(Applier *ap, Plan *p, Err *err)
{
    const Item *it = p->item;
    int rc;
    if (it->id && !p->resource->id_is_name)
        rc = find_by_id(ap, p->collection, it->id, &p->live, err);
    else if (it->kind->identity)
        rc = find_identical(ap, p, &p->live, err);
    else if (p->resource->id_is_name)
        rc = find_by_id(ap, p->collection, it->name, &p->live, err);
    else
        rc = find_named(ap, p->resource, p->collection, it->name, &p->live, err);
    bool empty_place = rc == -ERR_NOT_FOUND && p->project && is_coming(ap, "project", p->project);
    if (rc < 0 && !empty_place)
        return rc;
    if (p->live) {
        CLEANUP_FREE char *segment = path_segment(json_get_str(p->live, "id"));
        p->path = xasprintf("%s/%s", p->collection, segment);
    }
    return 0;
}

/* ---- names that stand for ids ---- */

static int resolve_ref(Applier *ap, Plan *p, const ManifestRef *ref, const char *name, Err *err)
{
    const Resource *r = resource_find(ref->noun);
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *obj = NULL;
    if (!r)
        return err_set(err, ERR_UNIMPLEMENTED, "%s: this program does not know %s", ref->field, ref->noun);
    int rc = resource_path(ap->app, r, &path, err);
    if (rc == 0)
        rc = find_named(ap, r, path, name, &obj, err);
    bool coming = is_coming(ap, ref->noun, name);
    if (rc < 0 && !(rc == -ERR_NOT_FOUND && coming))
        return err_wrap(err, "%s \"%s\"", ref->member, name);
    if (!obj && !coming)
        return err_set(err, ERR_NOT_FOUND, "%s \"%s\" not found", ref->member, name);
    json_object_set_new(p->want, ref->field, json_string(obj ? json_get_str(obj, "id") : name));
    return 0;
}

static int resolve_refs(Applier *ap, Plan *p, Err *err)
{
    const ManifestRef *ref = p->item->kind->refs;
    for (; ref && ref->member; ref++) {
        const char *name = json_get_str(p->item->refs, ref->field);
        int rc = name ? resolve_ref(ap, p, ref, name, err) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- messages left in an agent's inbox ---- */

static bool is_there(const json_t *items, const json_t *message)
{
    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *one = json_array_get(items, i);
        if (str_eq(json_get_strv(one, "body"), json_get_strv(message, "body")) &&
            str_eq(json_get_strv(one, "from_name"), json_get_strv(message, "from_name")))
            return true;
    }
    return false;
}

static int plan_inbox(Applier *ap, Plan *p, Err *err)
{
    CLEANUP_JSON json_t *list = NULL;
    json_t *wanted = p->item->inbox;
    if (!json_array_size(wanted))
        return 0;
    if (p->path) {
        CLEANUP_FREE char *path = xasprintf("%s/inbox", p->path);
        int rc = app_list(ap->app, path, NULL, 0, &list, err);
        if (rc < 0)
            return err_wrap(err, "inbox");
    }
    p->inbox = json_array();
    for (size_t i = 0; i < json_array_size(wanted); i++) {
        json_t *message = json_array_get(wanted, i);
        if (!json_get_strv(message, "body").len)
            return err_set(err, ERR_INVALID, "inbox[%zu]: body is required", i);
        if (!is_there(json_get_arr(list, "items"), message))
            json_array_append(p->inbox, message);
    }
    return 0;
}

static int send_inbox(Applier *ap, Plan *p, Err *err)
{
    CLEANUP_FREE char *path = xasprintf("%s/inbox", p->path);
    for (size_t i = 0; i < json_array_size(p->inbox); i++) {
        const json_t *message = json_array_get(p->inbox, i);
        CLEANUP_JSON json_t *body = json_object();
        json_object_set_new(body, "agent_id", json_string(json_get_str(p->live, "id")));
        json_object_set(body, "body", json_object_get(message, "body"));
        if (json_get_strv(message, "from_name").len)
            json_object_set(body, "from_name", json_object_get(message, "from_name"));
        int rc = app_call(ap->app, "POST", path, body, NULL, err);
        if (rc < 0)
            return err_wrap(err, "inbox");
    }
    return 0;
}

/* ---- plans ---- */

static int begin(Applier *ap, const Item *item, Plan *p, Err *err)
{
    p->item = item;
    p->resource = resource_find(item->kind->noun);
    if (!p->resource)
        return err_set(err, ERR_UNIMPLEMENTED, "this program does not know %s", item->kind->noun);
    const char *project = project_of(ap, item);
    if (needs_project(p->resource) && !project)
        return err_set(
            err, ERR_USAGE,
            "no project: give --project, `project:` in the document, or run 'acpctl project <name>'");
    p->project = project ? xstrdup(project) : NULL;
    ap->app->project = p->project;
    return resource_path(ap->app, p->resource, &p->collection, err);
}

int plan_find(Applier *ap, const Item *item, Plan **ret, Err *err)
{
    CLEANUP(plan_freep) Plan *p = xnew(Plan);
    int rc = begin(ap, item, p, err);
    p->want = json_deep_copy(item->fields);
    if (rc == 0)
        rc = resolve_refs(ap, p, err);
    if (rc == 0)
        rc = find_live(ap, p, err);
    if (rc == 0)
        *ret = TAKE(p);
    return rc;
}

int plan_new(Applier *ap, const Item *item, Plan **ret, Err *err)
{
    CLEANUP(plan_freep) Plan *p = NULL;
    int rc = plan_find(ap, item, &p, err);
    if (rc == 0)
        rc = merge_body(item->table, p->want, p->live, &p->body, err);
    if (rc == 0)
        rc = plan_inbox(ap, p, err);
    if (rc == 0)
        *ret = TAKE(p);
    return rc;
}

const char *plan_status(const Plan *p)
{
    return !p->live ? "created" : json_object_size(p->body) ? "configured" : "unchanged";
}

static int create(Applier *ap, Plan *p, Err *err)
{
    bool has_project = kind_field(p->item->table, STR("project_id")) >= 0;
    if (needs_project(p->resource) && has_project)
        json_object_set_new(p->body, "project_id", json_string(p->project));
    json_t *made = NULL;
    int rc = app_call(ap->app, "POST", p->collection, p->body, &made, err);
    if (rc < 0)
        return rc;
    json_decref(p->live);
    p->live = made;
    const char *id = json_get_str(made, "id");
    if (!id)
        return err_set(err, ERR_BAD_GATEWAY, "the server's answer has no id");
    CLEANUP_FREE char *segment = path_segment(id);
    p->path = xasprintf("%s/%s", p->collection, segment);
    return 0;
}

/* Somebody else made the same binding in between: then it is there, which is all that was wanted. */
static bool is_there_now(Applier *ap, Plan *p)
{
    return p->item->kind->identity && find_live(ap, p, NULL) == 0 && p->live;
}

int plan_execute(Applier *ap, Plan *p, Err *err)
{
    Err e = {0};
    int rc = 0;
    ap->app->project = p->project;
    if (!p->live) {
        rc = create(ap, p, &e);
        if (rc == -ERR_CONFLICT && is_there_now(ap, p))
            rc = 0;
    } else if (json_object_size(p->body)) {
        rc = app_call(ap->app, "PATCH", p->path, p->body, NULL, &e);
    }
    if (rc == 0 && p->inbox)
        rc = send_inbox(ap, p, &e);
    return rc < 0 ? err_set(err, e.code, "%s", e.msg) : 0;
}
