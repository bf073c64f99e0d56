#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "conn-internal.h"

/* Connections taken in one turn, so that a flood of new ones does not starve those that are there. */
#define ACCEPT_BUDGET 64
/* When descriptors run out the kernel goes on saying "readable": look again after this. */
#define ACCEPT_BACKOFF (100 * USEC_PER_MSEC)

struct Listener {
    Loop *loop;
    int fd, port;
    FdWatch *watch;
    Timer *backoff;
    bool paused;
    TlsContext *tls;
    AcceptFn fn;
    void *arg;
};

static void update_watch(Listener *ls)
{
    fd_watch_set(ls->watch, ls->paused || timer_armed(ls->backoff) ? 0 : FD_READ);
}

static void backoff_over(void *arg)
{
    update_watch(arg);
}

/* The new connection belongs to `fn` from here on. A plain one may be written to and closed there already. */
static void hand_over(Listener *ls, int fd, const struct sockaddr *sa, socklen_t len)
{
    Conn *c = conn_new(ls->loop, fd);
    Err err = {0};
    address_format(sa, len, c->peer);
    if (!ls->tls)
        c->state = CONN_OPEN;
    ls->fn(ls->arg, c, c->peer);
    if (c->state == CONN_DEAD || c->state == CONN_CLOSING)
        return;
    if (!c->ops)
        conn_free(c);
    else if (conn_start(c, ls->tls, NULL, &err) < 0)
        conn_fail(c, CONN_ERROR, err.msg);
}

static bool out_of_resources(int errnum)
{
    return errnum == EMFILE || errnum == ENFILE || errnum == ENOBUFS || errnum == ENOMEM;
}

static void accept_cb(void *arg, unsigned ready)
{
    Listener *ls = arg;
    for (int i = 0; i < ACCEPT_BUDGET && ls->fd >= 0 && !ls->paused; i++) {
        struct sockaddr_storage sa;
        socklen_t len = sizeof sa;
        int fd = accept4(ls->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            hand_over(ls, fd, (const struct sockaddr *)&sa, len);
        } else if (out_of_resources(errno)) {
            log_warn("cannot accept connections for want of resources",
                     F_STR("error", strerrordesc_np(errno)));
            timer_arm(ls->backoff, ACCEPT_BACKOFF);
            update_watch(ls);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

static int bind_socket(const struct sockaddr *sa, socklen_t len, int *ret)
{
    const int on = 1, off = 0;
    CLEANUP_FD int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (sa->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (sa->sa_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        /* Accepted sockets inherit these two on Linux. */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    }
    if (bind(fd, sa, len) < 0 || listen(fd, SOMAXCONN) < 0)
        return -errno;
    *ret = fd;
    fd = -1;
    return 0;
}

/* Every address gets IPv6 and IPv4 where it means "any"; a name with both is bound to IPv4, as localhost is.
 */
static int family_rank(const struct addrinfo *ai, bool any)
{
    return (ai->ai_family == AF_INET6) == any ? 0 : 1;
}

static int bind_first(struct addrinfo *list, bool any, int *ret)
{
    int errnum = EADDRNOTAVAIL;
    for (int rank = 0; rank < 2; rank++) {
        for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
            if (family_rank(ai, any) != rank)
                continue;
            int rc = bind_socket(ai->ai_addr, ai->ai_addrlen, ret);
            if (rc == 0)
                return 0;
            if (errnum == EADDRNOTAVAIL || errnum == EAFNOSUPPORT)
                errnum = -rc;
            if (rc == -EADDRINUSE)
                return rc; /* another family would only hide that the port is taken */
        }
    }
    return -errnum;
}

static int listen_inet(const Address *a, const char *text, int *ret, Err *err)
{
    struct addrinfo want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
                    *list = NULL;
    bool any = !*a->host;
    int rc = getaddrinfo(any ? NULL : a->host, a->port, &want, &list);
    if (rc != 0)
        return err_set(err, ERR_INVALID, "listen on %s: %s", text, gai_strerror(rc));
    rc = bind_first(list, any, ret);
    freeaddrinfo(list);
    return rc < 0 ? err_set_errno(err, -rc, "listen on %s", text) : 0;
}

/* A socket file that nobody listens on any more is in the way of its successor. */
static int listen_unix(const char *path, int *ret, Err *err)
{
    struct sockaddr_storage sa;
    socklen_t len;
    int rc = address_unix(path, &sa, &len, err);
    if (rc < 0)
        return rc;
    struct stat st;
    CLEANUP_FD int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && connect(probe, (struct sockaddr *)&sa, len) < 0 &&
        errno == ECONNREFUSED)
        unlink(path);
    rc = bind_socket((const struct sockaddr *)&sa, len, ret);
    return rc < 0 ? err_set_errno(err, -rc, "listen on %s", path) : 0;
}

static int bound_port(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
        return 0;
    if (sa.ss_family == AF_INET)
        return ntohs(((const struct sockaddr_in *)&sa)->sin_port);
    return sa.ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)&sa)->sin6_port) : 0;
}

/* "fd:3": a socket that somebody bound and handed to this process. It is checked, as it stays open for ever.
 */
static int listen_inherited(const char *address, int *ret, Err *err)
{
    int64_t fd;
    int listening = 0;
    socklen_t len = sizeof listening;
    Str number = str_from(address + sizeof("fd:") - 1);
    if (str_to_i64(number, &fd) < 0 || fd < 0 || fd > INT_MAX)
        return err_set(err, ERR_INVALID, "listen on %s: no descriptor", address);
    if (getsockopt((int)fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) < 0)
        return err_set_errno(err, errno, "listen on %s", address);
    if (!listening)
        return err_set(err, ERR_INVALID, "listen on %s: the socket does not listen", address);
    if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl((int)fd, F_SETFL, O_NONBLOCK) < 0)
        return err_set_errno(err, errno, "listen on %s", address);
    *ret = (int)fd;
    return 0;
}

static int open_listener(const char *address, int *ret, Err *err)
{
    Address a;
    if (str_starts(str_from(address), STR("fd:")))
        return listen_inherited(address, ret, err);
    int rc = address_parse(address, &a, err);
    if (rc < 0)
        return rc;
    return a.unix_path ? listen_unix(a.unix_path, ret, err) : listen_inet(&a, address, ret, err);
}

int listener_new(Loop *l, const char *address, TlsContext *tls, AcceptFn fn, void *arg, Listener **ret,
                 Err *err)
{
    int fd = -1;
    int rc = open_listener(address, &fd, err);
    if (rc < 0)
        return rc;
    Listener *ls = xnew(Listener);
    *ls = (Listener){.loop = l, .fd = fd, .port = bound_port(fd), .fn = fn, .arg = arg};
    ls->tls = tls ? tls_ref(tls) : NULL;
    ls->backoff = timer_new(l, backoff_over, ls);
    ls->watch = fd_watch_new(l, fd, FD_READ, accept_cb, ls);
    *ret = ls;
    return 0;
}

static void listener_release(void *arg)
{
    Listener *ls = arg;
    tls_free(ls->tls);
    free(ls);
}

Listener *listener_free(Listener *ls)
{
    if (!ls)
        return NULL;
    ls->watch = fd_watch_free(ls->watch);
    ls->backoff = timer_free(ls->backoff);
    close(ls->fd);
    ls->fd = -1;
    loop_defer(ls->loop, listener_release, ls);
    return NULL;
}

int listener_port(const Listener *ls)
{
    return ls->port;
}

int listener_fd(const Listener *ls)
{
    return ls->fd;
}

void listener_pause(Listener *ls, bool paused)
{
    ls->paused = paused;
    update_watch(ls);
}
