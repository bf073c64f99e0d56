/*
 * Runs of schedules. One pass over one schedule is one job: what came due is entered into the history (a row
 * per time, unique in the schedule, which is what keeps two replicas from serving one time twice), at most
 * one session is started, and wake_at says when to look again. docs/internals/scheduler.md
 */
#include "schedule-internal.h"

#include "base/log.h"

/* A time that is served later than this was missed: the server was not there, or the store did not answer. */
#define ON_TIME ((int64_t)60 * (int64_t)USEC_PER_SEC)
#define DAY ((int64_t)86400 * (int64_t)USEC_PER_SEC)

/* ---- the history ---- */

Obj *run_new(const Obj *schedule, const char *cause, const char *outcome)
{
    Obj *run = obj_new(&kind_schedule_run);
    obj_copy_value(run, RUN_SCHEDULE_ID, schedule, FIELD_ID);
    obj_copy_value(run, RUN_PROJECT_ID, schedule, SCHEDULE_PROJECT_ID);
    obj_copy_value(run, RUN_AGENT_ID, schedule, SCHEDULE_AGENT_ID);
    obj_set_str(run, RUN_CAUSE, str_from(cause));
    obj_set_str(run, RUN_OUTCOME, str_from(outcome));
    return run;
}

static int enter(Pass *p, WallUsec at, const char *cause, const char *outcome, const char *message, Err *err)
{
    CLEANUP(obj_freep) Obj *run = run_new(p->schedule, cause, outcome);
    obj_set_time(run, RUN_SCHEDULED_AT, at);
    if (message)
        obj_set_str(run, RUN_MESSAGE, str_from(message));
    return tx_insert(p->tx, run, err);
}

static int settle(Pass *p, Str run_id, const char *outcome, const char *message, Err *err)
{
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_schedule_run);
    obj_set_str(changes, RUN_OUTCOME, str_from(outcome));
    obj_set_str(changes, RUN_MESSAGE, str_from(message));
    return tx_update(p->tx, &kind_schedule_run, run_id, changes, NULL, NULL, err);
}

/* ---- who is in the way ---- */

int schedule_active_session(Tx *tx, const Obj *schedule, Obj **ret, Err *err)
{
    Str agent = obj_str(schedule, SCHEDULE_AGENT_ID);
    if (agent.len)
        return agent_active_session(tx, SESSION_AGENT_ID, agent, ret, err);
    return agent_active_session(tx, SESSION_SCHEDULED_SESSION_ID, obj_str(schedule, FIELD_ID), ret, err);
}

static bool is_of(const Obj *session, const Obj *schedule)
{
    return str_eq(obj_str(session, SESSION_SCHEDULED_SESSION_ID), obj_str(schedule, FIELD_ID));
}

int schedule_queued_run(Tx *tx, const Obj *schedule, Obj **ret, Err *err)
{
    SearchExpr *where = search_and(search_eq(RUN_SCHEDULE_ID, obj_str(schedule, FIELD_ID)),
                                   search_eq(RUN_OUTCOME, STR("queued")));
    return find_first(tx, &kind_schedule_run, where, (OrderItem){RUN_SCHEDULED_AT, false}, ret, err);
}

/* ---- starting ---- */

/* The run that a pass is to start. It is tried in a job of its own; when that fails for good, the next pass
   writes it down as failed. */
static int start(Pass *p, Obj *run, Err *err)
{
    if (p->failure.len) {
        p->failure_used = true;
        return settle(p, obj_str(run, FIELD_ID), "failed", p->failure.ptr, err);
    }
    CLEANUP(obj_freep) Obj *session = NULL;
    CLEANUP(caller_unrefp) Caller *owner = schedule_owner(p->op->s, p->schedule);
    int rc = schedule_start(p->op, p->tx, p->schedule, owner, &session, err);
    if (rc < 0) {
        p->op->created = true; /* it was the start that failed, not the store: see fired() */
        return rc;
    }
    p->started = true;
    return run_started(p->tx, obj_str(run, FIELD_ID), session, err);
}

static int start_at(Pass *p, WallUsec at, const char *cause, Err *err)
{
    CLEANUP(obj_freep) Obj *run = run_new(p->schedule, cause, "started");
    obj_set_time(run, RUN_SCHEDULED_AT, at);
    int rc = tx_insert(p->tx, run, err); /* first: whoever comes second loses here */
    return rc < 0 ? rc : start(p, run, err);
}

/* ---- what is due ---- */

