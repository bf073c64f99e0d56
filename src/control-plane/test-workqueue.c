#include "test-internal.h"

#include <stdio.h>
#include <string.h>
#include "base/map.h"
#include "base/mem.h"
#include "base/vec.h"
#include "workqueue.h"

/*
 * A queue on a fake clock whose runs do what the test says: end at once with the planned result, or stay open
 * until the test ends them. Every start is written down with its time.
 */
typedef struct Started {
    char key[32];
    Usec at;
} Started;

typedef struct Rig {
    FakeClock clock;
    WorkQueue *q;
    VEC_OF(Started)
    log;
    Map *open;     /* key -> WqRun of a run that was not ended */
    WqResult plan; /* how runs end at once; `hold` keeps them open */
    bool hold;
    unsigned fail_first; /* so many runs fail before `plan` holds */
    Usec after;
    unsigned cancelled, woken;
    size_t most_open;
} Rig;

static void rig_run(void *arg, const char *key, WqRun *run)
{
    Rig *r = arg;
    Started s = {.at = clock_now(&r->clock.clock)};
    snprintf(s.key, sizeof(s.key), "%s", key);
    vec_push(&r->log, s);
    /* The queue's promise: never two runs of one key. */
    assert_null(map_put(r->open, str_from(key), run));
    if (map_len(r->open) > r->most_open)
        r->most_open = map_len(r->open);
    if (r->hold)
        return;
    map_remove(r->open, str_from(key));
    if (r->fail_first > 0) {
        r->fail_first--;
        wq_done(run, WQ_RETRY, 0, "planned");
        return;
    }
    wq_done(run, r->plan, r->after, "planned");
}

static void rig_cancel(void *arg, const char *key, WqRun *run)
{
    Rig *r = arg;
    r->cancelled++;
    assert_ptr_equal(map_remove(r->open, str_from(key)), run);
}

static void rig_wake(void *arg)
{
    ((Rig *)arg)->woken++;
}

static void rig_init(Rig *r, unsigned workers)
{
    static const WqOps ops = {.run = rig_run, .cancel = rig_cancel, .wake = rig_wake};
    *r = (Rig){.open = map_new()};
    fake_clock_init(&r->clock, (WallUsec){1700000000000000});
    const WqOptions o = {.name = "test", .clock = &r->clock.clock, .workers = workers};
    r->q = wq_new(&o, &ops, r);
}

static void rig_done(Rig *r)
{
    wq_free(r->q);
    map_free(r->open);
    vec_free(&r->log);
}
#define CLEANUP_RIG CLEANUP(rig_done)

static void rig_end(Rig *r, const char *key, WqResult result)
{
    WqRun *run = map_remove(r->open, str_from(key));
    assert_non_null(run);
    wq_done(run, result, r->after, "planned");
}

static void turn_until_idle(Rig *r)
{
    while (wq_next(r->q) <= clock_now(&r->clock.clock))
        wq_turn(r->q);
}

/* Turns the clock to each deadline on the way, as the program's timer does. */
static void rig_advance(Rig *r, Usec by)
{
    Usec end = clock_now(&r->clock.clock) + by;
    turn_until_idle(r);
    for (Usec next; (next = wq_next(r->q)) <= end;) {
        fake_clock_advance(&r->clock, next - clock_now(&r->clock.clock));
        turn_until_idle(r);
    }
    fake_clock_advance(&r->clock, end - clock_now(&r->clock.clock));
}

static size_t count_starts(Rig *r, const char *key)
{
    size_t n = 0;
    VEC_FOREACH (&r->log, s) {
        n += strcmp(s->key, key) == 0;
    }
    return n;
}

static void add(Rig *r, const char *key)
{
    wq_add(r->q, str_from(key));
}

/* ---- the set ---- */

static void test_wq__a_key_waits_at_most_once(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    for (int i = 0; i < 100; i++)
        add(&r, "a");
    WqStats st;
    wq_stats(r.q, &st);
    assert_int_equal(st.waiting, 1);
    turn_until_idle(&r);
    assert_int_equal(r.log.len, 1);
    assert_true(wq_next(r.q) == USEC_NEVER);
}

