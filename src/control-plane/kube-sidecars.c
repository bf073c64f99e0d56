#include "kube-sidecars.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "kube-names.h"

#define MCP_PORT 8090
#define IDS_MAX ((size_t)64 << 10)
#define READ_ONLY "JIRA_READ_ONLY_MODE"

typedef struct Row {
    const char *provider, *container;
    int port;
    size_t image; /* offset in KubeSettings */
} Row;

/* Sorted by provider: that is the order in which they are emitted. */
static const Row rows[] = {
    {"github", "credential-github", 8091, offsetof(KubeSettings, github_mcp_image)},
    {"google", "credential-google", 8094, offsetof(KubeSettings, google_mcp_image)},
    {"jira", "credential-jira", 8092, offsetof(KubeSettings, jira_mcp_image)},
    {"kubeconfig", "credential-k8s", 8093, offsetof(KubeSettings, k8s_mcp_image)},
};

static const char *image_of(const KubeSettings *s, const Row *r)
{
    char *image;
    memcpy(&image, (const char *)s + r->image, sizeof(image));
    return image && *image ? image : NULL;
}

static bool has_mcp(const KubeSettings *s)
{
    return s->mcp_image && *s->mcp_image;
}

bool kube_sidecars_wanted(const KubeSettings *s)
{
    bool any = has_mcp(s);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        any = any || image_of(s, &rows[i]);
    return any;
}

/* ---- which of them a session has ---- */

static bool has_endpoint(const PodSpec *s)
{
    return s->token_url && *s->token_url && s->token_key && *s->token_key;
}

/* Without a way to the session's token a sidecar could do nothing. */
static bool may_have_sidecars(const PodSpec *s)
{
    return has_endpoint(s) || s->creds_secret;
}

static json_t *read_object(Str text)
{
    json_t *j = NULL;
    if (text.len == 0 || json_parse(text, &j, NULL) < 0 || !json_is_object(j)) {
        json_decref(j);
        return json_object();
    }
    return j;
}

static json_t *read_ids(const PodSpec *s)
{
    return read_object(str_from(s->credential_ids ? s->credential_ids : ""));
}

static const Row *row_of(const PodSpec *s, const char *provider)
{
    for (size_t i = 0; i < ARRAY_LEN(rows) && may_have_sidecars(s); i++)
        if (strcmp(rows[i].provider, provider) == 0)
            return image_of(&s->config->kube, &rows[i]) ? &rows[i] : NULL;
    return NULL;
}

static const char *id_of(const PodSpec *s, const json_t *ids, const Row *r)
{
    const char *id = json_get_str(ids, r->provider);
    return id && *id && row_of(s, r->provider) ? id : NULL;
}

/* ---- one container ---- */

static void setz(json_t *env, const char *name, const char *value)
{
    kube_env_set(env, name, str_from(value));
}

static void add_volume(json_t *volumes, const char *name, const char *kind, json_t *source)
{
    json_array_append_new(volumes, json_pack("{s:s, s:o}", "name", name, kind, source));
}

/* One of the two: the endpoint, or the file that the kubelet keeps fresh. */
static void add_token_source(const PodSpec *s, json_t *env, json_t *mounts)
{
    if (has_endpoint(s)) {
        setz(env, "AMBIENT_CP_TOKEN_URL", s->token_url);
        setz(env, "AMBIENT_CP_TOKEN_PUBLIC_KEY", s->token_key);
        kube_identity_env(s, env);
        kube_identity_mount(s, mounts);
    } else {
        kube_mount(mounts, KUBE_TOKEN_VOLUME, KUBE_TOKEN_DIR, true);
    }
}

static void add_common(const PodSpec *s, json_t *env, json_t *mounts)
{
    const Config *c = s->config;
    setz(env, "AMBIENT_API_URL", c->kube.mcp_api_url ? c->kube.mcp_api_url : c->api_url);
    add_token_source(s, env, mounts);
    if (s->ca_bundle) {
        setz(env, "SSL_CERT_FILE", KUBE_CA_FILE);
        kube_mount(mounts, "service-ca", KUBE_CA_DIR, true);
    }
    kube_env_proxies(&c->kube, env);
}

static json_t *new_container(const PodSpec *s, const char *name, const char *image, json_t *env,
                             json_t *mounts)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:o, s:o}", "name", name, "image", image, "imagePullPolicy",
                          kube_pull_policy(image), "env", env, "volumeMounts", mounts);
    if (s->native_sidecars)
        json_object_set_new(o, "restartPolicy", json_string("Always"));
    return o;
}

static void set_port(json_t *container, const char *name, int port)
{
    json_object_set_new(
        container, "ports",
        json_pack("[{s:s, s:i, s:s}]", "name", name, "containerPort", port, "protocol", "TCP"));
}

static void set_resources(json_t *container, const char *memory_request, const char *memory_limit)
{
    json_object_set_new(container, "resources",
                        json_pack("{s:{s:s, s:s}, s:{s:s, s:s}}", "requests", "cpu", "100m", "memory",
                                  memory_request, "limits", "cpu", "500m", "memory", memory_limit));
}

static json_t *build_mcp(const PodSpec *s)
{
    json_t *env = json_array(), *mounts = json_array();
    setz(env, "MCP_TRANSPORT", "sse");
    setz(env, "MCP_BIND_ADDR", ":8090");
    add_common(s, env, mounts);
    setz(env, "SESSION_ID", obj_cstr(s->session, FIELD_ID));
    if (!has_endpoint(s)) /* for images that know no file */
        kube_env_from_secret(env, "AMBIENT_TOKEN", s->creds_secret, "api-token", false);
    json_t *c = new_container(s, "ambient-mcp", s->config->kube.mcp_image, env, mounts);
    set_port(c, "mcp-sse", MCP_PORT);
    set_resources(c, "128Mi", "256Mi");
    json_object_set_new(
        c, "securityContext",
        json_pack("{s:b, s:{s:[s]}}", "allowPrivilegeEscalation", 0, "capabilities", "drop", "ALL"));
    return c;
}

