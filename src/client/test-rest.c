#include "test-internal.h"

#include <stdio.h>

typedef struct Got {
    FakeApi *api;
    int status;
    char text[256], reason[512], events[256];
    ErrCode code;
    bool done, opened, has_body, free_client;
    ClientCall *call;
} Got;

static void on_done(void *arg, const ClientAnswer *a, const Err *err)
{
    Got *g = arg;

    g->done = true;
    g->status = a->status;
    g->has_body = a->body != NULL;
    snprintf(g->text, sizeof(g->text), STR_FMT, STR_ARG(a->text));
    g->code = err ? err->code : ERR_OK;
    snprintf(g->reason, sizeof(g->reason), "%s", err ? err->msg : "");
    if (g->free_client)
        g->api->client = client_free(g->api->client);
}

/* What the script answers to every request. */
static struct {
    int status;
    const char *type, *body;
} script;

static void answer_script(FakeApi *api, HttpReq *req, size_t n)
{
    fake_api_reply(req, script.status, script.type, script.body);
}

static void ask(FakeApi *api, const ClientRequest *r, Got *g)
{
    *g = (Got){.api = api, .free_client = g->free_client};
    g->call = client_request(api->client, r, on_done, g);
    assert_false(g->done);
    PUMP_UNTIL(api->loop, g->done);
}

static void test_rest__request_carries_what_the_server_wants(void **state)
{
    FakeApi *api = fake_api_new("home");
    Got g = {0};
    ClientRequest r = {
        .method = "POST", .path = "/sessions?x=1", .body = STR("{\"name\":\"n\"}"), .idempotency_key = "k1"};

    api->answer = answer_script;
    script.status = 201;
    script.type = "application/json";
    script.body = "{\"id\":\"1\"}";
    ask(api, &r, &g);
    const Seen *s = &api->seen[0];
    assert_string_equal(s->line, "POST /api/ambient/v1/sessions?x=1");
    assert_string_equal(s->bearer, "Bearer a-token");
    assert_string_equal(s->project, "home");
    assert_string_equal(s->content_type, "application/json");
    assert_string_equal(s->accept, "application/json");
    assert_string_equal(s->key, "k1");
    assert_string_equal(s->body, "{\"name\":\"n\"}");
    assert_int_equal(g.status, 201);
    assert_int_equal(g.code, ERR_OK);
    assert_true(g.has_body);
    fake_api_free(api);
}

static void test_rest__project_and_token_are_asked_for_at_each_call(void **state)
{
    FakeApi *api = fake_api_new("home");
    Got g = {0};
    ClientRequest r = {.method = "GET", .path = "/projects", .project = ""};

    api->answer = answer_script;
    script.status = 200;
    script.type = "application/json";
    script.body = "{}";
    ask(api, &r, &g);
    assert_null(api->seen[0].project);
    assert_null(api->seen[0].content_type);
    token_source_set(api->token, STR("rotated"));
    r.project = "other";
    ask(api, &r, &g);
    assert_string_equal(api->seen[1].project, "other");
    assert_string_equal(api->seen[1].bearer, "Bearer rotated");
    token_source_set(api->token, STR(""));
    ask(api, &r, &g);
    assert_null(api->seen[2].bearer);
    fake_api_free(api);
}

