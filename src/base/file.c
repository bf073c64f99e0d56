#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/mem.h"

#define READ_STEP 16384

int file_read(const char *path, Buf *out, Err *err)
{
    CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return err_set(err, ERR_NOT_FOUND, "%s: no such file", path);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", path);
    for (;;) {
        /* One byte more than allowed is read into `extra`, to tell "full" from "too large". */
        char extra;
        size_t room = out->max - out->len < READ_STEP ? out->max - out->len : READ_STEP;
        void *to = room ? buf_reserve(out, room) : &extra;
        if (!to)
            return err_set(err, ERR_TOO_LARGE, "%s: no memory for it", path);
        ssize_t n = read(fd, to, room ? room : 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "%s", path);
        if (n == 0)
            return 0;
        if (!room)
            return err_set(err, ERR_TOO_LARGE, "%s: larger than %zu bytes", path, out->max);
        buf_commit(out, (size_t)n);
    }
}

int fd_write_all(int fd, Str content)
{
    while (content.len) {
        ssize_t n = write(fd, content.ptr, content.len);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0)
            content = str_slice(content, (size_t)n, content.len);
    }
    return 0;
}

static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

/* A rename is on disk only when its directory is. */
static int sync_dir(const char *path)
{
    CLEANUP_FREE char *parent = parent_of(path);
    CLEANUP_FD int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : fsync(fd);
}

int file_write_atomic(const char *path, Str content, mode_t mode, Err *err)
{
    CLEANUP_FREE char *temp = xasprintf("%s.XXXXXX", path);
    CLEANUP_FD int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "%s", path);
    if (fd_write_all(fd, content) < 0 || fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temp, path) < 0) {
        int errnum = errno;
        unlink(temp);
        return err_set_errno(err, errnum, "%s", path);
    }
    if (sync_dir(path) < 0)
        return err_set_errno(err, errno, "%s: sync of its directory", path);
    return 0;
}

static int make_one(const char *path, mode_t mode)
{
    struct stat st;
    if (mkdir(path, mode) == 0)
        return 0;
    int errnum = errno; /* EEXIST, but also EROFS or EACCES for a directory that is already there */
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    errno = errnum == EEXIST ? ENOTDIR : errnum;
    return -1;
}

int dir_make(const char *path, mode_t mode, Err *err)
{
    CLEANUP_FREE char *part = xstrdup(path);
    for (char *at = part + 1; *part && *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (make_one(part, mode) < 0)
            return err_set_errno(err, errno, "%s", part);
        *at = '/';
    }
    if (make_one(path, mode) < 0)
        return err_set_errno(err, errno, "%s", path);
    return 0;
}

bool file_exists(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0;
}

char *path_join(const char *dir, const char *name)
{
    Str d = str_from(dir);
    while (str_ends(d, STR("/")))
        d.len--;
    while (*name == '/')
        name++;
    if (!d.len)
        return *dir ? xasprintf("/%s", name) : xstrdup(name);
    return xasprintf(STR_FMT "/%s", STR_ARG(d), name);
}

static int take_lock(const char *path, int how, int *ret_fd, Err *err)
{
    CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_set_errno(err, errno, "lock %s", path);
    while (flock(fd, how) < 0) {
        if (errno == EINTR)
            continue;
        if (errno == EWOULDBLOCK)
            return err_set(err, ERR_CONFLICT, "lock %s: held by another process", path);
        return err_set_errno(err, errno, "lock %s", path);
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int file_lock(const char *path, int *ret_fd, Err *err)
{
    return take_lock(path, LOCK_EX | LOCK_NB, ret_fd, err);
}

int file_lock_wait(const char *path, int *ret_fd, Err *err)
{
    return take_lock(path, LOCK_EX, ret_fd, err);
}
