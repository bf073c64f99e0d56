/*
 * Where a cluster is and how we prove who we are: a kubeconfig file, or what a pod finds in itself. Plain
 * values, no I/O after loading; the client (kube.h) reads token and certificate files again when they change.
 */
#pragma once

#include "base/secret.h"
#include "json/json.h"

typedef struct KubeExec {
    char **argv;       /* NULL-ended; argv[0] relative to the kubeconfig's directory when it has a slash */
    char **env;        /* NULL-ended "NAME=value", added to ours */
    char *api_version; /* "client.authentication.k8s.io/v1" or v1beta1 */
    bool provide_cluster_info;
} KubeExec;

typedef struct KubeConfig {
    char *server; /* "https://host:port", without a slash at the end; may have a path */
    char *ca_pem; /* NULL = the system's roots */
    char *tls_server_name, *proxy_url;
    bool insecure_skip_verify;
    char *ns; /* default namespace; "default" when the context names none */
    /* One of these, or none. */
    Secret *token;
    char *token_file; /* wins over token */
    char *cert_file, *key_file;
    char *cert_pem;
    Secret *key_pem;
    KubeExec exec; /* argv NULL = none */
    char *as_user; /* impersonation; NULL = none */
} KubeConfig;

#define KUBE_SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

/* `path` NULL: $KUBECONFIG (several files with ':' between them are merged, the first to set a value wins),
   else $HOME/.kube/config. `context` NULL = current-context. ERR_NOT_FOUND: there is no such file. */
int kube_config_load(const char *path, const char *context, KubeConfig *ret, Err *err);
/* One kubeconfig text; relative paths in it are below `dir`. Reads the CA file, no other. */
int kube_config_parse(Str text, const char *dir, const char *context, KubeConfig *ret, Err *err);
/* From KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and the files of `dir` (NULL = the usual). */
int kube_config_in_cluster(const char *dir, KubeConfig *ret, Err *err);
/* The order of a program: the file of `path` if given, else $KUBECONFIG, else $HOME/.kube/config if it
   exists, else in-cluster. */
int kube_config_find(const char *path, KubeConfig *ret, Err *err);
void kube_config_done(KubeConfig *c);
#define CLEANUP_KUBE_CONFIG CLEANUP(kube_config_done)
