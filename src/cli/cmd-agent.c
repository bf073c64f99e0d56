#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "follow.h"
#include "wait.h"
#include "options.h"
#include "output.h"
#include "resource.h"

static const Resource *agents(void)
{
    return resource_find("agent");
}

static int resolve(App *app, const char *name, char **ret_path, json_t **ret, Err *err)
{
    return resource_resolve(app, agents(), name, ret_path, ret, err);
}

static int cmd_agent_list(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *list = NULL;
    int rc = resource_path(app, agents(), &path, err);
    if (rc == 0)
        rc = app_list(app, path, NULL, opt_int(a, "limit"), &list, err);
    if (rc < 0)
        return err_wrap(err, "list agents");
    CLEANUP_FREE char *empty = xasprintf("No agents found in project \"%s\".", app_project_or_null(app));
    return print_list(a, list, "agent", kind_agent.columns, empty, err);
}

static int cmd_agent_get(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_get(app, agents(), arg_at(a, 0), &obj, err);
    return rc < 0 ? rc : print_object(a, obj, "agent", kind_agent.columns, err);
}

static int agent_body(const Args *a, json_t *body, Err *err)
{
    static const char *const pairs[][2] = {
        {"name", "name"},
        {"prompt", "prompt"},
        {"description", "description"},
        {"display-name", "display_name"},
        {"repo-url", "repo_url"},
        {"model", "llm_model"},
        {"labels", "labels"},
        {"annotations", "annotations"},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        body_str(body, a, pairs[i][0], pairs[i][1]);
    return body_env(body, a, err);
}

static int cmd_agent_create(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *body = json_object();
    CLEANUP_JSON json_t *obj = NULL;
    CLEANUP_FREE char *path = NULL;
    const char *project = NULL;
    if (!opt_given(a, "name") || !*opt_str(a, "name"))
        return err_set(err, ERR_USAGE, "--name is required");
    int rc = agent_body(a, body, err);
    if (rc == 0)
        rc = app_project(app, &project, err);
    if (rc == 0)
        rc = resource_path(app, agents(), &path, err);
    if (rc < 0)
        return rc;
    json_object_set_new(body, "project_id", json_string(project));
    rc = app_call(app, "POST", path, body, &obj, err);
    if (rc < 0)
        return err_wrap(err, "create agent \"%s\"", opt_str(a, "name"));
    if (opt_given(a, "output"))
        return print_object(a, obj, "agent", kind_agent.columns, err);
    printf("agent/%s created\n", json_get_str(obj, "name"));
    return 0;
}

static int cmd_agent_update(App *app, const Args *a, Err *err)
{
    CLEANUP_JSON json_t *body = json_object();
    CLEANUP_JSON json_t *obj = NULL;
    CLEANUP_FREE char *path = NULL;
    int rc = agent_body(a, body, err);
    if (rc == 0)
        rc = resolve(app, arg_at(a, 0), &path, NULL, err);
    if (rc == 0)
        rc = app_call(app, "PATCH", path, body, &obj, err);
    if (rc < 0)
        return err_wrap(err, "update agent \"%s\"", arg_at(a, 0));
    printf("agent/%s updated\n", json_get_str(obj, "name"));
    return 0;
}

static int cmd_agent_delete(App *app, const Args *a, Err *err)
{
    if (!opt_bool(a, "yes"))
        return err_set(err, ERR_USAGE, "add --confirm to delete agent/%s", arg_at(a, 0));
    CLEANUP_FREE char *path = NULL;
    int rc = resolve(app, arg_at(a, 0), &path, NULL, err);
    if (rc == 0)
        rc = app_call(app, "DELETE", path, NULL, NULL, err);
    if (rc < 0)
        return err_wrap(err, "delete agent \"%s\"", arg_at(a, 0));
    printf("agent/%s deleted\n", arg_at(a, 0));
    return 0;
}

/* ---- start and stop, one or all ---- */

static int start_path(App *app, const Args *a, const char *path, json_t **ret, Err *err)
{
    CLEANUP_FREE char *start = xasprintf("%s/start", path);
    CLEANUP_JSON json_t *body = json_object();
    CLEANUP_JSON json_t *answer = NULL;
    const char *prompt = opt_str(a, "prompt");
    if (prompt && *prompt)
        json_object_set_new(body, "prompt", json_strv(str_from(prompt)));
    int rc = app_call(app, "POST", start, body, &answer, err);
    if (rc < 0)
        return rc;
    json_t *session = json_get_obj(answer, "session");
    if (!session)
        return err_set(err, ERR_BAD_GATEWAY, "the server's answer has no session");
    *ret = json_incref(session);
    return 0;
}

static void say_started(const json_t *session)
{
    printf("session/%s started (phase: %s)\n", json_get_str(session, "id"),
           json_get_str(session, "phase") ? json_get_str(session, "phase") : "");
}

static int stop_agent(App *app, const char *name, const json_t *agent, Err *err)
{
    const char *sid = json_get_str(agent, "current_session_id");
    if (!sid || !*sid) {
        printf("agent/%s has no active session\n", name);
        return 0;
    }
    CLEANUP_JSON json_t *session = NULL;
    CLEANUP_JSON json_t *stopped = NULL;
    int rc = app_get(app, &session, err, "/sessions/%s", sid);
    if (rc == -ERR_NOT_FOUND) {
        printf("agent/%s session/%s not found \xE2\x80\x94 already cleaned up\n", name, sid);
        return 0;
    }
    if (rc < 0)
        return rc;
    const char *phase = json_get_str(session, "phase");
    if (phase && phase_is_terminal(phase_parse(str_from(phase)))) {
        printf("agent/%s session/%s already %s\n", name, sid, phase);
        return 0;
    }
    CLEANUP_FREE char *path = xasprintf("/sessions/%s/stop", sid);
    rc = app_call(app, "POST", path, NULL, &stopped, err);
    if (rc == 0)
        printf("agent/%s session/%s stopped (phase: %s)\n", name, sid, json_get_str(stopped, "phase"));
    return rc;
}

typedef struct Each {
    bool stop;
    json_t *sessions; /* started ones, for -o json */
} Each;

static int each_agent(App *app, const Args *a, const char *collection, const json_t *agent, Each *e, Err *err)
{
    if (e->stop)
        return stop_agent(app, json_get_str(agent, "name"), agent, err);
    CLEANUP_FREE char *path = xasprintf("%s/%s", collection, json_get_str(agent, "id"));
    CLEANUP_JSON json_t *session = NULL;
    int rc = start_path(app, a, path, &session, err);
    if (rc == 0 && e->sessions)
        json_array_append(e->sessions, session);
    else if (rc == 0)
        say_started(session);
    return rc;
}

static int all_agents(App *app, const Args *a, Each *e, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *list = NULL;
    if (args_len(a) > 0)
        return err_set(err, ERR_USAGE, "cannot specify agent name with --all");
    int rc = resource_path(app, agents(), &path, err);
    if (rc == 0)
        rc = app_list(app, path, NULL, 0, &list, err);
    if (rc < 0)
        return rc;
    json_t *items = json_get_arr(list, "items");
    size_t failed = 0, n = json_array_size(items);
    if (n == 0)
        puts("no agents in project");
    for (size_t i = 0; i < n; i++) {
        Err one = {0};
        json_t *agent = json_array_get(items, i);
        if (each_agent(app, a, path, agent, e, &one) < 0) {
            fprintf(stderr, "agent/%s: %s\n", json_get_str(agent, "name"), one.msg);
            failed++;
        }
    }
    return failed ? err_set(err, ERR_INTERNAL, "%zu of %zu agents failed to %s", failed, n,
                            e->stop ? "stop" : "start")
                  : 0;
}

static int start_all(App *app, const Args *a, Err *err)
{
    Format f;
    int rc = format_of(a, &f, err);
    if (rc < 0)
        return rc;
    CLEANUP_JSON json_t *sessions = f == FORMAT_TABLE ? NULL : json_array();
    Each e = {.sessions = sessions};
    rc = all_agents(app, a, &e, err);
    int printed =
        sessions ? print_list(a, sessions, "session", kind_session.columns, NULL, rc == 0 ? err : NULL) : 0;
    return rc < 0 ? rc : printed;
}

int cmd_agent_start(App *app, const Args *a, Err *err)
{
    if (opt_bool(a, "all"))
        return start_all(app, a, err);
    const char *name = arg_at(a, 0);
    if (!name)
        return err_set(err, ERR_USAGE, "agent name or ID is required (or use --all)");
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *session = NULL;
    int rc = resolve(app, name, &path, NULL, err);
    if (rc == 0)
        rc = start_path(app, a, path, &session, err);
    if (rc < 0)
        return err_wrap(err, "start agent \"%s\"", name);
    if (opt_given(a, "output"))
        return print_object(a, session, "session", kind_session.columns, err);
    say_started(session);
    if (opt_bool(a, "wait"))
        return wait_session(app, a, json_get_str(session, "id"), phase_name(PHASE_COMPLETED), err);
    return opt_bool(a, "follow") ? follow_started(app, session, err) : 0;
}

static int cmd_agent_stop(App *app, const Args *a, Err *err)
{
    Each e = {.stop = true};
    if (opt_bool(a, "all"))
        return all_agents(app, a, &e, err);
    const char *name = arg_at(a, 0);
    if (!name)
        return err_set(err, ERR_USAGE, "agent name or ID is required (or use --all)");
    CLEANUP_JSON json_t *agent = NULL;
    int rc = resource_get(app, agents(), name, &agent, err);
    if (rc == 0)
        rc = stop_agent(app, name, agent, err);
    if (rc < 0)
        return err_wrap(err, "stop agent \"%s\"", name);
    const char *session = json_get_str(agent, "current_session_id");
    return opt_bool(a, "wait") && session ? wait_session(app, a, session, phase_name(PHASE_STOPPED), err) : 0;
}

static int cmd_agent_preview(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *answer = NULL;
    int rc = resolve(app, arg_at(a, 0), &path, NULL, err);
    if (rc == 0)
        rc = app_get(app, &answer, err, "%s/start", path);
    if (rc < 0)
        return err_wrap(err, "start preview of agent \"%s\"", arg_at(a, 0));
    CLEANUP_BUF Buf text = BUF_INIT(16 * 1024 * 1024);
    clean_text(&text, json_get_strv(answer, "starting_prompt"), true);
    printf("%s\n", text.data ? text.data : "");
    return 0;
}

static int cmd_agent_sessions(App *app, const Args *a, Err *err)
{
    CLEANUP_FREE char *path = NULL;
    CLEANUP_JSON json_t *list = NULL;
    int rc = resolve(app, arg_at(a, 0), &path, NULL, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *sessions = xasprintf("%s/sessions", path);
    rc = app_list(app, sessions, NULL, opt_int(a, "limit"), &list, err);
    if (rc < 0)
        return err_wrap(err, "sessions of agent \"%s\"", arg_at(a, 0));
    return print_list(a, list, "session", "ID:id:27 NAME:name:32 PHASE:phase:12 AGE:created_at:10",
                      "No sessions found.", err);
}

static const Opt opts_list[] = {OPTS_OUTPUT, OPTS_NO_HEADERS, OPTS_LIMIT, OPTS_PROJECT, {0}};
static const Opt opts_body[] = {
    OPTS_OUTPUT,
    OPTS_PROJECT,
    OPTS_ENV,
    OPT("name", STR, "name"),
    OPT("prompt", STR, "standing instructions"),
    OPT("description", STR, "what it is for"),
    OPT("display-name", STR, "display name"),
    OPT("repo-url", STR, "git repository"),
    OPT("model", STR, "model"),
    OPT("labels", STR, "labels as JSON"),
    OPT("annotations", STR, "annotations as JSON"),
    {0},
};
static const Opt opts_confirm[] = {OPTS_YES, OPTS_PROJECT, {0}};
static const Opt opts_start[] = {
    OPTS_OUTPUT,
    OPTS_PROJECT,
    OPT("prompt", STR, "task for this run"),
    OPT("follow", BOOL, "show what happens until the session is done; the exit status is the session's",
        .letter = 'f'),
    OPTS_WAIT("until the session is Completed (stop: Stopped)"),
    OPT("all", BOOL, "all agents of the project", .letter = 'A'),
    {0},
};
static const Opt opts_scope[] = {OPTS_PROJECT, {0}};

const Command commands_agent[] = {
    {.words = "agent", .aliases = "agents", .usage = "", .help = "Agents: what can be started"},
    {.words = "agent list",
     .aliases = "ls",
     .usage = "",
     .help = "List agents",
     .opts = opts_list,
     .run = cmd_agent_list,
     .examples = "agent list"},
    {.words = "agent get",
     .usage = "AGENT",
     .min = 1,
     .max = 1,
     .help = "Show an agent",
     .opts = opts_list,
     .run = cmd_agent_get,
     .examples = "agent get reviewer -o yaml"},
    {.words = "agent create",
     .usage = "",
     .help = "Create an agent",
     .opts = opts_body,
     .run = cmd_agent_create,
     .examples = "agent create --name reviewer --prompt \"You review patches.\""},
    {.words = "agent update",
     .usage = "AGENT",
     .min = 1,
     .max = 1,
     .help = "Change an agent",
     .opts = opts_body,
     .run = cmd_agent_update,
     .examples = "agent update reviewer --model claude-sonnet-4-6"},
    {.words = "agent delete",
     .usage = "AGENT",
     .min = 1,
     .max = 1,
     .help = "Delete an agent",
     .opts = opts_confirm,
     .run = cmd_agent_delete,
     .examples = "agent delete reviewer --confirm"},
    {.words = "agent start",
     .usage = "[AGENT]",
     .min = 0,
     .max = 1,
     .help = "Start an agent",
     .opts = opts_start,
     .run = cmd_agent_start,
     .examples = "agent start reviewer --prompt \"review change 12\"\nagent start --all"},
    {.words = "agent stop",
     .usage = "[AGENT]",
     .min = 0,
     .max = 1,
     .help = "Stop an agent's session",
     .opts = opts_start,
     .run = cmd_agent_stop,
     .examples = "agent stop reviewer"},
    {.words = "agent start-preview",
     .usage = "AGENT",
     .min = 1,
     .max = 1,
     .help = "Show the prompt of a start",
     .opts = opts_scope,
     .run = cmd_agent_preview,
     .examples = "agent start-preview reviewer"},
    {.words = "agent sessions",
     .usage = "AGENT",
     .min = 1,
     .max = 1,
     .help = "List an agent's sessions",
     .opts = opts_list,
     .run = cmd_agent_sessions,
     .examples = "agent sessions reviewer"},
    {0},
};
