/*
 * The server that foreign gRPC clients are run against: grpc.testing.TestService as far as our design goes,
 * and the Probe service of test-interop.proto. Prints "PORT n" when it listens and ends on SIGTERM after a
 * drain.
 *
 *     test-interop-server [--streams-per-conn N] [--cert FILE --key FILE]
 */
#include <assert.h>
#include "base/flag.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "grpc/server.h"
#include "pb/pb.h"
#include "test-interop.pb-c.h"

#define MESSAGE_MAX (16 << 20)

typedef Grpc__Testing__SimpleRequest SimpleRequest;
typedef Grpc__Testing__StreamingOutputCallRequest StreamRequest;

typedef struct App {
    Loop *loop;
    GrpcServer *server;
    SignalWatch *term, *intr;
    List subscribers;
    GrpcFrame *published;
    uint64_t n_published;
} App;

static GrpcFrame *zeros_frame(int32_t size)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__SimpleResponse res = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    size_t len = size > 0 && size <= MESSAGE_MAX ? (size_t)size : 0;
    CLEANUP_FREE uint8_t *body = xcalloc(1, len + 1);
    payload.has_body = 1;
    payload.body = (ProtobufCBinaryData){len, body};
    res.payload = &payload; /* StreamingOutputCallResponse has the same bytes */
    return grpc_frame_pack(&res.base);
}

static GrpcFrame *text_frame(Str text)
{
    Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
    Grpc__Testing__SimpleResponse res = GRPC__TESTING__SIMPLE_RESPONSE__INIT;
    CLEANUP_FREE char *copy = str_dup(text);
    payload.has_body = 1;
    payload.body = (ProtobufCBinaryData){text.len, (uint8_t *)copy};
    res.payload = &payload;
    return grpc_frame_pack(&res.base);
}

/* ---- TestService ---- */

static void empty_call(void *arg, GrpcCall *c, Str message)
{
    Grpc__Testing__Empty empty = GRPC__TESTING__EMPTY__INIT;
    grpc_call_reply(c, &empty.base);
}

static void unary_call(void *arg, GrpcCall *c, Str message)
{
    CLEANUP(pb_freep)
    SimpleRequest *req = grpc_call_decode(c, &grpc__testing__simple_request__descriptor, message);
    if (!req)
        return;
    if (req->response_status && req->response_status->code)
        grpc_call_finish(c, (GrpcStatus)req->response_status->code, req->response_status->message);
    else
        grpc_call_reply_frame(c, zeros_frame(req->response_size));
}

/* A streaming call's plan, made from its request, and how far it has come. */
typedef struct Plan {
    App *app;
    GrpcCall *call;
    StreamRequest *req;
    size_t next;
    Timer *timer;
    bool waited;
} Plan;

static void plan_free(void *arg)
{
    Plan *p = arg;
    timer_free(p->timer);
    pb_free(p->req);
    free(p);
}

static void plan_ready(void *arg)
{
    Plan *p = arg;
    p->waited = true;
    grpc_call_wake(p->call);
}

static void plan_end(Plan *p)
{
    const Grpc__Testing__EchoStatus *s = p->req->response_status;
    grpc_call_finish(p->call, s ? (GrpcStatus)s->code : GRPC_OK, s ? s->message : NULL);
}

static GrpcFrame *plan_pull(void *user, GrpcCall *c)
{
    Plan *p = user;
    if (p->next == p->req->n_response_parameters) {
        plan_end(p);
        return NULL;
    }
    const Grpc__Testing__ResponseParameters *step = p->req->response_parameters[p->next];
    if (step->interval_us > 0 && !p->waited) {
        if (!timer_armed(p->timer))
            timer_arm(p->timer, (Usec)step->interval_us);
        return NULL;
    }
    p->waited = false;
    p->next++;
    return zeros_frame(step->size);
}

