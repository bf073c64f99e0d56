/* Sessions: rules of the kind, phases. rest-core.md 11; the moves are kinds' phase table. */
#include "service-internal.h"

#define NAME_TAIL 8 /* of the id, in a generated name */
#define SESSION_NAME_MAX 255

/* In a project it takes rights there; a session outside of projects is its creator's alone. */
static int session_create_scope(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err)
{
    Str project = obj_str(o, SESSION_PROJECT_ID);
    ret->z.agent_id = obj_str(o, SESSION_AGENT_ID);
    if (!project.len)
        ret->z.owner = str_from(op->caller->username);
    return scope_project(tx, project, true, ret, err);
}

static bool project_value_ok(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!path_id_ok((Str){s.ptr + i, 1}) && !memchr(".@:", s.ptr[i], 3))
            return false;
    return s.len > 0;
}

/* The header counts only when the body says nothing about the project. */
static int choose_project(Op *op, Obj *o, Err *err)
{
    if (o->v[SESSION_PROJECT_ID].state != V_ABSENT || !op->project_header.len)
        return 0;
    if (!project_value_ok(op->project_header))
        return err_set(err, ERR_INVALID, "invalid project_id format");
    obj_set_str(o, SESSION_PROJECT_ID, op->project_header);
    return 0;
}

/* Which agents there are elsewhere is not to be found out here; that of a session (op->id) which is copied is
   known. */
static int check_agent(Op *op, Tx *tx, Obj *o, Err *err)
{
    CLEANUP(obj_freep) Obj *agent = NULL;
    Scope sc = {0};
    Str id = obj_str(o, SESSION_AGENT_ID);
    if (!id.len)
        return 0;
    int rc = tx_get(tx, &kind_agent, id, &agent, err);
    if (rc < 0)
        return rc;
    access_scope(&rules_agent.access, agent, &sc.z);
    if (!op->id.len && !op_may(op, &kind_agent, VERB_READ, &sc))
        return not_found(&kind_agent, id, err);
    if (!obj_has(o, SESSION_PROJECT_ID))
        obj_set_str(o, SESSION_PROJECT_ID, obj_str(agent, AGENT_PROJECT_ID));
    if (!str_eq(obj_str(o, SESSION_PROJECT_ID), obj_str(agent, AGENT_PROJECT_ID)))
        return err_set(err, ERR_FORBIDDEN, "agent does not belong to this project");
    return 0;
}

/* A parent must be there and visible; "not visible" reads like "not there". */
static int check_parent(Op *op, Tx *tx, const Obj *o, Err *err)
{
    CLEANUP(obj_freep) Obj *parent = NULL;
    Str id = obj_str(o, SESSION_PARENT_SESSION_ID);
    if (!id.len)
        return 0;
    int rc = tx_get(tx, &kind_session, id, &parent, err);
    return rc < 0 ? rc : op_authorize(op, tx, VERB_READ, parent, err);
}

static void name_after_id(Obj *o, const char *id)
{
    CLEANUP_FREE char *name = xasprintf("session-%s", id + KSUID_LEN - NAME_TAIL);
    obj_set_str(o, SESSION_NAME, str_from(name));
}

static int session_before_create(Op *op, Tx *tx, Obj *o, Err *err)
{
    char id[KSUID_LEN + 1];
    ksuid_new(id, tx_now(tx));
    obj_set_str(o, FIELD_ID, str_from(id));
    obj_set_str(o, SESSION_KUBE_CR_NAME, str_from(id));
    if (o->v[SESSION_NAME].state == V_NULL)
        return err_set(err, ERR_INVALID, "name is required");
    if (o->v[SESSION_NAME].state == V_ABSENT)
        name_after_id(o, id);
    obj_clear(o, SESSION_CREATED_BY_USER_ID);
    if (*op->caller->username)
        obj_set_str(o, SESSION_CREATED_BY_USER_ID, str_from(op->caller->username));
    session_new_run(o, tx_now(tx));
    int rc = choose_project(op, o, err);
    if (rc == 0)
        rc = check_agent(op, tx, o, err);
    if (rc == 0)
        rc = check_parent(op, tx, o, err);
    return rc;
}

void session_name_after(Obj *session, Str name, WallUsec now)
{
    CLEANUP_FREE char *stamp = xasprintf("-%lld", (long long)(now.us / (int64_t)USEC_PER_SEC));
    size_t len = name.len, room = SESSION_NAME_MAX - strlen(stamp);
    if (len > room)
        for (len = room; len > 0 && ((unsigned char)name.ptr[len] & 0xc0) == 0x80;)
            len--;
    CLEANUP_FREE char *full = xasprintf("%.*s%s", (int)len, name.ptr, stamp);
    obj_set_str(session, SESSION_NAME, str_from(full));
}

int session_push_prompt(Op *op, Tx *tx, const Obj *session, Str text, Err *err)
{
    MessageIn in = {
        .session_id = obj_str(session, FIELD_ID),
        .event_type = STR("user"),
        .payload = text,
        .actor = str_from(op->caller->actor),
    };
    return tx_message_append(tx, &in, &op->message, err);
}

