#include "test-support.h"

#include <pthread.h>
#include <semaphore.h>
#include "base/file.h"
#include "base/vec.h"

/* A job that holds its thread until it is told to go on. */
typedef struct Gate {
    sem_t entered, go;
    bool done;
} Gate;

static int gate_job(Tx *tx, void *arg, Err *err)
{
    Gate *g = arg;
    sem_post(&g->entered);
    while (sem_wait(&g->go) < 0)
        continue;
    return 0;
}

static void gate_done(void *arg, int rc, const Err *err)
{
    Gate *g = arg;
    g->done = true;
}

static void gate_close(Fixture *f, Gate *g)
{
    Err err = {0};
    *g = (Gate){.done = false};
    sem_init(&g->entered, 0, 0);
    sem_init(&g->go, 0, 0);
    assert_ok(store_submit(f->store, STORE_WRITE, gate_job, gate_done, g, &err), &err);
    while (sem_wait(&g->entered) < 0)
        continue;
}

static void gate_open(Gate *g)
{
    sem_post(&g->go);
}

/* ---- what a batch does ---- */

typedef struct Push {
    Fixture *f;
    MessageIn in;
    Message *out;
    bool fail; /* after the append */
    int rc;
    size_t *left;
    uint64_t *last_seq; /* newest seq that a completion has told of */
} Push;

static int push_job(Tx *tx, void *arg, Err *err)
{
    Push *p = arg;
    int rc = tx_message_append(tx, &p->in, &p->out, err);
    if (rc == 0 && p->fail)
        return err_set(err, ERR_INVALID, "changed my mind");
    return rc;
}

static void push_done(void *arg, int rc, const Err *err)
{
    Push *p = arg;
    p->rc = rc;
    if (rc == 0 && p->last_seq) {
        assert_true(p->out->seq > *p->last_seq); /* completions come in commit order */
        *p->last_seq = p->out->seq;
    }
    --*p->left;
}

typedef struct Heard {
    uint64_t last_seq;
    size_t commits, messages;
    uint64_t *completed;
} Heard;

static void listen(void *arg, const CommitNote *note)
{
    Heard *h = arg;
    h->commits++;
    for (size_t i = 0; i < note->n_messages; i++) {
        assert_int_equal(note->messages[i]->seq, h->last_seq + 1);
        h->last_seq = note->messages[i]->seq;
        assert_true(!h->completed || *h->completed < h->last_seq); /* nobody was told before */
    }
    h->messages += note->n_messages;
}

static void wait_left(Fixture *f, const size_t *left)
{
    while (*left)
        loop_run_once(f->loop, true);
}

static void test_batch__waiting_jobs_share_one_commit(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    enum { N = 100 };
    CLEANUP_FREE char *s = new_session(f, "s");
    uint64_t last = 0;
    Heard heard = {.completed = &last};
    store_set_listener(f->store, listen, &heard);
    StoreStats before = store_stats(f->store);
    Gate g;
    gate_close(f, &g);
    Push jobs[N] = {0};
    size_t left = N;
    for (int i = 0; i < N; i++) {
        jobs[i] = (Push){
            .in = {str_from(s), STR("user"), STR("x"), STR("service"), STR_NULL, STR_NULL, NULL},
            .left = &left,
            .last_seq = &last,
            .fail = i % 3 == 0,
        };
        assert_ok(store_submit(f->store, STORE_WRITE, push_job, push_done, &jobs[i], &err), &err);
    }
    assert_int_equal(store_stats(f->store).queue_len, N);
    gate_open(&g);
    wait_left(f, &left);
    uint64_t seq = 0;
    for (int i = 0; i < N; i++) {
        assert_int_equal(jobs[i].rc, jobs[i].fail ? -ERR_INVALID : 0);
        if (!jobs[i].fail)
            assert_int_equal(jobs[i].out->seq, ++seq); /* a job that failed left no gap */
        message_unref(jobs[i].out);
    }
    StoreStats after = store_stats(f->store);
    assert_int_equal(after.commits - before.commits, 1);
    assert_int_equal(after.jobs_done - before.jobs_done, N + 1 - 34);
    assert_int_equal(after.jobs_failed - before.jobs_failed, 34);
    assert_int_equal(after.batch_max, N + 1);
    assert_int_equal(heard.messages, 66);
    assert_int_equal(heard.commits, 1);
}

