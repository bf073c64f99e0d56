/*
 * The server's side of one connection, apart from its socket: bytes in by srv_session_feed(), bytes out
 * through the sink in srv_session_flush(), time by srv_session_tick(). Neither feed nor flush is ever called
 * from a callback.
 *
 * A call is one stream. It lives from the stream's HEADERS to nghttp2's close of the stream:
 *
 *   OPENING -> RECEIVING -> ADMITTING -> HANDLING -> RESPONDING -> ENDING -> DONE
 *      |           |            |            |                      ^
 *      +-----------+------------+------------+----------------------+   (trailers only, or a reset)
 *
 * OPENING: headers arrive. RECEIVING: the message arrives. ADMITTING: on_call decides. HANDLING: the handler
 * has the message. RESPONDING: response headers are out, frames flow. ENDING: the status is known, frames
 * before it are still to go. DONE: trailers or a reset are with nghttp2. A bidi call goes on receiving in
 * HANDLING and RESPONDING.
 */
#pragma once

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/vec.h"
#include "grpc/server.h"
#include "h2-internal.h"
#include "message-internal.h"
#include "metadata-internal.h"
#include "meter-internal.h"
#include "sink-internal.h"

typedef struct SrvSession SrvSession;
typedef struct Health Health;
typedef struct Reflection Reflection;

/* What all sessions of a server share. */
typedef struct SrvHost {
    GrpcLimits limits;
    const Clock *clock;
    Map *methods;  /* path -> const GrpcMethod */
    Map *services; /* "package.Service" -> the same, any of its methods */
    GrpcServerOps ops;
    void *arg;
    GrpcServerStats stats;
    size_t request_bytes; /* of messages that are being received */
    Health *health;
    Reflection *reflection;
} SrvHost;

void srv_host_init(SrvHost *host, const GrpcLimits *limits, const GrpcMethod *methods,
                   const GrpcServerOps *ops, void *arg, const Clock *clock);
void srv_host_add(SrvHost *host, const GrpcMethod *methods);
void srv_host_done(SrvHost *host);

/* Handlers' unfinished work, which outlives calls and may outlive the session. */
struct GrpcWork {
    unsigned refs, running;
};
void grpc_work_unref(GrpcWork *w);

typedef enum DrainPhase { DRAIN_NONE, DRAIN_NOTICE, DRAIN_FINAL } DrainPhase;

struct SrvSession {
    SrvHost *host;
    H2Sink sink;
    nghttp2_session *h2;
    H2Meter meter;
    char *peer;
    List calls, ready; /* GrpcCall.all, GrpcCall.ready */
    size_t n_calls;
    Heap timed; /* GrpcCall.timed by due */
    GrpcWork *work;
    size_t request_bytes, reply_bytes;
    Usec now, created, last_recv, ping_sent /* 0 = none out */, drain_at, due;
    DrainPhase drain;
    const char *kick; /* the peer has overdone this; acted upon outside nghttp2's callbacks */
    bool settings_seen, had_stream, over;
};

SrvSession *srv_session_new(SrvHost *host, const H2Sink *sink, const char *peer);
/* Ends all calls; nothing is sent any more. NULL-safe, returns NULL. */
SrvSession *srv_session_free(SrvSession *s);
void srv_session_feed(SrvSession *s, Str bytes);
void srv_session_flush(SrvSession *s);
void srv_session_tick(SrvSession *s);
void srv_session_drain(SrvSession *s);
/* Nothing more will be read or written: close the connection behind what the sink has. */
bool srv_session_is_over(const SrvSession *s);
void srv_session_set_due(SrvSession *s, Usec at);
bool srv_session_is_loaded(const SrvSession *s); /* as many calls as a connection may have */

typedef enum CallState {
    CALL_OPENING,
    CALL_RECEIVING,
    CALL_ADMITTING,
    CALL_HANDLING,
    CALL_RESPONDING,
    CALL_ENDING,
    CALL_DONE,
    _CALL_STATE_MAX,
} CallState;

/* What a call needs until its handler streams. */
typedef struct CallRequest {
    Metadata metadata;
    MessageReader reader;
    bool complete; /* one whole message is in the reader */
    bool headers_over;
} CallRequest;

/* What only a bidi call needs. */
typedef struct CallBidi {
    VEC_OF(GrpcFrame *)
    out;
    size_t out_pos;
    Buf pending; /* bytes that may not be looked at yet: no flow-control credit was given for them */
    bool half_close_told;
} CallBidi;

struct GrpcCall {
    unsigned magic;
    int32_t stream_id;
    SrvSession *session;
    const GrpcMethod *method;
    const char *content_type; /* of the response; static */
    CallRequest *request;
    CallBidi *bidi;
    void *user;
    LoopFn on_gone;
    GrpcPull pull;
    GrpcFrame *cur; /* being sent */
    size_t cur_pos;
    size_t counted; /* of session->request_bytes */
    char *message;  /* of the status */
    Usec started, deadline, due;
    HeapNode timed;
    ListLink all, ready;
    GrpcStatus status;
    uint8_t state; /* CallState; written by srv_call_move() only */
    bool half_closed, told;
};

/* From nghttp2's callbacks. */
GrpcCall *srv_call_open(SrvSession *s, int32_t stream_id);
bool srv_call_header(GrpcCall *c, Str name, Str value); /* false: the peer attacks the decoder */
void srv_call_headers_done(GrpcCall *c);
size_t srv_call_data(GrpcCall *c, Str bytes); /* how much flow-control credit to give back */
void srv_call_half_closed(GrpcCall *c);
void srv_call_stream_closed(GrpcCall *c); /* frees the call */
/* From the session. */
void srv_call_expired(GrpcCall *c);
void srv_call_resume(GrpcCall *c); /* after it was woken */
ssize_t srv_call_read(GrpcCall *c, size_t length, uint32_t *flags);
void srv_call_write(GrpcCall *c, const uint8_t *head, size_t length);

/* Built-in services; their handlers find themselves through the call's host. Their methods' `data` is this:
   the application does not know these calls, so that a drain ends them without it. */
extern const char srv_builtin[];
void srv_health_enable(SrvHost *host);
void srv_health_set(SrvHost *host, bool serving); /* no-op when not enabled */
void srv_health_drain(SrvHost *host);             /* NOT_SERVING, and then the end of all watches */
void srv_health_free(Health *h);
void srv_reflection_enable(SrvHost *host, Str descriptor_set);
void srv_reflection_free(Reflection *r);
