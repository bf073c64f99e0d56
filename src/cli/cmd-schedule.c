/* scheduled-session: agents that are started by the clock. */
#include "cmd.h"

#include <stdio.h>
#include "base/mem.h"
#include "noun.h"
#include "options.h"
#include "output.h"
#include "role.h"

static const Member members[] = {
    {"name", "name", MEMBER_STR},
    {"schedule", "schedule", MEMBER_STR},
    {"timezone", "timezone", MEMBER_STR},
    {"prompt", "session_prompt", MEMBER_STR},
    {"description", "description", MEMBER_STR},
    {"timeout", "timeout", MEMBER_INT},
    {"inactivity-timeout", "inactivity_timeout", MEMBER_INT},
    {"stop-on-run-finished", "stop_on_run_finished", MEMBER_BOOL},
    {"runner-type", "runner_type", MEMBER_STR},
    {"enabled", "enabled", MEMBER_BOOL},
    {"overlap-policy", "overlap_policy", MEMBER_STR},
    {"catch-up", "catch_up", MEMBER_STR},
    {0},
};

static const char noun[] = "scheduled-session";

static int fill(App *app, const Args *a, json_t *body, Err *err)
{
    noun_members(a, members, body);
    if (opt_bool(a, "suspended"))
        json_object_set_new(body, "enabled", json_false());
    return noun_reference(app, a, "agent-id", "agent", "agent_id", body, err);
}

static int cmd_list(App *app, const Args *a, Err *err)
{
    return noun_list(app, a, noun, NULL, err);
}

static int cmd_get(App *app, const Args *a, Err *err)
{
    return noun_get(app, a, noun, err);
}

static int cmd_create(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *body = json_pack("{s:b}", "enabled", true);
    int rc = noun_need(a, "name", err);
    if (rc == 0)
        rc = noun_need(a, "schedule", err);
    if (rc == 0)
        rc = fill(app, a, body, err);
    return rc < 0 ? rc : noun_create(app, a, noun, body, err);
}

static int cmd_update(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *body = json_object();
    int rc = fill(app, a, body, err);
    return rc < 0 ? rc : noun_update(app, a, noun, body, err);
}

static int cmd_delete(App *app, const Args *a, Err *err)
{
    return noun_delete(app, a, noun, err);
}

static int cmd_suspend(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *obj = NULL;
    int rc = noun_action(app, a, noun, "/suspend", NULL, &obj, err);
    if (rc == 0)
        printf("scheduled-session/%s suspended (enabled=false)\n", json_get_str(obj, "name"));
    return rc;
}

static int cmd_resume(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *obj = NULL;
    int rc = noun_action(app, a, noun, "/resume", NULL, &obj, err);
    if (rc == 0)
        printf("scheduled-session/%s resumed (enabled=true)\n", json_get_str(obj, "name"));
    return rc;
}

static int cmd_trigger(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *answer = NULL;
    int rc = noun_action(app, a, noun, "/trigger", NULL, &answer, err);
    if (rc < 0)
        return rc;
    if (opt_given(a, "output"))
        return print_json(answer);
    printf("scheduled-session/%s triggered\n", arg_at(a, 0));
    return 0;
}

