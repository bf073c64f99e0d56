/* ensure(): everything that a pod needs, then the pod. */
#include <stdio.h>
#include <string.h>
#include "crypto/runner-token.h"
#include "base/log.h"
#include "base/mem.h"
#include "kube-pod.h"
#include "kube-sidecars.h"
#include "runtime-kube-internal.h"

#define CA_MAX (900 * 1024) /* of an object */

static RtOp *self(Flow *f)
{
    return CONTAINER_OF(f, RtOp, flow);
}

static Str session_id(const RtOp *op)
{
    return obj_str(op->session, FIELD_ID);
}

static Str project_id(const RtOp *op)
{
    return obj_str(op->session, SESSION_PROJECT_ID);
}

static json_t *labels(const RtOp *op)
{
    return session_labels(op->k->settings, session_id(op), project_id(op));
}

static json_t *labelled(const RtOp *op, const char *name)
{
    return new_object(name, op->ns, labels(op));
}

/* ---- the steps ---- */

static void on_anchor(Flow *f, json_t *anchor)
{
    self(f)->anchor_uid = xstrdup(kube_uid(anchor));
    flow_next(f);
}

static void step_anchor(Flow *f)
{
    const RtOp *op = self(f);
    flow_apply(f, KUBE_CONFIG_MAPS, labelled(op, op->service), on_anchor); /* the Service has the same name */
}

static void apply_owned(Flow *f, KubeKind kind, json_t *want)
{
    const RtOp *op = self(f);
    kube_set_owner(want, op->service, op->anchor_uid);
    flow_apply(f, kind, want, NULL);
}

static void step_account(Flow *f)
{
    const RtOp *op = self(f);
    apply_owned(f, KUBE_SERVICE_ACCOUNTS, kube_account_build(op->account, op->ns, labels(op)));
}

/* Before the pod: its name must be known when the runner starts. */
static void step_service(Flow *f)
{
    const RtOp *op = self(f);
    apply_owned(f, KUBE_SERVICES, kube_service_build(op->service, op->ns, session_id(op), labels(op)));
}

/* Not in the pod's own text: whoever may look at pods may not talk to runners. */
static void step_token(Flow *f)
{
    RtOp *op = self(f);
    const Config *c = op->k->o.config;
    const Secret *key = secret_is_empty(c->runner_key) ? c->api_token : c->runner_key;
    if (secret_is_empty(key)) {
        flow_next(f);
        return;
    }
    CLEANUP(secret_freep) Secret *token = runner_token(key, session_id(op));
    op->token_secret = xasprintf("%s-agui", op->service);
    json_t *secret = labelled(op, op->token_secret);
    json_object_set_new(secret, "stringData",
                        json_pack("{s:o}", "agui-token", json_strv(secret_reveal(token))));
    apply_owned(f, KUBE_SECRETS, secret);
}

/* Fresh at each start: what an earlier run has left may have expired. */
static void step_creds(Flow *f)
{
    RtOp *op = self(f);
    if (!op->k->settings->token_secret || secret_is_empty(op->token)) {
        flow_next(f);
        return;
    }
    op->creds = xasprintf("%s-creds", op->service);
    json_t *secret = labelled(op, op->creds);
    json_object_set_new(secret, "stringData",
                        json_pack("{s:o}", "api-token", json_strv(secret_reveal(op->token))));
    apply_owned(f, KUBE_SECRETS, secret);
}

static void step_prompt(Flow *f)
{
    RtOp *op = self(f);
    if (strlen(op->prompt) <= KUBE_PROMPT_ENV_MAX) {
        flow_next(f);
        return;
    }
    op->extra = xasprintf("%s-prompt", op->service);
    json_t *secret = labelled(op, op->extra);
    json_object_set_new(secret, "stringData", json_pack("{s:o}", "prompt", json_strv(str_from(op->prompt))));
    apply_owned(f, KUBE_SECRETS, secret);
}

static void step_claim(Flow *f)
{
    RtOp *op = self(f);
    const KubeSettings *k = op->k->settings;
    if (!k->pvc) {
        flow_next(f);
        return;
    }
    op->claim = xasprintf("%s-workspace", op->service);
    json_t *claim = labelled(op, op->claim);
    json_t *spec = json_pack("{s:[s], s:{s:{s:s}}}", "accessModes", "ReadWriteOnce", "resources", "requests",
                             "storage", k->workspace_size);
    if (k->storage_class)
        json_object_set_new(spec, "storageClassName", json_string(k->storage_class));
    json_object_set_new(claim, "spec", spec);
    kube_set_owner(claim, op->service, op->anchor_uid);
    flow_create(f, KUBE_VOLUME_CLAIMS, claim, NULL); /* it cannot be changed, and must not be */
}

