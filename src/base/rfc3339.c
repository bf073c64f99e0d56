/* RFC 3339 times in UTC; no time zone data, no hidden state. */
#include "base/civil.h"
#include "base/clock.h"

#define DAY_USEC (86400 * (int64_t)USEC_PER_SEC)
#define FRACTION_DIGITS 6

/* RFC 3339 has four digits for the year: times outside are printed as the nearest one it can name. */
static int64_t clamp_to_years(int64_t us)
{
    int64_t first = days_from_civil((Civil){0, 1, 1}) * DAY_USEC;
    int64_t end = days_from_civil((Civil){10000, 1, 1}) * DAY_USEC;
    if (us < first)
        return first;
    return us >= end ? end - 1 : us;
}

/* Exactly n digits; returns the place behind them. Lists print thousands of times: snprintf was 80 % of it.
 */
static char *put_number(char *at, unsigned v, size_t n, char behind)
{
    for (size_t i = n; i-- > 0; v /= 10)
        at[i] = (char)('0' + v % 10);
    at[n] = behind;
    return at + n + 1;
}

Str rfc3339_format(WallUsec t, char out[static RFC3339_MAX])
{
    int64_t us = clamp_to_years(t.us);
    int64_t days = us / DAY_USEC - (us % DAY_USEC < 0);
    int64_t rest = us - days * DAY_USEC;
    Civil c = civil_from_days(days);
    unsigned sec = (unsigned)(rest / (int64_t)USEC_PER_SEC),
             fraction = (unsigned)(rest % (int64_t)USEC_PER_SEC);
    char *at = put_number(out, (unsigned)c.year, 4, '-');
    at = put_number(at, (unsigned)c.month, 2, '-');
    at = put_number(at, (unsigned)c.day, 2, 'T');
    at = put_number(at, sec / 3600, 2, ':');
    at = put_number(at, sec / 60 % 60, 2, ':');
    at = put_number(at, sec % 60, 2, '.');
    at = put_number(at, fraction, FRACTION_DIGITS, 'Z') - 1;
    if (!fraction)
        at -= FRACTION_DIGITS + 1;
    at[0] = 'Z';
    at[1] = '\0';
    return (Str){out, (size_t)(at + 1 - out)};
}

/* Takes exactly n digits from the front. */
static int take_number(Str *s, size_t n, int *ret)
{
    if (s->len < n)
        return -1;
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9')
            return -1;
        v = v * 10 + (s->ptr[i] - '0');
    }
    *s = str_slice(*s, n, s->len);
    *ret = v;
    return 0;
}

static int take_char(Str *s, char c)
{
    if (!s->len || s->ptr[0] != c)
        return -1;
    *s = str_slice(*s, 1, s->len);
    return 0;
}

static int take_date(Str *s, int64_t *ret_days)
{
    int year, month, day;
    if (take_number(s, 4, &year) < 0 || take_char(s, '-') < 0 || take_number(s, 2, &month) < 0 ||
        take_char(s, '-') < 0 || take_number(s, 2, &day) < 0)
        return -1;
    if (month < 1 || month > 12 || day < 1 || day > month_length(year, month))
        return -1;
    *ret_days = days_from_civil((Civil){year, month, day});
    return 0;
}

static int take_hour_minute(Str *s, int *ret_minutes)
{
    int hour, minute;
    if (take_number(s, 2, &hour) < 0 || take_char(s, ':') < 0 || take_number(s, 2, &minute) < 0)
        return -1;
    if (hour > 23 || minute > 59)
        return -1;
    *ret_minutes = hour * 60 + minute;
    return 0;
}

static int take_fraction(Str *s, int64_t *ret_us)
{
    *ret_us = 0;
    if (take_char(s, '.') < 0)
        return 0;
    int digit, n = 0;
    int64_t us = 0;
    for (; take_number(s, 1, &digit) == 0; n++)
        if (n < FRACTION_DIGITS)
            us = us * 10 + digit;
    if (n < 1 || n > 9)
        return -1;
    for (; n < FRACTION_DIGITS; n++)
        us *= 10;
    *ret_us = us;
    return 0;
}

static int take_offset(Str *s, int *ret_minutes)
{
    *ret_minutes = 0;
    if (take_char(s, 'Z') == 0 || take_char(s, 'z') == 0)
        return 0;
    int sign = take_char(s, '-') == 0 ? -1 : take_char(s, '+') == 0 ? 1 : 0;
    int minutes;
    if (!sign || take_hour_minute(s, &minutes) < 0)
        return -1;
    *ret_minutes = sign * minutes;
    return 0;
}

int rfc3339_parse(Str s, WallUsec *ret)
{
    int64_t days, fraction;
    int minutes, seconds, offset;
    if (take_date(&s, &days) < 0 || (take_char(&s, 'T') < 0 && take_char(&s, 't') < 0) ||
        take_hour_minute(&s, &minutes) < 0 || take_char(&s, ':') < 0 || take_number(&s, 2, &seconds) < 0 ||
        seconds > 59 || take_fraction(&s, &fraction) < 0 || take_offset(&s, &offset) < 0 || s.len)
        return -1;
    int64_t sec = days * 86400 + (minutes - offset) * 60 + seconds;
    *ret = (WallUsec){sec * (int64_t)USEC_PER_SEC + fraction};
    return 0;
}
