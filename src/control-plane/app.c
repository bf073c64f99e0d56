#include "app.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include "api-client.h"
#include "app-kube.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "cache.h"
#include "grant-sweep.h"
#include "informer.h"
#include "json/json.h"
#include "kube-endpoint.h"
#include "metrics.h"
#include "oidc.h"
#include "proxy.h"
#include "runtime-process.h"
#include "session.h"
#include "token-server.h"

/* How long work that is under way may take to end, and ended sessions to be written down; together well below
   the 25 s in which the program promises to be gone. */
#define END_PATIENCE (10 * USEC_PER_SEC)
#define STOP_PATIENCE (20 * USEC_PER_SEC)
#define SWEEP_FIRST (180 * USEC_PER_SEC)
#define SWEEP (600 * USEC_PER_SEC)
/* With work waiting and none done for this long, something is stuck. */
#define STUCK (300 * USEC_PER_SEC)

typedef struct App {
    const Config *c;
    Loop *loop;
    HttpClient *http;
    TokenSource *token;
    Oidc *oidc;
    Client *client;
    Api *api;
    Cache *cache;
    Informer *informer;
    ProcessRuntime *process; /* one of these two */
    KubeApp *kube;
    Sessions *sessions;    /* NULL: nothing is reconciled (now) */
    SessionTokens *tokens; /* of those sessions */
    Credentials *credentials;
    GrantSweep *grant_sweep;
    RsaKey *token_key;
    KubeEndpoint *endpoint; /* on Kubernetes */
    Buf token_key_pem;
    char *token_url;
    TokenServer *token_server;
    Proxy *proxy;
    HttpServer *metrics;
    Timer *queue_timer, *sweep_timer, *end_timer;
    SignalWatch *sigterm, *sigint, *sigusr1;
    bool stop_runners;  /* at the end: by the settings, or as it was asked for */
    uint64_t runs_seen; /* of the queue, at the last look of /healthz */
    Usec progress_at;
    bool ending;
    int status;
} App;

static double app_random(void *arg)
{
    uint32_t r;
    random_bytes(&r, sizeof(r));
    return (double)r / ((double)UINT32_MAX + 1);
}

/* ---- the queue's clock ---- */

static bool end_if_done(App *a);

static void on_wake(void *arg)
{
    App *a = arg;
    if (!a->sessions || !a->queue_timer || end_if_done(a))
        return;
    Usec next = wq_next(sessions_queue(a->sessions));
    if (next == USEC_NEVER)
        timer_cancel(a->queue_timer);
    else
        timer_arm(a->queue_timer, usec_sub(next, clock_now(loop_clock(a->loop))));
}

static void on_queue_timer(void *arg)
{
    App *a = arg;
    if (a->sessions)
        wq_turn(sessions_queue(a->sessions));
}

/* ---- from part to part ---- */

static void on_key(void *arg, const char *id)
{
    App *a = arg;
    const Obj *session = a->kube ? cache_get(a->cache, str_from(id)) : NULL;
    if (session)
        kube_app_know(a->kube, session);
    if (session && !a->sessions && a->tokens && phase_is_terminal(obj_phase(session)))
        session_tokens_forget(a->tokens, str_from(id));
    if (a->sessions)
        sessions_add(a->sessions, id);
}

static void on_list(void *arg)
{
    App *a = arg;
    if (a->sessions)
        sessions_listed(a->sessions);
}

static void on_relist(void *arg)
{
    App *a = arg;
    informer_relist(a->informer);
}

/* Of what left the cache nothing is known; what is doubtful may live. */
static bool is_over(void *arg, Str session_id)
{
    const App *a = arg;
    const Obj *session = cache_get(a->cache, session_id);
    if (!session)
        return cache_was_deleted(a->cache, session_id);
    return phase_is_terminal(obj_phase(session)) && !cache_is_doubtful(a->cache, session_id);
}

static void sweep(App *a)
{
    if (!a->sessions)
        return;
    sessions_sweep(a->sessions);
    if (a->c->grants != GRANTS_OFF)
        grant_sweep_run(a->grant_sweep);
}

