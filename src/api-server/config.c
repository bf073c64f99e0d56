#include "config.h"

#include <stddef.h>
#include "base/log.h"
#include "base/mem.h"
#include "http/url.h"
#include "limit-table.h"

#define AT(field) offsetof(Config, field)
#define IGNORED(flag)                                                                                        \
    {                                                                                                        \
        flag, NULL, FLAG_IGNORED, 0, NULL, NULL, NULL                                                        \
    }
#define IGNORED_BOOL(flag)                                                                                   \
    {                                                                                                        \
        flag, NULL, FLAG_IGNORED_BOOL, 0, NULL, NULL, NULL                                                   \
    }

const Flag config_flags[] = {
    {"api-server-bindaddress", NULL, FLAG_STRING, AT(http_address), "localhost:8000", "REST listener",
     "ADDR"},
    {"grpc-server-bindaddress", NULL, FLAG_STRING, AT(grpc_address), "localhost:9000", "gRPC listener",
     "ADDR"},
    {"enable-grpc", NULL, FLAG_BOOL, AT(enable_grpc), "true", "serve gRPC", NULL},
    {"grpc-reflection", NULL, FLAG_BOOL, AT(grpc_reflection), "true",
     "describe the gRPC services to callers that may call them", NULL},
    {"metrics-server-bindaddress", NULL, FLAG_STRING, AT(metrics_address), "localhost:4433",
     "metrics listener; empty = none", "ADDR"},
    {"health-check-server-bindaddress", NULL, FLAG_STRING, AT(health_address), "localhost:4434",
     "health listener; empty = none", "ADDR"},
    {"ports-file", NULL, FLAG_STRING, AT(ports_file), NULL, "write the bound ports there, as JSON", "PATH"},

    {"db-url", "AMBIENT_DB_URL", FLAG_STRING, AT(db_url), "sqlite:ambient.db",
     "the store: sqlite:PATH or postgres://USER@HOST/DATABASE", "URL"},
    {"db-host-file", NULL, FLAG_STRING, AT(db_host_file), NULL,
     "PostgreSQL instead: the file that holds its host", "PATH"},
    {"db-port-file", NULL, FLAG_STRING, AT(db_port_file), NULL, "file with its port", "PATH"},
    {"db-user-file", NULL, FLAG_STRING, AT(db_user_file), NULL, "file with the user", "PATH"},
    {"db-password-file", NULL, FLAG_STRING, AT(db_password_file), NULL,
     "file with the password, also for --db-url; read at each connect", "PATH"},
    {"db-name-file", NULL, FLAG_STRING, AT(db_name_file), NULL, "file with the database's name", "PATH"},
    {"db-rootcert", NULL, FLAG_STRING, AT(db_rootcert), NULL, "roots of its certificate", "PATH"},
    {"db-sslmode", NULL, FLAG_STRING, AT(db_sslmode), "disable", "libpq's sslmode, with --db-host-file",
     "MODE"},
    {"db-max-open-connections", NULL, FLAG_INT, AT(db_max_connections), "50", "most connections to it", "N"},
    {"no-migrate", NULL, FLAG_BOOL, AT(no_migrate), "false", "refuse a store that `migrate` did not prepare",
     NULL},

    {"enable-https", NULL, FLAG_BOOL, AT(enable_https), "false", "TLS on the REST listener", NULL},
    {"https-cert-file", NULL, FLAG_STRING, AT(https_cert), NULL, "its certificate", "PATH"},
    {"https-key-file", NULL, FLAG_STRING, AT(https_key), NULL, "its key", "PATH"},
    {"enable-tls", NULL, FLAG_BOOL, AT(enable_tls), "false", "TLS on all listeners", NULL},
    {"tls-cert-file", "TLS_CERT_FILE", FLAG_STRING, AT(tls_cert), NULL, "certificate of all listeners",
     "PATH"},
    {"tls-key-file", "TLS_KEY_FILE", FLAG_STRING, AT(tls_key), NULL, "key of all listeners", "PATH"},
    {"tls-ca-file", "TLS_CA_FILE", FLAG_STRING, AT(tls_ca), NULL, "roots for calls to others", "PATH"},
    {"tls-enable-client-auth", NULL, FLAG_BOOL, AT(tls_client_auth), "false", "ask clients for certificates",
     NULL},
    {"tls-client-ca-file", NULL, FLAG_STRING, AT(tls_client_ca), NULL, "roots of those certificates", "PATH"},
    {"grpc-enable-tls", NULL, FLAG_BOOL, AT(grpc_enable_tls), "false", "TLS on the gRPC listener", NULL},
    {"grpc-tls-cert-file", NULL, FLAG_STRING, AT(grpc_cert), NULL, "its certificate", "PATH"},
    {"grpc-tls-key-file", NULL, FLAG_STRING, AT(grpc_key), NULL, "its key", "PATH"},
    {"enable-metrics-https", NULL, FLAG_BOOL, AT(metrics_https), "false", "TLS on the metrics listener",
     NULL},
    {"enable-health-check-https", NULL, FLAG_BOOL, AT(health_https), "false", "TLS on the health listener",
     NULL},

    {NULL, "AMBIENT_ENV", FLAG_STRING, AT(environment), "development",
     "development, unit_testing, integration_testing or production; any other name is taken for production",
     NULL},
    {"enable-jwt", NULL, FLAG_BOOL, AT(enable_jwt), "true", "verify JWTs (default: off in development)",
     NULL},
    {"enable-authz", NULL, FLAG_BOOL, AT(enable_authz), "true",
     "check what callers may do (default: off in development)", NULL},
    {"insecure-no-auth", NULL, FLAG_BOOL, AT(insecure_no_auth), "false",
     "serve other machines although authentication is off: everybody may do all", NULL},
    {"jwk-cert-url", "JWK_CERT_URL", FLAG_STRING, AT(jwk_url), NULL, "JWK sets that sign tokens: comma list",
     "URLS"},
    {"grpc-jwk-cert-url", NULL, FLAG_STRING, AT(grpc_jwk_url), NULL, "one more JWK set", "URL"},
    {"jwk-cert-file", NULL, FLAG_STRING, AT(jwk_file), NULL, "JWK set that signs tokens, beside those",
     "PATH"},
    {"jwt-issuer", "AMBIENT_JWT_ISSUER", FLAG_STRING, AT(issuer), NULL,
     "accepted issuers: comma list; * = any; required in production", "URLS"},
    {"jwt-audience", "AMBIENT_JWT_AUDIENCE", FLAG_STRING, AT(audience), NULL,
     "accepted audiences: comma list; * = any; required in production", "NAMES"},
    {"trusted-proxies", "AMBIENT_TRUSTED_PROXIES", FLAG_STRING, AT(trusted_proxies), NULL,
     "networks whose X-Forwarded-Access-Token counts: comma list", "CIDRS"},
    {NULL, "GRPC_SERVICE_ACCOUNT", FLAG_STRING, AT(service_account), NULL,
     "client id of the platform at the issuer; its account gets platform:admin", NULL},
    {NULL, "AMBIENT_API_TOKEN", FLAG_SECRET, AT(service_token), NULL, "static token of the platform", NULL},
    {NULL, "AMBIENT_API_TOKEN_OLD", FLAG_SECRET, AT(service_token_old), NULL,
     "the token before it, still accepted while it is replaced", NULL},
    {"admin-token-file", "AMBIENT_ADMIN_TOKEN", FLAG_SECRET, AT(admin_token), NULL,
     "static token that may do all", "PATH"},
    {"enable-bearer", NULL, FLAG_BOOL, AT(enable_bearer), "false", "accept the static token in API_TOKEN",
     NULL},
    {NULL, "API_TOKEN", FLAG_SECRET, AT(api_token), NULL, "token of --enable-bearer", NULL},
    {NULL, "BEARER_TOKEN", FLAG_SECRET, AT(bearer_token), NULL, "the same, when API_TOKEN is empty", NULL},

    {NULL, "CREDENTIAL_ENCRYPTION_KEYRING", FLAG_SECRET, AT(keyring), NULL,
     "keys of secrets at rest: a JSON object of version and base64 of 32 bytes", NULL},
    {NULL, "CREDENTIAL_ENCRYPTION_KEY_VERSION", FLAG_STRING, AT(key_version), NULL,
     "the version that encrypts", NULL},
    {NULL, "CREDENTIAL_ENCRYPTION_ALLOW_PLAINTEXT", FLAG_STRING, AT(allow_plaintext), NULL,
     "\"true\": serve without keys in production too", NULL},
    {"session-token-life", NULL, FLAG_DURATION, AT(session_token_life), "1h",
     "of the tokens that runners get for their sessions", "TIME"},
    {"decrypt", NULL, FLAG_BOOL, AT(decrypt), "false", "encrypt-credentials: back to plain text", NULL},
    {"dry-run", NULL, FLAG_BOOL, AT(dry_run), "false", "encrypt-credentials: only say what would be done",
     NULL},

    {"cors-allowed-origins", NULL, FLAG_STRING, AT(cors_origins), NULL, "comma list; * = all", "LIST"},
    {"cors-allowed-headers", NULL, FLAG_STRING, AT(cors_headers), NULL, "comma list", "LIST"},
    {NULL, "RUNNER_URL_TEMPLATE", FLAG_STRING, AT(runner_url), "http://127.0.0.1:9080/sessions/{id}/runner",
     "where runners of the process runtime are reached", NULL},
    {"backend-url", "BACKEND_URL", FLAG_STRING, AT(backend_url), NULL,
     "server that gets every path outside of /api/ambient; without it they are 404", "URL"},
    {"backend-forward-token", "BACKEND_FORWARD_TOKEN", FLAG_BOOL, AT(backend_forward_token), "false",
     "the backend also gets the caller's Authorization and cookies", NULL},
    {NULL, "AMBIENT_RUNNER_KEY", FLAG_SECRET, AT(runner_key), NULL,
     "shared with the control plane: gives each runner in a pod a token of its own; default "
     "AMBIENT_API_TOKEN",
     NULL},
    {NULL, "AMBIENT_RUNNER_TOKEN", FLAG_SECRET, AT(runner_token), NULL, "sent to runners", NULL},

#define LIMIT(flag, type, member, dflt, least, most, value, what, beyond)                                    \
    {flag, NULL, type, AT(member), dflt, "limit: " what "; beyond it: " beyond, value},
#include "limits.def"
#undef LIMIT

    {"enable-scheduler", NULL, FLAG_BOOL, AT(enable_scheduler), "true",
     "start what scheduled sessions ask for", NULL},
    {"scheduler-interval", NULL, FLAG_DURATION, AT(scheduler_interval), "30s",
     "look at the schedules at least so often, for what other servers changed", "TIME"},

    {"stream-ping-interval", NULL, FLAG_DURATION, AT(stream_ping), "30s",
     "a comment on event streams that have nothing else to say", "TIME"},
    {"shutdown-timeout", NULL, FLAG_DURATION, AT(shutdown_timeout), "10s", "longest wait for open requests",
     "TIME"},
    {"log-level", "AMBIENT_LOG_LEVEL", FLAG_STRING, AT(log_level), "info", "debug, info, warn, error or off",
     "LEVEL"},
    {"log-json", "AMBIENT_LOG_JSON", FLAG_BOOL, AT(log_json), "false", "log lines as JSON", NULL},
    {"username", NULL, FLAG_STRING, AT(username), NULL, "seed-admin: who becomes an administrator", "NAME"},
    {"session", NULL, FLAG_STRING, AT(session), NULL, "verify: only this session", "ID"},
    {"file", NULL, FLAG_STRING, AT(file), NULL, "export and import: the file; else standard output and input",
     "PATH"},

    /* Accepted so that existing manifests start; they have no meaning here. */
    IGNORED("api-server-hostname"),
    IGNORED("http-read-timeout"),
    IGNORED("http-write-timeout"),
    IGNORED("tls-min-version"),
    IGNORED("tls-max-version"),
    IGNORED("tls-cipher-suites"),
    IGNORED_BOOL("tls-insecure-skip-verify"),
    IGNORED_BOOL("tls-auto-detect-kubernetes"),
    IGNORED("tls-custom-ca-files"),
    IGNORED("tls-server-name"),
    IGNORED_BOOL("tls-enable-sni"),
    IGNORED_BOOL("tls-prefer-server-ciphers"),
    IGNORED("acl-file"),
    IGNORED("auth-bypass-paths"),
    IGNORED("auth-bypass-methods"),
    IGNORED_BOOL("enable-db-debug"),
    IGNORED("label-metrics-inclusion-duration"),
    IGNORED("api-base-url"),
    IGNORED("api-token-url"),
    IGNORED("api-client-id-file"),
    IGNORED("api-client-secret-file"),
    IGNORED("self-token-file"),
    IGNORED_BOOL("debug"),
    IGNORED_BOOL("enable-mock"),
    IGNORED("v"),
    IGNORED_BOOL("logtostderr"),
    IGNORED_BOOL("alsologtostderr"),
    IGNORED("stderrthreshold"),
    IGNORED("vmodule"),
    IGNORED("log_dir"),
    IGNORED("log_backtrace_at"),
    {0},
};

