#include "runtime-kube-internal.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "ca-bundle.h"

#define CHORES USEC_PER_SEC
/* So many refusals in a row, and PERMANENT_AFTER, make a session fail. */
#define REFUSED_MAX 6
#define ROOTS_MAX (800 * 1024)
#define YOUNG ((int64_t)(300 * USEC_PER_SEC))

static KubeRuntime *self(const Runtime *rt)
{
    return CONTAINER_OF(rt, KubeRuntime, base);
}

static Usec now_of(const KubeRuntime *k)
{
    return clock_now(k->o.clock);
}

/* ---- what is known ---- */

Entry *entry_get(const KubeRuntime *k, Str id)
{
    return map_get(k->all, id);
}

Entry *entry_make(KubeRuntime *k, Str id, const char *ns, WallUsec made_at)
{
    Entry *e = entry_get(k, id);
    if (!e) {
        e = xcalloc(1, sizeof *e + id.len + 1);
        e->k = k;
        e->made_at = made_at;
        memcpy(e->id, id.ptr, id.len);
        list_init(&e->waiting);
        map_put(k->all, id, e);
    }
    if (!e->ns && ns && *ns)
        e->ns = xstrdup(ns);
    if (made_at.us > 0 && (e->made_at.us == 0 || made_at.us < e->made_at.us))
        e->made_at = made_at;
    return e;
}

static void entry_free(Entry *e)
{
    assert(!e->op);
    list_remove(&e->waiting);
    kube_cancel(e->chore);
    token_write_free(e->token);
    if (e->pod_uid)
        map_remove(e->k->by_uid, str_from(e->pod_uid));
    free(e->ns);
    free(e->pod);
    free(e->pod_uid);
    free(e->gone_uid);
    free(e->pod_name);
    free(e->gone);
    free(e);
}

void entry_drop(Entry *e)
{
    map_remove(e->k->all, str_from(e->id));
    entry_free(e);
}

void entry_changed(Entry *e)
{
    const Runtime *rt = &e->k->base;
    if (rt->on_change)
        rt->on_change(rt->on_change_arg, e->id);
}

bool entry_pod_over(const Entry *e)
{
    return e->pod && pod_view_over(e->pod);
}

void entry_event(const Entry *e, KubeEventType type, const char *reason, const char *message)
{
    if (!e->pod_uid)
        return;
    CLEANUP_JSON json_t *pod = json_pack("{s:{s:s, s:s, s:s}}", "metadata", "name", e->pod_name, "namespace",
                                         e->ns, "uid", e->pod_uid);
    kube_event(e->k->o.kube, KUBE_PODS, pod, type, reason, message);
}

/* ---- the watch ---- */

static void new_pod(Entry *e, const json_t *pod)
{
    kube_cancel(TAKE(e->chore));
    if (e->pod_uid)
        map_remove(e->k->by_uid, str_from(e->pod_uid));
    free(e->pod_uid);
    free(e->pod_name);
    free(e->ns);
    free(TAKE(e->pod));
    free(TAKE(e->gone));
    e->pod_uid = xstrdup(kube_uid(pod));
    map_put(e->k->by_uid, str_from(e->pod_uid), e);
    e->pod_name = xstrdup(kube_name(pod));
    e->ns = xstrdup(kube_namespace(pod));
    e->stop = RT_STOP_NONE;
    e->deleting = e->forced = e->retired = false;
}

void entry_pod(Entry *e, const json_t *pod)
{
    if (!e->pod_uid || strcmp(e->pod_uid, kube_uid(pod)) != 0)
        new_pod(e, pod);
    if (!e->pod)
        e->pod = xnew(PodView);
    pod_view_read(pod, e->pod, clock_wall(e->k->o.clock), e->pod);
}

void entry_pod_answered(Entry *e, const json_t *pod)
{
    const char *uid = kube_uid(pod);
    if ((e->pod_uid && strcmp(e->pod_uid, uid) == 0) || (e->gone_uid && strcmp(e->gone_uid, uid) == 0))
        return;
    entry_pod(e, pod);
    e->answered_at = now_of(e->k);
}

