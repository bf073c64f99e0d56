#include "launcher-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"

#define LOG_MAX (10 * 1024 * 1024)
#define LOG_KEPT 3
#define TAIL_MAX 2048

struct LogFile {
    char *path, *name;
    int in, out;
    bool tee, line_open;
    off_t size;
    FdWatch *watch;
    Buf tail;
};

static int open_log(LogFile *f, Err *err)
{
    f->out = open(f->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (f->out < 0)
        return err_set_errno(err, errno, "log %s", f->path);
    f->size = lseek(f->out, 0, SEEK_END);
    return 0;
}

/* name.log -> name.log.1 -> ... ; a failed rename only means that a file grows on. */
static void rotate(LogFile *f)
{
    for (int i = LOG_KEPT - 1; i >= 0; i--) {
        CLEANUP_FREE char *to = xasprintf("%s.%d", f->path, i + 1);
        CLEANUP_FREE char *from = i ? xasprintf("%s.%d", f->path, i) : xstrdup(f->path);
        (void)rename(from, to);
    }
    close(f->out);
    (void)open_log(f, NULL);
}

static void tee_lines(LogFile *f, Str s)
{
    while (s.ptr && s.len) {
        ptrdiff_t nl = str_find_byte(s, '\n');
        Str part = nl < 0 ? s : str_slice(s, 0, (size_t)nl + 1);
        if (!f->line_open)
            fprintf(stderr, "%s | ", f->name);
        fwrite(part.ptr, 1, part.len, stderr);
        f->line_open = nl < 0;
        s = str_slice(s, part.len, s.len);
    }
}

static void keep_tail(LogFile *f, Str s)
{
    if (s.len > TAIL_MAX)
        s = str_slice(s, s.len - TAIL_MAX, s.len);
    if (f->tail.len + s.len > TAIL_MAX)
        buf_consume(&f->tail, f->tail.len + s.len - TAIL_MAX);
    buf_adds(&f->tail, s);
}

static void on_readable(void *arg, unsigned ready)
{
    LogFile *f = arg;
    char chunk[16384];
    ssize_t n = read(f->in, chunk, sizeof(chunk));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        fd_watch_set(f->watch, 0);
        return;
    }
    Str s = {chunk, (size_t)n};
    keep_tail(f, s);
    if (f->tee)
        tee_lines(f, s);
    if (f->out < 0)
        return;
    (void)fd_write_all(f->out, s); /* a full disk must not stop the platform */
    f->size += n;
    if (f->size > LOG_MAX)
        rotate(f);
}

int logfile_new(Loop *l, const Place *p, const char *name, int fd, bool tee, LogFile **ret, Err *err)
{
    LogFile *f = xnew(LogFile);
    f->path = place_log_file(p, name);
    f->name = xstrdup(name);
    f->in = fd;
    f->out = -1;
    f->tee = tee;
    buf_init(&f->tail, 2 * TAIL_MAX);
    f->watch = fd_watch_new(l, fd, FD_READ, on_readable, f);
    int rc = open_log(f, err);
    if (rc < 0) {
        logfile_free(f);
        return rc;
    }
    *ret = f;
    return 0;
}

LogFile *logfile_free(LogFile *f)
{
    if (!f)
        return NULL;
    fd_watch_free(f->watch);
    if (f->in >= 0)
        close(f->in);
    if (f->out >= 0)
        close(f->out);
    buf_done(&f->tail);
    free(f->path);
    free(f->name);
    free(f);
    return NULL;
}

Str logfile_tail(const LogFile *f)
{
    return f ? buf_str(&f->tail) : STR_NULL;
}
