/* Sessions on sockets: the listener, one ServerConn per connection, one timer and one deferred flush for all.
 */
#include "server-internal.h"

#include <assert.h>
#include "base/log.h"
#include "base/mem.h"
#include "conn-out-internal.h"
#include "loop/conn.h"

#define CLOSE_LINGER USEC_PER_SEC

const GrpcLimits grpc_limits_default = {
    .message_max = 4 << 20,
    .streams_per_conn = 256,
    .header_list_max = 64 << 10,
    .conns_max = 20000,
    .conns_per_peer = 10000,
    .handshake_timeout = 10 * USEC_PER_SEC,
    .first_stream_timeout = 60 * USEC_PER_SEC,
    .request_timeout = 30 * USEC_PER_SEC,
    .ping_interval = 25 * USEC_PER_SEC,
    .ping_timeout = 15 * USEC_PER_SEC,
    .conn_out_max = 256 << 10,
    .request_bytes_per_conn = 96 << 20,
    .request_bytes_max = 256 << 20,
    .reply_bytes_per_conn = 64 << 20,
};

typedef struct ServerConn {
    GrpcServer *server;
    Conn *conn;
    SrvSession *session;
    ConnOut out;
    ListLink all, dirty;
    HeapNode timed;
    Usec due;
} ServerConn;

struct GrpcServer {
    SrvHost host;
    Loop *loop;
    Listener *listener;
    int port;
    List conns, dirty; /* ServerConn.all, ServerConn.dirty */
    Map *peers;        /* numeric address -> number of connections */
    Heap timed;
    Timer *timer;
    Usec timer_at;
    Buf scratch;
    bool flush_posted, draining, freed;
    LoopFn drained;
    void *drained_arg;
};

/* ---- connections per peer ---- */

static uintptr_t peer_count(const GrpcServer *sv, const char *peer)
{
    return (uintptr_t)map_get(sv->peers, str_from(peer));
}

static void peer_count_set(GrpcServer *sv, const char *peer, uintptr_t n)
{
    if (n == 0)
        map_remove(sv->peers, str_from(peer));
    else
        map_put(sv->peers, str_from(peer), (void *)n);
}

/* ---- time ---- */

static bool conn_due_less(const HeapNode *a, const HeapNode *b)
{
    return CONTAINER_OF(a, ServerConn, timed)->due < CONTAINER_OF(b, ServerConn, timed)->due;
}

static void timer_set(GrpcServer *sv)
{
    HeapNode *first = heap_peek(&sv->timed);
    if (!first)
        return;
    Usec at = CONTAINER_OF(first, ServerConn, timed)->due, now = clock_now(sv->host.clock);
    if (timer_armed(sv->timer) && sv->timer_at <= at)
        return;
    sv->timer_at = at;
    timer_arm(sv->timer, at > now ? at - now : 0);
}

static void sink_due(void *arg, Usec at)
{
    ServerConn *sc = arg;
    sc->due = at;
    if (heap_linked(&sc->timed))
        heap_update(&sc->server->timed, &sc->timed);
    else
        heap_push(&sc->server->timed, &sc->timed);
    timer_set(sc->server);
}

static void on_timer(void *arg)
{
    GrpcServer *sv = arg;
    Usec now = clock_now(sv->host.clock);
    for (HeapNode *n; (n = heap_peek(&sv->timed));) {
        ServerConn *sc = CONTAINER_OF(n, ServerConn, timed);
        if (sc->due > now)
            break;
        heap_remove(&sv->timed, n);
        srv_session_tick(sc->session); /* says through sink_due() when next */
        conn_out_end(&sc->out);
    }
    timer_set(sv);
}

/* ---- output ---- */

static void sink_write(void *arg, Str bytes)
{
    conn_out_write(&((ServerConn *)arg)->out, bytes);
}

static void sink_write_frame(void *arg, GrpcFrame *f, Str part)
{
    conn_out_write_frame(&((ServerConn *)arg)->out, f, part);
}

static bool sink_full(void *arg)
{
    return conn_out_full(&((ServerConn *)arg)->out);
}

static void server_drained(GrpcServer *sv)
{
    if (!sv->draining || !list_empty(&sv->conns) || !sv->drained)
        return;
    LoopFn fn = sv->drained;
    sv->drained = NULL;
    loop_post(sv->loop, fn, sv->drained_arg);
}

/* Frees all but the Conn, which its caller has closed or is about to. */
static void server_conn_free(ServerConn *sc)
{
    GrpcServer *sv = sc->server;
    const char *peer = sc->session->peer;
    peer_count_set(sv, peer, peer_count(sv, peer) - 1);
    sv->host.stats.conns--;
    list_remove(&sc->all);
    list_remove(&sc->dirty);
    sc->session = srv_session_free(sc->session);
    heap_remove(&sv->timed, &sc->timed);
    free(sc);
    server_drained(sv);
}

static void server_conn_flush(ServerConn *sc)
{
    srv_session_flush(sc->session);
    conn_out_end(&sc->out);
    if (!srv_session_is_over(sc->session))
        return;
    Conn *conn = sc->conn;
    server_conn_free(sc);
    conn_close_after_flush(conn, CLOSE_LINGER);
}

