#include "grant-sweep.h"

#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "base/vec.h"

/* In one round; the next one goes on. */
#define ROUND_MAX 1000

struct GrantSweep {
    GrantSweepOptions o;
    CredentialsCall *call;
    VEC_OF(char *)
    over; /* sessions whose grants are to go */
};

GrantSweep *grant_sweep_new(const GrantSweepOptions *o)
{
    GrantSweep *s = xnew(GrantSweep);
    s->o = *o;
    return s;
}

GrantSweep *grant_sweep_free(GrantSweep *s)
{
    if (!s)
        return NULL;
    credentials_cancel(s->call);
    VEC_FOREACH (&s->over, id)
        free(*id);
    vec_free(&s->over);
    free(s);
    return NULL;
}

static bool is_noted(const GrantSweep *s, Str id)
{
    VEC_FOREACH (&s->over, have)
        if (str_eqz(id, *have))
            return true;
    return false;
}

static void on_grant(void *arg, Str session_id)
{
    GrantSweep *s = arg;
    if (s->over.len < ROUND_MAX && !is_noted(s, session_id) && s->o.is_over(s->o.arg, session_id))
        vec_push(&s->over, str_dup(session_id));
}

static void revoke_next(GrantSweep *s);

static void on_revoked(void *arg, const Err *err)
{
    GrantSweep *s = arg;
    s->call = NULL;
    if (err)
        log_warn("grants of sessions that are over are left", F_ERR(err));
    revoke_next(s);
}

static void revoke_next(GrantSweep *s)
{
    CLEANUP_FREE char *id = NULL;
    while (s->over.len > 0 && !id) {
        id = vec_pop(&s->over);
        if (!s->o.is_over(s->o.arg, str_from(id))) /* started again meanwhile, with new grants */
            free(TAKE(id));
    }
    if (!id)
        return;
    log_info("a session that is over held grants", F_STR("session_id", id));
    s->call = credentials_revoke(s->o.credentials, str_from(id), on_revoked, s);
}

static void on_listed(void *arg, const Err *err)
{
    GrantSweep *s = arg;
    s->call = NULL;
    if (err)
        log_warn("grants cannot be listed", F_ERR(err));
    revoke_next(s);
}

void grant_sweep_run(GrantSweep *s)
{
    if (!s->call)
        s->call = credentials_each_grant(s->o.credentials, on_grant, on_listed, s);
}
