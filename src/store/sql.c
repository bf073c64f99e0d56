/* The statements of a kind, written from its table. Names come from our own tables only, never from a client.
 */
#include "store-internal.h"

#define SQL_MAX ((size_t)64 << 10)

static void add_columns(Buf *b, const Kind *k, const char *prefix)
{
    for (size_t i = 0; i < k->n_fields; i++) {
        if (field_stored(&k->fields[i]))
            buf_addf(b, "%s%s%s", i ? ", " : "", prefix, field_column(&k->fields[i]));
    }
}

static char *columns_text(const Kind *k)
{
    CLEANUP_BUF Buf b = BUF_INIT(SQL_MAX);
    add_columns(&b, k, "");
    return buf_take(&b);
}

static char *insert_text(const Kind *k)
{
    CLEANUP_BUF Buf b = BUF_INIT(SQL_MAX);
    buf_addf(&b, "INSERT INTO %s (", k->table);
    add_columns(&b, k, "");
    buf_addz(&b, ") VALUES (");
    unsigned n = 0;
    for (size_t i = 0; i < k->n_fields; i++) {
        if (field_stored(&k->fields[i])) {
            n++;
            buf_addf(&b, "%s?%u", n > 1 ? ", " : "", n);
        }
    }
    buf_addz(&b, ")");
    if (k->id_rule != KIND_ID_NAME)
        return buf_take(&b);
    /* The name of a deleted object may be used again: its row takes the new object. */
    buf_addz(&b, " ON CONFLICT (id) DO UPDATE SET deleted_at = NULL");
    for (size_t i = FIELD_ID + 1; i < k->n_fields; i++) {
        const char *c = field_column(&k->fields[i]);
        if (field_stored(&k->fields[i]))
            buf_addf(&b, ", %s = excluded.%s", c, c);
    }
    buf_addf(&b, " WHERE %s.deleted_at IS NOT NULL", k->table);
    return buf_take(&b);
}

static const char *column_or_null(const Kind *k, int field)
{
    return field < 0 ? "NULL" : field_column(&k->fields[field]);
}

static int kind_sql_init(KindSql *s, const Kind *k, Err *err)
{
    if (order_by_parse(k, str_from(k->default_order), &s->order, err) < 0)
        return err_wrap(err, "default order of %s", k->name);
    s->kind = k;
    s->columns = columns_text(k);
    s->get = xasprintf("SELECT %s FROM %s WHERE id = ?1 AND deleted_at IS NULL", s->columns, k->table);
    s->exists = xasprintf("SELECT 1 FROM %s WHERE id = ?1 AND deleted_at IS NULL", k->table);
    s->insert = insert_text(k);
    s->place = xasprintf("SELECT %s, %s FROM %s WHERE id = ?1 AND deleted_at IS NULL",
                         column_or_null(k, k->project_field), column_or_null(k, k->owner_field), k->table);
    s->remove = xasprintf("UPDATE %s SET deleted_at = ?2 WHERE id = ?1 AND deleted_at IS NULL", k->table);
    return 0;
}

int sql_new(const Dialect *d, Sql **ret, Err *err)
{
    Sql *s = xnew(Sql);
    const Kind *const *kinds = kinds_all(&s->n_kinds);
    s->dialect = d;
    s->kinds = xcalloc(s->n_kinds, sizeof(*s->kinds));
    for (size_t i = 0; i < s->n_kinds; i++) {
        int rc = kind_sql_init(&s->kinds[i], kinds[i], err);
        if (rc < 0) {
            sql_free(s);
            return rc;
        }
    }
    *ret = s;
    return 0;
}

Sql *sql_free(Sql *s)
{
    if (!s)
        return NULL;
    for (size_t i = 0; i < s->n_kinds; i++) {
        KindSql *k = &s->kinds[i];
        free(k->columns);
        free(k->get);
        free(k->exists);
        free(k->insert);
        free(k->place);
        free(k->remove);
    }
    free(s->kinds);
    free(s);
    return NULL;
}

const KindSql *sql_of(const Sql *s, const Kind *k)
{
    for (size_t i = 0; i < s->n_kinds; i++) {
        if (s->kinds[i].kind == k || strcmp(s->kinds[i].kind->table, k->table) == 0)
            return &s->kinds[i];
    }
    abort(); /* every kind is in kinds_all() */
}

SqlValue sql_field_value(const Obj *o, int field)
{
    const Field *f = &o->kind->fields[field];
    const Value *v = &o->v[field];
    if (v->state != V_SET)
        return sql_null();
    switch (f->type) {
    case FT_STRING:
    case FT_JSON_TEXT:
        if (!v->len && (f->flags & F_EMPTY_NULL))
            return sql_null();
        return sql_text((Str){v->str, v->len});
    case FT_INT32:
    case FT_INT64:
        return sql_int(v->i);
    case FT_DOUBLE:
        return sql_double(v->d);
    case FT_BOOL:
        return sql_bool(v->b);
    case FT_TIME:
        return sql_time(v->t);
    }
    return sql_null();
}

static void read_column(Stmt *st, unsigned col, Obj *o, int field)
{
    static const SqlType types[] = {
        [FT_STRING] = SQL_TEXT,   [FT_JSON_TEXT] = SQL_TEXT, [FT_INT32] = SQL_INT, [FT_INT64] = SQL_INT,
        [FT_DOUBLE] = SQL_DOUBLE, [FT_BOOL] = SQL_BOOL,      [FT_TIME] = SQL_TIME,
    };
    SqlValue v = st->db->be->column(st, col, types[o->kind->fields[field].type]);
    switch (v.type) {
    case SQL_TEXT:
        obj_set_str(o, field, v.s);
        break;
    case SQL_INT:
        obj_set_int(o, field, v.i);
        break;
    case SQL_DOUBLE:
        obj_set_double(o, field, v.d);
        break;
    case SQL_BOOL:
        obj_set_bool(o, field, v.b);
        break;
    case SQL_TIME:
        obj_set_time(o, field, v.t);
        break;
    case SQL_NULL:
    case SQL_BLOB:
        obj_set_null(o, field);
        break;
    }
}

int sql_read_row(Stmt *st, const Kind *k, Obj **ret, Err *err)
{
    Obj *o = obj_new(k);
    unsigned col = 0;
    for (size_t i = 0; i < k->n_fields; i++) {
        if (field_stored(&k->fields[i]))
            read_column(st, col++, o, (int)i);
    }
    *ret = o;
    return 0;
}
