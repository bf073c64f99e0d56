#include "process-internal.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "crypto/crypto.h"

/* The shim ends its runner after the grace; that long after, it is stuck. */
#define ESCALATE_AFTER (10 * USEC_PER_SEC)

#define TO(p) (1u << RUN_##p)
static const unsigned next_phases[_RUN_PHASE_MAX] = {
    [RUN_IDLE] = TO(PREPARING) | TO(LIVE) | TO(ENDED) | TO(REMOVING), /* LIVE, ENDED: found at start */
    [RUN_PREPARING] = TO(SPAWNING) | TO(CLEARING),
    [RUN_SPAWNING] = TO(CHECKING) | TO(CLEARING),
    [RUN_CHECKING] = TO(LIVE) | TO(ENDED) | TO(IDLE),
    [RUN_LIVE] = TO(ENDING),
    [RUN_ENDING] = TO(ENDED),
    [RUN_ENDED] = TO(PREPARING) | TO(CLEARING) | TO(REMOVING),
    [RUN_CLEARING] = TO(IDLE),
    [RUN_REMOVING] = TO(IDLE),
};

static void active_free(Run *r)
{
    if (!r->a)
        return;
    shim_spec_done(&r->a->spec);
    secret_erase(r->a->state.agui_token, sizeof(r->a->state.agui_token));
    free(TAKE(r->a));
}

/* The only place that writes the phase. */
static void move(Run *r, RunPhase to)
{
    assert(loop_is_current(r->rt->loop));
    assert(next_phases[r->phase] & 1u << to);
    r->phase = to;
    if (to == RUN_IDLE) {
        active_free(r);
    } else if (!r->a && to != RUN_REMOVING) {
        r->a = xnew(Active);
        shim_spec_init(&r->a->spec);
    }
}

/* ---- the table ---- */

Run *run_get(ProcessRuntime *p, Str id)
{
    return map_get(p->runs, id);
}

Run *run_make(ProcessRuntime *p, Str id, WallUsec made_at)
{
    assert(dirs_id_ok(id));
    Run *r = xcalloc(1, sizeof(*r) + id.len + 1);
    memcpy(r->id, id.ptr, id.len);
    r->rt = p;
    r->made_at = made_at;
    r->pidfd = r->listen_fd = -1;
    map_put(p->runs, id, r);
    return r;
}

static void stop_watching(Run *r)
{
    r->watch = fd_watch_free(r->watch);
    closep(&r->pidfd);
    r->pidfd = -1;
    r->health = health_free(r->health);
    r->escalate = timer_free(r->escalate);
}

static void drop_start(Run *r)
{
    r->spawn = spawn_free(r->spawn);
    closep(&r->listen_fd);
    r->listen_fd = -1;
    if (r->a)
        shim_spec_done(&r->a->spec);
}

void run_free(Run *r)
{
    stop_watching(r);
    drop_start(r);
    free(r->op);
    free(r->cgroup);
    active_free(r);
    free(r);
}

bool run_is_busy(const Run *r)
{
    return r->op || (r->phase != RUN_IDLE && r->phase != RUN_LIVE && r->phase != RUN_ENDED);
}

bool run_takes_place(const Run *r)
{
    return r->phase >= RUN_PREPARING && r->phase <= RUN_ENDING;
}

static void changed(Run *r)
{
    const Runtime *rt = &r->rt->base;
    if (rt->on_change)
        rt->on_change(rt->on_change_arg, r->id);
}

void run_finish_op(Run *r, const Err *err)
{
    RtOp *op = TAKE(r->op);
    if (op && !op->abandoned)
        op->done(op->arg, err);
    else
        changed(r); /* nobody waits any more: whoever is interested looks again */
    free(op);
}

/* ---- life ---- */

static void on_health(void *arg, bool healthy)
{
    Run *r = arg;
    assert(r->phase == RUN_LIVE);
    r->ready = healthy;
    r->unhealthy = !healthy;
    r->health = health_free(r->health);
    log_debug(healthy ? "runner answers" : "runner does not answer", F_STR("session_id", r->id));
    changed(r);
}

static void on_looked_at_end(Run *r, const Look *look);