/* What a user put there counts before what we were given. */
static void on_runner_secrets(Flow *f, json_t *secret)
{
    RtOp *op = self(f);
    Str key = json_get_strv(json_get_obj(secret, "data"), "ANTHROPIC_API_KEY");
    if (key.len > 0)
        op->model_secret = RUNNER_SECRETS;
    else if (!secret_is_empty(op->k->o.config->anthropic_api_key))
        op->model_secret = MODEL_SECRET;
    flow_next(f);
}

static void step_model(Flow *f)
{
    flow_get(f, KUBE_SECRETS, self(f)->ns, RUNNER_SECRETS, on_runner_secrets);
}

/* Programs that are told of a bundle look nowhere else, so it has the public roots too: those of our own
 * image. */
static void on_service_ca(Flow *f, json_t *have)
{
    RtOp *op = self(f);
    const char *ca = json_get_str(json_get_obj(have, "data"), "service-ca.crt");
    if (!ca || !*ca) {
        flow_next(f);
        return;
    }
    op->ca_bundle = true;
    CLEANUP_BUF Buf pem = BUF_INIT(CA_MAX);
    if (op->k->public_roots)
        buf_addf(&pem, "%s\n", op->k->public_roots);
    buf_addz(&pem, ca);
    json_t *map = new_object(CA_BUNDLE, op->ns, project_labels(project_id(op)));
    json_object_set_new(map, "data", json_pack("{s:o}", "ca-bundle.crt", json_strv(buf_str(&pem))));
    flow_apply(f, KUBE_CONFIG_MAPS, map, NULL);
}

static void step_ca(Flow *f)
{
    flow_get(f, KUBE_CONFIG_MAPS, self(f)->ns, SERVICE_CA, on_service_ca);
}

static void on_other_pod(Flow *f, json_t *pod)
{
    RtOp *op = self(f);
    op->must_wait = true; /* for the watch to tell whose it is */
    if (pod && is_managed(pod) && !is_of_another(op->k->settings, pod) && kube_label(pod, LABEL_SESSION) &&
        str_eqz(session_id(op), kube_label(pod, LABEL_SESSION))) {
        entry_pod_answered(op->e, pod);
        op->must_wait = !op->e->pod || op->e->pod->run != op->run || kube_deleting(pod);
    } else if (pod) {
        flow_fail(f, ERR_INVALID, "NameConflict", "a pod of the session's name exists and is not ours");
        return;
    }
    flow_next(f);
}

static void on_pod(Flow *f, json_t *pod)
{
    RtOp *op = self(f);
    if (!pod) {
        flow_get(f, KUBE_PODS, op->ns, op->pod_name, on_other_pod);
        return;
    }
    entry_pod_answered(op->e, pod);
    if (op->e->pod)
        entry_event(op->e, KUBE_EVENT_NORMAL, "SessionStarting",
                    "the control plane made the pod of this session");
    log_info("pod created", F_STR("session_id", op->e->id), F_STR("namespace", op->ns),
             F_INT("run", op->run));
    flow_next(f);
}

static void step_pod(Flow *f)
{
    const RtOp *op = self(f);
    const PodSpec s = {
        .config = op->k->o.config,
        .session = op->session,
        .run = op->run,
        .ns = op->ns,
        .name = op->pod_name,
        .account = op->account,
        .anchor_name = op->service,
        .anchor_uid = op->anchor_uid,
        .prompt = str_from(op->prompt),
        .prompt_secret = op->extra,
        .creds_secret = op->creds,
        .credential_ids = op->credential_ids,
        .token_secret = op->token_secret,
        .model_secret = op->model_secret,
        .ca_bundle = op->ca_bundle,
        .claim = op->claim,
        .native_sidecars = op->k->native_sidecars,
        .token_url = op->k->token_url,
        .token_key = op->k->token_key,
        .token_key_id = op->k->token_key_id,
    };
    flow_create(f, KUBE_PODS, kube_pod_build(&s), on_pod);
}

static const FlowStep start_steps[] = {step_anchor, step_account, step_service, step_token,
                                       step_creds,  step_prompt,  step_claim,   step_model,
                                       step_ca,     step_pod,     NULL};

/* ---- an earlier run's pod ---- */

static void step_old_pod(Flow *f)
{
    RtOp *op = self(f);
    op->must_wait = true;
    flow_delete(f, KUBE_PODS, op->e->ns, op->e->pod_name, op->e->pod_uid, KUBE_GRACE_DEFAULT);
}

