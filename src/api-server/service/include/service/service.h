/*
 * The one place where a rule of the product lives. REST and gRPC are thin adaptors: they turn bytes into a
 * call of these functions, and an SvcAnswer into bytes. Each operation checks the caller's permission
 * (service/permissions.c, one table), runs one store job, and answers once, on the loop, never before the
 * starting call returns.
 */
#pragma once

#include "auth/authz.h"
#include "crypto/keyring.h"
#include "kinds/obj.h"
#include "store/store.h"

typedef struct Service Service;
typedef struct ServiceOptions {
    Store *store; /* borrowed */
    const Clock *clock;
    const char *version;         /* for GET version */
    const char *service_account; /* gets a global platform:admin binding at start; NULL = none */
    bool authz_off;              /* nobody's rights are checked: also not those of who owns a schedule */
    const KeyRing *keys;         /* borrowed; seals secrets at rest; NULL = they are stored as plain text */
    Usec session_token_life;     /* of the tokens of sessions; 0 = 1 h */
    size_t pending_max; /* bytes of calls that wait for the store; beyond: ERR_OVERLOADED; 0 = 256 MiB */
    Usec wait_max; /* no call waits longer for the store, and while one has none is let in: ERR_OVERLOADED; 0
                      = never */
} ServiceOptions;
Service *service_new(Loop *l, const ServiceOptions *o);
/* Before the store is closed: calls that come from now on are refused with ERR_UNAVAILABLE. */
void service_stop(Service *s);
Service *service_free(Service *s); /* after the store was closed: running operations answer first */
Store *service_store(Service *s);
/* The key that signs tokens of sessions; known when service_load() is done. */
const Secret *service_session_key(const Service *s);
/* Writes the built-in roles, the platform's account and the key of session tokens, where they are missing.
   Once, before anything is served. */
void service_load(Service *s, void (*done)(void *arg, const Err *err), void *arg);

/* Makes the user a global platform:admin; made: there was no such binding yet. */
void service_seed_admin(Service *s, const char *username,
                        void (*done)(void *arg, const char *user_id, bool made, const Err *err), void *arg);

/* How often objects were changed, as far as this loop has heard: a read between two equal values is still
   true. The hub, which hears every commit, tells. A commit is heard of before its writer is answered. */
uint64_t svc_changes(const Service *s);
void svc_note_commit(Service *s, const CommitNote *note);

/* What every operation is told. Strings are copied by the operation as far as it needs them. */
typedef struct SvcAnswer SvcAnswer;
typedef void (*SvcDone)(void *arg, SvcAnswer *a);

typedef struct SvcCtx {
    Caller *caller;         /* borrowed; the operation takes its own reference */
    Str request_id;         /* Idempotency-Key; empty = none */
    Str project_header;     /* X-Ambient-Project; empty = none */
    Str peer, operation_id; /* for the audit; may be empty */
    Str if_match;           /* If-Match: a change of another state is ERR_PRECONDITION; empty = none */
    bool rest;              /* differences that the contract keeps between the protocols (page sizes) */
    /* Called with a good answer on the worker thread (arg of `done`), before `done`: to encode there what
       would cost time on the loop. For reads only: a write may still fail at commit. NULL = not wanted. */
    SvcDone render;
} SvcCtx;

struct SvcAnswer {
    const Err *err;           /* NULL = fine */
    Obj *obj;                 /* the object; taken with TAKE() or freed after the call */
    const ObjList *list;      /* lists */
    Message *message;         /* pushes; borrowed for the call */
    Message *const *messages; /* message lists; borrowed for the call */
    size_t n_messages;
    bool more;            /* message lists: the page ended at one of its limits */
    bool created;         /* agent start: a new session (201), else the active one (200) */
    bool replayed;        /* this request id was answered before, with the same */
    const Secret *secret; /* tokens of credentials and sessions; borrowed for the call */
    WallUsec expires;     /* of a session's token */
    Str text;             /* agent start and preview: the starting prompt */
};

/* CRUD of every kind. `parent` is the path's parent id (project of an agent, agent of an inbox message),
   `project` the path's project; both empty on top-level routes. `body` is taken over. */
