#include "base/str.h"

#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include "base/mem.h"

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char to_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool str_eq(Str a, Str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_eqz(Str a, const char *b)
{
    return str_eq(a, str_from(b));
}

bool str_ieq(Str a, Str b)
{
    return a.len == b.len && str_istarts(a, b);
}

int str_cmp(Str a, Str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.ptr, b.ptr, common) : 0;
    if (order)
        return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

bool str_starts(Str s, Str prefix)
{
    return s.len >= prefix.len && str_eq((Str){s.ptr, prefix.len}, prefix);
}

bool str_istarts(Str s, Str prefix)
{
    if (s.len < prefix.len)
        return false;
    for (size_t i = 0; i < prefix.len; i++)
        if (to_lower(s.ptr[i]) != to_lower(prefix.ptr[i]))
            return false;
    return true;
}

bool str_ends(Str s, Str suffix)
{
    return s.len >= suffix.len && str_eq(str_slice(s, s.len - suffix.len, s.len), suffix);
}

Str str_trim(Str s)
{
    while (s.len && is_space(s.ptr[0]))
        s = (Str){s.ptr + 1, s.len - 1};
    while (s.len && is_space(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

Str str_slice(Str s, size_t from, size_t to)
{
    if (to > s.len)
        to = s.len;
    if (from > to)
        from = to;
    return (Str){s.ptr ? s.ptr + from : NULL, to - from};
}

ptrdiff_t str_find(Str s, Str needle)
{
    if (!needle.len)
        return 0;
    if (s.len < needle.len)
        return -1;
    const char *at = memmem(s.ptr, s.len, needle.ptr, needle.len);
    return at ? at - s.ptr : -1;
}

ptrdiff_t str_find_byte(Str s, char c)
{
    const char *at = s.len ? memchr(s.ptr, c, s.len) : NULL;
    return at ? at - s.ptr : -1;
}

Str str_cut(Str *rest, char sep)
{
    Str all = *rest;
    ptrdiff_t at = str_find_byte(all, sep);
    if (at < 0) {
        *rest = STR_NULL;
        return all;
    }
    *rest = str_slice(all, (size_t)at + 1, all.len);
    return str_slice(all, 0, (size_t)at);
}

char *str_dup(Str s)
{
    return xmemdup0(s.ptr, s.len);
}

int str_to_u64(Str s, uint64_t *ret)
{
    if (s.len && s.ptr[0] == '+')
        s = str_slice(s, 1, s.len);
    uint64_t v = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.ptr[i]))
            return -1;
        if (__builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, (uint64_t)(s.ptr[i] - '0'), &v))
            return -1;
    }
    if (!s.len)
        return -1;
    *ret = v;
    return 0;
}

int str_to_i64(Str s, int64_t *ret)
{
    bool negative = s.len && s.ptr[0] == '-';
    if (negative)
        s = str_slice(s, 1, s.len);
    if (negative && s.len && s.ptr[0] == '+')
        return -1;
    uint64_t v;
    if (str_to_u64(s, &v) < 0 || v > (uint64_t)INT64_MAX + negative)
        return -1;
    *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
    return 0;
}

static size_t count_digits(Str s, size_t at)
{
    size_t n = 0;
    while (at + n < s.len && is_digit(s.ptr[at + n]))
        n++;
    return n;
}

/* [+-] digits [. digits] [e [+-] digits], with a digit before or after the point. strtod reads far more. */
static bool is_decimal(Str s)
{
    size_t at = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
    size_t digits = count_digits(s, at);
    at += digits;
    if (at < s.len && s.ptr[at] == '.') {
        size_t fraction = count_digits(s, at + 1);
        digits += fraction;
        at += 1 + fraction;
    }
    if (!digits)
        return false;
    if (at < s.len && to_lower(s.ptr[at]) == 'e') {
        at++;
        if (at < s.len && (s.ptr[at] == '-' || s.ptr[at] == '+'))
            at++;
        size_t exponent = count_digits(s, at);
        if (!exponent)
            return false;
        at += exponent;
    }
    return at == s.len;
}

int str_to_double(Str s, double *ret)
{
    char text[512];
    if (s.len >= sizeof(text) || !is_decimal(s))
        return -1;
    memcpy(text, s.ptr, s.len);
    text[s.len] = '\0';
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* glibc: a constant, no allocation */
    if (!c)
        return -1;
    double v = strtod_l(text, NULL, c);
    freelocale(c);
    if (__builtin_isinf(v))
        return -1;
    *ret = v;
    return 0;
}

size_t str_utf8_seq(Str s)
{
    /* Unicode 15, table 3-7: the second byte has a range of its own after some first bytes. */
    if (!s.len)
        return 0;
    const unsigned char *p = (const unsigned char *)s.ptr;
    unsigned char c = p[0], low = 0x80, high = 0xbf;
    if (c < 0x80)
        return 1;
    size_t len = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (!len || s.len < len)
        return 0;
    if (c == 0xe0)
        low = 0xa0;
    else if (c == 0xed)
        high = 0x9f;
    else if (c == 0xf0)
        low = 0x90;
    else if (c == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* Eight bytes of ASCII without NUL. */
static bool is_plain(const char *p)
{
    uint64_t v;
    const uint64_t high = UINT64_C(0x8080808080808080);
    memcpy(&v, p, sizeof(v));
    return !(v & high) && !((v - UINT64_C(0x0101010101010101)) & high);
}

bool str_is_utf8(Str s)
{
    for (size_t at = 0; at < s.len;) {
        if (s.len - at >= 8 && is_plain(s.ptr + at)) {
            at += 8;
            continue;
        }
        size_t seq = str_utf8_seq((Str){s.ptr + at, s.len - at});
        if (!seq || s.ptr[at] == '\0')
            return false;
        at += seq;
    }
    return true;
}
