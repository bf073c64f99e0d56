#include "proxy.h"

#include <assert.h>
#include <stdlib.h>
#include "base/list.h"
#include "base/mem.h"
#include "json/json.h"

#define CONNECT_PATIENCE (5 * USEC_PER_SEC)
/* A refusal is passed on as a whole; what a runner answers well is streamed and has no limit. */
#define REFUSAL_MAX (1024 * 1024)
#define URL_MAX (64 * 1024)
#define BODY_MAX (24UL << 20) /* a file of 16 MiB, written as base64 */

struct Proxy {
    ProxyOptions o;
    HttpServer *server;
    List passing; /* Pass */
};

/* One request on its way. Freed by whichever side ends it. */
typedef struct Pass {
    ListLink link;
    HttpReq *req;       /* until the answer starts */
    HttpStream *stream; /* from then on */
    HttpCall *call;
} Pass;

/* What goes on to the runner, and what comes back. Everything else is between the caller and us. */
static const char *const request_headers[] = {"Accept",       "Content-Type",   "Last-Event-ID",
                                              "X-Request-Id", "X-GitHub-Token", "X-GitLab-Token"};
static const char *const answer_headers[] = {"Content-Type",        "Cache-Control", "X-Accel-Buffering",
                                             "Content-Disposition", "Retry-After",   "ETag",
                                             "Last-Modified"};

static void pass_free(Pass *p)
{
    list_remove(&p->link);
    http_cancel(p->call);
    free(p);
}

static void reply_error(HttpReq *r, int status, const char *message)
{
    CLEANUP_BUF Buf b = BUF_INIT(1024);
    buf_addz(&b, "{\"error\":");
    json_write_str(&b, str_from(message));
    buf_addz(&b, "}");
    http_reply_header(r, "Content-Type", STR("application/json"));
    http_reply_buf(r, status, &b);
}

/* A header, since a runner's own answer may have the same status. */
static void reply_no_runner(HttpReq *r, int status, const char *message)
{
    http_reply_header(r, "X-Ambient-Runner", STR("unavailable"));
    reply_error(r, status, message);
}

/* ---- the answer ---- */

static void on_drain(void *arg)
{
    Pass *p = arg;
    http_pause(p->call, false);
}

static void on_stream_gone(void *arg)
{
    Pass *p = arg;
    p->stream = NULL;
    pass_free(p);
}

static void copy_headers(HttpReq *req, const HttpResponse *r)
{
    for (size_t i = 0; i < ARRAY_LEN(answer_headers); i++) {
        Str v = r->header(r, answer_headers[i]);
        if (v.ptr)
            http_reply_header(req, answer_headers[i], v);
    }
}

static void on_headers(void *arg, const HttpResponse *r)
{
    static const HttpStreamOps ops = {.on_drain = on_drain, .on_gone = on_stream_gone};
    Pass *p = arg;
    if (r->status < 200 || r->status > 299)
        return; /* comes as a whole, at the end */
    assert(p->req && !p->stream);
    HttpReq *req = TAKE(p->req);
    http_req_set_user(req, NULL, NULL);
    copy_headers(req, r);
    p->stream = http_stream_start(req, r->status, &ops, p);
}

static void on_piece(void *arg, Str bytes)
{
    Pass *p = arg;
    if (!p->stream)
        return;
    http_stream_write(p->stream, bytes);
    if (!http_stream_writable(p->stream))
        http_pause(p->call, true);
}

static void on_done(void *arg, const HttpResponse *r, const Err *err)
{
    Pass *p = arg;
    HttpReq *req = TAKE(p->req);
    HttpStream *stream = TAKE(p->stream);
    p->call = NULL;
    pass_free(p);
    if (stream)
        http_stream_end(stream);
    if (!req)
        return;
    http_req_set_user(req, NULL, NULL);
    if (err) {
        reply_no_runner(req, err->code == ERR_DEADLINE ? 504 : 502, "runner not reachable");
        return;
    }
    copy_headers(req, r);
    http_reply(req, r->status, r->body);
}

static void on_request_gone(void *arg)
{
    Pass *p = arg;
    assert(!p->stream);
    p->req = NULL;
    pass_free(p);
}

/* ---- the request ---- */