static void streaming_call(void *arg, GrpcCall *c, Str message)
{
    App *app = arg;
    StreamRequest *req =
        grpc_call_decode(c, &grpc__testing__streaming_output_call_request__descriptor, message);
    if (!req)
        return;
    Plan *p = xnew(Plan);
    *p = (Plan){.app = app, .call = c, .req = req};
    p->timer = timer_new(app->loop, plan_ready, p);
    grpc_call_set_user(c, p, plan_free);
    grpc_call_stream(c, plan_pull);
}

static void duplex_message(void *arg, GrpcCall *c, Str message)
{
    CLEANUP(pb_freep)
    StreamRequest *req =
        grpc_call_decode(c, &grpc__testing__streaming_output_call_request__descriptor, message);
    if (!req)
        return;
    if (req->response_status && req->response_status->code) {
        grpc_call_finish(c, (GrpcStatus)req->response_status->code, req->response_status->message);
        return;
    }
    for (size_t i = 0; i < req->n_response_parameters; i++) {
        Grpc__Testing__Payload payload = GRPC__TESTING__PAYLOAD__INIT;
        Grpc__Testing__StreamingOutputCallResponse res = GRPC__TESTING__STREAMING_OUTPUT_CALL_RESPONSE__INIT;
        int32_t size = req->response_parameters[i]->size;
        CLEANUP_FREE uint8_t *body = xcalloc(1, size > 0 && size <= MESSAGE_MAX ? (size_t)size : 1);
        payload.has_body = 1;
        payload.body = (ProtobufCBinaryData){size > 0 && size <= MESSAGE_MAX ? (size_t)size : 0, body};
        res.payload = &payload;
        grpc_call_send(c, &res.base);
    }
}

static void duplex_half_close(void *arg, GrpcCall *c)
{
    grpc_call_finish(c, GRPC_OK, NULL);
}

/* ---- Probe ---- */

static void metadata_call(void *arg, GrpcCall *c, Str message)
{
    CLEANUP(pb_freep)
    SimpleRequest *req = grpc_call_decode(c, &grpc__testing__simple_request__descriptor, message);
    if (!req)
        return;
    CLEANUP_FREE char *name = NULL;
    if (req->payload && req->payload->has_body)
        name = xstrndup((const char *)req->payload->body.data, req->payload->body.len);
    Str value = grpc_call_metadata(c, name ? name : "");
    if (value.ptr)
        grpc_call_reply_frame(c, text_frame(value));
    else
        grpc_call_finish(c, GRPC_NOT_FOUND, "no such metadata");
}

static void never_call(void *arg, GrpcCall *c, Str message)
{
}

typedef struct Subscriber {
    App *app;
    GrpcCall *call;
    uint64_t seen;
    ListLink all;
} Subscriber;

static void subscriber_gone(void *arg)
{
    Subscriber *s = arg;
    list_remove(&s->all);
    free(s);
}

static GrpcFrame *subscriber_pull(void *user, GrpcCall *c)
{
    Subscriber *s = user;
    if (s->seen == s->app->n_published)
        return NULL;
    s->seen++;
    return grpc_frame_ref(s->app->published);
}

static void subscribe_call(void *arg, GrpcCall *c, Str message)
{
    App *app = arg;
    Subscriber *s = xnew(Subscriber);
    *s = (Subscriber){.app = app, .call = c, .seen = app->n_published};
    list_push_back(&app->subscribers, &s->all);
    grpc_call_set_user(c, s, subscriber_gone);
    grpc_call_stream(c, subscriber_pull);
}

static void publish_call(void *arg, GrpcCall *c, Str message)
{
    App *app = arg;
    CLEANUP(pb_freep)
    SimpleRequest *req = grpc_call_decode(c, &grpc__testing__simple_request__descriptor, message);
    if (!req)
        return;
    grpc_frame_unref(app->published);
    app->published = zeros_frame(req->response_size);
    app->n_published += req->payload && req->payload->has_body ? req->payload->body.len : 1;
    LIST_FOREACH (&app->subscribers, it)
        grpc_call_wake(LIST_ENTRY(it, Subscriber, all)->call);
    empty_call(arg, c, STR_NULL);
}

