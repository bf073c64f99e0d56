/* What goes out of a call: headers, frames, trailers, resets. */
#include "server-call-internal.h"

#include <assert.h>
#include "base/mem.h"

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

void srv_call_reset(GrpcCall *c, uint32_t code)
{
    h2_check(nghttp2_submit_rst_stream(c->session->h2, NGHTTP2_FLAG_NONE, c->stream_id, code));
    srv_call_move(c, CALL_DONE);
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
    srv_call_move(c, CALL_RESPONDING);
    h2_check(nghttp2_submit_response(c->session->h2, c->stream_id, f.nv, f.len, &provider));
    c->session->sink.wake(c->session->sink.arg);
}

static void trailers_submit(GrpcCall *c)
{
    H2Fields f = {0};
    char number[4];
    CLEANUP_BUF Buf text = BUF_INIT(3 * GRPC_MESSAGE_MAX);
    status_add(&f, c, number, &text);
    srv_call_move(c, CALL_DONE);
    h2_check(nghttp2_submit_trailer(c->session->h2, c->stream_id, f.nv, f.len));
}

void srv_call_trailers_only(GrpcCall *c, const char *http_status, bool tell_encodings)
{
    H2Fields f = {0};
    char number[4];
    CLEANUP_BUF Buf text = BUF_INIT(3 * GRPC_MESSAGE_MAX);
    head_add(&f, c, http_status);
    status_add(&f, c, number, &text);
    if (tell_encodings)
        h2_field_add(&f, "grpc-accept-encoding", STR("identity"));
    srv_call_move(c, CALL_DONE);
    h2_check(nghttp2_submit_response(c->session->h2, c->stream_id, f.nv, f.len, NULL));
    c->session->sink.wake(c->session->sink.arg);
}

void srv_call_set_status(GrpcCall *c, GrpcStatus status, const char *message)
{
    bool handler_reads =
        c->state >= CALL_HANDLING; /* it may be inside on_message: grpc_call_proceed() drops it */
    srv_call_move(c, CALL_ENDING);
    c->status = status;
    c->message = message && *message ? xstrndup(message, strnlen(message, GRPC_MESSAGE_MAX + 4)) : NULL;
    srv_call_set_due(c, USEC_NEVER);
    if (!handler_reads)
        srv_call_message_drop(c);
}

/* An answer to a request that is not even gRPC enough to have a 200. */
void srv_call_refuse(GrpcCall *c, const char *http_status, GrpcStatus status, const char *message)
{
    srv_call_set_status(c, status, message);
    srv_call_trailers_only(c, http_status, false);
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
    srv_call_cur_drop(c);
    trailers_submit(c); /* past the data: also when the peer's window is closed */
    c->session->sink.wake(c->session->sink.arg);
}

void grpc_call_finish(GrpcCall *c, GrpcStatus status, const char *message)
{
    assert(c->magic == CALL_MAGIC);
    if (c->state >= CALL_ENDING)
        return;
    bool responding = c->state == CALL_RESPONDING;
    srv_call_set_status(c, status, message);
    if (responding)
        stream_finish(c);
    else
        srv_call_trailers_only(c, "200", false);
}

void srv_call_finishf(GrpcCall *c, GrpcStatus status, const char *fmt, ...)
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
    srv_call_set_status(c, GRPC_OK, NULL);
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
        srv_call_cur_drop(c); /* ended with an error while pulling */
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
        srv_call_cur_drop(c);
    }
}

void srv_call_expired(GrpcCall *c)
{
    bool receiving = c->state == CALL_RECEIVING, partial = c->cur_pos > 0,
         responding = c->state == CALL_RESPONDING;
    srv_call_set_status(c, GRPC_DEADLINE_EXCEEDED, receiving ? "request took too long" : "deadline exceeded");
    srv_call_tell(c);
    if (partial)
        srv_call_reset(c, NGHTTP2_CANCEL);
    else if (responding)
        stream_finish(c);
    else
        srv_call_trailers_only(c, "200", false);
}
