/* Go's time.ParseDuration and Duration.String, without negative values. */
#include "base/clock.h"

#include <stdbool.h>
#include "base/cleanup.h"

static const struct Unit {
    Str name;
    uint64_t ns;
} units[] = {
    {STR("ns"), 1},           {STR("us"), 1000},      {STR("\xc2\xb5s"), 1000}, /* micro sign */
    {STR("\xce\xbcs"), 1000},                                                   /* Greek mu */
    {STR("ms"), 1000000},     {STR("s"), 1000000000}, {STR("m"), 60000000000},  {STR("h"), 3600000000000},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A decimal number as whole + fraction / scale. Digits of the fraction that no longer fit are cut. */
typedef struct Decimal {
    uint64_t whole, fraction, scale;
} Decimal;

static int take_decimal(Str *s, Decimal *ret)
{
    Decimal d = {.scale = 1};
    size_t at = 0, digits = 0;
    for (; at < s->len && is_digit(s->ptr[at]); at++, digits++)
        if (__builtin_mul_overflow(d.whole, 10u, &d.whole) ||
            __builtin_add_overflow(d.whole, (uint64_t)(s->ptr[at] - '0'), &d.whole))
            return -1;
    if (at < s->len && s->ptr[at] == '.') {
        for (at++; at < s->len && is_digit(s->ptr[at]); at++, digits++) {
            if (d.scale >= 1000000000000)
                continue;
            d.fraction = d.fraction * 10 + (uint64_t)(s->ptr[at] - '0');
            d.scale *= 10;
        }
    }
    *s = str_slice(*s, at, s->len);
    *ret = d;
    return digits ? 0 : -1;
}

static const struct Unit *take_unit(Str *s)
{
    size_t len = 0;
    while (len < s->len && s->ptr[len] != '.' && !is_digit(s->ptr[len]))
        len++;
    Str name = str_slice(*s, 0, len);
    *s = str_slice(*s, len, s->len);
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (str_eq(units[i].name, name))
            return &units[i];
    return NULL;
}

int duration_parse(Str s, Usec *ret)
{
    if (s.len && s.ptr[0] == '+')
        s = str_slice(s, 1, s.len);
    if (!s.len)
        return -1;
    uint64_t total = 0;
    if (str_eq(s, STR("0")))
        s.len = 0;
    while (s.len) {
        Decimal d;
        const struct Unit *unit;
        if (take_decimal(&s, &d) < 0 || !(unit = take_unit(&s)))
            return -1;
        uint64_t ns;
        if (__builtin_mul_overflow(d.whole, unit->ns, &ns) || __builtin_add_overflow(total, ns, &total))
            return -1;
        double part = (double)d.fraction * ((double)unit->ns / (double)d.scale);
        if (__builtin_add_overflow(total, (uint64_t)part, &total) || total > INT64_MAX)
            return -1;
    }
    *ret = total / 1000;
    return 0;
}
