#include "scalar-internal.h"

static bool is_one_of(Str s, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (str_eqz(s, words[i]))
            return true;
    return false;
}

static const char *const nulls[] = {"", "~", "null", "Null", "NULL"};
static const char *const trues[] = {"true", "True", "TRUE"};
static const char *const falses[] = {"false", "False", "FALSE"};
static const char *const not_finite[] = {".inf",  ".Inf",  ".INF",  "+.inf", "+.Inf", "+.INF",
                                         "-.inf", "-.Inf", "-.INF", ".nan",  ".NaN",  ".NAN"};

static size_t count_digits(Str s, size_t at, unsigned base)
{
    size_t from = at;
    for (; at < s.len; at++) {
        char c = s.ptr[at];
        bool letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (!(c >= '0' && c <= (base == 8 ? '7' : '9')) && !(base == 16 && letter))
            break;
    }
    return at - from;
}

static bool is_based(Str s, const char *prefix, unsigned base)
{
    return str_starts(s, str_from(prefix)) && s.len > 2 && count_digits(s, 2, base) == s.len - 2;
}

static bool is_decimal(Str s)
{
    size_t sign = s.len && (s.ptr[0] == '-' || s.ptr[0] == '+');
    return s.len > sign && count_digits(s, sign, 10) == s.len - sign;
}

/* The schema's floats are what str_to_double takes, without the overflow that it refuses. */
static bool is_float(Str s)
{
    double v;
    return str_to_double(s, &v) == 0 || is_one_of(s, not_finite, ARRAY_LEN(not_finite));
}

ScalarType scalar_type(Str plain)
{
    if (is_one_of(plain, nulls, ARRAY_LEN(nulls)))
        return SCALAR_NULL;
    if (is_one_of(plain, trues, ARRAY_LEN(trues)) || is_one_of(plain, falses, ARRAY_LEN(falses)))
        return SCALAR_BOOL;
    if (is_decimal(plain) || is_based(plain, "0o", 8) || is_based(plain, "0x", 16))
        return SCALAR_INT;
    return is_float(plain) ? SCALAR_FLOAT : SCALAR_STR;
}

static json_t *based_value(Str digits, unsigned base)
{
    uint64_t v = 0;
    for (size_t i = 0; i < digits.len; i++) {
        char c = digits.ptr[i];
        unsigned digit = (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
        if (v > ((uint64_t)INT64_MAX - digit) / base)
            return NULL;
        v = v * base + digit;
    }
    return json_integer((json_int_t)v);
}

static json_t *int_value(Str s)
{
    if (is_based(s, "0o", 8) || is_based(s, "0x", 16))
        return based_value(str_slice(s, 2, s.len), s.ptr[1] == 'x' ? 16 : 8);
    int64_t v;
    if (str_to_i64(s, &v) == 0)
        return json_integer(v);
    double d; /* as JSON readers do with what no integer holds */
    return str_to_double(s, &d) == 0 ? json_real(d) : NULL;
}

json_t *scalar_value(Str plain, ScalarType type)
{
    double d;
    switch (type) {
    case SCALAR_NULL:
        return json_null();
    case SCALAR_BOOL:
        return json_boolean(is_one_of(plain, trues, ARRAY_LEN(trues)));
    case SCALAR_INT:
        return int_value(plain);
    case SCALAR_FLOAT:
        return str_to_double(plain, &d) == 0 ? json_real(d) : NULL;
    case SCALAR_STR:
        break;
    }
    return json_strv(plain);
}

bool scalar_is_string_everywhere(Str plain)
{
    static const char *const old_words[] = {"y", "n", "yes", "no", "on", "off", "<<", "="};
    for (size_t i = 0; i < ARRAY_LEN(old_words); i++)
        if (str_ieq(plain, str_from(old_words[i])))
            return false;
    if (scalar_type(plain) != SCALAR_STR)
        return false;
    /* Dates, 1:30 in base 60, 1_000, 0b1 and their kin begin like numbers. */
    char c = plain.ptr[plain.len > 1 && (plain.ptr[0] == '-' || plain.ptr[0] == '+')];
    return !(c >= '0' && c <= '9') && c != '.';
}
