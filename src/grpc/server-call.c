#include "server-internal.h"

#include <assert.h>
#include "base/mem.h"
#include "pb/pb.h"

#define CALL_MAGIC 0x6361ca11u
enum {
    BIDI_OUT_MAX = 16,            /* queued answers before no more requests are looked at */
    BIDI_MESSAGE_MAX = 256 << 10, /* these are for small questions, and are not in the request_bytes limits */
};

#define TO(state) (1u << (state))
static const uint8_t call_next[_CALL_STATE_MAX] = {
    [CALL_OPENING] = TO(CALL_RECEIVING) | TO(CALL_ENDING),
    [CALL_RECEIVING] = TO(CALL_ADMITTING) | TO(CALL_ENDING),
    [CALL_ADMITTING] = TO(CALL_HANDLING) | TO(CALL_ENDING),
    [CALL_HANDLING] = TO(CALL_RESPONDING) | TO(CALL_ENDING),
    [CALL_RESPONDING] = TO(CALL_ENDING),
    [CALL_ENDING] = TO(CALL_DONE),
};

static void call_move(GrpcCall *c, CallState to)
{
    assert(c->magic == CALL_MAGIC);
    assert(call_next[c->state] & TO(to));
    c->state = (uint8_t)to;
}

static bool call_is_bidi(const GrpcCall *c)
{
    return c->method && c->method->kind == GRPC_BIDI;
}

/* ---- life ---- */

static void call_set_due(GrpcCall *c, Usec due)
{
    SrvSession *s = c->session;
    heap_remove(&s->timed, &c->timed);
    c->due = due;
    if (due == USEC_NEVER)
        return;
    heap_push(&s->timed, &c->timed);
    srv_session_set_due(s, due);
}

GrpcCall *srv_call_open(SrvSession *s, int32_t stream_id)
{
    GrpcCall *c = xnew(GrpcCall);
    c->magic = CALL_MAGIC;
    c->stream_id = stream_id;
    c->session = s;
    c->content_type = "application/grpc";
    c->started = s->now;
    c->deadline = c->due = USEC_NEVER;
    c->request = xnew(CallRequest);
    metadata_init(&c->request->metadata, s->host->limits.header_list_max);
    message_init(&c->request->reader, s->host->limits.message_max);
    list_init(&c->ready);
    list_push_back(&s->calls, &c->all);
    if (s->n_calls++ == 0)
        srv_session_set_due(s, usec_add(s->last_recv, s->host->limits.ping_interval));
    s->host->stats.streams++;
    call_set_due(c, usec_add(c->started, s->host->limits.request_timeout));
    return c;
}

static void request_uncount(GrpcCall *c)
{
    c->session->request_bytes -= c->counted;
    c->session->host->request_bytes -= c->counted;
    c->counted = 0;
}

/* The message is not needed any more; the metadata may be, for the log. */
static void message_drop(GrpcCall *c)
{
    request_uncount(c);
    if (c->request)
        message_done(&c->request->reader);
}

static void request_free(GrpcCall *c)
{
    if (!c->request)
        return;
    message_drop(c);
    metadata_done(&c->request->metadata);
    free(c->request);
    c->request = NULL;
}

static void bidi_free(GrpcCall *c)
{
    if (!c->bidi)
        return;
    for (size_t i = c->bidi->out_pos; i < c->bidi->out.len; i++)
        grpc_frame_unref(c->bidi->out.ptr[i]);
    vec_free(&c->bidi->out);
    buf_done(&c->bidi->pending);
    free(c->bidi);
    c->bidi = NULL;
}

static void cur_drop(GrpcCall *c)
{
    if (c->cur && c->method->kind == GRPC_UNARY)
        c->session->reply_bytes -= grpc_frame_bytes(c->cur).len;
    c->cur = grpc_frame_unref(c->cur);
    c->cur_pos = 0;
}

