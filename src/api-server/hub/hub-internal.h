/*
 * Inside of the hub. Everything runs on the loop thread but the read jobs, which own their data.
 *
 * A message watcher is a Cursor in the SessionLog of its session, in exactly one list, by its state:
 *
 *   idle ----- next() has nothing, at the end ----> waiting --+
 *     ^  \                                                     +-- commit, page, end --> ready -- called -->
 * idle |    --- next() has nothing, more stored --> behind  ---+
 *     +------- next() gives a frame
 *
 * The rows that watchers need lie in the SessionLog as chunks of a cache with one budget over all sessions. A
 * row is found by the seq of the row before it, so that logs with gaps (written by another server) work too.
 * Nothing depends on what is cached: a cursor whose next row is not there reads it from the store.
 */
#pragma once

#include "base/map.h"
#include "base/vec.h"
#include "hub/hub.h"

typedef struct SessionLog SessionLog;
typedef struct Chunk Chunk;

/* ---- whom the loop calls ---- */

typedef struct Waiter {
    ListLink link; /* of one list: where it waits, or the hub's ready list */
    const CursorOps *ops;
    void *arg;
    bool is_event; /* an EventCursor, else a Cursor */
    bool armed;    /* it had nothing: on_ready is due when there is something */
    bool ended;    /* on_end was called, or will not be */
    bool failed;   /* its data cannot be read: on_end is due */
} Waiter;

/* ---- hub.c ---- */

struct Hub {
    Loop *loop;
    Store *store;
    Service *service;
    size_t tail_max, page_bytes;
    unsigned page_rows;
    Usec poll_interval;
    unsigned refs; /* the owner's, one per read job, one while a run is posted */
    bool down;     /* shut down, or freed */
    bool detached; /* freed by its owner */
    bool run_posted;
    List ready; /* of Waiter */
    Timer *poll;

    Map *logs;  /* session id -> SessionLog */
    List lru;   /* of Chunk, least recently used first */
    List reads; /* of SessionLog that want a page */
    unsigned reads_running;
    size_t tail_bytes;

    List guarded; /* of Cursor.guard: whose rights may be taken away while they follow */
    Timer *guard_timer;
    bool guard_running;
    bool rights_due;     /* those of users have to be read again */
    Usec access_changed; /* when a role or a binding last did; 0 = never */

    List event_cursors; /* of EventCursor.all */
    List event_idle;    /* Waiters of event cursors that wait for nothing of ours, or for a change */
    uint64_t seen;      /* version of the newest event that was looked at */
    uint64_t oldest;    /* events up to here are gone */
    uint64_t wanted;    /* newest version that a commit told of */
    bool events_known;  /* seen and oldest are set */
    bool feed_running;
    uint64_t position;             /* of the message log, at the last look */
    bool poll_running, poll_again; /* again: news came while it ran */

    size_t message_watchers, event_watchers;
    uint64_t frames_sent, store_reads;
};
Hub *hub_ref(Hub *h);
void hub_unref(Hub *h);
/* Puts a waiter into the ready list and sees to it that the loop comes by. */
void hub_make_ready(Hub *h, Waiter *w);
/* The same for a whole list at once, whatever its length. */
void hub_make_all_ready(Hub *h, List *list);
void waiter_init(Waiter *w, const CursorOps *ops, void *arg, bool is_event);

/* ---- session-log.c: what is known and cached of a session's log ---- */

enum { CHUNK_ROWS = 32 };

typedef struct Entry {
    Message *m; /* NULL = not cached */
    GrpcFrame *frames[_HUB_ENCODING_MAX];
} Entry;

struct Chunk {
    ListLink lru;
    SessionLog *log;
    uint64_t number; /* holds the rows behind seq number * CHUNK_ROWS and the CHUNK_ROWS - 1 seqs after it */
    size_t bytes;
    Entry rows[CHUNK_ROWS];
};

struct SessionLog {
    Hub *hub;
    Str id;                     /* points behind the struct */
    Obj *place;                 /* the session as far as rights on it go; NULL = nobody asked */
    unsigned runners;           /* guarded cursors of the session's own token */
    bool changed;               /* the session did, since they were looked at */
    List idle, waiting, behind; /* of Cursor; those of the ready list are counted in n_cursors only */
    size_t n_cursors;
    ListLink read_link; /* in hub->reads while it wants a page and waits for its turn */
    uint64_t end;       /* seq of the newest row, when known */
    bool end_known;
    bool gone;    /* the session was deleted */
    bool reading; /* a page of it is being read */
    bool again;   /* that page will not tell where the log ends */
    VEC_OF(Chunk *)
    chunks; /* by number */
};
SessionLog *session_log_get(Hub *h, Str id);                    /* makes it when it is not there */
void session_log_release(SessionLog *l);                        /* frees it when nobody needs it */
void session_log_put(SessionLog *l, uint64_t prev, Message *m); /* takes a reference of its own */
bool session_log_has(SessionLog *l, uint64_t prev);
/* The row behind prev as a frame, with a reference for the caller, and its seq; NULL when it is not cached.
 */
