#include "test-internal.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "http/client.h"
#include "loop/conn.h"

/*
 * A server that answers from a script: the n-th request gets the n-th answer. It understands just enough of
 * HTTP to find the end of a request.
 */
typedef struct Script {
    Loop *loop;
    Listener *listener;
    const char *const *answers; /* NULL-ended; "" = no answer */
    unsigned n_requests, n_conns;
    bool close_after; /* each answer */
    Buf requests;     /* all bytes that came */
    Conn *conns[8];
} Script;

static size_t request_len(Str bytes)
{
    ptrdiff_t end = str_find(bytes, STR("\r\n\r\n"));
    if (end < 0)
        return 0;
    uint64_t body = 0;
    ptrdiff_t at = str_find(bytes, STR("Content-Length: "));
    if (at >= 0) {
        Str rest = str_slice(bytes, (size_t)at + strlen("Content-Length: "), bytes.len);
        str_to_u64(str_trim(str_cut(&rest, '\n')), &body);
    }
    size_t len = (size_t)end + 4 + (size_t)body;
    return len <= bytes.len ? len : 0;
}

typedef struct ServerConn {
    Script *script;
    unsigned slot;
} ServerConn;

static size_t script_read(void *arg, Str bytes)
{
    ServerConn *sc = arg;
    Script *s = sc->script;
    Conn **c = &s->conns[sc->slot];
    size_t len = request_len(bytes);
    if (len == 0)
        return 0;
    buf_add(&s->requests, bytes.ptr, len);
    const char *answer = s->answers[s->n_requests] ? s->answers[s->n_requests++] : "";
    conn_write(*c, str_from(answer));
    if (s->close_after) {
        conn_close_after_flush(*c, 0);
        *c = NULL;
        free(sc);
    }
    return len;
}

static void script_end(void *arg, ConnEnd how, const char *why)
{
    ServerConn *sc = arg;
    sc->script->conns[sc->slot] = conn_free(sc->script->conns[sc->slot]);
    free(sc);
}

static void script_drain(void *arg)
{
}

static const ConnOps script_ops = {script_read, script_drain, script_end, NULL};

static void script_accept(void *arg, Conn *c, const char *peer)
{
    Script *s = arg;
    assert_true(s->n_conns < ARRAY_LEN(s->conns));
    ServerConn *sc = xnew(ServerConn);
    *sc = (ServerConn){s, s->n_conns};
    s->conns[s->n_conns++] = c;
    conn_set_ops(c, &script_ops, sc);
}

/* ---- The client's side ---- */

typedef struct Result {
    unsigned done, pieces, heads;
    int status;
    Err err;
    Buf body;
    char type[64], x[64];
    bool has_x;
    HttpCall *cancel_on_piece;
    HttpClient **free_client; /* in done */
} Result;

typedef struct World {
    Script script;
    HttpClient *client;
    Result r;
} World;

static void on_done(void *arg, const HttpResponse *r, const Err *err)
{
    Result *res = arg;
    res->done++;
    assert_true((r == NULL) != (err == NULL));
    if (err) {
        res->err = *err;
    } else {
        res->status = r->status;
        buf_adds(&res->body, r->body);
        snprintf(res->type, sizeof res->type, STR_FMT, STR_ARG(r->content_type));
        Str x = r->header(r, "x-thing");
        res->has_x = x.ptr != NULL;
        snprintf(res->x, sizeof res->x, STR_FMT, STR_ARG(x));
    }
    if (res->free_client)
        *res->free_client = http_client_free(*res->free_client);
}

static void on_piece(void *arg, Str bytes)
{
    Result *res = arg;
    res->pieces++;
    buf_adds(&res->body, bytes);
    if (res->cancel_on_piece)
        http_cancel(TAKE(res->cancel_on_piece));
}

static void on_headers(void *arg, const HttpResponse *r)
{
    Result *res = arg;
    assert_int_equal(res->pieces, 0);
    res->heads++;
    res->status = r->status;
}

