#include "test-internal.h"
#include "base/mem.h"

/* ---- a tree as text, fully parenthesised ---- */

static void show_arith(Buf *b, const Kind *k, const SearchArith *a)
{
    if (a->op) {
        buf_addc(b, '(');
        show_arith(b, k, a->a);
        buf_addf(b, " %c ", a->op);
        show_arith(b, k, a->b);
        buf_addc(b, ')');
    } else if (a->field >= 0) {
        buf_addz(b, k->fields[a->field].json);
    } else {
        buf_addf(b, "%g", a->number);
    }
}

static void show_literals(Buf *b, const SearchExpr *e)
{
    for (size_t i = 0; i < e->n_lits; i++) {
        const SearchLiteral *l = &e->lits[i];
        if (l->is_number)
            buf_addf(b, " %g", l->number);
        else
            buf_addf(b, " '%s'", l->text);
    }
}

static void show(Buf *b, const Kind *k, const SearchExpr *e)
{
    static const char *const names[] = {
        [S_AND] = "and",         [S_OR] = "or",     [S_NOT] = "not",     [S_EQ] = "=",
        [S_NE] = "!=",           [S_LT] = "<",      [S_LE] = "<=",       [S_GT] = ">",
        [S_GE] = ">=",           [S_LIKE] = "like", [S_ILIKE] = "ilike", [S_IS_NULL] = "null",
        [S_BETWEEN] = "between", [S_IN] = "in",     [S_TRUE] = "true",   [S_FALSE] = "false",
    };
    buf_addf(b, "(%s%s", e->negated ? "not-" : "", names[e->op]);
    if (e->a) {
        buf_addc(b, ' ');
        show(b, k, e->a);
    }
    if (e->b) {
        buf_addc(b, ' ');
        show(b, k, e->b);
    }
    if (e->op >= S_EQ && e->op <= S_IN) {
        buf_addc(b, ' ');
        if (e->left.arith)
            show_arith(b, k, e->left.arith);
        else
            buf_addz(b, k->fields[e->left.field].json);
        show_literals(b, e);
    }
    buf_addc(b, ')');
}

typedef struct Case {
    const char *text, *tree;
} Case;

