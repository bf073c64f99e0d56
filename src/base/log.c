#include "log-internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_MAX_LEN (64 * 1024)

/* The one process-wide state of this library: a message must get out from anywhere. */
static struct LogState {
    pthread_mutex_t lock; /* guards limiter, kept lines and the order of lines */
    LogLimiter limiter;
    const char *program;
    bool json;
    Buf kept; /* max 0 = none are */
    _Atomic int level;
} state = {.lock = PTHREAD_MUTEX_INITIALIZER, .level = LOG_INFO};

void log_setup(const char *program, LogLevel level, bool json)
{
    state.program = program;
    state.json = json;
    atomic_store_explicit(&state.level, level, memory_order_relaxed);
}

void log_keep(size_t bytes)
{
    buf_done(&state.kept);
    buf_init(&state.kept, bytes);
}

void log_kept(Buf *out)
{
    pthread_mutex_lock(&state.lock);
    buf_adds(out, buf_str(&state.kept));
    pthread_mutex_unlock(&state.lock);
}

/* Room is made by a quarter at once, so that not every line moves all of them. */
static void keep_line(Str line)
{
    Buf *kept = &state.kept;
    if (line.len > kept->max / 4)
        return;
    if (kept->len + line.len > kept->max) {
        size_t drop = kept->max / 4;
        while (drop < kept->len && kept->data[drop - 1] != '\n')
            drop++;
        buf_consume(kept, drop);
    }
    buf_adds(kept, line);
}

int log_level_parse(Str s, LogLevel *ret)
{
    static const struct {
        const char *name;
        LogLevel level;
    } names[] = {{"debug", LOG_DEBUG},  {"info", LOG_INFO},   {"warn", LOG_WARN},
                 {"warning", LOG_WARN}, {"error", LOG_ERROR}, {"off", LOG_OFF}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_ieq(s, str_from(names[i].name))) {
            *ret = names[i].level;
            return 0;
        }
    }
    return -1;
}

bool log_enabled(LogLevel level)
{
    return level < LOG_OFF && (int)level >= atomic_load_explicit(&state.level, memory_order_relaxed);
}

/* One write per line, so that lines of several processes on one pipe stay whole. */
static void emit(LogLine line)
{
    CLEANUP_BUF Buf out = BUF_INIT(LINE_MAX_LEN);
    line.program = state.program;
    line.json = state.json;
    line.time = clock_wall(&clock_system);
    log_format(&out, &line);
    if (out.failed) { /* too many long fields: the message itself must get out */
        buf_clear(&out);
        line.fields = (const LogField[]){F_BOOL("fields_too_long", true), {0}};
        log_format(&out, &line);
    }
    if (state.kept.max)
        keep_line(buf_str(&out));
    for (size_t done = 0; done < out.len;) {
        ssize_t n = write(STDERR_FILENO, out.data + done, out.len - done);
        if (n < 0 && errno != EINTR)
            return; /* nowhere to report it */
        done += n > 0 ? (size_t)n : 0;
    }
}

static void emit_suppressed(Usec now)
{
    const char *msg;
    uint64_t count;
    while (log_limiter_next(&state.limiter, now, &msg, &count))
        emit((LogLine){.level = LOG_WARN,
                       .msg = "equal log lines suppressed",
                       .fields = (const LogField[]){F_STR("message", msg), F_UINT("count", count), {0}}});
}

void log_event(LogLevel level, const char *msg, const LogField *fields)
{
    int saved = errno;
    Usec now = clock_now(&clock_system);
    pthread_mutex_lock(&state.lock);
    emit_suppressed(now);
    /* Whoever turns debug on wants all of it. */
    if (level == LOG_DEBUG || log_limiter_pass(&state.limiter, msg, now))
        emit((LogLine){.level = level, .msg = msg, .fields = fields});
    pthread_mutex_unlock(&state.lock);
    errno = saved;
}
