/* Keys from a URL: the server is a real one on the same loop. */
#include "test-internal.h"

#include "http/server.h"

typedef struct Fixture {
    Loop *loop;
    HttpServer *server;
    char *url;
    Keys *keys;
    KeysOptions o;
    /* what the server does */
    char *body;
    int status;
    bool hold; /* keeps requests until released */
    HttpReq *held;
    unsigned requests;
} Fixture;

static void answer(Fixture *f, HttpReq *r)
{
    http_reply(r, f->status, str_from(f->body));
}

static void on_request(void *arg, HttpReq *r)
{
    Fixture *f = arg;
    f->requests++;
    if (f->hold)
        f->held = r;
    else
        answer(f, r);
}

static void release(Fixture *f)
{
    f->hold = false;
    HttpReq *r = f->held;
    f->held = NULL;
    answer(f, r);
}

static void serve_key(Fixture *f, TestKey key, const char *kid)
{
    free(f->body);
    f->body = test_jwks(test_jwk(key, kid, ""), NULL);
    f->status = 200;
}

static void serve_status(Fixture *f, int status, const char *body)
{
    free(f->body);
    f->body = xstrdup(body);
    f->status = status;
}

static int setup(void **state)
{
    Fixture *f = xnew(Fixture);
    assert_int_equal(loop_new(&f->loop, NULL), 0);
    assert_int_equal(http_server_new(f->loop, "127.0.0.1:0", NULL, &http_limits_default, on_request, NULL, f,
                                     &f->server, NULL),
                     0);
    f->url = xasprintf("http://127.0.0.1:%d/certs", http_server_port(f->server));
    f->o = keys_options_default;
    f->o.clock = &clock_system;
    f->o.url = f->url;
    f->o.unknown_interval = 0;
    serve_key(f, KEY_RSA, "one");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    keys_free(f->keys);
    http_server_free(f->server);
    loop_free(f->loop);
    free(f->url);
    free(f->body);
    free(f);
    return 0;
}

static void open_keys(Fixture *f)
{
    Err err = {0};
    if (keys_new(f->loop, &f->o, &f->keys, &err) < 0)
        fail_msg("%s", err.msg);
}

static void open_loaded(Fixture *f)
{
    open_keys(f);
    PUMP_UNTIL(f->loop, keys_find(f->keys, STR("one")));
}

typedef struct Waiter {
    KeyWait *wait;
    unsigned called;
    bool found;
    ErrCode code;
} Waiter;

static void on_key(void *arg, const Jwk *key, const Err *err)
{
    Waiter *w = arg;
    w->called++;
    w->found = key != NULL;
    w->code = err ? err->code : ERR_OK;
}

static void wait_for(Fixture *f, const char *kid, Waiter *w)
{
    *w = (Waiter){0};
    assert_int_equal(keys_wait(f->keys, str_from(kid), on_key, w, &w->wait, NULL), 0);
    assert_int_equal(w->called, 0); /* never before it returns */
}

static void test_start__whoever_comes_first_waits_for_the_keys(void **state)
{
    Fixture *f = *state;
    Waiter w;
    open_keys(f);
    assert_null(keys_find(f->keys, STR("one")));
    wait_for(f, "one", &w);
    PUMP_UNTIL(f->loop, w.called);
    assert_true(w.found);
    assert_int_equal(f->requests, 1);
}

static void test_unknown_kid__fetches_the_rotated_keys_and_drops_old_ones(void **state)
{
    Fixture *f = *state;
    Waiter w;
    open_loaded(f);
    serve_key(f, KEY_EC, "two");
    wait_for(f, "two", &w);
    PUMP_UNTIL(f->loop, w.called);
    assert_true(w.found);
    assert_non_null(keys_find(f->keys, STR("two")));
    assert_null(keys_find(f->keys, STR("one")));
}

static void test_unknown_kid__is_remembered_and_others_are_not_held_up(void **state)
{
    Fixture *f = *state;
    Waiter w;
    Err err = {0};
    KeyWait *none = NULL;
    open_loaded(f);
    wait_for(f, "nope", &w);
    PUMP_UNTIL(f->loop, w.called);
    assert_int_equal(w.code, ERR_UNAUTHENTICATED);
    unsigned before = f->requests;
    assert_int_equal(keys_wait(f->keys, STR("nope"), on_key, &w, &none, &err), -ERR_UNAUTHENTICATED);
    assert_null(none);
    assert_int_equal(f->requests, before);
    serve_key(f, KEY_EC, "two");
    wait_for(f, "two", &w); /* a new key is found all the same */
    PUMP_UNTIL(f->loop, w.called);
    assert_true(w.found);
}

