#include "test-internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "http/client.h"
#include "http/server.h"
#include "loop/conn.h"

/* ---- A server with a few paths, and raw clients ---- */

typedef struct Raw {
    struct World *world;
    Conn *conn;
    Buf in;
    bool ended;
    ConnEnd how;
} Raw;

typedef struct World {
    Loop *loop;
    HttpServer *server;
    unsigned handled;
    HttpReq *held; /* by /hold, until it is answered or gone */
    HttpStream *stream;
    unsigned drains, stream_gone, gone;
    Raw raw[4];
    unsigned n_raw;
} World;

static void user_gone(void *user)
{
    World *w = user;
    w->gone++;
    w->held = NULL;
}

static void stream_drain(void *arg)
{
    World *w = arg;
    w->drains++;
}

static void stream_gone(void *arg)
{
    World *w = arg;
    w->stream_gone++;
    w->stream = NULL;
}

static const HttpStreamOps stream_ops = {stream_drain, stream_gone};

static void inspect(HttpReq *r)
{
    CLEANUP_BUF Buf b = BUF_INIT(10000);
    Str a = http_req_query(r, "a"), x = http_req_header(r, "x-y");
    buf_addf(&b, STR_FMT "|" STR_FMT "|" STR_FMT "|", STR_ARG(http_req_method(r)), STR_ARG(http_req_path(r)),
             STR_ARG(http_req_raw_target(r)));
    buf_addf(&b, "%s" STR_FMT "|%s" STR_FMT "|%s", a.ptr ? "" : "none", STR_ARG(a), x.ptr ? "" : "none",
             STR_ARG(x), http_req_peer(r));
    http_reply_header(r, "X-One", STR("first"));
    http_reply_header(r, "X-Two", STR("two"));
    http_reply_header(r, "x-one", STR("second"));
    http_reply_header(r, "X-Bad", STR("a\r\nb: c"));
    http_reply_header(r, "X Bad", STR("a"));
    http_reply_header(r, "Content-Length", STR("99"));
    http_reply(r, 200, buf_str(&b));
}

static void big(HttpReq *r)
{
    uint64_t n = 0;
    str_to_u64(http_req_query(r, "n"), &n);
    Buf b = BUF_INIT(64 << 20);
    void *to = buf_reserve(&b, (size_t)n);
    assert_non_null(to);
    memset(to, 'x', (size_t)n);
    buf_commit(&b, (size_t)n);
    http_reply_buf(r, 200, &b);
    assert_int_equal(b.len, 0);
    buf_done(&b);
}

static void handle(void *arg, HttpReq *r)
{
    World *w = arg;
    Str path = http_req_path(r);
    w->handled++;
    if (str_eqz(path, "/hello")) {
        http_reply(r, 200, STR("hello"));
    } else if (str_eqz(path, "/echo")) {
        http_reply(r, 200, http_req_body(r));
    } else if (str_eqz(path, "/empty")) {
        http_reply(r, 204, STR("not sent"));
    } else if (str_eqz(path, "/big")) {
        big(r);
    } else if (str_eqz(path, "/hold")) {
        assert_null(w->held);
        w->held = r;
        http_req_set_user(r, w, user_gone);
        assert_ptr_equal(http_req_user(r), w);
    } else if (str_eqz(path, "/stream")) {
        http_reply_header(r, "Content-Type", STR("text/event-stream"));
        w->stream = http_stream_start(r, 200, &stream_ops, w);
    } else if (str_starts(path, STR("/inspect"))) {
        inspect(r);
    } else {
        http_reply(r, 404, STR("no such path"));
    }
}

static void error_body(void *arg, ErrCode code, const char *reason, Buf *body, const char **content_type)
{
    *content_type = "application/json";
    buf_addf(body, "{\"code\":\"%s\",\"reason\":\"%s\"}", err_info(code)->name, reason);
}

static HttpLimits test_limits(void)
{
    HttpLimits l = http_limits_default;
    l.headers_max = 2000;
    l.body_max = 10000;
    l.stream_out_max = 64 * 1024;
    return l;
}

static World *world_with(const HttpLimits *limits)
{
    World *w = xnew(World);
    Err err = {0};
    w->loop = test_loop();
    if (http_server_new(w->loop, "127.0.0.1:0", NULL, limits, handle, error_body, w, &w->server, &err) < 0)
        fail_msg("%s", err.msg);
    return w;
}

static World *world(void)
{
    HttpLimits l = test_limits();
    return world_with(&l);
}

