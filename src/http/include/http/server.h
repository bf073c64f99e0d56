/*
 * HTTP/1.1 server. The room knows nothing of routes or kinds: every request reaches one handler.
 * Loop thread only. A request lives until it is answered or its stream ended; its views (path, headers, body)
 * live as long. Malformed, ambiguous (Content-Length beside Transfer-Encoding, several Content-Lengths,
 * obs-fold) and oversize requests are answered here (400, 413, 431) and the connection is closed. RFC 9110,
 * RFC 9112.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "loop/loop.h"
#include "loop/tls.h"

typedef struct HttpServer HttpServer;
typedef struct HttpReq HttpReq;
typedef struct HttpStream HttpStream;

typedef struct HttpLimits {
    size_t body_max;         /* 413 beyond */
    size_t upload_max;       /* the same of a PUT, when it is more: a file as it is */
    size_t headers_max;      /* 431 beyond */
    Usec header_timeout;     /* from accept or keep-alive to the end of the headers */
    Usec idle_timeout;       /* between requests */
    Usec body_timeout;       /* for the whole body */
    unsigned conns_max;      /* 503 + Retry-After beyond */
    unsigned conns_per_peer; /* 429 beyond */
    size_t stream_out_max;   /* high mark of a stream's output buffer */
} HttpLimits;
extern const HttpLimits http_limits_default;

typedef void (*HttpHandler)(void *arg, HttpReq *req);
/* Makes the body of an error that this room answers by itself (the API's error object). May be NULL: text. */
typedef void (*HttpErrorBody)(void *arg, ErrCode code, const char *reason, Buf *body,
                              const char **content_type);

int http_server_new(Loop *l, const char *address, TlsContext *tls, const HttpLimits *limits,
                    HttpHandler handler, HttpErrorBody error_body, void *arg, HttpServer **ret, Err *err);
int http_server_port(const HttpServer *s);
/* Stops accepting; keep-alive connections close after their answer; `done` when the last one has gone. */
void http_server_drain(HttpServer *s, LoopFn done, void *arg);
HttpServer *http_server_free(HttpServer *s); /* cuts what is left; NULL-safe */
size_t http_server_conns(const HttpServer *s);

/* The request */
Str http_req_method(const HttpReq *r);                   /* "GET" */
Str http_req_path(const HttpReq *r);                     /* percent-decoded, without query */
Str http_req_raw_target(const HttpReq *r);               /* as sent */
Str http_req_header(const HttpReq *r, const char *name); /* first value, STR_NULL (ptr NULL) when absent */
/* The i-th header field as sent; false behind the last. */
bool http_req_field(const HttpReq *r, size_t i, Str *ret_name, Str *ret_value);
Str http_req_query(const HttpReq *r, const char *name); /* decoded, first value; ptr NULL when absent */
Str http_req_body(const HttpReq *r);
const char *http_req_peer(const HttpReq *r);
/* on_gone(user) is called when the request is over: answered, or the client left. */
void http_req_set_user(HttpReq *r, void *user, LoopFn on_gone);
void *http_req_user(const HttpReq *r);
/* A client that ends its side of the connection from now on has left: it is not answered. For requests that
   wait on somebody else for long; others are answered to a client that has only shut its output. */
void http_req_ends_with_client(HttpReq *r);

/* The answer: headers first, then exactly one of these. Date, Content-Length, Transfer-Encoding and
   Connection are set here and ignored when given; a header with control characters is left out. HEAD gets no
   body. */
void http_reply_header(HttpReq *r, const char *name, Str value);     /* replaces */
void http_reply_header_add(HttpReq *r, const char *name, Str value); /* beside those of the same name */
void http_reply(HttpReq *r, int status, Str body);      /* copies; body may be empty; req is gone after */
void http_reply_buf(HttpReq *r, int status, Buf *body); /* moves the bytes, leaves an empty Buf */

/* A chunked answer of unknown length (SSE, exports). Never compressed; each write goes out at once. */
typedef struct HttpStreamOps {
    void (*on_drain)(void *arg); /* output went below half of stream_out_max: write on */
    void (*on_gone)(void *arg);  /* the client left; the stream is dead, do not touch it again */
} HttpStreamOps;
HttpStream *http_stream_start(HttpReq *r, int status, const HttpStreamOps *ops, void *arg);
bool http_stream_writable(const HttpStream *s);   /* false: wait for on_drain */
void http_stream_write(HttpStream *s, Str bytes); /* accepted even when not writable; ask first */
/* The same without a copy; `release` is called when the bytes are sent or dropped. */
void http_stream_write_ref(HttpStream *s, Str bytes, LoopFn release, void *arg);
void http_stream_end(HttpStream *s); /* last chunk; the stream is gone after */
/* Without the last chunk, and closes: the client sees that it is not whole. The stream is gone after. */
void http_stream_abort(HttpStream *s);
