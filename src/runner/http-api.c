#include "http-api.h"

#include <arpa/inet.h>
#include <assert.h>
#include <sys/socket.h>
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/server.h"
#include "http-internal.h"
#include "http-stream.h"
#include "json/json.h"
#include "runner.h"

#define BODY_MAX ((size_t)24 << 20) /* a file of 16 MiB as base64, and more */
#define INHERITED_FD 3

/* ---- answers ---- */

void reply_json(HttpReq *req, int status, const json_t *o)
{
    CLEANUP_BUF Buf body = BUF_INIT((size_t)16 << 20);

    json_write_plain(&body, o);
    http_reply_header(req, "Content-Type", STR("application/json"));
    http_reply_buf(req, status, &body);
}

void reply_detail(HttpReq *req, int status, const char *detail)
{
    CLEANUP_JSON json_t *o = json_object();

    json_object_set_new(o, "detail", json_string(detail));
    reply_json(req, status, o);
}

void reply_message(HttpReq *req, const char *message)
{
    CLEANUP_JSON json_t *o = json_object();

    json_object_set_new(o, "message", json_string(message));
    reply_json(req, 200, o);
}

void reply_fault(HttpReq *req, const RunInputFault *f)
{
    CLEANUP_JSON json_t *o = json_object();
    json_t *fault = json_object(), *loc = json_array(), *list = json_array();

    json_array_append_new(loc, json_string("body"));
    if (f->loc)
        json_array_append_new(loc, json_string(f->loc));
    json_object_set_new(fault, "type", json_string(f->type));
    json_object_set_new(fault, "loc", loc);
    json_object_set_new(fault, "msg", json_string(f->msg));
    json_object_set_new(fault, "input", json_null());
    json_array_append_new(list, fault);
    json_object_set_new(o, "detail", list);
    reply_json(req, 422, o);
}

void reply_err(HttpReq *req, const Err *err)
{
    int status = err_info(err->code)->http_status;

    if (status >= 500)
        log_warn("request failed", F_STRV("path", http_req_path(req)), F_ERR(err));
    reply_detail(req, status, err->msg);
}

json_t *read_object(HttpReq *req)
{
    json_t *body = NULL;
    Str text = str_trim(http_req_body(req));

    if (text.len == 0)
        return json_object();
    if (json_parse(text, &body, NULL) == 0 && json_is_object(body))
        return body;
    json_decref(body);
    reply_fault(req, &(RunInputFault){"json_invalid", NULL, "JSON decode error"});
    return NULL;
}

/* What the room below answers by itself: malformed and oversize requests. */
static void error_body(void *arg, ErrCode code, const char *reason, Buf *body, const char **content_type)
{
    bool first = true;

    *content_type = "application/json";
    buf_addc(body, '{');
    json_key(body, &first, "detail");
    json_write_str_plain(body, str_from(reason));
    buf_addc(body, '}');
}

/* ---- handlers ---- */

static void get_health(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *o = json_object();

    json_object_set_new(o, "status", json_string("healthy"));
    json_object_set_new(o, "session_id", json_string(runner_config(a->runner)->session_id));
    reply_json(req, 200, o);
}

static void get_ready(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *o = json_object();
    bool ready = runner_ready(a->runner);

    json_object_set_new(o, "status", json_string(ready ? "ready" : "not ready"));
    reply_json(req, ready ? 200 : 503, o);
}

static json_t *platform_features(void)
{
    static const char *const names[] = {"feedback", "mcp_diagnostics", "repos", "workflows"};
    json_t *list = json_array();

    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        json_array_append_new(list, json_string(names[i]));
    return list;
}

static void get_capabilities(HttpApi *a, HttpReq *req, Str tail)
{
    static const char *const agent_features[] = {"agentic_chat", "backend_tool_rendering",
                                                 "human_in_the_loop", "thinking"};
    const RunnerConfig *c = runner_config(a->runner);
    CLEANUP_JSON json_t *o = json_object();
    json_t *features = json_array();
    bool plain = !runner_persists(a->runner); /* a command runner chats and no more */

    for (size_t i = 0; i < (plain ? 1 : ARRAY_LEN(agent_features)); i++)
        json_array_append_new(features, json_string(agent_features[i]));
    json_object_set_new(o, "framework", json_string(runner_framework(a->runner)));
    json_object_set_new(o, "agent_features", features);
    json_object_set_new(o, "platform_features", platform_features());
    json_object_set_new(o, "file_system", json_true());
    json_object_set_new(o, "mcp", json_boolean(!plain));
    json_object_set_new(o, "tracing", json_null());
    json_object_set_new(o, "session_persistence", json_boolean(!plain));
    json_object_set_new(o, "model", c->model && *c->model && !plain ? json_string(c->model) : json_null());
    json_object_set_new(o, "session_id", json_string(c->session_id));
    reply_json(req, 200, o);
}

/* One session, one thread; the id also comes in lower case, as part of a service's name. */
static bool is_our_thread(const HttpApi *a, Str thread)
{
    return thread.len == 0 || str_ieq(thread, str_from(runner_config(a->runner)->session_id));
}

