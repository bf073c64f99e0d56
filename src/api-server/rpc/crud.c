/* Get, create, update, delete and list, of every kind. */
#include "rpc-internal.h"

#include "base/mem.h"

#define REPLY_MAX                                                                                            \
    ((size_t)4194304 - 1024) /* what Go's and Python's clients take, less a margin; grpc.md 1.1 */

/* The call with its decoded request; false: it was finished. Requests that name an object must do so. */
static bool begin(GrpcCall *g, Str message, bool needs_id, RpcCall **ret_call, ProtobufCMessage **ret_request)
{
    RpcCall *c = call_of(g);
    ProtobufCMessage *req = call_request(c, message);
    if (!req)
        return false;
    if (needs_id && !request_str(req, "id").len) {
        pb_free(req);
        call_refuse(c, ERR_INVALID, "id is required");
        return false;
    }
    *ret_call = c;
    *ret_request = req;
    return true;
}

static SvcTarget target_of(const RpcCall *c, const ProtobufCMessage *req)
{
    return (SvcTarget){.kind = c->method->kind, .id = request_str(req, "id")};
}

static void answer_object(void *arg, SvcAnswer *a)
{
    RpcCall *c = arg;
    if (call_op_answered(c, a))
        call_reply_obj(c, a->obj);
}

void rpc_get(void *rpc, GrpcCall *g, Str message)
{
    RpcCall *c;
    CLEANUP(pb_freep) ProtobufCMessage *req = NULL;
    if (!begin(g, message, true, &c, &req))
        return;
    SvcCtx x = call_ctx(c);
    SvcTarget t = target_of(c, req);
    call_op_start(c);
    svc_get(c->rpc->service, &x, &t, answer_object, c);
}

void rpc_create(void *rpc, GrpcCall *g, Str message)
{
    RpcCall *c;
    CLEANUP(pb_freep) ProtobufCMessage *req = NULL;
    CLEANUP(obj_freep) Obj *body = NULL;
    Err err = {0};
    if (!begin(g, message, false, &c, &req))
        return;
    if (obj_from_pb(c->method->kind, OBJ_CREATE, req, &body, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    SvcCtx x = call_ctx(c);
    SvcTarget t = {.kind = c->method->kind};
    call_op_start(c);
    svc_create(c->rpc->service, &x, &t, TAKE(body), answer_object, c);
}

void rpc_update(void *rpc, GrpcCall *g, Str message)
{
    RpcCall *c;
    CLEANUP(pb_freep) ProtobufCMessage *req = NULL;
    CLEANUP(obj_freep) Obj *changes = NULL;
    Err err = {0};
    if (!begin(g, message, true, &c, &req))
        return;
    if (obj_from_pb(c->method->kind, OBJ_PATCH, req, &changes, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    SvcCtx x = call_ctx(c);
    SvcTarget t = target_of(c, req);
    call_op_start(c);
    svc_patch(c->rpc->service, &x, &t, TAKE(changes), answer_object, c);
}

void rpc_update_status(void *rpc, GrpcCall *g, Str message)
{
    RpcCall *c;
    CLEANUP(pb_freep) ProtobufCMessage *req = NULL;
    CLEANUP(obj_freep) Obj *changes = NULL;
    Err err = {0};
    if (!begin(g, message, true, &c, &req))
        return;
    if (obj_from_pb(c->method->kind, OBJ_STATUS, req, &changes, &err) < 0) {
        call_fail(c, &err);
        return;
    }
    SvcCtx x = call_ctx(c);
    call_op_start(c);
    svc_session_status(c->rpc->service, &x, request_str(req, "id"), TAKE(changes), answer_object, c);
}

/* ---- delete ---- */

static void answer_deleted(void *arg, SvcAnswer *a)
{
    RpcCall *c = arg;
    if (!call_op_answered(c, a))
        return;
    /* All Delete...Response are empty: one stands for each. */
    Ambient__V1__DeleteSessionResponse empty = AMBIENT__V1__DELETE_SESSION_RESPONSE__INIT;
    grpc_call_reply(c->grpc, &empty.base);
}

void rpc_delete(void *rpc, GrpcCall *g, Str message)
{
    RpcCall *c;
    CLEANUP(pb_freep) ProtobufCMessage *req = NULL;
    if (!begin(g, message, true, &c, &req))
        return;
    SvcCtx x = call_ctx(c);
    SvcTarget t = target_of(c, req);
    call_op_start(c);
    svc_delete(c->rpc->service, &x, &t, answer_deleted, c);
}

/* ---- list ---- */

/* All List...Response have the same two fields; this is the layout of each. */
typedef Ambient__V1__ListSessionsResponse ListResponse;
_Static_assert(sizeof(ListResponse) == sizeof(Ambient__V1__ListProjectsResponse) &&
                   sizeof(ListResponse) == sizeof(Ambient__V1__ListProjectSettingsResponse) &&
                   sizeof(ListResponse) == sizeof(Ambient__V1__ListUsersResponse),
               "list responses have one layout");

static ProtobufCMessage *list_message(const MethodInfo *m, const ObjList *l, Err *err)
{
    const ProtobufCMessageDescriptor *item =
        protobuf_c_message_descriptor_get_field_by_name(m->response, "items")->descriptor;
    CLEANUP(pb_freep) ListResponse *r = xcalloc(1, m->response->sizeof_message);
    m->response->message_init(&r->base);
    r->items = xcalloc(l->len ? l->len : 1, sizeof(*r->items));
    for (size_t i = 0; i < l->len; i++) {
        ProtobufCMessage *msg;
        if (obj_to_pb(l->ptr[i], item, &msg, err) < 0)
            return NULL;
        r->items[r->n_items++] = (void *)msg;
    }
    r->metadata = xnew(Ambient__V1__ListMeta);
    ambient__v1__list_meta__init(r->metadata);
    r->metadata->page = l->page > INT32_MAX ? INT32_MAX : (int32_t)l->page;
    r->metadata->size = (int32_t)l->len;
    r->metadata->total = l->total > INT32_MAX ? INT32_MAX : (int32_t)l->total;
    return &TAKE(r)->base;
}

/* Worker thread. A store may run the operation again, and so this. */
static void render_list(void *arg, SvcAnswer *a)
{
    RpcCall *c = arg;
    Err err = {0};
    c->rendered = grpc_frame_unref(c->rendered);
    CLEANUP(pb_freep) ProtobufCMessage *msg = list_message(c->method, a->list, &err);
    if (msg && pb_size(msg) <= REPLY_MAX)
        c->rendered = grpc_frame_pack(msg);
}

static void answer_list(void *arg, SvcAnswer *a)
{
    RpcCall *c = arg;
    if (!call_op_answered(c, a))
        return;
    if (c->rendered)
        grpc_call_reply_frame(c->grpc, TAKE(c->rendered));
    else
        call_refuse(c, ERR_TOO_LARGE,
                    "the page is larger than a gRPC message may be, ask for a smaller size");
}

void rpc_list(void *rpc, GrpcCall *g, Str message)
{
    RpcCall *c;
    CLEANUP(pb_freep) ProtobufCMessage *req = NULL;
    if (!begin(g, message, false, &c, &req))
        return;
    SvcCtx x = call_ctx(c);
    x.render = render_list;
    SvcList q = {.page = request_int(req, "page"), .size = request_int(req, "size")};
    call_op_start(c);
    svc_list(c->rpc->service, &x, c->method->kind, &q, answer_list, c);
}
