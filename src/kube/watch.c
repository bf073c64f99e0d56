#include "kube/watch.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "kube-internal.h"

#define EVENT_MAX (8 * 1024 * 1024)
#define WATCH_MIN (300 * USEC_PER_SEC)
#define BACKOFF_MIN (800 * USEC_PER_MSEC)
#define BACKOFF_MAX (30 * USEC_PER_SEC)
#define HEALTHY (120 * USEC_PER_SEC)
/* The server answers at once, long before there is an event. */
#define OPEN_WITHIN (15 * USEC_PER_SEC)
/* A watch that ends this soon and has said nothing is a failure. */
#define TOO_SHORT USEC_PER_SEC

typedef struct Known {
    char *ns, *name, *version;
    unsigned generation;
} Known;

struct KubeWatch {
    Kube *kube;
    KubeKind kind;
    char *ns, *labels, *fields;
    const KubeWatchOps *ops;
    void *arg;
    Map *known; /* uid -> Known, owned */
    unsigned generation;
    char *version;  /* to watch from; NULL = list first */
    KubeList *list; /* at most one of these two */
    KubeCall *stream;
    Buf rest;
    Timer *timer;
    Usec backoff, opened_at;
    bool freed, must_list, said_something;
    KubeWatchStats stats;
};

static Usec now_of(const KubeWatch *w)
{
    return clock_now(loop_clock(w->kube->loop));
}

static double random_part(void)
{
    uint32_t r;
    random_bytes(&r, sizeof r);
    return (double)r / ((double)UINT32_MAX + 1);
}

/* ---- what is known ---- */

static void known_free(Known *k)
{
    free(k->ns);
    free(k->name);
    free(k->version);
    free(k);
}

static void forget(KubeWatch *w, const char *uid, json_t *last)
{
    Known *k = map_remove(w->known, str_from(uid));
    if (!k)
        return;
    CLEANUP_FREE char *copy = xstrdup(uid); /* the map's key is gone */
    w->ops->on_gone(w->arg, k->ns, k->name, copy, last);
    known_free(k);
}

static void learn(KubeWatch *w, json_t *object)
{
    const char *uid = kube_uid(object), *version = kube_version(object);
    if (!*uid)
        return; /* not an object */
    Known *k = map_get(w->known, str_from(uid));
    bool same = k && strcmp(k->version, version) == 0;
    if (!k) {
        k = xnew(Known);
        k->ns = xstrdup(kube_namespace(object));
        k->name = xstrdup(kube_name(object));
        map_put(w->known, str_from(uid), k);
    }
    if (!same) {
        free(k->version);
        k->version = xstrdup(version);
    }
    k->generation = w->generation;
    if (!same)
        w->ops->on_object(w->arg, object);
}

static void sweep(KubeWatch *w)
{
    MAP_FOREACH (w->known, it) {
        const Known *k = it.value;
        if (w->freed)
            return;
        if (k->generation != w->generation) {
            CLEANUP_FREE char *uid = xstrdup(it.key.ptr);
            forget(w, uid, NULL);
        }
    }
}

/* ---- failing ---- */

static void retry_later(KubeWatch *w)
{
    w->backoff = w->backoff == 0 ? BACKOFF_MIN : w->backoff * 2;
    if (w->backoff > BACKOFF_MAX)
        w->backoff = BACKOFF_MAX;
    w->stats.connected = false;
    timer_arm(w->timer, (Usec)((double)w->backoff * (1 + random_part())));
}

static void log_failure(const KubeWatch *w, const char *what, const KubeError *e)
{
    if (w->ops->on_failure)
        w->ops->on_failure(w->arg, e);
    log_warn("watch stream ended", F_STR("component", "kubeclient"),
             F_STR("resource", kube_resource(w->kind)->plural), F_STR("namespace", w->ns),
             F_STR("step", what), F_ERR(&e->err));
}

static void go_on(KubeWatch *w);

static void list_again(KubeWatch *w)
{
    free(TAKE(w->version));
    w->stats.expired++;
    go_on(w);
}

/* ---- the list ---- */

static void on_item(void *arg, json_t *object)
{
    learn(arg, object);
}

static void on_listed(void *arg, const char *version, const KubeError *e)
{
    KubeWatch *w = arg;
    w->list = NULL;
    if (e) {
        w->stats.failed_lists++;
        log_failure(w, "list", e);
        retry_later(w);
        return;
    }
    free(w->version);
    w->version = xstrdup(version);
    sweep(w);
    if (w->freed)
        return;
    w->stats.synced = true;
    w->stats.lists++;
    w->stats.list_at = w->stats.event_at = now_of(w);
    if (w->ops->on_list)
        w->ops->on_list(w->arg);
    if (!w->freed)
        go_on(w);
}

static void start_list(KubeWatch *w)
{
    w->generation++;
    w->must_list = false;
    w->list = kube_list(w->kube,
                        KUBE_REQUEST(.kind = w->kind, .ns = w->ns, .labels = w->labels, .fields = w->fields),
                        on_item, on_listed, w);
}

/* ---- the watch ---- */

static void end_stream(KubeWatch *w)
{
    kube_cancel(w->stream);
    w->stream = NULL;
    buf_clear(&w->rest);
}

static void on_error_event(KubeWatch *w, const json_t *status)
{
    KubeError e;
    kube_error_from_status(&e, status);
    end_stream(w);
    if (e.status == 410) {
        list_again(w);
        return;
    }
    log_failure(w, "watch", &e);
    retry_later(w);
}

