/* Messages of a session: pushing one, following them. */
#include "rpc-internal.h"

/* ---- push ---- */

static void reply_message(RpcCall *c, const Message *m)
{
    /* protobuf-c's strings are not const, but packing only reads. Every Str of a Message ends with a NUL. */
    union {
        const char *in;
        char *out;
    } id = {m->id}, session = {m->session_id.ptr}, type = {m->event_type.ptr}, payload = {m->payload.ptr};
    Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    at.seconds = m->created_at.us / (int64_t)USEC_PER_SEC;
    at.nanos = (int32_t)(m->created_at.us % (int64_t)USEC_PER_SEC * 1000);
    Ambient__V1__SessionMessage out = AMBIENT__V1__SESSION_MESSAGE__INIT;
    out.id = id.out;
    out.session_id = session.out;
    out.seq = (int64_t)m->seq;
    out.event_type = type.out;
    out.payload = payload.out;
    out.created_at = &at;
    grpc_call_reply(c->grpc, &out.base);
}

static void answer_push(void *arg, SvcAnswer *a)
{
    RpcCall *c = arg;
    if (call_op_answered(c, a))
        reply_message(c, a->message);
}

void rpc_push(void *rpc, GrpcCall *g, Str message)
{
    RpcCall *c = call_of(g);
    CLEANUP(pb_freep) ProtobufCMessage *req = call_request(c, message);
    if (!req)
        return;
    SvcCtx x = call_ctx(c);
    SvcPush p = {
        .session_id = request_str(req, "session_id"),
        .event_type = request_str(req, "event_type"),
        .payload = request_str(req, "payload"),
        .turn = grpc_call_metadata(g, "x-ambient-turn"),
    };
    call_op_start(c);
    svc_message_push(c->rpc->service, &x, &p, answer_push, c);
}

/* ---- watch ---- */

static GrpcFrame *pull(void *user, GrpcCall *g)
{
    RpcCall *c = user;
    return c->messages ? call_watch_says(c, cursor_next(c->messages)) : NULL;
}

static void on_ready(void *arg)
{
    RpcCall *c = arg;
    if (c->grpc)
        grpc_call_wake(c->grpc);
}

static void on_end(void *arg, const Err *err)
{
    RpcCall *c = arg;
    if (c->grpc)
        call_fail(c, err);
}

static void watch_allowed(void *arg, SvcAnswer *a)
{
    static const CursorOps ops = {.on_ready = on_ready, .on_end = on_end};
    RpcCall *c = arg;
    Err err = {0};
    if (!call_op_answered(c, a) || !call_watch_start(c))
        return;
    if (cursor_open(c->rpc->hub, obj_str(a->obj, FIELD_ID), c->after, HUB_GRPC, &ops, c, &c->messages, &err) <
        0)
        call_fail(c, &err);
    else {
        cursor_guard(c->messages, c->caller, a->obj);
        grpc_call_stream(c->grpc, pull); /* headers go out now: clients wait for them */
    }
}

void rpc_watch_messages(void *rpc, GrpcCall *g, Str message)
{
    RpcCall *c = call_of(g);
    CLEANUP(pb_freep) ProtobufCMessage *req = call_request(c, message);
    if (!req)
        return;
    Str session = request_str(req, "session_id");
    int64_t after = request_int(req, "after_seq");
    if (!session.len) {
        call_refuse(c, ERR_INVALID, "session_id is required");
        return;
    }
    c->after = after > 0 ? (uint64_t)after : 0;
    SvcCtx x = call_ctx(c);
    call_op_start(c);
    svc_watch_check(c->rpc->service, &x, session, watch_allowed, c);
}
