#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

static const Field fields[] = {
    FIELDS_COMMON,
    [SCHEDULE_PROJECT_ID] = FIELD("project_id", FT_STRING, F_CREATE, .max_len = LEN_NAME,
                                  .doc = "The project of the schedule, taken from the path."),
    /* The kind is lenient: a missing key is told like an empty value. */
    [SCHEDULE_NAME] =
        FIELD("name", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH | F_UNIQUE_IN_PARENT,
              .max_len = LEN_NAME, .doc = "Name, unique in the project."),
    [SCHEDULE_SCHEDULE] =
        FIELD("schedule", FT_STRING, F_REQUIRED | F_NOT_EMPTY | F_CREATE | F_PATCH, .max_len = LEN_NAME,
              .check = check_cron, .doc = "Cron expression of five fields, or @hourly and the like."),
    [SCHEDULE_TIMEZONE] = FIELD("timezone", FT_STRING, F_CREATE | F_PATCH | F_ALWAYS | F_DFLT_EMPTY,
                                .dflt = "UTC", .max_len = LEN_NAME, .doc = "IANA time zone of the schedule."),
    [SCHEDULE_ENABLED] = FIELD("enabled", FT_BOOL, F_CREATE | F_PATCH | F_ALWAYS, .dflt = "true",
                               .doc = "Whether the schedule runs by itself."),
    [SCHEDULE_AGENT_ID] = FIELD("agent_id", FT_STRING, F_CREATE | F_PATCH | F_EMPTY_NULL, .max_len = LEN_NAME,
                                .doc = "The agent that a run starts; without one a run is a plain session."),
    [SCHEDULE_DESCRIPTION] =
        FIELD("description", FT_STRING, F_CREATE | F_PATCH, .doc = "What the schedule is for."),
    [SCHEDULE_SESSION_PROMPT] = FIELD("session_prompt", FT_STRING, F_CREATE | F_PATCH, .max_len = LEN_PROMPT,
                                      .doc = "The task of each run."),
    [SCHEDULE_RUNNER_TYPE] =
        FIELD("runner_type", FT_STRING, F_CREATE | F_PATCH, .max_len = 63, .check = check_runner_type,
              .doc = "Runner type of its sessions, in place of the agent's."),
    [SCHEDULE_TIMEOUT] =
        FIELD("timeout", FT_INT32, F_CREATE | F_PATCH, .doc = "Longest run of its sessions, in seconds."),
    [SCHEDULE_INACTIVITY_TIMEOUT] = FIELD("inactivity_timeout", FT_INT32, F_CREATE | F_PATCH,
                                          .doc = "After how many seconds without work its sessions end."),
    [SCHEDULE_STOP_ON_RUN_FINISHED] =
        FIELD("stop_on_run_finished", FT_BOOL, F_CREATE | F_PATCH,
              .doc = "Whether its sessions end with their task; true unless it says false."),
    [SCHEDULE_OVERLAP_POLICY] =
        FIELD("overlap_policy", FT_STRING, F_CREATE | F_PATCH | F_ALWAYS | F_DFLT_EMPTY, .dflt = "skip",
              .max_len = 15, .check = check_overlap_policy,
              .doc = "What a run does while another one is active: skip, queue or replace."),
    [SCHEDULE_CATCH_UP] = FIELD("catch_up", FT_STRING, F_CREATE | F_PATCH | F_ALWAYS | F_DFLT_EMPTY,
                                .dflt = "one", .max_len = 15, .check = check_catch_up,
                                .doc = "Which runs that were missed are made up for: none, one or all."),
    [SCHEDULE_LAST_RUN_AT] = FIELD("last_run_at", FT_TIME, 0, .doc = "When it last started a session."),
    [SCHEDULE_NEXT_RUN_AT] =
        FIELD("next_run_at", FT_TIME, 0, .doc = "When it is due next; absent while it is suspended."),
    [SCHEDULE_CREATED_BY_USER_ID] =
        FIELD("created_by_user_id", FT_STRING, 0, .max_len = LEN_NAME,
              .doc = "Who made it, or last changed what it does: its runs have that user's rights."),
    [SCHEDULE_OWNER_TYPE] = FIELD("owner_type", FT_STRING, F_INTERNAL, .max_len = LEN_NAME,
                                  .doc = "user, service or admin: what created_by_user_id was."),
    [SCHEDULE_WAKE_AT] =
        FIELD("wake_at", FT_TIME, F_INTERNAL, .doc = "When the scheduler has to look at it; null = never."),
};
_Static_assert(ARRAY_LEN(fields) == _SCHEDULE_MAX, "every field has a row");

static const short json_order[] = {
    SCHEDULE_AGENT_ID,
    SCHEDULE_CATCH_UP,
    FIELD_CREATED_AT,
    SCHEDULE_CREATED_BY_USER_ID,
    SCHEDULE_DESCRIPTION,
    SCHEDULE_ENABLED,
    JSON_HREF,
    FIELD_ID,
    SCHEDULE_INACTIVITY_TIMEOUT,
    JSON_KIND,
    SCHEDULE_LAST_RUN_AT,
    SCHEDULE_NAME,
    SCHEDULE_NEXT_RUN_AT,
    SCHEDULE_OVERLAP_POLICY,
    SCHEDULE_PROJECT_ID,
    SCHEDULE_RUNNER_TYPE,
    SCHEDULE_SCHEDULE,
    SCHEDULE_SESSION_PROMPT,
    SCHEDULE_STOP_ON_RUN_FINISHED,
    SCHEDULE_TIMEOUT,
    SCHEDULE_TIMEZONE,
    FIELD_UPDATED_AT,
};

const Kind kind_scheduled_session = {
    .name = "ScheduledSession",
    .list_name = "ScheduledSessionList",
    KIND_PATH("scheduled-sessions"),
    .in_project = true,
    .lenient = true,
    .table = "scheduled_sessions",
    .event_source = "ScheduledSessions",
    .permission = "session", /* of the reference: whoever may make sessions may schedule them */
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = SCHEDULE_NAME,
    .project_field = SCHEDULE_PROJECT_ID,
    .parent_field = SCHEDULE_PROJECT_ID,
    .owner_field = SCHEDULE_CREATED_BY_USER_ID,
    .default_order = "created_at asc",
    .columns = "ID:id:27 NAME:name:24 SCHEDULE:schedule:20 TIMEZONE:timezone:20 ENABLED:enabled:8 "
               "NEXT_RUN:next_run_at:20",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
