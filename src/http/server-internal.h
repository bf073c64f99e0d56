/*
 * Shared by server.c (accepting, limits, drain), server-conn.c (a connection's states and deadlines), req.c
 * (what a handler asks) and reply.c (what it answers).
 */
#pragma once

#include "base/list.h"
#include "base/map.h"
#include "http/server.h"
#include "loop/conn.h"
#include "parser-internal.h"

struct HttpServer {
    Loop *loop;
    Listener *listener;
    int port;
    HttpLimits limits;
    HttpHandler handler;
    HttpErrorBody error_body;
    void *arg;
    bool tls;
    bool draining;
    LoopFn drained;
    void *drained_arg;
    List conns;
    size_t n_conns;
    Map *peers;     /* address -> PeerCount */
    int64_t date_s; /* the second that `date` is of */
    char date[32];
};

typedef struct PeerCount {
    unsigned n;
} PeerCount;

/*
 *   IDLE -> READING -> ANSWERING -> IDLE
 *                         |  \-> STREAMING -> IDLE
 *   any -> CLOSING (output is being sent) -> gone
 */
typedef enum HttpConnState {
    HTTP_IDLE,      /* between requests; no memory but this structure */
    HTTP_READING,   /* a request has begun */
    HTTP_ANSWERING, /* the handler has it */
    HTTP_STREAMING,
    HTTP_CLOSING,
} HttpConnState;

typedef struct HttpConn {
    HttpServer *server;
    ListLink link;
    Conn *conn;
    Timer *timer; /* the deadline of the state */
    HttpConnState state;
    HttpReq *req; /* READING to STREAMING */
    PeerCount *peer;
    size_t kept;      /* bytes that came and were not looked at yet */
    bool half_closed; /* the client sends no more */
    bool flushing;    /* too much unsent: the next request waits */
    bool in_read;     /* conn_read is further up the stack */
    bool paused;
    bool freed;
} HttpConn;

struct HttpStream {
    const HttpStreamOps *ops;
    void *arg;
    bool chunked, no_body;
};

typedef struct QueryPair {
    Span name, value;
} QueryPair;

struct HttpReq {
    HttpConn *hc;
    Parser parser;
    Buf path;       /* decoded */
    Str query;      /* as sent, into the parser's head */
    Buf query_text; /* decoded names and values */
    VEC_OF(QueryPair)
    query_pairs;
    bool query_done;
    bool ends_with_client; /* http_req_ends_with_client() */
    Buf reply_fields;      /* "Name: value\r\n" each */
    HttpStream stream;
    void *user;
    LoopFn on_gone;
};

/* server.c */
void server_conn_gone(HttpServer *s, HttpConn *hc);
const char *server_date(HttpServer *s);

/* server-conn.c */
void http_conn_new(HttpServer *s, Conn *c, PeerCount *peer);
HttpConn *http_conn_free(HttpConn *hc); /* cuts it; whoever waits for its request hears of it */
void http_conn_drain(HttpConn *hc);     /* no further request on this connection */
void http_conn_answered(HttpConn *hc);  /* all of the answer is written, the request is over */
void http_conn_streams(HttpConn *hc);   /* an answer without a length has begun */
void http_conn_close(HttpConn *hc);     /* sends what is left; counts as a connection until then */

/* req.c */
HttpReq *req_new(HttpConn *hc);
HttpReq *req_free(HttpReq *r); /* tells the handler's on_gone */
int req_complete(HttpReq *r);  /* decodes the target; the parser has failed then, or 0 */

/* reply.c */
void reply_refusal(HttpConn *hc, int status, ErrCode code, const char *reason);
/* An answer for a connection that is not even looked at. */
void reply_busy(Conn *c, HttpServer *s, int status, ErrCode code);
