#include "test-support.h"

typedef struct Watcher {
    Fixture *f;
    EventCursor *cursor;
    bool ready;
    ErrCode ended;
    uint64_t version; /* of the last item */
} Watcher;

static void on_ready(void *arg)
{
    Watcher *w = arg;
    w->ready = true;
}

static void on_end(void *arg, const Err *err)
{
    Watcher *w = arg;
    w->ended = err->code;
}

static const CursorOps ops = {.on_ready = on_ready, .on_end = on_end};

static void watch(Fixture *f, Watcher *w, const Kind *k, Caller *caller, const char *project, uint64_t after)
{
    Err err = {0};
    *w = (Watcher){.f = f};
    assert_ok(event_cursor_open(f->hub, k, caller, str_from(project), after, &ops, w, &w->cursor, &err),
              &err);
}

static bool next(Watcher *w, EventItem *it)
{
    if (!event_cursor_next(w->cursor, it)) {
        w->ready = false;
        return false;
    }
    assert_true(it->version >= w->version); /* a resume point never goes back */
    w->version = it->version;
    return true;
}

/* The next item, waited for. */
static EventItem take(Watcher *w)
{
    EventItem it;
    while (!w->ready || !next(w, &it)) {
        turn(w->f);
        assert_int_equal(w->ended, ERR_OK);
    }
    return it;
}

static void expect(Watcher *w, EventType type, const char *id)
{
    EventItem it = take(w);
    assert_int_equal(it.type, type);
    assert_true(str_eqz(it.id, id));
    assert_int_equal(it.obj == NULL, type == EVENT_DELETED);
}

static void unwatch(Watcher *w)
{
    w->cursor = event_cursor_close(w->cursor);
}

/* Everything that was committed has been looked at. */
static void settle(Fixture *f)
{
    while (f->hub->seen < f->hub->wanted || f->hub->feed_running || !f->hub->events_known)
        turn(f);
}

static void set_prompt(Fixture *f, const char *id, const char *prompt)
{
    CLEANUP(obj_freep) Obj *c = obj_new(&kind_session);
    obj_set_str(c, SESSION_PROMPT, str_from(prompt));
    update_object(f, &kind_session, id, c);
}

static void test_events__created_updated_deleted(void **state)
{
    Fixture *f = *state;
    settle(f);
    const uint64_t base = f->hub->seen; /* events of the roles that every store has */
    Watcher w = {0};
    watch(f, &w, &kind_session, f->admin, NULL, UINT64_MAX);
    CLEANUP_FREE char *id = new_session(f, "s", NULL);
    EventItem it = take(&w);
    assert_int_equal(it.type, EVENT_CREATED);
    assert_string_equal(obj_cstr(it.obj, SESSION_NAME), "s");
    set_prompt(f, id, "p");
    it = take(&w);
    assert_int_equal(it.type, EVENT_UPDATED);
    assert_string_equal(obj_cstr(it.obj, SESSION_PROMPT), "p");
    delete_object(f, &kind_session, id);
    expect(&w, EVENT_DELETED, id);
    assert_false(next(&w, &it));
    assert_int_equal(event_cursor_version(w.cursor), base + 3);
    unwatch(&w);
}

static void test_events__a_slow_reader_gets_the_newest_state_once(void **state)
{
    Fixture *f = *state;
    settle(f);
    const uint64_t base = f->hub->seen; /* events of the roles that every store has */
    Watcher w = {0};
    watch(f, &w, &kind_session, f->admin, NULL, UINT64_MAX);
    CLEANUP_FREE char *a = new_session(f, "a", NULL);
    CLEANUP_FREE char *b = new_session(f, "b", NULL);
    CLEANUP_FREE char *c = new_session(f, "c", NULL);
    for (int i = 0; i < 5; i++)
        set_prompt(f, a, i % 2 ? "one" : "other");
    set_prompt(f, a, "last");
    delete_object(f, &kind_session, b);
    settle(f);
    EventItem it = take(&w);
    assert_int_equal(it.type, EVENT_CREATED); /* it was never told of */
    assert_true(str_eqz(it.id, a));
    assert_string_equal(obj_cstr(it.obj, SESSION_PROMPT), "last");
    assert_int_equal(it.version, base + 1); /* b's creation, 2, is not delivered yet */
    expect(&w, EVENT_DELETED, b);
    expect(&w, EVENT_CREATED, c);
    assert_int_equal(w.version, base + 10);
    assert_false(next(&w, &it));
    set_prompt(f, a, "again");
    settle(f);
    expect(&w, EVENT_UPDATED, a);
    unwatch(&w);
}

