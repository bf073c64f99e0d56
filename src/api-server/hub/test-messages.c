#include "test-support.h"

#include <malloc.h>
#include "pb/ambient.h"
#include "pb/pb.h"

/* ---- a transport that reads when it likes ---- */

typedef struct Watcher {
    Fixture *f;
    Cursor *cursor;
    const char *session;
    HubEncoding enc;
    uint64_t seq; /* last one received */
    bool ready;   /* on_ready came, or it never had nothing */
    size_t readies;
    ErrCode ended;
    bool close_when_called;
    char *payload; /* of the last one */
} Watcher;

static void on_ready(void *arg)
{
    Watcher *w = arg;
    w->ready = true;
    w->readies++;
    if (w->close_when_called)
        w->cursor = cursor_close(w->cursor);
}

static void on_end(void *arg, const Err *err)
{
    Watcher *w = arg;
    assert_int_equal(w->ended, ERR_OK);
    w->ended = err->code;
    if (w->close_when_called)
        w->cursor = cursor_close(w->cursor);
}

static const CursorOps ops = {.on_ready = on_ready, .on_end = on_end};

static void watch(Fixture *f, Watcher *w, const char *session, uint64_t after, HubEncoding enc)
{
    Err err = {0};
    *w = (Watcher){.f = f, .session = session, .enc = enc, .seq = after, .payload = w->payload};
    assert_ok(cursor_open(f->hub, str_from(session), after, enc, &ops, w, &w->cursor, &err), &err);
}

static uint64_t read_grpc(Watcher *w, Str bytes)
{
    Err err = {0};
    Str body = str_slice(bytes, 5, bytes.len);
    Ambient__V1__SessionMessage *m =
        (void *)pb_unpack_checked(&ambient__v1__session_message__descriptor, body, &err);
    if (!m)
        fail_msg("%s", err.msg);
    uint64_t seq = (uint64_t)m->seq;
    assert_string_equal(m->session_id, w->session);
    free(w->payload);
    w->payload = xstrdup(m->payload);
    pb_free(m);
    return seq;
}

static uint64_t read_sse(Watcher *w, Str bytes)
{
    uint64_t seq = 0;
    Str rest = bytes;
    Str line = str_cut(&rest, '\n');
    assert_true(str_starts(line, STR("id: ")));
    assert_int_equal(str_to_u64(str_slice(line, 4, line.len), &seq), 0);
    line = str_cut(&rest, '\n');
    assert_true(str_starts(line, STR("data: {")));
    assert_true(str_eq(rest, STR("\n")));
    CLEANUP_JSON json_t *j = NULL;
    assert_int_equal(json_parse(str_slice(line, 6, line.len), &j, NULL), 0);
    assert_int_equal(json_get_int(j, "seq", 0), (int64_t)seq);
    assert_string_equal(json_get_str(j, "session_id"), w->session);
    free(w->payload);
    w->payload = xstrdup(json_get_str(j, "payload"));
    return seq;
}

/* At most n frames; each the one that follows. */
static size_t pull(Watcher *w, size_t n)
{
    size_t got = 0;
    GrpcFrame *frame;
    while (got < n && (frame = cursor_next(w->cursor))) {
        Str bytes = grpc_frame_bytes(frame);
        uint64_t seq = w->enc == HUB_SSE ? read_sse(w, bytes) : read_grpc(w, bytes);
        assert_int_equal(seq, w->seq + 1);
        assert_int_equal(cursor_seq(w->cursor), seq);
        w->seq = seq;
        grpc_frame_unref(frame);
        got++;
    }
    if (got < n)
        w->ready = false;
    return got;
}

/* Reads as a transport does that waits for on_ready, until it has `seq`. */
static void pull_until(Watcher *w, uint64_t seq)
{
    while (w->seq < seq) {
        if (w->ready)
            pull(w, SIZE_MAX);
        if (w->seq < seq)
            turn(w->f);
        assert_int_equal(w->ended, ERR_OK);
    }
}

static void unwatch(Watcher *w)
{
    w->cursor = cursor_close(w->cursor);
    free(w->payload);
    w->payload = NULL;
}

/* ---- tests ---- */

static void test_messages__stored_then_live(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    for (int i = 0; i < 5; i++)
        push(f, s, "stored");
    Watcher w = {0};
    watch(f, &w, s, 2, HUB_GRPC);
    pull_until(&w, 5);
    assert_string_equal(w.payload, "stored");
    assert_int_equal(pull(&w, 1), 0);
    push(f, s, "live \"<\xe2\x82\xac>\"");
    pull_until(&w, 6);
    assert_string_equal(w.payload, "live \"<\xe2\x82\xac>\"");
    Watcher sse = {0};
    watch(f, &sse, s, 0, HUB_SSE);
    pull_until(&sse, 6);
    assert_string_equal(sse.payload, w.payload);
    assert_int_equal(hub_stats(f->hub).message_watchers, 2);
    unwatch(&w);
    unwatch(&sse);
    assert_int_equal(hub_stats(f->hub).message_watchers, 0);
    assert_int_equal(hub_stats(f->hub).tail_bytes, 0);
}

