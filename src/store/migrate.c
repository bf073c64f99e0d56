/*
 * The schema, as numbered steps. Ids are the reference's where a step makes the same table, so that its
 * databases can be taken over; ours follow. Tables of kinds come from the kinds' tables: a step makes the
 * table with the columns of today; every run adds the columns that were born later ("kinds/<table>.<column>")
 * and the indexes.
 */
#include <assert.h>
#include "base/map.h"
#include "store-internal.h"

#define SQL_MAX ((size_t)256 << 10)

typedef struct Migration Migration;
struct Migration {
    const char *id;
    int (*up)(Db *db, const Migration *m, Err *err);
    const Kind *kind;
    const char *sql; /* $KEY, $INT, $TIME, $BLOB, $SERIAL, $COUNT stand for types of the dialect */
};

/* ---- building statements ---- */

static const char *type_word(const Dialect *d, Str word)
{
    const struct {
        Str word;
        const char *type;
    } words[] = {
        {STR("KEY"), d->key},
        {STR("INT"), d->types[FT_INT64]},
        {STR("TIME"), d->types[FT_TIME]},
        {STR("TEXT"), d->types[FT_STRING]},
        {STR("BLOB"), d->blob},
        {STR("SERIAL"), d->serial},
        {STR("COUNT"), d->count},
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (str_eq(word, words[i].word))
            return words[i].type;
    }
    abort(); /* a word that is in none of our own texts */
}

static void expand(Buf *out, const Dialect *d, const char *sql)
{
    while (*sql) {
        if (*sql != '$') {
            buf_addc(out, *sql++);
            continue;
        }
        const char *word = ++sql;
        while (*sql >= 'A' && *sql <= 'Z')
            sql++;
        buf_addz(out, type_word(d, (Str){word, (size_t)(sql - word)}));
    }
}

static int run_text(Db *db, Buf *b, Err *err)
{
    int rc = buf_check(b, err);
    return rc < 0 || !b->len ? rc : db->be->exec(db, b->data, err);
}

static int up_sql(Db *db, const Migration *m, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(SQL_MAX);
    expand(&b, db->be->dialect, m->sql);
    return run_text(db, &b, err);
}

static const char *column_type(const Dialect *d, const Kind *k, size_t field)
{
    return field == FIELD_ID ? d->key : d->types[k->fields[field].type];
}

/* An index over live rows. Its name says what it holds. */
static void add_index(Buf *b, const Kind *k, bool unique, const char *columns, const char *name)
{
    buf_addf(b, "CREATE %sINDEX IF NOT EXISTS %s_%s ON %s (%s) WHERE deleted_at IS NULL;",
             unique ? "UNIQUE " : "", k->table, name, k->table, columns);
}

/* Lists of a parent or of a project come in order of creation. */
static void add_list_index(Buf *b, const Kind *k, int field)
{
    if (field < FIELD_FIRST)
        return;
    const char *c = field_column(&k->fields[field]);
    CLEANUP_FREE char *columns = xasprintf("%s, created_at, id", c);
    add_index(b, k, false, columns, c);
}

static void add_unique_index(Buf *b, const Kind *k, size_t field)
{
    const Field *f = &k->fields[field];
    const char *c = field_column(f);
    CLEANUP_FREE char *name = xasprintf("%s_unique", c);
    if (f->flags & F_UNIQUE) {
        add_index(b, k, true, c, name);
    } else if (f->flags & F_UNIQUE_IN_PARENT && k->parent_field >= 0) {
        CLEANUP_FREE char *columns = xasprintf("%s, %s", field_column(&k->fields[k->parent_field]), c);
        add_index(b, k, true, columns, name);
    }
}

static void add_indexes(Buf *b, const Kind *k)
{
    add_index(b, k, false, "created_at, id", "live");
    add_list_index(b, k, k->project_field);
    if (k->parent_field != k->project_field)
        add_list_index(b, k, k->parent_field);
    for (size_t i = FIELD_FIRST; i < k->n_fields; i++)
        add_unique_index(b, k, i);
}

