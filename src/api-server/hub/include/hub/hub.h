/*
 * The hub moves cursors over the logs. A watcher is {stream, cursor}: it holds no message bytes. After each commit
 * the hub hears "session S now ends at seq n" and wakes S's watchers; each pulls its next frame when its socket can
 * take it, from a small in-memory tail of encoded frames (encoded once, whoever many watch) or, when it is behind the
 * tail, from the store in pages. Order for a new watcher: the cursor is registered first, then read; there is no
 * window between replay and live. Loop thread only.
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
    size_t tail_bytes;      /* of encoded frames over all sessions; 0 = 64 MiB */
    unsigned page_rows;     /* rows per read from the store; 0 = 200 */
    size_t page_bytes;      /* 0 = 256 KiB */
    Usec poll_interval;     /* periodic look at the logs; 0 = 15 s */
} HubOptions;
Hub *hub_new(Loop *l, const HubOptions *o); /* becomes the store's listener */
Hub *hub_free(Hub *h);
/* Every watcher ends (on_end with ERR_UNAVAILABLE "server is shutting down"); new ones are refused. */
void hub_shutdown(Hub *h);

/* How a message looks on one transport. Frames of both encodings are made at most once per message. */
typedef enum HubEncoding { HUB_GRPC, HUB_SSE, _HUB_ENCODING_MAX } HubEncoding;

typedef struct Cursor Cursor;
typedef struct CursorOps {
    void (*on_ready)(void *arg);                 /* cursor_next() has something again */
    void (*on_end)(void *arg, const Err *err);   /* session deleted (ERR_NOT_FOUND), shutdown, store error */
} CursorOps;
/* A cursor over one session's messages behind after_seq. The caller has checked authorization. */
int cursor_open(Hub *h, Str session_id, uint64_t after_seq, HubEncoding enc, const CursorOps *ops, void *arg,
                Cursor **ret, Err *err);
/* Next frame in order (the caller's reference), or NULL: none now, on_ready follows. */
GrpcFrame *cursor_next(Cursor *c);
uint64_t cursor_seq(const Cursor *c);
Cursor *cursor_close(Cursor *c);                 /* NULL-safe */

/* A cursor over the events of one kind. Pending events of one object merge; memory is one row of bookkeeping per
   cursor plus the objects that changed and were not yet sent. */
typedef struct EventCursor EventCursor;
typedef struct EventItem {
    int type;               /* EVENT_CREATED, _UPDATED, _DELETED */
    Obj *obj;               /* borrowed; NULL for DELETED */
    Str id;
    uint64_t version;
} EventItem;
/* after = UINT64_MAX: from now. ERR_PRECONDITION when `after` is older than what is kept (relist). project: only
   this project's objects; empty = all that the caller may see. */
int event_cursor_open(Hub *h, const Kind *k, Caller *caller, Str project, uint64_t after, const CursorOps *ops,
                      void *arg, EventCursor **ret, Err *err);
bool event_cursor_next(EventCursor *c, EventItem *ret); /* valid until the next call */
EventCursor *event_cursor_close(EventCursor *c);

typedef struct HubStats {
    size_t message_watchers, event_watchers, tail_bytes;
    uint64_t frames_sent, store_reads;
} HubStats;
HubStats hub_stats(const Hub *h);
