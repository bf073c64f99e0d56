#include "test-internal.h"

static void test_set__keeps_keys_that_can_verify(void **state)
{
    Buf b = BUF_INIT(64 << 10);
    const struct {
        TestKey key;
        const char *kid, *extra;
    } rows[] = {
        {KEY_RSA, "rsa", ""},
        {KEY_RSA, "rsa384", ",\"alg\":\"RS384\",\"use\":\"sig\""},
        {KEY_EC, "ec", ",\"alg\":\"ES256\""},
        {KEY_RSA, "rsa", ""}, /* the first of a kid counts */
        {KEY_RSA, "for-encryption", ",\"use\":\"enc\""},
        {KEY_RSA, "pss", ",\"alg\":\"PS256\""},
        {KEY_RSA_1024, "short", ""},
        {KEY_EC_384, "other-curve", ""},
        {KEY_EC, "wrong-alg", ",\"alg\":\"RS256\""},
        {KEY_RSA, "", ""},
    };
    buf_addz(&b, "{\"keys\":[");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_FREE char *jwk = test_jwk(rows[i].key, rows[i].kid, rows[i].extra);
        buf_addf(&b, "%s,", jwk);
    }
    buf_addz(&b, "{\"kty\":\"oct\",\"kid\":\"shared\",\"k\":\"AAAA\"},{\"kty\":\"RSA\",\"kid\":\"broken\","
                 "\"n\":\"!\"},"
                 "{\"kty\":\"RSA\",\"kid\":\"empty\"},5,null,{}],\"more\":1}");
    CLEANUP(jwk_set_freep) JwkSet *s = NULL;
    assert_int_equal(jwk_set_parse(buf_str(&b), &s, NULL), 0);
    assert_int_equal(jwk_set_len(s), 3);
    assert_int_equal(jwk_set_find(s, STR("rsa"))->type, JWK_RSA);
    assert_null(jwk_set_find(s, STR("rsa"))->alg);
    assert_string_equal(jwk_set_find(s, STR("rsa384"))->alg, "RS384");
    assert_int_equal(jwk_set_find(s, STR("ec"))->type, JWK_P256);
    assert_null(jwk_set_find(s, STR("short")));
    assert_null(jwk_set_find(s, STR("RSA")));
    assert_null(jwk_set_find(NULL, STR("rsa")));
    buf_done(&b);
}

static void test_set__refusals(void **state)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "null",
                                      "{}",
                                      "{\"keys\":{}}",
                                      "{\"keys\":[]}",
                                      "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"a\",\"k\":\"AAAA\"}]}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        JwkSet *s = NULL;
        assert_int_equal(jwk_set_parse(str_from(bad[i]), &s, NULL), -ERR_MALFORMED);
        assert_null(s);
    }
    Buf b = BUF_INIT(64 << 10);
    buf_addz(&b, "{\"keys\":[0");
    for (int i = 0; i < 256; i++)
        buf_addz(&b, ",0");
    buf_addz(&b, "]}");
    JwkSet *s = NULL;
    Err err;
    assert_int_equal(jwk_set_parse(buf_str(&b), &s, &err), -ERR_MALFORMED);
    assert_string_equal(err.msg, "more than 256 keys");
    buf_done(&b);
}

int run_jwk_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set__keeps_keys_that_can_verify),
        cmocka_unit_test(test_set__refusals),
    };
    return cmocka_run_group_tests_name("jwk", tests, NULL, NULL);
}
