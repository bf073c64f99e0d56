/* Create, read, update, delete and list of every kind. What differs per kind is in its KindRules. */
#include "service-internal.h"

#define DELETE_PAGE 500
#define REST_SIZE_MAX 65500
#define GRPC_SIZE_MAX 500
#define GRPC_SIZE_DEFAULT 20

Op *target_op(Service *s, const SvcCtx *x, const SvcTarget *t, StoreMode mode, OpRun run, SvcDone done,
              void *arg)
{
    Op *op = op_new(s, x, mode, run, done, arg);
    op->kind = t->kind;
    op->rules = rules_of(t->kind);
    op->id = op_keep(op, t->id);
    op->parent = op_keep(op, t->parent);
    op->project = op_keep(op, t->project);
    return op;
}

int op_load(Op *op, Tx *tx, Verb v, Obj **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    int rc = 0;
    op->verb = v;
    if (op->rules->enter)
        rc = op->rules->enter(op, tx, err);
    if (rc == 0)
        rc = tx_get(tx, op->kind, op->id, &o, err);
    if (rc == 0)
        rc = op_authorize(op, tx, v, o, err);
    /* Asked last: who may not see an object does not hear where it is. */
    if (rc == 0 && op->rules->belongs)
        rc = op->rules->belongs(op, tx, o, err);
    if (rc == 0 && v != VERB_READ)
        rc = check_if_match(op, o, err);
    if (rc == 0)
        *ret = TAKE(o);
    return rc;
}

/* ---- get ---- */

static int run_get(Op *op, Tx *tx, Err *err)
{
    return op_load(op, tx, VERB_READ, &op->obj, err);
}

void svc_get(Service *s, const SvcCtx *x, const SvcTarget *t, SvcDone done, void *arg)
{
    op_submit(target_op(s, x, t, STORE_READ, run_get, done, arg));
}

/* ---- create ---- */

static int authorize_create(Op *op, Tx *tx, const Obj *o, Err *err)
{
    CLEANUP(scope_done) Scope sc = {0};
    Err why = {0};
    const KindRules *r = op->rules;
    int rc = r->create_scope ? r->create_scope(op, tx, o, &sc, &why) : op_scope(op, tx, o, &sc, &why);
    if ((rc == 0 || rc == -ERR_NOT_FOUND) && !op_may(op, op->kind, VERB_CREATE, &sc))
        return forbidden(err);
    if (rc < 0 && err)
        *err = why;
    return rc;
}

static int prepare_create(Op *op, Tx *tx, Obj *o, Err *err)
{
    int rc = 0;
    if (op->rules->before_create)
        rc = op->rules->before_create(op, tx, o, err);
    if (rc == 0)
        rc = obj_finish_create(o, err);
    if (rc == 0)
        rc = authorize_create(op, tx, o, err);
    return rc;
}

int create_object(Op *op, Tx *tx, Obj *body, Err *err)
{
    CLEANUP(obj_freep) Obj *o = body;
    op->verb = VERB_CREATE;
    int rc = prepare_create(op, tx, o, err);
    if (rc == 0)
        rc = tx_insert(tx, o, err);
    if (rc == 0 && op->rules->after_create)
        rc = op->rules->after_create(op, tx, o, err);
    if (rc == 0)
        rc = request_remember(op, tx, op->kind, o, err);
    if (rc == 0)
        op->obj = TAKE(o);
    return rc;
}

static int run_create(Op *op, Tx *tx, Err *err)
{
    int rc = request_replay(op, tx, op->kind, &op->obj, err);
    if (rc < 0 || op->obj)
        return rc;
    op->verb = VERB_CREATE;
    if (op->rules->enter)
        rc = op->rules->enter(op, tx, err);
    return rc < 0 ? rc : create_object(op, tx, obj_dup(op->body), err);
}

void svc_create(Service *s, const SvcCtx *x, const SvcTarget *t, Obj *body, SvcDone done, void *arg)
{
    Op *op = target_op(s, x, t, STORE_WRITE, run_create, done, arg);
    op->body = body;
    op->committed = op->rules->created;
    op_submit(op);
}

/* ---- patch ---- */

static int run_patch(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *now = NULL;
    CLEANUP(obj_freep) Obj *changes = obj_dup(op->body);
    int rc = op_load(op, tx, VERB_UPDATE, &now, err);
    if (rc == 0 && op->rules->before_patch)
        rc = op->rules->before_patch(op, tx, now, changes, err);
    bool changed = false;
    if (rc == 0)
        rc = tx_update(tx, op->kind, op->id, changes, &changed, &op->obj, err);
    return rc;
}

void svc_patch(Service *s, const SvcCtx *x, const SvcTarget *t, Obj *changes, SvcDone done, void *arg)
{
    Op *op = target_op(s, x, t, STORE_WRITE, run_patch, done, arg);
    op->body = changes;
    op_submit(op);
}

/* ---- delete ---- */

int delete_all(Tx *tx, const Kind *k, SearchExpr *where, Err *err)
{
    CLEANUP(search_freep) SearchExpr *mine = where;
    for (;;) {
        CLEANUP(obj_list_done) ObjList page = {0};
        ListQuery q = {.where = mine, .limit = DELETE_PAGE, .no_total = true};
        int rc = tx_list(tx, k, &q, &page, err);
        if (rc < 0 || page.len == 0)
            return rc;
        rc = bindings_drop(tx, k, &page, err);
        if (rc < 0)
            return rc;
        for (size_t i = 0; i < page.len; i++) {
            bool deleted = false;
            rc = tx_delete(tx, k, obj_str(page.ptr[i], FIELD_ID), &deleted, err);
            if (rc < 0)
                return rc;
            if (!deleted)
                return err_set(err, ERR_INTERNAL, "a listed %s was not there to delete", k->name);
        }
    }
}

