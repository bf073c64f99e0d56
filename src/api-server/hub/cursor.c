/* Cursors over messages, and the pages that are read for those who are behind. hub-internal.h draws their
 * states. */
#include "hub-internal.h"

#include "base/log.h"
#include "base/mem.h"

/* Pages that are read at the same time. The rest waits here and not in the store's queue, which others need.
 */
#define READS_MAX 8

typedef struct PageRead {
    Hub *hub;
    SessionLog *log;
    uint64_t after;
    VEC_OF(Message *)
    rows;
    bool exists;
    uint64_t last; /* seq of the newest row */
} PageRead;

static void reads_start(Hub *h);

static Cursor *cursor_of(ListLink *link)
{
    return CONTAINER_OF(LIST_ENTRY(link, Waiter, link), Cursor, w);
}

static bool at_end(const Cursor *c)
{
    return c->log->end_known && c->seq >= c->log->end;
}

/* Nothing will follow: the session is gone, and what it had was handed out. */
static bool is_over(const Cursor *c)
{
    return c->log->gone && at_end(c);
}

static void move(Cursor *c, List *to)
{
    list_remove(&c->w.link);
    list_push_back(to, &c->w.link);
}

/* ---- reading pages ---- */

static int keep_row(void *arg, Message *m)
{
    PageRead *p = arg;
    vec_push(&p->rows, message_ref(m));
    return 0;
}

static void page_clear(PageRead *p)
{
    VEC_FOREACH (&p->rows, m)
        message_unref(*m);
    vec_clear(&p->rows);
}

/* Worker thread. A session's deletion and its last row are of the same moment as the page. */
static int page_job(Tx *tx, void *arg, Err *err)
{
    PageRead *p = arg;
    page_clear(p);
    int rc = tx_exists(tx, &kind_session, p->log->id, &p->exists, err);
    if (rc == 0)
        rc = tx_message_last_seq(tx, p->log->id, &p->last, err);
    if (rc == 0 && p->last > p->after)
        rc = tx_messages_read(tx, p->log->id, p->after, p->hub->page_rows, p->hub->page_bytes, keep_row, p,
                              err);
    return rc;
}

static void want_page(SessionLog *l)
{
    Hub *h = l->hub;
    if (l->reading || list_linked(&l->read_link))
        return;
    list_push_back(&h->reads, &l->read_link);
    reads_start(h);
}

/* It had nothing: from now on it is called when there is something. */
static void arm(Cursor *c)
{
    SessionLog *l = c->log;
    c->w.armed = true;
    if (session_log_has(l, c->seq) || is_over(c)) {
        hub_make_ready(l->hub, &c->w);
    } else if (at_end(c)) {
        move(c, &l->waiting);
    } else {
        move(c, &l->behind);
        want_page(l);
    }
}

/* After a page: each finds its place again. */
static void sort_behind(SessionLog *l)
{
    List all;
    ListLink *link;
    list_init(&all);
    list_splice(&all, &l->behind);
    while ((link = list_pop_front(&all)))
        arm(cursor_of(link));
}

static void fail_behind(SessionLog *l, const Err *err)
{
    log_warn("messages cannot be read", F_STRV("session", l->id), F_ERR(err));
    LIST_FOREACH (&l->behind, it)
        LIST_ENTRY(it, Waiter, link)->failed = true;
    hub_make_all_ready(l->hub, &l->behind);
}

static void take_page(PageRead *p)
{
    SessionLog *l = p->log;
    uint64_t prev = p->after;
    VEC_FOREACH (&p->rows, m) {
        session_log_put(l, prev, *m);
        prev = (*m)->seq;
    }
    l->end_known = !l->again;
    l->again = false;
    l->gone = l->gone || !p->exists;
    if (p->last > l->end) { /* another server's rows, of which this is the first word */
        l->end = p->last;
        hub_make_all_ready(l->hub, &l->waiting);
    }
    sort_behind(l);
}

static void page_free(PageRead *p)
{
    page_clear(p);
    vec_free(&p->rows);
    hub_unref(p->hub);
    free(p);
}

static void page_done(void *arg, int rc, const Err *err)
{
    PageRead *p = arg;
    Hub *h = p->hub;
    SessionLog *l = p->log;
    l->reading = false;
    h->reads_running--;
    if (!h->down && l->n_cursors) {
        if (rc == 0)
            take_page(p);
        else
            fail_behind(l, err);
    }
    session_log_release(l);
    if (!h->down)
        reads_start(h);
    page_free(p);
}

static void page_refused(void *arg)
{
    Err err = {ERR_UNAVAILABLE, "the store is busy"};
    page_done(arg, -ERR_UNAVAILABLE, &err);
}

