#include "config.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "ca-bundle.h"
#include "http/url.h"
#include "kube-sidecars.h"
#include "process-cgroup.h"

#define TOKEN_ADDRESS "127.0.0.1:0"

#define OFF(member) offsetof(Config, member)
#define SET(flag, env, type, member, dflt, help, value)                                                      \
    {                                                                                                        \
        flag, env, type, OFF(member), dflt, help, value                                                      \
    }
static const Flag table[] = {
    SET("mode", "MODE", FLAG_STRING, mode_text, "process", "process (or local), kube, test", "MODE"),
    SET("log-level", "LOG_LEVEL", FLAG_STRING, log_level, "info", "debug, info, warn, error, off", "LEVEL"),
    SET("log-format", "LOG_FORMAT", FLAG_STRING, log_format, "json", "json or logfmt", "FORMAT"),

    SET("api-url", "AMBIENT_API_SERVER_URL", FLAG_STRING, api_url, "http://localhost:8000",
        "the API server, REST", "URL"),
    SET("grpc-address", "AMBIENT_GRPC_SERVER_ADDR", FLAG_STRING, grpc_address, "localhost:8001",
        "the API server, gRPC; runners are told the same", "HOST:PORT"),
    SET("grpc-tls", "AMBIENT_GRPC_USE_TLS", FLAG_BOOL, grpc_tls, "false", "TLS to it", NULL),
    SET("ca-file", "AMBIENT_CA_FILE", FLAG_STRING, ca_file, NULL,
        "roots for TLS instead of the system's (in a pod: and of its service-ca.crt)", "FILE"),
    SET(NULL, "AMBIENT_API_TOKEN", FLAG_SECRET, api_token, NULL, "bearer token for the API server", NULL),
    SET("token-file", "AMBIENT_API_TOKEN_FILE", FLAG_STRING, api_token_file, NULL,
        "the same in a file, read again when it changes", "FILE"),
    SET(NULL, "OIDC_TOKEN_URL", FLAG_STRING, oidc_token_url, NULL, "where to get tokens with the two below",
        NULL),
    SET(NULL, "OIDC_CLIENT_ID", FLAG_STRING, oidc_client_id, NULL, "client id; wins over AMBIENT_API_TOKEN",
        NULL),
    SET(NULL, "OIDC_CLIENT_SECRET", FLAG_SECRET, oidc_client_secret, NULL, "client secret", NULL),

    SET("reconcilers", "RECONCILERS", FLAG_STRING, reconcilers, "session", "comma list; tally is a no-op",
        "LIST"),
    SET("session-tokens", "SESSION_TOKENS", FLAG_STRING, tokens_text, "auto",
        "tokens of their own for runners: auto (with a server that has none: ours), on, off (ours)", "MODE"),
    SET("token-reader-grants", "TOKEN_READER_GRANTS", FLAG_STRING, grants_text, "auto",
        "let sessions read the tokens of their credentials: auto, on, off", "MODE"),
    SET("workers", "WORKERS", FLAG_INT, workers, "16", "sessions worked on at a time", "N"),
    SET("time-limit", "LOCAL_TIME_LIMIT", FLAG_DURATION, time_limit, "0s",
        "for sessions without one; 0s = none", "DURATION"),

    SET(NULL, "RUNNER_LOG_LEVEL", FLAG_STRING, runner_log_level, "info", "LOG_LEVEL of runners", NULL),
    SET(NULL, "BACKEND_API_URL", FLAG_STRING, backend_api_url, NULL, "for runners; default the API server",
        NULL),
    SET(NULL, "AMBIENT_RUNNER_KEY", FLAG_SECRET, runner_key, NULL,
        "shared with the API server: gives each runner in a pod a token of its own; default "
        "AMBIENT_API_TOKEN",
        NULL),
    SET(NULL, "ANTHROPIC_API_KEY", FLAG_SECRET, anthropic_api_key, NULL, "passed to runners", NULL),
    SET(NULL, "USE_VERTEX", FLAG_STRING, use_vertex_text, NULL, "1 or true: runners use Vertex", NULL),
    SET(NULL, "ANTHROPIC_VERTEX_PROJECT_ID", FLAG_STRING, vertex_project, NULL, "passed to runners", NULL),
    SET(NULL, "CLOUD_ML_REGION", FLAG_STRING, vertex_region, "global", "passed to runners", NULL),
    SET(NULL, "GOOGLE_APPLICATION_CREDENTIALS", FLAG_STRING, vertex_credentials, NULL, "passed to runners",
        NULL),

    SET("root", "LOCAL_WORKSPACE_ROOT", FLAG_STRING, root, NULL,
        "directory of sessions; default $HOME/.ambient/workspaces", "DIR"),
    SET("runner", "LOCAL_RUNNER_COMMAND", FLAG_STRING, runner_command, "ambient-runner", "what to start",
        "COMMAND"),
    SET("ports", "LOCAL_PORT_RANGE", FLAG_STRING, port_range_text, "9100-9199", "ports of runners; 0 = any",
        "RANGE"),
    SET("max-sessions", "LOCAL_MAX_SESSIONS", FLAG_INT, max_sessions, "10", "runners at a time; 0 = no limit",
        "N"),
    SET("runner-uid", "LOCAL_RUNNER_UID", FLAG_INT, uid, "-1", "user of runners; -1 = ours", "UID"),
    SET("runner-gid", "LOCAL_RUNNER_GID", FLAG_INT, gid, "-1", "group of runners", "GID"),
    SET("mem-max", "LOCAL_MEM_MAX", FLAG_SIZE, mem_max, "0", "memory of a runner; 0 = no limit", "SIZE"),
    SET("cpu-max", "LOCAL_CPU_MAX", FLAG_STRING, cpu_max_text, NULL,
        "processors of a runner (\"1.5\"); needs cgroup v2", "N"),
    SET("files-max", "LOCAL_FILES_MAX", FLAG_INT, files_max, "0", "open files of a runner; 0 = ours", "N"),
    SET("log-max", "LOCAL_LOG_MAX", FLAG_SIZE, log_max, "10M", "size of a runner's log before it is rotated",
        "SIZE"),
    SET("stop-grace", "LOCAL_STOP_GRACE", FLAG_DURATION, stop_grace, "10s", "between SIGTERM and SIGKILL",
        "DURATION"),
    SET("health-timeout", "LOCAL_HEALTH_TIMEOUT", FLAG_DURATION, health_timeout, "15s",
        "for a runner's first answer", "DURATION"),
    SET("adopt", "LOCAL_ADOPT", FLAG_BOOL, adopt, "true", "take over runners of an earlier control plane",
        NULL),
    SET("stop-on-exit", "LOCAL_STOP_ON_EXIT", FLAG_BOOL, stop_on_exit, "false", "end all runners on SIGTERM",
        NULL),
    SET("sandbox", "LOCAL_SANDBOX", FLAG_STRING, sandbox_text, "auto", "auto, landlock, userns, none",
        "KIND"),
    SET("sandbox-write", "LOCAL_SANDBOX_WRITE", FLAG_STRING, sandbox_write,
        "/tmp:/var/tmp:/dev/shm:~/.claude:~/.claude.json:~/.gemini:~/.cache:~/.npm",
        "what runners may write beside their workspace; what does not exist is skipped", "PATH:..."),
    SET("sandbox-hide", "LOCAL_SANDBOX_HIDE", FLAG_STRING, sandbox_hide,
        "~/.config/ambient:~/.local/share/ambient",
        "what runners may not open, beside other sessions and the token file", "PATH:..."),
    SET("listen-fds", "LOCAL_LISTEN_FDS", FLAG_STRING, listen_fds_text, "auto",
        "hand runners their listening socket: true, false; auto: ambient-runner only", "BOOL"),

    SET("proxy", "LOCAL_PROXY_ADDR", FLAG_STRING, proxy_address, "127.0.0.1:9080",
        "way to the runners; off = none", "HOST:PORT"),
    SET("token-listen", "CP_TOKEN_LISTEN_ADDR", FLAG_STRING, token_address, TOKEN_ADDRESS,
        "token endpoint for runners of the reference; off = none", "HOST:PORT"),
    SET(NULL, "CP_TOKEN_URL", FLAG_STRING, token_url, NULL, "its URL as runners see it", NULL),
    SET("token-endpoint", "LOCAL_TOKEN_ENDPOINT", FLAG_STRING, token_endpoint_text, "auto",
        "tell runners of it: true, false; auto: all but ambient-runner", "BOOL"),
    SET("metrics", "CP_METRICS_ADDR", FLAG_STRING, metrics_address, NULL, "/healthz, /readyz, /metrics",
        "HOST:PORT"),
    SET("ports-file", NULL, FLAG_STRING, ports_file, NULL, "JSON file for the ports that were bound", "FILE"),
    SET("version", NULL, FLAG_BOOL, version, "false", "print the version", NULL),

    SET(NULL, "KUBECONFIG", FLAG_IGNORED, mode_text, NULL, NULL, NULL), /* read by kube_config_find() */
#include "config-kube.def"
    {0},
};

