/* Rules whose inside a client cannot see: what is written together, what is not written at all. */
#include "test-internal.h"

#include "base/vec.h"

/* ---- the events log ---- */

typedef struct Events {
    VEC_OF(char *)
    lines; /* "Deleted Session" */
    bool done;
} Events;

static int add_event(void *arg, const Event *ev)
{
    static const char *const names[] = {
        [EVENT_CREATED] = "Created", [EVENT_UPDATED] = "Updated", [EVENT_DELETED] = "Deleted"};
    Events *e = arg;
    vec_push(&e->lines, xasprintf("%s %s", names[ev->type], ev->kind->name));
    return 0;
}

static int read_events(Tx *tx, void *arg, Err *err)
{
    return tx_events_read(tx, 0, 10000, add_event, arg, err);
}

static void events_done(void *arg, int rc, const Err *err)
{
    Events *e = arg;
    assert_int_equal(rc, 0);
    e->done = true;
}

static size_t count_events(World *w, const char *line)
{
    Events e = {0};
    size_t n = 0;
    assert_int_equal(store_submit(w->store, STORE_READ, read_events, events_done, &e, NULL), 0);
    while (!e.done)
        loop_run_once(w->loop, true);
    VEC_FOREACH (&e.lines, l) {
        n += strcmp(*l, line) == 0;
        free(*l);
    }
    vec_free(&e.lines);
    return n;
}

static char *project(World *w)
{
    return make(w, w->alice, &kind_project, NULL, NULL, "{\"name\":\"demo\"}");
}

static char *agent(World *w, const char *json)
{
    return make(w, w->alice, &kind_agent, "demo", "demo", json);
}

static void test_rules__a_deleted_project_tells_of_each_child(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *demo = project(w);
    CLEANUP_FREE char *a = agent(w, "{\"project_id\":\"\",\"name\":\"a\"}");
    for (int i = 0; i < 3; i++)
        free(make(w, w->alice, &kind_session, NULL, NULL, "{\"project_id\":\"demo\"}"));
    free(make(w, w->alice, &kind_inbox_message, demo, a, "{\"agent_id\":\"\",\"body\":\"x\"}"));
    CLEANUP_GOT Got g = do_delete(w, w->alice, &kind_project, demo);
    assert_int_equal(g.err.code, 0);
    assert_int_equal(count_events(w, "Deleted Session"), 3);
    assert_int_equal(count_events(w, "Deleted Agent"), 1);
    assert_int_equal(count_events(w, "Deleted InboxMessage"), 1);
    assert_int_equal(count_events(w, "Deleted Project"), 1);
}

static void test_rules__what_changes_nothing_tells_nobody(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *s = make(w, w->alice, &kind_session, NULL, NULL, "{\"name\":\"n\"}");
    CLEANUP_GOT Got patch = do_patch(w, w->alice, &kind_session, s, "{\"name\":\"n\"}");
    CLEANUP_GOT Got unknown = do_delete(w, w->alice, &kind_session, "nobody");
    assert_int_equal(patch.err.code, 0);
    assert_int_equal(unknown.err.code, 0);
    assert_int_equal(count_events(w, "Updated Session"), 0);
    assert_int_equal(count_events(w, "Deleted Session"), 0);
}

static void test_rules__stopping_twice_tells_once(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *s = make(w, w->alice, &kind_session, NULL, NULL, "{}");
    SvcCtx x = ctx(w->alice);
    CLEANUP_GOT Got started = {0}, once = {0}, twice = {0};
    svc_session_start(w->service, &x, str_from(s), got_answer, &started);
    got_wait(w, &started);
    svc_session_stop(w->service, &x, str_from(s), got_answer, &once);
    got_wait(w, &once);
    svc_session_stop(w->service, &x, str_from(s), got_answer, &twice);
    got_wait(w, &twice);
    assert_int_equal(obj_phase(twice.obj), PHASE_STOPPING);
    assert_int_equal(count_events(w, "Updated Session"), 2);
}

/* ---- agent start ---- */

static void test_rules__a_start_that_fails_leaves_everything_as_it_was(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *demo = project(w);
    CLEANUP_FREE char *a = agent(w, "{\"project_id\":\"\",\"name\":\"a\"}");
    free(make(w, w->alice, &kind_inbox_message, demo, a, "{\"agent_id\":\"\",\"body\":\"unread\"}"));
    char *task = xcalloc(1, MESSAGE_PAYLOAD_MAX + 1); /* more than one message can hold */
    memset(task, 'x', MESSAGE_PAYLOAD_MAX);
    CLEANUP_GOT Got g = do_start(w, w->alice, demo, a, task);
    free(task);
    assert_int_equal(g.err.code, ERR_TOO_LARGE);
    CLEANUP_GOT Got unread = do_list(w, w->alice, &kind_inbox_message, demo, a, "read is null");
    CLEANUP_GOT Got sessions = do_list(w, w->alice, &kind_session, NULL, NULL, "");
    CLEANUP_GOT Got after = do_get(w, w->alice, &kind_agent, a);
    assert_int_equal(unread.total, 1);
    assert_int_equal(sessions.total, 0);
    assert_false(obj_has(after.obj, AGENT_CURRENT_SESSION_ID));
}

