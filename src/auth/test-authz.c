#include "test-internal.h"

#include "auth/authz.h"

/* Rights from lines "role scope id". */
static Rights *rights(const char *const *rows, size_t n)
{
    Rights *r = rights_new();
    for (size_t i = 0; i < n; i++) {
        Str rest = str_from(rows[i]);
        Str role = str_cut(&rest, ' '), scope = str_cut(&rest, ' ');
        const BuiltinRole *b = builtin_role(role);
        const char *permissions = b ? b->permissions : "[\"session:read\",\"*:delete\"]";
        const RightsRole *added = rights_role(r, role);
        if (!added)
            added = rights_add_role(r, role, role, str_from(permissions));
        rights_add(r, added, grant_scope_parse(scope), rest.ptr ? rest : STR(""), STR("b"));
    }
    return r;
}

static Caller *caller(CallerType type, const char *name)
{
    return caller_new(type, str_from(name), STR_NULL, STR_NULL);
}

typedef struct Case {
    const char *grant, *permission;
    AuthzScope at;
    bool allowed;
} Case;

#define NOWHERE .owner = {NULL, 0}
#define IN_P .project_id = {"p", 1}
#define IN_Q .project_id = {"q", 1}
#define OF_A .agent_id = {"a", 1}
#define OF_S .session_id = {"s", 1}
#define OF_C .credential_id = {"c", 1}

static void test_grants__count_where_they_are_bound(void **state)
{
    static const Case cases[] = {
        {"project:viewer project p", "session:read", {IN_P}, true},
        {"project:viewer project p", "session:read", {IN_Q}, false},
        {"project:viewer project p", "session:read", {NOWHERE}, false},
        {"project:viewer project p", "session:update", {IN_P}, false},
        {"project:viewer global", "session:read", {IN_Q}, true},
        {"project:viewer global", "session:read", {NOWHERE}, true},
        {"project:owner project p", "session:delete", {IN_P, OF_S}, true},
        {"project:owner project p", "agent:anything", {IN_P}, true},
        {"project:owner project p", "sessions:read", {IN_P}, false},
        {"project:owner project p", "session", {IN_P}, false},
        {"agent:operator agent a", "session:read", {IN_P, OF_A, OF_S}, true},
        {"agent:operator agent a", "agent:start", {IN_P, OF_A}, true},
        {"agent:operator agent b", "agent:start", {IN_P, OF_A}, false},
        {"project:viewer session s", "session:read", {IN_P, OF_S}, true},
        {"project:viewer session t", "session:read", {IN_P, OF_S}, false},
        {"credential:viewer credential c", "credential:read", {OF_C}, true},
        {"credential:viewer credential c", "credential:fetch_token", {OF_C}, false},
        {"credential:owner credential c", "credential:fetch_token", {OF_C}, true},
        {"platform:admin global", "no_such:thing", {NOWHERE}, true},
        {"platform:admin global", "session:status", {IN_P}, true},
        /* told by the platform, whoever owns the project */
        {"project:owner project p", "session:status", {IN_P}, false},
        {"platform:admin project p", "session:status", {IN_P}, false},
        {"platform:admin project p", "session:delete", {IN_P}, true},
        {"platform:admin project p", "session:delete", {IN_Q}, false},
        {"custom project p", "agent:delete", {IN_P}, true},
        {"custom project p", "agent:update", {IN_P}, false},
        /* held with another one */
        {"project:viewer project p", "project_settings:read", {IN_P}, true},
        {"project:viewer project p", "project_settings:update", {IN_P}, false},
        {"project:owner project p", "project_settings:update", {IN_P}, true},
        {"platform:viewer global", "session_message:read", {IN_P}, true},
        {"project:editor project p", "role_binding:read", {IN_P}, true},
        {"project:viewer project p", "role_binding:read", {IN_P}, false},
    };
    CLEANUP(caller_unrefp) Caller *c = caller(CALLER_USER, "eve");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(rights_unrefp) Rights *r = rights(&cases[i].grant, 1);
        if (authz_allows(c, r, cases[i].permission, &cases[i].at) != cases[i].allowed)
            fail_msg("%s: %s", cases[i].grant, cases[i].permission);
    }
}

static bool may(CallerType type, const char *name, const char *permission, AuthzScope z)
{
    CLEANUP(caller_unrefp) Caller *c = caller(type, name);
    return authz_allows(c, NULL, permission, &z);
}

