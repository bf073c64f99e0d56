/*
 * Children: fork, a few system calls, exec. A failure before or at exec comes back through a pipe, so that
 * child_spawn() returns it with its reason. Reaped through a pidfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "loop-internal.h"

struct Child {
    Loop *loop;
    ListLink link; /* in the loop's list until reaped */
    pid_t pid;
    int pidfd;
    FdWatch *watch;
    ChildExitFn fn; /* NULL once forgotten */
    void *arg;
    bool exited, forgotten;
    int pipes[3]; /* the parent's ends */
};

/* Descriptors 0 to 3 are targets in the child, so nothing that is copied there may sit below this. */
#define FIRST_SAFE_FD 4

typedef struct Plumbing {
    int source[FIRST_SAFE_FD]; /* what becomes descriptor n of the child; -1 = nothing */
    int parent[3];             /* our ends of pipes */
} Plumbing;

static void plumbing_done(Plumbing *p)
{
    for (size_t i = 0; i < ARRAY_LEN(p->source); i++)
        closep(&p->source[i]);
    for (size_t i = 0; i < ARRAY_LEN(p->parent); i++)
        closep(&p->parent[i]);
}

static int move_up(int *fd, Err *err)
{
    int up = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
    if (up < 0)
        return err_set_errno(err, errno, "loop: copy a descriptor");
    close(*fd);
    *fd = up;
    return 0;
}

static int make_pipe(Plumbing *p, int which, Err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "loop: pipe");
    int child_end = which == 0 ? 0 : 1;
    p->source[which] = ends[child_end];
    p->parent[which] = ends[!child_end];
    if (fcntl(p->parent[which], F_SETFL, O_NONBLOCK) < 0)
        return err_set_errno(err, errno, "loop: pipe");
    return move_up(&p->source[which], err);
}

static int copy_fd(Plumbing *p, int which, int fd, Err *err)
{
    if (fd >= 0)
        p->source[which] = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_SAFE_FD);
    else
        p->source[which] = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (p->source[which] < 0)
        return err_set_errno(err, errno, "loop: descriptor %d of the child", which);
    return p->source[which] < FIRST_SAFE_FD ? move_up(&p->source[which], err) : 0;
}

static int plumbing_init(Plumbing *p, const ChildSpec *spec, Err *err)
{
    const bool pipes[3] = {spec->pipe_in, spec->pipe_out, spec->pipe_err};
    const int fds[3] = {spec->fd_in, spec->fd_out, spec->fd_err};
    for (int i = 0; i < 3; i++) {
        int rc = pipes[i] ? make_pipe(p, i, err) : copy_fd(p, i, fds[i], err);
        if (rc < 0)
            return rc;
    }
    return spec->pass_fd > 0 ? copy_fd(p, 3, spec->pass_fd, err) : 0;
}

/* argv and envp are not written to by exec; its prototype is older than const. */
static char *const *unconst(const char *const *v)
{
    return (char *const *)(uintptr_t)v;
}

/* What goes wrong in the child before exec, reported to the parent through a pipe that exec closes. */
typedef struct Report {
    int errnum;
    bool at_cwd;
} Report;

/* From here to exec only async-signal-safe calls: the parent has threads. */
static void child_signals(void)
{
    for (int signo = 1; signo < NSIG; signo++)
        signal(signo, SIG_DFL); /* refused for SIGKILL, SIGSTOP and libc's own, which is right */
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void child_identity(const ChildSpec *spec, pid_t parent)
{
    if (spec->new_session)
        setsid();
    else
        setpgid(0, 0);
    if (!spec->die_with_parent)
        return;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) /* it died before the line above */
        _exit(127);
}

static int child_descriptors(const Plumbing *p)
{
    int keep = 0;
    for (; keep < FIRST_SAFE_FD && p->source[keep] >= 0; keep++)
        if (dup2(p->source[keep], keep) < 0)
            return -1;
    return close_range((unsigned)keep, ~0U, CLOSE_RANGE_CLOEXEC);
}

_Noreturn static void child_main(const ChildSpec *spec, const char *path, const Plumbing *p, pid_t parent,
                                 int out)
{
    Report r = {0};
    child_identity(spec, parent);
    child_signals();
    int rc = spec->enter ? spec->enter(spec->enter_fd) : 0;
    if (rc < 0)
        errno = -rc;
    if (rc == 0 && child_descriptors(p) == 0) {
        r.at_cwd = spec->cwd && chdir(spec->cwd) < 0;
        if (!r.at_cwd)
            execve(path, unconst(spec->argv), spec->envp ? unconst(spec->envp) : environ);
    }
    r.errnum = errno;
    ssize_t n = write(out, &r, sizeof r);
    (void)n;
    _exit(127);
}

/* The first executable file of that name in PATH; without one the name itself, whose exec then says why not.
 */
static char *find_program(const char *name)
{
    Str path = str_from(getenv("PATH"));
    if (strchr(name, '/'))
        return xstrdup(name);
    while (path.ptr) {
        Str dir = str_cut(&path, ':');
        char *full = xasprintf(STR_FMT "/%s", STR_ARG(dir.len ? dir : STR(".")), name);
        struct stat st;
        if (access(full, X_OK) == 0 && stat(full, &st) == 0 && S_ISREG(st.st_mode))
            return full;
        free(full);
    }
    return xasprintf("./%s", name);
}

