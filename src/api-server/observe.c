#include "observe.h"

#include "base/mem.h"
#include "json/json.h"

#define PAGE_MAX ((size_t)4 << 20)

struct Observe {
    Loop *loop;
    ObserveOps ops;
    void *arg;
    HttpServer *metrics, *health;
    bool maintenance;
};

static bool is(const HttpReq *req, const char *method, const char *path)
{
    return str_eqz(http_req_method(req), method) && str_eqz(http_req_path(req), path);
}

static void reply(HttpReq *req, int status, const char *type, Buf *body)
{
    http_reply_header(req, "Content-Type", str_from(type));
    http_reply_buf(req, status, body);
}

static void metrics_request(void *arg, HttpReq *req)
{
    Observe *o = arg;
    CLEANUP_BUF Buf body = BUF_INIT(PAGE_MAX);
    if (is(req, "GET", "/metrics")) {
        o->ops.metrics(o->arg, &body);
        reply(req, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
    } else {
        http_reply(req, 404, STR_NULL);
    }
}

static void reply_health(Observe *o, HttpReq *req)
{
    CLEANUP_BUF Buf body = BUF_INIT(PAGE_MAX);
    const char *what = NULL;
    Err why = {0};
    bool first = true, healthy = o->ops.healthy(o->arg, &what, &why);
    (void)buf_addc(&body, '{');
    if (o->maintenance) {
        json_key(&body, &first, "maintenance_status");
        json_write_str(&body, STR("maintenance mode"));
    }
    if (!healthy) {
        json_key(&body, &first, what);
        json_write_str(&body, str_from(why.msg));
    }
    (void)buf_addc(&body, '}');
    reply(req, first ? 200 : 503, "application/json; charset=utf-8", &body);
}

static void reply_state(Observe *o, HttpReq *req)
{
    CLEANUP_BUF Buf body = BUF_INIT(PAGE_MAX);
    (void)buf_addc(&body, '{');
    o->ops.state(o->arg, &body);
    (void)buf_addz(&body, "}\n");
    reply(req, 200, "application/json", &body);
}

static void health_request(void *arg, HttpReq *req)
{
    Observe *o = arg;
    bool down = is(req, "POST", "/healthcheck/down");
    if (is(req, "GET", "/healthcheck")) {
        reply_health(o, req);
        return;
    }
    if (is(req, "GET", "/debug/state")) {
        reply_state(o, req);
        return;
    }
    if (!down && !is(req, "POST", "/healthcheck/up")) {
        http_reply(req, 404, STR_NULL);
        return;
    }
    o->maintenance = down;
    http_reply(req, 200, STR_NULL);
}

Observe *observe_new(Loop *l, const ObserveOps *ops, void *arg)
{
    Observe *o = xnew(Observe);
    o->loop = l;
    o->ops = *ops;
    o->arg = arg;
    return o;
}

int observe_listen_metrics(Observe *o, const char *address, TlsContext *tls, Err *err)
{
    return http_server_new(o->loop, address, tls, &http_limits_default, metrics_request, NULL, o, &o->metrics,
                           err);
}

int observe_listen_health(Observe *o, const char *address, TlsContext *tls, Err *err)
{
    return http_server_new(o->loop, address, tls, &http_limits_default, health_request, NULL, o, &o->health,
                           err);
}

int observe_metrics_port(const Observe *o)
{
    return o->metrics ? http_server_port(o->metrics) : 0;
}

int observe_health_port(const Observe *o)
{
    return o->health ? http_server_port(o->health) : 0;
}

Observe *observe_free(Observe *o)
{
    if (!o)
        return NULL;
    http_server_free(o->metrics);
    http_server_free(o->health);
    free(o);
    return NULL;
}
