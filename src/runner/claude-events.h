/*
 * What the CLI prints, as calls of the emitter. Knows no process: lines in, events out. Control lines, init
 * and result are the bridge's.
 */
#pragma once

#include "base/map.h"
#include "claude-line.h"
#include "emitter.h"

typedef struct ClaudeEvents {
    Emitter *emitter;
    char *streamed;  /* id of the message that is or was streamed: its assistant lines say nothing new */
    char *tool;      /* the tool_use block that is being streamed; NULL = none */
    char *answered;  /* tool call whose result was shown when the user gave it */
    char *synthetic; /* what the CLI itself said; shown unless the result is an error that repeats it */
    bool retrying;   /* inside a series of failed requests */
    bool compacting;
    Map *agents;   /* background sub-agents at work, by task id */
    json_t *tasks; /* all background tasks of this runner's life, by id: what it said of each */
} ClaudeEvents;

void claude_events_init(ClaudeEvents *ev, Emitter *e);
void claude_events_done(ClaudeEvents *ev);
void claude_events_line(ClaudeEvents *ev, const ClaudeLine *l);
/* A turn is over: forgets what belonged to it; `failed`: a synthetic text is dropped instead of shown. */
void claude_events_turn_end(ClaudeEvents *ev, bool failed);
/* The process is gone, and its background work with it. */
void claude_events_reset(ClaudeEvents *ev);
/* The members of a result line that a finished run carries. New reference. */
json_t *claude_run_result(const ClaudeLine *l);
