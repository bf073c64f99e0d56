/*
 * The log of messages. One writer appends, so the newest row of a session decides seq and hash of the next,
 * and a row that readers see has no gap before it.
 */
#include "store-internal.h"

#define PAGE_FIRST 8
#define PAGE_LAST 256
#define COLUMNS "id, seq, event_type, payload, created_at, actor, turn, hash"

/* ---- reading ---- */

/* A row of COLUMNS. */
static int read_message(Stmt *st, Str session_id, Message **ret, Err *err)
{
    MessageParts p = {
        .id = stmt_text(st, 0),
        .session_id = session_id,
        .seq = (uint64_t)stmt_int(st, 1),
        .event_type = stmt_text(st, 2),
        .payload = stmt_text(st, 3),
        .created_at = stmt_time(st, 4),
        .actor = stmt_text(st, 5),
        .turn = stmt_text(st, 6),
    };
    Str hash = stmt_blob(st, 7);
    int rc = message_new(&p, ret, err);
    if (rc == 0 && hash.len == SHA256_LEN)
        memcpy((*ret)->hash, hash.ptr, SHA256_LEN);
    return rc;
}

static size_t message_bytes(const Message *m)
{
    return m->payload.len + m->event_type.len + sizeof(*m);
}

typedef struct Reading {
    uint64_t after;
    size_t rows, bytes; /* until now */
    size_t max_rows, max_bytes;
    MessageFn fn;
    void *arg;
    bool stopped;
} Reading;

/* What a server sends behind the limits is for nothing: a page is as long as the rows until now make believe.
 */
static size_t page_rows(const Reading *r)
{
    size_t rows = PAGE_FIRST;
    if (r->rows)
        rows = (r->max_bytes - r->bytes) / (r->bytes / r->rows + 1) + 1;
    if (rows > PAGE_LAST)
        rows = PAGE_LAST;
    return rows < r->max_rows - r->rows ? rows : r->max_rows - r->rows;
}

/* Returns 1 when there may be more. */
static int read_page(Tx *tx, Str session_id, Reading *r, Err *err)
{
    size_t limit = page_rows(r);
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db,
                      STR("SELECT " COLUMNS " FROM session_messages WHERE session_id = ?1 AND seq > ?2"
                          " ORDER BY seq LIMIT ?3"),
                      &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(session_id));
    stmt_bind(st, 2, sql_int(r->after > INT64_MAX ? INT64_MAX : (int64_t)r->after));
    stmt_bind(st, 3, sql_int((int64_t)limit));
    size_t before = r->rows;
    while (!r->stopped && r->bytes < r->max_bytes && (rc = stmt_step(st, err)) > 0) {
        Message *m = NULL;
        rc = read_message(st, session_id, &m, err);
        if (rc < 0)
            return rc;
        r->rows++;
        r->bytes += message_bytes(m);
        r->after = m->seq;
        rc = r->fn(r->arg, m);
        message_unref(m);
        r->stopped = rc != 0;
    }
    return rc < 0 ? rc : r->rows - before == limit;
}

int tx_messages_read(Tx *tx, Str session_id, uint64_t after, size_t max_rows, size_t max_bytes, MessageFn fn,
                     void *arg, Err *err)
{
    Reading r = {.after = after, .max_rows = max_rows, .max_bytes = max_bytes, .fn = fn, .arg = arg};
    int rc;
    do {
        rc = read_page(tx, session_id, &r, err);
    } while (rc > 0 && !r.stopped && r.rows < max_rows && r.bytes < max_bytes);
    return rc < 0 ? rc : 0;
}

static void take_head(Stmt *st, MessageHead *ret)
{
    *ret = (MessageHead){.seq = (uint64_t)stmt_int(st, 0), .created_at = stmt_time(st, 2)};
    Str hash = stmt_blob(st, 1);
    if (hash.len == SHA256_LEN)
        memcpy(ret->hash, hash.ptr, SHA256_LEN);
}

/* ---- lists ---- */

static int count_messages(Tx *tx, const ListQuery *lq, int64_t *ret, Err *err)
{
    CLEANUP(query_done) Query q = QUERY_INIT;
    CLEANUP_STMT Stmt *st = NULL;
    buf_addz(&q.sql, "SELECT count(*) FROM session_messages WHERE ");
    int rc = query_search(&q, tx->sql->dialect, &kind_session_message, lq->where, err);
    if (rc == 0)
        rc = query_use(&q, tx->db, &st, err);
    if (rc == 0)
        rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    *ret = stmt_int(st, 0);
    return stmt_run(st, err);
}

