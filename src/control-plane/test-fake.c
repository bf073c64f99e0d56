#include "test-fake.h"

#include <string.h>
#include "base/mem.h"
#include "json/json.h"

typedef enum CallType { CALL_GET, CALL_PATCH, CALL_ENSURE, CALL_STOP, CALL_RETIRE, CALL_REMOVE } CallType;

/* A call of either side, under way. */
typedef struct FakeCall {
    Fake *fake;
    ListLink link;
    CallType type;
    const Kind *kind;
    Phase if_phase;
    Obj *changes; /* PATCH */
    int64_t run;  /* ENSURE */
    char *prompt, *name;
    RtStop why;
    bool abandoned;
    ApiDone api_done;
    RtDone rt_done;
    void *arg;
    char id[32];
} FakeCall;

uint32_t fake_random(Fake *f)
{
    return test_random(&f->seed);
}

/* ---- the server ---- */

static void emit(Fake *f, const char *id, const Obj *o)
{
    if (f->on_event)
        f->on_event(f->on_event_arg, id, o);
}

void fake_touch(Fake *f, Obj *o)
{
    f->clock.wall_us.us++; /* every change has a time of its own */
    obj_set_time(o, FIELD_UPDATED_AT, f->clock.wall_us);
    emit(f, obj_cstr(o, FIELD_ID), o);
}

Obj *fake_session(Fake *f, const char *id)
{
    return map_get(f->sessions, str_from(id));
}

Phase fake_phase(Fake *f, const char *id)
{
    Obj *o = fake_session(f, id);
    assert_non_null(o);
    return obj_phase(o);
}

static void set_phase(Obj *o, Phase p)
{
    if (p == PHASE_NONE)
        obj_set_null(o, SESSION_PHASE);
    else
        obj_set_str(o, SESSION_PHASE, str_from(phase_name(p)));
}

void fake_create(Fake *f, const char *id, Phase phase)
{
    Obj *o = obj_new(&kind_session);
    obj_set_str(o, FIELD_ID, str_from(id));
    obj_set_str(o, SESSION_NAME, STR("a session"));
    obj_set_str(o, SESSION_PROJECT_ID, STR("demo"));
    obj_set_str(o, SESSION_PROMPT, STR("do it"));
    set_phase(o, phase);
    assert_null(map_put(f->sessions, str_from(id), o));
    fake_touch(f, o);
}

bool fake_start(Fake *f, const char *id)
{
    Obj *o = fake_session(f, id);
    if (!o || !phase_can_start(obj_phase(o)))
        return false;
    if (phase_is_terminal(obj_phase(o))) {
        obj_set_null(o, SESSION_COMPLETION_TIME);
        obj_set_int(o, SESSION_SDK_RESTART_COUNT, obj_int(o, SESSION_SDK_RESTART_COUNT, 0) + 1);
    }
    set_phase(o, PHASE_PENDING);
    fake_touch(f, o);
    return true;
}

bool fake_stop(Fake *f, const char *id)
{
    Obj *o = fake_session(f, id);
    if (!o || !phase_can_stop(obj_phase(o)))
        return false;
    set_phase(o, PHASE_STOPPING);
    fake_touch(f, o);
    return true;
}

void fake_delete(Fake *f, const char *id)
{
    Obj *o = map_remove(f->sessions, str_from(id));
    if (!o)
        return;
    obj_free(o);
    emit(f, id, NULL);
}

/* ---- the world ---- */

static void changed(Fake *f, const char *id)
{
    if (f->runtime.on_change)
        f->runtime.on_change(f->runtime.on_change_arg, id);
}

FakeRun *fake_run(Fake *f, const char *id)
{
    return map_get(f->runs, str_from(id));
}

void fake_ready(Fake *f, const char *id)
{
    FakeRun *r = fake_run(f, id);
    if (!r || r->seen.state != RT_STARTING)
        return;
    r->seen.state = RT_READY;
    changed(f, id);
}

