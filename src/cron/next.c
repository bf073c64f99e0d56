/* When a schedule is due: the search for a local time inside of one span of a zone, and the walk over spans.
 */
#include "base/civil.h"
#include "calendar-internal.h"

#define DAY 86400
#define HORIZON ((int64_t)CALENDAR_DAYS * DAY)

bool cron_has_day(const Cron *c, int64_t days)
{
    Civil d = civil_from_days(days);
    if (!(c->months >> d.month & 1))
        return false;
    bool day = c->days >> d.day & 1, weekday = c->weekdays >> weekday_of_days(days) & 1;
    return c->any_day || c->any_weekday ? day && weekday : day || weekday;
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The first fitting minute of a day from `from` on; -1 = none. */
static int minute_of_day(const Cron *c, int from)
{
    for (int hour = from / 60; hour < 24; hour++) {
        if (!(c->hours >> hour & 1))
            continue;
        for (int minute = hour == from / 60 ? from % 60 : 0; minute < 60; minute++)
            if (c->minutes >> minute & 1)
                return hour * 60 + minute;
    }
    return -1;
}

static int64_t next_day(const Cron *c, int64_t day)
{
    Civil d = civil_from_days(day);
    if (c->months >> d.month & 1)
        return day + 1;
    return day - d.day + 1 + month_length(d.year, d.month); /* nothing fits before the next month */
}

/* The first fitting local time in [from, end), in seconds as if the local clock were UTC; `end` = none. */
static int64_t local_next(const Cron *c, int64_t from, int64_t end)
{
    int64_t day = floor_div(from, DAY);
    int minute = (int)((from - day * DAY + 59) / 60);
    while (day * DAY < end) {
        int found = cron_has_day(c, day) ? minute_of_day(c, minute) : -1;
        if (found >= 0) {
            int64_t t = day * DAY + found * 60;
            return t < end ? t : end;
        }
        day = next_day(c, day);
        minute = 0;
    }
    return end;
}

/* The clock jumped forward over a time of a fixed schedule. */
static bool due_at_jump(const Cron *c, const ZoneSpan *s)
{
    int64_t from = s->start + s->before, to = s->start + s->offset;
    return from < to && local_next(c, from, to) < to;
}

/* Where to begin in a span, on the local clock: a fixed schedule has seen what the clock shows again. */
static int64_t local_start(const Cron *c, const ZoneSpan *s, int64_t t)
{
    int64_t local = t + s->offset;
    if (!c->fixed || s->start == INT64_MIN)
        return local;
    int64_t seen = s->start + s->before;
    return local < seen ? seen : local;
}

int cron_next(const Cron *c, const Zone *z, WallUsec after, WallUsec *ret, Err *err)
{
    int64_t t = floor_div(after.us, (int64_t)USEC_PER_SEC) + 1;
    int64_t horizon = t + HORIZON;
    while (t < horizon) {
        ZoneSpan s;
        zone_span(z, t, &s);
        if (c->fixed && t == s.start && due_at_jump(c, &s)) {
            ret->us = t * (int64_t)USEC_PER_SEC;
            return 0;
        }
        int64_t end = s.end < horizon ? s.end : horizon;
        int64_t local_end = end + s.offset;
        int64_t local = local_next(c, local_start(c, &s, t), local_end);
        if (local < local_end) {
            ret->us = (local - s.offset) * (int64_t)USEC_PER_SEC;
            return 0;
        }
        t = end;
    }
    return err_set(err, ERR_NOT_FOUND, "the schedule is not due in the next 400 years");
}
