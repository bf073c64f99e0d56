/* The program's tables of commands, its options and exit statuses. A new file of commands is one line here.
 */
#include "cmd.h"
#include "options.h"

/* One a line, so that the lines of two people do not meet. */
/* clang-format off */
const Command *const command_tables[] = {
    commands_get,
    commands_describe,
    commands_apply,
    commands_wait,
    commands_label,
    commands_edit,
    commands_explain,
    commands_cp,
    commands_api,
    commands_plugin,
    commands_kustomize,
    commands_create,
    commands_delete,
    commands_start,
    commands_project,
    commands_agent,
    commands_session,
    commands_logs,
    commands_inbox,
    commands_auth,
    commands_credential,
    commands_schedule,
    commands_application,
    commands_login,
    commands_whoami,
    commands_config,
    commands_completion,
    NULL,
};
/* clang-format on */

const Opt root_opts[] = {
    OPT("api-url", STR, "address of the API server"),
    OPT("context", STR, "context of the configuration to use", .values = "CONTEXT"),
    OPT("insecure-skip-tls-verify", BOOL, "do not verify TLS certificates"),
    OPT("request-timeout", DURATION, "for each request (0s = none)"),
    OPT("error-format", STR, "of the error on standard error: text or json", .values = "text json"),
    OPT("color", STR, "auto, always or never", .values = "auto always never"),
    OPT("no-pager", BOOL, "do not use the pager of the configuration"),
    OPT("help", BOOL, "help", .letter = 'h'),
    OPT("version", BOOL, NULL, .letter = 'v'),
    {0},
};

/* base/errors.def gives each error its status. */
const ExitStatus exit_statuses[] = {
    {0, "done"},
    {1, "an error, also of a part of many"},
    {2, "wrong usage"},
    {3, "not found"},
    {4, "not logged in, or no longer"},
    {5, "forbidden"},
    {6, "conflict"},
    {7, "the server is away, too slow or busy"},
    {8, "the time is over (wait)"},
    {130, "interrupted (143: terminated)"},
    {0},
};
