/* Inside of the store room: the Store, a job's transaction, and the SQL of the kinds. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include "backend-internal.h"
#include "base/map.h"
#include "base/vec.h"
#include "crypto/crypto.h"
#include "queue-internal.h"
#include "store/store.h"

/* ---- sql.c: statements of a kind, built once from its table ---- */

typedef struct KindSql {
    const Kind *kind;
    char *columns; /* "id, created_at, ...": every field with a column, in table order */
    char *get;     /* one live row by id */
    char *exists;
    char *insert;
    char *place;   /* project and owner */
    char *remove;  /* soft delete */
    OrderBy order; /* the kind's default */
} KindSql;

typedef struct Sql {
    const Dialect *dialect;
    KindSql *kinds;
    size_t n_kinds;
} Sql;
int sql_new(const Dialect *d, Sql **ret, Err *err);
Sql *sql_free(Sql *s);
/* By table, since a room above may keep a changed copy of a kind. */
const KindSql *sql_of(const Sql *s, const Kind *k);
static inline bool field_stored(const Field *f)
{
    return !(f->flags & F_IGNORED);
}
/* The parameter of an object's field. */
SqlValue sql_field_value(const Obj *o, int field);
/* Fills an object from a row that was selected with KindSql.columns. */
int sql_read_row(Stmt *st, const Kind *k, Obj **ret, Err *err);

/* ---- search.c: a SearchExpr as a condition ---- */

/* What a statement's text is built from: text and parameters side by side. */
typedef struct Query {
    Buf sql;
    VEC_OF(SqlValue)
    params;
} Query;
#define QUERY_INIT ((Query){.sql = BUF_INIT((size_t)1 << 20)})
void query_done(Query *q);
void query_param(Query *q, SqlValue v); /* writes its placeholder */
int query_search(Query *q, const Dialect *d, const Kind *k, const SearchExpr *e, Err *err);
void query_order(
    Query *q, const Dialect *d, const Kind *k,
    const OrderBy *order); /* id last, so that the order is whole; d NULL: no column is without a value */
int query_fault(int rc, Err *err); /* the words for a search that was too much; rc, or its error */
/* Prepares and binds; the query must outlive the statement. */
int query_use(Query *q, Db *db, Stmt **ret, Err *err);

/* ---- migrate.c, migrate-access.c ---- */

int migrate_owner_bindings(Db *db, Err *err);

/* Applies what is missing. ret_from, ret_to: number of steps before and after; may be NULL. */
int migrate_run(Db *db, int *ret_from, int *ret_to, Err *err);
/* import.c: ERR_PRECONDITION while only a part of a file has been imported */
int import_check(Db *db, Err *err);
/* migrate-adopt.c: what the reference's programs left */
int migrate_adopt_logs(Db *db, Err *err);
bool migrate_is_reference_step(Str id);
/* ERR_PRECONDITION when the schema is newer than this program, or older. */
int migrate_check(Db *db, Err *err);

/* ---- transactions ---- */

typedef VEC_OF(Message *)
MessageVec;

/* A session's newest row. */
typedef struct MessageHead {
    uint64_t seq; /* 0 = no row yet */
    WallUsec created_at;
    uint8_t hash[SHA256_LEN];
} MessageHead;
/* log.c: after a job was undone, or a session deleted, and at the end of a batch */
void message_heads_forget(Map *heads);

/* One writer's or reader's state: its connection and what its jobs share. */
typedef struct Worker {
    Store *store;
    Db *db;
    Sha256 *sha;
    MessageVec messages; /* appended by the jobs of the running batch; owned references */
    uint64_t last_event; /* of the running batch */
    Map *heads;          /* session id -> MessageHead: newest rows that the running batch wrote */
    size_t bytes;        /* bound by the running batch, roughly */
    uint8_t random[32 * KSUID_RANDOM_LEN];
    size_t random_left;
} Worker;

struct Tx {
    Worker *w;
    Db *db;
    const Sql *sql;
    WallUsec now;
    WallUsec stamp; /* for rows and ids: like now, but it does not go back with the clock */
    bool writable, in_savepoint;
};
/* Every change goes through here first: the job can then be rolled back alone. */
int tx_change(Tx *tx, Err *err);
/* A new id. The kernel is asked for randomness now and then, not each time. */
void tx_ksuid(Tx *tx, char out[static KSUID_LEN + 1]);
/* After a change: which event it made, to be told to the listener. */
int tx_event(Tx *tx, EventType type, const Kind *k, Str id, Str project, Str owner, Err *err);

struct Store {
    Loop *loop;
    const Clock *clock;
    const Backend *be;
    char *location, *password_file;
    char self[KSUID_LEN + 1]; /* this process, to others on the database */
    Sql *sql;
    bool private; /* one connection for everything */

    Queue writes, reads;
    Worker writer;
    pthread_t writer_thread;
    Worker *readers;
    pthread_t *reader_threads;
    unsigned n_readers, readers_started;
    bool writer_started;

    _Atomic int64_t newest; /* time that a job was given, or that a stored row has */

    StoreListener listener; /* loop thread */
    void *listener_arg;

    /* What other processes commit: listen.c */
    Db *ear; /* NULL = there are none */
    pthread_t ear_thread;
    bool ear_started;
    int ear_wake; /* eventfd: the thread shall end */
    atomic_bool ear_stop, news_posted;
    StoreNewsFn news; /* loop thread */
    void *news_arg;

    pthread_mutex_t lock;
    StoreStats stats; /* under lock; queue_len unused */
    Err sick;         /* under lock; code ERR_OK = healthy */
};

/* url.c */
int backend_of_url(const char *url, const Backend **ret, const char **ret_location, Err *err);

/* store.c: a connection without a Store */
int db_open_url(const StoreOptions *o, DbRole role, Db **ret, Err *err);
int store_start_thread(pthread_t *ret, void *(*fn)(void *), void *arg, Err *err);

/* listen.c */
int listen_start(Store *s, Err *err);
void listen_stop(Store *s);

/* worker.c */
void *writer_main(void *store);
void *reader_main(void *worker);
int worker_open(Worker *w, Store *s, DbRole role, Err *err);
void worker_close(Worker *w);
void store_set_sick(Store *s, const Err *why); /* NULL = healthy */

/* message.c */
typedef struct MessageParts {
    Str id, session_id, event_type, payload, actor, turn;
    uint64_t seq;
    WallUsec created_at;
} MessageParts;
/* ERR_UNAVAILABLE when memory is out. The hash is left empty. */
int message_new(const MessageParts *p, Message **ret, Err *err);
/* The hash that the first row of a session is chained to. */
void message_hash_seed(Sha256 *h, Str session_id, uint8_t out[static SHA256_LEN]);
void message_hash(Sha256 *h, const uint8_t prev[static SHA256_LEN], const MessageParts *p,
                  uint8_t out[static SHA256_LEN]);
MessageParts message_parts(const Message *m);
