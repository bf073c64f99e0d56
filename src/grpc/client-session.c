#include "client-internal.h"

#include <assert.h>
#include "base/log.h"
#include "base/mem.h"

#define HANDSHAKE_TIMEOUT (10 * USEC_PER_SEC)
#define PING_TIMEOUT (10 * USEC_PER_SEC)
enum {
    HEADER_LIST_MAX = 64 << 10,
    BLOCK_LISTED_MAX = 1 << 20, /* what one header block may unpack to before the server counts as hostile */
};

/* ---- nghttp2's callbacks; after `dead` none may touch anything ---- */

static GrpcClientCall *call_of(CliSession *s, int32_t stream_id)
{
    return stream_id ? nghttp2_session_get_stream_user_data(s->h2, stream_id) : NULL;
}

static int alive(const CliSession *s)
{
    return s->dead ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    CliSession *s = user;
    s->block_listed = 0;
    return alive(s);
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    CliSession *s = user;
    if (s->dead)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    s->block_listed += name_len + value_len;
    if (s->block_listed > BLOCK_LISTED_MAX) {
        s->kick = "header list too large";
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    GrpcClientCall *c = call_of(s, frame->hd.stream_id);
    if (c)
        cli_call_header(c, (Str){(const char *)name, name_len}, (Str){(const char *)value, value_len});
    return 0;
}

static void goaway_seen(CliSession *s, const nghttp2_goaway *g)
{
    const Str text = {(const char *)g->opaque_data, g->opaque_data_len};
    s->going = true;
    if (g->error_code == NGHTTP2_ENHANCE_YOUR_CALM && str_eq(text, STR("too_many_pings")))
        s->too_many_pings = true;
}

static int on_frame_recv(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    CliSession *s = user;
    if (s->dead)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    GrpcClientCall *c;
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        if (s->settings_seen || (frame->hd.flags & NGHTTP2_FLAG_ACK))
            break;
        s->settings_seen = true;
        s->owner->on_ready(s->owner, s);
        break;
    case NGHTTP2_GOAWAY:
        goaway_seen(s, &frame->goaway);
        break;
    case NGHTTP2_HEADERS:
        c = call_of(s, frame->hd.stream_id);
        if (c)
            cli_call_headers_done(c);
        break;
    default:
        break;
    }
    return alive(s);
}

static int on_data_chunk(nghttp2_session *h2, uint8_t flags, int32_t stream_id, const uint8_t *data,
                         size_t len, void *user)
{
    CliSession *s = user;
    if (s->dead)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    GrpcClientCall *c = call_of(s, stream_id);
    size_t credit = c ? cli_call_data(c, (Str){(const char *)data, len}) : len;
    if (s->dead)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    /* A paused stream must not hold up the others: the connection's credit goes back in any case. */
    h2_check(nghttp2_session_consume_connection(h2, len));
    h2_check(nghttp2_session_consume_stream(h2, stream_id, credit));
    return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t stream_id, uint32_t error_code, void *user)
{
    CliSession *s = user;
    if (s->dead)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    GrpcClientCall *c = call_of(s, stream_id);
    if (c)
        cli_call_stream_closed(c, error_code);
    return alive(s);
}

static int on_frame_send(nghttp2_session *h2, const nghttp2_frame *frame, void *user)
{
    CliSession *s = user;
    GrpcClientCall *c;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        c = call_of(s, frame->hd.stream_id);
        if (c)
            c->headers_out = true;
        h2_meter_progress(&s->meter);
        break;
    case NGHTTP2_DATA:
        h2_meter_progress(&s->meter);
        break;
    default:
        break;
    }
    return 0;
}

static int on_send_data(nghttp2_session *h2, nghttp2_frame *frame, const uint8_t *head, size_t length,
                        nghttp2_data_source *source, void *user)
{
    cli_call_write(source->ptr, head, length);
    return 0;
}

/* ---- life ---- */

static nghttp2_session *h2_new(CliSession *s)
{
    nghttp2_session_callbacks *cb = h2_callbacks_new();
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(cb, on_send_data);
    return h2_new_client(cb, s);
}

static void settings_submit(CliSession *s)
{
    const nghttp2_settings_entry iv[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_MAX},
    };
    h2_check(nghttp2_submit_settings(s->h2, NGHTTP2_FLAG_NONE, iv, ARRAY_LEN(iv)));
    h2_check(nghttp2_session_set_local_window_size(s->h2, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW));
}

