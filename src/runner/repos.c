#include "repos.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/vec.h"
#include "git.h"
#include "json/json.h"

#define REPOS_MAX 100
#define CLONE_LIMIT (1800 * USEC_PER_SEC)
#define LOOK_LIMIT (30 * USEC_PER_SEC)
#define LOOK_MAX ((size_t)1 << 20)

/* A clone on its way: the steps are a chain of git runs. */
typedef struct Task {
    ListLink link;
    Repos *owner;
    Repo *repo;
    RepoDone done; /* NULL: of the start */
    void *arg;
    GitJob *job;
    char *temp;      /* relative to the workspace */
    bool own_branch; /* the branch is not there: it will be made */
} Task;

struct Repos {
    Loop *loop;
    const RunnerConfig *config;
    Workspace *workspace;
    ReposOps ops;
    void *arg;
    VEC_OF(Repo *)
    list;
    Repo *workflow;
    List tasks; /* the first one runs */
    VEC_OF(char *)
    complaints; /* about the configuration */
    Timer *kick;
};

static void next_task(Repos *r);

static Repo *repo_free(Repo *x)
{
    if (!x)
        return NULL;
    free(x->url);
    free(x->branch);
    free(x->name);
    free(x->sub_path);
    free(x->current);
    free(x->dflt);
    free(x->error);
    free(x);
    return NULL;
}

static void replace(char **member, char *value)
{
    free(*member);
    *member = value;
}

static char *place_of(const Repo *x)
{
    return xasprintf("%s/%s", x->is_workflow ? "workflows" : "repos", x->name);
}

static char *real_place(const Repos *r, const char *place)
{
    return path_join(workspace_root(r->workspace), place);
}

/* ---- what is wanted ---- */

static Repo *repo_make(const Repos *r, Str url, Str branch, Str name, Err *err)
{
    name = name.len ? name : git_name_of_url(url);
    if (git_check_url(r->config, url, err) < 0 || git_check_name(name, err) < 0 ||
        (branch.len && git_check_branch(branch, err) < 0))
        return NULL;
    Repo *x = xnew(Repo);
    x->url = str_dup(url);
    x->branch = branch.len ? str_dup(branch) : NULL;
    x->name = str_dup(name);
    return x;
}

static Repo *find(const Repos *r, Str name)
{
    VEC_FOREACH (&r->list, x)
        if (str_eqz(name, (*x)->name))
            return *x;
    return NULL;
}

/* {url, branch?, name?, autoPush?}; old ones have url and branch below `input`. */
static void read_entry(Repos *r, const json_t *entry)
{
    const json_t *in = json_get_obj(entry, "input");
    const json_t *from = json_get_strv(entry, "url").len || !in ? entry : in;
    Err err = {0};
    Repo *x = repo_make(r, json_get_strv(from, "url"), json_get_strv(from, "branch"),
                        json_get_strv(entry, "name"), &err);

    if (x && find(r, str_from(x->name))) {
        (void)err_set(&err, ERR_CONFLICT, "two repositories are named %s", x->name);
        x = repo_free(x);
    }
    if (!x) {
        vec_push(&r->complaints, xasprintf("A repository of the session is left out: %s.", err.msg));
        return;
    }
    x->auto_push = json_get_bool(entry, "autoPush", false);
    vec_push(&r->list, x);
}

static void read_config(Repos *r)
{
    const RunnerConfig *c = r->config;
    CLEANUP_JSON json_t *list = NULL;
    Str text = str_trim(str_from(c->repos));
    Err err = {0};
    json_t *entry;
    size_t i;

    if (text.len && (json_parse(text, &list, &err) < 0 || !json_is_array(list)))
        vec_push(&r->complaints,
                 xstrdup("The session's repositories cannot be read: REPOS_JSON is no JSON array."));
    json_array_foreach(list, i, entry)
    {
        if (i < REPOS_MAX)
            read_entry(r, entry);
    }
    if (!c->workflow_url || !*c->workflow_url)
        return;
    r->workflow = repo_make(r, str_from(c->workflow_url), str_from(c->workflow_branch), STR_NULL, &err);
    if (!r->workflow) {
        vec_push(&r->complaints, xasprintf("The session's workflow is left out: %s.", err.msg));
        return;
    }
    r->workflow->is_workflow = true;
    r->workflow->sub_path = c->workflow_path && *c->workflow_path ? xstrdup(c->workflow_path) : NULL;
}