static void on_pod(void *arg, json_t *pod)
{
    KubeRuntime *k = ((PodWatch *)arg)->k;
    const char *id = kube_label(pod, LABEL_SESSION);
    if (!id || !*id || is_of_another(k->settings, pod))
        return;
    Entry *e = entry_make(k, str_from(id), kube_namespace(pod), kube_created(pod));
    entry_pod(e, pod);
    e->answered_at = 0;
    entry_changed(e);
}

/* Remembers how its run ended, as far as that was seen. */
static Gone *how_it_went(Entry *e, const json_t *last)
{
    KubeRuntime *k = e->k;
    WallUsec now = clock_wall(k->o.clock);
    RtObserved seen;
    if (last)
        pod_view_read(last, e->pod, now, e->pod);
    pod_view_judge(e->pod, k->settings, now, &seen);
    Gone *g = xnew(Gone);
    RtStop stop = e->stop != RT_STOP_NONE ? e->stop : seen.stop;
    bool told = stop == RT_STOP_TIME_LIMIT || stop == RT_STOP_UNHEALTHY || stop == RT_STOP_SHUTDOWN;
    snprintf(g->reason, sizeof g->reason, "%s", seen.reason ? seen.reason : "");
    snprintf(g->message, sizeof g->message, "%s", seen.message ? seen.message : "");
    g->at = now_of(k);
    g->seen = seen;
    g->seen.stop = stop;
    g->seen.doomed = false;
    g->seen.recheck = 0;
    g->seen.forced = e->forced;
    if (seen.state != RT_ENDED)
        g->seen.state = told ? RT_ENDED : RT_ABSENT;
    if (g->seen.state == RT_ENDED && g->seen.end == RT_END_NONE)
        g->seen.end = RT_END_LOST;
    if (g->seen.ended_at.us == 0)
        g->seen.ended_at = now;
    return g;
}

static void pod_gone(Entry *e, const json_t *last)
{
    free(TAKE(e->gone));
    if (!e->retired)
        e->gone = how_it_went(e, last);
    map_remove(e->k->by_uid, str_from(e->pod_uid));
    free(TAKE(e->pod));
    free(e->gone_uid);
    e->gone_uid = TAKE(e->pod_uid);
    e->token = token_write_free(e->token);
    e->deleting = false;
}

void entry_pod_vanished(Entry *e)
{
    pod_gone(e, NULL);
    entry_changed(e);
}

static void on_pod_gone(void *arg, const char *ns, const char *name, const char *uid, json_t *last)
{
    Entry *e = map_get(((PodWatch *)arg)->k->by_uid, str_from(uid));
    if (!e)
        return;
    kube_cancel(TAKE(e->chore));
    pod_gone(e, last);
    entry_changed(e);
}

/* All pods are known, but for those of namespaces that cannot be asked: nothing is concluded there. */
static void check_synced(void *arg)
{
    KubeRuntime *k = arg;
    MAP_FOREACH (k->watches, it)
        if (!((const PodWatch *)it.value)->tried)
            return;
    k->synced = true;
    k->o.on_synced(k->o.arg);
}

static void on_pods_listed(void *arg)
{
    PodWatch *w = arg;
    if (!w->listed)
        w->listed_at = now_of(w->k);
    w->listed = w->tried = true;
    check_synced(w->k);
}

static void on_pods_failed(void *arg, const KubeError *e)
{
    PodWatch *w = arg;
    bool first = !w->tried;
    w->tried = w->tried || w->k->settings->mpp; /* the only one must succeed */
    if (first && w->tried)
        check_synced(w->k);
}

