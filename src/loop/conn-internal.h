/*
 * A connection, for conn.c (states and owner's calls), conn-io.c (bytes in and out) and conn-dial.c.
 *
 *   RESOLVING -> CONNECTING -> HANDSHAKE -> OPEN -> CLOSING -> DEAD
 *                              (accepted)   any other  -> DEAD
 *
 * `ended` is beside the state: the owner was told of the end. After an end of input the connection stays
 * OPEN, as the other direction still works.
 */
#pragma once

#include <event2/buffer.h>
#include "address-internal.h"
#include "loop-internal.h"
#include "loop/conn.h"
#include "tls-internal.h"

typedef enum ConnState {
    CONN_RESOLVING,
    CONN_CONNECTING,
    CONN_HANDSHAKE,
    CONN_OPEN,
    CONN_CLOSING, /* conn_close_after_flush() */
    CONN_DEAD,    /* broken, or freed by its owner: no descriptor */
} ConnState;

enum {
    WANT_DIAL = 1,
    WANT_FLUSH = 2,
    WANT_SHOW = 4, /* kept input is shown again */
    WANT_READ = 8,
};

typedef struct Dial {
    Address address;
    Lookup *lookup;
    struct addrinfo *list, *next;
    char why[128]; /* of the last address that failed */
} Dial;

struct Conn {
    Loop *loop;
    const ConnOps *ops; /* NULL: nobody listens */
    void *arg;
    int fd;
    ConnState state;
    unsigned want;
    bool reading, writing;  /* the events are added */
    bool paused, no_input;  /* no_input: end of input was seen */
    bool ended;             /* on_end was called */
    bool above_mark;        /* on_drain is owed */
    bool tls_read_on_write; /* SSL_read() waits for the socket to become writable */
    bool shut_wanted, shut; /* output side is shut down, or will be once everything is sent */
    ListLink link;          /* in the loop's list while CLOSING */
    LoopTask task;
    struct event read_event, write_event;
    Buf in;               /* bytes that the owner did not consume */
    struct evbuffer *out; /* NULL when empty */
    size_t low_mark;
    Timer *timer; /* for all the times below; NULL until needed */
    Usec read_timeout, write_timeout, linger;
    Usec read_since, write_since; /* last sign of life; for output also when it began to wait */
    Usec clock_due;               /* what the timer is set to; USEC_NEVER = not set */
    SSL *ssl;
    TlsContext *tls;
    Dial *dial; /* client side, until connected */
    char peer[PEER_MAX];
    char alpn[16];
};

/* Takes over a connected descriptor; TLS handshakes start at the end of the turn. */
Conn *conn_new(Loop *l, int fd);
int conn_start(Conn *c, TlsContext *tls, const char *host, Err *err);
void conn_attach(Conn *c, int fd);
void conn_want(Conn *c, unsigned what);
void conn_opened(Conn *c);
/* The connection is broken: descriptor closed, owner told once. */
void conn_fail(Conn *c, ConnEnd how, const char *why);
void conn_watch_clock(Conn *c);

void conn_set_reading(Conn *c, bool on);
void conn_set_writing(Conn *c, bool on);

/* conn-io.c */
void conn_read_some(Conn *c);
void conn_show_kept(Conn *c);
void conn_flush(Conn *c);
void conn_handshake(Conn *c);

/* conn-dial.c */
void conn_dial(Conn *c);
void conn_dial_ready(Conn *c);
void conn_dial_expired(Conn *c);
Dial *dial_free(Dial *d);
