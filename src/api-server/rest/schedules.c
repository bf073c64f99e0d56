/* What schedules and applications have beyond the routes of every kind. */
#include "rest-internal.h"

/* ---- schedules ---- */

/* Whatever the body says is ignored. */
static void enable(Request *q, bool on)
{
    SvcTarget t = request_target(q);
    SvcCtx x = request_ctx(q);
    q->good_status = 200;
    request_hold(q);
    svc_schedule_enable(q->rest->o.service, &x, &t, on, answer_object, q);
}

void handle_schedule_suspend(Request *q)
{
    enable(q, false);
}

void handle_schedule_resume(Request *q)
{
    enable(q, true);
}

static void answer_trigger(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    if (!request_answered(q, a))
        return;
    if (a->obj) {
        (void)buf_addz(&q->out, "{\"status\":\"triggered\",\"session_id\":");
        json_write_str(&q->out, obj_str(a->obj, FIELD_ID));
        (void)buf_addc(&q->out, '}');
    } else {
        (void)buf_addz(&q->out, "{\"status\":\"queued\"}"); /* it starts when its agent is free */
    }
    rest_reply_json(q, 200, &q->out);
}

void handle_schedule_trigger(Request *q)
{
    SvcTarget t = request_target(q);
    SvcCtx x = request_ctx(q);
    request_hold(q);
    svc_schedule_trigger(q->rest->o.service, &x, &t, answer_trigger, q);
}

/* ---- applications ---- */

static void add_key(Buf *out, const char *key)
{
    (void)buf_addf(out, "%s\"%s\":", out->len > 1 ? "," : "", key);
}

static void add_text(Buf *out, const Obj *o, int field, const char *unset)
{
    add_key(out, o->kind->fields[field].json);
    json_write_str(out, obj_str(o, field).len ? obj_str(o, field) : str_from(unset));
}

/* Stored as JSON text, shown here as what it says. */
static void add_array(Buf *out, const Obj *o, int field)
{
    CLEANUP_JSON json_t *v = NULL;
    add_key(out, o->kind->fields[field].json);
    if (json_parse(obj_str(o, field), &v, NULL) == 0 && json_is_array(v))
        json_write(out, v);
    else
        (void)buf_addz(out, "[]");
}

/* The documented status, then every other key of the object, which the reference sends. */
static void write_status(const Obj *o, Buf *out)
{
    static const int shown[] = {APPLICATION_SYNC_STATUS,       APPLICATION_HEALTH_STATUS,
                                APPLICATION_SYNC_REVISION,     APPLICATION_OPERATION_PHASE,
                                APPLICATION_OPERATION_MESSAGE, APPLICATION_RESOURCE_STATUS,
                                APPLICATION_CONDITIONS};
    CLEANUP_BUF Buf rest = BUF_INIT(ANSWER_MAX);
    bool mask[_APPLICATION_MAX + 2]; /* MASK_LEN */
    for (size_t i = 0; i < ARRAY_LEN(mask); i++)
        mask[i] = true;
    for (size_t i = 0; i < ARRAY_LEN(shown); i++)
        mask[shown[i]] = false;
    (void)buf_addc(out, '{');
    add_text(out, o, APPLICATION_SYNC_STATUS, "Unknown");
    add_text(out, o, APPLICATION_HEALTH_STATUS, "Unknown");
    add_text(out, o, APPLICATION_SYNC_REVISION, "");
    add_text(out, o, APPLICATION_OPERATION_PHASE, "");
    add_text(out, o, APPLICATION_OPERATION_MESSAGE, "");
    add_array(out, o, APPLICATION_RESOURCE_STATUS);
    add_array(out, o, APPLICATION_CONDITIONS);
    obj_to_json(o, &rest, mask);
    (void)buf_addc(out, ',');
    (void)buf_adds(out, str_slice(buf_str(&rest), 1, rest.len));
}

static void render_status(void *arg, SvcAnswer *a)
{
    Request *q = arg;
    buf_clear(&q->out);
    buf_clear(&q->packed);
    write_status(a->obj, &q->out);
    pack_output(q);
}

void handle_application_status(Request *q)
{
    if (cache_answer(q))
        return;
    SvcTarget t = request_target(q);
    SvcCtx x = request_ctx(q);
    x.render = render_status;
    q->good_status = 200;
    request_hold(q);
    svc_get(q->rest->o.service, &x, &t, answer_object, q);
}

void handle_application_sync(Request *q)
{
    SvcCtx x = request_ctx(q);
    q->good_status = 200;
    request_hold(q);
    svc_application_sync(q->rest->o.service, &x, q->vars.id, answer_object, q);
}

void handle_application_refresh(Request *q)
{
    SvcCtx x = request_ctx(q);
    q->good_status = 200;
    request_hold(q);
    svc_application_refresh(q->rest->o.service, &x, q->vars.id, answer_object, q);
}
