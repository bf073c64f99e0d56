#include "test-support.h"

#include <sqlite3.h>
#include "base/file.h"
#include "base/mem.h"

static void change_file(Fixture *f, const char *sql)
{
    sqlite3 *h = NULL;
    CLEANUP_FREE char *path = fixture_path(f, "");
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    char *msg = NULL;
    if (sqlite3_exec(h, sql, NULL, NULL, &msg) != SQLITE_OK)
        fail_msg("%s", msg);
    sqlite3_close(h);
}

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
    assert_ok(store_migrate(f->url, &from, &to, &err), &err);
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
    f->options.url = url;
    assert_int_equal(open_again(f, false, &err), -ERR_PRECONDITION);
    assert_non_null(strstr(err.msg, "ambient-api-server migrate"));
    assert_ok(store_migrate(url, &from, &to, &err), &err);
    assert_int_equal(from, 0);
    assert_true(to > 0);
    assert_ok(open_again(f, false, &err), &err);
}

static void test_migrate__refuses_a_newer_schema(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    fixture_close(f);
    change_file(f, "INSERT INTO migrations (id) VALUES ('209912310001')");
    assert_int_equal(open_again(f, true, &err), -ERR_PRECONDITION);
    assert_non_null(strstr(err.msg, "209912310001"));
    assert_int_equal(store_migrate(f->url, NULL, NULL, &err), -ERR_PRECONDITION);
    assert_int_equal(store_verify(f->url, STR_NULL, NULL, NULL, NULL, &err), -ERR_PRECONDITION);
}

static void test_migrate__refuses_an_older_schema_or_completes_it(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *id = new_session(f, "s");
    fixture_close(f);
    change_file(f, "ALTER TABLE sessions DROP COLUMN interactive");
    assert_int_equal(open_again(f, false, &err), -ERR_PRECONDITION);
    assert_ok(open_again(f, true, &err), &err);
    CLEANUP(obj_freep) Obj *o = get_object(f, &kind_session, id);
    assert_non_null(o);
    assert_ok(open_again(f, false, &err), &err); /* the added column is on record, and known */

    fixture_close(f);
    change_file(f, "DELETE FROM migrations WHERE id = '202609010002'");
    assert_int_equal(open_again(f, false, &err), -ERR_PRECONDITION);
    assert_ok(open_again(f, true, &err), &err);
}

static void test_migrate__says_what_is_wrong_with_a_file(void **state)
{
    Fixture *f = *state;
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

int run_migrate_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_migrate__may_be_run_again),
        TEST(test_migrate__makes_a_database_from_nothing),
        TEST(test_migrate__refuses_a_newer_schema),
        TEST(test_migrate__refuses_an_older_schema_or_completes_it),
        TEST(test_migrate__says_what_is_wrong_with_a_file),
    };
    return cmocka_run_group_tests_name("store migrate", tests, NULL, NULL);
}