static void watch_pods(KubeRuntime *k, const char *ns)
{
    static const KubeWatchOps ops = {on_pod, on_pod_gone, on_pods_listed, on_pods_failed};
    if (map_has(k->watches, str_from(ns)))
        return;
    PodWatch *w = xnew(PodWatch);
    w->k = k;
    w->watch = kube_watch_new(
        k->o.kube, KUBE_REQUEST(.kind = KUBE_PODS, .ns = *ns ? ns : NULL, .labels = SELECTOR_MANAGED), &ops,
        w);
    map_put(k->watches, str_from(ns), w);
}

/* ---- observing ---- */

static void observe_gone(const Entry *e, RtObserved *ret)
{
    const Gone *g = e->gone;
    *ret = g->seen;
    ret->reason = *g->reason ? g->reason : NULL;
    ret->message = g->message;
    if (g->seen.state != RT_ABSENT)
        return;
    const KubeRuntime *k = e->k;
    Usec age = now_of(k) - g->at;
    ret->recheck = age < k->settings->missing_after ? k->settings->missing_after - age : 0;
    ret->reason = "PodMissing";
    ret->message = "the pod does not exist any more";
}

/* A pod that was never seen: it may have been made, or have gone, before we looked. Where we cannot look, it
   may be there. */
static void observe_nothing(const KubeRuntime *k, const Entry *e, RtObserved *ret)
{
    const char *ns = k->settings->mpp ? (e && e->ns ? e->ns : "?") : "";
    const PodWatch *w = map_get(k->watches, str_from(ns));
    Usec age = w && w->listed ? now_of(k) - w->listed_at : 0;
    *ret = (RtObserved){.state = RT_ABSENT, .reason = "PodMissing", .message = "the pod does not exist"};
    ret->recheck = age < k->settings->missing_after ? k->settings->missing_after - age : 0;
}

static void observe(const Runtime *rt, Str id, RtObserved *ret)
{
    const KubeRuntime *k = self(rt);
    const Entry *e = entry_get(k, id);
    if (e && e->pod && !e->retired) {
        pod_view_judge(e->pod, k->settings, clock_wall(k->o.clock), ret);
        if (e->stop != RT_STOP_NONE)
            ret->stop = e->stop;
        if (e->deleting && (ret->state != RT_ENDED || ret->doomed))
            ret->state = RT_STOPPING;
        ret->forced = e->forced;
    } else if (e && e->pod) {
        *ret = (RtObserved){.state = entry_pod_over(e) ? RT_ABSENT : RT_STOPPING, .run = e->pod->run};
    } else if (e && e->gone) {
        observe_gone(e, ret);
    } else {
        observe_nothing(k, e, ret);
    }
}

static void list_all(const Runtime *rt, RtEach each, void *arg)
{
    MAP_FOREACH (self(rt)->all, it)
        each(arg, it.key.ptr);
}

static WallUsec made_at(const Runtime *rt, Str id)
{
    const Entry *e = entry_get(self(rt), id);
    return e ? e->made_at : (WallUsec){0};
}

static const char *place(const Runtime *rt, const Obj *session)
{
    KubeRuntime *k = self(rt);
    const Entry *e = entry_get(k, obj_str(session, FIELD_ID));
    if (e && e->ns)
        return e->ns;
    if (project_namespace(k->settings, obj_str(session, SESSION_PROJECT_ID), k->place, NULL) < 0)
        k->place[0] = '\0';
    return k->place;
}

/* ---- operations ---- */

static void op_free(RtOp *op)
{
    if (op->e)
        op->e->op = NULL;
    flow_done(&op->flow);
    timer_free(op->timer);
    obj_free(op->session);
    if (op->prompt)
        secret_erase(op->prompt, strlen(op->prompt));
    free(op->prompt);
    free(op->anchor_uid);
    free(op->ns);
    free(op->token_secret);
    free(op->extra);
    free(op->claim);
    free(op->credential_ids);
    free(op->creds);
    secret_free(op->token);
    free(op);
}

