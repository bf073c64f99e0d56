#include "base/clock.h"

#include <time.h>
#include "test-internal.h"

static void test_rfc3339__formats(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z"},
        {1, "1970-01-01T00:00:00.000001Z"},
        {500000, "1970-01-01T00:00:00.500000Z"},
        {-1, "1969-12-31T23:59:59.999999Z"},
        {951782400000000, "2000-02-29T00:00:00Z"},
        {1775001600000000, "2026-04-01T00:00:00Z"},
        {1775001600100000, "2026-04-01T00:00:00.100000Z"},
        {4107542400000000, "2100-03-01T00:00:00Z"},
        {4107542399999999, "2100-02-28T23:59:59.999999Z"},
        {-62135596800000000, "0001-01-01T00:00:00Z"}, /* Go's zero time */
        {253402300799999999, "9999-12-31T23:59:59.999999Z"},
        {253402300800000000, "9999-12-31T23:59:59.999999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999999Z"},
        {-62167219200000000, "0000-01-01T00:00:00Z"},
        {INT64_MIN, "0000-01-01T00:00:00Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[RFC3339_MAX];
        assert_str_equal(rfc3339_format((WallUsec){cases[i].us}, out), cases[i].text);
        assert_string_equal(out, cases[i].text);
    }
}

static void test_rfc3339__parses(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T01:30:00+01:30", 0},
        {"1969-12-31T19:00:00-05:00", 0},
        {"1970-01-01T00:00:00.123456789Z", 123456},
        {"1970-01-01T00:00:00.1Z", 100000},
        {"2000-02-29T00:00:00Z", 951782400000000},
        {"1969-12-31T23:59:59.999999Z", -1},
        {"0000-01-01T00:00:00Z", -62167219200000000},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        WallUsec t = {42};
        assert_int_equal(rfc3339_parse(str_from(cases[i].text), &t), 0);
        if (t.us != cases[i].us)
            fail_msg("%s: got %lld", cases[i].text, (long long)t.us);
    }
}

static void test_rfc3339__refuses(void **state)
{
    static const char *const cases[] = {
        "",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01 00:00:00Z",
        "1970-1-01T00:00:00Z",
        "1970-00-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "1970-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2100-02-29T00:00:00Z",
        "1970-04-31T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:60Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00.1234567890Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+00:60",
        "1970-01-01T00:00:00+0000",
        "1970-01-01T00:00:00Zx",
        "1970-01-01T00:00:00,5Z",
        "+970-01-01T00:00:00Z",
        "1970-01-01T00:00:00 Z",
        "1970-01-01T00:00Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        WallUsec t = {42};
        if (rfc3339_parse(str_from(cases[i]), &t) == 0 || t.us != 42)
            fail_msg("took %s", cases[i]);
    }
}

/* Every day of years 0 to 9999, against a calendar that only counts. */
static void test_rfc3339__every_day_of_ten_thousand_years(void **state)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t us = -62167219200000000;
    for (int year = 0; year < 10000; year++) {
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        for (int month = 1; month <= 12; month++) {
            int days = lengths[month - 1] + (month == 2 && leap);
            for (int day = 1; day <= days; day++, us += 86400000000) {
                if (day > 1 && day < days && year % 50 != 0) /* the ends of months, and some years whole */
                    continue;
                char want[32], got[RFC3339_MAX];
                snprintf(want, sizeof(want), "%04d-%02d-%02dT00:00:00Z", year, month, day);
                Str text = rfc3339_format((WallUsec){us}, got);
                WallUsec back;
                if (!str_eqz(text, want) || rfc3339_parse(text, &back) < 0 || back.us != us)
                    fail_msg("%s: %s", want, got);
            }
        }
    }
}

