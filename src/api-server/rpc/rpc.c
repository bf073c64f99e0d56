#include "rpc-internal.h"

#include <assert.h>
#include "base/log.h"
#include "base/mem.h"

#define IDLE_LOOKS 8 /* in the time that a watch may be idle */
#define WATCHES_PER_USER 1000

Rpc *rpc_ref(Rpc *r)
{
    r->refs++;
    return r;
}

void rpc_unref(Rpc *r)
{
    assert(r->refs > 0);
    if (--r->refs)
        return;
    event_frames_clear(r);
    map_free(r->watches_of);
    free(r->stats);
    free(r);
}

static void call_ended(void *arg, GrpcCall *g, GrpcStatus status, Usec duration)
{
    Rpc *r = arg;
    metrics_count(r, g, status, duration);
    log_debug("rpc", F_STRV("method", grpc_call_path(g)),
              F_STR("code", status ? err_grpc_name(status) : "OK"), F_STR("peer", grpc_call_peer(g)),
              F_UINT("us", duration));
}

/*
 * Whoever still listens watches again from where it was; whoever has forgotten the stream gives its place
 * back. Not the platform, nor who follows a session: a runner that has to watch again is deaf for half a
 * minute (grpc.md 8.2).
 */
static bool may_be_ended(const RpcCall *c)
{
    return c->grpc && !c->messages && c->caller->type != CALLER_SERVICE;
}

static void end_idle_watches(void *arg)
{
    Rpc *r = arg;
    LIST_FOREACH_SAFE (&r->watches, it) {
        RpcCall *c = LIST_ENTRY(it, RpcCall, link);
        if (may_be_ended(c) && usec_sub(loop_now(r->loop), c->said) >= r->watch_idle)
            call_refuse(c, ERR_UNAVAILABLE, "the watch was idle for too long; watch again");
    }
    timer_arm(r->idle, r->watch_idle / IDLE_LOOKS);
}

int rpc_new(Loop *l, const RpcOptions *o, Rpc **ret, Err *err)
{
    static const GrpcServerOps ops = {.on_call = call_begin, .on_end = call_ended};
    Rpc *r = xnew(Rpc);
    *r = (Rpc){
        .loop = l,
        .service = o->service,
        .hub = o->hub,
        .auth = o->auth,
        .refs = 1,
        .watches_per_user = o->watches_per_user ? o->watches_per_user : WATCHES_PER_USER,
        .watches_of = map_new(),
        .stats = xcalloc(rpc_n_methods, sizeof(MethodStats)),
    };
    list_init(&r->watches);
    if (o->watch_idle) {
        r->watch_idle = o->watch_idle;
        r->idle = timer_new(l, end_idle_watches, r);
        timer_arm(r->idle, r->watch_idle / IDLE_LOOKS);
    }
    int rc = grpc_server_new(l, o->address, o->tls, o->limits ? o->limits : &grpc_limits_default, rpc_methods,
                             &ops, r, &r->server, err);
    if (rc < 0) {
        rpc_unref(r);
        return rc;
    }
    grpc_server_enable_health(r->server);
    if (o->reflection)
        grpc_server_enable_reflection(r->server, pb_descriptor_set());
    *ret = r;
    return 0;
}

int rpc_port(const Rpc *r)
{
    return grpc_server_port(r->server);
}

void rpc_set_serving(Rpc *r, bool serving)
{
    grpc_server_set_serving(r->server, serving);
}

static void end_watches(Rpc *r)
{
    LIST_FOREACH_SAFE (&r->watches, it) {
        RpcCall *c = LIST_ENTRY(it, RpcCall, link);
        if (c->grpc)
            call_refuse(c, ERR_UNAVAILABLE, "server is shutting down");
    }
}

void rpc_drain(Rpc *r, LoopFn done, void *arg)
{
    r->draining = true;
    grpc_server_drain(r->server, done, arg);
    end_watches(r);
}

Rpc *rpc_free(Rpc *r)
{
    if (!r)
        return NULL;
    r->draining = true;
    r->idle = timer_free(r->idle);
    r->server = grpc_server_free(r->server);
    rpc_unref(r);
    return NULL;
}

RpcStats rpc_stats(const Rpc *r)
{
    GrpcServerStats s = grpc_server_stats(r->server);
    return (RpcStats){.conns = s.conns, .streams = s.streams, .watches = r->n_watches};
}
