/*
 * A server without authentication trusts whoever reaches it, and a browser on this machine reaches it for
 * every page it shows: by a request across origins, whose answer the page cannot read but whose effect is all
 * it wants, or under a name of the page's own that was made to lead here. Both say so in their headers.
 * https://fetch.spec.whatwg.org/#origin-header, RFC 9110 7.2
 */
#include "rest-internal.h"

static Str host_without_port(Str host)
{
    for (size_t i = host.len; i > 0 && host.ptr[i - 1] != ']'; i--)
        if (host.ptr[i - 1] == ':')
            return str_slice(host, 0, i - 1);
    return host;
}

/* Names without a dot are this machine's and its network's own; others belong to anybody. */
static bool may_be_foreign(Str host)
{
    Str name = host_without_port(host);
    return str_find_byte(name, '.') >= 0 && !is_address(name) && !str_ends(name, STR(".localhost"));
}

/* Whoever can serve a page from here can call us without a browser. */
static bool is_of_this_machine(Str host)
{
    Str name = host_without_port(host);
    return str_ieq(name, STR("localhost")) || str_ends(name, STR(".localhost")) ||
           str_eq(name, STR("[::1]")) || (str_starts(name, STR("127.")) && is_address(name));
}

static bool is_own_origin(Str origin, Str host)
{
    ptrdiff_t at = str_find(origin, STR("://"));
    Str theirs = at >= 0 ? str_slice(origin, (size_t)at + 3, origin.len) : STR_NULL;
    return theirs.len && (str_ieq(theirs, host) || is_of_this_machine(theirs));
}

int origin_check(const Request *q, Err *err)
{
    const Rest *r = q->rest;
    Str origin = http_req_header(q->http, "Origin"), host = http_req_header(q->http, "Host");
    if (!auth_is_open(r->o.auth))
        return 0;
    if (origin.ptr && !is_own_origin(origin, host) && !cors_allows(r->cors, origin))
        return err_set(err, ERR_FORBIDDEN,
                       "pages of other origins may not call this server while authentication is off: see"
                       " --cors-allowed-origins");
    if (r->o.local_only && may_be_foreign(host))
        return err_set(err, ERR_FORBIDDEN,
                       "this server is called localhost while authentication is off: see --insecure-no-auth");
    return 0;
}
