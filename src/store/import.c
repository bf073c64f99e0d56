/* Reading an export into an empty store. docs/internals/export.md */
#include "dump-internal.h"

#include "base/file.h"
#include "json/json.h"

#define GROUP_ROWS 500
#define GROUP_BYTES ((size_t)4 << 20)

typedef struct Import {
    Db *db;
    DumpLines lines;
    Sha256 *sha; /* of the lines before the last */
    DumpTables tables;
    DumpTable *table; /* whose rows come */
    char *insert;     /* its statement */
    char *id;         /* of the export */
    uint64_t line;    /* lines until now */
    uint64_t stored;  /* lines that are in the database already */
    uint64_t rows, table_rows;
    unsigned group_rows;
    size_t group_bytes;
    bool in_group, done;
    DumpProgressFn fn;
    void *arg;
} Import;

/* ---- how far it came ---- */

int import_check(Db *db, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(db, STR("SELECT id FROM imports WHERE done = 0"), &st, err);
    if (rc == 0)
        rc = stmt_step(st, err);
    if (rc <= 0)
        return rc;
    return err_set(err, ERR_PRECONDITION,
                   "an import into this database was cut off: run `ambient-api-server import` with the same "
                   "file again");
}

/* 1 and how many lines are stored, when this export was begun before. */
static int read_state(Import *x, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(x->db, STR("SELECT line_count, done FROM imports WHERE id = ?1"), &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(str_from(x->id)));
    rc = stmt_step(st, err);
    if (rc <= 0)
        return rc;
    x->stored = (uint64_t)stmt_int(st, 0);
    if (stmt_int(st, 1))
        return err_set(err, ERR_PRECONDITION, "this export is in the database already");
    return 1;
}

static int write_state(Import *x, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(x->db,
                      STR("INSERT INTO imports (id, line_count, done) VALUES (?1, ?2, ?3) ON CONFLICT (id)"
                          " DO UPDATE SET line_count = excluded.line_count, done = excluded.done"),
                      &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(str_from(x->id)));
    stmt_bind(st, 2, sql_int((int64_t)x->line));
    stmt_bind(st, 3, sql_int(x->done));
    return stmt_run(st, err);
}

/* ---- groups of rows in one transaction ---- */

static int begin_group(Import *x, Err *err)
{
    if (x->in_group)
        return 0;
    int rc = x->db->be->begin(x->db, true, err);
    x->in_group = rc == 0;
    x->group_rows = 0;
    x->group_bytes = 0;
    return rc;
}

static int end_group(Import *x, Err *err)
{
    if (!x->in_group)
        return 0;
    int rc = write_state(x, err);
    if (rc == 0)
        rc = x->db->be->commit(x->db, err);
    x->in_group = rc < 0;
    return rc;
}

/* ---- an empty store ---- */

/* The migrations and the first start fill some tables by themselves; these say that somebody worked here. */
static int refuse_filled(Db *db, Err *err)
{
    static const char *const tables[] = {"projects", "sessions",         "agents",     "users",
                                         "events",   "session_messages", "credentials"};
    int rc = import_check(db, err);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(tables); i++) {
        CLEANUP_FREE char *sql = xasprintf("SELECT 1 FROM %s LIMIT 1", tables[i]);
        CLEANUP_STMT Stmt *st = NULL;
        rc = stmt_use(db, str_from(sql), &st, err);
        if (rc == 0)
            rc = stmt_step(st, err);
        if (rc > 0)
            return err_set(err, ERR_PRECONDITION, "the database is not empty (%s): import into a new one",
                           tables[i]);
    }
    return rc;
}

static int empty_tables(Import *x, Err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < x->tables.len; i++) {
        CLEANUP_FREE char *sql = xasprintf("DELETE FROM %s", x->tables.ptr[i].name);
        rc = x->db->be->exec(x->db, sql, err);
    }
    return rc;
}

static int first_group(Import *x, Err *err)
{
    int rc = refuse_filled(x->db, err);
    if (rc == 0)
        rc = begin_group(x, err);
    if (rc == 0)
        rc = empty_tables(x, err);
    return rc < 0 ? rc : end_group(x, err);
}

/* ---- lines that are no rows ---- */

