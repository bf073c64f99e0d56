#include "kube-pod.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "kube-names.h"
#include "kube-quantity.h"
#include "kube-sidecars.h"

/* Beyond what a session may run (its timeout), the kubelet ends the pod: our own stop comes before. */
#define DEADLINE_SLACK 120
#define GRACE_SECONDS 60
#define IDENTITY_LIFE 3600 /* the kubelet renews it before */

void kube_set_owner(json_t *object, const char *name, const char *uid)
{
    json_t *owner = json_pack("{s:s, s:s, s:s, s:s, s:b}", "apiVersion", "v1", "kind", "ConfigMap", "name",
                              name, "uid", uid, "controller", 1);
    json_object_set_new(json_get_obj(object, "metadata"), "ownerReferences", json_pack("[o]", owner));
}

json_t *kube_account_build(const char *name, const char *ns, json_t *labels)
{
    json_t *o = new_object(name, ns, labels);
    json_object_set_new(o, "automountServiceAccountToken", json_false());
    return o;
}

json_t *kube_service_build(const char *name, const char *ns, Str session_id, json_t *labels)
{
    json_t *o = new_object(name, ns, labels);
    json_t *port = json_pack("{s:s, s:i, s:i, s:s}", "name", "agui", "port", RUNNER_PORT, "targetPort",
                             RUNNER_PORT, "protocol", "TCP");
    json_object_set_new(o, "spec",
                        json_pack("{s:s, s:{s:o}, s:[o]}", "type", "ClusterIP", "selector", LABEL_SESSION,
                                  json_strv(session_id), "ports", port));
    return o;
}

/* ---- resources ---- */

/* What the session asks for, if it is a quantity, and not more than the maximum. */
static const char * override(const json_t *wishes, const char *key, const char *max)
{
    const char *wish = json_get_str(wishes, key);
    int64_t n, limit;
    if (!wish || quantity_parse(str_from(wish), &n) < 0 || n == 0 ||
        quantity_parse(str_from(max), &limit) < 0)
        return NULL;
    return n > limit ? max : wish;
}

/* The request never exceeds the limit. */
static const char *request(const char *usual, const char *limit)
{
    int64_t a, b;
    bool fits =
        quantity_parse(str_from(usual), &a) == 0 && quantity_parse(str_from(limit), &b) == 0 && a <= b;
    return fits ? usual : limit;
}

static json_t *build_resources(const PodSpec *s)
{
    const KubeSettings *k = &s->config->kube;
    CLEANUP_JSON json_t *wishes = NULL;
    Str text = obj_str(s->session, SESSION_RESOURCE_OVERRIDES);
    if (text.len > 0 && json_parse(text, &wishes, NULL) == 0 && !json_is_object(wishes))
        json_decref(TAKE(wishes));
    const char *cpu = override(wishes, "cpu", k->cpu_max),
               *memory = override(wishes, "memory", k->memory_max);
    if (!cpu)
        cpu = k->cpu_limit;
    if (!memory)
        memory = k->memory_limit;
    return json_pack("{s:{s:s, s:s}, s:{s:s, s:s}}", "requests", "cpu", request(k->cpu_request, cpu),
                     "memory", request(k->memory_request, memory), "limits", "cpu", cpu, "memory", memory);
}

/* ---- the container ---- */

void kube_mount(json_t *mounts, const char *volume, const char *path, bool read_only)
{
    json_t *m = json_pack("{s:s, s:s}", "name", volume, "mountPath", path);
    if (read_only)
        json_object_set_new(m, "readOnly", json_true());
    json_array_append_new(mounts, m);
}

static bool has_identity(const PodSpec *s)
{
    return s->config->kube.token_review && s->token_url && *s->token_url;
}

void kube_identity_env(const PodSpec *s, json_t *env)
{
    if (has_identity(s))
        kube_env_set(env, "AMBIENT_CP_TOKEN_PROOF_FILE", STR(KUBE_IDENTITY_DIR "/token"));
}

void kube_identity_mount(const PodSpec *s, json_t *mounts)
{
    if (has_identity(s))
        kube_mount(mounts, KUBE_IDENTITY_VOLUME, KUBE_IDENTITY_DIR, true);
}

static json_t *build_mounts(const PodSpec *s)
{
    json_t *mounts = json_array();
    kube_mount(mounts, "workspace", "/workspace", false);
    if (s->ca_bundle)
        kube_mount(mounts, "service-ca", KUBE_CA_DIR, true);
    if (s->config->use_vertex)
        kube_mount(mounts, "vertex", "/app/vertex", true);
    if (s->prompt_secret)
        kube_mount(mounts, "prompt", "/var/run/ambient", true);
    if (s->creds_secret) /* the whole directory: a single file would never change */
        kube_mount(mounts, KUBE_TOKEN_VOLUME, KUBE_TOKEN_DIR, true);
    kube_identity_mount(s, mounts);
    return mounts;
}

const char *kube_pull_policy(const char *image)
{
    return str_starts(str_from(image), STR("localhost/")) ? "IfNotPresent" : "Always";
}

