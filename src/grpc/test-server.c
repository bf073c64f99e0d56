/* The contract's wire level, row by row, against a session without a socket. */
#include "test-server-internal.h"

#include "base/mem.h"

enum { END = NGHTTP2_FLAG_END_STREAM };

/* ---- connection ---- */

static uint32_t setting(const PeerFrame *f, uint16_t id)
{
    for (size_t at = 0; at + 6 <= f->payload.len; at += 6)
        if ((peer_u32(f->payload, at) >> 16) == id)
            return peer_u32(f->payload, at + 2);
    fail_msg("no setting %u", id);
    return 0;
}

static void test_conn__settings_come_before_the_client_speaks(void **state)
{
    Bench *b = bench_new(NULL);
    assert_true(peer_next(&b->peer));
    const PeerFrame *f = &b->peer.frame;
    assert_int_equal(f->type, NGHTTP2_SETTINGS);
    assert_int_equal(setting(f, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS), 256);
    assert_int_equal(setting(f, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE), 65536);
    assert_true(setting(f, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE) >= 1 << 20);
    bench_free(b);
}

static void test_conn__other_bytes_than_the_preface_end_it(void **state)
{
    Bench *b = bench_new(NULL);
    peer_raw(&b->peer, STR("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    bench_exchange(b, 0);
    assert_true(srv_session_is_over(b->session));
    bench_free(b);
}

static void test_conn__pings_and_settings_are_acknowledged(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    peer_frame(&b->peer, NGHTTP2_PING, 0, 0, STR("abcdefgh"));
    bench_exchange(b, 0);
    PeerFrame *f = peer_expect(&b->peer, NGHTTP2_SETTINGS, 0);
    assert_int_equal(f->flags, NGHTTP2_FLAG_ACK);
    f = peer_expect(&b->peer, NGHTTP2_PING, 0);
    assert_int_equal(f->flags, NGHTTP2_FLAG_ACK);
    assert_true(str_eq(f->payload, STR("abcdefgh")));
    bench_free(b);
}

static void test_conn__slow_preface_and_idle_start(void **state)
{
    Bench *b = bench_new(NULL);
    bench_advance(b, 9 * USEC_PER_SEC);
    assert_false(srv_session_is_over(b->session));
    bench_advance(b, 2 * USEC_PER_SEC);
    assert_true(srv_session_is_over(b->session));
    bench_free(b);

    b = bench_new(NULL);
    bench_handshake(b);
    bench_advance(b, 59 * USEC_PER_SEC);
    assert_false(srv_session_is_over(b->session));
    bench_advance(b, 2 * USEC_PER_SEC);
    assert_true(srv_session_is_over(b->session));
    PeerFrame *f = peer_expect(&b->peer, NGHTTP2_GOAWAY, 0);
    assert_int_equal(peer_u32(f->payload, 4), NGHTTP2_NO_ERROR);
    bench_free(b);
}

static void test_conn__keepalive(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Stream", STR(""));
    bench_exchange(b, 0);
    for (int i = 0; i < 5; i++) {
        bench_advance(b, 26 * USEC_PER_SEC);
        PeerFrame *f = peer_expect(&b->peer, NGHTTP2_PING, 0);
        peer_frame(&b->peer, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, f->payload);
        bench_exchange(b, 0);
    }
    assert_false(srv_session_is_over(b->session));
    bench_advance(b, 26 * USEC_PER_SEC);
    peer_expect(&b->peer, NGHTTP2_PING, 0);
    bench_advance(b, 13 * USEC_PER_SEC);
    assert_false(srv_session_is_over(b->session));
    bench_advance(b, 3 * USEC_PER_SEC);
    assert_true(srv_session_is_over(b->session));
    bench_free(b);
}

static void test_conn__without_streams_pings_are_rare(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Echo", STR(""));
    bench_exchange(b, 0);
    bench_advance(b, 500 * USEC_PER_SEC);
    assert_false(peer_saw(&b->peer, NGHTTP2_PING));
    bench_advance(b, 150 * USEC_PER_SEC);
    assert_true(peer_saw(&b->peer, NGHTTP2_PING));
    bench_free(b);
}

/* ---- request headers ---- */

#define GOOD ":method: POST", ":scheme: http", ":authority: t"
#define TYPE "content-type: application/grpc"

typedef struct HeaderCase {
    const char *fields[10];
    int reset;            /* RST_STREAM code, or -1: answered with headers */
    const char *lines[4]; /* of the answer */
} HeaderCase;

static const HeaderCase header_cases[] = {
    {{GOOD, ":path: /t.S/Echo", TYPE, "connection: close"}, NGHTTP2_PROTOCOL_ERROR, {NULL}},
    {{GOOD, ":path: /t.S/Echo", TYPE, "te: gzip"}, NGHTTP2_PROTOCOL_ERROR, {NULL}},
    {{GOOD, ":path: /t.S/Echo", TYPE, "X-Upper: case"}, NGHTTP2_PROTOCOL_ERROR, {NULL}},
    {{GOOD, ":authority: u", ":path: /t.S/Echo", TYPE}, NGHTTP2_PROTOCOL_ERROR, {NULL}},
    {{GOOD, TYPE}, NGHTTP2_PROTOCOL_ERROR, {NULL}},
    {{GOOD, ":path: t.S/Echo", TYPE}, NGHTTP2_PROTOCOL_ERROR, {NULL}},
    {{GOOD, ":path: /t.S/Echo", ":x: y", TYPE}, NGHTTP2_PROTOCOL_ERROR, {NULL}},
    {{GOOD, ":path: /t.S/Echo"},
     -1,
     {":status: 415", "grpc-status: 3", "grpc-message: invalid gRPC request content-type \"\"",
      "content-type: application/grpc"}},
    {{GOOD, ":path: /t.S/Echo", "content-type: application/grpc-web"},
     -1,
     {":status: 415", "grpc-status: 3",
      "grpc-message: invalid gRPC request content-type \"application/grpc-web\""}},
    {{GOOD, ":path: /t.S/Echo", "content-type: application/grpc+json"},
     -1,
     {":status: 415", "grpc-status: 3"}},
    {{GOOD, ":path: /t.S/Echo", TYPE, "grpc-timeout: soon"}, -1, {":status: 400", "grpc-status: 13"}},
    {{GOOD, ":path: /t.S/Echo", TYPE, "grpc-timeout: 123456789S"}, -1, {":status: 400", "grpc-status: 13"}},
    {{GOOD, ":path: /t.S/Echo", TYPE, "x-bin: %"}, -1, {":status: 400", "grpc-status: 13"}},
    {{":method: GET", ":scheme: http", ":authority: t", ":path: /t.S/Echo", TYPE},
     -1,
     {":status: 405", "grpc-status: 13"}},
    {{GOOD, ":path: /nothing", TYPE},
     -1,
     {":status: 200", "grpc-status: 12", "grpc-message: malformed method name: \"/nothing\""}},
    {{GOOD, ":path: /t.S/Nope", TYPE},
     -1,
     {":status: 200", "grpc-status: 12", "grpc-message: unknown method Nope for service t.S"}},
    {{GOOD, ":path: /t.S/x/Echo", TYPE}, -1, {"grpc-status: 12", "grpc-message: unknown service t.S/x"}},
    {{GOOD, ":path: /u/Echo", TYPE}, -1, {"grpc-status: 12", "grpc-message: unknown service u"}},
    {{GOOD, ":path: /t.S/", TYPE}, -1, {"grpc-status: 12", "grpc-message: unknown method  for service t.S"}},
    {{GOOD, ":path: /t.S/Echo", "content-type: application/grpc+proto", "grpc-timeout: 0n"},
     -1,
     {":status: 200", "grpc-status: 4", "content-type: application/grpc+proto"}},
    {{GOOD, ":path: /t.S/Echo", TYPE, "grpc-encoding: gzip"},
     -1,
     {":status: 200", "grpc-status: 12",
      "grpc-message: grpc: Decompressor is not installed for grpc-encoding \"gzip\"",
      "grpc-accept-encoding: identity"}},
};

static void check_header_case(const HeaderCase *hc, uint8_t flags)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    peer_headers(&b->peer, 1, flags, hc->fields);
    bench_exchange(b, 0);
    if (hc->reset >= 0) {
        bench_expect_reset(b, 1, (uint32_t)hc->reset);
    } else {
        PeerFrame *f = peer_expect(&b->peer, NGHTTP2_HEADERS, 1);
        assert_true(f->flags & END);
        for (size_t i = 0; i < ARRAY_LEN(hc->lines) && hc->lines[i]; i++)
            peer_assert_field(f, hc->lines[i]);
        if (!(flags & END)) /* the client has not finished: it is told to stop */
            bench_expect_reset(b, 1, NGHTTP2_NO_ERROR);
    }
    assert_int_equal(b->n_messages + b->n_on_call, 0);
    bench_request(b, 3, "/t.S/Echo", STR("the connection goes on"));
    bench_exchange(b, 0);
    bench_expect_end(b, 3, GRPC_OK);
    bench_free(b);
}

static void test_headers__each_row(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(header_cases); i++) {
        check_header_case(&header_cases[i], 0);
        check_header_case(&header_cases[i], END);
    }
}

