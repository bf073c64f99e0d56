/* acpctl: the command table, and main. */
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "cmd.h"
#include "output.h"

#define OUTPUT                                                                                               \
    {                                                                                                        \
        "output", 'o', OPT_STR, NULL, "output format: table, wide, json, yaml, name", NULL                   \
    }
#define NO_HEADERS                                                                                           \
    {                                                                                                        \
        "no-headers", 0, OPT_BOOL, NULL, "no header line in tables", NULL                                    \
    }
#define LIMIT                                                                                                \
    {                                                                                                        \
        "limit", 0, OPT_INT, "0", "at most so many items (0 = all)", NULL                                    \
    }
#define YES                                                                                                  \
    {"yes", 'y', OPT_BOOL, NULL, "do not ask", NULL},                                                        \
    {                                                                                                        \
        "confirm", 0, OPT_BOOL, NULL, NULL, "yes"                                                            \
    }
#define PROJECT                                                                                              \
    {"project-id", 0, OPT_STR, NULL, "project (default: the current one)", NULL},                            \
    {                                                                                                        \
        "project", 0, OPT_STR, NULL, NULL, "project-id"                                                      \
    }
#define ENV                                                                                                  \
    {                                                                                                        \
        "env", 0, OPT_LIST, NULL, "NAME=VALUE for the session's environment; may be repeated", NULL          \
    }

const Opt root_opts[] = {
    {"api-url", 0, OPT_STR, NULL, "address of the API server", NULL},
    {"context", 0, OPT_STR, NULL, "context of the configuration to use", NULL},
    {"insecure-skip-tls-verify", 0, OPT_BOOL, NULL, "do not verify TLS certificates", NULL},
    {"request-timeout", 0, OPT_DURATION, NULL, "for each request (0s = none)", NULL},
    {"help", 'h', OPT_BOOL, NULL, "help", NULL},
    {"version", 'v', OPT_BOOL, NULL, NULL, NULL},
    {0},
};

