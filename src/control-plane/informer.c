#include "informer.h"

#include <assert.h>
#include "base/log.h"
#include "base/mem.h"

#define RESYNC (600 * USEC_PER_SEC)
#define RELIST (1800 * USEC_PER_SEC)
#define LIST_RETRY_MIN (800 * USEC_PER_MSEC)
#define LIST_RETRY_MAX (30 * USEC_PER_SEC)
/* A server that never confirms the stream (no headers before the first event) must not keep us from listing.
 */
#define OPEN_PATIENCE (5 * USEC_PER_SEC)

struct Informer {
    InformerOptions o;
    InformerOps ops;
    void *arg;
    const Clock *clock;
    ApiCall *watch, *list;
    bool again; /* list once more when this list has ended */
    bool opened;
    unsigned failures; /* lists in a row */
    Timer *list_timer; /* the next list */
    Timer *resync_timer;
    Usec last_news;
    InformerStats stats;
};

static void list_start(Informer *i);

static Usec jittered(const Informer *i, Usec t)
{
    double r = i->o.random ? i->o.random(i->arg) : 0.5;
    return (Usec)((double)t * (0.9 + 0.2 * r));
}

static void on_list_timer(void *arg)
{
    Informer *i = arg;
    if (i->list)
        i->again = true;
    else
        list_start(i);
}

static void each_key(void *arg, const char *id)
{
    Informer *i = arg;
    i->ops.on_key(i->arg, id);
}

static void on_resync(void *arg)
{
    Informer *i = arg;
    cache_forget_old(i->o.cache);
    cache_each(i->o.cache, each_key, i);
    timer_arm(i->resync_timer, jittered(i, i->o.resync));
}

Informer *informer_new(Loop *l, const InformerOptions *o, const InformerOps *ops, void *arg)
{
    Informer *i = xnew(Informer);
    i->o = *o;
    i->o.resync = o->resync ? o->resync : RESYNC;
    i->o.relist = o->relist ? o->relist : RELIST;
    i->ops = *ops;
    i->arg = arg;
    i->clock = loop_clock(l);
    i->list_timer = timer_new(l, on_list_timer, i);
    i->resync_timer = timer_new(l, on_resync, i);
    return i;
}

Informer *informer_free(Informer *i)
{
    if (!i)
        return NULL;
    if (i->list) {
        api_cancel(i->o.api, i->list);
        cache_list_end(i->o.cache, false, NULL, NULL);
    }
    api_cancel(i->o.api, i->watch);
    timer_free(i->list_timer);
    timer_free(i->resync_timer);
    free(i);
    return NULL;
}

/* ---- objects ---- */

static void news(Informer *i)
{
    i->last_news = clock_now(i->clock);
}

/* The id is read before the cache takes the object over, and is good as long as the caller's copy is. */
static void take(Informer *i, Obj *o)
{
    CLEANUP_FREE char *id = str_dup(obj_str(o, FIELD_ID));
    if (cache_put(i->o.cache, o) != CACHE_OLDER)
        i->ops.on_key(i->arg, id);
}

static void on_listed(void *arg, Obj *o)
{
    take(arg, o);
}

/* ---- lists ---- */

static Usec list_backoff(const Informer *i)
{
    Usec d = LIST_RETRY_MIN;
    for (unsigned n = 1; n < i->failures && d < LIST_RETRY_MAX; n++)
        d *= 2;
    d = d < LIST_RETRY_MAX ? d : LIST_RETRY_MAX;
    double r = i->o.random ? i->o.random(i->arg) : 0;
    return d + (Usec)((double)d * r);
}

static void list_failed(Informer *i, const Err *err)
{
    i->failures++;
    i->stats.failed_lists++;
    cache_list_end(i->o.cache, false, NULL, NULL);
    Usec wait = list_backoff(i);
    log_warn("list failed, will retry", F_STR("component", "informer"),
             F_STR("resource", i->o.kind->collection), F_ERR(err), F_UINT("retry_in", wait / USEC_PER_MSEC));
    i->again = false;
    timer_arm(i->list_timer, wait);
}

static void list_complete(Informer *i)
{
    i->failures = 0;
    i->stats.lists++;
    i->stats.synced = true;
    news(i);
    size_t missing = cache_list_end(i->o.cache, true, each_key, i);
    log_debug("list complete", F_STR("component", "informer"), F_STR("resource", i->o.kind->collection),
              F_UINT("known", cache_len(i->o.cache)), F_UINT("missing", missing));
    timer_arm(i->list_timer, i->again ? 0 : jittered(i, i->o.relist));
    i->again = false;
    if (i->ops.on_list)
        i->ops.on_list(i->arg);
}

static void on_list_done(void *arg, const Err *err)
{
    Informer *i = arg;
    assert(i->list);
    i->list = NULL;
    if (err)
        list_failed(i, err);
    else
        list_complete(i);
}

static void list_start(Informer *i)
{
    assert(!i->list);
    timer_cancel(i->list_timer);
    cache_list_begin(i->o.cache);
    i->list = i->o.api->ops->list(i->o.api, i->o.kind, on_listed, on_list_done, i);
}

void informer_relist(Informer *i)
{
    if (i->list)
        i->again = true;
    else
        timer_arm(i->list_timer, 0);
}

/* ---- the watch ---- */

static void on_open(void *arg)
{
    Informer *i = arg;
    i->stats.connected = true;
    if (i->opened)
        i->stats.reconnects++;
    else
        informer_relist(i);
    i->opened = true;
}

static void on_event(void *arg, int type, Obj *o, Str id, Str version)
{
    Informer *i = arg;
    i->stats.events++;
    i->stats.connected = true;
    news(i);
    if (o && type != CLIENT_EVENT_DELETED) {
        take(i, o);
        return;
    }
    obj_free(o);
    CLEANUP_FREE char *key = str_dup(id);
    if (!*key)
        return;
    if (type == CLIENT_EVENT_DELETED)
        cache_delete(i->o.cache, str_from(key));
    else
        informer_relist(i); /* a server that left the object out */
    i->ops.on_key(i->arg, key);
}

static void on_relist(void *arg)
{
    informer_relist(arg);
}

static void on_broken(void *arg, const Err *err)
{
    Informer *i = arg;
    i->stats.connected = false;
    log_info("watch stream ended", F_STR("component", "watcher"), F_STR("resource", i->o.kind->collection),
             F_ERR(err));
}

/* Kind watches do not end by themselves; if one does, the next list carries us until it is opened again. */
static void on_end(void *arg, const Err *err)
{
    on_broken(arg, err);
}

void informer_start(Informer *i)
{
    static const WatchOps ops = {.on_open = on_open,
                                 .on_event = on_event,
                                 .on_relist = on_relist,
                                 .on_broken = on_broken,
                                 .on_end = on_end};
    i->watch = i->o.api->ops->watch(i->o.api, i->o.kind, &ops, i);
    timer_arm(i->list_timer, OPEN_PATIENCE);
    timer_arm(i->resync_timer, jittered(i, i->o.resync));
}

void informer_stats(const Informer *i, InformerStats *ret)
{
    *ret = i->stats;
    ret->event_age = i->last_news ? clock_now(i->clock) - i->last_news : USEC_NEVER;
}
