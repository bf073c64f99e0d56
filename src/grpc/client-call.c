#include "client-internal.h"

#include <assert.h>
#include "base/mem.h"

#define CCALL_MAGIC 0xc11eca11u
enum {
    RESPONSE_MAX = 4 << 20,
    MESSAGE_TEXT_MAX = 16 << 10, /* of grpc-message, encoded: more is cut */
    FIXED_FIELDS = 8,
};

#define TO(state) (1u << (state))
static const uint8_t call_next[_CCALL_STATE_MAX] = {
    [CCALL_WAITING] = TO(CCALL_SENT) | TO(CCALL_DONE),
    [CCALL_SENT] = TO(CCALL_STREAMING) | TO(CCALL_WAITING) | TO(CCALL_DONE),
    [CCALL_STREAMING] = TO(CCALL_DONE),
};

static void call_move(GrpcClientCall *c, CliCallState to)
{
    assert(c->magic == CCALL_MAGIC);
    assert(call_next[c->state] & TO(to));
    c->state = (uint8_t)to;
}

/* ---- the owner's deadlines ---- */

static bool deadline_less(const HeapNode *a, const HeapNode *b)
{
    return CONTAINER_OF(a, GrpcClientCall, timed)->deadline <
           CONTAINER_OF(b, GrpcClientCall, timed)->deadline;
}

void cli_owner_init(CliOwner *o, Loop *l)
{
    *o = (CliOwner){.loop = l, .clock = loop_clock(l)};
    heap_init(&o->timed, deadline_less);
}

void cli_owner_done(CliOwner *o)
{
    heap_done(&o->timed);
}

Usec cli_owner_tick(CliOwner *o)
{
    Usec now = clock_now(o->clock);
    for (HeapNode *n; (n = heap_peek(&o->timed));) {
        GrpcClientCall *c = CONTAINER_OF(n, GrpcClientCall, timed);
        if (c->deadline > now)
            return c->deadline;
        cli_call_end(c, GRPC_DEADLINE_EXCEEDED, "deadline exceeded");
    }
    return USEC_NEVER;
}

/* ---- life ---- */

static void metadata_copy(GrpcClientCall *c, const GrpcMetadata *md, size_t n)
{
    assert(n <= H2_FIELDS_MAX - FIXED_FIELDS);
    c->n_metadata = n;
    c->metadata = xcalloc(2 * n + 1, sizeof(*c->metadata));
    c->metadata_len = xcalloc(n + 1, sizeof(*c->metadata_len));
    for (size_t i = 0; i < n; i++) {
        c->metadata[2 * i] = xstrdup(md[i].name);
        c->metadata[2 * i + 1] = str_dup(md[i].value);
        c->metadata_len[i] = md[i].value.len;
    }
}

/* What is only needed to send, or to send again. */
static void request_drop(GrpcClientCall *c)
{
    for (size_t i = 0; i < 2 * c->n_metadata; i++)
        free(c->metadata[i]);
    c->n_metadata = 0;
    free(c->metadata);
    free(c->metadata_len);
    free(c->path);
    c->metadata = NULL;
    c->metadata_len = NULL;
    c->path = NULL;
    c->bearer = secret_free(c->bearer);
}

GrpcClientCall *cli_call_new(CliOwner *o, const GrpcCallSpec *spec, Str message, const GrpcCallOps *ops,
                             void *arg)
{
    GrpcClientCall *c = xnew(GrpcClientCall);
    c->magic = CCALL_MAGIC;
    c->owner = o;
    c->ops = *ops;
    c->arg = arg;
    c->grpc_status = -1;
    c->path = xstrdup(spec->path);
    c->bearer = spec->bearer ? secret_new(secret_reveal(spec->bearer)) : NULL;
    c->frame = grpc_frame_new(message);
    metadata_copy(c, spec->metadata, spec->n_metadata);
    message_init(&c->reader, RESPONSE_MAX);
    list_init(&c->link);
    c->deadline = usec_add(clock_now(o->clock), spec->timeout);
    if (c->deadline != USEC_NEVER) {
        heap_push(&o->timed, &c->timed);
        o->on_deadline(o, c->deadline);
    }
    return c;
}

static void call_release(void *arg)
{
    GrpcClientCall *c = arg;
    message_done(&c->reader); /* until now, as a callback that cancels may still read its message */
    c->magic = 0;
    free(c);
}

/* Leaves everything; no callback comes any more. The structure may be in use further up the stack. */
static void call_close(GrpcClientCall *c)
{
    call_move(c, CCALL_DONE);
    list_remove(&c->link);
    heap_remove(&c->owner->timed, &c->timed);
    if (c->session && !c->session->dead && c->stream_id) {
        nghttp2_session_set_stream_user_data(c->session->h2, c->stream_id, NULL);
        h2_check(nghttp2_submit_rst_stream(c->session->h2, NGHTTP2_FLAG_NONE, c->stream_id, NGHTTP2_CANCEL));
        c->session->sink.wake(c->session->sink.arg);
    }
    c->session = NULL;
    request_drop(c);
    c->frame = grpc_frame_unref(c->frame);
    loop_defer(c->owner->loop, call_release, c);
}

