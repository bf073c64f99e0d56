/*
 * A request of ours that its session's runner answers. What the route's RunnerWay says becomes a request
 * there; the answer comes back as it is, piece by piece, or in the shape that clients of this API know.
 * Without a runner some reads have an answer of their own (a stub, marked by a header), everything else is an
 * error. An event stream ends when its reader may not follow the session any more. rest-core.md 11.4.
 */
#include "rest-internal.h"

#include "http/url.h"

#define CONNECT_TIMEOUT (5 * USEC_PER_SEC)
#define QUICK_TIMEOUT (5 * USEC_PER_SEC) /* for the runner's headers: what it knows by heart */
#define SLOW_TIMEOUT (60 * USEC_PER_SEC) /* and what it has to do first */
#define WHOLE_MAX ((size_t)4 << 20)      /* of an answer that is not passed on in pieces */
#define URL_MAX ((size_t)64 << 10)
#define BODY_MAX ((size_t)256 << 20) /* far beyond what the listener takes */

typedef struct Proxy {
    ListLink link;
    Rest *rest;
    Request *request;   /* until the answer starts */
    HttpStream *stream; /* from then on; NULL: the client left */
    HttpCall *call;
    Timer *deadline; /* for the runner's headers */
    Caller *caller;
    Obj *session;  /* until the answer starts */
    Cursor *guard; /* of an event stream: it never has a message, and ends with the right to read */
    bool event_stream;
    bool telling; /* proxy_tell(): request->out is the answer already */
} Proxy;

static void proxy_free(Proxy *p)
{
    http_cancel(p->call);
    cursor_close(p->guard);
    if (p->event_stream)
        stream_count(p->rest, p->caller, -1);
    obj_free(p->session);
    caller_unref(p->caller);
    timer_free(p->deadline);
    list_remove(&p->link);
    free(p);
}

/* The request of a proxy that did not answer yet; NULL when its client left. */
static Request *proxy_take_request(Proxy *p)
{
    Request *q = TAKE(p->request);
    if (q)
        q->on_left = NULL;
    return q && request_release(q) ? q : NULL;
}

/* Before the answer began: nobody waits for it any more. */
static void client_left(void *arg)
{
    Proxy *p = arg;
    (void)proxy_take_request(p);
    proxy_free(p);
}

static const RunnerWay *way_of(const Request *q)
{
    return q->route->runner;
}

/* ---- without a runner ---- */

static void mark_unavailable(Request *q)
{
    http_reply_header(q->http, "X-Ambient-Runner", STR("unavailable"));
}

static void stream_headers(Request *q, Str type)
{
    rest_reply_common_headers(q);
    http_reply_header(q->http, "Content-Type", type);
    http_reply_header(q->http, "Cache-Control", STR("no-cache"));
    http_reply_header(q->http, "X-Accel-Buffering", STR("no"));
}

/* A stream of nothing: what clients of agui/events expect while there is no runner. */
static void reply_empty_stream(Request *q)
{
    stream_headers(q, STR("text/event-stream"));
    request_count(q, 200);
    http_reply(q->http, 200, STR_NULL);
}

static void reply_stub(Request *q)
{
    mark_unavailable(q);
    if (way_of(q)->flags & W_EMPTY_STREAM) {
        reply_empty_stream(q);
        return;
    }
    (void)buf_addz(&q->out, way_of(q)->stub);
    rest_reply_json(q, 200, &q->out);
}

static bool has_stub(const Request *q)
{
    return way_of(q)->stub || (way_of(q)->flags & W_EMPTY_STREAM);
}

static void reply_unreachable(Request *q, const char *why)
{
    Err err = {ERR_BAD_GATEWAY, {0}};
    (void)snprintf(err.msg, sizeof(err.msg), "%s", why);
    mark_unavailable(q);
    rest_reply_error(q, &err);
}

static void runner_lost(Request *q)
{
    if (has_stub(q))
        reply_stub(q);
    else
        reply_unreachable(q, "runner not reachable");
}

static void no_runner(Request *q)
{
    if (has_stub(q))
        reply_stub(q);
    else if (way_of(q)->flags & W_EVENTS)
        reply_unreachable(q, "session has no associated runner pod");
    else {
        mark_unavailable(q);
        rest_reply_error(q, &(Err){ERR_UNAVAILABLE, "session runner not available"});
    }
}

