/* Inside of the REST room: the request's context, the route table, and how answers are made. */
#pragma once

#include "base/ksuid.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "rest/rest.h"

#define API_PREFIX "/api/ambient/v1"
#define MESSAGE_BODY_MAX ((size_t)1 << 20)
#define ANSWER_MAX ((size_t)256 << 20) /* of one encoded list */

typedef struct Request Request;
typedef struct Route Route;
typedef void (*Handler)(Request *q);

typedef enum RouteFlag {
    R_PUBLIC = 1 << 0,    /* no token asked */
    R_ROOT = 1 << 1,      /* the pattern is the whole path, not below API_PREFIX */
    R_NEWLINE = 1 << 2,   /* answers end with a newline, as the reference's do */
    R_PATH_QUERY = 1 << 3 /* OpenAPI: ?path= is read */
} RouteFlag;

typedef enum WayFlag {
    W_QUICK = 1 << 0,          /* the runner knows the answer by heart: 5 s instead of 60 s */
    W_EVENTS = 1 << 1,         /* an event stream */
    W_EMPTY_STREAM = 1 << 2,   /* without a runner: a stream of nothing */
    W_MISSING_IS_STUB = 1 << 3 /* the runner's 404 is the stub, too */
} WayFlag;

/* How a route's request becomes one to the session's runner. */
typedef struct RunnerWay {
    const char *method; /* NULL = the route's */
    const char *path;   /* there: {id} is the session, any other variable the route's last one */
    const char *stub;   /* JSON that a read answers without a runner; NULL = an error */
    unsigned flags;
    /* Adds the query to the URL and makes the body; NULL: both go on as they came. */
    int (*request)(Request *q, Buf *url, Buf *body, Err *err);
    /* Our shape of a good answer, which is read whole then; NULL: it is passed on in pieces. */
    void (*shape)(json_t *answer, Buf *out);
} RunnerWay;

struct Route {
    RestRoute r;
    Handler handle;
    const Kind *kind;
    /* Lists of what belongs to the object in the path: its kind, and the field that names it. */
    const Kind *of;
    int of_field;
    unsigned flags;
    const char *doc;
    /* handle_runner: what is asked of the runner. Errors of such routes also say "error", which a client
     * reads. */
    const RunnerWay *runner;
    const char *body;   /* OpenAPI: name of the request's schema; NULL = none */
    const char *type;   /* OpenAPI: media type of the answer; NULL = JSON of `answer` */
    const char *answer; /* OpenAPI: name of the answer's schema; NULL = none */
    int status;         /* OpenAPI: of the good answer */
};
/* routes.c: all rows, area by area. */
typedef struct RouteTable {
    const Route *ptr;
    size_t n;
} RouteTable;
extern const RouteTable *const route_tables[];
extern const size_t n_route_tables;
#define FOREACH_ROUTE(rt)                                                                                    \
    for (size_t t_ = 0; t_ < n_route_tables; t_++)                                                           \
        for (const Route *rt = route_tables[t_]->ptr; rt < route_tables[t_]->ptr + route_tables[t_]->n; rt++)
size_t route_index(const Route *rt); /* 0 .. rest_route_count() - 1 */

/* What the path's variables were. Views into the request's path. `sub` is a variable behind the object's own.
 */
typedef struct Vars {
    Str project, agent, id, sub;
} Vars;

/* A known path, at least one of whose routes has the method: the route. Otherwise *ret_allow lists the
   methods of the path ("" = unknown path). */
const Route *route_match(Str method, Str path, Vars *ret, Buf *ret_allow);
/* The template with each variable as "-", for metrics. */
void route_label(const Route *rt, Buf *out);
/* Path without one trailing slash; *ret_clean false when it holds empty, "." or ".." segments. */
Str path_normalise(Str path, bool *ret_clean);
void path_clean(Str path, Buf *out);

typedef struct RouteStats {
    struct RouteCount {
        int status;
        uint64_t n;
    } by_status[12];
    uint64_t buckets[5]; /* 0.1, 1, 10, 30, +Inf seconds, cumulative when printed */
    uint64_t sum_us, n;
} RouteStats;