static const Opt opts_get[] = {
    OUTPUT,
    NO_HEADERS,
    LIMIT,
    PROJECT,
    {"watch", 'w', OPT_BOOL, NULL, "list, then follow changes (sessions)", NULL},
    {"watch-timeout", 0, OPT_DURATION, "30m", "end the watch after", NULL},
    {"all-projects", 0, OPT_BOOL, NULL, "watch all projects", NULL},
    {"project-agent", 0, OPT_STR, NULL, "only this agent's sessions", NULL},
    {"search", 0, OPT_STR, NULL, "search expression, e.g. \"phase = 'Running'\"", NULL},
    {"sort-by", 0, OPT_STR, NULL, "order, e.g. \"created_at desc\"", NULL},
    {0},
};
static const Opt opts_describe[] = {OUTPUT, PROJECT, {0}};
static const Opt opts_create[] = {
    OUTPUT,
    PROJECT,
    ENV,
    {"name", 0, OPT_STR, NULL, "name", NULL},
    {"prompt", 0, OPT_STR, NULL, "prompt", NULL},
    {"description", 0, OPT_STR, NULL, "description", NULL},
    {"display-name", 0, OPT_STR, NULL, "display name", NULL},
    {"repo-url", 0, OPT_STR, NULL, "git repository", NULL},
    {"model", 0, OPT_STR, NULL, "model", NULL},
    {"max-tokens", 0, OPT_INT, NULL, "output limit of the model", NULL},
    {"temperature", 0, OPT_FLOAT, NULL, "temperature", NULL},
    {"timeout", 0, OPT_INT, NULL, "time limit of a run in seconds", NULL},
    {"interactive", 0, OPT_BOOL, NULL, "session: stay for more messages", NULL},
    {"agent-id", 0, OPT_STR, NULL, "session: the agent", NULL},
    {"owner-user-id", 0, OPT_STR, NULL, "agent: its owner", NULL},
    {"labels", 0, OPT_STR, NULL, "labels as JSON", NULL},
    {"annotations", 0, OPT_STR, NULL, "annotations as JSON", NULL},
    {"username", 0, OPT_STR, NULL, "user: user name", NULL},
    {"email", 0, OPT_STR, NULL, "user: mail address", NULL},
    {"group-access", 0, OPT_STR, NULL, "project-settings: JSON", NULL},
    {"repositories", 0, OPT_STR, NULL, "project-settings: JSON", NULL},
    {"no-switch", 0, OPT_BOOL, NULL, "project: do not make it the current one", NULL},
    {0},
};
static const Opt opts_delete[] = {
    YES,
    PROJECT,
    {"all", 'A', OPT_BOOL, NULL, "all sessions of the current project", NULL},
    {"ignore-not-found", 0, OPT_BOOL, NULL, "no error when there is none", NULL},
    {0},
};
static const Opt opts_start[] = {
    OUTPUT,
    PROJECT,
    {"prompt", 0, OPT_STR, NULL, "task for this run", NULL},
    {"all", 'A', OPT_BOOL, NULL, "all agents of the project", NULL},
    {"session", 0, OPT_STR, NULL, "start this session again instead of an agent", NULL},
    {0},
};
static const Opt opts_agent_start[] = {
    OUTPUT,
    PROJECT,
    {"prompt", 0, OPT_STR, NULL, "task for this run", NULL},
    {"all", 'A', OPT_BOOL, NULL, "all agents of the project", NULL},
    {0},
};
static const Opt opts_project_list[] = {OUTPUT, NO_HEADERS, LIMIT, {0}};
static const Opt opts_project_update[] = {
    {"name", 0, OPT_STR, NULL, "name", NULL},
    {"description", 0, OPT_STR, NULL, "description", NULL},
    {"prompt", 0, OPT_STR, NULL, "context of every agent in the project", NULL},
    {"labels", 0, OPT_STR, NULL, "labels as JSON", NULL},
    {"annotations", 0, OPT_STR, NULL, "annotations as JSON", NULL},
    {0},
};
static const Opt opts_list[] = {OUTPUT, NO_HEADERS, LIMIT, PROJECT, {0}};
static const Opt opts_agent[] = {
    OUTPUT,
    PROJECT,
    ENV,
    {"name", 0, OPT_STR, NULL, "name", NULL},
    {"prompt", 0, OPT_STR, NULL, "standing instructions", NULL},
    {"description", 0, OPT_STR, NULL, "what it is for", NULL},
    {"display-name", 0, OPT_STR, NULL, "display name", NULL},
    {"repo-url", 0, OPT_STR, NULL, "git repository", NULL},
    {"model", 0, OPT_STR, NULL, "model", NULL},
    {"labels", 0, OPT_STR, NULL, "labels as JSON", NULL},
    {"annotations", 0, OPT_STR, NULL, "annotations as JSON", NULL},
    {0},
};
static const Opt opts_confirm[] = {YES, PROJECT, {0}};
static const Opt opts_messages[] = {
    OUTPUT,
    NO_HEADERS,
    PROJECT,
    {"after", 0, OPT_INT, "0", "only messages behind this seq; with -f: until the next run ends", NULL},
    {"follow", 'f', OPT_BOOL, NULL, "go on until the session is done", NULL},
    {"follow-reconnect", 'F', OPT_BOOL, NULL, "the same, and tell about lost connections", NULL},
    {"json", 0, OPT_BOOL, NULL, "with -f: one JSON object a line", NULL},
    {0},
};
static const Opt opts_send[] = {
    PROJECT,
    {"follow", 'f', OPT_BOOL, NULL, "show the answer; the exit status is the run's", NULL},
    {"json", 0, OPT_BOOL, NULL, "with -f: one JSON object a line", NULL},
    {0},
};
static const Opt opts_scope[] = {PROJECT, {0}};
#define INBOX                                                                                                \
    PROJECT, {"pa-id", 0, OPT_STR, NULL, "agent, by name or id", NULL},                                      \
    {                                                                                                        \
        "agent", 0, OPT_STR, NULL, NULL, "pa-id"                                                             \
    }