/* The first thing a transport does may be to wait. */
static void test_messages__a_new_cursor_is_called(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    Watcher w = {0};
    watch(f, &w, s, 0, HUB_GRPC);
    for (int i = 0; i < 3; i++)
        turn(f);
    assert_int_equal(w.readies, 0); /* there is nothing yet */
    push(f, s, "x");
    pull_until(&w, 1);
    assert_int_equal(w.readies, 1);
    /* What it does not read calls it no second time. */
    assert_int_equal(pull(&w, 1), 0);
    push(f, s, "x");
    push(f, s, "x");
    push(f, s, "x");
    turn(f);
    assert_int_equal(w.readies, 2);
    pull_until(&w, 4);
    unwatch(&w);
}

/* Many watchers that read at random, stop for a while, leave and come back, while others push. The cache is
 * too small for all of them. */
static void test_messages__each_once_in_order(void **state)
{
    enum { WATCHERS = 40, SESSIONS = 3, PUSHES = 2000 };
    Fixture *f = *state;
    uint64_t seed = 3;
    uint64_t pushed[SESSIONS] = {0};
    char *sessions[SESSIONS];
    Watcher w[WATCHERS] = {0};
    unsigned stalled[WATCHERS] = {0};
    f->options.page_rows = 7;
    f->options.page_bytes = 1024;
    f->options.tail_bytes = 1;
    fixture_new_hub(f);
    for (int i = 0; i < SESSIONS; i++)
        sessions[i] = new_session(f, "s", NULL);
    for (int i = 0; i < WATCHERS; i++)
        watch(f, &w[i], sessions[i % SESSIONS], 0, i % 2 ? HUB_SSE : HUB_GRPC);
    size_t left = WATCHERS;
    int n = 0;
    while (left) {
        for (int i = 0; i < 20 && n < PUSHES && f->pushing < 64; i++, n++) {
            int s = (int)(test_random(&seed) % SESSIONS);
            pushed[s]++;
            push_later(f, sessions[s], "some text that is longer than nothing");
        }
        turn(f);
        left = 0;
        for (int i = 0; i < WATCHERS; i++) {
            assert_int_equal(w[i].ended, ERR_OK);
            if (stalled[i]) {
                stalled[i]--;
            } else if (test_random(&seed) % 40 == 0) {
                stalled[i] = test_random(&seed) % 30;
            } else if (test_random(&seed) % 50 == 0) {
                cursor_close(w[i].cursor);
                watch(f, &w[i], w[i].session, w[i].seq, test_random(&seed) % 2 ? HUB_SSE : HUB_GRPC);
            } else if (w[i].ready) {
                pull(&w[i], 1 + test_random(&seed) % 30);
            }
            left += n < PUSHES || w[i].seq < pushed[i % SESSIONS];
        }
        assert_true(hub_stats(f->hub).tail_bytes <= 16 * 1024 + 4096);
    }
    for (int i = 0; i < WATCHERS; i++)
        unwatch(&w[i]);
    for (int i = 0; i < SESSIONS; i++)
        free(sessions[i]);
}

static void test_messages__encoded_once(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    Watcher a = {0};
    Watcher b = {0};
    watch(f, &a, s, 0, HUB_GRPC);
    watch(f, &b, s, 0, HUB_GRPC);
    push(f, s, "x");
    while (!a.ready || !b.ready)
        turn(f);
    GrpcFrame *x = cursor_next(a.cursor);
    GrpcFrame *y = cursor_next(b.cursor);
    assert_non_null(x);
    assert_ptr_equal(x, y);
    grpc_frame_unref(x);
    grpc_frame_unref(y);
    unwatch(&a);
    unwatch(&b);
}

static void test_messages__too_large_for_grpc(void **state)
{
    enum { LEN = 4194304 };
    char *big = xmalloc(LEN + 1);
    memset(big, 'x', LEN);
    big[LEN] = '\0';
    Message m = {
        .id = "1", .seq = 7, .session_id = STR("s"), .event_type = STR("user"), .payload = {big, LEN}};
    Watcher w = {.session = "s"};
    GrpcFrame *f = encode_message(&m, HUB_GRPC);
    assert_true(grpc_frame_bytes(f).len < 300);
    assert_int_equal(read_grpc(&w, grpc_frame_bytes(f)), 7);
    assert_non_null(strstr(w.payload, "4194304 bytes"));
    grpc_frame_unref(f);

    m.payload.len = MESSAGE_PAYLOAD_MAX;
    big[MESSAGE_PAYLOAD_MAX] = '\0';
    f = encode_message(&m, HUB_GRPC);
    assert_true(grpc_frame_bytes(f).len > MESSAGE_PAYLOAD_MAX && grpc_frame_bytes(f).len - 5 <= LEN);
    grpc_frame_unref(f);
    free(w.payload);
    free(big);
}

