/*
 * The way to a session's runner: the request goes on with what the runner needs and nothing of the caller's
 * credentials; the answer comes back as it is, streams piece by piece. rest-core.md 11.4.
 */
#include "rest-internal.h"

#include "http/url.h"

#define CONNECT_TIMEOUT (5 * USEC_PER_SEC)
#define HEADERS_TIMEOUT (60 * USEC_PER_SEC)
#define PROCESS_RUNTIME "local" /* kube_namespace of sessions that run as processes beside us */

typedef struct Proxy {
    ListLink link;
    Rest *rest;
    Request *request;   /* until the answer starts */
    HttpStream *stream; /* from then on; NULL: the client left */
    HttpCall *call;
    Timer *deadline; /* for the runner's headers */
    bool event_stream;
} Proxy;

static void proxy_free(Proxy *p)
{
    http_cancel(p->call);
    timer_free(p->deadline);
    list_remove(&p->link);
    free(p);
}

/* The request of a proxy that did not answer yet; NULL when its client left. */
static Request *proxy_take_request(Proxy *p)
{
    Request *q = TAKE(p->request);
    return q && request_release(q) ? q : NULL;
}

/* ---- where the runner is ---- */

static void expand_template(const char *template, Str id, Buf *out)
{
    Str rest = str_from(template);
    for (ptrdiff_t at; (at = str_find(rest, STR("{id}"))) >= 0;) {
        (void)buf_adds(out, str_slice(rest, 0, (size_t)at));
        url_escape_segment(out, id);
        rest = str_slice(rest, (size_t)at + 4, rest.len);
    }
    (void)buf_adds(out, rest);
}

static void add_lower(Buf *out, Str s)
{
    for (size_t i = 0; i < s.len; i++)
        (void)buf_addc(out, s.ptr[i] >= 'A' && s.ptr[i] <= 'Z' ? (char)(s.ptr[i] + ('a' - 'A')) : s.ptr[i]);
}

static bool runs_as_process(const Obj *session)
{
    return str_eqz(obj_str(session, SESSION_KUBE_NAMESPACE), PROCESS_RUNTIME);
}

/* Both parts of the host name are the server's own: the id, and a namespace that was checked to be a DNS
 * label. */
static bool runner_url(const Rest *r, const Obj *session, const char *path, Buf *out)
{
    Str name = obj_str(session, SESSION_KUBE_CR_NAME), ns = obj_str(session, SESSION_KUBE_NAMESPACE);
    if (!name.len || !ns.len)
        return false;
    if (runs_as_process(session)) {
        expand_template(r->o.runner_url, name, out);
    } else {
        (void)buf_addz(out, "http://session-");
        add_lower(out, name);
        (void)buf_addf(out, "." STR_FMT ".svc.cluster.local:8001", STR_ARG(ns));
    }
    expand_template(path, name, out);
    return !out->failed;
}

/* ---- the answer ---- */

static void stream_headers(Request *q, Str type)
{
    rest_reply_common_headers(q);
    http_reply_header(q->http, "Content-Type", type);
    http_reply_header(q->http, "Cache-Control", STR("no-cache"));
    http_reply_header(q->http, "X-Accel-Buffering", STR("no"));
}

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