typedef struct SvcTarget {
    const Kind *kind;
    Str id, parent, project;
} SvcTarget;

typedef struct SvcList {
    int64_t page, size; /* as given by the client after its own defaults; normalised by the service */
    Str search, order_by;
    Str label_selector;
    Str provider;    /* query parameter of credentials; empty = all */
    Str schedule_id; /* sessions and runs: those of this schedule only; empty = all */
    Str project_id;  /* query parameter; empty = none (then the header counts, rest-core.md 3.1) */
    Str parent_id;   /* agents: the project; inbox: the agent; agent sessions: the agent; empty = none */
    Str project_of_parent; /* inbox and agent sessions: the path's project */
    SvcTarget
        of; /* lists of what belongs to one object, which the caller must be able to read; kind NULL = none */
    int of_field; /* the field that names it */
} SvcList;

void svc_get(Service *s, const SvcCtx *x, const SvcTarget *t, SvcDone done, void *arg);
void svc_list(Service *s, const SvcCtx *x, const Kind *k, const SvcList *q, SvcDone done, void *arg);
void svc_create(Service *s, const SvcCtx *x, const SvcTarget *t, Obj *body, SvcDone done, void *arg);
void svc_patch(Service *s, const SvcCtx *x, const SvcTarget *t, Obj *changes, SvcDone done, void *arg);
void svc_delete(Service *s, const SvcCtx *x, const SvcTarget *t, SvcDone done, void *arg);

/* The token of a credential (SvcAnswer.obj and .secret). Every read is audited before it is answered. */
void svc_credential_token(Service *s, const SvcCtx *x, const SvcTarget *t, SvcDone done, void *arg);

/* Sessions */
void svc_session_status(Service *s, const SvcCtx *x, Str id, Obj *changes, SvcDone done, void *arg);
void svc_session_start(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg);
void svc_session_stop(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg);
/* Changes with a route of their own. `value` is the URL, the repository's name, the model or the name. */
typedef enum SessionEdit {
    EDIT_REPO_ADD,
    EDIT_REPO_REMOVE,
    EDIT_WORKFLOW,
    EDIT_MODEL,
    EDIT_NAME,
    _EDIT_MAX
} SessionEdit;
typedef struct SvcSessionEdit {
    SessionEdit what;
    Str value, branch, path;
    bool auto_push;
} SvcSessionEdit;
void svc_session_edit(Service *s, const SvcCtx *x, Str id, const SvcSessionEdit *e, SvcDone done, void *arg);
/* A new session with what the creator of this one chose; this one becomes its parent. */
void svc_session_clone(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg);
/* A token for the session's present run, for the platform and for the session itself (SvcAnswer.secret,
   .expires). CONFLICT when it is over. */
void svc_session_token(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg);
/* May the caller talk to the session's runner: follow it, or (write) drive it? Answers with the session. */
void svc_session_reach(Service *s, const SvcCtx *x, Str id, bool write, SvcDone done, void *arg);

/* The project's agents with phase and unread messages: JSON in the answer's text. */
void svc_project_home(Service *s, const SvcCtx *x, Str project, SvcDone done, void *arg);

/* May the caller do this there? Answers with JSON text. user: somebody else, for administrators. */
typedef struct SvcReview {
    Str resource, verb, project_id, agent_id, session_id, credential_id, user;
} SvcReview;
void svc_access_review(Service *s, const SvcCtx *x, const SvcReview *r, SvcDone done, void *arg);
/* All that the caller holds, as JSON text. */
void svc_access_self(Service *s, const SvcCtx *x, SvcDone done, void *arg);

/* Agents */
void svc_agent_start(Service *s, const SvcCtx *x, Str project, Str agent, Str prompt, SvcDone done,
                     void *arg);
void svc_agent_preview(Service *s, const SvcCtx *x, Str project, Str agent, SvcDone done, void *arg);

/* Schedules. Trigger: SvcAnswer.obj is the session, or NULL when the run waits for the agent. */
void svc_schedule_enable(Service *s, const SvcCtx *x, const SvcTarget *t, bool enable, SvcDone done,
                         void *arg);