struct Rest {
    Loop *loop;
    RestOptions o;
    HttpServer *server;
    RouteStats *stats; /* per route */
    List requests;
    List streams; /* of sse.c, the one that was written to longest ago first */
    Timer *ping;
    size_t n_streams;
    Map *streams_of_user; /* actor -> how many, as a number */
    struct Cors *cors;
    struct Trusted *trusted; /* proxies; NULL = none */
    struct Cache *cache;
    Buf openapi;
    bool ending; /* no new streams */
    List proxies, backends;
};

/* One request, from its arrival to its answer. It outlives the HttpReq while the service works for it. */
struct Request {
    Rest *rest;
    HttpReq *http; /* NULL: answered, or the client left */
    ListLink link;
    const Route *route; /* NULL before it is known, and on unknown paths */
    Vars vars;
    Caller *caller;
    AuthWait *auth_wait;
    unsigned pending; /* service calls and proxies that will still speak to it */
    LoopFn
        on_left; /* the client left: for who works only for it, and releases the request then; NULL = none */
    void *left_arg;
    bool gzip;
    char operation_id[KSUID_LEN + 1];
    Usec started;
    char *cache_key;          /* NULL = the answer is not kept */
    uint64_t changes;         /* svc_changes() when the read was asked for */
    char etag[SVC_ETAG_SIZE]; /* of the one object that is answered; "" = none */
    /* handlers' own */
    int good_status;
    const Kind *kind;
    bool *mask;
    uint64_t after;
    int64_t limit; /* messages still wanted; -1 = all */
    bool export;   /* the messages are part of a larger object */
    Buf tell;      /* what the session's runner is told after a change */
    const char *tell_path;
    Buf out, packed; /* written by render on the worker thread */
};

/* request.c */
void request_handle(void *rest, HttpReq *http);
SvcCtx request_ctx(Request *q);
void request_hold(Request *q); /* a callback will come */
/* It came: false when nobody waits for the answer any more (the request is gone then). */
bool request_release(Request *q);
/* The same for an answer of the service: true when there is a good one to pass on; an error was passed on. */
bool request_answered(Request *q, const SvcAnswer *a);
/* For streams: the HttpReq is the caller's, the Request is gone. Headers first. */
HttpReq *request_detach(Request *q);
/* Counts the answer, for streams as well: call just before it is given away. */
void request_count(Request *q, int status);
void request_log(const Request *q, int status, const Err *err);

/* reply.c; each ends the request */
void rest_reply_body(Request *q, int status, Buf *body, const char *type);
/* JSON bytes of the cache; copied. */
void rest_reply_kept(Request *q, Str body, bool packed);
/* q->out as JSON with q->etag; 304 to a GET that has it already. */
void rest_reply_object(Request *q, int status);
void rest_reply_json(Request *q, int status, Buf *body);
void rest_reply_empty(Request *q, int status);
void rest_reply_error(Request *q, const Err *err);
void rest_reply_error_as(Request *q, int status, const Err *err);
/* With a member of its own beside ours; value NULL = without. */
void rest_reply_error_with(Request *q, int status, const Err *err, const char *key, const json_t *value);
void rest_reply_not_found_path(Request *q, Str path);
void rest_reply_method_not_allowed(Request *q, Str allow);
void rest_reply_redirect(Request *q, Str location);
/* Headers that every answer carries, streams too. */
void rest_reply_common_headers(Request *q);
void error_object(ErrCode code, const char *reason, Str operation_id, bool error_key, Buf *out);
/* Compresses q->out into q->packed when asked for and worth it; any thread. */
void pack_output(Request *q);

/* gzip.c */
bool gzip_accepted(Str accept_encoding);
int gzip_pack(Str in, Buf *out);
#define GZIP_MIN 1024

/* trusted.c */
typedef struct Trusted Trusted;
int trusted_new(const char *list, Trusted **ret, Err *err); /* comma list of addresses and networks */
Trusted *trusted_free(Trusted *t);                          /* NULL-safe */
bool trusted_has(const Trusted *t, const char *peer);       /* t NULL: nobody is */
bool is_address(Str text);                                  /* of IPv4 or IPv6, this in brackets or not */

