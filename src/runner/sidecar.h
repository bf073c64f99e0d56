/*
 * ambient-runner credential-sidecar PROGRAM [ARGUMENT...]: runs an MCP server beside a session's runner with
 * one credential of the session in its environment. The credential is fetched with the session's token before
 * the program starts and every few minutes after; when it has changed, the program is started again with the
 * new one. Ends with the program's exit status. Contract: control-plane.md 9.3.
 */
#pragma once

int sidecar_main(int argc, char **argv);
