/* Shared by the unit tests of this room: an API server in this process, on real sockets, that follows a
 * script. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>
#include "base/mem.h"
#include "client/client.h"
#include "grpc/server.h"
#include "http/server.h"

/* Turns the loop until the condition holds. A test that waits for ever is ended by the alarm. */
#define PUMP_UNTIL(l, cond)                                                                                  \
    do {                                                                                                     \
        alarm(30);                                                                                           \
        while (!(cond))                                                                                      \
            loop_run_once((l), true);                                                                        \
        alarm(0);                                                                                            \
    } while (0)

#define SEEN_MAX 32

/* A request as the server saw it; strings owned. */
typedef struct Seen {
    char *line; /* "GET /target" or the path of a gRPC method */
    char *bearer, *project, *content_type, *key, *turn, *accept;
    char *body; /* gRPC pushes: "session type payload" */
} Seen;

typedef struct FakeApi FakeApi;
struct FakeApi {
    Loop *loop;
    HttpServer *http;
    GrpcServer *grpc;
    TokenSource *token;
    Client *client;
    Seen seen[SEEN_MAX];
    size_t n_seen;
    /* REST: answers a request. */
    void (*answer)(FakeApi *api, HttpReq *req, size_t n);
    /* Pushes: status of the n-th one. */
    GrpcStatus push_status[8];
    /* Watches: what a stream sends, and the cursor of the request that opened it. */
    GrpcCall *stream; /* the open one; NULL = none */
    size_t n_streams, at;
    GrpcStatus refuse; /* not OK: streams end at once with it */
    uint64_t after_seq;
    char after_version[32];
    unsigned rows; /* messages in the log: seq 1 to rows */
    Buf events[4]; /* kind watches: encoded events */
    size_t n_events;
};

FakeApi *fake_api_new(const char *project);
void fake_api_free(FakeApi *api);
void fake_api_reply(HttpReq *req, int status, const char *type, const char *body);
/* Streams get what came into the log since. */
void fake_api_wake(FakeApi *api);
void fake_api_end_stream(FakeApi *api, GrpcStatus status);

int run_address_tests(void);
int run_list_tests(void);
int run_push_tests(void);
int run_rest_tests(void);
int run_token_tests(void);
int run_watch_tests(void);
