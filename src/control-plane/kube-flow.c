#include "kube-flow.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "crypto/crypto.h"
#include "kube-names.h"

/* ---- going on ---- */

static void end(Flow *f, const KubeError *e)
{
    json_decref(TAKE(f->want));
    json_decref(TAKE(f->names));
    f->steps = NULL;
    f->done(f, e);
}

static void run_step(Flow *f)
{
    FlowStep step = f->steps[f->at];
    if (step)
        step(f);
    else
        end(f, NULL);
}

static void on_start(void *arg)
{
    run_step(arg);
}

void flow_init(Flow *f, Kube *k, FlowDone done)
{
    f->kube = k;
    f->done = done;
    f->timer = timer_new(kube_loop(k), on_start, f);
}

void flow_done(Flow *f)
{
    kube_cancel(f->call);
    f->call = NULL;
    f->timer = timer_free(f->timer);
    json_decref(TAKE(f->want));
    json_decref(TAKE(f->names));
    free(TAKE(f->ns));
    free(TAKE(f->labels));
    f->steps = NULL;
}

void flow_start(Flow *f, const FlowStep *steps)
{
    assert(!f->steps && !f->call);
    f->steps = steps;
    f->at = 0;
    f->writes = 0;
    timer_arm(f->timer, 0);
}

bool flow_running(const Flow *f)
{
    return f->steps != NULL;
}

void flow_next(Flow *f)
{
    assert(!f->call);
    f->at++;
    run_step(f);
}

void flow_finish(Flow *f)
{
    assert(!f->call);
    end(f, NULL);
}

void flow_fail(Flow *f, ErrCode code, const char *reason, const char *message)
{
    KubeError e = {0};
    err_set(&e.err, code, "%s: %s", reason, message);
    snprintf(e.reason, sizeof e.reason, "%s", reason);
    end(f, &e);
}

static void answer_or_next(Flow *f, json_t *object)
{
    if (f->answer)
        f->answer(f, object);
    else
        flow_next(f);
}

static void ask(Flow *f, const KubeRequest *r, KubeDone done)
{
    KubeRequest full = *r;
    full.background = f->background;
    f->call = kube_send(f->kube, &full, done, f);
}

/* ---- get ---- */

static void on_got(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    if (e && e->status != 404)
        end(f, e);
    else
        answer_or_next(f, body);
}

void flow_get(Flow *f, KubeKind kind, const char *ns, const char *name, FlowAnswer answer)
{
    f->answer = answer;
    ask(f, KUBE_REQUEST(.verb = KUBE_GET, .kind = kind, .ns = ns, .name = name), on_got);
}

/* ---- apply ---- */

static const char *want_ns(const Flow *f)
{
    const char *ns = kube_namespace(f->want);
    return *ns ? ns : NULL;
}

static void send_want(Flow *f, KubeVerb verb, KubeDone done)
{
    ask(f,
        KUBE_REQUEST(.verb = verb, .kind = f->kind, .ns = want_ns(f), .name = kube_name(f->want),
                     .body = f->want),
        done);
}

static void on_applied(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    if (e) {
        end(f, e);
        return;
    }
    f->writes++;
    json_decref(TAKE(f->want));
    answer_or_next(f, body);
}

/* What is wanted, in one annotation: a part that is not wanted any more shows too. */
static void add_hash(json_t *want)
{
    CLEANUP_BUF Buf text = BUF_INIT(4 * 1024 * 1024);
    CLEANUP_BUF Buf hex = BUF_INIT(128);
    uint8_t digest[SHA256_LEN];
    json_write_plain(&text, want);
    sha256(buf_str(&text), digest);
    secret_erase(text.data, text.cap); /* it may be a Secret's */
    hex_write(&hex, digest, 16);
    json_t *meta = json_get_obj(want, "metadata"), *annotations = json_get_obj(meta, "annotations");
    if (!annotations) {
        annotations = json_object();
        json_object_set_new(meta, "annotations", annotations);
    }
    json_object_set_new(annotations, ANNOTATION_HASH, json_strv(buf_str(&hex)));
}

/* Secrets are written as stringData and read as data: their hash alone counts. */
static bool is_right(json_t *have, json_t *want)
{
    const char *a = kube_annotation(have, ANNOTATION_HASH), *b = kube_annotation(want, ANNOTATION_HASH);
    if (!a || strcmp(a, b) != 0)
        return false;
    json_t *secret = json_incref(json_object_get(want, "stringData"));
    json_object_del(want, "stringData");
    bool right = kube_contains(have, want);
    if (secret)
        json_object_set_new(want, "stringData", secret);
    return right;
}

static void on_replaced(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    if (e && e->status != 404)
        end(f, e);
    else
        send_want(f, KUBE_APPLY, on_applied);
}

/* A binding's role cannot be changed. */
static bool must_replace(const Flow *f, const json_t *have)
{
    const json_t *role = json_get_obj(f->want, "roleRef");
    return role && !kube_contains(json_get_obj(have, "roleRef"), role);
}

