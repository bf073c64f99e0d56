#include "base/secret.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "test-internal.h"

static void test_secret__compares(void **state)
{
    CLEANUP(secret_freep) Secret *s = secret_new(STR("hunter2"));
    CLEANUP(secret_freep) Secret *empty = secret_new(STR(""));
    assert_true(secret_equals(s, STR("hunter2")));
    static const char *const others[] = {"", "hunter", "hunter22", "Hunter2", "hunter3", "hunter2hunter2"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(secret_equals(s, str_from(others[i])));
    assert_false(secret_equals(empty, STR("")));
    assert_false(secret_equals(NULL, STR("")));
    assert_true(secret_is_empty(empty));
    assert_true(secret_is_empty(NULL));
    assert_false(secret_is_empty(s));
    assert_str_equal(secret_reveal(s), "hunter2");
    assert_int_equal(secret_reveal(NULL).len, 0);
    assert_null(secret_free(NULL));
}

static void test_secret__every_size_is_kept_apart(void **state)
{
    enum { N = 400 };
    static Secret *all[N];
    static char text[N * 40];
    uint64_t seed = 11;
    for (int round = 0; round < 5; round++) {
        for (size_t i = 0; i < N; i++) {
            if (all[i]) {
                Str v = secret_reveal(all[i]);
                for (size_t at = 0; at < v.len; at++)
                    assert_int_equal(v.ptr[at], (char)i);
                assert_int_equal(v.ptr[v.len], '\0');
                if (test_random(&seed) % 2)
                    continue;
            }
            all[i] = secret_free(all[i]);
            size_t len = test_random(&seed) % (i * 40 + 1);
            memset(text, (int)i, len);
            all[i] = secret_new((Str){text, len});
        }
    }
    for (size_t i = 0; i < N; i++)
        all[i] = secret_free(all[i]);
}

static void test_secret__is_erased(void **state)
{
    Secret *s = secret_new(STR("0123456789abcdef0123456789abcdef"));
    const volatile char *where = secret_reveal(s).ptr;
    secret_free(s); /* the slot stays mapped */
    for (size_t i = 0; i < 32; i++)
        assert_int_equal(where[i], 0);
}

static void write_file(const char *path, Str content, mode_t mode)
{
    assert_int_equal(file_write_atomic(path, content, mode, NULL), 0);
}

static void test_secret__from_file(void **state)
{
    char dir_template[] = "/tmp/test-base-secret-XXXXXX";
    char *dir = test_dir(dir_template);
    CLEANUP_FREE char *path = path_join(dir, "token");
    CLEANUP(secret_freep) Secret *s = NULL;
    Err err = {0};
    assert_int_equal(secret_from_file(path, &s, &err), -(int)ERR_NOT_FOUND);
    write_file(path, STR("  tok\n second\n"), 0600);
    assert_int_equal(secret_from_file(path, &s, &err), 0);
    assert_true(secret_equals(s, STR("tok")));
    write_file(path, STR("tok"), 0602);
    assert_int_equal(chmod(path, 0602), 0);
    CLEANUP(secret_freep) Secret *none = NULL;
    assert_int_equal(secret_from_file(path, &none, &err), -(int)ERR_INVALID);
    write_file(path, STR("\nsecond\n"), 0600);
    assert_int_equal(secret_from_file(path, &none, &err), -(int)ERR_INVALID);
    assert_int_equal(secret_from_file(dir, &none, &err), -(int)ERR_INVALID);
    static char large[64 * 1024 + 1];
    memset(large, 'x', sizeof(large));
    write_file(path, (Str){large, sizeof(large)}, 0600);
    assert_int_equal(secret_from_file(path, &none, &err), -(int)ERR_TOO_LARGE);
    assert_null(none);
    write_file(path, (Str){large, sizeof(large) - 1}, 0600);
    assert_int_equal(secret_from_file(path, &none, &err), 0);
    assert_int_equal(secret_reveal(none).len, sizeof(large) - 1);
    assert_int_equal(dir_remove_tree(dir, &err), 0);
}

static void test_secret__from_env(void **state)
{
    setenv("TEST_BASE_SECRET", "v", 1);
    CLEANUP(secret_freep) Secret *s = secret_from_env("TEST_BASE_SECRET");
    assert_true(secret_equals(s, STR("v")));
    setenv("TEST_BASE_SECRET", "", 1);
    assert_null(secret_from_env("TEST_BASE_SECRET"));
    unsetenv("TEST_BASE_SECRET");
    assert_null(secret_from_env("TEST_BASE_SECRET"));
}

int run_secret_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_secret__compares),  cmocka_unit_test(test_secret__every_size_is_kept_apart),
        cmocka_unit_test(test_secret__is_erased), cmocka_unit_test(test_secret__from_file),
        cmocka_unit_test(test_secret__from_env),
    };
    return cmocka_run_group_tests_name("base-secret", tests, NULL, NULL);
}