static void test_batch__readers_do_not_wait_for_the_writer(void **state)
{
    Fixture *f = *state;
    Gate g;
    CLEANUP_FREE char *s = new_session(f, "s");
    gate_close(f, &g);
    CLEANUP(obj_freep) Obj *o = get_object(f, &kind_session, s);
    assert_non_null(o);
    gate_open(&g);
    wait_for(f, &g.done);
}

static void note_done(void *arg, int rc, const Err *err)
{
    ++*(size_t *)arg;
}

static int nothing_job(Tx *tx, void *arg, Err *err)
{
    return 0;
}

static void test_batch__a_full_queue_refuses(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    f->options.queue_max = 3;
    fixture_reopen(f);
    Gate g;
    gate_close(f, &g);
    size_t done = 0;
    for (int i = 0; i < 3; i++)
        assert_ok(store_submit(f->store, STORE_WRITE, nothing_job, note_done, &done, &err), &err);
    assert_int_equal(store_submit(f->store, STORE_WRITE, nothing_job, note_done, &done, &err),
                     -ERR_OVERLOADED);
    gate_open(&g);
    while (done < 3)
        loop_run_once(f->loop, true);
    assert_ok(store_submit(f->store, STORE_WRITE, nothing_job, note_done, &done, &err), &err);
    while (done < 4)
        loop_run_once(f->loop, true);
}

static void test_batch__says_how_long_the_oldest_job_waits(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    size_t done = 0;
    Gate g;
    gate_close(f, &g);
    assert_int_equal(store_wait(f->store, STORE_WRITE), 0); /* the gate's own job does not wait: it runs */
    assert_ok(store_submit(f->store, STORE_WRITE, nothing_job, note_done, &done, &err), &err);
    Usec first = store_wait(f->store, STORE_WRITE), later = first;
    while (later == first)
        later = store_wait(f->store, STORE_WRITE);
    assert_true(later > first);
    gate_open(&g);
    while (done < 1)
        loop_run_once(f->loop, true);
    assert_int_equal(store_wait(f->store, STORE_WRITE), 0);
}

static void test_batch__closing_finishes_what_waits(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Gate g;
    gate_close(f, &g);
    size_t done = 0;
    for (int i = 0; i < 20; i++)
        assert_ok(
            store_submit(f->store, i % 2 ? STORE_WRITE : STORE_READ, nothing_job, note_done, &done, &err),
            &err);
    gate_open(&g);
    fixture_close(f);
    assert_int_equal(done, 20);
}

/* ---- many threads ---- */

enum { THREADS = 8, PER_THREAD = 200, SESSIONS = 3 };

typedef struct Submitter {
    Fixture *f;
    Push jobs[PER_THREAD];
    char requests[PER_THREAD][16];
    pthread_t thread;
} Submitter;

static void *submit_all(void *arg)
{
    Submitter *s = arg;
    for (int i = 0; i < PER_THREAD; i++)
        assert_int_equal(store_submit(s->f->store, STORE_WRITE, push_job, push_done, &s->jobs[i], NULL), 0);
    return NULL;
}

