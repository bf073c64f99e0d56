/*
 * The PostgreSQL backend's own structs. A connection is always in libpq's pipeline mode: what nobody waits
 * for (BEGIN, savepoints, inserts of messages) is queued and goes out with the next statement whose answer is
 * needed, so that a batch costs few round trips.
 * https://www.postgresql.org/docs/15/libpq-pipeline-mode.html
 */
#pragma once

#include <libpq-fe.h>
#include "backend-internal.h"
#include "base/list.h"
#include "base/map.h"
#include "base/vec.h"

typedef struct PgStmt PgStmt;

typedef struct PgDb {
    Db db;     /* first */
    PGconn *h; /* NULL = not connected */
    char *location, *password_file, *self;
    DbRole role;

    Map *stmts; /* SQL text -> PgStmt */
    List lru;   /* of the cached statements, least recently used first */
    size_t n_stmts;
    uint64_t epoch, names; /* connections, and prepared statements, until now */
    VEC_OF(uint64_t)
    unused; /* statements that the server may forget */

    PgStmt *open;       /* whose rows are still coming */
    unsigned unread;    /* queued statements whose results were not read yet */
    size_t unread_size; /* bytes of their parameters */
    bool in_tx, writes; /* a transaction is open; it may change something */
    bool wrote;         /* it did */
    bool dead;          /* it can only be rolled back as a whole */
    bool untouched;     /* no statement of it was answered yet */
    bool listens;       /* to what others commit */
    Err why;            /* it died */
    int64_t changes;

    Usec read_limit, deadline;  /* of reads; when the running one has had its time */
    Usec retry_at, retry_pause; /* after a connect that failed */
} PgDb;

typedef VEC_OF(PGresult *)
ResultVec;

struct PgStmt {
    Stmt stmt; /* first */
    char *key; /* the text that it is asked for by */
    Str sql;   /* the same, borrowed from key */
    char name[24];
    uint64_t number; /* in the name */
    uint64_t epoch;  /* of the connection that knows it; 0 = none */
    ListLink link;
    bool cached, busy, changes_rows;
    VEC_OF(Oid)
    types; /* of the parameters, as the server sees them */
    VEC_OF(SqlValue)
    params;
    /* While it runs: */
    enum { PG_NEW, PG_ROWS, PG_END, PG_FAILED } state;
    bool guarded;   /* in a savepoint of its own, so that it can fail alone */
    PGresult *row;  /* the current one */
    ResultVec kept; /* rows that were read ahead of their step, oldest first */
    size_t n_taken;
    Err err; /* told by the next step */
};

static inline PgDb *pg_of(const Db *db)
{
    return (PgDb *)(uintptr_t)CONTAINER_OF(db, PgDb, db);
}

/* ---- conn.c ---- */

/* ERR_UNAVAILABLE, with libpq's own words. */
bool pg_has_password(const char *location);
char *pg_shown(const char *location);
int pg_connect(PgDb *d, Err *err);
void pg_disconnect(PgDb *d);
/* The same, when there is no connection; not more often than its pauses say, and with words for clients. */
int pg_reconnect(PgDb *d, Err *err);
bool pg_is_lost(const PgDb *d);
/* The error of a result, in the code that fits. A lost connection kills the transaction. */
int pg_error(PgDb *d, const PGresult *r, Err *err);

/* ---- pipeline.c ---- */

/* Queues a statement without parameters or rows. */
int pg_queue(PgDb *d, const char *sql, Err *err);
int pg_queued(PgDb *d, size_t bytes, Err *err); /* notes that something was queued */
/* Reads the results of what was queued; the first failure kills the transaction. */
int pg_read_queued(PgDb *d, Err *err);
/* Sends a point up to which everything is answered. */
int pg_sync(PgDb *d, Err *err);
/* Reads the answer to it. */
int pg_read_sync(PgDb *d, Err *err);
/* Both, with what was queued between them: nothing is under way afterwards. */
int pg_flush(PgDb *d, Err *err);
/* Marks the running transaction as one that can only be rolled back. */
int pg_kill_tx(PgDb *d, const Err *why);

/* ---- db.c ---- */

int pg_begin(Db *db, bool write, Err *err);

/* ---- stmt.c ---- */

int pg_use(Db *db, Str sql, Stmt **ret, Err *err);
void pg_bind(Stmt *st, unsigned param, SqlValue v);
int pg_step(Stmt *st, Err *err);
int pg_run_later(Stmt *st, Err *err);
SqlValue pg_column(Stmt *st, unsigned col, SqlType as);
void pg_done(Stmt *st);
void pg_stmts_free(PgDb *d);
/* Reads what is left of the open statement into its memory. */
void pg_finish_open(PgDb *d);

/* ---- value.c ---- */

/* What libpq wants to know of parameters. */
typedef struct PgParams {
    VEC_OF(const char *)
    values;
    VEC_OF(int)
    lengths;
    VEC_OF(int)
    formats;
    VEC_OF(uint64_t)
    words; /* numbers in network order; values point into it */
    VEC_OF(char *)
    texts; /* owned copies */
    size_t bytes;
} PgParams;
int pg_encode(const PgStmt *s, PgParams *out, Err *err);
void pg_params_done(PgParams *p);
SqlValue pg_decode(const PGresult *r, int row, int col, SqlType as);

/* ---- schema.c ---- */

int pg_columns(Db *db, const char *table, DbNameFn fn, void *arg, Err *err);
int pg_tables(Db *db, DbNameFn fn, void *arg, Err *err);
/* Before the first migration: what the dialect's words need. */
int pg_prepare_schema(Db *db, Err *err);
int pg_adopt_column(Db *db, const char *table, const char *column, const char *type, bool is_key, Err *err);
int pg_adopt_table(Db *db, const char *table, Err *err);
