#include "test-support.h"

#include "base/vec.h"
#include "store-internal.h"

static Obj *project(const char *name, const char *prompt)
{
    Obj *o = obj_new(&kind_project);
    obj_set_str(o, PROJECT_NAME, str_from(name));
    if (prompt)
        obj_set_str(o, PROJECT_PROMPT, str_from(prompt));
    return o;
}

static void test_tx__an_object_comes_back_as_it_was_written(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_session);
    obj_set_str(o, SESSION_NAME, STR("caf\xc3\xa9 'quoted' \\ \"x\""));
    obj_set_str(o, SESSION_PROMPT, STR(""));
    obj_set_double(o, SESSION_LLM_TEMPERATURE, 0.7);
    obj_set_int(o, SESSION_LLM_MAX_TOKENS, -2147483648);
    obj_set_bool(o, SESSION_INTERACTIVE, false);
    obj_set_time(o, SESSION_START_TIME, (WallUsec){-5});
    assert_ok(insert_object(f, o, &err), &err);
    assert_true(ksuid_is_valid(obj_str(o, FIELD_ID)));
    assert_int_equal(obj_time(o, FIELD_CREATED_AT).us, f->clock.wall_us.us);

    CLEANUP(obj_freep) Obj *back = get_object(f, &kind_session, obj_cstr(o, FIELD_ID));
    assert_non_null(back);
    for (int i = 0; i < _SESSION_MAX; i++) {
        if (obj_has(o, i) || obj_has(back, i))
            assert_true(obj_value_equal(o, back, i));
    }
    assert_true(obj_has(back, SESSION_PROMPT));
    assert_int_equal(back->v[SESSION_PHASE].state, V_NULL);
}

static void test_tx__unique_values_are_refused(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP(obj_freep) Obj *a = obj_new(&kind_user);
    obj_set_str(a, USER_USERNAME, STR("alice"));
    CLEANUP(obj_freep) Obj *b = obj_dup(a);
    assert_ok(insert_object(f, a, &err), &err);
    assert_int_equal(insert_object(f, b, &err), -ERR_CONFLICT);
    assert_string_equal(err.msg, "This User already exists");

    CLEANUP(obj_freep) Obj *p = project("demo", NULL);
    CLEANUP(obj_freep) Obj *q = project("demo", NULL);
    assert_ok(insert_object(f, p, &err), &err);
    assert_int_equal(insert_object(f, q, &err), -ERR_CONFLICT);
    assert_string_equal(err.msg, "This Project already exists");
}

static void test_tx__names_of_deleted_objects_are_free(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP(obj_freep) Obj *p = project("demo", "old prompt");
    assert_ok(insert_object(f, p, &err), &err);
    assert_true(delete_object(f, &kind_project, "demo"));
    assert_false(delete_object(f, &kind_project, "demo"));
    assert_null(get_object(f, &kind_project, "demo"));

    fake_clock_advance(&f->clock, 60 * USEC_PER_SEC);
    CLEANUP(obj_freep) Obj *q = project("demo", NULL);
    assert_ok(insert_object(f, q, &err), &err);
    CLEANUP(obj_freep) Obj *back = get_object(f, &kind_project, "demo");
    assert_non_null(back);
    assert_false(obj_has(back, PROJECT_PROMPT));
    assert_int_equal(obj_time(back, FIELD_CREATED_AT).us, f->clock.wall_us.us);
}

typedef struct Update {
    const Kind *kind;
    const char *id;
    Obj *changes, *after;
    bool changed;
} Update;

static int update_job(Tx *tx, void *arg, Err *err)
{
    Update *u = arg;
    return tx_update(tx, u->kind, str_from(u->id), u->changes, &u->changed, &u->after, err);
}

