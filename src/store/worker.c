/*
 * The threads. The writer takes all jobs that wait, runs each inside one transaction, commits once, and posts
 * the whole batch to the loop. A job that changes something does so in a savepoint of its own, which is
 * opened by its first change (tx_change) at the latest, so that it can fail alone. Readers run one job per
 * transaction.
 */
#include "store-internal.h"

#include "base/log.h"

#define BATCH_JOBS 512
#define BATCH_BYTES ((size_t)4 << 20)
#define CLOCK_BACK_MAX ((int64_t)3600 * (int64_t)USEC_PER_SEC)
#define IDLE_AFTER (2 * USEC_PER_SEC)

typedef struct Batch {
    Store *store;
    Job *jobs;
    Job **tail;
    size_t n, n_failed;
    MessageVec messages;
    uint64_t last_event;
} Batch;

int worker_open(Worker *w, Store *s, DbRole role, Err *err)
{
    w->store = s;
    w->sha = sha256_new();
    w->heads = map_new();
    const DbSource src = {s->location, s->password_file, s->self};
    return s->be->open(&src, role, &w->db, err);
}

static void drop_messages(Worker *w, size_t from)
{
    while (w->messages.len > from)
        message_unref(vec_pop(&w->messages));
}

void worker_close(Worker *w)
{
    drop_messages(w, 0);
    vec_free(&w->messages);
    if (w->db)
        w->db = w->db->be->close(w->db);
    w->sha = sha256_free(w->sha);
    if (w->heads)
        message_heads_forget(w->heads);
    w->heads = map_free(w->heads);
}

void store_set_sick(Store *s, const Err *why)
{
    pthread_mutex_lock(&s->lock);
    bool was_sick = s->sick.code != ERR_OK;
    s->sick = why ? *why : (Err){0};
    pthread_mutex_unlock(&s->lock);
    if (why && !was_sick)
        log_error("the store does not take writes", F_ERR(why));
    else if (!why && was_sick)
        log_info("the store takes writes again");
}

static void job_fail(Job *j, const Err *err)
{
    j->rc = -(int)err->code;
    j->err = *err;
}

/* When the clock was set back, the time of new rows stands still until it has caught up, so that what is made
 * later does not look older. Not for ever: a clock that was far ahead must not stay the truth. */
static WallUsec job_stamp(Store *s, int64_t now)
{
    int64_t newest = atomic_load(&s->newest);
    while (now > newest || newest - now > CLOCK_BACK_MAX) {
        if (atomic_compare_exchange_weak(&s->newest, &newest, now))
            return (WallUsec){now};
    }
    return (WallUsec){newest};
}

static int job_call(Worker *w, Job *j, bool writable, bool *ret_savepoint)
{
    WallUsec now = clock_wall(w->store->clock);
    Tx tx = {
        .w = w,
        .db = w->db,
        .sql = w->store->sql,
        .now = now,
        .stamp = job_stamp(w->store, now.us),
        .writable = writable,
    };
    /* Where a failing statement takes its transaction along, the job's part has its bounds from the start. */
    int rc = writable && w->store->be->is_shared ? tx_change(&tx, &j->err) : 0;
    if (rc == 0)
        rc = j->fn(&tx, j->arg, &j->err);
    *ret_savepoint = tx.in_savepoint;
    if (rc < 0 && !j->err.code)
        err_set(&j->err, ERR_INTERNAL, "store: a job failed without saying why");
    return rc;
}

/* ---- writing ---- */

/* Runs one job of the batch; what it did is undone when it fails. */
static void write_job(Worker *w, Job *j)
{
    const Backend *be = w->store->be;
    size_t messages = w->messages.len;
    uint64_t last_event = w->last_event;
    bool savepoint;
    j->rc = job_call(w, j, true, &savepoint);
    if (j->rc >= 0 && savepoint)
        j->rc = be->release(w->db, &j->err);
    if (j->rc >= 0)
        return;
    if (savepoint)
        be->rollback_to(w->db);
    drop_messages(w, messages);
    message_heads_forget(w->heads);
    w->last_event = last_event;
}

static void batch_add(Batch *b, Job *j)
{
    *b->tail = j;
    b->tail = &j->next;
    b->n++;
}

/* True when the transaction is still there, so that the next job may run in it. */
static bool batch_run(Worker *w, Batch *b, Job *j)
{
    while (j) {
        write_job(w, j);
        batch_add(b, j);
        if (!w->store->be->in_transaction(w->db))
            return false;
        bool more = b->n < BATCH_JOBS && w->bytes < BATCH_BYTES;
        j = more ? queue_try_pop(&w->store->writes) : NULL;
    }
    return true;
}

/* Nothing of the batch is stored: nobody is told otherwise. */
static void batch_fail(Worker *w, Batch *b, const Err *err)
{
    for (Job *j = b->jobs; j; j = j->next) {
        if (j->rc >= 0)
            job_fail(j, err);
    }
    drop_messages(w, 0);
    w->last_event = 0;
}

/* The error that made the database give up the transaction: the last job's. */
static const Err *last_error(const Batch *b)
{
    const Job *j = b->jobs;
    while (j->next)
        j = j->next;
    return &j->err;
}

