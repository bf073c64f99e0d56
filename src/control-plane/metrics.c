#include "metrics.h"

#include <assert.h>
#include <stdio.h>

static double seconds(Usec t)
{
    return (double)t / (double)USEC_PER_SEC;
}

static void head(Buf *b, const char *name, const char *type, const char *help)
{
    buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* Each metric once, with a line for every queue. */
typedef struct Queues {
    const char *kinds[METRICS_QUEUES];
    WqStats of[METRICS_QUEUES];
    size_t n;
} Queues;

static void write_depths(Buf *b, const Queues *q)
{
    head(b, "ambient_cp_queue_depth", "gauge", "Keys that wait for a worker.");
    for (size_t i = 0; i < q->n; i++)
        buf_addf(b, "ambient_cp_queue_depth{kind=\"%s\"} %zu\n", q->kinds[i], q->of[i].waiting);
    head(b, "ambient_cp_queue_delayed", "gauge", "Keys that come back later.");
    for (size_t i = 0; i < q->n; i++)
        buf_addf(b, "ambient_cp_queue_delayed{kind=\"%s\"} %zu\n", q->kinds[i], q->of[i].delayed);
    head(b, "ambient_cp_queue_running", "gauge", "Keys that are being worked on.");
    for (size_t i = 0; i < q->n; i++)
        buf_addf(b, "ambient_cp_queue_running{kind=\"%s\"} %zu\n", q->kinds[i], q->of[i].running);
    head(b, "ambient_cp_queue_oldest_seconds", "gauge", "How long the first waiting key has waited.");
    for (size_t i = 0; i < q->n; i++)
        buf_addf(b, "ambient_cp_queue_oldest_seconds{kind=\"%s\"} %.6f\n", q->kinds[i],
                 seconds(q->of[i].oldest));
}

static void write_results_of(Buf *b, const char *kind, const WqStats *st)
{
    static const char *const names[] = {
        [WQ_OK] = "ok", [WQ_AFTER] = "after", [WQ_WAIT] = "wait", [WQ_RETRY] = "retry"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        buf_addf(b, "ambient_cp_reconcile_total{kind=\"%s\",result=\"%s\"} %llu\n", kind, names[i],
                 (unsigned long long)st->results[i]);
}

static void write_retries_of(Buf *b, const char *kind, const WqStats *st)
{
    for (size_t i = 0; i < st->n_reasons; i++)
        buf_addf(b, "ambient_cp_retries_total{kind=\"%s\",reason=\"%s\"} %llu\n", kind, st->reasons[i].reason,
                 (unsigned long long)st->reasons[i].count);
}

static void write_durations_of(Buf *b, const char *kind, const WqStats *st)
{
    uint64_t sum = 0;
    for (size_t i = 0; i <= WQ_BUCKETS; i++) {
        char bound[32] = "+Inf";
        sum += st->buckets[i];
        if (i < WQ_BUCKETS)
            snprintf(bound, sizeof(bound), "%g", seconds(wq_bucket_bounds[i]));
        buf_addf(b, "ambient_cp_reconcile_seconds_bucket{kind=\"%s\",le=\"%s\"} %llu\n", kind, bound,
                 (unsigned long long)sum);
    }
    buf_addf(b, "ambient_cp_reconcile_seconds_sum{kind=\"%s\"} %.6f\n", kind, seconds(st->busy));
    buf_addf(b, "ambient_cp_reconcile_seconds_count{kind=\"%s\"} %llu\n", kind, (unsigned long long)sum);
}

static void write_queues(Buf *b, const MetricsSources *m)
{
    static const struct {
        const char *name, *type, *help;
        void (*write)(Buf *b, const char *kind, const WqStats *st);
    } parts[] = {
        {"ambient_cp_reconcile_total", "counter", "Ended reconciles by result.", write_results_of},
        {"ambient_cp_retries_total", "counter", "Failed reconciles by reason.", write_retries_of},
        {"ambient_cp_reconcile_seconds", "histogram", "Duration of reconciles.", write_durations_of},
    };
    Queues q = {.n = m->n_queues};
    for (size_t i = 0; i < q.n; i++) {
        q.kinds[i] = wq_name(m->queues[i]);
        wq_stats(m->queues[i], &q.of[i]);
    }
    write_depths(b, &q);
    for (size_t p = 0; p < ARRAY_LEN(parts); p++) {
        head(b, parts[p].name, parts[p].type, parts[p].help);
        for (size_t i = 0; i < q.n; i++)
            parts[p].write(b, q.kinds[i], &q.of[i]);
    }
}

static void write_count_of(Buf *b, const char *name, const char *help, const MetricsSources *m, size_t offset)
{
    head(b, name, "counter", help);
    for (size_t i = 0; i < m->n_watches; i++)
        buf_addf(
            b, "%s{kind=\"%s\"} %llu\n", name, m->watches[i].kind,
            (unsigned long long)*(const uint64_t *)(const void *)((const char *)&m->watches[i] + offset));
}

static void write_watches(Buf *b, const MetricsSources *m)
{
    head(b, "ambient_cp_watch_connected", "gauge", "Whether the stream of events is open.");
    for (size_t i = 0; i < m->n_watches; i++)
        buf_addf(b, "ambient_cp_watch_connected{kind=\"%s\"} %d\n", m->watches[i].kind,
                 m->watches[i].connected);
    head(b, "ambient_cp_watch_age_seconds", "gauge", "Since the last event or list.");
    for (size_t i = 0; i < m->n_watches; i++)
        if (m->watches[i].age != USEC_NEVER)
            buf_addf(b, "ambient_cp_watch_age_seconds{kind=\"%s\"} %.3f\n", m->watches[i].kind,
                     seconds(m->watches[i].age));
    write_count_of(b, "ambient_cp_watch_reconnects_total", "Streams that were opened again.", m,
                   offsetof(MetricsWatch, reconnects));
    write_count_of(b, "ambient_cp_watch_events_total", "Events of the stream.", m,
                   offsetof(MetricsWatch, events));
    head(b, "ambient_cp_relist_total", "counter", "Lists by result.");
    for (size_t i = 0; i < m->n_watches; i++) {
        const MetricsWatch *w = &m->watches[i];
        buf_addf(b, "ambient_cp_relist_total{kind=\"%s\",result=\"complete\"} %llu\n", w->kind,
                 (unsigned long long)w->lists);
        buf_addf(b, "ambient_cp_relist_total{kind=\"%s\",result=\"failed\"} %llu\n", w->kind,
                 (unsigned long long)w->failed_lists);
    }
}

typedef struct PhaseCount {
    const Cache *cache;
    size_t n[_PHASE_MAX];
} PhaseCount;

static void count_phase(void *arg, const char *id)
{
    PhaseCount *c = arg;
    Phase p = obj_phase(cache_get(c->cache, str_from(id)));
    if (p >= 0 && p < _PHASE_MAX)
        c->n[p]++;
}

static void write_phases(Buf *b, const Cache *sessions)
{
    PhaseCount c = {.cache = sessions};
    cache_each(sessions, count_phase, &c);
    head(b, "ambient_cp_sessions", "gauge", "Known sessions by phase.");
    for (int p = 0; p < _PHASE_MAX; p++)
        buf_addf(b, "ambient_cp_sessions{phase=\"%s\"} %zu\n", phase_name((Phase)p), c.n[p]);
}

static void write_runtime(Buf *b, const ProcessRuntime *r)
{
    ProcessStats st;
    process_runtime_stats(r, &st);
    head(b, "ambient_cp_runners", "gauge", "Runners that live here.");
    buf_addf(b, "ambient_cp_runners %zu\n", st.alive);
    head(b, "ambient_cp_runners_adopted", "gauge", "Runners that were taken over at start.");
    buf_addf(b, "ambient_cp_runners_adopted %zu\n", st.adopted);
    head(b, "ambient_cp_workspaces", "gauge", "Sessions of which anything exists here.");
    buf_addf(b, "ambient_cp_workspaces %zu\n", st.known);
}

static void write_tokens(Buf *b, const SessionTokens *t)
{
    SessionTokensStats st;
    session_tokens_stats(t, &st);
    head(b, "ambient_cp_session_tokens", "gauge", "Sessions whose token is renewed.");
    buf_addf(b, "ambient_cp_session_tokens %zu\n", st.kept);
    head(b, "ambient_cp_token_refresh_total", "counter", "Tokens of sessions that were asked for.");
    buf_addf(b, "ambient_cp_token_refresh_total{result=\"ok\"} %llu\n", (unsigned long long)st.minted);
    buf_addf(b, "ambient_cp_token_refresh_total{result=\"failed\"} %llu\n", (unsigned long long)st.failed);
}

static void write_token_server(Buf *b, const TokenServer *s)
{
    const TokenServerStats *st = token_server_stats(s);
    const struct {
        const char *code;
        uint64_t n;
    } rows[] = {{"200", st->issued}, {"401", st->unauthorized}, {"403", st->forbidden},
                {"405", st->other},  {"429", st->limited},      {"503", st->unavailable}};
    head(b, "ambient_cp_token_requests_total", "counter", "Requests to the token endpoint.");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        buf_addf(b, "ambient_cp_token_requests_total{code=\"%s\"} %llu\n", rows[i].code,
                 (unsigned long long)rows[i].n);
}

void metrics_add_queue(MetricsSources *m, const WorkQueue *q)
{
    if (!q)
        return;
    assert(m->n_queues < METRICS_QUEUES);
    m->queues[m->n_queues++] = q;
}

void metrics_add_informer(MetricsSources *m, const char *kind, const Informer *i)
{
    InformerStats st;
    informer_stats(i, &st);
    assert(m->n_watches < METRICS_WATCHES);
    m->watches[m->n_watches++] = (MetricsWatch){.kind = kind,
                                                .connected = st.connected,
                                                .age = st.event_age,
                                                .reconnects = st.reconnects,
                                                .events = st.events,
                                                .lists = st.lists,
                                                .failed_lists = st.failed_lists};
}

void metrics_write(const MetricsSources *m, Buf *b)
{
    write_queues(b, m);
    write_watches(b, m);
    if (m->sessions)
        write_phases(b, m->sessions);
    if (m->runtime)
        write_runtime(b, m->runtime);
    if (m->tokens)
        write_tokens(b, m->tokens);
    if (m->token_server)
        write_token_server(b, m->token_server);
    if (m->strays) {
        head(b, "ambient_cp_strays", "gauge", "Remains of sessions that the server does not know.");
        buf_addf(b, "ambient_cp_strays %zu\n", strays_count(m->strays));
    }
}