void op_end(RtOp *op, const Err *err)
{
    RtDone done = op->done;
    void *arg = op->arg;
    Err copy = err ? *err : (Err){0};
    op_free(op);
    done(arg, err ? &copy : NULL);
}

static void on_flow(Flow *f, const KubeError *e)
{
    RtOp *op = CONTAINER_OF(f, RtOp, flow);
    if (e) {
        op_fail(op, e);
        return;
    }
    if (op->must_wait) {
        Err err = {0};
        err_set(&err, ERR_RATE_LIMITED, "the pod of an earlier run is not gone yet");
        op_end(op, &err);
        return;
    }
    op->e->refused = 0;
    op_end(op, NULL);
}

static void on_op_timer(void *arg)
{
    RtOp *op = arg;
    op_end(op, op->err.code == ERR_OK ? NULL : &op->err);
}

RtOp *op_new(KubeRuntime *k, Entry *e, RtDone done, void *arg)
{
    RtOp *op = xnew(RtOp);
    op->k = k;
    op->e = e;
    op->done = done;
    op->arg = arg;
    flow_init(&op->flow, k->o.kube, on_flow);
    op->timer = timer_new(k->loop, on_op_timer, op);
    if (e) {
        assert(!e->op);
        e->op = op;
    }
    return op;
}

RtOp *op_end_soon(RtOp *op, ErrCode code, const char *message)
{
    if (code != ERR_OK)
        err_set(&op->err, code, "%s", message);
    timer_arm(op->timer, 0);
    return op;
}

static bool is_refusal(const KubeError *e)
{
    return e->err.code == ERR_INVALID || e->err.code == ERR_TOO_LARGE || e->err.code == ERR_FORBIDDEN;
}

static bool in_young_namespace(const RtOp *op)
{
    if (!op->session)
        return false;
    WallUsec made = kube_projects_made_at(op->k->projects, obj_str(op->session, SESSION_PROJECT_ID));
    return clock_wall(op->k->o.clock).us - made.us < YOUNG;
}

/* A refusal may be an admission rule that is being changed, a quota that is full for now: a session fails
   only when it lasts. */
static bool is_final(Entry *e)
{
    const KubeRuntime *k = e->k;
    if (e->refused++ == 0)
        e->refused_at = now_of(k);
    return e->refused >= REFUSED_MAX && now_of(k) - e->refused_at >= k->settings->permanent_after;
}

void op_fail(RtOp *op, const KubeError *e)
{
    Err err = e->err;
    bool early = e->err.code == ERR_FORBIDDEN && in_young_namespace(op);
    if (early || !is_refusal(e) || !is_final(op->e))
        err.code = e->err.code == ERR_RATE_LIMITED ? ERR_RATE_LIMITED : ERR_UNAVAILABLE;
    if (e->status == 404 && op->session) /* its namespace is gone */
        kube_projects_add(op->k->projects, obj_cstr(op->session, SESSION_PROJECT_ID));
    op_end(op, &err);
}

/* Every step may be made again, so what is under way is simply dropped. */
static void abandon(RtOp *op)
{
    op_free(op);
}

/* ---- without an answer ---- */

static bool unreachable(const Runtime *rt)
{
    return kube_lost(CONTAINER_OF(rt, const KubeRuntime, base)->o.kube);
}

/* What waits for an answer is not kept waiting: its session is told, and it is tried again when there are
 * answers. Ending is deferred: that may make and drop entries. */
static void give_up(void *arg)
{
    KubeRuntime *k = arg;
    MAP_FOREACH (k->all, it) {
        RtOp *op = ((Entry *)it.value)->op;
        if (!op || !op->session || !flow_running(&op->flow))
            continue;
        flow_done(&op->flow);
        op_end_soon(op, ERR_UNAVAILABLE, KUBE_NO_ANSWER);
    }
}

void kube_runtime_lost(KubeRuntime *k)
{
    timer_arm(k->lost_timer, 0);
}