static void test_tx__update_writes_only_what_differs(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP(obj_freep) Obj *p = project("demo", "old");
    assert_ok(insert_object(f, p, &err), &err);
    fake_clock_advance(&f->clock, USEC_PER_SEC);

    CLEANUP(obj_freep) Obj *c = obj_new(&kind_project);
    Update u = {.kind = &kind_project, .id = "demo", .changes = c};
    obj_set_str(c, PROJECT_PROMPT, STR("old"));
    assert_ok(run_job(f, STORE_WRITE, update_job, &u, &err), &err);
    assert_false(u.changed);
    assert_int_equal(obj_time(u.after, FIELD_UPDATED_AT).us, obj_time(p, FIELD_UPDATED_AT).us);
    u.after = obj_free(u.after);

    obj_set_null(c, PROJECT_PROMPT);
    obj_set_str(c, PROJECT_STATUS, STR("active"));
    obj_set_str(c, FIELD_ID, STR("other")); /* not the caller's to change */
    assert_ok(run_job(f, STORE_WRITE, update_job, &u, &err), &err);
    assert_true(u.changed);
    assert_str_equal(obj_str(u.after, FIELD_ID), "demo");
    assert_str_equal(obj_str(u.after, PROJECT_STATUS), "active");
    assert_false(obj_has(u.after, PROJECT_PROMPT));
    assert_int_equal(obj_time(u.after, FIELD_UPDATED_AT).us, f->clock.wall_us.us);
    CLEANUP(obj_freep) Obj *back = get_object(f, &kind_project, "demo");
    assert_false(obj_has(back, PROJECT_PROMPT));
    u.after = obj_free(u.after);

    u.id = "nobody";
    assert_int_equal(run_job(f, STORE_WRITE, update_job, &u, &err), -ERR_NOT_FOUND);
    assert_string_equal(err.msg, "Project with id='nobody' not found");
}

/* ---- events ---- */

typedef struct SeenEvent {
    uint64_t version;
    EventType type;
    const Kind *kind;
    char id[64], project[64], owner[64];
} SeenEvent;
typedef VEC_OF(SeenEvent)
SeenEvents;

static void keep(char *out, size_t size, Str s)
{
    (void)snprintf(out, size, STR_FMT, STR_ARG(s));
}

static int see_event(void *arg, const Event *ev)
{
    SeenEvents *all = arg;
    SeenEvent e = {.version = ev->version, .type = ev->type, .kind = ev->kind};
    keep(e.id, sizeof(e.id), ev->object_id);
    keep(e.project, sizeof(e.project), ev->project_id);
    keep(e.owner, sizeof(e.owner), ev->owner);
    vec_push(all, e);
    return 0;
}

static int events_job(Tx *tx, void *arg, Err *err)
{
    return tx_events_read(tx, 0, 1000, see_event, arg, err);
}

static int insert_then_fail(Tx *tx, void *arg, Err *err)
{
    int rc = tx_insert(tx, arg, err);
    return rc < 0 ? rc : err_set(err, ERR_INVALID, "on second thoughts");
}

static void test_tx__each_change_has_its_event_and_nothing_else_has(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP(obj_freep) Obj *p = project("demo", NULL);
    obj_set_str(p, PROJECT_OWNER, STR("alice"));
    CLEANUP(obj_freep) Obj *gone = project("gone", NULL);
    CLEANUP(obj_freep) Obj *same = project("demo", NULL);
    CLEANUP(obj_freep) Obj *c = obj_new(&kind_project);
    Update u = {.kind = &kind_project, .id = "demo", .changes = c};

    assert_int_equal(run_job(f, STORE_WRITE, insert_then_fail, gone, &err), -ERR_INVALID);
    assert_ok(insert_object(f, p, &err), &err);
    assert_int_equal(insert_object(f, same, &err), -ERR_CONFLICT);
    assert_ok(run_job(f, STORE_WRITE, update_job, &u, &err), &err); /* changes nothing */
    u.after = obj_free(u.after);
    obj_set_str(c, PROJECT_STATUS, STR("x"));
    assert_ok(run_job(f, STORE_WRITE, update_job, &u, &err), &err);
    u.after = obj_free(u.after);
    delete_object(f, &kind_project, "demo");
    delete_object(f, &kind_project, "demo");

    SeenEvents all = {0};
    assert_ok(run_job(f, STORE_READ, events_job, &all, &err), &err);
    const EventType want[] = {EVENT_CREATED, EVENT_UPDATED, EVENT_DELETED};
    assert_int_equal(all.len, 3);
    for (size_t i = 0; i < all.len; i++) {
        assert_int_equal(all.ptr[i].type, want[i]);
        assert_ptr_equal(all.ptr[i].kind, &kind_project);
        assert_string_equal(all.ptr[i].id, "demo");
        assert_string_equal(all.ptr[i].project, "demo");
        assert_string_equal(all.ptr[i].owner, "alice");
        assert_true(!i || all.ptr[i].version > all.ptr[i - 1].version);
    }
    vec_free(&all);
    assert_null(get_object(f, &kind_project, "gone"));
}