/* Tells the application, once, that the call is over. */
static void call_tell(GrpcCall *c)
{
    if (c->told)
        return;
    c->told = true;
    SrvHost *host = c->session->host;
    if (host->ops.on_end && c->state != CALL_OPENING)
        host->ops.on_end(host->arg, c, c->status, clock_now(host->clock) - c->started);
    if (c->on_gone)
        c->on_gone(c->user);
}

static void call_free(GrpcCall *c)
{
    SrvSession *s = c->session;
    cur_drop(c);
    bidi_free(c);
    request_free(c);
    heap_remove(&s->timed, &c->timed);
    list_remove(&c->all);
    list_remove(&c->ready);
    s->n_calls--;
    s->host->stats.streams--;
    free(c->message);
    c->magic = 0;
    free(c);
}

void srv_call_stream_closed(GrpcCall *c)
{
    if (c->state < CALL_ENDING)
        c->status = GRPC_CANCELLED;
    call_tell(c);
    call_free(c);
}

/* ---- sending ---- */

static void head_add(H2Fields *f, const GrpcCall *c, const char *http_status)
{
    h2_field_add(f, ":status", str_from(http_status));
    h2_field_add(f, "content-type", str_from(c->content_type));
}

static void status_add(H2Fields *f, const GrpcCall *c, char number[static 4], Buf *text)
{
    snprintf(number, 4, "%u", (unsigned)c->status % 100);
    h2_field_add(f, "grpc-status", str_from(number));
    if (!c->message)
        return;
    grpc_percent_encode(str_from(c->message), text);
    h2_field_add(f, "grpc-message", buf_str(text));
}

static void call_reset(GrpcCall *c, uint32_t code)
{
    h2_check(nghttp2_submit_rst_stream(c->session->h2, NGHTTP2_FLAG_NONE, c->stream_id, code));
    call_move(c, CALL_DONE);
    c->session->sink.wake(c->session->sink.arg);
}

static ssize_t on_read(nghttp2_session *h2, int32_t stream_id, uint8_t *buf, size_t length, uint32_t *flags,
                       nghttp2_data_source *source, void *user)
{
    return srv_call_read(source->ptr, length, flags);
}

static void head_submit(GrpcCall *c)
{
    H2Fields f = {0};
    head_add(&f, c, "200");
    nghttp2_data_provider provider = {.source.ptr = c, .read_callback = on_read};
    call_move(c, CALL_RESPONDING);
    h2_check(nghttp2_submit_response(c->session->h2, c->stream_id, f.nv, f.len, &provider));
    c->session->sink.wake(c->session->sink.arg);
}

static void trailers_submit(GrpcCall *c)
{
    H2Fields f = {0};
    char number[4];
    CLEANUP_BUF Buf text = BUF_INIT(3 * GRPC_MESSAGE_MAX);
    status_add(&f, c, number, &text);
    call_move(c, CALL_DONE);
    h2_check(nghttp2_submit_trailer(c->session->h2, c->stream_id, f.nv, f.len));
}

static void trailers_only_submit(GrpcCall *c, const char *http_status, bool tell_encodings)
{
    H2Fields f = {0};
    char number[4];
    CLEANUP_BUF Buf text = BUF_INIT(3 * GRPC_MESSAGE_MAX);
    head_add(&f, c, http_status);
    status_add(&f, c, number, &text);
    if (tell_encodings)
        h2_field_add(&f, "grpc-accept-encoding", STR("identity"));
    call_move(c, CALL_DONE);
    h2_check(nghttp2_submit_response(c->session->h2, c->stream_id, f.nv, f.len, NULL));
    c->session->sink.wake(c->session->sink.arg);
}

static void call_set_status(GrpcCall *c, GrpcStatus status, const char *message)
{
    bool handler_reads =
        c->state >= CALL_HANDLING; /* it may be inside on_message: grpc_call_proceed() drops it */
    call_move(c, CALL_ENDING);
    c->status = status;
    c->message = message && *message ? xstrndup(message, strnlen(message, GRPC_MESSAGE_MAX + 4)) : NULL;
    call_set_due(c, USEC_NEVER);
    if (!handler_reads)
        message_drop(c);
}

