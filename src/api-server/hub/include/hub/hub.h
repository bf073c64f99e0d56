/*
 * The hub moves cursors over the logs. A watcher is {stream, cursor}: it holds no message bytes. After each
 * commit the hub hears "session S now ends at seq n" and wakes S's watchers; each pulls its next frame when
 * its socket can take it, from a small in-memory tail of encoded frames (encoded once, whoever many watch)
 * or, when it is behind the tail, from the store in pages. Order for a new watcher: the cursor is registered
 * first, then read; there is no window between replay and live. Loop thread only.
 */
#pragma once

#include "base/list.h"
#include "grpc/frame.h"
#include "kinds/obj.h"
#include "service/service.h"
#include "store/store.h"

typedef struct Hub Hub;
typedef struct HubOptions {
    Store *store;
    Service *service;
    size_t tail_bytes;  /* of messages and frames in memory, over all sessions; 0 = 64 MiB */
    unsigned page_rows; /* rows per read from the store; 0 = 200 */
    size_t page_bytes;  /* 0 = 256 KiB */
    Usec poll_interval; /* periodic look at the logs; 0 = 15 s */
} HubOptions;
Hub *hub_new(Loop *l, const HubOptions *o); /* becomes the store's listener */
Hub *hub_free(
    Hub *h); /* NULL-safe. Cursors that are still open give nothing any more; they may be closed later. */
/* Every watcher ends (on_end with ERR_UNAVAILABLE "server is shutting down"); new ones are refused. Commits
   are still heard of: what is asked meanwhile is answered as ever. */
void hub_shutdown(Hub *h);
void hub_forget_store(Hub *h); /* and shuts down: before the store is closed under a hub; NULL-safe */

/* How a message looks on one transport. Frames of both encodings are made at most once per message. */
typedef enum HubEncoding { HUB_GRPC, HUB_SSE, _HUB_ENCODING_MAX } HubEncoding;

/* Both are called from the loop, never from inside a function of this header, and may use and close the
   cursor. on_ready comes once after each time the cursor had nothing; a new cursor counts as one that had
   nothing. */
typedef struct Cursor Cursor;
typedef struct CursorOps {
    void (*on_ready)(void *arg);               /* cursor_next() may have something again */
    void (*on_end)(void *arg, const Err *err); /* session deleted (ERR_NOT_FOUND), shutdown, store error */
} CursorOps;
/* A cursor over one session's messages behind after_seq. The caller has checked authorization. */
int cursor_open(Hub *h, Str session_id, uint64_t after_seq, HubEncoding enc, const CursorOps *ops, void *arg,
                Cursor **ret, Err *err);
/* Ends the cursor (ERR_FORBIDDEN) once the caller may not follow the session any more. After cursor_open(),
   with the session that was asked for. */
void cursor_guard(Cursor *c, Caller *caller, const Obj *session);
/* Next frame in order (the caller's reference), or NULL: none now, on_ready or on_end follows. A message too
   large for a gRPC client to receive has a short notice as its payload there. */
GrpcFrame *cursor_next(Cursor *c);
uint64_t cursor_seq(const Cursor *c);
Cursor *cursor_close(Cursor *c); /* NULL-safe */

/* A cursor over the changes of one kind. Pending changes of one object merge: CREATED stays CREATED until it
   was delivered, DELETED takes the place of both. Memory is a row of bookkeeping per cursor, plus the objects
   that changed and were not yet sent, which cursors share. */
typedef struct EventCursor EventCursor;
typedef struct EventItem {
    int type;       /* EVENT_CREATED, _UPDATED, _DELETED */
    const Obj *obj; /* as it was when last read, not before the change; borrowed; NULL for DELETED */
    Str id;
    uint64_t version; /* resume here: every change up to it was delivered, or is in this item */
    uint64_t change;  /* version of the newest change that is merged in: it names obj's content */
} EventItem;
/* after = UINT64_MAX: from now. A version that is no longer kept, or not yet there, ends the cursor with
   ERR_PRECONDITION: list anew. project: only this project's objects; empty = all that the caller may see. */
int event_cursor_open(Hub *h, const Kind *k, Caller *caller, Str project, uint64_t after,
                      const CursorOps *ops, void *arg, EventCursor **ret, Err *err);
/* Only objects of this parent (INBOX_AGENT_ID of inbox messages); before the first event_cursor_next().
   Deletions are left out, since the log does not know a deleted object's parent. */
void event_cursor_only_parent(EventCursor *c, Str parent_id);
bool event_cursor_next(EventCursor *c,
                       EventItem *ret); /* valid until the next call; false: on_ready or on_end follows */
uint64_t event_cursor_version(const EventCursor *c); /* where to resume now; for bookmarks */
EventCursor *event_cursor_close(EventCursor *c);     /* NULL-safe */

typedef struct HubStats {
    size_t message_watchers, event_watchers, tail_bytes;
    uint64_t frames_sent, store_reads;
} HubStats;
HubStats hub_stats(const Hub *h);
