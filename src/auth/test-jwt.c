#include "test-internal.h"

static JwkSet *set_of(TestKey key, const char *extra)
{
    JwkSet *s = NULL;
    CLEANUP_FREE char *text = test_jwks(test_jwk(key, "k", extra), NULL);
    assert_int_equal(jwk_set_parse(str_from(text), &s, NULL), 0);
    return s;
}

/* Whole way of a token against one key; *ret_claims may be NULL. */
static int verify(const char *token, const JwkSet *set, Err *err)
{
    CLEANUP(jwt_head_done) JwtHead head = {0};
    CLEANUP_JSON json_t *claims = NULL;
    int rc = jwt_head(str_from(token), &head, err);
    if (rc < 0)
        return rc;
    const Jwk *key = jwk_set_find(set, str_from(head.kid));
    assert_non_null(key);
    return jwt_verify(str_from(token), &head, key, &claims, err);
}

static void check_refused(char *token, const JwkSet *set, const char *why)
{
    Err err = {0};
    assert_int_equal(verify(token, set, &err), -ERR_UNAUTHENTICATED);
    if (why)
        assert_string_equal(err.msg, why);
    free(token);
}

static void check_accepted(TestKey key, const char *alg, const char *extra)
{
    CLEANUP(jwk_set_freep) JwkSet *s = set_of(key, extra);
    CLEANUP_FREE char *token = test_token(key, alg, "k", CLAIMS_ALICE);
    Err err = {0};
    if (verify(token, s, &err) < 0)
        fail_msg("%s: %s", alg, err.msg);
}

static void test_verify__accepts_the_five_algorithms(void **state)
{
    check_accepted(KEY_RSA, "RS256", "");
    check_accepted(KEY_RSA, "RS256", ",\"alg\":\"RS256\"");
    check_accepted(KEY_RSA, "RS384", "");
    check_accepted(KEY_RSA, "RS512", "");
    check_accepted(KEY_EC, "ES256", "");
    check_accepted(KEY_ED25519, "EdDSA", "");
    check_accepted(KEY_ED25519, "EdDSA", ",\"alg\":\"EdDSA\"");
}

static void test_verify__ed25519_is_no_other_key(void **state)
{
    CLEANUP(jwk_set_freep) JwkSet *ed = set_of(KEY_ED25519, "");
    CLEANUP(jwk_set_freep) JwkSet *rsa = set_of(KEY_RSA, "");
    check_refused(test_token(KEY_ED25519, "EdDSA", "k", CLAIMS_ALICE), rsa,
                  "signing method does not fit the key");
    check_refused(test_token(KEY_RSA, "RS256", "k", CLAIMS_ALICE), ed, "signing method does not fit the key");
    check_refused(test_sign(KEY_RSA, "RS256", "{\"alg\":\"EdDSA\",\"kid\":\"k\"}", CLAIMS_ALICE), ed,
                  "signature is invalid");
    CLEANUP_FREE char *token = test_token(KEY_ED25519, "EdDSA", "k", CLAIMS_ALICE);
    char *at = strchr(token, '.') + 5;
    *at = *at == 'A' ? 'B' : 'A';
    check_refused(xstrdup(token), ed, "signature is invalid");
    check_refused(test_sign(KEY_ED25519, "EdDSA", "{\"alg\":\"EdDSA\",\"kid\":\"k\"}", "[1]"), ed,
                  "token claims are malformed");
}

static void test_verify__alg_confusion_is_refused(void **state)
{
    CLEANUP(jwk_set_freep) JwkSet *rsa = set_of(KEY_RSA, "");
    CLEANUP(jwk_set_freep) JwkSet *rs384 = set_of(KEY_RSA, ",\"alg\":\"RS384\"");
    CLEANUP(jwk_set_freep) JwkSet *ec = set_of(KEY_EC, "");
    check_refused(test_token(KEY_RSA, "HS256", "k", CLAIMS_ALICE), rsa, "signing method HS256 is invalid");
    check_refused(test_token(KEY_RSA, "PS256", "k", CLAIMS_ALICE), rsa, "signing method PS256 is invalid");
    check_refused(test_token(KEY_EC_384, "ES384", "k", CLAIMS_ALICE), ec, "signing method ES384 is invalid");
    check_refused(test_sign(KEY_RSA, "none", "{\"alg\":\"none\",\"kid\":\"k\"}", CLAIMS_ALICE), rsa,
                  "token is malformed"); /* an empty signature */
    check_refused(test_sign(KEY_RSA, "RS256", "{\"alg\":\"none\",\"kid\":\"k\"}", CLAIMS_ALICE), rsa,
                  "signing method none is invalid");
    check_refused(test_sign(KEY_RSA, "RS256", "{\"alg\":\"rs256\",\"kid\":\"k\"}", CLAIMS_ALICE), rsa,
                  "signing method rs256 is invalid");
    check_refused(test_sign(KEY_RSA, "RS256", "{\"alg\":5,\"kid\":\"k\"}", CLAIMS_ALICE), rsa, NULL);
    check_refused(test_sign(KEY_RSA, "RS256", "{\"kid\":\"k\"}", CLAIMS_ALICE), rsa, NULL);
    check_refused(test_token(KEY_RSA, "RS256", "k", CLAIMS_ALICE), rs384,
                  "signing method does not fit the key");
    check_refused(test_token(KEY_RSA, "RS256", "k", CLAIMS_ALICE), ec, "signing method does not fit the key");
    check_refused(test_token(KEY_EC, "ES256", "k", CLAIMS_ALICE), rsa, "signing method does not fit the key");
    /* the header says one thing, the signature is another */
    check_refused(test_sign(KEY_RSA, "RS512", "{\"alg\":\"RS256\",\"kid\":\"k\"}", CLAIMS_ALICE), rsa,
                  "signature is invalid");
}