static void test_wq__key_added_while_processing_runs_again(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.hold = true;
    add(&r, "a");
    wq_turn(r.q);
    add(&r, "a");
    add(&r, "a");
    wq_turn(r.q);
    assert_int_equal(r.log.len, 1); /* not beside the first run */
    rig_end(&r, "a", WQ_OK);
    turn_until_idle(&r);
    assert_int_equal(r.log.len, 2);
    rig_end(&r, "a", WQ_OK);
    turn_until_idle(&r);
    assert_int_equal(r.log.len, 2); /* and only once */
}

static void test_wq__runs_at_most_workers_at_a_time(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 3);
    r.hold = true;
    char key[8];
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        add(&r, key);
    }
    turn_until_idle(&r);
    assert_int_equal(r.log.len, 3);
    for (int i = 0; i < 10; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        rig_end(&r, key, WQ_OK);
        turn_until_idle(&r);
    }
    assert_int_equal(r.log.len, 10);
    assert_int_equal(r.most_open, 3);
}

static void test_wq__wait_comes_back_without_counting_as_failure(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.plan = WQ_WAIT;
    r.after = 3 * USEC_PER_SEC;
    add(&r, "a");
    rig_advance(&r, 9 * USEC_PER_SEC + 1);
    assert_int_equal(r.log.len, 4); /* at 0, 3, 6 and 9 s */
    assert_int_equal(wq_failures(r.q, STR("a")), 0);
}

static void test_wq__after_forgets_failures(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.plan = WQ_AFTER;
    r.after = 60 * USEC_PER_SEC;
    r.fail_first = 2;
    add(&r, "a");
    rig_advance(&r, 5 * USEC_PER_SEC);
    assert_int_equal(wq_failures(r.q, STR("a")), 2);
    rig_advance(&r, 2 * USEC_PER_SEC);
    assert_int_equal(wq_failures(r.q, STR("a")), 0);
    rig_advance(&r, 60 * USEC_PER_SEC);
    assert_int_equal(r.log.len, 4);
}

static void test_wq__an_event_runs_before_a_delayed_return(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.plan = WQ_AFTER;
    r.after = 600 * USEC_PER_SEC;
    add(&r, "a");
    rig_advance(&r, USEC_PER_SEC);
    add(&r, "a");
    turn_until_idle(&r);
    assert_int_equal(r.log.len, 2);
}

static void test_wq__add_after_keeps_the_earlier_time(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    wq_add_after(r.q, STR("a"), 10 * USEC_PER_SEC);
    wq_add_after(r.q, STR("a"), 20 * USEC_PER_SEC);
    wq_add_after(r.q, STR("a"), 5 * USEC_PER_SEC);
    Usec start = clock_now(&r.clock.clock);
    rig_advance(&r, 60 * USEC_PER_SEC);
    assert_int_equal(r.log.len, 1);
    assert_int_equal(r.log.ptr[0].at - start, 5 * USEC_PER_SEC);
}

static void test_wq__a_run_over_its_deadline_is_cancelled_and_retried(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.hold = true;
    add(&r, "a");
    rig_advance(&r, 61 * USEC_PER_SEC);
    assert_int_equal(r.cancelled, 1);
    rig_advance(&r, 2 * USEC_PER_SEC); /* the first backoff */
    assert_int_equal(r.log.len, 2);
    WqStats st;
    wq_stats(r.q, &st);
    assert_int_equal(st.deadlines, 1);
    assert_string_equal(st.reasons[0].reason, "deadline");
}

static void test_wq__paused_starts_nothing(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    wq_pause(r.q);
    add(&r, "a");
    rig_advance(&r, 60 * USEC_PER_SEC);
    assert_int_equal(r.log.len, 0);
    assert_true(wq_next(r.q) == USEC_NEVER);
}

static void test_wq__free_cancels_what_runs(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.hold = true;
    add(&r, "a");
    add(&r, "b");
    wq_turn(r.q);
    r.q = wq_free(r.q);
    assert_int_equal(r.cancelled, 2);
}

