/* What the files of the runner proper share. */
#pragma once

#include "base/ksuid.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "bridge.h"
#include "client/client.h"
#include "credentials.h"
#include "http-api.h"
#include "mcp-wait.h"
#include "outbox.h"
#include "repos.h"
#include "runner.h"
#include "scan.h"
#include "transcript.h"

#define DRAIN_LIMIT (600 * USEC_PER_SEC) /* for records, when nobody waits for the end */
#define STARTS_MAX 3                     /* a message that this many runners died on is left alone */

/* READING: the log up to our own first record is being read. READY: messages become turns. STOPPING: the
   agent ends. DRAINING: records go out. ENDED: the loop stops. */
typedef enum RunnerState { R_READING, R_READY, R_STOPPING, R_DRAINING, R_ENDED, _R_MAX } RunnerState;

/* What waits to be run. */
typedef struct Turn {
    ListLink link;
    uint64_t seq; /* of its user message; 0 = from HTTP, or the initial prompt */
    bool first;   /* it comes before everything that was said */
    RunInput input;
} Turn;

struct Runner {
    Loop *loop;
    RunnerConfig *config;
    RunnerState state;
    int exit_code;

    TokenSource *token;             /* borrowed when it is the configuration's */
    RunnerCredentials *credentials; /* NULL = the session has none */
    McpWait *mcp_wait;              /* NULL = no servers beside us */
    Client *client;
    ClientWatch *watch;
    Outbox *outbox; /* NULL without gRPC */
    HttpApi *http;
    RedactSet *redact;
    Emitter *emitter;
    Tap *tap;
    const BridgeOps *bridge_ops; /* NULL: no agent was found */
    Bridge *bridge;
    Workspace *workspace;
    Repos *repos;

    char boot[KSUID_LEN + 1]; /* id of this process; prefix of request ids outside turns */
    char turn[KSUID_LEN + 1]; /* id of the current turn; "" = none */
    Scan scan;
    uint64_t seen_seq;    /* newest message read */
    uint64_t barrier_seq; /* of our first record; 0 = not known yet */
    char *barrier_id;
    Transcript transcript;
    char *instructions; /* standing ones; NULL = none */
    char *note;         /* for the next turn; NULL = none */

    List queue;
    uint64_t current_seq; /* user message of the current turn */
    bool current_first;
    bool one_shot;
    bool worked;        /* there was something to do */
    bool greeted;       /* the workflow's first words were looked for */
    bool settled;       /* the repositories of the start are there, or are known not to come */
    bool repos_started; /* once the credentials were asked for */
    bool failed;        /* the last run did not finish well */
    bool gone;          /* the session does not exist any more: nothing can be recorded */
    bool pressure;
    Timer *kick;    /* looks for the next turn, outside of callbacks */
    Timer *idle;    /* time without work */
    Timer *life;    /* TIMEOUT */
    Timer *limit;   /* of stopping or draining */
    unsigned terms; /* SIGTERMs received */
};

/* runner.c */
void runner_move(Runner *r, RunnerState to);
void runner_stop(Runner *r, int exit_code);
void runner_record(Runner *r, const char *event_type, Str payload);

/* turns.c */
void turns_log_message(Runner *r, const ClientMessage *m); /* from the watch */
void turns_log_read(Runner *r);                            /* the log is known: READING -> READY */
void turns_kick(void *arg);
void turns_end(void *arg, const TurnEnd *end);
void turns_self(void *arg);
void turns_drop_queued(Runner *r);
void turns_free_queue(Runner *r);
