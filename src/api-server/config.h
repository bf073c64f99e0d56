/* Settings of ambient-api-server: one table of flags and environment. rest-core.md 1.1, grpc.md 1. */
#pragma once

#include "base/clock.h"
#include "base/err.h"
#include "base/flag.h"
#include "base/secret.h"

struct StoreOptions;

typedef struct Config {
    /* listeners; an empty address switches one off (not REST) */
    char *http_address, *grpc_address, *metrics_address, *health_address;
    bool enable_grpc, grpc_reflection;
    char *ports_file;
    /* store */
    char *db_url;
    char *db_host_file, *db_port_file, *db_user_file, *db_password_file, *db_name_file, *db_rootcert;
    char *db_sslmode;
    int64_t db_max_connections;
    bool no_migrate;
    /* TLS */
    bool enable_https, enable_tls, grpc_enable_tls, metrics_https, health_https, tls_client_auth;
    char *https_cert, *https_key, *tls_cert, *tls_key, *tls_ca, *tls_client_ca, *grpc_cert, *grpc_key;
    /* who may call */
    char *environment;
    bool enable_jwt, enable_authz, enable_bearer;
    bool insecure_no_auth;
    char *jwk_url, *grpc_jwk_url, *jwk_file, *issuer, *audience, *service_account, *trusted_proxies;
    Secret *service_token, *service_token_old, *admin_token, *api_token, *bearer_token;
    char *username; /* seed-admin */
    /* secrets at rest */
    Secret *keyring;
    char *key_version, *allow_plaintext;
    Usec session_token_life;
    bool decrypt, dry_run; /* encrypt-credentials */
    /* REST */
    char *cors_origins, *cors_headers, *runner_url, *backend_url;
    bool backend_forward_token;
    Secret *runner_key, *runner_token;
    /* schedules */
    bool enable_scheduler;
    Usec scheduler_interval;
    /* life */
    Usec shutdown_timeout, stream_ping;
    char *log_level;
    bool log_json;
    /* limits.def */
    int64_t body_max, upload_max, message_max, header_max, connections_max, connections_per_peer,
        streams_per_user;
    int64_t grpc_message_max, grpc_streams_per_conn, grpc_connections_max, grpc_connections_per_peer;
    int64_t grpc_watches_per_user, store_queue, store_pending;
    Usec grpc_watch_idle, header_timeout, body_timeout, idle_timeout, store_wait, read_limit;
    char *session; /* verify */
    char *file;    /* export, import */
} Config;

extern const Flag config_flags[];

/* Flags, environment, and what AMBIENT_ENV makes of those that were not given. */
int config_load(Config *c, int argc, char **argv, Err *err);
void config_free(Config *c);
/* Refuses settings under which the server must not be reached by others; says what a person should know. */
int config_check_exposure(const Config *c, Err *err);
bool config_is_development(const Config *c);
bool config_is_loopback(const char *address); /* reached from this machine only */
/* Makes db_url of the flags that say where the database is. */
int config_resolve_db(Config *c, bool url_in_argv, Err *err);
struct StoreOptions config_store(const Config *c); /* borrowed from c */
