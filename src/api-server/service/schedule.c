/*
 * Scheduled sessions: rules of the kind, and of its history. rest-governance-and-auth.md 5, D11b, D68 to D70.
 * When a schedule is due is cron's business; what happens then is schedule-run.c's.
 */
#include "service-internal.h"

#include "cron/cron.h"
#include "cron/zone.h"

/* ---- the path, and who may ---- */

int schedule_get(Tx *tx, Str project, Str id, Obj **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *o = NULL;
    int rc = tx_get(tx, &kind_scheduled_session, id, &o, err);
    if (rc < 0)
        return rc;
    if (!str_eq(obj_str(o, SCHEDULE_PROJECT_ID), project)) /* another project's is not there */
        return not_found(&kind_scheduled_session, id, err);
    *ret = TAKE(o);
    return 0;
}

/* Lists and creations name only the project. */
static int schedule_enter(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *project = NULL;
    if (!path_id_ok(op->project))
        return err_set(err, ERR_INVALID, "invalid project id");
    return op->id.len ? 0 : tx_get(tx, &kind_project, op->project, &project, err);
}

static int schedule_belongs(Op *op, Tx *tx, const Obj *o, Err *err)
{
    if (str_eq(obj_str(o, SCHEDULE_PROJECT_ID), op->project))
        return 0;
    return not_found(op->kind, op->id, err);
}

/* Rights in the project decide; having made the schedule is none. */
static int schedule_create_scope(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err)
{
    return scope_project(tx, obj_str(o, SCHEDULE_PROJECT_ID), true, ret, err);
}

int schedule_may_read(Op *op, Tx *tx, const Obj *schedule, Err *err)
{
    const Scope sc = {.z = {.project_id = obj_str(schedule, SCHEDULE_PROJECT_ID)}};
    if (op_may(op, &kind_scheduled_session, VERB_READ, &sc))
        return 0;
    return not_found(&kind_scheduled_session, obj_str(schedule, FIELD_ID), err);
}

/* ---- values ---- */

static Str zone_name(const Obj *o)
{
    return obj_str(o, SCHEDULE_TIMEZONE);
}

int schedule_plan(const Obj *schedule, WallUsec now, Obj *changes, Err *err)
{
    Cron c;
    CLEANUP(zone_freep) Zone *z = NULL;
    WallUsec next;
    int rc = cron_parse(obj_str(schedule, SCHEDULE_SCHEDULE), &c, err);
    if (rc == 0)
        rc = zone_load(NULL, zone_name(schedule), &z, err);
    if (rc < 0)
        return rc;
    obj_set_null(changes, SCHEDULE_NEXT_RUN_AT);
    obj_set_null(changes, SCHEDULE_WAKE_AT);
    if (obj_bool(schedule, SCHEDULE_ENABLED, true) && cron_next(&c, z, now, &next, NULL) == 0) {
        obj_set_time(changes, SCHEDULE_NEXT_RUN_AT, next);
        obj_set_time(changes, SCHEDULE_WAKE_AT, next);
    }
    return 0;
}

static int check_numbers(const Obj *o, Err *err)
{
    static const int fields[] = {SCHEDULE_TIMEOUT, SCHEDULE_INACTIVITY_TIMEOUT};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (obj_int(o, fields[i], 0) < 0)
            return err_set(err, ERR_INVALID, "%s must not be negative", o->kind->fields[fields[i]].json);
    return 0;
}

/* One text for an agent of another project and for none. */
static int check_agent(Tx *tx, const Obj *o, Str project, Err *err)
{
    CLEANUP(obj_freep) Obj *agent = NULL;
    Str id = obj_str(o, SCHEDULE_AGENT_ID);
    if (!id.len)
        return 0;
    Err why = {0};
    int rc = tx_get(tx, &kind_agent, id, &agent, &why);
    if (rc == -ERR_NOT_FOUND || (rc == 0 && !str_eq(obj_str(agent, AGENT_PROJECT_ID), project)))
        return err_set(err, ERR_INVALID, "agent_id: the project has no agent \"" STR_FMT "\"",
                       STR_ARG(str_slice(id, 0, 64)));
    if (rc < 0 && err)
        *err = why;
    return rc;
}

/* Its runs have the rights of who said what they do. Who is an administrator only because nothing is checked
   is a user: checks may be switched on. */
