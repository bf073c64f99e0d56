#include "git.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "proc.h"
#include "stderr-ring.h"
#include "wall.h"

#define ARGS_MAX 64
#define URL_LEN_MAX 2048
#define NAME_LEN_MAX 100
#define BRANCH_LEN_MAX 255
#define ERROR_MAX ((size_t)8 << 10)

/* Configuration that could start programs, whatever the repository says; and no daemons of git's own. */
static const char *const fixed[] = {
    "git",
    "--no-pager",
    "--no-replace-objects",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.sshCommand=ssh -oBatchMode=yes -oStrictHostKeyChecking=accept-new",
    "-c",
    "diff.external=",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "submodule.recurse=false",
    "-c",
    "gc.auto=0",
    "-c",
    "maintenance.auto=false",
    "-c",
    "core.untrackedCache=false",
};

struct GitJob {
    Loop *loop;
    Proc *proc;
    Timer *limit;
    GitDone done;
    void *arg;
    Buf out;
    StderrRing errors;
    const char *why; /* we ended it: the reason */
    char *refused;   /* it did not start */
};

static void job_free(void *arg)
{
    GitJob *j = arg;

    buf_done(&j->out);
    stderr_ring_done(&j->errors);
    free(j->refused);
    free(j);
}

/* Proc and timer end at once, memory at the end of the turn: this may be their callback. */
GitJob *git_cancel(GitJob *j)
{
    if (!j)
        return NULL;
    proc_free(TAKE(j->proc));
    timer_free(TAKE(j->limit));
    loop_defer(j->loop, job_free, j);
    return NULL;
}

static void finish(GitJob *j, const char *error)
{
    GitDone done = j->done;
    void *arg = j->arg;
    Str out = buf_str(&j->out);

    git_cancel(j);
    done(arg, error, out);
}

static void give_up(GitJob *j, const char *why)
{
    if (!j->why)
        j->why = why;
    proc_signal(j->proc, SIGKILL);
}

static void on_out(void *arg, Str bytes)
{
    GitJob *j = arg;

    if (buf_adds(&j->out, bytes) < 0)
        give_up(j, "git said more than it may");
}

static void on_err(void *arg, Str bytes)
{
    GitJob *j = arg;

    stderr_ring_feed(&j->errors, bytes);
}

static void on_exit_status(void *arg, int status)
{
    GitJob *j = arg;
    CLEANUP_BUF Buf text = BUF_INIT(ERROR_MAX);
    char end[64];

    if (status == 0 && !j->why) {
        finish(j, NULL);
        return;
    }
    proc_status_text(status, end);
    buf_addf(&text, "git failed (%s)", j->why ? j->why : end);
    stderr_ring_append(&j->errors, &text);
    finish(j, text.data);
}

/* The limit of time; or of a job that did not start, to tell that later than its call. */
static void on_limit(void *arg)
{
    GitJob *j = arg;

    if (j->refused)
        finish(j, j->refused);
    else
        give_up(j, "it took too long");
}

/* What the environment says to git: programs, proxies, traces. Where the certificates are may stay. */
static void forget_git_variables(ChildEnv *env)
{
    for (unsigned long i = env->n; i-- > 0;) {
        Str rest = str_from(env->vars[i]), name = str_cut(&rest, '=');
        if (!str_starts(name, STR("GIT_")) || str_starts(name, STR("GIT_SSL_CA")))
            continue;
        CLEANUP_FREE char *copy = str_dup(name);
        child_env_unset(env, copy);
    }
}

static void make_env(const GitSpec *spec, ChildEnv *env)
{
    const char *protocols = spec->config->git_protocols, *workspace = spec->config->workspace;
    const char *slash = strrchr(workspace, '/');
    CLEANUP_FREE char *above = str_dup((Str){workspace, slash ? (size_t)(slash - workspace) : 0});

    child_env_init(env, false);
    forget_git_variables(env);
    child_env_set(env, "LC_ALL", "C");
    child_env_set(env, "GIT_TERMINAL_PROMPT", "0");
    child_env_set(env, "GIT_OPTIONAL_LOCKS", "0");
    child_env_set(env, "GIT_ALLOW_PROTOCOL", protocols);
    child_env_set(env, "GIT_LFS_SKIP_SMUDGE", "1");
    child_env_set(env, "GIT_NO_LAZY_FETCH", "1");
    /* A repository that the workspace happens to lie in is not the session's. */
    child_env_set(env, "GIT_CEILING_DIRECTORIES", *above ? above : "/");
    if (spec->network)
        git_env(spec->config, env);
}

