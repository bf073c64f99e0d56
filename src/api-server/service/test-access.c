/* Who may do what: a table of operations, each tried by an administrator, the platform, the owner and a
 * stranger. */
#include "test-internal.h"

#include "service-internal.h"

#include <stdio.h>

/* Alice's project with one of everything in it. */
typedef struct Place {
    World *w;
    char *project, *settings, *agent, *inbox, *session, *loose, *user;
} Place;

static void place_free(Place *p)
{
    char *const all[] = {p->project, p->settings, p->agent, p->inbox, p->session, p->loose, p->user};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        free(all[i]);
}

static Place place_make(World *w)
{
    Place p = {.w = w};
    p.project = make(w, w->alice, &kind_project, NULL, NULL, "{\"name\":\"of-alice\"}");
    p.settings = make(w, w->alice, &kind_project_settings, NULL, NULL, "{\"project_id\":\"of-alice\"}");
    p.agent = make(w, w->alice, &kind_agent, p.project, p.project, "{\"project_id\":\"\",\"name\":\"a\"}");
    p.inbox =
        make(w, w->alice, &kind_inbox_message, p.project, p.agent, "{\"agent_id\":\"\",\"body\":\"b\"}");
    p.session = make(w, w->alice, &kind_session, NULL, NULL,
                     "{\"name\":\"s\",\"project_id\":\"of-alice\",\"prompt\":\"p\"}");
    p.loose = make(w, w->alice, &kind_session, NULL, NULL, "{\"name\":\"loose\"}");
    CLEANUP_GOT Got users = do_list(w, w->admin, &kind_user, NULL, NULL, "username = 'alice'");
    assert_int_equal(users.total, 1);
    p.user = make(w, w->admin, &kind_user, NULL, NULL, "{\"username\":\"carol\",\"name\":\"C\"}");
    return p;
}

/* ---- the operations ---- */

static const char *id_of(const Place *p, const Kind *k)
{
    const struct {
        const Kind *kind;
        const char *id;
    } ids[] = {{&kind_project, p->project}, {&kind_project_settings, p->settings},
               {&kind_agent, p->agent},     {&kind_inbox_message, p->inbox},
               {&kind_session, p->session}, {&kind_user, p->user}};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++)
        if (ids[i].kind == k)
            return ids[i].id;
    return NULL;
}

static Got op_get(const Place *p, Caller *c, const Kind *k)
{
    return do_get(p->w, c, k, id_of(p, k));
}

static Got op_patch(const Place *p, Caller *c, const Kind *k)
{
    return do_patch(p->w, c, k, id_of(p, k), "{}");
}

static Got op_delete(const Place *p, Caller *c, const Kind *k)
{
    return do_delete(p->w, c, k, id_of(p, k));
}

static Got op_create_session(const Place *p, Caller *c, const Kind *k)
{
    return do_create(p->w, c, k, NULL, NULL, "{\"name\":\"x\",\"project_id\":\"of-alice\"}");
}

static Got op_create_agent(const Place *p, Caller *c, const Kind *k)
{
    CLEANUP_FREE char *json = xasprintf("{\"project_id\":\"\",\"name\":\"by-%s\"}", c->actor);
    return do_create(p->w, c, k, p->project, p->project, json);
}

static Got op_create_inbox(const Place *p, Caller *c, const Kind *k)
{
    return do_create(p->w, c, k, p->project, p->agent, "{\"agent_id\":\"\",\"body\":\"x\"}");
}

static Got op_create_user(const Place *p, Caller *c, const Kind *k)
{
    CLEANUP_FREE char *json = xasprintf("{\"username\":\"by-%s\",\"name\":\"x\"}", c->actor);
    return do_create(p->w, c, k, NULL, NULL, json);
}

static Got op_create_project(const Place *p, Caller *c, const Kind *k)
{
    static unsigned n; /* a name of its own for each try */
    CLEANUP_FREE char *json = xasprintf("{\"name\":\"project-%u\"}", n++);
    return do_create(p->w, c, k, NULL, NULL, json);
}

static Got op_status(const Place *p, Caller *c, const Kind *k)
{
    return do_status(p->w, c, p->session, "{\"sdk_session_id\":\"x\"}");
}

static Got op_start(const Place *p, Caller *c, const Kind *k)
{
    return do_start(p->w, c, p->project, p->agent, "");
}