static size_t raw_read(void *arg, Str bytes)
{
    Raw *r = arg;
    buf_adds(&r->in, bytes);
    return bytes.len;
}

static void raw_drain(void *arg)
{
}

static void raw_end(void *arg, ConnEnd how, const char *why)
{
    Raw *r = arg;
    r->ended = true;
    r->how = how;
}

static const ConnOps raw_ops = {raw_read, raw_drain, raw_end, NULL};

static Raw *raw_connect(World *w)
{
    char address[32];
    Raw *r = &w->raw[w->n_raw++];
    r->world = w;
    r->in = BUF_INIT(64 << 20);
    snprintf(address, sizeof address, "127.0.0.1:%d", http_server_port(w->server));
    assert_int_equal(conn_connect(w->loop, address, NULL, &raw_ops, r, &r->conn, NULL), 0);
    return r;
}

static void raw_free(Raw *r)
{
    r->conn = conn_free(r->conn);
    buf_done(&r->in);
    *r = (Raw){.world = r->world};
}

static void world_free(World *w)
{
    for (unsigned i = 0; i < w->n_raw; i++)
        raw_free(&w->raw[i]);
    http_server_free(w->server);
    loop_free(w->loop);
    free(w);
}

static void raw_send(Raw *r, const char *text)
{
    conn_write(r->conn, str_from(text));
}

static bool has(const Raw *r, const char *text)
{
    return str_find(buf_str(&r->in), str_from(text)) >= 0;
}

static unsigned count(const Raw *r, const char *text)
{
    unsigned n = 0;
    Str rest = buf_str(&r->in);
    for (ptrdiff_t at; (at = str_find(rest, str_from(text))) >= 0; n++)
        rest = str_slice(rest, (size_t)at + 1, rest.len);
    return n;
}

static bool ends_with(const Raw *r, const char *text)
{
    return str_ends(buf_str(&r->in), str_from(text));
}

#define H "Host: x\r\n"
#define END "\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" H END

/* ---- Plain requests ---- */

static void test_server__answers(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, GET("/hello"));
    PUMP_UNTIL(w->loop, ends_with(r, "hello"));
    assert_true(str_starts(buf_str(&r->in), STR("HTTP/1.1 200 OK\r\nDate: ")));
    assert_true(has(r, " GMT\r\n"));
    assert_true(has(r, "Content-Length: 5\r\n"));
    assert_false(has(r, "Connection:"));
    raw_send(r, GET("/nowhere"));
    PUMP_UNTIL(w->loop, ends_with(r, "no such path"));
    assert_true(has(r, "HTTP/1.1 404 Not Found\r\n"));
    assert_int_equal(http_server_conns(w->server), 1);
    world_free(w);
}

typedef struct AnswerCase {
    const char *raw, *end;
} AnswerCase;

static void test_server__what_a_handler_sees(void **state)
{
    static const AnswerCase cases[] = {
        {GET("/inspect"), "GET|/inspect|/inspect|none|none|127.0.0.1"},
        {GET("/inspect/%41%2f?a=1+2%21&a=3"),
         "GET|/inspect/A/|/inspect/%41%2f?a=1+2%21&a=3|1 2!|none|127.0.0.1"},
        {GET("/inspect?a"), "GET|/inspect|/inspect?a||none|127.0.0.1"},
        {GET("/inspect?b=%&a=2&%"), "GET|/inspect|/inspect?b=%&a=2&%|2|none|127.0.0.1"},
        {GET("http://h:1/inspect?a=1"), "GET|/inspect|http://h:1/inspect?a=1|1|none|127.0.0.1"},
        {"BREW /inspect HTTP/1.1\r\n" H "x-Y: z\r\nX-Y: second\r\n" END,
         "BREW|/inspect|/inspect|none|z|127.0.0.1"},
        {"POST /echo HTTP/1.1\r\n" H "Content-Length: 3\r\n" END "abc", "\r\n\r\nabc"},
        {"POST /echo HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
         "\r\n\r\nabc"},
        {GET("/empty"), "GMT\r\n\r\n"},
        {"HEAD /hello HTTP/1.1\r\n" H END, "Content-Length: 5\r\n\r\n"},
        {"HEAD /big?n=100000 HTTP/1.1\r\n" H END, "Content-Length: 100000\r\n\r\n"},
    };
    World *w = world();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        w->n_raw = 0;
        Raw *r = raw_connect(w);
        raw_send(r, cases[i].raw);
        raw_send(r, GET("/hello")); /* what was left out of a bodiless answer would show here */
        PUMP_UNTIL(w->loop, ends_with(r, "\r\n\r\nhello"));
        ptrdiff_t second = str_find(str_slice(buf_str(&r->in), 1, r->in.len), STR("HTTP/1.1 200 OK")) + 1;
        Str first = str_slice(buf_str(&r->in), 0, (size_t)second);
        if (!str_ends(first, str_from(cases[i].end)))
            fail_msg("%s\nanswered\n" STR_FMT, cases[i].raw, STR_ARG(first));
        raw_free(r);
    }
    world_free(w);
}

