/*
 * The work queue of one reconciler: a set of keys that need work. A key waits at most once, at most one run
 * per key is going on, and a key that is added while its run goes on is run again afterwards. A failed key
 * comes back after a backoff of its own and never gets lost; what is due first runs first, whichever was
 * queued first. Adding never blocks and has no bound but the number of distinct keys.
 *
 *     (absent) --add--> READY --turn--> RUNNING --done--> (absent) | READY (added meanwhile) | DELAYED (comes
 * back)
 *                         ^------------ due ------------------------------------------------------'
 *
 * Runs are asynchronous: ops->run starts one, wq_done() ends it. Everything happens on one thread. The queue
 * has no timer: its driver calls wq_turn() at wq_next(), and hears through ops->wake that wq_next() may have
 * moved. Reasons and keys are copied; a WqRun is valid from ops->run until wq_done() or ops->cancel.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/clock.h"

typedef struct WorkQueue WorkQueue;
typedef struct WqRun WqRun;

typedef enum WqResult {
    WQ_OK,    /* done; earlier failures are forgotten */
    WQ_AFTER, /* done for now, run again in `after`; earlier failures are forgotten */
    WQ_WAIT,  /* something else must happen first: run again in `after`, neither a success nor a failure */
    WQ_RETRY, /* failed: run again after the key's backoff */
} WqResult;

typedef struct WqOps {
    void (*run)(void *arg, const char *key, WqRun *run);
    /* The run passed its deadline (or the queue is freed): abandon it, do not call wq_done() for it. */
    void (*cancel)(void *arg, const char *key, WqRun *run);
    void (*wake)(void *arg);     /* call wq_turn() at wq_next(); may be NULL */
    double (*random)(void *arg); /* [0, 1) for the jitter; NULL = no jitter */
} WqOps;

typedef struct WqOptions {
    const char *name; /* of the reconciler, for metrics; borrowed */
    const Clock *clock;
    unsigned workers;  /* runs at the same time; 0 = 8 */
    Usec backoff_min;  /* 0 = 2 s */
    Usec backoff_max;  /* 0 = 30 s */
    Usec run_deadline; /* 0 = 60 s */
} WqOptions;

#define WQ_FRESH_HOLD                                                                                        \
    (500 * USEC_PER_MSEC) /* a new event runs at once unless its key failed this recently                    \
                           */
#define WQ_JITTER 0.2     /* of the backoff, to both sides */

WorkQueue *wq_new(const WqOptions *o, const WqOps *ops, void *arg);
WorkQueue *wq_free(WorkQueue *q); /* cancels what runs; NULL-safe, returns NULL */
DEFINE_CLEANUP(WorkQueue, wq_free)

void wq_add(WorkQueue *q, Str key); /* something changed: run as soon as allowed */
void wq_add_after(WorkQueue *q, Str key,
                  Usec after); /* like wq_add, later; the earlier of two times counts */
/* Ends a run. `after` counts for WQ_AFTER and WQ_WAIT, `reason` (a constant) for WQ_RETRY. */
void wq_done(WqRun *run, WqResult result, Usec after, const char *reason);

/* A place for the reconciler's own state of this run; NULL at its start. */
void wq_run_set_data(WqRun *run, void *data);
void *wq_run_data(const WqRun *run);

void wq_turn(WorkQueue *q);       /* cancels what is over its deadline, starts what is due */
Usec wq_next(const WorkQueue *q); /* when to call wq_turn(); in the past = now, USEC_NEVER = nothing waits */
void wq_pause(WorkQueue *q);      /* starts nothing more: the program is ending */

unsigned wq_failures(const WorkQueue *q, Str key); /* in a row */

typedef struct WqReason {
    const char *reason;
    uint64_t count;
} WqReason;

#define WQ_REASONS_MAX 16
#define WQ_BUCKETS 8
extern const Usec wq_bucket_bounds[WQ_BUCKETS]; /* upper bounds of the duration histogram */

typedef struct WqStats {
    size_t waiting; /* ready to run, not delayed */
    size_t delayed;
    size_t running;
    Usec oldest; /* how long the first ready key has waited */
    uint64_t runs, results[4], deadlines;
    uint64_t buckets[WQ_BUCKETS + 1]; /* run durations; the last one is "longer" */
    Usec busy;                        /* sum of run durations */
    WqReason reasons[WQ_REASONS_MAX]; /* of retries; the last one counts all others */
    size_t n_reasons;
} WqStats;
void wq_stats(const WorkQueue *q, WqStats *ret);
const char *wq_name(const WorkQueue *q);
