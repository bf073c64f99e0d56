/* ID tokens, and when a login is renewed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"
#include "jwt.h"
#include "oidc.h"
#include "renew.h"

static char dir[] = "/tmp/ambient-login-XXXXXX";

static char *jwt_of(const char *claims)
{
    CLEANUP_BUF Buf b = BUF_INIT(8192);
    buf_addz(&b, "e30.");
    base64url_write(&b, claims, strlen(claims));
    buf_addz(&b, ".c2ln");
    return buf_take(&b);
}

static void test_id_token__what_a_client_must_check(void **state)
{
#define GOOD "\"iss\":\"https://i/\",\"sub\":\"s\",\"exp\":1000,\"iat\":900"
    static const struct {
        const char *claims, *fault;
    } cases[] = {
        {"{" GOOD ",\"aud\":\"me\",\"nonce\":\"n\"}", NULL},
        {"{" GOOD ",\"aud\":[\"me\"],\"nonce\":\"n\",\"azp\":\"me\"}", NULL},
        {"{" GOOD ",\"aud\":[\"me\",\"x\"],\"nonce\":\"n\",\"azp\":\"me\"}", NULL},
        {"{" GOOD ",\"aud\":[\"me\",\"x\"],\"nonce\":\"n\"}", "issued to another client"},
        {"{" GOOD ",\"aud\":\"me\",\"nonce\":\"n\",\"azp\":\"x\"}", "issued to another client"},
        {"{" GOOD ",\"aud\":\"you\",\"nonce\":\"n\"}", "for another client"},
        {"{" GOOD ",\"aud\":[1],\"nonce\":\"n\"}", "for another client"},
        {"{" GOOD ",\"nonce\":\"n\"}", "for another client"},
        {"{" GOOD ",\"aud\":\"me\",\"nonce\":\"m\"}", "nonce"},
        {"{" GOOD ",\"aud\":\"me\"}", "nonce"},
        {"{\"iss\":\"https://j\",\"sub\":\"s\",\"exp\":1000,\"iat\":900,\"aud\":\"me\",\"nonce\":\"n\"}",
         "another issuer"},
        {"{\"sub\":\"s\",\"exp\":1000,\"iat\":900,\"aud\":\"me\",\"nonce\":\"n\"}", "another issuer"},
        {"{\"iss\":\"https://i\",\"exp\":1000,\"iat\":900,\"aud\":\"me\",\"nonce\":\"n\"}", "subject"},
        {"{\"iss\":\"https://i\",\"sub\":\"s\",\"exp\":800,\"iat\":700,\"aud\":\"me\",\"nonce\":\"n\"}",
         "expired"},
        {"{\"iss\":\"https://i\",\"sub\":\"s\",\"iat\":900,\"aud\":\"me\",\"nonce\":\"n\"}", "expired"},
        {"{\"iss\":\"https://i\",\"sub\":\"s\",\"exp\":1000,\"aud\":\"me\",\"nonce\":\"n\"}",
         "in the future"},
        {"{\"iss\":\"https://i\",\"sub\":\"s\",\"exp\":5000,\"iat\":4000,\"aud\":\"me\",\"nonce\":\"n\"}",
         "in the future"},
        {"[]", "no JWT"},
    };
    IdTokenRules rules = {"https://i", "me", "n", {950 * 1000000LL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *token = jwt_of(cases[i].claims);
        Err err = {0};
        int rc = id_token_check(str_from(token), &rules, &err);
        assert_int_equal(rc, cases[i].fault ? -ERR_UNAUTHENTICATED : 0);
        if (cases[i].fault && !strstr(err.msg, cases[i].fault))
            fail_msg("%s: %s", cases[i].claims, err.msg);
    }
    assert_int_equal(id_token_check(STR("opaque"), &rules, NULL), -ERR_UNAUTHENTICATED);
}

static void test_jwt__odd_dates_are_no_dates(void **state)
{
    static const char *const odd[] = {"-1", "0", "1e300", "\"soon\"", "null", "99999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        CLEANUP_FREE char *claims = xasprintf("{\"exp\":%s}", odd[i]);
        CLEANUP_FREE char *token = jwt_of(claims);
        Jwt jwt = {0};
        assert_int_equal(jwt_read(str_from(token), &jwt), 0);
        assert_int_equal(jwt.exp.us, 0);
        jwt_done(&jwt);
    }
}

static Config *config_with(const char *text)
{
    CLEANUP_FREE char *path = path_join(dir, "config.json");
    assert_int_equal(file_write_atomic(path, str_from(text), 0600, NULL), 0);
    setenv("AMBIENT_CONFIG", path, 1);
    Config *c = NULL;
    assert_int_equal(config_load(NULL, &c, NULL), 0);
    return c;
}

static void test_renew__times(void **state)
{
    static const struct {
        int64_t life, renew; /* seconds */
    } cases[] = {{1000, 800}, {300, 240}, {200, 140}, {60, 0}, {10, -50}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(config_freep) Config *c = config_with("{}");
        OidcTokens t = {.access = secret_new(STR("opaque")), .expires_in = cases[i].life};
        renew_store(c, &t, (WallUsec){1000000000000});
        assert_int_equal(renew_end(c).us, 1000000000000 + cases[i].life * 1000000);
        assert_int_equal(renew_at(c).us, 1000000000000 + cases[i].renew * 1000000);
        oidc_tokens_done(&t);
    }
}

