/* stop(), retire(), remove(), and the chores that follow them. */
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "runtime-kube-internal.h"

#define CHORES USEC_PER_SEC

static RtOp *self(Flow *f)
{
    return CONTAINER_OF(f, RtOp, flow);
}

static Entry *find(Runtime *rt, Str id)
{
    return entry_get(CONTAINER_OF(rt, KubeRuntime, base), id);
}

/* ---- stop ---- */

/* A reason that the session does not say by itself must outlive us: it is on the pod before the pod is
 * deleted. */
static void step_reason(Flow *f)
{
    const RtOp *op = self(f);
    if (op->why == RT_STOP_USER || op->why == RT_STOP_SUPERSEDED) {
        flow_next(f);
        return;
    }
    flow_merge(f, KUBE_PODS, op->e->ns, op->e->pod_name,
               json_pack("{s:{s:{s:s}}}", "metadata", "annotations", ANNOTATION_STOP, rt_stop_name(op->why)));
}

static void step_delete_pod(Flow *f)
{
    RtOp *op = self(f);
    if (!op->e->pod) { /* it went meanwhile */
        flow_next(f);
        return;
    }
    flow_delete(f, KUBE_PODS, op->e->ns, op->e->pod_name, op->e->pod_uid, op->grace);
}

static void step_deleted(Flow *f)
{
    RtOp *op = self(f);
    op->e->deleting = op->e->pod != NULL;
    flow_next(f);
}

static const FlowStep stop_steps[] = {step_reason, step_delete_pod, step_deleted, NULL};
static const FlowStep delete_steps[] = {step_delete_pod, step_deleted, NULL};

/* Nobody is there to end a pod on a lost node. */
static int64_t grace_of(const Entry *e)
{
    return e->pod->node_lost ? 0 : KUBE_GRACE_DEFAULT;
}

RtOp *kube_stop(Runtime *rt, Str id, RtStop why, RtDone done, void *arg)
{
    Entry *e = find(rt, id);
    RtOp *op = op_new(CONTAINER_OF(rt, KubeRuntime, base), e, done, arg);
    if (!e || !e->pod || e->deleting || e->pod->deletion.us != 0)
        return op_end_soon(op, ERR_OK, NULL);
    op->why = e->stop = why;
    op->grace = grace_of(e);
    entry_event(e, KUBE_EVENT_NORMAL, "SessionStopping", rt_stop_name(why));
    flow_start(&op->flow, stop_steps);
    return op;
}

/* ---- retire ---- */

RtOp *kube_retire(Runtime *rt, Str id, RtDone done, void *arg)
{
    Entry *e = find(rt, id);
    RtOp *op = op_new(CONTAINER_OF(rt, KubeRuntime, base), e, done, arg);
    if (e)
        free(TAKE(e->gone));
    if (!e || !e->pod || e->retired)
        return op_end_soon(op, ERR_OK, NULL);
    e->retired = true;
    if (entry_pod_over(e) || e->deleting)
        return op_end_soon(op, ERR_OK,
                           NULL); /* run_chores() clears it away, its log stays readable until then */
    op->grace = grace_of(e);
    entry_event(e, KUBE_EVENT_WARNING, *e->pod->waiting ? e->pod->waiting : "SessionEnded",
                "the session is over, its pod is deleted");
    flow_start(&op->flow, delete_steps);
    return op;
}

/* ---- remove ---- */

/* The anchor comes last: as long as it is there, a sweep finds the session. */
static const KubeKind removed_kinds[] = {KUBE_PODS,    KUBE_SERVICES,      KUBE_SERVICE_ACCOUNTS,
                                         KUBE_SECRETS, KUBE_VOLUME_CLAIMS, KUBE_CONFIG_MAPS};

static char *selector(const Entry *e)
{
    return xasprintf("%s=%s", LABEL_SESSION, e->id);
}

static void on_namespace(Flow *f, json_t *ns)
{
    if (!ns || kube_deleting(ns))
        flow_finish(f); /* all of it goes, or has gone, with its namespace */
    else
        flow_next(f);
}

static void step_look_at_namespace(Flow *f)
{
    flow_get(f, KUBE_NAMESPACES, NULL, self(f)->e->ns, on_namespace);
}

static void step_delete_kind(Flow *f)
{
    RtOp *op = self(f);
    CLEANUP_FREE char *labels = selector(op->e);
    flow_delete_all(f, removed_kinds[op->at++], op->e->ns, labels);
}

static void on_left(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    KubeKind kind = removed_kinds[self(f)->at - 1];
    bool left = json_array_size(json_get_arr(body, "items")) > 0;
    if (e)
        flow_fail(f, e->err.code == ERR_FORBIDDEN ? ERR_UNAVAILABLE : e->err.code, "Kubernetes", e->err.msg);
    else if (left && kind != KUBE_PODS && kind != KUBE_VOLUME_CLAIMS) /* those end in their own time */
        flow_fail(f, ERR_UNAVAILABLE, "StillThere", kube_resource(kind)->plural);
    else
        flow_next(f);
}

