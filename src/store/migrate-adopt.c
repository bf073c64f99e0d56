/*
 * Databases of the reference, which are PostgreSQL's: its two logs become ours. The tables keep their names,
 * and the rows what they hold. Events get versions in the order in which they were made. Messages keep their
 * seq, one sequence for all sessions, so that clients' cursors stay true; their hashes are made here, over
 * what is found.
 */
#include "store-internal.h"

#define PAGE 500

typedef struct Find {
    const char *column;
    bool found;
} Find;

static int look(void *arg, Str name)
{
    Find *f = arg;
    f->found = f->found || str_eqz(name, f->column);
    return 0;
}

static int has_column(Db *db, const char *table, const char *column, bool *ret, Err *err)
{
    Find f = {.column = column};
    int rc = db->be->columns(db, table, look, &f, err);
    *ret = f.found;
    return rc;
}

static int adopt_columns(Db *db, const char *table, const char *const *columns, size_t n, Err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = db->be->adopt_column(db, table, columns[i], db->be->dialect->key, true,
                                  err); /* they all have values */
    return rc;
}

static int adopt_events(Db *db, Err *err)
{
    static const char *const texts[] = {"id", "source", "source_id", "event_type"};
    bool ours = false;
    int rc = has_column(db, "events", "version", &ours, err);
    if (rc < 0 || ours)
        return rc;
    rc = adopt_columns(db, "events", texts, ARRAY_LEN(texts), err);
    if (rc < 0)
        return rc;
    return db->be->exec(
        db,
        "ALTER TABLE events ADD COLUMN version bigserial, ADD COLUMN project_id text COLLATE \"C\","
        " ADD COLUMN owner text COLLATE \"C\";"
        "UPDATE events SET version = o.n FROM (SELECT id, row_number() OVER (ORDER BY created_at, id) AS n "
        "FROM events) o"
        " WHERE o.id = events.id;"
        "SELECT setval(pg_get_serial_sequence('events', 'version'), (SELECT max(version) FROM events));"
        "ALTER TABLE events DROP CONSTRAINT IF EXISTS events_pkey, ADD PRIMARY KEY (version);",
        err);
}

static int reshape_messages(Db *db, Err *err)
{
    static const char *const texts[] = {"id", "session_id", "event_type", "payload"};
    int rc = adopt_columns(db, "session_messages", texts, ARRAY_LEN(texts), err);
    if (rc < 0)
        return rc;
    return db->be->exec(
        db,
        "ALTER TABLE session_messages ALTER COLUMN seq DROP DEFAULT,"
        " DROP CONSTRAINT IF EXISTS session_messages_seq_key, DROP CONSTRAINT IF EXISTS "
        "session_messages_pkey,"
        " ADD COLUMN pos bigserial, ADD COLUMN actor text COLLATE \"C\" NOT NULL DEFAULT '',"
        " ADD COLUMN turn text COLLATE \"C\", ADD COLUMN hash bytea, ADD COLUMN request_id text COLLATE "
        "\"C\";"
        "UPDATE session_messages SET pos = o.n FROM (SELECT id, row_number() OVER (ORDER BY seq) AS n"
        " FROM session_messages) o WHERE o.id = session_messages.id;"
        "SELECT setval(pg_get_serial_sequence('session_messages', 'pos'), (SELECT max(pos) FROM "
        "session_messages));"
        "ALTER TABLE session_messages ADD PRIMARY KEY (pos), ADD UNIQUE (session_id, seq);"
        "CREATE UNIQUE INDEX IF NOT EXISTS session_messages_request ON session_messages (session_id, "
        "request_id)"
        " WHERE request_id IS NOT NULL;",
        err);
}

/* ---- the chains of hashes ---- */

typedef struct Chain {
    Db *db;
    Sha256 *sha;
    char *session; /* NULL = before the first */
    int64_t seq;
    uint8_t hash[SHA256_LEN];
} Chain;