static void test_server__reply_headers(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, GET("/inspect"));
    PUMP_UNTIL(w->loop, has(r, "|127.0.0.1"));
    assert_true(has(r, "x-one: second\r\n"));
    assert_true(has(r, "X-Two: two\r\n"));
    assert_false(has(r, "first"));
    assert_false(has(r, "Bad"));
    assert_int_equal(count(r, "Content-Length"), 1);
    world_free(w);
}

/* raw request -> what the server says, and whether it hangs up. The parser's own table has the shapes in
 * full. */
static void test_server__refusals_close_the_connection(void **state)
{
    static const struct {
        const char *raw, *status, *code;
    } cases[] = {
        {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" END "0\r\n\r\n", "400",
         "BAD_REQUEST"},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n" END "abcd", "400",
         "BAD_REQUEST"},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n" END "0\r\n\r\n", "501",
         "UNIMPLEMENTED"},
        {"GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n" END, "400", "BAD_REQUEST"},
        {"GET / HTTP/1.1\r\n" H "A : b\r\n" END, "400", "BAD_REQUEST"},
        {"GET / HTTP/1.1\r\n" H "A: b\rC: d\r\n" END, "400", "BAD_REQUEST"},
        {"GET / HTTP/1.1\nHost: x\n\n", "400", "BAD_REQUEST"},
        {"GET /%zz HTTP/1.1\r\n" H END, "400", "BAD_REQUEST"},
        {"GET /%00 HTTP/1.1\r\n" H END, "400", "BAD_REQUEST"},
        {"GET / HTTP/1.1\r\n" END, "400", "BAD_REQUEST"},
        {"GET / HTTP/3.0\r\n" H END, "505", "UNIMPLEMENTED"},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 10001\r\n" END, "413", "TOO_LARGE"},
        {"POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 10001\r\n" END, "413", "TOO_LARGE"},
        {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "2711\r\n", "413", "TOO_LARGE"},
        {"POST / HTTP/1.1\r\n" H "Expect: something\r\n" END, "417", "BAD_REQUEST"},
    };
    World *w = world();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char status[32], code[32];
        w->n_raw = 0;
        Raw *r = raw_connect(w);
        raw_send(r, cases[i].raw);
        raw_send(r, GET("/hello")); /* smuggled: must not be answered */
        PUMP_UNTIL(w->loop, r->ended);
        snprintf(status, sizeof status, "HTTP/1.1 %s ", cases[i].status);
        snprintf(code, sizeof code, "{\"code\":\"%s\"", cases[i].code);
        if (!str_starts(buf_str(&r->in), str_from(status)) || !has(r, code))
            fail_msg("%s\nanswered\n%s", cases[i].raw, r->in.data);
        assert_true(has(r, "Connection: close\r\n"));
        assert_true(has(r, "Content-Type: application/json\r\n"));
        assert_int_equal(count(r, "HTTP/1.1"), 1);
        raw_free(r);
    }
    assert_int_equal(w->handled, 0);
    world_free(w);
}

static void test_server__large_headers_are_431(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, "GET / HTTP/1.1\r\n" H);
    for (int i = 0; i < 300; i++)
        raw_send(r, "A: 789\r\n");
    PUMP_UNTIL(w->loop, r->ended);
    assert_true(str_starts(buf_str(&r->in), STR("HTTP/1.1 431 ")));
    world_free(w);
}

/* The client sends all of a body that is refused before it reads: it must still see the answer. */
static void test_server__refused_body_does_not_cut_the_answer(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    char *body = xcalloc(1, 1 << 20);
    raw_send(r, "POST / HTTP/1.1\r\n" H "Content-Length: 1048576\r\n" END);
    conn_write(r->conn, (Str){body, 1 << 20});
    free(body);
    PUMP_UNTIL(w->loop, r->ended);
    assert_int_equal(r->how, CONN_EOF);
    assert_true(str_starts(buf_str(&r->in), STR("HTTP/1.1 413 ")));
    world_free(w);
}