static void test_rest__errors_in_all_their_shapes(void **state)
{
    static const struct {
        int status;
        const char *type, *body, *reason;
        ErrCode code;
    } cases[] = {
        {404, "application/json", "{\"code\":\"x-7\",\"reason\":\"no such\"}",
         "ambient API error 404: x-7 \xe2\x80\x94 no such", ERR_NOT_FOUND},
        {409, "application/json", "{\"code\":\"x-6\",\"reason\":\"taken\",\"operation_id\":\"op1\"}",
         "ambient API error 409: x-6 \xe2\x80\x94 taken (operation op1)", ERR_CONFLICT},
        {401, "application/json", "{\"kind\":\"Error\",\"reason\":\"Unauthorized\"}",
         "ambient API error 401: http_error \xe2\x80\x94 Unauthorized", ERR_UNAUTHENTICATED},
        {404, "text/plain", "session not found\nmore\n",
         "ambient API error 404: http_error \xe2\x80\x94 session not found", ERR_NOT_FOUND},
        {503, "text/plain", "", "ambient API error 503: http_error \xe2\x80\x94 HTTP 503: unexpected status",
         ERR_UNAVAILABLE},
        {403, "application/json", "[1]",
         "ambient API error 403: http_error \xe2\x80\x94 HTTP 403: unexpected status", ERR_FORBIDDEN},
        {500, "application/json", "{\"code\":7,\"reason\":\"a\\u001b[2Jb\\nc\"}",
         "ambient API error 500: http_error \xe2\x80\x94 a?[2Jb?c", ERR_INTERNAL},
        {418, "text/plain", "  first\ttab  \r\n", "ambient API error 418: http_error \xe2\x80\x94 first?tab",
         0},
    };
    FakeApi *api = fake_api_new(NULL);
    ClientRequest r = {.method = "GET", .path = "/x"};

    api->answer = answer_script;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Got g = {0};
        script.status = cases[i].status;
        script.type = cases[i].type;
        script.body = cases[i].body;
        ask(api, &r, &g);
        assert_int_equal(g.status, cases[i].status);
        assert_string_equal(g.reason, cases[i].reason);
        if (cases[i].code)
            assert_int_equal(g.code, cases[i].code);
    }
    fake_api_free(api);
}

static void test_rest__a_redirect_is_not_followed_but_an_error(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    Got g = {0};
    ClientRequest r = {.method = "GET", .path = "/x"};

    api->answer = answer_script;
    script.status = 302;
    script.type = "text/plain";
    script.body = "elsewhere";
    ask(api, &r, &g);
    assert_int_equal(g.status, 302);
    assert_int_not_equal(g.code, ERR_OK);
    fake_api_free(api);
}

static void test_rest__success_without_json_is_no_error(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    Got g = {0};
    ClientRequest r = {.method = "GET", .path = "/x"};

    api->answer = answer_script;
    script.status = 200;
    script.type = "text/plain";
    script.body = "plain words";
    ask(api, &r, &g);
    assert_int_equal(g.code, ERR_OK);
    assert_false(g.has_body);
    assert_string_equal(g.text, "plain words");
    fake_api_free(api);
}

static void test_rest__nobody_there_is_a_transport_error(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    Got g = {0};
    ClientRequest r = {.method = "GET", .path = "/x"};

    api->http = http_server_free(api->http);
    ask(api, &r, &g);
    assert_int_equal(g.status, 0);
    assert_int_equal(g.code, ERR_UNAVAILABLE);
    assert_int_equal(strncmp(g.reason, "HTTP request failed: ", 21), 0);
    fake_api_free(api);
}

static void test_rest__client_may_be_freed_inside_the_answer(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    Got g = {.free_client = true};
    ClientRequest r = {.method = "GET", .path = "/x"};

    api->answer = answer_script;
    script.status = 200;
    script.type = "application/json";
    script.body = "{}";
    ask(api, &r, &g);
    assert_null(api->client);
    fake_api_free(api);
}

static void hold(FakeApi *api, HttpReq *req, size_t n)
{
}

static void test_rest__cancelled_calls_stay_silent(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    Got g = {0};
    ClientRequest r = {.method = "GET", .path = "/x"};

    api->answer = hold;
    ClientCall *call = client_request(api->client, &r, on_done, &g);
    PUMP_UNTIL(api->loop, api->n_seen == 1);
    client_cancel(call);
    client_cancel(NULL);
    loop_run_once(api->loop, false);
    assert_false(g.done);
    /* And those that run when the client goes. */
    client_request(api->client, &r, on_done, &g);
    PUMP_UNTIL(api->loop, api->n_seen == 2);
    api->client = client_free(api->client);
    loop_run_once(api->loop, false);
    assert_false(g.done);
    fake_api_free(api);
}

/* ---- streams ---- */

static HttpStream *sse;

static void no_op(void *arg)
{
}

