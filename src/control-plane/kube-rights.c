#include "kube-rights.h"

#include "base/log.h"
#include "base/mem.h"
#include "kube-names.h"

typedef struct Right {
    const char *verb;
    KubeKind kind;
    bool own; /* in our own namespace; else everywhere */
} Right;

/* What we may do inside a project comes with the role that we bind there (contract, 18.1 and 102). */
static const Right rights[] = {
    {"create", KUBE_NAMESPACES, false},    {"get", KUBE_NAMESPACES, false},
    {"list", KUBE_NAMESPACES, false},      {"patch", KUBE_NAMESPACES, false},
    {"delete", KUBE_NAMESPACES, false},    {"list", KUBE_PODS, false},
    {"watch", KUBE_PODS, false},           {"get", KUBE_ROLE_BINDINGS, false},
    {"create", KUBE_ROLE_BINDINGS, false}, {"patch", KUBE_ROLE_BINDINGS, false},
    {"delete", KUBE_ROLE_BINDINGS, false}, {"get", KUBE_LEASES, true},
    {"create", KUBE_LEASES, true},         {"update", KUBE_LEASES, true},
    {"get", KUBE_SECRETS, true},           {"create", KUBE_TOKEN_REVIEWS, false},
};

struct Rights {
    Kube *kube;
    const Config *config;
    size_t at;
    KubeCall *call;
};

static bool is_needed(const Rights *r, const Right *one)
{
    return one->kind != KUBE_TOKEN_REVIEWS || r->config->kube.token_review;
}

static void ask(Rights *r);

static void on_allowed(void *arg, bool allowed, const KubeError *e)
{
    Rights *r = arg;
    const Right *one = &rights[r->at++];
    r->call = NULL;
    if (e) {
        log_warn("cannot ask for our rights", F_ERR(&e->err));
        return; /* the calls themselves will tell */
    }
    if (!allowed)
        log_warn("a right is missing", F_STR("component", "kubeclient"), F_STR("verb", one->verb),
                 F_STR("resource", kube_resource(one->kind)->plural),
                 F_STR("namespace", one->own ? r->config->kube.runtime_ns : "*"));
    ask(r);
}

static void ask(Rights *r)
{
    while (r->at < ARRAY_LEN(rights) && !is_needed(r, &rights[r->at]))
        r->at++;
    if (r->at == ARRAY_LEN(rights))
        return;
    const Right *one = &rights[r->at];
    r->call = kube_can_i(r->kube, one->verb, one->kind, one->own ? r->config->kube.runtime_ns : NULL, NULL,
                         on_allowed, r);
}

Rights *rights_check(Kube *k, const Config *c)
{
    Rights *r = xnew(Rights);
    r->kube = k;
    r->config = c;
    ask(r);
    return r;
}

Rights *rights_free(Rights *r)
{
    if (!r)
        return NULL;
    kube_cancel(r->call);
    free(r);
    return NULL;
}
