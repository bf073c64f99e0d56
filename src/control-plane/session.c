#include "session-internal.h"

#include <assert.h>
#include "base/log.h"
#include "base/mem.h"

/* A pass that takes more steps than any path through the phases needs is going in circles. */
#define STEPS_MAX 12
/* After so many failures in a row the session is told. */
#define TROUBLE_AFTER 3
/* Removing needs a complete list that is not older than this. */
#define LIST_FRESH (120 * USEC_PER_SEC)

static void pass_free(Pass *p)
{
    obj_free(p->fresh);
    free(p->project_prompt);
    free(p->agent_prompt);
    free(p->credential_ids);
    free(p->trouble);
    free(p);
}

static bool is_idle(const Pass *p)
{
    return !p->call && !p->op && !p->credentials && !p->minting;
}

void pass_end(Pass *p, WqResult result, Usec after, const char *reason)
{
    assert(is_idle(p));
    WqRun *run = p->run;
    pass_free(p);
    wq_done(run, result, after, reason);
}

const char *pass_reason(const Err *err)
{
    return err_info(err->code)->name;
}

/* Who cannot be asked cannot be told either. */
static bool is_server_away(const Pass *p, const Err *err)
{
    return !p->op_failed && (err->code == ERR_UNAVAILABLE || err->code == ERR_DEADLINE);
}

void pass_fail_op(Pass *p, const Err *err)
{
    p->op_failed = true;
    pass_fail(p, err);
}

bool pass_unreachable(const Pass *p)
{
    const Runtime *rt = p->s->o.runtime;
    return p->op_failed && rt->ops->unreachable && rt->ops->unreachable(rt);
}

void pass_fail(Pass *p, const Err *err)
{
    unsigned failures = wq_failures(p->s->queue, str_from(p->id)) + 1;
    log_warn("handler failed, will retry", F_STR("reconciler", wq_name(p->s->queue)),
             F_STR("session_id", p->id), F_UINT("attempt", failures), F_ERR(err));
    if ((pass_unreachable(p) || (failures >= TROUBLE_AFTER && !is_server_away(p, err))) &&
        pass_write_trouble(p, err))
        return;
    pass_end(p, WQ_RETRY, 0, pass_reason(err));
}

/* ---- planning ---- */

static int64_t run_number(const Obj *session)
{
    int64_t n = obj_int(session, SESSION_SDK_RESTART_COUNT, 0);
    return n > 0 ? n : 0;
}

static Usec time_limit(const Sessions *s, const Obj *session)
{
    int64_t seconds = obj_int(session, SESSION_TIMEOUT, 0);
    return seconds > 0 ? (Usec)seconds * USEC_PER_SEC : s->o.time_limit;
}

void pass_plan(const Pass *p, const Obj *session, PlanSession *ret_session, Plan *ret)
{
    Sessions *s = p->s;
    *ret_session = (PlanSession){
        .phase = obj_phase(session),
        .run = run_number(session),
        .time_limit = time_limit(s, session),
        .has_completion_time = obj_has(session, SESSION_COMPLETION_TIME),
    };
    RtObserved seen = {0};
    s->o.runtime->ops->observe(s->o.runtime, str_from(p->id), &seen);
    plan_session(ret_session, &seen, clock_wall(s->o.clock), ret);
}

static void on_op(void *arg, const Err *err)
{
    Pass *p = arg;
    p->op = NULL;
    if (err)
        pass_fail_op(p, err);
    else
        pass_next(p);
}

static void pass_stop(Pass *p, RtStop why)
{
    Runtime *rt = p->s->o.runtime;
    log_info("stopping runner", F_STR("session_id", p->id), F_STR("reason", rt_stop_name(why)));
    p->op = rt->ops->stop(rt, str_from(p->id), why, on_op, p);
}

/* A runner's token is renewed for as long as it lives, whoever started it. */
static void follow_token(Pass *p)
{
    const Sessions *s = p->s;
    RtObserved seen = {0};
    if (!s->o.tokens)
        return;
    s->o.runtime->ops->observe(s->o.runtime, str_from(p->id), &seen);
    if (rt_alive(&seen))
        session_tokens_keep(s->o.tokens, str_from(p->id));
    else
        session_tokens_forget(s->o.tokens, str_from(p->id));
}

