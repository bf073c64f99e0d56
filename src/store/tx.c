/* What a job does with the objects of a kind. Every change writes its events row in the same transaction. */
#include "base/random.h"
#include "store-internal.h"

#define PURGE_ROWS 5000
#define REQUEST_KEEP ((int64_t)24 * 3600 * 1000000)

WallUsec tx_now(const Tx *tx)
{
    return tx->now;
}

int tx_lock(Tx *tx, const char *name, Err *err)
{
    return tx->db->be->lock(tx->db, name, err);
}

int tx_change(Tx *tx, Err *err)
{
    if (!tx->writable)
        return err_set(err, ERR_INTERNAL, "store: a read job tried to write");
    if (tx->in_savepoint)
        return 0;
    int rc = tx->db->be->savepoint(tx->db, err);
    tx->in_savepoint = rc == 0;
    return rc;
}

void tx_ksuid(Tx *tx, char out[static KSUID_LEN + 1])
{
    Worker *w = tx->w;
    if (!w->random_left) {
        random_bytes(w->random, sizeof(w->random));
        w->random_left = sizeof(w->random);
    }
    w->random_left -= KSUID_RANDOM_LEN;
    ksuid_make(out, tx->stamp, w->random + w->random_left);
}

#define INSERT_EVENT                                                                                         \
    "INSERT INTO events (id, source, source_id, event_type, project_id, owner, created_at)"                  \
    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"

int tx_event(Tx *tx, EventType type, const Kind *k, Str id, Str project, Str owner, Err *err)
{
    static const char *const names[] = {
        [EVENT_CREATED] = "Create", [EVENT_UPDATED] = "Update", [EVENT_DELETED] = "Delete"};
    if (!k->event_source)
        return 0;
    CLEANUP_STMT Stmt *st = NULL;
    int64_t (*serial)(const Db *) = tx->db->be->last_serial;
    int rc = stmt_use(tx->db, serial ? STR(INSERT_EVENT) : STR(INSERT_EVENT " RETURNING version"), &st, err);
    if (rc < 0)
        return rc;
    char ksuid[KSUID_LEN + 1];
    tx_ksuid(tx, ksuid);
    stmt_bind(st, 1, sql_text(str_from(ksuid)));
    stmt_bind(st, 2, sql_text(str_from(k->event_source)));
    stmt_bind(st, 3, sql_text(id));
    stmt_bind(st, 4, sql_text(str_from(names[type])));
    stmt_bind(st, 5, sql_text_or_null(project));
    stmt_bind(st, 6, sql_text_or_null(owner));
    stmt_bind(st, 7, sql_time(tx->stamp));
    if (!serial) {
        rc = stmt_step(st, err);
        if (rc <= 0)
            return rc < 0 ? rc : err_set(err, ERR_INTERNAL, "store: an event got no version");
        tx->w->last_event = (uint64_t)stmt_int(st, 0);
    }
    rc = stmt_run(st, err);
    if (rc == 0 && serial)
        tx->w->last_event = (uint64_t)serial(tx->db);
    return rc;
}

static Str field_or_null(const Obj *o, int field)
{
    return field < 0 ? STR_NULL : obj_str(o, field);
}

static int object_event(Tx *tx, EventType type, const Obj *o, Err *err)
{
    const Kind *k = o->kind;
    return tx_event(tx, type, k, obj_str(o, FIELD_ID), field_or_null(o, k->project_field),
                    field_or_null(o, k->owner_field), err);
}

static int not_found(const Kind *k, const char *field, Str value, Err *err)
{
    return err_set(err, ERR_NOT_FOUND, "%s with %s='" STR_FMT "' not found", k->name, field, STR_ARG(value));
}

static int get(Tx *tx, const Kind *k, Str id, const char *sql, Obj **ret, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db, str_from(sql), &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(id));
    rc = stmt_step(st, err);
    if (rc == 0)
        return not_found(k, "id", id, err);
    return rc < 0 ? rc : sql_read_row(st, k, ret, err);
}

