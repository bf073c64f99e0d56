#include "shim-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "sandbox/hide.h"

enum {
    STAGE_SESSION,
    STAGE_CGROUP,
    STAGE_FILES,
    STAGE_LIMITS,
    STAGE_USER,
    STAGE_CWD,
    STAGE_SANDBOX,
    STAGE_EXEC
};

const char *const child_stages[] = {
    [STAGE_SESSION] = "new session",       [STAGE_CGROUP] = "control group",
    [STAGE_FILES] = "open files",          [STAGE_LIMITS] = "resource limits",
    [STAGE_USER] = "change of user",       [STAGE_CWD] = "enter the workspace",
    [STAGE_SANDBOX] = "enter the sandbox", [STAGE_EXEC] = "start the program",
};

/* Room for the number behind "LISTEN_PID=". */
#define LISTEN_PID_NAME "LISTEN_PID="
#define LISTEN_PID_DIGITS 12

/* Where Landlock writes the rules. In a mount namespace alone, what is hidden can still be read. */
static int prepare_hiding(ShimChild *c, Err *err)
{
    const ShimSpec *s = c->spec;
    const char *const shown[] = {s->dir};
    if (c->sandbox != SANDBOX_LANDLOCK || s->hidden.len == 0)
        return 0;
    return hide_prepare((const char *const *)s->hidden.ptr, s->hidden.len, shown, 1, &c->hide_fd, err);
}

int shim_child_init(ShimChild *c, const ShimSpec *spec, SandboxMode sandbox, Err *err)
{
    *c = (ShimChild){.spec = spec, .log_fd = -1, .listen_fd = -1, .go_fd = -1, .error_fd = -1, .hide_fd = -1};
    c->sandbox = sandbox;
    c->parent = getpid();
    c->argv = xcalloc(spec->argv.len + 1, sizeof(char *));
    for (size_t i = 0; i < spec->argv.len; i++)
        c->argv[i] = spec->argv.ptr[i];
    c->env = xcalloc(spec->env.len + 2, sizeof(char *));
    for (size_t i = 0; i < spec->env.len; i++)
        c->env[i] = spec->env.ptr[i];
    if (spec->listen) {
        c->listen_pid = xcalloc(1, sizeof(LISTEN_PID_NAME) + LISTEN_PID_DIGITS);
        c->env[spec->env.len] = c->listen_pid;
    }
    c->n_writable = spec->writable.len + 1;
    c->writable = xcalloc(c->n_writable, sizeof(char *));
    c->writable[0] = spec->workspace;
    for (size_t i = 0; i < spec->writable.len; i++)
        c->writable[i + 1] = spec->writable.ptr[i];
    if (*spec->cgroup)
        c->procs_path = xasprintf("%s/cgroup.procs", spec->cgroup);
    return prepare_hiding(c, err);
}

void shim_child_done(ShimChild *c)
{
    free(c->argv);
    free(c->env);
    free(c->listen_pid);
    free(c->writable);
    free(c->procs_path);
    closep(&c->hide_fd);
}

static void fail(const ShimChild *c, int stage, int errnum) __attribute__((noreturn));
static void fail(const ShimChild *c, int stage, int errnum)
{
    const ChildError e = {stage, errnum};
    if (write(c->error_fd, &e, sizeof(e)) != (ssize_t)sizeof(e))
        _exit(126);
    _exit(127);
}

/* The shim writes down who we are before it lets us go on; when it is gone there must be no runner. */
static void wait_for_go(const ShimChild *c)
{
    char byte;
    ssize_t n;
    while ((n = read(c->go_fd, &byte, 1)) < 0 && errno == EINTR)
        ;
    if (n != 1)
        _exit(0);
}

static int join_cgroup(const ShimChild *c)
{
    if (!c->procs_path)
        return 0;
    int fd = open(c->procs_path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, "0", 1);
    int rc = n == 1 ? 0 : -errno;
    close(fd);
    return rc;
}

/* 0 = nothing, 1 and 2 = the log, 3 = the listening socket. All others are closed by exec. */
static int set_files(const ShimChild *c)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(c->log_fd, 1) < 0 || dup2(c->log_fd, 2) < 0)
        return -errno;
    if (c->listen_fd < 0)
        return 0;
    if (c->listen_fd != 3)
        return dup2(c->listen_fd, 3) < 0 ? -errno : 0;
    return fcntl(3, F_SETFD, 0) < 0 ? -errno : 0;
}

static int set_limit(int what, int64_t value)
{
    struct rlimit r;
    if (getrlimit(what, &r) < 0)
        return -errno;
    rlim_t v = (rlim_t)value;
    if (r.rlim_max != RLIM_INFINITY && v > r.rlim_max)
        v = r.rlim_max;
    r.rlim_cur = r.rlim_max = v;
    return setrlimit(what, &r) < 0 ? -errno : 0;
}

static int set_limits(const ShimSpec *s)
{
    int rc = set_limit(RLIMIT_CORE, 0); /* a core file would hold the session's secrets */
    /* Private memory, not address space: runtimes reserve far more of that than they use. */
    if (rc == 0 && s->mem_max > 0)
        rc = set_limit(RLIMIT_DATA, s->mem_max);
    if (rc == 0 && s->files_max > 0)
        rc = set_limit(RLIMIT_NOFILE, s->files_max);
    return rc;
}

static int set_user(const ShimSpec *s)
{
    if (s->gid >= 0 && (setgroups(0, NULL) < 0 || setgid((gid_t)s->gid) < 0))
        return -errno;
    return s->uid >= 0 && setuid((uid_t)s->uid) < 0 ? -errno : 0;
}

/* Last of all that may clear it: a change of user does. */
static void die_with_parent(const ShimChild *c)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != c->parent)
        _exit(0);
}

static void reset_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int s = 1; s < NSIG; s++)
        signal(s, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void write_own_pid(const ShimChild *c)
{
    if (c->listen_pid)
        snprintf(c->listen_pid, sizeof(LISTEN_PID_NAME) + LISTEN_PID_DIGITS, LISTEN_PID_NAME "%d",
                 (int)getpid());
}

#define MUST(stage, call)                                                                                    \
    do {                                                                                                     \
        int rc_ = (call);                                                                                    \
        if (rc_ < 0)                                                                                         \
            fail(c, (stage), -rc_);                                                                          \
    } while (0)

void shim_child_main(const ShimChild *c)
{
    MUST(STAGE_SESSION, setsid() < 0 ? -errno : 0);
    wait_for_go(c);
    MUST(STAGE_CGROUP, join_cgroup(c));
    MUST(STAGE_FILES, set_files(c));
    umask(022);
    MUST(STAGE_LIMITS, set_limits(c->spec));
    MUST(STAGE_USER, set_user(c->spec));
    MUST(STAGE_SANDBOX, sandbox_apply(c->sandbox, c->writable, c->n_writable));
    MUST(STAGE_SANDBOX, c->hide_fd >= 0 ? hide_enter(c->hide_fd) : 0);
    /* After that: a directory entered before would still be the one of the old mounts. */
    MUST(STAGE_CWD, chdir(c->spec->workspace) < 0 ? -errno : 0);
    die_with_parent(c);
    write_own_pid(c);
    reset_signals();
    /* execvpe() would look the program up in this process's PATH, not in the runner's. */
    environ = c->env;
    execvp(c->argv[0], c->argv);
    fail(c, STAGE_EXEC, errno);
}
