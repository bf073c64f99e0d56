#include "test-support.h"

#include "base/file.h"
#include "base/mem.h"
#include "dump-internal.h"

static int open_again(Fixture *f, bool create, Err *err)
{
    fixture_close(f);
    f->options.create = create;
    return store_open(f->loop, &f->options, &f->store, err);
}

static void test_migrate__may_be_run_again(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *id = new_session(f, "s");
    fixture_close(f);
    int from = -1;
    int to = -1;
    assert_ok(store_migrate(&f->options, &from, &to, &err), &err);
    assert_true(from > 0);
    assert_int_equal(from, to);
    assert_ok(open_again(f, false, &err), &err);
    CLEANUP(obj_freep) Obj *o = get_object(f, &kind_session, id);
    assert_non_null(o);
}

static void test_migrate__makes_a_database_from_nothing(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    int from = -1;
    int to = -1;
    CLEANUP_FREE char *url = xasprintf("sqlite:%s/new.db", f->dir);
    fixture_close(f);
    if (on_postgres())
        change_store(
            f, "DO $$ BEGIN EXECUTE 'DROP SCHEMA \"' || current_schema() || '\" CASCADE; CREATE SCHEMA \"'"
               " || current_schema() || '\"'; END $$");
    else
        f->options.url = url;
    assert_int_equal(open_again(f, false, &err), -ERR_PRECONDITION);
    assert_non_null(strstr(err.msg, "ambient-api-server migrate"));
    assert_ok(store_migrate(&f->options, &from, &to, &err), &err);
    assert_int_equal(from, 0);
    assert_true(to > 0);
    assert_ok(open_again(f, false, &err), &err);
}

static void test_migrate__refuses_a_newer_schema(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    fixture_close(f);
    change_store(f, "INSERT INTO migrations (id) VALUES ('209912310001')");
    assert_int_equal(open_again(f, true, &err), -ERR_PRECONDITION);
    assert_non_null(strstr(err.msg, "209912310001"));
    assert_int_equal(store_migrate(&f->options, NULL, NULL, &err), -ERR_PRECONDITION);
    assert_int_equal(store_verify(&f->options, STR_NULL, NULL, NULL, NULL, &err), -ERR_PRECONDITION);
}

static void test_migrate__refuses_an_older_schema_or_completes_it(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *id = new_session(f, "s");
    fixture_close(f);
    change_store(f, "ALTER TABLE sessions DROP COLUMN interactive");
    assert_int_equal(open_again(f, false, &err), -ERR_PRECONDITION);
    assert_ok(open_again(f, true, &err), &err);
    CLEANUP(obj_freep) Obj *o = get_object(f, &kind_session, id);
    assert_non_null(o);
    assert_ok(open_again(f, false, &err), &err); /* the added column is on record, and known */

    fixture_close(f);
    change_store(f, "DELETE FROM migrations WHERE id = '202609010002'");
    assert_int_equal(open_again(f, false, &err), -ERR_PRECONDITION);
    assert_ok(open_again(f, true, &err), &err);
}

static void test_migrate__says_what_is_wrong_with_a_file(void **state)
{
    Fixture *f = *state;
    if (on_postgres())
        return; /* about files */
    Err err = {0};
    CLEANUP_FREE char *path = xasprintf("%s/text", f->dir);
    CLEANUP_FREE char *url = xasprintf("sqlite:%s", path);
    char text[4096];
    memset(text, 'x', sizeof(text));
    assert_ok(file_write_atomic(path, (Str){text, sizeof(text)}, 0600, &err), &err);
    f->options.url = url;
    assert_int_equal(open_again(f, true, &err), -ERR_CORRUPT);
    f->options.url = "sqlite:/nowhere/at/all.db";
    assert_int_equal(open_again(f, true, &err), -ERR_IO);
    f->options.url = "oracle:x";
    assert_int_equal(open_again(f, true, &err), -ERR_USAGE);
    f->options.url = "sqlite:";
    assert_int_equal(open_again(f, true, &err), -ERR_USAGE);
}

typedef struct Search {
    const char *user;
    Obj *found;
} Search;

static int find_binding(Tx *tx, void *arg, Err *err)
{
    Search *s = arg;
    return tx_find(tx, &kind_role_binding, ROLE_BINDING_USER_ID, str_from(s->user), &s->found, err);
}

static Obj *binding_of(Fixture *f, const char *user)
{
    Err err = {0};
    Search s = {.user = user};
    int rc = run_job(f, STORE_READ, find_binding, &s, &err);
    if (rc < 0 && rc != -ERR_NOT_FOUND)
        fail_msg("%s", err.msg);
    return s.found;
}

