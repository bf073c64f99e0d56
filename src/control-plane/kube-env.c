/* The environment of a runner in a pod: contract, section 9.1, in its order. */
#include <stdio.h>
#include <string.h>
#include "kube-names.h"
#include "kube-pod.h"
#include "kube-sidecars.h"
#include "plan.h"
#include "process-env.h"

#define VALUE_MAX (256 * 1024)
#define CLUSTER_NO_PROXY ".svc,.svc.cluster.local,localhost,127.0.0.1"

void kube_env_escape(Buf *b, Str value)
{
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '$' && i + 1 < value.len && value.ptr[i + 1] == '(')
            buf_addc(b, '$');
        buf_addc(b, value.ptr[i]);
    }
}

bool kube_env_has(const json_t *env, const char *name)
{
    for (size_t i = 0; i < json_array_size(env); i++)
        if (strcmp(json_get_str(json_array_get(env, i), "name"), name) == 0)
            return true;
    return false;
}

void kube_env_set(json_t *env, const char *name, Str value)
{
    if (kube_env_has(env, name))
        return;
    CLEANUP_BUF Buf b = BUF_INIT(VALUE_MAX * 2);
    kube_env_escape(&b, value);
    json_array_append_new(env, json_pack("{s:s, s:o}", "name", name, "value", json_strv(buf_str(&b))));
}

static void setz(json_t *env, const char *name, const char *value)
{
    kube_env_set(env, name, str_from(value));
}

static void set_some(json_t *env, const char *name, const char *value)
{
    if (value && *value)
        setz(env, name, value);
}

static void set_bool(json_t *env, const char *name, bool value)
{
    setz(env, name, value ? "true" : "false");
}

static void set_int(json_t *env, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    setz(env, name, text);
}

void kube_env_from_secret(json_t *env, const char *name, const char *secret, const char *key, bool optional)
{
    json_array_append_new(env, json_pack("{s:s, s:{s:{s:s, s:s, s:b}}}", "name", name, "valueFrom",
                                         "secretKeyRef", "name", secret, "key", key, "optional", optional));
}

static void add_identity(const PodSpec *s, json_t *env)
{
    const Config *c = s->config;
    setz(env, "SESSION_ID", obj_cstr(s->session, FIELD_ID));
    setz(env, "AGENTIC_SESSION_NAME", obj_cstr(s->session, SESSION_NAME));
    setz(env, "AGENTIC_SESSION_NAMESPACE", s->ns);
    setz(env, "PROJECT_NAME", obj_cstr(s->session, SESSION_PROJECT_ID));
    setz(env, "WORKSPACE_PATH", "/workspace");
    setz(env, "ARTIFACTS_DIR", "artifacts");
    set_int(env, "AGUI_PORT", RUNNER_PORT);
    setz(env, "USE_AGUI", "true");
    setz(env, "DEBUG", "true");
    setz(env, "LOG_LEVEL", c->runner_log_level);
    setz(env, "BACKEND_API_URL", c->backend_api_url);
    setz(env, "USE_VERTEX", c->use_vertex ? "1" : "0");
    setz(env, "CLAUDE_CODE_USE_VERTEX", c->use_vertex ? "1" : "0");
}

static void add_platform(const PodSpec *s, json_t *env)
{
    const Config *c = s->config;
    setz(env, "AMBIENT_CP_TOKEN_URL", s->token_url ? s->token_url : "");
    setz(env, "AMBIENT_CP_TOKEN_PUBLIC_KEY", s->token_key ? s->token_key : "");
    setz(env, "AMBIENT_GRPC_URL", c->grpc_address);
    if (s->creds_secret) /* for images that know no file; ours reads the file first */
        kube_env_from_secret(env, "BOT_TOKEN", s->creds_secret, "api-token", false);
    set_bool(env, "AMBIENT_GRPC_ENABLED", *c->grpc_address != '\0');
    set_bool(env, "AMBIENT_GRPC_USE_TLS", c->grpc_tls);
    setz(env, "AGENT_ID", obj_cstr(s->session, SESSION_AGENT_ID));
    if (s->ca_bundle) {
        setz(env, "AMBIENT_GRPC_CA_CERT_FILE", KUBE_CA_FILE);
        setz(env, "SSL_CERT_FILE", KUBE_CA_FILE);
        setz(env, "REQUESTS_CA_BUNDLE", KUBE_CA_FILE);
    }
    if (obj_has(s->session, SESSION_START_TIME))
        setz(env, "IS_RESUME", "true");
    set_int(env, "AMBIENT_RUN", s->run);
}

/* With it the runner listens for others than itself, and answers only who has it. */
static void add_token(const PodSpec *s, json_t *env)
{
    if (!s->token_secret)
        return;
    setz(env, "AGUI_HOST", "0.0.0.0");
    kube_env_from_secret(env, "AGUI_TOKEN", s->token_secret, "agui-token", false);
}

static void add_provider(const PodSpec *s, json_t *env)
{
    const Config *c = s->config;
    if (s->model_secret)
        kube_env_from_secret(env, "ANTHROPIC_API_KEY", s->model_secret, "ANTHROPIC_API_KEY", true);
    if (!c->use_vertex)
        return;
    set_some(env, "ANTHROPIC_VERTEX_PROJECT_ID", c->vertex_project);
    set_some(env, "CLOUD_ML_REGION", c->vertex_region);
    setz(env, "GOOGLE_APPLICATION_CREDENTIALS",
         c->vertex_credentials ? c->vertex_credentials : "/app/vertex/ambient-code-key.json");
    setz(env, "GCE_METADATA_HOST", "metadata.invalid");
    setz(env, "GCE_METADATA_TIMEOUT", "1");
}