int tx_get(Tx *tx, const Kind *k, Str id, Obj **ret, Err *err)
{
    return get(tx, k, id, sql_of(tx->sql, k)->get, ret, err);
}

int tx_exists(Tx *tx, const Kind *k, Str id, bool *ret, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db, str_from(sql_of(tx->sql, k)->exists), &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(id));
    rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    *ret = rc > 0;
    return 0;
}

int tx_find(Tx *tx, const Kind *k, int field, Str value, Obj **ret, Err *err)
{
    CLEANUP(query_done) Query q = QUERY_INIT;
    const char *column = field_column(&k->fields[field]);
    buf_addf(&q.sql, "SELECT %s FROM %s WHERE deleted_at IS NULL AND %s = ", sql_of(tx->sql, k)->columns,
             k->table, column);
    query_param(&q, sql_text(value));
    buf_addz(&q.sql, " ORDER BY created_at, id LIMIT 1");
    CLEANUP_STMT Stmt *st = NULL;
    int rc = query_use(&q, tx->db, &st, err);
    if (rc < 0)
        return rc;
    rc = stmt_step(st, err);
    if (rc == 0)
        return not_found(k, k->fields[field].json, value, err);
    return rc < 0 ? rc : sql_read_row(st, k, ret, err);
}

/* ---- lists ---- */

static int add_where(Tx *tx, Query *q, const Kind *k, const SearchExpr *where, Err *err)
{
    buf_addf(&q->sql, " FROM %s WHERE deleted_at IS NULL", k->table);
    if (!where)
        return 0;
    buf_addz(&q->sql, " AND ");
    return query_search(q, tx->sql->dialect, k, where, err);
}

/* No value comes before every value. Identity and times always have one, and their indexes know no NULLs. */
static const char *nulls_word(const Dialect *d, const OrderItem *it)
{
    if (!d || !d->nulls_last || it->field < FIELD_FIRST)
        return "";
    return it->desc ? " NULLS LAST" : " NULLS FIRST";
}

void query_order(Query *q, const Dialect *d, const Kind *k, const OrderBy *order)
{
    bool by_id = false;
    buf_addz(&q->sql, " ORDER BY ");
    for (size_t i = 0; i < order->n && !by_id; i++) {
        const OrderItem *it = &order->items[i];
        buf_addf(&q->sql, "%s%s%s%s", i ? ", " : "", field_column(&k->fields[it->field]),
                 it->desc ? " DESC" : "", nulls_word(d, it));
        by_id = it->field == FIELD_ID;
    }
    /* In the direction of the last item: an index that ends with the id serves both directions then. */
    if (!by_id)
        buf_addf(&q->sql, "%sid%s", order->n ? ", " : "",
                 order->n && order->items[order->n - 1].desc ? " DESC" : "");
}

static int count(Tx *tx, const Kind *k, const SearchExpr *where, int64_t *ret, Err *err)
{
    CLEANUP(query_done) Query q = QUERY_INIT;
    buf_addz(&q.sql, "SELECT count(*)");
    int rc = add_where(tx, &q, k, where, err);
    if (rc < 0)
        return rc;
    CLEANUP_STMT Stmt *st = NULL;
    rc = query_use(&q, tx->db, &st, err);
    if (rc < 0)
        return rc;
    rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    *ret = stmt_int(st, 0);
    return 0;
}

static size_t text_bytes(const Obj *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->kind->n_fields; i++)
        if (field_is_text(&o->kind->fields[i]) && obj_has(o, (int)i))
            n += o->v[i].len;
    return n;
}