static void test_events__resume_where_one_was(void **state)
{
    Fixture *f = *state;
    settle(f);
    const uint64_t base = f->hub->seen; /* events of the roles that every store has */
    Watcher w = {0};
    CLEANUP_FREE char *a = new_session(f, "a", NULL);
    CLEANUP_FREE char *b = new_session(f, "b", NULL);
    set_prompt(f, a, "x");
    settle(f);
    watch(f, &w, &kind_session, f->admin, NULL, base + 1);
    expect(&w, EVENT_CREATED, b);
    expect(&w, EVENT_UPDATED, a);
    unwatch(&w);
    watch(f, &w, &kind_session, f->admin, NULL, base + 3);
    set_prompt(f, b, "y");
    expect(&w, EVENT_UPDATED, b);
    unwatch(&w);
}

static int purge_job(Tx *tx, void *arg, Err *err)
{
    return tx_events_purge(tx, (WallUsec){INT64_MAX}, arg, err);
}

static int newest_job(Tx *tx, void *arg, Err *err)
{
    uint64_t oldest;
    return tx_events_range(tx, &oldest, arg, err);
}

static void expect_relist(Fixture *f, uint64_t after)
{
    Watcher w = {0};
    watch(f, &w, &kind_session, f->admin, NULL, after);
    while (!w.ended)
        turn(f);
    assert_int_equal(w.ended, ERR_PRECONDITION);
    unwatch(&w);
}

static void test_events__versions_that_are_not_there_must_list_anew(void **state)
{
    Fixture *f = *state;
    Err err = {0};
    uint64_t removed = 0, base = 0; /* events of the roles that every store has */
    assert_ok(run_job(f, STORE_READ, newest_job, &base, &err), &err);
    for (int i = 0; i < 4; i++)
        free(new_session(f, "s", NULL));
    assert_ok(run_job(f, STORE_WRITE, purge_job, &removed, &err), &err);
    assert_int_equal(removed, base + 3);
    expect_relist(f, base + 2); /* the hub may not have heard of the purge yet */
    expect_relist(f, base + 5);
    Watcher w = {0};
    watch(f, &w, &kind_session, f->admin, NULL, base + 3);
    assert_int_equal(take(&w).type, EVENT_CREATED);
    unwatch(&w);
    f->options.poll_interval = USEC_PER_MSEC;
    fixture_new_hub(f);
    settle(f);
    EventCursor *c = NULL;
    assert_int_equal(event_cursor_open(f->hub, &kind_session, f->admin, STR_NULL, 2, &ops, &w, &c, &err),
                     -ERR_PRECONDITION);
}

/* Far behind: by pages of its own, while new events go to others at once. */
static void test_events__a_long_way_back(void **state)
{
    enum { N = 1300 };
    Fixture *f = *state;
    settle(f);
    Watcher back = {0};
    Watcher live = {0};
    CLEANUP_FREE char *a = new_session(f, "a", NULL);
    for (int i = 0; i < N; i++)
        free(new_session(f, "s", NULL));
    settle(f);
    watch(f, &live, &kind_session, f->admin, NULL, UINT64_MAX);
    watch(f, &back, &kind_session, f->admin, NULL, 0);
    set_prompt(f, a, "x");
    expect(&live, EVENT_UPDATED, a);
    expect(&back, EVENT_CREATED, a);
    for (int i = 0; i < N; i++)
        assert_int_equal(take(&back).type, EVENT_CREATED);
    set_prompt(f, a, "y");
    EventItem it = take(&back); /* the first change of a may have been merged into its creation, or not */
    while (strcmp(obj_cstr(it.obj, SESSION_PROMPT), "y") != 0)
        it = take(&back);
    expect(&live, EVENT_UPDATED, a);
    unwatch(&back);
    unwatch(&live);
}

static void answered(void *arg, SvcAnswer *a)
{
    assert_null(a->err);
    *(bool *)arg = true;
}

/* Through the service: its maker is bound to it as the owner. */
static void make_project(Fixture *f, Caller *owner, const char *name)
{
    bool done = false;
    Obj *o = obj_new(&kind_project);
    obj_set_str(o, PROJECT_NAME, str_from(name));
    SvcCtx x = {.caller = owner};
    svc_create(f->service, &x, &(SvcTarget){.kind = &kind_project}, o, answered, &done);
    while (!done)
        turn(f);
}

