/* The last lines that an agent wrote to standard error: the only place where it may say why it failed. */
#pragma once

#include "line-reader.h"
#include "utf8.h"

#define STDERR_LINES 50
#define STDERR_SHOWN 10 /* of which a failure shows the last ones */

typedef struct StderrRing {
    LineReader reader;
    char *lines[STDERR_LINES];
    size_t next; /* place of the next line */
} StderrRing;

void stderr_ring_init(StderrRing *r);
void stderr_ring_done(StderrRing *r);
void stderr_ring_clear(StderrRing *r);
void stderr_ring_feed(StderrRing *r, Str bytes);
bool stderr_ring_contains(StderrRing *r, const char *text);
/* A blank line and the last lines; nothing when there are none. */
void stderr_ring_append(StderrRing *r, Buf *out);