static void test_headers__too_large_list_ends_the_stream_only(void **state)
{
    Bench *b = bench_new(NULL);
    CLEANUP_FREE char *big = xcalloc(1, 40000);
    memset(big, 'x', 39999);
    memcpy(big, "x: ", 3);
    const char *const fields[] = {GOOD, ":path: /t.S/Echo", TYPE, big, big, NULL};
    bench_handshake(b);
    peer_headers(&b->peer, 1, END, fields);
    bench_request(b, 3, "/t.S/Echo", STR(""));
    bench_exchange(b, 1000);
    bench_expect_reset(b, 1, NGHTTP2_FRAME_SIZE_ERROR);
    bench_expect_end(b, 3, GRPC_OK);
    bench_free(b);
}

static void test_headers__nearly_64_kib_in_continuations(void **state)
{
    Bench *b = bench_new(NULL);
    CLEANUP_FREE char *big = xcalloc(1, 63 * 1024);
    memset(big, '~', 63 * 1024 - 1); /* 13 bits in HPACK's code: goes as it is */
    memcpy(big, "x-big: ", 7);
    const char *const fields[] = {GOOD, ":path: /t.S/Hold", TYPE, big, NULL};
    CLEANUP_BUF Buf framed = BUF_INIT(64);
    bench_handshake(b);
    peer_headers(&b->peer, 1, 0, fields);
    peer_data(&b->peer, 1, END, grpc_framed(&framed, STR("")));
    bench_exchange(b, 997);
    assert_int_equal(b->n_messages, 1);
    assert_true(str_eqz(grpc_call_metadata(b->call, "x-big"), big + 7));
    bench_free(b);
}

