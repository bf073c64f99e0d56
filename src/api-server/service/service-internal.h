/*
 * Inside of the service room. An Op is one call: made on the loop, run in one store job on a worker thread,
 * answered on the loop. What differs between kinds is a row of hooks (KindRules); crud.c walks through them.
 */
#pragma once

#include <assert.h>
#include "auth/authz.h"
#include "base/ksuid.h"
#include "base/map.h"
#include "base/vec.h"
#include "service/service.h"

struct Service {
    unsigned refs; /* the owner's, and one per running operation */
    Loop *loop;
    Store *store;
    bool stopped, authz_off;     /* the second is constant */
    size_t pending, pending_max; /* bytes of running operations: what the store has not taken yet */
    Usec wait_max;               /* constant; worker threads read it */
    uint64_t changes;
    const KeyRing *keys; /* read only: any thread */
    Secret *session_key; /* likewise, once it was loaded */
    Usec session_token_life;
    char *service_account;
    Map *rights; /* caller -> Rights, until a role or a binding changes; loop thread; bounded */
    uint64_t access_generation; /* counts those changes */
    Map *known_users;           /* identities whose row is as they say; loop thread; bounded */
};

typedef enum Verb {
    VERB_READ,
    VERB_CREATE,
    VERB_UPDATE,
    VERB_DELETE,
    VERB_START,
    VERB_STOP,
    VERB_STATUS,
    VERB_WATCH,
    VERB_FETCH_TOKEN,
    VERB_TOKEN,
    _VERB_MAX
} Verb;

typedef struct KindRules KindRules;
typedef struct Op Op;
typedef int (*OpRun)(Op *op, Tx *tx, Err *err);

typedef struct ListInput {
    int64_t page, size;
    Str search, order_by, label_selector, project_id, provider, schedule_id;
    SvcTarget of;
    int of_field;
} ListInput;

#define OP_STRINGS_MAX 20
struct Op {
    Service *s;
    Caller *caller;
    SvcDone done, render;
    void *arg;
    bool rest, begun;
    Usec queued; /* when it was given to the store, monotonic */
    StoreMode mode;
    OpRun run;
    void (*committed)(Op *op); /* loop thread, after a good commit; may be NULL */
    Rights *rights;            /* of the caller, while the job runs; NULL = it needs none */
    bool rights_kept;          /* they were known before the job */
    uint64_t access_generation;
    bool access_changed; /* the job touched who may do what */
    bool must_provision; /* the caller's row is to be written first */
    Err err;             /* of a call that could not be queued */

    /* What was asked. Views into `owned`. */
    const Kind *kind;
    const KindRules *rules;
    Verb verb; /* of the running job, for the hooks of the path */
    Str id, parent, project, request_id, project_header, if_match;
    Str event_type, payload, turn;
    Str peer, operation_id;
    Obj *body;
    AuthzScope review;
    ListInput list;
    uint64_t after;
    size_t max_rows, max_bytes;
    SvcSessionEdit edit;
    const Obj *schedule; /* agent start: whose run it is; NULL = none. Borrowed */
    bool enable;         /* schedules */
    char *owned[OP_STRINGS_MAX];
    unsigned n_owned;
    size_t bytes, pending; /* of `owned`; of what counts in the service */

    /* What came out; cleared before each run. */
    Obj *obj;
    Obj *agent; /* of the path, loaded by the agent's and inbox' hooks */
    ObjList result;
    Message *message;
    Secret *secret;
    WallUsec expires;
    VEC_OF(Message *)
    messages;
    bool more, created;
    bool replayed; /* the answer to an earlier call with the same request id */
    Buf text;
};

/* Where an object is, as far as authorization asks. Holds the rows that its views point into. */
typedef struct Scope {
    AuthzScope z;
    Obj *project, *agent;
} Scope;
void scope_done(Scope *sc);
/* Fills project_id and loads the project. A missing one is an error only when must_exist. */
int scope_project(Tx *tx, Str project_id, bool must_exist, Scope *sc, Err *err);

/* Which fields of a kind say where its objects are. From them come the scope of one object, the condition of
   lists and the filter of watches. owner: the username whose own it is. */
typedef struct AccessFields {
    short project, agent, session, credential, owner; /* AT(field); 0 = there is none */
} AccessFields;
#define AT(field) ((short)((field) + 1))

