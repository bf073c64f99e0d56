#include "cache.h"

#include <assert.h>
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

typedef struct Entry {
    Obj *obj;            /* NULL: a tombstone */
    uint64_t generation; /* of the list that last showed it */
    Usec deleted_at;     /* of a tombstone */
    ListLink link;       /* of a tombstone, oldest first */
    char id[];
} Entry;

struct Cache {
    CacheOptions o;
    Map *entries; /* id -> Entry, owned */
    List tombstones;
    size_t n_live;
    uint64_t generation; /* of the newest list, running or not */
    uint64_t complete;   /* generation of the last complete list */
    bool listing;
    Usec list_began;
    Usec last_complete; /* when the last complete list began */
    unsigned lists;
};

Cache *cache_new(const CacheOptions *o)
{
    Cache *c = xnew(Cache);
    c->o = *o;
    c->entries = map_new();
    list_init(&c->tombstones);
    return c;
}

static void entry_free(Entry *e)
{
    list_remove(&e->link);
    obj_free(e->obj);
    free(e);
}

Cache *cache_free(Cache *c)
{
    if (!c)
        return NULL;
    MAP_FOREACH (c->entries, it)
        entry_free(it.value);
    map_free(c->entries);
    free(c);
    return NULL;
}

static Entry *entry_get(Cache *c, Str id)
{
    Entry *e = map_get(c->entries, id);
    if (e)
        return e;
    e = xcalloc(1, sizeof(*e) + id.len + 1);
    memcpy(e->id, id.ptr, id.len);
    list_init(&e->link);
    map_put(c->entries, id, e);
    return e;
}

static void store(Cache *c, Entry *e, Obj *o)
{
    for (const int *f = c->o.drop; f && *f >= 0; f++)
        obj_clear(o, *f);
    if (!e->obj) {
        list_remove(&e->link);
        c->n_live++;
    }
    obj_free(e->obj);
    e->obj = o;
}

static bool is_older(const Obj *o, const Obj *than)
{
    return obj_time(o, FIELD_UPDATED_AT).us < obj_time(than, FIELD_UPDATED_AT).us;
}

static CachePut put(Cache *c, Obj *o, bool revive)
{
    assert(o->kind == c->o.kind);
    Str id = obj_str(o, FIELD_ID);
    if (id.len == 0) { /* an object that names nothing: a peer's mistake */
        obj_free(o);
        return CACHE_OLDER;
    }
    Entry *e = entry_get(c, id);
    bool tombstone = !e->obj && list_linked(&e->link);
    e->generation = c->generation;
    if (tombstone && !revive) {
        obj_free(o);
        return CACHE_DELETED;
    }
    if (e->obj && is_older(o, e->obj)) {
        obj_free(o);
        return CACHE_OLDER;
    }
    store(c, e, o);
    return CACHE_STORED;
}

CachePut cache_put(Cache *c, Obj *o)
{
    return put(c, o, false);
}

CachePut cache_confirm(Cache *c, Obj *o)
{
    return put(c, o, true);
}

void cache_delete(Cache *c, Str id)
{
    if (id.len == 0)
        return;
    Entry *e = entry_get(c, id);
    if (e->obj)
        c->n_live--;
    e->obj = obj_free(e->obj);
    e->deleted_at = clock_now(c->o.clock);
    list_remove(&e->link);
    list_push_back(&c->tombstones, &e->link);
}

void cache_drop(Cache *c, Str id)
{
    Entry *e = map_get(c->entries, id);
    if (!e || !e->obj)
        return;
    map_remove(c->entries, id);
    c->n_live--;
    entry_free(e);
}

const Obj *cache_get(const Cache *c, Str id)
{
    const Entry *e = map_get(c->entries, id);
    return e ? e->obj : NULL;
}

bool cache_was_deleted(const Cache *c, Str id)
{
    const Entry *e = map_get(c->entries, id);
    return e && !e->obj;
}

bool cache_is_doubtful(const Cache *c, Str id)
{
    const Entry *e = map_get(c->entries, id);
    return e && e->obj && e->generation < c->complete;
}

size_t cache_len(const Cache *c)
{
    return c->n_live;
}

void cache_list_begin(Cache *c)
{
    assert(!c->listing);
    c->listing = true;
    c->generation++;
    c->list_began = clock_now(c->o.clock);
}

size_t cache_list_end(Cache *c, bool complete, CacheEach missing, void *arg)
{
    assert(c->listing);
    c->listing = false;
    if (!complete)
        return 0;
    c->lists++;
    c->complete = c->generation;
    c->last_complete = c->list_began;
    size_t n = 0;
    MAP_FOREACH (c->entries, it) {
        const Entry *e = it.value;
        if (!e->obj || e->generation == c->generation)
            continue;
        n++;
        if (missing)
            missing(arg, e->id);
    }
    return n;
}

unsigned cache_lists(const Cache *c)
{
    return c->lists;
}

Usec cache_list_age(const Cache *c)
{
    return c->lists ? clock_now(c->o.clock) - c->last_complete : USEC_NEVER;
}

void cache_each(const Cache *c, CacheEach each, void *arg)
{
    MAP_FOREACH (c->entries, it) {
        const Entry *e = it.value;
        if (e->obj)
            each(arg, e->id);
    }
}

void cache_forget_old(Cache *c)
{
    Usec now = clock_now(c->o.clock);
    while (!list_empty(&c->tombstones)) {
        Entry *e = LIST_ENTRY(c->tombstones.next, Entry, link);
        if (now - e->deleted_at < CACHE_TOMBSTONE)
            return;
        map_remove(c->entries, str_from(e->id));
        entry_free(e);
    }
}
