/* Writing a store as lines of JSON, all as of one moment. docs/internals/export.md */
#include "dump-internal.h"

#include <errno.h>
#include <unistd.h>
#include "json/json.h"

#define WRITE_SIZE ((size_t)1 << 20)

typedef struct Export {
    Db *db;
    int fd;
    Buf out;
    Sha256 *sha; /* of everything before the last line */
    DumpTables tables;
    uint64_t rows;
    DumpProgressFn fn;
    void *arg;
    /* Where a resumed export goes on. */
    size_t first_table;
    uint64_t table_rows;
    json_t *last; /* the last row of that table in the file; NULL = from its start */
    bool in_table, complete;
} Export;

static int flush(Export *x, Err *err)
{
    size_t at = 0;
    sha256_add(x->sha, x->out.data, x->out.len);
    while (at < x->out.len) {
        ssize_t n = write(x->fd, x->out.data + at, x->out.len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "cannot write the export");
        at += (size_t)n;
    }
    buf_clear(&x->out);
    return 0;
}

static int end_line(Export *x, Err *err)
{
    int rc = buf_addc(&x->out, '\n');
    if (rc < 0)
        return err_set(err, ERR_TOO_LARGE, "a row is longer than %zu bytes", DUMP_LINE_MAX);
    return x->out.len >= WRITE_SIZE ? flush(x, err) : 0;
}

/* ---- a row ---- */

static void write_value(Buf *b, SqlValue v)
{
    switch (v.type) {
    case SQL_NULL:
        (void)buf_addz(b, "null");
        break;
    case SQL_INT:
        (void)buf_add_i64(b, v.i);
        break;
    case SQL_DOUBLE:
        json_write_double(b, v.d);
        break;
    case SQL_BOOL:
        (void)buf_addz(b, v.b ? "true" : "false");
        break;
    case SQL_TIME:
        (void)buf_add_i64(b, v.t.us);
        break;
    case SQL_TEXT:
        json_write_str_plain(b, v.s);
        break;
    case SQL_BLOB:
        (void)buf_addc(b, '"');
        base64_write(b, v.s.ptr, v.s.len);
        (void)buf_addc(b, '"');
        break;
    }
}

static int write_row(Export *x, const DumpTable *t, Stmt *st, Err *err)
{
    for (unsigned i = 0; i < t->n_columns; i++) {
        (void)buf_addc(&x->out, i ? ',' : '[');
        write_value(&x->out, x->db->be->column(st, i, t->columns[i].type));
    }
    (void)buf_addc(&x->out, ']');
    x->table_rows++;
    if (++x->rows % DUMP_PROGRESS_ROWS == 0 && x->fn)
        x->fn(x->arg, &(DumpProgress){t->name, x->rows});
    return end_line(x, err);
}

/* ---- a table ---- */

static void add_key(Buf *sql, const DumpTable *t)
{
    for (unsigned i = 0; i < t->n_key; i++)
        (void)buf_addf(sql, "%s%s", i ? ", " : "", t->columns[i].name);
}

/* The rows behind the last one that the file has. */
static void add_where(Buf *sql, const DumpTable *t)
{
    (void)buf_addz(sql, " WHERE (");
    add_key(sql, t);
    (void)buf_addz(sql, ") > (");
    for (unsigned i = 0; i < t->n_key; i++)
        (void)buf_addf(sql, "%s?%u", i ? ", " : "", i + 1);
    (void)buf_addc(sql, ')');
}

static void bind_key(const Export *x, const DumpTable *t, Stmt *st)
{
    for (unsigned i = 0; i < t->n_key; i++) {
        const json_t *v = json_array_get(x->last, i);
        stmt_bind(st, i + 1,
                  t->columns[i].type == SQL_TEXT ? sql_text(str_from(json_string_value(v)))
                                                 : sql_int(json_integer_value(v)));
    }
}

static int use_rows(const Export *x, const DumpTable *t, Stmt **ret, Err *err)
{
    CLEANUP_BUF Buf sql = BUF_INIT((size_t)64 << 10);
    (void)buf_addz(&sql, "SELECT ");
    dump_column_list(&sql, t);
    (void)buf_addf(&sql, " FROM %s", t->name);
    if (x->last)
        add_where(&sql, t);
    (void)buf_addz(&sql, " ORDER BY ");
    add_key(&sql, t);
    int rc = buf_check(&sql, err);
    if (rc == 0)
        rc = stmt_use(x->db, buf_str(&sql), ret, err);
    if (rc == 0 && x->last)
        bind_key(x, t, *ret);
    return rc;
}

static int begin_table(Export *x, const DumpTable *t, Err *err)
{
    (void)buf_addf(&x->out, "{\"table\":\"%s\",\"columns\":[", t->name);
    for (unsigned i = 0; i < t->n_columns; i++)
        (void)buf_addf(&x->out, "%s\"%s\"", i ? "," : "", t->columns[i].name);
    (void)buf_addz(&x->out, "]}");
    x->table_rows = 0;
    return end_line(x, err);
}

static int export_table(Export *x, const DumpTable *t, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = x->in_table ? 0 : begin_table(x, t, err);
    if (rc == 0)
        rc = use_rows(x, t, &st, err);
    while (rc >= 0 && (rc = stmt_step(st, err)) > 0)
        rc = write_row(x, t, st, err);
    if (rc < 0)
        return err_wrap(err, "%s", t->name);
    (void)buf_addf(&x->out, "{\"end\":\"%s\",\"rows\":%llu}", t->name, (unsigned long long)x->table_rows);
    json_decref(x->last);
    x->last = NULL;
    x->in_table = false;
    return end_line(x, err);
}

