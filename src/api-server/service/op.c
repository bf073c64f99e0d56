#include "service-internal.h"

#include "base/log.h"

#define REQUEST_ID_MAX 255

Service *service_ref(Service *s)
{
    s->refs++;
    return s;
}

Op *op_new(Service *s, const SvcCtx *x, StoreMode mode, OpRun run, SvcDone done, void *arg)
{
    Op *op = xnew(Op);
    op->s = service_ref(s);
    op->caller = caller_ref(x->caller);
    op->mode = mode;
    op->run = run;
    op->done = done;
    op->arg = arg;
    op->rest = x->rest;
    op->render = mode == STORE_READ ? x->render : NULL;
    op->request_id = op_keep(op, x->request_id);
    op->project_header = op_keep(op, x->project_header);
    op->if_match = op_keep(op, x->if_match);
    op->peer = op_keep(op, x->peer);
    op->operation_id = op_keep(op, x->operation_id);
    buf_init(&op->text, MESSAGE_PAYLOAD_MAX);
    return op;
}

Str op_keep(Op *op, Str s)
{
    if (!s.len)
        return STR_NULL;
    assert(op->n_owned < OP_STRINGS_MAX);
    char *copy = str_dup(s);
    op->owned[op->n_owned++] = copy;
    op->bytes += s.len;
    return (Str){copy, s.len};
}

/* A store may run a job again: what an earlier run left is dropped. */
static void op_clear_results(Op *op)
{
    op->obj = obj_free(op->obj);
    op->agent = obj_free(op->agent);
    obj_list_done(&op->result);
    op->result = (ObjList){0};
    op->message = message_unref(op->message);
    op->secret = secret_free(op->secret);
    VEC_FOREACH (&op->messages, m)
        message_unref(*m);
    vec_clear(&op->messages);
    op->more = op->created = op->access_changed = false;
    if (!op->rights_kept)
        op->rights = rights_unref(op->rights);
    buf_clear(&op->text);
}

static void op_free(Op *op)
{
    op_clear_results(op);
    vec_free(&op->messages);
    buf_done(&op->text);
    obj_free(op->body);
    for (unsigned i = 0; i < op->n_owned; i++)
        free(op->owned[i]);
    rights_unref(op->rights);
    op->s->pending -= op->pending;
    caller_unref(op->caller);
    service_unref(op->s);
    free(op);
}

void op_sub_init(Op *sub, const Op *op, Caller *as)
{
    *sub = (Op){.s = op->s, .caller = as, .rest = op->rest};
    buf_init(&sub->text, MESSAGE_PAYLOAD_MAX);
}

void op_sub_done(Op *sub)
{
    op_clear_results(sub);
    rights_unref(sub->rights);
    vec_free(&sub->messages);
    buf_done(&sub->text);
}

static SvcAnswer op_answer(Op *op, const Err *err)
{
    return (SvcAnswer){
        .err = err,
        .obj = op->obj,
        .list = &op->result,
        .message = op->message,
        .secret = op->secret,
        .expires = op->expires,
        .messages = op->messages.ptr,
        .n_messages = op->messages.len,
        .more = op->more,
        .created = op->created,
        .replayed = op->replayed,
        .text = buf_str(&op->text),
    };
}

/* A burst is let in before anybody has waited: what then waits too long is not worth its work any more. */
static int op_late(Op *op, Err *err)
{
    if (op->begun || usec_sub(clock_now(&clock_system), op->queued) <= op->s->wait_max)
        return 0;
    return err_set(err, ERR_OVERLOADED, "%s", err_info(ERR_OVERLOADED)->reason);
}

static int op_job(Tx *tx, void *arg, Err *err)
{
    Op *op = arg;
    if (op_late(op, err) < 0)
        return -ERR_OVERLOADED;
    op->begun = true; /* a batch that failed runs its jobs again, one by one */
    op_clear_results(op);
    int rc = op_read_rights(op, tx, err);
    if (rc == 0)
        rc = op->run(op, tx, err);
    if (rc < 0 || !op->render)
        return rc;
    SvcAnswer a = op_answer(op, NULL);
    op->render(op->arg, &a);
    op->obj = a.obj;
    return 0;
}

