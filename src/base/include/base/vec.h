/*
 * Typed growable array. VEC_OF(int) v = {0}; vec_push(&v, 3); v.ptr[0]; v.len; vec_free(&v).
 * Elements are moved by realloc; keep indexes, not pointers, across a push. Growth aborts on out-of-memory:
 * count what a peer may add before you add it.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include "base/mem.h"

#define VEC_OF(type)                                                                                         \
    struct {                                                                                                 \
        type *ptr;                                                                                           \
        size_t len, cap;                                                                                     \
    }

void *vec_grow(void *ptr, size_t *cap, size_t want, size_t elem_size);

#define vec_reserve(v, n)                                                                                    \
    ((v)->ptr = (n) > (v)->cap ? vec_grow((v)->ptr, &(v)->cap, (n), sizeof(*(v)->ptr)) : (v)->ptr)
#define vec_push(v, value) (vec_reserve(v, (v)->len + 1), (v)->ptr[(v)->len++] = (value))
#define vec_pop(v) ((v)->ptr[--(v)->len])
#define vec_clear(v) ((v)->len = 0)
#define vec_free(v) (free((v)->ptr), (v)->ptr = NULL, (v)->len = (v)->cap = 0)
#define VEC_FOREACH(v, it) for (__typeof__(&*(v)->ptr) it = (v)->ptr; it && it < (v)->ptr + (v)->len; it++)