static void pass_retire(Pass *p)
{
    Runtime *rt = p->s->o.runtime;
    p->op = rt->ops->retire(rt, str_from(p->id), on_op, p);
}

static void pass_step(Pass *p, const Obj *session)
{
    assert(!cache_is_doubtful(p->s->o.cache, str_from(p->id)));
    PlanSession ps;
    Plan plan;
    follow_token(p);
    pass_plan(p, session, &ps, &plan);
    switch (plan.act) {
    case PLAN_START:
        pass_start(p);
        return;
    case PLAN_STOP:
        pass_stop(p, plan.stop);
        return;
    case PLAN_STATUS:
        pass_write_status(p, &plan);
        return;
    case PLAN_RETIRE:
        pass_revoke(p, pass_retire);
        return;
    case PLAN_NOTHING:
        if (pass_write_helpers(p, session))
            return;
        pass_end(p, plan.recheck == USEC_NEVER ? WQ_OK : WQ_AFTER, plan.recheck, NULL);
        return;
    }
}

void pass_next(Pass *p)
{
    assert(is_idle(p));
    if (++p->steps > STEPS_MAX) {
        pass_end(p, WQ_RETRY, 0, "no-progress");
        return;
    }
    Cache *c = p->s->o.cache;
    const Obj *session = cache_get(c, str_from(p->id));
    if (!session || cache_is_doubtful(c, str_from(p->id)))
        pass_get(p);
    else
        pass_step(p, session);
}

/* ---- sessions that are not there ---- */

static bool anything_exists(const Pass *p)
{
    Runtime *rt = p->s->o.runtime;
    return rt->ops->made_at(rt, str_from(p->id)).us != 0;
}

static void on_removed(void *arg, const Err *err)
{
    Pass *p = arg;
    p->op = NULL;
    if (err) {
        pass_fail_op(p, err);
        return;
    }
    log_info("session removed", F_STR("session_id", p->id));
    strays_forget(p->s->strays, str_from(p->id));
    pass_end(p, WQ_OK, 0, NULL);
}

static void remove_all(Pass *p)
{
    Runtime *rt = p->s->o.runtime;
    p->op = rt->ops->remove(rt, str_from(p->id), on_removed, p);
}

static void pass_remove(Pass *p)
{
    if (p->s->o.tokens)
        session_tokens_forget(p->s->o.tokens, str_from(p->id));
    pass_revoke(p, remove_all);
}

/* Nobody saw its deletion: doubt first. */
static void pass_stray(Pass *p)
{
    Sessions *s = p->s;
    Str id = str_from(p->id);
    Usec wait = LIST_FRESH;
    cache_drop(s->o.cache, id);
    StrayVerdict v = STRAY_RELIST;
    if (cache_list_age(s->o.cache) <= LIST_FRESH)
        v = strays_gone(s->strays, id, cache_lists(s->o.cache), &wait);
    switch (v) {
    case STRAY_REMOVE:
        pass_remove(p);
        return;
    case STRAY_RELIST:
        s->o.relist(s->o.arg); /* its end brings us back; the wait is for a server that cannot be listed */
        pass_end(p, WQ_WAIT, LIST_FRESH, NULL);
        return;
    case STRAY_WAIT:
        pass_end(p, WQ_WAIT, wait, NULL);
        return;
    case STRAY_KEEP:
        pass_end(p, WQ_OK, 0, NULL);
        return;
    }
}

void pass_absent(Pass *p)
{
    Sessions *s = p->s;
    Str id = str_from(p->id);
    if (!anything_exists(p)) {
        cache_drop(s->o.cache, id);
        strays_forget(s->strays, id);
        pass_end(p, WQ_OK, 0, NULL);
    } else if (cache_was_deleted(s->o.cache, id)) {
        pass_remove(p);
    } else {
        pass_stray(p);
    }
}

static void on_got(void *arg, Obj *o, const Err *err)
{
    Pass *p = arg;
    assert(!o == !!err);
    p->call = NULL;
    if (err && err->code == ERR_NOT_FOUND) {
        pass_absent(p);
    } else if (err) {
        pass_fail(p, err);
    } else {
        strays_forget(p->s->strays, str_from(p->id));
        cache_confirm(p->s->o.cache, o);
        pass_next(p);
    }
}

void pass_get(Pass *p)
{
    Api *api = p->s->o.api;
    p->call = api->ops->get(api, &kind_session, STR_NULL, str_from(p->id), on_got, p);
}

