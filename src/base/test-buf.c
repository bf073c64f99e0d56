#include "base/buf.h"

#include <string.h>
#include "base/vec.h"
#include "test-internal.h"

static void test_buf__appends_and_stays_terminated(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(1000);
    assert_string_equal(buf_str(&b).ptr, "");
    assert_int_equal(buf_addz(&b, "abc"), 0);
    assert_int_equal(buf_addc(&b, '-'), 0);
    assert_int_equal(buf_adds(&b, STR("xyz")), 0);
    assert_int_equal(buf_adds(&b, STR_NULL), 0);
    assert_string_equal(b.data, "abc-xyz");
    assert_int_equal(b.len, 7);
    buf_consume(&b, 4);
    assert_string_equal(b.data, "xyz");
    buf_truncate(&b, 1);
    assert_string_equal(b.data, "x");
}

static void test_buf__maximum_is_exact_and_failure_sticks(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(4);
    assert_int_equal(buf_add(&b, "abcd", 4), 0);
    assert_int_equal(buf_addc(&b, 'e'), -(int)ERR_TOO_LARGE);
    assert_true(b.failed);
    assert_string_equal(b.data, "abcd");
    buf_truncate(&b, 0);
    assert_int_equal(buf_addc(&b, 'f'), -(int)ERR_TOO_LARGE);
    Err err;
    assert_int_equal(buf_check(&b, &err), -(int)ERR_TOO_LARGE);
    assert_string_equal(err.msg, "larger than 4 bytes");
    buf_clear(&b);
    assert_int_equal(buf_check(&b, &err), 0);
    assert_int_equal(buf_addc(&b, 'f'), 0);
    assert_string_equal(b.data, "f");
}

static void test_buf__growth_never_passes_the_maximum(void **state)
{
    for (size_t max = 0; max < 300; max += 7) {
        CLEANUP_BUF Buf b = BUF_INIT(max);
        for (size_t i = 0; i < max; i++) {
            assert_int_equal(buf_addc(&b, 'x'), 0);
            assert_true(b.cap <= max);
        }
        assert_true(buf_addc(&b, 'x') < 0);
        assert_int_equal(b.len, max);
    }
}

static void test_buf__impossible_sizes_fail(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(SIZE_MAX);
    assert_int_equal(buf_addz(&b, "kept"), 0);
    assert_null(buf_reserve(&b, SIZE_MAX - 4));
    assert_true(b.failed);
    assert_string_equal(b.data, "kept");
    buf_clear(&b);
    assert_null(buf_reserve(&b, SIZE_MAX));
    CLEANUP_BUF Buf none = BUF_INIT(0);
    assert_non_null(buf_reserve(&none, 0));
    assert_null(buf_reserve(&none, 1));
}

static void test_buf__formats_of_every_length(void **state)
{
    char word[301];
    memset(word, 'w', 300);
    word[300] = '\0';
    for (int len = 0; len <= 300; len += 3) {
        CLEANUP_BUF Buf b = BUF_INIT(1000);
        assert_int_equal(buf_addf(&b, "<%.*s>", len, word), 0);
        assert_int_equal(b.len, (size_t)len + 2);
        assert_int_equal(b.data[b.len - 1], '>');
    }
    CLEANUP_BUF Buf small = BUF_INIT(8);
    assert_int_equal(buf_addz(&small, "abc"), 0);
    assert_int_equal(buf_addf(&small, "%s", "123456"), -(int)ERR_TOO_LARGE);
    assert_string_equal(small.data, "abc");
}

static void test_buf__numbers(void **state)
{
    CLEANUP_BUF Buf b = BUF_INIT(1000);
    buf_add_u64(&b, 0);
    buf_addc(&b, ' ');
    buf_add_u64(&b, UINT64_MAX);
    buf_addc(&b, ' ');
    buf_add_i64(&b, INT64_MIN);
    buf_addc(&b, ' ');
    buf_add_i64(&b, 42);
    assert_string_equal(b.data, "0 18446744073709551615 -9223372036854775808 42");
}

static void test_buf__take_moves_out(void **state)
{
    Buf b = BUF_INIT(10);
    CLEANUP_FREE char *empty = buf_take(&b);
    assert_string_equal(empty, "");
    buf_addz(&b, "moved");
    CLEANUP_FREE char *text = buf_take(&b);
    assert_string_equal(text, "moved");
    assert_null(b.data);
    assert_int_equal(b.max, 10);
}

static void test_vec__grows_and_keeps_elements(void **state)
{
    VEC_OF(int)
    v = {0};
    VEC_FOREACH (&v, it)
        fail_msg("an empty vector has no element %p", (void *)it);
    for (int i = 0; i < 1000; i++)
        vec_push(&v, i);
    int next = 0;
    VEC_FOREACH (&v, it)
        assert_int_equal(*it, next++);
    assert_int_equal(next, 1000);
    assert_int_equal(vec_pop(&v), 999);
    vec_clear(&v);
    assert_int_equal(v.len, 0);
    vec_free(&v);
    assert_null(v.ptr);
}

int run_buf_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf__appends_and_stays_terminated),
        cmocka_unit_test(test_buf__maximum_is_exact_and_failure_sticks),
        cmocka_unit_test(test_buf__growth_never_passes_the_maximum),
        cmocka_unit_test(test_buf__impossible_sizes_fail),
        cmocka_unit_test(test_buf__formats_of_every_length),
        cmocka_unit_test(test_buf__numbers),
        cmocka_unit_test(test_buf__take_moves_out),
        cmocka_unit_test(test_vec__grows_and_keeps_elements),
    };
    return cmocka_run_group_tests_name("base-buf", tests, NULL, NULL);
}