typedef struct Purge {
    WallUsec before;
    uint64_t removed;
} Purge;

static int purge_rows(Tx *tx, void *arg, Err *err)
{
    Purge *p = arg;
    return tx_purge(tx, &kind_session, p->before, &p->removed, err);
}

static void test_tx__old_rows_go_for_good(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP_FREE char *old = new_session(f, "old");
    fake_clock_advance(&f->clock, USEC_PER_SEC);
    Purge p = {.before = f->clock.wall_us};
    CLEANUP_FREE char *new = new_session(f, "new"); /* at that very time: it stays */
    assert_ok(run_job(f, STORE_WRITE, purge_rows, &p, &err), &err);
    assert_int_equal(p.removed, 1);
    assert_null(get_object(f, &kind_session, old));
    CLEANUP(obj_freep) Obj *kept = get_object(f, &kind_session, new);
    assert_non_null(kept);
    assert_ok(run_job(f, STORE_WRITE, purge_rows, &p, &err), &err);
    assert_int_equal(p.removed, 0);
}

typedef struct Range {
    uint64_t oldest, newest, removed;
    WallUsec before;
} Range;

static int range_job(Tx *tx, void *arg, Err *err)
{
    Range *r = arg;
    return tx_events_range(tx, &r->oldest, &r->newest, err);
}

static int purge_job(Tx *tx, void *arg, Err *err)
{
    Range *r = arg;
    return tx_events_purge(tx, r->before, &r->removed, err);
}

static void test_tx__old_events_go_and_the_newest_stays(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Range r = {0};
    assert_ok(run_job(f, STORE_READ, range_job, &r, &err), &err);
    assert_int_equal(r.oldest, 0);
    assert_int_equal(r.newest, 0);
    for (int i = 0; i < 4; i++) {
        free(new_session(f, "s"));
        fake_clock_advance(&f->clock, USEC_PER_SEC);
    }
    r.before = (WallUsec){f->clock.wall_us.us - 2000000}; /* the third one's time: it stays */
    assert_ok(run_job(f, STORE_WRITE, purge_job, &r, &err), &err);
    assert_int_equal(r.removed, 2);
    assert_ok(run_job(f, STORE_READ, range_job, &r, &err), &err);
    assert_int_equal(r.oldest, 2);
    assert_int_equal(r.newest, 4);

    r.before = (WallUsec){INT64_MAX};
    assert_ok(run_job(f, STORE_WRITE, purge_job, &r, &err), &err);
    assert_int_equal(r.removed, 1);
    assert_ok(run_job(f, STORE_READ, range_job, &r, &err), &err);
    assert_int_equal(r.oldest, 3);
    assert_int_equal(r.newest, 4);
    free(new_session(f, "s"));
    assert_ok(run_job(f, STORE_READ, range_job, &r, &err), &err);
    assert_int_equal(r.newest, 5);
}

/* ---- lists ---- */

typedef struct List {
    const Kind *kind;
    ListQuery q;
    ObjList out;
} List;

static int list_job(Tx *tx, void *arg, Err *err)
{
    List *l = arg;
    return tx_list(tx, l->kind, &l->q, &l->out, err);
}

