/* Agents: rules of the kind, start and preview. rest-core.md 9. */
#include "service-internal.h"

bool path_id_ok(Str id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
                  c == '-';
        if (!ok)
            return false;
    }
    return id.len > 0;
}

/* One that the caller may not read is not there; where one is that he may read is no secret. */
int agent_enter(Op *op, Tx *tx, Str project, Str agent_id, Verb v, Err *err)
{
    Scope sc = {0};
    if (!path_id_ok(project))
        return err_set(err, ERR_INVALID, "invalid project id");
    if (!path_id_ok(agent_id))
        return err_set(err, ERR_INVALID, "invalid agent id");
    int rc = tx_get(tx, &kind_agent, agent_id, &op->agent, err);
    if (rc < 0)
        return rc;
    access_scope(&rules_agent.access, op->agent, &sc.z);
    if (!op_may(op, &kind_agent, v, &sc))
        return v == VERB_READ ? not_found(&kind_agent, agent_id, err) : forbidden(err);
    if (!str_eq(obj_str(op->agent, AGENT_PROJECT_ID), project))
        return err_set(err, ERR_FORBIDDEN, "agent does not belong to this project");
    return 0;
}

/* Lists and creations name only the project in their path. */
static int rules_agent_enter(Op *op, Tx *tx, Err *err)
{
    if (!op->project.len) /* GET /agents/{id} */
        return 0;
    if (!path_id_ok(op->project))
        return err_set(err, ERR_INVALID, "invalid project id");
    if (op->id.len)
        return path_id_ok(op->id) ? 0 : err_set(err, ERR_INVALID, "invalid agent id");
    CLEANUP(obj_freep) Obj *project = NULL;
    return tx_get(tx, &kind_project, op->project, &project, err);
}

static int rules_agent_belongs(Op *op, Tx *tx, const Obj *o, Err *err)
{
    if (!op->project.len || str_eq(obj_str(o, AGENT_PROJECT_ID), op->project))
        return 0;
    return err_set(err, ERR_FORBIDDEN, "agent does not belong to this project");
}

/* Making an agent takes rights in the project; owning the agent-to-be is none. */
static int agent_create_scope(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err)
{
    return scope_project(tx, obj_str(o, AGENT_PROJECT_ID), true, ret, err);
}

static int agent_before_create(Op *op, Tx *tx, Obj *o, Err *err)
{
    Str me = str_from(op->caller->username), owner = obj_str(o, AGENT_OWNER_USER_ID);
    if (op->project.len)
        obj_set_str(o, AGENT_PROJECT_ID, op->project);
    if (!owner.len && me.len)
        obj_set_str(o, AGENT_OWNER_USER_ID, me);
    else if (owner.len && !str_eq(owner, me) && !authz_is_privileged(op->caller))
        return err_set(err, ERR_FORBIDDEN, "only an administrator may give an agent to another owner");
    obj_clear(o, AGENT_CURRENT_SESSION_ID);
    return 0;
}

static int agent_before_delete(Op *op, Tx *tx, const Obj *now, Err *err)
{
    return delete_all(tx, &kind_inbox_message, search_eq(INBOX_AGENT_ID, obj_str(now, FIELD_ID)), err);
}

/* Who may read single agents only sees those; whoever sees none is not told that the project is there. */
static int agent_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    CLEANUP(search_freep)
    SearchExpr *here = op->project.len ? search_eq(AGENT_PROJECT_ID, op->project) : NULL;
    const Scope sc = {.z = {.project_id = op->project}};
    SearchExpr *visible = NULL;
    if (op_may(op, &kind_agent, VERB_READ, &sc)) {
        *ret = TAKE(here);
        return 0;
    }
    int rc = access_filter(op, tx, &visible, err);
    here = search_and(TAKE(here), visible);
    CLEANUP(obj_list_done) ObjList any = {0};
    if (rc == 0)
        rc = tx_list(tx, &kind_agent, &(ListQuery){.where = here, .limit = 1, .no_total = true}, &any, err);
    if (rc == 0 && !any.len && op->project.len)
        return not_found(&kind_project, op->project, err);
    if (rc == 0)
        *ret = TAKE(here);
    return rc;
}