static int skip_queued(Pass *p, const char *why, Err *err)
{
    for (;;) {
        CLEANUP(obj_freep) Obj *run = NULL;
        int rc = schedule_queued_run(p->tx, p->schedule, &run, err);
        if (rc < 0 || !run)
            return rc;
        rc = settle(p, obj_str(run, FIELD_ID), "skipped", why, err);
        if (rc < 0)
            return rc;
    }
}

static int replace(Pass *p, const Obj *active, WallUsec at, const char *cause, Err *err)
{
    if (p->failure.len) /* nothing is stopped for what cannot be started */
        return start_at(p, at, cause, err);
    if (active && !is_of(active, p->schedule))
        return enter(p, at, cause, "skipped", "the agent runs a session that this schedule did not start",
                     err);
    CLEANUP(obj_freep) Obj *stopped = NULL;
    int rc = skip_queued(p, "replaced by a later run", err);
    if (rc == 0 && active)
        rc = session_begin_stop(p->tx, obj_str(active, FIELD_ID), &stopped, err);
    return rc < 0 ? rc : start_at(p, at, cause, err);
}

/* Something is in the way of the run that is due at `at`. */
static int overlap(Pass *p, const Obj *active, bool waiting, WallUsec at, const char *cause, Err *err)
{
    Str policy = obj_str(p->schedule, SCHEDULE_OVERLAP_POLICY);
    if (str_eqz(policy, "replace"))
        return replace(p, active, at, cause, err);
    if (waiting)
        return enter(p, at, cause, "skipped", "a run waits already", err);
    if (str_eqz(policy, "queue"))
        return enter(p, at, cause, "queued", NULL, err);
    return enter(p, at, cause, "skipped",
                 is_of(active, p->schedule) ? "the run before is still active" : "the agent is busy", err);
}

static int serve(Pass *p, WallUsec at, const char *cause, Err *err)
{
    CLEANUP(obj_freep) Obj *active = NULL;
    CLEANUP(obj_freep) Obj *waiting = NULL;
    int rc = schedule_active_session(p->tx, p->schedule, &active, err);
    if (rc == 0)
        rc = schedule_queued_run(p->tx, p->schedule, &waiting, err);
    if (rc < 0)
        return rc;
    if (active || waiting)
        return overlap(p, active, waiting, at, cause, err);
    return start_at(p, at, cause, err);
}

/* The times that came before the last one: the server did not serve them when they came. */
static int enter_earlier(Pass *p, const Backlog *b, Err *err)
{
    bool all = str_eqz(obj_str(p->schedule, SCHEDULE_CATCH_UP), "all");
    CLEANUP_FREE char *more =
        b->dropped || b->endless
            ? xasprintf("the server was away; %s%llu earlier times are not in this history",
                        b->endless ? "more than " : "", (unsigned long long)b->dropped)
            : NULL;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i + 1 < b->n; i++) {
        const char *why = i == 0 && more ? more : "the server was away";
        rc = all ? enter(p, b->at[i], "catch_up", "queued", i == 0 ? more : NULL, err)
                 : enter(p, b->at[i], "schedule", "missed", why, err);
    }
    return rc;
}

/* The last one is served if it is not late, or to be made up for. */
static int enter_last(Pass *p, WallUsec at, Err *err)
{
    Str rule = obj_str(p->schedule, SCHEDULE_CATCH_UP);
    if (p->now.us - at.us <= ON_TIME)
        return serve(p, at, "schedule", err);
    if (str_eqz(rule, "none"))
        return enter(p, at, "schedule", "missed", "the server was away", err);
    if (str_eqz(rule, "all"))
        return enter(p, at, "catch_up", "queued", NULL, err);
    return serve(p, at, "catch_up", err);
}

static void push(Backlog *b, WallUsec t)
{
    if (b->n == ARRAY_LEN(b->at)) {
        memmove(b->at, b->at + 1, (b->n - 1) * sizeof(b->at[0]));
        b->n--;
        b->dropped++;
    }
    b->at[b->n++] = t;
}

/* The times from `t`, which is one, until now. */
static void collect_from(const Pass *p, WallUsec t, Backlog *b)
{
    while (t.us <= p->now.us) {
        push(b, t);
        if (cron_next(&p->cron, p->zone, t, &t, NULL) < 0) {
            b->last = true;
            return;
        }
    }
    b->next = t;
}

/* The newest times since `from`. Looks back further and further: of a schedule that was due half a million
   times meanwhile only the last day is walked through. */
