#include "client/client.h"

#include "base/mem.h"
#include "http/url.h"

/* Hosts of OpenShift routes: gRPC has a route of its own there. */
static const char *const route_patterns[] = {"apps.rosa", "apps.ocp", "apps.openshift", "paas.redhat.com"};
#define REST_ROUTE "ambient-api-server"
#define GRPC_ROUTE "ambient-api-server-grpc"

static bool contains(Str s, const char *needle)
{
    return str_find(s, str_from(needle)) >= 0;
}

static bool is_route(Str host, const char *pattern)
{
    if (!contains(host, REST_ROUTE))
        return false;
    if (pattern && *pattern)
        return contains(host, pattern);
    for (size_t i = 0; i < ARRAY_LEN(route_patterns); i++)
        if (contains(host, route_patterns[i]))
            return true;
    return false;
}

static char *route_address(Str host)
{
    size_t at = (size_t)str_find(host, STR(REST_ROUTE));
    Str head = str_slice(host, 0, at);
    Str tail = str_slice(host, at + sizeof(REST_ROUTE) - 1, host.len);

    return xasprintf(STR_FMT GRPC_ROUTE STR_FMT ":443", STR_ARG(head), STR_ARG(tail));
}

int client_grpc_address(const char *api_url, const char *pattern, char **ret, bool *ret_tls, Err *err)
{
    Url u;
    int r = url_parse(str_from(api_url), &u, err);

    if (r < 0)
        return err_wrap(err, "API address");
    if (is_route(u.host, pattern))
        *ret = route_address(u.host);
    else if (str_find_byte(u.host, ':') >= 0)
        *ret = xasprintf("[" STR_FMT "]:9000", STR_ARG(u.host));
    else
        *ret = xasprintf(STR_FMT ":9000", STR_ARG(u.host));
    *ret_tls = str_eqz(u.scheme, "https");
    return 0;
}
