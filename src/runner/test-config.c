/* Settings, the state files. */
#include "test-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/file.h"
#include "config.h"
#include "state.h"

static int load(RunnerConfig *c, Err *err)
{
    char *argv[] = {(char[]){"ambient-runner"}, NULL};

    return config_load(c, 1, argv, err);
}

static void test_config__defaults(void **state)
{
    RunnerConfig c;

    assert_int_equal(load(&c, NULL), 0);
    assert_string_equal(c.session_id, "unknown");
    assert_string_equal(c.host, "127.0.0.1"); /* nobody from outside without a token */
    assert_int_equal(c.port, 8001);
    assert_false(c.grpc);
    assert_int_equal(c.mode, MODE_AUTO);
    assert_true(c.idle == USEC_NEVER && c.timeout == USEC_NEVER);
    config_free(&c);
}

static void test_config__servers_beside_us_join_the_agents(void **state)
{
    RunnerConfig c;
    Err err = {0};

    setenv("MCP_CONFIG", "{\"mcpServers\":{\"mine\":{\"command\":\"m\"}},\"more\":1}", 1);
    setenv("AMBIENT_MCP_URL", "http://localhost:8090", 1);
    setenv("CREDENTIAL_MCP_URLS",
           "{\"github\":\"http://localhost:8091/\",\"jira\":\"http://localhost:8092\"}", 1);
    assert_int_equal(load(&c, NULL), 0);
    assert_string_equal(
        c.mcp_config,
        "{\"mcpServers\":{\"mine\":{\"command\":\"m\"},"
        "\"ambient\":{\"type\":\"sse\",\"url\":\"http://localhost:8090/sse\"},"
        "\"github\":{\"type\":\"sse\",\"url\":\"http://localhost:8091/sse\"},"
        "\"mcp-atlassian\":{\"type\":\"sse\",\"url\":\"http://localhost:8092/sse\"}},\"more\":1}");
    config_free(&c);
    setenv("MCP_CONFIG", "[]", 1);
    assert_int_equal(load(&c, &err), -ERR_USAGE);
    unsetenv("AMBIENT_MCP_URL");
    unsetenv("CREDENTIAL_MCP_URLS");
    assert_int_equal(load(&c, NULL), 0);
    assert_string_equal(c.mcp_config, "[]"); /* the agent's own business */
    config_free(&c);
    unsetenv("MCP_CONFIG");
    setenv("CREDENTIAL_MCP_URLS", "{", 1);
    assert_int_equal(load(&c, &err), -ERR_USAGE);
    unsetenv("CREDENTIAL_MCP_URLS");
}

static void test_config__secrets_leave_the_environment(void **state)
{
    RunnerConfig c;

    setenv("BOT_TOKEN", "bot-secret", 1);
    setenv("AGUI_TOKEN", "agui-secret", 1);
    const char *bot = getenv("BOT_TOKEN");
    assert_int_equal(load(&c, NULL), 0);
    assert_true(secret_equals(c.bot_token, STR("bot-secret")));
    assert_true(secret_equals(c.agui_token, STR("agui-secret")));
    assert_string_equal(c.host, "0.0.0.0");
    assert_null(getenv("BOT_TOKEN"));
    assert_null(getenv("AGUI_TOKEN"));
    assert_string_equal(bot, ""); /* nor does /proc/<pid>/environ show it */
    config_free(&c);
}

static void test_config__times_and_modes(void **state)
{
    static const struct {
        const char *name, *value;
        RunMode mode;
        Usec idle, timeout;
    } cases[] = {
        {"INTERACTIVE", "true", MODE_INTERACTIVE, USEC_NEVER, USEC_NEVER},
        {"INTERACTIVE", "false", MODE_ONE_SHOT, USEC_NEVER, USEC_NEVER},
        {"INTERACTIVE", "", MODE_AUTO, USEC_NEVER, USEC_NEVER},
        {"AMBIENT_RUN_ONCE", "true", MODE_ONE_SHOT, USEC_NEVER, USEC_NEVER},
        {"IDLE_TIMEOUT", "90", MODE_AUTO, 90 * USEC_PER_SEC, USEC_NEVER},
        {"IDLE_TIMEOUT", "1m30s", MODE_AUTO, 90 * USEC_PER_SEC, USEC_NEVER},
        {"IDLE_TIMEOUT", "0", MODE_AUTO, USEC_NEVER, USEC_NEVER},
        {"AMBIENT_INACTIVITY_TIMEOUT_SEC", "7", MODE_AUTO, 7 * USEC_PER_SEC, USEC_NEVER},
        {"TIMEOUT", "3600", MODE_AUTO, USEC_NEVER, 3600 * USEC_PER_SEC},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        RunnerConfig c;
        setenv(cases[i].name, cases[i].value, 1);
        assert_int_equal(load(&c, NULL), 0);
        unsetenv(cases[i].name);
        assert_int_equal(c.mode, cases[i].mode);
        assert_true(c.idle == cases[i].idle);
        assert_true(c.timeout == cases[i].timeout);
        config_free(&c);
    }
}

