/* Messages to agents. rest-core.md 10. */
#include "service-internal.h"

/* A generated client never fills its path template in; the agent then stands in the search only. */
static bool path_is_unfilled(const Op *op)
{
    return str_eq(op->parent, STR("{agent_id}"));
}

/* The value of `agent_id = '...'` in a tree of ANDs. */
static Str find_agent_term(const SearchExpr *e)
{
    if (!e)
        return STR_NULL;
    if (e->op == S_AND) {
        Str left = find_agent_term(e->a);
        return left.len ? left : find_agent_term(e->b);
    }
    bool is_it =
        e->op == S_EQ && !e->negated && !e->left.arith && e->left.field == INBOX_AGENT_ID && e->n_lits == 1;
    return is_it ? str_from(e->lits[0].text) : STR_NULL;
}

static int enter_unfilled(Op *op, Tx *tx, Err *err)
{
    CLEANUP(search_freep) SearchExpr *where = NULL;
    int rc = search_parse(op->kind, op->list.search, &where, err);
    if (rc == 0)
        rc = agent_enter(op, tx, op->project, find_agent_term(where), op->verb, err);
    return rc;
}

static int inbox_enter(Op *op, Tx *tx, Err *err)
{
    if (!op->parent.len) /* GET /inbox_messages/{id} */
        return 0;
    if (path_is_unfilled(op))
        return enter_unfilled(op, tx, err);
    return agent_enter(op, tx, op->project, op->parent, op->verb, err);
}

static int inbox_belongs(Op *op, Tx *tx, const Obj *o, Err *err)
{
    if (!op->parent.len || str_eq(obj_str(o, INBOX_AGENT_ID), op->parent))
        return 0;
    return err_set(err, ERR_FORBIDDEN, "message does not belong to this agent");
}

static int inbox_before_create(Op *op, Tx *tx, Obj *o, Err *err)
{
    obj_set_str(o, INBOX_AGENT_ID, obj_str(op->agent, FIELD_ID));
    obj_set_str(o, INBOX_PROJECT_ID, obj_str(op->agent, AGENT_PROJECT_ID));
    return 0;
}

/* Whoever may read the agent of the path, which enter() saw to, reads what is written to it. */
static int inbox_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    *ret = search_eq(INBOX_AGENT_ID, obj_str(op->agent, FIELD_ID));
    return 0;
}

const KindRules rules_inbox = {
    .kind = &kind_inbox_message,
    .enter = inbox_enter,
    .belongs = inbox_belongs,
    .access = {.project = AT(INBOX_PROJECT_ID), .agent = AT(INBOX_AGENT_ID)},
    .before_create = inbox_before_create,
    .filter = inbox_filter,
};

/* ---- watching ---- */

static int run_watch_check(Op *op, Tx *tx, Err *err)
{
    Err why = {0};
    Scope sc = {0};
    int rc = tx_get(tx, &kind_agent, op->id, &op->agent, &why);
    if (rc == 0)
        access_scope(&rules_agent.access, op->agent, &sc.z);
    else if (rc != -ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return rc;
    }
    if (op_may(op, &kind_agent, VERB_WATCH, &sc))
        return 0;
    return err_set(err, ERR_FORBIDDEN, "only service callers may watch inbox streams");
}

void svc_inbox_watch_check(Service *s, const SvcCtx *x, Str agent_id, SvcDone done, void *arg)
{
    Op *op = op_new(s, x, STORE_READ, run_watch_check, done, arg);
    op->kind = &kind_inbox_message;
    op->rules = &rules_inbox;
    op->id = op_keep(op, agent_id);
    op_submit(op);
}
