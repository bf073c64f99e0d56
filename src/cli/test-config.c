/* The configuration file, and what may reach a terminal. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "output.h"
#include "render.h"

static char dir[] = "/tmp/ambient-cli-XXXXXX";
static char *path;

static int group_setup(void **state)
{
    static const char *const env[] = {"AMBIENT_API_URL", "AMBIENT_TOKEN", "AMBIENT_PROJECT",
                                      "AMBIENT_CONTEXT"};
    for (size_t i = 0; i < ARRAY_LEN(env); i++)
        unsetenv(env[i]);
    if (!mkdtemp(dir))
        return -1;
    path = path_join(dir, "sub/config.json");
    return setenv("AMBIENT_CONFIG", path, 1);
}

static int group_teardown(void **state)
{
    free(path);
    return dir_remove_tree(dir, NULL);
}

static void put(const char *text)
{
    CLEANUP_FREE char *sub = path_join(dir, "sub");
    assert_int_equal(dir_make(sub, 0700, NULL), 0);
    assert_int_equal(file_write_atomic(path, str_from(text), 0600, NULL), 0);
}

static Config *load(void)
{
    Config *c = NULL;
    Err err = {0};
    if (config_load(NULL, &c, &err) < 0)
        fail_msg("%s", err.msg);
    return c;
}

static void test_config__missing_file_gives_defaults(void **state)
{
    (void)unlink(path);
    CLEANUP(config_freep) Config *c = load();
    ConfigSource s;
    assert_string_equal(config_get(c, "api_url", &s), "http://localhost:8000");
    assert_int_equal(s, CONFIG_DEFAULT);
    assert_null(config_get(c, "project", NULL));
    assert_int_equal(config_get_int(c, "request_timeout"), 30);
}

static void test_config__flat_file_keeps_unknown_members_and_gets_a_context(void **state)
{
    put("{\"api_url\":\"https://"
        "www.corp.net\",\"access_token\":\"secret-token\",\"mine\":{\"a\":[1]},\"project\":\"p\"}");
    CLEANUP(config_freep) Config *c = load();
    assert_string_equal(config_context(c), "corp.net");
    assert_string_equal(config_get(c, "access_token", NULL), "secret-token");
    config_set(c, "project", "q");
    assert_int_equal(config_save(c, NULL), 0);
    CLEANUP_JSON json_t *j = NULL;
    assert_int_equal(json_parse_file(path, 65536, &j, NULL), 0);
    assert_string_equal(json_get_str(j, "project"), "q"); /* for other programs */
    assert_string_equal(json_get_str(json_get_obj(json_get_obj(j, "contexts"), "corp.net"), "project"), "q");
    assert_string_equal(json_get_str(json_get_obj(json_get_obj(j, "contexts"), "corp.net"), "server"),
                        "https://www.corp.net");
    assert_int_equal(json_array_size(json_get_arr(json_get_obj(j, "mine"), "a")), 1);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_config__contexts_do_not_mix(void **state)
{
    (void)unlink(path);
    CLEANUP(config_freep) Config *c = load();
    config_set(c, "api_url", "http://localhost:1");
    config_set(c, "access_token", "one");
    assert_int_equal(config_use_context(c, "two", true, NULL), 0);
    config_set(c, "api_url", "http://other:2");
    assert_null(config_get(c, "access_token", NULL));
    assert_int_equal(config_use_context(c, "local", false, NULL), 0);
    assert_string_equal(config_get(c, "access_token", NULL), "one");
    assert_int_equal(config_rename_context(c, "two", "local", NULL), -ERR_CONFLICT);
    assert_int_equal(config_delete_context(c, "none", NULL), -ERR_NOT_FOUND);
    assert_int_equal(config_delete_context(c, "local", NULL), 0);
    assert_null(config_get(c, "access_token", NULL));
}

/* Two commands have read the file; what the first one saves is not undone by the second one. */
static void test_config__a_save_keeps_what_others_saved(void **state)
{
    put("{\"api_url\":\"http://localhost:1\",\"refresh_token\":\"old\",\"project\":\"p\"}");
    CLEANUP(config_freep) Config *first = load();
    CLEANUP(config_freep) Config *second = load();
    config_set(first, "refresh_token", "new");
    assert_int_equal(config_use_context(first, "other", true, NULL), 0);
    config_set(first, "access_token", "o");
    assert_int_equal(config_save(first, NULL), 0);
    config_set(second, "project", "q");
    assert_int_equal(config_save(second, NULL), 0);
    CLEANUP(config_freep) Config *c = load();
    assert_string_equal(config_context(c), "other");
    assert_string_equal(config_get(c, "access_token", NULL), "o");
    assert_int_equal(config_use_context(c, "local", false, NULL), 0);
    assert_string_equal(config_get(c, "refresh_token", NULL), "new");
    assert_string_equal(config_get(c, "project", NULL), "q");
    assert_int_equal(config_rename_context(c, "other", "third", NULL), 0);
    assert_int_equal(config_delete_context(second, "other", NULL), 0); /* it was renamed meanwhile */
    assert_int_equal(config_save(c, NULL), 0);
    assert_int_equal(config_save(second, NULL), 0);
    assert_int_equal(config_reload(c, NULL), 0);
    assert_non_null(json_get_obj(config_contexts(c), "third"));
}