const KindRules rules_agent = {
    .kind = &kind_agent,
    .enter = rules_agent_enter,
    .belongs = rules_agent_belongs,
    .access = {.project = AT(AGENT_PROJECT_ID), .agent = AT(FIELD_ID)},
    .create_scope = agent_create_scope,
    .before_create = agent_before_create,
    .before_delete = agent_before_delete,
    .filter = agent_filter,
};

/* ---- the agent's session ---- */

int agent_active_session(Tx *tx, int field, Str agent_id, Obj **ret, Err *err)
{
    Str active[_PHASE_MAX];
    size_t n = 0;
    for (Phase p = PHASE_NONE; p < _PHASE_MAX; p++)
        if (phase_is_active(p))
            active[n++] = str_from(phase_name(p));
    SearchExpr *where = search_and(search_eq(field, agent_id), search_in(SESSION_PHASE, active, n));
    return find_first(tx, &kind_session, where, (OrderItem){FIELD_CREATED_AT, true}, ret, err);
}

int agent_set_session(Tx *tx, Str agent_id, Str session_id, Err *err)
{
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_agent);
    if (session_id.len)
        obj_set_str(changes, AGENT_CURRENT_SESSION_ID, session_id);
    else
        obj_set_null(changes, AGENT_CURRENT_SESSION_ID);
    bool changed;
    Err why = {0};
    int rc = tx_update(tx, &kind_agent, agent_id, changes, &changed, NULL, &why);
    if (rc == -ERR_NOT_FOUND) /* the agent was deleted before its session ended */
        return 0;
    if (rc < 0 && err)
        *err = why;
    return rc;
}

int agent_forget_session(Tx *tx, const Obj *session, Err *err)
{
    CLEANUP(obj_freep) Obj *agent = NULL;
    Str id = obj_str(session, SESSION_AGENT_ID);
    if (!id.len)
        return 0;
    Err why = {0};
    int rc = tx_get(tx, &kind_agent, id, &agent, &why);
    if (rc == -ERR_NOT_FOUND)
        return 0;
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    if (!str_eq(obj_str(agent, AGENT_CURRENT_SESSION_ID), obj_str(session, FIELD_ID)))
        return 0;
    return agent_set_session(tx, id, STR_NULL, err);
}

/* ---- start ---- */

static void drop_self(ObjList *peers, const Obj *agent)
{
    size_t kept = 0;
    for (size_t i = 0; i < peers->len; i++) {
        if (str_eq(obj_str(peers->ptr[i], FIELD_ID), obj_str(agent, FIELD_ID)))
            obj_free(peers->ptr[i]);
        else
            peers->ptr[kept++] = peers->ptr[i];
    }
    peers->len = kept;
    peers->total--;
}

static int load_peers(Tx *tx, const Obj *agent, ObjList *peers, Err *err)
{
    CLEANUP(search_freep) SearchExpr *project = search_eq(AGENT_PROJECT_ID, obj_str(agent, AGENT_PROJECT_ID));
    ListQuery q = {
        .where = project, .order = {.items = {{AGENT_NAME, false}}, .n = 1}, .limit = PROMPT_PEERS_MAX};
    int rc = tx_list(tx, &kind_agent, &q, peers, err);
    if (rc == 0)
        drop_self(peers, agent);
    return rc;
}

