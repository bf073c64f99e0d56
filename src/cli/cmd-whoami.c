/* whoami, version: who the user is, and what answers. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "http/client.h"
#include "jwt.h"
#include "options.h"
#include "output.h"
#include "renew.h"

static void line(const char *label, const char *value)
{
    if (!value || !*value)
        return;
    CLEANUP_BUF Buf clean = BUF_INIT(8192);
    clean_text(&clean, str_from(value), false);
    printf("%-12s%s\n", label, clean.data ? clean.data : "");
}

/* ---- what the server says ---- */

typedef struct Asked {
    bool done;
    char *user; /* NULL = it did not say */
    Err err;
} Asked;

static void on_self(void *arg, const ClientAnswer *a, const Err *err)
{
    Asked *q = arg;
    q->done = true;
    if (err)
        q->err = *err;
    else if (json_get_strv(a->body, "username").len)
        q->user = str_dup(json_get_strv(a->body, "username"));
}

/* One try, and not for long: who has no network still wants to know what the token says. */
static void ask_who(App *app, Asked *q)
{
    ClientRequest r = {.method = "GET", .path = "/access_reviews/self", .timeout = 5 * USEC_PER_SEC};
    if (app_client(app, &q->err) < 0)
        return;
    client_request(app->client, &r, on_self, q);
    client_wait(app->loop, &q->done);
}

static void print_jwt(const Jwt *jwt)
{
    char when[RFC3339_MAX];
    line("User:", jwt->username);
    line("Subject:", jwt->subject);
    line("Email:", jwt->email);
    if (jwt->exp.us) {
        bool expired = jwt->exp.us < clock_wall(&clock_system).us;
        CLEANUP_FREE char *text =
            xasprintf("%s%s", rfc3339_format(jwt->exp, when).ptr, expired ? " (expired)" : "");
        line("Expires:", text);
    }
}

static int whoami_json(App *app, const Jwt *jwt, bool is_jwt)
{
    CLEANUP_JSON json_t *j = json_object();
    const char *pairs[][2] = {{"user", jwt->username},
                              {"subject", jwt->subject},
                              {"email", jwt->email},
                              {"api_url", config_get(app->cfg, "api_url", NULL)},
                              {"project", config_get(app->cfg, "project", NULL)},
                              {"context", config_context(app->cfg)}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (pairs[i][1])
            json_object_set_new(j, pairs[i][0], json_strv(str_from(pairs[i][1])));
    }
    json_object_set_new(j, "token_type", json_string(is_jwt ? "jwt" : "opaque"));
    CLEANUP_BUF Buf b = BUF_INIT(65536);
    json_write_pretty(&b, j, 2);
    fputs(b.data, stdout);
    return 0;
}

/* A script that takes the token shall get one that lives. */
static int show_token(App *app, Err *err)
{
    int rc = app_client(app, err);
    if (rc == 0)
        fputs(config_get(app->cfg, "access_token", NULL), stdout);
    return rc;
}

static void print_place(App *app)
{
    line("API URL:", config_get(app->cfg, "api_url", NULL));
    line("Project:", config_get(app->cfg, "project", NULL));
    line("Context:", config_context(app->cfg));
    line("Login:", config_get(app->cfg, "login_method", NULL));
    if (config_get_bool(app->cfg, "insecure_tls_verify"))
        line("TLS:", "certificates are NOT verified");
}

/* A token that says nothing is the server's to know. */
static int print_who(App *app, const Args *a, const char *token, Jwt *jwt, Err *err)
{
    Format f = FORMAT_TABLE;
    bool is_jwt = jwt_read(str_from(token), jwt) == 0, verify = opt_bool(a, "verify");
    Asked q = {0};
    int rc = format_of(a, &f, err);
    if (rc < 0)
        return rc;
    if (verify || !is_jwt)
        ask_who(app, &q);
    if (q.user && (verify || !jwt->username)) {
        free(jwt->username);
        jwt->username = q.user;
    } else {
        free(q.user);
    }
    if (verify && q.err.code)
        return err_set(err, q.err.code, "%s", q.err.msg);
    if (f == FORMAT_JSON)
        return whoami_json(app, jwt, is_jwt);
    print_jwt(jwt);
    if (!is_jwt)
        line("Token type:", strncmp(token, "sha256~", 7) == 0 ? "OpenShift service account" : "opaque");
    print_place(app);
    if (verify)
        line("Server:", "accepts the token");
    return 0;
}