static int messages_query(Tx *tx, const ListQuery *lq, Query *q, Err *err)
{
    static const OrderBy by_seq = {.items = {{MESSAGE_SEQ, false}}, .n = 1};
    buf_addz(&q->sql, "SELECT " COLUMNS ", session_id FROM session_messages WHERE ");
    int rc = query_search(q, tx->sql->dialect, &kind_session_message, lq->where, err);
    query_order(q, NULL, &kind_session_message, lq->order.n ? &lq->order : &by_seq);
    buf_addz(&q->sql, " LIMIT ");
    query_param(q, sql_int(lq->limit));
    buf_addz(&q->sql, " OFFSET ");
    query_param(q, sql_int(lq->offset > 0 ? lq->offset : 0));
    return rc;
}

int tx_message_list(Tx *tx, const ListQuery *lq, MessageFn fn, void *arg, int64_t *ret_total, Err *err)
{
    CLEANUP(query_done) Query q = QUERY_INIT;
    CLEANUP_STMT Stmt *st = NULL;
    size_t bytes = 0;
    int rc = messages_query(tx, lq, &q, err);
    if (rc == 0)
        rc = query_use(&q, tx->db, &st, err);
    while (rc >= 0 && (rc = stmt_step(st, err)) > 0) {
        Message *m = NULL;
        rc = read_message(st, stmt_text(st, 8), &m, err);
        if (rc < 0)
            break;
        bytes += message_bytes(m);
        rc = fn(arg, m);
        message_unref(m);
        if (lq->bytes_max && bytes > lq->bytes_max)
            return err_set(err, ERR_BAD_REQUEST,
                           "the answer is larger than %zu bytes: ask for a smaller size", lq->bytes_max);
    }
    if (rc == 0)
        rc = count_messages(tx, lq, ret_total, err);
    return rc < 0 ? query_fault(rc, err) : 0;
}

int tx_message_last_seq(Tx *tx, Str session_id, uint64_t *ret, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db, STR("SELECT max(seq) FROM session_messages WHERE session_id = ?1"), &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(session_id));
    rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    *ret = (uint64_t)stmt_int(st, 0);
    return 0;
}

int tx_message_news(Tx *tx, uint64_t *pos, MessageNewsFn fn, void *arg, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db,
                      STR("SELECT session_id, max(seq), max(pos) FROM session_messages WHERE pos > ?1"
                          " GROUP BY session_id"),
                      &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_int((int64_t)*pos));
    uint64_t newest = *pos;
    while ((rc = stmt_step(st, err)) > 0) {
        uint64_t at = (uint64_t)stmt_int(st, 2);
        newest = at > newest ? at : newest;
        rc = fn(arg, stmt_text(st, 0), (uint64_t)stmt_int(st, 1));
        if (rc < 0)
            return rc;
    }
    if (rc == 0)
        *pos = newest;
    return rc;
}

int tx_message_position(Tx *tx, uint64_t *ret, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db, STR("SELECT max(pos) FROM session_messages"), &st, err);
    if (rc == 0)
        rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    *ret = (uint64_t)stmt_int(st, 0);
    return 0;
}

/* ---- appending ---- */

static bool has_control(Str s)
{
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7f)
            return true;
    }
    return false;
}

static int check_input(const MessageIn *in, Err *err)
{
    if (!in->event_type.len)
        return err_set(err, ERR_INVALID, "event_type is required");
    if (in->event_type.len > 255)
        return err_set(err, ERR_INVALID, "event_type must be at most 255 bytes");
    if (has_control(in->event_type) || !str_is_utf8(in->event_type))
        return err_set(err, ERR_INVALID, "event_type must not hold control characters");
    if (in->payload.len > MESSAGE_PAYLOAD_MAX)
        return err_set(err, ERR_TOO_LARGE, "payload is larger than %d bytes", MESSAGE_PAYLOAD_MAX);
    if (!str_is_utf8(in->payload))
        return err_set(err, ERR_INVALID, "payload must be UTF-8 without NUL");
    if (!str_is_utf8(in->turn) || !str_is_utf8(in->actor) || !str_is_utf8(in->request_id))
        return err_set(err, ERR_INVALID, "turn, actor and request id must be UTF-8 without NUL");
    return 0;
}

/* ---- newest rows: a batch often has many messages of one session, and each read would be a round trip ----
 */

void message_heads_forget(Map *heads)
{
    MAP_FOREACH (heads, it)
        free(it.value);
    map_clear(heads);
}