static void test_server__expect_continue(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, "POST /echo HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 3\r\n" END);
    PUMP_UNTIL(w->loop, ends_with(r, "HTTP/1.1 100 Continue\r\n\r\n"));
    raw_send(r, "abc");
    PUMP_UNTIL(w->loop, ends_with(r, "\r\n\r\nabc"));
    buf_clear(&r->in); /* nothing to continue with, nothing said */
    raw_send(r, "POST /echo HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 0\r\n" END);
    PUMP_UNTIL(w->loop, ends_with(r, "Content-Length: 0\r\n\r\n"));
    assert_false(has(r, "100 Continue"));
    world_free(w);
}

/* ---- Keep-alive and pipelining ---- */

static void test_server__http10_closes_unless_asked(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    PUMP_UNTIL(w->loop, ends_with(r, "hello"));
    assert_true(has(r, "Connection: keep-alive\r\n"));
    raw_send(r, "GET /hello HTTP/1.0\r\n\r\n");
    PUMP_UNTIL(w->loop, r->ended);
    assert_int_equal(count(r, "\r\n\r\nhello"), 2);
    assert_true(has(r, "Connection: close\r\n"));
    world_free(w);
}

static void test_server__close_is_obeyed(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, "GET /hello HTTP/1.1\r\n" H "Connection: close\r\n" END GET("/hello"));
    PUMP_UNTIL(w->loop, r->ended);
    assert_int_equal(count(r, "HTTP/1.1 200"), 1);
    assert_true(has(r, "Connection: close\r\n"));
    world_free(w);
}

static void test_server__pipelined_requests_are_answered_in_order(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, GET("/hold") GET("/hello") "POST /echo HTTP/1.1\r\n" H "Content-Length: 4\r\n" END "last");
    PUMP_UNTIL(w->loop, w->held);
    loop_run_once(w->loop, false);
    assert_int_equal(w->handled, 1); /* one at a time */
    http_reply(w->held, 200, STR("held"));
    assert_int_equal(w->gone, 1);
    PUMP_UNTIL(w->loop, ends_with(r, "\r\n\r\nlast"));
    assert_int_equal(count(r, "HTTP/1.1 200"), 3);
    assert_true(str_find(buf_str(&r->in), STR("\r\n\r\nheld")) <
                str_find(buf_str(&r->in), STR("\r\n\r\nhello")));
    world_free(w);
}

/* A client that pipelines and reads nothing is not served beyond its buffer. */
static void test_server__pipelining_without_reading_is_bounded(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    conn_read_pause(r->conn, true);
    for (int i = 0; i < 1000; i++)
        raw_send(r, GET("/big?n=1000000"));
    unsigned before;
    do {
        before = w->handled;
        for (int i = 0; i < 20; i++)
            loop_run_once(w->loop, false);
    } while (w->handled != before || w->handled == 0);
    assert_true(w->handled < 100);
    conn_read_pause(r->conn, false);
    PUMP_UNTIL(w->loop, w->handled > before); /* and goes on when it reads */
    world_free(w);
}

/* More than is kept while the first request is answered: the rest waits with the kernel. */
static void test_server__long_pipeline_behind_a_slow_answer(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    enum { N = 10000 };
    raw_send(r, GET("/hold"));
    for (int i = 0; i < N; i++)
        raw_send(r, GET("/hello"));
    PUMP_UNTIL(w->loop, w->held);
    for (int i = 0; i < 20; i++)
        loop_run_once(w->loop, false);
    assert_int_equal(w->handled, 1);
    http_reply(w->held, 200, STR("held"));
    PUMP_UNTIL(w->loop, w->handled == N + 1);
    raw_send(r, "GET /empty HTTP/1.1\r\n" H "Connection: close\r\n" END);
    PUMP_UNTIL(w->loop, r->ended);
    assert_int_equal(count(r, "HTTP/1.1 200 OK"), N + 1);
    world_free(w);
}

static void test_server__client_leaves_while_the_last_answer_is_sent(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    conn_read_pause(r->conn, true);
    raw_send(r, "GET /big?n=20000000 HTTP/1.1\r\n" H "Connection: close\r\n" END);
    PUMP_UNTIL(w->loop, w->handled == 1);
    for (int i = 0; i < 10; i++)
        loop_run_once(w->loop, false);
    assert_int_equal(http_server_conns(w->server), 1); /* counts until it is sent */
    r->conn = conn_free(r->conn);
    PUMP_UNTIL(w->loop, http_server_conns(w->server) == 0);
    world_free(w);
}

