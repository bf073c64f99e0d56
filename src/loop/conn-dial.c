/* Connecting: look the name up, try its addresses one after the other. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>
#include "base/mem.h"
#include "conn-internal.h"

Dial *dial_free(Dial *d)
{
    if (!d)
        return NULL;
    lookup_cancel(d->lookup);
    if (d->list)
        freeaddrinfo(d->list);
    free(d);
    return NULL;
}

static void note_failure(Conn *c, int errnum)
{
    const char *text = strerrordesc_np(errnum);
    snprintf(c->dial->why, sizeof c->dial->why, "%s%s%s", c->peer, *c->peer ? ": " : "",
             text ? text : "failed");
}

static void set_options(int fd)
{
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* no-ops on a Unix socket */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

/* 0 when the attempt is under way: the socket becomes writable when it is decided. */
static int attempt(Conn *c, const struct sockaddr *sa, socklen_t len)
{
    address_format(sa, len, c->peer);
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        note_failure(c, errno);
        return -1;
    }
    if (sa->sa_family != AF_UNIX)
        set_options(fd);
    if (connect(fd, sa, len) < 0 && errno != EINPROGRESS) {
        note_failure(c, errno);
        close(fd);
        return -1;
    }
    c->state = CONN_CONNECTING;
    c->read_since = loop_now(c->loop);
    conn_attach(c, fd);
    conn_set_writing(c, true);
    conn_watch_clock(c);
    return 0;
}

static void try_next(Conn *c)
{
    Dial *d = c->dial;
    while (d->next) {
        struct addrinfo *ai = d->next;
        d->next = ai->ai_next;
        if (attempt(c, ai->ai_addr, ai->ai_addrlen) == 0)
            return;
    }
    char why[sizeof d->why];
    memcpy(why, d->why, sizeof why);
    conn_fail(c, CONN_ERROR, *why ? why : "no address to connect to");
}

static void drop_attempt(Conn *c)
{
    conn_set_writing(c, false);
    close(c->fd);
    c->fd = -1;
    c->state = CONN_RESOLVING;
}

void conn_dial_ready(Conn *c)
{
    int errnum = 0;
    socklen_t len = sizeof errnum;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errnum, &len) < 0)
        errnum = errno;
    if (errnum != 0) {
        note_failure(c, errnum);
        drop_attempt(c);
        try_next(c);
        return;
    }
    conn_set_writing(c, false);
    Err err = {0};
    char host[sizeof c->dial->address.host];
    memcpy(host, c->dial->address.host, sizeof host);
    c->dial = dial_free(c->dial);
    if (conn_start(c, c->tls, host, &err) < 0)
        conn_fail(c, CONN_ERROR, err.msg);
}

void conn_dial_expired(Conn *c)
{
    note_failure(c, ETIMEDOUT);
    if (c->state == CONN_CONNECTING && c->dial->next) {
        drop_attempt(c);
        try_next(c);
        return;
    }
    char why[sizeof c->dial->why];
    memcpy(why, c->dial->why, sizeof why);
    conn_fail(c, CONN_TIMEOUT, why);
}

static void looked_up(void *arg, struct addrinfo *list, const char *why)
{
    Conn *c = arg;
    c->dial->lookup = NULL;
    if (!list) {
        conn_fail(c, CONN_ERROR, why ? why : "name has no address");
        return;
    }
    c->dial->list = c->dial->next = list;
    try_next(c);
}

static void dial_unix(Conn *c)
{
    struct sockaddr_storage sa;
    socklen_t len;
    Err err = {0};
    if (address_unix(c->dial->address.unix_path, &sa, &len, &err) < 0) {
        conn_fail(c, CONN_ERROR, err.msg);
        return;
    }
    if (attempt(c, (const struct sockaddr *)&sa, len) < 0)
        try_next(c); /* there is none: fails with the reason */
}

/* Runs at the end of the turn in which conn_connect() was called, so that failures come after it has
 * returned. */
void conn_dial(Conn *c)
{
    Dial *d = c->dial;
    Err err = {0};
    if (d->address.unix_path) {
        dial_unix(c);
        return;
    }
    d->list = d->next = lookup_numeric(&d->address, false);
    if (d->list)
        try_next(c);
    else if (lookup_start(c->loop, &d->address, looked_up, c, &d->lookup, &err) < 0)
        conn_fail(c, CONN_ERROR, err.msg);
}

int conn_connect(Loop *l, const char *address, TlsContext *tls, const ConnOps *ops, void *arg, Conn **ret,
                 Err *err)
{
    CLEANUP_FREE Dial *d = xnew(Dial);
    int rc = address_parse(address, &d->address, err);
    if (rc < 0)
        return rc;
    Conn *c = conn_new(l, -1);
    c->dial = TAKE(d);
    c->ops = ops;
    c->arg = arg;
    c->tls = tls ? tls_ref(tls) : NULL;
    c->read_since = loop_now(l);
    conn_watch_clock(c);
    conn_want(c, WANT_DIAL);
    *ret = c;
    return 0;
}
