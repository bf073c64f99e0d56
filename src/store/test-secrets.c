/* Secrets at rest: all of them are found, and a change that came between is never undone. */
#include "test-support.h"

#include "base/mem.h"
#include "store/secrets.h"

static char *new_credential(Fixture *f, const char *token)
{
    Obj *o = obj_new(&kind_credential);
    Err err = {0};
    obj_set_str(o, CREDENTIAL_NAME, STR("c"));
    obj_set_str(o, CREDENTIAL_PROVIDER, STR("github"));
    if (token)
        obj_set_str(o, CREDENTIAL_TOKEN, str_from(token));
    assert_ok(insert_object(f, o, &err), &err);
    char *id = xstrdup(obj_cstr(o, FIELD_ID));
    obj_free(o);
    return id;
}

static char *token_of(Fixture *f, const char *id)
{
    CLEANUP(obj_freep) Obj *o = get_object(f, &kind_credential, id);
    return xstrdup(o ? obj_cstr(o, CREDENTIAL_TOKEN) : "");
}

/* ---- the platform's own ---- */

static int put_two(Tx *tx, void *arg, Err *err)
{
    char **ret = arg;
    bool swapped = true;
    int rc = tx_platform_secret_put(tx, STR("key"), STR("first"), err);
    if (rc == 0)
        rc = tx_platform_secret_put(tx, STR("key"), STR("second"), err); /* it stays the first */
    if (rc == 0)
        rc = tx_platform_secret_swap(tx, STR("key"), STR("other"), STR("third"), &swapped, err);
    assert_false(swapped);
    if (rc == 0)
        rc = tx_platform_secret_get(tx, STR("key"), ret, err);
    return rc;
}

static int get_none(Tx *tx, void *arg, Err *err)
{
    return tx_platform_secret_get(tx, STR("nothing"), arg, err);
}

static void test_secrets__of_the_platform_are_stored_once(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *value = NULL;
    assert_ok(run_job(f, STORE_WRITE, put_two, &value, &err), &err);
    assert_string_equal(value, "first");
    assert_int_equal(run_job(f, STORE_READ, get_none, &value, &err), -(int)ERR_NOT_FOUND);
}

/* ---- reading ---- */

static int count(void *arg, const StoredSecret *s, Err *err)
{
    unsigned *n = arg;
    n[s->deleted]++;
    assert_true(s->value.len > 0);
    return 0;
}

static int count_all(Tx *tx, void *arg, Err *err)
{
    return tx_secrets_read(tx, count, arg, err);
}

static void test_secrets__all_are_read_page_by_page_deleted_ones_too(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    unsigned n[2] = {0, 0};
    for (int i = 0; i < 450; i++) {
        CLEANUP_FREE char *id = new_credential(f, "t");
        if (i % 10 == 0)
            assert_true(delete_object(f, &kind_credential, id));
    }
    CLEANUP_FREE char *without = new_credential(f, NULL);
    CLEANUP_FREE char *empty = new_credential(f, "");
    assert_ok(run_job(f, STORE_READ, count_all, n, &err), &err);
    assert_int_equal(n[0], 405);
    assert_int_equal(n[1], 45);
}

/* ---- the walk ---- */

typedef struct Walk {
    Fixture *f;
    const char *meanwhile; /* SQL that runs between reading and writing; NULL = none */
    unsigned turned, missed, left;
} Walk;

static int turn(void *arg, const StoredSecret *s, Buf *out)
{
    Walk *w = arg;
    if (str_starts(s->value, STR("sealed:"))) {
        w->left++;
        return 0;
    }
    (void)buf_addz(out, "sealed:");
    (void)buf_adds(out, s->value);
    if (w->meanwhile)
        change_store(w->f, w->meanwhile);
    return 1;
}

static void turned(void *arg, const StoredSecret *s, bool swapped, const Err *err)
{
    Walk *w = arg;
    if (err)
        fail_msg("%s", err->msg);
    w->turned += swapped;
    w->missed += !swapped;
}

static void walk(Walk *w)
{
    static const SecretWalk ops = {turn, turned};
    Err err = {0};
    assert_ok(store_secrets_walk(&w->f->options, &ops, w, &err), &err);
}

static void test_secrets__a_walk_turns_each_row_once(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *a = new_credential(f, "one");
    CLEANUP_FREE char *b = new_credential(f, "two");
    CLEANUP(obj_freep) Obj *before = get_object(f, &kind_credential, a);
    Walk w = {.f = f};
    walk(&w);
    assert_int_equal(w.turned, 2);
    walk(&w);
    assert_int_equal(w.turned, 2);
    assert_int_equal(w.left, 2);
    CLEANUP(obj_freep) Obj *after = get_object(f, &kind_credential, a);
    assert_string_equal(obj_cstr(after, CREDENTIAL_TOKEN), "sealed:one");
    assert_true(obj_value_equal(before, after, FIELD_UPDATED_AT)); /* it is the same secret */
}

/* D34: a token that its user changed in that moment is not overwritten by the old one. */
static void test_secrets__d34_a_change_between_reading_and_writing_stays(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *id = new_credential(f, "old");
    Walk w = {.f = f, .meanwhile = "UPDATE credentials SET token = 'new';"};
    walk(&w);
    assert_int_equal(w.missed, 1);
    CLEANUP_FREE char *now = token_of(f, id);
    assert_string_equal(now, "new");
    w.meanwhile = NULL;
    walk(&w);
    CLEANUP_FREE char *then = token_of(f, id);
    assert_string_equal(then, "sealed:new");
}

int run_secrets_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_secrets__of_the_platform_are_stored_once),
        TEST(test_secrets__all_are_read_page_by_page_deleted_ones_too),
        TEST(test_secrets__a_walk_turns_each_row_once),
        TEST(test_secrets__d34_a_change_between_reading_and_writing_stays),
    };
    return cmocka_run_group_tests_name("secrets", tests, NULL, NULL);
}