static void on_sweep(void *arg)
{
    App *a = arg;
    sweep(a);
    timer_arm(a->sweep_timer, (Usec)((double)SWEEP * (0.9 + 0.2 * app_random(NULL))));
}

/* ---- tokens ---- */

static Runtime *runtime(const App *a)
{
    return a->kube ? kube_app_runtime(a->kube) : process_runtime(a->process);
}

static void on_session_token(void *arg, Str session_id, const Secret *token)
{
    Runtime *rt = runtime(arg);
    if (rt->ops->give_token)
        rt->ops->give_token(rt, session_id, token);
}

static void make_tokens(App *a)
{
    if (a->tokens)
        return;
    const SessionTokensOptions to = {.api = a->api,
                                     .own = a->token,
                                     .mode = a->c->tokens,
                                     .random = app_random,
                                     .on_token = on_session_token,
                                     .arg = a};
    a->tokens = session_tokens_new(a->loop, &to);
}

static const Secret *token_of(void *arg, Str session_id, WallUsec *ret_expires)
{
    App *a = arg;
    if (a->kube)
        make_tokens(a); /* a standby answers too */
    const Secret *token = a->tokens ? session_tokens_get(a->tokens, session_id, ret_expires) : NULL;
    if (!token && a->kube)
        session_tokens_keep(a->tokens, session_id); /* there when the runner asks again */
    return token;
}

static void make_token(App *a)
{
    const Config *c = a->c;
    Str fixed = secret_is_empty(c->api_token) ? STR_NULL : secret_reveal(c->api_token);
    if (c->oidc)
        a->token = token_source_static(STR_NULL);
    else if (c->api_token_file)
        a->token = token_source_file(c->api_token_file, fixed);
    else
        a->token = token_source_static(fixed);
    if (!c->oidc)
        return;
    const OidcOptions o = {.http = a->http,
                           .url = c->oidc_token_url,
                           .client_id = c->oidc_client_id,
                           .client_secret = c->oidc_client_secret,
                           .target = a->token};
    a->oidc = oidc_new(a->loop, &o);
}

/* ---- listeners ---- */

static bool is_off(const char *address)
{
    return !address || !*address || strcmp(address, "off") == 0;
}

/* Of callers on this machine nothing is known. */
static TokenVerdict may_have_token(void *arg, Str session_id, const char *peer)
{
    App *a = arg;
    int64_t port;
    const char *secret;
    return process_runtime_route(a->process, session_id, &port, &secret) ? TOKEN_MAY : TOKEN_FORBIDDEN;
}

static int unseal(void *arg, Str sealed, Buf *plain)
{
    return rsa_oaep_open(((App *)arg)->token_key, sealed, plain, NULL) < 0 ? -1 : 0;
}

static bool find_runner(void *arg, Str session_id, int64_t *ret_port, const char **ret_token)
{
    App *a = arg;
    return process_runtime_route(a->process, session_id, ret_port, ret_token);
}

static int make_token_server(App *a, Err *err)
{
    const Config *c = a->c;
    if (is_off(c->token_address) || !c->token_endpoint)
        return 0;
    CLEANUP_FREE char *dir = path_join(c->root, ".keys");
    int rc = token_key_load(dir, &a->token_key, err);
    if (rc == 0)
        rc = rsa_key_write_public(a->token_key, &a->token_key_pem, err);
    if (rc < 0)
        return err_wrap(err, "token endpoint");
    const TokenServerOptions o = {
        .address = c->token_address, .open = unseal, .token = token_of, .may = may_have_token, .arg = a};
    rc = token_server_new(a->loop, &o, &a->token_server, err);
    if (rc < 0)
        return rc;
    a->token_url = c->token_url ? xstrdup(c->token_url)
                                : xasprintf("http://127.0.0.1:%d/token", token_server_port(a->token_server));
    buf_addc(&a->token_key_pem, '\0'); /* borrowed as a C string from now on */
    process_runtime_set_endpoint(a->process, a->token_url, a->token_key_pem.data);
    log_info("token endpoint", F_STR("url", a->token_url));
    return 0;
}

