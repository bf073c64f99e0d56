/* Our client against our server through real sockets, in one loop. */
#include "test-internal.h"

#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "grpc/client.h"
#include "grpc/server.h"
#include "loop/conn.h"
#include "test-tls-pair.h"

/* Turns the loop until the condition holds. A test that waits for ever is ended by the alarm. */
#define PUMP_UNTIL(t, cond)                                                                                  \
    do {                                                                                                     \
        alarm(120);                                                                                          \
        while (!(cond))                                                                                      \
            loop_run_once((t)->loop, true);                                                                  \
        alarm(0);                                                                                            \
    } while (0)

typedef struct Answer {
    struct Both *both;
    GrpcClientCall *call;
    unsigned headers, messages, ends;
    Buf bytes;
    GrpcStatus status;
    char text[200];
} Answer;

typedef struct Both {
    Loop *loop;
    GrpcServer *server;
    GrpcChannel *channel;
    char address[64];
    GrpcCall *held;
    unsigned n_gone, n_calls;
    char seen[200]; /* metadata of the last call */
    unsigned left;  /* what a stream still sends */
    bool end, drained, free_in_callback;
} Both;

/* ---- the server's methods ---- */

static void on_gone(void *arg)
{
    Both *t = arg;
    t->n_gone++;
    t->held = NULL;
}

static void hold(void *arg, GrpcCall *c, Str message)
{
    Both *t = arg;
    t->held = c;
    t->n_calls++;
    snprintf(t->seen, sizeof(t->seen), STR_FMT "|" STR_FMT "|" STR_FMT,
             STR_ARG(grpc_call_metadata(c, "authorization")), STR_ARG(grpc_call_metadata(c, "x-a")),
             STR_ARG(grpc_call_metadata(c, "user-agent")));
    grpc_call_set_user(c, t, on_gone);
}

static void echo(void *arg, GrpcCall *c, Str message)
{
    ((Both *)arg)->n_calls++;
    if (str_eq(message, STR("fail")))
        grpc_call_finish(c, GRPC_ABORTED, "as \xe2\x98\xba asked: 100%");
    else
        grpc_call_reply_frame(c, grpc_frame_new(message));
}

static GrpcFrame *pull(void *user, GrpcCall *c)
{
    Both *t = user;
    if (t->left > 0) {
        t->left--;
        return grpc_frame_new(STR("tick"));
    }
    if (t->end)
        grpc_call_finish(c, GRPC_OK, NULL);
    return NULL;
}

static void stream(void *arg, GrpcCall *c, Str message)
{
    hold(arg, c, message);
    grpc_call_stream(c, pull);
}

static const GrpcMethod methods[] = {
    {.path = "/t.S/Hold", .kind = GRPC_UNARY, .on_message = hold},
    {.path = "/t.S/Echo", .kind = GRPC_UNARY, .on_message = echo},
    {.path = "/t.S/Stream", .kind = GRPC_SERVER_STREAM, .on_message = stream},
    {0},
};

/* ---- the client's callbacks ---- */

static void on_headers(void *arg)
{
    ((Answer *)arg)->headers++;
}

static void on_message(void *arg, Str message)
{
    Answer *a = arg;
    a->messages++;
    buf_clear(&a->bytes);
    buf_adds(&a->bytes, message);
    if (a->both->free_in_callback)
        a->both->channel = grpc_channel_free(a->both->channel);
}

static void on_end(void *arg, GrpcStatus status, const char *message)
{
    Answer *a = arg;
    a->ends++;
    a->call = NULL;
    a->status = status;
    snprintf(a->text, sizeof(a->text), "%s", message);
}

static const GrpcCallOps call_ops = {on_headers, on_message, on_end};

static void answer_init(Answer *a, Both *t)
{
    *a = (Answer){.both = t, .bytes = BUF_INIT(8 << 20)};
}

static void start(Both *t, Answer *a, const char *path, Str message, Usec timeout)
{
    const GrpcCallSpec spec = {.path = path, .timeout = timeout};
    a->call = grpc_client_call_start(t->channel, &spec, message, &call_ops, a);
}

/* ---- life ---- */

