/* Sub-resources of a session that are part of its row. rest-core.md 11.2. */
#include "rest-internal.h"

/* ---- changes ---- */

/* The object of the body; answers by itself and returns NULL when it is none. */
static json_t *read_object(Request *q)
{
    json_t *body = NULL;
    Err err = {0};
    if (json_parse(http_req_body(q->http), &body, &err) < 0) {
        (void)err_wrap(&err, "Invalid request format");
        rest_reply_error(q, &err);
        return NULL;
    }
    if (json_is_object(body))
        return body;
    json_decref(body);
    rest_reply_error(q, &(Err){ERR_MALFORMED, "Invalid request format: the body must be an object"});
    return NULL;
}

/* A text member: absent, null and "" are the same here. */
static int text_member(const json_t *body, const char *key, Str *ret, Err *err)
{
    const json_t *v = json_object_get(body, key);
    if (v && !json_is_string(v) && !json_is_null(v))
        return err_set(err, ERR_MALFORMED, "Invalid request format: %s must be a string", key);
    *ret = json_get_strv(body, key);
    return 0;
}

static void tell_member(Request *q, const char *key, Str value)
{
    (void)buf_addf(&q->tell, "%s\"%s\":", q->tell.len ? "," : "{", key);
    json_write_str_plain(&q->tell, value);
}

static void answer_edit(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_answered(q, a))
        return;
    obj_to_json(a->obj, &q->out, NULL);
    if (!q->tell_path || obj_phase(a->obj) != PHASE_RUNNING) {
        rest_reply_json(q, 200, &q->out);
        return;
    }
    (void)buf_addc(&q->tell, '}');
    proxy_tell(q, a->obj, q->tell_path, buf_str(&q->tell));
}

static void edit(Request *q, const SvcSessionEdit *e)
{
    SvcCtx x = request_ctx(q);
    q->good_status = 200;
    request_hold(q);
    svc_session_edit(q->rest->o.service, &x, q->vars.id, e, answer_edit, q);
}

void handle_session_repo_add(Request *q)
{
    CLEANUP_JSON json_t *body = read_object(q);
    SvcSessionEdit e = {.what = EDIT_REPO_ADD};
    Err err = {0};
    if (!body)
        return;
    if (text_member(body, "url", &e.value, &err) < 0 || text_member(body, "branch", &e.branch, &err) < 0) {
        rest_reply_error(q, &err);
        return;
    }
    e.auto_push = json_get_bool(body, "auto_push", json_get_bool(body, "autoPush", false));
    q->tell_path = "/repos/add";
    tell_member(q, "url", e.value);
    tell_member(q, "branch", e.branch.len ? e.branch : STR("main"));
    edit(q, &e);
}

void handle_session_repo_remove(Request *q)
{
    q->tell_path = "/repos/remove";
    tell_member(q, "name", q->vars.sub);
    edit(q, &(SvcSessionEdit){.what = EDIT_REPO_REMOVE, .value = q->vars.sub});
}

void handle_session_workflow(Request *q)
{
    CLEANUP_JSON json_t *body = read_object(q);
    SvcSessionEdit e = {.what = EDIT_WORKFLOW};
    Err err = {0};
    if (!body)
        return;
    int rc = text_member(body, "git_url", &e.value, &err);
    if (rc == 0)
        rc = text_member(body, "branch", &e.branch, &err);
    if (rc == 0)
        rc = text_member(body, "path", &e.path, &err);
    if (rc < 0) {
        rest_reply_error(q, &err);
        return;
    }
    q->tell_path = "/workflow";
    tell_member(q, "gitUrl", e.value);
    tell_member(q, "branch", e.branch.len ? e.branch : STR("main"));
    tell_member(q, "path", e.path);
    edit(q, &e);
}

void handle_session_model(Request *q)
{
    CLEANUP_JSON json_t *body = read_object(q);
    SvcSessionEdit e = {.what = EDIT_MODEL};
    Err err = {0};
    if (!body)
        return;
    if (text_member(body, "model", &e.value, &err) < 0) {
        rest_reply_error(q, &err);
        return;
    }
    q->tell_path = "/model";
    tell_member(q, "model", e.value);
    edit(q, &e);
}

