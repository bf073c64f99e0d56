#include "process-dir.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/random.h"

#define ID_MAX 64
#define WORKSPACE "workspace"
#define TRASH ".trash"
#define LOCK_TRIES 30
#define LOCK_PAUSE 100 /* ms */

bool dirs_id_ok(Str id)
{
    if (id.len == 0 || id.len > ID_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++)
        if (!isalnum((unsigned char)id.ptr[i]) && id.ptr[i] != '-' && id.ptr[i] != '_')
            return false;
    return true;
}

static int open_beneath(int at, const char *name)
{
    const struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
                                 .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
    return (int)syscall(SYS_openat2, at, name, &how, sizeof(how));
}

/* A child of one that was killed holds the lock, too, until it has become another program. */
static int lock_root(Dirs *d, Err *err)
{
    CLEANUP_FREE char *lock = path_join(d->root, ".lock");
    int rc, tries = LOCK_TRIES;
    while ((rc = file_lock(lock, &d->lock_fd, err)) == -ERR_CONFLICT && tries-- > 0)
        poll(NULL, 0, LOCK_PAUSE);
    if (rc == -ERR_CONFLICT)
        return err_set(err, ERR_CONFLICT,
                       "another control plane uses %s; stop it or set LOCAL_WORKSPACE_ROOT", d->root);
    return rc;
}

int dirs_open(Dirs *d, const char *root, int64_t uid, int64_t gid, Err *err)
{
    *d = (Dirs){.root_fd = -1, .lock_fd = -1, .uid = uid, .gid = gid};
    /* Another user must be able to pass through to its workspace, and to nothing else. */
    mode_t mode = uid >= 0 ? 0711 : 0700;
    int rc = dir_make(root, mode, err);
    if (rc < 0)
        return err_wrap(err, "workspace root");
    d->root = realpath(root, NULL);
    d->root_fd = d->root ? open(d->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (d->root_fd < 0 || fchmod(d->root_fd, mode) < 0) /* whatever our umask made of it */
        return err_set_errno(err, errno, "workspace root %s", root);
    if (mkdirat(d->root_fd, TRASH, 0700) < 0 && errno != EEXIST)
        return err_set_errno(err, errno, "%s/" TRASH, d->root);
    return lock_root(d, err);
}

void dirs_close(Dirs *d)
{
    closep(&d->root_fd);
    closep(&d->lock_fd);
    free(d->root);
    *d = (Dirs){.root_fd = -1, .lock_fd = -1};
}

char *dirs_session(const Dirs *d, const char *session_id)
{
    return path_join(d->root, session_id);
}

char *dirs_workspace(const Dirs *d, const char *session_id)
{
    return xasprintf("%s/%s/" WORKSPACE, d->root, session_id);
}

static int make_dir(int at, const char *name, mode_t mode, int64_t uid, int64_t gid)
{
    if (mkdirat(at, name, mode) < 0 && errno != EEXIST)
        return -errno;
    CLEANUP_FD int fd = open_beneath(at, name);
    if (fd < 0)
        return -errno;
    if (uid >= 0 && fchown(fd, (uid_t)uid, (gid_t)gid) < 0)
        return -errno;
    return fchmod(fd, mode) < 0 ? -errno : 0;
}

int dirs_make(const Dirs *d, const char *session_id, Err *err)
{
    int rc = make_dir(d->root_fd, session_id, d->uid >= 0 ? 0711 : 0700, -1, -1);
    if (rc < 0)
        return err_set_errno(err, -rc, "%s/%s", d->root, session_id);
    CLEANUP_FD int fd = open_beneath(d->root_fd, session_id);
    if (fd < 0)
        return err_set_errno(err, errno, "%s/%s", d->root, session_id);
    rc = make_dir(fd, WORKSPACE, 0700, d->uid, d->gid);
    if (rc == 0)
        rc = make_dir(fd, TMP_DIR, 0700, d->uid, d->gid);
    return rc < 0 ? err_set_errno(err, -rc, "%s/%s/" WORKSPACE, d->root, session_id) : 0;
}

int dirs_write(const Dirs *d, const char *session_id, const char *name, Str content, Err *err)
{
    CLEANUP_FREE char *path = xasprintf("%s/%s/%s", d->root, session_id, name);
    int rc = file_write_atomic(path, content, 0600, err);
    if (rc == 0 && d->uid >= 0 && lchown(path, (uid_t)d->uid, (gid_t)d->gid) < 0)
        return err_set_errno(err, errno, "%s", path);
    return rc;
}

void dirs_unlink(const Dirs *d, const char *session_id, const char *name)
{
    CLEANUP_FD int fd = open_beneath(d->root_fd, session_id);
    if (fd >= 0)
        unlinkat(fd, name, 0);
}

int dirs_remove(const Dirs *d, const char *session_id, Err *err)
{
    uint64_t r;
    random_bytes(&r, sizeof(r));
    CLEANUP_FREE char *aside = xasprintf(TRASH "/%s.%016llx", session_id, (unsigned long long)r);
    if (renameat(d->root_fd, session_id, d->root_fd, aside) < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, errno, "%s/%s", d->root, session_id);
    CLEANUP_FREE char *path = path_join(d->root, aside);
    return dir_remove_tree(path, err);
}

static void closedirp(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

static DIR *open_dir(int at, const char *name)
{
    int fd = open_beneath(at, name);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (fd >= 0 && !dir)
        close(fd);
    return dir;
}

void dirs_empty_trash(const Dirs *d)
{
    CLEANUP(closedirp) DIR *dir = open_dir(d->root_fd, TRASH);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        CLEANUP_FREE char *path = xasprintf("%s/" TRASH "/%s", d->root, e->d_name);
        dir_remove_tree(path, NULL);
    }
}

WallUsec dirs_made_at(const Dirs *d, const char *session_id)
{
    struct statx st;
    if (statx(d->root_fd, session_id, AT_SYMLINK_NOFOLLOW, STATX_BTIME | STATX_CTIME, &st) < 0)
        return (WallUsec){0};
    const struct statx_timestamp *t = st.stx_mask & STATX_BTIME ? &st.stx_btime : &st.stx_ctime;
    return (WallUsec){t->tv_sec * (int64_t)USEC_PER_SEC + t->tv_nsec / 1000};
}

int dirs_each(const Dirs *d, void (*each)(void *arg, const char *session_id), void *arg, Err *err)
{
    CLEANUP(closedirp) DIR *dir = open_dir(d->root_fd, ".");
    if (!dir)
        return err_set_errno(err, errno, "%s", d->root);
    for (struct dirent *e; (e = readdir(dir));)
        if (dirs_id_ok(str_from(e->d_name)) && (e->d_type == DT_DIR || e->d_type == DT_UNKNOWN))
            each(arg, e->d_name);
    return 0;
}
