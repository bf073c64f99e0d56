/* The informer on a real loop, with a server that does what the test says. */
#include "test-internal.h"

#include <string.h>
#include "base/mem.h"
#include "base/vec.h"
#include "informer.h"

#define PATIENCE (60 * USEC_PER_SEC)

typedef struct Rig {
    Api api;
    Loop *loop;
    Cache *cache;
    Informer *i;
    Timer *guard;
    bool late;
    /* the one watch and the one list that may be under way */
    const WatchOps *watch;
    void *watch_arg;
    ClientEach each;
    ClientListDone done;
    void *list_arg;
    unsigned lists, ended;
    VEC_OF(char *)
    keys;
} Rig;

static Rig *rig_of(Api *a)
{
    return CONTAINER_OF(a, Rig, api);
}

static ApiCall *fake_list(Api *a, const Kind *k, ClientEach each, ClientListDone done, void *arg)
{
    Rig *r = rig_of(a);
    assert_null(r->done); /* never two at a time */
    r->each = each;
    r->done = done;
    r->list_arg = arg;
    r->lists++;
    return (ApiCall *)&r->each;
}

static ApiCall *fake_watch(Api *a, const Kind *k, const WatchOps *ops, void *arg)
{
    Rig *r = rig_of(a);
    assert_int_equal(r->lists, 0); /* watch first, list second */
    r->watch = ops;
    r->watch_arg = arg;
    return (ApiCall *)&r->watch;
}

static void fake_cancel(ApiCall *call)
{
}

static void on_key(void *arg, const char *id)
{
    Rig *r = arg;
    vec_push(&r->keys, xstrdup(id));
}

static void on_list(void *arg)
{
    ((Rig *)arg)->ended++;
}

static void on_guard(void *arg)
{
    ((Rig *)arg)->late = true;
}

static void rig_init(Rig *r, Usec resync, Usec relist)
{
    static const ApiOps api_ops = {.list = fake_list, .watch = fake_watch, .cancel = fake_cancel};
    static const InformerOps ops = {.on_key = on_key, .on_list = on_list};
    *r = (Rig){.api = {&api_ops}};
    assert_int_equal(loop_new(&r->loop, NULL), 0);
    const CacheOptions co = {.kind = &kind_session, .clock = loop_clock(r->loop)};
    r->cache = cache_new(&co);
    const InformerOptions io = {
        .api = &r->api, .kind = &kind_session, .cache = r->cache, .resync = resync, .relist = relist};
    r->i = informer_new(r->loop, &io, &ops, r);
    r->guard = timer_new(r->loop, on_guard, r);
    informer_start(r->i);
}

static void forget_keys(Rig *r)
{
    VEC_FOREACH (&r->keys, k) {
        free(*k);
    }
    vec_clear(&r->keys);
}

static void rig_done(Rig *r)
{
    informer_free(r->i);
    cache_free(r->cache);
    timer_free(r->guard);
    loop_free(r->loop);
    forget_keys(r);
    vec_free(&r->keys);
}
#define CLEANUP_RIG CLEANUP(rig_done)

#define WAIT_FOR(r, cond)                                                                                    \
    do {                                                                                                     \
        (r)->late = false;                                                                                   \
        timer_arm((r)->guard, PATIENCE);                                                                     \
        while (!(cond)) {                                                                                    \
            loop_run_once((r)->loop, true);                                                                  \
            if ((r)->late)                                                                                   \
                fail_msg("never: %s", #cond);                                                                \
        }                                                                                                    \
        timer_cancel((r)->guard);                                                                            \
    } while (0)

static bool has_key(Rig *r, const char *id)
{
    VEC_FOREACH (&r->keys, k) {
        if (strcmp(*k, id) == 0)
            return true;
    }
    return false;
}

static Obj *session(const char *id, int64_t version)
{
    Obj *o = obj_new(&kind_session);
    obj_set_str(o, FIELD_ID, str_from(id));
    obj_set_time(o, FIELD_UPDATED_AT, (WallUsec){version});
    return o;
}

static void end_list(Rig *r, const Err *err)
{
    ClientListDone done = TAKE(r->done);
    done(r->list_arg, err);
}

static InformerStats stats(Rig *r)
{
    InformerStats st;
    informer_stats(r->i, &st);
    return st;
}

/* Opens the stream and reads a first list with one object. */
static void sync_once(Rig *r)
{
    r->watch->on_open(r->watch_arg);
    WAIT_FOR(r, r->done);
    r->each(r->list_arg, session("a", 1));
    end_list(r, NULL);
    assert_true(stats(r).synced);
}

static void test_informer__watches_first_then_lists(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0, 0);
    assert_non_null(r.watch);
    assert_false(stats(&r).connected);
    sync_once(&r);
    assert_true(stats(&r).connected);
    assert_int_equal(r.ended, 1);
    assert_true(has_key(&r, "a"));
    assert_non_null(cache_get(r.cache, STR("a")));
}

