/*
 * The way to a session's runner. rest-core.md 11.4. The reference has half of these below agui/ and its
 * specification has them without: both are served.
 */
#include "runner-ways.h"

#include "routes-internal.h"

#define S "/sessions/{id}"
#define TO_RUNNER(m, p, w, text, ...)                                                                        \
    {                                                                                                        \
        .r = {m, S p, (m)[0] == 'G' ? "session:read" : "session:update"}, .handle = handle_runner,           \
        .runner = &(w), .status = 200, .doc = text, __VA_ARGS__                                              \
    }
#define BOTH(m, p, w, text, ...)                                                                             \
    TO_RUNNER(m, p, w, text, __VA_ARGS__), TO_RUNNER(m, "/agui" p, w, text, __VA_ARGS__)
#define EVENTS .type = "text/event-stream"
#define BYTES .type = "application/octet-stream"
#define ASKS_PATH .flags = R_PATH_QUERY
#define SAYS_DONE .answer = "RunnerMessage"

static const Route rows[] = {
    TO_RUNNER("GET", "/events", way_events, "The runner's event stream", EVENTS),
    TO_RUNNER("GET", "/agui/events", way_agui_events, "The runner's event stream; empty without a runner",
              EVENTS),
    BOTH("POST", "/run", way_run, "Run the agent, AG-UI", .body = "RunInput", EVENTS),
    BOTH("POST", "/interrupt", way_interrupt, "Interrupt the agent's run", .body = "Interrupt", SAYS_DONE),
    BOTH("POST", "/feedback", way_feedback, "What a person thinks of an answer", .body = "Feedback",
         .answer = "FeedbackAnswer"),
    BOTH("GET", "/tasks", way_tasks, "Background tasks of the agent", .answer = "TaskList"),
    BOTH("POST", "/tasks/{task_id}/stop", way_task_stop, "Stop a background task", SAYS_DONE),
    BOTH("GET", "/tasks/{task_id}/output", way_task_output, "What a background task wrote",
         .answer = "TaskOutput"),
    BOTH("GET", "/capabilities", way_capabilities, "What the agent can do", .answer = "Capabilities"),
    TO_RUNNER("GET", "/logs", way_logs, "The newest lines of the runner's log", .type = "text/plain"),
    TO_RUNNER("GET", "/mcp/status", way_mcp_status, "The agent's MCP servers", .answer = "McpStatus"),
    TO_RUNNER("GET", "/repos/status", way_repos_status, "Repositories in the workspace",
              .answer = "RepoStatus"),

    TO_RUNNER("GET", "/workspace", way_workspace, "List a folder of the workspace", ASKS_PATH,
              .answer = "Files"),
    TO_RUNNER("GET", "/workspace/{path}", way_workspace_get, "Read a file of the workspace", BYTES),
    TO_RUNNER("PUT", "/workspace/{path}", way_workspace_put, "Write a file of the workspace", SAYS_DONE),
    TO_RUNNER("DELETE", "/workspace/{path}", way_workspace_delete, "Delete a file of the workspace",
              SAYS_DONE),
    TO_RUNNER("GET", "/files", way_files, "List the files that people gave to the session", ASKS_PATH,
              .answer = "Files"),
    TO_RUNNER("GET", "/files/{path}", way_files_get, "Read a file that was given to the session", BYTES),
    TO_RUNNER("PUT", "/files/{path}", way_files_put, "Give a file to the session", SAYS_DONE),
    TO_RUNNER("DELETE", "/files/{path}", way_files_delete, "Delete a file that was given to the session",
              SAYS_DONE),

    TO_RUNNER("GET", "/git/status", way_git_status, "State of a repository", ASKS_PATH,
              .answer = "GitStatus"),
    TO_RUNNER("POST", "/git/configure-remote", way_git_remote, "Set where a repository is pushed to",
              .body = "GitRemoteRequest", SAYS_DONE),
    TO_RUNNER("GET", "/git/branches", way_git_branches, "Branches of a repository's remote", ASKS_PATH,
              .answer = "GitBranches"),
};
ROUTE_TABLE(routes_runner, rows);
