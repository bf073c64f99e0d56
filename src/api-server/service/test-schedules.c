/* Schedules: when they run, what they start, and what becomes of times at which they could not. */
#include "test-internal.h"

#include "base/file.h"
#include "base/vec.h"
#include "service/schedules.h"

#define MINUTES(n) ((Usec)(n)*60 * USEC_PER_SEC)
#define HOURS(n) MINUTES((n)*60)

typedef struct Place {
    World w;
    FakeClock clock;
    char *agent;
} Place;

static WallUsec at(const char *text)
{
    WallUsec t = {0};
    assert_int_equal(rfc3339_parse(str_from(text), &t), 0);
    return t;
}

static int open_store(Place *p, Loop *l, Store **ret)
{
    Err err = {0};
    CLEANUP_FREE char *url = xasprintf("sqlite:%s/store.db", p->w.dir);
    int rc = store_open(l, &(StoreOptions){.url = url, .create = true, .clock = &p->clock.clock}, ret, &err);
    if (rc < 0)
        fail_msg("%s", err.msg);
    return rc;
}

/* Monday, a quarter to nine. */
static int setup(void **state)
{
    Place *p = xnew(Place);
    World *w = &p->w;
    (void)snprintf(w->dir, sizeof(w->dir), "/tmp/ambient-test-schedule-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(loop_new(&w->loop, NULL), 0);
    fake_clock_init(&p->clock, at("2026-03-02T08:45:00Z"));
    open_store(p, w->loop, &w->store);
    w->service = service_new(w->loop, &(ServiceOptions){.store = w->store, .clock = &p->clock.clock});
    world_load(w);
    w->admin = caller_new(CALLER_ADMIN, STR("root"), STR("Root"), STR(""));
    w->platform = caller_new(CALLER_SERVICE, STR(""), STR(""), STR(""));
    w->alice = caller_new(CALLER_USER, STR("alice"), STR("Alice"), STR(""));
    w->bob = caller_new(CALLER_USER, STR("bob"), STR("Bob"), STR(""));
    free(make(w, w->alice, &kind_project, NULL, NULL, "{\"name\":\"demo\",\"prompt\":\"Project.\"}"));
    p->agent = make(w, w->alice, &kind_agent, "demo", "demo",
                    "{\"project_id\":\"\",\"name\":\"a\",\"prompt\":\"Be good.\",\"llm_model\":\"m1\","
                    "\"environment_variables\":\"{\\\"A\\\":\\\"b\\\"}\"}");
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    Place *p = *state;
    free(p->agent);
    World *w = xnew(World);
    *w = p->w;
    free(p);
    *state = w;
    return world_teardown(state);
}

/* ---- calls ---- */

static char *schedule(Place *p, const char *more)
{
    CLEANUP_FREE char *json =
        xasprintf("{\"name\":\"s\",\"agent_id\":\"%s\",\"session_prompt\":\"Task.\"%s}", p->agent, more);
    return make(&p->w, p->w.alice, &kind_scheduled_session, "demo", "demo", json);
}

static Got target_call(World *w, Caller *c, const char *id, int what)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    SvcTarget t = {
        .kind = &kind_scheduled_session, .id = str_from(id), .parent = STR("demo"), .project = STR("demo")};
    if (what == 't')
        svc_schedule_trigger(w->service, &x, &t, got_answer, &g);
    else if (what == 'g')
        svc_get(w->service, &x, &t, got_answer, &g);
    else
        svc_schedule_enable(w->service, &x, &t, what == 'r', got_answer, &g);
    got_wait(w, &g);
    return g;
}

static Got patch(World *w, Caller *c, const char *id, const char *json)
{
    Got g = {0};
    Obj *changes = NULL;
    SvcCtx x = ctx(c);
    SvcTarget t = {
        .kind = &kind_scheduled_session, .id = str_from(id), .parent = STR("demo"), .project = STR("demo")};
    assert_int_equal(obj_from_json_text(&kind_scheduled_session, OBJ_PATCH, str_from(json), &changes, NULL),
                     0);
    svc_patch(w->service, &x, &t, changes, got_answer, &g);
    got_wait(w, &g);
    return g;
}

