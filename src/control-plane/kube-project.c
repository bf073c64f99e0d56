#include "kube-project.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/random.h"
#include "kube-flow.h"
#include "kube-names.h"
#include "kube-project-objects.h"
#include "strays.h"

/* A namespace that is being made, or that is still going. */
#define PENDING_WAIT (3 * USEC_PER_SEC)
/* Between two questions for what this cluster may not have at all. */
#define ABSENT_FOR (600 * USEC_PER_SEC)
/* Between two looks at every object of a project that nobody changed on our side. */
#define LOOK (600 * USEC_PER_SEC)
/* Rights in a namespace of this age may still be on their way. */
#define YOUNG ((int64_t)(300 * USEC_PER_SEC))

typedef struct Project {
    KubeProjects *p;
    ProjectState state;
    char why[256];
    char ns[NAME_MAX_LEN];
    WallUsec made_at;
    Usec look_at; /* when to look at everything again; 0 = never done, and nothing says that it is needed */
    WqRun *run;
    Flow flow;
    ProjectObjects *objects; /* while it runs */
    size_t at;
    bool marked;   /* the namespace says that all is as wanted */
    json_t *extra; /* names of bindings to delete */
    char id[];
} Project;

struct KubeProjects {
    KubeProjectsOptions o;
    WorkQueue *queue;
    Map *all;       /* id -> Project, owned */
    Usec legacy_at; /* not before: the cluster knows no ProjectSettings, or we may not see them */
    Strays *strays;
    size_t seen; /* namespaces in this look */
};

static Project *self(Flow *f)
{
    return CONTAINER_OF(f, Project, flow);
}

static WallUsec now_of(const Project *pr)
{
    return clock_wall(pr->p->o.clock);
}

/* ---- the end of a run ---- */

static void release_run(Project *pr)
{
    if (pr->objects)
        project_objects_done(pr->objects);
    free(TAKE(pr->objects));
    json_decref(TAKE(pr->extra));
}

static void end_run(Project *pr, WqResult result, Usec after, const char *reason)
{
    WqRun *run = TAKE(pr->run);
    release_run(pr);
    wq_done(run, result, after, reason);
}

static void set_state(Project *pr, ProjectState state, const char *why)
{
    bool news = pr->state != state;
    pr->state = state;
    snprintf(pr->why, sizeof pr->why, "%.255s", why);
    if (news && state != PROJECT_UNKNOWN)
        pr->p->o.on_ready(pr->p->o.arg, pr->id); /* or refused: its sessions must hear that too */
}

static double part(void)
{
    uint32_t r;
    random_bytes(&r, sizeof r);
    return (double)r / ((double)UINT32_MAX + 1);
}

static void on_ready(Project *pr)
{
    set_state(pr, PROJECT_READY, "");
    end_run(pr, WQ_AFTER, usec_sub(pr->look_at, clock_now(pr->p->o.clock)) + USEC_PER_SEC, NULL);
}

/* A refusal that more time or nothing changes: the sessions of the project are told. */
static bool is_final(const Project *pr, const KubeError *e)
{
    if (e->err.code == ERR_FORBIDDEN)
        return now_of(pr).us - pr->made_at.us > YOUNG;
    return e->err.code == ERR_INVALID || e->err.code == ERR_TOO_LARGE;
}

static void on_flow(Flow *f, const KubeError *e)
{
    Project *pr = self(f);
    if (!e && !pr->objects) { /* it was deleted, and is gone now */
        strays_forget(pr->p->strays, str_from(pr->id));
        set_state(pr, PROJECT_UNKNOWN, "the project was deleted");
        end_run(pr, WQ_OK, 0, NULL);
        return;
    }
    if (!e) {
        on_ready(pr);
        return;
    }
    if (e->err.code == ERR_RATE_LIMITED && e->status == 0) { /* something is pending */
        set_state(pr, PROJECT_UNKNOWN, e->err.msg);
        end_run(pr, WQ_WAIT, PENDING_WAIT, NULL);
        return;
    }
    log_warn("handler failed, will retry", F_STR("reconciler", "projects"), F_STR("project_id", pr->id),
             F_ERR(&e->err));
    pr->look_at = clock_now(pr->p->o.clock);
    if (is_final(pr, e))
        set_state(pr, PROJECT_REFUSED, e->err.msg);
    else if (pr->state != PROJECT_READY)
        set_state(pr, PROJECT_UNKNOWN, e->err.msg);
    end_run(pr, WQ_RETRY, 0, err_info(e->err.code)->name);
}

