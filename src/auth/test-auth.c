/* The Authenticator: modes, static tokens, tokens against a key file, rotation. */
#include "test-internal.h"

#include "base/file.h"

typedef struct Fixture {
    Loop *loop;
    FakeClock clock;
    AuthOptions o;
    Authenticator *auth;
    char *dir, *file;
} Fixture;

static int setup(void **state)
{
    Fixture *f = xnew(Fixture);
    assert_int_equal(loop_new(&f->loop, NULL), 0);
    fake_clock_init(&f->clock, (WallUsec){NOW_S * 1000000});
    f->dir = test_dir();
    f->file = path_join(f->dir, "jwks.json");
    f->o = (AuthOptions){.enable_jwt = true, .enable_authz = true, .clock = &f->clock.clock};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    auth_free(f->auth);
    loop_free(f->loop);
    dir_remove_tree(f->dir, NULL);
    free(f->dir);
    free(f->file);
    free(f);
    return 0;
}

static void write_keys(Fixture *f, TestKey key, const char *kid)
{
    CLEANUP_FREE char *set = test_jwks(test_jwk(key, kid, ""), NULL);
    test_write(f->file, set);
}

static void open_auth(Fixture *f)
{
    Err err = {0};
    if (auth_new(f->loop, &f->o, &f->auth, &err) < 0)
        fail_msg("%s", err.msg);
}

static void open_with_file(Fixture *f)
{
    write_keys(f, KEY_RSA, "k");
    f->o.jwk_file = f->file;
    open_auth(f);
}

static void never(void *arg, Caller *caller, const Err *err)
{
    fail_msg("done was called for an answer that needs no key");
}

static Caller *check(Fixture *f, const char *authorization, Err *err)
{
    Caller *c = NULL;
    AuthWait *w = NULL;
    int rc = auth_check(f->auth, str_from(authorization), never, NULL, &c, &w, err);
    assert_null(w);
    assert_int_equal(rc, c ? 1 : -(int)err->code);
    return c;
}

static void expect(Fixture *f, const char *authorization, CallerType type, const char *username)
{
    Err err = {0};
    CLEANUP(caller_unrefp) Caller *c = check(f, authorization, &err);
    if (!c)
        fail_msg("refused: %s", err.msg);
    assert_int_equal(c->type, type);
    assert_string_equal(c->username, username);
}

static void expect_refused(Fixture *f, const char *authorization, const char *why)
{
    Err err = {0};
    assert_null(check(f, authorization, &err));
    assert_int_equal(err.code, ERR_UNAUTHENTICATED);
    assert_string_equal(err.msg, why);
}

static char *bearer(char *token)
{
    char *header = xasprintf("Bearer %s", token);
    free(token);
    return header;
}

static void test_development__everybody_is_the_dev_user(void **state)
{
    Fixture *f = *state;
    f->o.enable_jwt = false;
    open_auth(f);
    expect(f, NULL, CALLER_USER, "dev-user");
    expect(f, "Bearer whatever", CALLER_USER, "dev-user");
    f->auth = auth_free(f->auth);
    f->o.enable_authz = false;
    f->o.dev_username = "me";
    open_auth(f);
    expect(f, "", CALLER_ADMIN, "me");
}

