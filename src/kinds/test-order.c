#include "test-internal.h"

static void test_order__columns_and_directions(void **state)
{
    OrderBy o;
    assert_int_equal(order_by_parse(&kind_session, STR("name asc, created_at desc,sessions.phase"), &o, NULL),
                     0);
    assert_int_equal(o.n, 3);
    assert_int_equal(o.items[0].field, SESSION_NAME);
    assert_false(o.items[0].desc);
    assert_int_equal(o.items[1].field, FIELD_CREATED_AT);
    assert_true(o.items[1].desc);
    assert_int_equal(o.items[2].field, SESSION_PHASE);
    assert_int_equal(order_by_parse(&kind_session, STR(" "), &o, NULL), 0);
    assert_int_equal(o.n, 0);
}

static void test_order__refusals(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"name  asc", "bad order value 'name  asc'"},
        {"name ASC", "bad order value 'name ASC'"},
        {"name asc desc", "bad order value 'name asc desc'"},
        {"name,", "bad order value ''"},
        {",name", "bad order value ''"},
        {"name\tasc", "name\tasc is not a valid field name"},
        {"foo", "foo is not a valid field name"},
        {"foo desc", "foo is not a valid field name"},
        {"users.name", "users.name is not a valid field name"},
        {"(select/**/pg_sleep(9))", "(select/**/pg_sleep(9)) is not a valid field name"},
        {"run_id", "run_id is not a valid field name"},
        {"name,name,name,name,name,name,name,name,name", "orderBy takes at most 8 columns"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        OrderBy o = {.n = 77};
        Err err = {0};
        assert_int_equal(order_by_parse(&kind_session, str_from(cases[i].text), &o, &err), -ERR_BAD_REQUEST);
        assert_string_equal(err.msg, cases[i].reason);
        assert_int_equal(o.n, 77); /* untouched */
    }
}

int run_order_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order__columns_and_directions),
        cmocka_unit_test(test_order__refusals),
    };
    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