static void test_wq__wakes_its_driver(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    add(&r, "a");
    assert_int_equal(r.woken, 1);
    assert_int_equal(wq_next(r.q), 0);
}

/* ---- backoff ---- */

static void test_wq__backoff_doubles_from_2_to_30_seconds_and_never_ends(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.plan = WQ_RETRY;
    add(&r, "a");
    rig_advance(&r, 3600 * USEC_PER_SEC);
    static const unsigned gaps[] = {2, 4, 8, 16, 30, 30, 30, 30};
    for (size_t i = 0; i < ARRAY_LEN(gaps); i++)
        assert_int_equal(r.log.ptr[i + 1].at - r.log.ptr[i].at, gaps[i] * USEC_PER_SEC);
    assert_true(r.log.len > 110); /* an hour later it is still tried */
}

static double random_from(void *arg)
{
    return *(double *)arg;
}

static void jitter_run(void *arg, const char *key, WqRun *run)
{
    wq_done(run, WQ_RETRY, 0, "x");
}

static void jitter_cancel(void *arg, const char *key, WqRun *run)
{
}

static void test_wq__jitter_stays_within_a_fifth(void **state)
{
    static const WqOps ops = {.run = jitter_run, .cancel = jitter_cancel, .random = random_from};
    static const struct {
        double random;
        Usec delay;
    } cases[] = {{0.0, 1600 * USEC_PER_MSEC}, {0.5, 2000 * USEC_PER_MSEC}, {0.75, 2200 * USEC_PER_MSEC}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        FakeClock clock;
        fake_clock_init(&clock, (WallUsec){0});
        double random = cases[i].random;
        const WqOptions o = {.name = "test", .clock = &clock.clock};
        CLEANUP(wq_freep) WorkQueue *q = wq_new(&o, &ops, &random);
        wq_add(q, STR("a"));
        wq_turn(q);
        assert_int_equal(wq_next(q) - clock_now(&clock.clock), cases[i].delay);
    }
}

static void test_wq__a_fresh_event_waits_half_a_second_after_a_failure(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.fail_first = 1;
    add(&r, "a");
    turn_until_idle(&r);
    Usec failed = clock_now(&r.clock.clock);
    fake_clock_advance(&r.clock, 100 * USEC_PER_MSEC);
    add(&r, "a");
    turn_until_idle(&r);
    assert_int_equal(r.log.len, 1);
    rig_advance(&r, USEC_PER_SEC);
    assert_int_equal(r.log.len, 2);
    assert_int_equal(r.log.ptr[1].at - failed, WQ_FRESH_HOLD);
}

static void test_wq__an_event_during_a_failing_run_waits_half_a_second_too(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.hold = true;
    add(&r, "a");
    wq_turn(r.q);
    add(&r, "a");
    rig_end(&r, "a", WQ_RETRY);
    Usec failed = clock_now(&r.clock.clock);
    rig_advance(&r, USEC_PER_SEC);
    assert_int_equal(r.log.len, 2);
    assert_int_equal(r.log.ptr[1].at - failed, WQ_FRESH_HOLD);
}

/* ---- the reviewers' findings, contract section 16 ---- */

static void test_wq__r5_a_failing_reconciler_does_not_rerun_the_others(void **state)
{
    CLEANUP_RIG Rig a;
    CLEANUP_RIG Rig b;
    rig_init(&a, 0);
    rig_init(&b, 0);
    b.fail_first = 5;
    add(&a, "s");
    add(&b, "s");
    rig_advance(&a, 300 * USEC_PER_SEC);
    rig_advance(&b, 300 * USEC_PER_SEC);
    assert_int_equal(a.log.len, 1);
    assert_int_equal(b.log.len, 6);
}

