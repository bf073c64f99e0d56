/*
 * Doubles as Go's encoding/json prints them: the fewest digits that read back as the same value, as a plain
 * decimal from 1e-6 up to 1e21, else with an exponent.
 */
#include "json/json.h"

#include <math.h>
#include <stdio.h>

#define DIGITS_MAX 17
#define EXACT_BELOW 9007199254740992.0 /* 2^53: whole numbers below are their own shortest form */

typedef struct Decimal {
    char digits[DIGITS_MAX + 1];
    int n_digits;
    int exponent; /* of the first digit: 1.5 has 0 */
} Decimal;

/* snprintf's decimal point depends on the locale, so only digits are taken from its text. */
static Decimal round_to(double v, int n_digits)
{
    char text[64];
    snprintf(text, sizeof(text), "%.*e", n_digits - 1, v);
    Decimal d = {.n_digits = 0};
    const char *at = text;
    for (; *at != 'e'; at++)
        if (*at >= '0' && *at <= '9' && d.n_digits < DIGITS_MAX)
            d.digits[d.n_digits++] = *at;
    int64_t exponent = 0;
    str_to_i64(str_from(at + 1), &exponent);
    d.exponent = (int)exponent;
    return d;
}

static bool reads_back(const Decimal *d, double v)
{
    char text[64];
    double back;
    int len = snprintf(text, sizeof(text), "%c.%se%d", d->digits[0], d->digits + 1, d->exponent);
    return str_to_double((Str){text, (size_t)len}, &back) == 0 && back == v;
}

/* One more in the last digit. False when that would need another digit. */
static bool bump(Decimal *d)
{
    for (int i = d->n_digits - 1; i >= 0; i--) {
        if (d->digits[i] != '9') {
            d->digits[i]++;
            return true;
        }
        d->digits[i] = '0';
    }
    return false;
}

static Decimal shortest(double v)
{
    /* Up to 15 digits survive a round trip, so they are the shortest once the zeros are cut; not so for the
       numbers below DBL_MIN, which have fewer bits. */
    for (int n = isnormal(v) ? 15 : 1; n < DIGITS_MAX; n++) {
        Decimal d = round_to(v, n);
        if (reads_back(&d, v))
            return d;
        /* Above a power of two the gap is twice as wide as below: the next decimal up can be inside it
           although it is not the nearest. */
        if (bump(&d) && reads_back(&d, v))
            return d;
    }
    return round_to(v, DIGITS_MAX);
}

static void add_exponent_form(Buf *b, const Decimal *d)
{
    buf_addc(b, d->digits[0]);
    if (d->n_digits > 1)
        buf_addf(b, ".%.*s", d->n_digits - 1, d->digits + 1);
    buf_addf(b, "e%c%d", d->exponent < 0 ? '-' : '+', d->exponent < 0 ? -d->exponent : d->exponent);
}

static void add_plain_form(Buf *b, const Decimal *d)
{
    if (d->exponent < 0) {
        buf_addz(b, "0.");
        for (int i = -1; i > d->exponent; i--)
            buf_addc(b, '0');
        buf_add(b, d->digits, (size_t)d->n_digits);
        return;
    }
    for (int i = 0; i <= d->exponent; i++)
        buf_addc(b, i < d->n_digits ? d->digits[i] : '0');
    if (d->n_digits > d->exponent + 1)
        buf_addf(b, ".%.*s", d->n_digits - d->exponent - 1, d->digits + d->exponent + 1);
}

void json_write_double(Buf *b, double v)
{
    if (!isfinite(v)) { /* JSON has no word for it */
        buf_addz(b, "null");
        return;
    }
    if (signbit(v))
        buf_addc(b, '-');
    v = fabs(v);
    if (v == 0) {
        buf_addc(b, '0');
        return;
    }
    if (v < EXACT_BELOW && v == (double)(uint64_t)v) {
        buf_add_u64(b, (uint64_t)v);
        return;
    }
    Decimal d = shortest(v);
    while (d.n_digits > 1 && d.digits[d.n_digits - 1] == '0')
        d.n_digits--;
    if (v < 1e-6 || v >= 1e21)
        add_exponent_form(b, &d);
    else
        add_plain_form(b, &d);
}
