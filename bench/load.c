/*
 * Load for the benchmarks: callers that push, streams that watch. One loop, many connections; it counts, and
 * prints one JSON object. It uses our own gRPC client, so that its cost is in every figure it prints.
 *
 *   load push   --callers 50 --conns 8 --seconds 5      durable pushes, one after the other per caller
 *   load fanout --watchers 10000 --messages 200         one writer, all follow; until everybody has
 * everything load idle   --watchers 10000 --server-pid N         memory of streams that wait
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/flag.h"
#include "base/log.h"
#include "base/mem.h"
#include "grpc/client.h"
#include "pb/ambient.h"
#include "pb/pb.h"

#define PUSH "/ambient.v1.SessionService/PushSessionMessage"
#define WATCH "/ambient.v1.SessionService/WatchSessionMessages"

typedef struct Options {
    char *addr, *session;
    Secret *token;
    int64_t callers, conns, watchers, messages, payload, server_pid, window, after;
    Usec seconds;
} Options;

#define F(m) offsetof(Options, m)
static const Flag flags[] = {
    {"addr", NULL, FLAG_STRING, F(addr), "127.0.0.1:9000", "gRPC address", "ADDR"},
    {"session", NULL, FLAG_STRING, F(session), NULL, "session id", "ID"},
    {"token-file", "BENCH_TOKEN", FLAG_SECRET, F(token), NULL, "bearer token", "FILE"},
    {"callers", NULL, FLAG_INT, F(callers), "50", "concurrent callers", "N"},
    {"conns", NULL, FLAG_INT, F(conns), "8", "connections", "N"},
    {"watchers", NULL, FLAG_INT, F(watchers), "1000", "watch streams", "N"},
    {"messages", NULL, FLAG_INT, F(messages), "200", "messages of the writer", "N"},
    {"after", NULL, FLAG_INT, F(after), "0", "watch from behind this seq", "SEQ"},
    {"window", NULL, FLAG_INT, F(window), "16", "pushes in flight of the writer", "N"},
    {"payload", NULL, FLAG_INT, F(payload), "100", "bytes of a message", "N"},
    {"server-pid", NULL, FLAG_INT, F(server_pid), "0", "whose memory and CPU time are told", "PID"},
    {"seconds", NULL, FLAG_DURATION, F(seconds), "5s", "how long", "DURATION"},
    {0},
};

typedef struct Load {
    Options o;
    Loop *loop;
    GrpcChannel **ch;
    char *payload;
    uint64_t done, failed, delivered, opened;
    int64_t pushed, in_flight;
    Usec started, ended, end_at;
    Usec *latency; /* of the first LATENCY_MAX pushes */
    size_t n_latency;
    bool watching;
} Load;

#define LATENCY_MAX 1000000

typedef struct Caller {
    Load *l;
    size_t no;
    Usec sent;
} Caller;

static Str pack(const ProtobufCMessage *m, uint8_t *out)
{
    return (Str){(char *)out, pb_pack(m, out)};
}

/* ---- a server seen from /proc ---- */

static uint64_t proc_rss(int64_t pid)
{
    char path[64], line[256];
    snprintf(path, sizeof(path), "/proc/%lld/smaps_rollup", (long long)pid);
    uint64_t kb = 0;
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof(line), f)) {
        if (str_starts(str_from(line), STR("Rss:")))
            kb = strtoull(line + 4, NULL, 10);
    }
    if (f)
        fclose(f);
    return kb * 1024;
}