static void test_headers__duplicates_first_value_and_peer(void **state)
{
    Bench *b = bench_new(NULL);
    const char *const fields[] = {
        GOOD, ":path: /t.S/Hold", TYPE, "authorization: Bearer a", "authorization: Bearer b", "x-bin: AAE",
        NULL};
    CLEANUP_BUF Buf framed = BUF_INIT(64);
    bench_handshake(b);
    peer_headers(&b->peer, 1, 0, fields);
    peer_data(&b->peer, 1, END, grpc_framed(&framed, STR("m")));
    bench_exchange(b, 0);
    assert_true(str_eq(grpc_call_metadata(b->call, "authorization"), STR("Bearer a")));
    assert_true(str_eq(grpc_call_metadata(b->call, "x-bin"), (Str){"\0\1", 2}));
    assert_null(grpc_call_metadata(b->call, "x-other").ptr);
    assert_string_equal(grpc_call_peer(b->call), "192.0.2.1");
    assert_true(str_eq(grpc_call_path(b->call), STR("/t.S/Hold")));
    bench_free(b);
}

/* ---- messages ---- */

static void test_message__whole_exchange_in_any_split(void **state)
{
    for (size_t step = 1; step < 200; step += step < 30 ? 1 : 13) {
        Bench *b = bench_new(NULL);
        peer_magic(&b->peer);
        bench_request(b, 1, "/t.S/Echo", STR("hello"));
        bench_exchange(b, step);
        PeerFrame *f = peer_expect(&b->peer, NGHTTP2_HEADERS, 1);
        assert_false(f->flags & END);
        peer_assert_field(f, ":status: 200");
        peer_assert_field(f, "content-type: application/grpc");
        f = peer_expect(&b->peer, NGHTTP2_DATA, 1);
        assert_true(str_eq(f->payload, (Str){"\0\0\0\0\5hello", 10}));
        assert_false(f->flags & END);
        bench_expect_end(b, 1, GRPC_OK);
        assert_int_equal(b->n_gone, 1);
        assert_int_equal(b->ended, GRPC_OK);
        bench_free(b);
    }
}

typedef struct BodyCase {
    Str body;
    GrpcStatus status;
    const char *message;
} BodyCase;

static const BodyCase body_cases[] = {
    {{"", 0},
     GRPC_INTERNAL,
     "grpc-message: cardinality violation: received no request message from non-client-streaming RPC"},
    {{"\0\0\0\0\0\0\0\0\0\0", 10},
     GRPC_INTERNAL,
     "grpc-message: cardinality violation: received multiple request messages for non-client-streaming RPC"},
    {{"\0\0\0\0\1a\0", 7}, GRPC_INTERNAL, NULL},
    {{"\0\0\0\0\2a", 6}, GRPC_INTERNAL, NULL},
    {{"\0\0\0", 3}, GRPC_INTERNAL, NULL},
    {{"\1\0\0\0\1a", 6},
     GRPC_INTERNAL,
     "grpc-message: grpc: compressed flag set with identity or empty encoding"},
    {{"\2\0\0\0\1a", 6}, GRPC_INTERNAL, "grpc-message: grpc: received unexpected payload format 2"},
    {{"\xff\0\0\0\1a", 6}, GRPC_INTERNAL, "grpc-message: grpc: received unexpected payload format 255"},
    {{"\0\0\x40\0\1", 5},
     GRPC_RESOURCE_EXHAUSTED,
     "grpc-message: grpc: received message larger than max (4194305 vs. 4194304)"},
};

static void check_body_case(const BodyCase *bc, const char *path, bool half_close)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    bench_headers(b, 1, 0, path, NULL);
    peer_data(&b->peer, 1, half_close ? END : 0, bc->body);
    bench_exchange(b, 0);
    PeerFrame *f = bench_expect_end(b, 1, bc->status);
    if (bc->message)
        peer_assert_field(f, bc->message);
    if (!half_close)
        bench_expect_reset(b, 1, NGHTTP2_NO_ERROR);
    assert_int_equal(b->n_messages, 0);
    bench_free(b);
}