/* The shim is gone, and with it all that ran. */
static void on_shim_end(void *arg, unsigned ready)
{
    Run *r = arg;
    assert(r->phase == RUN_LIVE);
    stop_watching(r);
    /* Where we are process 1, orphans are ours to wait for. */
    waitpid(r->a->state.shim_pid, NULL, WNOHANG);
    move(r, RUN_ENDING);
    job_look(r, on_looked_at_end);
}

void run_live(Run *r, const Look *look)
{
    assert(look->what == LOOK_LIVE && look->pidfd >= 0);
    const Config *c = r->rt->o.config;
    move(r, RUN_LIVE);
    free(TAKE(r->cgroup)); /* from here on the state has it */
    r->a->state = look->state;
    r->number = look->state.run;
    r->pidfd = look->pidfd;
    r->stop = look->stop;
    r->ready = r->unhealthy = false;
    r->watch = fd_watch_new(r->rt->loop, r->pidfd, FD_READ, on_shim_end, r);
    r->health = health_start(r->rt->loop, r->rt->o.http, r->a->state.port, c->health_timeout, on_health, r);
}

static void check_all_ended(ProcessRuntime *p)
{
    if (!p->all_ended)
        return;
    MAP_FOREACH (p->runs, it)
        if (run_takes_place(it.value))
            return;
    LoopFn done = TAKE(p->all_ended);
    loop_post(p->loop, done, p->all_ended_arg);
}

void run_ended(Run *r, const Look *look)
{
    assert(look->what == LOOK_ENDED && look->end != RT_END_NONE);
    move(r, RUN_ENDED);
    r->a->state = look->state;
    r->number = look->state.run;
    r->a->end = look->end;
    r->a->code = look->code;
    r->a->ended_at = look->ended_at;
    if (r->stop == RT_STOP_NONE)
        r->stop = look->stop;
    log_info("runner ended", F_STR("session_id", r->id), F_INT("run", r->number),
             F_STR("how", look->end == RT_END_EXIT   ? "exit"
                          : look->end == RT_END_LOST ? "lost"
                                                     : "signal"),
             F_INT("code", look->code));
}

static void on_looked_at_end(Run *r, const Look *look)
{
    assert(r->phase == RUN_ENDING && !r->watch);
    Look l = *look;
    if (l.what == LOOK_NONE) /* its files are gone: somebody cleaned up */
        l = (Look){.what = LOOK_ENDED,
                   .state = r->a->state,
                   .pidfd = -1,
                   .end = RT_END_LOST,
                   .stop = r->stop,
                   .ended_at = clock_wall(&clock_system)};
    if (l.what == LOOK_LIVE) { /* a zombie shim that nobody waits for */
        closep(&l.pidfd);
        l.what = LOOK_ENDED;
        l.end = RT_END_LOST;
    }
    run_ended(r, &l);
    ProcessRuntime *p = r->rt;
    if (r->removing)
        run_remove(r);
    else
        changed(r);
    check_all_ended(p);
}

/* ---- start ---- */

static void on_start_cleared(Run *r, const Err *err)
{
    Err why = r->a->start_err;
    move(r, RUN_IDLE);
    run_finish_op(r, &why);
}

/* Nothing was started, that is certain: what was written for it goes. */
static void start_failed(Run *r, const Err *err)
{
    assert(err->code != ERR_OK);
    r->a->start_err = *err;
    drop_start(r);
    move(r, RUN_CLEARING);
    job_clear(r, false, on_start_cleared);
}

/* Another shim may be about to start this session, so nothing of it is touched. Come back later. */
static void start_unknown(Run *r, const Look *look)
{
    int pidfd = look->pidfd;
    closep(&pidfd);
    Err err = r->a->start_err;
    if (err.code == ERR_OK)
        err_set(&err, ERR_UNAVAILABLE, "the shim's state file is missing");
    move(r, RUN_IDLE);
    run_finish_op(r, &err);
}

