#include "kube-quantity.h"

#include <math.h>
#include "base/cleanup.h"

static const struct {
    const char *suffix;
    double factor;
} units[] = {
    {"Ki", 1024.0}, {"Mi", 1048576.0}, {"Gi", 1073741824.0}, {"Ti", 1099511627776.0}, {"k", 1e3}, {"M", 1e6},
    {"G", 1e9},     {"T", 1e12},       {"m", 1e-3},
};

int quantity_parse(Str s, int64_t *ret)
{
    double n, factor = 1;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (str_ends(s, str_from(units[i].suffix))) {
            factor = units[i].factor;
            s.len -= strlen(units[i].suffix);
            break;
        }
    }
    if (s.len == 0 || s.ptr[0] < '0' || s.ptr[0] > '9' || str_to_double(s, &n) < 0 || !isfinite(n))
        return -1;
    n = ceil(n * factor * 1000 - 1e-9);
    if (n < 0 || n > 1e18)
        return -1;
    *ret = (int64_t)n;
    return 0;
}
