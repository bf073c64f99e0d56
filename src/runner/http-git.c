/* The state of a repository in the workspace, by the git program. */
#include "http-internal.h"

#include "base/file.h"
#include "git-status.h"
#include "git.h"
#include "workspace.h"

#define GIT_LIMIT (30 * USEC_PER_SEC)
#define OUT_MAX ((size_t)4 << 20)

/* A question of several runs of git. */
typedef struct Question {
    HttpApi *api;
    Later *later;
    GitJob *job;
    char *dir;
    char *remote, *branch;
    GitStatus status;
} Question;

static void question_free(Question *q)
{
    git_cancel(q->job);
    git_status_done(&q->status);
    free(q->dir);
    free(q->remote);
    free(q->branch);
    free(q);
}

static void question_forget(Later *l)
{
    question_free(l->job);
}

static void answer(Question *q, int status, const json_t *o)
{
    HttpReq *req = later_take(q->later);

    reply_json(req, status, o);
    question_free(q);
}

static void answer_detail(Question *q, int status, const char *detail)
{
    HttpReq *req = later_take(q->later);

    reply_detail(req, status, detail);
    question_free(q);
}

static void run(Question *q, const char *const *args, GitDone done)
{
    GitSpec spec = {.config = runner_config(q->api->runner),
                    .dir = q->dir,
                    .args = args,
                    .limit = GIT_LIMIT,
                    .out_max = OUT_MAX};

    q->job = git_run(q->api->loop, &spec, done, q);
}

/* Without a path it is about the place where the agent works. Answers by itself and returns NULL when there
 * is none. */
static Question *question_new(HttpApi *a, HttpReq *req, Str path)
{
    char *dir = NULL;
    Err err = {0};

    if (path.len == 0)
        dir = xstrdup(config_agent_dir(runner_config(a->runner)));
    else if (workspace_dir(runner_workspace(a->runner), path, &dir, &err) < 0) {
        reply_detail(req, 400, "directory not found");
        return NULL;
    }
    Question *q = xnew(Question);
    q->api = a;
    q->dir = dir;
    git_status_init(&q->status);
    q->later = later_new(a, req, question_forget);
    q->later->job = q;
    return q;
}

/* ---- status ---- */

static void answer_status(Question *q)
{
    CLEANUP_JSON json_t *o = json_object();
    const GitStatus *s = &q->status;

    json_object_set_new(o, "initialized", json_true());
    json_object_set_new(o, "hasChanges", json_boolean(s->files > 0));
    json_object_set_new(o, "branch", json_strv(str_from(s->branch ? s->branch : "")));
    json_object_set_new(o, "remoteUrl", json_strv(str_from(q->remote ? q->remote : "")));
    json_object_set_new(o, "hasRemote", json_boolean(q->remote && *q->remote));
    json_object_set_new(o, "filesAdded", json_integer(s->added));
    json_object_set_new(o, "filesRemoved", json_integer(s->removed));
    json_object_set_new(o, "uncommittedFiles", json_integer(s->files));
    json_object_set_new(o, "totalAdded", json_integer(s->lines_added));
    json_object_set_new(o, "totalRemoved", json_integer(s->lines_removed));
    json_object_set(o, "modified", s->modified);
    json_object_set(o, "staged", s->staged);
    json_object_set(o, "untracked", s->untracked);
    answer(q, 200, o);
}

/* A remote may hold a password; nobody needs it here. */
static char *without_password(Str url)
{
    ptrdiff_t scheme = str_find(url, STR("://"));
    size_t start = scheme < 0 ? 0 : (size_t)scheme + 3;
    Str rest = str_slice(url, start, url.len), all = rest;
    Str authority = str_cut(&rest, '/');
    ptrdiff_t at = scheme < 0 ? -1 : str_find_byte(authority, '@');

    return at < 0 ? str_dup(url)
                  : xasprintf(STR_FMT STR_FMT, STR_ARG(str_slice(url, 0, start)),
                              STR_ARG(str_slice(all, (size_t)at + 1, all.len)));
}

static void on_remote(void *arg, const char *error, Str out)
{
    Question *q = arg;

    q->job = NULL;
    if (!error)
        q->remote = without_password(str_trim(out));
    answer_status(q);
}

static void on_numbers(void *arg, const char *error, Str out)
{
    static const char *const args[] = {"config", "--get", "remote.origin.url", NULL};
    Question *q = arg;

    q->job = NULL;
    if (!error) /* there is no HEAD before the first commit */
        git_status_count(&q->status, out);
    run(q, args, on_remote);
}

static void on_status(void *arg, const char *error, Str out)
{
    static const char *const args[] = {
        "diff", "--no-ext-diff", "--no-textconv", "--numstat", "-z", "HEAD", "--", NULL};
    Question *q = arg;

    q->job = NULL;
    if (error && strstr(error, "not a git repository")) {
        CLEANUP_JSON json_t *none = json_pack("{s:b,s:b}", "initialized", 0, "hasChanges", 0);
        answer(q, 200, none);
    } else if (error) {
        answer_detail(q, 500, error);
    } else {
        git_status_read(&q->status, out);
        run(q, args, on_numbers);
    }
}

