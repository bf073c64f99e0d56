#include "test-internal.h"

static void test_run_input__what_counts_as_one(void **state)
{
    static const struct {
        const char *payload, *text;
        bool plain;
    } cases[] = {
        {"hello", "hello", true},
        {"{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}", "hi", false},
        {" {\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"user\",\"content\":\"b\"}]}", "b",
         false},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"},{\"type\":\"text\",\"text\":"
         "\"t\"}]}]}",
         "t", false},
        {"{\"messages\":[]}", "{\"messages\":[]}", true},
        {"{\"messages\":[{\"role\":\"user\"}]}", NULL, true},
        {"{\"messages\":[{\"content\":\"x\"}]}", NULL, true},
        {"{\"messages\":\"x\"}", NULL, true},
        {"{\"messages\":[1]}", NULL, true},
        {"{\"a\":1}", NULL, true},
        {"[1]", NULL, true},
        {"{broken", NULL, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        RunInput in = {0};
        run_input_from_payload(str_from(cases[i].payload), &in);
        assert_string_equal(in.text, cases[i].text ? cases[i].text : cases[i].payload);
        assert_true(strlen(in.run_id) > 0);
        assert_null(in.thread_id);
        if (cases[i].plain)
            assert_int_equal(json_array_size(in.messages), 1);
        run_input_done(&in);
    }
}

static void test_run_input__ids_under_both_names(void **state)
{
    RunInput in = {0};
    RunInputFault f;

    assert_int_equal(
        run_input_parse(
            STR("{\"threadId\":\"t\",\"run_id\":\"r\",\"parentRunId\":\"p\",\"messages\":[{\"id\":"
                "\"m\",\"content\":\"x\"},{\"content\":\"y\"}],\"state\":{\"a\":1},\"tools\":[],"
                "\"context\":{},\"forwarded_props\":{}}"),
            &in, &f),
        0);
    assert_string_equal(in.thread_id, "t");
    assert_string_equal(in.run_id, "r");
    assert_string_equal(in.parent_run_id, "p");
    assert_string_equal(json_get_str(json_array_get(in.messages, 0), "id"), "m");
    assert_int_equal(strlen(json_get_str(json_array_get(in.messages, 1), "id")), 36);
    assert_non_null(in.state);
    assert_null(in.context); /* an object is ignored */
    run_input_done(&in);
}

static void test_run_input__faults(void **state)
{
    static const struct {
        const char *body, *type, *loc;
    } cases[] = {
        {"", "json_invalid", NULL},
        {"{", "json_invalid", NULL},
        {"[]", "model_attributes_type", NULL},
        {"{}", "missing", "messages"},
        {"{\"messages\":{}}", "list_type", "messages"},
        {"{\"messages\":[1]}", "list_type", "messages"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        RunInput in = {0};
        RunInputFault f = {0};
        assert_int_equal(run_input_parse(str_from(cases[i].body), &in, &f), -ERR_INVALID);
        assert_string_equal(f.type, cases[i].type);
        if (cases[i].loc)
            assert_string_equal(f.loc, cases[i].loc);
        else
            assert_null(f.loc);
        assert_null(in.run_id);
    }
}

int run_run_input_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run_input__what_counts_as_one),
        cmocka_unit_test(test_run_input__ids_under_both_names),
        cmocka_unit_test(test_run_input__faults),
    };
    return cmocka_run_group_tests_name("run-input", tests, NULL, NULL);
}