/* ---- the namespace ---- */

static bool label_is(const json_t *o, const char *key, const char *value)
{
    const char *have = kube_label(o, key);
    return have && strcmp(have, value) == 0;
}

static bool is_ours(const Project *pr, const json_t *ns)
{
    return label_is(ns, LABEL_MANAGED, "true") && label_is(ns, LABEL_PROJECT, pr->id) &&
           !is_of_another(&pr->p->o.config->kube, ns);
}

static bool is_terminating(const json_t *ns)
{
    const char *phase = json_get_str(json_get_obj(ns, "status"), "phase");
    return kube_deleting(ns) || (phase && strcmp(phase, "Terminating") == 0);
}

static void on_namespace_made(Flow *f, json_t *ns)
{
    if (!ns) { /* another one made it just now: look at whose it is */
        flow_fail(f, ERR_RATE_LIMITED, "NamespacePending", "the namespace appeared meanwhile");
        return;
    }
    log_info("namespace created", F_STR("project_id", self(f)->id), F_STR("namespace", self(f)->ns));
    self(f)->made_at = kube_created(ns);
    flow_next(f);
}

static void label_namespace(Flow *f)
{
    const Project *pr = self(f);
    json_t *labels = namespace_labels(&pr->p->o.config->kube, str_from(pr->id));
    flow_merge(f, KUBE_NAMESPACES, NULL, pr->ns, json_pack("{s:{s:o}}", "metadata", "labels", labels));
}

/* Nothing differs and it was looked at lately: no more calls. */
static bool is_settled(const Project *pr, const json_t *ns)
{
    const char *mark = kube_annotation(ns, ANNOTATION_PROVISIONED);
    bool lately = pr->look_at == 0 || clock_now(pr->p->o.clock) < pr->look_at;
    return mark && strcmp(mark, pr->objects->hash) == 0 && lately;
}

static void finish_early(Flow *f)
{
    Project *pr = self(f);
    if (pr->look_at == 0) /* the first time: the looks of many projects are spread over the interval */
        pr->look_at = clock_now(pr->p->o.clock) + (Usec)((double)LOOK * part());
    flow_finish(f);
}

static void judge_namespace(Flow *f, json_t *ns)
{
    Project *pr = self(f);
    const char *mark = kube_annotation(ns, ANNOTATION_PROVISIONED);
    pr->made_at = kube_created(ns);
    pr->marked = mark && strcmp(mark, pr->objects->hash) == 0;
    if (is_terminating(ns))
        flow_fail(f, ERR_RATE_LIMITED, "NamespaceTerminating",
                  "an older namespace of this name is still going");
    else if (label_is(ns, LABEL_ADOPT, pr->id) && !is_ours(pr, ns))
        label_namespace(f);
    else if (!is_ours(pr, ns))
        flow_fail(f, ERR_INVALID, "NamespaceForeign",
                  "a namespace of this name exists and is not this project's");
    else if (is_settled(pr, ns))
        finish_early(f);
    else if (!is_managed(ns))
        label_namespace(f);
    else
        flow_next(f);
}

static void on_namespace(Flow *f, json_t *ns)
{
    const Project *pr = self(f);
    if (ns)
        judge_namespace(f, ns);
    else
        flow_create(f, KUBE_NAMESPACES,
                    project_namespace_build(&pr->p->o.config->kube, pr->ns, str_from(pr->id)),
                    on_namespace_made);
}

static void step_namespace(Flow *f)
{
    flow_get(f, KUBE_NAMESPACES, NULL, self(f)->ns, on_namespace);
}

/* ---- the namespace of a tenant ---- */

static void step_tenant(Flow *f)
{
    const Project *pr = self(f);
    flow_apply(f, KUBE_TENANT_NAMESPACES,
               project_tenant_build(&pr->p->o.config->kube, pr->ns, str_from(pr->id)), NULL);
}

