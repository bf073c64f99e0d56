#include "workqueue.h"

#include <assert.h>
#include <string.h>
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

typedef enum ItemState { ITEM_IDLE, ITEM_READY, ITEM_DELAYED, ITEM_RUNNING, _ITEM_MAX } ItemState;

/* Which states may follow which. ITEM_IDLE items exist only to remember failures. */
static const unsigned item_next[_ITEM_MAX] = {
    [ITEM_IDLE] = 1u << ITEM_READY | 1u << ITEM_DELAYED,
    [ITEM_READY] = 1u << ITEM_RUNNING,
    [ITEM_DELAYED] = 1u << ITEM_READY,
    [ITEM_RUNNING] = 1u << ITEM_IDLE | 1u << ITEM_READY | 1u << ITEM_DELAYED,
};

/* One key. Also the handle of its run: there is never more than one. */
struct WqRun {
    WorkQueue *queue;
    ItemState state;
    bool dirty;        /* added while running */
    bool waited;       /* ITEM_READY: came from the heap, not from an event */
    unsigned failures; /* in a row */
    Usec failed_at;    /* end of the last failed run; counts while failures > 0 */
    Usec due;          /* ITEM_DELAYED: when to run; ITEM_RUNNING: when to give up */
    Usec dirty_due;    /* ITEM_RUNNING and dirty: when the next run is wanted */
    Usec since;        /* ITEM_READY: waiting since; ITEM_RUNNING: started at */
    uint64_t order;    /* tie-break among equal `due` */
    void *data;        /* ITEM_RUNNING: the reconciler's */
    HeapNode node;     /* in delayed or running */
    ListLink link;     /* in fresh or retries */
    char key[];
};
typedef struct WqRun Item;

struct WorkQueue {
    WqOptions o;
    WqOps ops;
    void *arg;
    Map *items;          /* key -> Item, owned */
    List fresh, retries; /* ITEM_READY */
    size_t n_ready;
    Heap delayed; /* by due */
    Heap running; /* by due */
    uint64_t order;
    unsigned picks;
    bool paused, in_turn;
    WqStats stats; /* the counters in it; gauges are filled by wq_stats() */
};

/* Runs started by one turn; more makes the turn too long for the loop's other work. */
#define STARTS_PER_TURN 64
/* Of this many picks one is a retry even when events keep coming. */
#define RETRY_SHARE 4

const Usec wq_bucket_bounds[WQ_BUCKETS] = {
    1 * USEC_PER_MSEC,   5 * USEC_PER_MSEC, 20 * USEC_PER_MSEC, 100 * USEC_PER_MSEC,
    500 * USEC_PER_MSEC, 2 * USEC_PER_SEC,  10 * USEC_PER_SEC,  60 * USEC_PER_SEC,
};

static Item *node_item(const HeapNode *n)
{
    return CONTAINER_OF(n, Item, node);
}

static bool due_first(const HeapNode *a, const HeapNode *b)
{
    const Item *x = node_item(a), *y = node_item(b);
    return x->due != y->due ? x->due < y->due : x->order < y->order;
}

WorkQueue *wq_new(const WqOptions *o, const WqOps *ops, void *arg)
{
    assert(o->clock && ops->run && ops->cancel);
    WorkQueue *q = xnew(WorkQueue);
    q->o = *o;
    q->ops = *ops;
    q->arg = arg;
    q->o.workers = o->workers ? o->workers : 8;
    q->o.backoff_min = o->backoff_min ? o->backoff_min : 2 * USEC_PER_SEC;
    q->o.backoff_max = o->backoff_max ? o->backoff_max : 30 * USEC_PER_SEC;
    q->o.run_deadline = o->run_deadline ? o->run_deadline : 60 * USEC_PER_SEC;
    q->items = map_new();
    list_init(&q->fresh);
    list_init(&q->retries);
    heap_init(&q->delayed, due_first);
    heap_init(&q->running, due_first);
    return q;
}

WorkQueue *wq_free(WorkQueue *q)
{
    if (!q)
        return NULL;
    q->paused = true;
    for (HeapNode *n; (n = heap_pop(&q->running));)
        q->ops.cancel(q->arg, node_item(n)->key, node_item(n));
    MAP_FOREACH (q->items, it)
        free(it.value);
    map_free(q->items);
    heap_done(&q->delayed);
    heap_done(&q->running);
    free(q);
    return NULL;
}

/* ---- moving an item: the only place that writes its state ---- */

static void leave(WorkQueue *q, Item *it)
{
    switch (it->state) {
    case ITEM_READY:
        list_remove(&it->link);
        q->n_ready--;
        break;
    case ITEM_DELAYED:
        heap_remove(&q->delayed, &it->node);
        break;
    case ITEM_RUNNING:
        heap_remove(&q->running, &it->node);
        break;
    default:
        break;
    }
}