/* ---- the end of a task ---- */

static void task_free(Task *t)
{
    CLEANUP_FREE char *temp = t->temp ? real_place(t->owner, t->temp) : NULL;

    list_remove(&t->link);
    git_cancel(t->job);
    if (temp && file_exists(temp))
        (void)dir_remove_tree(temp, NULL);
    free(t->temp);
    free(t);
}

static void tell(const Repos *r, const Repo *x)
{
    CLEANUP_FREE char *place = place_of(x);
    CLEANUP_BUF Buf text = BUF_INIT(16384);

    if (x->state == REPO_FAILED)
        (void)buf_addf(&text, "%s could not be cloned: %s", x->url, x->error);
    else if (x->current)
        (void)buf_addf(&text, "%s (branch %s) is in %s.", x->url, x->current, place);
    else
        (void)buf_addf(&text, "%s is in %s.", x->url, place);
    r->ops.on_notice(r->arg, text.data);
}

static void task_end(Task *t, bool newly, const char *error)
{
    Repos *r = t->owner;
    Repo *x = t->repo;
    RepoDone done = t->done;
    void *arg = t->arg;

    x->state = error ? REPO_FAILED : REPO_READY;
    replace(&x->error, error ? xstrdup(error) : NULL);
    log_info("repository", F_STR("name", x->name), F_BOOL("ready", !error), F_BOOL("cloned", newly));
    task_free(t);
    if (newly || error)
        tell(r, x);
    if (done)
        done(arg, x, newly, x->error);
    timer_arm(r->kick, 0);
}

/* ---- steps ---- */

static void run(Task *t, const char *dir, const char *const *args, bool network, GitDone done)
{
    GitSpec spec = {.config = t->owner->config,
                    .dir = dir,
                    .args = args,
                    .network = network,
                    .limit = network ? CLONE_LIMIT : LOOK_LIMIT,
                    .out_max = LOOK_MAX};

    t->job = git_run(t->owner->loop, &spec, done, t);
}

/* Lines of "<*> <refname> <symref>": the branch that is checked out, and the remote's own. */
static void on_looked(void *arg, const char *error, Str out)
{
    Task *t = arg;
    Repo *x = t->repo;

    t->job = NULL;
    for (Str rest = out; !error && rest.ptr;) {
        Str ref = str_cut(&rest, '\n');
        bool head = str_starts(ref, STR("* "));
        Str target = str_slice(ref, 2, ref.len), name = str_cut(&target, ' ');
        if (head && str_starts(name, STR("refs/heads/")))
            replace(&x->current, str_dup(str_slice(name, 11, name.len)));
        if (str_eqz(name, "refs/remotes/origin/HEAD") && str_starts(target, STR("refs/remotes/origin/")))
            replace(&x->dflt, str_dup(str_slice(target, 20, target.len)));
    }
    task_end(t, t->temp != NULL, NULL);
}

static void look(Task *t)
{
    static const char *const args[] = {
        "for-each-ref", "--format=%(if)%(HEAD)%(then)%(HEAD)%(else)-%(end) %(refname) %(symref)",
        "refs/heads", "refs/remotes/origin/HEAD", NULL};
    CLEANUP_FREE char *place = place_of(t->repo);
    CLEANUP_FREE char *dir = real_place(t->owner, place);

    run(t, dir, args, false, on_looked);
}