static int read_rows(Tx *tx, const Kind *k, const ListQuery *lq, ObjList *out, Err *err)
{
    CLEANUP(query_done) Query q = QUERY_INIT;
    const KindSql *ks = sql_of(tx->sql, k);
    buf_addf(&q.sql, "SELECT %s", ks->columns);
    int rc = add_where(tx, &q, k, lq->where, err);
    if (rc < 0)
        return rc;
    query_order(&q, tx->sql->dialect, k, lq->order.n ? &lq->order : &ks->order);
    if (lq->limit >= 0 || lq->offset > 0) {
        buf_addz(&q.sql, " LIMIT ");
        query_param(&q, sql_int(lq->limit >= 0 ? lq->limit : INT64_MAX));
        buf_addz(&q.sql, " OFFSET ");
        query_param(&q, sql_int(lq->offset > 0 ? lq->offset : 0));
    }
    CLEANUP_STMT Stmt *st = NULL;
    size_t bytes = 0;
    rc = query_use(&q, tx->db, &st, err);
    while (rc >= 0 && (rc = stmt_step(st, err)) > 0) {
        Obj *o = NULL;
        rc = sql_read_row(st, k, &o, err);
        if (rc < 0)
            break;
        vec_push(out, o);
        bytes += lq->bytes_max ? text_bytes(o) : 0;
        if (bytes > lq->bytes_max)
            return err_set(err, ERR_BAD_REQUEST,
                           "the answer is larger than %zu bytes: ask for a smaller size", lq->bytes_max);
    }
    return rc;
}

/* The rows themselves tell the total when they are all there are behind the offset. */
static bool total_is_known(const ListQuery *q, const ObjList *l)
{
    bool all = q->limit < 0 || (int64_t)l->len < q->limit;
    return all && (l->len || q->offset <= 0);
}

int tx_list(Tx *tx, const Kind *k, const ListQuery *q, ObjList *ret, Err *err)
{
    CLEANUP(obj_list_done) ObjList l = {.page = q->page};
    int rc = q->limit == 0 ? 0 : read_rows(tx, k, q, &l, err);
    if (rc == 0 && !q->no_total) {
        if (total_is_known(q, &l))
            l.total = (q->offset > 0 ? q->offset : 0) + (int64_t)l.len;
        else
            rc = count(tx, k, q->where, &l.total, err);
    }
    if (rc < 0)
        return query_fault(rc, err);
    *ret = l;
    l = (ObjList){0};
    return 0;
}

/* ---- changes ---- */

static int conflict(const Kind *k, Err *err)
{
    return err_set(err, ERR_CONFLICT, "This %s already exists", k->name);
}

static void complete_new(Tx *tx, Obj *o)
{
    if (!obj_has(o, FIELD_ID) && o->kind->id_rule == KIND_ID_NAME) {
        obj_set_str(o, FIELD_ID, obj_str(o, o->kind->name_field));
    } else if (!obj_has(o, FIELD_ID)) {
        char id[KSUID_LEN + 1];
        tx_ksuid(tx, id);
        obj_set_str(o, FIELD_ID, str_from(id));
    }
    if (!obj_has(o, FIELD_CREATED_AT))
        obj_set_time(o, FIELD_CREATED_AT, tx->stamp);
    if (!obj_has(o, FIELD_UPDATED_AT))
        obj_set_time(o, FIELD_UPDATED_AT, obj_time(o, FIELD_CREATED_AT));
}

static int insert_row(Tx *tx, const Obj *o, Err *err)
{
    const Kind *k = o->kind;
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db, str_from(sql_of(tx->sql, k)->insert), &st, err);
    if (rc < 0)
        return rc;
    unsigned n = 0;
    for (size_t i = 0; i < k->n_fields; i++) {
        if (field_stored(&k->fields[i]))
            stmt_bind(st, ++n, sql_field_value(o, (int)i));
    }
    rc = stmt_run(st, err);
    /* The live row of a name was left alone by the statement's own condition. */
    if (rc == -ERR_CONFLICT || (rc == 0 && tx->db->be->changes(tx->db) == 0))
        return conflict(k, err);
    return rc;
}

