#include "test-internal.h"

#include <stdio.h>
#include "pb/ambient.h"
#include "pb/pb.h"

static FakeApi *api_of(GrpcCall *call)
{
    return *(FakeApi *const *)grpc_call_method(call)->data;
}

/* One API at a time: a method's row cannot carry anything else. */
static FakeApi *current;

static char *dup_or_null(Str s)
{
    return s.ptr ? str_dup(s) : NULL;
}

static Seen *see(FakeApi *api)
{
    assert_true(api->n_seen < SEEN_MAX);
    return &api->seen[api->n_seen++];
}

/* ---- REST ---- */

static void handle(void *arg, HttpReq *req)
{
    FakeApi *api = arg;
    Seen *s = see(api);

    s->line =
        xasprintf(STR_FMT " " STR_FMT, STR_ARG(http_req_method(req)), STR_ARG(http_req_raw_target(req)));
    s->bearer = dup_or_null(http_req_header(req, "Authorization"));
    s->project = dup_or_null(http_req_header(req, "X-Ambient-Project"));
    s->content_type = dup_or_null(http_req_header(req, "Content-Type"));
    s->key = dup_or_null(http_req_header(req, "Idempotency-Key"));
    s->accept = dup_or_null(http_req_header(req, "Accept"));
    s->body = str_dup(http_req_body(req));
    api->answer(api, req, api->n_seen - 1);
}

void fake_api_reply(HttpReq *req, int status, const char *type, const char *body)
{
    http_reply_header(req, "Content-Type", str_from(type));
    http_reply(req, status, str_from(body));
}

/* ---- gRPC ---- */

static Seen *see_call(FakeApi *api, GrpcCall *call)
{
    Seen *s = see(api);

    s->line = str_dup(grpc_call_path(call));
    s->bearer = dup_or_null(grpc_call_metadata(call, "authorization"));
    s->project = dup_or_null(grpc_call_metadata(call, "x-ambient-project"));
    s->key = dup_or_null(grpc_call_metadata(call, "x-ambient-idempotency-key"));
    s->turn = dup_or_null(grpc_call_metadata(call, "x-ambient-turn"));
    return s;
}

static void on_push(void *arg, GrpcCall *call, Str bytes)
{
    FakeApi *api = api_of(call);
    size_t n = api->n_seen;
    Seen *s = see_call(api, call);
    CLEANUP(pb_freep)
    Ambient__V1__PushSessionMessageRequest *m =
        (void *)pb_unpack_checked(&ambient__v1__push_session_message_request__descriptor, bytes, NULL);
    Ambient__V1__SessionMessage out = AMBIENT__V1__SESSION_MESSAGE__INIT;

    assert_non_null(m);
    s->body = xasprintf("%s %s %s", m->session_id, m->event_type, m->payload);
    GrpcStatus status = n < ARRAY_LEN(api->push_status) ? api->push_status[n] : GRPC_OK;
    if (status != GRPC_OK) {
        grpc_call_finish(call, status, "the script says no");
        return;
    }
    out.seq = 40 + (int64_t)n;
    grpc_call_reply(call, &out.base);
}

static GrpcFrame *message_frame(unsigned seq)
{
    Ambient__V1__SessionMessage m = AMBIENT__V1__SESSION_MESSAGE__INIT;
    Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    char payload[32];

    snprintf(payload, sizeof(payload), "payload %u", seq);
    t.seconds = 1000;
    t.nanos = 5000;
    m.seq = seq;
    m.event_type = (char[]){"user"};
    m.payload = payload;
    m.created_at = &t;
    return grpc_frame_pack(&m.base);
}

static GrpcFrame *pull_message(void *user, GrpcCall *call)
{
    FakeApi *api = user;

    return api->at < api->rows ? message_frame((unsigned)++api->at) : NULL;
}

static GrpcFrame *pull_event(void *user, GrpcCall *call)
{
    FakeApi *api = user;

    return api->at < api->n_events ? grpc_frame_new(buf_str(&api->events[api->at++])) : NULL;
}

static void stream_gone(void *user)
{
    FakeApi *api = user;
    api->stream = NULL;
}

