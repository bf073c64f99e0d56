/*
 * Client of the Kubernetes API: typed paths from a table, JSON in and out, one connection pool (HTTP/2 where
 * the server offers it). Knows nothing of sessions.
 *
 * Requests wait for a token bucket (50 per second, bursts of 100); what can wait (`background`) has a quarter
 * of it while there is other work. An answer 429, or any that carries Retry-After, is asked again within the
 * request's deadline, and a 429 makes all others wait as well; a 401 is asked again once with fresh
 * credentials. Everything else is the caller's to retry. Loop thread only; nothing completes before the
 * starting call returns, and nothing after kube_cancel().
 */
#pragma once

#include "json/json.h"
#include "kube/config.h"
#include "loop/loop.h"

typedef enum KubeKind {
#define KUBE_RESOURCE(name, group, version, kind, plural, namespaced) KUBE_##name,
#include "kube/resources.def"
#undef KUBE_RESOURCE
    _KUBE_KIND_MAX,
} KubeKind;

typedef struct KubeResource {
    const char *group, *version, *kind, *plural;
    bool namespaced;
} KubeResource;
const KubeResource *kube_resource(KubeKind k);

typedef enum KubeVerb {
    KUBE_GET,
    KUBE_LIST, /* one page; kube_list() follows them all */
    KUBE_CREATE,
    KUBE_UPDATE,
    KUBE_APPLY, /* server-side apply, as field manager `manager`, with force */
    KUBE_MERGE, /* merge patch, RFC 7386 */
    KUBE_STRATEGIC,
    KUBE_DELETE,
    KUBE_DELETE_COLLECTION,
    KUBE_WATCH, /* kube/watch.h does this */
    _KUBE_VERB_MAX,
} KubeVerb;
const char *kube_verb_name(KubeVerb v); /* as RBAC says it: "deletecollection", "patch" */

/* What a failed request was told. `reason` is Status.reason ("AlreadyExists", "Conflict", "Expired",
   "Forbidden"), "" when no Status came. err.code: NOT_FOUND, CONFLICT (both 409s: look at `reason`),
   FORBIDDEN, UNAUTHENTICATED, INVALID (400, 422), TOO_LARGE, RATE_LIMITED, UNAVAILABLE, DEADLINE,
   PRECONDITION (no leader), INTERNAL ... The message never holds a request's body. */
typedef struct KubeError {
    Err err;
    int status; /* HTTP; 0 = no answer */
    char reason[64];
    Usec retry_after; /* 0 = not said */
} KubeError;
bool kube_error_is(const KubeError *e, const char *reason);

typedef struct KubeRequest {
    KubeVerb verb;
    KubeKind kind;
    const char *ns;              /* NULL with a namespaced kind: all namespaces (list and watch only) */
    const char *name;            /* not for LIST, CREATE, DELETE_COLLECTION */
    const char *sub;             /* "status", "eviction"; NULL = the object itself */
    const char *labels, *fields; /* selectors */
    const json_t *body;          /* object or patch; apiVersion and kind are filled in when missing */
    const char *uid;             /* DELETE: precondition */
    int64_t grace;               /* DELETE: seconds; GRACE_DEFAULT = the object's own */
    const char *propagation;     /* DELETE: "Background", "Foreground", "Orphan"; NULL = default */
    const char *manager;         /* APPLY; NULL = the client's */
    const char *resource_version, *page; /* LIST: resourceVersion (NULL = consistent), continue */
    unsigned limit;                      /* LIST: 0 = all at once */
    bool unfenced;   /* sent even when `may_write` says no: the election itself, reviews */
    bool urgent;     /* passes the token bucket */
    bool background; /* of a crowd that is in no hurry: lets others pass */
    Usec timeout;    /* with all retries, from when it is sent; 0 = 15 s, lists 60 s */
} KubeRequest;
#define KUBE_GRACE_DEFAULT (-1)
/* Designated initialisers on top of what is not zero. */
#define KUBE_REQUEST(...) (&(const KubeRequest){.grace = KUBE_GRACE_DEFAULT, __VA_ARGS__})

typedef struct Kube Kube;
typedef struct KubeCall KubeCall;
/* `body` is the object that the server answered with, borrowed (json_incref() to keep it), NULL on failure.
 */
