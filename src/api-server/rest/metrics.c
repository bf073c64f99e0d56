/* Prometheus text of the REST listener; names are the reference's. rest-core.md 1.3. */
#include "rest-internal.h"

static const char *const bucket_names[] = {"0.1", "1", "10", "30", "+Inf"};

static void write_counts(const Route *rt, const RouteStats *st, Buf *out)
{
    CLEANUP_BUF Buf label = BUF_INIT(256);
    route_label(rt, &label);
    for (size_t i = 0; i < ARRAY_LEN(st->by_status) && st->by_status[i].status; i++)
        (void)buf_addf(out,
                       "api_inbound_request_count{method=\"%s\",path=\"" STR_FMT "\",code=\"%d\"} %llu\n",
                       rt->r.method, STR_ARG(buf_str(&label)), st->by_status[i].status,
                       (unsigned long long)st->by_status[i].n);
}

static void write_durations(const Route *rt, const RouteStats *st, Buf *out)
{
    CLEANUP_BUF Buf label = BUF_INIT(512);
    (void)buf_addf(&label, "method=\"%s\",path=\"", rt->r.method);
    route_label(rt, &label);
    (void)buf_addc(&label, '"');
    uint64_t below = 0;
    for (size_t b = 0; b < ARRAY_LEN(bucket_names); b++) {
        below += st->buckets[b];
        (void)buf_addf(out, "api_inbound_request_duration_bucket{" STR_FMT ",le=\"%s\"} %llu\n",
                       STR_ARG(buf_str(&label)), bucket_names[b], (unsigned long long)below);
    }
    (void)buf_addf(out, "api_inbound_request_duration_sum{" STR_FMT "} %.6f\n", STR_ARG(buf_str(&label)),
                   (double)st->sum_us / (double)USEC_PER_SEC);
    (void)buf_addf(out, "api_inbound_request_duration_count{" STR_FMT "} %llu\n", STR_ARG(buf_str(&label)),
                   (unsigned long long)st->n);
}

void rest_metrics(const Rest *r, Buf *out)
{
    (void)buf_addz(out, "# HELP api_inbound_request_count Answered requests.\n"
                        "# TYPE api_inbound_request_count counter\n");
    FOREACH_ROUTE (rt)
        write_counts(rt, &r->stats[route_index(rt)], out);
    (void)buf_addz(out, "# HELP api_inbound_request_duration Time to the answer, in seconds.\n"
                        "# TYPE api_inbound_request_duration histogram\n");
    FOREACH_ROUTE (rt)
        if (r->stats[route_index(rt)].n)
            write_durations(rt, &r->stats[route_index(rt)], out);
    (void)buf_addf(
        out,
        "# HELP api_event_streams Open message streams over REST.\n# TYPE api_event_streams gauge\n"
        "api_event_streams %zu\n"
        "# HELP api_connections Open connections of the REST listener.\n"
        "# TYPE api_connections gauge\napi_connections %zu\n",
        r->n_streams, r->server ? http_server_conns(r->server) : 0);
}
