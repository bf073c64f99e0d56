#include "stats.h"

#include <sys/resource.h>
#include <unistd.h>
#include "base/file.h"

typedef struct Sample {
    const char *name, *type, *help;
    double value;
} Sample;

#define SAMPLES_MAX 24

/* The second number of statm: resident pages. */
static double resident_bytes(void)
{
    CLEANUP_BUF Buf text = BUF_INIT(4096);
    uint64_t pages = 0;
    if (file_read("/proc/self/statm", &text, NULL) < 0)
        return 0;
    Str rest = buf_str(&text);
    (void)str_cut(&rest, ' ');
    if (str_to_u64(str_cut(&rest, ' '), &pages) < 0)
        return 0;
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double cpu_seconds(void)
{
    struct rusage ru;
    if (getrusage(RUSAGE_SELF, &ru) < 0)
        return 0;
    return (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
           (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / (double)USEC_PER_SEC;
}

static size_t collect(const Stats *s, Sample out[static SAMPLES_MAX])
{
    StoreStats st = store_stats(s->store);
    HubStats hb = hub_stats(s->hub);
    SchedulerStats sc = scheduler_stats(s->scheduler);
    RpcStats rp = s->rpc ? rpc_stats(s->rpc) : (RpcStats){0};
    const Sample all[] = {
        {"ambient_store_commits_total", "counter", "Commits.", (double)st.commits},
        {"ambient_store_jobs_done_total", "counter", "Store jobs that succeeded.", (double)st.jobs_done},
        {"ambient_store_jobs_failed_total", "counter", "Store jobs that were rolled back.",
         (double)st.jobs_failed},
        {"ambient_store_queue_length", "gauge", "Store jobs that wait.", (double)st.queue_len},
        {"ambient_store_batch_max", "gauge", "Most write jobs in one commit.", (double)st.batch_max},
        {"ambient_hub_message_watchers", "gauge", "Open message cursors.", (double)hb.message_watchers},
        {"ambient_hub_event_watchers", "gauge", "Open event cursors.", (double)hb.event_watchers},
        {"ambient_hub_tail_bytes", "gauge", "Encoded frames in memory.", (double)hb.tail_bytes},
        {"ambient_hub_frames_sent_total", "counter", "Frames handed to watchers.", (double)hb.frames_sent},
        {"ambient_hub_store_reads_total", "counter", "Pages read for watchers behind the tail.",
         (double)hb.store_reads},
        {"ambient_grpc_connections", "gauge", "Open gRPC connections.", (double)rp.conns},
        {"ambient_grpc_streams", "gauge", "Open gRPC streams.", (double)rp.streams},
        {"ambient_scheduler_looks_total", "counter", "Looks at which schedules are due.", (double)sc.looks},
        {"ambient_scheduler_passes_total", "counter", "Passes over a schedule that was due.",
         (double)sc.passes},
        {"ambient_scheduler_failures_total", "counter", "Looks and passes that are to be tried again.",
         (double)sc.failures},
        {"ambient_loop_lag_seconds", "gauge", "How late the last timer ran.",
         (double)loop_lag(s->loop) / (double)USEC_PER_SEC},
        {"process_resident_memory_bytes", "gauge", "Resident memory.", resident_bytes()},
        {"process_cpu_seconds_total", "counter", "CPU time.", cpu_seconds()},
    };
    _Static_assert(ARRAY_LEN(all) <= SAMPLES_MAX, "the caller's array is large enough");
    memcpy(out, all, sizeof(all));
    return ARRAY_LEN(all);
}

void stats_metrics(const Stats *s, Buf *out)
{
    Sample all[SAMPLES_MAX];
    size_t n = collect(s, all);
    rest_metrics(s->rest, out);
    if (s->rpc)
        rpc_metrics(s->rpc, out);
    for (size_t i = 0; i < n; i++)
        (void)buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n%s %.17g\n", all[i].name, all[i].help, all[i].name,
                       all[i].type, all[i].name, all[i].value);
}

void stats_state(const Stats *s, Buf *out)
{
    Sample all[SAMPLES_MAX];
    size_t n = collect(s, all);
    for (size_t i = 0; i < n; i++)
        (void)buf_addf(out, "%s\"%s\":%.17g", i ? "," : "", all[i].name, all[i].value);
}
