#include "test-session-rig.h"

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
    assert_condition(&r, SID, "Ready", "False", "Timeout");
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
    assert_condition(&r, SID, "Ready", "False", "Timeout");
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

static void test_session__a_place_that_does_not_answer_is_told_at_once(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    r.f.fail_ensure = ERR_UNAVAILABLE;
    r.f.unreachable = true;
    fake_create(&r.f, SID, PHASE_PENDING);
    settle(&r);
    assert_phase(&r, SID, PHASE_PENDING);
    assert_condition(&r, SID, "KubernetesUnavailable", "True", "NoAnswer");
    pass_time(&r, 3600 * USEC_PER_SEC);
    assert_int_equal(r.f.patches, 1);
    assert_phase(&r, SID, PHASE_PENDING);
    r.f.unreachable = false;
    r.f.fail_ensure = ERR_OK;
    sessions_add(r.s, SID); /* as the runtime does when it hears from its place */
    settle(&r);
    assert_phase(&r, SID, PHASE_CREATING);
    assert_condition(&r, SID, "KubernetesUnavailable", "False", "Answered");
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
        cmocka_unit_test(test_session__a_place_that_does_not_answer_is_told_at_once),
        cmocka_unit_test(test_session__waits_for_a_place),
        cmocka_unit_test(test_session__a_lost_status_write_is_repeated),
        cmocka_unit_test(test_session__server_down_stops_nothing),
        cmocka_unit_test(test_session__a_phase_we_do_not_know_is_left_alone),
        cmocka_unit_test(test_session__r9_a_deleted_session_is_not_started_by_a_retry),
        cmocka_unit_test(test_session__r11_a_retry_acts_on_the_newest_object),
        cmocka_unit_test(test_session__prompts_of_project_agent_and_session_are_joined),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
