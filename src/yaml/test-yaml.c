#include "yaml/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

static void assert_parses(int (*parse)(Str, json_t **, Err *), const char *text, const char *want)
{
    CLEANUP_JSON json_t *v = NULL;
    Err err = {0};
    if (parse(str_from(text), &v, &err) < 0)
        fail_msg("%s\n%s", text, err.msg);
    CLEANUP_BUF Buf b = BUF_INIT(100000);
    json_write_plain(&b, v);
    if (!str_eqz(buf_str(&b), want))
        fail_msg("%s\ngot  %s\nwant %s", text, b.data, want);
}

static void test_yaml__parses(void **state)
{
    static const struct {
        const char *text, *json;
    } cases[] = {
        {"", "[]"},
        {"# only a comment\n", "[]"},
        {"---\n", "[null]"},
        {"---\n---\na: 1\n...\n---\nx\n", "[null,{\"a\":1},\"x\"]"},
        {"\na: 1\nb: [x, {c: d}]\n", "[{\"a\":1,\"b\":[\"x\",{\"c\":\"d\"}]}]"},
        {"{\"json\": [1, 2.5, true, null, \"\\u00e9\\n\"]}",
         "[{\"json\":[1,2.5,true,null,\"\xc3\xa9\\n\"]}]"},
        {"[null, Null, NULL, ~]", "[[null,null,null,null]]"},
        {"- \n- ''\n- \"\"\n", "[[null,\"\",\"\"]]"},
        {"[true, True, FALSE, yes, no, on, tRUE]", "[[true,true,false,\"yes\",\"no\",\"on\",\"tRUE\"]]"},
        {"[0, -1, +12, 017, 0o17, 0x1F, 0xg, 0o8, 1_000]", "[[0,-1,12,17,15,31,\"0xg\",\"0o8\",\"1_000\"]]"},
        {"[1.5, .5, 1., -1e3, 1e-7, 1.2.3, 1e, ., 12e03]",
         "[[1.5,0.5,1,-1000,1e-7,\"1.2.3\",\"1e\",\".\",12000]]"},
        {"[9223372036854775807, 9223372036854775808]", "[[9223372036854775807,9223372036854776000]]"},
        {"[2026-04-01, 12:30:45, 'true', \"1\"]", "[[\"2026-04-01\",\"12:30:45\",\"true\",\"1\"]]"},
        {"[!!str 1, !!int 7, !!float 7, ! 12, !!null '', !!str]", "[[\"1\",7,7,\"12\",null,\"\"]]"},
        {"lit: |\n  a\n   b\n\nfold: >-\n  c\n  d\nkeep: |+\n  e\n\n",
         "[{\"lit\":\"a\\n b\\n\",\"fold\":\"c d\",\"keep\":\"e\\n\\n\"}]"},
        {"a: &x {b: 1}\nc: *x\nd: [*x]\n", "[{\"a\":{\"b\":1},\"c\":{\"b\":1},\"d\":[{\"b\":1}]}]"},
        {"- &k key\n- {*k : 1}\n", "[[\"key\",{\"key\":1}]]"},
        {"- &x 1\n- &x 2\n- *x\n", "[[1,2,2]]"},
        {"1: a\ntrue: b\n~: c\n", "[{\"1\":\"a\",\"true\":\"b\",\"~\":\"c\"}]"},
        {"b: &b {x: 1, y: 2}\nm:\n  y: 3\n  <<: *b\n  z: 4\n",
         "[{\"b\":{\"x\":1,\"y\":2},\"m\":{\"y\":3,\"z\":4,\"x\":1}}]"},
        {"m: {<<: [{a: 1}, {a: 2, b: 3}]}\n", "[{\"m\":{\"a\":1,\"b\":3}}]"},
        {"'<<': 1\n", "[{\"<<\":1}]"},
        {"%YAML 1.2\n---\na: b # comment\n", "[{\"a\":\"b\"}]"},
        {"a: 'it''s'\nb: \"tab\\tnl\\x41\\U0001F600\"\n",
         "[{\"a\":\"it's\",\"b\":\"tab\\tnlA\xf0\x9f\x98\x80\"}]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_parses(yaml_parse_all, cases[i].text, cases[i].json);
}

static void test_yaml__as_written_keeps_the_text_of_scalars(void **state)
{
    assert_parses(yaml_parse_all_as_written,
                  "{a: true, b: 8080, c: 1.10, d: , e: 'x', f: [0x1F, ~], g: .inf}",
                  "[{\"a\":\"true\",\"b\":\"8080\",\"c\":\"1.10\",\"d\":null,\"e\":\"x\",\"f\":[\"0x1F\","
                  "null],\"g\":\".inf\"}]");
}

static void test_yaml__refuses(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"a: 1\nb: 2\na: 3\n", "line 3: mapping key \"a\" already defined at line 1"},
        {"a: {x: 1,\n  x: 2}\n", "line 2: mapping key \"x\" already defined at line 1"},
        {"a: *nope\n", "line 1: unknown anchor"},
        {"a: &a [*a]\n", "line 1: unknown anchor"},
        {"- &x 1\n---\n- *x\n", "line 3: unknown anchor"},
        {"? [a]\n: 1\n", "line 1: a mapping or sequence cannot be a key"},
        {"- &x [a]\n- {*x : 1}\n", "line 2: only a string can be a key"},
        {"a: .inf\n", "line 1: number that JSON cannot hold"},
        {"a: 0xffffffffffffffffff\n", "line 1: number that JSON cannot hold"},
        {"a: !!binary aGk=\n",
         "line 1: tag does not fit its value, or is not one of !!str, !!int, !!float, !!bool, !!null"},
        {"a: !!int x\n",
         "line 1: tag does not fit its value, or is not one of !!str, !!int, !!float, !!bool, !!null"},
        {"a: !Ref {}\n", "line 1: unknown tag"},
        {"a: !!seq {}\n", "line 1: unknown tag"},
        {"a: \"\\0\"\n", "line 1: \\0 is not allowed in strings"},
        {"\"\\0\": 1\n", "line 1: \\0 is not allowed in strings"},
        {"m: {<<: 1}\n", "<<: only mappings can be merged"},
        {"m: {<<: [1]}\n", "<<: only mappings can be merged"},
        {"a: \xff\n", "not UTF-8 text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        json_t *v = NULL;
        Err err = {0};
        assert_int_equal(yaml_parse_all(str_from(cases[i].text), &v, &err), -(int)ERR_MALFORMED);
        assert_string_equal(err.msg, cases[i].message);
        assert_null(v);
    }
    static const char *const broken[] = {"[1",    "a: [}",       "a: b: c", "\"x", "\ta: 1\n\tb: {",
                                         "a: 'x", "- a\nb: 1\n", "&"};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        json_t *v = NULL;
        Err err = {0};
        if (yaml_parse_all(str_from(broken[i]), &v, &err) != -(int)ERR_MALFORMED)
            fail_msg("took %s", broken[i]);
        assert_true(str_starts(str_from(err.msg), STR("line ")));
    }
}