void fake_end(Fake *f, const char *id, RtEnd end, int code)
{
    FakeRun *r = fake_run(f, id);
    if (!r || !rt_alive(&r->seen))
        return;
    r->seen.state = RT_ENDED;
    r->seen.end = end;
    r->seen.code = code;
    r->seen.ended_at = clock_wall(&f->clock.clock);
    changed(f, id);
}

static void run_free(FakeRun *r)
{
    if (!r)
        return;
    free(r->prompt);
    free(r->name);
    free(r);
}

void fake_vanish(Fake *f, const char *id)
{
    run_free(map_remove(f->runs, str_from(id)));
    changed(f, id);
}

/* ---- what calls do ---- */

static Map *map_of(Fake *f, const Kind *k)
{
    return k == &kind_session ? f->sessions : k == &kind_project ? f->projects : f->agents;
}

static int do_get(FakeCall *c, Obj **ret, Err *err)
{
    Fake *f = c->fake;
    f->attempts++;
    f->reads++;
    if (f->fail_get)
        return err_set(err, f->fail_get, "planned");
    const Obj *o = map_get(map_of(f, c->kind), str_from(c->id));
    if (!o)
        return err_set(err, ERR_NOT_FOUND, "no %s %s", c->kind->name, c->id);
    *ret = obj_dup(o);
    return 0;
}

static int do_patch(FakeCall *c, Obj **ret, Err *err)
{
    Fake *f = c->fake;
    f->attempts++;
    if (f->fail_patch)
        return err_set(err, f->fail_patch, "planned");
    Obj *o = fake_session(f, c->id);
    if (!o)
        return err_set(err, ERR_NOT_FOUND, "no session %s", c->id);
    if (obj_has(c->changes, SESSION_PHASE) && !phase_status_move_ok(obj_phase(o), obj_phase(c->changes)))
        return err_set(err, ERR_CONFLICT, "cannot move from %s to %s", phase_name(obj_phase(o)),
                       phase_name(obj_phase(c->changes)));
    f->patches++;
    if (obj_apply(o, c->changes))
        fake_touch(f, o);
    *ret = obj_dup(o);
    return 0;
}

static unsigned alive(Fake *f)
{
    unsigned n = 0;
    MAP_FOREACH (f->runs, it)
        n += rt_alive(&((FakeRun *)it.value)->seen);
    return n;
}

static void spawn(FakeCall *c, FakeRun *r)
{
    Fake *f = c->fake;
    char key[64];
    snprintf(key, sizeof(key), "%s/%lld", c->id, (long long)c->run);
    /* The promise: a run is started at most once. */
    assert_null(map_put(f->started, str_from(key), f));
    f->starts++;
    free(r->prompt);
    free(r->name);
    r->prompt = TAKE(c->prompt);
    r->name = TAKE(c->name);
    r->seen = (RtObserved){.state = RT_STARTING, .run = c->run, .started_at = clock_wall(&f->clock.clock)};
}

static int do_ensure(FakeCall *c, Err *err)
{
    Fake *f = c->fake;
    if (f->fail_ensure)
        return err_set(err, f->fail_ensure, "planned");
    FakeRun *r = fake_run(f, c->id);
    if (r && r->seen.state != RT_ABSENT && r->seen.run == c->run)
        return 0;
    if (r && rt_alive(&r->seen))
        return err_set(err, ERR_CONFLICT, "an earlier run is alive");
    if (f->capacity && alive(f) >= f->capacity)
        return err_set(err, ERR_RATE_LIMITED, "full");
    if (!r) {
        r = xnew(FakeRun);
        r->made_at = clock_wall(&f->clock.clock);
        snprintf(r->id, sizeof(r->id), "%s", c->id);
        map_put(f->runs, str_from(c->id), r);
    }
    spawn(c, r);
    return 0;
}

static int do_stop(FakeCall *c, Err *err)
{
    FakeRun *r = fake_run(c->fake, c->id);
    c->fake->stops++;
    if (r && rt_alive(&r->seen)) {
        if (r->seen.state != RT_STOPPING)
            r->seen.stop = c->why;
        r->seen.state = RT_STOPPING;
    }
    return 0;
}

static int do_retire(FakeCall *c, Err *err)
{
    FakeRun *r = fake_run(c->fake, c->id);
    if (r && r->seen.state == RT_ENDED)
        r->seen = (RtObserved){.state = RT_ABSENT};
    return 0;
}

