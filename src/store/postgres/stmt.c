/* Prepared statements: cached per connection by their text, the least recently used ones are dropped. */
#include "pg-internal.h"

#include "base/mem.h"

#define STMTS_MAX 128
#define SQL_MAX ((size_t)2 << 20)

static PgDb *db_of(const PgStmt *s)
{
    return pg_of(s->stmt.db);
}

static PgStmt *of(Stmt *st)
{
    return CONTAINER_OF(st, PgStmt, stmt);
}

/* ---- the cache ---- */

static void drop_rows(PgStmt *s)
{
    PQclear(s->row);
    s->row = NULL;
    for (size_t i = s->n_taken; i < s->kept.len; i++)
        PQclear(s->kept.ptr[i]);
    vec_clear(&s->kept);
    s->n_taken = 0;
}

static void stmt_free(PgStmt *s)
{
    drop_rows(s);
    vec_free(&s->kept);
    vec_free(&s->types);
    vec_free(&s->params);
    free(s->key);
    free(s);
}

static bool is_prepared(const PgStmt *s)
{
    const PgDb *d = db_of(s);
    return s->epoch && s->epoch == d->epoch;
}

/* The server is told before the next transaction: inside of one that failed it would not listen. */
static void forget(PgStmt *s)
{
    if (is_prepared(s))
        vec_push(&db_of(s)->unused, s->number);
    stmt_free(s);
}

static void forget_oldest(PgDb *d)
{
    LIST_FOREACH_SAFE (&d->lru, it) {
        PgStmt *s = LIST_ENTRY(it, PgStmt, link);
        if (s->busy)
            continue;
        map_remove(d->stmts, s->sql);
        list_remove(it);
        d->n_stmts--;
        forget(s);
        return;
    }
}

static bool starts_with_word(Str sql, const char *word)
{
    return str_istarts(str_trim(sql), str_from(word));
}

static PgStmt *stmt_make(PgDb *d, Str sql)
{
    PgStmt *s = xnew(PgStmt);
    s->stmt.db = &d->db;
    s->key = str_dup(sql);
    s->sql = (Str){s->key, sql.len};
    s->changes_rows =
        starts_with_word(sql, "INSERT") || starts_with_word(sql, "UPDATE") || starts_with_word(sql, "DELETE");
    list_init(&s->link);
    return s;
}

static PgStmt *stmt_cached(PgDb *d, Str sql)
{
    PgStmt *s = stmt_make(d, sql);
    if (d->n_stmts++ == STMTS_MAX)
        forget_oldest(d);
    s->cached = true;
    map_put(d->stmts, sql, s);
    list_push_back(&d->lru, &s->link);
    return s;
}

int pg_use(Db *db, Str sql, Stmt **ret, Err *err)
{
    PgDb *d = pg_of(db);
    PgStmt *s = map_get(d->stmts, sql);
    if (!s) {
        s = stmt_cached(d, sql);
    } else if (s->busy) { /* further up the stack: it cannot be shared */
        s = stmt_make(d, sql);
    } else {
        list_remove(&s->link);
        list_push_back(&d->lru, &s->link);
    }
    s->busy = true;
    s->state = PG_NEW;
    vec_clear(&s->params);
    *ret = &s->stmt;
    return 0;
}

void pg_bind(Stmt *st, unsigned param, SqlValue v)
{
    PgStmt *s = of(st);
    while (s->params.len < param)
        vec_push(&s->params, sql_null());
    s->params.ptr[param - 1] = v;
}

void pg_stmts_free(PgDb *d)
{
    ListLink *it;
    while ((it = list_pop_front(&d->lru)))
        stmt_free(LIST_ENTRY(it, PgStmt, link));
    d->stmts = map_free(d->stmts);
}

/* ---- preparing ---- */

/* ?1 becomes $1, but inside of quotes. */
static void rewrite(Str sql, Buf *out)
{
    char quote = 0;
    for (size_t i = 0; i < sql.len; i++) {
        char c = sql.ptr[i];
        if (quote)
            quote = c == quote ? 0 : quote;
        else if (c == '\'' || c == '"')
            quote = c;
        (void)buf_addc(out, c == '?' && !quote ? '$' : c);
    }
}

static int take_types(PgStmt *s, PGresult *r, Err *err)
{
    if (PQresultStatus(r) != PGRES_COMMAND_OK)
        return pg_error(db_of(s), r, err);
    vec_clear(&s->types);
    for (int i = 0; i < PQnparams(r); i++)
        vec_push(&s->types, PQparamtype(r, i));
    return 0;
}

