/* Sessions that were deleted, and what runs without one. */
#include "test-session-rig.h"

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

/* The event came, but before anything of the session was known here: only a look at everything finds that. */
static void test_session__what_is_found_of_a_deleted_session_goes(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    relist(&r);
    make_running(&r, SID);
    FakeRun *hidden = map_remove(r.f.runs, STR(SID));
    fake_delete(&r.f, SID);
    settle(&r);
    map_put(r.f.runs, STR(SID), hidden);
    sessions_sweep(r.s);
    settle(&r);
    assert_null(fake_run(&r.f, SID));
    assert_int_equal(r.f.removes, 1);
}

int run_session_strays_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session__delete_removes_runner_and_workspace),
        cmocka_unit_test(test_session__delete_event_of_a_session_that_exists_is_not_believed),
        cmocka_unit_test(test_session__a_missed_delete_is_found_after_a_minute_of_doubt),
        cmocka_unit_test(test_session__young_strays_stay),
        cmocka_unit_test(test_session__an_empty_database_removes_nothing_before_three_lists_agree),
        cmocka_unit_test(test_session__a_database_that_comes_back_saves_all),
        cmocka_unit_test(test_session__leftovers_of_a_session_that_is_unknown_go),
        cmocka_unit_test(test_session__what_is_found_of_a_deleted_session_goes),
    };
    return cmocka_run_group_tests_name("session strays", tests, NULL, NULL);
}
