/*
 * Memory. Small fixed-size allocations abort when memory is out (the design is safe to kill at any point);
 * every size that a peer or a file chooses goes through try_ functions or a Buf and gives an error.
 */
#pragma once

#include <stddef.h>
#include <stdlib.h>
#include "base/cleanup.h"

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
/* At most max bytes, up to a NUL like strndup; always NUL-terminated. */
char *xstrndup(const char *s, size_t max) __attribute__((malloc, returns_nonnull));
/* Exactly len bytes and a NUL behind them. */
char *xmemdup0(const void *p, size_t len) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2) __attribute__((malloc, returns_nonnull));
#define xnew(type) ((type *)xcalloc(1, sizeof(type)))

void *try_malloc(size_t size) __attribute__((malloc));
void *try_realloc(void *p, size_t size); /* p stays valid on failure */

static inline void freep(void *p)
{
    free(*(void **)p);
}
#define CLEANUP_FREE CLEANUP(freep)