typedef struct Looked {
    bool done;
    Err err;
    VEC_OF(char *)
    ids;
    Usec wait;
} Looked;

static void on_due(void *arg, const Err *err, const DueSchedules *due)
{
    Looked *l = arg;
    l->done = true;
    if (err)
        l->err = *err;
    for (size_t i = 0; i < due->n; i++)
        vec_push(&l->ids, xstrdup(due->ids[i]));
    l->wait = due->wait;
}

static void on_fired(void *arg, const Err *err)
{
    Looked *l = arg;
    l->done = true;
    l->err = err ? *err : (Err){0};
}

static ErrCode fire(World *w, Service *s, const char *id)
{
    Looked l = {0};
    svc_schedule_fire(s, str_from(id), on_fired, &l);
    assert_false(l.done);
    while (!l.done)
        loop_run_once(w->loop, true);
    return l.err.code;
}

/* What the scheduler does: serves all that is due, until nothing is. Says how long it would sleep. */
static Usec serve(Place *p)
{
    for (int rounds = 0; rounds < 300; rounds++) {
        Looked l = {0};
        svc_schedules_due(p->w.service, on_due, &l);
        while (!l.done)
            loop_run_once(p->w.loop, true);
        size_t n = l.ids.len;
        VEC_FOREACH (&l.ids, id) {
            assert_int_equal(fire(&p->w, p->w.service, *id), ERR_OK);
            free(*id);
        }
        vec_free(&l.ids);
        if (!n)
            return l.wait;
    }
    fail_msg("a schedule stays due");
    return 0;
}

static void advance(Place *p, Usec by)
{
    fake_clock_advance(&p->clock, by);
}

/* ---- what came of it ---- */

typedef struct Rows {
    const Kind *kind;
    int field;
    const char *id;
    ObjList l;
    bool done;
} Rows;

static int rows_job(Tx *tx, void *arg, Err *err)
{
    Rows *r = arg;
    CLEANUP(search_freep) SearchExpr *where = search_eq(r->field, str_from(r->id));
    int order = r->kind == &kind_schedule_run ? RUN_SCHEDULED_AT : FIELD_CREATED_AT;
    ListQuery q = {.where = where, .order = {.items = {{order, false}}, .n = 1}, .limit = -1};
    return tx_list(tx, r->kind, &q, &r->l, err);
}

static void rows_done(void *arg, int rc, const Err *err)
{
    Rows *r = arg;
    assert_int_equal(rc, 0);
    r->done = true;
}

static ObjList rows(Place *p, const Kind *k, int field, const char *id)
{
    Rows r = {.kind = k, .field = field, .id = id};
    assert_int_equal(store_submit(p->w.store, STORE_READ, rows_job, rows_done, &r, NULL), 0);
    while (!r.done)
        loop_run_once(p->w.loop, true);
    return r.l;
}

/* "09:00 started, 09:01 skipped" */
static void check_history(Place *p, const char *id, const char *want)
{
    CLEANUP(obj_list_done) ObjList l = rows(p, &kind_schedule_run, RUN_SCHEDULE_ID, id);
    CLEANUP_BUF Buf got = BUF_INIT(1 << 16);
    for (size_t i = 0; i < l.len; i++) {
        char text[RFC3339_MAX] = "-----------manual";
        if (obj_has(l.ptr[i], RUN_SCHEDULED_AT))
            rfc3339_format(obj_time(l.ptr[i], RUN_SCHEDULED_AT), text);
        const char *cause = obj_cstr(l.ptr[i], RUN_CAUSE);
        (void)buf_addf(&got, "%s%.5s%s %s", i ? ", " : "", text + 11,
                       strcmp(cause, "catch_up") == 0 ? " made up," : "", obj_cstr(l.ptr[i], RUN_OUTCOME));
    }
    assert_string_equal(got.data ? got.data : "", want);
}