static const FlowStep clear_steps[] = {step_old_pod, NULL};

static RtOp *clear_old(RtOp *op)
{
    Entry *e = op->e;
    bool over = entry_pod_over(e) || e->retired || e->pod->terminated;
    if (e->deleting || e->pod->deletion.us != 0)
        return op_end_soon(op, ERR_RATE_LIMITED, "the pod of an earlier run is not gone yet");
    if (!over)
        return op_end_soon(op, ERR_CONFLICT, "an earlier run of this session still lives");
    flow_start(&op->flow, clear_steps);
    return op;
}

/* ---- ensure ---- */

static int take_spec(RtOp *op, const RtSpec *spec, Err *err)
{
    Str id = obj_str(spec->session, FIELD_ID);
    char ns[NAME_MAX_LEN];
    op->session = obj_dup(spec->session);
    op->run = spec->run;
    op->prompt = str_dup(spec->initial_prompt);
    op->credential_ids = str_dup(spec->credential_ids);
    op->token = secret_is_empty(spec->token) ? NULL : secret_new(secret_reveal(spec->token));
    if (project_namespace(op->k->settings, project_id(op), ns, err) < 0 ||
        session_object_name(id, "", op->service, err) < 0 ||
        session_object_name(id, "-sa", op->account, err) < 0 ||
        session_object_name(id, "-runner", op->pod_name, err) < 0)
        return -(int)err->code;
    op->ns = xstrdup(ns);
    return 0;
}

/* Tried again when what is missing is there, not after its backoff. */
static void wait_until_woken(Entry *e, const char *ns)
{
    if (!e->ns)
        e->ns = xstrdup(ns);
    if (!list_linked(&e->waiting))
        list_push_back(&e->k->waiting, &e->waiting);
}

/* What every session needs before a pod of its own can be made. */
static bool is_prepared(const KubeRuntime *k, const char **ret_why)
{
    if (!k->version_known && kube_sidecars_wanted(k->settings))
        *ret_why = "the version of the Kubernetes API is not known yet";
    else if (k->await_endpoint)
        *ret_why = "the token endpoint is not there yet";
    else
        return true;
    return false;
}

bool kube_may_start(Runtime *rt, const Obj *session, const char **ret_why)
{
    KubeRuntime *k = CONTAINER_OF(rt, KubeRuntime, base);
    Entry *e = entry_get(k, obj_str(session, FIELD_ID));
    Str project = obj_str(session, SESSION_PROJECT_ID);
    char ns[NAME_MAX_LEN];
    if (e && e->pod)
        return true; /* of an earlier run, which ensure() clears away */
    if (project_namespace(k->settings, project, ns, NULL) < 0)
        return true; /* a refusal is ensure()'s to say */
    if (is_prepared(k, ret_why) && kube_projects_state(k->projects, project, ret_why) != PROJECT_UNKNOWN)
        return true;
    if (e)
        wait_until_woken(e, ns);
    return false;
}

RtOp *kube_ensure(Runtime *rt, const RtSpec *spec, RtDone done, void *arg)
{
    KubeRuntime *k = CONTAINER_OF(rt, KubeRuntime, base);
    Entry *e = entry_make(k, obj_str(spec->session, FIELD_ID), NULL, clock_wall(k->o.clock));
    RtOp *op = op_new(k, e, done, arg);
    const char *why;
    if (take_spec(op, spec, &op->err) < 0)
        return op_end_soon(op, ERR_OK, NULL); /* op->err says it */
    if (e->pod && e->pod->run == spec->run && !e->retired && !e->deleting && e->pod->deletion.us == 0)
        return op_end_soon(op, ERR_OK, NULL);
    if (kube_lost(k->o.kube))
        return op_end_soon(op, ERR_UNAVAILABLE, KUBE_NO_ANSWER);
    if (e->pod)
        return clear_old(op);
    if (!is_prepared(k, &why))
        return op_end_soon(op, ERR_RATE_LIMITED, why);
    switch (kube_projects_state(k->projects, project_id(op), &why)) {
    case PROJECT_READY:
        break;
    case PROJECT_REFUSED:
        return op_end_soon(op, ERR_INVALID, why);
    default:
        wait_until_woken(e, op->ns);
        return op_end_soon(op, ERR_RATE_LIMITED, why);
    }
    if (!e->ns)
        e->ns = xstrdup(op->ns);
    free(TAKE(e->gone));
    flow_start(&op->flow, start_steps);
    return op;
}