/* What the files say counts, whatever the shim has answered. */
static void on_looked_at_start(Run *r, const Look *look)
{
    assert(r->phase == RUN_CHECKING && !r->spawn);
    if (look->what == LOOK_NONE || look->state.run != r->number) {
        start_unknown(r, look);
        return;
    }
    if (look->what == LOOK_LIVE) {
        run_live(r, look);
        log_info("runner started", F_STR("session_id", r->id), F_STR("runtime", "process"),
                 F_INT("run", r->number), F_INT("pid", r->a->state.pid), F_INT("port", r->a->state.port),
                 F_STR("sandbox", r->a->state.sandbox));
    } else {
        run_ended(r, look);
    }
    run_finish_op(r, NULL);
}

static void on_spawned(void *arg, const ShimReport *report, const Err *err)
{
    Run *r = arg;
    r->spawn = NULL; /* frees itself */
    drop_start(r);
    Err why = {0};
    if (!report)
        why = *err;
    else if (report->code == ERR_CONFLICT) /* another shim of this session lives, or this run has been */
        err_set(&why, ERR_UNAVAILABLE, "%s", report->message);
    else if (report->code != ERR_OK) {
        err_set(&why, report->code, "%s", report->message);
        start_failed(r, &why);
        return;
    }
    r->a->start_err = why;
    move(r, RUN_CHECKING);
    job_look(r, on_looked_at_start);
}

static void on_prepared(Run *r, const Err *err)
{
    assert(r->phase == RUN_PREPARING && r->listen_fd >= 0);
    ProcessRuntime *p = r->rt;
    Err why = {0};
    if (err) {
        start_failed(r, err);
        return;
    }
    if (!r->a->spec.listen) { /* the port was only reserved while we prepared */
        closep(&r->listen_fd);
        r->listen_fd = -1;
    }
    move(r, RUN_SPAWNING);
    if (spawn_start(p->loop, p->o.program, &r->a->spec, r->listen_fd, on_spawned, r, &r->spawn, &why) < 0)
        start_failed(r, &why);
}

static char *random_text(void)
{
    uint8_t bytes[32];
    Buf b = BUF_INIT(RUN_COOKIE_MAX - 1);
    random_bytes(bytes, sizeof(bytes));
    base64url_write(&b, bytes, sizeof(bytes));
    secret_erase(bytes, sizeof(bytes));
    assert(!b.failed);
    return buf_take(&b);
}

static void fill_env(Run *r, const RtSpec *spec)
{
    const ProcessOptions *o = &r->rt->o;
    CLEANUP_FREE char *token_file = xasprintf("%s/" TOKEN_FILE, r->a->spec.dir);
    CLEANUP_FREE char *tmp = xasprintf("%s/" TMP_DIR, r->a->spec.dir);
    CLEANUP_FREE char *prompt_file = xasprintf("%s/" PROMPT_FILE, r->a->spec.dir);
    const RunnerEnv e = {
        .config = o->config,
        .host = (const char *const *)environ,
        .session = spec->session,
        .run = spec->run,
        .port = r->a->spec.port,
        .cookie = r->a->spec.cookie,
        .workspace = r->a->spec.workspace,
        .hidden = o->config->sandbox == SANDBOX_NONE ? NULL : r->a->spec.dir,
        .tmp = tmp,
        .token_file = token_file,
        .agui_token = r->a->spec.agui_token,
        .credential_ids = spec->credential_ids,
        .prompt = spec->initial_prompt,
        .prompt_file = spec->initial_prompt.len > PROMPT_ENV_MAX ? prompt_file : NULL,
        .token_url = r->rt->token_url,
        .token_key = r->rt->token_key,
    };
    runner_env_build(&e, &r->a->spec.env);
}

static void fill_spec(Run *r, const RtSpec *spec, int64_t port)
{
    const Config *c = r->rt->o.config;
    ShimSpec *s = &r->a->spec;
    s->session = xstrdup(r->id);
    s->run = spec->run;
    s->dir = dirs_session(&r->rt->dirs, r->id);
    s->workspace = dirs_workspace(&r->rt->dirs, r->id);
    s->port = port;
    s->listen = c->listen_fds;
    s->cookie = random_text();
    s->agui_token = random_text();
    s->grace = c->stop_grace;
    s->log_max = c->log_max;
    free(r->cgroup);
    r->cgroup = cgroups_path(&r->rt->cgroups, r->id, spec->run);
    s->cgroup = xstrdup(r->cgroup);
    s->mem_max = *r->cgroup ? 0 : c->mem_max;
    s->files_max = c->files_max;
    s->uid = c->uid;
    s->gid = c->gid;
    s->sandbox = c->sandbox;
    for (size_t i = 0; i < c->command.len; i++)
        strvec_add(&s->argv, c->command.ptr[i]);
    for (size_t i = 0; i < c->writable.len; i++)
        strvec_add(&s->writable, c->writable.ptr[i]);
    strvec_take(&s->writable, xasprintf("%s/" TMP_DIR, s->dir));
    for (size_t i = 0; i < c->hidden.len; i++)
        strvec_add(&s->hidden, c->hidden.ptr[i]);
    fill_env(r, spec);
}