static World *world(const char *const *answers)
{
    World *w = xnew(World);
    Err err = {0};
    w->script.loop = test_loop();
    w->script.answers = answers;
    w->script.requests = BUF_INIT(1 << 20);
    w->r.body = BUF_INIT(1 << 20);
    HttpClientOptions o = {.user_agent = "test"};
    if (listener_new(w->script.loop, "127.0.0.1:0", NULL, script_accept, &w->script, &w->script.listener,
                     &err) < 0 ||
        http_client_new(w->script.loop, &o, &w->client, &err) < 0)
        fail_msg("%s", err.msg);
    return w;
}

static void world_free(World *w)
{
    http_client_free(w->client);
    Loop *l = w->script.loop;
    /* Closed client connections end the server's: wait for them, so that nothing is left. */
    PUMP_UNTIL(l, ({
                   bool any = false;
                   for (size_t i = 0; i < ARRAY_LEN(w->script.conns); i++)
                       any |= w->script.conns[i] != NULL;
                   !any;
               }));
    listener_free(w->script.listener);
    buf_done(&w->script.requests);
    buf_done(&w->r.body);
    loop_free(l);
    free(w);
}

static HttpCall *send_to(World *w, HttpRequest req, const char *path)
{
    char url[128];
    snprintf(url, sizeof url, "http://127.0.0.1:%d%s", listener_port(w->script.listener), path);
    req.url = url;
    req.method = req.method ? req.method : "GET";
    req.timeout = req.timeout ? req.timeout : 20 * USEC_PER_SEC;
    unsigned before = w->r.done;
    HttpCall *call = http_send(w->client, &req, on_done, &w->r);
    assert_int_equal(w->r.done, before); /* never before it returns */
    return call;
}

static void must_answer(World *w, unsigned n)
{
    PUMP_UNTIL(w->script.loop, w->r.done >= n);
    if (w->r.err.code)
        fail_msg("%s", w->r.err.msg);
}

static bool was_sent(const World *w, const char *text)
{
    return str_find(buf_str(&w->script.requests), str_from(text)) >= 0;
}

#define CHUNKED "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define OK_ANSWER                                                                                            \
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Thing:  a b \r\nContent-Length: 5\r\n\r\nhello"

static void test_client__get(void **state)
{
    World *w = world((const char *[]){OK_ANSWER, NULL});
    send_to(w, (HttpRequest){0}, "/a?b=c");
    must_answer(w, 1);
    assert_int_equal(w->r.status, 200);
    assert_string_equal(w->r.body.data, "hello");
    assert_string_equal(w->r.type, "text/plain");
    assert_string_equal(w->r.x, "a b");
    assert_true(was_sent(w, "GET /a?b=c HTTP/1.1\r\n"));
    assert_true(was_sent(w, "User-Agent: test\r\n"));
    world_free(w);
}

static void test_client__connection_is_used_again(void **state)
{
    World *w = world((const char *[]){OK_ANSWER, OK_ANSWER, OK_ANSWER, NULL});
    for (unsigned i = 1; i <= 3; i++) {
        send_to(w, (HttpRequest){0}, "/");
        must_answer(w, i);
    }
    assert_int_equal(w->script.n_conns, 1);
    world_free(w);
}

static void test_client__head_and_trailers(void **state)
{
    World *w = world((const char *[]){"HTTP/1.1 200 OK\r\nX-Thing: t\r\nContent-Length: 50\r\n\r\n",
                                      CHUNKED "1\r\na\r\n0\r\nX-Thing: too late\r\n\r\n", NULL});
    send_to(w, (HttpRequest){.method = "HEAD"}, "/");
    must_answer(w, 1);
    assert_string_equal(w->r.x, "t");
    assert_int_equal(w->r.body.len, 0);
    send_to(w, (HttpRequest){0}, "/");
    must_answer(w, 2);
    assert_string_equal(w->r.body.data, "a");
    assert_false(w->r.has_x);
    world_free(w);
}

static void test_client__too_many_headers(void **state)
{
    CLEANUP_BUF Buf answer = BUF_INIT(1 << 20);
    buf_addz(&answer, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 9000; i++)
        buf_addz(&answer, "X-Header: 3456789012345678901234567890\r\n");
    buf_addz(&answer, "\r\n");
    World *w = world((const char *[]){answer.data, NULL});
    send_to(w, (HttpRequest){0}, "/");
    PUMP_UNTIL(w->script.loop, w->r.done == 1);
    assert_int_equal(w->r.err.code, ERR_TOO_LARGE);
    world_free(w);
}

