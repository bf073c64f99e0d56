/*
 * Cursors over the changes of one kind. Those that wait for a later version read pages of their own until
 * they are near the hub's place; from then on the hub's reading starts early enough for them.
 */
#include "hub-internal.h"

#include "base/log.h"
#include "base/mem.h"

/* So near, one page of the hub takes the cursor along. */
#define NEAR 500

/* ---- what is pending ---- */

static void pending_free(Pending *p)
{
    if (!p)
        return;
    shared_obj_unref(p->obj);
    free(p);
}

static void pending_clear(EventCursor *c)
{
    ListLink *it;
    while ((it = list_pop_front(&c->order)))
        pending_free(LIST_ENTRY(it, Pending, link));
    c->pending = map_free(c->pending);
}

static Pending *pending_add(EventCursor *c, Str id, uint64_t version)
{
    Pending *p = xcalloc(1, sizeof(*p) + id.len + 1);
    memcpy(p->id, id.ptr, id.len);
    p->first = version;
    list_init(&p->link);
    list_push_back(&c->order, &p->link);
    if (!c->pending)
        c->pending = map_new();
    map_put(c->pending, id, p);
    return p;
}

/* An object that the receiver has not heard of stays CREATED, however often it changed since. */
static EventType merged(EventType before, EventType now)
{
    return before == EVENT_CREATED && now == EVENT_UPDATED ? EVENT_CREATED : now;
}

static void add(EventCursor *c, const FeedItem *it)
{
    Pending *p = c->pending ? map_get(c->pending, str_from(it->id)) : NULL;
    EventType type = p ? merged(p->type, it->type) : it->type;
    if (!p)
        p = pending_add(c, str_from(it->id), it->version);
    p->type = type;
    p->newest = it->version;
    shared_obj_unref(p->obj);
    p->obj = shared_obj_ref(it->obj);
}

static bool is_in_place(const EventCursor *c, const FeedItem *it)
{
    const Obj *o = it->obj ? it->obj->obj : NULL;
    if (it->kind != c->kind || it->version <= c->pos)
        return false;
    if (!o && it->type != EVENT_DELETED) /* gone by now: its deletion follows */
        return false;
    if (c->project && !str_eqz(str_from(it->project), c->project))
        return false;
    return !c->parent || (o && str_eqz(obj_str(o, c->kind->parent_field), c->parent));
}

/* The rights on an object are taken away with it: whoever saw it until now hears that it is gone. */
static bool is_visible(const EventCursor *c, const Rights *now, const FeedItem *it)
{
    const SvcEvent ev = {
        .kind = it->kind,
        .obj = it->obj ? it->obj->obj : NULL,
        .id = str_from(it->id),
        .project_id = str_from(it->project),
        .owner = str_from(it->owner),
    };
    return svc_visible(c->caller, now, &ev) ||
           (!ev.obj && c->rights && svc_visible(c->caller, c->rights, &ev));
}

bool event_cursor_take(EventCursor *c, const FeedPage *p)
{
    Rights *now;
    if (!svc_rights_of(p->rights, c->caller, &now))
        return false;
    VEC_FOREACH (&p->items, it)
        if (is_in_place(c, it) && is_visible(c, now, it))
            add(c, it);
    if (now != c->rights) {
        rights_unref(c->rights);
        c->rights = now ? rights_ref(now) : NULL;
    }
    return true;
}

static void wake(EventCursor *c)
{
    if (!c->w.armed || c->w.ended || (list_empty(&c->order) && !c->relist && !c->w.failed))
        return;
    c->w.armed = false;
    hub_make_ready(c->hub, &c->w);
}

void event_cursor_moved(EventCursor *c, uint64_t pos)
{
    if (pos > c->pos)
        c->pos = pos;
    wake(c);
}

/* ---- catching up ---- */

static void event_cursor_free(EventCursor *c)
{
    Hub *h = c->hub;
    pending_clear(c);
    pending_free(c->current);
    rights_unref(c->rights);
    caller_unref(c->caller);
    free(c->project);
    free(c->parent);
    free(c);
    hub_unref(h);
}

static void read_page(EventCursor *c);

typedef struct CatchUp {
    EventCursor *cursor;
    FeedPage *page;
} CatchUp;

static int catch_up_job(Tx *tx, void *arg, Err *err)
{
    CatchUp *u = arg;
    return feed_page_read(tx, u->page, err);
}

/* The store does not go back in time, but a client may come with another store's version. */
static bool must_relist(const FeedPage *p)
{
    return p->after < p->oldest || p->after > p->newest;
}

static void take_page(EventCursor *c, FeedPage *p)
{
    Hub *h = c->hub;
    if (must_relist(p)) {
        c->relist = true;
        wake(c);
        return;
    }
    (void)event_cursor_take(c, p);
    event_cursor_moved(c, p->last);
    if (c->pos + NEAR < h->seen) {
        read_page(c);
        return;
    }
    c->state = EC_LIVE;
    feed_kick(h);
}

