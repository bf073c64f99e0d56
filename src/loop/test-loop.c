#include "test-internal.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/mem.h"

/* A text that callbacks append a letter to: the order of calls. */
static char trace[64];

static void note(void *arg)
{
    size_t len = strlen(trace);
    if (len + 1 < sizeof trace)
        trace[len] = *(const char *)arg;
}

static char A[] = "a", B[] = "b", C[] = "c", D[] = "d";

static int setup(void **state)
{
    memset(trace, 0, sizeof trace);
    *state = test_loop();
    return 0;
}

static int teardown(void **state)
{
    loop_free(*state);
    return 0;
}

/* ---- Posts ---- */

#define POSTERS 4
#define POSTS_EACH 5000

typedef struct Poster {
    Loop *loop;
    pthread_t thread;
    unsigned seen;
    unsigned *total;
} Poster;
typedef struct Post {
    Poster *poster;
    unsigned n;
} Post;

static void posted(void *arg)
{
    CLEANUP_FREE Post *p = arg;
    assert_int_equal(p->n, p->poster->seen);
    p->poster->seen++;
    ++*p->poster->total;
}

static void *post_many(void *arg)
{
    Poster *poster = arg;
    for (unsigned n = 0; n < POSTS_EACH; n++) {
        Post *p = xnew(Post);
        *p = (Post){poster, n};
        loop_post(poster->loop, posted, p);
    }
    return NULL;
}

static void test_post__many_threads_each_in_order(void **state)
{
    Poster posters[POSTERS];
    unsigned total = 0;
    for (size_t i = 0; i < POSTERS; i++) {
        posters[i] = (Poster){.loop = *state, .total = &total};
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
    }
    PUMP_UNTIL(*state, total == POSTERS * POSTS_EACH);
    for (size_t i = 0; i < POSTERS; i++)
        pthread_join(posters[i].thread, NULL);
}

static void post_again(void *arg)
{
    note(A);
    loop_post(*(Loop **)arg, note, B);
}

static void test_post__from_a_post_runs_in_the_next_turn(void **state)
{
    loop_post(*state, post_again, state);
    loop_run_once(*state, true);
    assert_string_equal(trace, "a");
    loop_run_once(*state, true); /* does not wait: there is work */
    assert_string_equal(trace, "ab");
}

static void stop(void *arg)
{
    loop_stop(arg);
}

static void *stop_thread(void *arg)
{
    stop(arg);
    return NULL;
}

static void test_stop__wakes_a_loop_that_waits(void **state)
{
    pthread_t t;
    alarm(120);
    pthread_create(&t, NULL, stop_thread, *state);
    loop_run(*state);
    pthread_join(t, NULL);
    loop_post(*state, stop, *state); /* and it can run again */
    loop_run(*state);
    alarm(0);
}

static void defer_more(void *arg)
{
    note(B);
    loop_defer(*(Loop **)arg, note, C);
}

static void defer_and_note(void *arg)
{
    loop_defer(*(Loop **)arg, defer_more, arg);
    note(A);
}

static void test_defer__runs_at_the_end_of_the_same_turn(void **state)
{
    loop_post(*state, defer_and_note, state);
    loop_run_once(*state, false);
    assert_string_equal(trace, "abc");
}

static void test_free__runs_what_was_posted_and_deferred(void **state)
{
    Loop *l = test_loop();
    loop_post(l, note, A);
    loop_defer(l, note, B);
    loop_free(l);
    assert_string_equal(trace, "ab");
    assert_null(loop_free(NULL));
}

static void test_now__stands_still_within_a_turn(void **state)
{
    Usec before = loop_now(*state);
    struct timespec ms = {.tv_nsec = 2000000};
    nanosleep(&ms, NULL);
    assert_true(loop_now(*state) > before); /* outside a turn it moves */
    assert_int_equal(clock_now(loop_clock(*state)) >= before, 1);
    assert_true(loop_is_current(*state));
}

static void check_now(void *arg)
{
    Loop *l = arg;
    Usec now = loop_now(l);
    struct timespec ms = {.tv_nsec = 2000000};
    nanosleep(&ms, NULL);
    assert_int_equal(loop_now(l), now);
    assert_int_equal(clock_now(loop_clock(l)), now);
    note(A);
}

static void test_now__is_the_same_for_all_callbacks_of_a_turn(void **state)
{
    loop_post(*state, check_now, *state);
    loop_run_once(*state, false);
    assert_string_equal(trace, "a");
}

/* ---- Timers ---- */

static void test_timer__fires_by_deadline_then_by_arming(void **state)
{
    Timer *a = timer_new(*state, note, A), *b = timer_new(*state, note, B);
    Timer *c = timer_new(*state, note, C), *d = timer_new(*state, note, D);
    timer_arm(d, 400 * USEC_PER_MSEC);
    timer_arm(c, 200 * USEC_PER_MSEC);
    timer_arm(b, USEC_PER_SEC);
    timer_arm(a, 0);
    timer_arm(b, 0); /* replaces; armed after a in the same microsecond or later */
    assert_true(timer_armed(b));
    PUMP_UNTIL(*state, strlen(trace) == 4);
    assert_string_equal(trace, "abcd");
    assert_false(timer_armed(a));
    timer_free(a), timer_free(b), timer_free(c), timer_free(d);
}

static Timer *victim;

static void free_victim(void *arg)
{
    note(arg);
    victim = timer_free(victim);
}

