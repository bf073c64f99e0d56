#include "test-support.h"

#include "base/file.h"
#include "base/log.h"

static void nothing(void *arg)
{
}

static void service_loaded(void *arg, const Err *err)
{
    assert_null(err);
    *(bool *)arg = true;
}

void turn(Fixture *f)
{
    timer_arm(f->tick, 20 * USEC_PER_MSEC);
    loop_run_once(f->loop, true);
}

void turn_now(Fixture *f)
{
    loop_run_once(f->loop, false);
}

int fixture_setup(void **state)
{
    Fixture *f = xnew(Fixture);
    Err err = {0};
    bool loaded = false;
    (void)snprintf(f->dir, sizeof(f->dir), "/tmp/test-hub-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    (void)snprintf(f->url, sizeof(f->url), "sqlite:%s/ambient.db", f->dir);
    assert_ok(loop_new(&f->loop, &err), &err);
    f->tick = timer_new(f->loop, nothing, NULL);
    StoreOptions o = {.url = f->url, .create = true};
    assert_ok(store_open(f->loop, &o, &f->store, &err), &err);
    f->service = service_new(f->loop, &(ServiceOptions){.store = f->store, .clock = &clock_system});
    service_load(f->service, service_loaded, &loaded);
    while (!loaded)
        turn(f);
    f->options = (HubOptions){.store = f->store, .service = f->service};
    f->admin = caller_new(CALLER_ADMIN, STR("admin"), STR("Admin"), STR(""));
    fixture_new_hub(f);
    *state = f;
    return 0;
}

void fixture_new_hub(Fixture *f)
{
    f->hub = hub_free(f->hub);
    f->hub = hub_new(f->loop, &f->options);
}

int fixture_teardown(void **state)
{
    Fixture *f = *state;
    hub_free(f->hub);
    f->store = store_close(f->store);
    service_free(f->service);
    caller_unref(f->admin);
    timer_free(f->tick);
    loop_free(f->loop);
    assert_int_equal(dir_remove_tree(f->dir, NULL), 0);
    free(f);
    return 0;
}

/* ---- jobs ---- */

typedef struct Wrapped {
    bool done;
    int rc;
    Err err;
    StoreJob job;
    void *arg;
} Wrapped;

static int wrapped_job(Tx *tx, void *arg, Err *err)
{
    Wrapped *w = arg;
    return w->job(tx, w->arg, err);
}

static void wrapped_done(void *arg, int rc, const Err *err)
{
    Wrapped *w = arg;
    w->done = true;
    w->rc = rc;
    if (err)
        w->err = *err;
}

int run_job(Fixture *f, StoreMode mode, StoreJob job, void *arg, Err *err)
{
    Wrapped w = {.job = job, .arg = arg};
    assert_ok(store_submit(f->store, mode, wrapped_job, wrapped_done, &w, err), err);
    while (!w.done)
        turn(f);
    if (w.rc < 0)
        *err = w.err;
    return w.rc;
}

static int insert_job(Tx *tx, void *arg, Err *err)
{
    return tx_insert(tx, arg, err);
}

void insert_object(Fixture *f, Obj *o)
{
    Err err = {0};
    assert_ok(run_job(f, STORE_WRITE, insert_job, o, &err), &err);
}

char *new_session(Fixture *f, const char *name, const char *project)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    obj_set_str(o, SESSION_NAME, str_from(name));
    if (project)
        obj_set_str(o, SESSION_PROJECT_ID, str_from(project));
    insert_object(f, o);
    return str_dup(obj_str(o, FIELD_ID));
}

typedef struct Target {
    const Kind *kind;
    const char *id;
    const Obj *changes;
} Target;

static int delete_job(Tx *tx, void *arg, Err *err)
{
    Target *t = arg;
    return tx_delete(tx, t->kind, str_from(t->id), NULL, err);
}

void delete_object(Fixture *f, const Kind *k, const char *id)
{
    Err err = {0};
    Target t = {k, id, NULL};
    assert_ok(run_job(f, STORE_WRITE, delete_job, &t, &err), &err);
}

static int update_job(Tx *tx, void *arg, Err *err)
{
    Target *t = arg;
    return tx_update(tx, t->kind, str_from(t->id), t->changes, NULL, NULL, err);
}

void update_object(Fixture *f, const Kind *k, const char *id, const Obj *changes)
{
    Err err = {0};
    Target t = {k, id, changes};
    assert_ok(run_job(f, STORE_WRITE, update_job, &t, &err), &err);
}

/* ---- pushes ---- */

typedef struct Push {
    Fixture *f;
    char *session, *payload;
    Message *out;
} Push;

static int push_job(Tx *tx, void *arg, Err *err)
{
    Push *p = arg;
    const MessageIn in = {
        str_from(p->session), STR("user"), str_from(p->payload), STR("service"), STR_NULL, STR_NULL, NULL};
    return tx_message_append(tx, &in, &p->out, err);
}

static void push_done(void *arg, int rc, const Err *err)
{
    Push *p = arg;
    assert_int_equal(rc, 0);
    p->f->pushing--;
    message_unref(p->out);
    free(p->session);
    free(p->payload);
    free(p);
}

void push_later(Fixture *f, const char *session, const char *payload)
{
    Push *p = xnew(Push);
    *p = (Push){f, xstrdup(session), xstrdup(payload), NULL};
    f->pushing++;
    assert_int_equal(store_submit(f->store, STORE_WRITE, push_job, push_done, p, NULL), 0);
}

void push(Fixture *f, const char *session, const char *payload)
{
    push_later(f, session, payload);
    while (f->pushing)
        turn(f);
}

int main(void)
{
    log_setup("test-hub", LOG_OFF, false);
    return run_message_tests() | run_event_tests();
}