static const Opt opts_inbox_list[] = {
    OUTPUT, NO_HEADERS, LIMIT, INBOX, {"unread", 0, OPT_BOOL, NULL, "only unread ones", NULL}, {0}};
static const Opt opts_inbox_send[] = {
    OUTPUT,
    INBOX,
    {"body", 0, OPT_STR, NULL, "text, or - for standard input", NULL},
    {"from-name", 0, OPT_STR, NULL, "sender's name", NULL},
    {"from-pa-id", 0, OPT_STR, NULL, "sending agent", NULL},
    {0},
};
static const Opt opts_inbox_one[] = {INBOX, {"msg-id", 0, OPT_STR, NULL, "message", NULL}, {0}};
static const Opt opts_login[] = {
    {"token", 0, OPT_STR, NULL, "token; - reads it from standard input", NULL},
    {"token-file", 0, OPT_STR, NULL, "file with the token; - is standard input", NULL},
    {"url", 0, OPT_STR, NULL, "server", NULL},
    {"project", 0, OPT_STR, NULL, "current project", NULL},
    {"name", 0, OPT_STR, NULL, "name of the context (default: from the host)", NULL},
    {0},
};
static const Opt opts_whoami[] = {
    {"show-token", 't', OPT_BOOL, NULL, "print the token and nothing else", NULL},
    {"output", 'o', OPT_STR, NULL, "output format: json", NULL},
    {0},
};
static const Opt opts_version[] = {
    {"client", 0, OPT_BOOL, NULL, "do not ask the server", NULL},
    {"output", 'o', OPT_STR, NULL, "output format: json", NULL},
    {0},
};

