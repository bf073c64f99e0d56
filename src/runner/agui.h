/*
 * AG-UI events as bytes: one compact JSON object each, members that the protocol declares in camelCase,
 * thread_id and run_id last. https://docs.ag-ui.com/concepts/events
 */
#pragma once

#include "base/clock.h"
#include "json/json.h"

typedef enum AguiType {
    AGUI_RUN_STARTED,
    AGUI_RUN_FINISHED,
    AGUI_RUN_ERROR,
    AGUI_TEXT_MESSAGE_START,
    AGUI_TEXT_MESSAGE_CONTENT,
    AGUI_TEXT_MESSAGE_END,
    AGUI_TOOL_CALL_START,
    AGUI_TOOL_CALL_ARGS,
    AGUI_TOOL_CALL_END,
    AGUI_TOOL_CALL_RESULT,
    AGUI_REASONING_START,
    AGUI_REASONING_MESSAGE_START,
    AGUI_REASONING_MESSAGE_CONTENT,
    AGUI_REASONING_MESSAGE_END,
    AGUI_REASONING_END,
    AGUI_STATE_SNAPSHOT,
    AGUI_MESSAGES_SNAPSHOT,
    AGUI_CUSTOM,
    _AGUI_MAX,
} AguiType;
const char *agui_name(AguiType t);

/* How an event relates to the item (message, tool call) named by its key: a reader that has not seen the OPEN
   must not be shown the others. */
typedef enum AguiPart { AGUI_WHOLE, AGUI_OPEN, AGUI_MORE, AGUI_CLOSE } AguiPart;
AguiPart agui_part(AguiType t);

typedef struct AguiEvent {
    AguiType type;
    Str json; /* one line */
    Str key;  /* messageId or toolCallId; empty = none */
} AguiEvent;

/* Readers of the event stream take lines of at most 1 MiB. */
#define AGUI_EVENT_MAX ((size_t)960 << 10)
#define AGUI_DELTA_MAX ((size_t)64 << 10)    /* a longer delta is split */
#define AGUI_CONTENT_MAX ((size_t)128 << 10) /* a longer text inside a whole event is cut, with a note */

/* Writes one event: begin, members in order, end. */
typedef struct AguiWriter {
    Buf *b;
    bool first;
} AguiWriter;
AguiWriter agui_begin(Buf *b, AguiType t);
void agui_stamp(AguiWriter *w, const Clock *c);
void agui_str(AguiWriter *w, const char *key, Str v);     /* an empty view with ptr NULL is left out */
void agui_str_cut(AguiWriter *w, const char *key, Str v); /* cut at AGUI_CONTENT_MAX */
void agui_bool(AguiWriter *w, const char *key, bool v);
void agui_json(AguiWriter *w, const char *key, const json_t *v); /* NULL is left out */
void agui_end(AguiWriter *w);
