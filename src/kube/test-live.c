/*
 * The client against a real API server: tests/kube/test_client.py starts one and sets KUBECONFIG.
 * `test-kube-live get` makes one call, without an argument all tests run, in the namespace live-objects,
 * which is left for kubectl to see.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/mem.h"
#include "kube/election.h"
#include "kube/watch.h"
#include "test-internal.h"

#define NS "live-objects"

static void begin(TestApi *t)
{
    Err err = {0};
    const char *dir = getenv("TEST_ACCOUNT_DIR"); /* in-cluster */
    *t = (TestApi){0};
    int rc = dir ? kube_config_in_cluster(dir, &t->config, &err) : kube_config_find(NULL, &t->config, &err);
    if (rc < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(loop_new(&t->loop, &err), 0);
    const KubeOptions o = {.config = &t->config, .manager = "tests", .user_agent = "tests/1"};
    assert_int_equal(kube_new(t->loop, &o, &t->kube, &err), 0);
}

static void end(TestApi *t)
{
    kube_free(t->kube);
    loop_free(t->loop);
    kube_config_done(&t->config);
}

static void ask(TestApi *t, const KubeRequest *r, TestResult *ret)
{
    *ret = (TestResult){0};
    kube_send(t->kube, r, test_result, ret);
    test_wait(t, &ret->done);
}

/* What must work. The answer is dropped. */
static void must(TestApi *t, const KubeRequest *r)
{
    TestResult res;
    ask(t, r, &res);
    if (res.e.err.code)
        fail_msg("%s", res.e.err.msg);
    test_result_done(&res);
}

static void must_fail(TestApi *t, const KubeRequest *r, int status, const char *reason)
{
    TestResult res;
    ask(t, r, &res);
    assert_int_equal(res.e.status, status);
    assert_string_equal(res.e.reason, reason);
    test_result_done(&res);
}

static json_t *named(const char *name, const char *label, const char *value)
{
    return json_pack("{s:{s:s, s:{s:s}}}", "metadata", "name", name, "labels", label, value);
}

static void make_namespace(TestApi *t)
{
    TestResult res;
    CLEANUP_JSON json_t *ns = named(NS, "made-by", "tests");
    ask(t, KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_NAMESPACES, .body = ns), &res);
    assert_true(res.e.err.code == ERR_OK || kube_error_is(&res.e, "AlreadyExists"));
    test_result_done(&res);
}

static void test_live__get(void **state)
{
    TestApi t;
    begin(&t);
    must(&t, KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_NAMESPACES, .name = "default"));
    must_fail(&t, KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_NAMESPACES, .name = "nowhere"), 404,
              "NotFound");
    end(&t);
}

static void test_live__write(void **state)
{
    TestApi t;
    TestResult res;
    begin(&t);
    make_namespace(&t);
    for (int i = 1; i <= 2; i++) {
        char v[2] = {(char)('0' + i), 0};
        CLEANUP_JSON json_t *account = named("applied", "v", v);
        must(&t, KUBE_REQUEST(.verb = KUBE_APPLY, .kind = KUBE_SERVICE_ACCOUNTS, .ns = NS, .name = "applied",
                              .body = account));
    }
    CLEANUP_JSON json_t *map = json_pack("{s:{s:s}, s:{s:s}}", "metadata", "name", "m", "data", "a", "1");
    must(&t, KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_CONFIG_MAPS, .ns = NS, .body = map));
    must_fail(&t, KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_CONFIG_MAPS, .ns = NS, .body = map), 409,
              "AlreadyExists");
    CLEANUP_JSON json_t *patch = json_pack("{s:{s:n, s:s}}", "data", "a", "b", "2");
    ask(&t, KUBE_REQUEST(.verb = KUBE_MERGE, .kind = KUBE_CONFIG_MAPS, .ns = NS, .name = "m", .body = patch),
        &res);
    assert_string_equal(json_get_str(json_get_obj(res.body, "data"), "b"), "2");
    assert_null(json_get_str(json_get_obj(res.body, "data"), "a"));
    CLEANUP_JSON json_t *old = json_deep_copy(res.body);
    json_object_set_new(json_get_obj(old, "metadata"), "resourceVersion", json_string("1"));
    test_result_done(&res);
    must_fail(&t,
              KUBE_REQUEST(.verb = KUBE_UPDATE, .kind = KUBE_CONFIG_MAPS, .ns = NS, .name = "m", .body = old),
              409, "Conflict");
    must_fail(&t,
              KUBE_REQUEST(.verb = KUBE_DELETE, .kind = KUBE_CONFIG_MAPS, .ns = NS, .name = "m",
                           .uid = "another-object"),
              409, "Conflict");
    must(&t, KUBE_REQUEST(.verb = KUBE_DELETE, .kind = KUBE_CONFIG_MAPS, .ns = NS, .name = "m"));
    CLEANUP_JSON json_t *bad = named("Bad_Name", "a", "b");
    must_fail(&t, KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_CONFIG_MAPS, .ns = NS, .body = bad), 422,
              "Invalid");
    end(&t);
}

/* ---- lists and watches ---- */

typedef struct Counted {
    TestApi *t;
    size_t objects, gone, lists;
    bool done, listed, all_gone;
} Counted;

static void count_each(void *arg, json_t *object)
{
    ((Counted *)arg)->objects++;
}

