/* /metrics in the text format of Prometheus: what the queue, the informer and the runtime count. */
#pragma once

#include "cache.h"
#include "informer.h"
#include "runtime-process.h"
#include "session-tokens.h"
#include "strays.h"
#include "token-server.h"
#include "workqueue.h"

typedef struct MetricsWatch {
    const char *kind; /* a constant */
    bool connected;
    Usec age; /* since the last event or list; USEC_NEVER = there was none */
    uint64_t reconnects, events, lists, failed_lists;
} MetricsWatch;

#define METRICS_QUEUES 2
#define METRICS_WATCHES 4

typedef struct MetricsSources {
    const WorkQueue *queues[METRICS_QUEUES]; /* of each reconciler */
    size_t n_queues;
    MetricsWatch watches[METRICS_WATCHES];
    size_t n_watches;
    /* NULL: left out, as all below */
    const Cache *sessions;
    const ProcessRuntime *runtime;
    const Strays *strays;
    const SessionTokens *tokens;
    const TokenServer *token_server;
} MetricsSources;

void metrics_add_queue(MetricsSources *m, const WorkQueue *q); /* NULL: nothing to add */
void metrics_add_informer(MetricsSources *m, const char *kind, const Informer *i);
void metrics_write(const MetricsSources *m, Buf *out);
