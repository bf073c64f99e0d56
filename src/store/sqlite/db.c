/*
 * SQLite as a backend. The database is in WAL mode with synchronous=FULL: a commit returns when its frames
 * are on stable storage. Readers have connections of their own and never wait for the writer.
 * https://www.sqlite.org/wal.html
 */
#include "db-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

#define BUSY_TIMEOUT_MS 5000
#define CHECKPOINT_BUSY_MS 100
/* Frames (pages of 4 KiB) in the log after which a commit copies them into the database, and after which it
 * waits for readers so that the log starts again from its beginning. */
#define CHECKPOINT_FRAMES 2000
#define CHECKPOINT_FRAMES_HARD 16384
#define PROGRESS_STEPS 1000 /* of SQLite's machine, between two looks at the clock */

static const char PRAGMAS[] = "PRAGMA synchronous=FULL;"
                              "PRAGMA foreign_keys=ON;"
                              "PRAGMA temp_store=MEMORY;"
                              "PRAGMA trusted_schema=OFF;"
                              "PRAGMA wal_autocheckpoint=0;"
                              "PRAGMA journal_size_limit=16777216;";

static SqliteDb *of(Db *db)
{
    return CONTAINER_OF(db, SqliteDb, db);
}

/* Why a write failed: the log's own file knows it, errno is another call's by now. */
static int write_errno(sqlite3 *h)
{
    sqlite3_file *log = NULL;
    int errnum = 0;
    (void)sqlite3_file_control(h, "main", SQLITE_FCNTL_JOURNAL_POINTER, (void *)&log);
    if (log && log->pMethods)
        (void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &errnum);
    return errnum;
}

static ErrCode error_code(sqlite3 *h)
{
    int errnum = sqlite3_extended_errcode(h) == SQLITE_IOERR_WRITE ? write_errno(h) : sqlite3_system_errno(h);
    switch (sqlite3_extended_errcode(h)) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
        return ERR_CONFLICT;
    default:
        break;
    }
    switch (sqlite3_errcode(h) & 0xff) {
    case SQLITE_FULL:
        return ERR_NO_SPACE;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
        /* EFBIG: ulimit -f. */
        return errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG ? ERR_NO_SPACE : ERR_IO;
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        return ERR_IO;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ERR_CORRUPT;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_NOMEM:
        return ERR_UNAVAILABLE;
    case SQLITE_INTERRUPT: /* is_late() */
        return ERR_DEADLINE;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    default:
        return ERR_INTERNAL;
    }
}

int sqlite_error(sqlite3 *h, Err *err)
{
    return err_set(err, error_code(h), "store: %s", sqlite3_errmsg(h));
}