/* ---- command lines ---- */

static int split_word(const char **at, Buf *word, Err *err)
{
    char quote = 0;
    for (; **at && (quote || (**at != ' ' && **at != '\t')); ++*at) {
        char c = **at;
        if (c == '\\' && quote != '\'' && (*at)[1])
            buf_addc(word, *++*at);
        else if (quote ? c == quote : (c == '"' || c == '\''))
            quote = quote ? 0 : c;
        else
            buf_addc(word, c);
    }
    return quote ? err_set(err, ERR_INVALID, "a quote is not closed") : 0;
}

int command_split(const char *text, StrVec *ret, Err *err)
{
    for (const char *at = text; *(at += strspn(at, " \t"));) {
        CLEANUP_BUF Buf word = BUF_INIT(64 * 1024);
        int rc = split_word(&at, &word, err);
        if (rc < 0)
            return rc;
        strvec_take(ret, buf_take(&word));
    }
    return ret->len ? 0 : err_set(err, ERR_INVALID, "empty command");
}

/* ---- what follows from the settings ---- */

static int derive_mode(Config *c, Err *err)
{
    if (strcmp(c->mode_text, "process") == 0 || strcmp(c->mode_text, "local") == 0)
        c->mode = MODE_PROCESS;
    else if (strcmp(c->mode_text, "test") == 0)
        c->mode = MODE_TEST;
    else if (strcmp(c->mode_text, "kube") == 0)
        c->mode = MODE_KUBE;
    else
        return err_set(err, ERR_USAGE, "MODE=%s: must be process, local, test or kube", c->mode_text);
    return 0;
}

