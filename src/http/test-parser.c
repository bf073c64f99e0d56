#include "test-internal.h"

#include <stdio.h>
#include <string.h>
#include "parser-internal.h"

#define HEADERS_MAX 400
#define BODY_MAX 99
#define H "Host: x\r\n"
#define END "\r\n"

typedef struct ParserCase {
    const char *raw;
    int status;       /* 0 = accepted */
    const char *body; /* of an accepted one; NULL = empty */
    bool closes;
} ParserCase;

static const ParserCase cases[] = {
    /* What is fine. */
    {"GET / HTTP/1.1\r\n" H END, 0, NULL, false},
    {"\r\n\r\nGET / HTTP/1.1\r\n" H END, 0, NULL, false},
    {"GET / HTTP/1.0\r\n" END, 0, NULL, true},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n" END, 0, NULL, false},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive, close\r\n" END, 0, NULL, true},
    {"GET / HTTP/1.1\r\n" H "Connection: foo ,close\r\n" END, 0, NULL, true},
    {"GET / HTTP/1.9\r\n" H END, 0, NULL, false},
    {"GET http://h/p?q HTTP/1.1\r\n" H END, 0, NULL, false},
    {"OPTIONS * HTTP/1.1\r\n" H END, 0, NULL, false},
    {"BREW /pot HTTP/1.1\r\n" H END, 0, NULL, false},
    {"GET / HTTP/1.1\r\nHost:\r\nX:\r\nY: \t \r\nZ: \xc3\xa4\ta\r\n" END, 0, NULL, false},
    {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n" END, 0, NULL, false},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\n" END "abc", 0, "abc", false},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n" END, 0, NULL, false},
    {"POST / HTTP/1.1\r\n" H "content-length:\t003 \r\n" END "abc", 0, "abc", false},
    {"GET / HTTP/1.1\r\n" H "Content-Length: 1\r\n" END "a", 0, "a", false},
    {"POST / HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 1\r\n" END "a", 0, "a", false},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 0,
     "abcde", false},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: CHUNKED\r\n" END "00A\r\n0123456789\r\n000\r\n\r\n", 0,
     "0123456789", false},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1;a=b;c=\"d\"\r\nx\r\n0;e\r\n\r\n", 0, "x",
     false},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END
     "0\r\nTrailer: x\r\nContent-Length: 7\r\n\r\n",
     0, NULL, false},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1\r\n\r\r\n1\r\n\n\r\n0\r\n\r\n", 0,
     "\r\n", false},

    /* Framing that readers understand differently. */
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 4\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3\r\nContent-Length: 3\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3, 3\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: +3\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: -3\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0x3\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3 4\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length:\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 3.0\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length : 3\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END, 400, NULL,
     true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n" END, 400, NULL,
     true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked;q=1\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b"
     "chunked\r\n" END,
     400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n chunked\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n" END, 501, NULL, true},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "X: a\r\n b\r\n" END, 400, NULL, true},
    {"POST / HTTP/1.1\r\n Host: x\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: x\nX: y\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\nHost: x\n\n", 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: x\r\n\n", 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: x\rX: y\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\r\nHost: x\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\n" H "X: a\x01\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\n" H "X: a\x7f\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\n" H "X\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\n" H ": y\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\n" H "X Y: z\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\n" H "X\t: z\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\n" H "X[]: z\r\n" END, 400, NULL, true},

    /* Request lines and hosts. */
    {"GET / HTTP/1.1\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\n" H H END, 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: a b\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: a,b\r\n" END, 400, NULL, true},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n" END, 400, NULL, true},
    {"GET /\r\n" END, 400, NULL, true},
    {"GET  / HTTP/1.1\r\n" H END, 400, NULL, true},
    {"GET /  HTTP/1.1\r\n" H END, 400, NULL, true},
    {"GET\t/ HTTP/1.1\r\n" H END, 400, NULL, true},
    {" GET / HTTP/1.1\r\n" H END, 400, NULL, true},
    {"GET / HTTP/1.1 \r\n" H END, 400, NULL, true},
    {"GET / http/1.1\r\n" H END, 400, NULL, true},
    {"GET / HTTP/1.10\r\n" H END, 400, NULL, true},
    {"GET / HTTP/11\r\n" H END, 400, NULL, true},
    {"GET / HTTP/2.0\r\n" H END, 505, NULL, true},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, NULL, true},
    {"G@T / HTTP/1.1\r\n" H END, 400, NULL, true},
    {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n" H END, 400, NULL, true},
    {"GET path HTTP/1.1\r\n" H END, 400, NULL, true},
    {"GET * HTTP/1.1\r\n" H END, 400, NULL, true},
    {"GET /a#b HTTP/1.1\r\n" H END, 400, NULL, true},
    {"GET /\xc3\xa4 HTTP/1.1\r\n" H END, 400, NULL, true},
    {"GET ftp://h/ HTTP/1.1\r\n" H END, 400, NULL, true},
    {"GET http://u@h/ HTTP/1.1\r\n" H END, 400, NULL, true},
    {"CONNECT h:80 HTTP/1.1\r\n" H END, 400, NULL, true},
    {"\x16\x03\x01\x02\x01\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Expect: 200-ok\r\n" END, 417, NULL, true},

    /* Chunks. */
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "x\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "+1\r\nx\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "0x1\r\nx\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1 \r\nx\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1 ;a\r\nx\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1\nx\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1\r\nxy", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1\r\nx\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1\r\nx\rz", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1;\x01\r\nx\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "00000000000000001\r\nx\r\n", 400, NULL,
     true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "0\r\n bad\r\n\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "0\r\nbad\r\n\r\n", 400, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "64\r\n", 413, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "FFFFFFFFFFFFFFFF\r\n", 413, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n" END "1\r\nx\r\n64\r\n", 413, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 100\r\n" END, 413, NULL, true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999999999\r\n" END, 413, NULL, true},
};

