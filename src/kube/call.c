/* One request: sent, perhaps asked again within its deadline, answered once. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "kube-internal.h"

#define TIMEOUT (15 * USEC_PER_SEC)
#define LIST_TIMEOUT (60 * USEC_PER_SEC)
#define URL_MAX (64 * 1024)
#define BODY_MAX (4 * 1024 * 1024)
#define ANSWER_MAX (64 * 1024 * 1024)
#define TRIES_MAX 10
/* A server that is overloaded and does not say for how long. */
#define BUSY_WAIT USEC_PER_SEC
/* A watch may say nothing for a long time; its end is the server's timeoutSeconds. */
#define STREAM_SLACK (30 * USEC_PER_SEC)

static Usec now_of(const KubeCall *c)
{
    return clock_now(loop_clock(c->kube->loop));
}

static Usec default_timeout(const KubeRequest *r)
{
    if (r->timeout > 0)
        return r->timeout;
    return r->verb == KUBE_LIST ? LIST_TIMEOUT : TIMEOUT;
}

static int write_body(KubeCall *c, const KubeRequest *r, Err *err)
{
    CLEANUP_JSON json_t *body = kube_request_body(r);
    if (!body)
        return kube_content_type(r->verb) ? err_set(err, ERR_INVALID, "kube: a body is missing") : 0;
    CLEANUP_BUF Buf b = BUF_INIT(BODY_MAX);
    json_write_plain(&b, body);
    int rc = buf_check(&b, err);
    if (rc == 0)
        c->body = buf_take(&b);
    return rc;
}

static void on_retry(void *arg)
{
    kube_queue(arg);
}

KubeCall *kube_call_new(Kube *k, const KubeRequest *r, KubeDone done, void *arg)
{
    KubeCall *c = xnew(KubeCall);
    KubeRequest full = *r;
    CLEANUP_BUF Buf url = BUF_INIT(URL_MAX);
    Err err = {0};
    c->kube = k;
    c->verb = r->verb;
    c->kind = r->kind;
    c->unfenced = r->unfenced;
    c->urgent = r->urgent;
    c->background = r->background;
    c->done = done;
    c->arg = arg;
    c->retry = timer_new(k->loop, on_retry, c);
    c->timeout = default_timeout(r);
    list_init(&c->link);
    if (!full.manager)
        full.manager = k->manager;
    if (kube_write_url(&url, k->base_url, &full, &err) < 0 || write_body(c, &full, &err) < 0)
        kube_error_from_err(&c->error, &err);
    else
        c->url = buf_take(&url);
    return c;
}

static void release(void *arg)
{
    KubeCall *c = arg;
    timer_free(c->retry);
    free(c->url);
    if (c->body)
        secret_erase(c->body, strlen(c->body)); /* it may be a Secret's */
    free(c->body);
    free(c->owned);
    free(c);
}

void kube_call_free(KubeCall *c)
{
    kube_unqueue(c);
    timer_cancel(c->retry);
    loop_defer(c->kube->loop, release, c);
}

void kube_cancel(KubeCall *c)
{
    if (!c)
        return;
    http_cancel(c->http);
    c->http = NULL;
    kube_call_free(c);
}

static void finish(KubeCall *c, json_t *body, const KubeError *e)
{
    KubeDone done = c->done;
    void *arg = c->arg;
    kube_call_free(c);
    done(arg, body, e);
}

void kube_call_fail(KubeCall *c, const KubeError *e)
{
    finish(c, NULL, e);
}

/* ---- the answer ---- */

static bool may_ask_again(const KubeCall *c, const KubeError *e)
{
    return e->status == 429 || (e->status >= 500 && e->retry_after > 0);
}

/* True: it will be asked again. */
static bool ask_again(KubeCall *c, const KubeError *e)
{
    Usec wait = e->retry_after ? e->retry_after : BUSY_WAIT;
    if (e->status == 401 && !c->retried_auth && kube_creds_refused(c->kube->creds)) {
        c->retried_auth = true;
        kube_queue(c);
        return true;
    }
    if (e->status == 429)
        kube_hold(c->kube, wait);
    if (!may_ask_again(c, e) || ++c->tries >= TRIES_MAX || usec_add(now_of(c), wait) >= c->deadline)
        return false;
    timer_arm(c->retry, wait);
    return true;
}

static bool is_json(const HttpResponse *r)
{
    return str_istarts(r->content_type, STR("application/json"));
}

