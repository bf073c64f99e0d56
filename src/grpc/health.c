/* grpc.health.v1.Health. https://github.com/grpc/grpc/blob/master/doc/health-checking.md */
#include <assert.h>
#include "base/mem.h"
#include "pb/health.h"
#include "pb/pb.h"
#include "server-internal.h"

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus Status;
#define STATUS(name) GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__##name
#define STATUS_NOT_SENT ((Status)-1)

struct Health {
    bool serving, draining;
    Map *names; /* "" and each service; the values mean nothing */
    List watches;
};

typedef struct Watch {
    Health *health;
    GrpcCall *call;
    char *name;
    Status sent;
    ListLink all;
} Watch;

static Health *health_of(GrpcCall *c)
{
    return c->session->host->health;
}

static Status status_now(const Health *h, Str name)
{
    if (!map_has(h->names, name))
        return STATUS(SERVICE_UNKNOWN);
    return h->serving ? STATUS(SERVING) : STATUS(NOT_SERVING);
}

static Grpc__Health__V1__HealthCheckRequest *decode(GrpcCall *c, Str message)
{
    return grpc_call_decode(c, &grpc__health__v1__health_check_request__descriptor, message);
}

static void on_check(void *arg, GrpcCall *c, Str message)
{
    CLEANUP(pb_freep) Grpc__Health__V1__HealthCheckRequest *req = decode(c, message);
    if (!req)
        return;
    Grpc__Health__V1__HealthCheckResponse res = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    res.status = status_now(health_of(c), str_from(req->service));
    if (res.status == STATUS(SERVICE_UNKNOWN))
        grpc_call_finish(c, GRPC_NOT_FOUND, "unknown service");
    else
        grpc_call_reply(c, &res.base);
}

static void on_list(void *arg, GrpcCall *c, Str message)
{
    Health *h = health_of(c);
    Grpc__Health__V1__HealthListResponse res = GRPC__HEALTH__V1__HEALTH_LIST_RESPONSE__INIT;
    Grpc__Health__V1__HealthCheckResponse status = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    status.status = status_now(h, STR(""));
    size_t n = map_len(h->names);
    CLEANUP_FREE Grpc__Health__V1__HealthListResponse__StatusesEntry *entries = xcalloc(n, sizeof(*entries));
    CLEANUP_FREE Grpc__Health__V1__HealthListResponse__StatusesEntry **list = xcalloc(n, sizeof(*list));
    MAP_FOREACH (h->names, it) {
        Grpc__Health__V1__HealthListResponse__StatusesEntry *e = &entries[res.n_statuses];
        grpc__health__v1__health_list_response__statuses_entry__init(e);
        e->key = str_dup(it.key);
        e->value = &status;
        list[res.n_statuses++] = e;
    }
    res.statuses = list;
    grpc_call_reply(c, &res.base);
    for (size_t i = 0; i < res.n_statuses; i++)
        free(entries[i].key);
}

static GrpcFrame *watch_pull(void *user, GrpcCall *c)
{
    Watch *w = user;
    Grpc__Health__V1__HealthCheckResponse res = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    res.status = status_now(w->health, str_from(w->name));
    if (res.status == w->sent) {
        if (w->health->draining)
            grpc_call_finish(c, GRPC_UNAVAILABLE, "server is shutting down");
        return NULL;
    }
    w->sent = res.status;
    return grpc_frame_pack(&res.base);
}

static void watch_gone(void *user)
{
    Watch *w = user;
    list_remove(&w->all);
    free(w->name);
    free(w);
}

static void on_watch(void *arg, GrpcCall *c, Str message)
{
    CLEANUP(pb_freep) Grpc__Health__V1__HealthCheckRequest *req = decode(c, message);
    if (!req)
        return;
    Watch *w = xnew(Watch);
    w->health = health_of(c);
    w->call = c;
    w->name = xstrdup(req->service);
    w->sent = STATUS_NOT_SENT;
    list_push_back(&w->health->watches, &w->all);
    grpc_call_set_user(c, w, watch_gone);
    grpc_call_stream(c, watch_pull);
}

static const GrpcMethod health_methods[] = {
    {.path = "/grpc.health.v1.Health/Check", .kind = GRPC_UNARY, .on_message = on_check, .data = srv_builtin},
    {.path = "/grpc.health.v1.Health/List", .kind = GRPC_UNARY, .on_message = on_list, .data = srv_builtin},
    {.path = "/grpc.health.v1.Health/Watch",
     .kind = GRPC_SERVER_STREAM,
     .on_message = on_watch,
     .data = srv_builtin},
    {0},
};

void srv_health_enable(SrvHost *host)
{
    assert(!host->health);
    Health *h = xnew(Health);
    h->serving = true;
    h->names = map_new();
    list_init(&h->watches);
    map_put(h->names, STR(""), h);
    MAP_FOREACH (host->services, it)
        map_put(h->names, it.key, h);
    host->health = h;
    srv_host_add(host, health_methods);
}

static void watches_wake(Health *h)
{
    LIST_FOREACH (&h->watches, it)
        grpc_call_wake(LIST_ENTRY(it, Watch, all)->call);
}

void srv_health_set(SrvHost *host, bool serving)
{
    Health *h = host->health;
    if (!h || h->draining || h->serving == serving)
        return;
    h->serving = serving;
    watches_wake(h);
}

void srv_health_drain(SrvHost *host)
{
    Health *h = host->health;
    if (!h)
        return;
    h->serving = false;
    h->draining = true;
    watches_wake(h);
}

void srv_health_free(Health *h)
{
    if (!h)
        return;
    assert(list_empty(&h->watches));
    map_free(h->names);
    free(h);
}