static const RuntimeOps kube_ops = {
    .name = "kube",
    .spawned_condition = "PodCreated",
    .unreachable_condition = "KubernetesUnavailable",
    .unreachable = unreachable,
    .ensure = kube_ensure,
    .may_start = kube_may_start,
    .stop = kube_stop,
    .retire = kube_retire,
    .remove = kube_remove,
    .observe = observe,
    .list = list_all,
    .made_at = made_at,
    .abandon = abandon,
    .place = place,
    .give_token = kube_give_token,
};

/* ---- life ---- */

static char *read_roots(const Config *c)
{
    CLEANUP_BUF Buf b = BUF_INIT(ROOTS_MAX);
    Err err = {0};
    if (file_read(c->ca_file ? c->ca_file : CA_PUBLIC, &b, &err) == 0)
        return buf_take(&b);
    log_warn("no public roots for runners", F_ERR(&err));
    return NULL;
}

KubeRuntime *kube_runtime_new(const KubeRuntimeOptions *o)
{
    KubeRuntime *k = xnew(KubeRuntime);
    k->base.ops = &kube_ops;
    k->o = *o;
    k->loop = kube_loop(o->kube);
    k->settings = &o->config->kube;
    k->all = map_new();
    k->by_uid = map_new();
    list_init(&k->waiting);
    k->chores = timer_new(k->loop, run_chores, k);
    k->sweep_timer = timer_new(k->loop, start_sweep, k);
    k->lost_timer = timer_new(k->loop, give_up, k);
    k->version_timer = timer_new(k->loop, ask_version, k);
    k->public_roots = read_roots(o->config);
    k->sync_timer = timer_new(k->loop, check_synced, k);
    k->watches = map_new();
    if (!k->settings->mpp)
        watch_pods(k, "");
    return k;
}

KubeRuntime *kube_runtime_free(KubeRuntime *k)
{
    if (!k)
        return NULL;
    stop_sweep(k);
    MAP_FOREACH (k->watches, it) {
        kube_watch_free(((PodWatch *)it.value)->watch);
        loop_defer(k->loop, free, it.value);
    }
    map_free(k->watches);
    timer_free(k->sync_timer);
    timer_free(k->chores);
    timer_free(k->sweep_timer);
    timer_free(k->lost_timer);
    forget_version(k);
    timer_free(k->version_timer);
    free(k->public_roots);
    MAP_FOREACH (k->all, it) {
        Entry *e = it.value;
        if (e->op)
            op_free(e->op);
        entry_free(e);
    }
    map_free(k->all);
    map_free(k->by_uid);
    free(k);
    return NULL;
}

Runtime *kube_runtime(KubeRuntime *k)
{
    return &k->base;
}

void kube_runtime_lead(KubeRuntime *k, bool lead)
{
    k->leading = lead;
    forget_version(k);
    if (lead) {
        timer_arm(k->version_timer, 0);
        timer_arm(k->chores, CHORES);
        timer_arm(k->sweep_timer, k->settings->sweep_first);
        return;
    }
    timer_cancel(k->chores);
    timer_cancel(k->sweep_timer);
    stop_sweep(k);
    MAP_FOREACH (k->all, it) {
        Entry *e = it.value;
        e->token = token_write_free(e->token);
    }
}

void kube_runtime_relist(KubeRuntime *k)
{
    k->synced = false;
    MAP_FOREACH (k->watches, it) {
        PodWatch *w = it.value;
        w->listed = w->tried = false;
        kube_watch_relist(w->watch);
    }
    timer_arm(k->sync_timer, 0); /* there may be none */
}

void kube_runtime_project(KubeRuntime *k, const char *project)
{
    char ns[NAME_MAX_LEN];
    if (k->settings->mpp && project_namespace(k->settings, str_from(project), ns, NULL) == 0)
        watch_pods(k, ns);
}