/* An answer to a request that is not even gRPC enough to have a 200. */
static void call_refuse(GrpcCall *c, const char *http_status, GrpcStatus status, const char *message)
{
    call_set_status(c, status, message);
    trailers_only_submit(c, http_status, false);
}

static bool bidi_has_out(const GrpcCall *c)
{
    return c->bidi && c->bidi->out_pos < c->bidi->out.len;
}

/* The stream has a partial frame in it, or whole ones that belong before an OK. */
static bool must_send_first(const GrpcCall *c)
{
    if (c->cur_pos > 0)
        return true;
    return c->status == GRPC_OK && (c->cur || bidi_has_out(c));
}

static void stream_finish(GrpcCall *c)
{
    if (must_send_first(c)) {
        grpc_call_wake(c); /* the end is read after the frame */
        return;
    }
    cur_drop(c);
    trailers_submit(c); /* past the data: also when the peer's window is closed */
    c->session->sink.wake(c->session->sink.arg);
}

void grpc_call_finish(GrpcCall *c, GrpcStatus status, const char *message)
{
    assert(c->magic == CALL_MAGIC);
    if (c->state >= CALL_ENDING)
        return;
    bool responding = c->state == CALL_RESPONDING;
    call_set_status(c, status, message);
    if (responding)
        stream_finish(c);
    else
        trailers_only_submit(c, "200", false);
}

static void finishf(GrpcCall *c, GrpcStatus status, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void finishf(GrpcCall *c, GrpcStatus status, const char *fmt, ...)
{
    CLEANUP_BUF Buf b = BUF_INIT(2 * GRPC_MESSAGE_MAX);
    va_list ap;
    va_start(ap, fmt);
    buf_vaddf(&b, fmt, ap);
    va_end(ap);
    grpc_call_finish(c, status, buf_str(&b).ptr);
}

void grpc_call_reply_frame(GrpcCall *c, GrpcFrame *f)
{
    SrvSession *s = c->session;
    size_t len = grpc_frame_bytes(f).len;
    assert(c->magic == CALL_MAGIC && c->method->kind == GRPC_UNARY);
    if (c->state != CALL_HANDLING) {
        grpc_frame_unref(f);
        return;
    }
    if (s->reply_bytes + len > s->host->limits.reply_bytes_per_conn) {
        grpc_frame_unref(f);
        grpc_call_finish(c, GRPC_RESOURCE_EXHAUSTED, "too many unread replies on this connection");
        return;
    }
    head_submit(c);
    c->cur = f;
    s->reply_bytes += len;
    call_set_status(c, GRPC_OK, NULL);
}

void grpc_call_reply(GrpcCall *c, const ProtobufCMessage *msg)
{
    grpc_call_reply_frame(c, grpc_frame_pack(msg));
}

void grpc_call_stream(GrpcCall *c, GrpcPull pull)
{
    assert(c->magic == CALL_MAGIC && c->method->kind != GRPC_UNARY);
    if (c->state != CALL_HANDLING)
        return;
    c->pull = pull;
    head_submit(c);
}

void grpc_call_wake(GrpcCall *c)
{
    SrvSession *s = c->session;
    assert(c->magic == CALL_MAGIC);
    if (list_linked(&c->ready))
        return;
    bool first = list_empty(&s->ready);
    list_push_back(&s->ready, &c->ready);
    if (first)
        s->sink.wake(s->sink.arg);
}

void grpc_call_send(GrpcCall *c, const ProtobufCMessage *msg)
{
    assert(c->magic == CALL_MAGIC && c->bidi);
    if (c->state == CALL_HANDLING)
        head_submit(c);
    if (c->state != CALL_RESPONDING)
        return;
    vec_push(&c->bidi->out, grpc_frame_pack(msg));
    grpc_call_wake(c);
}

static GrpcFrame *bidi_pop(GrpcCall *c)
{
    CallBidi *b = c->bidi;
    GrpcFrame *f = b->out.ptr[b->out_pos++];
    if (b->out_pos == b->out.len) {
        vec_clear(&b->out);
        b->out_pos = 0;
    }
    if (b->pending.len > 0)
        grpc_call_wake(c); /* there is room for the answers to more */
    return f;
}

/* Looks for a frame to send. The pull may end the call. */
static void cur_fetch(GrpcCall *c)
{
    if (bidi_has_out(c))
        c->cur = bidi_pop(c);
    else if (c->pull && c->state == CALL_RESPONDING)
        c->cur = c->pull(c->user, c);
    if (c->cur && c->state == CALL_DONE)
        cur_drop(c); /* ended with an error while pulling */
}

static bool is_last_frame(const GrpcCall *c)
{
    return c->state == CALL_ENDING && !bidi_has_out(c);
}

ssize_t srv_call_read(GrpcCall *c, size_t length, uint32_t *flags)
{
    assert(c->magic == CALL_MAGIC);
    if (c->session->sink.full(c->session->sink.arg))
        return NGHTTP2_ERR_PAUSE;
    if (!c->cur)
        cur_fetch(c);
    if (!c->cur && c->state < CALL_ENDING)
        return NGHTTP2_ERR_DEFERRED;
    size_t left = c->cur ? grpc_frame_bytes(c->cur).len - c->cur_pos : 0;
    size_t n = left < length ? left : length;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (c->state == CALL_DONE || (n == left && is_last_frame(c))) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (c->state == CALL_ENDING)
            trailers_submit(c);
    }
    return (ssize_t)n;
}

