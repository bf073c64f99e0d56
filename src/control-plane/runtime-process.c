#include "process-internal.h"

#include <assert.h>
#include <stdio.h>
#include "base/log.h"
#include "base/mem.h"

/* Directories are written and read at this many places at a time. */
#define WORKERS 2

static ProcessRuntime *self(const Runtime *rt)
{
    return CONTAINER_OF(rt, ProcessRuntime, base);
}

/* ---- operations ---- */

static void op_end(void *arg)
{
    RtOp *op = arg;
    assert(op->rt->jobs > 0);
    op->rt->jobs--;
    if (!op->abandoned && !op->rt->closing)
        op->done(op->arg, op->err.code == ERR_OK ? NULL : &op->err);
    free(op);
}

static RtOp *op_new(ProcessRuntime *p, OpType type, RtDone done, void *arg)
{
    RtOp *op = xnew(RtOp);
    op->rt = p;
    op->type = type;
    op->done = done;
    op->arg = arg;
    return op;
}

/* Nothing to wait for: it still completes later. */
static RtOp *end_soon(RtOp *op)
{
    op->rt->jobs++;
    loop_post(op->rt->loop, op_end, op);
    return op;
}

static RtOp *fail_soon(RtOp *op, ErrCode code, const char *message)
{
    err_set(&op->err, code, "%s", message);
    return end_soon(op);
}

static RtOp *busy(RtOp *op)
{
    return fail_soon(op, ERR_UNAVAILABLE, "an earlier operation on this session is not over");
}

static size_t count_places(const ProcessRuntime *p)
{
    size_t n = 0;
    MAP_FOREACH (p->runs, it)
        n += run_takes_place(it.value);
    return n;
}

static bool is_full(const ProcessRuntime *p)
{
    int64_t max = p->o.config->max_sessions;
    return max > 0 && count_places(p) >= (size_t)max;
}

static bool may_start(Runtime *rt, const Obj *session, const char **ret_why)
{
    *ret_why = "LOCAL_MAX_SESSIONS run already";
    return !is_full(self(rt));
}

static RtOp *start(ProcessRuntime *p, Run *r, const RtSpec *spec, RtOp *op)
{
    if (p->stopping)
        return fail_soon(op, ERR_UNAVAILABLE, "the control plane is ending");
    if (is_full(p)) {
        err_set(&op->err, ERR_RATE_LIMITED, "%lld sessions run already (LOCAL_MAX_SESSIONS)",
                (long long)p->o.config->max_sessions);
        return end_soon(op);
    }
    r->op = op;
    run_start(r, spec);
    return op;
}

static RtOp *ensure(Runtime *rt, const RtSpec *spec, RtDone done, void *arg)
{
    ProcessRuntime *p = self(rt);
    assert(loop_is_current(p->loop) && spec->run >= 0);
    Str id = obj_str(spec->session, FIELD_ID);
    RtOp *op = op_new(p, OP_ENSURE, done, arg);
    if (!dirs_id_ok(id))
        return fail_soon(op, ERR_INVALID, "the session's id cannot be the name of a directory");
    Run *r = run_get(p, id);
    if (!r)
        r = run_make(p, id, clock_wall(&clock_system));
    if (run_is_busy(r))
        return busy(op);
    if (r->phase != RUN_IDLE && r->number == spec->run)
        return end_soon(op);
    if (r->phase == RUN_LIVE)
        return fail_soon(op, ERR_CONFLICT, "an earlier run of this session still lives");
    return start(p, r, spec, op);
}

static RtOp *stop(Runtime *rt, Str id, RtStop why, RtDone done, void *arg)
{
    RtOp *op = op_new(self(rt), OP_STOP, done, arg);
    Run *r = run_get(self(rt), id);
    if (r && run_is_busy(r))
        return busy(op);
    if (!r || r->phase != RUN_LIVE || r->escalate)
        return end_soon(op); /* nothing lives, or it is being stopped */
    r->op = op;
    run_stop(r, why);
    return op;
}

static RtOp *retire(Runtime *rt, Str id, RtDone done, void *arg)
{
    RtOp *op = op_new(self(rt), OP_RETIRE, done, arg);
    Run *r = run_get(self(rt), id);
    if (r && run_is_busy(r))
        return busy(op);
    if (!r || r->phase != RUN_ENDED)
        return end_soon(op);
    r->op = op;
    run_retire(r);
    return op;
}

static RtOp *remove_session(Runtime *rt, Str id, RtDone done, void *arg)
{
    RtOp *op = op_new(self(rt), OP_REMOVE, done, arg);
    Run *r = run_get(self(rt), id);
    if (!r)
        return end_soon(op);
    if (run_is_busy(r))
        return busy(op);
    r->op = op;
    run_remove(r);
    return op;
}

static void abandon(RtOp *op)
{
    op->abandoned = true;
}

/* ---- observing ---- */

/* From the process's own age: a step of the wall clock must not end a session. */
static WallUsec started_at(const Run *r)
{
    return (WallUsec){clock_wall(&clock_system).us - (int64_t)proc_age(r->a->state.shim_ticks)};
}

static void observe(const Runtime *rt, Str id, RtObserved *ret)
{
    const Run *r = run_get(self(rt), id);
    *ret = (RtObserved){.state = RT_ABSENT};
    if (!r || (r->phase != RUN_LIVE && r->phase != RUN_ENDING && r->phase != RUN_ENDED))
        return;
    ret->run = r->number;
    ret->stop = r->stop;
    if (r->phase == RUN_ENDED) {
        ret->state = RT_ENDED;
        ret->end = r->a->end;
        ret->code = r->a->code;
        ret->started_at = r->a->state.started_at;
        ret->ended_at = r->a->ended_at;
        return;
    }
    bool going = r->phase == RUN_ENDING || r->escalate || r->stop != RT_STOP_NONE;
    ret->state = going ? RT_STOPPING : r->ready ? RT_READY : RT_STARTING;
    ret->unhealthy = r->unhealthy;
    ret->started_at = started_at(r);
}

