#include <assert.h>
#include <string.h>
#include "base/mem.h"
#include "http/url.h"
#include "kube-internal.h"

static const KubeResource resources[_KUBE_KIND_MAX] = {
#define KUBE_RESOURCE(name, group, version, kind, plural, namespaced)                                        \
    [KUBE_##name] = {group, version, kind, plural, namespaced},
#include "kube/resources.def"
#undef KUBE_RESOURCE
};

const KubeResource *kube_resource(KubeKind k)
{
    assert(k < _KUBE_KIND_MAX);
    return &resources[k];
}

static const struct {
    const char *name, *method, *content_type;
    bool writes;
} verbs[_KUBE_VERB_MAX] = {
    [KUBE_GET] = {"get", "GET", NULL, false},
    [KUBE_LIST] = {"list", "GET", NULL, false},
    [KUBE_CREATE] = {"create", "POST", "application/json", true},
    [KUBE_UPDATE] = {"update", "PUT", "application/json", true},
    [KUBE_APPLY] = {"apply", "PATCH", "application/apply-patch+yaml", true}, /* JSON is YAML */
    [KUBE_MERGE] = {"patch", "PATCH", "application/merge-patch+json", true},
    [KUBE_STRATEGIC] = {"patch", "PATCH", "application/strategic-merge-patch+json", true},
    [KUBE_DELETE] = {"delete", "DELETE", "application/json", true},
    [KUBE_DELETE_COLLECTION] = {"deletecollection", "DELETE", "application/json", true},
    [KUBE_WATCH] = {"watch", "GET", NULL, false},
};

const char *kube_verb_name(KubeVerb v)
{
    return verbs[v].name;
}

const char *kube_method(KubeVerb v)
{
    return verbs[v].method;
}

const char *kube_content_type(KubeVerb v)
{
    return verbs[v].content_type;
}

bool kube_verb_writes(KubeVerb v)
{
    return verbs[v].writes;
}

/* ---- the path ---- */

static bool has_name(KubeVerb v)
{
    return v != KUBE_LIST && v != KUBE_CREATE && v != KUBE_DELETE_COLLECTION && v != KUBE_WATCH;
}

/* What the API server takes for a path segment: ValidatePathSegmentName. */
static bool is_segment(const char *s)
{
    return s && *s && strlen(s) <= 253 && strcmp(s, ".") != 0 && strcmp(s, "..") != 0 && !strpbrk(s, "/%");
}

static int add_segment(Buf *b, const char *what, const char *s, Err *err)
{
    if (!is_segment(s))
        return err_set(err, ERR_INVALID, "kube: %s \"%s\" cannot be in a path", what, s ? s : "");
    buf_addc(b, '/');
    url_escape_segment(b, str_from(s));
    return 0;
}

static int write_path(Buf *b, const KubeRequest *r, Err *err)
{
    const KubeResource *res = kube_resource(r->kind);
    int rc = 0;
    if (!res->group) {
        buf_addf(b, "/%s", res->plural);
        return 0;
    }
    if (*res->group)
        buf_addf(b, "/apis/%s/%s", res->group, res->version);
    else
        buf_addf(b, "/api/%s", res->version);
    if (res->namespaced && !r->ns && (has_name(r->verb) || kube_verb_writes(r->verb)))
        return err_set(err, ERR_INVALID, "kube: %s %s needs a namespace", verbs[r->verb].name, res->plural);
    if (res->namespaced && r->ns) {
        buf_addz(b, "/namespaces");
        rc = add_segment(b, "namespace", r->ns, err);
    }
    buf_addf(b, "/%s", res->plural);
    if (rc == 0 && has_name(r->verb))
        rc = add_segment(b, "name", r->name, err);
    if (rc == 0 && r->sub)
        rc = add_segment(b, "sub-resource", r->sub, err);
    return rc;
}

/* ---- the query ---- */

typedef struct Query {
    Buf *b;
    char sep;
} Query;

static void add(Query *q, const char *name, const char *value)
{
    if (!value)
        return;
    buf_addc(q->b, q->sep);
    buf_addf(q->b, "%s=", name);
    url_escape_query(q->b, str_from(value));
    q->sep = '&';
}

static void add_number(Query *q, const char *name, uint64_t n)
{
    buf_addf(q->b, "%c%s=%llu", q->sep, name, (unsigned long long)n);
    q->sep = '&';
}

static void write_query(Buf *b, const KubeRequest *r)
{
    Query q = {b, '?'};
    bool is_list = r->verb == KUBE_LIST || r->verb == KUBE_WATCH || r->verb == KUBE_DELETE_COLLECTION;
    if (is_list) {
        add(&q, "labelSelector", r->labels);
        add(&q, "fieldSelector", r->fields);
        add(&q, "resourceVersion", r->resource_version);
        add(&q, "continue", r->page);
    }
    if (r->verb == KUBE_LIST && r->limit > 0)
        add_number(&q, "limit", r->limit);
    if (r->verb == KUBE_WATCH) {
        add(&q, "watch", "true");
        add(&q, "allowWatchBookmarks", "true");
        add_number(&q, "timeoutSeconds", r->timeout / USEC_PER_SEC);
    }
    if (verbs[r->verb].content_type && r->verb != KUBE_DELETE && r->verb != KUBE_DELETE_COLLECTION)
        add(&q, "fieldManager", r->manager);
    if (r->verb == KUBE_APPLY)
        add(&q, "force", "true");
}

int kube_write_url(Buf *b, const char *server, const KubeRequest *r, Err *err)
{
    buf_addz(b, server);
    int rc = write_path(b, r, err);
    if (rc < 0)
        return rc;
    write_query(b, r);
    return buf_check(b, err);
}

/* ---- the body ---- */

static json_t *delete_options(const KubeRequest *r)
{
    json_t *o = json_pack("{s:s, s:s}", "kind", "DeleteOptions", "apiVersion", "v1");
    if (r->grace >= 0)
        json_object_set_new(o, "gracePeriodSeconds", json_integer(r->grace));
    if (r->propagation)
        json_object_set_new(o, "propagationPolicy", json_string(r->propagation));
    if (r->uid)
        json_object_set_new(o, "preconditions", json_pack("{s:s}", "uid", r->uid));
    return o;
}

json_t *kube_request_body(const KubeRequest *r)
{
    if (r->verb == KUBE_DELETE || r->verb == KUBE_DELETE_COLLECTION)
        return delete_options(r);
    if (!r->body || !json_is_object(r->body))
        return NULL;
    json_t *o = json_copy((json_t *)(uintptr_t)r->body); /* shallow: members are shared, counted */
    const KubeResource *res = kube_resource(r->kind);
    bool whole = r->verb == KUBE_CREATE || r->verb == KUBE_UPDATE || r->verb == KUBE_APPLY;
    if (whole && !r->sub && !json_object_get(o, "apiVersion")) {
        CLEANUP_FREE char *version = xasprintf("%s%s%s", res->group, *res->group ? "/" : "", res->version);
        json_object_set_new(o, "apiVersion", json_string(version));
        json_object_set_new(o, "kind", json_string(res->kind));
    }
    return o;
}