static void read_page(SessionLog *l)
{
    Hub *h = l->hub;
    if (list_empty(&l->behind))
        return;
    PageRead *p = xnew(PageRead);
    p->hub = hub_ref(h);
    p->log = l;
    p->after = cursor_of(l->behind.next)->seq;
    l->reading = true;
    h->reads_running++;
    h->store_reads++;
    if (store_submit(h->store, STORE_READ, page_job, page_done, p, NULL) < 0)
        loop_post(h->loop, page_refused, p);
}

static void reads_start(Hub *h)
{
    ListLink *link;
    while (h->reads_running < READS_MAX && (link = list_pop_front(&h->reads)))
        read_page(LIST_ENTRY(link, SessionLog, read_link));
}

/* ---- what happens to logs ---- */

void logs_committed(Hub *h, const CommitNote *note)
{
    for (size_t i = 0; i < note->n_messages; i++) {
        Message *m = note->messages[i];
        SessionLog *l = map_get(h->logs, m->session_id);
        if (!l)
            continue;
        session_log_put(l, m->seq - 1, m); /* our rows have no gaps */
        logs_news(h, m->session_id, m->seq);
    }
}

void logs_news(Hub *h, Str session_id, uint64_t last)
{
    SessionLog *l = map_get(h->logs, session_id);
    if (!l || last <= l->end)
        return;
    l->end = last;
    hub_make_all_ready(h, &l->waiting);
}

/* Where the log ends has to be read anew, and then each finds its place again. */
static void look_again(SessionLog *l)
{
    l->end_known = false;
    l->again = l->reading; /* that page may be from before */
    list_splice(&l->behind, &l->waiting);
    if (!list_empty(&l->behind))
        want_page(l);
}

/* Other processes may have pushed before the deletion. */
void logs_session_deleted(Hub *h, Str session_id)
{
    SessionLog *l = map_get(h->logs, session_id);
    if (!l || l->gone)
        return;
    l->gone = true;
    look_again(l);
}

void logs_look_again(Hub *h)
{
    MAP_FOREACH (h->logs, it)
        look_again(it.value);
}

void logs_shutdown(Hub *h)
{
    MAP_FOREACH (h->logs, it) {
        SessionLog *l = it.value;
        hub_make_all_ready(h, &l->idle);
        hub_make_all_ready(h, &l->waiting);
        hub_make_all_ready(h, &l->behind);
    }
}

/* ---- the cursor ---- */

int cursor_open(Hub *h, Str session_id, uint64_t after_seq, HubEncoding enc, const CursorOps *ops, void *arg,
                Cursor **ret, Err *err)
{
    if (h->down)
        return err_set(err, ERR_UNAVAILABLE, "server is shutting down");
    Cursor *c = xnew(Cursor);
    waiter_init(&c->w, ops, arg, false);
    c->log = session_log_get(h, session_id);
    list_init(&c->guard);
    c->log->n_cursors++;
    c->seq = after_seq;
    c->enc = enc;
    h->message_watchers++;
    hub_ref(h);
    arm(c);
    *ret = c;
    return 0;
}

GrpcFrame *cursor_next(Cursor *c)
{
    SessionLog *l = c->log;
    if (c->w.ended || c->denied || l->hub->down)
        return NULL;
    GrpcFrame *f = session_log_frame(l, c->seq, c->enc, &c->seq);
    if (!f) {
        arm(c);
        return NULL;
    }
    l->hub->frames_sent++;
    if (c->w.armed) {
        c->w.armed = false;
        move(c, &l->idle);
    }
    return f;
}

static void end(Cursor *c, ErrCode code, const char *why)
{
    Err err = {0};
    c->w.ended = true;
    err_set(&err, code, "%s", why);
    c->w.ops->on_end(c->w.arg, &err);
}

/* The list is chosen before the call, since the cursor may be closed by it. */
void cursor_run(Cursor *c)
{
    list_push_back(&c->log->idle, &c->w.link);
    if (c->w.ended)
        return;
    c->w.armed = false;
    if (c->log->hub->down)
        end(c, ERR_UNAVAILABLE, "server is shutting down");
    else if (c->denied && c->caller->type == CALLER_SESSION)
        end(c, ERR_UNAUTHENTICATED, "invalid token: this run of the session is over");
    else if (c->denied)
        end(c, ERR_FORBIDDEN, "not authorized to watch this session");
    else if (c->w.failed)
        end(c, ERR_UNAVAILABLE, "messages cannot be read at the moment");
    else if (is_over(c))
        end(c, ERR_NOT_FOUND, "session not found");
    else
        c->w.ops->on_ready(c->w.arg);
}

uint64_t cursor_seq(const Cursor *c)
{
    return c->seq;
}

Cursor *cursor_close(Cursor *c)
{
    if (!c)
        return NULL;
    SessionLog *l = c->log;
    Hub *h = l->hub;
    list_remove(&c->w.link);
    cursor_unguard(c);
    h->message_watchers--;
    l->n_cursors--;
    session_log_release(l);
    free(c);
    hub_unref(h);
    return NULL;
}
