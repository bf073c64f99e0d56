#include "test-internal.h"

#include <stdio.h>

typedef struct Got {
    bool done;
    uint64_t seq;
    ErrCode code;
    char reason[512];
} Got;

static void on_done(void *arg, uint64_t seq, const Err *err)
{
    Got *g = arg;

    g->done = true;
    g->seq = seq;
    g->code = err ? err->code : ERR_OK;
    snprintf(g->reason, sizeof(g->reason), "%s", err ? err->msg : "");
}

static const ClientPush full = {.session_id = STR("s1"),
                                .event_type = STR("assistant"),
                                .payload = STR("hello"),
                                .turn = STR("t1"),
                                .request_id = STR("t1-1")};

static void push(FakeApi *api, const ClientPush *p, Got *g)
{
    *g = (Got){0};
    client_push(api->client, p, on_done, g);
    assert_false(g->done);
    PUMP_UNTIL(api->loop, g->done);
}

static void test_push__carries_turn_and_request_id(void **state)
{
    FakeApi *api = fake_api_new("home");
    Got g;

    push(api, &full, &g);
    assert_int_equal(g.code, ERR_OK);
    assert_int_equal(g.seq, 40);
    assert_string_equal(api->seen[0].body, "s1 assistant hello");
    assert_string_equal(api->seen[0].bearer, "Bearer a-token");
    assert_string_equal(api->seen[0].turn, "t1");
    assert_string_equal(api->seen[0].key, "t1-1");
    assert_string_equal(api->seen[0].project, "home");
    push(api, &(ClientPush){.session_id = STR("s1"), .event_type = STR("x")}, &g);
    assert_int_equal(g.code, ERR_OK);
    assert_null(api->seen[1].turn);
    assert_null(api->seen[1].key);
    fake_api_free(api);
}

static void test_push__failures_have_the_server_s_reason(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    Got g;

    api->push_status[0] = GRPC_PERMISSION_DENIED;
    push(api, &full, &g);
    assert_int_equal(g.code, ERR_FORBIDDEN);
    assert_string_equal(g.reason, "push: gRPC PermissionDenied: the script says no");
    fake_api_free(api);
}

static void test_push__text_that_no_message_can_hold_is_refused_here(void **state)
{
    static const Str bad[] = {{"a\0b", 3}, {"\xff", 1}, {"\xed\xa0\x80", 3}};
    FakeApi *api = fake_api_new(NULL);
    Got g;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ClientPush p = full;
        p.payload = bad[i];
        push(api, &p, &g);
        assert_int_equal(g.code, ERR_INVALID);
    }
    assert_int_equal(api->n_seen, 0);
    fake_api_free(api);
}

static void test_push__nobody_there_ends_with_the_deadline(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    ClientPush p = full;
    Got g;

    api->grpc = grpc_server_free(api->grpc);
    p.timeout = 300 * USEC_PER_MSEC;
    push(api, &p, &g);
    assert_true(g.code == ERR_UNAVAILABLE || g.code == ERR_DEADLINE);
    fake_api_free(api);
}

static void test_push__cancelled_stays_silent(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    ClientPush bad = full;
    Got g = {0};

    bad.payload = STR("\xff");
    client_push_cancel(client_push(api->client, &full, on_done, &g));
    client_push_cancel(client_push(api->client, &bad, on_done, &g));
    client_push_cancel(NULL);
    client_push(api->client, &full, on_done, &g);
    client_push(api->client, &bad, on_done, &g);
    api->client = client_free(api->client);
    loop_run_once(api->loop, false);
    loop_run_once(api->loop, false);
    assert_false(g.done);
    fake_api_free(api);
}

int run_push_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push__carries_turn_and_request_id),
        cmocka_unit_test(test_push__failures_have_the_server_s_reason),
        cmocka_unit_test(test_push__text_that_no_message_can_hold_is_refused_here),
        cmocka_unit_test(test_push__nobody_there_ends_with_the_deadline),
        cmocka_unit_test(test_push__cancelled_stays_silent),
    };
    return cmocka_run_group_tests_name("push", tests, NULL, NULL);
}