static void on_tenant_namespace(Flow *f, json_t *ns)
{
    Project *pr = self(f);
    const char *phase = json_get_str(json_get_obj(ns, "status"), "phase");
    const char *mark = kube_annotation(ns, ANNOTATION_PROVISIONED);
    if (!ns || is_terminating(ns) || !phase || strcmp(phase, "Active") != 0) {
        flow_fail(f, ERR_RATE_LIMITED, "NamespacePending", "the tenant's namespace is not there yet");
        return;
    }
    pr->made_at = kube_created(ns);
    pr->marked = mark && strcmp(mark, pr->objects->hash) == 0;
    if (is_settled(pr, ns))
        finish_early(f);
    else
        flow_next(f);
}

/* Until the operator has given us our rights there, we may not even look. */
static void on_tenant_looked(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    if (e && e->status != 403 && e->status != 404)
        flow_fail(f, e->err.code, e->reason, e->err.msg);
    else
        on_tenant_namespace(f, body);
}

static void step_tenant_namespace(Flow *f)
{
    f->call = kube_send(f->kube, KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_NAMESPACES, .name = self(f)->ns),
                        on_tenant_looked, f);
}

/* ---- what is in it ---- */

static void apply_next(Flow *f);

static void on_object_applied(Flow *f, json_t *object)
{
    self(f)->at++;
    apply_next(f);
}

static void apply_next(Flow *f)
{
    Project *pr = self(f);
    if (pr->at == pr->objects->n) {
        flow_next(f);
        return;
    }
    const ProjectObject *o = &pr->objects->list[pr->at];
    f->adopt = o->adopt;
    flow_apply(f, o->kind, json_deep_copy(o->want), on_object_applied);
}

static void step_objects(Flow *f)
{
    self(f)->at = 0;
    apply_next(f);
}

static void on_runner_secrets(Flow *f, json_t *have)
{
    if (have)
        flow_next(f); /* what a user put there stays */
    else
        flow_create(f, KUBE_SECRETS, project_runner_secrets_build(self(f)->ns), NULL);
}

static void step_runner_secrets(Flow *f)
{
    flow_get(f, KUBE_SECRETS, self(f)->ns, RUNNER_SECRETS, on_runner_secrets);
}

static void on_vertex(Flow *f, json_t *source)
{
    const KubeSettings *k = &self(f)->p->o.config->kube;
    if (source)
        flow_apply(f, KUBE_SECRETS, project_vertex_build(k, self(f)->ns, source), NULL);
    else
        flow_fail(f, ERR_UNAVAILABLE, "VertexSecretMissing", "the Secret to copy for Vertex does not exist");
}

static void step_vertex(Flow *f)
{
    const KubeSettings *k = &self(f)->p->o.config->kube;
    if (!self(f)->p->o.config->use_vertex)
        flow_next(f);
    else
        flow_get(f, KUBE_SECRETS, k->vertex_secret_ns, k->vertex_secret, on_vertex);
}

/* ---- bindings that are not wanted any more ---- */

static void delete_extra(Flow *f);

static void on_extra_deleted(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    if (e && e->status != 404)
        flow_fail(f, e->err.code, e->reason, e->err.msg);
    else
        delete_extra(f);
}

static void delete_extra(Flow *f)
{
    Project *pr = self(f);
    size_t n = json_array_size(pr->extra);
    if (n == 0) {
        flow_next(f);
        return;
    }
    CLEANUP_FREE char *name = xstrdup(json_string_value(json_array_get(pr->extra, n - 1)));
    json_array_remove(pr->extra, n - 1);
    log_info("access revoked", F_STR("namespace", pr->ns), F_STR("binding", name));
    f->call = kube_send(
        f->kube, KUBE_REQUEST(.verb = KUBE_DELETE, .kind = KUBE_ROLE_BINDINGS, .ns = pr->ns, .name = name),
        on_extra_deleted, f);
}

