/*
 * The one way from an agent to the world. Bridges say what the agent does; the emitter makes AG-UI events of
 * it in an order that every reader accepts (open before content before end, RUN_STARTED first, everything
 * closed before exactly one RUN_FINISHED or RUN_ERROR), and the durable records of the session's log. What
 * does not fit the order is repaired or dropped here, never passed on: agents are foreign programs.
 *
 * Two choices beyond the protocol's rules: a text message ends before a tool call starts, so that the log
 * reads in the order things happened; TOOL_CALL_END comes together with the result, as existing consoles
 * expect.
 */
#pragma once

#include "agui.h"
#include "redact.h"
#include "run-input.h"

typedef struct Emitter Emitter;

typedef struct EmitterOps {
    void (*on_event)(void *arg, const AguiEvent *ev);                  /* for the live stream */
    void (*on_record)(void *arg, const char *event_type, Str payload); /* for the session's log */
} EmitterOps;

typedef struct EmitRun {
    const char *thread_id;
    uint64_t seq;          /* the user message it answers; 0 = none */
    const RunInput *input; /* NULL: the agent started by itself */
    const char *run_id;    /* without input */
    const char *parent_run_id;
} EmitRun;

/* `redact` is borrowed and may grow; NULL = nothing to hide. */
Emitter *emitter_new(const EmitterOps *ops, void *arg, const Clock *clock, const RedactSet *redact);
Emitter *emitter_free(Emitter *e); /* NULL-safe */

/* A run. Everything else needs one and is dropped outside, but notices and durable custom events are
 * recorded. */
void emit_run_started(Emitter *e, const EmitRun *run);
void emit_run_finished(Emitter *e, const json_t *result);
void emit_run_error(Emitter *e, const char *message, const char *code);
bool emitter_active(const Emitter *e);
const char *emitter_run_id(const Emitter *e); /* of the current or last run; "" = none yet */

void emit_text(Emitter *e, Str delta); /* opens a message when none is open */
void emit_text_end(Emitter *e);
void emit_reasoning(Emitter *e, Str delta);
void emit_reasoning_end(Emitter *e);

/* Tool calls; several may be open. name loses its "mcp__server__". parent: the tool call that a sub-agent
 * runs in. */
void emit_tool_start(Emitter *e, Str id, Str name, Str parent);
void emit_tool_args(Emitter *e, Str id, Str fragment);
void emit_tool_ready(Emitter *e, Str id); /* arguments are complete */
void emit_tool_result(Emitter *e, Str id, Str content, bool is_error);
/* The call waits for the user: it ends in this run without a result, which a later run gives. */
void emit_tool_halt(Emitter *e, Str id);
bool emit_tool_known(const Emitter *e, Str id); /* open in this run */

void emit_custom(Emitter *e, const char *name, const json_t *value, bool durable);
/* A sentence for the session's log (`system`), in or outside a run. */
void emit_notice(Emitter *e, const char *text);