static int list_below(App *app, const Args *a, const char *part, const char *what, const char *columns,
                      const char *empty, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *list = NULL;
    int rc = resource_resolve(app, resource_find(noun), arg_at(a, 0), &path, NULL, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *full = xasprintf("%s/%s", path, part);
    rc = app_list(app, full, NULL, opt_int(a, "limit"), &list, err);
    if (rc < 0)
        return err_wrap(err, "%s of scheduled-session \"%s\"", part, arg_at(a, 0));
    return print_list(a, list, what, columns, empty, err);
}

static int cmd_runs(App *app, const Args *a, Err *err)
{
    return list_below(app, a, "runs", "session", "ID:id:27 NAME:name:32 PHASE:phase:12 AGE:created_at:10",
                      "It has started no session yet.", err);
}

static int cmd_history(App *app, const Args *a, Err *err)
{
    return list_below(app, a, "history", "scheduled-session-run", kind_schedule_run.columns,
                      "It was not due yet.", err);
}

#define OPTS_MEMBERS                                                                                         \
    OPT("schedule", STR, "cron expression of five fields, or @hourly and the like"),                         \
        OPT("timezone", STR, "IANA time zone (default UTC)"),                                                \
        OPT("agent-id", STR, "agent to start, by name or id; without one a run is a plain session",          \
            .values = "AGENT"),                                                                              \
        OPT_ALIAS("agent", "agent-id"), OPT("prompt", STR, "task of each run"),                              \
        OPT("description", STR, "what it is for"), OPT("timeout", INT, "longest run in seconds"),            \
        OPT("inactivity-timeout", INT, "seconds without work after which a session ends"),                   \
        OPT("stop-on-run-finished", BOOL, "end sessions with their task (=false: stay for messages)"),       \
        OPT("runner-type", STR, "runner type, in place of the agent's", .values = "claude shell"),           \
        OPT("overlap-policy", STR, "while another run is active: skip, queue or replace",                    \
            .values = "skip queue replace"),                                                                 \
        OPT("catch-up", STR, "missed runs that are made up for: none, one or all",                           \
            .values = "none one all"),                                                                       \
        OPT("enabled", BOOL, "run by itself (=false: do not)")

static const Opt opts_list[] = {OPTS_OUTPUT, OPTS_NO_HEADERS, OPTS_LIMIT, OPTS_PROJECT, {0}};
static const Opt opts_create[] = {
    OPTS_OUTPUT,
    OPTS_PROJECT,
    OPT("name", STR, "name"),
    OPTS_MEMBERS,
    OPT("suspended", BOOL, "make it, but do not run it by itself"),
    {0},
};
static const Opt opts_update[] = {OPTS_OUTPUT, OPTS_PROJECT, OPT("name", STR, "new name"), OPTS_MEMBERS, {0}};
static const Opt opts_confirm[] = {OPTS_YES, OPTS_PROJECT, {0}};
static const Opt opts_scope[] = {OPTS_PROJECT, {0}};
static const Opt opts_trigger[] = {
    OPTS_PROJECT, OPT("output", STR, "output format: json", .letter = 'o', .values = "json"), {0}};

#define ONE .usage = "SCHEDULE", .min = 1, .max = 1
const Command commands_schedule[] = {
    {.words = "scheduled-session",
     .aliases = "scheduled-sessions ss",
     .usage = "",
     .help = "Agents that are started by the clock"},
    {.words = "scheduled-session list",
     .aliases = "ls",
     .usage = "",
     .help = "List schedules",
     .opts = opts_list,
     .run = cmd_list,
     .examples = "scheduled-session list"},
    {.words = "scheduled-session get",
     ONE,
     .help = "Show a schedule",
     .opts = opts_list,
     .run = cmd_get,
     .examples = "scheduled-session get nightly -o yaml"},
    {.words = "scheduled-session create",
     .usage = "",
     .help = "Create a schedule",
     .opts = opts_create,
     .run = cmd_create,
     .examples = "scheduled-session create --name nightly --schedule \"0 3 * * 1-5\" --timezone "
                 "Europe/Berlin --agent "
                 "reviewer --prompt \"Look at yesterday's changes.\""},
    {.words = "scheduled-session update",
     ONE,
     .help = "Change a schedule",
     .opts = opts_update,
     .run = cmd_update,
     .examples = "scheduled-session update nightly --schedule @daily --enabled=false"},
    {.words = "scheduled-session delete",
     ONE,
     .help = "Delete a schedule",
     .opts = opts_confirm,
     .run = cmd_delete,
     .text = "Its sessions stay.",
     .examples = "scheduled-session delete nightly --confirm"},
    {.words = "scheduled-session suspend",
     ONE,
     .help = "Let a schedule rest",
     .opts = opts_scope,
     .run = cmd_suspend,
     .examples = "scheduled-session suspend nightly"},
    {.words = "scheduled-session resume",
     ONE,
     .help = "Let a schedule run again",
     .opts = opts_scope,
     .run = cmd_resume,
     .examples = "scheduled-session resume nightly"},
    {.words = "scheduled-session trigger",
     ONE,
     .help = "Run it now",
     .opts = opts_trigger,
     .run = cmd_trigger,
     .examples = "scheduled-session trigger nightly"},
    {.words = "scheduled-session runs",
     ONE,
     .help = "List the sessions that it started",
     .opts = opts_list,
     .run = cmd_runs,
     .examples = "scheduled-session runs nightly"},
    {.words = "scheduled-session history",
     ONE,
     .help = "List what became of each time that it was due",
     .opts = opts_list,
     .run = cmd_history,
     .examples = "scheduled-session history nightly"},
    {0},
};
