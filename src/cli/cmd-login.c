/* login, logout: tokens come and go. */
#include "cmd.h"

#include <stdio.h>
#include <string.h>
#include "base/mem.h"
#include "http/url.h"
#include "jwt.h"
#include "login.h"
#include "options.h"
#include "output.h"
#include "renew.h"
#include "secret-input.h"

#define DEFAULT_ISSUER "https://sso.redhat.com/auth/realms/redhat-external"
#define DEFAULT_CLIENT "ocm-cli"

typedef struct Method {
    const char *opt, *name;
    int (*run)(const LoginFlow *f, OidcTokens *ret, Err *err);
} Method;

static int login_service(const LoginFlow *f, OidcTokens *ret, Err *err)
{
    CLEANUP_BUF Buf form = BUF_INIT((size_t)256 * 1024);
    CLEANUP_JSON json_t *body = NULL;
    form_add(&form, "grant_type", STR("client_credentials"));
    if (*f->scopes)
        form_add(&form, "scope", str_from(f->scopes));
    int rc = oidc_ask(f->oidc, oidc_endpoint(f->oidc, "token_endpoint"), &form, &body, err);
    return rc < 0 ? rc : oidc_tokens_read(body, ret, err);
}

static const Method methods[] = {
    {"use-auth-code", "auth-code", login_browser},
    {"device-code", "device-code", login_device},
    {"client-credentials", "client-credentials", login_service},
};

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

/* What is stored besides the tokens, so that they can be renewed. */
static void store_issuer(App *app, const Args *a, const Method *m, const LoginFlow *f)
{
    config_set(app->cfg, "login_method", m->name);
    config_set(app->cfg, "issuer_url", oidc_issuer(f->oidc));
    config_set(app->cfg, "client_id", f->client_id);
    if (opt_given(a, "scopes"))
        config_set(app->cfg, "scopes", opt_str(a, "scopes"));
    const char *file = opt_str(a, "client-secret-file");
    CLEANUP_FREE char *path = file && strcmp(file, "-") != 0 ? realpath(file, NULL) : NULL;
    if (path)
        config_set(app->cfg, "client_secret_file", path);
}

static char *setting(App *app, const Args *a, const char *opt, const char *key, const char *dflt)
{
    const char *given = opt_str(a, opt), *stored = config_get(app->cfg, key, NULL);
    return xstrdup(given ? given : stored ? stored : dflt);
}

static int client_secret(const Args *a, const Method *m, Secret **ret, Err *err)
{
    const SecretInput in = {
        .opt = "client-secret", .what = "client secret", .env = "AMBIENT_CLIENT_SECRET", .prompt = NULL};
    int rc = secret_input(a, &in, ret, err);
    if (rc == 0 && !*ret && m->run == login_service)
        return err_set(err, ERR_USAGE,
                       "--client-secret-file, --client-secret or AMBIENT_CLIENT_SECRET is required with "
                       "--client-credentials");
    return rc;
}

/* Service accounts ask for nothing special unless told so; people need the "openid" of an OpenID login. */
static char *scopes_for(const Args *a, const Method *m, const Oidc *oidc)
{
    const char *given = opt_str(a, "scopes");
    return m->run == login_service && !given ? xstrdup("") : oidc_scopes(oidc, given);
}

static int login_oidc(App *app, const Args *a, const Method *m, Err *err)
{
    CLEANUP_FREE char *issuer = setting(app, a, "issuer-url", "issuer_url", DEFAULT_ISSUER);
    CLEANUP_FREE char *client = setting(app, a, "client-id", "client_id", DEFAULT_CLIENT);
    CLEANUP(secret_freep) Secret *secret = NULL;
    CLEANUP(oidc_freep) Oidc *oidc = NULL;
    OidcTokens tokens = {0};
    int rc = client_secret(a, m, &secret, err);
    OidcOptions o = {issuer, client, secret, config_get(app->cfg, "ca_file", NULL)};
    if (rc == 0)
        rc = oidc_new(app->loop, &o, &oidc, err);
    if (rc == 0)
        rc = oidc_find(oidc, err);
    if (rc < 0)
        return err_wrap(err, "%s login", m->name);
    CLEANUP_FREE char *scopes = scopes_for(a, m, oidc);
    LoginFlow f = {app->loop, oidc, client, scopes, !opt_bool(a, "no-browser")};
    rc = m->run(&f, &tokens, err);
    if (rc < 0)
        return err_wrap(err, "%s login", m->name);
    renew_forget(app->cfg);
    renew_store(app->cfg, &tokens, clock_wall(&clock_system));
    store_issuer(app, a, m, &f);
    oidc_tokens_done(&tokens);
    return 0;
}