static void add_prompt(const PodSpec *s, json_t *env)
{
    bool interactive =
        obj_bool(s->session, SESSION_INTERACTIVE, obj_str(s->session, SESSION_PROMPT).len == 0);
    if (s->prompt_secret)
        setz(env, "INITIAL_PROMPT_FILE", "/var/run/ambient/prompt");
    else if (s->prompt.len > 0)
        kube_env_set(env, "INITIAL_PROMPT", s->prompt);
    set_bool(env, "INTERACTIVE", interactive);
}

static void add_model(const Obj *o, json_t *env)
{
    set_some(env, "LLM_MODEL", obj_cstr(o, SESSION_LLM_MODEL));
    if (obj_has(o, SESSION_LLM_TEMPERATURE)) {
        CLEANUP_BUF Buf b = BUF_INIT(64);
        json_write_double(&b, obj_double(o, SESSION_LLM_TEMPERATURE, 0));
        kube_env_set(env, "LLM_TEMPERATURE", buf_str(&b));
    }
    if (obj_int(o, SESSION_LLM_MAX_TOKENS, 0) > 0)
        set_int(env, "LLM_MAX_TOKENS", obj_int(o, SESSION_LLM_MAX_TOKENS, 0));
    if (obj_int(o, SESSION_TIMEOUT, 0) > 0)
        set_int(env, "TIMEOUT", obj_int(o, SESSION_TIMEOUT, 0));
    if (obj_int(o, SESSION_INACTIVITY_TIMEOUT, 0) > 0) {
        set_int(env, "AMBIENT_INACTIVITY_TIMEOUT_SEC", obj_int(o, SESSION_INACTIVITY_TIMEOUT, 0));
        set_int(env, "AMBIENT_IDLE_EXIT_CODE", RUNNER_EXIT_IDLE);
    }
}

/* `repos` when it is a JSON array, else the one of repo_url. */
static void add_repos(const Obj *o, json_t *env)
{
    CLEANUP_JSON json_t *j = NULL;
    Str repos = obj_str(o, SESSION_REPOS), url = obj_str(o, SESSION_REPO_URL);
    if (repos.len > 0 && json_parse(repos, &j, NULL) == 0 && json_is_array(j) && json_array_size(j) > 0) {
        kube_env_set(env, "REPOS_JSON", repos);
        return;
    }
    if (url.len == 0)
        return;
    CLEANUP_BUF Buf b = BUF_INIT(VALUE_MAX);
    buf_addz(&b, "[{\"url\":");
    json_write_str_plain(&b, url);
    buf_addz(&b, "}]");
    kube_env_set(env, "REPOS_JSON", buf_str(&b));
}

static void add_workflow(const Obj *o, json_t *env)
{
    static const char *const names[][2] = {{"git_url", "ACTIVE_WORKFLOW_GIT_URL"},
                                           {"branch", "ACTIVE_WORKFLOW_BRANCH"},
                                           {"path", "ACTIVE_WORKFLOW_PATH"}};
    CLEANUP_JSON json_t *j = NULL;
    Str text = obj_str(o, SESSION_WORKFLOW_ID);
    if (text.len == 0 || json_parse(text, &j, NULL) < 0)
        return; /* an id, not a place */
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        set_some(env, names[i][1], json_get_str(j, names[i][0]));
}

/* Both cases, since libraries differ; what is inside the cluster is reached directly. */
void kube_env_proxies(const KubeSettings *k, json_t *env)
{
    if (!k->http_proxy && !k->https_proxy)
        return;
    CLEANUP_BUF Buf no = BUF_INIT(VALUE_MAX);
    if (k->no_proxy && *k->no_proxy)
        buf_addf(&no, "%s,", k->no_proxy);
    buf_addz(&no, CLUSTER_NO_PROXY);
    const struct {
        const char *upper, *lower, *value;
    } all[] = {{"HTTP_PROXY", "http_proxy", k->http_proxy},
               {"HTTPS_PROXY", "https_proxy", k->https_proxy},
               {"NO_PROXY", "no_proxy", no.data}};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        set_some(env, all[i].upper, all[i].value);
        set_some(env, all[i].lower, all[i].value);
    }
}

static void add_own(const Obj *o, json_t *env)
{
    CLEANUP_JSON json_t *j = NULL;
    Str text = obj_str(o, SESSION_ENVIRONMENT_VARIABLES);
    if (text.len == 0 || json_parse(text, &j, NULL) < 0 || !json_is_object(j))
        return;
    const char *name;
    json_t *value;
    json_object_foreach(j, name, value)
    {
        if (json_is_string(value) && runner_env_allowed(name))
            setz(env, name, json_string_value(value));
    }
}

json_t *kube_env_build(const PodSpec *s)
{
    json_t *env = json_array();
    add_identity(s, env);
    add_platform(s, env);
    add_token(s, env);
    add_provider(s, env);
    add_prompt(s, env);
    add_model(s->session, env);
    add_repos(s->session, env);
    add_workflow(s->session, env);
    kube_env_proxies(&s->config->kube, env);
    kube_sidecars_env(s, env);
    add_own(s->session, env);
    return env;
}
