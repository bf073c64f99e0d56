/* Cuts a stream of bytes into lines. A line that is longer than the maximum is dropped whole and counted. */
#pragma once

#include "base/buf.h"

typedef void (*LineFn)(void *arg, Str line); /* without the newline; borrowed for the call */

typedef struct LineReader {
    Buf buf;       /* an unfinished line */
    bool skipping; /* inside a line that was too long */
    unsigned dropped;
} LineReader;

void line_reader_init(LineReader *r, size_t line_max);
void line_reader_done(LineReader *r);
/* Calls fn for each line that ended. fn must not end the reader. */
void line_reader_feed(LineReader *r, Str bytes, LineFn fn, void *arg);
void line_reader_end(LineReader *r, LineFn fn, void *arg); /* a last line without newline */
