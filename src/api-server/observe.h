/* The two small listeners for operators: metrics, and health with /debug/state. rest-core.md 1.3. */
#pragma once

#include "http/server.h"
#include "base/err.h"

typedef struct Observe Observe;

typedef struct ObserveOps {
    void (*metrics)(void *arg, Buf *out); /* Prometheus text */
    void (*state)(void *arg, Buf *out);   /* members of the /debug/state object, no braces */
    bool (*healthy)(void *arg, const char **what, Err *why); /* false: what is not */
} ObserveOps;

Observe *observe_new(Loop *l, const ObserveOps *ops, void *arg);
int observe_listen_metrics(Observe *o, const char *address, TlsContext *tls, Err *err);
int observe_listen_health(Observe *o, const char *address, TlsContext *tls, Err *err);
int observe_metrics_port(const Observe *o); /* 0 = off */
int observe_health_port(const Observe *o);
Observe *observe_free(Observe *o);
