/*
 * What is under way between us and the server. Results come in the order of the statements; behind an error
 * the server skips everything up to the next sync.
 */
#include "pg-internal.h"

/* Beyond, somebody reads what the server answers, so that neither side fills the other's buffers and waits.
 */
#define UNREAD_MAX 256
#define UNREAD_BYTES ((size_t)1 << 20)

int pg_kill_tx(PgDb *d, const Err *why)
{
    if (!d->dead) {
        d->dead = true;
        d->why = *why;
    }
    return -(int)why->code;
}

static int is_usable(PgDb *d, Err *err)
{
    if (d->in_tx && d->dead) {
        if (err)
            *err = d->why;
        return -(int)d->why.code;
    }
    if (d->h)
        return 0;
    return err_set(err, ERR_UNAVAILABLE, "the database does not answer");
}

int pg_queued(PgDb *d, size_t bytes, Err *err)
{
    d->unread++;
    d->unread_size += bytes;
    if (d->unread < UNREAD_MAX && d->unread_size < UNREAD_BYTES)
        return 0;
    return pg_flush(d, err);
}

int pg_queue(PgDb *d, const char *sql, Err *err)
{
    int rc = is_usable(d, err);
    if (rc < 0)
        return rc;
    pg_finish_open(d);
    if (!PQsendQueryParams(d->h, sql, 0, NULL, NULL, NULL, NULL, 1))
        return pg_error(d, NULL, err);
    return pg_queued(d, 0, err);
}

/* The results of one queued statement, up to the NULL behind them. */
static int read_one(PgDb *d, Err *err)
{
    int rc = 0;
    PGresult *r;
    while ((r = PQgetResult(d->h))) {
        ExecStatusType status = PQresultStatus(r);
        if (rc == 0 && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
            status != PGRES_SINGLE_TUPLE)
            rc = pg_error(d, r, err);
        PQclear(r);
    }
    if (rc == 0 && PQstatus(d->h) == CONNECTION_BAD)
        rc = pg_error(d, NULL, err);
    return rc;
}

int pg_read_queued(PgDb *d, Err *err)
{
    Err first = {0};
    int rc = 0;
    unsigned n = d->unread;
    d->unread = 0;
    d->unread_size = 0;
    for (; n && d->h; n--) {
        Err why = {0};
        if (read_one(d, &why) < 0 && rc == 0) {
            rc = -(int)why.code;
            first = why;
        }
    }
    if (rc == 0)
        return 0;
    pg_kill_tx(d, &first);
    if (err)
        *err = first;
    return rc;
}

int pg_sync(PgDb *d, Err *err)
{
    int rc = is_usable(d, err);
    if (rc < 0)
        return rc;
    return PQpipelineSync(d->h) ? 0 : pg_error(d, NULL, err);
}

int pg_read_sync(PgDb *d, Err *err)
{
    if (!d->h)
        return err_set(err, ERR_UNAVAILABLE, "the database does not answer");
    PGresult *r = PQgetResult(d->h);
    bool ok = PQresultStatus(r) == PGRES_PIPELINE_SYNC;
    int rc = ok ? 0 : pg_error(d, r, err);
    PQclear(r);
    return rc;
}

int pg_flush(PgDb *d, Err *err)
{
    int rc = pg_sync(d, err);
    if (rc < 0)
        return rc;
    rc = pg_read_queued(d, err);
    int end = pg_read_sync(d, rc < 0 ? NULL : err);
    return rc < 0 ? rc : end;
}