static void test_message__each_bad_body(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(body_cases); i++) {
        check_body_case(&body_cases[i], "/t.S/Echo", true);
        check_body_case(&body_cases[i], "/t.S/Stream", true);
        if (i == 1 || i > 4) /* what is wrong before the end is answered before the end */
            check_body_case(&body_cases[i], "/t.S/Echo", false);
    }
}

static void test_message__empty_message_and_padding_and_trailers_are_fine(void **state)
{
    Bench *b = bench_new(NULL);
    const char *const trailers[] = {"x-trailer: y", NULL};
    bench_handshake(b);
    bench_headers(b, 1, 0, "/t.S/Echo", "grpc-encoding: identity");
    peer_frame(&b->peer, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, (Str){"\4\0\0\0pppp", 8});
    peer_frame(&b->peer, NGHTTP2_DATA, 0, 1, STR(""));
    peer_frame(&b->peer, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, (Str){"\1\0\0p", 4});
    peer_headers(&b->peer, 1, END, trailers);
    bench_exchange(b, 1);
    bench_expect_end(b, 1, GRPC_OK);
    assert_int_equal(b->n_messages, 1);
    assert_int_equal(b->message.len, 0);
    bench_free(b);
}

static void test_message__four_mib_flows_and_credit_comes_back(void **state)
{
    Bench *b = bench_new(NULL);
    CLEANUP_FREE char *big = xcalloc(1, 4 << 20);
    CLEANUP_BUF Buf framed = BUF_INIT(5 << 20);
    grpc_framed(&framed, (Str){big, 4 << 20});
    bench_handshake(b);
    for (int32_t id = 1; id < 9; id += 2) {
        bench_headers(b, id, 0, "/t.S/Hold", NULL);
        for (size_t at = 0; at < framed.len; at += 200000) {
            bool last = at + 200000 >= framed.len;
            peer_data(&b->peer, id, last ? END : 0, str_slice(buf_str(&framed), at, at + 200000));
            bench_exchange(b, 0); /* a window that did not come back would end the connection */
        }
        assert_int_equal(b->n_messages, (id + 1) / 2);
        assert_int_equal(b->message.len, 4 << 20);
    }
    assert_false(srv_session_is_over(b->session));
    bench_free(b);
}

static void test_message__slow_request_is_given_up(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    bench_headers(b, 1, 0, "/t.S/Echo", NULL);
    peer_data(&b->peer, 1, 0, (Str){"\0\0\0\0\2a", 6});
    bench_exchange(b, 0);
    bench_advance(b, 29 * USEC_PER_SEC);
    assert_int_equal(b->n_ended, 0);
    peer_frame(&b->peer, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, STR("12345678"));
    bench_exchange(b, 0);
    bench_advance(b, 2 * USEC_PER_SEC);
    bench_expect_end(b, 1, GRPC_DEADLINE_EXCEEDED);
    bench_expect_reset(b, 1, NGHTTP2_NO_ERROR);
    assert_false(srv_session_is_over(b->session));
    bench_free(b);
}

static void test_message__memory_of_requests_is_bounded(void **state)
{
    GrpcLimits limits = grpc_limits_default;
    limits.request_bytes_per_conn = 1000;
    Bench *b = bench_new(&limits);
    const Str head = {"\0\0\0\4\0", 5}; /* of a message of 1 KiB */
    char kib[1024] = {0};
    bench_handshake(b);
    for (int32_t id = 1; id <= 3; id += 2) {
        bench_headers(b, id, 0, "/t.S/Hold", NULL);
        peer_data(&b->peer, id, 0, head);
        peer_data(&b->peer, id, 0, (Str){kib, 490});
    }
    bench_exchange(b, 0);
    assert_int_equal(b->session->request_bytes, 990);
    assert_int_equal(b->n_ended, 0);
    peer_data(&b->peer, 1, 0, (Str){kib, 11});
    bench_exchange(b, 0);
    bench_expect_end(b, 1, GRPC_RESOURCE_EXHAUSTED);
    assert_int_equal(b->session->request_bytes, 495);
    bench_free(b);
}

/* ---- answers ---- */

static void test_answer__status_text_is_encoded_and_cut(void **state)
{
    Bench *b = bench_new(NULL);
    CLEANUP_FREE char *lots = xcalloc(1, 5000);
    memset(lots, '%', 4999);
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Hold", STR(""));
    bench_exchange(b, 0);
    grpc_call_finish(b->call, GRPC_ABORTED, lots);
    bench_flush(b);
    PeerFrame *f = bench_expect_end(b, 1, GRPC_ABORTED);
    assert_true(f->fields.len > 3 * 1024 && f->fields.len < 3 * 1024 + 200);
    peer_assert_field(f, ":status: 200"); /* trailers only */
    bench_free(b);
}