static int up_kind(Db *db, const Migration *m, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(SQL_MAX);
    const Kind *k = m->kind;
    const Dialect *d = db->be->dialect;
    buf_addf(&b, "CREATE TABLE IF NOT EXISTS %s (", k->table);
    for (size_t i = 0; i < k->n_fields; i++) {
        if (field_stored(&k->fields[i]))
            buf_addf(&b, "%s %s%s, ", field_column(&k->fields[i]), column_type(d, k, i),
                     i == FIELD_ID ? " NOT NULL PRIMARY KEY" : "");
    }
    buf_addf(&b, "deleted_at %s);", d->types[FT_TIME]);
    return run_text(db, &b, err);
}

static int up_owners(Db *db, const Migration *m, Err *err)
{
    return migrate_owner_bindings(db, err);
}

static int up_adopt(Db *db, const Migration *m, Err *err)
{
    return migrate_adopt_logs(db, err);
}

/* ---- the steps ---- */

/* Those that make the reference's tables come first: columns are completed behind them. */
#define N_TABLES 16
static const Migration steps[] = {
    {"202309020925", up_sql, NULL,
     "CREATE TABLE IF NOT EXISTS events (version $SERIAL, id $KEY NOT NULL, source $TEXT NOT NULL,"
     " source_id $KEY NOT NULL, event_type $TEXT NOT NULL, project_id $KEY, owner $TEXT, created_at $TIME "
     "NOT NULL,"
     " reconciled_date $TIME);"},
    {"202503100001", up_sql, NULL,
     "CREATE TABLE IF NOT EXISTS session_messages (pos $COUNT, id $KEY NOT NULL, session_id $KEY NOT NULL,"
     " seq $INT NOT NULL, event_type $TEXT NOT NULL, payload $TEXT NOT NULL, created_at $TIME NOT NULL,"
     " actor $TEXT NOT NULL, turn $TEXT, hash $BLOB NOT NULL, request_id $TEXT, UNIQUE (session_id, seq));"
     "CREATE UNIQUE INDEX IF NOT EXISTS session_messages_request ON session_messages (session_id, request_id)"
     " WHERE request_id IS NOT NULL;"},
    {"202602132218", up_kind, &kind_session, NULL},
    {"202602150010", up_kind, &kind_project, NULL},
    {"202602150020", up_kind, &kind_project_settings, NULL},
    {"202602171358", up_kind, &kind_user, NULL},
    {"202603211930", up_kind, &kind_agent, NULL},
    {"202603211931", up_kind, &kind_inbox_message, NULL},
    {"202603100137", up_kind, &kind_role, NULL},
    {"202603100138", up_kind, &kind_role_binding, NULL},
    {"202603311215", up_kind, &kind_credential, NULL},
    {"202611240003", up_kind, &kind_audit_event, NULL},
    {"202604280001", up_kind, &kind_scheduled_session, NULL},
    {"202605050001", up_sql, NULL, ""}, /* columns of that table, which the step before made already */
    {"202606102223", up_kind, &kind_application, NULL},
    {"202611240010", up_kind, &kind_schedule_run, NULL}, /* ours */
    /* Ours. */
    {"202609010001", up_sql, NULL,
     "CREATE TABLE usage (session_id $KEY NOT NULL, seq $INT NOT NULL, turn $TEXT, model $TEXT, input_tokens "
     "$INT,"
     " output_tokens $INT, cached_tokens $INT, cost_micros $INT, wall_ms $INT, created_at $TIME NOT NULL,"
     " PRIMARY KEY (session_id, seq));"
     "CREATE TABLE records (session_id $KEY NOT NULL, seq $INT NOT NULL, turn $TEXT, kind $TEXT NOT NULL,"
     " payload $TEXT NOT NULL, created_at $TIME NOT NULL, PRIMARY KEY (session_id, seq));"
     "CREATE TABLE requests (caller $TEXT NOT NULL, request_id $TEXT NOT NULL, object_id $KEY NOT NULL,"
     " created_at $TIME NOT NULL, PRIMARY KEY (caller, request_id));"
     "CREATE INDEX requests_age ON requests (created_at);"
     /* How long each log is kept; NULL = for ever. */
     "CREATE TABLE retention (log $TEXT NOT NULL PRIMARY KEY, keep_days $INT);"
     "INSERT INTO retention (log, keep_days) VALUES ('events', 7), ('session_messages', NULL), ('usage', "
     "NULL),"
     " ('records', 30);"
     /* Written now and then to see whether the disk takes writes again. */
     "CREATE TABLE health (id $INT NOT NULL PRIMARY KEY, checked_at $TIME NOT NULL);"},
    {"202609010002", up_sql, NULL,
     "CREATE INDEX IF NOT EXISTS sessions_agent_id ON sessions (agent_id, created_at, id) WHERE deleted_at "
     "IS NULL;"
     /* One active session per agent, among those that agent start made. docs/decisions/0003-start-guard.md */
     "CREATE UNIQUE INDEX IF NOT EXISTS sessions_start_guard ON sessions (start_guard) WHERE deleted_at IS "
     "NULL"
     " AND start_guard IS NOT NULL AND phase IN ('Pending', 'Creating', 'Running');"},
    /* Rows of the reference: one name for all scopes' ids, people by their username, each binding once. */
    {"202611240001", up_sql, NULL,
     "UPDATE role_bindings SET user_id = (SELECT username FROM users WHERE users.id = role_bindings.user_id)"
     " WHERE user_id IN (SELECT id FROM users WHERE deleted_at IS NULL);"
     "UPDATE role_bindings SET project_id = scope_id WHERE scope = 'project' AND project_id IS NULL;"
     "UPDATE role_bindings SET agent_id = scope_id WHERE scope = 'agent' AND agent_id IS NULL;"
     "UPDATE role_bindings SET session_id = scope_id WHERE scope = 'session' AND session_id IS NULL;"
     "UPDATE role_bindings SET credential_id = scope_id WHERE scope = 'credential' AND credential_id IS NULL;"
     "UPDATE role_bindings SET scope_id = CASE scope WHEN 'project' THEN project_id WHEN 'agent' THEN "
     "agent_id"
     " WHEN 'session' THEN session_id WHEN 'credential' THEN credential_id END WHERE scope_id IS NULL;"
     "DELETE FROM role_bindings WHERE deleted_at IS NULL AND EXISTS (SELECT 1 FROM role_bindings AS b"
     " WHERE b.deleted_at IS NULL AND b.id < role_bindings.id AND b.role_id = role_bindings.role_id"
     " AND b.scope = role_bindings.scope AND COALESCE(b.user_id, '') = COALESCE(role_bindings.user_id, '')"
     " AND COALESCE(b.project_id, '') = COALESCE(role_bindings.project_id, '')"
     " AND COALESCE(b.agent_id, '') = COALESCE(role_bindings.agent_id, '')"
     " AND COALESCE(b.session_id, '') = COALESCE(role_bindings.session_id, '')"
     " AND COALESCE(b.credential_id, '') = COALESCE(role_bindings.credential_id, ''));"
     "CREATE UNIQUE INDEX IF NOT EXISTS role_bindings_once ON role_bindings (role_id, scope,"
     " COALESCE(user_id, ''), COALESCE(project_id, ''), COALESCE(agent_id, ''), COALESCE(session_id, ''),"
     " COALESCE(credential_id, '')) WHERE deleted_at IS NULL;"
     "CREATE INDEX IF NOT EXISTS role_bindings_user ON role_bindings (user_id) WHERE deleted_at IS NULL;"
     "CREATE INDEX IF NOT EXISTS role_bindings_agent ON role_bindings (agent_id) WHERE deleted_at IS NULL"
     " AND agent_id IS NOT NULL;"
     "CREATE INDEX IF NOT EXISTS role_bindings_session ON role_bindings (session_id) WHERE deleted_at IS NULL"
     " AND session_id IS NOT NULL;"
     "CREATE INDEX IF NOT EXISTS role_bindings_credential ON role_bindings (credential_id) WHERE deleted_at "
     "IS"
     " NULL AND credential_id IS NOT NULL;"
     "CREATE UNIQUE INDEX IF NOT EXISTS users_identity ON users (issuer, subject) WHERE deleted_at IS NULL"
     " AND subject IS NOT NULL;"},
    {"202611240002", up_owners, NULL, NULL},
    {"202611240020", up_adopt, NULL, NULL},
    {"202611240021", up_sql, NULL, /* how far an import came */
     "CREATE TABLE imports (id $KEY NOT NULL PRIMARY KEY, line_count $INT NOT NULL, done $INT NOT NULL);"},
    /* The platform's own secrets, sealed like those of credentials when there is a key ring. */
    {"202611240004", up_sql, NULL,
     "CREATE TABLE IF NOT EXISTS platform_secrets (name $KEY NOT NULL PRIMARY KEY, value $TEXT NOT NULL,"
     " created_at $TIME NOT NULL);"},
    /* What the scheduler asks for: the next schedule to look at, runs that wait, sessions of a schedule. */
    {"202611240011", up_sql, NULL,
     "CREATE INDEX IF NOT EXISTS scheduled_sessions_wake ON scheduled_sessions (wake_at) WHERE deleted_at IS "
     "NULL"
     " AND wake_at IS NOT NULL;"
     "CREATE INDEX IF NOT EXISTS scheduled_session_runs_queued ON scheduled_session_runs (agent_id)"
     " WHERE deleted_at IS NULL AND outcome = 'queued';"
     "CREATE INDEX IF NOT EXISTS sessions_schedule ON sessions (scheduled_session_id, created_at, id)"
     " WHERE deleted_at IS NULL AND scheduled_session_id IS NOT NULL;"},
    {"202611240030", up_sql, NULL,
     "UPDATE role_bindings SET home_project_id = COALESCE(project_id,"
     " (SELECT project_id FROM agents WHERE agents.id = role_bindings.agent_id),"
     " (SELECT project_id FROM sessions WHERE sessions.id = role_bindings.session_id))"
     " WHERE home_project_id IS NULL;"
     "CREATE INDEX IF NOT EXISTS role_bindings_home ON role_bindings (home_project_id) WHERE deleted_at IS "
     "NULL"
     " AND home_project_id IS NOT NULL;"},
};