/* All hooks run on the worker thread, inside the job. NULL = nothing to do. */
struct KindRules {
    const Kind *kind;
    bool delete_unknown_ok; /* DELETE of an unknown id is fine (rest-core.md 2.3) */
    /* The path: are its ids well-formed, do its parents exist and belong together? */
    int (*enter)(Op *op, Tx *tx, Err *err);
    /* Is the loaded object below the path's parents? */
    int (*belongs)(Op *op, Tx *tx, const Obj *o, Err *err);
    AccessFields access;
    /* NULL = what `access` says. */
    int (*scope)(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err);
    /* Completes a new object with what the server decides. */
    int (*before_create)(Op *op, Tx *tx, Obj *o, Err *err);
    /* The scope that a creation needs; NULL = that of the object. A parent that is missing is an error, which
       only those hear of who could have created. */
    int (*create_scope)(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err);
    int (*after_create)(Op *op, Tx *tx, const Obj *o, Err *err);
    int (*before_patch)(Op *op, Tx *tx, const Obj *now, Obj *changes, Err *err);
    int (*before_delete)(Op *op, Tx *tx, const Obj *now, Err *err);
    /* Lists: what may be seen. NULL result = everything. NULL hook = what `access` says. */
    int (*filter)(Op *op, Tx *tx, SearchExpr **ret, Err *err);
    void (*created)(Op *op); /* loop thread */
    void (*deleted)(Op *op); /* loop thread */
};
extern const KindRules rules_project, rules_project_settings, rules_user, rules_agent, rules_session,
    rules_inbox, rules_credential, rules_audit_event, rules_scheduled_session, rules_schedule_run,
    rules_application, rules_role, rules_role_binding;
const KindRules *rules_of(const Kind *k);

/* op.c */
Op *op_new(Service *s, const SvcCtx *x, StoreMode mode, OpRun run, SvcDone done, void *arg);
Str op_keep(Op *op, Str s); /* a copy that lives as long as the op */
void op_submit(Op *op);
/* A part of op's job that acts as somebody else: has results of its own, freed by op_sub_done(). */
void op_sub_init(Op *sub, const Op *op, Caller *as);
void op_sub_done(Op *sub);
Service *service_ref(Service *s);
Service *service_unref(Service *s);

/* permissions.c */
#define PERMISSION_MAX 64
void permission_name(const Kind *k, Verb v, char *out, size_t size);
bool op_allows(const Op *op, const char *permission, const AuthzScope *z);
bool op_may(const Op *op, const Kind *k, Verb v, const Scope *sc);
int op_scope(Op *op, Tx *tx, const Obj *o, Scope *ret, Err *err);
/* May the caller do this to the object? Denied: NOT_FOUND for reads, else FORBIDDEN. */
int op_authorize(Op *op, Tx *tx, Verb v, const Obj *o, Err *err);
int forbidden(Err *err);
int not_found(const Kind *k, Str id, Err *err);

/* access.c */
int access_load(Tx *tx, const Caller *c, Rights **ret, Err *err);
bool access_needed(const Caller *c);              /* does what it may depend on rows? */
Rights *access_kept(Service *s, const Caller *c); /* a reference, or NULL */
void access_keep(Service *s, const Caller *c, Rights *r, uint64_t generation);
void access_done(Service *s);
void op_take_rights(Op *op);                  /* loop: what is kept */
int op_read_rights(Op *op, Tx *tx, Err *err); /* worker: what is not */
/* worker: what is true now, not when this loop last heard; for giving rights and secrets away. */
int op_fresh_rights(Op *op, Tx *tx, Err *err);
void op_keep_rights(Op *op); /* loop, after the job */
void access_scope(const AccessFields *f, const Obj *o, AuthzScope *ret);
/* Objects of a kind that stand where the caller holds the permission; NULL = all. */
SearchExpr *access_where(const Op *op, const char *permission, const AccessFields *f);
int access_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err); /* the filter of kinds that have none */
Str binding_scope_id(const Obj *binding, GrantScope scope);

/* binding.c */
/* The caller becomes the owner of what he just made, in the same transaction. A caller without a name (the
   platform's static token) becomes none. */
int binding_add_owner(Op *op, Tx *tx, const char *role, GrantScope scope, Str id, Err *err);
/* Binds a credential to a project's sessions, for who could do so by hand. */
int binding_add_credential(Op *op, Tx *tx, Str credential, Str project, Err *err);
/* Takes the bindings of deleted objects away. */
int bindings_drop(Tx *tx, const Kind *k, const ObjList *gone, Err *err);

/* seed.c */
int seed_roles(Tx *tx, Err *err);
/* A global platform:admin binding for the user; *ret_user is the id of his row, to be freed. own: the user is
   an account of ours, not a person. */
int seed_admin(Tx *tx, Str username, bool own, char **ret_user, bool *ret_made, Err *err);

/* crud.c */
/* Path, row and permission of the op's object; the common start of everything that touches one object. */
int op_load(Op *op, Tx *tx, Verb v, Obj **ret, Err *err);
/* A new object of the op's kind, with its checks, rules and side rows, into op->obj; takes `body` over. */
int create_object(Op *op, Tx *tx, Obj *body, Err *err);
/* Soft-deletes all live rows that match; takes `where` over. */
int delete_all(Tx *tx, const Kind *k, SearchExpr *where, Err *err);
int find_first(Tx *tx, const Kind *k, SearchExpr *where, OrderItem order, Obj **ret, Err *err);

Op *target_op(Service *s, const SvcCtx *x, const SvcTarget *t, StoreMode mode, OpRun run, SvcDone done,
              void *arg);

/* credential.c: replaces a set, non-empty field by its stored form; `owner` is authenticated with it. */
int secret_seal(const Service *s, Obj *o, int field, Str owner, Err *err);

