/*
 * Client of our own API: REST and gRPC with one token source. All of our programs use it; foreign clients are
 * judged by the server's tests. Loop thread only; nothing completes before the starting call returns.
 */
#pragma once

#include "base/secret.h"
#include "json/json.h"
#include "kinds/obj.h"
#include "loop/loop.h"

/* Where the bearer token comes from. Asked before every call, so that a rotated token is used at once. */
typedef struct TokenSource TokenSource;
TokenSource *token_source_static(Str token);
void token_source_set(TokenSource *t, Str token); /* replaces the token of a static source; empty = none */
/* Read again when the file changed (mtime, size or inode). While there is no usable file: the last token
   read, else the fallback (may be empty). */
TokenSource *token_source_file(const char *path, Str fallback);
TokenSource *token_source_free(TokenSource *t); /* NULL-safe */
DEFINE_CLEANUP(TokenSource, token_source_free)
const Secret *token_source_get(TokenSource *t); /* borrowed until the next call; NULL = none */

typedef struct ClientOptions {
    const char *api_url;           /* "http://127.0.0.1:8000"; NULL = gRPC only, REST calls fail */
    const char *grpc_address;      /* "host:port"; NULL = derived from api_url by client_grpc_address() */
    bool grpc_tls;                 /* with NULL grpc_address: from the scheme */
    const char *grpc_host_pattern; /* AMBIENT_OPENSHIFT_PATTERN; NULL = the built-in ones */
    TokenSource *token;            /* borrowed; NULL = no authorization */
    const char *project;           /* X-Ambient-Project and x-ambient-project; NULL = none */
    const char *user_agent;
    const char *ca_file;
    bool insecure_skip_verify;
    Usec request_timeout; /* 0 = 30 s */
} ClientOptions;

/* gRPC address of an API URL: on OpenShift routes "ambient-api-server" becomes "ambient-api-server-grpc",
   port 443; elsewhere the same host, port 9000. pattern replaces the built-in list of route hosts; NULL = the
   list. */
int client_grpc_address(const char *api_url, const char *pattern, char **ret, bool *ret_tls, Err *err);

typedef struct Client Client;
int client_new(Loop *l, const ClientOptions *o, Client **ret, Err *err);
/* The same without REST. A program that makes no other client does not carry the HTTP client and its
 * libraries. */
int client_new_grpc(Loop *l, const ClientOptions *o, Client **ret, Err *err);
/* Cancels calls, pushes and lists (their handles are gone); watches fall silent and are still their owner's
   to free. NULL-safe, safe inside callbacks. */
Client *client_free(Client *c);
DEFINE_CLEANUP(Client, client_free)

/* ---- REST ---- */
typedef struct ClientCall ClientCall;
typedef struct ClientAnswer {
    int status;           /* HTTP status, 0 when no answer came */
    json_t *body;         /* parsed JSON, NULL when empty or not JSON; borrowed for the call */
    Str text;             /* the raw body */
    Str etag;             /* of the answer; empty = none */
    unsigned retry_after; /* seconds, of a refusal; 0 = not said */
    bool reached;         /* false: the server could not be connected to */
} ClientAnswer;
/* err is set for transport errors ("HTTP request failed: ...") and for every status that is not 2xx: code by
   err_from_http, message "ambient API error <status>: <code> -- <reason>" with an em dash as in cli.md 4.2
   (code "http_error" when the body has none; " (operation <id>)" behind it when it has one). a is filled as
   far as known. */
typedef void (*ClientDone)(void *arg, const ClientAnswer *a, const Err *err);

