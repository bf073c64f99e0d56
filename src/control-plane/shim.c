#include "shim.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/secret.h"
#include "shim-internal.h"

#define REPORT_FD 1
#define LISTEN_FD 3
/* For what is in an uninterruptible sleep; longer, and it is left to the kernel. */
#define KILL_PATIENCE (10 * USEC_PER_SEC)
/* A full disk may become less full; the outcome of a session is worth the wait. */
#define EXIT_WRITE_TRIES 60
#define EXIT_WRITE_PAUSE 1000 /* ms */
/* Bytes of output between two looks at signals, and of last words: more than a pipe holds, less than without
 * end. */
#define LOG_BUDGET (1024 * 1024)

typedef struct Shim {
    ShimSpec spec;
    ShimLog log;
    RunState state;
    int lock_fd, signal_fd, log_pipe;
    bool log_open;
    bool ended; /* the runner; status says how */
    int status;
    bool stopping, killed;
    Usec kill_at; /* USEC_NEVER = nobody has asked */
} Shim;

/* ---- answers ---- */

static void report(ErrCode code, const char *message)
{
    ShimReport r = {.code = code};
    snprintf(r.message, sizeof(r.message), "%s", message);
    CLEANUP_BUF Buf b = BUF_INIT(SHIM_REPORT_MAX);
    shim_report_write(&r, &b);
    /* Less than a pipe holds: written as a whole, or the control plane is gone, which is no reason to stop.
     */
    ssize_t n = write(REPORT_FD, b.data, b.len);
    CLEANUP_FD int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (n < 0 || null < 0 || dup2(null, REPORT_FD) < 0)
        close(REPORT_FD);
}

static int fail(const Err *err)
{
    report(err->code, err->msg);
    return 1;
}

/* ---- start ---- */

static int read_spec(ShimSpec *spec, Err *err)
{
    CLEANUP_BUF Buf b = BUF_INIT(SHIM_SPEC_MAX);
    int rc = file_read("/dev/stdin", &b, err);
    if (rc == 0)
        rc = shim_spec_read(buf_str(&b), spec, err);
    if (b.data)
        secret_erase(b.data, b.len);
    return rc;
}

/* Leaves the control plane's session and becomes nobody's child but init's. */
static void detach(void)
{
    if (fork() != 0)
        _exit(0);
    setsid();
    prctl(PR_SET_NAME, "ambient-shim", 0, 0, 0);
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
}

/* At most one shim per session, and a run that has been is not started again. */
static int claim(Shim *s, Err *err)
{
    CLEANUP_FREE char *lock = path_join(s->spec.dir, RUN_LOCK_FILE);
    int rc = file_lock(lock, &s->lock_fd, err);
    if (rc < 0)
        return rc;
    RunState old;
    RunExit end;
    if ((run_state_read(s->spec.dir, &old, NULL) == 0 && old.run == s->spec.run) ||
        (run_exit_read(s->spec.dir, &end, NULL) == 0 && end.run == s->spec.run))
        return err_set(err, ERR_CONFLICT, "run %lld has been started before", (long long)s->spec.run);
    return run_state_clear(s->spec.dir, err);
}

static int watch_signals(Err *err)
{
    sigset_t set;
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? err_set_errno(err, errno, "shim: signals") : fd;
}

static int make_pipe(int ends[2], int flags, Err *err)
{
    return pipe2(ends, O_CLOEXEC | flags) < 0 ? err_set_errno(err, errno, "shim: pipe") : 0;
}

static void describe(Shim *s, pid_t pid, SandboxMode sandbox)
{
    RunState *st = &s->state;
    *st = (RunState){.run = s->spec.run, .shim_pid = getpid(), .pid = pid, .port = s->spec.port};
    st->shim_ticks = proc_start_ticks(getpid());
    st->pid_ticks = proc_start_ticks(pid);
    st->started_at = clock_wall(&clock_system);
    proc_boot_id(st->boot_id);
    snprintf(st->cookie, sizeof(st->cookie), "%s", s->spec.cookie);
    snprintf(st->agui_token, sizeof(st->agui_token), "%s", s->spec.agui_token);
    snprintf(st->cgroup, sizeof(st->cgroup), "%s", s->spec.cgroup);
    snprintf(st->sandbox, sizeof(st->sandbox), "%s", sandbox_mode_name(sandbox));
    snprintf(st->cmd, sizeof(st->cmd), "%s", s->spec.argv.ptr[0]);
}

