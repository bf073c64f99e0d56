/*
 * What the scheduler asks of the service. It holds no state of its own: which schedule is to be looked at,
 * and when, stands in the store, so any number of schedulers may run, and any of them may die at any time.
 * Loop thread; answers come on the loop, never before the call returns.
 */
#pragma once

#include "service/service.h"

typedef struct DueSchedules {
    char (*ids)[KSUID_LEN + 1]; /* due now, the one that waits longest first; borrowed for the call */
    size_t n;
    Usec wait; /* until the next one is due; USEC_NEVER = none is known */
    bool more; /* there are more of them than were asked for */
} DueSchedules;
typedef void (*SvcDueDone)(void *arg, const Err *err, const DueSchedules *due);
void svc_schedules_due(Service *s, SvcDueDone done, void *arg);

/*
 * Looks at one schedule, in one transaction: enters each time that has come since the last look into its
 * history, starts what is to be started, and says when to look next. A start that its owner may not make, or
 * that cannot be made, is entered as failed. ERR_CONFLICT: another replica was faster, or somebody started
 * the agent meanwhile; look again.
 */
typedef void (*SvcFired)(void *arg, const Err *err);
void svc_schedule_fire(Service *s, Str id, SvcFired done, void *arg);