static int login_static(App *app, const Args *a, Err *err)
{
    CLEANUP(secret_freep) Secret *token = NULL;
    const SecretInput in = {.opt = "token", .what = "token", .env = NULL, .prompt = "Token"};
    int rc = secret_input(a, &in, &token, err);
    if (rc < 0)
        return rc;
    OidcTokens tokens = {.access = token};
    warn_expiry(secret_reveal(token));
    renew_forget(app->cfg);
    renew_store(app->cfg, &tokens, clock_wall(&clock_system));
    return 0;
}

/* *ret NULL = a token that the user has. */
static int pick_method(const Args *a, const Method **ret, Err *err)
{
    unsigned n = opt_given(a, "token") || opt_given(a, "token-file");
    *ret = NULL;
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        if (!opt_bool(a, methods[i].opt))
            continue;
        *ret = &methods[i];
        n++;
    }
    if (n > 1)
        return err_set(
            err, ERR_USAGE,
            "exactly one of --token, --use-auth-code, --device-code, or --client-credentials is required");
    return 0;
}

static void set_connection(App *app, const Args *a, const char *url)
{
    bool insecure = opt_bool(a, "insecure-skip-tls-verify");
    if (url)
        config_set(app->cfg, "api_url", url);
    config_set_bool(app->cfg, "insecure_tls_verify", insecure);
    if (opt_given(a, "certificate-authority"))
        config_set(app->cfg, "ca_file", opt_str(a, "certificate-authority"));
    if (opt_given(a, "project"))
        config_set(app->cfg, "project", opt_str(a, "project"));
    if (insecure)
        fputs("Warning: TLS certificate verification is disabled (--insecure-skip-tls-verify)\n", stderr);
}

static int cmd_login(App *app, const Args *a, Err *err)
{
    const char *url = arg_at(a, 0) ? arg_at(a, 0) : opt_str(a, "url");
    const Method *method = NULL;
    int rc = url ? check_url(url, err) : 0;
    if (rc == 0)
        rc = pick_method(a, &method, err);
    if (rc == 0 && url)
        rc = pick_context(app, a, url, err);
    if (rc < 0)
        return rc;
    set_connection(app, a, url);
    rc = method ? login_oidc(app, a, method, err) : login_static(app, a, err);
    if (rc == 0)
        rc = config_save(app->cfg, err);
    if (rc == 0)
        printf("Login successful. Configuration saved to %s\n", config_path(app->cfg));
    return rc;
}

/* ---- logout ---- */

/* RFC 7009 where there is an endpoint for it; Keycloak's logout otherwise. */
static int revoke_tokens(App *app, Err *err)
{
    const char *refresh = config_get(app->cfg, "refresh_token", NULL);
    const char *access = config_get(app->cfg, "access_token", NULL), *token = refresh ? refresh : access;
    CLEANUP(oidc_freep) Oidc *oidc = NULL;
    CLEANUP(secret_freep) Secret *secret = secret_from_env("AMBIENT_CLIENT_SECRET");
    CLEANUP_BUF Buf form = BUF_INIT((size_t)256 * 1024);
    CLEANUP_JSON json_t *body = NULL;
    const char *file = config_get(app->cfg, "client_secret_file", NULL);
    int rc = !secret && file ? secret_from_file(file, &secret, err) : 0;
    OidcOptions o = {config_get(app->cfg, "issuer_url", NULL), config_get(app->cfg, "client_id", NULL),
                     secret, config_get(app->cfg, "ca_file", NULL)};
    if (rc == 0)
        rc = oidc_new(app->loop, &o, &oidc, err);
    if (rc == 0)
        rc = oidc_find(oidc, err);
    if (rc < 0)
        return rc;
    const char *endpoint = oidc_endpoint(oidc, "revocation_endpoint");
    if (!endpoint)
        return err_set(err, ERR_UNIMPLEMENTED, "the issuer offers no revocation");
    form_add(&form, "token", str_from(token));
    form_add(&form, "token_type_hint", refresh ? STR("refresh_token") : STR("access_token"));
    return oidc_ask(oidc, endpoint, &form, &body, err);
}