static void test_yaml__aliases_cannot_multiply_without_bound(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(100000);
    buf_addz(&b, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 12; i++) {
        buf_addf(&b, "a%d: &a%d [", i, i);
        for (int k = 0; k < 10; k++)
            buf_addf(&b, "*a%d, ", i - 1);
        buf_addz(&b, "]\n");
    }
    json_t *v = NULL;
    Err err = {0};
    assert_int_equal(yaml_parse_all(buf_str(&b), &v, &err), -(int)ERR_TOO_LARGE);
    assert_null(v);
}

static void test_yaml__depth_is_limited(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(1000000);
    json_t *v = NULL;
    Err err = {0};
    for (int i = 0; i < 100000; i++)
        buf_addz(&b, "[");
    assert_int_equal(yaml_parse_all(buf_str(&b), &v, &err), -(int)ERR_MALFORMED);
    buf_clear(&b);
    buf_addz(&b, "- &x ");
    for (int i = 0; i < 40; i++)
        buf_addc(&b, '[');
    for (int i = 0; i < 40; i++)
        buf_addc(&b, ']');
    buf_addz(&b, "\n- ");
    for (int i = 0; i < 40; i++)
        buf_addc(&b, '[');
    buf_addz(&b, "*x");
    for (int i = 0; i < 40; i++)
        buf_addc(&b, ']');
    assert_int_equal(yaml_parse_all(buf_str(&b), &v, &err), -(int)ERR_MALFORMED);
    assert_string_equal(err.msg, "line 2: exceeded max depth");
}