static int derive_token(Config *c, Err *err)
{
    c->oidc = c->oidc_client_id && !secret_is_empty(c->oidc_client_secret);
    if (c->oidc && !c->oidc_token_url)
        return err_set(err, ERR_USAGE, "OIDC_CLIENT_ID needs OIDC_TOKEN_URL");
    if (!c->oidc && !c->api_token_file && secret_is_empty(c->api_token))
        return err_set(err, ERR_USAGE,
                       "no token for the API server: set AMBIENT_API_TOKEN, --token-file, or "
                       "OIDC_CLIENT_ID and OIDC_CLIENT_SECRET");
    return 0;
}

static char *home_path(const char *path)
{
    const char *home = getenv("HOME");
    if (*path != '~' || !home)
        return xstrdup(path);
    return path_join(home, path + 1);
}

/* As it is named, and as it really is. */
static void add_hidden(Config *c, const char *path)
{
    if (!path || *path != '/')
        return;
    CLEANUP_FREE char *real = realpath(path, NULL);
    strvec_add(&c->hidden, path);
    if (real && strcmp(real, path) != 0)
        strvec_add(&c->hidden, real);
}

static void derive_hidden(Config *c)
{
    add_hidden(c, c->root);
    add_hidden(c, c->api_token_file);
    for (Str rest = str_from(c->sandbox_hide); rest.ptr;) {
        CLEANUP_FREE char *raw = str_dup(str_cut(&rest, ':'));
        CLEANUP_FREE char *path = home_path(raw);
        add_hidden(c, path);
    }
}

static bool holds_hidden(const Config *c, const char *path)
{
    size_t n = strlen(path);
    for (size_t i = 0; i < c->hidden.len; i++) {
        const char *h = c->hidden.ptr[i];
        if (strncmp(h, path, n) == 0 && (h[n] == '/' || h[n] == '\0'))
            return true;
    }
    return false;
}

