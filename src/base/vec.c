#include "base/vec.h"

#include <stdint.h>

void *vec_grow(void *ptr, size_t *cap, size_t want, size_t elem_size)
{
    size_t n = *cap < 4 ? 8 : *cap + *cap / 2;
    if (n < want)
        n = want;
    size_t bytes;
    if (__builtin_mul_overflow(n, elem_size, &bytes))
        bytes = SIZE_MAX; /* realloc refuses it, xrealloc aborts */
    ptr = xrealloc(ptr, bytes);
    *cap = n;
    return ptr;
}
