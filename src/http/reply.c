/* Answers: whole ones, streams, and those that this room gives by itself. */
#include <assert.h>
#include <stdio.h>
#include "base/log.h"
#include "base/mem.h"
#include "http-internal.h"
#include "server-internal.h"

/* Bodies from here on are handed to the connection as they are; smaller ones are cheaper to copy. */
#define MOVE_MIN (16UL * 1024)
#define ERROR_BODY_MAX (16UL * 1024)
#define BUSY_LINGER USEC_PER_SEC
#define RETRY_AFTER STR("Retry-After: 1\r\n")

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Content"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

static const char *reason_of(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "";
}

static bool has_no_body(int status)
{
    return status == 204 || status == 304;
}

/* ---- Header fields ---- */

/* How a message is framed, and what follows from the connection, is decided here and not by handlers. */
static bool is_ours(Str name)
{
    static const char *const ours[] = {"connection", "content-length", "date", "transfer-encoding"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        if (str_ieq(name, str_from(ours[i])))
            return true;
    return false;
}

/* Removes the line of that name, if there is one. */
static void remove_field(Buf *fields, Str name)
{
    for (size_t at = 0; at < fields->len;) {
        Str rest = str_slice(buf_str(fields), at, fields->len);
        size_t len = (size_t)str_find_byte(rest, '\n') + 1;
        if (str_istarts(rest, name) && rest.ptr[name.len] == ':') {
            memmove(fields->data + at, fields->data + at + len, fields->len - at - len);
            buf_truncate(fields, fields->len - len);
            return;
        }
        at += len;
    }
}

static bool may_be_sent(const char *name, Str value)
{
    if (is_ours(str_from(name)))
        return false;
    if (http_is_token(str_from(name)) && http_is_field_value(value))
        return true;
    log_warn("answer's header field is not valid and was left out", F_STR("name", name));
    return false;
}

static void add_field(HttpReq *r, const char *name, Str value)
{
    size_t before = r->reply_fields.len;
    buf_addz(&r->reply_fields, name);
    buf_addz(&r->reply_fields, ": ");
    buf_adds(&r->reply_fields, value);
    buf_addz(&r->reply_fields, "\r\n");
    if (r->reply_fields.failed) {
        buf_truncate(&r->reply_fields, before);
        log_warn("answer's header fields are too large, one was left out", F_STR("name", name));
    }
}

void http_reply_header(HttpReq *r, const char *name, Str value)
{
    if (!may_be_sent(name, value))
        return;
    remove_field(&r->reply_fields, str_from(name));
    add_field(r, name, value);
}

void http_reply_header_add(HttpReq *r, const char *name, Str value)
{
    if (may_be_sent(name, value))
        add_field(r, name, value);
}

static void write_status(Conn *c, HttpServer *s, int status)
{
    char line[128];
    int n = snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\nDate: %s\r\n", status, reason_of(status),
                     server_date(s));
    conn_write(c, (Str){line, (size_t)n});
}

static void write_length(Conn *c, size_t len)
{
    char line[48];
    int n = snprintf(line, sizeof line, "Content-Length: %zu\r\n", len);
    conn_write(c, (Str){line, (size_t)n});
}

/* Must agree with what http_conn_answered() does. HTTP/1.0 has to be told of the other case. */
static void write_connection(const HttpReq *r)
{
    if (!parser_keeps_alive(&r->parser) || r->hc->server->draining)
        conn_write(r->hc->conn, STR("Connection: close\r\n"));
    else if (r->parser.minor == 0)
        conn_write(r->hc->conn, STR("Connection: keep-alive\r\n"));
}

static bool is_head(const HttpReq *r)
{
    return str_eqz(http_req_method(r), "HEAD");
}

/* Returns whether a body follows. */
static bool write_head(HttpReq *r, int status, size_t body_len)
{
    Conn *c = r->hc->conn;
    assert(r->hc->state == HTTP_ANSWERING && status >= 200 && status <= 599);
    write_status(c, r->hc->server, status);
    conn_write(c, buf_str(&r->reply_fields));
    if (!has_no_body(status))
        write_length(c, body_len);
    write_connection(r);
    conn_write(c, STR("\r\n"));
    return body_len > 0 && !has_no_body(status) && !is_head(r);
}

/* ---- Whole answers ---- */

void http_reply(HttpReq *r, int status, Str body)
{
    if (write_head(r, status, body.len))
        conn_write(r->hc->conn, body);
    http_conn_answered(r->hc);
}

