#include "test-internal.h"

#include "message-internal.h"
#include "metadata-internal.h"

/* Three messages, one of them empty, cut at every pair of places. */
static void test_message__any_split_gives_the_same_messages(void **state)
{
    CLEANUP_BUF Buf all = BUF_INIT(256);
    grpc_framed(&all, STR("hello"));
    grpc_framed(&all, STR(""));
    grpc_framed(&all, STR("\0world"));
    for (size_t i = 0; i <= all.len; i++) {
        for (size_t j = i; j <= all.len; j++) {
            const size_t cut[] = {0, i, j, all.len};
            CLEANUP_BUF Buf got = BUF_INIT(256);
            CLEANUP(message_done) MessageReader r;
            message_init(&r, 100);
            for (size_t part = 0; part < 3; part++) {
                Str bytes = str_slice(buf_str(&all), cut[part], cut[part + 1]);
                while (bytes.len > 0)
                    if (message_read(&r, &bytes) == MESSAGE_COMPLETE) {
                        buf_adds(&got, message_body(&r));
                        buf_addc(&got, '|');
                        message_next(&r);
                    }
            }
            assert_true(str_eq(buf_str(&got), STR("hello||\0world|")));
            assert_false(message_is_partial(&r));
        }
    }
}

static void test_message__limit_and_flags(void **state)
{
    static const struct {
        Str bytes;
        MessageResult want;
    } rows[] = {
        {{"\0\0\0\0\4abcd", 9}, MESSAGE_COMPLETE},
        {{"\0\0\0\0\5", 5}, MESSAGE_TOO_LARGE},
        {{"\0\xff\xff\xff\xff", 5}, MESSAGE_TOO_LARGE},
        {{"\1\0\0\0\4abcd", 9}, MESSAGE_COMPRESSED},
        {{"\2\0\0\0\4abcd", 9}, MESSAGE_BAD_FLAG},
        {{"\xff\0\0\0\4abcd", 9}, MESSAGE_BAD_FLAG},
        {{"\0\0\0\0", 4}, MESSAGE_MORE},
        {{"\0\0\0\0\4abc", 8}, MESSAGE_MORE},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(message_done) MessageReader r;
        Str bytes = rows[i].bytes;
        message_init(&r, 4);
        assert_int_equal(message_read(&r, &bytes), rows[i].want);
        assert_int_equal(message_is_partial(&r), rows[i].want == MESSAGE_MORE || r.body.len < r.length);
    }
}

static void test_metadata__values_stay_apart_and_the_first_counts(void **state)
{
    CLEANUP(metadata_done) Metadata m;
    metadata_init(&m, 4096);
    assert_true(metadata_add(&m, STR("authorization"), STR(" Bearer a ")));
    assert_true(metadata_add(&m, STR("authorization"), STR("Bearer b, Bearer c")));
    assert_true(str_eq(metadata_get(&m, "authorization"), STR("Bearer a")));
    assert_int_equal(metadata_count(&m, "authorization"), 2);
    assert_null(metadata_get(&m, "authorizatio").ptr);
    assert_true(metadata_add(&m, STR("empty"), STR("")));
    assert_non_null(metadata_get(&m, "empty").ptr);
}

static void test_metadata__binary_values_are_split_and_decoded(void **state)
{
    CLEANUP(metadata_done) Metadata m;
    metadata_init(&m, 4096);
    assert_true(metadata_add(&m, STR("x-bin"), STR("AAEC,Zg==, Zm8")));
    assert_int_equal(metadata_count(&m, "x-bin"), 3);
    assert_true(str_eq(metadata_get(&m, "x-bin"), (Str){"\0\1\2", 3}));
    assert_false(m.bad_base64);
    assert_true(metadata_add(&m, STR("y-bin"), STR("!")));
    assert_true(m.bad_base64);
}

static void test_metadata__limit(void **state)
{
    CLEANUP(metadata_done) Metadata m;
    metadata_init(&m, 100);
    assert_true(metadata_add(&m, STR("a"), STR("b")));  /* 34 as SETTINGS count */
    assert_true(metadata_add(&m, STR("a"), STR("b")));  /* 68 */
    assert_false(metadata_add(&m, STR("a"), STR("b"))); /* 102 */
}

int run_message_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_message__any_split_gives_the_same_messages),
        cmocka_unit_test(test_message__limit_and_flags),
        cmocka_unit_test(test_metadata__values_stay_apart_and_the_first_counts),
        cmocka_unit_test(test_metadata__binary_values_are_split_and_decoded),
        cmocka_unit_test(test_metadata__limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