static int take_place(const Task *t, Err *err)
{
    const Repos *r = t->owner;
    CLEANUP_FREE char *place = place_of(t->repo);
    CLEANUP_FREE char *to = real_place(r, place);
    CLEANUP_FREE char *from = real_place(r, t->temp);

    if (t->repo->is_workflow && workspace_remove_tree(r->workspace, str_from(place), err) < 0 &&
        err->code != ERR_NOT_FOUND)
        return -(int)err->code;
    *err = (Err){0};
    return rename(from, to) < 0 ? err_set(err, ERR_IO, "%s: %m", place) : 0;
}

static void on_cloned(void *arg, const char *error, Str out);

static void arrive(Task *t)
{
    Err err = {0};

    if (take_place(t, &err) < 0) {
        task_end(t, false, err.msg);
        return;
    }
    t->repo->cloned_at = clock_wall(loop_clock(t->owner->loop));
    look(t);
}

static void on_branch_made(void *arg, const char *error, Str out)
{
    Task *t = arg;

    t->job = NULL;
    if (error)
        task_end(t, false, error);
    else
        arrive(t);
}

static void make_branch(Task *t)
{
    const char *const args[] = {"checkout", "--quiet", "-b", t->repo->branch, NULL};
    CLEANUP_FREE char *dir = real_place(t->owner, t->temp);

    run(t, dir, args, false, on_branch_made);
}

static void clone(Task *t)
{
    const Repo *x = t->repo;
    const char *args[16] = {"clone", "--quiet", "--template=", "--origin=origin"};
    CLEANUP_FREE char *dir = real_place(t->owner, t->temp);
    CLEANUP_FREE char *branch = xasprintf("--branch=%s", x->branch ? x->branch : "");
    size_t n = 4;

    if (x->is_workflow)
        args[n++] = "--depth=1";
    if (x->branch && !t->own_branch)
        args[n++] = branch;
    args[n++] = "--";
    args[n++] = x->url;
    args[n++] = dir;
    run(t, workspace_root(t->owner->workspace), args, true, on_cloned);
}

static void on_cloned(void *arg, const char *error, Str out)
{
    Task *t = arg;
    bool no_branch = error && t->repo->branch && !t->own_branch && strstr(error, "not found in upstream");

    t->job = NULL;
    if (no_branch && !t->repo->is_workflow) {
        t->own_branch = true;
        clone(t);
    } else if (error) {
        task_end(t, false, error);
    } else if (t->own_branch) {
        make_branch(t);
    } else {
        arrive(t);
    }
}

static int make_room(Task *t, Err *err)
{
    CLEANUP_FREE char *dir = real_place(t->owner, t->repo->is_workflow ? "workflows" : "repos");
    uint64_t number;

    random_bytes(&number, sizeof(number));
    t->temp = xasprintf("%s/.clone-%016llx", t->repo->is_workflow ? "workflows" : "repos",
                        (unsigned long long)number);
    return dir_make(dir, 0755, err);
}

static void task_start(Task *t)
{
    CLEANUP_FREE char *place = place_of(t->repo);
    CLEANUP_FREE char *dir = NULL;
    Err err = {0};

    t->repo->state = REPO_CLONING;
    if (!t->repo->is_workflow && workspace_dir(t->owner->workspace, str_from(place), &dir, NULL) == 0) {
        look(t); /* it is there: of an earlier runner of this session, and the agent's work may be in it */
        return;
    }
    if (make_room(t, &err) < 0)
        task_end(t, false, err.msg);
    else
        clone(t);
}

static void next_task(Repos *r)
{
    if (list_empty(&r->tasks)) {
        r->ops.on_settled(r->arg);
        return;
    }
    Task *t = LIST_ENTRY(r->tasks.next, Task, link);
    if (!t->job && t->repo->state != REPO_CLONING)
        task_start(t);
}

static void on_kick(void *arg)
{
    next_task(arg);
}