static void server_start(Both *t, const char *address, const GrpcLimits *limits)
{
    Err err = {0};
    if (grpc_server_new(t->loop, address, NULL, limits, methods, NULL, t, &t->server, &err) < 0)
        fail_msg("%s", err.msg);
    snprintf(t->address, sizeof(t->address), "127.0.0.1:%d", grpc_server_port(t->server));
}

static Both *both_new(const GrpcLimits *limits)
{
    Both *t = xnew(Both);
    Err err = {0};
    assert_int_equal(loop_new(&t->loop, &err), 0);
    server_start(t, "127.0.0.1:0", limits);
    assert_int_equal(grpc_channel_new(t->loop, t->address, NULL, &t->channel, &err), 0);
    return t;
}

static void both_free(Both *t)
{
    grpc_channel_free(t->channel);
    grpc_server_free(t->server);
    loop_free(t->loop);
    free(t);
}

/* ---- tests ---- */

static void test_both__unary_with_metadata(void **state)
{
    Both *t = both_new(NULL);
    Answer a;
    CLEANUP(secret_freep) Secret *token = secret_new(STR("s3cret"));
    const GrpcMetadata md[] = {{"x-a", STR("b c")}};
    const GrpcCallSpec spec = {
        .path = "/t.S/Hold", .bearer = token, .metadata = md, .n_metadata = 1, .timeout = USEC_NEVER};
    answer_init(&a, t);
    a.call = grpc_client_call_start(t->channel, &spec, STR("hello"), &call_ops, &a);
    assert_false(grpc_channel_ready(t->channel)); /* nothing completes before it returns */
    PUMP_UNTIL(t, t->held);
    assert_true(grpc_channel_ready(t->channel));
    assert_string_equal(t->seen, "Bearer s3cret|b c|ambient/" AMBIENT_VERSION);
    assert_int_equal(grpc_call_deadline(t->held), USEC_NEVER);
    grpc_call_reply_frame(t->held, grpc_frame_new(STR("there")));
    PUMP_UNTIL(t, a.ends);
    assert_int_equal(a.status, GRPC_OK);
    assert_int_equal(a.headers, 1);
    assert_int_equal(a.messages, 1);
    assert_string_equal(a.bytes.data, "there");
    buf_done(&a.bytes);
    both_free(t);
}

static void test_both__status_text_survives(void **state)
{
    Both *t = both_new(NULL);
    Answer a;
    answer_init(&a, t);
    start(t, &a, "/t.S/Echo", STR("fail"), 30 * USEC_PER_SEC);
    PUMP_UNTIL(t, a.ends);
    assert_int_equal(a.status, GRPC_ABORTED);
    assert_string_equal(a.text, "as \xe2\x98\xba asked: 100%");
    assert_int_equal(a.headers, 0); /* trailers only */
    both_free(t);
}

static void test_both__thousand_calls_at_once_on_one_connection(void **state)
{
    enum { N = 1000, SIZE = 20000 };
    Both *t = both_new(NULL);
    CLEANUP_FREE Answer *a = xcalloc(N, sizeof(*a));
    CLEANUP_FREE char *body = xcalloc(1, SIZE);
    unsigned left = N;
    for (unsigned i = 0; i < N; i++) {
        answer_init(&a[i], t);
        memcpy(body, &i, sizeof(i));
        start(t, &a[i], "/t.S/Echo", (Str){body, SIZE}, 60 * USEC_PER_SEC);
    }
    alarm(120);
    while (left > 0) {
        loop_run_once(t->loop, true);
        for (left = N; left > 0 && a[left - 1].ends; left--)
            ;
    }
    alarm(0);
    assert_int_equal(grpc_server_stats(t->server).conns, 1);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(a[i].status, GRPC_OK);
        assert_int_equal(a[i].bytes.len, SIZE);
        assert_memory_equal(a[i].bytes.data, &i, sizeof(i));
        buf_done(&a[i].bytes);
    }
    both_free(t);
}

static void test_both__large_message(void **state)
{
    Both *t = both_new(NULL);
    Answer a;
    size_t size = 4 << 20;
    CLEANUP_FREE char *body = xcalloc(1, size);
    answer_init(&a, t);
    start(t, &a, "/t.S/Echo", (Str){body, size}, USEC_NEVER);
    PUMP_UNTIL(t, a.ends);
    assert_int_equal(a.status, GRPC_OK);
    assert_int_equal(a.bytes.len, size);
    buf_clear(&a.bytes);
    CLEANUP_FREE char *more = xcalloc(1, size + 1);
    start(t, &a, "/t.S/Echo", (Str){more, size + 1}, USEC_NEVER);
    PUMP_UNTIL(t, a.ends == 2);
    assert_int_equal(a.status, GRPC_RESOURCE_EXHAUSTED);
    buf_done(&a.bytes);
    both_free(t);
}

