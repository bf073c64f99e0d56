#include "dump-internal.h"

#include <errno.h>
#include <unistd.h>

#define READ_SIZE ((size_t)256 << 10)

/* ---- tables ---- */

/* Those that are no kinds. Keys first. */
static const DumpTable plain[] = {
    {"platform_secrets", {{"name", SQL_TEXT}, {"value", SQL_TEXT}, {"created_at", SQL_TIME}}, 3, 1},
    {"retention", {{"log", SQL_TEXT}, {"keep_days", SQL_INT}}, 2, 1},
    {"requests",
     {{"caller", SQL_TEXT}, {"request_id", SQL_TEXT}, {"object_id", SQL_TEXT}, {"created_at", SQL_TIME}},
     4,
     2},
    {"session_messages",
     {{"pos", SQL_INT},
      {"id", SQL_TEXT},
      {"session_id", SQL_TEXT},
      {"seq", SQL_INT},
      {"event_type", SQL_TEXT},
      {"payload", SQL_TEXT},
      {"created_at", SQL_TIME},
      {"actor", SQL_TEXT},
      {"turn", SQL_TEXT},
      {"hash", SQL_BLOB},
      {"request_id", SQL_TEXT}},
     11,
     1},
    {"usage",
     {{"session_id", SQL_TEXT},
      {"seq", SQL_INT},
      {"turn", SQL_TEXT},
      {"model", SQL_TEXT},
      {"input_tokens", SQL_INT},
      {"output_tokens", SQL_INT},
      {"cached_tokens", SQL_INT},
      {"cost_micros", SQL_INT},
      {"wall_ms", SQL_INT},
      {"created_at", SQL_TIME}},
     10,
     2},
    {"records",
     {{"session_id", SQL_TEXT},
      {"seq", SQL_INT},
      {"turn", SQL_TEXT},
      {"kind", SQL_TEXT},
      {"payload", SQL_TEXT},
      {"created_at", SQL_TIME}},
     6,
     2},
    {"events",
     {{"version", SQL_INT},
      {"id", SQL_TEXT},
      {"source", SQL_TEXT},
      {"source_id", SQL_TEXT},
      {"event_type", SQL_TEXT},
      {"project_id", SQL_TEXT},
      {"owner", SQL_TEXT},
      {"created_at", SQL_TIME}},
     8,
     1},
};

static SqlType type_of(const Field *f)
{
    static const SqlType types[] = {
        [FT_STRING] = SQL_TEXT,   [FT_JSON_TEXT] = SQL_TEXT, [FT_INT32] = SQL_INT, [FT_INT64] = SQL_INT,
        [FT_DOUBLE] = SQL_DOUBLE, [FT_BOOL] = SQL_BOOL,      [FT_TIME] = SQL_TIME,
    };
    return types[f->type];
}

static DumpTable table_of_kind(const Kind *k)
{
    DumpTable t = {.name = k->table, .n_key = 1};
    assert(k->n_fields < DUMP_COLUMNS_MAX);
    for (size_t i = 0; i < k->n_fields; i++) {
        if (field_stored(&k->fields[i]))
            t.columns[t.n_columns++] = (DumpColumn){field_column(&k->fields[i]), type_of(&k->fields[i])};
    }
    t.columns[t.n_columns++] = (DumpColumn){"deleted_at", SQL_TIME};
    return t;
}

void dump_tables(DumpTables *ret)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    for (size_t i = 0; i < n; i++)
        vec_push(ret, table_of_kind(kinds[i]));
    for (size_t i = 0; i < ARRAY_LEN(plain); i++)
        vec_push(ret, plain[i]);
}

DumpTable *dump_table(DumpTables *t, Str name)
{
    VEC_FOREACH (t, it) {
        if (str_eqz(name, it->name))
            return it;
    }
    return NULL;
}

void dump_column_list(Buf *out, const DumpTable *t)
{
    for (unsigned i = 0; i < t->n_columns; i++)
        (void)buf_addf(out, "%s%s", i ? ", " : "", t->columns[i].name);
}

bool dump_is_own_table(Str name)
{
    static const char *const names[] = {"migrations", "health", "imports"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_eqz(name, names[i]))
            return true;
    }
    return false;
}

/* ---- lines ---- */

void dump_lines_init(DumpLines *l, int fd)
{
    *l = (DumpLines){.fd = fd, .buf = BUF_INIT(DUMP_LINE_MAX)};
}

void dump_lines_done(DumpLines *l)
{
    buf_done(&l->buf);
}

static int fill(DumpLines *l, Err *err)
{
    buf_consume(&l->buf, l->at);
    l->at = 0;
    char *p = buf_reserve(&l->buf, READ_SIZE);
    if (!p)
        return err_set(err, ERR_TOO_LARGE, "a line is longer than %zu bytes", DUMP_LINE_MAX);
    ssize_t n;
    do {
        n = read(l->fd, p, READ_SIZE);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_set_errno(err, errno, "cannot read the file");
    l->ended = n == 0;
    buf_commit(&l->buf, (size_t)n);
    return 0;
}

int dump_lines_next(DumpLines *l, Str *ret, Err *err)
{
    size_t looked = 0;
    for (;;) {
        Str rest = str_slice(buf_str(&l->buf), l->at, l->buf.len);
        ptrdiff_t end = str_find_byte(str_slice(rest, looked, rest.len), '\n');
        if (end >= 0) {
            *ret = str_slice(rest, 0, looked + (size_t)end);
            l->at += ret->len + 1;
            l->offset += ret->len + 1;
            return 1;
        }
        if (l->ended)
            return 0;
        looked = rest.len;
        int rc = fill(l, err);
        if (rc < 0)
            return rc;
    }
}
