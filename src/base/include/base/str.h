/*
 * Str is a view: it owns nothing and need not be NUL-terminated. It lives as long as what it points into.
 * Parsing functions take the whole view: trailing bytes are an error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
} Str;

#define STR(lit) ((Str){"" lit, sizeof(lit) - 1})
#define STR_NULL ((Str){NULL, 0})
#define STR_FMT "%.*s"
#define STR_ARG(s) (int)(s).len, (s).ptr ? (s).ptr : ""

static inline Str str_from(const char *s)
{
    return (Str){s, s ? strlen(s) : 0};
}

bool str_eq(Str a, Str b);
bool str_eqz(Str a, const char *b); /* b NULL equals only an empty a */
bool str_ieq(Str a, Str b);         /* ASCII case-insensitive */
int str_cmp(Str a, Str b);          /* bytewise, like memcmp then length */
bool str_starts(Str s, Str prefix);
bool str_istarts(Str s, Str prefix);
bool str_ends(Str s, Str suffix);
Str str_trim(Str s);                          /* ASCII white space at both ends */
Str str_slice(Str s, size_t from, size_t to); /* clamped */
ptrdiff_t str_find(Str s, Str needle);        /* -1 when absent */
ptrdiff_t str_find_byte(Str s, char c);
/* Cuts *rest at the first `sep`: returns what stands before it, *rest becomes what stands behind it.
   Without a `sep` returns all and *rest becomes STR_NULL (ptr NULL): loop while (rest.ptr). */
Str str_cut(Str *rest, char sep);
char *str_dup(Str s); /* NUL-terminated copy, caller frees */

int str_to_i64(Str s, int64_t *ret); /* decimal, optional sign; 0 or -1 */
int str_to_u64(Str s, uint64_t *ret);
int str_to_double(Str s, double *ret); /* C locale */
bool str_is_utf8(Str s);               /* strict: no surrogates, no overlong forms, no NUL */
/* Length of the strict UTF-8 sequence at the start (1 to 4), 0 when there is none. NUL counts as a character.
 */
size_t str_utf8_seq(Str s);