static void collect(const Pass *p, WallUsec from, Backlog *b)
{
    for (int64_t back = DAY;; back *= 4) {
        WallUsec t = {p->now.us - back};
        bool all = t.us <= from.us;
        *b = (Backlog){.endless = !all};
        if (all)
            collect_from(p, from, b);
        else if (cron_next(&p->cron, p->zone, t, &t, NULL) == 0)
            collect_from(p, t, b);
        if (all || b->n == ARRAY_LEN(b->at))
            return;
    }
}

/* Times that are in the history already: the clock was set back, or the schedule was changed to and fro. */
static int drop_served(Pass *p, Backlog *b, Err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < b->n; i++) {
        CLEANUP(obj_freep) Obj *run = NULL;
        SearchExpr *where = search_and(search_eq(RUN_SCHEDULE_ID, obj_str(p->schedule, FIELD_ID)),
                                       search_time(S_EQ, RUN_SCHEDULED_AT, b->at[i]));
        int rc =
            find_first(p->tx, &kind_schedule_run, where, (OrderItem){FIELD_CREATED_AT, false}, &run, err);
        if (rc < 0)
            return rc;
        if (!run)
            b->at[kept++] = b->at[i];
    }
    b->n = kept;
    return 0;
}

static int enter_due(Pass *p, Obj *changes, Err *err)
{
    WallUsec due = obj_time(p->schedule, SCHEDULE_NEXT_RUN_AT);
    Backlog b;
    if (!obj_has(p->schedule, SCHEDULE_NEXT_RUN_AT) || due.us > p->now.us)
        return 0;
    collect(p, due, &b);
    int rc = drop_served(p, &b, err);
    if (rc == 0)
        rc = enter_earlier(p, &b, err);
    if (rc == 0 && b.n)
        rc = enter_last(p, b.at[b.n - 1], err);
    if (rc < 0)
        return rc;
    if (b.last)
        obj_set_null(changes, SCHEDULE_NEXT_RUN_AT);
    else
        obj_set_time(changes, SCHEDULE_NEXT_RUN_AT, b.next);
    return 0;
}

/* ---- what waits ---- */

/* A schedule that was suspended keeps what somebody asked for by hand. */
static bool still_wanted(const Pass *p, const Obj *run)
{
    return obj_bool(p->schedule, SCHEDULE_ENABLED, true) || str_eqz(obj_str(run, RUN_CAUSE), "manual");
}

static int start_waiting(Pass *p, const Obj *waiting, Err *err)
{
    CLEANUP(obj_freep) Obj *run = obj_dup(waiting);
    if (!still_wanted(p, run))
        return settle(p, obj_str(run, FIELD_ID), "skipped", "the schedule was suspended", err);
    return start(p, run, err);
}

/* At most one can be started; the others wait for its end. One failure is of one run: the next is tried by
   itself. */
static int look_at_queue(Pass *p, Err *err)
{
    for (;;) {
        CLEANUP(obj_freep) Obj *waiting = NULL;
        CLEANUP(obj_freep) Obj *active = NULL;
        int rc = schedule_queued_run(p->tx, p->schedule, &waiting, err);
        if (rc == 0 && waiting)
            rc = schedule_active_session(p->tx, p->schedule, &active, err);
        p->waiting = waiting && active;
        p->again = waiting && !active && p->failure_used;
        if (rc < 0 || !waiting || active || p->again)
            return rc;
        rc = start_waiting(p, waiting, err);
        if (rc < 0)
            return rc;
    }
}

/* ---- a pass ---- */

void schedule_wake_by(const Obj *schedule, WallUsec at, Obj *changes)
{
    WallUsec wake = obj_time(schedule, SCHEDULE_WAKE_AT);
    bool sooner = !obj_has(schedule, SCHEDULE_WAKE_AT) || at.us < wake.us;
    obj_set_time(changes, SCHEDULE_WAKE_AT, sooner ? at : wake);
}

static void set_wake(const Pass *p, Obj *changes)
{
    const Obj *from = changes->v[SCHEDULE_NEXT_RUN_AT].state != V_ABSENT ? changes : p->schedule;
    WallUsec wake = obj_time(from, SCHEDULE_NEXT_RUN_AT);
    bool any = obj_has(from, SCHEDULE_NEXT_RUN_AT);
    WallUsec look = {p->now.us + (p->again ? 0 : QUEUE_LOOK)};
    if ((p->waiting || p->again) && (!any || wake.us > look.us)) {
        wake = look;
        any = true;
    }
    if (any)
        obj_set_time(changes, SCHEDULE_WAKE_AT, wake);
    else
        obj_set_null(changes, SCHEDULE_WAKE_AT);
}

