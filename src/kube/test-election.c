#include <string.h>
#include "base/mem.h"
#include "kube/election.h"
#include "test-internal.h"

#define LEASE(holder, version)                                                                               \
    "{\"metadata\":{\"name\":\"l\",\"namespace\":\"p\",\"uid\":\"u\",\"resourceVersion\":\"" version         \
    "\"},\"spec\":{\"holderIdentity\":\"" holder "\",\"leaseDurationSeconds\":1,\"leaseTransitions\":4}}"
#define PATH "/apis/coordination.k8s.io/v1/namespaces/p/leases"

typedef struct Ballot {
    TestApi api;
    Election *e;
    bool led, lost, released;
} Ballot;

static void on_lead(void *arg)
{
    ((Ballot *)arg)->led = true;
}

static void on_lose(void *arg)
{
    ((Ballot *)arg)->lost = true;
}

static void on_released(void *arg)
{
    ((Ballot *)arg)->released = true;
}

static void begin_with(Ballot *b, const Answer *answers, size_t n, Usec deadline)
{
    *b = (Ballot){0};
    test_api_init(&b->api, answers, n, NULL);
    const ElectionOptions o = {
        .kube = b->api.kube,
        .ns = "p",
        .name = "l",
        .identity = "me",
        .duration = USEC_PER_SEC,
        .deadline = deadline,
        .retry = 100 * USEC_PER_MSEC,
        .on_lead = on_lead,
        .on_lose = on_lose,
        .arg = b,
    };
    b->e = election_new(&o);
}

static void begin(Ballot *b, const Answer *answers, size_t n)
{
    begin_with(b, answers, n, 600 * USEC_PER_SEC); /* however slow this machine is */
}

static void end(Ballot *b)
{
    election_free(b->e);
    test_api_done(&b->api);
}

static void test_election__takes_a_new_lease_renews_and_releases_it(void **state)
{
    static const Answer answers[] = {
        SAY("GET " PATH "/l", 404, "{}"),
        SAY("POST " PATH, 201, LEASE("me", "1"), .want = "\"holderIdentity\":\"me\""),
        SAY("PUT " PATH "/l", 200, LEASE("me", "2"), .want = "\"leaseTransitions\":4"),
        SAY("PUT " PATH "/l", 200, LEASE("", "3"),
            .want = "\"holderIdentity\":\"\",\"leaseDurationSeconds\":1"),
    };
    Ballot b;
    begin(&b, answers, ARRAY_LEN(answers));
    assert_false(election_valid(b.e));
    test_wait(&b.api, &b.led);
    assert_true(election_valid(b.e));
    while (b.api.n_requests < 3)
        loop_run_once(b.api.loop, true);
    election_release(b.e, on_released, &b);
    assert_false(election_leading(b.e));
    test_wait(&b.api, &b.released);
    assert_false(b.lost);
    end(&b);
}

static void test_election__takes_over_only_after_a_whole_duration_without_change(void **state)
{
    static const Answer answers[] = {
        SAY("GET " PATH "/l", 200, LEASE("other", "1")),
        SAY("GET " PATH "/l", 200, LEASE("third", "2")), /* it was renewed */
    };
    Ballot b;
    begin(&b, answers, ARRAY_LEN(answers));
    while (strcmp(election_holder(b.e), "third") != 0)
        loop_run_once(b.api.loop, true);
    assert_false(b.led);
    end(&b);
}

static void test_election__a_lease_nobody_holds_is_taken(void **state)
{
    static const Answer answers[] = {
        SAY("GET " PATH "/l", 200, LEASE("", "1")),
        SAY("PUT " PATH "/l", 409, "{\"reason\":\"Conflict\"}"), /* another one was quicker */
        SAY("GET " PATH "/l", 200, LEASE("", "2")),
        SAY("PUT " PATH "/l", 200, LEASE("me", "3"), .want = "\"leaseTransitions\":5"),
    };
    Ballot b;
    begin(&b, answers, ARRAY_LEN(answers));
    test_wait(&b.api, &b.led);
    end(&b);
}

/* The holder may go on until its time is over, whether or not the Lease is still there. */
static void test_election__a_deleted_lease_is_not_taken_before_its_time(void **state)
{
    static const Answer answers[] = {
        SAY("GET " PATH "/l", 200,
            "{\"metadata\":{\"resourceVersion\":\"1\"},\"spec\":{\"holderIdentity\":\"other\","
            "\"leaseDurationSeconds\":600}}"),
        SAY("GET " PATH "/l", 404, "{}"),
        SAY("GET " PATH "/l", 404, "{}"),
        SAY("GET " PATH "/l", 200, LEASE("third", "2")),
    };
    Ballot b;
    begin(&b, answers, ARRAY_LEN(answers));
    while (strcmp(election_holder(b.e), "third") != 0)
        loop_run_once(b.api.loop, true);
    assert_false(b.led);
    end(&b);
}

/* The server took the renewal, its answer got lost: the Lease is read, and it is ours. */
static void test_election__a_renewal_without_an_answer_changes_nothing(void **state)
{
    static const Answer answers[] = {
        SAY("GET " PATH "/l", 200, LEASE("", "1")),
        SAY("PUT " PATH "/l", 200, LEASE("me", "2")),
        SAY("PUT " PATH "/l", 500, "{}"), /* it was done all the same */
        SAY("GET " PATH "/l", 200, LEASE("me", "3")),
        SAY("PUT " PATH "/l", 200, LEASE("me", "4"), .want = "\"leaseTransitions\":4"),
    };
    Ballot b;
    begin(&b, answers, ARRAY_LEN(answers));
    while (b.api.n_requests < ARRAY_LEN(answers))
        loop_run_once(b.api.loop, true);
    assert_true(b.led && !b.lost);
    end(&b);
}

static void test_election__ends_when_it_cannot_renew(void **state)
{
    static const Answer answers[] = {
        SAY("GET " PATH "/l", 200, LEASE("", "1")),
        SAY("PUT " PATH "/l", 200, LEASE("me", "2")),
    };
    Ballot b;
    begin_with(&b, answers, ARRAY_LEN(answers), 600 * USEC_PER_MSEC);
    test_wait(&b.api, &b.led);
    b.api.server = http_server_free(b.api.server);
    test_wait(&b.api, &b.lost);
    assert_false(election_valid(b.e));
    end(&b);
}

int run_election_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_election__takes_a_new_lease_renews_and_releases_it),
        cmocka_unit_test(test_election__takes_over_only_after_a_whole_duration_without_change),
        cmocka_unit_test(test_election__a_lease_nobody_holds_is_taken),
        cmocka_unit_test(test_election__a_deleted_lease_is_not_taken_before_its_time),
        cmocka_unit_test(test_election__a_renewal_without_an_answer_changes_nothing),
        cmocka_unit_test(test_election__ends_when_it_cannot_renew),
    };
    return cmocka_run_group_tests_name("kube-election", tests, NULL, NULL);
}
