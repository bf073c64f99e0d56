#include "test-internal.h"

#include "service-internal.h"

static Obj *row(const Kind *k, int field, const char *value)
{
    Obj *o = obj_new(k);
    obj_set_str(o, field, str_from(value));
    return o;
}

static void test_prompt__empty_sections_are_left_out(void **state)
{
    CLEANUP(obj_freep) Obj *agent = row(&kind_agent, AGENT_NAME, "solo");
    CLEANUP_BUF Buf out = BUF_INIT(4096);
    obj_set_str(agent, AGENT_PROJECT_ID, STR("demo"));
    obj_set_str(agent, AGENT_PROMPT, STR(""));
    PromptInput in = {.agent = agent, .peers = &(ObjList){0}, .inbox = &(ObjList){0}};
    assert_int_equal(prompt_build(&in, &out, NULL), 0);
    assert_string_equal(out.data, "# Agent Start: solo\n\nYou are **solo**, working in project **demo**.\n");
}

static void test_prompt__peers_cannot_break_their_table(void **state)
{
    CLEANUP(obj_freep) Obj *agent = row(&kind_agent, AGENT_NAME, "a");
    CLEANUP(obj_freep) Obj *peer = row(&kind_agent, AGENT_NAME, "p|q");
    CLEANUP_BUF Buf out = BUF_INIT(4096);
    obj_set_str(peer, AGENT_DESCRIPTION, STR("one\ntwo\r|"));
    Obj *rows[] = {peer};
    PromptInput in = {
        .agent = agent, .peers = &(ObjList){.ptr = rows, .len = 1}, .peers_total = 8, .inbox = &(ObjList){0}};
    assert_int_equal(prompt_build(&in, &out, NULL), 0);
    assert_non_null(strstr(out.data, "\n| p\\|q | one two \\| |\n"));
    assert_non_null(strstr(out.data, "(and 7 more)"));
}

static void test_prompt__an_inbox_is_taken_from_its_front(void **state)
{
    CLEANUP(obj_freep) Obj *large = row(&kind_inbox_message, INBOX_BODY, "");
    char *body = xcalloc(1, PROMPT_INBOX_BYTES_MAX / 2 + 1);
    memset(body, 'x', PROMPT_INBOX_BYTES_MAX / 2);
    obj_set_str(large, INBOX_BODY, str_from(body));
    free(body);
    Obj *rows[] = {large, large, large};
    assert_int_equal(prompt_inbox_fits(&(ObjList){.ptr = rows, .len = 3}), 2);
    assert_int_equal(prompt_inbox_fits(&(ObjList){.ptr = rows, .len = 2}), 2);
    assert_int_equal(prompt_inbox_fits(&(ObjList){0}), 0);
}

static void test_prompt__too_large_is_an_error(void **state)
{
    CLEANUP(obj_freep) Obj *agent = row(&kind_agent, AGENT_NAME, "a");
    CLEANUP_BUF Buf out = BUF_INIT(64);
    Err err = {0};
    PromptInput in = {.agent = agent,
                      .peers = &(ObjList){0},
                      .inbox = &(ObjList){0},
                      .task = STR("a task that is longer than sixty-four bytes, all told and counted")};
    assert_int_equal(prompt_build(&in, &out, &err), -ERR_TOO_LARGE);
}

int run_prompt_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prompt__empty_sections_are_left_out),
        cmocka_unit_test(test_prompt__peers_cannot_break_their_table),
        cmocka_unit_test(test_prompt__an_inbox_is_taken_from_its_front),
        cmocka_unit_test(test_prompt__too_large_is_an_error),
    };
    return cmocka_run_group_tests_name("prompt", tests, NULL, NULL);
}