void srv_call_write(GrpcCall *c, const uint8_t *head, size_t length)
{
    H2Sink *sink = &c->session->sink;
    SrvHost *host = c->session->host;
    assert(c->magic == CALL_MAGIC && c->cur);
    Str all = grpc_frame_bytes(c->cur);
    assert(c->cur_pos + length <= all.len);
    sink->write(sink->arg, (Str){(const char *)head, 9});
    sink->write_frame(sink->arg, c->cur, str_slice(all, c->cur_pos, c->cur_pos + length));
    c->cur_pos += length;
    host->stats.bytes_sent += length;
    if (c->cur_pos == all.len) {
        host->stats.frames_sent++;
        cur_drop(c);
    }
}

/* ---- receiving ---- */

bool srv_call_header(GrpcCall *c, Str name, Str value)
{
    CallRequest *r = c->request;
    if (metadata_add(&r->metadata, name, value))
        return true;
    r->headers_over = true;
    return r->metadata.listed <= 16 * c->session->host->limits.header_list_max;
}

static Str header(const GrpcCall *c, const char *name)
{
    return metadata_get(&c->request->metadata, name);
}

/* The status line of a request. False when it was answered. */
static bool check_http(GrpcCall *c)
{
    const Metadata *m = &c->request->metadata;
    Str type = header(c, "content-type");
    if (metadata_count(m, ":authority") > 1 || metadata_count(m, "host") > 1) {
        call_refuse(c, "400", GRPC_INTERNAL, "more than one authority");
    } else if (!grpc_content_type_ok(type, &c->content_type)) {
        CLEANUP_BUF Buf b = BUF_INIT(GRPC_MESSAGE_MAX);
        buf_addf(&b, "invalid gRPC request content-type \"" STR_FMT "\"", STR_ARG(str_slice(type, 0, 200)));
        call_refuse(c, "415", GRPC_INVALID_ARGUMENT, buf_str(&b).ptr);
    } else if (m->bad_base64) {
        call_refuse(c, "400", GRPC_INTERNAL, "malformed binary metadata");
    } else {
        return true;
    }
    return false;
}

static bool check_timeout(GrpcCall *c, Usec *ret)
{
    Str t = header(c, "grpc-timeout");
    *ret = USEC_NEVER;
    if (!t.ptr || grpc_timeout_parse(t, ret) == 0)
        return true;
    call_refuse(c, "400", GRPC_INTERNAL, "malformed grpc-timeout");
    return false;
}

