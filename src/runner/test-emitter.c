#include "test-internal.h"

#include <stdio.h>

static Recorder r;

static int setup(void **state)
{
    recorder_init(&r);
    return 0;
}

static int teardown(void **state)
{
    recorder_done(&r);
    return 0;
}

static void test_emitter__text_and_tools_in_order(void **state)
{
    Emitter *e = r.emitter;

    recorder_begin(&r, "make it");
    emit_text(e, STR("I "));
    emit_text(e, STR("make it."));
    emit_tool_start(e, STR("t1"), STR("mcp__files__Write"), STR(""));
    emit_tool_args(e, STR("t1"), STR("{\"a\""));
    emit_tool_args(e, STR("t1"), STR(":1}"));
    emit_tool_ready(e, STR("t1"));
    emit_tool_result(e, STR("t1"), STR("done"), false);
    emit_text(e, STR("There."));
    emit_text_end(e);
    emit_run_finished(e, NULL);
    assert_shape(&r, "R(T(T.T.T)C(C.C.C)C=T(T.T)MR)");
    assert_records(
        &r,
        "lifecycle {\"event\":\"run_started\",\"run_id\":\"run-1\",\"seq\":7}\n"
        "assistant I make it.\n"
        "tool_use {\"tool\":\"Write\",\"name\":\"Write\",\"tool_call_id\":\"t1\",\"input\":{\"a\":1},"
        "\"arguments\":{\"a\":1}}\n"
        "tool_result {\"tool_call_id\":\"t1\",\"result\":\"done\",\"content\":\"done\",\"is_error\":false}\n"
        "assistant There.\n"
        "MESSAGES_SNAPSHOT [{\"role\":\"user\",\"content\":\"make it\"},{\"role\":\"assistant\",\"content\":"
        "\"I make it.\"},{\"role\":\"assistant\",\"content\":\"There.\"}]\n"
        "lifecycle {\"event\":\"run_finished\",\"run_id\":\"run-1\",\"seq\":7}\n");
}

/* A run without an answer has nothing to repeat, and of a long one the end is what counts. */
static void test_emitter__the_recorded_snapshot_is_bounded(void **state)
{
    recorder_begin(&r, "say nothing");
    emit_run_finished(r.emitter, NULL);
    assert_null(strstr(r.records.data, "MESSAGES_SNAPSHOT"));
    recorder_begin(&r, "talk");
    CLEANUP_FREE char *much = xmalloc(100001);
    for (int i = 0; i < 4; i++) {
        memset(much, 'a' + i, 100000);
        emit_text(r.emitter, (Str){much, 100000});
        emit_text_end(r.emitter);
    }
    emit_run_finished(r.emitter, NULL);
    const char *snapshot =
        strstr(r.records.data, "MESSAGES_SNAPSHOT [{\"role\":\"assistant\",\"content\":\"cccc");
    assert_non_null(snapshot);
    assert_non_null(strstr(snapshot, "dddd"));
}