static void test_informer__a_stream_that_is_never_confirmed_is_not_waited_for(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0, 0);
    WAIT_FOR(&r, r.done); /* without on_open */
}

static void test_informer__events_during_a_list_win(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0, 0);
    r.watch->on_open(r.watch_arg);
    WAIT_FOR(&r, r.done);
    r.watch->on_event(r.watch_arg, CLIENT_EVENT_UPDATED, session("a", 5), STR("a"), STR("7"));
    r.watch->on_event(r.watch_arg, CLIENT_EVENT_DELETED, NULL, STR("b"), STR("8"));
    r.each(r.list_arg, session("a", 3));
    r.each(r.list_arg, session("b", 3));
    end_list(&r, NULL);
    assert_int_equal(obj_time(cache_get(r.cache, STR("a")), FIELD_UPDATED_AT).us, 5);
    assert_null(cache_get(r.cache, STR("b")));
    assert_true(has_key(&r, "b"));
}

static void test_informer__a_failed_list_is_tried_again(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0, 0);
    r.watch->on_open(r.watch_arg);
    WAIT_FOR(&r, r.done);
    end_list(&r, &(Err){ERR_UNAVAILABLE, "planned"});
    assert_false(stats(&r).synced);
    assert_int_equal(r.ended, 0);
    WAIT_FOR(&r, r.lists == 2);
    end_list(&r, NULL);
    assert_true(stats(&r).synced);
    assert_int_equal(stats(&r).failed_lists, 1);
}

static void test_informer__a_break_without_resume_lists_again(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0, 0);
    sync_once(&r);
    forget_keys(&r);
    r.watch->on_broken(r.watch_arg, &(Err){ERR_UNAVAILABLE, "planned"});
    assert_false(stats(&r).connected);
    r.watch->on_open(r.watch_arg);
    r.watch->on_relist(r.watch_arg);
    WAIT_FOR(&r, r.lists == 2);
    end_list(&r, NULL); /* "a" has gone meanwhile: asked for, and not yet forgotten */
    assert_true(has_key(&r, "a"));
    assert_true(cache_is_doubtful(r.cache, STR("a")));
    assert_int_equal(stats(&r).reconnects, 1);
}

static void test_informer__a_resumed_stream_needs_no_list(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 20 * USEC_PER_MSEC, 0);
    sync_once(&r);
    r.watch->on_broken(r.watch_arg, &(Err){ERR_UNAVAILABLE, "planned"});
    r.watch->on_open(r.watch_arg);
    forget_keys(&r);
    WAIT_FOR(&r, has_key(&r, "a")); /* the resync comes, a list does not */
    assert_int_equal(r.lists, 1);
}

static void test_informer__resyncs_and_relists_now_and_then(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 10 * USEC_PER_MSEC, 50 * USEC_PER_MSEC);
    sync_once(&r);
    forget_keys(&r);
    WAIT_FOR(&r, r.keys.len >= 2);
    WAIT_FOR(&r, r.lists == 2);
}

static void test_informer__a_list_that_is_asked_for_during_a_list_follows_it(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0, 0);
    r.watch->on_open(r.watch_arg);
    WAIT_FOR(&r, r.done);
    informer_relist(r.i);
    informer_relist(r.i);
    assert_int_equal(r.lists, 1);
    end_list(&r, NULL);
    WAIT_FOR(&r, r.lists == 2);
    end_list(&r, NULL);
    assert_int_equal(r.ended, 2);
}

static void test_informer__an_event_without_its_object_is_asked_for(void **state)
{
    CLEANUP_RIG Rig r;
    rig_init(&r, 0, 0);
    sync_once(&r);
    r.watch->on_event(r.watch_arg, CLIENT_EVENT_UPDATED, NULL, STR("c"), STR_NULL);
    assert_true(has_key(&r, "c"));
    WAIT_FOR(&r, r.lists == 2);
    end_list(&r, NULL);
    r.watch->on_event(r.watch_arg, CLIENT_EVENT_UPDATED, NULL, STR_NULL, STR_NULL); /* says nothing */
    assert_int_equal(stats(&r).events, 2);
}

int run_informer_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_informer__watches_first_then_lists),
        cmocka_unit_test(test_informer__a_stream_that_is_never_confirmed_is_not_waited_for),
        cmocka_unit_test(test_informer__events_during_a_list_win),
        cmocka_unit_test(test_informer__a_failed_list_is_tried_again),
        cmocka_unit_test(test_informer__a_break_without_resume_lists_again),
        cmocka_unit_test(test_informer__a_resumed_stream_needs_no_list),
        cmocka_unit_test(test_informer__resyncs_and_relists_now_and_then),
        cmocka_unit_test(test_informer__a_list_that_is_asked_for_during_a_list_follows_it),
        cmocka_unit_test(test_informer__an_event_without_its_object_is_asked_for),
    };
    return cmocka_run_group_tests_name("informer", tests, NULL, NULL);
}
