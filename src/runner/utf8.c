#include "utf8.h"

#define REPLACEMENT STR("\xef\xbf\xbd")

static bool continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Length that the first byte announces, 0 when no sequence starts with it. */
static size_t announced(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c <= 0xdf)
        return 2;
    if (c >= 0xe0 && c <= 0xef)
        return 3;
    return c >= 0xf0 && c <= 0xf4 ? 4 : 0;
}

/* Could more bytes make a valid sequence of this one? The second byte decides about overlong forms and
 * surrogates. */
static bool unfinished(Str s)
{
    unsigned char first = (unsigned char)s.ptr[0];
    unsigned char second = s.len > 1 ? (unsigned char)s.ptr[1] : 0x80;

    if (s.len >= announced(first))
        return false;
    for (size_t i = 1; i < s.len; i++)
        if (!continuation(s.ptr[i]))
            return false;
    if (s.len == 1)
        return true;
    return !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f) &&
           !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
}

/* Appends one character or a replacement. Returns the bytes used, 0 when more are needed. */
static size_t step(Str s, Buf *out)
{
    size_t n = str_utf8_seq(s);

    if (n > 0 && s.ptr[0] != '\0') {
        buf_add(out, s.ptr, n);
        return n;
    }
    if (n == 0 && unfinished(s))
        return 0;
    buf_adds(out, REPLACEMENT);
    return 1;
}

/* Finishes what waits, byte by byte, with the start of `in`. Returns what is left of `in`. */
static Str finish_tail(Utf8Repair *u, Str in, Buf *out)
{
    while (u->n > 0 && in.len > 0) {
        u->tail[u->n++] = in.ptr[0];
        in = str_slice(in, 1, in.len);
        size_t used;
        while (u->n > 0 && (used = step((Str){u->tail, u->n}, out)) > 0) {
            u->n -= used;
            memmove(u->tail, u->tail + used, u->n);
        }
    }
    return in;
}

void utf8_repair(Utf8Repair *u, Str in, Buf *out)
{
    in = finish_tail(u, in, out);
    while (in.len > 0) {
        size_t used = step(in, out);
        if (used == 0) {
            memcpy(u->tail, in.ptr, in.len);
            u->n = in.len;
            return;
        }
        in = str_slice(in, used, in.len);
    }
}

void utf8_repair_end(Utf8Repair *u, Buf *out)
{
    if (u->n > 0)
        buf_adds(out, REPLACEMENT);
    u->n = 0;
}

size_t utf8_cut(Str s, size_t max)
{
    if (s.len <= max)
        return s.len;
    while (max > 0 && continuation(s.ptr[max]))
        max--;
    return max;
}

size_t utf8_cut_chars(Str s, size_t max_chars)
{
    size_t at = 0;

    while (at < s.len && max_chars > 0) {
        at++;
        while (at < s.len && continuation(s.ptr[at]))
            at++;
        max_chars--;
    }
    return at;
}
