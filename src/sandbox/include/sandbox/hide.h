/*
 * Hides directories from a process and all that it starts: nothing below them can be opened for reading or
 * writing, but for what lies below some that are shown again. For the platform's own directories: tokens, the
 * store, other sessions. Names stay visible, contents do not.
 *
 * Landlock has no rule that forbids. So the ruleset allows everything beside the way from the root to a
 * hidden directory, by its names of today: a file that is made later right beside a directory of that way
 * stays closed too. A directory that everybody writes to (/tmp) should therefore not lie on such a way.
 */
#pragma once

#include <stddef.h>
#include "base/err.h"

/* A ruleset's descriptor (close it), made before the fork, as this reads directories. Paths that do not exist
   are skipped. ERR_UNIMPLEMENTED: the kernel has no Landlock. */
int hide_prepare(const char *const *hidden, size_t n_hidden, const char *const *shown, size_t n_shown,
                 int *ret_fd, Err *err);
/* In the child, before exec: async-signal-safe. 0 or -errno. */
int hide_enter(int fd);
