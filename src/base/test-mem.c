#include "base/mem.h"

#include <string.h>
#include "test-internal.h"

static void test_mem__zero_sizes_give_memory(void **state)
{
    CLEANUP_FREE void *a = xmalloc(0);
    CLEANUP_FREE void *b = xcalloc(0, 0);
    CLEANUP_FREE void *c = try_malloc(0);
    assert_non_null(c);
    a = xrealloc(a, 0);
    assert_non_null(a);
    assert_non_null(b);
}

static void test_mem__copies(void **state)
{
    CLEANUP_FREE char *a = xstrdup("abc");
    assert_string_equal(a, "abc");
    CLEANUP_FREE char *b = xstrndup("abcdef", 3);
    assert_string_equal(b, "abc");
    CLEANUP_FREE char *c = xstrndup(NULL, 0);
    assert_string_equal(c, "");
    const char unterminated[3] = {'x', '\0', 'y'};
    CLEANUP_FREE char *e = xstrndup(unterminated, 1000); /* ends at the NUL */
    assert_string_equal(e, "x");
    CLEANUP_FREE char *f = xmemdup0(unterminated, 3);
    assert_memory_equal(f, "x\0y\0", 4);
    CLEANUP_FREE char *d = xasprintf("%s-%d", "x", 7);
    assert_string_equal(d, "x-7");
}

static void test_mem__take_moves_out(void **state)
{
    char *a = xstrdup("abc");
    CLEANUP_FREE char *b = TAKE(a);
    assert_null(a);
    assert_string_equal(b, "abc");
}

static void test_mem__try_functions_report(void **state)
{
    volatile size_t huge = SIZE_MAX / 2;
    assert_null(try_malloc(huge));
    CLEANUP_FREE char *p = xstrdup("stays");
    assert_null(try_realloc(p, huge));
    assert_string_equal(p, "stays");
}

int run_mem_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem__zero_sizes_give_memory),
        cmocka_unit_test(test_mem__copies),
        cmocka_unit_test(test_mem__take_moves_out),
        cmocka_unit_test(test_mem__try_functions_report),
    };
    return cmocka_run_group_tests_name("base-mem", tests, NULL, NULL);
}
