/*
 * The log of changes, read once for all who follow it. After a commit the hub reads on from where it stands,
 * with the objects that somebody wants, and hands each change to every cursor of its kind.
 */
#include "hub-internal.h"

#include "base/log.h"
#include "base/mem.h"

#define FEED_ROWS 500

SharedObj *shared_obj_ref(SharedObj *o)
{
    if (o)
        o->refs++;
    return o;
}

SharedObj *shared_obj_unref(SharedObj *o)
{
    if (o && --o->refs == 0) {
        obj_free(o->obj);
        free(o);
    }
    return NULL;
}

/* ---- pages of events ---- */

unsigned kind_number(const Kind *k)
{
    size_t n;
    const Kind *const *all = kinds_all(&n);
    for (unsigned i = 0; i < n; i++) {
        if (all[i] == k)
            return i;
    }
    return (unsigned)n;
}

FeedPage *feed_page_new(Hub *h, uint64_t after, const Kind *only)
{
    FeedPage *p = xnew(FeedPage);
    p->hub = hub_ref(h);
    p->after = after;
    p->only = only;
    p->objects = map_new();
    p->rights = svc_rights_new(h->service);
    return p;
}

static void feed_page_clear(FeedPage *p)
{
    VEC_FOREACH (&p->items, it) {
        shared_obj_unref(it->obj);
        free(it->id);
        free(it->project);
        free(it->owner);
    }
    vec_clear(&p->items);
    MAP_FOREACH (p->objects, o)
        shared_obj_unref(o.value);
    map_clear(p->objects);
    p->last = p->after;
}

void feed_page_free(FeedPage *p)
{
    feed_page_clear(p);
    map_free(p->objects);
    vec_free(&p->items);
    svc_rights_free(p->rights);
    hub_unref(p->hub);
    free(p);
}

static int keep_event(void *arg, const Event *ev)
{
    FeedPage *p = arg;
    p->last = ev->version;
    if (!ev->kind || (p->only && p->only != ev->kind))
        return 0;
    FeedItem it = {
        .version = ev->version,
        .type = ev->type,
        .kind = ev->kind,
        .id = str_dup(ev->object_id),
        .project = str_dup(ev->project_id),
        .owner = str_dup(ev->owner),
    };
    vec_push(&p->items, it);
    return 0;
}

/* Each object once, however often it changed. One that is gone by now gives none: its deletion follows. */
static int load_object(Tx *tx, FeedPage *p, FeedItem *it, Err *err)
{
    Err why = {0};
    Obj *obj = NULL;
    CLEANUP_FREE char *key = xasprintf("%s/%s", it->kind->table, it->id);
    SharedObj *o = map_get(p->objects, str_from(key));
    if (!o) {
        int rc = tx_get(tx, it->kind, str_from(it->id), &obj, &why);
        if (rc == -ERR_NOT_FOUND)
            return 0;
        if (rc < 0) {
            if (err)
                *err = why;
            return rc;
        }
        o = xnew(SharedObj);
        *o = (SharedObj){.refs = 1, .obj = obj};
        map_put(p->objects, str_from(key), o);
    }
    it->obj = shared_obj_ref(o);
    return 0;
}

/* A page of one kind does not say whether rights changed meanwhile. */
static bool rights_are_new(const FeedPage *p)
{
    VEC_FOREACH (&p->items, it)
        if (svc_is_access_kind(it->kind))
            return true;
    return p->only != NULL;
}

int feed_page_read(Tx *tx, FeedPage *p, Err *err)
{
    feed_page_clear(p);
    int rc = tx_events_range(tx, &p->oldest, &p->newest, err);
    if (rc == 0)
        rc = tx_events_read(tx, p->after, FEED_ROWS, keep_event, p, err);
    for (size_t i = 0; rc == 0 && i < p->items.len; i++) {
        FeedItem *it = &p->items.ptr[i];
        if (it->type != EVENT_DELETED && p->with_objects >> kind_number(it->kind) & 1)
            rc = load_object(tx, p, it, err);
    }
    return rc < 0 ? rc : svc_rights_read(p->rights, tx, rights_are_new(p), err);
}

/* ---- the hub's own reading ---- */

static uint64_t wanted_kinds(const Hub *h)
{
    uint64_t kinds = 0;
    LIST_FOREACH (&h->event_cursors, it)
        kinds |= (uint64_t)1 << kind_number(LIST_ENTRY(it, EventCursor, all)->kind);
    return kinds;
}

static void want_rights(const Hub *h, FeedPage *p)
{
    LIST_FOREACH (&h->event_cursors, it)
        svc_rights_want(p->rights, LIST_ENTRY(it, EventCursor, all)->caller);
}

/* The hub's place, or that of a cursor that came near enough to be taken along from where it is. */
static uint64_t feed_start(const Hub *h)
{
    uint64_t start = h->seen;
    LIST_FOREACH (&h->event_cursors, it) {
        const EventCursor *c = LIST_ENTRY(it, EventCursor, all);
        if (c->state == EC_LIVE && c->pos < start)
            start = c->pos;
    }
    return start;
}

