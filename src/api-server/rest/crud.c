/* Handlers of the kinds: bytes to a service call, its answer to bytes. */
#include "rest-internal.h"

#define START_PROMPT_MAX ((size_t)1 << 20)

SvcTarget request_target(const Request *q)
{
    const Vars *v = &q->vars;
    return (SvcTarget){
        .kind = q->route->kind,
        .id = v->id,
        .parent = v->agent.len ? v->agent : v->project,
        .project = v->project,
    };
}

/* ---- answers ---- */

static void render_object(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    buf_clear(&q->out);
    buf_clear(&q->packed);
    obj_to_json(a->obj, &q->out, NULL);
    svc_etag(buf_str(&q->out), q->etag);
    pack_output(q);
}

/* ui-and-sdk.md 15.3 */
void mark_replayed(Request *q, const SvcAnswer *a)
{
    if (a->replayed)
        http_reply_header(q->http, "Idempotency-Replayed", STR("true"));
}

void answer_object(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_answered(q, a))
        return;
    mark_replayed(q, a);
    if (!q->out.len)
        obj_to_json(a->obj, &q->out, NULL);
    cache_keep(q);
    rest_reply_object(q, q->good_status);
}

static void answer_nothing(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_release(q))
        return;
    if (a->err)
        rest_reply_error(q, a->err);
    else
        rest_reply_empty(q, 204);
}

/* ---- lists ---- */

/* Digits beyond 64 bits are a number too, only a large one. */
static bool is_huge_number(Str s)
{
    size_t i = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
    if (i == s.len)
        return false;
    for (; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return true;
}

int query_i64(Request *q, const char *name, int64_t dflt, int64_t *ret, Err *err)
{
    Str text = http_req_query(q->http, name);
    if (!text.len)
        *ret = dflt;
    else if (str_to_i64(text, ret) < 0) {
        if (!is_huge_number(text))
            return err_set(err, ERR_BAD_REQUEST, "%s must be a number", name);
        *ret = text.ptr[0] == '-' ? INT64_MIN : INT64_MAX;
    }
    return 0;
}

static void render_list(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    buf_clear(&q->out);
    buf_clear(&q->packed);
    obj_list_to_json(q->route->kind, a->list, &q->out, q->mask);
    pack_output(q);
}

static void answer_list(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_answered(q, a))
        return;
    cache_keep(q);
    rest_reply_json(q, 200, &q->out);
}

static Str query_text(Request *q, const char *name)
{
    Str s = http_req_query(q->http, name);
    return s.ptr ? s : STR("");
}

void handle_list(Request *q)
{
    Err err = {0};
    if (cache_answer(q))
        return;
    SvcTarget t = request_target(q);
    SvcList l = {
        .search = query_text(q, "search"),
        .order_by = query_text(q, "orderBy"),
        .label_selector = query_text(q, "labelSelector"),
        .provider = query_text(q, "provider"),
        .project_id = query_text(q, "project_id"),
        .schedule_id = q->vars.id, /* no other list has an object in its path */
        .parent_id = t.parent,
        .project_of_parent = t.project,
        .of = {.kind = q->route->of, .id = q->vars.id, .project = q->vars.project},
        .of_field = q->route->of_field,
    };
    if (query_i64(q, "page", 1, &l.page, &err) < 0 || query_i64(q, "size", 100, &l.size, &err) < 0 ||
        field_mask_parse(t.kind, query_text(q, "fields"), &q->mask, &err) < 0) {
        rest_reply_error(q, &err);
        return;
    }
    SvcCtx x = request_ctx(q);
    x.render = render_list;
    request_hold(q);
    svc_list(q->rest->o.service, &x, t.kind, &l, answer_list, q);
}

/* ---- one object ---- */

void handle_get(Request *q)
{
    if (cache_answer(q))
        return;
    SvcTarget t = request_target(q);
    SvcCtx x = request_ctx(q);
    x.render = render_object;
    q->good_status = 200;
    request_hold(q);
    svc_get(q->rest->o.service, &x, &t, answer_object, q);
}

/* The body as an object; answers by itself and returns NULL when it is none. */
static Obj *read_body(Request *q, ObjMode mode)
{
    Err err = {0};
    Obj *o = NULL;
    if (obj_from_json_text(q->route->kind, mode, http_req_body(q->http), &o, &err) < 0) {
        rest_reply_error(q, &err);
        return NULL;
    }
    request_hold(q);
    return o;
}

