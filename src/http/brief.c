#include "http/brief.h"

#include <assert.h>
#include "base/buf.h"
#include "base/mem.h"
#include "http/url.h"
#include "loop/conn.h"

#define TIMEOUT_DEFAULT (10 * USEC_PER_SEC)
#define BODY_DEFAULT ((size_t)1 << 20)
#define HEAD_MAX ((size_t)32 << 10)

struct BriefGet {
    Loop *loop;
    BriefDone done;
    void *arg;
    Conn *conn;
    Timer *limit;
    Buf request; /* head of the request; erased when it was sent */
    Buf in;      /* head and body of the answer */
    size_t max;
};

static void buf_erase(Buf *b)
{
    if (b->data)
        secret_erase(b->data, b->len);
    buf_done(b);
}

static void brief_free(BriefGet *g)
{
    conn_free(g->conn);
    timer_free(g->limit);
    buf_erase(&g->request);
    buf_erase(&g->in);
    free(g);
}

void brief_cancel(BriefGet *g)
{
    if (g)
        brief_free(g);
}

static void finish(BriefGet *g, int status, Str body, const Err *err)
{
    BriefDone done = g->done;
    void *arg = g->arg;
    Buf in = g->in;
    g->in = BUF_INIT(0);
    brief_free(g);
    done(arg, status, body, err);
    buf_erase(&in);
}

static void fail(BriefGet *g, ErrCode code, const char *why)
{
    Err err = {0};
    (void)err_set(&err, code, "HTTP request failed: %s", why);
    finish(g, 0, STR_NULL, &err);
}

/* ---- the answer ---- */

/* "HTTP/1.1 200 OK" */
static int read_status(Str line)
{
    int64_t status;
    Str rest = line, version = str_cut(&rest, ' '), code = str_cut(&rest, ' ');
    if (!str_starts(version, STR("HTTP/1.")) || code.len != 3 || str_to_i64(code, &status) < 0 ||
        status < 100)
        return -1;
    return (int)status;
}

/* What the header says of the length; -1 = nothing, -2 = what we cannot read. */
static int64_t read_length(Str head)
{
    int64_t length = -1;
    while (head.ptr && head.len) {
        Str line = str_trim(str_cut(&head, '\n')), value = line;
        Str name = str_cut(&value, ':');
        if (str_ieq(name, STR("Transfer-Encoding"))) /* not for us who speak HTTP/1.0 */
            return -2;
        if (!str_ieq(name, STR("Content-Length")))
            continue;
        if (length >= 0 || str_to_i64(str_trim(value), &length) < 0 || length < 0)
            return -2;
    }
    return length;
}

/* The peer has closed: what came is all. */
static void read_answer(BriefGet *g)
{
    Str in = buf_str(&g->in);
    ptrdiff_t end = str_find(in, STR("\r\n\r\n"));
    Str head = str_slice(in, 0, end < 0 ? 0 : (size_t)end);
    Str body = end < 0 ? STR_NULL : str_slice(in, (size_t)end + 4, in.len);
    int status = read_status(str_cut(&head, '\n'));
    int64_t length = read_length(head);
    if (end < 0 || status < 0 || length == -2)
        fail(g, ERR_BAD_GATEWAY, "the answer is not HTTP/1.0");
    else if (length > (int64_t)body.len)
        fail(g, ERR_UNAVAILABLE, "the answer was cut short");
    else if (body.len > g->max)
        fail(g, ERR_TOO_LARGE, "the answer is too large");
    else
        finish(g, status, length >= 0 ? str_slice(body, 0, (size_t)length) : body, NULL);
}

static size_t on_read(void *arg, Str bytes)
{
    BriefGet *g = arg;
    if (buf_adds(&g->in, bytes) < 0)
        fail(g, ERR_TOO_LARGE, "the answer is too large");
    return bytes.len;
}

