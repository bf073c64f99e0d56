#include "api-client.h"

#include <stdlib.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "http/url.h"

typedef struct ApiClient {
    Api base;
    Client *client;
    bool (*may_write)(void *arg); /* NULL = always */
    void *may_write_arg;
} ApiClient;

/* One of the three is set while the call is under way. */
struct ApiCall {
    const ApiClient *api;
    ClientCall *request;
    ClientList *list;
    ClientWatch *watch;
    const Kind *kind; /* of the answer */
    ApiDone done;
    ApiJsonDone json_done;
    ClientEach each;
    ClientListDone list_done;
    void *arg;
};

#define PATH_MAX_LEN 4096

static const ApiClient *self(Api *a)
{
    return CONTAINER_OF(a, ApiClient, base);
}

static Client *client_of(Api *a)
{
    return self(a)->client;
}

static bool may_send(void *arg)
{
    const ApiClient *a = ((const ApiCall *)arg)->api;
    return !a->may_write || a->may_write(a->may_write_arg);
}

static ApiCall *call_new(Api *a, const Kind *k, ApiDone done, void *arg)
{
    ApiCall *c = xnew(ApiCall);
    c->api = self(a);
    c->kind = k;
    c->done = done;
    c->arg = arg;
    return c;
}

static void finish(ApiCall *c, Obj *o, const Err *err)
{
    ApiDone done = c->done;
    void *arg = c->arg;
    free(c);
    done(arg, o, err);
}

static void on_answer(void *arg, const ClientAnswer *a, const Err *err)
{
    ApiCall *c = arg;
    Obj *o = NULL;
    Err e = {0};
    if (err)
        e = *err;
    else if (!a->body)
        err_set(&e, ERR_BAD_GATEWAY, "the API server's answer is not JSON");
    else
        obj_from_answer(c->kind, a->body, &o, &e);
    finish(c, o, e.code == ERR_OK ? NULL : &e);
}

static ApiCall *send(Api *a, const Kind *k, const char *method, const Buf *path, Str body, ApiDone done,
                     void *arg)
{
    ApiCall *c = call_new(a, k, done, arg);
    /* No project header: these routes name all they need, and the platform may see every project. */
    const ClientRequest r = {.method = method,
                             .path = path->data,
                             .project = "",
                             .body = body,
                             .may_send = body.ptr ? may_send : NULL};
    c->request = client_request(client_of(a), &r, on_answer, c);
    return c;
}

static void add_segment(Buf *path, const char *name, Str value)
{
    buf_addc(path, '/');
    buf_addz(path, name);
    buf_addc(path, '/');
    url_escape_segment(path, value);
}

static ApiCall *get(Api *a, const Kind *k, Str project, Str id, ApiDone done, void *arg)
{
    CLEANUP_BUF Buf path = BUF_INIT(PATH_MAX_LEN);
    if (project.len > 0)
        add_segment(&path, "projects", project);
    add_segment(&path, k->collection, id);
    return send(a, k, "GET", &path, STR_NULL, done, arg);
}

static ApiCall *patch_status(Api *a, Str id, Phase if_phase, Str body, ApiDone done, void *arg)
{
    CLEANUP_BUF Buf path = BUF_INIT(PATH_MAX_LEN);
    add_segment(&path, "sessions", id);
    buf_addz(&path, "/status?if_phase=");
    url_escape_query(&path, str_from(phase_name(if_phase)));
    return send(a, &kind_session, "PATCH", &path, body, done, arg);
}

/* ---- lists ---- */

static void on_each(void *arg, Obj *o)
{
    const ApiCall *c = arg;
    c->each(c->arg, o);
}

static void on_list_done(void *arg, const Err *err)
{
    ApiCall *c = arg;
    ClientListDone done = c->list_done;
    void *done_arg = c->arg;
    free(c);
    done(done_arg, err);
}

static ApiCall *find(Api *a, const Kind *k, Str search, ClientEach each, ClientListDone done, void *arg)
{
    ApiCall *c = call_new(a, k, NULL, arg);
    c->each = each;
    c->list_done = done;
    CLEANUP_BUF Buf path = BUF_INIT(PATH_MAX_LEN);
    buf_addc(&path, '/');
    buf_addz(&path, k->collection);
    if (search.len > 0) {
        buf_addz(&path, "?search=");
        url_escape_query(&path, search);
    }
    c->list = client_list_all(client_of(a), k, path.data, "", on_each, on_list_done, c);
    return c;
}

static ApiCall *list(Api *a, const Kind *k, ClientEach each, ClientListDone done, void *arg)
{
    return find(a, k, STR_NULL, each, done, arg);
}

/* ---- anything else ---- */

static void on_json(void *arg, const ClientAnswer *a, const Err *err)
{
    ApiCall *c = arg;
    ApiJsonDone done = c->json_done;
    void *done_arg = c->arg;
    free(c);
    done(done_arg, a->body, err);
}

/* Who asks for a session's token changes nothing: standbys answer runners, too. */
static bool is_write(const char *method, const char *path)
{
    return strcmp(method, "GET") != 0 && !str_ends(str_from(path), STR("/token"));
}

static ApiCall *send_json(Api *a, const char *method, const char *path, Str body, ApiJsonDone done, void *arg)
{
    ApiCall *c = call_new(a, NULL, NULL, arg);
    const ClientRequest r = {.method = method,
                             .path = path,
                             .project = "",
                             .body = body,
                             .may_send = is_write(method, path) ? may_send : NULL};
    c->json_done = done;
    c->request = client_request(client_of(a), &r, on_json, c);
    return c;
}

/* ---- watches ---- */

static ApiCall *watch(Api *a, const Kind *k, const WatchOps *ops, void *arg)
{
    ApiCall *c = call_new(a, k, NULL, NULL);
    c->watch = client_watch_kind(client_of(a), k, STR_NULL, ops, arg);
    return c;
}

static void cancel(ApiCall *c)
{
    client_cancel(c->request);
    client_list_cancel(c->list);
    client_watch_free(c->watch);
    free(c);
}

Api *api_client_new(Client *client)
{
    static const ApiOps ops = {
        .get = get,
        .patch_status = patch_status,
        .list = list,
        .find = find,
        .send = send_json,
        .watch = watch,
        .cancel = cancel,
    };
    ApiClient *a = xnew(ApiClient);
    a->base.ops = &ops;
    a->client = client;
    return &a->base;
}

void api_client_fence(Api *a, bool (*may_write)(void *arg), void *arg)
{
    ApiClient *c = CONTAINER_OF(a, ApiClient, base);
    c->may_write = may_write;
    c->may_write_arg = arg;
}

Api *api_client_free(Api *a)
{
    if (a)
        free(CONTAINER_OF(a, ApiClient, base));
    return NULL;
}