/* ---- the answer ---- */

static void client_drained(void *arg)
{
    Proxy *p = arg;
    http_pause(p->call, false);
}

static void client_gone(void *arg)
{
    Proxy *p = arg;
    p->stream = NULL;
    proxy_free(p);
}

static const HttpStreamOps stream_ops = {.on_drain = client_drained, .on_gone = client_gone};

/* ---- who follows ---- */

static void end_events(Proxy *p, const char *why)
{
    CLEANUP_BUF Buf comment = BUF_INIT(1024);
    HttpStream *stream = TAKE(p->stream);
    (void)buf_addf(&comment, ": %s\n\n", why);
    proxy_free(p);
    http_stream_write(stream, buf_str(&comment));
    http_stream_end(stream);
}

static void guard_ready(void *arg)
{
    Proxy *p = arg;
    (void)cursor_next(p->guard); /* there is none: it waits again */
}

static void guard_ended(void *arg, const Err *err)
{
    end_events(arg, svc_public_reason(err));
}

static const CursorOps guard_ops = {.on_ready = guard_ready, .on_end = guard_ended};

/* A cursor behind all messages hears what every other follower of the session hears: that it was deleted,
   and that the caller's rights are gone. */
static int guard_events(Proxy *p, Err *err)
{
    Rest *r = p->rest;
    if (!stream_allowed(r, p->caller))
        return err_set(err, ERR_RATE_LIMITED, "too many open streams");
    int rc = cursor_open(r->o.hub, obj_str(p->session, FIELD_ID), UINT64_MAX, HUB_SSE, &guard_ops, p,
                         &p->guard, err);
    if (rc < 0)
        return rc;
    cursor_guard(p->guard, p->caller, p->session);
    p->event_stream = true;
    stream_count(r, p->caller, 1);
    return 0;
}

static void runner_headers(void *arg, const HttpResponse *r)
{
    Proxy *p = arg;
    Err err = {0};
    timer_cancel(p->deadline);
    if (r->status / 100 != 2) /* the body comes with runner_done() */
        return;
    Request *q = proxy_take_request(p);
    if (!q) { /* the client left while we waited */
        proxy_free(p);
        return;
    }
    Str type = r->content_type.len ? r->content_type : STR("application/octet-stream");
    if (str_istarts(type, STR("text/event-stream")) && guard_events(p, &err) < 0) {
        proxy_free(p);
        rest_reply_error(q, &err);
        return;
    }
    p->session = obj_free(p->session);
    stream_headers(q, type);
    /* What an agent wrote is never to be run by a browser that shows it. */
    http_reply_header(q->http, "X-Content-Type-Options", STR("nosniff"));
    request_count(q, r->status);
    p->stream = http_stream_start(request_detach(q), r->status, &stream_ops, p);
}

/* A client that does not read stops the runner's stream, not our memory. */
static void runner_piece(void *arg, Str bytes)
{
    Proxy *p = arg;
    http_stream_write(p->stream, bytes);
    if (!http_stream_writable(p->stream))
        http_pause(p->call, true);
}

static ErrCode refusal_code(int status)
{
    static const struct {
        int status;
        ErrCode code;
    } codes[] = {
        {400, ERR_INVALID},  {403, ERR_FORBIDDEN},     {404, ERR_NOT_FOUND},  {405, ERR_METHOD_NOT_ALLOWED},
        {409, ERR_CONFLICT}, {413, ERR_TOO_LARGE},     {422, ERR_INVALID},    {429, ERR_RATE_LIMITED},
        {500, ERR_INTERNAL}, {501, ERR_UNIMPLEMENTED}, {503, ERR_UNAVAILABLE}};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (codes[i].status == status)
            return codes[i].code;
    return ERR_BAD_GATEWAY;
}

/* Our error object with the runner's status and words; its own `detail` stays beside them. A refused token is
   between us and the runner: the caller's own was good. */
static void reply_refused(Request *q, const HttpResponse *r)
{
    CLEANUP_JSON json_t *body = NULL;
    bool ours = r->status >= 400 && r->status != 401 && !(way_of(q)->flags & W_EVENTS);
    if (!ours) {
        reply_unreachable(q, "runner returned non-OK status");
        return;
    }
    Err err = {refusal_code(r->status), {0}};
    if (json_parse(r->body, &body, NULL) < 0 || !json_is_object(body))
        body = NULL;
    const char *detail = json_get_str(body, "detail");
    (void)snprintf(err.msg, sizeof(err.msg), "%s", detail ? detail : "the runner refused the request");
    rest_reply_error_with(q, r->status, &err, "detail", json_object_get(body, "detail"));
}