static void test_rfc3339__random_times_round_trip_and_agree_with_libc(void **state)
{
    uint64_t seed = 1;
    for (int i = 0; i < 20000; i++) {
        int64_t us = (int64_t)((uint64_t)test_random(&seed) << 31 | test_random(&seed)) % 253402300800000000;
        if (i % 2)
            us = -(us % 62167219200000000);
        char out[RFC3339_MAX], want[40];
        WallUsec back;
        Str text = rfc3339_format((WallUsec){us}, out);
        assert_int_equal(rfc3339_parse(text, &back), 0);
        assert_true(back.us == us);
        time_t sec = (time_t)(us >= 0 ? us / 1000000 : -((-us + 999999) / 1000000));
        struct tm tm;
        gmtime_r(&sec, &tm);
        snprintf(want, sizeof(want), "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        assert_str_equal(str_slice(text, 0, 19), want);
    }
}

static void test_duration__parses(void **state)
{
    static const struct {
        const char *text;
        Usec us;
    } cases[] = {
        {"0", 0},
        {"+0", 0},
        {"0s", 0},
        {"250ms", 250000},
        {"45s", 45000000},
        {"1h30m", 5400000000},
        {"1h1m1s1ms1us", 3661001001},
        {"1.5h", 5400000000},
        {".5s", 500000},
        {"1.s", 1000000},
        {"1\xc2\xb5s", 1},
        {"1\xce\xbcs", 1},
        {"999ns", 0},
        {"500ns500ns", 1},
        {"+5m", 300000000},
        {"0.3333333333333333333h", 1199999999},
        {"2562047h47m16.854775807s", 9223372036854775},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Usec us = 42;
        if (duration_parse(str_from(cases[i].text), &us) < 0 || us != cases[i].us)
            fail_msg("%s: got %llu", cases[i].text, (unsigned long long)us);
    }
}

static void test_duration__refuses(void **state)
{
    static const char *const cases[] = {
        "",
        "1",
        "s",
        ".s",
        "-1s",
        "-0",
        "+",
        "1x",
        "1 s",
        "1s ",
        "1d",
        "1h-30m",
        "1S",
        "2562047h47m16.854775808s",
        "99999999999999999999h",
        "9999999999h",
        "1..5s",
        "--1s",
        "+-1s",
        "1sx",
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        Usec us = 42;
        if (duration_parse(str_from(cases[i]), &us) == 0 || us != 42)
            fail_msg("took \"%s\"", cases[i]);
    }
}

static void test_clock__fake_moves_only_when_told(void **state)
{
    FakeClock fake;
    fake_clock_init(&fake, (WallUsec){5});
    Usec start = clock_now(&fake.clock);
    assert_true(clock_now(&fake.clock) == start);
    fake_clock_advance(&fake, 7);
    assert_true(clock_now(&fake.clock) == start + 7);
    assert_true(clock_wall(&fake.clock).us == 12);
}

static void test_clock__system_does_not_go_back(void **state)
{
    Usec last = clock_now(&clock_system);
    for (int i = 0; i < 1000; i++) {
        Usec now = clock_now(&clock_system);
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_wall(&clock_system).us > 1600000000000000);
}

static void test_usec__saturates(void **state)
{
    assert_true(usec_add(1, 2) == 3);
    assert_true(usec_add(USEC_NEVER, 1) == USEC_NEVER);
    assert_true(usec_add(USEC_NEVER - 1, 5) == USEC_NEVER);
    assert_true(usec_sub(5, 3) == 2);
    assert_true(usec_sub(3, 5) == 0);
}

int run_clock_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc3339__formats),
        cmocka_unit_test(test_rfc3339__parses),
        cmocka_unit_test(test_rfc3339__refuses),
        cmocka_unit_test(test_rfc3339__every_day_of_ten_thousand_years),
        cmocka_unit_test(test_rfc3339__random_times_round_trip_and_agree_with_libc),
        cmocka_unit_test(test_duration__parses),
        cmocka_unit_test(test_duration__refuses),
        cmocka_unit_test(test_clock__fake_moves_only_when_told),
        cmocka_unit_test(test_clock__system_does_not_go_back),
        cmocka_unit_test(test_usec__saturates),
    };
    return cmocka_run_group_tests_name("base-clock", tests, NULL, NULL);
}
