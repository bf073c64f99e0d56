/*
 * The list of messages over all sessions, which always names one: its search must hold an equality of
 * session_id, and that session's rights decide. rest-core.md 11.3.
 */
#include "service-internal.h"

static const SearchExpr *session_equality(const SearchExpr *e)
{
    while (e && e->op == S_AND) {
        const SearchExpr *found = session_equality(e->b);
        if (found)
            return found;
        e = e->a;
    }
    bool is = e && e->op == S_EQ && !e->negated && !e->left.arith && e->left.field == MESSAGE_SESSION_ID;
    return is ? e : NULL;
}

/* For the time of the check the op is about the session that the search names. */
static int check_session(Op *op, Tx *tx, const SearchExpr *where, Err *err)
{
    const SearchExpr *e = session_equality(where);
    if (!e)
        return err_set(err, ERR_BAD_REQUEST, "search must hold session_id = '<id>'");
    op->id = str_from(e->lits[0].text);
    int rc = message_check_watch(op, tx, err);
    op->id = STR_NULL;
    return rc;
}

static int collect(void *arg, Message *m)
{
    Op *op = arg;
    vec_push(&op->messages, message_ref(m));
    return 0;
}

static int run_search(Op *op, Tx *tx, Err *err)
{
    CLEANUP(search_freep) SearchExpr *where = NULL;
    ListQuery q = {.bytes_max = LIST_BYTES_MAX};
    int rc = search_parse(&kind_session_message, op->list.search, &where, err);
    if (rc == 0)
        rc = order_by_parse(&kind_session_message, op->list.order_by, &q.order, err);
    if (rc == 0)
        rc = check_session(op, tx, where, err);
    if (rc < 0)
        return rc;
    q.where = where;
    normalise_page(op, &q);
    op->result.page = q.page;
    return tx_message_list(tx, &q, collect, op, &op->result.total, err);
}

void svc_message_search(Service *s, const SvcCtx *x, const SvcList *q, SvcDone done, void *arg)
{
    Op *op = message_op(s, x, STORE_READ, run_search, STR_NULL, done, arg);
    op->list = (ListInput){
        .page = q->page,
        .size = q->size,
        .search = op_keep(op, q->search),
        .order_by = op_keep(op, q->order_by),
    };
    op_submit(op);
}
