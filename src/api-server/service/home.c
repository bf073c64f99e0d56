/* What a console shows first of a project: its agents and how they are. rest-core.md 7. */
#include "service-internal.h"

#define HOME_AGENTS_MAX 500
#define SUMMARY_MAX 200

static int unread(Tx *tx, Str agent_id, int64_t *ret, Err *err)
{
    SearchExpr *not_read = search_or(search_is_null(INBOX_READ), search_eq_bool(INBOX_READ, false));
    CLEANUP(search_freep) SearchExpr *where = search_and(search_eq(INBOX_AGENT_ID, agent_id), not_read);
    CLEANUP(obj_list_done) ObjList none = {0};
    int rc = tx_list(tx, &kind_inbox_message, &(ListQuery){.where = where, .limit = 0}, &none, err);
    *ret = none.total;
    return rc;
}

/* "" when it has no session, or one that is gone. */
static int phase_of_agent(Tx *tx, const Obj *agent, Buf *out, Err *err)
{
    CLEANUP(obj_freep) Obj *session = NULL;
    Str id = obj_str(agent, AGENT_CURRENT_SESSION_ID);
    Err why = {0};
    int rc = id.len ? tx_get(tx, &kind_session, id, &session, &why) : 0;
    if (rc < 0 && rc != -ERR_NOT_FOUND) {
        if (err)
            *err = why;
        return rc;
    }
    json_write_str(out, session ? obj_str(session, SESSION_PHASE) : STR(""));
    return 0;
}

static Str first_line(Str text)
{
    Str line = str_cut(&text, '\n');
    line = str_slice(line, 0, SUMMARY_MAX);
    while (line.len && !str_is_utf8(line))
        line.len--;
    return line;
}

static int add_agent(Tx *tx, const Obj *agent, Buf *out, Err *err)
{
    int64_t n = 0;
    Str id = obj_str(agent, FIELD_ID);
    int rc = unread(tx, id, &n, err);
    if (rc < 0)
        return rc;
    (void)buf_addz(out, "{\"agent_id\":");
    json_write_str(out, id);
    (void)buf_addz(out, ",\"agent_name\":");
    json_write_str(out, obj_str(agent, AGENT_NAME));
    (void)buf_addf(out, ",\"inbox_unread_count\":%lld,\"session_id\":", (long long)n);
    json_write_str(out, obj_str(agent, AGENT_CURRENT_SESSION_ID));
    (void)buf_addz(out, ",\"session_phase\":");
    rc = phase_of_agent(tx, agent, out, err);
    (void)buf_addz(out, ",\"summary\":");
    json_write_str(out, first_line(obj_str(agent, AGENT_DESCRIPTION)));
    (void)buf_addc(out, '}');
    return rc;
}

/* The agents that the caller would see in a list. */
static int list_agents(Op *op, Tx *tx, ObjList *ret, Err *err)
{
    CLEANUP(search_freep) SearchExpr *where = NULL;
    op->kind = &kind_agent;
    op->rules = &rules_agent;
    op->project = op->parent = op->id;
    int rc = op->rules->filter(op, tx, &where, err);
    if (rc < 0)
        return rc;
    OrderBy by_name = {.items = {{AGENT_NAME, false}}, .n = 1};
    return tx_list(tx, &kind_agent, &(ListQuery){.where = where, .order = by_name, .limit = HOME_AGENTS_MAX},
                   ret, err);
}

static int run_home(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_list_done) ObjList agents = {0};
    op->kind = &kind_project;
    op->rules = &rules_project;
    int rc = op_load(op, tx, VERB_READ, &op->obj, err);
    if (rc == 0)
        rc = list_agents(op, tx, &agents, err);
    (void)buf_addz(&op->text, "{\"agents\":[");
    for (size_t i = 0; rc == 0 && i < agents.len; i++) {
        (void)buf_addz(&op->text, i ? "," : "");
        rc = add_agent(tx, agents.ptr[i], &op->text, err);
    }
    (void)buf_addz(&op->text, "],\"kind\":\"ProjectHome\",\"project_id\":");
    json_write_str(&op->text, op->id);
    (void)buf_addf(&op->text, ",\"total\":%lld}", (long long)agents.total);
    return rc < 0 ? rc : buf_check(&op->text, err);
}

void svc_project_home(Service *s, const SvcCtx *x, Str project, SvcDone done, void *arg)
{
    Op *op = op_new(s, x, STORE_READ, run_home, done, arg);
    op->id = op_keep(op, project);
    op_submit(op);
}
