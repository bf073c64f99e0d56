/* What was done that somebody may have to answer for. Written by the server only, read by administrators. */
#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    FIELDS_COMMON,
    [AUDIT_ACTION] = FIELD("action", FT_STRING, F_ALWAYS, .max_len = LEN_NAME,
                           .doc = "For example credential:fetch_token."),
    [AUDIT_ACTOR] = FIELD("actor", FT_STRING, F_ALWAYS, .max_len = LEN_NAME,
                          .doc = "Who did it: user:<name>, service, service:<name>, admin or session:<id>."),
    [AUDIT_RESOURCE_KIND] =
        FIELD("resource_kind", FT_STRING, F_ALWAYS, .max_len = LEN_NAME, .doc = "Kind of the object."),
    [AUDIT_RESOURCE_ID] =
        FIELD("resource_id", FT_STRING, F_ALWAYS, .max_len = LEN_NAME, .doc = "Which object."),
    [AUDIT_SESSION_ID] =
        FIELD("session_id", FT_STRING, 0, .max_len = LEN_NAME, .doc = "The session that it was done for."),
    [AUDIT_PROJECT_ID] =
        FIELD("project_id", FT_STRING, 0, .max_len = LEN_NAME, .doc = "The project that it was done for."),
    [AUDIT_SOURCE] = FIELD("source", FT_STRING, 0, .max_len = LEN_NAME, .doc = "Address of the peer."),
    [AUDIT_OPERATION_ID] = FIELD("operation_id", FT_STRING, 0, .max_len = LEN_NAME,
                                 .doc = "The request, as in X-Operation-ID and in the log."),
};
_Static_assert(ARRAY_LEN(fields) == _AUDIT_MAX, "every field has a row");

static const short json_order[] = {
    AUDIT_ACTION,     AUDIT_ACTOR,        FIELD_CREATED_AT, JSON_HREF,         FIELD_ID,
    JSON_KIND,        AUDIT_OPERATION_ID, AUDIT_PROJECT_ID, AUDIT_RESOURCE_ID, AUDIT_RESOURCE_KIND,
    AUDIT_SESSION_ID, AUDIT_SOURCE,       FIELD_UPDATED_AT,
};

const Kind kind_audit_event = {
    .name = "AuditEvent",
    .list_name = "AuditEventList",
    KIND_PATH("audit_events"),
    .table = "audit_events",
    .permission = "audit_event",
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = -1,
    .project_field = -1,
    .parent_field = -1,
    .owner_field = -1,
    .default_order = "created_at desc",
    .columns =
        "ACTION:action:24 ACTOR:actor:30 RESOURCE:resource_id:27 SESSION:session_id:27 AGE:created_at:10",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