static void runner_headers(void *arg, const HttpResponse *r)
{
    Proxy *p = arg;
    timer_cancel(p->deadline);
    if (r->status / 100 != 2) /* the body comes with runner_done() */
        return;
    Request *q = proxy_take_request(p);
    if (!q) { /* the client left while we waited */
        proxy_free(p);
        return;
    }
    Str type = r->content_type.len ? r->content_type : STR("application/octet-stream");
    p->event_stream = str_istarts(type, STR("text/event-stream"));
    stream_headers(q, type);
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

static void reply_unreachable(Request *q, const char *why)
{
    Err err = {ERR_BAD_GATEWAY, {0}};
    (void)snprintf(err.msg, sizeof(err.msg), "%s", why);
    http_reply_header(q->http, "X-Ambient-Runner", STR("unavailable"));
    rest_reply_error(q, &err);
}

/* A stream of nothing: what clients of agui/events expect while there is no runner. */
static void reply_empty_stream(Request *q)
{
    stream_headers(q, STR("text/event-stream"));
    http_reply_header(q->http, "X-Ambient-Runner", STR("unavailable"));
    request_count(q, 200);
    http_reply(q->http, 200, STR_NULL);
}

static bool wants_empty_stream(const Request *q)
{
    return q->route->handle == handle_runner_agui_events;
}

/* No good status: events say so in our words, for the rest the runner's own answer goes through. */
static void reply_refused(Request *q, const HttpResponse *r)
{
    if (str_eqz(str_from(q->route->r.method), "GET")) {
        reply_unreachable(q, "runner returned non-OK status");
        return;
    }
    (void)buf_adds(&q->out, r->body);
    CLEANUP_FREE char *type = str_dup(r->content_type.len ? r->content_type : STR("text/plain"));
    rest_reply_body(q, r->status, &q->out, type);
}

static void runner_done(void *arg, const HttpResponse *r, const Err *err)
{
    Proxy *p = arg;
    p->call = NULL;
    HttpStream *stream = TAKE(p->stream);
    Request *q = p->request ? proxy_take_request(p) : NULL;
    proxy_free(p);
    if (stream)
        http_stream_end(stream);
    else if (q && err && wants_empty_stream(q))
        reply_empty_stream(q);
    else if (q && err)
        reply_unreachable(q, "runner not reachable");
    else if (q)
        reply_refused(q, r);
}

static void runner_silent(void *arg)
{
    Proxy *p = arg;
    Request *q = proxy_take_request(p);
    proxy_free(p);
    if (q)
        reply_unreachable(q, "runner not reachable");
}

/* ---- the request ---- */

static void add_query(Request *q, Buf *url)
{
    Str target = http_req_raw_target(q->http);
    ptrdiff_t at = str_find_byte(target, '?');
    if (at >= 0)
        (void)buf_adds(url, str_slice(target, (size_t)at, target.len));
}

/* The platform's token goes to the platform's proxy only, never to a runner. */
static size_t add_credential(const Rest *r, bool process, HttpHeader *to)
{
    const Secret *s = process ? r->o.proxy_token : r->o.runner_token;
    if (secret_is_empty(s))
        return 0;
    *to = (HttpHeader){process ? "X-Ambient-Proxy-Token" : "X-Ambient-Session-Token", secret_reveal(s)};
    return 1;
}

static void proxy_send(Proxy *p, Request *q, const char *url, bool process)
{
    static const char *const passed[] = {"Accept", "Content-Type", "Last-Event-ID"};
    HttpHeader headers[ARRAY_LEN(passed) + 1];
    HttpRequest req = {
        .method = q->route->r.method,
        .url = url,
        .headers = headers,
        .body = http_req_body(q->http).len ? http_req_body(q->http) : STR_NULL,
        .timeout = USEC_NEVER,
        .connect_timeout = CONNECT_TIMEOUT,
        .body_max = (size_t)1 << 20,
        .on_piece = runner_piece,
        .on_headers = runner_headers,
    };
    for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
        Str value = http_req_header(q->http, passed[i]);
        if (value.ptr)
            headers[req.n_headers++] = (HttpHeader){passed[i], value};
    }
    req.n_headers += add_credential(q->rest, process, &headers[req.n_headers]);
    p->call = http_send(q->rest->o.client, &req, runner_done, p);
}

static void no_runner(Request *q)
{
    if (wants_empty_stream(q)) {
        reply_empty_stream(q);
        return;
    }
    bool read = str_eqz(str_from(q->route->r.method), "GET");
    if (read)
        reply_unreachable(q, "session has no associated runner pod");
    else
        rest_reply_error(q, &(Err){ERR_UNAVAILABLE, "session runner not available"});
}

static void runner_reached(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    CLEANUP_BUF Buf url = BUF_INIT(65536);
    if (!request_release(q))
        return;
    if (a->err) {
        rest_reply_error(q, a->err);
        return;
    }
    if (q->rest->ending || !runner_url(q->rest, a->obj, q->route->runner_path, &url)) {
        no_runner(q);
        return;
    }
    add_query(q, &url);
    Proxy *p = xnew(Proxy);
    p->rest = q->rest;
    p->request = q;
    p->deadline = timer_new(q->rest->loop, runner_silent, p);
    timer_arm(p->deadline, HEADERS_TIMEOUT);
    list_push_back(&q->rest->proxies, &p->link);
    request_hold(q);
    proxy_send(p, q, url.data, runs_as_process(a->obj));
}

static void reach(Request *q, bool write)
{
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_session_reach(q->rest->o.service, &x, q->vars.id, write, runner_reached, q);
}

void handle_runner_events(Request *q)
{
    reach(q, false);
}

void handle_runner_agui_events(Request *q)
{
    reach(q, false);
}

void handle_runner_post(Request *q)
{
    reach(q, true);
}

void proxy_end_all(Rest *r)
{
    LIST_FOREACH_SAFE (&r->proxies, it) {
        Proxy *p = LIST_ENTRY(it, Proxy, link);
        HttpStream *stream = TAKE(p->stream);
        Request *q = p->request ? proxy_take_request(p) : NULL;
        bool events = p->event_stream;
        proxy_free(p);
        if (stream && events)
            http_stream_write(stream, STR(": server is shutting down\n\n"));
        if (stream)
            http_stream_end(stream);
        if (q)
            rest_reply_error(q, &(Err){ERR_UNAVAILABLE, "server is shutting down"});
    }
}
