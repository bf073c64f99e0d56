/*
 * Tokens and certificates, fresh. Files are read again when they changed (a service account's token is
 * replaced about every hour), an exec plug-in is run again when what it gave is about to expire or was
 * refused.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "kube-internal.h"

#define PLUGIN_TIMEOUT (60 * USEC_PER_SEC)
#define PLUGIN_ANSWER_MAX (1024 * 1024)
#define EXPIRY_SLACK ((int64_t)(30 * USEC_PER_SEC))
#define PEM_MAX (1024 * 1024)

/* What says that a file is another one than last time. */
typedef struct FileMark {
    struct timespec mtime;
    off_t size;
    ino_t inode;
} FileMark;

struct Creds {
    Loop *loop;
    const KubeConfig *config;
    CredsDone done;
    void *arg;
    FileMark token_mark, cert_mark;
    Secret *token; /* from the file */
    char *cert;    /* from files */
    Secret *key;
    ExecAnswer exec;
    bool exec_have, exec_running;
    /* a plug-in that runs */
    Child *child;
    int out;
    FdWatch *watch;
    Timer *timer;
    Buf answer;
    bool exited, eof, spawn_failed;
    int wait_status;
};

/* ---- files ---- */

/* True when `path` is another file than `mark` says; remembers it. */
static bool is_new_file(const char *path, FileMark *mark)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return false;
    FileMark now = {st.st_mtim, st.st_size, st.st_ino};
    bool same = now.mtime.tv_sec == mark->mtime.tv_sec && now.mtime.tv_nsec == mark->mtime.tv_nsec &&
                now.size == mark->size && now.inode == mark->inode;
    *mark = now;
    return !same;
}

/* A file that cannot be read leaves what was there: it may be in the middle of being replaced. */
static void look_at_token(Creds *c)
{
    Secret *fresh = NULL;
    Err err = {0};
    if (!c->config->token_file || !is_new_file(c->config->token_file, &c->token_mark))
        return;
    if (secret_from_file(c->config->token_file, &fresh, &err) < 0) {
        log_warn("token file cannot be read", F_STR("component", "kubeclient"), F_ERR(&err));
        c->token_mark = (FileMark){0};
        return;
    }
    secret_free(c->token);
    c->token = fresh;
}

static Secret *read_pem(const char *path)
{
    Buf b = BUF_INIT(PEM_MAX);
    Err err = {0};
    Secret *s = NULL;
    if (file_read(path, &b, &err) < 0)
        log_warn("certificate file cannot be read", F_STR("component", "kubeclient"), F_ERR(&err));
    else
        s = secret_new(buf_str(&b));
    secret_erase(b.data, b.cap);
    buf_done(&b);
    return s;
}

static void look_at_certificate(Creds *c)
{
    const KubeConfig *k = c->config;
    if (!k->cert_file || !k->key_file || !is_new_file(k->cert_file, &c->cert_mark))
        return;
    CLEANUP(secret_freep) Secret *cert = read_pem(k->cert_file);
    CLEANUP(secret_freep) Secret *key = read_pem(k->key_file);
    if (!cert || !key) {
        c->cert_mark = (FileMark){0};
        return;
    }
    free(c->cert);
    secret_free(c->key);
    c->cert = str_dup(secret_reveal(cert));
    c->key = TAKE(key);
}

/* ---- exec plug-ins ---- */

void kube_exec_done(ExecAnswer *a)
{
    secret_free(a->token);
    secret_free(a->key);
    free(a->cert);
    *a = (ExecAnswer){0};
}

static int read_answer(const json_t *status, ExecAnswer *a, Err *err)
{
    Str token = json_get_strv(status, "token"), key = json_get_strv(status, "clientKeyData");
    const char *cert = json_get_str(status, "clientCertificateData");
    Str expires = json_get_strv(status, "expirationTimestamp");
    if (expires.len > 0 && rfc3339_parse(expires, &a->expires) < 0)
        return err_set(err, ERR_INVALID, "expirationTimestamp is no time");
    if ((cert != NULL) != (key.len > 0))
        return err_set(err, ERR_INVALID, "a certificate without a key, or a key without a certificate");
    if (token.len == 0 && !cert)
        return err_set(err, ERR_INVALID, "neither a token nor a certificate");
    a->token = token.len > 0 ? secret_new(token) : NULL;
    a->key = key.len > 0 ? secret_new(key) : NULL;
    a->cert = cert ? xstrdup(cert) : NULL;
    return 0;
}

