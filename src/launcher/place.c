#include "launcher-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/mem.h"
#include "crypto/crypto.h"

static int default_dir(char **ret, Err *err)
{
    const char *xdg = getenv("XDG_DATA_HOME");
    if (xdg && xdg[0] == '/') {
        *ret = path_join(xdg, "ambient");
        return 0;
    }
    const char *home = getenv("HOME");
    if (!home || home[0] != '/')
        return err_set(err, ERR_USAGE, "neither HOME nor XDG_DATA_HOME is set; pass --data DIR");
    *ret = path_join(home, ".local/share/ambient");
    return 0;
}

static int absolute(const char *dir, char **ret, Err *err)
{
    if (dir[0] == '/') {
        *ret = xstrdup(dir);
        return 0;
    }
    CLEANUP_FREE char *cwd = getcwd(NULL, 0);
    if (!cwd)
        return err_set_errno(err, errno, "current directory");
    *ret = path_join(cwd, dir);
    return 0;
}

static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? xstrndup(path, (size_t)(slash - path)) : NULL;
}

/* The first folder of PATH with that program; NULL when there is none. */
static char *folder_in_path(const char *program)
{
    Str rest = str_from(getenv("PATH"));
    while (rest.ptr) {
        CLEANUP_FREE char *dir = str_dup(str_cut(&rest, ':'));
        CLEANUP_FREE char *path = path_join(*dir ? dir : ".", program);
        if (access(path, X_OK) == 0)
            return realpath(*dir ? dir : ".", NULL);
    }
    return NULL;
}

/* The folder of this program as it was called: a link's, not its target's. */
static char *own_folder(const char *called_as)
{
    CLEANUP_FREE char *dir = dir_of(called_as);
    return dir ? realpath(*dir ? dir : "/", NULL) : folder_in_path(called_as);
}

int place_init(Place *p, const char *called_as, const char *dir, Err *err)
{
    int rc = dir && *dir ? absolute(dir, &p->dir, err) : default_dir(&p->dir, err);
    if (rc < 0)
        return rc;
    p->bin_dir = own_folder(called_as);
    p->run_dir = path_join(p->dir, "run");
    p->log_dir = path_join(p->dir, "logs");
    p->sessions_dir = path_join(p->dir, "sessions");
    p->db = path_join(p->dir, "ambient.db");
    p->token = path_join(p->dir, "token");
    p->keyring = path_join(p->dir, "keyring");
    p->service_token = path_join(p->run_dir, "service-token");
    p->lock = path_join(p->run_dir, "lock");
    p->state = path_join(p->run_dir, "state.json");
    return 0;
}

void place_done(Place *p)
{
    char **all[] = {&p->dir,   &p->run_dir, &p->log_dir, &p->sessions_dir,  &p->db,   &p->bin_dir,
                    &p->token, &p->keyring, &p->lock,    &p->service_token, &p->state};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        free(*all[i]);
        *all[i] = NULL;
    }
}

/* A token is made once and kept: scripts and logins go on working after a restart. */
static int make_token(const char *path, Err *err)
{
    if (file_exists(path))
        return 0;
    uint8_t raw[32];
    random_bytes(raw, sizeof(raw));
    CLEANUP_BUF Buf text = BUF_INIT(128);
    base64url_write(&text, raw, sizeof(raw));
    buf_addc(&text, '\n');
    secret_erase(raw, sizeof(raw));
    int rc = file_write_atomic(path, buf_str(&text), 0600, err);
    secret_erase(text.data, text.len);
    return rc;
}

/* The key of credentials in the store. Whoever takes a copy of the store alone cannot read them. */
static int make_keyring(const char *path, Err *err)
{
    if (file_exists(path))
        return 0;
    uint8_t raw[32];
    random_bytes(raw, sizeof(raw));
    CLEANUP_BUF Buf text = BUF_INIT(128);
    buf_addz(&text, "{\"1\":\"");
    base64_write(&text, raw, sizeof(raw));
    buf_addz(&text, "\"}\n");
    secret_erase(raw, sizeof(raw));
    int rc = file_write_atomic(path, buf_str(&text), 0600, err);
    secret_erase(text.data, text.len);
    return rc;
}

