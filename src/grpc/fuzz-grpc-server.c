/*
 * Bytes of a client against a server session. First byte: how many bytes are fed at a time; second: bit 0
 * leaves out the preface, bit 1 lets time pass between pieces, bit 2 blocks the output, bit 3 lets calls wait
 * for admission.
 */
#include "base/mem.h"
#include "server-internal.h"

typedef struct App {
    FakeClock clock;
    SrvHost host;
    SrvSession *session;
    GrpcCall *held; /* the last call that nobody has answered yet */
    size_t written;
    unsigned left;
    bool woken, blocked, admit_later;
} App;

static void held_gone(void *arg)
{
    ((App *)arg)->held = NULL;
}

static void let_go(App *a)
{
    if (a->held)
        grpc_call_set_user(a->held, NULL, NULL);
    a->held = NULL;
}

static void hold(void *arg, GrpcCall *c, Str message)
{
    App *a = arg;
    let_go(a);
    a->held = c;
    grpc_call_set_user(c, a, held_gone);
}

static void echo(void *arg, GrpcCall *c, Str message)
{
    if (((App *)arg)->held == c)
        let_go(arg);
    if (message.len % 7 == 3)
        grpc_call_finish(c, GRPC_ABORTED, "odd \xff");
    else
        grpc_call_reply_frame(c, grpc_frame_new(message));
}

static GrpcFrame *pull(void *user, GrpcCall *c)
{
    App *a = user;
    if (a->left > 0) {
        a->left--;
        return grpc_frame_new(STR("tick"));
    }
    if (c->stream_id % 3 == 0)
        grpc_call_finish(c, GRPC_OK, NULL);
    return NULL;
}

static void stream(void *arg, GrpcCall *c, Str message)
{
    App *a = arg;
    if (a->held == c)
        let_go(a);
    a->left += (unsigned)message.len;
    grpc_call_set_user(c, a, NULL);
    grpc_call_stream(c, pull);
}

static void bidi(void *arg, GrpcCall *c, Str message)
{
    static const ProtobufCMessageDescriptor empty = {.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
                                                     .sizeof_message = sizeof(ProtobufCMessage)};
    const ProtobufCMessage m = {.descriptor = &empty};
    if (((App *)arg)->held == c)
        let_go(arg);
    grpc_call_send(c, &m);
}

static void half_close(void *arg, GrpcCall *c)
{
    grpc_call_finish(c, GRPC_OK, "fine");
}

static const GrpcMethod methods[] = {
    {.path = "/s/e", .kind = GRPC_UNARY, .on_message = echo},
    {.path = "/s/h", .kind = GRPC_UNARY, .on_message = hold},
    {.path = "/s/s", .kind = GRPC_SERVER_STREAM, .on_message = stream},
    {.path = "/s/b", .kind = GRPC_BIDI, .on_message = bidi, .on_half_close = half_close},
    {0},
};

static void on_call(void *arg, GrpcCall *c)
{
    App *a = arg;
    if (!a->admit_later) {
        grpc_call_proceed(c);
        return;
    }
    let_go(a);
    a->held = c;
    grpc_call_set_user(c, a, held_gone);
}

static void sink_write(void *arg, Str bytes)
{
    ((App *)arg)->written += bytes.len;
}

static void sink_write_frame(void *arg, GrpcFrame *f, Str part)
{
    sink_write(arg, part);
}

static bool sink_full(void *arg)
{
    const App *a = arg;
    return a->blocked || a->written > 1 << 20;
}

static void sink_wake(void *arg)
{
    ((App *)arg)->woken = true;
}

static void sink_due(void *arg, Usec at)
{
}

static void step(App *a, Str bytes, bool time_passes)
{
    srv_session_feed(a->session, bytes);
    for (int i = 0; i < 4 && a->woken; i++) {
        a->woken = false;
        srv_session_flush(a->session);
    }
    GrpcCall *c = a->held;
    if (c && c->state == CALL_ADMITTING) {
        let_go(a); /* once admitted it is its method's */
        grpc_call_proceed(c);
    } else if (a->held && bytes.len % 2) {
        grpc_call_finish(a->held, GRPC_NOT_FOUND, "late");
    }
    if (time_passes) {
        fake_clock_advance(&a->clock, USEC_PER_SEC);
        srv_session_tick(a->session);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const GrpcServerOps ops = {.on_call = on_call};
    const Str preface = STR(NGHTTP2_CLIENT_MAGIC "\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0");
    if (size < 2)
        return 0;
    App a = {.blocked = data[1] & 4, .admit_later = data[1] & 8};
    const H2Sink sink = {&a, sink_write, sink_write_frame, sink_full, sink_wake, sink_due};
    GrpcLimits limits = grpc_limits_default;
    limits.message_max = 64 << 10;
    limits.streams_per_conn = 20;
    fake_clock_init(&a.clock, (WallUsec){0});
    srv_host_init(&a.host, &limits, methods, &ops, &a, &a.clock.clock);
    srv_health_enable(&a.host);
    a.session = srv_session_new(&a.host, &sink, "::1");
    if (!(data[1] & 1))
        step(&a, preface, false);
    Str rest = {(const char *)data + 2, size - 2};
    size_t piece = data[0] ? data[0] : 4096;
    for (; rest.len > 0; rest = str_slice(rest, piece, rest.len))
        step(&a, str_slice(rest, 0, piece), data[1] & 2);
    srv_session_drain(a.session);
    step(&a, STR(""), true);
    let_go(&a);
    srv_session_free(a.session);
    srv_host_done(&a.host);
    return 0;
}
