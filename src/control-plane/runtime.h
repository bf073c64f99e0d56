/*
 * Where runners live. A runtime makes at most one runner per session and keeps what it knows about it:
 * observe() is an answer from memory, on_change says when to ask again. `process` starts ambient-runner as a
 * child under a shim; `kube` makes a pod. The reconciler knows only this header.
 *
 * A run is one start of a session, numbered by the session's restart count: it is what makes "never start
 * twice" checkable. ensure() for a run that exists, alive or ended, starts nothing.
 *
 * Loop thread only. Operations complete later, through `done`, exactly once, unless they are abandoned with
 * runtime_abandon(): the work then goes on, unheard. Operations on one session are started one at a time.
 */
#pragma once

#include <stdbool.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/secret.h"
#include "kinds/obj.h"

typedef enum RtState {
    RT_ABSENT,   /* no runner, and no record of one */
    RT_STARTING, /* exists, does not answer yet */
    RT_READY,    /* answered its health check */
    RT_STOPPING, /* was asked to stop and is not gone yet */
    RT_ENDED,    /* gone; how it ended is known as far as it can be */
} RtState;

typedef enum RtEnd {
    RT_END_NONE,
    RT_END_EXIT,   /* code = exit status */
    RT_END_SIGNAL, /* code = signal */
    RT_END_OOM,    /* killed for its memory limit */
    RT_END_LOST,   /* gone without a trace: killed together with its shim, or the machine went down */
} RtEnd;

/* Why stop() was called; survives restarts of the control plane. */
typedef enum RtStop {
    RT_STOP_NONE,
    RT_STOP_USER,       /* the session is Stopping */
    RT_STOP_TIME_LIMIT, /* ran longer than its `timeout` */
    RT_STOP_UNHEALTHY,  /* never answered its health check */
    RT_STOP_SUPERSEDED, /* belongs to an earlier run, or its session is over */
    RT_STOP_SHUTDOWN,   /* LOCAL_STOP_ON_EXIT */
    _RT_STOP_MAX,
} RtStop;

typedef struct RtObserved {
    RtState state;
    int64_t run;    /* which run this is about */
    bool unhealthy; /* RT_STARTING: did not answer in time */
    RtStop stop;
    RtEnd end; /* RT_ENDED */
    int code;
    WallUsec started_at, ended_at;
    /* RT_ENDED, RT_ABSENT: why, when the runtime knows better than `end` says; NULL = it does not. Borrowed
       until the next change of this session. */
    const char *reason, *message;
    bool doomed; /* RT_ENDED as far as the session goes, but what it was has yet to be stopped */
    bool forced; /* it did not end when told, and was removed by force */
    /* RT_STARTING, RT_READY: what beside the runner does not work; NULL = all does. Borrowed likewise. */
    const char *helper_reason, *helper_message;
    Usec recheck; /* look again by then; RT_ABSENT: do not believe it before; 0 = nothing to wait for */
} RtObserved;

static inline bool rt_alive(const RtObserved *o)
{
    return o->state == RT_STARTING || o->state == RT_READY || o->state == RT_STOPPING;
}

typedef struct RtSpec {
    const Obj *session; /* as the server knows it now, prompt included */
    int64_t run;
    Str initial_prompt;  /* assembled; may be empty */
    const Secret *token; /* the session's own; borrowed for the call */
    Str credential_ids;  /* JSON object of provider and credential id; empty = none */
} RtSpec;

typedef struct Runtime Runtime;
typedef struct RtOp RtOp;
/* err NULL = done. Codes of ensure(): ERR_INVALID, ERR_NOT_FOUND, ERR_FORBIDDEN, ERR_TOO_LARGE will fail
   again for the same session; ERR_RATE_LIMITED = not now (no place, or something must be ready first); others
   may pass. */
typedef void (*RtDone)(void *arg, const Err *err);
typedef void (*RtEach)(void *arg, const char *session_id);

typedef struct RuntimeOps {
    const char *name;              /* "process" */
    const char *spawned_condition; /* condition type that says the runner was made: "ProcessSpawned" */
    /* What says on a session that the place where runners live does not answer, and whether it is so now;
       NULL: this runtime's place always answers. */
    const char *unreachable_condition;
    bool (*unreachable)(const Runtime *rt);
    /* Done when a runner of this run exists (observe() then knows it) or cannot. Clears away an ended earlier
     * run. */
    RtOp *(*ensure)(Runtime *rt, const RtSpec *spec, RtDone done, void *arg);
    /* Whether ensure() could begin now, so that nobody need prepare what it would be given. False: *ret_why
       (a text that is borrowed until the next call) says what must be there first; on_change may come when it
       is. NULL function: always. */
    bool (*may_start)(Runtime *rt, const Obj *session, const char **ret_why);
    /* Done when the stop is under way and its reason is on disk; the end shows in observe(). Idempotent. */
    RtOp *(*stop)(Runtime *rt, Str session_id, RtStop why, RtDone done, void *arg);
    /* Forgets an ended run whose outcome is written down elsewhere. The workspace stays. */
    RtOp *(*retire)(Runtime *rt, Str session_id, RtDone done, void *arg);
    /* The session has another token now: brings it to its runner, if one lives. */
    void (*give_token)(Runtime *rt, Str session_id, const Secret *token);
    /* Ends whatever runs, at once, and removes all of the session, workspace included. */
    RtOp *(*remove)(Runtime *rt, Str session_id, RtDone done, void *arg);
    void (*observe)(const Runtime *rt, Str session_id, RtObserved *ret);
    /* Every session of which anything exists here, workspaces of sessions that are over included. */
    void (*list)(const Runtime *rt, RtEach each, void *arg);
    /* When the oldest thing of this session was made; {0} = unknown. */
    WallUsec (*made_at)(const Runtime *rt, Str session_id);
    void (*abandon)(RtOp *op);
    /* Written as kube_namespace of a session that has a runner; borrowed until the next call. NULL function:
       the program's `place`. */
    const char *(*place)(const Runtime *rt, const Obj *session);
} RuntimeOps;

struct Runtime {
    const RuntimeOps *ops;
    /* Something about this session changed: reconcile it. Set by the program before the loop runs. */
    void (*on_change)(void *arg, const char *session_id);
    void *on_change_arg;
};

static inline void runtime_abandon(Runtime *rt, RtOp *op)
{
    if (op)
        rt->ops->abandon(op);
}

const char *rt_stop_name(RtStop s); /* "time-limit"; "" for none */
RtStop rt_stop_parse(Str s);        /* RT_STOP_NONE when unknown */