/* What the session asks for; nobody who says nothing gets a Jira that can be written to. The second name is
   the one that the server reads. */
static void add_read_only(const PodSpec *s, json_t *env)
{
    CLEANUP_JSON json_t *own = read_object(obj_str(s->session, SESSION_ENVIRONMENT_VARIABLES));
    const char *wish = json_get_str(own, READ_ONLY);
    setz(env, READ_ONLY, wish && *wish ? wish : "true");
    setz(env, "READ_ONLY_MODE", wish && *wish ? wish : "true");
}

static void set_only_id(json_t *env, const char *provider, const char *id)
{
    CLEANUP_BUF Buf b = BUF_INIT(IDS_MAX);
    bool first = true;
    (void)buf_addc(&b, '{');
    json_key(&b, &first, provider);
    json_write_str_plain(&b, str_from(id));
    (void)buf_addc(&b, '}');
    kube_env_set(env, "CREDENTIAL_IDS", buf_str(&b));
}

static json_t *build_credential(const PodSpec *s, const Row *r, const char *id)
{
    const KubeSettings *k = &s->config->kube;
    char name[32];
    json_t *env = json_array(), *mounts = json_array();
    setz(env, "SESSION_ID", obj_cstr(s->session, FIELD_ID));
    set_only_id(env, r->provider, id);
    setz(env, "CREDENTIAL_PROVIDER", r->provider);
    setz(env, "AGENTIC_SESSION_NAMESPACE", s->ns);
    add_common(s, env, mounts);
    setz(env, "PLATFORM_MODE", k->mpp ? "mpp" : "standard");
    setz(env, "MPP_CONFIG_NAMESPACE", k->mpp_ns);
    if (strcmp(r->provider, "jira") == 0)
        add_read_only(s, env);
    snprintf(name, sizeof(name), "cred-tmp-%s", r->provider);
    kube_mount(mounts, name, "/tmp", false);
    json_t *c = new_container(s, r->container, image_of(k, r), env, mounts);
    snprintf(name, sizeof(name), "cred-%s", r->provider);
    set_port(c, name, r->port);
    set_resources(c, "256Mi", "512Mi");
    json_object_set_new(c, "securityContext",
                        json_pack("{s:b, s:b, s:b, s:{s:[s]}}", "allowPrivilegeEscalation", 0, "runAsNonRoot",
                                  1, "readOnlyRootFilesystem", 1, "capabilities", "drop", "ALL"));
    return c;
}

json_t *kube_sidecars_build(const PodSpec *s)
{
    CLEANUP_JSON json_t *ids = read_ids(s);
    json_t *all = json_array();
    if (has_mcp(&s->config->kube) && may_have_sidecars(s))
        json_array_append_new(all, build_mcp(s));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *id = id_of(s, ids, &rows[i]);
        if (id)
            json_array_append_new(all, build_credential(s, &rows[i], id));
    }
    return all;
}

void kube_sidecars_volumes(const PodSpec *s, json_t *volumes)
{
    CLEANUP_JSON json_t *ids = read_ids(s);
    char name[32];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!id_of(s, ids, &rows[i]))
            continue;
        snprintf(name, sizeof(name), "cred-tmp-%s", rows[i].provider);
        add_volume(volumes, name, "emptyDir", json_pack("{s:s}", "sizeLimit", "10Mi"));
    }
}

/* ---- what the runner is told ---- */

static void add_urls(const PodSpec *s, const json_t *ids, json_t *env)
{
    CLEANUP_BUF Buf urls = BUF_INIT(IDS_MAX);
    bool first = true;
    (void)buf_addc(&urls, '{');
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (!id_of(s, ids, &rows[i]))
            continue;
        json_key(&urls, &first, rows[i].provider);
        (void)buf_addf(&urls, "\"http://localhost:%d\"", rows[i].port);
    }
    (void)buf_addc(&urls, '}');
    if (first)
        return;
    kube_env_set(env, "CREDENTIAL_MCP_URLS", buf_str(&urls));
    setz(env, "CREDENTIAL_SIDECAR_MODE", "true");
}

/* Those without a sidecar are not lost because others have one. */
static void add_rest(const PodSpec *s, const json_t *ids, json_t *env)
{
    CLEANUP_BUF Buf rest = BUF_INIT(IDS_MAX);
    const char *provider;
    json_t *id;
    bool first = true;
    (void)buf_addc(&rest, '{');
    json_object_foreach((json_t *)(uintptr_t)ids, provider, id)
    {
        if (!json_is_string(id) || row_of(s, provider))
            continue;
        json_key(&rest, &first, provider);
        json_write_str_plain(&rest, str_from(json_string_value(id)));
    }
    (void)buf_addc(&rest, '}');
    if (!first)
        kube_env_set(env, "CREDENTIAL_IDS", buf_str(&rest));
}

void kube_sidecars_env(const PodSpec *s, json_t *env)
{
    CLEANUP_JSON json_t *ids = read_ids(s);
    if (has_mcp(&s->config->kube) && may_have_sidecars(s))
        setz(env, "AMBIENT_MCP_URL", "http://localhost:8090");
    add_urls(s, ids, env);
    add_rest(s, ids, env);
}
