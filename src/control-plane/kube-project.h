/*
 * What a project has on the cluster: its namespace (a Namespace, or a TenantNamespace that an operator makes
 * one of), our rights in it, network policy, secrets, access of people and of the image registry. Brought to
 * what it should be project by project; a session starts only in a project that is ready.
 *
 * A namespace is ours when it carries our labels and the project's id, or an admin's label
 * ambient-code.io/adopt. Any other is left alone, and the project is refused.
 *
 * The namespace of a project whose deletion we saw is deleted. One whose project nobody knows is only
 * counted, unless GC_NAMESPACES says otherwise: then it goes after the doubts of strays.h.
 */
#pragma once

#include "cache.h"
#include "config.h"
#include "kube/kube.h"
#include "workqueue.h"

typedef struct KubeProjects KubeProjects;

typedef struct KubeProjectsOptions {
    Kube *kube;
    const Config *config;
    Cache *projects, *settings; /* borrowed; settings may be NULL */
    const Clock *clock;
    void (*wake)(void *arg);                          /* the queue's next deadline may have moved */
    void (*on_ready)(void *arg, const char *project); /* sessions may start there now */
    void (*relist)(void *arg);                        /* projects: a complete list is wanted soon */
    void *arg;
} KubeProjectsOptions;

KubeProjects *kube_projects_new(const KubeProjectsOptions *o);
KubeProjects *kube_projects_free(KubeProjects *p); /* NULL-safe */
WorkQueue *kube_projects_queue(KubeProjects *p);
void kube_projects_add(KubeProjects *p, const char *project); /* it may have changed */

typedef enum ProjectState {
    PROJECT_UNKNOWN, /* not looked at yet, or being worked on */
    PROJECT_READY,
    PROJECT_REFUSED, /* will not be ready until somebody changes something */
} ProjectState;
/* `why` (may be NULL) is set for what is not ready; borrowed until the next change. */
ProjectState kube_projects_state(const KubeProjects *p, Str project, const char **why);
/* When its namespace was made; {0} = unknown. Rights in a young one may still be on their way. */
WallUsec kube_projects_made_at(const KubeProjects *p, Str project);

/* One look at all namespaces that are ours: begin, one saw per namespace, end. */
void kube_projects_look_begin(KubeProjects *p);
void kube_projects_saw(KubeProjects *p, const char *project, WallUsec made_at);
void kube_projects_look_end(KubeProjects *p);
size_t kube_projects_strays(const KubeProjects *p); /* namespaces of the last look whose project is unknown */