static void no_such_stream(HttpReq *req, Str thread)
{
    CLEANUP_FREE char *text = xasprintf("No active stream for thread '" STR_FMT "'", STR_ARG(thread));

    reply_detail(req, 404, text);
}

static TapOptions tap_options(const HttpReq *req)
{
    TapOptions o = {0};
    Str follow = http_req_query(req, "follow");
    Str accept = http_req_header(req, "Accept");

    if (str_to_u64(str_trim(http_req_header(req, "Last-Event-ID")), &o.after_id) < 0)
        o.after_id = 0;
    o.follow = str_eqz(follow, "1") || str_eqz(follow, "true") || str_find(accept, STR("follow=1")) >= 0;
    return o;
}

static void get_events(HttpApi *a, HttpReq *req, Str thread)
{
    TapOptions o = tap_options(req);

    if (!is_our_thread(a, thread))
        no_such_stream(req, thread);
    else
        http_stream_events(a->loop, req, runner_tap(a->runner), &o);
}

/* A request that waits for a run to begin. */
typedef struct Waiting {
    ListLink link;
    HttpApi *api;
    HttpReq *req;
    Timer *timer;
    Usec until;
} Waiting;

#define WAIT_STEP (50 * USEC_PER_MSEC)

static void waiting_gone(void *arg)
{
    Waiting *w = arg;

    list_remove(&w->link);
    timer_free(w->timer);
    loop_defer(w->api->loop, free, w);
}

static void waiting_look(void *arg)
{
    Waiting *w = arg;
    HttpApi *a = w->api;
    HttpReq *req = w->req;
    TapOptions o = tap_options(req);

    if (tap_running(runner_tap(a->runner)))
        http_stream_events(a->loop, req, runner_tap(a->runner), &o);
    else if (loop_now(a->loop) >= w->until)
        no_such_stream(req, str_from(runner_config(a->runner)->session_id));
    else
        timer_arm(w->timer, WAIT_STEP);
}

static void get_events_wait(HttpApi *a, HttpReq *req, Str thread)
{
    int64_t seconds = runner_config(a->runner)->events_wait;

    if (!is_our_thread(a, thread)) {
        no_such_stream(req, thread);
        return;
    }
    Waiting *w = xnew(Waiting);
    w->api = a;
    w->req = req;
    w->timer = timer_new(a->loop, waiting_look, w);
    w->until = usec_add(loop_now(a->loop), (Usec)(seconds > 0 ? seconds : 0) * USEC_PER_SEC);
    list_push_back(&a->waiting, &w->link);
    http_req_set_user(req, w, waiting_gone);
    waiting_look(w);
}

static void post_run(HttpApi *a, HttpReq *req, Str tail)
{
    RunInput in = {0};
    RunInputFault fault;

    if (run_input_parse(http_req_body(req), &in, &fault) < 0) {
        reply_fault(req, &fault);
        return;
    }
    if (!runner_ready(a->runner) || !runner_has_agent(a->runner)) {
        run_input_done(&in);
        reply_detail(req, 503, "The session is not ready to run anything");
        return;
    }
    /* The reader first: it must not miss the run's beginning. */
    TapOptions o = {.run_id = in.run_id, .snapshots = true};
    http_stream_events(a->loop, req, runner_tap(a->runner), &o);
    runner_enqueue(a->runner, &in);
}

static void post_interrupt(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *body = NULL;
    Str text = str_trim(http_req_body(req));

    if (text.len > 0 && (json_parse(text, &body, NULL) < 0 || !json_is_object(body))) {
        reply_fault(req, &(RunInputFault){"json_invalid", NULL, "JSON decode error"});
        return;
    }
    if (!runner_has_agent(a->runner) || !is_our_thread(a, json_get_strv(body, "thread_id"))) {
        reply_detail(req, 500, "No agent works on this thread");
        return;
    }
    runner_interrupt(a->runner, str_eqz(json_get_strv(body, "scope"), "all"));
    reply_message(req, "Interrupt signal sent");
}

/* What this runner has logged, as far as it is kept: nobody else may be able to see its standard error. */
static void get_logs(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_BUF Buf body = BUF_INIT((size_t)4 << 20);

    log_kept(&body);
    http_reply_header(req, "Content-Type", STR("text/plain; charset=utf-8"));
    http_reply_header(req, "X-Content-Type-Options", STR("nosniff"));
    http_reply_buf(req, 200, &body);
}

/* ---- routes ---- */

static const ApiRoute own_routes[] = {
    {"GET", "/health", get_health, true},
    {"GET", "/healthz", get_health, true},
    {"GET", "/readyz", get_ready, true},
    {"GET", "/logs", get_logs, false},
    {"GET", "/capabilities", get_capabilities, false},
    {"GET", "/agui/capabilities", get_capabilities, false},
    {"GET", "/agui/events", get_events, false},
    {"GET", "/events/*", get_events, false},
    {"GET", "/events/*/wait", get_events_wait, false},
    {"POST", "/", post_run, false},
    {"POST", "/agui/run", post_run, false},
    {"POST", "/interrupt", post_interrupt, false},
    {"POST", "/agui/interrupt", post_interrupt, false},
};
static const ApiTable own = {own_routes, ARRAY_LEN(own_routes)};

