#include "test-internal.h"

static void test_address__is_derived_from_the_api_s(void **state)
{
    static const struct {
        const char *url, *pattern, *address;
        bool tls;
    } cases[] = {
        {"http://localhost:8000", NULL, "localhost:9000", false},
        {"https://api.corp.example/", NULL, "api.corp.example:9000", true},
        {"http://[::1]:8000", NULL, "[::1]:9000", false},
        {"https://ambient-api-server-x.apps.rosa.y.openshiftapps.com", NULL,
         "ambient-api-server-grpc-x.apps.rosa.y.openshiftapps.com:443", true},
        {"https://other.apps.rosa.y.com", NULL, "other.apps.rosa.y.com:9000", true},
        {"https://ambient-api-server.paas.redhat.com", NULL, "ambient-api-server-grpc.paas.redhat.com:443",
         true},
        {"https://ambient-api-server.apps.ocp.z", "routes.corp", "ambient-api-server.apps.ocp.z:9000", true},
        {"https://ambient-api-server.routes.corp", "routes.corp", "ambient-api-server-grpc.routes.corp:443",
         true},
        {"http://ambient-api-server:8000", NULL, "ambient-api-server:9000", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        CLEANUP_FREE char *address = NULL;
        bool tls = !cases[i].tls;
        assert_int_equal(client_grpc_address(cases[i].url, cases[i].pattern, &address, &tls, NULL), 0);
        assert_string_equal(address, cases[i].address);
        assert_int_equal(tls, cases[i].tls);
    }
}

static void test_address__other_schemes_are_refused(void **state)
{
    char *address = NULL;
    bool tls;
    Err err = {0};

    assert_true(client_grpc_address("ftp://x", NULL, &address, &tls, &err) < 0);
    assert_null(address);
    assert_non_null(strstr(err.msg, "API address"));
}

int run_address_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address__is_derived_from_the_api_s),
        cmocka_unit_test(test_address__other_schemes_are_refused),
    };
    return cmocka_run_group_tests_name("address", tests, NULL, NULL);
}
