#include "test-internal.h"

#include <stdio.h>

/* The server's rows: u000, u001, ... A request for ids behind one is answered as the real server does. */
static struct {
    unsigned rows;
    unsigned fail_first; /* this many requests fail with fail_status */
    int fail_status;
    bool stubborn;    /* ignores the search: always answers the first page */
    unsigned deleted; /* rows below this are gone */
} server;

static void answer_page(FakeApi *api, HttpReq *req, size_t n)
{
    CLEANUP_BUF Buf body = BUF_INIT(1 << 20);
    Str search = http_req_query(req, "search");
    unsigned from = 0, sent = 0;
    ptrdiff_t at = str_find(search, STR("id > 'u"));

    if (n < server.fail_first) {
        fake_api_reply(req, server.fail_status, "application/json", "{\"code\":\"x\",\"reason\":\"later\"}");
        return;
    }
    if (at >= 0 && !server.stubborn) {
        int64_t last = 0;
        assert_int_equal(str_to_i64(str_slice(search, (size_t)at + 7, (size_t)at + 10), &last), 0);
        from = (unsigned)last + 1;
    }
    buf_addz(&body, "{\"items\":[");
    for (unsigned i = from < server.deleted ? server.deleted : from; i < server.rows && sent < 100;
         i++, sent++)
        buf_addf(&body, "%s{\"id\":\"u%03u\",\"username\":\"n\",\"name\":\"n\"}", sent ? "," : "", i);
    buf_addf(&body, "],\"kind\":\"UserList\",\"page\":1,\"size\":%u,\"total\":%u}", sent, server.rows);
    fake_api_reply(req, 200, "application/json", body.data);
}

typedef struct Got {
    FakeApi *api;
    unsigned n;
    bool done, in_order, delete_some;
    char last[16];
    ErrCode code;
    char reason[512];
    ClientList *list;
    unsigned cancel_at;
} Got;

static void on_each(void *arg, Obj *o)
{
    Got *g = arg;

    g->in_order = g->in_order && strcmp(g->last, obj_cstr(o, FIELD_ID)) < 0;
    snprintf(g->last, sizeof(g->last), "%s", obj_cstr(o, FIELD_ID));
    obj_free(o);
    g->n++;
    if (g->delete_some)
        server.deleted = 50; /* behind our back, while the second page is still to come */
    if (g->cancel_at && g->n == g->cancel_at)
        client_list_cancel(g->list);
}

static void on_done(void *arg, const Err *err)
{
    Got *g = arg;

    g->done = true;
    g->code = err ? err->code : ERR_OK;
    snprintf(g->reason, sizeof(g->reason), "%s", err ? err->msg : "");
}

static FakeApi *start(Got *g, const char *path, unsigned rows)
{
    FakeApi *api = fake_api_new(NULL);

    memset(&server, 0, sizeof(server));
    server.rows = rows;
    api->answer = answer_page;
    g->api = api;
    g->in_order = true;
    g->list = client_list_all(api->client, &kind_user, path, NULL, on_each, on_done, g);
    assert_false(g->done);
    return api;
}

static void test_list__reads_every_page(void **state)
{
    static const unsigned sizes[] = {0, 1, 99, 100, 101, 250};

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        Got g = {0};
        FakeApi *api = start(&g, "/users", sizes[i]);
        PUMP_UNTIL(api->loop, g.done);
        assert_int_equal(g.code, ERR_OK);
        assert_int_equal(g.n, sizes[i]);
        assert_true(g.in_order);
        assert_int_equal(api->n_seen, sizes[i] / 100 + 1);
        fake_api_free(api);
    }
}

static void test_list__query_of_the_caller_is_kept(void **state)
{
    Got g = {0};
    FakeApi *api = start(&g, "/users?search=name+%3D+%27n%27&project_id=p", 101);

    PUMP_UNTIL(api->loop, g.done);
    assert_string_equal(api->seen[0].line, "GET /api/ambient/v1/users?project_id=p&orderBy=id&page=1&size=100"
                                           "&search=name+%3D+%27n%27");
    assert_string_equal(api->seen[1].line, "GET /api/ambient/v1/users?project_id=p&orderBy=id&page=1&size=100"
                                           "&search=%28name+%3D+%27n%27%29+and+id+%3E+%27u099%27");
    fake_api_free(api);
}

