/*
 * Settings of the runner: environment variables only, as the control plane sets them. The table in config.c
 * is the list; `ambient-runner --help` prints it.
 */
#pragma once

#include "base/flag.h"
#include "client/client.h"

typedef enum RunMode { MODE_AUTO, MODE_INTERACTIVE, MODE_ONE_SHOT } RunMode;

typedef struct RunnerConfig {
    char *session_id;
    char *workspace, *state_dir_name;
    char *runner_type, *claude_path;
    char *host;
    int64_t port;
    Secret *agui_token;
    char *open_text;
    int64_t listen_fds;
    char *log_level, *log_format;
    char *grpc_url, *grpc_enabled_text, *grpc_tls_text, *grpc_ca_file;
    char *bot_token_file, *cp_token_url, *cp_token_key, *cp_token_proof;
    char *sandbox_hide;
    char *backend_url, *project, *credential_ids, *tmp;
    Usec credential_refresh;
    char *initial_prompt, *initial_prompt_file;
    char *interactive_text, *run_once_text, *idle_text, *inactivity_text, *timeout_text;
    int64_t idle_exit;
    int64_t resume_after_seq;
    char *resume_text;
    char *repos;
    char *workflow_url, *workflow_branch, *workflow_path;
    char *git_protocols;
    char *model, *temperature, *preamble, *mcp_config, *mcp_config_file;
    char *mcp_url, *credential_mcp_urls; /* of servers beside us; config_load() puts them into mcp_config */
    int64_t max_tokens;
    int64_t events_wait;
    Usec grace;

    struct RunnerCredentials
        *credentials; /* of the session, once they are asked for; borrowed; NULL = none */

    /* derived */
    TokenSource *token; /* of cp-token.h, kept by main; NULL = from file or environment */
    Secret *bot_token;  /* taken out of the environment */
    bool grpc, grpc_tls, open, is_resume;
    RunMode mode;
    Usec idle, timeout; /* USEC_NEVER = none */
    char *state_dir;    /* where this runner and its agent keep what must survive */
    char *agent_dir; /* where the agent works: a repository in the workspace; NULL = the workspace itself */
    bool host_given;
} RunnerConfig;

/* The session's token comes from the control plane's endpoint: it is named, and no file has the token. */
static inline bool config_uses_cp_token(const RunnerConfig *c)
{
    return c->cp_token_url && *c->cp_token_url && c->cp_token_key && *c->cp_token_key && !c->bot_token_file;
}

static inline const char *config_agent_dir(const RunnerConfig *c)
{
    return c->agent_dir ? c->agent_dir : c->workspace;
}

/* Reads the environment and takes the secrets out of it, so that neither children nor /proc show them. */
int config_load(RunnerConfig *c, int argc, char **argv, Err *err);
void config_free(RunnerConfig *c);
