#include "server-internal.h"

#include <assert.h>
#include "base/log.h"
#include "base/mem.h"

#define PING_IDLE (10 * 60 * USEC_PER_SEC) /* without streams: only to notice that the peer is gone */
#define DRAIN_NOTICE_TIMEOUT (5 * USEC_PER_SEC)

/* ---- settings ---- */

/* nghttp2 ends a connection that opens more streams than its own setting says; we refuse the stream instead,
   and we count until the handler is done. So nghttp2 is not told, and its SETTINGS frame, which is the first
   thing it writes, goes out with this entry behind its own. */
static void settings_write(SrvSession *s, const uint8_t *frame, size_t len)
{
    uint8_t entry[6] = {0, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS}, head[H2_FRAME_HEAD];
    assert(len >= H2_FRAME_HEAD && frame[3] == NGHTTP2_SETTINGS);
    memcpy(head, frame, sizeof(head));
    head[2] = (uint8_t)(len - H2_FRAME_HEAD + sizeof(entry));
    h2_put_u32(entry + 2, s->host->limits.streams_per_conn);
    s->sink.write(s->sink.arg, (Str){(const char *)head, sizeof(head)});
    s->sink.write(s->sink.arg, (Str){(const char *)frame + H2_FRAME_HEAD, len - H2_FRAME_HEAD});
    s->sink.write(s->sink.arg, (Str){(const char *)entry, sizeof(entry)});
}

static void settings_submit(SrvSession *s)
{
    const nghttp2_settings_entry iv[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)s->host->limits.header_list_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    const uint8_t *frame;
    h2_check(nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, iv, ARRAY_LEN(iv)));
    ssize_t len = nghttp2_session_mem_send(s->h2, &frame);
    assert(len > 0);
    settings_write(s, frame, (size_t)len);
    h2_check(nghttp2_session_set_local_window_size(s->h2, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW));
}

/* ---- nghttp2's callbacks ---- */

static GrpcCall *call_of(SrvSession *s, int32_t stream_id)
{
    return stream_id ? nghttp2_session_get_stream_user_data(s->h2, stream_id) : NULL;
}

static int refuse(SrvSession *s, int32_t stream_id)
{
    s->kick = h2_meter_reset_sent(&s->meter, s->now);
    if (s->kick)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return nghttp2_submit_rst_stream(s->h2, NGHTTP2_FLAG_NONE, stream_id, NGHTTP2_REFUSED_STREAM);
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    SrvSession *s = user;
    int32_t id = frame->hd.stream_id;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    s->had_stream = true;
    if (srv_session_is_loaded(s)) /* counted now, as it may be long before the peer takes the RST_STREAM */
        return refuse(s, id);
    GrpcCall *c = srv_call_open(s, id);
    /* Incremental: streams take turns, so that a long replay does not hold up small answers. */
    const nghttp2_extpri pri = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
    nghttp2_session_change_extpri_stream_priority(h2, id, &pri, 1);
    return nghttp2_session_set_stream_user_data(h2, id, c);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    SrvSession *s = user;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers of a request mean nothing in gRPC */
    GrpcCall *c = call_of(s, frame->hd.stream_id);
    Str n = {(const char *)name, name_len}, v = {(const char *)value, value_len};
    if (!c || srv_call_header(c, n, v))
        return 0;
    s->kick = "header list too large";
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void drain_final(SrvSession *s)
{
    s->drain = DRAIN_FINAL;
    nghttp2_submit_goaway(s->h2, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(s->h2),
                          NGHTTP2_NO_ERROR, NULL, 0);
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    SrvSession *s = user;
    GrpcCall *c = call_of(s, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        s->settings_seen = true;
        break;
    case NGHTTP2_PING:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) && s->drain == DRAIN_NOTICE)
            drain_final(s);
        break;
    case NGHTTP2_HEADERS:
        if (c && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
            srv_call_headers_done(c);
        break;
    default:
        break;
    }
    bool last = frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA;
    if (c && last && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        srv_call_half_closed(c);
    return 0;
}

static int on_data_chunk(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *data,
                         size_t len, void *user)
{
    SrvSession *s = user;
    GrpcCall *c = call_of(s, stream_id);
    size_t credit = c ? srv_call_data(c, (Str){(const char *)data, len}) : len;
    return nghttp2_session_consume(h2, stream_id, credit);
}

static int on_stream_close(nghttp2_session *h2, int32_t stream_id, uint32_t error_code, void *user)
{
    GrpcCall *c = call_of(user, stream_id);
    if (c)
        srv_call_stream_closed(c);
    return 0;
}

/* NO_ERROR follows an early answer; refused streams were counted when they came. */
static bool reset_is_provoked(uint32_t code)
{
    return code != NGHTTP2_NO_ERROR && code != NGHTTP2_REFUSED_STREAM;
}

static int on_frame_send(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    SrvSession *s = user;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        h2_meter_progress(&s->meter);
        return 0;
    case NGHTTP2_RST_STREAM:
        if (!s->kick && reset_is_provoked(frame->rst_stream.error_code))
            s->kick = h2_meter_reset_sent(&s->meter, s->now);
        return 0;
    case NGHTTP2_HEADERS:
        h2_meter_progress(&s->meter);
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
            !nghttp2_session_get_stream_remote_close(h2, frame->hd.stream_id))
            return nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
        return 0;
    case NGHTTP2_GOAWAY:
        /* Not earlier, as nghttp2 sends pings first: its answer shall say that the notice has arrived. */
        return s->drain == DRAIN_NOTICE ? nghttp2_submit_ping(h2, NGHTTP2_FLAG_NONE, NULL) : 0;
    default:
        return 0;
    }
}

