#include "address-internal.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/un.h>
#include "base/mem.h"
#include "base/str.h"
#include "loop-internal.h"

static int copy_part(Str s, char *out, size_t size)
{
    if (s.len >= size || str_find_byte(s, '\0') >= 0)
        return -1;
    memcpy(out, s.ptr ? s.ptr : "", s.len);
    out[s.len] = '\0';
    return 0;
}

/* Splits at the colon before the port; a second colon in a host without brackets is a mistake. */
static int split(Str text, Str *host, Str *port)
{
    if (str_starts(text, STR("["))) {
        ptrdiff_t end = str_find(text, STR("]:"));
        if (end < 2)
            return -1;
        *host = str_slice(text, 1, (size_t)end);
        *port = str_slice(text, (size_t)end + 2, text.len);
        return 0;
    }
    *port = text;
    *host = str_cut(port, ':');
    return port->ptr && str_find_byte(*port, ':') < 0 ? 0 : -1;
}

int address_parse(const char *text, Address *ret, Err *err)
{
    Address a = {0};
    Str host, port;
    uint64_t n;
    if (str_starts(str_from(text), STR("unix:"))) {
        a.unix_path = text + strlen("unix:");
        *ret = a;
        return 0;
    }
    if (split(str_from(text), &host, &port) < 0 || str_to_u64(port, &n) < 0 || n > 65535 ||
        port.ptr[0] == '+' || copy_part(host, a.host, sizeof a.host) < 0)
        return err_set(err, ERR_INVALID, "\"%s\" is no address: host:port, :port or [ipv6]:port expected",
                       text);
    snprintf(a.port, sizeof a.port, "%u", (unsigned)n);
    *ret = a;
    return 0;
}

int address_unix(const char *path, struct sockaddr_storage *ret, socklen_t *ret_len, Err *err)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof un.sun_path)
        return err_set(err, ERR_INVALID, "socket path must have 1 to %zu bytes", sizeof un.sun_path - 1);
    memcpy(un.sun_path, path, len + 1);
    *ret = (struct sockaddr_storage){0};
    memcpy(ret, &un, sizeof un);
    *ret_len = (socklen_t)sizeof un;
    return 0;
}

/* IPv4 that came in through an IPv6 socket is shown as what it is. */
static bool format_mapped(const struct sockaddr_in6 *in6, char *out)
{
    if (!IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        return false;
    return inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], out, PEER_MAX) != NULL;
}

void address_format(const struct sockaddr *sa, socklen_t len, char out[static PEER_MAX])
{
    struct sockaddr_in6 in6;
    if (sa->sa_family == AF_INET6 && len >= sizeof in6) {
        memcpy(&in6, sa, sizeof in6);
        if (format_mapped(&in6, out))
            return;
    }
    bool inet = sa->sa_family == AF_INET || sa->sa_family == AF_INET6;
    if (!inet || getnameinfo(sa, len, out, PEER_MAX, NULL, 0, NI_NUMERICHOST) != 0)
        snprintf(out, PEER_MAX, "%s", sa->sa_family == AF_UNIX ? "unix" : "unknown");
}

static struct addrinfo hints(int flags)
{
    return (struct addrinfo){.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
}

struct addrinfo *lookup_numeric(const Address *a, bool passive)
{
    struct addrinfo want = hints(AI_NUMERICHOST | (passive ? AI_PASSIVE : 0)), *list = NULL;
    return getaddrinfo(*a->host ? a->host : NULL, a->port, &want, &list) == 0 ? list : NULL;
}

typedef enum LookupState { LOOKUP_RUNNING, LOOKUP_POSTED, LOOKUP_CANCELLED } LookupState;

struct Lookup {
    pthread_mutex_t lock;
    LookupState state; /* under lock */
    Loop *loop;
    Address address;
    LookupFn fn; /* NULL after a cancel */
    void *arg;
    struct addrinfo *list;
    int failure; /* EAI_* */
};

static void lookup_free(Lookup *k)
{
    if (k->list)
        freeaddrinfo(k->list);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

static void lookup_done(void *arg)
{
    Lookup *k = arg;
    pthread_mutex_lock(&k->lock); /* the thread has let go of it */
    pthread_mutex_unlock(&k->lock);
    if (k->fn)
        k->fn(k->arg, TAKE(k->list), k->failure ? gai_strerror(k->failure) : NULL);
    lookup_free(k);
}

/* Cancelled while it ran: nobody else knows the lookup any more, and the loop may be gone. */
static void *lookup_thread(void *arg)
{
    Lookup *k = arg;
    struct addrinfo want = hints(0);
    k->failure = getaddrinfo(k->address.host, k->address.port, &want, &k->list);
    pthread_mutex_lock(&k->lock);
    bool cancelled = k->state == LOOKUP_CANCELLED;
    if (!cancelled) {
        k->state = LOOKUP_POSTED;
        loop_post(k->loop, lookup_done, k);
    }
    pthread_mutex_unlock(&k->lock);
    if (cancelled)
        lookup_free(k);
    return NULL;
}

int lookup_start(Loop *l, const Address *a, LookupFn fn, void *arg, Lookup **ret, Err *err)
{
    Lookup *k = xnew(Lookup);
    *k = (Lookup){.loop = l, .address = *a, .fn = fn, .arg = arg};
    pthread_mutex_init(&k->lock, NULL);
    sigset_t all, old;
    sigfillset(&all);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&thread, &attr, lookup_thread, k);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (rc != 0) {
        lookup_free(k);
        return err_set_errno(err, rc, "start name lookup");
    }
    *ret = k;
    return 0;
}

Lookup *lookup_cancel(Lookup *k)
{
    if (!k)
        return NULL;
    pthread_mutex_lock(&k->lock);
    k->fn = NULL;
    if (k->state == LOOKUP_RUNNING)
        k->state = LOOKUP_CANCELLED;
    pthread_mutex_unlock(&k->lock);
    return NULL;
}
