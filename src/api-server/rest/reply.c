/* Answers. Each function here ends its request. rest-core.md 1.5 and 5. */
#include "rest-internal.h"

#include <assert.h>

void error_object(ErrCode code, const char *reason, Str operation_id, bool error_key, Buf *out)
{
    int no = err_info(code)->reference_no;
    (void)buf_addf(out, "{\"code\":\"ambient-api-server-%d\",", no);
    if (error_key) {
        (void)buf_addz(out, "\"error\":");
        json_write_str(out, str_from(reason));
        (void)buf_addc(out, ',');
    }
    (void)buf_addf(out, "\"href\":\"" API_PREFIX "/errors/%d\",\"id\":\"%d\",\"kind\":\"Error\",", no, no);
    if (operation_id.len)
        (void)buf_addf(out, "\"operation_id\":\"" STR_FMT "\",", STR_ARG(operation_id));
    (void)buf_addz(out, "\"reason\":");
    json_write_str(out, str_from(reason));
    (void)buf_addc(out, '}');
}

void rest_reply_common_headers(Request *q)
{
    if (q->route)
        http_reply_header(q->http, "X-Operation-ID", str_from(q->operation_id));
    http_reply_header(q->http, "Vary",
                      cors_varies(q->rest->cors) ? STR("Accept-Encoding, Authorization, Origin")
                                                 : STR("Accept-Encoding, Authorization"));
    cors_headers(q);
}

void pack_output(Request *q)
{
    if (!q->gzip || q->out.len < GZIP_MIN || q->packed.len)
        return;
    if (gzip_pack(buf_str(&q->out), &q->packed) < 0)
        buf_clear(&q->packed);
}

static void good_headers(Request *q, int status, const char *type)
{
    request_log(q, status, NULL);
    request_count(q, status);
    rest_reply_common_headers(q);
    http_reply_header(q->http, "Content-Type", str_from(type));
}

/* ---- entity tags ---- */

static void etag_header(Request *q, bool packed)
{
    char text[SVC_ETAG_SIZE + sizeof("-gzip")];
    if (!*q->etag)
        return;
    (void)snprintf(text, sizeof(text), "%.*s%s", (int)strlen(q->etag) - 1, q->etag,
                   packed ? "-gzip\"" : "\"");
    http_reply_header(q->http, "ETag", str_from(text));
}

static bool client_has_it(Request *q)
{
    Str known = http_req_header(q->http, "If-None-Match");
    return *q->etag && known.ptr && str_eq(http_req_method(q->http), STR("GET")) &&
           svc_etag_listed(known, q->etag, true);
}

void rest_reply_kept(Request *q, Str body, bool packed)
{
    etag_header(q, packed);
    if (client_has_it(q)) {
        rest_reply_empty(q, 304);
        return;
    }
    good_headers(q, 200, "application/json");
    if (packed)
        http_reply_header(q->http, "Content-Encoding", STR("gzip"));
    http_reply(q->http, 200, body);
}

void rest_reply_body(Request *q, int status, Buf *body, const char *type)
{
    good_headers(q, status, type);
    if (body == &q->out) {
        pack_output(q);
        if (q->packed.len) {
            http_reply_header(q->http, "Content-Encoding", STR("gzip"));
            body = &q->packed;
        }
    }
    http_reply_buf(q->http, status, body);
}

void rest_reply_json(Request *q, int status, Buf *body)
{
    Err err;
    if (buf_check(body, &err) < 0)
        rest_reply_error(q, &(Err){ERR_TOO_LARGE, "the answer is too large; ask for a smaller size"});
    else
        rest_reply_body(q, status, body, "application/json");
}

void rest_reply_object(Request *q, int status)
{
    pack_output(q);
    if (!*q->etag)
        svc_etag(buf_str(&q->out), q->etag);
    etag_header(q, q->packed.len);
    if (client_has_it(q))
        rest_reply_empty(q, 304);
    else
        rest_reply_json(q, status, &q->out);
}

void rest_reply_empty(Request *q, int status)
{
    request_log(q, status, NULL);
    request_count(q, status);
    rest_reply_common_headers(q);
    http_reply(q->http, status, STR_NULL);
}

static void reply_error_body(Request *q, int status, const Err *err, Buf *body)
{
    request_log(q, status, err);
    request_count(q, status);
    rest_reply_common_headers(q);
    http_reply_header(q->http, "Content-Type", STR("application/json"));
    if (status == 401)
        http_reply_header(q->http, "WWW-Authenticate", STR("Bearer"));
    if (status == 503 || status == 429)
        http_reply_header(q->http, "Retry-After", STR("1"));
    http_reply_buf(q->http, status, body);
}

void rest_reply_error_with(Request *q, int status, const Err *err, const char *key, const json_t *value)
{
    CLEANUP_BUF Buf body = BUF_INIT((size_t)2 << 20);
    bool error_key = q->route && q->route->runner;
    error_object(err->code, svc_public_reason(err), str_from(q->operation_id), error_key, &body);
    if (value) {
        bool first = false;
        buf_truncate(&body, body.len - 1);
        json_key(&body, &first, key);
        json_write(&body, value);
        (void)buf_addc(&body, '}');
    }
    reply_error_body(q, status, err, &body);
}

void rest_reply_error_as(Request *q, int status, const Err *err)
{
    rest_reply_error_with(q, status, err, NULL, NULL);
}

void rest_reply_error(Request *q, const Err *err)
{
    int status = err_info(err->code)->http_status;
    rest_reply_error_as(q, status == 499 ? 503 : status, err);
}

/* The router's own shape: `type` and a number that is the status. `kind` is ours, for clients that look for
 * it. */
void rest_reply_not_found_path(Request *q, Str path)
{
    CLEANUP_BUF Buf body = BUF_INIT(65536);
    CLEANUP_BUF Buf reason = BUF_INIT(32768);
    (void)buf_addz(&reason, "The requested resource '");
    (void)buf_adds(&reason, str_slice(path, 0, 16384));
    (void)buf_addz(&reason, "' doesn't exist");
    (void)buf_addz(&body, "{\"type\":\"Error\",\"kind\":\"Error\",\"id\":\"404\",\"href\":\"" API_PREFIX
                          "/errors/404\",\"code\":\"ambient-api-server-404\",\"reason\":");
    json_write_str(&body, buf_str(&reason));
    (void)buf_addc(&body, '}');
    reply_error_body(q, 404, &(Err){ERR_NOT_FOUND, "no such path"}, &body);
}

void rest_reply_method_not_allowed(Request *q, Str allow)
{
    http_reply_header(q->http, "Allow", allow);
    rest_reply_error(q, &(Err){ERR_METHOD_NOT_ALLOWED, "HTTP Method not implemented for this endpoint"});
}

void rest_reply_redirect(Request *q, Str location)
{
    http_reply_header(q->http, "Location", location);
    rest_reply_empty(q, 301);
}