static void test_rules__each_start_is_a_run_of_its_own(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *demo = project(w);
    CLEANUP_FREE char *a = agent(w, "{\"project_id\":\"\",\"name\":\"a\"}");
    CLEANUP_GOT Got first = do_start(w, w->alice, demo, a, "");
    assert_true(first.created);
    const char *id = obj_cstr(first.obj, FIELD_ID);
    CLEANUP_GOT Got failed = do_status(w, w->platform, id, "{\"phase\":\"Failed\"}");
    CLEANUP_GOT Got again = {0};
    SvcCtx x = ctx(w->alice);
    svc_session_start(w->service, &x, str_from(id), got_answer, &again);
    got_wait(w, &again);
    assert_true(ksuid_is_valid(obj_str(again.obj, SESSION_RUN_ID)));
    assert_false(obj_value_equal(again.obj, first.obj, SESSION_RUN_ID));
    assert_true(obj_value_equal(failed.obj, first.obj, SESSION_RUN_ID));
    assert_int_equal(obj_int(again.obj, SESSION_SDK_RESTART_COUNT, 0), 1);
}

static void test_rules__long_agent_names_are_cut_at_a_character(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *demo = project(w);
    CLEANUP_BUF Buf json = BUF_INIT(1024);
    (void)buf_addz(&json, "{\"project_id\":\"\",\"name\":\"x");
    for (int i = 0; i < 127; i++)
        (void)buf_addz(&json, "\xc3\xa9"); /* 255 bytes */
    (void)buf_addz(&json, "\"}");
    CLEANUP_FREE char *a = agent(w, json.data);
    CLEANUP_GOT Got g = do_start(w, w->alice, demo, a, "");
    assert_int_equal(g.err.code, 0);
    assert_true(str_is_utf8(obj_str(g.obj, SESSION_NAME)));
    assert_true(obj_str(g.obj, SESSION_NAME).len <= 255);
}

/* ---- calls ---- */

static void test_rules__a_full_queue_answers_every_call_once(void **state)
{
    World *w = *state;
    enum { CALLS = 500 };
    Err err = {0};
    CLEANUP_FREE char *url = xasprintf("sqlite:%s/small.db", w->dir);
    Store *small = NULL;
    if (store_open(w->loop, &(StoreOptions){.url = url, .create = true, .queue_max = 2}, &small, &err) < 0)
        fail_msg("%s", err.msg);
    Service *s = service_new(w->loop, &(ServiceOptions){.store = small, .clock = &clock_system});
    Got *got = xcalloc(CALLS, sizeof(Got));
    SvcCtx x = ctx(w->admin);
    for (int i = 0; i < CALLS; i++)
        svc_list(s, &x, &kind_project, &(SvcList){.page = 1, .size = 1}, got_answer, &got[i]);
    unsigned refused = 0;
    for (int i = 0; i < CALLS; i++) {
        while (!got[i].done)
            loop_run_once(w->loop, true);
        assert_int_equal(got[i].calls, 1);
        assert_true(got[i].err.code == ERR_OK || got[i].err.code == ERR_OVERLOADED);
        refused += got[i].err.code == ERR_OVERLOADED;
        got_free(&got[i]);
    }
    assert_true(refused > 0 && refused < CALLS);
    free(got);
    store_close(small);
    loop_run_once(w->loop, false);
    service_free(s);
}

static void test_rules__a_user_is_written_down_once(void **state)
{
    World *w = *state;
    enum { CALLS = 50 };
    Got *got = xcalloc(CALLS, sizeof(Got));
    SvcCtx x = ctx(w->bob);
    for (int i = 0; i < CALLS; i++)
        svc_list(w->service, &x, &kind_user, &(SvcList){.page = 1, .size = 10}, got_answer, &got[i]);
    for (int i = 0; i < CALLS; i++) {
        while (!got[i].done)
            loop_run_once(w->loop, true);
        assert_int_equal(got[i].total, 1); /* already there for the very first call */
        got_free(&got[i]);
    }
    free(got);
    CLEANUP_GOT Got all = do_list(w, w->platform, &kind_user, NULL, NULL, "");
    assert_int_equal(all.total, 1);
}

static void render_flag(void *arg, SvcAnswer *a)
{
    Got *g = arg;
    assert_false(g->done);
    assert_non_null(a->obj);
    g->more = true; /* overwritten by the answer; see calls */
    g->seq++;
}

static void keep_render(void *arg, SvcAnswer *a)
{
    Got *g = arg;
    g->done = true;
    g->calls++;
    g->err = a->err ? *a->err : (Err){0};
}

