/* Tokens of sessions: what is signed comes back, and nothing else does. */
#include "test-internal.h"

#include "auth/session-token.h"
#include "crypto/crypto.h"

#define SESSION "2abCdEfGhIjKlMnOpQrStUvWxYz"
#define RUN "3abCdEfGhIjKlMnOpQrStUvWxYz"

static const WallUsec now = {NOW_S * 1000000};

static Secret *key_of(char fill)
{
    char bytes[SESSION_KEY_LEN];
    memset(bytes, fill, sizeof(bytes));
    return secret_new((Str){bytes, sizeof(bytes)});
}

static void make(const Secret *key, int64_t life_s, Buf *out)
{
    SessionToken t = {.session_id = SESSION, .run_id = RUN, .issued = now};
    t.expires.us = now.us + life_s * 1000000;
    assert_int_equal(session_token_make(key, &t, out, NULL), 0);
}

static ErrCode read_at(const Secret *key, Str token, int64_t later_s)
{
    SessionToken t = {0};
    Err err = {0};
    int rc = session_token_read(key, token, (WallUsec){now.us + later_s * 1000000}, &t, &err);
    if (rc == 0)
        assert_string_equal(t.session_id, SESSION);
    else
        assert_null(strstr(err.msg, SESSION));
    return rc == 0 ? ERR_OK : err.code;
}

static void test_session_token__comes_back_until_it_expires(void **state)
{
    CLEANUP(secret_freep) Secret *key = key_of('k');
    CLEANUP_BUF Buf token = BUF_INIT(4096);
    SessionToken t = {0};
    make(key, 60, &token);
    assert_true(session_token_looks_like(buf_str(&token)));
    assert_int_equal(session_token_read(key, buf_str(&token), now, &t, NULL), 0);
    assert_string_equal(t.run_id, RUN);
    assert_true(t.expires.us == now.us + 60000000 && t.issued.us == now.us);
    assert_int_equal(read_at(key, buf_str(&token), 59), ERR_OK);
    assert_int_equal(read_at(key, buf_str(&token), 60), ERR_UNAUTHENTICATED);
    assert_int_equal(read_at(key, buf_str(&token), -29), ERR_OK); /* clocks of two replicas */
    assert_int_equal(read_at(key, buf_str(&token), -31), ERR_UNAUTHENTICATED);
}

static void test_session_token__of_another_key_is_refused(void **state)
{
    CLEANUP(secret_freep) Secret *key = key_of('k'), *other = key_of('o');
    CLEANUP_BUF Buf token = BUF_INIT(4096);
    make(other, 60, &token);
    assert_int_equal(read_at(key, buf_str(&token), 0), ERR_UNAUTHENTICATED);
}

/* Base64 has room for spellings of the same bytes, but reading it is strict. */
static void test_session_token__every_changed_byte_is_noticed(void **state)
{
    CLEANUP(secret_freep) Secret *key = key_of('k');
    CLEANUP_BUF Buf token = BUF_INIT(4096);
    make(key, 60, &token);
    for (size_t i = 0; i < token.len; i++) {
        char old = token.data[i];
        token.data[i] = old == 'A' ? 'B' : 'A';
        assert_int_equal(read_at(key, buf_str(&token), 0), ERR_UNAUTHENTICATED);
        token.data[i] = old;
    }
    for (size_t n = 0; n < token.len; n++)
        assert_int_equal(read_at(key, str_slice(buf_str(&token), 0, n), 0), ERR_UNAUTHENTICATED);
}

static char *forge(const Secret *key, const char *header, const char *claims)
{
    CLEANUP_BUF Buf text = BUF_INIT(8192);
    uint8_t mac[SHA256_LEN];
    base64url_write(&text, header, strlen(header));
    (void)buf_addc(&text, '.');
    base64url_write(&text, claims, strlen(claims));
    hmac_sha256(secret_reveal(key), buf_str(&text), mac);
    (void)buf_addc(&text, '.');
    base64url_write(&text, mac, sizeof(mac));
    return buf_take(&text);
}