static void on_bindings(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    Project *pr = self(f);
    f->call = NULL;
    if (e) {
        flow_fail(f, e->err.code, e->reason, e->err.msg);
        return;
    }
    const json_t *items = json_get_arr(body, "items");
    pr->extra = json_array();
    for (size_t i = 0; i < json_array_size(items); i++) {
        const char *name = kube_name(json_array_get(items, i));
        if (!project_objects_has(pr->objects, KUBE_ROLE_BINDINGS, name))
            json_array_append_new(pr->extra, json_string(name));
    }
    delete_extra(f);
}

static void step_extra(Flow *f)
{
    f->call = kube_send(f->kube,
                        KUBE_REQUEST(.verb = KUBE_LIST, .kind = KUBE_ROLE_BINDINGS, .ns = self(f)->ns,
                                     .labels = LABEL_MANAGED_BY "=" MANAGER),
                        on_bindings, f);
}

/* ---- the object that the reference's operator reads ---- */

/* Only clusters that ran its first versions know the kind; access does not depend on it. */
static bool is_unknown_here(const KubeError *e)
{
    return e && (e->status == 403 || e->status == 404);
}

static void on_legacy(Flow *f, const KubeError *e, bool skip)
{
    Project *pr = self(f);
    if (e && !skip) {
        flow_fail(f, e->err.code, e->reason, e->err.msg);
        return;
    }
    if (skip)
        pr->p->legacy_at = usec_add(clock_now(pr->p->o.clock), ABSENT_FOR);
    flow_next(f);
}

static void on_legacy_made(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    f->call = NULL;
    on_legacy(f, e && kube_error_is(e, "AlreadyExists") ? NULL : e, is_unknown_here(e));
}

static void on_legacy_seen(void *arg, json_t *body, const KubeError *e)
{
    Flow *f = arg;
    Project *pr = self(f);
    f->call = NULL;
    if (!e || e->status != 404) {
        on_legacy(f, e, is_unknown_here(e));
        return;
    }
    CLEANUP_JSON json_t *want = project_settings_build(pr->ns, str_from(pr->id));
    f->call = kube_send(
        f->kube, KUBE_REQUEST(.verb = KUBE_CREATE, .kind = KUBE_PROJECT_SETTINGS, .ns = pr->ns, .body = want),
        on_legacy_made, f);
}

static void step_legacy(Flow *f)
{
    const Project *pr = self(f);
    if (clock_now(pr->p->o.clock) < pr->p->legacy_at)
        flow_next(f);
    else
        f->call = kube_send(f->kube,
                            KUBE_REQUEST(.verb = KUBE_GET, .kind = KUBE_PROJECT_SETTINGS, .ns = pr->ns,
                                         .name = PROJECT_SETTINGS_OBJECT),
                            on_legacy_seen, f);
}

static void step_mark(Flow *f)
{
    Project *pr = self(f);
    if (pr->marked || pr->p->o.config->kube.mpp) { /* a tenant may not change its namespace */
        flow_next(f);
        return;
    }
    flow_merge(
        f, KUBE_NAMESPACES, NULL, pr->ns,
        json_pack("{s:{s:{s:s}}}", "metadata", "annotations", ANNOTATION_PROVISIONED, pr->objects->hash));
}

static void step_looked(Flow *f)
{
    Project *pr = self(f);
    pr->look_at = clock_now(pr->p->o.clock) + (Usec)((double)LOOK * (0.9 + 0.2 * part()));
    flow_next(f);
}

static const FlowStep standard_steps[] = {step_namespace, step_objects, step_runner_secrets,
                                          step_vertex,    step_extra,   step_legacy,
                                          step_mark,      step_looked,  NULL};
static const FlowStep mpp_steps[] = {
    step_tenant, step_tenant_namespace, step_objects, step_runner_secrets, step_vertex,
    step_extra,  step_legacy,           step_mark,    step_looked,         NULL};

/* ---- a project that was deleted ---- */

static void on_old_namespace(Flow *f, json_t *ns)
{
    const Project *pr = self(f);
    if (!ns || !is_ours(pr, ns) || kube_deleting(ns)) {
        flow_next(f);
        return;
    }
    log_info("namespace of a deleted project is deleted", F_STR("namespace", pr->ns));
    flow_delete(f, KUBE_NAMESPACES, NULL, pr->ns, kube_uid(ns), KUBE_GRACE_DEFAULT);
}

