#include "kube/kube.h"

#include <assert.h>
#include <string.h>
#include "base/mem.h"
#include "base/vec.h"
#include "http/url.h"
#include "kube-internal.h"

#define QPS 50
#define BURST 100
/* One of so many grants goes to the background while others wait, too. */
#define BACKGROUND_SHARE 4
/* So many of it are under way at a time: a server that does not answer must not collect thousands. */
#define BACKGROUND_MAX 16
/* A single connection that was cut is no outage. */
#define LOST_AFTER (2 * USEC_PER_SEC)
/* A 429 of one request may have a reason of its own: the others wait no longer than this. */
#define HOLD_MAX (5 * USEC_PER_SEC)

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
    Usec now = clock_now(loop_clock(k->loop)), lost_at = k->lost_at;
    if (!answered) {
        k->lost_at = lost_at ? lost_at : now;
        bool news = !k->lost && now - k->lost_at >= LOST_AFTER;
        k->lost = k->lost || news;
        if (news && k->o.on_lost)
            k->o.on_lost(k->o.arg);
        return;
    }
    k->lost_at = 0;
    k->lost = false;
    k->last_answer = now;
    if (lost_at && now - lost_at >= LOST_AFTER && k->o.on_reachable)
        k->o.on_reachable(k->o.arg);
}

Usec kube_last_answer(const Kube *k)
{
    return k->last_answer;
}

bool kube_lost(const Kube *k)
{
    return k->lost;
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

/* Whose turn it is; NULL = nobody may go. */
static List *next_waiting(Kube *k)
{
    bool background = !list_empty(&k->background) && k->n_background < BACKGROUND_MAX;
    bool its_turn = k->grants % BACKGROUND_SHARE == BACKGROUND_SHARE - 1;
    if (background && (its_turn || list_empty(&k->waiting)))
        return &k->background;
    return list_empty(&k->waiting) ? NULL : &k->waiting;
}

void kube_unqueue(KubeCall *c)
{
    Kube *k = c->kube;
    list_remove(&c->link);
    k->n_waiting -= c->queued;
    k->n_background -= c->placed;
    if (c->placed && !k->freed)
        timer_arm(k->timer, 0); /* its place is free */
    c->queued = c->placed = false;
}

static void place(KubeCall *c)
{
    Kube *k = c->kube;
    kube_unqueue(c);
    k->tokens -= 1;
    k->grants++;
    k->n_background += c->background;
    c->placed = c->background;
    list_push_back(&k->ready, &c->link);
}

static void grant(Kube *k)
{
    List *from;
    fill(k);
    if (clock_now(loop_clock(k->loop)) < k->held_until)
        return;
    while (k->tokens >= 1 && (from = next_waiting(k)))
        place(LIST_ENTRY(from->next, KubeCall, link));
}

void kube_hold(Kube *k, Usec wait)
{
    Usec until = usec_add(clock_now(loop_clock(k->loop)), wait < HOLD_MAX ? wait : HOLD_MAX);
    k->held_until = until > k->held_until ? until : k->held_until;
}

/* When the next one may go. */
static void arm(Kube *k)
{
    Usec refill = k->tokens >= 1 ? 0 : (Usec)((1 - k->tokens) / k->o.qps * (double)USEC_PER_SEC) + 1;
    Usec held = usec_sub(k->held_until, clock_now(loop_clock(k->loop)));
    if (next_waiting(k))
        timer_arm(k->timer, refill > held ? refill : held);
}

static void pump(void *arg)
{
    Kube *k = arg;
    if ((!next_waiting(k) && list_empty(&k->ready)) || !kube_creds_ready(k->creds))
        return; /* on_creds() goes on */
    grant(k);
    while (!k->freed && !list_empty(&k->ready)) {
        KubeCall *c = LIST_ENTRY(list_pop_front(&k->ready), KubeCall, link);
        list_push_back(&k->active, &c->link);
        kube_call_send(c); /* may end it, and its end may start or cancel others */
    }
    if (!k->freed)
        arm(k);
}

void kube_queue(KubeCall *c)
{
    Kube *k = c->kube;
    kube_unqueue(c);
    c->queued = !c->urgent;
    k->n_waiting += c->queued;
    list_push_back(c->urgent ? &k->ready : c->background ? &k->background : &k->waiting, &c->link);
    timer_arm(k->timer, 0);
}

size_t kube_waiting(const Kube *k)
{
    return k->n_waiting;
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
        fail_all(&k->background, &e);
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
    list_init(&k->background);
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
    List *const lists[] = {&k->waiting, &k->background, &k->ready, &k->active};
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