/* session-token.c */
int session_key_load(Service *s, Tx *tx, Secret **ret, Err *err);
/* Is a token for this run still good? */
bool session_token_counts(const Obj *session, const char *run_id);

/* audit.c: the row belongs to the job's transaction; the line is for when it was committed. */
int audit(Op *op, Tx *tx, const char *action, const Obj *o, Err *err);
void audit_log(const Op *op, const char *action, const Obj *o);

/* Paging of lists, from what the client sent. */
#define LIST_BYTES_MAX ((size_t)64 << 20) /* of text in one page */
void normalise_page(const Op *op, ListQuery *q);

/* message.c */
Op *message_op(Service *s, const SvcCtx *x, StoreMode mode, OpRun run, Str session, SvcDone done, void *arg);
int message_check_watch(Op *op, Tx *tx, Err *err); /* may the caller read the messages of session op->id? */

/* message-effects.c */
int message_effects(Op *op, Tx *tx, Err *err);

/* etag.c: ERR_PRECONDITION unless the op's If-Match, when there is one, names this state; NULL = no object.
 */
int check_if_match(const Op *op, const Obj *now, Err *err);

/* request.c: what an Idempotency-Key made before */
int request_replay(Op *op, Tx *tx, const Kind *k, Obj **ret, Err *err); /* *ret NULL = it is new */
int request_remember(Op *op, Tx *tx, const Kind *k, const Obj *o, Err *err);

/* user.c */
bool user_is_known(const Service *s, const Caller *c);
void user_remember(Service *s, const Caller *c);
void users_forget(Service *s);
/* Is the caller who the row of that name belongs to? FORBIDDEN when not; *ret_write: the row is to be made or
   changed by user_provision(). */
int user_identify(Tx *tx, const Caller *c, bool *ret_write, Err *err);
int user_provision(Tx *tx, const Caller *c, Err *err);

/* agent.c */
bool path_id_ok(Str id);
/* The agent of the path, if the caller may do this to it; sets op->agent. */
int agent_enter(Op *op, Tx *tx, Str project, Str agent_id, Verb v, Err *err);
/* The agent's pointer to its session: cleared when it still names this one. */
int agent_forget_session(Tx *tx, const Obj *session, Err *err);
int agent_set_session(Tx *tx, Str agent_id, Str session_id, Err *err);
/* The newest active session where field (SESSION_AGENT_ID or SESSION_START_GUARD) names the agent; *ret NULL
 * = none. */
int agent_active_session(Tx *tx, int field, Str agent_id, Obj **ret, Err *err);

/* A new session of op->agent with its prompt, all or nothing, into op->obj. The caller has found that none is
   active, and that op's caller may. */
int agent_start_new(Op *op, Tx *tx, Err *err);

/* schedule.c */
/* A live schedule of the project, or ERR_NOT_FOUND. */
int schedule_get(Tx *tx, Str project, Str id, Obj **ret, Err *err);
int schedule_may_read(Op *op, Tx *tx, const Obj *schedule, Err *err);
/* next_run_at and wake_at as they are after `now`. */
int schedule_plan(const Obj *schedule, WallUsec now, Obj *changes, Err *err);
/* What a schedule says about each of its sessions. */
int schedule_apply(const Obj *schedule, Obj *session, Err *err);

/* schedule-run.c: a session does not keep its agent busy any more; runs that wait for that are looked at. */
int schedule_session_over(Tx *tx, const Obj *session, Err *err);

/* session.c */
Op *session_op(Service *s, const SvcCtx *x, OpRun run, Str id, SvcDone done, void *arg); /* writes */
void session_new_run(Obj *session, WallUsec now); /* a fresh SESSION_RUN_ID */
int session_push_prompt(Op *op, Tx *tx, const Obj *session, Str text, Err *err);
int session_begin_stop(Tx *tx, Str id, Obj **ret, Err *err); /* to Stopping */
/* `<name>-<unix seconds>`, the name cut at a character when it is too long. */
void session_name_after(Obj *session, Str name, WallUsec now);
int session_project_filter(Op *op, Tx *tx, SearchExpr **ret, Err *err);

/* prompt.c: rest-core.md 9.2 */
typedef struct PromptInput {
    const Obj *agent, *project; /* project may be NULL */
    const ObjList *peers;       /* other agents, by name */
    int64_t peers_total;
    const ObjList *inbox; /* unread, oldest first */
    Str task;             /* of this run; may be empty */
    bool command;         /* for a shell: sent as it is */
} PromptInput;
#define PROMPT_INBOX_BYTES_MAX ((size_t)2 << 20)
#define PROMPT_INBOX_ROWS_MAX 1000
#define PROMPT_PEERS_MAX 500
/* How many of the inbox messages, from the first, fit into a prompt. */
size_t prompt_inbox_fits(const ObjList *inbox);
/* The agent's environment says RUNNER_TYPE=shell: its prompt is a command, sent as it is. */
bool prompt_is_command(const Obj *agent);
int prompt_build(const PromptInput *in, Buf *out, Err *err);
