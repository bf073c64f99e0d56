/*
 * What was said in the session, for an agent that lost its memory: the newest messages of the log, bounded,
 * as a text that a model can read.
 */
#pragma once

#include "base/buf.h"
#include "base/list.h"

#define TRANSCRIPT_MAX ((size_t)96 << 10)

typedef struct Transcript {
    List items;
    size_t bytes;
} Transcript;

void transcript_init(Transcript *t);
void transcript_done(Transcript *t);
void transcript_add(Transcript *t, uint64_t seq, const char *speaker, Str text); /* old items fall out */
/* Items before `seq` (0 = all). */
void transcript_write(const Transcript *t, uint64_t seq, Buf *out);