static void test_tx__a_list_larger_than_its_bound_is_refused(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    for (int i = 0; i < 10; i++)
        free(new_session(f, "a name of twenty-one."));
    List all = {.kind = &kind_session, .q = {.limit = -1, .bytes_max = 10000}};
    assert_ok(run_job(f, STORE_READ, list_job, &all, &err), &err);
    assert_int_equal(all.out.len, 10);
    obj_list_done(&all.out);
    List small = {.kind = &kind_session, .q = {.limit = -1, .bytes_max = 200}};
    assert_int_equal(run_job(f, STORE_READ, list_job, &small, &err), -ERR_BAD_REQUEST);
    assert_string_equal(err.msg, "the answer is larger than 200 bytes: ask for a smaller size");
    assert_int_equal(small.out.len, 0);
}

static void test_tx__pages_cover_everything_once(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    char *deleted = new_session(f, "deleted");
    delete_object(f, &kind_session, deleted);
    free(deleted);
    for (int i = 0; i < 25; i++)
        free(new_session(
            f, i % 2 ? "odd"
                     : "even")); /* all at the same time: the id decides, in the direction of the order */

    OrderBy order = {0};
    assert_ok(order_by_parse(&kind_session, STR("name desc"), &order, &err), &err);
    char last[64] = "";
    size_t seen = 0;
    for (int64_t page = 0; page < 4; page++) {
        List l = {.kind = &kind_session,
                  .q = {.order = order, .offset = page * 10, .limit = 10, .page = page + 1}};
        assert_ok(run_job(f, STORE_READ, list_job, &l, &err), &err);
        assert_int_equal(l.out.total, 25);
        assert_int_equal(l.out.page, page + 1);
        for (size_t i = 0; i < l.out.len; i++) {
            assert_str_equal(obj_str(l.out.ptr[i], SESSION_NAME), seen < 12 ? "odd" : "even");
            if (seen && seen != 12)
                assert_true(strcmp(last, obj_cstr(l.out.ptr[i], FIELD_ID)) > 0);
            keep(last, sizeof(last), obj_str(l.out.ptr[i], FIELD_ID));
            seen++;
        }
        obj_list_done(&l.out);
    }
    assert_int_equal(seen, 25);

    List none = {.kind = &kind_session, .q = {.limit = 0}};
    assert_ok(run_job(f, STORE_READ, list_job, &none, &err), &err);
    assert_int_equal(none.out.len, 0);
    assert_int_equal(none.out.total, 25);
    obj_list_done(&none.out);
}

/* ---- what SQLite makes of our statements ---- */

typedef struct Plan {
    const Kind *kind;
    const char *order;
    bool sorts;
} Plan;

static int plan_job(Tx *tx, void *arg, Err *err)
{
    Plan *p = arg;
    OrderBy order = {0};
    CLEANUP(query_done) Query q = QUERY_INIT;
    CLEANUP_STMT Stmt *st = NULL;
    int rc = order_by_parse(p->kind, str_from(p->order), &order, err);
    if (rc < 0)
        return rc;
    (void)buf_addf(&q.sql, "EXPLAIN QUERY PLAN SELECT id, name FROM %s WHERE deleted_at IS NULL",
                   p->kind->table);
    query_order(&q, tx->sql->dialect, p->kind, &order);
    rc = query_use(&q, tx->db, &st, err);
    while (rc >= 0 && (rc = stmt_step(st, err)) > 0)
        p->sorts = p->sorts || str_find(stmt_text(st, 3), STR("TEMP B-TREE")) >= 0;
    return rc;
}

/* The console asks for the newest first, again and again. */
static void test_tx__an_index_serves_lists_in_both_directions(void **state)
{
    static const Kind *const kinds[] = {&kind_session, &kind_project, &kind_agent, &kind_credential};
    static const char *const orders[] = {"created_at", "created_at desc", "created_at desc,id desc"};
    if (on_postgres())
        return;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        for (size_t k = 0; k < ARRAY_LEN(orders); k++) {
            Err err = {0};
            Plan p = {.kind = kinds[i], .order = orders[k]};
            assert_ok(run_job(*state, STORE_READ, plan_job, &p, &err), &err);
            assert_false(p.sorts);
        }
}