static int do_remove(FakeCall *c, Err *err)
{
    c->fake->removes++;
    run_free(map_remove(c->fake->runs, str_from(c->id)));
    return 0;
}

static int do_runtime(FakeCall *c, Err *err)
{
    switch (c->type) {
    case CALL_ENSURE:
        return do_ensure(c, err);
    case CALL_STOP:
        return do_stop(c, err);
    case CALL_RETIRE:
        return do_retire(c, err);
    default:
        return do_remove(c, err);
    }
}

static void call_free(FakeCall *c)
{
    list_remove(&c->link);
    c->fake->n_calls--;
    free(c->prompt);
    free(c->name);
    obj_free(c->changes);
    free(c);
}

static void call_run(FakeCall *c)
{
    Fake *f = c->fake;
    Err err = {0};
    CLEANUP(obj_freep) Obj *o = NULL;
    bool api = c->type == CALL_GET || c->type == CALL_PATCH;
    int rc;
    if (!c->abandoned && f->fail_percent > fake_random(f) % 100)
        rc = err_set(&err, ERR_UNAVAILABLE, "planned");
    else if (api)
        rc = c->type == CALL_GET ? do_get(c, &o, &err) : do_patch(c, &o, &err);
    else
        rc = do_runtime(c, &err);
    /* An answer may get lost after the work was done. */
    if (rc == 0 && !c->abandoned && f->fail_percent / 4 > fake_random(f) % 100)
        rc = err_set(&err, ERR_UNAVAILABLE, "lost");
    ApiDone api_done = c->api_done;
    RtDone rt_done = c->rt_done;
    void *arg = c->arg;
    bool heard = !c->abandoned;
    call_free(c);
    if (!heard)
        return;
    if (api)
        api_done(arg, rc == 0 ? TAKE(o) : NULL, rc == 0 ? NULL : &err);
    else
        rt_done(arg, rc == 0 ? NULL : &err);
}

bool fake_step(Fake *f)
{
    if (list_empty(&f->calls))
        return false;
    call_run(LIST_ENTRY(f->calls.next, FakeCall, link));
    return true;
}

bool fake_step_any(Fake *f)
{
    if (list_empty(&f->calls))
        return false;
    size_t n = fake_random(f) % f->n_calls;
    ListLink *l = f->calls.next;
    while (n-- > 0)
        l = l->next;
    call_run(LIST_ENTRY(l, FakeCall, link));
    return true;
}

void fake_crash(Fake *f)
{
    LIST_FOREACH_SAFE (&f->calls, l) {
        FakeCall *c = LIST_ENTRY(l, FakeCall, link);
        c->abandoned = true;
        if (fake_random(f) % 2)
            call_free(c);
    }
}

/* ---- the tables of functions ---- */

static FakeCall *call_new(Fake *f, CallType type, Str id, void *arg)
{
    FakeCall *c = xnew(FakeCall);
    c->fake = f;
    c->type = type;
    c->arg = arg;
    snprintf(c->id, sizeof(c->id), STR_FMT, STR_ARG(id));
    list_push_back(&f->calls, &c->link);
    f->n_calls++;
    return c;
}

static Fake *api_fake(Api *a)
{
    return CONTAINER_OF(a, Fake, api);
}

static ApiCall *api_get(Api *a, const Kind *k, Str project, Str id, ApiDone done, void *arg)
{
    FakeCall *c = call_new(api_fake(a), CALL_GET, id, arg);
    c->kind = k;
    c->api_done = done;
    return (ApiCall *)c;
}

static ApiCall *api_patch(Api *a, Str id, Phase if_phase, Str body, ApiDone done, void *arg)
{
    FakeCall *c = call_new(api_fake(a), CALL_PATCH, id, arg);
    Err err = {0};
    c->if_phase = if_phase;
    c->api_done = done;
    assert_int_equal(obj_from_json_text(&kind_session, OBJ_STATUS, body, &c->changes, &err), 0);
    return (ApiCall *)c;
}

