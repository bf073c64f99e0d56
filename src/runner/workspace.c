#include "workspace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/vec.h"
#include "json/json.h"

#define PATH_LEN_MAX 4000
#define NAME_LEN_MAX 255

struct Workspace {
    int root; /* O_PATH */
    char *root_path, *state_dir;
};

/* Of the runner, below its state directory: conversations, records on their way, servers with their secrets.
 */
static const char *const private_names[] = {"runner_state.json", "journal.jsonl", "claude_session_ids.json",
                                            "mcp.json"};

int workspace_new(const char *root, const char *state_dir, Workspace **ret, Err *err)
{
    int fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, ERR_IO, "workspace %s: %m", root);
    Workspace *w = xnew(Workspace);
    w->root = fd;
    w->root_path = xstrdup(root);
    w->state_dir = xstrdup(state_dir);
    *ret = w;
    return 0;
}

Workspace *workspace_free(Workspace *w)
{
    if (!w)
        return NULL;
    close(w->root);
    free(w->root_path);
    free(w->state_dir);
    free(w);
    return NULL;
}

const char *workspace_root(const Workspace *w)
{
    return w->root_path;
}

/* ---- paths ---- */

/* Relative to the root, without "." and empty parts; "." for the root itself. */
static int clean_path(Str path, char **ret, Err *err)
{
    CLEANUP_BUF Buf out = BUF_INIT(PATH_LEN_MAX + 1);
    if (path.len > PATH_LEN_MAX || !str_is_utf8(path))
        return err_set(err, ERR_INVALID, "invalid path");
    while (path.ptr) {
        Str part = str_cut(&path, '/');
        if (!part.len || str_eqz(part, "."))
            continue;
        if (str_eqz(part, "..") || part.len > NAME_LEN_MAX)
            return err_set(err, ERR_INVALID, "invalid path");
        (void)buf_addf(&out, "%s" STR_FMT, out.len ? "/" : "", STR_ARG(part));
    }
    if (!out.len)
        (void)buf_addc(&out, '.');
    *ret = buf_take(&out);
    return 0;
}

/* Into directory and name; false for the root. */
static bool split(const char *path, char **ret_dir, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    if (strcmp(path, ".") == 0)
        return false;
    *ret_dir = slash ? str_dup((Str){path, (size_t)(slash - path)}) : xstrdup(".");
    *ret_name = slash ? slash + 1 : path;
    return true;
}

static int fault(int error, const char *what, Err *err)
{
    switch (error) {
    case ENOENT:
        return err_set(err, ERR_NOT_FOUND, "not found");
    case EXDEV:   /* it leads out of the workspace */
    case ELOOP:   /* or nowhere */
    case ENOTDIR: /* or through a file */
    case EISDIR:
    case ENAMETOOLONG:
    case EINVAL:
    case ENXIO: /* a socket or a pipe */
        return err_set(err, ERR_INVALID, "invalid path");
    case EACCES:
    case EPERM:
        return err_set(err, ERR_FORBIDDEN, "permission denied");
    case ENOSPC:
    case EDQUOT:
        return err_set(err, ERR_NO_SPACE, "no space left");
    default:
        errno = error;
        return err_set(err, ERR_IO, "%s: %m", what);
    }
}

/* Kernels and sandboxes without openat2: part by part, and no symbolic link is followed at all. */
static int open_by_parts(int root, const char *path, int flags, mode_t mode)
{
    CLEANUP_FD int dir = fcntl(root, F_DUPFD_CLOEXEC, 0);
    for (Str rest = str_from(path); rest.ptr && dir >= 0;) {
        Str part = str_cut(&rest, '/');
        CLEANUP_FREE char *name = str_dup(part);
        int use = rest.ptr ? O_PATH | O_DIRECTORY : flags;
        int next = openat(dir, name, use | O_NOFOLLOW | O_CLOEXEC, mode);
        int error = errno;
        close(dir);
        dir = next;
        errno = error;
    }
    return take_fd(&dir);
}

static int open_beneath(const Workspace *w, const char *path, int flags, mode_t mode)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC),
                           .mode = mode,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = syscall(SYS_openat2, w->root, path, &how, sizeof(how));
    if (fd < 0 && (errno == ENOSYS || (errno == EPERM && !(flags & O_CREAT))))
        return open_by_parts(w->root, path, flags, mode);
    return (int)fd;
}

/* ---- what is the runner's ---- */

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_private_name(const Workspace *w, int dir, const char *name)
{
    struct stat here, state;
    if (fstat(dir, &here) < 0 || stat(w->state_dir, &state) < 0 || !same_file(&here, &state))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(private_names); i++)
        if (str_starts(str_from(name), str_from(private_names[i])))
            return true; /* temporary ones too */
    return false;
}

/* Also when a link of another name leads to it. */
static bool is_private_file(const Workspace *w, const struct stat *st)
{
    for (size_t i = 0; i < ARRAY_LEN(private_names); i++) {
        CLEANUP_FREE char *path = path_join(w->state_dir, private_names[i]);
        struct stat one;
        if (stat(path, &one) == 0 && same_file(&one, st))
            return true;
    }
    return false;
}

