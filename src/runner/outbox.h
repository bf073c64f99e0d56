/*
 * Records on their way to the session's log: pushed strictly in order, one at a time, again and again until
 * the server acknowledged them. Each has a request id, so that a push whose answer got lost is not stored
 * twice. Until then they also stand in a journal file, so that a runner that dies loses none: the next one
 * pushes them first.
 *
 * When more than OUTBOX_HIGH bytes wait, the owner is told to hold the agent back until they are half gone.
 */
#pragma once

#include "client/client.h"

typedef struct Outbox Outbox;

/* Seam to the client; `client_push` and `client_push_cancel` behind a Client in the program. */
typedef struct OutboxPush {
    void *(*push)(void *arg, const ClientPush *p, ClientPushDone done, void *done_arg);
    void (*cancel)(void *arg, void *call);
    void *arg;
} OutboxPush;

typedef struct OutboxOps {
    void (*on_acked)(void *arg, Str request_id, uint64_t seq);
    void (*on_drained)(void *arg); /* nothing waits any more */
    void (*on_pressure)(void *arg, bool high);
    void (*on_gone)(void *arg,
                    const Err *err); /* the session does not exist any more; nothing is pushed after */
} OutboxOps;

#define OUTBOX_HIGH ((size_t)16 << 20)

/* journal NULL = none. What an existing journal holds is queued first. */
Outbox *outbox_new(Loop *l, const OutboxPush *push, const char *session_id, const char *journal,
                   const OutboxOps *ops, void *arg);
Outbox *outbox_free(Outbox *o); /* cancels; the journal keeps what was not acknowledged; NULL-safe */
/* turn may be empty. The request id is `<prefix>-<n>`, counted per outbox. */
void outbox_add(Outbox *o, const char *event_type, Str payload, const char *turn, const char *prefix);
size_t outbox_waiting(const Outbox *o);
size_t outbox_bytes(const Outbox *o);
/* The error of the last try while nothing gets through; NULL = fine. */
const Err *outbox_trouble(const Outbox *o);