int kube_exec_parse(Str text, ExecAnswer *ret, Err *err)
{
    CLEANUP_JSON json_t *j = NULL;
    ExecAnswer a = {0};
    if (json_parse(text, &j, NULL) < 0)
        return err_set(err, ERR_INVALID, "the answer is not JSON"); /* the parser would quote it */
    const json_t *status = json_get_obj(j, "status");
    const char *kind = json_get_str(j, "kind");
    if (!status || !kind || strcmp(kind, "ExecCredential") != 0)
        return err_set(err, ERR_INVALID, "the answer is no ExecCredential with a status");
    int rc = read_answer(status, &a, err);
    if (rc < 0)
        return rc;
    *ret = a;
    return 0;
}

static void plugin_forget(Creds *c)
{
    c->child = child_free(c->child);
    c->watch = fd_watch_free(c->watch);
    if (c->out >= 0)
        close(c->out);
    c->out = -1;
    timer_cancel(c->timer);
    secret_erase(c->answer.data, c->answer.cap);
    buf_done(&c->answer);
    buf_init(&c->answer, PLUGIN_ANSWER_MAX);
    c->exec_running = false;
}

static int plugin_result(Creds *c, ExecAnswer *ret, Err *err)
{
    if (c->spawn_failed)
        return err_set(err, ERR_UNAUTHENTICATED, "cannot be started");
    if (!c->exited)
        return err_set(err, ERR_DEADLINE, "gave no answer in time");
    if (!WIFEXITED(c->wait_status) || WEXITSTATUS(c->wait_status) != 0)
        return err_set(err, ERR_UNAUTHENTICATED, "failed with wait status %d", c->wait_status);
    if (c->answer.failed)
        return err_set(err, ERR_TOO_LARGE, "the answer is too large");
    return kube_exec_parse(buf_str(&c->answer), ret, err);
}

static void plugin_end(Creds *c)
{
    Err err = {0};
    ExecAnswer a = {0};
    int rc = plugin_result(c, &a, &err);
    plugin_forget(c);
    if (rc < 0) {
        err_wrap(&err, "exec plug-in %s", c->config->exec.argv[0]);
        c->done(c->arg, &err);
        return;
    }
    kube_exec_done(&c->exec);
    c->exec = a;
    c->exec_have = true;
    c->done(c->arg, NULL);
}

static void on_plugin_exit(void *arg, int wait_status)
{
    Creds *c = arg;
    c->exited = true;
    c->wait_status = wait_status;
    if (c->eof)
        plugin_end(c);
}

static void on_plugin_output(void *arg, unsigned ready)
{
    Creds *c = arg;
    char piece[4096];
    ssize_t n;
    while ((n = read(c->out, piece, sizeof piece)) > 0)
        buf_add(&c->answer, piece, (size_t)n);
    secret_erase(piece, sizeof piece);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    c->watch = fd_watch_free(c->watch);
    c->eof = true;
    if (c->exited)
        plugin_end(c);
}

static void on_plugin_timeout(void *arg)
{
    Creds *c = arg;
    if (c->child)
        child_signal(c->child, SIGKILL);
    c->exited = false;
    plugin_end(c);
}

static char *exec_info(const Creds *c)
{
    CLEANUP_BUF Buf b = BUF_INIT(PEM_MAX * 2);
    const KubeConfig *k = c->config;
    json_t *spec = json_pack("{s:b}", "interactive", 0);
    if (k->exec.provide_cluster_info) {
        json_t *cluster =
            json_pack("{s:s, s:b}", "server", k->server, "insecure-skip-tls-verify", k->insecure_skip_verify);
        json_object_set_new(spec, "cluster", cluster);
    }
    CLEANUP_JSON json_t *info = json_pack("{s:s, s:s, s:o}", "kind", "ExecCredential", "apiVersion",
                                          k->exec.api_version, "spec", spec);
    buf_addz(&b, "KUBERNETES_EXEC_INFO=");
    json_write_plain(&b, info);
    return buf_take(&b);
}