static void test_verify__signatures_of_others(void **state)
{
    CLEANUP(jwk_set_freep) JwkSet *rsa = set_of(KEY_RSA, "");
    CLEANUP(jwk_set_freep) JwkSet *ec = set_of(KEY_EC, "");
    check_refused(test_token(KEY_RSA_OTHER, "RS256", "k", CLAIMS_ALICE), rsa, "signature is invalid");
    char *token = test_token(KEY_RSA, "RS256", "k", CLAIMS_ALICE);
    char *payload = strchr(token, '.') + 1;
    payload[5] = payload[5] == 'A' ? 'B' : 'A';
    check_refused(token, rsa, "signature is invalid");
    token = test_token(KEY_EC, "ES256", "k", CLAIMS_ALICE);
    char *sig = strrchr(token, '.') + 1;
    sig[10] = sig[10] == 'A' ? 'B' : 'A';
    check_refused(token, ec, NULL);
    token = test_token(KEY_EC, "ES256", "k", CLAIMS_ALICE);
    token[strlen(token) - 4] = '\0'; /* a signature cut short */
    check_refused(token, ec, NULL);
}

static void test_head__refusals(void **state)
{
    static const char *const headers[] = {
        "{\"alg\":\"RS256\"}",
        "{\"alg\":\"RS256\",\"kid\":\"\"}",
        "{\"alg\":\"RS256\",\"kid\":7}",
        "{\"alg\":\"RS256\",\"kid\":null}",
        "{\"alg\":\"RS256\",\"kid\":\"k\",\"crit\":[\"b64\"],\"b64\":false}",
        "{\"alg\":\"RS256\",\"alg\":\"RS256\",\"kid\":\"k\"}",
        "[]",
        "\"x\"",
        "{\"alg\":\"RS256\",\"kid\":\"k\"",
        "",
    };
    CLEANUP(jwk_set_freep) JwkSet *rsa = set_of(KEY_RSA, "");
    for (size_t i = 0; i < ARRAY_LEN(headers); i++)
        check_refused(test_sign(KEY_RSA, "RS256", headers[i], CLAIMS_ALICE), rsa, NULL);
    CLEANUP_FREE char *kid = xasprintf("%0300d", 0);
    check_refused(test_token(KEY_RSA, "RS256", kid, CLAIMS_ALICE), rsa, "token has no key id");
}

static void test_shape__refusals(void **state)
{
    static const char *const bad[] = {
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        "aa.bb.",
        ".bb.cc",
        "aa..cc",
        "aaaaa.bb.cc",
        "aa.bb.c c",
        "aa.b=.cc",
        "aa.b+.cc",
        "aa.b/.cc",
        "eyJ9.eyJ9.eyJ9",
        "\xff\xff.aa.bb",
    };
    Err err;
    JwtHead head;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(jwt_head(str_from(bad[i]), &head, &err), -ERR_UNAUTHENTICATED);
    assert_int_equal(jwt_head(STR("a.b"), &head, &err), -ERR_UNAUTHENTICATED);
    assert_string_equal(err.msg, "token contains an invalid number of segments");
    assert_int_equal(jwt_head((Str){"aa.b\0.cc", 8}, &head, &err), -ERR_UNAUTHENTICATED);
    CLEANUP_FREE char *longer = xasprintf("aa.%016384d.bb", 0);
    assert_int_equal(jwt_head(str_from(longer), &head, &err), -ERR_UNAUTHENTICATED);
    assert_string_equal(err.msg, "token is too long");
}

