#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "test-internal.h"

#define POD "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\",\"namespace\":\"p\",\"uid\":\"u\"}}"
#define GET_X "GET /api/v1/namespaces/p/pods/x"

static void get_x(TestApi *t, TestResult *r)
{
    kube_send(t->kube, KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_PODS, .ns = "p", .name = "x"), test_result,
              r);
    assert_false(r->done);
    test_wait(t, &r->done);
}

static void test_client__get(void **state)
{
    static const Answer answers[] = {SAY(GET_X, 200, POD)};
    TestApi t;
    TestResult r = {0};
    test_api_init(&t, answers, 1, NULL);
    get_x(&t, &r);
    assert_string_equal(kube_uid(r.body), "u");
    assert_true(kube_last_answer(t.kube) > 0);
    test_result_done(&r);
    test_api_done(&t);
}

static void test_client__answers_that_make_no_sense_are_errors(void **state)
{
    static const Answer answers[] = {
        SAY(GET_X, 200, "<html>"),
        SAY(GET_X, 200, "[1]"),
        SAY(GET_X, 200, ""),
        SAY(GET_X, 404, "no json"),
        SAY(GET_X, 418, "{\"reason\":\"Teapot\"}"),
    };
    static const ErrCode codes[] = {ERR_BAD_GATEWAY, ERR_BAD_GATEWAY, ERR_BAD_GATEWAY, ERR_NOT_FOUND};
    TestApi t;
    test_api_init(&t, answers, ARRAY_LEN(answers), NULL);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        TestResult r = {0};
        get_x(&t, &r);
        assert_true(r.e.err.code != ERR_OK);
        if (i < ARRAY_LEN(codes))
            assert_int_equal(r.e.err.code, codes[i]);
        test_result_done(&r);
    }
    test_api_done(&t);
}

static void test_client__too_many_requests_are_asked_again(void **state)
{
    static const Answer answers[] = {
        SAY(GET_X, 429, "{}", .header = "Retry-After", .value = "1"),
        SAY(GET_X, 200, POD),
    };
    TestApi t;
    TestResult r = {0};
    test_api_init(&t, answers, 2, NULL);
    get_x(&t, &r);
    assert_non_null(r.body);
    test_result_done(&r);
    test_api_done(&t);
}

static void test_client__no_time_left_to_ask_again(void **state)
{
    static const Answer answers[] = {SAY(GET_X, 429, "{}", .header = "Retry-After", .value = "30")};
    TestApi t;
    TestResult r = {0};
    test_api_init(&t, answers, 1, NULL);
    kube_send(t.kube,
              KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_PODS, .ns = "p", .name = "x",
                           .timeout = 5 * USEC_PER_SEC),
              test_result, &r);
    test_wait(&t, &r.done);
    assert_int_equal(r.e.status, 429);
    assert_int_equal(r.e.retry_after, 30 * USEC_PER_SEC);
    test_result_done(&r);
    test_api_done(&t);
}

static bool no_leader(void *arg)
{
    return false;
}

static void test_client__no_write_without_the_lease(void **state)
{
    static const Answer answers[] = {SAY(GET_X, 200, POD)};
    const KubeOptions o = {.may_write = no_leader};
    TestApi t;
    TestResult read = {0}, write = {0};
    test_api_init(&t, answers, 1, &o);
    get_x(&t, &read);
    kube_send(t.kube, KUBE_REQUEST(.verb = KUBE_DELETE, .kind = KUBE_PODS, .ns = "p", .name = "x"),
              test_result, &write);
    test_wait(&t, &write.done);
    assert_int_equal(write.e.err.code, ERR_PRECONDITION);
    assert_true(kube_error_is(&write.e, "NotLeader"));
    test_result_done(&read);
    test_api_done(&t);
}

static void test_client__a_refused_token_is_read_again(void **state)
{
    static const Answer answers[] = {
        SAY(GET_X, 401, "{}", .bearer = "old"),
        SAY(GET_X, 200, POD, .bearer = "new"),
    };
    char path[] = "/tmp/kube-token-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(file_write_atomic(path, STR("old\n"), 0600, NULL), 0);
    TestApi t;
    TestResult r = {0};
    test_api_init(&t, answers, 2, NULL);
    t.config.token_file = xstrdup(path);
    KubeCall *first = kube_send(
        t.kube, KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_PODS, .ns = "p", .name = "x"), test_result, &r);
    assert_non_null(first);
    while (t.n_requests == 0)
        loop_run_once(t.loop, true);
    assert_int_equal(file_write_atomic(path, STR("new\n"), 0600, NULL), 0);
    test_wait(&t, &r.done);
    assert_non_null(r.body);
    test_result_done(&r);
    test_api_done(&t);
    unlink(path);
}

/* A KubeConfig owns its strings; these are only looked at. */
static char **strings(const char **list)
{
    return (char **)(uintptr_t)list;
}

