#include "claims-internal.h"
#include "base/cleanup.h"

#define NAME_MAX_LEN 255

static bool is_plain(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
            return false;
    return s.len > 0 && s.len <= NAME_MAX_LEN;
}

static Str text(const json_t *claims, const char *name)
{
    Str s = str_trim(json_get_strv(claims, name));
    return is_plain(s) ? s : STR("");
}

Str claims_username(const json_t *claims)
{
    static const char *const order[] = {"username", "preferred_username", "sub"};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        Str s = json_get_strv(claims, order[i]);
        if (is_plain(s) && str_find_byte(s, ':') < 0)
            return s;
    }
    return STR_NULL;
}

Str claims_plain(const json_t *claims, const char *name)
{
    Str s = json_get_strv(claims, name);
    return is_plain(s) ? s : STR("");
}

Str claims_email(const json_t *claims)
{
    return text(claims, "email");
}

static Str first_of(const json_t *claims, const char *a, const char *b)
{
    Str s = text(claims, a);
    return s.len ? s : text(claims, b);
}

void claims_name(const json_t *claims, Buf *out)
{
    Str first = first_of(claims, "first_name", "given_name");
    Str last = first_of(claims, "last_name", "family_name");
    if (!first.len && !last.len)
        first = text(claims, "name");
    buf_adds(out, first);
    if (first.len && last.len)
        buf_addc(out, ' ');
    buf_adds(out, last);
}
