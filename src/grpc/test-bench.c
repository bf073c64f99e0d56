#include "test-server-internal.h"

#include "base/mem.h"

static void on_gone(void *arg)
{
    Bench *b = arg;
    b->n_gone++;
    b->call = NULL;
}

static void hold(void *arg, GrpcCall *c, Str message)
{
    Bench *b = arg;
    b->call = c;
    b->n_messages++;
    buf_clear(&b->message);
    buf_adds(&b->message, message);
    grpc_call_set_user(c, b, on_gone);
}

static void echo(void *arg, GrpcCall *c, Str message)
{
    hold(arg, c, message);
    grpc_call_reply_frame(c, grpc_frame_new(message));
}

static GrpcFrame *pull(void *user, GrpcCall *c)
{
    Bench *b = user;
    b->n_pulls++;
    if (b->left == 0) {
        if (b->end)
            grpc_call_finish(c, GRPC_OK, NULL);
        return NULL;
    }
    b->left--;
    CLEANUP_FREE char *zeros = xcalloc(1, b->size + 1);
    return grpc_frame_new((Str){zeros, b->size});
}

static void stream(void *arg, GrpcCall *c, Str message)
{
    hold(arg, c, message);
    grpc_call_stream(c, pull);
}

static void half_close(void *arg, GrpcCall *c)
{
    ((Bench *)arg)->n_half_closes++;
}

static const GrpcMethod methods[] = {
    {.path = "/t.S/Hold", .kind = GRPC_UNARY, .on_message = hold},
    {.path = "/t.S/Echo", .kind = GRPC_UNARY, .on_message = echo},
    {.path = "/t.S/Stream", .kind = GRPC_SERVER_STREAM, .on_message = stream},
    {.path = "/t.S/Bidi", .kind = GRPC_BIDI, .on_message = hold, .on_half_close = half_close},
    {0},
};

static void on_call(void *arg, GrpcCall *c)
{
    Bench *b = arg;
    b->n_on_call++;
    b->call = c;
    if (!b->hold_on_call)
        grpc_call_proceed(c);
}

static void on_end(void *arg, GrpcCall *c, GrpcStatus status, Usec duration)
{
    Bench *b = arg;
    b->n_ended++;
    b->ended = status;
    snprintf(b->ended_path, sizeof(b->ended_path), STR_FMT, STR_ARG(grpc_call_path(c)));
}

Bench *bench_new(const GrpcLimits *limits)
{
    static const GrpcServerOps ops = {.on_call = on_call, .on_end = on_end};
    Bench *b = xnew(Bench);
    fake_clock_init(&b->clock, (WallUsec){0});
    fake_clock_advance(&b->clock, 1000 * USEC_PER_SEC);
    peer_init(&b->peer);
    b->message = BUF_INIT(64 << 20);
    b->sink = (TestSink){.peer = &b->peer, .due = USEC_NEVER};
    srv_host_init(&b->host, limits, methods, &ops, b, &b->clock.clock);
    H2Sink sink = test_sink(&b->sink);
    b->session = srv_session_new(&b->host, &sink, "192.0.2.1");
    return b;
}

void bench_free(Bench *b)
{
    srv_session_free(b->session);
    assert_int_equal(b->host.stats.streams, 0);
    assert_int_equal(b->host.request_bytes, 0);
    srv_host_done(&b->host);
    peer_done(&b->peer);
    buf_done(&b->message);
    free(b);
}

void bench_flush(Bench *b)
{
    for (int i = 0; i < 1000 && b->sink.woken; i++) {
        b->sink.woken = false;
        srv_session_flush(b->session);
    }
}

void bench_exchange(Bench *b, size_t step)
{
    Str all = buf_str(&b->peer.out);
    if (step == 0)
        step = all.len;
    for (size_t at = 0; at < all.len; at += step) {
        srv_session_feed(b->session, str_slice(all, at, at + step));
        bench_flush(b);
    }
    buf_clear(&b->peer.out);
    bench_flush(b);
}

void bench_advance(Bench *b, Usec by)
{
    Usec until = b->clock.now_us + by;
    while (b->sink.due <= until) {
        if (b->sink.due > b->clock.now_us)
            fake_clock_advance(&b->clock, b->sink.due - b->clock.now_us);
        b->sink.due = USEC_NEVER;
        srv_session_tick(b->session);
        bench_flush(b);
    }
    fake_clock_advance(&b->clock, until - b->clock.now_us);
}

void bench_handshake(Bench *b)
{
    peer_magic(&b->peer);
    bench_exchange(b, 0);
    peer_expect(&b->peer, NGHTTP2_SETTINGS, 0);
}

void bench_headers(Bench *b, int32_t stream_id, uint8_t flags, const char *path, const char *extra)
{
    CLEANUP_FREE char *p = xasprintf(":path: %s", path);
    const char *const fields[] = {
        ":method: POST", ":scheme: http", p,   ":authority: t", "content-type: application/grpc",
        "te: trailers",  extra,           NULL};
    peer_headers(&b->peer, stream_id, flags, fields);
}

void bench_request(Bench *b, int32_t stream_id, const char *path, Str message)
{
    CLEANUP_BUF Buf framed = BUF_INIT(64 << 20);
    bench_headers(b, stream_id, 0, path, NULL);
    peer_data(&b->peer, stream_id, NGHTTP2_FLAG_END_STREAM, grpc_framed(&framed, message));
}

PeerFrame *bench_expect_end(Bench *b, int32_t stream_id, GrpcStatus status)
{
    char line[32];
    PeerFrame *f;
    do {
        f = peer_expect(&b->peer, NGHTTP2_HEADERS, stream_id);
    } while (!(f->flags & NGHTTP2_FLAG_END_STREAM));
    snprintf(line, sizeof(line), "grpc-status: %d", (int)status);
    peer_assert_field(f, line);
    return f;
}

void bench_expect_reset(Bench *b, int32_t stream_id, uint32_t code)
{
    PeerFrame *f = peer_expect(&b->peer, NGHTTP2_RST_STREAM, stream_id);
    assert_int_equal(peer_u32(f->payload, 0), code);
}
