/*
 * Reads the chain of every session again: each row's hash is that of its content and of the row before, so
 * that no row was changed or taken out. Read in steps, so that a running server's log of changes can be
 * folded in meanwhile.
 */
#include "store-internal.h"

#define STEP_ROWS 1000

typedef struct Verify {
    Db *db;
    Sha256 *sha;
    VerifyBad bad;
    void *arg;
    uint64_t rows;
    /* The session being read. */
    char *session;
    uint64_t seq;
    uint8_t hash[SHA256_LEN];
    bool is_bad;
} Verify;

static void enter_session(Verify *v, Str id)
{
    free(v->session);
    v->session = str_dup(id);
    v->seq = 0;
    v->is_bad = false;
    message_hash_seed(v->sha, id, v->hash);
}

static void report(Verify *v, uint64_t seq, const char *why)
{
    v->is_bad = true;
    if (v->bad)
        v->bad(v->arg, str_from(v->session), seq, why);
}

/* Rows of the reference may have gaps in their numbers, and fit all the same. */
static const char *misfit(const Verify *v, uint64_t seq)
{
    if (seq == v->seq + 1)
        return "its content does not fit its hash";
    return v->seq ? "a message before it is missing" : "it should be the first message";
}

static void check_row(Verify *v, Stmt *st)
{
    MessageParts p = {
        .session_id = str_from(v->session),
        .seq = (uint64_t)stmt_int(st, 1),
        .id = stmt_text(st, 2),
        .event_type = stmt_text(st, 3),
        .payload = stmt_text(st, 4),
        .created_at = stmt_time(st, 5),
        .actor = stmt_text(st, 6),
        .turn = stmt_text(st, 7),
    };
    Str stored = stmt_blob(st, 8);
    uint8_t want[SHA256_LEN];
    message_hash(v->sha, v->hash, &p, want);
    bool fits = stored.len == SHA256_LEN && memcmp(stored.ptr, want, SHA256_LEN) == 0;
    if (!v->is_bad && !fits)
        report(v, p.seq, misfit(v, p.seq));
    memcpy(v->hash, want, SHA256_LEN);
    v->seq = p.seq;
    v->rows++;
}

/* Rows behind (session, seq), at most STEP_ROWS. Returns how many there were. */
static int verify_step(Verify *v, Str only, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    Str sql =
        STR("SELECT session_id, seq, id, event_type, payload, created_at, actor, turn, hash"
            " FROM session_messages WHERE (session_id, seq) > (?1, ?2) ORDER BY session_id, seq LIMIT ?3");
    Str one = STR("SELECT session_id, seq, id, event_type, payload, created_at, actor, turn, hash"
                  " FROM session_messages WHERE session_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3");
    int rc = stmt_use(v->db, only.len ? one : sql, &st, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *from = str_dup(v->session ? str_from(v->session) : only);
    stmt_bind(st, 1, sql_text(str_from(from)));
    stmt_bind(st, 2, sql_int((int64_t)v->seq));
    stmt_bind(st, 3, sql_int(STEP_ROWS));
    int n = 0;
    while ((rc = stmt_step(st, err)) > 0) {
        Str id = stmt_text(st, 0);
        if (!v->session || !str_eqz(id, v->session))
            enter_session(v, id);
        check_row(v, st);
        n++;
    }
    return rc < 0 ? rc : n;
}

static int verify_all(Verify *v, Str only, Err *err)
{
    int rc = only.len ? 0 : v->db->be->check(v->db, err);
    if (rc < 0)
        return rc;
    do {
        rc = verify_step(v, only, err);
    } while (rc == STEP_ROWS);
    return rc < 0 ? rc : 0;
}

int store_verify(const StoreOptions *o, Str session_id, VerifyBad bad, void *arg, uint64_t *ret_rows,
                 Err *err)
{
    Verify v = {.bad = bad, .arg = arg};
    /* Not as a reader: after a crash, opening puts the log's frames in order. */
    int rc = db_open_url(o, DB_WRITER, &v.db, err);
    if (rc < 0)
        return rc;
    v.sha = sha256_new();
    rc = migrate_check(v.db, err);
    if (rc == 0)
        rc = verify_all(&v, session_id, err);
    if (rc == 0 && ret_rows)
        *ret_rows = v.rows;
    free(v.session);
    sha256_free(v.sha);
    v.db->be->close(v.db);
    return rc;
}
