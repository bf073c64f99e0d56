/* Lines of the Claude Code CLI and what becomes of them. */
#include "test-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include "claude-cli.h"
#include "claude-events.h"

static void test_claude_line__types(void **state)
{
    static const struct {
        const char *line;
        ClaudeType type;
    } cases[] = {
        {"{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}", CLAUDE_INIT},
        {"{\"type\":\"stream_event\",\"event\":{}}", CLAUDE_STREAM},
        {"{\"type\":\"assistant\",\"message\":{}}", CLAUDE_ASSISTANT},
        {"{\"type\":\"user\",\"message\":{}}", CLAUDE_USER},
        {"{\"subtype\":\"success\",\"type\":\"result\"}", CLAUDE_RESULT}, /* the order of keys varies */
        {"{\"type\":\"system\",\"subtype\":\"status\",\"status\":null}", CLAUDE_STATUS},
        {"{\"type\":\"system\",\"subtype\":\"api_retry\"}", CLAUDE_API_RETRY},
        {"{\"type\":\"system\",\"subtype\":\"task_notification\"}", CLAUDE_TASK_ENDED},
        {"{\"type\":\"rate_limit_event\"}", CLAUDE_RATE_LIMIT},
        {"{\"type\":\"control_request\",\"request_id\":\"1\",\"request\":{}}", CLAUDE_CONTROL_REQUEST},
        {"{\"type\":\"control_response\",\"response\":{}}", CLAUDE_CONTROL_RESPONSE},
        {"{\"type\":\"control_cancel_request\",\"request_id\":\"1\"}", CLAUDE_CONTROL_CANCEL},
        {"  {\"type\":\"result\"}\r", CLAUDE_RESULT},
        {"{\"type\":\"keep_alive\"}", CLAUDE_IGNORED},
        {"{\"type\":\"command_lifecycle\"}", CLAUDE_IGNORED},
        {"{\"type\":\"system\",\"subtype\":\"brand_new\"}", CLAUDE_IGNORED},
        {"{\"type\":7}", CLAUDE_IGNORED},
        {"{\"type\":\"result\"", CLAUDE_IGNORED},
        {"{\"type\":\"result\"} trailing", CLAUDE_IGNORED},
        {"Warning: something", CLAUDE_IGNORED},
        {"[]", CLAUDE_IGNORED},
        {"", CLAUDE_IGNORED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ClaudeLine l;
        claude_line_parse(str_from(cases[i].line), &l);
        if (l.type != cases[i].type)
            fail_msg("%s: type %d", cases[i].line, l.type);
        assert_true((l.type == CLAUDE_IGNORED) == (l.json == NULL));
        claude_line_done(&l);
    }
}

static void test_claude_line__what_a_tool_said(void **state)
{
    static const struct {
        const char *content, *text;
    } cases[] = {
        {"\"plain\"", "plain"},
        {"[{\"type\":\"text\",\"text\":\"a\"},{\"type\":\"text\",\"text\":\"b\"}]", "ab"},
        {"[{\"type\":\"image\",\"source\":{\"media_type\":\"image/png\",\"data\":\"AAAAAAAA\"}}]",
         "[image image/png 6 bytes]"},
        {"[{\"type\":\"tool_reference\"},{\"type\":\"text\",\"text\":\"x\"}]", "[tool_reference]x"},
        {"[7]", "[block]"},
        {"null", ""},
        {"{}", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *content = json_loads(cases[i].content, JSON_DECODE_ANY, NULL);
        CLEANUP_BUF Buf out = BUF_INIT(1024);
        buf_addz(&out, "");
        claude_result_text(content, &out);
        assert_string_equal(buf_str(&out).ptr, cases[i].text);
    }
}

/* ---- events ---- */

static Recorder r;
static ClaudeEvents ev;

static int setup(void **state)
{
    recorder_init(&r);
    claude_events_init(&ev, r.emitter);
    return 0;
}

static int teardown(void **state)
{
    claude_events_done(&ev);
    recorder_done(&r);
    return 0;
}

static void feed(const char *const *lines)
{
    for (; *lines; lines++) {
        ClaudeLine l;
        claude_line_parse(str_from(*lines), &l);
        claude_events_line(&ev, &l);
        claude_line_done(&l);
    }
}

#define STREAM(event) "{\"type\":\"stream_event\",\"parent_tool_use_id\":null,\"event\":" event "}"
#define START(id) STREAM("{\"type\":\"message_start\",\"message\":{\"id\":\"" id "\"}}")
#define BLOCK(i, block)                                                                                      \
    STREAM("{\"type\":\"content_block_start\",\"index\":" i ",\"content_block\":" block "}")
#define DELTA(i, delta) STREAM("{\"type\":\"content_block_delta\",\"index\":" i ",\"delta\":" delta "}")
#define STOP(i) STREAM("{\"type\":\"content_block_stop\",\"index\":" i "}")
#define END STREAM("{\"type\":\"message_stop\"}")
#define ASSISTANT(id, block)                                                                                 \
    "{\"type\":\"assistant\",\"parent_tool_use_id\":null,\"message\":{\"id\":\"" id                          \
    "\",\"model\":\"m\",\"content\":[" block "]}}"

static void test_claude_events__a_turn_as_it_is_streamed(void **state)
{
    static const char *const lines[] = {
        START("msg_1"),
        BLOCK("0", "{\"type\":\"thinking\",\"thinking\":\"\"}"),
        DELTA("0", "{\"type\":\"thinking_delta\",\"thinking\":\"let me see\"}"),
        DELTA("0", "{\"type\":\"signature_delta\",\"signature\":\"x\"}"),
        ASSISTANT("msg_1", "{\"type\":\"thinking\",\"thinking\":\"let me see\"}"),
        STOP("0"),
        BLOCK("1", "{\"type\":\"text\",\"text\":\"\"}"),
        DELTA("1", "{\"type\":\"text_delta\",\"text\":\"I do \"}"),
        DELTA("1", "{\"type\":\"text_delta\",\"text\":\"it.\"}"),
        ASSISTANT("msg_1", "{\"type\":\"text\",\"text\":\"I do it.\"}"),
        STOP("1"),
        BLOCK("2", "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"Bash\",\"input\":{}}"),
        DELTA("2", "{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"command\\\":\"}"),
        DELTA("2", "{\"type\":\"input_json_delta\",\"partial_json\":\"\\\"ls\\\"}\"}"),
        ASSISTANT(
            "msg_1",
            "{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"Bash\",\"input\":{\"command\":\"ls\"}}"),
        STOP("2"),
        STREAM("{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"}}"),
        END,
        "{\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"tool_result\",\"tool_use_id\":\"toolu_1\","
        "\"content\":\"a "
        "b\",\"is_error\":false}]}}",
        START("msg_2"),
        BLOCK("0", "{\"type\":\"text\",\"text\":\"\"}"),
        DELTA("0", "{\"type\":\"text_delta\",\"text\":\"Done.\"}"),
        STOP("0"),
        END,
        NULL,
    };
    recorder_begin(&r, "x");
    feed(lines);
    claude_events_turn_end(&ev, false);
    emit_run_finished(r.emitter, NULL);
    assert_shape(&r, "R((.)T(T.T.T)C(C.C.C)C=T(T.T)MR)");
    assert_string_equal(r.text.data, "I do it.Done.");
    assert_non_null(strstr(r.records.data, "\"input\":{\"command\":\"ls\"}"));
}

static void test_claude_events__messages_that_were_not_streamed(void **state)
{
    static const char *const lines[] = {
        ASSISTANT("msg_1", "{\"type\":\"text\",\"text\":\"whole\"}"),
        ASSISTANT("msg_1",
                  "{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"mcp__x__go\",\"input\":{\"a\":1}}"),
        ASSISTANT("msg_1",
                  "{\"type\":\"tool_use\",\"id\":\"t1\",\"name\":\"mcp__x__go\",\"input\":{\"a\":1}}"),
        NULL,
    };
    recorder_begin(&r, "x");
    feed(lines);
    claude_events_turn_end(&ev, false);
    emit_run_finished(r.emitter, NULL);
    assert_shape(&r, "R(T(T.T)C(C.C)MR)");
    assert_non_null(strstr(r.records.data, "\"tool\":\"go\""));
}

static void test_claude_events__sub_agents_show_their_tools_only(void **state)
{
    static const char *const lines[] = {
        "{\"type\":\"assistant\",\"parent_tool_use_id\":\"task1\",\"message\":{\"id\":\"m9\",\"content\":[{"
        "\"type\":\"text\","
        "\"text\":\"inner\"},{\"type\":\"tool_use\",\"id\":\"t9\",\"name\":\"Read\",\"input\":{}}]}}",
        "{\"type\":\"user\",\"parent_tool_use_id\":\"task1\",\"message\":{\"content\":[{\"type\":\"tool_"
        "result\","
        "\"tool_use_id\":\"t9\",\"content\":\"r\"}]}}",
        NULL,
    };
    recorder_begin(&r, "x");
    feed(lines);
    emit_run_finished(r.emitter, NULL);
    assert_shape(&r, "R(C(C.C)C=MR)");
    CLEANUP_JSON json_t *start = recorder_event(&r, "TOOL_CALL_START", 0);
    assert_string_equal(json_get_str(start, "parentMessageId"), "task1");
}

static void test_claude_events__what_the_cli_itself_says(void **state)
{
    static const char *const lines[] = {
        "{\"type\":\"assistant\",\"message\":{\"id\":\"s\",\"model\":\"<synthetic>\",\"content\":[{\"type\":"
        "\"text\",\"text\":"
        "\"API Error: 400\"}]}}",
        NULL,
    };
    recorder_begin(&r, "x");
    feed(lines);
    claude_events_turn_end(&ev, true); /* the error says it */
    assert_string_equal(buf_str(&r.text).ptr, "");
    feed(lines);
    claude_events_turn_end(&ev, false);
    assert_string_equal(r.text.data, "API Error: 400");
    emit_run_finished(r.emitter, NULL);
    assert_string_equal(r.flaw, "");
}

static void test_claude_events__retries_are_told_once_per_series(void **state)
{
    static const char *const retry[] = {
        "{\"type\":\"system\",\"subtype\":\"api_retry\",\"attempt\":1,\"max_retries\":10,\"retry_delay_ms\":"
        "500,"
        "\"error_status\":429,\"error\":\"rate_limit\"}",
        "{\"type\":\"system\",\"subtype\":\"api_retry\",\"attempt\":2,\"max_retries\":10,\"error_status\":"
        "429}",
        NULL,
    };
    static const char *const works_again[] = {START("m"), NULL};

    recorder_begin(&r, "x");
    recorder_clear(&r);
    feed(retry);
    assert_shape(&r, "XX");
    assert_records(&r, "system The model API failed with status 429 (rate_limit); the agent tries again (up "
                       "to 10 times).\n");
    feed(works_again);
    feed(retry);
    const char *second = strstr(r.records.data + 1, "system The model API failed");
    assert_non_null(second); /* another series */
    assert_null(strstr(second + 1, "system"));
    emit_run_finished(r.emitter, NULL);
}

static void test_claude_events__background_agents_are_waited_for_and_commands_are_not(void **state)
{
    static const char *const start[] = {
        "{\"type\":\"system\",\"subtype\":\"task_started\",\"task_id\":\"a\",\"task_type\":\"local_bash\"}",
        "{\"type\":\"system\",\"subtype\":\"task_started\",\"task_id\":\"b\",\"task_type\":\"local_agent\","
        "\"description\":\"d\"}",
        NULL,
    };
    static const char *const stop[] = {
        "{\"type\":\"system\",\"subtype\":\"task_notification\",\"task_id\":\"b\",\"status\":\"completed\","
        "\"summary\":\"s\"}",
        NULL,
    };
    feed(start);
    assert_int_equal(map_len(ev.agents), 1);
    feed(stop);
    assert_int_equal(map_len(ev.agents), 0);
    assert_non_null(strstr(r.records.data,
                           "{\"custom_event\":\"task:completed\",\"value\":{\"task_id\":\"b\",\"status\":"
                           "\"completed\",\"summary\":\"s\"}}"));
    feed(start);
    claude_events_reset(&ev);
    assert_int_equal(map_len(ev.agents), 0);
}

/* Every prefix of every line, and lines with members of other types, must leave a run that can be ended. */
static void test_claude_events__nonsense_leaves_the_order_whole(void **state)
{
    static const char *const lines[] = {
        STREAM("7"),
        STREAM("{\"type\":\"content_block_start\",\"content_block\":{\"type\":\"tool_use\"}}"),
        STREAM("{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":"
               "\"{\"}}"),
        STREAM("{\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\"}}"),
        STREAM("{\"type\":\"content_block_delta\",\"delta\":[]}"),
        STOP("5"),
        END,
        "{\"type\":\"assistant\",\"message\":7}",
        "{\"type\":\"assistant\",\"message\":{\"content\":[null,7,{\"type\":\"tool_use\",\"id\":7}]}}",
        "{\"type\":\"user\",\"message\":{\"content\":\"text\"}}",
        "{\"type\":\"user\",\"message\":{\"content\":[{\"type\":\"tool_result\"},null]}}",
        "{\"type\":\"system\",\"subtype\":\"task_started\"}",
        "{\"type\":\"system\",\"subtype\":\"api_retry\"}",
        "{\"type\":\"rate_limit_event\",\"rate_limit_info\":7}",
        NULL,
    };
    recorder_begin(&r, "x");
    feed(lines);
    claude_events_turn_end(&ev, false);
    emit_run_finished(r.emitter, NULL);
    assert_string_equal(r.flaw, "");
}

static void test_claude_events__results(void **state)
{
    ClaudeLine l;

    claude_line_parse(
        STR("{\"type\":\"result\",\"subtype\":\"error_during_execution\",\"is_error\":true,\"num_turns\":2,"
            "\"terminal_reason\":\"aborted_streaming\",\"uuid\":\"x\"}"),
        &l);
    CLEANUP_JSON json_t *aborted = claude_run_result(&l);
    assert_true(claude_result_is_aborted(&l));
    assert_false(claude_result_is_own(&l));
    assert_true(json_get_bool(aborted, "interrupted", false));
    assert_false(json_get_bool(aborted, "is_error", true));
    assert_int_equal(json_get_int(aborted, "num_turns", 0), 2);
    assert_null(json_object_get(aborted, "uuid"));
    claude_line_done(&l);
    claude_line_parse(STR("{\"type\":\"result\",\"origin\":{\"kind\":\"task-notification\"}}"), &l);
    assert_true(claude_result_is_own(&l));
    claude_line_done(&l);
}

/* ---- command line ---- */

static void join(const ClaudeArgv *a, Buf *out)
{
    for (size_t i = 0; a->argv[i]; i++)
        buf_addf(out, "%s|", a->argv[i]);
}

static void test_claude_cli__arguments(void **state)
{
    ClaudeStart s = {.path = "/c"};
    ClaudeArgv a;
    CLEANUP_BUF Buf text = BUF_INIT(4096);

    claude_argv(&s, &a);
    join(&a, &text);
    assert_string_equal(
        text.data, "/c|--output-format|stream-json|--verbose|--input-format|stream-json|"
                   "--include-partial-messages|--permission-mode|acceptEdits|--permission-prompt-tool|stdio|"
                   "--allowedTools|Read,Write,Bash,Glob,Grep,Edit,MultiEdit,WebSearch,Skill,Agent|"
                   "--setting-sources=|--strict-mcp-config|");
    claude_argv_done(&a);
    buf_clear(&text);
    s = (ClaudeStart){"/c", "be nice", "conv-1", "/s/mcp.json", "claude-x"};
    claude_argv(&s, &a);
    join(&a, &text);
    assert_non_null(strstr(text.data,
                           "--strict-mcp-config|--append-system-prompt|be nice|--model|claude-x|--mcp-config|"
                           "/s/mcp.json|--resume=conv-1|"));
    claude_argv_done(&a);
}

static const char *env_value(const ChildEnv *e, const char *name)
{
    for (unsigned long i = 0; i < e->n; i++)
        if (strncmp(e->vars[i], name, strlen(name)) == 0 && e->vars[i][strlen(name)] == '=')
            return e->vars[i] + strlen(name) + 1;
    return NULL;
}

static void test_claude_cli__environment_has_the_key_and_no_secret_of_ours(void **state)
{
    static const char *const hidden[] = {"BOT_TOKEN",         "BOT_TOKEN_FILE",       "AGUI_TOKEN",
                                         "AMBIENT_API_TOKEN", "AMBIENT_CP_TOKEN_URL", "CLAUDECODE",
                                         "LISTEN_FDS",        "INITIAL_PROMPT"};
    RunnerConfig c = {.workspace = (char[]){"/w"}, .max_tokens = 8000};
    ChildEnv e;

    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        setenv(hidden[i], "planted", 1);
    setenv("ANTHROPIC_API_KEY", "k", 1);
    setenv("ANTHROPIC_BASE_URL", "http://m", 1);
    setenv("DISABLE_AUTOUPDATER", "0", 1);
    claude_env(&c, &e);
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        assert_null(env_value(&e, hidden[i]));
    assert_string_equal(env_value(&e, "ANTHROPIC_API_KEY"), "k");
    assert_string_equal(env_value(&e, "ANTHROPIC_BASE_URL"), "http://m");
    assert_string_equal(env_value(&e, "PWD"), "/w");
    assert_string_equal(env_value(&e, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC"), "1");
    assert_string_equal(env_value(&e, "DISABLE_AUTOUPDATER"), "0"); /* the session's own choice */
    assert_string_equal(env_value(&e, "CLAUDE_CODE_MAX_OUTPUT_TOKENS"), "8000");
    child_env_done(&e);
    c.max_tokens = 4000; /* the API's default: nobody asked for it */
    claude_env(&c, &e);
    assert_null(env_value(&e, "CLAUDE_CODE_MAX_OUTPUT_TOKENS"));
    child_env_done(&e);
    child_env_init(&e, false);
    assert_null(env_value(&e, "ANTHROPIC_API_KEY"));
    assert_string_equal(env_value(&e, "ANTHROPIC_BASE_URL"), "http://m");
    child_env_done(&e);
    for (size_t i = 0; i < ARRAY_LEN(hidden); i++)
        unsetenv(hidden[i]);
}

static void test_claude_cli__lines_to_it(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    CLEANUP_JSON json_t *answer = json_pack("{s:s}", "behavior", "deny");

    claude_write_user(&b, "say \"hi\"\n</x>", "u-1");
    assert_string_equal(
        b.data, "{\"type\":\"user\",\"message\":{\"role\":\"user\",\"content\":\"say \\\"hi\\\"\\n</x>\"},"
                "\"parent_tool_use_id\":null,\"session_id\":\"default\",\"uuid\":\"u-1\"}\n");
    buf_clear(&b);
    claude_write_request(&b, "r1", "initialize");
    claude_write_request(&b, "r2", "interrupt");
    assert_string_equal(
        b.data, "{\"type\":\"control_request\",\"request_id\":\"r1\",\"request\":{\"subtype\":\"initialize\","
                "\"hooks\":null}}\n{\"type\":\"control_request\",\"request_id\":\"r2\",\"request\":{"
                "\"subtype\":\"interrupt\"}}\n");
    buf_clear(&b);
    claude_write_answer(&b, "q", answer);
    claude_write_refusal(&b, "q", "no");
    assert_string_equal(
        b.data, "{\"type\":\"control_response\",\"response\":{\"subtype\":\"success\",\"request_id\":\"q\","
                "\"response\":{\"behavior\":\"deny\"}}}\n{\"type\":\"control_response\",\"response\":{"
                "\"subtype\":\"error\",\"request_id\":\"q\",\"error\":\"no\"}}\n");
}

int run_claude_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_claude_line__types),
        cmocka_unit_test(test_claude_line__what_a_tool_said),
        cmocka_unit_test_setup_teardown(test_claude_events__a_turn_as_it_is_streamed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claude_events__messages_that_were_not_streamed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claude_events__sub_agents_show_their_tools_only, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_claude_events__what_the_cli_itself_says, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claude_events__retries_are_told_once_per_series, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            test_claude_events__background_agents_are_waited_for_and_commands_are_not, setup, teardown),
        cmocka_unit_test_setup_teardown(test_claude_events__nonsense_leaves_the_order_whole, setup, teardown),
        cmocka_unit_test(test_claude_events__results),
        cmocka_unit_test(test_claude_cli__arguments),
        cmocka_unit_test(test_claude_cli__environment_has_the_key_and_no_secret_of_ours),
        cmocka_unit_test(test_claude_cli__lines_to_it),
    };
    return cmocka_run_group_tests_name("claude", tests, NULL, NULL);
}