static void test_yaml__writes(void **state)
{
    static const struct {
        const char *json, *yaml;
    } cases[] = {
        {"{}", "{}\n"},
        {"[]", "[]\n"},
        {"null", "null\n"},
        {"\"a b\"", "a b\n"},
        {"{\"a\":1,\"b\":{\"c\":true,\"d\":[]},\"e\":{}}", "a: 1\nb:\n  c: true\n  d: []\ne: {}\n"},
        {"{\"a\":[1,{\"b\":2,\"c\":[3]},[4,[5]]]}", "a:\n- 1\n- b: 2\n  c:\n  - 3\n- - 4\n  - - 5\n"},
        {"{\"a\":\"one\\ntwo\\n\",\"b\":\"x\\n\\n y\"}", "a: |\n  one\n  two\nb: |-\n  x\n\n   y\n"},
        {"[\"a\\n\\n\"]", "- |+\n  a\n\n"},
        {"[\"yes\",\"1\",\"1.0\",\"null\",\"~\",\"\",\"2026-04-01\",\"1:30\",\"0x1\"]",
         "- \"yes\"\n- \"1\"\n- \"1.0\"\n- \"null\"\n- \"~\"\n- \"\"\n- \"2026-04-01\"\n- \"1:30\"\n- "
         "\"0x1\"\n"},
        {"[\"a: b\",\"a #b\",\"-x\",\"a:\",\" a\",\"a \",\"#\",\"a:b\",\"http://x/y#z\",\"it's\"]",
         "- \"a: b\"\n- \"a #b\"\n- \"-x\"\n- \"a:\"\n- \" a\"\n- \"a \"\n- \"#\"\n- a:b\n- http://x/y#z\n- "
         "it's\n"},
        {"[\"\\u0007\\t\",\"\\u0085\\u2028\\ufeff\\u007f\",\" \\n\"]",
         "- \"\\u0007\\t\"\n- \"\\x85\\u2028\\ufeff\\x7f\"\n- \" \\n\"\n"},
        {"{\"ambient.io/rules\":\"[]\",\"a b\":1,\"x: y\":2,\"\":3}",
         "ambient.io/rules: \"[]\"\na b: 1\n\"x: y\": 2\n\"\": 3\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *v = NULL, *back = NULL;
        CLEANUP_BUF Buf b = BUF_INIT(10000);
        assert_int_equal(json_parse(str_from(cases[i].json), &v, NULL), 0);
        assert_int_equal(yaml_write(&b, v, NULL), 0);
        assert_string_equal(b.data, cases[i].yaml);
        assert_int_equal(yaml_parse_all(buf_str(&b), &back, NULL), 0);
        assert_int_equal(json_array_size(back), 1);
        assert_true(json_equal(json_array_get(back, 0), v));
    }
}

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

/* Strings of what YAML gives a meaning to. */
static json_t *random_string(uint64_t *seed)
{
    static const char *const pieces[] = {"a",
                                         "b",
                                         " ",
                                         "\n",
                                         ":",
                                         "#",
                                         "-",
                                         "\"",
                                         "'",
                                         "{",
                                         "]",
                                         "|",
                                         ">",
                                         "%",
                                         "\t",
                                         "~",
                                         "1",
                                         "0x",
                                         ".",
                                         "e",
                                         "true",
                                         "null",
                                         "no",
                                         "<<",
                                         "---",
                                         "...",
                                         "\xc3\xa9",
                                         "\xc2\x85",
                                         "\xe2\x80\xa8",
                                         "\xef\xbb\xbf",
                                         "\\",
                                         "&x",
                                         "*x",
                                         "!",
                                         "?",
                                         ",",
                                         "@",
                                         "\r",
                                         "\x7f"};
    CLEANUP_BUF Buf b = BUF_INIT(1000);
    for (uint32_t n = next_random(seed) % 7; n; n--)
        buf_addz(&b, pieces[next_random(seed) % ARRAY_LEN(pieces)]);
    return json_strv(buf_str(&b));
}

static json_t *random_value(uint64_t *seed, unsigned depth)
{
    uint32_t kind = next_random(seed) % (depth ? 8 : 6);
    if (kind < 4)
        return random_string(seed);
    if (kind == 4)
        return json_integer((json_int_t)next_random(seed) - 1000);
    if (kind == 5)
        return next_random(seed) % 2 ? json_null() : json_boolean(next_random(seed) % 2);
    json_t *v = kind == 6 ? json_array() : json_object();
    for (uint32_t n = next_random(seed) % 5; n; n--) {
        if (kind == 6) {
            json_array_append_new(v, random_value(seed, depth - 1));
            continue;
        }
        CLEANUP_JSON json_t *key = random_string(seed);
        json_object_set_new(v, json_string_value(key), random_value(seed, depth - 1));
    }
    return v;
}

static void test_yaml__random_values_read_back(void **state)
{
    uint64_t seed = 17;
    for (int i = 0; i < 5000; i++) {
        CLEANUP_JSON json_t *v = random_value(&seed, 4), *back = NULL;
        CLEANUP_BUF Buf b = BUF_INIT(1000000);
        Err err = {0};
        assert_int_equal(yaml_write(&b, v, NULL), 0);
        if (yaml_parse_all(buf_str(&b), &back, &err) < 0)
            fail_msg("%s\n%s", b.data, err.msg);
        if (!json_equal(json_array_get(back, 0), v))
            fail_msg("%s", b.data);
    }
}

static void test_yaml__write_limits(void **state)
{
    CLEANUP_JSON json_t *v = json_array();
    for (int i = 0; i < 1000; i++)
        v = json_pack("[o]", v);
    CLEANUP_BUF Buf b = BUF_INIT(100000);
    assert_int_equal(yaml_write(&b, v, NULL), -(int)ERR_TOO_LARGE);
    char key[1100];
    memset(key, 'k', sizeof(key) - 1);
    key[sizeof(key) - 1] = '\0';
    CLEANUP_JSON json_t *long_key = json_pack("{s:i}", key, 1);
    CLEANUP_BUF Buf c = BUF_INIT(100000);
    assert_int_equal(yaml_write(&c, long_key, NULL), -(int)ERR_INVALID);
}

static int allocations_left = -1; /* of jansson; -1: no fault */

static void *failing_malloc(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return malloc(size);
}

static void test_yaml__every_allocation_of_a_value_may_fail(void **state)
{
    json_set_alloc_funcs(failing_malloc, free);
    int faults = 0, r;
    do {
        CLEANUP_JSON json_t *v = NULL;
        Err err = {0};
        allocations_left = faults++;
        r = yaml_parse_all(STR("a: &x {b: 1, c: [2.5, text, true]}\nd: *x\ne: {<<: [*x], f: g}\n---\n[]\n"),
                           &v, &err);
        allocations_left = -1;
        assert_true(r == 0 ? v != NULL : !v && err.code && *err.msg);
    } while (r < 0);
    assert_true(faults > 20);
    json_set_alloc_funcs(malloc, free);
}

static void test_yaml__lines_of_members(void **state)
{
    CLEANUP_JSON json_t *all =
        yaml_member_lines(STR("# first\nkind: A\nspec:\n  prompt: |\n    x\n    y\n"
                              "  deep: {a: {b: {c: 1}}}\n---\n---\n? [1]\n: 2\nname: z\n"));
    CLEANUP_JSON json_t *want = NULL;
    assert_int_equal(json_parse(STR("[{\"kind\":2,\"spec\":3,\"spec.prompt\":4,\"spec.deep\":7,"
                                    "\"spec.deep.a\":7},{},{\"name\":12}]"),
                                &want, NULL),
                     0);
    assert_true(json_equal(all, want));
    CLEANUP_JSON json_t *none = yaml_member_lines(STR("a: [1"));
    assert_int_equal(json_array_size(none), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_yaml__lines_of_members),
        cmocka_unit_test(test_yaml__parses),
        cmocka_unit_test(test_yaml__as_written_keeps_the_text_of_scalars),
        cmocka_unit_test(test_yaml__refuses),
        cmocka_unit_test(test_yaml__aliases_cannot_multiply_without_bound),
        cmocka_unit_test(test_yaml__depth_is_limited),
        cmocka_unit_test(test_yaml__writes),
        cmocka_unit_test(test_yaml__random_values_read_back),
        cmocka_unit_test(test_yaml__write_limits),
        cmocka_unit_test(test_yaml__every_allocation_of_a_value_may_fail),
    };
    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL) != 0;
}
