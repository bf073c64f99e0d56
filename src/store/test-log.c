#include "test-support.h"

#include "base/vec.h"
#include "crypto/crypto.h"

typedef VEC_OF(Message *)
Messages;

static void messages_done(Messages *v)
{
    VEC_FOREACH (v, m)
        message_unref(*m);
    vec_free(v);
}

typedef struct Read {
    const char *session;
    uint64_t after;
    size_t max_rows, max_bytes;
    Messages out;
} Read;

static int keep_message(void *arg, Message *m)
{
    Messages *v = arg;
    vec_push(v, message_ref(m));
    return 0;
}

static int read_job(Tx *tx, void *arg, Err *err)
{
    Read *r = arg;
    return tx_messages_read(tx, str_from(r->session), r->after, r->max_rows, r->max_bytes, keep_message,
                            &r->out, err);
}

static void read_all(Fixture *f, const char *session, Messages *out)
{
    Err err = {0};
    Read r = {.session = session, .max_rows = SIZE_MAX, .max_bytes = SIZE_MAX};
    assert_ok(run_job(f, STORE_READ, read_job, &r, &err), &err);
    *out = r.out;
}

static void test_log__seq_counts_from_one_in_each_session(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *a = new_session(f, "a");
    CLEANUP_FREE char *b = new_session(f, "b");
    for (uint64_t i = 1; i <= 5; i++) {
        Message *m = NULL;
        assert_ok(push(f, a, "to a", "", &m, &err), &err);
        assert_int_equal(m->seq, i);
        message_unref(m);
        assert_ok(push(f, b, "to b", "", &m, &err), &err);
        assert_int_equal(m->seq, i);
        assert_str_equal(m->payload, "to b");
        assert_str_equal(m->actor, "user:test");
        assert_int_equal(m->turn.len, 0);
        assert_int_equal(m->created_at.us, f->clock.wall_us.us);
        message_unref(m);
    }
}

typedef struct Append {
    MessageIn in;
    Message *out;
} Append;

static int append_job(Tx *tx, void *arg, Err *err)
{
    Append *a = arg;
    return tx_message_append(tx, &a->in, &a->out, err);
}

static void test_log__bad_input_is_refused(void **state)
{
    Fixture *f = *state;
    CLEANUP_FREE char *s = new_session(f, "s");
    CLEANUP_FREE char *dead = new_session(f, "dead");
    delete_object(f, &kind_session, dead);
    char long_type[257];
    memset(long_type, 'x', 256);
    long_type[256] = '\0';
    const struct {
        const char *session;
        Str type, payload;
        ErrCode code;
    } cases[] = {
        {s, STR(""), STR("x"), ERR_INVALID},
        {s, str_from(long_type), STR("x"), ERR_INVALID},
        {s, STR("a\nb"), STR("x"), ERR_INVALID},
        {s, STR("a\x7f"), STR("x"), ERR_INVALID},
        {s, STR("user"), STR("\xff"), ERR_INVALID},
        {s, STR("user"), STR("a\0b"), ERR_INVALID},
        {"nobody", STR("user"), STR("x"), ERR_NOT_FOUND},
        {dead, STR("user"), STR("x"), ERR_NOT_FOUND},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Append a = {.in = {str_from(cases[i].session), cases[i].type, cases[i].payload, STR("service"),
                           STR_NULL, STR_NULL, NULL}};
        assert_int_equal(run_job(f, STORE_WRITE, append_job, &a, NULL), -(int)cases[i].code);
        assert_null(a.out);
    }
    CLEANUP(messages_done) Messages all = {0};
    read_all(f, s, &all);
    assert_int_equal(all.len, 0);
}

static void test_log__payloads_up_to_the_limit(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *s = new_session(f, "s");
    char *big = xmalloc(MESSAGE_PAYLOAD_MAX + 1);
    memset(big, 'x', MESSAGE_PAYLOAD_MAX + 1);
    Append a = {.in = {str_from(s),
                       STR("user"),
                       {big, MESSAGE_PAYLOAD_MAX + 1},
                       STR("service"),
                       STR_NULL,
                       STR_NULL,
                       NULL}};
    assert_int_equal(run_job(f, STORE_WRITE, append_job, &a, NULL), -ERR_TOO_LARGE);
    a.in.payload.len = MESSAGE_PAYLOAD_MAX;
    assert_ok(run_job(f, STORE_WRITE, append_job, &a, &err), &err);
    assert_int_equal(a.out->payload.len, MESSAGE_PAYLOAD_MAX);
    message_unref(a.out);
    free(big);
}

