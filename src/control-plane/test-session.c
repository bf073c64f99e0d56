#include "test-fake.h"

#include <string.h>
#include "base/mem.h"
#include "json/json.h"
#include "session.h"

#define SID "sess-1"

typedef struct Event {
    ListLink link;
    Obj *o; /* NULL = deleted */
    char id[32];
} Event;

/* A control plane on the fake server and runtime; its stream of events is delivered by the test. */
typedef struct Rig {
    Fake f;
    Cache *cache;
    Sessions *s;
    List events;      /* on their way */
    bool deaf;        /* events get lost */
    unsigned relists; /* asked for and not yet done */
} Rig;

static void rig_event(void *arg, const char *id, const Obj *o)
{
    Rig *r = arg;
    if (r->deaf)
        return;
    Event *e = xnew(Event);
    snprintf(e->id, sizeof(e->id), "%s", id);
    e->o = o ? obj_dup(o) : NULL;
    list_push_back(&r->events, &e->link);
}

static void rig_change(void *arg, const char *id)
{
    Rig *r = arg;
    if (r->s)
        sessions_add(r->s, id);
}

static void rig_relist(void *arg)
{
    ((Rig *)arg)->relists++;
}

static void start_control_plane(Rig *r)
{
    static const int drop[] = {SESSION_PROMPT, -1};
    const CacheOptions co = {.kind = &kind_session, .clock = &r->f.clock.clock, .drop = drop};
    r->cache = cache_new(&co);
    const SessionsOptions o = {
        .api = &r->f.api,
        .runtime = &r->f.runtime,
        .cache = r->cache,
        .clock = &r->f.clock.clock,
        .place = "local",
        .relist = rig_relist,
        .arg = r,
    };
    r->s = sessions_new(&o);
}

static void drop_events(Rig *r)
{
    for (ListLink *l; (l = list_pop_front(&r->events));) {
        obj_free(LIST_ENTRY(l, Event, link)->o);
        free(LIST_ENTRY(l, Event, link));
    }
}

static void stop_control_plane(Rig *r)
{
    r->s = sessions_free(r->s);
    r->cache = cache_free(r->cache);
    drop_events(r);
}

static void rig_init(Rig *r)
{
    *r = (Rig){0};
    fake_init(&r->f);
    list_init(&r->events);
    r->f.on_event = rig_event;
    r->f.on_event_arg = r;
    r->f.runtime.on_change = rig_change;
    r->f.runtime.on_change_arg = r;
    start_control_plane(r);
}

static void rig_done(Rig *r)
{
    stop_control_plane(r);
    fake_done(&r->f);
}
#define CLEANUP_RIG CLEANUP(rig_done)

static bool deliver(Rig *r)
{
    ListLink *l = list_pop_front(&r->events);
    if (!l)
        return false;
    Event *e = LIST_ENTRY(l, Event, link);
    if (e->o)
        cache_put(r->cache, TAKE(e->o));
    else
        cache_delete(r->cache, str_from(e->id));
    sessions_add(r->s, e->id);
    free(e);
    return true;
}

static void relist_missing(void *arg, const char *id)
{
    sessions_add(((Rig *)arg)->s, id);
}

/* A complete list, all at once. */
static void relist(Rig *r)
{
    r->relists = 0;
    cache_list_begin(r->cache);
    MAP_FOREACH (r->f.sessions, it) {
        cache_put(r->cache, obj_dup(it.value));
        sessions_add(r->s, it.key.ptr);
    }
    cache_list_end(r->cache, true, relist_missing, r);
    sessions_listed(r->s);
}

static bool queue_due(Rig *r)
{
    return wq_next(sessions_queue(r->s)) <= clock_now(&r->f.clock.clock);
}

/* Runs all that can run without time passing. */
static void settle(Rig *r)
{
    for (int n = 0; n < 10000; n++) {
        if (queue_due(r))
            wq_turn(sessions_queue(r->s));
        else if (!deliver(r) && !fake_step(&r->f)) {
            if (r->relists == 0)
                return;
            relist(r);
        }
    }
    fail_msg("does not settle");
}