static int take_head(Import *x, const json_t *j, Err *err)
{
    const char *id = json_get_str(j, "id");
    if (json_get_int(j, "ambient_export", 0) != DUMP_FORMAT || !id)
        return err_set(err, ERR_INVALID, "the file is no export, or one of a newer version");
    x->id = xstrdup(id);
    int rc = read_state(x, err);
    return rc != 0 ? (rc < 0 ? rc : 0) : first_group(x, err);
}

/* Columns as the file has them: an older program may have had fewer. */
static int use_columns(Import *x, const json_t *columns, Err *err)
{
    DumpTable t = {.name = x->table->name};
    for (size_t i = 0; i < json_array_size(columns); i++) {
        const char *name = json_string_value(json_array_get(columns, i));
        unsigned c = 0;
        while (c < x->table->n_columns && (!name || strcmp(x->table->columns[c].name, name) != 0))
            c++;
        if (c == x->table->n_columns || t.n_columns == DUMP_COLUMNS_MAX)
            return err_set(err, ERR_PRECONDITION, "%s.%s is unknown here: the export is of a newer version",
                           t.name, name ? name : "?");
        t.columns[t.n_columns++] = x->table->columns[c];
    }
    *x->table = t;
    return 0;
}

static char *insert_text(const DumpTable *t)
{
    CLEANUP_BUF Buf b = BUF_INIT((size_t)64 << 10);
    (void)buf_addf(&b, "INSERT INTO %s (", t->name);
    dump_column_list(&b, t);
    (void)buf_addz(&b, ") VALUES (");
    for (unsigned i = 0; i < t->n_columns; i++)
        (void)buf_addf(&b, "%s?%u", i ? ", " : "", i + 1);
    (void)buf_addc(&b, ')');
    return buf_take(&b);
}

static int begin_table(Import *x, Str name, const json_t *columns, Err *err)
{
    x->table = dump_table(&x->tables, name);
    if (!x->table)
        return err_set(err, ERR_PRECONDITION,
                       "table " STR_FMT " is unknown here: the export is of a newer version", STR_ARG(name));
    int rc = use_columns(x, columns, err);
    if (rc < 0)
        return rc;
    free(x->insert);
    x->insert = insert_text(x->table);
    x->table_rows = 0;
    return 0;
}

static int end_table(Import *x, int64_t rows, Err *err)
{
    if (!x->table || (uint64_t)rows != x->table_rows)
        return err_set(err, ERR_CORRUPT, "line %llu: rows are missing", (unsigned long long)x->line);
    x->table = NULL;
    return 0;
}

/* Everything before this line is as it was written. */
static int take_end(Import *x, const json_t *j, Err *err)
{
    uint8_t hash[SHA256_LEN];
    CLEANUP_BUF Buf hex = BUF_INIT(128);
    const char *want = json_get_str(j, "sha256");
    sha256_final(x->sha, hash);
    hex_write(&hex, hash, sizeof(hash));
    if (!want || !str_eqz(buf_str(&hex), want) || (uint64_t)json_get_int(j, "rows", -1) != x->rows)
        return err_set(err, ERR_CORRUPT, "the file is damaged: its sum does not fit");
    x->done = true;
    int rc = begin_group(x, err);
    if (rc == 0)
        rc = x->db->be->after_import(x->db, err);
    return rc < 0 ? rc : end_group(x, err);
}

static int take_control(Import *x, Str line, Err *err)
{
    CLEANUP_JSON json_t *j = NULL;
    int rc = json_parse(line, &j, err);
    if (rc < 0)
        return rc;
    if (!x->id)
        return take_head(x, j, err);
    if (json_get_str(j, "table"))
        return begin_table(x, json_get_strv(j, "table"), json_get_arr(j, "columns"), err);
    if (json_get_str(j, "end"))
        return end_table(x, json_get_int(j, "rows", -1), err);
    if (json_get_bool(j, "done", false))
        return take_end(x, j, err);
    return err_set(err, ERR_INVALID, "the file is no export");
}

/* ---- rows ---- */

