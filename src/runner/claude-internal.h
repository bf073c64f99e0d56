/* What the files of the claude bridge share. */
#pragma once

#include "base/list.h"
#include "bridge.h"
#include "claude-cli.h"
#include "claude-events.h"
#include "line-reader.h"
#include "proc.h"
#include "stderr-ring.h"

#define CLAUDE_LINE_MAX ((size_t)64 << 20)

typedef enum CliState { CLI_NONE, CLI_STARTING, CLI_IDLE, CLI_TURN, CLI_SELF, CLI_ASKING, _CLI_MAX } CliState;

typedef struct Claude {
    Bridge base;
    CliState state;
    Proc *proc; /* NULL in CLI_NONE */
    LineReader out;
    StderrRing errors;
    ClaudeEvents events;
    char *path;
    char *conversation; /* the CLI's id; NULL = none yet */
    bool resumed;       /* this process was told to go on with it */
    char *text;         /* of the turn, as the agent gets it */
    bool heard;         /* the process said something about the turn */
    bool retried;       /* the turn was given to a second process */
    bool interrupted, stopping, held;
    bool stale; /* what the process was started with is not true any more */
    List asks;
    unsigned requests; /* counter of our control requests */
    char *question;    /* ASKING: request to answer */
    char *question_tool;
    json_t *question_input;
    Timer *timer; /* start limit, interrupt limit or the next step of stopping */
    int stop_step;
} Claude;

/* bridge-claude.c */
void claude_move(Claude *c, CliState to);
void claude_end_turn(Claude *c, const TurnEnd *end);

/* claude-ask.c: what we ask the CLI. */
bool claude_ask(Bridge *b, const char *subtype, const char *key, const char *value, BridgeAnswer done,
                void *arg);
void claude_forget(Bridge *b, void *arg);
bool claude_on_answer(Claude *c, const ClaudeLine *l); /* was it the answer to one of these? */
void claude_drop_asks(Claude *c, const char *why);

/* claude-control.c: what the CLI asks, and the user's answer to a question of the agent. */
void claude_on_request(Claude *c, const ClaudeLine *l);
void claude_on_cancel(Claude *c, const ClaudeLine *l);
void claude_answer_question(Claude *c); /* with c->text; ASKING -> TURN */
void claude_drop_question(Claude *c);