/* Lets time pass as the program's timer would see it. */
static void pass_time(Rig *r, Usec by)
{
    Usec end = clock_now(&r->f.clock.clock) + by;
    for (;;) {
        settle(r);
        Usec next = wq_next(sessions_queue(r->s));
        if (next > end)
            break;
        fake_clock_advance(&r->f.clock, next - clock_now(&r->f.clock.clock));
    }
    fake_clock_advance(&r->f.clock, end - clock_now(&r->f.clock.clock));
}

static void assert_phase(Rig *r, const char *id, Phase want)
{
    assert_string_equal(phase_name(fake_phase(&r->f, id)), phase_name(want));
}

static void restart_control_plane(Rig *r)
{
    stop_control_plane(r);
    fake_crash(&r->f);
    while (fake_step(&r->f))
        ; /* what was asked for and was not lost arrives late */
    drop_events(r);
    start_control_plane(r);
    relist(r);
}

/* The reason in a condition, or "". The text lives as long as the session on the server. */
static void assert_condition(Rig *r, const char *id, const char *type, const char *status, const char *reason)
{
    CLEANUP_JSON json_t *j = NULL;
    Err err = {0};
    assert_int_equal(json_parse(obj_str(fake_session(&r->f, id), SESSION_CONDITIONS), &j, &err), 0);
    for (size_t i = 0; i < json_array_size(j); i++) {
        const json_t *c = json_array_get(j, i);
        if (strcmp(json_get_str(c, "type"), type) != 0)
            continue;
        assert_string_equal(json_get_str(c, "status"), status);
        assert_string_equal(json_get_str(c, "reason"), reason);
        assert_non_null(json_get_str(c, "lastTransitionTime"));
        return;
    }
    fail_msg("no condition %s", type);
}

static void make_running(Rig *r, const char *id)
{
    fake_create(&r->f, id, PHASE_PENDING);
    settle(r);
    fake_ready(&r->f, id);
    settle(r);
    assert_phase(r, id, PHASE_RUNNING);
}

/* ---- the usual life ---- */

static void test_session__pending_becomes_creating_then_running(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    fake_create(&r.f, SID, PHASE_PENDING);
    settle(&r);
    assert_phase(&r, SID, PHASE_CREATING);
    const Obj *o = fake_session(&r.f, SID);
    assert_string_equal(obj_cstr(o, SESSION_KUBE_NAMESPACE), "local");
    assert_true(obj_has(o, SESSION_START_TIME));
    assert_condition(&r, SID, "ProcessSpawned", "True", "Spawned");
    assert_condition(&r, SID, "Ready", "False", "Starting");
    fake_ready(&r.f, SID);
    settle(&r);
    assert_phase(&r, SID, PHASE_RUNNING);
    assert_condition(&r, SID, "Ready", "True", "HealthCheckPassed");
    assert_int_equal(r.f.starts, 1);
    assert_int_equal(r.f.patches, 2);
}

/* What fails beside a runner is told, once, and changes no phase. */
static void test_session__a_helper_that_fails_is_a_condition(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    FakeRun *run = fake_run(&r.f, SID);
    run->seen.helper_reason = "CrashLoopBackOff";
    run->seen.helper_message = "credential-github cannot run";
    sessions_add(r.s, SID);
    settle(&r);
    assert_condition(&r, SID, "CredentialSidecarFailed", "True", "CrashLoopBackOff");
    assert_phase(&r, SID, PHASE_RUNNING);
    unsigned patches = r.f.patches;
    sessions_add(r.s, SID);
    settle(&r);
    assert_int_equal(r.f.patches, patches);
    run->seen.helper_reason = run->seen.helper_message = NULL;
    sessions_add(r.s, SID);
    settle(&r);
    assert_condition(&r, SID, "CredentialSidecarFailed", "False", "Running");
    assert_int_equal(r.f.patches, patches + 1);
}

static void test_session__a_new_session_needs_no_start(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    fake_create(&r.f, SID, PHASE_NONE);
    settle(&r);
    assert_phase(&r, SID, PHASE_CREATING);
}