bool config_is_development(const Config *c)
{
    return strcmp(c->environment, "development") == 0;
}

/* A name that nobody knows means the strictest: a typing error must not switch anything off. */
static bool is_production(const Config *c)
{
    static const char *const others[] = {"development", "unit_testing", "integration_testing"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        if (strcmp(c->environment, others[i]) == 0)
            return false;
    return true;
}

static bool is_set(const char *text)
{
    return text && *text;
}

/* Any token of the realm, made for any other application, would do. */
static int check_jwt(const Config *c, Err *err)
{
    bool jwt = c->enable_jwt && (is_set(c->jwk_url) || is_set(c->jwk_file) || is_set(c->grpc_jwk_url));
    if (!jwt || !is_production(c) || (is_set(c->issuer) && is_set(c->audience)))
        return 0;
    return err_set(err, ERR_USAGE, "%s is required in production (\"*\" accepts any)",
                   is_set(c->issuer) ? "--jwt-audience" : "--jwt-issuer");
}

/* "--name", "-name", with or without "=value". */
static bool was_given(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (*a != '-')
            continue;
        a += strspn(a, "-");
        size_t len = strcspn(a, "=");
        if (len == strlen(name) && strncmp(a, name, len) == 0)
            return true;
    }
    return false;
}

static void add_origins(Config *c, const char *more)
{
    char *all =
        c->cors_origins && *c->cors_origins ? xasprintf("%s,%s", more, c->cors_origins) : xstrdup(more);
    free(c->cors_origins);
    c->cors_origins = all;
}

