/*
 * What a pod says about its runner: read from the pod's JSON into a small value, and told to the reconciler
 * as RtObserved. All rows of the contract's section 12.3. Pure: time comes in, nothing goes out.
 */
#pragma once

#include "base/clock.h"
#include "config-kube.h"
#include "json/json.h"
#include "runtime.h"

/* One of each family. */
#define KUBE_POD_ADDRESSES 2

typedef struct PodView {
    bool exists;
    int64_t run;
    RtStop stop;                /* annotated before the pod was deleted */
    WallUsec created, deletion; /* deletion: when it was asked for; {0} = it was not */
    char phase[12];             /* "Running"; "" = not said */
    bool scheduled, container_running, ready;
    WallUsec unscheduled_since;
    char waiting[40]; /* the reason of the first container that cannot start; "" = none */
    char waiting_text[160];
    WallUsec waiting_since;                   /* since when it is of this sort, by our clock */
    char helper_reason[40], helper_text[160]; /* the first sidecar that does not work; "" = all do */
    WallUsec helper_well;                     /* it runs again: believed from then on; {0} = it does not */
    bool identity;                            /* it can show whose pod it is */
    bool token_file;                          /* it has the session's token as a file */
    char addresses[KUBE_POD_ADDRESSES][46];   /* "" = not given yet */
    char key_id[20];                          /* of the token endpoint's key that it knows; "" = not said */
    bool node_lost;
    WallUsec node_lost_since;
    bool terminated; /* the runner's own container */
    int exit_code, signal;
    char reason[40]; /* of the container's end, or of the pod's: "OOMKilled", "Evicted" */
    char text[160];
    WallUsec finished;
} PodView;

/* `old` is the view before (or NULL): it knows since when things are so. */
void pod_view_read(const json_t *pod, const PodView *old, WallUsec now, PodView *ret);

/* What the view means at `now`. seen.recheck says when it may mean something else. */
void pod_view_judge(const PodView *v, const KubeSettings *s, WallUsec now, RtObserved *ret);
/* It and its sidecars have ended: only its log is left. */
bool pod_view_over(const PodView *v);