static void test_messages__deletion_ends_behind_the_last_one(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    Watcher at_end = {0};
    Watcher slow = {0};
    Watcher late = {0};
    for (int i = 0; i < 300; i++)
        push_later(f, s, "x");
    while (f->pushing)
        turn(f);
    watch(f, &at_end, s, 0, HUB_GRPC);
    watch(f, &slow, s, 0, HUB_GRPC);
    pull_until(&at_end, 300);
    assert_int_equal(pull(&at_end, 1), 0);
    while (!slow.ready)
        turn(f);
    assert_int_equal(pull(&slow, 10), 10);
    delete_object(f, &kind_session, s);
    while (!at_end.ended)
        turn(f);
    assert_int_equal(at_end.ended, ERR_NOT_FOUND);
    assert_int_equal(slow.ended, ERR_OK);
    while (!slow.ended) { /* reads on, page after page, to the end */
        if (slow.ready)
            pull(&slow, SIZE_MAX);
        turn(f);
    }
    assert_int_equal(slow.seq, 300);
    assert_int_equal(slow.ended, ERR_NOT_FOUND);
    assert_null(cursor_next(slow.cursor));

    watch(f, &late, s, 299, HUB_GRPC);
    while (!late.ended) {
        if (late.ready)
            pull(&late, SIZE_MAX);
        turn(f);
    }
    assert_int_equal(late.seq, 300);
    unwatch(&at_end);
    unwatch(&slow);
    unwatch(&late);
}

static void test_messages__shutdown_ends_all(void **state)
{
    enum { N = 700 }; /* more than one turn's budget */
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    push(f, s, "x");
    Watcher *w = xcalloc(N, sizeof(*w));
    for (int i = 0; i < N; i++) {
        watch(f, &w[i], s, i % 2, HUB_GRPC);
        w[i].close_when_called = i % 3 == 0;
    }
    for (int i = 0; i < N; i++) {
        if (i % 5 == 0 && w[i].cursor)
            pull(&w[i], 1);
    }
    hub_shutdown(f->hub);
    for (int i = 0; i < N; i++) {
        while (!w[i].ended && w[i].cursor)
            turn(f);
        if (!w[i].close_when_called)
            assert_int_equal(w[i].ended, ERR_UNAVAILABLE);
        unwatch(&w[i]);
    }
    free(w);
    Cursor *c = NULL;
    assert_int_equal(cursor_open(f->hub, str_from(s), 0, HUB_GRPC, &ops, NULL, &c, &err), -ERR_UNAVAILABLE);
    assert_string_equal(err.msg, "server is shutting down");
}

static void test_messages__closing_inside_the_callback(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    Watcher w[10] = {0};
    for (int i = 0; i < 10; i++) {
        watch(f, &w[i], s, 0, HUB_GRPC);
        w[i].close_when_called = i % 2;
    }
    push(f, s, "x");
    for (int i = 0; i < 10; i++) {
        while (!w[i].ready)
            turn(f);
        if (!w[i].close_when_called)
            pull_until(&w[i], 1);
        unwatch(&w[i]);
    }
}

static void test_messages__a_cursor_beyond_the_end_waits(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    Watcher ahead = {0};
    Watcher normal = {0};
    push(f, s, "1");
    watch(f, &ahead, s, 3, HUB_GRPC);
    watch(f, &normal, s, 0, HUB_GRPC);
    pull_until(&normal, 1);
    for (int i = 2; i <= 5; i++)
        push(f, s, "x");
    pull_until(&ahead, 5);
    pull_until(&normal, 5);
    unwatch(&ahead);
    unwatch(&normal);
}

static int push_elsewhere(Tx *tx, void *arg, Err *err)
{
    const MessageIn in = {str_from(arg), STR("user"), STR("x"), STR("service"), STR_NULL, STR_NULL, NULL};
    Message *m = NULL;
    int rc = tx_message_append(tx, &in, &m, err);
    message_unref(m);
    return rc;
}