static bool check_method(GrpcCall *c)
{
    Str m = header(c, ":method");
    if (str_eq(m, STR("POST")))
        return true;
    CLEANUP_BUF Buf b = BUF_INIT(GRPC_MESSAGE_MAX);
    buf_addf(&b, "received a " STR_FMT " request, which is not POST", STR_ARG(str_slice(m, 0, 100)));
    call_refuse(c, "405", GRPC_INTERNAL, buf_str(&b).ptr);
    return false;
}

/* We have no decompressor; a request that names one is refused before its message is read. */
static bool check_encoding(GrpcCall *c)
{
    Str e = header(c, "grpc-encoding");
    if (e.len == 0 || str_eq(e, STR("identity")))
        return true;
    CLEANUP_BUF Buf b = BUF_INIT(GRPC_MESSAGE_MAX);
    buf_addf(&b, "grpc: Decompressor is not installed for grpc-encoding \"" STR_FMT "\"",
             STR_ARG(str_slice(e, 0, 200)));
    call_set_status(c, GRPC_UNIMPLEMENTED, buf_str(&b).ptr);
    trailers_only_submit(c, "200", true);
    return false;
}

static ptrdiff_t last_slash(Str s)
{
    ptrdiff_t i = (ptrdiff_t)s.len - 1;
    while (i >= 0 && s.ptr[i] != '/')
        i--;
    return i;
}

static bool check_path(GrpcCall *c)
{
    SrvHost *host = c->session->host;
    Str path = header(c, ":path");
    ptrdiff_t slash = last_slash(path);
    c->method = map_get(host->methods, path);
    if (c->method)
        return true;
    if (!str_starts(path, STR("/")) || slash <= 0) {
        finishf(c, GRPC_UNIMPLEMENTED, "malformed method name: \"" STR_FMT "\"", STR_ARG(path));
        return false;
    }
    Str service = str_slice(path, 1, (size_t)slash), name = str_slice(path, (size_t)slash + 1, path.len);
    if (map_has(host->services, service))
        finishf(c, GRPC_UNIMPLEMENTED, "unknown method " STR_FMT " for service " STR_FMT, STR_ARG(name),
                STR_ARG(service));
    else
        finishf(c, GRPC_UNIMPLEMENTED, "unknown service " STR_FMT, STR_ARG(service));
    return false;
}

