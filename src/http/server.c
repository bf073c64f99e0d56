#include "http/server.h"

#include <assert.h>
#include <stdio.h>
#include "base/mem.h"
#include "server-internal.h"

const HttpLimits http_limits_default = {
    .body_max = 8UL << 20,
    .headers_max = 64UL << 10,
    .header_timeout = 10 * USEC_PER_SEC,
    .idle_timeout = 75 * USEC_PER_SEC,
    .body_timeout = 60 * USEC_PER_SEC,
    .conns_max = 10000,
    .conns_per_peer = 1000,
    .stream_out_max = 256UL << 10,
};

/* How long a connection that is turned away may take to read why. */
#define BUSY_LINGER USEC_PER_SEC

static PeerCount *peer_count(HttpServer *s, const char *peer)
{
    PeerCount *p = map_get(s->peers, str_from(peer));
    if (!p) {
        p = xnew(PeerCount);
        map_put(s->peers, str_from(peer), p);
    }
    return p;
}

static void peer_leaves(HttpServer *s, PeerCount *p, const char *peer)
{
    if (--p->n > 0)
        return;
    map_remove(s->peers, str_from(peer));
    free(p);
}

/* Under TLS there is nothing to say before the handshake, which is work that is to be saved here. */
static void turn_away(HttpServer *s, Conn *c, int status, ErrCode code)
{
    if (s->tls) {
        conn_free(c);
        return;
    }
    reply_busy(c, s, status, code);
}

static void accepted(void *arg, Conn *c, const char *peer)
{
    HttpServer *s = arg;
    if (s->n_conns >= s->limits.conns_max) {
        turn_away(s, c, 503, ERR_UNAVAILABLE);
        return;
    }
    PeerCount *p = peer_count(s, peer);
    bool local = str_eqz(str_from(peer), "unix");
    p->n++;
    if (p->n > s->limits.conns_per_peer && !local) {
        peer_leaves(s, p, peer);
        turn_away(s, c, 429, ERR_RATE_LIMITED);
        return;
    }
    s->n_conns++;
    http_conn_new(s, c, p);
}

int http_server_new(Loop *l, const char *address, TlsContext *tls, const HttpLimits *limits,
                    HttpHandler handler, HttpErrorBody error_body, void *arg, HttpServer **ret, Err *err)
{
    HttpServer *s = xnew(HttpServer);
    *s = (HttpServer){.loop = l,
                      .limits = limits ? *limits : http_limits_default,
                      .handler = handler,
                      .error_body = error_body,
                      .arg = arg,
                      .tls = tls != NULL,
                      .date_s = -1};
    list_init(&s->conns);
    s->peers = map_new();
    int rc = listener_new(l, address, tls, accepted, s, &s->listener, err);
    if (rc < 0) {
        http_server_free(s);
        return rc;
    }
    s->port = listener_port(s->listener);
    *ret = s;
    return 0;
}

int http_server_port(const HttpServer *s)
{
    return s->port;
}

size_t http_server_conns(const HttpServer *s)
{
    return s->n_conns;
}

static void drained(void *arg)
{
    HttpServer *s = arg;
    if (s->drained)
        s->drained(s->drained_arg);
}

void server_conn_gone(HttpServer *s, HttpConn *hc)
{
    list_remove(&hc->link);
    s->n_conns--;
    peer_leaves(s, hc->peer, conn_peer(hc->conn));
    if (s->draining && s->n_conns == 0)
        loop_post(s->loop, drained, s);
}

void http_server_drain(HttpServer *s, LoopFn done, void *arg)
{
    assert(!s->draining);
    s->draining = true;
    s->drained = done;
    s->drained_arg = arg;
    s->listener = listener_free(s->listener);
    if (s->n_conns == 0)
        loop_post(s->loop, drained, s);
    LIST_FOREACH_SAFE (&s->conns, link)
        http_conn_drain(LIST_ENTRY(link, HttpConn, link));
}

static void server_release(void *arg)
{
    HttpServer *s = arg;
    map_free(s->peers);
    free(s);
}

/* A posted `drained` may still be on its way, hence the memory goes by a post too, behind it. */
HttpServer *http_server_free(HttpServer *s)
{
    if (!s)
        return NULL;
    s->drained = NULL;
    s->draining = false;
    s->listener = listener_free(s->listener);
    for (ListLink *link; (link = s->conns.next) != &s->conns;)
        http_conn_free(LIST_ENTRY(link, HttpConn, link));
    loop_post(s->loop, server_release, s);
    return NULL;
}

/* RFC 9110 5.6.7; made once a second. */
const char *server_date(HttpServer *s)
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int64_t now = clock_wall(loop_clock(s->loop)).us / (int64_t)USEC_PER_SEC;
    if (now == s->date_s)
        return s->date;
    struct tm tm;
    time_t t = (time_t)now;
    gmtime_r(&t, &tm);
    snprintf(s->date, sizeof s->date, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday],
             tm.tm_mday % 100, months[tm.tm_mon], (tm.tm_year + 1900) % 10000, tm.tm_hour % 100,
             tm.tm_min % 100, tm.tm_sec % 100);
    s->date_s = now;
    return s->date;
}