static int cmd_whoami(App *app, const Args *a, Err *err)
{
    const char *token = config_get(app->cfg, "access_token", NULL);
    if (!token)
        return err_set(err, ERR_UNAUTHENTICATED, "not logged in; run 'acpctl login' first");
    if (opt_bool(a, "show-token"))
        return show_token(app, err);
    Jwt jwt = {0};
    CLEANUP_FREE char *copy = xstrdup(token); /* asking the server may renew it */
    int rc = print_who(app, a, copy, &jwt, err);
    secret_erase(copy, strlen(copy));
    jwt_done(&jwt);
    return rc;
}

/* ---- version ---- */

typedef struct ServerVersion {
    bool done;
    json_t *body;
    char why[512];
} ServerVersion;

static void on_version(void *arg, const HttpResponse *r, const Err *err)
{
    ServerVersion *v = arg;
    v->done = true;
    if (err)
        snprintf(v->why, sizeof(v->why), "%s", err->msg);
    else if (r->status != 200 || json_parse(r->body, &v->body, NULL) < 0)
        snprintf(v->why, sizeof(v->why), "HTTP %d", r->status);
}

static void ask_server(App *app, ServerVersion *v)
{
    const char *flag = opt_str(app->args, "api-url");
    const char *base = flag ? flag : config_get(app->cfg, "api_url", NULL);
    HttpClientOptions o = {
        .user_agent = "acpctl/" AMBIENT_VERSION,
        .ca_file = config_get(app->cfg, "ca_file", NULL),
        .insecure_skip_verify = config_get_bool(app->cfg, "insecure_tls_verify") ||
                                opt_bool(app->args, "insecure-skip-tls-verify"),
    };
    HttpClient *c = NULL;
    Err err = {0};
    if (http_client_new(app->loop, &o, &c, &err) < 0) {
        snprintf(v->why, sizeof(v->why), "%s", err.msg);
        return;
    }
    size_t n = strlen(base);
    CLEANUP_FREE char *url =
        xasprintf("%.*s/api/ambient/v1/version", (int)(n && base[n - 1] == '/' ? n - 1 : n), base);
    HttpRequest req = {.method = "GET", .url = url, .timeout = 5 * USEC_PER_SEC};
    http_send(c, &req, on_version, v);
    client_wait(app->loop, &v->done);
    http_client_free(c);
}

static int cmd_version(App *app, const Args *a, Err *err)
{
    Format f = FORMAT_TABLE;
    int rc = format_of(a, &f, err);
    if (rc < 0)
        return rc;
    ServerVersion v = {0};
    if (!opt_bool(a, "client"))
        ask_server(app, &v);
    CLEANUP_JSON json_t *server = v.body;
    if (f == FORMAT_JSON) {
        CLEANUP_JSON json_t *j = json_pack("{s:{s:s}}", "client", "version", AMBIENT_VERSION);
        if (server)
            json_object_set(j, "server", server);
        return print_json(j);
    }
    puts("Client: " AMBIENT_VERSION);
    if (server)
        printf("Server: %s (tag: %s, built: %s)\n", json_get_str(server, "version"),
               json_get_str(server, "git_tag"), json_get_str(server, "build_time"));
    else if (!opt_bool(a, "client"))
        printf("Server: unavailable (%s)\n", v.why);
    return 0;
}

static const Opt opts_whoami[] = {
    OPT("show-token", BOOL, "print the token and nothing else", .letter = 't'),
    OPT("verify", BOOL, "ask the server who it thinks that you are"),
    OPT("output", STR, "output format: json", .letter = 'o', .values = "json"),
    {0},
};
static const Opt opts_version[] = {
    OPT("client", BOOL, "do not ask the server"),
    OPT("output", STR, "output format: json", .letter = 'o', .values = "json"),
    {0},
};

const Command commands_whoami[] = {
    {.words = "whoami",
     .usage = "",
     .help = "Show who is logged in",
     .opts = opts_whoami,
     .run = cmd_whoami,
     .examples = "whoami"},
    {.words = "version",
     .usage = "",
     .help = "Print versions",
     .opts = opts_version,
     .run = cmd_version,
     .examples = "version --client"},
    {0},
};
