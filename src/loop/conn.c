#include "conn-internal.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>
#include "base/mem.h"

/* Handshakes and connection attempts that take longer are given up. */
#define START_TIMEOUT (10 * USEC_PER_SEC)
/* Input that an owner leaves unconsumed beyond this is a mistake of the owner or an attack on it. */
#define KEPT_MAX (64UL * 1024 * 1024)
/* A peer that takes nothing for so long after conn_close_after_flush(c, 0) is cut. */
#define FLUSH_STALL (5 * USEC_PER_SEC)

_Static_assert(sizeof(struct Conn) <= 768, "there may be very many connections");

static void conn_work(void *arg)
{
    Conn *c = arg;
    unsigned want = c->want;
    c->want = 0;
    if ((want & WANT_DIAL) && c->state == CONN_RESOLVING)
        conn_dial(c);
    if ((want & WANT_FLUSH) && c->state == CONN_HANDSHAKE)
        conn_handshake(c);
    if ((want & WANT_FLUSH) && (c->state == CONN_OPEN || c->state == CONN_CLOSING))
        conn_flush(c);
    if ((want & WANT_SHOW) && c->state == CONN_OPEN)
        conn_show_kept(c);
    if ((want & WANT_READ) && (c->state == CONN_OPEN || c->state == CONN_CLOSING))
        conn_read_some(c);
}

void conn_want(Conn *c, unsigned what)
{
    c->want |= what;
    loop_task_add(c->loop, &c->task);
}

void conn_set_reading(Conn *c, bool on)
{
    if (c->reading == on)
        return;
    c->reading = on;
    if (on)
        event_add(&c->read_event, NULL);
    else
        event_del(&c->read_event);
}

static void read_cb(evutil_socket_t fd, short what, void *arg)
{
    Conn *c = arg;
    loop_enter(c->loop);
    if (c->state == CONN_HANDSHAKE)
        conn_handshake(c);
    else if (c->paused)
        conn_set_reading(c, false);
    else
        conn_read_some(c);
}

static void write_cb(evutil_socket_t fd, short what, void *arg)
{
    Conn *c = arg;
    loop_enter(c->loop);
    if (c->state == CONN_CONNECTING) {
        conn_dial_ready(c);
    } else if (c->state == CONN_HANDSHAKE) {
        conn_handshake(c);
    } else {
        if (c->tls_read_on_write)
            conn_want(c, WANT_READ);
        conn_flush(c);
    }
}

void conn_attach(Conn *c, int fd)
{
    c->fd = fd;
    event_assign(&c->read_event, c->loop->base, fd, EV_READ | EV_PERSIST, read_cb, c);
    event_assign(&c->write_event, c->loop->base, fd, EV_WRITE | EV_PERSIST, write_cb, c);
}

Conn *conn_new(Loop *l, int fd)
{
    Conn *c = xnew(Conn);
    c->loop = l;
    c->fd = -1;
    c->state = CONN_RESOLVING;
    c->read_timeout = c->write_timeout = c->clock_due = USEC_NEVER;
    buf_init(&c->in, KEPT_MAX);
    list_init(&c->link);
    loop_task_init(&c->task, conn_work, c);
    if (fd >= 0)
        conn_attach(c, fd);
    return c;
}

void conn_set_writing(Conn *c, bool on)
{
    if (c->writing == on)
        return;
    c->writing = on;
    if (on)
        event_add(&c->write_event, NULL);
    else
        event_del(&c->write_event);
}

int conn_start(Conn *c, TlsContext *tls, const char *host, Err *err)
{
    if (!tls) {
        conn_opened(c);
        return 0;
    }
    int rc = tls_session_new(tls, host, loop_now(c->loop), &c->ssl, err);
    if (rc < 0)
        return rc;
    if (c->tls != tls)
        c->tls = tls_ref(tls);
    if (SSL_set_fd(c->ssl, c->fd) != 1)
        return err_set(err, ERR_INTERNAL, "tls: no memory for the session");
    c->state = CONN_HANDSHAKE;
    c->read_since = loop_now(c->loop);
    conn_set_reading(c, true);
    conn_watch_clock(c);
    conn_want(c, WANT_FLUSH);
    return 0;
}

