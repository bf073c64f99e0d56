/* login, logout, whoami, version: who the user is, locally and for the server. */
#include "cmd.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "http/client.h"
#include "http/url.h"
#include "jwt.h"
#include "options.h"
#include "output.h"

/* ---- reading a token without showing it ---- */

static int read_line(FILE *in, Buf *out, Err *err)
{
    int c;
    while ((c = fgetc(in)) != EOF && c != '\n')
        buf_addc(out, (char)c);
    if (buf_check(out, err) < 0)
        return -ERR_TOO_LARGE;
    Str s = str_trim(buf_str(out));
    if (!s.len)
        return err_set(err, ERR_USAGE, "no token given");
    return 0;
}

static int prompt_token(Buf *out, Err *err)
{
    struct termios old, quiet;
    bool tty = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &old) == 0;
    if (tty) {
        quiet = old;
        quiet.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet); /* first: what answers the prompt is not flushed away */
        fputs("Token (not shown): ", stderr);
    }
    int rc = read_line(stdin, out, err);
    if (tty) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &old);
        fputc('\n', stderr);
    }
    return rc;
}

static int login_token(const Args *a, Buf *out, Err *err)
{
    const char *file = opt_str(a, "token-file"), *word = opt_str(a, "token");
    if (file && strcmp(file, "-") != 0) {
        int rc = file_read(file, out, err);
        return rc < 0 ? err_wrap(err, "--token-file") : 0;
    }
    if (file || !word || strcmp(word, "-") == 0 || strcmp(word, "@-") == 0)
        return prompt_token(out, err);
    fputs("Warning: a token on the command line can be seen by others; use --token-file or --token -\n",
          stderr);
    buf_addz(out, word);
    return 0;
}

static void warn_expiry(Str token)
{
    Jwt jwt = {0};
    char when[RFC3339_MAX];
    if (jwt_read(token, &jwt) < 0)
        return;
    int64_t left = jwt.exp.us ? jwt.exp.us - clock_wall(&clock_system).us : INT64_MAX;
    if (left <= 0)
        fprintf(stderr, "Warning: token is already expired (at %s)\n", rfc3339_format(jwt.exp, when).ptr);
    else if (left < 86400LL * 1000000)
        fprintf(stderr, "Warning: token expires soon (at %s)\n", rfc3339_format(jwt.exp, when).ptr);
    jwt_done(&jwt);
}

static int check_url(const char *url, Err *err)
{
    Url u;
    if (url_parse(str_from(url), &u, NULL) < 0 || !u.host.len)
        return err_set(
            err, ERR_USAGE,
            "invalid URL \"%s\": must be a valid URL with scheme and host (e.g. https://api.corp.net)", url);
    return 0;
}

/* A login to another server is another context; the same server's context is renewed. */
static int pick_context(App *app, const Args *a, const char *url, Err *err)
{
    const char *name = opt_str(a, "name");
    if (name)
        return config_use_context(app->cfg, name, true, err);
    const char *key;
    json_t *ctx;
    json_object_foreach(config_contexts(app->cfg), key, ctx)
    {
        const char *server = json_get_str(ctx, "server");
        if (server && strcmp(server, url) == 0)
            return config_use_context(app->cfg, key, false, err);
    }
    Url u;
    if (!config_contexts(app->cfg) || url_parse(str_from(url), &u, NULL) < 0)
        return 0;
    CLEANUP_FREE char *host =
        str_eqz(u.host, "localhost") || str_starts(u.host, STR("127.")) ? xstrdup("local") : str_dup(u.host);
    CLEANUP_FREE char *fresh = json_get_obj(config_contexts(app->cfg), host)
                                   ? xasprintf("%s-" STR_FMT, host, STR_ARG(u.port))
                                   : xstrdup(host);
    return config_use_context(app->cfg, fresh, true, err);
}