/* Even rightly signed: only what this server writes is read. */
static void test_session_token__other_claims_and_headers_are_refused(void **state)
{
    static const char good[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
    static const struct {
        const char *header, *claims;
    } rows[] = {
        {good, "{}"},
        {good, "[]"},
        {good,
         "{\"iss\":\"ambient-api-server\",\"sub\":\"alice\",\"run\":\"r\",\"iat\":1,\"exp\":9999999999}"},
        {good, "{\"iss\":\"other\",\"sub\":\"session:s\",\"run\":\"r\",\"iat\":1,\"exp\":9999999999}"},
        {good, "{\"iss\":\"ambient-api-server\",\"sub\":\"session:s\",\"iat\":1,\"exp\":9999999999}"},
        {good, "{\"iss\":\"ambient-api-server\",\"sub\":\"session:s\",\"run\":\"r\",\"iat\":1}"},
        {good,
         "{\"iss\":\"ambient-api-server\",\"sub\":\"session:\",\"run\":\"r\",\"iat\":1,\"exp\":9999999999}"},
        {"{\"alg\":\"none\"}",
         "{\"iss\":\"ambient-api-server\",\"sub\":\"session:s\",\"run\":\"r\",\"iat\":1,\"exp\":9999999999}"},
    };
    CLEANUP(secret_freep) Secret *key = key_of('k');
    SessionToken t;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_FREE char *token = forge(key, rows[i].header, rows[i].claims);
        assert_int_equal(session_token_read(key, str_from(token), now, &t, NULL), -(int)ERR_UNAUTHENTICATED);
    }
}

static void never(void *arg, Caller *caller, const Err *err)
{
    fail();
}

static void test_session_token__is_a_caller_of_its_own(void **state)
{
    CLEANUP(secret_freep) Secret *key = key_of('k'), *service = secret_new(STR("service-secret"));
    CLEANUP_BUF Buf token = BUF_INIT(4096);
    Loop *l = NULL;
    FakeClock clock;
    Authenticator *a = NULL;
    Caller *c = NULL;
    AuthWait *w = NULL;
    fake_clock_init(&clock, now);
    assert_int_equal(loop_new(&l, NULL), 0);
    const AuthOptions o = {.enable_authz = true, .service_token = service, .clock = &clock.clock};
    assert_int_equal(auth_new(l, &o, &a, NULL), 0);
    make(key, 60, &token);
    assert_true(auth_check(a, buf_str(&token), never, NULL, &c, &w, NULL) < 0); /* before the key is known */
    auth_set_session_key(a, key);
    assert_int_equal(auth_check(a, buf_str(&token), never, NULL, &c, &w, NULL), 1);
    assert_int_equal(c->type, CALLER_SESSION);
    assert_string_equal(c->session_id, SESSION);
    assert_string_equal(c->run_id, RUN);
    assert_string_equal(c->actor, "session:" SESSION);
    assert_string_equal(c->username, "");
    assert_false(authz_is_privileged(c));
    caller_unref(c);
    fake_clock_advance(&clock, 61 * USEC_PER_SEC);
    assert_int_equal(auth_check(a, buf_str(&token), never, NULL, &c, &w, NULL), -(int)ERR_UNAUTHENTICATED);
    auth_free(a);
    loop_free(l);
}

int run_session_token_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_token__comes_back_until_it_expires),
        cmocka_unit_test(test_session_token__of_another_key_is_refused),
        cmocka_unit_test(test_session_token__every_changed_byte_is_noticed),
        cmocka_unit_test(test_session_token__other_claims_and_headers_are_refused),
        cmocka_unit_test(test_session_token__is_a_caller_of_its_own),
    };
    return cmocka_run_group_tests_name("session-token", tests, NULL, NULL);
}
