/* A client's connection: its states, its deadlines, and when the next request may begin. */
#include <assert.h>
#include "base/mem.h"
#include "server-internal.h"

/* A client that takes nothing of what waits for it for so long is cut. */
#define WRITE_STALL (60 * USEC_PER_SEC)
/* After the last answer the client's bytes are thrown away for this long, so that it can read the answer. */
#define LINGER (2 * USEC_PER_SEC)
/* Pipelined bytes that are kept while a request is answered; more are left with the kernel. */
#define PIPELINE_MAX (64UL * 1024)

static void arm(HttpConn *hc, Usec after)
{
    timer_arm(hc->timer, after);
}

/* ---- Ends ---- */

static void conn_memory(void *arg)
{
    HttpConn *hc = arg;
    timer_free(hc->timer);
    free(hc);
}

/* Unlinks it and leaves its socket alone. */
static void detach(HttpConn *hc)
{
    const HttpStream *stream = hc->state == HTTP_STREAMING ? &hc->req->stream : NULL;
    hc->freed = true;
    if (stream && stream->ops->on_gone)
        stream->ops->on_gone(stream->arg);
    timer_cancel(hc->timer);
    server_conn_gone(hc->server, hc);
    hc->req = req_free(hc->req);
    loop_defer(hc->server->loop, conn_memory, hc);
}

HttpConn *http_conn_free(HttpConn *hc)
{
    Conn *c = hc->conn;
    detach(hc);
    conn_free(c);
    return NULL;
}

static void finish_closing(HttpConn *hc)
{
    Conn *c = hc->conn;
    detach(hc);
    conn_close_after_flush(c, LINGER);
}

/* Counts as a connection until everything is sent, so that a drain waits for it. */
void http_conn_close(HttpConn *hc)
{
    hc->state = HTTP_CLOSING;
    hc->req = req_free(hc->req);
    timer_cancel(hc->timer);
    if (conn_out_len(hc->conn) == 0 || hc->half_closed) { /* no on_drain comes after the end of input */
        finish_closing(hc);
        return;
    }
    conn_set_low_mark(hc->conn, 0);
    conn_read_pause(hc->conn, true);
}

void http_conn_drain(HttpConn *hc)
{
    if (hc->state == HTTP_IDLE)
        http_conn_close(hc);
}

/* ---- Requests ---- */

static void start_reading(HttpConn *hc)
{
    hc->req = req_new(hc);
    hc->state = HTTP_READING;
    arm(hc, hc->server->limits.header_timeout);
}

static void on_headers(HttpConn *hc)
{
    if (hc->req->parser.expect_continue)
        conn_write(hc->conn, STR("HTTP/1.1 100 Continue\r\n\r\n"));
    arm(hc, hc->server->limits.body_timeout);
}

static void refuse(HttpConn *hc)
{
    const Parser *p = &hc->req->parser;
    reply_refusal(hc, p->status, p->err.code, p->err.msg);
}

static void on_request(HttpConn *hc)
{
    HttpServer *s = hc->server;
    timer_cancel(hc->timer);
    if (req_complete(hc->req) < 0) {
        refuse(hc);
        return;
    }
    hc->state = HTTP_ANSWERING;
    s->handler(s->arg, hc->req);
}

static size_t feed(HttpConn *hc, Str bytes)
{
    ParserNews news;
    if (hc->state == HTTP_IDLE)
        start_reading(hc);
    size_t used = parser_feed(&hc->req->parser, bytes, &news);
    if (news == PARSER_HEADERS)
        on_headers(hc);
    else if (news == PARSER_REQUEST)
        on_request(hc);
    else if (news == PARSER_ERROR)
        refuse(hc);
    return used;
}

static bool wants_bytes(const HttpConn *hc)
{
    return !hc->freed && !hc->flushing && (hc->state == HTTP_IDLE || hc->state == HTTP_READING);
}

static void set_paused(HttpConn *hc, bool paused)
{
    if (hc->paused != paused)
        conn_read_pause(hc->conn, paused);
    hc->paused = paused;
}

/* The client has ended its side: what it asked for before is answered, and then we are done. */
static void settle_half_closed(HttpConn *hc)
{
    if (hc->state == HTTP_IDLE || hc->state == HTTP_READING)
        http_conn_close(hc);
}

