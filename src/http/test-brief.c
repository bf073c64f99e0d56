/* One GET, against a peer that says whatever a case wants. */
#include "test-internal.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "http/brief.h"
#include "loop/conn.h"

typedef struct Peer {
    Loop *loop;
    Listener *listener;
    Conn *conn;
    const char *answer; /* NULL = silence */
    bool piecewise;
    Buf request;
} Peer;

typedef struct Got {
    bool done;
    int status;
    char body[256];
    ErrCode code;
} Got;

static size_t peer_read(void *arg, Str bytes)
{
    Peer *p = arg;
    (void)buf_adds(&p->request, bytes);
    if (!p->answer || str_find(buf_str(&p->request), STR("\r\n\r\n")) < 0)
        return bytes.len;
    conn_write(p->conn, str_from(p->answer));
    conn_close_after_flush(p->conn, 0);
    p->conn = NULL;
    return bytes.len;
}

static void peer_end(void *arg, ConnEnd how, const char *why)
{
    Peer *p = arg;
    p->conn = conn_free(p->conn);
}

static void peer_accept(void *arg, Conn *c, const char *peer)
{
    static const ConnOps ops = {.on_read = peer_read, .on_end = peer_end};
    Peer *p = arg;
    p->conn = c;
    conn_set_ops(c, &ops, p);
}

static void peer_init(Peer *p, const char *answer)
{
    *p = (Peer){.answer = answer};
    buf_init(&p->request, 65536);
    assert_int_equal(loop_new(&p->loop, NULL), 0);
    assert_int_equal(listener_new(p->loop, "127.0.0.1:0", NULL, peer_accept, p, &p->listener, NULL), 0);
}

static void peer_done(Peer *p)
{
    conn_free(p->conn);
    listener_free(p->listener);
    buf_done(&p->request);
    loop_free(p->loop);
}

static void on_done(void *arg, int status, Str body, const Err *err)
{
    Got *g = arg;
    assert_false(g->done);
    g->done = true;
    g->status = status;
    g->code = err ? err->code : ERR_OK;
    (void)snprintf(g->body, sizeof(g->body), STR_FMT, STR_ARG(body));
}

static Got get(Peer *p, const char *path, const Secret *bearer, Usec timeout, size_t max)
{
    Got g = {0};
    Err err = {0};
    BriefGet *call = NULL;
    CLEANUP_FREE char *url = xasprintf("http://127.0.0.1:%d%s", listener_port(p->listener), path);
    const BriefRequest r = {.url = url, .bearer = bearer, .timeout = timeout, .max = max};
    if (brief_get(p->loop, &r, on_done, &g, &call, &err) < 0)
        fail_msg("%s", err.msg);
    assert_false(g.done);
    while (!g.done)
        loop_run_once(p->loop, true);
    return g;
}

static void test_brief__asks_and_reads(void **state)
{
    CLEANUP(secret_freep) Secret *token = secret_new(STR("a-token"));
    Peer p;
    peer_init(&p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello-and-more");
    Got g = get(&p, "/a/b?c=d", token, 0, 0);
    assert_int_equal(g.code, ERR_OK);
    assert_int_equal(g.status, 200);
    assert_string_equal(g.body, "hello");
    Str sent = buf_str(&p.request);
    assert_true(str_starts(sent, STR("GET /a/b?c=d HTTP/1.0\r\nHost: 127.0.0.1:")));
    assert_true(str_find(sent, STR("\r\nAuthorization: Bearer a-token\r\n")) > 0);
    peer_done(&p);
}

static void test_brief__answers_of_all_kinds(void **state)
{
    static const struct {
        const char *answer;
        int status;
        ErrCode code;
        const char *body;
    } rows[] = {
        {"HTTP/1.0 404 Not Found\r\n\r\nno", 404, ERR_OK, "no"}, /* up to the end */
        {"HTTP/1.1 204 No Content\r\n\r\n", 204, ERR_OK, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", 0, ERR_UNAVAILABLE, ""},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 0, ERR_BAD_GATEWAY, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", 0, ERR_BAD_GATEWAY, ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx", 0, ERR_BAD_GATEWAY, ""},
        {"HTTP/2 200\r\n\r\n", 0, ERR_BAD_GATEWAY, ""},
        {"SSH-2.0-x\r\n", 0, ERR_BAD_GATEWAY, ""},
        {"", 0, ERR_BAD_GATEWAY, ""},
        {"HTTP/1.1 200 OK\r\n\r\n0123456789012345678901234567890123456789", 0, ERR_TOO_LARGE, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Peer p;
        peer_init(&p, rows[i].answer);
        Got g = get(&p, "/", NULL, 0, 32);
        if (g.status != rows[i].status || g.code != rows[i].code || strcmp(g.body, rows[i].body) != 0)
            fail_msg("row %zu: %d %d %s", i, g.status, g.code, g.body);
        peer_done(&p);
    }
}

static void test_brief__silence_ends(void **state)
{
    Peer p;
    peer_init(&p, NULL);
    assert_int_equal(get(&p, "/", NULL, 50 * USEC_PER_MSEC, 0).code, ERR_DEADLINE);
    peer_done(&p);
}

static void test_brief__nobody_there_comes_later(void **state)
{
    Loop *l = NULL;
    Got g = {0};
    BriefGet *call = NULL;
    assert_int_equal(loop_new(&l, NULL), 0);
    assert_int_equal(brief_get(l, &(BriefRequest){.url = "http://127.0.0.1:1/"}, on_done, &g, &call, NULL),
                     0);
    while (!g.done)
        loop_run_once(l, true);
    assert_int_equal(g.code, ERR_UNAVAILABLE);
    loop_free(l);
}

static void test_brief__what_cannot_be_asked_is_refused(void **state)
{
    static const char *const urls[] = {"ftp://x/",     "http://u:p@x/", "http:///",
                                       "http://x/a b", "https://x/",    "http://x/\r\nX: y"};
    CLEANUP(secret_freep) Secret *bad = secret_new(STR("a\r\nX: y"));
    Loop *l = NULL;
    BriefGet *call = NULL;
    assert_int_equal(loop_new(&l, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(urls); i++)
        assert_true(brief_get(l, &(BriefRequest){.url = urls[i]}, on_done, NULL, &call, NULL) < 0);
    assert_true(brief_get(l, &(BriefRequest){.url = "http://x/", .bearer = bad}, on_done, NULL, &call, NULL) <
                0);
    assert_null(call);
    loop_free(l);
}

static void test_brief__a_cancelled_one_is_not_heard_of(void **state)
{
    Peer p;
    Got g = {0};
    BriefGet *call = NULL;
    peer_init(&p, NULL);
    CLEANUP_FREE char *url = xasprintf("http://127.0.0.1:%d/", listener_port(p.listener));
    assert_int_equal(brief_get(p.loop, &(BriefRequest){.url = url}, on_done, &g, &call, NULL), 0);
    while (!p.request.len)
        loop_run_once(p.loop, true);
    brief_cancel(call);
    while (p.conn)
        loop_run_once(p.loop, true);
    assert_false(g.done);
    peer_done(&p);
}

int test_brief_group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_brief__asks_and_reads),
        cmocka_unit_test(test_brief__answers_of_all_kinds),
        cmocka_unit_test(test_brief__silence_ends),
        cmocka_unit_test(test_brief__nobody_there_comes_later),
        cmocka_unit_test(test_brief__what_cannot_be_asked_is_refused),
        cmocka_unit_test(test_brief__a_cancelled_one_is_not_heard_of),
    };
    return cmocka_run_group_tests_name("brief", tests, NULL, NULL);
}