static void add_port(Buf *b, bool *first, const char *name, int port)
{
    json_key(b, first, name);
    buf_add_i64(b, port);
}

static const TokenServer *token_server(const App *a)
{
    return a->kube ? kube_endpoint_server(a->endpoint) : a->token_server;
}

static int write_ports(const App *a, Err *err)
{
    if (!a->c->ports_file)
        return 0;
    bool first = true;
    CLEANUP_BUF Buf b = BUF_INIT(1024);
    buf_addc(&b, '{');
    if (a->proxy)
        add_port(&b, &first, "proxy", proxy_port(a->proxy));
    if (token_server(a))
        add_port(&b, &first, "token", token_server_port(token_server(a)));
    if (a->metrics)
        add_port(&b, &first, "metrics", http_server_port(a->metrics));
    buf_addz(&b, "}\n");
    return file_write_atomic(a->c->ports_file, buf_str(&b), 0600, err);
}

/* ---- the same on Kubernetes: one ring of keys for all replicas ---- */

static void on_endpoint(void *arg, const Err *err)
{
    App *a = arg;
    Err why = err ? *err : (Err){0};
    if (!err && write_ports(a, &why) == 0)
        return;
    log_error("token endpoint", F_ERR(&why));
    a->status = 1;
    loop_stop(a->loop);
}

static void make_endpoint(App *a)
{
    const KubeEndpointOptions o = {.config = a->c,
                                   .kube = kube_app_client(a->kube),
                                   .pods = kube_app_pods(a->kube),
                                   .sessions = a->cache,
                                   .token = token_of,
                                   .opened = on_endpoint,
                                   .arg = a};
    if (!is_off(a->c->token_address) && a->c->kube.token_endpoint)
        a->endpoint = kube_endpoint_new(a->loop, &o);
}

static int make_proxy(App *a, Err *err)
{
    if (is_off(a->c->proxy_address))
        return 0;
    const ProxyOptions o = {
        .address = a->c->proxy_address, .http = a->http, .token = a->token, .route = find_runner, .arg = a};
    return proxy_new(a->loop, &o, &a->proxy, err);
}

/* Work is waiting, and no run has started or ended since a long time. */
static bool is_stuck(App *a)
{
    if (!a->sessions)
        return false;
    WqStats st;
    wq_stats(sessions_queue(a->sessions), &st);
    Usec now = clock_now(loop_clock(a->loop));
    if (st.waiting == 0 || st.runs != a->runs_seen) {
        a->runs_seen = st.runs;
        a->progress_at = now;
    }
    return now - a->progress_at > STUCK;
}

static bool is_ready(const App *a)
{
    InformerStats st;
    informer_stats(a->informer, &st);
    bool kube = !a->kube || (kube_app_ready(a->kube) && (!a->endpoint || token_server(a)));
    return st.synced && kube && !secret_is_empty(token_source_get(a->token));
}

static void reply_metrics(const App *a, HttpReq *r)
{
    MetricsSources m = {
        .sessions = a->cache,
        .runtime = a->process,
        .strays = a->sessions ? sessions_strays(a->sessions) : NULL,
        .tokens = a->tokens,
        .token_server = token_server(a),
    };
    CLEANUP_BUF Buf b = BUF_INIT(1024 * 1024);
    metrics_add_queue(&m, a->sessions ? sessions_queue(a->sessions) : NULL);
    metrics_add_informer(&m, "sessions", a->informer);
    if (a->kube)
        kube_app_sources(a->kube, &m);
    metrics_write(&m, &b);
    if (a->kube)
        kube_app_metrics(a->kube, &b);
    http_reply_header(r, "Content-Type", STR("text/plain; version=0.0.4; charset=utf-8"));
    http_reply_buf(r, 200, &b);
}

