#include "process-internal.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"

/* A whole look through /proc finds what is there now; a few more find what was being made meanwhile. */
#define KILL_LOOKS 20

struct Job {
    Run *run;
    ProcessRuntime *rt;
    const Dirs *dirs; /* does not change while jobs are out */
    const Cgroups *cgroups;
    char *id, *cgroup;
    void (*work)(struct Job *j);
    JobDone done;
    void (*look_done)(Run *r, const Look *look);
    Secret *token;
    char *prompt; /* NULL = not into a file */
    bool state;   /* CLEAR */
    RtStop stop;
    Look look;
    int rc;
    Err err;
};

static void on_worker(void *arg)
{
    Job *j = arg;
    j->work(j);
}

static void job_free(Job *j)
{
    secret_free(j->token);
    if (j->prompt)
        secret_erase(j->prompt, strlen(j->prompt));
    free(j->prompt);
    free(j->id);
    free(j->cgroup);
    free(j);
}

static void on_loop(void *arg)
{
    Job *j = arg;
    Run *r = j->run;
    assert(j->rt->jobs > 0 && r->jobs > 0);
    j->rt->jobs--;
    if (j->rt->closing)
        closep(&j->look.pidfd);
    else if (j->look_done)
        j->look_done(r, &j->look);
    else
        j->done(r, j->rc < 0 ? &j->err : NULL);
    if (--r->jobs == 0 && r->gone)
        run_free(r);
    job_free(j);
}

static Job *job_new(Run *r, void (*work)(Job *j), JobDone done)
{
    Job *j = xnew(Job);
    j->run = r;
    j->rt = r->rt;
    j->dirs = &r->rt->dirs;
    j->cgroups = &r->rt->cgroups;
    j->id = xstrdup(r->id);
    j->cgroup = xstrdup(r->cgroup ? r->cgroup : "");
    j->work = work;
    j->done = done;
    j->look.pidfd = -1;
    return j;
}

static void submit(Job *j)
{
    assert(!j->rt->closing && !j->run->gone);
    j->rt->jobs++;
    j->run->jobs++;
    pool_submit(j->rt->pool, on_worker, on_loop, j);
}

/* ---- before a start ---- */

static void work_prepare(Job *j)
{
    j->rc = dirs_make(j->dirs, j->id, &j->err);
    if (j->rc == 0)
        j->rc = dirs_write(j->dirs, j->id, TOKEN_FILE, secret_reveal(j->token), &j->err);
    if (j->rc == 0)
        j->rc = cgroups_make(j->cgroups, j->cgroup, &j->err);
    if (j->rc == 0 && j->prompt)
        j->rc = dirs_write(j->dirs, j->id, PROMPT_FILE, str_from(j->prompt), &j->err);
}

void job_prepare(Run *r, Str token, Str prompt, JobDone done)
{
    Job *j = job_new(r, work_prepare, done);
    j->token = secret_new(token);
    j->prompt = prompt.len > PROMPT_ENV_MAX ? str_dup(prompt) : NULL;
    submit(j);
}

/* ---- small ones ---- */

static char *job_dir(const Job *j)
{
    return dirs_session(j->dirs, j->id);
}

static void work_write_stop(Job *j)
{
    CLEANUP_FREE char *dir = job_dir(j);
    j->rc = run_stop_write(dir, j->stop, &j->err);
}

void job_write_stop(Run *r, JobDone done)
{
    Job *j = job_new(r, work_write_stop, done);
    j->stop = r->stop;
    submit(j);
}

static void work_clear(Job *j)
{
    CLEANUP_FREE char *dir = job_dir(j);
    dirs_unlink(j->dirs, j->id, TOKEN_FILE);
    dirs_unlink(j->dirs, j->id, PROMPT_FILE);
    cgroup_end(j->cgroup);
    if (j->state)
        j->rc = run_state_clear(dir, &j->err);
}

void job_clear(Run *r, bool state, JobDone done)
{
    Job *j = job_new(r, work_clear, done);
    j->state = state;
    submit(j);
}

static void work_remove(Job *j)
{
    j->rc = dirs_remove(j->dirs, j->id, &j->err);
}

void job_remove(Run *r, JobDone done)
{
    submit(job_new(r, work_remove, done));
}

static void work_write_token(Job *j)
{
    CLEANUP_FREE char *dir = job_dir(j);
    CLEANUP_FREE char *path = path_join(dir, TOKEN_FILE);
    CLEANUP(secret_freep) Secret *old = NULL;
    if (secret_from_file(path, &old, NULL) == 0 && secret_equals(old, secret_reveal(j->token)))
        return;
    j->rc = dirs_write(j->dirs, j->id, TOKEN_FILE, secret_reveal(j->token), &j->err);
    if (j->rc == 0)
        log_info("runner token refreshed", F_STR("session_id", j->id));
}

void job_write_token(Run *r, Str token, JobDone done)
{
    Job *j = job_new(r, work_write_token, done);
    j->token = secret_new(token);
    submit(j);
}

/* ---- looking ---- */

/* The shim was killed, or the machine went down. Its runner died with it; what that had started may live on.
 */
static void end_lost(const char *id, Look *l)
{
    char mark[sizeof(RUN_COOKIE_NAME) + 1 + RUN_COOKIE_MAX];
    snprintf(mark, sizeof(mark), RUN_COOKIE_NAME "=%s", l->state.cookie);
    unsigned n = proc_kill_marked(mark, KILL_LOOKS);
    log_warn("runner lost", F_STR("session_id", id), F_INT("run", l->state.run), F_UINT("killed", n));
    l->end = RT_END_LOST;
    l->ended_at = clock_wall(&clock_system);
}

static void look_at_end(const char *dir, const char *id, Look *l)
{
    RunExit e;
    l->what = LOOK_ENDED;
    cgroup_end(l->state.cgroup);
    if (run_exit_read(dir, &e, NULL) < 0 || e.run != l->state.run) {
        end_lost(id, l);
        return;
    }
    l->end = e.end;
    l->code = e.code;
    l->ended_at = e.ended_at;
}

/* A zombie keeps its number until somebody waits for it: it is over all the same, and what it left behind is
 * not. */
static bool is_over(int pidfd)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    return pidfd >= 0 && poll(&p, 1, 0) == 1;
}

void look_now(const Dirs *d, const char *id, Look *ret)
{
    *ret = (Look){.what = LOOK_NONE, .pidfd = -1};
    CLEANUP_FREE char *dir = dirs_session(d, id);
    Err err = {0};
    int rc = run_state_read(dir, &ret->state, &err);
    if (rc < 0) {
        if (rc != -ERR_NOT_FOUND)
            log_error("state of a runner cannot be read", F_STR("session_id", id), F_ERR(&err));
        return;
    }
    ret->stop = run_stop_read(dir);
    ret->pidfd = run_state_open_shim(&ret->state);
    if (is_over(ret->pidfd)) {
        close(ret->pidfd);
        ret->pidfd = -1;
    }
    if (ret->pidfd >= 0)
        ret->what = LOOK_LIVE;
    else
        look_at_end(dir, id, ret);
}

static void work_look(Job *j)
{
    look_now(j->dirs, j->id, &j->look);
}

void job_look(Run *r, void (*done)(Run *r, const Look *look))
{
    Job *j = job_new(r, work_look, NULL);
    j->look_done = done;
    submit(j);
}
