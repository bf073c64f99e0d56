/* What export and import share: the tables, in the order of the file, and files read by lines. */
#pragma once

#include "store-internal.h"
#include "store/dump.h"

#define DUMP_FORMAT 1
#define DUMP_LINE_MAX ((size_t)64 << 20) /* a message of 4 MiB, each byte of it escaped, and more */
#define DUMP_COLUMNS_MAX 80
#define DUMP_PROGRESS_ROWS 1000

typedef struct DumpColumn {
    const char *name;
    SqlType type;
} DumpColumn;

typedef struct DumpTable {
    const char *name;
    DumpColumn columns[DUMP_COLUMNS_MAX];
    unsigned n_columns;
    unsigned n_key; /* the first columns are the key, by which rows are ordered */
} DumpTable;

typedef VEC_OF(DumpTable)
DumpTables;
/* Every table with rows of an installation; that none is forgotten is tested. */
void dump_tables(DumpTables *ret);
DumpTable *dump_table(DumpTables *t, Str name); /* NULL when there is none */
/* "a, b, c" */
void dump_column_list(Buf *out, const DumpTable *t);
/* Tables that the program fills by itself, and nobody moves. */
bool dump_is_own_table(Str name);

/* ---- lines of a file ---- */

typedef struct DumpLines {
    int fd;
    Buf buf;
    size_t at;       /* of the next line in buf */
    uint64_t offset; /* of that line in the file */
    bool ended;
} DumpLines;
void dump_lines_init(DumpLines *l, int fd);
void dump_lines_done(DumpLines *l);
/* 1 and the line without its end (borrowed until the next call), 0 at the end, also when a last line is cut.
 */
int dump_lines_next(DumpLines *l, Str *ret, Err *err);