/* Signals stay blocked across the fork: a handler of the loop must not run in the child. */
static pid_t fork_child(const ChildSpec *spec, const char *path, const Plumbing *p, int out)
{
    sigset_t all, old;
    pid_t parent = getpid();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pid_t pid = fork();
    if (pid == 0)
        child_main(spec, path, p, parent, out);
    int errnum = errno;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = errnum;
    return pid;
}

static int spawn_error(const ChildSpec *spec, const Report *r, Err *err)
{
    if (r->at_cwd)
        return err_set_errno(err, r->errnum, "cannot enter directory %s", spec->cwd);
    if (r->errnum == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "cannot run %s: %s", spec->argv[0], strerrordesc_np(r->errnum));
    return err_set_errno(err, r->errnum, "cannot run %s", spec->argv[0]);
}

/* Returns once the child runs the program, or could not. */
static int spawn(const ChildSpec *spec, const Plumbing *p, pid_t *ret, Err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "loop: pipe");
    CLEANUP_FD int in = ends[0], out = ends[1];
    int rc = move_up(&out, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *path = find_program(spec->argv[0]);
    pid_t pid = fork_child(spec, path, p, out);
    if (pid < 0)
        return err_set_errno(err, errno, "loop: fork");
    close(out);
    out = -1;
    Report r;
    ssize_t n;
    while ((n = read(in, &r, sizeof r)) < 0 && errno == EINTR)
        ;
    if (n == 0) {
        *ret = pid;
        return 0;
    }
    waitpid(pid, NULL, 0);
    return n == sizeof r ? spawn_error(spec, &r, err)
                         : err_set(err, ERR_INTERNAL, "loop: no word from the child");
}

static void child_release(Child *c)
{
    for (size_t i = 0; i < ARRAY_LEN(c->pipes); i++)
        closep(&c->pipes[i]);
    loop_defer(c->loop, free, c);
}

static void child_unwatch(Child *c)
{
    c->watch = fd_watch_free(c->watch);
    closep(&c->pidfd);
    c->pidfd = -1;
    list_remove(&c->link);
}

static void child_exited(void *arg, unsigned ready)
{
    Child *c = arg;
    int status = 0;
    pid_t pid = waitpid(c->pid, &status, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == EINTR))
        return;
    child_unwatch(c);
    c->exited = true;
    if (c->forgotten)
        child_release(c);
    else if (c->fn)
        c->fn(c->arg, status);
}

/* A child that cannot be watched is no child of ours: the caller gets an error and no process. */
static int child_watch(Child *c, Err *err)
{
    c->pidfd = pidfd_open(c->pid, 0);
    if (c->pidfd >= 0)
        c->watch = fd_watch_new(c->loop, c->pidfd, FD_READ, child_exited, c);
    if (c->watch)
        return 0;
    int errnum = errno;
    kill(-c->pid, SIGKILL);
    waitpid(c->pid, NULL, 0);
    closep(&c->pidfd);
    return err_set_errno(err, errnum, "loop: watch child process");
}

int child_spawn(Loop *l, const ChildSpec *spec, ChildExitFn fn, void *arg, Child **ret, Err *err)
{
    CLEANUP(plumbing_done) Plumbing p = {.source = {-1, -1, -1, -1}, .parent = {-1, -1, -1}};
    int rc = plumbing_init(&p, spec, err);
    if (rc < 0)
        return rc;
    pid_t pid = 0;
    rc = spawn(spec, &p, &pid, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE Child *c = xnew(Child);
    *c = (Child){.loop = l, .pid = pid, .pidfd = -1, .fn = fn, .arg = arg};
    rc = child_watch(c, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < ARRAY_LEN(c->pipes); i++) {
        c->pipes[i] = p.parent[i];
        p.parent[i] = -1;
    }
    list_push_back(&l->children, &c->link);
    *ret = TAKE(c);
    return 0;
}

pid_t child_pid(const Child *c)
{
    return c->pid;
}

int child_fd(Child *c, int which)
{
    int fd = c->pipes[which];
    c->pipes[which] = -1;
    return fd;
}

void child_signal(Child *c, int signo)
{
    if (!c->exited)
        kill(-c->pid, signo);
}

Child *child_free(Child *c)
{
    if (!c)
        return NULL;
    c->fn = NULL;
    if (c->exited) {
        child_release(c);
        return NULL;
    }
    c->forgotten = true;
    for (size_t i = 0; i < ARRAY_LEN(c->pipes); i++) {
        closep(&c->pipes[i]);
        c->pipes[i] = -1;
    }
    return NULL;
}

/* The loop goes: children that were forgotten go on without us, and their records are freed. */
void children_done(Loop *l)
{
    LIST_FOREACH_SAFE (&l->children, link) {
        Child *c = LIST_ENTRY(link, Child, link);
        child_unwatch(c);
        if (c->forgotten)
            child_release(c);
    }
}
