#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>
#include "base/vec.h"

void heap_init(Heap *h, HeapLess less)
{
    *h = (Heap){.less = less};
}

void heap_done(Heap *h)
{
    free(h->nodes);
    heap_init(h, h->less);
}

/* Positions are 1-based: the children of i are 2i and 2i+1. */
static void place(Heap *h, size_t pos, HeapNode *n)
{
    h->nodes[pos - 1] = n;
    n->pos = pos;
}

static void sift_up(Heap *h, HeapNode *n)
{
    size_t pos = n->pos;
    while (pos > 1 && h->less(n, h->nodes[pos / 2 - 1])) {
        place(h, pos, h->nodes[pos / 2 - 1]);
        pos /= 2;
    }
    place(h, pos, n);
}

static void sift_down(Heap *h, HeapNode *n)
{
    size_t pos = n->pos;
    for (;;) {
        size_t child = pos * 2;
        if (child > h->len)
            break;
        if (child < h->len && h->less(h->nodes[child], h->nodes[child - 1]))
            child++;
        if (!h->less(h->nodes[child - 1], n))
            break;
        place(h, pos, h->nodes[child - 1]);
        pos = child;
    }
    place(h, pos, n);
}

void heap_push(Heap *h, HeapNode *n)
{
    assert(!heap_linked(n));
    if (h->len == h->cap)
        h->nodes = vec_grow(h->nodes, &h->cap, h->len + 1, sizeof(HeapNode *));
    place(h, ++h->len, n);
    sift_up(h, n);
}

HeapNode *heap_peek(const Heap *h)
{
    return h->len ? h->nodes[0] : NULL;
}

HeapNode *heap_pop(Heap *h)
{
    HeapNode *n = heap_peek(h);
    if (n)
        heap_remove(h, n);
    return n;
}

void heap_remove(Heap *h, HeapNode *n)
{
    if (!heap_linked(n))
        return;
    size_t pos = n->pos;
    assert(pos <= h->len && h->nodes[pos - 1] == n);
    HeapNode *last = h->nodes[--h->len];
    n->pos = 0;
    if (last == n)
        return;
    place(h, pos, last);
    heap_update(h, last);
}

void heap_update(Heap *h, HeapNode *n)
{
    if (!heap_linked(n))
        return;
    sift_up(h, n);
    sift_down(h, n);
}