/* cache.c */
typedef struct Cache Cache;
Cache *cache_new(void);
Cache *cache_free(Cache *c);
/* A read whose answer is kept and still true: answers and returns true. Otherwise the request is prepared so
   that cache_keep() can keep its answer. */
bool cache_answer(Request *q);
/* Before the answer is given away. */
void cache_keep(Request *q);

/* accept.c */
bool accept_prefers(Str accept, const char *wanted, const char *other);

/* cors.c */
typedef struct Cors Cors;
Cors *cors_new(const char *origins, const char *headers);
Cors *cors_free(Cors *c);
/* Answers a preflight (any OPTIONS). */
void cors_preflight(Request *q);
void cors_headers(Request *q);
bool cors_varies(const Cors *c);
bool cors_allows(const Cors *c, Str origin);

/* origin.c: ERR_FORBIDDEN for what a browser asks for a page that is not ours, while nobody is asked who he
 * is. */
int origin_check(const Request *q, Err *err);

/* errors.c */
void handle_errors(Request *q);
void handle_error_one(Request *q);

/* meta.c */
void handle_metadata(Request *q);
void handle_version(Request *q);
void handle_openapi(Request *q);
void handle_openapi_html(Request *q);
void openapi_write(Buf *out);

/* crud.c */
SvcTarget request_target(const Request *q);
void handle_list(Request *q);
void handle_create(Request *q);
void handle_get(Request *q);
void handle_patch(Request *q);
void handle_delete(Request *q);
void handle_session_status(Request *q);
void handle_session_start(Request *q);
void handle_session_stop(Request *q);
void handle_agent_start(Request *q);
void handle_agent_preview(Request *q);
/* schedules.c */
void handle_schedule_suspend(Request *q);
void handle_schedule_resume(Request *q);
void handle_schedule_trigger(Request *q);
void handle_application_status(Request *q);
void handle_application_sync(Request *q);
void handle_application_refresh(Request *q);
int query_i64(Request *q, const char *name, int64_t dflt, int64_t *ret, Err *err);
/* Answers with the object of a good answer, or with the error. */
void answer_object(void *arg, SvcAnswer *a);
void mark_replayed(Request *q, const SvcAnswer *a);

/* credentials.c */
void handle_credential_token(Request *q);
void handle_session_token(Request *q);
/* session-parts.c */
void handle_session_clone(Request *q);
void handle_session_repo_add(Request *q);
void handle_session_repo_remove(Request *q);
void handle_session_workflow(Request *q);
void handle_session_workflow_metadata(Request *q);
void handle_session_model(Request *q);
void handle_session_displayname(Request *q);
void handle_session_pod_events(Request *q);
void handle_session_oauth_url(Request *q);
void handle_project_home(Request *q);

/* access.c */
void answer_text(void *arg, SvcAnswer *a); /* the answer's JSON text as it is */
void handle_access_review(Request *q);
void handle_access_self(Request *q);

/* messages.c, sse.c */
void handle_session_export(Request *q);
void handle_message_search(Request *q);
void handle_messages_get(Request *q);
void handle_messages_post(Request *q);
void sse_open(Request *q, Str session_id);
void sse_end_all(Rest *r);
/* How many event streams one user may have at a time, whoever writes them. */
bool stream_allowed(const Rest *r, const Caller *c);
void stream_count(Rest *r, const Caller *c, int change);
void sse_ping(void *rest);

/* backend.c */
bool backend_wants(const Rest *r, Str path);
void handle_backend(Request *q);
void backend_end_all(Rest *r);

/* runner-link.c */
/* False: the session has no runner. `sub` is the value of the path's variable that is not {id}. */
bool runner_url(const Rest *r, const Obj *session, const char *path, Str sub, Buf *out);
/* The header that proves us to the runner's side: how many were written, 0 or 1. *ret_made, NULL before,
   holds its value if it had to be made. */
size_t runner_credential(const Rest *r, const Obj *session, HttpHeader *to, Secret **ret_made);

/* proxy.c */
void handle_runner(Request *q);
/* The session was changed, q->out is the answer: POSTs to its runner, if it has one, and answers then. A
   runner that does not take it makes a 502; the change stays. */
void proxy_tell(Request *q, const Obj *session, const char *path, Str json);
void proxy_end_all(Rest *r);
