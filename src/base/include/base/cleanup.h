/*
 * Scope-bound resources: declare with CLEANUP(fn) and a first value, hand over with TAKE().
 * The error path is then a plain return.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* "unused" for clang, which warns of a variable that is there for its cleanup only. */
#define CLEANUP(fn) __attribute__((cleanup(fn), unused))

/* Moves a pointer out of its variable and leaves NULL behind. */
#define TAKE(ptr)                                                                                            \
    ({                                                                                                       \
        __typeof__(ptr) *take_p_ = &(ptr);                                                                   \
        __typeof__(ptr) take_v_ = *take_p_;                                                                  \
        *take_p_ = NULL;                                                                                     \
        take_v_;                                                                                             \
    })

/* Defines `static inline void NAMEp(TYPE **p)` that calls FREE_FN when *p is not NULL. */
#define DEFINE_CLEANUP(type, free_fn)                                                                        \
    static inline void free_fn##p(type **p)                                                                  \
    {                                                                                                        \
        if (*p)                                                                                              \
            free_fn(*p);                                                                                     \
    }

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* The struct around a member; also for pointers to const, as in the comparisons of a heap. */
#define CONTAINER_OF(ptr, type, member) ((type *)((uintptr_t)(ptr)-offsetof(type, member)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define WARN_UNUSED __attribute__((warn_unused_result))