static size_t conn_read(void *arg, Str bytes)
{
    HttpConn *hc = arg;
    size_t used = 0;
    if (hc->state == HTTP_CLOSING)
        return bytes.len;
    hc->in_read = true;
    while (used < bytes.len && wants_bytes(hc))
        used += feed(hc, str_slice(bytes, used, bytes.len));
    hc->in_read = false;
    if (hc->freed || hc->state == HTTP_CLOSING)
        return bytes.len;
    hc->kept = bytes.len - used;
    if (hc->kept > PIPELINE_MAX && hc->state == HTTP_STREAMING) {
        http_conn_free(hc); /* who sends that much meanwhile reads no stream */
        return bytes.len;
    }
    set_paused(hc, hc->kept > PIPELINE_MAX);
    if (hc->half_closed && hc->kept == 0)
        settle_half_closed(hc);
    return used;
}

/* Kept bytes are shown to conn_read() again at the end of the turn. */
static void show_kept(HttpConn *hc)
{
    hc->paused = false;
    conn_read_pause(hc->conn, true);
    conn_read_pause(hc->conn, false);
}

static void next_request(HttpConn *hc)
{
    hc->state = HTTP_IDLE;
    arm(hc, hc->server->limits.idle_timeout);
    hc->flushing = conn_out_len(hc->conn) > hc->server->limits.stream_out_max;
    if (hc->half_closed && (hc->kept == 0 || hc->flushing) && !hc->in_read)
        http_conn_close(hc);
    else if (hc->kept > 0 && !hc->flushing && !hc->in_read)
        show_kept(hc);
}

void http_conn_answered(HttpConn *hc)
{
    bool again =
        parser_keeps_alive(&hc->req->parser) && hc->req->parser.state == PARSER_DONE && !hc->server->draining;
    hc->req = req_free(hc->req);
    if (again)
        next_request(hc);
    else
        http_conn_close(hc);
}

/* Reading goes on during a stream, to see the client leave. */
void http_conn_streams(HttpConn *hc)
{
    set_paused(hc, false);
}

/* ---- Callbacks of the connection ---- */

static void conn_drain(void *arg)
{
    HttpConn *hc = arg;
    if (hc->state == HTTP_CLOSING) {
        finish_closing(hc);
    } else if (hc->state == HTTP_STREAMING) {
        if (hc->req->stream.ops->on_drain)
            hc->req->stream.ops->on_drain(hc->req->stream.arg);
    } else if (hc->flushing) {
        hc->flushing = false;
        show_kept(hc);
    }
}

/* A client that has shut its output only may still wait for an answer; one that reads a stream has no reason
 * to. */
static void conn_end(void *arg, ConnEnd how, const char *why)
{
    HttpConn *hc = arg;
    bool answering = hc->state == HTTP_ANSWERING && !hc->req->ends_with_client;
    bool owed = answering || (hc->state == HTTP_IDLE && hc->kept > 0 && !hc->flushing);
    if (how == CONN_EOF && owed)
        hc->half_closed = true;
    else if (how == CONN_EOF && hc->state == HTTP_IDLE)
        finish_closing(hc); /* sends what is left */
    else if (how == CONN_EOF && hc->state == HTTP_CLOSING)
        finish_closing(hc);
    else
        http_conn_free(hc);
}

static const ConnOps conn_ops = {.on_read = conn_read, .on_drain = conn_drain, .on_end = conn_end};

static void deadline(void *arg)
{
    HttpConn *hc = arg;
    if (hc->state != HTTP_READING) {
        http_conn_close(hc);
        return;
    }
    reply_refusal(hc, 408, ERR_DEADLINE, "request took too long to arrive");
}

void http_conn_new(HttpServer *s, Conn *c, PeerCount *peer)
{
    HttpConn *hc = xnew(HttpConn);
    *hc = (HttpConn){.server = s, .conn = c, .peer = peer, .state = HTTP_IDLE};
    hc->timer = timer_new(s->loop, deadline, hc);
    list_init(&hc->link);
    list_push_back(&s->conns, &hc->link);
    conn_set_ops(c, &conn_ops, hc);
    conn_set_timeouts(c, USEC_NEVER, WRITE_STALL);
    conn_set_low_mark(c, s->limits.stream_out_max / 2);
    arm(hc, s->limits.header_timeout);
}