GrpcFrame *session_log_frame(SessionLog *l, uint64_t prev, HubEncoding enc, uint64_t *ret_seq);
void session_log_drop_chunks(SessionLog *l);

/* ---- encode.c ---- */

GrpcFrame *encode_message(const Message *m, HubEncoding enc);

/* ---- cursor.c ---- */

struct Cursor {
    Waiter w; /* first */
    SessionLog *log;
    uint64_t seq; /* of the row that was handed out last */
    HubEncoding enc;
    bool denied;    /* on_end is due */
    ListLink guard; /* in Hub.guarded while `caller` is set */
    Caller *caller;
};
void cursor_run(Cursor *c); /* called from the ready list */
void logs_committed(Hub *h, const CommitNote *note);
void logs_session_deleted(Hub *h, Str session_id);
void logs_news(Hub *h, Str session_id, uint64_t last); /* the session has rows up to `last` */
void logs_look_again(Hub *h);                          /* anything may have happened to any session */
void logs_shutdown(Hub *h);

/* ---- guard.c ---- */

void cursor_unguard(Cursor *c);
void guard_look(void *hub);
void guard_changed(Hub *h);       /* a role or a binding did */
void guard_users_changed(Hub *h); /* a user was renamed or deleted */
void guard_session_changed(Hub *h, Str session_id);

/* ---- feed.c: reading events, once for all cursors ---- */

/* An object that was read, shared by all whom it is pending for. */
typedef struct SharedObj {
    unsigned refs; /* on the loop */
    Obj *obj;
} SharedObj;
SharedObj *shared_obj_ref(SharedObj *o); /* NULL-safe */
SharedObj *shared_obj_unref(SharedObj *o);

typedef struct FeedItem {
    uint64_t version;
    EventType type;
    const Kind *kind;
    SharedObj *obj; /* NULL: deleted, or deleted since, or not asked for */
    char *id, *project, *owner;
} FeedItem;

/* One read of events; owned by its job until it comes back. */
typedef struct FeedPage {
    Hub *hub;
    uint64_t after;
    const Kind *only;      /* events of other kinds are left out; NULL = all */
    uint64_t with_objects; /* bit per kind, as in kinds_all() */
    VEC_OF(FeedItem)
    items;
    Map *objects;            /* "kind/id" -> SharedObj, while reading */
    uint64_t oldest, newest; /* what the store keeps */
    uint64_t last;           /* everything up to here was looked at */
    SvcRights *rights;       /* of those who watch, as of this page */
} FeedPage;
FeedPage *feed_page_new(Hub *h, uint64_t after, const Kind *only);
void feed_page_free(FeedPage *p);
int feed_page_read(Tx *tx, FeedPage *p, Err *err); /* in a read job */
unsigned kind_number(const Kind *k);

void feed_kick(Hub *h); /* reads on when there is something new */
void feed_poll(Hub *h); /* the periodic look, at both logs */

/* ---- event-cursor.c ---- */

typedef enum EventState {
    EC_JOINING,  /* the hub does not yet know where the log stands */
    EC_CATCHING, /* reads pages of its own until it is near the hub's place */
    EC_LIVE,     /* fed with everybody else */
} EventState;

typedef struct Pending {
    ListLink link;
    EventType type;
    SharedObj *obj;
    uint64_t first, newest; /* versions of the oldest and the newest change that are merged in here */
    char id[];
} Pending;

struct EventCursor {
    Waiter w; /* first */
    ListLink all;
    Hub *hub;
    const Kind *kind;
    Caller *caller;
    Rights *rights;         /* of the caller, as of the page that was taken last */
    char *project, *parent; /* NULL = all */
    EventState state;
    bool from_now;
    bool reading; /* a job of its own is under way: it is freed when that comes back */
    bool closed, relist;
    uint64_t pos;     /* everything up to here is delivered or pending */
    Map *pending;     /* id -> Pending; NULL when there is none */
    List order;       /* of Pending, by `first` */
    Pending *current; /* handed out last */
};
void event_cursor_run(EventCursor *c);
void event_cursors_known(Hub *h); /* events_known became true */
/* What of a page is the cursor's. False: the page was read before the cursor came, the next one is its. */
bool event_cursor_take(EventCursor *c, const FeedPage *p);
void event_cursor_moved(EventCursor *c, uint64_t pos); /* everything up to pos was taken */
void event_cursors_shutdown(Hub *h);