static bool value_of(const json_t *v, SqlType type, Buf *blob, SqlValue *ret)
{
    *ret = sql_null();
    if (json_is_null(v))
        return true;
    switch (type) {
    case SQL_INT:
        *ret = sql_int(json_integer_value(v));
        return json_is_integer(v);
    case SQL_TIME:
        *ret = sql_time((WallUsec){json_integer_value(v)});
        return json_is_integer(v);
    case SQL_DOUBLE:
        *ret = sql_double(json_number_value(v));
        return json_is_number(v);
    case SQL_BOOL:
        *ret = sql_bool(json_is_true(v));
        return json_is_boolean(v);
    case SQL_TEXT:
        *ret = sql_text((Str){json_string_value(v), json_string_length(v)});
        return json_is_string(v);
    case SQL_BLOB:
        if (!json_is_string(v) || base64_read((Str){json_string_value(v), json_string_length(v)}, blob) < 0)
            return false;
        *ret = sql_blob(blob->data, blob->len); /* a table has one such column at most */
        return true;
    case SQL_NULL:
        break;
    }
    return false;
}

static int insert_row(Import *x, const json_t *row, Err *err)
{
    CLEANUP_BUF Buf blob = BUF_INIT((size_t)1 << 20);
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(x->db, str_from(x->insert), &st, err);
    if (rc < 0)
        return rc;
    for (unsigned i = 0; i < x->table->n_columns; i++) {
        SqlValue v;
        if (!value_of(json_array_get(row, i), x->table->columns[i].type, &blob, &v))
            return err_set(err, ERR_INVALID, "%s.%s has another type", x->table->name,
                           x->table->columns[i].name);
        stmt_bind(st, i + 1, v);
    }
    return stmt_run_later(st, err);
}

static int store_row(Import *x, Str line, Err *err)
{
    CLEANUP_JSON json_t *row = NULL;
    int rc = json_parse(line, &row, err);
    if (rc == 0 && json_array_size(row) != x->table->n_columns)
        rc = err_set(err, ERR_INVALID, "the row has another number of columns");
    if (rc == 0)
        rc = begin_group(x, err);
    if (rc == 0)
        rc = insert_row(x, row, err);
    x->group_rows++;
    x->group_bytes += line.len;
    if (rc < 0 || (x->group_rows < GROUP_ROWS && x->group_bytes < GROUP_BYTES))
        return rc;
    return end_group(x, err);
}

static int take_row(Import *x, Str line, Err *err)
{
    if (!x->table)
        return err_set(err, ERR_INVALID, "a row of no table");
    x->table_rows++;
    if (++x->rows % DUMP_PROGRESS_ROWS == 0 && x->fn)
        x->fn(x->arg, &(DumpProgress){x->table->name, x->rows});
    return x->line <= x->stored ? 0 : store_row(x, line, err);
}

/* ---- all ---- */

static int import_lines(Import *x, Err *err)
{
    Str line;
    int rc = 0;
    while (!x->done && (rc = dump_lines_next(&x->lines, &line, err)) > 0) {
        x->line++;
        bool row = line.len && line.ptr[0] == '[';
        rc = row ? take_row(x, line, err) : take_control(x, line, err);
        if (rc < 0)
            return err_wrap(err, "line %llu", (unsigned long long)x->line);
        sha256_add(x->sha, line.ptr, line.len);
        sha256_add(x->sha, "\n", 1);
    }
    if (x->done)
        return 0;
    if (rc == 0)
        rc = end_group(x, err);
    if (rc < 0)
        return rc;
    return err_set(err, ERR_INVALID,
                   "the file ends before its last line: go on with the export, then import it again");
}

int store_import(const StoreOptions *o, int fd, DumpProgressFn fn, void *arg, uint64_t *ret_rows, Err *err)
{
    Import x = {.fn = fn, .arg = arg};
    int rc = db_open_url(o, DB_CREATE, &x.db, err);
    if (rc < 0)
        return rc;
    x.sha = sha256_new();
    dump_tables(&x.tables);
    dump_lines_init(&x.lines, fd);
    rc = migrate_run(x.db, NULL, NULL, err);
    if (rc == 0)
        rc = import_lines(&x, err);
    x.db->be->rollback(x.db);
    if (rc == 0)
        *ret_rows = x.rows;
    x.db->be->close(x.db);
    dump_lines_done(&x.lines);
    vec_free(&x.tables);
    sha256_free(x.sha);
    free(x.insert);
    free(x.id);
    return rc;
}
