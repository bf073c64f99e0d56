#include "plan.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void stop(Plan *p, RtStop why)
{
    p->act = PLAN_STOP;
    p->stop = why;
}

/* Writes `to`, or the phase that must come before it: a runner may be done before it was seen running. */
static void status(const PlanSession *s, Plan *p, Phase to, const char *reason)
{
    p->act = PLAN_STATUS;
    p->phase = phase_status_move_ok(s->phase, to) ? to : PHASE_RUNNING;
    p->reason = reason;
}

static void ended_at(Plan *p, const RtObserved *o, WallUsec now)
{
    p->set_completion_time = true;
    p->completion_time = o->ended_at.us > 0 ? o->ended_at : now;
}

static bool exited_with(const RtObserved *o, int code)
{
    return o->end == RT_END_EXIT && o->code == code && o->stop == RT_STOP_NONE;
}

static void describe_time_limit(const PlanSession *s, Plan *p)
{
    p->reason = "Timeout";
    snprintf(p->message, sizeof(p->message), "the session ran longer than its time limit of %llu s",
             (unsigned long long)(s->time_limit / USEC_PER_SEC));
}

static void describe_end(const RtObserved *o, Plan *p)
{
    if (o->reason) {
        snprintf(p->own_reason, sizeof(p->own_reason), "%s", o->reason);
        snprintf(p->message, sizeof(p->message), "%s", o->message ? o->message : "");
        p->reason = p->own_reason;
        return;
    }
    switch (o->end) {
    case RT_END_EXIT:
        p->reason = "ProcessExited";
        snprintf(p->message, sizeof(p->message), "exit code %d", o->code);
        return;
    case RT_END_SIGNAL: {
        const char *name = sigabbrev_np(o->code);
        p->reason = "ProcessExited";
        snprintf(p->message, sizeof(p->message), "killed by signal %d (SIG%s)", o->code, name ? name : "?");
        return;
    }
    case RT_END_OOM:
        p->reason = "OOMKilled";
        snprintf(p->message, sizeof(p->message), "the runner went over its memory limit");
        return;
    default:
        p->reason = "RunnerLost";
        snprintf(p->message, sizeof(p->message), "the runner is gone and left no exit status");
        return;
    }
}

static void describe_stop(const PlanSession *s, const RtObserved *o, Plan *p)
{
    switch (o->stop) {
    case RT_STOP_TIME_LIMIT:
        describe_time_limit(s, p);
        return;
    case RT_STOP_UNHEALTHY:
        p->reason = "HealthCheckTimeout";
        snprintf(p->message, sizeof(p->message), "the runner did not answer its health check in time");
        return;
    case RT_STOP_SHUTDOWN:
        p->reason = "ControlPlaneStopped";
        snprintf(p->message, sizeof(p->message), "the control plane was told to stop its runners");
        return;
    default:
        describe_end(o, p);
        return;
    }
}

/* A runner of this run has ended and the session does not know yet. */
static void plan_ended(const PlanSession *s, const RtObserved *o, WallUsec now, Plan *p)
{
    assert(o->state == RT_ENDED && o->end != RT_END_NONE);
    bool idle = exited_with(o, RUNNER_EXIT_IDLE), clean = idle || exited_with(o, 0);
    status(s, p, clean ? PHASE_COMPLETED : PHASE_FAILED,
           idle    ? "InactivityTimeout"
           : clean ? "Completed"
                   : NULL);
    if (idle)
        snprintf(p->message, sizeof(p->message), "the session had nothing to do for its inactivity timeout");
    else if (exited_with(o, RUNNER_EXIT_TIMEOUT) && s->time_limit) /* the runner was first to notice */
        describe_time_limit(s, p);
    else if (!clean)
        describe_stop(s, o, p);
    if (p->phase == PHASE_RUNNING) {
        p->reason = "RunnerStarted";
        p->set_start_time = s->phase != PHASE_CREATING;
        p->start_time = o->started_at;
        return;
    }
    ended_at(p, o, now);
}

