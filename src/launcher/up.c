#include "launcher-internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "loop/conn.h"

static void print_next(const Place *p, const State *s)
{
    printf("  API      http://%s/api/ambient/v1\n"
           "  gRPC     %s\n"
           "  data     %s\n"
           "\n"
           "  acpctl project list          acpctl is logged in\n"
           "  ambient status               what runs and how it does\n"
           "  ambient logs -f              what it says\n"
           "  ambient down                 stop it all\n",
           s->http, s->grpc, p->dir);
}

static int announce(const Place *p, const Options *o, const char *headline, Err *err)
{
    State s = {0};
    int rc = state_load(p, &s, err);
    if (rc < 0)
        return rc;
    printf("%s\n\n", headline);
    print_next(p, &s);
    fflush(stdout);
    Err login = {0};
    if (!o->no_login && login_write(p, &s, stdout, &login) < 0)
        fprintf(stderr, "ambient: warning: %s\n", login.msg);
    return 0;
}

/* A clear answer before anything is started. The program that listens later has the last word. */
static int check_address(const char *flag, const char *address, Err *err)
{
    CLEANUP(loop_freep) Loop *l = NULL;
    Listener *ls = NULL;
    int rc = loop_new(&l, err);
    if (rc == 0)
        rc = listener_new(l, address, NULL, NULL, NULL, &ls, err);
    if (rc < 0)
        return err_wrap(err, "%s %s cannot be used (pass another, port 0 takes any free one)", flag, address);
    listener_free(ls);
    return 0;
}

/* ---- detaching ---- */

static void to_null(int fd, int flags)
{
    int null = open("/dev/null", flags | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, fd);
        close(null);
    }
}

/* Runs in the new session; everything it says goes to logs/ambient.log. */
static int run_detached(const Place *p, const Options *o, int ready_fd)
{
    CLEANUP_FREE char *path = place_log_file(p, "ambient");
    int log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    to_null(0, O_RDONLY);
    to_null(1, O_WRONLY);
    if (log >= 0) {
        dup2(log, 2);
        close(log);
    }
    if (chdir("/") < 0)
        log_warn("cannot leave the current directory");
    Err err = {0};
    int rc = supervise(p, o, ready_fd, &err);
    if (rc < 0)
        log_error("the platform ended", F_ERR(&err));
    return rc < 0 ? 1 : 0;
}

static int wait_ready(int fd, Err *err)
{
    char text[1024];
    size_t len = 0;
    while (len < sizeof(text) - 1) {
        ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    Str s = str_trim((Str){text, len});
    if (str_eq(s, STR("ok")))
        return 0;
    if (!s.len)
        return err_set(err, ERR_INTERNAL, "the supervisor ended without a word; see `ambient logs ambient`");
    return err_set(err, ERR_UNAVAILABLE, STR_FMT, STR_ARG(s));
}

static int detach(const Place *p, const Options *o, int lock_fd, Err *err)
{
    int ready[2];
    if (pipe2(ready, O_CLOEXEC) < 0)
        return err_set_errno(err, errno, "pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        return err_set_errno(err, errno, "fork");
    if (pid == 0) {
        close(ready[0]);
        if (setsid() < 0 || fork() != 0) /* the second child can never get a terminal */
            _exit(0);
        _exit(run_detached(p, o, ready[1]));
    }
    close(ready[1]);
    close(lock_fd); /* the supervisor has its own copy of the locked description */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    int rc = wait_ready(ready[0], err);
    close(ready[0]);
    return rc;
}

/* Somebody else is between taking the lock and being ready: wait for its state file. */
static int wait_other(const Place *p, Err *err)
{
    for (int i = 0; i < 1000; i++) {
        if (file_exists(p->state))
            return 0;
        if (!place_is_running(p))
            break;
        look_again_in(20 * USEC_PER_MSEC);
    }
    return err_set(err, ERR_UNAVAILABLE,
                   "another `ambient up` on %s did not become ready; see `ambient logs`", p->dir);
}

int cmd_up(const Place *p, const Options *o, Err *err)
{
    int rc = place_make(p, err);
    if (rc < 0)
        return rc;
    int lock_fd = -1;
    rc = place_lock(p, &lock_fd, err);
    if (rc == -ERR_CONFLICT) {
        rc = wait_other(p, err);
        return rc < 0 ? rc : announce(p, o, "Ambient is already running.", err);
    }
    if (rc < 0)
        return rc;
    (void)unlink(p->state); /* left behind by a supervisor that was killed */
    rc = check_address("--http", o->http, err);
    if (rc == 0)
        rc = check_address("--grpc", o->grpc, err);
    if (rc < 0)
        return rc;
    if (o->foreground)
        return supervise(p, o, -1, err);
    rc = detach(p, o, lock_fd, err);
    return rc < 0 ? rc : announce(p, o, "Ambient is running.", err);
}