static void open_stream(FakeApi *api, GrpcCall *call, GrpcPull pull)
{
    see_call(api, call);
    api->n_streams++;
    if (api->refuse != GRPC_OK) {
        grpc_call_finish(call, api->refuse, "the script says no");
        return;
    }
    api->stream = call;
    grpc_call_set_user(call, api, stream_gone);
    grpc_call_stream(call, pull);
    grpc_call_wake(call);
}

static void on_watch_messages(void *arg, GrpcCall *call, Str bytes)
{
    FakeApi *api = api_of(call);
    CLEANUP(pb_freep)
    Ambient__V1__WatchSessionMessagesRequest *m =
        (void *)pb_unpack_checked(&ambient__v1__watch_session_messages_request__descriptor, bytes, NULL);

    assert_non_null(m);
    api->after_seq = (uint64_t)m->after_seq;
    api->at = (size_t)m->after_seq;
    open_stream(api, call, pull_message);
}

static void on_watch_users(void *arg, GrpcCall *call, Str bytes)
{
    FakeApi *api = api_of(call);
    CLEANUP(pb_freep)
    Ambient__V1__WatchUsersRequest *m =
        (void *)pb_unpack_checked(&ambient__v1__watch_users_request__descriptor, bytes, NULL);

    assert_non_null(m);
    snprintf(api->after_version, sizeof(api->after_version), "%s",
             m->resource_version ? m->resource_version : "");
    api->at = 0;
    open_stream(api, call, pull_event);
}

void fake_api_wake(FakeApi *api)
{
    if (api->stream)
        grpc_call_wake(api->stream);
}

void fake_api_end_stream(FakeApi *api, GrpcStatus status)
{
    GrpcCall *call = api->stream;

    assert_non_null(call);
    grpc_call_finish(call, status, "the script ends the stream");
}

/* ---- life ---- */

static const GrpcMethod methods[] = {
    {"/ambient.v1.SessionService/PushSessionMessage", GRPC_UNARY, on_push, NULL, &current},
    {"/ambient.v1.SessionService/WatchSessionMessages", GRPC_SERVER_STREAM, on_watch_messages, NULL,
     &current},
    {"/ambient.v1.UserService/WatchUsers", GRPC_SERVER_STREAM, on_watch_users, NULL, &current},
    {0},
};

FakeApi *fake_api_new(const char *project)
{
    static const GrpcServerOps ops = {0};
    FakeApi *api = xnew(FakeApi);
    char url[64], grpc[64];
    Err err = {0};

    current = api;
    assert_int_equal(loop_new(&api->loop, NULL), 0);
    assert_int_equal(http_server_new(api->loop, "127.0.0.1:0", NULL, &http_limits_default, handle, NULL, api,
                                     &api->http, NULL),
                     0);
    assert_int_equal(grpc_server_new(api->loop, "127.0.0.1:0", NULL, &grpc_limits_default, methods, &ops, api,
                                     &api->grpc, NULL),
                     0);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", http_server_port(api->http));
    snprintf(grpc, sizeof(grpc), "127.0.0.1:%d", grpc_server_port(api->grpc));
    api->token = token_source_static(STR("a-token"));
    ClientOptions o = {.api_url = url, .grpc_address = grpc, .token = api->token, .project = project};
    if (client_new(api->loop, &o, &api->client, &err) < 0)
        fail_msg("client_new: %s", err.msg);
    return api;
}

static void seen_done(Seen *s)
{
    free(s->line);
    free(s->bearer);
    free(s->project);
    free(s->content_type);
    free(s->key);
    free(s->turn);
    free(s->accept);
    free(s->body);
}

void fake_api_free(FakeApi *api)
{
    client_free(api->client);
    token_source_free(api->token);
    http_server_free(api->http);
    grpc_server_free(api->grpc);
    loop_free(api->loop);
    for (size_t i = 0; i < api->n_seen; i++)
        seen_done(&api->seen[i]);
    for (size_t i = 0; i < ARRAY_LEN(api->events); i++)
        buf_done(&api->events[i]);
    current = NULL;
    free(api);
}
