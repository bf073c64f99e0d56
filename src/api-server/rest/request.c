/*
 * One request: who calls, which route, and the object that lives until the answer. Order of rest-core.md 1.2,
 * as its DO lines have it: preflight, public routes, authentication, then the router's refusals.
 */
#include "rest-internal.h"

#include <assert.h>
#include "base/log.h"

static void request_free(Request *q)
{
    assert(!q->http && !q->pending);
    list_remove(&q->link);
    auth_cancel(q->auth_wait);
    if (q->caller)
        caller_unref(q->caller);
    free(q->mask);
    free(q->cache_key);
    buf_done(&q->out);
    buf_done(&q->tell);
    buf_done(&q->packed);
    free(q);
}

/* Answered, or the client left. Work that still runs for it finds nobody to answer. */
static void request_gone(void *arg)
{
    Request *q = arg;
    LoopFn left = TAKE(q->on_left);
    q->http = NULL;
    auth_cancel(TAKE(q->auth_wait));
    if (left)
        left(q->left_arg);
    else if (!q->pending)
        request_free(q);
}

void request_hold(Request *q)
{
    q->pending++;
}

bool request_release(Request *q)
{
    q->pending--;
    if (q->http)
        return true;
    if (!q->pending)
        request_free(q);
    return false;
}

bool request_answered(Request *q, const SvcAnswer *a)
{
    if (!request_release(q))
        return false;
    if (a->err)
        rest_reply_error(q, a->err);
    return !a->err;
}

HttpReq *request_detach(Request *q)
{
    HttpReq *http = TAKE(q->http);
    http_req_set_user(http, NULL, NULL);
    if (!q->pending)
        request_free(q);
    return http;
}

static Request *request_new(Rest *r, HttpReq *http)
{
    Request *q = xnew(Request);
    q->rest = r;
    q->http = http;
    q->started = loop_now(r->loop);
    q->limit = -1;
    q->gzip = gzip_accepted(http_req_header(http, "Accept-Encoding"));
    buf_init(&q->out, ANSWER_MAX);
    buf_init(&q->packed, ANSWER_MAX);
    buf_init(&q->tell, (size_t)64 << 10);
    ksuid_new(q->operation_id, clock_wall(r->o.clock));
    list_push_back(&r->requests, &q->link);
    http_req_set_user(http, q, request_gone);
    return q;
}

static Str or_empty(Str s)
{
    return s.ptr ? s : STR("");
}

SvcCtx request_ctx(Request *q)
{
    return (SvcCtx){
        .caller = q->caller,
        .request_id = or_empty(http_req_header(q->http, "Idempotency-Key")),
        .project_header = or_empty(http_req_header(q->http, "X-Ambient-Project")),
        .if_match = or_empty(http_req_header(q->http, "If-Match")),
        .peer = str_from(http_req_peer(q->http)),
        .operation_id = str_from(q->operation_id),
        .rest = true,
    };
}

/* ---- metrics and log ---- */

static const Usec bucket_bounds[] = {100000, 1000000, 10000000, 30000000};

void request_count(Request *q, int status)
{
    if (!q->route)
        return;
    RouteStats *st = &q->rest->stats[route_index(q->route)];
    Usec took = usec_sub(loop_now(q->rest->loop), q->started);
    size_t b = 0, i = 0;
    while (b < ARRAY_LEN(bucket_bounds) && took > bucket_bounds[b])
        b++;
    st->buckets[b]++;
    st->sum_us += took;
    st->n++;
    while (i + 1 < ARRAY_LEN(st->by_status) && st->by_status[i].status && st->by_status[i].status != status)
        i++;
    st->by_status[i].status = status;
    st->by_status[i].n++;
}

void request_log(const Request *q, int status, const Err *err)
{
    LogLevel level = err && svc_reason_is_private(err) ? LOG_ERROR : LOG_DEBUG;
    if (!log_enabled(level))
        return;
    LOG_AT(level, "request", F_STRV("method", http_req_method(q->http)),
           F_STRV("path", http_req_path(q->http)), F_INT("status", status),
           F_STR("operation", q->operation_id), F_STR("actor", q->caller ? q->caller->actor : ""),
           F_STR("error", err ? err->msg : ""));
}

/* ---- the way to the handler ---- */

static void refuse_path(Request *q)
{
    CLEANUP_BUF Buf allow = BUF_INIT(256);
    bool clean;
    Vars v;
    Str path = path_normalise(http_req_path(q->http), &clean);
    if (!clean) {
        CLEANUP_BUF Buf location = BUF_INIT(16384);
        path_clean(path, &location);
        Str target = http_req_raw_target(q->http);
        ptrdiff_t query = str_find_byte(target, '?');
        if (query >= 0)
            (void)buf_adds(&location, str_slice(target, (size_t)query, target.len));
        rest_reply_redirect(q, buf_str(&location));
        return;
    }
    (void)route_match(http_req_method(q->http), path, &v, &allow);
    if (allow.len)
        rest_reply_method_not_allowed(q, buf_str(&allow));
    else
        rest_reply_not_found_path(q, path);
}

static void dispatch(Request *q)
{
    Err err = {0};
    if (q->route && !q->route->r.permission && !(q->route->flags & R_PUBLIC)) {
        (void)err_set(&err, ERR_FORBIDDEN, "no permission is defined for this path");
        rest_reply_error(q, &err);
    } else if (q->route)
        q->route->handle(q);
    else if (backend_wants(q->rest, http_req_path(q->http)))
        handle_backend(q);
    else
        refuse_path(q);
}

static void authenticated(void *arg, Caller *caller, const Err *err)
{
    Request *q = arg;
    q->auth_wait = NULL;
    q->caller = caller;
    if (err)
        rest_reply_error(q, err);
    else
        dispatch(q);
}

/* A proxy in front may hand the user's token on in a header of its own. Anybody can write that header, so it
   counts from proxies that are known only. */
static Str credential(const Request *q, Buf *scratch)
{
    Str value = http_req_header(q->http, "Authorization");
    Str forwarded = http_req_header(q->http, "X-Forwarded-Access-Token");
    if (value.ptr || !forwarded.ptr || !trusted_has(q->rest->trusted, http_req_peer(q->http)))
        return value;
    (void)buf_addz(scratch, "Bearer ");
    (void)buf_adds(scratch, forwarded);
    return buf_str(scratch);
}

static void authenticate(Request *q)
{
    CLEANUP_BUF Buf scratch = BUF_INIT(1 << 20);
    Caller *caller = NULL;
    Err err = {0};
    int rc = origin_check(q, &err);
    if (rc == 0)
        rc = auth_check(q->rest->o.auth, credential(q, &scratch), authenticated, q, &caller, &q->auth_wait,
                        &err);
    if (rc == 1)
        authenticated(q, caller, NULL);
    else if (rc < 0)
        authenticated(q, NULL, &err);
    if (scratch.data)
        secret_erase(scratch.data, scratch.len);
}

void request_handle(void *rest, HttpReq *http)
{
    Request *q = request_new(rest, http);
    CLEANUP_BUF Buf allow = BUF_INIT(256);
    bool clean;
    if (str_eq(http_req_method(http), STR("OPTIONS"))) {
        cors_preflight(q);
        return;
    }
    Str path = path_normalise(http_req_path(http), &clean);
    if (clean)
        q->route = route_match(http_req_method(http), path, &q->vars, &allow);
    if (q->route && (q->route->flags & R_PUBLIC))
        dispatch(q);
    else
        authenticate(q);
}