static void reply_whole(Request *q, const HttpResponse *r)
{
    CLEANUP_JSON json_t *body = NULL;
    Err err = {0};
    if (json_parse(r->body, &body, &err) < 0) {
        reply_unreachable(q, "the runner's answer is not JSON");
        return;
    }
    way_of(q)->shape(body, &q->out);
    rest_reply_json(q, 200, &q->out);
}

static void reply_missing(Request *q)
{
    (void)buf_addz(&q->out, way_of(q)->stub);
    rest_reply_json(q, 200, &q->out);
}

/* The platform's proxy says by a header that there is no runner behind it. */
static void reply_answer(Request *q, const HttpResponse *r)
{
    if (r->status / 100 == 2)
        reply_whole(q, r);
    else if (r->header(r, "X-Ambient-Runner").ptr)
        runner_lost(q);
    else if (r->status == 404 && (way_of(q)->flags & W_MISSING_IS_STUB))
        reply_missing(q);
    else
        reply_refused(q, r);
}

/* ---- a change that the runner is told of ---- */

static void reply_not_told(Request *q, const char *why)
{
    Err err = {0};
    (void)err_set(&err, ERR_BAD_GATEWAY, "the change is stored, but the session's runner did not take it: %s",
                  why);
    rest_reply_error(q, &err);
}

static void told(Request *q, const HttpResponse *r, const Err *err)
{
    CLEANUP_JSON json_t *body = NULL;
    if (!err && r->status / 100 == 2) {
        rest_reply_json(q, q->good_status, &q->out);
        return;
    }
    if (err || r->header(r, "X-Ambient-Runner").ptr) {
        reply_not_told(q, "runner not reachable");
        return;
    }
    (void)json_parse(r->body, &body, NULL);
    const char *detail = json_is_object(body) ? json_get_str(body, "detail") : NULL;
    reply_not_told(q, detail ? detail : "it refused");
}

/* ---- the end ---- */

static void runner_done(void *arg, const HttpResponse *r, const Err *err)
{
    Proxy *p = arg;
    p->call = NULL;
    HttpStream *stream = TAKE(p->stream);
    Request *q = p->request ? proxy_take_request(p) : NULL;
    bool telling = p->telling, events = p->event_stream;
    proxy_free(p);
    if (stream && err && !events) /* half a file must not look like a whole one */
        http_stream_abort(stream);
    else if (stream)
        http_stream_end(stream);
    else if (q && telling)
        told(q, r, err);
    else if (q && err)
        runner_lost(q);
    else if (q)
        reply_answer(q, r);
}

static void runner_silent(void *arg)
{
    Proxy *p = arg;
    Request *q = proxy_take_request(p);
    bool telling = p->telling;
    proxy_free(p);
    if (q && telling)
        reply_not_told(q, "runner not reachable");
    else if (q)
        runner_lost(q);
}

/* ---- the request ---- */

static void add_query(Request *q, Buf *url)
{
    Str target = http_req_raw_target(q->http);
    ptrdiff_t at = str_find_byte(target, '?');
    if (at >= 0)
        (void)buf_adds(url, str_slice(target, (size_t)at, target.len));
}

/* Ours is what the way makes of the path; without one it is what the caller sent. */
static int make_request(Request *q, Buf *url, Buf *body, Err *err)
{
    const RunnerWay *w = way_of(q);
    if (!w->request) {
        add_query(q, url);
        return 0;
    }
    int rc = w->request(q, url, body, err);
    return rc < 0 ? rc : buf_check(body, err);
}

/* A change that is being told goes on without its client. */
static void end_with_client(Proxy *p, Request *q)
{
    q->on_left = client_left;
    q->left_arg = p;
    http_req_ends_with_client(q->http);
}

