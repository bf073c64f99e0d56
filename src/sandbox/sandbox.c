#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "landlock-internal.h"

/* Newer than the headers of our oldest build machines. */
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)

typedef struct RulesetAttr {
    uint64_t handled_fs, handled_net, scoped;
} RulesetAttr;

#define WRITE_FILE (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define WRITE_ALL                                                                                            \
    (WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE |                           \
     LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_REG |              \
     LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | LANDLOCK_ACCESS_FS_MAKE_BLOCK |           \
     LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)

static const char *const mode_names[_SANDBOX_MAX] = {"auto", "none", "landlock", "userns"};
/* Written to by everything that runs: terminals and /dev/null, a process's own entries. No files can be made
 * there. */
static const char *const special[] = {"/dev", "/proc"};

const char *sandbox_mode_name(SandboxMode m)
{
    return mode_names[m];
}

int sandbox_mode_parse(Str s, SandboxMode *ret)
{
    for (int i = 0; i < _SANDBOX_MAX; i++) {
        if (str_eqz(s, mode_names[i])) {
            *ret = (SandboxMode)i;
            return 0;
        }
    }
    return -1;
}

/* ---- Landlock ---- */

long sandbox_landlock_abi(void)
{
    return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* Rights that this kernel knows. */
static uint64_t known_rights(long abi)
{
    uint64_t rights = WRITE_ALL;
    if (abi < 2)
        rights &= ~(uint64_t)LANDLOCK_ACCESS_FS_REFER;
    if (abi < 3)
        rights &= ~(uint64_t)LANDLOCK_ACCESS_FS_TRUNCATE;
    return rights;
}

static int make_ruleset(long abi)
{
    const RulesetAttr attr = {.handled_fs = known_rights(abi),
                              .scoped = abi >= 6 ? SCOPE_SIGNAL | SCOPE_ABSTRACT_UNIX_SOCKET : 0};
    size_t size = abi >= 6 ? sizeof(attr) : sizeof(attr.handled_fs);
    int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    return fd < 0 ? -errno : fd;
}

static int allow(int ruleset, const char *path, uint64_t rights)
{
    CLEANUP_FD int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;
    struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
        return 0;
    /* EINVAL: rights for directories on what is a file. */
    rule.allowed_access = rights & WRITE_FILE;
    if (errno == EINVAL && syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
        return 0;
    return -errno;
}

static int landlock_apply(const char *const *writable, size_t n)
{
    long abi = sandbox_landlock_abi();
    if (abi < 1)
        return -ENOSYS;
    CLEANUP_FD int fd = make_ruleset(abi);
    int rc = fd < 0 ? fd : 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = allow(fd, writable[i], known_rights(abi));
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(special); i++)
        rc = allow(fd, special[i], known_rights(abi) & WRITE_FILE);
    if (rc < 0)
        return rc;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        return -errno;
    return 0;
}

/* ---- a mount namespace ---- */

static int write_text(const char *path, const char *text)
{
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    size_t len = strlen(text);
    return fd >= 0 && write(fd, text, len) == (ssize_t)len ? 0 : -errno;
}

/* Inside we are who we were outside; a process may map its own ids only. */
static int map_ids(uid_t uid, gid_t gid)
{
    char text[64];
    int rc = write_text("/proc/self/setgroups", "deny");
    snprintf(text, sizeof(text), "%u %u 1", uid, uid);
    if (rc == 0)
        rc = write_text("/proc/self/uid_map", text);
    snprintf(text, sizeof(text), "%u %u 1", gid, gid);
    return rc == 0 ? write_text("/proc/self/gid_map", text) : rc;
}

static int new_mounts(void)
{
    uid_t uid = getuid();
    gid_t gid = getgid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return -errno;
    int rc = map_ids(uid, gid);
    if (rc < 0)
        return rc;
    return mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? -errno : 0;
}

static int set_readonly_all(void)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    return mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof(attr)) < 0 ? -errno : 0;
}

/* Who is root inside could make the mounts writable again: exec leaves it no capability to do that with. */
static int drop_rights(void)
{
    for (unsigned long cap = 0; cap <= CAP_LAST_CAP; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EINVAL)
            return -errno;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

#define USERNS_PATHS_MAX 64

/* The trees that stay writable are cloned before all becomes read-only, and put over themselves after. */
static int userns_apply(const char *const *writable, size_t n)
{
    int trees[USERNS_PATHS_MAX];
    const char *paths[USERNS_PATHS_MAX];
    size_t kept = 0;
    int rc = new_mounts();
    for (size_t i = 0; rc == 0 && i < n + ARRAY_LEN(special) && kept < USERNS_PATHS_MAX; i++) {
        const char *path = i < n ? writable[i] : special[i - n];
        int fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
        if (fd < 0)
            continue;
        trees[kept] = fd;
        paths[kept++] = path;
    }
    if (rc == 0)
        rc = set_readonly_all();
    for (size_t i = 0; i < kept; i++) {
        if (rc == 0 && move_mount(trees[i], "", AT_FDCWD, paths[i], MOVE_MOUNT_F_EMPTY_PATH) < 0)
            rc = -errno;
        close(trees[i]);
    }
    return rc == 0 ? drop_rights() : rc;
}

int sandbox_apply(SandboxMode m, const char *const *writable, size_t n)
{
    switch (m) {
    case SANDBOX_LANDLOCK:
        return landlock_apply(writable, n);
    case SANDBOX_USERNS:
        return userns_apply(writable, n);
    default:
        return 0;
    }
}

/* ---- choosing ---- */

bool sandbox_works(SandboxMode m)
{
    static const char *const writable[] = {"/tmp"};
    pid_t pid = fork();
    if (pid == 0)
        _exit(sandbox_apply(m, writable, 1) == 0 ? 0 : 1);
    int status = 1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return pid > 0 && status == 0;
}

SandboxMode sandbox_choose(SandboxMode wanted)
{
    static const SandboxMode best_first[] = {SANDBOX_LANDLOCK, SANDBOX_USERNS};
    if (wanted != SANDBOX_AUTO)
        return wanted;
    for (size_t i = 0; i < ARRAY_LEN(best_first); i++)
        if (sandbox_works(best_first[i]))
            return best_first[i];
    return SANDBOX_NONE;
}
