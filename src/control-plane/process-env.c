#include "process-env.h"

#include <string.h>
#include "base/mem.h"
#include "session-env.h"

/* ---- what is let through from our own environment ---- */

static const char *const host_names[] = {
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "GOPATH",
    "GOROOT",
    "SSH_AUTH_SOCK",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "RUNNER_TYPE",
    "AMBIENT_CLAUDE_PATH",
    "AMBIENT_GEMINI_PATH",
    "BOSS_URL",
    "BOSS_SPACE",
};
static const char *const host_prefixes[] = {"ANTHROPIC_", "CLAUDE_", "GOOGLE_", "GEMINI_",
                                            "OPENAI_",    "GITHUB_", "GITLAB_", "GIT_"};

/* ---- building ---- */

static bool has_var(const StrVec *v, Str name)
{
    for (size_t i = 0; i < v->len; i++) {
        Str rest = str_from(v->ptr[i]);
        if (str_eq(str_cut(&rest, '='), name))
            return true;
    }
    return false;
}

static void set(StrVec *v, const char *name, Str value)
{
    strvec_take(v, xasprintf("%s=" STR_FMT, name, STR_ARG(value)));
}

static void setz(StrVec *v, const char *name, const char *value)
{
    set(v, name, str_from(value));
}

static void set_some(StrVec *v, const char *name, Str value)
{
    if (value.len > 0)
        set(v, name, value);
}

static void set_bool(StrVec *v, const char *name, bool value)
{
    setz(v, name, value ? "true" : "false");
}

static void set_int(StrVec *v, const char *name, int64_t value)
{
    strvec_take(v, xasprintf("%s=%lld", name, (long long)value));
}

static void add_host(const char *const *host, StrVec *v)
{
    for (; host && *host; host++) {
        Str rest = str_from(*host), name = str_cut(&rest, '=');
        if (rest.ptr && (env_name_in(name, host_names, ARRAY_LEN(host_names)) ||
                         env_name_starts(name, host_prefixes, ARRAY_LEN(host_prefixes))))
            strvec_add(v, *host);
    }
}

static void add_platform(const RunnerEnv *e, StrVec *v)
{
    const Config *c = e->config;
    setz(v, "SESSION_ID", obj_cstr(e->session, FIELD_ID));
    setz(v, "AGENTIC_SESSION_NAME", obj_cstr(e->session, SESSION_NAME));
    setz(v, "AGENTIC_SESSION_NAMESPACE", "local");
    setz(v, "PROJECT_NAME", obj_cstr(e->session, SESSION_PROJECT_ID));
    setz(v, "AGENT_ID", obj_cstr(e->session, SESSION_AGENT_ID));
    set_some(v, "PARENT_SESSION_ID", obj_str(e->session, SESSION_PARENT_SESSION_ID));
    setz(v, "WORKSPACE_PATH", e->workspace);
    if (e->hidden)
        setz(v, "AMBIENT_SANDBOX_HIDE", e->hidden);
    setz(v, "AMBIENT_TMP", e->tmp);
    if (c->private_tmp)
        setz(v, "TMPDIR", e->tmp);
    setz(v, "ARTIFACTS_DIR", "artifacts");
    setz(v, "AGUI_HOST", "127.0.0.1");
    set_int(v, "AGUI_PORT", e->port);
    setz(v, "AGUI_TOKEN", e->agui_token);
    setz(v, "USE_AGUI", "true");
    setz(v, "LOG_LEVEL", c->runner_log_level);
    setz(v, "BACKEND_API_URL", c->backend_api_url);
    setz(v, "AMBIENT_GRPC_URL", c->grpc_address);
    set_bool(v, "AMBIENT_GRPC_ENABLED", *c->grpc_address != '\0');
    set_bool(v, "AMBIENT_GRPC_USE_TLS", c->grpc_tls);
    set_some(v, "AMBIENT_GRPC_CA_CERT_FILE", str_from(c->ca_file));
    setz(v, "BOT_TOKEN_FILE", e->token_file);
    set_some(v, "CREDENTIAL_IDS", e->credential_ids);
    if (e->token_url && e->token_key) {
        setz(v, "AMBIENT_CP_TOKEN_URL", e->token_url);
        setz(v, "AMBIENT_CP_TOKEN_PUBLIC_KEY", e->token_key);
    }
    if (c->listen_fds)
        setz(v, "LISTEN_FDS", "1");
    set_int(v, "AMBIENT_RUN", e->run);
    if (obj_has(e->session, SESSION_START_TIME))
        setz(v, "IS_RESUME", "true");
}

static void add_provider(const Config *c, StrVec *v)
{
    setz(v, "USE_VERTEX", c->use_vertex ? "1" : "0");
    setz(v, "CLAUDE_CODE_USE_VERTEX", c->use_vertex ? "1" : "0");
    if (!c->use_vertex)
        return;
    set_some(v, "CLOUD_ML_REGION", str_from(c->vertex_region));
    setz(v, "GCE_METADATA_HOST", "metadata.invalid");
    setz(v, "GCE_METADATA_TIMEOUT", "1");
}

static void add_prompt(const RunnerEnv *e, StrVec *v)
{
    set_bool(v, "INTERACTIVE", session_env_interactive(e->session));
    if (e->prompt_file)
        setz(v, "INITIAL_PROMPT_FILE", e->prompt_file);
    else
        set_some(v, "INITIAL_PROMPT", e->prompt);
}

static void set_task(void *arg, const char *name, Str value)
{
    set(arg, name, value);
    if (strcmp(name, "TIMEOUT") == 0) /* as runners of the early local mode know it */
        set(arg, "SESSION_TIMEOUT", value);
}

static void set_new(void *arg, const char *name, Str value)
{
    if (!has_var(arg, str_from(name)))
        set(arg, name, value);
}

void runner_env_build(const RunnerEnv *e, StrVec *ret)
{
    const Config *c = e->config;
    setz(ret, RUN_COOKIE_NAME, e->cookie);
    StrVec host = {0};
    add_platform(e, ret);
    add_provider(c, ret);
    session_env_task(e->session, set_task, ret);
    add_prompt(e, ret);
    if (!secret_is_empty(c->anthropic_api_key))
        set(ret, "ANTHROPIC_API_KEY", secret_reveal(c->anthropic_api_key));
    add_host(e->host, &host);
    for (size_t i = 0; i < host.len; i++) {
        Str rest = str_from(host.ptr[i]);
        if (!has_var(ret, str_cut(&rest, '=')))
            strvec_add(ret, host.ptr[i]);
    }
    strvec_erase(&host);
    session_env_own(e->session, set_new, ret);
}
