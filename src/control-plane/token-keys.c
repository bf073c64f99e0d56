#include "token-keys.h"

#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "kube-names.h"

#define KEY_BITS 4096
#define PEM_MAX ((size_t)64 << 10)
#define RETRY (2 * USEC_PER_SEC)
#define LOOK (60 * USEC_PER_SEC)
/* A key that nobody knows makes us look, but not more often. */
#define LOOK_AGAIN (5 * USEC_PER_SEC)

struct TokenKeys {
    TokenKeysOptions o;
    Loop *loop;
    char *ns;
    Pool *pool; /* makes a key: seconds of work */
    bool making, freed;
    RsaKey *made;
    TokenRing ring;
    char newest[17]; /* that was told of */
    Buf public;
    char version[64]; /* of the Secret; "" = there is none */
    KubeCall *call;
    Timer *timer;
    Usec looked_at;
};

static void look(void *arg);

static void again(TokenKeys *t, const Err *err)
{
    log_warn("keys of the token endpoint", F_STR("component", "tokenserver"), F_ERR(err));
    timer_arm(t->timer, RETRY);
}

/* ---- writing ---- */

static void on_written(void *arg, json_t *body, const KubeError *e)
{
    TokenKeys *t = arg;
    t->call = NULL;
    if (e && e->err.code != ERR_CONFLICT && e->err.code != ERR_PRECONDITION) {
        again(t, &e->err);
        return;
    }
    /* Ours, or the one of a replica that was quicker; without the lease it is the leader's to do. */
    timer_arm(t->timer, e && e->err.code == ERR_PRECONDITION ? LOOK : 0);
}

/* Takes over `data`. `gone` may be NULL: the name of one that goes. */
static void write_secret(TokenKeys *t, json_t *data, const char *gone)
{
    bool make = *t->version == '\0';
    CLEANUP_JSON json_t *o = json_object();
    if (make) {
        json_decref(o);
        o = new_object(TOKEN_RING_SECRET, t->ns,
                       json_pack("{s:s, s:s}", "app", MANAGER, LABEL_MANAGED_BY, MANAGER));
        json_object_set_new(o, "type", json_string("Opaque"));
    } else { /* in between somebody else may have written: then this fails, and we look again */
        json_object_set_new(
            o, "metadata",
            json_pack("{s:s, s:{s:n}}", "resourceVersion", t->version, "annotations", TOKEN_RING_ROTATE));
    }
    if (gone)
        json_object_set_new(data, gone, json_null());
    json_object_set(o, "data", data);
    /* Any replica may make the first one: the first one's stays. */
    t->call =
        kube_send(t->o.kube,
                  KUBE_REQUEST(.verb = make ? KUBE_CREATE : KUBE_MERGE, .kind = KUBE_SECRETS, .ns = t->ns,
                               .name = make ? NULL : TOKEN_RING_SECRET, .body = o, .unfenced = make),
                  on_written, t);
    json_object_del(o, "data");
    token_ring_erase(data);
}

static void write_ring(TokenKeys *t, const RsaKey *next, const char *gone)
{
    json_t *data = NULL;
    Err err = {0};
    if (token_ring_data(&t->ring, next, &data, &err) < 0)
        again(t, &err);
    else
        write_secret(t, data, gone);
}

/* ---- a new key ---- */

static void release(TokenKeys *t)
{
    rsa_key_free(t->made);
    token_ring_done(&t->ring);
    buf_done(&t->public);
    free(t->ns);
    free(t);
}

static void make(void *arg)
{
    TokenKeys *t = arg;
    rsa_key_new(KEY_BITS, &t->made, NULL);
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
    CLEANUP(rsa_key_freep) RsaKey *made = TAKE(t->made);
    if (made) {
        write_ring(t, made, NULL);
        return;
    }
    (void)err_set(&err, ERR_INTERNAL, "no key could be made");
    again(t, &err);
}

static void make_key(TokenKeys *t)
{
    Err err = {0};
    if (!t->pool && pool_new(t->loop, 1, &t->pool, &err) < 0) {
        again(t, &err);
        return;
    }
    log_info("making a key of the token endpoint", F_STR("secret", TOKEN_RING_SECRET));
    t->making = true;
    pool_submit(t->pool, make, on_made, t);
}

/* ---- looking ---- */

