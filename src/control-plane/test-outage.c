/* Thousands of sessions through an hour without the server, on a fake clock: what is asked for is counted. */
#include "test-fake.h"

#include "session.h"

#define HOUR (3600 * USEC_PER_SEC)
/* Longest backoff, with its jitter. */
#define LAST_RETRY (36 * USEC_PER_SEC)

typedef struct Many {
    Fake f;
    Cache *cache;
    Sessions *s;
    unsigned n, most; /* most attempts within a second */
} Many;

static void on_change(void *arg, const char *id)
{
    Many *m = arg;
    if (m->s)
        sessions_add(m->s, id);
}

static void on_relist(void *arg)
{
}

static double part(void *arg)
{
    return (double)fake_random(&((Many *)arg)->f) / ((double)UINT32_MAX + 1);
}

static void begin(Many *m)
{
    static const int drop[] = {SESSION_PROMPT, -1};
    const CacheOptions co = {.kind = &kind_session, .clock = &m->f.clock.clock, .drop = drop};
    m->cache = cache_new(&co);
    const SessionsOptions o = {
        .api = &m->f.api,
        .runtime = &m->f.runtime,
        .cache = m->cache,
        .clock = &m->f.clock.clock,
        .place = "local",
        .workers = 16,
        .relist = on_relist,
        .random = part,
        .arg = m,
    };
    m->s = sessions_new(&o);
}

static void end(Many *m)
{
    m->s = sessions_free(m->s);
    m->cache = cache_free(m->cache);
}

static void list(Many *m)
{
    cache_list_begin(m->cache);
    MAP_FOREACH (m->f.sessions, it) {
        cache_put(m->cache, obj_dup(it.value));
        sessions_add(m->s, it.key.ptr);
    }
    cache_list_end(m->cache, true, NULL, NULL);
    sessions_listed(m->s);
}

static void settle(Many *m)
{
    for (;;) {
        if (wq_next(sessions_queue(m->s)) <= clock_now(&m->f.clock.clock))
            wq_turn(sessions_queue(m->s));
        else if (!fake_step(&m->f))
            return;
    }
}

static void pass_time(Many *m, Usec time)
{
    m->most = 0;
    for (Usec t = 0; t < time; t += USEC_PER_SEC) {
        unsigned before = m->f.attempts;
        fake_clock_advance(&m->f.clock, USEC_PER_SEC);
        settle(m);
        m->most = m->f.attempts - before > m->most ? m->f.attempts - before : m->most;
    }
}

static void name(unsigned i, char out[static 32])
{
    snprintf(out, 32, "sess-%05u", i);
}

static void create_all(Many *m, unsigned n)
{
    char id[32];
    *m = (Many){.n = n};
    fake_init(&m->f);
    m->f.runtime.on_change = on_change;
    m->f.runtime.on_change_arg = m;
    for (unsigned i = 0; i < n; i++) {
        name(i, id);
        fake_create(&m->f, id, PHASE_PENDING);
    }
    begin(m);
}

static unsigned count(Many *m, Phase phase)
{
    unsigned n = 0;
    MAP_FOREACH (m->f.sessions, it)
        n += obj_phase(it.value) == phase;
    return n;
}

static void run_all(Many *m)
{
    char id[32];
    list(m);
    settle(m);
    for (unsigned i = 0; i < m->n; i++) {
        name(i, id);
        fake_ready(&m->f, id);
    }
    settle(m);
    assert_int_equal(count(m, PHASE_RUNNING), m->n);
}

static void many_done(Many *m)
{
    end(m);
    fake_done(&m->f);
}
#define CLEANUP_MANY CLEANUP(many_done)

static void test_outage__a_restart_asks_for_nothing_and_writes_nothing(void **state)
{
    CLEANUP_MANY Many m;
    create_all(&m, 10000);
    run_all(&m);
    end(&m);
    m.f.attempts = 0;
    begin(&m);
    list(&m);
    settle(&m);
    pass_time(&m, 60 * USEC_PER_SEC);
    assert_int_equal(m.f.attempts, 0);
    assert_int_equal(m.f.starts, m.n);
    assert_int_equal(m.f.stops + m.f.removes, 0);
}

/* Everything ends while the server is away: it is asked now and then, evenly, and hears of all of it when it
   is back. */
static void test_outage__an_hour_without_the_server(void **state)
{
    CLEANUP_MANY Many m;
    char id[32];
    create_all(&m, 1000);
    run_all(&m);
    m.f.fail_get = m.f.fail_patch = ERR_UNAVAILABLE;
    for (unsigned i = 0; i < m.n; i++) {
        name(i, id);
        fake_end(&m.f, id, RT_END_EXIT, 0);
    }
    pass_time(&m, HOUR - 600 * USEC_PER_SEC);
    unsigned before = m.f.attempts;
    pass_time(&m, 600 * USEC_PER_SEC);
    assert_true(m.f.attempts - before <= m.n * 600 / 24); /* none comes again in less than 24 s */
    assert_true(m.most <= m.n / 5);
    m.f.fail_get = m.f.fail_patch = ERR_OK;
    before = m.f.patches;
    pass_time(&m, LAST_RETRY + USEC_PER_SEC);
    assert_int_equal(count(&m, PHASE_COMPLETED), m.n);
    assert_true(m.most <= m.n / 5);
    assert_int_equal(m.f.patches - before, m.n);
    assert_int_equal(m.f.starts, m.n);
    assert_int_equal(m.f.removes, 0);
}

/* What cannot start, for want of a namespace, say, costs the server nothing. */
static void test_outage__a_crowd_that_cannot_start_asks_for_nothing(void **state)
{
    CLEANUP_MANY Many m;
    create_all(&m, 1000);
    m.f.closed = true;
    list(&m);
    settle(&m);
    pass_time(&m, 600 * USEC_PER_SEC);
    assert_int_equal(m.f.attempts, 0);
    assert_int_equal(count(&m, PHASE_PENDING), m.n);
    m.f.closed = false;
    pass_time(&m, 3 * USEC_PER_SEC);
    assert_int_equal(count(&m, PHASE_CREATING), m.n);
    assert_int_equal(m.f.starts, m.n);
}

int run_outage_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outage__a_restart_asks_for_nothing_and_writes_nothing),
        cmocka_unit_test(test_outage__an_hour_without_the_server),
        cmocka_unit_test(test_outage__a_crowd_that_cannot_start_asks_for_nothing),
    };
    return cmocka_run_group_tests_name("outage", tests, NULL, NULL);
}