static int finish(Pass *p, Obj *changes, Err *err)
{
    if (p->started)
        obj_set_time(changes, SCHEDULE_LAST_RUN_AT, p->now);
    set_wake(p, changes);
    return tx_update(p->tx, &kind_scheduled_session, obj_str(p->schedule, FIELD_ID), changes, NULL, NULL,
                     err);
}

/* Its zone is not known any more, say: it cannot go on, and says so. */
static int suspend(Pass *p, const Err *why, Err *err)
{
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_scheduled_session);
    CLEANUP_FREE char *message = xasprintf("suspended: %s", why->msg);
    obj_set_bool(changes, SCHEDULE_ENABLED, false);
    obj_set_null(changes, SCHEDULE_NEXT_RUN_AT);
    int rc = enter(p, p->now, "schedule", "failed", message, err);
    return rc < 0 ? rc : finish(p, changes, err);
}

static int read_rule(Pass *p, Err *err)
{
    int rc = cron_parse(obj_str(p->schedule, SCHEDULE_SCHEDULE), &p->cron, err);
    return rc < 0 ? rc : zone_load(NULL, obj_str(p->schedule, SCHEDULE_TIMEZONE), &p->zone, err);
}

static int make_pass(Pass *p, Err *err)
{
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_scheduled_session);
    Err why = {0};
    if (obj_bool(p->schedule, SCHEDULE_ENABLED, true) && read_rule(p, &why) < 0)
        return suspend(p, &why, err);
    int rc = obj_bool(p->schedule, SCHEDULE_ENABLED, true) ? enter_due(p, changes, err) : 0;
    if (rc == 0)
        rc = look_at_queue(p, err);
    return rc < 0 ? rc : finish(p, changes, err);
}

static bool is_due(const Obj *schedule, WallUsec now)
{
    return obj_has(schedule, SCHEDULE_WAKE_AT) && obj_time(schedule, SCHEDULE_WAKE_AT).us <= now.us;
}

int schedule_pass(Op *op, Tx *tx, Err *err)
{
    Pass p = {.op = op, .tx = tx, .now = tx_now(tx), .failure = op->payload};
    CLEANUP(obj_freep) Obj *schedule = NULL;
    Err why = {0};
    int rc = tx_get(tx, &kind_scheduled_session, op->id, &schedule, &why);
    if (rc == -ERR_NOT_FOUND || (rc == 0 && !is_due(schedule, p.now)))
        return 0; /* deleted, or somebody else was here */
    if (rc < 0) {
        if (err)
            *err = why;
        return rc;
    }
    p.schedule = schedule;
    rc = make_pass(&p, err);
    zone_free(p.zone);
    return rc;
}

/* ---- when its agent is free again ---- */

/* Those that wait for this session: for its agent, or for the schedule that made it. */
static SearchExpr *waiting_for(const Obj *session)
{
    Str agent = obj_str(session, SESSION_AGENT_ID), schedule = obj_str(session, SESSION_SCHEDULED_SESSION_ID);
    SearchExpr *who = agent.len      ? search_eq(RUN_AGENT_ID, agent)
                      : schedule.len ? search_eq(RUN_SCHEDULE_ID, schedule)
                                     : search_false();
    return search_and(search_eq(RUN_OUTCOME, STR("queued")), who);
}

int schedule_session_over(Tx *tx, const Obj *session, Err *err)
{
    CLEANUP(obj_freep) Obj *run = NULL;
    CLEANUP(obj_freep) Obj *changes = obj_new(&kind_scheduled_session);
    if (!obj_has(session, SESSION_AGENT_ID) && !obj_has(session, SESSION_SCHEDULED_SESSION_ID))
        return 0;
    int rc = find_first(tx, &kind_schedule_run, waiting_for(session), (OrderItem){RUN_SCHEDULED_AT, false},
                        &run, err);
    if (rc < 0 || !run)
        return rc;
    Err why = {0};
    obj_set_time(changes, SCHEDULE_WAKE_AT, tx_now(tx));
    rc = tx_update(tx, &kind_scheduled_session, obj_str(run, RUN_SCHEDULE_ID), changes, NULL, NULL, &why);
    if (rc == -ERR_NOT_FOUND)
        return 0;
    if (rc < 0 && err)
        *err = why;
    return rc;
}
