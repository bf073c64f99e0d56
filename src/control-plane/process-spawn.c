#include "process-spawn.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/secret.h"

/* A shim answers when its runner's program was started; more than this is a machine that is stuck. */
#define ANSWER_PATIENCE (30 * USEC_PER_SEC)

struct Spawn {
    Loop *loop;
    Child *child;
    Buf spec, report;
    size_t written;
    int in_fd, out_fd;
    FdWatch *in, *out;
    Timer *patience;
    SpawnDone done;
    void *arg;
};

Spawn *spawn_free(Spawn *s)
{
    if (!s)
        return NULL;
    fd_watch_free(s->in);
    fd_watch_free(s->out);
    closep(&s->in_fd);
    closep(&s->out_fd);
    timer_free(s->patience);
    child_free(s->child);
    if (s->spec.data)
        secret_erase(s->spec.data, s->spec.len);
    buf_done(&s->spec);
    buf_done(&s->report);
    free(s);
    return NULL;
}

static void finish(Spawn *s, const Err *err)
{
    assert(loop_is_current(s->loop));
    SpawnDone done = s->done;
    void *arg = s->arg;
    ShimReport r = {0};
    Err e = {0};
    bool bad = err != NULL;
    if (!bad)
        bad = shim_report_read(buf_str(&s->report), &r, &e) < 0;
    else
        e = *err;
    spawn_free(s);
    done(arg, bad ? NULL : &r, bad ? &e : NULL);
}

static void stop_writing(Spawn *s)
{
    s->in = fd_watch_free(s->in);
    closep(&s->in_fd);
    s->in_fd = -1;
    secret_erase(s->spec.data, s->spec.len);
    buf_done(&s->spec);
}

/* A shim that closed its input has its reasons; they come in its report. */
static void on_writable(void *arg, unsigned ready)
{
    Spawn *s = arg;
    assert(s->written < s->spec.len);
    Str rest = str_slice(buf_str(&s->spec), s->written, s->spec.len);
    ssize_t n = write(s->in_fd, rest.ptr, rest.len);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        s->written += (size_t)n;
    if (n <= 0 || s->written == s->spec.len)
        stop_writing(s);
}

static void on_readable(void *arg, unsigned ready)
{
    Spawn *s = arg;
    char *to = buf_reserve(&s->report, 512);
    if (!to) {
        finish(s, &(Err){ERR_INTERNAL, "the shim's answer is too long"});
        return;
    }
    ssize_t n = read(s->out_fd, to, 512);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0)
        buf_commit(&s->report, (size_t)n);
    /* The line is all; waiting for the end of the file would wait for whoever has the pipe too. */
    if (n <= 0 || str_find_byte(buf_str(&s->report), '\n') >= 0)
        finish(s, NULL);
}

static void on_patience(void *arg)
{
    finish(arg, &(Err){ERR_DEADLINE, "the shim did not answer in time"});
}

static void on_child_exit(void *arg, int status)
{
    /* The first process of a shim ends at once: it has become another one. What matters is the report. */
}

static int start_child(Spawn *s, const char *program, const ShimSpec *spec, int listen_fd, Err *err)
{
    char run[32];
    snprintf(run, sizeof(run), "%lld", (long long)spec->run);
    const char *const argv[] = {program, "shim", spec->session, run, NULL};
    const char *const envp[] = {"PATH=/usr/bin:/bin", NULL};
    /* The runner's program is looked up by the PATH in its own environment. */
    const ChildSpec c = {.argv = argv,
                         .envp = envp,
                         .cwd = "/",
                         .fd_in = -1,
                         .fd_out = -1,
                         .fd_err = -1,
                         .pipe_in = true,
                         .pipe_out = true,
                         .new_session = true,
                         .pass_fd = listen_fd};
    int rc = child_spawn(s->loop, &c, on_child_exit, s, &s->child, err);
    if (rc < 0)
        return err_wrap(err, "start a shim");
    s->in_fd = child_fd(s->child, 0);
    s->out_fd = child_fd(s->child, 1);
    return 0;
}

int spawn_start(Loop *l, const char *program, const ShimSpec *spec, int listen_fd, SpawnDone done, void *arg,
                Spawn **ret, Err *err)
{
    Spawn *s = xnew(Spawn);
    s->loop = l;
    s->done = done;
    s->arg = arg;
    s->in_fd = s->out_fd = -1;
    buf_init(&s->spec, SHIM_SPEC_MAX);
    buf_init(&s->report, SHIM_REPORT_MAX);
    int rc = shim_spec_write(spec, &s->spec, err);
    if (rc == 0)
        rc = start_child(s, program, spec, listen_fd, err);
    if (rc < 0) {
        spawn_free(s);
        return rc;
    }
    s->in = fd_watch_new(l, s->in_fd, FD_WRITE, on_writable, s);
    s->out = fd_watch_new(l, s->out_fd, FD_READ, on_readable, s);
    s->patience = timer_new(l, on_patience, s);
    timer_arm(s->patience, ANSWER_PATIENCE);
    *ret = s;
    return 0;
}
