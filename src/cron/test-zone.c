/* Zones: files of the system against libc, and bytes that are no zone. */
#include <stdlib.h>
#include <time.h>
#include "base/file.h"
#include "test-internal.h"

/* libc judges: its one zone per process is what our own code avoids. */
static void check_against_libc(const char *name, int64_t from, int64_t to, int64_t step)
{
    CLEANUP(zone_freep) Zone *z = zone(name);
    assert_int_equal(setenv("TZ", name, 1), 0);
    tzset();
    for (int64_t t = from; t < to; t += step) {
        time_t when = (time_t)t;
        struct tm tm;
        ZoneSpan s;
        assert_non_null(localtime_r(&when, &tm));
        zone_span(z, t, &s);
        if (s.offset != tm.tm_gmtoff || s.start > t || s.end <= t)
            fail_msg("%s at %lld: %d and not %ld", name, (long long)t, s.offset, tm.tm_gmtoff);
    }
}

static void test_zone__offsets_are_libcs(void **state)
{
    static const char *const names[] = {
        "UTC",          "Europe/Berlin",   "America/New_York",  "Australia/Lord_Howe", "Europe/Dublin",
        "Asia/Kolkata", "Africa/Cairo",    "Pacific/Apia",      "America/Sao_Paulo",   "Asia/Tehran",
        "America/Nuuk", "Asia/Gaza",       "Africa/Casablanca", "Antarctica/Troll",    "Pacific/Chatham",
        "Etc/GMT+12",   "America/Santiago"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        check_against_libc(names[i], INT64_C(-2208988800), INT64_C(4102444800),
                           86400 * 3 + 3607);                                         /* 1900..2100 */
        check_against_libc(names[i], INT64_C(1767225600), INT64_C(1798761600), 1800); /* 2026 */
    }
    unsetenv("TZ");
}

static void test_zone__spans_join(void **state)
{
    CLEANUP(zone_freep) Zone *z = zone("Europe/Berlin");
    ZoneSpan s, next;
    zone_span(z, at("1900-01-01T00:00:00Z").us / 1000000, &s);
    for (int i = 0; i < 400; i++, s = next) {
        assert_true(s.end != INT64_MAX);
        zone_span(z, s.end, &next);
        assert_int_equal(next.start, s.end);
        assert_int_equal(next.before, s.offset);
        ZoneSpan last;
        zone_span(z, s.end - 1, &last);
        assert_int_equal(last.offset, s.offset);
        assert_int_equal(last.end, s.end);
    }
    assert_true(s.start > at("2060-01-01T00:00:00Z").us / 1000000);
}

static void test_zone__names_stay_inside(void **state)
{
    static const char *const names[] = {"Nowhere/Atall",
                                        "../../../etc/passwd",
                                        "/etc/localtime",
                                        "Europe/../Europe/Berlin",
                                        "Europe",
                                        "zone.tab",
                                        "tzdata.zi",
                                        "Europe/Berlin ",
                                        " ",
                                        "Europe\\Berlin",
                                        ".",
                                        "right/UTC2",
                                        "europe/Berlin2"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        Zone *z = NULL;
        Err err = {0};
        if (zone_load(NULL, str_from(names[i]), &z, &err) != -ERR_INVALID)
            fail_msg("%s was taken", names[i]);
        assert_null(z);
        assert_true(str_starts(str_from(err.msg), STR("unknown time zone")));
    }
    Zone *z = NULL;
    assert_int_equal(zone_load(NULL, (Str){"UTC\0x", 5}, &z, NULL), -ERR_INVALID);
    assert_int_equal(zone_load("/nonexistent", STR("Europe/Berlin"), &z, NULL), -ERR_INVALID);
    assert_int_equal(zone_load("/nonexistent", STR("UTC"), &z, NULL), 0);
    zone_free(z);
}

static int parse_copy(Str bytes)
{
    /* Of its own length exactly, so that a sanitizer sees every byte too many. */
    char *copy = xmemdup0(bytes.ptr, bytes.len);
    CLEANUP_FREE char *exact = xmalloc(bytes.len ? bytes.len : 1);
    memcpy(exact, copy, bytes.len);
    free(copy);
    Zone *z = NULL;
    int rc = zone_parse((Str){exact, bytes.len}, &z, NULL);
    zone_free(z);
    return rc;
}

static void test_zone__files_that_are_cut_off_are_refused(void **state)
{
    CLEANUP_BUF Buf file = BUF_INIT(1 << 20);
    assert_int_equal(file_read(ZONE_DIR "/Europe/Berlin", &file, NULL), 0);
    assert_int_equal(parse_copy(buf_str(&file)), 0);
    for (size_t len = 0; len < file.len; len++)
        assert_int_equal(parse_copy((Str){file.data, len}), -ERR_CORRUPT);
}

/* A file by hand: one block of version 1 with the given counts. */
static int parse_version_1(uint8_t times, uint8_t types, uint8_t leap, const char *data, size_t len)
{
    char bytes[256] = "TZif";
    bytes[31] = (char)leap;
    bytes[35] = (char)times;
    bytes[39] = (char)types;
    memcpy(bytes + 44, data, len);
    return parse_copy((Str){bytes, 44 + len});
}

static void test_zone__contents_are_checked(void **state)
{
    assert_int_equal(parse_version_1(0, 1, 0, "\0\0\x0e\x10\0\0", 6), 0);
    assert_int_equal(parse_version_1(0, 0, 0, "", 0), -ERR_CORRUPT);
    assert_int_equal(parse_version_1(0, 1, 0, "\x7f\0\0\0\0\0", 6), -ERR_CORRUPT); /* offset */
    assert_int_equal(parse_version_1(1, 1, 0, "\0\0\0\x01\0\0\0\0\0\0\0", 11), 0);
    assert_int_equal(parse_version_1(1, 1, 0, "\0\0\0\x01\x01\0\0\0\0\0\0", 11),
                     -ERR_CORRUPT); /* type 1 of 1 */
    assert_int_equal(parse_version_1(2, 1, 0, "\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0", 16),
                     -ERR_CORRUPT); /* order */
    assert_int_equal(parse_version_1(0, 1, 1, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 14),
                     -ERR_CORRUPT); /* leap seconds */
}

int run_zone_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zone__offsets_are_libcs),
        cmocka_unit_test(test_zone__spans_join),
        cmocka_unit_test(test_zone__names_stay_inside),
        cmocka_unit_test(test_zone__files_that_are_cut_off_are_refused),
        cmocka_unit_test(test_zone__contents_are_checked),
    };
    return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