static void test_emitter__the_members_that_readers_use(void **state)
{
    static const struct {
        const char *type, *json;
    } want[] = {
        {"TEXT_MESSAGE_CONTENT", "\"delta\":\"hi\",\"thread_id\":\"thread-1\",\"run_id\":\"run-1\"}"},
        {"TOOL_CALL_START",
         "{\"type\":\"TOOL_CALL_START\",\"timestamp\":1500,\"toolCallId\":\"t1\",\"toolCallName\":"
         "\"Bash\",\"parentMessageId\":\"p1\",\"thread_id\":\"thread-1\",\"run_id\":\"run-1\"}"},
        {"TOOL_CALL_END",
         "{\"type\":\"TOOL_CALL_END\",\"timestamp\":1500,\"toolCallId\":\"t1\",\"thread_id\":\"thread-1\","
         "\"run_id\":\"run-1\",\"error\":\"no\"}"},
        {"TOOL_CALL_RESULT",
         "{\"type\":\"TOOL_CALL_RESULT\",\"timestamp\":1500,\"messageId\":\"t1-result\",\"toolCallId\":"
         "\"t1\",\"content\":"
         "\"no\",\"role\":\"tool\",\"isError\":true,\"thread_id\":\"thread-1\",\"run_id\":\"run-1\"}"},
        {"RUN_FINISHED",
         "{\"type\":\"RUN_FINISHED\",\"timestamp\":1500,\"threadId\":\"thread-1\",\"runId\":\"run-1\"}"},
    };
    Emitter *e = r.emitter;

    recorder_begin(&r, "x");
    emit_text(e, STR("hi"));
    emit_tool_start(e, STR("t1"), STR("Bash"), STR("p1"));
    emit_tool_result(e, STR("t1"), STR("no"), true);
    emit_run_finished(e, NULL);
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        if (str_find(buf_str(&r.events), str_from(want[i].json)) < 0)
            fail_msg("no %s as wanted in\n%s", want[i].json, r.events.data);
    assert_shape(&r, "R(T(T.T)C(C)C=MR)");
}

static void test_emitter__everything_open_is_closed_at_the_end(void **state)
{
    for (int error = 0; error < 2; error++) {
        recorder_clear(&r);
        recorder_begin(&r, "x");
        emit_tool_start(r.emitter, STR("t1"), STR("Bash"), STR(""));
        emit_tool_args(r.emitter, STR("t1"), STR("{\"half"));
        emit_tool_start(r.emitter, STR("t2"), STR("Read"), STR(""));
        emit_tool_ready(r.emitter, STR("t2"));
        emit_text(r.emitter, STR("and then"));
        if (error)
            emit_run_error(r.emitter, "it broke", "exit_3");
        else
            emit_run_finished(r.emitter, NULL);
        assert_shape(&r, error ? "R(C(C.C(T(T.C)C)T)MR!" : "R(C(C.C(T(T.C)C)T)MR)");
        assert_non_null(strstr(r.events.data, "\"error\":\"interrupted\""));
        assert_non_null(strstr(r.records.data, "\"input\":{\"raw\":\"{\\\"half\"}"));
        assert_non_null(strstr(r.records.data, "assistant and then\n"));
    }
    assert_non_null(strstr(r.records.data,
                           "error {\"error\":\"it broke\",\"message\":\"it broke\",\"code\":\"exit_3\","
                           "\"seq\":7}\n"));
}

static void test_emitter__reasoning_is_no_record(void **state)
{
    recorder_begin(&r, "x");
    emit_reasoning(r.emitter, STR("hm"));
    emit_reasoning(r.emitter, STR("m"));
    emit_text(r.emitter, STR("yes"));
    emit_reasoning(r.emitter, STR("more"));
    emit_tool_start(r.emitter, STR("t"), STR("Bash"), STR(""));
    emit_tool_result(r.emitter, STR("t"), STR(""), false);
    emit_run_finished(r.emitter, NULL);
    assert_shape(&r, "R((..)T(T.T)(.)C(C)C=MR)");
    assert_null(strstr(r.records.data, "hm"));
    CLEANUP_JSON json_t *snapshot = recorder_event(&r, "MESSAGES_SNAPSHOT", 0);
    const json_t *m = json_array_get(json_get_arr(snapshot, "messages"), 1);
    assert_string_equal(json_get_str(m, "role"), "reasoning");
    assert_string_equal(json_get_str(m, "content"), "hmm");
}