static void move(Item *it, ItemState to)
{
    WorkQueue *q = it->queue;
    assert(item_next[it->state] & 1u << to);
    leave(q, it);
    it->state = to;
    it->order = q->order++;
    switch (to) {
    case ITEM_READY:
        it->since = clock_now(q->o.clock);
        list_push_back(it->waited ? &q->retries : &q->fresh, &it->link);
        q->n_ready++;
        break;
    case ITEM_DELAYED:
        heap_push(&q->delayed, &it->node);
        break;
    case ITEM_RUNNING:
        heap_push(&q->running, &it->node);
        break;
    default:
        break;
    }
}

static void wake(WorkQueue *q)
{
    if (!q->in_turn && q->ops.wake)
        q->ops.wake(q->arg);
}

static Item *get_item(WorkQueue *q, Str key)
{
    Item *it = map_get(q->items, key);
    if (it)
        return it;
    it = xcalloc(1, sizeof(*it) + key.len + 1);
    it->queue = q;
    memcpy(it->key, key.ptr, key.len);
    list_init(&it->link);
    map_put(q->items, key, it);
    return it;
}

static void forget_if_idle(Item *it)
{
    if (it->state != ITEM_IDLE || it->failures > 0)
        return;
    map_remove(it->queue->items, str_from(it->key));
    free(it);
}

/* ---- adding ---- */

static void set_due(Item *it, Usec due)
{
    Usec now = clock_now(it->queue->o.clock);
    it->due = due;
    if (due <= now) {
        it->waited = false;
        move(it, ITEM_READY);
    } else if (it->state == ITEM_DELAYED) {
        heap_update(&it->queue->delayed, &it->node);
    } else {
        move(it, ITEM_DELAYED);
    }
}

void wq_add_after(WorkQueue *q, Str key, Usec after)
{
    assert(key.len > 0);
    Item *it = get_item(q, key);
    assert(it->queue == q && heap_linked(&it->node) == (it->state >= ITEM_DELAYED));
    Usec due = usec_add(clock_now(q->o.clock), after);
    /* A client that keeps editing an object must not turn backoff into a busy loop. */
    if (it->failures > 0 && due < usec_add(it->failed_at, WQ_FRESH_HOLD))
        due = usec_add(it->failed_at, WQ_FRESH_HOLD);
    switch (it->state) {
    case ITEM_RUNNING:
        it->dirty_due = it->dirty && it->dirty_due < due ? it->dirty_due : due;
        it->dirty = true;
        return;
    case ITEM_READY:
        return;
    case ITEM_DELAYED:
        if (due < it->due)
            set_due(it, due);
        break;
    default:
        set_due(it, due);
        break;
    }
    wake(q);
}

void wq_add(WorkQueue *q, Str key)
{
    wq_add_after(q, key, 0);
}

/* ---- running ---- */

static void count_reason(WqStats *s, const char *reason)
{
    for (size_t i = 0; i < s->n_reasons; i++) {
        if (strcmp(s->reasons[i].reason, reason) == 0) {
            s->reasons[i].count++;
            return;
        }
    }
    if (s->n_reasons == WQ_REASONS_MAX) {
        s->reasons[WQ_REASONS_MAX - 1].reason = "other";
        s->reasons[WQ_REASONS_MAX - 1].count++;
        return;
    }
    s->reasons[s->n_reasons++] = (WqReason){reason, 1};
}

static void count_run(WorkQueue *q, const Item *it, WqResult result)
{
    Usec took = clock_now(q->o.clock) - it->since;
    size_t i = 0;
    while (i < WQ_BUCKETS && took > wq_bucket_bounds[i])
        i++;
    q->stats.buckets[i]++;
    q->stats.busy += took;
    q->stats.results[result]++;
}

static Usec backoff(const WorkQueue *q, unsigned failures)
{
    assert(failures > 0);
    Usec delay = q->o.backoff_min;
    for (unsigned i = 1; i < failures && delay < q->o.backoff_max; i++)
        delay *= 2;
    if (delay > q->o.backoff_max)
        delay = q->o.backoff_max;
    if (!q->ops.random)
        return delay;
    double factor = 1 - WQ_JITTER + 2 * WQ_JITTER * q->ops.random(q->arg);
    return (Usec)((double)delay * factor);
}

/* When this key is to run again by its result alone; USEC_NEVER = not. */
static Usec again_at(Item *it, WqResult result, Usec after)
{
    WorkQueue *q = it->queue;
    Usec now = clock_now(q->o.clock);
    switch (result) {
    case WQ_RETRY:
        it->failures++;
        it->failed_at = now;
        return usec_add(now, backoff(q, it->failures));
    case WQ_AFTER:
        it->failures = 0;
        return usec_add(now, after);
    case WQ_WAIT:
        return usec_add(now, after);
    default:
        it->failures = 0;
        return USEC_NEVER;
    }
}