static void test_server__half_closed_client_gets_its_answers(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, GET("/hold") GET("/hello"));
    PUMP_UNTIL(w->loop, w->held);
    conn_shut_output(r->conn);
    for (int i = 0; i < 5; i++)
        loop_run_once(w->loop, false);
    assert_int_equal(w->gone, 0);
    http_reply(w->held, 200, STR("held"));
    PUMP_UNTIL(w->loop, r->ended);
    assert_true(has(r, "\r\n\r\nheld"));
    assert_true(ends_with(r, "\r\n\r\nhello"));
    assert_int_equal(http_server_conns(w->server), 0);
    world_free(w);
}

static void test_server__half_closed_client_of_a_request_that_ends_with_it(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, GET("/hold") GET("/hello"));
    PUMP_UNTIL(w->loop, w->held);
    http_req_ends_with_client(w->held);
    conn_shut_output(r->conn);
    PUMP_UNTIL(w->loop, r->ended);
    assert_int_equal(w->gone, 1);
    assert_int_equal(r->in.len, 0);
    assert_int_equal(http_server_conns(w->server), 0);
    world_free(w);
}

static void test_server__half_closed_in_the_middle_of_a_request(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, "GET /hello HTTP/1.1\r\nHos");
    conn_shut_output(r->conn);
    PUMP_UNTIL(w->loop, r->ended);
    assert_int_equal(r->in.len, 0);
    world_free(w);
}

static void test_server__client_that_resets_is_gone(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, GET("/hello"));
    PUMP_UNTIL(w->loop, ends_with(r, "hello"));
    conn_read_pause(r->conn, true);
    raw_send(r, GET("/hello") GET("/hold"));
    PUMP_UNTIL(w->loop, w->held);
    for (int i = 0; i < 3; i++)
        loop_run_once(w->loop, false); /* the second answer is in its kernel, unread: closing resets */
    r->conn = conn_free(r->conn);
    PUMP_UNTIL(w->loop, w->gone == 1);
    assert_null(w->held);
    world_free(w);
}

/* ---- Time and number ---- */

static void test_server__slow_headers_are_408(void **state)
{
    HttpLimits l = test_limits();
    l.header_timeout = 40 * USEC_PER_MSEC;
    World *w = world_with(&l);
    Raw *r = raw_connect(w);
    raw_send(r, "GET /hello HTTP/1.1\r\n");
    Timer *drip = timer_new(w->loop, raw_drain, w);
    while (!r->ended) { /* a byte every few milliseconds does not help */
        raw_send(r, "X: a\r\n");
        timer_arm(drip, 2 * USEC_PER_MSEC);
        PUMP_UNTIL(w->loop, !timer_armed(drip) || r->ended);
    }
    timer_free(drip);
    assert_true(str_starts(buf_str(&r->in), STR("HTTP/1.1 408 ")));
    world_free(w);
}

static void test_server__slow_body_is_408(void **state)
{
    HttpLimits l = test_limits();
    l.body_timeout = 30 * USEC_PER_MSEC;
    World *w = world_with(&l);
    Raw *r = raw_connect(w);
    raw_send(r, "POST /echo HTTP/1.1\r\n" H "Content-Length: 10\r\n" END "abc");
    PUMP_UNTIL(w->loop, r->ended);
    assert_true(str_starts(buf_str(&r->in), STR("HTTP/1.1 408 ")));
    world_free(w);
}

static void test_server__silent_and_idle_connections_are_closed(void **state)
{
    HttpLimits l = test_limits();
    l.header_timeout = l.idle_timeout = 250 * USEC_PER_MSEC; /* in which a request must get through */
    World *w = world_with(&l);
    Raw *silent = raw_connect(w), *idle = raw_connect(w);
    raw_send(idle, GET("/hello"));
    PUMP_UNTIL(w->loop, silent->ended && idle->ended);
    assert_int_equal(silent->in.len, 0);
    assert_int_equal(count(idle, "HTTP/1.1"), 1);
    PUMP_UNTIL(w->loop, http_server_conns(w->server) == 0);
    world_free(w);
}