static char **plugin_env(const Creds *c, char *info)
{
    size_t n = 0, extra = 0, i = 0;
    while (environ[n])
        n++;
    while (c->config->exec.env[extra])
        extra++;
    char **env = xcalloc(n + extra + 2, sizeof *env);
    for (size_t e = 0; e < extra; e++) /* the first of a name counts */
        env[i++] = c->config->exec.env[e];
    env[i++] = info;
    memcpy(env + i, environ, n * sizeof *env);
    return env;
}

static void plugin_start(Creds *c)
{
    if (c->exec_running)
        return;
    c->exec_running = true;
    c->exited = c->eof = c->spawn_failed = false;
    CLEANUP_FREE char *info = exec_info(c);
    CLEANUP_FREE char **env = plugin_env(c, info);
    const ChildSpec spec = {
        .argv = (const char *const *)c->config->exec.argv,
        .envp = (const char *const *)env,
        .fd_in = -1,
        .fd_err = STDERR_FILENO,
        .pipe_out = true,
    };
    if (child_spawn(c->loop, &spec, on_plugin_exit, c, &c->child, NULL) < 0) {
        c->spawn_failed = true;
        timer_arm(c->timer, 0); /* said later: nothing completes before it was started */
        return;
    }
    c->out = child_fd(c->child, 1);
    c->watch = fd_watch_new(c->loop, c->out, FD_READ, on_plugin_output, c);
    timer_arm(c->timer, PLUGIN_TIMEOUT);
}

static bool exec_usable(const Creds *c)
{
    return c->exec_have && (c->exec.expires.us == 0 ||
                            clock_wall(loop_clock(c->loop)).us + EXPIRY_SLACK < c->exec.expires.us);
}

/* ---- the rest ---- */

Creds *kube_creds_new(Loop *l, const KubeConfig *config, CredsDone done, void *arg)
{
    Creds *c = xnew(Creds);
    c->loop = l;
    c->config = config;
    c->done = done;
    c->arg = arg;
    c->out = -1;
    c->timer = timer_new(l, on_plugin_timeout, c);
    buf_init(&c->answer, PLUGIN_ANSWER_MAX);
    return c;
}

static void creds_release(void *arg)
{
    free(arg);
}

Creds *kube_creds_free(Creds *c)
{
    if (!c)
        return NULL;
    if (c->child)
        child_signal(c->child, SIGKILL);
    plugin_forget(c);
    timer_free(c->timer);
    secret_free(c->token);
    free(c->cert);
    secret_free(c->key);
    kube_exec_done(&c->exec);
    loop_defer(c->loop, creds_release, c);
    return NULL;
}

bool kube_creds_ready(Creds *c)
{
    look_at_token(c);
    look_at_certificate(c);
    if (!c->config->exec.argv || exec_usable(c))
        return true;
    plugin_start(c);
    return false;
}

const Secret *kube_creds_token(const Creds *c)
{
    if (c->token)
        return c->token;
    return c->exec.token ? c->exec.token : c->config->token;
}

bool kube_creds_identity(const Creds *c, HttpIdentity *ret)
{
    const KubeConfig *k = c->config;
    if (c->exec.cert)
        *ret = (HttpIdentity){str_from(c->exec.cert), c->exec.key};
    else if (c->cert)
        *ret = (HttpIdentity){str_from(c->cert), c->key};
    else if (k->cert_pem)
        *ret = (HttpIdentity){str_from(k->cert_pem), k->key_pem};
    else
        return false;
    return true;
}

bool kube_creds_refused(Creds *c)
{
    c->token_mark = c->cert_mark = (FileMark){0};
    c->exec_have = false;
    return c->config->token_file || c->config->cert_file || c->config->exec.argv;
}
