/*
 * The runtime `kube`: a runner is a pod, session-<rid>-runner in the project's namespace, with a Service in
 * front of it. A ConfigMap session-<rid>, the anchor, owns all that belongs to the session. Pods are followed
 * by a watch; what a pod means is decided in kube-pod-view.h.
 */
#pragma once

#include "config.h"
#include "kube-pod-view.h"
#include "kube-project.h"
#include "kube/watch.h"
#include "runtime.h"

typedef struct KubeRuntime KubeRuntime;

typedef struct KubeRuntimeOptions {
    Kube *kube;
    const Config *config; /* borrowed, as all below */
    const Clock *clock;
    void (*on_synced)(void *arg); /* all pods are known, first or again after kube_runtime_relist() */
    void (*on_swept)(void *arg);  /* everything in all namespaces was looked at */
    void *arg;
} KubeRuntimeOptions;

KubeRuntime *kube_runtime_new(const KubeRuntimeOptions *o);
KubeRuntime *kube_runtime_free(KubeRuntime *k); /* leaves the pods alone; NULL-safe */
Runtime *kube_runtime(KubeRuntime *k);
/* We lead: ended pods are cleared away, and from time to time everything is looked at. Off at first. */
void kube_runtime_lead(KubeRuntime *k, bool lead);
void kube_runtime_relist(KubeRuntime *k);
/* Kubernetes does not answer: ensure() fails at once until it does. */
void kube_runtime_lost(KubeRuntime *k);
/* Of a tenant: follow the pods there, from now on. Does nothing where one watch sees all. */
void kube_runtime_project(KubeRuntime *k, const char *project);
/* The API server knows this session, so parts of it may exist. */
void kube_runtime_know(KubeRuntime *k, const Obj *session);
/* Whose readiness ensure() asks for; NULL while we do not lead. */
void kube_runtime_set_projects(KubeRuntime *k, KubeProjects *p);
void kube_runtime_project_ready(KubeRuntime *k, const char *project);
/* Until the token endpoint is there, no pod is made. */
void kube_runtime_await_endpoint(KubeRuntime *k);
/* Tells pods that start from now on of the token endpoint; the texts are borrowed until the next call. */
void kube_runtime_set_endpoint(KubeRuntime *k, const char *url, const char *key, const char *key_id);
/* A pod may know this key; also when not all pods are known. */
bool kube_runtime_uses_key(const KubeRuntime *k, const char *key_id);
bool kube_runtime_leads(const KubeRuntime *k);
/* The pod of a session whose runner has not ended: its addresses, borrowed; none are known at first. False:
   there is no such pod. */
bool kube_runtime_pod(const KubeRuntime *k, Str session_id, const char *ret[static KUBE_POD_ADDRESSES],
                      size_t *ret_n);
/* That pod has a token of its own account to show: not one that was made before that was wanted. */
bool kube_runtime_pod_has_identity(const KubeRuntime *k, Str session_id);

typedef struct KubeRuntimeStats {
    size_t known, pods;
    uint64_t tokens_written, tokens_same, tokens_failed; /* Secrets of runners' tokens, since the start */
    uint64_t removed;                                    /* sessions whose objects were removed */
} KubeRuntimeStats;
/* Of all watches of pods together: connected when all are, events as old as those of the quietest. */
void kube_runtime_watch_stats(const KubeRuntime *k, KubeWatchStats *ret);
void kube_runtime_stats(const KubeRuntime *k, KubeRuntimeStats *ret);