static void test_session__exit_0_is_completed_and_others_failed(void **state)
{
    static const struct {
        RtEnd end;
        int code;
        Phase phase;
        const char *reason;
    } cases[] = {
        {RT_END_EXIT, 0, PHASE_COMPLETED, "Completed"},    {RT_END_EXIT, 3, PHASE_FAILED, "ProcessExited"},
        {RT_END_SIGNAL, 9, PHASE_FAILED, "ProcessExited"}, {RT_END_OOM, 9, PHASE_FAILED, "OOMKilled"},
        {RT_END_LOST, 0, PHASE_FAILED, "RunnerLost"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_RIG Rig r;
        rig_init(&r);
        make_running(&r, SID);
        fake_end(&r.f, SID, cases[i].end, cases[i].code);
        settle(&r);
        assert_phase(&r, SID, cases[i].phase);
        assert_condition(&r, SID, "Ready", "False", cases[i].reason);
        assert_true(obj_has(fake_session(&r.f, SID), SESSION_COMPLETION_TIME));
        assert_int_equal(fake_run(&r.f, SID)->seen.state, RT_ABSENT); /* retired, the workspace stays */
    }
}

static void test_session__a_runner_done_before_it_was_seen_running_is_completed(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    fake_create(&r.f, SID, PHASE_PENDING);
    settle(&r);
    fake_end(&r.f, SID, RT_END_EXIT, 0);
    settle(&r);
    assert_phase(&r, SID, PHASE_COMPLETED);
    assert_int_equal(r.f.starts, 1);
}

static void test_session__no_answer_to_health_checks_is_failed(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    fake_create(&r.f, SID, PHASE_PENDING);
    settle(&r);
    fake_run(&r.f, SID)->seen.unhealthy = true;
    sessions_add(r.s, SID);
    settle(&r);
    assert_int_equal(fake_run(&r.f, SID)->seen.state, RT_STOPPING);
    fake_end(&r.f, SID, RT_END_EXIT, 0);
    settle(&r);
    assert_phase(&r, SID, PHASE_FAILED);
    assert_condition(&r, SID, "Ready", "False", "HealthCheckTimeout");
    assert_condition(&r, SID, "RunnerStarted", "False", "HealthCheckTimeout");
}

static void test_session__an_adopted_runner_that_runs_is_not_failed_for_its_health(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    fake_run(&r.f, SID)->seen.state = RT_STARTING; /* as after a restart of the control plane */
    fake_run(&r.f, SID)->seen.unhealthy = true;
    sessions_add(r.s, SID);
    settle(&r);
    assert_phase(&r, SID, PHASE_RUNNING);
    assert_int_equal(r.f.stops, 0);
}

/* ---- stop ---- */

static void test_session__stop_ends_in_stopped_whatever_the_exit_status(void **state)
{
    static const RtEnd ends[] = {RT_END_EXIT, RT_END_SIGNAL, RT_END_LOST};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        CLEANUP_RIG Rig r;
        rig_init(&r);
        make_running(&r, SID);
        assert_true(fake_stop(&r.f, SID));
        settle(&r);
        assert_phase(&r, SID, PHASE_STOPPING); /* not before it is gone */
        assert_int_equal(fake_run(&r.f, SID)->seen.state, RT_STOPPING);
        fake_end(&r.f, SID, ends[i], 1);
        settle(&r);
        assert_phase(&r, SID, PHASE_STOPPED);
    }
}

static void test_session__stop_before_anything_was_started(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    fake_create(&r.f, SID, PHASE_PENDING);
    fake_stop(&r.f, SID);
    settle(&r);
    assert_phase(&r, SID, PHASE_STOPPED);
    assert_int_equal(r.f.starts, 0);
}

/* The session is stopped while its runner is being made: nothing may overwrite Stopping. */
static void test_session__stop_while_starting_ends_in_stopped(void **state)
{
    for (unsigned steps = 0; steps < 6; steps++) {
        CLEANUP_RIG Rig r;
        rig_init(&r);
        fake_create(&r.f, SID, PHASE_PENDING);
        deliver(&r);
        wq_turn(sessions_queue(r.s));
        for (unsigned i = 0; i < steps; i++)
            fake_step(&r.f);
        fake_stop(&r.f, SID);
        settle(&r);
        fake_end(&r.f, SID, RT_END_SIGNAL, 15);
        settle(&r);
        assert_phase(&r, SID, PHASE_STOPPED);
        assert_true(!fake_run(&r.f, SID) || !rt_alive(&fake_run(&r.f, SID)->seen));
    }
}

