/*
 * Kinds are tables: for each field its JSON name, type, column, rules; for the kind its path, id rule,
 * permissions and hooks by name. JSON in and out, SQL columns, the search whitelist, the protobuf mapping,
 * acpctl's columns and the OpenAPI document all read these tables. Pure data and pure functions: no I/O, no
 * globals that change.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/err.h"
#include "base/str.h"

typedef enum FieldType {
    FT_STRING,
    FT_JSON_TEXT, /* JSON text inside a string, on the wire and in the column; requests may also send the
                     value */
    FT_INT32,
    FT_INT64,
    FT_DOUBLE,
    FT_BOOL,
    FT_TIME, /* RFC 3339 in JSON, google.protobuf.Timestamp in protobuf, microseconds in an Obj */
} FieldType;

typedef enum FieldFlag {
    F_REQUIRED = 1 << 0,   /* POST must hold the key */
    F_NOT_EMPTY = 1 << 1,  /* and "" is refused: "<name> is required" */
    F_CREATE = 1 << 2,     /* a client may set it in POST */
    F_PATCH = 1 << 3,      /* and change it in PATCH */
    F_STATUS = 1 << 4,     /* set by the status PATCH */
    F_ALWAYS = 1 << 5,     /* answered even when never set (as "" or 0) */
    F_EMPTY_NULL = 1 << 6, /* "" is stored as NULL (id-like columns) */
    F_DFLT_EMPTY = 1 << 7, /* "" also takes the default */
    F_UNSET_NEG1 = 1 << 8, /* -1 on create means unset */
    F_WRITE_ONLY = 1 << 9, /* a secret: never answered, searched or ordered by, erased when freed */
    F_IGNORED = 1 << 10,   /* accepted in requests and dropped (no column) */
    F_UNIQUE = 1 << 11,    /* among live rows of the kind */
    F_UNIQUE_IN_PARENT = 1 << 12,
    F_INTERNAL = 1 << 13,   /* a column that no client sees */
    F_STRING_MAP = 1 << 14, /* FT_JSON_TEXT: sent as a value it must be an object of strings */
    F_NOT_NULL = 1 << 15,   /* a PATCH with null is refused; F_REQUIRED and F_NOT_EMPTY imply it */
    F_SHOW_NULL = 1 << 16,  /* answered as null when not set */
} FieldFlag;

typedef struct Field {
    const char *json;   /* also the name of the protobuf field */
    Str key;            /* "\"<json>\":", ready to be written */
    const char *column; /* NULL = same as json */
    FieldType type;
    unsigned flags;
    const char *dflt;                  /* text of the default at create; NULL = none */
    size_t max_len;                    /* bytes; 0 = FIELD_LEN_DEFAULT */
    int (*check)(Str value, Err *err); /* further rule, ERR_INVALID; may be NULL */
    const char *doc;                   /* one sentence, for OpenAPI and `explain` */
} Field;

#define FIELD_LEN_DEFAULT ((size_t)64 << 10)

/* The first fields of every kind. Each kind's own enum goes on from FIELD_FIRST. */
enum { FIELD_ID, FIELD_CREATED_AT, FIELD_UPDATED_AT, FIELD_FIRST };

/* Beside field numbers in Kind.json_order. */
enum { JSON_HREF = -1, JSON_KIND = -2 };

typedef enum KindId { KIND_ID_KSUID, KIND_ID_NAME /* the id is the name at creation */ } KindId;

typedef struct Kind {
    const char *name;         /* "Session", also `kind` in JSON */
    const char *list_name;    /* "SessionList" */
    const char *collection;   /* "sessions": path segment, href, permission root */
    const char *table;        /* SQL */
    const char *event_source; /* "Sessions" in the events table; NULL = no events */
    const char *permission;   /* "session" */
    KindId id_rule;
    const Field *fields;
    size_t n_fields;
    int name_field;            /* index, -1 = none */
    int project_field;         /* index of project_id, -1 = none (for Project: FIELD_ID) */
    int parent_field;          /* index of the parent's id, -1 = none */
    int owner_field;           /* index of the username that owns it, -1 = none */
    const char *default_order; /* orderBy text, e.g. "created_at asc" */
    const char
        *columns; /* acpctl: "TITLE:json:width ..."; '_' in a title is a space, AGE of a time is its age */
    const short
        *json_order; /* what an answer shows, keys alphabetical: field numbers, JSON_HREF, JSON_KIND */
    size_t n_json_order;
    Str href;        /* "/api/ambient/v1/sessions/" */
    bool in_project; /* its href begins with the project: "/api/ambient/v1/projects/<p>/<collection>/<id>" */
    bool lenient;    /* POST: unknown properties and a client's id are ignored, a missing one is like "" */
} Kind;

extern const Kind kind_project, kind_project_settings, kind_user, kind_agent, kind_session,
    kind_inbox_message, kind_role, kind_role_binding, kind_scheduled_session, kind_schedule_run,
    kind_application;