static void test_config__bad_values_are_named(void **state)
{
    static const struct {
        const char *name, *value;
    } cases[] = {
        {"IDLE_TIMEOUT", "soon"},
        {"TIMEOUT", "-1"},
        {"AGUI_PORT", "70000"},
        {"AGUI_PORT", "x"},
        {"INITIAL_PROMPT_FILE", "/nowhere"},
        {"SHUTDOWN_GRACE", "8"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        RunnerConfig c;
        Err err = {0};
        setenv(cases[i].name, cases[i].value, 1);
        assert_true(load(&c, &err) < 0);
        unsetenv(cases[i].name);
        if (!strstr(err.msg, cases[i].name))
            fail_msg("%s: \"%s\"", cases[i].name, err.msg);
    }
    RunnerConfig c;
    setenv("AMBIENT_GRPC_ENABLED", "true", 1);
    assert_true(load(&c, NULL) < 0); /* no SESSION_ID */
    setenv("SESSION_ID", "s1", 1);
    assert_int_equal(load(&c, NULL), 0);
    assert_true(c.grpc);
    config_free(&c);
    unsetenv("AMBIENT_GRPC_ENABLED");
    unsetenv("SESSION_ID");
}

static void test_state__survives_and_belongs_to_one_session(void **state)
{
    char dir[] = "/tmp/test-runner-XXXXXX";
    Err err = {0};

    assert_non_null(mkdtemp(dir));
    assert_int_equal(state_load_handled(dir, "s1"), 0);
    assert_int_equal(state_save_handled(dir, "s1", 42, &err), 0);
    assert_int_equal(state_load_handled(dir, "s1"), 42);
    assert_int_equal(state_load_handled(dir, "s2"), 0);
    CLEANUP_FREE char *path = path_join(dir, "runner_state.json");
    assert_int_equal(
        file_write_atomic(path, STR("{\"session_id\":\"s1\",\"last_handled_seq\":-5}"), 0600, NULL), 0);
    assert_int_equal(state_load_handled(dir, "s1"), 0);
    assert_int_equal(file_write_atomic(path, STR("garbage"), 0600, NULL), 0);
    assert_int_equal(state_load_handled(dir, "s1"), 0);
    assert_int_equal(state_save_handled(dir, "s1", 43, NULL), 0);
    assert_int_equal(state_load_handled(dir, "s1"), 43);
    assert_true(state_save_handled("/nowhere/at/all", "s1", 1, &err) < 0);
    assert_int_equal(dir_remove_tree(dir, NULL), 0);
}

static void test_state__conversations_of_other_threads_stay(void **state)
{
    char dir[] = "/tmp/test-runner-XXXXXX";

    assert_non_null(mkdtemp(dir));
    assert_null(state_load_conversation(dir, "a"));
    assert_int_equal(state_save_conversation(dir, "a", "conv-a", NULL), 0);
    assert_int_equal(state_save_conversation(dir, "b", "conv-b", NULL), 0);
    assert_int_equal(state_save_conversation(dir, "a", NULL, NULL), 0);
    CLEANUP_FREE char *a = state_load_conversation(dir, "a"), *b = state_load_conversation(dir, "b");
    assert_null(a);
    assert_string_equal(b, "conv-b");
    assert_int_equal(dir_remove_tree(dir, NULL), 0);
}

int run_config_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config__defaults),
        cmocka_unit_test(test_config__servers_beside_us_join_the_agents),
        cmocka_unit_test(test_config__secrets_leave_the_environment),
        cmocka_unit_test(test_config__times_and_modes),
        cmocka_unit_test(test_config__bad_values_are_named),
        cmocka_unit_test(test_state__survives_and_belongs_to_one_session),
        cmocka_unit_test(test_state__conversations_of_other_threads_stay),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
