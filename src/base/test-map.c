#include "base/map.h"

#include "siphash-internal.h"
#include "test-internal.h"

#define KEYS 500

static Str key_of(size_t i, char out[static 16])
{
    int len = snprintf(out, 16, "key-%zu", i);
    return (Str){out, (size_t)len};
}

static void test_siphash__reference_vectors(void **state)
{
    /* Key 00..0f, input 00..len-1; from the SipHash paper and its reference code (2-4). */
    const SipKey key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
    char input[16];
    for (size_t i = 0; i < sizeof(input); i++)
        input[i] = (char)i;
    assert_true(siphash(2, 4, key, (Str){input, 0}) == 0x726fdb47dd0e0e31);
    assert_true(siphash(2, 4, key, (Str){input, 8}) == 0x93f5f5799a932462);
    assert_true(siphash(2, 4, key, (Str){input, 15}) == 0xa129ca6149be45e5);
    assert_true(siphash(1, 3, key, (Str){input, 0}) == 0xabac0158050fc4dc);
}

static void test_map__agrees_with_an_array(void **state)
{
    CLEANUP(map_freep) Map *m = map_new();
    void *model[KEYS] = {0};
    size_t count = 0;
    uint64_t seed = 7;
    for (int step = 0; step < 100000; step++) {
        size_t i = test_random(&seed) % KEYS;
        char text[16];
        Str key = key_of(i, text);
        if (test_random(&seed) % 5 < 2) {
            assert_ptr_equal(map_remove(m, key), model[i]);
            count -= model[i] != NULL;
            model[i] = NULL;
        } else {
            void *value = &model[test_random(&seed) % KEYS];
            assert_ptr_equal(map_put(m, key, value), model[i]);
            count += model[i] == NULL;
            model[i] = value;
        }
        assert_int_equal(map_len(m), count);
        i = test_random(&seed) % KEYS;
        key = key_of(i, text);
        assert_ptr_equal(map_get(m, key), model[i]);
        assert_int_equal(map_has(m, key), model[i] != NULL);
    }
}

static void test_map__iteration_sees_each_once_and_allows_removal(void **state)
{
    CLEANUP(map_freep) Map *m = map_new();
    bool seen[KEYS] = {false};
    char text[16];
    for (size_t i = 0; i < KEYS; i++)
        map_put(m, key_of(i, text), &seen[i]);
    size_t n = 0;
    MAP_FOREACH (m, it) {
        bool *flag = it.value;
        assert_false(*flag);
        *flag = true;
        assert_str_equal(key_of((size_t)(flag - seen), text), it.key.ptr);
        if (n++ % 3)
            assert_ptr_equal(map_remove(m, it.key), flag);
    }
    assert_int_equal(n, KEYS);
    assert_int_equal(map_len(m), (KEYS + 2) / 3);
    MAP_FOREACH (m, it)
        n--;
    assert_int_equal(n, KEYS - (KEYS + 2) / 3);
}

static void test_map__churn_does_not_grow_without_bound(void **state)
{
    CLEANUP(map_freep) Map *m = map_new();
    char text[16];
    for (size_t i = 0; i < 200000; i++) { /* a search in a map full of tombstones would never end */
        map_put(m, key_of(i, text), m);
        assert_ptr_equal(map_remove(m, key_of(i, text)), m);
    }
    assert_int_equal(map_len(m), 0);
    assert_null(map_get(m, STR("key-1")));
    MapIter it = {.map = m};
    assert_false(map_next(&it));
    assert_true(it.pos <= 16);
}

static void test_map__keys_are_bytes_and_copied(void **state)
{
    CLEANUP(map_freep) Map *m = map_new();
    char key[4] = {'a', '\0', 'b', 'c'};
    map_put(m, (Str){key, 4}, key);
    map_put(m, STR_NULL, m);
    key[0] = 'x';
    assert_ptr_equal(map_get(m, (Str){"a\0bc", 4}), key);
    assert_null(map_get(m, (Str){"a", 1}));
    assert_ptr_equal(map_get(m, STR("")), m);
    map_put(m, STR("nothing"), NULL);
    assert_true(map_has(m, STR("nothing")));
    map_clear(m);
    assert_int_equal(map_len(m), 0);
    assert_false(map_has(m, STR("")));
    assert_null(map_put(m, STR("again"), m));
    assert_null(map_free(NULL));
}

int run_map_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_siphash__reference_vectors),
        cmocka_unit_test(test_map__agrees_with_an_array),
        cmocka_unit_test(test_map__iteration_sees_each_once_and_allows_removal),
        cmocka_unit_test(test_map__churn_does_not_grow_without_bound),
        cmocka_unit_test(test_map__keys_are_bytes_and_copied),
    };
    return cmocka_run_group_tests_name("base-map", tests, NULL, NULL);
}