static size_t count_sessions(Place *p, const char *id)
{
    CLEANUP(obj_list_done) ObjList l = rows(p, &kind_session, SESSION_SCHEDULED_SESSION_ID, id);
    return l.len;
}

static Obj *newest_session(Place *p, const char *id)
{
    CLEANUP(obj_list_done) ObjList l = rows(p, &kind_session, SESSION_SCHEDULED_SESSION_ID, id);
    assert_true(l.len > 0);
    return TAKE(l.ptr[l.len - 1]);
}

/* Of several that were made in one second none is the newest: the active one is told by its phase. */
static Obj *active_session(Place *p, const char *id)
{
    CLEANUP(obj_list_done) ObjList l = rows(p, &kind_session, SESSION_SCHEDULED_SESSION_ID, id);
    for (size_t i = 0; i < l.len; i++)
        if (phase_is_active(obj_phase(l.ptr[i])))
            return TAKE(l.ptr[i]);
    fail_msg("no session is active");
    return NULL;
}

static void end_session(Place *p, const char *id)
{
    CLEANUP(obj_freep) Obj *s = active_session(p, id);
    CLEANUP_GOT Got g = do_status(&p->w, p->w.platform, obj_cstr(s, FIELD_ID), "{\"phase\":\"Failed\"}");
    assert_int_equal(g.err.code, 0);
}

static void check_next(Place *p, const char *id, const char *want)
{
    CLEANUP_GOT Got g = target_call(&p->w, p->w.alice, id, 'g');
    char text[RFC3339_MAX] = "";
    if (obj_has(g.obj, SCHEDULE_NEXT_RUN_AT))
        rfc3339_format(obj_time(g.obj, SCHEDULE_NEXT_RUN_AT), text);
    assert_string_equal(text, want);
}

/* ---- when ---- */

static void test_schedule__runs_when_it_is_due(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id =
        schedule(p, ",\"schedule\":\"0 9 * * 1-5\",\"timeout\":600,\"inactivity_timeout\":60,"
                    "\"stop_on_run_finished\":false,\"runner_type\":\"claude\"");
    check_next(p, id, "2026-03-02T09:00:00Z");
    assert_int_equal(serve(p), MINUTES(15));
    check_history(p, id, "");
    advance(p, MINUTES(15) - 1);
    assert_int_equal(serve(p), 1);
    assert_int_equal(count_sessions(p, id), 0);
    advance(p, 1);
    assert_int_equal(serve(p), HOURS(24));
    check_history(p, id, "09:00 started");
    check_next(p, id, "2026-03-03T09:00:00Z");

    CLEANUP(obj_freep) Obj *s = newest_session(p, id);
    assert_string_equal(obj_cstr(s, SESSION_AGENT_ID), p->agent);
    assert_string_equal(obj_cstr(s, SESSION_CREATED_BY_USER_ID), "alice");
    assert_string_equal(obj_cstr(s, SESSION_LLM_MODEL), "m1");
    assert_int_equal(obj_phase(s), PHASE_PENDING);
    assert_int_equal(obj_int(s, SESSION_TIMEOUT, 0), 600);
    assert_int_equal(obj_int(s, SESSION_INACTIVITY_TIMEOUT, 0), 60);
    assert_true(obj_bool(s, SESSION_INTERACTIVE, false));
    assert_string_equal(obj_cstr(s, SESSION_ENVIRONMENT_VARIABLES),
                        "{\"A\":\"b\",\"RUNNER_TYPE\":\"claude\"}");
    CLEANUP(obj_list_done) ObjList runs = rows(p, &kind_schedule_run, RUN_SCHEDULE_ID, id);
    assert_string_equal(obj_cstr(runs.ptr[0], RUN_SESSION_ID), obj_cstr(s, FIELD_ID));
    CLEANUP_GOT Got after = target_call(&p->w, p->w.alice, id, 'g');
    assert_int_equal(obj_time(after.obj, SCHEDULE_LAST_RUN_AT).us, at("2026-03-02T09:00:00Z").us);
}

