/* A token bucket in one number: the time at which it would be full again. */
#pragma once

#include <stdbool.h>
#include "base/clock.h"

typedef struct BucketRule {
    Usec period;    /* one token per this time */
    unsigned burst; /* tokens in a full bucket */
} BucketRule;

typedef struct Bucket {
    Usec full_at; /* 0 = full */
} Bucket;

/* Takes one token; false when there is none. */
static inline bool bucket_take(Bucket *b, const BucketRule *rule, Usec now)
{
    Usec from = b->full_at > now ? b->full_at : now;
    if (from + rule->period - now > rule->period * rule->burst)
        return false;
    b->full_at = from + rule->period;
    return true;
}

static inline void bucket_refill(Bucket *b)
{
    b->full_at = 0;
}
