/*
 * The channel: sessions on sockets, and when to make one.
 *
 *   IDLE -> CONNECTING -> READY -> IDLE
 *    ^          |
 *    +- BACKOFF <
 *
 * READY waits for the server's SETTINGS, so that nothing is sent to what is no HTTP/2 server. A connection
 * that got GOAWAY finishes its calls beside the current one.
 */
#include "client-internal.h"

#include <assert.h>
#include "base/mem.h"
#include "conn-out-internal.h"
#include "loop/conn.h"

#define BACKOFF_FIRST (200 * USEC_PER_MSEC)
#define BACKOFF_MAX (5 * USEC_PER_SEC)
#define PING_INTERVAL (30 * USEC_PER_SEC)
#define PING_INTERVAL_MAX (10 * 60 * USEC_PER_SEC)
#define CLOSE_LINGER USEC_PER_SEC
enum { OUT_MAX = 256 << 10 };

typedef enum ChannelState { CHANNEL_IDLE, CHANNEL_CONNECTING, CHANNEL_READY, CHANNEL_BACKOFF } ChannelState;

typedef struct ChannelConn {
    GrpcChannel *channel;
    Conn *conn;
    CliSession *session; /* once connected */
    ConnOut out;
    ListLink all, dirty;
    Usec due;
} ChannelConn;

struct GrpcChannel {
    CliOwner owner; /* first: the hooks get it */
    char *address, *authority;
    TlsContext *tls;
    ChannelState state;
    ChannelConn *cur;           /* of CONNECTING and READY */
    List conns, dirty, waiting; /* ChannelConn.all, ChannelConn.dirty, GrpcClientCall.link */
    Timer *timer, *backoff_timer;
    Usec timer_at, backoff, ping_interval;
    Buf scratch;
    char why[256]; /* of the last failed attempt */
    bool work_posted, freed;
};

static GrpcChannel *channel_of(CliOwner *o)
{
    return (GrpcChannel *)o;
}

/* ---- work is done in the loop's posted calls, never in a caller's or a protocol callback's stack ---- */

static void on_work(void *arg);

static void channel_work(GrpcChannel *ch)
{
    if (ch->work_posted)
        return;
    ch->work_posted = true;
    loop_post(ch->owner.loop, on_work, ch);
}

/* ---- time ---- */

static void timer_want(GrpcChannel *ch, Usec at)
{
    Usec now = clock_now(ch->owner.clock);
    if (at == USEC_NEVER || (timer_armed(ch->timer) && ch->timer_at <= at))
        return;
    ch->timer_at = at;
    timer_arm(ch->timer, at > now ? at - now : 0);
}

static void on_timer(void *arg)
{
    GrpcChannel *ch = arg;
    Usec now = clock_now(ch->owner.clock), next = cli_owner_tick(&ch->owner);
    if (ch->freed)
        return;
    LIST_FOREACH (&ch->conns, it) {
        ChannelConn *cc = LIST_ENTRY(it, ChannelConn, all);
        if (cc->session && cc->due <= now) {
            cli_session_tick(cc->session);
            conn_out_end(&cc->out);
        }
        next = cc->due < next ? cc->due : next;
    }
    timer_want(ch, next);
}

static void on_deadline(CliOwner *o, Usec at)
{
    timer_want(channel_of(o), at);
}

static void sink_due(void *arg, Usec at)
{
    ChannelConn *cc = arg;
    cc->due = at;
    timer_want(cc->channel, at);
}

/* ---- connections ---- */

static void sink_write(void *arg, Str bytes)
{
    conn_out_write(&((ChannelConn *)arg)->out, bytes);
}

static void sink_write_frame(void *arg, GrpcFrame *f, Str part)
{
    conn_out_write_frame(&((ChannelConn *)arg)->out, f, part);
}

static bool sink_full(void *arg)
{
    return conn_out_full(&((ChannelConn *)arg)->out);
}

static void sink_wake(void *arg)
{
    ChannelConn *cc = arg;
    if (!list_linked(&cc->dirty))
        list_push_back(&cc->channel->dirty, &cc->dirty);
    channel_work(cc->channel);
}

static void fail_waiting(GrpcChannel *ch)
{
    List failed; /* what callbacks start meanwhile is for the next round */
    list_init(&failed);
    while (!list_empty(&ch->waiting))
        list_push_back(&failed, list_pop_front(&ch->waiting));
    while (!list_empty(&failed))
        cli_call_end(LIST_ENTRY(failed.next, GrpcClientCall, link), GRPC_UNAVAILABLE, ch->why);
}

