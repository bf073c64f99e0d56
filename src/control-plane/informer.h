/*
 * Keeps a cache of one kind like the server: watch first, then list, apply what both say (the cache keeps the
 * newer), and list again when the watch could not be resumed. A full list every half an hour finds what was
 * missed all the same; every ten minutes each known key is handed out again, which costs the server nothing.
 */
#pragma once

#include "api.h"
#include "cache.h"
#include "loop/loop.h"

typedef struct Informer Informer;

typedef struct InformerOps {
    void (*on_key)(void *arg, const char *id); /* something about this object may have changed */
    void (*on_list)(void *arg);                /* a complete list has ended; may be NULL */
} InformerOps;

typedef struct InformerOptions {
    Api *api;
    const Kind *kind;
    Cache *cache;                /* borrowed */
    Usec resync, relist;         /* 0 = 10 min, 30 min; +-10 % */
    double (*random)(void *arg); /* [0, 1); NULL = no jitter */
} InformerOptions;

Informer *informer_new(Loop *l, const InformerOptions *o, const InformerOps *ops, void *arg);
Informer *informer_free(Informer *i); /* NULL-safe, returns NULL */
void informer_start(Informer *i);
void informer_relist(Informer *i); /* soon; joins a list that is under way */

typedef struct InformerStats {
    bool connected, synced; /* the stream is open; one complete list was read */
    Usec event_age;         /* since the last event or list; USEC_NEVER before the first */
    uint64_t reconnects, lists, failed_lists, events;
} InformerStats;
void informer_stats(const Informer *i, InformerStats *ret);