static void set_owner(const Caller *c, Obj *o)
{
    const char *type = c->type == CALLER_SERVICE                  ? "service"
                       : c->type == CALLER_ADMIN && !c->authz_off ? "admin"
                                                                  : "user";
    obj_set_null(o, SCHEDULE_CREATED_BY_USER_ID);
    if (*c->username)
        obj_set_str(o, SCHEDULE_CREATED_BY_USER_ID, str_from(c->username));
    obj_set_str(o, SCHEDULE_OWNER_TYPE, str_from(type));
}

static int schedule_before_create(Op *op, Tx *tx, Obj *o, Err *err)
{
    obj_clear(o, FIELD_ID);
    obj_set_str(o, SCHEDULE_PROJECT_ID, op->project);
    set_owner(op->caller, o);
    int rc = check_numbers(o, err);
    if (rc < 0 || !obj_has(o, SCHEDULE_SCHEDULE)) /* the table refuses it next */
        return rc;
    return schedule_plan(o, tx_now(tx), o, err);
}

/* Only now it is known that the caller may look for agents here. */
static int schedule_after_create(Op *op, Tx *tx, const Obj *o, Err *err)
{
    return check_agent(tx, o, op->project, err);
}

static bool changes_value(const Obj *now, const Obj *changes, int field)
{
    return changes->v[field].state != V_ABSENT && !obj_value_equal(now, changes, field);
}

static bool changes_what_it_does(const Obj *now, const Obj *changes)
{
    for (int i = SCHEDULE_SCHEDULE; i <= SCHEDULE_CATCH_UP; i++)
        if (i != SCHEDULE_ENABLED && i != SCHEDULE_DESCRIPTION && changes_value(now, changes, i))
            return true;
    return false;
}

/* What was due until now stays missed or done: the plan begins anew. */
static int plan_anew(Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    CLEANUP(obj_freep) Obj *after = obj_dup(now);
    if (!changes_value(now, changes, SCHEDULE_SCHEDULE) && !changes_value(now, changes, SCHEDULE_TIMEZONE) &&
        !changes_value(now, changes, SCHEDULE_ENABLED))
        return 0;
    (void)obj_apply(after, changes);
    return schedule_plan(after, tx_now(tx), changes, err);
}

/* "" takes the default again, as a typed client's empty value does on POST. */
static void set_defaults(Obj *changes)
{
    static const int fields[] = {SCHEDULE_TIMEZONE, SCHEDULE_OVERLAP_POLICY, SCHEDULE_CATCH_UP};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        if (obj_has(changes, fields[i]) && !obj_str(changes, fields[i]).len)
            obj_set_str(changes, fields[i], str_from(changes->kind->fields[fields[i]].dflt));
}

static int schedule_before_patch(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err)
{
    set_defaults(changes);
    int rc = check_numbers(changes, err);
    if (rc == 0 && changes_value(now, changes, SCHEDULE_AGENT_ID))
        rc = check_agent(tx, changes, op->project, err);
    if (rc == 0)
        rc = plan_anew(tx, now, changes, err);
    if (rc == 0 && changes_what_it_does(now, changes))
        set_owner(op->caller, changes);
    return rc;
}

/* Nobody will wait for its runs. */
static int schedule_before_delete(Op *op, Tx *tx, const Obj *now, Err *err)
{
    SearchExpr *queued =
        search_and(search_eq(RUN_SCHEDULE_ID, obj_str(now, FIELD_ID)), search_eq(RUN_OUTCOME, STR("queued")));
    return delete_all(tx, &kind_schedule_run, queued, err);
}

/* In a foreign project a caller sees nothing, not even that it is there. */
static int schedule_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    const Scope sc = {.z = {.project_id = op->project}};
    if (!op_may(op, &kind_scheduled_session, VERB_READ, &sc))
        return not_found(&kind_project, op->project, err);
    *ret = search_eq(SCHEDULE_PROJECT_ID, op->project);
    return 0;
}

const KindRules rules_scheduled_session = {
    .kind = &kind_scheduled_session,
    .enter = schedule_enter,
    .belongs = schedule_belongs,
    .access = {.project = AT(SCHEDULE_PROJECT_ID)},
    .create_scope = schedule_create_scope,
    .before_create = schedule_before_create,
    .after_create = schedule_after_create,
    .before_patch = schedule_before_patch,
    .before_delete = schedule_before_delete,
    .filter = schedule_filter,
};

