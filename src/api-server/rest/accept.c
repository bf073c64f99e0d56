/* Which of two types a client likes better. RFC 9110 12.5.1, as far as our two representations need it. */
#include "rest-internal.h"

static double quality(Str params)
{
    while (params.ptr) {
        Str p = str_trim(str_cut(&params, ';'));
        double q;
        if (str_istarts(p, STR("q=")) && str_to_double(str_slice(p, 2, p.len), &q) == 0 && q >= 0 && q <= 1)
            return q;
    }
    return 1;
}

/* 0 = does not match, 1 = any type, 2 = any subtype, 3 = the type itself. */
static int specificity(Str range, const char *type)
{
    Str want = str_from(type);
    if (str_ieq(range, want))
        return 3;
    if (str_eq(range, STR("*/*")))
        return 1;
    size_t slash = (size_t)str_find_byte(want, '/');
    bool wild = str_ends(range, STR("/*")) && range.len == slash + 2;
    return wild && str_ieq(str_slice(range, 0, slash), str_slice(want, 0, slash)) ? 2 : 0;
}

typedef struct Liking {
    double q;
    int how;
    size_t position;
} Liking;

static Liking liking(Str accept, const char *type)
{
    Liking best = {0};
    for (size_t at = 1; accept.ptr; at++) {
        Str params = str_cut(&accept, ',');
        Str range = str_trim(str_cut(&params, ';'));
        int how = specificity(range, type);
        if (how > best.how)
            best = (Liking){params.ptr ? quality(params) : 1, how, at};
    }
    return best;
}

/* Only a type that is named counts as wanted; of two named equally, the first. */
bool accept_prefers(Str accept, const char *wanted, const char *other)
{
    Liking a = liking(accept, wanted), b = liking(accept, other);
    if (a.how < 2 || a.q <= 0)
        return false;
    if (a.q != b.q)
        return a.q > b.q;
    if (a.how != b.how)
        return a.how > b.how;
    return a.position < b.position;
}
