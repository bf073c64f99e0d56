/*
 * One line of the Claude Code CLI's standard output (stream-json). Anything may stand in it: what is not
 * understood is CLAUDE_IGNORED, never an error, as new versions print new types.
 */
#pragma once

#include "json/json.h"

typedef enum ClaudeType {
    CLAUDE_IGNORED,
    CLAUDE_INIT,              /* system/init: a turn begins */
    CLAUDE_STREAM,            /* stream_event: a raw event of the Messages API */
    CLAUDE_ASSISTANT,         /* a finished block of a message */
    CLAUDE_USER,              /* results of tools */
    CLAUDE_RESULT,            /* a turn ended */
    CLAUDE_STATUS,            /* system/status */
    CLAUDE_API_RETRY,         /* system/api_retry */
    CLAUDE_PERMISSION_DENIED, /* system/permission_denied */
    CLAUDE_TASK_STARTED,
    CLAUDE_TASK_PROGRESS,
    CLAUDE_TASK_UPDATED,
    CLAUDE_TASK_ENDED, /* system/task_notification */
    CLAUDE_RATE_LIMIT, /* rate_limit_event */
    CLAUDE_CONTROL_REQUEST,
    CLAUDE_CONTROL_RESPONSE,
    CLAUDE_CONTROL_CANCEL,
    _CLAUDE_MAX,
} ClaudeType;

typedef struct ClaudeLine {
    ClaudeType type;
    json_t *json;       /* owned; an object unless CLAUDE_IGNORED (then NULL) */
    const char *parent; /* parent_tool_use_id of a sub-agent's line; NULL = the main agent */
} ClaudeLine;

void claude_line_parse(Str line, ClaudeLine *ret);
void claude_line_done(ClaudeLine *l);

/* result: did the agent start this turn by itself, because background work ended? */
bool claude_result_is_own(const ClaudeLine *l);
/* result: an interrupt ended it */
bool claude_result_is_aborted(const ClaudeLine *l);
/* Content of a tool_result block as text: strings as they are, other blocks described. */
void claude_result_text(const json_t *content, Buf *out);