static void test_both__stream_and_pause(void **state)
{
    Both *t = both_new(NULL);
    Answer a;
    answer_init(&a, t);
    t->left = 100;
    start(t, &a, "/t.S/Stream", STR(""), USEC_NEVER);
    PUMP_UNTIL(t, a.messages == 100);
    assert_int_equal(a.headers, 1);
    grpc_client_call_pause(a.call, true);
    t->left = 200000; /* of nine bytes: more than the window */
    grpc_call_wake(t->held);
    PUMP_UNTIL(t, a.messages > 100000);
    Answer other;
    answer_init(&other, t);
    start(t, &other, "/t.S/Echo", STR("not held up"), 30 * USEC_PER_SEC);
    PUMP_UNTIL(t, other.ends);
    assert_int_equal(other.status, GRPC_OK);
    assert_true(200000 - t->left <= (1 << 20) / 9 + 1);
    t->end = true;
    grpc_client_call_pause(a.call, false);
    PUMP_UNTIL(t, a.ends);
    assert_int_equal(a.status, GRPC_OK);
    assert_int_equal(a.messages, 200100);
    buf_done(&a.bytes);
    buf_done(&other.bytes);
    both_free(t);
}

static void test_both__deadline_on_both_sides(void **state)
{
    Both *t = both_new(NULL);
    Answer a;
    answer_init(&a, t);
    start(t, &a, "/t.S/Hold", STR(""), 50 * USEC_PER_MSEC);
    PUMP_UNTIL(t, a.ends);
    assert_int_equal(a.status, GRPC_DEADLINE_EXCEEDED);
    PUMP_UNTIL(t, t->n_gone == t->n_calls);
    both_free(t);
}

static void test_both__cancel_reaches_the_handler(void **state)
{
    Both *t = both_new(NULL);
    Answer a;
    answer_init(&a, t);
    start(t, &a, "/t.S/Hold", STR(""), USEC_NEVER);
    PUMP_UNTIL(t, t->held);
    grpc_client_call_cancel(a.call);
    PUMP_UNTIL(t, t->n_gone == 1);
    assert_int_equal(a.ends, 0);
    start(t, &a, "/t.S/Hold", STR(""), USEC_NEVER); /* before anything was sent */
    grpc_client_call_cancel(a.call);
    start(t, &a, "/t.S/Echo", STR("x"), USEC_NEVER);
    PUMP_UNTIL(t, a.ends == 1);
    assert_int_equal(t->n_calls, 2);
    buf_done(&a.bytes);
    both_free(t);
}

static void test_both__nobody_listens_then_somebody_does(void **state)
{
    Both *t = both_new(NULL);
    Answer a;
    answer_init(&a, t);
    t->server = grpc_server_free(t->server);
    start(t, &a, "/t.S/Echo", STR("x"), USEC_NEVER);
    PUMP_UNTIL(t, a.ends == 1);
    assert_int_equal(a.status, GRPC_UNAVAILABLE);
    assert_non_null(strstr(a.text, t->address));
    start(t, &a, "/t.S/Echo", STR("x"), USEC_NEVER); /* while it waits before the next attempt */
    PUMP_UNTIL(t, a.ends == 2);
    assert_int_equal(a.status, GRPC_UNAVAILABLE);
    char address[64];
    snprintf(address, sizeof(address), "%s", t->address);
    server_start(t, address, NULL);
    unsigned tries = 2;
    do {
        start(t, &a, "/t.S/Echo", STR("x"), USEC_NEVER);
        tries++;
        PUMP_UNTIL(t, a.ends == tries);
    } while (a.status == GRPC_UNAVAILABLE);
    assert_int_equal(a.status, GRPC_OK);
    buf_done(&a.bytes);
    both_free(t);
}

