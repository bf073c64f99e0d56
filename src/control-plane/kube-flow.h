/*
 * A sequence of Kubernetes calls: steps run one after the other, the first failure ends it. Each step either
 * starts one call or calls flow_next() or flow_fail(); flow_start() itself runs nothing. Loop thread only.
 */
#pragma once

#include "kube/kube.h"

typedef struct Flow Flow;
typedef void (*FlowStep)(Flow *f);
/* e NULL: all steps are done. The flow may be started again, or freed with what it is part of. */
typedef void (*FlowDone)(Flow *f, const KubeError *e);
/* The object that a get found (NULL = there is none), or that a write answered with; borrowed. Must go on
 * like a step. */
typedef void (*FlowAnswer)(Flow *f, json_t *object);

struct Flow {
    Kube *kube;
    const FlowStep *steps; /* NULL-ended; a constant */
    FlowDone done;
    size_t at;
    unsigned writes; /* that changed something */
    Timer *timer;    /* starts it */
    KubeCall *call;
    json_t *want; /* of flow_apply() */
    KubeKind kind;
    FlowAnswer answer;
    bool background; /* its calls let others pass */
    bool adopt;      /* flow_apply(): also what does not carry our label; reset by it */
    json_t *names;   /* flow_delete_all(), one by one */
    char *ns, *labels;
};

void flow_init(Flow *f, Kube *k, FlowDone done); /* all zero before */
void flow_done(Flow *f);                         /* cancels; does not call `done` */
void flow_start(Flow *f, const FlowStep *steps);
void flow_next(Flow *f);
void flow_finish(Flow *f); /* well, without the steps that are left */
void flow_fail(Flow *f, ErrCode code, const char *reason, const char *message);

/* Brings an object to what `want` says; takes over `want`. Reads first: what is right is not written, what
   carries our name but not our label is not touched (reason NameConflict). With `answer` NULL goes on by
   itself. */
void flow_apply(Flow *f, KubeKind kind, json_t *want, FlowAnswer answer);
void flow_get(Flow *f, KubeKind kind, const char *ns, const char *name, FlowAnswer answer);
/* Creates it; when it exists already, its answer is NULL. Takes over `want`. */
void flow_create(Flow *f, KubeKind kind, json_t *want, FlowAnswer answer);
/* Gone already is fine; so is one with another uid (NULL = any). grace: KUBE_GRACE_DEFAULT = its own. */
void flow_delete(Flow *f, KubeKind kind, const char *ns, const char *name, const char *uid, int64_t grace);
/* All of a kind with these labels; where deletecollection is not allowed or not known, one by one. */
void flow_delete_all(Flow *f, KubeKind kind, const char *ns, const char *labels);
void flow_merge(Flow *f, KubeKind kind, const char *ns, const char *name, json_t *patch);
bool flow_running(const Flow *f);
