/* Starting what a schedule starts: by the scheduler as its owner, or by hand as who asks for it. */
#include "schedule-internal.h"

#include "base/log.h"
#include "service/schedules.h"

#define LOOK_ROWS 100

Caller *schedule_owner(const Service *s, const Obj *schedule)
{
    Str type = obj_str(schedule, SCHEDULE_OWNER_TYPE), name = obj_str(schedule, SCHEDULE_CREATED_BY_USER_ID);
    return caller_make(&(CallerInfo){
        .type = str_eqz(type, "service") ? CALLER_SERVICE
                : str_eqz(type, "admin") ? CALLER_ADMIN
                                         : CALLER_USER,
        .username = name,
        .name = name,
        .authz_off = s->authz_off,
    });
}

int run_started(Tx *tx, Str run_id, const Obj *session, Err *err)
{
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_schedule_run);
    obj_set_str(changes, RUN_OUTCOME, STR("started"));
    obj_copy_value(changes, RUN_SESSION_ID, session, FIELD_ID);
    obj_set_time(changes, RUN_STARTED_AT, tx_now(tx));
    return tx_update(tx, &kind_schedule_run, run_id, changes, NULL, NULL, err);
}

/* ---- one start ---- */

static int start_agent(Op *sub, Tx *tx, Err *err)
{
    sub->kind = &kind_agent;
    sub->rules = &rules_agent;
    int rc = agent_enter(sub, tx, sub->project, sub->id, VERB_START, err);
    return rc < 0 ? rc : agent_start_new(sub, tx, err);
}

/* Without an agent: a session of the project whose task is the schedule's prompt. */
static int start_plain(Op *sub, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *session = obj_new(&kind_session);
    sub->kind = &kind_session;
    sub->rules = &rules_session;
    obj_set_str(session, SESSION_PROJECT_ID, sub->project);
    session_name_after(session, obj_str(sub->schedule, SCHEDULE_NAME), tx_now(tx));
    if (sub->payload.len)
        obj_set_str(session, SESSION_PROMPT, sub->payload);
    obj_set_str(session, SESSION_PHASE, str_from(phase_name(PHASE_PENDING)));
    int rc = schedule_apply(sub->schedule, session, err);
    return rc < 0 ? rc : create_object(sub, tx, TAKE(session), err);
}

int schedule_start(Op *op, Tx *tx, const Obj *schedule, Caller *who, Obj **ret_session, Err *err)
{
    Op sub;
    op_sub_init(&sub, op, who);
    sub.schedule = schedule;
    sub.project = obj_str(schedule, SCHEDULE_PROJECT_ID);
    sub.payload = obj_str(schedule, SCHEDULE_SESSION_PROMPT);
    sub.id = obj_str(schedule, SCHEDULE_AGENT_ID);
    int rc = op_read_rights(&sub, tx, err);
    if (rc == 0)
        rc = sub.id.len ? start_agent(&sub, tx, err) : start_plain(&sub, tx, err);
    if (rc == 0)
        *ret_session = TAKE(sub.obj);
    op_sub_done(&sub);
    return rc;
}

/* ---- by hand ---- */

static int trigger_now(Op *op, Tx *tx, const Obj *schedule, Err *err)
{
    CLEANUP(obj_freep) Obj *run = run_new(schedule, "manual", "started");
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_scheduled_session);
    int rc = tx_insert(tx, run, err);
    if (rc == 0)
        rc = schedule_start(op, tx, schedule, op->caller, &op->obj, err);
    if (rc == 0)
        rc = run_started(tx, obj_str(run, FIELD_ID), op->obj, err);
    if (rc < 0)
        return rc;
    obj_set_time(changes, SCHEDULE_LAST_RUN_AT, tx_now(tx));
    rc = tx_update(tx, &kind_scheduled_session, op->id, changes, NULL, NULL, err);
    return rc < 0 ? rc : request_remember(op, tx, &kind_session, op->obj, err);
}

static int let_wait(Tx *tx, const Obj *schedule, Err *err)
{
    CLEANUP(obj_freep) Obj *waiting = NULL;
    CLEANUP(obj_freep) Obj *run = run_new(schedule, "manual", "queued");
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_scheduled_session);
    int rc = schedule_queued_run(tx, schedule, &waiting, err);
    if (rc == 0 && waiting)
        return err_set(err, ERR_CONFLICT, "a run waits already");
    if (rc == 0)
        rc = tx_insert(tx, run, err);
    if (rc < 0)
        return rc;
    schedule_wake_by(schedule, (WallUsec){tx_now(tx).us + QUEUE_LOOK}, changes);
    return tx_update(tx, &kind_scheduled_session, obj_str(schedule, FIELD_ID), changes, NULL, NULL, err);
}

/* The overlap rule holds for who asks too; who asks is told. */
static int trigger_beside(Op *op, Tx *tx, const Obj *schedule, const Obj *active, Err *err)
{
    CLEANUP(obj_freep) Obj *stopped = NULL;
    Str policy = obj_str(schedule, SCHEDULE_OVERLAP_POLICY);
    bool ours = str_eq(obj_str(active, SESSION_SCHEDULED_SESSION_ID), obj_str(schedule, FIELD_ID));
    if (str_eqz(policy, "queue"))
        return let_wait(tx, schedule, err);
    if (!str_eqz(policy, "replace") || !ours)
        return err_set(err, ERR_CONFLICT, "the agent already runs session \"%s\"",
                       obj_cstr(active, FIELD_ID));
    int rc = session_begin_stop(tx, obj_str(active, FIELD_ID), &stopped, err);
    return rc < 0 ? rc : trigger_now(op, tx, schedule, err);
}