static void test_answer__reply_waits_for_the_window(void **state)
{
    Bench *b = bench_new(NULL);
    CLEANUP_FREE char *big = xcalloc(1, 100000);
    peer_magic(&b->peer);
    peer_frame(&b->peer, NGHTTP2_SETTINGS, 0, 0, (Str){"\0\4\0\0\0\0", 6}); /* window 0 */
    bench_request(b, 1, "/t.S/Echo", (Str){big, 100000});
    bench_exchange(b, 0);
    peer_expect(&b->peer, NGHTTP2_HEADERS, 1);
    assert_false(peer_saw(&b->peer, NGHTTP2_DATA));
    peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, 1, (Str){"\0\0\0\7", 4});
    bench_exchange(b, 0);
    assert_int_equal(peer_expect(&b->peer, NGHTTP2_DATA, 1)->payload.len, 7);
    peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, 1, (Str){"\0\1\0\0", 4});
    bench_exchange(b, 0);
    size_t got = 0;
    while (peer_next(&b->peer) && b->peer.frame.type == NGHTTP2_DATA)
        got += b->peer.frame.payload.len;
    assert_int_equal(got, 65535 - 7); /* what the connection's window allows */
    peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, 0, (Str){"\0\1\0\0", 4});
    peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, 1, (Str){"\0\1\0\0", 4});
    bench_exchange(b, 0);
    bench_expect_end(b, 1, GRPC_OK);
    bench_free(b);
}

static void test_answer__memory_of_unread_replies_is_bounded(void **state)
{
    GrpcLimits limits = grpc_limits_default;
    limits.reply_bytes_per_conn = 1000;
    Bench *b = bench_new(&limits);
    char half[600] = {0};
    peer_raw(&b->peer, STR(NGHTTP2_CLIENT_MAGIC));
    peer_frame(&b->peer, NGHTTP2_SETTINGS, 0, 0, (Str){"\0\4\0\0\0\0", 6});
    bench_request(b, 1, "/t.S/Echo", (Str){half, 600});
    bench_request(b, 3, "/t.S/Echo", (Str){half, 600});
    bench_exchange(b, 0);
    bench_expect_end(b, 3, GRPC_RESOURCE_EXHAUSTED);
    peer_frame(&b->peer, NGHTTP2_RST_STREAM, 0, 1, (Str){"\0\0\0\x8", 4});
    bench_exchange(b, 0);
    assert_int_equal(b->session->reply_bytes, 0);
    bench_free(b);
}

static void test_answer__handler_may_read_its_message_after_replying(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Echo", STR("still here"));
    bench_exchange(b, 0);
    assert_true(str_eq(buf_str(&b->message), STR("still here")));
    bench_free(b);
}

/* ---- deadlines and cancelling ---- */

static void test_deadline__ends_the_call_and_tells_both_sides(void **state)
{
    static const char *const paths[] = {"/t.S/Hold", "/t.S/Stream", "/t.S/Bidi"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        Bench *b = bench_new(NULL);
        CLEANUP_BUF Buf framed = BUF_INIT(64);
        bench_handshake(b);
        bench_headers(b, 1, 0, paths[i], "grpc-timeout: 2S");
        peer_data(&b->peer, 1, END, grpc_framed(&framed, STR("")));
        bench_exchange(b, 0);
        assert_int_equal(grpc_call_deadline(b->call), b->clock.now_us + 2 * USEC_PER_SEC);
        bench_advance(b, 1999 * USEC_PER_MSEC);
        assert_int_equal(b->n_gone, 0);
        bench_advance(b, 2 * USEC_PER_MSEC);
        assert_int_equal(b->n_gone, 1);
        assert_int_equal(b->ended, GRPC_DEADLINE_EXCEEDED);
        bench_expect_end(b, 1, GRPC_DEADLINE_EXCEEDED);
        bench_free(b);
    }
}

static void test_deadline__inside_a_message_resets(void **state)
{
    Bench *b = bench_new(NULL);
    CLEANUP_BUF Buf framed = BUF_INIT(64);
    b->left = 1;
    b->size = 100000;
    bench_handshake(b);
    bench_headers(b, 1, 0, "/t.S/Stream", "grpc-timeout: 2S");
    peer_data(&b->peer, 1, END, grpc_framed(&framed, STR("")));
    bench_exchange(b, 0);
    bench_advance(b, 3 * USEC_PER_SEC);
    bench_expect_reset(b, 1, NGHTTP2_CANCEL);
    assert_int_equal(b->n_gone, 1);
    bench_free(b);
}

