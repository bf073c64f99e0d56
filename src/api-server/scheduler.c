#include "scheduler.h"

#include "base/log.h"
#include "base/mem.h"
#include "service/schedules.h"

/* After a look that failed, or a schedule that another server had in hand. */
#define RETRY (1 * USEC_PER_SEC)

/*
 * One look at a time: which schedules are due, then each of them, then the next look, until none is due. The
 * timer is armed for the next one that is known; a change of a schedule, or the interval, looks earlier.
 */
struct Scheduler {
    Loop *loop;
    SchedulerOptions o;
    Timer *timer;
    Caller *platform;
    EventCursor *changes; /* NULL = it ended; the interval does */
    bool busy, again, failed, stopped;
    unsigned firing;
    SchedulerStats stats;
};

static void look(Scheduler *s);

static void rest_until(Scheduler *s, Usec wait)
{
    s->busy = false;
    if (s->stopped)
        return;
    if (s->again) {
        look(s);
        return;
    }
    timer_arm(s->timer, wait < s->o.interval ? wait : s->o.interval);
}

/* ---- firing ---- */

static void on_fired(void *arg, const Err *err)
{
    Scheduler *s = arg;
    s->failed = s->failed || err;
    s->stats.passes++;
    s->stats.failures += err != NULL;
    if (err && err->code != ERR_CONFLICT && !s->stopped)
        log_warn("a schedule was not served, will retry", F_ERR(err));
    if (--s->firing)
        return;
    s->again = s->again || !s->failed; /* what was served may be due again, and others wait */
    if (s->failed && !s->stopped) {
        s->busy = s->again = false;
        timer_arm(s->timer, RETRY);
        return;
    }
    rest_until(s, s->o.interval);
}

static void on_due(void *arg, const Err *err, const DueSchedules *due)
{
    Scheduler *s = arg;
    if (err) {
        if (!s->stopped)
            log_warn("schedules could not be looked at, will retry", F_ERR(err));
        s->again = false;
        s->stats.failures++;
        rest_until(s, RETRY);
        return;
    }
    s->failed = false;
    for (size_t i = 0; i < due->n && !s->stopped; i++) {
        s->firing++;
        svc_schedule_fire(s->o.service, str_from(due->ids[i]), on_fired, s);
    }
    if (!s->firing)
        rest_until(s, due->wait);
}

static void look(Scheduler *s)
{
    if (s->busy) {
        s->again = true;
        return;
    }
    s->busy = true;
    s->again = false;
    s->stats.looks++;
    timer_cancel(s->timer);
    svc_schedules_due(s->o.service, on_due, s);
}

/* ---- changes ---- */

static void on_ready(void *arg)
{
    Scheduler *s = arg;
    EventItem item;
    bool any = false;
    while (s->changes && event_cursor_next(s->changes, &item))
        any = true;
    if (any && !s->stopped)
        look(s);
}

static void on_end(void *arg, const Err *err)
{
    Scheduler *s = arg;
    s->changes = event_cursor_close(s->changes);
}

static void follow(Scheduler *s)
{
    static const CursorOps ops = {.on_ready = on_ready, .on_end = on_end};
    Err err = {0};
    if (event_cursor_open(s->o.hub, &kind_scheduled_session, s->platform, STR_NULL, UINT64_MAX, &ops, s,
                          &s->changes, &err) < 0)
        log_warn("changes of schedules are not followed", F_ERR(&err));
}

static void on_timer(void *arg)
{
    Scheduler *s = arg;
    if (!s->changes)
        follow(s);
    look(s);
}

Scheduler *scheduler_new(Loop *l, const SchedulerOptions *o)
{
    Scheduler *s = xnew(Scheduler);
    s->loop = l;
    s->o = *o;
    s->timer = timer_new(l, on_timer, s);
    s->platform = caller_new(CALLER_SERVICE, STR_NULL, STR_NULL, STR_NULL);
    follow(s);
    look(s);
    return s;
}

void scheduler_stop(Scheduler *s)
{
    if (!s)
        return;
    s->stopped = true;
    timer_cancel(s->timer);
    s->changes = event_cursor_close(s->changes);
}

Scheduler *scheduler_free(Scheduler *s)
{
    if (!s)
        return NULL;
    scheduler_stop(s);
    timer_free(s->timer);
    caller_unref(s->platform);
    free(s);
    return NULL;
}

SchedulerStats scheduler_stats(const Scheduler *s)
{
    return s ? s->stats : (SchedulerStats){0};
}