/* However long the handler takes, no deadline of the client's runs. */
static void test_server__no_deadline_while_answering(void **state)
{
    HttpLimits l = test_limits();
    l.header_timeout = l.idle_timeout = l.body_timeout = 200 * USEC_PER_MSEC;
    World *w = world_with(&l);
    Raw *r = raw_connect(w);
    raw_send(r, GET("/hold"));
    PUMP_UNTIL(w->loop, w->held);
    Timer *t = timer_new(w->loop, raw_drain, w);
    timer_arm(t, 300 * USEC_PER_MSEC);
    PUMP_UNTIL(w->loop, !timer_armed(t));
    timer_free(t);
    assert_false(r->ended);
    http_reply(w->held, 200, STR("late"));
    PUMP_UNTIL(w->loop, ends_with(r, "late"));
    world_free(w);
}

static void test_server__connection_limits(void **state)
{
    HttpLimits l = test_limits();
    l.conns_max = 2;
    World *w = world_with(&l);
    Raw *a = raw_connect(w), *b = raw_connect(w);
    raw_send(a, GET("/hello"));
    raw_send(b, GET("/hello"));
    PUMP_UNTIL(w->loop, ends_with(a, "hello") && ends_with(b, "hello"));
    Raw *c = raw_connect(w);
    PUMP_UNTIL(w->loop, c->ended);
    assert_true(str_starts(buf_str(&c->in), STR("HTTP/1.1 503 ")));
    assert_true(has(c, "Retry-After: 1\r\n"));
    assert_int_equal(http_server_conns(w->server), 2);
    a->conn = conn_free(a->conn);
    PUMP_UNTIL(w->loop, http_server_conns(w->server) == 1);
    Raw *d = raw_connect(w);
    raw_send(d, GET("/hello"));
    PUMP_UNTIL(w->loop, ends_with(d, "hello"));
    world_free(w);
}

static void test_server__connections_per_peer(void **state)
{
    HttpLimits l = test_limits();
    l.conns_per_peer = 1;
    World *w = world_with(&l);
    Raw *a = raw_connect(w);
    raw_send(a, GET("/hello"));
    PUMP_UNTIL(w->loop, ends_with(a, "hello"));
    Raw *b = raw_connect(w);
    PUMP_UNTIL(w->loop, b->ended);
    assert_true(str_starts(buf_str(&b->in), STR("HTTP/1.1 429 ")));
    assert_true(has(b, "Retry-After: 1\r\n"));
    world_free(w);
}

/* ---- Streams ---- */

static void test_stream__pieces_go_out_at_once(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, GET("/stream"));
    PUMP_UNTIL(w->loop, w->stream);
    PUMP_UNTIL(w->loop, ends_with(r, "\r\n\r\n")); /* headers, before any data */
    assert_true(has(r, "Transfer-Encoding: chunked\r\n"));
    assert_true(has(r, "Content-Type: text/event-stream\r\n"));
    assert_false(has(r, "Content-Length"));
    http_stream_write(w->stream, STR("data: 1\n\n"));
    http_stream_write(w->stream, STR(""));
    PUMP_UNTIL(w->loop, ends_with(r, "\r\n\r\n9\r\ndata: 1\n\n\r\n"));
    http_stream_end(w->stream);
    PUMP_UNTIL(w->loop, ends_with(r, "0\r\n\r\n"));
    assert_int_equal(w->stream_gone, 0);
    raw_send(r, GET("/hello")); /* the connection goes on */
    PUMP_UNTIL(w->loop, ends_with(r, "hello"));
    world_free(w);
}

static void test_stream__http10_has_no_chunks(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    PUMP_UNTIL(w->loop, w->stream);
    http_stream_write(w->stream, STR("abc"));
    http_stream_end(w->stream);
    PUMP_UNTIL(w->loop, r->ended);
    assert_true(ends_with(r, "\r\n\r\nabc"));
    assert_true(has(r, "Connection: close\r\n"));
    assert_false(has(r, "chunked"));
    world_free(w);
}

static void test_stream__head_has_no_body(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, "HEAD /stream HTTP/1.1\r\n" H END GET("/hello"));
    PUMP_UNTIL(w->loop, w->stream);
    http_stream_write(w->stream, STR("abc"));
    http_stream_end(w->stream);
    PUMP_UNTIL(w->loop, ends_with(r, "hello"));
    assert_true(has(r, "chunked\r\n\r\nHTTP/1.1 200 OK"));
    world_free(w);
}

static void test_stream__client_that_leaves_is_noticed(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, GET("/stream"));
    PUMP_UNTIL(w->loop, w->stream);
    r->conn = conn_free(r->conn);
    PUMP_UNTIL(w->loop, w->stream_gone == 1);
    assert_int_equal(http_server_conns(w->server), 0);
    world_free(w);
}

