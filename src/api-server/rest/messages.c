/* A session's messages as a JSON array, in pages, the export that holds them all, and posts to it.
 * rest-core.md 11.2, 11.3. */
#include "rest-internal.h"

#define PAGE_ROWS 1000
#define PAGE_BYTES ((size_t)1 << 20)

/* The array is too long for one answer: the rest goes out page by page, as fast as the client reads. */
typedef struct MessageStream {
    Rest *rest;
    HttpStream *http; /* NULL: the client left */
    Caller *caller;
    char *session_id;
    uint64_t after;
    int64_t limit;
    const char *tail; /* behind the last message */
    bool reading;     /* a page is on its way */
    bool more;
    Buf page; /* written on the worker thread while `reading` */
    uint64_t page_last;
    size_t page_rows;
} MessageStream;

/* ---- pages ---- */

static void render_rows(const SvcAnswer *a, bool first, Buf *out)
{
    for (size_t i = 0; i < a->n_messages; i++) {
        (void)buf_addz(out, first && i == 0 ? "" : ",");
        message_to_json(a->messages[i], out);
    }
}

static size_t page_size(int64_t limit)
{
    return limit >= 0 && limit < PAGE_ROWS ? (size_t)limit : PAGE_ROWS;
}

static SvcMessages page_query(Str session, uint64_t after, int64_t limit)
{
    return (SvcMessages){session, after, page_size(limit), PAGE_BYTES};
}

static void stream_free(MessageStream *ms)
{
    caller_unref(ms->caller);
    buf_done(&ms->page);
    free(ms->session_id);
    free(ms);
}

static void stream_finish(MessageStream *ms, bool whole)
{
    if (whole)
        http_stream_write(ms->http, str_from(ms->tail));
    http_stream_end(TAKE(ms->http));
    stream_free(ms);
}

static void stream_render(void *arg, SvcAnswer *a)
{
    MessageStream *ms = arg;
    buf_clear(&ms->page);
    render_rows(a, false, &ms->page);
    ms->page_rows = a->n_messages;
    ms->page_last = a->n_messages ? a->messages[a->n_messages - 1]->seq : 0;
}

static void stream_next(MessageStream *ms);

/* An error in the middle leaves the array open: a client then sees that it is not whole. */
static void stream_page(void *arg, SvcAnswer *a)
{
    MessageStream *ms = arg;
    ms->reading = false;
    if (!ms->http) {
        stream_free(ms);
        return;
    }
    if (a->err || ms->page.failed) {
        stream_finish(ms, false);
        return;
    }
    http_stream_write(ms->http, buf_str(&ms->page));
    ms->after = ms->page_rows ? ms->page_last : ms->after;
    if (ms->limit >= 0)
        ms->limit -= (int64_t)ms->page_rows;
    ms->more = a->more && ms->limit != 0;
    stream_next(ms);
}

static void stream_next(MessageStream *ms)
{
    if (!ms->more) {
        stream_finish(ms, true);
        return;
    }
    if (ms->reading || !http_stream_writable(ms->http))
        return;
    SvcCtx x = {.caller = ms->caller, .rest = true, .render = stream_render};
    SvcMessages page = page_query(str_from(ms->session_id), ms->after, ms->limit);
    ms->reading = true;
    svc_message_list(ms->rest->o.service, &x, &page, stream_page, ms);
}

static void stream_drained(void *arg)
{
    MessageStream *ms = arg;
    if (!ms->reading)
        stream_next(ms);
}

static void stream_gone(void *arg)
{
    MessageStream *ms = arg;
    ms->http = NULL;
    if (!ms->reading)
        stream_free(ms);
}

static const HttpStreamOps message_stream_ops = {.on_drain = stream_drained, .on_gone = stream_gone};

/* Keys in alphabetical order; the session is what a GET of it shows. */
static void export_head(Request *q, const Obj *session)
{
    char now[RFC3339_MAX];
    (void)buf_addz(&q->out, "{\"export_at\":\"");
    (void)buf_adds(&q->out, rfc3339_format(clock_wall(q->rest->o.clock), now));
    (void)buf_addz(&q->out, "\",\"session\":");
    obj_to_json(session, &q->out, NULL);
    (void)buf_addz(&q->out, ",\"version\":\"1\",\"messages\":[");
}

static const char *tail_of(const Request *q)
{
    return q->export ? "]}" : "]\n";
}

static void stream_rest(Request *q)
{
    MessageStream *ms = xnew(MessageStream);
    ms->rest = q->rest;
    ms->caller = caller_ref(q->caller);
    ms->session_id = str_dup(q->vars.id);
    ms->after = q->after;
    ms->limit = q->limit;
    ms->tail = tail_of(q);
    ms->more = true;
    ms->page = q->out;
    q->out = (Buf){0};
    rest_reply_common_headers(q);
    http_reply_header(q->http, "Content-Type", STR("application/json"));
    request_count(q, 200);
    HttpReq *http = request_detach(q);
    ms->http = http_stream_start(http, 200, &message_stream_ops, ms);
    http_stream_write(ms->http, buf_str(&ms->page));
    stream_next(ms);
}

/* ---- GET ---- */

static void render_first(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    buf_clear(&q->out);
    buf_clear(&q->packed);
    if (q->export)
        export_head(q, a->obj);
    else
        (void)buf_addc(&q->out, '[');
    render_rows(a, true, &q->out);
    bool whole = !a->more || q->limit == (int64_t)a->n_messages;
    q->after = a->n_messages ? a->messages[a->n_messages - 1]->seq : q->after;
    if (!whole)
        return;
    (void)buf_addz(&q->out, tail_of(q));
    pack_output(q);
}

