#include "test-internal.h"

#include <pthread.h>
#include <stdatomic.h>

#define JOBS 200

typedef struct Shared {
    Loop *loop;
    atomic_uint worked;
    unsigned done;
    pthread_mutex_t gate;
    bool on_loop;
} Shared;

static void work(void *arg)
{
    Shared *s = arg;
    s->on_loop |= loop_is_current(s->loop);
    atomic_fetch_add(&s->worked, 1);
}

static void done(void *arg)
{
    Shared *s = arg;
    assert_true(loop_is_current(s->loop));
    s->done++;
}

static void wait_at_gate(void *arg)
{
    Shared *s = arg;
    pthread_mutex_lock(&s->gate);
    pthread_mutex_unlock(&s->gate);
}

static Pool *test_pool(Loop *l, unsigned threads)
{
    Pool *p = NULL;
    assert_int_equal(pool_new(l, threads, &p, NULL), 0);
    return p;
}

static void test_pool__work_in_threads_done_on_the_loop(void **state)
{
    Shared s = {.loop = test_loop()};
    Pool *p = test_pool(s.loop, 1); /* one thread, as on_loop is not atomic */
    for (int i = 0; i < JOBS; i++)
        pool_submit(p, work, done, &s);
    PUMP_UNTIL(s.loop, s.done == JOBS);
    assert_int_equal(s.worked, JOBS);
    assert_false(s.on_loop);
    pool_free(p);
    loop_free(s.loop);
}

static void test_pool__free_finishes_what_is_queued(void **state)
{
    Shared s = {.loop = test_loop(), .gate = PTHREAD_MUTEX_INITIALIZER};
    Pool *p = test_pool(s.loop, 1);
    pthread_mutex_lock(&s.gate);
    pool_submit(p, wait_at_gate, NULL, &s);
    for (int i = 0; i < JOBS; i++)
        pool_submit(p, work, done, &s);
    assert_true(pool_queued(p) >= JOBS);
    pthread_mutex_unlock(&s.gate);
    pool_free(p);
    assert_int_equal(s.worked, JOBS);
    loop_free(s.loop); /* runs the posted completions */
    assert_int_equal(s.done, JOBS);
    assert_null(pool_free(NULL));
}

static void test_pool__several_threads_share_the_queue(void **state)
{
    Shared s = {.loop = test_loop(), .gate = PTHREAD_MUTEX_INITIALIZER};
    Pool *p = test_pool(s.loop, 3);
    pthread_mutex_lock(&s.gate);
    pool_submit(p, wait_at_gate, NULL, &s); /* holds up one thread only */
    pool_submit(p, wait_at_gate, NULL, &s);
    pool_submit(p, wait_at_gate, done, &s);
    pthread_mutex_unlock(&s.gate);
    PUMP_UNTIL(s.loop, s.done == 1);
    assert_int_equal(pool_queued(p), 0);
    pool_free(p);
    loop_free(s.loop);
}

int test_pool_group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool__work_in_threads_done_on_the_loop),
        cmocka_unit_test(test_pool__free_finishes_what_is_queued),
        cmocka_unit_test(test_pool__several_threads_share_the_queue),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
