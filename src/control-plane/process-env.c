#include "process-env.h"

#include <ctype.h>
#include <string.h>
#include "base/mem.h"
#include "json/json.h"
#include "plan.h"

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

/* ---- what a session may not set ---- */

static const char *const denied_names[] = {
    "PATH",
    "HOME",
    "SHELL",
    "USER",
    "LOGNAME",
    "IFS",
    "ENV",
    "BASH_ENV",
    "PROMPT_COMMAND",
    "GCONV_PATH",
    "HOSTALIASES",
    "LOCPATH",
    "NLSPATH",
    "MALLOC_TRACE",
    "TMPDIR",
    "NODE_OPTIONS",
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONSTARTUP",
    "PERL5LIB",
    "PERL5OPT",
    "RUBYLIB",
    "RUBYOPT",
    "JAVA_TOOL_OPTIONS",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_EXEC_PATH",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "SESSION_ID",
    "PROJECT_NAME",
    "AGENT_ID",
    "WORKSPACE_PATH",
    "BACKEND_API_URL",
    "IS_RESUME",
    "PARENT_SESSION_ID",
    "INITIAL_PROMPT",
    "INITIAL_PROMPT_FILE",
    "TIMEOUT",
    "SESSION_TIMEOUT",
};
static const char *const denied_prefixes[] = {"LD_",         "DYLD_",  "GLIBC_",   "BASH_FUNC_", "LISTEN_",
                                              "AMBIENT_",    "AGUI_",  "AGENTIC_", "BOT_TOKEN",  "OIDC_",
                                              "CREDENTIAL_", "LOCAL_", "CP_",      "GIT_CONFIG"};

static bool in_list(Str name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eqz(name, list[i]))
            return true;
    return false;
}

static bool has_prefix(Str name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_starts(name, str_from(list[i])))
            return true;
    return false;
}

static bool is_name(Str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.ptr[i]) && name.ptr[i] != '_')
            return false;
    return name.len > 0 && !isdigit((unsigned char)name.ptr[0]);
}

bool runner_env_allowed(const char *name)
{
    Str s = str_from(name);
    return is_name(s) && !in_list(s, denied_names, ARRAY_LEN(denied_names)) &&
           !has_prefix(s, denied_prefixes, ARRAY_LEN(denied_prefixes));
}

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
        if (rest.ptr && (in_list(name, host_names, ARRAY_LEN(host_names)) ||
                         has_prefix(name, host_prefixes, ARRAY_LEN(host_prefixes))))
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

static void add_model(const Obj *s, StrVec *v)
{
    set_some(v, "LLM_MODEL", obj_str(s, SESSION_LLM_MODEL));
    if (obj_has(s, SESSION_LLM_TEMPERATURE)) {
        CLEANUP_BUF Buf b = BUF_INIT(64);
        json_write_double(&b, obj_double(s, SESSION_LLM_TEMPERATURE, 0));
        set(v, "LLM_TEMPERATURE", buf_str(&b));
    }
    if (obj_int(s, SESSION_LLM_MAX_TOKENS, 0) > 0)
        set_int(v, "LLM_MAX_TOKENS", obj_int(s, SESSION_LLM_MAX_TOKENS, 0));
    if (obj_int(s, SESSION_TIMEOUT, 0) > 0) {
        set_int(v, "TIMEOUT", obj_int(s, SESSION_TIMEOUT, 0));
        set_int(v, "SESSION_TIMEOUT", obj_int(s, SESSION_TIMEOUT, 0));
    }
    if (obj_int(s, SESSION_INACTIVITY_TIMEOUT, 0) > 0) {
        set_int(v, "AMBIENT_INACTIVITY_TIMEOUT_SEC", obj_int(s, SESSION_INACTIVITY_TIMEOUT, 0));
        set_int(v, "AMBIENT_IDLE_EXIT_CODE", RUNNER_EXIT_IDLE);
    }
}

/* `repos` when it is a JSON array, else the one of repo_url. */
static void add_repos(const Obj *s, StrVec *v)
{
    CLEANUP_JSON json_t *j = NULL;
    Str repos = obj_str(s, SESSION_REPOS), url = obj_str(s, SESSION_REPO_URL);
    if (repos.len > 0 && json_parse(repos, &j, NULL) == 0 && json_is_array(j) && json_array_size(j) > 0) {
        set(v, "REPOS_JSON", repos);
        return;
    }
    if (url.len == 0)
        return;
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024);
    buf_addz(&b, "[{\"url\":");
    json_write_str_plain(&b, url);
    buf_addz(&b, "}]");
    if (!b.failed)
        set(v, "REPOS_JSON", buf_str(&b));
}

static void add_workflow(const Obj *s, StrVec *v)
{
    static const char *const names[][2] = {{"git_url", "ACTIVE_WORKFLOW_GIT_URL"},
                                           {"branch", "ACTIVE_WORKFLOW_BRANCH"},
                                           {"path", "ACTIVE_WORKFLOW_PATH"}};
    CLEANUP_JSON json_t *j = NULL;
    Str text = obj_str(s, SESSION_WORKFLOW_ID);
    if (text.len == 0 || json_parse(text, &j, NULL) < 0)
        return; /* an id, not a place */
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        set_some(v, names[i][1], json_get_strv(j, names[i][0]));
}

/* A session that was made with a task ends with it; one without waits for messages. */
static void add_prompt(const RunnerEnv *e, StrVec *v)
{
    bool interactive =
        obj_bool(e->session, SESSION_INTERACTIVE, obj_str(e->session, SESSION_PROMPT).len == 0);
    set_bool(v, "INTERACTIVE", interactive);
    if (e->prompt_file)
        setz(v, "INITIAL_PROMPT_FILE", e->prompt_file);
    else
        set_some(v, "INITIAL_PROMPT", e->prompt);
}

static void add_session(const Obj *s, StrVec *v)
{
    CLEANUP_JSON json_t *j = NULL;
    Str text = obj_str(s, SESSION_ENVIRONMENT_VARIABLES);
    if (text.len == 0 || json_parse(text, &j, NULL) < 0 || !json_is_object(j))
        return;
    const char *name;
    json_t *value;
    json_object_foreach(j, name, value)
    {
        if (json_is_string(value) && runner_env_allowed(name) && !has_var(v, str_from(name)))
            setz(v, name, json_string_value(value));
    }
}

void runner_env_build(const RunnerEnv *e, StrVec *ret)
{
    const Config *c = e->config;
    setz(ret, RUN_COOKIE_NAME, e->cookie);
    StrVec host = {0};
    add_platform(e, ret);
    add_provider(c, ret);
    add_model(e->session, ret);
    add_repos(e->session, ret);
    add_workflow(e->session, ret);
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
    add_session(e->session, ret);
}
