#include "kube/kube.h"

#include <assert.h>
#include <string.h>
#include "base/mem.h"
#include "base/vec.h"
#include "http/url.h"
#include "kube-internal.h"

#define QPS 50
#define BURST 100

/* ---- counting ---- */

void kube_count(Kube *k, KubeVerb verb, KubeKind kind, int code)
{
    for (size_t i = 0; i < k->n_counts; i++) {
        KubeCount *c = &k->counts[i];
        if (c->verb == verb && c->kind == kind && c->code == code) {
            c->n++;
            return;
        }
    }
    if (k->n_counts == k->cap_counts)
        k->counts = vec_grow(k->counts, &k->cap_counts, k->n_counts + 1, sizeof *k->counts);
    k->counts[k->n_counts++] = (KubeCount){verb, kind, code, 1};
}

void kube_counts(const Kube *k, void (*each)(void *arg, const KubeCount *c), void *arg)
{
    for (size_t i = 0; i < k->n_counts; i++)
        each(arg, &k->counts[i]);
}

void kube_answered(Kube *k, bool answered)
{
    bool was_unreachable = k->unreachable;
    k->unreachable = !answered;
    if (!answered)
        return;
    k->last_answer = clock_now(loop_clock(k->loop));
    if (was_unreachable && k->o.on_reachable)
        k->o.on_reachable(k->o.arg);
}

Usec kube_last_answer(const Kube *k)
{
    return k->last_answer;
}

/* ---- the bucket ---- */

static void fill(Kube *k)
{
    Usec now = clock_now(loop_clock(k->loop));
    double qps = k->o.qps, burst = k->o.burst;
    k->tokens += (double)usec_sub(now, k->filled_at) / (double)USEC_PER_SEC * qps;
    if (k->tokens > burst)
        k->tokens = burst;
    k->filled_at = now;
}

static void grant(Kube *k)
{
    fill(k);
    for (; k->tokens >= 1 && !list_empty(&k->waiting); k->tokens -= 1)
        list_push_back(&k->ready, list_pop_front(&k->waiting));
}

static void pump(void *arg)
{
    Kube *k = arg;
    if ((list_empty(&k->waiting) && list_empty(&k->ready)) || !kube_creds_ready(k->creds))
        return; /* on_creds() goes on */
    grant(k);
    while (!k->freed && !list_empty(&k->ready)) {
        KubeCall *c = LIST_ENTRY(list_pop_front(&k->ready), KubeCall, link);
        list_push_back(&k->active, &c->link);
        kube_call_send(c); /* may end it, and its end may start or cancel others */
    }
    if (!k->freed && !list_empty(&k->waiting))
        timer_arm(k->timer, (Usec)((1 - k->tokens) / k->o.qps * (double)USEC_PER_SEC) + 1);
}

void kube_queue(KubeCall *c)
{
    Kube *k = c->kube;
    list_remove(&c->link);
    list_push_back(c->urgent ? &k->ready : &k->waiting, &c->link);
    timer_arm(k->timer, 0);
}

static void fail_all(List *calls, const KubeError *e)
{
    List failed;
    list_init(&failed);
    list_splice(&failed, calls);
    while (!list_empty(&failed))
        kube_call_fail(LIST_ENTRY(failed.next, KubeCall, link), e);
}

static void on_creds(void *arg, const Err *err)
{
    Kube *k = arg;
    KubeError e;
    if (err) {
        kube_error_from_err(&e, err);
        fail_all(&k->ready, &e);
        fail_all(&k->waiting, &e);
    }
    if (!k->freed)
        timer_arm(k->timer, 0);
}

/* ---- life ---- */

/* A name to verify that is not the one to call: the URL has the first, the connection goes to the second. */
static void set_server(Kube *k, char **ret_connect_to)
{
    const KubeConfig *c = k->o.config;
    Url u;
    if (!c->tls_server_name || url_parse(str_from(c->server), &u, NULL) < 0) {
        k->base_url = xstrdup(c->server);
        return;
    }
    Str port = u.port.len > 0 ? u.port : str_ieq(u.scheme, STR("http")) ? STR("80") : STR("443");
    bool v6 = str_find_byte(u.host, ':') >= 0;
    k->base_url = xasprintf(STR_FMT "://%s:" STR_FMT STR_FMT, STR_ARG(u.scheme), c->tls_server_name,
                            STR_ARG(port), STR_ARG(u.path));
    *ret_connect_to = xasprintf("%s:" STR_FMT ":%s" STR_FMT "%s:" STR_FMT, c->tls_server_name, STR_ARG(port),
                                v6 ? "[" : "", STR_ARG(u.host), v6 ? "]" : "", STR_ARG(port));
}

static int make_http(Kube *k, Err *err)
{
    const KubeConfig *c = k->o.config;
    CLEANUP_FREE char *connect_to = NULL;
    set_server(k, &connect_to);
    const HttpClientOptions ho = {
        .ca_pem = c->ca_pem,
        .insecure_skip_verify = c->insecure_skip_verify,
        .user_agent = k->o.user_agent,
        .proxy = c->proxy_url,
        .connect_to = connect_to,
    };
    return http_client_new(k->loop, &ho, &k->http, err);
}

int kube_new(Loop *l, const KubeOptions *o, Kube **ret, Err *err)
{
    Kube *k = xnew(Kube);
    k->loop = l;
    k->o = *o;
    k->o.qps = o->qps ? o->qps : QPS;
    k->o.burst = o->burst ? o->burst : BURST;
    k->tokens = k->o.burst;
    k->filled_at = clock_now(loop_clock(l));
    k->manager = xstrdup(o->manager ? o->manager : "ambient");
    list_init(&k->waiting);
    list_init(&k->ready);
    list_init(&k->active);
    int rc = make_http(k, err);
    if (rc < 0) {
        free(k->manager);
        free(k->base_url);
        free(k);
        return rc;
    }
    k->creds = kube_creds_new(l, o->config, on_creds, k);
    k->timer = timer_new(l, pump, k);
    *ret = k;
    return 0;
}

static void kube_release(void *arg)
{
    Kube *k = arg;
    free(k->manager);
    free(k->base_url);
    free(k->counts);
    free(k);
}

Kube *kube_free(Kube *k)
{
    if (!k || k->freed)
        return NULL;
    k->freed = true;
    List *const lists[] = {&k->waiting, &k->ready, &k->active};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        while (!list_empty(lists[i]))
            kube_cancel(LIST_ENTRY(lists[i]->next, KubeCall, link));
    http_client_free(k->http);
    kube_creds_free(k->creds);
    timer_free(k->timer);
    loop_defer(k->loop, kube_release, k);
    return NULL;
}

Loop *kube_loop(const Kube *k)
{
    return k->loop;
}

/* ---- calls ---- */

KubeCall *kube_send(Kube *k, const KubeRequest *r, KubeDone done, void *arg)
{
    assert(!k->freed && r->verb != KUBE_WATCH);
    KubeCall *c = kube_call_new(k, r, done, arg);
    kube_queue(c);
    return c;
}

KubeCall *kube_stream(Kube *k, const KubeRequest *r, void (*on_open)(void *arg), HttpPiece on_piece,
                      KubeDone done, void *arg)
{
    assert(!k->freed && r->verb == KUBE_WATCH);
    KubeCall *c = kube_call_new(k, r, done, arg);
    c->on_open = on_open;
    c->on_piece = on_piece;
    kube_queue(c);
    return c;
}
