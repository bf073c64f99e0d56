#include "store/store.h"

#include "base/log.h"
#include "store-internal.h"

#define READERS 2
#define READERS_SHARED 4
#define QUEUE_MAX 10000
#define READ_LIMIT (10 * USEC_PER_SEC)

/* ---- opening and closing ---- */

static void store_destroy(void *arg)
{
    Store *s = arg;
    queue_done(&s->writes);
    queue_done(&s->reads);
    pthread_mutex_destroy(&s->lock);
    sql_free(s->sql);
    free(s->readers);
    free(s->reader_threads);
    free(s->location);
    free(s->password_file);
    free(s);
}

static void close_connections(Store *s)
{
    for (unsigned i = 0; i < s->n_readers; i++)
        worker_close(&s->readers[i]);
    worker_close(&s->writer);
}

/* Times go on where they were, also when the clock was set back while nobody ran. */
static int read_newest(Store *s, Err *err)
{
    CLEANUP_STMT Stmt *st = NULL;
    int rc = stmt_use(s->writer.db,
                      STR("SELECT (SELECT created_at FROM events ORDER BY version DESC LIMIT 1),"
                          " (SELECT created_at FROM session_messages ORDER BY pos DESC LIMIT 1)"),
                      &st, err);
    if (rc == 0)
        rc = stmt_step(st, err);
    if (rc < 0)
        return rc;
    int64_t event = stmt_time(st, 0).us;
    int64_t message = stmt_time(st, 1).us;
    atomic_store(&s->newest, event > message ? event : message);
    return 0;
}

static int open_writer(Store *s, bool create, Err *err)
{
    int rc = worker_open(&s->writer, s, create || s->private ? DB_CREATE : DB_WRITER, err);
    if (rc == -ERR_NOT_FOUND)
        return err_set(err, ERR_PRECONDITION, "there is no database %s: run `ambient-api-server migrate`",
                       s->location);
    if (rc == 0 && (create || s->private))
        rc = migrate_run(s->writer.db, NULL, NULL, err);
    if (rc == 0)
        rc = migrate_check(s->writer.db, err);
    return rc < 0 ? rc : read_newest(s, err);
}

static int open_readers(Store *s, const StoreOptions *o, Err *err)
{
    unsigned n = s->private ? 0 : o->readers ? o->readers : s->be->is_shared ? READERS_SHARED : READERS;
    s->readers = xcalloc(n, sizeof(*s->readers));
    s->reader_threads = xcalloc(n, sizeof(*s->reader_threads));
    for (unsigned i = 0; i < n; i++) {
        s->n_readers++;
        int rc = worker_open(&s->readers[i], s, DB_READER, err);
        if (rc < 0)
            return rc;
        s->be->limit_reads(s->readers[i].db, o->read_limit ? o->read_limit : READ_LIMIT);
    }
    return 0;
}

