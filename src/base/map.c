#include "base/map.h"

#include <assert.h>
#include <stdint.h>
#include "base/mem.h"
#include "base/random.h"
#include "siphash-internal.h"

/*
 * Open addressing, linear probing, a power of two of slots. A removed entry leaves a tombstone, so that
 * nothing moves: that is what allows removing the current entry while iterating. Tombstones go away on the
 * next rehash.
 */
typedef struct Slot {
    char *key; /* NULL = never used, `tombstone` = removed */
    uint32_t len, hash;
    void *value;
} Slot;

struct Map {
    Slot *slots;
    size_t n_slots;    /* 0 or a power of two */
    size_t live, used; /* used = live + tombstones */
    SipKey secret;
};

static char tombstone[1];

#define FIRST_SLOTS 8

Map *map_new(void)
{
    Map *m = xnew(Map);
    random_bytes(&m->secret, sizeof(m->secret));
    return m;
}

static bool is_live(const Slot *s)
{
    return s->key && s->key != tombstone;
}

static void free_slots(Map *m)
{
    for (size_t i = 0; i < m->n_slots; i++)
        if (is_live(&m->slots[i]))
            free(m->slots[i].key);
    free(m->slots);
}

Map *map_free(Map *m)
{
    if (!m)
        return NULL;
    free_slots(m);
    free(m);
    return NULL;
}

void map_clear(Map *m)
{
    free_slots(m);
    m->slots = NULL;
    m->n_slots = m->live = m->used = 0;
}

size_t map_len(const Map *m)
{
    return m->live;
}

static uint32_t hash_of(const Map *m, Str key)
{
    return (uint32_t)siphash(1, 3, m->secret, key);
}

/* The slot with that key, or NULL. At most 3/4 of the slots are used, so the search ends. */
static Slot *lookup(const Map *m, Str key, uint32_t hash)
{
    if (!m->n_slots)
        return NULL;
    for (size_t i = hash & (m->n_slots - 1);; i = (i + 1) & (m->n_slots - 1)) {
        Slot *s = &m->slots[i];
        if (!s->key)
            return NULL;
        if (s->hash == hash && is_live(s) && str_eq((Str){s->key, s->len}, key))
            return s;
    }
}

static Slot *free_slot(const Map *m, uint32_t hash)
{
    size_t i = hash & (m->n_slots - 1);
    while (is_live(&m->slots[i]))
        i = (i + 1) & (m->n_slots - 1);
    return &m->slots[i];
}

static void rehash(Map *m)
{
    Slot *old = m->slots;
    size_t n_old = m->n_slots;
    m->n_slots = FIRST_SLOTS;
    while (m->n_slots < m->live * 2 + 2)
        m->n_slots *= 2;
    m->slots = xcalloc(m->n_slots, sizeof(Slot));
    m->used = m->live;
    for (size_t i = 0; i < n_old; i++)
        if (is_live(&old[i]))
            *free_slot(m, old[i].hash) = old[i];
    free(old);
}

void *map_get(const Map *m, Str key)
{
    const Slot *s = lookup(m, key, hash_of(m, key));
    return s ? s->value : NULL;
}

bool map_has(const Map *m, Str key)
{
    return lookup(m, key, hash_of(m, key));
}

void *map_put(Map *m, Str key, void *value)
{
    assert(key.len <= UINT32_MAX);
    uint32_t hash = hash_of(m, key);
    Slot *s = lookup(m, key, hash);
    if (s) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    if ((m->used + 1) * 4 > m->n_slots * 3)
        rehash(m);
    s = free_slot(m, hash);
    m->used += !s->key;
    m->live++;
    *s = (Slot){str_dup(key), (uint32_t)key.len, hash, value};
    return NULL;
}

void *map_remove(Map *m, Str key)
{
    Slot *s = lookup(m, key, hash_of(m, key));
    if (!s)
        return NULL;
    void *value = s->value;
    free(s->key);
    *s = (Slot){.key = tombstone};
    m->live--;
    return value;
}

bool map_next(MapIter *it)
{
    while (it->pos < it->map->n_slots) {
        const Slot *s = &it->map->slots[it->pos++];
        if (!is_live(s))
            continue;
        it->key = (Str){s->key, s->len};
        it->value = s->value;
        return true;
    }
    return false;
}