/* A program that is not there will not be there the next time; a lack of memory or processes passes. */
static ErrCode code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR:
    case ENOEXEC:
        return ERR_NOT_FOUND;
    case EACCES:
    case EPERM:
        return ERR_FORBIDDEN;
    case E2BIG:
        return ERR_TOO_LARGE;
    default:
        return ERR_UNAVAILABLE;
    }
}

/* Lets the child go on and hears whether its program was started. */
static int release(const Shim *s, int go_fd, int error_fd, Err *err)
{
    ChildError e;
    ssize_t n = write(go_fd, "", 1);
    if (n != 1)
        return err_set(err, ERR_UNAVAILABLE, "the runner's process ended at once");
    while ((n = read(error_fd, &e, sizeof(e))) < 0 && errno == EINTR)
        ;
    if (n == 0)
        return 0;
    if (n != (ssize_t)sizeof(e))
        return err_set(err, ERR_INTERNAL, "the runner's process did not say what failed");
    return err_set(err, code_of_errno(e.errnum), "%s: %s: %s", s->spec.argv.ptr[0], child_stages[e.stage],
                   strerrordesc_np(e.errnum));
}

typedef struct Pipes {
    int log[2], go[2], error[2];
} Pipes;

static void pipes_done(Pipes *p)
{
    for (int i = 0; i < 2; i++) {
        closep(&p->log[i]);
        closep(&p->go[i]);
        closep(&p->error[i]);
    }
}

static int fork_child(Shim *s, const Pipes *p, SandboxMode sandbox, pid_t *ret, Err *err)
{
    CLEANUP(shim_child_done) ShimChild c;
    int rc = shim_child_init(&c, &s->spec, sandbox, err);
    if (rc < 0)
        return rc;
    c.log_fd = p->log[1];
    c.go_fd = p->go[0];
    c.error_fd = p->error[1];
    c.listen_fd = s->spec.listen ? LISTEN_FD : -1;
    pid_t pid = fork();
    if (pid < 0)
        return err_set(err, ERR_UNAVAILABLE, "fork: %s", strerrordesc_np(errno));
    if (pid == 0) {
        /* Only the shim may say "go": without it the read ends. */
        close(p->go[1]);
        shim_child_main(&c);
    }
    *ret = pid;
    return 0;
}

/* The state is on disk before the program starts: a run that could have begun is known to have been. */
static int start_runner(Shim *s, Err *err)
{
    CLEANUP(pipes_done) Pipes p = {{-1, -1}, {-1, -1}, {-1, -1}};
    SandboxMode sandbox = sandbox_choose(s->spec.sandbox);
    pid_t pid = -1;
    int rc = make_pipe(p.log, 0, err);
    if (rc == 0)
        rc = make_pipe(p.go, 0, err);
    if (rc == 0)
        rc = make_pipe(p.error, 0, err);
    if (rc == 0)
        rc = fork_child(s, &p, sandbox, &pid, err);
    if (rc < 0)
        return rc;
    closep(&p.log[1]);
    closep(&p.go[0]);
    closep(&p.error[1]);
    describe(s, pid, sandbox);
    rc = run_state_write(s->spec.dir, &s->state, err);
    if (rc == 0)
        rc = release(s, p.go[1], p.error[0], err);
    if (rc < 0) {
        kill(pid, SIGKILL);
        proc_kill_children(KILL_PATIENCE);
        run_state_clear(s->spec.dir, NULL);
        return rc;
    }
    fcntl(p.log[0], F_SETFL, O_NONBLOCK);
    s->log_pipe = p.log[0];
    s->log_open = true;
    p.log[0] = -1;
    return 0;
}

/* ---- life ---- */

/* From here on the shim only waits: what only the start needed goes, the secrets first. */
static void settle(Shim *s)
{
    strvec_erase(&s->spec.env);
    if (s->spec.listen)
        close(LISTEN_FD);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static void stop_gently(Shim *s)
{
    if (s->stopping || s->ended)
        return;
    s->stopping = true;
    s->kill_at = usec_add(clock_now(&clock_system), s->spec.grace);
    shim_log_note(&s->log, "stopping");
    kill(-s->state.pid, SIGTERM);
}

static void stop_now(Shim *s)
{
    if (s->killed || s->ended)
        return;
    s->killed = true;
    s->kill_at = USEC_NEVER;
    kill(-s->state.pid, SIGKILL);
    kill(s->state.pid, SIGKILL);
}

static void reap(Shim *s)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid != s->state.pid)
            continue; /* an orphan that came to us */
        s->ended = true;
        s->status = status;
    }
}