static void step_check_kind(Flow *f)
{
    RtOp *op = self(f);
    CLEANUP_FREE char *labels = selector(op->e);
    f->call = kube_send(
        f->kube,
        KUBE_REQUEST(.verb = KUBE_LIST, .kind = removed_kinds[op->at++], .ns = op->e->ns, .labels = labels),
        on_left, f);
}

static void step_check(Flow *f)
{
    self(f)->at = 0;
    flow_next(f);
}

static const FlowStep remove_steps[] = {
    step_look_at_namespace, step_delete_kind, step_delete_kind, step_delete_kind, step_delete_kind,
    step_delete_kind,       step_delete_kind, step_check,       step_check_kind,  step_check_kind,
    step_check_kind,        step_check_kind,  step_check_kind,  step_check_kind,  NULL,
};

static void on_removed(Flow *f, const KubeError *e)
{
    RtOp *op = self(f);
    if (e) {
        op_fail(op, e);
        return;
    }
    Entry *entry = op->e;
    bool lingers = entry->pod != NULL; /* its end brings us back */
    entry->deleting = lingers;
    op->k->removed += !lingers;
    op->e = NULL;
    entry->op = NULL;
    if (!lingers)
        entry_drop(entry);
    op_end(op, NULL);
}

RtOp *kube_remove(Runtime *rt, Str id, RtDone done, void *arg)
{
    Entry *e = find(rt, id);
    RtOp *op = op_new(CONTAINER_OF(rt, KubeRuntime, base), e, done, arg);
    if (!e)
        return op_end_soon(op, ERR_OK, NULL);
    if (!e->ns) { /* nothing was ever made */
        op->e = NULL;
        e->op = NULL;
        entry_drop(e);
        return op_end_soon(op, ERR_OK, NULL);
    }
    op->flow.done = on_removed;
    flow_start(&op->flow, remove_steps);
    return op;
}

/* ---- chores ---- */

static void on_chore(void *arg, json_t *body, const KubeError *e)
{
    Entry *entry = arg;
    entry->chore = NULL;
    if (e && e->status != 404 && e->status != 409)
        log_warn("pod not deleted", F_STR("session_id", entry->id), F_ERR(&e->err));
}

static void delete_pod(Entry *e, int64_t grace)
{
    const KubeRequest r = {.verb = KUBE_DELETE,
                           .kind = KUBE_PODS,
                           .ns = e->ns,
                           .name = e->pod_name,
                           .uid = e->pod_uid,
                           .grace = grace,
                           .background = true};
    e->chore = kube_send(e->k->o.kube, &r, on_chore, e);
}

/* Between its creation and its end the watch may have been down: then it has never seen this pod, and will
   not say that it went. */
static void on_unseen(void *arg, json_t *body, const KubeError *e)
{
    Entry *entry = arg;
    entry->chore = NULL;
    if (!entry->pod || entry->answered_at == 0)
        return;
    entry->answered_at = clock_now(entry->k->o.clock);
    if ((e && e->status == 404) || (body && strcmp(kube_uid(body), entry->pod_uid) != 0))
        entry_pod_vanished(entry);
}

static void look_for_unseen(Entry *e)
{
    if (clock_now(e->k->o.clock) - e->answered_at < e->k->settings->missing_after)
        return;
    e->chore = kube_send(e->k->o.kube,
                         KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_PODS, .ns = e->ns, .name = e->pod_name,
                                      .background = true),
                         on_unseen, e);
}

static bool is_past(WallUsec since, Usec limit, WallUsec now)
{
    return since.us > 0 && now.us - since.us >= (int64_t)limit;
}

static void look_after(Entry *e, WallUsec now)
{
    const KubeSettings *s = e->k->settings;
    if (!e->pod || e->chore || e->op)
        return;
    if (e->answered_at > 0) {
        look_for_unseen(e);
        return;
    }
    WallUsec ended = e->pod->finished.us > 0 ? e->pod->finished : e->pod->created;
    if (e->pod->deletion.us != 0) {
        if (!is_past(e->pod->deletion, s->force_after, now))
            return;
        log_warn("pod does not end, it is deleted by force", F_STR("session_id", e->id),
                 F_STR("namespace", e->ns));
        entry_event(e, KUBE_EVENT_WARNING, "PodForceDeleted", "the pod did not end when it was told to");
        e->forced = true;
        delete_pod(e, 0);
    } else if (e->retired && entry_pod_over(e) && is_past(ended, s->pod_ttl, now)) {
        delete_pod(e, KUBE_GRACE_DEFAULT);
    }
}

void run_chores(void *arg)
{
    KubeRuntime *k = arg;
    WallUsec now = clock_wall(k->o.clock);
    MAP_FOREACH (k->all, it)
        look_after(it.value, now);
    timer_arm(k->chores, CHORES);
}
