/* Connections: how they are made, made again after the server was gone, and what its errors mean for us. */
#include "pg-internal.h"

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"

#define RETRY_FIRST (100 * USEC_PER_MSEC)
#define RETRY_LAST (2 * USEC_PER_SEC)

typedef VEC_OF(const char *)
Words;

/* Unless the URL says otherwise: a server that vanished is noticed in seconds. Milliseconds for the last. */
static const char *const defaults[][2] = {
    {"application_name", "ambient-api-server"},
    {"connect_timeout", "5"},
    {"keepalives_idle", "10"},
    {"keepalives_interval", "5"},
    {"keepalives_count", "3"},
    {"tcp_user_timeout", "20000"},
};

static Usec now(void)
{
    return clock_now(&clock_system);
}

/* ---- errors ---- */

static const struct {
    const char *state; /* or the first characters of several */
    ErrCode code;
} states[] = {
    {"23505", ERR_CONFLICT},    /* unique_violation */
    {"57014", ERR_DEADLINE},    /* query_canceled: statement_timeout */
    {"53100", ERR_NO_SPACE},    /* disk_full */
    {"53", ERR_UNAVAILABLE},    /* other resources */
    {"57P", ERR_UNAVAILABLE},   /* it is stopping, has crashed, or is starting */
    {"08", ERR_UNAVAILABLE},    /* the connection */
    {"40", ERR_UNAVAILABLE},    /* serialization, deadlock: may be tried again */
    {"55P03", ERR_UNAVAILABLE}, /* lock_not_available */
    {"25P03", ERR_UNAVAILABLE}, /* idle_in_transaction_session_timeout */
    {"25006", ERR_UNAVAILABLE}, /* read_only_sql_transaction: a standby */
    {"0A000", ERR_UNAVAILABLE}, /* a cached plan whose table was migrated: gone with the connection */
    {"22003", ERR_BAD_REQUEST}, /* a number out of range */
    {"22012", ERR_BAD_REQUEST},  {"22021", ERR_INVALID},     /* no text of the encoding */
    {"22P05", ERR_INVALID},      {"54000", ERR_BAD_REQUEST}, /* too complex */
    {"54001", ERR_BAD_REQUEST},  {"58", ERR_IO},
    {"XX001", ERR_CORRUPT},      {"XX002", ERR_CORRUPT},
    {"42501", ERR_PRECONDITION}, /* insufficient privilege */
};

static ErrCode code_of(const char *state)
{
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (str_starts(str_from(state), str_from(states[i].state)))
            return states[i].code;
    }
    return ERR_INTERNAL;
}

static int lost(PgDb *d, Err *err)
{
    Err why = {0};
    int rc = err_set(&why, ERR_UNAVAILABLE, "the connection to the database was lost");
    if (!d->in_tx || !d->dead)
        log_warn("a connection to the database was lost",
                 F_STRV("error", str_trim(str_from(PQerrorMessage(d->h)))));
    pg_kill_tx(d, &why);
    if (err)
        *err = why;
    return rc;
}

bool pg_is_lost(const PgDb *d)
{
    return !d->h || PQstatus(d->h) != CONNECTION_OK;
}

int pg_error(PgDb *d, const PGresult *r, Err *err)
{
    const char *state = r ? PQresultErrorField(r, PG_DIAG_SQLSTATE) : NULL;
    if (PQstatus(d->h) == CONNECTION_BAD)
        return lost(d, err);
    if (r && PQresultStatus(r) == PGRES_PIPELINE_ABORTED) {
        if (d->dead && err)
            *err = d->why;
        return d->dead ? -(int)d->why.code
                       : err_set(err, ERR_UNAVAILABLE, "store: a statement before it failed");
    }
    if (!state) /* libpq's own */
        return err_set(err, ERR_INTERNAL, "store: " STR_FMT,
                       STR_ARG(str_trim(str_from(PQerrorMessage(d->h)))));
    return err_set(err, code_of(state), "store: %s (%s)", PQresultErrorField(r, PG_DIAG_MESSAGE_PRIMARY),
                   state);
}

/* ---- what the URL says; libpq reads it, so that it means here what it means there ---- */

static bool is_secret(const char *keyword)
{
    return str_ends(str_from(keyword), STR("password"));
}

bool pg_has_password(const char *location)
{
    bool found = false;
    PQconninfoOption *o = PQconninfoParse(location, NULL);
    for (PQconninfoOption *it = o; it && it->keyword; it++)
        found = found || (it->val && *it->val && is_secret(it->keyword));
    PQconninfoFree(o);
    return found;
}

char *pg_shown(const char *location)
{
    CLEANUP_BUF Buf out = BUF_INIT(4096);
    PQconninfoOption *o = PQconninfoParse(location, NULL);
    for (PQconninfoOption *it = o; it && it->keyword; it++)
        if (it->val)
            (void)buf_addf(&out, "%s%s=%s", out.len ? " " : "", it->keyword,
                           is_secret(it->keyword) ? "***" : it->val);
    PQconninfoFree(o);
    return str_dup(buf_str(&out));
}

/* ---- connecting ---- */

static bool has_word(const PQconninfoOption *o, const char *word)
{
    for (; o->keyword; o++) {
        if (strcmp(o->keyword, word) == 0)
            return o->val != NULL;
    }
    return true; /* this libpq does not know it */
}

