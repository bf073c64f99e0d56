/* Repositories and the workflow of a running session. */
#include "http-internal.h"

#include "git.h"
#include "workflow.h"
#include "workspace.h"

#define REFS_MAX ((size_t)1 << 20)
#define LOOK_LIMIT (15 * USEC_PER_SEC)

/* ---- add, remove ---- */

static void forget_clone(Later *l)
{
    repos_forget(runner_repos(l->api->runner), l);
}

static void on_added(void *arg, const Repo *x, bool newly, const char *error)
{
    Later *l = arg;
    HttpApi *a = l->api;
    HttpReq *req = later_take(l);
    CLEANUP_JSON json_t *o = json_object();
    CLEANUP_FREE char *place = xasprintf("%s/repos/%s", workspace_root(runner_workspace(a->runner)), x->name);

    if (error) {
        CLEANUP_FREE char *detail = xasprintf("Failed to clone repository: %s: %s", x->url, error);
        reply_detail(req, 502, detail);
        return;
    }
    json_object_set_new(o, "message", json_string("Repository added"));
    json_object_set_new(o, "name", json_string(x->name));
    json_object_set_new(o, "path", json_string(place));
    json_object_set_new(o, "newly_cloned", json_boolean(newly));
    reply_json(req, 200, o);
    if (newly)
        runner_note(a->runner,
                    xasprintf("The repository %s was added to this session. It is in %s.", x->url, place));
}

static void post_add(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *body = read_object(req);
    Err err = {0};

    if (!body)
        return;
    Later *l = later_new(a, req, forget_clone);
    if (repos_add(runner_repos(a->runner), json_get_strv(body, "url"), json_get_strv(body, "branch"),
                  json_get_strv(body, "name"), on_added, l, &err) < 0)
        reply_err(later_take(l), &err);
}

static void post_remove(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *body = read_object(req);
    Err err = {0};

    if (!body)
        return;
    if (repos_remove(runner_repos(a->runner), json_get_strv(body, "name"), &err) < 0)
        reply_err(req, &err);
    else {
        runner_repos_changed(a->runner);
        reply_message(req, "Repository removed");
    }
}

/* ---- status: one run of git per repository ---- */

typedef struct Look {
    HttpApi *api;
    Later *later;
    GitJob *job;
    json_t *list;
    size_t at;
} Look;

static void look_next(Look *k);

static void look_free(Look *k)
{
    git_cancel(k->job);
    json_decref(k->list);
    free(k);
}

static void forget_look(Later *l)
{
    look_free(l->job);
}

/* Lines of "<*> <refname>". */
static void add_branches(json_t *o, Str out)
{
    json_t *list = json_object_get(o, "branches");

    while (out.ptr && out.len) {
        Str line = str_cut(&out, '\n');
        Str name = str_slice(line, 2 + sizeof("refs/heads/") - 1, line.len);
        if (!str_starts(str_slice(line, 2, line.len), STR("refs/heads/")))
            continue;
        json_array_append_new(list, json_strv(name));
        if (line.ptr[0] == '*')
            json_object_set_new(o, "currentActiveBranch", json_strv(name));
    }
}

static void on_refs(void *arg, const char *error, Str out)
{
    Look *k = arg;

    k->job = NULL;
    if (!error)
        add_branches(json_array_get(k->list, json_array_size(k->list) - 1), out);
    look_next(k);
}

static void look_done(Look *k)
{
    CLEANUP_JSON json_t *o = json_object();
    HttpReq *req = later_take(k->later);

    json_object_set(o, "repos", k->list);
    reply_json(req, 200, o);
    look_free(k);
}

/* A repository that came or went meanwhile is the next question's. */
static void look_next(Look *k)
{
    static const char *const args[] = {
        "for-each-ref", "--format=%(if)%(HEAD)%(then)%(HEAD)%(else)-%(end) %(refname)", "refs/heads", NULL};
    const Repos *all = runner_repos(k->api->runner);
    const RunnerConfig *c = runner_config(k->api->runner);

    while (k->at < repos_count(all)) {
        const Repo *x = repos_at(all, k->at++);
        json_array_append_new(k->list, repo_json(x));
        if (x->state != REPO_READY)
            continue;
        CLEANUP_FREE char *dir =
            xasprintf("%s/repos/%s", workspace_root(runner_workspace(k->api->runner)), x->name);
        GitSpec spec = {.config = c, .dir = dir, .args = args, .limit = LOOK_LIMIT, .out_max = REFS_MAX};
        k->job = git_run(k->api->loop, &spec, on_refs, k);
        return;
    }
    look_done(k);
}

static void get_status(HttpApi *a, HttpReq *req, Str tail)
{
    Look *k = xnew(Look);

    k->api = a;
    k->list = json_array();
    k->later = later_new(a, req, forget_look);
    k->later->job = k;
    look_next(k);
}

/* ---- workflow ---- */

static void reply_workflow(HttpReq *req, const Repo *w, const char *message)
{
    CLEANUP_JSON json_t *o = json_object();

    json_object_set_new(o, "message", json_string(message));
    json_object_set_new(o, "gitUrl", json_string(w->url));
    json_object_set_new(o, "branch", json_string(w->branch ? w->branch : ""));
    json_object_set_new(o, "path", json_string(w->sub_path ? w->sub_path : ""));
    reply_json(req, 200, o);
}

static void on_workflow(void *arg, const Repo *w, bool newly, const char *error)
{
    Later *l = arg;
    HttpApi *a = l->api;
    HttpReq *req = later_take(l);

    if (error) {
        CLEANUP_FREE char *detail = xasprintf("Failed to clone workflow: %s: %s", w->url, error);
        reply_detail(req, 502, detail);
        return;
    }
    runner_workflow_changed(a->runner);
    reply_workflow(req, w, "Workflow updated");
}

static bool same(const char *a, Str b)
{
    return str_eq(str_from(a), b);
}

static void post_workflow(HttpApi *a, HttpReq *req, Str tail)
{
    CLEANUP_JSON json_t *body = read_object(req);
    Repos *all = runner_repos(a->runner);
    Err err = {0};

    if (!body)
        return;
    Str url = json_get_strv(body, "gitUrl"), branch = json_get_strv(body, "branch"),
        path = json_get_strv(body, "path");
    const Repo *now = repos_workflow(all);
    if (now && now->state == REPO_READY && same(now->url, url) && same(now->branch, branch) &&
        same(now->sub_path, path)) {
        reply_workflow(req, now, "Workflow already active");
        return;
    }
    Later *l = later_new(a, req, forget_clone);
    if (repos_set_workflow(all, url, branch, path, on_workflow, l, &err) < 0)
        reply_err(later_take(l), &err);
}

static void get_metadata(HttpApi *a, HttpReq *req, Str tail)
{
    if (!http_req_query(req, "session").len) {
        reply_detail(req, 400, "missing session parameter");
        return;
    }
    CLEANUP_JSON json_t *o = workflow_metadata(runner_repos(a->runner), runner_workspace(a->runner));
    reply_json(req, 200, o);
}

static const ApiRoute rows[] = {
    {"GET", "/content/workflow-metadata", get_metadata, false},
    {"POST", "/repos/add", post_add, false},
    {"POST", "/repos/remove", post_remove, false},
    {"GET", "/repos/status", get_status, false},
    {"POST", "/workflow", post_workflow, false},
};
const ApiTable api_repos = {rows, ARRAY_LEN(rows)};