static void on_refused(KubeCall *c, const HttpResponse *r)
{
    CLEANUP_JSON json_t *body = NULL;
    KubeError e;
    if (is_json(r))
        json_parse(r->body, &body, NULL);
    kube_error_from_answer(&e, r->status, body, r->header(r, "Retry-After"));
    if (!ask_again(c, &e))
        kube_call_fail(c, &e);
}

static void on_accepted(KubeCall *c, const HttpResponse *r)
{
    CLEANUP_JSON json_t *body = NULL;
    Err err = {0};
    KubeError e;
    if (c->on_piece) {
        finish(c, NULL, NULL);
        return;
    }
    if (!is_json(r) || json_parse(r->body, &body, &err) < 0 || !json_is_object(body)) {
        err_set(&err, ERR_BAD_GATEWAY, "kubernetes: %d, but the answer is no JSON object", r->status);
        kube_error_from_err(&e, &err);
        e.status = r->status;
        kube_call_fail(c, &e);
        return;
    }
    finish(c, body, NULL);
}

static void fail_fenced(KubeCall *c)
{
    KubeError e = {0};
    err_set(&e.err, ERR_PRECONDITION, "kube: not the leader, nothing is written");
    snprintf(e.reason, sizeof e.reason, "NotLeader");
    kube_call_fail(c, &e);
}

static void on_done(void *arg, const HttpResponse *r, const Err *err)
{
    KubeCall *c = arg;
    c->http = NULL;
    if (!r && err->code == ERR_PRECONDITION) { /* may_send() said so */
        fail_fenced(c);
        return;
    }
    kube_count(c->kube, c->verb, c->kind, r ? r->status : 0);
    kube_answered(c->kube, r || err->code == ERR_TOO_LARGE);
    if (!r) {
        KubeError e;
        kube_error_from_err(&e, err);
        kube_call_fail(c, &e);
    } else if (r->status / 100 == 2) {
        on_accepted(c, r);
    } else {
        on_refused(c, r);
    }
}

/* ---- sending ---- */

static void on_piece(void *arg, Str bytes)
{
    KubeCall *c = arg;
    c->on_piece(c->arg, bytes);
}

static void on_headers(void *arg, const HttpResponse *r)
{
    KubeCall *c = arg;
    if (r->status / 100 != 2)
        return;
    kube_answered(c->kube, true);
    if (c->on_open)
        c->on_open(c->arg);
}

static bool is_fenced(const KubeCall *c)
{
    const KubeOptions *o = &c->kube->o;
    return kube_verb_writes(c->verb) && !c->unfenced && o->may_write && !o->may_write(o->arg);
}

/* A connection may take its time to stand, and a process may be stopped at any moment. */
static bool may_send(void *arg)
{
    return !is_fenced(arg);
}

static bool refuse_early(KubeCall *c)
{
    if (c->error.err.code == ERR_OK && is_fenced(c)) {
        fail_fenced(c);
        return true;
    }
    if (c->error.err.code == ERR_OK && now_of(c) >= c->deadline)
        err_set(&c->error.err, ERR_DEADLINE, "kube: no time left to ask");
    if (c->error.err.code == ERR_OK)
        return false;
    KubeError e = c->error;
    kube_call_fail(c, &e);
    return true;
}

static void send_http(KubeCall *c)
{
    Kube *k = c->kube;
    HttpIdentity id;
    HttpHeader headers[4] = {{"Accept", STR("application/json")}};
    size_t n = 1;
    const char *type = kube_content_type(c->verb);
    if (type && c->body)
        headers[n++] = (HttpHeader){"Content-Type", str_from(type)};
    if (k->o.config->as_user)
        headers[n++] = (HttpHeader){"Impersonate-User", str_from(k->o.config->as_user)};
    Usec left = usec_sub(c->deadline, now_of(c));
    const HttpRequest r = {
        .method = kube_method(c->verb),
        .url = c->url,
        .headers = headers,
        .n_headers = n,
        .bearer = kube_creds_token(k->creds),
        .identity = kube_creds_identity(k->creds, &id) ? &id : NULL,
        .body = c->body ? str_from(c->body) : STR_NULL,
        .timeout = c->on_piece ? usec_add(left, STREAM_SLACK) : left,
        .body_max = ANSWER_MAX,
        .on_piece = c->on_piece ? on_piece : NULL,
        .on_headers = c->on_piece ? on_headers : NULL,
        .may_send = may_send,
    };
    c->http = http_send(k->http, &r, on_done, c);
}

void kube_call_send(KubeCall *c)
{
    assert(!c->http);
    if (c->deadline == 0) /* waiting for its turn does not use its time up */
        c->deadline = usec_add(now_of(c), c->timeout);
    if (!refuse_early(c))
        send_http(c);
}
