/* Cron expressions as sets of bits. */
#include <string.h>
#include "base/civil.h"
#include "calendar-internal.h"

typedef struct FieldRule {
    const char *name; /* as people call it */
    unsigned min, max;
    const char *names; /* three letters each, from `first` on; NULL = none */
    unsigned first;
} FieldRule;

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY, N_FIELDS };
static const FieldRule rules[N_FIELDS] = {
    [MINUTE] = {"minute", 0, 59, NULL, 0},
    [HOUR] = {"hour", 0, 23, NULL, 0},
    [DAY] = {"day of the month", 1, 31, NULL, 0},
    [MONTH] = {"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1},
    [WEEKDAY] = {"day of the week", 0, 7, "sunmontuewedthufrisat", 0},
};

typedef struct FieldSet {
    uint64_t bits;
    bool star;
} FieldSet;

static int refuse(const FieldRule *r, Str part, const char *why, Err *err)
{
    return err_set(err, ERR_INVALID, "schedule: \"" STR_FMT "\" is no %s: %s",
                   STR_ARG(str_slice(part, 0, 64)), r->name, why);
}

static int find_name(const FieldRule *r, Str s, unsigned *ret)
{
    if (!r->names || s.len != 3)
        return -1;
    for (size_t i = 0; r->names[i]; i += 3) {
        if (str_ieq(s, (Str){r->names + i, 3})) {
            *ret = r->first + (unsigned)(i / 3);
            return 0;
        }
    }
    return -1;
}

static bool all_digits(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return s.len > 0 && s.len <= 9;
}

static int take_value(const FieldRule *r, Str s, unsigned *ret, Err *err)
{
    int64_t v = 0;
    if (find_name(r, s, ret) == 0)
        return 0;
    if (!all_digits(s) || str_to_i64(s, &v) < 0)
        return refuse(r, s, r->names ? "give a number or the first three letters" : "give a number", err);
    if (v < r->min || v > r->max)
        return err_set(err, ERR_INVALID, "schedule: %lld is no %s: it goes from %u to %u", (long long)v,
                       r->name, r->min, r->max);
    *ret = (unsigned)v;
    return 0;
}

static int take_step(const FieldRule *r, Str s, unsigned *ret, Err *err)
{
    int64_t v = 0;
    if (!all_digits(s) || str_to_i64(s, &v) < 0 || v < 1)
        return refuse(r, s, "a step is a number from 1 on", err);
    *ret = v > r->max ? r->max + 1 : (unsigned)v;
    return 0;
}

/* "*", "a" or "a-b" */
static int take_range(const FieldRule *r, Str s, unsigned *lo, unsigned *hi, bool *single, Err *err)
{
    Str rest = s, first = str_cut(&rest, '-');
    *single = false;
    if (str_eq(s, STR("*"))) {
        *lo = r->min;
        *hi = r->max;
        return 0;
    }
    int rc = take_value(r, first, lo, err);
    *hi = *lo;
    *single = !rest.ptr;
    if (rc == 0 && rest.ptr)
        rc = take_value(r, rest, hi, err);
    if (rc == 0 && *hi < *lo)
        return refuse(r, s, "the range ends before it begins", err);
    return rc;
}

/* One part of a list. */
static int take_part(const FieldRule *r, Str part, FieldSet *set, Err *err)
{
    unsigned lo, hi, step = 1;
    bool single;
    Str rest = part, range = str_cut(&rest, '/');
    int rc = take_range(r, range, &lo, &hi, &single, err);
    if (rc == 0 && rest.ptr)
        rc = single ? refuse(r, part, "a step needs a range or a star before it", err)
                    : take_step(r, rest, &step, err);
    if (rc < 0)
        return rc;
    for (unsigned v = lo; v <= hi; v += step)
        set->bits |= UINT64_C(1) << v;
    return 0;
}

static int take_field(const FieldRule *r, Str text, FieldSet *set, Err *err)
{
    *set = (FieldSet){.star = text.ptr[0] == '*'};
    for (Str rest = text; rest.ptr;) {
        int rc = take_part(r, str_cut(&rest, ','), set, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- the whole text ---- */

static Str next_word(Str *rest)
{
    *rest = str_trim(*rest);
    size_t n = 0;
    while (n < rest->len && rest->ptr[n] != ' ' && rest->ptr[n] != '\t')
        n++;
    Str word = str_slice(*rest, 0, n);
    *rest = str_slice(*rest, n, rest->len);
    return word;
}

static int take_nickname(Str text, Str *ret, Err *err)
{
    static const struct {
        Str name, text;
    } names[] = {
        {STR("@yearly"), STR("0 0 1 1 *")},  {STR("@annually"), STR("0 0 1 1 *")},
        {STR("@monthly"), STR("0 0 1 * *")}, {STR("@weekly"), STR("0 0 * * 0")},
        {STR("@daily"), STR("0 0 * * *")},   {STR("@midnight"), STR("0 0 * * *")},
        {STR("@hourly"), STR("0 * * * *")},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (str_ieq(text, names[i].name)) {
            *ret = names[i].text;
            return 0;
        }
    }
    return err_set(err, ERR_INVALID, "schedule: \"" STR_FMT "\" is not known",
                   STR_ARG(str_slice(text, 0, 64)));
}

static int take_fields(Str text, FieldSet sets[static N_FIELDS], Err *err)
{
    Str words[N_FIELDS];
    Str rest = text;
    for (int i = 0; i < N_FIELDS; i++) {
        words[i] = next_word(&rest);
        if (!words[i].len)
            return err_set(
                err, ERR_INVALID,
                "schedule: five fields are wanted, minute, hour, day of the month, month and day of "
                "the week; there are %d",
                i);
    }
    if (str_trim(rest).len)
        return err_set(err, ERR_INVALID,
                       "schedule: there are more than five fields; seconds and years are not among them");
    for (int i = 0; i < N_FIELDS; i++) {
        int rc = take_field(&rules[i], words[i], &sets[i], err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void fill(const FieldSet sets[static N_FIELDS], Cron *c)
{
    uint64_t weekdays = sets[WEEKDAY].bits;
    *c = (Cron){
        .minutes = sets[MINUTE].bits,
        .hours = (uint32_t)sets[HOUR].bits,
        .days = (uint32_t)sets[DAY].bits,
        .months = (uint16_t)sets[MONTH].bits,
        .weekdays = (uint8_t)((weekdays | weekdays >> 7) & 0x7f), /* 7 is Sunday too */
        .any_day = sets[DAY].star,
        .any_weekday = sets[WEEKDAY].star,
        .fixed = !sets[MINUTE].star && !sets[HOUR].star,
    };
}

/* The calendar repeats after 400 years: what fits none of their days never fits. */
static bool fits_a_day(const Cron *c)
{
    const int64_t first = days_from_civil((Civil){2000, 1, 1});
    for (int64_t day = first; day < first + CALENDAR_DAYS; day++)
        if (cron_has_day(c, day))
            return true;
    return false;
}

int cron_parse(Str text, Cron *ret, Err *err)
{
    FieldSet sets[N_FIELDS];
    Cron c;
    Str t = str_trim(text);
    int rc = 0;
    if (t.len > CRON_TEXT_MAX)
        return err_set(err, ERR_INVALID, "schedule exceeds maximum length of %d", CRON_TEXT_MAX);
    if (t.len && t.ptr[0] == '@')
        rc = take_nickname(t, &t, err);
    if (rc == 0)
        rc = take_fields(t, sets, err);
    if (rc < 0)
        return rc;
    fill(sets, &c);
    if (!fits_a_day(&c))
        return err_set(err, ERR_INVALID, "schedule: it fits no date of the calendar");
    *ret = c;
    return 0;
}