static void test_stream__slow_reader_stops_the_writer(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    static char piece[10000];
    raw_send(r, GET("/stream"));
    PUMP_UNTIL(w->loop, w->stream);
    conn_read_pause(r->conn, true);
    size_t written = 0;
    for (int idle = 0; idle < 10;) { /* until the kernel takes no more either */
        idle = http_stream_writable(w->stream) ? 0 : idle + 1;
        for (; http_stream_writable(w->stream); written += sizeof piece)
            http_stream_write(w->stream, (Str){piece, sizeof piece});
        loop_run_once(w->loop, false);
    }
    w->drains = 0;
    for (int i = 0; i < 10; i++)
        loop_run_once(w->loop, false);
    assert_int_equal(w->drains, 0);
    assert_false(http_stream_writable(w->stream));
    conn_read_pause(r->conn, false);
    PUMP_UNTIL(w->loop, w->drains > 0);
    assert_true(http_stream_writable(w->stream));
    http_stream_end(w->stream);
    PUMP_UNTIL(w->loop, ends_with(r, "0\r\n\r\n"));
    assert_true(r->in.len > written);
    world_free(w);
}

static void released(void *arg)
{
    ++*(unsigned *)arg;
}

static void test_stream__referenced_pieces(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    unsigned n = 0;
    raw_send(r, GET("/stream"));
    PUMP_UNTIL(w->loop, w->stream);
    http_stream_write_ref(w->stream, STR("shared"), released, &n);
    http_stream_write_ref(w->stream, STR(""), released, &n);
    PUMP_UNTIL(w->loop, ends_with(r, "6\r\nshared\r\n"));
    assert_int_equal(n, 2);
    world_free(w); /* with the stream open */
}

static void test_stream__flood_of_pipelined_bytes_ends_it(void **state)
{
    World *w = world();
    Raw *r = raw_connect(w);
    raw_send(r, GET("/stream"));
    PUMP_UNTIL(w->loop, w->stream);
    for (int i = 0; i < 5000; i++)
        raw_send(r, GET("/hello"));
    PUMP_UNTIL(w->loop, w->stream_gone == 1 && r->ended);
    world_free(w);
}

/* ---- Ends ---- */

static void drained(void *arg)
{
    ++*(unsigned *)arg;
}

static void test_server__drain_waits_for_what_is_under_way(void **state)
{
    World *w = world();
    Raw *idle = raw_connect(w), *busy = raw_connect(w);
    unsigned done = 0;
    raw_send(idle, GET("/hello"));
    raw_send(busy, GET("/hold") GET("/hello"));
    PUMP_UNTIL(w->loop, ends_with(idle, "hello") && w->held);
    http_server_drain(w->server, drained, &done);
    PUMP_UNTIL(w->loop, idle->ended);
    assert_false(busy->ended);
    assert_int_equal(done, 0);
    http_reply(w->held, 200, STR("held"));
    PUMP_UNTIL(w->loop, done == 1 && busy->ended);
    assert_true(ends_with(busy, "held"));
    assert_true(has(busy, "Connection: close\r\n"));
    Raw *late = raw_connect(w);
    PUMP_UNTIL(w->loop, late->ended);
    assert_int_equal(late->how, CONN_ERROR); /* refused */
    world_free(w);
}

static void test_server__drain_of_nothing_is_done_later(void **state)
{
    World *w = world();
    unsigned done = 0;
    http_server_drain(w->server, drained, &done);
    assert_int_equal(done, 0);
    PUMP_UNTIL(w->loop, done == 1);
    world_free(w);
}

static void test_server__free_tells_who_waits(void **state)
{
    World *w = world();
    Raw *a = raw_connect(w), *b = raw_connect(w);
    raw_send(a, GET("/hold"));
    raw_send(b, GET("/stream"));
    PUMP_UNTIL(w->loop, w->held && w->stream);
    w->server = http_server_free(w->server);
    assert_int_equal(w->gone, 1);
    assert_int_equal(w->stream_gone, 1);
    PUMP_UNTIL(w->loop, a->ended && b->ended);
    world_free(w);
}

