/* The SQLite backend's own structs. */
#pragma once

#include <sqlite3.h>
#include "backend-internal.h"
#include "base/list.h"
#include "base/map.h"

typedef struct SqliteDb {
    Db db; /* first */
    sqlite3 *h;
    Map *stmts; /* SQL text -> SqliteStmt */
    /* The same statements again, found by where their text lies in memory: most texts are constants. Looked
       up first, and compared, since a text of another call may have lain at the same place. */
    struct SqliteStmt *recent[64];
    List lru; /* of the cached statements, least recently used first */
    size_t n_stmts;
    Usec read_limit, deadline; /* of reads; when the running one has had its time */
    int wal_frames;            /* in the write-ahead log after the last commit */
} SqliteDb;

typedef struct SqliteStmt {
    Stmt stmt; /* first */
    sqlite3_stmt *h;
    const char *sql; /* the handle's own copy */
    size_t sql_len;
    ListLink link;
    bool cached, busy;
    int bind_error;
} SqliteStmt;

/* db.c */
/* The error of the last call on this connection, in the code that fits. */
int sqlite_error(sqlite3 *h, Err *err);
/* A read that has had its time. */
bool sqlite_is_late(const SqliteDb *d);

/* stmt.c */
int sqlite_use(Db *db, Str sql, Stmt **ret, Err *err);
void sqlite_bind(Stmt *st, unsigned param, SqlValue v);
int sqlite_step(Stmt *st, Err *err);
int sqlite_run_later(Stmt *st, Err *err);
SqlValue sqlite_column(Stmt *st, unsigned col, SqlType as);
void sqlite_done(Stmt *st);
void sqlite_stmts_free(SqliteDb *d);

/* like.c */
int sqlite_like_register(SqliteDb *d);
void sqlite_like_write(Buf *out, const char *column, unsigned param, bool ignore_case);
