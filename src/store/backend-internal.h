/*
 * What the store asks of a database: connections, cached prepared statements with typed parameters,
 * transactions with one savepoint, and a few words of its dialect. sqlite/ and postgres/ are two such structs
 * of functions.
 *
 * A Db belongs to one thread at a time. SQL text uses the placeholders ?1, ?2 ...; a backend whose own are
 * written otherwise rewrites them once, in use().
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/str.h"
#include "kinds/kind.h"

typedef struct Db Db;
typedef struct Stmt Stmt;
typedef struct Backend Backend;

/* The first member of a backend's own structs. */
struct Db {
    const Backend *be;
};
struct Stmt {
    Db *db;
};

/* Where a database is; the strings are copied. */
typedef struct DbSource {
    const char *location;
    const char *password_file; /* read at each connect; NULL = none */
    const char *self;          /* names this process's writer to the others; NULL = it tells nobody */
} DbSource;

typedef enum DbRole {
    DB_CREATE, /* writer; makes a missing database */
    DB_WRITER,
    DB_READER, /* refuses to change anything */
} DbRole;

typedef enum SqlType { SQL_NULL, SQL_INT, SQL_DOUBLE, SQL_BOOL, SQL_TIME, SQL_TEXT, SQL_BLOB } SqlType;
typedef struct SqlValue {
    SqlType type;
    union {
        int64_t i;
        double d;
        bool b;
        WallUsec t;
        Str s; /* SQL_TEXT, SQL_BLOB; borrowed: for a parameter until stmt_done(), for a column until the next
                  step */
    };
} SqlValue;

typedef struct Dialect {
    const char *types[FT_TIME + 1]; /* of a column, by FieldType */
    const char *key;                /* type of ids */
    const char *serial; /* column definition of a number that the database counts up, primary key */
    const char *count;  /* the same, cheaper: may give the number of a removed newest row again */
    const char *blob;
    bool nulls_last; /* in ascending order, unless the statement says otherwise */
    /* Writes the test "column LIKE parameter" with PostgreSQL's meaning: backslash escapes, and without
       ignore_case letters differ by case. */
    void (*like)(Buf *out, const char *column, unsigned param, bool ignore_case);
    /* Writes the text that the JSON object in `column` holds under the key in `param` (letters, digits and
       -_./ only), NULL when there is none, or no text, or no JSON object. */
    void (*label)(Buf *out, const char *column, unsigned param);
} Dialect;

typedef int (*DbNameFn)(void *arg, Str name);

struct Backend {
    const char *scheme; /* of the URL: "sqlite" */
    const Dialect *dialect;
    /* Other processes may write at the same time; a statement that fails takes its transaction, or its
       savepoint, with it. */
    bool is_shared;
    /* All jobs run on one connection: a database that no second connection could see. */
    bool (*is_private)(const char *location);
    bool (*has_password)(const char *location);
    char *(*shown)(const char *location); /* for people, without what is secret; caller frees */
    int (*open)(const DbSource *src, DbRole role, Db **ret, Err *err);
    Db *(*close)(Db *db);                           /* NULL-safe */
    void (*limit_reads)(Db *db, Usec limit);        /* a transaction that takes longer gives ERR_DEADLINE */
    int (*exec)(Db *db, const char *sql, Err *err); /* several statements, no results */

    int (*begin)(Db *db, bool write, Err *err);
    int (*commit)(Db *db, Err *err); /* after a failure: rollback() */
    void (*rollback)(Db *db);        /* also without a transaction */
    /* False after an error that made the database roll back everything by itself. */
    bool (*in_transaction)(const Db *db);
    int (*savepoint)(Db *db, Err *err);
    int (*release)(Db *db, Err *err);
    void (*rollback_to)(Db *db); /* and release */

    /* A cached statement, free of parameters. Owned by the Db, lent until stmt_done(). */
    int (*use)(Db *db, Str sql, Stmt **ret, Err *err);
    void (*bind)(Stmt *st, unsigned param, SqlValue v);
    int (*step)(Stmt *st, Err *err); /* 1 row, 0 end, < 0 error: ERR_CONFLICT for a unique violation */
    /* Runs a statement without rows that cannot violate a rule. The backend need not wait for it: a failure
       may be told by a later call, and then it is the whole transaction's. */
    int (*run_later)(Stmt *st, Err *err);
    SqlValue (*column)(Stmt *st, unsigned col, SqlType as);
    void (*done)(Stmt *st);
    int64_t (*changes)(const Db *db); /* rows that the last statement changed */
    /* The serial number of the last inserted row. NULL: ask for it with RETURNING. */
    int64_t (*last_serial)(const Db *db);