/* The flat keys are the file's current context's, whichever context a command was told to use. */
static void test_config__other_contexts_are_not_mirrored(void **state)
{
    put("{\"current_context\":\"a\",\"contexts\":{\"a\":{\"project\":\"pa\"},\"b\":{\"project\":\"pb\"}}}");
    Config *c = NULL;
    assert_int_equal(config_load("b", &c, NULL), 0);
    config_set(c, "project", "changed");
    assert_int_equal(config_save(c, NULL), 0);
    config_free(c);
    CLEANUP_JSON json_t *j = NULL;
    assert_int_equal(json_parse_file(path, 65536, &j, NULL), 0);
    assert_string_equal(json_get_str(j, "project"), "pa");
    assert_string_equal(json_get_str(json_get_obj(json_get_obj(j, "contexts"), "b"), "project"), "changed");
}

static void test_config__environment_wins(void **state)
{
    put("{\"project\":\"file\"}");
    CLEANUP(config_freep) Config *c = load();
    setenv("AMBIENT_PROJECT", "env", 1);
    setenv("AMBIENT_REQUEST_TIMEOUT", "nonsense", 1);
    assert_string_equal(config_get(c, "project", NULL), "env");
    assert_int_equal(config_get_int(c, "request_timeout"), 30);
    unsetenv("AMBIENT_PROJECT");
    unsetenv("AMBIENT_REQUEST_TIMEOUT");
}

static void test_config__broken_file_is_told(void **state)
{
    put("{\"api_url\":");
    Config *c = NULL;
    Err err = {0};
    assert_int_equal(config_load(NULL, &c, &err), -ERR_USAGE);
    assert_non_null(strstr(err.msg, path));
}

static void test_text__terminal_control_is_removed(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "plain"},
        {"\033[31mred\033[0m", "red"},
        {"\033]0;title\atext", "text"},
        {"\033]8;;http://x\033\\link", "link"},
        {"a\rb\bc\x7f", "abc"},
        {"one\ntwo\tthree", "one\ntwo\tthree"},
        {"\xc2\x9b"
         "31mC1",
         "31mC1"},
        {"caf\xc3\xa9", "caf\xc3\xa9"},
        {"bad\xff!", "bad\xEF\xBF\xBD"
                     "!"},
        {"\033[", ""},
        {"\033", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF Buf b = BUF_INIT(1024);
        clean_text(&b, str_from(cases[i].in), true);
        assert_string_equal(b.data ? b.data : "", cases[i].out);
    }
}

static RenderEvent live(Render *r, const char *type, const char *payload)
{
    CLEANUP_JSON json_t *m = json_pack("{s:s, s:s}", "event_type", type, "payload", payload);
    return render_live(r, m, false);
}

static void test_render__a_run_ends_once_in_either_spelling(void **state)
{
    Render *r = render_new();
    assert_int_equal(live(r, "lifecycle", "{\"event\":\"run_started\"}"), RENDER_RUN_STARTED);
    assert_int_equal(live(r, "assistant", "text"), RENDER_OTHER);
    assert_int_equal(live(r, "lifecycle", "{\"event\":\"run_finished\"}"), RENDER_RUN_FINISHED);
    assert_int_equal(live(r, "RUN_FINISHED", "{}"), RENDER_OTHER);
    assert_int_equal(live(r, "lifecycle", "{\"event\":\"run_started\"}"), RENDER_RUN_STARTED);
    assert_int_equal(live(r, "error", "{\"error\":\"x\"}"), RENDER_RUN_FAILED);
    assert_int_equal(live(r, "RUN_ERROR", "plain"), RENDER_OTHER);
    render_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config__missing_file_gives_defaults),
        cmocka_unit_test(test_config__flat_file_keeps_unknown_members_and_gets_a_context),
        cmocka_unit_test(test_config__contexts_do_not_mix),
        cmocka_unit_test(test_config__a_save_keeps_what_others_saved),
        cmocka_unit_test(test_config__other_contexts_are_not_mirrored),
        cmocka_unit_test(test_config__environment_wins),
        cmocka_unit_test(test_config__broken_file_is_told),
        cmocka_unit_test(test_text__terminal_control_is_removed),
        cmocka_unit_test(test_render__a_run_ends_once_in_either_spelling),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
