/* Cross-origin requests of browsers. rest-core.md 1.6, https://fetch.spec.whatwg.org/#http-cors-protocol */
#include "rest-internal.h"

#include "base/vec.h"

struct Cors {
    VEC_OF(char *)
    origins;
    VEC_OF(char *)
    headers;
    bool all;
};

static const char *const methods[] = {"DELETE", "GET", "PATCH", "POST", "PUT"};
static const char *const own_headers =
    "Authorization,Content-Type,X-Forwarded-Access-Token,X-Ambient-Project,"
    "Idempotency-Key,Last-Event-ID,If-Match,If-None-Match,"
    "Accept,Accept-Language,Content-Language,Origin";

static void add_items(Cors *c, const char *list, bool origins)
{
    Str rest = str_from(list);
    while (rest.ptr) {
        Str item = str_trim(str_cut(&rest, ','));
        if (!item.len)
            continue;
        if (origins)
            vec_push(&c->origins, str_dup(item));
        else
            vec_push(&c->headers, str_dup(item));
        c->all = c->all || (origins && str_eq(item, STR("*")));
    }
}

Cors *cors_new(const char *origins, const char *headers)
{
    Cors *c = xnew(Cors);
    add_items(c, origins, true);
    add_items(c, own_headers, false);
    add_items(c, headers, false);
    return c;
}

Cors *cors_free(Cors *c)
{
    if (!c)
        return NULL;
    VEC_FOREACH (&c->origins, s)
        free(*s);
    VEC_FOREACH (&c->headers, s)
        free(*s);
    vec_free(&c->origins);
    vec_free(&c->headers);
    free(c);
    return NULL;
}

bool cors_varies(const Cors *c)
{
    return !c->all && c->origins.len > 1;
}

bool cors_allows(const Cors *c, Str origin)
{
    if (!origin.len)
        return false;
    if (c->all)
        return true;
    VEC_FOREACH (&c->origins, s)
        if (str_ieq(origin, str_from(*s)))
            return true;
    return false;
}

static void allow_origin(Request *q, Str origin)
{
    http_reply_header(q->http, "Access-Control-Allow-Origin", q->rest->cors->all ? STR("*") : origin);
}

void cors_headers(Request *q)
{
    Str origin = http_req_header(q->http, "Origin");
    if (!cors_allows(q->rest->cors, origin))
        return;
    allow_origin(q, origin);
    http_reply_header(q->http, "Access-Control-Expose-Headers",
                      STR("ETag, Idempotency-Replayed, X-Operation-ID"));
}

static bool method_allowed(Str method)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (str_eqz(method, methods[i]))
            return true;
    return false;
}

static bool header_allowed(Cors *c, Str name)
{
    VEC_FOREACH (&c->headers, s)
        if (str_ieq(name, str_from(*s)))
            return true;
    return false;
}

static bool headers_allowed(Cors *c, Str list)
{
    while (list.ptr) {
        Str name = str_trim(str_cut(&list, ','));
        if (name.len && !header_allowed(c, name))
            return false;
    }
    return true;
}

void cors_preflight(Request *q)
{
    Str origin = http_req_header(q->http, "Origin");
    Str method = http_req_header(q->http, "Access-Control-Request-Method");
    Str headers = http_req_header(q->http, "Access-Control-Request-Headers");
    if (!cors_allows(q->rest->cors, origin)) {
        http_reply(q->http, 200, STR_NULL);
        return;
    }
    if (!method.len) {
        rest_reply_error(q, &(Err){ERR_INVALID, "Access-Control-Request-Method is missing"});
        return;
    }
    if (!method_allowed(method)) {
        rest_reply_error(q, &(Err){ERR_METHOD_NOT_ALLOWED, "method is not allowed across origins"});
        return;
    }
    if (!headers_allowed(q->rest->cors, headers)) {
        rest_reply_error(q, &(Err){ERR_FORBIDDEN, "a requested header is not allowed across origins"});
        return;
    }
    http_reply_header(q->http, "Access-Control-Max-Age", STR("600"));
    if (headers.len)
        http_reply_header(q->http, "Access-Control-Allow-Headers", headers);
    if (!str_eq(method, STR("GET")) && !str_eq(method, STR("POST")))
        http_reply_header(q->http, "Access-Control-Allow-Methods", method);
    rest_reply_empty(q, 200);
}