void conn_opened(Conn *c)
{
    c->state = CONN_OPEN;
    c->read_since = c->write_since = loop_now(c->loop);
    conn_set_reading(c, !c->paused);
    conn_watch_clock(c);
    if (c->out || c->shut_wanted)
        conn_want(c, WANT_FLUSH);
    if (c->ssl && SSL_has_pending(c->ssl))
        conn_want(c, WANT_READ);
    if (c->ops && c->ops->on_ready)
        c->ops->on_ready(c->arg);
}

/* ---- Time ---- */

static Usec next_deadline(const Conn *c)
{
    Usec read_due = USEC_NEVER, write_due = USEC_NEVER;
    switch (c->state) {
    case CONN_RESOLVING:
    case CONN_CONNECTING:
    case CONN_HANDSHAKE:
        return usec_add(c->read_since, c->read_timeout < START_TIMEOUT ? c->read_timeout : START_TIMEOUT);
    case CONN_OPEN:
        if (!c->paused && !c->no_input)
            read_due = usec_add(c->read_since, c->read_timeout);
        if (c->out)
            write_due = usec_add(c->write_since, c->write_timeout);
        return read_due < write_due ? read_due : write_due;
    case CONN_CLOSING:
        return usec_add(c->write_since, c->shut || c->linger ? c->linger : FLUSH_STALL);
    case CONN_DEAD:
        break;
    }
    return USEC_NEVER;
}

static void conn_clock_cb(void *arg);

/* Sets the timer, unless it rings early enough anyway: activity moves deadlines back without touching the
 * timer. */
void conn_watch_clock(Conn *c)
{
    Usec due = next_deadline(c), now = loop_now(c->loop);
    if (due == USEC_NEVER)
        return;
    if (!c->timer)
        c->timer = timer_new(c->loop, conn_clock_cb, c);
    if (due >= c->clock_due)
        return;
    c->clock_due = due;
    timer_arm(c->timer, due > now ? due - now : 0);
}

static void conn_expired(Conn *c)
{
    if (c->state == CONN_CLOSING)
        conn_free(c);
    else if (c->dial)
        conn_dial_expired(c);
    else
        conn_fail(c, CONN_TIMEOUT, c->state == CONN_HANDSHAKE ? "TLS handshake takes too long" : "timeout");
}

static void conn_clock_cb(void *arg)
{
    Conn *c = arg;
    c->clock_due = USEC_NEVER;
    if (next_deadline(c) <= loop_now(c->loop))
        conn_expired(c);
    else
        conn_watch_clock(c);
}

/* ---- Ends ---- */

/* Gives back everything but the structure itself, which may be in use further up the stack. */
static void conn_shutdown(Conn *c)
{
    c->state = CONN_DEAD;
    c->want = 0;
    list_remove(&c->task.link);
    list_remove(&c->link);
    c->timer = timer_free(c->timer);
    c->dial = dial_free(c->dial);
    if (c->fd >= 0) {
        conn_set_reading(c, false);
        conn_set_writing(c, false);
        SSL_free(TAKE(c->ssl));
        close(c->fd);
        c->fd = -1;
    }
    if (c->out)
        evbuffer_free(TAKE(c->out));
    buf_done(&c->in);
}

void conn_fail(Conn *c, ConnEnd how, const char *why)
{
    bool closing = c->state == CONN_CLOSING;
    conn_shutdown(c);
    if (closing) {
        conn_free(c);
        return;
    }
    if (c->ended)
        return;
    c->ended = true;
    if (c->ops && c->ops->on_end)
        c->ops->on_end(c->arg, how, why);
}

static void conn_release(void *arg)
{
    Conn *c = arg;
    tls_free(c->tls);
    free(c);
}

Conn *conn_free(Conn *c)
{
    if (!c)
        return NULL;
    assert(loop_is_current(c->loop));
    if (c->state != CONN_DEAD)
        conn_shutdown(c);
    c->ops = NULL;
    c->ended = true;
    loop_defer(c->loop, conn_release, c);
    return NULL;
}

