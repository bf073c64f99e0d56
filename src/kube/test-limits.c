/* What keeps a crowd of requests from becoming a burst, and a replica that does not lead from writing. */
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "test-internal.h"

#define POD "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\",\"namespace\":\"p\",\"uid\":\"u\"}}"
#define GET_X "GET /api/v1/namespaces/p/pods/x"
#define CROWD 6

/* Writes are asked about when their turn has come, and refused: so nothing is sent, and the order is known.
 */
typedef struct Turns {
    TestApi api;
    Buf order;
    unsigned ended;
    bool done;
} Turns;

static bool nobody_leads(void *arg)
{
    return false;
}

static void on_turn(Turns *t, char who)
{
    (void)buf_addc(&t->order, who);
    t->done = ++t->ended == 2 * CROWD;
}

static void on_front(void *arg, json_t *body, const KubeError *e)
{
    on_turn(arg, 'f');
}

static void on_back(void *arg, json_t *body, const KubeError *e)
{
    on_turn(arg, 'b');
}

static void test_bucket__the_background_has_a_share_and_no_more(void **state)
{
    const KubeOptions o = {.qps = 1000, .burst = 1, .may_write = nobody_leads};
    Turns t = {.order = BUF_INIT(100)};
    test_api_init(&t.api, NULL, 0, &o);
    for (int i = 0; i < CROWD; i++)
        kube_send(
            t.api.kube,
            KUBE_REQUEST(.verb = KUBE_DELETE, .kind = KUBE_PODS, .ns = "p", .name = "b", .background = true),
            on_back, &t);
    for (int i = 0; i < CROWD; i++)
        kube_send(t.api.kube, KUBE_REQUEST(.verb = KUBE_DELETE, .kind = KUBE_PODS, .ns = "p", .name = "f"),
                  on_front, &t);
    assert_int_equal(kube_waiting(t.api.kube), 2 * CROWD);
    test_wait(&t.api, &t.done);
    (void)buf_addc(&t.order, '\0');
    assert_string_equal(t.order.data, "fffbfffbbbbb");
    assert_int_equal(kube_waiting(t.api.kube), 0);
    assert_int_equal(t.api.kube->n_background, 0);
    buf_done(&t.order);
    test_api_done(&t.api);
}

static void test_bucket__a_silent_server_collects_no_crowd(void **state)
{
    TestApi t;
    TestResult crowd[40] = {0};
    test_api_init(&t, NULL, 0, NULL);
    http_server_free(t.server);
    t.server = NULL;
    for (size_t i = 0; i < ARRAY_LEN(crowd); i++)
        kube_send(
            t.kube,
            KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_PODS, .ns = "p", .name = "b", .background = true),
            test_result, &crowd[i]);
    while (kube_waiting(t.kube) == ARRAY_LEN(crowd))
        loop_run_once(t.loop, true);
    assert_int_equal(t.kube->n_background, 16);
    assert_int_equal(kube_waiting(t.kube), ARRAY_LEN(crowd) - 16);
    for (size_t i = 0; i < ARRAY_LEN(crowd); i++)
        test_wait(&t, &crowd[i].done); /* each place that becomes free is taken */
    assert_int_equal(t.kube->n_background, 0);
    test_api_done(&t);
}

static void test_bucket__too_many_requests_make_all_wait(void **state)
{
    static const Answer answers[] = {
        SAY(GET_X, 429, "{}", .header = "Retry-After", .value = "1"),
        SAY(GET_X, 200, POD),
        SAY(GET_X, 200, POD),
    };
    const KubeRequest *get = KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_PODS, .ns = "p", .name = "x");
    TestApi t;
    TestResult first = {0}, second = {0};
    test_api_init(&t, answers, ARRAY_LEN(answers), NULL);
    kube_send(t.kube, get, test_result, &first);
    while (t.kube->held_until == 0)
        loop_run_once(t.loop, true);
    Usec until = t.kube->held_until;
    KubeCall *call = kube_send(t.kube, get, test_result, &second);
    while (t.n_requests == 1) {
        if (clock_now(loop_clock(t.loop)) < until)
            assert_int_equal(call->deadline, 0); /* its time has not begun */
        loop_run_once(t.loop, true);
    }
    assert_true(clock_now(loop_clock(t.loop)) >= until);
    test_wait(&t, &first.done);
    test_wait(&t, &second.done);
    assert_true(first.body && second.body);
    test_result_done(&first);
    test_result_done(&second);
    test_api_done(&t);
}

/* ---- reachable again ---- */

static void count_up(void *arg)
{
    ++*(unsigned *)arg;
}

static void test_reachable__one_lost_connection_is_no_outage(void **state)
{
    unsigned again = 0; /* told of either */
    const KubeOptions o = {.on_reachable = count_up, .on_lost = count_up, .arg = &again};
    TestApi t;
    test_api_init(&t, NULL, 0, &o);
    kube_answered(t.kube, false);
    kube_answered(t.kube, true);
    assert_int_equal(again, 0);
    kube_answered(t.kube, false);
    assert_false(kube_lost(t.kube));
    t.kube->lost_at -= 3 * USEC_PER_SEC;
    kube_answered(t.kube, false);
    kube_answered(t.kube, false);
    assert_int_equal(again, 1);
    assert_true(kube_lost(t.kube));
    kube_answered(t.kube, true);
    assert_int_equal(again, 2);
    assert_false(kube_lost(t.kube));
    kube_answered(t.kube, true);
    assert_int_equal(again, 2);
    test_api_done(&t);
}

/* ---- fences ---- */

static bool only_once(void *arg)
{
    return ++*(unsigned *)arg == 1;
}

static void test_fence__is_asked_again_when_the_connection_stands(void **state)
{
    unsigned asked = 0;
    const KubeOptions o = {.may_write = only_once, .arg = &asked};
    TestApi t;
    TestResult r = {0};
    test_api_init(&t, NULL, 0, &o); /* a request that arrives fails the test */
    kube_send(t.kube, KUBE_REQUEST(.verb = KUBE_DELETE, .kind = KUBE_PODS, .ns = "p", .name = "x"),
              test_result, &r);
    test_wait(&t, &r.done);
    assert_int_equal(asked, 2);
    assert_int_equal(r.e.err.code, ERR_PRECONDITION);
    assert_true(kube_error_is(&r.e, "NotLeader"));
    assert_int_equal(t.kube->lost_at, 0);
    test_result_done(&r);
    test_api_done(&t);
}

int run_limits_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bucket__the_background_has_a_share_and_no_more),
        cmocka_unit_test(test_bucket__a_silent_server_collects_no_crowd),
        cmocka_unit_test(test_bucket__too_many_requests_make_all_wait),
        cmocka_unit_test(test_reachable__one_lost_connection_is_no_outage),
        cmocka_unit_test(test_fence__is_asked_again_when_the_connection_stands),
    };
    return cmocka_run_group_tests_name("kube-limits", tests, NULL, NULL);
}