int place_make(const Place *p, Err *err)
{
    const char *dirs[] = {p->dir, p->run_dir, p->log_dir, p->sessions_dir};
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        int rc = dir_make(dirs[i], 0700, err);
        if (rc < 0)
            return err_wrap(err, "data directory %s is not usable (pass another with --data DIR)", p->dir);
    }
    int rc = make_token(p->token, err);
    if (rc == 0)
        rc = make_token(p->service_token, err);
    if (rc == 0)
        rc = make_keyring(p->keyring, err);
    if (rc < 0)
        return err_wrap(err, "data directory %s is not writable (pass another with --data DIR)", p->dir);
    return 0;
}

int place_lock(const Place *p, int *ret_fd, Err *err)
{
    return file_lock(p->lock, ret_fd, err);
}

bool place_is_running(const Place *p)
{
    CLEANUP_FD int fd = open(p->lock, O_RDWR | O_CLOEXEC);
    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

void look_again_in(Usec t)
{
    (void)poll(NULL, 0, (int)(t / USEC_PER_MSEC));
}

char *place_run_file(const Place *p, const char *name, const char *suffix)
{
    return xasprintf("%s/%s.%s", p->run_dir, name, suffix);
}

char *place_log_file(const Place *p, const char *name)
{
    return xasprintf("%s/%s.log", p->log_dir, name);
}

char *program_path(const Place *p, const char *name)
{
    char *path = p->bin_dir ? path_join(p->bin_dir, name) : xstrdup(name);
    if (access(path, X_OK) == 0)
        return path;
    free(path);
    return xstrdup(name);
}

int state_save(const Place *p, const State *s, Err *err)
{
    char when[RFC3339_MAX];
    CLEANUP_JSON json_t *j = json_pack(
        "{s:s, s:s, s:s, s:{s:i, s:i, s:i}, s:{s:i, s:i}}", "http", s->http, "grpc", s->grpc, "started_at",
        rfc3339_format(s->started_at, when).ptr, "pids", "supervisor", (int)s->supervisor, "api-server",
        (int)s->api_server, "control-plane", (int)s->control_plane, "restarts", "api-server",
        (int)s->restarts_api_server, "control-plane", (int)s->restarts_control_plane);
    if (!j)
        return err_set(err, ERR_INTERNAL, "state cannot be encoded");
    CLEANUP_BUF Buf text = BUF_INIT(4096);
    json_write_pretty(&text, j, 2);
    return file_write_atomic(p->state, buf_str(&text), 0600, err);
}

static int state_decode(const json_t *j, State *s)
{
    const json_t *pids = json_get_obj(j, "pids"), *restarts = json_get_obj(j, "restarts");
    Str http = json_get_strv(j, "http"), grpc = json_get_strv(j, "grpc");
    if (!pids || !http.len || http.len >= sizeof(s->http) || !grpc.len || grpc.len >= sizeof(s->grpc))
        return -1;
    memcpy(s->http, http.ptr, http.len);
    memcpy(s->grpc, grpc.ptr, grpc.len);
    s->supervisor = (pid_t)json_get_int(pids, "supervisor", 0);
    s->api_server = (pid_t)json_get_int(pids, "api-server", 0);
    s->control_plane = (pid_t)json_get_int(pids, "control-plane", 0);
    s->restarts_api_server = (unsigned)json_get_int(restarts, "api-server", 0);
    s->restarts_control_plane = (unsigned)json_get_int(restarts, "control-plane", 0);
    return rfc3339_parse(json_get_strv(j, "started_at"), &s->started_at);
}

int state_load(const Place *p, State *ret, Err *err)
{
    CLEANUP_JSON json_t *j = NULL;
    int rc = json_parse_file(p->state, 64 * 1024, &j, err);
    if (rc < 0)
        return rc;
    State s = {0};
    if (state_decode(j, &s) < 0)
        return err_set(err, ERR_CORRUPT, "%s is not a state file of this program", p->state);
    *ret = s;
    return 0;
}