static void on_end(void *arg, ConnEnd how, const char *why)
{
    BriefGet *g = arg;
    if (how == CONN_EOF)
        read_answer(g);
    else
        fail(g, how == CONN_TIMEOUT ? ERR_DEADLINE : ERR_UNAVAILABLE, why);
}

static void on_ready(void *arg)
{
    BriefGet *g = arg;
    conn_write(g->conn, buf_str(&g->request));
    buf_erase(&g->request);
}

static void on_limit(void *arg)
{
    fail(arg, ERR_DEADLINE, "no answer in time");
}

/* ---- the request ---- */

static void write_secret(Buf *b, const char *name, const char *scheme, const Secret *value)
{
    if (secret_is_empty(value))
        return;
    (void)buf_addf(b, "%s: %s", name, scheme);
    (void)buf_adds(b, secret_reveal(value));
    (void)buf_addz(b, "\r\n");
}

static void write_request(BriefGet *g, const Url *u, const BriefRequest *r)
{
    Buf *b = &g->request;
    (void)buf_addz(b, "GET ");
    (void)buf_adds(b, u->path.len ? u->path : STR("/"));
    if (u->query.len)
        (void)buf_addf(b, "?" STR_FMT, STR_ARG(u->query));
    (void)buf_addf(b, " HTTP/1.0\r\nHost: " STR_FMT, STR_ARG(u->host));
    if (u->port.len)
        (void)buf_addf(b, ":" STR_FMT, STR_ARG(u->port));
    (void)buf_addz(b, "\r\nAccept: application/json\r\nConnection: close\r\n");
    write_secret(b, "Authorization", "Bearer ", r->bearer);
    write_secret(b, r->proof_name, "", r->proof);
    (void)buf_addz(b, "\r\n");
}

/* Nothing in it may end a line of the request. */
static bool is_clean(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return false;
    return true;
}

static int dial(BriefGet *g, const Url *u, TlsContext *tls, Err *err)
{
    static const ConnOps ops = {.on_read = on_read, .on_end = on_end, .on_ready = on_ready};
    bool secure = str_eqz(u->scheme, "https"), v6 = str_find_byte(u->host, ':') >= 0;
    Str port = u->port.len ? u->port : secure ? STR("443") : STR("80");
    CLEANUP_FREE char *address =
        xasprintf("%s" STR_FMT "%s:" STR_FMT, v6 ? "[" : "", STR_ARG(u->host), v6 ? "]" : "", STR_ARG(port));
    if (secure && !tls)
        return err_set(err, ERR_INVALID, "https without a TLS context");
    return conn_connect(g->loop, address, secure ? tls : NULL, &ops, g, &g->conn, err);
}

int brief_get(Loop *l, const BriefRequest *r, BriefDone done, void *arg, BriefGet **ret, Err *err)
{
    Url u = {0};
    Str url = str_from(r->url);
    int rc = url_parse(url, &u, err);
    if (rc < 0)
        return rc;
    if (u.has_userinfo || !u.host.len || !is_clean(url) || !is_clean(secret_reveal(r->bearer)) ||
        !is_clean(secret_reveal(r->proof)))
        return err_set(err, ERR_INVALID, "not a URL, or not a token, that can be asked with");
    BriefGet *g = xnew(BriefGet);
    g->loop = l;
    g->done = done;
    g->arg = arg;
    g->max = r->max ? r->max : BODY_DEFAULT;
    buf_init(&g->request, HEAD_MAX);
    buf_init(&g->in, g->max + HEAD_MAX);
    write_request(g, &u, r);
    rc = buf_check(&g->request, err);
    if (rc == 0)
        rc = dial(g, &u, r->tls, err);
    if (rc < 0) {
        brief_free(g);
        return rc;
    }
    g->limit = timer_new(l, on_limit, g);
    timer_arm(g->limit, r->timeout ? r->timeout : TIMEOUT_DEFAULT);
    *ret = g;
    return 0;
}
