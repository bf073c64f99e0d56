#include "kinds/kind.h"
#include "base/cleanup.h"
#include "table-internal.h"

/* What became of each time that a schedule was due. Written by the scheduler only. */
static const Field fields[] = {
    FIELDS_COMMON,
    [RUN_SCHEDULE_ID] =
        FIELD("scheduled_session_id", FT_STRING, 0, .max_len = LEN_NAME, .doc = "The schedule that was due."),
    [RUN_PROJECT_ID] = FIELD("project_id", FT_STRING, 0, .max_len = LEN_NAME, .doc = "Its project."),
    [RUN_AGENT_ID] =
        FIELD("agent_id", FT_STRING, 0, .max_len = LEN_NAME, .doc = "The agent that it would start."),
    /* Unique in a schedule: two replicas cannot both serve one time. */
    [RUN_SCHEDULED_AT] = FIELD("scheduled_at", FT_TIME, F_UNIQUE_IN_PARENT,
                               .doc = "The time at which it was due; absent for a run that was asked for."),
    [RUN_CAUSE] = FIELD("cause", FT_STRING, 0, .max_len = 15,
                        .doc = "schedule, catch_up or manual: why there is a run."),
    [RUN_OUTCOME] =
        FIELD("outcome", FT_STRING, 0, .max_len = 15, .doc = "started, queued, skipped, missed or failed."),
    [RUN_MESSAGE] = FIELD("message", FT_STRING, 0, .doc = "Why it was not started, for people."),
    [RUN_SESSION_ID] =
        FIELD("session_id", FT_STRING, 0, .max_len = LEN_NAME, .doc = "The session that it started."),
    [RUN_STARTED_AT] = FIELD("started_at", FT_TIME, 0, .doc = "When that was."),
};
_Static_assert(ARRAY_LEN(fields) == _RUN_MAX, "every field has a row");

static const short json_order[] = {
    RUN_AGENT_ID,    RUN_CAUSE,      FIELD_CREATED_AT, JSON_HREF,        FIELD_ID,
    JSON_KIND,       RUN_MESSAGE,    RUN_OUTCOME,      RUN_PROJECT_ID,   RUN_SCHEDULED_AT,
    RUN_SCHEDULE_ID, RUN_SESSION_ID, RUN_STARTED_AT,   FIELD_UPDATED_AT,
};

const Kind kind_schedule_run = {
    .name = "ScheduledSessionRun",
    .list_name = "ScheduledSessionRunList",
    KIND_PATH("scheduled-session-runs"),
    .in_project = true,
    .table = "scheduled_session_runs",
    .event_source = NULL,
    .permission = "session",
    .id_rule = KIND_ID_KSUID,
    .fields = fields,
    .n_fields = ARRAY_LEN(fields),
    .name_field = -1,
    .project_field = RUN_PROJECT_ID,
    .parent_field = RUN_SCHEDULE_ID,
    .owner_field = -1,
    .default_order = "created_at desc",
    .columns = "SCHEDULED:scheduled_at:20 CAUSE:cause:10 OUTCOME:outcome:10 SESSION:session_id:27 "
               "MESSAGE:message:40",
    .json_order = json_order,
    .n_json_order = ARRAY_LEN(json_order),
};
