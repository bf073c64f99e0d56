/*
 * Messages as a list of their own knows them: what may be searched and ordered by. Not one of kinds_all():
 * messages are a log, their rows are written by store/log.h only.
 */
#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    [FIELD_ID] = FIELD("id", FT_STRING, 0, .doc = "Identifier, made by the server."),
    [FIELD_CREATED_AT] = FIELD("created_at", FT_TIME, 0, .doc = "When the message was stored."),
    [FIELD_UPDATED_AT] = FIELD("updated_at", FT_TIME, F_IGNORED, .doc = "Messages never change."),
    [MESSAGE_SESSION_ID] = FIELD("session_id", FT_STRING, 0, .doc = "The session."),
    [MESSAGE_SEQ] = FIELD("seq", FT_INT64, 0, .doc = "Place in the session's log."),
    [MESSAGE_EVENT_TYPE] = FIELD("event_type", FT_STRING, 0, .doc = "user, assistant, tool_use ..."),
    [MESSAGE_PAYLOAD] = FIELD("payload", FT_STRING, 0, .doc = "Text, or JSON text."),
};
_Static_assert(ARRAY_LEN(fields) == _MESSAGE_MAX, "every field has a row");

const Kind kind_session_message = {
    .name = "SessionMessage",
    .list_name = "SessionMessageList",
    KIND_PATH("session_messages"),
    .table = "session_messages",
    .permission = "session_message",
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = -1,
    .project_field = -1,
    .parent_field = MESSAGE_SESSION_ID,
    .owner_field = -1,
    .default_order = "seq asc",
};
