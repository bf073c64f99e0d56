/*
 * Names and labels of what we make on a cluster (contract, section 7). They are part of the contract with
 * runners and with the API server, which finds a runner by the name of its Service. Pure.
 */
#pragma once

#include "base/err.h"
#include "config-kube.h"
#include "json/json.h"

#define LABEL_SESSION "ambient-code.io/session-id"
#define LABEL_PROJECT "ambient-code.io/project-id"
#define LABEL_MANAGED "ambient-code.io/managed"
#define LABEL_MANAGED_BY "ambient-code.io/managed-by"
#define LABEL_ADOPT "ambient-code.io/adopt"
#define LABEL_INSTALLATION "ambient-code.io/installation" /* our own namespace */
#define LABEL_ROLE "ambient-code.io/role"
#define MANAGER "ambient-control-plane"
#define SELECTOR_MANAGED LABEL_MANAGED "=true," LABEL_MANAGED_BY "=" MANAGER

#define ANNOTATION_SESSION_NAME "ambient-code.io/session-name"
#define ANNOTATION_RUN "ambient-code.io/run"
#define ANNOTATION_REQUESTED "ambient-code.io/start-requested-at"
#define ANNOTATION_STOP "ambient-code.io/stop-reason"
#define ANNOTATION_HASH "ambient-code.io/spec-hash"
#define ANNOTATION_PROVISIONED "ambient-code.io/provisioned"
#define ANNOTATION_KEY "ambient-code.io/token-key-id"
#define ANNOTATION_SOURCE "ambient-code.io/source-hash"

#define RUNNER_CONTAINER "ambient-code-runner"
#define RUNNER_PORT 8001
#define KUBE_TOKEN_VOLUME "runner-token"
#define KUBE_IDENTITY_VOLUME "ambient-identity"
#define RUNNER_SECRETS "ambient-runner-secrets"
#define PROJECT_SETTINGS_OBJECT "projectsettings"
#define SERVICE_CA "openshift-service-ca.crt" /* put into every namespace by OpenShift */
#define CA_BUNDLE "ambient-ca-bundle"         /* the same, behind the public roots */
#define MODEL_SECRET "ambient-model-key"
#define PROJECT_ROLE "ambient-control-plane-project"
#define PROJECT_ROLE_BINDING "ambient-control-plane-project-manager"
#define MPP_PREFIX "ambient-code--"

#define NAME_MAX_LEN 254 /* with the NUL */

/* "session-<rid><suffix>": rid is the id in lower case, cut at 40 bytes. ERR_INVALID for ids that make no
 * name. */
int session_object_name(Str session_id, const char *suffix, char out[static NAME_MAX_LEN], Err *err);
/* The project's namespace. ERR_INVALID: no name, or one of those that are not for projects. */
int project_namespace(const KubeSettings *s, Str project, char out[static NAME_MAX_LEN], Err *err);
/* A name for what belongs to `subject`: `prefix` + subject when that is a name, else a readable part and a
 * hash. */
void subject_name(const char *prefix, const char *subject, const char *suffix, char out[static NAME_MAX_LEN]);

/* Those of all that belongs to a session, and of namespaces, say too which installation made them. */
json_t *session_labels(const KubeSettings *s, Str session_id, Str project);
json_t *namespace_labels(const KubeSettings *s, Str project);
json_t *project_labels(Str project); /* ptr NULL: only that it is ours */
/* {metadata: {name, namespace, labels}}; takes over labels. */
json_t *new_object(const char *name, const char *ns, json_t *labels);
bool is_managed(const json_t *object);
/* Another installation on this cluster made it: its sessions are none of our business. What does not say who
   made it is taken for ours: the reference's objects do not. */
bool is_of_another(const KubeSettings *s, const json_t *object);
