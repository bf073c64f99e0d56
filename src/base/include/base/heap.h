/* Intrusive binary min-heap. The element keeps its own position, so removal and re-ordering are O(log n). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

typedef struct HeapNode {
    size_t pos; /* 1-based; 0 = in no heap */
} HeapNode;
typedef bool (*HeapLess)(const HeapNode *a, const HeapNode *b);
typedef struct Heap {
    HeapNode **nodes;
    size_t len, cap;
    HeapLess less;
} Heap;

void heap_init(Heap *h, HeapLess less);
void heap_done(Heap *h); /* the nodes are the caller's */
void heap_push(Heap *h, HeapNode *n);
HeapNode *heap_peek(const Heap *h); /* NULL when empty */
HeapNode *heap_pop(Heap *h);
void heap_remove(Heap *h, HeapNode *n); /* no-op for a node in no heap */
void heap_update(Heap *h, HeapNode *n); /* after its key changed */
static inline bool heap_linked(const HeapNode *n)
{
    return n->pos != 0;
}