/* An explicit flag wins over the environment's name, so that "on" is never silently off. */
static void apply_environment(Config *c, int argc, char **argv)
{
    bool development = config_is_development(c);
    bool testing = strcmp(c->environment, "integration_testing") == 0;
    if (development && !was_given(argc, argv, "enable-jwt"))
        c->enable_jwt = false;
    if ((development || testing) && !was_given(argc, argv, "enable-authz"))
        c->enable_authz = false;
    if (development)
        add_origins(c, "http://localhost:3000,http://localhost:8080");
}

static int apply_bearer(Config *c, Err *err)
{
    if (!c->enable_bearer || !secret_is_empty(c->admin_token))
        return 0;
    c->admin_token = secret_is_empty(c->api_token) ? TAKE(c->bearer_token) : TAKE(c->api_token);
    if (!secret_is_empty(c->admin_token))
        return 0;
    return err_set(err, ERR_USAGE, "--enable-bearer needs the token in API_TOKEN or BEARER_TOKEN");
}

static int check_backend_url(const Config *c, Err *err)
{
    Url u;
    if (!c->backend_url || !*c->backend_url)
        return 0;
    if (url_parse(str_from(c->backend_url), &u, err) < 0)
        return err_wrap(err, "--backend-url");
    if (u.has_userinfo || str_find_byte(str_from(c->backend_url), '?') >= 0)
        return err_set(err, ERR_USAGE, "--backend-url must be scheme, host, port and path only");
    return 0;
}

