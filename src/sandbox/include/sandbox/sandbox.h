/*
 * Keeps a runner and all it starts from writing outside its workspace and a few temporary places. Applied by
 * the child itself, just before exec; it cannot be taken off again, and children inherit it.
 *
 * landlock: kernel 5.13 and later, needs no rights. From ABI 6 on the runner cannot signal processes outside,
 * nor reach abstract Unix sockets. userns:   a mount namespace in which everything else is read-only;
 * kernel 5.12, needs unprivileged user namespaces or root.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include "base/str.h"

typedef enum SandboxMode {
    SANDBOX_AUTO,
    SANDBOX_NONE,
    SANDBOX_LANDLOCK,
    SANDBOX_USERNS,
    _SANDBOX_MAX
} SandboxMode;

const char *sandbox_mode_name(SandboxMode m);
int sandbox_mode_parse(Str s, SandboxMode *ret); /* 0 or -1 */

/* What SANDBOX_AUTO means on this machine; tries things out in a child process. Others are returned as they
 * are. */
SandboxMode sandbox_choose(SandboxMode wanted);
bool sandbox_works(SandboxMode m); /* tried out in a child process */
long sandbox_landlock_abi(void);   /* 0 or less: not offered */
/* In the child, after fork: no memory is allocated, no lock taken. 0 or -errno. Paths that do not exist are
 * skipped. */
int sandbox_apply(SandboxMode m, const char *const *writable, size_t n);
