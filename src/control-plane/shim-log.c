#include "shim-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"

#define LOG_NAME "runner.log"

static int open_current(ShimLog *l)
{
    l->fd = openat(l->dir_fd, LOG_NAME, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    l->size = l->fd >= 0 && fstat(l->fd, &st) == 0 ? st.st_size : 0;
    return l->fd;
}

int shim_log_open(ShimLog *l, const char *dir, int64_t max, Err *err)
{
    *l = (ShimLog){.fd = -1, .max = max};
    l->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (l->dir_fd < 0 || open_current(l) < 0)
        return err_set_errno(err, errno, "%s/" LOG_NAME, dir);
    return 0;
}

void shim_log_close(ShimLog *l)
{
    closep(&l->fd);
    closep(&l->dir_fd);
}

static void name_of(int n, char *out, size_t size)
{
    if (n == 0)
        snprintf(out, size, LOG_NAME);
    else
        snprintf(out, size, LOG_NAME ".%d", n);
}

static void rotate(ShimLog *l)
{
    char from[32], to[32];
    for (int n = SHIM_LOG_FILES - 1; n > 0; n--) {
        name_of(n - 1, from, sizeof(from));
        name_of(n, to, sizeof(to));
        renameat(l->dir_fd, from, l->dir_fd, to);
    }
    closep(&l->fd);
    open_current(l);
}

void shim_log_write(ShimLog *l, Str bytes)
{
    if (l->max > 0 && l->size > 0 && l->size + (int64_t)bytes.len > l->max)
        rotate(l);
    while (bytes.len > 0) {
        ssize_t n = write(l->fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* a full disk costs the log, not the runner */
        l->size += n;
        bytes = str_slice(bytes, (size_t)n, bytes.len);
    }
}

void shim_log_note(ShimLog *l, const char *fmt, ...)
{
    char text[256], line[320], now[RFC3339_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    rfc3339_format(clock_wall(&clock_system), now);
    snprintf(line, sizeof(line), "--- %s shim: %s\n", now, text);
    shim_log_write(l, str_from(line));
}

bool shim_log_pump(ShimLog *l, int pipe_fd, size_t budget)
{
    char buf[16384];
    while (budget > 0) {
        ssize_t n = read(pipe_fd, buf, sizeof(buf));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN;
        if (n == 0)
            return false;
        shim_log_write(l, (Str){buf, (size_t)n});
        budget = (size_t)n < budget ? budget - (size_t)n : 0;
    }
    return true;
}