static void test_session__stopping_seen_first_after_a_restart_is_stopped(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    r.deaf = true;
    fake_stop(&r.f, SID);
    r.deaf = false;
    restart_control_plane(&r);
    settle(&r);
    fake_end(&r.f, SID, RT_END_EXIT, 0);
    settle(&r);
    assert_phase(&r, SID, PHASE_STOPPED);
}

/* ---- restart ---- */

static void test_session__start_after_an_end_makes_exactly_one_new_runner(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    for (int run = 1; run <= 3; run++) {
        fake_end(&r.f, SID, RT_END_EXIT, run % 2);
        settle(&r);
        assert_true(fake_start(&r.f, SID));
        settle(&r);
        fake_ready(&r.f, SID);
        settle(&r);
        assert_phase(&r, SID, PHASE_RUNNING);
        assert_int_equal(r.f.starts, run + 1);
        assert_int_equal(fake_run(&r.f, SID)->seen.run, run);
    }
}

static void test_session__an_earlier_run_that_lives_is_stopped_first(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    Obj *o = fake_session(&r.f, SID);
    obj_set_int(o, SESSION_SDK_RESTART_COUNT, 1); /* restarted behind our back */
    obj_set_str(o, SESSION_PHASE, STR("Pending"));
    fake_touch(&r.f, o);
    settle(&r);
    assert_int_equal(fake_run(&r.f, SID)->seen.state, RT_STOPPING);
    assert_int_equal(r.f.starts, 1);
    fake_end(&r.f, SID, RT_END_SIGNAL, 15);
    settle(&r);
    assert_int_equal(r.f.starts, 2);
    assert_phase(&r, SID, PHASE_CREATING);
}

static void test_session__a_runner_of_a_session_that_is_over_is_stopped(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    obj_set_str(fake_session(&r.f, SID), SESSION_PHASE, STR("Failed"));
    fake_touch(&r.f, fake_session(&r.f, SID));
    settle(&r);
    fake_end(&r.f, SID, RT_END_EXIT, 0);
    settle(&r);
    assert_phase(&r, SID, PHASE_FAILED);
    assert_int_equal(fake_run(&r.f, SID)->seen.state, RT_ABSENT);
}

/* ---- time limit ---- */

static void test_session__time_limit_stops_and_fails(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    fake_create(&r.f, SID, PHASE_PENDING);
    obj_set_int(fake_session(&r.f, SID), SESSION_TIMEOUT, 60);
    fake_touch(&r.f, fake_session(&r.f, SID));
    settle(&r);
    fake_ready(&r.f, SID);
    pass_time(&r, 59 * USEC_PER_SEC);
    assert_phase(&r, SID, PHASE_RUNNING);
    assert_int_equal(r.f.stops, 0);
    pass_time(&r, 2 * USEC_PER_SEC);
    assert_int_equal(r.f.stops, 1);
    fake_end(&r.f, SID, RT_END_EXIT, 0);
    settle(&r);
    assert_phase(&r, SID, PHASE_FAILED);
    assert_condition(&r, SID, "Ready", "False", "TimeLimitExceeded");
}

static void test_session__time_limit_survives_a_restart(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    obj_set_int(fake_session(&r.f, SID), SESSION_TIMEOUT, 60);
    fake_touch(&r.f, fake_session(&r.f, SID));
    settle(&r);
    fake_clock_advance(&r.f.clock, 30 * USEC_PER_SEC);
    restart_control_plane(&r);
    pass_time(&r, 31 * USEC_PER_SEC);
    restart_control_plane(&r);
    settle(&r);
    fake_end(&r.f, SID, RT_END_SIGNAL, 15);
    settle(&r);
    assert_condition(&r, SID, "Ready", "False", "TimeLimitExceeded");
}

/* ---- trouble ---- */

