/* Peers that mean harm: each ends with the connection closed, and what it makes us hold is counted. */
#include "test-server-internal.h"

#include <malloc.h>
#include "base/mem.h"

enum { END = NGHTTP2_FLAG_END_STREAM };
#define CANCEL ((Str){"\0\0\0\x8", 4})

static size_t heap_bytes(void)
{
    return mallinfo2().uordblks;
}

/* What the session makes the heap grow by; 0 under sanitizers, whose malloc does not say. */
static size_t grown(size_t before)
{
    size_t now = heap_bytes();
    return now > before ? now - before : 0;
}

static void expect_kicked(Bench *b, const char *why)
{
    assert_true(srv_session_is_over(b->session));
    PeerFrame *f = peer_expect(&b->peer, NGHTTP2_GOAWAY, 0);
    assert_int_equal(peer_u32(f->payload, 4), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_true(str_eqz(str_slice(f->payload, 8, f->payload.len), why));
}

/* Feeds one round of frames after another until the session ends; returns how many rounds it took. */
typedef void (*Round)(Bench *b, unsigned n);
static unsigned flood(Bench *b, Round round, unsigned most)
{
    unsigned n = 0;
    for (; n < most && !srv_session_is_over(b->session); n++) {
        round(b, n);
        bench_exchange(b, 0);
        if (b->session->over) /* keep the last words */
            break;
        b->peer.in_pos = 0;
        buf_clear(&b->peer.in);
    }
    return n;
}

static void rapid_reset(Bench *b, unsigned n)
{
    bench_request(b, (int32_t)(2 * n + 1), "/t.S/Hold", STR("x"));
    peer_frame(&b->peer, NGHTTP2_RST_STREAM, 0, (int32_t)(2 * n + 1), CANCEL);
}

static void test_flood__rapid_reset(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    assert_int_equal(flood(b, rapid_reset, 5000), 1000);
    expect_kicked(b, "too_many_resets");
    assert_int_equal(b->n_gone, b->n_messages);
    assert_int_equal(b->host.stats.streams, 0);
    bench_free(b);
}

/* A client that goes on for hours at a human rate is left alone. */
static void test_flood__resets_at_a_slow_rate_are_fine(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    for (unsigned n = 0; n < 5000; n++) {
        rapid_reset(b, n);
        bench_exchange(b, 0);
        fake_clock_advance(&b->clock, USEC_PER_SEC / 30);
    }
    assert_false(srv_session_is_over(b->session));
    bench_free(b);
}

/* Makes us reset: a window of zero increment is the stream's error. */
static void provoked_reset(Bench *b, unsigned n)
{
    int32_t id = (int32_t)(2 * n + 1);
    bench_request(b, id, "/t.S/Hold", STR("x"));
    peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, id, (Str){"\0\0\0\0", 4});
}

static void provoked_overflow(Bench *b, unsigned n)
{
    int32_t id = (int32_t)(2 * n + 1);
    bench_request(b, id, "/t.S/Hold", STR("x"));
    peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, id, (Str){"\x7f\xff\xff\xff", 4});
}

static void test_flood__resets_that_are_provoked(void **state)
{
    const Round rounds[] = {provoked_reset, provoked_overflow};
    for (size_t i = 0; i < ARRAY_LEN(rounds); i++) {
        Bench *b = bench_new(NULL);
        bench_handshake(b);
        assert_true(flood(b, rounds[i], 5000) <= 1001);
        assert_true(srv_session_is_over(b->session));
        bench_free(b);
    }
}

static void bad_headers(Bench *b, unsigned n)
{
    const char *const fields[] = {":method: POST", ":scheme: http",     ":path: /t.S/Hold",
                                  ":authority: t", "connection: close", NULL};
    peer_headers(&b->peer, (int32_t)(2 * n + 1), END, fields);
}

static void test_flood__malformed_requests(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    assert_int_equal(flood(b, bad_headers, 5000), 1000);
    expect_kicked(b, "too_many_resets");
    bench_free(b);
}

static void open_only(Bench *b, unsigned n)
{
    bench_headers(b, (int32_t)(2 * n + 1), 0, "/t.S/Hold", NULL);
}

