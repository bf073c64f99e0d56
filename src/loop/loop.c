#include "loop/loop.h"

#include <assert.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/log.h"
#include "base/mem.h"
#include "loop-internal.h"

/* Above this many entries a queue gives its memory back once it is empty. */
#define CALLS_KEEP 4096

/* The address of a thread's own copy names the thread. */
static _Thread_local char thread_self;

static void calls_shrink(LoopCalls *calls)
{
    calls->len = 0;
    if (calls->cap > CALLS_KEEP)
        vec_free(calls);
}

void loop_enter(Loop *l)
{
    if (l->now_known)
        return;
    l->now = clock_now(&clock_system);
    l->now_known = true;
}

Usec loop_now(const Loop *l)
{
    return l->now_known ? l->now : clock_now(&clock_system);
}

static Usec turn_clock_now(const Clock *c)
{
    const char *at = (const char *)c - offsetof(Loop, clock);
    return loop_now((const Loop *)(const void *)at);
}

static WallUsec turn_clock_wall(const Clock *c)
{
    return clock_wall(&clock_system);
}

static void wake_cb(evutil_socket_t fd, short what, void *arg)
{
    uint64_t n;
    loop_enter(arg);
    while (read(fd, &n, sizeof n) > 0)
        ;
}

static int wake_init(Loop *l, Err *err)
{
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (l->wake_fd < 0)
        return err_set_errno(err, errno, "loop: eventfd");
    event_assign(&l->wake_event, l->base, l->wake_fd, EV_READ | EV_PERSIST, wake_cb, l);
    if (event_add(&l->wake_event, NULL) < 0)
        return err_set(err, ERR_INTERNAL, "loop: cannot watch the wake-up descriptor");
    return 0;
}

static void log_library(int severity, const char *msg)
{
    if (severity >= EVENT_LOG_WARN)
        log_warn("event library complains", F_STR("text", msg));
}

/* Locks are off: one thread owns the base. Times come from our own timers, so libevent's clock does not
 * matter. */
static struct event_base *base_new(void)
{
    struct event_config *cfg = event_config_new();
    if (!cfg)
        return NULL;
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(cfg, EVENT_BASE_FLAG_IGNORE_ENV);
    struct event_base *base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    return base;
}

int loop_new(Loop **ret, Err *err)
{
    CLEANUP(loop_freep) Loop *l = xnew(Loop);
    l->wake_fd = l->timer_fd = -1;
    l->clock = (Clock){.now = turn_clock_now, .wall = turn_clock_wall};
    l->owner = &thread_self;
    pthread_mutex_init(&l->lock, NULL);
    list_init(&l->tasks);
    list_init(&l->children);
    list_init(&l->closing);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* where it was ignored the kernel would throw exit statuses away */
    event_set_log_callback(log_library);
    l->base = base_new();
    if (!l->base)
        return err_set(err, ERR_INTERNAL, "loop: no event base");
    int rc = wake_init(l, err);
    if (rc == 0)
        rc = timers_init(l, err);
    if (rc < 0)
        return rc;
    *ret = TAKE(l);
    return 0;
}

const Clock *loop_clock(const Loop *l)
{
    return &l->clock;
}

Usec loop_lag(const Loop *l)
{
    return l->lag;
}

bool loop_is_current(const Loop *l)
{
    return atomic_load(&l->owner) == &thread_self;
}

char *loop_scratch(Loop *l)
{
    if (!l->scratch)
        l->scratch = xmalloc(LOOP_SCRATCH_SIZE);
    return l->scratch;
}

static void wake(Loop *l)
{
    uint64_t one = 1;
    /* Only fails with EAGAIN when the counter is full, and then the loop is awake anyway. */
    ssize_t n = write(l->wake_fd, &one, sizeof one);
    (void)n;
}

/*
 * The first post into an empty queue wakes the loop; the loop thread itself need not be woken, as it looks at
 * the queue before it waits. Who the loop thread is may change between loop_new() and loop_run(), hence both
 * the change and this check are made under the lock.
 */
