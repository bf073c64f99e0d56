/* The parts of logging that tests turn by hand: the line as text, and the limit of equal messages. */
#pragma once

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#define LOG_RATE_PER_SEC 50
#define LOG_RATE_SLOTS 128

/* One message (known by its constant text's address) in the current window of one second. */
typedef struct LogRate {
    const char *msg;
    Usec since;
    unsigned passed;
    uint64_t suppressed;
} LogRate;

typedef struct LogLimiter {
    LogRate slots[LOG_RATE_SLOTS];
    uint64_t suppressed; /* sum over the slots: 0 lets the common case skip the walk */
} LogLimiter;

/* Whether this message may be written now. */
bool log_limiter_pass(LogLimiter *l, const char *msg, Usec now);
/* Takes one message whose window is over and that was suppressed in it; call until false. */
bool log_limiter_next(LogLimiter *l, Usec now, const char **ret_msg, uint64_t *ret_count);

typedef struct LogLine {
    const char *program;
    bool json;
    WallUsec time;
    LogLevel level;
    const char *msg;
    const LogField *fields; /* may be NULL */
} LogLine;
void log_format(Buf *out, const LogLine *line); /* with the newline */
