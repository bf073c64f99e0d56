/* Operations whose sizes come from outside, with the first, second, third ... allocation failing. */
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "test-internal.h"

/* The linker puts this in the place of try_realloc (--wrap). */
void *__real_try_realloc(void *p, size_t size);
void *__wrap_try_realloc(void *p, size_t size);

static int allocations_left = -1; /* -1: no fault */

void *__wrap_try_realloc(void *p, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    if (allocations_left > 0)
        allocations_left--;
    return __real_try_realloc(p, size);
}

static void fill(Buf *b)
{
    for (int i = 0; i < 100; i++) {
        buf_addf(b, "%d,", i);
        buf_addz(b, "text,");
        char *to = buf_reserve(b, 10);
        if (to) {
            memset(to, 'r', 10);
            buf_commit(b, 10);
        }
    }
}

static void test_fault__buf_keeps_what_it_has(void **state)
{
    CLEANUP_BUF Buf whole = BUF_INIT(10000);
    fill(&whole);
    int faults = 0;
    for (;; faults++) {
        CLEANUP_BUF Buf b = BUF_INIT(10000);
        allocations_left = faults;
        fill(&b);
        allocations_left = -1;
        assert_true(str_starts(buf_str(&whole), buf_str(&b)));
        if (!b.failed)
            break;
        assert_int_equal(buf_check(&b, NULL), -(int)ERR_TOO_LARGE);
        CLEANUP_FREE char *taken = buf_take(&b);
        assert_non_null(taken);
    }
    assert_true(faults > 2);
}

static void test_fault__file_read_says_so(void **state)
{
    char dir_template[] = "/tmp/test-base-fault-XXXXXX";
    char *dir = test_dir(dir_template);
    CLEANUP_FREE char *path = path_join(dir, "x");
    char content[50000];
    memset(content, 'x', sizeof(content));
    assert_int_equal(file_write_atomic(path, (Str){content, sizeof(content)}, 0600, NULL), 0);
    int faults = 0, r;
    do {
        CLEANUP_BUF Buf b = BUF_INIT(100000);
        Err err = {0};
        allocations_left = faults++;
        r = file_read(path, &b, &err);
        allocations_left = -1;
        assert_int_equal(r, err.code == ERR_OK ? 0 : -(int)ERR_TOO_LARGE);
    } while (r < 0);
    assert_true(faults > 2);
    assert_int_equal(dir_remove_tree(dir, NULL), 0);
}

int run_fault_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault__buf_keeps_what_it_has),
        cmocka_unit_test(test_fault__file_read_says_so),
    };
    return cmocka_run_group_tests_name("base-fault", tests, NULL, NULL);
}
