#include "session-internal.h"

#include <assert.h>
#include "base/log.h"

#define SIDECAR_FAILED "CredentialSidecarFailed"
#define UNREACHABLE_TEXT "nothing can be started or stopped until the cluster answers again; nothing is lost"
#define STATUS_MAX (128 * 1024)

/* What the conditions say about a phase that is being entered. */
static void describe(const Pass *p, const Plan *plan, Conditions *c)
{
    const char *spawned = p->s->o.runtime->ops->spawned_condition;
    bool spawn_failed = strcmp(plan->reason, "SpawnFailed") == 0;
    switch (plan->phase) {
    case PHASE_CREATING:
        conditions_set(c, spawned, true, "Spawned", NULL);
        conditions_set(c, "RunnerStarted", false, "Starting", NULL);
        conditions_set(c, "Ready", false, "Starting", NULL);
        break;
    case PHASE_RUNNING:
        conditions_set(c, spawned, true, "Spawned", NULL);
        conditions_set(c, "RunnerStarted", true, plan->reason, NULL);
        conditions_set(c, "Ready", true, plan->reason, NULL);
        break;
    default:
        if (spawn_failed)
            conditions_set(c, spawned, false, plan->reason, plan->message);
        if (strcmp(plan->reason, "HealthCheckTimeout") == 0)
            conditions_set(c, "RunnerStarted", false, plan->reason, plan->message);
        conditions_set(c, "Ready", false, plan->reason, plan->message);
        break;
    }
    if (plan->forced)
        conditions_set(c, "PodForceDeleted", true, "PodForceDeleted",
                       "the pod did not end when it was told to");
    if (p->trouble && *p->trouble)
        conditions_set(c, "CredentialsUnavailable", true, "NotInjected", p->trouble);
    else if (p->trouble && conditions_has(c, "CredentialsUnavailable"))
        conditions_set(c, "CredentialsUnavailable", false, "Injected", NULL);
    if (conditions_has(c, "Reconciled"))
        conditions_set(c, "Reconciled", true, "Reconciled", NULL);
    const char *unreachable = p->s->o.runtime->ops->unreachable_condition;
    if (unreachable && conditions_has(c, unreachable))
        conditions_set(c, unreachable, false, "Answered", NULL);
}

static void add_field(Buf *b, bool *first, const char *key, Str value)
{
    json_key(b, first, key);
    json_write_str(b, value);
}

static void add_time(Buf *b, bool *first, const char *key, WallUsec t)
{
    char text[RFC3339_MAX];
    add_field(b, first, key, rfc3339_format(t, text));
}

static void add_conditions(Buf *b, bool *first, const Conditions *c)
{
    CLEANUP_BUF Buf text = BUF_INIT(STATUS_MAX / 2);
    conditions_write(c, &text);
    add_field(b, first, "conditions", buf_str(&text));
}

static const char *place_of(const Pass *p, const Obj *session)
{
    const Runtime *rt = p->s->o.runtime;
    return rt->ops->place ? rt->ops->place(rt, session) : p->s->o.place;
}

static void write_body(const Pass *p, const Plan *plan, const Obj *session, Buf *b)
{
    CLEANUP_CONDITIONS Conditions c;
    conditions_init(&c, obj_str(session, SESSION_CONDITIONS), clock_wall(p->s->o.clock));
    describe(p, plan, &c);
    bool first = true;
    buf_addc(b, '{');
    add_field(b, &first, "phase", str_from(phase_name(plan->phase)));
    if (plan->phase == PHASE_CREATING || plan->phase == PHASE_RUNNING)
        add_field(b, &first, "kube_namespace", str_from(place_of(p, session)));
    if (plan->set_start_time)
        add_time(b, &first, "start_time", plan->start_time);
    if (plan->set_completion_time)
        add_time(b, &first, "completion_time", plan->completion_time);
    if (c.changed)
        add_conditions(b, &first, &c);
    buf_addc(b, '}');
}

static void log_phase(const Pass *p)
{
    const Plan *plan = &p->plan;
    log_info("session phase updated", F_STR("session_id", p->id), F_STR("phase", phase_name(plan->phase)),
             F_STR("reason", plan->reason), F_STR("detail", plan->message));
}