/* What is hidden below a place that may be written to would have to be told apart file by file: no rule can.
 */
static void add_writable(Config *c, const char *path)
{
    if (*path != '/' || !file_exists(path))
        return;
    if (holds_hidden(c, path))
        c->private_tmp = true;
    else
        strvec_add(&c->writable, path);
}

static void derive_writable(Config *c)
{
    for (Str rest = str_from(c->sandbox_write); rest.ptr;) {
        Str one = str_cut(&rest, ':');
        if (one.len == 0)
            continue;
        CLEANUP_FREE char *raw = str_dup(one);
        CLEANUP_FREE char *path = home_path(raw);
        add_writable(c, path);
    }
    const char *tmp = getenv("TMPDIR");
    if (tmp)
        add_writable(c, tmp);
}

/* "auto" depends on whether the runner is our own, which knows how to take what it is offered. */
static int derive_auto(const char *text, bool when_auto, const char *name, bool *ret, Err *err)
{
    if (strcmp(text, "auto") == 0)
        *ret = when_auto;
    else if (strcmp(text, "true") == 0 || strcmp(text, "1") == 0)
        *ret = true;
    else if (strcmp(text, "false") == 0 || strcmp(text, "0") == 0)
        *ret = false;
    else
        return err_set(err, ERR_USAGE, "%s=%s: must be true, false or auto", name, text);
    return 0;
}

static int derive_runner(Config *c, Err *err)
{
    if (command_split(c->runner_command, &c->command, err) < 0)
        return err_wrap(err, "LOCAL_RUNNER_COMMAND");
    const char *slash = strrchr(c->command.ptr[0], '/');
    bool ours = strcmp(slash ? slash + 1 : c->command.ptr[0], "ambient-runner") == 0;
    int rc = derive_auto(c->listen_fds_text, ours, "LOCAL_LISTEN_FDS", &c->listen_fds, err);
    if (rc == 0)
        rc = derive_auto(c->token_endpoint_text, !ours, "LOCAL_TOKEN_ENDPOINT", &c->token_endpoint, err);
    return rc;
}

static int derive_root(Config *c, Err *err)
{
    const char *home = getenv("HOME");
    if (!c->root)
        c->root = path_join(home && *home == '/' ? home : "/tmp", ".ambient/workspaces");
    if (*c->root != '/')
        return err_set(err, ERR_USAGE, "LOCAL_WORKSPACE_ROOT=%s: must be an absolute path", c->root);
    if ((c->uid >= 0) != (c->gid >= 0) || ((c->uid >= 0) && geteuid() != 0))
        return err_set(err, ERR_USAGE, "LOCAL_RUNNER_UID and LOCAL_RUNNER_GID go together and need root");
    return 0;
}

static int derive_sandbox(Config *c, Err *err)
{
    SandboxMode wanted;
    if (sandbox_mode_parse(str_from(c->sandbox_text), &wanted) < 0)
        return err_set(err, ERR_USAGE, "LOCAL_SANDBOX=%s: must be auto, landlock, userns or none",
                       c->sandbox_text);
    c->sandbox = sandbox_choose(wanted);
    if (!sandbox_works(c->sandbox))
        return err_set(err, ERR_USAGE, "LOCAL_SANDBOX=%s: this system does not offer it", c->sandbox_text);
    if (c->sandbox == SANDBOX_NONE)
        return 0;
    derive_hidden(c);
    derive_writable(c);
    return 0;
}

static bool is_true(const char *text)
{
    return text && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
}

static int derive_grants(Config *c, Err *err)
{
    if (token_mode_parse(str_from(c->tokens_text), &c->tokens) < 0)
        return err_set(err, ERR_USAGE, "SESSION_TOKENS=%s: must be auto, on or off", c->tokens_text);
    if (grant_mode_parse(str_from(c->grants_text), &c->grants) < 0)
        return err_set(err, ERR_USAGE, "TOKEN_READER_GRANTS=%s: must be auto, on or off", c->grants_text);
    return 0;
}

