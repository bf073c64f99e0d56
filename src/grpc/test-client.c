/* What the client makes of servers, good and bad, against a session without a socket. */
#include "test-internal.h"

#include "base/mem.h"
#include "client-internal.h"

enum { END = NGHTTP2_FLAG_END_STREAM };

typedef struct Rig {
    Loop *loop;
    FakeClock clock;
    CliOwner owner;
    CliSession *session;
    Peer peer;
    TestSink sink;
    GrpcClientCall *call, *retry; /* retry: given back to the owner */
    unsigned n_ready, n_headers, n_messages, n_ends;
    Buf last;
    GrpcStatus status;
    char text[300];
} Rig;

static Rig *rig_of(CliOwner *o)
{
    return CONTAINER_OF(o, Rig, owner);
}

static void on_ready(CliOwner *o, CliSession *s)
{
    rig_of(o)->n_ready++;
}

static void on_retry(CliOwner *o, GrpcClientCall *c)
{
    rig_of(o)->retry = c;
}

static void on_deadline(CliOwner *o, Usec at)
{
}

static void on_headers(void *arg)
{
    ((Rig *)arg)->n_headers++;
}

static void on_message(void *arg, Str message)
{
    Rig *r = arg;
    r->n_messages++;
    buf_clear(&r->last);
    buf_adds(&r->last, message);
}

static void on_end(void *arg, GrpcStatus status, const char *message)
{
    Rig *r = arg;
    r->n_ends++;
    r->status = status;
    r->call = NULL;
    snprintf(r->text, sizeof(r->text), "%s", message);
}

static void start(Rig *r, Usec timeout)
{
    static const GrpcCallOps ops = {on_headers, on_message, on_end};
    const GrpcCallSpec spec = {.path = "/t.S/M", .timeout = timeout};
    r->call = cli_call_new(&r->owner, &spec, STR("question"), &ops, r);
}

static void flush(Rig *r)
{
    for (int i = 0; i < 100 && r->sink.woken; i++) {
        r->sink.woken = false;
        cli_session_flush(r->session);
    }
}

static void exchange(Rig *r, size_t step)
{
    Str all = buf_str(&r->peer.out);
    if (step == 0)
        step = all.len;
    for (size_t at = 0; at < all.len; at += step) {
        cli_session_feed(r->session, str_slice(all, at, at + step));
        flush(r);
    }
    buf_clear(&r->peer.out);
    loop_run_once(r->loop, false);
}

/* With the handshake done and one call sent on stream 1. */
static Rig *rig_new(void)
{
    Rig *r = xnew(Rig);
    Err err = {0};
    assert_int_equal(loop_new(&r->loop, &err), 0);
    loop_run_once(r->loop, false);
    fake_clock_init(&r->clock, (WallUsec){0});
    fake_clock_advance(&r->clock, 1000 * USEC_PER_SEC);
    peer_init(&r->peer);
    r->last = BUF_INIT(16 << 20);
    cli_owner_init(&r->owner, r->loop);
    r->owner.clock = &r->clock.clock;
    r->owner.authority = STR("t:1");
    r->owner.scheme = STR("http");
    r->owner.on_ready = on_ready;
    r->owner.on_retry = on_retry;
    r->owner.on_deadline = on_deadline;
    r->sink = (TestSink){.peer = &r->peer, .due = USEC_NEVER};
    H2Sink sink = test_sink(&r->sink);
    r->session = cli_session_new(&r->owner, &sink, 30 * USEC_PER_SEC);
    cli_session_flush(r->session);
    peer_frame(&r->peer, NGHTTP2_SETTINGS, 0, 0, STR(""));
    peer_frame(&r->peer, NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, STR(""));
    exchange(r, 0);
    assert_int_equal(r->n_ready, 1);
    r->peer.in_pos = strlen(NGHTTP2_CLIENT_MAGIC); /* frames follow the preface */
    start(r, 60 * USEC_PER_SEC);
    cli_call_send(r->call, r->session);
    flush(r);
    peer_expect(&r->peer, NGHTTP2_HEADERS, 1);
    return r;
}

static void rig_free(Rig *r)
{
    if (r->retry)
        grpc_client_call_cancel(r->retry);
    cli_session_free(r->session, "gone");
    loop_run_once(r->loop, false);
    assert_null(r->call);
    cli_owner_done(&r->owner);
    loop_free(r->loop);
    peer_done(&r->peer);
    buf_done(&r->last);
    free(r);
}

#define OK_HEAD ":status: 200", "content-type: application/grpc"
static const char *const head[] = {OK_HEAD, NULL};

static void message(Rig *r, Str text)
{
    CLEANUP_BUF Buf framed = BUF_INIT(16 << 20);
    peer_data(&r->peer, 1, 0, grpc_framed(&framed, text));
}

