#include "server.h"

#include "auth/auth.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "build-info.h"
#include "housekeeping.h"
#include "http/client.h"
#include "hub/hub.h"
#include "limit-table.h"
#include "observe.h"
#include "rest/rest.h"
#include "rpc/rpc.h"
#include "scheduler.h"
#include "service/service.h"
#include "stats.h"
#include "store/store.h"

typedef struct Server {
    const Config *config;
    const KeyRing *keys; /* NULL = secrets are stored as plain text */
    Loop *loop;
    Store *store;
    Service *service;
    Hub *hub;
    Authenticator *auth;
    HttpClient *client;
    Rest *rest;
    Rpc *rpc; /* NULL = off */
    Observe *observe;
    Housekeeping *housekeeping;
    Scheduler *scheduler; /* NULL = off */
    TlsContext *tls_http, *tls_grpc, *tls_metrics, *tls_health;
    SignalWatch *term, *intr;
    Timer *shutdown_limit;
    Timer *health;     /* what gRPC's health service says follows the store */
    unsigned draining; /* listeners that still have connections */
    bool ending;
    Err failed; /* why the start did not succeed */
} Server;

/* ---- parts ---- */

static int make_tls(const char *what, const char *cert, const char *key, const char *alpn,
                    const char *client_ca, TlsContext **ret, Err *err)
{
    TlsOptions o = {
        .cert_file = cert,
        .key_file = key,
        .ca_file = client_ca,
        .require_client_cert = client_ca != NULL,
        .alpn = alpn,
    };
    if (!cert || !key)
        return err_set(err, ERR_USAGE, "TLS is on for %s, but its certificate or key file is not given",
                       what);
    return tls_server_new(&o, ret, err) < 0 ? err_wrap(err, "TLS for %s", what) : 0;
}

/* Shared TLS wins; a listener's own switch brings its own pair. Probes and scrapers have no certificates:
   only the API asks its clients for one. */