const Kind *const *kinds_all(size_t *ret_n);
const Kind *kind_by_name(Str name);             /* "Session" */
const Kind *kind_by_collection(Str collection); /* "sessions" */
const Kind *kind_by_event_source(Str source);
int kind_field(const Kind *k, Str json_name);        /* index or -1; F_INTERNAL fields are not found */
int kind_field_by_column(const Kind *k, Str column); /* index or -1; F_IGNORED fields have no column */
static inline Str field_name(const Field *f)
{
    return (Str){f->json, f->key.len - 3};
}
static inline bool field_is_text(const Field *f)
{
    return f->type == FT_STRING || f->type == FT_JSON_TEXT;
}
static inline const char *field_column(const Field *f)
{
    return f->column ? f->column : f->json;
}

/* Field numbers of each kind, in table order. */
enum {
    PROJECT_NAME = FIELD_FIRST,
    PROJECT_DESCRIPTION,
    PROJECT_PROMPT,
    PROJECT_LABELS,
    PROJECT_ANNOTATIONS,
    PROJECT_STATUS,
    PROJECT_DISPLAY_NAME,
    PROJECT_OWNER,
    _PROJECT_MAX
};
enum {
    PROJECT_SETTINGS_PROJECT_ID = FIELD_FIRST,
    PROJECT_SETTINGS_GROUP_ACCESS,
    PROJECT_SETTINGS_REPOSITORIES,
    _PROJECT_SETTINGS_MAX
};
enum {
    USER_USERNAME = FIELD_FIRST,
    USER_NAME,
    USER_EMAIL,
    USER_ISSUER /* internal: who says so */,
    USER_SUBJECT /* internal: the person, for the issuer; the username may change */,
    _USER_MAX
};
enum {
    AGENT_PROJECT_ID = FIELD_FIRST,
    AGENT_NAME,
    AGENT_DISPLAY_NAME,
    AGENT_DESCRIPTION,
    AGENT_REPO_URL,
    AGENT_PROMPT,
    AGENT_LLM_MODEL,
    AGENT_LLM_TEMPERATURE,
    AGENT_LLM_MAX_TOKENS,
    AGENT_LABELS,
    AGENT_ANNOTATIONS,
    AGENT_PARENT_AGENT_ID,
    AGENT_WORKFLOW_ID,
    AGENT_BOT_ACCOUNT_NAME,
    AGENT_RESOURCE_OVERRIDES,
    AGENT_ENVIRONMENT_VARIABLES,
    AGENT_OWNER_USER_ID,
    AGENT_CURRENT_SESSION_ID,
    _AGENT_MAX
};
enum {
    INBOX_AGENT_ID = FIELD_FIRST,
    INBOX_FROM_AGENT_ID,
    INBOX_FROM_NAME,
    INBOX_BODY,
    INBOX_READ,
    INBOX_PROJECT_ID /* internal */,
    _INBOX_MAX
};
enum {
    ROLE_NAME = FIELD_FIRST,
    ROLE_DISPLAY_NAME,
    ROLE_DESCRIPTION,
    ROLE_PERMISSIONS,
    ROLE_BUILT_IN,
    _ROLE_MAX
};
enum {
    ROLE_BINDING_ROLE_ID = FIELD_FIRST,
    ROLE_BINDING_SCOPE,
    ROLE_BINDING_SCOPE_ID,
    ROLE_BINDING_USER_ID,
    ROLE_BINDING_PROJECT_ID,
    ROLE_BINDING_AGENT_ID,
    ROLE_BINDING_SESSION_ID,
    ROLE_BINDING_CREDENTIAL_ID,
    ROLE_BINDING_HOME /* internal: the project that it is in, also of an agent's or a session's */,
    _ROLE_BINDING_MAX
};
enum {
    SESSION_NAME = FIELD_FIRST,
    SESSION_PROJECT_ID,
    SESSION_AGENT_ID,
    SESSION_PROMPT,
    SESSION_CREATED_BY_USER_ID,
    SESSION_ASSIGNED_USER_ID,
    SESSION_WORKFLOW_ID,
    SESSION_REPO_URL,
    SESSION_BOT_ACCOUNT_NAME,
    SESSION_REPOS,
    SESSION_TIMEOUT,
    SESSION_LLM_MODEL,
    SESSION_LLM_TEMPERATURE,
    SESSION_LLM_MAX_TOKENS,
    SESSION_PARENT_SESSION_ID,
    SESSION_RESOURCE_OVERRIDES,
    SESSION_ENVIRONMENT_VARIABLES,
    SESSION_LABELS,
    SESSION_ANNOTATIONS,
    SESSION_PHASE,
    SESSION_START_TIME,
    SESSION_COMPLETION_TIME,
    SESSION_SDK_SESSION_ID,
    SESSION_SDK_RESTART_COUNT,
    SESSION_CONDITIONS,
    SESSION_RECONCILED_REPOS,
    SESSION_RECONCILED_WORKFLOW,
    SESSION_KUBE_CR_NAME,
    SESSION_KUBE_CR_UID,
    SESSION_KUBE_NAMESPACE,
    SESSION_INTERACTIVE /* ours: bool, additive */,
    SESSION_INACTIVITY_TIMEOUT /* ours */,
    SESSION_SCHEDULED_SESSION_ID /* ours: the schedule that made it */,
    SESSION_RUN_ID /* internal: changes at each start; see service */,
    SESSION_START_GUARD /* internal: the agent's id when agent start made it; one active per agent */,
    _SESSION_MAX
};

