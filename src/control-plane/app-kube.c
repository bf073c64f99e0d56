#include "app-kube.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "informer.h"
#include "kube-rights.h"
#include "kube/election.h"

#define REACHABLE_FOR (60 * USEC_PER_SEC)
#define LEASE "ambient-control-plane"
/* Something that is asked for so that kube_last_answer() is fresh on a quiet cluster. */
#define LOOK (20 * USEC_PER_SEC)

struct KubeApp {
    KubeAppOptions o;
    Loop *loop;
    KubeConfig config, inside_config;
    Kube *kube;   /* the election, and what is ours */
    Kube *inside; /* what is in projects; the same unless it has a token of its own */
    Election *election;
    KubeRuntime *runtime;
    KubeProjects *projects; /* while we lead and all pods are known */
    Cache *project_cache, *settings_cache;
    Informer *project_informer, *settings_informer;
    Rights *rights;
    Timer *queue_timer, *look_timer;
    KubeCall *look;
    bool leading, synced;
    LoopFn released;
    void *released_arg;
};

/* ---- projects ---- */

static void on_queue_timer(void *arg)
{
    KubeApp *k = arg;
    if (k->projects)
        wq_turn(kube_projects_queue(k->projects));
}

static void on_wake(void *arg)
{
    KubeApp *k = arg;
    if (!k->projects)
        return;
    Usec next = wq_next(kube_projects_queue(k->projects));
    if (next == USEC_NEVER)
        timer_cancel(k->queue_timer);
    else
        timer_arm(k->queue_timer, usec_sub(next, clock_now(loop_clock(k->loop))));
}

static void on_project_ready(void *arg, const char *project)
{
    kube_runtime_project_ready(((KubeApp *)arg)->runtime, project);
}

static void on_project(void *arg, const char *id)
{
    KubeApp *k = arg;
    kube_runtime_project(k->runtime, id);
    if (k->projects)
        kube_projects_add(k->projects, id);
}

/* The settings of a project change what is in its namespace. Deleted ones do not say whose they were: all
 * look. */
static void on_settings(void *arg, const char *id)
{
    KubeApp *k = arg;
    const Obj *o = cache_get(k->settings_cache, str_from(id));
    if (o)
        on_project(k, obj_cstr(o, PROJECT_SETTINGS_PROJECT_ID));
    else
        cache_each(k->project_cache, on_project, k);
}

static void on_relist(void *arg)
{
    KubeApp *k = arg;
    informer_relist(k->project_informer);
}

static Informer *follow(KubeApp *k, const Kind *kind, void (*on_key)(void *arg, const char *id),
                        Cache **ret_cache)
{
    const CacheOptions co = {.kind = kind, .clock = loop_clock(k->loop)};
    *ret_cache = cache_new(&co);
    const InformerOptions io = {.api = k->o.api, .kind = kind, .cache = *ret_cache, .random = k->o.random};
    return informer_new(k->loop, &io, &(const InformerOps){.on_key = on_key}, k);
}

/* ---- leading ---- */

static void begin_reconciling(KubeApp *k)
{
    if (!k->leading || !k->synced || k->projects)
        return;
    const KubeProjectsOptions po = {
        .kube = k->inside,
        .config = k->o.config,
        .projects = k->project_cache,
        .settings = k->settings_cache,
        .clock = loop_clock(k->loop),
        .wake = on_wake,
        .on_ready = on_project_ready,
        .relist = on_relist,
        .arg = k,
    };
    k->projects = kube_projects_new(&po);
    kube_runtime_set_projects(k->runtime, k->projects);
    kube_runtime_lead(k->runtime, true);
    k->o.start(k->o.arg);
    cache_each(k->project_cache, on_project, k);
}

static void end_reconciling(KubeApp *k)
{
    if (!k->projects)
        return;
    k->o.stop(k->o.arg);
    kube_runtime_lead(k->runtime, false);
    kube_runtime_set_projects(k->runtime, NULL);
    k->projects = kube_projects_free(k->projects);
}

/* What we know of pods may be old: it is listed anew before anything is done with it. */
static void on_lead(void *arg)
{
    KubeApp *k = arg;
    k->leading = true;
    k->synced = false;
    kube_runtime_relist(k->runtime);
}

static void on_lose(void *arg)
{
    KubeApp *k = arg;
    k->leading = false;
    end_reconciling(k);
}

static void on_pods(void *arg)
{
    KubeApp *k = arg;
    k->synced = true;
    begin_reconciling(k);
}

static void on_swept(void *arg)
{
    KubeApp *k = arg;
    k->o.swept(k->o.arg);
}

static void on_pod(void *arg, const char *session_id)
{
    KubeApp *k = arg;
    k->o.on_key(k->o.arg, session_id);
}

bool kube_app_may_write(const KubeApp *k)
{
    return k->o.config->kube.elect ? k->election && election_valid(k->election) : k->leading;
}

static bool may_write(void *arg)
{
    return kube_app_may_write(arg);
}

