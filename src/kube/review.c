/* Questions to the API server: may we, and who is this. */
#include "base/mem.h"
#include "kube-internal.h"

#define WHO_PATIENCE (5 * USEC_PER_SEC) /* somebody waits for us, who gives up after ten */

typedef struct Review {
    KubeAllowed allowed;
    KubeWho who;
    bool for_audience;
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

/* One was asked for, so what comes is that one; a server that knows no audiences says nothing of them. */
static bool is_for_us(const Review *r, const json_t *status)
{
    return !r->for_audience || json_array_size(json_get_arr(status, "audiences")) > 0;
}

static void on_who(void *arg, json_t *body, const KubeError *e)
{
    Review *r = arg;
    const json_t *status = json_get_obj(body, "status");
    bool known = json_get_bool(status, "authenticated", false) && is_for_us(r, status);
    r->who(r->arg, known ? json_get_str(json_get_obj(status, "user"), "username") : NULL, e);
}

KubeCall *kube_token_review(Kube *k, const Secret *token, const char *audience, KubeWho done, void *arg)
{
    Review *r = xnew(Review);
    r->who = done;
    r->for_audience = audience != NULL;
    r->arg = arg;
    json_t *text = json_strv(secret_reveal(token));
    json_t *audiences = audience ? json_pack("[s]", audience) : NULL;
    CLEANUP_JSON json_t *body = json_pack("{s:{s:o, s:o*}}", "spec", "token", text, "audiences", audiences);
    KubeCall *c = kube_send(k,
                            KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_TOKEN_REVIEWS, .body = body,
                                         .unfenced = true, .timeout = WHO_PATIENCE),
                            on_who, r);
    c->owned = r;
    return c;
}