static void test_static_tokens__without_jwt_must_match(void **state)
{
    Fixture *f = *state;
    CLEANUP(secret_freep) Secret *service = secret_new(STR("service-secret"));
    CLEANUP(secret_freep) Secret *admin = secret_new(STR("admin-secret"));
    f->o.enable_jwt = false;
    f->o.service_token = service;
    f->o.admin_token = admin;
    open_auth(f);
    expect(f, "Bearer service-secret", CALLER_SERVICE, "");
    expect(f, "bearer admin-secret", CALLER_ADMIN, "dev-user");
    expect(f, "BEARER   admin-secret ", CALLER_ADMIN, "dev-user");
    expect(f, "admin-secret", CALLER_ADMIN, "dev-user");
    expect_refused(f, NULL, "missing authorization token");
    expect_refused(f, "", "missing authorization token");
    expect_refused(f, "Bearer", "missing authorization token");
    expect_refused(f, "Bearer ", "missing authorization token");
    expect_refused(f, "Basic YWRtaW46", "missing authorization token");
    expect_refused(f, "Bearer admin-secre", "invalid token: it is not known here");
    expect_refused(f, "Bearer admin-secret2", "invalid token: it is not known here");
    expect_refused(f, "Bearer a.b.c", "invalid token: it is not known here");
    CLEANUP_FREE char *longer = xasprintf("Bearer %016385d", 0);
    expect_refused(f, longer, "invalid token: token is too long");
}

static void test_static_tokens__empty_ones_match_nobody(void **state)
{
    Fixture *f = *state;
    CLEANUP(secret_freep) Secret *empty = secret_new(STR(""));
    f->o.enable_jwt = false;
    f->o.service_token = empty;
    open_auth(f);
    expect(f, NULL, CALLER_USER, "dev-user"); /* as if none were configured */
}

static void test_static_tokens__beside_jwt(void **state)
{
    Fixture *f = *state;
    CLEANUP(secret_freep) Secret *service = secret_new(STR("service-secret"));
    CLEANUP_FREE char *alice = bearer(test_token(KEY_RSA, "RS256", "k", CLAIMS_ALICE));
    f->o.service_token = service;
    open_with_file(f);
    expect(f, "Bearer service-secret", CALLER_SERVICE, "");
    expect(f, alice, CALLER_USER, "alice");
    expect_refused(f, NULL, "missing authorization token");
    expect_refused(f, "Bearer other", "invalid token: token contains an invalid number of segments");
}

static void test_jwt__with_a_static_token_needs_no_keys(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    assert_int_equal(auth_new(f->loop, &f->o, &f->auth, &err), -ERR_INVALID);
    assert_null(f->auth);
    CLEANUP(secret_freep) Secret *admin = secret_new(STR("admin-secret"));
    f->o.admin_token = admin;
    open_auth(f);
    expect(f, "Bearer admin-secret", CALLER_ADMIN, "dev-user");
    expect_refused(f, "Bearer a.b.c", "invalid token: it is not known here");
}