static void test_rules__reads_are_rendered_before_the_answer_and_writes_are_not(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *s = make(w, w->alice, &kind_session, NULL, NULL, "{}");
    SvcCtx x = ctx(w->alice);
    x.render = render_flag;
    Got read = {0}, missing = {0}, write = {0};
    SvcTarget t = {.kind = &kind_session, .id = str_from(s)};
    svc_get(w->service, &x, &t, keep_render, &read);
    got_wait(w, &read);
    assert_int_equal(read.seq, 1);
    svc_get(w->service, &x, &(SvcTarget){.kind = &kind_session, .id = STR("nobody")}, keep_render, &missing);
    got_wait(w, &missing);
    assert_int_equal(missing.err.code, ERR_NOT_FOUND);
    assert_int_equal(missing.seq, 0);
    svc_delete(w->service, &x, &t, keep_render, &write);
    got_wait(w, &write);
    assert_int_equal(write.seq, 0);
}

static void test_rules__pages_of_messages_say_whether_more_follow(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *s = make(w, w->alice, &kind_session, NULL, NULL, "{}");
    SvcCtx x = ctx(w->alice);
    for (int i = 0; i < 5; i++) {
        CLEANUP_GOT Got g = do_push(w, w->alice, s, "user", "0123456789");
        assert_int_equal(g.seq, i + 1);
    }
    const struct {
        uint64_t after;
        size_t rows, bytes, n;
        bool more;
    } rows[] = {{0, 10, 1000, 5, false}, {0, 5, 1000, 5, false}, {0, 4, 1000, 4, true},
                {2, 10, 1, 1, true},     {4, 10, 1, 1, false},   {5, 10, 1000, 0, false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_GOT Got g = {0};
        SvcMessages q = {str_from(s), rows[i].after, rows[i].rows, rows[i].bytes};
        svc_message_list(w->service, &x, &q, got_answer, &g);
        got_wait(w, &g);
        assert_int_equal(g.n_messages, rows[i].n);
        assert_int_equal(g.more, rows[i].more);
    }
}

static void test_rules__sizes_of_grpc_pages(void **state)
{
    World *w = *state;
    for (int i = 0; i < 25; i++)
        free(make(w, w->alice, &kind_session, NULL, NULL, "{}"));
    static const struct {
        int64_t size;
        size_t n;
    } rows[] = {{0, 20}, {-3, 20}, {7, 7}, {500, 25}, {501, 25}, {INT64_MAX, 25}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_GOT Got g = {0};
        SvcCtx x = {.caller = w->alice};
        svc_list(w->service, &x, &kind_session, &(SvcList){.page = -1, .size = rows[i].size}, got_answer, &g);
        got_wait(w, &g);
        assert_int_equal(g.n_items, rows[i].n);
        assert_int_equal(g.total, 25);
    }
}

static void start_push(Service *s, Caller *c, const char *session, const char *payload, Got *g)
{
    SvcCtx x = {.caller = c};
    SvcPush p = {.session_id = str_from(session), .event_type = STR("text"), .payload = str_from(payload)};
    svc_message_push(s, &x, &p, got_answer, g);
}

/* What clients sent and the store has not yet is bounded by its bytes too. */
static void test_rules__too_much_that_waits_is_refused(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *session = make(w, w->alice, &kind_session, "", "", "{\"name\":\"s\"}");
    service_free(w->service);
    w->service = service_new(w->loop, &(ServiceOptions){.store = w->store, .pending_max = 150});
    Got first = {0};
    Got second = {0};
    Got third = {0};
    const char *payload = "sixty bytes and some more: enough that two of them do not fit";
    start_push(w->service, w->admin, session, payload, &first);
    start_push(w->service, w->admin, session, payload, &second);
    got_wait(w, &first);
    while (!second.done)
        loop_run_once(w->loop, true);
    assert_int_equal(first.err.code, ERR_OK);
    assert_int_equal(second.err.code, ERR_OVERLOADED);
    start_push(w->service, w->admin, session, payload, &third);
    got_wait(w, &third);
    assert_int_equal(third.err.code, ERR_OK);
    got_free(&first);
    got_free(&second);
    got_free(&third);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

int run_rules_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_rules__a_deleted_project_tells_of_each_child),
        TEST(test_rules__what_changes_nothing_tells_nobody),
        TEST(test_rules__stopping_twice_tells_once),
        TEST(test_rules__a_start_that_fails_leaves_everything_as_it_was),
        TEST(test_rules__each_start_is_a_run_of_its_own),
        TEST(test_rules__long_agent_names_are_cut_at_a_character),
        TEST(test_rules__a_full_queue_answers_every_call_once),
        TEST(test_rules__a_user_is_written_down_once),
        TEST(test_rules__reads_are_rendered_before_the_answer_and_writes_are_not),
        TEST(test_rules__pages_of_messages_say_whether_more_follow),
        TEST(test_rules__sizes_of_grpc_pages),
        TEST(test_rules__too_much_that_waits_is_refused),
    };
    return cmocka_run_group_tests_name("rules", tests, NULL, NULL);
}
