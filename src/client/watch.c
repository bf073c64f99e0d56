#include "client-internal.h"

#include <assert.h>
#include "base/random.h"
#include "pb/ambient.h"
#include "pb/pb.h"

#define MESSAGES_PATH "/ambient.v1.SessionService/WatchSessionMessages"
#define BACKOFF_FIRST (200 * USEC_PER_MSEC)
#define BACKOFF_MAX (5 * USEC_PER_SEC)
#define BACKOFF_DENIED (30 * USEC_PER_SEC)
#define HEALTHY (60 * USEC_PER_SEC) /* open that long: the next break starts from no delay again */

/* The resource watches; their four requests and their four events each have the same field numbers. */
typedef struct WatchRoute {
    const Kind *kind;
    const char *path;
    const ProtobufCMessageDescriptor *object;
} WatchRoute;

static const WatchRoute routes[] = {
    {&kind_session, "/ambient.v1.SessionService/WatchSessions", &ambient__v1__session__descriptor},
    {&kind_project, "/ambient.v1.ProjectService/WatchProjects", &ambient__v1__project__descriptor},
    {&kind_project_settings, "/ambient.v1.ProjectSettingsService/WatchProjectSettings",
     &ambient__v1__project_settings__descriptor},
    {&kind_user, "/ambient.v1.UserService/WatchUsers", &ambient__v1__user__descriptor},
};

struct ClientWatch {
    ListLink link;
    Client *client; /* NULL once the client was freed */
    Loop *loop;
    WatchOps ops;
    void *arg;
    char *session_id;        /* message watches */
    uint64_t seq;            /* the last one seen */
    const WatchRoute *route; /* kind watches */
    char *version;           /* the last one seen; "" = none */
    GrpcClientCall *call;    /* NULL while waiting */
    Timer *timer;
    Usec opened_at;    /* 0 = not open */
    unsigned attempts; /* failures since the last progress */
    bool relist;       /* tell on_relist at the next opening */
    bool dead;         /* freed by its owner: no callback any more */
};

static const WatchRoute *route_of(const Kind *k)
{
    for (size_t i = 0; i < ARRAY_LEN(routes); i++)
        if (routes[i].kind == k)
            return &routes[i];
    return NULL;
}

bool client_has_watch(const Kind *k)
{
    return route_of(k) != NULL;
}

static void watch_destroy(void *arg)
{
    ClientWatch *w = arg;

    free(w->session_id);
    free(w->version);
    free(w);
}

/* Stops all activity; the object stays. */
static void watch_stop(ClientWatch *w)
{
    list_remove(&w->link);
    if (w->call)
        grpc_client_call_cancel(w->call);
    w->call = NULL;
    w->timer = timer_free(w->timer);
}

ClientWatch *client_watch_free(ClientWatch *w)
{
    if (!w || w->dead)
        return NULL;
    w->dead = true;
    watch_stop(w);
    loop_defer(w->loop, watch_destroy, w);
    return NULL;
}

void client_watch_detach(ListLink *link)
{
    ClientWatch *w = LIST_ENTRY(link, ClientWatch, link);

    watch_stop(w);
    w->client = NULL;
}

static bool watch_running(const ClientWatch *w)
{
    return !w->dead && w->client;
}

/* A quarter less or more, so that many watchers of a server that came back do not come in step. */
static Usec jitter(Usec t)
{
    uint32_t r;

    random_bytes(&r, sizeof(r));
    return t - t / 4 + (Usec)(r % 1024) * (t / 2) / 1024;
}

static Usec next_delay(ClientWatch *w, ErrCode code)
{
    unsigned n = w->attempts++;

    if (code == ERR_FORBIDDEN)
        return jitter(BACKOFF_DENIED);
    if (n == 0)
        return 0;
    Usec delay = n > 5 ? BACKOFF_MAX : BACKOFF_FIRST << (n - 1);
    return jitter(delay < BACKOFF_MAX ? delay : BACKOFF_MAX);
}

static void give_up(ClientWatch *w, const Err *err)
{
    watch_stop(w);
    if (w->ops.on_end)
        w->ops.on_end(w->arg, err);
}

