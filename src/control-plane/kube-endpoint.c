#include "kube-endpoint.h"

#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "loop/tls.h"
#include "kube-names.h"
#include "kube-pod.h"
#include "token-keys.h"
#include "token-review.h"

struct KubeEndpoint {
    KubeEndpointOptions o;
    Loop *loop;
    TokenKeys *keys;
    TokenServer *server;
    TokenReviews *reviews; /* NULL = addresses are enough */
    TlsContext *tls;       /* reads its files again when they change; NULL = plain HTTP */
};

/* ---- who may ---- */

/* The same address in both families is one caller. */
static const char *plain_address(const char *a)
{
    static const char mapped[] = "::ffff:";
    return strncmp(a, mapped, sizeof(mapped) - 1) == 0 ? a + sizeof(mapped) - 1 : a;
}

static TokenVerdict verdict_of_known(const KubeEndpoint *e, Str session_id)
{
    return e->reviews && kube_runtime_pod_has_identity(e->o.pods, session_id) ? TOKEN_REVIEW : TOKEN_MAY;
}

/* Whoever knows the public key can ask in the name of any session, so the session must live, have a pod, and
   the caller be that pod. A pod whose address is not known yet asks again a moment later. */
static TokenVerdict judge(void *arg, Str session_id, const char *peer)
{
    const KubeEndpoint *e = arg;
    const Obj *session = cache_get(e->o.sessions, session_id);
    const char *addresses[KUBE_POD_ADDRESSES];
    size_t n;
    if (!session || phase_is_terminal(obj_phase(session)) || obj_phase(session) == PHASE_STOPPING ||
        !kube_runtime_pod(e->o.pods, session_id, addresses, &n))
        return TOKEN_FORBIDDEN;
    if (!e->o.config->kube.check_address)
        return verdict_of_known(e, session_id);
    for (size_t i = 0; i < n; i++)
        if (strcmp(plain_address(peer), plain_address(addresses[i])) == 0)
            return verdict_of_known(e, session_id);
    return n == 0 ? TOKEN_LATER : TOKEN_FORBIDDEN;
}

/* Each session has an account of its own, in its project's namespace. */
static TokenReview *review(void *arg, Str session_id, Str proof, TokenReviewDone done, void *done_arg)
{
    const KubeEndpoint *e = arg;
    const Obj *session = cache_get(e->o.sessions, session_id);
    char ns[NAME_MAX_LEN] = "", name[NAME_MAX_LEN] = "";
    Str project = session ? obj_str(session, SESSION_PROJECT_ID) : STR_NULL;
    if (project_namespace(&e->o.config->kube, project, ns, NULL) < 0 ||
        session_object_name(session_id, "-sa", name, NULL) < 0)
        name[0] = '\0'; /* nobody's account */
    CLEANUP_FREE char *account = xasprintf("system:serviceaccount:%s:%s", ns, name);
    return token_review_start(e->reviews, account, proof, done, done_arg);
}

static int unseal(void *arg, Str sealed, Buf *plain)
{
    return token_keys_open(((KubeEndpoint *)arg)->keys, sealed, plain);
}

static const Secret *token_of(void *arg, Str session_id, WallUsec *ret_expires)
{
    const KubeEndpoint *e = arg;
    return e->o.token(e->o.arg, session_id, ret_expires);
}

/* ---- its keys ---- */

static bool is_used(void *arg, const char *key_id)
{
    return kube_runtime_uses_key(((KubeEndpoint *)arg)->o.pods, key_id);
}

static bool leads(void *arg)
{
    return kube_runtime_leads(((KubeEndpoint *)arg)->o.pods);
}

static int listen_now(KubeEndpoint *e, Err *err)
{
    const Config *c = e->o.config;
    const KubeSettings *k = &c->kube;
    const TlsOptions to = {.cert_file = k->token_cert, .key_file = k->token_cert_key};
    int rc = k->token_cert ? tls_server_new(&to, &e->tls, err) : 0;
    if (rc < 0)
        return err_wrap(err, "TLS of the token endpoint");
    const TokenServerOptions o = {.address = c->token_address,
                                  .tls = e->tls,
                                  .open = unseal,
                                  .may = judge,
                                  .review = review,
                                  .token = token_of,
                                  .arg = e};
    rc = token_server_new(e->loop, &o, &e->server, err);
    if (rc == 0)
        log_info("token endpoint", F_STR("url", c->token_url), F_INT("port", token_server_port(e->server)),
                 F_BOOL("check_address", c->kube.check_address), F_BOOL("review", c->kube.token_review));
    return rc;
}

static void on_newest(void *arg, const char *public_pem, const char *key_id)
{
    KubeEndpoint *e = arg;
    Err err = {0};
    bool first = !e->server;
    if (first && listen_now(e, &err) < 0) {
        e->o.opened(e->o.arg, &err);
        return;
    }
    kube_runtime_set_endpoint(e->o.pods, e->o.config->token_url, public_pem, key_id);
    if (first)
        e->o.opened(e->o.arg, NULL);
}

/* ---- life ---- */

KubeEndpoint *kube_endpoint_new(Loop *l, const KubeEndpointOptions *o)
{
    KubeEndpoint *e = xnew(KubeEndpoint);
    e->o = *o;
    e->loop = l;
    kube_runtime_await_endpoint(o->pods);
    if (o->config->kube.token_review)
        e->reviews = token_reviews_new(o->kube, KUBE_IDENTITY_AUDIENCE);
    const TokenKeysOptions ko = {.kube = o->kube,
                                 .ns = o->config->kube.runtime_ns,
                                 .newest = on_newest,
                                 .keep = o->config->kube.token_key_keep,
                                 .leads = leads,
                                 .is_used = is_used,
                                 .arg = e};
    e->keys = token_keys_new(&ko);
    return e;
}

KubeEndpoint *kube_endpoint_free(KubeEndpoint *e)
{
    if (!e)
        return NULL;
    token_server_free(e->server);
    token_reviews_free(e->reviews);
    token_keys_free(e->keys);
    tls_free(e->tls);
    free(e);
    return NULL;
}

const TokenServer *kube_endpoint_server(const KubeEndpoint *e)
{
    return e ? e->server : NULL;
}