static int batch_commit(Worker *w, Batch *b, bool alive, Err *err)
{
    if (!alive) {
        *err = *last_error(b);
        if (!err->code) /* never taken for a commit */
            return err_set(err, ERR_INTERNAL, "store: the database gave the transaction up");
        return -(int)err->code;
    }
    return w->store->be->commit(w->db, err);
}

static void batch_count(Store *s, Batch *b, bool committed)
{
    for (Job *j = b->jobs; j; j = j->next)
        b->n_failed += j->rc < 0;
    pthread_mutex_lock(&s->lock);
    s->stats.commits += committed;
    s->stats.jobs_done += b->n - b->n_failed;
    s->stats.jobs_failed += b->n_failed;
    if (b->n > s->stats.batch_max)
        s->stats.batch_max = b->n;
    pthread_mutex_unlock(&s->lock);
}

/* Loop thread. The listener hears of a commit before those who asked for it. */
static void batch_done(void *arg)
{
    Batch *b = arg;
    Store *s = b->store;
    if (s->listener && (b->messages.len || b->last_event)) {
        CommitNote note = {b->messages.ptr, b->messages.len, b->last_event};
        s->listener(s->listener_arg, &note);
    }
    for (Job *j = b->jobs, *next; j; j = next) {
        next = j->next;
        if (j->done)
            j->done(j->arg, j->rc, j->rc < 0 ? &j->err : NULL);
        free(j);
    }
    VEC_FOREACH (&b->messages, m)
        message_unref(*m);
    vec_free(&b->messages);
    free(b);
}

static void batch_post(Worker *w, Batch *b)
{
    message_heads_forget(w->heads); /* the next batch may come after another server's */
    b->messages = w->messages;
    b->last_event = w->last_event;
    w->messages = (MessageVec){0};
    w->last_event = 0;
    w->bytes = 0;
    loop_post(b->store->loop, batch_done, b);
}

static void write_batch(Worker *w, Job *first)
{
    Store *s = w->store;
    Batch *b = xnew(Batch);
    b->store = s;
    b->tail = &b->jobs;
    Err err = {0};
    int rc = s->be->begin(w->db, true, &err);
    if (rc < 0) {
        batch_add(b, first);
    } else {
        bool alive = batch_run(w, b, first);
        rc = batch_commit(w, b, alive, &err);
    }
    if (rc < 0) {
        s->be->rollback(w->db);
        batch_fail(w, b, &err);
    }
    batch_count(s, b, rc == 0);
    store_set_sick(s, rc < 0 ? &err : NULL);
    batch_post(w, b);
}

/* Does the disk take writes again? Nobody may dare to write before somebody has tried. */
static void probe(Worker *w)
{
    Store *s = w->store;
    Err err = {0};
    int rc = s->be->begin(w->db, true, &err);
    if (rc == 0) {
        CLEANUP_STMT Stmt *st = NULL;
        rc = stmt_use(w->db,
                      STR("INSERT INTO health (id, checked_at) VALUES (1, ?1)"
                          " ON CONFLICT (id) DO UPDATE SET checked_at = excluded.checked_at"),
                      &st, &err);
        if (rc == 0) {
            stmt_bind(st, 1, sql_time(clock_wall(s->clock)));
            rc = stmt_run(st, &err);
        }
    }
    if (rc == 0)
        rc = s->be->commit(w->db, &err);
    if (rc < 0)
        s->be->rollback(w->db);
    store_set_sick(s, rc < 0 ? &err : NULL);
}

static bool is_sick(Store *s)
{
    pthread_mutex_lock(&s->lock);
    bool sick = s->sick.code != ERR_OK;
    pthread_mutex_unlock(&s->lock);
    return sick;
}

void *writer_main(void *store)
{
    Store *s = store;
    Worker *w = &s->writer;
    bool wants_idle = false;
    bool closed = false;
    while (!closed) {
        Usec wait = wants_idle || is_sick(s) ? IDLE_AFTER : USEC_NEVER;
        Job *j = queue_pop(&s->writes, wait, &closed);
        if (j)
            write_batch(w, j);
        else if (!closed && is_sick(s))
            probe(w);
        wants_idle = s->be->maintain(w->db, !j);
    }
    return NULL;
}

/* ---- reading ---- */

/* Loop thread. */
static void read_done(void *arg)
{
    Job *j = arg;
    if (j->done)
        j->done(j->arg, j->rc, j->rc < 0 ? &j->err : NULL);
    free(j);
}

static void read_job(Worker *w, Job *j)
{
    Store *s = w->store;
    bool savepoint;
    j->rc = s->be->begin(w->db, false, &j->err);
    if (j->rc == 0)
        j->rc = job_call(w, j, false, &savepoint);
    s->be->rollback(w->db);
    pthread_mutex_lock(&s->lock);
    s->stats.jobs_done += j->rc >= 0;
    s->stats.jobs_failed += j->rc < 0;
    pthread_mutex_unlock(&s->lock);
    loop_post(s->loop, read_done, j);
}

void *reader_main(void *worker)
{
    Worker *w = worker;
    bool closed = false;
    while (!closed) {
        Job *j = queue_pop(&w->store->reads, USEC_NEVER, &closed);
        if (j)
            read_job(w, j);
    }
    return NULL;
}
