#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include "base/mem.h"

#define FIRST_CAP 64

void buf_init(Buf *b, size_t max)
{
    *b = BUF_INIT(max);
}

void buf_done(Buf *b)
{
    free(b->data);
    buf_init(b, b->max);
}

void buf_clear(Buf *b)
{
    b->failed = false;
    buf_truncate(b, 0);
}

/* cap counts the bytes without the final NUL. */
static int grow(Buf *b, size_t want)
{
    size_t cap = b->cap + b->cap / 2;
    if (cap < FIRST_CAP)
        cap = FIRST_CAP;
    if (cap < want)
        cap = want;
    if (cap > b->max)
        cap = b->max;
    char *data = cap < SIZE_MAX ? try_realloc(b->data, cap + 1) : NULL;
    if (!data)
        return -1;
    b->data = data;
    b->cap = cap;
    return 0;
}

void *buf_reserve(Buf *b, size_t len)
{
    if (b->failed)
        return NULL;
    if (len > b->max - b->len) {
        b->failed = true;
        return NULL;
    }
    if ((!b->data || b->len + len > b->cap) && grow(b, b->len + len) < 0) {
        b->failed = true;
        return NULL;
    }
    b->data[b->len] = '\0';
    return b->data + b->len;
}

void buf_commit(Buf *b, size_t len)
{
    assert(b->data && len <= b->cap - b->len);
    b->len += len;
    b->data[b->len] = '\0';
}

int buf_add(Buf *b, const void *data, size_t len)
{
    void *to = buf_reserve(b, len);
    if (!to)
        return -(int)ERR_TOO_LARGE;
    if (len)
        memcpy(to, data, len);
    buf_commit(b, len);
    return 0;
}

int buf_adds(Buf *b, Str s)
{
    return buf_add(b, s.ptr, s.len);
}

int buf_addz(Buf *b, const char *s)
{
    return buf_adds(b, str_from(s));
}

int buf_addc(Buf *b, char c)
{
    return buf_add(b, &c, 1);
}

int buf_vaddf(Buf *b, const char *fmt, va_list ap)
{
    char *to = buf_reserve(b, 0);
    if (!to)
        return -(int)ERR_TOO_LARGE;
    va_list again;
    va_copy(again, ap);
    int full = vsnprintf(to, b->cap - b->len + 1, fmt, again);
    va_end(again);
    if (full >= 0 && (size_t)full > b->cap - b->len) {
        *to = '\0'; /* the half-written text does not count when there is no more room */
        to = buf_reserve(b, (size_t)full);
        full = to ? vsnprintf(to, (size_t)full + 1, fmt, ap) : -1;
    }
    if (full < 0) {
        b->failed = true;
        return -(int)ERR_TOO_LARGE;
    }
    buf_commit(b, (size_t)full);
    return 0;
}

int buf_addf(Buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int r = buf_vaddf(b, fmt, ap);
    va_end(ap);
    return r;
}

int buf_add_u64(Buf *b, uint64_t v)
{
    char text[20], *at = text + sizeof(text);
    do
        *--at = (char)('0' + v % 10);
    while (v /= 10);
    return buf_add(b, at, (size_t)(text + sizeof(text) - at));
}

int buf_add_i64(Buf *b, int64_t v)
{
    if (v >= 0)
        return buf_add_u64(b, (uint64_t)v);
    int r = buf_addc(b, '-');
    return r < 0 ? r : buf_add_u64(b, 0 - (uint64_t)v);
}

void buf_consume(Buf *b, size_t len)
{
    assert(len <= b->len);
    if (!len)
        return;
    memmove(b->data, b->data + len, b->len - len);
    buf_truncate(b, b->len - len);
}

void buf_truncate(Buf *b, size_t len)
{
    assert(len <= b->len);
    b->len = len;
    if (b->data)
        b->data[len] = '\0';
}

char *buf_take(Buf *b)
{
    char *data = b->data ? b->data : xstrdup("");
    buf_init(b, b->max);
    return data;
}

int buf_check(const Buf *b, Err *err)
{
    if (!b->failed)
        return 0;
    return err_set(err, ERR_TOO_LARGE, "larger than %zu bytes", b->max);
}