static void step_old_namespace(Flow *f)
{
    flow_get(f, KUBE_NAMESPACES, NULL, self(f)->ns, on_old_namespace);
}

static void on_old_tenant(Flow *f, json_t *tenant)
{
    const Project *pr = self(f);
    if (!tenant || !is_ours(pr, tenant)) {
        flow_next(f);
        return;
    }
    flow_delete(f, KUBE_TENANT_NAMESPACES, pr->p->o.config->kube.mpp_ns, pr->ns + strlen(MPP_PREFIX),
                kube_uid(tenant), KUBE_GRACE_DEFAULT);
}

static void step_old_tenant(Flow *f)
{
    const Project *pr = self(f);
    flow_get(f, KUBE_TENANT_NAMESPACES, pr->p->o.config->kube.mpp_ns, pr->ns + strlen(MPP_PREFIX),
             on_old_tenant);
}

static void step_old_puller(Flow *f)
{
    const Project *pr = self(f);
    const char *image_ns = pr->p->o.config->kube.runner_image_ns;
    CLEANUP_FREE char *labels = xasprintf("%s=%s,%s=%s", LABEL_MANAGED_BY, MANAGER, LABEL_PROJECT, pr->id);
    if (image_ns)
        flow_delete_all(f, KUBE_ROLE_BINDINGS, image_ns, labels);
    else
        flow_next(f);
}

static const FlowStep standard_end[] = {step_old_namespace, step_old_puller, NULL};
static const FlowStep mpp_end[] = {step_old_tenant, step_old_puller, NULL};

/* ---- the queue's side ---- */

static Project *get_project(KubeProjects *p, const char *id)
{
    Project *pr = map_get(p->all, str_from(id));
    if (pr)
        return pr;
    size_t len = strlen(id);
    pr = xcalloc(1, sizeof *pr + len + 1);
    pr->p = p;
    memcpy(pr->id, id, len);
    flow_init(&pr->flow, p->o.kube, on_flow);
    map_put(p->all, str_from(id), pr);
    return pr;
}

static void project_free(Project *pr)
{
    flow_done(&pr->flow);
    release_run(pr);
    free(pr);
}

typedef struct FindSettings {
    const Cache *cache;
    const char *project;
    const Obj *found;
} FindSettings;

static void match_settings(void *arg, const char *id)
{
    FindSettings *f = arg;
    const Obj *o = cache_get(f->cache, str_from(id));
    if (str_eqz(obj_str(o, PROJECT_SETTINGS_PROJECT_ID), f->project))
        f->found = o;
}

static const Obj *find_settings(const KubeProjects *p, const char *project)
{
    FindSettings f = {p->o.settings, project, NULL};
    if (p->o.settings)
        cache_each(p->o.settings, match_settings, &f);
    return f.found;
}

static bool is_known(const KubeProjects *p, Str id)
{
    return cache_get(p->o.projects, id) && !cache_is_doubtful(p->o.projects, id);
}

static void run_end(Project *pr)
{
    flow_start(&pr->flow, pr->p->o.config->kube.mpp ? mpp_end : standard_end);
}

/* Nobody said that it was deleted. A list without it is the server's word, and it takes two of them. */
static StrayVerdict judge_stray(const Project *pr, Usec *ret_wait)
{
    const KubeProjects *p = pr->p;
    *ret_wait = PENDING_WAIT;
    if (!p->o.config->kube.gc_namespaces || is_known(p, str_from(pr->id)))
        return STRAY_KEEP;
    return strays_gone(p->strays, str_from(pr->id), cache_lists(p->o.projects), ret_wait);
}

/* False: it is none. */
static bool run_stray(Project *pr)
{
    Usec wait;
    switch (judge_stray(pr, &wait)) {
    case STRAY_KEEP:
        return false;
    case STRAY_REMOVE:
        run_end(pr);
        return true;
    case STRAY_RELIST:
        pr->p->o.relist(pr->p->o.arg);
        break;
    case STRAY_WAIT:
        break;
    }
    end_run(pr, WQ_WAIT, wait, NULL);
    return true;
}

