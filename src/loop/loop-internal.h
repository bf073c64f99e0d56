/* What the files of this room share. Include it before base/list.h, whose LIST_ENTRY would hide libevent's.
 */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>
#include "base/heap.h"
#include "base/list.h"
#include "base/vec.h"
#include "loop/loop.h"

typedef struct LoopCall {
    LoopFn fn;
    void *arg;
} LoopCall;
typedef VEC_OF(LoopCall)
LoopCalls;

/*
 * Work that an object wants done once at the end of this turn: a flush, another read. Lives inside the
 * object. A task that is asked for again while it runs is run in the next turn, which then does not wait.
 */
typedef struct LoopTask {
    ListLink link;
    LoopFn fn;
    void *arg;
} LoopTask;

/* One read of any connection goes through this memory, so that idle connections hold none. */
#define LOOP_SCRATCH_SIZE (64 * 1024)

struct Loop {
    struct event_base *base;
    _Atomic(const void *) owner; /* identity of the thread that runs the loop */
    atomic_bool stop;

    Clock clock; /* loop_now() as a Clock */
    bool now_known;
    Usec now;
    Usec lag;

    pthread_mutex_t lock;
    LoopCalls posted;     /* under lock */
    LoopCalls posted_run; /* the batch that is being run */
    int wake_fd;
    struct event wake_event;

    Heap timers;
    uint64_t timer_order;
    int timer_fd;
    Usec timer_fd_due; /* what timer_fd is set to; USEC_NEVER = not set */
    struct event timer_event;

    List tasks;
    LoopCalls deferred;
    List children;
    List closing; /* connections whose owner has let go, until they are flushed */
    char *scratch;
};

void loop_enter(Loop *l); /* every callback from libevent calls this first: it fixes the turn's time */
void loop_task_init(LoopTask *t, LoopFn fn, void *arg);
void loop_task_add(Loop *l, LoopTask *t);
char *loop_scratch(Loop *l);

int timers_init(Loop *l, Err *err);
void timers_program(Loop *l); /* before the loop waits */
void timers_done(Loop *l);
void children_done(Loop *l);
void conns_done(Loop *l);