/* An installation from before roles: the owner's column becomes a binding, once. */
static void test_migrate__owners_of_projects_get_bindings(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    fixture_close(f);
    change_store(
        f, "INSERT INTO projects (id, name, owner, created_at) VALUES ('p', 'p', 'alice', CURRENT_TIMESTAMP),"
           " ('q', 'q', NULL, CURRENT_TIMESTAMP);"
           "INSERT INTO projects (id, name, owner, created_at, deleted_at) VALUES ('r', 'r', 'bob',"
           " CURRENT_TIMESTAMP, CURRENT_TIMESTAMP);"
           "DELETE FROM migrations WHERE id = '202611240002'");
    assert_ok(open_again(f, true, &err), &err);
    CLEANUP(obj_freep) Obj *b = binding_of(f, "alice");
    assert_non_null(b);
    assert_string_equal(obj_cstr(b, ROLE_BINDING_PROJECT_ID), "p");
    assert_string_equal(obj_cstr(b, ROLE_BINDING_SCOPE_ID), "p");
    CLEANUP(obj_freep) Obj *role = get_object(f, &kind_role, obj_cstr(b, ROLE_BINDING_ROLE_ID));
    assert_string_equal(obj_cstr(role, ROLE_NAME), "project:owner");
    CLEANUP(obj_freep) Obj *none = binding_of(f, "bob");
    assert_null(none);

    fixture_close(f);
    change_store(f, "DELETE FROM role_bindings");
    assert_ok(open_again(f, true, &err), &err); /* taken away stays taken away */
    CLEANUP(obj_freep) Obj *again = binding_of(f, "alice");
    assert_null(again);
}

/* D12: a row of the reference's seed-admin names the users row, not the person. */
static void test_migrate__bindings_of_user_ids_become_those_of_usernames(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    fixture_close(f);
    change_store(
        f,
        "INSERT INTO users (id, username, name, created_at) VALUES ('u1', 'alice', 'A', CURRENT_TIMESTAMP);"
        "INSERT INTO role_bindings (id, role_id, scope, user_id, created_at)"
        " VALUES ('b1', 'x', 'global', 'u1', CURRENT_TIMESTAMP);"
        "INSERT INTO role_bindings (id, role_id, scope, user_id, agent_id, created_at)"
        " VALUES ('b2', 'x', 'agent', 'bob', 'a', CURRENT_TIMESTAMP);"
        "INSERT INTO agents (id, name, project_id, created_at) VALUES ('a', 'a', 'p', CURRENT_TIMESTAMP);"
        /* of spring 2026: one id for all scopes, and only that */
        "DROP INDEX role_bindings_once;"
        "INSERT INTO role_bindings (id, role_id, scope, scope_id, user_id, created_at)"
        " VALUES ('b3', 'x', 'project', 'p', 'cid', CURRENT_TIMESTAMP),"
        " ('b4', 'x', 'project', 'q', 'cid', CURRENT_TIMESTAMP);"
        "DELETE FROM migrations WHERE id IN ('202611240001', '202611240030')");
    assert_ok(open_again(f, true, &err), &err);
    CLEANUP(obj_freep) Obj *b1 = get_object(f, &kind_role_binding, "b1");
    CLEANUP(obj_freep) Obj *b2 = get_object(f, &kind_role_binding, "b2");
    assert_string_equal(obj_cstr(b1, ROLE_BINDING_USER_ID), "alice");
    assert_string_equal(obj_cstr(b2, ROLE_BINDING_USER_ID), "bob");
    assert_string_equal(obj_cstr(b2, ROLE_BINDING_SCOPE_ID), "a");
    assert_string_equal(obj_cstr(b2, ROLE_BINDING_HOME), "p");
    CLEANUP(obj_freep) Obj *b3 = get_object(f, &kind_role_binding, "b3");
    assert_string_equal(obj_cstr(b3, ROLE_BINDING_PROJECT_ID), "p");
    assert_string_equal(obj_cstr(b3, ROLE_BINDING_HOME), "p");
}

static int check_table(void *arg, Str name)
{
    if (!dump_table(arg, name) && !dump_is_own_table(name))
        fail_msg("nobody exports table " STR_FMT ": add it to dump.c", STR_ARG(name));
    return 0;
}

static int check_column(void *arg, Str name)
{
    const DumpTable *t = arg;
    bool known = str_eqz(name, "reconciled_date"); /* the reference's own, of its events */
    for (unsigned i = 0; i < t->n_columns; i++)
        known = known || str_eqz(name, t->columns[i].name);
    if (!known)
        fail_msg("nobody exports column %s." STR_FMT ": add it to dump.c", t->name, STR_ARG(name));
    return 0;
}

static void test_migrate__every_table_is_exported(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Db *db = NULL;
    DumpTables tables = {0};
    dump_tables(&tables);
    assert_ok(db_open_url(&f->options, DB_WRITER, &db, &err), &err);
    assert_ok(db->be->tables(db, check_table, &tables, &err), &err);
    VEC_FOREACH (&tables, t) {
        assert_ok(db->be->columns(db, t->name, check_column, t, &err), &err);
    }
    db->be->close(db);
    vec_free(&tables);
}

int run_migrate_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_migrate__may_be_run_again),
        TEST(test_migrate__makes_a_database_from_nothing),
        TEST(test_migrate__refuses_a_newer_schema),
        TEST(test_migrate__every_table_is_exported),
        TEST(test_migrate__refuses_an_older_schema_or_completes_it),
        TEST(test_migrate__says_what_is_wrong_with_a_file),
        TEST(test_migrate__owners_of_projects_get_bindings),
        TEST(test_migrate__bindings_of_user_ids_become_those_of_usernames),
    };
    return cmocka_run_group_tests_name("store migrate", tests, NULL, NULL);
}
