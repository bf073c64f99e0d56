/*
 * Settings of the control plane: the table in config.c is the list, `--help` prints it. Environment variables
 * have the reference's names; most have a flag too.
 */
#pragma once

#include "base/flag.h"
#include "config-kube.h"
#include "credentials.h"
#include "process-port.h"
#include "sandbox/sandbox.h"
#include "session-tokens.h"
#include "shim-spec.h"

typedef enum Mode { MODE_PROCESS, MODE_KUBE, MODE_TEST } Mode;

typedef struct Config {
    char *mode_text, *log_level, *log_format;
    /* the API server */
    char *api_url, *grpc_address;
    bool grpc_tls;
    char *ca_file;
    Secret *api_token;
    char *api_token_file; /* read again when it changes; wins over api_token */
    char *oidc_token_url, *oidc_client_id;
    Secret *oidc_client_secret;
    /* reconciling */
    char *reconcilers;
    char *tokens_text, *grants_text;
    int64_t workers;
    Usec time_limit;
    /* runners */
    char *runner_log_level, *backend_api_url, *use_vertex_text, *vertex_project, *vertex_region,
        *vertex_credentials;
    Secret *anthropic_api_key;
    Secret *runner_key;
    /* the process runtime */
    char *root, *runner_command, *port_range_text, *sandbox_text, *sandbox_write, *sandbox_hide,
        *listen_fds_text, *token_endpoint_text;
    int64_t max_sessions, uid, gid, mem_max, files_max, log_max;
    char *cpu_max_text;
    Usec stop_grace, health_timeout;
    bool adopt, stop_on_exit;
    /* listeners */
    char *proxy_address, *token_address, *token_url, *metrics_address, *ports_file;
    bool version;
    KubeSettings kube;

    /* derived */
    Mode mode;
    PortRange ports;
    SandboxMode sandbox;
    StrVec command;      /* the runner's */
    StrVec writable;     /* existing paths that runners may write to beside their workspace */
    StrVec hidden;       /* paths that runners may not open; the root of sessions is the first */
    bool private_tmp;    /* a place for temporary files holds what is hidden: each session has its own */
    bool listen_fds;     /* the runner takes its listening socket from us */
    bool token_endpoint; /* runners are told of the token endpoint */
    bool use_vertex;
    int64_t cpu_max; /* thousandths of a processor; 0 = no limit */
    TokenMode tokens;
    GrantMode grants;
    bool oidc; /* our token comes from an identity provider */
} Config;

/* ERR_CANCELLED: --help was printed. */
int config_load(Config *c, int argc, char **argv, Err *err);
void config_free(Config *c);
/* Splits a command line at blanks; quotes of both kinds keep blanks, a backslash the next character. */
int command_split(const char *text, StrVec *ret, Err *err);