static void test_client__exec_plugin(void **state)
{
    static const Answer answers[] = {SAY(GET_X, 200, POD, .bearer = "from-plugin")};
    static const char *argv[] = {"/bin/sh", "-c",
                                 "case $KUBERNETES_EXEC_INFO in *ExecCredential*) ;; *) exit 1 ;; esac; echo "
                                 "'{\"kind\":\"ExecCredential\",\"status\":{\"token\":\"'$WORD'\"}}'",
                                 NULL};
    static const char *env[] = {"WORD=from-plugin", NULL};
    char version[] = "client.authentication.k8s.io/v1";
    TestApi t;
    TestResult r = {0};
    test_api_init(&t, answers, 1, NULL);
    t.config.exec = (KubeExec){.argv = strings(argv), .env = strings(env), .api_version = version};
    get_x(&t, &r);
    assert_non_null(r.body);
    test_result_done(&r);
    t.config.exec = (KubeExec){0};
    test_api_done(&t);
}

static void test_client__exec_plugin_that_fails(void **state)
{
    static const char *fails[] = {"/bin/sh", "-c", "exit 3", NULL}, *missing[] = {"/nowhere/login", NULL};
    static const char *none[] = {NULL};
    const char **const commands[] = {fails, missing};
    char version[] = "v";
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        TestApi t;
        TestResult r = {0};
        test_api_init(&t, NULL, 0, NULL);
        t.config.exec =
            (KubeExec){.argv = strings(commands[i]), .env = strings(none), .api_version = version};
        get_x(&t, &r);
        assert_int_equal(r.e.err.code, ERR_UNAUTHENTICATED);
        assert_int_equal(r.e.status, 0);
        t.config.exec = (KubeExec){0};
        test_api_done(&t);
    }
}

static void test_client__reachable_again(void **state)
{
    TestApi t;
    TestResult r = {0};
    test_api_init(&t, NULL, 0, NULL);
    http_server_free(t.server);
    t.server = NULL;
    get_x(&t, &r);
    assert_int_equal(r.e.err.code, ERR_UNAVAILABLE);
    assert_true(t.kube->lost_at > 0);
    test_api_done(&t);
}

static void test_client__cancelled_in_every_state(void **state)
{
    static const Answer answers[] = {SAY(GET_X, 200, POD)};
    const KubeOptions o = {.qps = 1, .burst = 1};
    TestApi t;
    TestResult a = {0}, b = {0}, c = {0};
    test_api_init(&t, answers, 1, &o);
    const KubeRequest *get = KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_PODS, .ns = "p", .name = "x");
    KubeCall *queued = kube_send(t.kube, get, test_result, &a);
    kube_cancel(queued);
    KubeCall *sent = kube_send(t.kube, get, test_result, &b);
    KubeCall *waits = kube_send(t.kube, get, test_result, &c); /* for the bucket */
    while (t.n_requests == 0)
        loop_run_once(t.loop, true);
    kube_cancel(sent);
    kube_cancel(waits);
    loop_run_once(t.loop, false);
    assert_false(a.done || b.done || c.done);
    test_api_done(&t);
}

static void test_client__urgent_ones_pass_the_bucket(void **state)
{
    static const Answer answers[] = {SAY(GET_X, 200, POD), SAY(GET_X, 200, POD)};
    const KubeOptions o = {.qps = 1, .burst = 1};
    TestApi t;
    TestResult a = {0}, late = {0}, urgent = {0};
    test_api_init(&t, answers, 2, &o);
    t.kube->o.qps = 1;
    get_x(&t, &a);
    KubeCall *waits =
        kube_send(t.kube, KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_PODS, .ns = "p", .name = "late"),
                  test_result, &late);
    kube_send(t.kube,
              KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_PODS, .ns = "p", .name = "x", .urgent = true),
              test_result, &urgent);
    test_wait(&t, &urgent.done);
    assert_false(late.done);
    kube_cancel(waits);
    test_result_done(&a);
    test_result_done(&urgent);
    test_api_done(&t);
}

/* ---- lists ---- */

typedef struct Listed {
    bool done;
    Buf names;
    char version[32];
    KubeError e;
} Listed;

static void on_each(void *arg, json_t *object)
{
    Listed *l = arg;
    buf_addf(&l->names, "%s,", kube_name(object));
}

static void on_listed(void *arg, const char *version, const KubeError *e)
{
    Listed *l = arg;
    l->done = true;
    if (e)
        l->e = *e;
    else
        snprintf(l->version, sizeof l->version, "%s", version);
}

#define ITEM(n) "{\"metadata\":{\"name\":\"" n "\",\"uid\":\"" n "\"}}"

static void test_list__follows_pages_and_begins_again_when_they_expire(void **state)
{
    static const Answer answers[] = {
        SAY("GET /api/v1/pods?limit=500", 200,
            "{\"metadata\":{\"continue\":\"c1\"},\"items\":[" ITEM("a") "]}"),
        SAY("GET /api/v1/pods?continue=c1&limit=500", 410, "{\"reason\":\"Expired\"}"),
        SAY("GET /api/v1/pods?limit=500", 200,
            "{\"metadata\":{\"continue\":\"c2\"},\"items\":[" ITEM("a") "]}"),
        SAY("GET /api/v1/pods?continue=c2&limit=500", 200,
            "{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[7," ITEM("b") "]}"),
    };
    TestApi t;
    Listed l = {.names = BUF_INIT(100)};
    test_api_init(&t, answers, ARRAY_LEN(answers), NULL);
    kube_list(t.kube, KUBE_REQUEST(.kind = KUBE_PODS), on_each, on_listed, &l);
    test_wait(&t, &l.done);
    assert_string_equal(l.names.data, "a,a,b,");
    assert_string_equal(l.version, "9");
    buf_done(&l.names);
    test_api_done(&t);
}