static void test_schedule__a_shell_gets_the_task_alone(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\",\"runner_type\":\"shell\"");
    advance(p, MINUTES(15));
    serve(p);
    CLEANUP(obj_freep) Obj *s = newest_session(p, id);
    CLEANUP_GOT Got g = {0};
    SvcCtx x = ctx(p->w.alice);
    svc_message_list(p->w.service, &x, &(SvcMessages){obj_str(s, FIELD_ID), 0, 10, 1000}, got_answer, &g);
    got_wait(&p->w, &g);
    assert_int_equal(g.n_messages, 1);
    assert_string_equal(g.first_payload, "Task.");
}

static void test_schedule__without_an_agent_makes_a_plain_session(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id =
        make(&p->w, p->w.alice, &kind_scheduled_session, "demo", "demo",
             "{\"name\":\"plain\",\"schedule\":\"0 * * * *\",\"session_prompt\":\"Do it.\",\"timeout\":5}");
    advance(p, MINUTES(15));
    serve(p);
    CLEANUP(obj_freep) Obj *s = newest_session(p, id);
    assert_false(obj_has(s, SESSION_AGENT_ID));
    assert_string_equal(obj_cstr(s, SESSION_PROJECT_ID), "demo");
    assert_string_equal(obj_cstr(s, SESSION_PROMPT), "Do it.");
    assert_int_equal(obj_phase(s), PHASE_PENDING);
    assert_int_equal(obj_int(s, SESSION_TIMEOUT, 0), 5);
    advance(p, HOURS(1));
    serve(p); /* its session is still active */
    check_history(p, id, "09:00 started, 10:00 skipped");
}

static void test_schedule__keeps_its_zone(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"30 2 * * *\",\"timezone\":\"Europe/Berlin\"");
    check_next(p, id, "2026-03-03T01:30:00Z");
    CLEANUP_GOT Got g = patch(&p->w, p->w.alice, id, "{\"timezone\":\"America/New_York\"}");
    check_next(p, id, "2026-03-03T07:30:00Z");
    CLEANUP_GOT Got utc = patch(&p->w, p->w.alice, id, "{\"timezone\":\"\"}");
    check_next(p, id, "2026-03-03T02:30:00Z");
    CLEANUP_GOT Got bad = patch(&p->w, p->w.alice, id, "{\"timezone\":\"Mars/Olympus\"}");
    assert_int_equal(bad.err.code, ERR_INVALID);
}

static void test_schedule__suspended_rests_and_resumes_from_now(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\",\"catch_up\":\"all\"");
    CLEANUP_GOT Got off = target_call(&p->w, p->w.alice, id, 's');
    assert_false(obj_bool(off.obj, SCHEDULE_ENABLED, true));
    check_next(p, id, "");
    advance(p, HOURS(5));
    assert_int_equal(serve(p), USEC_NEVER);
    CLEANUP_GOT Got on = target_call(&p->w, p->w.alice, id, 'r');
    assert_true(obj_bool(on.obj, SCHEDULE_ENABLED, false));
    check_next(p, id, "2026-03-02T14:00:00Z");
    assert_int_equal(serve(p), MINUTES(15));
    check_history(p, id, "");
}

/* ---- overlap ---- */

static void test_overlap__skip(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\"");
    for (int i = 0; i < 3; i++) {
        advance(p, i ? HOURS(1) : MINUTES(15));
        serve(p);
        if (i == 1)
            end_session(p, id);
    }
    check_history(p, id, "09:00 started, 10:00 skipped, 11:00 started");
    assert_int_equal(count_sessions(p, id), 2);
}

static void test_overlap__queue(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\",\"overlap_policy\":\"queue\"");
    advance(p, MINUTES(15));
    serve(p);
    advance(p, HOURS(1));
    assert_int_equal(serve(p), MINUTES(1)); /* looks again soon, should it not be told of the end */
    check_history(p, id, "09:00 started, 10:00 queued");
    advance(p, HOURS(1));
    serve(p);
    check_history(p, id, "09:00 started, 10:00 queued, 11:00 skipped");
    end_session(p, id);
    serve(p); /* the clock did not move: the end itself woke it */
    check_history(p, id, "09:00 started, 10:00 started, 11:00 skipped");
    end_session(p, id);
    assert_int_equal(serve(p), HOURS(1));
    assert_int_equal(count_sessions(p, id), 2);
}

