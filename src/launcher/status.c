#include "launcher-internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include "base/mem.h"
#include "base/file.h"
#include "http/client.h"

typedef struct Probe {
    bool done, ok;
    char version[64];
} Probe;

static void on_version(void *arg, const HttpResponse *r, const Err *err)
{
    Probe *p = arg;
    p->done = true;
    p->ok = r && r->status == 200;
    CLEANUP_JSON json_t *j = NULL;
    if (p->ok && json_parse(r->body, &j, NULL) == 0 && json_get_str(j, "version"))
        snprintf(p->version, sizeof(p->version), "%s", json_get_str(j, "version"));
}

/* Does the API server answer? Unauthenticated, two seconds. */
static void probe_api(const State *s, Probe *ret)
{
    CLEANUP(loop_freep) Loop *l = NULL;
    HttpClient *c = NULL;
    if (loop_new(&l, NULL) < 0 ||
        http_client_new(l, &(HttpClientOptions){.user_agent = "ambient"}, &c, NULL) < 0)
        return;
    CLEANUP_FREE char *url = xasprintf("http://%s/api/ambient/v1/version", s->http);
    HttpRequest req = {.method = "GET", .url = url, .timeout = 2 * USEC_PER_SEC};
    http_send(c, &req, on_version, ret);
    while (!ret->done)
        loop_run_once(l, true);
    http_client_free(c);
}

static bool alive(pid_t pid)
{
    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM);
}

static const char *health_word(bool ok)
{
    return ok ? "ok" : "down";
}

static void print_json(const Place *p, const State *s, const Probe *probe)
{
    CLEANUP_FREE char *http = xasprintf("http://%s", s->http);
    char when[RFC3339_MAX];
    CLEANUP_JSON json_t *j =
        json_pack("{s:s, s:s, s:{s:i, s:i, s:i}, s:{s:s, s:s}, s:{s:s, s:s}, s:{s:i, s:i}, s:s, s:s}", "http",
                  http, "grpc", s->grpc, "pids", "supervisor", (int)s->supervisor, "api-server",
                  (int)s->api_server, "control-plane", (int)s->control_plane, "health", "api-server",
                  health_word(probe->ok), "control-plane", health_word(alive(s->control_plane)), "versions",
                  "ambient", AMBIENT_VERSION, "api-server", probe->version, "restarts", "api-server",
                  (int)s->restarts_api_server, "control-plane", (int)s->restarts_control_plane, "data",
                  p->dir, "started_at", rfc3339_format(s->started_at, when).ptr);
    CLEANUP_BUF Buf out = BUF_INIT(16384);
    json_write_pretty(&out, j, 2);
    fwrite(out.data, 1, out.len, stdout);
}

static void print_program(const char *name, pid_t pid, bool ok, unsigned restarts)
{
    printf("%-15s %-6s pid %-8d restarts %u\n", name, ok ? "ok" : "down", (int)pid, restarts);
}

int cmd_status(const Place *p, const Options *o, Err *err)
{
    State s = {0};
    if (!place_is_running(p))
        return err_set(err, ERR_NOT_FOUND, "Ambient is not running on %s; start it with: ambient up", p->dir);
    int rc = state_load(p, &s, err);
    if (rc < 0)
        return err_wrap(err, "Ambient is starting or stopping");
    Probe probe = {0};
    probe_api(&s, &probe);
    if (o->output && str_eqz(STR("json"), o->output)) {
        print_json(p, &s, &probe);
    } else {
        print_program("api-server", s.api_server, probe.ok, s.restarts_api_server);
        print_program("control-plane", s.control_plane, alive(s.control_plane), s.restarts_control_plane);
        printf("\nAPI   http://%s/api/ambient/v1\ngRPC  %s\ndata  %s\n", s.http, s.grpc, p->dir);
    }
    if (!probe.ok || !alive(s.control_plane))
        return err_set(err, ERR_UNAVAILABLE, "not everything is up; see: ambient logs");
    return 0;
}

int cmd_token(const Place *p, const Options *o, Err *err)
{
    CLEANUP(secret_freep) Secret *token = NULL;
    int rc = secret_from_file(p->token, &token, err);
    if (rc < 0)
        return err_wrap(err, "no token on %s (ambient up makes one)", p->dir);
    Str s = secret_reveal(token);
    printf(STR_FMT "\n", STR_ARG(s));
    return 0;
}