static void answer_first(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_release(q))
        return;
    bool whole = !a->more || q->limit == (int64_t)a->n_messages;
    if (a->err)
        rest_reply_error(q, a->err);
    else if (whole)
        rest_reply_json(q, 200, &q->out);
    else {
        q->limit -= q->limit > 0 ? (int64_t)a->n_messages : 0;
        stream_rest(q);
    }
}

/* Something that is no number counts as the beginning, as in the reference. */
static uint64_t after_seq(Request *q)
{
    uint64_t after = 0;
    Str last = http_req_header(q->http, "Last-Event-ID");
    if (last.ptr && str_to_u64(last, &after) == 0)
        return after;
    return str_to_u64(http_req_query(q->http, "after_seq"), &after) == 0 ? after : 0;
}

void handle_messages_get(Request *q)
{
    Err err = {0};
    if (accept_prefers(http_req_header(q->http, "Accept"), "text/event-stream", "application/json")) {
        q->after = after_seq(q);
        sse_open(q, q->vars.id);
        return;
    }
    int rc = query_i64(q, "limit", -1, &q->limit, &err);
    if (rc == 0 && q->limit == 0)
        rc = err_set(&err, ERR_BAD_REQUEST, "limit must not be 0");
    if (rc < 0) {
        rest_reply_error(q, &err);
        return;
    }
    q->limit = q->limit < 0 ? -1 : q->limit;
    uint64_t after;
    q->after = str_to_u64(http_req_query(q->http, "after_seq"), &after) == 0 ? after : 0;
    SvcCtx x = request_ctx(q);
    x.render = render_first;
    SvcMessages page = page_query(q->vars.id, q->after, q->limit);
    request_hold(q);
    svc_message_list(q->rest->o.service, &x, &page, answer_first, q);
}

/* Of a page at a time, so that a long session costs no more memory than a short one. */
void handle_session_export(Request *q)
{
    q->export = true;
    SvcCtx x = request_ctx(q);
    x.render = render_first;
    SvcMessages page = page_query(q->vars.id, 0, -1);
    request_hold(q);
    svc_message_list(q->rest->o.service, &x, &page, answer_first, q);
}

/* ---- GET /session_messages ---- */

static void render_search(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    buf_clear(&q->out);
    buf_clear(&q->packed);
    (void)buf_addz(&q->out, "{\"items\":[");
    render_rows(a, true, &q->out);
    (void)buf_addf(&q->out, "],\"kind\":\"SessionMessageList\",\"page\":%lld,\"size\":%zu,\"total\":%lld}",
                   (long long)a->list->page, a->n_messages, (long long)a->list->total);
    pack_output(q);
}

static void answer_search(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_release(q))
        return;
    if (a->err)
        rest_reply_error(q, a->err);
    else
        rest_reply_json(q, 200, &q->out);
}

void handle_message_search(Request *q)
{
    Err err = {0};
    SvcList l = {.search = http_req_query(q->http, "search"), .order_by = http_req_query(q->http, "orderBy")};
    if (query_i64(q, "page", 1, &l.page, &err) < 0 || query_i64(q, "size", 100, &l.size, &err) < 0) {
        rest_reply_error(q, &err);
        return;
    }
    SvcCtx x = request_ctx(q);
    x.render = render_search;
    request_hold(q);
    svc_message_search(q->rest->o.service, &x, &l, answer_search, q);
}

/* ---- POST ---- */

static void answer_push(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_answered(q, a))
        return;
    mark_replayed(q, a);
    message_to_json(a->message, &q->out);
    (void)buf_addc(&q->out, '\n');
    rest_reply_json(q, 201, &q->out);
}

static int read_push(Request *q, json_t **ret, SvcPush *p, Err *err)
{
    Str body = http_req_body(q->http);
    size_t max = q->rest->o.message_max;
    if (body.len > max)
        return err_set(err, ERR_TOO_LARGE, "message body exceeds %zu bytes", max);
    if (json_parse(body, ret, NULL) < 0 || !json_is_object(*ret))
        return err_set(err, ERR_MALFORMED, "invalid JSON body");
    const json_t *type = json_object_get(*ret, "event_type"), *payload = json_object_get(*ret, "payload");
    bool type_ok = !type || json_is_null(type) || json_is_string(type);
    bool payload_ok = !payload || json_is_null(payload) || json_is_string(payload);
    if (!type_ok || !payload_ok)
        return err_set(err, ERR_MALFORMED, "invalid JSON body: %s must be a string",
                       type_ok ? "payload" : "event_type");
    Str want = json_get_strv(*ret, "event_type");
    if (want.len && !str_eq(want, STR("user")))
        return err_set(err, ERR_INVALID, "event_type must be \"user\" on this endpoint");
    *p = (SvcPush){
        .session_id = q->vars.id, .event_type = STR("user"), .payload = json_get_strv(*ret, "payload")};
    return 0;
}

void handle_messages_post(Request *q)
{
    CLEANUP_JSON json_t *body = NULL;
    SvcPush push;
    Err err = {0};
    if (read_push(q, &body, &push, &err) < 0) {
        rest_reply_error(q, &err);
        return;
    }
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_message_push(q->rest->o.service, &x, &push, answer_push, q);
}
