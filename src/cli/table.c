#include "output.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "base/vec.h"

#define LEAST 8 /* width that a column keeps on a narrow terminal */

typedef struct Column {
    Str title, member;
    size_t width; /* of the contract's table, used on a terminal */
} Column;

struct Table {
    VEC_OF(Column)
    cols;
    VEC_OF(char *)
    cells; /* row by row, owned */
    bool headers, terminal, header_done, streaming;
};

static Column parse_column(Str word)
{
    Column c = {.title = str_cut(&word, ':')};
    c.member = str_cut(&word, ':');
    uint64_t w = 0;
    if (word.ptr && str_to_u64(word, &w) == 0)
        c.width = (size_t)w;
    return c;
}

Table *table_new(const char *columns, bool wide, bool headers)
{
    Table *t = xnew(Table);
    t->headers = headers;
    t->terminal = stdout_is_terminal();
    Str rest = str_from(columns);
    while (rest.ptr) {
        Str word = str_cut(&rest, ' ');
        if (str_eq(word, STR("|")) && !wide)
            break;
        if (word.len && !str_eq(word, STR("|")))
            vec_push(&t->cols, parse_column(word));
    }
    return t;
}

void value_text(Buf *b, const json_t *v)
{
    if (json_is_string(v))
        clean_text(b, (Str){json_string_value(v), json_string_length(v)}, false);
    else if (json_is_integer(v))
        buf_add_i64(b, json_integer_value(v));
    else if (json_is_boolean(v))
        buf_addz(b, json_is_true(v) ? "true" : "false");
    else if (v && !json_is_null(v))
        json_write_plain(b, v);
}

void table_add_column(Table *t, const char *column)
{
    vec_push(&t->cols, parse_column(str_from(column)));
}

json_t *member_at(const json_t *obj, Str path)
{
    json_t *at = json_incref((json_t *)(uintptr_t)obj);
    while (at && path.ptr) {
        CLEANUP_FREE char *key = str_dup(str_cut(&path, '.'));
        CLEANUP_JSON json_t *here = at;
        CLEANUP_JSON json_t *inner = NULL;
        if (json_is_string(here))
            (void)json_parse((Str){json_string_value(here), json_string_length(here)}, &inner, NULL);
        at = json_incref(json_object_get(inner ? inner : here, key));
    }
    return at;
}

/* "a=1,b=2" of the JSON in the text */
static void labels_text(Buf *b, const json_t *text)
{
    CLEANUP_JSON json_t *map = NULL;
    const char *key;
    json_t *v;
    if (json_parse((Str){json_string_value(text), json_string_length(text)}, &map, NULL) < 0)
        return;
    json_object_foreach(map, key, v)
    {
        buf_addz(b, b->len ? "," : "");
        clean_text(b, str_from(key), false);
        buf_addc(b, '=');
        value_text(b, v);
    }
}

static char *cell_of(const Column *c, const json_t *obj)
{
    CLEANUP_BUF Buf b = BUF_INIT(1024 * 1024);
    Str names = c->member;
    while (names.ptr && b.len == 0) {
        CLEANUP_FREE char *name = str_dup(str_cut(&names, '|'));
        json_t *v = json_object_get(obj, name);
        if (str_ends(str_from(name), STR("_at")) && str_eq(c->title, STR("AGE"))) {
            char age[16];
            format_age(age, json_string_value(v));
            buf_addz(&b, age);
        } else if (json_is_string(v) && str_eq(c->title, STR("LABELS"))) {
            labels_text(&b, v);
        } else {
            value_text(&b, v);
        }
    }
    return buf_take(&b);
}

void table_row(Table *t, const json_t *obj)
{
    VEC_FOREACH (&t->cols, c)
        vec_push(&t->cells, cell_of(c, obj));
}

void table_row_cells(Table *t, const Str *cells, size_t n)
{
    for (size_t i = 0; i < t->cols.len; i++) {
        CLEANUP_BUF Buf b = BUF_INIT(1024 * 1024);
        if (i < n)
            clean_text(&b, cells[i], false);
        vec_push(&t->cells, buf_take(&b));
    }
}

