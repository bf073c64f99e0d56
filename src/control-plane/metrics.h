/* /metrics in the text format of Prometheus: what the queue, the informer and the runtime count. */
#pragma once

#include "cache.h"
#include "informer.h"
#include "runtime-process.h"
#include "session-tokens.h"
#include "strays.h"
#include "token-server.h"
#include "workqueue.h"

typedef struct MetricsSources {
    const WorkQueue *queue; /* NULL: left out, as all below */
    const Informer *informer;
    const Cache *sessions;
    const ProcessRuntime *runtime;
    const Strays *strays;
    const SessionTokens *tokens;
    const TokenServer *token_server;
} MetricsSources;

void metrics_write(const MetricsSources *m, Buf *out);