/* Every thread pushes to every session; each fourth push is the same request of all threads. */
static void test_batch__many_submitters_leave_no_gap_and_no_repetition(void **state)
{
    Fixture *f = *state;
    size_t left = THREADS * PER_THREAD;
    char *sessions[SESSIONS];
    for (int i = 0; i < SESSIONS; i++)
        sessions[i] = new_session(f, "s");
    Submitter *all = xcalloc(THREADS, sizeof(*all));
    for (int t = 0; t < THREADS; t++) {
        all[t].f = f;
        for (int i = 0; i < PER_THREAD; i++) {
            Push *p = &all[t].jobs[i];
            *p = (Push){.in = {str_from(sessions[i % SESSIONS]), STR("user"), STR("x"), STR("service"),
                               STR_NULL, STR_NULL, NULL},
                        .left = &left};
            if (i % 4 == 0) {
                (void)snprintf(all[t].requests[i], sizeof(all[t].requests[i]), "r%d", i);
                p->in.request_id = str_from(all[t].requests[i]);
            }
        }
        assert_int_equal(pthread_create(&all[t].thread, NULL, submit_all, &all[t]), 0);
    }
    wait_left(f, &left);
    for (int t = 0; t < THREADS; t++)
        pthread_join(all[t].thread, NULL);

    bool seen[SESSIONS][THREADS * PER_THREAD] = {0};
    size_t rows[SESSIONS] = {0};
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < PER_THREAD; i++) {
            Push *p = &all[t].jobs[i];
            assert_int_equal(p->rc, 0);
            bool repeated = seen[i % SESSIONS][p->out->seq];
            if (i % 4 == 0)
                assert_int_equal(p->out->seq, all[0].jobs[i].out->seq);
            else
                assert_false(repeated);
            rows[i % SESSIONS] += !repeated;
            seen[i % SESSIONS][p->out->seq] = true;
        }
    }
    for (int i = 0; i < SESSIONS; i++) {
        for (size_t seq = 1; seq <= rows[i]; seq++)
            assert_true(seen[i][seq]);
        free(sessions[i]);
    }
    for (int t = 0; t < THREADS; t++) {
        for (int i = 0; i < PER_THREAD; i++)
            message_unref(all[t].jobs[i].out);
    }
    free(all);
    StoreStats st = store_stats(f->store);
    assert_true(st.batch_max > 1 && st.commits < THREADS * PER_THREAD);
}

static void test_batch__a_completed_write_is_seen_by_the_next_read(void **state)
{
    Fixture *f = *state;
    for (int i = 0; i < 200; i++) {
        CLEANUP_FREE char *id = new_session(f, "s");
        CLEANUP(obj_freep) Obj *o = get_object(f, &kind_session, id);
        assert_non_null(o);
    }
}

static void test_batch__in_memory(void **state)
{
    Fixture *f = *state;
    if (on_postgres())
        return; /* about files */
    Err err = {0};
    f->options.url = "sqlite::memory:";
    fixture_reopen(f);
    CLEANUP_FREE char *id = new_session(f, "s");
    CLEANUP(obj_freep) Obj *o = get_object(f, &kind_session, id);
    assert_non_null(o);
    assert_ok(push(f, id, "x", "", NULL, &err), &err);
}

/* The log of changes is folded into the database while writes go on. */
static void test_batch__the_write_ahead_log_stays_small(void **state)
{
    Fixture *f = *state;
    if (on_postgres())
        return; /* about files */
    Err err = {0};
    CLEANUP_FREE char *s = new_session(f, "s");
    char *payload = xmalloc(200001);
    memset(payload, 'x', 200000);
    payload[200000] = '\0';
    for (int i = 0; i < 300; i++) /* 60 MB */
        assert_ok(push(f, s, payload, "", NULL, &err), &err);
    free(payload);
    CLEANUP_FREE char *path = fixture_path(f, "-wal");
    CLEANUP_BUF Buf wal = BUF_INIT((size_t)20 << 20);
    assert_ok(file_read(path, &wal, &err), &err);
}

int run_batch_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_batch__waiting_jobs_share_one_commit),
        TEST(test_batch__readers_do_not_wait_for_the_writer),
        TEST(test_batch__a_full_queue_refuses),
        TEST(test_batch__says_how_long_the_oldest_job_waits),
        TEST(test_batch__closing_finishes_what_waits),
        TEST(test_batch__many_submitters_leave_no_gap_and_no_repetition),
        TEST(test_batch__a_completed_write_is_seen_by_the_next_read),
        TEST(test_batch__in_memory),
        TEST(test_batch__the_write_ahead_log_stays_small),
    };
    return cmocka_run_group_tests_name("store batch", tests, NULL, NULL);
}