static void test_emitter__outside_of_a_run_nothing_but_notices(void **state)
{
    Emitter *e = r.emitter;
    CLEANUP_JSON json_t *value = json_object();

    for (int i = 0; i < 2; i++) {
        emit_text(e, STR("lost"));
        emit_text_end(e);
        emit_reasoning(e, STR("lost"));
        emit_tool_start(e, STR("t"), STR("lost"), STR(""));
        emit_tool_args(e, STR("t"), STR("lost"));
        emit_tool_result(e, STR("t"), STR("lost"), false);
        emit_run_finished(e, NULL);
        emit_run_error(e, "lost", "x");
        emit_custom(e, "live:only", value, false);
        assert_shape(&r, "");
        assert_records(&r, "");
        emit_notice(e, "by the way");
        emit_custom(e, "task:completed", value, true);
        assert_records(&r, "system by the way\nsystem {\"custom_event\":\"task:completed\",\"value\":{}}\n");
        recorder_begin(&r, "x");
        emit_run_finished(e, NULL);
        recorder_clear(&r);
    }
}

static void test_emitter__agents_that_break_the_order_are_put_right(void **state)
{
    Emitter *e = r.emitter;

    recorder_begin(&r, "x");
    emit_tool_args(e, STR("nobody"), STR("{}"));
    emit_tool_ready(e, STR("nobody"));
    emit_tool_start(e, STR(""), STR("noid"), STR(""));
    emit_tool_start(e, STR("t"), STR("Bash"), STR(""));
    emit_tool_start(e, STR("t"), STR("Bash"), STR("")); /* twice */
    emit_tool_ready(e, STR("t"));
    emit_tool_args(e, STR("t"), STR("late"));
    emit_tool_ready(e, STR("t"));
    emit_tool_result(e, STR("t"), STR("ok"), false);
    emit_tool_result(e, STR("t"), STR("again"), false); /* of a call that is over: the result alone */
    emit_text(e, STR(""));
    emit_text_end(e);
    recorder_begin(&r, "y"); /* a run inside a run */
    emit_run_finished(e, NULL);
    assert_shape(&r, "R(C(C)C=C=MR!R(MR)");
}

static void test_emitter__a_call_that_waits_for_the_user_ends_without_result(void **state)
{
    recorder_begin(&r, "x");
    emit_tool_start(r.emitter, STR("t"), STR("AskUserQuestion"), STR(""));
    emit_tool_halt(r.emitter, STR("t"));
    CLEANUP_JSON json_t *result = json_pack("{s:{}}", "requires_action");
    emit_run_finished(r.emitter, result);
    assert_shape(&r, "R(C(C)MR)");
    assert_non_null(strstr(r.records.data, "\"requires_action\":true"));
    recorder_clear(&r);
    recorder_begin(&r, "the answer");
    emit_tool_result(r.emitter, STR("t"), STR("the answer"), false);
    emit_run_finished(r.emitter, NULL);
    assert_shape(&r, "R(C=MR)");
}

static void test_emitter__long_things_are_split_for_readers_and_cut_for_the_log(void **state)
{
    CLEANUP_BUF Buf big = BUF_INIT(8 << 20);

    while (big.len < 5 << 20)
        buf_addz(&big, "0123456789\xe2\x82\xac");
    recorder_begin(&r, big.data);
    emit_text(r.emitter, buf_str(&big));
    emit_tool_start(r.emitter, STR("t"), STR("Bash"), STR(""));
    emit_tool_args(r.emitter, STR("t"), STR("{\"x\":\""));
    emit_tool_args(r.emitter, STR("t"), buf_str(&big));
    emit_tool_args(r.emitter, STR("t"), STR("\"}"));
    emit_tool_result(r.emitter, STR("t"), buf_str(&big), false);
    emit_run_finished(r.emitter, NULL);
    assert_string_equal(r.flaw, "");
    assert_int_equal(r.text.len, big.len); /* nothing is lost live */
    Str rest = buf_str(&r.records);
    while (rest.len > 0) {
        Str line = str_cut(&rest, '\n');
        assert_true(line.len < 4194304 - 1024);
    }
    assert_non_null(strstr(r.records.data, "... (truncated)"));
}