static void count_done(void *arg, const char *version, const KubeError *e)
{
    Counted *c = arg;
    if (e)
        fail_msg("%s", e->err.msg);
    c->done = true;
}

static void watch_gone(void *arg, const char *ns, const char *name, const char *uid, json_t *last)
{
    Counted *c = arg;
    c->gone++;
    c->all_gone = c->gone == 7;
}

static void watch_listed(void *arg)
{
    Counted *c = arg;
    c->lists++;
    c->listed = true;
}

static void test_live__lists_and_watches(void **state)
{
    static const KubeWatchOps ops = {count_each, watch_gone, watch_listed, NULL};
    TestApi t;
    begin(&t);
    make_namespace(&t);
    Counted seen = {.t = &t}, all = {.t = &t};
    const KubeRequest *r =
        KUBE_REQUEST(.kind = KUBE_CONFIG_MAPS, .ns = NS, .labels = "batch=yes", .limit = 3);
    KubeWatch *w = kube_watch_new(t.kube, r, &ops, &seen);
    test_wait(&t, &seen.listed);
    for (int i = 0; i < 7; i++) {
        char name[8];
        snprintf(name, sizeof name, "b%d", i);
        CLEANUP_JSON json_t *map = named(name, "batch", "yes");
        must(&t, KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_CONFIG_MAPS, .ns = NS, .body = map));
    }
    kube_list(t.kube, r, count_each, count_done, &all); /* three pages */
    test_wait(&t, &all.done);
    assert_int_equal(all.objects, 7);
    must(&t, KUBE_REQUEST(.verb = KUBE_DELETE_COLLECTION, .kind = KUBE_CONFIG_MAPS, .ns = NS,
                          .labels = "batch=yes"));
    test_wait(&t, &seen.all_gone);
    assert_int_equal(seen.objects, 7);
    assert_int_equal(seen.lists, 1);
    kube_watch_free(w);
    end(&t);
}

/* ---- the rest ---- */

typedef struct Voted {
    bool led, released;
} Voted;

static void on_lead(void *arg)
{
    ((Voted *)arg)->led = true;
}

static void on_released(void *arg)
{
    ((Voted *)arg)->released = true;
}

static void test_live__two_candidates(void **state)
{
    TestApi t;
    begin(&t);
    make_namespace(&t);
    Voted a = {0}, b = {0};
    ElectionOptions o = {
        .kube = t.kube, .ns = NS, .name = "vote", .identity = "a", .on_lead = on_lead, .arg = &a};
    Election *first = election_new(&o);
    test_wait(&t, &a.led);
    o.identity = "b";
    o.arg = &b;
    o.retry = 200 * USEC_PER_MSEC;
    Election *second = election_new(&o);
    while (strcmp(election_holder(second), "a") != 0)
        loop_run_once(t.loop, true);
    assert_false(b.led);
    election_release(first, on_released, &a);
    test_wait(&t, &a.released);
    election_free(first);
    test_wait(&t, &b.led); /* long before 15 s are over */
    election_release(second, on_released, &b);
    test_wait(&t, &b.released);
    election_free(second);
    end(&t);
}

typedef struct Asked {
    bool done, allowed;
} Asked;

static void on_allowed(void *arg, bool allowed, const KubeError *e)
{
    *(Asked *)arg = (Asked){.done = true, .allowed = allowed && !e};
}

static void on_who(void *arg, const char *user, const KubeError *e)
{
    *(Asked *)arg = (Asked){.done = true, .allowed = user != NULL};
}

static void test_live__reviews_and_events(void **state)
{
    TestApi t;
    begin(&t);
    make_namespace(&t);
    Asked can = {0}, who = {0};
    kube_can_i(t.kube, "delete", KUBE_PODS, NS, NULL, on_allowed, &can);
    test_wait(&t, &can.done);
    assert_true(can.allowed);
    CLEANUP(secret_freep) Secret *nobody = secret_new(STR("not-a-token"));
    kube_token_review(t.kube, nobody, NULL, on_who, &who);
    test_wait(&t, &who.done);
    assert_false(who.allowed);
    TestResult res;
    CLEANUP_JSON json_t *map = named("subject", "a", "b");
    ask(&t, KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_CONFIG_MAPS, .ns = NS, .body = map), &res);
    kube_event(t.kube, KUBE_CONFIG_MAPS, res.body, KUBE_EVENT_NORMAL, "Tested", "by a test");
    test_result_done(&res);
    for (size_t n = 0; n == 0;) {
        ask(&t, KUBE_REQUEST(.verb = KUBE_LIST, .kind = KUBE_EVENTS, .ns = NS), &res);
        n = json_array_size(json_get_arr(res.body, "items"));
        test_result_done(&res);
    }
    end(&t);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest one[] = {cmocka_unit_test(test_live__get)};
    const struct CMUnitTest all[] = {
        cmocka_unit_test(test_live__get),
        cmocka_unit_test(test_live__write),
        cmocka_unit_test(test_live__lists_and_watches),
        cmocka_unit_test(test_live__two_candidates),
        cmocka_unit_test(test_live__reviews_and_events),
    };
    if (argc > 1 && strcmp(argv[1], "get") == 0)
        return cmocka_run_group_tests_name("kube-live", one, NULL, NULL);
    return cmocka_run_group_tests_name("kube-live", all, NULL, NULL);
}
