#include "listing.h"

#include <string.h>
#include "base/mem.h"
#include "http/url.h"
#include "jsonpath.h"
#include "selector.h"

/* ---- sorting by a path ---- */

static bool is_path(const char *sort)
{
    return sort && (*sort == '.' || *sort == '{' || *sort == '[');
}

typedef struct Keyed {
    json_t *key, *obj;
    size_t at;
} Keyed;

static int compare(const void *x, const void *y)
{
    const Keyed *a = x, *b = y;
    int c = 0;
    if (!a->key || !b->key)
        c = (a->key != NULL) - (b->key != NULL); /* what has none comes first */
    else if (json_is_number(a->key) && json_is_number(b->key))
        c = (json_number_value(a->key) > json_number_value(b->key)) -
            (json_number_value(a->key) < json_number_value(b->key));
    else if (json_is_string(a->key) && json_is_string(b->key))
        c = strcmp(json_string_value(a->key), json_string_value(b->key));
    else
        c = json_is_true(a->key) - json_is_true(b->key);
    return c ? c : (a->at > b->at) - (a->at < b->at);
}

static int sort_items(json_t *items, const char *path, Err *err)
{
    CLEANUP(jsonpath_freep) JsonPath *p = NULL;
    int rc = jsonpath_parse_field(path, &p, err);
    if (rc < 0)
        return err_wrap(err, "--sort-by");
    size_t n = json_array_size(items);
    CLEANUP_FREE Keyed *all = xcalloc(n + 1, sizeof(Keyed));
    for (size_t i = 0; i < n; i++) {
        json_t *obj = json_array_get(items, i);
        CLEANUP_JSON json_t *values = jsonpath_values(p, obj);
        all[i] = (Keyed){json_incref(json_array_get(values, 0)), json_incref(obj), i};
    }
    qsort(all, n, sizeof(Keyed), compare);
    for (size_t i = 0; i < n; i++) {
        json_array_set_new(items, i, all[i].obj);
        json_decref(all[i].key);
    }
    return 0;
}

/* ---- narrowing ---- */

typedef struct Wanted {
    Selector *labels, *fields;
    const char *sort;
    int64_t limit;
} Wanted;

static void wanted_done(Wanted *w)
{
    selector_free(w->labels);
    selector_free(w->fields);
}

static int wanted_parse(const Args *a, Wanted *w, Err *err)
{
    const char *labels = opt_str(a, "selector"), *fields = opt_str(a, "field-selector");
    int rc = labels && *labels ? selector_parse(labels, true, &w->labels, err) : 0;
    if (rc == 0 && fields && *fields)
        rc = selector_parse(fields, false, &w->fields, err);
    w->sort = opt_str(a, "sort-by");
    w->limit = opt_int(a, "limit");
    return rc;
}

static void add_param(Buf *query, const char *name, const char *value)
{
    buf_addf(query, "%s%s=", query->len ? "&" : "", name);
    url_escape_query(query, str_from(value));
}

/* Labels are selected by the server where it can, and here in any case: other servers ignore the parameter.
 */
static int make_query(const Args *a, const Resource *r, Buf *query, Err *err)
{
    const char *labels = opt_str(a, "selector"), *sort = opt_str(a, "sort-by");
    if (sort && !is_path(sort))
        add_param(query, "orderBy", sort);
    if (opt_given(a, "search"))
        add_param(query, "search", opt_str(a, "search"));
    if (labels && *labels && kind_field(r->kind, STR("labels")) >= 0)
        add_param(query, "labelSelector", labels);
    return buf_check(query, err);
}

static json_t *keep_selected(const Wanted *w, json_t *items)
{
    json_t *kept = json_array();
    for (size_t i = 0; i < json_array_size(items); i++) {
        json_t *obj = json_array_get(items, i);
        if (selector_matches(w->labels, obj) && selector_matches(w->fields, obj))
            json_array_append(kept, obj);
    }
    return kept;
}

static int narrow(const Wanted *w, json_t *list, Err *err)
{
    json_t *kept = keep_selected(w, json_get_arr(list, "items"));
    json_int_t total = (json_int_t)json_array_size(kept);
    int rc = is_path(w->sort) ? sort_items(kept, w->sort, err) : 0;
    while (w->limit > 0 && json_array_size(kept) > (size_t)w->limit)
        json_array_remove(kept, json_array_size(kept) - 1);
    json_object_set_new(list, "size", json_integer((json_int_t)json_array_size(kept)));
    if (w->labels || w->fields)
        json_object_set_new(list, "total", json_integer(total));
    json_object_set_new(list, "items", kept);
    return rc;
}