static void check_tree(const Kind *k, const char *text, const char *tree)
{
    CLEANUP(search_freep) SearchExpr *e = NULL;
    CLEANUP_BUF Buf b = BUF_INIT(1 << 16);
    Err err = {0};
    if (search_parse(k, str_from(text), &e, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    show(&b, k, e);
    if (strcmp(b.data, tree) != 0)
        fail_msg("%s\n gives   %s\n and not %s", text, b.data, tree);
}

static void check_trees(const Kind *k, const Case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_tree(k, cases[i].text, cases[i].tree);
}

static void test_searches_of_real_clients(void **state)
{
    static const Case cases[] = {
        {"project_id = 'p' and name like '%x%'", "(and (= project_id 'p') (like name '%x%'))"},
        {"name = 'x'", "(= name 'x')"},
        {"name='x'", "(= name 'x')"},
        {"phase = 'Running'", "(= phase 'Running')"},
        {"id in ('a','b')", "(in id 'a' 'b')"},
    };
    check_trees(&kind_session, cases, ARRAY_LEN(cases));
    /* the reference's control plane asks the inbox so */
    check_tree(&kind_inbox_message, "project_id = 'p' and agent_id = 'a'",
               "(and (= project_id 'p') (= agent_id 'a'))");
}

static void test_every_form_of_a_test(void **state)
{
    static const Case cases[] = {
        {"name != 'a'", "(!= name 'a')"},
        {"name <> 'a'", "(!= name 'a')"},
        {"timeout < 5", "(< timeout 5)"},
        {"timeout <= 5", "(<= timeout 5)"},
        {"timeout > 5", "(> timeout 5)"},
        {"timeout>=-5", "(>= timeout -5)"},
        {"timeout = +5", "(= timeout 5)"},
        {"llm_temperature = 1.5e-1", "(= llm_temperature 0.15)"},
        {"name LIKE 'A_%'", "(like name 'A_%')"},
        {"name not ilike 'a'", "(not-ilike name 'a')"},
        {"phase is null", "(null phase)"},
        {"phase IS NOT NULL", "(not-null phase)"},
        {"phase is 'Running'", "(= phase 'Running')"},
        {"phase is not 'Running'", "(!= phase 'Running')"},
        {"timeout between 1 and 2", "(between timeout 1 2)"},
        {"timeout not between 1 and 2 and name = 'x'", "(and (not-between timeout 1 2) (= name 'x'))"},
        {"timeout in (1, 2,3)", "(in timeout 1 2 3)"},
        {"name not in ('a')", "(not-in name 'a')"},
        {"name in ()", "(false)"},
        {"name not in ()", "(true)"},
        {"name = 'it''s'", "(= name 'it's')"},
        {"name = ''", "(= name '')"},
        {"name = ''''", "(= name ''')"},
        {"\tname\n=\r'a' ", "(= name 'a')"},
    };
    check_trees(&kind_session, cases, ARRAY_LEN(cases));
}

static void test_precedence(void **state)
{
    static const Case cases[] = {
        {"name = 'a' or name = 'b' and name = 'c'", "(or (= name 'a') (and (= name 'b') (= name 'c')))"},
        {"(name = 'a' or name = 'b') and name = 'c'", "(and (or (= name 'a') (= name 'b')) (= name 'c'))"},
        {"not name = 'a' and name = 'b'", "(and (not (= name 'a')) (= name 'b'))"},
        {"not (name = 'a' and name = 'b')", "(not (and (= name 'a') (= name 'b')))"},
        {"NOT not name = 'a'", "(not (not (= name 'a')))"},
        {"((((name = 'a'))))", "(= name 'a')"},
        {"name = 'a' AND name = 'b' and name = 'c'", "(and (and (= name 'a') (= name 'b')) (= name 'c'))"},
    };
    check_trees(&kind_session, cases, ARRAY_LEN(cases));
}

static void test_arithmetic(void **state)
{
    static const Case cases[] = {
        {"timeout + 1 > 5", "(> (timeout + 1) 5)"},
        {"timeout -1 > 5", "(> (timeout - 1) 5)"},
        {"timeout - -1 > 5", "(> (timeout - -1) 5)"},
        {"timeout + llm_max_tokens * 2 > 5", "(> (timeout + (llm_max_tokens * 2)) 5)"},
        {"timeout / 2 / 2 % 3 = 1", "(= (((timeout / 2) / 2) % 3) 1)"},
        {"(timeout) > 5", "(> timeout 5)"},
        {"((timeout + 1) * 2) between 1 and 2", "(between ((timeout + 1) * 2) 1 2)"},
        {"(timeout + 1) > 5 and (name = 'a')", "(and (> (timeout + 1) 5) (= name 'a'))"},
        {"(timeout) is not null", "(not-null timeout)"},
        {"timeout * (llm_max_tokens - 1) in (1)", "(in (timeout * (llm_max_tokens - 1)) 1)"},
    };
    check_trees(&kind_session, cases, ARRAY_LEN(cases));
}

static void test_names(void **state)
{
    static const Case cases[] = {
        {"sessions.phase = 'a'", "(= phase 'a')"},
        {"SESSIONS.Phase = 'a'", "(= phase 'a')"},
        {"\"name\" = 'a'", "(= name 'a')"},
        {"`name` = 'a'", "(= name 'a')"},
        {"[name] = 'a'", "(= name 'a')"},
        {"\"sessions\".\"name\" = 'a'", "(= name 'a')"},
        {"created_at > '2026-04-01T00:00:00Z'", "(> created_at '2026-04-01T00:00:00Z')"},
        {"created_at > '2026-04-01'", "(> created_at '2026-04-01T00:00:00Z')"},
        {"created_at > '2026-04-01 10:00:00'", "(> created_at '2026-04-01T10:00:00Z')"},
        {"created_at > '2026-04-01T02:00:00.5+02:00'", "(> created_at '2026-04-01T00:00:00.500000Z')"},
        {"timeout = '5'", "(= timeout 5)"},
        {"interactive = 'TRUE'", "(= interactive 'true')"},
        {"interactive != 'f'", "(!= interactive 'false')"},
    };
    check_trees(&kind_session, cases, ARRAY_LEN(cases));
    check_tree(&kind_inbox_message, "read = 'true'", "(= read 'true')");
}

static void check_refusal(const Kind *k, const char *text, const char *reason)
{
    SearchExpr *e = NULL;
    Err err = {0};
    if (search_parse(k, str_from(text), &e, &err) != -ERR_BAD_REQUEST)
        fail_msg("%s: not refused", text);
    assert_null(e);
    if (strcmp(err.msg, reason) != 0)
        fail_msg("%s\n gives   %s\n and not %s", text, err.msg, reason);
}

static void test_what_does_not_parse__is_echoed_alone(void **state)
{
    static const char *const bad[] = {
        "name",
        "name =",
        "= 'a'",
        "name = 'a",
        "name = \"a\"",
        "'a' = 'a'",
        "5 = 5",
        "name = name",
        "name like 5",
        "name like",
        "name in",
        "name in (",
        "name in ('a'",
        "name in ('a',)",
        "name in 'a'",
        "name between 'a'",
        "name between 'a' or 'b'",
        "name is",
        "name is not",
        "not",
        "()",
        "(name = 'a'",
        "name = 'a')",
        "and",
        "name and",
        "name = 'a' and",
        "name = 'a' name = 'b'",
        "name = 'a';",
        "name == 'a'",
        "name = true",
        "name = 'a' -- x",
        "timeout + > 5",
        "1 + timeout > 5",
        "(1 + timeout) > 5",
        "timeout * ('a') > 5",
        "timeout = 5x",
        "a.b.c.d = 1",
        "a..b = 1",
        ".a = 1",
        "name. = 1",
        "\"\" = 'a'",
        "\"name = 'a'",
        "name \x01 'a'",
        "name = 1.",
        "timeout = 1e999",
        "name !in ('a')",
        "name not = 'a'",
        "name not null",
        "select = 1 2",
        "name = 'a' or",
        "~= 'a'",
        "name ! 'a'",
        "name = - 'a'",
        "name = 'a'/**/",
        "(name = 'a') is null",
        "name = 5 5",
        "(name = 'a'))(",
        "(timeout > 5",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CLEANUP_FREE char *reason = xasprintf("Failed to parse search query: %s", bad[i]);
        check_refusal(&kind_session, bad[i], reason);
    }
}

/* rest-core.md 3.2: in the reference these leave the filter that is put around them. */
static void test_scope_escape__does_not_parse(void **state)
{
    static const char *const bad[] = {
        "name != '') or (name != ''",
        "id != 'x') or (id != 'x'",
        "name = '') or ('' = ''",
        "1=1) or (1=1",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CLEANUP_FREE char *reason = xasprintf("Failed to parse search query: %s", bad[i]);
        check_refusal(&kind_session, bad[i], reason);
        check_refusal(&kind_user, bad[i], reason);
        check_refusal(&kind_agent, bad[i], reason);
        check_refusal(&kind_inbox_message, bad[i], reason);
    }
}

static void test_meaning__is_checked(void **state)
{
    static const Case cases[] = {
        {"name ~= 'a'", "unexpected literal: $regex"},
        {"name ~! 'a'", "unexpected literal: $nregex"},
        {"foo.bar = 'a'", "foo is not a related resource of Session"},
        {"db.sessions.name = 'a'", "db is not a related resource of Session"},
        {"sessions.a.b = 'x'", "sessions.a.b is not a valid field name"},
        {"sessions.foo = 'x'", "foo is not a valid field name"},
        {"foo = 'x'", "foo is not a valid field name"},
        {"\"Name\" = 'x'", "Name is not a valid field name"},
        {"deleted_at is null", "deleted_at is not a valid field name"},
        {"run_id = 'x'", "run_id is not a valid field name"},
        {"timeout = 'abc'", "timeout is a number: compare it with a number"},
        {"timeout = ''", "timeout is a number: compare it with a number"},
        {"timeout = '1e999'", "timeout is a number: compare it with a number"},
        {"name = 5", "name is text: compare it with a value in quotes"},
        {"name in ('a', 5)", "name is text: compare it with a value in quotes"},
        {"name between 'a' and 5", "name is text: compare it with a value in quotes"},
        {"timeout like '5%'", "timeout is not text: like does not apply to it"},
        {"created_at ilike '2026%'", "created_at is not text: like does not apply to it"},
        {"created_at > 'soon'", "created_at is a time: compare it with one like '2026-04-01T00:00:00Z'"},
        {"created_at > 5", "created_at is a time: compare it with one like '2026-04-01T00:00:00Z'"},
        {"interactive = 'maybe'", "interactive is a boolean: compare it with 'true' or 'false'"},
        {"interactive = 1", "interactive is a boolean: compare it with 'true' or 'false'"},
        {"name + 1 = 2", "name is not a number: there is no arithmetic on it"},
        {"timeout + created_at = 2", "created_at is not a number: there is no arithmetic on it"},
        /* the first fault counts, but only once all of it parses */
        {"foo = 1 and bar = 2", "foo is not a valid field name"},
        {"foo = 1 and (", "Failed to parse search query: foo = 1 and ("},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_refusal(&kind_session, cases[i].text, cases[i].tree);
    check_refusal(&kind_project, "owner = 'a'", "owner is not a valid field name");
    check_refusal(&kind_project, "display_name = 'a'", "display_name is not a valid field name");
}

static void test_blank__is_no_condition(void **state)
{
    SearchExpr *e = (SearchExpr *)state;
    assert_int_equal(search_parse(&kind_session, STR(""), &e, NULL), 0);
    assert_null(e);
    e = (SearchExpr *)state;
    assert_int_equal(search_parse(&kind_session, STR(" \t\n "), &e, NULL), 0);
    assert_null(e);
}

static char *repeated(const char *before, const char *piece, size_t n, const char *after)
{
    Buf b = BUF_INIT(1 << 20);
    buf_addz(&b, before);
    for (size_t i = 0; i < n; i++)
        buf_addz(&b, piece);
    buf_addz(&b, after);
    return buf_take(&b);
}

static void check_limit(const char *piece, size_t n, const char *after, const char *reason)
{
    CLEANUP_FREE char *text = repeated("", piece, n, after);
    SearchExpr *e = NULL;
    Err err = {0};
    int rc = search_parse(&kind_session, str_from(text), &e, &err);
    search_free(e);
    assert_int_equal(rc, reason ? -ERR_BAD_REQUEST : 0);
    if (reason)
        assert_int_equal(strncmp(err.msg, reason, strlen(reason)), 0);
}

static void test_limits(void **state)
{
    CLEANUP_FREE char *closed = repeated("name = 'a'", ")", 64, "");
    check_limit("(", 64, closed, NULL);
    check_limit("(", 65, closed, "search query is nested too deeply");
    check_limit("(", 30000, "", "search query is nested too deeply");
    check_limit("not ", 64, "name = 'a'", NULL);
    check_limit("not ", 65, "name = 'a'", "search query is nested too deeply");
    check_limit("(", 65, "timeout) > 5", "search query is nested too deeply");
    check_limit("name = 'a' or ", 499, "name = 'a'", NULL);
    check_limit("name = 'a' or ", 500, "name = 'a'", "search query has too many terms");
    CLEANUP_FREE char *list = repeated("name in ('x'", ",'a'", 997, ")");
    check_limit("", 0, list, NULL);
    CLEANUP_FREE char *longer = repeated("name in ('x'", ",'a'", 1000, ")");
    check_limit("", 0, longer, "search query has too many terms");
    CLEANUP_FREE char *sum = repeated("timeout", " + 1", 2000, " > 5");
    check_limit("", 0, sum, "search query has too many terms");
    check_limit(" ", 1, "name = 'a'", NULL);
    CLEANUP_FREE char *big = repeated("name = '", "x", 1 << 16, "'");
    check_limit("", 0, big, "search query is too long");
}

static void test_not_utf8__is_refused(void **state)
{
    SearchExpr *e = NULL;
    Err err;
    assert_int_equal(search_parse(&kind_session, STR("name = '\xff'"), &e, &err), -ERR_BAD_REQUEST);
    assert_int_equal(search_parse(&kind_session, (Str){"name = '\0'", 10}, &e, &err), -ERR_BAD_REQUEST);
}

static void test_builders(void **state)
{
    Str ids[] = {STR("a"), STR("b")};
    CLEANUP_BUF Buf b = BUF_INIT(1024);
    CLEANUP(search_freep)
    SearchExpr *e = search_and(search_eq(SESSION_PROJECT_ID, STR("p")),
                               search_or(search_in(FIELD_ID, ids, 2), search_is_null(SESSION_PHASE)));
    show(&b, &kind_session, e);
    assert_string_equal(b.data, "(and (= project_id 'p') (or (in id 'a' 'b') (null phase)))");
    assert_null(search_and(NULL, NULL));
    assert_null(search_or(search_false(), NULL)); /* all or nothing is all */
    CLEANUP(search_freep) SearchExpr *one = search_and(NULL, search_eq_bool(SESSION_INTERACTIVE, false));
    buf_clear(&b);
    show(&b, &kind_session, one);
    assert_string_equal(b.data, "(= interactive 'false')");
    CLEANUP(search_freep) SearchExpr *none = search_in(FIELD_ID, NULL, 0);
    assert_int_equal(none->op, S_FALSE);
}

int run_search_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_searches_of_real_clients),
        cmocka_unit_test(test_every_form_of_a_test),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_arithmetic),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_what_does_not_parse__is_echoed_alone),
        cmocka_unit_test(test_scope_escape__does_not_parse),
        cmocka_unit_test(test_meaning__is_checked),
        cmocka_unit_test(test_blank__is_no_condition),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_not_utf8__is_refused),
        cmocka_unit_test(test_builders),
    };
    return cmocka_run_group_tests_name("search", tests, NULL, NULL);
}
