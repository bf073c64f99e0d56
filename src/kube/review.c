/* Questions to the API server: may we, and who is this. */
#include "base/mem.h"
#include "kube-internal.h"

typedef struct Review {
    KubeAllowed allowed;
    KubeWho who;
    void *arg;
} Review;

static void on_access(void *arg, json_t *body, const KubeError *e)
{
    Review *r = arg;
    r->allowed(r->arg, json_get_bool(json_get_obj(body, "status"), "allowed", false), e);
}

KubeCall *kube_can_i(Kube *k, const char *verb, KubeKind kind, const char *ns, const char *name,
                     KubeAllowed done, void *arg)
{
    const KubeResource *res = kube_resource(kind);
    Review *r = xnew(Review);
    r->allowed = done;
    r->arg = arg;
    CLEANUP_JSON json_t *body =
        json_pack("{s:{s:{s:s, s:s, s:s, s:s*, s:s*}}}", "spec", "resourceAttributes", "verb", verb, "group",
                  res->group, "resource", res->plural, "namespace", ns, "name", name);
    KubeCall *c = kube_send(
        k, KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_ACCESS_REVIEWS, .body = body, .unfenced = true),
        on_access, r);
    c->owned = r;
    return c;
}

static void on_who(void *arg, json_t *body, const KubeError *e)
{
    Review *r = arg;
    const json_t *status = json_get_obj(body, "status");
    bool known = json_get_bool(status, "authenticated", false);
    r->who(r->arg, known ? json_get_str(json_get_obj(status, "user"), "username") : NULL, e);
}

KubeCall *kube_token_review(Kube *k, const Secret *token, KubeWho done, void *arg)
{
    Review *r = xnew(Review);
    r->who = done;
    r->arg = arg;
    json_t *text = json_strv(secret_reveal(token));
    CLEANUP_JSON json_t *body = json_pack("{s:{s:o}}", "spec", "token", text);
    KubeCall *c = kube_send(k,
                            KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_TOKEN_REVIEWS, .body = body,
                                         .unfenced = true, .timeout = 10 * USEC_PER_SEC),
                            on_who, r);
    c->owned = r;
    return c;
}
