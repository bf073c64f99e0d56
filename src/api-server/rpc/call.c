/* One call from its first byte to its end: who calls, the operation that runs, the answer. */
#include "rpc-internal.h"

#include <assert.h>
#include "base/ksuid.h"
#include "base/log.h"
#include "base/mem.h"

RpcCall *call_of(GrpcCall *g)
{
    return grpc_call_user(g);
}

/* Those of the platform have no limit. */
static bool is_counted(const Caller *c)
{
    return c->type == CALLER_USER || c->type == CALLER_SESSION;
}

static void watch_count(RpcCall *c, ptrdiff_t by)
{
    Rpc *r = c->rpc;
    r->n_watches = (size_t)((ptrdiff_t)r->n_watches + by);
    if (!is_counted(c->caller))
        return;
    Str name = str_from(c->caller->actor);
    ptrdiff_t n = (ptrdiff_t)(uintptr_t)map_get(r->watches_of, name) + by;
    if (n > 0)
        map_put(r->watches_of, name, (void *)(uintptr_t)n);
    else
        map_remove(r->watches_of, name);
}

static void call_unref(RpcCall *c)
{
    assert(c->refs > 0);
    if (--c->refs)
        return;
    grpc_frame_unref(c->rendered);
    caller_unref(c->caller);
    rpc_unref(c->rpc);
    free(c);
}

/* The transport is done with the call. */
static void call_gone(void *user)
{
    RpcCall *c = user;
    c->grpc = NULL;
    auth_cancel(c->auth_wait);
    c->auth_wait = NULL;
    c->messages = cursor_close(c->messages);
    c->events = event_cursor_close(c->events);
    c->inbox = inbox_watch_free(c->inbox);
    if (list_linked(&c->link)) {
        list_remove(&c->link);
        watch_count(c, -1);
    }
    call_unref(c);
}

static bool is_health(const GrpcCall *g)
{
    return str_starts(grpc_call_path(g), STR("/grpc.health.v1.Health/"));
}

static void authenticated(void *arg, Caller *caller, const Err *err)
{
    RpcCall *c = arg;
    c->auth_wait = NULL;
    if (err) {
        call_fail(c, err);
        return;
    }
    c->caller = caller;
    if (c->method && !c->method->permission)
        call_refuse(c, ERR_FORBIDDEN, "no permission is defined for this method");
    else
        grpc_call_proceed(c->grpc);
}

/* Methods that the transport brings along, as reflection, have rows of another kind. */
static const MethodInfo *method_of(const GrpcCall *g)
{
    const GrpcMethod *m = grpc_call_method(g);
    return m && str_starts(str_from(m->path), STR("/ambient.v1.")) ? m->data : NULL;
}

void call_begin(void *rpc, GrpcCall *g)
{
    Rpc *r = rpc;
    if (is_health(g)) { /* probes have no token */
        grpc_call_proceed(g);
        return;
    }
    RpcCall *c = xnew(RpcCall);
    *c = (RpcCall){.rpc = rpc_ref(r), .grpc = g, .refs = 1};
    c->method = method_of(g);
    list_init(&c->link);
    grpc_call_set_user(g, c, call_gone);

    Err err = {0};
    Caller *caller = NULL;
    int rc = auth_check(r->auth, grpc_call_metadata(g, "authorization"), authenticated, c, &caller,
                        &c->auth_wait, &err);
    if (rc < 0)
        call_fail(c, &err);
    else if (rc > 0)
        authenticated(c, caller, NULL);
}

ProtobufCMessage *call_request(RpcCall *c, Str message)
{
    return grpc_call_decode(c->grpc, c->method->request, message);
}

static Str first_metadata(const RpcCall *c, const char *a, const char *b)
{
    Str v = grpc_call_metadata(c->grpc, a);
    return v.ptr ? v : grpc_call_metadata(c->grpc, b);
}

SvcCtx call_ctx(const RpcCall *c)
{
    return (SvcCtx){
        .caller = c->caller,
        .request_id = first_metadata(c, "x-ambient-idempotency-key", "idempotency-key"),
        .project_header = grpc_call_metadata(c->grpc, "x-ambient-project"),
    };
}

void call_op_start(RpcCall *c)
{
    assert(!c->work);
    c->refs++;
    c->work = grpc_call_work(c->grpc);
}

bool call_op_answered(RpcCall *c, const SvcAnswer *a)
{
    GrpcWork *work = c->work;
    c->work = NULL;
    bool alive = c->grpc != NULL;
    if (alive && a->err)
        call_fail(c, a->err);
    call_unref(c);
    grpc_work_done(work);
    return alive && !a->err;
}

/* ---- answers ---- */

/* Errors of our insides stay inside: the client gets a number that stands beside the text in the log. */
static void fail_privately(RpcCall *c, const Err *err)
{
    char id[KSUID_LEN + 1];
    char text[256];
    ksuid_new(id, clock_wall(loop_clock(c->rpc->loop)));
    log_error("rpc failed", F_STRV("method", grpc_call_path(c->grpc)), F_STR("operation", id), F_ERR(err));
    (void)snprintf(text, sizeof(text), "%s (operation %s)", svc_public_reason(err), id);
    grpc_call_finish(c->grpc, (GrpcStatus)err_info(err->code)->grpc_status, text);
}

void call_fail(RpcCall *c, const Err *err)
{
    if (svc_reason_is_private(err))
        fail_privately(c, err);
    else
        grpc_call_finish(c->grpc, (GrpcStatus)err_info(err->code)->grpc_status, err->msg);
}

void call_refuse(RpcCall *c, ErrCode code, const char *why)
{
    Err err = {0};
    (void)err_set(&err, code, "%s", why);
    call_fail(c, &err);
}

void call_reply_obj(RpcCall *c, const Obj *o)
{
    CLEANUP(pb_freep) ProtobufCMessage *msg = NULL;
    Err err = {0};
    if (obj_to_pb(o, c->method->response, &msg, &err) < 0)
        call_fail(c, &err);
    else
        grpc_call_reply(c->grpc, msg);
}

bool call_watch_start(RpcCall *c)
{
    Rpc *r = c->rpc;
    uintptr_t n = (uintptr_t)map_get(r->watches_of, str_from(c->caller->actor));
    if (r->draining) {
        call_refuse(c, ERR_UNAVAILABLE, "server is shutting down");
        return false;
    }
    if (is_counted(c->caller) && n >= r->watches_per_user) {
        call_refuse(c, ERR_RATE_LIMITED, "too many open watches of this user");
        return false;
    }
    list_push_back(&r->watches, &c->link);
    c->said = loop_now(r->loop);
    watch_count(c, 1);
    return true;
}

GrpcFrame *call_watch_says(RpcCall *c, GrpcFrame *f)
{
    if (f)
        c->said = loop_now(c->rpc->loop);
    return f;
}
