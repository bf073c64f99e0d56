#include "kube-project-objects.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "kube-names.h"

#define RBAC "rbac.authorization.k8s.io"
#define HASHED_MAX (4 * 1024 * 1024)

static void add(ProjectObjects *o, KubeKind kind, json_t *want, bool adopt)
{
    if (o->n < PROJECT_OBJECTS_MAX)
        o->list[o->n++] = (ProjectObject){kind, want, adopt};
    else
        json_decref(want); /* nobody gives access to so many groups */
}

static json_t *binding(const char *name, const char *ns, json_t *labels, const char *role, json_t *subject)
{
    json_t *b = new_object(name, ns, labels);
    json_object_set_new(b, "roleRef",
                        json_pack("{s:s, s:s, s:s}", "apiGroup", RBAC, "kind", "ClusterRole", "name", role));
    json_object_set_new(b, "subjects", json_pack("[o]", subject));
    return b;
}

/* ---- ours ---- */

static json_t *rights(const Config *c, const char *ns, Str project)
{
    json_t *subject = json_pack("{s:s, s:s, s:s}", "kind", "ServiceAccount", "name", c->kube.account_name,
                                "namespace", c->kube.runtime_ns);
    return binding(PROJECT_ROLE_BINDING, ns, project_labels(project), PROJECT_ROLE, subject);
}

/* Runners are called by the API server, which lives in our namespace, and by nobody else: not by what else is
   there, either. The reference's has that label, too. */
static json_t *network_policy(const Config *c, const char *ns)
{
    json_t *o = new_object("allow-ambient-api-server", ns, project_labels(STR_NULL));
    json_t *from = json_pack("[{s:{s:{s:s}}, s:{s:{s:s}}}]", "namespaceSelector", "matchLabels",
                             "kubernetes.io/metadata.name", c->kube.runtime_ns, "podSelector", "matchLabels",
                             "app", "ambient-api-server");
    json_t *ports = json_pack("[{s:s, s:i}]", "protocol", "TCP", "port", RUNNER_PORT);
    json_object_set_new(o, "spec",
                        json_pack("{s:{}, s:[s], s:[{s:o, s:o}]}", "podSelector", "policyTypes", "Ingress",
                                  "ingress", "from", from, "ports", ports));
    return o;
}

static json_t *model_secret(const Config *c, const char *ns, Str project)
{
    json_t *o = new_object(MODEL_SECRET, ns, project_labels(project));
    json_object_set_new(o, "type", json_string("Opaque"));
    json_object_set_new(
        o, "stringData",
        json_pack("{s:o}", "ANTHROPIC_API_KEY", json_strv(secret_reveal(c->anthropic_api_key))));
    return o;
}

static json_t *image_puller(const Config *c, const char *ns, Str project)
{
    char name[NAME_MAX_LEN];
    CLEANUP_FREE char *group = xasprintf("system:serviceaccounts:%s", ns);
    snprintf(name, sizeof name, "ambient-image-puller-%s", ns);
    json_t *subject = json_pack("{s:s, s:s, s:s}", "apiGroup", RBAC, "kind", "Group", "name", group);
    return binding(name, c->kube.runner_image_ns, project_labels(project), "system:image-puller", subject);
}

json_t *project_runner_secrets_build(const char *ns)
{
    json_t *o = new_object(RUNNER_SECRETS, ns, json_pack("{s:s}", "app", RUNNER_SECRETS));
    json_object_set_new(json_get_obj(o, "metadata"), "annotations",
                        json_pack("{s:s}", "ambient-code.io/runner-secret", "true"));
    json_object_set_new(o, "type", json_string("Opaque"));
    json_object_set_new(o, "stringData", json_pack("{s:s}", "ANTHROPIC_API_KEY", ""));
    return o;
}

json_t *project_vertex_build(const KubeSettings *s, const char *ns, const json_t *source)
{
    json_t *o = new_object(s->vertex_secret, ns, project_labels(STR_NULL));
    json_t *data = json_get_obj(source, "data");
    json_object_set_new(o, "type", json_string("Opaque"));
    json_object_set_new(o, "data", data ? json_deep_copy(data) : json_object());
    return o;
}

json_t *project_settings_build(const char *ns, Str project)
{
    json_t *o = new_object(PROJECT_SETTINGS_OBJECT, ns, project_labels(project));
    json_object_set_new(o, "spec", json_pack("{s:[]}", "groupAccess"));
    return o;
}

json_t *project_namespace_build(const KubeSettings *s, const char *ns, Str project)
{
    return new_object(ns, NULL, namespace_labels(s, project));
}

json_t *project_tenant_build(const KubeSettings *s, const char *ns, Str project)
{
    json_t *labels = namespace_labels(s, project);
    json_object_set_new(labels, "tenant.paas.redhat.com/namespace-type", json_string("runtime"));
    json_object_set_new(labels, "tenant.paas.redhat.com/tenant", json_string("ambient-code"));
    json_t *o = new_object(ns + strlen(MPP_PREFIX), s->mpp_ns, labels);
    json_object_set_new(
        o, "spec", json_pack("{s:{s:s}, s:s}", "network", "security-zone", "internal", "type", "runtime"));
    return o;
}

