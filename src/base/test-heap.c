#include "base/heap.h"

#include "test-internal.h"

#define ITEMS 200

typedef struct Item {
    HeapNode node;
    uint32_t key;
} Item;

static Item *item_of(const HeapNode *n)
{
    return CONTAINER_OF(n, Item, node);
}

static bool item_less(const HeapNode *a, const HeapNode *b)
{
    return item_of(a)->key < item_of(b)->key;
}

static const Item *smallest(const Item *items)
{
    const Item *best = NULL;
    for (size_t i = 0; i < ITEMS; i++)
        if (heap_linked(&items[i].node) && (!best || items[i].key < best->key))
            best = &items[i];
    return best;
}

static void test_heap__agrees_with_a_search(void **state)
{
    static Item items[ITEMS];
    Heap h;
    heap_init(&h, item_less);
    uint64_t seed = 3;
    for (int step = 0; step < 50000; step++) {
        Item *item = &items[test_random(&seed) % ITEMS];
        uint32_t what = test_random(&seed) % 4;
        if (!heap_linked(&item->node)) {
            item->key = test_random(&seed) % 1000;
            heap_push(&h, &item->node);
        } else if (what == 0) {
            heap_remove(&h, &item->node);
        } else if (what == 1) {
            uint32_t want = smallest(items)->key;
            assert_int_equal(item_of(heap_pop(&h))->key, want);
        } else {
            item->key = test_random(&seed) % 1000;
            heap_update(&h, &item->node);
        }
        const Item *want = smallest(items);
        const HeapNode *got = heap_peek(&h);
        assert_int_equal(got != NULL, want != NULL);
        if (got)
            assert_int_equal(item_of(got)->key, want->key);
    }
    for (uint32_t last = 0; h.len;) {
        const Item *item = item_of(heap_pop(&h));
        assert_true(item->key >= last);
        assert_false(heap_linked(&item->node));
        last = item->key;
    }
    heap_done(&h);
}

static void test_heap__empty_and_unlinked_are_safe(void **state)
{
    Heap h;
    heap_init(&h, item_less);
    Item item = {0};
    assert_null(heap_peek(&h));
    assert_null(heap_pop(&h));
    heap_remove(&h, &item.node);
    heap_update(&h, &item.node);
    heap_push(&h, &item.node);
    assert_ptr_equal(heap_pop(&h), &item.node);
    heap_done(&h);
}

int run_heap_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heap__agrees_with_a_search),
        cmocka_unit_test(test_heap__empty_and_unlinked_are_safe),
    };
    return cmocka_run_group_tests_name("base-heap", tests, NULL, NULL);
}
