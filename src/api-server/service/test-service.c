#include "test-internal.h"

#include <stdio.h>
#include <stdlib.h>
#include "base/file.h"

static void loaded(void *arg, const Err *err)
{
    if (err)
        fail_msg("%s", err->msg);
    *(bool *)arg = true;
}

void world_load(World *w)
{
    bool done = false;
    service_load(w->service, loaded, &done);
    while (!done)
        loop_run_once(w->loop, true);
}

int world_setup(void **state)
{
    World *w = xnew(World);
    Err err = {0};
    (void)snprintf(w->dir, sizeof(w->dir), "/tmp/ambient-test-service-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    CLEANUP_FREE char *url = xasprintf("sqlite:%s/store.db", w->dir);
    assert_int_equal(loop_new(&w->loop, &err), 0);
    if (store_open(w->loop, &(StoreOptions){.url = url, .create = true}, &w->store, &err) < 0)
        fail_msg("%s", err.msg);
    w->service = service_new(w->loop, &(ServiceOptions){.store = w->store, .clock = &clock_system});
    world_load(w);
    w->admin = caller_new(CALLER_ADMIN, STR("root"), STR("Root"), STR(""));
    w->platform = caller_new(CALLER_SERVICE, STR(""), STR(""), STR(""));
    w->alice = caller_new(CALLER_USER, STR("alice"), STR("Alice"), STR("a@example.org"));
    w->bob = caller_new(CALLER_USER, STR("bob"), STR("Bob"), STR(""));
    *state = w;
    return 0;
}

int world_teardown(void **state)
{
    World *w = *state;
    store_close(w->store);
    loop_run_once(w->loop, false);
    service_free(w->service);
    caller_unref(w->admin);
    caller_unref(w->platform);
    caller_unref(w->alice);
    caller_unref(w->bob);
    loop_free(w->loop);
    assert_int_equal(dir_remove_tree(w->dir, NULL), 0);
    free(w);
    return 0;
}

void got_free(Got *g)
{
    obj_free(g->obj);
    free(g->text);
    free(g->first_payload);
    *g = (Got){0};
}

void got_answer(void *arg, SvcAnswer *a)
{
    Got *g = arg;
    g->calls++;
    g->done = true;
    if (a->err)
        g->err = *a->err;
    g->obj = TAKE(a->obj);
    g->n_items = a->list->len;
    g->total = a->list->total;
    g->n_messages = a->n_messages;
    g->created = a->created;
    g->more = a->more;
    g->text = str_dup(a->text);
    g->first_payload = a->n_messages ? str_dup(a->messages[0]->payload) : NULL;
    g->seq = a->message ? a->message->seq : 0;
}

void got_wait(World *w, Got *g)
{
    assert_false(g->done); /* never before the starting call returns */
    while (!g->done)
        loop_run_once(w->loop, true);
    assert_int_equal(g->calls, 1);
}

SvcCtx ctx(Caller *c)
{
    return (SvcCtx){.caller = c, .rest = true};
}

static Obj *parse(const Kind *k, ObjMode mode, const char *json)
{
    Err err = {0};
    Obj *o = NULL;
    if (obj_from_json_text(k, mode, str_from(json), &o, &err) < 0)
        fail_msg("%s: %s", json, err.msg);
    return o;
}

Got do_get(World *w, Caller *c, const Kind *k, const char *id)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    svc_get(w->service, &x, &(SvcTarget){.kind = k, .id = str_from(id)}, got_answer, &g);
    got_wait(w, &g);
    return g;
}

Got do_create(World *w, Caller *c, const Kind *k, const char *project, const char *parent, const char *json)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    SvcTarget t = {.kind = k, .project = str_from(project), .parent = str_from(parent)};
    svc_create(w->service, &x, &t, parse(k, OBJ_CREATE, json), got_answer, &g);
    got_wait(w, &g);
    return g;
}

Got do_patch(World *w, Caller *c, const Kind *k, const char *id, const char *json)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    svc_patch(w->service, &x, &(SvcTarget){.kind = k, .id = str_from(id)}, parse(k, OBJ_PATCH, json),
              got_answer, &g);
    got_wait(w, &g);
    return g;
}

Got do_delete(World *w, Caller *c, const Kind *k, const char *id)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    svc_delete(w->service, &x, &(SvcTarget){.kind = k, .id = str_from(id)}, got_answer, &g);
    got_wait(w, &g);
    return g;
}

Got do_list(World *w, Caller *c, const Kind *k, const char *project, const char *parent, const char *search)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    SvcList q = {.page = 1,
                 .size = 100,
                 .search = str_from(search),
                 .parent_id = str_from(parent),
                 .project_of_parent = str_from(project)};
    svc_list(w->service, &x, k, &q, got_answer, &g);
    got_wait(w, &g);
    return g;
}

Got do_status(World *w, Caller *c, const char *id, const char *json)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    svc_session_status(w->service, &x, str_from(id), parse(&kind_session, OBJ_STATUS, json), got_answer, &g);
    got_wait(w, &g);
    return g;
}

Got do_start(World *w, Caller *c, const char *project, const char *agent, const char *prompt)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    svc_agent_start(w->service, &x, str_from(project), str_from(agent), str_from(prompt), got_answer, &g);
    got_wait(w, &g);
    return g;
}

Got do_push(World *w, Caller *c, const char *session, const char *type, const char *payload)
{
    Got g = {0};
    SvcCtx x = ctx(c);
    SvcPush p = {.session_id = str_from(session), .event_type = str_from(type), .payload = str_from(payload)};
    svc_message_push(w->service, &x, &p, got_answer, &g);
    got_wait(w, &g);
    return g;
}

char *make(World *w, Caller *owner, const Kind *k, const char *project, const char *parent, const char *json)
{
    CLEANUP_GOT Got g = do_create(w, owner, k, project, parent, json);
    if (g.err.code)
        fail_msg("%s: %s", json, g.err.msg);
    return xstrdup(obj_cstr(g.obj, FIELD_ID));
}

int main(void)
{
    return run_access_tests() + run_rules_tests() + run_prompt_tests() + run_schedule_tests();
}
