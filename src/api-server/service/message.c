/* Messages of a session: who may push, read and watch. rest-core.md 11.3, grpc.md 3.4 and 7.1. */
#include "service-internal.h"

#define EVENT_TYPE_MAX 255

/* Messages have their own permission; a session's scope decides. */
static const Kind *const message_parent = &kind_session;

static bool message_may(const Op *op, const char *verb, const Obj *session)
{
    char name[PERMISSION_MAX];
    AuthzScope z;
    access_scope(&rules_session.access, session, &z);
    (void)snprintf(name, sizeof(name), "session_message:%s", verb);
    return op_allows(op, name, &z);
}

/* One text for what is not there and for what may not be seen. */
static int no_session(const Op *op, Err *err)
{
    return op->rest ? err_set(err, ERR_NOT_FOUND, "session not found")
                    : not_found(message_parent, op->id, err);
}

/* Loads the session; *ret_may says whether the caller may `verb` its messages. */
static int load_session(Op *op, Tx *tx, const char *verb, bool *ret_may, Err *err)
{
    int rc = tx_get(tx, message_parent, op->id, &op->obj, err);
    if (rc == -ERR_NOT_FOUND)
        return no_session(op, err);
    if (rc == 0)
        *ret_may = message_may(op, verb, op->obj);
    return rc;
}

Op *message_op(Service *s, const SvcCtx *x, StoreMode mode, OpRun run, Str session, SvcDone done, void *arg)
{
    Op *op = op_new(s, x, mode, run, done, arg);
    op->kind = message_parent;
    op->rules = &rules_session;
    op->id = op_keep(op, session);
    return op;
}

/* ---- push ---- */

static int check_event_type(const Op *op, Err *err)
{
    Str t = op->event_type;
    if (!op->id.len)
        return err_set(err, ERR_INVALID, "session_id is required");
    if (!t.len)
        return err_set(err, ERR_INVALID, "event_type is required");
    if (t.len > EVENT_TYPE_MAX)
        return err_set(err, ERR_INVALID, "event_type exceeds maximum length of %d", EVENT_TYPE_MAX);
    for (size_t i = 0; i < t.len; i++)
        if ((unsigned char)t.ptr[i] < ' ' || t.ptr[i] == 0x7f)
            return err_set(err, ERR_INVALID, "event_type must not hold control characters");
    if (!str_is_utf8(t) || !str_is_utf8(op->payload))
        return err_set(err, ERR_INVALID, "event_type and payload must be UTF-8 without NUL");
    return 0;
}

static int run_push(Op *op, Tx *tx, Err *err)
{
    int rc = check_event_type(op, err);
    if (rc < 0)
        return rc;
    if (op->caller->type == CALLER_SERVICE && str_eq(op->event_type, STR("user")))
        return err_set(err, ERR_FORBIDDEN, "service token may not push event_type=user");
    if (op->caller->type == CALLER_SESSION && str_eq(op->event_type, STR("user")))
        return err_set(err, ERR_FORBIDDEN, "a session's token may not push event_type=user");
    /* Appending checks by itself that the session is there; where it is matters only for the others. */
    bool may = authz_everywhere(op->caller, op->rights, "session_message:create");
    if (!may)
        rc = load_session(op, tx, "create", &may, err);
    if (rc < 0)
        return rc;
    if (!may)
        return forbidden(err);
    /* Keys of two callers are two keys: nobody gets another's message for his own. */
    CLEANUP_FREE char *request =
        op->request_id.len ? xasprintf("%s/" STR_FMT, op->caller->actor, STR_ARG(op->request_id)) : NULL;
    MessageIn in = {
        .session_id = op->id,
        .event_type = op->event_type,
        .payload = op->payload,
        .actor = str_from(op->caller->actor),
        .turn = op->turn,
        .request_id = str_from(request),
        .ret_replayed = &op->replayed,
    };
    rc = tx_message_append(tx, &in, &op->message, err);
    if (rc == -ERR_NOT_FOUND)
        return no_session(op, err);
    return rc < 0 ? rc : message_effects(op, tx, err);
}

void svc_message_push(Service *s, const SvcCtx *x, const SvcPush *p, SvcDone done, void *arg)
{
    Op *op = message_op(s, x, STORE_WRITE, run_push, p->session_id, done, arg);
    op->event_type = op_keep(op, p->event_type);
    op->payload = op_keep(op, p->payload);
    op->turn = op_keep(op, p->turn);
    op_submit(op);
}

/* ---- read and watch ---- */

/* What may not be followed is not there, on both protocols: rest-governance-and-auth.md 10. */
int message_check_watch(Op *op, Tx *tx, Err *err)
{
    bool may = false;
    int rc = load_session(op, tx, "read", &may, err);
    if (rc < 0 || may)
        return rc;
    op->obj = obj_free(op->obj);
    return no_session(op, err);
}

void svc_watch_check(Service *s, const SvcCtx *x, Str session_id, SvcDone done, void *arg)
{
    op_submit(message_op(s, x, STORE_READ, message_check_watch, session_id, done, arg));
}

static int collect(void *arg, Message *m)
{
    Op *op = arg;
    vec_push(&op->messages, message_ref(m));
    return 0;
}

static int run_list(Op *op, Tx *tx, Err *err)
{
    uint64_t last = 0;
    int rc = message_check_watch(op, tx, err);
    if (rc == 0)
        rc = tx_messages_read(tx, op->id, op->after, op->max_rows, op->max_bytes, collect, op, err);
    if (rc == 0)
        rc = tx_message_last_seq(tx, op->id, &last, err);
    op->more = op->messages.len && op->messages.ptr[op->messages.len - 1]->seq < last;
    return rc;
}

void svc_message_list(Service *s, const SvcCtx *x, const SvcMessages *q, SvcDone done, void *arg)
{
    Op *op = message_op(s, x, STORE_READ, run_list, q->session_id, done, arg);
    op->after = q->after;
    op->max_rows = q->max_rows;
    op->max_bytes = q->max_bytes;
    op_submit(op);
}

/* ---- JSON ---- */

void message_to_json(const Message *m, Buf *out)
{
    char created[RFC3339_MAX];
    (void)buf_addf(out, "{\"id\":\"%s\",\"session_id\":", m->id);
    json_write_str(out, m->session_id);
    (void)buf_addz(out, ",\"seq\":");
    (void)buf_add_u64(out, m->seq);
    (void)buf_addz(out, ",\"event_type\":");
    json_write_str(out, m->event_type);
    (void)buf_addz(out, ",\"payload\":");
    json_write_str(out, m->payload);
    (void)buf_addz(out, ",\"created_at\":\"");
    (void)buf_adds(out, rfc3339_format(m->created_at, created));
    (void)buf_addz(out, "\"}");
}
