/*
 * Timers sit in our own heap behind one timerfd. libevent's clock is the kernel's coarse one (up to 4 ms
 * early or late), and its precise mode costs a system call per turn; here one is made only when the earliest
 * deadline moves forward.
 */
#include <assert.h>
#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "base/mem.h"
#include "loop-internal.h"

struct Timer {
    Loop *loop;
    HeapNode node;
    Usec due;
    uint64_t order; /* equal deadlines fire in the order they were armed */
    LoopFn fn;
    void *arg;
};

static Timer *timer_of(const HeapNode *n)
{
    const char *at = (const char *)n - offsetof(Timer, node);
    return (Timer *)(uintptr_t)at;
}

static bool timer_less(const HeapNode *a, const HeapNode *b)
{
    const Timer *ta = timer_of(a), *tb = timer_of(b);
    return ta->due != tb->due ? ta->due < tb->due : ta->order < tb->order;
}

static Timer *timers_first(Loop *l)
{
    HeapNode *n = heap_peek(&l->timers);
    return n ? timer_of(n) : NULL;
}

static void timer_fire(Loop *l, Timer *t)
{
    heap_remove(&l->timers, &t->node);
    l->lag = l->now - t->due;
    t->fn(t->arg); /* may free the timer */
}

/* A timer that is armed again from its own callback, even with 0, waits for the next turn. */
static void timers_run(Loop *l)
{
    uint64_t end = l->timer_order;
    for (Timer *t; (t = timers_first(l)) && t->due <= l->now && t->order < end;)
        timer_fire(l, t);
}

static void timer_cb(evutil_socket_t fd, short what, void *arg)
{
    Loop *l = arg;
    uint64_t n;
    loop_enter(l);
    if (read(fd, &n, sizeof n) > 0)
        l->timer_fd_due = USEC_NEVER;
    timers_run(l);
}

int timers_init(Loop *l, Err *err)
{
    heap_init(&l->timers, timer_less);
    l->timer_fd_due = USEC_NEVER;
    l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (l->timer_fd < 0)
        return err_set_errno(err, errno, "loop: timerfd");
    event_assign(&l->timer_event, l->base, l->timer_fd, EV_READ | EV_PERSIST, timer_cb, l);
    if (event_add(&l->timer_event, NULL) < 0)
        return err_set(err, ERR_INTERNAL, "loop: cannot watch the timer descriptor");
    return 0;
}

/* A deadline that moved backwards is left: the wake-up that comes too early finds nothing due and sets the
 * next. */
void timers_program(Loop *l)
{
    Timer *t = timers_first(l);
    if (!t || t->due >= l->timer_fd_due)
        return;
    Usec due = t->due ? t->due : 1; /* zero would switch the descriptor off */
    struct itimerspec spec = {
        .it_value = {.tv_sec = (time_t)(due / USEC_PER_SEC), .tv_nsec = (long)(due % USEC_PER_SEC) * 1000},
    };
    if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL) == 0)
        l->timer_fd_due = t->due;
}

void timers_done(Loop *l)
{
    if (l->timer_fd < 0)
        return;
    if (event_initialized(&l->timer_event))
        event_del(&l->timer_event);
    close(l->timer_fd);
    heap_done(&l->timers);
}

Timer *timer_new(Loop *l, LoopFn fn, void *arg)
{
    Timer *t = xnew(Timer);
    t->loop = l;
    t->fn = fn;
    t->arg = arg;
    return t;
}

Timer *timer_free(Timer *t)
{
    if (!t)
        return NULL;
    timer_cancel(t);
    free(t);
    return NULL;
}

void timer_arm(Timer *t, Usec after)
{
    assert(loop_is_current(t->loop));
    timer_cancel(t);
    if (after == USEC_NEVER)
        return;
    t->due = usec_add(loop_now(t->loop), after);
    t->order = t->loop->timer_order++;
    heap_push(&t->loop->timers, &t->node);
}

void timer_cancel(Timer *t)
{
    heap_remove(&t->loop->timers, &t->node);
}

bool timer_armed(const Timer *t)
{
    return heap_linked(&t->node);
}