static int db_exec(Db *db, const char *sql, Err *err)
{
    SqliteDb *d = of(db);
    return sqlite3_exec(d->h, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : sqlite_error(d->h, err);
}

/* BEGIN, COMMIT and their like: cached, since they surround every job. */
static int run(Db *db, Str sql, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = sqlite_use(db, sql, &st, err);
    return rc < 0 ? rc : stmt_run(st, err);
}

static Usec now(void)
{
    return clock_now(&clock_system);
}

static int db_begin(Db *db, bool write, Err *err)
{
    if (of(db)->read_limit)
        of(db)->deadline = usec_add(now(), of(db)->read_limit);
    return run(db, write ? STR("BEGIN IMMEDIATE") : STR("BEGIN"), err);
}

static int db_commit(Db *db, Err *err)
{
    return run(db, STR("COMMIT"), err);
}

static bool db_in_transaction(const Db *db)
{
    return !sqlite3_get_autocommit(CONTAINER_OF(db, SqliteDb, db)->h);
}

static void db_rollback(Db *db)
{
    if (db_in_transaction(db))
        (void)run(db, STR("ROLLBACK"), NULL);
}

static int db_savepoint(Db *db, Err *err)
{
    return run(db, STR("SAVEPOINT job"), err);
}

static int db_release(Db *db, Err *err)
{
    return run(db, STR("RELEASE job"), err);
}

static void db_rollback_to(Db *db)
{
    if (db_in_transaction(db) && run(db, STR("ROLLBACK TO job"), NULL) == 0)
        (void)run(db, STR("RELEASE job"), NULL);
}

/* SQLite keeps a journal of its own for a statement with RETURNING, and shortens it afterwards by walking
   along all that the savepoint around it has changed: many such statements in one job cost the square of
   their number. */
static int64_t db_last_serial(const Db *db)
{
    return sqlite3_last_insert_rowid(CONTAINER_OF(db, SqliteDb, db)->h);
}

static int64_t db_changes(const Db *db)
{
    return sqlite3_changes64(CONTAINER_OF(db, SqliteDb, db)->h);
}

static int db_columns(Db *db, const char *table, DbNameFn fn, void *arg, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = sqlite_use(db, STR("SELECT name FROM pragma_table_info(?1)"), &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(str_from(table)));
    while ((rc = stmt_step(st, err)) > 0) {
        rc = fn(arg, stmt_text(st, 0));
        if (rc < 0)
            break;
    }
    return rc;
}

static int db_tables(Db *db, DbNameFn fn, void *arg, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = sqlite_use(db,
                        STR("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
                            " ORDER BY name"),
                        &st, err);
    while (rc >= 0 && (rc = stmt_step(st, err)) > 0) {
        rc = fn(arg, stmt_text(st, 0));
        if (rc < 0)
            break;
    }
    return rc;
}

static int db_prepare_schema(Db *db, Err *err)
{
    return 0;
}

/* AUTOINCREMENT looks at what is there. */
static int db_after_import(Db *db, Err *err)
{
    return 0;
}

/* There is one writer. */
static int db_lock(Db *db, const char *name, Err *err)
{
    return 0;
}

static int db_check(Db *db, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = sqlite_use(db, STR("PRAGMA quick_check(1)"), &st, err);
    if (rc < 0)
        return rc;
    rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    Str said = rc ? stmt_text(st, 0) : STR("no answer");
    if (!str_eqz(said, "ok"))
        return err_set(err, ERR_CORRUPT, "store: the database is damaged: " STR_FMT, STR_ARG(said));
    return 0;
}

static int on_commit(void *arg, sqlite3 *h, const char *name, int frames)
{
    SqliteDb *d = arg;
    d->wal_frames = frames;
    return SQLITE_OK;
}

static void checkpoint(SqliteDb *d, int mode)
{
    int frames = 0;
    int done = 0;
    if (mode != SQLITE_CHECKPOINT_PASSIVE)
        sqlite3_busy_timeout(d->h, CHECKPOINT_BUSY_MS);
    int rc = sqlite3_wal_checkpoint_v2(d->h, NULL, mode, &frames, &done);
    sqlite3_busy_timeout(d->h, BUSY_TIMEOUT_MS);
    /* Busy means that a reader still needs the frames: the next commit tries again. */
    if (rc == SQLITE_OK && mode != SQLITE_CHECKPOINT_PASSIVE)
        d->wal_frames = 0;
    else if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        log_warn("the write-ahead log cannot be copied into the database",
                 F_STR("error", sqlite3_errmsg(d->h)));
}

static bool db_maintain(Db *db, bool idle)
{
    SqliteDb *d = of(db);
    if (idle && d->wal_frames)
        checkpoint(d, SQLITE_CHECKPOINT_TRUNCATE);
    else if (d->wal_frames >= CHECKPOINT_FRAMES)
        checkpoint(d, d->wal_frames >= CHECKPOINT_FRAMES_HARD ? SQLITE_CHECKPOINT_RESTART
                                                              : SQLITE_CHECKPOINT_PASSIVE);
    return !idle && d->wal_frames > 0;
}

/* Called now and then while a reader works: a search may not keep a reader for ever. */
static int is_late(void *arg)
{
    return sqlite_is_late(arg);
}

bool sqlite_is_late(const SqliteDb *d)
{
    return d->read_limit && now() > d->deadline;
}

static void db_limit_reads(Db *db, Usec limit)
{
    SqliteDb *d = of(db);
    d->read_limit = limit;
    sqlite3_progress_handler(d->h, PROGRESS_STEPS, is_late, d);
}

static bool is_private(const char *location)
{
    return strcmp(location, ":memory:") == 0;
}

static bool has_password(const char *location)
{
    return false;
}

/* The file holds prompts and messages: for the owner only. */
static int create_file(const char *path, Err *err)
{
    CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot create the database %s", path);
    return 0;
}

static int open_handle(SqliteDb *d, const char *path, DbRole role, Err *err)
{
    int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    flags |= role == DB_READER ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE;
    if (is_private(path))
        flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY;
    if (sqlite3_open_v2(path, &d->h, flags, NULL) != SQLITE_OK) {
        if (d->h)
            sqlite_error(d->h, err);
        else
            err_set(err, ERR_UNAVAILABLE, "out of memory");
        return err_wrap(err, "open %s", path);
    }
    return 0;
}

/* WAL is a property of the file: only the first writer changes anything. */
static int enter_wal(SqliteDb *d, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = sqlite_use(&d->db, STR("PRAGMA journal_mode=WAL"), &st, err);
    if (rc < 0)
        return rc;
    rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    Str mode = rc ? stmt_text(st, 0) : STR("");
    if (!str_eqz(mode, "wal") && !str_eqz(mode, "memory"))
        return err_set(err, ERR_IO, "store: this file system cannot hold a write-ahead log");
    return 0;
}

static int configure(SqliteDb *d, DbRole role, Err *err)
{
    sqlite3_busy_timeout(d->h, BUSY_TIMEOUT_MS);
    sqlite3_db_config(d->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(d->h, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(d->h, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    if (sqlite_like_register(d) != SQLITE_OK)
        return sqlite_error(d->h, err);
    int rc = role == DB_READER ? 0 : enter_wal(d, err);
    if (rc < 0)
        return rc;
    rc = db_exec(&d->db, PRAGMAS, err);
    if (rc == 0 && role != DB_READER)
        sqlite3_wal_hook(d->h, on_commit, d);
    return rc;
}

static Db *db_close(Db *db)
{
    if (!db)
        return NULL;
    SqliteDb *d = of(db);
    sqlite_stmts_free(d);
    sqlite3_close_v2(d->h);
    free(d);
    return NULL;
}

static int db_open(const DbSource *src, DbRole role, Db **ret, Err *err)
{
    const char *location = src->location;
    /* Before SQLite's first use in the process, else without effect: nobody reads its count of bytes, and
       keeping it takes a lock at each allocation. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (role == DB_CREATE && !is_private(location)) {
        int rc = create_file(location, err);
        if (rc < 0)
            return rc;
    }
    if (!is_private(location) && !file_exists(location))
        return err_set(err, ERR_NOT_FOUND, "there is no database %s", location);
    SqliteDb *d = xnew(SqliteDb);
    d->db.be = &sqlite_backend;
    d->stmts = map_new();
    list_init(&d->lru);
    int rc = open_handle(d, location, role, err);
    if (rc == 0)
        rc = configure(d, role, err);
    if (rc < 0) {
        db_close(&d->db);
        return rc;
    }
    *ret = &d->db;
    return 0;
}

/* The column is what a client sent: it need not be JSON. */
static void write_label(Buf *out, const char *column, unsigned param)
{
    buf_addf(out,
             "CASE WHEN json_valid(%s) AND json_type(%s, '$.\"' || ?%u || '\"') = 'text'"
             " THEN json_extract(%s, '$.\"' || ?%u || '\"') END",
             column, column, param, column, param);
}

static const Dialect dialect = {
    .types =
        {
            [FT_STRING] = "TEXT",
            [FT_JSON_TEXT] = "TEXT",
            [FT_INT32] = "INTEGER",
            [FT_INT64] = "INTEGER",
            [FT_DOUBLE] = "REAL",
            [FT_BOOL] = "INTEGER",
            [FT_TIME] = "INTEGER", /* microseconds since 1970 */
        },
    .key = "TEXT",
    .serial = "INTEGER PRIMARY KEY AUTOINCREMENT",
    .count = "INTEGER PRIMARY KEY",
    .blob = "BLOB",
    .like = sqlite_like_write,
    .label = write_label,
};

const Backend sqlite_backend = {
    .scheme = "sqlite",
    .dialect = &dialect,
    .is_private = is_private,
    .has_password = has_password,
    .shown = xstrdup,
    .open = db_open,
    .close = db_close,
    .exec = db_exec,
    .limit_reads = db_limit_reads,
    .begin = db_begin,
    .commit = db_commit,
    .rollback = db_rollback,
    .in_transaction = db_in_transaction,
    .savepoint = db_savepoint,
    .release = db_release,
    .rollback_to = db_rollback_to,
    .use = sqlite_use,
    .bind = sqlite_bind,
    .step = sqlite_step,
    .run_later = sqlite_run_later,
    .column = sqlite_column,
    .done = sqlite_done,
    .changes = db_changes,
    .last_serial = db_last_serial,
    .columns = db_columns,
    .tables = db_tables,
    .prepare_schema = db_prepare_schema,
    .after_import = db_after_import,
    .lock = db_lock,
    .check = db_check,
    .maintain = db_maintain,
};
