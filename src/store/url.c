#include "store-internal.h"

static const Backend *const backends[] = {&sqlite_backend};

int backend_of_url(const char *url, const Backend **ret, const char **ret_location, Err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(backends); i++) {
        Str scheme = str_from(backends[i]->scheme);
        if (!str_starts(str_from(url), scheme) || url[scheme.len] != ':' || !url[scheme.len + 1])
            continue;
        *ret = backends[i];
        *ret_location = url + scheme.len + 1;
        return 0;
    }
    return err_set(err, ERR_USAGE, "unknown database URL: it should be sqlite:PATH");
}
