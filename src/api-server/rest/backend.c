/*
 * The way to another server for every path that is not ours: what the reference sends to its older backend.
 * Off unless an address is configured. Behind authentication; the backend is told who calls in headers of
 * ours and sees the caller's own credentials only when that is configured. The target goes on as it was sent,
 * answers come back with any status, redirects too, piece by piece. rest-core.md 1.7,
 * rest-governance-and-auth.md 6.3, D36, D72.
 */
#include "rest-internal.h"

#include "base/vec.h"

#define CONNECT_TIMEOUT (10 * USEC_PER_SEC)
#define HEADERS_TIMEOUT (30 * USEC_PER_SEC) /* afterwards there is no limit: it may be a stream of events */
#define URL_MAX ((size_t)64 << 10)
#define NAME_MAX_LEN 256

typedef struct Backend {
    ListLink link;
    Request *request;   /* until the answer starts */
    HttpStream *stream; /* from then on */
    HttpCall *call;
    Timer *deadline; /* for the headers */
} Backend;

static void backend_free(Backend *b)
{
    http_cancel(b->call);
    timer_free(b->deadline);
    list_remove(&b->link);
    free(b);
}

static Request *take_request(Backend *b)
{
    Request *q = TAKE(b->request);
    if (q)
        q->on_left = NULL;
    return q && request_release(q) ? q : NULL;
}

static void client_left(void *arg)
{
    Backend *b = arg;
    (void)take_request(b);
    backend_free(b);
}

bool backend_wants(const Rest *r, Str path)
{
    static const char *const ours[] = {"/api/ambient", "/metrics", "/favicon.ico"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (str_eqz(path, ours[i]))
            return false;
    return r->o.backend_url && *r->o.backend_url && !str_starts(path, STR("/api/ambient/"));
}

/* ---- headers ---- */

static bool listed(Str name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_ieq(name, str_from(list[i])))
            return true;
    return false;
}

/* RFC 9110 7.6.1: what speaks of one connection, and what Connection names. */
static bool is_hop_by_hop(Str name, Str connection)
{
    static const char *const always[] = {"Connection", "Keep-Alive",        "Proxy-Authenticate",
                                         "TE",         "Transfer-Encoding", "Proxy-Authorization",
                                         "Trailer",    "Upgrade",           "Proxy-Connection"};
    if (listed(name, always, ARRAY_LEN(always)))
        return true;
    while (connection.ptr)
        if (str_ieq(str_trim(str_cut(&connection, ',')), name))
            return true;
    return false;
}

/* What we say of the caller ourselves, and what belongs to the message's framing. */
static bool is_replaced(Str name)
{
    static const char *const list[] = {"Host",
                                       "Content-Length",
                                       "Expect",
                                       "X-Forwarded-For",
                                       "X-Forwarded-Host",
                                       "X-Forwarded-User",
                                       "X-Forwarded-Preferred-Username",
                                       "X-Forwarded-Email",
                                       "X-Forwarded-Groups",
                                       "X-Ambient-Actor"};
    return listed(name, list, ARRAY_LEN(list));
}

static bool is_credential(Str name)
{
    static const char *const list[] = {"Authorization", "Cookie", "X-Forwarded-Access-Token"};
    return listed(name, list, ARRAY_LEN(list));
}

typedef struct HeaderList {
    VEC_OF(HttpHeader)
    headers;
    VEC_OF(char *)
    names; /* owned */
} HeaderList;

static void headers_done(HeaderList *l)
{
    VEC_FOREACH (&l->names, name)
        free(*name);
    vec_free(&l->names);
    vec_free(&l->headers);
}

static void add_header(HeaderList *l, Str name, Str value)
{
    char *copy = str_dup(name);
    vec_push(&l->names, copy);
    vec_push(&l->headers, ((HttpHeader){copy, value}));
}

/* A name that does not fit into a header is not told. */
static void add_identity(HeaderList *l, const char *name, const char *value)
{
    Str text = str_from(value);
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < ' ' || text.ptr[i] > '~')
            return;
    if (text.len && text.len <= NAME_MAX_LEN)
        add_header(l, str_from(name), text);
}

static void collect_headers(const Request *q, HeaderList *l)
{
    Str connection = http_req_header(q->http, "Connection"), name, value;
    for (size_t i = 0; http_req_field(q->http, i, &name, &value); i++)
        if (!is_hop_by_hop(name, connection) && !is_replaced(name) &&
            (q->rest->o.backend_forward_token || !is_credential(name)))
            add_header(l, name, value);
    Str host = http_req_header(q->http, "Host");
    add_header(l, STR("X-Forwarded-For"), str_from(http_req_peer(q->http)));
    if (host.len)
        add_header(l, STR("X-Forwarded-Host"), host);
    add_identity(l, "X-Forwarded-User", q->caller->username);
    add_identity(l, "X-Forwarded-Preferred-Username", q->caller->username);
    add_identity(l, "X-Forwarded-Email", q->caller->email);
    add_identity(l, "X-Ambient-Actor", q->caller->actor);
}