/* One would cost a job the square of the rows that it changes (db_last_serial() in sqlite/db.c). */
static int statements_job(Tx *tx, void *arg, Err *err)
{
    bool *ret = arg;
    for (size_t i = 0; i < tx->sql->n_kinds; i++) {
        const KindSql *k = &tx->sql->kinds[i];
        *ret = *ret || str_find(str_from(k->remove), STR("RETURNING")) >= 0 ||
               str_find(str_from(k->insert), STR("RETURNING")) >= 0;
    }
    *ret = *ret || !tx->db->be->last_serial;
    return 0;
}

static void test_tx__many_deletions_in_one_job_need_no_journals_of_statements(void **state)
{
    Err err = {0};
    bool returning = false;
    if (on_postgres())
        return;
    assert_ok(run_job(*state, STORE_READ, statements_job, &returning, &err), &err);
    assert_false(returning);
}

static int find_job(Tx *tx, void *arg, Err *err)
{
    return tx_find(tx, &kind_user, USER_USERNAME, STR("alice"), arg, err);
}

static void test_tx__find(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP(obj_freep) Obj *back = NULL;
    assert_int_equal(run_job(f, STORE_READ, find_job, &back, &err), -ERR_NOT_FOUND);
    assert_string_equal(err.msg, "User with username='alice' not found");
    CLEANUP(obj_freep) Obj *a = obj_new(&kind_user);
    obj_set_str(a, USER_USERNAME, STR("alice"));
    assert_ok(insert_object(f, a, &err), &err);
    assert_ok(run_job(f, STORE_READ, find_job, &back, &err), &err);
    assert_true(obj_value_equal(a, back, FIELD_ID));
}

/* ---- guards ---- */

static Obj *started_session(const char *agent, const char *phase, bool guarded)
{
    Obj *o = obj_new(&kind_session);
    obj_set_str(o, SESSION_NAME, STR("s"));
    obj_set_str(o, SESSION_AGENT_ID, str_from(agent));
    if (*phase)
        obj_set_str(o, SESSION_PHASE, str_from(phase));
    if (guarded)
        obj_set_str(o, SESSION_START_GUARD, str_from(agent));
    return o;
}

static int start(Fixture *f, const char *phase, bool guarded)
{
    CLEANUP(obj_freep) Obj *o = started_session("agent-1", phase, guarded);
    return insert_object(f, o, NULL);
}

static void test_tx__one_started_session_per_agent(void **state)
{
    Fixture *f = *state;
    assert_int_equal(start(f, "Completed", true), 0);
    assert_int_equal(start(f, "Running", false), 0); /* made by POST: nobody's business */
    assert_int_equal(start(f, "Running", false), 0);
    assert_int_equal(start(f, "Pending", true), 0);
    assert_int_equal(start(f, "Running", true), -ERR_CONFLICT);
    assert_int_equal(start(f, "Stopped", true), 0);
    assert_int_equal(start(f, "", true), 0);
}

typedef struct Request {
    const char *caller, *id, *object;
    char *out;
} Request;

static int request_get_job(Tx *tx, void *arg, Err *err)
{
    Request *r = arg;
    return tx_request_get(tx, str_from(r->caller), str_from(r->id), &r->out, err);
}

static int request_put_job(Tx *tx, void *arg, Err *err)
{
    Request *r = arg;
    return tx_request_put(tx, str_from(r->caller), str_from(r->id), str_from(r->object), err);
}