void srv_call_headers_done(GrpcCall *c)
{
    Usec timeout;
    call_move(c, CALL_RECEIVING);
    if (c->request->headers_over) {
        call_move(c, CALL_ENDING);
        c->status = GRPC_RESOURCE_EXHAUSTED;
        call_reset(c, NGHTTP2_FRAME_SIZE_ERROR);
        return;
    }
    if (!check_http(c) || !check_timeout(c, &timeout) || !check_method(c) || !check_encoding(c) ||
        !check_path(c))
        return;
    c->deadline = usec_add(c->started, timeout);
    if (timeout == 0) {
        grpc_call_finish(c, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
        return;
    }
    if (call_is_bidi(c)) {
        c->bidi = xnew(CallBidi);
        buf_init(&c->bidi->pending, SIZE_MAX / 2); /* bounded by the windows: no credit is given for it */
        c->request->reader.body.max = BIDI_MESSAGE_MAX;
    }
    if (c->deadline < c->due)
        call_set_due(c, c->deadline);
}

/* The request has become a message: from here only the caller's own deadline counts. */
static void call_admit(GrpcCall *c)
{
    SrvHost *host = c->session->host;
    call_move(c, CALL_ADMITTING);
    call_set_due(c, c->deadline);
    if (host->ops.on_call)
        host->ops.on_call(host->arg, c);
    else
        grpc_call_proceed(c);
}

static void message_error(GrpcCall *c, MessageResult why)
{
    const MessageReader *r = &c->request->reader;
    switch (why) {
    case MESSAGE_TOO_LARGE:
        finishf(c, GRPC_RESOURCE_EXHAUSTED, "grpc: received message larger than max (%u vs. %zu)", r->length,
                c->session->host->limits.message_max);
        return;
    case MESSAGE_COMPRESSED:
        grpc_call_finish(c, GRPC_INTERNAL, "grpc: compressed flag set with identity or empty encoding");
        return;
    default:
        finishf(c, GRPC_INTERNAL, "grpc: received unexpected payload format %u", r->prefix[0]);
        return;
    }
}

static bool memory_ok(GrpcCall *c, size_t more)
{
    SrvSession *s = c->session;
    const GrpcLimits *l = &s->host->limits;
    if (s->request_bytes + more <= l->request_bytes_per_conn &&
        s->host->request_bytes + more <= l->request_bytes_max) {
        s->request_bytes += more;
        s->host->request_bytes += more;
        c->counted += more;
        return true;
    }
    grpc_call_finish(c, GRPC_RESOURCE_EXHAUSTED, "too many large requests at once");
    return false;
}

/* Unary and server-streaming calls: one message, then the end. */
static void single_data(GrpcCall *c, Str bytes)
{
    CallRequest *r = c->request;
    MessageResult result = MESSAGE_MORE;
    if (!memory_ok(c, bytes.len))
        return;
    if (!r->complete)
        result = message_read(&r->reader, &bytes);
    if (result == MESSAGE_COMPLETE)
        r->complete = true;
    else if (result != MESSAGE_MORE)
        message_error(c, result);
    if (c->state == CALL_RECEIVING && bytes.len > 0)
        grpc_call_finish(
            c, GRPC_INTERNAL,
            "cardinality violation: received multiple request messages for non-client-streaming RPC");
}

static bool bidi_accepts(const GrpcCall *c)
{
    if (c->state == CALL_RECEIVING || c->state == CALL_HANDLING)
        return true;
    return c->state == CALL_RESPONDING && c->bidi->out.len - c->bidi->out_pos < BIDI_OUT_MAX;
}

static void bidi_message(GrpcCall *c)
{
    if (c->state == CALL_RECEIVING) {
        call_admit(c); /* the message stays in the reader until it may be looked at */
        return;
    }
    c->method->on_message(c->session->host->arg, c, message_body(&c->request->reader));
    message_next(&c->request->reader);
}

/* Takes what may be looked at from the front of *bytes. */
static void bidi_pump(GrpcCall *c, Str *bytes)
{
    while (bytes->len > 0 && bidi_accepts(c)) {
        MessageResult result = message_read(&c->request->reader, bytes);
        if (result == MESSAGE_COMPLETE)
            bidi_message(c);
        else if (result != MESSAGE_MORE)
            message_error(c, result);
    }
    if (c->state >= CALL_ENDING)
        *bytes = STR_NULL;
}

static void bidi_half_close(GrpcCall *c)
{
    CallBidi *b = c->bidi;
    if (!c->half_closed || b->pending.len > 0 || b->half_close_told)
        return;
    if (c->state == CALL_RECEIVING) { /* not one message came: nothing is to be admitted or answered */
        grpc_call_finish(c, GRPC_OK, NULL);
    } else if (c->state == CALL_HANDLING || c->state == CALL_RESPONDING) {
        b->half_close_told = true;
        if (message_is_partial(&c->request->reader))
            grpc_call_finish(c, GRPC_INTERNAL, "request ended inside a message");
        else if (c->method->on_half_close)
            c->method->on_half_close(c->session->host->arg, c);
    }
}

static size_t bidi_data(GrpcCall *c, Str bytes)
{
    size_t len = bytes.len;
    if (c->bidi->pending.len == 0)
        bidi_pump(c, &bytes);
    if (bytes.len > 0)
        buf_adds(&c->bidi->pending, bytes);
    return len - bytes.len;
}

size_t srv_call_data(GrpcCall *c, Str bytes)
{
    if (c->state >= CALL_ENDING)
        return bytes.len;
    if (c->bidi)
        return bidi_data(c, bytes);
    single_data(c, bytes);
    return bytes.len;
}

void srv_call_half_closed(GrpcCall *c)
{
    c->half_closed = true;
    if (c->state >= CALL_ENDING)
        return;
    if (c->bidi)
        bidi_half_close(c);
    else if (c->request->complete)
        call_admit(c);
    else if (message_is_partial(&c->request->reader))
        grpc_call_finish(c, GRPC_INTERNAL, "request ended inside a message");
    else
        grpc_call_finish(c, GRPC_INTERNAL,
                         "cardinality violation: received no request message from non-client-streaming RPC");
}

void grpc_call_proceed(GrpcCall *c)
{
    assert(c->magic == CALL_MAGIC);
    if (c->state != CALL_ADMITTING)
        return;
    call_move(c, CALL_HANDLING);
    c->method->on_message(c->session->host->arg, c, message_body(&c->request->reader));
    if (c->bidi) {
        message_next(&c->request->reader);
        grpc_call_wake(c); /* what came meanwhile */
    } else if (c->state == CALL_RESPONDING) {
        request_free(c);
    } else {
        message_drop(c);
    }
}

void srv_call_resume(GrpcCall *c)
{
    if (c->bidi && c->state < CALL_ENDING) {
        Buf *pending = &c->bidi->pending;
        Str rest = buf_str(pending);
        bidi_pump(c, &rest);
        size_t taken = pending->len - rest.len;
        buf_consume(pending, taken);
        nghttp2_session_consume(c->session->h2, c->stream_id, taken);
        bidi_half_close(c);
    }
    /* An error says that the stream was not asleep: then it will be asked anyway. */
    nghttp2_session_resume_data(c->session->h2, c->stream_id);
}

void srv_call_expired(GrpcCall *c)
{
    bool receiving = c->state == CALL_RECEIVING, partial = c->cur_pos > 0,
         responding = c->state == CALL_RESPONDING;
    call_set_status(c, GRPC_DEADLINE_EXCEEDED, receiving ? "request took too long" : "deadline exceeded");
    call_tell(c);
    if (partial)
        call_reset(c, NGHTTP2_CANCEL);
    else if (responding)
        stream_finish(c);
    else
        trailers_only_submit(c, "200", false);
}

/* ---- questions and small things ---- */

const GrpcMethod *grpc_call_method(const GrpcCall *c)
{
    return c->method;
}

Str grpc_call_path(const GrpcCall *c)
{
    if (c->method)
        return str_from(c->method->path);
    return c->request ? header(c, ":path") : STR_NULL;
}

Str grpc_call_metadata(const GrpcCall *c, const char *name)
{
    assert(c->magic == CALL_MAGIC);
    return c->request ? header(c, name) : STR_NULL;
}

const char *grpc_call_peer(const GrpcCall *c)
{
    return c->session->peer;
}

Usec grpc_call_deadline(const GrpcCall *c)
{
    return c->deadline;
}

void grpc_call_set_user(GrpcCall *c, void *user, LoopFn on_gone)
{
    assert(c->magic == CALL_MAGIC && !c->told);
    c->user = user;
    c->on_gone = on_gone;
}

void *grpc_call_user(const GrpcCall *c)
{
    return c->user;
}

void *grpc_call_decode(GrpcCall *c, const ProtobufCMessageDescriptor *desc, Str message)
{
    Err err = {0};
    ProtobufCMessage *msg = pb_unpack_checked(desc, message, &err);
    if (!msg)
        finishf(c, GRPC_INTERNAL, "grpc: error unmarshalling request: %s", err.msg);
    return msg;
}

GrpcWork *grpc_call_work(GrpcCall *c)
{
    SrvSession *s = c->session;
    assert(c->magic == CALL_MAGIC);
    s->work->running++;
    s->work->refs++;
    return s->work;
}

void grpc_work_unref(GrpcWork *w)
{
    assert(w->refs > 0);
    if (--w->refs == 0)
        free(w);
}

void grpc_work_done(GrpcWork *w)
{
    assert(w->running > 0);
    w->running--;
    grpc_work_unref(w);
}