/* Another process on the same database: its commits are not told to us. */
static void test_messages__the_periodic_look_finds_what_nobody_told(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    f->options.poll_interval = 30 * USEC_PER_MSEC;
    fixture_new_hub(f);
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    Watcher w = {0};
    watch(f, &w, s, 0, HUB_GRPC);
    push(f, s, "ours");
    pull_until(&w, 1);
    assert_int_equal(pull(&w, 1), 0);
    Store *other = NULL;
    StoreOptions o = {.url = f->url};
    assert_ok(store_open(f->loop, &o, &other, &err), &err);
    for (int i = 0; i < 3; i++)
        assert_ok(store_submit(other, STORE_WRITE, push_elsewhere, NULL, s, &err), &err);
    pull_until(&w, 4);
    push(f, s, "ours");
    pull_until(&w, 5);
    store_close(other);
    unwatch(&w);
}

/* One watcher waits at the end; the page that another one reads is the first that tells of a new one. */
static void test_messages__a_page_that_tells_of_a_new_end_wakes_who_waits(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    Watcher first = {0};
    Watcher second = {0};
    push(f, s, "ours"); /* nobody watches: not in memory */
    watch(f, &first, s, 1, HUB_GRPC);
    while (hub_stats(f->hub).store_reads == 0 || !list_empty(&first.cursor->log->behind))
        turn(f); /* until a page has told where the log ends */
    assert_int_equal(pull(&first, 1), 0);
    Store *other = NULL;
    StoreOptions o = {.url = f->url};
    assert_ok(store_open(f->loop, &o, &other, &err), &err);
    assert_ok(store_submit(other, STORE_WRITE, push_elsewhere, NULL, s, &err), &err);
    store_close(other);
    watch(f, &second, s, 0, HUB_GRPC);
    pull_until(&second, 2);
    pull_until(&first, 2);
    unwatch(&first);
    unwatch(&second);
}

/* Told, not judged: the machine decides how much a malloc costs. */
static void test_messages__ten_thousand_watchers(void **state)
{
    enum { N = 10000 };
    Fixture *f = *state;
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    assert_true(sizeof(Cursor) <= 200);
    Watcher *w = xcalloc(N, sizeof(*w));
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < N; i++)
        watch(f, &w[i], s, 0, HUB_GRPC);
    printf("hub: %zu bytes per watcher of one session (struct %zu)\n", (mallinfo2().uordblks - before) / N,
           sizeof(Cursor));
    for (int i = 1; i <= 3; i++)
        push(f, s, "to all");
    for (int i = 0; i < N; i++)
        pull_until(&w[i], 3);
    assert_true(hub_stats(f->hub).frames_sent == 3 * N);
    for (int i = 0; i < N; i++)
        unwatch(&w[i]);

    /* Each in a log of its own. */
    char id[32];
    before = mallinfo2().uordblks;
    for (int i = 0; i < N; i++) {
        (void)snprintf(id, sizeof(id), "%027d", i);
        watch(f, &w[i], id, 0, HUB_GRPC);
    }
    printf("hub: %zu bytes per watcher of its own session\n", (mallinfo2().uordblks - before) / N);
    for (int i = 0; i < N; i++) { /* none of these sessions exists */
        while (!w[i].ended)
            turn(f);
        assert_int_equal(w[i].ended, ERR_NOT_FOUND);
        unwatch(&w[i]);
    }
    free(w);
}

/* Streams that outlive the hub's owner find nothing and hurt nobody. */
static void test_messages__cursors_may_be_closed_after_the_hub(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *s = new_session(f, "s", NULL);
    push(f, s, "x");
    Watcher w = {0};
    Watcher v = {0};
    watch(f, &w, s, 0, HUB_GRPC);
    watch(f, &v, s, 1, HUB_GRPC);
    pull_until(&w, 1);
    f->hub = hub_free(f->hub);
    turn(f);
    assert_null(cursor_next(w.cursor));
    unwatch(&w);
    unwatch(&v);
}

int run_message_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_messages__stored_then_live),
        TEST(test_messages__a_new_cursor_is_called),
        TEST(test_messages__each_once_in_order),
        TEST(test_messages__encoded_once),
        TEST(test_messages__too_large_for_grpc),
        TEST(test_messages__deletion_ends_behind_the_last_one),
        TEST(test_messages__shutdown_ends_all),
        TEST(test_messages__closing_inside_the_callback),
        TEST(test_messages__a_cursor_beyond_the_end_waits),
        TEST(test_messages__the_periodic_look_finds_what_nobody_told),
        TEST(test_messages__a_page_that_tells_of_a_new_end_wakes_who_waits),
        TEST(test_messages__ten_thousand_watchers),
        TEST(test_messages__cursors_may_be_closed_after_the_hub),
    };
    return cmocka_run_group_tests_name("hub messages", tests, NULL, NULL);
}
