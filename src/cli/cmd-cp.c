/*
 * cp: files and directories between here and a session's workspace. The names that a workspace holds were
 * chosen by an agent: none of them may lead out of the directory that is copied to.
 */
#include "cmd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "manifest.h"
#include "options.h"
#include "output.h"
#include "resource.h"

#define FILE_MAX ((size_t)64 << 20) /* to a session; from one it may be any size */
#define DEPTH_MAX 32

typedef struct Copy {
    App *app;
    char *session; /* id */
    bool progress;
    size_t files;
    unsigned long long bytes;
} Copy;

/* SESSION:PATH; *ret_path NULL when the word is a local path. A word with a slash before its colon is one. */
static Str split_place(const char *word, const char **ret_path)
{
    size_t n = strcspn(word, ":/");
    *ret_path = n > 0 && word[n] == ':' ? word + n + 1 : NULL;
    return (Str){word, *ret_path ? n : strlen(word)};
}

/* Each segment escaped, without slashes at the ends. */
static char *escaped_path(const char *path)
{
    CLEANUP_BUF Buf b = BUF_INIT(64 * 1024);
    Str rest = str_from(path);
    while (rest.ptr) {
        Str part = str_cut(&rest, '/');
        if (!part.len || str_eq(part, STR(".")))
            continue;
        CLEANUP_FREE char *z = str_dup(part);
        CLEANUP_FREE char *segment = path_segment(z);
        buf_addf(&b, "%s%s", b.len ? "/" : "", segment);
    }
    return buf_take(&b);
}

static char *join(const char *dir, const char *name)
{
    return *dir ? xasprintf("%s/%s", dir, name) : xstrdup(name);
}

static void show(const Copy *c)
{
    if (c->progress)
        fprintf(stderr, "\r\033[K%zu files, %llu bytes", c->files, c->bytes);
}