static void add_task(Repos *r, Repo *x, RepoDone done, void *arg)
{
    Task *t = xnew(Task);

    t->owner = r;
    t->repo = x;
    t->done = done;
    t->arg = arg;
    x->state = REPO_WAITING;
    list_push_back(&r->tasks, &t->link);
    timer_arm(r->kick, 0);
}

/* ---- life ---- */

Repos *repos_new(Loop *l, const RunnerConfig *c, Workspace *w, const ReposOps *ops, void *arg)
{
    Repos *r = xnew(Repos);

    r->loop = l;
    r->config = c;
    r->workspace = w;
    r->ops = *ops;
    r->arg = arg;
    list_init(&r->tasks);
    r->kick = timer_new(l, on_kick, r);
    read_config(r);
    return r;
}

void repos_start(Repos *r)
{
    VEC_FOREACH (&r->complaints, text)
        r->ops.on_notice(r->arg, *text);
    VEC_FOREACH (&r->list, x)
        add_task(r, *x, NULL, NULL);
    if (r->workflow)
        add_task(r, r->workflow, NULL, NULL);
}

Repos *repos_free(Repos *r)
{
    if (!r)
        return NULL;
    LIST_FOREACH_SAFE (&r->tasks, it)
        task_free(LIST_ENTRY(it, Task, link));
    VEC_FOREACH (&r->list, x)
        repo_free(*x);
    vec_free(&r->list);
    repo_free(r->workflow);
    VEC_FOREACH (&r->complaints, text)
        free(*text);
    vec_free(&r->complaints);
    timer_free(r->kick);
    free(r);
    return NULL;
}

bool repos_settled(const Repos *r)
{
    return list_empty(&r->tasks);
}

/* ---- changes ---- */

static int check_busy(const Repos *r, const Repo *x, Err *err)
{
    LIST_FOREACH (&r->tasks, it)
        if (LIST_ENTRY(it, Task, link)->repo == x)
            return err_set(err, ERR_CONFLICT, "%s is being cloned", x->name);
    return 0;
}

int repos_add(Repos *r, Str url, Str branch, Str name, RepoDone done, void *arg, Err *err)
{
    Repo *x = repo_make(r, url, branch, name, err);

    if (!x)
        return -(int)err->code;
    Repo *old = find(r, str_from(x->name));
    if (!old && r->list.len >= REPOS_MAX) {
        repo_free(x);
        return err_set(err, ERR_INVALID, "a session has at most %d repositories", REPOS_MAX);
    }
    if (!old) {
        vec_push(&r->list, x);
        add_task(r, x, done, arg);
        return 0;
    }
    int rc = check_busy(r, old, err);
    if (rc == 0 && strcmp(old->url, x->url) != 0)
        rc = err_set(err, ERR_CONFLICT, "another repository is named %s", old->name);
    repo_free(x);
    if (rc == 0)
        add_task(r, old, done, arg);
    return rc;
}

int repos_set_workflow(Repos *r, Str url, Str branch, Str sub_path, RepoDone done, void *arg, Err *err)
{
    Repo *x = repo_make(r, url, branch, STR_NULL, err);

    if (!x)
        return -(int)err->code;
    x->is_workflow = true;
    x->sub_path = sub_path.len ? str_dup(sub_path) : NULL;
    if (r->workflow && check_busy(r, r->workflow, err) < 0) {
        repo_free(x);
        return -ERR_CONFLICT;
    }
    repo_free(r->workflow);
    r->workflow = x;
    add_task(r, x, done, arg);
    return 0;
}

void repos_forget(Repos *r, void *arg)
{
    LIST_FOREACH (&r->tasks, it) {
        Task *t = LIST_ENTRY(it, Task, link);
        if (t->arg == arg)
            t->done = NULL;
    }
}

