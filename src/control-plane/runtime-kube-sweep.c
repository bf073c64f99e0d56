/*
 * Looks at everything we ever made, namespace by namespace, and so finds what belongs to sessions that nobody
 * speaks of any more: their anchors. Whether they may go is not decided here (strays.h).
 */
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/mem.h"
#include "runtime-kube-internal.h"

static void next_namespace(KubeRuntime *k);

static void rearm(KubeRuntime *k)
{
    timer_arm(k->sweep_timer, k->settings->sweep);
}

static void on_anchor(void *arg, json_t *anchor)
{
    KubeRuntime *k = arg;
    const char *id = kube_label(anchor, LABEL_SESSION);
    if (id && *id && is_managed(anchor) && !is_of_another(k->settings, anchor))
        entry_make(k, str_from(id), kube_namespace(anchor), kube_created(anchor))->swept = k->sweeps;
}

static void on_anchors(void *arg, const char *version, const KubeError *e)
{
    KubeRuntime *k = arg;
    k->list = NULL;
    if (e) /* one namespace must not stop the others */
        log_warn("namespace not looked at", F_STR("namespace", k->list_ns), F_ERR(&e->err));
    next_namespace(k);
}

static void next_namespace(KubeRuntime *k)
{
    size_t n = json_array_size(k->namespaces);
    if (n == 0) {
        rearm(k);
        k->o.on_swept(k->o.arg);
        return;
    }
    free(k->list_ns);
    k->list_ns = xstrdup(json_string_value(json_array_get(k->namespaces, n - 1)));
    json_array_remove(k->namespaces, n - 1);
    k->list = kube_list(k->o.kube,
                        KUBE_REQUEST(.kind = KUBE_CONFIG_MAPS, .ns = k->list_ns,
                                     .labels = SELECTOR_MANAGED "," LABEL_SESSION, .background = true),
                        on_anchor, on_anchors, k);
}

static void on_namespace(void *arg, json_t *ns)
{
    KubeRuntime *k = arg;
    const char *project = kube_label(ns, LABEL_PROJECT);
    if (!is_managed(ns) || is_of_another(k->settings, ns) || kube_deleting(ns))
        return;
    json_array_append_new(k->namespaces, json_string(kube_name(ns)));
    if (project && *project)
        json_object_set_new(k->of_projects, project, json_integer(kube_created(ns).us));
}

/* Complete, so what it does not show is not there. */
static void tell_projects(const KubeRuntime *k)
{
    const char *project;
    json_t *made_at;
    if (!k->projects)
        return;
    kube_projects_look_begin(k->projects);
    json_object_foreach(k->of_projects, project, made_at)
        kube_projects_saw(k->projects, project, (WallUsec){json_integer_value(made_at)});
    kube_projects_look_end(k->projects);
}

static void on_namespaces(void *arg, const char *version, const KubeError *e)
{
    KubeRuntime *k = arg;
    k->list = NULL;
    if (e) {
        log_warn("namespaces not listed", F_ERR(&e->err));
        rearm(k);
        return;
    }
    tell_projects(k);
    next_namespace(k);
}

void start_sweep(void *arg)
{
    KubeRuntime *k = arg;
    stop_sweep(k);
    k->sweeps++;
    k->namespaces = json_array();
    k->of_projects = json_object();
    if (k->settings->mpp) { /* nobody may list them there: those of the projects that we know */
        MAP_FOREACH (k->watches, it)
            json_array_append_new(k->namespaces, json_strv(it.key));
        next_namespace(k);
        return;
    }
    k->list = kube_list(k->o.kube, KUBE_REQUEST(.kind = KUBE_NAMESPACES, .labels = SELECTOR_MANAGED),
                        on_namespace, on_namespaces, k);
}

void stop_sweep(KubeRuntime *k)
{
    kube_list_cancel(TAKE(k->list));
    json_decref(TAKE(k->namespaces));
    json_decref(TAKE(k->of_projects));
    free(TAKE(k->list_ns));
}
