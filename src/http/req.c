/* What a handler can ask about its request. */
#include <assert.h>
#include "base/mem.h"
#include "http/url.h"
#include "server-internal.h"

#define REPLY_FIELDS_MAX (64UL * 1024)

HttpReq *req_new(HttpConn *hc)
{
    const HttpLimits *limits = &hc->server->limits;
    HttpReq *r = xnew(HttpReq);
    r->hc = hc;
    parser_init(&r->parser, limits->headers_max, limits->body_max, limits->upload_max);
    buf_init(&r->path, limits->headers_max);
    buf_init(&r->query_text, limits->headers_max);
    buf_init(&r->reply_fields, REPLY_FIELDS_MAX);
    return r;
}

HttpReq *req_free(HttpReq *r)
{
    if (!r)
        return NULL;
    if (r->on_gone)
        r->on_gone(r->user);
    parser_done(&r->parser);
    buf_done(&r->path);
    buf_done(&r->query_text);
    vec_free(&r->query_pairs);
    buf_done(&r->reply_fields);
    free(r);
    return NULL;
}

static int bad_target(HttpReq *r)
{
    return parser_refuse(&r->parser, 400, ERR_BAD_REQUEST, "request target is not valid");
}

/* origin-form, "*", or absolute-form, whose host is ours whatever it says: there is one host here. */
int req_complete(HttpReq *r)
{
    Str path = parser_str(&r->parser, r->parser.target);
    Url u;
    if (path.ptr[0] == '/' || str_eqz(path, "*")) {
        r->query = path;
        path = str_cut(&r->query, '?');
    } else if (url_parse(path, &u, NULL) == 0) {
        r->query = u.query;
        path = u.path.len ? u.path : STR("/");
    } else {
        return bad_target(r);
    }
    if (url_unescape(&r->path, path, false) < 0 || str_find_byte(buf_str(&r->path), '\0') >= 0)
        return bad_target(r);
    return 0;
}

Str http_req_method(const HttpReq *r)
{
    return parser_str(&r->parser, r->parser.method);
}

Str http_req_path(const HttpReq *r)
{
    return buf_str(&r->path);
}

Str http_req_raw_target(const HttpReq *r)
{
    return parser_str(&r->parser, r->parser.target);
}

Str http_req_header(const HttpReq *r, const char *name)
{
    Str wanted = str_from(name);
    VEC_FOREACH (&r->parser.fields, f)
        if (f->name.len == wanted.len && str_ieq(parser_str(&r->parser, f->name), wanted))
            return parser_str(&r->parser, f->value);
    return STR_NULL;
}

bool http_req_field(const HttpReq *r, size_t i, Str *ret_name, Str *ret_value)
{
    if (i >= r->parser.fields.len)
        return false;
    *ret_name = parser_str(&r->parser, r->parser.fields.ptr[i].name);
    *ret_value = parser_str(&r->parser, r->parser.fields.ptr[i].value);
    return true;
}

/* Appends the decoded text; 0, or -1 when an escape is broken. */
static int decode(Buf *b, Str s, Span *ret)
{
    size_t at = b->len;
    if (url_unescape(b, s, true) < 0) {
        buf_truncate(b, at);
        return -1;
    }
    *ret = (Span){.at = (unsigned)at, .len = (unsigned)(b->len - at)};
    return 0;
}

/* application/x-www-form-urlencoded; a pair with a broken escape is as if it were not there. */
static void decode_query(HttpReq *r)
{
    r->query_done = true;
    for (Str rest = r->query; rest.ptr;) {
        Str value = str_cut(&rest, '&');
        Str name = str_cut(&value, '=');
        QueryPair pair;
        if (decode(&r->query_text, name, &pair.name) == 0 && decode(&r->query_text, value, &pair.value) == 0)
            vec_push(&r->query_pairs, pair);
    }
}

static Str query_str(const HttpReq *r, Span s)
{
    return str_slice(buf_str(&r->query_text), s.at, (size_t)s.at + s.len);
}

Str http_req_query(const HttpReq *r, const char *name)
{
    if (!r->query_done)
        decode_query((HttpReq *)(uintptr_t)r); /* a cache: for the caller nothing changes */
    VEC_FOREACH (&r->query_pairs, pair)
        if (str_eqz(query_str(r, pair->name), name))
            return query_str(r, pair->value);
    return STR_NULL;
}

Str http_req_body(const HttpReq *r)
{
    return buf_str(&r->parser.body);
}

const char *http_req_peer(const HttpReq *r)
{
    return conn_peer(r->hc->conn);
}

void http_req_set_user(HttpReq *r, void *user, LoopFn on_gone)
{
    r->user = user;
    r->on_gone = on_gone;
}

void http_req_ends_with_client(HttpReq *r)
{
    r->ends_with_client = true;
}

void *http_req_user(const HttpReq *r)
{
    return r->user;
}