static int load_unread(Tx *tx, const Obj *agent, ObjList *inbox, Err *err)
{
    CLEANUP(search_freep)
    SearchExpr *unread = search_and(search_eq(INBOX_AGENT_ID, obj_str(agent, FIELD_ID)),
                                    search_or(search_is_null(INBOX_READ), search_eq_bool(INBOX_READ, false)));
    ListQuery q = {.where = unread,
                   .order = {.items = {{FIELD_CREATED_AT, false}}, .n = 1},
                   .limit = PROMPT_INBOX_ROWS_MAX,
                   .no_total = true};
    return tx_list(tx, &kind_inbox_message, &q, inbox, err);
}

/* A schedule may choose another runner than the agent's. */
static bool runs_command(const Op *op)
{
    Str type = op->schedule ? obj_str(op->schedule, SCHEDULE_RUNNER_TYPE) : STR_NULL;
    return type.len ? str_eqz(type, "shell") : prompt_is_command(op->agent);
}

/* Assembles the prompt into op->text; *inbox ends as the messages that went into it. */
static int assemble_prompt(Op *op, Tx *tx, ObjList *inbox, Err *err)
{
    CLEANUP(obj_list_done) ObjList peers = {0};
    CLEANUP(scope_done) Scope sc = {0};
    int rc = scope_project(tx, obj_str(op->agent, AGENT_PROJECT_ID), false, &sc, err);
    if (rc == 0)
        rc = load_peers(tx, op->agent, &peers, err);
    if (rc == 0 && !runs_command(op)) /* a command cannot carry messages: they stay unread */
        rc = load_unread(tx, op->agent, inbox, err);
    if (rc < 0)
        return rc;
    size_t fits = prompt_inbox_fits(inbox);
    while (inbox->len > fits)
        obj_free(inbox->ptr[--inbox->len]);
    PromptInput in = {
        .agent = op->agent,
        .project = sc.project,
        .peers = &peers,
        .peers_total = peers.total,
        .inbox = inbox,
        .task = op->payload,
        .command = runs_command(op),
    };
    return prompt_build(&in, &op->text, err);
}

