/* Pieces of the wire format shared by the encoder and the decoder.
 * https://protobuf.dev/programming-guides/encoding/ */
#pragma once

#include <stdint.h>
#include "pb/pb.h"

#define PB_NUMBER_MAX ((UINT32_C(1) << 29) - 1)

/* Reads a varint of at most ten bytes; 0 or -1. */
int pb_varint_next(Str *rest, uint64_t *ret);
/* The wire type of a scalar, string or message field outside a packed list. */
PbWireType pb_wire_type(ProtobufCType type);
