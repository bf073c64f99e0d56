/* One pass over one schedule; shared by the files that run schedules only. */
#pragma once

#include "cron/cron.h"
#include "cron/zone.h"
#include "service-internal.h"

/* How many times that were missed are entered one by one; older ones are only counted. */
#define BACKLOG_MAX 100

/* Who waits for a session's end is woken by it; this is for an end that came at the same moment. */
#define QUEUE_LOOK ((int64_t)60 * (int64_t)USEC_PER_SEC)

typedef struct Backlog {
    WallUsec at[BACKLOG_MAX]; /* in order; the last one came last */
    size_t n;
    uint64_t dropped; /* older ones */
    bool endless;     /* more than those: nobody counted further back */
    bool last;        /* there is no next one */
    WallUsec next;
} Backlog;

typedef struct Pass {
    Op *op;
    Tx *tx;
    WallUsec now;
    const Obj *schedule;
    Cron cron;
    Zone *zone;
    Str failure; /* what the pass before could not start failed of; empty = this is the first try */
    bool failure_used, started;
    bool waiting; /* a run waits for a session's end */
    bool again;   /* there is more to do at once */
} Pass;

/* op->id is the schedule; op->payload the failure. op->created afterwards: it was a start that failed. */
int schedule_pass(Op *op, Tx *tx, Err *err);

Obj *run_new(const Obj *schedule, const char *cause, const char *outcome);
int run_started(Tx *tx, Str run_id, const Obj *session, Err *err);
/* What keeps a run from starting now: a session of its agent, or of the schedule. *ret NULL = nothing. */
int schedule_active_session(Tx *tx, const Obj *schedule, Obj **ret, Err *err);
/* Sets wake_at to what `schedule` says or to `at`, whichever comes first. */
void schedule_wake_by(const Obj *schedule, WallUsec at, Obj *changes);
int schedule_queued_run(Tx *tx, const Obj *schedule, Obj **ret, Err *err);

/* Whose rights its runs have, as a caller; the reference is the caller's. Any thread. */
Caller *schedule_owner(const Service *s, const Obj *schedule);
/* Starts its agent, or a plain session, as `who`, if that may. */
int schedule_start(Op *op, Tx *tx, const Obj *schedule, Caller *who, Obj **ret_session, Err *err);