static double proc_cpu(int64_t pid)
{
    char path[64], line[1024];
    snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return 0;
    char *got = fgets(line, sizeof(line), f);
    fclose(f);
    char *at = got ? strrchr(line, ')') : NULL;
    for (int field = 2; at && field < 14; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        return 0;
    char *next = NULL;
    unsigned long long user = strtoull(at, &next, 10), sys = strtoull(next, NULL, 10);
    return (double)(user + sys) / (double)sysconf(_SC_CLK_TCK);
}

/* ---- push ---- */

static void push_next(Caller *c);

static void on_pushed(void *arg, GrpcStatus status, const char *message)
{
    Caller *c = arg;
    Load *l = c->l;
    Usec now = clock_now(&clock_system);
    l->in_flight--;
    if (status == GRPC_OK)
        l->done++;
    else if (l->failed++ == 0)
        fprintf(stderr, "push failed: %s\n", message);
    if (l->n_latency < LATENCY_MAX)
        l->latency[l->n_latency++] = now - c->sent;
    bool more = l->watching ? l->pushed < l->o.messages : now < l->end_at;
    if (more) {
        push_next(c);
    } else if (l->in_flight == 0 && !l->watching) {
        l->ended = now;
        loop_stop(l->loop);
    }
}

static void on_ignored(void *arg, Str message)
{
}

static void push_next(Caller *c)
{
    static const GrpcCallOps ops = {.on_message = on_ignored, .on_end = on_pushed};
    Load *l = c->l;
    Ambient__V1__PushSessionMessageRequest m = AMBIENT__V1__PUSH_SESSION_MESSAGE_REQUEST__INIT;
    char type[] = "assistant";
    m.session_id = l->o.session;
    m.event_type = type;
    m.payload = l->payload;
    CLEANUP_FREE uint8_t *bytes = xmalloc(pb_size(&m.base));
    GrpcCallSpec spec = {.path = PUSH, .bearer = l->o.token, .timeout = 60 * USEC_PER_SEC};
    c->sent = clock_now(&clock_system);
    l->pushed++;
    l->in_flight++;
    grpc_client_call_start(l->ch[c->no % (size_t)l->o.conns], &spec, pack(&m.base, bytes), &ops, c);
}

/* ---- watch ---- */

static void start_writer(Load *l);

static void on_open(void *arg)
{
    Load *l = arg;
    if (++l->opened == (uint64_t)l->o.watchers) {
        if (l->o.messages)
            start_writer(l);
        else
            loop_stop(l->loop);
    }
}

static void on_delivered(void *arg, Str message)
{
    Load *l = arg;
    if (++l->delivered == (uint64_t)l->o.watchers * (uint64_t)l->o.messages) {
        l->ended = clock_now(&clock_system);
        loop_stop(l->loop);
    }
}

static void on_watch_end(void *arg, GrpcStatus status, const char *message)
{
    Load *l = arg;
    if (l->failed++ == 0)
        fprintf(stderr, "watch ended: %d %s\n", status, message);
    loop_stop(l->loop);
}

static void start_writer(Load *l)
{
    l->started = clock_now(&clock_system);
    for (int64_t i = 0; i < l->o.window && i < l->o.messages; i++) {
        Caller *c = xnew(Caller);
        *c = (Caller){.l = l};
        push_next(c);
    }
}

static void open_watchers(Load *l)
{
    static const GrpcCallOps ops = {
        .on_headers = on_open, .on_message = on_delivered, .on_end = on_watch_end};
    Ambient__V1__WatchSessionMessagesRequest m = AMBIENT__V1__WATCH_SESSION_MESSAGES_REQUEST__INIT;
    m.session_id = l->o.session;
    m.after_seq = l->o.after;
    CLEANUP_FREE uint8_t *bytes = xmalloc(pb_size(&m.base));
    GrpcCallSpec spec = {.path = WATCH, .bearer = l->o.token, .timeout = USEC_NEVER};
    Str text = pack(&m.base, bytes);
    for (int64_t i = 0; i < l->o.watchers; i++)
        grpc_client_call_start(l->ch[i % l->o.conns], &spec, text, &ops, l);
}

/* ---- results ---- */

static int by_value(const void *a, const void *b)
{
    Usec x = *(const Usec *)a, y = *(const Usec *)b;
    return x < y ? -1 : x > y;
}

static Usec percentile(Load *l, double p)
{
    return l->n_latency ? l->latency[(size_t)((double)(l->n_latency - 1) * p)] : 0;
}

static void run_push(Load *l)
{
    l->started = clock_now(&clock_system);
    l->end_at = l->started + l->o.seconds;
    Caller *callers = xcalloc((size_t)l->o.callers, sizeof(*callers));
    for (size_t i = 0; i < (size_t)l->o.callers; i++) {
        callers[i] = (Caller){.l = l, .no = i};
        push_next(&callers[i]);
    }
    loop_run(l->loop);
    qsort(l->latency, l->n_latency, sizeof(*l->latency), by_value);
    double s = (double)(l->ended - l->started) / 1e6;
    printf("{\"pushes\":%llu,\"failed\":%llu,\"seconds\":%.3f,\"per_second\":%.0f,\"p50_us\":%llu,\"p99_us\":"
           "%llu}\n",
           (unsigned long long)l->done, (unsigned long long)l->failed, s, (double)l->done / s,
           (unsigned long long)percentile(l, 0.5), (unsigned long long)percentile(l, 0.99));
    free(callers);
}

static void run_watch(Load *l)
{
    uint64_t rss = proc_rss(l->o.server_pid);
    l->watching = true;
    open_watchers(l);
    if (l->o.messages == 0) {
        loop_run(l->loop);
        uint64_t after = proc_rss(l->o.server_pid);
        printf("{\"streams\":%llu,\"failed\":%llu,\"server_rss_before\":%llu,\"server_rss_after\":%llu,"
               "\"bytes_per_stream\":%.0f}\n",
               (unsigned long long)l->opened, (unsigned long long)l->failed, (unsigned long long)rss,
               (unsigned long long)after, (double)(after - rss) / (double)l->o.watchers);
        return;
    }
    double cpu = proc_cpu(l->o.server_pid);
    loop_run(l->loop);
    double s = (double)(l->ended - l->started) / 1e6, used = proc_cpu(l->o.server_pid) - cpu;
    printf("{\"watchers\":%lld,\"messages\":%lld,\"deliveries\":%llu,\"failed\":%llu,\"seconds\":%.3f,"
           "\"per_second\":%.0f,\"server_cpu_seconds\":%.2f,\"per_server_cpu_second\":%.0f}\n",
           (long long)l->o.watchers, (long long)l->o.messages, (unsigned long long)l->delivered,
           (unsigned long long)l->failed, s, (double)l->delivered / s, used,
           used > 0 ? (double)l->delivered / used : 0);
}

static int setup(Load *l, Err *err)
{
    int rc = loop_new(&l->loop, err);
    if (rc < 0)
        return rc;
    l->payload = xmalloc((size_t)l->o.payload + 1);
    memset(l->payload, 'x', (size_t)l->o.payload);
    l->payload[l->o.payload] = '\0';
    l->latency = xcalloc(LATENCY_MAX, sizeof(*l->latency));
    l->ch = xcalloc((size_t)l->o.conns, sizeof(GrpcChannel *));
    for (int64_t i = 0; i < l->o.conns && rc == 0; i++)
        rc = grpc_channel_new(l->loop, l->o.addr, NULL, &l->ch[i], err);
    return rc;
}

int main(int argc, char **argv)
{
    log_setup("load", LOG_WARN, false);
    Load l = {0};
    Err err = {0};
    if (argc < 2 || flags_parse(flags, &l.o, argc - 1, argv + 1, NULL, &err) < 0 || !l.o.session ||
        l.o.conns < 1 || setup(&l, &err) < 0) {
        fprintf(stderr, "load push|fanout|idle: %s\n", err.msg);
        flags_help(flags, stderr);
        return 2;
    }
    if (strcmp(argv[1], "push") == 0) {
        run_push(&l);
    } else {
        if (strcmp(argv[1], "idle") == 0)
            l.o.messages = 0;
        run_watch(&l);
    }
    return l.failed ? 1 : 0; /* the process ends with its connections open: that is what clients do */
}
