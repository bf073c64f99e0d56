/*
 * A runner for tests. It serves HTTP on descriptor 3 (LISTEN_FDS) or on AGUI_PORT: /health, /sse (three
 * events, then open until the client leaves), anything else is echoed. What it does besides is said by its
 * arguments:
 *
 *     --starts FILE   append "SESSION RUN PID" when it starts
 *     --code N        exit status
 *     --after MS      end by itself; with --random up to twice that
 *     --deaf          serve nothing
 *     --stubborn      ignore SIGTERM
 *     --orphan        leave a process in a session of its own behind
 *     --environ FILE  write the environment
 *     --restless      start this program anew in the same process, for ever
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/buf.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/random.h"

typedef struct Options {
    const char *starts, *environ_file;
    int64_t code, after;
    bool deaf, stubborn, orphan, random, restless;
} Options;

#define CLIENTS_MAX 16
static volatile sig_atomic_t ending;

static void on_term(int signo)
{
    ending = 1;
}

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v ? v : "";
}

static void parse(Options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        Str a = str_from(argv[i]);
        const char *next = i + 1 < argc ? argv[i + 1] : "";
        if (str_eqz(a, "--starts"))
            o->starts = next;
        else if (str_eqz(a, "--environ"))
            o->environ_file = next;
        else if (str_eqz(a, "--code"))
            str_to_i64(str_from(next), &o->code);
        else if (str_eqz(a, "--after"))
            str_to_i64(str_from(next), &o->after);
        o->deaf |= str_eqz(a, "--deaf");
        o->stubborn |= str_eqz(a, "--stubborn");
        o->orphan |= str_eqz(a, "--orphan");
        o->random |= str_eqz(a, "--random");
        o->restless |= str_eqz(a, "--restless");
    }
}

static void append_start(const char *path)
{
    CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char line[256];
    int n = snprintf(line, sizeof(line), "%s %s %d\n", env("SESSION_ID"), env("AMBIENT_RUN"), (int)getpid());
    if (fd < 0 || write(fd, line, (size_t)n) != n)
        _exit(99);
}

static void write_environ(const char *path)
{
    CLEANUP_BUF Buf b = BUF_INIT(1 << 20);
    for (char **e = environ; *e; e++)
        buf_addf(&b, "%s\n", *e);
    if (file_write_atomic(path, buf_str(&b), 0600, NULL) < 0)
        _exit(99);
}

static void leave_orphan(void)
{
    if (fork() != 0)
        return;
    setsid();
    if (fork() != 0)
        _exit(0);
    for (;;)
        pause();
}

static int listener(void)
{
    if (str_eqz(str_from(env("LISTEN_FDS")), "1")) {
        int64_t pid = 0;
        str_to_i64(str_from(env("LISTEN_PID")), &pid);
        return pid == getpid() ? 3 : -1;
    }
    int64_t port = 0;
    str_to_i64(str_from(env("AGUI_PORT")), &port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    const struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(fd, (const struct sockaddr *)&a, sizeof(a)) < 0 || listen(fd, 16) < 0)
        _exit(98);
    return fd;
}

static void send_all(int fd, Str s)
{
    while (s.len > 0) {
        ssize_t n = send(fd, s.ptr, s.len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        s = str_slice(s, (size_t)n, s.len);
    }
}

static void reply(int fd, Str body)
{
    CLEANUP_BUF Buf b = BUF_INIT(1 << 20);
    buf_addf(
        &b, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
        body.len);
    buf_adds(&b, body);
    send_all(fd, buf_str(&b));
}

/* One read is a whole request: our clients send small ones. True: keep the connection open. */
static bool answer(int fd)
{
    char buf[65536];
    ssize_t n = recv(fd, buf, sizeof(buf), 0);
    if (n <= 0)
        return false;
    Str req = {buf, (size_t)n};
    if (str_starts(req, STR("GET /health "))) {
        reply(fd, STR("{\"status\":\"healthy\"}"));
    } else if (str_starts(req, STR("GET /sse "))) {
        send_all(fd, STR("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
                         "data: one\n\ndata: two\n\ndata: three\n\n"));
        return true;
    } else {
        reply(fd, req);
    }
    return false;
}

static void close_client(struct pollfd *clients, nfds_t *n, nfds_t i)
{
    close(clients[i].fd);
    clients[i] = clients[--*n];
}

static void serve(int listen_fd, int timeout)
{
    static struct pollfd p[CLIENTS_MAX + 1];
    static nfds_t n = 1;
    p[0] = (struct pollfd){.fd = listen_fd, .events = POLLIN};
    if (poll(p, n, timeout) <= 0)
        return;
    for (nfds_t i = n - 1; i > 0; i--)
        if (p[i].revents && !answer(p[i].fd))
            close_client(p, &n, i);
    if (p[0].revents && n <= CLIENTS_MAX) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            p[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
}

static Usec end_time(const Options *o)
{
    if (o->after == 0)
        return USEC_NEVER;
    uint32_t r = 0;
    if (o->random)
        random_bytes(&r, sizeof(r));
    return clock_now(&clock_system) + (Usec)(o->after + r % (o->after + 1)) * USEC_PER_MSEC;
}

int main(int argc, char **argv)
{
    Options o = {0};
    parse(&o, argc, argv);
    if (o.restless)
        execv("/proc/self/exe", argv);
    if (o.stubborn)
        signal(SIGTERM, SIG_IGN);
    else
        sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term}, NULL);
    if (o.starts)
        append_start(o.starts);
    if (o.environ_file)
        write_environ(o.environ_file);
    if (o.orphan)
        leave_orphan();
    int fd = o.deaf ? -1 : listener();
    puts("runner is up");
    fflush(stdout);
    for (Usec end = end_time(&o); !ending && clock_now(&clock_system) < end;)
        serve(fd, 20);
    return (int)o.code;
}
