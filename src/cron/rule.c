/* The POSIX TZ text of a TZif footer, with the extensions of RFC 9636 3.3.1: "CET-1CEST,M3.5.0,M10.5.0/3". */
#include "base/civil.h"
#include "zone-internal.h"

#define DAY 86400

/* ---- reading ---- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void skip(Str *s, size_t n)
{
    *s = str_slice(*s, n, s->len);
}

static bool take_char(Str *s, char c)
{
    if (!s->len || s->ptr[0] != c)
        return false;
    skip(s, 1);
    return true;
}

/* "CET" or "<+0330>"; what it says does not matter. */
static int take_name(Str *s)
{
    size_t n = 0;
    if (take_char(s, '<')) {
        ptrdiff_t end = str_find_byte(*s, '>');
        if (end < 3)
            return -1;
        skip(s, (size_t)end + 1);
        return 0;
    }
    while (n < s->len && is_letter(s->ptr[n]))
        n++;
    skip(s, n);
    return n >= 3 ? 0 : -1;
}

static int take_number(Str *s, int max, int *ret)
{
    int v = 0;
    size_t n = 0;
    for (; n < s->len && n < 3 && s->ptr[n] >= '0' && s->ptr[n] <= '9'; n++)
        v = v * 10 + (s->ptr[n] - '0');
    skip(s, n);
    *ret = v;
    return n > 0 && v <= max ? 0 : -1;
}

/* [+-]h[h[h]][:mm[:ss]] */
static int take_time(Str *s, int hours_max, int32_t *ret)
{
    int part[3] = {0};
    bool minus = take_char(s, '-');
    if (!minus)
        take_char(s, '+');
    if (take_number(s, hours_max, &part[0]) < 0)
        return -1;
    for (int i = 1; i < 3 && take_char(s, ':'); i++)
        if (take_number(s, 59, &part[i]) < 0)
            return -1;
    int32_t v = part[0] * 3600 + part[1] * 60 + part[2];
    *ret = minus ? -v : v;
    return 0;
}

static int take_month_day(Str *s, ZoneRuleDay *d)
{
    if (take_number(s, 12, &d->month) < 0 || d->month < 1 || !take_char(s, '.') ||
        take_number(s, 5, &d->week) < 0 || d->week < 1 || !take_char(s, '.') ||
        take_number(s, 6, &d->weekday) < 0)
        return -1;
    d->form = 'M';
    return 0;
}

static int take_day(Str *s, ZoneRuleDay *d)
{
    int rc;
    if (!take_char(s, ','))
        return -1;
    if (take_char(s, 'M')) {
        rc = take_month_day(s, d);
    } else {
        d->form = take_char(s, 'J') ? 'J' : 'N';
        rc = take_number(s, 365, &d->day);
        if (d->form == 'J' && d->day < 1)
            rc = -1;
    }
    d->time = 2 * 3600;
    if (rc == 0 && take_char(s, '/'))
        rc = take_time(s, 167, &d->time);
    return rc;
}

/* POSIX counts offsets to the west. */
static int take_offset(Str *s, int32_t *ret)
{
    int32_t west;
    if (take_time(s, 24, &west) < 0)
        return -1;
    *ret = -west;
    return 0;
}

static int take_dst(Str *s, ZoneRule *r)
{
    r->has_dst = true;
    r->dst = r->std + 3600;
    if (take_name(s) < 0)
        return -1;
    if (s->len && s->ptr[0] != ',' && take_offset(s, &r->dst) < 0)
        return -1;
    return take_day(s, &r->start) < 0 || take_day(s, &r->end) < 0 ? -1 : 0;
}

int zone_rule_parse(Str text, ZoneRule *ret, Err *err)
{
    ZoneRule r = {.known = true};
    Str s = text;
    int rc = take_name(&s);
    if (rc == 0)
        rc = take_offset(&s, &r.std);
    if (rc == 0 && s.len)
        rc = take_dst(&s, &r);
    if (rc < 0 || s.len)
        return err_set(err, ERR_CORRUPT, "time zone: bad rule \"" STR_FMT "\"",
                       STR_ARG(str_slice(text, 0, 64)));
    *ret = r;
    return 0;
}

/* ---- using ---- */

static int64_t month_day(const ZoneRuleDay *d, int64_t year)
{
    int64_t first = days_from_civil((Civil){year, d->month, 1});
    int day = (d->weekday - weekday_of_days(first) + 7) % 7 + 7 * (d->week - 1);
    while (day >= month_length(year, d->month)) /* week 5 is the last one there is */
        day -= 7;
    return first + day;
}

/* Local seconds. */
static int64_t moment(const ZoneRuleDay *d, int64_t year)
{
    int64_t first = days_from_civil((Civil){year, 1, 1});
    int64_t day;
    if (d->form == 'M')
        day = month_day(d, year);
    else if (d->form == 'J')
        day = first + d->day - 1 + (d->day >= 60 && month_length(year, 2) == 29);
    else
        day = first + d->day;
    return day * DAY + d->time;
}

#define YEARS 5 /* two before, the year itself, two behind: a moment may lie a week beside its year */
typedef struct Moves {
    struct {
        int64_t at;
        int32_t offset; /* from then on */
    } m[2 * YEARS];
    size_t n;
} Moves;

/* Kept sorted; of equal moments the later call comes later, and counts. */
static void add_move(Moves *ms, int64_t at, int32_t offset)
{
    size_t i = ms->n++;
    for (; i > 0 && ms->m[i - 1].at > at; i--)
        ms->m[i] = ms->m[i - 1];
    ms->m[i].at = at;
    ms->m[i].offset = offset;
}

static int64_t year_of(int64_t t)
{
    return civil_from_days(t / DAY - (t % DAY < 0)).year;
}

void zone_rule_span(const ZoneRule *r, int64_t t, ZoneSpan *ret)
{
    *ret = (ZoneSpan){INT64_MIN, INT64_MAX, r->std, r->std};
    if (!r->has_dst)
        return;
    Moves ms = {.n = 0};
    int64_t year = year_of(t);
    for (int64_t y = year - 2; y <= year + 2; y++) {
        add_move(&ms, moment(&r->start, y) - r->std, r->dst);
        add_move(&ms, moment(&r->end, y) - r->dst, r->std);
    }
    size_t i = 0;
    while (i + 1 < ms.n && ms.m[i + 1].at <= t)
        i++;
    ret->start = ms.m[i].at;
    ret->offset = ms.m[i].offset;
    ret->before = i ? ms.m[i - 1].offset : r->std;
    if (i + 1 < ms.n)
        ret->end = ms.m[i + 1].at;
}