static int session_after_create(Op *op, Tx *tx, const Obj *o, Err *err)
{
    Str prompt = obj_str(o, SESSION_PROMPT);
    return prompt.len ? session_push_prompt(op, tx, o, prompt, err) : 0;
}

static int session_before_patch(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    return check_parent(op, tx, changes, err);
}

static int session_before_delete(Op *op, Tx *tx, const Obj *now, Err *err)
{
    int rc = agent_forget_session(tx, now, err);
    return rc < 0 ? rc : schedule_session_over(tx, now, err);
}

/* ---- lists ---- */

/* The platform's own informers send a project that need not exist and mean "all" (rest-core.md 3.1). */
static int header_names_nothing(Op *op, Tx *tx, bool *ret, Err *err)
{
    CLEANUP(obj_freep) Obj *project = NULL;
    Err why = {0};
    *ret = false;
    if (op->caller->type != CALLER_SERVICE)
        return 0;
    int rc = tx_get(tx, &kind_project, op->project_header, &project, &why);
    *ret = rc == -ERR_NOT_FOUND;
    if (rc < 0 && !*ret) {
        if (err)
            *err = why;
        return rc;
    }
    return 0;
}

int session_project_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    Str project = op->list.project_id;
    bool ignored = false;
    int rc = 0;
    if (!project.len && op->rest) {
        project = op->project_header;
        rc = project.len ? header_names_nothing(op, tx, &ignored, err) : 0;
    }
    if (rc < 0 || !project.len || ignored)
        return rc;
    if (!project_value_ok(project))
        return err_set(err, ERR_INVALID, "invalid project_id format");
    *ret = search_eq(op->kind->project_field, project);
    return 0;
}

/* Sessions of one agent: who may read the agent sees those that it may see by themselves. */
static int agent_narrowing(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    int rc = agent_enter(op, tx, op->project, op->parent, VERB_READ, err);
    if (rc == 0)
        *ret = search_eq(SESSION_AGENT_ID, op->parent);
    return rc;
}

/* Sessions that a schedule made, for those who may read the schedule. */
static int schedule_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *schedule = NULL;
    int rc = schedule_get(tx, op->project, op->list.schedule_id, &schedule, err);
    if (rc == 0)
        rc = schedule_may_read(op, tx, schedule, err);
    if (rc == 0)
        *ret = search_eq(SESSION_SCHEDULED_SESSION_ID, op->list.schedule_id);
    return rc;
}

static int session_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    CLEANUP(search_freep) SearchExpr *narrow = NULL;
    SearchExpr *visible = NULL;
    if (op->list.schedule_id.len)
        return schedule_filter(op, tx, ret, err);
    int rc =
        op->parent.len ? agent_narrowing(op, tx, &narrow, err) : session_project_filter(op, tx, &narrow, err);
    if (rc == 0)
        rc = access_filter(op, tx, &visible, err);
    if (rc == 0)
        *ret = search_and(TAKE(narrow), visible);
    return rc;
}

const KindRules rules_session = {
    .kind = &kind_session,
    .delete_unknown_ok = true,
    .access = {.project = AT(SESSION_PROJECT_ID),
               .agent = AT(SESSION_AGENT_ID),
               .session = AT(FIELD_ID),
               .owner = AT(SESSION_CREATED_BY_USER_ID)},
    .create_scope = session_create_scope,
    .before_create = session_before_create,
    .after_create = session_after_create,
    .before_patch = session_before_patch,
    .before_delete = session_before_delete,
    .filter = session_filter,
};

/* ---- phases ---- */

/* A run id changes whenever the session is to be run anew; it tells two runs of one session apart. */
void session_new_run(Obj *session, WallUsec now)
{
    char run[KSUID_LEN + 1];
    ksuid_new(run, now);
    obj_set_str(session, SESSION_RUN_ID, str_from(run));
}

/* A session that agent start made does not run beside another such one of its agent; the store's guard would
   refuse it too, in fewer words. */
static int check_one_active(Tx *tx, const Obj *session, Err *err)
{
    CLEANUP(obj_freep) Obj *other = NULL;
    Str agent = obj_str(session, SESSION_START_GUARD);
    if (!agent.len)
        return 0;
    int rc = agent_active_session(tx, SESSION_START_GUARD, agent, &other, err);
    if (rc < 0 || !other)
        return rc;
    return err_set(err, ERR_CONFLICT, "cannot start session: its agent already runs session \"%s\"",
                   obj_cstr(other, FIELD_ID));
}

/* A start out of a terminal phase is a restart: counted, and nothing of the last end stays. */
static void fill_start(Tx *tx, const Obj *now, Obj *changes)
{
    obj_set_str(changes, SESSION_PHASE, str_from(phase_name(PHASE_PENDING)));
    if (!phase_is_terminal(obj_phase(now)))
        return;
    obj_set_null(changes, SESSION_COMPLETION_TIME);
    obj_set_int(changes, SESSION_SDK_RESTART_COUNT, obj_int(now, SESSION_SDK_RESTART_COUNT, 0) + 1);
    session_new_run(changes, tx_now(tx));
}

