/*
 * Messages as server-sent events: a cursor of the hub whose frames go out while the client reads. A stream
 * that is not read costs its structures and nothing else. One timer serves all: the list is ordered by the
 * time of the last write, so its head is the next one that needs a comment. rest-core.md 11.3; WHATWG HTML,
 * server-sent events.
 */
#include "rest-internal.h"

#define FRAME_SHARED_MIN 4096
#define STREAMS_PER_USER 1000 /* the platform and administrators have no limit */

typedef struct Sse {
    ListLink link;
    Rest *rest;
    Caller *caller;
    HttpStream *http;
    Cursor *cursor;
    Usec written;
} Sse;

static void sse_touch(Sse *s)
{
    Rest *r = s->rest;
    s->written = loop_now(r->loop);
    list_remove(&s->link);
    list_push_back(&r->streams, &s->link);
    if (!timer_armed(r->ping))
        timer_arm(r->ping, r->o.ping_interval);
}

/* ---- how many one user may have ---- */

static uintptr_t streams_of(const Rest *r, const Caller *c)
{
    return (uintptr_t)map_get(r->streams_of_user, str_from(c->actor));
}

void stream_count(Rest *r, const Caller *c, int change)
{
    uintptr_t n = streams_of(r, c) + (uintptr_t)change;
    r->n_streams += (size_t)change;
    if (n)
        map_put(r->streams_of_user, str_from(c->actor), (void *)n);
    else
        map_remove(r->streams_of_user, str_from(c->actor));
}

bool stream_allowed(const Rest *r, const Caller *c)
{
    return (c->type != CALLER_USER && c->type != CALLER_SESSION) ||
           streams_of(r, c) < (r->o.streams_per_user ? r->o.streams_per_user : STREAMS_PER_USER);
}

/* ---- one stream ---- */

static void sse_free(Sse *s)
{
    cursor_close(s->cursor);
    list_remove(&s->link);
    stream_count(s->rest, s->caller, -1);
    caller_unref(s->caller);
    free(s);
}

static void release_frame(void *frame)
{
    grpc_frame_unref(frame);
}

/* All watchers share a large frame; a small one is cheaper to copy than to count. */
static void send_frame(HttpStream *http, GrpcFrame *f)
{
    Str bytes = grpc_frame_bytes(f);
    if (bytes.len >= FRAME_SHARED_MIN) {
        http_stream_write_ref(http, bytes, release_frame, f);
        return;
    }
    http_stream_write(http, bytes);
    grpc_frame_unref(f);
}

static void sse_pump(void *arg)
{
    Sse *s = arg;
    bool any = false;
    while (http_stream_writable(s->http)) {
        GrpcFrame *f = cursor_next(s->cursor);
        if (!f)
            break;
        send_frame(s->http, f);
        any = true;
    }
    if (any)
        sse_touch(s);
}

static void sse_end(Sse *s, const char *why)
{
    CLEANUP_BUF Buf comment = BUF_INIT(1024);
    (void)buf_addf(&comment, ": %s\n\n", why);
    http_stream_write(s->http, buf_str(&comment));
    http_stream_end(TAKE(s->http));
    sse_free(s);
}

static void sse_ended(void *arg, const Err *err)
{
    sse_end(arg, svc_public_reason(err));
}

static void sse_gone(void *arg)
{
    sse_free(arg);
}

static const HttpStreamOps stream_ops = {.on_drain = sse_pump, .on_gone = sse_gone};
static const CursorOps cursor_ops = {.on_ready = sse_pump, .on_end = sse_ended};

void sse_ping(void *rest)
{
    Rest *r = rest;
    Usec now = loop_now(r->loop);
    while (!list_empty(&r->streams)) {
        Sse *s = LIST_ENTRY(r->streams.next, Sse, link);
        Usec due = usec_add(s->written, r->o.ping_interval);
        if (due > now) {
            timer_arm(r->ping, due - now);
            return;
        }
        /* To one that does not read, the next frames say that we are here. */
        if (http_stream_writable(s->http))
            http_stream_write(s->http, STR(": ping\n\n"));
        sse_touch(s);
    }
}

void sse_end_all(Rest *r)
{
    LIST_FOREACH_SAFE (&r->streams, it)
        sse_end(LIST_ENTRY(it, Sse, link), "server is shutting down");
}

static void stream_headers(Request *q)
{
    rest_reply_common_headers(q);
    http_reply_header(q->http, "Content-Type", STR("text/event-stream"));
    http_reply_header(q->http, "Cache-Control", STR("no-cache"));
    http_reply_header(q->http, "X-Accel-Buffering", STR("no"));
}

static void sse_start(Request *q, const Obj *session)
{
    Err err = {0};
    Rest *r = q->rest;
    Sse *s = xnew(Sse);
    s->rest = r;
    list_init(&s->link);
    if (cursor_open(r->o.hub, q->vars.id, q->after, HUB_SSE, &cursor_ops, s, &s->cursor, &err) < 0) {
        free(s);
        rest_reply_error(q, &err);
        return;
    }
    s->caller = caller_ref(q->caller);
    cursor_guard(s->cursor, s->caller, session);
    stream_count(r, s->caller, 1);
    stream_headers(q);
    request_count(q, 200);
    s->http = http_stream_start(request_detach(q), 200, &stream_ops, s);
    sse_touch(s);
    sse_pump(s);
}

static void sse_checked(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_release(q))
        return;
    if (a->err)
        rest_reply_error(q, a->err);
    else if (q->rest->ending)
        rest_reply_error(q, &(Err){ERR_UNAVAILABLE, "server is shutting down"});
    else if (!stream_allowed(q->rest, q->caller))
        rest_reply_error(q, &(Err){ERR_RATE_LIMITED, "too many open streams"});
    else
        sse_start(q, a->obj);
}

void sse_open(Request *q, Str session_id)
{
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_watch_check(q->rest->o.service, &x, session_id, sse_checked, q);
}