/* Cuts at a character boundary so that the text with "..." behind fits. */
static void add_cell(Buf *line, Str text, size_t width)
{
    size_t w = display_width(text);
    if (w > width && width > 3) {
        size_t end = 0;
        while (end < text.len && display_width(str_slice(text, 0, end + 1)) <= width - 3)
            end++;
        while (end > 0 && end < text.len && ((unsigned char)text.ptr[end] & 0xc0) == 0x80)
            end--;
        buf_adds(line, str_slice(text, 0, end));
        buf_addz(line, "...");
        w = display_width(str_slice(text, 0, end)) + 3;
    } else {
        buf_adds(line, text);
    }
    while (w++ < width)
        buf_addc(line, ' ');
}

static void print_line(Table *t, const Str *cells, const size_t *widths)
{
    CLEANUP_BUF Buf line = BUF_INIT(16 * 1024 * 1024);
    for (size_t i = 0; i < t->cols.len; i++) {
        if (i)
            buf_addz(&line, "   ");
        add_cell(&line, cells[i], widths[i]);
    }
    Str s = buf_str(&line);
    size_t max = terminal_width();
    while (t->terminal && s.len && display_width(s) > max)
        s.len--;
    while (s.len && s.len < line.len && ((unsigned char)s.ptr[s.len] & 0xc0) == 0x80)
        s.len--;
    printf(STR_FMT "\n", STR_ARG(s));
}

/* Narrower until the row fits: the widest column first, but none below its title or LEAST. */
static void fit(const Table *t, size_t *widths)
{
    size_t max = terminal_width(), total = t->cols.len ? 3 * (t->cols.len - 1) : 0;
    for (size_t i = 0; i < t->cols.len; i++)
        total += widths[i];
    while (total > max) {
        size_t widest = t->cols.len;
        for (size_t i = 0; i < t->cols.len; i++) {
            if (str_eq(t->cols.ptr[i].title, STR("ID")))
                continue; /* half an id is of no use */
            size_t title = display_width(t->cols.ptr[i].title), least = title > LEAST ? title : LEAST;
            if (widths[i] > least && (widest == t->cols.len || widths[i] > widths[widest]))
                widest = i;
        }
        if (widest == t->cols.len)
            return;
        widths[widest]--;
        total--;
    }
}

/* As wide as the content. In a pipe nothing is cut; on a terminal the row fits. */
static void measure(const Table *t, size_t *widths)
{
    for (size_t i = 0; i < t->cols.len; i++) {
        widths[i] = display_width(t->cols.ptr[i].title);
        for (size_t k = i; k < t->cells.len; k += t->cols.len) {
            size_t w = display_width(str_from(t->cells.ptr[k]));
            if (w > widths[i])
                widths[i] = w;
        }
        /* Rows that come one by one: the contract's widths, as the coming ones are not known. */
        if (t->streaming && widths[i] < t->cols.ptr[i].width)
            widths[i] = t->cols.ptr[i].width;
    }
    if (t->terminal)
        fit(t, widths);
}

static void print_titles(Table *t, const size_t *widths)
{
    CLEANUP_FREE Str *titles = xcalloc(t->cols.len, sizeof(Str));
    CLEANUP_FREE char *text = xcalloc(t->cols.len, 64);
    for (size_t i = 0; i < t->cols.len; i++) {
        snprintf(text + 64 * i, 64, STR_FMT, STR_ARG(t->cols.ptr[i].title));
        for (char *p = text + 64 * i; *p; p++)
            *p = *p == '_' ? ' ' : *p;
        titles[i] = str_from(text + 64 * i);
    }
    print_line(t, titles, widths);
}

static void flush_rows(Table *t)
{
    CLEANUP_FREE size_t *widths = xcalloc(t->cols.len + 1, sizeof(size_t));
    CLEANUP_FREE Str *cells = xcalloc(t->cols.len + 1, sizeof(Str));
    measure(t, widths);
    if (t->headers && !t->header_done)
        print_titles(t, widths);
    t->header_done = true;
    for (size_t row = 0; t->cols.len && row < t->cells.len / t->cols.len; row++) {
        for (size_t i = 0; i < t->cols.len; i++)
            cells[i] = str_from(t->cells.ptr[row * t->cols.len + i]);
        print_line(t, cells, widths);
    }
    VEC_FOREACH (&t->cells, c)
        free(*c);
    vec_clear(&t->cells);
    fflush(stdout);
}

void table_header(Table *t)
{
    t->streaming = true;
    flush_rows(t);
}

Table *table_free(Table *t)
{
    if (!t)
        return NULL;
    if (t->cells.len || !t->header_done)
        flush_rows(t);
    vec_free(&t->cells);
    vec_free(&t->cols);
    free(t);
    return NULL;
}