/* ---- lists ---- */

static void add_item(Buf *out, const char *dir, const char *name, const struct stat *st)
{
    char time[32];
    struct tm tm;
    (void)buf_addz(out, out->data[out->len - 1] == '[' ? "{\"name\":" : ",{\"name\":");
    json_write_str_plain(out, str_from(name));
    CLEANUP_FREE char *path = strcmp(dir, ".") == 0 ? xasprintf("/%s", name) : xasprintf("/%s/%s", dir, name);
    (void)buf_addz(out, ",\"path\":");
    json_write_str_plain(out, str_from(path));
    gmtime_r(&st->st_mtime, &tm);
    (void)strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%SZ", &tm);
    (void)buf_addf(out, ",\"isDir\":%s,\"size\":%lld,\"modifiedAt\":\"%s\"}",
                   S_ISDIR(st->st_mode) ? "true" : "false", (long long)st->st_size, time);
}

typedef VEC_OF(char *)
Names;

static void names_done(Names *n)
{
    VEC_FOREACH (n, name)
        free(*name);
    vec_free(n);
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* No more than can be answered, and one. */
static int read_names(int fd, Names *ret, Err *err)
{
    int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    if (!d) {
        int error = errno;
        if (again >= 0)
            close(again);
        return fault(error, "read", err);
    }
    for (struct dirent *e;
         ret->len <= WORKSPACE_LIST_MAX && (e = readdir(d));) // NOLINT(concurrency-mt-unsafe)
        if (!is_dots(e->d_name))
            vec_push(ret, xstrdup(e->d_name));
    closedir(d);
    if (ret->len)
        qsort(ret->ptr, ret->len, sizeof(*ret->ptr), by_bytes);
    return 0;
}

/* Names that are no UTF-8 cannot be asked for in JSON: they are left out. */
static int list_directory(const Workspace *w, int fd, const char *path, Buf *out, Err *err)
{
    CLEANUP(names_done) Names names = {0};
    int rc = read_names(fd, &names, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < names.len && i < WORKSPACE_LIST_MAX; i++) {
        const char *name = names.ptr[i];
        struct stat st;
        if (str_is_utf8(str_from(name)) && !is_private_name(w, fd, name) &&
            fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            add_item(out, path, name, &st);
    }
    (void)buf_addz(out, names.len > WORKSPACE_LIST_MAX ? "],\"truncated\":true}" : "]}");
    return buf_check(out, err);
}

int workspace_list(const Workspace *w, Str path, Buf *out, Err *err)
{
    CLEANUP_FREE char *clean = NULL;
    int rc = clean_path(path, &clean, err);
    if (rc < 0)
        return rc;
    CLEANUP_FD int fd = open_beneath(w, clean, O_PATH, 0);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return fault(errno, "open", err);
    (void)buf_addz(out, "{\"items\":[");
    if (S_ISDIR(st.st_mode))
        return list_directory(w, fd, clean, out, err);
    CLEANUP_FREE char *dir = NULL;
    const char *name;
    if (is_private_file(w, &st) || !split(clean, &dir, &name))
        return fault(ENOENT, "open", err);
    add_item(out, dir, name, &st);
    (void)buf_addz(out, "]}");
    return buf_check(out, err);
}

/* ---- reading ---- */

int workspace_open(const Workspace *w, Str path, int *ret_fd, uint64_t *ret_size, Err *err)
{
    CLEANUP_FREE char *clean = NULL;
    struct stat st;
    int rc = clean_path(path, &clean, err);
    if (rc < 0)
        return rc;
    CLEANUP_FD int fd = open_beneath(w, clean, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0 || fstat(fd, &st) < 0)
        return fault(errno, "open", err);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "not a file");
    if (is_private_file(w, &st))
        return fault(ENOENT, "open", err);
    if ((uint64_t)st.st_size > WORKSPACE_FILE_MAX)
        return err_set(err, ERR_TOO_LARGE, "the file is larger than %llu bytes",
                       (unsigned long long)WORKSPACE_FILE_MAX);
    *ret_fd = take_fd(&fd);
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

/* ---- writing ---- */

/* A step below a directory that is open, made when it is missing. */
static int step_into(const Workspace *w, const char *so_far, int *fd, Err *err)
{
    CLEANUP_FREE char *dir = NULL;
    const char *name;
    int next = open_beneath(w, so_far, O_PATH | O_DIRECTORY, 0);
    if (next < 0 && errno == ENOENT && split(so_far, &dir, &name)) {
        if (mkdirat(*fd, name, 0755) < 0 && errno != EEXIST)
            return fault(errno, "mkdir", err);
        next = open_beneath(w, so_far, O_PATH | O_DIRECTORY, 0);
    }
    if (next < 0)
        return fault(errno, "open", err);
    close(*fd);
    *fd = next;
    return 0;
}

static int make_parents(const Workspace *w, const char *dir, int *ret_fd, Err *err)
{
    CLEANUP_BUF Buf so_far = BUF_INIT(PATH_LEN_MAX + 1);
    CLEANUP_FD int fd = open_beneath(w, ".", O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return fault(errno, "open", err);
    for (Str rest = strcmp(dir, ".") == 0 ? STR_NULL : str_from(dir); rest.ptr;) {
        Str part = str_cut(&rest, '/');
        (void)buf_addf(&so_far, "%s" STR_FMT, so_far.len ? "/" : "", STR_ARG(part));
        int rc = step_into(w, so_far.data, &fd, err);
        if (rc < 0)
            return rc;
    }
    *ret_fd = take_fd(&fd);
    return 0;
}

/* Keeps the mode of a file that is replaced: scripts stay executable. */
static mode_t mode_of(int dir, const char *name)
{
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) ? st.st_mode & 0777
                                                                                    : 0644;
}

static int replace_file(int dir, const char *name, Str content, Err *err)
{
    uint64_t number;
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return err_set(err, ERR_INVALID, "not a file");
    random_bytes(&number, sizeof(number));
    CLEANUP_FREE char *temp = xasprintf(".write-%016llx", (unsigned long long)number);
    CLEANUP_FD int fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return fault(errno, "create", err);
    if (fd_write_all(fd, content) < 0 || fchmod(fd, mode_of(dir, name)) < 0 ||
        renameat(dir, temp, dir, name) < 0) {
        int error = errno;
        (void)unlinkat(dir, temp, 0);
        return fault(error, "write", err);
    }
    return 0;
}

int workspace_write(const Workspace *w, Str path, Str content, Err *err)
{
    CLEANUP_FREE char *clean = NULL;
    CLEANUP_FREE char *dir = NULL;
    CLEANUP_FD int fd = -1;
    const char *name;
    int rc = clean_path(path, &clean, err);
    if (rc < 0)
        return rc;
    if (!split(clean, &dir, &name))
        return err_set(err, ERR_INVALID, "invalid path");
    rc = make_parents(w, dir, &fd, err);
    if (rc < 0)
        return rc;
    if (is_private_name(w, fd, name))
        return err_set(err, ERR_FORBIDDEN, "permission denied");
    return replace_file(fd, name, content, err);
}

/* ---- deleting ---- */

static int open_parent(const Workspace *w, Str path, int *ret_fd, char **ret_name, Err *err)
{
    CLEANUP_FREE char *clean = NULL;
    CLEANUP_FREE char *dir = NULL;
    const char *name;
    int rc = clean_path(path, &clean, err);
    if (rc < 0)
        return rc;
    if (!split(clean, &dir, &name))
        return err_set(err, ERR_INVALID, "invalid path");
    CLEANUP_FD int fd = open_beneath(w, dir, O_PATH | O_DIRECTORY, 0);
    if (fd < 0)
        return fault(errno, "open", err);
    if (is_private_name(w, fd, name))
        return fault(ENOENT, "open", err);
    *ret_fd = take_fd(&fd);
    *ret_name = xstrdup(name);
    return 0;
}

int workspace_delete(const Workspace *w, Str path, Err *err)
{
    CLEANUP_FREE char *name = NULL;
    CLEANUP_FD int dir = -1;
    int rc = open_parent(w, path, &dir, &name, err);
    if (rc < 0)
        return rc;
    if (unlinkat(dir, name, 0) == 0)
        return 0;
    if (errno == EISDIR && unlinkat(dir, name, AT_REMOVEDIR) == 0)
        return 0;
    if (errno == ENOTEMPTY || errno == EEXIST)
        return err_set(err, ERR_INVALID, "the directory is not empty");
    return fault(errno, "delete", err);
}

/* ---- directories ---- */

int workspace_dir(const Workspace *w, Str path, char **ret, Err *err)
{
    CLEANUP_FREE char *clean = NULL;
    char link[48], real[PATH_LEN_MAX + 1];
    int rc = clean_path(path, &clean, err);
    if (rc < 0)
        return rc;
    CLEANUP_FD int fd = open_beneath(w, clean, O_PATH | O_DIRECTORY, 0);
    if (fd < 0 && errno == ENOENT)
        return fault(ENOENT, "open", err);
    if (fd < 0)
        return err_set(err, ERR_INVALID, "directory not found");
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, real, sizeof(real));
    if (n <= 0 || n >= (ssize_t)sizeof(real) || real[0] != '/')
        return err_set(err, ERR_IO, "the directory's name cannot be read");
    *ret = str_dup((Str){real, (size_t)n});
    return 0;
}

int workspace_remove_tree(const Workspace *w, Str path, Err *err)
{
    CLEANUP_FREE char *name = NULL;
    CLEANUP_FREE char *real = NULL;
    CLEANUP_FD int dir = -1;
    struct stat st;
    int rc = open_parent(w, path, &dir, &name, err);
    if (rc < 0)
        return rc;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fault(errno, "open", err);
    if (!S_ISDIR(st.st_mode)) /* a link in its place: the link goes, not where it leads */
        return unlinkat(dir, name, 0) < 0 ? fault(errno, "delete", err) : 0;
    rc = workspace_dir(w, path, &real, err);
    return rc < 0 ? rc : dir_remove_tree(real, err);
}