static void test_unknown_kids__share_one_fetch_per_interval(void **state)
{
    Fixture *f = *state;
    Waiter w[20];
    f->o.unknown_interval = 50 * USEC_PER_MSEC;
    open_loaded(f);
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        CLEANUP_FREE char *kid = xasprintf("kid-%zu", i);
        wait_for(f, kid, &w[i]);
    }
    PUMP_UNTIL(f->loop, w[ARRAY_LEN(w) - 1].called);
    for (size_t i = 0; i < ARRAY_LEN(w); i++) {
        assert_int_equal(w[i].called, 1);
        assert_int_equal(w[i].code, ERR_UNAUTHENTICATED);
    }
    assert_int_equal(f->requests, 2); /* the start, and one for all */
}

static void test_failure__keeps_the_old_keys_and_is_not_the_tokens_fault(void **state)
{
    Fixture *f = *state;
    static const struct {
        int status;
        const char *body;
    } bad[] = {{500, "x"}, {404, "{}"}, {302, ""}, {200, ""}, {200, "{\"keys\":[]}"}, {200, "not json"}};
    open_loaded(f);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        Waiter w;
        serve_status(f, bad[i].status, bad[i].body);
        wait_for(f, "two", &w);
        PUMP_UNTIL(f->loop, w.called);
        assert_int_equal(w.code, ERR_UNAVAILABLE);
        assert_non_null(keys_find(f->keys, STR("one")));
    }
}

static void test_failure__at_the_start_is_tried_again(void **state)
{
    Fixture *f = *state;
    f->o.retry_first = 1 * USEC_PER_MSEC;
    f->o.retry_max = 5 * USEC_PER_MSEC;
    serve_status(f, 503, "");
    open_keys(f);
    PUMP_UNTIL(f->loop, f->requests >= 4);
    serve_key(f, KEY_RSA, "one");
    PUMP_UNTIL(f->loop, keys_find(f->keys, STR("one")));
}

static void test_body__is_bounded(void **state)
{
    Fixture *f = *state;
    Waiter w;
    free(f->body);
    f->body = xasprintf("{\"keys\":[],\"fill\":\"%01100000d\"}", 0);
    open_keys(f);
    wait_for(f, "one", &w);
    PUMP_UNTIL(f->loop, w.called);
    assert_int_equal(w.code, ERR_UNAVAILABLE);
}

static void test_slow_server__is_given_up(void **state)
{
    Fixture *f = *state;
    Waiter w;
    f->hold = true;
    f->o.fetch_timeout = 20 * USEC_PER_MSEC;
    open_keys(f);
    wait_for(f, "one", &w);
    PUMP_UNTIL(f->loop, w.called);
    assert_int_equal(w.code, ERR_UNAVAILABLE);
}

static void test_refresh__happens_by_itself(void **state)
{
    Fixture *f = *state;
    f->o.refresh = 5 * USEC_PER_MSEC;
    open_loaded(f);
    serve_key(f, KEY_EC, "two");
    PUMP_UNTIL(f->loop, keys_find(f->keys, STR("two")));
    assert_null(keys_find(f->keys, STR("one")));
}

static void test_cancel__ends_the_wait_without_a_word(void **state)
{
    Fixture *f = *state;
    Waiter gone, stays;
    f->hold = true;
    open_keys(f);
    wait_for(f, "one", &gone);
    wait_for(f, "one", &stays);
    keys_wait_cancel(gone.wait);
    PUMP_UNTIL(f->loop, f->held);
    release(f);
    PUMP_UNTIL(f->loop, stays.called);
    assert_true(stays.found);
    assert_int_equal(gone.called, 0);
    keys_wait_cancel(NULL);
}

static void test_free__tells_those_who_wait(void **state)
{
    Fixture *f = *state;
    Waiter w;
    f->hold = true;
    open_keys(f);
    wait_for(f, "one", &w);
    PUMP_UNTIL(f->loop, f->held);
    f->keys = keys_free(f->keys);
    assert_int_equal(w.called, 1);
    assert_int_equal(w.code, ERR_UNAVAILABLE);
    f->held = NULL; /* the client has gone, and the request with it */
}

typedef struct Chain {
    Fixture *f;
    Waiter second;
    bool free_all;
    unsigned called;
} Chain;

