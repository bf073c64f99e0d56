#include "client-internal.h"

#include "pb/pb.h"

#define DEFAULT_TIMEOUT (30 * USEC_PER_SEC)

static int channel_init(Client *c, const ClientOptions *o, Err *err)
{
    CLEANUP_FREE char *derived = NULL;
    const char *address = o->grpc_address;
    bool tls = o->grpc_tls;

    if (!address && !o->api_url)
        return err_set(err, ERR_INVALID, "neither an API address nor a gRPC address is given");
    if (!address && client_grpc_address(o->api_url, o->grpc_host_pattern, &derived, &tls, err) < 0)
        return -ERR_INVALID;
    TlsOptions t = {
        .ca_file = o->ca_file,
        .insecure_skip_verify = o->insecure_skip_verify,
        .alpn = "h2",
    };
    if (tls && tls_client_new(&t, &c->tls, err) < 0)
        return err_wrap(err, "TLS for gRPC");
    return grpc_channel_new(c->loop, address ? address : derived, c->tls, &c->channel, err);
}

int client_new_grpc(Loop *l, const ClientOptions *o, Client **ret, Err *err)
{
    CLEANUP(client_freep) Client *c = xnew(Client);

    c->loop = l;
    c->token = o->token;
    c->project = o->project ? xstrdup(o->project) : NULL;
    c->timeout = o->request_timeout ? o->request_timeout : DEFAULT_TIMEOUT;
    list_init(&c->calls);
    list_init(&c->pushes);
    list_init(&c->lists);
    list_init(&c->watches);
    int r = channel_init(c, o, err);
    if (r < 0)
        return r;
    *ret = TAKE(c);
    return 0;
}

void client_stop_all(List *list, void (*stop)(ListLink *))
{
    ListLink *link;

    while ((link = list_pop_front(list)))
        stop(link);
}

Client *client_free(Client *c)
{
    if (!c)
        return NULL;
    if (c->rest_done)
        c->rest_done(c);
    client_stop_all(&c->pushes, client_push_stop);
    client_stop_all(&c->watches, client_watch_detach);
    grpc_channel_free(c->channel);
    tls_free(c->tls);
    free(c->base);
    free(c->project);
    free(c);
    return NULL;
}

const Secret *client_bearer(Client *c)
{
    const Secret *s = c->token ? token_source_get(c->token) : NULL;

    return secret_is_empty(s) ? NULL : s;
}

int client_pack(const ProtobufCMessage *m, Buf *out, Err *err)
{
    size_t len = pb_size(m);
    uint8_t *p = buf_reserve(out, len);

    if (!p)
        return err_set(err, ERR_TOO_LARGE, "the message has %zu bytes, more than %zu", len, out->max);
    pb_pack(m, p);
    buf_commit(out, len);
    return 0;
}

int client_grpc_error(GrpcStatus status, const char *message, Err *err)
{
    return err_set(err, err_from_grpc((int)status), "gRPC %s: %s", err_grpc_name((int)status),
                   message ? message : "");
}

void client_wait(Loop *l, const bool *done)
{
    while (!*done)
        loop_run_once(l, true);
}