void loop_post(Loop *l, LoopFn fn, void *arg)
{
    pthread_mutex_lock(&l->lock);
    bool must_wake = l->posted.len == 0 && !loop_is_current(l);
    vec_push(&l->posted, ((LoopCall){fn, arg}));
    pthread_mutex_unlock(&l->lock);
    if (must_wake)
        wake(l);
}

static bool has_posted(Loop *l)
{
    pthread_mutex_lock(&l->lock);
    bool any = l->posted.len > 0;
    pthread_mutex_unlock(&l->lock);
    return any;
}

/* Runs one batch; what the batch itself posts is left for the next turn. */
static bool run_posted(Loop *l)
{
    assert(l->posted_run.len == 0);
    pthread_mutex_lock(&l->lock);
    LoopCalls batch = l->posted;
    l->posted = l->posted_run;
    l->posted_run = batch;
    pthread_mutex_unlock(&l->lock);
    if (batch.len == 0)
        return false;
    loop_enter(l);
    VEC_FOREACH (&batch, call)
        call->fn(call->arg);
    calls_shrink(&l->posted_run);
    return true;
}

void loop_defer(Loop *l, LoopFn fn, void *arg)
{
    assert(loop_is_current(l));
    vec_push(&l->deferred, ((LoopCall){fn, arg}));
}

/* Deferred calls may defer more (an object frees its parts): all of them run now. */
static bool run_deferred(Loop *l)
{
    if (l->deferred.len == 0)
        return false;
    for (size_t i = 0; i < l->deferred.len; i++) {
        LoopCall call = l->deferred.ptr[i];
        call.fn(call.arg);
    }
    calls_shrink(&l->deferred);
    return true;
}

void loop_task_init(LoopTask *t, LoopFn fn, void *arg)
{
    list_init(&t->link);
    t->fn = fn;
    t->arg = arg;
}

void loop_task_add(Loop *l, LoopTask *t)
{
    if (!list_linked(&t->link))
        list_push_back(&l->tasks, &t->link);
}

static bool run_tasks(Loop *l)
{
    if (list_empty(&l->tasks))
        return false;
    loop_enter(l);
    List batch;
    list_init(&batch);
    list_insert_before(l->tasks.next, &batch);
    list_remove(&l->tasks);
    for (ListLink *link; (link = list_pop_front(&batch));) {
        LoopTask *t = LIST_ENTRY(link, LoopTask, link);
        t->fn(t->arg);
    }
    return true;
}

/* Memory is freed last: whoever ran before in this turn may still hold a pointer. */
static bool finish_turn(Loop *l)
{
    bool any = run_posted(l);
    any |= run_tasks(l);
    any |= run_deferred(l);
    return any;
}

static bool has_work(Loop *l)
{
    return !list_empty(&l->tasks) || l->deferred.len > 0 || has_posted(l);
}

static void loop_turn(Loop *l, bool block)
{
    timers_program(l);
    l->now_known = false;
    event_base_loop(l->base, EVLOOP_ONCE | (block && !has_work(l) ? 0 : EVLOOP_NONBLOCK));
    finish_turn(l);
    l->now_known = false;
}

static void own(Loop *l)
{
    pthread_mutex_lock(&l->lock);
    atomic_store(&l->owner, &thread_self);
    pthread_mutex_unlock(&l->lock);
}

void loop_run(Loop *l)
{
    own(l);
    while (!atomic_load(&l->stop))
        loop_turn(l, true);
    atomic_store(&l->stop, false);
}

void loop_run_once(Loop *l, bool block)
{
    own(l);
    loop_turn(l, block);
}

void loop_stop(Loop *l)
{
    atomic_store(&l->stop, true);
    wake(l);
}

Loop *loop_free(Loop *l)
{
    if (!l)
        return NULL;
    own(l);
    while (finish_turn(l))
        ;
    children_done(l);
    conns_done(l);
    run_deferred(l);
    timers_done(l);
    if (l->wake_fd >= 0) {
        if (event_initialized(&l->wake_event))
            event_del(&l->wake_event);
        close(l->wake_fd);
    }
    if (l->base)
        event_base_free(l->base);
    vec_free(&l->posted);
    vec_free(&l->posted_run);
    vec_free(&l->deferred);
    pthread_mutex_destroy(&l->lock);
    free(l->scratch);
    free(l);
    return NULL;
}