static int run_trigger(Op *op, Tx *tx, Err *err)
{
    CLEANUP(obj_freep) Obj *schedule = NULL;
    CLEANUP(obj_freep) Obj *active = NULL;
    int rc = op_load(op, tx, VERB_CREATE, &schedule, err);
    if (rc == 0)
        rc = request_replay(op, tx, &kind_session, &op->obj, err);
    if (rc < 0 || op->obj)
        return rc;
    if (obj_has(schedule, SCHEDULE_AGENT_ID)) /* plain sessions may run beside each other */
        rc = schedule_active_session(tx, schedule, &active, err);
    if (rc < 0)
        return rc;
    return active ? trigger_beside(op, tx, schedule, active, err) : trigger_now(op, tx, schedule, err);
}

void svc_schedule_trigger(Service *s, const SvcCtx *x, const SvcTarget *t, SvcDone done, void *arg)
{
    op_submit(target_op(s, x, t, STORE_WRITE, run_trigger, done, arg));
}

/* ---- which are due ---- */

typedef struct Look {
    Service *s;
    SvcDueDone done;
    void *arg;
    char ids[LOOK_ROWS][KSUID_LEN + 1];
    DueSchedules due;
    Err err;
} Look;

static int look_job(Tx *tx, void *arg, Err *err)
{
    Look *lk = arg;
    CLEANUP(search_freep) SearchExpr *any = search_time(S_GE, SCHEDULE_WAKE_AT, (WallUsec){0});
    CLEANUP(obj_list_done) ObjList l = {0};
    ListQuery q = {.where = any,
                   .order = {.items = {{SCHEDULE_WAKE_AT, false}}, .n = 1},
                   .limit = LOOK_ROWS,
                   .no_total = true};
    int rc = tx_list(tx, &kind_scheduled_session, &q, &l, err);
    lk->due = (DueSchedules){.ids = lk->ids, .wait = USEC_NEVER};
    for (size_t i = 0; rc == 0 && i < l.len; i++) {
        WallUsec at = obj_time(l.ptr[i], SCHEDULE_WAKE_AT);
        if (at.us > tx_now(tx).us) {
            lk->due.wait = (Usec)(at.us - tx_now(tx).us);
            break;
        }
        (void)snprintf(lk->ids[lk->due.n++], KSUID_LEN + 1, "%s", obj_cstr(l.ptr[i], FIELD_ID));
    }
    lk->due.more = lk->due.n == LOOK_ROWS;
    return rc;
}

static void look_finished(void *arg, int rc, const Err *err)
{
    Look *lk = arg;
    lk->done(lk->arg, rc < 0 ? err : NULL, &lk->due);
    service_unref(lk->s);
    free(lk);
}

static void look_refused(void *arg)
{
    Look *lk = arg;
    look_finished(lk, -(int)lk->err.code, &lk->err);
}

void svc_schedules_due(Service *s, SvcDueDone done, void *arg)
{
    Look *lk = xnew(Look);
    lk->s = service_ref(s);
    lk->done = done;
    lk->arg = arg;
    int rc = s->stopped ? err_set(&lk->err, ERR_UNAVAILABLE, "server is shutting down")
                        : store_submit(s->store, STORE_READ, look_job, look_finished, lk, &lk->err);
    if (rc < 0)
        loop_post(s->loop, look_refused, lk);
}

/* ---- firing ---- */

typedef struct Fire {
    Service *s;
    SvcFired done;
    void *arg;
    Caller *platform;
    char id[KSUID_LEN + 1];
    bool second;
} Fire;

/* Trying again would not help: the run is written down as failed. */
static bool is_final(const Err *err)
{
    switch (err->code) {
    case ERR_INVALID:
    case ERR_FORBIDDEN:
    case ERR_NOT_FOUND:
    case ERR_TOO_LARGE:
    case ERR_BAD_REQUEST:
        return true;
    default:
        return false;
    }
}

static void fire_try(Fire *f, const char *failure);

static void fired(void *arg, SvcAnswer *a)
{
    Fire *f = arg;
    if (a->err && a->created && !f->second && is_final(a->err)) {
        log_info("scheduled run failed", F_STR("schedule", f->id), F_ERR(a->err));
        f->second = true;
        fire_try(f, a->err->msg);
        return;
    }
    f->done(f->arg, a->err);
    caller_unref(f->platform);
    service_unref(f->s);
    free(f);
}

static void fire_try(Fire *f, const char *failure)
{
    SvcCtx x = {.caller = f->platform};
    Op *op = op_new(f->s, &x, STORE_WRITE, schedule_pass, fired, f);
    op->kind = &kind_scheduled_session;
    op->rules = &rules_scheduled_session;
    op->id = op_keep(op, str_from(f->id));
    op->payload = op_keep(op, str_from(failure));
    op_submit(op);
}

void svc_schedule_fire(Service *s, Str id, SvcFired done, void *arg)
{
    Fire *f = xnew(Fire);
    f->s = service_ref(s);
    f->done = done;
    f->arg = arg;
    f->platform = caller_new(CALLER_SERVICE, STR_NULL, STR_NULL, STR_NULL);
    (void)snprintf(f->id, sizeof(f->id), STR_FMT, STR_ARG(id));
    fire_try(f, NULL);
}