/* Signals belong to the loop's thread. */
int store_start_thread(pthread_t *ret, void *(*fn)(void *), void *arg, Err *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(ret, NULL, fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc ? err_set_errno(err, rc, "cannot start a thread of the store") : 0;
}

static int start_threads(Store *s, Err *err)
{
    int rc = store_start_thread(&s->writer_thread, writer_main, s, err);
    s->writer_started = rc == 0;
    for (unsigned i = 0; rc == 0 && i < s->n_readers; i++) {
        rc = store_start_thread(&s->reader_threads[i], reader_main, &s->readers[i], err);
        s->readers_started += rc == 0;
    }
    return rc;
}

/* What waits is finished first. */
static void stop_threads(Store *s)
{
    queue_close(&s->writes);
    queue_close(&s->reads);
    if (s->writer_started)
        pthread_join(s->writer_thread, NULL);
    for (unsigned i = 0; i < s->readers_started; i++)
        pthread_join(s->reader_threads[i], NULL);
}

static int open_all(Store *s, const StoreOptions *o, Err *err)
{
    int rc = sql_new(s->be->dialect, &s->sql, err);
    if (rc == 0)
        rc = open_writer(s, o->create, err);
    if (rc == 0)
        rc = open_readers(s, o, err);
    if (rc == 0)
        rc = start_threads(s, err);
    return rc < 0 ? rc : listen_start(s, err);
}

int store_open(Loop *l, const StoreOptions *o, Store **ret, Err *err)
{
    const Backend *be;
    const char *location;
    int rc = backend_of_url(o->url, &be, &location, err);
    if (rc < 0)
        return rc;
    Store *s = xnew(Store);
    s->loop = l;
    s->clock = o->clock ? o->clock : &clock_system;
    s->be = be;
    s->location = xstrdup(location);
    s->password_file = o->password_file ? xstrdup(o->password_file) : NULL;
    ksuid_new(s->self, clock_wall(&clock_system));
    s->ear_wake = -1;
    s->private = be->is_private(location);
    pthread_mutex_init(&s->lock, NULL);
    queue_init(&s->writes, o->queue_max ? o->queue_max : QUEUE_MAX);
    queue_init(&s->reads, o->queue_max ? o->queue_max : QUEUE_MAX);
    rc = open_all(s, o, err);
    if (rc < 0) {
        listen_stop(s);
        stop_threads(s);
        close_connections(s);
        store_destroy(s);
        return rc;
    }
    *ret = s;
    return 0;
}

Store *store_close(Store *s)
{
    if (!s)
        return NULL;
    listen_stop(s);
    stop_threads(s);
    close_connections(s);
    /* Behind the completions that the threads have posted. */
    loop_post(s->loop, store_destroy, s);
    return NULL;
}

int db_open_url(const StoreOptions *o, DbRole role, Db **ret, Err *err)
{
    const Backend *be;
    DbSource src = {.password_file = o->password_file};
    int rc = backend_of_url(o->url, &be, &src.location, err);
    return rc < 0 ? rc : be->open(&src, role, ret, err);
}

int store_migrate(const StoreOptions *o, int *ret_from, int *ret_to, Err *err)
{
    Db *db = NULL;
    int rc = db_open_url(o, DB_CREATE, &db, err);
    if (rc < 0)
        return rc;
    rc = migrate_run(db, ret_from, ret_to, err);
    db->be->close(db);
    return rc;
}

bool store_is_shared(const Store *s)
{
    return s->be->is_shared;
}

/* ---- jobs ---- */

static Queue *queue_of(Store *s, StoreMode mode)
{
    return mode == STORE_WRITE || s->private ? &s->writes : &s->reads;
}

Usec store_wait(const Store *s, StoreMode mode)
{
    Usec since = queue_since(queue_of((Store *)(uintptr_t)s, mode));
    return since == USEC_NEVER ? 0 : usec_sub(clock_now(&clock_system), since);
}

int store_submit(Store *s, StoreMode mode, StoreJob job, StoreDone done, void *arg, Err *err)
{
    Job *j = xmalloc(sizeof(*j));
    j->fn = job;
    j->done = done;
    j->arg = arg;
    j->rc = 0;
    j->err.code = ERR_OK;
    j->err.msg[0] = '\0';
    int rc = queue_push(queue_of(s, mode), j, err);
    if (rc < 0)
        free(j);
    return rc;
}

void store_set_listener(Store *s, StoreListener fn, void *arg)
{
    s->listener = fn;
    s->listener_arg = arg;
}

void store_set_news(Store *s, StoreNewsFn fn, void *arg)
{
    s->news = fn;
    s->news_arg = arg;
}

bool store_healthy(const Store *s, Err *why)
{
    Store *w = (Store *)(uintptr_t)s;
    pthread_mutex_lock(&w->lock);
    bool healthy = s->sick.code == ERR_OK;
    if (!healthy && why)
        *why = s->sick;
    pthread_mutex_unlock(&w->lock);
    return healthy;
}

StoreStats store_stats(const Store *s)
{
    Store *w = (Store *)(uintptr_t)s;
    pthread_mutex_lock(&w->lock);
    StoreStats st = s->stats;
    pthread_mutex_unlock(&w->lock);
    st.queue_len = queue_len(&w->writes) + queue_len(&w->reads);
    return st;
}
