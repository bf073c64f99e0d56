/* How the Claude Code CLI is found and started, and the lines that it is sent. */
#pragma once

#include "base/buf.h"
#include "child-env.h"
#include "config.h"
#include "json/json.h"

/* Path of the CLI: AMBIENT_CLAUDE_PATH, else `claude` on PATH; NULL when there is none. Caller frees. */
char *claude_find(const RunnerConfig *c);

typedef struct ClaudeStart {
    const char *path;
    const char *instructions; /* appended to the system prompt; NULL or "" = none */
    const char *resume;       /* the CLI's id of a conversation; NULL = a new one */
    const char *mcp_config;   /* file; NULL = no MCP servers */
    const char *model;        /* NULL or "" = the CLI's own */
} ClaudeStart;

typedef struct ClaudeArgv {
    const char *argv[32]; /* NULL-ended; points into the ClaudeStart and `owned` */
    char *owned;
} ClaudeArgv;
void claude_argv(const ClaudeStart *s, ClaudeArgv *ret);
void claude_argv_done(ClaudeArgv *a);
void claude_env(const RunnerConfig *c, ChildEnv *ret);

/* One line each, with its newline. */
void claude_write_user(Buf *out, const char *text, const char *uuid);
void claude_write_request(Buf *out, const char *request_id, const char *subtype);
/* With a member beside the subtype; key NULL = without. */
void claude_write_request_with(Buf *out, const char *request_id, const char *subtype, const char *key,
                               const char *value);
/* Answers a control request; `response` borrowed. */
void claude_write_answer(Buf *out, const char *request_id, const json_t *response);
void claude_write_refusal(Buf *out, const char *request_id, const char *error);