static void copy_settings(const Obj *agent, Obj *session)
{
    static const struct {
        int from, to;
    } fields[] = {
        {AGENT_PROJECT_ID, SESSION_PROJECT_ID},
        {AGENT_PROMPT, SESSION_PROMPT},
        {AGENT_LLM_MODEL, SESSION_LLM_MODEL},
        {AGENT_LLM_TEMPERATURE, SESSION_LLM_TEMPERATURE},
        {AGENT_LLM_MAX_TOKENS, SESSION_LLM_MAX_TOKENS},
        {AGENT_REPO_URL, SESSION_REPO_URL},
        {AGENT_WORKFLOW_ID, SESSION_WORKFLOW_ID},
        {AGENT_BOT_ACCOUNT_NAME, SESSION_BOT_ACCOUNT_NAME},
        {AGENT_RESOURCE_OVERRIDES, SESSION_RESOURCE_OVERRIDES},
        {AGENT_ENVIRONMENT_VARIABLES, SESSION_ENVIRONMENT_VARIABLES},
        {AGENT_LABELS, SESSION_LABELS},
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        obj_copy_value(session, fields[i].to, agent, fields[i].from);
}

static int insert_started_session(Op *op, Tx *tx, Obj **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *session = obj_new(&kind_session);
    char id[KSUID_LEN + 1];
    ksuid_new(id, tx_now(tx));
    copy_settings(op->agent, session);
    session_name_after(session, obj_str(op->agent, AGENT_NAME), tx_now(tx));
    obj_set_str(session, FIELD_ID, str_from(id));
    obj_set_str(session, SESSION_KUBE_CR_NAME, str_from(id));
    obj_set_str(session, SESSION_AGENT_ID, obj_str(op->agent, FIELD_ID));
    obj_set_str(session, SESSION_START_GUARD, obj_str(op->agent, FIELD_ID));
    obj_set_str(session, SESSION_PHASE, str_from(phase_name(PHASE_PENDING)));
    /* It has its first message, whatever its own prompt is: it ends when that is done. */
    obj_set_bool(session, SESSION_INTERACTIVE, false);
    session_new_run(session, tx_now(tx));
    if (*op->caller->username)
        obj_set_str(session, SESSION_CREATED_BY_USER_ID, str_from(op->caller->username));
    int rc = op->schedule ? schedule_apply(op->schedule, session, err) : 0;
    if (rc == 0)
        rc = obj_finish_create(session, err);
    if (rc == 0)
        rc = tx_insert(tx, session, err);
    if (rc == 0)
        *ret = TAKE(session);
    return rc;
}

static int mark_read(Tx *tx, const ObjList *inbox, Err *err)
{
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_inbox_message);
    obj_set_bool(changes, INBOX_READ, true);
    for (size_t i = 0; i < inbox->len; i++) {
        bool changed;
        int rc = tx_update(tx, &kind_inbox_message, obj_str(inbox->ptr[i], FIELD_ID), changes, &changed, NULL,
                           err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* All or nothing: session, first message, inbox marks, the agent's pointer. */
int agent_start_new(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_list_done) ObjList inbox = {0};
    int rc = assemble_prompt(op, tx, &inbox, err);
    if (rc == 0)
        rc = insert_started_session(op, tx, &op->obj, err);
    if (rc == 0)
        rc = session_push_prompt(op, tx, op->obj, buf_str(&op->text), err);
    if (rc == 0)
        rc = mark_read(tx, &inbox, err);
    if (rc == 0)
        rc = agent_set_session(tx, obj_str(op->agent, FIELD_ID), obj_str(op->obj, FIELD_ID), err);
    if (rc == 0)
        rc = request_remember(op, tx, &kind_session, op->obj, err);
    op->created = rc == 0;
    return rc;
}

static int take_text(void *arg, Message *m)
{
    Op *op = arg;
    (void)buf_adds(&op->text, m->payload);
    return 1;
}

/* The first answer again: the session and the prompt it was started with. */
static int replay_start(Op *op, Tx *tx, Err *err)
{
    op->created = true;
    return tx_messages_read(tx, obj_str(op->obj, FIELD_ID), 0, 1, MESSAGE_PAYLOAD_MAX, take_text, op, err);
}

static int run_agent_start(Op *op, Tx *tx, Err *err)
{
    int rc = agent_enter(op, tx, op->project, op->id, VERB_START, err);
    if (rc == 0)
        rc = request_replay(op, tx, &kind_session, &op->obj, err);
    if (rc < 0)
        return rc;
    if (op->obj)
        return replay_start(op, tx, err);
    rc = agent_active_session(tx, SESSION_AGENT_ID, obj_str(op->agent, FIELD_ID), &op->obj, err);
    if (rc < 0 || op->obj)
        return rc;
    return agent_start_new(op, tx, err);
}

static int run_agent_preview(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_list_done) ObjList inbox = {0};
    int rc = agent_enter(op, tx, op->project, op->id, VERB_READ, err);
    if (rc == 0)
        rc = assemble_prompt(op, tx, &inbox, err);
    return rc;
}

static Op *agent_op(Service *s, const SvcCtx *x, StoreMode mode, OpRun run, Str project, Str agent,
                    SvcDone done, void *arg)
{
    Op *op = op_new(s, x, mode, run, done, arg);
    op->kind = &kind_agent;
    op->rules = &rules_agent;
    op->project = op_keep(op, project);
    op->id = op_keep(op, agent);
    return op;
}

void svc_agent_start(Service *s, const SvcCtx *x, Str project, Str agent, Str prompt, SvcDone done, void *arg)
{
    Op *op = agent_op(s, x, STORE_WRITE, run_agent_start, project, agent, done, arg);
    op->payload = op_keep(op, prompt);
    op_submit(op);
}

void svc_agent_preview(Service *s, const SvcCtx *x, Str project, Str agent, SvcDone done, void *arg)
{
    op_submit(agent_op(s, x, STORE_READ, run_agent_preview, project, agent, done, arg));
}
