#include "json/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"

static void test_parse__go_error_texts(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "unexpected end of JSON input"},
        {"  ", "unexpected end of JSON input"},
        {"{", "unexpected end of JSON input"},
        {"[1,", "unexpected end of JSON input"},
        {"\"abc", "unexpected end of JSON input"},
        {"\"abc\\", "unexpected end of JSON input"},
        {"tru", "unexpected end of JSON input"},
        {"-", "unexpected end of JSON input"},
        {"1.", "unexpected end of JSON input"},
        {"{\"a\"", "unexpected end of JSON input"},
        {"x", "invalid character 'x' looking for beginning of value"},
        {"'a'", "invalid character '\\'' looking for beginning of value"},
        {"[1,]", "invalid character ']' looking for beginning of value"},
        {"[,1]", "invalid character ',' looking for beginning of value"},
        {"{,}", "invalid character ',' looking for beginning of object key string"},
        {"{\"a\":1,}", "invalid character '}' looking for beginning of object key string"},
        {"{a:1}", "invalid character 'a' looking for beginning of object key string"},
        {"{\"a\" 1}", "invalid character '1' after object key"},
        {"{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"},
        {"[1 2]", "invalid character '2' after array element"},
        {"[1}", "invalid character '}' after array element"},
        {"{\"a\":1]", "invalid character ']' after object key:value pair"},
        {"1 2", "invalid character '2' after top-level value"},
        {"{}x", "invalid character 'x' after top-level value"},
        {"\"a\nb\"", "invalid character '\\n' in string literal"},
        {"\"a\x01\"", "invalid character '\\x01' in string literal"},
        {"\"\\q\"", "invalid character 'q' in string escape code"},
        {"\"\\u12g4\"", "invalid character 'g' in \\u hexadecimal character escape"},
        {"-x", "invalid character 'x' in numeric literal"},
        {"01", "invalid character '1' after top-level value"},
        {"1.x", "invalid character 'x' after decimal point in numeric literal"},
        {"1ex", "invalid character 'x' in exponent of numeric literal"},
        {"trux", "invalid character 'x' in literal true (expecting 'e')"},
        {"nul]", "invalid character ']' in literal null (expecting 'l')"},
        {"\xc3\xa9", "invalid character '\xc3\x83' looking for beginning of value"},
        {"\xef\xbb\xbf{}", "invalid character '\xc3\xaf' looking for beginning of value"},
        {"\"\xff\"", "invalid UTF-8 in string literal"},
        {"\"\xed\xa0\x80\"", "invalid UTF-8 in string literal"},
        {"\"a\\u0000b\"", "\\u0000 is not allowed in strings"},
        {"{\"a\\u0000b\":1}", "\\u0000 is not allowed in strings"},
        {"{\"a\":1,\"a\":2}", "duplicate object key near '\"a\"'"},
        {"1e999", "number out of range at byte 5"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *v = NULL;
        Err err = {0};
        assert_int_equal(json_parse(str_from(cases[i].text), &v, &err), -(int)ERR_MALFORMED);
        assert_string_equal(err.msg, cases[i].message);
        assert_null(v);
    }
    Err err = {0};
    json_t *v = NULL;
    assert_int_equal(json_parse((Str){"{}\0", 3}, &v, &err), -(int)ERR_MALFORMED);
    assert_string_equal(err.msg, "invalid character '\\x00' after top-level value");
    assert_int_equal(json_parse(STR_NULL, &v, &err), -(int)ERR_MALFORMED);
}

/* What is parsed and written again, and what comes out. */
static void test_json__write_like_go(void **state)
{
    static const struct {
        const char *in, *out, *plain;
    } cases[] = {
        {"{}", "{}", "{}"},
        {" [ ] ", "[]", "[]"},
        {"{ \"b\" : 1, \"a\" : [ true , false, null ] }", "{\"b\":1,\"a\":[true,false,null]}",
         "{\"b\":1,\"a\":[true,false,null]}"},
        {"\"<&>\"", "\"\\u003c\\u0026\\u003e\"", "\"<&>\""},
        {"\"\\u2028\\u2029\"", "\"\\u2028\\u2029\"", "\"\xe2\x80\xa8\xe2\x80\xa9\""},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\"",
         "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\x7f\""},
        {"\"\\ud83d\\ude00\\u00e9\"", "\"\xf0\x9f\x98\x80\xc3\xa9\"", "\"\xf0\x9f\x98\x80\xc3\xa9\""},
        {"-9223372036854775808", "-9223372036854775808", "-9223372036854775808"},
        {"-0", "0", "0"},
        {"[9223372036854775807,9223372036854775808,-100000000000000000000]",
         "[9223372036854775807,9223372036854776000,-100000000000000000000]",
         "[9223372036854775807,9223372036854776000,-100000000000000000000]"},
        {"[1.50,1e2,-0.0]", "[1.5,100,-0]", "[1.5,100,-0]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *v = NULL;
        Err err = {0};
        if (json_parse(str_from(cases[i].in), &v, &err) < 0)
            fail_msg("%s: %s", cases[i].in, err.msg);
        CLEANUP_BUF Buf b = BUF_INIT(1000);
        json_write(&b, v);
        assert_string_equal(b.data, cases[i].out);
        buf_clear(&b);
        json_write_plain(&b, v);
        assert_string_equal(b.data, cases[i].plain);
    }
}

