#include "rpc-internal.h"

/* Prometheus' default buckets, as the reference's. */
static const struct {
    double seconds;
    const char *name;
} buckets[BUCKETS] = {
    {0.005, "0.005"}, {0.01, "0.01"}, {0.025, "0.025"}, {0.05, "0.05"}, {0.1, "0.1"}, {0.25, "0.25"},
    {0.5, "0.5"},     {1, "1"},       {2.5, "2.5"},     {5, "5"},       {10, "10"},
};

/* NULL for methods that are not in our table: unknown ones, health, reflection. */
static MethodStats *stats_of(Rpc *r, const GrpcMethod *m)
{
    for (size_t i = 0; m && i < rpc_n_methods; i++)
        if (rpc_methods[i].data == m->data)
            return &r->stats[i];
    return NULL;
}

void metrics_count(Rpc *r, const GrpcCall *g, GrpcStatus status, Usec duration)
{
    MethodStats *st = stats_of(r, grpc_call_method(g));
    if (!st || status < 0 || status >= STATUS_MAX)
        return;
    double seconds = (double)duration / (double)USEC_PER_SEC;
    st->by_status[status]++;
    st->n++;
    st->seconds += seconds;
    for (size_t i = 0; i < BUCKETS; i++) {
        if (seconds > buckets[i].seconds)
            continue;
        st->buckets[i]++;
        break;
    }
}

static void write_counts(const char *path, const MethodStats *st, Buf *out)
{
    for (int s = 0; s < STATUS_MAX; s++)
        if (st->by_status[s])
            (void)buf_addf(out, "grpc_requests_total{method=\"%s\",code=\"%s\"} %llu\n", path,
                           s ? err_grpc_name(s) : "OK", (unsigned long long)st->by_status[s]);
}

static void write_durations(const char *path, const MethodStats *st, Buf *out)
{
    uint64_t below = 0;
    for (size_t i = 0; i < BUCKETS; i++) {
        below += st->buckets[i];
        (void)buf_addf(out, "grpc_request_duration_seconds_bucket{method=\"%s\",le=\"%s\"} %llu\n", path,
                       buckets[i].name, (unsigned long long)below);
    }
    (void)buf_addf(out,
                   "grpc_request_duration_seconds_bucket{method=\"%s\",le=\"+Inf\"} %llu\n"
                   "grpc_request_duration_seconds_sum{method=\"%s\"} %.6f\n"
                   "grpc_request_duration_seconds_count{method=\"%s\"} %llu\n",
                   path, (unsigned long long)st->n, path, st->seconds, path, (unsigned long long)st->n);
}

void rpc_metrics(const Rpc *r, Buf *out)
{
    RpcStats now = rpc_stats(r);
    (void)buf_addz(out, "# HELP grpc_requests_total Ended calls.\n# TYPE grpc_requests_total counter\n");
    for (size_t i = 0; i < rpc_n_methods; i++)
        write_counts(rpc_methods[i].path, &r->stats[i], out);
    (void)buf_addz(out, "# HELP grpc_request_duration_seconds Time from a call's start to its end.\n"
                        "# TYPE grpc_request_duration_seconds histogram\n");
    for (size_t i = 0; i < rpc_n_methods; i++)
        if (r->stats[i].n)
            write_durations(rpc_methods[i].path, &r->stats[i], out);
    (void)buf_addf(
        out,
        "# HELP grpc_stream_subscribers_active Open watch streams.\n"
        "# TYPE grpc_stream_subscribers_active gauge\ngrpc_stream_subscribers_active %zu\n"
        "# HELP grpc_stream_events_sent_total Events sent to watches of kinds.\n"
        "# TYPE grpc_stream_events_sent_total counter\ngrpc_stream_events_sent_total %llu\n"
        "# HELP grpc_stream_events_dropped_total Always 0: a watch is a cursor and drops nothing.\n"
        "# TYPE grpc_stream_events_dropped_total counter\ngrpc_stream_events_dropped_total 0\n"
        "# HELP grpc_connections Open connections of the gRPC listener.\n"
        "# TYPE grpc_connections gauge\ngrpc_connections %zu\n",
        now.watches, (unsigned long long)r->events_sent, now.conns);
}
