/*
 * gRPC client on nghttp2. A channel is one connection that is made when first needed and made again when it
 * broke (backoff 0.2 s doubling to 5 s); calls that find it broken fail with UNAVAILABLE, waiting calls go
 * out when it is up, bounded by their deadline. HTTP/2 PING every 30 s, 10 s to answer. Loop thread only.
 */
#pragma once

#include "base/secret.h"
#include "grpc/frame.h"
#include "grpc/status.h"
#include "loop/loop.h"
#include "loop/tls.h"

typedef struct GrpcChannel GrpcChannel;
typedef struct GrpcClientCall GrpcClientCall;

typedef struct GrpcMetadata {
    const char *name;
    Str value;
} GrpcMetadata;

typedef struct GrpcCallOps {
    void (*on_headers)(void *arg);              /* response headers arrived; may be NULL */
    void (*on_message)(void *arg, Str message); /* without prefix, borrowed */
    void (*on_end)(void *arg, GrpcStatus status, const char *message); /* exactly once unless cancelled */
} GrpcCallOps;

typedef struct GrpcCallSpec {
    const char *path;
    const Secret *bearer;         /* authorization: Bearer ...; NULL = none */
    const GrpcMetadata *metadata; /* copied */
    size_t n_metadata;
    Usec timeout; /* sent as grpc-timeout and enforced; USEC_NEVER = none */
} GrpcCallSpec;

int grpc_channel_new(Loop *l, const char *address, TlsContext *tls, GrpcChannel **ret, Err *err);
GrpcChannel *grpc_channel_free(GrpcChannel *ch); /* open calls end with CANCELLED before it returns */
bool grpc_channel_ready(const GrpcChannel *ch);
GrpcClientCall *grpc_client_call_start(GrpcChannel *ch, const GrpcCallSpec *spec, Str message,
                                       const GrpcCallOps *ops, void *arg);
void grpc_client_call_cancel(GrpcClientCall *c);             /* no callback after */
void grpc_client_call_pause(GrpcClientCall *c, bool paused); /* stops returning flow-control credit */
