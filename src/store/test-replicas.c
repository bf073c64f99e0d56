/*
 * Several stores on one database, as several servers have it: numbers without gaps, events that no reader can
 * skip, news of what others commit, and a server that dies under them.
 */
#include "test-support.h"

#include "base/mem.h"
#include "base/vec.h"
#include "store-internal.h"

enum { REPLICAS = 3, IN_FLIGHT = 8, PUSHES = 600 };

typedef struct Replica Replica;

typedef struct Pusher {
    Replica *r;
    Message *out;
    int left;
} Pusher;

struct Replica {
    Fixture *f;
    Store *store;
    Pusher pushers[IN_FLIGHT];
    unsigned news;
};

typedef struct World {
    Fixture *f;
    char *session;
    Replica replicas[REPLICAS];
    unsigned running; /* pushers */
    uint64_t pushed, events_seen, after;
    bool reading;
} World;

static World world; /* of the one test that runs */

static void open_replica(Replica *r, Fixture *f)
{
    Err err = {0};
    r->f = f;
    assert_ok(store_open(f->loop, &f->options, &r->store, &err), &err);
}

static void setup_world(Fixture *f)
{
    world = (World){.f = f, .session = new_session(f, "s")};
    for (int i = 0; i < REPLICAS; i++)
        open_replica(&world.replicas[i], f);
}

static void teardown_world(void)
{
    for (int i = 0; i < REPLICAS; i++)
        store_close(world.replicas[i].store);
    free(world.session);
}

/* ---- pushing ---- */

static int push_job(Tx *tx, void *arg, Err *err)
{
    Pusher *p = arg;
    const MessageIn in = {
        str_from(world.session), STR("user"), STR("some text"), STR("service"), STR_NULL, STR_NULL, NULL};
    /* An object, too: it has an event. */
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    obj_set_str(o, SESSION_NAME, STR("other"));
    int rc = p->left % 4 ? 0 : tx_insert(tx, o, err);
    return rc < 0 ? rc : tx_message_append(tx, &in, &p->out, err);
}

static void push_next(Pusher *p);

static void push_done(void *arg, int rc, const Err *err)
{
    Pusher *p = arg;
    if (rc < 0)
        fail_msg("%s", err->msg);
    world.pushed++;
    p->out = message_unref(p->out);
    push_next(p);
}

static void push_next(Pusher *p)
{
    if (p->left-- == 0)
        world.running--;
    else
        assert_int_equal(store_submit(p->r->store, STORE_WRITE, push_job, push_done, p, NULL), 0);
}

static void start_pushers(int each)
{
    for (int i = 0; i < REPLICAS * IN_FLIGHT; i++) {
        Replica *r = &world.replicas[i % REPLICAS];
        Pusher *p = &r->pushers[i / REPLICAS];
        *p = (Pusher){.r = r, .left = each};
        world.running++;
        push_next(p);
    }
}

/* ---- a reader that goes on from the last version it saw ---- */

static int count_event(void *arg, const Event *ev)
{
    assert_true(ev->version > world.after);
    world.after = ev->version;
    world.events_seen++;
    return 0;
}

static int read_events(Tx *tx, void *arg, Err *err)
{
    return tx_events_read(tx, world.after, 1000, count_event, NULL, err);
}

static void read_done(void *arg, int rc, const Err *err)
{
    assert_int_equal(rc, 0);
    world.reading = false;
}

static void read_on(int i)
{
    if (world.reading)
        return;
    world.reading = true;
    assert_int_equal(
        store_submit(world.replicas[i % REPLICAS].store, STORE_READ, read_events, read_done, NULL, NULL), 0);
}

static void finish_reading(void)
{
    uint64_t before;
    do {
        while (world.reading)
            loop_run_once(world.f->loop, true);
        before = world.events_seen;
        read_on(0);
        while (world.reading)
            loop_run_once(world.f->loop, true);
    } while (world.events_seen != before);
}

static void fail_verify(void *arg, Str session, uint64_t seq, const char *why)
{
    fail_msg("session " STR_FMT ": message %lu: %s", STR_ARG(session), (unsigned long)seq, why);
}

static void test_replicas__no_gap_that_a_reader_could_skip(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    setup_world(f);
    start_pushers(PUSHES / (REPLICAS * IN_FLIGHT));
    for (int i = 0; world.running; i++) {
        read_on(i);
        loop_run_once(f->loop, true);
    }
    finish_reading();
    uint64_t rows = 0;
    assert_ok(store_verify(&f->options, STR_NULL, fail_verify, NULL, &rows, &err), &err);
    assert_int_equal(rows, world.pushed);
    /* Every fourth push made an object, and new_session() one. */
    uint64_t each = PUSHES / (REPLICAS * IN_FLIGHT);
    assert_int_equal(world.events_seen, 1 + REPLICAS * IN_FLIGHT * ((each - 1) / 4 + 1));
    teardown_world();
}

/* ---- news ---- */

static void count_news(void *arg)
{
    ((Replica *)arg)->news++;
}

static void wait_for_news(Replica *r, unsigned before)
{
    while (r->news == before)
        loop_run_once(r->f->loop, true);
}

static void test_replicas__hear_of_each_others_commits(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    setup_world(f);
    for (int i = 0; i < REPLICAS; i++)
        store_set_news(world.replicas[i].store, count_news, &world.replicas[i]);
    for (int i = 0; i < REPLICAS; i++)
        wait_for_news(&world.replicas[i], 0); /* listening begins with one */
    Replica *r = &world.replicas[1];
    unsigned before = r->news;
    assert_ok(push(f, world.session, "hello", "", NULL, &err), &err);
    wait_for_news(r, before);

    /* A connection that is cut: made again, and told as news. */
    before = r->news;
    change_store(f, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                    " AND datname = current_database()");
    wait_for_news(r, before);
    teardown_world();
}

/* What was cut off is refused as unavailable, nothing is half, and the next tries go well by themselves. */
static void test_replicas__a_lost_connection_is_made_again(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *s = new_session(f, "s");
    uint64_t acked = 0;
    for (int round = 0; round < 5; round++) {
        change_store(f, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                        " AND datname = current_database()");
        int rc = push(f, s, "some text", "", NULL, &err);
        acked += rc == 0;
        if (rc < 0)
            assert_int_equal(rc, -ERR_UNAVAILABLE);
        while (rc < 0) { /* the pauses between connects are short */
            rc = push(f, s, "some text", "", NULL, &err);
            acked += rc == 0;
        }
        assert_true(store_healthy(f->store, &err));
        for (int i = 0; i < 3; i++) {
            Obj *o = get_object(f, &kind_session, s);
            obj_free(o);
        }
    }
    uint64_t rows = 0;
    assert_ok(store_verify(&f->options, STR_NULL, fail_verify, NULL, &rows, &err), &err);
    assert_int_equal(rows, acked);
}

int run_replica_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_replicas__no_gap_that_a_reader_could_skip),
        TEST(test_replicas__hear_of_each_others_commits),
        TEST(test_replicas__a_lost_connection_is_made_again),
    };
    return cmocka_run_group_tests_name("store replicas", tests, NULL, NULL);
}