int tx_insert(Tx *tx, Obj *o, Err *err)
{
    int rc = tx_change(tx, err);
    if (rc < 0)
        return rc;
    complete_new(tx, o);
    rc = insert_row(tx, o, err);
    return rc < 0 ? rc : object_event(tx, EVENT_CREATED, o, err);
}

static bool same_stored(const Obj *now, const Obj *changes, int field)
{
    SqlValue a = sql_field_value(now, field);
    SqlValue b = sql_field_value(changes, field);
    if (a.type == SQL_NULL || b.type == SQL_NULL)
        return a.type == b.type;
    return obj_value_equal(now, changes, field);
}

/* The identity and the times of a row are the store's own. */
static bool is_changed(const Obj *now, const Obj *changes, int field)
{
    return field >= FIELD_FIRST && field_stored(&now->kind->fields[field]) &&
           changes->v[field].state != V_ABSENT && !same_stored(now, changes, field);
}

static int update_row(Tx *tx, const Obj *now, const Obj *changes, WallUsec updated, Err *err)
{
    CLEANUP(query_done) Query q = QUERY_INIT;
    const Kind *k = now->kind;
    buf_addf(&q.sql, "UPDATE %s SET updated_at = ", k->table);
    query_param(&q, sql_time(updated));
    for (int i = FIELD_FIRST; i < (int)k->n_fields; i++) {
        if (!is_changed(now, changes, i))
            continue;
        buf_addf(&q.sql, ", %s = ", field_column(&k->fields[i]));
        query_param(&q, sql_field_value(changes, i));
    }
    buf_addz(&q.sql, " WHERE deleted_at IS NULL AND id = ");
    query_param(&q, sql_text(obj_str(now, FIELD_ID)));
    CLEANUP_STMT Stmt *st = NULL;
    int rc = query_use(&q, tx->db, &st, err);
    if (rc == 0)
        rc = stmt_run(st, err);
    return rc == -ERR_CONFLICT ? conflict(k, err) : rc;
}

static bool any_change(const Obj *now, const Obj *changes)
{
    for (int i = FIELD_FIRST; i < (int)now->kind->n_fields; i++) {
        if (is_changed(now, changes, i))
            return true;
    }
    return false;
}

/* Replaces *now by the row as it is afterwards. */
static int update(Tx *tx, Obj **now, const Obj *changes, Err *err)
{
    const Kind *k = (*now)->kind;
    WallUsec updated = tx->stamp;
    WallUsec before = obj_time(*now, FIELD_UPDATED_AT);
    if (updated.us <= before.us)
        updated.us = before.us + 1; /* the clock was set back: clients compare these times */
    int rc = update_row(tx, *now, changes, updated, err);
    if (rc < 0)
        return rc;
    Obj *after = NULL;
    rc = tx_get(tx, k, obj_str(*now, FIELD_ID), &after, err);
    if (rc < 0)
        return rc;
    obj_free(*now);
    *now = after;
    return object_event(tx, EVENT_UPDATED, after, err);
}

int tx_update(Tx *tx, const Kind *k, Str id, const Obj *changes, bool *ret_changed, Obj **ret_after, Err *err)
{
    int rc = tx_change(tx, err);
    if (rc < 0)
        return rc;
    CLEANUP(obj_freep) Obj *now = NULL;
    rc = get(tx, k, id, sql_of(tx->sql, k)->get, &now, err);
    if (rc < 0)
        return rc;
    bool changed = any_change(now, changes);
    if (changed)
        rc = update(tx, &now, changes, err);
    if (rc < 0)
        return rc;
    if (ret_changed)
        *ret_changed = changed;
    if (ret_after)
        *ret_after = TAKE(now);
    return 0;
}

/* 1 and where the object belongs, 0 when it is not there. */
static int find_place(Tx *tx, const Kind *k, Str id, char **ret_project, char **ret_owner, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db, str_from(sql_of(tx->sql, k)->place), &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(id));
    rc = stmt_step(st, err);
    if (rc > 0) {
        *ret_project = str_dup(stmt_text(st, 0));
        *ret_owner = str_dup(stmt_text(st, 1));
    }
    return rc;
}