static void test_overlap__a_queued_run_is_woken_by_a_stop_and_by_a_deletion(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\",\"overlap_policy\":\"queue\"");
    advance(p, MINUTES(15));
    serve(p);
    for (int i = 0; i < 2; i++) {
        advance(p, HOURS(1));
        serve(p);
        CLEANUP(obj_freep) Obj *s = newest_session(p, id);
        CLEANUP_GOT Got g = {0};
        SvcCtx x = ctx(p->w.alice);
        if (i == 0)
            svc_session_stop(p->w.service, &x, obj_str(s, FIELD_ID), got_answer, &g);
        else
            svc_delete(p->w.service, &x, &(SvcTarget){.kind = &kind_session, .id = obj_str(s, FIELD_ID)},
                       got_answer, &g);
        got_wait(&p->w, &g);
        serve(p);
    }
    check_history(p, id, "09:00 started, 10:00 started, 11:00 started");
}

static void test_overlap__replace(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\",\"overlap_policy\":\"replace\"");
    advance(p, MINUTES(15));
    serve(p);
    CLEANUP(obj_freep) Obj *first = newest_session(p, id);
    advance(p, HOURS(1));
    serve(p);
    check_history(p, id, "09:00 started, 10:00 started");
    CLEANUP_GOT Got stopped = do_get(&p->w, p->w.alice, &kind_session, obj_cstr(first, FIELD_ID));
    assert_int_equal(obj_phase(stopped.obj), PHASE_STOPPING);
    CLEANUP_GOT Got agent = do_get(&p->w, p->w.alice, &kind_agent, p->agent);
    CLEANUP(obj_freep) Obj *second = newest_session(p, id);
    assert_string_equal(obj_cstr(agent.obj, AGENT_CURRENT_SESSION_ID), obj_cstr(second, FIELD_ID));
    end_session(p, id);
    /* Somebody else's session of the agent is left alone. */
    CLEANUP_GOT Got mine = do_start(&p->w, p->w.alice, "demo", p->agent, "mine");
    advance(p, HOURS(1));
    serve(p);
    check_history(p, id, "09:00 started, 10:00 started, 11:00 skipped");
    CLEANUP_GOT Got still = do_get(&p->w, p->w.alice, &kind_session, obj_cstr(mine.obj, FIELD_ID));
    assert_int_equal(obj_phase(still.obj), PHASE_PENDING);
}

static void test_overlap__suspending_drops_what_waits(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\",\"overlap_policy\":\"queue\"");
    advance(p, MINUTES(15));
    serve(p);
    advance(p, HOURS(1));
    serve(p);
    CLEANUP_GOT Got off = target_call(&p->w, p->w.alice, id, 's');
    end_session(p, id);
    serve(p);
    check_history(p, id, "09:00 started, 10:00 skipped");
}

/* ---- catching up ---- */

static void test_catch_up__none(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\",\"catch_up\":\"none\"");
    advance(p, MINUTES(15) + HOURS(2) + MINUTES(5));
    serve(p);
    check_history(p, id, "09:00 missed, 10:00 missed, 11:00 missed");
    check_next(p, id, "2026-03-02T12:00:00Z");
    advance(p, MINUTES(55) + 30 * USEC_PER_SEC); /* a little late is not missed */
    serve(p);
    check_history(p, id, "09:00 missed, 10:00 missed, 11:00 missed, 12:00 started");
}

static void test_catch_up__one(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\"");
    advance(p, MINUTES(15) + HOURS(2) + MINUTES(5));
    serve(p);
    check_history(p, id, "09:00 missed, 10:00 missed, 11:00 made up, started");
    assert_int_equal(count_sessions(p, id), 1);
}