static void test_session__a_runner_that_cannot_be_made_fails_the_session(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    r.f.fail_ensure = ERR_NOT_FOUND;
    fake_create(&r.f, SID, PHASE_PENDING);
    settle(&r);
    assert_phase(&r, SID, PHASE_FAILED);
    assert_condition(&r, SID, "ProcessSpawned", "False", "SpawnFailed");
}

static void test_session__a_passing_trouble_is_retried_and_told(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    r.f.fail_ensure = ERR_IO;
    fake_create(&r.f, SID, PHASE_PENDING);
    pass_time(&r, 3 * USEC_PER_SEC);
    assert_false(obj_has(fake_session(&r.f, SID), SESSION_CONDITIONS)); /* failed at 0 and 2 s */
    pass_time(&r, 4 * USEC_PER_SEC);
    assert_condition(&r, SID, "Reconciled", "False", "ReconcileError");
    assert_int_equal(r.f.patches, 1);
    pass_time(&r, 120 * USEC_PER_SEC);
    assert_int_equal(r.f.patches, 1); /* the same news is not written again */
    r.f.fail_ensure = ERR_OK;
    pass_time(&r, 31 * USEC_PER_SEC);
    assert_phase(&r, SID, PHASE_CREATING);
    assert_condition(&r, SID, "Reconciled", "True", "Reconciled");
}

static void test_session__waits_for_a_place(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    r.f.capacity = 1;
    make_running(&r, SID);
    fake_create(&r.f, "sess-2", PHASE_PENDING);
    pass_time(&r, 60 * USEC_PER_SEC);
    assert_phase(&r, "sess-2", PHASE_PENDING);
    assert_int_equal(wq_failures(sessions_queue(r.s), STR("sess-2")), 0);
    fake_end(&r.f, SID, RT_END_EXIT, 0);
    pass_time(&r, 3 * USEC_PER_SEC);
    assert_phase(&r, "sess-2", PHASE_CREATING);
}

static void test_session__a_lost_status_write_is_repeated(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    r.f.fail_patch = ERR_UNAVAILABLE;
    fake_create(&r.f, SID, PHASE_PENDING);
    settle(&r);
    assert_phase(&r, SID, PHASE_PENDING);
    fake_ready(&r.f, SID);
    fake_end(&r.f, SID, RT_END_EXIT, 0);
    pass_time(&r, 300 * USEC_PER_SEC);
    r.f.fail_patch = ERR_OK;
    pass_time(&r, 40 * USEC_PER_SEC);
    assert_phase(&r, SID, PHASE_COMPLETED);
    assert_int_equal(r.f.starts, 1);
}

static void test_session__server_down_stops_nothing(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    relist(&r);
    make_running(&r, SID);
    r.f.fail_get = r.f.fail_patch = ERR_UNAVAILABLE;
    for (int i = 0; i < 60; i++) {
        sessions_add(r.s, SID);
        pass_time(&r, 60 * USEC_PER_SEC);
    }
    assert_int_equal(fake_run(&r.f, SID)->seen.state, RT_READY);
    assert_int_equal(r.f.stops + r.f.removes, 0);
}

static void test_session__a_phase_we_do_not_know_is_left_alone(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    obj_set_str(fake_session(&r.f, SID), SESSION_PHASE, STR("Hibernating"));
    fake_touch(&r.f, fake_session(&r.f, SID));
    settle(&r);
    assert_int_equal(fake_run(&r.f, SID)->seen.state, RT_READY);
    assert_int_equal(r.f.stops, 0);
}

/* ---- R9, R11 ---- */

static void test_session__r9_a_deleted_session_is_not_started_by_a_retry(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    r.f.fail_ensure = ERR_IO;
    fake_create(&r.f, SID, PHASE_PENDING);
    settle(&r);
    r.f.fail_ensure = ERR_OK;
    fake_delete(&r.f, SID);
    unsigned patches = r.f.patches;
    pass_time(&r, 300 * USEC_PER_SEC);
    assert_int_equal(r.f.starts, 0);
    assert_int_equal(r.f.patches, patches);
    assert_null(fake_run(&r.f, SID));
}

