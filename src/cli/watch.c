/* get sessions -w: the list, then every change; a row per session and change. */
#include <stdio.h>
#include <string.h>
#include "base/map.h"
#include "base/mem.h"
#include "cmd.h"
#include "follow.h"
#include "output.h"
#include "resource.h"
#include "selector.h"

typedef struct Watch {
    App *app;
    Table *table; /* NULL = JSON lines */
    const char *project;
    Selector *labels, *fields; /* NULL = any */
    bool quiet;                /* the first list of --watch-only is read, not told */
    Map *seen;                 /* id -> "updated_at|name|project" of the last row, owned */
    ClientWatch *stream;
    ClientList *list;
    Timer *timeout, *poll;
    Map *listed; /* ids of the list that is being read, to find the deleted ones */
    bool done, polling;
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

static void print_change(Watch *w, const char *type, const json_t *obj)
{
    if (w->table) {
        table_row(w->table, obj);
        table_header(w->table);
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

/* A session as it is now; the same state is not told twice. One that no longer is what was asked for is told
   a last time, as it is. Takes the object over. */
static void changed(Watch *w, Obj *o)
{
    CLEANUP(obj_freep) Obj *own = o;
    Str id = obj_str(o, FIELD_ID);
    if (w->project && !str_eqz(obj_str(o, SESSION_PROJECT_ID), w->project))
        return;
    CLEANUP_JSON json_t *j = to_json(o);
    bool wanted = selector_matches(w->labels, j) && selector_matches(w->fields, j);
    if (!wanted && !map_has(w->seen, id))
        return;
    char when[RFC3339_MAX];
    char *state = xasprintf(STR_FMT "|%s|%s", STR_ARG(rfc3339_format(obj_time(o, FIELD_UPDATED_AT), when)),
                            obj_cstr(o, SESSION_PHASE), obj_cstr(o, SESSION_NAME));
    CLEANUP_FREE char *before = map_put(w->seen, id, state);
    if ((!before || strcmp(before, state) != 0) && !w->quiet)
        print_change(w, before ? "UPDATED" : "CREATED", j);
    if (!wanted)
        free(map_remove(w->seen, id));
}

static void deleted(Watch *w, Str id)
{
    CLEANUP_FREE char *before = map_remove(w->seen, id);
    if (!before)
        return;
    Str rest = str_from(before);
    str_cut(&rest, '|');
    str_cut(&rest, '|');
    CLEANUP_JSON json_t *j = json_object();
    json_object_set_new(j, "id", json_strv(id));
    json_object_set_new(j, "name", json_strv(rest));
    json_object_set_new(j, "phase", json_string("DELETED"));
    print_change(w, "DELETED", j);
}

/* ---- listing ---- */

static void on_listed_one(void *arg, Obj *o)
{
    Watch *w = arg;
    map_put(w->listed, obj_str(o, FIELD_ID), w);
    changed(w, o);
}

static void sweep(Watch *w)
{
    MAP_FOREACH (w->seen, it) {
        if (!map_has(w->listed, it.key)) {
            CLEANUP_FREE char *id = str_dup(it.key);
            deleted(w, str_from(id));
        }
    }
}

static void on_listed(void *arg, const Err *err)
{
    Watch *w = arg;
    w->list = NULL;
    w->quiet = false;
    if (!err)
        sweep(w);
    else if (err->code == ERR_UNAUTHENTICATED || err->code == ERR_FORBIDDEN) {
        w->err = *err;
        w->done = true;
    } else {
        fprintf(stderr, "Error processing sessions: %s\n", err->msg);
    }
    if (w->polling)
        timer_arm(w->poll, (Usec)config_get_int(w->app->cfg, "polling_interval") * USEC_PER_SEC);
}

static void relist(void *arg)
{
    Watch *w = arg;
    if (w->list)
        return;
    map_clear(w->listed);
    w->list = client_list_all(w->app->client, &kind_session, "/sessions", w->project ? w->project : "",
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
        w->err = *err;
        w->done = true;
    } else if ((err->code == ERR_METHOD_NOT_ALLOWED || err->code == ERR_UNIMPLEMENTED) && !w->polling) {
        fprintf(stderr, "gRPC watch unavailable (%s), falling back to polling...\n", err->msg);
        w->polling = true;
        relist(w);
    }
}

static void on_end(void *arg, const Err *err)
{
    Watch *w = arg;
    w->err = *err;
    w->done = true;
}

static void on_timeout(void *arg)
{
    ((Watch *)arg)->done = true;
}

static void watch_done(Watch *w)
{
    client_watch_free(w->stream);
    client_list_cancel(w->list);
    timer_free(w->timeout);
    timer_free(w->poll);
    MAP_FOREACH (w->seen, it)
        free(it.value);
    map_free(w->seen);
    map_free(w->listed);
    table_free(w->table);
    selector_free(w->labels);
    selector_free(w->fields);
}

static int watch_options(Watch *w, const Args *a, Format *ret, Err *err)
{
    const char *labels = opt_str(a, "selector"), *fields = opt_str(a, "field-selector");
    int rc = format_of(a, ret, err);
    if (rc == 0 && *ret != FORMAT_TABLE && *ret != FORMAT_WIDE && *ret != FORMAT_JSON)
        rc = err_set(err, ERR_USAGE, "a watch prints a table or, with -o json, a JSON object a line");
    if (rc == 0 && labels && *labels)
        rc = selector_parse(labels, true, &w->labels, err);
    if (rc == 0 && fields && *fields)
        rc = selector_parse(fields, false, &w->fields, err);
    w->quiet = opt_bool(a, "watch-only");
    return rc;
}

int watch_sessions(App *app, const Args *a, Err *err)
{
    static const WatchOps ops = {
        .on_event = on_event, .on_relist = relist, .on_broken = on_broken, .on_end = on_end};
    Format f;
    Watch w = {.app = app, .seen = map_new(), .listed = map_new()};
    int rc = watch_options(&w, a, &f, err);
    if (rc < 0) {
        watch_done(&w);
        return rc;
    }
    w.project = opt_bool(a, "all-projects") ? NULL : app_project_or_null(app);
    w.timeout = timer_new(app->loop, on_timeout, &w);
    w.poll = timer_new(app->loop, relist, &w);
    if (f != FORMAT_JSON) {
        w.table = table_new(kind_session.columns, f == FORMAT_WIDE, !opt_bool(a, "no-headers"));
        table_header(w.table);
    }
    timer_arm(w.timeout, opt_duration(a, "watch-timeout"));
    Interrupt *interrupt = interrupt_new(app, &w.done);
    /* The stream first, the list then: nothing that changes in between is missed, and repeats are recognised.
     */
    w.stream = client_watch_kind(app->client, &kind_session, STR_NULL, &ops, &w);
    relist(&w);
    client_wait(app->loop, &w.done);
    interrupt_free(interrupt);
    Err why = w.err;
    watch_done(&w);
    app->exit_code = 0;
    return why.code ? err_set(err, why.code, "watch sessions: %s", why.msg) : 0;
}
