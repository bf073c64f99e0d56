/* What a credential becomes for the agent's tools, and for whom git uses it. */
#include "test-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "base/mem.h"
#include "providers.h"

static Held held(const char *provider, const char *token, const char *url, const char *email)
{
    return (Held){.provider = xstrdup(provider),
                  .token = token ? secret_new(str_from(token)) : NULL,
                  .url = url ? xstrdup(url) : NULL,
                  .email = email ? xstrdup(email) : NULL};
}

static void held_clear(Held *h)
{
    free(h->provider);
    secret_free(h->token);
    free(h->url);
    free(h->email);
    free(h->path);
}

static void test_providers__git_gets_a_token_for_exactly_one_host(void **state)
{
    static const struct {
        const char *provider, *url, *host; /* NULL = none */
    } rows[] = {
        {"github", NULL, "github.com"},
        {"github", "", "github.com"},
        {"github", "https://github.com/some/org", "github.com"},
        {"github", "https://api.github.com", "github.com"},
        {"github", "https://git.example.org:8443/x", "git.example.org:8443"},
        {"gitlab", NULL, "gitlab.com"},
        {"github", "http://github.com", NULL}, /* https only */
        {"github", "https://user@github.com", NULL},
        {"github", "https://github.com\n.evil", NULL},
        {"github", "https://*", NULL}, /* git would match any host */
        {"github", "not a url", NULL},
        {"jira", "https://jira.example.org", NULL},
        {"unknown", "https://x.example.org", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(held_clear) Held h = held(rows[i].provider, "t", rows[i].url, NULL);
        CLEANUP_FREE char *host = provider_git_host(&h);
        if (rows[i].host ? !host || strcmp(host, rows[i].host) != 0 : host != NULL)
            fail_msg("row %zu: %s", i, host ? host : "none");
    }
}

static void test_providers__variables(void **state)
{
    static const struct {
        const char *provider, *name, *value;
    } rows[] = {
        {"github", "GITHUB_TOKEN", "tok"},      {"gitlab", "GITLAB_TOKEN", "tok"},
        {"jira", "JIRA_API_TOKEN", "tok"},      {"jira", "JIRA_URL", "https://u"},
        {"jira", "JIRA_EMAIL", "e@x"},          {"coderabbit", "CODERABBIT_API_KEY", "tok"},
        {"google", "USER_GOOGLE_EMAIL", "e@x"}, {"my-tool", "MY_TOOL_TOKEN", "tok"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(held_clear) Held h = held(rows[i].provider, "tok", "https://u", "e@x");
        ChildEnv env;
        child_env_init(&env, false);
        provider_env(&h, &env);
        const char *value = child_env_get(&env, rows[i].name);
        assert_non_null(value);
        assert_string_equal(value, rows[i].value);
        child_env_done(&env);
    }
}

static void test_providers__a_name_of_the_platforms_is_not_set(void **state)
{
    static const char *const names[] = {"bot", "ambient", "agui", "ambient-api", "7"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP(held_clear) Held h = held(names[i], "tok", NULL, NULL);
        ChildEnv env;
        child_env_init(&env, false);
        unsigned long before = env.n;
        provider_env(&h, &env);
        assert_int_equal(env.n, before);
        child_env_done(&env);
    }
}

static void test_providers__one_that_was_not_fetched_gives_nothing(void **state)
{
    CLEANUP(held_clear) Held h = held("github", NULL, NULL, NULL);
    ChildEnv env;
    child_env_init(&env, false);
    unsigned long before = env.n;
    provider_env(&h, &env);
    providers_git_env(&h, 1, &env);
    assert_int_equal(env.n, before);
    child_env_done(&env);
}

static void test_providers__files_hold_what_is_meant_and_are_private(void **state)
{
    static const struct {
        const char *provider, *token, *text;
    } rows[] = {
        {"github", "ghp_x", "ghp_x"},
        {"kubeconfig", "apiVersion: v1\nkind: Config\n", "apiVersion: v1\nkind: Config\n"},
        {"kubeconfig", "YXBpVmVyc2lvbjogdjEK", "apiVersion: v1\n"},
        {"google", "{\"type\":\"service_account\"}", "{\"type\":\"service_account\"}"},
        {"google", "eyJhIjoxfQ==", "{\"a\":1}"},
    };
    char dir[] = "/tmp/test-providers-XXXXXX";
    assert_non_null(mkdtemp(dir));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(held_clear) Held h = held(rows[i].provider, rows[i].token, NULL, NULL);
        CLEANUP_BUF Buf text = BUF_INIT(4096);
        struct stat st;
        assert_int_equal(provider_write(dir, &h, NULL), 0);
        assert_int_equal(file_read(h.path, &text, NULL), 0);
        assert_true(str_eqz(buf_str(&text), rows[i].text));
        assert_int_equal(stat(h.path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    assert_int_equal(dir_remove_tree(dir, NULL), 0);
}

static void test_providers__git_settings_come_behind_those_that_are_there(void **state)
{
    CLEANUP(held_clear) Held h = held("github", "ghp_x", NULL, NULL);
    ChildEnv env;
    h.path = xstrdup("/run/x/github-token");
    child_env_init(&env, false);
    child_env_set(&env, "GIT_CONFIG_COUNT", "1");
    child_env_set(&env, "GIT_CONFIG_KEY_0", "user.name");
    providers_git_env(&h, 1, &env);
    assert_string_equal(child_env_get(&env, "GIT_CONFIG_COUNT"), "3");
    assert_string_equal(child_env_get(&env, "GIT_CONFIG_KEY_0"), "user.name");
    assert_string_equal(child_env_get(&env, "GIT_CONFIG_KEY_1"), "credential.https://github.com.helper");
    assert_string_equal(child_env_get(&env, "GIT_CONFIG_VALUE_1"), "");
    assert_non_null(strstr(child_env_get(&env, "GIT_CONFIG_VALUE_2"), "cat '/run/x/github-token'"));
    assert_null(strstr(child_env_get(&env, "GIT_CONFIG_VALUE_2"), "ghp_x"));
    child_env_done(&env);
}

int run_provider_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_providers__git_gets_a_token_for_exactly_one_host),
        cmocka_unit_test(test_providers__variables),
        cmocka_unit_test(test_providers__a_name_of_the_platforms_is_not_set),
        cmocka_unit_test(test_providers__one_that_was_not_fetched_gives_nothing),
        cmocka_unit_test(test_providers__files_hold_what_is_meant_and_are_private),
        cmocka_unit_test(test_providers__git_settings_come_behind_those_that_are_there),
    };
    return cmocka_run_group_tests_name("providers", tests, NULL, NULL);
}
