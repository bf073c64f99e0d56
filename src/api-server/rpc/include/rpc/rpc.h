/*
 * The gRPC API over the service and the hub: five services of package ambient.v1, health and reflection.
 * Turns messages into operations and answers into messages; no rule of the product is here. Contract:
 * grpc.md. Loop thread only.
 */
#pragma once

#include "auth/auth.h"
#include "grpc/server.h"
#include "hub/hub.h"
#include "service/service.h"

typedef struct Rpc Rpc;

typedef struct RpcOptions {
    Service *service; /* these three are borrowed and outlive the Rpc */
    Hub *hub;
    Authenticator *auth;
    const char *address;
    TlsContext *tls;           /* NULL = plain; borrowed */
    const GrpcLimits *limits;  /* NULL = grpc_limits_default */
    unsigned watches_per_user; /* open watch streams of one user; service and admin callers have no limit; 0 =
                                  1000 */
    Usec watch_idle; /* a watch that has had nothing to say for so long ends with UNAVAILABLE; 0 = never */
    bool reflection;
} RpcOptions;

int rpc_new(Loop *l, const RpcOptions *o, Rpc **ret, Err *err);
int rpc_port(const Rpc *r);
/* What grpc.health.v1.Health answers; drain makes it NOT_SERVING by itself. */
void rpc_set_serving(Rpc *r, bool serving);
/* Ends every watch with UNAVAILABLE "server is shutting down", answers what was asked, then `done`. */
void rpc_drain(Rpc *r, LoopFn done, void *arg);
Rpc *rpc_free(Rpc *r); /* cuts what is left; operations still running must have answered before loop_free();
                          NULL-safe */

/* Prometheus text; names are the reference's, grpc.md 10. */
void rpc_metrics(const Rpc *r, Buf *out);
typedef struct RpcStats {
    size_t conns, streams, watches;
} RpcStats;
RpcStats rpc_stats(const Rpc *r);

/* The method table, for documents and for tests that walk it. */
typedef struct RpcRoute {
    const char *path, *permission;
} RpcRoute;
size_t rpc_route_count(void);
RpcRoute rpc_route(size_t i);