/* ---- what is applied ---- */

static int applied(Db *db, Map **ret, Err *err)
{
    CLEANUP(map_freep) Map *ids = map_new();
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(db, STR("SELECT id FROM migrations"), &st, err);
    while (rc >= 0 && (rc = stmt_step(st, err)) > 0)
        map_put(ids, stmt_text(st, 0), ids);
    if (rc < 0)
        return rc;
    *ret = TAKE(ids);
    return 0;
}

static int count_column(void *arg, Str name)
{
    ++*(int *)arg;
    return 0;
}

static int has_table(Db *db, const char *table, bool *ret, Err *err)
{
    int n = 0;
    int rc = db->be->columns(db, table, count_column, &n, err);
    *ret = n > 0;
    return rc;
}

static int record(Db *db, const char *id, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(db, STR("INSERT INTO migrations (id) VALUES (?1)"), &st, err);
    if (rc < 0)
        return rc;
    stmt_bind(st, 1, sql_text(str_from(id)));
    return stmt_run(st, err);
}

/* ---- columns that a kind has and its table has not, and the indexes ---- */

typedef struct Columns {
    const Kind *kind;
    Map *have;
} Columns;

static int note_column(void *arg, Str name)
{
    Columns *c = arg;
    map_put(c->have, name, c);
    return 0;
}

