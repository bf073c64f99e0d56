/*
 * A length-prefixed gRPC message, encoded once, immutable, reference counted: the same bytes go to any number
 * of streams. Loop thread only (the count is not atomic).
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include "base/err.h"
#include "base/str.h"

typedef struct GrpcFrame GrpcFrame;
GrpcFrame *grpc_frame_new(Str message);                  /* adds the five-byte prefix; count 1 */
GrpcFrame *grpc_frame_pack(const ProtobufCMessage *msg); /* count 1 */
GrpcFrame *
grpc_frame_raw(Str bytes); /* as they are, without prefix: for streams of other transports; count 1 */
GrpcFrame *grpc_frame_ref(GrpcFrame *f);
GrpcFrame *grpc_frame_unref(GrpcFrame *f); /* NULL-safe, returns NULL */
Str grpc_frame_bytes(const GrpcFrame *f);  /* with the prefix */