static int make_tls_contexts(Server *s, Err *err)
{
    const Config *c = s->config;
    if (c->tls_client_auth && !c->tls_client_ca)
        return err_set(err, ERR_USAGE, "--tls-enable-client-auth needs --tls-client-ca-file");
    const struct {
        const char *what;
        bool on;
        const char *cert, *key, *alpn; /* gRPC clients insist on it, many HTTP/1.1 clients send none */
        bool asks;                     /* clients for their certificates, when that is on */
        TlsContext **ret;
    } rows[] = {
        {"REST", c->enable_https, c->https_cert, c->https_key, NULL, true, &s->tls_http},
        {"gRPC", c->grpc_enable_tls, c->grpc_cert, c->grpc_key, "h2", true, &s->tls_grpc},
        {"metrics", c->metrics_https, c->https_cert, c->https_key, NULL, false, &s->tls_metrics},
        {"health", c->health_https, c->https_cert, c->https_key, NULL, false, &s->tls_health},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool shared = c->enable_tls;
        if (!rows[i].on && !shared)
            continue;
        int rc = make_tls(rows[i].what, shared ? c->tls_cert : rows[i].cert,
                          shared ? c->tls_key : rows[i].key, rows[i].alpn,
                          rows[i].asks && c->tls_client_auth ? c->tls_client_ca : NULL, rows[i].ret, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int open_store(Server *s, Err *err)
{
    StoreOptions o = config_store(s->config);
    /* A file of our own is brought up to date; a database that several servers share is not, while others may
       still run an older version: that is what `migrate` is for. */
    o.create = !s->config->no_migrate && str_starts(str_from(o.url), STR("sqlite:"));
    return store_open(s->loop, &o, &s->store, err);
}

static int make_auth(Server *s, Err *err)
{
    const Config *c = s->config;
    AuthOptions o = {
        .enable_jwt = c->enable_jwt,
        .enable_authz = c->enable_authz,
        .jwk_file = c->jwk_file,
        .jwk_urls = c->jwk_url,
        .more_jwk_urls = c->grpc_jwk_url,
        .issuer = c->issuer,
        .audience = c->audience,
        .service_account = c->service_account,
        .service_token = c->service_token,
        .service_token_old = c->service_token_old,
        .admin_token = c->admin_token,
        .clock = &clock_system,
    };
    return auth_new(s->loop, &o, &s->auth, err);
}

/* The control plane makes the same choice. */
static const Secret *runner_key(const Config *c)
{
    bool chosen = !secret_is_empty(c->runner_key) || !secret_is_empty(c->runner_token);
    return chosen ? c->runner_key : c->service_token;
}

static Rest *make_rest(Server *s)
{
    const Config *c = s->config;
    RestOptions o = {
        .service = s->service,
        .hub = s->hub,
        .auth = s->auth,
        .client = s->client,
        .clock = &clock_system,
        .version = build_version,
        .build_time = build_time,
        .git_tag = build_tag,
        .cors_origins = c->cors_origins ? c->cors_origins : "",
        .cors_headers = c->cors_headers ? c->cors_headers : "",
        .trusted_proxies = c->trusted_proxies,
        .runner_url = c->runner_url,
        .runner_key = runner_key(c),
        .runner_token = c->runner_token,
        .proxy_token = c->service_token,
        .backend_url = c->backend_url,
        .backend_forward_token = c->backend_forward_token,
        .local_only = config_is_loopback(c->http_address),
        .limits = http_limits_default,
        .ping_interval = c->stream_ping,
        .shared_store = store_is_shared(s->store),
        .message_max = (size_t)c->message_max,
        .streams_per_user = (unsigned)c->streams_per_user,
    };
    o.limits.body_max = (size_t)c->body_max;
    o.limits.upload_max = (size_t)c->upload_max;
    o.limits.headers_max = (size_t)c->header_max;
    o.limits.header_timeout = c->header_timeout;
    o.limits.body_timeout = c->body_timeout;
    o.limits.idle_timeout = c->idle_timeout;
    o.limits.conns_max = (unsigned)c->connections_max;
    o.limits.conns_per_peer = (unsigned)c->connections_per_peer;
    return rest_new(s->loop, &o);
}

static int make_parts(Server *s, Err *err)
{
    HttpClientOptions client = {.user_agent = "ambient-api-server/" AMBIENT_VERSION,
                                .ca_file = s->config->tls_ca};
    int rc = make_tls_contexts(s, err);
    if (rc == 0)
        rc = make_auth(s, err);
    if (rc == 0)
        rc = http_client_new(s->loop, &client, &s->client, err);
    if (rc == 0)
        rc = open_store(s, err);
    if (rc < 0)
        return rc;
    s->service = service_new(s->loop, &(ServiceOptions){.store = s->store,
                                                        .clock = &clock_system,
                                                        .service_account = s->config->service_account,
                                                        .authz_off = !s->config->enable_authz,
                                                        .keys = s->keys,
                                                        .session_token_life = s->config->session_token_life,
                                                        .wait_max = s->config->store_wait,
                                                        .pending_max = (size_t)s->config->store_pending});
    s->hub = hub_new(s->loop, &(HubOptions){.store = s->store, .service = s->service});
    s->rest = make_rest(s);
    s->housekeeping = housekeeping_new(s->loop, s->store);
    return 0;
}

/* ---- what operators see ---- */

static Stats stats_of(Server *s)
{
    return (Stats){.loop = s->loop,
                   .store = s->store,
                   .hub = s->hub,
                   .rest = s->rest,
                   .rpc = s->rpc,
                   .scheduler = s->scheduler};
}

static void metrics(void *arg, Buf *out)
{
    Stats st = stats_of(arg);
    stats_metrics(&st, out);
}

static void state(void *arg, Buf *out)
{
    Stats st = stats_of(arg);
    stats_state(&st, out);
    (void)buf_addz(out, ",\"limits\":{");
    limits_write(((const Server *)arg)->config, out);
    (void)buf_addc(out, '}');
}

static bool healthy(void *arg, const char **what, Err *why)
{
    Server *s = arg;
    if (s->ending) {
        *what = "shutdown";
        (void)err_set(why, ERR_UNAVAILABLE, "server is shutting down");
        return false;
    }
    *what = "database";
    return store_healthy(s->store, why);
}

/* ---- listeners ---- */

static bool is_on(const char *address)
{
    return address && *address;
}

static int listen_grpc(Server *s, Err *err)
{
    const Config *c = s->config;
    GrpcLimits limits = grpc_limits_default;
    limits.message_max = (size_t)c->grpc_message_max;
    limits.header_list_max = (size_t)c->header_max;
    limits.streams_per_conn = (uint32_t)c->grpc_streams_per_conn;
    limits.conns_max = (unsigned)c->grpc_connections_max;
    limits.conns_per_peer = (unsigned)c->grpc_connections_per_peer;
    limits.handshake_timeout = c->header_timeout;
    RpcOptions o = {
        .limits = &limits,
        .service = s->service,
        .hub = s->hub,
        .auth = s->auth,
        .address = s->config->grpc_address,
        .tls = s->tls_grpc,
        .reflection = s->config->grpc_reflection,
        .watches_per_user = (unsigned)s->config->grpc_watches_per_user,
        .watch_idle = c->grpc_watch_idle,
    };
    return rpc_new(s->loop, &o, &s->rpc, err);
}

static int grpc_port(const Server *s)
{
    return s->rpc ? rpc_port(s->rpc) : 0;
}

static int write_ports(Server *s, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(256);
    if (!is_on(s->config->ports_file))
        return 0;
    (void)buf_addf(&text, "{\"http\":%d,\"grpc\":%d,\"metrics\":%d,\"health\":%d}\n", rest_port(s->rest),
                   grpc_port(s), observe_metrics_port(s->observe), observe_health_port(s->observe));
    return file_write_atomic(s->config->ports_file, buf_str(&text), 0600, err);
}

static int listen_all(Server *s, Err *err)
{
    const Config *c = s->config;
    ObserveOps ops = {.metrics = metrics, .state = state, .healthy = healthy};
    s->observe = observe_new(s->loop, &ops, s);
    int rc = rest_listen(s->rest, c->http_address, s->tls_http, err);
    if (rc == 0 && c->enable_grpc && is_on(c->grpc_address))
        rc = listen_grpc(s, err);
    if (rc == 0 && is_on(c->metrics_address))
        rc = observe_listen_metrics(s->observe, c->metrics_address, s->tls_metrics, err);
    if (rc == 0 && is_on(c->health_address))
        rc = observe_listen_health(s->observe, c->health_address, s->tls_health, err);
    return rc == 0 ? write_ports(s, err) : rc;
}

#define HEALTH_INTERVAL (1 * USEC_PER_SEC)

static void tell_health(void *arg)
{
    Server *s = arg;
    if (s->ending)
        return;
    rpc_set_serving(s->rpc, store_healthy(s->store, NULL));
    timer_arm(s->health, HEALTH_INTERVAL);
}

static void loaded(void *arg, const Err *err)
{
    Server *s = arg;
    CLEANUP_FREE char *store = store_url_shown(s->config->db_url);
    int rc = 0;
    if (s->ending)
        return;
    if (!err)
        auth_set_session_key(s->auth, service_session_key(s->service));
    if (err)
        s->failed = *err;
    else
        rc = listen_all(s, &s->failed);
    if (err || rc < 0) {
        loop_stop(s->loop);
        return;
    }
    if (s->rpc) {
        s->health = timer_new(s->loop, tell_health, s);
        tell_health(s);
    }
    if (s->config->enable_scheduler)
        s->scheduler = scheduler_new(s->loop, &(SchedulerOptions){.service = s->service,
                                                                  .hub = s->hub,
                                                                  .interval = s->config->scheduler_interval});
    log_info("serving", F_STR("version", build_version), F_INT("http", rest_port(s->rest)),
             F_INT("grpc", grpc_port(s)), F_INT("metrics", observe_metrics_port(s->observe)),
             F_INT("health", observe_health_port(s->observe)), F_STR("store", store));
}

/* ---- the end ---- */

static void drained(void *arg)
{
    Server *s = arg;
    if (--s->draining == 0)
        loop_stop(s->loop);
}

static void shutdown_late(void *arg)
{
    Server *s = arg;
    log_warn("some connections did not end in time and are cut");
    loop_stop(s->loop);
}

/* Streams end first, so that their clients go elsewhere at once; then what was asked is answered. */
static void shutdown_begin(void *arg)
{
    Server *s = arg;
    bool at_once = s->ending || !s->observe; /* asked twice, or before it served */
    s->ending = true;
    if (at_once) {
        loop_stop(s->loop);
        return;
    }
    log_info("shutting down");
    scheduler_stop(s->scheduler);
    hub_shutdown(s->hub);
    rest_end_streams(s->rest);
    s->shutdown_limit = timer_new(s->loop, shutdown_late, s);
    timer_arm(s->shutdown_limit, s->config->shutdown_timeout);
    s->draining = s->rpc ? 2 : 1;
    rest_drain(s->rest, drained, s);
    if (s->rpc)
        rpc_drain(s->rpc, drained, s);
}

static void flush(Loop *l)
{
    for (int i = 0; i < 3; i++)
        loop_run_once(l, false);
}

/* The store goes first: its last completions still find the parts that wait for them. */
static void server_done(Server *s)
{
    timer_free(s->shutdown_limit);
    timer_free(s->health);
    housekeeping_stop(s->housekeeping);
    scheduler_stop(s->scheduler);
    observe_free(s->observe);
    hub_forget_store(s->hub);
    if (s->service)
        service_stop(s->service);
    store_close(s->store);
    flush(s->loop);
    rest_free(s->rest);
    rpc_free(s->rpc);
    hub_free(s->hub);
    service_free(s->service);
    scheduler_free(s->scheduler);
    housekeeping_free(s->housekeeping);
    http_client_free(s->client);
    auth_free(s->auth);
    signal_watch_free(s->term);
    signal_watch_free(s->intr);
    tls_free(s->tls_http);
    tls_free(s->tls_grpc);
    tls_free(s->tls_metrics);
    tls_free(s->tls_health);
    loop_free(s->loop);
}

int server_run(const Config *c, const KeyRing *keys, Err *err)
{
    Server s = {.config = c, .keys = keys};
    int rc = loop_new(&s.loop, err);
    if (rc < 0)
        return rc;
    s.term = signal_watch_new(s.loop, SIGTERM, shutdown_begin, &s);
    s.intr = signal_watch_new(s.loop, SIGINT, shutdown_begin, &s);
    rc = make_parts(&s, err);
    if (rc == 0) {
        service_load(s.service, loaded, &s);
        loop_run(s.loop);
        if (s.failed.code) {
            rc = -(int)s.failed.code;
            *err = s.failed;
        }
    }
    server_done(&s);
    return rc;
}