static void test_session__r11_a_retry_acts_on_the_newest_object(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    r.f.fail_ensure = ERR_IO;
    fake_create(&r.f, SID, PHASE_PENDING);
    settle(&r);
    Obj *o = fake_session(&r.f, SID);
    obj_set_str(o, SESSION_NAME, STR("version two"));
    obj_set_str(o, SESSION_PROMPT, STR("do the other thing"));
    fake_touch(&r.f, o);
    r.f.fail_ensure = ERR_OK;
    pass_time(&r, 10 * USEC_PER_SEC);
    assert_int_equal(r.f.starts, 1);
    assert_string_equal(fake_run(&r.f, SID)->name, "version two");
    assert_string_equal(fake_run(&r.f, SID)->prompt, "do the other thing");
}

/* ---- prompts ---- */

static void test_session__prompts_of_project_agent_and_session_are_joined(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    Obj *project = obj_new(&kind_project), *agent = obj_new(&kind_agent);
    obj_set_str(project, PROJECT_PROMPT, STR("be polite"));
    obj_set_str(agent, AGENT_PROMPT, STR("be quick"));
    map_put(r.f.projects, STR("demo"), project);
    map_put(r.f.agents, STR("agent-1"), agent);
    fake_create(&r.f, SID, PHASE_PENDING);
    obj_set_str(fake_session(&r.f, SID), SESSION_AGENT_ID, STR("agent-1"));
    settle(&r);
    assert_string_equal(fake_run(&r.f, SID)->prompt, "be polite\n\nbe quick\n\ndo it");
}

/* ---- deletion and strays ---- */

static void test_session__delete_removes_runner_and_workspace(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    relist(&r);
    make_running(&r, SID);
    fake_delete(&r.f, SID);
    settle(&r);
    assert_null(fake_run(&r.f, SID));
    assert_int_equal(r.f.removes, 1);
}

static void test_session__delete_event_of_a_session_that_exists_is_not_believed(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    relist(&r);
    make_running(&r, SID);
    cache_delete(r.cache, STR(SID));
    sessions_add(r.s, SID);
    settle(&r);
    assert_int_equal(fake_run(&r.f, SID)->seen.state, RT_READY);
    assert_non_null(cache_get(r.cache, STR(SID)));
}

static void test_session__a_missed_delete_is_found_after_a_minute_of_doubt(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    pass_time(&r, STRAYS_YOUNG);
    r.deaf = true;
    fake_delete(&r.f, SID);
    relist(&r);
    settle(&r);
    assert_non_null(fake_run(&r.f, SID)); /* one answer is not enough */
    pass_time(&r, STRAYS_CONFIRM + USEC_PER_SEC);
    assert_null(fake_run(&r.f, SID));
    assert_int_equal(r.f.removes, 1);
}

static void test_session__young_strays_stay(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    r.deaf = true;
    fake_delete(&r.f, SID);
    relist(&r);
    pass_time(&r, STRAYS_YOUNG - USEC_PER_SEC);
    assert_non_null(fake_run(&r.f, SID));
}

static void test_session__an_empty_database_removes_nothing_before_three_lists_agree(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    char id[16];
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "s%d", i);
        make_running(&r, id);
    }
    pass_time(&r, STRAYS_YOUNG);
    r.deaf = true;
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "s%d", i);
        fake_delete(&r.f, id);
    }
    for (int round = 1; round <= 2; round++) {
        relist(&r);
        settle(&r);
        pass_time(&r, 90 * USEC_PER_SEC);
        assert_int_equal(map_len(r.f.runs), 20);
        assert_true(strays_braked(sessions_strays(r.s)));
    }
    relist(&r);
    pass_time(&r, 2 * STRAYS_CONFIRM + USEC_PER_SEC);
    assert_int_equal(map_len(r.f.runs), 0);
}

static void test_session__a_database_that_comes_back_saves_all(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    char id[16];
    for (int i = 0; i < 20; i++) {
        snprintf(id, sizeof(id), "s%d", i);
        make_running(&r, id);
    }
    pass_time(&r, STRAYS_YOUNG);
    Map *full = r.f.sessions;
    r.f.sessions = map_new();
    relist(&r);
    pass_time(&r, 90 * USEC_PER_SEC);
    map_free(r.f.sessions);
    r.f.sessions = full;
    relist(&r);
    pass_time(&r, 300 * USEC_PER_SEC);
    assert_int_equal(r.f.removes + r.f.stops, 0);
    assert_int_equal(cache_len(r.cache), 20);
}