void run_start(Run *r, const RtSpec *spec)
{
    const ProcessOptions *o = &r->rt->o;
    int64_t port;
    Err err = {0};
    r->number = spec->run;
    r->stop = RT_STOP_NONE;
    move(r, RUN_PREPARING);
    r->a->start_err = (Err){0};
    int rc = secret_is_empty(spec->token)
                 ? err_set(&err, ERR_UNAVAILABLE, "there is no token for the runner yet")
                 : 0;
    if (rc == 0)
        rc = port_listen(&o->config->ports, &port, &r->listen_fd, &err);
    if (rc < 0) {
        start_failed(r, &err);
        return;
    }
    fill_spec(r, spec, port);
    job_prepare(r, secret_reveal(spec->token), spec->initial_prompt, on_prepared);
}

/* ---- stop ---- */

static void on_escalate(void *arg)
{
    Run *r = arg;
    assert(r->phase == RUN_LIVE && r->pidfd >= 0);
    log_warn("runner does not end; killing its shim", F_STR("session_id", r->id), F_INT("run", r->number));
    proc_signal(r->pidfd, SIGKILL); /* the runner dies with it, and what is left is looked for */
}

static void signal_shim(Run *r, int signo, Usec patience)
{
    int rc = proc_signal(r->pidfd, signo);
    if (rc < 0 && rc != -ESRCH)
        log_error("cannot signal the shim", F_STR("session_id", r->id), F_STR("error", strerrordesc_np(-rc)));
    if (!r->escalate)
        r->escalate = timer_new(r->rt->loop, on_escalate, r);
    timer_arm(r->escalate, usec_add(patience, ESCALATE_AFTER));
}

static void on_stop_written(Run *r, const Err *err)
{
    if (err) /* only the reason is lost, and only if we end before the runner does */
        log_warn("cannot write why a runner is stopped", F_STR("session_id", r->id), F_ERR(err));
    if (r->phase == RUN_LIVE)
        signal_shim(r, SIGTERM, r->rt->o.config->stop_grace);
    run_finish_op(r, NULL);
}

void run_stop(Run *r, RtStop why)
{
    assert(r->phase == RUN_LIVE);
    r->stop = why;
    job_write_stop(r, on_stop_written);
}

/* An earlier control plane had asked it to stop, or was not to leave it to us. */
void run_end_found(Run *r)
{
    assert(r->phase == RUN_LIVE);
    if (r->stop == RT_STOP_NONE)
        r->stop = RT_STOP_SHUTDOWN;
    signal_shim(r, SIGTERM, r->rt->o.config->stop_grace);
}

/* ---- end ---- */

static void on_cleared(Run *r, const Err *err)
{
    move(r, RUN_IDLE);
    r->stop = RT_STOP_NONE;
    run_finish_op(r, err);
}

void run_retire(Run *r)
{
    assert(r->phase == RUN_ENDED && r->op);
    move(r, RUN_CLEARING);
    job_clear(r, true, on_cleared);
}

static void on_removed(Run *r, const Err *err)
{
    move(r, RUN_IDLE);
    r->removing = false;
    if (err) {
        run_finish_op(r, err);
        return;
    }
    map_remove(r->rt->runs, str_from(r->id));
    r->gone = true; /* freed by the end of this job */
    run_finish_op(r, NULL);
}

void run_remove(Run *r)
{
    r->removing = true;
    if (r->phase == RUN_LIVE) {
        signal_shim(r, SIGUSR1, 0);
        return; /* goes on when it has ended */
    }
    move(r, RUN_REMOVING);
    job_remove(r, on_removed);
}