static void queue_run(void *arg, const char *key, WqRun *run)
{
    KubeProjects *p = arg;
    Project *pr = get_project(p, key);
    const Obj *project = cache_get(p->o.projects, str_from(key));
    Err err = {0};
    wq_run_set_data(run, pr);
    pr->run = run;
    if (project_namespace(&p->o.config->kube, str_from(key), pr->ns, &err) < 0) {
        set_state(pr, PROJECT_REFUSED, err.msg);
        end_run(pr, WQ_OK, 0, NULL);
    } else if (cache_was_deleted(p->o.projects, str_from(key))) {
        run_end(pr);
    } else if (run_stray(pr)) {
        return;
    } else if (project) {
        pr->objects = xnew(ProjectObjects);
        project_objects_build(p->o.config, pr->ns, project, find_settings(p, key), pr->objects);
        flow_start(&pr->flow, p->o.config->kube.mpp ? mpp_steps : standard_steps);
    } else {
        end_run(pr, WQ_OK, 0, NULL);
    }
}

static void queue_cancel(void *arg, const char *key, WqRun *run)
{
    Project *pr = wq_run_data(run);
    pr->run = NULL;
    flow_done(&pr->flow);
    flow_init(&pr->flow, pr->p->o.kube, on_flow);
    release_run(pr);
}

static void queue_wake(void *arg)
{
    KubeProjects *p = arg;
    p->o.wake(p->o.arg);
}

KubeProjects *kube_projects_new(const KubeProjectsOptions *o)
{
    static const WqOps ops = {.run = queue_run, .cancel = queue_cancel, .wake = queue_wake};
    KubeProjects *p = xnew(KubeProjects);
    p->o = *o;
    p->all = map_new();
    p->strays = strays_new(o->clock, o->config->kube.young, o->config->kube.confirm);
    const WqOptions wo = {
        .name = "projects", .clock = o->clock, .workers = 4, .run_deadline = 120 * USEC_PER_SEC};
    p->queue = wq_new(&wo, &ops, p);
    return p;
}

KubeProjects *kube_projects_free(KubeProjects *p)
{
    if (!p)
        return NULL;
    wq_free(p->queue);
    MAP_FOREACH (p->all, it)
        project_free(it.value);
    map_free(p->all);
    strays_free(p->strays);
    free(p);
    return NULL;
}

WorkQueue *kube_projects_queue(KubeProjects *p)
{
    return p->queue;
}

void kube_projects_add(KubeProjects *p, const char *project)
{
    wq_add(p->queue, str_from(project));
}

ProjectState kube_projects_state(const KubeProjects *p, Str project, const char **why)
{
    const Project *pr = map_get(p->all, project);
    if (why)
        *why = pr ? pr->why : "the project has not been looked at yet";
    return pr ? pr->state : PROJECT_UNKNOWN;
}

WallUsec kube_projects_made_at(const KubeProjects *p, Str project)
{
    const Project *pr = map_get(p->all, project);
    return pr ? pr->made_at : (WallUsec){0};
}

/* ---- namespaces that are there ---- */

void kube_projects_look_begin(KubeProjects *p)
{
    p->seen = 0;
    strays_round_begin(p->strays);
}

void kube_projects_saw(KubeProjects *p, const char *project, WallUsec made_at)
{
    Str id = str_from(project);
    p->seen++;
    if (cache_list_age(p->o.projects) == USEC_NEVER) /* we know of no project yet */
        return;
    if (is_known(p, id))
        strays_forget(p->strays, id);
    else if (cache_was_deleted(p->o.projects, id)) /* perhaps while nobody led: no other event will come */
        kube_projects_add(p, project);
    else
        strays_round_add(p->strays, id, made_at);
}

static void add_stray(void *arg, const char *id)
{
    kube_projects_add(arg, id);
}

void kube_projects_look_end(KubeProjects *p)
{
    if (!strays_round_end(p->strays, p->seen))
        log_error("too many namespaces without a project: none is deleted",
                  F_UINT("missing", strays_count(p->strays)), F_UINT("existing", p->seen));
    else if (p->o.config->kube.gc_namespaces)
        strays_each(p->strays, add_stray, p);
}

size_t kube_projects_strays(const KubeProjects *p)
{
    return strays_count(p->strays);
}
