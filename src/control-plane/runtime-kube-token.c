/*
 * The session's token as a file in its pod: a Secret that is written when the pod is made, and again whenever
 * the session has another token. The kubelet brings it into the pod. One key per session, the latest token
 * wins, what is right already is not written (contract, section 15).
 */
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "kube-pod.h"
#include "runtime-kube-internal.h"

#define RETRY (2 * USEC_PER_SEC)
#define RETRY_MAX (30 * USEC_PER_SEC)
#define TOKEN_MAX (128 * 1024)

struct TokenWrite {
    Entry *e;
    Flow flow;
    Timer *timer;
    Secret *want; /* NULL: nothing to write */
    Secret *writing;
    Usec backoff;
    bool known; /* the Secret held what we wrote: the next token is another one */
    char name[NAME_MAX_LEN];
};

static TokenWrite *self(Flow *f)
{
    return CONTAINER_OF(f, TokenWrite, flow);
}

static bool is_same(const json_t *secret, const Secret *token)
{
    Buf text = BUF_INIT(TOKEN_MAX);
    Str have = json_get_strv(json_get_obj(secret, "data"), "api-token");
    bool same = base64_read(have, &text) == 0 && secret_equals(token, buf_str(&text));
    secret_erase(text.data, text.cap);
    buf_done(&text);
    return same;
}

static json_t *content(const TokenWrite *w)
{
    return json_pack("{s:o}", "api-token", json_strv(secret_reveal(w->writing)));
}

static void on_anchor(Flow *f, json_t *anchor)
{
    const TokenWrite *w = self(f);
    if (!anchor) { /* all of the session is on its way out */
        flow_finish(f);
        return;
    }
    json_t *labels = json_get_obj(json_get_obj(anchor, "metadata"), "labels");
    json_t *secret = new_object(w->name, w->e->ns, json_copy(labels));
    json_object_set_new(secret, "stringData", content(w));
    kube_set_owner(secret, kube_name(anchor), kube_uid(anchor));
    log_warn("the Secret of a runner's token was gone", F_STR("session_id", w->e->id));
    flow_create(f, KUBE_SECRETS, secret, NULL);
}

/* A pod that has the file goes on reading it; what was deleted is made again. */
static void make_again(Flow *f)
{
    const TokenWrite *w = self(f);
    char anchor[NAME_MAX_LEN];
    if (w->e->pod && w->e->pod->token_file && session_object_name(str_from(w->e->id), "", anchor, NULL) == 0)
        flow_get(f, KUBE_CONFIG_MAPS, w->e->ns, anchor, on_anchor);
    else
        flow_finish(f); /* it gets its token elsewhere */
}

static void on_secret(Flow *f, json_t *secret)
{
    const TokenWrite *w = self(f);
    if (!secret)
        make_again(f);
    else if (is_same(secret, w->writing))
        flow_finish(f);
    else
        flow_merge(f, KUBE_SECRETS, w->e->ns, w->name, json_pack("{s:o}", "stringData", content(w)));
}

static void step_secret(Flow *f)
{
    const TokenWrite *w = self(f);
    flow_get(f, KUBE_SECRETS, w->e->ns, w->name, on_secret);
}

static void step_write(Flow *f)
{
    const TokenWrite *w = self(f);
    flow_merge(f, KUBE_SECRETS, w->e->ns, w->name, json_pack("{s:o}", "stringData", content(w)));
}

static void step_written(Flow *f)
{
    if (f->writes == 0)
        make_again(f);
    else
        flow_next(f);
}

static const FlowStep look_steps[] = {step_secret, NULL};
static const FlowStep write_steps[] = {step_write, step_written, NULL};

static void begin(TokenWrite *w)
{
    if (flow_running(&w->flow) || !w->want)
        return;
    w->writing = TAKE(w->want);
    flow_start(&w->flow, w->known ? write_steps : look_steps);
}

static void on_timer(void *arg)
{
    begin(arg);
}

static void on_written(Flow *f, const KubeError *e)
{
    TokenWrite *w = self(f);
    w->known = !e;
    if (e) {
        w->e->k->tokens_failed++;
        log_warn("cannot refresh a runner's token", F_STR("session_id", w->e->id), F_ERR(&e->err));
        if (!w->want)
            w->want = TAKE(w->writing); /* unless there is a newer one */
        w->writing = secret_free(w->writing);
        w->backoff = w->backoff ? w->backoff * 2 : RETRY;
        timer_arm(w->timer, w->backoff < RETRY_MAX ? w->backoff : RETRY_MAX);
        return;
    }
    if (f->writes > 0) {
        w->e->k->tokens_written++;
        log_info("runner token refreshed", F_STR("session_id", w->e->id));
    } else {
        w->e->k->tokens_same++;
    }
    w->backoff = 0;
    w->writing = secret_free(w->writing);
    timer_arm(w->timer, 0); /* if another one came meanwhile */
}

TokenWrite *token_write_free(TokenWrite *w)
{
    if (!w)
        return NULL;
    flow_done(&w->flow);
    timer_free(w->timer);
    secret_free(w->want);
    secret_free(w->writing);
    free(w);
    return NULL;
}

void kube_give_token(Runtime *rt, Str id, const Secret *token)
{
    KubeRuntime *k = CONTAINER_OF(rt, KubeRuntime, base);
    Entry *e = entry_get(k, id);
    char name[NAME_MAX_LEN];
    /* What counts is what the pod has: the mode may have been another one when it was made. */
    if (!k->leading || !e || !e->pod || !e->pod->token_file || e->retired ||
        session_object_name(id, "-creds", name, NULL) < 0)
        return;
    if (!e->token) {
        e->token = xnew(TokenWrite);
        e->token->e = e;
        memcpy(e->token->name, name, sizeof name);
        flow_init(&e->token->flow, k->o.kube, on_written);
        e->token->flow.background = true;
        e->token->timer = timer_new(k->loop, on_timer, e->token);
    }
    secret_free(e->token->want);
    e->token->want = secret_new(secret_reveal(token));
    timer_arm(e->token->timer, 0);
}