static void test_session__leftovers_of_a_session_that_is_unknown_go(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    make_running(&r, SID);
    r.deaf = true;
    fake_delete(&r.f, SID);
    r.deaf = false;
    restart_control_plane(&r);
    pass_time(&r, STRAYS_YOUNG);
    relist(&r);
    pass_time(&r, STRAYS_CONFIRM + 3 * USEC_PER_SEC);
    assert_null(fake_run(&r.f, SID));
}

/* ---- everything at once ---- */

enum { FUZZ_SESSIONS = 8 };

static void fuzz_id(char *id, size_t size, unsigned n)
{
    snprintf(id, size, "f%u", n % FUZZ_SESSIONS);
}

static void fuzz_user(Rig *r, const char *id)
{
    switch (fake_random(&r->f) % 6) {
    case 0:
        if (!fake_session(&r->f, id) && !fake_run(&r->f, id) && !map_has(r->f.started, str_from(id))) {
            map_put(r->f.started, str_from(id), r); /* ids are not used twice */
            fake_create(&r->f, id, fake_random(&r->f) % 2 ? PHASE_PENDING : PHASE_NONE);
        }
        break;
    case 1:
    case 2:
        fake_start(&r->f, id);
        break;
    case 3:
        fake_stop(&r->f, id);
        break;
    case 4:
        if (fake_random(&r->f) % 16 == 0)
            fake_delete(&r->f, id);
        break;
    default:
        if (fake_session(&r->f, id))
            fake_touch(&r->f, fake_session(&r->f, id));
        break;
    }
}

static void fuzz_world(Rig *r, const char *id)
{
    switch (fake_random(&r->f) % 4) {
    case 0:
        fake_ready(&r->f, id);
        break;
    case 1:
        fake_end(&r->f, id, (RtEnd)(1 + fake_random(&r->f) % 4), (int)(fake_random(&r->f) % 3));
        break;
    case 2:
        if (fake_run(&r->f, id) && rt_alive(&fake_run(&r->f, id)->seen) && fake_random(&r->f) % 4 == 0)
            fake_run(&r->f, id)->seen.unhealthy = true;
        break;
    default:
        break;
    }
}

static void fuzz_step(Rig *r)
{
    char id[16];
    fuzz_id(id, sizeof(id), fake_random(&r->f));
    switch (fake_random(&r->f) % 12) {
    case 0:
        fuzz_user(r, id);
        break;
    case 1:
        fuzz_world(r, id);
        break;
    case 2:
        fake_clock_advance(&r->f.clock, fake_random(&r->f) % USEC_PER_SEC);
        break;
    case 3:
        r->deaf = fake_random(&r->f) % 4 == 0; /* a stream that is broken for a while */
        break;
    case 4:
        if (fake_random(&r->f) % 64 == 0)
            restart_control_plane(r);
        else if (fake_random(&r->f) % 8 == 0)
            relist(r);
        break;
    case 5:
    case 6:
        deliver(r);
        break;
    case 7:
    case 8:
        fake_step_any(&r->f);
        break;
    default:
        if (queue_due(r))
            wq_turn(sessions_queue(r->s));
        break;
    }
}

/* The world calms down: no failures, all runners that were asked to stop end, the stream is whole. */
static void fuzz_calm(Rig *r)
{
    char id[16];
    r->deaf = false;
    r->f.fail_percent = 0;
    for (int round = 0; round < 12; round++) {
        for (unsigned i = 0; i < FUZZ_SESSIONS; i++) {
            fuzz_id(id, sizeof(id), i);
            if (fake_run(&r->f, id) && fake_run(&r->f, id)->seen.state == RT_STOPPING)
                fake_end(&r->f, id, RT_END_SIGNAL, 15);
            fake_ready(&r->f, id);
        }
        relist(r);
        pass_time(r, 70 * USEC_PER_SEC);
    }
}