static void distribute(Hub *h, FeedPage *p)
{
    VEC_FOREACH (&p->items, it) {
        svc_note_event(h->service, it->kind, it->type);
        if (svc_is_access_kind(it->kind))
            guard_changed(h);
        if (it->kind == &kind_user && it->type != EVENT_CREATED)
            guard_users_changed(h);
        if (it->kind == &kind_session && it->type == EVENT_DELETED)
            logs_session_deleted(h, str_from(it->id));
        else if (it->kind == &kind_session)
            guard_session_changed(h, str_from(it->id));
    }
    LIST_FOREACH (&h->event_cursors, link) {
        EventCursor *c = LIST_ENTRY(link, EventCursor, all);
        /* One that came while the page was read, or whose objects were not asked for: the next page is its.
         */
        if (c->state != EC_LIVE || c->pos < p->after || !(p->with_objects >> kind_number(c->kind) & 1))
            continue;
        if (event_cursor_take(c, p))
            event_cursor_moved(c, p->last);
    }
    h->oldest = p->oldest;
    if (p->last > h->seen)
        h->seen = p->last;
}

static int feed_job(Tx *tx, void *arg, Err *err)
{
    return feed_page_read(tx, arg, err);
}

static void feed_done(void *arg, int rc, const Err *err)
{
    FeedPage *p = arg;
    Hub *h = p->hub;
    h->feed_running = false;
    if (rc < 0)
        log_warn("events cannot be read", F_ERR(err)); /* nothing is lost: the next look goes on from here */
    else if (!h->down)
        distribute(h, p);
    if (rc == 0 && p->last > p->after)
        feed_kick(h);
    feed_page_free(p);
}

void feed_kick(Hub *h)
{
    if (h->down || !h->events_known || h->feed_running)
        return;
    uint64_t start = feed_start(h);
    if (start >= h->wanted && start >= h->seen)
        return;
    FeedPage *p = feed_page_new(h, start, NULL);
    p->with_objects = wanted_kinds(h);
    want_rights(h, p);
    h->feed_running = true;
    h->store_reads++;
    if (store_submit(h->store, STORE_READ, feed_job, feed_done, p, NULL) < 0) {
        h->feed_running = false; /* the periodic look tries again */
        feed_page_free(p);
    }
}

/* ---- the periodic look ---- */

typedef struct News {
    char *session;
    uint64_t last;
} News;

typedef struct Poll {
    Hub *hub;
    bool first;
    uint64_t position, oldest, newest;
    VEC_OF(News)
    news;
} Poll;

static void poll_clear(Poll *p)
{
    VEC_FOREACH (&p->news, n)
        free(n->session);
    vec_clear(&p->news);
}

static int keep_news(void *arg, Str session, uint64_t last)
{
    Poll *p = arg;
    News n = {str_dup(session), last};
    vec_push(&p->news, n);
    return 0;
}

static int poll_job(Tx *tx, void *arg, Err *err)
{
    Poll *p = arg;
    poll_clear(p);
    int rc = tx_events_range(tx, &p->oldest, &p->newest, err);
    if (rc < 0)
        return rc;
    return p->first ? tx_message_position(tx, &p->position, err)
                    : tx_message_news(tx, &p->position, keep_news, p, err);
}

static void poll_take(Hub *h, Poll *p)
{
    h->position = p->position;
    h->oldest = p->oldest;
    if (p->newest > h->wanted)
        h->wanted = p->newest;
    VEC_FOREACH (&p->news, n)
        logs_news(h, str_from(n->session), n->last);
    if (!h->events_known) {
        h->events_known = true;
        h->seen = p->newest;
        logs_look_again(h); /* events before this one are never looked at, and one may have been a deletion */
        event_cursors_known(h);
    }
    feed_kick(h);
}

static void poll_done(void *arg, int rc, const Err *err)
{
    Poll *p = arg;
    Hub *h = p->hub;
    h->poll_running = false;
    if (rc < 0)
        log_warn("the logs cannot be looked at", F_ERR(err));
    else if (!h->down)
        poll_take(h, p);
    poll_clear(p);
    vec_free(&p->news);
    free(p);
    if (h->poll_again)
        feed_poll(h);
    hub_unref(h);
}

void feed_poll(Hub *h)
{
    h->poll_again = h->poll_running;
    if (h->down || h->poll_running)
        return;
    Poll *p = xnew(Poll);
    p->hub = hub_ref(h);
    p->first = !h->events_known;
    p->position = h->position;
    h->poll_running = true;
    if (store_submit(h->store, STORE_READ, poll_job, poll_done, p, NULL) < 0) {
        h->poll_running = false;
        hub_unref(h);
        free(p);
    }
}