static void list(const Runtime *rt, RtEach each, void *arg)
{
    MAP_FOREACH (self(rt)->runs, it)
        each(arg, it.key.ptr);
}

static WallUsec made_at(const Runtime *rt, Str id)
{
    const Run *r = run_get(self(rt), id);
    return r ? r->made_at : (WallUsec){0};
}

static void on_token_written(Run *r, const Err *err)
{
    if (err)
        log_warn("cannot refresh a runner's token", F_STR("session_id", r->id), F_ERR(err));
}

static void give_token(Runtime *rt, Str id, const Secret *token)
{
    Run *r = run_get(self(rt), id);
    if (r && r->phase == RUN_LIVE)
        job_write_token(r, secret_reveal(token), on_token_written);
}

static const RuntimeOps process_ops = {
    .name = "process",
    .spawned_condition = "ProcessSpawned",
    .ensure = ensure,
    .may_start = may_start,
    .stop = stop,
    .retire = retire,
    .give_token = give_token,
    .remove = remove_session,
    .observe = observe,
    .list = list,
    .made_at = made_at,
    .abandon = abandon,
};

Runtime *process_runtime(ProcessRuntime *p)
{
    return &p->base;
}

void process_runtime_set_endpoint(ProcessRuntime *p, const char *url, const char *key)
{
    p->token_url = url;
    p->token_key = key;
}

size_t process_runtime_ended(const ProcessRuntime *p)
{
    size_t n = 0;
    MAP_FOREACH (p->runs, it)
        n += ((const Run *)it.value)->phase == RUN_ENDED;
    return n;
}

bool process_runtime_route(const ProcessRuntime *p, Str id, int64_t *ret_port, const char **ret_token)
{
    const Run *r = map_get(p->runs, id);
    if (!r || r->phase != RUN_LIVE)
        return false;
    *ret_port = r->a->state.port;
    *ret_token = r->a->state.agui_token;
    return true;
}

void process_runtime_stats(const ProcessRuntime *p, ProcessStats *ret)
{
    *ret = (ProcessStats){.known = map_len(p->runs), .alive = count_places(p), .adopted = p->adopted};
}

/* ---- life of the runtime ---- */

static void found(void *arg, const char *id)
{
    ProcessRuntime *p = arg;
    Look look;
    Run *r = run_make(p, str_from(id), dirs_made_at(&p->dirs, id));
    look_now(&p->dirs, id, &look);
    if (look.what == LOOK_LIVE) {
        run_live(r, &look);
        p->adopted++;
        log_info("runner adopted", F_STR("session_id", id), F_INT("run", r->number),
                 F_INT("pid", r->a->state.pid));
        if (look.stop != RT_STOP_NONE || !p->o.config->adopt)
            run_end_found(r);
    } else if (look.what == LOOK_ENDED) {
        run_ended(r, &look);
    }
}

static void on_trash_emptied(void *arg)
{
    ((ProcessRuntime *)arg)->jobs--;
}

static void empty_trash(void *arg)
{
    dirs_empty_trash(&((ProcessRuntime *)arg)->dirs);
}

int process_runtime_new(Loop *l, const ProcessOptions *o, ProcessRuntime **ret, Err *err)
{
    const Config *c = o->config;
    ProcessRuntime *p = xnew(ProcessRuntime);
    p->base.ops = &process_ops;
    p->loop = l;
    p->o = *o;
    p->runs = map_new();
    p->dirs.root_fd = p->dirs.lock_fd = -1;
    int rc = dirs_open(&p->dirs, c->root, c->uid, c->gid, err);
    if (rc == 0)
        cgroups_open(&p->cgroups, "/proc", c->mem_max, c->cpu_max);
    if (rc == 0)
        rc = pool_new(l, WORKERS, &p->pool, err);
    if (rc == 0)
        rc = dirs_each(&p->dirs, found, p, err);
    if (rc < 0) {
        process_runtime_free(p);
        return rc;
    }
    p->jobs++;
    pool_submit(p->pool, empty_trash, on_trash_emptied, p);
    *ret = p;
    return 0;
}

ProcessRuntime *process_runtime_free(ProcessRuntime *p)
{
    if (!p)
        return NULL;
    p->closing = true;
    p->pool = pool_free(p->pool);
    while (p->jobs > 0)
        loop_run_once(p->loop, false); /* what workers have posted */
    MAP_FOREACH (p->runs, it)
        run_free(it.value);
    map_free(p->runs);
    dirs_close(&p->dirs);
    cgroups_close(&p->cgroups);
    free(p);
    return NULL;
}

static void on_shutdown_stop(void *arg, const Err *err)
{
    /* The end of the runner is what counts; a stop that could not be asked for ends by our deadline. */
}

void process_runtime_stop_all(ProcessRuntime *p, LoopFn done, void *arg)
{
    size_t n = 0;
    assert(!p->all_ended);
    p->stopping = true;
    MAP_FOREACH (p->runs, it) {
        n += run_takes_place(it.value);
        stop(&p->base, it.key, RT_STOP_SHUTDOWN, on_shutdown_stop, NULL);
    }
    if (n == 0) {
        loop_post(p->loop, done, arg);
        return;
    }
    p->all_ended = done;
    p->all_ended_arg = arg;
}
