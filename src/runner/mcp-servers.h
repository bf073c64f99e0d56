/*
 * MCP servers of the agent: those that are configured, and those that run beside us in the pod
 * (AMBIENT_MCP_URL, CREDENTIAL_MCP_URLS). Contract: runner.md 11.
 */
#pragma once

#include "config.h"

/* Puts them all into c->mcp_config; leaves it alone when nothing runs beside us. */
int mcp_servers_settle(RunnerConfig *c, Err *err);