typedef struct Outcome {
    ParserNews last;
    unsigned headers, used;
    Parser p;
} Outcome;

static void feed(Outcome *o, Str bytes)
{
    while (bytes.len > 0 && o->last != PARSER_REQUEST && o->last != PARSER_ERROR) {
        size_t n = parser_feed(&o->p, bytes, &o->last);
        assert_true(n <= bytes.len);
        o->headers += o->last == PARSER_HEADERS;
        o->used += (unsigned)n;
        bytes = str_slice(bytes, n, bytes.len);
    }
}

/* The text that follows must be left alone, as it is the next request. */
static void check(const ParserCase *c, size_t step, size_t first)
{
    char with_tail[1000];
    snprintf(with_tail, sizeof with_tail, "%sNEXT", c->raw);
    Str in = str_from(c->status ? c->raw : with_tail);
    Outcome o = {.last = PARSER_MORE};
    parser_init(&o.p, HEADERS_MAX, BODY_MAX, 0);
    feed(&o, str_slice(in, 0, first));
    for (size_t at = first; at < in.len; at += step)
        feed(&o, str_slice(in, at, at + step < in.len ? at + step : in.len));
    int status = o.last == PARSER_ERROR ? o.p.status : o.last == PARSER_REQUEST ? 0 : -1;
    if (status != c->status)
        fail_msg("%s\ncut at %zu, then %zu: %d (%s), expected %d", c->raw, first, step, status, o.p.err.msg,
                 c->status);
    if (status == 0) {
        assert_int_equal(o.used, strlen(c->raw));
        assert_true(str_eqz(buf_str(&o.p.body), c->body ? c->body : ""));
        assert_int_equal(o.headers,
                         c->body || strstr(c->raw, "chunked") || strstr(c->raw, "CHUNKED") ? 1 : 0);
        assert_int_equal(parser_keeps_alive(&o.p), !c->closes);
    }
    parser_done(&o.p);
}

static void test_parser__every_cut_gives_the_same(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        check(&cases[i], SIZE_MAX / 2, 0);
        check(&cases[i], 1, 0);
        for (size_t first = 1; first < strlen(cases[i].raw); first++)
            check(&cases[i], SIZE_MAX / 2, first);
    }
}