static void on_written(void *arg, Obj *o, const Err *err)
{
    Pass *p = arg;
    assert(!o == !!err);
    p->call = NULL;
    if (!err) {
        log_phase(p);
        cache_confirm(p->s->o.cache, o); /* our own write is the newest state; its event will find it known */
        if (phase_is_terminal(p->plan.phase)) /* here, as nothing may be left to be retired */
            pass_revoke(p, pass_next);
        else
            pass_next(p);
    } else if (err->code == ERR_NOT_FOUND) {
        pass_absent(p);
    } else if (err->code == ERR_CONFLICT || err->code == ERR_PRECONDITION) {
        log_debug("session moved on", F_STR("session_id", p->id), F_STR("phase", phase_name(p->plan.phase)));
        pass_get(p);
    } else {
        pass_fail(p, err);
    }
}

static ApiCall *patch(const Pass *p, Phase if_phase, const Buf *b, ApiDone done, void *arg)
{
    Api *api = p->s->o.api;
    assert(!b->failed);
    return api->ops->patch_status(api, str_from(p->id), if_phase, buf_str(b), done, arg);
}

void pass_write_status(Pass *p, const Plan *plan)
{
    const Obj *session = cache_get(p->s->o.cache, str_from(p->id));
    assert(session && !p->call && !p->op);
    CLEANUP_BUF Buf b = BUF_INIT(STATUS_MAX);
    write_body(p, plan, session, &b);
    p->plan = *plan;
    if (plan->reason == plan->own_reason)
        p->plan.reason = p->plan.own_reason;
    p->call = patch(p, obj_phase(session), &b, on_written, p);
}

/* ---- conditions without a phase ---- */

static void patch_conditions(Pass *p, const Obj *session, const Conditions *c, ApiDone done)
{
    CLEANUP_BUF Buf b = BUF_INIT(STATUS_MAX);
    bool first = true;
    buf_addc(&b, '{');
    add_conditions(&b, &first, c);
    buf_addc(&b, '}');
    p->call = patch(p, obj_phase(session), &b, done, p);
}

static void on_helpers_written(void *arg, Obj *o, const Err *err)
{
    Pass *p = arg;
    p->call = NULL;
    if (!err)
        cache_confirm(p->s->o.cache, o);
    if (err && err->code != ERR_CONFLICT && err->code != ERR_PRECONDITION && err->code != ERR_NOT_FOUND)
        pass_fail(p, err);
    else if (err)
        pass_get(p);
    else
        pass_next(p);
}

bool pass_write_helpers(Pass *p, const Obj *session)
{
    RtObserved seen = {0};
    Phase phase = obj_phase(session);
    if (phase != PHASE_CREATING && phase != PHASE_RUNNING)
        return false;
    p->s->o.runtime->ops->observe(p->s->o.runtime, str_from(p->id), &seen);
    CLEANUP_CONDITIONS Conditions c;
    conditions_init(&c, obj_str(session, SESSION_CONDITIONS), clock_wall(p->s->o.clock));
    if (seen.helper_reason) {
        conditions_set(&c, SIDECAR_FAILED, true, seen.helper_reason, seen.helper_message);
    } else if (conditions_has(&c, SIDECAR_FAILED) && rt_alive(&seen)) {
        conditions_set(&c, SIDECAR_FAILED, false, "Running", NULL);
    }
    if (!c.changed)
        return false;
    if (seen.helper_reason)
        log_warn("a sidecar does not work", F_STR("session_id", p->id), F_STR("reason", seen.helper_reason),
                 F_STR("detail", seen.helper_message));
    patch_conditions(p, session, &c, on_helpers_written);
    return true;
}

/* The trouble itself decides how the pass ends, whatever became of writing it down. */
static void on_trouble_written(void *arg, Obj *o, const Err *err)
{
    Pass *p = arg;
    p->call = NULL;
    if (!err)
        cache_confirm(p->s->o.cache, o);
    pass_end(p, WQ_RETRY, 0, p->plan.reason);
}

bool pass_write_trouble(Pass *p, const Err *err)
{
    const Obj *session = cache_get(p->s->o.cache, str_from(p->id));
    if (!session || phase_is_terminal(obj_phase(session)))
        return false;
    CLEANUP_CONDITIONS Conditions c;
    conditions_init(&c, obj_str(session, SESSION_CONDITIONS), clock_wall(p->s->o.clock));
    if (pass_unreachable(p))
        conditions_set(&c, p->s->o.runtime->ops->unreachable_condition, true, "NoAnswer", UNREACHABLE_TEXT);
    else
        conditions_set(&c, "Reconciled", false, "ReconcileError", err->msg);
    if (!c.changed)
        return false;
    p->plan.reason = pass_reason(err);
    patch_conditions(p, session, &c, on_trouble_written);
    return true;
}
