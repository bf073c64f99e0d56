/*
 * The newest known object per id of one kind. Older knowledge never replaces newer: an object with an older
 * updated_at than the cached one is ignored, and an id that was deleted is remembered for CACHE_TOMBSTONE so
 * that a late update does not bring it back. A full list is a mark-and-sweep: what it did not touch is
 * reported as missing and stays until somebody has asked the server (a list is no proof of a deletion).
 *
 * Since events are applied while a list runs, the list needs no buffer: whatever comes second finds the newer
 * one.
 */
#pragma once

#include "base/clock.h"
#include "kinds/obj.h"

#define CACHE_TOMBSTONE (600 * USEC_PER_SEC)

typedef struct Cache Cache;

typedef enum CachePut {
    CACHE_STORED,  /* new or newer */
    CACHE_OLDER,   /* ignored: we know better */
    CACHE_DELETED, /* ignored: this id was deleted lately; ask the server */
} CachePut;

typedef struct CacheOptions {
    const Kind *kind;
    const Clock *clock;
    const int *drop; /* fields that are not kept (long texts), ended by -1; NULL = none. Borrowed */
} CacheOptions;

Cache *cache_new(const CacheOptions *o);
Cache *cache_free(Cache *c); /* NULL-safe, returns NULL */
DEFINE_CLEANUP(Cache, cache_free)

CachePut cache_put(Cache *c, Obj *o); /* from a list or an event; takes over o */
/* The answer to a GET or to our own write: true now, whatever was deleted before. Takes over o. */
CachePut cache_confirm(Cache *c, Obj *o);
void cache_delete(Cache *c, Str id); /* a delete event */
/* The server does not know it (any more), and no delete event said so: no tombstone is left. */
void cache_drop(Cache *c, Str id);
const Obj *cache_get(const Cache *c, Str id); /* borrowed until the next change; NULL = unknown or deleted */
bool cache_was_deleted(const Cache *c, Str id);
/* The last complete list did not show it and nothing else did since: ask the server before acting on it. */
bool cache_is_doubtful(const Cache *c, Str id);
size_t cache_len(const Cache *c);

/* A full list. Between begin and end cache_put() marks; a list that failed is ended with complete = false. */
void cache_list_begin(Cache *c);
typedef void (*CacheEach)(void *arg, const char *id); /* must not change the cache */
/* Calls missing(arg, id) for every entry that the list did not show; may be NULL. Returns how many. */
size_t cache_list_end(Cache *c, bool complete, CacheEach missing, void *arg);
unsigned cache_lists(const Cache *c); /* complete lists so far */
Usec cache_list_age(const Cache *c);  /* since the last complete list began; USEC_NEVER before the first */

void cache_each(const Cache *c, CacheEach each, void *arg);
void cache_forget_old(Cache *c); /* drops tombstones past their time; call now and then */