static Got op_push_user(const Place *p, Caller *c, const Kind *k)
{
    return do_push(p->w, c, p->session, "user", "x");
}

static Got op_push_other(const Place *p, Caller *c, const Kind *k)
{
    return do_push(p->w, c, p->session, "assistant", "x");
}

typedef void (*SessionCall)(Service *, const SvcCtx *, Str, SvcDone, void *);
static Got session_call(const Place *p, Caller *c, SessionCall call, const char *id, bool rest)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    x.rest = rest;
    call(p->w->service, &x, str_from(id), got_answer, &g);
    got_wait(p->w, &g);
    return g;
}

static Got op_session_start(const Place *p, Caller *c, const Kind *k)
{
    return session_call(p, c, svc_session_start, p->loose, true);
}

static Got op_session_stop(const Place *p, Caller *c, const Kind *k)
{
    return session_call(p, c, svc_session_stop, p->loose, true);
}

static Got op_watch_rest(const Place *p, Caller *c, const Kind *k)
{
    return session_call(p, c, svc_watch_check, p->session, true);
}

static Got op_watch_grpc(const Place *p, Caller *c, const Kind *k)
{
    return session_call(p, c, svc_watch_check, p->session, false);
}

static Got op_watch_inbox(const Place *p, Caller *c, const Kind *k)
{
    return session_call(p, c, svc_inbox_watch_check, p->agent, false);
}

static void reach_read(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg)
{
    svc_session_reach(s, x, id, false, done, arg);
}

static void reach_write(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg)
{
    svc_session_reach(s, x, id, true, done, arg);
}

static Got op_reach(const Place *p, Caller *c, const Kind *k)
{
    return session_call(p, c, reach_read, p->session, true);
}

static Got op_reach_write(const Place *p, Caller *c, const Kind *k)
{
    return session_call(p, c, reach_write, p->session, true);
}

static Got op_preview(const Place *p, Caller *c, const Kind *k)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    svc_agent_preview(p->w->service, &x, str_from(p->project), str_from(p->agent), got_answer, &g);
    got_wait(p->w, &g);
    return g;
}

static Got op_list_agents(const Place *p, Caller *c, const Kind *k)
{
    return do_list(p->w, c, &kind_agent, p->project, p->project, "");
}

static Got op_list_inbox(const Place *p, Caller *c, const Kind *k)
{
    return do_list(p->w, c, &kind_inbox_message, p->project, p->agent, "");
}

static Got op_list_sessions(const Place *p, Caller *c, const Kind *k)
{
    return do_list(p->w, c, &kind_session, p->project, p->agent, "");
}

#define OK ERR_OK
#define NO ERR_FORBIDDEN
#define NONE ERR_NOT_FOUND

