#include "test-internal.h"

static void test_names__go_both_ways(void **state)
{
    static const char *const names[] = {"",         "Pending", "Creating",  "Running",
                                        "Stopping", "Stopped", "Completed", "Failed"};
    for (int p = 0; p < _PHASE_MAX; p++) {
        assert_string_equal(phase_name((Phase)p), names[p]);
        assert_int_equal(phase_parse(str_from(names[p])), p);
    }
    assert_int_equal(phase_parse(STR("running")), _PHASE_INVALID);
    assert_int_equal(phase_parse(STR("Running ")), _PHASE_INVALID);
    assert_string_equal(phase_name(_PHASE_INVALID), "");
    assert_string_equal(phase_name(_PHASE_MAX), "");
}

static void test_obj_phase__null_is_none(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    assert_int_equal(obj_phase(o), PHASE_NONE);
    obj_set_str(o, SESSION_PHASE, STR("Running"));
    assert_int_equal(obj_phase(o), PHASE_RUNNING);
}

/* One letter per target phase: N P C R S(topping) D(stopped) O(completed) F; the row is the phase it starts
 * in. */
static void test_status_moves__are_exactly_the_contract(void **state)
{
    static const char letters[] = "NPCRSDOF";
    static const char *const allowed[_PHASE_MAX] = {
        [PHASE_NONE] = "NCRFD",   [PHASE_PENDING] = "PCRFD", [PHASE_CREATING] = "CRFD",
        [PHASE_RUNNING] = "RSOF", [PHASE_STOPPING] = "SDF",  [PHASE_STOPPED] = "D",
        [PHASE_COMPLETED] = "O",  [PHASE_FAILED] = "F",
    };
    for (int from = 0; from < _PHASE_MAX; from++)
        for (int to = 0; to < _PHASE_MAX; to++)
            assert_int_equal(phase_status_move_ok((Phase)from, (Phase)to),
                             strchr(allowed[from], letters[to]) != NULL);
    assert_false(phase_status_move_ok(_PHASE_INVALID, PHASE_RUNNING));
    assert_false(phase_status_move_ok(PHASE_RUNNING, _PHASE_MAX));
}

static void test_start_and_stop__by_phase(void **state)
{
    static const bool start[_PHASE_MAX] = {
        [PHASE_NONE] = true, [PHASE_STOPPED] = true, [PHASE_COMPLETED] = true, [PHASE_FAILED] = true};
    static const bool stop[_PHASE_MAX] = {
        [PHASE_PENDING] = true, [PHASE_CREATING] = true, [PHASE_RUNNING] = true, [PHASE_STOPPING] = true};
    static const bool terminal[_PHASE_MAX] = {
        [PHASE_STOPPED] = true, [PHASE_COMPLETED] = true, [PHASE_FAILED] = true};
    static const bool active[_PHASE_MAX] = {
        [PHASE_PENDING] = true, [PHASE_CREATING] = true, [PHASE_RUNNING] = true};
    for (int p = 0; p < _PHASE_MAX; p++) {
        assert_int_equal(phase_can_start((Phase)p), start[p]);
        assert_int_equal(phase_can_stop((Phase)p), stop[p]);
        assert_int_equal(phase_is_terminal((Phase)p), terminal[p]);
        assert_int_equal(phase_is_active((Phase)p), active[p]);
    }
    assert_false(phase_can_start(_PHASE_INVALID));
}

int run_phase_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names__go_both_ways),
        cmocka_unit_test(test_obj_phase__null_is_none),
        cmocka_unit_test(test_status_moves__are_exactly_the_contract),
        cmocka_unit_test(test_start_and_stop__by_phase),
    };
    return cmocka_run_group_tests_name("phase", tests, NULL, NULL);
}
