#include "session-internal.h"

#include <assert.h>
#include "base/log.h"
#include "base/mem.h"
#include "prompt.h"

/* How soon to look again when there is no place for another runner. */
#define NO_PLACE_WAIT (2 * USEC_PER_SEC)
#define PROMPT_MAX (4 * 1024 * 1024)

/* A session starts without its credentials when they cannot be found out after that many tries: 2, 4, 8 ...
   30 s apart, two minutes in all. */
#define CREDENTIALS_TRIES 7

/*
 * Before a runner is made: the session as the server has it now (the cache keeps no prompt, and the last word
 * on "still wanted" must be fresh), then the prompts of its project and its agent, its credentials, and at
 * last its token.
 */

/* The session cannot be run, now or later: its runner would fail in the same way again. */
static bool is_permanent(const Err *err)
{
    switch (err->code) {
    case ERR_INVALID:
    case ERR_NOT_FOUND:
    case ERR_FORBIDDEN:
    case ERR_TOO_LARGE:
        return true;
    default:
        return false;
    }
}

static void fail_session(Pass *p, const Err *err)
{
    const Obj *session = cache_get(p->s->o.cache, str_from(p->id));
    if (!session) {
        pass_next(p); /* deleted meanwhile */
        return;
    }
    PlanSession ps;
    Plan plan;
    pass_plan(p, session, &ps, &plan);
    if (plan.act != PLAN_START) {
        pass_next(p);
        return;
    }
    plan_spawn_failed(&ps, err, clock_wall(p->s->o.clock), &plan);
    pass_write_status(p, &plan);
}

static void on_ensured(void *arg, const Err *err)
{
    Pass *p = arg;
    assert(p->fresh && !p->call);
    p->op = NULL;
    if (!err) {
        pass_next(p);
    } else if (err->code == ERR_RATE_LIMITED) {
        log_info("no place for another runner", F_STR("session_id", p->id), F_ERR(err));
        pass_end(p, WQ_WAIT, NO_PLACE_WAIT, NULL);
    } else if (is_permanent(err)) {
        log_warn("runner cannot be started", F_STR("session_id", p->id), F_ERR(err));
        fail_session(p, err);
    } else {
        pass_fail_op(p, err);
    }
}

/* The token is borrowed for the call. */
static void ensure_runner(Pass *p, const Secret *token)
{
    assert(p->fresh && !p->call && !p->op);
    PlanSession ps;
    Plan plan;
    /* The calls took time: what was planned may not be wanted any more. */
    const Obj *now = cache_get(p->s->o.cache, str_from(p->id));
    if (now)
        pass_plan(p, now, &ps, &plan);
    if (!now || plan.act != PLAN_START) {
        pass_next(p);
        return;
    }
    const Str parts[] = {str_from(p->project_prompt), str_from(p->agent_prompt),
                         obj_str(p->fresh, SESSION_PROMPT)};
    CLEANUP_BUF Buf prompt = BUF_INIT(PROMPT_MAX);
    prompt_join(parts, ARRAY_LEN(parts), &prompt);
    const RtSpec spec = {
        .session = p->fresh,
        .run = ps.run,
        .initial_prompt = buf_str(&prompt),
        .token = token,
        .credential_ids = str_from(p->credential_ids),
    };
    Runtime *rt = p->s->o.runtime;
    p->op = rt->ops->ensure(rt, &spec, on_ensured, p);
}

/* ---- a token ---- */

static void on_token(void *arg, const Secret *token, const Err *err)
{
    Pass *p = arg;
    p->minting = false;
    if (!err)
        ensure_runner(p, token);
    else if (err->code == ERR_NOT_FOUND || err->code == ERR_CONFLICT)
        pass_get(p); /* over, or gone, before it began */
    else
        pass_fail(p, err);
}

static void get_token(Pass *p)
{
    SessionTokens *t = p->s->o.tokens;
    if (!t) {
        ensure_runner(p, NULL);
        return;
    }
    p->minting = true;
    session_tokens_mint(t, str_from(p->id), on_token, p);
}

/* ---- credentials ---- */

static void on_credentials(void *arg, Str ids, Str trouble, const Err *err)
{
    Pass *p = arg;
    p->credentials = NULL;
    if (err && wq_failures(p->s->queue, str_from(p->id)) + 1 < CREDENTIALS_TRIES) {
        pass_fail(p, err);
        return;
    }
    if (err)
        log_error("a session starts without its credentials", F_STR("session_id", p->id), F_ERR(err));
    p->credential_ids = err || str_eqz(ids, "{}") ? NULL : str_dup(ids);
    p->trouble = err ? xstrdup(err->msg) : str_dup(trouble);
    get_token(p);
}

