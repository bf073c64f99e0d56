/*
 * Whatever the search language accepts is a condition that the database accepts too: what may go wrong with
 * it is the caller's fault, never a syntax error, an unknown column or a crash.
 */
#include "store-internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Db *open_rows(void)
{
    Db *db = NULL;
    static const char rows[] =
        "INSERT INTO sessions (id, created_at, updated_at, name, phase, timeout, llm_temperature, "
        "interactive)"
        " VALUES ('1', 0, 0, 'alpha', NULL, 1, 0.5, 1), ('2', 5, 5, 'a%b_c\\d', 'Running', -3, NULL, 0),"
        " ('3', 7, 7, '', 'Stopped', NULL, 1e300, NULL)";
    if (sqlite_backend.open(&(DbSource){.location = ":memory:"}, DB_CREATE, &db, NULL) < 0 ||
        migrate_run(db, NULL, NULL, NULL) < 0 || sqlite_backend.exec(db, rows, NULL) < 0)
        abort();
    return db;
}

static int run(Db *db, const SearchExpr *e, Err *err)
{
    CLEANUP(query_done) Query q = QUERY_INIT;
    CLEANUP_STMT Stmt *st = NULL;
    (void)buf_addz(&q.sql, "SELECT id FROM sessions WHERE ");
    int rc = query_search(&q, sqlite_backend.dialect, &kind_session, e, err);
    if (rc == 0)
        rc = query_use(&q, db, &st, err);
    return rc < 0 ? rc : stmt_run(st, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static Db *db;
    if (!db)
        db = open_rows();
    Err err = {0};
    CLEANUP(search_freep) SearchExpr *e = NULL;
    if (search_parse(&kind_session, (Str){(const char *)data, size}, &e, &err) < 0 || !e)
        return 0;
    if (run(db, e, &err) < 0 && err.code != ERR_BAD_REQUEST && err.code != ERR_TOO_LARGE) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
    return 0;
}