static void tell_newest(TokenKeys *t)
{
    const TokenRingKey *k = token_ring_newest(&t->ring);
    Buf pem = BUF_INIT(PEM_MAX);
    Err err = {0};
    if (strcmp(k->id, t->newest) == 0)
        return;
    if (token_ring_public(&t->ring, &pem, &err) < 0) {
        buf_done(&pem);
        again(t, &err);
        return;
    }
    (void)buf_addc(&pem, '\0');
    Buf old = t->public;
    t->public = pem;
    memcpy(t->newest, k->id, sizeof(t->newest));
    log_info("key of the token endpoint", F_STR("key_id", k->id));
    t->o.newest(t->o.arg, t->public.data, t->newest);
    buf_done(&old); /* not before the next one was told */
}

/* What was replaced without a thought for pods that know it: those with our place for the newest, and all
   when the Secret was deleted. Older ones that were taken away stay away. True: the ring has grown. */
static bool carry_over(TokenKeys *t, TokenRing *fresh)
{
    bool grown = false;
    VEC_FOREACH (&t->ring.keys, k) {
        TokenRingKey *known = token_ring_find(fresh, k->id);
        if (known) {
            known->since = k->since;
            continue;
        }
        if ((k->place != 0 && !k->unsaved) || !t->o.is_used(t->o.arg, k->id))
            continue;
        unsigned highest = 0;
        VEC_FOREACH (&fresh->keys, f)
            highest = f->place > highest ? f->place : highest;
        TokenRingKey kept = {.place = highest + 1, .unsaved = true, .key = TAKE(k->key)};
        memcpy(kept.id, k->id, sizeof(kept.id));
        vec_push(&fresh->keys, kept);
        grown = true;
    }
    return grown;
}

/* The first of those that nobody uses; NULL = none. */
static const TokenRingKey *find_unused(TokenKeys *t)
{
    Usec now = clock_now(loop_clock(t->loop));
    VEC_FOREACH (&t->ring.keys, k) {
        if (k->place == 0)
            continue;
        if (k->since == 0)
            k->since = now;
        else if (now - k->since >= t->o.keep && !t->o.is_used(t->o.arg, k->id))
            return k;
    }
    return NULL;
}

static void drop(TokenKeys *t, const TokenRingKey *k)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "private-%u.pem", k->place);
    log_info("a key of the token endpoint is not used any more", F_STR("key_id", k->id));
    write_secret(t, json_object(), name);
}

static void settle(TokenKeys *t, bool grown, bool rotate)
{
    const TokenRingKey *unused;
    timer_arm(t->timer, LOOK);
    tell_newest(t);
    unused = find_unused(t);
    if (!t->o.leads(t->o.arg))
        return;
    if (rotate)
        make_key(t);
    else if (grown)
        write_ring(t, NULL, NULL);
    else if (unused)
        drop(t, unused);
}

static void on_found(TokenKeys *t, const json_t *secret)
{
    TokenRing fresh;
    Err err = {0};
    if (token_ring_read(secret, &fresh, &err) < 0) {
        again(t, &err); /* what we have still counts */
        return;
    }
    (void)snprintf(t->version, sizeof(t->version), "%s", kube_version(secret));
    bool grown = carry_over(t, &fresh);
    token_ring_done(&t->ring);
    t->ring = fresh;
    settle(t, grown, kube_annotation(secret, TOKEN_RING_ROTATE) != NULL);
}

static void on_secret(void *arg, json_t *body, const KubeError *e)
{
    TokenKeys *t = arg;
    t->call = NULL;
    if (e && e->status == 404) {
        t->version[0] = '\0';
        if (t->ring.keys.len > 0)
            write_ring(t, NULL, NULL); /* somebody deleted it: pods know these keys */
        else
            make_key(t);
    } else if (e) {
        again(t, &e->err);
    } else {
        on_found(t, body);
    }
}

static void look(void *arg)
{
    TokenKeys *t = arg;
    if (t->call || t->making)
        return;
    t->looked_at = clock_now(loop_clock(t->loop));
    t->call = kube_send(
        t->o.kube,
        KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_SECRETS, .ns = t->ns, .name = TOKEN_RING_SECRET),
        on_secret, t);
}

int token_keys_open(TokenKeys *t, Str sealed, Buf *plain)
{
    int rc = token_ring_open(&t->ring, sealed, plain);
    if (rc < 0 && clock_now(loop_clock(t->loop)) - t->looked_at >= LOOK_AGAIN) {
        log_debug("unknown key, the ring is looked at", F_STR("component", "tokenserver"));
        look(t); /* another replica may have made it */
    }
    return rc;
}

/* ---- life ---- */

TokenKeys *token_keys_new(const TokenKeysOptions *o)
{
    TokenKeys *t = xnew(TokenKeys);
    t->o = *o;
    t->loop = kube_loop(o->kube);
    t->ns = xstrdup(o->ns);
    buf_init(&t->public, PEM_MAX);
    t->timer = timer_new(t->loop, look, t);
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