static void get_status(HttpApi *a, HttpReq *req, Str tail)
{
    static const char *const args[] = {
        "status", "--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--", NULL};
    Question *q = question_new(a, req, http_req_query(req, "path"));

    if (q)
        run(q, args, on_status);
}

/* ---- branches ---- */

static json_t *branches_of(Str out)
{
    json_t *list = json_array();

    while (out.ptr) {
        Str ref = str_cut(&out, '\n');
        Str name = str_slice(ref, sizeof("refs/remotes/origin/") - 1, ref.len);
        if (str_starts(ref, STR("refs/remotes/origin/")) && !str_eqz(name, "HEAD"))
            json_array_append_new(list, json_strv(name));
    }
    return list;
}

static void on_branches(void *arg, const char *error, Str out)
{
    Question *q = arg;
    CLEANUP_JSON json_t *o = json_object();

    q->job = NULL;
    if (error && !strstr(error, "not a git repository")) {
        answer_detail(q, 500, error);
        return;
    }
    json_object_set_new(o, "branches", branches_of(error ? STR_NULL : out));
    answer(q, 200, o);
}

static void get_branches(HttpApi *a, HttpReq *req, Str tail)
{
    static const char *const args[] = {"for-each-ref", "--format=%(refname)", "refs/remotes/origin", NULL};
    Question *q = question_new(a, req, http_req_query(req, "path"));

    if (q)
        run(q, args, on_branches);
}

/* The API server's own path answers the bare list. */
static void on_branch_list(void *arg, const char *error, Str out)
{
    Question *q = arg;
    CLEANUP_JSON json_t *list = branches_of(error ? STR_NULL : out);

    q->job = NULL;
    answer(q, 200, list);
}

static void get_branch_list(HttpApi *a, HttpReq *req, Str tail)
{
    static const char *const args[] = {"for-each-ref", "--format=%(refname)", "refs/remotes/origin", NULL};
    Question *q = question_new(a, req, http_req_query(req, "path"));

    if (q)
        run(q, args, on_branch_list);
}

/* ---- remote ---- */

/* Whether the remote could be reached does not matter: it is configured. */
static void on_fetched(void *arg, const char *error, Str out)
{
    Question *q = arg;
    CLEANUP_JSON json_t *o = json_object();

    q->job = NULL;
    json_object_set_new(o, "message", json_string("remote configured"));
    json_object_set_new(o, "remote", json_string(q->remote));
    json_object_set_new(o, "branch", json_string(q->branch));
    answer(q, 200, o);
}

static void on_remote_set(void *arg, const char *error, Str out)
{
    static const char *const args[] = {"fetch", "--quiet", "--no-recurse-submodules", "--", "origin", NULL};
    Question *q = arg;

    q->job = NULL;
    if (error)
        answer_detail(q, 500, error);
    else
        run(q, args, on_fetched);
}

/* Adding fails when it is there: then it is changed. */
static void on_remote_added(void *arg, const char *error, Str out)
{
    Question *q = arg;
    const char *const args[] = {"remote", "set-url", "--", "origin", q->remote, NULL};

    q->job = NULL;
    if (error)
        run(q, args, on_remote_set);
    else
        on_remote_set(q, NULL, out);
}

static void on_init(void *arg, const char *error, Str out)
{
    Question *q = arg;
    const char *const args[] = {"remote", "add", "--", "origin", q->remote, NULL};

    q->job = NULL;
    if (error)
        answer_detail(q, 500, error);
    else
        run(q, args, on_remote_added);
}

static void post_remote(HttpApi *a, HttpReq *req, Str tail)
{
    static const char *const init[] = {"init", "--quiet", "--template=", NULL};
    CLEANUP_JSON json_t *body = read_object(req);
    Str url = json_get_strv(body, "remoteUrl"), branch = json_get_strv(body, "branch");
    Err err = {0};

    if (!body)
        return;
    if (!branch.len)
        branch = STR("main");
    if (git_check_url(runner_config(a->runner), url, &err) < 0 || git_check_branch(branch, &err) < 0) {
        reply_err(req, &err);
        return;
    }
    Question *q = question_new(a, req, json_get_strv(body, "path"));
    if (!q)
        return;
    q->remote = str_dup(url);
    q->branch = str_dup(branch);
    CLEANUP_FREE char *dot_git = path_join(q->dir, ".git");
    if (file_exists(dot_git))
        on_init(q, NULL, STR_NULL);
    else
        run(q, init, on_init);
}

static const ApiRoute rows[] = {
    {"GET", "/content/git-status", get_status, false},
    {"GET", "/git/status", get_status, false},
    {"GET", "/content/git-list-branches", get_branches, false},
    {"GET", "/git/branches", get_branch_list, false},
    {"POST", "/content/git-configure-remote", post_remote, false},
    {"POST", "/git/configure-remote", post_remote, false},
};
const ApiTable api_git = {rows, ARRAY_LEN(rows)};
