/*
 * get RESOURCE -w: the list, then every change; a row per object and change. Kinds that the server streams
 * are streamed; the others, and those of servers without streams, are listed again and again and compared.
 */
#include <stdio.h>
#include <string.h>
#include "base/map.h"
#include "base/mem.h"
#include "cmd.h"
#include "follow.h"
#include "output.h"
#include "resource.h"
#include "selector.h"

#define FAILURES_MAX 5 /* lists that fail in a row before polling ends */

/* What was told of an object last. */
typedef struct Seen {
    char *state;
    json_t *obj;
} Seen;

typedef struct Watch {
    App *app;
    const Resource *r;
    Table *table;              /* NULL = JSON lines */
    const char *project;       /* the only one that counts; NULL = any */
    char *agent;               /* id, the same */
    char *path;                /* of the list */
    Selector *labels, *fields; /* NULL = any */
    bool quiet;                /* the first list of --watch-only is read, not told */
    Map *seen;                 /* id -> Seen, owned */
    ClientWatch *stream;
    ClientList *list;
    Timer *timeout, *poll;
    Map *listed; /* ids of the list that is being read, to find the deleted ones */
    bool done, polling;
    unsigned failures; /* lists in a row */
    Err err;
} Watch;

static json_t *to_json(const Obj *o)
{
    CLEANUP_BUF Buf b = BUF_INIT(16 * 1024 * 1024);
    json_t *j = NULL;
    obj_to_json(o, &b, NULL);
    (void)json_parse(buf_str(&b), &j, NULL);
    return j;
}

static void seen_free(Seen *s)
{
    if (!s)
        return;
    free(s->state);
    json_decref(s->obj);
    free(s);
}

/* The contract's table of sessions tells a deletion as their phase; the others have a column for it. */
static bool is_session(const Watch *w)
{
    return w->r->kind == &kind_session;
}

static void print_change(Watch *w, const char *type, json_t *obj)
{
    if (w->table) {
        json_object_set_new(obj, "event", json_string(type));
        table_row(w->table, obj);
        table_header(w->table);
        json_object_del(obj, "event");
        return;
    }
    CLEANUP_JSON json_t *ordered = json_ordered(obj);
    CLEANUP_BUF Buf b = BUF_INIT(16 * 1024 * 1024);
    buf_addf(&b, "{\"type\":\"%s\",\"object\":", type);
    json_write(&b, ordered);
    buf_addc(&b, '}');
    print_json_line(buf_str(&b));
    fflush(stdout);
}

/* What makes an object another one. A stream has fewer members than a list, so only what both have counts
   there; where lists alone are compared, everything does. */
static char *state_of(const Watch *w, const json_t *obj)
{
    CLEANUP_BUF Buf b = BUF_INIT(16 * 1024 * 1024);
    if (!client_has_watch(w->r->kind)) {
        json_write(&b, obj);
        return buf_take(&b);
    }
    const char *when = json_get_str(obj, "updated_at"), *phase = json_get_str(obj, "phase");
    return xasprintf("%s|%s", when ? when : "", phase ? phase : "");
}

static bool elsewhere(const Watch *w, const json_t *obj)
{
    if (w->project && kind_field(w->r->kind, STR("project_id")) >= 0 &&
        !str_eqz(json_get_strv(obj, "project_id"), w->project))
        return true;
    return w->agent && !str_eqz(json_get_strv(obj, "agent_id"), w->agent);
}

/* An object as it is now; the same state is not told twice. One that no longer is what was asked for is told
   a last time, as it is. Takes the object over. */
static void changed(Watch *w, Obj *o)
{
    CLEANUP(obj_freep) Obj *own = o;
    CLEANUP_JSON json_t *j = to_json(o);
    Str id = obj_str(o, FIELD_ID);
    if (elsewhere(w, j))
        return;
    bool wanted = selector_matches(w->labels, j) && selector_matches(w->fields, j);
    if (!wanted && !map_has(w->seen, id))
        return;
    Seen *now = xnew(Seen);
    *now = (Seen){state_of(w, j), json_incref(j)};
    Seen *before = map_put(w->seen, id, now);
    if ((!before || strcmp(before->state, now->state) != 0) && !w->quiet)
        print_change(w, before ? "UPDATED" : "CREATED", j);
    seen_free(before);
    if (!wanted)
        seen_free(map_remove(w->seen, id));
}

