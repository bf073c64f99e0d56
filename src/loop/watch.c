/* Signals and foreign descriptors. */
#include <assert.h>
#include <sys/stat.h>
#include "base/mem.h"
#include "loop-internal.h"

struct SignalWatch {
    Loop *loop;
    struct event event;
    LoopFn fn;
    void *arg;
};

struct FdWatch {
    Loop *loop;
    struct event read_event, write_event;
    unsigned events;
    FdFn fn;
    void *arg;
};

static void signal_cb(evutil_socket_t signo, short what, void *arg)
{
    SignalWatch *s = arg;
    loop_enter(s->loop);
    s->fn(s->arg);
}

SignalWatch *signal_watch_new(Loop *l, int signo, LoopFn fn, void *arg)
{
    SignalWatch *s = xnew(SignalWatch);
    s->loop = l;
    s->fn = fn;
    s->arg = arg;
    event_assign(&s->event, l->base, signo, EV_SIGNAL | EV_PERSIST, signal_cb, s);
    event_add(&s->event, NULL);
    return s;
}

SignalWatch *signal_watch_free(SignalWatch *s)
{
    if (!s)
        return NULL;
    event_del(&s->event);
    loop_defer(s->loop, free, s);
    return NULL;
}

static void fd_read_cb(evutil_socket_t fd, short what, void *arg)
{
    FdWatch *w = arg;
    loop_enter(w->loop);
    w->fn(w->arg, FD_READ);
}

static void fd_write_cb(evutil_socket_t fd, short what, void *arg)
{
    FdWatch *w = arg;
    loop_enter(w->loop);
    w->fn(w->arg, FD_WRITE);
}

static int switch_event(struct event *ev, bool on)
{
    return on ? event_add(ev, NULL) : event_del(ev);
}

static int set_events(FdWatch *w, unsigned events)
{
    unsigned changed = w->events ^ events;
    w->events = events;
    int rc = 0;
    if (changed & FD_READ)
        rc |= switch_event(&w->read_event, events & FD_READ);
    if (changed & FD_WRITE)
        rc |= switch_event(&w->write_event, events & FD_WRITE);
    return rc;
}

static bool can_watch(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

FdWatch *fd_watch_new(Loop *l, int fd, unsigned events, FdFn fn, void *arg)
{
    if (!can_watch(fd))
        return NULL;
    FdWatch *w = xnew(FdWatch);
    w->loop = l;
    w->fn = fn;
    w->arg = arg;
    event_assign(&w->read_event, l->base, fd, EV_READ | EV_PERSIST, fd_read_cb, w);
    event_assign(&w->write_event, l->base, fd, EV_WRITE | EV_PERSIST, fd_write_cb, w);
    if (set_events(w, events) == 0)
        return w;
    fd_watch_free(w);
    return NULL;
}

void fd_watch_set(FdWatch *w, unsigned events)
{
    assert(loop_is_current(w->loop));
    set_events(w, events);
}

FdWatch *fd_watch_free(FdWatch *w)
{
    if (!w)
        return NULL;
    fd_watch_set(w, 0);
    loop_defer(w->loop, free, w);
    return NULL;
}
