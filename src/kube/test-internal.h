/* Shared by the unit tests of this room. */
#pragma once

// clang-format off
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on
#include "http/server.h"
#include "kube-internal.h"

/*
 * A server that answers from a script: the n-th request gets the n-th answer and must be the one that the
 * script names. A request behind the last one fails the test.
 */
typedef struct Answer {
    const char *request; /* "GET /api/v1/...": start of the request line */
    int status;
    const char *body; /* NULL = none */
    const char *header, *value;
    bool stream; /* the body is sent in pieces that end at '|', and the stream stays open when it ends with
                    one */
    const char *want;   /* the request's body must hold this */
    const char *bearer; /* ... and this token */
} Answer;
#define SAY(line, code, text, ...)                                                                           \
    {                                                                                                        \
        .request = (line), .status = (code), .body = (text), __VA_ARGS__                                     \
    }

typedef struct TestApi {
    Loop *loop;
    HttpServer *server;
    const Answer *answers;
    size_t n_answers, n_requests;
    char *url;
    KubeConfig config;
    Kube *kube;
    HttpStream *open;
} TestApi;

void test_api_init(TestApi *t, const Answer *answers, size_t n, const KubeOptions *o);
void test_api_done(TestApi *t);
/* Turns the loop until *flag, at most 10 s. */
void test_wait(TestApi *t, const bool *flag);

typedef struct TestResult {
    bool done;
    json_t *body;
    KubeError e;
} TestResult;
void test_result(void *arg, json_t *body, const KubeError *e); /* a KubeDone */
void test_result_done(TestResult *r);

int run_config_tests(void);
int run_parts_tests(void);
int run_client_tests(void);
int run_limits_tests(void);
int run_watch_tests(void);
int run_election_tests(void);