/* The first stored field without a column, or -1. */
static int missing_column(Db *db, const Kind *k, int *ret, Err *err)
{
    CLEANUP(map_freep) Map *have = map_new();
    Columns c = {k, have};
    int rc = db->be->columns(db, k->table, note_column, &c, err);
    if (rc < 0)
        return rc;
    *ret = -1;
    for (int i = 0; i < (int)k->n_fields && *ret < 0; i++) {
        if (field_stored(&k->fields[i]) && !map_has(have, str_from(field_column(&k->fields[i]))))
            *ret = i;
    }
    return 0;
}

static int add_column(Db *db, const Kind *k, int field, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(SQL_MAX);
    const char *c = field_column(&k->fields[field]);
    buf_addf(&b, "ALTER TABLE %s ADD COLUMN %s %s;", k->table, c,
             column_type(db->be->dialect, k, (size_t)field));
    int rc = run_text(db, &b, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *id = xasprintf("kinds/%s.%s", k->table, c);
    return record(db, id, err);
}

/* A table of the reference: its columns get our types, and lose rules that ours do not have. */
static int adopt_kind(Db *db, const Kind *k, Err *err)
{
    const Backend *be = db->be;
    int rc = be->adopt_table ? be->adopt_table(db, k->table, err) : 0;
    for (size_t i = 0; rc == 0 && be->adopt_column && i < k->n_fields; i++) {
        if (field_stored(&k->fields[i]))
            rc = be->adopt_column(db, k->table, field_column(&k->fields[i]), column_type(be->dialect, k, i),
                                  i == FIELD_ID, err);
    }
    return rc;
}

static int complete_kind(Db *db, const Kind *k, Err *err)
{
    int field = -1;
    int rc = adopt_kind(db, k, err);
    if (rc == 0)
        rc = missing_column(db, k, &field, err);
    while (rc == 0 && field >= 0) {
        rc = add_column(db, k, field, err);
        if (rc == 0)
            rc = missing_column(db, k, &field, err);
    }
    if (rc < 0)
        return rc;
    CLEANUP_BUF Buf b = BUF_INIT(SQL_MAX);
    add_indexes(&b, k);
    return run_text(db, &b, err);
}

static int complete_all(Db *db, Err *err)
{
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    for (size_t i = 0; i < n; i++) {
        int rc = complete_kind(db, kinds[i], err);
        if (rc < 0)
            return err_wrap(err, "columns of %s", kinds[i]->table);
    }
    return 0;
}

/* ---- running ---- */

static const Migration *step_of(Str id)
{
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        if (str_eqz(id, steps[i].id))
            return &steps[i];
    }
    return NULL;
}