int repos_remove(Repos *r, Str name, Err *err)
{
    Repo *x = find(r, name);
    CLEANUP_FREE char *place = NULL;
    Err why = {0};
    int rc = git_check_name(name, err);

    if (rc == 0 && x)
        rc = check_busy(r, x, err);
    if (rc < 0)
        return rc;
    place = xasprintf("repos/" STR_FMT, STR_ARG(name));
    rc = workspace_remove_tree(r->workspace, str_from(place), &why);
    if (rc < 0 && rc != -ERR_NOT_FOUND) {
        *err = why;
        return rc;
    }
    for (size_t i = 0; x && i < r->list.len; i++) {
        if (r->list.ptr[i] != x)
            continue;
        memmove(&r->list.ptr[i], &r->list.ptr[i + 1], (r->list.len - i - 1) * sizeof(*r->list.ptr));
        r->list.len--;
        break;
    }
    repo_free(x);
    return 0;
}

/* ---- questions ---- */

size_t repos_count(const Repos *r)
{
    return r->list.len;
}

const Repo *repos_at(const Repos *r, size_t i)
{
    return r->list.ptr[i];
}

const Repo *repos_workflow(const Repos *r)
{
    return r->workflow;
}

static const char *state_name(RepoState s)
{
    static const char *const names[] = {"Cloning", "Cloning", "Ready", "Failed"};

    return names[s];
}

json_t *repo_json(const Repo *x)
{
    json_t *o = json_object();

    json_object_set_new(o, "url", json_string(x->url));
    json_object_set_new(o, "name", json_string(x->name));
    if (!x->is_workflow)
        json_object_set_new(o, "branches", json_array());
    json_object_set_new(o, "currentActiveBranch", json_string(x->current ? x->current : ""));
    json_object_set_new(o, "defaultBranch", json_string(x->dflt ? x->dflt : ""));
    json_object_set_new(o, "status", json_string(state_name(x->state)));
    if (x->sub_path)
        json_object_set_new(o, "path", json_string(x->sub_path));
    if (x->error)
        json_object_set_new(o, "error", json_string(x->error));
    if (x->cloned_at.us) {
        char text[RFC3339_MAX];
        json_object_set_new(o, "clonedAt", json_strv(rfc3339_format(x->cloned_at, text)));
    }
    return o;
}

static char *directory_of(const Repos *r, const Repo *x, const char *sub_path)
{
    CLEANUP_FREE char *place = place_of(x);
    CLEANUP_FREE char *inner = sub_path ? xasprintf("%s/%s", place, sub_path) : NULL;
    char *dir = NULL;

    if (x->state != REPO_READY)
        return NULL;
    if (inner && workspace_dir(r->workspace, str_from(inner), &dir, NULL) == 0)
        return dir;
    return workspace_dir(r->workspace, str_from(place), &dir, NULL) == 0 ? dir : NULL;
}

char *repos_agent_dir(const Repos *r)
{
    char *dir = r->workflow ? directory_of(r, r->workflow, r->workflow->sub_path) : NULL;

    for (size_t i = 0; !dir && i < r->list.len; i++)
        dir = directory_of(r, r->list.ptr[i], NULL);
    return dir ? dir : xstrdup(workspace_root(r->workspace));
}

void repos_describe(const Repos *r, Buf *out)
{
    bool first = true;

    for (size_t i = 0; i < r->list.len; i++) {
        const Repo *x = r->list.ptr[i];
        if (x->state != REPO_READY)
            continue;
        (void)buf_addf(out, "%s- %s/repos/%s (%s", first ? "Repositories of this session:\n" : "",
                       workspace_root(r->workspace), x->name, x->url);
        (void)buf_addf(
            out, "%s%s)%s\n", x->current ? ", branch " : "", x->current ? x->current : "",
            x->auto_push ? ": push what you finish, to a branch of its own, never to main or master" : "");
        first = false;
    }
    if (!first)
        (void)buf_addc(out, '\n');
}
