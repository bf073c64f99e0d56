#include "diff.h"

#include "base/mem.h"
#include "base/vec.h"

#define CONTEXT 3
#define TABLE_MAX                                                                                            \
    (4 * 1024 * 1024) /* cells of the table of common subsequences; beyond: all old, all new                 \
                       */

typedef VEC_OF(Str)
Lines;

/* One line of the result: ' ' both, '-' old, '+' new. */
typedef struct Edit {
    char sign;
    Str line;
} Edit;
typedef VEC_OF(Edit)
Edits;

static void split(Lines *out, Str text)
{
    if (text.len && text.ptr[text.len - 1] == '\n')
        text.len--;
    else if (!text.len)
        return;
    while (text.ptr) {
        Str line = str_cut(&text, '\n');
        vec_push(out, line);
    }
}

static void add_edit(Edits *e, char sign, Str line)
{
    vec_push(e, ((Edit){sign, line}));
}

/* The middle, where both ends differ: the longest common subsequence of lines. */
static void edit_middle(Edits *e, const Str *a, size_t n, const Str *b, size_t m)
{
    size_t i = 0, j = 0, width = m + 1;
    CLEANUP_FREE unsigned *len =
        n && m && n < TABLE_MAX / m ? xcalloc((n + 1) * width, sizeof(unsigned)) : NULL;
    for (size_t x = n; len && x-- > 0;) {
        for (size_t y = m; y-- > 0;) {
            unsigned down = len[(x + 1) * width + y], right = len[x * width + y + 1];
            len[x * width + y] = str_eq(a[x], b[y]) ? len[(x + 1) * width + y + 1] + 1
                                 : down > right     ? down
                                                    : right;
        }
    }
    while (len && i < n && j < m) {
        if (str_eq(a[i], b[j])) {
            add_edit(e, ' ', a[i++]);
            j++;
        } else if (len[(i + 1) * width + j] >= len[i * width + j + 1]) {
            add_edit(e, '-', a[i++]);
        } else {
            add_edit(e, '+', b[j++]);
        }
    }
    while (i < n)
        add_edit(e, '-', a[i++]);
    while (j < m)
        add_edit(e, '+', b[j++]);
}

static void edit_script(Edits *e, const Lines *a, const Lines *b)
{
    size_t head = 0, tail = 0, least = a->len < b->len ? a->len : b->len;
    while (head < least && str_eq(a->ptr[head], b->ptr[head]))
        head++;
    while (tail < least - head && str_eq(a->ptr[a->len - 1 - tail], b->ptr[b->len - 1 - tail]))
        tail++;
    for (size_t i = 0; i < head; i++)
        add_edit(e, ' ', a->ptr[i]);
    edit_middle(e, a->ptr + head, a->len - head - tail, b->ptr + head, b->len - head - tail);
    for (size_t i = a->len - tail; i < a->len; i++)
        add_edit(e, ' ', a->ptr[i]);
}

static void add_range(Buf *out, char sign, size_t start, size_t count)
{
    buf_addf(out, " %c%zu", sign, count ? start + 1 : start);
    if (count != 1)
        buf_addf(out, ",%zu", count);
}

/* Edits from..to, which begin behind old lines and new lines. */
static void add_hunk(Buf *out, const Edits *e, size_t from, size_t to, size_t old_at, size_t new_at,
                     bool color)
{
    size_t old_n = 0, new_n = 0;
    for (size_t i = from; i < to; i++) {
        old_n += e->ptr[i].sign != '+';
        new_n += e->ptr[i].sign != '-';
    }
    buf_addz(out, color ? "\033[36m@@" : "@@");
    add_range(out, '-', old_at, old_n);
    add_range(out, '+', new_at, new_n);
    buf_addz(out, color ? " @@\033[0m\n" : " @@\n");
    for (size_t i = from; i < to; i++) {
        const Edit *d = &e->ptr[i];
        const char *paint = d->sign == '-' ? "\033[31m" : d->sign == '+' ? "\033[32m" : "";
        buf_addf(out, "%s%c" STR_FMT "%s\n", color ? paint : "", d->sign, STR_ARG(d->line),
                 color && *paint ? "\033[0m" : "");
    }
}

static void add_hunks(Buf *out, const Edits *e, bool color)
{
    size_t old_at = 0, new_at = 0, at = 0;
    while (at < e->len) {
        size_t change = at;
        while (change < e->len && e->ptr[change].sign == ' ')
            change++;
        if (change == e->len)
            return;
        size_t from = change - at > CONTEXT ? change - CONTEXT : at, to = change, same = 0;
        while (to < e->len && same <= 2 * CONTEXT) {
            same = e->ptr[to].sign == ' ' ? same + 1 : 0;
            to++;
        }
        to -= same > CONTEXT ? same - CONTEXT : 0;
        old_at += from - at;
        new_at += from - at;
        add_hunk(out, e, from, to, old_at, new_at, color);
        for (at = from; at < to; at++) {
            old_at += e->ptr[at].sign != '+';
            new_at += e->ptr[at].sign != '-';
        }
    }
}

void diff_texts(Buf *out, const char *name_a, Str a, const char *name_b, Str b, bool color)
{
    Lines old = {0}, new = {0};
    Edits edits = {0};
    if (str_eq(a, b))
        return;
    split(&old, a);
    split(&new, b);
    edit_script(&edits, &old, &new);
    buf_addf(out, "%s--- %s\n+++ %s%s\n", color ? "\033[1m" : "", name_a ? name_a : "/dev/null",
             name_b ? name_b : "/dev/null", color ? "\033[0m" : "");
    add_hunks(out, &edits, color);
    vec_free(&old);
    vec_free(&new);
    vec_free(&edits);
}