/* At the end of the turn, once for whatever happened in it. */
static void on_flush(void *arg)
{
    GrpcServer *sv = arg;
    List now;
    list_init(&now);
    sv->flush_posted = false;
    if (sv->freed) {
        free(sv);
        return;
    }
    while (!list_empty(&sv->dirty)) /* who becomes dirty meanwhile has its turn next time */
        list_push_back(&now, list_pop_front(&sv->dirty));
    for (ListLink *l; (l = list_pop_front(&now));)
        server_conn_flush(LIST_ENTRY(l, ServerConn, dirty));
}

static void sink_wake(void *arg)
{
    ServerConn *sc = arg;
    GrpcServer *sv = sc->server;
    if (list_linked(&sc->dirty))
        return;
    list_push_back(&sv->dirty, &sc->dirty);
    if (sv->flush_posted)
        return;
    sv->flush_posted = true;
    loop_post(sv->loop, on_flush, sv);
}

/* ---- connections ---- */

static size_t on_read(void *arg, Str bytes)
{
    ServerConn *sc = arg;
    srv_session_feed(sc->session, bytes);
    conn_out_end(&sc->out); /* a reason for closing may have been written */
    return bytes.len;
}

static void on_drain(void *arg)
{
    sink_wake(arg);
}

static void on_end(void *arg, ConnEnd how, const char *why)
{
    ServerConn *sc = arg;
    log_debug("grpc connection closed", F_STR("peer", sc->session->peer), F_STR("reason", why ? why : "eof"));
    conn_free(sc->conn);
    server_conn_free(sc);
}

static const ConnOps conn_ops = {.on_read = on_read, .on_drain = on_drain, .on_end = on_end};

static void on_accept(void *arg, Conn *conn, const char *peer)
{
    GrpcServer *sv = arg;
    const GrpcLimits *l = &sv->host.limits;
    if (sv->host.stats.conns >= l->conns_max || peer_count(sv, peer) >= l->conns_per_peer) {
        log_warn("grpc connection refused: too many", F_STR("peer", peer),
                 F_UINT("open", sv->host.stats.conns));
        conn_free(conn);
        return;
    }
    ServerConn *sc = xnew(ServerConn);
    sc->server = sv;
    sc->conn = conn;
    sc->out = (ConnOut){conn, &sv->scratch, l->conn_out_max};
    list_init(&sc->dirty);
    list_push_back(&sv->conns, &sc->all);
    sv->host.stats.conns++;
    peer_count_set(sv, peer, peer_count(sv, peer) + 1);
    conn_set_ops(conn, &conn_ops, sc);
    conn_set_low_mark(conn, l->conn_out_max / 2);
    conn_set_tcp_user_timeout(conn, l->ping_interval + l->ping_timeout);
    const H2Sink sink = {sc, sink_write, sink_write_frame, sink_full, sink_wake, sink_due};
    sc->session = srv_session_new(&sv->host, &sink, peer);
    conn_out_end(&sc->out);
    sink_wake(sc);
}

/* ---- the server ---- */

int grpc_server_new(Loop *l, const char *address, TlsContext *tls, const GrpcLimits *limits,
                    const GrpcMethod *methods, const GrpcServerOps *ops, void *arg, GrpcServer **ret,
                    Err *err)
{
    GrpcServer *sv = xnew(GrpcServer);
    sv->loop = l;
    sv->peers = map_new();
    list_init(&sv->conns);
    list_init(&sv->dirty);
    heap_init(&sv->timed, conn_due_less);
    conn_out_scratch_init(&sv->scratch);
    srv_host_init(&sv->host, limits, methods, ops, arg, loop_clock(l));
    sv->timer = timer_new(l, on_timer, sv);
    int r = listener_new(l, address, tls, on_accept, sv, &sv->listener, err);
    if (r < 0) {
        grpc_server_free(sv);
        return r;
    }
    sv->port = listener_port(sv->listener);
    *ret = sv;
    return 0;
}

int grpc_server_port(const GrpcServer *sv)
{
    return sv->port;
}

void grpc_server_drain(GrpcServer *sv, LoopFn done, void *arg)
{
    sv->listener = listener_free(sv->listener);
    sv->drained = done;
    sv->drained_arg = arg;
    sv->draining = true;
    srv_health_drain(&sv->host);
    LIST_FOREACH (&sv->conns, it)
        srv_session_drain(LIST_ENTRY(it, ServerConn, all)->session);
    server_drained(sv);
}

GrpcServer *grpc_server_free(GrpcServer *sv)
{
    if (!sv)
        return NULL;
    sv->drained = NULL;
    listener_free(sv->listener);
    LIST_FOREACH_SAFE (&sv->conns, it) {
        ServerConn *sc = LIST_ENTRY(it, ServerConn, all);
        conn_free(sc->conn);
        server_conn_free(sc);
    }
    timer_free(sv->timer);
    heap_done(&sv->timed);
    map_free(sv->peers);
    buf_done(&sv->scratch);
    srv_host_done(&sv->host);
    sv->freed = true;
    if (!sv->flush_posted) /* else on_flush() frees it */
        free(sv);
    return NULL;
}

GrpcServerStats grpc_server_stats(const GrpcServer *sv)
{
    return sv->host.stats;
}

void grpc_server_enable_health(GrpcServer *sv)
{
    srv_health_enable(&sv->host);
}

void grpc_server_set_serving(GrpcServer *sv, bool serving)
{
    srv_health_set(&sv->host, serving);
}

void grpc_server_enable_reflection(GrpcServer *sv, Str descriptor_set)
{
    srv_reflection_enable(&sv->host, descriptor_set);
}