static void test_catch_up__all(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\",\"catch_up\":\"all\"");
    advance(p, MINUTES(15) + HOURS(2) + MINUTES(5));
    serve(p);
    check_history(p, id, "09:00 made up, started, 10:00 made up, queued, 11:00 made up, queued");
    end_session(p, id);
    serve(p);
    check_history(p, id, "09:00 made up, started, 10:00 made up, started, 11:00 made up, queued");
    end_session(p, id);
    serve(p);
    end_session(p, id);
    assert_int_equal(serve(p), MINUTES(55));
    check_history(p, id, "09:00 made up, started, 10:00 made up, started, 11:00 made up, started");
    assert_int_equal(count_sessions(p, id), 3);
}

/* A rare schedule's times are found however long the absence was. */
static void test_catch_up__looks_back_as_far_as_it_must(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"0 12 1 1 *\",\"timezone\":\"Europe/Berlin\"");
    advance(p, HOURS(24) * 365 * 4);
    serve(p);
    check_history(p, id, "11:00 missed, 11:00 missed, 11:00 missed, 11:00 made up, started");
    check_next(p, id, "2031-01-01T11:00:00Z");
}

/* A long absence leaves a bounded history that says so. */
static void test_catch_up__is_bounded(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"* * * * *\"");
    advance(p, HOURS(24) * 800);
    serve(p);
    CLEANUP(obj_list_done) ObjList l = rows(p, &kind_schedule_run, RUN_SCHEDULE_ID, id);
    assert_int_equal(l.len, 100);
    assert_non_null(strstr(obj_cstr(l.ptr[0], RUN_MESSAGE), "earlier times"));
    assert_string_equal(obj_cstr(l.ptr[98], RUN_OUTCOME), "missed");
    assert_string_equal(obj_cstr(l.ptr[99], RUN_OUTCOME), "started");
}

/* ---- rights and failures ---- */

typedef struct Change {
    const char *id;
    Obj *changes;
    bool done;
} Change;

static int change_job(Tx *tx, void *arg, Err *err)
{
    Change *c = arg;
    return tx_update(tx, c->changes->kind, str_from(c->id), c->changes, NULL, NULL, err);
}

static void change_done(void *arg, int rc, const Err *err)
{
    Change *c = arg;
    assert_int_equal(rc, 0);
    c->done = true;
}

static void change_row(Place *p, const char *id, Obj *changes)
{
    Change c = {.id = id, .changes = changes};
    assert_int_equal(store_submit(p->w.store, STORE_WRITE, change_job, change_done, &c, NULL), 0);
    while (!c.done)
        loop_run_once(p->w.loop, true);
    obj_free(changes);
}

static void test_owner__without_rights_fails_and_is_recorded(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\"");
    Obj *o = obj_new(&kind_scheduled_session);
    obj_set_str(o, SCHEDULE_CREATED_BY_USER_ID, STR("mallory"));
    change_row(p, id, o);
    advance(p, MINUTES(15));
    serve(p);
    check_history(p, id, "09:00 failed");
    assert_int_equal(count_sessions(p, id), 0);
    CLEANUP(obj_list_done) ObjList l = rows(p, &kind_schedule_run, RUN_SCHEDULE_ID, id);
    assert_true(obj_str(l.ptr[0], RUN_MESSAGE).len > 0);
    check_next(p, id, "2026-03-02T10:00:00Z"); /* and it goes on */
    o = obj_new(&kind_scheduled_session);
    obj_set_str(o, SCHEDULE_CREATED_BY_USER_ID, STR("alice"));
    change_row(p, id, o);
    advance(p, HOURS(1));
    serve(p);
    check_history(p, id, "09:00 failed, 10:00 started");
}