static void on_metrics(void *arg, HttpReq *r)
{
    App *a = arg;
    Str path = http_req_path(r);
    if (str_eqz(path, "/metrics"))
        reply_metrics(a, r);
    else if (str_eqz(path, "/healthz"))
        http_reply(r, is_stuck(a) ? 503 : 200, is_stuck(a) ? STR("stuck") : STR("ok"));
    else if (str_eqz(path, "/readyz"))
        http_reply(r, is_ready(a) ? 200 : 503, is_ready(a) ? STR("ok") : STR("not ready"));
    else
        http_reply(r, 404, STR("404 page not found\n"));
}

static int make_metrics(App *a, Err *err)
{
    if (is_off(a->c->metrics_address))
        return 0;
    int rc = http_server_new(a->loop, a->c->metrics_address, NULL, &http_limits_default, on_metrics, NULL, a,
                             &a->metrics, err);
    return rc < 0 ? err_wrap(err, "metrics listener") : 0;
}

/* ---- the end ---- */

static void on_all_released(void *arg)
{
    loop_stop(((App *)arg)->loop);
}

static void release(void *arg)
{
    App *a = arg;
    kube_app_release(a->kube, on_all_released, a);
}

/* Another replica may lead at once. Apart from the queue's callbacks, as it frees the queue. */
static void leave(App *a)
{
    a->ending = false;
    if (a->kube)
        loop_post(a->loop, release, a);
    else
        loop_stop(a->loop);
}

/* The queue is empty of running work, and on request all outcomes are written down. */
static bool end_if_done(App *a)
{
    if (!a->ending)
        return false;
    WqStats st;
    wq_stats(sessions_queue(a->sessions), &st);
    bool busy = st.running > 0;
    if (a->stop_runners)
        busy = busy || (a->process && process_runtime_ended(a->process) > 0);
    if (!busy)
        leave(a);
    return !busy;
}

static void on_end_timer(void *arg)
{
    App *a = arg;
    log_warn("work under way is abandoned");
    loop_stop(a->loop);
}

static void on_all_stopped(void *arg)
{
    App *a = arg;
    a->ending = true; /* the outcomes are on their way through the queue */
    timer_arm(a->end_timer, END_PATIENCE);
    end_if_done(a);
}

static void begin_end(App *a, int signo)
{
    if (timer_armed(a->end_timer)) { /* a second signal: now */
        a->status = 128 + signo;
        loop_stop(a->loop);
        return;
    }
    log_info("ending", F_BOOL("stop_runners", a->stop_runners));
    if (!a->sessions) {
        timer_arm(a->end_timer, END_PATIENCE);
        leave(a);
    } else if (a->stop_runners && a->process) {
        timer_arm(a->end_timer, STOP_PATIENCE);
        process_runtime_stop_all(a->process, on_all_stopped, a);
    } else {
        a->ending = true;
        wq_pause(sessions_queue(a->sessions));
        timer_arm(a->end_timer, END_PATIENCE);
        end_if_done(a);
    }
}

static void on_sigterm(void *arg)
{
    begin_end(arg, SIGTERM);
}

static void on_sigint(void *arg)
{
    begin_end(arg, SIGINT);
}

/* `ambient down`: the end of everything here, whatever the settings say. */
static void on_sigusr1(void *arg)
{
    App *a = arg;
    a->stop_runners = true;
    begin_end(a, SIGUSR1);
}

/* ---- the start ---- */

/* Names of the reference are understood: `kube` reconciles sessions there. */
static bool wants_sessions(const Config *c)
{
    bool wanted = false;
    for (Str rest = str_from(c->reconcilers); rest.ptr;) {
        Str name = str_trim(str_cut(&rest, ','));
        if (str_eqz(name, "session") || str_eqz(name, "process") || str_eqz(name, "kube"))
            wanted = true;
        else if (name.len > 0 && !str_eqz(name, "tally"))
            log_warn("unknown reconciler", F_STRV("name", name));
    }
    return wanted && c->mode != MODE_TEST;
}