static void api_call_cancel(ApiCall *call)
{
    FakeCall *c = (FakeCall *)call;
    c->abandoned = true;
}

static Fake *rt_fake(const Runtime *rt)
{
    return CONTAINER_OF(rt, Fake, runtime);
}

static RtOp *rt_ensure(Runtime *rt, const RtSpec *spec, RtDone done, void *arg)
{
    FakeCall *c = call_new(rt_fake(rt), CALL_ENSURE, obj_str(spec->session, FIELD_ID), arg);
    c->rt_done = done;
    c->run = spec->run;
    c->prompt = str_dup(spec->initial_prompt);
    c->name = str_dup(obj_str(spec->session, SESSION_NAME));
    return (RtOp *)c;
}

static RtOp *rt_call(Runtime *rt, CallType type, Str id, RtDone done, void *arg)
{
    FakeCall *c = call_new(rt_fake(rt), type, id, arg);
    c->rt_done = done;
    return (RtOp *)c;
}

static RtOp *rt_stop(Runtime *rt, Str id, RtStop why, RtDone done, void *arg)
{
    RtOp *op = rt_call(rt, CALL_STOP, id, done, arg);
    ((FakeCall *)op)->why = why;
    return op;
}

static RtOp *rt_retire(Runtime *rt, Str id, RtDone done, void *arg)
{
    return rt_call(rt, CALL_RETIRE, id, done, arg);
}

static RtOp *rt_remove(Runtime *rt, Str id, RtDone done, void *arg)
{
    return rt_call(rt, CALL_REMOVE, id, done, arg);
}

static void rt_observe(const Runtime *rt, Str id, RtObserved *ret)
{
    const FakeRun *r = map_get(rt_fake(rt)->runs, id);
    *ret = r ? r->seen : (RtObserved){.state = RT_ABSENT};
}

static void rt_list(const Runtime *rt, RtEach each, void *arg)
{
    MAP_FOREACH (rt_fake(rt)->runs, it)
        each(arg, it.key.ptr);
}

static WallUsec rt_made_at(const Runtime *rt, Str id)
{
    const FakeRun *r = map_get(rt_fake(rt)->runs, id);
    return r ? r->made_at : (WallUsec){0};
}

static bool rt_may_start(Runtime *rt, const Obj *session, const char **ret_why)
{
    *ret_why = "closed";
    return !rt_fake(rt)->closed;
}

static bool rt_unreachable(const Runtime *rt)
{
    return rt_fake(rt)->unreachable;
}

static void rt_abandon(RtOp *op)
{
    ((FakeCall *)op)->abandoned = true;
}

void fake_init(Fake *f)
{
    static const ApiOps api_ops = {.get = api_get, .patch_status = api_patch, .cancel = api_call_cancel};
    static const RuntimeOps rt_ops = {
        .name = "fake",
        .spawned_condition = "ProcessSpawned",
        .unreachable_condition = "KubernetesUnavailable",
        .unreachable = rt_unreachable,
        .ensure = rt_ensure,
        .may_start = rt_may_start,
        .stop = rt_stop,
        .retire = rt_retire,
        .remove = rt_remove,
        .observe = rt_observe,
        .list = rt_list,
        .made_at = rt_made_at,
        .abandon = rt_abandon,
    };
    *f = (Fake){.api = {&api_ops}, .runtime = {.ops = &rt_ops}, .seed = 1};
    fake_clock_init(&f->clock, (WallUsec){1700000000000000});
    f->sessions = map_new();
    f->projects = map_new();
    f->agents = map_new();
    f->runs = map_new();
    f->started = map_new();
    list_init(&f->calls);
}

static void free_objects(Map *m)
{
    MAP_FOREACH (m, it)
        obj_free(it.value);
    map_free(m);
}

void fake_done(Fake *f)
{
    LIST_FOREACH_SAFE (&f->calls, l)
        call_free(LIST_ENTRY(l, FakeCall, link));
    free_objects(f->sessions);
    free_objects(f->projects);
    free_objects(f->agents);
    MAP_FOREACH (f->runs, it)
        run_free(it.value);
    map_free(f->runs);
    map_free(f->started);
}
