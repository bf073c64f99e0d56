/*
 * What the control plane asks of the API server, as a table of functions: api-client.c is the real one, the
 * tests have one in memory. Loop thread only; nothing completes before the starting call returns, and nothing
 * completes after api_cancel().
 */
#pragma once

#include "base/err.h"
#include "client/client.h"
#include "kinds/obj.h"

typedef struct Api Api;
typedef struct ApiCall ApiCall;
/* The object (the callee frees it), or an error. */
typedef void (*ApiDone)(void *arg, Obj *o, const Err *err);

/* The parsed body (NULL: none), borrowed, or an error. */
typedef void (*ApiJsonDone)(void *arg, const json_t *body, const Err *err);

typedef struct ApiOps {
    /* `project` counts for kinds that live in one: agents. */
    ApiCall *(*get)(Api *a, const Kind *k, Str project, Str id, ApiDone done, void *arg);
    /* PATCH /sessions/{id}/status. Refused with ERR_CONFLICT when the session is not in if_phase any more. */
    ApiCall *(*patch_status)(Api *a, Str session_id, Phase if_phase, Str body, ApiDone done, void *arg);
    /* Every object of a kind, of all projects. */
    ApiCall *(*list)(Api *a, const Kind *k, ClientEach each, ClientListDone done, void *arg);
    /* Those that a search finds. */
    ApiCall *(*find)(Api *a, const Kind *k, Str search, ClientEach each, ClientListDone done, void *arg);
    /* Anything else: path below /api/ambient/v1, escaped; body JSON, ptr NULL = none. */
    ApiCall *(*send)(Api *a, const char *method, const char *path, Str body, ApiJsonDone done, void *arg);
    /* Events of a kind from now on; lasts until it is cancelled. */
    ApiCall *(*watch)(Api *a, const Kind *k, const WatchOps *ops, void *arg);
    void (*cancel)(ApiCall *call); /* safe inside its callbacks */
} ApiOps;

struct Api {
    const ApiOps *ops;
};

static inline void api_cancel(Api *a, ApiCall *call)
{
    if (call)
        a->ops->cancel(call);
}