    int (*columns)(Db *db, const char *table, DbNameFn fn, void *arg,
                   Err *err); /* no call for a missing table */
    int (*tables)(Db *db, DbNameFn fn, void *arg, Err *err);
    /* Behind rows that were inserted with their numbers, in the same transaction: counting goes on behind
     * them. */
    int (*after_import)(Db *db, Err *err);
    /* Before migrations: what the dialect's words need. */
    int (*prepare_schema)(Db *db, Err *err);
    /* Make what another program's migrations left fit our own; NULL where there is no such program. */
    int (*adopt_column)(Db *db, const char *table, const char *column, const char *type, bool is_key,
                        Err *err);
    int (*adopt_table)(Db *db, const char *table, Err *err);
    /* Held to the end of the transaction; nothing to do where transactions are one after the other anyway. */
    int (*lock)(Db *db, const char *name, Err *err);
    int (*check)(Db *db, Err *err); /* ERR_CORRUPT for damaged files */
    /* Housekeeping of the writer's connection between transactions; idle: nobody waits. Returns whether it
       wants to be called again when idle. */
    bool (*maintain)(Db *db, bool idle);
    /* Waits until another process may have committed something, `pause` has passed, or wake_fd can be read.
       NULL when there is no other. After an error: the same again. */
    int (*listen)(Db *db, int wake_fd, Usec pause, bool *ret_news, Err *err);
};

extern const Backend sqlite_backend, postgres_backend;

static inline SqlValue sql_null(void)
{
    return (SqlValue){.type = SQL_NULL};
}
static inline SqlValue sql_int(int64_t i)
{
    return (SqlValue){.type = SQL_INT, .i = i};
}
static inline SqlValue sql_double(double d)
{
    return (SqlValue){.type = SQL_DOUBLE, .d = d};
}
static inline SqlValue sql_bool(bool b)
{
    return (SqlValue){.type = SQL_BOOL, .b = b};
}
static inline SqlValue sql_time(WallUsec t)
{
    return (SqlValue){.type = SQL_TIME, .t = t};
}
static inline SqlValue sql_text(Str s)
{
    return (SqlValue){.type = SQL_TEXT, .s = s};
}
/* Text where empty means NULL. */
static inline SqlValue sql_text_or_null(Str s)
{
    return s.len ? sql_text(s) : sql_null();
}
static inline SqlValue sql_blob(const void *p, size_t len)
{
    return (SqlValue){.type = SQL_BLOB, .s = {p, len}};
}

static inline int stmt_use(Db *db, Str sql, Stmt **ret, Err *err)
{
    return db->be->use(db, sql, ret, err);
}
static inline void stmt_bind(Stmt *st, unsigned param, SqlValue v)
{
    st->db->be->bind(st, param, v);
}
static inline int stmt_step(Stmt *st, Err *err)
{
    return st->db->be->step(st, err);
}
static inline void stmt_donep(Stmt **st)
{
    if (*st)
        (*st)->db->be->done(*st);
}
#define CLEANUP_STMT CLEANUP(stmt_donep)
/* Runs a statement that gives no rows. */
static inline int stmt_run(Stmt *st, Err *err)
{
    int rc;
    while ((rc = stmt_step(st, err)) > 0)
        continue;
    return rc;
}
static inline int stmt_run_later(Stmt *st, Err *err)
{
    return st->db->be->run_later(st, err);
}
static inline bool stmt_is_null(Stmt *st, unsigned col)
{
    return st->db->be->column(st, col, SQL_INT).type == SQL_NULL;
}
static inline int64_t stmt_int(Stmt *st, unsigned col) /* 0 for NULL */
{
    SqlValue v = st->db->be->column(st, col, SQL_INT);
    return v.type == SQL_NULL ? 0 : v.i;
}
static inline Str stmt_text(Stmt *st, unsigned col) /* empty for NULL */
{
    SqlValue v = st->db->be->column(st, col, SQL_TEXT);
    return v.type == SQL_NULL ? STR("") : v.s;
}
static inline Str stmt_blob(Stmt *st, unsigned col)
{
    SqlValue v = st->db->be->column(st, col, SQL_BLOB);
    return v.type == SQL_NULL ? STR_NULL : v.s;
}
static inline WallUsec stmt_time(Stmt *st, unsigned col)
{
    SqlValue v = st->db->be->column(st, col, SQL_TIME);
    return v.type == SQL_NULL ? (WallUsec){0} : v.t;
}
