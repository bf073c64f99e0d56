/*
 * Append-only file of records that were not acknowledged yet: one JSON object per line. Written with
 * write(2): it survives the process, and the operating system as far as the file system kept it.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

typedef struct JournalEntry {
    Str type, payload, turn, request_id; /* views */
} JournalEntry;

typedef struct Journal {
    char *path; /* NULL = there is none */
    int fd;
    size_t bytes; /* in the file */
    bool broken;  /* a write failed; reported once, then nothing is written until it is emptied */
} Journal;

typedef void (*JournalFn)(void *arg, const JournalEntry *e);
/* Opens or makes the file and hands out what it holds; an unfinished last line (the process died) is cut off.
 */
int journal_open(Journal *j, const char *path, JournalFn fn, void *arg, Err *err);
void journal_close(Journal *j);
void journal_add(Journal *j, const JournalEntry *e);
void journal_empty(Journal *j); /* everything was acknowledged */