/* ---- what tells two moments of a store apart ---- */

static int read_mark(Db *db, char out[static 64], Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc =
        stmt_use(db, STR("SELECT (SELECT max(version) FROM events), (SELECT max(pos) FROM session_messages)"),
                 &st, err);
    if (rc == 0)
        rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    (void)snprintf(out, 64, "%lld.%lld", (long long)stmt_int(st, 0), (long long)stmt_int(st, 1));
    return 0;
}

static int write_head(Export *x, const char *mark, Err *err)
{
    char id[KSUID_LEN + 1];
    ksuid_new(id, clock_wall(&clock_system));
    (void)buf_addf(&x->out, "{\"ambient_export\":%d,\"id\":\"%s\",\"mark\":\"%s\"}", DUMP_FORMAT, id, mark);
    return end_line(x, err);
}

/* ---- going on with a file ---- */

static int take_control(Export *x, Str line, const char *mark, Err *err)
{
    CLEANUP_JSON json_t *j = NULL;
    int rc = json_parse(line, &j, err);
    if (rc < 0)
        return err_wrap(err, "the file is no export");
    if (json_get_int(j, "ambient_export", 0) &&
        strcmp(json_get_str(j, "mark") ? json_get_str(j, "mark") : "", mark))
        return err_set(err, ERR_PRECONDITION,
                       "the store has changed since that export began: remove the file and export again");
    if (json_get_str(j, "table")) {
        x->in_table = true;
        x->table_rows = 0;
        json_decref(x->last);
        x->last = NULL;
    } else if (json_get_str(j, "end")) {
        x->in_table = false;
        x->first_table++;
    }
    x->complete = json_get_bool(j, "done", false);
    return 0;
}

/* Reads what is there; the last row of the table that was cut off is kept as text until it is known to be it.
 */
static int read_old(Export *x, const char *mark, uint64_t *ret_end, Err *err)
{
    DumpLines l;
    CLEANUP_BUF Buf last = BUF_INIT(DUMP_LINE_MAX);
    Str line;
    int rc;
    dump_lines_init(&l, x->fd);
    while ((rc = dump_lines_next(&l, &line, err)) > 0) {
        bool row = line.len && line.ptr[0] == '[';
        buf_clear(&last);
        (void)buf_adds(&last, line);
        if (row) {
            x->rows++;
            x->table_rows++;
        } else {
            rc = take_control(x, line, mark, err);
        }
        if (rc < 0 || x->complete)
            break;
        sha256_add(x->sha, line.ptr, line.len);
        sha256_add(x->sha, "\n", 1);
    }
    *ret_end = l.offset;
    if (rc == 0 && x->in_table && x->table_rows)
        rc = json_parse(buf_str(&last), &x->last, err);
    dump_lines_done(&l);
    return rc;
}

/* Half a line at the end goes. */
static int resume(Export *x, const char *mark, Err *err)
{
    uint64_t end = 0;
    int rc = read_old(x, mark, &end, err);
    if (rc < 0)
        return rc;
    if (x->complete)
        return 0;
    if (ftruncate(x->fd, (off_t)end) < 0 || lseek(x->fd, (off_t)end, SEEK_SET) < 0)
        return err_set_errno(err, errno, "cannot go on with the file");
    return end ? 0 : write_head(x, mark, err);
}

/* ---- all ---- */

static int write_end(Export *x, Err *err)
{
    uint8_t hash[SHA256_LEN];
    int rc = flush(x, err);
    if (rc < 0)
        return rc;
    sha256_final(x->sha, hash);
    (void)buf_addf(&x->out, "{\"done\":true,\"rows\":%llu,\"sha256\":\"", (unsigned long long)x->rows);
    hex_write(&x->out, hash, sizeof(hash));
    (void)buf_addz(&x->out, "\"}");
    rc = end_line(x, err);
    if (rc == 0)
        rc = flush(x, err);
    /* A pipe cannot be synced, and need not be. */
    if (rc == 0 && fsync(x->fd) < 0 && errno != EINVAL && errno != EROFS)
        return err_set_errno(err, errno, "cannot sync the export");
    return rc;
}

static int export_all(Export *x, bool going_on, Err *err)
{
    char mark[64];
    int rc = read_mark(x->db, mark, err);
    if (rc == 0)
        rc = going_on ? resume(x, mark, err) : write_head(x, mark, err);
    for (size_t i = x->first_table; rc == 0 && !x->complete && i < x->tables.len; i++)
        rc = export_table(x, &x->tables.ptr[i], err);
    return rc < 0 || x->complete ? rc : write_end(x, err);
}

int store_export(const StoreOptions *o, int fd, bool going_on, DumpProgressFn fn, void *arg,
                 uint64_t *ret_rows, Err *err)
{
    Export x = {.fd = fd, .fn = fn, .arg = arg, .out = BUF_INIT(DUMP_LINE_MAX)};
    int rc = db_open_url(o, DB_WRITER, &x.db, err);
    if (rc < 0)
        return rc;
    x.sha = sha256_new();
    dump_tables(&x.tables);
    x.db->be->limit_reads(x.db, 0);
    rc = migrate_check(x.db, err);
    if (rc == 0)
        rc = x.db->be->begin(x.db, false, err);
    if (rc == 0)
        rc = export_all(&x, going_on, err);
    x.db->be->rollback(x.db);
    if (rc == 0)
        *ret_rows = x.rows;
    x.db->be->close(x.db);
    json_decref(x.last);
    sha256_free(x.sha);
    vec_free(&x.tables);
    buf_done(&x.out);
    return rc;
}