static void test_tx__requests_are_remembered_for_a_day(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    Request r = {"user:alice", "r1", "object-1", NULL};
    Request other = {"user:bob", "r1", "object-2", NULL};
    assert_int_equal(run_job(f, STORE_READ, request_get_job, &r, &err), -ERR_NOT_FOUND);
    assert_ok(run_job(f, STORE_WRITE, request_put_job, &r, &err), &err);
    assert_ok(run_job(f, STORE_WRITE, request_put_job, &other, &err), &err);
    assert_int_equal(run_job(f, STORE_WRITE, request_put_job, &r, &err), -ERR_CONFLICT);
    assert_ok(run_job(f, STORE_READ, request_get_job, &r, &err), &err);
    assert_string_equal(r.out, "object-1");
    free(r.out);

    fake_clock_advance(&f->clock, 24 * 3600 * USEC_PER_SEC);
    assert_int_equal(run_job(f, STORE_READ, request_get_job, &r, &err), -ERR_NOT_FOUND);
    r.object = "object-3";
    assert_ok(run_job(f, STORE_WRITE, request_put_job, &r, &err), &err);
    assert_ok(run_job(f, STORE_READ, request_get_job, &r, &err), &err);
    assert_string_equal(r.out, "object-3");
    free(r.out);
}

/* ---- a clock that is set back ---- */

static WallUsec made_now(Fixture *f, int64_t move)
{
    f->clock.wall_us.us += move;
    CLEANUP_FREE char *id = new_session(f, "s");
    CLEANUP(obj_freep) Obj *o = get_object(f, &kind_session, id);
    return obj_time(o, FIELD_CREATED_AT);
}

static WallUsec pushed_now(Fixture *f, const char *session)
{
    Err err = {0};
    Message *m = NULL;
    assert_ok(push(f, session, "x", "", &m, &err), &err);
    WallUsec t = m->created_at;
    message_unref(m);
    return t;
}

static void test_tx__times_do_not_go_back_with_the_clock(void **state)
{
    const int64_t minute = 60 * (int64_t)USEC_PER_SEC;
    Fixture *f = *state;
    CLEANUP_FREE char *s = new_session(f, "s");
    WallUsec first = made_now(f, minute);
    assert_true(made_now(f, -10 * minute).us >= first.us);
    assert_true(pushed_now(f, s).us >= first.us);
    fixture_reopen(f); /* nor when the server was not running meanwhile */
    assert_true(made_now(f, minute).us >= first.us);
    assert_true(made_now(f, 10 * minute).us > first.us); /* it has caught up */
    /* A clock that was far ahead was wrong: time is what it says now; a session's messages keep their order.
     */
    WallUsec ahead = made_now(f, 24 * 60 * minute);
    WallUsec last = pushed_now(f, s);
    assert_true(made_now(f, -24 * 60 * minute).us < ahead.us);
    assert_true(pushed_now(f, s).us >= last.us);
}

static void test_tx__a_read_job_cannot_write(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    CLEANUP(obj_freep) Obj *p = project("demo", NULL);
    assert_int_equal(run_job(f, STORE_READ, insert_then_fail, p, &err), -ERR_INTERNAL);
}

int run_tx_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tx__an_object_comes_back_as_it_was_written),
        TEST(test_tx__unique_values_are_refused),
        TEST(test_tx__names_of_deleted_objects_are_free),
        TEST(test_tx__update_writes_only_what_differs),
        TEST(test_tx__each_change_has_its_event_and_nothing_else_has),
        TEST(test_tx__old_rows_go_for_good),
        TEST(test_tx__old_events_go_and_the_newest_stays),
        TEST(test_tx__a_list_larger_than_its_bound_is_refused),
        TEST(test_tx__pages_cover_everything_once),
        TEST(test_tx__an_index_serves_lists_in_both_directions),
        TEST(test_tx__many_deletions_in_one_job_need_no_journals_of_statements),
        TEST(test_tx__find),
        TEST(test_tx__one_started_session_per_agent),
        TEST(test_tx__requests_are_remembered_for_a_day),
        TEST(test_tx__times_do_not_go_back_with_the_clock),
        TEST(test_tx__a_read_job_cannot_write),
    };
    return cmocka_run_group_tests_name("store tx", tests, NULL, NULL);
}