static void answer_name(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_answered(q, a))
        return;
    const Kind *k = a->obj->kind;
    (void)buf_addf(&q->out, "{\"href\":\"" STR_FMT "%s\",\"id\":\"%s\",\"kind\":\"%s\"}", STR_ARG(k->href),
                   obj_cstr(a->obj, FIELD_ID), obj_cstr(a->obj, FIELD_ID), k->name);
    rest_reply_json(q, 200, &q->out);
}

void handle_session_displayname(Request *q)
{
    CLEANUP_JSON json_t *body = read_object(q);
    SvcSessionEdit e = {.what = EDIT_NAME};
    Err err = {0};
    if (!body)
        return;
    if (text_member(body, "name", &e.value, &err) < 0) {
        rest_reply_error(q, &err);
        return;
    }
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_session_edit(q->rest->o.service, &x, q->vars.id, &e, answer_name, q);
}

void handle_session_clone(Request *q)
{
    SvcCtx x = request_ctx(q);
    q->good_status = 201;
    request_hold(q);
    svc_session_clone(q->rest->o.service, &x, q->vars.id, answer_object, q);
}

/* ---- reads ---- */

static void read_session(Request *q, SvcDone done)
{
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_session_reach(q->rest->o.service, &x, q->vars.id, false, done, q);
}

static void answer_workflow(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    CLEANUP_JSON json_t *workflow = NULL;
    if (!request_answered(q, a))
        return;
    Str text = obj_str(a->obj, SESSION_WORKFLOW_ID);
    (void)buf_addc(&q->out, '{');
    if (text.len && json_parse(text, &workflow, NULL) < 0) {
        (void)buf_addz(&q->out, "\"raw\":");
        json_write_str(&q->out, text);
        (void)buf_addc(&q->out, ',');
    }
    (void)buf_addz(&q->out, "\"workflow\":");
    json_write(&q->out, workflow);
    (void)buf_addc(&q->out, '}');
    rest_reply_json(q, 200, &q->out);
}

void handle_session_workflow_metadata(Request *q)
{
    read_session(q, answer_workflow);
}

/* A condition as an event of Kubernetes' form. Only what the control plane really reported is shown: a reason
   that it gave, at the time it gave. */
static void add_event(Buf *out, bool first, const Obj *session, const json_t *c)
{
    bool bad = str_eqz(json_get_strv(c, "status"), "False");
    (void)buf_addf(out,
                   "%s{\"count\":1,\"involvedObject\":{\"kind\":\"Session\",\"name\":", first ? "" : ",");
    json_write_str(out, obj_str(session, FIELD_ID));
    (void)buf_addz(out, "},\"lastTimestamp\":");
    json_write_str(out, json_get_strv(c, "lastTransitionTime"));
    (void)buf_addz(out, ",\"message\":");
    json_write_str(out, json_get_strv(c, "message"));
    (void)buf_addz(out, ",\"reason\":");
    json_write_str(out, json_get_strv(c, "reason"));
    (void)buf_addz(out, ",\"source\":{\"component\":\"ambient-control-plane\"},\"timestamp\":");
    json_write_str(out, json_get_strv(c, "lastTransitionTime"));
    (void)buf_addf(out, ",\"type\":\"%s\"}", bad ? "Warning" : "Normal");
}

static void answer_pod_events(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    CLEANUP_JSON json_t *conditions = NULL;
    const json_t *c;
    size_t i;
    bool first = true;
    if (!request_answered(q, a))
        return;
    (void)json_parse(obj_str(a->obj, SESSION_CONDITIONS), &conditions, NULL);
    (void)buf_addc(&q->out, '[');
    json_array_foreach(conditions, i, c)
    {
        if (!json_get_strv(c, "reason").len)
            continue;
        add_event(&q->out, first, a->obj, c);
        first = false;
    }
    (void)buf_addc(&q->out, ']');
    rest_reply_json(q, 200, &q->out);
}

void handle_session_pod_events(Request *q)
{
    read_session(q, answer_pod_events);
}

/* Credentials are stored, not granted in a browser. */
static void answer_oauth(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_release(q))
        return;
    rest_reply_error(q, a->err ? a->err : &(Err){ERR_UNIMPLEMENTED, "not yet implemented"});
}

void handle_session_oauth_url(Request *q)
{
    read_session(q, answer_oauth);
}

void handle_project_home(Request *q)
{
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_project_home(q->rest->o.service, &x, q->vars.id, answer_text, q);
}
