#include "rest/rest.h"

#include "rest-internal.h"

static void http_error_body(void *arg, ErrCode code, const char *reason, Buf *body, const char **content_type)
{
    error_object(code, reason, STR_NULL, false, body);
    *content_type = "application/json";
}

Rest *rest_new(Loop *l, const RestOptions *o)
{
    Rest *r = xnew(Rest);
    r->loop = l;
    r->o = *o;
    if (!r->o.message_max)
        r->o.message_max = MESSAGE_BODY_MAX;
    if (!r->o.ping_interval)
        r->o.ping_interval = 30 * USEC_PER_SEC;
    r->stats = xcalloc(rest_route_count(), sizeof(*r->stats));
    list_init(&r->requests);
    list_init(&r->streams);
    list_init(&r->proxies);
    list_init(&r->backends);
    r->ping = timer_new(l, sse_ping, r);
    r->cors = cors_new(o->cors_origins, o->cors_headers);
    r->streams_of_user = map_new();
    r->cache = o->shared_store ? NULL : cache_new();
    buf_init(&r->openapi, (size_t)4 << 20);
    return r;
}

int rest_listen(Rest *r, const char *address, TlsContext *tls, Err *err)
{
    int rc = r->o.trusted_proxies ? trusted_new(r->o.trusted_proxies, &r->trusted, err) : 0;
    if (rc < 0)
        return rc;
    return http_server_new(r->loop, address, tls, &r->o.limits, request_handle, http_error_body, r,
                           &r->server, err);
}

int rest_port(const Rest *r)
{
    return http_server_port(r->server);
}

void rest_end_streams(Rest *r)
{
    r->ending = true;
    sse_end_all(r);
    proxy_end_all(r);
    backend_end_all(r);
}

void rest_drain(Rest *r, LoopFn done, void *arg)
{
    http_server_drain(r->server, done, arg);
}

Rest *rest_free(Rest *r)
{
    if (!r)
        return NULL;
    http_server_free(r->server);
    timer_free(r->ping);
    cors_free(r->cors);
    trusted_free(r->trusted);
    cache_free(r->cache);
    map_free(r->streams_of_user);
    buf_done(&r->openapi);
    free(r->stats);
    free(r);
    return NULL;
}
