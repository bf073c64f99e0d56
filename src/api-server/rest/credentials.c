/* The answers that hold a secret: never cached, never compressed, never logged. */
#include "rest-internal.h"

static void write_token(Buf *out, const Obj *o, const Secret *token)
{
    static const struct {
        int field;
        const char *key;
    } more[] = {{CREDENTIAL_URL, ",\"url\":"}, {CREDENTIAL_EMAIL, ",\"email\":"}};
    (void)buf_addz(out, "{\"credential_id\":");
    json_write_str(out, obj_str(o, FIELD_ID));
    (void)buf_addz(out, ",\"provider\":");
    json_write_str(out, obj_str(o, CREDENTIAL_PROVIDER));
    (void)buf_addz(out, ",\"token\":");
    json_write_str(out, secret_reveal(token));
    for (size_t i = 0; i < ARRAY_LEN(more); i++) {
        if (!obj_str(o, more[i].field).len)
            continue;
        (void)buf_addz(out, more[i].key);
        json_write_str(out, obj_str(o, more[i].field));
    }
    (void)buf_addc(out, '}');
}

static void answer_token(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_answered(q, a))
        return;
    q->gzip = false;
    write_token(&q->out, a->obj, a->secret);
    rest_reply_json(q, 200, &q->out);
}

void handle_credential_token(Request *q)
{
    SvcTarget t = request_target(q);
    SvcCtx x = request_ctx(q);
    http_reply_header(q->http, "Cache-Control", STR("no-store"));
    request_hold(q);
    svc_credential_token(q->rest->o.service, &x, &t, answer_token, q);
}

/* ---- sessions ---- */

static void answer_session_token(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    char expires[RFC3339_MAX];
    if (!request_answered(q, a))
        return;
    q->gzip = false;
    (void)buf_addz(&q->out, "{\"expires_at\":");
    json_write_str(&q->out, rfc3339_format(a->expires, expires));
    (void)buf_addz(&q->out, ",\"session_id\":");
    json_write_str(&q->out, obj_str(a->obj, FIELD_ID));
    (void)buf_addz(&q->out, ",\"token\":");
    json_write_str(&q->out, secret_reveal(a->secret));
    (void)buf_addc(&q->out, '}');
    rest_reply_json(q, 201, &q->out);
}

void handle_session_token(Request *q)
{
    SvcCtx x = request_ctx(q);
    http_reply_header(q->http, "Cache-Control", STR("no-store"));
    request_hold(q);
    svc_session_token(q->rest->o.service, &x, q->vars.id, answer_session_token, q);
}