static int make_client(App *a, Err *err)
{
    const Config *c = a->c;
    const HttpClientOptions ho = {.ca_file = c->ca_file,
                                  .user_agent = "ambient-control-plane/" AMBIENT_VERSION};
    int rc = http_client_new(a->loop, &ho, &a->http, err);
    if (rc < 0)
        return rc;
    make_token(a);
    const ClientOptions co = {
        .api_url = c->api_url,
        .grpc_address = c->grpc_address,
        .grpc_tls = c->grpc_tls,
        .token = a->token,
        .user_agent = "ambient-control-plane/" AMBIENT_VERSION,
        .ca_file = c->ca_file,
        .request_timeout = 15 * USEC_PER_SEC,
    };
    rc = client_new(a->loop, &co, &a->client, err);
    if (rc == 0)
        a->api = api_client_new(a->client);
    return rc;
}

static int make_runtime(App *a, Err *err)
{
    const ProcessOptions o = {.config = a->c, .http = a->http, .program = "/proc/self/exe"};
    int rc = process_runtime_new(a->loop, &o, &a->process, err);
    if (rc < 0)
        return rc;
    Runtime *rt = process_runtime(a->process);
    rt->on_change = on_key;
    rt->on_change_arg = a;
    return 0;
}

static void make_cache(App *a)
{
    static const int drop[] = {SESSION_PROMPT, -1};
    const CacheOptions co = {.kind = &kind_session, .clock = loop_clock(a->loop), .drop = drop};
    a->cache = cache_new(&co);
    static const InformerOps ops = {.on_key = on_key, .on_list = on_list};
    const InformerOptions io = {
        .api = a->api, .kind = &kind_session, .cache = a->cache, .random = app_random};
    a->informer = informer_new(a->loop, &io, &ops, a);
}

static void make_grants(App *a)
{
    const CredentialsOptions co = {
        .api = a->api, .mode = a->c->grants, .grantee = a->c->kube.grpc_service_account, .own = a->token};
    make_tokens(a);
    a->credentials = credentials_new(&co);
    const GrantSweepOptions so = {.credentials = a->credentials, .is_over = is_over, .arg = a};
    a->grant_sweep = grant_sweep_new(&so);
}

static void make_sessions(App *a)
{
    const Config *c = a->c;
    make_grants(a);
    const SessionsOptions o = {
        .api = a->api,
        .runtime = runtime(a),
        .cache = a->cache,
        .tokens = a->tokens,
        .credentials = a->credentials,
        .clock = loop_clock(a->loop),
        .place = "local",
        .time_limit = c->time_limit,
        .workers = (unsigned)c->workers,
        .stray_young = a->kube ? c->kube.young : 0,
        .stray_confirm = a->kube ? c->kube.confirm : 0,
        .relist = on_relist,
        .wake = on_wake,
        .random = app_random,
        .arg = a,
    };
    a->sessions = sessions_new(&o);
}

static void drop_sessions(App *a)
{
    a->sessions = sessions_free(a->sessions);
    a->tokens = session_tokens_free(a->tokens);
    a->grant_sweep = grant_sweep_free(a->grant_sweep);
    a->credentials = credentials_free(a->credentials);
}

static void make_timers(App *a)
{
    a->queue_timer = timer_new(a->loop, on_queue_timer, a);
    a->sweep_timer = timer_new(a->loop, on_sweep, a);
    if (!a->kube) /* there the sweep of its objects comes first */
        timer_arm(a->sweep_timer, SWEEP_FIRST);
}

/* ---- on Kubernetes: only the leader reconciles ---- */

static void on_lead(void *arg)
{
    App *a = arg;
    if (a->ending || timer_armed(a->end_timer))
        return;
    make_sessions(a);
    cache_each(a->cache, on_key, a);
    sessions_add_deleted(a->sessions);
}

static void on_lose(void *arg)
{
    drop_sessions(arg);
}

static void on_swept(void *arg)
{
    sweep(arg);
}

static void on_reachable(void *arg)
{
    App *a = arg;
    if (a->sessions)
        cache_each(a->cache, on_key, a);
}

static bool may_write(void *arg)
{
    return kube_app_may_write(arg);
}

