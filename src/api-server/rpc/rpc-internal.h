#pragma once

#include "base/list.h"
#include "base/map.h"
#include "kinds/obj.h"
#include "pb/ambient.h"
#include "rpc/rpc.h"

#define STATUS_MAX 17
#define BUCKETS 11
#define EVENT_FRAMES 64

/* What the handlers know of a method: rows of the table in methods.c. */
typedef struct MethodInfo {
    const Kind *kind;
    const char *permission; /* the service asks for it; a method without one is refused */
    const ProtobufCMessageDescriptor *request, *response;
} MethodInfo;

typedef struct MethodStats {
    uint64_t by_status[STATUS_MAX];
    uint64_t buckets[BUCKETS]; /* not cumulative; slower ones are only in `n` */
    uint64_t n;
    double seconds;
} MethodStats;

/* The frame of an event, kept for the other watchers that are about to ask for the same one. */
typedef struct EventFrame {
    uint64_t change, version; /* a change is one object's; what it is merged with may differ by watcher */
    int type;
    GrpcFrame *frame;
} EventFrame;

struct Rpc {
    Loop *loop;
    Service *service;
    Hub *hub;
    Authenticator *auth;
    GrpcServer *server;
    unsigned watches_per_user, refs;
    bool draining;
    List watches; /* RpcCall.link */
    size_t n_watches;
    Usec watch_idle;
    Timer *idle;
    Map *watches_of;    /* actor -> count as a pointer */
    MethodStats *stats; /* one per method of the table */
    uint64_t events_sent;
    EventFrame event_frames[EVENT_FRAMES];
};

typedef struct InboxWatch InboxWatch;

/*
 * One call. The transport's call holds one reference, each running operation another: an operation cannot be
 * called back, so its answer may find that the call has gone.
 */
typedef struct RpcCall {
    Rpc *rpc;
    GrpcCall *grpc; /* NULL: gone */
    const MethodInfo *method;
    unsigned refs;
    Caller *caller;
    AuthWait *auth_wait;
    GrpcWork *work;      /* of the running operation */
    GrpcFrame *rendered; /* a list, encoded on the worker thread */
    ListLink link;       /* in Rpc.watches while it is a watch */
    Cursor *messages;
    EventCursor *events;
    InboxWatch *inbox;
    uint64_t after; /* watches: where to begin */
    Usec said;      /* watches: when the last frame was given away */
} RpcCall;

/* call.c */
void call_begin(void *rpc, GrpcCall *g); /* GrpcServerOps.on_call */
RpcCall *call_of(GrpcCall *g);
/* The decoded request, or NULL when the call was finished. Free with pb_free(). */
ProtobufCMessage *call_request(RpcCall *c, Str message);
SvcCtx call_ctx(const RpcCall *c);
/* Around each operation of the service: start takes a reference for it; answered gives it back and says
   whether there still is a call to answer. An error in the answer finishes the call. */
void call_op_start(RpcCall *c);
bool call_op_answered(RpcCall *c, const SvcAnswer *a);
void call_fail(RpcCall *c, const Err *err);
void call_refuse(RpcCall *c, ErrCode code, const char *why);
void call_reply_obj(RpcCall *c, const Obj *o);
/* Counts the call among the watches; false when it was refused (draining, too many). */
bool call_watch_start(RpcCall *c);
/* A watch gives this frame away, if there is one. */
GrpcFrame *call_watch_says(RpcCall *c, GrpcFrame *f);

/* request.c: fields of requests, by name */
Str request_str(const ProtobufCMessage *msg, const char *name); /* empty when absent */
int64_t request_int(const ProtobufCMessage *msg, const char *name);

/* methods.c */
extern const GrpcMethod rpc_methods[];
extern const size_t rpc_n_methods;

/* Handlers */
void rpc_get(void *rpc, GrpcCall *g, Str message);
void rpc_create(void *rpc, GrpcCall *g, Str message);
void rpc_update(void *rpc, GrpcCall *g, Str message);
void rpc_update_status(void *rpc, GrpcCall *g, Str message);
void rpc_delete(void *rpc, GrpcCall *g, Str message);
void rpc_list(void *rpc, GrpcCall *g, Str message);
void rpc_watch(void *rpc, GrpcCall *g, Str message);
void rpc_push(void *rpc, GrpcCall *g, Str message);
void rpc_watch_messages(void *rpc, GrpcCall *g, Str message);
void rpc_watch_inbox(void *rpc, GrpcCall *g, Str message);

/* watch.c */
void event_frames_clear(Rpc *r);
/* inbox.c */
InboxWatch *inbox_watch_free(InboxWatch *w);
/* metrics.c */
void metrics_count(Rpc *r, const GrpcCall *g, GrpcStatus status, Usec duration);

Rpc *rpc_ref(Rpc *r);
void rpc_unref(Rpc *r);
