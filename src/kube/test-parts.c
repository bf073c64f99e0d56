#include <string.h>
#include "base/mem.h"
#include "test-internal.h"

static void test_urls(void **state)
{
    static const struct {
        KubeRequest r;
        const char *url;
    } cases[] = {
        {{.verb = KUBE_GET, .kind = KUBE_NAMESPACES, .name = "p"}, "S/api/v1/namespaces/p"},
        {{.verb = KUBE_GET, .kind = KUBE_PODS, .ns = "p", .name = "x", .sub = "status"},
         "S/api/v1/namespaces/p/pods/x/status"},
        {{.verb = KUBE_LIST, .kind = KUBE_PODS, .labels = "a/b=c,d", .limit = 7},
         "S/api/v1/pods?labelSelector=a%2Fb%3Dc%2Cd&limit=7"},
        {{.verb = KUBE_CREATE, .kind = KUBE_LEASES, .ns = "p", .manager = "m"},
         "S/apis/coordination.k8s.io/v1/namespaces/p/leases?fieldManager=m"},
        {{.verb = KUBE_APPLY, .kind = KUBE_ROLE_BINDINGS, .ns = "p", .name = "a:b", .manager = "m"},
         "S/apis/rbac.authorization.k8s.io/v1/namespaces/p/rolebindings/a%3Ab?fieldManager=m&force=true"},
        {{.verb = KUBE_DELETE, .kind = KUBE_PODS, .ns = "p", .name = "x", .manager = "m"},
         "S/api/v1/namespaces/p/pods/x"},
        {{.verb = KUBE_DELETE_COLLECTION, .kind = KUBE_PODS, .ns = "p", .labels = "s=1"},
         "S/api/v1/namespaces/p/pods?labelSelector=s%3D1"},
        {{.verb = KUBE_WATCH, .kind = KUBE_PODS, .resource_version = "12", .timeout = 300 * USEC_PER_SEC},
         "S/api/v1/pods?resourceVersion=12&watch=true&allowWatchBookmarks=true&timeoutSeconds=300"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_BUF Buf b = BUF_INIT(4096);
        assert_int_equal(kube_write_url(&b, "S", &cases[i].r, NULL), 0);
        assert_string_equal(b.data, cases[i].url);
    }
}

static void test_urls__names_that_leave_their_place_are_refused(void **state)
{
    static const char *const names[] = {"", ".", "..", "a/b", "a%2fb", NULL};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        CLEANUP_BUF Buf b = BUF_INIT(4096);
        const KubeRequest by_name = {.verb = KUBE_GET, .kind = KUBE_PODS, .ns = "p", .name = names[i]};
        assert_int_equal(kube_write_url(&b, "S", &by_name, NULL), -ERR_INVALID);
        const KubeRequest by_ns = {.verb = KUBE_GET, .kind = KUBE_PODS, .ns = names[i], .name = "x"};
        assert_int_equal(kube_write_url(&b, "S", &by_ns, NULL), -ERR_INVALID);
    }
}

static void test_body__says_what_it_is(void **state)
{
    CLEANUP_JSON json_t *want = json_pack("{s:{s:s}}", "metadata", "name", "x");
    CLEANUP_JSON json_t *body =
        kube_request_body(KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_ROLES, .ns = "p", .body = want));
    assert_string_equal(json_get_str(body, "apiVersion"), "rbac.authorization.k8s.io/v1");
    assert_string_equal(json_get_str(body, "kind"), "Role");
    assert_null(json_object_get(want, "kind")); /* the caller's is as it was */
    CLEANUP_JSON json_t *del = kube_request_body(
        KUBE_REQUEST(.verb = KUBE_DELETE, .kind = KUBE_PODS, .uid = "u", .propagation = "Background"));
    assert_string_equal(json_get_str(json_get_obj(del, "preconditions"), "uid"), "u");
    assert_null(json_object_get(del, "gracePeriodSeconds"));
}

