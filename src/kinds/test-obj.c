#include "test-internal.h"
#include "base/mem.h"

static void test_values__are_absent_then_set_then_null(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    assert_false(obj_has(o, SESSION_NAME));
    assert_null(obj_str(o, SESSION_NAME).ptr);
    assert_string_equal(obj_cstr(o, SESSION_NAME), "");
    assert_int_equal(obj_int(o, SESSION_TIMEOUT, -7), -7);
    assert_true(obj_double(o, SESSION_LLM_TEMPERATURE, 0.5) == 0.5);
    assert_true(obj_bool(o, SESSION_INTERACTIVE, true));
    assert_int_equal(obj_time(o, SESSION_START_TIME).us, 0);

    obj_set_str(o, SESSION_NAME, STR("one"));
    obj_set_str(o, SESSION_NAME, STR("two"));
    obj_set_int(o, SESSION_TIMEOUT, 60);
    obj_set_double(o, SESSION_LLM_TEMPERATURE, 0.7);
    obj_set_bool(o, SESSION_INTERACTIVE, false);
    obj_set_time(o, SESSION_START_TIME, (WallUsec){5});
    assert_string_equal(obj_cstr(o, SESSION_NAME), "two");
    assert_int_equal(obj_int(o, SESSION_TIMEOUT, -7), 60);
    assert_true(obj_double(o, SESSION_LLM_TEMPERATURE, 0.5) == 0.7);
    assert_false(obj_bool(o, SESSION_INTERACTIVE, true));
    assert_int_equal(obj_time(o, SESSION_START_TIME).us, 5);

    obj_set_null(o, SESSION_NAME);
    assert_false(obj_has(o, SESSION_NAME));
    assert_int_equal(o->v[SESSION_NAME].state, V_NULL);
    obj_clear(o, SESSION_NAME);
    assert_int_equal(o->v[SESSION_NAME].state, V_ABSENT);
}

static void test_set_str__may_be_given_its_own_value(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    obj_set_str(o, SESSION_NAME, STR("a long enough name"));
    obj_set_str(o, SESSION_NAME, str_slice(obj_str(o, SESSION_NAME), 2, 6));
    assert_string_equal(obj_cstr(o, SESSION_NAME), "long");
}

static void test_dup__is_equal_and_independent(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    obj_set_str(o, SESSION_NAME, STR("n"));
    obj_set_int(o, SESSION_TIMEOUT, 3);
    obj_set_null(o, SESSION_PROMPT);
    CLEANUP(obj_freep) Obj *copy = obj_dup(o);
    for (int i = 0; i < (int)kind_session.n_fields; i++) {
        assert_true(obj_value_equal(o, copy, i));
        assert_int_equal(o->v[i].state, copy->v[i].state);
    }
    obj_set_str(copy, SESSION_NAME, STR("m"));
    assert_string_equal(obj_cstr(o, SESSION_NAME), "n");
}

static void test_equal__looks_at_every_type(void **state)
{
    CLEANUP(obj_freep) Obj *a = obj_new(&kind_session);
    CLEANUP(obj_freep) Obj *b = obj_new(&kind_session);
    obj_set_null(a, SESSION_NAME);
    assert_true(obj_value_equal(a, b, SESSION_NAME)); /* null and absent: no value */
    obj_set_str(a, SESSION_NAME, STR(""));
    assert_false(obj_value_equal(a, b, SESSION_NAME));
    obj_set_int(a, SESSION_TIMEOUT, 0);
    assert_false(obj_value_equal(a, b, SESSION_TIMEOUT));
    obj_set_int(b, SESSION_TIMEOUT, 1);
    assert_false(obj_value_equal(a, b, SESSION_TIMEOUT));
    obj_set_double(a, SESSION_LLM_TEMPERATURE, 1);
    obj_set_double(b, SESSION_LLM_TEMPERATURE, 1);
    assert_true(obj_value_equal(a, b, SESSION_LLM_TEMPERATURE));
    obj_set_bool(a, SESSION_INTERACTIVE, true);
    obj_set_bool(b, SESSION_INTERACTIVE, false);
    assert_false(obj_value_equal(a, b, SESSION_INTERACTIVE));
    obj_set_time(a, SESSION_START_TIME, (WallUsec){1});
    obj_set_time(b, SESSION_START_TIME, (WallUsec){2});
    assert_false(obj_value_equal(a, b, SESSION_START_TIME));
}

static void test_apply__overlays_and_tells_whether_it_changed(void **state)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    CLEANUP(obj_freep) Obj *patch = obj_new(&kind_session);
    obj_set_str(o, SESSION_NAME, STR("n"));
    obj_set_str(o, SESSION_PROMPT, STR("p"));
    assert_false(obj_apply(o, patch));
    obj_set_str(patch, SESSION_NAME, STR("n"));
    obj_set_null(patch, SESSION_REPO_URL);
    assert_false(obj_apply(o, patch));
    obj_set_null(patch, SESSION_PROMPT);
    obj_set_int(patch, SESSION_TIMEOUT, 9);
    assert_true(obj_apply(o, patch));
    assert_string_equal(obj_cstr(o, SESSION_NAME), "n");
    assert_false(obj_has(o, SESSION_PROMPT));
    assert_int_equal(obj_int(o, SESSION_TIMEOUT, 0), 9);
    assert_false(obj_apply(o, patch));
}

static void test_free__takes_null_and_lists(void **state)
{
    assert_null(obj_free(NULL));
    ObjList l = {.ptr = xcalloc(2, sizeof(Obj *)), .len = 2, .cap = 2};
    l.ptr[0] = obj_new(&kind_user);
    l.ptr[1] = obj_new(&kind_user);
    obj_set_str(l.ptr[0], USER_NAME, STR("x"));
    obj_list_done(&l);
    assert_null(l.ptr);
    assert_int_equal(l.len, 0);
    obj_list_done(&l);
}

int run_obj_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values__are_absent_then_set_then_null),
        cmocka_unit_test(test_set_str__may_be_given_its_own_value),
        cmocka_unit_test(test_dup__is_equal_and_independent),
        cmocka_unit_test(test_equal__looks_at_every_type),
        cmocka_unit_test(test_apply__overlays_and_tells_whether_it_changed),
        cmocka_unit_test(test_free__takes_null_and_lists),
    };
    return cmocka_run_group_tests_name("obj", tests, NULL, NULL);
}