static void proxy_send(Proxy *p, Request *q, const char *url, Str body)
{
    static const char *const passed[] = {"Accept", "Content-Type", "Last-Event-ID"};
    const RunnerWay *w = way_of(q);
    HttpHeader headers[ARRAY_LEN(passed) + 1];
    HttpRequest req = {
        .method = w->method ? w->method : q->route->r.method,
        .url = url,
        .headers = headers,
        .body = body.len ? body : STR_NULL,
        .timeout = w->shape ? SLOW_TIMEOUT : USEC_NEVER,
        .connect_timeout = CONNECT_TIMEOUT,
        .body_max = WHOLE_MAX,
        .on_piece = w->shape ? NULL : runner_piece,
        .on_headers = w->shape ? NULL : runner_headers,
    };
    for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
        Str value = http_req_header(q->http, passed[i]);
        if (w->request && i == 1)
            value = STR("application/json");
        if (value.ptr)
            headers[req.n_headers++] = (HttpHeader){passed[i], value};
    }
    CLEANUP(secret_freep) Secret *token = NULL;
    req.n_headers += runner_credential(q->rest, p->session, &headers[req.n_headers], &token);
    end_with_client(p, q);
    p->call = http_send(q->rest->o.client, &req, runner_done, p);
}

static Proxy *proxy_new(Request *q, Usec patience)
{
    Proxy *p = xnew(Proxy);
    p->rest = q->rest;
    p->request = q;
    p->caller = caller_ref(q->caller);
    p->deadline = timer_new(q->rest->loop, runner_silent, p);
    timer_arm(p->deadline, patience);
    list_push_back(&q->rest->proxies, &p->link);
    request_hold(q);
    return p;
}

void proxy_tell(Request *q, const Obj *session, const char *path, Str json)
{
    CLEANUP_BUF Buf url = BUF_INIT(URL_MAX);
    HttpHeader headers[2] = {{"Content-Type", STR("application/json")}};
    if (q->rest->ending || !runner_url(q->rest, session, path, STR_NULL, &url)) {
        rest_reply_json(q, q->good_status, &q->out);
        return;
    }
    Proxy *p = proxy_new(q, SLOW_TIMEOUT);
    p->telling = true;
    CLEANUP(secret_freep) Secret *token = NULL;
    HttpRequest req = {
        .method = "POST",
        .url = url.data,
        .headers = headers,
        .n_headers = 1 + runner_credential(q->rest, session, &headers[1], &token),
        .body = json,
        .timeout = SLOW_TIMEOUT,
        .connect_timeout = CONNECT_TIMEOUT,
        .body_max = WHOLE_MAX,
    };
    p->call = http_send(q->rest->o.client, &req, runner_done, p);
}

static void runner_reached(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    CLEANUP_BUF Buf url = BUF_INIT(URL_MAX);
    CLEANUP_BUF Buf made = BUF_INIT(BODY_MAX);
    Err err = {0};
    if (!request_answered(q, a))
        return;
    if (q->rest->ending || !runner_url(q->rest, a->obj, way_of(q)->path, q->vars.sub, &url)) {
        no_runner(q);
        return;
    }
    if (make_request(q, &url, &made, &err) < 0 || buf_check(&url, &err) < 0) {
        rest_reply_error(q, &err);
        return;
    }
    Proxy *p = proxy_new(q, way_of(q)->flags & W_QUICK ? QUICK_TIMEOUT : SLOW_TIMEOUT);
    p->session = TAKE(a->obj);
    proxy_send(p, q, url.data, way_of(q)->request ? buf_str(&made) : http_req_body(q->http));
}

void handle_runner(Request *q)
{
    SvcCtx x = request_ctx(q);
    bool write = !str_eqz(str_from(q->route->r.method), "GET");
    request_hold(q);
    svc_session_reach(q->rest->o.service, &x, q->vars.id, write, runner_reached, q);
}

void proxy_end_all(Rest *r)
{
    LIST_FOREACH_SAFE (&r->proxies, it) {
        Proxy *p = LIST_ENTRY(it, Proxy, link);
        HttpStream *stream = TAKE(p->stream);
        Request *q = p->request ? proxy_take_request(p) : NULL;
        bool events = p->event_stream, telling = p->telling;
        proxy_free(p);
        if (stream && events)
            http_stream_write(stream, STR(": server is shutting down\n\n"));
        if (stream)
            http_stream_end(stream);
        if (q && telling)
            reply_not_told(q, "server is shutting down");
        else if (q)
            rest_reply_error(q, &(Err){ERR_UNAVAILABLE, "server is shutting down"});
    }
}