static void count(Copy *c, size_t bytes)
{
    c->files++;
    c->bytes += bytes;
    show(c);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- from the session ---- */

static int list_remote(Copy *c, const char *path, json_t **ret, Err *err)
{
    CLEANUP_FREE char *escaped = path_segment(path);
    CLEANUP_JSON json_t *answer = NULL;
    int rc = app_get(c->app, &answer, err, "/sessions/%s/workspace?path=%s", c->session, escaped);
    if (rc == 0 && !json_get_arr(answer, "files"))
        rc = err_set(err, ERR_BAD_GATEWAY, "the server's answer is no list of files");
    if (rc == 0)
        *ret = json_incref(json_get_arr(answer, "files"));
    return rc;
}

static bool is_plain_name(const char *name)
{
    return name && *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

/* A directory of our own: what stands there already must be one, and no link to one. */
static int make_dir(const char *path, Err *err)
{
    struct stat st;
    if (mkdir(path, 0777) == 0)
        return 0;
    if (errno == EEXIST && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return err_set_errno(err, errno, "%s", path);
}

/* A file that is being written. It has no name before it is whole: whoever interrupts leaves nothing behind.
 */
typedef struct Sink {
    Copy *copy;
    const char *to;
    int fd;
    char *temp; /* its name for a moment, or all the time where files must have one */
    int errnum; /* of the first write that failed */
} Sink;

static int sink_open(Sink *s, Err *err)
{
    const char *slash = strrchr(s->to, '/');
    CLEANUP_FREE char *dir = slash ? str_dup((Str){s->to, (size_t)(slash - s->to) + 1}) : xstrdup(".");
    s->temp = xasprintf("%s.acpctl-%d", s->to, (int)getpid());
    s->fd = open(dir, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (s->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR))
        s->fd = open(s->temp, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    return s->fd < 0 ? err_set_errno(err, errno, "%s", s->to) : 0;
}

static void sink_bytes(void *arg, Str bytes)
{
    Sink *s = arg;
    s->copy->bytes += bytes.len;
    show(s->copy);
    if (!s->errnum && fd_write_all(s->fd, bytes) < 0)
        s->errnum = errno;
}

static int sink_finish(Sink *s, Err *err)
{
    char self[64];
    snprintf(self, sizeof(self), "/proc/self/fd/%d", s->fd);
    if (!s->errnum && fsync(s->fd) < 0)
        s->errnum = errno;
    if (!s->errnum && linkat(AT_FDCWD, self, AT_FDCWD, s->temp, AT_SYMLINK_FOLLOW) < 0 && errno != EEXIST)
        s->errnum = errno;
    if (!s->errnum && rename(s->temp, s->to) < 0)
        s->errnum = errno;
    return s->errnum ? err_set_errno(err, s->errnum, "%s", s->to) : 0;
}

static void sink_done(Sink *s)
{
    if (s->fd >= 0 && s->fd != STDOUT_FILENO)
        (void)close(s->fd);
    if (s->temp)
        (void)unlink(s->temp); /* it is there only when something failed */
    free(s->temp);
}

static int download_file(Copy *c, const char *from, const char *to, Err *err)
{
    CLEANUP_FREE char *escaped = escaped_path(from);
    CLEANUP_FREE char *url = xasprintf("/sessions/%s/workspace/%s", c->session, escaped);
    CLEANUP(sink_done) Sink s = {.copy = c, .to = to, .fd = STDOUT_FILENO};
    Exchange x = {.method = "GET",
                  .path = url,
                  .accept = "application/octet-stream",
                  .on_bytes = sink_bytes,
                  .arg = &s};
    bool is_file = strcmp(to, "-") != 0;
    int rc = is_file ? sink_open(&s, err) : 0;
    if (rc < 0)
        return rc;
    rc = app_exchange(c->app, &x, err);
    json_decref(x.answer);
    if (rc == 0 && is_file)
        rc = sink_finish(&s, err);
    if (rc == 0 && s.errnum)
        rc = err_set_errno(err, s.errnum, "standard output");
    if (rc == 0)
        count(c, 0);
    return rc < 0 ? err_wrap(err, "%s", from) : 0;
}

static int download_dir(Copy *c, const char *from, const char *to, unsigned depth, Err *err)
{
    CLEANUP_JSON json_t *files = NULL;
    if (depth > DEPTH_MAX)
        return err_set(err, ERR_INVALID, "%s: directories deeper than %d", from, DEPTH_MAX);
    int rc = list_remote(c, from, &files, err);
    if (rc == 0)
        rc = make_dir(to, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(files); i++) {
        const json_t *f = json_array_get(files, i);
        const char *name = json_get_str(f, "name");
        if (!is_plain_name(name))
            return err_set(err, ERR_BAD_GATEWAY, "%s: a name that is none: \"%s\"", from, name ? name : "");
        CLEANUP_FREE char *source = join(from, name);
        CLEANUP_FREE char *target = path_join(to, name);
        rc = json_get_bool(f, "isDir", false) ? download_dir(c, source, target, depth + 1, err)
                                              : download_file(c, source, target, err);
    }
    return rc;
}

/* A directory, when the list of what it lies in says so. */
static int is_remote_dir(Copy *c, const char *path, bool *ret, Err *err)
{
    CLEANUP_JSON json_t *files = NULL;
    CLEANUP_FREE char *dir = xstrdup(path);
    size_t n = strlen(dir);
    while (n && dir[n - 1] == '/')
        dir[--n] = '\0';
    *ret = !*dir || strcmp(dir, ".") == 0;
    if (*ret)
        return 0;
    CLEANUP_FREE char *name = xstrdup(base_name(dir));
    char *slash = strrchr(dir, '/');
    if (slash)
        *slash = '\0';
    int rc = list_remote(c, slash ? dir : "", &files, err);
    for (size_t i = 0; rc == 0 && i < json_array_size(files); i++) {
        const json_t *f = json_array_get(files, i);
        if (str_eqz(json_get_strv(f, "name"), name))
            *ret = json_get_bool(f, "isDir", false);
    }
    return rc;
}

static int download(Copy *c, const char *from, const char *to, Err *err)
{
    bool is_dir = false;
    struct stat st;
    int rc = is_remote_dir(c, from, &is_dir, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *trimmed = escaped_path(from);
    bool into = stat(to, &st) == 0 && S_ISDIR(st.st_mode) && is_plain_name(base_name(from));
    CLEANUP_FREE char *target = into ? path_join(to, base_name(from)) : xstrdup(to);
    if (is_dir && strcmp(to, "-") == 0)
        return err_set(err, ERR_USAGE, "%s is a directory", *trimmed ? from : "the workspace");
    return is_dir ? download_dir(c, from, target, 0, err) : download_file(c, from, target, err);
}

/* ---- to the session ---- */

static int upload_file(Copy *c, const char *from, const char *to, Err *err)
{
    CLEANUP_BUF Buf text = BUF_INIT(FILE_MAX);
    int rc = file_read(from, &text, err);
    if (rc < 0)
        return rc;
    CLEANUP_FREE char *escaped = escaped_path(to);
    CLEANUP_FREE char *url = xasprintf("/sessions/%s/workspace/%s", c->session, escaped);
    Exchange x = {
        .method = "PUT", .path = url, .body = buf_str(&text), .content_type = "application/octet-stream"};
    rc = app_exchange(c->app, &x, err);
    json_decref(x.answer);
    if (rc == 0)
        count(c, text.len);
    if (rc == -ERR_TOO_LARGE)
        return err_set(err, ERR_TOO_LARGE,
                       "%s: the server does not take a file of %zu bytes; let the session fetch it", from,
                       text.len);
    return rc < 0 ? err_wrap(err, "%s", from) : 0;
}

static int upload(Copy *c, const char *from, const char *to, unsigned depth, Err *err);

static int upload_dir(Copy *c, const char *from, const char *to, unsigned depth, Err *err)
{
    struct dirent **names = NULL;
    if (depth > DEPTH_MAX)
        return err_set(err, ERR_INVALID, "%s: directories deeper than %d", from, DEPTH_MAX);
    int n = scandir(from, &names, NULL, alphasort), rc = 0;
    if (n < 0)
        return err_set_errno(err, errno, "%s", from);
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        CLEANUP_FREE char *source = path_join(from, name);
        CLEANUP_FREE char *target = join(to, name);
        if (rc == 0 && is_plain_name(name))
            rc = upload(c, source, target, depth + 1, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

/* Links are not followed: a workspace must not get what lies elsewhere. */
static int upload(Copy *c, const char *from, const char *to, unsigned depth, Err *err)
{
    struct stat st;
    if ((depth ? lstat(from, &st) : stat(from, &st)) < 0)
        return path_failed(from, errno, err);
    if (S_ISDIR(st.st_mode))
        return upload_dir(c, from, to, depth, err);
    if (S_ISREG(st.st_mode))
        return upload_file(c, from, to, err);
    fprintf(stderr, "Warning: %s: neither a file nor a directory, left out\n", from);
    return 0;
}

/* ---- the command ---- */

static int find_session(Copy *c, Str name, Err *err)
{
    CLEANUP_FREE char *word = str_dup(name);
    CLEANUP_JSON json_t *obj = NULL;
    int rc = resource_get(c->app, resource_find("session"), word, &obj, err);
    if (rc == 0)
        c->session = xstrdup(json_get_str(obj, "id"));
    return rc;
}

static int copy(Copy *c, const char *from, const char *to, Err *err)
{
    const char *remote_from, *remote_to;
    Str a = split_place(from, &remote_from), b = split_place(to, &remote_to);
    if (!remote_from == !remote_to)
        return err_set(err, ERR_USAGE, "one of both is SESSION:PATH, the other a path here");
    int rc = find_session(c, remote_from ? a : b, err);
    if (rc < 0)
        return rc;
    if (remote_from)
        return download(c, remote_from, to, err);
    size_t n = strlen(remote_to);
    bool into = n == 0 || remote_to[n - 1] == '/';
    CLEANUP_FREE char *target = into ? xasprintf("%s%s", remote_to, base_name(from)) : xstrdup(remote_to);
    return upload(c, from, target, 0, err);
}

static int cmd_cp(App *app, const Args *a, Err *err)
{
    Copy c = {.app = app, .progress = isatty(STDERR_FILENO)};
    bool to_stdout = strcmp(arg_at(a, 1), "-") == 0;
    int rc = copy(&c, arg_at(a, 0), arg_at(a, 1), err);
    fputs(c.progress && c.files ? "\r\033[K" : "", stderr);
    free(c.session);
    if (rc == 0 && !to_stdout)
        printf("%zu file%s copied (%llu bytes)\n", c.files, c.files == 1 ? "" : "s", c.bytes);
    return rc;
}

static const Opt opts_cp[] = {OPTS_PROJECT, {0}};

const Command commands_cp[] = {
    {.words = "cp",
     .usage = "SESSION:PATH|FILE FILE|SESSION:PATH",
     .min = 2,
     .max = 2,
     .help = "Copy files from and to a session's workspace",
     .opts = opts_cp,
     .run = cmd_cp,
     .text = "Directories are copied with everything below them; links are left out. The session must be "
             "running.",
     .examples = "cp nightly:report.md .\n"
                 "cp data/ nightly:input\n"
                 "# to standard output\n"
                 "cp nightly:artifacts/log.txt -"},
    {0},
};