static void test_json__doubles_like_go(void **state)
{
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {0.7, "0.7"},
        {-1.5, "-1.5"},
        {100, "100"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1e20, "100000000000000000000"},
        {1e21, "1e+21"},
        {123456789012345680000.0, "123456789012345680000"},
        {1e-6, "0.000001"},
        {9.99e-7, "9.99e-7"},
        {1e-7, "1e-7"},
        {1.5e-10, "1.5e-10"},
        {1e100, "1e+100"},
        {5e-324, "5e-324"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {1.5e-323, "1.5e-323"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {5.684341886080802e-14, "5.684341886080802e-14"},
        {9007199254740993.0, "9007199254740992"},
        {2251799813685248.5, "2251799813685248.5"},
        {0.05, "0.05"},
        {1.0 / 3, "0.3333333333333333"},
        {123.456, "123.456"},
        {9.5367431640625e-07, "9.5367431640625e-7"},
        {NAN, "null"},
        {-INFINITY, "null"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF Buf b = BUF_INIT(100);
        json_write_double(&b, cases[i].v);
        assert_string_equal(b.data, cases[i].text);
    }
}

static void test_json__random_doubles_read_back(void **state)
{
    uint64_t seed = 5;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        uint64_t bits = seed ^ seed >> 29;
        double v, back;
        memcpy(&v, &bits, sizeof(v));
        if (!isfinite(v))
            continue;
        CLEANUP_BUF Buf b = BUF_INIT(400);
        json_write_double(&b, v);
        assert_int_equal(str_to_double(buf_str(&b), &back), 0);
        assert_true(v == back);
        assert_true(b.len <= 25);
    }
}

static void test_json__doubles_do_not_depend_on_the_locale(void **state)
{
    const char *got = setlocale(LC_NUMERIC, "de_DE.UTF-8"); /* where it is installed it writes a comma */
    CLEANUP_BUF Buf b = BUF_INIT(100);
    json_write_double(&b, 0.25);
    assert_string_equal(b.data, "0.25");
    double v = 0;
    assert_int_equal(str_to_double(STR("0.25"), &v), 0);
    assert_true(v == 0.25);
    if (got)
        setlocale(LC_NUMERIC, "C");
}

static void test_json__depth_is_limited_both_ways(void **state)
{
    char text[2 * (JSON_DEPTH_MAX + 1) + 1];
    for (int extra = 0; extra <= 1; extra++) {
        int n = JSON_DEPTH_MAX + extra;
        memset(text, '[', (size_t)n);
        memset(text + n, ']', (size_t)n);
        CLEANUP_JSON json_t *v = NULL;
        Err err = {0};
        assert_int_equal(json_parse((Str){text, 2 * (size_t)n}, &v, &err), extra ? -(int)ERR_MALFORMED : 0);
        if (extra)
            assert_string_equal(err.msg, "exceeded max depth");
    }
    static char deep[1000000];
    memset(deep, '[', sizeof(deep));
    json_t *none = NULL;
    assert_int_equal(json_parse((Str){deep, sizeof(deep)}, &none, NULL), -(int)ERR_MALFORMED);
    CLEANUP_JSON json_t *v = json_array();
    for (int i = 0; i < 1000; i++)
        v = json_pack("[o]", v);
    CLEANUP_BUF Buf b = BUF_INIT(100000);
    json_write(&b, v);
    assert_true(b.failed);
}

static void test_json__number_of_values_is_limited(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(SIZE_MAX);
    buf_addz(&b, "[{}");
    for (int i = 0; i < JSON_VALUES_MAX; i++)
        buf_addz(&b, ",{}");
    buf_addc(&b, ']');
    json_t *v = NULL;
    assert_int_equal(json_parse(buf_str(&b), &v, NULL), -(int)ERR_TOO_LARGE);
    assert_null(v);
}

static void test_json__getters(void **state)
{
    CLEANUP_JSON json_t *v = NULL;
    assert_int_equal(
        json_parse(STR("{\"s\":\"x\",\"i\":7,\"b\":true,\"o\":{},\"a\":[],\"n\":null,\"r\":1.5}"), &v, NULL),
        0);
    assert_string_equal(json_get_str(v, "s"), "x");
    assert_null(json_get_str(v, "i"));
    assert_null(json_get_str(v, "n"));
    assert_null(json_get_str(v, "absent"));
    assert_true(str_eqz(json_get_strv(v, "s"), "x"));
    assert_null(json_get_strv(v, "i").ptr);
    assert_int_equal(json_get_int(v, "i", 1), 7);
    assert_int_equal(json_get_int(v, "s", 1), 1);
    assert_int_equal(json_get_int(v, "r", 1), 1);
    assert_true(json_get_bool(v, "b", false));
    assert_true(json_get_bool(v, "i", true));
    assert_non_null(json_get_obj(v, "o"));
    assert_null(json_get_obj(v, "a"));
    assert_non_null(json_get_arr(v, "a"));
    assert_null(json_get_arr(v, "o"));
    assert_null(json_get_str(NULL, "s"));
    assert_int_equal(json_get_int(json_object_get(v, "a"), "i", 3), 3);
}

static void test_json__foreign_bytes_become_replacement_characters(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(100);
    json_write_str(&b, STR("a\xff\xe2\x82z\xe2\x80\xa7"));
    assert_string_equal(b.data, "\"a\\ufffd\\ufffd\\ufffdz\xe2\x80\xa7\"");
    CLEANUP_JSON json_t *v = json_strv((Str){"a\xff\0z", 4});
    assert_string_equal(json_string_value(v), "a\xef\xbf\xbd\xef\xbf\xbdz");
    CLEANUP_JSON json_t *empty = json_strv(STR_NULL);
    assert_string_equal(json_string_value(empty), "");
    buf_clear(&b);
    json_write_str_plain(&b, STR_NULL);
    assert_string_equal(b.data, "\"\"");
}

static void test_json__pretty_and_keys(void **state)
{
    CLEANUP_JSON json_t *v = json_pack("{s:[i,{}],s:[],s:{s:s}}", "a", 1, "b", "c", "d", "e");
    CLEANUP_BUF Buf b = BUF_INIT(1000);
    json_write_pretty(&b, v, 2);
    assert_string_equal(
        b.data, "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": [],\n  \"c\": {\n    \"d\": \"e\"\n  }\n}\n");
    buf_clear(&b);
    bool first = true;
    buf_addc(&b, '{');
    json_key(&b, &first, "a");
    buf_addc(&b, '1');
    json_key(&b, &first, "b");
    json_write(&b, NULL);
    buf_addc(&b, '}');
    assert_string_equal(b.data, "{\"a\":1,\"b\":null}");
}

static void test_json__parse_file(void **state)
{
    char dir[] = "/tmp/test-json-XXXXXX";
    assert_non_null(mkdtemp(dir));
    CLEANUP_FREE char *path = path_join(dir, "x.json");
    CLEANUP_JSON json_t *v = NULL;
    Err err = {0};
    assert_int_equal(json_parse_file(path, 100, &v, &err), -(int)ERR_NOT_FOUND);
    assert_int_equal(file_write_atomic(path, STR("{\"a\":"), 0600, NULL), 0);
    assert_int_equal(json_parse_file(path, 100, &v, &err), -(int)ERR_MALFORMED);
    assert_true(str_ends(str_from(err.msg), STR("x.json: unexpected end of JSON input")));
    assert_int_equal(json_parse_file(path, 3, &v, &err), -(int)ERR_TOO_LARGE);
    assert_int_equal(file_write_atomic(path, STR("[1]\n"), 0600, NULL), 0);
    assert_int_equal(json_parse_file(path, 100, &v, &err), 0);
    assert_int_equal(json_array_size(v), 1);
    assert_int_equal(dir_remove_tree(dir, NULL), 0);
}

static void *no_memory(size_t size)
{
    return NULL;
}

/* Not json_parse: jansson 2.14's reader asserts when its buffer cannot grow. */
static void test_json__strv_without_memory_is_null(void **state)
{
    json_set_alloc_funcs(no_memory, free);
    assert_null(json_strv(STR("x")));
    assert_null(json_strv(STR("\xff")));
    json_set_alloc_funcs(malloc, free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse__go_error_texts),
        cmocka_unit_test(test_json__write_like_go),
        cmocka_unit_test(test_json__doubles_like_go),
        cmocka_unit_test(test_json__random_doubles_read_back),
        cmocka_unit_test(test_json__doubles_do_not_depend_on_the_locale),
        cmocka_unit_test(test_json__depth_is_limited_both_ways),
        cmocka_unit_test(test_json__number_of_values_is_limited),
        cmocka_unit_test(test_json__getters),
        cmocka_unit_test(test_json__foreign_bytes_become_replacement_characters),
        cmocka_unit_test(test_json__pretty_and_keys),
        cmocka_unit_test(test_json__parse_file),
        cmocka_unit_test(test_json__strv_without_memory_is_null),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL) != 0;
}