static void deleted(Watch *w, Str id)
{
    Seen *before = map_remove(w->seen, id);
    if (!before)
        return;
    if (is_session(w)) {
        json_object_set_new(before->obj, "phase", json_string("DELETED"));
        if (w->table)
            json_object_del(before->obj, "created_at"); /* no age */
    }
    print_change(w, "DELETED", before->obj);
    seen_free(before);
}

/* ---- listing ---- */

static void on_listed_one(void *arg, Obj *o)
{
    Watch *w = arg;
    map_put(w->listed, obj_str(o, FIELD_ID), w);
    changed(w, o);
}

/* The ids first: the map does not stand still while they are told. */
static void sweep(Watch *w)
{
    CLEANUP_JSON json_t *gone = json_array();
    MAP_FOREACH (w->seen, it) {
        if (!map_has(w->listed, it.key))
            json_array_append_new(gone, json_strv(it.key));
    }
    for (size_t i = 0; i < json_array_size(gone); i++)
        deleted(w, str_from(json_string_value(json_array_get(gone, i))));
}

static void end_with(Watch *w, const Err *err)
{
    w->err = *err;
    w->done = true;
}

/* Whoever only polls gives up at some time; beside a stream, which comes back by itself, so does the list. */
static void list_failed(Watch *w, const Err *err)
{
    if (err->code == ERR_UNAUTHENTICATED || err->code == ERR_FORBIDDEN ||
        (err->code == ERR_NOT_FOUND && w->r->in_project)) {
        end_with(w, err);
    } else if (!w->polling) {
        fprintf(stderr, "Error processing %s: %s\n", w->r->plural, err->msg);
    } else {
        Err e = *err;
        fprintf(stderr, "Error processing %s (%u/%d): %s\n", w->r->plural, ++w->failures, FAILURES_MAX,
                err->msg);
        err_wrap(&e, "too many consecutive errors, stopping watch");
        if (w->failures >= FAILURES_MAX)
            end_with(w, &e);
    }
}

static void on_listed(void *arg, const Err *err)
{
    Watch *w = arg;
    w->list = NULL;
    if (err) {
        list_failed(w, err);
    } else {
        w->quiet = false;
        w->failures = 0;
        sweep(w);
    }
    if (w->polling || err)
        timer_arm(w->poll, (Usec)config_get_int(w->app->cfg, "polling_interval") * USEC_PER_SEC);
}

static void relist(void *arg)
{
    Watch *w = arg;
    if (w->list)
        return;
    map_clear(w->listed);
    w->list = client_list_all(w->app->client, w->r->kind, w->path, w->project ? w->project : "",
                              on_listed_one, on_listed, w);
}

/* ---- the stream ---- */

static void on_event(void *arg, int type, Obj *o, Str id, Str version)
{
    Watch *w = arg;
    if (type == CLIENT_EVENT_DELETED)
        deleted(w, id);
    else if (o)
        changed(w, o);
}

static void on_broken(void *arg, const Err *err)
{
    Watch *w = arg;
    if (err->code == ERR_UNAUTHENTICATED || err->code == ERR_FORBIDDEN) {
        end_with(w, err);
    } else if ((err->code == ERR_METHOD_NOT_ALLOWED || err->code == ERR_UNIMPLEMENTED) && !w->polling) {
        fprintf(stderr, "gRPC watch unavailable (%s), falling back to polling...\n", err->msg);
        w->polling = true;
        relist(w);
    }
}

static void on_end(void *arg, const Err *err)
{
    end_with(arg, err);
}

static void on_timeout(void *arg)
{
    ((Watch *)arg)->done = true;
}

/* ---- the command ---- */