static void test_owner__is_who_last_said_what_it_does(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\"");
    CLEANUP_GOT Got renamed =
        patch(&p->w, p->w.admin, id, "{\"name\":\"t\",\"enabled\":false,\"description\":\"d\"}");
    assert_string_equal(obj_cstr(renamed.obj, SCHEDULE_CREATED_BY_USER_ID), "alice");
    CLEANUP_GOT Got changed = patch(&p->w, p->w.admin, id, "{\"session_prompt\":\"Other.\"}");
    assert_string_equal(obj_cstr(changed.obj, SCHEDULE_CREATED_BY_USER_ID), "root");
}

static void test_fire__of_an_agent_that_is_gone_fails_each_waiting_run_once(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\",\"catch_up\":\"all\"");
    CLEANUP_GOT Got gone = do_delete(&p->w, p->w.alice, &kind_agent, p->agent);
    assert_int_equal(gone.err.code, 0);
    advance(p, HOURS(3));
    assert_int_equal(serve(p), MINUTES(15));
    check_history(p, id, "09:00 made up, failed, 10:00 made up, failed, 11:00 made up, failed");
}

static void test_fire__an_unknown_zone_suspends(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\"");
    Obj *o = obj_new(&kind_scheduled_session);
    obj_set_str(o, SCHEDULE_TIMEZONE, STR("Europe/Atlantis"));
    change_row(p, id, o);
    advance(p, MINUTES(15));
    assert_int_equal(serve(p), USEC_NEVER);
    check_history(p, id, "09:00 failed");
    CLEANUP_GOT Got g = target_call(&p->w, p->w.alice, id, 'g');
    assert_false(obj_bool(g.obj, SCHEDULE_ENABLED, true));
}

static void test_fire__a_clock_that_was_set_back_repeats_nothing(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\"");
    advance(p, MINUTES(20));
    serve(p);
    end_session(p, id);
    p->clock.wall_us = at("2026-03-02T08:50:00Z");
    CLEANUP_GOT Got g = patch(&p->w, p->w.alice, id, "{\"schedule\":\"0 * * * *\"}"); /* plans anew */
    check_next(p, id, "2026-03-02T09:00:00Z");
    advance(p, MINUTES(10));
    serve(p);
    check_history(p, id, "09:00 made up, started");
    check_next(p, id, "2026-03-02T10:00:00Z");
}

/* ---- replicas ---- */

typedef struct Replica {
    Store *store;
    Service *service;
    Looked l;
} Replica;

/* Two servers on one file fire at the same moment, again and again: one run each time, and one session. */
static void test_replicas__serve_each_time_once(void **state)
{
    enum { REPLICAS = 3, ROUNDS = 20 };
    Place *p = *state;
    Replica r[REPLICAS] = {0};
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\"");
    for (int i = 0; i < REPLICAS; i++) {
        open_store(p, p->w.loop, &r[i].store);
        r[i].service =
            service_new(p->w.loop, &(ServiceOptions){.store = r[i].store, .clock = &p->clock.clock});
    }
    for (int round = 0; round < ROUNDS; round++) {
        advance(p, round ? HOURS(1) : MINUTES(15));
        for (int i = 0; i < REPLICAS; i++) {
            r[i].l.done = false;
            svc_schedule_fire(r[i].service, str_from(id), on_fired, &r[i].l);
        }
        for (int i = 0; i < REPLICAS; i++) {
            while (!r[i].l.done)
                loop_run_once(p->w.loop, true);
            assert_true(r[i].l.err.code == ERR_OK || r[i].l.err.code == ERR_CONFLICT);
        }
        assert_int_equal(count_sessions(p, id), round + 1);
        end_session(p, id);
    }
    CLEANUP(obj_list_done) ObjList l = rows(p, &kind_schedule_run, RUN_SCHEDULE_ID, id);
    assert_int_equal(l.len, ROUNDS);
    for (size_t i = 0; i < l.len; i++)
        assert_string_equal(obj_cstr(l.ptr[i], RUN_OUTCOME), "started");
    for (int i = 0; i < REPLICAS; i++) {
        store_close(r[i].store);
        loop_run_once(p->w.loop, false);
        service_free(r[i].service);
    }
}

/* ---- by hand ---- */

