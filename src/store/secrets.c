#include "store/secrets.h"
#include "base/mem.h"
#include "store-internal.h"

#define PAGE 200
#define FORM_MAX ((size_t)1 << 20)

/* Where secrets are: one column of a table each. */
typedef struct Place {
    const char *table, *id, *value, *deleted; /* columns; deleted is an expression */
} Place;

static const Place platform_place = {"platform_secrets", "name", "value", "NULL"};

/* The i-th place, or false behind the last one. */
static bool place_at(size_t i, Place *ret)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    if (i-- == 0) {
        *ret = platform_place;
        return true;
    }
    for (size_t k = 0; k < n; k++) {
        for (size_t f = 0; f < kinds[k]->n_fields; f++) {
            const Field *field = &kinds[k]->fields[f];
            if (!(field->flags & F_WRITE_ONLY) || !field_stored(field) || i-- > 0)
                continue;
            *ret = (Place){kinds[k]->table, "id", field_column(field), "deleted_at"};
            return true;
        }
    }
    return false;
}

static int use_text(Db *db, Buf *sql, Stmt **ret, Err *err)
{
    int rc = buf_check(sql, err);
    return rc < 0 ? rc : stmt_use(db, buf_str(sql), ret, err);
}

/* ---- reading ---- */

typedef VEC_OF(StoredSecret)
SecretVec;

static void secrets_done(SecretVec *v)
{
    VEC_FOREACH (v, s) {
        secret_erase((void *)(uintptr_t)s->value.ptr, s->value.len);
        free((void *)(uintptr_t)s->id.ptr);
        free((void *)(uintptr_t)s->value.ptr);
    }
    vec_free(v);
}

static Str own(Str s)
{
    return (Str){str_dup(s), s.len};
}

/* Up to PAGE secrets of a place behind the id `after`, copied: the caller may write between two pages. */
static int read_page(Db *db, const Place *p, Str after, SecretVec *ret, Err *err)
{
    CLEANUP_BUF Buf sql = BUF_INIT(1024);
    CLEANUP_STMT Stmt *st = NULL;
    (void)buf_addf(&sql, "SELECT %s, %s, %s FROM %s WHERE %s > ?1 AND %s <> '' ORDER BY %s LIMIT %d", p->id,
                   p->value, p->deleted, p->table, p->id, p->value, p->id, PAGE);
    int rc = use_text(db, &sql, &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(after));
    while ((rc = stmt_step(st, err)) > 0)
        vec_push(ret, ((StoredSecret){
                          .table = p->table,
                          .id = own(stmt_text(st, 0)),
                          .value = own(stmt_text(st, 1)),
                          .deleted = !stmt_is_null(st, 2),
                      }));
    return rc;
}

static int read_place(Db *db, const Place *p, SecretFn fn, void *arg, Err *err)
{
    CLEANUP_FREE char *after = xstrdup("");
    for (;;) {
        CLEANUP(secrets_done) SecretVec page = {0};
        int rc = read_page(db, p, str_from(after), &page, err);
        if (rc < 0 || !page.len)
            return rc;
        VEC_FOREACH (&page, s) {
            rc = fn(arg, s, err);
            if (rc != 0)
                return rc;
        }
        free(after);
        after = str_dup(page.ptr[page.len - 1].id);
    }
}

static int read_all(Db *db, SecretFn fn, void *arg, Err *err)
{
    Place p;
    int rc = 0;
    for (size_t i = 0; rc == 0 && place_at(i, &p); i++)
        rc = read_place(db, &p, fn, arg, err);
    return rc;
}

int tx_secrets_read(Tx *tx, SecretFn fn, void *arg, Err *err)
{
    return read_all(tx->db, fn, arg, err);
}

/* ---- changing ---- */

static int swap(Db *db, const Place *p, Str id, Str from, Str to, bool *ret_swapped, Err *err)
{
    CLEANUP_BUF Buf sql = BUF_INIT(1024);
    CLEANUP_STMT Stmt *st = NULL;
    (void)buf_addf(&sql, "UPDATE %s SET %s = ?1 WHERE %s = ?2 AND %s = ?3", p->table, p->value, p->id,
                   p->value);
    int rc = use_text(db, &sql, &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(to));
    stmt_bind(st, 2, sql_text(id));
    stmt_bind(st, 3, sql_text(from));
    rc = stmt_run(st, err);
    if (rc == 0)
        *ret_swapped = db->be->changes(db) == 1;
    return rc;
}

int tx_platform_secret_swap(Tx *tx, Str name, Str from, Str to, bool *ret_swapped, Err *err)
{
    int rc = tx_change(tx, err);
    return rc < 0 ? rc : swap(tx->db, &platform_place, name, from, to, ret_swapped, err);
}

int tx_platform_secret_get(Tx *tx, Str name, char **ret, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(tx->db, STR("SELECT value FROM platform_secrets WHERE name = ?1"), &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(name));
    rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return err_set(err, ERR_NOT_FOUND, "no platform secret " STR_FMT, STR_ARG(name));
    *ret = str_dup(stmt_text(st, 0));
    return 0;
}

int tx_platform_secret_put(Tx *tx, Str name, Str value, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = tx_change(tx, err);
    if (rc == 0)
        rc = stmt_use(tx->db,
                      STR("INSERT INTO platform_secrets (name, value, created_at) VALUES (?1, ?2, ?3)"
                          " ON CONFLICT (name) DO NOTHING"),
                      &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(name));
    stmt_bind(st, 2, sql_text(value));
    stmt_bind(st, 3, sql_time(tx->now));
    return stmt_run(st, err);
}

/* ---- the walk ---- */

typedef struct Walk {
    Db *db;
    const SecretWalk *ops;
    void *arg;
} Walk;

static int place_of(const char *table, Place *ret)
{
    for (size_t i = 0; place_at(i, ret); i++)
        if (strcmp(ret->table, table) == 0)
            return 0;
    return -1;
}

static int write_one(Db *db, const StoredSecret *s, Str form, bool *ret_swapped, Err *err)
{
    Place p;
    if (place_of(s->table, &p) < 0)
        return err_set(err, ERR_INTERNAL, "no secrets in %s", s->table);
    int rc = db->be->begin(db, true, err);
    if (rc == 0)
        rc = swap(db, &p, s->id, s->value, form, ret_swapped, err);
    if (rc == 0)
        rc = db->be->commit(db, err);
    if (rc < 0)
        db->be->rollback(db);
    return rc;
}

/* A row that cannot be turned is the visitor's to count: the others are still turned. */
static int walk_one(void *arg, const StoredSecret *s, Err *err)
{
    Walk *w = arg;
    CLEANUP_BUF Buf form = BUF_INIT(FORM_MAX);
    Err why = {0};
    bool swapped = false;
    if (w->ops->turn(w->arg, s, &form) <= 0)
        return 0;
    int rc = write_one(w->db, s, buf_str(&form), &swapped, &why);
    secret_erase(form.data, form.len);
    w->ops->turned(w->arg, s, swapped, rc < 0 ? &why : NULL);
    return 0;
}

int store_secrets_walk(const StoreOptions *o, const SecretWalk *ops, void *arg, Err *err)
{
    Walk w = {.ops = ops, .arg = arg};
    int rc = db_open_url(o, DB_WRITER, &w.db, err);
    if (rc < 0)
        return rc;
    rc = migrate_check(w.db, err);
    if (rc == 0)
        rc = read_all(w.db, walk_one, &w, err);
    w.db->be->close(w.db);
    return rc;
}
