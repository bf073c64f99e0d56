/*
 * Text of agents and commands arrives in pieces that are cut anywhere and may hold anything. What goes on
 * must be valid UTF-8 without NUL: JSON and protobuf refuse the rest.
 */
#pragma once

#include "base/buf.h"

/* Stream repair: a sequence cut by a piece's end waits for the rest; what is no UTF-8 becomes U+FFFD. */
typedef struct Utf8Repair {
    char tail[4];
    size_t n; /* bytes of an unfinished sequence */
} Utf8Repair;
void utf8_repair(Utf8Repair *u, Str in, Buf *out);
void utf8_repair_end(Utf8Repair *u, Buf *out); /* the stream is over: an unfinished sequence becomes U+FFFD */

/* Length of the longest prefix of valid UTF-8 text that has at most `max` bytes and splits no character. */
size_t utf8_cut(Str s, size_t max);
/* The same counted in characters. */
size_t utf8_cut_chars(Str s, size_t max_chars);
