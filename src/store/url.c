#include "store-internal.h"

static bool has_scheme(Str url, Str scheme)
{
    return str_starts(url, scheme) && url.len > scheme.len + 1 && url.ptr[scheme.len] == ':';
}

/* libpq takes URLs whole, and its own keywords bare or behind the scheme. */
static const char *postgres_location(const char *url)
{
    Str s = str_from(url);
    if (has_scheme(s, STR("postgres")) || has_scheme(s, STR("postgresql"))) {
        const char *rest = strchr(url, ':') + 1;
        return str_starts(str_from(rest), STR("//")) ? url : rest;
    }
    return str_starts(s, STR("host=")) || str_starts(s, STR("dbname=")) || str_starts(s, STR("service="))
               ? url
               : NULL;
}

int backend_of_url(const char *url, const Backend **ret, const char **ret_location, Err *err)
{
    const char *location = postgres_location(url);
    if (location) {
        *ret = &postgres_backend;
        *ret_location = location;
        return 0;
    }
    if (has_scheme(str_from(url), STR("sqlite"))) {
        *ret = &sqlite_backend;
        *ret_location = url + strlen("sqlite:");
        return 0;
    }
    return err_set(err, ERR_USAGE,
                   "unknown database URL: it should be sqlite:PATH or postgres://USER@HOST/DATABASE");
}

bool store_url_has_password(const char *url)
{
    const Backend *be;
    const char *location;
    return backend_of_url(url, &be, &location, NULL) == 0 && be->has_password(location);
}

char *store_url_shown(const char *url)
{
    const Backend *be;
    const char *location;
    if (backend_of_url(url, &be, &location, NULL) < 0)
        return xstrdup("an unknown database");
    CLEANUP_FREE char *shown = be->shown(location);
    return xasprintf("%s:%s", be->scheme, shown);
}
