/*
 * Logging: one line per event on standard error, logfmt or JSON, a constant message and typed fields.
 * Thread-safe. Levels: error = somebody must act; warn = handled and unusual; info = a person's timeline;
 * debug = ours. Strings are escaped and cut at 2 KiB; a Secret cannot be logged, it has no field type.
 *
 *     log_info("session started", F_STR("session", id), F_INT("attempt", n));
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "base/str.h"
#include "base/err.h"

struct Buf;

typedef enum LogLevel { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG_OFF } LogLevel;
typedef enum LogFieldType {
    LOG_FIELD_END,
    LOG_FIELD_STR,
    LOG_FIELD_INT,
    LOG_FIELD_UINT,
    LOG_FIELD_BOOL
} LogFieldType;
typedef struct LogField {
    LogFieldType type;
    const char *key;
    Str str;
    int64_t num;
} LogField;

#define F_STR(k, v) ((LogField){LOG_FIELD_STR, (k), str_from(v), 0})
#define F_STRV(k, v) ((LogField){LOG_FIELD_STR, (k), (v), 0})
#define F_INT(k, v) ((LogField){LOG_FIELD_INT, (k), {0}, (int64_t)(v)})
#define F_UINT(k, v) ((LogField){LOG_FIELD_UINT, (k), {0}, (int64_t)(v)})
#define F_BOOL(k, v) ((LogField){LOG_FIELD_BOOL, (k), {0}, (v)})
#define F_ERR(e) ((LogField){LOG_FIELD_STR, "error", str_from((e)->msg), 0})

/* Called once by main before any thread exists. `program` must outlive the process. */
void log_setup(const char *program, LogLevel level, bool json);
/* The newest lines are also kept in memory, up to so many bytes: for who cannot see standard error. Called by
   main, like log_setup(); 0 = none. */
void log_keep(size_t bytes);
/* Appends them, oldest first; whole lines. */
void log_kept(struct Buf *out);
int log_level_parse(Str s, LogLevel *ret); /* debug, info, warn(ing), error, off; 0 or -1 */
bool log_enabled(LogLevel level);
void log_event(LogLevel level, const char *msg, const LogField *fields);

#define LOG_AT(level, msg, ...)                                                                              \
    do {                                                                                                     \
        if (log_enabled(level))                                                                              \
            log_event((level), (msg), (const LogField[]){__VA_ARGS__ __VA_OPT__(, ){0}});                    \
    } while (0)
#define log_debug(...) LOG_AT(LOG_DEBUG, __VA_ARGS__)
#define log_info(...) LOG_AT(LOG_INFO, __VA_ARGS__)
#define log_warn(...) LOG_AT(LOG_WARN, __VA_ARGS__)
#define log_error(...) LOG_AT(LOG_ERROR, __VA_ARGS__)