/* By page number, objects 100 to 149 would have moved to the page that was read already. */
static void test_list__objects_that_go_meanwhile_hide_no_others(void **state)
{
    Got g = {.delete_some = true};
    FakeApi *api = start(&g, "/users", 250);

    PUMP_UNTIL(api->loop, g.done);
    assert_int_equal(g.n, 250);
    assert_string_equal(g.last, "u249");
    fake_api_free(api);
}

static void test_list__failed_pages_are_tried_again(void **state)
{
    Got g = {0};
    FakeApi *api = start(&g, "/users", 5);

    server.fail_first = 3;
    server.fail_status = 503;
    PUMP_UNTIL(api->loop, g.done);
    assert_int_equal(g.code, ERR_OK);
    assert_int_equal(g.n, 5);
    assert_int_equal(api->n_seen, 4);
    fake_api_free(api);
}

static void test_list__gives_up_when_it_makes_no_sense(void **state)
{
    static const struct {
        int status;
        unsigned requests;
    } cases[] = {{503, 4}, {403, 1}, {400, 1}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Got g = {0};
        FakeApi *api = start(&g, "/users", 5);
        server.fail_first = 100;
        server.fail_status = cases[i].status;
        PUMP_UNTIL(api->loop, g.done);
        assert_int_not_equal(g.code, ERR_OK);
        assert_int_equal(g.n, 0);
        assert_int_equal(api->n_seen, cases[i].requests);
        fake_api_free(api);
    }
}

static void test_list__a_server_that_does_not_go_on_ends_it(void **state)
{
    Got g = {0};
    FakeApi *api = start(&g, "/users", 100);

    server.stubborn = true;
    PUMP_UNTIL(api->loop, g.done);
    assert_int_equal(g.code, ERR_BAD_GATEWAY);
    fake_api_free(api);
}

static void answer_nonsense(FakeApi *api, HttpReq *req, size_t n)
{
    static const char *const bodies[] = {"[]", "{}", "plain", "{\"items\":[{\"name\":1}]}",
                                         "{\"items\":[7]}"};

    fake_api_reply(req, 200, "application/json", bodies[n]);
}

static void test_list__answers_that_are_no_list_are_errors(void **state)
{
    Got g = {0};
    FakeApi *api = start(&g, "/users", 0);

    api->answer = answer_nonsense;
    for (int i = 0; i < 5; i++) {
        if (i > 0) {
            g = (Got){.api = api};
            client_list_all(api->client, &kind_user, "/users", NULL, on_each, on_done, &g);
        }
        PUMP_UNTIL(api->loop, g.done);
        assert_int_not_equal(g.code, ERR_OK);
        assert_int_equal(g.n, 0);
    }
    fake_api_free(api);
}

static void test_list__cancelled_inside_an_object_it_stays_silent(void **state)
{
    Got g = {.cancel_at = 3};
    FakeApi *api = start(&g, "/users", 250);

    PUMP_UNTIL(api->loop, g.n == 3);
    loop_run_once(api->loop, false);
    assert_int_equal(g.n, 3);
    assert_false(g.done);
    client_list_cancel(NULL);
    fake_api_free(api);
}

static void test_list__client_goes_while_it_waits(void **state)
{
    Got g = {0};
    FakeApi *api = start(&g, "/users", 5);

    server.fail_first = 100;
    server.fail_status = 503;
    PUMP_UNTIL(api->loop, api->n_seen == 1);
    api->client = client_free(api->client);
    loop_run_once(api->loop, false);
    assert_false(g.done);
    fake_api_free(api);
}

int run_list_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list__reads_every_page),
        cmocka_unit_test(test_list__query_of_the_caller_is_kept),
        cmocka_unit_test(test_list__objects_that_go_meanwhile_hide_no_others),
        cmocka_unit_test(test_list__failed_pages_are_tried_again),
        cmocka_unit_test(test_list__gives_up_when_it_makes_no_sense),
        cmocka_unit_test(test_list__a_server_that_does_not_go_on_ends_it),
        cmocka_unit_test(test_list__answers_that_are_no_list_are_errors),
        cmocka_unit_test(test_list__cancelled_inside_an_object_it_stays_silent),
        cmocka_unit_test(test_list__client_goes_while_it_waits),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
