/*
 * JSON on jansson: limits at the door, typed getters, and writers that print what the reference prints
 * (Go's encoding/json: keys in the caller's order, <, >, & and U+2028/9 escaped, shortest floats).
 * json_t values are reference counted (json_incref/json_decref) and not shared between threads.
 */
#pragma once

#include <jansson.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

static inline void json_freep(json_t **j)
{
    json_decref(*j);
}
#define CLEANUP_JSON CLEANUP(json_freep)

#define JSON_DEPTH_MAX 64
#define JSON_VALUES_MAX 250000 /* in one text: an empty object of 3 bytes becomes 250 in memory */

/* Strict RFC 8259: one value, no trailing bytes, valid UTF-8, no duplicate keys, at most JSON_DEPTH_MAX deep,
   no NUL in strings. Errors are ERR_MALFORMED in Go's words where clients show them: "unexpected end of JSON
   input", "invalid character 'x' ...". */
int json_parse(Str text, json_t **ret, Err *err);
int json_parse_file(const char *path, size_t max, json_t **ret, Err *err);

/* Typed getters: the default when the key is absent, null or of another type. Borrowed until obj dies. */
const char *json_get_str(const json_t *obj, const char *key); /* NULL when absent */
Str json_get_strv(const json_t *obj, const char *key);
int64_t json_get_int(const json_t *obj, const char *key, int64_t dflt);
bool json_get_bool(const json_t *obj, const char *key, bool dflt);
json_t *json_get_obj(const json_t *obj, const char *key); /* object or NULL */
json_t *json_get_arr(const json_t *obj, const char *key); /* array or NULL */
json_t *json_strv(Str s);                                 /* new string value; invalid UTF-8 becomes U+FFFD */

/* Writers into a Buf. NULL is written as null; a value nested deeper than 2 * JSON_DEPTH_MAX makes the Buf
 * fail. */
void json_write_str(Buf *b, Str s);       /* quoted; <>& escaped; invalid UTF-8 becomes U+FFFD */
void json_write_str_plain(Buf *b, Str s); /* quoted; without the HTML escapes (AG-UI, agents' protocols) */
void json_write_double(Buf *b, double v); /* shortest form that reads back: 0.7, 1, 1e+21; not finite: null */
void json_write(Buf *b, const json_t *v); /* compact, member order kept, like json_write_str */
void json_write_plain(Buf *b, const json_t *v);
void json_write_pretty(Buf *b, const json_t *v, unsigned indent); /* with a trailing newline */

/* For streaming objects: json_key() writes the comma when needed, then `"key":`.  first starts true. */
void json_key(Buf *b, bool *first, const char *key);
