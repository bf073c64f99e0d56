/* What an expression means, and what is refused. */
#include "test-internal.h"

Cron expression(const char *text)
{
    Cron c = {0};
    Err err = {0};
    if (cron_parse(str_from(text), &c, &err) < 0)
        fail_msg("%s: %s", text, err.msg);
    return c;
}

Zone *zone(const char *name)
{
    Zone *z = NULL;
    Err err = {0};
    if (zone_load(NULL, str_from(name), &z, &err) < 0)
        fail_msg("%s", err.msg);
    return z;
}

WallUsec at(const char *rfc3339)
{
    WallUsec t = {0};
    if (rfc3339_parse(str_from(rfc3339), &t) < 0)
        fail_msg("%s", rfc3339);
    return t;
}

static bool same(const Cron *a, const Cron *b)
{
    return a->minutes == b->minutes && a->hours == b->hours && a->days == b->days && a->months == b->months &&
           a->weekdays == b->weekdays && a->any_day == b->any_day && a->any_weekday == b->any_weekday &&
           a->fixed == b->fixed;
}

static void test_parse__reads_every_form(void **state)
{
    static const struct {
        const char *text, *same_as;
    } rows[] = {
        {"@yearly", "0 0 1 1 *"},
        {"@annually", "0 0 1 jan *"},
        {"@monthly", "0 0 1 * *"},
        {"@weekly", "0 0 * * sun"},
        {"@daily", "0 0 * * *"},
        {"@Midnight", "0 0 * * *"},
        {"@hourly", "0 * * * *"},
        {"  0\t9   *  * 1-5 ", "0 9 * * mon-fri"},
        {"0 0 * * 7", "0 0 * * 0"},
        {"0 0 * * 5-7", "0 0 * * fri,sat,sun"},
        {"0 0 * JAN,dec Mon", "0 0 * 1,12 1"},
        {"10-50/20 0 1 1 1", "10,30,50 0 1 1 1"},
        {"1,2,1-3,2 0 1 1 1", "1-3 0 1 1 1"},
        {"0 0 1 */5 1", "0 0 1 1,6,11 1"},
        {"00 09 01 01 01", "0 9 1 1 1"},
        {"5-6/99 0 1 1 1", "5 0 1 1 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Cron a = expression(rows[i].text), b = expression(rows[i].same_as);
        if (!same(&a, &b))
            fail_msg("%s is not %s", rows[i].text, rows[i].same_as);
    }
    Cron c = expression("*/20 0 1 1 1");
    assert_int_equal(c.minutes, UINT64_C(1) | UINT64_C(1) << 20 | UINT64_C(1) << 40);
    assert_false(c.fixed);
    assert_true(expression("0 9 * * *").fixed);
    assert_false(expression("0 */2 * * *").fixed);
}

static void test_parse__refuses_with_a_reason(void **state)
{
    static const struct {
        const char *text, *why; /* a part of the reason */
    } rows[] = {
        {"", "there are 0"},
        {"   ", "there are 0"},
        {"* * * *", "there are 4"},
        {"* * * * * *", "more than five"},
        {"60 * * * *", "60 is no minute"},
        {"* 24 * * *", "24 is no hour"},
        {"* * 0 * *", "0 is no day of the month"},
        {"* * 32 * *", "32 is no day of the month"},
        {"* * * 13 *", "13 is no month"},
        {"* * * 0 *", "0 is no month"},
        {"* * * * 8", "8 is no day of the week"},
        {"5-1 * * * *", "ends before it begins"},
        {"* * * * sat-mon", "ends before it begins"},
        {"*/0 * * * *", "a step is a number"},
        {"*/-1 * * * *", "a step is a number"},
        {"*/ * * * *", "a step is a number"},
        {"5/10 * * * *", "a step needs a range"},
        {"*/2/3 * * * *", "a step is a number"},
        {"1-2-3 * * * *", "give a number"},
        {"** * * * *", "give a number"},
        {"*-5 * * * *", "give a number"},
        {"1, * * * *", "give a number"},
        {",1 * * * *", "give a number"},
        {"-1 * * * *", "give a number"},
        {"+1 * * * *", "give a number"},
        {"1.5 * * * *", "give a number"},
        {"0 0 * * monday", "first three letters"},
        {"0 0 ? * 1", "give a number"},
        {"0 0 L * 1", "give a number"},
        {"0 0 * * 1#2", "first three letters"},
        {"99999999999999999999 * * * *", "give a number"},
        {"@reboot", "is not known"},
        {"@every 5m", "is not known"},
        {"CRON_TZ=UTC 0 9 * * *", "more than five"},
        {"0 0 30 2 *", "no date of the calendar"},
        {"0 0 31 4,6,9,11 *", "no date of the calendar"},
        {"0 0 30-31 feb */2", "no date of the calendar"}, /* a star of weekdays: both must fit */
        {"bad cron", "there are 2"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Cron c = {.minutes = 42};
        Err err = {0};
        if (cron_parse(str_from(rows[i].text), &c, &err) != -ERR_INVALID)
            fail_msg("%s was taken", rows[i].text);
        if (str_find(str_from(err.msg), str_from(rows[i].why)) < 0)
            fail_msg("%s: %s", rows[i].text, err.msg);
        assert_int_equal(c.minutes, 42);
    }
    char longer[400];
    memset(longer, '1', sizeof(longer));
    assert_int_equal(cron_parse((Str){longer, sizeof(longer)}, &(Cron){0}, NULL), -ERR_INVALID);
}

static void test_parse__takes_days_that_are_rare(void **state)
{
    (void)expression("0 0 29 2 *");
    (void)expression("0 0 29 2 */7"); /* a leap day that is a Sunday: every 28 or 40 years */
    (void)expression("0 0 30 2 1");   /* both days are restricted: Mondays in February */
    (void)expression("0 0 31 1-12 *");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse__reads_every_form),
        cmocka_unit_test(test_parse__refuses_with_a_reason),
        cmocka_unit_test(test_parse__takes_days_that_are_rare),
    };
    return cmocka_run_group_tests_name("cron", tests, NULL, NULL) + run_next_tests() + run_zone_tests();
}
