/*
 * Map: hash map from byte strings to pointers (SipHash with a per-map random key: peers choose keys).
 * Keys are copied; values are borrowed. Not thread-safe. While iterating, the current entry may be removed
 * and values may be replaced; adding a new key or clearing ends the iteration's meaning.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "base/cleanup.h"
#include "base/str.h"

typedef struct Map Map;
typedef struct MapIter {
    const Map *map;
    size_t pos;
    Str key; /* NUL-terminated; dies with the entry */
    void *value;
} MapIter;

Map *map_new(void);
Map *map_free(Map *m); /* NULL-safe, returns NULL; values are not freed */
DEFINE_CLEANUP(Map, map_free)
size_t map_len(const Map *m);
void *map_get(const Map *m, Str key); /* NULL when absent */
bool map_has(const Map *m, Str key);
void *map_put(Map *m, Str key, void *value); /* returns the value that was replaced, or NULL */
void *map_remove(Map *m, Str key);           /* returns the removed value, or NULL */
void map_clear(Map *m);
bool map_next(MapIter *it); /* start with {.map = m}; the current entry may be removed */
#define MAP_FOREACH(m, it) for (MapIter it = {.map = (m)}; map_next(&it);)