static void test_timer__freed_by_an_earlier_one_of_the_same_turn(void **state)
{
    Timer *t = timer_new(*state, free_victim, A);
    victim = timer_new(*state, note, B);
    timer_arm(t, 0);
    timer_arm(victim, 0);
    struct timespec ms = {.tv_nsec = 2000000};
    nanosleep(&ms, NULL); /* both are due */
    PUMP_UNTIL(*state, *trace);
    loop_run_once(*state, false);
    assert_string_equal(trace, "a");
    timer_free(t);
}

static void test_timer__freed_in_its_own_callback(void **state)
{
    victim = timer_new(*state, free_victim, A);
    timer_arm(victim, 0);
    PUMP_UNTIL(*state, *trace);
    assert_null(victim);
    assert_null(timer_free(NULL));
}

static Timer *again;

static void arm_again(void *arg)
{
    note(arg);
    timer_arm(again, 0);
}

static void test_timer__armed_with_zero_again_leaves_room_for_others(void **state)
{
    again = timer_new(*state, arm_again, A);
    timer_arm(again, 0);
    PUMP_UNTIL(*state, *trace);
    loop_post(*state, note, B);
    PUMP_UNTIL(*state, strchr(trace, 'b'));
    again = timer_free(again);
}

static void test_timer__cancelled_does_not_fire(void **state)
{
    Timer *a = timer_new(*state, note, A), *b = timer_new(*state, note, B);
    timer_arm(a, 0);
    timer_arm(b, 3 * USEC_PER_MSEC);
    timer_cancel(a);
    timer_cancel(a);
    PUMP_UNTIL(*state, *trace);
    assert_string_equal(trace, "b");
    timer_arm(a, USEC_NEVER);
    assert_false(timer_armed(a));
    timer_free(a), timer_free(b);
}

static void test_timer__lateness_is_measured(void **state)
{
    Timer *a = timer_new(*state, note, A);
    timer_arm(a, 0);
    struct timespec ms = {.tv_nsec = 3000000};
    nanosleep(&ms, NULL);
    PUMP_UNTIL(*state, *trace);
    assert_true(loop_lag(*state) >= 3 * USEC_PER_MSEC);
    timer_free(a);
}

/* ---- Signals and descriptors ---- */

static void test_signal__comes_as_a_callback(void **state)
{
    SignalWatch *w = signal_watch_new(*state, SIGUSR1, note, A);
    raise(SIGUSR1);
    PUMP_UNTIL(*state, *trace);
    raise(SIGPIPE); /* ignored */
    assert_string_equal(trace, "a");
    signal_watch_free(w);
}

typedef struct Watched {
    int fd;
    FdWatch *watch;
    unsigned reads, writes;
    bool free_at_once;
} Watched;

static void watched(void *arg, unsigned ready)
{
    Watched *w = arg;
    w->reads += (ready & FD_READ) != 0;
    w->writes += (ready & FD_WRITE) != 0;
    if (w->free_at_once)
        w->watch = fd_watch_free(w->watch);
}

static void test_fd__tells_what_is_ready(void **state)
{
    Watched w = {.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    w.watch = fd_watch_new(*state, w.fd, FD_READ | FD_WRITE, watched, &w);
    PUMP_UNTIL(*state, w.writes > 0);
    assert_int_equal(w.reads, 0);
    fd_watch_set(w.watch, FD_READ);
    uint64_t one = 1;
    assert_int_equal(write(w.fd, &one, sizeof one), sizeof one);
    unsigned writes = w.writes;
    PUMP_UNTIL(*state, w.reads > 0);
    assert_int_equal(w.writes, writes);
    fd_watch_free(w.watch);
    close(w.fd);
}

static void test_fd__freed_in_the_first_of_two_callbacks(void **state)
{
    Watched w = {.fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC), .free_at_once = true};
    w.watch = fd_watch_new(*state, w.fd, FD_READ | FD_WRITE, watched, &w);
    PUMP_UNTIL(*state, w.reads + w.writes > 0);
    loop_run_once(*state, false);
    assert_int_equal(w.reads + w.writes, 1);
    close(w.fd);
}

static void test_fd__regular_file_cannot_be_watched(void **state)
{
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_null(fd_watch_new(*state, fd, FD_READ, watched, NULL));
    assert_null(fd_watch_free(NULL));
    close(fd);
}

#define LOOP_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int test_loop_group(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(test_post__many_threads_each_in_order),
        LOOP_TEST(test_post__from_a_post_runs_in_the_next_turn),
        LOOP_TEST(test_stop__wakes_a_loop_that_waits),
        LOOP_TEST(test_defer__runs_at_the_end_of_the_same_turn),
        LOOP_TEST(test_free__runs_what_was_posted_and_deferred),
        LOOP_TEST(test_now__stands_still_within_a_turn),
        LOOP_TEST(test_now__is_the_same_for_all_callbacks_of_a_turn),
        LOOP_TEST(test_timer__fires_by_deadline_then_by_arming),
        LOOP_TEST(test_timer__freed_by_an_earlier_one_of_the_same_turn),
        LOOP_TEST(test_timer__freed_in_its_own_callback),
        LOOP_TEST(test_timer__armed_with_zero_again_leaves_room_for_others),
        LOOP_TEST(test_timer__cancelled_does_not_fire),
        LOOP_TEST(test_timer__lateness_is_measured),
        LOOP_TEST(test_signal__comes_as_a_callback),
        LOOP_TEST(test_fd__tells_what_is_ready),
        LOOP_TEST(test_fd__freed_in_the_first_of_two_callbacks),
        LOOP_TEST(test_fd__regular_file_cannot_be_watched),
    };
    return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