static void test_emitter__results_in_the_log_have_2000_characters(void **state)
{
    CLEANUP_BUF Buf text = BUF_INIT(1 << 16);

    for (int i = 0; i < 2001; i++)
        buf_addz(&text, "\xc3\xa4");
    recorder_begin(&r, "x");
    emit_tool_result(r.emitter, STR("t"), buf_str(&text), false);
    emit_run_finished(r.emitter, NULL);
    const char *at = strstr(r.records.data, "\"result\":\"");
    assert_non_null(at);
    assert_memory_equal(at + 10 + 4000, "... (truncated)\"", 16);
}

static void test_emitter__secrets_do_not_pass(void **state)
{
    Emitter *e = r.emitter;
    CLEANUP_JSON json_t *value = json_pack("{s:[s]}", "x", "in a list: key-of-the-model");

    redact_set_add(r.redact, "KEY", STR("key-of-the-model"));
    recorder_begin(&r, "x");
    emit_text(e, STR("it is key-of"));
    emit_text(e, STR("-the-model, yes"));
    emit_reasoning(e, STR("key-of-the-mod"));
    emit_reasoning(e, STR("el"));
    emit_tool_start(e, STR("t"), STR("Bash"), STR(""));
    emit_tool_args(e, STR("t"), STR("{\"c\":\"echo key-of-th"));
    emit_tool_args(e, STR("t"), STR("e-model\"}"));
    emit_tool_result(e, STR("t"), STR("key-of-the-model\n"), false);
    emit_custom(e, "c", value, true);
    emit_notice(e, "key-of-the-model");
    emit_run_error(e, "bad key: key-of-the-model", "401");
    assert_null(strstr(r.events.data, "key-of-the-model"));
    assert_null(strstr(r.records.data, "key-of-the-model"));
    assert_string_equal(r.text.data, "it is [REDACTED_KEY], yes");
    assert_non_null(strstr(r.records.data, "echo [REDACTED_KEY]"));
    assert_shape(&r, "R(T(T.T.T)(.)C(C.C.C)C=XMR!");
}

static void test_emitter__state_is_shown_at_the_start(void **state)
{
    RunInput in = {0};
    RunInputFault f;

    assert_int_equal(run_input_parse(STR("{\"messages\":[],\"state\":{\"a\":1}}"), &in, &f), 0);
    emit_run_started(r.emitter, &(EmitRun){.thread_id = "t", .input = &in});
    emit_run_finished(r.emitter, NULL);
    assert_shape(&r, "R(SMR)");
    run_input_done(&in);
}

static void test_emitter__runs_that_nobody_asked_for(void **state)
{
    emit_run_started(r.emitter, &(EmitRun){.thread_id = "t", .run_id = "r2", .parent_run_id = "r1"});
    emit_text(r.emitter, STR("the background task is done"));
    emit_run_finished(r.emitter, NULL);
    assert_shape(&r, "R(T(T.T)MR)");
    CLEANUP_JSON json_t *ev = recorder_event(&r, "RUN_STARTED", 0);
    assert_string_equal(json_get_str(ev, "parentRunId"), "r1");
    assert_null(json_object_get(ev, "input"));
    assert_non_null(strstr(r.records.data, "\"seq\":0}"));
}

int run_emitter_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_emitter__text_and_tools_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_emitter__the_recorded_snapshot_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_emitter__the_members_that_readers_use, setup, teardown),
        cmocka_unit_test_setup_teardown(test_emitter__everything_open_is_closed_at_the_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_emitter__reasoning_is_no_record, setup, teardown),
        cmocka_unit_test_setup_teardown(test_emitter__outside_of_a_run_nothing_but_notices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_emitter__agents_that_break_the_order_are_put_right, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_emitter__a_call_that_waits_for_the_user_ends_without_result,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_emitter__long_things_are_split_for_readers_and_cut_for_the_log,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_emitter__results_in_the_log_have_2000_characters, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_emitter__secrets_do_not_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(test_emitter__state_is_shown_at_the_start, setup, teardown),
        cmocka_unit_test_setup_teardown(test_emitter__runs_that_nobody_asked_for, setup, teardown),
    };
    return cmocka_run_group_tests_name("emitter", tests, NULL, NULL);
}
