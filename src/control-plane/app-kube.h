/*
 * The parts of the program that MODE=kube adds: the Kubernetes client, the election, projects, pods. While
 * this replica leads, sessions are reconciled; a standby follows everything and writes nothing.
 */
#pragma once

#include "api.h"
#include "cache.h"
#include "config.h"
#include "loop/loop.h"
#include "metrics.h"
#include "runtime-kube.h"

typedef struct KubeApp KubeApp;

typedef struct KubeAppOptions {
    const Config *config; /* borrowed, as all below */
    Api *api;
    double (*random)(void *arg);
    void (*on_key)(void *arg, const char *session_id); /* something about its pod changed */
    void (*start)(void *arg);                          /* we lead and all pods are known: reconcile */
    void (*stop)(void *arg);                           /* we do not lead any more: at once */
    void (*swept)(void *arg);                          /* look for strays */
    void (*reachable)(void *arg); /* Kubernetes answers again: what failed may work now */
    void *arg;
} KubeAppOptions;

int kube_app_new(Loop *l, const KubeAppOptions *o, KubeApp **ret, Err *err);
KubeApp *kube_app_free(KubeApp *k); /* NULL-safe */
void kube_app_start(KubeApp *k);
Runtime *kube_app_runtime(KubeApp *k);
KubeRuntime *kube_app_pods(KubeApp *k);
Kube *kube_app_client(KubeApp *k);
/* We lead, by the time it is now: asked before anything is changed, here or on the API server. */
bool kube_app_may_write(const KubeApp *k);
void kube_app_know(KubeApp *k, const Obj *session);
/* All kinds were listed once, and Kubernetes has answered within the last minute. */
bool kube_app_ready(const KubeApp *k);
/* Lets the next replica lead at once. */
void kube_app_release(KubeApp *k, LoopFn done, void *arg);
void kube_app_sources(const KubeApp *k, MetricsSources *m); /* adds ours */
void kube_app_metrics(const KubeApp *k, Buf *out);
