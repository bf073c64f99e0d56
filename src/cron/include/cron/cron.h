/*
 * Cron expressions: minute, hour, day of month, month and day of week, as Debian's cron(8) reads them, and
 * the instants at which one is due in a time zone. Pure: no clock, no files, no state.
 *
 * Numbers, names of months and weekdays (three letters, any case), ranges a-b, lists, steps behind a range or
 * a star, and @yearly @annually @monthly @weekly @daily @midnight @hourly. Sunday is 0 and 7. When both day
 * fields are restricted, a day that fits one of them is due; a field that begins with a star is not
 * restricted in that sense, so that with one such field a day must fit both.
 *
 * Clocks that are moved (docs/decisions/0010-cron-and-zones.md):
 * - A schedule is fixed when neither its minute nor its hour begins with a star. A local time that the clock
 *   jumps over is then due at the jump, once; one that the clock shows twice is due the first time only.
 * - Any other schedule follows the clock on the wall: what it never shows is never due, what it shows twice
 * is due twice.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "base/clock.h"
#include "base/err.h"
#include "cron/zone.h"

typedef struct Cron {
    uint64_t minutes; /* a bit per value */
    uint32_t hours, days;
    uint16_t months;
    uint8_t weekdays;          /* bit 0 = Sunday */
    bool any_day, any_weekday; /* the field begins with a star */
    bool fixed;
} Cron;

#define CRON_TEXT_MAX 255

/* ERR_INVALID says what is wrong with which field; also for a schedule that fits no date of the calendar. */
int cron_parse(Str text, Cron *ret, Err *err);
/* The first instant behind `after` at which it is due; ERR_NOT_FOUND when there is none in four hundred years
   (a zone may jump over the only one). z NULL = UTC. */
int cron_next(const Cron *c, const Zone *z, WallUsec after, WallUsec *ret, Err *err);
