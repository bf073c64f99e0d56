/*
 * What to do next about a session: a pure function of its newest state and of what the runtime observes. It
 * never looks at an event, so running it again after a crash at any point gives the step that is still
 * missing.
 */
#pragma once

#include "kinds/kind.h"
#include "runtime.h"

/* What a runner's exit status says. The first is told to it: another control plane takes 0 for such an end.
 */
#define RUNNER_EXIT_IDLE 15
#define RUNNER_EXIT_TIMEOUT 11

typedef struct PlanSession {
    Phase phase;
    int64_t run;     /* restart count */
    Usec time_limit; /* 0 = none */
    bool has_completion_time;
} PlanSession;

typedef enum PlanAct {
    PLAN_NOTHING,
    PLAN_START,  /* ensure() a runner of this run */
    PLAN_STOP,   /* stop() what runs, `stop` says why */
    PLAN_STATUS, /* write `phase` */
    PLAN_RETIRE, /* forget the ended run, its outcome is written */
} PlanAct;

typedef struct Plan {
    PlanAct act;
    RtStop stop;
    Phase phase;
    const char *reason;  /* CamelCase, for conditions; a constant, or own_reason */
    char own_reason[64]; /* where `reason` points when the runtime named it */
    char message[512];   /* as long as an Err holds */
    bool forced;         /* PHASE_STOPPED: by force */
    bool set_start_time, set_completion_time;
    WallUsec start_time, completion_time;
    Usec recheck; /* PLAN_NOTHING: look again by then; USEC_NEVER = only when something changes */
} Plan;

void plan_session(const PlanSession *s, const RtObserved *o, WallUsec now, Plan *ret);
/* The end of a session whose runner cannot be made. */
void plan_spawn_failed(const PlanSession *s, const Err *err, WallUsec now, Plan *ret);
