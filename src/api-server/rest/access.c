/* Asking what one may do: a question as JSON, the service's answer as it is. */
#include "rest-internal.h"

void answer_text(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_answered(q, a))
        return;
    (void)buf_adds(&q->out, a->text);
    rest_reply_json(q, 200, &q->out);
}

static int take_text(const json_t *body, const char *name, Str *ret, Err *err)
{
    const json_t *v = json_object_get(body, name);
    if (v && !json_is_string(v) && !json_is_null(v))
        return err_set(err, ERR_MALFORMED, "Invalid request format: %s must be a string", name);
    *ret = json_get_strv(body, name);
    return 0;
}

static int read_review(const json_t *body, SvcReview *ret, Err *err)
{
    const struct {
        const char *name;
        Str *to;
    } fields[] = {
        {"resource", &ret->resource},
        {"verb", &ret->verb},
        {"project_id", &ret->project_id},
        {"agent_id", &ret->agent_id},
        {"session_id", &ret->session_id},
        {"credential_id", &ret->credential_id},
        {"user", &ret->user},
    };
    if (!json_is_object(body))
        return err_set(err, ERR_MALFORMED, "Invalid request format: the body must be an object");
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        int rc = take_text(body, fields[i].name, fields[i].to, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

void handle_access_review(Request *q)
{
    CLEANUP_JSON json_t *body = NULL;
    SvcReview r = {0};
    Err err = {0};
    int rc = json_parse(http_req_body(q->http), &body, &err);
    if (rc < 0)
        err_wrap(&err, "Invalid request format");
    if (rc < 0 || read_review(body, &r, &err) < 0) {
        rest_reply_error(q, &err);
        return;
    }
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_access_review(q->rest->o.service, &x, &r, answer_text, q);
}

void handle_access_self(Request *q)
{
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_access_self(q->rest->o.service, &x, answer_text, q);
}