static void take_signals(Shim *s)
{
    struct signalfd_siginfo si;
    while (read(s->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
        if (si.ssi_signo == SIGTERM)
            stop_gently(s);
        else if (si.ssi_signo == SIGUSR1)
            stop_now(s);
    }
    reap(s);
}

static int poll_timeout(const Shim *s)
{
    if (s->kill_at == USEC_NEVER)
        return -1;
    Usec left = usec_sub(s->kill_at, clock_now(&clock_system));
    return (int)((left + USEC_PER_MSEC - 1) / USEC_PER_MSEC);
}

static void live(Shim *s)
{
    while (!s->ended) {
        struct pollfd fds[2] = {{.fd = s->signal_fd, .events = POLLIN},
                                {.fd = s->log_pipe, .events = POLLIN}};
        int n = poll(fds, s->log_open ? 2 : 1, poll_timeout(s));
        if (clock_now(&clock_system) >= s->kill_at)
            stop_now(s);
        if (n > 0 && fds[1].revents)
            s->log_open = shim_log_pump(&s->log, s->log_pipe, LOG_BUDGET);
        if (n > 0 && fds[0].revents)
            take_signals(s);
    }
}

/* ---- end ---- */

static bool was_oom(const Shim *s)
{
    if (!*s->spec.cgroup)
        return false;
    CLEANUP_FREE char *path = path_join(s->spec.cgroup, "memory.events");
    CLEANUP_BUF Buf b = BUF_INIT(4096);
    if (file_read(path, &b, NULL) < 0)
        return false;
    for (Str rest = buf_str(&b); rest.ptr;) {
        Str line = str_cut(&rest, '\n');
        if (str_starts(line, STR("oom_kill ")))
            return !str_eqz(line, "oom_kill 0");
    }
    return false;
}

static void write_exit(Shim *s)
{
    RunExit e = {.run = s->spec.run, .ended_at = clock_wall(&clock_system)};
    if (WIFSIGNALED(s->status)) {
        e.end = was_oom(s) && WTERMSIG(s->status) == SIGKILL ? RT_END_OOM : RT_END_SIGNAL;
        e.code = WTERMSIG(s->status);
    } else {
        e.end = RT_END_EXIT;
        e.code = WEXITSTATUS(s->status);
    }
    Err err = {0};
    for (int i = 0; i < EXIT_WRITE_TRIES && run_exit_write(s->spec.dir, &e, &err) < 0; i++) {
        shim_log_note(&s->log, "cannot write the exit status: %s", err.msg);
        struct pollfd asked = {.fd = s->signal_fd, .events = POLLIN};
        poll(&asked, 1, EXIT_WRITE_PAUSE);
        take_signals(s);
    }
    shim_log_note(&s->log, e.end == RT_END_EXIT ? "exit status %d" : "ended by signal %d", e.code);
}

static void finish(Shim *s)
{
    shim_log_pump(&s->log, s->log_pipe, LOG_BUDGET);
    if (!proc_kill_children(KILL_PATIENCE))
        shim_log_note(&s->log, "a process of the runner could not be killed");
    if (s->log_open)
        shim_log_pump(&s->log, s->log_pipe, LOG_BUDGET); /* the last words of what was killed */
    write_exit(s);
}

static int run(Shim *s, Err *err)
{
    int rc = claim(s, err);
    if (rc == 0)
        rc = shim_log_open(&s->log, s->spec.dir, s->spec.log_max, err);
    if (rc < 0)
        return rc;
    s->signal_fd = watch_signals(err);
    if (s->signal_fd < 0)
        return s->signal_fd;
    shim_log_note(&s->log, "run %lld", (long long)s->spec.run);
    return start_runner(s, err);
}

int shim_main(int argc, char **argv)
{
    Shim s = {.lock_fd = -1, .signal_fd = -1, .log_pipe = -1, .kill_at = USEC_NEVER};
    Err err = {0};
    s.log.fd = s.log.dir_fd = -1;
    shim_spec_init(&s.spec);
    signal(SIGPIPE, SIG_IGN);
    if (read_spec(&s.spec, &err) < 0)
        return fail(&err);
    detach();
    int rc = run(&s, &err);
    if (rc == 0) {
        report(ERR_OK, "");
        settle(&s);
        live(&s);
        finish(&s);
    } else {
        fail(&err);
    }
    shim_log_close(&s.log);
    shim_spec_done(&s.spec);
    return rc == 0 ? 0 : 1;
}
