#include "flag-internal.h"

#include "base/mem.h"

int flag_parse_bool(Str s, bool *ret)
{
    /* What Go's strconv.ParseBool takes. */
    static const char *const yes[] = {"1", "t", "T", "true", "TRUE", "True"};
    static const char *const no[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (size_t i = 0; i < ARRAY_LEN(yes); i++) {
        if (str_eqz(s, yes[i]) || str_eqz(s, no[i])) {
            *ret = str_eqz(s, yes[i]);
            return 0;
        }
    }
    return -1;
}

int flag_parse_size(Str s, int64_t *ret)
{
    unsigned shift = 0;
    if (str_ends(s, STR("k")) || str_ends(s, STR("K")))
        shift = 10;
    else if (str_ends(s, STR("M")))
        shift = 20;
    else if (str_ends(s, STR("G")))
        shift = 30;
    uint64_t v;
    if (str_to_u64(str_slice(s, 0, s.len - (shift > 0)), &v) < 0 || v > (uint64_t)INT64_MAX >> shift)
        return -1;
    *ret = (int64_t)(v << shift);
    return 0;
}

static int set_secret(Secret **to, const char *value, FlagSource source, const char **ret_rule)
{
    Secret *s = NULL;
    if (source == FLAG_FROM_ENV) {
        s = secret_new(str_from(value));
    } else {
        Err err;
        int r = secret_from_file(value, &s, &err);
        if (r == -(int)ERR_NOT_FOUND && source == FLAG_FROM_DEFAULT)
            return 0;
        if (r < 0) { /* the value stays out of the text: people do pass the secret itself here */
            *ret_rule = r == -(int)ERR_NOT_FOUND
                            ? "takes the name of a file with the secret; there is no such file"
                            : "takes the name of a readable file with the secret in its first "
                              "line, which others may not write";
            return -1;
        }
    }
    secret_free(*to);
    *to = s;
    return 0;
}

int flag_set(const Flag *flag, void *target, const char *value, FlagSource source, const char **ret_rule)
{
    void *to = (char *)target + flag->offset;
    Str text = str_from(value);
    switch (flag->type) {
    case FLAG_STRING:
        free(*(char **)to);
        *(char **)to = xstrdup(value);
        return 0;
    case FLAG_BOOL:
        *ret_rule = "must be true or false";
        return flag_parse_bool(text, to);
    case FLAG_INT:
        *ret_rule = "must be a whole number";
        return str_to_i64(text, to);
    case FLAG_DURATION:
        *ret_rule = "must be a duration such as 250ms, 30s or 1h30m";
        return duration_parse(text, to);
    case FLAG_SIZE:
        *ret_rule = "must be a number of bytes, with k, M or G behind it for powers of 1024";
        return flag_parse_size(text, to);
    case FLAG_SECRET:
        return set_secret(to, value, source, ret_rule);
    case FLAG_IGNORED:
    case FLAG_IGNORED_BOOL:
        return 0;
    }
    return 0;
}

void flag_clear(const Flag *flag, void *target)
{
    void *to = (char *)target + flag->offset;
    switch (flag->type) {
    case FLAG_STRING:
        free(*(char **)to);
        *(char **)to = NULL;
        break;
    case FLAG_SECRET:
        *(Secret **)to = secret_free(*(Secret **)to);
        break;
    default:
        break;
    }
}

void flag_zero(const Flag *flag, void *target)
{
    void *to = (char *)target + flag->offset;
    switch (flag->type) {
    case FLAG_STRING:
        *(char **)to = NULL;
        break;
    case FLAG_SECRET:
        *(Secret **)to = NULL;
        break;
    case FLAG_BOOL:
        *(bool *)to = false;
        break;
    case FLAG_INT:
    case FLAG_SIZE:
        *(int64_t *)to = 0;
        break;
    case FLAG_DURATION:
        *(Usec *)to = 0;
        break;
    case FLAG_IGNORED:
    case FLAG_IGNORED_BOOL:
        break;
    }
}