static int make_kube(App *a, Err *err)
{
    const KubeAppOptions o = {
        .config = a->c,
        .api = a->api,
        .random = app_random,
        .on_key = on_key,
        .start = on_lead,
        .stop = on_lose,
        .swept = on_swept,
        .reachable = on_reachable,
        .arg = a,
    };
    int rc = kube_app_new(a->loop, &o, &a->kube, err);
    if (rc == 0)
        api_client_fence(a->api, may_write, a->kube);
    return rc;
}

static int make_place(App *a, Err *err)
{
    int rc = a->c->mode == MODE_KUBE ? make_kube(a, err) : make_runtime(a, err);
    if (rc < 0)
        return rc;
    make_timers(a);
    if (a->process)
        make_sessions(a);
    return 0;
}

static int make_parts(App *a, Err *err)
{
    int rc = make_client(a, err);
    if (rc == 0)
        make_cache(a);
    if (rc == 0 && wants_sessions(a->c))
        rc = make_place(a, err);
    if (rc == 0 && a->process)
        rc = make_token_server(a, err);
    if (rc == 0 && a->process)
        rc = make_proxy(a, err);
    if (rc == 0)
        rc = make_metrics(a, err);
    return rc == 0 ? write_ports(a, err) : rc;
}

static void log_start(const App *a)
{
    const Config *c = a->c;
    log_info("control plane started", F_STR("version", AMBIENT_VERSION), F_STR("mode", c->mode_text),
             F_STR("api", c->api_url), F_STR("grpc", c->grpc_address),
             F_STR("root", a->process ? c->root : ""), F_STR("runner", c->runner_command),
             F_STR("sandbox", sandbox_mode_name(c->sandbox)),
             F_INT("proxy_port", a->proxy ? proxy_port(a->proxy) : 0));
    if (a->process && c->sandbox == SANDBOX_NONE)
        log_warn("runners are not sandboxed: what an agent does, it does as this user");
}

/* Before anything tells others that we are here: from then on a signal must end us in order. */
static void watch_signals(App *a)
{
    a->end_timer = timer_new(a->loop, on_end_timer, a);
    a->sigterm = signal_watch_new(a->loop, SIGTERM, on_sigterm, a);
    a->sigint = signal_watch_new(a->loop, SIGINT, on_sigint, a);
    a->sigusr1 = signal_watch_new(a->loop, SIGUSR1, on_sigusr1, a);
}

static void start(App *a)
{
    a->progress_at = clock_now(loop_clock(a->loop));
    informer_start(a->informer);
    if (a->kube) {
        make_endpoint(a);
        kube_app_start(a->kube);
    }
    log_start(a);
}

static void app_done(App *a)
{
    a->ending = false; /* nothing below is to stop a loop that has stopped */
    signal_watch_free(a->sigterm);
    signal_watch_free(a->sigint);
    signal_watch_free(a->sigusr1);
    http_server_free(a->metrics);
    proxy_free(a->proxy);
    token_server_free(a->token_server);
    kube_endpoint_free(a->endpoint);
    timer_free(a->sweep_timer);
    timer_free(a->end_timer);
    a->queue_timer = timer_free(a->queue_timer);
    drop_sessions(a);
    informer_free(a->informer);
    kube_app_free(a->kube);
    process_runtime_free(a->process);
    cache_free(a->cache);
    api_client_free(a->api);
    client_free(a->client);
    oidc_free(a->oidc);
    token_source_free(a->token);
    http_client_free(a->http);
    rsa_key_free(a->token_key);
    buf_done(&a->token_key_pem);
    free(a->token_url);
    loop_free(a->loop);
}

int app_run(const Config *c, Err *err)
{
    CLEANUP(app_done) App a = {.c = c, .stop_runners = c->stop_on_exit, .token_key_pem = BUF_INIT(64 * 1024)};
    int rc = loop_new(&a.loop, err);
    if (rc < 0)
        return rc;
    watch_signals(&a);
    rc = make_parts(&a, err);
    if (rc < 0)
        return rc;
    start(&a);
    loop_run(a.loop);
    log_info("ended");
    return a.status;
}
