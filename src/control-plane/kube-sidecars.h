/*
 * Containers beside the runner: the platform's MCP server, and one MCP server for each credential that has an
 * image. A sidecar gets its own credential and one way to the session's token, nothing else. Contract:
 * control-plane.md 9.2, 9.3. Pure.
 */
#pragma once

#include "kube-pod.h"

/* An image is configured: pods may have sidecars. */
bool kube_sidecars_wanted(const KubeSettings *s);
/* The containers; empty when there is none. With s->native_sidecars they are init containers that keep
   running, which the kubelet starts anew when they end. */
json_t *kube_sidecars_build(const PodSpec *s);
void kube_sidecars_volumes(const PodSpec *s, json_t *volumes);
/* What the runner is told of them, and the credentials that are left to it. */
void kube_sidecars_env(const PodSpec *s, json_t *env);