static void test_events__only_what_the_caller_may_see(void **state)
{
    Fixture *f = *state;
    Caller *alice = caller_new(CALLER_USER, STR("alice"), STR(""), STR(""));
    Caller *bob = caller_new(CALLER_USER, STR("bob"), STR(""), STR(""));
    make_project(f, alice, "proj-a");
    make_project(f, bob, "proj-b");
    settle(f);
    Watcher all = {0};
    Watcher mine = {0};
    Watcher one = {0};
    watch(f, &all, &kind_session, f->admin, NULL, UINT64_MAX);
    watch(f, &mine, &kind_session, alice, NULL, UINT64_MAX);
    watch(f, &one, &kind_session, f->admin, "proj-b", UINT64_MAX);
    CLEANUP_FREE char *b = new_session(f, "b", "proj-b");
    CLEANUP_FREE char *a = new_session(f, "a", "proj-a");
    delete_object(f, &kind_session, b);
    delete_object(f, &kind_session, a);
    settle(f);
    expect(&all, EVENT_DELETED, b);
    expect(&all, EVENT_DELETED, a);
    expect(&mine, EVENT_DELETED, a);
    expect(&one, EVENT_DELETED, b);
    EventItem it;
    assert_false(next(&mine, &it));
    assert_false(next(&one, &it));
    unwatch(&all);
    unwatch(&mine);
    unwatch(&one);
    caller_unref(alice);
    caller_unref(bob);
}

/* The rights on a project go with it; whoever saw it hears that it, and what was in it, is gone. */
static void test_events__the_owner_hears_of_the_deletion(void **state)
{
    Fixture *f = *state;
    bool done = false;
    Caller *alice = caller_new(CALLER_USER, STR("alice"), STR(""), STR(""));
    Caller *bob = caller_new(CALLER_USER, STR("bob"), STR(""), STR(""));
    make_project(f, alice, "proj-a");
    Watcher mine = {0};
    Watcher his = {0};
    watch(f, &mine, &kind_session, alice, NULL, UINT64_MAX);
    watch(f, &his, &kind_session, bob, NULL, UINT64_MAX);
    CLEANUP_FREE char *a = new_session(f, "a", "proj-a");
    settle(f);
    expect(&mine, EVENT_CREATED, a);
    SvcCtx x = {.caller = alice};
    svc_delete(f->service, &x, &(SvcTarget){.kind = &kind_project, .id = STR("proj-a")}, answered, &done);
    while (!done)
        turn(f);
    settle(f);
    expect(&mine, EVENT_DELETED, a);
    CLEANUP_FREE char *later = new_session(f, "later", "proj-a");
    settle(f);
    EventItem it;
    assert_false(next(&mine, &it));
    assert_false(next(&his, &it));
    unwatch(&mine);
    unwatch(&his);
    caller_unref(alice);
    caller_unref(bob);
}

static void inbox_message(Fixture *f, const char *agent, const char *body)
{
    CLEANUP(obj_freep) Obj *o = obj_new(&kind_inbox_message);
    obj_set_str(o, INBOX_AGENT_ID, str_from(agent));
    obj_set_str(o, INBOX_BODY, str_from(body));
    insert_object(f, o);
}

static void test_events__of_one_parent(void **state)
{
    Fixture *f = *state;
    settle(f);
    Watcher w = {0};
    watch(f, &w, &kind_inbox_message, f->admin, NULL, UINT64_MAX);
    event_cursor_only_parent(w.cursor, STR("agent-1"));
    inbox_message(f, "agent-2", "not mine");
    inbox_message(f, "agent-1", "mine");
    EventItem it = take(&w);
    assert_string_equal(obj_cstr(it.obj, INBOX_BODY), "mine");
    unwatch(&w);
}

static void test_events__opened_before_the_hub_knows_where_it_is(void **state)
{
    Fixture *f = *state;
    free(new_session(f, "before", NULL));
    fixture_new_hub(f);
    Watcher now = {0};
    Watcher start = {0};
    watch(f, &now, &kind_session, f->admin, NULL, UINT64_MAX);
    watch(f, &start, &kind_session, f->admin, NULL, 0);
    settle(f);
    free(new_session(f, "after", NULL));
    EventItem it = take(&now);
    assert_string_equal(obj_cstr(it.obj, SESSION_NAME), "after");
    it = take(&start);
    assert_string_equal(obj_cstr(it.obj, SESSION_NAME), "before");
    it = take(&start);
    assert_string_equal(obj_cstr(it.obj, SESSION_NAME), "after");
    unwatch(&now);
    unwatch(&start);
}

static void test_events__shutdown(void **state)
{
    Fixture *f = *state;
    Watcher a = {0};
    Watcher b = {0};
    settle(f);
    watch(f, &a, &kind_session, f->admin, NULL, UINT64_MAX);
    watch(f, &b, &kind_session, f->admin, NULL, 0);
    hub_shutdown(f->hub);
    while (!a.ended || !b.ended)
        turn(f);
    assert_int_equal(a.ended, ERR_UNAVAILABLE);
    unwatch(&a);
    unwatch(&b);
}