/* Deletions last: they need what they delete. */
static const struct {
    const char *what;
    Got (*run)(const Place *p, Caller *c, const Kind *k);
    const Kind *kind;
    ErrCode stranger, owner, platform, admin;
} table[] = {
    {"get project", op_get, &kind_project, NONE, OK, OK, OK},
    {"get settings", op_get, &kind_project_settings, NONE, OK, OK, OK},
    {"get agent", op_get, &kind_agent, NONE, OK, OK, OK},
    {"get inbox message", op_get, &kind_inbox_message, NONE, OK, OK, OK},
    {"get session", op_get, &kind_session, NONE, OK, OK, OK},
    {"get another user", op_get, &kind_user, NONE, NONE, OK, OK},
    {"create project", op_create_project, &kind_project, OK, OK, NO, OK},
    {"create session in a project", op_create_session, &kind_session, NO, OK, NO, OK},
    {"create agent", op_create_agent, &kind_agent, NO, OK, NO, OK},
    {"create inbox message", op_create_inbox, &kind_inbox_message, NO, OK, NO, OK},
    {"create user", op_create_user, &kind_user, NO, NO, NO, OK},
    {"patch project", op_patch, &kind_project, NO, OK, NO, OK},
    {"patch settings", op_patch, &kind_project_settings, NO, OK, NO, OK},
    {"patch agent", op_patch, &kind_agent, NO, OK, OK, OK},
    {"patch inbox message", op_patch, &kind_inbox_message, NO, OK, OK, OK},
    {"patch session", op_patch, &kind_session, NO, OK, OK, OK},
    {"patch another user", op_patch, &kind_user, NO, NO, NO, OK},
    {"status of a session", op_status, NULL, NO, NO, OK, OK},
    {"start an agent", op_start, NULL, NO, OK, NO, OK},
    {"preview a start", op_preview, NULL, NONE, OK, OK, OK},
    {"push user message", op_push_user, NULL, NO, OK, NO, OK},
    {"push other message", op_push_other, NULL, NO, OK, OK, OK},
    {"watch messages over REST", op_watch_rest, NULL, NONE, OK, OK, OK},
    {"watch messages over gRPC", op_watch_grpc, NULL, NONE, OK, OK, OK},
    {"watch an inbox", op_watch_inbox, NULL, NO, OK, OK, OK},
    {"follow a runner", op_reach, NULL, NONE, OK, OK, OK},
    {"drive a runner", op_reach_write, NULL, NO, OK, OK, OK},
    {"list agents of a project", op_list_agents, NULL, NONE, OK, OK, OK},
    {"list an inbox", op_list_inbox, NULL, NONE, OK, OK, OK},
    {"list an agent's sessions", op_list_sessions, NULL, NONE, OK, OK, OK},
    {"start a session without project", op_session_start, NULL, NO, OK, NO, ERR_CONFLICT},
    {"stop a session without project", op_session_stop, NULL, NO, OK, OK, OK},
    {"delete another user", op_delete, &kind_user, NO, NO, NO, OK},
    {"delete inbox message", op_delete, &kind_inbox_message, NO, OK, NONE, NONE},
    {"delete session", op_delete, &kind_session, NO, OK, OK, OK},
    {"delete settings", op_delete, &kind_project_settings, NO, OK, OK, OK},
    {"delete agent", op_delete, &kind_agent, NO, OK, NONE, NONE},
    {"delete project", op_delete, &kind_project, NO, OK, OK, OK},
};

static void test_access__each_operation_by_each_caller(void **state)
{
    World *w = *state;
    CLEANUP(place_free) Place p = place_make(w);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const struct {
            Caller *caller;
            ErrCode want;
        } tries[] = {{w->bob, table[i].stranger},
                     {w->alice, table[i].owner},
                     {w->platform, table[i].platform},
                     {w->admin, table[i].admin}};
        for (size_t t = 0; t < ARRAY_LEN(tries); t++) {
            CLEANUP_GOT Got g = table[i].run(&p, tries[t].caller, table[i].kind);
            if (g.err.code != tries[t].want)
                fail_msg("%s by %s: %s (%s), want %s", table[i].what, tries[t].caller->actor,
                         err_info(g.err.code)->name, g.err.msg, err_info(tries[t].want)->name);
        }
    }
}

static void test_access__refused_reads_look_like_missing_objects(void **state)
{
    World *w = *state;
    CLEANUP(place_free) Place p = place_make(w);
    static const Kind *const kinds[] = {&kind_project,       &kind_project_settings, &kind_agent,
                                        &kind_inbox_message, &kind_session,          &kind_user};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const char *id = id_of(&p, kinds[i]);
        CLEANUP_FREE char *text = xasprintf("%s with id='%s' not found", kinds[i]->name, id);
        CLEANUP_GOT Got g = do_get(w, w->bob, kinds[i], id);
        assert_string_equal(g.err.msg, text);
        assert_null(g.obj);
    }
    CLEANUP_GOT Got watch = op_watch_grpc(&p, w->bob, NULL);
    CLEANUP_FREE char *missing = xasprintf("Session with id='%s' not found", p.session);
    assert_string_equal(watch.err.msg, missing);
    CLEANUP_GOT Got push = op_push_user(&p, w->platform, NULL);
    assert_string_equal(push.err.msg, "service token may not push event_type=user");
}

static void test_access__lists_hold_what_is_visible(void **state)
{
    World *w = *state;
    CLEANUP(place_free) Place p = place_make(w);
    CLEANUP_FREE char *own = make(w, w->bob, &kind_session, NULL, NULL, "{\"name\":\"mine\"}");
    const struct {
        const Kind *kind;
        int64_t bob, alice, admin;
    } rows[] = {{&kind_project, 0, 1, 1}, {&kind_project_settings, 0, 1, 1}, {&kind_session, 1, 2, 3}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP_GOT Got bob = do_list(w, w->bob, rows[i].kind, NULL, NULL, "id != '' or id is null");
        CLEANUP_GOT Got alice = do_list(w, w->alice, rows[i].kind, NULL, NULL, "");
        CLEANUP_GOT Got admin = do_list(w, w->admin, rows[i].kind, NULL, NULL, "");
        assert_int_equal(bob.total, rows[i].bob);
        assert_int_equal(alice.total, rows[i].alice);
        assert_int_equal(admin.total, rows[i].admin);
    }
    CLEANUP_GOT Got users = do_list(w, w->bob, &kind_user, NULL, NULL, "");
    assert_int_equal(users.total, 1);
}

