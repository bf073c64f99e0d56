#include "process-port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/file.h"
#include "base/str.h"

#define BACKLOG 128

int port_range_parse(const char *text, PortRange *ret, Err *err)
{
    Str rest = str_from(text), first = str_cut(&rest, '-');
    PortRange r;
    if (str_to_i64(first, &r.first) < 0 || (rest.ptr && str_to_i64(rest, &r.last) < 0))
        return err_set(err, ERR_INVALID, "port range \"%s\": must be FIRST-LAST, or 0 for any", text);
    if (!rest.ptr)
        r.last = r.first;
    if (r.first < 0 || r.last > 65535 || r.first > r.last || (r.first == 0 && r.last != 0))
        return err_set(err, ERR_INVALID, "port range \"%s\": must be FIRST-LAST between 1 and 65535, or 0",
                       text);
    *ret = r;
    return 0;
}

/* A descriptor, or -errno. */
static int listen_on(int64_t port)
{
    CLEANUP_FD int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, BACKLOG) < 0)
        return -errno;
    int ret = fd;
    fd = -1;
    return ret;
}

static int64_t port_of(int fd)
{
    struct sockaddr_in a = {0};
    socklen_t len = sizeof(a);
    return getsockname(fd, (struct sockaddr *)&a, &len) < 0 ? 0 : ntohs(a.sin_port);
}

int port_listen(const PortRange *r, int64_t *ret_port, int *ret_fd, Err *err)
{
    for (int64_t port = r->first; port <= r->last; port++) {
        int fd = listen_on(port);
        if (fd >= 0) {
            *ret_port = port_of(fd);
            *ret_fd = fd;
            return 0;
        }
        if (fd != -EADDRINUSE && fd != -EACCES)
            return err_set_errno(err, -fd, "listen on a port for a runner");
    }
    return err_set(err, ERR_RATE_LIMITED, "no free port in %lld-%lld for another runner", (long long)r->first,
                   (long long)r->last);
}
