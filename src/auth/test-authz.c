#include "test-internal.h"

static bool may(CallerType type, const char *name, const char *permission, const char *project,
                const char *object)
{
    CLEANUP(caller_unrefp) Caller *c = caller_new(type, str_from(name), STR_NULL, STR_NULL);
    AuthzScope z = {.project_owner = str_from(project), .object_owner = str_from(object)};
    return authz_allows(c, permission, &z);
}

static const char *const all[] = {
    "project:read",         "project:create", "project:update", "project:delete", "project_settings:update",
    "agent:create",         "agent:start",    "session:read",   "session:update", "session:delete",
    "session:start",        "session:stop",   "session:watch",  "session:status", "session_message:create",
    "session_message:read", "user:read",      "user:create",    "user:delete",    "no_such:thing",
};

static void test_platform__may_all(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_true(may(CALLER_ADMIN, "root", all[i], NULL, NULL));
        assert_true(may(CALLER_SERVICE, "", all[i], NULL, NULL));
    }
    assert_false(authz_is_privileged(NULL));
}

static void test_strangers__may_nothing(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_false(may(CALLER_USER, "eve", all[i], "alice", "bob"));
        assert_false(may(CALLER_USER, "eve", all[i], NULL, NULL));
        assert_false(may(CALLER_USER, "eve", all[i], "", ""));
        assert_false(may(CALLER_USER, "", all[i], "", "")); /* nobody owns what nobody owns */
        assert_false(may(CALLER_NONE, "alice", all[i], "alice", "alice"));
    }
    AuthzScope z = {0};
    assert_false(authz_allows(NULL, "project:read", &z));
}

static void test_owners__may_what_is_listed(void **state)
{
    assert_true(may(CALLER_USER, "alice", "session:delete", "alice", "bob"));
    assert_true(may(CALLER_USER, "alice", "session:delete", NULL, "alice"));
    assert_true(may(CALLER_USER, "alice", "agent:create", "alice", NULL));
    assert_true(may(CALLER_USER, "alice", "session_message:create", NULL, "alice"));
    assert_true(may(CALLER_USER, "alice", "project:create", "alice", "alice"));
    assert_true(may(CALLER_USER, "alice", "user:read", NULL, "alice"));
    assert_true(may(CALLER_USER, "alice", "user:update", NULL, "alice"));
    /* the platform's own, and an administrator's */
    assert_false(may(CALLER_USER, "alice", "session:status", "alice", "alice"));
    assert_false(may(CALLER_USER, "alice", "user:create", "alice", "alice"));
    assert_false(may(CALLER_USER, "alice", "user:delete", "alice", "alice"));
    assert_false(may(CALLER_USER, "alice", "no_such:thing", "alice", "alice"));
    /* owning a project does not reach people */
    assert_false(may(CALLER_USER, "alice", "user:read", "alice", "bob"));
    assert_false(may(CALLER_USER, "alice", "session:read", "alic", "alicee"));
}

static void test_callers__are_counted_and_named(void **state)
{
    Caller *c = caller_new(CALLER_USER, STR("alice"), STR("Ada L"), STR("a@b"));
    assert_string_equal(c->username, "alice");
    assert_string_equal(c->name, "Ada L");
    assert_string_equal(c->email, "a@b");
    assert_string_equal(c->actor, "user:alice");
    Caller *again = caller_ref(c);
    assert_null(caller_unref(c));
    assert_string_equal(again->username, "alice");
    caller_unref(again);
    assert_null(caller_unref(NULL));
    static const struct {
        CallerType type;
        const char *name, *actor;
    } cases[] = {
        {CALLER_SERVICE, "", "service"}, {CALLER_SERVICE, "cp", "service:cp"},
        {CALLER_ADMIN, "", "admin"},     {CALLER_ADMIN, "bo", "user:bo"},
        {CALLER_NONE, "", "none"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        c = caller_new(cases[i].type, str_from(cases[i].name), STR_NULL, STR_NULL);
        assert_string_equal(c->actor, cases[i].actor);
        assert_string_equal(c->email, "");
        caller_unref(c);
    }
}

int run_authz_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_platform__may_all),
        cmocka_unit_test(test_strangers__may_nothing),
        cmocka_unit_test(test_owners__may_what_is_listed),
        cmocka_unit_test(test_callers__are_counted_and_named),
    };
    return cmocka_run_group_tests_name("authz", tests, NULL, NULL);
}