typedef void (*KubeDone)(void *arg, json_t *body, const KubeError *err);

typedef struct KubeOptions {
    const KubeConfig *config; /* borrowed for the client's life */
    const char *user_agent;
    const char *manager; /* field manager: "ambient-control-plane" */
    unsigned qps, burst; /* 0 = 50, 100 */
    /* Asked immediately before each write goes out, again when its connection stands; false ends it with
       ERR_PRECONDITION. NULL = always. */
    bool (*may_write)(void *arg);
    /* The server answered again after all requests had failed without any answer for some seconds; may be
       NULL. */
    void (*on_reachable)(void *arg);
    /* All requests have failed without any answer for some seconds; told once, from within a request's end.
       May be NULL. */
    void (*on_lost)(void *arg);
    void *arg;
} KubeOptions;

int kube_new(Loop *l, const KubeOptions *o, Kube **ret, Err *err);
Kube *kube_free(Kube *k); /* cancels everything; NULL-safe */
Loop *kube_loop(const Kube *k);
KubeCall *kube_send(Kube *k, const KubeRequest *r, KubeDone done, void *arg); /* never NULL */
void kube_cancel(KubeCall *c); /* NULL-safe; invalid once done was called */

/* Every object of a list, `limit` at a time. A list that expires in the middle (410) begins again, so `each`
   may show an object twice. `version` is the resourceVersion to watch from. r->verb is ignored. */
typedef void (*KubeEach)(void *arg, json_t *object);
typedef void (*KubeListDone)(void *arg, const char *version, const KubeError *err);
typedef struct KubeList KubeList;
KubeList *kube_list(Kube *k, const KubeRequest *r, KubeEach each, KubeListDone done, void *arg);
void kube_list_cancel(KubeList *l); /* NULL-safe; invalid once done was called */

/* Monotonic time of the last answer of any kind; 0 = none yet. */
Usec kube_last_answer(const Kube *k);
bool kube_lost(const Kube *k); /* on_lost was due, and nothing has answered since */
typedef struct KubeCount {
    KubeVerb verb;
    KubeKind kind;
    int code; /* 0 = no answer */
    uint64_t n;
} KubeCount;
void kube_counts(const Kube *k, void (*each)(void *arg, const KubeCount *c), void *arg);
size_t kube_waiting(const Kube *k); /* requests that wait for the bucket */

/* ---- reviews ---- */
/* May we do this? `allowed` is valid when err is NULL. name may be NULL. */
typedef void (*KubeAllowed)(void *arg, bool allowed, const KubeError *err);
KubeCall *kube_can_i(Kube *k, const char *verb, KubeKind kind, const char *ns, const char *name,
                     KubeAllowed done, void *arg);
/* Whose token is it? user NULL and err NULL: nobody's, or for another audience than this (NULL: the API's).
 */
typedef void (*KubeWho)(void *arg, const char *user, const KubeError *err);
KubeCall *kube_token_review(Kube *k, const Secret *token, const char *audience, KubeWho done, void *arg);

/* ---- events ---- */
typedef enum KubeEventType { KUBE_EVENT_NORMAL, KUBE_EVENT_WARNING } KubeEventType;
/* A v1 Event about `object` (its kind, metadata.name, namespace and uid are read). Sent once and forgotten:
   failure is logged at debug level, and where a crowd of requests waits it is left out. */
void kube_event(Kube *k, KubeKind kind, const json_t *object, KubeEventType type, const char *reason,
                const char *message);

/* ---- objects ---- */
const char *kube_name(const json_t *object); /* metadata.name or "" */
const char *kube_namespace(const json_t *object);
const char *kube_uid(const json_t *object);
const char *kube_version(const json_t *object);                /* metadata.resourceVersion or "" */
const char *kube_label(const json_t *object, const char *key); /* NULL when absent */
const char *kube_annotation(const json_t *object, const char *key);
bool kube_deleting(const json_t *object);                  /* has a deletionTimestamp */
WallUsec kube_time(const json_t *object, const char *key); /* RFC 3339 member of `object`; {0} when absent */
WallUsec kube_created(const json_t *object);
/* Everything that `want` says is so in `have`; what `have` says beyond it (defaults, status) does not count.
 */
bool kube_contains(const json_t *have, const json_t *want);