static void replace(Flow *f, const json_t *have)
{
    ask(f,
        KUBE_REQUEST(.verb = KUBE_DELETE, .kind = f->kind, .ns = want_ns(f), .name = kube_name(have),
                     .uid = kube_uid(have)),
        on_replaced);
}

static void on_seen(void *arg, json_t *have, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    if (e && e->status != 404) {
        end(f, e);
    } else if (!have) {
        send_want(f, KUBE_APPLY, on_applied);
    } else if (!is_managed(have) && !f->adopt) {
        CLEANUP_FREE char *text =
            xasprintf("%s %s exists and is not ours", kube_resource(f->kind)->kind, kube_name(have));
        flow_fail(f, ERR_INVALID, "NameConflict", text);
    } else if (is_right(have, f->want)) {
        json_decref(TAKE(f->want));
        answer_or_next(f, have);
    } else if (must_replace(f, have)) {
        replace(f, have);
    } else {
        send_want(f, KUBE_APPLY, on_applied);
    }
}

void flow_apply(Flow *f, KubeKind kind, json_t *want, FlowAnswer answer)
{
    assert(!f->want && !f->call);
    f->kind = kind;
    f->want = want;
    f->answer = answer;
    add_hash(want);
    ask(f, KUBE_REQUEST(.verb = KUBE_GET, .kind = kind, .ns = want_ns(f), .name = kube_name(want)), on_seen);
}

/* ---- create ---- */

static void on_created(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    json_decref(TAKE(f->want));
    if (e && !kube_error_is(e, "AlreadyExists")) {
        end(f, e);
        return;
    }
    f->writes += !e;
    answer_or_next(f, body);
}

void flow_create(Flow *f, KubeKind kind, json_t *want, FlowAnswer answer)
{
    assert(!f->want && !f->call);
    f->kind = kind;
    f->want = want;
    f->answer = answer;
    send_want(f, KUBE_CREATE, on_created);
}

/* ---- delete and patch ---- */

static void on_changed(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    bool other = e && e->status == 409 && kube_error_is(e, "Conflict"); /* another uid */
    if (e && e->status != 404 && !other) {
        end(f, e);
        return;
    }
    f->writes += !e;
    flow_next(f);
}

void flow_delete(Flow *f, KubeKind kind, const char *ns, const char *name, const char *uid, int64_t grace)
{
    const KubeRequest r = {.verb = KUBE_DELETE,
                           .kind = kind,
                           .ns = ns,
                           .name = name,
                           .uid = uid,
                           .grace = grace,
                           .propagation = "Background"};
    ask(f, &r, on_changed);
}

void flow_merge(Flow *f, KubeKind kind, const char *ns, const char *name, json_t *patch)
{
    ask(f, KUBE_REQUEST(.verb = KUBE_MERGE, .kind = kind, .ns = ns, .name = name, .body = patch), on_changed);
    json_decref(patch);
}

/* ---- all of a kind ---- */

/* Clusters before 1.23 know no deletecollection of Services (405); a role may lack the verb (403). */

static void delete_next(Flow *f);

static void on_one_deleted(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    if (e && e->status != 404)
        end(f, e);
    else
        delete_next(f);
}

static void delete_next(Flow *f)
{
    size_t n = json_array_size(f->names);
    if (n == 0) {
        json_decref(TAKE(f->names));
        flow_next(f);
        return;
    }
    CLEANUP_FREE char *name = xstrdup(json_string_value(json_array_get(f->names, n - 1)));
    json_array_remove(f->names, n - 1);
    ask(f, KUBE_REQUEST(.verb = KUBE_DELETE, .kind = f->kind, .ns = f->ns, .name = name), on_one_deleted);
}

static void on_all_listed(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    if (e) {
        end(f, e);
        return;
    }
    const json_t *items = json_get_arr(body, "items");
    f->names = json_array();
    for (size_t i = 0; i < json_array_size(items); i++)
        json_array_append_new(f->names, json_string(kube_name(json_array_get(items, i))));
    delete_next(f);
}

static void on_all_deleted(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    if (e && (e->status == 403 || e->status == 405)) {
        ask(f, KUBE_REQUEST(.verb = KUBE_LIST, .kind = f->kind, .ns = f->ns, .labels = f->labels),
            on_all_listed);
    } else if (e && e->status != 404) {
        end(f, e);
    } else {
        flow_next(f);
    }
}

void flow_delete_all(Flow *f, KubeKind kind, const char *ns, const char *labels)
{
    f->kind = kind;
    free(f->ns);
    free(f->labels);
    f->ns = xstrdup(ns);
    f->labels = xstrdup(labels);
    ask(f,
        KUBE_REQUEST(.verb = KUBE_DELETE_COLLECTION, .kind = kind, .ns = f->ns, .labels = f->labels,
                     .propagation = "Background"),
        on_all_deleted);
}