static void test_nobody__may_anything_without_a_grant(void **state)
{
    static const char *const all[] = {"project:read", "session:read", "session:status", "user:create", "*:*"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_true(may(CALLER_ADMIN, "root", all[i], (AuthzScope){0}));
        assert_false(may(CALLER_USER, "eve", all[i], (AuthzScope){IN_P}));
        assert_false(may(CALLER_USER, "", all[i], (AuthzScope){.owner = STR("")}));
        assert_false(may(CALLER_NONE, "eve", all[i], (AuthzScope){.owner = STR("eve")}));
        assert_false(may(CALLER_SERVICE, "cp", all[i], (AuthzScope){.owner = STR("cp")}));
    }
    AuthzScope z = {0};
    assert_false(authz_allows(NULL, NULL, "project:read", &z));
    assert_false(authz_is_privileged(NULL));
}

static void test_everybody__may_begin(void **state)
{
    static const char *const all[] = {"project:create", "credential:create", "role_binding:create",
                                      "role:read"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_true(may(CALLER_USER, "eve", all[i], (AuthzScope){0}));
        assert_false(may(CALLER_SERVICE, "cp", all[i], (AuthzScope){0}));
        assert_false(may(CALLER_USER, "", all[i], (AuthzScope){0}));
    }
    assert_false(may(CALLER_USER, "eve", "role:create", (AuthzScope){0}));
}

static void test_owners__of_an_object(void **state)
{
    const AuthzScope loose = {.owner = STR("eve")}, foreign = {.owner = STR("eve"), IN_P};
    assert_true(may(CALLER_USER, "eve", "session:delete", loose));
    assert_true(may(CALLER_USER, "eve", "session_message:create", loose));
    assert_false(may(CALLER_USER, "ev", "session:delete", loose));
    /* he reads what he made; he drives it while he could make it */
    assert_true(may(CALLER_USER, "eve", "session:read", foreign));
    assert_true(may(CALLER_USER, "eve", "session_message:read", foreign));
    assert_false(may(CALLER_USER, "eve", "session:stop", foreign));
    CLEANUP(caller_unrefp) Caller *c = caller(CALLER_USER, "eve");
    CLEANUP(rights_unrefp) Rights *editor = rights((const char *[]){"project:editor project p"}, 1);
    CLEANUP(rights_unrefp) Rights *viewer = rights((const char *[]){"project:viewer project p"}, 1);
    assert_true(authz_allows(c, editor, "session:stop", &foreign));
    assert_false(authz_allows(c, viewer, "session:stop", &foreign));
    assert_false(may(CALLER_USER, "eve", "session:status", loose));
    assert_true(may(CALLER_USER, "eve", "user:update", loose));
    assert_false(may(CALLER_USER, "eve", "user:delete", loose));
    assert_true(may(CALLER_USER, "eve", "role_binding:delete", foreign));
    assert_false(may(CALLER_USER, "eve", "role_binding:update", foreign));
}

/* D18: a token stays its owner's, even when nothing else is checked. */
static void test_D18_authz_off__leaves_tokens_to_their_owners(void **state)
{
    CLEANUP(caller_unrefp)
    Caller *c = caller_make(&(CallerInfo){.type = CALLER_ADMIN, .username = STR("eve"), .authz_off = true});
    const AuthzScope z = {OF_C};
    assert_true(authz_allows(c, NULL, "credential:delete", &z));
    assert_false(authz_allows(c, NULL, "credential:fetch_token", &z));
    assert_true(authz_everywhere(c, NULL, "session:read"));
    CLEANUP(rights_unrefp) Rights *own = rights((const char *[]){"credential:owner credential c"}, 1);
    assert_true(authz_allows(c, own, "credential:fetch_token", &z));
}

static void test_lists__are_narrowed_by_permission(void **state)
{
    static const char *const rows[] = {"project:viewer project p", "project:viewer project q",
                                       "project:owner project p",  "credential:viewer project r",
                                       "agent:observer agent a",   "gitops:viewer global"};
    CLEANUP(caller_unrefp) Caller *c = caller(CALLER_USER, "eve");
    CLEANUP(rights_unrefp) Rights *r = rights(rows, ARRAY_LEN(rows));
    Str ids[ARRAY_LEN(rows)];
    assert_int_equal(authz_ids(r, "session:read", GRANT_PROJECT, ids), 2);
    assert_int_equal(authz_ids(r, "session:delete", GRANT_PROJECT, ids), 1);
    assert_int_equal(authz_ids(r, "session:read", GRANT_AGENT, ids), 1);
    assert_int_equal(authz_ids(r, "session:read", GRANT_SESSION, ids), 0);
    /* D9: something global is not everything global */
    assert_true(authz_everywhere(c, r, "application:read"));
    assert_false(authz_everywhere(c, r, "session:read"));
    assert_false(authz_everywhere(c, r, "user:read"));
    assert_true(authz_everywhere(c, r, "role:read"));
}

