#include "kube-pod-view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kube-names.h"
#include "kube/kube.h"

static bool is(const char *a, const char *b)
{
    return a && strcmp(a, b) == 0;
}

static void copy(char *out, size_t size, const char *s)
{
    snprintf(out, size, "%s", s ? s : "");
}

/* What began and, of a long one, what it comes from: runtimes write the cause last. */
static void copy_message(char *out, size_t size, const char *s)
{
    size_t len = s ? strlen(s) : 0, head = size / 4;
    if (len < size)
        copy(out, size, s);
    else
        snprintf(out, size, "%.*s...%s", (int)head, s, s + len - (size - head - sizeof("...")));
}

/* A container that has run for so long is believed to work. */
#define HELPER_SETTLES (60 * USEC_PER_SEC)
#define COPY(field, s) copy(field, sizeof(field), s)
#define COPY_MESSAGE(field, s) copy_message(field, sizeof(field), s)

/* ---- reading ---- */

static const json_t *condition(const json_t *status, const char *type)
{
    const json_t *all = json_get_arr(status, "conditions");
    for (size_t i = 0; i < json_array_size(all); i++)
        if (is(json_get_str(json_array_get(all, i), "type"), type))
            return json_array_get(all, i);
    return NULL;
}

static void read_schedule(const json_t *pod, const json_t *status, PodView *v)
{
    const json_t *c = condition(status, "PodScheduled");
    const char *node = json_get_str(json_get_obj(pod, "spec"), "nodeName");
    v->scheduled = (node && *node) || is(json_get_str(c, "status"), "True");
    v->unscheduled_since = kube_time(c, "lastTransitionTime");
    if (v->unscheduled_since.us == 0)
        v->unscheduled_since = v->created;
    if (!v->scheduled && c)
        COPY_MESSAGE(v->text, json_get_str(c, "message"));
}

/* A container that waits for something that will not come by itself. ContainerCreating and PodInitializing
   are how every pod begins. */
static void read_waiting(const json_t *container, PodView *v)
{
    const json_t *w = json_get_obj(json_get_obj(container, "state"), "waiting");
    const char *reason = json_get_str(w, "reason");
    if (!reason || !*reason || is(reason, "ContainerCreating") || is(reason, "PodInitializing") ||
        *v->waiting)
        return;
    COPY(v->waiting, reason);
    COPY_MESSAGE(v->waiting_text, json_get_str(w, "message"));
}

static void read_runner(const json_t *container, PodView *v)
{
    const json_t *state = json_get_obj(container, "state");
    const json_t *running = json_get_obj(state, "running"), *end = json_get_obj(state, "terminated");
    v->container_running = running != NULL;
    v->ready = running && json_get_bool(container, "ready", false);
    if (!end)
        return;
    v->terminated = true;
    v->exit_code = (int)json_get_int(end, "exitCode", 0);
    v->signal = (int)json_get_int(end, "signal", 0);
    v->finished = kube_time(end, "finishedAt");
    COPY(v->reason, json_get_str(end, "reason"));
    COPY_MESSAGE(v->text, json_get_str(end, "message"));
}

static const json_t *find_runner(const json_t *status)
{
    const json_t *all = json_get_arr(status, "containerStatuses");
    for (size_t i = 0; i < json_array_size(all); i++)
        if (is(json_get_str(json_array_get(all, i), "name"), RUNNER_CONTAINER))
            return json_array_get(all, i);
    return NULL;
}

static void set_helper(const json_t *container, const char *reason, const char *what, PodView *v)
{
    if (*v->helper_reason)
        return; /* one is enough to look at */
    COPY(v->helper_reason, reason);
    snprintf(v->helper_text, sizeof v->helper_text, "%s %s", json_get_str(container, "name"), what);
}

/* No words of the kubelet: they name the seconds until its next try, and a condition is no log. */
static void read_helper(const json_t *container, const PodView *old, WallUsec now, PodView *v)
{
    const json_t *state = json_get_obj(container, "state");
    const char *waits = json_get_str(json_get_obj(state, "waiting"), "reason");
    WallUsec well = kube_time(json_get_obj(state, "running"), "startedAt");
    well.us += well.us ? (int64_t)HELPER_SETTLES : 0;
    if (waits && *waits && !is(waits, "ContainerCreating") && !is(waits, "PodInitializing")) {
        bool image = strstr(waits, "Image") != NULL;
        set_helper(container, image ? "ImageUnavailable" : waits,
                   image ? "has no image that can be pulled" : "cannot run", v);
    } else if (json_get_obj(state, "terminated")) {
        set_helper(container, "Ended", "has ended", v);
    } else if (old && *old->helper_reason && well.us > now.us && !*v->helper_reason) {
        COPY(v->helper_reason, old->helper_reason); /* between two crashes it runs, too */
        COPY(v->helper_text, old->helper_text);
        v->helper_well = well;
    }
}