static int on_send_data(nghttp2_session *h2, nghttp2_frame *frame, const uint8_t *head, size_t length,
                        nghttp2_data_source *source, void *user)
{
    srv_call_write(source->ptr, head, length);
    return 0;
}

/* ---- life ---- */

static nghttp2_session *h2_new(SrvSession *s)
{
    nghttp2_session_callbacks *cb = h2_callbacks_new();
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
    return h2_new_server(cb, s);
}

static bool call_due_less(const HeapNode *a, const HeapNode *b)
{
    return CONTAINER_OF(a, GrpcCall, timed)->due < CONTAINER_OF(b, GrpcCall, timed)->due;
}

SrvSession *srv_session_new(SrvHost *host, const H2Sink *sink, const char *peer)
{
    SrvSession *s = xnew(SrvSession);
    s->host = host;
    s->sink = *sink;
    s->peer = xstrdup(peer);
    s->now = s->created = s->last_recv = clock_now(host->clock);
    s->due = USEC_NEVER;
    s->work = xnew(GrpcWork);
    s->work->refs = 1;
    list_init(&s->calls);
    list_init(&s->ready);
    heap_init(&s->timed, call_due_less);
    /* Twice the limit: a list that is somewhat too long ends its stream only, not the connection. */
    h2_meter_init(&s->meter, true, 2 * host->limits.header_list_max);
    s->h2 = h2_new(s);
    settings_submit(s);
    srv_session_set_due(s, usec_add(s->created, host->limits.handshake_timeout));
    return s;
}

SrvSession *srv_session_free(SrvSession *s)
{
    if (!s)
        return NULL;
    s->over = true;
    while (!list_empty(&s->calls))
        srv_call_stream_closed(LIST_ENTRY(s->calls.next, GrpcCall, all));
    nghttp2_session_del(s->h2);
    heap_done(&s->timed);
    grpc_work_unref(s->work);
    free(s->peer);
    free(s);
    return NULL;
}

/* ---- bytes ---- */

static void session_end(SrvSession *s, uint32_t code, const char *reason)
{
    if (s->over)
        return;
    log_debug("grpc connection ended", F_STR("peer", s->peer), F_STR("reason", reason));
    h2_goaway_write(&s->sink, nghttp2_session_get_last_proc_stream_id(s->h2), code, reason);
    s->over = true;
    s->sink.wake(s->sink.arg);
}

void srv_session_feed(SrvSession *s, Str bytes)
{
    if (s->over)
        return;
    s->now = s->last_recv = clock_now(s->host->clock);
    s->ping_sent = 0;
    s->kick = h2_meter_scan(&s->meter, bytes, s->now);
    ssize_t n = 0;
    if (!s->kick)
        n = nghttp2_session_mem_recv(s->h2, (const uint8_t *)bytes.ptr, bytes.len);
    if (s->kick)
        session_end(s, NGHTTP2_ENHANCE_YOUR_CALM, s->kick);
    else if (n == NGHTTP2_ERR_FLOODED)
        session_end(s, NGHTTP2_ENHANCE_YOUR_CALM, "flooded");
    else if (n < 0)
        session_end(s, NGHTTP2_PROTOCOL_ERROR, nghttp2_strerror((int)n));
    else
        s->sink.wake(s->sink.arg);
}

static void ready_run(SrvSession *s)
{
    List woken;
    list_init(&woken);
    while (!list_empty(&s->ready)) /* who is woken again meanwhile waits for the next flush */
        list_push_back(&woken, list_pop_front(&s->ready));
    for (ListLink *l; (l = list_pop_front(&woken));)
        srv_call_resume(LIST_ENTRY(l, GrpcCall, ready));
}

