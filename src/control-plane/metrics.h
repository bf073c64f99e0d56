/* /metrics in the text format of Prometheus: what the queue, the informer and the runtime count. */
#pragma once

#include "cache.h"
#include "informer.h"
#include "runtime-process.h"
#include "strays.h"
#include "workqueue.h"

typedef struct MetricsSources {
    const WorkQueue *queue; /* NULL: left out, as all below */
    const Informer *informer;
    const Cache *sessions;
    const ProcessRuntime *runtime;
    const Strays *strays;
} MetricsSources;

void metrics_write(const MetricsSources *m, Buf *out);