int list_selected(App *app, const Args *a, const Resource *r, const char *path, json_t **ret, Err *err)
{
    CLEANUP(wanted_done) Wanted w = {0};
    CLEANUP_BUF Buf query = BUF_INIT(64 * 1024);
    CLEANUP_JSON json_t *list = NULL;
    int rc = wanted_parse(a, &w, err);
    if (rc == 0)
        rc = make_query(a, r, &query, err);
    if (rc < 0)
        return rc;
    bool all = w.labels || w.fields || is_path(w.sort); /* the limit counts what is left */
    rc = app_list(app, path, query.data, all ? 0 : w.limit, &list, err);
    if (rc < 0)
        return err_wrap(err, "list %s", r->plural);
    if (all && (rc = narrow(&w, list, err)) < 0)
        return rc;
    *ret = TAKE(list);
    return 0;
}

/* ---- all projects ---- */

static int list_everywhere(App *app, const Args *a, const Resource *r, json_t **ret, Err *err)
{
    CLEANUP_JSON json_t *projects = NULL;
    CLEANUP_JSON json_t *all = NULL;
    int rc = app_list(app, "/projects", NULL, 0, &projects, err);
    json_t *names = json_get_arr(projects, "items");
    for (size_t i = 0; rc == 0 && i < json_array_size(names); i++) {
        CLEANUP_JSON json_t *list = NULL;
        CLEANUP_FREE char *path = NULL;
        app->project = json_get_str(json_array_get(names, i), "id");
        rc = resource_path(app, r, &path, err);
        if (rc == 0)
            rc = list_selected(app, a, r, path, &list, err);
        if (rc == 0 && all)
            json_array_extend(json_get_arr(all, "items"), json_get_arr(list, "items"));
        else if (rc == 0)
            all = json_incref(list);
    }
    app->project = NULL;
    if (rc < 0)
        return rc;
    *ret = all ? TAKE(all) : json_pack("{s:s, s:[]}", "kind", r->kind->list_name, "items");
    json_int_t n = (json_int_t)json_array_size(json_get_arr(*ret, "items"));
    json_object_set_new(*ret, "size", json_integer(n));
    json_object_set_new(*ret, "total", json_integer(n));
    return is_path(opt_str(a, "sort-by"))
               ? sort_items(json_get_arr(*ret, "items"), opt_str(a, "sort-by"), err)
               : 0;
}

int list_resource(App *app, const Args *a, const Resource *r, json_t **ret, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    int rc;
    if (opt_bool(a, "all-projects") && r->in_project)
        return list_everywhere(app, a, r, ret, err);
    if (opt_bool(a, "all-projects"))
        app->project = ""; /* no header: of every project that the caller may see */
    rc = resource_path(app, r, &path, err);
    if (rc == 0)
        rc = list_selected(app, a, r, path, ret, err);
    app->project = NULL;
    return rc;
}

int list_named(App *app, const Args *a, const Resource *r, size_t first, size_t end, json_t **ret, Err *err)
{
    bool selects = opt_given(a, "selector") || opt_given(a, "field-selector") || opt_bool(a, "all");
    if (end > first && selects)
        return err_set(err, ERR_USAGE, "names and a selection cannot be given together");
    if (end <= first && !selects)
        return err_set(err, ERR_USAGE, "give the name of a %s, --selector (-l) or --all", r->noun);
    if (selects) {
        CLEANUP_JSON json_t *list = NULL;
        int rc = list_resource(app, a, r, &list, err);
        if (rc == 0)
            *ret = json_incref(json_get_arr(list, "items"));
        return rc;
    }
    CLEANUP_JSON json_t *out = json_array();
    for (size_t i = first; i < end; i++) {
        json_t *obj = NULL;
        int rc = resource_get(app, r, arg_at(a, i), &obj, err);
        if (rc < 0)
            return rc;
        json_array_append_new(out, obj);
    }
    *ret = TAKE(out);
    return 0;
}