static void answer_stream(FakeApi *api, HttpReq *req, size_t n)
{
    static const HttpStreamOps ops = {no_op, no_op};

    http_reply_header(req, "Content-Type", STR("text/event-stream"));
    sse = http_stream_start(req, 200, &ops, NULL);
}

static void on_event(void *arg, Str id, Str data)
{
    Got *g = arg;
    size_t at = strlen(g->events);

    snprintf(g->events + at, sizeof(g->events) - at, "[" STR_FMT ":" STR_FMT "]", STR_ARG(id), STR_ARG(data));
    if (str_eqz(data, "stop"))
        client_cancel(g->call);
}

static void on_open(void *arg)
{
    ((Got *)arg)->opened = true;
}

static ClientRequest stream_request(void)
{
    return (ClientRequest){.method = "GET",
                           .path = "/s",
                           .accept = "text/event-stream",
                           .on_event = on_event,
                           .on_open = on_open};
}

static void test_rest__events_are_told_as_they_come(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    Got g = {.api = api};
    ClientRequest r = stream_request();

    api->answer = answer_stream;
    g.call = client_request(api->client, &r, on_done, &g);
    PUMP_UNTIL(api->loop, g.opened);
    http_stream_write(sse, STR("id: 1\ndata: one\n\nda"));
    PUMP_UNTIL(api->loop, *g.events);
    assert_string_equal(g.events, "[1:one]");
    http_stream_write(sse, STR("ta: two\n\n"));
    http_stream_end(sse);
    PUMP_UNTIL(api->loop, g.done);
    assert_string_equal(g.events, "[1:one][1:two]"); /* an id holds until there is another one */
    assert_int_equal(g.code, ERR_OK);
    assert_string_equal(api->seen[0].accept, "text/event-stream");
    fake_api_free(api);
}

static void test_rest__cancel_inside_an_event_is_the_last_word(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    Got g = {.api = api};
    ClientRequest r = stream_request();

    api->answer = answer_stream;
    g.call = client_request(api->client, &r, on_done, &g);
    PUMP_UNTIL(api->loop, g.opened);
    http_stream_write(sse, STR("data: stop\n\ndata: after\n\n"));
    PUMP_UNTIL(api->loop, *g.events);
    loop_run_once(api->loop, false);
    assert_string_equal(g.events, "[:stop]");
    assert_false(g.done);
    fake_api_free(api);
}

static void test_rest__a_stream_that_is_refused_says_why(void **state)
{
    FakeApi *api = fake_api_new(NULL);
    Got g = {.api = api};
    ClientRequest r = stream_request();

    api->answer = answer_script;
    script.status = 502;
    script.type = "application/json";
    script.body = "{\"code\":\"x\",\"reason\":\"runner is away\"}";
    g.call = client_request(api->client, &r, on_done, &g);
    PUMP_UNTIL(api->loop, g.done);
    assert_false(g.opened);
    assert_string_equal(g.events, "");
    assert_int_equal(g.status, 502);
    assert_string_equal(g.reason, "ambient API error 502: x \xe2\x80\x94 runner is away");
    fake_api_free(api);
}

int run_rest_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rest__request_carries_what_the_server_wants),
        cmocka_unit_test(test_rest__project_and_token_are_asked_for_at_each_call),
        cmocka_unit_test(test_rest__errors_in_all_their_shapes),
        cmocka_unit_test(test_rest__a_redirect_is_not_followed_but_an_error),
        cmocka_unit_test(test_rest__success_without_json_is_no_error),
        cmocka_unit_test(test_rest__nobody_there_is_a_transport_error),
        cmocka_unit_test(test_rest__client_may_be_freed_inside_the_answer),
        cmocka_unit_test(test_rest__cancelled_calls_stay_silent),
        cmocka_unit_test(test_rest__events_are_told_as_they_come),
        cmocka_unit_test(test_rest__cancel_inside_an_event_is_the_last_word),
        cmocka_unit_test(test_rest__a_stream_that_is_refused_says_why),
    };
    return cmocka_run_group_tests_name("rest", tests, NULL, NULL);
}