static void fuzz_check(Rig *r, const char *id)
{
    const FakeRun *run = fake_run(&r->f, id);
    const Obj *o = fake_session(&r->f, id);
    if (!o) {
        assert_null(run); /* nothing is left of a deleted session */
        return;
    }
    Phase phase = obj_phase(o);
    if (phase_is_terminal(phase)) {
        assert_true(!run || run->seen.state == RT_ABSENT);
        assert_true(obj_has(o, SESSION_COMPLETION_TIME));
    } else {
        assert_string_equal(phase_name(phase), "Running");
        assert_int_equal(run->seen.state, RT_READY);
        assert_int_equal(run->seen.run, obj_int(o, SESSION_SDK_RESTART_COUNT, 0));
    }
}

static void test_session__fuzz_events_crashes_and_retries_converge(void **state)
{
    for (unsigned seed = 1; seed <= 400; seed++) {
        CLEANUP_RIG Rig r;
        rig_init(&r);
        r.f.seed = seed * 7919;
        r.f.fail_percent = seed % 3 * 10;
        relist(&r);
        for (int i = 0; i < 3000; i++)
            fuzz_step(&r);
        fuzz_calm(&r);
        char id[16];
        for (unsigned i = 0; i < FUZZ_SESSIONS; i++) {
            fuzz_id(id, sizeof(id), i);
            fuzz_check(&r, id);
        }
    }
}

int run_session_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session__pending_becomes_creating_then_running),
        cmocka_unit_test(test_session__a_helper_that_fails_is_a_condition),
        cmocka_unit_test(test_session__a_new_session_needs_no_start),
        cmocka_unit_test(test_session__exit_0_is_completed_and_others_failed),
        cmocka_unit_test(test_session__a_runner_done_before_it_was_seen_running_is_completed),
        cmocka_unit_test(test_session__no_answer_to_health_checks_is_failed),
        cmocka_unit_test(test_session__an_adopted_runner_that_runs_is_not_failed_for_its_health),
        cmocka_unit_test(test_session__stop_ends_in_stopped_whatever_the_exit_status),
        cmocka_unit_test(test_session__stop_before_anything_was_started),
        cmocka_unit_test(test_session__stop_while_starting_ends_in_stopped),
        cmocka_unit_test(test_session__stopping_seen_first_after_a_restart_is_stopped),
        cmocka_unit_test(test_session__start_after_an_end_makes_exactly_one_new_runner),
        cmocka_unit_test(test_session__an_earlier_run_that_lives_is_stopped_first),
        cmocka_unit_test(test_session__a_runner_of_a_session_that_is_over_is_stopped),
        cmocka_unit_test(test_session__time_limit_stops_and_fails),
        cmocka_unit_test(test_session__time_limit_survives_a_restart),
        cmocka_unit_test(test_session__a_runner_that_cannot_be_made_fails_the_session),
        cmocka_unit_test(test_session__a_passing_trouble_is_retried_and_told),
        cmocka_unit_test(test_session__waits_for_a_place),
        cmocka_unit_test(test_session__a_lost_status_write_is_repeated),
        cmocka_unit_test(test_session__server_down_stops_nothing),
        cmocka_unit_test(test_session__a_phase_we_do_not_know_is_left_alone),
        cmocka_unit_test(test_session__r9_a_deleted_session_is_not_started_by_a_retry),
        cmocka_unit_test(test_session__r11_a_retry_acts_on_the_newest_object),
        cmocka_unit_test(test_session__prompts_of_project_agent_and_session_are_joined),
        cmocka_unit_test(test_session__delete_removes_runner_and_workspace),
        cmocka_unit_test(test_session__delete_event_of_a_session_that_exists_is_not_believed),
        cmocka_unit_test(test_session__a_missed_delete_is_found_after_a_minute_of_doubt),
        cmocka_unit_test(test_session__young_strays_stay),
        cmocka_unit_test(test_session__an_empty_database_removes_nothing_before_three_lists_agree),
        cmocka_unit_test(test_session__a_database_that_comes_back_saves_all),
        cmocka_unit_test(test_session__leftovers_of_a_session_that_is_unknown_go),
        cmocka_unit_test(test_session__fuzz_events_crashes_and_retries_converge),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