static void test_server__taken_port_is_an_error(void **state)
{
    World *w = world();
    HttpServer *second = NULL;
    char address[32];
    Err err = {0};
    snprintf(address, sizeof address, "127.0.0.1:%d", http_server_port(w->server));
    assert_true(http_server_new(w->loop, address, NULL, NULL, handle, NULL, w, &second, &err) < 0);
    assert_non_null(strstr(err.msg, "in use"));
    assert_null(second);
    world_free(w);
}

/* ---- Our client against our server ---- */

typedef struct Got {
    unsigned done;
    int status;
    Buf body;
} Got;

static void got_done(void *arg, const HttpResponse *r, const Err *err)
{
    Got *g = arg;
    if (err)
        fail_msg("%s", err->msg);
    g->done++;
    g->status = r->status;
    buf_adds(&g->body, r->body);
}

static void got_piece(void *arg, Str bytes)
{
    Got *g = arg;
    buf_adds(&g->body, bytes);
}

static void test_server__with_our_client(void **state)
{
    World *w = world();
    HttpClient *c = NULL;
    char url[64];
    HttpClientOptions o = {0};
    Got g = {.body = BUF_INIT(4 << 20)};
    assert_int_equal(http_client_new(w->loop, &o, &c, NULL), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/big?n=2000000", http_server_port(w->server));
    HttpRequest req = {.method = "GET", .url = url, .timeout = 20 * USEC_PER_SEC};
    http_send(c, &req, got_done, &g);
    PUMP_UNTIL(w->loop, g.done == 1);
    assert_int_equal(g.body.len, 2000000);
    buf_clear(&g.body);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/stream", http_server_port(w->server));
    req.on_piece = got_piece;
    http_send(c, &req, got_done, &g);
    PUMP_UNTIL(w->loop, w->stream);
    http_stream_write(w->stream, STR("data: x\n\n"));
    PUMP_UNTIL(w->loop, g.body.len == 9);
    http_stream_end(w->stream);
    PUMP_UNTIL(w->loop, g.done == 2);
    buf_done(&g.body);
    http_client_free(c);
    world_free(w);
}

int test_server_group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server__answers),
        cmocka_unit_test(test_server__what_a_handler_sees),
        cmocka_unit_test(test_server__reply_headers),
        cmocka_unit_test(test_server__refusals_close_the_connection),
        cmocka_unit_test(test_server__large_headers_are_431),
        cmocka_unit_test(test_server__refused_body_does_not_cut_the_answer),
        cmocka_unit_test(test_server__expect_continue),
        cmocka_unit_test(test_server__http10_closes_unless_asked),
        cmocka_unit_test(test_server__close_is_obeyed),
        cmocka_unit_test(test_server__pipelined_requests_are_answered_in_order),
        cmocka_unit_test(test_server__pipelining_without_reading_is_bounded),
        cmocka_unit_test(test_server__long_pipeline_behind_a_slow_answer),
        cmocka_unit_test(test_server__client_leaves_while_the_last_answer_is_sent),
        cmocka_unit_test(test_server__half_closed_client_gets_its_answers),
        cmocka_unit_test(test_server__half_closed_client_of_a_request_that_ends_with_it),
        cmocka_unit_test(test_server__half_closed_in_the_middle_of_a_request),
        cmocka_unit_test(test_server__client_that_resets_is_gone),
        cmocka_unit_test(test_server__slow_headers_are_408),
        cmocka_unit_test(test_server__slow_body_is_408),
        cmocka_unit_test(test_server__silent_and_idle_connections_are_closed),
        cmocka_unit_test(test_server__no_deadline_while_answering),
        cmocka_unit_test(test_server__connection_limits),
        cmocka_unit_test(test_server__connections_per_peer),
        cmocka_unit_test(test_stream__pieces_go_out_at_once),
        cmocka_unit_test(test_stream__http10_has_no_chunks),
        cmocka_unit_test(test_stream__head_has_no_body),
        cmocka_unit_test(test_stream__client_that_leaves_is_noticed),
        cmocka_unit_test(test_stream__slow_reader_stops_the_writer),
        cmocka_unit_test(test_stream__referenced_pieces),
        cmocka_unit_test(test_stream__flood_of_pipelined_bytes_ends_it),
        cmocka_unit_test(test_server__drain_waits_for_what_is_under_way),
        cmocka_unit_test(test_server__drain_of_nothing_is_done_later),
        cmocka_unit_test(test_server__free_tells_who_waits),
        cmocka_unit_test(test_server__taken_port_is_an_error),
        cmocka_unit_test(test_server__with_our_client),
    };
    return cmocka_run_group_tests_name("server", tests, NULL, NULL);
}
