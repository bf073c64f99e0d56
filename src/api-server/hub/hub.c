#include "hub-internal.h"

#include "base/log.h"
#include "base/mem.h"

#define TAIL_BYTES ((size_t)64 << 20)
#define PAGE_ROWS 200
#define PAGE_BYTES ((size_t)256 << 10)
#define POLL_INTERVAL (15 * USEC_PER_SEC)
/* Callbacks in one turn of the loop: what is left waits for the next, so that others come between. */
#define RUN_BUDGET 256

/* ---- life ---- */

Hub *hub_ref(Hub *h)
{
    h->refs++;
    return h;
}

void hub_unref(Hub *h)
{
    if (--h->refs)
        return;
    map_free(h->logs);
    free(h);
}

static void on_commit(void *arg, const CommitNote *note)
{
    Hub *h = arg;
    svc_note_commit(h->service, note);
    if (h->down)
        return;
    logs_committed(h, note);
    if (note->last_event > h->wanted)
        h->wanted = note->last_event;
    feed_kick(h);
}

/* Another server on the database may have written to either log. */
static void on_news(void *arg)
{
    feed_poll(arg);
}

static void on_poll(void *arg)
{
    Hub *h = arg;
    feed_poll(h);
    timer_arm(h->poll, h->poll_interval);
}

Hub *hub_new(Loop *l, const HubOptions *o)
{
    Hub *h = xnew(Hub);
    h->refs = 1;
    h->loop = l;
    h->store = o->store;
    h->service = o->service;
    h->page_rows = o->page_rows ? o->page_rows : PAGE_ROWS;
    h->page_bytes = o->page_bytes ? o->page_bytes : PAGE_BYTES;
    h->tail_max = o->tail_bytes ? o->tail_bytes : TAIL_BYTES;
    /* Pages that were read for several watchers must live until those have come by. */
    if (h->tail_max < 16 * h->page_bytes)
        h->tail_max = 16 * h->page_bytes;
    h->poll_interval = o->poll_interval ? o->poll_interval : POLL_INTERVAL;
    h->logs = map_new();
    list_init(&h->ready);
    list_init(&h->lru);
    list_init(&h->reads);
    list_init(&h->guarded);
    list_init(&h->event_cursors);
    list_init(&h->event_idle);
    h->poll = timer_new(l, on_poll, h);
    h->guard_timer = timer_new(l, guard_look, h);
    store_set_listener(h->store, on_commit, h);
    store_set_news(h->store, on_news, h);
    on_poll(h);
    return h;
}

void hub_shutdown(Hub *h)
{
    if (h->down)
        return;
    h->down = true;
    timer_cancel(h->poll);
    timer_cancel(h->guard_timer);
    logs_shutdown(h);
    event_cursors_shutdown(h);
}

void hub_forget_store(Hub *h)
{
    if (!h)
        return;
    hub_shutdown(h);
    if (h->store) {
        store_set_listener(h->store, NULL, NULL);
        store_set_news(h->store, NULL, NULL);
    }
    h->store = NULL;
}

/* What is still open loses its logs, and so everything it could ask for. */
static void detach_all(Hub *h)
{
    MAP_FOREACH (h->logs, it)
        session_log_drop_chunks(it.value);
    h->detached = true;
}

Hub *hub_free(Hub *h)
{
    if (!h)
        return NULL;
    hub_forget_store(h);
    h->poll = timer_free(h->poll);
    h->guard_timer = timer_free(h->guard_timer);
    detach_all(h);
    hub_unref(h);
    return NULL;
}

/* ---- calling the watchers ---- */

void waiter_init(Waiter *w, const CursorOps *ops, void *arg, bool is_event)
{
    list_init(&w->link);
    w->ops = ops;
    w->arg = arg;
    w->is_event = is_event;
    w->armed = true;
}

static void run(void *arg);

static void post_run(Hub *h)
{
    if (h->run_posted || list_empty(&h->ready))
        return;
    h->run_posted = true;
    loop_post(h->loop, run, hub_ref(h));
}

static void run_one(ListLink *link)
{
    Waiter *w = LIST_ENTRY(link, Waiter, link);
    if (w->is_event)
        event_cursor_run(CONTAINER_OF(w, EventCursor, w));
    else
        cursor_run(CONTAINER_OF(w, Cursor, w));
}

static void run(void *arg)
{
    Hub *h = arg;
    ListLink *link;
    h->run_posted = false;
    for (unsigned n = 0; n < RUN_BUDGET && !h->detached && (link = list_pop_front(&h->ready)); n++)
        run_one(link);
    if (!h->detached)
        post_run(h);
    hub_unref(h);
}

void hub_make_ready(Hub *h, Waiter *w)
{
    list_remove(&w->link);
    list_push_back(&h->ready, &w->link);
    post_run(h);
}

void hub_make_all_ready(Hub *h, List *list)
{
    list_splice(&h->ready, list);
    post_run(h);
}

HubStats hub_stats(const Hub *h)
{
    return (HubStats){
        .message_watchers = h->message_watchers,
        .event_watchers = h->event_watchers,
        .tail_bytes = h->tail_bytes,
        .frames_sent = h->frames_sent,
        .store_reads = h->store_reads,
    };
}
