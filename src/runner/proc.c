#include "proc.h"

#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/log.h"
#include "base/mem.h"
#include "descendants.h"
#include "sandbox/hide.h"

#define READ_SIZE 65536
#define READS_PER_TURN 4 /* the loop has other work too */
#define STDIN_MAX ((size_t)64 << 20)

typedef struct OutPipe {
    Proc *proc;
    int fd; /* -1 = closed */
    FdWatch *watch;
    void (*fn)(void *arg, Str bytes);
} OutPipe;

struct Proc {
    Loop *loop;
    ProcOps ops;
    void *arg;
    Child *child;
    OutPipe out, err;
    int in; /* -1 = none or closed */
    FdWatch *in_watch;
    Buf in_queue;
    bool in_close;
    bool held, exited, dead, told;
    int status;
    pid_t pid;
    Timer *finish; /* after the exit: look whether everything was read */
};

static void pipe_close(OutPipe *p)
{
    if (p->fd < 0)
        return;
    p->watch = fd_watch_free(p->watch);
    close(p->fd);
    p->fd = -1;
}

/* Returns false when nothing is there now or the pipe ended. */
static bool pipe_read_once(OutPipe *p)
{
    char buf[READ_SIZE];
    ssize_t n = read(p->fd, buf, sizeof(buf));

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        pipe_close(p);
        return false;
    }
    p->fn(p->proc->arg, (Str){buf, (size_t)n});
    return true;
}

static void finish_soon(Proc *p)
{
    if (p->exited && !p->held && !p->told && !p->dead)
        timer_arm(p->finish, 0);
}

static void on_readable(void *arg, unsigned ready)
{
    OutPipe *p = arg;
    Proc *proc = p->proc;

    for (int i = 0; i < READS_PER_TURN && !proc->dead && !proc->held && p->fd >= 0; i++)
        if (!pipe_read_once(p))
            break;
    if (!proc->dead)
        finish_soon(proc);
}

static void update_watches(Proc *p)
{
    if (p->out.watch)
        fd_watch_set(p->out.watch, p->held ? 0 : FD_READ);
    if (p->err.watch)
        fd_watch_set(p->err.watch, p->held ? 0 : FD_READ);
}

/* The process is gone. What is still in the pipes is read; a background process that keeps one open is not
   waited for: it belongs to the group and ends now. */
static void on_finish(void *arg)
{
    Proc *p = arg;

    while (!p->dead && !p->held && p->out.fd >= 0 && pipe_read_once(&p->out))
        ;
    while (!p->dead && !p->held && p->err.fd >= 0 && pipe_read_once(&p->err))
        ;
    if (p->dead || p->held)
        return;
    pipe_close(&p->out);
    pipe_close(&p->err);
    descendants_kill(p->pid, 0);
    p->told = true;
    p->ops.on_exit(p->arg, p->status);
}

static void on_child_exit(void *arg, int wait_status)
{
    Proc *p = arg;

    p->exited = true;
    p->status = wait_status;
    finish_soon(p);
}

static void stdin_close(Proc *p)
{
    if (p->in < 0)
        return;
    p->in_watch = fd_watch_free(p->in_watch);
    close(p->in);
    p->in = -1;
    buf_done(&p->in_queue);
}

static void on_writable(void *arg, unsigned ready)
{
    Proc *p = arg;

    while (p->in_queue.len > 0) {
        ssize_t n = write(p->in, p->in_queue.data, p->in_queue.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            stdin_close(p); /* it does not read any more; its exit tells the rest */
            return;
        }
        buf_consume(&p->in_queue, (size_t)n);
    }
    if (p->in_close)
        stdin_close(p);
    else
        fd_watch_set(p->in_watch, 0);
}

void proc_write(Proc *p, Str bytes)
{
    if (p->in < 0 || p->in_close)
        return;
    if (buf_adds(&p->in_queue, bytes) < 0) {
        log_error("the agent does not read its input; it is ended", F_INT("pid", p->pid));
        stdin_close(p);
        return;
    }
    fd_watch_set(p->in_watch, FD_WRITE);
}

void proc_close_stdin(Proc *p)
{
    if (p->in < 0)
        return;
    p->in_close = true;
    fd_watch_set(p->in_watch, FD_WRITE);
}

void proc_hold(Proc *p, bool hold)
{
    if (p->held == hold)
        return;
    p->held = hold;
    update_watches(p);
    finish_soon(p);
}

void proc_signal(Proc *p, int signo)
{
    if (p->child)
        child_signal(p->child, signo);
}

pid_t proc_pid(const Proc *p)
{
    return p->pid;
}

static void out_pipe_init(Proc *p, OutPipe *o, int which, void (*fn)(void *arg, Str bytes))
{
    *o = (OutPipe){.proc = p, .fd = child_fd(p->child, which), .fn = fn};
    o->watch = fd_watch_new(p->loop, o->fd, FD_READ, on_readable, o);
}

int proc_start(Loop *l, const ProcSpec *spec, const ProcOps *ops, void *arg, Proc **ret, Err *err)
{
    Proc *p = xnew(Proc);
    ChildSpec child = {
        .argv = spec->argv,
        .envp = spec->envp,
        .cwd = spec->cwd,
        .fd_in = -1,
        .fd_out = -1,
        .fd_err = -1,
        .pipe_in = spec->with_stdin,
        .pipe_out = true,
        .pipe_err = true,
        .die_with_parent = true,
        .enter = spec->wall_fd > 0 ? hide_enter : NULL,
        .enter_fd = spec->wall_fd,
    };
    p->loop = l;
    p->ops = *ops;
    p->arg = arg;
    p->in = -1;
    buf_init(&p->in_queue, STDIN_MAX);
    int r = child_spawn(l, &child, on_child_exit, p, &p->child, err);
    if (r < 0) {
        free(p);
        return r;
    }
    p->pid = child_pid(p->child);
    p->finish = timer_new(l, on_finish, p);
    out_pipe_init(p, &p->out, 1, ops->on_out);
    out_pipe_init(p, &p->err, 2, ops->on_err);
    if (spec->with_stdin) {
        p->in = child_fd(p->child, 0);
        p->in_watch = fd_watch_new(l, p->in, 0, on_writable, p);
    }
    *ret = p;
    return 0;
}

Proc *proc_free(Proc *p)
{
    if (!p || p->dead)
        return NULL;
    p->dead = true;
    proc_signal(p, SIGKILL);
    if (p->exited)
        descendants_kill(p->pid, 0);
    pipe_close(&p->out);
    pipe_close(&p->err);
    stdin_close(p);
    buf_done(&p->in_queue);
    timer_free(p->finish);
    child_free(p->child);
    loop_defer(p->loop, free, p);
    return NULL;
}

void proc_status_text(int wait_status, char out[static 64])
{
    if (WIFSIGNALED(wait_status))
        snprintf(out, 64, "signal %d (%s)", WTERMSIG(wait_status), sigdescr_np(WTERMSIG(wait_status)));
    else
        snprintf(out, 64, "exit status %d", WEXITSTATUS(wait_status));
}

void proc_status_code(int wait_status, char out[static 32])
{
    if (WIFSIGNALED(wait_status))
        snprintf(out, 32, "signal_%d", WTERMSIG(wait_status));
    else
        snprintf(out, 32, "exit_%d", WEXITSTATUS(wait_status));
}
