#include "base/clock.h"

#include <time.h>

static Usec system_now(const Clock *c)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (Usec)ts.tv_sec * USEC_PER_SEC + (Usec)ts.tv_nsec / 1000;
}

static WallUsec system_wall(const Clock *c)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (WallUsec){(int64_t)ts.tv_sec * (int64_t)USEC_PER_SEC + ts.tv_nsec / 1000};
}

const Clock clock_system = {system_now, system_wall};

static const FakeClock *fake_of(const Clock *c)
{
    return (const FakeClock *)((const char *)c - offsetof(FakeClock, clock));
}

static Usec fake_now(const Clock *c)
{
    return fake_of(c)->now_us;
}

static WallUsec fake_wall(const Clock *c)
{
    return fake_of(c)->wall_us;
}

void fake_clock_init(FakeClock *f, WallUsec start)
{
    *f = (FakeClock){.clock = {fake_now, fake_wall}, .now_us = USEC_PER_SEC, .wall_us = start};
}

void fake_clock_advance(FakeClock *f, Usec by)
{
    f->now_us = usec_add(f->now_us, by);
    f->wall_us.us += (int64_t)by;
}

Usec usec_add(Usec a, Usec b)
{
    Usec sum;
    return __builtin_add_overflow(a, b, &sum) ? USEC_NEVER : sum;
}

Usec usec_sub(Usec a, Usec b)
{
    return a > b ? a - b : 0;
}