static void catch_up_done(void *arg, int rc, const Err *err)
{
    CatchUp *u = arg;
    EventCursor *c = u->cursor;
    c->reading = false;
    if (c->closed) {
        event_cursor_free(c);
    } else if (rc < 0) {
        log_warn("events cannot be read", F_ERR(err));
        c->w.failed = true;
        wake(c);
    } else if (!c->hub->down) {
        take_page(c, u->page);
    }
    feed_page_free(u->page);
    free(u);
}

static void catch_up_refused(void *arg)
{
    Err err = {ERR_UNAVAILABLE, "the store is busy"};
    catch_up_done(arg, -ERR_UNAVAILABLE, &err);
}

static void read_page(EventCursor *c)
{
    Hub *h = c->hub;
    CatchUp *u = xnew(CatchUp);
    u->cursor = c;
    u->page = feed_page_new(h, c->pos, c->kind);
    u->page->with_objects = (uint64_t)1 << kind_number(c->kind);
    svc_rights_want(u->page->rights, c->caller);
    c->reading = true;
    h->store_reads++;
    if (store_submit(h->store, STORE_READ, catch_up_job, catch_up_done, u, NULL) < 0)
        loop_post(h->loop, catch_up_refused, u);
}

/* The hub knows where the log stands. Now is behind every commit it has heard of, read or not. */
static void begin(EventCursor *c)
{
    if (c->from_now) {
        c->pos = c->hub->wanted > c->hub->seen ? c->hub->wanted : c->hub->seen;
        c->state = EC_LIVE;
    } else {
        c->state = EC_CATCHING;
        read_page(c);
    }
}

void event_cursors_known(Hub *h)
{
    LIST_FOREACH (&h->event_cursors, it) {
        EventCursor *c = LIST_ENTRY(it, EventCursor, all);
        if (c->state == EC_JOINING)
            begin(c);
    }
}

/* ---- the cursor ---- */

int event_cursor_open(Hub *h, const Kind *k, Caller *caller, Str project, uint64_t after,
                      const CursorOps *ops, void *arg, EventCursor **ret, Err *err)
{
    if (h->down)
        return err_set(err, ERR_UNAVAILABLE, "server is shutting down");
    if (h->events_known && after < h->oldest)
        return err_set(err, ERR_PRECONDITION, "resource version %llu is no longer kept: list again",
                       (unsigned long long)after);
    EventCursor *c = xnew(EventCursor);
    waiter_init(&c->w, ops, arg, true);
    list_init(&c->all);
    list_init(&c->order);
    c->hub = hub_ref(h);
    c->kind = k;
    c->caller = caller_ref(caller);
    c->project = project.len ? str_dup(project) : NULL;
    c->from_now = after == UINT64_MAX;
    c->pos = c->from_now ? 0 : after;
    list_push_back(&h->event_cursors, &c->all);
    list_push_back(&h->event_idle, &c->w.link);
    h->event_watchers++;
    if (h->events_known)
        begin(c);
    *ret = c;
    return 0;
}

void event_cursor_only_parent(EventCursor *c, Str parent_id)
{
    free(c->parent);
    c->parent = str_dup(parent_id);
}

uint64_t event_cursor_version(const EventCursor *c)
{
    if (list_empty(&c->order))
        return c->pos;
    return LIST_ENTRY(c->order.next, Pending, link)->first - 1;
}

bool event_cursor_next(EventCursor *c, EventItem *ret)
{
    pending_free(TAKE(c->current));
    if (c->w.ended || c->hub->down)
        return false;
    ListLink *it = list_pop_front(&c->order);
    if (!it) {
        c->w.armed = true;
        wake(c);
        return false;
    }
    Pending *p = c->current = LIST_ENTRY(it, Pending, link);
    map_remove(c->pending, str_from(p->id));
    if (list_empty(&c->order))
        c->pending = map_free(c->pending); /* an idle cursor keeps none */
    c->hub->frames_sent++;
    *ret = (EventItem){
        .type = (int)p->type,
        .obj = p->type == EVENT_DELETED || !p->obj ? NULL : p->obj->obj,
        .id = str_from(p->id),
        .version = event_cursor_version(c),
        .change = p->newest,
    };
    return true;
}

static void end(EventCursor *c, ErrCode code, const char *why)
{
    Err err = {0};
    c->w.ended = true;
    err_set(&err, code, "%s", why);
    c->w.ops->on_end(c->w.arg, &err);
}

void event_cursor_run(EventCursor *c)
{
    list_push_back(&c->hub->event_idle, &c->w.link);
    if (c->w.ended)
        return;
    c->w.armed = false;
    if (c->hub->down)
        end(c, ERR_UNAVAILABLE, "server is shutting down");
    else if (c->relist)
        end(c, ERR_PRECONDITION, "this resource version is not kept: list again");
    else if (c->w.failed)
        end(c, ERR_UNAVAILABLE, "events cannot be read at the moment");
    else
        c->w.ops->on_ready(c->w.arg);
}

void event_cursors_shutdown(Hub *h)
{
    hub_make_all_ready(h, &h->event_idle);
}

EventCursor *event_cursor_close(EventCursor *c)
{
    if (!c)
        return NULL;
    list_remove(&c->w.link);
    list_remove(&c->all);
    c->hub->event_watchers--;
    c->closed = true;
    if (!c->reading)
        event_cursor_free(c);
    return NULL;
}
