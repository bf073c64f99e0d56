#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "follow.h"
#include "options.h"
#include "output.h"
#include "resource.h"
#include "wait.h"

static int start_session(App *app, const Args *a, const char *name, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_resolve(app, resource_find("session"), name, &path, NULL, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *start = xasprintf("%s/start", path);
    rc = app_call(app, "POST", start, NULL, &obj, err);
    if (rc < 0)
        return err_wrap(err, "start session \"%s\"", name);
    if (opt_given(a, "output"))
        return print_object(a, obj, "session", kind_session.columns, err);
    printf("session/%s started (phase: %s)\n", json_get_str(obj, "id"), json_get_str(obj, "phase"));
    if (opt_bool(a, "wait"))
        return wait_session(app, a, json_get_str(obj, "id"), phase_name(PHASE_COMPLETED), err);
    return opt_bool(a, "follow") ? follow_started(app, obj, err) : 0;
}

static int cmd_start(App *app, const Args *a, Err *err)
{
    const char *session = opt_str(a, "session");
    if (session)
        return start_session(app, a, session, err);
    if (!arg_at(a, 0))
        return err_set(err, ERR_USAGE, "agent name or ID is required (or --session)");
    return cmd_agent_start(app, a, err);
}

static int cmd_stop(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_resolve(app, resource_find("session"), arg_at(a, 0), &path, NULL, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *stop = xasprintf("%s/stop", path);
    rc = app_call(app, "POST", stop, NULL, &obj, err);
    if (rc < 0)
        return err_wrap(err, "stop session \"%s\"", arg_at(a, 0));
    printf("session/%s stopped (phase: %s)\n", json_get_str(obj, "id"), json_get_str(obj, "phase"));
    return opt_bool(a, "wait") ? wait_session(app, a, json_get_str(obj, "id"), phase_name(PHASE_STOPPED), err)
                               : 0;
}

static const Opt opts_start[] = {
    OPTS_OUTPUT,
    OPTS_PROJECT,
    OPT("prompt", STR, "task for this run"),
    OPT("follow", BOOL, "show what happens until the session is done; the exit status is the session's",
        .letter = 'f'),
    OPTS_WAIT("until the session is Completed; one that ends another way is an error"),
    OPT("all", BOOL, "all agents of the project", .letter = 'A'),
    OPT("session", STR, "start this session again instead of an agent", .values = "SESSION"),
    {0},
};
static const Opt opts_stop[] = {OPTS_PROJECT, OPTS_WAIT("until it is Stopped"), {0}};

const Command commands_start[] = {
    {.words = "start",
     .usage = "AGENT",
     .min = 0,
     .max = 1,
     .help = "Start an agent, or a session again",
     .opts = opts_start,
     .run = cmd_start,
     .examples = "start reviewer --prompt \"review change 12\"\n"
                 "start reviewer --wait --timeout 1h\n"
                 "start --session nightly",
     .exits = "8 with --wait: the time is over"},
    {.words = "stop",
     .usage = "SESSION",
     .min = 1,
     .max = 1,
     .help = "Stop a session",
     .opts = opts_stop,
     .run = cmd_stop,
     .examples = "stop nightly --wait",
     .exits = "8 with --wait: the time is over"},
    {0},
};
