#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    FIELDS_COMMON,
    /* POST must hold the key, but the path decides. */
    [INBOX_AGENT_ID] = FIELD("agent_id", FT_STRING, F_REQUIRED | F_CREATE, .max_len = LEN_NAME,
                             .doc = "The agent that receives it, taken from the path."),
    [INBOX_FROM_AGENT_ID] = FIELD("from_agent_id", FT_STRING, F_CREATE | F_EMPTY_NULL, .max_len = LEN_NAME,
                                  .doc = "The agent that sent it."),
    [INBOX_FROM_NAME] = FIELD("from_name", FT_STRING, F_CREATE, .max_len = LEN_NAME, .doc = "Who sent it."),
    [INBOX_BODY] = FIELD("body", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE, .max_len = LEN_PROMPT,
                         .doc = "The message."),
    [INBOX_READ] = FIELD("read", FT_BOOL, F_CREATE | F_PATCH, .doc = "Whether the agent has seen it."),
    [INBOX_PROJECT_ID] =
        FIELD("project_id", FT_STRING, F_INTERNAL, .max_len = LEN_NAME, .doc = "The project of the agent."),
};
_Static_assert(ARRAY_LEN(fields) == _INBOX_MAX, "every field has a row");

static const short json_order[] = {
    INBOX_AGENT_ID, INBOX_BODY, FIELD_CREATED_AT, INBOX_FROM_AGENT_ID, INBOX_FROM_NAME,
    JSON_HREF,      FIELD_ID,   JSON_KIND,        INBOX_READ,          FIELD_UPDATED_AT,
};

const Kind kind_inbox_message = {
    .name = "InboxMessage",
    .list_name = "InboxMessageList",
    KIND_PATH("inbox_messages"),
    .table = "inbox_messages",
    .event_source = "InboxMessages",
    .permission = "agent", /* an inbox belongs to its agent, rest-core.md 12 */
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = -1,
    .project_field = INBOX_PROJECT_ID,
    .parent_field = INBOX_AGENT_ID,
    .owner_field = -1,
    .default_order = "read asc, created_at asc", /* unread first: NULL sorts before false before true */
    .columns = "ID:id:27 FROM:from_name:20 BODY:body:50 READ:read:6 AGE:created_at:10",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