static void on_event(KubeWatch *w, const char *type, json_t *object)
{
    const char *version = kube_version(object);
    w->said_something = true;
    w->stats.events++;
    w->stats.event_at = now_of(w);
    if (strcmp(type, "ERROR") == 0) {
        on_error_event(w, object);
        return;
    }
    if (*version) {
        free(w->version);
        w->version = xstrdup(version);
    }
    if (strcmp(type, "ADDED") == 0 || strcmp(type, "MODIFIED") == 0)
        learn(w, object);
    else if (strcmp(type, "DELETED") == 0)
        forget(w, kube_uid(object), object);
}

static void on_broken(KubeWatch *w, const char *why)
{
    KubeError e = {0};
    err_set(&e.err, ERR_BAD_GATEWAY, "%s", why);
    log_failure(w, "watch", &e);
    end_stream(w);
    free(TAKE(w->version)); /* an event may be lost: look at everything again */
    retry_later(w);
}

static void on_line(void *arg, Str line)
{
    KubeWatch *w = arg;
    CLEANUP_JSON json_t *j = NULL;
    if (!w->stream)
        return; /* ended by an earlier line of the same piece */
    bool ok = json_parse(line, &j, NULL) == 0;
    const char *type = json_get_str(j, "type");
    json_t *object = json_get_obj(j, "object");
    if (ok && type && object)
        on_event(w, type, object);
    else
        on_broken(w, "a watch event is not JSON of the form {type, object}");
}

static void on_piece(void *arg, Str piece)
{
    KubeWatch *w = arg;
    if (w->stream && kube_lines_feed(&w->rest, piece, on_line, w, &w->freed) < 0)
        on_broken(w, "a watch event is too large");
}

static void on_open(void *arg)
{
    KubeWatch *w = arg;
    w->stats.connected = true;
    w->opened_at = now_of(w);
    timer_cancel(w->timer);
}

static void on_stream_end(void *arg, json_t *body, const KubeError *e)
{
    KubeWatch *w = arg;
    bool was_open = w->stats.connected;
    w->stream = NULL;
    timer_cancel(w->timer);
    buf_clear(&w->rest); /* half an event: the next watch begins before it */
    w->stats.reconnects++;
    if (was_open && now_of(w) - w->opened_at > HEALTHY)
        w->backoff = 0;
    if (e && e->status == 410) {
        list_again(w);
    } else if (e) {
        log_failure(w, "watch", e);
        retry_later(w);
    } else if (!w->said_something && now_of(w) - w->opened_at < TOO_SHORT) {
        retry_later(w);
    } else {
        go_on(w);
    }
}

static void start_stream(KubeWatch *w)
{
    w->said_something = false;
    w->stats.connected = false;
    buf_clear(&w->rest);
    Usec length = WATCH_MIN + (Usec)((double)WATCH_MIN * random_part());
    w->stream =
        kube_stream(w->kube,
                    KUBE_REQUEST(.verb = KUBE_WATCH, .kind = w->kind, .ns = w->ns, .labels = w->labels,
                                 .fields = w->fields, .resource_version = w->version, .timeout = length),
                    on_open, on_piece, on_stream_end, w);
    timer_arm(w->timer, OPEN_WITHIN);
}

static void go_on(KubeWatch *w)
{
    assert(!w->list && !w->stream);
    if (!w->version || w->must_list)
        start_list(w);
    else
        start_stream(w);
}

static void on_timer(void *arg)
{
    KubeWatch *w = arg;
    if (!w->stream) {
        go_on(w);
        return;
    }
    KubeError e = {0};
    err_set(&e.err, ERR_DEADLINE, "the server does not answer a watch");
    log_failure(w, "watch", &e);
    end_stream(w);
    retry_later(w);
}

/* ---- life ---- */

static char *dup_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

KubeWatch *kube_watch_new(Kube *k, const KubeRequest *r, const KubeWatchOps *ops, void *arg)
{
    KubeWatch *w = xnew(KubeWatch);
    w->kube = k;
    w->kind = r->kind;
    w->ns = dup_or_null(r->ns);
    w->labels = dup_or_null(r->labels);
    w->fields = dup_or_null(r->fields);
    w->ops = ops;
    w->arg = arg;
    w->known = map_new();
    buf_init(&w->rest, EVENT_MAX);
    w->timer = timer_new(k->loop, on_timer, w);
    timer_arm(w->timer, 0);
    return w;
}

static void release(void *arg)
{
    KubeWatch *w = arg;
    MAP_FOREACH (w->known, it)
        known_free(it.value);
    map_free(w->known);
    buf_done(&w->rest);
    free(w->ns);
    free(w->labels);
    free(w->fields);
    free(w->version);
    free(w);
}

KubeWatch *kube_watch_free(KubeWatch *w)
{
    if (!w || w->freed)
        return NULL;
    w->freed = true;
    kube_list_cancel(w->list);
    kube_cancel(w->stream);
    w->list = NULL;
    w->stream = NULL;
    timer_free(w->timer);
    loop_defer(w->kube->loop, release, w);
    return NULL;
}

void kube_watch_relist(KubeWatch *w)
{
    if (w->list)
        return;
    w->must_list = true;
    end_stream(w);
    timer_arm(w->timer, 0);
}

void kube_watch_stats(const KubeWatch *w, KubeWatchStats *ret)
{
    *ret = w->stats;
    ret->objects = map_len(w->known);
}