static void test_cancel__reset_in_each_state_ends_the_call_once(void **state)
{
    for (int when = 0; when < 5; when++) {
        Bench *b = bench_new(NULL);
        CLEANUP_BUF Buf framed = BUF_INIT(64);
        b->hold_on_call = when == 2;
        bench_handshake(b);
        bench_headers(b, 1, 0, when == 4 ? "/t.S/Stream" : "/t.S/Hold", NULL);
        if (when >= 1)
            peer_data(&b->peer, 1, 0, (Str){"\0\0", 2});
        if (when >= 2)
            peer_data(&b->peer, 1, END, str_slice(grpc_framed(&framed, STR("")), 2, 5));
        peer_frame(&b->peer, NGHTTP2_RST_STREAM, 0, 1, (Str){"\0\0\0\x8", 4});
        bench_exchange(b, 0);
        assert_int_equal(b->n_gone, when >= 3);
        assert_int_equal(b->n_ended, 1);
        assert_int_equal(b->ended, GRPC_CANCELLED);
        assert_int_equal(b->host.stats.streams, 0);
        bench_free(b);
    }
}

static void test_cancel__losing_the_connection_ends_all_calls(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Hold", STR(""));
    bench_request(b, 3, "/t.S/Stream", STR(""));
    bench_headers(b, 5, 0, "/t.S/Hold", NULL);
    bench_exchange(b, 0);
    b->session = srv_session_free(b->session);
    assert_int_equal(b->n_ended, 3);
    assert_int_equal(b->n_gone, 2);
    bench_free(b);
}

/* ---- admission ---- */

static void test_admission__later_proceed_and_refusal(void **state)
{
    Bench *b = bench_new(NULL);
    b->hold_on_call = true;
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Echo", STR("x"));
    bench_exchange(b, 0);
    assert_int_equal(b->n_on_call, 1);
    assert_int_equal(b->n_messages, 0);
    grpc_call_proceed(b->call);
    bench_flush(b);
    bench_expect_end(b, 1, GRPC_OK);
    bench_request(b, 3, "/t.S/Echo", STR("x"));
    bench_exchange(b, 0);
    grpc_call_finish(b->call, GRPC_UNAUTHENTICATED, "who are you");
    bench_flush(b);
    PeerFrame *f = bench_expect_end(b, 3, GRPC_UNAUTHENTICATED);
    peer_assert_field(f, "grpc-message: who are you");
    assert_int_equal(b->n_messages, 1);
    assert_string_equal(b->ended_path, "/t.S/Echo");
    bench_free(b);
}

/* ---- streams ---- */

static void test_stream__headers_at_once_then_frames_when_woken(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Stream", STR(""));
    bench_exchange(b, 0);
    assert_false(peer_expect(&b->peer, NGHTTP2_HEADERS, 1)->flags & END);
    assert_int_equal(b->n_pulls, 1);
    assert_null(grpc_call_metadata(b->call, "content-type").ptr); /* an idle stream keeps none */
    for (int i = 0; i < 3; i++) {
        b->left = 2;
        b->size = 3;
        grpc_call_wake(b->call);
        grpc_call_wake(b->call);
        bench_flush(b);
        assert_int_equal(peer_expect(&b->peer, NGHTTP2_DATA, 1)->payload.len, 8);
        assert_int_equal(peer_expect(&b->peer, NGHTTP2_DATA, 1)->payload.len, 8);
        assert_false(peer_saw(&b->peer, NGHTTP2_DATA));
    }
    b->end = true;
    grpc_call_wake(b->call);
    bench_flush(b);
    bench_expect_end(b, 1, GRPC_OK);
    assert_int_equal(b->n_gone, 1);
    bench_free(b);
}

static void test_stream__slow_reader_is_not_pulled(void **state)
{
    Bench *b = bench_new(NULL);
    b->left = 1000;
    b->size = 10000;
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Stream", STR(""));
    bench_exchange(b, 0);
    assert_true(b->n_pulls <= 65535 / 10000 + 1); /* the peer's window, and no more */
    unsigned before = b->n_pulls;
    for (int i = 0; i < 10; i++) {
        grpc_call_wake(b->call);
        bench_flush(b);
    }
    assert_int_equal(b->n_pulls, before);
    bench_free(b);
}

static void test_stream__full_socket_stops_pulling(void **state)
{
    Bench *b = bench_new(NULL);
    b->left = 1000;
    b->size = 1000;
    b->sink.max = 5000;
    bench_handshake(b);
    peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, 0, (Str){"\0\xff\0\0", 4});
    bench_exchange(b, 0);
    bench_request(b, 1, "/t.S/Stream", STR(""));
    bench_exchange(b, 0);
    assert_true(b->n_pulls <= 6);
    while (peer_next(&b->peer)) /* the socket drains */
        ;
    b->sink.woken = true;
    bench_flush(b);
    assert_true(b->n_pulls > 6 && b->n_pulls <= 12);
    bench_free(b);
}

static void test_stream__ending_passes_a_closed_window(void **state)
{
    Bench *b = bench_new(NULL);
    peer_raw(&b->peer, STR(NGHTTP2_CLIENT_MAGIC));
    peer_frame(&b->peer, NGHTTP2_SETTINGS, 0, 0, (Str){"\0\4\0\0\0\0", 6});
    b->left = 1;
    b->size = 10;
    bench_request(b, 1, "/t.S/Stream", STR(""));
    bench_exchange(b, 0);
    grpc_call_finish(b->call, GRPC_UNAVAILABLE, "server is shutting down");
    bench_flush(b);
    bench_expect_end(b, 1, GRPC_UNAVAILABLE);
    assert_int_equal(b->n_gone, 1);
    bench_free(b);
}