static const ApiTable *const tables[] = {&own, &api_agent, &api_content, &api_git, &api_repos};

/* '*' stands for one segment, "**" for all that are left; either is given back. */
static bool path_matches(Str path, const char *pattern, Str *ret_segment)
{
    Str p = str_from(pattern);
    ptrdiff_t star = str_find_byte(p, '*');

    *ret_segment = STR("");
    if (star < 0)
        return str_eq(path, p);
    if (str_ends(p, STR("**"))) {
        *ret_segment = str_slice(path, p.len - 2, path.len);
        return str_starts(path, str_slice(p, 0, p.len - 2)) && ret_segment->len > 0;
    }
    Str head = str_slice(p, 0, (size_t)star), tail = str_slice(p, (size_t)star + 1, p.len);
    if (!str_starts(path, head) || !str_ends(path, tail) || path.len <= head.len + tail.len)
        return false;
    *ret_segment = str_slice(path, head.len, path.len - tail.len);
    return str_find_byte(*ret_segment, '/') < 0;
}

static bool token_ok(const HttpApi *a, const HttpReq *req)
{
    const Secret *token = runner_config(a->runner)->agui_token;

    return !token || secret_equals(token, http_req_header(req, "X-Ambient-Session-Token"));
}

/* The row for method and path; *ret_known: another method of the path exists. */
static const ApiRoute *find_route(const HttpReq *req, Str *ret_segment, bool *ret_known)
{
    Str path = http_req_path(req), segment;

    *ret_known = false;
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (const ApiRoute *r = tables[t]->ptr; r < tables[t]->ptr + tables[t]->n; r++) {
            if (!path_matches(path, r->path, &segment))
                continue;
            *ret_known = true;
            if (!str_eqz(http_req_method(req), r->method))
                continue;
            *ret_segment = segment;
            return r;
        }
    }
    return NULL;
}

static void handle(void *arg, HttpReq *req)
{
    HttpApi *a = arg;
    Str segment;
    bool known;
    const ApiRoute *r = find_route(req, &segment, &known);

    if (!(r && r->open) && !token_ok(a, req))
        reply_detail(req, 401, "Unauthorized"); /* strangers do not learn which paths there are */
    else if (r)
        r->handle(a, req, segment);
    else
        reply_detail(req, known ? 405 : 404, known ? "Method Not Allowed" : "Not Found");
}

/* ---- life ---- */

static bool is_loopback(const struct sockaddr_storage *sa)
{
    if (sa->ss_family == AF_UNIX)
        return true;
    if (sa->ss_family == AF_INET)
        return (ntohl(((const struct sockaddr_in *)sa)->sin_addr.s_addr) >> 24) == 127;
    return sa->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)sa)->sin6_addr);
}

static bool address_is_loopback(const RunnerConfig *c)
{
    struct sockaddr_storage sa = {0};
    struct in_addr v4;
    struct in6_addr v6;
    socklen_t len = sizeof(sa);

    if (c->listen_fds > 0)
        return getsockname(INHERITED_FD, (struct sockaddr *)&sa, &len) == 0 && is_loopback(&sa);
    if (str_eqz(STR("localhost"), c->host))
        return true;
    if (inet_pton(AF_INET, c->host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, c->host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static int listen_address(const RunnerConfig *c, char **ret, Err *err)
{
    bool v6 = str_find_byte(str_from(c->host), ':') >= 0;

    if (!c->agui_token && !c->open && !address_is_loopback(c))
        return err_set(
            err, ERR_USAGE,
            "AGUI_HOST %s is reachable from outside and AGUI_TOKEN is not set: anybody could run the agent. "
            "Set AGUI_TOKEN, or AGUI_ALLOW_UNAUTHENTICATED=true",
            c->host);
    if (c->listen_fds > 0)
        *ret = xasprintf("fd:%d", INHERITED_FD);
    else
        *ret = xasprintf(v6 ? "[%s]:%d" : "%s:%d", c->host, (int)c->port);
    return 0;
}

int http_api_new(Loop *l, Runner *r, HttpApi **ret, Err *err)
{
    CLEANUP_FREE char *address = NULL;
    HttpLimits limits = http_limits_default;
    int rc = listen_address(runner_config(r), &address, err);

    if (rc < 0)
        return rc;
    HttpApi *a = xnew(HttpApi);
    a->loop = l;
    a->runner = r;
    list_init(&a->waiting);
    limits.body_max = BODY_MAX;
    rc = http_server_new(l, address, NULL, &limits, handle, error_body, a, &a->server, err);
    if (rc < 0) {
        free(a);
        return rc;
    }
    log_info("listening", F_STR("address", address), F_INT("port", http_server_port(a->server)));
    *ret = a;
    return 0;
}

HttpApi *http_api_free(HttpApi *a)
{
    if (!a)
        return NULL;
    http_server_free(a->server);
    json_decref(a->mcp);
    loop_defer(a->loop, free, a);
    return NULL;
}