void http_reply_buf(HttpReq *r, int status, Buf *body)
{
    size_t len = body->len;
    bool follows = write_head(r, status, len);
    if (follows && len >= MOVE_MIN) {
        char *bytes = buf_take(body);
        conn_write_ref(r->hc->conn, (Str){bytes, len}, free, bytes);
    } else {
        if (follows)
            conn_write(r->hc->conn, buf_str(body));
        buf_clear(body);
    }
    http_conn_answered(r->hc);
}

/* ---- Streams ---- */

static HttpReq *req_of(HttpStream *s)
{
    return CONTAINER_OF(s, HttpReq, stream);
}

HttpStream *http_stream_start(HttpReq *r, int status, const HttpStreamOps *ops, void *arg)
{
    Conn *c = r->hc->conn;
    HttpStream *s = &r->stream;
    assert(r->hc->state == HTTP_ANSWERING && !has_no_body(status));
    *s = (HttpStream){.ops = ops, .arg = arg, .chunked = r->parser.minor > 0, .no_body = is_head(r)};
    if (!s->chunked) /* only the end of the connection ends the body */
        r->parser.close = true;
    write_status(c, r->hc->server, status);
    conn_write(c, buf_str(&r->reply_fields));
    if (s->chunked)
        conn_write(c, STR("Transfer-Encoding: chunked\r\n"));
    write_connection(r);
    conn_write(c, STR("\r\n"));
    r->hc->state = HTTP_STREAMING;
    http_conn_streams(r->hc);
    return s;
}

bool http_stream_writable(const HttpStream *s)
{
    const char *at = (const char *)s - offsetof(HttpReq, stream);
    const HttpConn *hc = ((const HttpReq *)(const void *)at)->hc;
    return conn_out_len(hc->conn) < hc->server->limits.stream_out_max;
}

static void write_chunk_size(Conn *c, size_t len)
{
    char line[24];
    int n = snprintf(line, sizeof line, "%zx\r\n", len);
    conn_write(c, (Str){line, (size_t)n});
}

void http_stream_write(HttpStream *s, Str bytes)
{
    Conn *c = req_of(s)->hc->conn;
    if (bytes.len == 0 || s->no_body)
        return;
    if (s->chunked)
        write_chunk_size(c, bytes.len);
    conn_write(c, bytes);
    if (s->chunked)
        conn_write(c, STR("\r\n"));
}

void http_stream_write_ref(HttpStream *s, Str bytes, LoopFn release, void *arg)
{
    Conn *c = req_of(s)->hc->conn;
    if (bytes.len == 0 || s->no_body) {
        loop_defer(req_of(s)->hc->server->loop, release, arg);
        return;
    }
    if (s->chunked)
        write_chunk_size(c, bytes.len);
    conn_write_ref(c, bytes, release, arg);
    if (s->chunked)
        conn_write(c, STR("\r\n"));
}

void http_stream_end(HttpStream *s)
{
    HttpConn *hc = req_of(s)->hc;
    if (s->chunked && !s->no_body)
        conn_write(hc->conn, STR("0\r\n\r\n"));
    hc->state = HTTP_ANSWERING;
    http_conn_answered(hc);
}

void http_stream_abort(HttpStream *s)
{
    http_conn_close(req_of(s)->hc);
}

/* ---- Errors ---- */

static void write_error(Conn *c, HttpServer *s, int status, ErrCode code, const char *reason, Str extra,
                        bool no_body)
{
    CLEANUP_BUF Buf body = BUF_INIT(ERROR_BODY_MAX);
    const char *type = "text/plain";
    if (s->error_body)
        s->error_body(s->arg, code, reason, &body, &type);
    else
        buf_addf(&body, "%s\n", reason);
    write_status(c, s, status);
    conn_write(c, extra);
    conn_write(c, STR("Content-Type: "));
    conn_write(c, str_from(type));
    conn_write(c, STR("\r\n"));
    write_length(c, body.len);
    conn_write(c, STR("Connection: close\r\n\r\n"));
    if (!no_body)
        conn_write(c, buf_str(&body));
}

void reply_refusal(HttpConn *hc, int status, ErrCode code, const char *reason)
{
    write_error(hc->conn, hc->server, status, code, reason, STR_NULL, hc->req && is_head(hc->req));
    http_conn_close(hc);
}

void reply_busy(Conn *c, HttpServer *s, int status, ErrCode code)
{
    write_error(c, s, status, code, err_info(code)->reason, RETRY_AFTER, false);
    conn_close_after_flush(c, BUSY_LINGER);
}
