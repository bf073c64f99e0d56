/*
 * One GET, for programs that must stay small: HTTP/1.0 on a connection of its own, plain or TLS, no
 * redirects, no proxies, no compression, the body in memory up to a bound. Everything else is client.h's
 * business, which brings libcurl along. RFC 1945, RFC 9112. Loop thread only.
 */
#pragma once

#include "base/secret.h"
#include "loop/loop.h"
#include "loop/tls.h"

typedef struct BriefGet BriefGet;

typedef struct BriefRequest {
    const char *url;        /* http or https, with a host and without user information */
    const Secret *bearer;   /* NULL = none; copied */
    const char *proof_name; /* one more header, with the next as its value */
    const Secret *proof;    /* NULL = none; copied */
    TlsContext *tls;        /* for https; borrowed */
    Usec timeout;           /* of all of it; 0 = 10 s */
    size_t max;             /* of the answer; 0 = 1 MiB */
} BriefRequest;

/* err NULL: an answer came, of any status. The body is erased after the call. */
typedef void (*BriefDone)(void *arg, int status, Str body, const Err *err);
int brief_get(Loop *l, const BriefRequest *r, BriefDone done, void *arg, BriefGet **ret, Err *err);
void brief_cancel(BriefGet *g); /* NULL-safe; no done after */