typedef struct ClientRequest {
    const char *method;
    const char *path;            /* below /api/ambient/v1, already escaped, with query: "/sessions?page=1" */
    const char *project;         /* overrides the client's; "" = no header */
    const char *idempotency_key; /* NULL = none */
    Str body;                    /* ptr NULL = none */
    const char *content_type;    /* of the body; NULL = application/json */
    const char *if_match;        /* entity tag that the object must still have; NULL = any */
    Usec timeout;                /* 0 = the client's */
    /* Not NULL: stream the answer as SSE; called per event. Then done comes when the stream ends. */
    void (*on_event)(void *arg, Str id, Str data);
    void (*on_open)(void *arg);
    /* Not NULL: the body of a good answer comes in pieces, as it is; done has none then. */
    void (*on_bytes)(void *arg, Str bytes);
    const char *accept; /* NULL = application/json */
    /* Asked immediately before the request goes out; false ends it with ERR_PRECONDITION. NULL = always. */
    bool (*may_send)(void *arg);
} ClientRequest;
ClientCall *client_request(Client *c, const ClientRequest *r, ClientDone done, void *arg);
void client_cancel(ClientCall *call); /* NULL-safe; no done after */

/* All objects of a list, 100 per request, ordered by id. Each request asks for ids behind the last one seen,
   so that objects made or deleted meanwhile neither hide nor repeat others. `each` takes over the object; a
   failed request is tried again up to three times. path as in ClientRequest; it may have a `search`, but no
   paging parameters. */
typedef void (*ClientEach)(void *arg, Obj *o);
typedef void (*ClientListDone)(void *arg, const Err *err); /* err NULL = every page was read */
typedef struct ClientList ClientList;
ClientList *client_list_all(Client *c, const Kind *k, const char *path, const char *project, ClientEach each,
                            ClientListDone done, void *arg);
void client_list_cancel(ClientList *l); /* NULL-safe; no callback after */

/* ---- gRPC ---- */
typedef struct ClientMessage {
    Str id, session_id, event_type, payload;
    uint64_t seq;
    WallUsec created_at;
} ClientMessage;

typedef struct ClientPush {
    Str session_id, event_type, payload;
    Str turn;       /* metadata x-ambient-turn; empty = none */
    Str request_id; /* metadata x-ambient-idempotency-key; empty = none */
    Usec timeout;   /* 0 = 5 s */
} ClientPush;
typedef void (*ClientPushDone)(void *arg, uint64_t seq, const Err *err); /* err NULL = acknowledged */
typedef struct ClientPushCall ClientPushCall;
ClientPushCall *client_push(Client *c, const ClientPush *p, ClientPushDone done, void *arg);
void client_push_cancel(ClientPushCall *p);

typedef enum ClientEventType {
    CLIENT_EVENT_CREATED = 1,
    CLIENT_EVENT_UPDATED = 2,
    CLIENT_EVENT_DELETED = 3,
} ClientEventType;

/* Follows a session's messages from after_seq for ever: reconnects at once, then with backoff 0.2 s doubling
   to 5 s (30 s after PERMISSION_DENIED), always from the last seq seen. Ends by itself only on NOT_FOUND. */
typedef struct WatchOps {
    void (*on_open)(void *arg);                            /* response headers arrived; may be NULL */
    void (*on_message)(void *arg, const ClientMessage *m); /* message watches */
    /* Kind watches: o (taken over by the callee) is NULL for CLIENT_EVENT_DELETED. version "" on servers
       without resume. */
    void (*on_event)(void *arg, int type, Obj *o, Str id, Str version);
    void (*on_relist)(void *arg);                 /* the cursor is too old: list again */
    void (*on_broken)(void *arg, const Err *err); /* stream ended, will be opened again; may be NULL */
    void (*on_end)(void *arg, const Err *err);    /* given up for good */
} WatchOps;
typedef struct ClientWatch ClientWatch;
ClientWatch *client_watch_messages(Client *c, Str session_id, uint64_t after_seq, const WatchOps *ops,
                                   void *arg);
bool client_has_watch(const Kind *k); /* project, project_settings, session, user */
/* Follows such a kind from a resource version ("" = from now). After a
   break it resumes from the last version seen when the server gives versions; else, and when that version is
   too old for the server (FAILED_PRECONDITION, OUT_OF_RANGE), it goes on from now and on_relist is called
   once it is open. */
ClientWatch *client_watch_kind(Client *c, const Kind *k, Str resource_version, const WatchOps *ops,
                               void *arg);
ClientWatch *client_watch_free(ClientWatch *w); /* NULL-safe; safe inside its callbacks */

/* Runs the loop until *done is true: for the CLI's sequential commands. */
void client_wait(Loop *l, const bool *done);
