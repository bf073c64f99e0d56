/* Addresses of proxies that are trusted to say on whose behalf they ask: a list of networks. */
#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/vec.h"
#include "rest-internal.h"

/* IPv4 is kept as ::ffff:a.b.c.d, as a listener of both families shows it. */
typedef struct Network {
    struct in6_addr address;
    unsigned bits;
} Network;

struct Trusted {
    VEC_OF(Network)
    networks;
};

#define MAPPED_BITS 96

static bool parse_address(Str text, struct in6_addr *ret, bool *ret_v4)
{
    char z[INET6_ADDRSTRLEN];
    struct in_addr v4;
    if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
        text = str_slice(text, 1, text.len - 1);
    if (!text.len || text.len >= sizeof(z))
        return false;
    memcpy(z, text.ptr, text.len);
    z[text.len] = '\0';
    *ret_v4 = inet_pton(AF_INET, z, &v4) == 1;
    if (!*ret_v4)
        return inet_pton(AF_INET6, z, ret) == 1;
    *ret = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(&ret->s6_addr[12], &v4, sizeof(v4));
    return true;
}

/* "10.0.0.0/8", "::1" */
static int parse_network(Str text, Network *ret, Err *err)
{
    Str rest = text, address = str_cut(&rest, '/');
    bool v4;
    uint64_t bits;
    if (!parse_address(address, &ret->address, &v4))
        return err_set(err, ERR_USAGE, "--trusted-proxies: \"" STR_FMT "\" is not an address or a network",
                       STR_ARG(text));
    const uint64_t most = v4 ? 32 : 128;
    if (!rest.ptr)
        bits = most;
    else if (str_to_u64(rest, &bits) < 0 || bits > most)
        return err_set(err, ERR_USAGE, "--trusted-proxies: \"" STR_FMT "\" has no prefix of 0 to %u bits",
                       STR_ARG(text), (unsigned)most);
    ret->bits = (unsigned)bits + (v4 ? MAPPED_BITS : 0);
    return 0;
}

int trusted_new(const char *list, Trusted **ret, Err *err)
{
    Trusted *t = xnew(Trusted);
    for (Str rest = str_from(list); rest.ptr;) {
        Str text = str_trim(str_cut(&rest, ','));
        Network n;
        if (!text.len)
            continue;
        int rc = parse_network(text, &n, err);
        if (rc < 0) {
            trusted_free(t);
            return rc;
        }
        vec_push(&t->networks, n);
    }
    *ret = t;
    return 0;
}

Trusted *trusted_free(Trusted *t)
{
    if (t) {
        vec_free(&t->networks);
        free(t);
    }
    return NULL;
}

static bool is_in(const Network *n, const struct in6_addr *a)
{
    unsigned bytes = n->bits / 8, bits = n->bits % 8;
    if (memcmp(n->address.s6_addr, a->s6_addr, bytes) != 0)
        return false;
    return !bits || (n->address.s6_addr[bytes] ^ a->s6_addr[bytes]) >> (8 - bits) == 0;
}

bool is_address(Str text)
{
    struct in6_addr a;
    bool v4;
    return parse_address(text, &a, &v4);
}

bool trusted_has(const Trusted *t, const char *peer)
{
    struct in6_addr a;
    bool v4;
    if (!t || !parse_address(str_from(peer), &a, &v4))
        return false;
    VEC_FOREACH (&t->networks, n)
        if (is_in(n, &a))
            return true;
    return false;
}