static json_t *build_container(const PodSpec *s)
{
    const KubeSettings *k = &s->config->kube;
    json_t *security =
        json_pack("{s:b, s:{s:[s]}}", "allowPrivilegeEscalation", 0, "capabilities", "drop", "ALL");
    json_t *probe = json_pack("{s:{s:s, s:i}, s:i, s:i, s:i}", "httpGet", "path", "/health", "port",
                              RUNNER_PORT, "periodSeconds", 2, "timeoutSeconds", 2, "failureThreshold", 30);
    return json_pack("{s:s, s:s, s:s, s:[{s:s, s:i, s:s}], s:o, s:o, s:o, s:o, s:o}", "name",
                     RUNNER_CONTAINER, "image", k->runner_image, "imagePullPolicy",
                     kube_pull_policy(k->runner_image), "ports", "name", "agui", "containerPort", RUNNER_PORT,
                     "protocol", "TCP", "env", kube_env_build(s), "resources", build_resources(s),
                     "securityContext", security, "volumeMounts", build_mounts(s), "readinessProbe", probe);
}

/* ---- the pod ---- */

static void volume(json_t *volumes, const char *name, const char *kind, json_t *source)
{
    json_array_append_new(volumes, json_pack("{s:s, s:o}", "name", name, kind, source));
}

static json_t *build_volumes(const PodSpec *s)
{
    json_t *volumes = json_array();
    if (s->claim)
        volume(volumes, "workspace", "persistentVolumeClaim", json_pack("{s:s}", "claimName", s->claim));
    else
        volume(volumes, "workspace", "emptyDir", json_object());
    if (s->ca_bundle)
        volume(volumes, "service-ca", "configMap", json_pack("{s:s}", "name", CA_BUNDLE));
    if (s->config->use_vertex)
        volume(volumes, "vertex", "secret", json_pack("{s:s}", "secretName", s->config->kube.vertex_secret));
    if (s->prompt_secret)
        volume(volumes, "prompt", "secret", json_pack("{s:s}", "secretName", s->prompt_secret));
    if (s->creds_secret)
        volume(volumes, KUBE_TOKEN_VOLUME, "secret",
               json_pack("{s:s, s:[{s:s, s:s}]}", "secretName", s->creds_secret, "items", "key", "api-token",
                         "path", "bot-token"));
    if (has_identity(s))
        volume(volumes, KUBE_IDENTITY_VOLUME, "projected",
               json_pack("{s:[{s:{s:s, s:i, s:s}}]}", "sources", "serviceAccountToken", "audience",
                         KUBE_IDENTITY_AUDIENCE, "expirationSeconds", IDENTITY_LIFE, "path", "token"));
    kube_sidecars_volumes(s, volumes);
    return volumes;
}

static json_t *build_annotations(const PodSpec *s)
{
    char requested[RFC3339_MAX], run[24];
    snprintf(run, sizeof run, "%lld", (long long)s->run);
    rfc3339_format(obj_time(s->session, FIELD_UPDATED_AT), requested);
    json_t *a = json_pack("{s:s, s:s, s:s}", LABEL_SESSION, obj_cstr(s->session, FIELD_ID), ANNOTATION_RUN,
                          run, ANNOTATION_REQUESTED, requested);
    if (s->token_key_id)
        json_object_set_new(a, ANNOTATION_KEY, json_string(s->token_key_id));
    json_object_set_new(a, ANNOTATION_SESSION_NAME, json_strv(obj_str(s->session, SESSION_NAME)));
    return a;
}

/* Native ones start before the runner, and end after it. */
static void add_sidecars(const PodSpec *s, json_t *spec)
{
    json_t *sidecars = kube_sidecars_build(s);
    if (s->native_sidecars && json_array_size(sidecars) > 0) {
        json_object_set_new(spec, "initContainers", sidecars);
        return;
    }
    json_array_extend(json_get_arr(spec, "containers"), sidecars);
    json_decref(sidecars);
}

/* No service links: the kubelet would put the address of every Service of the namespace into the environment,
   which are as many as it has sessions, until no program can be started any more. */
static json_t *build_spec(const PodSpec *s)
{
    const KubeSettings *k = &s->config->kube;
    json_t *security = json_pack("{s:{s:s}}", "seccompProfile", "type", "RuntimeDefault");
    if (k->non_root)
        json_object_set_new(security, "runAsNonRoot", json_true());
    if (s->claim && k->fs_group > 0) /* a new volume belongs to root, whom the runner is not */
        json_object_set_new(security, "fsGroup", json_integer(k->fs_group));
    json_t *spec = json_pack("{s:s, s:b, s:b, s:s, s:i, s:o, s:[o], s:o}", "serviceAccountName", s->account,
                             "automountServiceAccountToken", 0, "enableServiceLinks", 0, "restartPolicy",
                             "Never", "terminationGracePeriodSeconds", GRACE_SECONDS, "securityContext",
                             security, "containers", build_container(s), "volumes", build_volumes(s));
    add_sidecars(s, spec);
    if (k->pull_secret)
        json_object_set_new(spec, "imagePullSecrets", json_pack("[{s:s}]", "name", k->pull_secret));
    int64_t timeout = obj_int(s->session, SESSION_TIMEOUT, 0);
    if (timeout > 0)
        json_object_set_new(spec, "activeDeadlineSeconds", json_integer(timeout + DEADLINE_SLACK));
    return spec;
}

json_t *kube_pod_build(const PodSpec *s)
{
    Str id = obj_str(s->session, FIELD_ID), project = obj_str(s->session, SESSION_PROJECT_ID);
    json_t *pod = new_object(s->name, s->ns, session_labels(&s->config->kube, id, project));
    json_object_set_new(json_get_obj(pod, "metadata"), "annotations", build_annotations(s));
    json_object_set_new(pod, "spec", build_spec(s));
    kube_set_owner(pod, s->anchor_name, s->anchor_uid);
    return pod;
}
