/* Settings of the runtime `kube`. The rows of the table are in config-kube.def. */
#pragma once

#include "base/clock.h"
#include "base/secret.h"

typedef struct KubeSettings {
    char *platform_text, *mpp_ns, *fallback_ns, *runtime_ns, *pod_name, *account_name;
    char *project_token_file, *leader_elect_text;
    /* runners */
    char *runner_image, *runner_image_ns, *pull_secret, *vertex_secret, *vertex_secret_ns;
    char *cpu_request, *memory_request, *cpu_limit, *memory_limit, *cpu_max, *memory_max;
    char *workspace_text, *workspace_size, *storage_class;
    bool non_root;
    char *mcp_image, *mcp_api_url, *github_mcp_image, *jira_mcp_image, *k8s_mcp_image, *google_mcp_image;
    char *grpc_service_account, *token_mode_text, *token_cert, *token_cert_key;
    char *http_proxy, *https_proxy, *no_proxy;
    /* how long what may last */
    Usec schedule_timeout, image_timeout, config_timeout, node_timeout, missing_after, pod_ttl, force_after,
        token_key_keep, permanent_after, sweep_first, sweep, young, confirm, lease;
    int64_t qps, burst; /* of the client */
    int64_t fs_group;   /* of a claimed workspace; 0 = as the cluster says */
    bool gc_namespaces, check_address, token_review;

    /* derived */
    bool mpp, pvc;
    bool token_secret, token_endpoint; /* how runners get their tokens */
    bool elect;                        /* leader election */
} KubeSettings;

/* After the flags were read. */
int kube_settings_derive(KubeSettings *s, Err *err);
