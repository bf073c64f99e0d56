#include "config.h"

#include <stddef.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "mcp-servers.h"

#define CREDS_FILE "/var/run/secrets/ambient/bot-token"
#define SERVICE_CA "/var/run/secrets/kubernetes.io/serviceaccount/service-ca.crt"
#define PROMPT_MAX ((size_t)4 << 20)

#define ENV(variable, kind, member, def, text)                                                               \
    {                                                                                                        \
        .env = (variable), .type = (kind), .offset = offsetof(RunnerConfig, member), .dflt = (def),          \
        .help = (text)                                                                                       \
    }

static const Flag table[] = {
    ENV("SESSION_ID", FLAG_STRING, session_id, NULL, "the session; also the thread id of its runs"),
    ENV("WORKSPACE_PATH", FLAG_STRING, workspace, "/workspace", "where the agent works; made when missing"),
    ENV("RUNNER_STATE_DIR", FLAG_STRING, state_dir_name, NULL,
        "directory of state that must survive, below the workspace unless absolute; default .claude or "
        ".ambient"),
    ENV("RUNNER_TYPE", FLAG_STRING, runner_type, NULL,
        "shell, claude (or claude-agent-sdk); default: the agent that is installed"),
    ENV("AMBIENT_CLAUDE_PATH", FLAG_STRING, claude_path, NULL,
        "the Claude Code CLI; default: claude on PATH"),
    ENV("AGUI_HOST", FLAG_STRING, host, NULL, "HTTP address; default 0.0.0.0 with a token, else 127.0.0.1"),
    ENV("AGUI_PORT", FLAG_INT, port, "8001", "HTTP port; 0 = any"),
    ENV("AGUI_TOKEN", FLAG_SECRET, agui_token, NULL, "required in X-Ambient-Session-Token except for health"),
    ENV("AGUI_ALLOW_UNAUTHENTICATED", FLAG_STRING, open_text, NULL,
        "true: listen beyond loopback without token"),
    ENV("LISTEN_FDS", FLAG_INT, listen_fds, "0", "1: descriptor 3 is the HTTP listener"),
    ENV("LOG_LEVEL", FLAG_STRING, log_level, "info", "debug, info, warn, error, off"),
    ENV("LOG_FORMAT", FLAG_STRING, log_format, "logfmt", "logfmt or json"),
    ENV("AMBIENT_GRPC_URL", FLAG_STRING, grpc_url, "ambient-api-server:9000", "the API server (gRPC)"),
    ENV("AMBIENT_GRPC_ENABLED", FLAG_STRING, grpc_enabled_text, NULL, "true: follow the session's messages"),
    ENV("AMBIENT_GRPC_USE_TLS", FLAG_STRING, grpc_tls_text, NULL, "true, 1 or yes"),
    ENV("AMBIENT_GRPC_CA_CERT_FILE", FLAG_STRING, grpc_ca_file, NULL, "roots for it; default " SERVICE_CA),
    ENV("BOT_TOKEN_FILE", FLAG_STRING, bot_token_file, NULL,
        "the session's token, read again when it changed; then BOT_TOKEN. Default " CREDS_FILE),
    ENV("BACKEND_API_URL", FLAG_STRING, backend_url, NULL, "the API server (REST), for credentials"),
    ENV("PROJECT_NAME", FLAG_STRING, project, NULL, "the session's project"),
    ENV("CREDENTIAL_IDS", FLAG_STRING, credential_ids, NULL,
        "JSON object of provider and credential id: what the agent gets"),
    ENV("CREDENTIAL_REFRESH_INTERVAL", FLAG_DURATION, credential_refresh, "60s",
        "a turn that begins later than that fetches their tokens again"),
    ENV("AMBIENT_TMP", FLAG_STRING, tmp, NULL,
        "the session's own directory for temporary files; default TMPDIR or /tmp"),
    ENV("AMBIENT_SANDBOX_HIDE", FLAG_STRING, sandbox_hide, NULL,
        "paths that the agent cannot open, with ':' between them; the workspace stays open"),
    ENV("AMBIENT_CP_TOKEN_URL", FLAG_STRING, cp_token_url, NULL,
        "endpoint that gives the session's token, where no file has it"),
    ENV("AMBIENT_CP_TOKEN_PUBLIC_KEY", FLAG_STRING, cp_token_key, NULL, "its public key, PEM"),
    ENV("AMBIENT_CP_TOKEN_PROOF_FILE", FLAG_STRING, cp_token_proof, NULL,
        "a token that says to it which pod this is; read again each time"),
    ENV("INITIAL_PROMPT", FLAG_STRING, initial_prompt, NULL, "the assembled prompt of the session"),
    ENV("INITIAL_PROMPT_FILE", FLAG_STRING, initial_prompt_file, NULL, "the same in a file"),
    ENV("INTERACTIVE", FLAG_STRING, interactive_text, NULL,
        "true: wait for more messages; false: end after the work; default: false with a prompt, else true"),
    ENV("AMBIENT_RUN_ONCE", FLAG_STRING, run_once_text, NULL, "true: the same as INTERACTIVE=false"),
    ENV("IDLE_TIMEOUT", FLAG_STRING, idle_text, NULL, "end after that long without work: 30m, or seconds"),
    ENV("AMBIENT_INACTIVITY_TIMEOUT_SEC", FLAG_STRING, inactivity_text, NULL, "the same in seconds"),
    ENV("AMBIENT_IDLE_EXIT_CODE", FLAG_INT, idle_exit, "0", "exit status of such an end"),
    ENV("TIMEOUT", FLAG_STRING, timeout_text, NULL, "longest life of the session: 2h, or seconds"),
    ENV("IS_RESUME", FLAG_STRING, resume_text, NULL, "true: the session ran before"),
    ENV("RESUME_AFTER_SEQ", FLAG_INT, resume_after_seq, "0", "messages up to this seq are not run"),
    ENV("REPOS_JSON", FLAG_STRING, repos, NULL,
        "repositories of the session, cloned to repos/: JSON array of {url, branch, name, autoPush}"),
    ENV("ACTIVE_WORKFLOW_GIT_URL", FLAG_STRING, workflow_url, NULL, "the workflow, cloned to workflows/"),
    ENV("ACTIVE_WORKFLOW_BRANCH", FLAG_STRING, workflow_branch, NULL,
        "its branch; default: the remote's own"),
    ENV("ACTIVE_WORKFLOW_PATH", FLAG_STRING, workflow_path, NULL, "the folder of it that the agent works in"),
    ENV("AMBIENT_GIT_PROTOCOLS", FLAG_STRING, git_protocols, "https:ssh",
        "what repositories may be fetched over, with ':' between them"),
    ENV("LLM_MODEL", FLAG_STRING, model, NULL, "model of the agent"),
    ENV("LLM_TEMPERATURE", FLAG_STRING, temperature, NULL, "sampling temperature, where the agent has one"),
    ENV("LLM_MAX_TOKENS", FLAG_INT, max_tokens, "0", "output limit of the model; 0 = the agent's own"),
    ENV("AGENT_PREAMBLE", FLAG_STRING, preamble, NULL, "first paragraph of the agent's instructions"),
    ENV("MCP_CONFIG", FLAG_STRING, mcp_config, NULL, "MCP servers of the agent, JSON {\"mcpServers\":{...}}"),
    ENV("MCP_CONFIG_FILE", FLAG_STRING, mcp_config_file, NULL, "the same in a file"),
    ENV("AMBIENT_MCP_URL", FLAG_STRING, mcp_url, NULL, "the platform's MCP server beside us"),
    ENV("CREDENTIAL_MCP_URLS", FLAG_STRING, credential_mcp_urls, NULL,
        "MCP servers of credentials beside us: {\"github\": URL}"),
    ENV("EVENTS_TAP_TIMEOUT_SEC", FLAG_INT, events_wait, "2",
        "how long /events/{thread}/wait waits for a run"),
    ENV("SHUTDOWN_GRACE", FLAG_DURATION, grace, "8s", "time for a clean end after SIGTERM"),
    {0},
};

