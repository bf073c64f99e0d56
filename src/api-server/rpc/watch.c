/* Watches of kinds: events of the hub's cursor, encoded once for all who watch. */
#include "rpc-internal.h"

#include <stdio.h>
#include "auth/authz.h"
#include "base/mem.h"

#define FROM_NOW UINT64_MAX

/* All ...WatchEvent have the same fields; this is the layout of each. */
typedef Ambient__V1__SessionWatchEvent WatchEvent;
_Static_assert(sizeof(WatchEvent) == sizeof(Ambient__V1__ProjectWatchEvent) &&
                   sizeof(WatchEvent) == sizeof(Ambient__V1__ProjectSettingsWatchEvent) &&
                   sizeof(WatchEvent) == sizeof(Ambient__V1__UserWatchEvent),
               "watch events have one layout");

#define FIELD_OBJECT 2

static GrpcFrame *encode_event(const MethodInfo *m, const EventItem *it)
{
    char version[24];
    ProtobufCMessage *obj = NULL;
    WatchEvent ev = {0};
    m->response->message_init(&ev.base);
    (void)snprintf(version, sizeof(version), "%llu", (unsigned long long)it->version);
    CLEANUP_FREE char *id = str_dup(it->id);
    ev.type = (Ambient__V1__EventType)it->type;
    ev.resource_id = id;
    ev.resource_version = version;
    if (it->obj) {
        const ProtobufCMessageDescriptor *d =
            protobuf_c_message_descriptor_get_field(m->response, FIELD_OBJECT)->descriptor;
        if (obj_to_pb(it->obj, d, &obj, NULL) == 0)
            ev.session = (void *)obj;
    }
    GrpcFrame *f = grpc_frame_pack(&ev.base);
    pb_free(obj);
    return f;
}

static GrpcFrame *event_frame(RpcCall *c, const EventItem *it)
{
    EventFrame *e = &c->rpc->event_frames[it->change % EVENT_FRAMES];
    if (!e->frame || e->change != it->change || e->version != it->version || e->type != it->type) {
        grpc_frame_unref(e->frame);
        *e = (EventFrame){it->change, it->version, it->type, encode_event(c->method, it)};
    }
    return grpc_frame_ref(e->frame);
}

void event_frames_clear(Rpc *r)
{
    for (size_t i = 0; i < EVENT_FRAMES; i++)
        r->event_frames[i].frame = grpc_frame_unref(r->event_frames[i].frame);
}

static GrpcFrame *pull(void *user, GrpcCall *g)
{
    RpcCall *c = user;
    EventItem it;
    if (!c->events || !event_cursor_next(c->events, &it))
        return NULL;
    c->rpc->events_sent++;
    return call_watch_says(c, event_frame(c, &it));
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

static const CursorOps ops = {.on_ready = on_ready, .on_end = on_end};

/* Where to go on: a version that we gave, or from now. */
static bool read_version(const ProtobufCMessage *req, uint64_t *ret)
{
    Str text = request_str(req, "resource_version");
    *ret = FROM_NOW;
    return !text.len || (str_to_u64(text, ret) == 0 && *ret != FROM_NOW);
}

/* The header narrows what people see; the platform itself sends it too and means nothing by it. */
static Str project_of(const RpcCall *c)
{
    if (c->caller->type == CALLER_SERVICE)
        return STR_NULL;
    return grpc_call_metadata(c->grpc, "x-ambient-project");
}

static void watch_allowed(void *arg, SvcAnswer *a)
{
    RpcCall *c = arg;
    Err err = {0};
    if (!call_op_answered(c, a) || !call_watch_start(c))
        return;
    if (event_cursor_open(c->rpc->hub, c->method->kind, c->caller, project_of(c), c->after, &ops, c,
                          &c->events, &err) < 0)
        call_fail(c, &err);
    else
        grpc_call_stream(c->grpc, pull);
}

void rpc_watch(void *rpc, GrpcCall *g, Str message)
{
    RpcCall *c = call_of(g);
    CLEANUP(pb_freep) ProtobufCMessage *req = call_request(c, message);
    if (!req)
        return;
    if (!read_version(req, &c->after)) {
        call_refuse(c, ERR_INVALID, "resource_version is not one of this server");
        return;
    }
    SvcCtx x = call_ctx(c);
    call_op_start(c);
    svc_kind_watch_check(c->rpc->service, &x, c->method->kind, watch_allowed, c);
}