int find_first(Tx *tx, const Kind *k, SearchExpr *where, OrderItem order, Obj **ret, Err *err)
{
    CLEANUP(search_freep) SearchExpr *mine = where;
    CLEANUP(obj_list_done) ObjList l = {0};
    ListQuery q = {.where = mine, .order = {.items = {order}, .n = 1}, .limit = 1, .no_total = true};
    int rc = tx_list(tx, k, &q, &l, err);
    *ret = NULL;
    if (rc == 0 && l.len)
        *ret = TAKE(l.ptr[0]);
    return rc;
}

static int run_delete(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *now = NULL;
    Err why = {0};
    int rc = op_load(op, tx, VERB_DELETE, &now, &why);
    if (rc == -ERR_NOT_FOUND && op->rules->delete_unknown_ok)
        return check_if_match(op, NULL, err);
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    if (op->rules->before_delete)
        rc = op->rules->before_delete(op, tx, now, err);
    bool deleted = false;
    op->access_changed = true;
    if (rc == 0)
        rc = bindings_drop(tx, op->kind, &(ObjList){.ptr = &now, .len = 1}, err);
    if (rc == 0)
        rc = tx_delete(tx, op->kind, op->id, &deleted, err);
    if (rc == 0)
        op->obj = TAKE(now);
    return rc;
}

void svc_delete(Service *s, const SvcCtx *x, const SvcTarget *t, SvcDone done, void *arg)
{
    Op *op = target_op(s, x, t, STORE_WRITE, run_delete, done, arg);
    op->committed = op->rules->deleted;
    op_submit(op);
}

/* ---- list ---- */

void normalise_page(const Op *op, ListQuery *q)
{
    int64_t page = op->list.page, size = op->list.size;
    if (op->rest) {
        if (size < 0 || size > REST_SIZE_MAX)
            size = REST_SIZE_MAX;
        q->page = page;
    } else {
        if (size < 1)
            size = GRPC_SIZE_DEFAULT;
        if (size > GRPC_SIZE_MAX)
            size = GRPC_SIZE_MAX;
        q->page = page < 1 ? 1 : page;
    }
    int64_t before = page < 1 ? 0 : page - 1;
    if (__builtin_mul_overflow(before, size, &q->offset))
        q->offset = INT64_MAX;
    q->limit = size;
}

/* What belongs to the object of the path, if the caller may read that. People are named by their username. */
static int list_of(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    const SvcTarget of = op->list.of, list = {.kind = op->kind, .id = op->id, .project = op->project};
    op->kind = of.kind;
    op->rules = rules_of(of.kind);
    op->id = of.id;
    op->project = of.project;
    int rc = op_load(op, tx, VERB_READ, &o, err);
    op->kind = list.kind;
    op->rules = rules_of(list.kind);
    op->id = list.id;
    op->project = list.project;
    if (rc == 0)
        *ret = search_eq(op->list.of_field, obj_str(o, of.kind == &kind_user ? USER_USERNAME : FIELD_ID));
    return rc;
}

/* The caller's text alone makes a tree; what it may see is ANDed as a tree beside it (rest-core.md 3.2). */
static int list_where(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    CLEANUP(search_freep) SearchExpr *where = NULL;
    SearchExpr *visible = NULL, *labelled = NULL, *of = NULL;
    int rc = search_parse(op->kind, op->list.search, &where, err);
    if (rc == 0)
        rc = label_selector_parse(op->kind, op->list.label_selector, &labelled, err);
    if (rc == 0)
        where = search_and(where, labelled);
    if (rc == 0)
        rc = (op->rules->filter ? op->rules->filter : access_filter)(op, tx, &visible, err);
    if (rc == 0)
        where = search_and(TAKE(where), visible);
    if (rc == 0 && op->list.of.kind)
        rc = list_of(op, tx, &of, err);
    if (rc == 0)
        *ret = search_and(TAKE(where), of);
    return rc;
}

static int run_list(Op *op, Tx *tx, Err *err)
{
    CLEANUP(search_freep) SearchExpr *where = NULL;
    ListQuery q = {0};
    int rc = 0;
    op->verb = VERB_READ;
    if (op->rules->enter)
        rc = op->rules->enter(op, tx, err);
    if (rc == 0)
        rc = order_by_parse(op->kind, op->list.order_by, &q.order, err);
    if (rc == 0)
        rc = list_where(op, tx, &where, err);
    if (rc < 0)
        return rc;
    q.where = where;
    q.bytes_max = LIST_BYTES_MAX;
    normalise_page(op, &q);
    return tx_list(tx, op->kind, &q, &op->result, err);
}

void svc_list(Service *s, const SvcCtx *x, const Kind *k, const SvcList *q, SvcDone done, void *arg)
{
    SvcTarget t = {.kind = k, .parent = q->parent_id, .project = q->project_of_parent};
    Op *op = target_op(s, x, &t, STORE_READ, run_list, done, arg);
    op->list = (ListInput){
        .page = q->page,
        .size = q->size,
        .search = op_keep(op, q->search),
        .order_by = op_keep(op, q->order_by),
        .label_selector = op_keep(op, q->label_selector),
        .project_id = op_keep(op, q->project_id),
        .provider = op_keep(op, q->provider),
        .schedule_id = op_keep(op, q->schedule_id),
        .of = {.kind = q->of.kind, .id = op_keep(op, q->of.id), .project = op_keep(op, q->of.project)},
        .of_field = q->of_field,
    };
    op_submit(op);
}