extern const Kind kind_credential, kind_audit_event;
enum {
    CREDENTIAL_NAME = FIELD_FIRST,
    CREDENTIAL_DESCRIPTION,
    CREDENTIAL_PROVIDER,
    CREDENTIAL_TOKEN /* in an Obj of the store: as it is stored, sealed when there is a key */,
    CREDENTIAL_URL,
    CREDENTIAL_EMAIL,
    CREDENTIAL_LABELS,
    CREDENTIAL_ANNOTATIONS,
    _CREDENTIAL_MAX
};
enum {
    AUDIT_ACTION = FIELD_FIRST,
    AUDIT_ACTOR,
    AUDIT_RESOURCE_KIND,
    AUDIT_RESOURCE_ID,
    AUDIT_SESSION_ID,
    AUDIT_PROJECT_ID,
    AUDIT_SOURCE,
    AUDIT_OPERATION_ID,
    _AUDIT_MAX
};
enum {
    SCHEDULE_PROJECT_ID = FIELD_FIRST,
    SCHEDULE_NAME,
    SCHEDULE_SCHEDULE,
    SCHEDULE_TIMEZONE,
    SCHEDULE_ENABLED,
    SCHEDULE_AGENT_ID,
    SCHEDULE_DESCRIPTION,
    SCHEDULE_SESSION_PROMPT,
    SCHEDULE_RUNNER_TYPE,
    SCHEDULE_TIMEOUT,
    SCHEDULE_INACTIVITY_TIMEOUT,
    SCHEDULE_STOP_ON_RUN_FINISHED,
    SCHEDULE_OVERLAP_POLICY /* ours, as all that follow but the two times */,
    SCHEDULE_CATCH_UP,
    SCHEDULE_LAST_RUN_AT,
    SCHEDULE_NEXT_RUN_AT,
    SCHEDULE_CREATED_BY_USER_ID,
    SCHEDULE_OWNER_TYPE /* internal */,
    SCHEDULE_WAKE_AT /* internal */,
    _SCHEDULE_MAX
};
enum {
    RUN_SCHEDULE_ID = FIELD_FIRST,
    RUN_PROJECT_ID,
    RUN_AGENT_ID,
    RUN_SCHEDULED_AT,
    RUN_CAUSE,
    RUN_OUTCOME,
    RUN_MESSAGE,
    RUN_SESSION_ID,
    RUN_STARTED_AT,
    _RUN_MAX
};
enum {
    APPLICATION_NAME = FIELD_FIRST,
    APPLICATION_SOURCE_REPO_URL,
    APPLICATION_SOURCE_PATH,
    APPLICATION_DESTINATION_PROJECT,
    APPLICATION_SOURCE_TARGET_REVISION,
    APPLICATION_DESTINATION_AMBIENT_URL,
    APPLICATION_CREDENTIAL_ID,
    APPLICATION_SYNC_OPTIONS,
    APPLICATION_AUTO_SYNC,
    APPLICATION_AUTO_PRUNE,
    APPLICATION_SELF_HEAL,
    APPLICATION_RETRY_LIMIT,
    APPLICATION_SYNC_STATUS,
    APPLICATION_HEALTH_STATUS,
    APPLICATION_SYNC_REVISION,
    APPLICATION_OPERATION_PHASE,
    APPLICATION_OPERATION_MESSAGE,
    APPLICATION_RESOURCE_STATUS,
    APPLICATION_CONDITIONS,
    APPLICATION_LAST_SYNCED_AT,
    APPLICATION_LABELS,
    APPLICATION_ANNOTATIONS,
    _APPLICATION_MAX
};

enum { MESSAGE_SESSION_ID = FIELD_FIRST, MESSAGE_SEQ, MESSAGE_EVENT_TYPE, MESSAGE_PAYLOAD, _MESSAGE_MAX };
/* What the list of messages is searched and ordered by; not one of kinds_all(). */
extern const Kind kind_session_message;

/* Session phases. NULL phase is PHASE_NONE. The one table of allowed moves is in kinds/phase.c. */
typedef enum Phase {
    PHASE_NONE,
    PHASE_PENDING,
    PHASE_CREATING,
    PHASE_RUNNING,
    PHASE_STOPPING,
    PHASE_STOPPED,
    PHASE_COMPLETED,
    PHASE_FAILED,
    _PHASE_MAX,
    _PHASE_INVALID = -1
} Phase;
const char *phase_name(Phase p);                 /* "" for PHASE_NONE */
Phase phase_parse(Str s);                        /* _PHASE_INVALID when unknown */
bool phase_is_terminal(Phase p);                 /* Stopped, Completed, Failed */
bool phase_is_active(Phase p);                   /* Pending, Creating, Running */
bool phase_status_move_ok(Phase from, Phase to); /* by a status PATCH; equal phases are fine */
bool phase_can_start(Phase p);
bool phase_can_stop(Phase p); /* Stopping too: idempotent */