static void test_payload__must_be_an_object(void **state)
{
    static const char *const bad[] = {"[]", "\"x\"", "null", "{", "{\"a\":1,\"a\":2}", "{\"a\":\"\\u0000\"}",
                                      "x"};
    CLEANUP(jwk_set_freep) JwkSet *rsa = set_of(KEY_RSA, "");
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        check_refused(test_token(KEY_RSA, "RS256", "k", bad[i]), rsa, "token claims are malformed");
}

typedef struct ClaimCase {
    const char *claims;
    const char *issuer, *audience;
    const char *why; /* NULL = fine */
} ClaimCase;

static void check_claims(const ClaimCase *c)
{
    CLEANUP_JSON json_t *j = NULL;
    Err err = {0};
    JwtRules rules = {c->issuer, c->audience, {NOW_S * 1000000}};
    assert_int_equal(json_parse(str_from(c->claims), &j, NULL), 0);
    int rc = jwt_check_claims(j, &rules, &err);
    if (rc != (c->why ? -ERR_UNAUTHENTICATED : 0))
        fail_msg("%s: %s", c->claims, err.msg);
    if (c->why)
        assert_string_equal(err.msg, c->why);
}

static void test_claims__times_have_a_minute_of_leeway(void **state)
{
    static const ClaimCase cases[] = {
        {"{}", NULL, NULL, NULL},                   /* the reference takes tokens without exp */
        {"{\"exp\":1775001541}", NULL, NULL, NULL}, /* 59 s ago */
        {"{\"exp\":1775001540}", NULL, NULL, "token is expired"},
        {"{\"exp\":1775001540.5}", NULL, NULL, NULL},
        {"{\"exp\":0}", NULL, NULL, "token is expired"},
        {"{\"exp\":-1e300}", NULL, NULL, "token is expired"},
        {"{\"exp\":1e300}", NULL, NULL, NULL},
        {"{\"exp\":\"1775005200\"}", NULL, NULL, "token times are malformed"},
        {"{\"exp\":null}", NULL, NULL, "token times are malformed"},
        {"{\"nbf\":1775001660}", NULL, NULL, NULL},
        {"{\"nbf\":1775001661}", NULL, NULL, "token is not valid yet"},
        {"{\"iat\":1775001660}", NULL, NULL, NULL},
        {"{\"iat\":1775001661}", NULL, NULL, "token used before issued"},
        {"{\"iat\":[]}", NULL, NULL, "token times are malformed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_claims(&cases[i]);
}

static void test_claims__issuer_and_audience_when_configured(void **state)
{
    static const ClaimCase cases[] = {
        {"{\"iss\":\"https://a\"}", "https://a", NULL, NULL},
        {"{\"iss\":\"https://b\"}", "https://a, https://b", NULL, NULL},
        {"{\"iss\":\"https://a/\"}", "https://a", NULL, "token has another issuer"},
        {"{}", "https://a", NULL, "token has another issuer"},
        {"{\"iss\":\"\"}", "https://a,", NULL, "token has another issuer"},
        {"{\"iss\":[\"https://a\"]}", "https://a", NULL, "token has another issuer"},
        {"{\"aud\":\"ambient\"}", NULL, "ambient", NULL},
        {"{\"aud\":[\"x\",\"ambient\"]}", NULL, "ambient", NULL},
        {"{\"aud\":[\"x\",\"cli\"]}", NULL, "ambient,cli", NULL},
        {"{\"aud\":[]}", NULL, "ambient", "token is for another audience"},
        {"{\"aud\":\"other\"}", NULL, "ambient", "token is for another audience"},
        {"{\"aud\":\"ambient,cli\"}", NULL, "ambient,cli", "token is for another audience"},
        {"{\"aud\":5}", NULL, "ambient", "token is for another audience"},
        {"{}", NULL, "ambient", "token is for another audience"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        check_claims(&cases[i]);
}

int run_jwt_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify__accepts_the_five_algorithms),
        cmocka_unit_test(test_verify__ed25519_is_no_other_key),
        cmocka_unit_test(test_verify__alg_confusion_is_refused),
        cmocka_unit_test(test_verify__signatures_of_others),
        cmocka_unit_test(test_head__refusals),
        cmocka_unit_test(test_shape__refusals),
        cmocka_unit_test(test_payload__must_be_an_object),
        cmocka_unit_test(test_claims__times_have_a_minute_of_leeway),
        cmocka_unit_test(test_claims__issuer_and_audience_when_configured),
    };
    return cmocka_run_group_tests_name("jwt", tests, NULL, NULL);
}
