/*
 * Every REST route: method, pattern, the permission it needs, its handler, and what the OpenAPI document says
 * of it. {project_id} and {agent_id} are the parents in a path, any other variable is the object itself.
 */
#include "rest-internal.h"

#define LIST(p, perm, k, name, ...)                                                                          \
    {                                                                                                        \
        .r = {"GET", p, perm}, .handle = handle_list, .kind = k, .answer = name "List", .status = 200,       \
        __VA_ARGS__                                                                                          \
    }
#define CREATE(p, perm, k, name, ...)                                                                        \
    {                                                                                                        \
        .r = {"POST", p, perm}, .handle = handle_create, .kind = k, .body = name, .answer = name,            \
        .status = 201, __VA_ARGS__                                                                           \
    }
#define GET(p, perm, k, name, ...)                                                                           \
    {                                                                                                        \
        .r = {"GET", p, perm}, .handle = handle_get, .kind = k, .answer = name, .status = 200, __VA_ARGS__   \
    }
#define PATCH(p, perm, k, name, ...)                                                                         \
    {                                                                                                        \
        .r = {"PATCH", p, perm}, .handle = handle_patch, .kind = k, .body = name "PatchRequest",             \
        .answer = name, .status = 200, __VA_ARGS__                                                           \
    }
#define DELETE(p, perm, k, ...)                                                                              \
    {                                                                                                        \
        .r = {"DELETE", p, perm}, .handle = handle_delete, .kind = k, .status = 204, __VA_ARGS__             \
    }
#define ALL_OF(p, item, perm, k, name)                                                                       \
    LIST(p, perm ":read", k, name, .doc = "List " name " objects"),                                          \
        CREATE(p, perm ":create", k, name, .doc = "Create a " name),                                         \
        GET(item, perm ":read", k, name, .doc = "Get a " name),                                              \
        PATCH(item, perm ":update", k, name, .doc = "Change a " name),                                       \
        DELETE(item, perm ":delete", k, .doc = "Delete a " name)

#define AGENTS "/projects/{project_id}/agents"
#define INBOX AGENTS "/{agent_id}/inbox"

