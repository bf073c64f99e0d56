#include "client-internal.h"

#include "pb/ambient.h"
#include "pb/pb.h"

#define PUSH_PATH "/ambient.v1.SessionService/PushSessionMessage"
#define DEFAULT_TIMEOUT (5 * USEC_PER_SEC)

struct ClientPushCall {
    ListLink link;
    Client *client;
    GrpcClientCall *call; /* NULL: refused here, `refused` says why */
    ClientPushDone done;
    void *arg;
    uint64_t seq;
    bool answered, ended;
    Err refused;
};

static void push_end(ClientPushCall *p)
{
    p->ended = true;
    list_remove(&p->link);
}

void client_push_cancel(ClientPushCall *p)
{
    if (!p || p->ended)
        return;
    push_end(p);
    if (!p->call)
        return; /* its posted completion frees it */
    grpc_client_call_cancel(p->call);
    loop_defer(p->client->loop, free, p);
}

void client_push_stop(ListLink *link)
{
    client_push_cancel(LIST_ENTRY(link, ClientPushCall, link));
}

static void on_message(void *arg, Str bytes)
{
    ClientPushCall *p = arg;
    CLEANUP(pb_freep)
    ProtobufCMessage *m = pb_unpack_checked(&ambient__v1__session_message__descriptor, bytes, &p->refused);

    if (!m)
        return;
    p->seq = (uint64_t)((const Ambient__V1__SessionMessage *)m)->seq;
    p->answered = true;
}

static void on_end(void *arg, GrpcStatus status, const char *message)
{
    ClientPushCall *p = arg;
    Err e = {0};

    push_end(p);
    loop_defer(p->client->loop, free, p);
    if (status != GRPC_OK)
        client_grpc_error(status, message, &e);
    else if (!p->answered)
        err_set(&e, ERR_BAD_GATEWAY, "the push was answered without a message: %s", p->refused.msg);
    if (e.code)
        err_wrap(&e, "push");
    p->done(p->arg, p->seq, e.code ? &e : NULL);
}

static void on_refused(void *arg)
{
    ClientPushCall *p = arg;

    if (!p->ended) {
        push_end(p);
        p->done(p->arg, 0, &p->refused);
    }
    free(p);
}

static int pack_request(const ClientPush *push, Buf *out, Err *err)
{
    Ambient__V1__PushSessionMessageRequest m = AMBIENT__V1__PUSH_SESSION_MESSAGE_REQUEST__INIT;
    CLEANUP_FREE char *session = str_dup(push->session_id);
    CLEANUP_FREE char *type = str_dup(push->event_type);
    CLEANUP_FREE char *payload = str_dup(push->payload);

    if (!str_is_utf8(push->payload) || !str_is_utf8(push->event_type) || !str_is_utf8(push->session_id))
        return err_set(err, ERR_INVALID, "push: the text is not UTF-8 or holds a NUL");
    m.session_id = session;
    m.event_type = type;
    m.payload = payload;
    return client_pack(&m.base, out, err);
}

static void send_push(ClientPushCall *p, const ClientPush *push, Str message)
{
    static const GrpcCallOps ops = {.on_message = on_message, .on_end = on_end};
    GrpcMetadata metadata[3];
    size_t n = 0;

    if (p->client->project)
        metadata[n++] = (GrpcMetadata){"x-ambient-project", str_from(p->client->project)};
    if (push->turn.len > 0)
        metadata[n++] = (GrpcMetadata){"x-ambient-turn", push->turn};
    if (push->request_id.len > 0)
        metadata[n++] = (GrpcMetadata){"x-ambient-idempotency-key", push->request_id};
    GrpcCallSpec spec = {
        .path = PUSH_PATH,
        .bearer = client_bearer(p->client),
        .metadata = metadata,
        .n_metadata = n,
        .timeout = push->timeout ? push->timeout : DEFAULT_TIMEOUT,
    };
    p->call = grpc_client_call_start(p->client->channel, &spec, message, &ops, p);
}

ClientPushCall *client_push(Client *c, const ClientPush *push, ClientPushDone done, void *arg)
{
    ClientPushCall *p = xnew(ClientPushCall);
    CLEANUP_BUF Buf message = BUF_INIT(CLIENT_MESSAGE_MAX);

    p->client = c;
    p->done = done;
    p->arg = arg;
    list_push_back(&c->pushes, &p->link);
    if (pack_request(push, &message, &p->refused) < 0)
        loop_post(c->loop, on_refused, p);
    else
        send_push(p, push, buf_str(&message));
    return p;
}