void cli_call_end(GrpcClientCall *c, GrpcStatus status, const char *message)
{
    char *text = c->message; /* `message` may be it */
    call_close(c);
    if (c->ops.on_end)
        c->ops.on_end(c->arg, status, message ? message : "");
    free(text);
    c->message = NULL;
}

void grpc_client_call_cancel(GrpcClientCall *c)
{
    assert(c->magic == CCALL_MAGIC);
    if (c->state == CCALL_DONE)
        return;
    free(TAKE(c->message));
    call_close(c);
}

void grpc_client_call_pause(GrpcClientCall *c, bool paused)
{
    assert(c->magic == CCALL_MAGIC);
    c->paused = paused;
    if (paused || c->unconsumed == 0 || !c->session)
        return;
    h2_check(nghttp2_session_consume_stream(c->session->h2, c->stream_id, c->unconsumed));
    c->unconsumed = 0;
    c->session->sink.wake(c->session->sink.arg);
}

/* ---- sending ---- */

static ssize_t on_read(nghttp2_session *h2, int32_t stream_id, uint8_t *buf, size_t length, uint32_t *flags,
                       nghttp2_data_source *source, void *user)
{
    GrpcClientCall *c = source->ptr;
    CliSession *s = user;
    if (nghttp2_session_get_stream_user_data(h2, stream_id) != c)
        return NGHTTP2_ERR_DEFERRED; /* cancelled; the reset is on its way */
    if (s->sink.full(s->sink.arg))
        return NGHTTP2_ERR_PAUSE;
    size_t left = grpc_frame_bytes(c->frame).len - c->sent, n = left < length ? left : length;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (n == left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

void cli_call_write(GrpcClientCall *c, const uint8_t *head, size_t length)
{
    H2Sink *sink = &c->session->sink;
    Str all = grpc_frame_bytes(c->frame);
    assert(c->magic == CCALL_MAGIC && c->sent + length <= all.len);
    sink->write(sink->arg, (Str){(const char *)head, H2_FRAME_HEAD});
    sink->write_frame(sink->arg, c->frame, str_slice(all, c->sent, c->sent + length));
    c->sent += length;
}

static void fields_add(H2Fields *f, const GrpcClientCall *c)
{
    h2_field_add(f, ":method", STR("POST"));
    h2_field_add(f, ":scheme", c->owner->scheme);
    h2_field_add(f, ":path", str_from(c->path));
    h2_field_add(f, ":authority", c->owner->authority);
    h2_field_add(f, "te", STR("trailers"));
    h2_field_add(f, "content-type", STR("application/grpc"));
    h2_field_add(f, "user-agent", STR("ambient/" AMBIENT_VERSION));
    for (size_t i = 0; i < c->n_metadata; i++)
        h2_field_add(f, c->metadata[2 * i], (Str){c->metadata[2 * i + 1], c->metadata_len[i]});
}

static Usec time_left(const GrpcClientCall *c)
{
    Usec now = clock_now(c->owner->clock);
    return c->deadline > now ? c->deadline - now : 0;
}

void cli_call_send(GrpcClientCall *c, CliSession *s)
{
    H2Fields f = {0};
    char timeout[GRPC_TIMEOUT_TEXT_MAX];
    CLEANUP_BUF Buf token = BUF_INIT(SIZE_MAX / 2);
    call_move(c, CCALL_SENT);
    fields_add(&f, c);
    if (c->deadline != USEC_NEVER) {
        grpc_timeout_format(time_left(c), timeout);
        h2_field_add(&f, "grpc-timeout", str_from(timeout));
    }
    if (c->bearer) {
        buf_adds(&token, STR("Bearer "));
        buf_adds(&token, secret_reveal(c->bearer));
        h2_field_add_secret(&f, "authorization", buf_str(&token));
    }
    nghttp2_data_provider provider = {.source.ptr = c, .read_callback = on_read};
    c->sent = 0;
    c->session = s;
    c->stream_id = nghttp2_submit_request(s->h2, NULL, f.nv, f.len, &provider, c);
    h2_check(c->stream_id);
    if (token.len > 0)
        secret_erase(token.data, token.len);
    list_push_back(&s->calls, &c->link);
    if (c->stream_id < 0) { /* stream ids are used up: the connection takes no more */
        c->stream_id = 0;
        s->going = true;
        cli_call_lost(c, "no more streams");
    }
    s->sink.wake(s->sink.arg);
}

/* ---- receiving ---- */

void cli_call_header(GrpcClientCall *c, Str name, Str value)
{
    uint64_t n;
    value = str_trim(value);
    if (str_eqz(name, ":status")) {
        c->http_status = str_to_u64(value, &n) == 0 ? (int)n : 0;
    } else if (str_eqz(name, "content-type")) {
        c->is_grpc = str_starts(value, STR("application/grpc"));
    } else if (str_eqz(name, "grpc-status") && c->grpc_status < 0) {
        c->grpc_status = str_to_u64(value, &n) == 0 && n <= GRPC_UNAUTHENTICATED ? (int)n : GRPC_UNKNOWN;
    } else if (str_eqz(name, "grpc-message") && !c->message) {
        CLEANUP_BUF Buf b = BUF_INIT(MESSAGE_TEXT_MAX);
        grpc_percent_decode(str_slice(value, 0, MESSAGE_TEXT_MAX), &b);
        c->message = buf_take(&b);
    }
}

/* Response headers, trailers, or both in one. */
void cli_call_headers_done(GrpcClientCall *c)
{
    if (c->state != CCALL_SENT || c->http_status / 100 == 1)
        return;
    call_move(c, CCALL_STREAMING);
    if (c->sent == grpc_frame_bytes(c->frame).len)
        request_drop(c);
    if (c->grpc_status < 0 && c->http_status == 200 && c->is_grpc && c->ops.on_headers)
        c->ops.on_headers(c->arg);
}

static GrpcStatus status_of_http(int http)
{
    switch (http) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

static GrpcStatus status_of_reset(uint32_t code)
{
    switch (code) {
    case NGHTTP2_REFUSED_STREAM:
        return GRPC_UNAVAILABLE;
    case NGHTTP2_CANCEL:
        return GRPC_CANCELLED;
    case NGHTTP2_ENHANCE_YOUR_CALM:
        return GRPC_RESOURCE_EXHAUSTED;
    case NGHTTP2_INADEQUATE_SECURITY:
        return GRPC_PERMISSION_DENIED;
    default:
        return GRPC_INTERNAL;
    }
}

static void end_badly(GrpcClientCall *c, MessageResult why)
{
    if (why == MESSAGE_TOO_LARGE)
        cli_call_end(c, GRPC_RESOURCE_EXHAUSTED, "received message larger than 4 MiB");
    else if (why == MESSAGE_COMPRESSED)
        cli_call_end(c, GRPC_INTERNAL, "received a compressed message that was not asked for");
    else
        cli_call_end(c, GRPC_INTERNAL, "received malformed message framing");
}

static bool is_streaming(const GrpcClientCall *c)
{
    return c->state == CCALL_STREAMING && c->is_grpc && c->http_status == 200;
}

size_t cli_call_data(GrpcClientCall *c, Str bytes)
{
    size_t len = bytes.len;
    while (bytes.len > 0 && is_streaming(c)) { /* a body that is not gRPC is not looked at */
        MessageResult r = message_read(&c->reader, &bytes);
        if (r == MESSAGE_COMPLETE) {
            c->ops.on_message(c->arg, message_body(&c->reader));
            if (c->state != CCALL_DONE)
                message_next(&c->reader);
        } else if (r != MESSAGE_MORE) {
            end_badly(c, r);
        }
    }
    if (!c->paused || c->state == CCALL_DONE)
        return len;
    c->unconsumed += len;
    return 0;
}

static bool may_retry(const GrpcClientCall *c)
{
    return c->state == CCALL_SENT && !c->retried && c->grpc_status < 0;
}

/* The server has provably not seen it. */
static void call_retry(GrpcClientCall *c)
{
    call_move(c, CCALL_WAITING);
    list_remove(&c->link);
    c->retried = true;
    c->headers_out = false;
    c->session = NULL;
    c->stream_id = 0;
    c->owner->on_retry(c->owner, c);
}

static void end_without_status(GrpcClientCall *c, uint32_t error_code)
{
    CLEANUP_BUF Buf b = BUF_INIT(200);
    if (error_code != NGHTTP2_NO_ERROR) {
        buf_addf(&b, "stream reset by the server: %s", nghttp2_http2_strerror(error_code));
        cli_call_end(c, status_of_reset(error_code), buf_str(&b).ptr);
    } else if (c->http_status != 200) {
        buf_addf(&b, "HTTP status %d instead of a gRPC answer", c->http_status);
        cli_call_end(c, status_of_http(c->http_status), buf_str(&b).ptr);
    } else if (!c->is_grpc) {
        cli_call_end(c, GRPC_UNKNOWN, "the answer is not gRPC");
    } else {
        cli_call_end(c, GRPC_INTERNAL, "server closed the stream without sending trailers");
    }
}

void cli_call_stream_closed(GrpcClientCall *c, uint32_t error_code)
{
    if (error_code == NGHTTP2_REFUSED_STREAM && may_retry(c)) {
        call_retry(c);
        return;
    }
    c->stream_id = 0; /* nothing to reset any more */
    if (c->grpc_status < 0)
        end_without_status(c, error_code);
    else if (c->grpc_status == GRPC_OK && message_is_partial(&c->reader))
        cli_call_end(c, GRPC_INTERNAL, "stream ended inside a message");
    else
        cli_call_end(c, (GrpcStatus)c->grpc_status, c->message);
}

void cli_call_lost(GrpcClientCall *c, const char *why)
{
    c->stream_id = 0;
    if (!c->headers_out && may_retry(c))
        call_retry(c);
    else
        cli_call_end(c, GRPC_UNAVAILABLE, why);
}
