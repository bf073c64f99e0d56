/*
 * PostgreSQL as a backend. Write transactions of all processes on a database take turns: each holds an
 * advisory lock from its BEGIN to the end of its COMMIT. So what one job reads nobody changes before it
 * writes, numbers become visible in the order in which they were given, and there is nothing to deadlock
 * with. docs/decisions/0012-postgresql.md
 */
#include "pg-internal.h"

#include <poll.h>
#include "base/log.h"
#include "base/mem.h"
#include "kinds/kind.h"

/* Of pg_advisory_xact_lock(int, int): "ambi", and what is locked. */
#define LOCK_SPACE 1634558569
#define LOCK_WRITER 1

#define CHANNEL "ambient_commits"

static Usec now(void)
{
    return clock_now(&clock_system);
}

/* ---- transactions ---- */

/* To the end: what stands before a BEGIN, with no sync between, counts as part of its transaction. */
static int forget_unused(PgDb *d, Err *err)
{
    int rc = 0;
    if (!d->unused.len)
        return 0;
    while (rc == 0 && d->unused.len) {
        char sql[64];
        (void)snprintf(sql, sizeof(sql), "DEALLOCATE s%llu", (unsigned long long)vec_pop(&d->unused));
        rc = pg_queue(d, sql, err);
    }
    return rc < 0 ? rc : pg_flush(d, err);
}