typedef struct Hashed {
    int64_t pos;
    uint8_t hash[SHA256_LEN];
} Hashed;
typedef VEC_OF(Hashed)
HashedVec;

static void chain_row(Chain *c, Stmt *st, HashedVec *out)
{
    Str session = stmt_text(st, 1);
    if (!c->session || !str_eqz(session, c->session)) {
        free(c->session);
        c->session = str_dup(session);
        message_hash_seed(c->sha, session, c->hash);
    }
    MessageParts p = {
        .session_id = session,
        .seq = (uint64_t)stmt_int(st, 2),
        .id = stmt_text(st, 3),
        .event_type = stmt_text(st, 4),
        .payload = stmt_text(st, 5),
        .created_at = stmt_time(st, 6),
    };
    Hashed h = {.pos = stmt_int(st, 0)};
    message_hash(c->sha, c->hash, &p, h.hash);
    memcpy(c->hash, h.hash, SHA256_LEN);
    c->seq = (int64_t)p.seq;
    vec_push(out, h);
}

static int read_page(Chain *c, HashedVec *out, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc =
        stmt_use(c->db,
                 STR("SELECT pos, session_id, seq, id, event_type, payload, created_at FROM session_messages"
                     " WHERE (session_id, seq) > (?1, ?2) ORDER BY session_id, seq LIMIT ?3"),
                 &st, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *from = xstrdup(c->session ? c->session : "");
    stmt_bind(st, 1, sql_text(str_from(from)));
    stmt_bind(st, 2, sql_int(c->seq));
    stmt_bind(st, 3, sql_int(PAGE));
    while ((rc = stmt_step(st, err)) > 0)
        chain_row(c, st, out);
    return rc;
}

static int write_page(Db *db, const HashedVec *rows, Err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < rows->len; i++) {
        CLEANUP_STMT Stmt *st = NULL;
        rc = stmt_use(db, STR("UPDATE session_messages SET hash = ?2 WHERE pos = ?1"), &st, err);
        if (rc < 0)
            break;
        stmt_bind(st, 1, sql_int(rows->ptr[i].pos));
        stmt_bind(st, 2, sql_blob(rows->ptr[i].hash, SHA256_LEN));
        rc = stmt_run_later(st, err);
    }
    return rc;
}

static int hash_messages(Db *db, Err *err)
{
    Chain c = {.db = db, .sha = sha256_new(), .seq = INT64_MIN};
    HashedVec page = {0};
    int rc;
    do {
        vec_clear(&page);
        rc = read_page(&c, &page, err);
        if (rc == 0)
            rc = write_page(db, &page, err);
    } while (rc == 0 && page.len);
    vec_free(&page);
    free(c.session);
    sha256_free(c.sha);
    return rc;
}

static int adopt_messages(Db *db, Err *err)
{
    bool ours = false;
    int rc = has_column(db, "session_messages", "pos", &ours, err);
    if (rc == 0 && !ours)
        rc = reshape_messages(db, err);
    if (rc == 0 && !ours)
        rc = hash_messages(db, err);
    if (rc < 0 || ours)
        return rc;
    return db->be->exec(db, "ALTER TABLE session_messages ALTER COLUMN hash SET NOT NULL;", err);
}

int migrate_adopt_logs(Db *db, Err *err)
{
    if (!db->be->adopt_column)
        return 0;
    int rc = adopt_events(db, err);
    return rc < 0 ? rc : adopt_messages(db, err);
}

/* The steps of the reference's own that ours have taken the place of: columns that its tables got, and
 * indexes. */
bool migrate_is_reference_step(Str id)
{
    static const char *const ids[] = {
        "202602150006", "202602150021", "202602150040", "202603100139", "202603150001", "202603230001",
        "202603311216", "202604101200", "202604101201", "202604181000", "202604280002", "202605050001",
        "202605060002", "202605060003", "202606050001", "202606050002", "202606050003", "202606050004",
        "202606050010", "202606091900", "202606102224",
    };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        if (str_eqz(id, ids[i]))
            return true;
    }
    return false;
}