static void test_renew__tokens_of_other_programs_have_only_their_claims(void **state)
{
    CLEANUP_FREE char *both = jwt_of("{\"iat\":1000,\"exp\":2000}");
    CLEANUP_FREE char *exp = jwt_of("{\"exp\":2000}");
    CLEANUP_FREE char *none = jwt_of("{}");
    const struct {
        const char *token;
        int64_t renew, end;
    } cases[] = {{both, 1800000000, 2000000000},
                 {exp, 1940000000, 2000000000},
                 {none, INT64_MAX, INT64_MAX},
                 {"sha256~abc", INT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *text = xasprintf("{\"access_token\":\"%s\"}", cases[i].token);
        CLEANUP(config_freep) Config *c = config_with(text);
        assert_int_equal(renew_at(c).us, cases[i].renew);
        assert_int_equal(renew_end(c).us, cases[i].end);
    }
}

static void test_renew__needs_something_to_renew_with(void **state)
{
#define BASE "\"access_token\":\"t\",\"issuer_url\":\"https://i\",\"client_id\":\"c\""
    static const struct {
        const char *text;
        bool possible;
    } cases[] = {
        {"{" BASE ",\"refresh_token\":\"r\"}", true},
        {"{" BASE "}", false},
        {"{" BASE ",\"login_method\":\"client-credentials\"}", false},
        {"{" BASE ",\"login_method\":\"client-credentials\",\"client_secret_file\":\"/f\"}", true},
        {"{" BASE ",\"login_method\":\"auth-code\",\"client_secret_file\":\"/f\"}", false},
        {"{\"access_token\":\"t\",\"refresh_token\":\"r\"}", false},
        {"{\"issuer_url\":\"https://i\",\"client_id\":\"c\",\"refresh_token\":\"r\"}", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP(config_freep) Config *c = config_with(cases[i].text);
        if (renew_possible(c) != cases[i].possible)
            fail_msg("%s", cases[i].text);
    }
    setenv("AMBIENT_TOKEN", "env", 1);
    CLEANUP(config_freep) Config *c = config_with(cases[0].text);
    assert_false(renew_possible(c));
    unsetenv("AMBIENT_TOKEN");
}

static void test_tokens__must_fit_into_a_header(void **state)
{
    static const char *const bad[] = {"{}", "{\"access_token\":\"\"}", "{\"access_token\":\"a b\"}",
                                      "{\"access_token\":\"a\\nb\"}", "[]"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        CLEANUP_JSON json_t *j = NULL;
        OidcTokens t = {0};
        assert_int_equal(json_parse(str_from(bad[i]), &j, NULL), 0);
        assert_int_equal(oidc_tokens_read(j, &t, NULL), -ERR_BAD_GATEWAY);
    }
}

static int group_setup(void **state)
{
    unsetenv("AMBIENT_TOKEN");
    unsetenv("AMBIENT_CONTEXT");
    unsetenv("AMBIENT_CLIENT_SECRET");
    return mkdtemp(dir) ? 0 : -1;
}

static int group_teardown(void **state)
{
    return dir_remove_tree(dir, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_token__what_a_client_must_check),
        cmocka_unit_test(test_jwt__odd_dates_are_no_dates),
        cmocka_unit_test(test_renew__times),
        cmocka_unit_test(test_renew__tokens_of_other_programs_have_only_their_claims),
        cmocka_unit_test(test_renew__needs_something_to_renew_with),
        cmocka_unit_test(test_tokens__must_fit_into_a_header),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