static void attempt_failed(GrpcChannel *ch, const char *why)
{
    ch->cur = NULL;
    ch->state = CHANNEL_BACKOFF;
    snprintf(ch->why, sizeof(ch->why), "cannot connect to %s: %s", ch->address, why);
    ch->backoff = ch->backoff ? ch->backoff * 2 : BACKOFF_FIRST;
    if (ch->backoff > BACKOFF_MAX)
        ch->backoff = BACKOFF_MAX;
    timer_arm(ch->backoff_timer, ch->backoff);
    channel_work(ch);
}

/* The session's calls end or come back to wait. The Conn is the caller's. */
static void conn_gone(ChannelConn *cc, const char *why)
{
    GrpcChannel *ch = cc->channel;
    CliSession *s = TAKE(cc->session);
    bool cur = ch->cur == cc;
    list_remove(&cc->all);
    list_remove(&cc->dirty);
    if (s && s->too_many_pings && ch->ping_interval < PING_INTERVAL_MAX)
        ch->ping_interval *= 2;
    if (cur && ch->state == CHANNEL_CONNECTING) {
        attempt_failed(ch, why);
    } else if (cur) {
        ch->cur = NULL;
        ch->state = CHANNEL_IDLE;
    }
    free(cc);
    cli_session_free(s, why);
    if (!ch->freed)
        channel_work(ch);
}

static size_t on_read(void *arg, Str bytes)
{
    ChannelConn *cc = arg;
    CliSession *s = cc->session;
    cli_session_feed(s, bytes);
    if (!s->dead)
        conn_out_end(&cc->out);
    return bytes.len;
}

static void on_drain(void *arg)
{
    sink_wake(arg);
}

static void on_end(void *arg, ConnEnd how, const char *why)
{
    ChannelConn *cc = arg;
    conn_free(cc->conn);
    conn_gone(cc, why ? why : "connection lost");
}

static void on_connected(void *arg)
{
    ChannelConn *cc = arg;
    const H2Sink sink = {cc, sink_write, sink_write_frame, sink_full, sink_wake, sink_due};
    conn_set_low_mark(cc->conn, OUT_MAX / 2);
    conn_set_tcp_user_timeout(cc->conn, 2 * PING_INTERVAL);
    cc->session = cli_session_new(&cc->channel->owner, &sink, cc->channel->ping_interval);
    sink_wake(cc);
}

static const ConnOps conn_ops = {
    .on_read = on_read, .on_drain = on_drain, .on_end = on_end, .on_ready = on_connected};

static void channel_connect(GrpcChannel *ch)
{
    Err err = {0};
    ChannelConn *cc = xnew(ChannelConn);
    cc->channel = ch;
    cc->due = USEC_NEVER;
    list_init(&cc->dirty);
    ch->state = CHANNEL_CONNECTING;
    if (conn_connect(ch->owner.loop, ch->address, ch->tls, &conn_ops, cc, &cc->conn, &err) < 0) {
        free(cc);
        attempt_failed(ch, err.msg);
        return;
    }
    cc->out = (ConnOut){cc->conn, &ch->scratch, OUT_MAX};
    list_push_back(&ch->conns, &cc->all);
    ch->cur = cc;
}

static void conn_flush(ChannelConn *cc)
{
    GrpcChannel *ch = cc->channel;
    CliSession *s = cc->session;
    cli_session_flush(s);
    if (s->dead)
        return;
    conn_out_end(&cc->out);
    if (s->going && ch->cur == cc) { /* its calls go on, new ones go elsewhere */
        ch->cur = NULL;
        ch->state = CHANNEL_IDLE;
        channel_work(ch);
    }
    if (!cli_session_is_over(s))
        return;
    conn_close_after_flush(cc->conn, CLOSE_LINGER);
    conn_gone(cc, s->why ? s->why : "the server closed the connection");
}

/* ---- calls and connections meet ---- */

static void on_ready(CliOwner *o, CliSession *s)
{
    GrpcChannel *ch = channel_of(o);
    if (!ch->cur || ch->cur->session != s)
        return;
    ch->state = CHANNEL_READY;
    ch->backoff = 0;
    channel_work(ch);
}

static void on_retry(CliOwner *o, GrpcClientCall *c)
{
    list_push_back(&channel_of(o)->waiting, &c->link);
    channel_work(channel_of(o));
}