/* The stream is over: forget it, decide what to resume from, come back. */
static void broken(ClientWatch *w, const Err *err)
{
    w->call = NULL;
    if (w->opened_at && loop_now(w->loop) - w->opened_at >= HEALTHY)
        w->attempts = 0;
    w->opened_at = 0;
    if (w->session_id && err->code == ERR_NOT_FOUND) {
        give_up(w, err);
        return;
    }
    if (w->route && (err->code == ERR_PRECONDITION || err->code == ERR_INVALID))
        *w->version = '\0';
    if (w->route && !*w->version)
        w->relist = true;
    timer_arm(w->timer, next_delay(w, err->code));
    if (w->ops.on_broken)
        w->ops.on_broken(w->arg, err);
}

/* The peer sent what we do not understand: drop the stream as if it had broken. */
static void malformed(ClientWatch *w, Err *err)
{
    err_wrap(err, "watch");
    grpc_client_call_cancel(w->call);
    broken(w, err);
}

static void on_headers(void *arg)
{
    ClientWatch *w = arg;

    if (!watch_running(w))
        return;
    w->opened_at = loop_now(w->loop);
    bool relist = w->relist;
    w->relist = false;
    if (w->ops.on_open)
        w->ops.on_open(w->arg);
    if (relist && watch_running(w) && w->ops.on_relist)
        w->ops.on_relist(w->arg);
}

static WallUsec wall_of(const Google__Protobuf__Timestamp *t)
{
    int64_t us;

    if (!t || __builtin_mul_overflow(t->seconds, (int64_t)USEC_PER_SEC, &us) ||
        __builtin_add_overflow(us, t->nanos / 1000, &us))
        return (WallUsec){0};
    return (WallUsec){us};
}

static void on_session_message(void *arg, Str bytes)
{
    ClientWatch *w = arg;
    Err e = {0};

    if (!watch_running(w))
        return;
    CLEANUP(pb_freep)
    ProtobufCMessage *pb = pb_unpack_checked(&ambient__v1__session_message__descriptor, bytes, &e);
    if (!pb) {
        malformed(w, &e);
        return;
    }
    const Ambient__V1__SessionMessage *m = (const Ambient__V1__SessionMessage *)pb;
    if ((uint64_t)m->seq <= w->seq)
        return; /* a heartbeat (seq 0), or something we had */
    w->seq = (uint64_t)m->seq;
    w->attempts = 0;
    ClientMessage out = {
        .id = str_from(m->id),
        .session_id = str_from(m->session_id),
        .event_type = str_from(m->event_type),
        .payload = str_from(m->payload),
        .seq = (uint64_t)m->seq,
        .created_at = wall_of(m->created_at),
    };
    w->ops.on_message(w->arg, &out);
}

/* An event as it stands on the wire. */
typedef struct EventView {
    int type;
    Str object, id, version;
} EventView;

static int event_read(Str bytes, EventView *ret, Err *err)
{
    PbField f;
    int r;

    while ((r = pb_field_next(&bytes, &f)) > 0) {
        if (f.number == 1 && f.type == PB_VARINT)
            ret->type = f.value <= CLIENT_EVENT_DELETED ? (int)f.value : 0;
        else if (f.number == 2 && f.type == PB_LEN)
            ret->object = f.bytes;
        else if (f.number == 3 && f.type == PB_LEN)
            ret->id = f.bytes;
        else if (f.number == 100 && f.type == PB_LEN)
            ret->version = f.bytes;
    }
    return r < 0 ? err_set(err, ERR_MALFORMED, "broken event") : 0;
}

static int event_object(const ClientWatch *w, const EventView *v, Obj **ret, Err *err)
{
    CLEANUP(pb_freep) ProtobufCMessage *pb = NULL;

    if (v->type == CLIENT_EVENT_DELETED)
        return 0;
    if (!v->object.ptr)
        return err_set(err, ERR_MALFORMED, "an event has no object");
    pb = pb_unpack_checked(w->route->object, v->object, err);
    return pb ? obj_from_pb_resource(w->route->kind, pb, ret, err) : -ERR_MALFORMED;
}