static void test_client__request_on_the_wire(void **state)
{
    Rig *r = rig_new();
    const PeerFrame *f = &r->peer.frame;
    peer_assert_field(f, ":method: POST");
    peer_assert_field(f, ":path: /t.S/M");
    peer_assert_field(f, ":authority: t:1");
    peer_assert_field(f, "te: trailers");
    peer_assert_field(f, "content-type: application/grpc");
    peer_assert_field(f, "grpc-timeout: 60000000u");
    f = peer_expect(&r->peer, NGHTTP2_DATA, 1);
    assert_true(str_eq(f->payload, (Str){"\0\0\0\0\x8question", 13}));
    assert_true(f->flags & END);
    rig_free(r);
}

static void test_client__good_answers_in_any_split(void **state)
{
    static const char *const trailers[] = {"grpc-status: 5", "grpc-message: gone %E2%98%BA", NULL};
    for (size_t step = 1; step < 60; step++) {
        Rig *r = rig_new();
        peer_headers(&r->peer, 1, 0, head);
        message(r, STR("one"));
        message(r, STR(""));
        message(r, STR("three"));
        peer_headers(&r->peer, 1, END, trailers);
        exchange(r, step);
        assert_int_equal(r->n_headers, 1);
        assert_int_equal(r->n_messages, 3);
        assert_int_equal(r->n_ends, 1);
        assert_int_equal(r->status, GRPC_NOT_FOUND);
        assert_string_equal(r->text, "gone \xe2\x98\xba");
        assert_true(str_eq(buf_str(&r->last), STR("three")));
        rig_free(r);
    }
}

typedef struct EndCase {
    const char *fields[6]; /* of one HEADERS with END_STREAM */
    GrpcStatus status;
    unsigned n_headers;
} EndCase;