static void get_credentials(Pass *p)
{
    Credentials *c = p->s->o.credentials;
    const CredentialsFor f = {str_from(p->id), obj_str(p->fresh, SESSION_PROJECT_ID),
                              obj_str(p->fresh, SESSION_AGENT_ID)};
    if (c)
        p->credentials = credentials_resolve(c, &f, on_credentials, p);
    else
        get_token(p);
}

/* They are of no use to anybody once the session is over. What cannot be taken back now is logged: the server
   does not take the session's token any more either. */
static void on_revoked(void *arg, const Err *err)
{
    Pass *p = arg;
    p->credentials = NULL;
    p->revoked = true;
    if (err)
        log_warn("grants of a session are left", F_STR("session_id", p->id), F_ERR(err));
    p->after_revoke(p);
}

void pass_revoke(Pass *p, void (*next)(Pass *p))
{
    Credentials *c = p->s->o.credentials;
    p->after_revoke = next;
    if (c && !p->revoked)
        p->credentials = credentials_revoke(c, str_from(p->id), on_revoked, p);
    else
        next(p);
}

/* ---- prompts ---- */

/* What is not there (any more) has no prompt; an agent may have been deleted after the session was made. */
static bool prompt_missing(const Err *err)
{
    return err->code == ERR_NOT_FOUND || err->code == ERR_FORBIDDEN;
}

static void on_agent(void *arg, Obj *o, const Err *err)
{
    Pass *p = arg;
    p->call = NULL;
    CLEANUP(obj_freep) Obj *agent = o;
    if (err && !prompt_missing(err)) {
        pass_fail(p, err);
        return;
    }
    p->agent_prompt = agent ? str_dup(obj_str(agent, AGENT_PROMPT)) : NULL;
    get_credentials(p);
}

static void get_agent(Pass *p)
{
    Str agent = obj_str(p->fresh, SESSION_AGENT_ID), project = obj_str(p->fresh, SESSION_PROJECT_ID);
    if (agent.len == 0 || project.len == 0) {
        get_credentials(p);
        return;
    }
    Api *api = p->s->o.api;
    p->call = api->ops->get(api, &kind_agent, project, agent, on_agent, p);
}

static void on_project(void *arg, Obj *o, const Err *err)
{
    Pass *p = arg;
    p->call = NULL;
    CLEANUP(obj_freep) Obj *project = o;
    if (err && !prompt_missing(err)) {
        pass_fail(p, err);
        return;
    }
    p->project_prompt = project ? str_dup(obj_str(project, PROJECT_PROMPT)) : NULL;
    get_agent(p);
}

static void get_project(Pass *p)
{
    Str project = obj_str(p->fresh, SESSION_PROJECT_ID);
    if (project.len == 0) {
        get_agent(p);
        return;
    }
    Api *api = p->s->o.api;
    p->call = api->ops->get(api, &kind_project, STR_NULL, project, on_project, p);
}

static void on_session(void *arg, Obj *o, const Err *err)
{
    Pass *p = arg;
    p->call = NULL;
    if (err && err->code == ERR_NOT_FOUND) {
        pass_absent(p);
        return;
    }
    if (err) {
        pass_fail(p, err);
        return;
    }
    p->fresh = o;
    cache_confirm(p->s->o.cache, obj_dup(o));
    get_project(p);
}

void pass_start(Pass *p)
{
    Runtime *rt = p->s->o.runtime;
    const char *why = "";
    if (rt->ops->unreachable && rt->ops->unreachable(rt)) {
        Err err = {0};
        err_set(&err, ERR_UNAVAILABLE, "the cluster does not answer");
        pass_fail_op(p, &err);
        return;
    }
    if (rt->ops->may_start && !rt->ops->may_start(rt, cache_get(p->s->o.cache, str_from(p->id)), &why)) {
        log_debug("a session cannot start yet", F_STR("session_id", p->id), F_STR("reason", why));
        pass_end(p, WQ_WAIT, NO_PLACE_WAIT, NULL);
        return;
    }
    p->fresh = obj_free(p->fresh);
    free(TAKE(p->project_prompt));
    free(TAKE(p->agent_prompt));
    free(TAKE(p->credential_ids));
    free(TAKE(p->trouble));
    Api *api = p->s->o.api;
    p->call = api->ops->get(api, &kind_session, STR_NULL, str_from(p->id), on_session, p);
}
