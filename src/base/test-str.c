#include "base/str.h"

#include "base/mem.h"
#include "test-internal.h"

static void test_str__comparisons(void **state)
{
    assert_true(str_eq(STR("a"), STR("a")));
    assert_true(str_eq(STR_NULL, STR("")));
    assert_false(str_eq(STR("a"), STR("ab")));
    assert_true(str_eqz(STR(""), NULL));
    assert_false(str_eqz(STR("a"), NULL));
    assert_true(str_ieq(STR("Content-TYPE"), STR("content-type")));
    assert_false(str_ieq(STR("[a"), STR("{a"))); /* differ in the bit that letters differ in by case */
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("a"), STR("ab")) < 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR_NULL, STR("")), 0);
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR_NULL, STR("")));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_istarts(STR("Bearer x"), STR("bearer ")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_false(str_ends(STR("c"), STR("bc")));
}

static void test_str__parts(void **state)
{
    assert_str_equal(str_trim(STR(" \t\r\n x y \v\f")), "x y");
    assert_str_equal(str_trim(STR("  ")), "");
    assert_str_equal(str_slice(STR("abcdef"), 2, 4), "cd");
    assert_str_equal(str_slice(STR("abc"), 2, 99), "c");
    assert_str_equal(str_slice(STR("abc"), 9, 1), "");
    assert_int_equal(str_find(STR("abcabc"), STR("ca")), 2);
    assert_int_equal(str_find(STR("abc"), STR("")), 0);
    assert_int_equal(str_find(STR("a"), STR("abc")), -1);
    assert_int_equal(str_find(STR_NULL, STR("a")), -1);
    assert_int_equal(str_find_byte(STR("abc"), 'c'), 2);
    assert_int_equal(str_find_byte(STR_NULL, 'c'), -1);
    CLEANUP_FREE char *copy = str_dup(str_slice(STR("abc"), 0, 2));
    assert_string_equal(copy, "ab");
}

static void test_str__cut_walks_every_part(void **state)
{
    static const struct {
        const char *text;
        const char *parts[4];
    } cases[] = {
        {"a,b,c", {"a", "b", "c"}}, {"a", {"a"}},    {"", {""}},
        {"a,", {"a", ""}},          {",", {"", ""}}, {",,x", {"", "", "x"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Str rest = str_from(cases[i].text);
        size_t n = 0;
        while (rest.ptr)
            assert_str_equal(str_cut(&rest, ','), cases[i].parts[n++]);
        assert_true(n == 4 || cases[i].parts[n] == NULL);
    }
}

static void test_str__integers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t v;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"+7", true, 7},
        {"007", true, 7},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+", false, 0},
        {"-+1", false, 0},
        {"+-1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"0x1", false, 0},
        {"1.0", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        int64_t v = 42;
        int r = str_to_i64(str_from(cases[i].text), &v);
        if ((r == 0) != cases[i].ok || v != (cases[i].ok ? cases[i].v : 42))
            fail_msg("\"%s\": %d, %lld", cases[i].text, r, (long long)v);
    }
    uint64_t u;
    assert_int_equal(str_to_u64(STR("18446744073709551615"), &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(str_to_u64(STR("18446744073709551616"), &u), -1);
    assert_int_equal(str_to_u64(STR("-1"), &u), -1);
    assert_int_equal(str_to_u64((Str){"12x", 2}, &u), 0);
    assert_true(u == 12);
}

static void test_str__doubles(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        double v;
    } cases[] = {
        {"0", true, 0},    {"-1.5", true, -1.5}, {"1e3", true, 1000}, {"1.E-3", true, 0.001},
        {".5", true, 0.5}, {"0.7", true, 0.7},   {"1e-999", true, 0}, {"1e999", false, 0},
        {"", false, 0},    {".", false, 0},      {"e1", false, 0},    {"1e", false, 0},
        {"1e+", false, 0}, {"inf", false, 0},    {"nan", false, 0},   {"0x10", false, 0},
        {" 1", false, 0},  {"1 ", false, 0},     {"1,5", false, 0},   {"--1", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double v = 42;
        int r = str_to_double(str_from(cases[i].text), &v);
        if ((r == 0) != cases[i].ok || (cases[i].ok && v != cases[i].v))
            fail_msg("\"%s\": %d, %g", cases[i].text, r, v);
    }
}

static void test_str__utf8(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        {"", true},
        {"plain", true},
        {"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xf4\x90\x80\x80", false}, /* above U+10FFFF */
        {"\xc0\xaf", false},         /* overlong */
        {"\xe0\x80\xaf", false},
        {"\xf0\x80\x80\xaf", false},
        {"\xed\xa0\x80", false}, /* surrogate */
        {"\xed\x9f\xbf", true},
        {"\x80", false},
        {"\xe2\x82", false},
        {"\xe2\x28\xa1", false},
        {"\xff", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (str_is_utf8(str_from(cases[i].text)) != cases[i].ok)
            fail_msg("case %zu", i);
    assert_false(str_is_utf8((Str){"a\0b", 3}));
    assert_int_equal(str_utf8_seq((Str){"\0", 1}), 1);
    assert_int_equal(str_utf8_seq(STR("\xe2\x82\xac...")), 3);
    assert_int_equal(str_utf8_seq(STR_NULL), 0);
}

int run_str_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_str__comparisons),
        cmocka_unit_test(test_str__parts),
        cmocka_unit_test(test_str__cut_walks_every_part),
        cmocka_unit_test(test_str__integers),
        cmocka_unit_test(test_str__doubles),
        cmocka_unit_test(test_str__utf8),
    };
    return cmocka_run_group_tests_name("base-str", tests, NULL, NULL);
}
