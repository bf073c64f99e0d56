/* What the server counts, as Prometheus text and as the members of /debug/state. */
#pragma once

#include "hub/hub.h"
#include "rest/rest.h"
#include "rpc/rpc.h"
#include "scheduler.h"
#include "store/store.h"

typedef struct Stats {
    Loop *loop;
    Store *store;
    Hub *hub;
    Rest *rest;
    Rpc *rpc;             /* NULL = off */
    Scheduler *scheduler; /* NULL = off */
} Stats;

void stats_metrics(const Stats *s, Buf *out);
void stats_state(const Stats *s, Buf *out);
