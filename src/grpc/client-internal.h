/*
 * The client's side. A CliSession is one connection without its socket, like the server's SrvSession; a
 * GrpcClientCall is one call, which may see two connections: one that the server provably did not process
 * goes to the next, once.
 *
 *   WAITING -> SENT -> STREAMING -> DONE
 *      ^        |  \________________^
 *      +--------+ (once)
 *
 * WAITING: no connection yet. SENT: the request is with nghttp2. STREAMING: response headers came. DONE:
 * on_end was called or the caller cancelled; memory goes at the end of the turn.
 */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "grpc/client.h"
#include "h2-internal.h"
#include "message-internal.h"
#include "meter-internal.h"

typedef struct CliSession CliSession;
typedef struct CliOwner CliOwner;

/* What all calls and sessions of a channel share. */
struct CliOwner {
    Loop *loop;
    const Clock *clock;
    Heap timed; /* GrpcClientCall.timed by deadline */
    Str authority, scheme;
    void (*on_ready)(CliOwner *o, CliSession *s);     /* the server's SETTINGS came */
    void (*on_retry)(CliOwner *o, GrpcClientCall *c); /* WAITING again, in no list */
    void (*on_deadline)(CliOwner *o, Usec at);        /* a call wants cli_owner_tick() then */
};
void cli_owner_init(CliOwner *o, Loop *l);
void cli_owner_done(CliOwner *o);
/* Ends the calls whose deadline has passed. Returns the next deadline. */
Usec cli_owner_tick(CliOwner *o);

struct CliSession {
    CliOwner *owner;
    H2Sink sink;
    nghttp2_session *h2;
    H2Meter meter;
    List calls; /* GrpcClientCall.link */
    Usec created, last_recv, ping_sent /* 0 = none out */, due;
    Usec ping_interval;
    size_t block_listed; /* bytes of the header block that is being received */
    const char *kick;
    const char *why; /* it ended; static text */
    bool settings_seen, going /* GOAWAY came: no new calls */, too_many_pings, over, dead;
};

CliSession *cli_session_new(CliOwner *o, const H2Sink *sink, Usec ping_interval);
/* Calls end with UNAVAILABLE and `why`, or are given back to the owner. Memory goes at the end of the turn.
 */
CliSession *cli_session_free(CliSession *s, const char *why);
void cli_session_feed(CliSession *s, Str bytes);
void cli_session_flush(CliSession *s);
void cli_session_tick(CliSession *s);
bool cli_session_is_over(const CliSession *s);
bool cli_session_takes_calls(const CliSession *s);

typedef enum CliCallState {
    CCALL_WAITING,
    CCALL_SENT,
    CCALL_STREAMING,
    CCALL_DONE,
    _CCALL_STATE_MAX
} CliCallState;

struct GrpcClientCall {
    unsigned magic;
    int32_t stream_id;
    CliOwner *owner;
    CliSession *session; /* NULL while waiting */
    GrpcCallOps ops;
    void *arg;
    ListLink link; /* in the session's calls, or in the owner's list of waiting ones */
    HeapNode timed;
    Usec deadline;
    /* The request, until response headers came. */
    char *path;
    Secret *bearer;
    char **metadata; /* name, value, name, value, ...: n_metadata pairs */
    size_t *metadata_len;
    size_t n_metadata;
    GrpcFrame *frame;
    size_t sent;
    /* The response. */
    MessageReader reader;
    int http_status, grpc_status; /* 0 and -1: not seen */
    char *message;
    size_t unconsumed; /* flow-control credit held back while paused */
    uint8_t state;     /* CliCallState; written by call_move() only */
    bool headers_out, retried, paused, is_grpc;
};

GrpcClientCall *cli_call_new(CliOwner *o, const GrpcCallSpec *spec, Str message, const GrpcCallOps *ops,
                             void *arg);
void cli_call_send(GrpcClientCall *c, CliSession *s);
void cli_call_end(GrpcClientCall *c, GrpcStatus status, const char *message);
/* From the session. */
void cli_call_header(GrpcClientCall *c, Str name, Str value);
void cli_call_headers_done(GrpcClientCall *c);
size_t cli_call_data(GrpcClientCall *c, Str bytes); /* how much credit to give back */
void cli_call_stream_closed(GrpcClientCall *c, uint32_t error_code);
void cli_call_lost(GrpcClientCall *c, const char *why); /* the connection went */
void cli_call_write(GrpcClientCall *c, const uint8_t *head, size_t length);