/* ---- kind watches ---- */

typedef struct Look {
    World *w;
    SvcRights *set;
    bool done;
} Look;

static int look_job(Tx *tx, void *arg, Err *err)
{
    Look *l = arg;
    return svc_rights_read(l->set, tx, false, err);
}

static void look_done(void *arg, int rc, const Err *err)
{
    Look *l = arg;
    assert_int_equal(rc, 0);
    l->done = true;
}

/* A deleted session of that project and creator, as a watcher of now is told of it. */
static bool sees(World *w, Caller *c, const char *project, const char *owner)
{
    Look l = {.w = w, .set = svc_rights_new(w->service)};
    Rights *r;
    svc_rights_want(l.set, c);
    assert_int_equal(store_submit(w->store, STORE_READ, look_job, look_done, &l, NULL), 0);
    while (!l.done)
        loop_run_once(w->loop, true);
    assert_true(svc_rights_of(l.set, c, &r));
    const SvcEvent ev = {
        .kind = &kind_session, .id = STR("id"), .project_id = str_from(project), .owner = str_from(owner)};
    bool visible = svc_visible(c, r, &ev);
    svc_rights_free(l.set);
    return visible;
}

static void test_access__watches_follow_the_bindings(void **state)
{
    World *w = *state;
    CLEANUP(place_free) Place p = place_make(w);
    assert_true(sees(w, w->alice, p.project, "someone"));
    assert_false(sees(w, w->bob, p.project, "someone"));
    assert_true(sees(w, w->bob, p.project, "bob"));
    assert_true(sees(w, w->platform, p.project, ""));
    assert_true(sees(w, w->admin, p.project, ""));
    assert_false(sees(w, w->alice, "", ""));

    /* D64: a later project of the same name starts with its own owner only */
    CLEANUP_GOT Got gone = do_delete(w, w->alice, &kind_project, p.project);
    CLEANUP_FREE char *again = make(w, w->bob, &kind_project, NULL, NULL, "{\"name\":\"of-alice\"}");
    assert_true(sees(w, w->bob, again, ""));
    assert_false(sees(w, w->alice, again, ""));
}

static void test_access__callers_that_were_not_wanted_are_not_answered(void **state)
{
    World *w = *state;
    Rights *r;
    SvcRights *set = svc_rights_new(w->service);
    assert_false(svc_rights_of(set, w->alice, &r));
    assert_true(svc_rights_of(set, w->admin, &r)); /* asks no row */
    assert_null(r);
    svc_rights_free(set);
}

/* Roles are written once: a second start finds them as they are. */
static void test_access__seeding_again_changes_nothing(void **state)
{
    World *w = *state;
    CLEANUP_GOT Got before = do_list(w, w->admin, &kind_role, NULL, NULL, "built_in = 'true'");
    assert_int_equal(before.total, n_builtin_roles);
    CLEANUP_FREE char *mine = make(w, w->admin, &kind_role, NULL, NULL, "{\"name\":\"mine\"}");
    world_load(w);
    CLEANUP_GOT Got after = do_list(w, w->admin, &kind_role, NULL, NULL, "");
    assert_int_equal(after.total, n_builtin_roles + 1);
    CLEANUP_GOT Got newer = do_list(w, w->admin, &kind_role, NULL, NULL, "built_in = 'true'");
    assert_int_equal(newer.total, n_builtin_roles);
}