const Route routes[] = {
    {.r = {"GET", "/api/ambient", NULL},
     .handle = handle_metadata,
     .flags = R_PUBLIC | R_ROOT,
     .status = 200,
     .doc = "About this server"},
    {.r = {"GET", "/version", NULL},
     .handle = handle_version,
     .flags = R_PUBLIC,
     .status = 200,
     .doc = "Version of this server"},
    {.r = {"GET", "/openapi", NULL},
     .handle = handle_openapi,
     .flags = R_PUBLIC,
     .status = 200,
     .doc = "This document"},
    {.r = {"GET", "/openapi.html", NULL},
     .handle = handle_openapi_html,
     .flags = R_PUBLIC,
     .status = 200,
     .doc = "This document, for people"},
    {.r = {"GET", "/errors", NULL},
     .handle = handle_errors,
     .flags = R_PUBLIC,
     .status = 200,
     .answer = "ErrorList",
     .doc = "Every error that this API answers"},
    {.r = {"GET", "/errors/{id}", NULL},
     .handle = handle_error_one,
     .flags = R_PUBLIC,
     .status = 200,
     .answer = "Error",
     .doc = "One error of the catalogue"},

    ALL_OF("/users", "/users/{id}", "user", &kind_user, "User"),
    ALL_OF("/projects", "/projects/{id}", "project", &kind_project, "Project"),
    ALL_OF("/project_settings", "/project_settings/{id}", "project_settings", &kind_project_settings,
           "ProjectSettings"),
    ALL_OF(AGENTS, AGENTS "/{id}", "agent", &kind_agent, "Agent"),
    GET("/agents/{id}", "agent:read", &kind_agent, "Agent", .doc = "Get an Agent by its href"),
    {.r = {"POST", AGENTS "/{id}/start", "agent:start"},
     .handle = handle_agent_start,
     .kind = &kind_session,
     .body = "AgentStartRequest",
     .answer = "AgentStartResponse",
     .status = 201,
     .doc = "Start the agent: a new session, or (200) the one that is active"},
    {.r = {"GET", AGENTS "/{id}/start", "agent:read"},
     .handle = handle_agent_preview,
     .answer = "AgentStartPreview",
     .status = 200,
     .doc = "The prompt that a start would give"},
    LIST(AGENTS "/{agent_id}/sessions", "session:read", &kind_session, "Session",
         .doc = "Sessions of an agent"),
    LIST(INBOX, "agent:read", &kind_inbox_message, "InboxMessage",
         .doc = "Messages to an agent, unread first"),
    CREATE(INBOX, "agent:create", &kind_inbox_message, "InboxMessage", .doc = "Write to an agent"),
    GET(INBOX "/{id}", "agent:read", &kind_inbox_message, "InboxMessage", .doc = "Get a message to an agent"),
    PATCH(INBOX "/{id}", "agent:update", &kind_inbox_message, "InboxMessage",
          .doc = "Mark a message read or unread"),
    DELETE(INBOX "/{id}", "agent:delete", &kind_inbox_message, .doc = "Delete a message to an agent"),
    GET("/inbox_messages/{id}", "agent:read", &kind_inbox_message, "InboxMessage",
        .doc = "Get a message to an agent by its href"),

    ALL_OF("/sessions", "/sessions/{id}", "session", &kind_session, "Session"),
    {.r = {"PATCH", "/sessions/{id}/status", "session:status"},
     .handle = handle_session_status,
     .kind = &kind_session,
     .body = "SessionStatusPatchRequest",
     .answer = "Session",
     .status = 200,
     .doc = "What the runtime observed; for the platform itself"},
    {.r = {"POST", "/sessions/{id}/start", "session:start"},
     .handle = handle_session_start,
     .kind = &kind_session,
     .answer = "Session",
     .status = 200,
     .doc = "Start a session, or start it again"},
    {.r = {"POST", "/sessions/{id}/stop", "session:stop"},
     .handle = handle_session_stop,
     .kind = &kind_session,
     .answer = "Session",
     .status = 200,
     .doc = "Stop a session"},
    {.r = {"GET", "/sessions/{id}/messages", "session_message:read"},
     .handle = handle_messages_get,
     .flags = R_NEWLINE,
     .answer = "SessionMessages",
     .status = 200,
     .doc = "Stored messages, or with Accept: text/event-stream those and all that follow"},
    {.r = {"POST", "/sessions/{id}/messages", "session_message:create"},
     .handle = handle_messages_post,
     .flags = R_NEWLINE,
     .body = "SessionMessagePush",
     .answer = "SessionMessage",
     .status = 201,
     .doc = "Say something to the session's agent"},
    {.r = {"GET", "/sessions/{id}/events", "session:read"},
     .handle = handle_runner_events,
     .runner_path = "/events/{id}",
     .status = 200,
     .doc = "The runner's event stream"},
    {.r = {"GET", "/sessions/{id}/agui/events", "session:read"},
     .handle = handle_runner_agui_events,
     .runner_path = "/events/{id}",
     .flags = R_ERROR_KEY,
     .status = 200,
     .doc = "The runner's event stream"},
    {.r = {"POST", "/sessions/{id}/agui/run", "session:update"},
     .handle = handle_runner_post,
     .runner_path = "/",
     .flags = R_ERROR_KEY,
     .status = 200,
     .doc = "Run the agent, AG-UI"},
    {.r = {"POST", "/sessions/{id}/agui/interrupt", "session:update"},
     .handle = handle_runner_post,
     .runner_path = "/interrupt",
     .flags = R_ERROR_KEY,
     .status = 200,
     .doc = "Interrupt the agent's run"},
    {.r = {"POST", "/sessions/{id}/interrupt", "session:update"},
     .handle = handle_runner_post,
     .runner_path = "/interrupt",
     .flags = R_ERROR_KEY,
     .status = 200,
     .doc = "Interrupt the agent's run"},
};
const size_t n_routes = ARRAY_LEN(routes);

size_t rest_route_count(void)
{
    return n_routes;
}

RestRoute rest_route(size_t i)
{
    return routes[i].r;
}