static void finish(Item *it, WqResult result, Usec after)
{
    WorkQueue *q = it->queue;
    count_run(q, it, result);
    Usec due = again_at(it, result, after);
    if (it->dirty) {
        Usec fresh = it->dirty_due;
        if (it->failures > 0 && fresh < usec_add(it->failed_at, WQ_FRESH_HOLD))
            fresh = usec_add(it->failed_at, WQ_FRESH_HOLD);
        due = fresh < due ? fresh : due;
        it->dirty = false;
    }
    if (due == USEC_NEVER) {
        move(it, ITEM_IDLE);
        forget_if_idle(it);
    } else {
        set_due(it, due);
    }
}

void wq_done(WqRun *run, WqResult result, Usec after, const char *reason)
{
    WorkQueue *q = run->queue;
    assert(run->state == ITEM_RUNNING);
    if (result == WQ_RETRY)
        count_reason(&q->stats, reason ? reason : "unknown");
    finish(run, result, after);
    wake(q);
}

void wq_run_set_data(WqRun *run, void *data)
{
    assert(run->state == ITEM_RUNNING);
    run->data = data;
}

void *wq_run_data(const WqRun *run)
{
    return run->data;
}

static void cancel_late(WorkQueue *q, Usec now)
{
    for (HeapNode *n; (n = heap_peek(&q->running)) && node_item(n)->due <= now;) {
        Item *it = node_item(n);
        q->stats.deadlines++;
        count_reason(&q->stats, "deadline");
        q->ops.cancel(q->arg, it->key, it);
        finish(it, WQ_RETRY, 0);
    }
}

static void ready_due(WorkQueue *q, Usec now)
{
    for (HeapNode *n; (n = heap_peek(&q->delayed)) && node_item(n)->due <= now;) {
        node_item(n)->waited = true;
        move(node_item(n), ITEM_READY);
    }
}

/* Events first, so that a crowd of failing keys does not delay them; but the crowd moves on too. */
static Item *pick(WorkQueue *q)
{
    bool retry =
        list_empty(&q->fresh) || (q->picks % RETRY_SHARE == RETRY_SHARE - 1 && !list_empty(&q->retries));
    List *from = retry ? &q->retries : &q->fresh;
    if (list_empty(from))
        return NULL;
    q->picks++;
    return LIST_ENTRY(from->next, Item, link);
}

static void start(WorkQueue *q, Item *it, Usec now)
{
    assert(it->state == ITEM_READY && list_linked(&it->link));
    it->due = usec_add(now, q->o.run_deadline);
    it->dirty = false;
    it->data = NULL;
    move(it, ITEM_RUNNING);
    it->since = now;
    q->stats.runs++;
    q->ops.run(q->arg, it->key, it);
}

void wq_turn(WorkQueue *q)
{
    assert(!q->in_turn);
    q->in_turn = true;
    Usec now = clock_now(q->o.clock);
    cancel_late(q, now);
    ready_due(q, now);
    for (int n = 0; n < STARTS_PER_TURN && !q->paused && q->running.len < q->o.workers; n++) {
        Item *it = pick(q);
        if (!it)
            break;
        start(q, it, now);
    }
    q->in_turn = false;
    wake(q);
}

Usec wq_next(const WorkQueue *q)
{
    if (q->n_ready > 0 && !q->paused && q->running.len < q->o.workers)
        return 0;
    Usec next = USEC_NEVER;
    HeapNode *n = heap_peek(&q->running);
    if (n)
        next = node_item(n)->due;
    /* With every worker busy there is nothing to do for a key that becomes due: the end of a run wakes us. */
    n = q->paused || q->running.len >= q->o.workers ? NULL : heap_peek(&q->delayed);
    if (n && node_item(n)->due < next)
        next = node_item(n)->due;
    return next;
}

void wq_pause(WorkQueue *q)
{
    q->paused = true;
}

unsigned wq_failures(const WorkQueue *q, Str key)
{
    const Item *it = map_get(q->items, key);
    return it ? it->failures : 0;
}

static Usec list_oldest(const List *l, Usec now)
{
    return list_empty(l) ? 0 : now - LIST_ENTRY(l->next, const Item, link)->since;
}

void wq_stats(const WorkQueue *q, WqStats *ret)
{
    *ret = q->stats;
    ret->waiting = q->n_ready;
    ret->delayed = q->delayed.len;
    ret->running = q->running.len;
    Usec now = clock_now(q->o.clock);
    Usec a = list_oldest(&q->fresh, now), b = list_oldest(&q->retries, now);
    ret->oldest = a > b ? a : b;
}

const char *wq_name(const WorkQueue *q)
{
    return q->o.name;
}
