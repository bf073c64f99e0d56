/*
 * Time. One unit (microseconds), and two types that do not mix: Usec is monotonic and for intervals, WallUsec
 * is since the Unix epoch and for timestamps. Code that waits takes a Clock, so that tests turn a fake one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/str.h"

typedef uint64_t Usec;
typedef struct WallUsec {
    int64_t us;
} WallUsec;

#define USEC_PER_MSEC ((Usec)1000)
#define USEC_PER_SEC ((Usec)1000000)
#define USEC_NEVER UINT64_MAX

typedef struct Clock {
    Usec (*now)(const struct Clock *c);
    WallUsec (*wall)(const struct Clock *c);
} Clock;

extern const Clock clock_system;

/* A clock that moves only when told to; embed it, pass &fake.clock. */
typedef struct FakeClock {
    Clock clock;
    Usec now_us;
    WallUsec wall_us;
} FakeClock;
void fake_clock_init(FakeClock *f, WallUsec start);
void fake_clock_advance(FakeClock *f, Usec by);

static inline Usec clock_now(const Clock *c)
{
    return c->now(c);
}
static inline WallUsec clock_wall(const Clock *c)
{
    return c->wall(c);
}
Usec usec_add(Usec a, Usec b); /* saturates at USEC_NEVER */
Usec usec_sub(Usec a, Usec b); /* saturates at 0 */

#define RFC3339_MAX 32
/* RFC 3339 in UTC, with no fraction or all six digits of it, since older parsers take nothing between:
   "2026-04-01T00:00:00.500000Z". Times outside the years 0 to 9999 are printed as the nearest one inside. */
Str rfc3339_format(WallUsec t, char out[static RFC3339_MAX]);
/* Accepts any offset and up to nine fraction digits (digits behind microseconds are cut). 0 or -1;
   second 60 is refused, as Go does. */
int rfc3339_parse(Str s, WallUsec *ret);
/* Go duration text: "1h30m", "250ms", "45s". 0 or -1; negative durations are refused. */
int duration_parse(Str s, Usec *ret);