static void remember_head(Tx *tx, const Message *m)
{
    MessageHead *h = map_get(tx->w->heads, m->session_id);
    if (!h) {
        h = xnew(MessageHead);
        map_put(tx->w->heads, m->session_id, h);
    }
    *h = (MessageHead){.seq = m->seq, .created_at = m->created_at};
    memcpy(h->hash, m->hash, SHA256_LEN);
}

/* The newest row of a live session. */
static int read_head(Tx *tx, Str session_id, MessageHead *ret, Err *err)
{
    const MessageHead *known = map_get(tx->w->heads, session_id);
    if (known) {
        *ret = *known;
        return 0;
    }
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db,
                      STR("SELECT m.seq, m.hash, m.created_at FROM sessions s LEFT JOIN session_messages m"
                          " ON m.session_id = s.id AND m.seq ="
                          " (SELECT max(seq) FROM session_messages WHERE session_id = ?1)"
                          " WHERE s.id = ?1 AND s.deleted_at IS NULL"),
                      &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(session_id));
    rc = stmt_step(st, err);
    if (rc == 0)
        return err_set(err, ERR_NOT_FOUND, "session not found");
    if (rc > 0)
        take_head(st, ret);
    return rc < 0 ? rc : 0;
}

/* What the same request made before: 1 and *ret, or 0. */
static int find_request(Tx *tx, const MessageIn *in, Message **ret, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(
        tx->db, STR("SELECT " COLUMNS " FROM session_messages WHERE session_id = ?1 AND request_id = ?2"),
        &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(in->session_id));
    stmt_bind(st, 2, sql_text(in->request_id));
    rc = stmt_step(st, err);
    if (rc <= 0)
        return rc;
    rc = read_message(st, in->session_id, ret, err);
    return rc < 0 ? rc : 1;
}

static int next_message(Tx *tx, const MessageIn *in, MessageHead *head, Message **ret, Err *err)
{
    if (!head->seq)
        message_hash_seed(tx->w->sha, in->session_id, head->hash);
    char id[KSUID_LEN + 1];
    tx_ksuid(tx, id);
    /* Replicas' clocks differ, and clocks are set back: within a session time does not. */
    WallUsec created = tx->stamp.us < head->created_at.us ? head->created_at : tx->stamp;
    MessageParts p = {
        .id = {id, KSUID_LEN},
        .session_id = in->session_id,
        .event_type = in->event_type,
        .payload = in->payload,
        .actor = in->actor,
        .turn = in->turn,
        .seq = head->seq + 1,
        .created_at = created,
    };
    Message *m = NULL;
    int rc = message_new(&p, &m, err);
    if (rc < 0)
        return rc;
    message_hash(tx->w->sha, head->hash, &p, m->hash);
    *ret = m;
    return 0;
}

static int insert_message(Tx *tx, const Message *m, Str request_id, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db,
                      STR("INSERT INTO session_messages (session_id, request_id, " COLUMNS ")"
                          " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
                      &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(m->session_id));
    stmt_bind(st, 2, sql_text_or_null(request_id));
    stmt_bind(st, 3, sql_text(str_from(m->id)));
    stmt_bind(st, 4, sql_int((int64_t)m->seq));
    stmt_bind(st, 5, sql_text(m->event_type));
    stmt_bind(st, 6, sql_text(m->payload));
    stmt_bind(st, 7, sql_time(m->created_at));
    stmt_bind(st, 8, sql_text(m->actor));
    stmt_bind(st, 9, sql_text_or_null(m->turn));
    stmt_bind(st, 10, sql_blob(m->hash, sizeof(m->hash)));
    return stmt_run_later(st, err); /* seq and request id were looked up: nothing can be twice */
}

static void message_unrefp(Message **m)
{
    message_unref(*m);
}

int tx_message_append(Tx *tx, const MessageIn *in, Message **ret, Err *err)
{
    CLEANUP(message_unrefp) Message *m = NULL;
    MessageHead head = {0};
    int rc = check_input(in, err);
    if (rc == 0)
        rc = tx_change(tx, err);
    if (rc == 0)
        rc = read_head(tx, in->session_id, &head, err);
    if (rc == 0 && in->request_id.len)
        rc = find_request(tx, in, &m, err);
    if (rc >= 0 && in->ret_replayed)
        *in->ret_replayed = m != NULL;
    if (rc == 0) {
        rc = next_message(tx, in, &head, &m, err);
        if (rc == 0)
            rc = insert_message(tx, m, in->request_id, err);
        if (rc == 0) {
            remember_head(tx, m);
            vec_push(&tx->w->messages, message_ref(m));
            tx->w->bytes += message_bytes(m);
        }
    }
    if (rc < 0)
        return rc;
    *ret = TAKE(m);
    return 0;
}