static bool is_known(Str id)
{
    Str rest = id;
    if (step_of(id) || migrate_is_reference_step(id))
        return true;
    if (!str_eqz(str_cut(&rest, '/'), "kinds"))
        return false;
    Str table = str_cut(&rest, '.');
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    for (size_t i = 0; i < n; i++) {
        if (str_eqz(table, kinds[i]->table))
            return kind_field_by_column(kinds[i], rest) >= 0;
    }
    return false;
}

static int refuse_newer(const Map *ids, Err *err)
{
    MAP_FOREACH (ids, it) {
        if (!is_known(it.key))
            return err_set(err, ERR_PRECONDITION,
                           "the database was made by a newer version of this program (step " STR_FMT
                           "): use that version",
                           STR_ARG(it.key));
    }
    return 0;
}

/* One step in a transaction of its own. Another process may have been faster: look again inside. */
static int apply(Db *db, const Migration *m, Err *err)
{
    int rc = db->be->begin(db, true, err);
    if (rc < 0)
        return rc;
    Map *ids = NULL;
    rc = applied(db, &ids, err);
    bool skip = rc == 0 && map_has(ids, str_from(m->id));
    map_free(ids);
    if (rc == 0 && !skip)
        rc = m->up(db, m, err);
    if (rc == 0 && !skip)
        rc = record(db, m->id, err);
    if (rc == 0)
        rc = db->be->commit(db, err);
    if (rc < 0) {
        db->be->rollback(db);
        return err_wrap(err, "migration %s", m->id);
    }
    return 0;
}

