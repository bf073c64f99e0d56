/*
 * gRPC server on nghttp2. Unary and server-streaming methods plus a message-wise bidi mode for reflection.
 * Streams are pulled: the transport asks for the next frame when the peer can take one, so a slow reader
 * costs its call object and nothing else. Loop thread only. No call into a GrpcCall after on_gone.
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, RFC 9113.
 */
#pragma once

#include "base/cleanup.h"
#include "grpc/frame.h"
#include "grpc/status.h"
#include "loop/loop.h"
#include "loop/tls.h"

typedef struct GrpcServer GrpcServer;
typedef struct GrpcCall GrpcCall;
typedef struct GrpcWork GrpcWork;

typedef enum GrpcKind { GRPC_UNARY, GRPC_SERVER_STREAM, GRPC_BIDI } GrpcKind;

typedef struct GrpcMethod {
    const char *path; /* "/ambient.v1.SessionService/GetSession" */
    GrpcKind kind;
    /* The request message (without prefix; borrowed for the call of this function). For GRPC_BIDI once per
       message. The handler answers now or later, from the loop thread. */
    void (*on_message)(void *arg, GrpcCall *call, Str message);
    void (*on_half_close)(void *arg, GrpcCall *call); /* GRPC_BIDI only */
    const void *data; /* the method's own row, from grpc_call_method(call)->data */
} GrpcMethod;

typedef struct GrpcLimits {
    size_t message_max;        /* 4 MiB */
    uint32_t streams_per_conn; /* 256 advertised; more gets REFUSED_STREAM */
    size_t header_list_max;    /* 64 KiB */
    unsigned conns_max, conns_per_peer;
    Usec handshake_timeout;    /* accept to preface: 10 s */
    Usec first_stream_timeout; /* 60 s */
    Usec request_timeout;      /* whole request message: 30 s */
    Usec ping_interval;        /* with open streams: 25 s */
    Usec ping_timeout;         /* 15 s */
    size_t conn_out_max; /* bytes queued in one connection's socket buffer before pulling stops: 256 KiB */
    /* Memory that peers can make a server hold; beyond it calls get RESOURCE_EXHAUSTED. */
    size_t request_bytes_per_conn; /* of messages being received: 96 MiB */
    size_t request_bytes_max;      /* the same of all connections: 256 MiB */
    size_t reply_bytes_per_conn;   /* of unary replies that the peer has not taken yet: 64 MiB */
} GrpcLimits;
extern const GrpcLimits grpc_limits_default;

typedef struct GrpcServerOps {
    /* Before the method's handler, when headers and the whole request are there: authentication, metrics.
       Calls grpc_call_proceed() now or later, or finishes the call. NULL = proceed. */
    void (*on_call)(void *arg, GrpcCall *call);
    /* Every call, also of unknown methods (method NULL), once, when it ended. For metrics and the log. */
    void (*on_end)(void *arg, GrpcCall *call, GrpcStatus status, Usec duration);
} GrpcServerOps;

/* `methods` is ended by {0} and outlives the server. */
int grpc_server_new(Loop *l, const char *address, TlsContext *tls, const GrpcLimits *limits,
                    const GrpcMethod *methods, const GrpcServerOps *ops, void *arg, GrpcServer **ret,
                    Err *err);
int grpc_server_port(const GrpcServer *s);
/* grpc.health.v1.Health for "" and every service of `methods`; drain makes it NOT_SERVING by itself. on_call
   is asked for these methods too. */
void grpc_server_enable_health(GrpcServer *s);
void grpc_server_set_serving(GrpcServer *s, bool serving);
/* grpc.reflection.v1 and v1alpha from a serialised FileDescriptorSet, which outlives the server. */
void grpc_server_enable_reflection(GrpcServer *s, Str descriptor_set);
/* Two-phase GOAWAY; streams are the caller's to finish, but for those of health and reflection; `done` when
 * the last connection has gone. */
void grpc_server_drain(GrpcServer *s, LoopFn done, void *arg);
/* Cuts all connections; every call has ended when it returns. Not from a callback of a call. NULL-safe. */
GrpcServer *grpc_server_free(GrpcServer *s);

typedef struct GrpcServerStats {
    size_t conns, streams;
    uint64_t frames_sent, bytes_sent;
} GrpcServerStats;
GrpcServerStats grpc_server_stats(const GrpcServer *s);

/* The call */
const GrpcMethod *grpc_call_method(const GrpcCall *c); /* NULL for an unknown one */
Str grpc_call_path(const GrpcCall *c);
/* First value, decoded when the name ends in "-bin"; ptr NULL when absent. Gone once a handler that called
   grpc_call_stream() has returned: an idle stream keeps no metadata. */
Str grpc_call_metadata(const GrpcCall *c, const char *name);
const char *grpc_call_peer(const GrpcCall *c);
Usec grpc_call_deadline(const GrpcCall *c); /* monotonic, USEC_NEVER when none */
void grpc_call_proceed(GrpcCall *c);        /* after on_call */
void grpc_call_set_user(GrpcCall *c, void *user,
                        LoopFn on_gone); /* on_gone(user) exactly once, when it ended */
void *grpc_call_user(const GrpcCall *c);
/* Work for a call that goes on when the call is gone (a job in a pool): until grpc_work_done(), which may
   come after the server was freed, it counts against the connection's streams. So nobody starts endless jobs
   by resetting. */
GrpcWork *grpc_call_work(GrpcCall *c);
void grpc_work_done(GrpcWork *w);

/* Decodes the request. NULL: it was malformed, and the call was finished with INTERNAL. Free with pb_free().
 */
void *grpc_call_decode(GrpcCall *c, const ProtobufCMessageDescriptor *desc, Str message) WARN_UNUSED;

void grpc_call_reply(GrpcCall *c, const ProtobufCMessage *msg); /* unary: message and OK trailers */
void grpc_call_reply_frame(GrpcCall *c, GrpcFrame *f);          /* unary; takes the reference */
void grpc_call_finish(GrpcCall *c, GrpcStatus status,
                      const char *message); /* trailers; message NULL = none */

/* Streams: response headers go out at once; pull returns the next frame (its reference is taken over), or
   NULL when there is none now: the stream then sleeps until grpc_call_wake(). */
typedef GrpcFrame *(*GrpcPull)(void *user, GrpcCall *c);
void grpc_call_stream(GrpcCall *c, GrpcPull pull);
void grpc_call_wake(GrpcCall *c);                              /* cheap, may be called often */
void grpc_call_send(GrpcCall *c, const ProtobufCMessage *msg); /* GRPC_BIDI: queued, for small answers */
