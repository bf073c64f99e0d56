/* Agents of a project, and what is written to them. */
#include "routes-internal.h"

#define AGENTS "/projects/{project_id}/agents"
#define INBOX AGENTS "/{agent_id}/inbox"

static const Route rows[] = {
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
};
ROUTE_TABLE(routes_agents, rows);