/* ---- what followers know in the end is what is there ---- */

enum { FOLLOWERS = 8, OBJECTS = 12, CHANGES = 600 };

typedef struct Follower {
    Watcher w;
    char *known[OBJECTS]; /* prompt of each session; NULL = it is not there */
} Follower;

static size_t object_number(char *const *ids, Str id)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        if (ids[i] && str_eqz(id, ids[i]))
            return i;
    }
    return OBJECTS;
}

/* Sessions that are gone for good have no number any more; nor has anybody to know of them. */
static void follow(Follower *fo, char *const *ids, size_t n)
{
    EventItem it;
    while (n-- && next(&fo->w, &it)) {
        size_t i = object_number(ids, it.id);
        if (i == OBJECTS)
            continue;
        free(fo->known[i]);
        fo->known[i] = it.obj ? xstrdup(obj_cstr(it.obj, SESSION_PROMPT)) : NULL;
    }
}

static void change_something(Fixture *f, char **ids, char **prompts, Follower *fo, uint64_t *seed)
{
    size_t i = test_random(seed) % OBJECTS;
    char prompt[16];
    (void)snprintf(prompt, sizeof(prompt), "%u", test_random(seed));
    if (!ids[i]) {
        ids[i] = new_session(f, "s", NULL);
    } else if (test_random(seed) % 4 == 0) {
        delete_object(f, &kind_session, ids[i]);
        free(ids[i]);
        free(prompts[i]);
        ids[i] = prompts[i] = NULL;
        for (size_t k = 0; k < FOLLOWERS; k++) {
            free(fo[k].known[i]);
            fo[k].known[i] = NULL;
        }
        return;
    }
    free(prompts[i]);
    prompts[i] = xstrdup(prompt);
    set_prompt(f, ids[i], prompt);
}

static bool is_current(const Follower *fo, char *const *prompts)
{
    for (size_t i = 0; i < OBJECTS; i++) {
        if (!fo->known[i] != !prompts[i] || (prompts[i] && strcmp(fo->known[i], prompts[i]) != 0))
            return false;
    }
    return true;
}

static void test_events__followers_end_with_what_is_there(void **state)
{
    Fixture *f = *state;
    uint64_t seed = 11;
    char *ids[OBJECTS] = {0};
    char *prompts[OBJECTS] = {0};
    Follower *fo = xcalloc(FOLLOWERS, sizeof(*fo));
    settle(f);
    for (size_t i = 0; i < FOLLOWERS; i++)
        watch(f, &fo[i].w, &kind_session, f->admin, NULL, 0);
    for (int n = 0; n < CHANGES; n++) {
        change_something(f, ids, prompts, fo, &seed);
        Follower *x = &fo[test_random(&seed) % FOLLOWERS];
        if (test_random(&seed) % 6 == 0) {
            uint64_t version = x->w.version;
            unwatch(&x->w);
            watch(f, &x->w, &kind_session, f->admin, NULL, version);
            x->w.version = version;
        } else if (x->w.ready) {
            follow(x, ids, 1 + test_random(&seed) % 10);
        }
    }
    for (size_t i = 0; i < FOLLOWERS; i++) {
        while (!is_current(&fo[i], prompts)) {
            if (fo[i].w.ready)
                follow(&fo[i], ids, SIZE_MAX);
            turn(f);
            assert_int_equal(fo[i].w.ended, ERR_OK);
        }
        unwatch(&fo[i].w);
        for (size_t k = 0; k < OBJECTS; k++)
            free(fo[i].known[k]);
    }
    for (size_t i = 0; i < OBJECTS; i++) {
        free(ids[i]);
        free(prompts[i]);
    }
    free(fo);
}

int run_event_tests(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_events__created_updated_deleted),
        TEST(test_events__a_slow_reader_gets_the_newest_state_once),
        TEST(test_events__resume_where_one_was),
        TEST(test_events__versions_that_are_not_there_must_list_anew),
        TEST(test_events__a_long_way_back),
        TEST(test_events__only_what_the_caller_may_see),
        TEST(test_events__the_owner_hears_of_the_deletion),
        TEST(test_events__of_one_parent),
        TEST(test_events__opened_before_the_hub_knows_where_it_is),
        TEST(test_events__shutdown),
        TEST(test_events__followers_end_with_what_is_there),
    };
    return cmocka_run_group_tests_name("hub events", tests, NULL, NULL);
}