static void test_levels__are_held_where_they_are_bound(void **state)
{
    static const struct {
        const char *grant;
        GrantScope scope;
        const char *id;
        int level;
    } cases[] = {
        {"project:owner project p", GRANT_PROJECT, "p", 1},
        {"project:editor project p", GRANT_PROJECT, "p", 2},
        {"project:viewer project p", GRANT_PROJECT, "p", 3},
        {"project:owner project p", GRANT_PROJECT, "q", ROLE_LEVEL_NONE},
        {"project:owner project p", GRANT_PROJECT, "", ROLE_LEVEL_NONE},
        {"platform:admin global", GRANT_PROJECT, "q", 0},
        {"platform:admin project p", GRANT_PROJECT, "p", 1}, /* D43 */
        {"platform:viewer global", GRANT_PROJECT, "p", ROLE_LEVEL_NONE},
        {"gitops:admin project p", GRANT_PROJECT, "p", ROLE_LEVEL_NONE},
        {"credential:owner credential c", GRANT_CREDENTIAL, "c", 1},
        {"credential:owner credential c", GRANT_PROJECT, "c", ROLE_LEVEL_NONE},
        {"custom project p", GRANT_PROJECT, "p", ROLE_LEVEL_NONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(rights_unrefp) Rights *r = rights(&cases[i].grant, 1);
        if (rights_level(r, cases[i].scope, str_from(cases[i].id)) != cases[i].level)
            fail_msg("%s at %s", cases[i].grant, cases[i].id);
        assert_int_equal(rights_is_admin(r), cases[i].level == 0);
    }
    CLEANUP(rights_unrefp) Rights *owner = rights((const char *[]){"project:owner project p"}, 1);
    assert_true(rights_hold_role(owner, STR("[\"session:*\",\"project:read\"]"), GRANT_PROJECT, STR("p")));
    assert_false(rights_hold_role(owner, STR("[\"session:*\",\"user:read\"]"), GRANT_PROJECT, STR("p")));
    assert_false(rights_hold_role(owner, STR("[\"*:*\"]"), GRANT_PROJECT, STR("p")));
    assert_false(rights_hold_role(owner, STR("[\"session:read\"]"), GRANT_PROJECT, STR("q")));
    assert_false(rights_hold_role(owner, STR("[\"session:status\"]"), GRANT_PROJECT, STR("p")));
}

static void test_seeds__are_the_contracts(void **state)
{
    static const struct {
        const char *name;
        int level;
        bool internal;
    } want[] = {
        {"platform:admin", 0, false},
        {"platform:viewer", 2, false},
        {"project:owner", 1, false},
        {"project:editor", 2, false},
        {"project:viewer", 3, false},
        {"agent:operator", 2, false},
        {"agent:editor", 2, false},
        {"agent:observer", 3, false},
        {"agent:runner", ROLE_LEVEL_NONE, true},
        {"credential:owner", 1, false},
        {"credential:viewer", 2, false},
        {"credential:token-reader", 2, true},
        {"gitops:admin", 1, false},
        {"gitops:viewer", 3, false},
    };
    assert_int_equal(n_builtin_roles, ARRAY_LEN(want));
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        const BuiltinRole *b = builtin_role(str_from(want[i].name));
        assert_non_null(b);
        assert_int_equal(b->level, want[i].level);
        assert_int_equal(b->internal, want[i].internal);
        CLEANUP_JSON json_t *list = NULL;
        assert_int_equal(json_parse(str_from(b->permissions), &list, NULL), 0);
    }
    assert_string_equal(builtin_role(STR("agent:editor"))->permissions, "[\"agent:read\",\"agent:update\"]");
    assert_null(builtin_role(STR("credential:reader")));
}

static void test_callers__are_counted_and_named(void **state)
{
    Caller *c = caller_new(CALLER_USER, STR("alice"), STR("Ada L"), STR("a@b"));
    assert_string_equal(c->username, "alice");
    assert_string_equal(c->name, "Ada L");
    assert_string_equal(c->email, "a@b");
    assert_string_equal(c->actor, "user:alice");
    assert_string_equal(c->subject, "");
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
        cmocka_unit_test(test_grants__count_where_they_are_bound),
        cmocka_unit_test(test_nobody__may_anything_without_a_grant),
        cmocka_unit_test(test_everybody__may_begin),
        cmocka_unit_test(test_owners__of_an_object),
        cmocka_unit_test(test_D18_authz_off__leaves_tokens_to_their_owners),
        cmocka_unit_test(test_lists__are_narrowed_by_permission),
        cmocka_unit_test(test_levels__are_held_where_they_are_bound),
        cmocka_unit_test(test_seeds__are_the_contracts),
        cmocka_unit_test(test_callers__are_counted_and_named),
    };
    return cmocka_run_group_tests_name("authz", tests, NULL, NULL);
}
