#include "test-support.h"

#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "store-internal.h"

bool on_postgres(void)
{
    return getenv("AMBIENT_TEST_POSTGRES") != NULL;
}

static void run_sql(const StoreOptions *o, const char *sql)
{
    Err err = {0};
    Db *db = NULL;
    assert_ok(db_open_url(o, DB_WRITER, &db, &err), &err);
    assert_ok(db->be->exec(db, sql, &err), &err);
    db->be->close(db);
}

void change_store(Fixture *f, const char *sql)
{
    run_sql(&f->options, sql);
}

/* A schema with the directory's name. */
static void change_schema(Fixture *f, const char *what, const char *how)
{
    char sql[256];
    const StoreOptions server = {.url = getenv("AMBIENT_TEST_POSTGRES")};
    (void)snprintf(sql, sizeof(sql), "%s SCHEMA \"%s\" %s", what, f->dir + strlen("/tmp/"), how);
    run_sql(&server, sql);
}

static void place_store(Fixture *f)
{
    if (!on_postgres()) {
        (void)snprintf(f->url, sizeof(f->url), "sqlite:%s/ambient.db", f->dir);
        return;
    }
    change_schema(f, "CREATE", "");
    (void)snprintf(f->url, sizeof(f->url), "%s&options=-csearch_path%%3D%%22%s%%22",
                   getenv("AMBIENT_TEST_POSTGRES"), f->dir + strlen("/tmp/"));
}

int fixture_setup(void **state)
{
    Fixture *f = xnew(Fixture);
    Err err = {0};
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    place_store(f);
    fake_clock_init(&f->clock, (WallUsec){1775000000000000});
    assert_ok(loop_new(&f->loop, &err), &err);
    f->options = (StoreOptions){.url = f->url, .create = true, .clock = &f->clock.clock};
    fixture_reopen(f);
    *state = f;
    return 0;
}

void fixture_reopen(Fixture *f)
{
    Err err = {0};
    fixture_close(f);
    assert_ok(store_open(f->loop, &f->options, &f->store, &err), &err);
}

/* The last thing that a closed store posts frees it. */
static void set_flag(void *arg)
{
    *(bool *)arg = true;
}

void fixture_close(Fixture *f)
{
    bool done = false;
    if (!f->store)
        return;
    f->store = store_close(f->store);
    loop_post(f->loop, set_flag, &done);
    wait_for(f, &done);
}

int fixture_teardown(void **state)
{
    Fixture *f = *state;
    fixture_close(f);
    loop_free(f->loop);
    if (on_postgres())
        change_schema(f, "DROP", "CASCADE");
    assert_int_equal(dir_remove_tree(f->dir, NULL), 0);
    free(f);
    return 0;
}

char *fixture_path(const Fixture *f, const char *suffix)
{
    return xasprintf("%s/ambient.db%s", f->dir, suffix);
}

void wait_for(Fixture *f, const bool *flag)
{
    while (!*flag)
        loop_run_once(f->loop, true);
}

typedef struct Waiting {
    bool done;
    int rc;
    Err err;
} Waiting;

static void job_done(void *arg, int rc, const Err *err)
{
    Waiting *w = arg;
    w->done = true;
    w->rc = rc;
    if (err)
        w->err = *err;
}

typedef struct Wrapped {
    Waiting wait; /* first */
    StoreJob job;
    void *arg;
} Wrapped;

static int wrapped_job(Tx *tx, void *arg, Err *err)
{
    Wrapped *w = arg;
    return w->job(tx, w->arg, err);
}

int run_job(Fixture *f, StoreMode mode, StoreJob job, void *arg, Err *err)
{
    Wrapped w = {.job = job, .arg = arg};
    int rc = store_submit(f->store, mode, wrapped_job, job_done, &w, err);
    if (rc < 0)
        return rc;
    wait_for(f, &w.wait.done);
    if (w.wait.rc < 0 && err)
        *err = w.wait.err;
    return w.wait.rc;
}

/* ---- shorthands ---- */

static int insert_job(Tx *tx, void *arg, Err *err)
{
    return tx_insert(tx, arg, err);
}

int insert_object(Fixture *f, Obj *o, Err *err)
{
    return run_job(f, STORE_WRITE, insert_job, o, err);
}

char *new_session(Fixture *f, const char *name)
{
    Err err = {0};
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    obj_set_str(o, SESSION_NAME, str_from(name));
    assert_ok(insert_object(f, o, &err), &err);
    return str_dup(obj_str(o, FIELD_ID));
}

typedef struct Target {
    const Kind *kind;
    const char *id;
    Obj *obj;
    bool deleted;
} Target;

static int get_job(Tx *tx, void *arg, Err *err)
{
    Target *t = arg;
    return tx_get(tx, t->kind, str_from(t->id), &t->obj, err);
}

Obj *get_object(Fixture *f, const Kind *k, const char *id)
{
    Err err = {0};
    Target t = {.kind = k, .id = id};
    int rc = run_job(f, STORE_READ, get_job, &t, &err);
    if (rc < 0 && rc != -ERR_NOT_FOUND)
        fail_msg("%s", err.msg);
    return t.obj;
}

static int delete_job(Tx *tx, void *arg, Err *err)
{
    Target *t = arg;
    return tx_delete(tx, t->kind, str_from(t->id), &t->deleted, err);
}

bool delete_object(Fixture *f, const Kind *k, const char *id)
{
    Err err = {0};
    Target t = {.kind = k, .id = id};
    assert_ok(run_job(f, STORE_WRITE, delete_job, &t, &err), &err);
    return t.deleted;
}

typedef struct Push {
    MessageIn in;
    Message *out;
} Push;

static int push_job(Tx *tx, void *arg, Err *err)
{
    Push *p = arg;
    return tx_message_append(tx, &p->in, &p->out, err);
}

int push(Fixture *f, const char *session, const char *payload, const char *request_id, Message **ret,
         Err *err)
{
    Push p = {.in = {
                  .session_id = str_from(session),
                  .event_type = STR("user"),
                  .payload = str_from(payload),
                  .actor = STR("user:test"),
                  .request_id = str_from(request_id),
              }};
    int rc = run_job(f, STORE_WRITE, push_job, &p, err);
    if (rc == 0 && ret)
        *ret = p.out;
    else
        message_unref(p.out);
    return rc;
}

int main(void)
{
    log_setup("test-store", LOG_OFF, false);
    int failed = run_tx_tests() | run_search_tests() | run_log_tests() | run_batch_tests() |
                 run_migrate_tests() | run_kill_tests() | run_secrets_tests();
    /* Its disk is the server's business; so are replicas of a file nobody's. */
    return failed | (on_postgres() ? run_replica_tests() : run_fault_tests());
}