static int cmd_login(App *app, const Args *a, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(64 * 1024);
    const char *url = arg_at(a, 0) ? arg_at(a, 0) : opt_str(a, "url");
    int rc = url ? check_url(url, err) : 0;
    if (rc == 0)
        rc = login_token(a, &text, err);
    if (rc == 0 && url)
        rc = pick_context(app, a, url, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *token = str_dup(str_trim(buf_str(&text)));
    secret_erase(text.data, text.len);
    bool insecure = opt_bool(a, "insecure-skip-tls-verify");
    if (url)
        config_set(app->cfg, "api_url", url);
    config_set(app->cfg, "access_token", token);
    static const char *const gone[] = {"refresh_token", "issuer_url", "client_id"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        config_set(app->cfg, gone[i], NULL);
    config_set_bool(app->cfg, "insecure_tls_verify", insecure);
    if (opt_given(a, "project"))
        config_set(app->cfg, "project", opt_str(a, "project"));
    if (insecure)
        fputs("Warning: TLS certificate verification is disabled (--insecure-skip-tls-verify)\n", stderr);
    warn_expiry(str_from(token));
    secret_erase(token, strlen(token));
    rc = config_save(app->cfg, err);
    if (rc == 0)
        printf("Login successful. Configuration saved to %s\n", config_path(app->cfg));
    return rc;
}

static int cmd_logout(App *app, const Args *a, Err *err)
{
    static const char *const gone[] = {"access_token", "refresh_token"};
    for (size_t i = 0; i < ARRAY_LEN(gone); i++)
        config_set(app->cfg, gone[i], NULL);
    int rc = config_save(app->cfg, err);
    if (rc < 0)
        return rc;
    puts("Logged out successfully.");
    if (getenv("AMBIENT_TOKEN"))
        fputs("Note: AMBIENT_TOKEN is set and still logs you in\n", stderr);
    return 0;
}

/* ---- whoami ---- */

static void line(const char *label, const char *value)
{
    if (!value || !*value)
        return;
    CLEANUP_BUF Buf clean = BUF_INIT(8192);
    clean_text(&clean, str_from(value), false);
    printf("%-12s%s\n", label, clean.data ? clean.data : "");
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

static int whoami_json(App *app, const Jwt *jwt)
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
    json_object_set_new(j, "token_type", json_string(jwt->username ? "jwt" : "opaque"));
    CLEANUP_BUF Buf b = BUF_INIT(65536);
    json_write_pretty(&b, j, 2);
    fputs(b.data, stdout);
    return 0;
}

static int cmd_whoami(App *app, const Args *a, Err *err)
{
    const char *token = config_get(app->cfg, "access_token", NULL);
    if (!token)
        return err_set(err, ERR_UNAUTHENTICATED, "not logged in; run 'acpctl login' first");
    if (opt_bool(a, "show-token")) {
        fputs(token, stdout);
        return 0;
    }
    Jwt jwt = {0};
    bool is_jwt = jwt_read(str_from(token), &jwt) == 0;
    Format f = FORMAT_TABLE;
    int rc = format_of(a, &f, err);
    if (rc == 0 && f == FORMAT_JSON) {
        rc = whoami_json(app, &jwt);
    } else if (rc == 0) {
        if (is_jwt)
            print_jwt(&jwt);
        else
            line("Token type:", strncmp(token, "sha256~", 7) == 0 ? "OpenShift service account" : "opaque");
        line("API URL:", config_get(app->cfg, "api_url", NULL));
        line("Project:", config_get(app->cfg, "project", NULL));
        line("Context:", config_context(app->cfg));
        if (config_get_bool(app->cfg, "insecure_tls_verify"))
            line("TLS:", "certificates are NOT verified");
    }
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

static const Opt opts_login[] = {
    OPT("token", STR, "token; - reads it from standard input"),
    OPT("token-file", STR, "file with the token; - is standard input", .values = "FILE"),
    OPT("url", STR, "server"),
    OPT("project", STR, "current project"),
    OPT("name", STR, "name of the context (default: from the host)"),
    {0},
};
static const Opt opts_whoami[] = {
    OPT("show-token", BOOL, "print the token and nothing else", .letter = 't'),
    OPT("output", STR, "output format: json", .letter = 'o', .values = "json"),
    {0},
};
static const Opt opts_version[] = {
    OPT("client", BOOL, "do not ask the server"),
    OPT("output", STR, "output format: json", .letter = 'o', .values = "json"),
    {0},
};

const Command commands_login[] = {
    {.words = "login",
     .usage = "[SERVER_URL]",
     .min = 0,
     .max = 1,
     .help = "Log in with a token",
     .opts = opts_login,
     .run = cmd_login,
     .examples = "login https://ambient.corp.net --token-file token"},
    {.words = "logout", .usage = "", .help = "Forget the token", .run = cmd_logout, .examples = "logout"},
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