/* ---- the answer ---- */

static void copy_headers(HttpReq *http, const HttpResponse *r)
{
    Str connection = r->header(r, "Connection"), name, value;
    for (size_t at = 0; http_response_field(r, &at, &name, &value);) {
        CLEANUP_FREE char *copy = str_dup(name);
        if (!is_hop_by_hop(name, connection))
            http_reply_header_add(http, copy, value);
    }
}

static void client_drained(void *arg)
{
    Backend *b = arg;
    http_pause(b->call, false);
}

static void client_gone(void *arg)
{
    Backend *b = arg;
    b->stream = NULL;
    backend_free(b);
}

static const HttpStreamOps stream_ops = {.on_drain = client_drained, .on_gone = client_gone};

static bool has_no_body(int status)
{
    return status == 204 || status == 304;
}

static void on_headers(void *arg, const HttpResponse *r)
{
    Backend *b = arg;
    timer_cancel(b->deadline);
    if (has_no_body(r->status)) /* comes whole, with on_done() */
        return;
    Request *q = take_request(b);
    if (!q) {
        backend_free(b);
        return;
    }
    copy_headers(q->http, r);
    request_log(q, r->status, NULL);
    b->stream = http_stream_start(request_detach(q), r->status, &stream_ops, b);
}

static void on_piece(void *arg, Str bytes)
{
    Backend *b = arg;
    http_stream_write(b->stream, bytes);
    if (!http_stream_writable(b->stream))
        http_pause(b->call, true);
}

static void reply_unavailable(Request *q)
{
    rest_reply_error(q, &(Err){ERR_BAD_GATEWAY, "backend unavailable"});
}

/* A stream that breaks off ends without its last chunk's meaning: the connection is all that can say so. */
static void on_done(void *arg, const HttpResponse *r, const Err *err)
{
    Backend *b = arg;
    b->call = NULL;
    HttpStream *stream = TAKE(b->stream);
    Request *q = b->request ? take_request(b) : NULL;
    backend_free(b);
    if (stream && err)
        http_stream_abort(stream);
    else if (stream)
        http_stream_end(stream);
    else if (q && err)
        reply_unavailable(q);
    else if (q) {
        copy_headers(q->http, r);
        HttpReq *http = request_detach(q);
        http_reply(http, r->status, STR_NULL);
    }
}

static void on_silence(void *arg)
{
    Backend *b = arg;
    Request *q = take_request(b);
    backend_free(b);
    if (q)
        reply_unavailable(q);
}

/* ---- the request ---- */

static bool backend_target(const Request *q, Buf *url)
{
    Str base = str_from(q->rest->o.backend_url), target = http_req_raw_target(q->http);
    while (str_ends(base, STR("/")))
        base.len--;
    (void)buf_adds(url, base);
    (void)buf_adds(url, target);
    return str_starts(target, STR("/")) && !url->failed;
}

static void backend_send(Backend *b, Request *q, const char *url)
{
    CLEANUP(headers_done) HeaderList list = {0};
    CLEANUP_FREE char *method = str_dup(http_req_method(q->http));
    Str body = http_req_body(q->http);
    collect_headers(q, &list);
    HttpRequest req = {
        .method = method,
        .url = url,
        .headers = list.headers.ptr,
        .n_headers = list.headers.len,
        .body = body.len ? body : STR_NULL,
        .timeout = USEC_NEVER,
        .connect_timeout = CONNECT_TIMEOUT,
        .on_piece = on_piece,
        .on_headers = on_headers,
        .every_status = true,
    };
    b->call = http_send(q->rest->o.client, &req, on_done, b);
}

void handle_backend(Request *q)
{
    CLEANUP_BUF Buf url = BUF_INIT(URL_MAX);
    if (q->rest->ending) {
        rest_reply_error(q, &(Err){ERR_UNAVAILABLE, "server is shutting down"});
        return;
    }
    if (!backend_target(q, &url)) {
        rest_reply_error(q, &(Err){ERR_BAD_REQUEST, "this target cannot be passed on"});
        return;
    }
    Backend *b = xnew(Backend);
    b->request = q;
    b->deadline = timer_new(q->rest->loop, on_silence, b);
    timer_arm(b->deadline, HEADERS_TIMEOUT);
    list_push_back(&q->rest->backends, &b->link);
    request_hold(q);
    q->on_left = client_left;
    q->left_arg = b;
    http_req_ends_with_client(q->http);
    backend_send(b, q, url.data);
}

void backend_end_all(Rest *r)
{
    LIST_FOREACH_SAFE (&r->backends, it) {
        Backend *b = LIST_ENTRY(it, Backend, link);
        HttpStream *stream = TAKE(b->stream);
        Request *q = b->request ? take_request(b) : NULL;
        backend_free(b);
        if (stream)
            http_stream_abort(stream);
        if (q)
            rest_reply_error(q, &(Err){ERR_UNAVAILABLE, "server is shutting down"});
    }
}
