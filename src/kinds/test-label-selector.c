#include "test-internal.h"

/* The tree as text: op(key|values), '~' for negated. */
static void describe(const SearchExpr *e, Buf *out)
{
    if (e->op == S_AND) {
        describe(e->a, out);
        (void)buf_addc(out, ' ');
        describe(e->b, out);
        return;
    }
    (void)buf_addf(out, "%s%s(", e->negated ? "~" : "", e->op == S_LABEL_IN ? "in" : "has");
    for (size_t i = 0; i < e->n_lits; i++)
        (void)buf_addf(out, "%s%s", i ? "|" : "", e->lits[i].text);
    (void)buf_addc(out, ')');
}

static void test_selector__what_it_means(void **state)
{
    static const struct {
        const char *text, *tree;
    } cases[] = {
        {"a=b", "in(a|b)"},
        {" a == b ", "in(a|b)"},
        {"a!=b", "~in(a|b)"},
        {"a in (b)", "in(a|b)"},
        {"a in(b,c , d)", "in(a|b|c|d)"},
        {"a notin (b,c)", "~in(a|b|c)"},
        {"a", "has(a)"},
        {"!a", "~has(a)"},
        {"! a", "~has(a)"},
        {"a=", "in(a|)"},
        {"a=,b", "in(a|) has(b)"},
        {"a in (,b)", "in(a||b)"},
        {"in in (in)", "in(in|in)"},
        {"notin", "has(notin)"},
        {"app.kubernetes.io/name=x-1_2.Y,!z", "in(app.kubernetes.io/name|x-1_2.Y) ~has(z)"},
        {"x in (a,b),y notin (c),z!=1,w", "in(x|a|b) ~in(y|c) ~in(z|1) has(w)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(search_freep) SearchExpr *e = NULL;
        CLEANUP_BUF Buf text = BUF_INIT(4096);
        Err err = {0};
        assert_int_equal(label_selector_parse(&kind_session, str_from(cases[i].text), &e, &err), 0);
        assert_non_null(e);
        describe(e, &text);
        assert_string_equal(text.data, cases[i].tree);
    }
}

static void test_selector__blank_is_everything(void **state)
{
    SearchExpr *e = search_false();
    SearchExpr *before = e;
    assert_int_equal(label_selector_parse(&kind_session, STR("  "), &e, NULL), 0);
    assert_null(e);
    search_free(before);
}

static void test_selector__refusals(void **state)
{
    static const char *const cases[] = {
        ",",           "a,",     ",a",    "a b",     "a=b c",    "a=b,,c",     "=b",
        "!",           "!a=b",   "a in",  "a in ()", "a in (b",  "a in b",     "a in (b c)",
        "a notin ",    "a<1",    "a>1",   "-a",      "a-",       "a/b/c",      "/a",
        "a/",          "A.b/c",  "a_b/c", "a=-b",    "a=b-",     "a='b'",      "a=b\x01",
        "a\xc3\xa9=1", "a=b;c",  "a=b\"", "a==b==c", "a===b",    "a!b",        "a!==b",
        "a in (b))",   "a.../b", ".a=b",  "a=$",     "a=b or c", "a=b) or (1", "(a=b)",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        SearchExpr *e = NULL;
        Err err = {0};
        if (label_selector_parse(&kind_session, str_from(cases[i]), &e, &err) != -ERR_BAD_REQUEST)
            fail_msg("\"%s\" was taken", cases[i]);
        assert_non_null(strstr(err.msg, "labelSelector"));
        assert_null(e);
    }
}

static void test_selector__limits(void **state)
{
    CLEANUP_BUF Buf text = BUF_INIT(1 << 20);
    SearchExpr *e = NULL;
    Err err = {0};
    char name[65];
    memset(name, 'n', sizeof(name));
    assert_true(label_key_ok((Str){name, 63}));
    assert_false(label_key_ok((Str){name, 64}));
    assert_true(label_value_ok((Str){name, 63}));
    assert_false(label_value_ok((Str){name, 64}));
    for (int i = 0; i < 600; i++)
        (void)buf_addf(&text, "%sa=b", i ? "," : "");
    assert_int_equal(label_selector_parse(&kind_session, buf_str(&text), &e, &err), -ERR_BAD_REQUEST);
    for (int i = 0; i < 3000; i++)
        (void)buf_addz(&text, ",a=b");
    assert_int_equal(label_selector_parse(&kind_session, buf_str(&text), &e, &err), -ERR_BAD_REQUEST);
    assert_int_equal(label_selector_parse(&kind_user, STR("a=b"), &e, &err), -ERR_BAD_REQUEST);
    assert_string_equal(err.msg, "User has no labels");
}

int run_label_selector_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selector__what_it_means),
        cmocka_unit_test(test_selector__blank_is_everything),
        cmocka_unit_test(test_selector__refusals),
        cmocka_unit_test(test_selector__limits),
    };
    return cmocka_run_group_tests_name("label-selector", tests, NULL, NULL);
}
