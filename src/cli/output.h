/* What a person or a script reads: tables, JSON, YAML, names. Contract: cli.md 5. */
#pragma once

#include "app.h"
#include "base/buf.h"

typedef enum Format {
    FORMAT_TABLE,
    FORMAT_WIDE,
    FORMAT_JSON,
    FORMAT_YAML,
    FORMAT_NAME,
    FORMAT_JSONPATH, /* jsonpath=TEMPLATE */
    FORMAT_COLUMNS,  /* custom-columns=TITLE:PATH,... */
} Format;
int format_of(const Args *a, Format *ret, Err *err); /* -o; ERR_USAGE names the valid ones */

/* "TITLE:member:width ..." with '_' for a blank in a title. Columns behind '|' are shown with -o wide only. A
   member that ends in _at is shown as an age, and "a|b" is the first of both that is set. */
typedef struct Table Table;
Table *table_new(const char *columns, bool wide, bool headers);
void table_header(Table *t); /* now, for rows that come one by one */
void table_row(Table *t, const json_t *obj);
void table_row_cells(Table *t, const Str *cells, size_t n);
void table_add_column(Table *t, const char *column); /* before the first row */
Table *table_free(Table *t);                         /* prints what is buffered */
DEFINE_CLEANUP(Table, table_free)

/* The text of a value as a cell shows it: strings cleaned, objects as JSON. */
void value_text(Buf *b, const json_t *v);
/* "metadata.name": inside objects, and inside JSON that stands in a text. New reference; NULL = not there. */
json_t *member_at(const json_t *obj, Str path);

/* A list or one object in the wanted format. noun: "session". empty: said on stderr when a table has no row.
 */
int print_list(const Args *a, const json_t *list, const char *noun, const char *columns, const char *empty,
               Err *err);
int print_object(const Args *a, const json_t *obj, const char *noun, const char *columns, Err *err);
void print_json_line(Str json);        /* as it is; on a terminal its control characters are escaped */
int print_json(const json_t *v);       /* members in the contract's order */
json_t *json_ordered(const json_t *v); /* id, kind, href, created_at, updated_at first; new reference */

/* Text for a terminal: escape sequences and control characters removed, tabs and newlines kept when `lines`.
 */
void clean_text(Buf *out, Str text, bool lines);
size_t display_width(Str utf8);
unsigned terminal_width(void); /* 80 when unknown */
bool stdout_is_terminal(void);
bool use_color(void); /* --color, NO_COLOR, CLICOLOR_FORCE; else on a terminal that is not dumb */
void format_age(char out[static 16], const char *rfc3339);
