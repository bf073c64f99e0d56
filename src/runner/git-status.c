/* The formats are those of git-status(1), "Porcelain Format Version 2" with -z, and git-diff(1) --numstat -z.
 */
#include "git-status.h"

#include "base/mem.h"

#define PATHS_MAX 1000 /* of each list; beyond them only the numbers count on */

void git_status_init(GitStatus *s)
{
    *s = (GitStatus){.modified = json_array(), .staged = json_array(), .untracked = json_array()};
}

void git_status_done(GitStatus *s)
{
    free(s->branch);
    json_decref(s->modified);
    json_decref(s->staged);
    json_decref(s->untracked);
}

static void add_path(json_t *list, Str path)
{
    if (json_array_size(list) < PATHS_MAX)
        json_array_append_new(list, json_strv(path));
}

/* What stands behind the n-th blank. */
static Str behind(Str s, int n)
{
    while (n-- > 0 && s.ptr)
        (void)str_cut(&s, ' ');
    return s;
}

/* X is the index against HEAD, Y the working tree against the index. */
static void count_change(GitStatus *s, char x, char y, Str path)
{
    if (x != '.')
        add_path(s->staged, path);
    if (y != '.')
        add_path(s->modified, path);
    s->added += x == 'A';
    s->removed += x == 'D' || y == 'D';
    s->files++;
}

static void read_entry(GitStatus *s, Str entry, Str *rest)
{
    if (str_starts(entry, STR("# branch.head "))) {
        free(s->branch);
        s->branch = str_dup(str_slice(entry, 14, entry.len));
    } else if (entry.len > 4 && entry.ptr[0] == '1') {
        count_change(s, entry.ptr[2], entry.ptr[3], behind(entry, 8));
    } else if (entry.len > 4 && entry.ptr[0] == '2') {
        count_change(s, entry.ptr[2], entry.ptr[3], behind(entry, 9));
        (void)str_cut(rest, '\0'); /* its old name */
    } else if (entry.len > 4 && entry.ptr[0] == 'u') {
        count_change(s, '.', 'U', behind(entry, 10));
    } else if (str_starts(entry, STR("? "))) {
        add_path(s->untracked, str_slice(entry, 2, entry.len));
        s->added++;
        s->files++;
    }
}

void git_status_read(GitStatus *s, Str text)
{
    while (text.ptr && text.len) {
        Str entry = str_cut(&text, '\0');
        read_entry(s, entry, &text);
    }
}

/* "-" counts nothing; what no file has can only be made up, and stays the largest number. */
static void add_lines(int64_t *sum, Str word)
{
    int64_t n;
    if (str_to_i64(word, &n) == 0 && n > 0 && __builtin_add_overflow(*sum, n, sum))
        *sum = INT64_MAX;
}

/* "<added>\t<removed>\t<path>"; "-" for binary files, and an empty path in front of a rename's two. */
void git_status_count(GitStatus *s, Str text)
{
    while (text.ptr && text.len) {
        Str path = str_cut(&text, '\0');
        Str plus = str_cut(&path, '\t'), minus = str_cut(&path, '\t');
        if (!path.ptr)
            continue;
        add_lines(&s->lines_added, plus);
        add_lines(&s->lines_removed, minus);
        if (!path.len) {
            (void)str_cut(&text, '\0');
            (void)str_cut(&text, '\0');
        }
    }
}