/* More streams than allowed, and the refusals are not read. */
static void test_flood__streams_beyond_the_limit(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    b->sink.blocked = true;
    assert_int_equal(flood(b, open_only, 5000), 256 + 1000);
    assert_true(srv_session_is_over(b->session));
    bench_free(b);
}

static void endless_continuation(Bench *b, unsigned n)
{
    if (n == 0)
        peer_frame(&b->peer, NGHTTP2_HEADERS, 0, 1, STR("\x83"));
    else
        peer_frame(&b->peer, NGHTTP2_CONTINUATION, 0, 1, STR("\x83"));
}

static void large_continuation(Bench *b, unsigned n)
{
    static char literal[16384]; /* an indexed field again and again */
    memset(literal, 0x83, sizeof(literal));
    peer_frame(&b->peer, n ? NGHTTP2_CONTINUATION : NGHTTP2_HEADERS, 0, 1, (Str){literal, sizeof(literal)});
}

static void test_flood__continuations(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    assert_true(flood(b, endless_continuation, 100) <= 9);
    assert_true(srv_session_is_over(b->session));
    bench_free(b);

    b = bench_new(NULL);
    bench_handshake(b);
    assert_true(flood(b, large_continuation, 100) <= 8);
    assert_true(srv_session_is_over(b->session));
    bench_free(b);
}

/* A big field enters the dynamic table once and is then named by one byte, tens of thousands of times. */
static void test_flood__hpack_bomb(void **state)
{
    Bench *b = bench_new(NULL);
    CLEANUP_BUF Buf block = BUF_INIT(1 << 20);
    CLEANUP_FREE char *value = xcalloc(1, 3000);
    memset(value, 'v', 2999);
    memcpy(value, "x: ", 3);
    const char *const fields[] = {":method: POST",
                                  ":scheme: http",
                                  ":path: /t.S/Hold",
                                  ":authority: t",
                                  "content-type: application/grpc",
                                  value,
                                  NULL};
    bench_handshake(b);
    peer_encode(&b->peer, fields, &block);
    while (block.len < 60000)
        buf_addc(&block, (char)0xbe); /* the newest entry of the table */
    for (size_t at = 0; at < block.len; at += 16384) {
        Str part = str_slice(buf_str(&block), at, at + 16384);
        bool last = at + 16384 >= block.len;
        peer_frame(&b->peer, at ? NGHTTP2_CONTINUATION : NGHTTP2_HEADERS,
                   last ? NGHTTP2_FLAG_END_HEADERS | END : 0, 1, part);
    }
    size_t before = heap_bytes();
    bench_exchange(b, 0);
    assert_true(grown(before) < 1 << 20);
    expect_kicked(b, "header list too large");
    assert_int_equal(b->n_messages, 0);
    bench_free(b);
}

static void ping(Bench *b, unsigned n)
{
    peer_frame(&b->peer, NGHTTP2_PING, 0, 0, STR("floooood"));
}

static void empty_settings(Bench *b, unsigned n)
{
    peer_frame(&b->peer, NGHTTP2_SETTINGS, 0, 0, STR(""));
}

static void empty_data(Bench *b, unsigned n)
{
    if (n == 0)
        bench_headers(b, 1, 0, "/t.S/Hold", NULL);
    peer_data(&b->peer, 1, 0, STR(""));
}

static void priority(Bench *b, unsigned n)
{
    peer_frame(&b->peer, NGHTTP2_PRIORITY, 0, (int32_t)(2 * n + 1), (Str){"\0\0\0\0\x10", 5});
}

static void window(Bench *b, unsigned n)
{
    peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, 0, (Str){"\0\0\0\1", 4});
}

static void unknown(Bench *b, unsigned n)
{
    peer_frame(&b->peer, 0xfa, 0, 0, STR("?"));
}