static void on_lost(void *arg)
{
    KubeApp *k = arg;
    log_error("kubernetes does not answer", F_STR("component", "kubeclient"));
    if (k->runtime)
        kube_runtime_lost(k->runtime);
}

/* What had failed for want of an answer is tried again now, not after its backoff. */
static void on_reachable(void *arg)
{
    KubeApp *k = arg;
    log_info("kubernetes answers again", F_STR("component", "kubeclient"));
    cache_each(k->project_cache, on_project, k);
    k->o.reachable(k->o.arg);
}

/* ---- watching over the connection ---- */

static void on_looked(void *arg, json_t *body, const KubeError *e)
{
    ((KubeApp *)arg)->look = NULL;
}

static void on_look_timer(void *arg)
{
    KubeApp *k = arg;
    if (!k->look)
        k->look = kube_send(k->kube,
                            KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_LEASES,
                                         .ns = k->o.config->kube.runtime_ns, .name = LEASE, .urgent = true),
                            on_looked, k);
    timer_arm(k->look_timer, LOOK);
}

bool kube_app_ready(const KubeApp *k)
{
    InformerStats projects, settings;
    Usec answered = kube_last_answer(k->kube);
    informer_stats(k->project_informer, &projects);
    informer_stats(k->settings_informer, &settings);
    return projects.synced && settings.synced && k->synced && answered > 0 &&
           clock_now(loop_clock(k->loop)) - answered < REACHABLE_FOR;
}

/* ---- life ---- */

static int make_clients(KubeApp *k, Err *err)
{
    const KubeSettings *s = &k->o.config->kube;
    int rc = kube_config_find(NULL, &k->config, err);
    if (rc < 0)
        return err_wrap(err, "kubernetes");
    const KubeOptions ko = {
        .config = &k->config,
        .user_agent = "ambient-control-plane/" AMBIENT_VERSION,
        .manager = "ambient-control-plane",
        .qps = (unsigned)s->qps,
        .burst = (unsigned)s->burst,
        .may_write = may_write,
        .on_reachable = on_reachable,
        .on_lost = on_lost,
        .arg = k,
    };
    rc = kube_new(k->loop, &ko, &k->kube, err);
    k->inside = k->kube;
    if (rc < 0 || !s->project_token_file)
        return rc;
    rc = kube_config_find(NULL, &k->inside_config, err);
    if (rc < 0)
        return rc;
    free(k->inside_config.token_file);
    k->inside_config.token_file = xstrdup(s->project_token_file);
    KubeOptions inside = ko;
    inside.config = &k->inside_config;
    return kube_new(k->loop, &inside, &k->inside, err);
}

int kube_app_new(Loop *l, const KubeAppOptions *o, KubeApp **ret, Err *err)
{
    KubeApp *k = xnew(KubeApp);
    k->o = *o;
    k->loop = l;
    int rc = make_clients(k, err);
    if (rc < 0) {
        kube_app_free(k);
        return rc;
    }
    k->queue_timer = timer_new(l, on_queue_timer, k);
    k->look_timer = timer_new(l, on_look_timer, k);
    k->project_informer = follow(k, &kind_project, on_project, &k->project_cache);
    k->settings_informer = follow(k, &kind_project_settings, on_settings, &k->settings_cache);
    const KubeRuntimeOptions ro = {.kube = k->inside,
                                   .config = o->config,
                                   .clock = loop_clock(l),
                                   .on_synced = on_pods,
                                   .on_swept = on_swept,
                                   .arg = k};
    k->runtime = kube_runtime_new(&ro);
    Runtime *rt = kube_runtime(k->runtime);
    rt->on_change = on_pod;
    rt->on_change_arg = k;
    *ret = k;
    return 0;
}

static void start_election(KubeApp *k)
{
    const KubeSettings *s = &k->o.config->kube;
    uint32_t r;
    random_bytes(&r, sizeof r);
    CLEANUP_FREE char *identity = xasprintf("%s_%08x", s->pod_name, r);
    const ElectionOptions eo = {.kube = k->kube,
                                .ns = s->runtime_ns,
                                .name = LEASE,
                                .identity = identity,
                                .duration = s->lease,
                                .deadline = s->lease * 2 / 3,
                                .retry = s->lease * 2 / 15,
                                .on_lead = on_lead,
                                .on_lose = on_lose,
                                .arg = k};
    k->election = election_new(&eo);
}

void kube_app_start(KubeApp *k)
{
    informer_start(k->project_informer);
    informer_start(k->settings_informer);
    k->rights = rights_check(k->kube, k->o.config);
    timer_arm(k->look_timer, 0);
    if (k->o.config->kube.elect) {
        start_election(k);
        return;
    }
    k->leading = true; /* the only one, as whoever turned the election off says */
    begin_reconciling(k);
}

static void on_released(void *arg)
{
    KubeApp *k = arg;
    k->released(k->released_arg);
}

void kube_app_release(KubeApp *k, LoopFn done, void *arg)
{
    k->released = done;
    k->released_arg = arg;
    k->leading = false;
    end_reconciling(k);
    if (k->election)
        election_release(k->election, on_released, k);
    else
        loop_post(k->loop, done, arg);
}