void srv_session_flush(SrvSession *s)
{
    if (s->over)
        return;
    s->now = clock_now(s->host->clock);
    ready_run(s);
    while (!s->kick && !s->sink.full(s->sink.arg)) {
        const uint8_t *out;
        ssize_t n = nghttp2_session_mem_send(s->h2, &out);
        if (n < 0)
            session_end(s, NGHTTP2_INTERNAL_ERROR, nghttp2_strerror((int)n));
        if (n <= 0)
            break;
        s->sink.write(s->sink.arg, (Str){(const char *)out, (size_t)n});
    }
    if (s->kick)
        session_end(s, NGHTTP2_ENHANCE_YOUR_CALM, s->kick);
    if (!list_empty(&s->ready))
        s->sink.wake(s->sink.arg);
}

bool srv_session_is_over(const SrvSession *s)
{
    if (s->over || (s->drain == DRAIN_FINAL && s->n_calls == 0 && !nghttp2_session_want_write(s->h2)))
        return true;
    return !nghttp2_session_want_read(s->h2) && !nghttp2_session_want_write(s->h2);
}

bool srv_session_is_loaded(const SrvSession *s)
{
    uint32_t max = s->host->limits.streams_per_conn;
    return s->n_calls >= max || s->work->running >= max;
}

/* ---- time ---- */

void srv_session_set_due(SrvSession *s, Usec at)
{
    if (at >= s->due)
        return;
    s->due = at;
    s->sink.due(s->sink.arg, at);
}

static Usec ping_interval(const SrvSession *s)
{
    return s->n_calls > 0 ? s->host->limits.ping_interval : PING_IDLE;
}

/* When the connection itself, apart from its calls, wants to be looked at. */
static Usec session_due(const SrvSession *s)
{
    const GrpcLimits *l = &s->host->limits;
    if (!s->settings_seen)
        return usec_add(s->created, l->handshake_timeout);
    if (s->drain == DRAIN_NOTICE)
        return s->drain_at;
    if (!s->had_stream)
        return usec_add(s->created, l->first_stream_timeout);
    return s->ping_sent ? usec_add(s->ping_sent, l->ping_timeout) : usec_add(s->last_recv, ping_interval(s));
}

static void session_expired(SrvSession *s)
{
    if (!s->settings_seen) {
        session_end(s, NGHTTP2_SETTINGS_TIMEOUT, "handshake took too long");
    } else if (s->drain == DRAIN_NOTICE) {
        drain_final(s);
    } else if (!s->had_stream) {
        session_end(s, NGHTTP2_NO_ERROR, "no stream");
    } else if (s->ping_sent) {
        session_end(s, NGHTTP2_NO_ERROR, "ping_timeout");
    } else {
        nghttp2_submit_ping(s->h2, NGHTTP2_FLAG_NONE, NULL);
        s->ping_sent = s->now;
    }
}

static GrpcCall *call_due_first(SrvSession *s)
{
    HeapNode *n = heap_peek(&s->timed);
    return n ? CONTAINER_OF(n, GrpcCall, timed) : NULL;
}

void srv_session_tick(SrvSession *s)
{
    if (s->over)
        return;
    s->now = clock_now(s->host->clock);
    s->due = USEC_NEVER;
    GrpcCall *c;
    while ((c = call_due_first(s)) && c->due <= s->now) {
        heap_remove(&s->timed, &c->timed);
        if (c->state == CALL_OPENING) { /* nothing else can be read before the header block is complete */
            session_end(s, NGHTTP2_ENHANCE_YOUR_CALM, "headers took too long");
            return;
        }
        srv_call_expired(c);
    }
    if (session_due(s) <= s->now)
        session_expired(s);
    if (c)
        srv_session_set_due(s, c->due);
    srv_session_set_due(s, session_due(s));
    s->sink.wake(s->sink.arg);
}

/* Questions to reflection may go on for ever. (Health's watches end themselves, behind their last news.) */
static void builtin_bidi_end(SrvSession *s)
{
    LIST_FOREACH (&s->calls, it) {
        GrpcCall *c = LIST_ENTRY(it, GrpcCall, all);
        if (c->method && c->method->data == srv_builtin && c->method->kind == GRPC_BIDI)
            grpc_call_finish(c, GRPC_UNAVAILABLE, "server is shutting down");
    }
}

void srv_session_drain(SrvSession *s)
{
    if (s->over || s->drain != DRAIN_NONE)
        return;
    s->now = clock_now(s->host->clock);
    s->drain = DRAIN_NOTICE;
    s->drain_at = s->now + DRAIN_NOTICE_TIMEOUT;
    if (nghttp2_submit_shutdown_notice(s->h2) != 0 ||
        nghttp2_submit_ping(s->h2, NGHTTP2_FLAG_NONE, NULL) != 0)
        s->over = true;
    srv_session_set_due(s, s->drain_at);
    builtin_bidi_end(s);
    s->sink.wake(s->sink.arg);
}