static void test_log__a_repeated_request_gets_the_first_answer(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *a = new_session(f, "a");
    CLEANUP_FREE char *b = new_session(f, "b");
    Message *first = NULL;
    Message *again = NULL;
    Message *other = NULL;
    assert_ok(push(f, a, "one", "r1", &first, &err), &err);
    assert_ok(push(f, a, "two", "r1", &again, &err), &err);
    assert_ok(push(f, b, "three", "r1", &other, &err), &err); /* a key belongs to its session */
    assert_int_equal(again->seq, 1);
    assert_string_equal(again->id, first->id);
    assert_str_equal(again->payload, "one");
    assert_memory_equal(again->hash, first->hash, sizeof(first->hash));
    assert_str_equal(other->payload, "three");
    message_unref(first);
    message_unref(again);
    message_unref(other);
    CLEANUP(messages_done) Messages all = {0};
    read_all(f, a, &all);
    assert_int_equal(all.len, 1);
}

static void test_log__pages_end_at_either_limit(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *s = new_session(f, "s");
    char payload[1001];
    memset(payload, 'x', 1000);
    payload[1000] = '\0';
    for (int i = 0; i < 10; i++)
        assert_ok(push(f, s, payload, "", NULL, &err), &err);
    const struct {
        uint64_t after;
        size_t rows, bytes, want;
    } cases[] = {
        {0, 4, SIZE_MAX, 4},          {8, 4, SIZE_MAX, 2}, {10, 4, SIZE_MAX, 0},
        {UINT64_MAX, 4, SIZE_MAX, 0}, {0, 100, 2500, 3},   {5, 100, 1, 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Read r = {s, cases[i].after, cases[i].rows, cases[i].bytes, {0}};
        assert_ok(run_job(f, STORE_READ, read_job, &r, &err), &err);
        assert_int_equal(r.out.len, cases[i].want);
        for (size_t j = 0; j < r.out.len; j++)
            assert_int_equal(r.out.ptr[j]->seq, cases[i].after + 1 + j);
        messages_done(&r.out);
    }
}

typedef struct News {
    uint64_t pos;
    size_t calls;
    uint64_t sum;
} News;

static int count_news(void *arg, Str session, uint64_t seq)
{
    News *n = arg;
    n->calls++;
    n->sum += seq;
    return 0;
}

static int news_job(Tx *tx, void *arg, Err *err)
{
    News *n = arg;
    return tx_message_news(tx, &n->pos, count_news, n, err);
}

static int position_job(Tx *tx, void *arg, Err *err)
{
    return tx_message_position(tx, arg, err);
}

static void test_log__news_are_told_per_session(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    News n = {0};
    CLEANUP_FREE char *a = new_session(f, "a");
    CLEANUP_FREE char *b = new_session(f, "b");
    for (int i = 0; i < 3; i++) {
        assert_ok(push(f, a, "x", "", NULL, &err), &err);
        assert_ok(push(f, b, "x", "", NULL, &err), &err);
    }
    assert_ok(run_job(f, STORE_READ, news_job, &n, &err), &err);
    assert_int_equal(n.calls, 2);
    assert_int_equal(n.sum, 6);
    uint64_t pos = 0;
    assert_ok(run_job(f, STORE_READ, position_job, &pos, &err), &err);
    assert_int_equal(n.pos, pos);
    assert_ok(run_job(f, STORE_READ, news_job, &n, &err), &err);
    assert_int_equal(n.calls, 2);
    assert_ok(push(f, b, "x", "", NULL, &err), &err);
    assert_ok(run_job(f, STORE_READ, news_job, &n, &err), &err);
    assert_int_equal(n.calls, 3);
    assert_int_equal(n.sum, 10);
}

/* ---- the chain ---- */

static void hash_bytes(Buf *b, Str s)
{
    for (int i = 7; i >= 0; i--)
        buf_addc(b, (char)(s.len >> (8 * i)));
    buf_adds(b, s);
}

static void hash_number(Buf *b, uint64_t v)
{
    for (int i = 7; i >= 0; i--)
        buf_addc(b, (char)(v >> (8 * i)));
}

/* As docs/internals/store.md says it, written a second time. */
static void test_log__the_hash_is_the_documented_one(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *s = new_session(f, "s");
    uint8_t prev[SHA256_LEN];
    CLEANUP_BUF Buf b = BUF_INIT(1 << 20);
    hash_bytes(&b, str_from(s));
    sha256(buf_str(&b), prev);
    for (int i = 0; i < 3; i++) {
        Append a = {.in = {str_from(s), STR("text"), STR("hello \xe2\x82\xac"), STR("service"), STR("turn-1"),
                           STR_NULL, NULL}};
        assert_ok(run_job(f, STORE_WRITE, append_job, &a, &err), &err);
        buf_clear(&b);
        buf_add(&b, prev, sizeof(prev));
        hash_bytes(&b, str_from(a.out->id));
        hash_number(&b, a.out->seq);
        hash_bytes(&b, a.out->event_type);
        hash_bytes(&b, a.out->payload);
        hash_number(&b, (uint64_t)a.out->created_at.us);
        hash_bytes(&b, a.out->actor);
        hash_bytes(&b, a.out->turn);
        sha256(buf_str(&b), prev);
        assert_memory_equal(prev, a.out->hash, sizeof(prev));
        message_unref(a.out);
    }
}

typedef struct Bad {
    int n;
    uint64_t seq;
    char session[64];
    char why[128];
} Bad;

static void note_bad(void *arg, Str session, uint64_t seq, const char *why)
{
    Bad *b = arg;
    b->n++;
    b->seq = seq;
    (void)snprintf(b->session, sizeof(b->session), STR_FMT, STR_ARG(session));
    (void)snprintf(b->why, sizeof(b->why), "%s", why);
}

static void test_log__verify_names_the_first_row_that_does_not_fit(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *a = new_session(f, "a");
    CLEANUP_FREE char *b = new_session(f, "b");
    for (int i = 0; i < 1500; i++) { /* more than one step */
        assert_ok(push(f, a, "x", "", NULL, &err), &err);
        if (i < 5)
            assert_ok(push(f, b, "x", "", NULL, &err), &err);
    }
    uint64_t rows = 0;
    Bad bad = {0};
    assert_ok(store_verify(&f->options, STR_NULL, note_bad, &bad, &rows, &err),
              &err); /* beside the open store */
    assert_int_equal(bad.n, 0);
    assert_int_equal(rows, 1505);
    fixture_close(f);

    const struct {
        const char *set;
        uint64_t seq;
    } cases[] = {
        {"payload = 'y'", 700},
        {"actor = 'user:mallory'", 700},
        {on_postgres() ? "created_at = created_at + interval '1 microsecond'" : "created_at = created_at + 1",
         700},
        {on_postgres() ? "hash = '\\x00'" : "hash = x'00'", 700},
        {"event_type = 'u', payload = 'serx'", 700},
    };
    change_store(f, "CREATE TABLE kept AS SELECT * FROM session_messages");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char sql[512];
        (void)snprintf(sql, sizeof(sql),
                       "UPDATE session_messages SET %s WHERE session_id = '%s' AND seq = 700", cases[i].set,
                       a);
        change_store(f, sql);
        bad = (Bad){0};
        assert_ok(store_verify(&f->options, STR_NULL, note_bad, &bad, &rows, &err), &err);
        assert_int_equal(bad.n, 1);
        assert_int_equal(bad.seq, cases[i].seq);
        assert_string_equal(bad.session, a);
        bad = (Bad){0};
        assert_ok(store_verify(&f->options, str_from(b), note_bad, &bad, &rows, &err), &err);
        assert_int_equal(bad.n, 0);
        assert_int_equal(rows, 5);
        change_store(f, "DELETE FROM session_messages; INSERT INTO session_messages SELECT * FROM kept");
    }
    char sql[512];
    (void)snprintf(sql, sizeof(sql), "DELETE FROM session_messages WHERE session_id = '%s' AND seq = 3", b);
    change_store(f, sql);
    bad = (Bad){0};
    assert_ok(store_verify(&f->options, str_from(b), note_bad, &bad, &rows, &err), &err);
    assert_int_equal(bad.n, 1);
    assert_int_equal(bad.seq, 4);
    assert_string_equal(bad.why, "a message before it is missing");
}

int run_log_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_log__seq_counts_from_one_in_each_session),
        TEST(test_log__bad_input_is_refused),
        TEST(test_log__payloads_up_to_the_limit),
        TEST(test_log__a_repeated_request_gets_the_first_answer),
        TEST(test_log__pages_end_at_either_limit),
        TEST(test_log__news_are_told_per_session),
        TEST(test_log__the_hash_is_the_documented_one),
        TEST(test_log__verify_names_the_first_row_that_does_not_fit),
    };
    return cmocka_run_group_tests_name("store log", tests, NULL, NULL);
}
