/* One request and its answer, as curl's easy handle. */
#include <assert.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include "base/mem.h"
#include "client-internal.h"
#include "http-internal.h"
#include "http/url.h"

#define CONNECT_TIMEOUT (10 * USEC_PER_SEC)
#define BODY_MAX (64UL << 20)
#define FIELDS_MAX (256UL << 10)
#define KEEPALIVE_SECONDS 30L
/* A peer that is silent to so many probes, or to data for so long, is gone. The kernel's own idea is 15
 * minutes. */
#define KEEPALIVE_PROBES 3
#define UNACKED_MSEC 60000U

/* ---- The request ---- */

static int add_header_text(HttpCall *call, const char *text)
{
    struct curl_slist *list = curl_slist_append(call->headers, text);
    if (!list)
        return -1;
    call->headers = list;
    return 0;
}

/* In curl's language "Name;" is a header with an empty value, and "Name:" one that is not sent. */
static int add_header(HttpCall *call, const char *name, Str value)
{
    if (!http_is_token(str_from(name)) || !http_is_field_value(value))
        return err_set(&call->err, ERR_INVALID, "http: header %s is not valid", name);
    Buf text = BUF_INIT(FIELDS_MAX);
    buf_addf(&text, "%s%s", name, value.len ? ": " : ";");
    buf_adds(&text, value);
    int rc = text.failed || add_header_text(call, text.data) < 0
                 ? err_set(&call->err, ERR_TOO_LARGE, "http: header %s is too long", name)
                 : 0;
    secret_erase(text.data, text.cap);
    buf_done(&text);
    return rc;
}

static bool has_header(const HttpRequest *req, const char *name)
{
    for (size_t i = 0; i < req->n_headers; i++)
        if (str_ieq(str_from(req->headers[i].name), str_from(name)))
            return true;
    return false;
}

/* The only place that reads the token. The copy in the list is erased by call_free(). */
static int add_bearer(HttpCall *call, const Secret *token)
{
    Buf value = BUF_INIT(FIELDS_MAX);
    buf_addz(&value, "Bearer ");
    buf_adds(&value, secret_reveal(token));
    int rc = add_header(call, "Authorization", buf_str(&value));
    secret_erase(value.data, value.cap);
    buf_done(&value);
    return rc;
}

static int set_headers(HttpCall *call, const HttpRequest *req)
{
    int rc = 0;
    for (size_t i = 0; i < req->n_headers && rc == 0; i++)
        rc = add_header(call, req->headers[i].name, req->headers[i].value);
    if (rc == 0 && req->bearer)
        rc = add_bearer(call, req->bearer);
    /* What curl would add by itself to a request with a body. */
    if (rc == 0 && !has_header(req, "Expect"))
        rc = add_header_text(call, "Expect:");
    if (rc == 0 && !has_header(req, "Content-Type"))
        rc = add_header_text(call, "Content-Type:");
    if (rc < 0 && !call->err.code)
        err_set(&call->err, ERR_INTERNAL, "http: no memory for headers");
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
    return rc;
}

static void set_method(HttpCall *call, const HttpRequest *req)
{
    CURL *e = call->easy;
    if (str_eqz(str_from(req->method), "HEAD"))
        curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    bool post = str_eqz(str_from(req->method), "POST");
    if (req->body.ptr || post) {
        call->body = str_dup(req->body);
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, call->body);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body.len);
    }
    curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, req->method);
}

static long to_ms(Usec t)
{
    if (t == USEC_NEVER)
        return 0; /* none */
    Usec ms = t / USEC_PER_MSEC;
    return ms == 0 ? 1 : ms > INT_MAX ? INT_MAX : (long)ms;
}

/* This machine is reached directly, whatever proxy the environment names. */
static bool is_loopback(Str host)
{
    return str_ieq(host, STR("localhost")) || str_starts(host, STR("127.")) || str_eqz(host, "::1");
}

static int set_target(HttpCall *call, const HttpRequest *req)
{
    Url u;
    int rc = url_parse(str_from(req->url), &u, &call->err);
    if (rc < 0)
        return rc;
    if (u.has_userinfo)
        return err_set(&call->err, ERR_INVALID, "http: URL holds a user name: use a bearer token");
    if (!http_is_token(str_from(req->method)))
        return err_set(&call->err, ERR_INVALID, "http: method is not valid");
    call->where = xasprintf(STR_FMT "://" STR_FMT "%s" STR_FMT, STR_ARG(u.scheme), STR_ARG(u.host),
                            u.port.len ? ":" : "", STR_ARG(u.port));
    curl_easy_setopt(call->easy, CURLOPT_URL, req->url);
    if (call->client->unix_socket)
        curl_easy_setopt(call->easy, CURLOPT_UNIX_SOCKET_PATH, call->client->unix_socket);
    if (call->client->proxy) {
        curl_easy_setopt(call->easy, CURLOPT_PROXY, call->client->proxy);
        curl_easy_setopt(call->easy, CURLOPT_NOPROXY, "");
    } else if (call->client->unix_socket || is_loopback(u.host)) {
        curl_easy_setopt(call->easy, CURLOPT_NOPROXY, "*");
    }
    return 0;
}