static void test_wq__r6_retry_due_sooner_runs_first(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    Usec start = clock_now(&r.clock.clock);
    wq_add_after(r.q, STR("x"), 30 * USEC_PER_SEC);
    wq_add_after(r.q, STR("y"), 2 * USEC_PER_SEC);
    rig_advance(&r, 3 * USEC_PER_SEC);
    assert_int_equal(r.log.len, 1);
    assert_string_equal(r.log.ptr[0].key, "y");
    assert_int_equal(r.log.ptr[0].at - start, 2 * USEC_PER_SEC);
    rig_advance(&r, 30 * USEC_PER_SEC);
    assert_string_equal(r.log.ptr[1].key, "x");
    assert_int_equal(r.log.ptr[1].at - start, 30 * USEC_PER_SEC);
}

static void test_wq__r7_retries_run_in_deadline_order(void **state)
{
    enum { KEYS = 1000 };
    CLEANUP_RIG Rig r;
    rig_init(&r, 1);
    Usec due[KEYS];
    Usec start = clock_now(&r.clock.clock);
    uint32_t seed = 7;
    for (int i = 0; i < KEYS; i++) {
        seed = seed * 1664525u + 1013904223u;
        due[i] = USEC_PER_SEC + seed % (29 * USEC_PER_SEC);
        char key[16];
        snprintf(key, sizeof(key), "%d", i);
        wq_add_after(r.q, str_from(key), due[i]);
    }
    rig_advance(&r, 31 * USEC_PER_SEC);
    assert_int_equal(r.log.len, KEYS);
    Usec last = 0;
    VEC_FOREACH (&r.log, s) {
        int64_t i;
        assert_int_equal(str_to_i64(str_from(s->key), &i), 0);
        assert_true(due[i] >= last);
        assert_int_equal(s->at - start, due[i]); /* lateness: none */
        last = due[i];
    }
}

static void test_wq__r8_pending_retries_do_not_block_fresh_events(void **state)
{
    enum { KEYS = 10000 };
    CLEANUP_RIG Rig r;
    rig_init(&r, 4);
    r.plan = WQ_RETRY;
    char key[16];
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "bad-%d", i);
        add(&r, key);
    }
    rig_advance(&r, USEC_PER_SEC);
    WqStats st;
    wq_stats(r.q, &st);
    assert_int_equal(st.delayed, KEYS);
    /* All retries are due at once, and each takes a while: the event still starts next. */
    fake_clock_advance(&r.clock, 5 * USEC_PER_SEC);
    r.hold = true;
    wq_turn(r.q);
    size_t before = r.log.len;
    add(&r, "fresh");
    rig_end(&r, r.log.ptr[before - 1].key, WQ_RETRY);
    wq_turn(r.q);
    assert_int_equal(r.log.len, before + 1);
    assert_string_equal(r.log.ptr[before].key, "fresh");
}

static void test_wq__r8_events_do_not_starve_retries(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 1);
    r.fail_first = 1;
    add(&r, "bad");
    turn_until_idle(&r);
    fake_clock_advance(&r.clock, 2 * USEC_PER_SEC);
    for (int i = 0; i < 8; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        add(&r, key);
    }
    turn_until_idle(&r);
    assert_int_equal(count_starts(&r, "bad"), 2);
    assert_string_not_equal(r.log.ptr[r.log.len - 1].key, "bad");
}

static void test_wq__r10_runs_of_a_key_never_overlap(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 4);
    r.hold = true;
    uint32_t seed = 10;
    /* rig_run() checks the promise; here is the mix of events, retries, resyncs, ends and time. */
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1664525u + 1013904223u;
        char key[4];
        snprintf(key, sizeof(key), "%u", seed >> 8 & 7);
        switch (seed >> 20 & 3) {
        case 0:
            add(&r, key);
            break;
        case 1:
            wq_add_after(r.q, str_from(key), seed % USEC_PER_SEC);
            break;
        case 2:
            if (map_has(r.open, str_from(key)))
                rig_end(&r, key, (WqResult)(seed >> 24 & 3));
            break;
        default:
            rig_advance(&r, seed % (3 * USEC_PER_SEC));
            break;
        }
    }
    assert_true(r.log.len > 1000);
}

