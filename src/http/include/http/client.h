/*
 * HTTP client (libcurl's multi interface on the loop): TLS verified, proxies, pooling, redirects refused.
 * Loop thread only. Nothing completes before http_send() returns.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"
#include "base/secret.h"
#include "loop/loop.h"

typedef struct HttpClient HttpClient;
typedef struct HttpCall HttpCall;

typedef struct HttpClientOptions {
    const char *ca_file; /* NULL = the system's */
    bool insecure_skip_verify;
    const char *user_agent;
    const char *unix_socket; /* NULL = TCP */
    const char *ca_pem;      /* roots as text, instead of ca_file */
    const char *proxy;       /* for every call; NULL = as the environment says */
    const char *connect_to;  /* "HOST:PORT:HOST2:PORT2": the first is named and verified, the second called */
} HttpClientOptions;

/* A client certificate and its key, both PEM. */
typedef struct HttpIdentity {
    Str cert;
    const Secret *key;
} HttpIdentity;

typedef struct HttpHeader {
    const char *name;
    Str value;
} HttpHeader;

typedef struct HttpResponse {
    int status;
    Str body; /* whole body; empty for streamed calls */
    Str content_type;
    /* First value of a response header, ptr NULL when absent. */
    Str (*header)(const struct HttpResponse *r, const char *name);
    void *impl;
} HttpResponse;

/* Every response header in turn, repeated ones too; *at starts at 0. False at the end. */
bool http_response_field(const HttpResponse *r, size_t *at, Str *ret_name, Str *ret_value);

/* err is set (and r NULL) when no answer came: ERR_UNAVAILABLE, ERR_DEADLINE, ERR_TOO_LARGE, or ERR_INVALID
   for a request that cannot be sent. */
typedef void (*HttpDone)(void *arg, const HttpResponse *r, const Err *err);
/* Streamed bodies: called with pieces as they arrive once the status is 2xx. */
typedef void (*HttpPiece)(void *arg, Str bytes);

typedef struct HttpRequest {
    const char *method; /* "GET" */
    const char *url;
    const HttpHeader *headers;
    size_t n_headers;
    const Secret *bearer;         /* sent as Authorization: Bearer; NULL = none */
    const HttpIdentity *identity; /* copied; NULL = none */
    Str body;                     /* copied; ptr NULL = no body */
    Usec timeout;                 /* whole call; USEC_NEVER for streams */
    Usec connect_timeout;         /* 0 = 10 s */
    size_t body_max;              /* 0 = 64 MiB */
    HttpPiece on_piece;           /* not NULL: streamed */
    bool every_status;            /* bodies of other statuses than 2xx are streamed, too */
    /* Streamed: status and headers are there. May be NULL. */
    void (*on_headers)(void *arg, const HttpResponse *r);
    /* Asked when the connection stands, immediately before the request is written; false ends the call with
       ERR_PRECONDITION. May be NULL. Must not send or cancel anything. */
    bool (*may_send)(void *arg);
} HttpRequest;

int http_client_new(Loop *l, const HttpClientOptions *o, HttpClient **ret, Err *err);
HttpClient *http_client_free(HttpClient *c);                                          /* cancels what runs */
HttpCall *http_send(HttpClient *c, const HttpRequest *req, HttpDone done, void *arg); /* never NULL */
/* Inside done: whether the server had been reached, TLS included. False: nothing was sent. */
bool http_reached(const HttpCall *call);
/* Streamed calls: no more pieces until it is taken back; the peer then has to wait. */
void http_pause(HttpCall *call, bool paused);
void http_cancel(HttpCall *call); /* no callback comes after; NULL-safe; invalid once done was called */

/* Incremental decoder of text/event-stream (WHATWG HTML, server-sent events). */
typedef struct SseDecoder SseDecoder;
typedef struct SseEvent {
    Str id, event, data; /* data lines joined by \n */
} SseEvent;
typedef void (*SseFn)(void *arg, const SseEvent *ev);
SseDecoder *sse_decoder_new(size_t event_max, SseFn fn, void *arg);
int sse_decoder_feed(SseDecoder *d, Str bytes); /* 0, or -ERR_TOO_LARGE */
Usec sse_decoder_retry(const SseDecoder *d);    /* the last "retry:" the server sent; USEC_NEVER = none */
SseDecoder *sse_decoder_free(SseDecoder *d);    /* NULL-safe; allowed in its own callback */