static size_t body_cb(char *bytes, size_t size, size_t n, void *arg);
static size_t header_cb(char *bytes, size_t size, size_t n, void *arg);

static int set_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    int probes = KEEPALIVE_PROBES;
    unsigned unacked = UNACKED_MSEC;
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked, sizeof unacked);
    return CURL_SOCKOPT_OK;
}

static void set_blob(CURL *e, CURLoption option, Str pem)
{
    struct curl_blob blob = {.data = (void *)(uintptr_t)pem.ptr, .len = pem.len, .flags = CURL_BLOB_COPY};
    curl_easy_setopt(e, option, &blob);
}

/* Connections are shared only by calls with the same certificate: curl compares. */
static void set_identity(HttpCall *call, const HttpIdentity *id)
{
    CURL *e = call->easy;
    if (!id)
        return;
    set_blob(e, CURLOPT_SSLCERT_BLOB, id->cert);
    set_blob(e, CURLOPT_SSLKEY_BLOB, secret_reveal(id->key));
}

static int before_request(void *arg, char *peer, char *local, int peer_port, int local_port)
{
    HttpCall *call = arg;
    if (call->cancelled || call->may_send(call->arg))
        return CURL_PREREQFUNC_OK;
    err_set(&call->err, ERR_PRECONDITION, "%s: the request must not be sent any more", call->where);
    return CURL_PREREQFUNC_ABORT;
}

static void set_rules(HttpCall *call, const HttpRequest *req)
{
    CURL *e = call->easy;
    const HttpClient *c = call->client;
    curl_easy_setopt(e, CURLOPT_PRIVATE, call);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, call->curl_error);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* a proxy sees none of our headers */
    curl_easy_setopt(e, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(e, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPIDLE, KEEPALIVE_SECONDS);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPINTVL, KEEPALIVE_SECONDS);
    curl_easy_setopt(e, CURLOPT_SOCKOPTFUNCTION, set_socket);
    curl_easy_setopt(e, CURLOPT_CONNECT_TO, c->connect_to);
    if (req->may_send) {
        curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, before_request);
        curl_easy_setopt(e, CURLOPT_PREREQDATA, call);
    }
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, to_ms(req->timeout));
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS,
                     to_ms(req->connect_timeout ? req->connect_timeout : CONNECT_TIMEOUT));
    curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (c->ca_file)
        curl_easy_setopt(e, CURLOPT_CAINFO, c->ca_file);
    if (c->ca_pem)
        set_blob(e, CURLOPT_CAINFO_BLOB, str_from(c->ca_pem));
    set_identity(call, req->identity);
    if (c->insecure) {
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    curl_easy_setopt(e, CURLOPT_USERAGENT, c->user_agent ? c->user_agent : "ambient/" AMBIENT_VERSION);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, body_cb);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, header_cb);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, call);
}

static Str response_header(const HttpResponse *r, const char *name);

HttpCall *call_new(HttpClient *c, const HttpRequest *req, HttpDone done, void *arg)
{
    HttpCall *call = xnew(HttpCall);
    call->client = c;
    list_init(&call->link);
    call->done = done;
    call->arg = arg;
    call->on_piece = req->on_piece;
    call->every_status = req->every_status;
    call->on_headers = req->on_headers;
    call->may_send = req->may_send;
    buf_init(&call->in, req->body_max ? req->body_max : BODY_MAX);
    buf_init(&call->fields, FIELDS_MAX);
    call->response = (HttpResponse){.header = response_header, .impl = call};
    call->easy = curl_easy_init();
    if (!call->easy) {
        err_set(&call->err, ERR_INTERNAL, "http: no memory for the call");
        return call;
    }
    if (set_target(call, req) < 0)
        return call;
    set_rules(call, req);
    set_method(call, req);
    set_headers(call, req);
    return call;
}

static void erase_headers(struct curl_slist *list)
{
    for (struct curl_slist *h = list; h; h = h->next)
        secret_erase(h->data, strlen(h->data));
    curl_slist_free_all(list);
}

static void call_free(void *arg)
{
    HttpCall *call = arg;
    list_remove(&call->link);
    if (call->added)
        curl_multi_remove_handle(call->client->multi, call->easy);
    if (call->easy)
        curl_easy_cleanup(call->easy);
    erase_headers(call->headers);
    free(call->body);
    free(call->where);
    buf_done(&call->in);
    buf_done(&call->fields);
    free(call);
}