/* A result and the NULL behind it. */
static PGresult *one_result(PgDb *d)
{
    PGresult *r = PQgetResult(d->h);
    PGresult *more;
    while (r && (more = PQgetResult(d->h)))
        PQclear(more);
    return r;
}

static int read_prepared(PgStmt *s, Err *err)
{
    PgDb *d = db_of(s);
    int rc = pg_read_queued(d, err);
    PGresult *prepared = one_result(d);
    PGresult *described = one_result(d);
    if (rc == 0 && PQresultStatus(prepared) != PGRES_COMMAND_OK)
        rc = pg_error(d, prepared, err);
    if (rc == 0)
        rc = take_types(s, described, err);
    PQclear(prepared);
    PQclear(described);
    int end = pg_read_sync(d, rc < 0 ? NULL : err);
    return rc < 0 ? rc : end;
}

/* The server says which type each parameter has: its context decides. */
static int prepare(PgStmt *s, Err *err)
{
    PgDb *d = db_of(s);
    if (is_prepared(s))
        return 0;
    CLEANUP_BUF Buf sql = BUF_INIT(SQL_MAX);
    rewrite(s->sql, &sql);
    int rc = buf_addc(&sql, '\0');
    if (rc < 0)
        return err_set(err, ERR_TOO_LARGE, "store: the statement is too long");
    s->number = ++d->names;
    (void)snprintf(s->name, sizeof(s->name), "s%llu", (unsigned long long)s->number);
    if (!PQsendPrepare(d->h, s->name, sql.data, 0, NULL) || !PQsendDescribePrepared(d->h, s->name))
        return pg_error(d, NULL, err);
    rc = pg_sync(d, err);
    if (rc == 0)
        rc = read_prepared(s, err);
    if (rc == 0)
        s->epoch = d->epoch;
    return rc;
}

static int check_time(const PgDb *d, Err *err)
{
    if (d->in_tx && !d->writes && d->read_limit && clock_now(&clock_system) > d->deadline)
        return err_set(err, ERR_DEADLINE, "store: the read takes too long");
    return 0;
}

/* Everything before the first result. */
static int ready(PgStmt *s, Err *err)
{
    PgDb *d = db_of(s);
    if (d->in_tx && d->dead) {
        if (err)
            *err = d->why;
        return -(int)d->why.code;
    }
    if (!d->h)
        return err_set(err, ERR_UNAVAILABLE, "the database does not answer");
    pg_finish_open(d);
    int rc = check_time(d, err);
    return rc < 0 ? rc : prepare(s, err);
}

static int send_query(PgStmt *s, size_t *ret_bytes, Err *err)
{
    PgDb *d = db_of(s);
    CLEANUP(pg_params_done) PgParams p = {0};
    int rc = pg_encode(s, &p, err);
    if (rc < 0)
        return rc;
    if (!PQsendQueryPrepared(d->h, s->name, (int)s->types.len, p.values.ptr, p.lengths.ptr, p.formats.ptr, 1))
        return pg_error(d, NULL, err);
    *ret_bytes = p.bytes;
    d->wrote = d->wrote || s->changes_rows;
    return 0;
}

/* ---- running ---- */

static int undo_guard(PgStmt *s)
{
    PgDb *d = db_of(s);
    if (d->dead || !d->in_tx)
        return 0;
    int rc = pg_queue(d, "ROLLBACK TO SAVEPOINT one", NULL);
    return rc < 0 ? rc : pg_queue(d, "RELEASE SAVEPOINT one", NULL);
}

/* Reads up to the sync, and so to the end of all that is under way. */
static void finish(PgStmt *s)
{
    PgDb *d = db_of(s);
    Err why = {0};
    int rc = 0;
    bool failed = s->state == PG_FAILED;
    d->open = NULL;
    if (s->guarded)
        PQclear(one_result(d)); /* of the savepoint's release */
    rc = pg_read_sync(d, &why);
    if (rc < 0 && !failed) {
        s->err = why;
        s->state = PG_FAILED;
    } else if (failed && s->guarded) {
        (void)undo_guard(s);
    } else if (failed && d->in_tx && !d->writes) {
        pg_kill_tx(d, &s->err);
    }
}

/* Reads one result. The rows of a statement come one at a time, then an empty result with the command's tag.
 */
