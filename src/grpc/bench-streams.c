/*
 * Idle cost and fan-out speed of server-streaming calls, seen from outside: opens streams of
 * grpc.testing.Probe on a test-interop-server, looks at its memory, then publishes and counts what arrives.
 *
 *     bench-streams --target HOST:PORT --pid PID [--conns 40] [--streams 250] [--rounds 100] [--size 64]
 *
 * Prints one line: streams, bytes of server memory per stream, deliveries per second, and deliveries per
 * second of the server's processor time, which is what one core would do.
 */
#include <assert.h>
#include <unistd.h>
#include "base/file.h"
#include "base/flag.h"
#include "base/log.h"
#include "base/mem.h"
#include "grpc/client.h"
#include "pb/pb.h"
#include "test-interop.pb-c.h"

typedef struct Settings {
    char *target;
    int64_t pid, conns, streams, rounds, size;
} Settings;

static const Flag flags[] = {
    {.name = "target", .type = FLAG_STRING, .offset = offsetof(Settings, target)},
    {.name = "pid", .type = FLAG_INT, .offset = offsetof(Settings, pid)},
    {.name = "conns", .type = FLAG_INT, .offset = offsetof(Settings, conns), .dflt = "40"},
    {.name = "streams", .type = FLAG_INT, .offset = offsetof(Settings, streams), .dflt = "250"},
    {.name = "rounds", .type = FLAG_INT, .offset = offsetof(Settings, rounds), .dflt = "100"},
    {.name = "size", .type = FLAG_INT, .offset = offsetof(Settings, size), .dflt = "64"},
    {0},
};

typedef struct Bench {
    Loop *loop;
    Settings set;
    GrpcChannel **channels;
    uint64_t open, messages, answers, failed;
} Bench;

static void on_headers(void *arg)
{
    ((Bench *)arg)->open++;
}

static void on_message(void *arg, Str message)
{
    ((Bench *)arg)->messages++;
}

static void on_end(void *arg, GrpcStatus status, const char *message)
{
    Bench *b = arg;
    if (status == GRPC_CANCELLED)
        return; /* by us, at the end */
    b->failed++;
    log_error("a stream ended", F_INT("status", status), F_STR("message", message));
}

static void on_answer(void *arg, GrpcStatus status, const char *message)
{
    ((Bench *)arg)->answers++;
}

static void on_answer_message(void *arg, Str message)
{
}

static const GrpcCallOps stream_ops = {on_headers, on_message, on_end};
static const GrpcCallOps publish_ops = {NULL, on_answer_message, on_answer};

/* Field `name` of /proc/PID/status, in KiB. */
static uint64_t status_kib(int64_t pid, Str name)
{
    CLEANUP_BUF Buf b = BUF_INIT(64 << 10);
    CLEANUP_FREE char *path = xasprintf("/proc/%lld/status", (long long)pid);
    if (file_read(path, &b, NULL) < 0)
        return 0;
    uint64_t kib = 0;
    Str rest = buf_str(&b);
    while (rest.ptr) {
        Str line = str_cut(&rest, '\n');
        if (!str_starts(line, name))
            continue;
        line = str_trim(str_slice(line, name.len + 1, line.len));
        str_to_u64(str_cut(&line, ' '), &kib);
    }
    return kib;
}

/* Processor time of a process, user and system. */
static Usec cpu_time(int64_t pid)
{
    CLEANUP_BUF Buf b = BUF_INIT(64 << 10);
    CLEANUP_FREE char *path = xasprintf("/proc/%lld/stat", (long long)pid);
    uint64_t ticks[2] = {0};
    if (file_read(path, &b, NULL) < 0)
        return 0;
    Str rest = buf_str(&b);
    for (int i = 1; i <= 15; i++) {
        Str word = str_cut(&rest, ' '); /* the program's name has no space */
        if (i >= 14)
            str_to_u64(word, &ticks[i - 14]);
    }
    return (ticks[0] + ticks[1]) * (USEC_PER_SEC / (Usec)sysconf(_SC_CLK_TCK));
}

static void wait_for(Bench *b, const uint64_t *what, uint64_t n)
{
    while (*what < n && !b->failed)
        loop_run_once(b->loop, true);
}

static void open_streams(Bench *b)
{
    Err err = {0};
    const GrpcCallSpec spec = {.path = "/grpc.testing.Probe/Subscribe", .timeout = USEC_NEVER};
    b->channels = xcalloc((size_t)b->set.conns, sizeof(*b->channels));
    for (int64_t i = 0; i < b->set.conns; i++) {
        if (grpc_channel_new(b->loop, b->set.target, NULL, &b->channels[i], &err) < 0)
            return;
        for (int64_t j = 0; j < b->set.streams; j++)
            grpc_client_call_start(b->channels[i], &spec, STR(""), &stream_ops, b);
        wait_for(b, &b->open, (uint64_t)((i + 1) * b->set.streams));
    }
}

/* One publication to all streams, and all of them have it. */
static void publish(Bench *b)
{
    Grpc__Testing__SimpleRequest req = GRPC__TESTING__SIMPLE_REQUEST__INIT;
    const GrpcCallSpec spec = {.path = "/grpc.testing.Probe/Publish", .timeout = USEC_NEVER};
    uint64_t want = b->messages + b->open, answers = b->answers + 1;
    uint8_t bytes[64];
    req.response_size = (int32_t)b->set.size;
    size_t len = pb_pack(&req.base, bytes);
    grpc_client_call_start(b->channels[0], &spec, (Str){(char *)bytes, len}, &publish_ops, b);
    wait_for(b, &b->messages, want);
    wait_for(b, &b->answers, answers);
}

static int run(Bench *b)
{
    uint64_t before = status_kib(b->set.pid, STR("VmRSS"));
    open_streams(b);
    if (b->failed || b->open == 0)
        return 1;
    uint64_t after = status_kib(b->set.pid, STR("VmRSS"));
    publish(b); /* warm */
    Usec cpu = cpu_time(b->set.pid), start = clock_now(&clock_system);
    for (int64_t i = 0; i < b->set.rounds && !b->failed; i++)
        publish(b);
    double seconds = (double)(clock_now(&clock_system) - start) / 1e6;
    double cpu_seconds = (double)(cpu_time(b->set.pid) - cpu) / 1e6;
    double deliveries = (double)b->open * (double)b->set.rounds;
    printf("streams %llu  bytes/stream %llu  deliveries/s %.0f  deliveries/cpu-s %.0f  after fan-out %llu\n",
           (unsigned long long)b->open, (unsigned long long)((after - before) * 1024 / b->open),
           deliveries / seconds, deliveries / cpu_seconds,
           (unsigned long long)((status_kib(b->set.pid, STR("VmRSS")) - before) * 1024 / b->open));
    return b->failed != 0;
}

int main(int argc, char **argv)
{
    Bench b = {0};
    Err err = {0};
    log_setup("bench-streams", LOG_INFO, false);
    if (flags_parse(flags, &b.set, argc, argv, NULL, &err) < 0 || loop_new(&b.loop, &err) < 0 ||
        !b.set.target) {
        log_error("cannot start", F_ERR(&err));
        return 1;
    }
    int rc = run(&b);
    for (int64_t i = 0; b.channels && i < b.set.conns; i++)
        grpc_channel_free(b.channels[i]);
    free(b.channels);
    loop_free(b.loop);
    flags_free(flags, &b.set);
    return rc;
}