static void test_parser__views(void **state)
{
    Outcome o = {.last = PARSER_MORE};
    parser_init(&o.p, HEADERS_MAX, 100, 0);
    feed(&o, STR("PUT /a/b?c HTTP/1.1\r\nhOST:  x \r\nX-Y:\tz\t\r\n\r\n"));
    assert_int_equal(o.last, PARSER_REQUEST);
    assert_true(str_eqz(parser_str(&o.p, o.p.method), "PUT"));
    assert_true(str_eqz(parser_str(&o.p, o.p.target), "/a/b?c"));
    assert_int_equal(o.p.fields.len, 2);
    assert_true(str_eqz(parser_str(&o.p, o.p.fields.ptr[0].name), "hOST"));
    assert_true(str_eqz(parser_str(&o.p, o.p.fields.ptr[1].value), "z"));
    parser_done(&o.p);
}

static int status_of(const Buf *raw, size_t headers_max, size_t body_max)
{
    Outcome o = {.last = PARSER_MORE};
    parser_init(&o.p, headers_max, body_max, 2 * body_max);
    feed(&o, buf_str(raw));
    int status = o.last == PARSER_ERROR ? o.p.status : o.last == PARSER_REQUEST ? 0 : -1;
    parser_done(&o.p);
    return status;
}

static void test_parser__header_limit_is_exact(void **state)
{
    CLEANUP_BUF Buf raw = BUF_INIT(10000);
    buf_addz(&raw, "GET / HTTP/1.1\r\nHost: x\r\nX: ");
    for (int i = 0; i < 500; i++)
        buf_addc(&raw, 'a');
    buf_addz(&raw, "\r\n\r\n");
    assert_int_equal(status_of(&raw, raw.len, 0), 0);
    assert_int_equal(status_of(&raw, raw.len - 1, 0), 431);
}

static void test_parser__header_count_is_limited(void **state)
{
    for (int n = 127; n <= 128; n++) {
        CLEANUP_BUF Buf raw = BUF_INIT(100000);
        buf_addz(&raw, "GET / HTTP/1.1\r\nHost: x\r\n");
        for (int i = 0; i < n; i++)
            buf_addz(&raw, "A: b\r\n");
        buf_addz(&raw, "\r\n");
        assert_int_equal(status_of(&raw, 100000, 0), n == 127 ? 0 : 431);
    }
}

static void test_parser__endless_empty_lines_are_limited(void **state)
{
    CLEANUP_BUF Buf raw = BUF_INIT(10000);
    for (int i = 0; i < 300; i++)
        buf_addz(&raw, "\r\n");
    assert_int_equal(status_of(&raw, 500, 0), 431);
}

static void test_parser__chunk_overhead_is_limited(void **state)
{
    CLEANUP_BUF Buf raw = BUF_INIT(1 << 20);
    buf_addz(&raw, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    size_t head = raw.len;
    for (int i = 0; i < 200; i++)
        buf_addf(&raw, "1;%0100d\r\nx\r\n", i);
    buf_addz(&raw, "0\r\n\r\n");
    assert_int_equal(status_of(&raw, 10000, 1000), 400);
    buf_truncate(&raw, head);
    buf_addf(&raw, "1;%01100d\r\nx\r\n0\r\n\r\n", 1);
    assert_int_equal(status_of(&raw, 10000, 1000), 400);
    buf_truncate(&raw, head);
    for (int i = 0; i < 1000; i++) /* tiny chunks are silly and allowed */
        buf_addz(&raw, "1\r\nx\r\n");
    buf_addz(&raw, "0\r\n\r\n");
    assert_int_equal(status_of(&raw, 10000, 1000), 0);
    assert_int_equal(status_of(&raw, 10000, 999), 413);
    buf_truncate(&raw, head);
    buf_addz(&raw, "0\r\n");
    for (int i = 0; i < 1000; i++)
        buf_addz(&raw, "A: bbbbbbbbbbbbbbbbbbbbbbbb\r\n");
    buf_addz(&raw, "\r\n");
    assert_int_equal(status_of(&raw, 10000, 1000), 400);
}

int test_parser_group(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parser__every_cut_gives_the_same),
        cmocka_unit_test(test_parser__views),
        cmocka_unit_test(test_parser__header_limit_is_exact),
        cmocka_unit_test(test_parser__header_count_is_limited),
        cmocka_unit_test(test_parser__endless_empty_lines_are_limited),
        cmocka_unit_test(test_parser__chunk_overhead_is_limited),
    };
    return cmocka_run_group_tests_name("parser", tests, NULL, NULL);
}