static void test_jwt__who_it_is(void **state)
{
    Fixture *f = *state;
    f->o.service_account = "ambient-cp";
    open_with_file(f);
    static const struct {
        const char *claims;
        CallerType type;
        const char *username;
    } cases[] = {
        {"{\"preferred_username\":\"alice\"}", CALLER_USER, "alice"},
        {"{\"preferred_username\":\"service-account-\"}", CALLER_USER, "service-account-"},
        {"{\"username\":\"alice\",\"preferred_username\":\"ambient-cp\"}", CALLER_USER, "alice"},
        {"{\"username\":\"bob\",\"preferred_username\":\"alice\",\"sub\":\"x\"}", CALLER_USER, "bob"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *token = bearer(test_token(KEY_RSA, "RS256", "k", cases[i].claims));
        expect(f, token, cases[i].type, cases[i].username);
    }
    CLEANUP_FREE char *nobody = bearer(test_token(KEY_RSA, "RS256", "k", "{\"email\":\"x\"}"));
    expect_refused(f, nobody, "token missing username claim");
}

/* D20: a name that people may choose makes nobody the platform; a client's own token does. */
static void test_D20_service_account__is_a_client_and_not_a_name(void **state)
{
    Fixture *f = *state;
    static const struct {
        const char *claims;
        CallerType type;
        const char *username;
    } cases[] = {
        {"{\"preferred_username\":\"ambient-cp\"}", CALLER_USER, "ambient-cp"},
        {"{\"preferred_username\":\"ambient-cp\",\"azp\":\"ambient-cp\"}", CALLER_USER, "ambient-cp"},
        {"{\"preferred_username\":\"alice\",\"azp\":\"ambient-cp\"}", CALLER_USER, "alice"},
        {"{\"preferred_username\":\"service-account-ambient-cp\",\"azp\":\"console\"}", CALLER_USER,
         "service-account-ambient-cp"},
        {"{\"preferred_username\":\"service-account-ambient-cp2\"}", CALLER_USER,
         "service-account-ambient-cp2"},
        {"{\"preferred_username\":\"service-account-ambient-cp\",\"azp\":\"ambient-cp\"}", CALLER_SERVICE,
         "ambient-cp"},
        {"{\"sub\":\"x\",\"clientId\":\"ambient-cp\"}", CALLER_SERVICE, "ambient-cp"},
        {"{\"sub\":\"x\",\"client_id\":\"ambient-cp\"}", CALLER_SERVICE, "ambient-cp"},
        {"{\"sub\":\"x\",\"client_id\":\"ambient-cp2\"}", CALLER_USER, "x"},
    };
    f->o.service_account = "ambient-cp";
    open_with_file(f);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *token = bearer(test_token(KEY_RSA, "RS256", "k", cases[i].claims));
        expect(f, token, cases[i].type, cases[i].username);
    }
    /* without a word about the client the issuer must be one that we ask for */
    const char *claims = "{\"preferred_username\":\"service-account-ambient-cp\",\"iss\":\"https://sso\"}";
    CLEANUP_FREE char *token = bearer(test_token(KEY_RSA, "RS256", "k", claims));
    expect(f, token, CALLER_USER, "service-account-ambient-cp");
    f->auth = auth_free(f->auth);
    f->o.issuer = "https://sso";
    open_auth(f);
    expect(f, token, CALLER_SERVICE, "ambient-cp");
}

static void test_identity__is_the_issuers_subject(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    open_with_file(f);
    CLEANUP_FREE char *token = bearer(test_token(
        KEY_RSA, "RS256", "k", "{\"username\":\"alice\",\"sub\":\"1-2\",\"iss\":\"https://sso\"}"));
    CLEANUP(caller_unrefp) Caller *c = check(f, token, &err);
    assert_string_equal(c->subject, "1-2");
    assert_string_equal(c->issuer, "https://sso");
    assert_false(c->authz_off);
}

static void test_service_account__empty_matches_nobody(void **state)
{
    Fixture *f = *state;
    f->o.service_account = "";
    open_with_file(f);
    CLEANUP_FREE char *token = bearer(test_token(KEY_RSA, "RS256", "k", "{\"sub\":\"service-account-\"}"));
    expect(f, token, CALLER_USER, "service-account-");
}

static void test_authz_off__makes_admins_but_keeps_the_service(void **state)
{
    Fixture *f = *state;
    f->o.service_account = "cp";
    f->o.enable_authz = false;
    open_with_file(f);
    CLEANUP_FREE char *alice = bearer(test_token(KEY_RSA, "RS256", "k", CLAIMS_ALICE));
    CLEANUP_FREE char *cp = bearer(test_token(KEY_RSA, "RS256", "k", "{\"sub\":\"x\",\"client_id\":\"cp\"}"));
    expect(f, alice, CALLER_ADMIN, "alice");
    expect(f, cp, CALLER_SERVICE, "cp");
}

