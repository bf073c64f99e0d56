/* What comes into a call: the checks of its headers, its messages, its admission. */
#include "server-call-internal.h"

#include <assert.h>
#include "base/mem.h"

enum {
    BIDI_OUT_MAX = 16,            /* queued answers before no more requests are looked at */
    BIDI_MESSAGE_MAX = 256 << 10, /* these are for small questions, and are not in the request_bytes limits */
};

static bool call_is_bidi(const GrpcCall *c)
{
    return c->method && c->method->kind == GRPC_BIDI;
}

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
        srv_call_refuse(c, "400", GRPC_INTERNAL, "more than one authority");
    } else if (!grpc_content_type_ok(type, &c->content_type)) {
        CLEANUP_BUF Buf b = BUF_INIT(GRPC_MESSAGE_MAX);
        buf_addf(&b, "invalid gRPC request content-type \"" STR_FMT "\"", STR_ARG(str_slice(type, 0, 200)));
        srv_call_refuse(c, "415", GRPC_INVALID_ARGUMENT, buf_str(&b).ptr);
    } else if (m->bad_base64) {
        srv_call_refuse(c, "400", GRPC_INTERNAL, "malformed binary metadata");
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
    srv_call_refuse(c, "400", GRPC_INTERNAL, "malformed grpc-timeout");
    return false;
}

static bool check_method(GrpcCall *c)
{
    Str m = header(c, ":method");
    if (str_eq(m, STR("POST")))
        return true;
    CLEANUP_BUF Buf b = BUF_INIT(GRPC_MESSAGE_MAX);
    buf_addf(&b, "received a " STR_FMT " request, which is not POST", STR_ARG(str_slice(m, 0, 100)));
    srv_call_refuse(c, "405", GRPC_INTERNAL, buf_str(&b).ptr);
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
    srv_call_set_status(c, GRPC_UNIMPLEMENTED, buf_str(&b).ptr);
    srv_call_trailers_only(c, "200", true);
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
        srv_call_finishf(c, GRPC_UNIMPLEMENTED, "malformed method name: \"" STR_FMT "\"", STR_ARG(path));
        return false;
    }
    Str service = str_slice(path, 1, (size_t)slash), name = str_slice(path, (size_t)slash + 1, path.len);
    if (map_has(host->services, service))
        srv_call_finishf(c, GRPC_UNIMPLEMENTED, "unknown method " STR_FMT " for service " STR_FMT,
                         STR_ARG(name), STR_ARG(service));
    else
        srv_call_finishf(c, GRPC_UNIMPLEMENTED, "unknown service " STR_FMT, STR_ARG(service));
    return false;
}

void srv_call_headers_done(GrpcCall *c)
{
    Usec timeout;
    srv_call_move(c, CALL_RECEIVING);
    if (c->request->headers_over) {
        srv_call_move(c, CALL_ENDING);
        c->status = GRPC_RESOURCE_EXHAUSTED;
        srv_call_reset(c, NGHTTP2_FRAME_SIZE_ERROR);
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
        srv_call_set_due(c, c->deadline);
}

/* The request has become a message: from here only the caller's own deadline counts. */
static void call_admit(GrpcCall *c)
{
    SrvHost *host = c->session->host;
    srv_call_move(c, CALL_ADMITTING);
    srv_call_set_due(c, c->deadline);
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
        srv_call_finishf(c, GRPC_RESOURCE_EXHAUSTED, "grpc: received message larger than max (%u vs. %zu)",
                         r->length, c->session->host->limits.message_max);
        return;
    case MESSAGE_COMPRESSED:
        grpc_call_finish(c, GRPC_INTERNAL, "grpc: compressed flag set with identity or empty encoding");
        return;
    default:
        srv_call_finishf(c, GRPC_INTERNAL, "grpc: received unexpected payload format %u", r->prefix[0]);
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
    srv_call_move(c, CALL_HANDLING);
    c->method->on_message(c->session->host->arg, c, message_body(&c->request->reader));
    if (c->bidi) {
        message_next(&c->request->reader);
        grpc_call_wake(c); /* what came meanwhile */
    } else if (c->state == CALL_RESPONDING) {
        srv_call_request_free(c);
    } else {
        srv_call_message_drop(c);
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