static PGresult *next_result(PgStmt *s)
{
    PgDb *d = db_of(s);
    PGresult *r = PQgetResult(d->h);
    if (PQresultStatus(r) == PGRES_SINGLE_TUPLE)
        return r;
    if (PQresultStatus(r) == PGRES_TUPLES_OK || PQresultStatus(r) == PGRES_COMMAND_OK) {
        int64_t n = 0;
        (void)str_to_i64(str_from(PQcmdTuples(r)), &n);
        d->changes = n;
        s->state = PG_END;
    } else {
        pg_error(d, r, &s->err);
        s->state = PG_FAILED;
    }
    while (r) {
        PQclear(r);
        r = PQgetResult(d->h);
    }
    finish(s);
    return NULL;
}

void pg_finish_open(PgDb *d)
{
    PgStmt *s = d->open;
    while (d->open) {
        PGresult *r = next_result(s);
        if (r)
            vec_push(&s->kept, r);
    }
}

static int start(PgStmt *s, Err *err)
{
    PgDb *d = db_of(s);
    size_t bytes;
    int rc = ready(s, err);
    if (rc < 0)
        return rc;
    /* What can violate a rule must not take the job's other changes with it. */
    s->guarded = s->changes_rows && d->in_tx && d->writes;
    if (s->guarded)
        rc = pg_queue(d, "SAVEPOINT one", err);
    if (rc == 0)
        rc = send_query(s, &bytes, err);
    if (rc < 0)
        return rc;
    if (s->guarded && !PQsendQueryParams(d->h, "RELEASE SAVEPOINT one", 0, NULL, NULL, NULL, NULL, 1))
        return pg_error(d, NULL, err);
    rc = pg_sync(d, err);
    if (rc < 0)
        return rc;
    (void)pg_read_queued(d, NULL); /* its failure is told by our own result */
    (void)PQsetSingleRowMode(d->h);
    d->open = s;
    s->state = PG_ROWS;
    return 0;
}

/* Starts, with the first result. A read whose connection is found broken by its first statement begins again:
 * nobody has seen anything of it. */
static int first_step(PgStmt *s, Err *err)
{
    PgDb *d = db_of(s);
    bool may_repeat = d->in_tx && d->untouched && !d->writes;
    int rc = start(s, err);
    if (rc == 0)
        s->row = next_result(s);
    if (may_repeat && (rc < 0 || s->state == PG_FAILED) && pg_is_lost(d)) {
        s->state = PG_NEW;
        rc = pg_begin(&d->db, false, err);
        if (rc == 0)
            rc = start(s, err);
        if (rc == 0)
            s->row = next_result(s);
    }
    d->untouched = false;
    return rc;
}

static int answer(const PgStmt *s, Err *err)
{
    if (s->row)
        return 1;
    if (s->state == PG_FAILED && err)
        *err = s->err;
    return s->state == PG_FAILED ? -(int)s->err.code : 0;
}

int pg_step(Stmt *st, Err *err)
{
    PgStmt *s = of(st);
    PQclear(s->row);
    s->row = NULL;
    if (s->state == PG_NEW) {
        int rc = first_step(s, err);
        return rc < 0 ? rc : answer(s, err);
    }
    if (s->n_taken < s->kept.len)
        s->row = s->kept.ptr[s->n_taken++];
    else if (s->state == PG_ROWS)
        s->row = next_result(s);
    return answer(s, err);
}

/* Nothing is waited for: only the database's own failures are left, and those concern the whole batch. */
int pg_run_later(Stmt *st, Err *err)
{
    PgStmt *s = of(st);
    PgDb *d = db_of(s);
    size_t bytes;
    int rc = ready(s, err);
    if (rc == 0)
        rc = send_query(s, &bytes, err);
    if (rc == 0)
        rc = pg_queued(d, bytes, err);
    s->state = PG_END;
    return rc;
}

SqlValue pg_column(Stmt *st, unsigned col, SqlType as)
{
    PgStmt *s = of(st);
    return s->row ? pg_decode(s->row, 0, (int)col, as) : sql_null();
}

void pg_done(Stmt *st)
{
    PgStmt *s = of(st);
    PgDb *d = db_of(s);
    while (d->open == s)
        PQclear(next_result(s)); /* nobody wants the rest */
    drop_rows(s);
    s->busy = false;
    if (!s->cached)
        forget(s);
}
