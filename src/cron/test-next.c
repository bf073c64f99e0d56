/* When an expression is due, above all where clocks are moved. */
#include "base/civil.h"
#include "test-internal.h"

#define ROW_TIMES 6
typedef struct Row {
    const char *text, *zone, *after;
    const char *due[ROW_TIMES]; /* in order; NULL = not looked at */
} Row;

static void check_row(const Row *row)
{
    CLEANUP(zone_freep) Zone *z = zone(row->zone);
    Cron c = expression(row->text);
    WallUsec t = at(row->after);
    for (size_t i = 0; i < ROW_TIMES && row->due[i]; i++) {
        char text[RFC3339_MAX];
        Err err = {0};
        if (cron_next(&c, z, t, &t, &err) < 0)
            fail_msg("%s %s: %s", row->text, row->zone, err.msg);
        rfc3339_format(t, text);
        if (strcmp(text, row->due[i]) != 0)
            fail_msg("%s %s behind %s: %zu. is %s and not %s", row->text, row->zone, row->after, i, text,
                     row->due[i]);
    }
}

static void check_rows(const Row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_row(&rows[i]);
}

static void test_next__walks_the_calendar(void **state)
{
    static const Row rows[] = {
        {"* * * * *", "UTC", "2026-01-01T00:00:00Z", {"2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"}},
        {"* * * * *", "UTC", "2025-12-31T23:59:59.999999Z", {"2026-01-01T00:00:00Z"}},
        {"* * * * *", "", "2025-12-31T23:58:00.000001Z", {"2025-12-31T23:59:00Z"}},
        {"0 9 * * 1-5", "UTC", "2026-01-02T09:00:00Z", {"2026-01-05T09:00:00Z", "2026-01-06T09:00:00Z"}},
        {"0 0 1 * *", "UTC", "2026-01-31T10:00:00Z", {"2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"}},
        {"0 0 31 * *", "UTC", "2026-01-31T10:00:00Z", {"2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z"}},
        {"0 0 29 2 *", "UTC", "2025-01-01T00:00:00Z", {"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
        {"0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", {"2104-02-29T00:00:00Z"}}, /* 2100 has none */
        {"0 0 29 2 */7",
         "UTC",
         "2032-02-29T00:00:00Z",
         {"2060-02-29T00:00:00Z", "2088-02-29T00:00:00Z", "2128-02-29T00:00:00Z"}},
        /* Both days restricted: either will do. One begins with a star: both must fit. */
        {"0 0 13 * 5",
         "UTC",
         "2026-02-01T00:00:00Z",
         {"2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"}},
        {"0 0 */12 * 5", "UTC", "2026-02-01T00:00:00Z", {"2026-02-13T00:00:00Z", "2026-03-13T00:00:00Z"}},
        {"59 23 31 12 *", "UTC", "2026-12-31T23:59:00Z", {"2027-12-31T23:59:00Z"}},
        {"0 0 1 1 *", "UTC", "1969-06-01T00:00:00Z", {"1970-01-01T00:00:00Z"}},
        {"30 4 * * *", "Asia/Kolkata", "2026-05-01T00:00:00Z", {"2026-05-01T23:00:00Z"}},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

/* What the clock jumps over: a fixed time is due at the jump, once; others are not due. */
static void test_next__in_spring(void **state)
{
    static const Row rows[] = {
        {"30 2 * * *",
         "Europe/Berlin",
         "2026-03-28T12:00:00Z",
         {"2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
        {"0,15,30,45 2 * * *",
         "Europe/Berlin",
         "2026-03-29T00:00:00Z",
         {"2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"}},
        {"0,30 2-3 * * *",
         "Europe/Berlin",
         "2026-03-29T00:00:00Z",
         {"2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:00:00Z"}},
        {"0 3 * * *",
         "Europe/Berlin",
         "2026-03-29T00:00:00Z",
         {"2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"}},
        {"30 2 29 3 *",
         "Europe/Berlin",
         "2026-01-01T00:00:00Z",
         {"2026-03-29T01:00:00Z", "2027-03-29T00:30:00Z"}},
        {"30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", {"2026-03-30T00:30:00Z"}},
        {"30 * * * *",
         "Europe/Berlin",
         "2026-03-29T00:00:00Z",
         {"2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"}},
        {"*/20 2 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", {"2026-03-30T00:00:00Z"}},
        {"30 2 * * *",
         "America/New_York",
         "2026-03-07T20:00:00Z",
         {"2026-03-08T07:00:00Z", "2026-03-09T06:30:00Z"}},
        {"15 2 * * *",
         "Australia/Lord_Howe",
         "2026-10-03T00:00:00Z",
         {"2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"}}, /* half an hour */
        {"0 9 * * *",
         "Pacific/Apia",
         "2011-12-29T00:00:00Z", /* a whole day: 30 December was not */
         {"2011-12-29T19:00:00Z", "2011-12-30T10:00:00Z", "2011-12-30T19:00:00Z"}},
        {"30 2 * * *",
         "Europe/Berlin",
         "2060-03-27T12:00:00Z",
         {"2060-03-28T01:00:00Z"}}, /* by the footer's rule */
    };
    check_rows(rows, ARRAY_LEN(rows));
}

/* What the clock shows twice: a fixed time is due the first time only; others each time. */
static void test_next__in_autumn(void **state)
{
    static const Row rows[] = {
        {"30 2 * * *",
         "Europe/Berlin",
         "2026-10-24T12:00:00Z",
         {"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
        {"30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", {"2026-10-26T01:30:00Z"}},
        {"30 2 * * *",
         "Europe/Berlin",
         "2026-10-25T01:10:00Z",
         {"2026-10-26T01:30:00Z"}}, /* in the second hour */
        {"0,30 1-3 * * *",
         "Europe/Berlin",
         "2026-10-24T23:00:00Z",
         {"2026-10-24T23:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T02:00:00Z",
          "2026-10-25T02:30:00Z", "2026-10-26T00:00:00Z"}},
        {"30 * * * *",
         "Europe/Berlin",
         "2026-10-25T00:00:00Z",
         {"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"}},
        {"30 1 * * *",
         "America/New_York",
         "2026-10-31T12:00:00Z",
         {"2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z"}},
        {"30 */1 * * *",
         "America/New_York",
         "2026-11-01T05:00:00Z",
         {"2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"}},
        {"45 1 * * *",
         "Australia/Lord_Howe",
         "2026-04-04T12:00:00Z",
         {"2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"}},
        {"*/15 1 * * *",
         "Australia/Lord_Howe",
         "2026-04-04T14:00:00Z",
         {"2026-04-04T14:15:00Z", "2026-04-04T14:30:00Z", "2026-04-04T14:45:00Z", "2026-04-04T15:00:00Z",
          "2026-04-04T15:15:00Z", "2026-04-05T14:30:00Z"}},
        {"30 2 * * *",
         "Europe/Berlin",
         "2060-10-30T12:00:00Z",
         {"2060-10-31T00:30:00Z", "2060-11-01T01:30:00Z"}},
    };
    check_rows(rows, ARRAY_LEN(rows));
}

/* ---- against the definition, minute by minute ---- */

#define MINUTE 60

static bool shows(const Cron *c, int64_t local)
{
    int64_t days = local / 86400, rest = local % 86400;
    Civil d = civil_from_days(days);
    bool day = c->days >> d.day & 1, weekday = c->weekdays >> weekday_of_days(days) & 1;
    bool both = c->any_day || c->any_weekday;
    return (c->months >> d.month & 1) && (both ? day && weekday : day || weekday) &&
           (c->hours >> (rest / 3600) & 1) && (c->minutes >> (rest / 60 % 60) & 1);
}

static int32_t offset_at(const Zone *z, int64_t t)
{
    ZoneSpan s;
    zone_span(z, t, &s);
    return s.offset;
}

/* The clock shows `local` at t; was it shown, or jumped over, before? */
static bool due_by_definition(const Cron *c, const Zone *z, int64_t t, int64_t *seen)
{
    int64_t local = t + offset_at(z, t);
    bool due = false;
    if (!c->fixed)
        return shows(c, local);
    for (int64_t l = *seen + MINUTE; l <= local; l += MINUTE)
        due = due || shows(c, l);
    if (local > *seen)
        *seen = local;
    return due;
}

static void check_a_year(const char *text, const char *zone_name, int year)
{
    CLEANUP(zone_freep) Zone *z = zone(zone_name);
    Cron c = expression(text);
    int64_t t = days_from_civil((Civil){year, 1, 1}) * 86400,
            end = days_from_civil((Civil){year + 1, 1, 1}) * 86400;
    int64_t seen = t + offset_at(z, t);
    WallUsec next = {t * (int64_t)USEC_PER_SEC};
    assert_int_equal(cron_next(&c, z, next, &next, NULL), 0);
    for (t += MINUTE; t < end; t += MINUTE) {
        bool due = due_by_definition(&c, z, t, &seen);
        if (due != (next.us == t * (int64_t)USEC_PER_SEC))
            fail_msg("%s %s: %lld", text, zone_name, (long long)t);
        if (due)
            assert_int_equal(cron_next(&c, z, next, &next, NULL), 0);
    }
}

static void test_next__is_what_the_definition_says(void **state)
{
    static const char *const zones[] = {
        "UTC",          "Europe/Berlin",    "America/New_York", "Australia/Lord_Howe",
        "Asia/Kolkata", "America/Sao_Paulo"};
    static const char *const texts[] = {"30 2 * * *",     "*/7 * * * *",    "0,30 0-3 * * *", "15 1 1,15 * *",
                                        "45 1,2,3 * * 0", "5 */3 * 3-10 *", "0 0 29 2 *",     "59 23 * * *"};
    static const int years[] = {2008, 2026, 2060}; /* clocks of Sao Paulo were last moved in 2019 */
    for (size_t z = 0; z < ARRAY_LEN(zones); z++)
        for (size_t i = 0; i < ARRAY_LEN(texts); i++)
            check_a_year(texts[i], zones[z], years[(z + i) % ARRAY_LEN(years)]);
}

static void test_next__gives_up_when_a_zone_leaves_nothing(void **state)
{
    /* Wildcards are not due in what the clock jumps over: 30 December 2011 in Samoa is no day. */
    CLEANUP(zone_freep) Zone *z = zone("Pacific/Apia");
    Cron c = expression("*/30 * 30 12 *");
    WallUsec t = at("2011-12-01T00:00:00Z");
    assert_int_equal(cron_next(&c, z, t, &t, NULL), 0);
    assert_int_equal(t.us, at("2012-12-29T10:00:00Z").us);
    Cron never = expression("0 0 29 2 *");
    never.days = 1u << 30; /* as no parser makes it */
    Err err = {0};
    assert_int_equal(cron_next(&never, NULL, t, &t, &err), -ERR_NOT_FOUND);
}

int run_next_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_next__walks_the_calendar),
        cmocka_unit_test(test_next__in_spring),
        cmocka_unit_test(test_next__in_autumn),
        cmocka_unit_test(test_next__is_what_the_definition_says),
        cmocka_unit_test(test_next__gives_up_when_a_zone_leaves_nothing),
    };
    return cmocka_run_group_tests_name("next", tests, NULL, NULL);
}
