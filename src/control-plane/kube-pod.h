/*
 * The objects of one session as JSON (contract, sections 8 and 9.1): what we want to exist, nothing of what
 * does. Pure.
 */
#pragma once

#include "config.h"
#include "kinds/obj.h"
#include "json/json.h"

/* A longer prompt goes into a Secret that is mounted: kubelet hands variables to an exec. */
#define KUBE_PROMPT_ENV_MAX (32 * 1024)

/* Of its own: a folder of the image that is mounted over would lose what is in it. */
#define KUBE_CA_DIR "/etc/ambient/ca"
#define KUBE_CA_FILE KUBE_CA_DIR "/ca-bundle.crt"
#define KUBE_TOKEN_DIR "/var/run/secrets/ambient"
/* The token of the pod's account, good for nothing but to show it to the token endpoint. */
#define KUBE_IDENTITY_DIR "/var/run/secrets/ambient-identity"
#define KUBE_IDENTITY_AUDIENCE "ambient-control-plane"

typedef struct PodSpec {
    const Config *config;
    const Obj *session;
    int64_t run;
    const char *ns, *name, *account;
    const char *anchor_name, *anchor_uid;
    Str prompt;
    const char *prompt_secret; /* NULL: the prompt goes into the environment */
    const char *token_secret;  /* that has `agui-token`, which the runner's HTTP port asks for; NULL = none */
    const char *creds_secret;  /* that has `api-token`, mounted as a file; NULL = none */
    const char *credential_ids; /* JSON object; empty or NULL = none */
    const char *model_secret;   /* that has ANTHROPIC_API_KEY; NULL = none */
    bool native_sidecars;       /* the kubelet knows init containers that keep running */
    const char *claim;          /* of the workspace; NULL = emptyDir */
    bool ca_bundle;             /* ConfigMap CA_BUNDLE is there */
    const char *token_url, *token_key, *token_key_id; /* of the token endpoint; NULL = none */
} PodSpec;

json_t *kube_pod_build(const PodSpec *s);
/* Both take over the labels. */
json_t *kube_service_build(const char *name, const char *ns, Str session_id, json_t *labels);
json_t *kube_account_build(const char *name, const char *ns, json_t *labels);
/* Adds the anchor as owner: when it goes, so does the object. */
void kube_set_owner(json_t *object, const char *anchor_name, const char *anchor_uid);

/* For a container that asks the token endpoint: what it shows there, if anything. */
void kube_identity_env(const PodSpec *s, json_t *env);
void kube_identity_mount(const PodSpec *s, json_t *mounts);
void kube_mount(json_t *mounts, const char *volume, const char *path, bool read_only);
const char *kube_pull_policy(const char *image);

/* One variable; the list keeps its order, and the first of a name stays. */
void kube_env_set(json_t *env, const char *name, Str value);
bool kube_env_has(const json_t *env, const char *name);
void kube_env_from_secret(json_t *env, const char *name, const char *secret, const char *key, bool optional);
void kube_env_proxies(const KubeSettings *k, json_t *env);
/* kube-env.c: contract 9.1, in its order. */
json_t *kube_env_build(const PodSpec *s);
/* Kubernetes expands $(NAME) in values: "$(" is written as "$$(". */
void kube_env_escape(Buf *b, Str value);