static int mark_deleted(Tx *tx, const Kind *k, Str id, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db, str_from(sql_of(tx->sql, k)->remove), &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(id));
    stmt_bind(st, 2, sql_time(tx->stamp));
    return stmt_run(st, err);
}

int tx_delete(Tx *tx, const Kind *k, Str id, bool *ret_deleted, Err *err)
{
    CLEANUP_FREE char *project = NULL, *owner = NULL;
    int rc = tx_change(tx, err);
    if (rc == 0)
        rc = find_place(tx, k, id, &project, &owner, err);
    bool found = rc > 0;
    if (found) {
        message_heads_forget(tx->w->heads); /* it may be a session: nothing is appended to it any more */
        rc = mark_deleted(tx, k, id, err);
        if (rc == 0)
            rc = tx_event(tx, EVENT_DELETED, k, id, str_from(project), str_from(owner), err);
    }
    if (rc < 0)
        return rc;
    if (ret_deleted)
        *ret_deleted = found;
    return 0;
}

int tx_purge(Tx *tx, const Kind *k, WallUsec before, uint64_t *ret_removed, Err *err)
{
    int rc = tx_change(tx, err);
    if (rc < 0)
        return rc;
    CLEANUP(query_done) Query q = QUERY_INIT;
    buf_addf(&q.sql,
             "DELETE FROM %s WHERE id IN (SELECT id FROM %s WHERE deleted_at IS NULL AND created_at < ",
             k->table, k->table);
    query_param(&q, sql_time(before));
    buf_addz(&q.sql, " ORDER BY created_at, id LIMIT ");
    query_param(&q, sql_int(PURGE_ROWS));
    buf_addz(&q.sql, ")");
    CLEANUP_STMT Stmt *st = NULL;
    rc = query_use(&q, tx->db, &st, err);
    if (rc == 0)
        rc = stmt_run(st, err);
    if (rc == 0)
        *ret_removed = (uint64_t)tx->db->be->changes(tx->db);
    return rc;
}

/* ---- requests ---- */

int tx_request_get(Tx *tx, Str caller, Str request_id, char **ret_object_id, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(
        tx->db,
        STR("SELECT object_id FROM requests WHERE caller = ?1 AND request_id = ?2 AND created_at > ?3"), &st,
        err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(caller));
    stmt_bind(st, 2, sql_text(request_id));
    stmt_bind(st, 3, sql_time((WallUsec){tx->now.us - REQUEST_KEEP}));
    rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return err_set(err, ERR_NOT_FOUND, "no such request");
    *ret_object_id = str_dup(stmt_text(st, 0));
    return 0;
}

/* What is older than a day goes: the table holds a day's requests. */
static int forget_requests(Tx *tx, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db, STR("DELETE FROM requests WHERE created_at <= ?1"), &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_time((WallUsec){tx->now.us - REQUEST_KEEP}));
    return stmt_run(st, err);
}

int tx_request_put(Tx *tx, Str caller, Str request_id, Str object_id, Err *err)
{
    int rc = tx_change(tx, err);
    if (rc == 0)
        rc = forget_requests(tx, err);
    if (rc < 0)
        return rc;
    CLEANUP_STMT Stmt *st = NULL;
    rc = stmt_use(
        tx->db,
        STR("INSERT INTO requests (caller, request_id, object_id, created_at) VALUES (?1, ?2, ?3, ?4)"), &st,
        err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(caller));
    stmt_bind(st, 2, sql_text(request_id));
    stmt_bind(st, 3, sql_text(object_id));
    stmt_bind(st, 4, sql_time(tx->now));
    rc = stmt_run(st, err);
    return rc == -ERR_CONFLICT ? err_set(err, ERR_CONFLICT, "this request was made already") : rc;
}