KubeApp *kube_app_free(KubeApp *k)
{
    if (!k)
        return NULL;
    rights_free(k->rights);
    election_free(k->election);
    kube_projects_free(k->projects);
    kube_runtime_free(k->runtime);
    informer_free(k->project_informer);
    informer_free(k->settings_informer);
    cache_free(k->project_cache);
    cache_free(k->settings_cache);
    timer_free(k->queue_timer);
    timer_free(k->look_timer);
    if (k->inside != k->kube)
        kube_free(k->inside);
    kube_free(k->kube);
    kube_config_done(&k->config);
    kube_config_done(&k->inside_config);
    free(k);
    return NULL;
}

Runtime *kube_app_runtime(KubeApp *k)
{
    return kube_runtime(k->runtime);
}

KubeRuntime *kube_app_pods(KubeApp *k)
{
    return k->runtime;
}

Kube *kube_app_client(KubeApp *k)
{
    return k->kube;
}

void kube_app_know(KubeApp *k, const Obj *session)
{
    kube_runtime_know(k->runtime, session);
}

/* ---- metrics ---- */

static void write_count(void *arg, const KubeCount *c)
{
    buf_addf(arg, "ambient_cp_kube_requests_total{verb=\"%s\",resource=\"%s\",code=\"%d\"} %llu\n",
             kube_verb_name(c->verb), kube_resource(c->kind)->plural, c->code, (unsigned long long)c->n);
}

void kube_app_sources(const KubeApp *k, MetricsSources *m)
{
    KubeWatchStats pods;
    kube_runtime_watch_stats(k->runtime, &pods);
    metrics_add_queue(m, k->projects ? kube_projects_queue(k->projects) : NULL);
    metrics_add_informer(m, "projects", k->project_informer);
    metrics_add_informer(m, "project_settings", k->settings_informer);
    assert(m->n_watches < METRICS_WATCHES);
    m->watches[m->n_watches++] = (MetricsWatch){
        .kind = "pods",
        .connected = pods.connected,
        .age = pods.event_at ? usec_sub(clock_now(loop_clock(k->loop)), pods.event_at) : USEC_NEVER,
        .reconnects = pods.reconnects,
        .events = pods.events,
        .lists = pods.lists,
        .failed_lists = pods.failed_lists,
    };
}

void kube_app_metrics(const KubeApp *k, Buf *b)
{
    KubeRuntimeStats st;
    kube_runtime_stats(k->runtime, &st);
    buf_addz(b, "# HELP ambient_cp_leader Whether this replica leads.\n# TYPE ambient_cp_leader gauge\n");
    buf_addf(b, "ambient_cp_leader %d\n", k->leading);
    buf_addz(b, "# HELP ambient_cp_rights_missing Rights that Kubernetes said we lack, at the start.\n"
                "# TYPE ambient_cp_rights_missing gauge\n");
    buf_addf(b, "ambient_cp_rights_missing %u\n", rights_missing(k->rights));
    buf_addz(b, "# HELP ambient_cp_pods Pods of sessions.\n# TYPE ambient_cp_pods gauge\n");
    buf_addf(b, "ambient_cp_pods %zu\n", st.pods);
    buf_addz(b, "# HELP ambient_cp_kube_waiting Requests to Kubernetes that wait for their turn.\n"
                "# TYPE ambient_cp_kube_waiting gauge\n");
    buf_addf(b, "ambient_cp_kube_waiting %zu\n", kube_waiting(k->inside));
    buf_addz(b, "# HELP ambient_cp_namespaces_without_project Namespaces that are ours and whose project is "
                "unknown.\n"
                "# TYPE ambient_cp_namespaces_without_project gauge\n");
    buf_addf(b, "ambient_cp_namespaces_without_project %zu\n",
             k->projects ? kube_projects_strays(k->projects) : 0);
    buf_addz(b, "# HELP ambient_cp_orphans_deleted_total Sessions whose objects were removed.\n"
                "# TYPE ambient_cp_orphans_deleted_total counter\n");
    buf_addf(b, "ambient_cp_orphans_deleted_total{resource=\"sessions\"} %llu\n",
             (unsigned long long)st.removed);
    buf_addz(b, "# HELP ambient_cp_token_secrets_total Refreshes of the Secrets that runners read their "
                "tokens from.\n"
                "# TYPE ambient_cp_token_secrets_total counter\n");
    buf_addf(b, "ambient_cp_token_secrets_total{result=\"written\"} %llu\n",
             (unsigned long long)st.tokens_written);
    buf_addf(b, "ambient_cp_token_secrets_total{result=\"unchanged\"} %llu\n",
             (unsigned long long)st.tokens_same);
    buf_addf(b, "ambient_cp_token_secrets_total{result=\"failed\"} %llu\n",
             (unsigned long long)st.tokens_failed);
    buf_addz(b, "# HELP ambient_cp_kube_requests_total Requests to Kubernetes.\n"
                "# TYPE ambient_cp_kube_requests_total counter\n");
    kube_counts(k->kube, write_count, b);
}