static void test_both__lost_connection_ends_calls_and_the_next_one_connects(void **state)
{
    Both *t = both_new(NULL);
    Answer a, b;
    answer_init(&a, t);
    answer_init(&b, t);
    start(t, &a, "/t.S/Hold", STR(""), USEC_NEVER);
    PUMP_UNTIL(t, t->held);
    char address[64];
    snprintf(address, sizeof(address), "%s", t->address);
    t->server = grpc_server_free(t->server);
    assert_int_equal(t->n_gone, 1);
    PUMP_UNTIL(t, a.ends);
    assert_int_equal(a.status, GRPC_UNAVAILABLE);
    server_start(t, address, NULL);
    start(t, &b, "/t.S/Echo", STR("again"), USEC_NEVER);
    PUMP_UNTIL(t, b.ends);
    assert_int_equal(b.status, GRPC_OK);
    buf_done(&b.bytes);
    both_free(t);
}

static void on_drained(void *arg)
{
    ((Both *)arg)->drained = true;
}

static void test_both__drain_lets_calls_finish_and_new_ones_go_elsewhere(void **state)
{
    Both *t = both_new(NULL);
    Answer a, b;
    answer_init(&a, t);
    answer_init(&b, t);
    start(t, &a, "/t.S/Hold", STR(""), USEC_NEVER);
    PUMP_UNTIL(t, t->held);
    GrpcServer *old = t->server;
    char address[64];
    snprintf(address, sizeof(address), "%s", t->address);
    grpc_server_drain(old, on_drained, t);
    server_start(t, address, NULL); /* the next process, on the same port */
    PUMP_UNTIL(t, !grpc_channel_ready(t->channel));
    start(t, &b, "/t.S/Echo", STR("to the new one"), USEC_NEVER);
    PUMP_UNTIL(t, b.ends);
    assert_int_equal(b.status, GRPC_OK);
    assert_int_equal(a.ends, 0);
    assert_false(t->drained);
    grpc_call_reply_frame(t->held, grpc_frame_new(STR("late")));
    PUMP_UNTIL(t, a.ends && t->drained);
    assert_int_equal(a.status, GRPC_OK);
    assert_string_equal(a.bytes.data, "late");
    grpc_server_free(old);
    buf_done(&a.bytes);
    buf_done(&b.bytes);
    both_free(t);
}

static void test_both__refused_stream_is_tried_again_once(void **state)
{
    GrpcLimits limits = grpc_limits_default;
    limits.streams_per_conn = 1;
    Both *t = both_new(&limits);
    Answer a, b;
    answer_init(&a, t);
    answer_init(&b, t);
    start(t, &a, "/t.S/Hold", STR(""), USEC_NEVER);
    PUMP_UNTIL(t, t->held);
    GrpcWork *work = grpc_call_work(t->held); /* the stream will be free, its work not */
    grpc_client_call_cancel(a.call);
    start(t, &b, "/t.S/Echo", STR(""), USEC_NEVER);
    PUMP_UNTIL(t, b.ends);
    assert_int_equal(b.status, GRPC_UNAVAILABLE);
    assert_string_equal(b.text, "stream reset by the server: REFUSED_STREAM");
    grpc_work_done(work);
    start(t, &b, "/t.S/Echo", STR(""), USEC_NEVER);
    PUMP_UNTIL(t, b.ends == 2);
    assert_int_equal(b.status, GRPC_OK);
    buf_done(&b.bytes);
    both_free(t);
}

static void test_both__channel_freed_in_a_callback(void **state)
{
    Both *t = both_new(NULL);
    Answer a, b;
    answer_init(&a, t);
    answer_init(&b, t);
    t->left = 5;
    t->free_in_callback = true;
    start(t, &b, "/t.S/Hold", STR(""), USEC_NEVER);
    start(t, &a, "/t.S/Stream", STR(""), USEC_NEVER);
    PUMP_UNTIL(t, !t->channel);
    assert_int_equal(a.messages, 1);
    assert_int_equal(a.ends + b.ends, 2);
    assert_int_equal(a.status, GRPC_CANCELLED);
    assert_int_equal(b.status, GRPC_CANCELLED);
    PUMP_UNTIL(t, grpc_server_stats(t->server).conns == 0);
    assert_int_equal(t->n_gone, 2);
    buf_done(&a.bytes);
    both_free(t);
}