/* ---- reviews ---- */

typedef struct Asked {
    bool done, allowed;
    char user[64];
} Asked;

static void on_allowed(void *arg, bool allowed, const KubeError *e)
{
    Asked *a = arg;
    a->done = true;
    a->allowed = allowed && !e;
}

static void on_who(void *arg, const char *user, const KubeError *e)
{
    Asked *a = arg;
    a->done = true;
    snprintf(a->user, sizeof a->user, "%s", user ? user : "");
}

static void test_reviews(void **state)
{
    static const Answer answers[] = {
        SAY("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 201,
            "{\"status\":{\"allowed\":true}}", .want = "\"verb\":\"delete\""),
        SAY("POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 201, "{\"status\":{}}"),
        SAY("POST /apis/authentication.k8s.io/v1/tokenreviews", 201,
            "{\"status\":{\"authenticated\":true,\"user\":{\"username\":\"me\"}}}",
            .want = "\"token\":\"secret\""),
        SAY("POST /apis/authentication.k8s.io/v1/tokenreviews", 201,
            "{\"status\":{\"authenticated\":false,\"user\":{\"username\":\"me\"}}}"),
        SAY("POST /apis/authentication.k8s.io/v1/tokenreviews", 201,
            "{\"status\":{\"authenticated\":true,\"audiences\":[\"us\"],\"user\":{\"username\":\"me\"}}}",
            .want = "\"audiences\":[\"us\"]"),
        SAY("POST /apis/authentication.k8s.io/v1/tokenreviews", 201,
            "{\"status\":{\"authenticated\":true,\"user\":{\"username\":\"me\"}}}"),
    };
    TestApi t;
    Asked a[6] = {0};
    const KubeOptions o = {.may_write = no_leader}; /* questions are no writes */
    test_api_init(&t, answers, ARRAY_LEN(answers), &o);
    CLEANUP(secret_freep) Secret *token = secret_new(STR("secret"));
    for (int i = 0; i < 2; i++) {
        kube_can_i(t.kube, "delete", KUBE_PODS, "p", NULL, on_allowed, &a[i]);
        test_wait(&t, &a[i].done);
    }
    for (int i = 2; i < 6; i++) {
        kube_token_review(t.kube, token, i < 4 ? NULL : "us", on_who, &a[i]);
        test_wait(&t, &a[i].done);
    }
    assert_true(a[0].allowed && !a[1].allowed);
    assert_string_equal(a[2].user, "me");
    assert_string_equal(a[3].user, "");
    assert_string_equal(a[4].user, "me");
    assert_string_equal(a[5].user, ""); /* nobody has looked at the audience */
    kube_cancel(kube_token_review(t.kube, token, NULL, on_who, &a[0])); /* leaks nothing */
    test_api_done(&t);
}

static void test_event(void **state)
{
    static const Answer answers[] = {
        SAY("POST /api/v1/namespaces/p/events", 201, "{}", .want = "\"reason\":\"Because\""),
        SAY(GET_X, 200, POD),
    };
    TestApi t;
    TestResult r = {0};
    CLEANUP_JSON json_t *pod = NULL;
    json_parse(STR(POD), &pod, NULL);
    test_api_init(&t, answers, 2, NULL);
    kube_event(t.kube, KUBE_PODS, pod, KUBE_EVENT_WARNING, "Because", "of this");
    while (t.n_requests == 0)
        loop_run_once(t.loop, true);
    get_x(&t, &r);
    test_result_done(&r);
    test_api_done(&t);
}

int run_client_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client__get),
        cmocka_unit_test(test_client__answers_that_make_no_sense_are_errors),
        cmocka_unit_test(test_client__too_many_requests_are_asked_again),
        cmocka_unit_test(test_client__no_time_left_to_ask_again),
        cmocka_unit_test(test_client__no_write_without_the_lease),
        cmocka_unit_test(test_client__a_refused_token_is_read_again),
        cmocka_unit_test(test_client__exec_plugin),
        cmocka_unit_test(test_client__exec_plugin_that_fails),
        cmocka_unit_test(test_client__reachable_again),
        cmocka_unit_test(test_client__cancelled_in_every_state),
        cmocka_unit_test(test_client__urgent_ones_pass_the_bucket),
        cmocka_unit_test(test_list__follows_pages_and_begins_again_when_they_expire),
        cmocka_unit_test(test_reviews),
        cmocka_unit_test(test_event),
    };
    return cmocka_run_group_tests_name("kube-client", tests, NULL, NULL);
}