void kube_runtime_know(KubeRuntime *k, const Obj *session)
{
    char ns[NAME_MAX_LEN] = "";
    Str id = obj_str(session, FIELD_ID);
    if (!entry_get(k, id) &&
        project_namespace(k->settings, obj_str(session, SESSION_PROJECT_ID), ns, NULL) == 0)
        entry_make(k, id, ns, obj_time(session, FIELD_CREATED_AT));
}

void kube_runtime_set_projects(KubeRuntime *k, KubeProjects *p)
{
    k->projects = p;
}

/* Sessions of one namespace, or all, that wait for something outside of them. */
static void wake(KubeRuntime *k, const char *ns)
{
    LIST_FOREACH_SAFE (&k->waiting, link) {
        Entry *e = LIST_ENTRY(link, Entry, waiting);
        if (ns && strcmp(e->ns, ns) != 0)
            continue;
        list_remove(link);
        entry_changed(e);
    }
}

void kube_runtime_project_ready(KubeRuntime *k, const char *project)
{
    char ns[NAME_MAX_LEN];
    if (project_namespace(k->settings, str_from(project), ns, NULL) == 0) /* else no session waits for it */
        wake(k, ns);
}

void kube_runtime_set_endpoint(KubeRuntime *k, const char *url, const char *key, const char *key_id)
{
    k->token_key_id = key_id;
    k->token_url = url;
    k->token_key = key;
    if (k->await_endpoint) {
        k->await_endpoint = false;
        wake(k, NULL);
    }
}

void kube_runtime_await_endpoint(KubeRuntime *k)
{
    k->await_endpoint = true;
}

/* Of a pod that does not say it, any key may be. */
bool kube_runtime_uses_key(const KubeRuntime *k, const char *key_id)
{
    if (!k->synced)
        return true;
    MAP_FOREACH (k->all, it) {
        const PodView *v = ((const Entry *)it.value)->pod;
        if (v && !v->terminated && (*v->key_id == '\0' || strcmp(v->key_id, key_id) == 0))
            return true;
    }
    return false;
}

bool kube_runtime_leads(const KubeRuntime *k)
{
    return k->leading;
}

/* The address of a pod that has ended may be another one's by now. */
bool kube_runtime_pod(const KubeRuntime *k, Str session_id, const char *ret[static KUBE_POD_ADDRESSES],
                      size_t *ret_n)
{
    const Entry *e = entry_get(k, session_id);
    *ret_n = 0;
    if (!e || !e->pod || e->retired || e->pod->terminated || entry_pod_over(e))
        return false;
    for (size_t i = 0; i < KUBE_POD_ADDRESSES; i++)
        if (*e->pod->addresses[i])
            ret[(*ret_n)++] = e->pod->addresses[i];
    return true;
}

bool kube_runtime_pod_has_identity(const KubeRuntime *k, Str session_id)
{
    const Entry *e = entry_get(k, session_id);
    return e && e->pod && e->pod->identity;
}

void kube_runtime_watch_stats(const KubeRuntime *k, KubeWatchStats *ret)
{
    *ret = (KubeWatchStats){.connected = map_len(k->watches) > 0};
    MAP_FOREACH (k->watches, it) {
        KubeWatchStats st;
        kube_watch_stats(((const PodWatch *)it.value)->watch, &st);
        ret->connected = ret->connected && st.connected;
        ret->event_at = ret->event_at && ret->event_at < st.event_at ? ret->event_at : st.event_at;
        ret->reconnects += st.reconnects;
        ret->events += st.events;
        ret->lists += st.lists;
        ret->failed_lists += st.failed_lists;
    }
}

void kube_runtime_stats(const KubeRuntime *k, KubeRuntimeStats *ret)
{
    *ret = (KubeRuntimeStats){.known = map_len(k->all),
                              .removed = k->removed,
                              .tokens_written = k->tokens_written,
                              .tokens_same = k->tokens_same,
                              .tokens_failed = k->tokens_failed};
    MAP_FOREACH (k->all, it)
        ret->pods += ((const Entry *)it.value)->pod != NULL;
}