static void test_client__freed_before_its_calls_start(void **state)
{
    World *w = world((const char *[]){OK_ANSWER, NULL});
    send_to(w, (HttpRequest){0}, "/");
    w->client = http_client_free(w->client);
    assert_null(http_client_free(NULL));
    loop_run_once(w->script.loop, false);
    loop_run_once(w->script.loop, false);
    assert_int_equal(w->r.done, 0);
    assert_int_equal(w->script.n_conns, 0);
    world_free(w);
}

static void test_client__several_at_once(void **state)
{
    World *w = world((const char *[]){OK_ANSWER, OK_ANSWER, OK_ANSWER, NULL});
    for (unsigned i = 0; i < 3; i++)
        send_to(w, (HttpRequest){0}, "/");
    must_answer(w, 3);
    assert_int_equal(w->r.body.len, 15);
    world_free(w);
}

static void test_client__bodies_and_methods(void **state)
{
    static const struct {
        const char *method, *body, *sent;
    } cases[] = {
        {"POST", "{}", "POST / HTTP/1.1\r\n"},     {"PATCH", "{\"a\":1}", "PATCH / HTTP/1.1\r\n"},
        {"PUT", "", "PUT / HTTP/1.1\r\n"},         {"POST", NULL, "Content-Length: 0\r\n"},
        {"DELETE", NULL, "DELETE / HTTP/1.1\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        World *w = world((const char *[]){OK_ANSWER, NULL});
        HttpHeader type = {"Content-Type", STR("application/json")};
        send_to(
            w,
            (HttpRequest){
                .method = cases[i].method, .body = str_from(cases[i].body), .headers = &type, .n_headers = 1},
            "/");
        must_answer(w, 1);
        assert_true(was_sent(w, cases[i].sent));
        assert_true(was_sent(w, "Content-Type: application/json\r\n"));
        assert_false(was_sent(w, "Expect"));
        assert_false(was_sent(w, "urlencoded"));
        if (cases[i].body)
            assert_true(was_sent(w, cases[i].body));
        world_free(w);
    }
}

static void test_client__bearer_and_odd_headers(void **state)
{
    World *w = world((const char *[]){OK_ANSWER, NULL});
    Secret *token = secret_new(STR("s3cret"));
    HttpHeader headers[] = {{"X-Empty", STR("")}, {"X-Two", STR("a, b")}};
    send_to(w, (HttpRequest){.bearer = token, .headers = headers, .n_headers = 2}, "/");
    secret_free(token);
    must_answer(w, 1);
    assert_true(was_sent(w, "Authorization: Bearer s3cret\r\n"));
    assert_true(was_sent(w, "X-Empty:\r\n"));
    assert_true(was_sent(w, "X-Two: a, b\r\n"));
    world_free(w);
}

static void test_client__requests_that_cannot_be_sent(void **state)
{
    const HttpRequest bad[] = {
        {.url = "http://h/a b"},
        {.url = "file:///etc/passwd"},
        {.url = "http://user:pw@127.0.0.1/"},
        {.url = "http://h/", .method = "G T"},
        {.url = "http://h/", .headers = &(HttpHeader){"X-A", STR("a\r\nB: c")}, .n_headers = 1},
        {.url = "http://h/", .headers = &(HttpHeader){"X A", STR("a")}, .n_headers = 1},
        {.url = "http://h/", .headers = &(HttpHeader){"X-A\r\nB", STR("a")}, .n_headers = 1},
    };
    World *w = world((const char *[]){NULL});
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        HttpRequest req = bad[i];
        req.method = req.method ? req.method : "GET";
        w->r.err = (Err){0};
        http_send(w->client, &req, on_done, &w->r);
        PUMP_UNTIL(w->script.loop, w->r.done == i + 1);
        assert_int_equal(w->r.err.code, ERR_INVALID);
        assert_null(strstr(w->r.err.msg, "pw"));
    }
    world_free(w);
}