static bool truthy(const char *s)
{
    Str t = str_trim(str_from(s));

    return str_ieq(t, STR("true")) || str_ieq(t, STR("yes")) || str_eq(t, STR("1"));
}

/* "90" is seconds, else Go's duration; empty and 0 are "never". */
static int parse_time(const char *name, const char *text, Usec *ret, Err *err)
{
    uint64_t seconds;
    Usec t;

    *ret = USEC_NEVER;
    if (!text || !*text)
        return 0;
    if (str_to_u64(str_from(text), &seconds) == 0 && seconds < UINT64_MAX / USEC_PER_SEC)
        t = seconds * USEC_PER_SEC;
    else if (duration_parse(str_from(text), &t) < 0)
        return err_set(err, ERR_USAGE, "%s: \"%s\" is no time: give seconds or a duration such as 30m", name,
                       text);
    if (t > 0)
        *ret = t;
    return 0;
}

static int load_times(RunnerConfig *c, Err *err)
{
    bool inactivity = !c->idle_text || !*c->idle_text;
    int r = parse_time(inactivity ? "AMBIENT_INACTIVITY_TIMEOUT_SEC" : "IDLE_TIMEOUT",
                       inactivity ? c->inactivity_text : c->idle_text, &c->idle, err);

    return r < 0 ? r : parse_time("TIMEOUT", c->timeout_text, &c->timeout, err);
}