#define TEST "/grpc.testing.TestService/"
#define PROBE "/grpc.testing.Probe/"
static const GrpcMethod methods[] = {
    {.path = TEST "EmptyCall", .kind = GRPC_UNARY, .on_message = empty_call},
    {.path = TEST "UnaryCall", .kind = GRPC_UNARY, .on_message = unary_call},
    {.path = TEST "StreamingOutputCall", .kind = GRPC_SERVER_STREAM, .on_message = streaming_call},
    {.path = TEST "FullDuplexCall",
     .kind = GRPC_BIDI,
     .on_message = duplex_message,
     .on_half_close = duplex_half_close},
    {.path = PROBE "Metadata", .kind = GRPC_UNARY, .on_message = metadata_call},
    {.path = PROBE "Never", .kind = GRPC_UNARY, .on_message = never_call},
    {.path = PROBE "Subscribe", .kind = GRPC_SERVER_STREAM, .on_message = subscribe_call},
    {.path = PROBE "Publish", .kind = GRPC_UNARY, .on_message = publish_call},
    {0},
};

/* ---- the program ---- */

typedef struct Settings {
    int64_t streams_per_conn;
    char *cert, *key;
} Settings;

static const Flag flags[] = {
    {.name = "streams-per-conn",
     .type = FLAG_INT,
     .offset = offsetof(Settings, streams_per_conn),
     .dflt = "256"},
    {.name = "cert", .type = FLAG_STRING, .offset = offsetof(Settings, cert)},
    {.name = "key", .type = FLAG_STRING, .offset = offsetof(Settings, key)},
    {0},
};

static void on_drained(void *arg)
{
    loop_stop(((App *)arg)->loop);
}

static void on_signal(void *arg)
{
    App *app = arg;
    grpc_server_drain(app->server, on_drained, app);
    LIST_FOREACH_SAFE (&app->subscribers, it)
        grpc_call_finish(LIST_ENTRY(it, Subscriber, all)->call, GRPC_UNAVAILABLE, "server is shutting down");
}

static int start(App *app, const Settings *set, Err *err)
{
    TlsContext *tls = NULL;
    GrpcLimits limits = grpc_limits_default;
    limits.streams_per_conn = (uint32_t)set->streams_per_conn;
    const TlsOptions options = {.cert_file = set->cert, .key_file = set->key, .alpn = "h2"};
    if (set->cert && tls_server_new(&options, &tls, err) < 0)
        return -1;
    int r = grpc_server_new(app->loop, "127.0.0.1:0", tls, &limits, methods, NULL, app, &app->server, err);
    tls_free(tls);
    if (r < 0)
        return r;
    grpc_server_enable_health(app->server);
    grpc_server_enable_reflection(app->server, pb_descriptor_set());
    return 0;
}

int main(int argc, char **argv)
{
    App app = {0};
    Settings set = {0};
    Err err = {0};
    log_setup("test-interop-server", LOG_INFO, false);
    list_init(&app.subscribers);
    if (flags_parse(flags, &set, argc, argv, NULL, &err) < 0 || loop_new(&app.loop, &err) < 0 ||
        start(&app, &set, &err) < 0) {
        log_error("cannot start", F_ERR(&err));
        return 1;
    }
    app.term = signal_watch_new(app.loop, SIGTERM, on_signal, &app);
    app.intr = signal_watch_new(app.loop, SIGINT, on_signal, &app);
    printf("PORT %d\n", grpc_server_port(app.server));
    fflush(stdout);
    loop_run(app.loop);
    grpc_server_free(app.server);
    signal_watch_free(app.term);
    signal_watch_free(app.intr);
    grpc_frame_unref(app.published);
    loop_free(app.loop);
    flags_free(flags, &set);
    return 0;
}
