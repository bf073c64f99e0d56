/* A server session under test: a fake clock, a peer, and methods whose calls the test holds in its hand. */
#pragma once

#include "test-internal.h"

#include "server-internal.h"

typedef struct Bench {
    FakeClock clock;
    Peer peer;
    TestSink sink;
    SrvHost host;
    SrvSession *session;
    /* The last call that came to a handler, and what became of it. */
    GrpcCall *call;
    Buf message;
    unsigned n_messages, n_half_closes, n_gone, n_ended, n_on_call, n_pulls;
    GrpcStatus ended;
    char ended_path[128];
    bool hold_on_call; /* on_call does not proceed by itself */
    /* What "Stream" sends: `left` frames of `size` bytes, then it sleeps, or ends when `end` is set. */
    unsigned left;
    size_t size;
    bool end;
} Bench;

Bench *bench_new(const GrpcLimits *limits);
void bench_free(Bench *b);
/* Gives the peer's frames to the session, `step` bytes at a time (0 = all at once), and takes the answer. */
void bench_exchange(Bench *b, size_t step);
void bench_flush(Bench *b);
void bench_advance(Bench *b, Usec by); /* time passes; ticks the session when it is due */
/* Magic, SETTINGS, and the session's SETTINGS read. */
void bench_handshake(Bench *b);
/* HEADERS of a good request; `extra` may be NULL. */
void bench_headers(Bench *b, int32_t stream_id, uint8_t flags, const char *path, const char *extra);
/* A whole request with this message. */
void bench_request(Bench *b, int32_t stream_id, const char *path, Str message);
/* Trailers-only answer, or trailers: checks grpc-status and that the stream is over. */
PeerFrame *bench_expect_end(Bench *b, int32_t stream_id, GrpcStatus status);
void bench_expect_reset(Bench *b, int32_t stream_id, uint32_t code);