/* A sidecar does not decide about the runner, except that one of the first sort must have begun before it. */
static void read_containers(const json_t *status, const PodView *old, WallUsec now, PodView *v)
{
    static const char *const lists[] = {"initContainerStatuses", "containerStatuses"};
    const json_t *runner = find_runner(status);
    if (runner) {
        read_runner(runner, v);
        read_waiting(runner, v);
    }
    for (size_t l = 0; l < ARRAY_LEN(lists); l++) {
        const json_t *all = json_get_arr(status, lists[l]);
        for (size_t i = 0; i < json_array_size(all); i++) {
            const json_t *c = json_array_get(all, i);
            if (c == runner)
                continue;
            read_helper(c, old, now, v);
            if (l == 0 && !v->container_running && !v->terminated)
                read_waiting(c, v);
        }
    }
}

/* The pod's own reason (Evicted, DeadlineExceeded, NodeLost) says more than its container's. */
static void read_pod_reason(const json_t *status, PodView *v)
{
    const char *reason = json_get_str(status, "reason");
    if (!reason || !*reason)
        return;
    COPY(v->reason, reason);
    COPY_MESSAGE(v->text, json_get_str(status, "message"));
}

static void read_addresses(const json_t *status, PodView *v)
{
    const json_t *all = json_get_arr(status, "podIPs");
    COPY(v->addresses[0], json_get_str(status, "podIP"));
    for (size_t i = 0; i < json_array_size(all); i++) {
        const char *a = json_get_str(json_array_get(all, i), "ip");
        if (a && strcmp(a, v->addresses[0]) != 0)
            COPY(v->addresses[1], a);
    }
}

static void read_node(const json_t *status, PodView *v)
{
    const json_t *ready = condition(status, "Ready");
    v->node_lost = is(v->phase, "Unknown") || is(json_get_str(status, "reason"), "NodeLost") ||
                   is(json_get_str(ready, "reason"), "NodeLost") ||
                   is(json_get_str(ready, "status"), "Unknown");
}

/* Pods of the reference do not say it: they are of the first run. */
static int64_t read_run(const json_t *pod)
{
    int64_t n;
    const char *text = kube_annotation(pod, ANNOTATION_RUN);
    return text && str_to_i64(str_from(text), &n) == 0 && n >= 0 ? n : 0;
}

static bool has_volume(const json_t *pod, const char *name)
{
    const json_t *all = json_get_arr(json_get_obj(pod, "spec"), "volumes");
    for (size_t i = 0; i < json_array_size(all); i++)
        if (is(json_get_str(json_array_get(all, i), "name"), name))
            return true;
    return false;
}

/* The server writes when the grace ends, not when it began. */
static WallUsec asked_at(const json_t *meta)
{
    WallUsec end = kube_time(meta, "deletionTimestamp");
    int64_t grace = json_get_int(meta, "deletionGracePeriodSeconds", 0);
    if (end.us == 0 || grace < 0 || grace > 86400)
        return end;
    return (WallUsec){end.us - grace * (int64_t)USEC_PER_SEC};
}

void pod_view_read(const json_t *pod, const PodView *old, WallUsec now, PodView *v)
{
    const json_t *status = json_get_obj(pod, "status");
    const char *stop = kube_annotation(pod, ANNOTATION_STOP);
    PodView n = {.exists = true, .run = read_run(pod), .created = kube_created(pod)};
    if (n.created.us == 0)
        n.created = now; /* not a pod that a server sends */
    n.deletion = asked_at(json_get_obj(pod, "metadata"));
    n.stop = stop ? rt_stop_parse(str_from(stop)) : RT_STOP_NONE;
    COPY(n.phase, json_get_str(status, "phase"));
    read_schedule(pod, status, &n);
    read_containers(status, old, now, &n);
    read_pod_reason(status, &n);
    read_node(status, &n);
    read_addresses(status, &n);
    n.token_file = has_volume(pod, KUBE_TOKEN_VOLUME);
    n.identity = has_volume(pod, KUBE_IDENTITY_VOLUME);
    COPY(n.key_id, kube_annotation(pod, ANNOTATION_KEY));
    bool waited = old && old->exists && *old->waiting;
    bool was_lost = old && old->exists && old->node_lost;
    if (*n.waiting)
        n.waiting_since = waited ? old->waiting_since : now;
    if (n.node_lost)
        n.node_lost_since = was_lost ? old->node_lost_since : now;
    *v = n;
}

/* ---- judging ---- */

/* Waiting reasons that the kubelet tries to get out of, and for how long we let it; others are of its
 * beginning. */