static int cmd_logout(App *app, const Args *a, Err *err)
{
    ConfigSource source;
    Err e = {0};
    bool issued = config_get(app->cfg, "access_token", &source) && source == CONFIG_FILE &&
                  config_get(app->cfg, "issuer_url", NULL) && config_get(app->cfg, "client_id", NULL);
    if (issued && revoke_tokens(app, &e) < 0) /* the issuer may be away; what is here goes all the same */
        fprintf(stderr, "Note: the tokens were not revoked at the issuer: %s\n", e.msg);
    renew_forget(app->cfg);
    int rc = config_save(app->cfg, err);
    if (rc < 0)
        return rc;
    puts("Logged out successfully.");
    if (getenv("AMBIENT_TOKEN"))
        fputs("Note: AMBIENT_TOKEN is set and still logs you in\n", stderr);
    return 0;
}

static const Opt opts_login[] = {
    OPT("token-file", STR, "file with the token; - is standard input", .values = "FILE"),
    OPT("token", STR, "-: token from standard input. A token itself would be seen by others here"),
    OPT("use-auth-code", BOOL, "log in with a browser (authorization code and PKCE)"),
    OPT("device-code", BOOL, "log in with a browser on another device"),
    OPT("client-credentials", BOOL, "log in as a service account"),
    OPT("issuer-url", STR, "OpenID issuer (default: the stored one, else " DEFAULT_ISSUER ")"),
    OPT("client-id", STR, "OpenID client (default: the stored one, else " DEFAULT_CLIENT ")"),
    OPT("client-secret-file", STR, "file with the client's secret; - is standard input", .values = "FILE"),
    OPT("client-secret", STR, "-: secret from standard input. A secret itself would be seen by others here"),
    OPT("scopes", STR, "OpenID scopes (default: openid, and offline_access where it is offered)"),
    OPT("no-browser", BOOL, "only print the address"),
    OPT("url", STR, "server"),
    OPT("project", STR, "current project"),
    OPT("certificate-authority", STR, "file with the CA certificates of server and issuer", .values = "FILE"),
    OPT("name", STR, "name of the context (default: from the host)"),
    {0},
};

const Command commands_login[] = {
    {.words = "login",
     .usage = "[SERVER_URL]",
     .min = 0,
     .max = 1,
     .help = "Log in with a token, a browser, a device or as a service account",
     .opts = opts_login,
     .run = cmd_login,
     .text =
         "Without another way the token is asked for and not shown. Tokens of an OpenID issuer are renewed\n"
         "before they expire; AMBIENT_CLIENT_SECRET or --client-secret-file then has the client's secret,\n"
         "which is never stored. A login to another server is another context.",
     .examples =
         "login https://ambient.corp.net --token-file token\n"
         "login https://ambient.corp.net --use-auth-code --issuer-url https://sso.corp.net/realms/ambient "
         "--client-id acpctl\n"
         "# on a machine without a browser\n"
         "login https://ambient.corp.net --device-code\n"
         "login https://ambient.corp.net --client-credentials --client-id robot --client-secret-file "
         "/run/secrets/robot"},
    {.words = "logout",
     .usage = "",
     .help = "Revoke and forget the tokens",
     .run = cmd_logout,
     .examples = "logout"},
    {0},
};