static void test_flood__control_frames_even_when_answers_are_not_read(void **state)
{
    static const struct {
        Round round;
        unsigned most;
        const char *why;
    } rows[] = {
        {ping, 11, "too_many_pings"},
        {empty_settings, 31, "too_many_settings"},
        {empty_data, 101, "too_many_empty_frames"},
        {priority, 10001, "too_many_control_frames"},
        {window, 10001, "too_many_control_frames"},
        {unknown, 10001, "too_many_control_frames"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Bench *b = bench_new(NULL);
        bench_handshake(b);
        b->sink.blocked = true;
        size_t before = heap_bytes();
        assert_true(flood(b, rows[i].round, 20000) <= rows[i].most);
        assert_true(grown(before) < 1 << 20);
        expect_kicked(b, rows[i].why);
        bench_free(b);
    }
}

static void test_flood__pings_are_free_while_we_send(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Stream", STR(""));
    bench_exchange(b, 0);
    for (int i = 0; i < 500; i++) {
        b->left = 1;
        grpc_call_wake(b->call);
        bench_flush(b);
        ping(b, 0);
        bench_exchange(b, 0);
    }
    assert_false(srv_session_is_over(b->session));
    bench_free(b);
}

/* All streams ask for large answers and none is read: what waits is bounded. */
static void test_flood__replies_that_nobody_reads(void **state)
{
    GrpcLimits limits = grpc_limits_default;
    limits.reply_bytes_per_conn = 4 << 20;
    Bench *b = bench_new(&limits);
    CLEANUP_FREE char *big = xcalloc(1, 60000);
    bench_handshake(b);
    b->sink.blocked = true;
    for (int32_t n = 0; n < 200; n++) {
        bench_request(b, 2 * n + 1, "/t.S/Echo", (Str){big, 60000});
        bench_exchange(b, 0);
        assert_true(b->session->reply_bytes <= 4 << 20);
    }
    assert_int_equal(b->n_messages, 200);
    bench_free(b);
}

static void test_flood__window_of_one_byte_yields_one_byte(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    peer_frame(&b->peer, NGHTTP2_SETTINGS, 0, 0, (Str){"\0\4\0\0\0\0", 6});
    bench_request(b, 1, "/t.S/Echo", STR("dribble"));
    bench_exchange(b, 0);
    for (int i = 0; i < 12; i++) {
        peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, 1, (Str){"\0\0\0\1", 4});
        bench_exchange(b, 0);
        assert_int_equal(peer_expect(&b->peer, NGHTTP2_DATA, 1)->payload.len, 1);
    }
    bench_expect_end(b, 1, GRPC_OK);
    bench_free(b);
}

static void test_flood__slow_headers(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    peer_frame(&b->peer, NGHTTP2_HEADERS, 0, 1, STR("\x83"));
    bench_exchange(b, 0);
    bench_advance(b, 31 * USEC_PER_SEC);
    expect_kicked(b, "headers took too long");
    bench_free(b);
}

static void test_flood__many_settings_in_one_frame(void **state)
{
    Bench *b = bench_new(NULL);
    char many[6 * 100] = {0};
    for (size_t i = 0; i < sizeof(many); i += 6)
        many[i + 1] = 4;
    bench_handshake(b);
    peer_frame(&b->peer, NGHTTP2_SETTINGS, 0, 0, (Str){many, sizeof(many)});
    bench_exchange(b, 0);
    assert_true(srv_session_is_over(b->session));
    bench_free(b);
}

int run_flood_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flood__rapid_reset),
        cmocka_unit_test(test_flood__resets_at_a_slow_rate_are_fine),
        cmocka_unit_test(test_flood__resets_that_are_provoked),
        cmocka_unit_test(test_flood__malformed_requests),
        cmocka_unit_test(test_flood__streams_beyond_the_limit),
        cmocka_unit_test(test_flood__continuations),
        cmocka_unit_test(test_flood__hpack_bomb),
        cmocka_unit_test(test_flood__control_frames_even_when_answers_are_not_read),
        cmocka_unit_test(test_flood__pings_are_free_while_we_send),
        cmocka_unit_test(test_flood__replies_that_nobody_reads),
        cmocka_unit_test(test_flood__window_of_one_byte_yields_one_byte),
        cmocka_unit_test(test_flood__slow_headers),
        cmocka_unit_test(test_flood__many_settings_in_one_frame),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
