/*
 * The REST API over the service: routes, bodies, headers, event streams, the OpenAPI document and the way to
 * a session's runner. Contract: rest-core.md. Loop thread only.
 */
#pragma once

#include "auth/auth.h"
#include "http/client.h"
#include "http/server.h"
#include "hub/hub.h"
#include "service/service.h"

typedef struct Rest Rest;

typedef struct RestOptions {
    Service *service; /* all of these are borrowed and outlive the Rest */
    Hub *hub;
    Authenticator *auth;
    HttpClient *client;
    const Clock *clock;
    const char *version; /* of this build, e.g. a git revision */
    const char *build_time, *git_tag;
    const char *cors_origins; /* comma list; "*" = all, empty = none */
    const char *cors_headers; /* comma list, beside the built-in ones */
    const char
        *trusted_proxies;     /* comma list of networks: their X-Forwarded-Access-Token counts; NULL = none */
    const char *runner_url;   /* template for sessions of the process runtime; "{id}" is the session */
    const Secret *runner_key; /* shared with the control plane: gives each runner in a pod its own token */
    const Secret *runner_token; /* without a key: the one token of all runners; NULL = none */
    const Secret
        *proxy_token; /* sent to the process runtime's proxy, which has the runners' own; NULL = none */
    const char *backend_url;    /* where paths go that are not ours; NULL or empty = nowhere */
    bool backend_forward_token; /* with the caller's own credentials */
    bool local_only;            /* listens on this machine's own addresses only */
    HttpLimits limits;
    size_t message_max;        /* bytes of a posted message's body; 0 = 1 MiB */
    Usec ping_interval;        /* of event streams; 0 = 30 s */
    bool shared_store;         /* others write to it: no answer is kept (docs/decisions/0005) */
    unsigned streams_per_user; /* open event streams of one user; others have no limit; 0 = 1000 */
} RestOptions;

Rest *rest_new(Loop *l, const RestOptions *o);
int rest_listen(Rest *r, const char *address, TlsContext *tls, Err *err);
int rest_port(const Rest *r);
/* Event streams end with a last comment; new ones are refused. */
void rest_end_streams(Rest *r);
void rest_drain(Rest *r, LoopFn done, void *arg);
Rest *rest_free(Rest *r); /* NULL-safe; nothing may be in flight any more */

/* Prometheus text: api_inbound_request_count, api_inbound_request_duration, streams. */
void rest_metrics(const Rest *r, Buf *out);

/* The route table, for documents and for tests that walk it. */
typedef struct RestRoute {
    const char *method, *pattern; /* "/sessions/{id}", below /api/ambient/v1 */
    const char *permission;       /* "session:read"; NULL = public */
} RestRoute;
size_t rest_route_count(void);
RestRoute rest_route(size_t i);
