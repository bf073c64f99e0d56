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

/* Where the value of a password begins in a URL or among keywords; empty when there is none. */
static Str password_in(Str url)
{
    ptrdiff_t at = str_find(url, STR("password="));
    if (at >= 0) {
        Str rest = str_slice(url, (size_t)at + strlen("password="), url.len);
        return str_slice(rest, 0, strcspn(rest.ptr, "& \t"));
    }
    at = str_find(url, STR("://"));
    if (at < 0)
        return STR_NULL;
    Str rest = str_slice(url, (size_t)at + 3, url.len);
    Str authority = str_slice(rest, 0, strcspn(rest.ptr, "/?"));
    ptrdiff_t host = -1;
    for (size_t i = 0; i < authority.len; i++)
        host = authority.ptr[i] == '@' ? (ptrdiff_t)i : host;
    if (host < 0)
        return STR_NULL;
    Str user = str_slice(authority, 0, (size_t)host);
    ptrdiff_t colon = str_find_byte(user, ':');
    return colon < 0 ? STR_NULL : str_slice(user, (size_t)colon + 1, user.len);
}

bool store_url_has_password(const char *url)
{
    const Backend *be;
    const char *location;
    return backend_of_url(url, &be, &location, NULL) == 0 && be == &postgres_backend &&
           password_in(str_from(url)).len > 0;
}

char *store_url_shown(const char *url)
{
    if (!store_url_has_password(url))
        return xstrdup(url);
    Str p = password_in(str_from(url));
    return xasprintf("%.*s***%s", (int)(p.ptr - url), url, p.ptr + p.len);
}