void conn_close_after_flush(Conn *c, Usec linger)
{
    if (c->state != CONN_OPEN) {
        conn_free(c);
        return;
    }
    c->ops = NULL;
    c->state = CONN_CLOSING;
    list_push_back(&c->loop->closing, &c->link);
    c->linger = linger;
    c->paused = false;
    c->write_since = loop_now(c->loop);
    buf_done(&c->in);
    conn_set_reading(c, !c->no_input);
    conn_watch_clock(c);
    conn_want(c, WANT_FLUSH);
}

/* The loop goes: what could not be flushed until now is cut. */
void conns_done(Loop *l)
{
    for (ListLink *link; (link = list_pop_front(&l->closing));)
        conn_free(LIST_ENTRY(link, Conn, link));
}

/* ---- Owner's calls ---- */

void conn_set_ops(Conn *c, const ConnOps *ops, void *arg)
{
    c->ops = ops;
    c->arg = arg;
    if (c->in.len > 0)
        conn_want(c, WANT_SHOW);
}

/* NULL when bytes have nowhere to go any more. */
static struct evbuffer *out_buffer(Conn *c)
{
    if (c->state == CONN_DEAD || c->shut_wanted)
        return NULL;
    if (!c->out) {
        c->out = evbuffer_new();
        if (!c->out)
            abort(); /* like xmalloc(): a small allocation of fixed size */
        c->write_since = loop_now(c->loop);
    }
    return c->out;
}

static void wrote(Conn *c)
{
    if (evbuffer_get_length(c->out) > c->low_mark)
        c->above_mark = true;
    conn_want(c, WANT_FLUSH);
}

void conn_write(Conn *c, Str bytes)
{
    struct evbuffer *out = bytes.len ? out_buffer(c) : NULL;
    if (!out)
        return;
    if (evbuffer_add(out, bytes.ptr, bytes.len) < 0)
        abort();
    wrote(c);
}

static void reference_cb(const void *data, size_t len, void *extra)
{
    LoopCall *release = extra;
    release->fn(release->arg);
    free(release);
}

void conn_write_ref(Conn *c, Str bytes, LoopFn release, void *arg)
{
    struct evbuffer *out = bytes.len ? out_buffer(c) : NULL;
    if (!out) {
        loop_defer(c->loop, release, arg);
        return;
    }
    LoopCall *call = xnew(LoopCall);
    *call = (LoopCall){release, arg};
    if (evbuffer_add_reference(out, bytes.ptr, bytes.len, reference_cb, call) < 0)
        abort();
    wrote(c);
}

void conn_shut_output(Conn *c)
{
    if (c->state == CONN_DEAD)
        return;
    c->shut_wanted = true;
    conn_want(c, WANT_FLUSH);
}

size_t conn_out_len(const Conn *c)
{
    return c->out ? evbuffer_get_length(c->out) : 0;
}

void conn_set_low_mark(Conn *c, size_t bytes)
{
    c->low_mark = bytes;
    c->above_mark = conn_out_len(c) > bytes;
}

/* The event stays until it fires in vain: most pauses are over before any byte comes, and cost nothing. */
void conn_read_pause(Conn *c, bool paused)
{
    if (c->paused == paused)
        return;
    c->paused = paused;
    if (paused || c->state != CONN_OPEN)
        return;
    c->read_since = loop_now(c->loop);
    if (!c->no_input)
        conn_set_reading(c, true);
    conn_watch_clock(c);
    if (c->in.len > 0)
        conn_want(c, WANT_SHOW);
    if (c->ssl && SSL_has_pending(c->ssl))
        conn_want(c, WANT_READ);
}

void conn_set_timeouts(Conn *c, Usec read, Usec write)
{
    c->read_timeout = read;
    c->write_timeout = write;
    conn_watch_clock(c);
}

void conn_set_tcp_user_timeout(Conn *c, Usec t)
{
    unsigned ms = (unsigned)(t / USEC_PER_MSEC);
    if (c->fd >= 0)
        setsockopt(c->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
}

const char *conn_peer(const Conn *c)
{
    return c->peer;
}

const char *conn_alpn(const Conn *c)
{
    return c->alpn;
}
