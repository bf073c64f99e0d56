/*
 * Looks at the header of every inbound HTTP/2 frame before nghttp2 does, also of those that nghttp2 ignores,
 * and says when a peer sends more of a kind than any honest peer would. Nothing is buffered; a frame header
 * may be split over any number of calls. The same rules hold whatever version of nghttp2 is linked.
 */
#pragma once

#include "base/str.h"
#include "bucket-internal.h"

typedef struct H2Meter {
    uint8_t head[9];
    uint8_t have;       /* bytes of the frame header */
    uint8_t magic_left; /* of the client preface, on a server */
    uint32_t payload_left;
    uint32_t block_len; /* of the header block that is being received */
    uint8_t continuations;
    uint32_t block_max; /* compressed bytes of one header block */
    Bucket resets, pings, settings, empty, idle;
} H2Meter;

void h2_meter_init(H2Meter *m, bool server, size_t block_max);
/* NULL, or what the peer has overdone, as text for GOAWAY. */
const char *h2_meter_scan(H2Meter *m, Str bytes, Usec now);
/* A stream was reset by us for an error of the peer: the same bucket as resets of the peer. */
const char *h2_meter_reset_sent(H2Meter *m, Usec now);
/* We sent HEADERS or DATA: the peer may ping, and pays less for window updates. */
static inline void h2_meter_progress(H2Meter *m)
{
    bucket_refill(&m->pings);
    bucket_refill(&m->idle);
}