static int start(GitJob *j, const GitSpec *spec, Err *err)
{
    static const ProcOps ops = {on_out, on_err, on_exit_status};
    const char *argv[ARGS_MAX] = {0};
    size_t n = ARRAY_LEN(fixed);
    ChildEnv env;

    memcpy(argv, fixed, sizeof(fixed));
    for (size_t i = 0; spec->args[i] && n < ARGS_MAX - 1; i++)
        argv[n++] = spec->args[i];
    make_env(spec, &env);
    CLEANUP_FD int wall = wall_prepare(spec->config);
    ProcSpec proc = {.argv = argv,
                     .envp = (const char *const *)env.vars,
                     .cwd = spec->dir,
                     .with_stdin = false,
                     .wall_fd = wall};
    int rc = proc_start(j->loop, &proc, &ops, j, &j->proc, err);
    child_env_done(&env);
    return rc;
}

GitJob *git_run(Loop *l, const GitSpec *spec, GitDone done, void *arg)
{
    GitJob *j = xnew(GitJob);
    Err err = {0};

    j->loop = l;
    j->done = done;
    j->arg = arg;
    buf_init(&j->out, spec->out_max);
    stderr_ring_init(&j->errors);
    j->limit = timer_new(l, on_limit, j);
    if (start(j, spec, &err) < 0) {
        j->refused = xasprintf("git cannot be started: %s", err.msg);
        timer_arm(j->limit, 0);
    } else {
        timer_arm(j->limit, spec->limit);
    }
    return j;
}

/* ---- what clients may name ---- */

static bool holds_bad_char(Str s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.ptr[i] <= ' ' || s.ptr[i] == 0x7f)
            return true;
    return false;
}

static bool protocol_allowed(const RunnerConfig *c, Str name)
{
    Str rest = str_from(c->git_protocols);

    while (rest.ptr)
        if (str_eq(str_cut(&rest, ':'), name))
            return true;
    return false;
}

/* "user@host:path", which git takes for ssh. */
static bool is_scp_form(Str url)
{
    ptrdiff_t at = str_find_byte(url, '@'), colon = str_find_byte(url, ':');

    return at > 0 && colon > at + 1 && str_find_byte(str_slice(url, 0, (size_t)colon), '/') < 0;
}

int git_check_url(const RunnerConfig *c, Str url, Err *err)
{
    ptrdiff_t scheme = str_find(url, STR("://"));
    Str protocol = scheme > 0 ? str_slice(url, 0, (size_t)scheme) : is_scp_form(url) ? STR("ssh") : STR("");

    if (!url.len)
        return err_set(err, ERR_INVALID, "Repository URL is required");
    if (url.len > URL_LEN_MAX || url.ptr[0] == '-' || holds_bad_char(url) || !str_is_utf8(url))
        return err_set(err, ERR_INVALID, "Repository URL is not valid");
    if (!protocol_allowed(c, protocol))
        return err_set(err, ERR_INVALID, "Repository URL must be https://, ssh:// or user@host:path");
    return 0;
}

int git_check_branch(Str b, Err *err)
{
    bool bad = !b.len || b.len > BRANCH_LEN_MAX || b.ptr[0] == '-' || b.ptr[0] == '/' || holds_bad_char(b) ||
               str_find(b, STR("..")) >= 0 || str_find(b, STR("@{")) >= 0 || str_find(b, STR("//")) >= 0 ||
               str_ends(b, STR(".lock")) || str_ends(b, STR("/")) || str_ends(b, STR(".")) || !str_is_utf8(b);

    for (size_t i = 0; !bad && i < b.len; i++)
        bad = memchr("~^:?*[\\", b.ptr[i], 7) != NULL;
    return bad ? err_set(err, ERR_INVALID, "branch is not valid") : 0;
}

int git_check_name(Str name, Err *err)
{
    bool ok = name.len && name.len <= NAME_LEN_MAX && !str_eqz(name, ".") && !str_eqz(name, "..");

    for (size_t i = 0; ok && i < name.len; i++) {
        char c = name.ptr[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
             c == '_' || c == '-';
    }
    return ok ? 0 : err_set(err, ERR_INVALID, "the repository's name must be 1 to 100 of A-Z a-z 0-9 . _ -");
}

Str git_name_of_url(Str url)
{
    while (str_ends(url, STR("/")))
        url.len--;
    for (size_t i = url.len; i-- > 0;)
        if (url.ptr[i] == '/' || url.ptr[i] == ':') {
            url = str_slice(url, i + 1, url.len);
            break;
        }
    return str_ends(url, STR(".git")) ? str_slice(url, 0, url.len - 4) : url;
}
