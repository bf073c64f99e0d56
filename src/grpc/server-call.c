/* The state and the life of a call, and what may be asked about it. */
#include "server-call-internal.h"

#include <assert.h>
#include "base/mem.h"
#include "pb/pb.h"

#define TO(state) (1u << (state))
static const uint8_t call_next[_CALL_STATE_MAX] = {
    [CALL_OPENING] = TO(CALL_RECEIVING) | TO(CALL_ENDING),
    [CALL_RECEIVING] = TO(CALL_ADMITTING) | TO(CALL_ENDING),
    [CALL_ADMITTING] = TO(CALL_HANDLING) | TO(CALL_ENDING),
    [CALL_HANDLING] = TO(CALL_RESPONDING) | TO(CALL_ENDING),
    [CALL_RESPONDING] = TO(CALL_ENDING),
    [CALL_ENDING] = TO(CALL_DONE),
};

void srv_call_move(GrpcCall *c, CallState to)
{
    assert(c->magic == CALL_MAGIC);
    assert(call_next[c->state] & TO(to));
    c->state = (uint8_t)to;
}

/* ---- life ---- */

void srv_call_set_due(GrpcCall *c, Usec due)
{
    SrvSession *s = c->session;
    heap_remove(&s->timed, &c->timed);
    c->due = due;
    if (due == USEC_NEVER)
        return;
    heap_push(&s->timed, &c->timed);
    srv_session_set_due(s, due);
}

GrpcCall *srv_call_open(SrvSession *s, int32_t stream_id)
{
    GrpcCall *c = xnew(GrpcCall);
    c->magic = CALL_MAGIC;
    c->stream_id = stream_id;
    c->session = s;
    c->content_type = "application/grpc";
    c->started = s->now;
    c->deadline = c->due = USEC_NEVER;
    c->request = xnew(CallRequest);
    metadata_init(&c->request->metadata, s->host->limits.header_list_max);
    message_init(&c->request->reader, s->host->limits.message_max);
    list_init(&c->ready);
    list_push_back(&s->calls, &c->all);
    if (s->n_calls++ == 0)
        srv_session_set_due(s, usec_add(s->last_recv, s->host->limits.ping_interval));
    s->host->stats.streams++;
    srv_call_set_due(c, usec_add(c->started, s->host->limits.request_timeout));
    return c;
}

static void request_uncount(GrpcCall *c)
{
    c->session->request_bytes -= c->counted;
    c->session->host->request_bytes -= c->counted;
    c->counted = 0;
}

/* The message is not needed any more; the metadata may be, for the log. */
void srv_call_message_drop(GrpcCall *c)
{
    request_uncount(c);
    if (c->request)
        message_done(&c->request->reader);
}

void srv_call_request_free(GrpcCall *c)
{
    if (!c->request)
        return;
    srv_call_message_drop(c);
    metadata_done(&c->request->metadata);
    free(c->request);
    c->request = NULL;
}

static void bidi_free(GrpcCall *c)
{
    if (!c->bidi)
        return;
    for (size_t i = c->bidi->out_pos; i < c->bidi->out.len; i++)
        grpc_frame_unref(c->bidi->out.ptr[i]);
    vec_free(&c->bidi->out);
    buf_done(&c->bidi->pending);
    free(c->bidi);
    c->bidi = NULL;
}

void srv_call_cur_drop(GrpcCall *c)
{
    if (c->cur && c->method->kind == GRPC_UNARY)
        c->session->reply_bytes -= grpc_frame_bytes(c->cur).len;
    c->cur = grpc_frame_unref(c->cur);
    c->cur_pos = 0;
}

/* Tells the application, once, that the call is over. */
void srv_call_tell(GrpcCall *c)
{
    if (c->told)
        return;
    c->told = true;
    SrvHost *host = c->session->host;
    if (host->ops.on_end && c->state != CALL_OPENING)
        host->ops.on_end(host->arg, c, c->status, clock_now(host->clock) - c->started);
    if (c->on_gone)
        c->on_gone(c->user);
}

static void call_free(GrpcCall *c)
{
    SrvSession *s = c->session;
    srv_call_cur_drop(c);
    bidi_free(c);
    srv_call_request_free(c);
    heap_remove(&s->timed, &c->timed);
    list_remove(&c->all);
    list_remove(&c->ready);
    s->n_calls--;
    s->host->stats.streams--;
    free(c->message);
    c->magic = 0;
    free(c);
}

void srv_call_stream_closed(GrpcCall *c)
{
    if (c->state < CALL_ENDING)
        c->status = GRPC_CANCELLED;
    srv_call_tell(c);
    call_free(c);
}

/* ---- questions and small things ---- */

const GrpcMethod *grpc_call_method(const GrpcCall *c)
{
    return c->method;
}

Str grpc_call_path(const GrpcCall *c)
{
    if (c->method)
        return str_from(c->method->path);
    return c->request ? metadata_get(&c->request->metadata, ":path") : STR_NULL;
}

Str grpc_call_metadata(const GrpcCall *c, const char *name)
{
    assert(c->magic == CALL_MAGIC);
    return c->request ? metadata_get(&c->request->metadata, name) : STR_NULL;
}

const char *grpc_call_peer(const GrpcCall *c)
{
    return c->session->peer;
}

Usec grpc_call_deadline(const GrpcCall *c)
{
    return c->deadline;
}

void grpc_call_set_user(GrpcCall *c, void *user, LoopFn on_gone)
{
    assert(c->magic == CALL_MAGIC && !c->told);
    c->user = user;
    c->on_gone = on_gone;
}

void *grpc_call_user(const GrpcCall *c)
{
    return c->user;
}

void *grpc_call_decode(GrpcCall *c, const ProtobufCMessageDescriptor *desc, Str message)
{
    Err err = {0};
    ProtobufCMessage *msg = pb_unpack_checked(desc, message, &err);
    if (!msg)
        srv_call_finishf(c, GRPC_INTERNAL, "grpc: error unmarshalling request: %s", err.msg);
    return msg;
}

GrpcWork *grpc_call_work(GrpcCall *c)
{
    SrvSession *s = c->session;
    assert(c->magic == CALL_MAGIC);
    s->work->running++;
    s->work->refs++;
    return s->work;
}

void grpc_work_unref(GrpcWork *w)
{
    assert(w->refs > 0);
    if (--w->refs == 0)
        free(w);
}

void grpc_work_done(GrpcWork *w)
{
    assert(w->running > 0);
    w->running--;
    grpc_work_unref(w);
}
