/*
 * The way to the runners of the process runtime, for the API server: `/sessions/{id}/runner/PATH` goes on to
 * PATH of the session's runner, with the secret that the runner expects and nothing of the caller's
 * credentials. Answers are streamed piece by piece and without a deadline; a slow reader makes the runner
 * wait. Whoever calls must show the platform's token, in X-Ambient-Proxy-Token or as bearer token. `/health`
 * is free.
 */
#pragma once

#include "client/client.h"
#include "http/client.h"
#include "http/server.h"

typedef struct Proxy Proxy;
typedef struct ProxyOptions {
    const char *address;
    HttpClient *http;   /* borrowed, as all below */
    TokenSource *token; /* the platform's */
    /* Where the runner of a session listens and what it expects; false: none lives. */
    bool (*route)(void *arg, Str session_id, int64_t *ret_port, const char **ret_token);
    void *arg;
} ProxyOptions;

int proxy_new(Loop *l, const ProxyOptions *o, Proxy **ret, Err *err);
Proxy *proxy_free(Proxy *p); /* cuts what goes on; NULL-safe, returns NULL */
int proxy_port(const Proxy *p);
