/*
 * Bytes of a server against a client session with three calls. First byte: how many bytes are fed at a time;
 * second: bit 0 leaves out the server's SETTINGS, bit 1 lets time pass, bit 2 has the callbacks cancel, bit 3
 * pause.
 */
#include "base/mem.h"
#include "client-internal.h"

typedef struct App {
    FakeClock clock;
    CliOwner owner;
    CliSession *session;
    GrpcClientCall *calls[3], *retry;
    size_t written;
    bool woken, cancels, pauses;
} App;

static App *app_of(CliOwner *o)
{
    return CONTAINER_OF(o, App, owner);
}

static void on_ready(CliOwner *o, CliSession *s)
{
}

static void cancel_retry(App *a)
{
    if (!a->retry)
        return;
    *(GrpcClientCall **)a->retry->arg = NULL; /* on_end will not come */
    grpc_client_call_cancel(TAKE(a->retry));
}

static void on_retry(CliOwner *o, GrpcClientCall *c)
{
    cancel_retry(app_of(o));
    app_of(o)->retry = c;
}

static void on_deadline(CliOwner *o, Usec at)
{
}

static void on_message(void *arg, Str message)
{
    GrpcClientCall **c = arg;
    App *a = app_of((*c)->owner);
    if (a->cancels)
        grpc_client_call_cancel(TAKE(*c));
    else if (a->pauses)
        grpc_client_call_pause(*c, message.len % 2);
}

static void on_end(void *arg, GrpcStatus status, const char *message)
{
    *(GrpcClientCall **)arg = NULL;
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
    return ((App *)arg)->written > 1 << 20;
}

static void sink_wake(void *arg)
{
    ((App *)arg)->woken = true;
}

static void sink_due(void *arg, Usec at)
{
}

static void flush(App *a)
{
    for (int i = 0; i < 4 && a->woken; i++) {
        a->woken = false;
        cli_session_flush(a->session);
    }
}

static void start_calls(App *a)
{
    static const GrpcCallOps ops = {.on_message = on_message, .on_end = on_end};
    const GrpcCallSpec spec = {.path = "/s/m", .timeout = 100 * USEC_PER_SEC};
    for (size_t i = 0; i < ARRAY_LEN(a->calls); i++) {
        a->calls[i] = cli_call_new(&a->owner, &spec, STR("q"), &ops, &a->calls[i]);
        cli_call_send(a->calls[i], a->session);
    }
    flush(a);
}

static void step(App *a, Str bytes, bool time_passes)
{
    cli_session_feed(a->session, bytes);
    flush(a);
    if (a->retry)
        cli_call_send(TAKE(a->retry), a->session);
    if (!time_passes)
        return;
    fake_clock_advance(&a->clock, 2 * USEC_PER_SEC);
    cli_owner_tick(&a->owner);
    cli_session_tick(a->session);
    flush(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const Str preface = STR("\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0");
    Loop *loop = NULL;
    if (size < 2 || loop_new(&loop, NULL) < 0)
        return 0;
    loop_run_once(loop, false);
    App a = {.cancels = data[1] & 4, .pauses = data[1] & 8};
    const H2Sink sink = {&a, sink_write, sink_write_frame, sink_full, sink_wake, sink_due};
    fake_clock_init(&a.clock, (WallUsec){0});
    cli_owner_init(&a.owner, loop);
    a.owner.clock = &a.clock.clock;
    a.owner.authority = STR("a");
    a.owner.scheme = STR("http");
    a.owner.on_ready = on_ready;
    a.owner.on_retry = on_retry;
    a.owner.on_deadline = on_deadline;
    a.session = cli_session_new(&a.owner, &sink, 30 * USEC_PER_SEC);
    start_calls(&a);
    if (!(data[1] & 1))
        step(&a, preface, false);
    Str rest = {(const char *)data + 2, size - 2};
    size_t piece = data[0] ? data[0] : 4096;
    for (; rest.len > 0; rest = str_slice(rest, piece, rest.len))
        step(&a, str_slice(rest, 0, piece), data[1] & 2);
    cli_session_free(a.session, "over");
    cancel_retry(&a);
    for (size_t i = 0; i < ARRAY_LEN(a.calls); i++)
        if (a.calls[i])
            abort(); /* on_end was not called */
    cli_owner_done(&a.owner);
    loop_free(loop);
    return 0;
}