static int update_session(Op *op, Tx *tx, const Obj *changes, Err *err)
{
    bool changed;
    return tx_update(tx, &kind_session, op->id, changes, &changed, &op->obj, err);
}

static int run_start(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *now = NULL;
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_session);
    int rc = op_load(op, tx, VERB_START, &now, err);
    if (rc < 0)
        return rc;
    if (!phase_can_start(obj_phase(now)))
        return err_set(err, ERR_CONFLICT,
                       "cannot start session in phase \"%s\"; must be empty, Stopped, Failed, or Completed",
                       phase_name(obj_phase(now)));
    rc = check_one_active(tx, now, err);
    if (rc == 0) {
        fill_start(tx, now, changes);
        rc = update_session(op, tx, changes, err);
    }
    if (rc == 0 && obj_has(now, SESSION_AGENT_ID))
        rc = agent_set_session(tx, obj_str(now, SESSION_AGENT_ID), op->id, err);
    return rc;
}

/* From here on its agent may be started again. */
int session_begin_stop(Tx *tx, Str id, Obj **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_session);
    bool changed;
    obj_set_str(changes, SESSION_PHASE, str_from(phase_name(PHASE_STOPPING)));
    int rc = tx_update(tx, &kind_session, id, changes, &changed, ret, err);
    return rc == 0 && changed ? schedule_session_over(tx, *ret, err) : rc;
}

static int run_stop(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *now = NULL;
    int rc = op_load(op, tx, VERB_STOP, &now, err);
    if (rc < 0)
        return rc;
    if (!phase_can_stop(obj_phase(now)))
        return err_set(err, ERR_CONFLICT,
                       "cannot stop session in phase \"%s\"; must be Running, Creating, or Pending",
                       phase_name(obj_phase(now)));
    return session_begin_stop(tx, op->id, &op->obj, err);
}

/* ---- status ---- */

static int check_move(const Obj *now, const Obj *changes, Err *err)
{
    if (!obj_has(changes, SESSION_PHASE))
        return 0;
    Phase to = phase_parse(obj_str(changes, SESSION_PHASE));
    if (phase_status_move_ok(obj_phase(now), to))
        return 0;
    return err_set(err, ERR_CONFLICT, "cannot move session from phase \"%s\" to \"%s\"",
                   phase_name(obj_phase(now)), phase_name(to));
}

static bool becomes_terminal(const Obj *now, const Obj *changes)
{
    return obj_has(changes, SESSION_PHASE) && phase_is_terminal(obj_phase(changes)) &&
           !phase_is_terminal(obj_phase(now));
}

static int run_status(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *now = NULL;
    CLEANUP(obj_freep) Obj *changes = obj_dup(op->body);
    int rc = op_load(op, tx, VERB_STATUS, &now, err);
    if (rc == 0)
        rc = check_move(now, changes, err);
    if (rc < 0)
        return rc;
    bool ends = becomes_terminal(now, changes);
    if (ends && changes->v[SESSION_COMPLETION_TIME].state == V_ABSENT &&
        !obj_has(now, SESSION_COMPLETION_TIME))
        obj_set_time(changes, SESSION_COMPLETION_TIME, tx_now(tx));
    rc = update_session(op, tx, changes, err);
    if (rc == 0 && ends)
        rc = agent_forget_session(tx, now, err);
    return rc == 0 && ends ? schedule_session_over(tx, now, err) : rc;
}

Op *session_op(Service *s, const SvcCtx *x, OpRun run, Str id, SvcDone done, void *arg)
{
    Op *op = op_new(s, x, STORE_WRITE, run, done, arg);
    op->kind = &kind_session;
    op->rules = &rules_session;
    op->id = op_keep(op, id);
    return op;
}

void svc_session_status(Service *s, const SvcCtx *x, Str id, Obj *changes, SvcDone done, void *arg)
{
    Op *op = session_op(s, x, run_status, id, done, arg);
    op->body = changes;
    op_submit(op);
}

static int reach(Op *op, Tx *tx, Verb v, Err *err)
{
    int rc = op_load(op, tx, v, &op->obj, err);
    return rc == -ERR_NOT_FOUND ? err_set(err, ERR_NOT_FOUND, "session not found") : rc;
}

static int run_reach(Op *op, Tx *tx, Err *err)
{
    return reach(op, tx, VERB_READ, err);
}

static int run_reach_write(Op *op, Tx *tx, Err *err)
{
    return reach(op, tx, VERB_UPDATE, err);
}

void svc_session_reach(Service *s, const SvcCtx *x, Str id, bool write, SvcDone done, void *arg)
{
    Op *op = session_op(s, x, write ? run_reach_write : run_reach, id, done, arg);
    op->mode = STORE_READ;
    op_submit(op);
}

void svc_session_start(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg)
{
    op_submit(session_op(s, x, run_start, id, done, arg));
}

void svc_session_stop(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg)
{
    op_submit(session_op(s, x, run_stop, id, done, arg));
}