/* Pods would wait for it forever. */
static int check_endpoint_listens(const Config *c, Err *err)
{
    bool off = !*c->token_address || strcmp(c->token_address, "off") == 0;
    if (off && !c->kube.token_secret)
        return err_set(err, ERR_USAGE, "RUNNER_TOKEN_MODE=endpoint: needs CP_TOKEN_LISTEN_ADDR");
    return 0;
}

/* As the reference does: the authority of the cluster's own services counts beside the public ones. */
static int derive_roots(Config *c, Err *err)
{
    return c->ca_file ? 0 : ca_bundle_make(CA_PUBLIC, CA_SERVICE, &c->ca_file, err);
}

/* Pods reach it, so it is not on the loopback interface, and its URL is our Service's. */
static int derive_endpoint(Config *c, Err *err)
{
    Url u;
    if (strcmp(c->token_address, TOKEN_ADDRESS) == 0) {
        free(c->token_address);
        c->token_address = xstrdup(":8080");
    }
    if (!c->token_url)
        c->token_url = xasprintf("%s://ambient-control-plane.%s.svc:8080/token",
                                 c->kube.token_cert ? "https" : "http", c->kube.runtime_ns);
    if (!c->kube.token_cert != !c->kube.token_cert_key)
        return err_set(err, ERR_USAGE, "CP_TOKEN_TLS_CERT_FILE and CP_TOKEN_TLS_KEY_FILE go together");
    if (url_parse(str_from(c->token_url), &u, err) < 0)
        return err_wrap(err, "CP_TOKEN_URL");
    if (u.has_userinfo)
        return err_set(err, ERR_USAGE, "CP_TOKEN_URL: a user name is not allowed");
    return check_endpoint_listens(c, err);
}

/* A sidecar takes a session's token only to an address inside the cluster, or over TLS: it would refuse to
   start, in each pod. */
static int check_sidecar_api(const Config *c, Err *err)
{
    const char *text = c->kube.mcp_api_url ? c->kube.mcp_api_url : c->api_url;
    Url u;
    if (!kube_sidecars_wanted(&c->kube))
        return 0;
    if (url_parse(str_from(text), &u, err) < 0)
        return err_wrap(err, "MCP_API_SERVER_URL");
    if (!u.has_userinfo && (url_is_near(&u) || str_eqz(u.scheme, "https")))
        return 0;
    return err_set(
        err, ERR_USAGE,
        "MCP_API_SERVER_URL=%s: sidecars need https, or a host that ends with .svc or .svc.cluster.local",
        u.has_userinfo ? "(with a user name)" : text);
}

static int derive(Config *c, Err *err)
{
    int rc = derive_mode(c, err);
    if (rc == 0)
        rc = derive_grants(c, err);
    if (rc == 0)
        rc = derive_token(c, err);
    if (rc == 0)
        rc = port_range_parse(c->port_range_text, &c->ports, err);
    if (rc == 0 && c->cpu_max_text)
        rc = cgroups_parse_cpu(c->cpu_max_text, &c->cpu_max, err);
    if (rc == 0)
        rc = derive_runner(c, err);
    if (rc == 0)
        rc = derive_root(c, err);
    if (rc == 0)
        rc = derive_sandbox(c, err);
    if (rc == 0)
        rc = kube_settings_derive(&c->kube, err);
    if (rc == 0 && c->mode == MODE_KUBE)
        rc = derive_endpoint(c, err);
    if (rc == 0 && c->mode == MODE_KUBE)
        rc = check_sidecar_api(c, err);
    if (rc == 0 && c->mode == MODE_KUBE)
        rc = derive_roots(c, err);
    c->use_vertex = is_true(c->use_vertex_text);
    if (!c->backend_api_url)
        c->backend_api_url = xstrdup(c->api_url);
    return rc;
}

int config_load(Config *c, int argc, char **argv, Err *err)
{
    *c = (Config){0};
    int rc = flags_parse(table, c, argc, argv, NULL, err);
    if (rc < 0)
        return rc;
    rc = c->version ? 0 : derive(c, err);
    if (rc < 0)
        config_free(c);
    return rc;
}

void config_free(Config *c)
{
    flags_free(table, c);
    strvec_done(&c->command);
    strvec_done(&c->writable);
    strvec_done(&c->hidden);
}
