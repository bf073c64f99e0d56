/*
 * A bridge drives one kind of agent. It gets one turn at a time, says through the emitter what the agent
 * does, and tells its host when the turn is over. The host, not the bridge, begins and ends runs.
 */
#pragma once

#include "child-env.h"
#include "config.h"
#include "emitter.h"
#include "loop/loop.h"

typedef struct Bridge Bridge;

typedef struct TurnEnd {
    const char *error;    /* NULL = finished */
    const char *code;     /* of the error */
    const json_t *result; /* of the finished run; borrowed, may be NULL */
} TurnEnd;

typedef struct BridgeHost {
    Loop *loop;
    Emitter *emitter;
    const RunnerConfig *config;
    const char *state_dir;
    /* The turn is over. Comes from inside send(), interrupt() or any callback of the bridge; the host does
       not call the bridge from inside of it. */
    void (*on_turn_end)(void *arg, const TurnEnd *end);
    /* The agent begins to work by itself (a background task ended): the host opens a run; on_turn_end
     * follows. */
    void (*on_self_turn)(void *arg);
    /* stop() is done: no process is left. */
    void (*on_stopped)(void *arg);
    /* The conversation before this turn, for an agent that lost its memory. Appends nothing when there is
     * none. */
    void (*transcript)(void *arg, Buf *out);
    /* Standing instructions for the agent (appended to its own). */
    void (*instructions)(void *arg, Buf *out);
    /* The session's credentials, into the environment of an agent's process. */
    void (*credentials)(void *arg, ChildEnv *env);
    /* Is there a user who may answer a question? */
    bool (*interactive)(void *arg);
    void *arg;
} BridgeHost;

/* What the agent answered to a question of ours; response borrowed, may be NULL; error NULL = fine. */
typedef void (*BridgeAnswer)(void *arg, const json_t *response, const char *error);

typedef struct BridgeOps {
    const char *name;      /* value of RUNNER_TYPE */
    const char *framework; /* for /capabilities */
    bool retry_safe;       /* an interrupted turn in which no tool was used may be run again */
    bool session_persistence;
    int (*create)(const BridgeHost *host, Bridge **ret, Err *err);
    void (*send)(Bridge *b, const char *text);
    void (*interrupt)(Bridge *b);       /* the turn ends soon, with result.interrupted */
    void (*stop)(Bridge *b);            /* ends the agent in good order; on_stopped follows */
    void (*hold)(Bridge *b, bool hold); /* back pressure: the agent has to wait */
    bool (*busy)(const Bridge *b);      /* background work goes on after the turn */
    void (*destroy)(Bridge *b);         /* kills what is left */

    /* NULL = this agent cannot do it. */
    /* Asks the running agent: mcp_status, set_model{model}, stop_task{task_id}. False: none runs now. The
       answer comes later, once, unless it is forgotten. */
    bool (*ask)(Bridge *b, const char *subtype, const char *key, const char *value, BridgeAnswer done,
                void *arg);
    void (*forget)(Bridge *b, void *arg);    /* no answer to this arg any more */
    const json_t *(*tasks)(const Bridge *b); /* background tasks: an object of objects by id; borrowed */
    void (*restart)(Bridge *b);              /* the next turn begins with a new process */
} BridgeOps;

struct Bridge {
    const BridgeOps *ops;
    BridgeHost host;
};

extern const BridgeOps bridge_shell, bridge_claude;

/* The bridge that RUNNER_TYPE names, or, when it is empty, the agent that is installed. ERR_NOT_FOUND with a
   text for the user when there is none. */
int bridge_choose(const RunnerConfig *c, const BridgeOps **ret, Err *err);

/* {"interrupted": true} */
json_t *turn_result_interrupted(void);