static bool takes_calls(const GrpcChannel *ch)
{
    return ch->state == CHANNEL_READY && cli_session_takes_calls(ch->cur->session);
}

static void serve_waiting(GrpcChannel *ch)
{
    while (takes_calls(ch) && !list_empty(&ch->waiting))
        cli_call_send(LIST_ENTRY(list_pop_front(&ch->waiting), GrpcClientCall, link), ch->cur->session);
    if (list_empty(&ch->waiting))
        return;
    if (ch->state == CHANNEL_BACKOFF)
        fail_waiting(ch);
    else if (ch->state == CHANNEL_IDLE)
        channel_connect(ch);
}

static void on_work(void *arg)
{
    GrpcChannel *ch = arg;
    List dirty;
    ch->work_posted = false;
    if (!ch->freed)
        serve_waiting(ch);
    list_init(&dirty);
    while (!ch->freed && !list_empty(&ch->dirty))
        list_push_back(&dirty, list_pop_front(&ch->dirty));
    while (!list_empty(&dirty))
        conn_flush(LIST_ENTRY(list_pop_front(&dirty), ChannelConn, dirty));
    if (ch->freed && !ch->work_posted)
        free(ch);
}

static void on_backoff_over(void *arg)
{
    GrpcChannel *ch = arg;
    if (ch->state == CHANNEL_BACKOFF)
        ch->state = CHANNEL_IDLE;
}

/* ---- the channel ---- */

static char *authority_of(const char *address)
{
    if (str_starts(str_from(address), STR("unix:")))
        return xstrdup("localhost");
    return *address == ':' ? xasprintf("localhost%s", address) : xstrdup(address);
}

int grpc_channel_new(Loop *l, const char *address, TlsContext *tls, GrpcChannel **ret, Err *err)
{
    if (!*address)
        return err_set(err, ERR_INVALID, "gRPC address is empty");
    GrpcChannel *ch = xnew(GrpcChannel);
    cli_owner_init(&ch->owner, l);
    ch->owner.on_ready = on_ready;
    ch->owner.on_retry = on_retry;
    ch->owner.on_deadline = on_deadline;
    ch->address = xstrdup(address);
    ch->authority = authority_of(address);
    ch->owner.authority = str_from(ch->authority);
    ch->owner.scheme = tls ? STR("https") : STR("http");
    ch->tls = tls ? tls_ref(tls) : NULL;
    ch->ping_interval = PING_INTERVAL;
    list_init(&ch->conns);
    list_init(&ch->dirty);
    list_init(&ch->waiting);
    conn_out_scratch_init(&ch->scratch);
    ch->timer = timer_new(l, on_timer, ch);
    ch->backoff_timer = timer_new(l, on_backoff_over, ch);
    *ret = ch;
    return 0;
}

static void cancel_all(List *calls)
{
    while (!list_empty(calls))
        cli_call_end(LIST_ENTRY(calls->next, GrpcClientCall, link), GRPC_CANCELLED, "channel closed");
}

GrpcChannel *grpc_channel_free(GrpcChannel *ch)
{
    if (!ch || ch->freed)
        return NULL;
    ch->freed = true;
    cancel_all(&ch->waiting);
    LIST_FOREACH_SAFE (&ch->conns, it) {
        ChannelConn *cc = LIST_ENTRY(it, ChannelConn, all);
        if (cc->session)
            cancel_all(&cc->session->calls);
        conn_free(cc->conn);
        conn_gone(cc, "channel closed");
    }
    ch->timer = timer_free(ch->timer);
    ch->backoff_timer = timer_free(ch->backoff_timer);
    cli_owner_done(&ch->owner);
    tls_free(ch->tls);
    free(ch->address);
    free(ch->authority);
    buf_done(&ch->scratch);
    channel_work(ch); /* frees the structure itself, when nobody up the stack has it any more */
    return NULL;
}

bool grpc_channel_ready(const GrpcChannel *ch)
{
    return ch->state == CHANNEL_READY;
}

GrpcClientCall *grpc_client_call_start(GrpcChannel *ch, const GrpcCallSpec *spec, Str message,
                                       const GrpcCallOps *ops, void *arg)
{
    assert(!ch->freed);
    GrpcClientCall *c = cli_call_new(&ch->owner, spec, message, ops, arg);
    list_push_back(&ch->waiting, &c->link);
    channel_work(ch);
    return c;
}