static int begin_schema(Db *db, Err *err)
{
    int rc = db->be->begin(db, true, err);
    if (rc == 0)
        rc = db->be->prepare_schema(db, err);
    if (rc == 0)
        rc = db->be->exec(db, "CREATE TABLE IF NOT EXISTS migrations (id VARCHAR(255) NOT NULL PRIMARY KEY);",
                          err);
    if (rc == 0)
        rc = db->be->commit(db, err);
    if (rc < 0)
        db->be->rollback(db);
    return rc;
}

static int complete_kinds(Db *db, Err *err)
{
    int rc = db->be->begin(db, true, err);
    if (rc == 0)
        rc = complete_all(db, err);
    if (rc == 0)
        rc = db->be->commit(db, err);
    if (rc < 0)
        db->be->rollback(db);
    return rc;
}

static int count_applied(Db *db, int *ret, Err *err)
{
    CLEANUP(map_freep) Map *ids = NULL;
    int rc = applied(db, &ids, err);
    if (rc == 0)
        *ret = (int)map_len(ids);
    return rc < 0 ? rc : refuse_newer(ids, err);
}

static int apply_range(Db *db, size_t from, size_t to, Err *err)
{
    int rc = 0;
    for (size_t i = from; rc == 0 && i < to; i++)
        rc = apply(db, &steps[i], err);
    return rc;
}

/* A step whose id another one has would never run. */
static bool ids_differ(void)
{
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        for (size_t j = 0; j < i; j++)
            if (strcmp(steps[i].id, steps[j].id) == 0)
                return false;
    return true;
}

int migrate_run(Db *db, int *ret_from, int *ret_to, Err *err)
{
    int from = 0;
    int to = 0;
    assert(ids_differ());
    int rc = begin_schema(db, err);
    if (rc == 0)
        rc = count_applied(db, &from, err);
    if (rc == 0)
        rc = apply_range(db, 0, N_TABLES, err);
    if (rc == 0)
        rc = complete_kinds(db, err);
    if (rc == 0)
        rc = apply_range(db, N_TABLES, ARRAY_LEN(steps), err);
    if (rc == 0)
        rc = count_applied(db, &to, err);
    if (rc < 0)
        return rc;
    if (ret_from)
        *ret_from = from;
    if (ret_to)
        *ret_to = to;
    return 0;
}

static int refuse_older(Db *db, const Map *ids, Err *err)
{
    bool complete = true;
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        complete = complete && map_has(ids, str_from(steps[i].id));
    size_t n;
    const Kind *const *kinds = kinds_all(&n);
    for (size_t i = 0; complete && i < n; i++) {
        int field = -1;
        int rc = missing_column(db, kinds[i], &field, err);
        if (rc < 0)
            return rc;
        complete = field < 0;
    }
    if (complete)
        return 0;
    return err_set(err, ERR_PRECONDITION,
                   "the database is older than this program: run `ambient-api-server migrate`");
}

int migrate_check(Db *db, Err *err)
{
    bool any = false;
    int rc = has_table(db, "migrations", &any, err);
    if (rc < 0)
        return rc;
    if (!any)
        return err_set(err, ERR_PRECONDITION, "the database is empty: run `ambient-api-server migrate`");
    CLEANUP(map_freep) Map *ids = NULL;
    rc = applied(db, &ids, err);
    if (rc == 0)
        rc = refuse_newer(ids, err);
    if (rc == 0)
        rc = refuse_older(db, ids, err);
    return rc < 0 ? rc : import_check(db, err);
}
