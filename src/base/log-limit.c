#include "log-internal.h"

#include <stdint.h>

/* Direct-mapped: two messages that share a slot at the same time restart each other's count, which errs on
   the side of printing. */
static LogRate *slot_of(LogLimiter *l, const char *msg)
{
    uintptr_t bits = (uintptr_t)msg;
    return &l->slots[(bits ^ bits >> 7 ^ bits >> 14) % LOG_RATE_SLOTS];
}

bool log_limiter_pass(LogLimiter *l, const char *msg, Usec now)
{
    LogRate *r = slot_of(l, msg);
    if (r->msg != msg || now - r->since >= USEC_PER_SEC) {
        if (r->msg != msg && r->suppressed) /* its count is not reported yet: let it have the slot */
            return true;
        l->suppressed -= r->suppressed;
        *r = (LogRate){.msg = msg, .since = now};
    }
    if (r->passed < LOG_RATE_PER_SEC) {
        r->passed++;
        return true;
    }
    r->suppressed++;
    l->suppressed++;
    return false;
}

bool log_limiter_next(LogLimiter *l, Usec now, const char **ret_msg, uint64_t *ret_count)
{
    if (!l->suppressed)
        return false;
    for (size_t i = 0; i < LOG_RATE_SLOTS; i++) {
        LogRate *r = &l->slots[i];
        if (!r->suppressed || now - r->since < USEC_PER_SEC)
            continue;
        *ret_msg = r->msg;
        *ret_count = r->suppressed;
        l->suppressed -= r->suppressed;
        *r = (LogRate){0};
        return true;
    }
    return false;
}