const Command commands[] = {
    {"get", NULL, "RESOURCE [NAME]", 1, 2, "List resources or show one", opts_get, cmd_get},
    {"describe", NULL, "RESOURCE NAME", 2, 2, "Show everything about one resource", opts_describe,
     cmd_describe},
    {"create", NULL, "RESOURCE", 1, 2, "Create a resource", opts_create, cmd_create},
    {"delete", NULL, "RESOURCE [NAME]", 1, 2, "Delete a resource", opts_delete, cmd_delete},
    {"start", NULL, "AGENT", 0, 1, "Start an agent, or a session again", opts_start, cmd_start},
    {"stop", NULL, "SESSION", 1, 1, "Stop a session", opts_scope, cmd_stop},
    {"project", NULL, "[NAME]", 0, 1, "Show or set the current project", NULL, cmd_project},
    {"project current", NULL, "", 0, 0, "Show the current project", NULL, cmd_project_current},
    {"project set", NULL, "NAME", 1, 1, "Set the current project", NULL, cmd_project},
    {"project list", "ls", "", 0, 0, "List projects", opts_project_list, cmd_project_list},
    {"project update", NULL, "NAME", 1, 1, "Change a project", opts_project_update, cmd_project_update},
    {"agent", "agents", "", 0, 0, "Agents: what can be started", NULL, NULL},
    {"agent list", "ls", "", 0, 0, "List agents", opts_list, cmd_agent_list},
    {"agent get", NULL, "NAME", 1, 1, "Show an agent", opts_list, cmd_agent_get},
    {"agent create", NULL, "", 0, 0, "Create an agent", opts_agent, cmd_agent_create},
    {"agent update", NULL, "NAME", 1, 1, "Change an agent", opts_agent, cmd_agent_update},
    {"agent delete", NULL, "NAME", 1, 1, "Delete an agent", opts_confirm, cmd_agent_delete},
    {"agent start", NULL, "[NAME]", 0, 1, "Start an agent", opts_agent_start, cmd_agent_start},
    {"agent stop", NULL, "[NAME]", 0, 1, "Stop an agent's session", opts_agent_start, cmd_agent_stop},
    {"agent start-preview", NULL, "NAME", 1, 1, "Show the prompt of a start", opts_scope, cmd_agent_preview},
    {"agent sessions", NULL, "NAME", 1, 1, "List an agent's sessions", opts_list, cmd_agent_sessions},
    {"session", "sessions", "", 0, 0, "Sessions: messages and events", NULL, NULL},
    {"session messages", NULL, "SESSION", 1, 1, "Show or follow messages", opts_messages,
     cmd_session_messages},
    {"session send", NULL, "SESSION TEXT", 2, 2, "Send a message to the agent", opts_send, cmd_session_send},
    {"session events", NULL, "SESSION", 1, 1, "Stream the runner's events", opts_scope, cmd_session_events},
    {"inbox", NULL, "", 0, 0, "Messages for agents", NULL, NULL},
    {"inbox list", "ls", "", 0, 0, "List an agent's messages", opts_inbox_list, cmd_inbox_list},
    {"inbox send", NULL, "", 0, 0, "Send a message to an agent", opts_inbox_send, cmd_inbox_send},
    {"inbox mark-read", NULL, "", 0, 0, "Mark a message as read", opts_inbox_one, cmd_inbox_mark_read},
    {"inbox delete", NULL, "", 0, 0, "Delete a message", opts_inbox_one, cmd_inbox_delete},
    {"login", NULL, "[SERVER_URL]", 0, 1, "Log in with a token", opts_login, cmd_login},
    {"logout", NULL, "", 0, 0, "Forget the token", NULL, cmd_logout},
    {"whoami", NULL, "", 0, 0, "Show who is logged in", opts_whoami, cmd_whoami},
    {"config", NULL, "", 0, 0, "Settings and contexts", NULL, NULL},
    {"config get", NULL, "KEY", 1, 1, "Print a setting", NULL, cmd_config_get},
    {"config set", NULL, "KEY VALUE", 2, 2, "Change a setting", NULL, cmd_config_set},
    {"config unset", NULL, "KEY", 1, 1, "Remove a setting", NULL, cmd_config_unset},
    {"config view", NULL, "", 0, 0, "Print all settings", NULL, cmd_config_view},
    {"config get-contexts", NULL, "", 0, 0, "List contexts", NULL, cmd_config_contexts},
    {"config use-context", NULL, "NAME", 1, 1, "Switch to a context", NULL, cmd_config_use},
    {"config rename-context", NULL, "OLD NEW", 2, 2, "Rename a context", NULL, cmd_config_rename},
    {"config delete-context", NULL, "NAME", 1, 1, "Delete a context", NULL, cmd_config_delete},
    {"completion", NULL, "SHELL", 1, 1, "Print a completion script (bash, zsh, fish)", NULL, cmd_completion},
    {"version", NULL, "", 0, 0, "Print versions", opts_version, cmd_version},
    {0},
};

/* What a server or a file said is part of the message, so it is cleaned like any other text. */
static int fail(const Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(64 * 1024);
    clean_text(&text, str_from(err->msg), true);
    fprintf(stderr, "Error: " STR_FMT "\n", STR_ARG(buf_str(&text)));
    return err_info(err->code)->exit_code;
}

int main(int argc, char **argv)
{
    log_setup("acpctl", LOG_WARN, false);
    setlocale(LC_CTYPE, "C.UTF-8");
    if (argc > 1 && strcmp(argv[1], "__complete") == 0) {
        command_complete(argc - 2, argv + 2, stdout);
        return 0;
    }
    Err err = {0};
    CLEANUP(args_freep) Args *args = NULL;
    const Command *cmd = NULL;
    if (args_parse(argc, argv, &cmd, &args, &err) < 0)
        return fail(&err);
    if (!args)
        return 0;
    if (!cmd) {
        puts("acpctl version " AMBIENT_VERSION);
        return 0;
    }
    App app = {0};
    int rc = app_init(&app, args, &err);
    if (rc == 0)
        rc = cmd->run(&app, args, &err);
    int exit_code = app.exit_code;
    app_done(&app);
    return rc < 0 ? fail(&err) : exit_code;
}
