/* Shared by the files of the kube runtime only. */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "kube-flow.h"
#include "kube-names.h"
#include "kube-pod-view.h"
#include "kube/watch.h"
#include "runtime-kube.h"

#define KUBE_NO_ANSWER "the Kubernetes API does not answer"

/* How a run ended whose pod does not exist any more. */
typedef struct Gone {
    RtObserved seen; /* RT_ENDED, or RT_ABSENT: nothing is known of its end */
    char reason[64], message[160];
    Usec at;
} Gone;

typedef struct TokenWrite TokenWrite;

/* What is known of one session. Most are over: no pod, no record. */
typedef struct Entry {
    KubeRuntime *k;
    char *ns;
    WallUsec made_at;
    PodView *pod; /* NULL = there is none */
    char *pod_uid, *pod_name;
    char *gone_uid;   /* of the last one that went */
    Usec answered_at; /* the watch has not shown this pod yet, an answer has; 0 = it has */
    Gone *gone;       /* NULL = nothing to tell */
    RtStop stop;
    bool deleting, forced, retired; /* of this pod */
    RtOp *op;                       /* what is done for this session */
    KubeCall *chore;                /* clearing away an ended pod, forcing one that hangs */
    TokenWrite *token;              /* of its pod; NULL = none was given yet */
    ListLink waiting;               /* for its project, or the endpoint */
    unsigned refused;               /* times in a row that the cluster refused its objects */
    Usec refused_at;
    unsigned swept;
    char id[];
} Entry;

/* Who may look at pods everywhere follows them with one watch. Elsewhere (tenants) each namespace has its
 * own. */
typedef struct PodWatch {
    KubeRuntime *k;
    KubeWatch *watch;
    bool listed, tried; /* since we lead: all its pods are known; or they could not be asked for */
    Usec listed_at;
} PodWatch;

struct KubeRuntime {
    Runtime base;
    KubeRuntimeOptions o;
    Loop *loop;
    const KubeSettings *settings;
    Map *watches;           /* namespace -> PodWatch, owned; "" = all */
    KubeProjects *projects; /* NULL while we do not lead */
    Map *all;               /* session id -> Entry, owned */
    Map *by_uid;            /* of its pod -> Entry */
    List waiting;
    bool synced, leading;
    Timer *chores, *sweep_timer, *sync_timer, *lost_timer;
    const char *token_url, *token_key, *token_key_id;
    uint64_t tokens_written, tokens_same, tokens_failed;
    bool await_endpoint;
    char *public_roots; /* PEM; NULL = none could be read */
    /* runtime-kube-version.c */
    KubeCall *version_call;
    Timer *version_timer;
    bool version_known, native_sidecars;
    char place[NAME_MAX_LEN];
    uint64_t removed;
    /* runtime-kube-sweep.c */
    KubeList *list;
    json_t *namespaces;  /* still to look at */
    json_t *of_projects; /* id -> when its namespace was made */
    char *list_ns;
    unsigned sweeps;
};

struct RtOp {
    KubeRuntime *k;
    Entry *e;
    Flow flow;
    RtDone done;
    void *arg;
    /* ensure */
    Obj *session;
    int64_t run;
    char *prompt, *anchor_uid, *ns;
    char pod_name[NAME_MAX_LEN], service[NAME_MAX_LEN], account[NAME_MAX_LEN];
    const char *model_secret; /* a constant */
    bool ca_bundle;
    char *token_secret; /* Secret of the runner's token; NULL = none */
    Secret *token;
    char *credential_ids, *creds; /* creds: the Secret with the token; NULL = none */
    char *extra;                  /* Secret of a long prompt; NULL = none */
    char *claim;
    /* stop, retire */
    RtStop why;
    int64_t grace;
    /* remove */
    size_t at;
    /* all: what a deferred end says; code ERR_OK = done */
    Err err;
    Timer *timer;
    bool must_wait; /* ends with "not now" although its steps went well */
};

/* ---- runtime-kube.c ---- */
Entry *entry_get(const KubeRuntime *k, Str id);
Entry *entry_make(KubeRuntime *k, Str id, const char *ns, WallUsec made_at);
void entry_drop(Entry *e); /* forgets it */
/* As the watch shows it. */
void entry_pod(Entry *e, const json_t *pod);
/* As an answer shows it, which may be older than what the watch has shown, or its end. */
void entry_pod_answered(Entry *e, const json_t *pod);
/* It does not exist; the watch will not say so. */
void entry_pod_vanished(Entry *e);
void entry_changed(Entry *e);
bool entry_pod_over(const Entry *e);
/* {metadata: {name, namespace, uid}} of its pod, for an Event. */
void entry_event(const Entry *e, KubeEventType type, const char *reason, const char *message);

RtOp *op_new(KubeRuntime *k, Entry *e, RtDone done, void *arg);
RtOp *op_end_soon(RtOp *op, ErrCode code, const char *message); /* ERR_OK = done */
void op_end(RtOp *op, const Err *err);
void op_fail(RtOp *op, const KubeError *e); /* in the codes that runtime.h promises */

/* ---- runtime-kube-start.c, runtime-kube-end.c, runtime-kube-sweep.c ---- */
RtOp *kube_ensure(Runtime *rt, const RtSpec *spec, RtDone done, void *arg);
bool kube_may_start(Runtime *rt, const Obj *session, const char **ret_why);
RtOp *kube_stop(Runtime *rt, Str id, RtStop why, RtDone done, void *arg);
RtOp *kube_retire(Runtime *rt, Str id, RtDone done, void *arg);
RtOp *kube_remove(Runtime *rt, Str id, RtDone done, void *arg);
void kube_give_token(Runtime *rt, Str id, const Secret *token);
TokenWrite *token_write_free(TokenWrite *w); /* NULL-safe, returns NULL */
void ask_version(void *arg);                 /* until it is known */
void forget_version(KubeRuntime *k);
void run_chores(void *arg);
void start_sweep(void *arg);
void stop_sweep(KubeRuntime *k);