/* ---- the queue's side ---- */

static void queue_run(void *arg, const char *key, WqRun *run)
{
    size_t len = strlen(key);
    Pass *p = xcalloc(1, sizeof(*p) + len + 1);
    p->s = arg;
    p->run = run;
    memcpy(p->id, key, len);
    wq_run_set_data(run, p);
    Cache *c = p->s->o.cache;
    /* Known to be gone and nothing left of it: no reason to ask the server. */
    if (!cache_get(c, str_from(p->id)) && !anything_exists(p))
        pass_end(p, WQ_OK, 0, NULL);
    else
        pass_next(p);
}

static void queue_cancel(void *arg, const char *key, WqRun *run)
{
    Pass *p = wq_run_data(run);
    assert(p && p->run == run);
    log_warn("reconcile abandoned", F_STR("session_id", key), F_UINT("steps", p->steps));
    api_cancel(p->s->o.api, p->call);
    runtime_abandon(p->s->o.runtime, p->op);
    credentials_cancel(p->credentials);
    if (p->minting)
        session_tokens_cancel(p->s->o.tokens, str_from(p->id));
    pass_free(p);
}

static void queue_wake(void *arg)
{
    Sessions *s = arg;
    if (s->o.wake)
        s->o.wake(s->o.arg);
}

static double queue_random(void *arg)
{
    Sessions *s = arg;
    return s->o.random ? s->o.random(s->o.arg) : 0.5;
}

Sessions *sessions_new(const SessionsOptions *o)
{
    static const WqOps ops = {
        .run = queue_run, .cancel = queue_cancel, .wake = queue_wake, .random = queue_random};
    Sessions *s = xnew(Sessions);
    s->o = *o;
    s->strays = strays_new(o->clock, o->stray_young, o->stray_confirm);
    const WqOptions wo = {.name = "sessions", .clock = o->clock, .workers = o->workers};
    s->queue = wq_new(&wo, &ops, s);
    return s;
}

Sessions *sessions_free(Sessions *s)
{
    if (!s)
        return NULL;
    wq_free(s->queue);
    strays_free(s->strays);
    free(s);
    return NULL;
}

void sessions_add(Sessions *s, const char *id)
{
    wq_add(s->queue, str_from(id));
}

WorkQueue *sessions_queue(Sessions *s)
{
    return s->queue;
}

const Strays *sessions_strays(const Sessions *s)
{
    return s->strays;
}

/* ---- strays ---- */

typedef struct Round {
    Sessions *s;
    size_t existing;
} Round;

static bool is_unknown(const Sessions *s, Str id)
{
    const Cache *c = s->o.cache;
    return (!cache_get(c, id) || cache_is_doubtful(c, id)) && !cache_was_deleted(c, id);
}

static void round_each(void *arg, const char *id)
{
    Round *r = arg;
    Sessions *s = r->s;
    Str key = str_from(id);
    r->existing++;
    if (is_unknown(s, key))
        strays_round_add(s->strays, key, s->o.runtime->ops->made_at(s->o.runtime, key));
}

static void add_stray(void *arg, const char *id)
{
    sessions_add(arg, id);
}

void sessions_listed(Sessions *s)
{
    Round r = {s, 0};
    strays_round_begin(s->strays);
    s->o.runtime->ops->list(s->o.runtime, round_each, &r);
    if (!strays_round_end(s->strays, r.existing)) {
        log_error("many sessions are missing on the server; nothing is removed until three lists agree",
                  F_UINT("missing", strays_count(s->strays)), F_UINT("existing", r.existing));
        return;
    }
    strays_each(s->strays, add_stray, s);
}

static void count_unknown(void *arg, const char *id)
{
    Round *r = arg;
    r->existing += is_unknown(r->s, str_from(id));
}

static void add_deleted(void *arg, const char *id)
{
    Sessions *s = arg;
    if (cache_was_deleted(s->o.cache, str_from(id)))
        sessions_add(s, id);
}

void sessions_add_deleted(Sessions *s)
{
    s->o.runtime->ops->list(s->o.runtime, add_deleted, s);
}

void sessions_sweep(Sessions *s)
{
    Round r = {s, 0};
    sessions_add_deleted(s);
    s->o.runtime->ops->list(s->o.runtime, count_unknown, &r);
    if (r.existing > 0)
        s->o.relist(s->o.arg);
}
