#include "sandbox/hide.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/vec.h"
#include "landlock-internal.h"
#include "sandbox/sandbox.h"

#define RIGHTS_OF_FILES                                                                                      \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
/* REFER: a layer that does not speak of it forbids to move files from one directory to another. */
#define RIGHTS (RIGHTS_OF_FILES | LANDLOCK_ACCESS_FS_REFER)

typedef struct Hide {
    int ruleset;
    uint64_t rights;
    VEC_OF(char *)
    hidden, shown; /* resolved */
} Hide;

static void hide_done(Hide *h)
{
    VEC_FOREACH (&h->hidden, p)
        free(*p);
    VEC_FOREACH (&h->shown, p)
        free(*p);
    vec_free(&h->hidden);
    vec_free(&h->shown);
    if (h->ruleset >= 0)
        close(h->ruleset);
}

/* Is `path` the directory `dir`, or below it? */
static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);
    if (n == 1) /* the root */
        return true;
    return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static int allow(const Hide *h, const char *path)
{
    CLEANUP_FD int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || S_ISLNK(st.st_mode)) /* gone, or only a name of something else */
        return 0;
    struct landlock_path_beneath_attr rule = {
        .allowed_access = S_ISDIR(st.st_mode) ? h->rights : h->rights & RIGHTS_OF_FILES,
        .parent_fd = fd,
    };
    if (syscall(SYS_landlock_add_rule, h->ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
        return 0;
    return errno == EBADFD ? 0 : -errno; /* of no file system that has rules: nothing is asked there either */
}

static int allow_shown(const Hide *h, const char *below)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < h->shown.len; i++)
        if (is_below(h->shown.ptr[i], below))
            rc = allow(h, h->shown.ptr[i]);
    return rc;
}

typedef enum Way { WAY_BESIDE, WAY_TOWARDS, WAY_HIDDEN } Way;

static Way way_of(const Hide *h, const char *path)
{
    Way w = WAY_BESIDE;
    for (size_t i = 0; i < h->hidden.len; i++) {
        if (is_below(path, h->hidden.ptr[i]))
            return WAY_HIDDEN;
        if (is_below(h->hidden.ptr[i], path))
            w = WAY_TOWARDS;
    }
    return w;
}

static void closedirp(DIR **d)
{
    if (*d)
        closedir(*d);
}

static int allow_entries(const Hide *h, const char *dir);

/* As deep as the path to a hidden directory is long. */
static int allow_tree(const Hide *h, const char *path)
{
    switch (way_of(h, path)) {
    case WAY_BESIDE:
        return allow(h, path);
    case WAY_TOWARDS:
        return allow_entries(h, path);
    case WAY_HIDDEN:
        return allow_shown(h, path);
    }
    return 0;
}

static int allow_entries(const Hide *h, const char *dir)
{
    CLEANUP(closedirp) DIR *d = opendir(dir);
    int rc = 0;
    for (struct dirent *e; d && rc == 0 && (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        CLEANUP_FREE char *path = xasprintf("%s%s%s", dir, dir[1] ? "/" : "", e->d_name);
        rc = allow_tree(h, path);
    }
    return rc;
}

static int make_ruleset(Hide *h)
{
    long abi = sandbox_landlock_abi();
    if (abi < 1)
        return -ENOSYS;
    h->rights = RIGHTS;
    if (abi < 2)
        h->rights &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
    if (abi < 3)
        h->rights &= ~(uint64_t)LANDLOCK_ACCESS_FS_TRUNCATE;
    const struct landlock_ruleset_attr attr = {.handled_access_fs = h->rights};
    h->ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
    return h->ruleset < 0 ? -errno : 0;
}

int hide_prepare(const char *const *hidden, size_t n_hidden, const char *const *shown, size_t n_shown,
                 int *ret_fd, Err *err)
{
    CLEANUP(hide_done) Hide h = {.ruleset = -1};
    for (size_t i = 0; i < n_hidden; i++) {
        char *path = realpath(hidden[i], NULL);
        if (path)
            vec_push(&h.hidden, path);
    }
    for (size_t i = 0; i < n_shown; i++) {
        char *path = realpath(shown[i], NULL);
        if (path)
            vec_push(&h.shown, path);
    }
    int rc = make_ruleset(&h);
    if (rc == -ENOSYS || rc == -EOPNOTSUPP)
        return err_set(err, ERR_UNIMPLEMENTED, "this kernel has no Landlock");
    if (rc == 0)
        rc = allow_tree(&h, "/");
    if (rc < 0)
        return err_set_errno(err, -rc, "Landlock rules");
    *ret_fd = h.ruleset;
    h.ruleset = -1;
    return 0;
}

int hide_enter(int fd)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        return -errno;
    return 0;
}
