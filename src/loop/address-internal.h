/* Addresses as users write them, and names that become addresses without blocking the loop. */
#pragma once

#include <netdb.h>
#include <sys/socket.h>
#include "base/err.h"
#include "loop/loop.h"

#define PEER_MAX 64 /* numeric address with a scope */

typedef struct Address {
    char host[256]; /* without brackets; "" = any, or this machine */
    char port[6];
    const char *unix_path; /* borrowed from the text; then host and port are empty */
} Address;

/* "host:port", ":port", "[::1]:port", "unix:/path". */
int address_parse(const char *text, Address *ret, Err *err);
int address_unix(const char *path, struct sockaddr_storage *ret, socklen_t *ret_len, Err *err);
void address_format(const struct sockaddr *sa, socklen_t len, char out[static PEER_MAX]);

/* getaddrinfo() in a thread of its own, as it may block for seconds. `fn` runs on the loop and takes over
   `list` (NULL with a reason on failure); not after lookup_cancel(). */
typedef struct Lookup Lookup;
typedef void (*LookupFn)(void *arg, struct addrinfo *list, const char *why);
int lookup_start(Loop *l, const Address *a, LookupFn fn, void *arg, Lookup **ret, Err *err);
Lookup *lookup_cancel(Lookup *k);
/* Addresses in numbers need no thread; NULL when it is a name. */
struct addrinfo *lookup_numeric(const Address *a, bool passive);