static void test_stream__ok_comes_behind_the_last_frame(void **state)
{
    Bench *b = bench_new(NULL);
    b->left = 3;
    b->size = 40000;
    b->end = true;
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Stream", STR(""));
    bench_exchange(b, 0);
    assert_int_equal(b->n_gone, 0); /* the window is used up */
    for (int i = 0; i < 2; i++) {
        peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, 0, (Str){"\0\1\0\0", 4});
        peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, 1, (Str){"\0\1\0\0", 4});
        bench_exchange(b, 0);
    }
    size_t got = 0;
    while (peer_next(&b->peer))
        if (b->peer.frame.type == NGHTTP2_DATA)
            got += b->peer.frame.payload.len;
    assert_int_equal(got, 3 * 40005);
    assert_int_equal(b->ended, GRPC_OK);
    assert_int_equal(b->n_gone, 1);
    bench_free(b);
}

static void test_stream__streams_take_turns(void **state)
{
    Bench *b = bench_new(NULL);
    int32_t last = 0;
    unsigned turns = 0;
    b->left = 20;
    b->size = 16384 - 5;
    b->sink.max = 1;
    bench_handshake(b);
    peer_frame(&b->peer, NGHTTP2_WINDOW_UPDATE, 0, 0, (Str){"\0\xff\0\0", 4});
    bench_request(b, 1, "/t.S/Stream", STR(""));
    bench_request(b, 3, "/t.S/Stream", STR(""));
    bench_exchange(b, 0);
    for (int i = 0; i < 40; i++) {
        while (peer_next(&b->peer))
            if (b->peer.frame.type == NGHTTP2_DATA) {
                turns += b->peer.frame.stream_id != last;
                last = b->peer.frame.stream_id;
            }
        b->sink.woken = true;
        bench_flush(b);
    }
    assert_true(turns >= 6);
    bench_free(b);
}

static void test_stream__limit_counts_what_handlers_have_not_finished(void **state)
{
    GrpcLimits limits = grpc_limits_default;
    limits.streams_per_conn = 2;
    Bench *b = bench_new(&limits);
    GrpcWork *work[2];
    bench_handshake(b);
    for (int i = 0; i < 2; i++) {
        bench_request(b, 1 + 2 * i, "/t.S/Hold", STR(""));
        bench_exchange(b, 0);
        work[i] = grpc_call_work(b->call);
    }
    bench_request(b, 5, "/t.S/Hold", STR(""));
    bench_exchange(b, 0);
    bench_expect_reset(b, 5, NGHTTP2_REFUSED_STREAM);
    peer_frame(&b->peer, NGHTTP2_RST_STREAM, 0, 1, (Str){"\0\0\0\x8", 4});
    peer_frame(&b->peer, NGHTTP2_RST_STREAM, 0, 3, (Str){"\0\0\0\x8", 4});
    bench_request(b, 7, "/t.S/Hold", STR(""));
    bench_exchange(b, 0);
    assert_int_equal(b->n_gone, 2);
    bench_expect_reset(b, 7, NGHTTP2_REFUSED_STREAM); /* the streams are gone, their work is not */
    grpc_work_done(work[0]);
    bench_request(b, 9, "/t.S/Echo", STR(""));
    bench_exchange(b, 0);
    bench_expect_end(b, 9, GRPC_OK);
    b->session = srv_session_free(b->session);
    grpc_work_done(work[1]); /* later than the connection */
    bench_free(b);
}

/* ---- bidi ---- */

static void test_bidi__messages_wait_for_admission_and_come_in_order(void **state)
{
    Bench *b = bench_new(NULL);
    CLEANUP_BUF Buf framed = BUF_INIT(64);
    b->hold_on_call = true;
    bench_handshake(b);
    bench_headers(b, 1, 0, "/t.S/Bidi", NULL);
    grpc_framed(&framed, STR("one"));
    grpc_framed(&framed, STR("two"));
    peer_data(&b->peer, 1, 0, buf_str(&framed));
    peer_data(&b->peer, 1, END, buf_str(&framed));
    bench_exchange(b, 3);
    assert_int_equal(b->n_on_call, 1);
    assert_int_equal(b->n_messages, 0);
    grpc_call_proceed(b->call);
    bench_flush(b);
    assert_int_equal(b->n_messages, 4);
    assert_true(str_eq(buf_str(&b->message), STR("two")));
    assert_int_equal(b->n_half_closes, 1);
    grpc_call_finish(b->call, GRPC_OK, NULL);
    bench_flush(b);
    bench_expect_end(b, 1, GRPC_OK);
    bench_free(b);
}