static void test_client__answers_of_one_header_block(void **state)
{
    static const EndCase rows[] = {
        {{OK_HEAD, "grpc-status: 0"}, GRPC_OK, 0},
        {{OK_HEAD, "grpc-status: 16", "grpc-message: no"}, GRPC_UNAUTHENTICATED, 0},
        {{OK_HEAD, "grpc-status: 17"}, GRPC_UNKNOWN, 0},
        {{OK_HEAD, "grpc-status: -1"}, GRPC_UNKNOWN, 0},
        {{OK_HEAD, "grpc-status: x"}, GRPC_UNKNOWN, 0},
        {{OK_HEAD, "grpc-status: 3", "grpc-status: 5"}, GRPC_INVALID_ARGUMENT, 0},
        {{OK_HEAD}, GRPC_INTERNAL, 1},
        {{":status: 200", "content-type: text/html"}, GRPC_UNKNOWN, 0},
        {{":status: 400"}, GRPC_INTERNAL, 0},
        {{":status: 401"}, GRPC_UNAUTHENTICATED, 0},
        {{":status: 403"}, GRPC_PERMISSION_DENIED, 0},
        {{":status: 404"}, GRPC_UNIMPLEMENTED, 0},
        {{":status: 429"}, GRPC_UNAVAILABLE, 0},
        {{":status: 502"}, GRPC_UNAVAILABLE, 0},
        {{":status: 503"}, GRPC_UNAVAILABLE, 0},
        {{":status: 504"}, GRPC_UNAVAILABLE, 0},
        {{":status: 500"}, GRPC_UNKNOWN, 0},
        {{":status: 302", "location: /"}, GRPC_UNKNOWN, 0},
        {{":status: 415", "content-type: application/grpc", "grpc-status: 3"}, GRPC_INVALID_ARGUMENT, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Rig *r = rig_new();
        peer_headers(&r->peer, 1, END, rows[i].fields);
        exchange(r, 0);
        assert_int_equal(r->n_ends, 1);
        assert_int_equal(r->status, rows[i].status);
        assert_int_equal(r->n_headers, rows[i].n_headers);
        rig_free(r);
    }
}

static void test_client__resets(void **state)
{
    static const struct {
        char code;
        GrpcStatus status;
    } rows[] = {
        {NGHTTP2_NO_ERROR, GRPC_INTERNAL},
        {NGHTTP2_PROTOCOL_ERROR, GRPC_INTERNAL},
        {NGHTTP2_INTERNAL_ERROR, GRPC_INTERNAL},
        {NGHTTP2_FRAME_SIZE_ERROR, GRPC_INTERNAL},
        {NGHTTP2_CANCEL, GRPC_CANCELLED},
        {NGHTTP2_ENHANCE_YOUR_CALM, GRPC_RESOURCE_EXHAUSTED},
        {NGHTTP2_INADEQUATE_SECURITY, GRPC_PERMISSION_DENIED},
        {NGHTTP2_REFUSED_STREAM, GRPC_UNAVAILABLE}, /* behind headers: it was processed */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Rig *r = rig_new();
        const char code[4] = {0, 0, 0, rows[i].code};
        peer_headers(&r->peer, 1, 0, head);
        peer_frame(&r->peer, NGHTTP2_RST_STREAM, 0, 1, (Str){code, 4});
        exchange(r, 0);
        assert_int_equal(r->n_ends, 1);
        assert_int_equal(r->status, rows[i].status);
        rig_free(r);
    }
}

static void test_client__bad_bodies(void **state)
{
    static const char *const trailers[] = {"grpc-status: 0", NULL};
    static const struct {
        Str body;
        GrpcStatus status;
        unsigned n_messages;
    } rows[] = {
        {{"\0\0\0\0\2a", 6}, GRPC_INTERNAL, 0},   /* ends inside a message */
        {{"\0\0\0\0\1a\0", 7}, GRPC_INTERNAL, 1}, /* ends inside a prefix */
        {{"\1\0\0\0\1a", 6}, GRPC_INTERNAL, 0},   /* compressed */
        {{"\7\0\0\0\1a", 6}, GRPC_INTERNAL, 0},   {{"\0\x7f\xff\xff\xff", 5}, GRPC_RESOURCE_EXHAUSTED, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Rig *r = rig_new();
        peer_headers(&r->peer, 1, 0, head);
        peer_data(&r->peer, 1, 0, rows[i].body);
        peer_headers(&r->peer, 1, END, trailers);
        exchange(r, 1);
        assert_int_equal(r->n_ends, 1);
        assert_int_equal(r->status, rows[i].status);
        assert_int_equal(r->n_messages, rows[i].n_messages);
        rig_free(r);
    }
}

/* The public negative tests for clients: padded data, resets around data, goaway, pings. */
static void test_client__padding_and_pings(void **state)
{
    static const char *const trailers[] = {"grpc-status: 0", NULL};
    Rig *r = rig_new();
    peer_headers(&r->peer, 1, 0, head);
    peer_frame(&r->peer, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, (Str){"\5\0\0\0ppppp", 9});
    peer_frame(&r->peer, NGHTTP2_PING, 0, 0, STR("12345678"));
    peer_frame(&r->peer, NGHTTP2_DATA, NGHTTP2_FLAG_PADDED, 1, (Str){"\1\0\2hip", 6});
    peer_headers(&r->peer, 1, END, trailers);
    exchange(r, 1);
    assert_int_equal(r->status, GRPC_OK);
    assert_int_equal(r->n_messages, 1);
    assert_true(str_eq(buf_str(&r->last), STR("hi")));
    assert_true(peer_expect(&r->peer, NGHTTP2_PING, 0)->flags & NGHTTP2_FLAG_ACK);
    rig_free(r);
}

static void test_client__goaway_below_the_call_gives_it_back(void **state)
{
    Rig *r = rig_new();
    peer_frame(&r->peer, NGHTTP2_GOAWAY, 0, 0, (Str){"\0\0\0\0\0\0\0\0", 8});
    exchange(r, 0);
    assert_int_equal(r->n_ends, 0);
    assert_ptr_equal(r->retry, r->call);
    assert_false(cli_session_takes_calls(r->session));
    assert_true(cli_session_is_over(r->session));
    r->call = NULL;
    rig_free(r);
}

static void test_client__goaway_above_the_call_lets_it_finish(void **state)
{
    static const char *const all[] = {OK_HEAD, "grpc-status: 0", NULL};
    Rig *r = rig_new();
    peer_frame(&r->peer, NGHTTP2_GOAWAY, 0, 0, (Str){"\0\0\0\1\0\0\0\0", 8});
    exchange(r, 0);
    assert_false(cli_session_takes_calls(r->session));
    assert_false(cli_session_is_over(r->session));
    peer_headers(&r->peer, 1, END, all);
    exchange(r, 0);
    assert_int_equal(r->status, GRPC_OK);
    assert_int_equal(r->n_ends, 1);
    assert_true(cli_session_is_over(r->session));
    rig_free(r);
}

static void test_client__too_many_pings_is_understood(void **state)
{
    Rig *r = rig_new();
    peer_frame(&r->peer, NGHTTP2_GOAWAY, 0, 0, (Str){"\0\0\0\1\0\0\0\xbtoo_many_pings", 22});
    exchange(r, 0);
    assert_true(r->session->too_many_pings);
    cli_call_end(r->call, GRPC_CANCELLED, NULL);
    rig_free(r);
}

static void test_client__refused_once_then_for_good(void **state)
{
    Rig *r = rig_new();
    peer_frame(&r->peer, NGHTTP2_RST_STREAM, 0, 1, (Str){"\0\0\0\7", 4});
    exchange(r, 0);
    assert_int_equal(r->n_ends, 0);
    assert_ptr_equal(r->retry, r->call);
    cli_call_send(TAKE(r->retry), r->session);
    flush(r);
    peer_expect(&r->peer, NGHTTP2_HEADERS, 3);
    assert_true(str_eq(peer_expect(&r->peer, NGHTTP2_DATA, 3)->payload, (Str){"\0\0\0\0\x8question", 13}));
    peer_frame(&r->peer, NGHTTP2_RST_STREAM, 0, 3, (Str){"\0\0\0\7", 4});
    exchange(r, 0);
    assert_int_equal(r->n_ends, 1);
    assert_int_equal(r->status, GRPC_UNAVAILABLE);
    rig_free(r);
}

static void test_client__lost_connection_does_not_repeat_what_was_sent(void **state)
{
    Rig *r = rig_new();
    r->session = cli_session_free(r->session, "broken pipe");
    assert_int_equal(r->n_ends, 1);
    assert_int_equal(r->status, GRPC_UNAVAILABLE);
    assert_string_equal(r->text, "broken pipe");
    rig_free(r);
}

static void test_client__server_that_does_not_answer_pings(void **state)
{
    Rig *r = rig_new();
    fake_clock_advance(&r->clock, 31 * USEC_PER_SEC);
    cli_session_tick(r->session);
    flush(r);
    peer_expect(&r->peer, NGHTTP2_PING, 0);
    fake_clock_advance(&r->clock, 9 * USEC_PER_SEC);
    cli_session_tick(r->session);
    assert_false(cli_session_is_over(r->session));
    fake_clock_advance(&r->clock, 2 * USEC_PER_SEC);
    cli_session_tick(r->session);
    assert_true(cli_session_is_over(r->session));
    r->session = cli_session_free(r->session, r->session->why);
    assert_string_equal(r->text, "the server does not answer pings");
    rig_free(r);
}

static void test_client__deadline(void **state)
{
    Rig *r = rig_new();
    fake_clock_advance(&r->clock, 59 * USEC_PER_SEC);
    assert_int_equal(cli_owner_tick(&r->owner), r->clock.now_us + USEC_PER_SEC);
    fake_clock_advance(&r->clock, USEC_PER_SEC);
    assert_int_equal(cli_owner_tick(&r->owner), USEC_NEVER);
    assert_int_equal(r->status, GRPC_DEADLINE_EXCEEDED);
    flush(r);
    peer_expect(&r->peer, NGHTTP2_RST_STREAM, 1);
    rig_free(r);
}

static void test_client__hostile_header_blocks(void **state)
{
    Rig *r = rig_new();
    CLEANUP_BUF Buf block = BUF_INIT(1 << 20);
    CLEANUP_FREE char *value = xcalloc(1, 3000);
    memset(value, 'v', 2999);
    memcpy(value, "x: ", 3);
    const char *const fields[] = {OK_HEAD, value, NULL};
    peer_encode(&r->peer, fields, &block);
    while (block.len < 16000)
        buf_addc(&block, (char)0xbe);
    peer_frame(&r->peer, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS | END, 1, buf_str(&block));
    exchange(r, 0);
    assert_true(cli_session_is_over(r->session));
    rig_free(r);
}

static void test_client__bytes_that_are_not_http2(void **state)
{
    Rig *r = rig_new();
    peer_raw(&r->peer, STR("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    exchange(r, 0);
    assert_true(cli_session_is_over(r->session));
    rig_free(r);
}

int run_client_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client__request_on_the_wire),
        cmocka_unit_test(test_client__good_answers_in_any_split),
        cmocka_unit_test(test_client__answers_of_one_header_block),
        cmocka_unit_test(test_client__resets),
        cmocka_unit_test(test_client__bad_bodies),
        cmocka_unit_test(test_client__padding_and_pings),
        cmocka_unit_test(test_client__goaway_below_the_call_gives_it_back),
        cmocka_unit_test(test_client__goaway_above_the_call_lets_it_finish),
        cmocka_unit_test(test_client__too_many_pings_is_understood),
        cmocka_unit_test(test_client__refused_once_then_for_good),
        cmocka_unit_test(test_client__lost_connection_does_not_repeat_what_was_sent),
        cmocka_unit_test(test_client__server_that_does_not_answer_pings),
        cmocka_unit_test(test_client__deadline),
        cmocka_unit_test(test_client__hostile_header_blocks),
        cmocka_unit_test(test_client__bytes_that_are_not_http2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
