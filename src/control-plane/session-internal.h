/* One pass over one session; shared by the files of the session reconciler only. */
#pragma once

#include "conditions.h"
#include "plan.h"
#include "session.h"

struct Sessions {
    SessionsOptions o;
    WorkQueue *queue;
    Strays *strays;
};

typedef struct Pass {
    Sessions *s;
    WqRun *run;
    ApiCall *call; /* at most one of these is under way */
    RtOp *op;
    CredentialsCall *credentials;
    bool minting;   /* a token is asked for */
    bool revoked;   /* its grants were taken back in this pass */
    bool op_failed; /* the runtime, not the server */
    unsigned steps;
    Plan plan;                           /* of PLAN_STATUS, while its call is under way */
    Obj *fresh;                          /* starting: the session with its prompt */
    char *project_prompt, *agent_prompt; /* starting; NULL = none */
    char *credential_ids;                /* starting; NULL = not known yet */
    char *trouble;                       /* with its credentials; NULL = not looked at, "" = none */
    void (*after_revoke)(struct Pass *p);
    char id[];
} Pass;

/* Looks again and makes the next step. */
void pass_next(Pass *p);
void pass_end(Pass *p, WqResult result, Usec after, const char *reason);
/* Something failed: logs, tells the session when it keeps failing, ends with a retry. */
void pass_fail(Pass *p, const Err *err);
void pass_fail_op(Pass *p, const Err *err); /* the same of the runtime's operation */
bool pass_unreachable(const Pass *p);       /* what failed was to happen where nothing answers */
/* Asks the server; the answer goes into the cache, then pass_next(). */
void pass_get(Pass *p);
/* The server does not know this session. */
void pass_absent(Pass *p);
void pass_plan(const Pass *p, const Obj *session, PlanSession *ret_session, Plan *ret);
const char *pass_reason(const Err *err); /* for the retry metric */

/* Takes the session's grants back, then `next`. */
void pass_revoke(Pass *p, void (*next)(Pass *p));

void pass_start(Pass *p);                          /* PLAN_START */
void pass_write_status(Pass *p, const Plan *plan); /* PLAN_STATUS */
/* Writes what beside the runner does not work, or works again, if that is news. False: nothing to write. */
bool pass_write_helpers(Pass *p, const Obj *session);
/* Writes that the session cannot be reconciled, if that is news. False: nothing to write. Ends the pass. */
bool pass_write_trouble(Pass *p, const Err *err);