static void op_finished(void *arg, int rc, const Err *err)
{
    Op *op = arg;
    if (rc == 0 && op->access_changed)
        svc_access_changed(op->s);
    op_keep_rights(op);
    if (rc == 0 && op->committed)
        op->committed(op);
    SvcAnswer a = op_answer(op, rc < 0 ? err : NULL);
    op->done(op->arg, &a);
    op->obj = a.obj;
    op_free(op);
}

static void op_refused(void *arg)
{
    Op *op = arg;
    op_finished(op, -(int)op->err.code, &op->err);
}

static int submit(Op *op, StoreMode mode, StoreJob job, StoreDone done)
{
    if (op->s->stopped)
        return err_set(&op->err, ERR_UNAVAILABLE, "server is shutting down");
    return store_submit(op->s->store, mode, job, done, op, &op->err);
}

static void op_queue(Op *op)
{
    op->queued = clock_now(&clock_system);
    op_take_rights(op);
    if (submit(op, op->mode, op_job, op_finished) < 0)
        loop_post(op->s->loop, op_refused, op);
}

/* ---- who calls ---- */

static void identified(Op *op)
{
    user_remember(op->s, op->caller);
    op_queue(op);
}

static void op_refuse(Op *op, const Err *err)
{
    op->err = *err;
    op_refused(op);
}

static int provision_job(Tx *tx, void *arg, Err *err)
{
    Op *op = arg;
    return user_provision(tx, op->caller, err);
}

/* A user that cannot be written down (full disk) may still read: the call goes on, the next one tries again.
 */
static void provision_finished(void *arg, int rc, const Err *err)
{
    Op *op = arg;
    if (rc == -ERR_FORBIDDEN) {
        op_refuse(op, err);
    } else if (rc < 0) {
        log_warn("user was not provisioned", F_STR("user", op->caller->username), F_ERR(err));
        op_queue(op);
    } else {
        svc_access_changed(op->s); /* a user may have been renamed */
        identified(op);
    }
}

static int identify_job(Tx *tx, void *arg, Err *err)
{
    Op *op = arg;
    return user_identify(tx, op->caller, &op->must_provision, err);
}

static void identify_finished(void *arg, int rc, const Err *err)
{
    Op *op = arg;
    if (rc < 0)
        op_refuse(op, err);
    else if (!op->must_provision)
        identified(op);
    else if (submit(op, STORE_WRITE, provision_job, provision_finished) < 0)
        op_queue(op);
}

static int request_id_check(const Op *op, Err *err)
{
    bool ok = op->request_id.len <= REQUEST_ID_MAX;
    for (size_t i = 0; ok && i < op->request_id.len; i++)
        ok = op->request_id.ptr[i] > ' ' && op->request_id.ptr[i] < 0x7f;
    if (ok)
        return 0;
    return err_set(err, ERR_INVALID, "Idempotency-Key must be at most %d printable ASCII characters",
                   REQUEST_ID_MAX);
}

static size_t op_bytes(const Op *op)
{
    size_t n = op->bytes;
    for (size_t i = 0; op->body && i < op->body->kind->n_fields; i++)
        n += op->body->v[i].len;
    return n;
}

/* The store limits how many wait, not how large they are; and whoever would wait too long is better told at
   once, so that those who are let in are answered in time. */
static int op_count(Op *op, Err *err)
{
    Service *s = op->s;
    size_t n = op_bytes(op);
    if (s->pending + n > s->pending_max)
        return err_set(err, ERR_OVERLOADED, "the server is busy: too much waits to be stored");
    if (store_wait(s->store, op->mode) > s->wait_max)
        return err_set(err, ERR_OVERLOADED, "%s", err_info(ERR_OVERLOADED)->reason);
    s->pending += n;
    op->pending = n;
    return 0;
}

void op_submit(Op *op)
{
    if (request_id_check(op, &op->err) < 0 || op_count(op, &op->err) < 0) {
        loop_post(op->s->loop, op_refused, op);
        return;
    }
    bool known = !*op->caller->username || user_is_known(op->s, op->caller);
    if (known)
        op_queue(op);
    else if (submit(op, STORE_READ, identify_job, identify_finished) < 0)
        loop_post(op->s->loop, op_refused, op);
}