static void watch_done(Watch *w)
{
    client_watch_free(w->stream);
    client_list_cancel(w->list);
    timer_free(w->timeout);
    timer_free(w->poll);
    MAP_FOREACH (w->seen, it)
        seen_free(it.value);
    map_free(w->seen);
    map_free(w->listed);
    table_free(w->table);
    selector_free(w->labels);
    selector_free(w->fields);
    free(w->agent);
    free(w->path);
}

static int watch_options(Watch *w, const Args *a, Format *ret, Err *err)
{
    const char *labels = opt_str(a, "selector"), *fields = opt_str(a, "field-selector");
    int rc = format_of(a, ret, err);
    if (rc == 0 && *ret != FORMAT_TABLE && *ret != FORMAT_WIDE && *ret != FORMAT_JSON)
        rc = err_set(err, ERR_USAGE, "a watch prints a table or, with -o json, a JSON object a line");
    if (rc == 0 && opt_given(a, "search"))
        rc = err_set(err, ERR_USAGE, "a watch has no --search; select with -l or --field-selector");
    if (rc == 0 && opt_bool(a, "all-projects") && (w->r->in_project || opt_given(a, "project-agent")))
        rc = err_set(err, ERR_USAGE, "a watch of %s is of one project",
                     w->r->in_project ? w->r->plural : "an agent's sessions");
    if (rc == 0 && labels && *labels)
        rc = selector_parse(labels, true, &w->labels, err);
    if (rc == 0 && fields && *fields)
        rc = selector_parse(fields, false, &w->fields, err);
    w->quiet = opt_bool(a, "watch-only");
    return rc;
}

/* Where the list is, and whose objects count. */
static int watch_place(Watch *w, const Args *a, Err *err)
{
    const char *agent = is_session(w) ? opt_str(a, "project-agent") : NULL;
    int rc = 0;
    if (w->r->scoped && !opt_bool(a, "all-projects"))
        w->project = app_project_or_null(w->app);
    if (agent) {
        CLEANUP_JSON json_t *obj = NULL;
        CLEANUP_FREE char *path = NULL;
        rc = resource_resolve(w->app, resource_find("agent"), agent, &path, &obj, err);
        if (rc == 0) {
            w->agent = xstrdup(json_get_str(obj, "id"));
            w->path = xasprintf("%s/sessions", path);
        }
        return rc;
    }
    return resource_path(w->app, w->r, &w->path, err);
}

static void watch_table(Watch *w, const Args *a, bool wide)
{
    w->table = table_new(resource_columns(w->r), wide, !opt_bool(a, "no-headers"));
    if (opt_bool(a, "show-labels"))
        table_add_column(w->table, "LABELS:labels:30");
    if (!is_session(w))
        table_add_column(w->table, "EVENT:event:8");
    table_header(w->table);
}

static void watch_run(Watch *w, const Args *a)
{
    static const WatchOps ops = {
        .on_event = on_event, .on_relist = relist, .on_broken = on_broken, .on_end = on_end};
    w->timeout = timer_new(w->app->loop, on_timeout, w);
    w->poll = timer_new(w->app->loop, relist, w);
    timer_arm(w->timeout, opt_duration(a, "watch-timeout"));
    Interrupt *interrupt = interrupt_new(w->app, &w->done);
    /* The stream first, the list then: nothing that changes in between is missed, and repeats are recognised.
     */
    if (client_has_watch(w->r->kind))
        w->stream = client_watch_kind(w->app->client, w->r->kind, STR_NULL, &ops, w);
    else
        w->polling = true;
    relist(w);
    client_wait(w->app->loop, &w->done);
    interrupt_free(interrupt);
    w->app->exit_code = 0;
}

int watch_resource(App *app, const struct Resource *r, const Args *a, Err *err)
{
    Format f;
    Watch w = {.app = app, .r = r, .seen = map_new(), .listed = map_new()};
    int rc = watch_options(&w, a, &f, err);
    if (rc == 0)
        rc = watch_place(&w, a, err);
    if (rc == 0) {
        if (f != FORMAT_JSON)
            watch_table(&w, a, f == FORMAT_WIDE);
        watch_run(&w, a);
        if (w.err.code)
            rc = err_set(err, w.err.code, "watch %s: %s", r->plural, w.err.msg);
    }
    watch_done(&w);
    return rc;
}
