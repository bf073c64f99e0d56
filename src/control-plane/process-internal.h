/* Shared by the files of the process runtime only. */
#pragma once

#include "base/map.h"
#include "process-cgroup.h"
#include "process-dir.h"
#include "process-env.h"
#include "process-health.h"
#include "process-spawn.h"
#include "runtime-process.h"

#define TOKEN_FILE ".token"
#define PROMPT_FILE ".prompt"

/*
 *     IDLE --ensure--> PREPARING --> SPAWNING --> CHECKING --> LIVE --> ENDING --> ENDED --retire--> CLEARING
 * --> IDLE ^                  |             |           |
 *       '------ failed ----+-------------+-----------'        IDLE or ENDED --remove--> REMOVING --> (gone)
 */
typedef enum RunPhase {
    RUN_IDLE,      /* no record of a run; a workspace may be there */
    RUN_PREPARING, /* worker: directory and files */
    RUN_SPAWNING,  /* the shim was started, its answer is awaited */
    RUN_CHECKING,  /* worker: reads what the files say */
    RUN_LIVE,      /* the shim lives, watched by its pidfd */
    RUN_ENDING,    /* worker: reads how it ended, ends what a lost shim left behind */
    RUN_ENDED,     /* its outcome is known */
    RUN_CLEARING,  /* worker: forgets the run */
    RUN_REMOVING,  /* worker: removes the directory */
    _RUN_PHASE_MAX,
} RunPhase;

typedef enum OpType { OP_ENSURE, OP_STOP, OP_RETIRE, OP_REMOVE } OpType;

struct RtOp {
    ProcessRuntime *rt;
    OpType type;
    RtDone done;
    void *arg;
    bool abandoned;
    Err err; /* what a deferred end says; code ERR_OK = done */
};

/* What the files of a session say; made by a worker, or at start. */
typedef struct Look {
    enum { LOOK_NONE, LOOK_LIVE, LOOK_ENDED } what;
    RunState state;
    int pidfd; /* LOOK_LIVE */
    RtEnd end; /* LOOK_ENDED */
    int code;
    WallUsec ended_at;
    RtStop stop;
} Look;

/* What is known while there is a record of a run. Most sessions are over, so most have none. */
typedef struct Active {
    RunState state; /* LIVE and ENDED */
    RtEnd end;      /* ENDED */
    int code;
    WallUsec ended_at;
    ShimSpec spec; /* PREPARING and SPAWNING */
    Err start_err; /* what a start that failed will say; code ERR_OK = it went well */
} Active;

typedef struct Run {
    ProcessRuntime *rt;
    RunPhase phase;
    WallUsec made_at;
    int64_t number; /* of the run; valid from PREPARING on */
    Active *a;      /* NULL: IDLE, or removing what was idle */
    RtStop stop;
    bool ready, unhealthy, removing;
    int pidfd;
    FdWatch *watch;
    Health *health;
    Timer *escalate;
    Spawn *spawn;
    int listen_fd;
    RtOp *op;     /* what waits for this run */
    char *cgroup; /* of a start that is under way; NULL = none */
    size_t jobs;  /* of this run, out with workers */
    bool gone;    /* not in the table any more; freed with its last job */
    char id[];
} Run;

struct ProcessRuntime {
    Runtime base;
    Loop *loop;
    ProcessOptions o;
    Dirs dirs;
    Cgroups cgroups;
    Pool *pool;
    Map *runs;   /* id -> Run, owned */
    size_t jobs; /* handed to the pool, or posted, and not back yet */
    bool closing, stopping;
    const char *token_url, *token_key; /* of the token endpoint; NULL = runners are not told */
    size_t adopted;
    LoopFn all_ended; /* process_runtime_stop_all() */
    void *all_ended_arg;
};

/* ---- process-job.c: work on worker threads ---- */

typedef struct Job Job;
/* Each calls `done` on the loop when the work was done. A run is not freed while a job of it is out. */
typedef void (*JobDone)(Run *r, const Err *err);
void job_prepare(Run *r, Str token, Str prompt, JobDone done);
void job_write_stop(Run *r, JobDone done);
void job_clear(Run *r, bool state, JobDone done); /* state: the record of the run too */
void job_remove(Run *r, JobDone done);
void job_write_token(Run *r, Str token, JobDone done);
void job_look(Run *r, void (*done)(Run *r, const Look *look));
/* Now, on this thread. */
void look_now(const Dirs *d, const char *id, Look *ret);

/* ---- process-run.c: the life of one run ---- */

Run *run_get(ProcessRuntime *p, Str id);
Run *run_make(ProcessRuntime *p, Str id, WallUsec made_at);
void run_free(Run *r);
bool run_is_busy(const Run *r);
bool run_takes_place(const Run *r);
void run_start(Run *r, const RtSpec *spec); /* r->op waits for it */
void run_live(Run *r, const Look *look);
void run_ended(Run *r, const Look *look);
void run_stop(Run *r, RtStop why);          /* r->op waits for it */
void run_end_found(Run *r);                 /* adopted, and not to go on */
void run_retire(Run *r);                    /* r->op waits for it */
void run_remove(Run *r);                    /* r->op waits for it; frees r at its end */
void run_finish_op(Run *r, const Err *err); /* NULL = done */
