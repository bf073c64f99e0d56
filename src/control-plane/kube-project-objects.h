/* The objects of a project as JSON: what we want to exist (contract, section 8). Pure. */
#pragma once

#include "config.h"
#include "kinds/obj.h"
#include "kube/kube.h"

typedef struct ProjectObject {
    KubeKind kind;
    json_t *want;
    bool adopt; /* the reference makes it without labels */
} ProjectObject;

#define PROJECT_OBJECTS_MAX 256

typedef struct ProjectObjects {
    ProjectObject list[PROJECT_OBJECTS_MAX];
    size_t n;
    char hash[33];
} ProjectObjects;

/* settings may be NULL. */
void project_objects_build(const Config *c, const char *ns, const Obj *project, const Obj *settings,
                           ProjectObjects *ret);
void project_objects_done(ProjectObjects *o);
/* Is a role binding of this name, which carries our label, one that is wanted? */
bool project_objects_has(const ProjectObjects *o, KubeKind kind, const char *name);

json_t *project_namespace_build(const KubeSettings *s, const char *ns, Str project);
json_t *project_tenant_build(const KubeSettings *s, const char *ns, Str project);
json_t *project_runner_secrets_build(const char *ns);
json_t *project_settings_build(const char *ns, Str project);
/* A copy of the vertex Secret `source`. */
json_t *project_vertex_build(const KubeSettings *s, const char *ns, const json_t *source);