static void test_wq__r20_one_success_resets_the_counter(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.fail_first = 4;
    add(&r, "a");
    rig_advance(&r, 20 * USEC_PER_SEC);
    assert_int_equal(wq_failures(r.q, STR("a")), 4);
    rig_advance(&r, 20 * USEC_PER_SEC);
    assert_int_equal(r.log.len, 5);
    assert_int_equal(wq_failures(r.q, STR("a")), 0);
    r.fail_first = 1;
    add(&r, "a");
    rig_advance(&r, 2 * USEC_PER_SEC);
    assert_int_equal(r.log.ptr[6].at - r.log.ptr[5].at, 2 * USEC_PER_SEC); /* the first step again */
}

static void test_wq__r20_an_event_during_backoff_runs_once_and_keeps_the_counter(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.plan = WQ_RETRY;
    add(&r, "a");
    rig_advance(&r, 15 * USEC_PER_SEC); /* failed at 0, 2, 6 and 14 s; the next one is due at 30 s */
    assert_int_equal(r.log.len, 4);
    add(&r, "a");
    rig_advance(&r, USEC_PER_SEC);
    assert_int_equal(r.log.len, 5);
    assert_int_equal(wq_failures(r.q, STR("a")), 5);
    rig_advance(&r, 29 * USEC_PER_SEC); /* now at 45 s: 30 s after the run at 15 s */
    assert_int_equal(r.log.len, 6);
}

static void test_wq__counts_retries_by_reason(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0);
    r.fail_first = 3;
    add(&r, "a");
    rig_advance(&r, 60 * USEC_PER_SEC);
    WqStats st;
    wq_stats(r.q, &st);
    assert_int_equal(st.n_reasons, 1);
    assert_string_equal(st.reasons[0].reason, "planned");
    assert_int_equal(st.reasons[0].count, 3);
    assert_int_equal(st.runs, 4);
    assert_int_equal(st.results[WQ_OK], 1);
    assert_int_equal(st.buckets[0], 4);
}

int run_workqueue_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wq__a_key_waits_at_most_once),
        cmocka_unit_test(test_wq__key_added_while_processing_runs_again),
        cmocka_unit_test(test_wq__runs_at_most_workers_at_a_time),
        cmocka_unit_test(test_wq__wait_comes_back_without_counting_as_failure),
        cmocka_unit_test(test_wq__after_forgets_failures),
        cmocka_unit_test(test_wq__an_event_runs_before_a_delayed_return),
        cmocka_unit_test(test_wq__add_after_keeps_the_earlier_time),
        cmocka_unit_test(test_wq__a_run_over_its_deadline_is_cancelled_and_retried),
        cmocka_unit_test(test_wq__paused_starts_nothing),
        cmocka_unit_test(test_wq__free_cancels_what_runs),
        cmocka_unit_test(test_wq__wakes_its_driver),
        cmocka_unit_test(test_wq__backoff_doubles_from_2_to_30_seconds_and_never_ends),
        cmocka_unit_test(test_wq__jitter_stays_within_a_fifth),
        cmocka_unit_test(test_wq__a_fresh_event_waits_half_a_second_after_a_failure),
        cmocka_unit_test(test_wq__an_event_during_a_failing_run_waits_half_a_second_too),
        cmocka_unit_test(test_wq__r5_a_failing_reconciler_does_not_rerun_the_others),
        cmocka_unit_test(test_wq__r6_retry_due_sooner_runs_first),
        cmocka_unit_test(test_wq__r7_retries_run_in_deadline_order),
        cmocka_unit_test(test_wq__r8_pending_retries_do_not_block_fresh_events),
        cmocka_unit_test(test_wq__r8_events_do_not_starve_retries),
        cmocka_unit_test(test_wq__r10_runs_of_a_key_never_overlap),
        cmocka_unit_test(test_wq__r20_one_success_resets_the_counter),
        cmocka_unit_test(test_wq__r20_an_event_during_backoff_runs_once_and_keeps_the_counter),
        cmocka_unit_test(test_wq__counts_retries_by_reason),
    };
    return cmocka_run_group_tests_name("workqueue", tests, NULL, NULL);
}
