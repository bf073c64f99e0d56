#include "base/list.h"

#include "test-internal.h"

typedef struct Item {
    int n;
    ListLink link;
} Item;

static void assert_order(const List *list, const char *want)
{
    char got[32];
    size_t len = 0;
    LIST_FOREACH (list, it)
        got[len++] = (char)('0' + LIST_ENTRY(it, Item, link)->n);
    got[len] = '\0';
    assert_string_equal(got, want);
}

static void test_list__order_and_removal(void **state)
{
    List list;
    list_init(&list);
    assert_true(list_empty(&list));
    assert_null(list_pop_front(&list));
    Item items[5];
    for (int i = 0; i < 5; i++) {
        items[i].n = i;
        list_init(&items[i].link);
        assert_false(list_linked(&items[i].link));
        list_push_back(&list, &items[i].link);
        assert_true(list_linked(&items[i].link));
    }
    assert_order(&list, "01234");
    list_remove(&items[2].link);
    list_remove(&items[2].link);
    assert_order(&list, "0134");
    list_push_front(&list, &items[2].link);
    assert_order(&list, "20134");
    assert_ptr_equal(list_pop_front(&list), &items[2].link);
    list_insert_before(&items[3].link, &items[2].link);
    assert_order(&list, "01234");
}

static void test_list__removing_while_walking(void **state)
{
    List list;
    list_init(&list);
    Item items[6];
    for (int i = 0; i < 6; i++) {
        items[i].n = i;
        list_push_back(&list, &items[i].link);
    }
    LIST_FOREACH_SAFE (&list, it)
        if (LIST_ENTRY(it, Item, link)->n % 2 == 0)
            list_remove(it);
    assert_order(&list, "135");
    ListLink zeroed = {0};
    list_remove(&zeroed);
    assert_false(list_linked(&zeroed));
}

static void test_list__splice(void **state)
{
    List a, b;
    Item items[4];
    list_init(&a);
    list_init(&b);
    list_splice(&a, &b);
    assert_true(list_empty(&a));
    for (int i = 0; i < 4; i++) {
        items[i].n = i;
        list_push_back(i < 2 ? &a : &b, &items[i].link);
    }
    list_splice(&a, &b);
    assert_order(&a, "0123");
    assert_true(list_empty(&b));
    list_splice(&b, &a);
    assert_order(&b, "0123");
    list_remove(&items[3].link);
    list_remove(&items[0].link);
    assert_order(&b, "12");
}

int run_list_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list__order_and_removal),
        cmocka_unit_test(test_list__removing_while_walking),
        cmocka_unit_test(test_list__splice),
    };
    return cmocka_run_group_tests_name("base-list", tests, NULL, NULL);
}
