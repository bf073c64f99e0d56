/*
 * The token endpoint on Kubernetes: every replica serves it, with the keys of one Secret. It answers the pod
 * of a session that lives, and nobody else. Contract: control-plane.md 13.
 */
#pragma once

#include "cache.h"
#include "config.h"
#include "runtime-kube.h"
#include "token-server.h"

typedef struct KubeEndpoint KubeEndpoint;

typedef struct KubeEndpointOptions {
    const Config *config; /* borrowed, as all below */
    Kube *kube;
    KubeRuntime *pods;
    const Cache *sessions;
    const Secret *(*token)(void *arg, Str session_id, WallUsec *ret_expires); /* as token-server.h has it */
    void (*opened)(void *arg, const Err *err);                                /* it listens, or cannot */
    void *arg;
} KubeEndpointOptions;

KubeEndpoint *kube_endpoint_new(Loop *l, const KubeEndpointOptions *o);
KubeEndpoint *kube_endpoint_free(KubeEndpoint *e);              /* NULL-safe, returns NULL */
const TokenServer *kube_endpoint_server(const KubeEndpoint *e); /* NULL = it does not listen yet */