/* ---- what it says about its sessions ---- */

static int put_runner_type(Str type, Obj *session, Err *err)
{
    CLEANUP_JSON json_t *env = NULL;
    CLEANUP_BUF Buf text = BUF_INIT(FIELD_LEN_DEFAULT);
    Str now = obj_str(session, SESSION_ENVIRONMENT_VARIABLES);
    if (now.len && (json_parse(now, &env, NULL) < 0 || !json_is_object(env)))
        return err_set(err, ERR_INVALID, "the agent's environment_variables are no JSON object");
    if (!env)
        env = json_object();
    json_object_set_new(env, "RUNNER_TYPE", json_strv(type));
    json_write_plain(&text, env);
    int rc = buf_check(&text, err);
    if (rc == 0)
        obj_set_str(session, SESSION_ENVIRONMENT_VARIABLES, buf_str(&text));
    return rc;
}

int schedule_apply(const Obj *schedule, Obj *session, Err *err)
{
    obj_copy_value(session, SESSION_SCHEDULED_SESSION_ID, schedule, FIELD_ID);
    if (obj_int(schedule, SCHEDULE_TIMEOUT, 0) > 0)
        obj_copy_value(session, SESSION_TIMEOUT, schedule, SCHEDULE_TIMEOUT);
    if (obj_int(schedule, SCHEDULE_INACTIVITY_TIMEOUT, 0) > 0)
        obj_copy_value(session, SESSION_INACTIVITY_TIMEOUT, schedule, SCHEDULE_INACTIVITY_TIMEOUT);
    if (obj_has(schedule, SCHEDULE_STOP_ON_RUN_FINISHED))
        obj_set_bool(session, SESSION_INTERACTIVE, !obj_bool(schedule, SCHEDULE_STOP_ON_RUN_FINISHED, true));
    Str type = obj_str(schedule, SCHEDULE_RUNNER_TYPE);
    return type.len ? put_runner_type(type, session, err) : 0;
}

/* ---- suspend and resume ---- */

static int run_enable(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *now = NULL;
    CLEANUP(obj_freep) Obj *changes = obj_new(op->kind);
    bool changed;
    int rc = op_load(op, tx, VERB_CREATE, &now, err);
    if (rc < 0)
        return rc;
    obj_set_bool(changes, SCHEDULE_ENABLED, op->enable);
    rc = plan_anew(tx, now, changes, err);
    return rc < 0 ? rc : tx_update(tx, op->kind, op->id, changes, &changed, &op->obj, err);
}

void svc_schedule_enable(Service *s, const SvcCtx *x, const SvcTarget *t, bool enable, SvcDone done,
                         void *arg)
{
    Op *op = target_op(s, x, t, STORE_WRITE, run_enable, done, arg);
    op->enable = enable;
    op_submit(op);
}

/* ---- history ---- */

static int run_belongs(Op *op, Tx *tx, const Obj *o, Err *err)
{
    if (str_eq(obj_str(o, RUN_PROJECT_ID), op->project))
        return 0;
    return not_found(op->kind, op->id, err);
}

/* The history goes with its schedule: a project that was made again under its name has nothing to do with
   what ran before. */
static int run_enter(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *run = NULL;
    bool there = false;
    if (!op->id.len)
        return 0;
    int rc = tx_get(tx, op->kind, op->id, &run, err);
    if (rc == 0)
        rc = tx_exists(tx, &kind_scheduled_session, obj_str(run, RUN_SCHEDULE_ID), &there, err);
    return rc == 0 && !there ? not_found(op->kind, op->id, err) : rc;
}

static int run_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err)
{
    CLEANUP(obj_freep) Obj *schedule = NULL;
    int rc = schedule_get(tx, op->project, op->list.schedule_id, &schedule, err);
    if (rc == 0)
        rc = schedule_may_read(op, tx, schedule, err);
    if (rc == 0)
        *ret = search_eq(RUN_SCHEDULE_ID, op->list.schedule_id);
    return rc;
}

const KindRules rules_schedule_run = {
    .kind = &kind_schedule_run,
    .enter = run_enter,
    .belongs = run_belongs,
    .access = {.project = AT(RUN_PROJECT_ID)},
    .filter = run_filter,
};