static void test_trigger__starts_as_who_asks(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\",\"enabled\":false");
    CLEANUP_GOT Got g = target_call(&p->w, p->w.admin, id, 't');
    assert_int_equal(g.err.code, 0);
    assert_string_equal(obj_cstr(g.obj, SESSION_CREATED_BY_USER_ID), "root");
    assert_string_equal(obj_cstr(g.obj, SESSION_SCHEDULED_SESSION_ID), id);
    check_history(p, id, "manua started");
    CLEANUP_GOT Got busy = target_call(&p->w, p->w.alice, id, 't');
    assert_int_equal(busy.err.code, ERR_CONFLICT);
    CLEANUP_GOT Got queue = patch(&p->w, p->w.alice, id, "{\"overlap_policy\":\"queue\"}");
    CLEANUP_GOT Got waits = target_call(&p->w, p->w.alice, id, 't');
    assert_int_equal(waits.err.code, 0);
    assert_null(waits.obj);
    CLEANUP_GOT Got full = target_call(&p->w, p->w.alice, id, 't');
    assert_int_equal(full.err.code, ERR_CONFLICT);
    end_session(p, id);
    serve(p); /* it is suspended, but this was asked for */
    check_history(p, id, "manua started, manua started");
    CLEANUP_GOT Got policy = patch(&p->w, p->w.alice, id, "{\"overlap_policy\":\"replace\"}");
    CLEANUP_GOT Got third = target_call(&p->w, p->w.alice, id, 't');
    assert_int_equal(third.err.code, 0);
    assert_int_equal(count_sessions(p, id), 3);
}

static void test_trigger__repeated_under_one_key_starts_once(void **state)
{
    Place *p = *state;
    CLEANUP_FREE char *id = schedule(p, ",\"schedule\":\"@hourly\"");
    SvcCtx x = ctx(p->w.alice);
    x.request_id = STR("key-1");
    SvcTarget t = {
        .kind = &kind_scheduled_session, .id = str_from(id), .parent = STR("demo"), .project = STR("demo")};
    CLEANUP_GOT Got first = {0}, second = {0};
    svc_schedule_trigger(p->w.service, &x, &t, got_answer, &first);
    got_wait(&p->w, &first);
    svc_schedule_trigger(p->w.service, &x, &t, got_answer, &second);
    got_wait(&p->w, &second);
    assert_int_equal(second.err.code, 0);
    assert_string_equal(obj_cstr(first.obj, FIELD_ID), obj_cstr(second.obj, FIELD_ID));
    assert_int_equal(count_sessions(p, id), 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int run_schedule_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_schedule__runs_when_it_is_due),
        TEST(test_schedule__a_shell_gets_the_task_alone),
        TEST(test_schedule__without_an_agent_makes_a_plain_session),
        TEST(test_schedule__keeps_its_zone),
        TEST(test_schedule__suspended_rests_and_resumes_from_now),
        TEST(test_overlap__skip),
        TEST(test_overlap__queue),
        TEST(test_overlap__a_queued_run_is_woken_by_a_stop_and_by_a_deletion),
        TEST(test_overlap__replace),
        TEST(test_overlap__suspending_drops_what_waits),
        TEST(test_catch_up__none),
        TEST(test_catch_up__one),
        TEST(test_catch_up__all),
        TEST(test_catch_up__looks_back_as_far_as_it_must),
        TEST(test_catch_up__is_bounded),
        TEST(test_owner__without_rights_fails_and_is_recorded),
        TEST(test_owner__is_who_last_said_what_it_does),
        TEST(test_fire__of_an_agent_that_is_gone_fails_each_waiting_run_once),
        TEST(test_fire__an_unknown_zone_suspends),
        TEST(test_fire__a_clock_that_was_set_back_repeats_nothing),
        TEST(test_replicas__serve_each_time_once),
        TEST(test_trigger__starts_as_who_asks),
        TEST(test_trigger__repeated_under_one_key_starts_once),
    };
    return cmocka_run_group_tests_name("schedules", tests, NULL, NULL);
}
