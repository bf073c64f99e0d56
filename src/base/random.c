#include "base/random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void random_bytes(void *out, size_t len)
{
    char *at = out;
    while (len) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno != EINTR)
            abort(); /* keys and ids made from anything else would be guessable */
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}