static Usec patience(const PodView *v, const KubeSettings *s)
{
    static const struct {
        const char *reason;
        bool image;
    } reasons[] = {
        {"ImagePullBackOff", true},
        {"ErrImagePull", true},
        {"ErrImageNeverPull", true},
        {"ImageInspectError", true},
        {"RegistryUnavailable", true},
        {"InvalidImageName", false},
        {"CreateContainerConfigError", false},
        {"CreateContainerError", false},
        {"RunContainerError", false},
        {"CrashLoopBackOff", false},
        {"StartError", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (strcmp(v->waiting, reasons[i].reason) == 0)
            return reasons[i].image ? s->image_timeout : s->config_timeout;
    return USEC_NEVER;
}

/* True when `since` is longer ago than `limit`; else the time left may shorten the recheck. */
static bool lasted(WallUsec since, Usec limit, WallUsec now, RtObserved *o)
{
    if (limit == USEC_NEVER)
        return false;
    int64_t left = since.us + (int64_t)limit - now.us;
    if (left <= 0)
        return true;
    if (o->recheck == 0 || (Usec)left < o->recheck)
        o->recheck = (Usec)left;
    return false;
}

static void doom(RtObserved *o, const char *reason, const char *message, WallUsec now)
{
    o->state = RT_ENDED;
    o->doomed = true;
    o->end = RT_END_LOST;
    o->reason = reason;
    o->message = message;
    o->ended_at = now;
}

/* A runner that is told to end does so with 0, but nobody has stopped its session: somebody deleted the pod,
   or drained its node. Times are in seconds; one who had finished in the same second was that quick. */
static bool was_taken_away(const PodView *v)
{
    return v->deletion.us != 0 && v->stop == RT_STOP_NONE && v->finished.us >= v->deletion.us;
}

static void judge_end(const PodView *v, RtObserved *o)
{
    o->state = RT_ENDED;
    o->ended_at = v->finished;
    o->code = v->exit_code;
    o->end = RT_END_EXIT;
    bool clean = v->terminated ? v->exit_code == 0 : strcmp(v->phase, "Succeeded") == 0;
    if (clean && was_taken_away(v)) {
        o->end = RT_END_LOST;
        o->reason = "PodMissing";
        o->message = "the pod was deleted while its runner was at work";
    }
    if (clean)
        return;
    if (strcmp(v->reason, "OOMKilled") == 0) {
        o->end = RT_END_OOM;
    } else if (*v->reason && strcmp(v->reason, "Error") != 0 && strcmp(v->reason, "Completed") != 0) {
        o->reason = v->reason; /* Evicted, DeadlineExceeded, ContainerCannotRun ... */
        o->message = v->text;
        o->end = v->terminated ? RT_END_EXIT : RT_END_LOST;
    } else if (v->signal > 0 || v->exit_code > 128) {
        o->end = RT_END_SIGNAL;
        o->code = v->signal > 0 ? v->signal : v->exit_code - 128;
    } else if (!v->terminated) {
        o->end = RT_END_LOST;
    }
}

static void judge_alive(const PodView *v, const KubeSettings *s, WallUsec now, RtObserved *o)
{
    o->state = v->ready ? RT_READY : RT_STARTING;
    if (v->node_lost) {
        if (lasted(v->node_lost_since, s->node_timeout, now, o))
            doom(o, "NodeLost", "the node of the pod does not answer", now);
        return;
    }
    if (!v->scheduled && lasted(v->unscheduled_since, s->schedule_timeout, now, o))
        doom(o, "Unschedulable", *v->text ? v->text : "no node takes the pod", now);
    else if (*v->waiting && lasted(v->waiting_since, patience(v, s), now, o))
        doom(o, v->waiting, v->waiting_text, now);
    if (o->doomed || !*v->helper_reason || (v->helper_well.us && lasted(v->helper_well, 0, now, o)))
        return;
    o->helper_reason = v->helper_reason;
    o->helper_message = v->helper_text;
}

static bool has_ended(const PodView *v)
{
    return v->terminated || strcmp(v->phase, "Succeeded") == 0 || strcmp(v->phase, "Failed") == 0;
}

void pod_view_judge(const PodView *v, const KubeSettings *s, WallUsec now, RtObserved *o)
{
    *o = (RtObserved){.run = v->run, .stop = v->stop, .started_at = v->created};
    if (has_ended(v))
        judge_end(v, o);
    else if (v->deletion.us != 0)
        o->state = RT_STOPPING;
    else
        judge_alive(v, s, now, o);
}

bool pod_view_over(const PodView *v)
{
    return strcmp(v->phase, "Succeeded") == 0 || strcmp(v->phase, "Failed") == 0;
}
