/*
 * The two logs that watchers follow: messages of a session, and events of kinds. Rows are only appended. seq
 * counts 1, 2, 3 ... within a session without gaps; hash chains a session's rows (SHA-256 over the previous
 * hash, id, seq, event type, payload and time). Event versions increase over the whole store.
 */
#pragma once

#include <stdint.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/ksuid.h"
#include "base/str.h"
#include "kinds/kind.h"

typedef struct Tx Tx;
struct Store;

/* Immutable, one allocation, atomic reference count: may cross threads. */
typedef struct Message {
    char id[KSUID_LEN + 1];
    uint64_t seq;
    WallUsec created_at;
    Str session_id, event_type, payload, actor, turn; /* turn empty = none; all NUL-terminated behind len */
    uint8_t hash[32];
} Message;
Message *message_ref(Message *m);
Message *message_unref(Message *m); /* NULL-safe, returns NULL */

typedef struct MessageIn {
    Str session_id;     /* must exist and be live: ERR_NOT_FOUND */
    Str event_type;     /* 1..255 bytes, no control characters */
    Str payload;        /* at most MESSAGE_PAYLOAD_MAX: ERR_TOO_LARGE; valid UTF-8 without NUL */
    Str actor;          /* who pushed: "user:alice", "service", "session:<id>" */
    Str turn;           /* may be empty */
    Str request_id;     /* empty = none; the same id again gives the first message back */
    bool *ret_replayed; /* whether it did; may be NULL */
} MessageIn;
#define MESSAGE_PAYLOAD_MAX (4194304 - 1024)

int tx_message_append(Tx *tx, const MessageIn *in, Message **ret, Err *err); /* caller gets a reference */
typedef int (*MessageFn)(void *arg, Message *m); /* borrowed; a non-zero return stops the read */
/* Rows with seq > after in order, until either limit is passed. */
int tx_messages_read(Tx *tx, Str session_id, uint64_t after, size_t max_rows, size_t max_bytes, MessageFn fn,
                     void *arg, Err *err);
/* Rows that match, of kind_session_message; *ret_total counts them all. ERR_BAD_REQUEST beyond q->bytes_max.
 */
struct ListQuery;
int tx_message_list(Tx *tx, const struct ListQuery *q, MessageFn fn, void *arg, int64_t *ret_total, Err *err);
int tx_message_last_seq(Tx *tx, Str session_id, uint64_t *ret, Err *err); /* 0 when there is none */

/* For a periodic look: every row has a position in the whole log. Calls fn for each session that got rows
 *behind pos, with its newest seq, and moves *pos to the end. */
typedef int (*MessageNewsFn)(void *arg, Str session_id, uint64_t last_seq);
int tx_message_news(Tx *tx, uint64_t *pos, MessageNewsFn fn, void *arg, Err *err);
int tx_message_position(Tx *tx, uint64_t *ret, Err *err); /* of the newest row */

typedef enum EventType { EVENT_CREATED = 1, EVENT_UPDATED = 2, EVENT_DELETED = 3 } EventType;

typedef struct Event {
    uint64_t version;
    EventType type;
    const Kind *kind;                 /* NULL: a source that this program does not know */
    Str object_id, project_id, owner; /* of the object when it changed; borrowed for the call; may be empty */
} Event;
typedef int (*EventFn)(void *arg, const Event *ev);
int tx_events_read(Tx *tx, uint64_t after, size_t max_rows, EventFn fn, void *arg, Err *err);
/* Oldest version still kept minus one: a cursor below it must relist. newest: 0 when there is none. */
int tx_events_range(Tx *tx, uint64_t *ret_oldest, uint64_t *ret_newest, Err *err);
/* Removes the oldest events, at most some thousand per call; the newest one stays. */
int tx_events_purge(Tx *tx, WallUsec before, uint64_t *ret_removed, Err *err);

/* Checks every session's chain (or one session's), and of all sessions also the files (ERR_CORRUPT); calls
 * bad() for the first row of each session that does not fit. */
typedef void (*VerifyBad)(void *arg, Str session_id, uint64_t seq, const char *why);
struct StoreOptions;
int store_verify(const struct StoreOptions *o, Str session_id, VerifyBad bad, void *arg, uint64_t *ret_rows,
                 Err *err);
