/*
 * Removing a directory tree that an agent filled: names are hostile. Everything goes through descriptors with
 * O_NOFOLLOW, so that swapping a directory for a symbolic link while we work leads nowhere. Depth is bounded:
 * what lies deeper than LEVELS_MAX is moved up to the root and its turn comes later, so neither the stack nor
 * the descriptors of the process grow with the tree.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEVELS_MAX 32

typedef struct Removal {
    int root_fd;
    dev_t dev;
    unsigned moved; /* directories moved up, for their names */
} Removal;

static void closedirp(DIR **d)
{
    if (*d)
        closedir(*d);
}

/* Opens a directory below `at`; one that its owner made unreadable is made readable first. */
static int open_dir(int at, const char *name)
{
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(at, name, flags);
    if (fd >= 0 || errno != EACCES)
        return fd;
    CLEANUP_FD int path_fd = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char by_fd[32]; /* chmod by name would follow a symbolic link put there meanwhile */
    snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", path_fd);
    if (path_fd < 0 || chmod(by_fd, 0700) < 0) {
        errno = EACCES;
        return -1;
    }
    return openat(at, name, flags);
}

static int move_up(Removal *r, int at, const char *name)
{
    char to[48];
    do
        snprintf(to, sizeof(to), ".removing-%d-%u", (int)getpid(), r->moved++);
    while (faccessat(r->root_fd, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
    return renameat(at, name, r->root_fd, to);
}

static int remove_children(Removal *r, int fd, int level);

static int remove_dir(Removal *r, int at, const char *name, int level)
{
    CLEANUP_FD int fd = open_dir(at, name);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT ? 0 : -1;
    if (st.st_dev != r->dev) { /* a mount: what is in it is not ours to remove */
        errno = EBUSY;
        return -1;
    }
    if (level == LEVELS_MAX)
        return move_up(r, at, name);
    if (remove_children(r, fd, level + 1) < 0)
        return -1;
    return unlinkat(at, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -1 : 0;
}

static int remove_entry(Removal *r, int at, const char *name, int level)
{
    if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -1;
    return remove_dir(r, at, name, level);
}

static int remove_children(Removal *r, int fd, int level)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -1;
    CLEANUP(closedirp) DIR *dir = fdopendir(copy);
    if (!dir) {
        close(copy);
        return -1;
    }
    rewinddir(dir); /* the copy shares its position with the one of an earlier pass */
    if (fchmod(fd, 0700) < 0 && errno != EPERM) /* entries of a read-only directory cannot be unlinked */
        return -1;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (!e)
            return errno ? -1 : 0;
        if (str_eqz(STR("."), e->d_name) || str_eqz(STR(".."), e->d_name))
            continue;
        if (remove_entry(r, fd, e->d_name, level) < 0)
            return -1;
    }
}

static bool is_safe_root(const char *root)
{
    Str rest = str_from(root);
    bool named = false;
    if (!str_starts(rest, STR("/")))
        return false;
    while (rest.ptr) {
        Str part = str_cut(&rest, '/');
        if (str_eq(part, STR("..")) || str_eq(part, STR(".")))
            return false;
        named |= part.len > 0;
    }
    return named;
}

static int remove_root(const char *root)
{
    if (unlink(root) == 0 || errno == ENOENT) /* a file, or a symbolic link, which is not followed */
        return 0;
    CLEANUP_FD int fd = open_dir(AT_FDCWD, root);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    Removal r = {.root_fd = fd, .dev = st.st_dev};
    unsigned before;
    do { /* again as long as deep directories were moved up */
        before = r.moved;
        if (remove_children(&r, fd, 0) < 0)
            return -1;
    } while (r.moved != before);
    return rmdir(root);
}

int dir_remove_tree(const char *root, Err *err)
{
    if (!is_safe_root(root))
        return err_set(err, ERR_INVALID, "remove %s: not an absolute path below /", root);
    if (remove_root(root) < 0)
        return err_set_errno(err, errno, "remove %s", root);
    return 0;
}