int config_load(Config *c, int argc, char **argv, Err *err)
{
    int rc = flags_parse(config_flags, c, argc, argv, NULL, err);
    if (rc < 0)
        return rc;
    bool in_argv = was_given(argc, argv, "db-url");
    rc = config_resolve_db(c, in_argv, err);
    if (rc == 0)
        rc = limits_check(c, err);
    if (rc == 0)
        rc = check_backend_url(c, err);
    if (rc == 0) {
        apply_environment(c, argc, argv);
        rc = apply_bearer(c, err);
    }
    if (rc == 0)
        rc = check_jwt(c, err);
    if (rc < 0)
        config_free(c);
    return rc;
}

void config_free(Config *c)
{
    flags_free(config_flags, c);
}

bool config_is_loopback(const char *address)
{
    return strncmp(address, "localhost:", 10) == 0 || strncmp(address, "127.", 4) == 0 ||
           strncmp(address, "[::1]:", 6) == 0;
}

int config_check_exposure(const Config *c, Err *err)
{
    if (c->db_host_file && *c->db_host_file && !str_starts(str_from(c->db_url), STR("postgres:host=")))
        log_warn("--db-url was given: --db-host-file and its like are ignored");
    bool open = !c->enable_jwt && secret_is_empty(c->admin_token) && secret_is_empty(c->service_token);
    bool exposed =
        !config_is_loopback(c->http_address) || (c->enable_grpc && !config_is_loopback(c->grpc_address));
    if (is_production(c) && strcmp(c->environment, "production") != 0)
        log_warn("AMBIENT_ENV has an unknown name: taken for production",
                 F_STR("environment", c->environment));
    if (open && exposed && !c->insecure_no_auth)
        return err_set(err, ERR_USAGE,
                       "authentication is off and other machines can reach %s: bind to localhost, configure"
                       " tokens, or say --insecure-no-auth",
                       config_is_loopback(c->http_address) ? c->grpc_address : c->http_address);
    if (open && exposed)
        log_warn("authentication is off and other machines can reach the server: everybody may do all",
                 F_STR("environment", c->environment));
    else if (open)
        log_warn("authentication is off: every caller is dev-user", F_STR("environment", c->environment));
    else if (!c->enable_authz)
        log_warn("authorization is off: every caller who has a token may do all");
    return 0;
}
