/* Prepared statements: cached per connection by their text, the least recently used ones are dropped. */
#include "db-internal.h"

#include "base/mem.h"

#define STMTS_MAX 128

static SqliteDb *db_of(Stmt *st)
{
    return CONTAINER_OF(st->db, SqliteDb, db);
}

static void stmt_free(SqliteStmt *s)
{
    sqlite3_finalize(s->h);
    free(s);
}

static void forget_oldest(SqliteDb *d)
{
    LIST_FOREACH_SAFE (&d->lru, it) {
        SqliteStmt *s = LIST_ENTRY(it, SqliteStmt, link);
        if (s->busy)
            continue;
        for (size_t i = 0; i < ARRAY_LEN(d->recent); i++) {
            if (d->recent[i] == s)
                d->recent[i] = NULL;
        }
        map_remove(d->stmts, (Str){s->sql, s->sql_len});
        list_remove(it);
        d->n_stmts--;
        stmt_free(s);
        return;
    }
}

static int prepare(SqliteDb *d, Str sql, bool keep, SqliteStmt **ret, Err *err)
{
    sqlite3_stmt *h = NULL;
    unsigned flags = keep ? SQLITE_PREPARE_PERSISTENT : 0;
    if (sqlite3_prepare_v3(d->h, sql.ptr, (int)sql.len, flags, &h, NULL) != SQLITE_OK) {
        return sqlite_error(d->h, err);
    }
    SqliteStmt *s = xnew(SqliteStmt);
    s->stmt.db = &d->db;
    s->h = h;
    s->sql = sqlite3_sql(h);
    s->sql_len = sql.len;
    s->cached = keep;
    list_init(&s->link);
    *ret = s;
    return 0;
}

static SqliteStmt **recent_slot(SqliteDb *d, Str sql)
{
    uintptr_t at = (uintptr_t)sql.ptr;
    return &d->recent[(at ^ at >> 6 ^ at >> 12) % ARRAY_LEN(d->recent)];
}

static SqliteStmt *find(SqliteDb *d, Str sql)
{
    SqliteStmt **slot = recent_slot(d, sql);
    SqliteStmt *s = *slot;
    if (!s || s->sql_len != sql.len || memcmp(s->sql, sql.ptr, sql.len) != 0)
        s = *slot = map_get(d->stmts, sql);
    return s;
}

static int prepare_cached(SqliteDb *d, Str sql, SqliteStmt **ret, Err *err)
{
    int rc = prepare(d, sql, true, ret, err);
    if (rc < 0)
        return rc;
    if (d->n_stmts++ == STMTS_MAX)
        forget_oldest(d);
    map_put(d->stmts, sql, *ret);
    list_push_back(&d->lru, &(*ret)->link);
    return 0;
}

int sqlite_use(Db *db, Str sql, Stmt **ret, Err *err)
{
    SqliteDb *d = CONTAINER_OF(db, SqliteDb, db);
    SqliteStmt *s = find(d, sql);
    int rc = 0;
    if (!s)
        rc = prepare_cached(d, sql, &s, err);
    else if (s->busy) /* further up the stack: it cannot be shared */
        rc = prepare(d, sql, false, &s, err);
    else {
        list_remove(&s->link);
        list_push_back(&d->lru, &s->link);
    }
    if (rc < 0)
        return rc;
    s->busy = true;
    *ret = &s->stmt;
    return 0;
}

/* The bytes are borrowed until sqlite_done(), so nothing is copied. Empty views may have no pointer, which
 * would mean NULL. */
static int bind_bytes(sqlite3_stmt *h, int i, SqlValue v)
{
    const char *p = v.s.ptr ? v.s.ptr : "";
    if (v.type == SQL_TEXT)
        return sqlite3_bind_text64(h, i, p, v.s.len, SQLITE_STATIC, SQLITE_UTF8);
    return sqlite3_bind_blob64(h, i, p, v.s.len, SQLITE_STATIC);
}

static int bind_value(sqlite3_stmt *h, int i, SqlValue v)
{
    switch (v.type) {
    case SQL_NULL:
        return sqlite3_bind_null(h, i);
    case SQL_INT:
        return sqlite3_bind_int64(h, i, v.i);
    case SQL_DOUBLE:
        return sqlite3_bind_double(h, i, v.d);
    case SQL_BOOL:
        return sqlite3_bind_int(h, i, v.b);
    case SQL_TIME:
        return sqlite3_bind_int64(h, i, v.t.us);
    case SQL_TEXT:
    case SQL_BLOB:
        return bind_bytes(h, i, v);
    }
    return SQLITE_MISUSE;
}

/* A failure (too many bytes) is told by the next step: binding code stays a plain list. */
void sqlite_bind(Stmt *st, unsigned param, SqlValue v)
{
    SqliteStmt *s = CONTAINER_OF(st, SqliteStmt, stmt);
    int rc = bind_value(s->h, (int)param, v);
    if (rc != SQLITE_OK)
        s->bind_error = rc;
}

int sqlite_step(Stmt *st, Err *err)
{
    SqliteStmt *s = CONTAINER_OF(st, SqliteStmt, stmt);
    if (s->bind_error)
        return err_set(err, s->bind_error == SQLITE_TOOBIG ? ERR_TOO_LARGE : ERR_INTERNAL,
                       "store: parameter: %s", sqlite3_errstr(s->bind_error));
    switch (sqlite3_step(s->h)) {
    case SQLITE_ROW:
        return 1;
    case SQLITE_DONE:
        return 0;
    default:
        return sqlite_error(db_of(st)->h, err);
    }
}

int sqlite_run_later(Stmt *st, Err *err)
{
    return stmt_run(st, err);
}

SqlValue sqlite_column(Stmt *st, unsigned col, SqlType as)
{
    sqlite3_stmt *h = CONTAINER_OF(st, SqliteStmt, stmt)->h;
    int i = (int)col;
    if (sqlite3_column_type(h, i) == SQLITE_NULL)
        return sql_null();
    switch (as) {
    case SQL_INT:
        return sql_int(sqlite3_column_int64(h, i));
    case SQL_DOUBLE:
        return sql_double(sqlite3_column_double(h, i));
    case SQL_BOOL:
        return sql_bool(sqlite3_column_int64(h, i) != 0);
    case SQL_TIME:
        return sql_time((WallUsec){sqlite3_column_int64(h, i)});
    case SQL_TEXT: {
        const char *p = (const char *)sqlite3_column_text(h, i);
        return sql_text((Str){p ? p : "", p ? (size_t)sqlite3_column_bytes(h, i) : 0});
    }
    case SQL_BLOB: {
        const void *p = sqlite3_column_blob(h, i);
        return sql_blob(p, p ? (size_t)sqlite3_column_bytes(h, i) : 0);
    }
    case SQL_NULL:
        break;
    }
    return sql_null();
}

void sqlite_done(Stmt *st)
{
    SqliteStmt *s = CONTAINER_OF(st, SqliteStmt, stmt);
    if (!s->cached) {
        stmt_free(s);
        return;
    }
    sqlite3_reset(s->h);
    sqlite3_clear_bindings(s->h);
    s->bind_error = 0;
    s->busy = false;
}

void sqlite_stmts_free(SqliteDb *d)
{
    ListLink *it;
    while ((it = list_pop_front(&d->lru)))
        stmt_free(LIST_ENTRY(it, SqliteStmt, link));
    d->stmts = map_free(d->stmts);
}
