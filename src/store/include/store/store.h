/*
 * The store. Blocking work is a job: a function that gets a transaction and runs on a worker thread; its
 * completion is posted back to the loop. Writes are grouped: the writer takes every waiting job, runs each in
 * a savepoint of one transaction and commits once; completions go out after the commit, so an acknowledged
 * write is on stable storage. A job that fails is rolled back alone.
 *
 * Ordering: completions of one store arrive in commit order. The listener runs on the loop after each commit
 * and before the completions of that commit.
 */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "kinds/obj.h"
#include "kinds/search.h"
#include "loop/loop.h"
#include "store/log.h"

typedef struct Store Store;
typedef struct Tx Tx; /* one job's transaction, valid in its job only, worker thread */

typedef enum StoreMode { STORE_READ, STORE_WRITE } StoreMode;
typedef int (*StoreJob)(Tx *tx, void *arg, Err *err);         /* worker thread; 0 commits, < 0 rolls back */
typedef void (*StoreDone)(void *arg, int rc, const Err *err); /* loop thread */

typedef struct StoreOptions {
    /* "sqlite:PATH", "sqlite::memory:" (tests: one connection for everything),
       "postgres://USER@HOST/DATABASE", or libpq's keywords "host=... dbname=..." */
    const char *url;
    const char *password_file; /* PostgreSQL: its first line, read at each connect; NULL = none */
    unsigned readers;          /* reader threads; 0 = 2, of PostgreSQL 4 */
    size_t queue_max;          /* waiting jobs; 0 = 10,000; beyond: ERR_OVERLOADED */
    Usec read_limit;           /* a read job that takes longer fails with ERR_DEADLINE; 0 = 10 s */
    const Clock *clock;        /* NULL = system */
    bool create;               /* make and migrate a missing or older database */
} StoreOptions;

/* Opens; refuses a newer schema, and an older one unless `create` (ERR_PRECONDITION says what to run). */
int store_open(Loop *l, const StoreOptions *o, Store **ret, Err *err);
Store *store_close(Store *s); /* finishes queued jobs, posts their completions, joins threads; NULL-safe */
/* Applies missing migrations, each in a transaction of its own; may be run again. For `migrate`. */
int store_migrate(const StoreOptions *o, int *ret_from, int *ret_to, Err *err);
/* The URL without its password, for people; caller frees. */
char *store_url_shown(const char *url);
bool store_url_has_password(const char *url);
/* Other processes may write to the same database: what is kept in memory may be old. */
bool store_is_shared(const Store *s);

/* Any thread. Returns 0, -ERR_OVERLOADED when the queue is full, or -ERR_UNAVAILABLE when the store is closed
   (then done is not called). */
int store_submit(Store *s, StoreMode mode, StoreJob job, StoreDone done, void *arg, Err *err);
/* How long the oldest job of that mode has been waiting for a worker; 0 = none waits. Any thread. */
Usec store_wait(const Store *s, StoreMode mode);
bool store_healthy(const Store *s, Err *why); /* the last write went well; probes itself while not */

/* What one commit changed. Message references are borrowed for the call. */
typedef struct CommitNote {
    Message *const *messages;
    size_t n_messages;
    uint64_t last_event; /* version of the newest event row of this commit; 0 = no event */
} CommitNote;
typedef void (*StoreListener)(void *arg, const CommitNote *note);
void store_set_listener(Store *s, StoreListener fn, void *arg); /* one; loop thread */

/* Another process may have committed something: look at the logs. Loop thread; also after a connection was
   lost and made again, and never for a store that is not shared. */
typedef void (*StoreNewsFn)(void *arg);
void store_set_news(Store *s, StoreNewsFn fn, void *arg); /* one; loop thread */

typedef struct StoreStats {
    uint64_t commits, jobs_done, jobs_failed; /* a job is done or failed */
    uint64_t queue_len, batch_max;            /* jobs */
} StoreStats;
StoreStats store_stats(const Store *s); /* thread-safe snapshot */

/* ---- inside a job ---- */

/* One time per job, microseconds, as the clock says it. The times that rows are made with, and ids, do not go
   back with it, unless it was more than an hour ahead. */
WallUsec tx_now(const Tx *tx);
/* Until the end of the transaction nobody else, of any process, is in a job behind the same lock. Write jobs
   are one after the other anyway; this orders one that reads what was committed just before it. */
int tx_lock(Tx *tx, const char *name, Err *err);

/* Live (not soft-deleted) row or ERR_NOT_FOUND "<Kind> with id='<id>' not found". */
int tx_get(Tx *tx, const Kind *k, Str id, Obj **ret, Err *err);
int tx_exists(Tx *tx, const Kind *k, Str id, bool *ret, Err *err); /* a live row */
/* First live row where field = value, or ERR_NOT_FOUND. */
int tx_find(Tx *tx, const Kind *k, int field, Str value, Obj **ret, Err *err);

typedef struct ListQuery {
    const SearchExpr *where; /* NULL = all live rows */
    OrderBy order;           /* id is always appended as tie-break; empty = the kind's default */
    int64_t offset, limit;   /* limit < 0 = all */
    int64_t page;            /* echoed into the list */
    bool no_total;           /* skip the count */
    size_t bytes_max;        /* of text in all rows; beyond: ERR_BAD_REQUEST; 0 = no bound */
} ListQuery;
int tx_list(Tx *tx, const Kind *k, const ListQuery *q, ObjList *ret, Err *err);

/* The writes below also insert the events row (outbox) in the same transaction, for kinds that have events.
   Insert: id (KSUID, or the name), created_at and updated_at are set here unless already set. Unique
   violations: ERR_CONFLICT "This <Kind> already exists". */
int tx_insert(Tx *tx, Obj *o, Err *err);
/* Writes only the V_SET/V_NULL columns of `changes`; nothing when all are equal already (*ret_changed false,
   no event, updated_at untouched). ERR_NOT_FOUND for a missing or deleted row. ret_after may be NULL. */
int tx_update(Tx *tx, const Kind *k, Str id, const Obj *changes, bool *ret_changed, Obj **ret_after,
              Err *err);
int tx_delete(Tx *tx, const Kind *k, Str id, bool *ret_deleted,
              Err *err); /* soft; false when there was no live row */
/* Removes live rows for good that were made before: the oldest, at most some thousand per call. No event
   tells of it: only for kinds that nobody follows. */
int tx_purge(Tx *tx, const Kind *k, WallUsec before, uint64_t *ret_removed, Err *err);

/* Idempotency of creates: remembers for 24 h which object a caller's request made. */
int tx_request_get(Tx *tx, Str caller, Str request_id, char **ret_object_id, Err *err); /* ERR_NOT_FOUND */
int tx_request_put(Tx *tx, Str caller, Str request_id, Str object_id, Err *err);
