/*
 * A whole store as a text file, and back: from SQLite to PostgreSQL or the other way, or as a backup. One
 * line of JSON per row; docs/internals/export.md describes the format. Blocking; for the commands `export`
 * and `import`. Secrets stay as they are stored: sealed ones are moved sealed.
 */
#pragma once

#include "store/store.h"

typedef struct DumpProgress {
    const char *table; /* the one that is being moved */
    uint64_t rows;     /* of all tables until now */
} DumpProgress;
typedef void (*DumpProgressFn)(void *arg, const DumpProgress *p); /* now and then */

/* Writes all rows as of one moment. resume: fd is a file that an export of the same store began (read and
   written; else it need not be a file). ERR_PRECONDITION: the store has changed since. */
int store_export(const StoreOptions *o, int fd, bool resume, DumpProgressFn fn, void *arg, uint64_t *ret_rows,
                 Err *err);
/* Reads such a file into a store that holds nothing yet, which is made when it is missing. Rows are committed
   in groups, together with how far it came: after a crash the same file again goes on from there. Until all
   is in, nobody can serve that store. ERR_PRECONDITION: there is something in it already. */
int store_import(const StoreOptions *o, int fd, DumpProgressFn fn, void *arg, uint64_t *ret_rows, Err *err);
