/* Scheduled sessions of a project, their runs, and applications. */
#include "routes-internal.h"

#define SCHEDULES "/projects/{project_id}/scheduled-sessions"
#define ACTION(p, perm, k, handler, name, ...)                                                               \
    {                                                                                                        \
        .r = {"POST", p, perm}, .handle = handler, .kind = k, .answer = name, .status = 200, __VA_ARGS__     \
    }

static const Route rows[] = {
    ALL_OF(SCHEDULES, SCHEDULES "/{id}", "session", &kind_scheduled_session, "ScheduledSession"),
    ACTION(SCHEDULES "/{id}/suspend", "session:create", &kind_scheduled_session, handle_schedule_suspend,
           "ScheduledSession", .doc = "Let the schedule rest"),
    ACTION(SCHEDULES "/{id}/resume", "session:create", &kind_scheduled_session, handle_schedule_resume,
           "ScheduledSession", .doc = "Let the schedule run again, from now on"),
    ACTION(SCHEDULES "/{id}/trigger", "session:create", &kind_scheduled_session, handle_schedule_trigger,
           "ScheduledSessionTrigger", .doc = "Run it now"),
    LIST(SCHEDULES "/{id}/runs", "session:read", &kind_session, "Session", .doc = "Sessions that it started"),
    LIST(SCHEDULES "/{id}/history", "session:read", &kind_schedule_run, "ScheduledSessionRun",
         .doc = "What became of each time that it was due, the newest first"),
    GET("/projects/{project_id}/scheduled-session-runs/{id}", "session:read", &kind_schedule_run,
        "ScheduledSessionRun", .doc = "Get a line of a schedule's history by its href"),

    ALL_OF("/applications", "/applications/{id}", "application", &kind_application, "Application"),
    ACTION("/applications/{id}/sync", "application:update", &kind_application, handle_application_sync,
           "Application", .doc = "Bring the destination in step with the repository"),
    ACTION("/applications/{id}/refresh", "application:update", &kind_application, handle_application_refresh,
           "Application", .doc = "Compare the destination with the repository"),
    {.r = {"GET", "/applications/{id}/status", "application:read"},
     .handle = handle_application_status,
     .kind = &kind_application,
     .answer = "ApplicationStatus",
     .status = 200,
     .doc = "How an application stands"},
};
ROUTE_TABLE(routes_schedules, rows);