static void load_mode(RunnerConfig *c)
{
    const char *text = c->interactive_text;

    if (text && *text)
        c->mode = truthy(text) ? MODE_INTERACTIVE : MODE_ONE_SHOT;
    else if (truthy(c->run_once_text))
        c->mode = MODE_ONE_SHOT;
}

static void replace(char **member, char *value)
{
    free(*member);
    *member = value;
}

static int load_files(RunnerConfig *c, Err *err)
{
    CLEANUP_BUF Buf prompt = BUF_INIT(PROMPT_MAX);

    if (!c->bot_token_file && file_exists(CREDS_FILE))
        c->bot_token_file = xstrdup(CREDS_FILE);
    if (c->grpc_tls && !c->grpc_ca_file && file_exists(SERVICE_CA))
        c->grpc_ca_file = xstrdup(SERVICE_CA);
    if (!c->initial_prompt_file || !*c->initial_prompt_file)
        return 0;
    int r = file_read(c->initial_prompt_file, &prompt, err);
    if (r < 0)
        return err_wrap(err, "INITIAL_PROMPT_FILE");
    replace(&c->initial_prompt, buf_take(&prompt));
    return 0;
}

/* Both in memory that /proc/<pid>/environ shows and in what children would inherit. */
static void scrub_environment(void)
{
    static const char *const names[] = {
        "BOT_TOKEN",     "AGUI_TOKEN",           "AMBIENT_API_TOKEN",
        "AMBIENT_TOKEN", "AMBIENT_CP_TOKEN_URL", "AMBIENT_CP_TOKEN_PUBLIC_KEY"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *value = getenv(names[i]); // NOLINT(concurrency-mt-unsafe): before any thread exists
        if (value)
            secret_erase(value, strlen(value));
        unsetenv(names[i]); // NOLINT(concurrency-mt-unsafe)
    }
}

static int derive(RunnerConfig *c, Err *err)
{
    c->grpc = c->grpc_enabled_text && str_ieq(str_trim(str_from(c->grpc_enabled_text)), STR("true")) &&
              c->grpc_url && *c->grpc_url;
    c->grpc_tls = truthy(c->grpc_tls_text);
    c->open = truthy(c->open_text);
    c->is_resume = c->resume_text && str_ieq(str_trim(str_from(c->resume_text)), STR("true"));
    c->host_given = c->host && *c->host;
    if (!c->host_given)
        replace(&c->host, xstrdup(c->agui_token || c->open ? "0.0.0.0" : "127.0.0.1"));
    load_mode(c);
    if (c->grpc && (!c->session_id || !*c->session_id))
        return err_set(err, ERR_USAGE, "SESSION_ID is not set");
    if (!c->session_id)
        c->session_id = xstrdup("unknown");
    if (c->port < 0 || c->port > 65535)
        return err_set(err, ERR_USAGE, "AGUI_PORT: %lld is no port", (long long)c->port);
    int r = load_times(c, err);
    if (r == 0)
        r = load_files(c, err);
    return r < 0 ? r : mcp_servers_settle(c, err);
}

int config_load(RunnerConfig *c, int argc, char **argv, Err *err)
{
    *c = (RunnerConfig){0};
    int r = flags_parse(table, c, argc, argv, NULL, err);
    if (r < 0)
        return r;
    c->bot_token = secret_from_env("BOT_TOKEN");
    scrub_environment();
    r = derive(c, err);
    if (r < 0)
        config_free(c);
    return r;
}

void config_free(RunnerConfig *c)
{
    flags_free(table, c);
    secret_free(c->bot_token);
    free(c->state_dir);
    free(c->agent_dir);
    *c = (RunnerConfig){0};
}