static void add(Words *keys, Words *values, const char *key, const char *value)
{
    vec_push(keys, key);
    vec_push(values, value);
}

static void add_all(const PgDb *d, const PQconninfoOption *o, const Secret *password, Words *keys,
                    Words *values)
{
    for (const PQconninfoOption *it = o; it->keyword; it++) {
        if (it->val)
            add(keys, values, it->keyword, it->val);
    }
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++) {
        if (!has_word(o, defaults[i][0]))
            add(keys, values, defaults[i][0], defaults[i][1]);
    }
    if (password)
        add(keys, values, "password", secret_reveal(password).ptr);
    add(keys, values, "client_encoding", "UTF8");
    add(keys, values, NULL, NULL);
}

/* "already exists, skipping" and their like: nobody asked. */
static void ignore_notice(void *arg, const PGresult *r)
{
}

static int open_handle(PgDb *d, Err *err)
{
    CLEANUP(secret_freep) Secret *password = NULL;
    Words keys = {0};
    Words values = {0};
    int rc = d->password_file ? secret_from_file(d->password_file, &password, err) : 0;
    if (rc < 0)
        return err_wrap(err, "the password of the database");
    PQconninfoOption *o = PQconninfoParse(d->location, NULL);
    if (!o) /* libpq's text would show the URL, and with it a password */
        return err_set(err, ERR_USAGE, "the URL of the database is not one of PostgreSQL");
    add_all(d, o, password, &keys, &values);
    d->h = PQconnectdbParams(keys.ptr, values.ptr, 0);
    vec_free(&keys);
    vec_free(&values);
    PQconninfoFree(o);
    if (d->h && PQstatus(d->h) == CONNECTION_OK) {
        (void)PQsetNoticeReceiver(d->h, ignore_notice, NULL);
        return 0;
    }
    rc = err_set(err, ERR_UNAVAILABLE, "the database does not answer: " STR_FMT,
                 STR_ARG(str_trim(str_from(d->h ? PQerrorMessage(d->h) : "out of memory"))));
    pg_disconnect(d);
    return rc;
}

/* Before the pipeline: one round trip for all of it. */
static int set_up(PgDb *d, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    PGresult *r;
    (void)buf_addz(&b,
                   "SET jit = off; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '60s';"
                   /* What was acknowledged is on stable storage, whatever the server's default says. */
                   "SELECT set_config('synchronous_commit', 'on', false)"
                   " WHERE current_setting('synchronous_commit') = 'off';");
    if (d->role == DB_READER)
        (void)buf_addf(&b, "SET statement_timeout = %llu;",
                       (unsigned long long)(d->read_limit / USEC_PER_MSEC));
    (void)buf_addz(
        &b, "SELECT current_setting('server_encoding'), current_setting('server_version_num')::int >= 130000,"
            " current_setting('fsync')");
    r = PQexec(d->h, b.data);
    int rc = 0;
    if (PQresultStatus(r) != PGRES_TUPLES_OK)
        rc = pg_error(d, r, err);
    else if (strcmp(PQgetvalue(r, 0, 0), "UTF8") != 0)
        rc = err_set(err, ERR_PRECONDITION, "the database is encoded as %s: it must be UTF8",
                     PQgetvalue(r, 0, 0));
    else if (strcmp(PQgetvalue(r, 0, 1), "t") != 0)
        rc = err_set(err, ERR_PRECONDITION, "the server is older than PostgreSQL 13");
    else if (d->epoch == 0 && d->role != DB_READER && strcmp(PQgetvalue(r, 0, 2), "on") != 0)
        log_warn(
            "the database does not sync its disk (fsync = off): a power cut may lose what was acknowledged");
    PQclear(r);
    return rc;
}

int pg_connect(PgDb *d, Err *err)
{
    int rc = open_handle(d, err);
    if (rc == 0)
        rc = set_up(d, err);
    if (rc == 0 && !PQenterPipelineMode(d->h))
        rc = pg_error(d, NULL, err);
    if (rc < 0) {
        pg_disconnect(d);
        return rc;
    }
    d->epoch++; /* statements that were prepared are forgotten */
    vec_clear(&d->unused);
    return 0;
}

void pg_disconnect(PgDb *d)
{
    if (d->h)
        PQfinish(d->h);
    d->h = NULL;
    d->unread = 0;
    d->unread_size = 0;
    d->in_tx = d->listens = false;
}

static Usec next_pause(PgDb *d)
{
    uint8_t r = 0;
    random_bytes(&r, sizeof(r));
    d->retry_pause = d->retry_pause ? 2 * d->retry_pause : RETRY_FIRST;
    if (d->retry_pause > RETRY_LAST)
        d->retry_pause = RETRY_LAST;
    return d->retry_pause / 2 + d->retry_pause / 2 * r / 255;
}

int pg_reconnect(PgDb *d, Err *err)
{
    Err why = {0};
    if (d->h && PQstatus(d->h) == CONNECTION_OK)
        return 0;
    pg_disconnect(d);
    if (now() < d->retry_at)
        return err_set(err, ERR_UNAVAILABLE, "the database does not answer");
    if (pg_connect(d, &why) == 0) {
        d->retry_pause = 0;
        d->retry_at = 0;
        return 0;
    }
    d->retry_at = usec_add(now(), next_pause(d));
    log_warn("the database cannot be reached", F_ERR(&why));
    return err_set(err, ERR_UNAVAILABLE, "the database does not answer");
}
