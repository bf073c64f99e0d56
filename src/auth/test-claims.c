#include "test-internal.h"

typedef struct Case {
    const char *claims, *expected;
} Case;

static json_t *parse(const char *text)
{
    json_t *j = NULL;
    assert_int_equal(json_parse(str_from(text), &j, NULL), 0);
    return j;
}

static void test_username__one_order_of_claims(void **state)
{
    static const Case cases[] = {
        {"{\"username\":\"u\",\"preferred_username\":\"p\",\"sub\":\"s\"}", "u"},
        {"{\"preferred_username\":\"p\",\"sub\":\"s\"}", "p"},
        {"{\"sub\":\"s\"}", "s"},
        {"{\"username\":\"\",\"preferred_username\":\"p\"}", "p"},
        {"{\"username\":5,\"sub\":\"s\"}", "s"},
        {"{\"username\":\"system:serviceaccount:x\",\"sub\":\"s\"}", "s"},
        {"{\"sub\":\"a:b\"}", ""},
        {"{\"username\":\"a\\nb\"}", ""},
        {"{\"username\":\"a\\u007fb\"}", ""},
        {"{\"username\":null}", ""},
        {"{}", ""},
        {"{\"username\":\"J\\u00fcrgen +x@y\"}", "J\xc3\xbcrgen +x@y"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *j = parse(cases[i].claims);
        assert_true(str_eqz(claims_username(j), cases[i].expected));
    }
    CLEANUP_FREE char *longer = xasprintf("{\"username\":\"%0256d\"}", 0);
    CLEANUP_JSON json_t *j = parse(longer);
    assert_null(claims_username(j).ptr);
}

static void test_name__from_whatever_there_is(void **state)
{
    static const Case cases[] = {
        {"{\"first_name\":\"Ada\",\"last_name\":\"Lovelace\",\"name\":\"x\"}", "Ada Lovelace"},
        {"{\"given_name\":\"Ada\",\"family_name\":\"Lovelace\"}", "Ada Lovelace"},
        {"{\"given_name\":\"Ada\"}", "Ada"},
        {"{\"family_name\":\"Lovelace\"}", "Lovelace"},
        {"{\"name\":\" Ada B. Lovelace \"}", "Ada B. Lovelace"},
        {"{}", ""},
        {"{\"name\":{}}", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *j = parse(cases[i].claims);
        CLEANUP_BUF Buf b = BUF_INIT(1024);
        claims_name(j, &b);
        assert_true(str_eqz(buf_str(&b), cases[i].expected));
    }
    CLEANUP_JSON json_t *j = parse("{\"email\":\"a@b\"}");
    assert_true(str_eqz(claims_email(j), "a@b"));
}

int run_claims_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_username__one_order_of_claims),
        cmocka_unit_test(test_name__from_whatever_there_is),
    };
    return cmocka_run_group_tests_name("claims", tests, NULL, NULL);
}
