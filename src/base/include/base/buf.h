/*
 * Buf: a growing byte buffer that is born with its maximum. Once an append would pass the maximum (or memory
 * is out) the buffer is `failed`: it keeps what it has, refuses further appends, and says so when asked. So a
 * writer appends freely and checks once. data is always NUL-terminated when not NULL.
 */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

typedef struct Buf {
    char *data;
    size_t len, cap, max;
    bool failed;
} Buf;

#define BUF_INIT(maximum) ((Buf){.max = (maximum)})

void buf_init(Buf *b, size_t max);
void buf_done(Buf *b);                             /* frees; the Buf may be initialised again */
void buf_clear(Buf *b);                            /* empty and usable, keeps memory */
int buf_add(Buf *b, const void *data, size_t len); /* 0 or -ERR_TOO_LARGE */
int buf_adds(Buf *b, Str s);
int buf_addz(Buf *b, const char *s);
int buf_addc(Buf *b, char c);
int buf_addf(Buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
int buf_vaddf(Buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
int buf_add_u64(Buf *b, uint64_t v);
int buf_add_i64(Buf *b, int64_t v);
void *buf_reserve(Buf *b, size_t len); /* room for len more bytes, NULL on failure; then buf_commit */
void buf_commit(Buf *b, size_t len);
void buf_consume(Buf *b, size_t len); /* removes from the front */
void buf_truncate(Buf *b, size_t len);
char *buf_take(Buf *b);                /* moves the bytes out (never NULL), leaves an empty Buf */
int buf_check(const Buf *b, Err *err); /* 0, or ERR_TOO_LARGE when failed */

static inline Str buf_str(const Buf *b)
{
    return (Str){b->data ? b->data : "", b->len};
}
#define CLEANUP_BUF CLEANUP(buf_done)