static void test_client__redirects_are_not_followed(void **state)
{
    World *w = world(
        (const char *[]){"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", OK_ANSWER, NULL});
    send_to(w, (HttpRequest){0}, "/");
    must_answer(w, 1);
    assert_int_equal(w->r.status, 302);
    assert_int_equal(w->script.n_requests, 1);
    world_free(w);
}

static void test_client__interim_answers_are_skipped(void **state)
{
    World *w = world((const char *[]){"HTTP/1.1 103 Early Hints\r\nX-Thing: early\r\n\r\n"
                                      "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
                                      NULL});
    send_to(w, (HttpRequest){0}, "/");
    must_answer(w, 1);
    assert_int_equal(w->r.status, 201);
    assert_false(w->r.has_x);
    world_free(w);
}

static void test_client__streamed(void **state)
{
    World *w = world((const char *[]){CHUNKED "3\r\nabc\r\n", NULL});
    send_to(w, (HttpRequest){.on_piece = on_piece, .on_headers = on_headers, .timeout = USEC_NEVER}, "/");
    PUMP_UNTIL(w->script.loop, w->r.body.len == 3); /* at once, while the answer goes on */
    assert_int_equal(w->r.heads, 1);
    assert_int_equal(w->r.done, 0);
    conn_write(w->script.conns[0], STR("2\r\nde\r\n0\r\n\r\n"));
    must_answer(w, 1);
    assert_string_equal(w->r.body.data, "abcde");
    world_free(w);
}

static void test_client__paused_stream_waits(void **state)
{
    World *w = world((const char *[]){CHUNKED "3\r\nabc\r\n", NULL});
    HttpCall *call = send_to(w, (HttpRequest){.on_piece = on_piece}, "/");
    PUMP_UNTIL(w->script.loop, w->r.body.len == 3);
    http_pause(call, true);
    conn_write(w->script.conns[0], STR("2\r\nde\r\n"));
    PUMP_UNTIL(w->script.loop, conn_out_len(w->script.conns[0]) == 0);
    for (int i = 0; i < 5; i++)
        loop_run_once(w->script.loop, false);
    assert_int_equal(w->r.body.len, 3);
    http_pause(call, false);
    assert_int_equal(w->r.body.len, 3); /* not before it returns */
    PUMP_UNTIL(w->script.loop, w->r.body.len == 5);
    http_pause(call, true);
    http_pause(call, false);
    conn_write(w->script.conns[0], STR("0\r\n\r\n"));
    must_answer(w, 1);
    http_pause(NULL, true);
    world_free(w);
}

static void test_client__streamed_error_answer_has_its_body(void **state)
{
    World *w = world((const char *[]){"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone", NULL});
    send_to(w, (HttpRequest){.on_piece = on_piece, .on_headers = on_headers}, "/");
    must_answer(w, 1);
    assert_int_equal(w->r.status, 404);
    assert_int_equal(w->r.pieces, 0);
    assert_string_equal(w->r.body.data, "gone");
    world_free(w);
}

static void test_client__broken_off_stream_is_an_error(void **state)
{
    World *w = world((const char *[]){CHUNKED "3\r\nabc\r\n", NULL});
    w->script.close_after = true;
    send_to(w, (HttpRequest){.on_piece = on_piece}, "/");
    PUMP_UNTIL(w->script.loop, w->r.done == 1);
    assert_int_equal(w->r.err.code, ERR_UNAVAILABLE);
    world_free(w);
}

static void test_client__answer_over_the_limit(void **state)
{
    World *w = world((const char *[]){OK_ANSWER, OK_ANSWER, NULL});
    send_to(w, (HttpRequest){.body_max = 5}, "/");
    must_answer(w, 1);
    send_to(w, (HttpRequest){.body_max = 4}, "/");
    PUMP_UNTIL(w->script.loop, w->r.done == 2);
    assert_int_equal(w->r.err.code, ERR_TOO_LARGE);
    world_free(w);
}

static void test_client__silent_server_is_a_deadline(void **state)
{
    World *w = world((const char *[]){"", NULL});
    send_to(w, (HttpRequest){.timeout = 30 * USEC_PER_MSEC}, "/");
    PUMP_UNTIL(w->script.loop, w->r.done == 1);
    assert_int_equal(w->r.err.code, ERR_DEADLINE);
    assert_non_null(strstr(w->r.err.msg, "http://127.0.0.1:"));
    world_free(w);
}

