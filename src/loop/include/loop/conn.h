/*
 * TCP and Unix stream connections on the loop, plain or TLS, with explicit flow control in both directions.
 * Output is buffered up to what the caller allows: ask conn_out_len() before writing, and go on in on_drain.
 */
#pragma once

#include "loop/loop.h"
#include "loop/tls.h"

typedef struct Listener Listener;
typedef struct Conn Conn;

typedef enum ConnEnd { CONN_EOF, CONN_ERROR, CONN_TIMEOUT } ConnEnd;

typedef struct ConnOps {
    /* New bytes. Return how many were consumed; the rest is kept and shown again with the next bytes. */
    size_t (*on_read)(void *arg, Str bytes);
    /* The output buffer went below the low mark set by conn_set_low_mark(). */
    void (*on_drain)(void *arg);
    /* The peer ended or the connection broke; no callback comes after it. The owner calls conn_free(). After
       CONN_EOF the other direction still works: what is written goes out until then, and kept bytes are shown
       when reading is paused and goes on. */
    void (*on_end)(void *arg, ConnEnd how, const char *why);
    /* Connected (client side; after the TLS handshake), or handshake done (server side). May be NULL. */
    void (*on_ready)(void *arg);
} ConnOps;

/* "host:port", ":port", "[::1]:port", "unix:/path"; port 0 = any free one; "fd:3" = a socket that listens
   already, bound by whoever started this process; it is closed with the listener. `fn` gets a Conn to take
   over with conn_set_ops(), or to free; peer is the numeric address without port ("unix" for a Unix socket).
   tls NULL = plain. May look up a name, so call it at start only. */
typedef void (*AcceptFn)(void *arg, Conn *c, const char *peer);
int listener_new(Loop *l, const char *address, TlsContext *tls, AcceptFn fn, void *arg, Listener **ret,
                 Err *err);
Listener *listener_free(Listener *ls); /* stops accepting at once */
int listener_port(const Listener *ls); /* the bound port */
int listener_fd(const Listener *ls);
void listener_pause(Listener *ls, bool paused);

/* Asynchronous connect; on_ready or on_end follows. Names are resolved without blocking; every address of a
   name is tried. Attempts, and TLS handshakes on both sides, end with CONN_TIMEOUT after 10 s. */
int conn_connect(Loop *l, const char *address, TlsContext *tls, const ConnOps *ops, void *arg, Conn **ret,
                 Err *err);
void conn_set_ops(Conn *c, const ConnOps *ops, void *arg);
Conn *conn_free(Conn *c); /* closes at once, no callback after; NULL-safe, safe inside callbacks */
/* Sends the rest, half-closes, throws input away until the peer's end or for `linger`, and frees. */
void conn_close_after_flush(Conn *c, Usec linger);
void conn_write(Conn *c, Str bytes); /* copies */
/* No copy: `release` is called when the bytes are sent or dropped, and may call nothing of this connection.
 */
void conn_write_ref(Conn *c, Str bytes, LoopFn release, void *arg);
void conn_shut_output(Conn *c); /* half-closes once everything is sent; input goes on */
size_t conn_out_len(const Conn *c);
void conn_set_low_mark(Conn *c, size_t bytes);
void conn_read_pause(Conn *c, bool paused); /* going on shows kept bytes again, at the end of the turn */
/* No input for `read` while not paused, or no progress of waiting output for `write`. USEC_NEVER = none. A
   `read` below 10 s also shortens each attempt to connect and the handshake. */
void conn_set_timeouts(Conn *c, Usec read, Usec write);
void conn_set_tcp_user_timeout(Conn *c, Usec t);
const char *conn_peer(const Conn *c); /* numeric address without port */
const char *conn_alpn(const Conn *c); /* negotiated protocol or "" */