void svc_schedule_trigger(Service *s, const SvcCtx *x, const SvcTarget *t, SvcDone done, void *arg);

/* Applications. There is no sync engine yet: both say so in the object that they answer with. */
void svc_application_sync(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg);
void svc_application_refresh(Service *s, const SvcCtx *x, Str id, SvcDone done, void *arg);

/* Messages. push over REST forces event_type "user" before it comes here. */
typedef struct SvcPush {
    Str session_id, event_type, payload, turn;
} SvcPush;
void svc_message_push(Service *s, const SvcCtx *x, const SvcPush *p, SvcDone done, void *arg);
/* {"id","session_id","seq","event_type","payload","created_at"}, in this order: REST bodies and SSE data. */
void message_to_json(const Message *m, Buf *out);
/* A page of stored messages with seq > after. Same check as svc_watch_check, in the same transaction. */
typedef struct SvcMessages {
    Str session_id;
    uint64_t after;
    size_t max_rows, max_bytes;
} SvcMessages;
void svc_message_list(Service *s, const SvcCtx *x, const SvcMessages *q, SvcDone done, void *arg);
/* Messages by search, which must name one session; page and total are in the answer's list. */
void svc_message_search(Service *s, const SvcCtx *x, const SvcList *q, SvcDone done, void *arg);
/* May the caller follow this session's messages? Answers with the session object, or NOT_FOUND. REST reads
   use it too. */
void svc_watch_check(Service *s, const SvcCtx *x, Str session_id, SvcDone done, void *arg);
/* May the caller follow an agent's inbox? */
void svc_inbox_watch_check(Service *s, const SvcCtx *x, Str agent_id, SvcDone done, void *arg);
/*
 * For kind watches. Rights are needed on the loop, where no store is asked: a set of them is made beside each
 * page of events. The loop says whose it wants, the page's job reads what is not known, and the loop asks.
 */
typedef struct SvcRights SvcRights;
SvcRights *svc_rights_new(Service *s);
void svc_rights_want(SvcRights *set, Caller *c);
/* Worker thread. afresh: also what is known, since the page itself says that it changed. */
int svc_rights_read(SvcRights *set, Tx *tx, bool afresh, Err *err);
/* False: this caller's were not wanted. Borrowed from the set; NULL for who needs none. */
bool svc_rights_of(const SvcRights *set, const Caller *c, Rights **ret);
SvcRights *svc_rights_free(SvcRights *set); /* NULL-safe */
bool svc_rights_needed(const Caller *c);    /* does what it may depend on rows? */
/* May the caller read the session's messages? */
bool svc_may_follow(const Caller *c, const Rights *rights, const Obj *session);
/* Is the session's own token that of its run, which goes on? */
bool svc_is_of_run(const Caller *c, const Obj *session);
bool svc_is_access_kind(const Kind *k); /* a change of such an object changes rights */

typedef struct SvcEvent {
    const Kind *kind;
    const Obj *obj; /* NULL = deleted; then the log's own words count */
    Str id, project_id, owner;
} SvcEvent;
bool svc_visible(const Caller *c, const Rights *rights, const SvcEvent *ev);
/* May the caller watch this kind at all? */
void svc_kind_watch_check(Service *s, const SvcCtx *x, const Kind *k, SvcDone done, void *arg);
/* Another process, or we ourselves, changed an object: what is kept of rights and users may be old. */
void svc_note_event(Service *s, const Kind *k, int type);
void svc_access_changed(Service *s);

/* The entity tag of an object's JSON, with its quotes; and whether a header's list holds it, as sent with
   either coding. weak: tags marked W/ count, too. */
#define SVC_ETAG_SIZE 32
void svc_etag(Str json, char out[static SVC_ETAG_SIZE]);
bool svc_etag_listed(Str list, const char *etag, bool weak);

/* What a peer may read of an error: its own text, or a neutral one when it speaks of our insides (then the
   adaptor logs the text with the request's id). */
const char *svc_public_reason(const Err *err);
bool svc_reason_is_private(const Err *err);