static void set_due(CliSession *s, Usec at)
{
    if (at >= s->due)
        return;
    s->due = at;
    s->sink.due(s->sink.arg, at);
}

CliSession *cli_session_new(CliOwner *o, const H2Sink *sink, Usec ping_interval)
{
    CliSession *s = xnew(CliSession);
    s->owner = o;
    s->sink = *sink;
    s->ping_interval = ping_interval;
    s->created = s->last_recv = clock_now(o->clock);
    s->due = USEC_NEVER;
    list_init(&s->calls);
    h2_meter_init(&s->meter, false, 2 * HEADER_LIST_MAX);
    s->h2 = h2_new(s);
    settings_submit(s);
    set_due(s, s->created + HANDSHAKE_TIMEOUT);
    return s;
}

static void session_release(void *arg)
{
    CliSession *s = arg;
    nghttp2_session_del(s->h2);
    free(s);
}

CliSession *cli_session_free(CliSession *s, const char *why)
{
    if (!s)
        return NULL;
    assert(!s->dead);
    s->dead = s->over = true;
    List lost; /* what callbacks start meanwhile cannot come here, but what they cancel leaves */
    list_init(&lost);
    while (!list_empty(&s->calls))
        list_push_back(&lost, list_pop_front(&s->calls));
    while (!list_empty(&lost))
        cli_call_lost(LIST_ENTRY(lost.next, GrpcClientCall, link), why);
    loop_defer(s->owner->loop, session_release, s);
    return NULL;
}

/* ---- bytes ---- */

static void session_end(CliSession *s, uint32_t code, const char *why)
{
    if (s->over)
        return;
    h2_goaway_write(&s->sink, 0, code, why);
    s->over = true;
    s->why = why;
    s->sink.wake(s->sink.arg);
}

void cli_session_feed(CliSession *s, Str bytes)
{
    if (s->over)
        return;
    s->last_recv = clock_now(s->owner->clock);
    s->ping_sent = 0;
    s->kick = h2_meter_scan(&s->meter, bytes, s->last_recv);
    ssize_t n = 0;
    if (!s->kick)
        n = nghttp2_session_mem_recv(s->h2, (const uint8_t *)bytes.ptr, bytes.len);
    if (s->dead)
        return;
    if (s->kick)
        session_end(s, NGHTTP2_ENHANCE_YOUR_CALM, s->kick);
    else if (n < 0)
        session_end(s, NGHTTP2_PROTOCOL_ERROR, nghttp2_strerror((int)n));
    else
        s->sink.wake(s->sink.arg);
}

void cli_session_flush(CliSession *s)
{
    while (!s->over && !s->sink.full(s->sink.arg)) {
        const uint8_t *out;
        ssize_t n = nghttp2_session_mem_send(s->h2, &out);
        if (n < 0)
            session_end(s, NGHTTP2_INTERNAL_ERROR, nghttp2_strerror((int)n));
        if (n <= 0)
            return;
        s->sink.write(s->sink.arg, (Str){(const char *)out, (size_t)n});
    }
}

bool cli_session_is_over(const CliSession *s)
{
    return s->over || (!nghttp2_session_want_read(s->h2) && !nghttp2_session_want_write(s->h2)) ||
           (s->going && list_empty(&s->calls));
}

bool cli_session_takes_calls(const CliSession *s)
{
    return s->settings_seen && !s->going && !cli_session_is_over(s);
}

/* ---- time ---- */

static Usec session_due(const CliSession *s)
{
    if (!s->settings_seen)
        return s->created + HANDSHAKE_TIMEOUT;
    return s->ping_sent ? s->ping_sent + PING_TIMEOUT : s->last_recv + s->ping_interval;
}

static void session_expired(CliSession *s, Usec now)
{
    if (!s->settings_seen) {
        session_end(s, NGHTTP2_SETTINGS_TIMEOUT, "no answer to the HTTP/2 preface");
    } else if (s->ping_sent) {
        session_end(s, NGHTTP2_NO_ERROR, "the server does not answer pings");
    } else {
        h2_check(nghttp2_submit_ping(s->h2, NGHTTP2_FLAG_NONE, NULL));
        s->ping_sent = now;
    }
}

void cli_session_tick(CliSession *s)
{
    Usec now = clock_now(s->owner->clock);
    s->due = USEC_NEVER;
    if (s->over)
        return;
    if (session_due(s) <= now)
        session_expired(s, now);
    set_due(s, session_due(s));
    s->sink.wake(s->sink.arg);
}
