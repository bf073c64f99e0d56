/*
 * Waits until the MCP servers beside us (CREDENTIAL_MCP_URLS) take connections: an agent asks its servers
 * once, at its start. At most a minute; a server that has no credential never listens. Contract:
 * runner.md 11.
 */
#pragma once

#include "config.h"
#include "loop/loop.h"

typedef struct McpWait McpWait;
/* `done` comes later, once; never when there is nothing to wait for: then NULL is returned. */
McpWait *mcp_wait_new(Loop *l, const RunnerConfig *c, void (*done)(void *arg), void *arg);
McpWait *mcp_wait_free(McpWait *w);   /* NULL-safe, returns NULL */
bool mcp_wait_over(const McpWait *w); /* NULL: nothing was waited for */