static void test_client__nobody_listens(void **state)
{
    World *w = world((const char *[]){NULL});
    int port = listener_port(w->script.listener);
    w->script.listener = listener_free(w->script.listener);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", port);
    HttpRequest req = {.method = "GET", .url = url, .timeout = 20 * USEC_PER_SEC};
    http_send(w->client, &req, on_done, &w->r);
    PUMP_UNTIL(w->script.loop, w->r.done == 1);
    assert_int_equal(w->r.err.code, ERR_UNAVAILABLE);
    w->client = http_client_free(w->client);
    buf_done(&w->script.requests), buf_done(&w->r.body);
    loop_free(w->script.loop);
    free(w);
}

/* At each state: not started, waiting for the answer, inside a callback. */
static void test_client__cancel(void **state)
{
    World *w = world((const char *[]){"", CHUNKED "3\r\nabc\r\n", OK_ANSWER, NULL});
    http_cancel(send_to(w, (HttpRequest){0}, "/"));
    loop_run_once(w->script.loop, false);
    HttpCall *call = send_to(w, (HttpRequest){0}, "/");
    PUMP_UNTIL(w->script.loop, w->script.n_requests == 1);
    http_cancel(call);
    w->r.cancel_on_piece = send_to(w, (HttpRequest){.on_piece = on_piece}, "/");
    PUMP_UNTIL(w->script.loop, w->r.pieces == 1);
    send_to(w, (HttpRequest){0}, "/"); /* the client is fine */
    must_answer(w, 1);
    http_cancel(NULL);
    world_free(w);
}

static void test_client__freed_in_a_callback_with_calls_under_way(void **state)
{
    World *w = world((const char *[]){"", OK_ANSWER, NULL});
    send_to(w, (HttpRequest){0}, "/hang");
    PUMP_UNTIL(w->script.loop, w->script.n_requests == 1);
    w->r.free_client = &w->client;
    send_to(w, (HttpRequest){0}, "/");
    PUMP_UNTIL(w->script.loop, w->r.done == 1);
    assert_null(w->client);
    world_free(w);
}

static void test_client__freed_in_a_callback_before_others_start(void **state)
{
    World *w = world((const char *[]){OK_ANSWER, NULL});
    w->r.free_client = &w->client;
    HttpRequest bad = {.method = "GET", .url = "no url"};
    http_send(w->client, &bad, on_done, &w->r);
    http_send(w->client, &bad, on_done, &w->r);
    send_to(w, (HttpRequest){0}, "/");
    PUMP_UNTIL(w->script.loop, w->r.done == 1);
    assert_null(w->client);
    world_free(w);
}

int test_client_group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client__get),
        cmocka_unit_test(test_client__connection_is_used_again),
        cmocka_unit_test(test_client__several_at_once),
        cmocka_unit_test(test_client__head_and_trailers),
        cmocka_unit_test(test_client__too_many_headers),
        cmocka_unit_test(test_client__freed_before_its_calls_start),
        cmocka_unit_test(test_client__bodies_and_methods),
        cmocka_unit_test(test_client__bearer_and_odd_headers),
        cmocka_unit_test(test_client__requests_that_cannot_be_sent),
        cmocka_unit_test(test_client__redirects_are_not_followed),
        cmocka_unit_test(test_client__interim_answers_are_skipped),
        cmocka_unit_test(test_client__streamed),
        cmocka_unit_test(test_client__paused_stream_waits),
        cmocka_unit_test(test_client__streamed_error_answer_has_its_body),
        cmocka_unit_test(test_client__broken_off_stream_is_an_error),
        cmocka_unit_test(test_client__answer_over_the_limit),
        cmocka_unit_test(test_client__silent_server_is_a_deadline),
        cmocka_unit_test(test_client__nobody_listens),
        cmocka_unit_test(test_client__cancel),
        cmocka_unit_test(test_client__freed_in_a_callback_with_calls_under_way),
        cmocka_unit_test(test_client__freed_in_a_callback_before_others_start),
    };
    return cmocka_run_group_tests_name("client", tests, NULL, NULL);
}
