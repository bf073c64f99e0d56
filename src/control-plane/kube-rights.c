#include "kube-rights.h"

#include "base/log.h"
#include "base/mem.h"
#include "kube-names.h"

typedef enum Where {
    EVERYWHERE, /* where we make namespaces */
    ANYHOW,     /* everywhere, also with tenants */
    TENANTS,    /* where tenants are asked for */
    OWN,        /* in our own namespace */
} Where;

typedef struct Right {
    const char *verb;
    KubeKind kind;
    Where where;
} Right;

/* What we may do inside a project comes with the role that we bind there (contract, 18.1 and 102), or from
   the operator of tenants, who gives nothing everywhere. */
static const Right rights[] = {
    {"create", KUBE_NAMESPACES, EVERYWHERE},
    {"get", KUBE_NAMESPACES, EVERYWHERE},
    {"list", KUBE_NAMESPACES, EVERYWHERE},
    {"patch", KUBE_NAMESPACES, EVERYWHERE},
    {"delete", KUBE_NAMESPACES, EVERYWHERE},
    {"list", KUBE_PODS, EVERYWHERE},
    {"watch", KUBE_PODS, EVERYWHERE},
    {"get", KUBE_ROLE_BINDINGS, EVERYWHERE},
    {"create", KUBE_ROLE_BINDINGS, EVERYWHERE},
    {"patch", KUBE_ROLE_BINDINGS, EVERYWHERE},
    {"delete", KUBE_ROLE_BINDINGS, EVERYWHERE},
    {"get", KUBE_TENANT_NAMESPACES, TENANTS},
    {"create", KUBE_TENANT_NAMESPACES, TENANTS},
    {"delete", KUBE_TENANT_NAMESPACES, TENANTS},
    {"get", KUBE_LEASES, OWN},
    {"create", KUBE_LEASES, OWN},
    {"update", KUBE_LEASES, OWN},
    {"get", KUBE_SECRETS, OWN},
    {"create", KUBE_TOKEN_REVIEWS, ANYHOW},
};

struct Rights {
    Kube *kube;
    const Config *config;
    size_t at;
    unsigned missing;
    KubeCall *call;
};

/* A token of its own for what is inside of projects has rights of its own, which are not ours to ask for. */
static bool is_needed(const Rights *r, const Right *one)
{
    const KubeSettings *k = &r->config->kube;
    if (one->where == EVERYWHERE || one->where == TENANTS)
        return !k->project_token_file && k->mpp == (one->where == TENANTS);
    return one->kind != KUBE_TOKEN_REVIEWS || k->token_review;
}

/* NULL = everywhere. */
static const char *place(const Rights *r, const Right *one)
{
    const KubeSettings *k = &r->config->kube;
    return one->where == OWN ? k->runtime_ns : one->where == TENANTS ? k->mpp_ns : NULL;
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
    r->missing += !allowed;
    if (!allowed)
        log_warn("a right is missing", F_STR("component", "kubeclient"), F_STR("verb", one->verb),
                 F_STR("resource", kube_resource(one->kind)->plural),
                 F_STR("namespace", place(r, one) ? place(r, one) : "*"));
    ask(r);
}

static void ask(Rights *r)
{
    while (r->at < ARRAY_LEN(rights) && !is_needed(r, &rights[r->at]))
        r->at++;
    if (r->at == ARRAY_LEN(rights))
        return;
    const Right *one = &rights[r->at];
    r->call = kube_can_i(r->kube, one->verb, one->kind, place(r, one), NULL, on_allowed, r);
}

Rights *rights_check(Kube *k, const Config *c)
{
    Rights *r = xnew(Rights);
    r->kube = k;
    r->config = c;
    ask(r);
    return r;
}

unsigned rights_missing(const Rights *r)
{
    return r ? r->missing : 0;
}

Rights *rights_free(Rights *r)
{
    if (!r)
        return NULL;
    kube_cancel(r->call);
    free(r);
    return NULL;
}