static int begin_write(PgDb *d, Err *err)
{
    char lock[80];
    (void)snprintf(lock, sizeof(lock), "SELECT pg_advisory_xact_lock(%d, %d)", LOCK_SPACE, LOCK_WRITER);
    int rc = pg_queue(d, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", err);
    if (rc == 0)
        rc = pg_queue(d, lock, err);
    return rc < 0 ? rc : pg_flush(d, err);
}

/* One snapshot for all statements of a read, taken by the first; it goes out together with that one. */
static int begin_once(PgDb *d, bool write, Err *err)
{
    d->dead = d->wrote = d->in_tx = false;
    int rc = pg_reconnect(d, err);
    if (rc == 0)
        rc = forget_unused(d, err);
    if (rc < 0)
        return rc;
    d->writes = write;
    d->in_tx = d->untouched = true;
    return write ? begin_write(d, err) : pg_queue(d, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
}

/* A connection that was idle when the server was restarted is found broken here, and made again. */
int pg_begin(Db *db, bool write, Err *err)
{
    PgDb *d = pg_of(db);
    d->deadline = usec_add(now(), d->read_limit ? d->read_limit : USEC_NEVER);
    bool had = !pg_is_lost(d);
    int rc = begin_once(d, write, err);
    return rc < 0 && had && pg_is_lost(d) ? begin_once(d, write, err) : rc;
}

/* The answer to COMMIT: of a transaction that had failed it is ROLLBACK. */
static int read_commit(PgDb *d, Err *err)
{
    int rc = pg_read_queued(d, err);
    PGresult *r = PQgetResult(d->h);
    if (rc == 0 && PQresultStatus(r) != PGRES_COMMAND_OK)
        rc = pg_error(d, r, err);
    else if (rc == 0 && strcmp(PQcmdStatus(r), "COMMIT") != 0)
        rc = err_set(err, ERR_INTERNAL, "store: the database rolled the transaction back");
    while (r) {
        PQclear(r);
        r = PQgetResult(d->h);
    }
    int end = pg_read_sync(d, rc < 0 ? NULL : err);
    return rc < 0 ? rc : end;
}

/* Other processes hear of it in the moment of the commit. */
static int queue_note(PgDb *d, Err *err)
{
    char sql[128];
    if (!d->wrote || !d->self)
        return 0;
    (void)snprintf(sql, sizeof(sql), "NOTIFY " CHANNEL ", '%s'", d->self);
    return pg_queue(d, sql, err);
}

static int db_commit(Db *db, Err *err)
{
    PgDb *d = pg_of(db);
    int rc = queue_note(d, err);
    if (rc < 0)
        return rc;
    pg_finish_open(d);
    /* Behind what is queued: where that fails, the server skips the commit. */
    if (!PQsendQueryParams(d->h, "COMMIT", 0, NULL, NULL, NULL, NULL, 1))
        return pg_error(d, NULL, err);
    rc = pg_sync(d, err);
    if (rc == 0)
        rc = read_commit(d, err);
    if (rc == 0)
        d->in_tx = false;
    return rc;
}

static bool db_in_transaction(const Db *db)
{
    const PgDb *d = CONTAINER_OF(db, PgDb, db);
    return d->in_tx && !d->dead;
}

static void db_rollback(Db *db)
{
    PgDb *d = pg_of(db);
    if (!d->h || !d->in_tx) {
        d->dead = false;
        return;
    }
    pg_finish_open(d);
    d->dead = false;
    if (PQstatus(d->h) == CONNECTION_OK && pg_queue(d, "ROLLBACK", NULL) == 0)
        (void)pg_flush(d, NULL);
    if (d->dead || PQstatus(d->h) != CONNECTION_OK)
        pg_disconnect(d); /* the server rolls back what nobody holds */
    d->in_tx = d->dead = false;
}

static int db_savepoint(Db *db, Err *err)
{
    return pg_queue(pg_of(db), "SAVEPOINT job", err);
}

static int db_release(Db *db, Err *err)
{
    return pg_queue(pg_of(db), "RELEASE SAVEPOINT job", err);
}

static void db_rollback_to(Db *db)
{
    PgDb *d = pg_of(db);
    if (!db_in_transaction(db))
        return;
    if (pg_queue(d, "ROLLBACK TO SAVEPOINT job", NULL) == 0)
        (void)pg_queue(d, "RELEASE SAVEPOINT job", NULL);
}

static int64_t db_changes(const Db *db)
{
    return CONTAINER_OF(db, PgDb, db)->changes;
}

/* For whom migrates: also which row stands in the way. */
static int exec_error(PgDb *d, const PGresult *r, Err *err)
{
    const char *detail = r ? PQresultErrorField(r, PG_DIAG_MESSAGE_DETAIL) : NULL;
    Err why = {0};
    (void)pg_error(d, r, &why);
    return err_set(err, why.code, "%s%s%s", why.msg, detail ? ": " : "", detail ? detail : "");
}

/* Several statements at once are no part of the pipeline's protocol. */
static int db_exec(Db *db, const char *sql, Err *err)
{
    PgDb *d = pg_of(db);
    pg_finish_open(d);
    int rc = pg_flush(d, err);
    if (rc < 0)
        return rc;
    if (!PQexitPipelineMode(d->h))
        return pg_error(d, NULL, err);
    PGresult *r = PQexec(d->h, sql);
    ExecStatusType status = PQresultStatus(r);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY)
        rc = exec_error(d, r, err);
    PQclear(r);
    if (PQstatus(d->h) == CONNECTION_OK && !PQenterPipelineMode(d->h) && rc == 0)
        rc = pg_error(d, NULL, err);
    return rc;
}

/* ---- what others commit ---- */

/* Takes the notifications that are here; true when one of them is another's. */
static bool take_notes(PgDb *d)
{
    bool news = false;
    PGnotify *n;
    while ((n = PQnotifies(d->h))) {
        news = news || !d->self || strcmp(n->extra, d->self) != 0;
        PQfreemem(n);
    }
    return news;
}

static int start_listening(PgDb *d, Err *err)
{
    int rc = pg_reconnect(d, err);
    if (rc == 0)
        rc = pg_queue(d, "LISTEN " CHANNEL, err);
    return rc < 0 ? rc : pg_flush(d, err);
}

static int consume(PgDb *d, Err *err)
{
    return PQconsumeInput(d->h) ? 0 : pg_error(d, NULL, err);
}

static int db_listen(Db *db, int wake_fd, Usec pause, bool *ret_news, Err *err)
{
    PgDb *d = pg_of(db);
    bool fresh = !d->listens;
    int rc = fresh ? start_listening(d, err) : 0;
    d->listens = rc == 0;
    *ret_news = rc == 0 && fresh; /* something may have happened before */
    *ret_news = *ret_news || (d->listens && take_notes(d));
    if (*ret_news)
        return 0;
    struct pollfd fds[2] = {{.fd = wake_fd, .events = POLLIN},
                            {.fd = d->listens ? PQsocket(d->h) : -1, .events = POLLIN}};
    (void)poll(fds, 2, (int)(pause / USEC_PER_MSEC));
    if (d->listens)
        rc = consume(d, err);
    d->listens = rc == 0;
    if (rc == 0)
        *ret_news = take_notes(d);
    return rc;
}

/* ---- life ---- */

static void db_limit_reads(Db *db, Usec limit)
{
    PgDb *d = pg_of(db);
    char sql[128];
    d->read_limit = limit;
    (void)snprintf(sql, sizeof(sql), "SET statement_timeout = %llu%s",
                   (unsigned long long)(limit / USEC_PER_MSEC),
                   limit ? "" : "; SET idle_in_transaction_session_timeout = 0");
    (void)db_exec(db, sql, NULL);
}

static bool is_private(const char *location)
{
    return false;
}

static Db *db_close(Db *db)
{
    if (!db)
        return NULL;
    PgDb *d = pg_of(db);
    pg_disconnect(d);
    pg_stmts_free(d);
    vec_free(&d->unused);
    free(d->location);
    free(d->password_file);
    free(d->self);
    free(d);
    return NULL;
}

static char *dup_or_null(const char *s)
{
    return s ? xstrdup(s) : NULL;
}

static int db_open(const DbSource *src, DbRole role, Db **ret, Err *err)
{
    PgDb *d = xnew(PgDb);
    d->db.be = &postgres_backend;
    d->role = role;
    d->location = xstrdup(src->location);
    d->password_file = dup_or_null(src->password_file);
    d->self = dup_or_null(src->self);
    d->stmts = map_new();
    list_init(&d->lru);
    int rc = pg_connect(d, err);
    if (rc < 0) {
        db_close(&d->db);
        return rc;
    }
    *ret = &d->db;
    return 0;
}

/* The server's own checksums and tools look after its files. */
static int db_check(Db *db, Err *err)
{
    return 0;
}

static bool db_maintain(Db *db, bool idle)
{
    return false;
}

/* Rows brought their numbers along: the sequences go on behind them. */
static int db_after_import(Db *db, Err *err)
{
    return db_exec(
        db,
        "SELECT setval(pg_get_serial_sequence('events', 'version'), (SELECT max(version) FROM events)),"
        " setval(pg_get_serial_sequence('session_messages', 'pos'),"
        " (SELECT max(pos) FROM session_messages));",
        err);
}

static int db_lock(Db *db, const char *name, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = pg_use(db, STR("SELECT pg_advisory_xact_lock(hashtextextended(?1, 1634558569))"), &st, err);
    if (rc < 0)
        return rc;
    pg_bind(st, 1, sql_text(str_from(name)));
    return stmt_run(st, err);
}

/* Text compares by bytes, as in SQLite; the dialect's LIKE is PostgreSQL's own. */
static void like(Buf *out, const char *column, unsigned param, bool ignore_case)
{
    if (ignore_case)
        (void)buf_addf(out, "%s COLLATE ambient_fold ILIKE ?%u", column, param);
    else
        (void)buf_addf(out, "%s LIKE ?%u", column, param);
}

static void label(Buf *out, const char *column, unsigned param)
{
    (void)buf_addf(out, "ambient_label(%s, ?%u)", column, param);
}

#define TEXT_TYPE "text COLLATE \"C\""

static const Dialect dialect = {
    .types =
        {
            [FT_STRING] = TEXT_TYPE,
            [FT_JSON_TEXT] = TEXT_TYPE,
            [FT_INT32] = "integer",
            [FT_INT64] = "bigint",
            [FT_DOUBLE] = "double precision",
            [FT_BOOL] = "boolean",
            [FT_TIME] = "timestamp with time zone",
        },
    .key = TEXT_TYPE,
    .serial = "bigserial PRIMARY KEY",
    .count = "bigserial PRIMARY KEY",
    .blob = "bytea",
    .nulls_last = true,
    .like = like,
    .label = label,
};

const Backend postgres_backend = {
    .scheme = "postgres",
    .dialect = &dialect,
    .is_shared = true,
    .is_private = is_private,
    .has_password = pg_has_password,
    .shown = pg_shown,
    .open = db_open,
    .close = db_close,
    .exec = db_exec,
    .limit_reads = db_limit_reads,
    .begin = pg_begin,
    .commit = db_commit,
    .rollback = db_rollback,
    .in_transaction = db_in_transaction,
    .savepoint = db_savepoint,
    .release = db_release,
    .rollback_to = db_rollback_to,
    .use = pg_use,
    .bind = pg_bind,
    .step = pg_step,
    .run_later = pg_run_later,
    .column = pg_column,
    .done = pg_done,
    .changes = db_changes,
    .columns = pg_columns,
    .tables = pg_tables,
    .prepare_schema = pg_prepare_schema,
    .adopt_column = pg_adopt_column,
    .adopt_table = pg_adopt_table,
    .after_import = db_after_import,
    .lock = db_lock,
    .check = db_check,
    .maintain = db_maintain,
    .listen = db_listen,
};
