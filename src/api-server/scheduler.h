/* Fires schedules when they are due. One per server; any number of servers on one store. Loop thread. */
#pragma once

#include "hub/hub.h"
#include "service/service.h"

typedef struct Scheduler Scheduler;
typedef struct SchedulerOptions {
    Service *service;
    Hub *hub;      /* tells of schedules that were changed */
    Usec interval; /* look at least so often: for what other servers changed, and for clocks that are set */
} SchedulerOptions;
Scheduler *scheduler_new(Loop *l, const SchedulerOptions *o);
void scheduler_stop(Scheduler *s);       /* nothing is begun any more; NULL-safe */
Scheduler *scheduler_free(Scheduler *s); /* after the store was closed; NULL-safe */

typedef struct SchedulerStats {
    uint64_t looks, passes, failures; /* passes over one schedule; failures of looks and passes */
} SchedulerStats;
SchedulerStats scheduler_stats(const Scheduler *s); /* NULL-safe: a server without one */
