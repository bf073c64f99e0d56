#include "test-internal.h"

#include "base/mem.h"
#include "base/vec.h"
#include "cache.h"

typedef struct Rig {
    FakeClock clock;
    Cache *c;
    VEC_OF(char *)
    seen;
} Rig;

static void rig_init(Rig *r)
{
    static const int drop[] = {SESSION_PROMPT, -1};
    *r = (Rig){0};
    fake_clock_init(&r->clock, (WallUsec){1700000000000000});
    const CacheOptions o = {.kind = &kind_session, .clock = &r->clock.clock, .drop = drop};
    r->c = cache_new(&o);
}

static void rig_done(Rig *r)
{
    VEC_FOREACH (&r->seen, s) {
        free(*s);
    }
    vec_free(&r->seen);
    cache_free(r->c);
}
#define CLEANUP_RIG CLEANUP(rig_done)

static void saw(void *arg, const char *id)
{
    Rig *r = arg;
    vec_push(&r->seen, xstrdup(id));
}

static Obj *session(const char *id, int64_t version, const char *name)
{
    Obj *o = obj_new(&kind_session);
    obj_set_str(o, FIELD_ID, str_from(id));
    obj_set_time(o, FIELD_UPDATED_AT, (WallUsec){version});
    obj_set_str(o, SESSION_NAME, str_from(name));
    obj_set_str(o, SESSION_PROMPT, STR("a long text"));
    return o;
}

static const char *name_of(Rig *r, const char *id)
{
    const Obj *o = cache_get(r->c, str_from(id));
    return o ? obj_cstr(o, SESSION_NAME) : NULL;
}

static void test_cache__older_never_replaces_newer(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    assert_int_equal(cache_put(r.c, session("a", 2, "two")), CACHE_STORED);
    assert_int_equal(cache_put(r.c, session("a", 1, "one")), CACHE_OLDER);
    assert_string_equal(name_of(&r, "a"), "two");
    assert_int_equal(cache_confirm(r.c, session("a", 1, "one")), CACHE_OLDER);
    assert_int_equal(cache_put(r.c, session("a", 3, "three")), CACHE_STORED);
    assert_string_equal(name_of(&r, "a"), "three");
    assert_int_equal(cache_len(r.c), 1);
}

static void test_cache__prompts_are_not_kept(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    cache_put(r.c, session("a", 1, "one"));
    assert_false(obj_has(cache_get(r.c, STR("a")), SESSION_PROMPT));
}

static void test_cache__a_late_update_does_not_bring_a_deleted_object_back(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    cache_put(r.c, session("a", 1, "one"));
    cache_delete(r.c, STR("a"));
    assert_true(cache_was_deleted(r.c, STR("a")));
    assert_int_equal(cache_put(r.c, session("a", 9, "late")), CACHE_DELETED);
    assert_null(cache_get(r.c, STR("a")));
    /* The server says that it exists after all. */
    assert_int_equal(cache_confirm(r.c, session("a", 9, "late")), CACHE_STORED);
    assert_false(cache_was_deleted(r.c, STR("a")));
    assert_int_equal(cache_len(r.c), 1);
}

static void test_cache__deletes_are_remembered_for_ten_minutes(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    cache_delete(r.c, STR("never seen"));
    fake_clock_advance(&r.clock, CACHE_TOMBSTONE - 1);
    cache_forget_old(r.c);
    assert_true(cache_was_deleted(r.c, STR("never seen")));
    fake_clock_advance(&r.clock, 1);
    cache_forget_old(r.c);
    assert_false(cache_was_deleted(r.c, STR("never seen")));
}

static void test_cache__a_list_reports_what_it_did_not_show(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    cache_put(r.c, session("a", 1, "one"));
    cache_put(r.c, session("b", 1, "one"));
    cache_list_begin(r.c);
    cache_put(r.c, session("a", 1, "one"));
    assert_int_equal(cache_list_end(r.c, true, saw, &r), 1);
    assert_string_equal(r.seen.ptr[0], "b");
    assert_true(cache_is_doubtful(r.c, STR("b")));
    assert_false(cache_is_doubtful(r.c, STR("a")));
    assert_non_null(cache_get(r.c, STR("b"))); /* a list is no proof */
    cache_confirm(r.c, session("b", 1, "one"));
    assert_false(cache_is_doubtful(r.c, STR("b")));
}

static void test_cache__an_event_during_a_list_counts_as_shown(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    cache_list_begin(r.c);
    cache_put(r.c, session("new", 5, "made meanwhile"));
    assert_int_equal(cache_list_end(r.c, true, saw, &r), 0);
    /* And the list, which is older, does not undo it. */
    cache_list_begin(r.c);
    cache_put(r.c, session("new", 6, "changed"));
    cache_put(r.c, session("new", 5, "as the page had it"));
    cache_list_end(r.c, true, saw, &r);
    assert_string_equal(name_of(&r, "new"), "changed");
}

static void test_cache__a_failed_list_reports_nothing(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    cache_put(r.c, session("a", 1, "one"));
    assert_true(cache_list_age(r.c) == USEC_NEVER);
    cache_list_begin(r.c);
    assert_int_equal(cache_list_end(r.c, false, saw, &r), 0);
    assert_int_equal(cache_lists(r.c), 0);
    assert_false(cache_is_doubtful(r.c, STR("a")));
    cache_list_begin(r.c);
    fake_clock_advance(&r.clock, 7);
    cache_list_end(r.c, true, saw, &r);
    assert_int_equal(cache_list_age(r.c), 7);
}

static void test_cache__dropping_leaves_no_tombstone(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    cache_put(r.c, session("a", 1, "one"));
    cache_drop(r.c, STR("a"));
    assert_null(cache_get(r.c, STR("a")));
    assert_false(cache_was_deleted(r.c, STR("a")));
    cache_delete(r.c, STR("b"));
    cache_drop(r.c, STR("b"));
    assert_true(cache_was_deleted(r.c, STR("b")));
}

static void test_cache__an_object_without_id_is_ignored(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    assert_int_equal(cache_put(r.c, obj_new(&kind_session)), CACHE_OLDER);
    assert_int_equal(cache_len(r.c), 0);
}

static void test_cache__each_shows_the_living(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r);
    cache_put(r.c, session("a", 1, "one"));
    cache_put(r.c, session("b", 1, "one"));
    cache_delete(r.c, STR("b"));
    cache_each(r.c, saw, &r);
    assert_int_equal(r.seen.len, 1);
    assert_string_equal(r.seen.ptr[0], "a");
}

int run_cache_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache__older_never_replaces_newer),
        cmocka_unit_test(test_cache__prompts_are_not_kept),
        cmocka_unit_test(test_cache__a_late_update_does_not_bring_a_deleted_object_back),
        cmocka_unit_test(test_cache__deletes_are_remembered_for_ten_minutes),
        cmocka_unit_test(test_cache__a_list_reports_what_it_did_not_show),
        cmocka_unit_test(test_cache__an_event_during_a_list_counts_as_shown),
        cmocka_unit_test(test_cache__a_failed_list_reports_nothing),
        cmocka_unit_test(test_cache__dropping_leaves_no_tombstone),
        cmocka_unit_test(test_cache__an_object_without_id_is_ignored),
        cmocka_unit_test(test_cache__each_shows_the_living),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
