#include "test-internal.h"

#include "meter-internal.h"

static void test_bucket__burst_then_rate(void **state)
{
    const BucketRule rule = {USEC_PER_SEC / 10, 5};
    Bucket b = {0};
    Usec now = 1000 * USEC_PER_SEC;
    for (int i = 0; i < 5; i++)
        assert_true(bucket_take(&b, &rule, now));
    assert_false(bucket_take(&b, &rule, now));
    assert_false(bucket_take(&b, &rule, now + USEC_PER_SEC / 10 - 1));
    assert_true(bucket_take(&b, &rule, now + USEC_PER_SEC / 10));
    assert_false(bucket_take(&b, &rule, now + USEC_PER_SEC / 10));
    now += 3600 * USEC_PER_SEC; /* never more than the burst */
    for (int i = 0; i < 5; i++)
        assert_true(bucket_take(&b, &rule, now));
    assert_false(bucket_take(&b, &rule, now));
    bucket_refill(&b);
    assert_true(bucket_take(&b, &rule, now));
}

/* How many of a frame a meter lets through at one instant, at most `most`. */
static unsigned count_let(uint8_t type, uint8_t flags, size_t payload, unsigned most, const char **ret_why)
{
    Peer p;
    H2Meter m;
    char zeros[64] = {0};
    unsigned n = 0;
    peer_init(&p);
    peer_frame(&p, type, flags, 1, (Str){zeros, payload});
    h2_meter_init(&m, false, 1000);
    while (n < most && !(*ret_why = h2_meter_scan(&m, buf_str(&p.out), USEC_PER_SEC)))
        n++;
    peer_done(&p);
    return n;
}

static void test_meter__each_kind_has_its_limit(void **state)
{
    static const struct {
        uint8_t type, flags;
        size_t payload;
        unsigned let; /* 100000: never stopped */
        const char *why;
    } rows[] = {
        {NGHTTP2_RST_STREAM, 0, 4, 1000, "too_many_resets"},
        {NGHTTP2_PING, 0, 8, 10, "too_many_pings"},
        {NGHTTP2_PING, NGHTTP2_FLAG_ACK, 8, 10000, "too_many_control_frames"},
        {NGHTTP2_SETTINGS, 0, 0, 30, "too_many_settings"},
        {NGHTTP2_DATA, 0, 0, 100, "too_many_empty_frames"},
        {NGHTTP2_DATA, NGHTTP2_FLAG_END_STREAM, 0, 100000, NULL},
        {NGHTTP2_DATA, 0, 1, 100000, NULL},
        {NGHTTP2_PRIORITY, 0, 5, 10000, "too_many_control_frames"},
        {NGHTTP2_WINDOW_UPDATE, 0, 4, 10000, "too_many_control_frames"},
        {0xbb, 0, 3, 10000, "too_many_control_frames"},
        {NGHTTP2_CONTINUATION, 0, 1, 8, "too_many_continuations"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *why;
        assert_int_equal(count_let(rows[i].type, rows[i].flags, rows[i].payload, 100000, &why), rows[i].let);
        assert_true(str_eqz(str_from(why), rows[i].why));
    }
}

static void test_meter__header_block_of_many_frames(void **state)
{
    Peer p;
    H2Meter m;
    char zeros[300] = {0};
    peer_init(&p);
    peer_frame(&p, NGHTTP2_HEADERS, 0, 1, (Str){zeros, 300});
    peer_frame(&p, NGHTTP2_CONTINUATION, 0, 1, (Str){zeros, 300});
    peer_frame(&p, NGHTTP2_CONTINUATION, NGHTTP2_FLAG_END_HEADERS, 1, (Str){zeros, 300});
    h2_meter_init(&m, false, 1000);
    for (int i = 0; i < 100; i++) /* a new block starts from nothing */
        assert_null(h2_meter_scan(&m, buf_str(&p.out), USEC_PER_SEC));
    peer_frame(&p, NGHTTP2_CONTINUATION, 0, 1, (Str){zeros, 300});
    assert_string_equal(h2_meter_scan(&m, buf_str(&p.out), USEC_PER_SEC), "header block too large");
    peer_done(&p);
}

static void test_meter__sees_frames_in_any_split(void **state)
{
    Peer p;
    peer_init(&p);
    peer_raw(&p, STR(NGHTTP2_CLIENT_MAGIC));
    for (int i = 0; i < 11; i++)
        peer_frame(&p, NGHTTP2_PING, 0, 0, STR("12345678"));
    for (size_t step = 1; step < 30; step++) {
        H2Meter m;
        const char *why = NULL;
        size_t at = 0;
        h2_meter_init(&m, true, 1000);
        for (; at < p.out.len && !why; at += step)
            why = h2_meter_scan(&m, str_slice(buf_str(&p.out), at, at + step), USEC_PER_SEC);
        assert_string_equal(why, "too_many_pings");
        assert_true(at > p.out.len - 8 - step);
    }
    peer_done(&p);
}

int run_meter_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bucket__burst_then_rate),
        cmocka_unit_test(test_meter__each_kind_has_its_limit),
        cmocka_unit_test(test_meter__header_block_of_many_frames),
        cmocka_unit_test(test_meter__sees_frames_in_any_split),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
