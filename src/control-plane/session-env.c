#include "session-env.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "json/json.h"
#include "plan.h"

#define VALUE_MAX (256 * 1024)

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

bool env_name_in(Str name, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eqz(name, list[i]))
            return true;
    return false;
}

bool env_name_starts(Str name, const char *const *list, size_t n)
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
    return is_name(s) && !env_name_in(s, denied_names, ARRAY_LEN(denied_names)) &&
           !env_name_starts(s, denied_prefixes, ARRAY_LEN(denied_prefixes));
}

/* ---- the task ---- */

typedef struct Sink {
    EnvSet set;
    void *arg;
} Sink;

static void set_some(const Sink *s, const char *name, Str value)
{
    if (value.len > 0)
        s->set(s->arg, name, value);
}

static void set_count(const Sink *s, const char *name, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)n);
    if (n > 0)
        s->set(s->arg, name, str_from(text));
}

static void add_model(const Obj *o, const Sink *s)
{
    int64_t idle = obj_int(o, SESSION_INACTIVITY_TIMEOUT, 0);
    set_some(s, "LLM_MODEL", obj_str(o, SESSION_LLM_MODEL));
    if (obj_has(o, SESSION_LLM_TEMPERATURE)) {
        CLEANUP_BUF Buf b = BUF_INIT(64);
        json_write_double(&b, obj_double(o, SESSION_LLM_TEMPERATURE, 0));
        s->set(s->arg, "LLM_TEMPERATURE", buf_str(&b));
    }
    set_count(s, "LLM_MAX_TOKENS", obj_int(o, SESSION_LLM_MAX_TOKENS, 0));
    set_count(s, "TIMEOUT", obj_int(o, SESSION_TIMEOUT, 0));
    set_count(s, "AMBIENT_INACTIVITY_TIMEOUT_SEC", idle);
    set_count(s, "AMBIENT_IDLE_EXIT_CODE", idle > 0 ? RUNNER_EXIT_IDLE : 0);
}

/* `repos` when it is a JSON array, else the one of repo_url. */
static void add_repos(const Obj *o, const Sink *s)
{
    CLEANUP_JSON json_t *j = NULL;
    Str repos = obj_str(o, SESSION_REPOS), url = obj_str(o, SESSION_REPO_URL);
    if (repos.len > 0 && json_parse(repos, &j, NULL) == 0 && json_is_array(j) && json_array_size(j) > 0) {
        s->set(s->arg, "REPOS_JSON", repos);
        return;
    }
    if (url.len == 0)
        return;
    CLEANUP_BUF Buf b = BUF_INIT(VALUE_MAX);
    buf_addz(&b, "[{\"url\":");
    json_write_str_plain(&b, url);
    buf_addz(&b, "}]");
    if (!b.failed)
        s->set(s->arg, "REPOS_JSON", buf_str(&b));
}

static void add_workflow(const Obj *o, const Sink *s)
{
    static const char *const names[][2] = {{"git_url", "ACTIVE_WORKFLOW_GIT_URL"},
                                           {"branch", "ACTIVE_WORKFLOW_BRANCH"},
                                           {"path", "ACTIVE_WORKFLOW_PATH"}};
    CLEANUP_JSON json_t *j = NULL;
    Str text = obj_str(o, SESSION_WORKFLOW_ID);
    if (text.len == 0 || json_parse(text, &j, NULL) < 0)
        return; /* an id, not a place */
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        set_some(s, names[i][1], json_get_strv(j, names[i][0]));
}

void session_env_task(const Obj *session, EnvSet set, void *arg)
{
    const Sink s = {set, arg};
    add_model(session, &s);
    add_repos(session, &s);
    add_workflow(session, &s);
}

bool session_env_interactive(const Obj *session)
{
    return obj_bool(session, SESSION_INTERACTIVE, obj_str(session, SESSION_PROMPT).len == 0);
}

void session_env_own(const Obj *session, EnvSet set, void *arg)
{
    CLEANUP_JSON json_t *j = NULL;
    Str text = obj_str(session, SESSION_ENVIRONMENT_VARIABLES);
    if (text.len == 0 || json_parse(text, &j, NULL) < 0 || !json_is_object(j))
        return;
    const char *name;
    json_t *value;
    json_object_foreach(j, name, value)
    {
        if (json_is_string(value) && runner_env_allowed(name))
            set(arg, name, json_get_strv(j, name));
    }
}
