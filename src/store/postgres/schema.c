/* What migrations ask about tables, and what makes another program's tables fit. */
#include "pg-internal.h"

#include "base/mem.h"

#define SQL_MAX ((size_t)64 << 10)

static int each_name(Db *db, Str sql, const char *param, DbNameFn fn, void *arg, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(db, sql, &st, err);
    if (rc < 0)
        return rc;
    if (param)
        stmt_bind(st, 1, sql_text(str_from(param)));
    while ((rc = stmt_step(st, err)) > 0) {
        rc = fn(arg, stmt_text(st, 0));
        if (rc < 0)
            break;
    }
    return rc;
}

int pg_columns(Db *db, const char *table, DbNameFn fn, void *arg, Err *err)
{
    return each_name(db,
                     STR("SELECT attname::text FROM pg_attribute WHERE attrelid = to_regclass(?1)"
                         " AND attnum > 0 AND NOT attisdropped ORDER BY attnum"),
                     table, fn, arg, err);
}

int pg_tables(Db *db, DbNameFn fn, void *arg, Err *err)
{
    return each_name(db,
                     STR("SELECT relname::text FROM pg_class WHERE relkind = 'r'"
                         " AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = "
                         "current_schema()) ORDER BY relname"),
                     NULL, fn, arg, err);
}

/* ILIKE folds letters by this collation: characters one by one, as the SQLite backend does. Which names a
 * system has differs; the first that is there is taken. */
static const char fold_collation[] =
    "DO $$ DECLARE what text; BEGIN"
    " IF EXISTS (SELECT 1 FROM pg_collation WHERE collname = 'ambient_fold' AND collnamespace ="
    "  (SELECT oid FROM pg_namespace WHERE nspname = current_schema())) THEN RETURN; END IF;"
    " FOREACH what IN ARRAY ARRAY['provider = libc, locale = ''C.UTF-8''',"
    "  'provider = libc, locale = ''C.utf8''', 'provider = libc, locale = ''en_US.utf8''',"
    "  'provider = icu, locale = ''und''', 'provider = libc, locale = ''C''']"
    " LOOP BEGIN EXECUTE 'CREATE COLLATION ambient_fold (' || what || ')'; RETURN;"
    " EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$;";

/* The text under a key of a JSON object; NULL for what is none. PostgreSQL 15 cannot ask whether text is
 * JSON. */
static const char label_function[] =
    "CREATE OR REPLACE FUNCTION ambient_label(labels text, key text) RETURNS text LANGUAGE plpgsql IMMUTABLE "
    "AS $$"
    " DECLARE v json; BEGIN"
    " v := labels::json;"
    " IF json_typeof(v) = 'object' AND json_typeof(v -> key) = 'string' THEN RETURN v ->> key; END IF;"
    " RETURN NULL; EXCEPTION WHEN data_exception THEN RETURN NULL; END $$;";

int pg_prepare_schema(Db *db, Err *err)
{
    int rc = db->be->exec(db, fold_collation, err);
    return rc < 0 ? rc : db->be->exec(db, label_function, err);
}

/* ---- tables that another program made ---- */

typedef struct ColumnNow {
    bool exists, fits, not_null;
} ColumnNow;

static int look_at_column(Db *db, const char *table, const char *column, const char *type, ColumnNow *ret,
                          Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc =
        stmt_use(db,
                 STR("SELECT format_type(a.atttypid, a.atttypmod)"
                     " || CASE WHEN a.attcollation <> 0 THEN ' COLLATE \"' || c.collname || '\"' ELSE '' END,"
                     " a.attnotnull FROM pg_attribute a LEFT JOIN pg_collation c ON c.oid = a.attcollation"
                     " WHERE a.attrelid = to_regclass(?1) AND a.attname = ?2 AND NOT a.attisdropped"),
                 &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(str_from(table)));
    stmt_bind(st, 2, sql_text(str_from(column)));
    rc = stmt_step(st, err);
    *ret = (ColumnNow){.exists = rc > 0};
    if (rc > 0) {
        ret->fits = str_eqz(stmt_text(st, 0), type);
        ret->not_null = db->be->column(st, 1, SQL_BOOL).b;
    }
    return rc < 0 ? rc : 0;
}

/* Type, collation, and no rule of its own: which fields must be there the kinds' tables say. */
int pg_adopt_column(Db *db, const char *table, const char *column, const char *type, bool is_key, Err *err)
{
    ColumnNow now = {0};
    CLEANUP_BUF Buf b = BUF_INIT(SQL_MAX);
    int rc = look_at_column(db, table, column, type, &now, err);
    if (rc < 0 || !now.exists)
        return rc;
    if (!now.fits)
        (void)buf_addf(&b,
                       "ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT, ALTER COLUMN %s TYPE %s USING %s::%s;",
                       table, column, column, type, column, type);
    if (now.not_null && !is_key)
        (void)buf_addf(&b, "ALTER TABLE %s ALTER COLUMN %s DROP NOT NULL;", table, column);
    if (!b.len)
        return 0;
    rc = buf_check(&b, err);
    return rc < 0 ? rc : db->be->exec(db, b.data, err);
}

static int add_text(void *arg, Str text)
{
    return buf_adds(arg, text);
}

/* Foreign keys and unique indexes of its own go: objects here are deleted softly, and their names are free
 * again then. Ours end in "_unique" or name what they guard. */
int pg_adopt_table(Db *db, const char *table, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(SQL_MAX);
    int rc = each_name(db,
                       STR("SELECT format('ALTER TABLE %s DROP CONSTRAINT %I;', conrelid::regclass, conname)"
                           " FROM pg_constraint WHERE conrelid = to_regclass(?1) AND contype IN ('f', 'c')"),
                       table, add_text, &b, err);
    if (rc == 0)
        rc = each_name(db,
                       STR("SELECT format('DROP INDEX %s;', i.indexrelid::regclass) FROM pg_index i"
                           " WHERE i.indrelid = to_regclass(?1) AND i.indisunique AND NOT i.indisprimary"
                           " AND i.indexrelid::regclass::text LIKE '%idx\\_%'"
                           " AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid)"),
                       table, add_text, &b, err);
    if (rc < 0 || !b.len)
        return rc;
    rc = buf_check(&b, err);
    return rc < 0 ? rc : db->be->exec(db, b.data, err);
}