static void plan_lost(const PlanSession *s, const RtObserved *o, WallUsec now, Plan *p)
{
    const RtObserved none = {.end = RT_END_LOST, .reason = o->reason, .message = o->message};
    if (o->recheck > 0) { /* it may only not have been seen yet */
        p->recheck = o->recheck;
        return;
    }
    status(s, p, PHASE_FAILED, NULL);
    describe_end(&none, p);
    ended_at(p, &none, now);
}

/* Stops a runner that has used up its time, or says when it will have. */
static void plan_time_limit(const PlanSession *s, const RtObserved *o, WallUsec now, Plan *p)
{
    if (s->time_limit == 0 || o->started_at.us <= 0)
        return;
    int64_t left = o->started_at.us + (int64_t)s->time_limit - now.us;
    if (left <= 0)
        stop(p, RT_STOP_TIME_LIMIT);
    else
        p->recheck = (Usec)left;
}

static void plan_alive(const PlanSession *s, const RtObserved *o, WallUsec now, Plan *p)
{
    assert(o->run == s->run);
    Phase want = o->state == RT_READY ? PHASE_RUNNING : PHASE_CREATING;
    if (o->unhealthy && s->phase != PHASE_RUNNING) {
        stop(p, RT_STOP_UNHEALTHY);
    } else if (s->phase != want && s->phase != PHASE_RUNNING) {
        status(s, p, want, want == PHASE_RUNNING ? "HealthCheckPassed" : "Spawned");
        p->set_start_time = s->phase != PHASE_CREATING;
        p->start_time = o->started_at;
    } else {
        plan_time_limit(s, o, now, p);
    }
    if (p->act == PLAN_NOTHING && o->recheck > 0 && o->recheck < p->recheck)
        p->recheck = o->recheck;
}

static void plan_active(const PlanSession *s, const RtObserved *o, WallUsec now, Plan *p)
{
    bool mine = o->state != RT_ABSENT && o->run == s->run;
    if (o->state == RT_STOPPING)
        return; /* its end comes as a change */
    if (!mine && rt_alive(o))
        stop(p, RT_STOP_SUPERSEDED);
    else if (mine && rt_alive(o))
        plan_alive(s, o, now, p);
    else if (mine)
        plan_ended(s, o, now, p);
    else if (s->phase == PHASE_NONE || s->phase == PHASE_PENDING)
        p->act = PLAN_START;
    else
        plan_lost(s, o, now, p); /* Creating and Running are written after the runner was made */
}

static void plan_stopping(const PlanSession *s, const RtObserved *o, WallUsec now, Plan *p)
{
    if (rt_alive(o) || o->doomed) {
        if (o->state != RT_STOPPING)
            stop(p, RT_STOP_USER);
        return;
    }
    status(s, p, PHASE_STOPPED, "Stopped");
    p->forced = o->forced;
    if (!s->has_completion_time)
        ended_at(p, o, now);
}

void plan_session(const PlanSession *s, const RtObserved *o, WallUsec now, Plan *p)
{
    *p = (Plan){.act = PLAN_NOTHING, .recheck = USEC_NEVER};
    if (s->phase == _PHASE_INVALID)
        return; /* a phase that a newer server may have: hands off */
    if (s->phase == PHASE_STOPPING) {
        plan_stopping(s, o, now, p);
    } else if (!phase_is_terminal(s->phase)) {
        plan_active(s, o, now, p);
    } else if (rt_alive(o)) {
        if (o->state != RT_STOPPING)
            stop(p, RT_STOP_SUPERSEDED);
    } else if (o->state == RT_ENDED) {
        p->act = PLAN_RETIRE;
    }
    assert(p->act != PLAN_STATUS || p->reason);
}

void plan_spawn_failed(const PlanSession *s, const Err *err, WallUsec now, Plan *p)
{
    *p = (Plan){.recheck = USEC_NEVER};
    status(s, p, PHASE_FAILED, "SpawnFailed");
    snprintf(p->message, sizeof(p->message), "%s", err->msg);
    p->set_completion_time = true;
    p->completion_time = now;
}
