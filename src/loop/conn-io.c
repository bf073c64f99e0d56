/* Bytes in and out of a connection, plain and TLS. */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "conn-internal.h"

/* What one connection may do in one turn of the loop. */
#define READ_BUDGET (256UL * 1024)
#define WRITE_BUDGET (1024UL * 1024)
#define TLS_RECORD 16384UL

typedef enum IoResult { IO_OK, IO_AGAIN, IO_EOF, IO_BROKEN } IoResult;

static const char *errno_text(int errnum)
{
    const char *text = strerrordesc_np(errnum);
    return text ? text : "unknown error";
}

/* What a failed OpenSSL call asks for. IO_AGAIN has set up the wait for writing; reading is always waited
 * for. */
static IoResult tls_result(Conn *c, int rc, char *why, size_t size)
{
    int errnum = errno;
    switch (SSL_get_error(c->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        return IO_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        conn_set_writing(c, true);
        return IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return IO_EOF;
    default:
        tls_explain(c->ssl, errnum, why, size);
        return IO_BROKEN;
    }
}

void conn_handshake(Conn *c)
{
    char why[160];
    conn_set_writing(c, false);
    ERR_clear_error();
    int rc = SSL_do_handshake(c->ssl);
    if (rc != 1) {
        IoResult r = tls_result(c, rc, why, sizeof why);
        if (r == IO_EOF || r == IO_BROKEN)
            conn_fail(c, CONN_ERROR, r == IO_EOF ? "closed during the TLS handshake" : why);
        return;
    }
    Err err = {0};
    if (tls_session_check(c->tls, c->ssl, &err) < 0) {
        conn_fail(c, CONN_ERROR, err.msg);
        return;
    }
    const unsigned char *name;
    unsigned len;
    SSL_get0_alpn_selected(c->ssl, &name, &len);
    snprintf(c->alpn, sizeof c->alpn, "%.*s", (int)len, len ? (const char *)name : "");
    conn_opened(c);
}

/* ---- In ---- */

static IoResult plain_read(Conn *c, char *buf, size_t size, size_t *got, char *why, size_t why_size)
{
    ssize_t n = read(c->fd, buf, size);
    if (n > 0) {
        *got = (size_t)n;
        return IO_OK;
    }
    if (n == 0)
        return IO_EOF;
    if (errno == EAGAIN || errno == EINTR)
        return IO_AGAIN;
    snprintf(why, why_size, "%s", errno_text(errno));
    return IO_BROKEN;
}

static IoResult tls_read(Conn *c, char *buf, size_t size, size_t *got, char *why, size_t why_size)
{
    ERR_clear_error();
    int rc = SSL_read(c->ssl, buf, (int)size);
    c->tls_read_on_write = false;
    if (rc > 0) {
        *got = (size_t)rc;
        return IO_OK;
    }
    IoResult r = tls_result(c, rc, why, why_size);
    c->tls_read_on_write = r == IO_AGAIN && SSL_want_write(c->ssl);
    return r;
}

/* Shows `bytes` to the owner; returns how many it took, or SIZE_MAX when the connection is gone since. */
static size_t show(Conn *c, Str bytes)
{
    size_t used = c->ops && c->ops->on_read ? c->ops->on_read(c->arg, bytes) : bytes.len;
    if (c->state == CONN_DEAD)
        return SIZE_MAX;
    assert(used <= bytes.len);
    return used;
}

void conn_show_kept(Conn *c)
{
    if (c->paused || c->in.len == 0)
        return;
    size_t used = show(c, buf_str(&c->in));
    if (used == SIZE_MAX || c->state != CONN_OPEN)
        return;
    buf_consume(&c->in, used);
    if (c->in.len == 0)
        buf_done(&c->in);
}

static void keep(Conn *c, Str rest)
{
    if (rest.len > 0 && buf_adds(&c->in, rest) < 0)
        conn_fail(c, CONN_ERROR, "too much unread input");
}

static void deliver(Conn *c, Str bytes)
{
    if (c->state == CONN_CLOSING || c->ended)
        return; /* thrown away until the peer closes */
    if (c->in.len > 0) {
        keep(c, bytes);
        conn_show_kept(c);
        return;
    }
    size_t used = show(c, bytes);
    if (used != SIZE_MAX && c->state == CONN_OPEN)
        keep(c, str_slice(bytes, used, bytes.len));
}

static void input_ended(Conn *c)
{
    c->no_input = true;
    conn_set_reading(c, false);
    if (c->state == CONN_CLOSING) {
        if (c->shut)
            conn_free(c);
        return;
    }
    c->ended = true;
    if (c->ops && c->ops->on_end)
        c->ops->on_end(c->arg, CONN_EOF, "closed by the peer");
}

static bool may_read(const Conn *c)
{
    return (c->state == CONN_OPEN && !c->paused && !c->no_input) ||
           (c->state == CONN_CLOSING && !c->no_input);
}

/* One round; false when there is nothing more to read now. A short plain read has emptied the socket, most
 * likely. */
static bool read_round(Conn *c, size_t *budget)
{
    char *buf = loop_scratch(c->loop);
    char why[160];
    size_t got = 0;
    IoResult r = c->ssl ? tls_read(c, buf, LOOP_SCRATCH_SIZE, &got, why, sizeof why)
                        : plain_read(c, buf, LOOP_SCRATCH_SIZE, &got, why, sizeof why);
    if (r == IO_EOF)
        input_ended(c);
    else if (r == IO_BROKEN)
        conn_fail(c, CONN_ERROR, why);
    if (r != IO_OK)
        return false;
    c->read_since = loop_now(c->loop);
    *budget -= got < *budget ? got : *budget;
    deliver(c, (Str){buf, got});
    return c->state != CONN_DEAD && (c->ssl || got == LOOP_SCRATCH_SIZE);
}

void conn_read_some(Conn *c)
{
    size_t budget = READ_BUDGET;
    while (may_read(c))
        if (!read_round(c, &budget))
            return;
        else if (budget == 0)
            break;
    /* The kernel reminds us of what it holds, but not of what OpenSSL has decrypted already. */
    if (may_read(c) && c->ssl && SSL_has_pending(c->ssl))
        conn_want(c, WANT_READ);
}

/* ---- Out ---- */

static IoResult plain_write(Conn *c, size_t *sent, char *why, size_t size)
{
    int n = evbuffer_write_atmost(c->out, c->fd, (ev_ssize_t)WRITE_BUDGET);
    if (n > 0) {
        *sent = (size_t)n;
        return IO_OK;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return IO_AGAIN;
    snprintf(why, size, "%s", errno_text(errno));
    return IO_BROKEN;
}

/* Small writes are put together into one record. After a refused write OpenSSL wants to see at least as much.
 */
static IoResult tls_write(Conn *c, size_t *sent, char *why, size_t size)
{
    size_t len = evbuffer_get_length(c->out);
    if (len > TLS_RECORD)
        len = TLS_RECORD;
    const void *record = evbuffer_pullup(c->out, (ev_ssize_t)len);
    ERR_clear_error();
    int rc = SSL_write(c->ssl, record, (int)len);
    if (rc <= 0) {
        IoResult r = tls_result(c, rc, why, size);
        return r == IO_EOF ? IO_BROKEN : r;
    }
    *sent = (size_t)rc;
    evbuffer_drain(c->out, (size_t)rc);
    return IO_OK;
}

/* All output is with the kernel: tell the peer that no more comes. */
static void shut_output(Conn *c)
{
    if (c->ssl && !SSL_in_init(c->ssl))
        SSL_shutdown(c->ssl);
    shutdown(c->fd, SHUT_WR);
    c->shut = true;
}

/* And wait for its end. */
static void finish_closing(Conn *c)
{
    if (!c->shut)
        shut_output(c);
    c->write_since = loop_now(c->loop);
    if (c->no_input || c->linger == 0)
        conn_free(c);
    else
        conn_watch_clock(c);
}

/* IO_OK: everything is sent. IO_AGAIN: the socket is full, or the turn's budget is used up. */
static IoResult write_all(Conn *c, char *why, size_t size)
{
    size_t total = 0;
    while (c->out && total < WRITE_BUDGET) {
        size_t sent = 0;
        IoResult r = c->ssl ? tls_write(c, &sent, why, size) : plain_write(c, &sent, why, size);
        if (r != IO_OK)
            return r;
        total += sent;
        c->write_since = loop_now(c->loop);
        if (evbuffer_get_length(c->out) == 0)
            evbuffer_free(TAKE(c->out));
    }
    return c->out ? IO_AGAIN : IO_OK;
}

void conn_flush(Conn *c)
{
    char why[160] = "";
    IoResult r = write_all(c, why, sizeof why);
    if (r == IO_BROKEN) {
        conn_fail(c, CONN_ERROR, why);
        return;
    }
    conn_set_writing(c, r == IO_AGAIN);
    if (r == IO_AGAIN)
        conn_watch_clock(c);
    else if (c->tls_read_on_write)
        conn_want(c, WANT_READ);
    if (r == IO_OK && c->shut_wanted && !c->shut)
        shut_output(c);
    if (r == IO_OK && c->state == CONN_CLOSING)
        finish_closing(c);
    else if (c->above_mark && conn_out_len(c) <= c->low_mark) {
        c->above_mark = false;
        if (c->ops && c->ops->on_drain && !c->ended)
            c->ops->on_drain(c->arg);
    }
}