static void test_errors(void **state)
{
    static const struct {
        int status;
        const char *body;
        ErrCode code;
        const char *reason;
    } cases[] = {
        {404, "{\"kind\":\"Status\",\"reason\":\"NotFound\",\"message\":\"pods \\\"x\\\" not found\"}",
         ERR_NOT_FOUND, "NotFound"},
        {409, "{\"reason\":\"AlreadyExists\"}", ERR_CONFLICT, "AlreadyExists"},
        {409, "{\"reason\":\"Conflict\"}", ERR_CONFLICT, "Conflict"},
        {403, "{\"reason\":\"Forbidden\"}", ERR_FORBIDDEN, "Forbidden"},
        {422, "{\"reason\":\"Invalid\"}", ERR_INVALID, "Invalid"},
        {410, "{\"reason\":\"Expired\"}", ERR_CONFLICT, "Expired"},
        {429, NULL, ERR_RATE_LIMITED, ""},
        {500, "{\"reason\":7,\"message\":[]}", ERR_INTERNAL, ""},
        {503, "[]", ERR_UNAVAILABLE, ""},
        {401, NULL, ERR_UNAUTHENTICATED, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *body = NULL;
        KubeError e;
        if (cases[i].body)
            assert_int_equal(json_parse(str_from(cases[i].body), &body, NULL), 0);
        kube_error_from_answer(&e, cases[i].status, body, STR_NULL);
        assert_int_equal(e.err.code, cases[i].code);
        assert_string_equal(e.reason, cases[i].reason);
        assert_true(kube_error_is(&e, cases[i].reason));
    }
}

static void test_retry_after(void **state)
{
    assert_int_equal(kube_parse_retry_after(STR("3")), 3 * USEC_PER_SEC);
    assert_int_equal(kube_parse_retry_after(STR("86400")), 60 * USEC_PER_SEC);
    assert_int_equal(kube_parse_retry_after(STR("-1")), 0);
    assert_int_equal(kube_parse_retry_after(STR("soon")), 0);
    assert_int_equal(kube_parse_retry_after(STR_NULL), 0);
}

static void add_line(void *arg, Str line)
{
    Buf *b = arg;
    buf_adds(b, line);
    buf_addc(b, ';');
}

static void test_lines__wherever_they_are_cut(void **state)
{
    static const char text[] = "{\"a\":1}\n\n{\"b\":2}\r\n{\"c\":";
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        CLEANUP_BUF Buf rest = BUF_INIT(64);
        CLEANUP_BUF Buf out = BUF_INIT(256);
        assert_int_equal(kube_lines_feed(&rest, (Str){text, cut}, add_line, &out, NULL), 0);
        assert_int_equal(kube_lines_feed(&rest, (Str){text + cut, strlen(text) - cut}, add_line, &out, NULL),
                         0);
        assert_string_equal(out.data, "{\"a\":1};{\"b\":2};");
        assert_string_equal(rest.data, "{\"c\":");
    }
}

static void test_lines__have_a_bound(void **state)
{
    CLEANUP_BUF Buf rest = BUF_INIT(8);
    CLEANUP_BUF Buf out = BUF_INIT(256);
    assert_int_equal(kube_lines_feed(&rest, STR("12345678"), add_line, &out, NULL), 0);
    assert_int_equal(kube_lines_feed(&rest, STR("9"), add_line, &out, NULL), -ERR_TOO_LARGE);
}

static void test_contains(void **state)
{
    static const struct {
        const char *have, *want;
        bool yes;
    } cases[] = {
        {"{\"a\":1,\"b\":2}", "{\"a\":1}", true},
        {"{\"a\":1}", "{\"a\":2}", false},
        {"{\"a\":{\"x\":1,\"y\":2}}", "{\"a\":{\"y\":2}}", true},
        {"{\"a\":[{\"n\":1,\"d\":3},{\"n\":2}]}", "{\"a\":[{\"n\":1},{\"n\":2}]}", true},
        {"{\"a\":[1,2]}", "{\"a\":[1]}", false},
        {"{}", "{\"a\":[]}", true},
        {"{}", "{\"a\":{}}", true},
        {"{}", "{\"a\":\"\"}", false},
        {"{\"a\":\"1\"}", "{\"a\":1}", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_JSON json_t *have = NULL;
        CLEANUP_JSON json_t *want = NULL;
        json_parse(str_from(cases[i].have), &have, NULL);
        json_parse(str_from(cases[i].want), &want, NULL);
        assert_int_equal(kube_contains(have, want), cases[i].yes);
    }
}

int run_parts_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_urls__names_that_leave_their_place_are_refused),
        cmocka_unit_test(test_body__says_what_it_is),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_retry_after),
        cmocka_unit_test(test_lines__wherever_they_are_cut),
        cmocka_unit_test(test_lines__have_a_bound),
        cmocka_unit_test(test_contains),
    };
    return cmocka_run_group_tests_name("kube-parts", tests, NULL, NULL);
}
