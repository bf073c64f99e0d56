/* The environment of a runner in a pod: contract, section 9.1, in its order. */
#include <stdio.h>
#include <string.h>
#include "kube-names.h"
#include "kube-pod.h"
#include "kube-sidecars.h"
#include "session-env.h"

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
    set_some(env, "AMBIENT_CP_TOKEN_URL", s->token_url);
    set_some(env, "AMBIENT_CP_TOKEN_PUBLIC_KEY", s->token_key);
    kube_identity_env(s, env);
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
    if (s->prompt_secret)
        setz(env, "INITIAL_PROMPT_FILE", "/var/run/ambient/prompt");
    else if (s->prompt.len > 0)
        kube_env_set(env, "INITIAL_PROMPT", s->prompt);
    set_bool(env, "INTERACTIVE", session_env_interactive(s->session));
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

static void set_var(void *arg, const char *name, Str value)
{
    kube_env_set(arg, name, value);
}

json_t *kube_env_build(const PodSpec *s)
{
    json_t *env = json_array();
    add_identity(s, env);
    add_platform(s, env);
    add_token(s, env);
    add_provider(s, env);
    add_prompt(s, env);
    session_env_task(s->session, set_var, env);
    kube_env_proxies(&s->config->kube, env);
    kube_sidecars_env(s, env);
    session_env_own(s->session, set_var, env);
    return env;
}