static void test_both__connections_per_peer(void **state)
{
    GrpcLimits limits = grpc_limits_default;
    limits.conns_per_peer = 1;
    Both *t = both_new(&limits);
    Answer a, b;
    Err err = {0};
    answer_init(&a, t);
    answer_init(&b, t);
    start(t, &a, "/t.S/Echo", STR(""), USEC_NEVER);
    PUMP_UNTIL(t, a.ends);
    GrpcChannel *first = t->channel;
    assert_int_equal(grpc_channel_new(t->loop, t->address, NULL, &t->channel, &err), 0);
    start(t, &b, "/t.S/Echo", STR(""), USEC_NEVER);
    PUMP_UNTIL(t, b.ends);
    assert_int_equal(b.status, GRPC_UNAVAILABLE);
    grpc_channel_free(first);
    PUMP_UNTIL(t, grpc_server_stats(t->server).conns == 0);
    unsigned tries = 1;
    do {
        start(t, &b, "/t.S/Echo", STR(""), USEC_NEVER);
        tries++;
        PUMP_UNTIL(t, b.ends == tries);
    } while (b.status == GRPC_UNAVAILABLE);
    assert_int_equal(b.status, GRPC_OK);
    buf_done(&a.bytes);
    buf_done(&b.bytes);
    both_free(t);
}

static void file_put(const char *path, const char *text)
{
    Err err = {0};
    if (file_write_atomic(path, str_from(text), 0600, &err) < 0)
        fail_msg("%s", err.msg);
}

static void test_both__tls_with_alpn(void **state)
{
    Both *t = xnew(Both);
    Err err = {0};
    Answer a;
    char dir[] = "/tmp/test-grpc-XXXXXX";
    TlsContext *server = NULL, *client = NULL;
    assert_non_null(mkdtemp(dir));
    CLEANUP_FREE char *cert = path_join(dir, "cert.pem");
    CLEANUP_FREE char *key = path_join(dir, "key.pem");
    file_put(cert, test_cert_pem);
    file_put(key, test_key_pem);
    const TlsOptions server_options = {.cert_file = cert, .key_file = key, .alpn = "h2"};
    const TlsOptions client_options = {.ca_file = cert, .alpn = "h2", .server_name = "localhost"};
    assert_int_equal(loop_new(&t->loop, &err), 0);
    assert_int_equal(tls_server_new(&server_options, &server, &err), 0);
    assert_int_equal(tls_client_new(&client_options, &client, &err), 0);
    assert_int_equal(
        grpc_server_new(t->loop, "127.0.0.1:0", server, NULL, methods, NULL, t, &t->server, &err), 0);
    snprintf(t->address, sizeof(t->address), "127.0.0.1:%d", grpc_server_port(t->server));
    assert_int_equal(grpc_channel_new(t->loop, t->address, client, &t->channel, &err), 0);
    answer_init(&a, t);
    CLEANUP_FREE char *body = xcalloc(1, 1 << 20);
    start(t, &a, "/t.S/Echo", (Str){body, 1 << 20}, 30 * USEC_PER_SEC);
    PUMP_UNTIL(t, a.ends);
    assert_int_equal(a.status, GRPC_OK);
    assert_int_equal(a.bytes.len, 1 << 20);
    buf_done(&a.bytes);
    tls_free(server);
    tls_free(client);
    both_free(t);
    dir_remove_tree(dir, NULL);
}

int run_loop_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both__unary_with_metadata),
        cmocka_unit_test(test_both__status_text_survives),
        cmocka_unit_test(test_both__thousand_calls_at_once_on_one_connection),
        cmocka_unit_test(test_both__large_message),
        cmocka_unit_test(test_both__stream_and_pause),
        cmocka_unit_test(test_both__deadline_on_both_sides),
        cmocka_unit_test(test_both__cancel_reaches_the_handler),
        cmocka_unit_test(test_both__nobody_listens_then_somebody_does),
        cmocka_unit_test(test_both__lost_connection_ends_calls_and_the_next_one_connects),
        cmocka_unit_test(test_both__drain_lets_calls_finish_and_new_ones_go_elsewhere),
        cmocka_unit_test(test_both__refused_stream_is_tried_again_once),
        cmocka_unit_test(test_both__channel_freed_in_a_callback),
        cmocka_unit_test(test_both__connections_per_peer),
        cmocka_unit_test(test_both__tls_with_alpn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