void http_cancel(HttpCall *call)
{
    if (!call || call->cancelled)
        return;
    call->cancelled = true;
    loop_defer(call->client->loop, call_free, call);
}

/* ---- The answer ---- */

static Str response_header(const HttpResponse *r, const char *name)
{
    const HttpCall *call = r->impl;
    Str rest = buf_str(&call->fields);
    while (rest.ptr && rest.len > 0) {
        Str value = str_cut(&rest, '\n');
        Str field = str_cut(&value, ':');
        if (value.ptr && str_ieq(str_trim(field), str_from(name)))
            return str_trim(value);
    }
    return STR_NULL;
}

bool http_response_field(const HttpResponse *r, size_t *at, Str *ret_name, Str *ret_value)
{
    const HttpCall *call = r->impl;
    while (*at < call->fields.len) {
        Str rest = str_slice(buf_str(&call->fields), *at, call->fields.len);
        Str value = str_cut(&rest, '\n');
        *at += value.len + 1;
        Str name = str_cut(&value, ':');
        if (!value.ptr)
            continue;
        *ret_name = str_trim(name);
        *ret_value = str_trim(value);
        return true;
    }
    return false;
}

/* The end of a header block. Blocks of interim answers (1xx) come before the real one and are forgotten. */
static void headers_end(HttpCall *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200)
        return;
    call->headers_done = true;
    call->response.status = (int)status;
    call->response.content_type = response_header(&call->response, "content-type");
    if (call->on_piece && call->on_headers)
        call->on_headers(call->arg, &call->response);
}

/* Whole lines, one a call. Returning less than was given ends the transfer. */
static size_t header_cb(char *bytes, size_t size, size_t n, void *arg)
{
    HttpCall *call = arg;
    Str line = str_trim((Str){bytes, size * n});
    if (call->cancelled)
        return CURL_WRITEFUNC_ERROR;
    if (call->headers_done)
        return size * n; /* trailers */
    if (line.len == 0)
        headers_end(call);
    else if (str_starts(line, STR("HTTP/")))
        buf_clear(&call->fields);
    else if (buf_adds(&call->fields, line) < 0 || buf_addc(&call->fields, '\n') < 0)
        err_set(&call->err, ERR_TOO_LARGE, "%s: answer has too many headers", call->where);
    return call->cancelled || call->err.code ? CURL_WRITEFUNC_ERROR : size * n;
}

static size_t body_cb(char *bytes, size_t size, size_t n, void *arg)
{
    HttpCall *call = arg;
    Str piece = {bytes, size * n};
    if (call->cancelled)
        return CURL_WRITEFUNC_ERROR;
    if (call->on_piece && (call->every_status || call->response.status / 100 == 2))
        call->on_piece(call->arg, piece);
    else if (buf_adds(&call->in, piece) < 0)
        err_set(&call->err, ERR_TOO_LARGE, "%s: answer is larger than %zu bytes", call->where, call->in.max);
    return call->cancelled || call->err.code ? CURL_WRITEFUNC_ERROR : piece.len;
}

static ErrCode code_of(CURLcode result)
{
    switch (result) {
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_DEADLINE;
    case CURLE_FILESIZE_EXCEEDED:
        return ERR_TOO_LARGE;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return ERR_INVALID;
    case CURLE_OUT_OF_MEMORY:
        return ERR_INTERNAL;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* Going on makes curl pass on what it holds, inside that call: so it is made by a post. */
void http_pause(HttpCall *call, bool paused)
{
    if (!call || call->cancelled)
        return;
    call->resume = !paused;
    if (call->resume)
        client_kick(call->client);
    else if (call->added)
        curl_easy_pause(call->easy, CURLPAUSE_RECV);
}

void call_resume(HttpCall *call)
{
    if (call->resume && call->added && !call->cancelled)
        curl_easy_pause(call->easy, CURLPAUSE_CONT);
    call->resume = false;
}

void call_finish(HttpCall *call, CURLcode result)
{
    call->cancelled = true; /* http_cancel() in the callback, or by http_client_free(), is late now */
    loop_defer(call->client->loop, call_free, call);
    if (!call->err.code && result != CURLE_OK)
        err_set(&call->err, code_of(result), "%s: %s", call->where,
                *call->curl_error ? call->curl_error : curl_easy_strerror(result));
    curl_off_t connected = 0;
    if (call->easy && curl_easy_getinfo(call->easy, CURLINFO_PRETRANSFER_TIME_T, &connected) == CURLE_OK)
        call->reached = connected > 0;
    call->response.body = buf_str(&call->in);
    bool failed = call->err.code != ERR_OK;
    call->done(call->arg, failed ? NULL : &call->response, failed ? &call->err : NULL);
}

bool http_reached(const HttpCall *call)
{
    return call->reached;
}