void handle_create(Request *q)
{
    SvcTarget t = request_target(q);
    SvcCtx x = request_ctx(q);
    Service *s = q->rest->o.service;
    q->good_status = 201;
    Obj *body = read_body(q, OBJ_CREATE);
    if (body)
        svc_create(s, &x, &t, body, answer_object, q);
}

void handle_patch(Request *q)
{
    SvcTarget t = request_target(q);
    SvcCtx x = request_ctx(q);
    Service *s = q->rest->o.service;
    q->good_status = 200;
    Obj *body = read_body(q, OBJ_PATCH);
    if (body)
        svc_patch(s, &x, &t, body, answer_object, q);
}

void handle_delete(Request *q)
{
    SvcTarget t = request_target(q);
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_delete(q->rest->o.service, &x, &t, answer_nothing, q);
}

/* ---- sessions ---- */

void handle_session_status(Request *q)
{
    SvcCtx x = request_ctx(q);
    Service *s = q->rest->o.service;
    Str id = q->vars.id;
    q->good_status = 200;
    Obj *body = read_body(q, OBJ_STATUS);
    if (body)
        svc_session_status(s, &x, id, body, answer_object, q);
}

void handle_session_start(Request *q)
{
    SvcCtx x = request_ctx(q);
    q->good_status = 200;
    request_hold(q);
    svc_session_start(q->rest->o.service, &x, q->vars.id, answer_object, q);
}

void handle_session_stop(Request *q)
{
    SvcCtx x = request_ctx(q);
    q->good_status = 200;
    request_hold(q);
    svc_session_stop(q->rest->o.service, &x, q->vars.id, answer_object, q);
}

/* ---- agents ---- */

static void answer_start(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_answered(q, a))
        return;
    mark_replayed(q, a);
    (void)buf_addz(&q->out, "{\"session\":");
    obj_to_json(a->obj, &q->out, NULL);
    (void)buf_addz(&q->out, ",\"starting_prompt\":");
    json_write_str(&q->out, a->text);
    (void)buf_addz(&q->out, a->created ? "}" : "}\n");
    rest_reply_json(q, a->created ? 201 : 200, &q->out);
}

static int read_start_prompt(Str body, json_t **ret, Str *ret_prompt, Err *err)
{
    *ret_prompt = STR_NULL;
    if (!str_trim(body).len)
        return 0;
    int rc = json_parse(body, ret, err);
    if (rc < 0)
        return err_wrap(err, "Invalid request format");
    const json_t *prompt = json_object_get(*ret, "prompt");
    if (!json_is_object(*ret) && !json_is_null(*ret))
        return err_set(err, ERR_MALFORMED, "Invalid request format: the body must be an object");
    if (prompt && !json_is_string(prompt) && !json_is_null(prompt))
        return err_set(err, ERR_MALFORMED,
                       "Invalid request format: json: cannot unmarshal prompt into Go struct field "
                       "StartRequest.prompt of type string");
    *ret_prompt = json_get_strv(*ret, "prompt");
    if (ret_prompt->len > START_PROMPT_MAX)
        return err_set(err, ERR_INVALID, "prompt exceeds maximum length of %zu", START_PROMPT_MAX);
    return 0;
}

void handle_agent_start(Request *q)
{
    CLEANUP_JSON json_t *body = NULL;
    Str prompt;
    Err err = {0};
    if (read_start_prompt(http_req_body(q->http), &body, &prompt, &err) < 0) {
        rest_reply_error(q, &err);
        return;
    }
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_agent_start(q->rest->o.service, &x, q->vars.project, q->vars.id, prompt, answer_start, q);
}

static void answer_preview(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_answered(q, a))
        return;
    if (accept_prefers(http_req_header(q->http, "Accept"), "text/plain", "application/json")) {
        (void)buf_adds(&q->out, a->text);
        rest_reply_body(q, 200, &q->out, "text/plain; charset=utf-8");
        return;
    }
    (void)buf_addz(&q->out, "{\"starting_prompt\":");
    json_write_str(&q->out, a->text);
    (void)buf_addc(&q->out, '}');
    rest_reply_json(q, 200, &q->out);
}

void handle_agent_preview(Request *q)
{
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_agent_preview(q->rest->o.service, &x, q->vars.project, q->vars.id, answer_preview, q);
}