static void on_key_go_on(void *arg, const Jwk *key, const Err *err)
{
    Chain *c = arg;
    c->called++;
    keys_wait_cancel(c->second.wait);
    if (c->free_all)
        c->f->keys = keys_free(c->f->keys);
}

static void test_callback__may_cancel_another_and_free_all(void **state)
{
    Fixture *f = *state;
    Chain c = {.f = f, .free_all = true};
    KeyWait *first = NULL;
    f->hold = true;
    open_keys(f);
    assert_int_equal(keys_wait(f->keys, STR("one"), on_key_go_on, &c, &first, NULL), 0);
    wait_for(f, "one", &c.second);
    PUMP_UNTIL(f->loop, f->held);
    release(f);
    PUMP_UNTIL(f->loop, c.called);
    assert_null(f->keys);
    assert_int_equal(c.second.called, 0);
}

static void test_waiters__are_bounded(void **state)
{
    Fixture *f = *state;
    Waiter w[2];
    KeyWait *none = NULL;
    f->hold = true;
    f->o.waiters_max = 2;
    open_keys(f);
    wait_for(f, "a", &w[0]);
    wait_for(f, "b", &w[1]);
    assert_int_equal(keys_wait(f->keys, STR("c"), on_key, NULL, &none, NULL), -ERR_UNAVAILABLE);
    keys_wait_cancel(w[0].wait);
    wait_for(f, "c", &w[0]);
    f->keys = keys_free(f->keys); /* while the waiters are there */
    assert_int_equal(w[0].called + w[1].called, 2);
}

static void auth_done(void *arg, Caller *caller, const Err *err)
{
    Waiter *w = arg;
    w->called++;
    w->found = caller && strcmp(caller->username, "alice") == 0;
    w->code = err ? err->code : ERR_OK;
    caller_unref(caller);
}

/* The same through the Authenticator: waiting, a good token, a bad one, a cancelled one. */
static void test_authenticator__waits_for_the_url(void **state)
{
    Fixture *f = *state;
    FakeClock clock;
    Authenticator *auth = NULL;
    Waiter w[3] = {0};
    AuthWait *wait[3] = {0};
    Caller *now = NULL;
    char *token[3] = {test_token(KEY_RSA, "RS256", "one", CLAIMS_ALICE),
                      test_token(KEY_RSA_OTHER, "RS256", "one", CLAIMS_ALICE),
                      test_token(KEY_RSA, "RS256", "one", CLAIMS_ALICE)};
    fake_clock_init(&clock, (WallUsec){NOW_S * 1000000});
    AuthOptions o = {.enable_jwt = true, .enable_authz = true, .jwk_urls = f->url, .clock = &clock.clock};
    assert_int_equal(auth_new(f->loop, &o, &auth, NULL), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(auth_check(auth, str_from(token[i]), auth_done, &w[i], &now, &wait[i], NULL), 0);
    auth_cancel(wait[2]);
    PUMP_UNTIL(f->loop, w[0].called && w[1].called);
    assert_true(w[0].found);
    assert_int_equal(w[1].code, ERR_UNAUTHENTICATED);
    assert_int_equal(w[2].called, 0);
    assert_int_equal(auth_check(auth, str_from(token[0]), auth_done, &w[0], &now, &wait[0], NULL), 1);
    caller_unref(now);
    auth_cancel(NULL);
    auth_free(auth);
    for (size_t i = 0; i < 3; i++)
        free(token[i]);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int run_keys_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_start__whoever_comes_first_waits_for_the_keys),
        TEST(test_unknown_kid__fetches_the_rotated_keys_and_drops_old_ones),
        TEST(test_unknown_kid__is_remembered_and_others_are_not_held_up),
        TEST(test_unknown_kids__share_one_fetch_per_interval),
        TEST(test_failure__keeps_the_old_keys_and_is_not_the_tokens_fault),
        TEST(test_failure__at_the_start_is_tried_again),
        TEST(test_body__is_bounded),
        TEST(test_slow_server__is_given_up),
        TEST(test_refresh__happens_by_itself),
        TEST(test_cancel__ends_the_wait_without_a_word),
        TEST(test_free__tells_those_who_wait),
        TEST(test_callback__may_cancel_another_and_free_all),
        TEST(test_waiters__are_bounded),
        TEST(test_authenticator__waits_for_the_url),
    };
    return cmocka_run_group_tests_name("keys", tests, NULL, NULL);
}
