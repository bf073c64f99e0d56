#include "token-keys.h"

#include "base/log.h"
#include "base/mem.h"
#include "kube-names.h"

#define SECRET "ambient-cp-token-keypair"
#define KEY_BITS 4096
#define PEM_MAX (64 * 1024)
#define RETRY (2 * USEC_PER_SEC)

struct TokenKeys {
    Kube *kube;
    char *ns;
    TokenKeysReady ready;
    void *arg;
    Pool *pool; /* makes a key: seconds of work */
    bool making, freed;
    RsaKey *made;
    RsaKey *key;
    Buf public;
    KubeCall *call;
    Timer *timer;
};

static void look(void *arg);

static void again(TokenKeys *t, const Err *err)
{
    log_warn("key pair of the token endpoint", F_STR("component", "tokenserver"), F_ERR(err));
    timer_arm(t->timer, RETRY);
}

/* ---- from the Secret ---- */

static int read_pem(const json_t *data, const char *key, Buf *out, Err *err)
{
    Str text = json_get_strv(data, key);
    if (text.len == 0 || base64_read(text, out) < 0)
        return err_set(err, ERR_INVALID, "Secret " SECRET " has no usable %s", key);
    return 0;
}

static int take_keys(TokenKeys *t, const json_t *secret, Err *err)
{
    const json_t *data = json_get_obj(secret, "data");
    Buf private = BUF_INIT(PEM_MAX);
    buf_clear(&t->public);
    int rc = read_pem(data, "private.pem", &private, err);
    if (rc == 0)
        rc = read_pem(data, "public.pem", &t->public, err);
    if (rc == 0)
        rc = rsa_key_read_private(buf_str(&private), &t->key, err);
    secret_erase(private.data, private.cap);
    buf_done(&private);
    return rc;
}

/* ---- a new pair ---- */

static void make(void *arg)
{
    TokenKeys *t = arg;
    rsa_key_new(KEY_BITS, &t->made, NULL);
}

static void on_created(void *arg, json_t *body, const KubeError *e)
{
    TokenKeys *t = arg;
    t->call = NULL;
    if (e && !kube_error_is(e, "AlreadyExists")) {
        again(t, &e->err);
        return;
    }
    look(t); /* ours, or the one of a replica that was quicker */
}

static json_t *pair_secret(const TokenKeys *t, Err *err)
{
    Buf private = BUF_INIT(PEM_MAX);
    CLEANUP_BUF Buf public = BUF_INIT(PEM_MAX);
    json_t *o = NULL;
    if (rsa_key_write_private(t->made, &private, err) == 0 &&
        rsa_key_write_public(t->made, &public, err) == 0) {
        o = new_object(SECRET, t->ns, json_pack("{s:s, s:s}", "app", MANAGER, LABEL_MANAGED_BY, MANAGER));
        json_object_set_new(o, "type", json_string("Opaque"));
        json_object_set_new(o, "stringData",
                            json_pack("{s:o, s:o}", "private.pem", json_strv(buf_str(&private)), "public.pem",
                                      json_strv(buf_str(&public))));
    }
    secret_erase(private.data, private.cap);
    buf_done(&private);
    return o;
}

static void release(TokenKeys *t)
{
    rsa_key_free(t->made);
    rsa_key_free(t->key);
    buf_done(&t->public);
    free(t->ns);
    free(t);
}

static void on_made(void *arg)
{
    TokenKeys *t = arg;
    Err err = {0};
    t->making = false;
    if (t->freed) {
        release(t);
        return;
    }
    if (!t->made) {
        err_set(&err, ERR_INTERNAL, "no key could be made");
        again(t, &err);
        return;
    }
    CLEANUP_JSON json_t *secret = pair_secret(t, &err);
    if (!secret) {
        again(t, &err);
        return;
    }
    /* Any replica may: the first one's pair stays. */
    t->call = kube_send(t->kube,
                        KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_SECRETS, .ns = t->ns, .body = secret,
                                     .unfenced = true),
                        on_created, t);
}

static void make_pair(TokenKeys *t)
{
    Err err = {0};
    if (!t->pool && pool_new(kube_loop(t->kube), 1, &t->pool, &err) < 0) {
        again(t, &err);
        return;
    }
    t->making = true;
    pool_submit(t->pool, make, on_made, t);
}

/* ---- looking ---- */

static void on_secret(void *arg, json_t *body, const KubeError *e)
{
    TokenKeys *t = arg;
    Err err = {0};
    t->call = NULL;
    if (e && e->status == 404) {
        log_info("making the key of the token endpoint", F_STR("secret", SECRET));
        make_pair(t);
    } else if (e) {
        again(t, &e->err);
    } else if (take_keys(t, body, &err) < 0) {
        again(t, &err);
    } else {
        buf_addc(&t->public, '\0');
        t->ready(t->arg, t->key, t->public.data);
    }
}

static void look(void *arg)
{
    TokenKeys *t = arg;
    t->call =
        kube_send(t->kube, KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_SECRETS, .ns = t->ns, .name = SECRET),
                  on_secret, t);
}

TokenKeys *token_keys_new(Kube *k, const char *ns, TokenKeysReady ready, void *arg)
{
    TokenKeys *t = xnew(TokenKeys);
    t->kube = k;
    t->ns = xstrdup(ns);
    t->ready = ready;
    t->arg = arg;
    buf_init(&t->public, PEM_MAX);
    t->timer = timer_new(kube_loop(k), look, t);
    timer_arm(t->timer, 0);
    return t;
}

TokenKeys *token_keys_free(TokenKeys *t)
{
    if (!t)
        return NULL;
    kube_cancel(t->call);
    timer_free(t->timer);
    pool_free(t->pool); /* waits for a key that is being made */
    t->freed = true;
    if (!t->making)
        release(t); /* else on_made() does */
    return NULL;
}