static void test_jwt__refusals(void **state)
{
    Fixture *f = *state;
    f->o.issuer = "https://sso";
    f->o.audience = "ambient";
    open_with_file(f);
    static const struct {
        TestKey key;
        const char *kid, *claims, *why;
    } cases[] = {
        {KEY_RSA, "k", "{\"sub\":\"a\",\"iss\":\"https://sso\",\"aud\":\"x\"}",
         "invalid token: token is for another audience"},
        {KEY_RSA, "k", "{\"sub\":\"a\",\"iss\":\"x\",\"aud\":\"ambient\"}",
         "invalid token: token has another issuer"},
        {KEY_RSA, "k", "{\"sub\":\"a\",\"exp\":1,\"iss\":\"https://sso\",\"aud\":\"ambient\"}",
         "invalid token: token is expired"},
        {KEY_RSA, "other", CLAIMS_ALICE, "invalid token: signing key is not known"},
        {KEY_RSA_OTHER, "k", CLAIMS_ALICE, "invalid token: signature is invalid"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *token = bearer(test_token(cases[i].key, "RS256", cases[i].kid, cases[i].claims));
        expect_refused(f, token, cases[i].why);
    }
    CLEANUP_FREE char *good =
        bearer(test_token(KEY_RSA, "RS256", "k",
                          "{\"sub\":\"a\",\"iss\":\"https://sso\",\"aud\":[\"ambient\"],\"name\":\"Al B\"}"));
    Err err = {0};
    CLEANUP(caller_unrefp) Caller *c = check(f, good, &err);
    assert_non_null(c);
    assert_string_equal(c->name, "Al B");
}

static void test_file__rotation_replaces_the_keys(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *old = bearer(test_token(KEY_RSA, "RS256", "k", CLAIMS_ALICE));
    CLEANUP_FREE char *new = bearer(test_token(KEY_RSA_OTHER, "RS256", "k2", CLAIMS_ALICE));
    open_with_file(f);
    expect(f, old, CALLER_USER, "alice");
    write_keys(f, KEY_RSA_OTHER, "k2");
    expect_refused(f, new, "invalid token: signing key is not known"); /* looked at only now and then */
    fake_clock_advance(&f->clock, 3 * USEC_PER_SEC);
    expect(f, new, CALLER_USER, "alice");
    expect_refused(f, old, "invalid token: signing key is not known"); /* a withdrawn key is gone */
}

static void test_file__that_breaks_keeps_the_old_keys(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *token = bearer(test_token(KEY_RSA, "RS256", "k", CLAIMS_ALICE));
    open_with_file(f);
    test_write(f->file, "{ not json");
    fake_clock_advance(&f->clock, 3 * USEC_PER_SEC);
    expect(f, token, CALLER_USER, "alice");
    unlink(f->file);
    fake_clock_advance(&f->clock, 3 * USEC_PER_SEC);
    expect(f, token, CALLER_USER, "alice");
    write_keys(f, KEY_RSA_OTHER, "k2");
    fake_clock_advance(&f->clock, 3 * USEC_PER_SEC);
    expect_refused(f, token, "invalid token: signing key is not known");
}

static void test_file__missing_or_bad_fails_the_start(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    f->o.jwk_file = f->file;
    assert_true(auth_new(f->loop, &f->o, &f->auth, &err) < 0);
    test_write(f->file, "{\"keys\":[]}");
    assert_int_equal(auth_new(f->loop, &f->o, &f->auth, &err), -ERR_MALFORMED);
    assert_non_null(strstr(err.msg, "signing keys: "));
    assert_null(f->auth);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int run_auth_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_development__everybody_is_the_dev_user),
        TEST(test_static_tokens__without_jwt_must_match),
        TEST(test_static_tokens__empty_ones_match_nobody),
        TEST(test_static_tokens__beside_jwt),
        TEST(test_jwt__with_a_static_token_needs_no_keys),
        TEST(test_jwt__who_it_is),
        TEST(test_D20_service_account__is_a_client_and_not_a_name),
        TEST(test_identity__is_the_issuers_subject),
        TEST(test_service_account__empty_matches_nobody),
        TEST(test_authz_off__makes_admins_but_keeps_the_service),
        TEST(test_jwt__refusals),
        TEST(test_file__rotation_replaces_the_keys),
        TEST(test_file__that_breaks_keeps_the_old_keys),
        TEST(test_file__missing_or_bad_fails_the_start),
    };
    return cmocka_run_group_tests_name("auth", tests, NULL, NULL);
}
