/*
 * The event loop (libevent) and everything that belongs to its thread: timers, signals, child processes, file
 * descriptors, TCP listeners and connections with TLS, and a worker pool for blocking work.
 *
 * Thread rule: one thread runs the loop and owns every object here. Only loop_post(), pool_submit() and
 * loop_stop() may be called from other threads. An asynchronous call never completes before it returns. A
 * callback never frees the object it was called on, except through that object's _free function, which is
 * safe inside callbacks: memory goes at the end of the loop's turn.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"

typedef struct Loop Loop;
typedef void (*LoopFn)(void *arg);

int loop_new(Loop **ret, Err *err);
Loop *loop_free(Loop *l); /* runs what was posted and deferred, then frees; NULL-safe */
DEFINE_CLEANUP(Loop, loop_free)
void loop_run(Loop *l);                         /* until loop_stop(), also one that came before */
void loop_run_once(Loop *l, bool block);        /* one turn, for tests and the CLI */
void loop_stop(Loop *l);                        /* thread-safe */
void loop_post(Loop *l, LoopFn fn, void *arg);  /* thread-safe, order kept; runs on the loop */
void loop_defer(Loop *l, LoopFn fn, void *arg); /* at the end of this turn, loop thread only; for frees */
bool loop_is_current(const Loop *l);            /* for assertions */
Usec loop_now(const Loop *l);                   /* monotonic, read once per turn */
const Clock *loop_clock(const Loop *l);
Usec loop_lag(const Loop *l); /* how late the last timer ran; for metrics */

/* Timers: one-shot, owned by whoever created them. */
typedef struct Timer Timer;
Timer *timer_new(Loop *l, LoopFn fn, void *arg);
Timer *timer_free(Timer *t);          /* NULL-safe; safe inside the timer's own callback */
void timer_arm(Timer *t, Usec after); /* re-arming replaces */
void timer_cancel(Timer *t);
bool timer_armed(const Timer *t);

/* Signals are delivered as ordinary callbacks on the loop. SIGPIPE is ignored by loop_new(). */
typedef struct SignalWatch SignalWatch;
SignalWatch *signal_watch_new(Loop *l, int signo, LoopFn fn, void *arg);
SignalWatch *signal_watch_free(SignalWatch *s);

/* Readiness of a descriptor (pidfd, pipe, eventfd). Forget it before close(). fd_watch_new() returns NULL for
   what the kernel cannot watch: a regular file, which is always ready. */
typedef enum FdEvents { FD_READ = 1, FD_WRITE = 2 } FdEvents;
typedef struct FdWatch FdWatch;
typedef void (*FdFn)(void *arg, unsigned ready);
FdWatch *fd_watch_new(Loop *l, int fd, unsigned events, FdFn fn, void *arg);
void fd_watch_set(FdWatch *w, unsigned events);
FdWatch *fd_watch_free(FdWatch *w);

/* Children: own process group, every descriptor but those given is closed, signal mask and dispositions
 * reset. */
typedef struct Child Child;
typedef struct ChildSpec {
    const char *const *argv;          /* argv[0] is looked up in PATH of the *parent* when it has no slash */
    const char *const *envp;          /* NULL = the parent's environment */
    const char *cwd;                  /* NULL = the parent's */
    int fd_in, fd_out, fd_err;        /* -1 = /dev/null; borrowed, not closed */
    bool pipe_in, pipe_out, pipe_err; /* make a pipe instead; the parent's end from child_fd() */
    bool new_session;                 /* setsid() instead of setpgid() */
    bool die_with_parent;             /* SIGTERM when the thread that spawned it ends (PR_SET_PDEATHSIG) */
    int pass_fd;                      /* >= 0 arrives as descriptor 3; 0 or -1 = none */
    int (*enter)(int fd);             /* in the child before anything else, async-signal-safe: 0 or -errno */
    int enter_fd;                     /* given to it; borrowed */
} ChildSpec;
typedef void (*ChildExitFn)(void *arg, int wait_status); /* called once, on the loop */
int child_spawn(Loop *l, const ChildSpec *spec, ChildExitFn fn, void *arg, Child **ret, Err *err);
pid_t child_pid(const Child *c);
int child_fd(Child *c, int which);      /* parent's end for 0, 1, 2 (non-blocking), moved out; -1 if none */
void child_signal(Child *c, int signo); /* to the whole group; no-op after exit */
Child *child_free(Child *c);            /* forgets it; a running child goes on and is reaped silently */

/* Blocking work. Jobs own their data; `done` runs on the loop. */
typedef struct Pool Pool;
int pool_new(Loop *l, unsigned threads, Pool **ret, Err *err);
Pool *pool_free(Pool *p);                                       /* finishes queued jobs first */
void pool_submit(Pool *p, LoopFn work, LoopFn done, void *arg); /* done may be NULL */
size_t pool_queued(const Pool *p);