/* What was read before a change that the loop has heard of is not kept beyond the read. */
static void test_access__rights_are_kept_until_something_changes(void **state)
{
    World *w = *state;
    Service *s = w->service;
    CLEANUP_FREE char *project = make(w, w->alice, &kind_project, NULL, NULL, "{\"name\":\"kept\"}");
    CLEANUP_GOT Got first = do_get(w, w->alice, &kind_project, project);
    CLEANUP(rights_unrefp) Rights *kept = access_kept(s, w->alice);
    assert_non_null(kept);
    assert_int_equal(rights_len(kept), 1);
    CLEANUP_GOT Got again = do_get(w, w->alice, &kind_project, project);
    CLEANUP(rights_unrefp) Rights *same = access_kept(s, w->alice);
    assert_ptr_equal(kept, same);

    svc_note_event(s, &kind_role_binding, EVENT_DELETED); /* of another server */
    assert_null(access_kept(s, w->alice));
    access_keep(s, w->alice, kept, s->access_generation - 1);
    assert_null(access_kept(s, w->alice));
    svc_note_event(s, &kind_session, EVENT_UPDATED);
    access_keep(s, w->alice, kept, s->access_generation);
    svc_note_event(s, &kind_session, EVENT_UPDATED);
    CLEANUP(rights_unrefp) Rights *still = access_kept(s, w->alice);
    assert_ptr_equal(still, kept);
    assert_null(access_kept(s, w->bob));
}

static Got fetch_token(World *w, Caller *c, const char *id)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    const SvcTarget t = {.kind = &kind_credential, .id = str_from(id)};
    svc_credential_token(w->service, &x, &t, got_answer, &g);
    got_wait(w, &g);
    return g;
}

/* Another server took the right away, and this one has not heard of it yet. */
static void test_access__a_token_goes_by_what_is_true_now(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *id = make(w, w->alice, &kind_credential, NULL, NULL,
                                 "{\"name\":\"c\",\"provider\":\"github\",\"token\":\"t\"}");
    CLEANUP_FREE char *json = xasprintf("{\"role_id\":\"credential:owner\",\"scope\":\"credential\","
                                        "\"user_id\":\"bob\",\"credential_id\":\"%s\"}",
                                        id);
    CLEANUP_FREE char *row = make(w, w->admin, &kind_role_binding, NULL, NULL, json);
    CLEANUP_GOT Got may = fetch_token(w, w->bob, id);
    assert_int_equal(may.err.code, ERR_OK);
    CLEANUP(rights_unrefp) Rights *kept = access_kept(w->service, w->bob);
    CLEANUP_GOT Got taken = do_delete(w, w->admin, &kind_role_binding, row);
    access_keep(w->service, w->bob, kept, w->service->access_generation);
    CLEANUP_GOT Got sees_it = do_get(w, w->bob, &kind_credential, id);
    assert_int_equal(sees_it.err.code, ERR_OK);
    CLEANUP_GOT Got may_not = fetch_token(w, w->bob, id);
    assert_int_equal(may_not.err.code, ERR_NOT_FOUND);
}

/* The answer to a change comes after the loop forgot what was true before it. */
static void test_access__a_revocation_counts_when_it_is_answered(void **state)
{
    World *w = *state;
    CLEANUP_FREE char *project = make(w, w->alice, &kind_project, NULL, NULL, "{\"name\":\"shared\"}");
    for (int i = 0; i < 3; i++) {
        CLEANUP_FREE char *row =
            make(w, w->alice, &kind_role_binding, NULL, NULL,
                 "{\"role_id\":\"project:viewer\",\"scope\":\"project\",\"user_id\":\"bob\","
                 "\"project_id\":\"shared\"}");
        CLEANUP_GOT Got in = do_get(w, w->bob, &kind_project, project);
        assert_int_equal(in.err.code, ERR_OK);
        CLEANUP_GOT Got taken = do_delete(w, w->alice, &kind_role_binding, row);
        assert_int_equal(taken.err.code, ERR_OK);
        CLEANUP_GOT Got out = do_get(w, w->bob, &kind_project, project);
        assert_int_equal(out.err.code, ERR_NOT_FOUND);
    }
}

int run_access_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_access__each_operation_by_each_caller, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_access__refused_reads_look_like_missing_objects, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_access__lists_hold_what_is_visible, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_access__watches_follow_the_bindings, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_access__callers_that_were_not_wanted_are_not_answered,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_access__rights_are_kept_until_something_changes, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_access__a_token_goes_by_what_is_true_now, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_access__a_revocation_counts_when_it_is_answered, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_access__seeding_again_changes_nothing, world_setup,
                                        world_teardown),
    };
    return cmocka_run_group_tests_name("access", tests, NULL, NULL);
}