static void send(Proxy *x, HttpReq *req, int64_t port, const char *secret, Str target)
{
    HttpHeader headers[ARRAY_LEN(request_headers) + 1];
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(request_headers); i++) {
        Str v = http_req_header(req, request_headers[i]);
        if (v.ptr)
            headers[n++] = (HttpHeader){request_headers[i], v};
    }
    headers[n++] = (HttpHeader){"X-Ambient-Session-Token", str_from(secret)};
    CLEANUP_BUF Buf url = BUF_INIT(URL_MAX);
    buf_addf(&url, "http://127.0.0.1:%lld", (long long)port);
    buf_adds(&url, target);
    if (url.failed) {
        reply_error(req, 414, "the address is too long");
        return;
    }
    CLEANUP_FREE char *method = str_dup(http_req_method(req));
    Str body = http_req_body(req);
    const HttpRequest hr = {.method = method,
                            .url = url.data,
                            .headers = headers,
                            .n_headers = n,
                            .body = body.len ? body : STR_NULL,
                            .timeout = USEC_NEVER,
                            .connect_timeout = CONNECT_PATIENCE,
                            .body_max = REFUSAL_MAX,
                            .on_piece = on_piece,
                            .on_headers = on_headers};
    Pass *p = xnew(Pass);
    p->req = req;
    list_push_back(&x->passing, &p->link);
    http_req_set_user(req, p, on_request_gone);
    p->call = http_send(x->o.http, &hr, on_done, p);
}

static bool may_pass(const Proxy *x, const HttpReq *r)
{
    const Secret *token = token_source_get(x->o.token);
    Str authorization = http_req_header(r, "Authorization");
    bool bearer = str_istarts(authorization, STR("Bearer "));
    return secret_equals(token, http_req_header(r, "X-Ambient-Proxy-Token")) ||
           (bearer && secret_equals(token, str_slice(authorization, 7, authorization.len)));
}

/* Paths of the early local mode, and where a runner has them. */
static const char *const historic[][2] = {
    {"/agui/run", "/"},     {"/agui/interrupt", "/interrupt"}, {"/agui/capabilities", "/capabilities"},
    {"/health", "/health"}, {"/mcp/status", "/mcp/status"},    {"/repos/status", "/repos/status"},
};

/* The runner's target for what stands behind the id: a path with its query, as it was sent. False: not ours.
 */
static bool runner_target(Str rest, Str id, Buf *out)
{
    if (str_starts(rest, STR("/runner/")) || str_eqz(rest, "/runner")) {
        Str path = str_slice(rest, 7, rest.len);
        buf_adds(out, path.len ? path : STR("/"));
        return true;
    }
    Str query = rest, path = str_cut(&query, '?');
    if (str_eqz(path, "/agui/events")) {
        buf_addf(out, "/events/" STR_FMT, STR_ARG(id));
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(historic); i++) {
        if (str_eqz(path, historic[i][0])) {
            buf_addz(out, historic[i][1]);
            return true;
        }
    }
    return false;
}

static void handle_session(Proxy *x, HttpReq *r, Str rest)
{
    ptrdiff_t slash = str_find_byte(rest, '/');
    CLEANUP_BUF Buf target = BUF_INIT(URL_MAX);
    Str id = str_slice(rest, 0, slash < 0 ? rest.len : (size_t)slash);
    int64_t port;
    const char *secret;
    if (!may_pass(x, r))
        reply_error(r, 401, "unauthorized");
    else if (slash < 0 || !runner_target(str_slice(rest, (size_t)slash, rest.len), id, &target))
        reply_error(r, 404, "not found");
    else if (!x->o.route(x->o.arg, id, &port, &secret))
        reply_no_runner(r, 404, "session has no runner here");
    else
        send(x, r, port, secret, buf_str(&target));
}

static void handle(void *arg, HttpReq *r)
{
    Str target = http_req_raw_target(r);
    if (str_eqz(http_req_path(r), "/health")) {
        http_reply_header(r, "Content-Type", STR("application/json"));
        http_reply(r, 200, STR("{\"status\":\"ok\"}"));
    } else if (str_starts(target, STR("/sessions/"))) {
        handle_session(arg, r, str_slice(target, 10, target.len));
    } else {
        reply_error(r, 404, "not found");
    }
}

/* ---- life ---- */

int proxy_new(Loop *l, const ProxyOptions *o, Proxy **ret, Err *err)
{
    Proxy *x = xnew(Proxy);
    HttpLimits limits = http_limits_default;
    limits.conns_per_peer = limits.conns_max; /* its one caller is the API server */
    limits.body_max = BODY_MAX;
    x->o = *o;
    list_init(&x->passing);
    int rc = http_server_new(l, o->address, NULL, &limits, handle, NULL, x, &x->server, err);
    if (rc < 0) {
        free(x);
        return err_wrap(err, "proxy");
    }
    *ret = x;
    return 0;
}

Proxy *proxy_free(Proxy *x)
{
    if (!x)
        return NULL;
    LIST_FOREACH_SAFE (&x->passing, l) {
        Pass *p = LIST_ENTRY(l, Pass, link);
        if (p->req)
            http_req_set_user(p->req, NULL, NULL);
        if (p->stream)
            http_stream_end(p->stream);
        pass_free(p);
    }
    http_server_free(x->server);
    free(x);
    return NULL;
}

int proxy_port(const Proxy *x)
{
    return http_server_port(x->server);
}