static void on_kind_event(void *arg, Str bytes)
{
    ClientWatch *w = arg;
    EventView v = {0};
    Err e = {0};
    CLEANUP(obj_freep) Obj *o = NULL;

    if (!watch_running(w))
        return;
    int r = event_read(bytes, &v, &e);
    if (r == 0 && v.type == 0)
        return; /* a heartbeat */
    if (r < 0 || event_object(w, &v, &o, &e) < 0) {
        malformed(w, &e);
        return;
    }
    if (v.version.len > 0) {
        free(w->version);
        w->version = str_dup(v.version);
    }
    w->attempts = 0;
    w->ops.on_event(w->arg, v.type, TAKE(o), v.id, v.version);
}

static void on_end(void *arg, GrpcStatus status, const char *message)
{
    ClientWatch *w = arg;
    Err e = {0};

    if (!watch_running(w))
        return;
    if (status == GRPC_OK)
        err_set(&e, ERR_UNAVAILABLE, "the server ended the stream");
    else if (status == GRPC_OUT_OF_RANGE)
        err_set(&e, ERR_PRECONDITION, "gRPC OutOfRange: %s", message ? message : "");
    else
        client_grpc_error(status, message, &e);
    broken(w, &e);
}

static int pack_request(const ClientWatch *w, Buf *out, Err *err)
{
    if (w->session_id) {
        Ambient__V1__WatchSessionMessagesRequest m = AMBIENT__V1__WATCH_SESSION_MESSAGES_REQUEST__INIT;
        m.session_id = w->session_id;
        m.after_seq = (int64_t)w->seq;
        return client_pack(&m.base, out, err);
    }
    Ambient__V1__WatchSessionsRequest m = AMBIENT__V1__WATCH_SESSIONS_REQUEST__INIT;
    m.resource_version = *w->version ? w->version : NULL;
    return client_pack(&m.base, out, err);
}

static void watch_open(void *arg)
{
    static const GrpcCallOps message_ops = {on_headers, on_session_message, on_end};
    static const GrpcCallOps kind_ops = {on_headers, on_kind_event, on_end};
    ClientWatch *w = arg;
    CLEANUP_BUF Buf request = BUF_INIT(CLIENT_MESSAGE_MAX);
    GrpcMetadata project = {"x-ambient-project", str_from(w->client->project)};
    Err e = {0};

    if (pack_request(w, &request, &e) < 0) {
        give_up(w, &e);
        return;
    }
    GrpcCallSpec spec = {
        .path = w->session_id ? MESSAGES_PATH : w->route->path,
        .bearer = client_bearer(w->client),
        .metadata = &project,
        .n_metadata = w->client->project ? 1 : 0,
        .timeout = USEC_NEVER,
    };
    w->call = grpc_client_call_start(w->client->channel, &spec, buf_str(&request),
                                     w->session_id ? &message_ops : &kind_ops, w);
}

static ClientWatch *watch_new(Client *c, const WatchOps *ops, void *arg)
{
    ClientWatch *w = xnew(ClientWatch);

    w->client = c;
    w->loop = c->loop;
    w->ops = *ops;
    w->arg = arg;
    w->timer = timer_new(c->loop, watch_open, w);
    list_push_back(&c->watches, &w->link);
    timer_arm(w->timer, 0);
    return w;
}

ClientWatch *client_watch_messages(Client *c, Str session_id, uint64_t after_seq, const WatchOps *ops,
                                   void *arg)
{
    ClientWatch *w = watch_new(c, ops, arg);

    w->session_id = str_dup(session_id);
    w->seq = after_seq <= INT64_MAX ? after_seq : INT64_MAX;
    return w;
}

ClientWatch *client_watch_kind(Client *c, const Kind *k, Str resource_version, const WatchOps *ops, void *arg)
{
    ClientWatch *w = watch_new(c, ops, arg);

    w->route = route_of(k);
    assert(w->route); /* the API has no watch of other kinds */
    w->version = str_dup(resource_version);
    return w;
}