static void test_bidi__half_close_inside_a_message(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    bench_headers(b, 1, 0, "/t.S/Bidi", NULL);
    peer_data(&b->peer, 1, END, (Str){"\0\0\0\0\0\0\0", 7});
    bench_exchange(b, 0);
    assert_int_equal(b->n_messages, 1);
    bench_expect_end(b, 1, GRPC_INTERNAL);
    bench_free(b);
}

/* ---- drain ---- */

static void test_drain__two_phases(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    bench_request(b, 1, "/t.S/Hold", STR(""));
    bench_exchange(b, 0);
    srv_session_drain(b->session);
    bench_flush(b);
    PeerFrame *f = peer_expect(&b->peer, NGHTTP2_GOAWAY, 0);
    assert_int_equal(peer_u32(f->payload, 0), INT32_MAX);
    f = peer_expect(&b->peer, NGHTTP2_PING, 0);
    GrpcCall *first = b->call;
    bench_request(b, 3, "/t.S/Hold", STR("between the phases")); /* was on its way: still taken */
    peer_frame(&b->peer, NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, f->payload);
    bench_exchange(b, 0);
    assert_int_equal(b->n_messages, 2);
    f = peer_expect(&b->peer, NGHTTP2_GOAWAY, 0);
    assert_int_equal(peer_u32(f->payload, 0), 3);
    assert_int_equal(peer_u32(f->payload, 4), NGHTTP2_NO_ERROR);
    GrpcCall *second = b->call;
    bench_request(b, 5, "/t.S/Hold", STR("too late"));
    bench_exchange(b, 0);
    assert_int_equal(b->n_messages, 2);
    grpc_call_finish(first, GRPC_OK, NULL);
    bench_flush(b);
    assert_false(srv_session_is_over(b->session));
    grpc_call_finish(second, GRPC_OK, NULL);
    bench_flush(b);
    bench_expect_end(b, 3, GRPC_OK);
    assert_true(srv_session_is_over(b->session));
    bench_free(b);
}

static void test_drain__goes_on_without_an_acknowledgement(void **state)
{
    Bench *b = bench_new(NULL);
    bench_handshake(b);
    srv_session_drain(b->session);
    bench_advance(b, 4 * USEC_PER_SEC);
    assert_false(srv_session_is_over(b->session));
    bench_advance(b, 2 * USEC_PER_SEC);
    assert_true(srv_session_is_over(b->session));
    bench_free(b);
}

int run_server_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conn__settings_come_before_the_client_speaks),
        cmocka_unit_test(test_conn__other_bytes_than_the_preface_end_it),
        cmocka_unit_test(test_conn__pings_and_settings_are_acknowledged),
        cmocka_unit_test(test_conn__slow_preface_and_idle_start),
        cmocka_unit_test(test_conn__keepalive),
        cmocka_unit_test(test_conn__without_streams_pings_are_rare),
        cmocka_unit_test(test_headers__each_row),
        cmocka_unit_test(test_headers__too_large_list_ends_the_stream_only),
        cmocka_unit_test(test_headers__nearly_64_kib_in_continuations),
        cmocka_unit_test(test_headers__duplicates_first_value_and_peer),
        cmocka_unit_test(test_message__whole_exchange_in_any_split),
        cmocka_unit_test(test_message__each_bad_body),
        cmocka_unit_test(test_message__empty_message_and_padding_and_trailers_are_fine),
        cmocka_unit_test(test_message__four_mib_flows_and_credit_comes_back),
        cmocka_unit_test(test_message__slow_request_is_given_up),
        cmocka_unit_test(test_message__memory_of_requests_is_bounded),
        cmocka_unit_test(test_answer__status_text_is_encoded_and_cut),
        cmocka_unit_test(test_answer__reply_waits_for_the_window),
        cmocka_unit_test(test_answer__memory_of_unread_replies_is_bounded),
        cmocka_unit_test(test_answer__handler_may_read_its_message_after_replying),
        cmocka_unit_test(test_deadline__ends_the_call_and_tells_both_sides),
        cmocka_unit_test(test_deadline__inside_a_message_resets),
        cmocka_unit_test(test_cancel__reset_in_each_state_ends_the_call_once),
        cmocka_unit_test(test_cancel__losing_the_connection_ends_all_calls),
        cmocka_unit_test(test_admission__later_proceed_and_refusal),
        cmocka_unit_test(test_stream__headers_at_once_then_frames_when_woken),
        cmocka_unit_test(test_stream__slow_reader_is_not_pulled),
        cmocka_unit_test(test_stream__full_socket_stops_pulling),
        cmocka_unit_test(test_stream__ending_passes_a_closed_window),
        cmocka_unit_test(test_stream__ok_comes_behind_the_last_frame),
        cmocka_unit_test(test_stream__streams_take_turns),
        cmocka_unit_test(test_stream__limit_counts_what_handlers_have_not_finished),
        cmocka_unit_test(test_bidi__messages_wait_for_admission_and_come_in_order),
        cmocka_unit_test(test_bidi__half_close_inside_a_message),
        cmocka_unit_test(test_drain__two_phases),
        cmocka_unit_test(test_drain__goes_on_without_an_acknowledgement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