/* ---- access of people ---- */

static json_t *person(const char *who)
{
    static const char prefix[] = "system:serviceaccount:";
    if (strncmp(who, prefix, strlen(prefix)) != 0)
        return json_pack("{s:s, s:s, s:s}", "apiGroup", RBAC, "kind", "User", "name", who);
    Str rest = str_from(who + strlen(prefix)), ns = str_cut(&rest, ':');
    return json_pack("{s:s, s:o, s:o}", "kind", "ServiceAccount", "namespace", json_strv(ns), "name",
                     json_strv(rest));
}

static json_t *role_labels(const char *role)
{
    json_t *l = project_labels(STR_NULL);
    json_object_set_new(l, LABEL_ROLE, json_string(role));
    return l;
}

static void add_creator(const char *ns, const Obj *project, ProjectObjects *o)
{
    CLEANUP_JSON json_t *annotations = NULL;
    Str text = obj_str(project, PROJECT_ANNOTATIONS);
    char name[NAME_MAX_LEN];
    if (text.len == 0 || json_parse(text, &annotations, NULL) < 0)
        return;
    const char *who = json_get_str(annotations, "ambient-code.io/created-by");
    if (!who || !*who)
        return;
    subject_name("ambient-admin-", who, "", name);
    add(o, KUBE_ROLE_BINDINGS, binding(name, ns, role_labels("admin"), "ambient-project-admin", person(who)),
        false);
}

/* Roles that are none give nothing: a typing mistake must not open a project. */
static const char *role_of(const char *text)
{
    static const char *const roles[] = {"admin", "edit", "view"};
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (str_ieq(str_from(text), str_from(roles[i])))
            return roles[i];
    return NULL;
}

static void add_group(const char *ns, const json_t *entry, ProjectObjects *o)
{
    const char *group = json_get_str(entry, "groupName"), *text = json_get_str(entry, "role");
    char name[NAME_MAX_LEN], suffix[16], role_name[64];
    if (!group || !*group || !text || !*text)
        return;
    const char *role = role_of(text);
    if (!role) {
        log_warn("unknown role in group access: nothing is given", F_STR("namespace", ns),
                 F_STR("role", text));
        return;
    }
    snprintf(suffix, sizeof suffix, "-%s", role);
    snprintf(role_name, sizeof role_name, "ambient-project-%s", role);
    subject_name("", group, suffix, name);
    json_t *subject = json_pack("{s:s, s:s, s:s}", "apiGroup", RBAC, "kind", "Group", "name", group);
    if (project_objects_has(o, KUBE_ROLE_BINDINGS, name))
        json_decref(subject); /* said twice */
    else
        add(o, KUBE_ROLE_BINDINGS, binding(name, ns, role_labels(role), role_name, subject), false);
}

static void add_groups(const char *ns, const Obj *settings, ProjectObjects *o)
{
    CLEANUP_JSON json_t *list = NULL;
    Str text = settings ? obj_str(settings, PROJECT_SETTINGS_GROUP_ACCESS) : STR_NULL;
    if (text.len == 0)
        return;
    if (json_parse(text, &list, NULL) < 0 || !json_is_array(list)) {
        log_warn("group access is no JSON array", F_STR("namespace", ns));
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++)
        add_group(ns, json_array_get(list, i), o);
}

/* ---- all ---- */

static void hash_all(ProjectObjects *o)
{
    CLEANUP_BUF Buf text = BUF_INIT(HASHED_MAX);
    CLEANUP_BUF Buf hex = BUF_INIT(64);
    uint8_t digest[SHA256_LEN];
    for (size_t i = 0; i < o->n; i++)
        json_write_plain(&text, o->list[i].want);
    sha256(buf_str(&text), digest);
    secret_erase(text.data, text.cap);
    hex_write(&hex, digest, 16);
    snprintf(o->hash, sizeof o->hash, "%s", hex.data);
}

void project_objects_build(const Config *c, const char *ns, const Obj *project, const Obj *settings,
                           ProjectObjects *ret)
{
    Str id = obj_str(project, FIELD_ID);
    ret->n = 0;
    if (!c->kube.mpp) /* there the operator of tenants gives us our rights */
        add(ret, KUBE_ROLE_BINDINGS, rights(c, ns, id), true);
    add(ret, KUBE_NETWORK_POLICIES, network_policy(c, ns), false);
    if (!secret_is_empty(c->anthropic_api_key))
        add(ret, KUBE_SECRETS, model_secret(c, ns, id), false);
    if (c->kube.runner_image_ns)
        add(ret, KUBE_ROLE_BINDINGS, image_puller(c, ns, id), false);
    add_creator(ns, project, ret);
    add_groups(ns, settings, ret);
    hash_all(ret);
}

void project_objects_done(ProjectObjects *o)
{
    for (size_t i = 0; i < o->n; i++)
        json_decref(o->list[i].want);
    o->n = 0;
}

bool project_objects_has(const ProjectObjects *o, KubeKind kind, const char *name)
{
    for (size_t i = 0; i < o->n; i++)
        if (o->list[i].kind == kind && strcmp(kube_name(o->list[i].want), name) == 0)
            return true;
    return false;
}
